use super::*;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{EthernetFrame, Ipv4Packet, Ipv4Repr, Ipv6Packet, TcpPacket, TcpRepr};

fn segment(source: &str, destination: &str) -> Segment {
    let mut segment = Segment::between(
        ([2, 0, 0, 0, 0, 1], source.parse().unwrap()),
        ([2, 0, 0, 0, 0, 2], destination.parse().unwrap()),
    );
    segment.seq = 0xFFFF_FFF0;
    segment.ack = 17;
    segment.flags = ACK | PSH;
    segment.window = 1_000;
    segment.timestamps = Some((1, 2));
    segment
}

fn v4() -> Segment {
    segment("10.0.0.1:80", "10.0.0.2:5000")
}

fn v6() -> Segment {
    segment("[fd00::1]:80", "[fd00::2]:5000")
}

#[test]
fn parse_inverts_emit() {
    for base in [v4(), v6()] {
        for payload in [&b""[..], b"x", b"hello, world", &[7; 1_448]] {
            let mut segment = base.clone();
            segment.sack.extend([(1, 2), (3, 4), (5, 6)]);
            let frame = segment.emit(payload);
            let (parsed, range) = Segment::parse(&frame).unwrap();
            assert_eq!((parsed, &frame[range]), (segment, payload));
        }
        let mut syn = base;
        syn.flags = SYN;
        syn.mss = Some(1_460);
        syn.window_scale = Some(14);
        syn.sack_permitted = true;
        assert_eq!(Segment::parse(&syn.emit(b"")).unwrap().0, syn);
    }
}

#[test]
fn padding_after_the_packet_is_no_payload() {
    let mut frame = v4().emit(b"abc");
    frame.resize(frame.len() + 9, 0);
    let (_, range) = Segment::parse(&frame).unwrap();
    assert_eq!(&frame[range], b"abc");
}

#[test]
fn every_truncation_is_rejected() {
    for frame in [v4().emit(b"payload"), v6().emit(b"payload")] {
        for len in 0..frame.len() {
            assert!(Segment::parse(&frame[..len]).is_err(), "{len} of {} bytes", frame.len());
        }
    }
}

#[test]
fn every_flipped_bit_behind_the_addresses_is_noticed() {
    for frame in [v4().emit(b"some payload"), v6().emit(b"some payload")] {
        let transport = if frame[12] == 8 { ETHERNET_BYTES + 20 } else { ETHERNET_BYTES + 40 };
        for bit in transport * 8..frame.len() * 8 {
            let mut frame = frame.clone();
            frame[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Segment::parse(&frame).unwrap_err(), Rejected::Checksum, "bit {bit}");
        }
    }
}

#[test]
fn another_hand_reads_what_we_emit() {
    let frame = v4().emit(b"payload");
    let ip = Ipv4Packet::new_checked(EthernetFrame::new_checked(&frame[..]).unwrap().payload()).unwrap();
    assert!(ip.verify_checksum());
    let repr = Ipv4Repr::parse(&ip, &ChecksumCapabilities::default()).unwrap();
    let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
    let repr =
        TcpRepr::parse(&tcp, &repr.src_addr.into(), &repr.dst_addr.into(), &ChecksumCapabilities::default())
            .unwrap();
    assert_eq!((repr.payload, repr.src_port, repr.window_len), (&b"payload"[..], 80, 1_000));

    let frame = v6().emit(b"payload");
    let ip = Ipv6Packet::new_checked(EthernetFrame::new_checked(&frame[..]).unwrap().payload()).unwrap();
    let tcp = TcpPacket::new_checked(ip.payload()).unwrap();
    assert!(tcp.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
}
