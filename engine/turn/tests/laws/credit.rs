//! The ACK clock drives the disk: nothing is read before it may be sent, and nothing is held that may not leave.

use crate::world::service::speech;
use crate::world::{SECOND, Setup, World, bytes_of};
use core::time::Duration;
use disk_memory::Latency;

const LEN: u64 = 1_000_000;
const LEN_USIZE: usize = 1_000_000;
/// What blocks and record boundaries may add to a read.
const SLACK: u64 = 4_096;

fn world() -> World {
    let mut world = Setup::new().world();
    world.file("film", 1, LEN);
    world
}

#[test]
fn the_first_read_is_the_initial_window_and_no_more() {
    let mut world = world();
    let client = world.plain();
    world.filter(|seen| seen.payload.is_empty());
    world.say(client, &format!("get film 0 {LEN}"));
    world.run(Duration::from_millis(150));
    // Ten segments (RFC 6928), in whole blocks; the rest waits for the first acknowledgment.
    let read = world.engine.counters().read_bytes;
    assert!((10 * 1_448 - SLACK..=10 * 1_448 + SLACK).contains(&read), "{read}");
}

#[test]
fn no_more_is_read_than_the_peers_window_takes() {
    for secure in [false, true] {
        let mut world = world();
        let window = 48 << 10;
        let tcp = tcp::Config { receive_window: window, ..world.client_tcp() };
        let client = if secure {
            world.secure_with(tls::Version::Tls13, tls::Suite::Aes128Gcm, tcp)
        } else {
            world.plain_with(tcp)
        };
        world.say(client, &format!("get film 0 {LEN}"));
        let came = world.run_until(60 * SECOND, |world| {
            let heard = world.clients[client].heard.len();
            let read = world.engine.counters().read_bytes;
            let blocks = world.engine.counters().reads * 512;
            let allowed = heard as u64 + u64::from(window) + blocks;
            assert!(read <= allowed, "{read} read and {heard} heard");
            heard == LEN_USIZE
        });
        assert!(came);
        world.leave();
    }
}

#[test]
fn a_closed_window_means_no_reads_and_no_frames() {
    for secure in [false, true] {
        let mut world = world();
        let client = if secure { world.tls() } else { world.plain() };
        world.say(client, &format!("get film 0 {LEN}"));
        assert!(world.run_until(SECOND, |world| world.clients[client].heard.len() > 100_000));
        world.set_reads(client, false);
        world.run(2 * SECOND);
        let reads = world.engine.counters().reads;
        assert_eq!(world.engine.pool().in_use().large, 0, "frames are not a send buffer");
        world.run(60 * SECOND);
        assert_eq!(world.engine.counters().reads, reads, "nothing may leave, so nothing is read");

        world.set_reads(client, true);
        world.hear(client, LEN_USIZE);
        assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
        world.leave();
    }
}

#[test]
fn a_window_that_opens_again_is_noticed_though_the_news_of_it_is_lost() {
    let mut world = world();
    let client = world.plain();
    world.say(client, &format!("get film 0 {LEN}"));
    assert!(world.run_until(SECOND, |world| world.clients[client].heard.len() > 100_000));
    world.set_reads(client, false);
    world.run(5 * SECOND);
    // The client's own TCP forgets to say so: its update is swallowed with the silence.
    world.clients[client].is_gone = true;
    world.set_reads(client, true);
    world.clients[client].is_gone = false;
    world.hear(client, LEN_USIZE);
}

#[test]
fn a_window_that_takes_no_record_is_served_all_the_same() {
    for window in [20, 100, 600] {
        for secure in [false, true] {
            let mut world = world();
            let tcp = tcp::Config { receive_window: window, ..world.client_tcp() };
            let client = if secure {
                world.secure_with(tls::Version::Tls13, tls::Suite::Aes128Gcm, tcp)
            } else {
                world.plain_with(tcp)
            };
            world.say(client, "framed film 0 1000");
            let came = world.run_until(3_600 * SECOND, |world| world.clients[client].heard.len() == 1_004);
            assert!(came, "{window}: {} bytes came", world.clients[client].heard.len());
        }
    }
}

#[test]
fn everything_is_read_once_when_nothing_is_lost() {
    let mut world = world();
    let client = world.tls();
    world.say(client, &format!("get film 0 {LEN}"));
    world.hear(client, LEN_USIZE);
    let counters = world.engine.counters();
    // But for a block that two reads share.
    assert!(counters.read_bytes <= LEN + counters.reads * 512, "{}", counters.read_bytes);
    assert_eq!(counters.resent_bytes, 0);
    assert_eq!(counters.surrendered_bytes, 0);
    // On a long way reads are as large as they may be, not one a record.
    assert!(counters.reads < LEN / 16_384, "{} reads", counters.reads);
}

#[test]
fn bytes_of_the_service_are_held_until_they_are_acknowledged_and_no_longer() {
    let mut world = Setup::new().world();
    let client = world.plain();
    world.say(client, "say 5000");
    world.filter(|seen| seen.payload.is_empty());
    world.run(Duration::from_millis(100));
    let held = world.engine.pool().in_use();
    assert!(held.large + held.small > 0, "they could not be sent again");
    world.filter(|_| true);
    world.hear(client, 5_000);
    assert!(world.clients[client].heard == speech(5_000));
    world.run(Duration::from_millis(100));
    world.assert_empty_handed();
    assert_eq!(world.engine.counters().connections, 1, "though it stays connected");
}

#[test]
fn a_slow_disk_is_asked_for_more_before_it_has_answered() {
    let mut setup = Setup::new();
    setup.disk.faults.read = Latency::Fixed(Duration::from_millis(10));
    let mut world = setup.world();
    world.file("film", 1, LEN);
    let client = world.plain();
    world.say(client, &format!("get film 0 {LEN}"));
    let mut at_most = 0;
    let came = world.run_until(60 * SECOND, |world| {
        at_most = at_most.max(world.engine.connections(1).first().map_or(0, |summary| summary.reads));
        world.clients[client].heard.len() == LEN_USIZE
    });
    assert!(came);
    assert!(at_most > 1 && at_most <= 4, "{at_most} reads on their way at once");
}
