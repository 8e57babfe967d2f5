//! What is lost is read and sealed again: to the same bytes, or not at all.

use crate::world::service::ROOT;
use crate::world::{SECOND, Seen, Setup, World, bytes_of, ciphers};
use alloc::rc::Rc;
use core::cell::Cell;
use core::time::Duration;
use disk_memory::{Latency, Object};
use turn::End;

const LEN: u64 = 400_000;
const LEN_USIZE: usize = 400_000;

fn world() -> World {
    let mut world = Setup::new().world();
    world.file("film", 1, LEN);
    world
}

/// Loses the first copy of whatever holds one of these stream offsets; says how many were lost.
fn lose_once(world: &mut World, offsets: &[u64]) -> Rc<Cell<usize>> {
    let lost = Rc::new(Cell::new(0));
    let mut left = offsets.to_vec();
    let counter = Rc::clone(&lost);
    world.filter(move |seen| {
        let before = left.len();
        left.retain(|&offset| !seen.holds(offset));
        counter.set(counter.get() + before - left.len());
        left.len() == before
    });
    lost
}

#[test]
fn a_lost_segment_comes_again_as_it_was() {
    let mut world = world();
    let mut clients = vec![world.plain()];
    clients.extend(ciphers().map(|(version, suite)| world.secure(version, suite)));
    for client in clients {
        let lost = lose_once(&mut world, &[20_000, 20_001, 100_000, 101_000, 250_000]);
        world.say(client, &format!("framed film 0 {LEN}"));
        world.hear(client, LEN_USIZE + 4);
        assert!(world.clients[client].heard[2..LEN_USIZE + 2] == bytes_of(1, 0..LEN));
        assert_eq!(lost.get(), 5);
    }
    let counters = world.engine.counters();
    assert!(counters.resent_bytes > 0 && counters.read_bytes > 7 * LEN);
    assert_eq!(counters.tag_mismatches, 0);
    world.leave();
}

#[test]
fn a_lost_tail_comes_again() {
    for secure in [false, true] {
        let mut world = world();
        let client = if secure { world.tls() } else { world.plain() };
        world.say(client, "get film 0 5000");
        let mut losses = 3;
        world.filter(move |seen| {
            let loses = !seen.payload.is_empty() && losses > 0 && seen.offset > 4_000;
            losses -= i32::from(loses);
            !loses
        });
        world.hear(client, 5_000);
        assert!(world.clients[client].heard == bytes_of(1, 0..5_000));
        world.leave();
    }
}

#[test]
fn one_segment_in_ten_is_lost_and_every_byte_arrives() {
    for (version, suite) in ciphers() {
        let mut world = world();
        let (plain, secure) = (world.plain(), world.secure(version, suite));
        let mut count: u32 = 0;
        world.filter(move |_| {
            count = count.wrapping_mul(0x9E37_79B1).wrapping_add(0x7F4A_7C15);
            !(count >> 8).is_multiple_of(10)
        });
        for client in [plain, secure] {
            world.say(client, &format!("get film 0 {LEN}"));
        }
        for client in [plain, secure] {
            world.hear(client, LEN_USIZE);
            assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
        }
        world.leave();
    }
}

/// Runs until something of the film is lost that begins record by record at `offset`, and rewrites the file then.
fn change_after_loss_at(world: &mut World, client: usize, offset: u64) {
    let lost = lose_once(world, &[offset]);
    world.say(client, &format!("get film 0 {LEN}"));
    assert!(world.run_until(5 * SECOND, |_| lost.get() == 1), "never sent");
    world.engine.disk_mut().replace(ROOT, "film", Object::pattern(2, LEN));
}

#[test]
fn a_file_that_changed_meanwhile_ends_the_connection_and_nothing_is_sealed_twice() {
    for (version, suite) in ciphers() {
        let mut world = world();
        let client = world.secure(version, suite);
        change_after_loss_at(&mut world, client, 150_000);
        let changed_at = world.now();
        assert!(world.run_until(10 * SECOND, |world| world.clients[client].was_reset), "no reset");
        assert_eq!(world.engine.counters().tag_mismatches, 1);
        assert_eq!(world.engine.service().end_of(world.clients[client].local.port()), Some(End::TagMismatch));
        let resent = |seen: &&Seen| seen.at > changed_at && seen.holds(150_000);
        assert_eq!(world.seen_by(client).find(resent).map(|seen| seen.offset), None, "a second ciphertext");
        world.leave();
    }
}

#[test]
fn one_changed_byte_at_the_end_of_a_record_is_enough() {
    let mut world = world();
    let client = world.tls();
    let lost = lose_once(&mut world, &[150_000]);
    world.say(client, &format!("get film 0 {LEN}"));
    assert!(world.run_until(5 * SECOND, |_| lost.get() == 1));
    let mut bytes = bytes_of(1, 0..LEN);
    // Stream offset 150,000 lies in a record that ends between here and one record further.
    for byte in &mut bytes[149_000..166_000] {
        *byte ^= 1;
    }
    world.engine.disk_mut().replace(ROOT, "film", Object::bytes(bytes));
    assert!(world.run_until(10 * SECOND, |world| world.clients[client].was_reset));
    assert_eq!(world.engine.counters().tag_mismatches, 1);
}

