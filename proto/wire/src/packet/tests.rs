use super::*;
use crate::checksum::Sum;
use crate::tcp::{Flags, Options, SeqNum};
use crate::{Checksum, HEADERS_BYTES_MAX, MacAddr, Path, emit_tcp, ndp, testing};
use alloc::vec::Vec;
use proptest::prelude::*;

const V4: (IpAddr, IpAddr) =
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)));
const V6: (IpAddr, IpAddr) = (
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)),
);

fn tcp_frame(path: &Path, header: &tcp::Header, payload: &[u8]) -> Vec<u8> {
    let mut frame = alloc::vec![0; HEADERS_BYTES_MAX];
    let layout = emit_tcp(&mut frame, path, header, payload.len(), Checksum::Software(Sum::of(payload)));
    frame.truncate(layout.len);
    frame.extend(payload);
    frame
}

fn segment(addresses: (IpAddr, IpAddr)) -> Vec<u8> {
    let path = Path::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]), addresses.0, addresses.1);
    let header = tcp::Header {
        source_port: 443,
        destination_port: 50_000,
        seq: SeqNum(1),
        ack: SeqNum(2),
        flags: Flags::ACK,
        window: 1000,
        urgent: 0,
        options: Options::NONE,
    };
    tcp_frame(&path, &header, b"data")
}

