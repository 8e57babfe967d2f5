//! Memory is lent, not copied: it arrives as it is over every kind of link, and needs no disk when it is lost.

use crate::world::{SECOND, Seen, Setup, World, bytes_of, ciphers};
use alloc::rc::Rc;
use link_memory::MemoryLinkConfig;
use turn::End;
use wire::tcp::Flags;

const LEN: u64 = 300_000;
const LEN_USIZE: usize = 300_000;

/// One that cuts and sums, one that cuts nothing, and one that does not even sum.
fn links() -> [MemoryLinkConfig; 3] {
    let all = Setup::new().link;
    let uncut = MemoryLinkConfig { superframe_bytes_max: 0, ..all };
    [all, uncut, MemoryLinkConfig { checksum: false, ..uncut }]
}

fn world_on(link: MemoryLinkConfig) -> World {
    let mut world = Setup { link, ..Setup::new() }.world();
    world.lend("logo", 1, LEN);
    world
}

/// A plain client, and one for each cipher.
fn clients(world: &mut World) -> Vec<usize> {
    let mut clients = vec![world.plain()];
    clients.extend(ciphers().map(|(version, suite)| world.secure(version, suite)));
    clients
}

#[track_caller]
fn must_not_have_read(world: &World) {
    let counters = world.engine.counters();
    assert_eq!((counters.reads, counters.tag_mismatches, counters.failed), (0, 0, 0));
}

#[test]
fn it_arrives_as_it_is_whatever_range_is_asked_for() {
    for link in links() {
        let mut world = world_on(link);
        for client in clients(&mut world) {
            for range in [0..1, 0..LEN, 1..2_048, 16_383..18_433, 777..54_321, LEN - 1..LEN] {
                world.clients[client].heard.clear();
                world.say(client, &format!("lend logo {} {}", range.start, range.end));
                world.hear(client, usize::try_from(range.end - range.start).unwrap());
                assert!(world.clients[client].heard == bytes_of(1, range));
            }
        }
        must_not_have_read(&world);
        world.leave();
    }
}

#[test]
fn its_sum_is_asked_for_where_the_link_does_not_sum_and_nowhere_else() {
    for link in links() {
        let mut world = world_on(link);
        let client = world.plain();
        world.say(client, &format!("lend logo 1 {LEN}"));
        world.hear(client, LEN_USIZE - 1);
        assert_eq!(world.lendable("logo").summed.get() > 0, !link.checksum);
        world.leave();
    }
}

#[test]
fn a_head_and_what_is_lent_behind_it_leave_in_one_packet_with_the_end() {
    for link in links() {
        let mut world = world_on(link);
        let client = world.plain();
        world.say(client, "headed logo 100 1000");
        world.hear(client, 902);
        let said: Vec<&Seen> = world.seen_by(client).filter(|seen| !seen.is(Flags::SYN)).collect();
        let [only] = said[..] else { panic!("{} segments: {said:?}", said.len()) };
        assert!(only.is(Flags::FIN | Flags::PSH) && only.payload.len() == 902);
        assert_eq!(only.payload[2..], bytes_of(1, 100..1_000));
        world.leave();
    }
}

#[test]
fn segments_but_the_last_are_full_however_the_window_opens() {
    let mut world = world_on(links()[1]);
    let client = world.plain();
    world.say(client, &format!("headed logo 0 {LEN}"));
    world.hear(client, LEN_USIZE + 2);
    let full = world.seen_by(client).map(|seen| seen.payload.len()).max().unwrap();
    let end = u64::from(u32::try_from(LEN_USIZE + 2).unwrap());
    let short: Vec<u64> = world
        .seen_by(client)
        .filter(|seen| !seen.payload.is_empty() && seen.payload.len() < full)
        .map(|seen| seen.offset + seen.payload.len() as u64)
        .collect();
    assert_eq!(short, [end], "ends of segments that were not full");
    world.leave();
}

#[test]
fn what_is_lost_is_looked_up_again() {
    for link in links() {
        let mut world = world_on(link);
        for client in clients(&mut world) {
            let mut left = vec![3, 20_000, 20_001, 100_000, 250_000];
            world.filter(move |seen| {
                let before = left.len();
                left.retain(|&offset| !seen.holds(offset));
                left.len() == before
            });
            world.say(client, &format!("lend logo 0 {LEN}"));
            world.clients[client].heard.clear();
            world.hear(client, LEN_USIZE);
            assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
        }
        assert!(world.engine.counters().resent_bytes > 0);
        must_not_have_read(&world);
        world.leave();
    }
}

#[test]
fn one_segment_in_ten_is_lost_and_every_byte_arrives() {
    for link in links() {
        for (version, suite) in ciphers() {
            let mut world = world_on(link);
            let clients = [world.plain(), world.secure(version, suite)];
            let mut count: u32 = 0;
            world.filter(move |_| {
                count = count.wrapping_mul(0x9E37_79B1).wrapping_add(0x7F4A_7C15);
                !(count >> 8).is_multiple_of(10)
            });
            for client in clients {
                world.say(client, &format!("lend logo 0 {LEN}"));
            }
            for client in clients {
                world.hear(client, LEN_USIZE);
                assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
            }
            must_not_have_read(&world);
            world.leave();
        }
    }
}

