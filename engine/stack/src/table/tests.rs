use super::*;
use alloc::collections::BTreeMap;
use core::net::SocketAddr;
use proptest::prelude::*;

fn tuple(peer: u8, port: u16) -> FourTuple {
    if peer.is_multiple_of(2) {
        FourTuple { local: ([192, 0, 2, 1], 443).into(), peer: ([198, 51, 100, peer], port).into() }
    } else {
        let address = |last| core::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
        FourTuple { local: (address(1), 443).into(), peer: (address(peer.into()), port).into() }
    }
}

fn table(capacity: u32) -> ConnectionTable {
    ConnectionTable::new(capacity, HashKey::new([3; 16]))
}

mod an_empty_table {
    use super::*;

    #[test]
    fn finds_nothing() {
        let table = table(4);
        assert_eq!((table.find(&tuple(2, 1)), table.len(), table.iter().next()), (None, 0, None));
    }

    #[test]
    fn for_nothing_is_full() {
        assert_eq!(table(0).insert(&tuple(2, 1)), Err(InsertError::Full));
    }

    #[test]
    fn refuses_a_tuple_of_two_families() {
        let mixed = FourTuple { local: tuple(2, 1).local, peer: tuple(3, 1).peer };
        assert_eq!(table(4).insert(&mixed), Err(InsertError::MixedFamilies));
        assert_eq!(table(4).find(&mixed), None);
    }
}

mod a_full_table {
    use super::*;

    fn full() -> (ConnectionTable, FlowId, FlowId) {
        let mut table = table(2);
        let (first, second) = (table.insert(&tuple(2, 1)).unwrap(), table.insert(&tuple(3, 1)).unwrap());
        (table, first, second)
    }

    #[test]
    fn takes_no_more() {
        assert_eq!(full().0.insert(&tuple(4, 1)), Err(InsertError::Full));
    }

    #[test]
    fn names_what_is_there_already() {
        let (mut table, first, _) = full();
        assert_eq!(table.insert(&tuple(2, 1)), Err(InsertError::Exists(first)));
    }

    #[test]
    fn hands_a_slot_out_again_under_another_id() {
        let (mut table, first, second) = full();
        assert_eq!(table.remove(first).map(|hashed| hashed.tuple()), Some(tuple(2, 1)));
        let third = table.insert(&tuple(4, 1)).unwrap();
        assert_eq!(third.slot(), first.slot());
        assert_ne!(third, first);
        assert!(table.contains(third) && table.contains(second) && !table.contains(first));
    }

    #[test]
    fn does_not_act_on_a_stale_id() {
        let (mut table, first, _) = full();
        table.remove(first);
        let third = table.insert(&tuple(4, 1)).unwrap();
        assert_eq!((table.remove(first), table.tuple(first)), (None, None));
        assert_eq!(table.tuple(third), Some(tuple(4, 1)));
    }
}

#[test]
fn an_id_survives_as_a_number() {
    let flow = FlowId::new(0x1234_5678, 0x9abc_def0);
    assert_eq!(FlowId::from_bits(flow.to_bits()), flow);
}

#[test]
fn the_same_calls_under_the_same_key_give_the_same_ids() {
    let run = || {
        let mut table = table(64);
        let flows: Vec<_> = (0..40).map(|peer| table.insert(&tuple(peer, 7)).unwrap()).collect();
        for flow in flows.iter().step_by(3) {
            table.remove(*flow);
        }
        (0..9).for_each(|peer| {
            table.insert(&tuple(peer, 9)).unwrap();
        });
        table.iter().collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

proptest! {
    #[test]
    fn a_table_agrees_with_a_map(steps in proptest::collection::vec((any::<bool>(), 0_u8..20, 0_u16..2), 0..300)) {
        let mut table = table(16);
        let reserved = table.slots.capacity();
        let mut model: BTreeMap<(SocketAddr, SocketAddr), FlowId> = BTreeMap::new();
        let mut stale = Vec::new();
        for (is_insertion, peer, port) in steps {
            let tuple = tuple(peer, port);
            let key = (tuple.local, tuple.peer);
            if is_insertion {
                let expected = match model.get(&key) {
                    Some(&flow) => Err(InsertError::Exists(flow)),
                    None if model.len() == 16 => Err(InsertError::Full),
                    None => Ok(()),
                };
                let inserted = table.insert(&tuple);
                prop_assert_eq!(inserted.map(|_| ()), expected);
                if let Ok(flow) = inserted {
                    model.insert(key, flow);
                }
            } else if let Some(flow) = model.remove(&key) {
                prop_assert_eq!(table.remove(flow), table.hashed(&tuple));
                stale.push(flow);
            }
            prop_assert_eq!(table.len() as usize, model.len());
            for (&(local, peer), &flow) in &model {
                let tuple = FourTuple { local, peer };
                prop_assert_eq!(table.find(&tuple), Some(flow));
                prop_assert_eq!(table.tuple(flow), Some(tuple));
                prop_assert_eq!(table.flow_at(flow.slot()), Some(flow));
            }
            prop_assert!(stale.iter().all(|&flow| !table.contains(flow)));
            prop_assert_eq!(table.iter().count(), model.len());
        }
        prop_assert_eq!(table.slots.capacity(), reserved);
    }
}
