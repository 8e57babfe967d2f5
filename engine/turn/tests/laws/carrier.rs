//! A link that carries nothing for a while, that vanishes and is replaced, and whose MTU changes.

use crate::world::client::host;
use crate::world::{PLAIN, SECOND, SERVER_MAC, SERVER_V4, SERVER_V6, Setup, World, bytes_of, ciphers};
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use dma::PoolLayout;
use link_memory::MemoryLinkConfig;
use turn::Carrier;
use wire::MacAddr;
use wire::tcp::Flags;

const LEN: u64 = 2_000_000;
const LEN_USIZE: usize = 2_000_000;
/// Long enough for every timer to have been backed off a few times.
const SILENCE: Duration = Duration::from_secs(8);

/// Clients of every kind in the middle of a download.
fn downloading() -> (World, Vec<usize>, MemoryLinkConfig) {
    downloading_over(Setup::new().link)
}

fn downloading_over(link: MemoryLinkConfig) -> (World, Vec<usize>, MemoryLinkConfig) {
    let setup = Setup { link, ..Setup::new() };
    let mut world = setup.world();
    world.file("film", 1, LEN);
    let mut clients = vec![world.plain()];
    clients.extend(ciphers().map(|(version, suite)| world.secure(version, suite)).collect::<Vec<_>>());
    for &client in &clients {
        world.say(client, &format!("get film 0 {LEN}"));
    }
    let begun = world
        .run_until(20 * SECOND, |world| clients.iter().all(|&of| world.clients[of].heard.len() > 100_000));
    assert!(begun);
    (world, clients, link)
}

#[track_caller]
fn must_all_finish(world: &mut World, clients: &[usize]) {
    for &client in clients {
        world.hear(client, LEN_USIZE);
        assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
    }
    world.leave();
    assert_eq!(world.engine.counters().failed, 0);
}

#[test]
fn a_carrier_that_comes_back_finds_every_connection() {
    let (mut world, clients, _) = downloading();
    world.set_carrier(Carrier::Down);
    world.run(Duration::from_millis(10));
    assert_eq!(world.engine.carrier(), Carrier::Down);
    let (said, turns) = (world.seen.len(), world.engine.counters().turns);
    world.run(SILENCE);
    assert_eq!(world.seen.len(), said, "something was sent without a carrier");
    // Timers fire, and clients ask what has become of us; nobody spins.
    assert!(world.engine.counters().turns - turns < 2_000, "{:?}", world.engine);
    let read = world.engine.counters().read_bytes;
    world.set_carrier(Carrier::Up);
    must_all_finish(&mut world, &clients);
    assert_eq!(world.engine.counters().link_losses, 1);
    assert!(world.engine.counters().read_bytes > read);
}

#[test]
fn nobody_waits_for_a_timer_that_was_backed_off() {
    let (mut world, clients, _) = downloading();
    world.set_carrier(Carrier::Down);
    world.run(SILENCE);
    world.set_carrier(Carrier::Up);
    let heard: Vec<_> = clients.iter().map(|&of| world.clients[of].heard.len()).collect();
    // Ten round trips: after eight seconds without an answer the timers stand at several seconds.
    let went_on = world.run_until(Duration::from_millis(20), |world| {
        clients.iter().zip(&heard).all(|(&of, before)| world.clients[of].heard.len() > *before)
    });
    assert!(went_on);
    must_all_finish(&mut world, &clients);
}

#[test]
fn what_leaves_too_early_for_the_other_end_leaves_again_soon() {
    let (mut world, clients, _) = downloading();
    world.set_carrier(Carrier::Down);
    world.run(SILENCE);
    // Our end has its carrier before the other end has its own: a switch learns, a host configures itself.
    world.filter(|_| false);
    world.set_carrier(Carrier::Up);
    world.run(Duration::from_millis(700));
    world.filter(|_| true);
    let heard: Vec<_> = clients.iter().map(|&of| world.clients[of].heard.len()).collect();
    let went_on = world.run_until(SECOND, |world| {
        clients.iter().zip(&heard).all(|(&of, before)| world.clients[of].heard.len() > *before + 100_000)
    });
    assert!(went_on, "a timer stayed backed off");
    must_all_finish(&mut world, &clients);
}

