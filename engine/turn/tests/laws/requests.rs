//! The service is asked for one thing at a time, and what it does not take waits within bounds.

use crate::world::service::speech;
use crate::world::{SECOND, Setup, World, bytes_of};
use core::time::Duration;
use disk_memory::Latency;
use turn::End;
use wire::tcp::Flags;

const LEN: u64 = 1_000_000;
const LEN_USIZE: usize = 1_000_000;

fn world() -> World {
    let mut world = Setup::new().world();
    world.file("film", 1, LEN);
    world
}

#[test]
fn pipelined_requests_are_answered_one_after_the_other() {
    for secure in [false, true] {
        let mut world = world();
        let client = if secure { world.tls() } else { world.plain() };
        let lines =
            ["framed film 0 50000", "say 3000", "framed film 7 9", "say 1", "framed film 999990 1000000"];
        world.say(client, &lines.join("\n"));
        let mut expected = b"<<".to_vec();
        expected.extend(bytes_of(1, 0..50_000));
        expected.extend(b">>");
        expected.extend(speech(3_000));
        expected.extend(b"<<");
        expected.extend(bytes_of(1, 7..9));
        expected.extend(b">>");
        expected.extend(speech(1));
        expected.extend(b"<<");
        expected.extend(bytes_of(1, 999_990..LEN));
        expected.extend(b">>");
        world.hear(client, expected.len());
        assert!(world.clients[client].heard == expected);
        assert_eq!(world.engine.service().asked(), lines);
        world.leave();
    }
}

#[test]
fn a_request_in_pieces_is_offered_once_for_each_piece() {
    let mut world = world();
    let client = world.plain();
    for piece in ["fra", "med fi", "lm 0 ", "10"] {
        world.clients[client].say_raw(piece.as_bytes());
        world.run(Duration::from_millis(20));
    }
    assert_eq!(world.engine.service().offered, 4);
    world.clients[client].say_raw(b"0\n");
    world.hear(client, 104);
    world.leave();
}

#[test]
fn what_a_busy_service_has_not_taken_closes_the_window_and_opens_it_again() {
    for secure in [false, true] {
        let mut world = world();
        let client = if secure { world.tls() } else { world.plain() };
        world.say(client, &format!("get film 0 {LEN}"));
        // Nobody reads the film, so the service is busy with it, while half a megabyte of requests comes in.
        assert!(world.run_until(SECOND, |world| world.clients[client].heard.len() > 10_000));
        world.set_reads(client, false);
        for _ in 0..500 {
            world.say(client, &format!("say {:01$}", 1, 1_000));
        }
        world.run(5 * SECOND);
        let is_shut = |world: &World| world.seen_by(client).any(|seen| seen.header.window == 0);
        assert!(is_shut(&world), "the peer may send without bound");
        let taken = world.engine.counters().received_bytes;
        assert!(taken < 290_000, "{taken}");

        world.set_reads(client, true);
        world.hear(client, LEN_USIZE + 500);
        world.leave();
    }
}

#[test]
fn an_opened_window_is_told_at_once() {
    let mut world = world();
    let client = world.plain();
    world.say(client, &format!("get film 0 {LEN}"));
    assert!(world.run_until(SECOND, |world| world.clients[client].heard.len() > 10_000));
    world.set_reads(client, false);
    // One line that is longer than what may wait, and more than the window takes.
    for _ in 0..40 {
        world.say(client, &format!("say {:01$}", 0, 10_000));
    }
    world.run(20 * SECOND);
    world.set_reads(client, true);
    world.hear(client, LEN_USIZE);
    // The server has no more to say, and the client cannot say more until it is told that it may.
    let began = world.now();
    let all = world.run_until(10 * SECOND, |world| world.engine.service().asked().len() == 41);
    assert!(all);
    let took = world.now().since(began);
    assert!(took < Duration::from_millis(50), "{took:?}");
    world.leave();
}

#[test]
fn a_peer_that_sends_and_never_says_anything_is_shed() {
    for secure in [false, true] {
        let mut world = world();
        let client = if secure { world.tls() } else { world.plain() };
        world.say(client, &"x".repeat(20_000));
        assert!(world.run_until(SECOND, |world| world.clients[client].was_reset));
        assert_eq!(world.engine.service().end_of(world.clients[client].local.port()), Some(End::Shed));
        world.leave();
    }
}

