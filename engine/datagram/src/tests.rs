use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;
use wire::parse_frame;

const US: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
const V4: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9))];
const V6: [IpAddr; 2] = [
    IpAddr::V6(core::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(core::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9)),
];

fn turnaround(vlan: Option<u16>) -> Turnaround {
    Turnaround::new(Config { mac: US, vlan, addresses: [V4[0], V6[0]].into_iter().collect(), port: 53 })
}

/// A question from the second address to the first, as a peer would write it.
fn question([to, from]: [IpAddr; 2], vlan: Option<u16>, ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let mut frame = alloc::vec![0; HEADERS_BYTES_MAX + payload.len()];
    let ether_type = if to.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
    let l3 = ethernet::Header { destination: US, source: PEER, vlan, ether_type }.emit(&mut frame);
    let asked = Asked { source: SocketAddr::new(to, 0), destination: from };
    let datagram = udp::HEADER_BYTES + payload.len();
    let pseudo = emit_ip(&asked, datagram, &mut frame[l3..]);
    let l4 = l3 + if to.is_ipv4() { 20 } else { 40 };
    udp::Header { source_port: ports[0], destination_port: ports[1] }.emit(&mut frame[l4..], payload.len());
    frame.truncate(l4 + datagram);
    frame[l4 + 8..].copy_from_slice(payload);
    let checksum = checksum_on_the_wire(pseudo.then(&frame[l4..]).finish());
    frame[l4 + 6..l4 + 8].copy_from_slice(&checksum.to_be_bytes());
    frame
}

/// Says what was asked, backwards.
fn backwards(_: &Asked, payload: &[u8], out: &mut [u8]) -> Option<Answered> {
    for (room, byte) in out.iter_mut().zip(payload.iter().rev()) {
        *room = *byte;
    }
    Some(Answered { bytes: payload.len(), sum: Sum::of(&out[..payload.len()]) })
}

fn turned(frame: &[u8], vlan: Option<u16>) -> (Verdict, Vec<u8>) {
    let mut out = alloc::vec![0xa5; 2_048];
    let verdict = turnaround(vlan).on_frame(frame, false, &mut out, backwards);
    (verdict, out)
}

mod a_question {
    use super::*;

    #[test]
    fn is_answered_to_where_it_came_from() {
        for (addresses, vlan) in [(V4, None), (V6, None), (V4, Some(7)), (V6, Some(7))] {
            for payload in [&b"even"[..], b"odd", b""] {
                let frame = question(addresses, vlan, [4_000, 53], payload);
                let (Verdict::Reply(bytes), out) = turned(&frame, vlan) else { panic!("no answer") };
                let parsed = parse_frame(&out[..bytes], true).expect("intact");
                assert_eq!((parsed.ethernet.destination, parsed.ethernet.source), (PEER, US));
                assert_eq!(parsed.ethernet.vlan, vlan);
                let Packet::Udp(udp) = parsed.packet else { panic!("no datagram") };
                assert_eq!((udp.source, udp.destination), (addresses[0], addresses[1]));
                assert_eq!((udp.header.source_port, udp.header.destination_port), (53, 4_000));
                let expected: Vec<u8> = payload.iter().rev().copied().collect();
                assert_eq!(udp.payload, expected);
            }
        }
    }

    #[test]
    fn that_is_damaged_is_dropped() {
        let frame = question(V4, None, [4_000, 53], b"question");
        for at in 14..frame.len() {
            let mut damaged = frame.clone();
            damaged[at] ^= 0x04;
            let (verdict, _) = turned(&damaged, None);
            assert!(!matches!(verdict, Verdict::Reply(_)), "byte {at}");
        }
    }

    #[test]
    fn to_another_is_not_ours() {
        let to_port = question(V4, None, [4_000, 54], b"x");
        let to_address = question([V4[1], V4[0]], None, [4_000, 53], b"x");
        let mut to_mac = question(V4, None, [4_000, 53], b"x");
        to_mac[5] = 9;
        let tagged = question(V4, Some(7), [4_000, 53], b"x");
        for frame in [&to_port, &to_address, &to_mac, &tagged] {
            assert_eq!(turned(frame, None).0, Verdict::NotOurs);
        }
    }