#[test]
fn short_interruptions_one_after_the_other_cost_time_only() {
    let (mut world, clients, _) = downloading();
    for round in 0..20 {
        world.set_carrier(Carrier::Down);
        world.run(Duration::from_millis(1 + round * 7));
        world.set_carrier(Carrier::Up);
        world.run(Duration::from_millis(3));
    }
    must_all_finish(&mut world, &clients);
}

#[test]
fn a_device_that_vanishes_is_replaced_and_its_frames_come_back() {
    let (mut world, clients, link) = downloading();
    world.lose_link();
    world.run(SILENCE);
    assert_eq!(world.engine.carrier(), Carrier::Down);
    let said = world.seen.len();
    world.run(SILENCE);
    assert_eq!(world.seen.len(), said);
    world.replace_link(link);
    world.run(Duration::from_millis(5));
    assert_eq!(world.engine.carrier(), Carrier::Up);
    // `leave` finds every frame in its pool again.
    must_all_finish(&mut world, &clients);
    assert_eq!(world.engine.counters().link_losses, 1);
}

#[test]
fn a_device_that_vanishes_within_a_run_that_it_does_not_cut_takes_the_rest_with_it() {
    let uncut = MemoryLinkConfig { superframe_bytes_max: 0, slots: 0, ..Setup::new().link };
    let (mut world, clients, link) = downloading_over(uncut);
    world.choke(3);
    world.replace_link(MemoryLinkConfig { checksum: false, ..link });
    // The segment that was refused, and what was behind it.
    assert!(world.engine.counters().link_loss_drops > 1, "{:?}", world.engine.counters());
    must_all_finish(&mut world, &clients);
    assert!(world.engine.counters().resent_bytes > 0);
}

#[test]
fn the_rest_of_a_run_waits_for_the_carrier_and_goes_with_its_connection() {
    let mut setup = Setup::new();
    (setup.link.superframe_bytes_max, setup.link.slots) = (0, 0);
    let mut world = setup.world();
    world.file("film", 1, LEN);
    let client = world.plain();
    world.say(client, &format!("get film 0 {LEN}"));
    assert!(world.run_until(SECOND, |world| world.clients[client].heard.len() > 100_000));
    world.choke(3);
    world.set_carrier(Carrier::Down);
    world.run(Duration::from_millis(5));
    let resent = world.engine.counters().resent_bytes;
    world.set_carrier(Carrier::Up);
    let said = world.seen.len();
    world.run(Duration::ZERO);
    assert!(world.seen[said..].iter().filter(|seen| !seen.payload.is_empty()).count() > 1);
    assert_eq!(world.engine.counters().resent_bytes, resent, "nothing of it was lost");
    world.choke(3);
    world.set_carrier(Carrier::Down);
    world.set_client_speaks(false);
    let gone = |world: &mut World| world.engine.counters().connections == 0;
    assert!(world.run_until(Duration::from_secs(1_000), gone), "{:?}", world.engine);
    world.set_carrier(Carrier::Up);
    let said = world.seen.len();
    world.run(Duration::from_millis(5));
    // The segment that was refused stands before everything; the rest of its run is nobody's.
    assert!(world.seen[said..].iter().filter(|seen| !seen.payload.is_empty()).count() <= 1);
    world.assert_empty_handed();
    assert_eq!(world.engine.counters().failed, 1);
}

#[test]
fn a_listener_that_moved_to_another_hardware_address_is_found_there() {
    let (mut world, clients, link) = downloading();
    let (client, IpAddr::V4(ip)) = (clients[0], world.clients[clients[0]].local.ip()) else { panic!("IPv6") };
    let moved = MacAddr([2, 0, 0, 0, 9, 9]);
    world.lose_link();
    world.run(SILENCE);
    let heard = world.clients[client].heard.len();
    // The other end is a new device too, and this client has nothing to say: it waits for bytes.
    world.set_client_speaks(false);
    world.replace_link(link);
    world.run(Duration::from_millis(5));
    assert_ne!(world.last_mac, moved);
    world.inject(arp_reply(moved, ip));
    world.run(Duration::from_millis(5));
    world.set_client_speaks(true);
    assert_eq!(world.last_mac, moved, "the answer to our question was not heard");
    assert!(world.seen_by(client).last().is_some_and(|seen| !seen.payload.is_empty()));
    assert!(world.run_until(SECOND, |world| world.clients[client].heard.len() > heard));
    must_all_finish(&mut world, &clients);
}

