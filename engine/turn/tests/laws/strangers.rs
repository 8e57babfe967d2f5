//! What those can do that are not connected, and those that wish they were: little.

use crate::world::client::{frame, host};
use crate::world::{PLAIN, SECOND, SERVER_MAC, SERVER_V4, Setup, World, bytes_of};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use platform::Link as _;
use wire::tcp::{Flags, Header, Options, SeqNum};
use wire::{EtherType, MacAddr, Protocol, ethernet, icmpv4, ipv4};

const LEN: u64 = 300_000;
const LEN_USIZE: usize = 300_000;

fn syn_from(index: usize, port: u16) -> Vec<u8> {
    let (mac, ip) = host(index, false);
    let header = Header {
        source_port: port,
        destination_port: PLAIN,
        seq: SeqNum(u32::from(port) * 77),
        ack: SeqNum(0),
        flags: Flags::SYN,
        window: 0xFFFF,
        urgent: 0,
        options: Options { mss: Some(1_460), ..Options::NONE },
    };
    frame(mac, SocketAddr::new(ip, port), SocketAddr::new(SERVER_V4, PLAIN), &header, &[])
}

#[test]
fn a_flood_of_syns_does_not_keep_an_honest_client_out() {
    let mut setup = Setup::new();
    setup.config.backlog_max = 8;
    let mut world = setup.world();
    world.file("film", 1, LEN);
    for index in 0..500 {
        world.inject(syn_from(1_000 + index, 5_000));
    }
    world.run(Duration::from_millis(10));
    assert_eq!(world.engine.counters().connections, 8);
    assert!(world.engine.listen_counters().cookies_sent > 400);

    let clients = [world.plain(), world.tls()];
    for client in clients {
        world.say(client, &format!("get film 0 {LEN}"));
    }
    for client in clients {
        world.hear(client, LEN_USIZE);
    }
    assert_eq!(world.engine.listen_counters().cookies_accepted, 2);
    // Those that never came are forgotten.
    world.leave();
}

#[test]
fn the_secret_of_cookies_is_a_new_one_every_ten_minutes() {
    let mut world = Setup::new().world();
    assert_eq!(world.randomness_drawn.get(), 1);
    for minute in 0..61 {
        world.inject(syn_from(0, 6_000 + minute));
        world.run(60 * SECOND);
    }
    assert_eq!(world.randomness_drawn.get(), 7);
}

#[test]
fn a_peer_has_as_many_connections_as_it_may_and_others_have_theirs() {
    let mut setup = Setup::new();
    setup.config.connections_per_peer_max = 3;
    let mut world = setup.world();
    let tcp = world.client_tcp();
    let many: Vec<_> = (0..5).map(|_| world.connect(host(0, false), PLAIN, None, tcp)).collect();
    let other = world.connect(host(1, false), PLAIN, None, tcp);
    world.run(Duration::from_millis(50));
    let in_now = |world: &World| many.iter().filter(|&&one| world.clients[one].is_established()).count();
    assert_eq!(in_now(&world), 3);
    assert!(world.clients[other].is_established());
    assert!(world.engine.listen_counters().peer_limit >= 2);
    // Room that one leaves is room for another.
    world.say(many[0], "bye");
    world.clients[many[0]].finish();
    assert!(world.run_until(10 * SECOND, |world| {
        many[1..].iter().filter(|&&one| world.clients[one].is_established()).count() == 3
    }));
}

#[test]
fn a_full_server_takes_nobody_until_somebody_leaves() {
    let mut setup = Setup::new();
    setup.config.connections_max = 4;
    let mut world = setup.world();
    let clients: Vec<_> = (0..5).map(|_| world.plain()).collect();
    world.run(Duration::from_millis(100));
    let are_in = |world: &World| clients.iter().filter(|&&one| world.clients[one].is_established()).count();
    assert_eq!(are_in(&world), 4);
    assert_eq!(world.engine.counters().connections, 4);
    world.clients[clients[0]].tcp.abort();
    assert!(world.run_until(10 * SECOND, |world| world.clients[clients[4]].is_established()));
}

#[test]
fn a_crowd_of_handshakes_is_worked_off_a_few_a_turn() {
    let mut setup = Setup::new();
    setup.config.handshakes_per_turn = 2;
    let mut world = setup.world();
    world.file("film", 1, LEN);
    let clients: Vec<_> = (0..40).map(|_| world.tls()).collect();
    for &client in &clients {
        world.say(client, "get film 0 100");
    }
    for &client in &clients {
        world.hear(client, 100);
    }
    assert_eq!(world.engine.counters().handshakes, 40);
    assert!(world.handshakes_in_a_turn <= 2, "{}", world.handshakes_in_a_turn);
    world.leave();
}