#[test]
fn it_is_interleaved_with_files_and_bytes_in_the_order_asked_for() {
    for link in links() {
        let mut world = world_on(link);
        world.file("film", 2, LEN);
        let expected = [bytes_of(1, 5..40_000), bytes_of(2, 5..40_000), bytes_of(1, 5..40_000)].concat();
        for client in clients(&mut world) {
            world.say(client, "between logo 5 40000");
            world.hear(client, expected.len());
            assert!(world.clients[client].heard == expected);
        }
        world.leave();
    }
}

#[test]
fn a_small_window_gets_it_in_small_pieces() {
    for link in links() {
        let mut world = world_on(link);
        let tcp = tcp::Config { receive_window: 700, ..world.client_tcp() };
        let plain = world.plain_with(tcp);
        world.say(plain, "lend logo 0 20000");
        world.hear(plain, 20_000);
        assert!(world.clients[plain].heard == bytes_of(1, 0..20_000));
        world.leave();
    }
}

#[test]
fn frames_on_their_way_outlive_the_memory_and_its_connection() {
    for link in links() {
        let mut world = world_on(link);
        let client = world.plain();
        world.say(client, "lend logo 0 10000");
        assert!(world.run_until(SECOND, |world| world.engine.counters().sent_bytes > 0));
        world.hear(client, 10_000);
        // Asked once more; what the engine says stays on the wire, for nobody looks.
        world.say(client, "lend logo 0 10000");
        assert!(world.turn_unwatched(|world| world.engine.counters().sent_bytes > 14_000));
        world.engine.service_mut().lendables.clear();
        world.engine.shed();
        for _ in 0..4 {
            world.engine.turn();
        }
        // A link whose slots are all taken has no room for a reset.
        assert!(link.slots > 0 || world.engine.counters().connections == 0);
        let held = world.engine.pool().in_use();
        assert_eq!(held.large > 0, link.slots == 0, "{held:?}");
        world.look_again();
        world.assert_empty_handed();
    }
}

#[test]
fn an_idle_connection_does_not_hold_it() {
    let mut world = world_on(links()[0]);
    for client in clients(&mut world) {
        world.say(client, &format!("lend logo 0 {LEN}"));
        world.hear(client, LEN_USIZE);
    }
    world.run(SECOND);
    let lendable = world.lendable("logo");
    assert_eq!(Rc::strong_count(&lendable), 2, "the service's, and ours");
    drop(lendable);
    world.leave();
}

#[test]
fn memory_that_changes_against_its_promise_is_not_sealed_twice() {
    for link in links() {
        for (version, suite) in ciphers() {
            let mut world = world_on(link);
            let client = world.secure(version, suite);
            let mut lost = false;
            world.filter(move |seen| {
                let loses = !lost && seen.holds(100_000);
                lost |= loses;
                !loses
            });
            world.say(client, &format!("lend logo 0 {LEN}"));
            assert!(world.run_until(5 * SECOND, |world| {
                let heard = world.clients[client].heard.len();
                let sent = world.seen_by(client).any(|seen| seen.holds(100_000));
                sent && heard > 50_000
            }));
            let pool = world.engine.pool().clone();
            world.lendable("logo").fill(&pool, 2, LEN);
            assert!(world.run_until(10 * SECOND, |world| world.clients[client].was_reset), "no reset");
            assert_eq!(world.engine.counters().tag_mismatches, 1);
            let port = world.clients[client].local.port();
            assert_eq!(world.engine.service().end_of(port), Some(End::TagMismatch));
            world.leave();
        }
    }
}

#[test]
fn records_wait_for_frames_and_plain_streams_do_not() {
    let mut setup = Setup::new();
    setup.pool.large_count = 32;
    let mut world = setup.world();
    world.lend("logo", 1, LEN);
    let secure: Vec<usize> = (0..4).map(|_| world.tls()).collect();
    let plain = world.plain();
    // The rest of the large frames is somebody else's for a while.
    let pool = world.engine.pool().clone();
    world.run(SECOND);
    let taken: Vec<_> = core::iter::from_fn(|| pool.acquire_large()).collect();
    for &client in secure.iter().chain([&plain]) {
        world.say(client, &format!("lend logo 0 {LEN}"));
    }
    world.hear(plain, LEN_USIZE);
    assert!(secure.iter().all(|&client| world.clients[client].heard.len() < LEN_USIZE));
    assert!(world.engine.counters().frame_waits > 0);
    drop(taken);
    for client in secure {
        world.hear(client, LEN_USIZE);
        assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
    }
    world.leave();
}