/// What `mac` answers to the server's question who has `ip`.
fn arp_reply(mac: MacAddr, ip: Ipv4Addr) -> Vec<u8> {
    let IpAddr::V4(ours) = SERVER_V4 else { panic!("IPv4") };
    let reply = wire::arp::Packet {
        operation: wire::arp::Operation::Reply,
        sender_mac: mac,
        sender_ip: ip,
        target_mac: SERVER_MAC,
        target_ip: ours,
    };
    let mut frame = [SERVER_MAC.0.as_slice(), &mac.0, &[8, 6]].concat();
    let mut body = [0; 64];
    let len = reply.emit(&mut body);
    frame.extend_from_slice(&body[..len]);
    frame
}

#[test]
fn a_connection_that_begins_while_there_is_no_link_is_answered_when_there_is() {
    let mut world = Setup::new().world();
    world.file("film", 1, LEN);
    world.set_carrier(Carrier::Down);
    let client = world.tls();
    world.run(2 * SECOND);
    world.set_carrier(Carrier::Up);
    world.say(client, &format!("get film 0 {LEN}"));
    must_all_finish(&mut world, &[client]);
}

#[test]
fn nobody_is_shed_for_saying_nothing_over_a_link_that_carries_nothing() {
    let mut setup = Setup::new();
    setup.pool = PoolLayout { large_count: 12, small_count: 8 };
    let mut world = setup.world();
    world.file("film", 1, LEN);
    let clients: Vec<_> = (0..30).map(|_| world.plain()).collect();
    for &client in &clients {
        world.say(client, &format!("get film 0 {LEN}"));
    }
    world.run(Duration::from_millis(3));
    world.set_carrier(Carrier::Down);
    world.run(SILENCE);
    world.set_carrier(Carrier::Up);
    must_all_finish(&mut world, &clients);
}

#[test]
fn a_smaller_mtu_cuts_running_connections_anew_and_a_larger_one_again() {
    let (mut world, clients, _) = downloading();
    let largest = |world: &World, from: usize, client: usize| {
        world.seen[from..]
            .iter()
            .filter(|seen| seen.client == Some(client))
            .map(|seen| seen.payload.len())
            .max()
    };
    for (mtu, most) in [(1_400, 1_348), (1_500, 1_448)] {
        let from = world.seen.len();
        world.set_mtu(mtu);
        let before: Vec<_> = clients.iter().map(|&of| world.clients[of].heard.len()).collect();
        let went_on = world.run_until(20 * SECOND, |world| {
            clients.iter().zip(&before).all(|(&of, before)| world.clients[of].heard.len() > before + 200_000)
        });
        assert!(went_on, "{mtu}");
        for &client in &clients {
            assert_eq!(largest(&world, from, client), Some(most), "{mtu}");
        }
    }
    must_all_finish(&mut world, &clients);
    assert_eq!(world.engine.counters().mtu_changes, 2);
}

#[test]
fn a_new_connection_is_told_what_fits_now() {
    let mut world = Setup::new().world();
    world.set_mtu(1_400);
    let over_v4 = world.plain();
    let tcp = world.client_tcp();
    let over_v6 = world.connect(host(77, true), PLAIN, None, tcp);
    world.run(SECOND);
    for (client, mss) in [(over_v4, 1_360), (over_v6, 1_340)] {
        let syn = world.seen_by(client).find(|seen| seen.is(Flags::SYN)).expect("a SYN-ACK");
        assert_eq!(syn.header.options.mss, Some(mss));
    }
    assert!(SERVER_V6.is_ipv6());
}

#[test]
fn who_asked_for_small_segments_never_gets_larger_ones() {
    let mut world = Setup::new().world();
    world.file("film", 1, LEN);
    let tcp = tcp::Config { mss_max: 1_000, ..world.client_tcp() };
    let client = world.plain_with(tcp);
    world.say(client, &format!("get film 0 {LEN}"));
    for mtu in [1_400, 1_500, 1_280, 1_500] {
        world.run(Duration::from_millis(4));
        world.set_mtu(mtu);
    }
    must_all_finish(&mut world, &[client]);
    assert!(world.seen_by(client).all(|seen| seen.payload.len() <= 988));
}

#[test]
fn no_operator_makes_segments_smaller_than_ipv6_allows() {
    let (mut world, clients, _) = downloading();
    let from = world.seen.len();
    world.engine.set_mtu(68);
    must_all_finish(&mut world, &clients);
    let largest = world.seen[from..].iter().map(|seen| seen.payload.len()).max();
    assert_eq!(largest, Some(1_280 - 52));
}
