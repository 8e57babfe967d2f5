//! Too little of something: everybody waits a turn, and everybody gets there.

use crate::world::service::speech;
use crate::world::{SECOND, Setup, World, bytes_of};
use core::time::Duration;
use disk_memory::Latency;
use dma::PoolLayout;
use link_memory::MemoryLinkConfig;

const LEN: u64 = 300_000;
const LEN_USIZE: usize = 300_000;
/// Clients that hear nothing of what they asked for.
const SILENT: usize = 100;
const GREEDY_LEN: u64 = 4_000_000;

/// One who wants a lot and twenty who want a little, at once; all must get it, and the twenty not after the one.
fn one_greedy_and_twenty_others(setup: Setup) -> World {
    let mut world = setup.world();
    world.file("film", 1, GREEDY_LEN);
    let greedy = world.tls();
    let others: Vec<_> =
        (0..20).map(|index| if index % 2 == 0 { world.plain() } else { world.tls() }).collect();
    world.say(greedy, &format!("get film 0 {GREEDY_LEN}"));
    assert!(world.run_until(5 * SECOND, |world| world.clients[greedy].heard.len() > 100_000));
    for &other in &others {
        world.say(other, &format!("get film 0 {LEN}"));
    }
    let are_done = |world: &World| others.iter().all(|&other| world.clients[other].heard.len() == LEN_USIZE);
    let mut done_at = None;
    let all = world.run_until(300 * SECOND, |world| {
        if done_at.is_none() && are_done(world) {
            done_at = Some(world.clients[greedy].heard.len());
        }
        are_done(world) && world.clients[greedy].heard.len() as u64 == GREEDY_LEN
    });
    assert!(all, "somebody starves: {:?}", world.engine);
    assert!(done_at.unwrap() < LEN_USIZE * 10, "the others came last: {done_at:?}");
    for other in others {
        assert!(world.clients[other].heard == bytes_of(1, 0..LEN));
    }
    world.leave();
    world
}

#[test]
fn a_dozen_frames_serve_twenty_one() {
    let mut setup = Setup::new();
    setup.pool = PoolLayout { large_count: 12, small_count: 64 };
    let world = one_greedy_and_twenty_others(setup);
    let counters = world.engine.counters();
    assert!(counters.frame_waits > 0, "there were enough frames");
    assert_eq!(counters.disk_waits, 0, "the disk is blamed");
}

#[test]
fn a_disk_that_takes_two_reads_serves_twenty_one() {
    let mut setup = Setup::new();
    setup.disk.reads_in_flight_max = 2;
    setup.disk.faults.read = Latency::Fixed(Duration::from_micros(300));
    let world = one_greedy_and_twenty_others(setup);
    let counters = world.engine.counters();
    assert!(counters.disk_waits > 0, "the disk was never full");
    assert_eq!(counters.frame_waits, 0, "the frames are blamed");
}

#[test]
fn one_read_at_a_time_serves_twenty_one() {
    let mut setup = Setup::new();
    setup.config.reading_frames_max = 1;
    setup.config.reads_per_connection_max = 1;
    setup.disk.faults.read = Latency::Fixed(Duration::from_micros(100));
    one_greedy_and_twenty_others(setup);
}

#[test]
fn what_waits_for_a_full_link_keeps_new_reads_back() {
    const FRAMES_MAX: u32 = 16;
    let mut setup = Setup::new();
    setup.config.reading_frames_max = FRAMES_MAX;
    setup.disk.faults.read = Latency::Fixed(Duration::ZERO);
    let mut world = setup.world();
    world.file("film", 1, LEN);
    let clients: Vec<_> = (0..100).map(|_| world.plain()).collect();
    world.run(SECOND);
    world.link_room = 1;
    for &client in &clients {
        world.say(client, &format!("get film 0 {LEN}"));
    }
    let heard = |world: &mut World| clients.iter().all(|&id| world.clients[id].heard.len() == LEN_USIZE);
    assert!(world.run_until(300 * SECOND, heard), "somebody starves: {:?}", world.engine);
    assert!(world.link_refused.get() > 0, "the link was never full");
    // What was being read when the link filled up lands, and the last read may fill more than there was room for.
    let out = world.engine.pool().in_use().large_max;
    assert!(out <= 2 * FRAMES_MAX + 8, "{out} frames were out");
    world.leave();
}

#[test]
fn whoever_needs_no_disk_does_not_wait_for_it() {
    let mut setup = Setup::new();
    setup.disk.reads_in_flight_max = 1;
    let mut world = setup.world();
    world.file("film", 1, LEN);
    let [first, second, other] = [world.plain(), world.tls(), world.tls()];
    for client in [first, second] {
        world.say(client, &format!("get film 0 {LEN}"));
    }
    assert!(world.run_until(SECOND, |world| world.clients[second].heard.len() > 20_000));
    let until = world.now() + 20 * SECOND;
    world.engine.disk_mut().stall_until(until);
    world.run(SECOND);
    assert!(world.clients[first].heard.len() < LEN_USIZE && world.clients[second].heard.len() < LEN_USIZE);
    world.say(other, "say 5000");
    assert!(world.run_until(SECOND / 10, |world| world.clients[other].heard.len() == 5_000));
    for client in [first, second] {
        world.hear(client, LEN_USIZE);
    }
    world.leave();
}

