//! How connections end, and that nothing of them stays.

use crate::world::service::PLAIN_TO_TLS;
use crate::world::{SECOND, SECURE, Setup, World, bytes_of, client};
use core::time::Duration;
use disk_memory::Latency;
use tls::{Suite, Version};
use turn::End;
use wire::tcp::Flags;

const LEN: u64 = 1_000_000;
const LEN_USIZE: usize = 1_000_000;

fn world() -> World {
    let mut world = Setup::new().world();
    world.file("film", 1, LEN);
    world
}

fn end_of(world: &World, client: usize) -> Option<End> {
    world.engine.service().end_of(world.clients[client].local.port())
}

#[test]
fn a_server_that_finishes_says_close_notify_and_then_fin() {
    for version in [Version::Tls12, Version::Tls13] {
        let mut world = world();
        let client = world.secure(version, Suite::Aes128Gcm);
        world.say(client, &format!("get film 0 {LEN}\nbye"));
        world.hear(client, LEN_USIZE);
        assert!(world.run_until(SECOND, |world| world.clients[client].peer_finished));
        assert!(world.clients[client].close_notified);
        assert_eq!(world.clients[client].failure, None);
        world.leave();
        assert_eq!(end_of(&world, client), Some(End::Finished));
    }
}

#[test]
fn the_service_is_told_what_a_connection_amounted_to() {
    let mut world = world();
    let client = world.plain();
    let mut losses = 1;
    world.filter(move |seen| {
        let loses = losses > 0 && seen.holds(300_000);
        losses -= i32::from(loses);
        !loses
    });
    world.say(client, &format!("get film 0 {LEN}"));
    world.hear(client, LEN_USIZE);
    world.leave();
    let transfer = world.engine.service().transfer_of(world.clients[client].local.port()).unwrap();
    assert_eq!(transfer.sent_bytes, LEN);
    assert!(transfer.resent_bytes >= 1_448 && transfer.resent_bytes < 20_000, "{transfer:?}");
    assert_eq!(transfer.received_bytes, format!("get film 0 {LEN}\n").len() as u64);
    assert!(transfer.srtt >= Duration::from_millis(2) && transfer.srtt < Duration::from_millis(50));
}

#[test]
fn the_last_byte_and_the_fin_leave_together() {
    let mut world = world();
    let client = world.plain();
    world.say(client, "final film 0 1000");
    world.hear(client, 1_000);
    assert!(world.run_until(SECOND, |world| world.clients[client].peer_finished));
    let last = world.seen_by(client).filter(|seen| !seen.payload.is_empty()).last().unwrap();
    assert!(last.is(Flags::FIN));
    world.leave();
}

#[test]
fn a_peer_that_resets_while_reads_are_on_their_way_leaves_nothing_behind() {
    let mut setup = Setup::new();
    setup.disk.faults.read = Latency::Fixed(Duration::from_millis(20));
    let mut world = setup.world();
    world.file("film", 1, LEN);
    for secure in [false, true] {
        let client = if secure { world.tls() } else { world.plain() };
        world.say(client, &format!("get film 0 {LEN}"));
        assert!(world.run_until(SECOND, |world| world.clients[client].heard.len() > 50_000));
        assert!(world.run_until(SECOND, |world| world.engine.connections(1)[0].reads > 0));
        world.clients[client].tcp.abort();
        assert!(world.run_until(SECOND, |world| end_of(world, client) == Some(End::PeerReset)));
        world.run(Duration::from_millis(50));
        world.assert_empty_handed();
    }
    assert_eq!(world.engine.counters().failed, 2);
}

