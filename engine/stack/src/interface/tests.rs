use super::*;
use crate::FourTuple;
use crate::input::Reason;
use crate::pmtu::MTU_MIN_V4;
use alloc::vec::Vec;
use proptest::prelude::*;
use wire::checksum::Sum;
use wire::tcp::{Flags, Options, SeqNum};
use wire::{Checksum, EtherType, Malformed, Packet, Parsed, Protocol, ethernet, icmpv4, icmpv6, ipv4, tcp};

mod shared;
mod the_short_way;

const NOW: Instant = Instant::from_nanos(1_000_000_000_000);
const OURS: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const THEIRS: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const OUR_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const THEIR_V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const NEIGHBOUR_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
const OUR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const THEIR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 7);
const NEIGHBOUR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);

fn config() -> InterfaceConfig {
    let mut config = InterfaceConfig::new(OURS);
    config.addresses.push(Address { ip: OUR_V4.into(), prefix_len: 24 });
    config.addresses.push(Address { ip: OUR_V6.into(), prefix_len: 64 });
    config.gateway_v4 = Some(GATEWAY_V4);
    config
}

/// An interface that has said who it is.
fn settled() -> (Interface, Replies) {
    let mut interface = Interface::new(&config(), HashKey::new([9; 16])).unwrap();
    interface.announcements_left = 0;
    (interface, Replies::new())
}

fn on_frame<'a>(frame: &'a [u8]) -> (Input<'a>, Option<Vec<u8>>) {
    let (mut interface, mut replies) = settled();
    let input = interface.on_frame(NOW, frame, false, &mut replies);
    assert_eq!(interface.counters().frames, 1);
    (input, replies.front().map(Vec::from))
}

fn framed(destination: MacAddr, ether_type: EtherType, payload: &[u8]) -> Vec<u8> {
    let mut frame = alloc::vec![0; 14];
    ethernet::Header { destination, source: THEIRS, vlan: None, ether_type }.emit(&mut frame);
    frame.extend(payload);
    frame
}

fn segment(source: IpAddr, destination: IpAddr) -> Vec<u8> {
    tagged_segment(source, destination, None)
}

fn tagged_segment(source: IpAddr, destination: IpAddr, vlan: Option<u16>) -> Vec<u8> {
    let path = Path { vlan, ..Path::new(THEIRS, OURS, source, destination) };
    let mut frame = alloc::vec![0; 128];
    let layout = wire::emit_tcp(&mut frame, &path, &header(), 4, Checksum::Software(Sum::of(b"data")));
    frame.truncate(layout.len);
    frame.extend(b"data");
    frame
}

fn header() -> tcp::Header {
    tcp::Header {
        source_port: 50_000,
        destination_port: 443,
        seq: SeqNum(1000),
        ack: SeqNum(2000),
        flags: Flags::ACK,
        window: 512,
        urgent: 0,
        options: Options::NONE,
    }
}

fn ipv4_packet(source: Ipv4Addr, destination: Ipv4Addr, protocol: Protocol, payload: &[u8]) -> Vec<u8> {
    let header = ipv4::Header {
        source,
        destination,
        protocol,
        ttl: 60,
        traffic_class: 0,
        identification: 1,
        dont_fragment: true,
    };
    let mut packet = alloc::vec![0; 20];
    header.emit(&mut packet, payload.len());
    packet.extend(payload);
    packet
}

fn icmpv4_frame(to: Ipv4Addr, message: icmpv4::Message<'_>) -> Vec<u8> {
    let mut bytes = alloc::vec![0; message.len()];
    message.emit(&mut bytes);
    framed(OURS, EtherType::IPV4, &ipv4_packet(THEIR_V4, to, Protocol::ICMP, &bytes))
}

fn icmpv6_frame(to_mac: MacAddr, source: Ipv6Addr, to: Ipv6Addr, message: &icmpv6::Message<'_>) -> Vec<u8> {
    let mut packet = alloc::vec![0; 40 + message.len()];
    let ip = wire::ipv6::Header {
        source,
        destination: to,
        protocol: Protocol::ICMPV6,
        hop_limit: 255,
        traffic_class: 0,
        flow_label: 0,
    };
    ip.emit(&mut packet, message.len());
    message.emit(source, to, &mut packet[40..]);
    framed(to_mac, EtherType::IPV6, &packet)
}