    #[test]
    fn to_the_address_of_a_device_that_came_back_is_ours_again() {
        let mut frame = question(V4, None, [4_000, 53], b"x");
        frame[5] = 9;
        let mut turnaround = turnaround(None);
        turnaround.set_mac(MacAddr([2, 0, 0, 0, 0, 9]));
        let mut out = [0; 1_024];
        let verdict = turnaround.on_frame(&frame, false, &mut out, backwards);
        assert_eq!(verdict, Verdict::Reply(frame.len()));
        assert_eq!(out[6..12], frame[..6]);
    }

    #[test]
    fn that_nobody_could_have_sent_is_dropped() {
        let from_us = question([V4[0], V4[0]], None, [4_000, 53], b"x");
        let from_port_0 = question(V4, None, [0, 53], b"x");
        for frame in [&from_us, &from_port_0] {
            assert_eq!(turned(frame, None).0, Verdict::Dropped(Reason::Spoofed));
        }
    }

    #[test]
    fn in_fragments_is_dropped() {
        let mut frame = question(V4, None, [4_000, 53], b"x");
        frame[20] = 0x20;
        let checksum = wire::checksum::update(u16::from_be_bytes([frame[24], frame[25]]), 0x4000, 0x2000);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(turned(&frame, None).0, Verdict::Dropped(Reason::Fragment));
    }

    /// RFC 791 §3.1: options are passed over, and not sent back.
    #[test]
    fn with_ip_options_is_answered() {
        let plain = question(V4, None, [4_000, 53], b"options");
        let mut frame = plain[..34].to_vec();
        frame[14] = 0x46;
        frame[16..18].copy_from_slice(&u16::try_from(plain.len() - 14 + 4).unwrap().to_be_bytes());
        frame[24..26].fill(0);
        frame.extend([1, 1, 1, 0]);
        let checksum = wire::checksum::checksum(&frame[14..38]);
        frame[24..26].copy_from_slice(&checksum.to_be_bytes());
        frame.extend(&plain[34..]);
        assert_eq!(turned(&frame, None).0, Verdict::Reply(plain.len()));
    }

    #[test]
    fn without_an_answer_is_not_answered() {
        let frame = question(V6, None, [4_000, 53], b"x");
        let mut turnaround = turnaround(None);
        let mut out = [0; 1_024];
        assert_eq!(turnaround.on_frame(&frame, false, &mut out, |_, _, _| None), Verdict::Silent);
        assert_eq!((turnaround.counters().asked, turnaround.counters().answered), (1, 0));
    }
}

#[test]
fn an_answer_written_the_short_way_is_the_same_as_by_the_long_one() {
    for payload in [&b"even"[..], b"odd", b""] {
        let frame = question(V4, None, [4_000, 53], payload);
        let mut turnaround = turnaround(None);
        let (accepted, _) = turnaround.accept(&frame, false).expect("a question");
        let answer = b"an answer";
        let answered = Answered { bytes: answer.len(), sum: Sum::of(answer) };
        let mut out = [[0x5a; 128], [0xa5; 128]];
        let bytes = out.each_mut().map(|out| {
            out[42..42 + answer.len()].copy_from_slice(answer);
            turnaround.reply(&accepted, answered, out)
        });
        let asked = &accepted.asked;
        let long = &mut out[1];
        let l3 = ethernet::Header { source: US, ..accepted.ethernet }.emit(long);
        let pseudo = emit_ip(asked, 8 + answer.len(), &mut long[l3..]);
        udp::Header { source_port: 53, destination_port: 4_000 }.emit(&mut long[34..], answer.len());
        let sum = checksum_on_the_wire(pseudo.then(&long[34..42]).combine(answered.sum).finish());
        long[40..42].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(out[0][..bytes[0]], out[1][..bytes[1]]);
    }
}

proptest! {
    #[test]
    fn no_frame_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), v6 in any::<bool>()) {
        let mut frame = US.0.to_vec();
        frame.extend(PEER.0);
        frame.extend(if v6 { [0x86, 0xdd] } else { [8, 0] });
        frame.extend(bytes);
        let _ = turned(&frame, None);
    }
}