/// A router's word that packets to `to` may have `mtu` bytes, about the segment of this port with this number.
fn too_big(mtu: u16, port: u16, to: SocketAddr, seq: SeqNum) -> Vec<u8> {
    let (IpAddr::V4(server), IpAddr::V4(peer)) = (SERVER_V4, to.ip()) else { panic!("IPv4 only") };
    let ip = |source, destination, protocol| ipv4::Header {
        source,
        destination,
        protocol,
        ttl: 60,
        traffic_class: 0,
        identification: 0,
        dont_fragment: true,
    };
    let mut quote = vec![0; 28];
    ip(server, peer, Protocol::TCP).emit(&mut quote, 1_480);
    quote[20..22].copy_from_slice(&port.to_be_bytes());
    quote[22..24].copy_from_slice(&to.port().to_be_bytes());
    quote[24..28].copy_from_slice(&seq.0.to_be_bytes());
    let message = icmpv4::Message::DestinationUnreachable {
        code: icmpv4::unreachable::FRAGMENTATION_NEEDED,
        next_hop_mtu: mtu,
        quote: &quote,
    };
    let mut frame = vec![0; 14 + 20 + message.len()];
    let router = MacAddr([2, 0, 0, 1, 0, 77]);
    ethernet::Header { destination: SERVER_MAC, source: router, vlan: None, ether_type: EtherType::IPV4 }
        .emit(&mut frame);
    ip([198, 18, 50, 1].into(), server, Protocol::ICMP).emit(&mut frame[14..], message.len());
    message.emit(&mut frame[34..]);
    frame
}

#[test]
fn a_narrow_path_that_tells_is_filled_with_smaller_segments() {
    for secure in [false, true] {
        let mut world = Setup::new().world();
        world.file("film", 1, LEN);
        let client = if secure { world.tls() } else { world.plain() };
        assert!(world.run_until(SECOND, |world| world.clients[client].is_established()));
        world.filter(|seen| seen.payload.len() <= 948);
        world.say(client, &format!("get film 0 {LEN}"));
        let before = world.seen.len();
        let too_long = |world: &World| {
            world.seen[before..].iter().find(|seen| seen.payload.len() > 948).map(|seen| seen.header)
        };
        assert!(world.run_until(SECOND, |world| too_long(world).is_some()));
        let segment = too_long(&world).unwrap();
        world.inject(too_big(1_000, segment.source_port, world.clients[client].local, segment.seq));
        world.run(Duration::from_millis(3));
        assert_eq!(world.engine.connections(1)[0].tcp.mss, 948);
        world.hear(client, LEN_USIZE);
        assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
        world.leave();
    }
}

#[test]
fn a_word_about_what_was_never_sent_changes_nothing() {
    let mut world = Setup::new().world();
    world.file("film", 1, LEN);
    let client = world.plain();
    world.say(client, &format!("get film 0 {LEN}"));
    assert!(world.run_until(SECOND, |world| world.clients[client].heard.len() > 20_000));
    let to = world.clients[client].local;
    let last = world.seen_by(client).last().unwrap().header.seq;
    for off in [-100_000, -20_000, 1_000_000, i32::MAX] {
        world.inject(too_big(600, PLAIN, to, SeqNum(last.0.wrapping_add_signed(off))));
    }
    world.inject(too_big(600, PLAIN, SocketAddr::new(to.ip(), to.port() + 1), last));
    world.run(Duration::from_millis(3));
    assert_eq!(world.engine.connections(1)[0].tcp.mss, 1_448);
    world.hear(client, LEN_USIZE);
    world.leave();
}

#[test]
fn resets_and_data_from_outside_the_window_change_nothing() {
    let mut world = Setup::new().world();
    world.file("film", 1, LEN);
    let client = world.plain();
    world.say(client, &format!("get film 0 {LEN}"));
    assert!(world.run_until(SECOND, |world| world.clients[client].heard.len() > 20_000));
    let (mac, _) = host(client, false);
    let from = world.clients[client].local;
    let told = world.seen_by(client).last().unwrap().header;
    for (off, flags) in [
        (-1, Flags::RST),
        (1, Flags::RST),
        (10_000_000, Flags::RST),
        (0, Flags::SYN),
        (20_000_000, Flags::ACK),
        (-5_000, Flags::ACK | Flags::FIN),
    ] {
        let header = Header {
            source_port: from.port(),
            destination_port: PLAIN,
            seq: SeqNum(told.ack.0.wrapping_add_signed(off)),
            ack: told.seq,
            flags,
            window: 1,
            urgent: 0,
            options: Options::NONE,
        };
        world.inject(frame(mac, from, SocketAddr::new(SERVER_V4, PLAIN), &header, b"forged\n"));
    }
    world.hear(client, LEN_USIZE);
    assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
    assert_eq!(world.engine.service().asked().len(), 1);
    world.leave();
}

#[test]
fn an_address_is_announced_a_second_time_though_nothing_else_happens() {
    let mut world = Setup::new().world();
    world.run(SECOND);
    let once = world.engine.link().counters().sent;
    assert!(once >= 2, "an announcement for each address");
    assert!(world.engine.deadline().is_some(), "nobody would wake for the second one");
    world.run(2 * SECOND);
    assert_eq!(world.engine.link().counters().sent, 2 * once);
    assert_eq!(world.engine.deadline(), None, "an idle engine sleeps");
}