#[test]
fn bytes_of_ours_that_were_lost_do_not_wait_for_the_disk_either() {
    for secure in [false, true] {
        let mut setup = Setup::new();
        setup.disk.reads_in_flight_max = 1;
        let mut world = setup.world();
        world.file("film", 1, LEN);
        let [first, second] = [world.plain(), world.tls()];
        let other = if secure { world.tls() } else { world.plain() };
        for client in [first, second] {
            world.say(client, &format!("get film 0 {LEN}"));
        }
        assert!(world.run_until(SECOND, |world| world.clients[second].heard.len() > 20_000));
        let until = world.now() + 20 * SECOND;
        world.engine.disk_mut().stall_until(until);
        world.run(SECOND);
        // The first copies of the second and the last segment.
        let mut losses = 2;
        world.filter(move |seen| {
            let is_odd = seen.payload.len() < 1_448 || seen.offset % 3 == 1;
            let loses = seen.client == Some(other) && !seen.payload.is_empty() && losses > 0 && is_odd;
            losses -= i32::from(loses);
            !loses
        });
        world.say(other, "say 5000");
        assert!(world.run_until(5 * SECOND, |world| world.clients[other].heard.len() == 5_000), "it waits");
        assert!(world.engine.counters().resent_bytes > 0, "nothing was lost");
        for client in [first, second] {
            world.hear(client, LEN_USIZE);
        }
        world.leave();
    }
}

#[test]
fn a_link_that_takes_a_packet_a_turn_loses_and_reorders_nothing() {
    loses_and_reorders_nothing(Setup::new(), 1);
}

#[test]
fn nor_does_one_that_does_not_cut() {
    for (room, checksum) in [(1, true), (7, false), (44, true)] {
        let mut setup = Setup::new();
        setup.link = MemoryLinkConfig { superframe_bytes_max: 0, slots: 0, checksum, ..setup.link };
        loses_and_reorders_nothing(setup, room);
    }
}

fn loses_and_reorders_nothing(setup: Setup, link_room: usize) {
    let mut world = setup.world();
    world.file("film", 1, LEN);
    world.link_room = link_room;
    let clients = [world.plain(), world.tls(), world.plain(), world.tls(), world.plain()];
    for client in clients {
        world.say(client, &format!("framed film 0 {LEN}\nbye"));
    }
    for client in clients {
        world.hear(client, LEN_USIZE + 4);
        assert!(world.clients[client].heard[2..LEN_USIZE + 2] == bytes_of(1, 0..LEN));
    }
    assert!(world.link_refused.get() > 0, "the link was never full");
    assert_eq!(world.engine.counters().resent_bytes, 0);
    for client in clients {
        let mut next = 0;
        for seen in world.seen_by(client).filter(|seen| !seen.payload.is_empty()) {
            assert_eq!(seen.offset, next, "out of order");
            next += seen.payload.len() as u64;
        }
    }
    world.leave();
}

#[test]
fn what_was_lost_goes_before_what_is_new_when_frames_are_few() {
    let mut setup = Setup::new();
    setup.pool = PoolLayout { large_count: 12, small_count: 64 };
    let mut world = setup.world();
    world.file("film", 1, LEN);
    let clients: Vec<_> = (0..12).map(|_| world.tls()).collect();
    let mut count: u32 = 3;
    world.filter(move |_| {
        count = count.wrapping_mul(0x9E37_79B1).wrapping_add(0x7F4A_7C15);
        !(count >> 9).is_multiple_of(12)
    });
    for &client in &clients {
        world.say(client, &format!("twice film 0 {LEN}"));
    }
    for &client in &clients {
        world.hear(client, 2 * LEN_USIZE);
    }
    world.leave();
}

#[test]
fn peers_that_acknowledge_nothing_do_not_keep_the_frames_from_others() {
    let mut setup = Setup::new();
    setup.pool = PoolLayout { large_count: 24, small_count: 48 };
    let mut world = setup.world();
    world.file("film", 1, LEN);
    world.filter(|seen| seen.client.is_none_or(|client| client >= SILENT) || seen.payload.is_empty());
    // Each may have ten segments of the service's own bytes on the way, which have to be kept; there are more of them
    // than frames.
    for client in (0..SILENT).map(|_| world.plain()).collect::<Vec<_>>() {
        world.say(client, if client % 2 == 0 { "say 14000" } else { "say 1000" });
    }
    let honest = [world.plain(), world.tls()];
    world.run(Duration::from_millis(500));
    for client in honest {
        world.say(client, &format!("framed film 0 {LEN}"));
    }
    let began = world.now();
    for client in honest {
        world.hear(client, LEN_USIZE + 4);
    }
    let took = world.now().since(began);
    assert!(took < 10 * SECOND, "{took:?}");
}

#[test]
fn a_few_keys_at_hand_serve_many_connections() {
    let mut setup = Setup::new();
    setup.config.keys_max = 4;
    let mut world = setup.world();
    world.file("film", 1, LEN);
    let clients: Vec<_> = (0..10).map(|_| world.tls()).collect();
    for &client in &clients {
        world.say(client, &format!("framed film 0 {LEN}\nsay 3"));
    }
    for &client in &clients {
        world.hear(client, LEN_USIZE + 4 + 3);
        assert!(world.clients[client].heard.ends_with(&speech(3)));
    }
    world.leave();
}

#[test]
fn more_files_than_may_be_open_are_all_sent() {
    let mut setup = Setup::new();
    setup.config.files_max = 2;
    let mut world = setup.world();
    let clients: Vec<_> = (0..10).map(|_| world.plain()).collect();
    for (number, &client) in (0..).zip(&clients) {
        world.file(&format!("f{number}"), number, LEN);
        world.say(client, &format!("get f{number} 0 {LEN}"));
    }
    for (number, &client) in (0..).zip(&clients) {
        world.hear(client, LEN_USIZE);
        assert!(world.clients[client].heard == bytes_of(number, 0..LEN));
    }
    world.leave();
    assert!(world.engine.disk().files_open() <= 2, "files stay open");
}
