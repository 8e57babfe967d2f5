//! Memory is lent, not copied: it arrives as it is over every kind of link, and needs no disk when it is lost.

use crate::world::{SECOND, Seen, Setup, World, bytes_of, ciphers};
use alloc::rc::Rc;
use link_memory::MemoryLinkConfig;
use turn::{End, MemoryVariant};
use wire::tcp::Flags;

const LEN: u64 = 300_000;
const LEN_USIZE: usize = 300_000;

/// A kind of link, and how memory gets into its packets.
#[derive(Clone, Copy, Debug)]
struct Way {
    link: MemoryLinkConfig,
    variant: MemoryVariant,
}

const VARIANTS: [MemoryVariant; 3] = [MemoryVariant::Gather, MemoryVariant::Mem, MemoryVariant::Pre];

/// Each variant on a link that cuts and sums, on one that cuts nothing, and on one that does not even sum.
fn ways() -> impl Iterator<Item = Way> {
    let all = Setup::new().link;
    let uncut = MemoryLinkConfig { superframe_bytes_max: 0, ..all };
    let links = [all, uncut, MemoryLinkConfig { checksum: false, ..uncut }];
    VARIANTS.into_iter().flat_map(move |variant| links.map(|link| Way { link, variant }))
}

impl Way {
    fn world(self) -> World {
        let Self { link, variant } = self;
        let mut setup = Setup { link, ..Setup::new() };
        setup.config.memory = variant;
        let mut world = setup.world();
        world.lend("logo", 1, LEN);
        world
    }

    /// Without slots and without superframes.
    fn is_cut_by_us(self) -> bool {
        self.link.slots == 0 && self.link.superframe_bytes_max == 0
    }
}

fn uncut() -> Way {
    ways().nth(1).expect("three links")
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
    for way in ways() {
        let mut world = way.world();
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
fn its_sum_is_asked_for_where_nobody_else_sums_and_nowhere_else() {
    for way in ways() {
        let mut world = way.world();
        let client = world.plain();
        world.say(client, &format!("lend logo 1 {LEN}"));
        world.hear(client, LEN_USIZE - 1);
        // Of a copy nothing is left to the link.
        let copies = way.is_cut_by_us() && way.variant != MemoryVariant::Gather;
        assert_eq!(world.lendable("logo").summed.get() > 0, !way.link.checksum || copies, "{way:?}");
        world.leave();
    }
}

#[test]
fn a_head_and_what_is_lent_behind_it_leave_in_one_packet_with_the_end() {
    for way in ways() {
        let mut world = way.world();
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
    let mut world = uncut().world();
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
    for way in ways() {
        let mut world = way.world();
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
    for way in ways() {
        for (version, suite) in ciphers() {
            let mut world = way.world();
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
    for way in ways() {
        let mut world = way.world();
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
    for way in ways() {
        let mut world = way.world();
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
    for way in ways() {
        let mut world = way.world();
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
        assert!(way.link.slots > 0 || world.engine.counters().connections == 0);
        let held = world.engine.pool().in_use();
        let held = held.large + held.small;
        assert_eq!(held > 0, way.link.slots == 0, "{held} frames on {way:?}");
        world.look_again();
        world.assert_empty_handed();
    }
}

#[test]
fn each_variant_does_what_it_says_and_gathers_where_it_cannot() {
    for way in ways() {
        let mut world = way.world();
        let clients: Vec<usize> = (0..8).map(|_| world.plain()).collect();
        world.run(SECOND);
        for &client in &clients {
            world.say(client, "headed logo 0 40000");
        }
        for client in clients {
            world.hear(client, 40_002);
            assert!(world.clients[client].heard[2..] == bytes_of(1, 0..40_000));
        }
        let counters = world.engine.counters();
        let cut = way.is_cut_by_us();
        let [copied, replicas] = [counters.copied_packets, counters.replica_packets];
        let has_slots = way.link.slots > 0;
        assert_eq!(copied > 0, way.variant == MemoryVariant::Mem && !has_slots, "{way:?}");
        assert_eq!(replicas > 0, way.variant == MemoryVariant::Pre && cut, "{way:?}");
        // Eight at once are more than there are replicas of one segment, and the first asks in vain.
        assert!(replicas < counters.packets / 2, "{replicas} of {}", counters.packets);
        assert_eq!(world.lendable("logo").replicated() > 0, replicas > 0);
        world.leave();
    }
}

#[test]
fn a_program_can_ask_what_its_choice_comes_to() {
    let on = |variant: MemoryVariant, slots, superframe_bytes_max| {
        let link = platform::LinkCapabilities {
            mac: [2; 6],
            mtu: 1_500,
            superframe_bytes_max,
            parts_max: 12,
            checksum: true,
            slots,
        };
        variant.on(&link)
    };
    use MemoryVariant::{Gather, Mem, Pre};
    assert_eq!([Gather, Mem, Pre].map(|variant| on(variant, false, 0)), [Gather, Mem, Pre]);
    assert_eq!([Gather, Mem, Pre].map(|variant| on(variant, false, 65_495)), [Gather, Mem, Gather]);
    assert_eq!([Gather, Mem, Pre].map(|variant| on(variant, true, 65_344)), [Mem; 3]);
}

#[test]
fn copies_that_find_no_frame_are_gathered() {
    let mut setup = Setup { link: uncut().link, ..Setup::new() };
    setup.config.memory = MemoryVariant::Mem;
    let mut world = setup.world();
    world.lend("logo", 1, LEN);
    let client = world.plain();
    let pool = world.engine.pool().clone();
    world.run(SECOND);
    let large: Vec<_> = core::iter::from_fn(|| pool.acquire_large()).collect();
    let small: Vec<_> = core::iter::from_fn(|| pool.acquire_small()).collect();
    world.say(client, &format!("lend logo 0 {LEN}"));
    world.hear(client, LEN_USIZE);
    assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
    assert_eq!(world.engine.counters().copied_packets, 0);
    drop((large, small));
    world.leave();
}

#[test]
fn an_idle_connection_does_not_hold_it() {
    let mut world = uncut().world();
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
    for way in ways() {
        for (version, suite) in ciphers() {
            let mut world = way.world();
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