#[test]
fn the_service_sets_one_deadline_and_is_called_at_it() {
    let mut world = world();
    let client = world.plain();
    // Half a line: the service gives it five seconds, from the last byte on.
    world.clients[client].say_raw(b"get");
    world.run(4 * SECOND);
    world.clients[client].say_raw(b" film");
    world.run(4 * SECOND);
    assert!(!world.clients[client].was_reset);
    assert!(world.run_until(2 * SECOND, |world| world.clients[client].was_reset));
    assert_eq!(world.engine.service().end_of(world.clients[client].local.port()), Some(End::Aborted));
}

#[test]
fn an_abort_of_the_service_is_a_reset_and_the_service_hears_no_more() {
    let mut world = world();
    let client = world.plain();
    world.say(client, &format!("get film 0 {LEN}\nabort\nsay 5"));
    assert!(world.run_until(20 * SECOND, |world| world.clients[client].was_reset));
    assert_eq!(world.engine.service().asked().len(), 2);
    assert_eq!(world.clients[client].heard.len(), LEN_USIZE);
    world.leave();
}

#[test]
fn a_head_and_the_file_behind_it_leave_in_one_segment() {
    let mut world = world();
    let client = world.plain();
    world.say(client, "framed film 0 100");
    world.hear(client, 104);
    assert_eq!(world.seen_by(client).filter(|seen| !seen.payload.is_empty()).count(), 1);
    world.leave();
}

#[test]
fn a_lost_head_does_not_wait_for_a_disk_that_is_slow_now() {
    let mut world = world();
    let client = world.plain();
    // The file is open from now on.
    world.say(client, "get film 0 10");
    world.hear(client, 10);
    world.say(client, "say 50");
    let mut losses = 1;
    world.filter(move |seen| {
        let loses = losses > 0 && !seen.payload.is_empty();
        losses -= i32::from(loses);
        !loses
    });
    // The client has only acknowledged nothing yet when the next request makes the disk work.
    world.run(Duration::from_millis(4));
    let until = world.now() + 8 * SECOND;
    world.engine.disk_mut().stall_until(until);
    world.say(client, "get film 0 5000");
    let head = world.run_until(4 * SECOND, |world| world.clients[client].heard.len() >= 60);
    assert!(head, "what was lost waits for a read that is not behind it");
    world.hear(client, 5_060);
    world.leave();
}

#[test]
fn a_request_that_comes_with_the_fin_is_answered() {
    for secure in [false, true] {
        let mut world = world();
        let client = if secure { world.tls() } else { world.plain() };
        assert!(world.run_until(SECOND, |world| world.clients[client].is_established()));
        world.say(client, &format!("get film 0 {LEN}"));
        world.clients[client].finish();
        world.hear(client, LEN_USIZE);
        assert!(world.run_until(SECOND, |world| world.clients[client].peer_finished));
        assert!(world.seen_by(client).all(|seen| !seen.is(Flags::RST)));
        world.leave();
        assert_eq!(world.engine.counters().finished, 1);
    }
}

#[test]
fn a_head_whose_file_waits_for_a_place_at_the_disk_leaves_with_it_and_with_the_end() {
    for secure in [false, true] {
        let mut setup = Setup::new();
        setup.disk.reads_in_flight_max = 1;
        setup.disk.faults.read = Latency::Fixed(Duration::from_micros(300));
        let mut world = setup.world();
        world.file("film", 1, 700);
        let clients: Vec<usize> = (0..12).map(|_| if secure { world.tls() } else { world.plain() }).collect();
        world.run(SECOND);
        world.seen.retain(|seen| seen.is(Flags::SYN));
        for &client in &clients {
            world.say(client, "page film 0 700");
        }
        for &client in &clients {
            world.hear(client, 702);
        }
        assert!(world.engine.counters().disk_waits > 0, "the test has lost its premise");
        for client in clients {
            let said: Vec<_> = world.seen_by(client).filter(|seen| !seen.payload.is_empty()).collect();
            assert_eq!(said.len(), 1, "client {client}: {said:?}");
            assert!(said[0].is(Flags::FIN));
        }
        world.leave();
    }
}
