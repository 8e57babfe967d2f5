//! What can be seen of an engine from outside: packets in passing, and the list of connections.

use crate::world::{SECOND, Setup, bytes_of};
use alloc::rc::Rc;
use core::cell::RefCell;
use core::net::SocketAddr;
use platform::Link as _;
use std::collections::BTreeSet;
use turn::{Direction, Listed, Passing, Protection, Tap};
use wire::{Packet, parse_frame};

const LEN: u64 = 100_000;
const LEN_USIZE: usize = 100_000;

/// A packet as a tap saw it.
#[derive(Clone, Debug)]
struct Taken {
    at: clock::Instant,
    direction: Direction,
    headers: Vec<u8>,
    payload: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
struct Watcher(Rc<RefCell<Vec<Taken>>>);

impl Tap for Watcher {
    fn on_packet(&mut self, packet: &Passing<'_>) {
        let payload: Vec<u8> = packet.pieces().flatten().copied().collect();
        assert_eq!(packet.bytes(), packet.headers.len() + payload.len());
        let Passing { at, direction, headers, .. } = *packet;
        self.0.borrow_mut().push(Taken { at, direction, headers: headers.to_vec(), payload });
    }
}

#[test]
fn a_tap_sees_each_packet_once_even_when_the_link_refuses_it() {
    sees_each_packet_once(Setup::new());
}

#[test]
fn a_tap_sees_each_segment_once_when_the_link_does_not_cut() {
    let mut setup = Setup::new();
    (setup.link.superframe_bytes_max, setup.link.slots) = (0, 0);
    sees_each_packet_once(setup);
}

fn sees_each_packet_once(setup: Setup) {
    let mut world = setup.world();
    world.file("film", 1, LEN);
    world.link_room = 1;
    let watcher = Watcher::default();
    world.engine.set_tap(Some(Box::new(watcher.clone())));
    let (plain, secure) = (world.plain(), world.tls());
    for client in [plain, secure] {
        world.say(client, &format!("get film 0 {LEN}"));
    }
    for client in [plain, secure] {
        world.hear(client, LEN_USIZE);
    }
    world.leave();
    assert!(world.link_refused.get() > 0, "the link was never full");
    let taken = watcher.0.borrow();
    let count = |direction| taken.iter().filter(|taken| taken.direction == direction).count() as u64;
    assert_eq!(count(Direction::Out), world.engine.counters().packets);
    assert_eq!(count(Direction::Out), world.engine.link().counters().sent);
    assert_eq!(count(Direction::In), world.engine.link().counters().received);
    assert!(taken.is_sorted_by_key(|taken| taken.at), "time goes backwards");
    // What went to the plain client is the film, in the order in which it was sent.
    let port = world.clients[plain].local.port();
    let mut film = Vec::new();
    for taken in taken.iter().filter(|taken| taken.direction == Direction::Out) {
        let whole = [&*taken.headers, &taken.payload].concat();
        let parsed = parse_frame(&whole, false).expect("well-formed");
        if let Packet::Tcp(segment) = parsed.packet
            && segment.header.destination_port == port
        {
            film.extend_from_slice(segment.payload);
        }
    }
    assert!(film == bytes_of(1, 0..LEN));
}

#[test]
fn a_tap_that_is_taken_away_sees_nothing_more() {
    let mut world = Setup::new().world();
    let watcher = Watcher::default();
    world.engine.set_tap(Some(Box::new(watcher.clone())));
    let client = world.plain();
    world.say(client, "say 10");
    world.hear(client, 10);
    let seen = watcher.0.borrow().len();
    assert!(seen > 3);
    world.engine.set_tap(None);
    world.say(client, "say 10");
    world.hear(client, 20);
    assert_eq!((watcher.0.borrow().len(), Rc::strong_count(&watcher.0)), (seen, 1));
    world.leave();
}

#[test]
fn connections_are_listed_a_few_places_at_a_time_and_each_once() {
    let mut world = Setup::new().world();
    world.file("film", 1, 50 * LEN);
    let clients: Vec<_> =
        (0..40).map(|index| if index % 4 == 0 { world.tls() } else { world.plain() }).collect();
    assert!(world.run_until(SECOND, |world| world.engine.counters().accepted == 40));
    world.run(SECOND);
    // Holes in the table.
    for &client in clients.iter().step_by(3) {
        world.say(client, "bye");
        world.clients[client].finish();
    }
    world.run(SECOND);
    let watching = clients[4];
    world.say(watching, &format!("get film 0 {}", 50 * LEN));
    assert!(world.run_until(SECOND, |world| world.clients[watching].heard.len() > LEN_USIZE));
    let mut peers: BTreeSet<SocketAddr> = BTreeSet::new();
    let (mut from, mut rounds) = (0, 0);
    loop {
        let mut told = 0;
        let listed = world.engine.list_connections(from, 7, 3, &mut |summary| {
            told += 1;
            assert!(peers.insert(summary.peer), "{} is there twice", summary.peer);
            let is_watching = summary.peer == world.clients[watching].local;
            assert_eq!(summary.object.as_deref(), is_watching.then_some(&b"film"[..]));
            let index = clients.iter().position(|&client| world.clients[client].local == summary.peer);
            let sealed = matches!(summary.protection, Protection::Tls(..));
            assert_eq!(sealed, index.expect("a client").is_multiple_of(4));
        });
        assert!(told <= 3, "{told} in one turn");
        rounds += 1;
        match listed {
            Listed::All => break,
            Listed::Until(next) => from = next,
        }
    }
    assert!(rounds > 5, "{rounds}");
    assert_eq!(peers.len(), usize::try_from(world.engine.counters().connections).expect("few"));
}

#[test]
fn nobody_is_listed_beyond_the_last_place() {
    let mut world = Setup::new().world();
    world.plain();
    world.run(SECOND);
    let listed = world.engine.list_connections(u32::MAX, 7, 7, &mut |_| panic!("nobody is there"));
    assert_eq!(listed, Listed::All);
}