#[test]
fn a_record_whose_first_sending_was_interrupted_is_under_the_same_guard() {
    let mut setup = Setup::new();
    setup.disk.faults.read = Latency::Fixed(Duration::from_millis(30));
    let mut world = setup.world();
    world.file("film", 1, 4 * LEN);
    let client = world.tls();
    world.say(client, &format!("get film 0 {}", 4 * LEN));
    assert!(world.run_until(20 * SECOND, |world| world.clients[client].heard.len() > 300_000));
    // What is lost now halves the window while reads are on their way: some of them come too late to leave.
    let mut count = 0;
    world.filter(move |_| {
        count += 1;
        count % 3 != 0
    });
    let surrendered = world.run_until(30 * SECOND, |world| world.engine.counters().surrendered_bytes > 0);
    assert!(surrendered, "the test has lost its premise");
    world.engine.disk_mut().replace(ROOT, "film", Object::pattern(2, 4 * LEN));
    world.filter(|_| true);
    // That no byte differs from one that was sent is watched by the world.
    assert!(world.run_until(30 * SECOND, |world| world.clients[client].was_reset));
    assert_eq!(world.engine.counters().tag_mismatches, 1);
}

#[test]
fn another_file_under_the_same_name_changes_nothing_for_who_has_the_old_one() {
    let mut world = world();
    let client = world.tls();
    let lost = lose_once(&mut world, &[150_000]);
    world.say(client, &format!("get film 0 {LEN}"));
    assert!(world.run_until(5 * SECOND, |_| lost.get() == 1));
    world.file("film", 2, LEN);
    // Somebody else finds the new one, and the name leads there from now on.
    world.run(2 * SECOND);
    let other = world.plain();
    world.say(other, &format!("get film 0 {LEN}"));
    world.hear(other, LEN_USIZE);
    world.hear(client, LEN_USIZE);
    assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
    assert!(world.clients[other].heard == bytes_of(2, 0..LEN));
    world.leave();
    assert_eq!(world.engine.disk().files_open(), 1, "the old one is closed");
}

#[test]
fn a_file_that_shrank_ends_its_connections_and_no_other() {
    let mut world = world();
    world.file("other", 3, LEN);
    let (first, second, third) = (world.plain(), world.tls(), world.tls());
    for client in [first, second] {
        world.say(client, &format!("get film 0 {LEN}"));
    }
    world.say(third, &format!("get other 0 {LEN}"));
    assert!(world.run_until(5 * SECOND, |world| {
        [first, second, third].iter().all(|&client| world.clients[client].heard.len() > 30_000)
    }));
    world.engine.disk_mut().truncate(ROOT, "film", 60_000);
    world.hear(third, LEN_USIZE);
    for client in [first, second] {
        assert!(world.clients[client].was_reset);
        assert_eq!(world.engine.service().end_of(world.clients[client].local.port()), Some(End::Disk));
        let heard = world.clients[client].heard.len();
        assert!(world.clients[client].heard == bytes_of(1, 0..heard as u64), "a wrong byte");
    }
    assert_eq!(world.engine.counters().disk_failures, 2);
    world.leave();
}

#[test]
fn a_failed_second_reading_of_what_has_arrived_meanwhile_ends_nothing() {
    for secure in [false, true] {
        for error in [true, false] {
            let mut world = world();
            let client = if secure { world.tls() } else { world.plain() };
            world.say(client, "get film 0 9000");
            assert!(world.run_until(SECOND, |world| world.engine.counters().reads == 1));
            // The acknowledgments take long: what has arrived is taken for lost, and read again from a slow disk.
            world.delay_up = Duration::from_millis(1_500);
            assert!(world.run_until(SECOND, |world| world.clients[client].heard.len() == 9_000));
            let until = world.now() + 4 * SECOND;
            world.engine.disk_mut().stall_until(until);
            if error {
                world.engine.disk_mut().fail_reads(8, platform::DiskError::Io(5));
            } else {
                world.engine.disk_mut().truncate(ROOT, "film", 0);
            }
            assert!(world.run_until(SECOND, |world| world.engine.counters().reads > 1), "never read again");
            world.run(2 * SECOND);
            assert!(world.engine.counters().reads_in_flight > 0, "the second reading has ended too soon");
            world.run(3 * SECOND);
            assert_eq!(world.engine.counters().reads_in_flight, 0);
            assert_eq!(world.engine.counters().disk_failures, 0);
            assert!(!world.clients[client].was_reset);
            world.delay_up = crate::world::DELAY;
            world.leave();
        }
    }
}

#[test]
fn a_failed_read_ends_its_connection_and_no_other() {
    let mut world = world();
    let (first, second) = (world.plain(), world.plain());
    world.engine.disk_mut().fail_reads(1, platform::DiskError::Io(5));
    world.say(first, &format!("get film 0 {LEN}"));
    assert!(world.run_until(SECOND, |world| world.clients[first].was_reset));
    world.say(second, &format!("get film 0 {LEN}"));
    world.hear(second, LEN_USIZE);
    assert_eq!(world.engine.counters().disk_failures, 1);
    world.leave();
}