#[test]
fn a_peer_that_vanishes_is_given_up_and_its_frames_come_back() {
    let mut setup = Setup::new();
    setup.config.tcp.user_timeout = 20 * SECOND;
    let mut world = setup.world();
    world.file("film", 1, LEN);
    let client = world.tls();
    world.say(client, &format!("framed film 0 {LEN}"));
    assert!(world.run_until(SECOND, |world| world.clients[client].heard.len() > 50_000));
    world.clients[client].is_gone = true;
    assert!(world.run_until(40 * SECOND, |world| end_of(world, client) == Some(End::TimedOut)));
    world.assert_empty_handed();
    assert_eq!(world.engine.deadline(), None, "somebody still has a timer");
}

#[test]
fn an_empty_server_wants_to_sleep() {
    let mut world = world();
    let clients = [world.plain(), world.tls()];
    for client in clients {
        world.say(client, &format!("get film 0 {LEN}"));
        world.hear(client, LEN_USIZE);
    }
    world.leave();
    // The addresses have been announced the second time by then.
    world.run(2 * SECOND);
    world.assert_empty_handed();
    assert_eq!(world.engine.deadline(), None);
    assert!(!world.engine.turn().busy);
}

#[test]
fn a_port_that_is_used_again_at_once_connects() {
    let mut world = world();
    let first = world.plain();
    world.say(first, "get film 0 1000\nbye");
    world.hear(first, 1_000);
    world.clients[first].finish();
    assert!(world.run_until(SECOND, |world| world.engine.counters().connections == 0));
    world.run(Duration::from_millis(20));
    world.clients[first].is_gone = true;
    let (port, tcp) = (world.clients[first].local.port(), world.client_tcp());
    world.use_port_next(port);
    let second = world.connect(client::host(first, false), crate::world::PLAIN, None, tcp);
    assert_eq!(world.clients[second].local, world.clients[first].local);
    world.forget(first);
    world.say(second, "get film 0 1000");
    world.hear(second, 1_000);
    assert_eq!(world.engine.counters().accepted, 2);
}

#[test]
fn a_peer_that_never_stops_talking_does_not_keep_a_finished_connection() {
    let mut world = world();
    let client = world.plain();
    world.say(client, "bye");
    assert!(world.run_until(SECOND, |world| world.clients[client].peer_finished));
    for _ in 0..100 {
        world.run(3 * SECOND);
        world.clients[client].say_raw(b"and another thing");
    }
    assert_eq!(world.engine.counters().connections, 0);
}

#[test]
fn a_drain_lets_finish_what_is_being_sent_and_closes_who_is_idle() {
    let mut world = world();
    let (idle, idle_tls, busy, busy_tls) = (world.plain(), world.tls(), world.plain(), world.tls());
    for client in [busy, busy_tls] {
        world.say(client, &format!("get film 0 {LEN}"));
    }
    world.run(Duration::from_millis(12));
    assert!(world.clients[busy_tls].heard.len() < LEN_USIZE, "too late");
    world.engine.drain();
    assert!(!world.engine.is_drained());
    let late = world.plain();
    for client in [busy, busy_tls] {
        world.hear(client, LEN_USIZE);
        assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
    }
    assert!(world.clients[idle].peer_finished && world.clients[idle_tls].peer_finished);
    assert!(world.clients[idle_tls].close_notified);
    assert!(!world.clients[late].is_established() || world.clients[late].was_reset);
    for client in [idle, idle_tls, busy, busy_tls] {
        world.clients[client].finish();
    }
    assert!(world.run_until(5 * SECOND, |world| world.engine.is_drained()));
    for client in [idle, idle_tls, busy, busy_tls] {
        assert_eq!(end_of(&world, client), Some(End::Finished));
    }
}

#[test]
fn a_client_that_never_closes_its_side_does_not_hold_up_a_drain() {
    let mut world = world();
    let (told_before, told_now) = (world.plain(), world.plain());
    world.say(told_before, "bye");
    world.run(Duration::from_millis(50));
    world.engine.drain();
    assert!(world.run_until(3 * SECOND, |world| world.engine.is_drained()));
    for client in [told_before, told_now] {
        assert!(world.clients[client].peer_finished, "it heard the end before it was let go");
    }
}

