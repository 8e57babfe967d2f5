use super::*;
use proptest::prelude::*;

fn map(capacity: u32) -> BoundedMap<u8, u32> {
    BoundedMap::new(capacity, HashKey::new([7; 16]))
}

fn refresh(map: &mut BoundedMap<u8, u32>, key: u8) {
    let hash = map.hash(&key);
    map.map.refresh(hash, &key);
}

#[test]
fn a_full_map_gives_up_its_oldest_entry() {
    let mut map = map(2);
    assert_eq!(map.insert(1, 10), None);
    assert_eq!(map.insert(2, 20), None);
    refresh(&mut map, 1);
    assert_eq!(map.insert(3, 30), Some((2, 20)));
    assert_eq!((map.get(&1), map.get(&2), map.get(&3)), (Some(&10), None, Some(&30)));
}

#[test]
fn a_map_for_nothing_holds_one_entry() {
    let mut map = map(0);
    map.insert(1, 10);
    assert_eq!(map.insert(2, 20), Some((1, 10)));
}

proptest! {
    #[test]
    fn a_map_agrees_with_a_list_in_order_of_age(
        capacity in 1_u32..12, steps in proptest::collection::vec((0..4, 0_u8..16, any::<u32>()), 0..200),
    ) {
        let mut map = map(capacity);
        let reserved = map.map.entries.capacity();
        let mut model: Vec<(u8, u32)> = Vec::new();
        for (step, key, value) in steps {
            let known = model.iter().position(|entry| entry.0 == key);
            match step {
                0 | 1 => {
                    let evicted = match known {
                        Some(known) => {
                            model.remove(known);
                            None
                        }
                        None => (model.len() == capacity as usize).then(|| model.remove(0)),
                    };
                    model.push((key, value));
                    prop_assert_eq!(map.insert(key, value), evicted);
                }
                2 => {
                    prop_assert_eq!(map.remove(&key), known.map(|known| model.remove(known).1));
                }
                _ => {
                    refresh(&mut map, key);
                    if let Some(known) = known {
                        let entry = model.remove(known);
                        model.push(entry);
                    }
                }
            }
            prop_assert_eq!(map.iter().map(|(key, value)| (*key, *value)).collect::<Vec<_>>(), model.clone());
            prop_assert_eq!(map.oldest().map(|(key, value)| (*key, *value)), model.first().copied());
            prop_assert_eq!(map.len() as usize, model.len());
            prop_assert!((0..16).all(|key| map.get(&key).copied() == model.iter().find(|entry| entry.0 == key).map(|entry| entry.1)));
        }
        prop_assert_eq!(map.map.entries.capacity(), reserved);
    }
}