/// An IPv6 frame around an upper-layer packet whose checksum is made right.
fn ipv6_frame(
    protocol: Protocol,
    hop_limit: u8,
    source: Ipv6Addr,
    mut upper: Vec<u8>,
    field: usize,
) -> Vec<u8> {
    let destination: Ipv6Addr = "2001:db8::2".parse().unwrap();
    let bytes = u32::try_from(upper.len()).unwrap();
    upper[field..field + 2].fill(0);
    let checksum = Sum::pseudo_v6(source, destination, protocol, bytes).then(&upper).finish();
    upper[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = alloc::vec![0; 54];
    let ethernet = ethernet::Header {
        destination: MacAddr([2; 6]),
        source: MacAddr([4; 6]),
        vlan: None,
        ether_type: EtherType::IPV6,
    };
    let l3 = ethernet.emit(&mut frame);
    ipv6::Header { source, destination, protocol, hop_limit, traffic_class: 0, flow_label: 0 }
        .emit(&mut frame[l3..], upper.len());
    frame.extend(upper);
    frame
}

#[test]
fn a_frame_cut_anywhere_is_truncated() {
    for frame in [segment(V4), segment(V6)] {
        for len in 0..frame.len() {
            assert_eq!(parse_frame(&frame[..len], true), Err(Malformed::Truncated), "at {len}");
        }
    }
}

#[test]
fn a_flipped_bit_in_a_segment_is_noticed_unless_the_link_vouches() {
    for (frame, l4) in [(segment(V4), 34), (segment(V6), 54)] {
        for byte in (l4..frame.len()).filter(|byte| *byte != l4 + 12) {
            let mut damaged = frame.clone();
            damaged[byte] ^= 0x10;
            assert_eq!(parse_frame(&damaged, true), Err(Malformed::Checksum), "byte {byte}");
            assert!(matches!(parse_frame(&damaged, false).unwrap().packet, Packet::Tcp(_)));
        }
    }
}

#[test]
fn a_source_that_nobody_can_have_is_refused() {
    for source in
        ["224.0.0.1", "255.255.255.255", "127.0.0.1", "0.0.0.0", "ff02::1", "::1", "::", "::ffff:192.0.2.1"]
    {
        let source: IpAddr = source.parse().unwrap();
        let destination = if source.is_ipv4() { V4.1 } else { V6.1 };
        assert_eq!(parse_frame(&segment((source, destination)), true), Err(Malformed::Address), "{source}");
    }
}

#[test]
fn a_fragment_is_not_looked_into() {
    let mut frame = segment(V4);
    frame[20] = 0x20; // DF off, MF on.
    frame[24..26].fill(0);
    let checksum = checksum::checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    assert_eq!(
        parse_frame(&frame, true).unwrap().packet,
        Packet::Fragment { source: V4.0, destination: V4.1 }
    );
}

//= https://www.rfc-editor.org/rfc/rfc4861#section-7.1.1
//= type=test
//# The IP Hop Limit field has a value of 255, i.e., the packet could not possibly have been forwarded by a router.
#[test]
fn ndp_through_a_router_is_refused() {
    let message =
        ndp::Message::NeighborSolicitation { target: "2001:db8::2".parse().unwrap(), source_mac: None };
    let mut bytes = alloc::vec![0; message.len()];
    message.emit(&mut bytes);
    let frame =
        |hop_limit| ipv6_frame(Protocol::ICMPV6, hop_limit, "2001:db8::1".parse().unwrap(), bytes.clone(), 2);
    assert_eq!(parse_frame(&frame(254), true), Err(Malformed::HopLimit));
    let neighbourly = frame(255);
    let Ok(Parsed { packet: Packet::Icmpv6 { message: icmpv6::Message::Ndp(parsed), .. }, .. }) =
        parse_frame(&neighbourly, true)
    else {
        panic!("not NDP")
    };
    assert_eq!(parsed, message);
}

//= https://www.rfc-editor.org/rfc/rfc8200#section-8.1
//= type=test
//# Receivers must discard UDP packets containing a zero checksum
#[test]
fn udp_without_a_checksum_is_refused_over_ipv6_only() {
    let mut frame =
        ipv6_frame(Protocol::UDP, 64, "2001:db8::1".parse().unwrap(), alloc::vec![0, 1, 0, 2, 0, 8, 0, 0], 6);
    assert!(matches!(parse_frame(&frame, true).unwrap().packet, Packet::Udp(_)));
    frame[60..62].fill(0);
    assert_eq!(parse_frame(&frame, true), Err(Malformed::Checksum));

    let mut frame = segment(V4);
    frame[14 + 9] = Protocol::UDP.0;
    frame[24..26].fill(0);
    let checksum = checksum::checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame[38..42].copy_from_slice(&[0, 24, 0, 0]);
    assert!(matches!(parse_frame(&frame, true).unwrap().packet, Packet::Udp(_)));
}

#[test]
fn other_ether_types_are_other() {
    let mut frame = segment(V4);
    frame[12..14].copy_from_slice(&[0x88, 0xcc]);
    assert_eq!(parse_frame(&frame, true).unwrap().packet, Packet::Other);
}

#[test]
fn every_kind_of_malformation_has_its_own_counter() {
    for (index, kind) in Malformed::ALL.into_iter().enumerate() {
        assert_eq!(kind.index(), index);
    }
}

fn udp_frame(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let (l4, end) = (14 + 20, 14 + 20 + 8 + payload.len());
    let mut frame = alloc::vec![0; end];
    let mac = MacAddr([2, 0, 0, 0, 0, 1]);
    ethernet::Header { destination: mac, source: mac, vlan: None, ether_type: EtherType::IPV4 }
        .emit(&mut frame);
    let header = ipv4::Header {
        source,
        destination,
        protocol: Protocol::UDP,
        ttl: 64,
        traffic_class: 0,
        identification: 0,
        dont_fragment: true,
    };
    header.emit(&mut frame[14..], 8 + payload.len());
    udp::Header { source_port: 40_000, destination_port: 53 }.emit(&mut frame[l4..], payload.len());
    frame[l4 + 8..].copy_from_slice(payload);
    let bytes = u32::try_from(8 + payload.len()).unwrap();
    let sum = Sum::pseudo_v4(source, destination, Protocol::UDP, bytes).then(&frame[l4..]);
    let sum = udp::checksum_on_the_wire(sum.finish());
    frame[l4 + 6..l4 + 8].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// What the short way finds is what the long way finds, and it finds every segment without a VLAN tag.
fn ways_agree(frame: &[u8], verify: bool) -> Result<(), TestCaseError> {
    let long = parse_frame(frame, verify).ok().and_then(|Parsed { ethernet, packet }| match packet {
        Packet::Tcp(tcp) if ethernet.vlan.is_none() => Some((ethernet.source, tcp)),
        _ => None,
    });
    prop_assert_eq!(parse_tcp_frame(frame, verify), long);
    if let Some(usual) = UsualTcp::parse(frame, verify) {
        let (source, destination) = (usual.source().into(), usual.destination().into());
        let (traffic_class, header, payload) = (usual.traffic_class(), usual.header(), usual.payload());
        let tcp = Tcp { source, destination, traffic_class, header, payload };
        prop_assert_eq!(Some((usual.source_mac(), tcp)), long);
        prop_assert_eq!(usual.ports(), (header.source_port, header.destination_port));
    }
    let long = parse_frame(frame, verify).ok().and_then(|Parsed { ethernet, packet }| match packet {
        Packet::Udp(udp) if ethernet.vlan.is_none() => Some((ethernet.source, udp)),
        _ => None,
    });
    prop_assert_eq!(parse_udp_frame(frame, verify), long);
    Ok(())
}

proptest! {
    #[test]
    fn parse_inverts_emit_for_whole_segments(path in testing::path(), header in testing::tcp_header(), payload in testing::bytes(100)) {
        let frame = tcp_frame(&path, &header, &payload);
        let parsed = parse_frame(&frame, true).unwrap();
        prop_assert_eq!(parsed.ethernet.source, path.local_mac);
        prop_assert_eq!(parsed.ethernet.destination, path.peer_mac);
        prop_assert_eq!(parsed.ethernet.vlan, path.vlan);
        let Path { source, destination, traffic_class, .. } = path;
        prop_assert_eq!(parsed.packet, Packet::Tcp(Tcp { source, destination, traffic_class, header, payload: &payload }));
        ways_agree(&frame, true)?;
    }

    #[test]
    fn any_frame_is_read_or_refused(frame in testing::bytes(200), verify in any::<bool>()) {
        ways_agree(&frame, verify)?;
    }

    #[test]
    fn any_damage_to_a_datagram_is_read_or_refused(
        source in testing::host_v4(), destination in testing::host_v4(), payload in testing::bytes(60), verify in any::<bool>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut frame = udp_frame(source, destination, &payload);
        for (at, byte) in damage {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        ways_agree(&frame, verify)?;
    }

    /// Random bytes seldom get past the first check; damage done to a good frame does.
    #[test]
    fn any_damage_to_a_frame_is_read_or_refused(
        path in testing::path(), header in testing::tcp_header(), verify in any::<bool>(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut frame = tcp_frame(&path, &header, b"payload");
        for (at, byte) in damage {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        ways_agree(&frame, verify)?;
    }
}
