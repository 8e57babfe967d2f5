use super::*;
use crate::{ConnectionTable, FourTuple, HashKey};
use alloc::vec::Vec;
use core::time::Duration;
use tcp::{Config, Connection, Flags, SeqNum, State};

const NOW: Instant = Instant::from_nanos(1_000_000_000_000);

fn tuple(port: u16) -> HashedTuple {
    let tuple = FourTuple { local: ([192, 0, 2, 1], 443).into(), peer: ([198, 51, 100, 1], port).into() };
    ConnectionTable::new(0, HashKey::new([4; 16])).hashed(&tuple).unwrap()
}

fn table(capacity: u32) -> TimeWaitTable {
    TimeWaitTable::new(capacity)
}

fn outgoing(connection: &mut Connection) -> Vec<Header> {
    core::iter::from_fn(|| connection.poll_control(&Config::default(), NOW))
        .map(|outgoing| outgoing.header)
        .collect()
}

/// Hands every segment of one end to the other until both are silent.
fn converse(a: &mut Connection, b: &mut Connection) {
    loop {
        let (from_a, from_b) = (outgoing(a), outgoing(b));
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        for header in from_a {
            let _ = b.on_segment(&Config::default(), NOW, &header, &[], &mut |_| {});
        }
        for header in from_b {
            let _ = a.on_segment(&Config::default(), NOW, &header, &[], &mut |_| {});
        }
    }
}

/// A server that closed first; and the FIN that its client sent last.
fn closed_first() -> (TimeWait, Header) {
    let config = Config::default();
    let mut client = Connection::connect(&config, NOW, 50_000, 443, SeqNum(1000));
    let syn = outgoing(&mut client)[0];
    let mut server = Connection::accept(&config, NOW, &syn, SeqNum(9000));
    converse(&mut client, &mut server);
    assert_eq!((client.state(), server.state()), (State::Established, State::Established));
    server.finish();
    converse(&mut client, &mut server);
    client.finish();
    let fin = outgoing(&mut client)[0];
    assert!(fin.flags.contains(Flags::FIN));
    let _ = server.on_segment(&config, NOW, &fin, &[], &mut |_| {});
    (server.time_wait(&config, NOW).expect("the server closed first"), fin)
}

fn on(table: &mut TimeWaitTable, now: Instant, header: &Header) -> Option<TimeWaitAction> {
    table.on_segment(&Config::default(), now, &tuple(50_000), header, 0)
}

#[test]
fn a_fin_that_comes_again_is_acknowledged_again_and_starts_the_time_anew() {
    let (entry, fin) = closed_first();
    let mut table = table(4);
    table.insert(&tuple(50_000), entry);
    table.insert(&tuple(50_001), entry);
    let later = NOW + Duration::from_secs(30);
    let Some(TimeWaitAction::Ack(ack)) = on(&mut table, later, &fin) else { panic!("no ACK") };
    assert_eq!((ack.flags, ack.ack, ack.seq), (Flags::ACK, fin.seq + 1, SeqNum(9002)));
    // Now the other one is the first whose time is over.
    assert_eq!(table.next_deadline(), Some(entry.expires()));
    table.expire(entry.expires());
    assert_eq!((table.len(), table.next_deadline()), (1, Some(later + Config::default().time_wait)));
}

#[test]
fn a_new_syn_may_reuse_the_tuple_and_the_old_entry_stays_until_it_does() {
    let (entry, fin) = closed_first();
    let mut table = table(4);
    table.insert(&tuple(50_000), entry);
    let mut syn = Header { flags: Flags::SYN, seq: fin.seq + 100_000, ..fin };
    syn.options.timestamps =
        fin.options.timestamps.map(|old| tcp::Timestamps { value: old.value + 1000, echo: 0 });
    let Some(TimeWaitAction::Reuse { iss_min }) = on(&mut table, NOW, &syn) else { panic!("not reused") };
    assert!(iss_min.after(SeqNum(9002)));
    assert!(table.remove(&tuple(50_000)).is_some());
    assert_eq!(on(&mut table, NOW, &syn), None);
}

#[test]
fn an_entry_whose_time_is_over_is_not_found_even_before_it_is_forgotten() {
    let (entry, fin) = closed_first();
    let mut table = table(4);
    table.insert(&tuple(50_000), entry);
    assert!(
        on(&mut table, entry.expires() - Duration::from_nanos(1), &Header { flags: Flags::RST, ..fin })
            .is_some()
    );
    assert_eq!(on(&mut table, entry.expires(), &fin), None);
}

#[test]
fn another_connection_is_not_found() {
    let (entry, fin) = closed_first();
    let mut table = table(4);
    table.insert(&tuple(50_001), entry);
    assert_eq!(on(&mut table, NOW, &fin), None);
}

#[test]
fn a_full_table_forgets_its_oldest_entry_and_counts() {
    let (entry, _) = closed_first();
    let mut table = table(2);
    for port in 1..=3 {
        table.insert(&tuple(port), entry);
    }
    assert_eq!((table.len(), table.evicted()), (2, 1));
    assert_eq!([1, 2, 3].map(|port| table.remove(&tuple(port)).is_some()), [false, true, true]);
}