fn arp_frame(operation: arp::Operation, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Vec<u8> {
    let packet =
        arp::Packet { operation, sender_mac: THEIRS, sender_ip, target_mac: MacAddr::ZERO, target_ip };
    let mut bytes = [0; arp::PACKET_BYTES];
    packet.emit(&mut bytes);
    framed(MacAddr::BROADCAST, EtherType::ARP, &bytes)
}

fn dropped(frame: &[u8]) -> Reason {
    match on_frame(frame) {
        (Input::Dropped(reason), None) => reason,
        other => panic!("{other:?}"),
    }
}

/// The packet that a quoted segment of ours was.
fn our_segment_v4() -> Vec<u8> {
    let mut bytes = [0; 20];
    tcp::Header { source_port: 443, destination_port: 50_000, ..header() }.emit(&mut bytes);
    ipv4_packet(OUR_V4, THEIR_V4, Protocol::TCP, &bytes[..8])
}

fn our_tuple_v4() -> FourTuple {
    FourTuple { local: (OUR_V4, 443).into(), peer: (THEIR_V4, 50_000).into() }
}

mod a_segment {
    use super::*;

    #[test]
    fn for_us_is_handed_on_with_the_way_back() {
        for (source, destination) in
            [(IpAddr::from(THEIR_V4), IpAddr::from(OUR_V4)), (THEIR_V6.into(), OUR_V6.into())]
        {
            let frame = segment(source, destination);
            let (Input::Tcp(input), None) = on_frame(&frame) else { panic!("not TCP") };
            assert_eq!(
                input.tuple(),
                FourTuple { local: (destination, 443).into(), peer: (source, 50_000).into() }
            );
            assert_eq!((input.header, input.payload, input.peer_mac), (header(), &b"data"[..], THEIRS));
            let path = settled().0.path_back(&input);
            assert_eq!((path.local_mac, path.peer_mac), (OURS, THEIRS));
            assert_eq!((path.source, path.destination), (destination, source));
        }
    }

    #[test]
    fn for_another_host_or_station_is_dropped() {
        assert_eq!(dropped(&segment(THEIR_V4.into(), NEIGHBOUR_V4.into())), Reason::OtherAddress);
        let mut frame = segment(THEIR_V4.into(), OUR_V4.into());
        frame[5] = 99;
        assert_eq!(dropped(&frame), Reason::OtherMac);
    }

    #[test]
    fn that_claims_to_come_from_us_is_dropped() {
        assert_eq!(dropped(&segment(OUR_V4.into(), OUR_V4.into())), Reason::Spoofed);
        let mut frame = segment(THEIR_V4.into(), OUR_V4.into());
        frame[6..12].copy_from_slice(&OURS.0);
        assert_eq!(dropped(&frame), Reason::Spoofed);
    }

    #[test]
    fn that_is_damaged_is_dropped_unless_the_link_vouches() {
        let mut frame = segment(THEIR_V4.into(), OUR_V4.into());
        *frame.last_mut().unwrap() ^= 1;
        assert_eq!(dropped(&frame), Reason::Malformed(Malformed::Checksum));
        let (mut interface, mut replies) = settled();
        assert!(matches!(interface.on_frame(NOW, &frame, true, &mut replies), Input::Tcp(_)));
    }

    #[test]
    fn with_a_tag_belongs_to_another_vlan_unless_the_tag_is_only_a_priority() {
        assert_eq!(dropped(&tagged_segment(THEIR_V4.into(), OUR_V4.into(), Some(7))), Reason::OtherVlan);
        let frame = tagged_segment(THEIR_V4.into(), OUR_V4.into(), Some(0));
        assert!(matches!(on_frame(&frame).0, Input::Tcp(TcpInput { vlan: Some(0), .. })));
    }

    #[test]
    fn in_our_vlan_is_handed_on_and_one_without_a_tag_is_not() {
        let mut interface =
            Interface::new(&InterfaceConfig { vlan: Some(7), ..config() }, HashKey::new([9; 16])).unwrap();
        let mut replies = Replies::new();
        let frame = tagged_segment(THEIR_V4.into(), OUR_V4.into(), Some(7));
        let Input::Tcp(input) = interface.on_frame(NOW, &frame, false, &mut replies) else {
            panic!("not TCP")
        };
        assert_eq!(interface.path_back(&input).vlan, Some(7));
        let frame = segment(THEIR_V4.into(), OUR_V4.into());
        assert_eq!(interface.on_frame(NOW, &frame, false, &mut replies), Input::Dropped(Reason::OtherVlan));
        assert_eq!((interface.counters().tcp, interface.counters().other_vlan), (1, 1));
    }

    #[test]
    fn in_pieces_is_dropped_and_counted() {
        let mut packet = ipv4_packet(THEIR_V4, OUR_V4, Protocol::TCP, &[0; 24]);
        packet[6] = 0x20;
        packet[10..12].fill(0);
        let checksum = wire::checksum::checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(dropped(&framed(OURS, EtherType::IPV4, &packet)), Reason::Fragment);
    }
}

mod arp_requests {
    use super::*;

    #[test]
    fn for_our_address_are_answered_to_who_asked() {
        let frame = arp_frame(arp::Operation::Request, NEIGHBOUR_V4, OUR_V4);
        let (input, reply) = on_frame(&frame);
        assert_eq!(input, Input::Handled);
        let reply = reply.unwrap();
        let Parsed { ethernet, packet } = wire::parse_frame(&reply, true).unwrap();
        assert_eq!((ethernet.destination, ethernet.source), (THEIRS, OURS));
        assert_eq!(
            packet,
            Packet::Arp(arp::Packet {
                operation: arp::Operation::Reply,
                sender_mac: OURS,
                sender_ip: OUR_V4,
                target_mac: THEIRS,
                target_ip: NEIGHBOUR_V4,
            })
        );
    }

    #[test]
    fn for_others_are_not_answered() {
        assert_eq!(
            dropped(&arp_frame(arp::Operation::Request, NEIGHBOUR_V4, GATEWAY_V4)),
            Reason::OtherAddress
        );
    }

    #[test]
    fn that_announce_another_host_are_heard_and_not_answered() {
        let frame = arp_frame(arp::Operation::Request, NEIGHBOUR_V4, NEIGHBOUR_V4);
        let (input, reply) = on_frame(&frame);
        assert_eq!((input, reply), (Input::Handled, None));
    }

    //= https://www.rfc-editor.org/rfc/rfc5227#section-2.1.1
    //= type=test
    #[test]
    fn of_a_host_that_probes_for_our_address_are_answered() {
        let frame = arp_frame(arp::Operation::Request, Ipv4Addr::UNSPECIFIED, OUR_V4);
        let (input, reply) = on_frame(&frame);
        assert_eq!((input, reply.is_some()), (Input::Handled, true));
    }

    //= https://www.rfc-editor.org/rfc/rfc5227#section-2.4
    //= type=test
    #[test]
    fn of_a_host_that_uses_our_address_are_met_with_a_defence_now_and_then() {
        let (mut interface, mut replies) = settled();
        let frame = arp_frame(arp::Operation::Request, OUR_V4, OUR_V4);
        for seconds in [0, 1, 9, 10] {
            let now = NOW + Duration::from_secs(seconds);
            assert_eq!(interface.on_frame(now, &frame, false, &mut replies), Input::Handled);
        }
        assert_eq!((interface.counters().address_conflicts, replies.len()), (4, 2));
        let Packet::Arp(defence) = wire::parse_frame(replies.front().unwrap(), true).unwrap().packet else {
            panic!()
        };
        assert_eq!((defence.sender_ip, defence.target_ip, defence.sender_mac), (OUR_V4, OUR_V4, OURS));
    }
}

mod neighbor_solicitations {
    use super::*;

    fn solicited(source: Ipv6Addr, to: Ipv6Addr, target: Ipv6Addr, source_mac: Option<MacAddr>) -> Vec<u8> {
        let message = icmpv6::Message::Ndp(ndp::Message::NeighborSolicitation { target, source_mac });
        let to_mac = if to.is_multicast() { MacAddr::of_ipv6_multicast(to) } else { OURS };
        icmpv6_frame(to_mac, source, to, &message)
    }

    fn answer(frame: &[u8]) -> (MacAddr, wire::ipv6::Header, ndp::Message<'static>) {
        let (Input::Handled, Some(reply)) = on_frame(frame) else { panic!("no answer") };
        let Parsed { ethernet, packet } = wire::parse_frame(reply.leak(), true).unwrap();
        let Packet::Icmpv6 { ip, message: icmpv6::Message::Ndp(message) } = packet else {
            panic!("{packet:?}")
        };
        (ethernet.destination, ip, message)
    }

    //= https://www.rfc-editor.org/rfc/rfc4861#section-7.2.4
    //= type=test
    #[test]
    fn for_our_address_are_answered_to_who_asked() {
        let group = ndp::solicited_node(OUR_V6);
        let (mac, ip, message) = answer(&solicited(NEIGHBOUR_V6, group, OUR_V6, Some(THEIRS)));
        assert_eq!((mac, ip.source, ip.destination, ip.hop_limit), (THEIRS, OUR_V6, NEIGHBOUR_V6, 255));
        assert_eq!(
            message,
            ndp::Message::NeighborAdvertisement {
                target: OUR_V6,
                router: false,
                solicited: true,
                overrides: true,
                target_mac: Some(OURS),
            }
        );
    }

    #[test]
    fn for_our_link_local_address_are_answered_too() {
        let target = OURS.link_local();
        let (_, ip, _) = answer(&solicited(THEIRS.link_local(), target, target, Some(THEIRS)));
        assert_eq!(ip.source, target);
    }

    //= https://www.rfc-editor.org/rfc/rfc4861#section-7.2.4
    //= type=test
    //# If the source of the solicitation is the unspecified address, the node MUST set the Solicited flag to zero
    //# and multicast the advertisement to the all-nodes address.
    #[test]
    fn of_a_host_that_wants_our_address_are_answered_to_all() {
        let group = ndp::solicited_node(OUR_V6);
        let (mac, ip, message) = answer(&solicited(Ipv6Addr::UNSPECIFIED, group, OUR_V6, None));
        assert_eq!((mac, ip.destination), (MacAddr([0x33, 0x33, 0, 0, 0, 1]), ndp::ALL_NODES));
        assert!(matches!(message, ndp::Message::NeighborAdvertisement { solicited: false, .. }));
    }

    //= https://www.rfc-editor.org/rfc/rfc4861#section-7.1.1
    //= type=test
    #[test]
    fn of_nobody_in_particular_must_go_to_the_group_and_not_say_from_where() {
        let group = ndp::solicited_node(OUR_V6);
        let malformed = Reason::Malformed(Malformed::Address);
        assert_eq!(dropped(&solicited(Ipv6Addr::UNSPECIFIED, group, OUR_V6, Some(THEIRS))), malformed);
        assert_eq!(dropped(&solicited(Ipv6Addr::UNSPECIFIED, OUR_V6, OUR_V6, None)), malformed);
    }

    #[test]
    fn for_others_are_not_answered() {
        assert_eq!(dropped(&solicited(NEIGHBOUR_V6, OUR_V6, THEIR_V6, Some(THEIRS))), Reason::OtherAddress);
    }
}

mod echo_requests {
    use super::*;

    const ASK: icmpv4::Message<'_> =
        icmpv4::Message::EchoRequest { identifier: 3, sequence: 4, data: b"hello" };

    #[test]
    fn over_ipv4_are_answered() {
        let frame = icmpv4_frame(OUR_V4, ASK);
        let (input, reply) = on_frame(&frame);
        assert_eq!(input, Input::Handled);
        let reply = reply.unwrap();
        let Packet::Icmpv4 { ip, message } = wire::parse_frame(&reply, true).unwrap().packet else {
            panic!()
        };
        assert_eq!((ip.source, ip.destination), (OUR_V4, THEIR_V4));
        assert_eq!(message, icmpv4::Message::EchoReply { identifier: 3, sequence: 4, data: b"hello" });
    }

    #[test]
    fn over_ipv6_are_answered() {
        let ask = icmpv6::Message::EchoRequest { identifier: 3, sequence: 4, data: b"hello" };
        let frame = icmpv6_frame(OURS, THEIR_V6, OUR_V6, &ask);
        let (input, reply) = on_frame(&frame);
        assert_eq!(input, Input::Handled);
        let reply = reply.unwrap();
        let Packet::Icmpv6 { ip, message } = wire::parse_frame(&reply, true).unwrap().packet else {
            panic!()
        };
        assert_eq!((ip.source, ip.destination), (OUR_V6, THEIR_V6));
        assert_eq!(message, icmpv6::Message::EchoReply { identifier: 3, sequence: 4, data: b"hello" });
    }

    #[test]
    fn as_long_as_the_mtu_are_answered() {
        let data = [7; 1472];
        let frame =
            icmpv4_frame(OUR_V4, icmpv4::Message::EchoRequest { identifier: 0, sequence: 0, data: &data });
        let (input, reply) = on_frame(&frame);
        assert_eq!((input, reply.unwrap().len()), (Input::Handled, 1514));
    }

    #[test]
    fn to_a_group_are_not_answered() {
        let mut frame = icmpv4_frame(OUR_V4, ASK);
        frame[..6].fill(0xff);
        assert_eq!(dropped(&frame), Reason::OtherAddress);
    }

    #[test]
    fn beyond_the_rate_are_dropped_and_counted() {
        let config = InterfaceConfig { echo_per_second: 20, ..config() };
        let mut interface = Interface::new(&config, HashKey::new([9; 16])).unwrap();
        let mut replies = Replies::new();
        let frame = icmpv4_frame(OUR_V4, ASK);
        for _ in 0..10 {
            let _ = interface.on_frame(NOW, &frame, false, &mut replies);
        }
        assert_eq!((interface.counters().echo_answers, interface.counters().rate_limited), (2, 8));
        assert_eq!(
            interface.on_frame(NOW + Duration::from_millis(50), &frame, false, &mut replies),
            Input::Handled
        );
    }

    #[test]
    fn without_room_for_the_answer_are_counted() {
        let (mut interface, _) = settled();
        let mut full = Replies::with_capacity(0);
        let frame = icmpv4_frame(OUR_V4, ASK);
        assert_eq!(interface.on_frame(NOW, &frame, false, &mut full), Input::Dropped(Reason::OutboxFull));
        assert_eq!((interface.counters().outbox_full, interface.counters().echo_answers), (1, 0));
    }
}

mod icmp_errors {
    use super::*;

    fn too_big(next_hop_mtu: u16) -> Vec<u8> {
        let quote = our_segment_v4();
        let code = icmpv4::unreachable::FRAGMENTATION_NEEDED;
        icmpv4_frame(OUR_V4, icmpv4::Message::DestinationUnreachable { code, next_hop_mtu, quote: &quote })
    }

    fn unreachable(code: u8) -> Vec<u8> {
        let quote = our_segment_v4();
        icmpv4_frame(OUR_V4, icmpv4::Message::DestinationUnreachable { code, next_hop_mtu: 0, quote: &quote })
    }

    #[test]
    fn that_ask_for_smaller_packets_name_the_connection_and_the_segment() {
        let frame = too_big(1400);
        let (input, reply) = on_frame(&frame);
        assert_eq!(input, Input::PathMtu { tuple: our_tuple_v4(), seq: SeqNum(1000), mtu: 1400 });
        assert_eq!(reply, None);
    }

    //= https://www.rfc-editor.org/rfc/rfc1191#section-3
    //= type=test
    #[test]
    fn that_do_not_say_how_small_mean_576() {
        assert!(matches!(on_frame(&too_big(0)).0, Input::PathMtu { mtu: 576, .. }));
    }

    #[test]
    fn that_ask_for_crumbs_get_the_least_that_we_send() {
        assert!(matches!(on_frame(&too_big(68)).0, Input::PathMtu { mtu: MTU_MIN_V4, .. }));
    }

    fn too_big_v6(mtu: u32) -> Vec<u8> {
        let mut quote = alloc::vec![0; 48];
        let ip = wire::ipv6::Header {
            source: OUR_V6,
            destination: THEIR_V6,
            protocol: Protocol::TCP,
            hop_limit: 64,
            traffic_class: 0,
            flow_label: 0,
        };
        ip.emit(&mut quote, 1440);
        quote[40..48].copy_from_slice(&[0x01, 0xbb, 0xc3, 0x50, 0, 0, 3, 0xe8]);
        icmpv6_frame(OURS, THEIR_V6, OUR_V6, &icmpv6::Message::PacketTooBig { mtu, quote: &quote })
    }

    #[test]
    fn of_ipv6_likewise() {
        let tuple = FourTuple { local: (OUR_V6, 443).into(), peer: (THEIR_V6, 50_000).into() };
        assert_eq!(on_frame(&too_big_v6(1400)).0, Input::PathMtu { tuple, seq: SeqNum(1000), mtu: 1400 });
        assert!(matches!(on_frame(&too_big_v6(70_000)).0, Input::PathMtu { mtu: u16::MAX, .. }));
    }

    //= https://www.rfc-editor.org/rfc/rfc8201#section-4
    //= type=test
    //# If a node receives a Packet Too Big message reporting a next-hop MTU that is less than the IPv6 minimum link
    //# MTU, it must discard it.
    #[test]
    fn of_ipv6_that_ask_for_less_than_any_link_has_are_dropped() {
        assert_eq!(dropped(&too_big_v6(1279)), Reason::Malformed(Malformed::Length));
    }

    //= https://www.rfc-editor.org/rfc/rfc1122#section-4.2.3.9
    //= type=test
    #[test]
    fn are_hard_when_no_repetition_helps() {
        let is_hard = |code| match on_frame(&unreachable(code)).0 {
            Input::Unreachable { tuple, seq: SeqNum(1000), hard } if tuple == our_tuple_v4() => hard,
            other => panic!("{other:?}"),
        };
        assert_eq!([0, 1, 2, 3, 5, 13].map(is_hard), [false, false, true, true, false, false]);
        let quote = our_segment_v4();
        let exceeded = icmpv4_frame(OUR_V4, icmpv4::Message::TimeExceeded { code: 0, quote: &quote });
        assert!(matches!(on_frame(&exceeded).0, Input::Unreachable { hard: false, .. }));
    }

    #[test]
    fn that_quote_what_we_never_sent_are_dropped() {
        let mut not_ours = our_segment_v4();
        not_ours[15] = 77;
        let mut not_tcp = our_segment_v4();
        not_tcp[9] = Protocol::UDP.0;
        let cut_off = our_segment_v4()[..27].to_vec();
        for quote in [not_ours, not_tcp, cut_off, Vec::new()] {
            let message = icmpv4::Message::DestinationUnreachable { code: 1, next_hop_mtu: 0, quote: &quote };
            assert_eq!(dropped(&icmpv4_frame(OUR_V4, message)), Reason::Unquoted);
        }
    }
}

mod at_the_start {
    use super::*;

    #[test]
    fn every_address_is_announced_twice() {
        let mut interface = Interface::new(&config(), HashKey::new([9; 16])).unwrap();
        let mut replies = Replies::new();
        let mut announced = Vec::new();
        let mut now = NOW;
        interface.poll(now, &mut replies);
        while let Some(deadline) = interface.next_deadline() {
            assert_eq!(deadline, now + ANNOUNCEMENT_INTERVAL);
            now = deadline;
            interface.poll(now, &mut replies);
        }
        while let Some(frame) = replies.front() {
            match wire::parse_frame(frame, true).unwrap().packet {
                Packet::Arp(arp::Packet { sender_ip, target_ip, .. }) if sender_ip == target_ip => {
                    announced.push(IpAddr::from(sender_ip));
                }
                Packet::Icmpv6 {
                    ip,
                    message:
                        icmpv6::Message::Ndp(ndp::Message::NeighborAdvertisement {
                            target, solicited: false, ..
                        }),
                } => {
                    assert_eq!((ip.source, ip.destination), (target, ndp::ALL_NODES));
                    announced.push(target.into());
                }
                other => panic!("{other:?}"),
            }
            replies.pop();
        }
        let once: Vec<IpAddr> = alloc::vec![OUR_V4.into(), OUR_V6.into(), OURS.link_local().into()];
        assert_eq!(announced, [once.clone(), once].concat());
    }

    fn refused(change: impl FnOnce(&mut InterfaceConfig)) -> InterfaceError {
        let mut config = config();
        change(&mut config);
        Interface::new(&config, HashKey::new([9; 16])).unwrap_err()
    }

    #[test]
    fn what_no_host_can_have_is_refused_by_name() {
        let address = |ip: &str, prefix_len| Address { ip: ip.parse().unwrap(), prefix_len };
        assert_eq!(
            refused(|config| config.mac = MacAddr::BROADCAST),
            InterfaceError::Mac(MacAddr::BROADCAST)
        );
        assert_eq!(refused(|config| config.mtu = 1279), InterfaceError::Mtu(1279));
        assert_eq!(refused(|config| config.vlan = Some(0)), InterfaceError::Vlan(0));
        assert_eq!(refused(|config| config.vlan = Some(4095)), InterfaceError::Vlan(4095));
        assert_eq!(refused(|config| config.addresses.clear()), InterfaceError::NoAddress);
        assert_eq!(
            refused(|config| config.addresses.push(config.addresses[0])),
            InterfaceError::Twice(OUR_V4.into())
        );
        for ip in [
            "0.0.0.0",
            "127.0.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.255",
            "ff02::1",
            "::1",
            "::ffff:1.2.3.4",
        ] {
            let ip = address(ip, 24);
            assert_eq!(refused(|config| config.addresses.push(ip)), InterfaceError::NotAHost(ip.ip));
        }
        let long = address("192.0.2.3", 33);
        assert_eq!(refused(|config| config.addresses.push(long)), InterfaceError::Prefix(long));
        let gateway = Ipv4Addr::new(203, 0, 113, 1);
        assert_eq!(
            refused(|config| config.gateway_v4 = Some(gateway)),
            InterfaceError::Gateway(gateway.into())
        );
        let many = |config: &mut InterfaceConfig| {
            (2..16).for_each(|last| config.addresses.push(address(&alloc::format!("192.0.2.{last}"), 24)));
        };
        assert_eq!(refused(many), InterfaceError::TooMany);
    }
}

mod active_opens {
    use super::*;

    #[test]
    fn go_to_a_neighbour_or_to_the_gateway() {
        let (interface, _) = settled();
        assert_eq!(interface.next_hop(NEIGHBOUR_V4.into()), Some(NEIGHBOUR_V4.into()));
        assert_eq!(interface.next_hop(THEIR_V4.into()), Some(GATEWAY_V4.into()));
        assert_eq!(interface.next_hop(NEIGHBOUR_V6.into()), Some(NEIGHBOUR_V6.into()));
        assert_eq!(interface.next_hop(THEIR_V6.into()), None);
    }

    #[test]
    fn wait_for_the_neighbour_to_answer() {
        let (mut interface, mut replies) = settled();
        assert_eq!(interface.resolve(NOW, THEIR_V4.into(), &mut replies), Resolution::Pending);
        let Packet::Arp(question) = wire::parse_frame(replies.front().unwrap(), true).unwrap().packet else {
            panic!()
        };
        assert_eq!((question.sender_ip, question.target_ip), (OUR_V4, GATEWAY_V4));
        replies.pop();
        assert_eq!(interface.poll_resolved(), None);

        let answer = arp_frame(arp::Operation::Reply, GATEWAY_V4, OUR_V4);
        assert_eq!(interface.on_frame(NOW, &answer, false, &mut replies), Input::Handled);
        assert_eq!(
            interface.poll_resolved(),
            Some(Resolved { next_hop: GATEWAY_V4.into(), mac: Some(THEIRS) })
        );
        assert_eq!(interface.resolve(NOW, THEIR_V4.into(), &mut replies), Resolution::Known(THEIRS));
        assert_eq!(replies.len(), 0);
    }

    #[test]
    fn over_ipv6_ask_the_neighbours_group() {
        let (mut interface, mut replies) = settled();
        assert_eq!(interface.resolve(NOW, NEIGHBOUR_V6.into(), &mut replies), Resolution::Pending);
        let question = replies.front().unwrap().to_vec();
        let Parsed { ethernet, packet: Packet::Icmpv6 { ip, .. } } =
            wire::parse_frame(&question, true).unwrap()
        else {
            panic!()
        };
        let group = ndp::solicited_node(NEIGHBOUR_V6);
        assert_eq!(
            (ethernet.destination, ip.destination, ip.source),
            (MacAddr::of_ipv6_multicast(group), group, OUR_V6)
        );

        let message = icmpv6::Message::Ndp(ndp::Message::NeighborAdvertisement {
            target: NEIGHBOUR_V6,
            router: false,
            solicited: true,
            overrides: true,
            target_mac: Some(THEIRS),
        });
        let answer = icmpv6_frame(OURS, NEIGHBOUR_V6, OUR_V6, &message);
        assert_eq!(interface.on_frame(NOW, &answer, false, &mut replies), Input::Handled);
        assert_eq!(interface.resolve(NOW, NEIGHBOUR_V6.into(), &mut replies), Resolution::Known(THEIRS));
    }

    #[test]
    fn to_a_silent_neighbour_fail_after_three_questions() {
        let (mut interface, mut replies) = settled();
        let _ = interface.resolve(NOW, NEIGHBOUR_V4.into(), &mut replies);
        let mut now = NOW;
        while let Some(deadline) = interface.next_deadline() {
            now = deadline;
            interface.poll(now, &mut replies);
        }
        assert_eq!((replies.len(), now), (3, NOW + Duration::from_secs(3)));
        assert_eq!(interface.poll_resolved(), Some(Resolved { next_hop: NEIGHBOUR_V4.into(), mac: None }));
        assert_eq!(interface.resolve(now, NEIGHBOUR_V4.into(), &mut replies), Resolution::Unreachable);
    }

    #[test]
    fn to_nobody_or_to_everybody_have_no_route() {
        let (mut interface, mut replies) = settled();
        for ip in ["192.0.2.255", "255.255.255.255", "2001:db8:9::7", "192.0.2.1"] {
            assert_eq!(
                interface.resolve(NOW, ip.parse().unwrap(), &mut replies),
                Resolution::NoRoute,
                "{ip}"
            );
        }
        assert_eq!(replies.len(), 0);
    }

    //= https://www.rfc-editor.org/rfc/rfc6724#section-5
    //= type=test
    #[test]
    fn use_the_address_that_shares_most_with_the_destination() {
        let (interface, _) = settled();
        assert_eq!(interface.source_for(THEIR_V4.into()), Some(OUR_V4.into()));
        assert_eq!(interface.source_for(THEIR_V6.into()), Some(OUR_V6.into()));
        assert_eq!(interface.source_for(THEIRS.link_local().into()), Some(OURS.link_local().into()));
    }
}

#[test]
fn the_mss_is_the_mtu_without_both_headers() {
    let (interface, _) = settled();
    assert_eq!((interface.mss(OUR_V4.into()), interface.mss(OUR_V6.into())), (1460, 1440));
}

#[test]
fn what_we_do_not_speak_is_dropped_and_counted() {
    let udp = ipv4_packet(THEIR_V4, OUR_V4, Protocol::UDP, &[0, 1, 0, 2, 0, 8, 0, 0]);
    assert_eq!(dropped(&framed(OURS, EtherType::IPV4, &udp)), Reason::Protocol);
    let gre = ipv4_packet(THEIR_V4, OUR_V4, Protocol(47), &[0; 8]);
    assert_eq!(dropped(&framed(OURS, EtherType::IPV4, &gre)), Reason::Protocol);
    assert_eq!(dropped(&framed(OURS, EtherType(0x88cc), &[0; 8])), Reason::Protocol);
}

proptest! {
    /// Whatever arrives: no panic, exactly one counter beside the total, and no reply longer than a buffer.
    #[test]
    fn any_damaged_frame_is_handled_or_dropped(
        which in 0_usize..6, damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), verified in any::<bool>(),
    ) {
        let ask = icmpv6::Message::EchoRequest { identifier: 3, sequence: 4, data: b"hello" };
        let solicitation = icmpv6::Message::Ndp(ndp::Message::NeighborSolicitation { target: OUR_V6, source_mac: Some(THEIRS) });
        let quote = our_segment_v4();
        let mut frame = match which {
            0 => segment(THEIR_V4.into(), OUR_V4.into()),
            1 => segment(THEIR_V6.into(), OUR_V6.into()),
            2 => arp_frame(arp::Operation::Request, NEIGHBOUR_V4, OUR_V4),
            3 => icmpv6_frame(OURS, THEIR_V6, OUR_V6, &ask),
            4 => icmpv6_frame(OURS, NEIGHBOUR_V6, OUR_V6, &solicitation),
            _ => icmpv4_frame(OUR_V4, icmpv4::Message::DestinationUnreachable { code: 4, next_hop_mtu: 1400, quote: &quote }),
        };
        for (at, byte) in damage {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        let (mut interface, mut replies) = settled();
        let input = interface.on_frame(NOW, &frame, verified, &mut replies);
        let is_dropped = matches!(input, Input::Dropped(_));
        prop_assert!(!is_dropped || replies.len() == 0);
        prop_assert_eq!(interface.counters().frames, 1);
    }
}
