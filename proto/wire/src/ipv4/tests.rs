use super::*;
use crate::testing;
use alloc::vec::Vec;
use proptest::prelude::*;

/// A UDP header's worth of payload from 192.168.0.1 to 192.168.0.199, checksum known from elsewhere.
const PACKET: [u8; 28] = [
    0x45, 0x00, 0x00, 0x1c, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0xb8, 0xc0, 0xa8, 0x00, 0x01, 0xc0,
    0xa8, 0x00, 0xc7, //
    1, 2, 3, 4, 5, 6, 7, 8,
];

/// The packet with some header bytes replaced and its checksum made right again.
fn patched(patches: &[(usize, u8)]) -> Vec<u8> {
    let mut packet = PACKET.to_vec();
    for &(at, byte) in patches {
        packet[at] = byte;
    }
    packet[10..12].fill(0);
    let header_bytes = (usize::from(packet[0] & 15) * 4).min(packet.len());
    let checksum = crate::checksum::checksum(&packet[..header_bytes]);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet
}

#[test]
fn a_packet_is_read() {
    let packet = Header::parse(&PACKET).unwrap();
    assert_eq!(packet.header.source, Ipv4Addr::new(192, 168, 0, 1));
    assert_eq!(packet.header.destination, Ipv4Addr::new(192, 168, 0, 199));
    assert_eq!(
        (packet.header.protocol, packet.header.ttl, packet.header.dont_fragment),
        (Protocol::UDP, 64, true)
    );
    assert_eq!((packet.fragment, packet.payload), (None, &[1, 2, 3, 4, 5, 6, 7, 8][..]));
}

#[test]
fn padding_behind_the_packet_is_ignored() {
    let padded = [&PACKET[..], &[0; 18]].concat();
    assert_eq!(Header::parse(&padded), Header::parse(&PACKET));
}

#[test]
fn a_packet_cut_anywhere_is_truncated() {
    for len in 0..PACKET.len() {
        assert_eq!(Header::parse(&PACKET[..len]), Err(Malformed::Truncated), "at {len}");
    }
}

#[test]
fn options_are_skipped() {
    let with_options = patched(&[(0, 0x46), (20, 7), (21, 4)]);
    assert_eq!(Header::parse(&with_options).unwrap().payload, [5, 6, 7, 8]);
}

#[test]
fn a_flipped_bit_in_the_header_is_noticed() {
    for bit in 32..20 * 8 {
        let mut packet = PACKET;
        packet[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Header::parse(&packet), Err(Malformed::Checksum), "bit {bit}");
    }
}

#[test]
fn another_version_is_refused() {
    assert_eq!(Header::parse(&patched(&[(0, 0x65)])), Err(Malformed::Version));
}

#[test]
fn lengths_without_room_for_the_header_are_refused() {
    assert_eq!(Header::parse(&patched(&[(0, 0x44)])), Err(Malformed::Length));
    assert_eq!(Header::parse(&patched(&[(3, 19)])), Err(Malformed::Length));
    assert_eq!(Header::parse(&patched(&[(3, 0)])), Err(Malformed::Length));
    assert_eq!(Header::parse(&patched(&[(0, 0x48)])), Err(Malformed::Length));
}

#[test]
fn fragments_are_recognised_first_middle_and_last() {
    let fragment = |flags, offset| Header::parse(&patched(&[(6, flags), (7, offset)])).unwrap().fragment;
    assert_eq!(fragment(0x20, 0), Some(Fragment { offset: 0, more: true }));
    assert_eq!(fragment(0x20, 3), Some(Fragment { offset: 24, more: true }));
    assert_eq!(fragment(0x1f, 0xff), Some(Fragment { offset: 65_528, more: false }));
    assert_eq!(fragment(0x40, 0), None);
}

#[test]
fn a_merged_packet_may_leave_its_length_out() {
    let merged = patched(&[(3, 0)]);
    assert_eq!(Header::parse_merged(&merged).unwrap().payload.len(), 8);
}

#[test]
fn a_superframe_beyond_the_length_field_says_zero() {
    let header = Header::parse(&PACKET).unwrap().header;
    let mut buffer = [0; 20];
    header.emit(&mut buffer, 65_515);
    assert_eq!(buffer[2..4], [0xff, 0xff]);
    header.emit(&mut buffer, 65_516);
    assert_eq!(buffer[2..4], [0, 0]);
    assert!(verify(&buffer));
}

proptest! {
    #[test]
    fn parse_inverts_emit(header in testing::ipv4_header(), payload in testing::bytes(64)) {
        let mut packet = alloc::vec![0xa5; 20];
        header.emit(&mut packet, payload.len());
        packet.extend(&payload);
        prop_assert_eq!(Header::parse(&packet), Ok(Packet { header, fragment: None, payload: &payload }));
        prop_assert_eq!(Header::parse_quoted(&packet), Header::parse(&packet).ok());
    }
}