#[test]
fn a_handshake_under_way_is_told_of_the_drain_when_it_is_done() {
    let mut world = world();
    let client = world.tls();
    assert!(world.run_until(SECOND, |world| world.engine.counters().accepted == 1));
    world.engine.drain();
    assert!(world.run_until(SECOND, |world| world.clients[client].close_notified));
    world.clients[client].finish();
    assert!(world.run_until(5 * SECOND, |world| world.engine.is_drained()));
}

#[test]
fn shedding_resets_everybody() {
    let mut setup = Setup::new();
    setup.disk.faults.read = Latency::Fixed(Duration::from_millis(20));
    let mut world = setup.world();
    world.file("film", 1, LEN);
    let clients = [world.plain(), world.tls(), world.plain(), world.tls()];
    for &client in &clients[..2] {
        world.say(client, &format!("get film 0 {LEN}"));
    }
    world.run(Duration::from_millis(50));
    world.engine.shed();
    world.run(Duration::from_millis(50));
    assert!(world.engine.is_drained());
    for client in clients {
        assert!(world.clients[client].was_reset);
        assert_eq!(end_of(&world, client), Some(End::Shed));
    }
    world.assert_empty_handed();
}

#[test]
fn a_handshake_that_never_ends_is_ended() {
    let mut world = world();
    let tcp = world.client_tcp();
    let silent = world.connect(client::host(0, false), SECURE, None, tcp);
    let slow = world.connect(client::host(1, false), SECURE, None, tcp);
    world.clients[slow].say_raw(&[22, 3, 1, 2, 0, 1, 0, 1, 0xFC]);
    world.run(9 * SECOND);
    world.clients[slow].say_raw(&[3, 3]);
    assert!(!world.clients[silent].was_reset);
    world.run(2 * SECOND);
    assert!(world.clients[silent].was_reset && world.clients[slow].was_reset);
    assert_eq!(world.engine.counters().connections, 0);
    assert_eq!(world.engine.counters().failed, 2);
}

#[test]
fn plain_http_at_the_tls_port_is_answered_plainly_and_closed_in_order() {
    let mut world = world();
    let tcp = world.client_tcp();
    let client = world.connect(client::host(0, false), SECURE, None, tcp);
    world.clients[client].say_raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(world.run_until(SECOND, |world| world.clients[client].peer_finished));
    assert_eq!(world.clients[client].heard, PLAIN_TO_TLS);
    assert_eq!(world.engine.counters().plain_to_tls, 1);
    assert_eq!(world.engine.counters().tls_failures, 1);
    assert!(world.seen_by(client).all(|seen| !seen.is(Flags::RST)));
    world.leave();
}

#[test]
fn a_bad_record_is_an_alert_and_the_end() {
    for version in [Version::Tls12, Version::Tls13] {
        let mut world = world();
        let client = world.secure(version, Suite::Aes256Gcm);
        assert!(world.run_until(SECOND, |world| world.clients[client].is_established()));
        let mut garbage = vec![23, 3, 3, 0, 64];
        garbage.resize(69, 0x5A);
        world.clients[client].say_raw(&garbage);
        assert!(world.run_until(SECOND, |world| world.clients[client].failure.is_some()));
        assert!(world.clients[client].failure.as_ref().unwrap().contains("bad_record_mac"));
        world.leave();
        assert_eq!(end_of(&world, client), Some(End::PeerProtocol));
    }
}

#[test]
fn whoever_never_came_in_is_not_counted_among_those_that_left() {
    let mut world = world();
    let client = world.plain();
    world.filter(|_| false);
    world.run(Duration::from_millis(10));
    world.clients[client].is_gone = true;
    assert!(world.run_until(600 * SECOND, |world| world.engine.counters().connections == 0));
    let counters = world.engine.counters();
    assert_eq!((counters.accepted, counters.finished + counters.failed), (0, 0));
}
