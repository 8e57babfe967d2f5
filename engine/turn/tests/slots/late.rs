//! What is only so where records are sealed as they leave.

use crate::world::{SECOND, Setup, World, bytes_of, ciphers};
use core::time::Duration;
use disk_memory::Latency;
use link_memory::MemoryLinkConfig;

const LEN: u64 = 600_000;
const LEN_USIZE: usize = 600_000;

fn begun(setup: Setup) -> (World, Vec<usize>) {
    let mut world = setup.world();
    world.file("film", 1, LEN);
    let mut clients = vec![world.plain()];
    clients.extend(ciphers().map(|(version, suite)| world.secure(version, suite)));
    for &client in &clients {
        world.say(client, &format!("get film 0 {LEN}"));
    }
    (world, clients)
}

fn must_all_finish(world: &mut World, clients: &[usize]) {
    for &client in clients {
        world.hear(client, LEN_USIZE);
        assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
    }
    assert_eq!(world.engine.counters().tag_mismatches, 0);
    world.leave();
}

#[test]
fn segments_that_nobody_cuts_or_sums_for_us_come_out_of_slots() {
    let mut setup = Setup::new();
    (setup.link.superframe_bytes_max, setup.link.checksum) = (0, false);
    let (mut world, clients) = begun(setup);
    must_all_finish(&mut world, &clients);
}

#[test]
fn one_slot_is_enough() {
    let mut setup = Setup::new();
    setup.link.slots = 1;
    let (mut world, clients) = begun(setup);
    must_all_finish(&mut world, &clients);
}

#[test]
fn what_was_read_for_a_link_with_slots_leaves_over_one_without_and_back() {
    let mut setup = Setup::new();
    setup.link.slots = 1;
    setup.disk.faults.read = Latency::Range(Duration::from_millis(2), Duration::from_millis(3));
    let link = setup.link;
    let (mut world, clients) = begun(setup);
    let heard = |world: &World| clients.iter().map(|&client| world.clients[client].heard.len()).min();
    for (least, slots) in [(50_000, 0), (150_000, 1), (250_000, 0), (350_000, 1)] {
        let reads = |world: &World| world.engine.counters().reads_in_flight;
        assert!(world.run_until(60 * SECOND, |world| heard(world) > Some(least) && reads(world) > 0));
        // Reads end, and one packet leaves that nobody takes off the wire: records are at hand, and not sealed.
        let now = world.clock.0.get();
        world.clock.0.set(now + 3_000_000);
        let now = world.now();
        world.engine.disk_mut().advance(now);
        let unsealed = world.engine.counters();
        for _ in 0..4 {
            world.engine.turn();
        }
        let sealed = world.engine.counters();
        let read = sealed.read_bytes - unsealed.read_bytes;
        assert!(read > 0, "nothing was on its way");
        if slots == 0 {
            assert!(sealed.sealed_bytes - unsealed.sealed_bytes < read, "there was room for all of it");
        }
        world.replace_link(MemoryLinkConfig { slots, ..link });
    }
    must_all_finish(&mut world, &clients);
}

#[test]
fn records_that_leave_whole_are_sealed_once_each() {
    let (mut world, clients) = begun(Setup::new());
    must_all_finish(&mut world, &clients);
    let counters = world.engine.counters();
    assert_eq!(counters.resent_bytes, 0, "a lossless wire");
    // Heads of responses and whatever a client of TLS is told beside.
    let sealed = counters.sealed_bytes - LEN * (clients.len() as u64 - 1);
    assert!(sealed < 10_000, "{sealed} bytes beside the film");
}
