use super::*;
use crate::testing;
use proptest::prelude::*;

const DATAGRAM: [u8; 11] = [0x30, 0x39, 0, 53, 0, 11, 0xab, 0xcd, 1, 2, 3];

#[test]
fn a_datagram_is_read_and_its_padding_ignored() {
    let padded = [&DATAGRAM[..], &[0; 5]].concat();
    let datagram = Header::parse(&padded).unwrap();
    assert_eq!(datagram.header, Header { source_port: 12_345, destination_port: 53 });
    assert_eq!((datagram.payload, datagram.bytes), (&[1, 2, 3][..], &DATAGRAM[..]));
    assert!(datagram.has_checksum);
}

#[test]
fn a_datagram_cut_anywhere_is_truncated() {
    for len in 0..DATAGRAM.len() {
        assert_eq!(Header::parse(&DATAGRAM[..len]), Err(Malformed::Truncated), "at {len}");
    }
}

#[test]
fn a_length_without_room_for_the_header_is_refused() {
    for len in 0..8 {
        let mut datagram = DATAGRAM;
        datagram[5] = len;
        assert_eq!(Header::parse(&datagram), Err(Malformed::Length));
    }
}

#[test]
fn a_checksum_that_comes_out_as_zero_is_not_sent_as_none() {
    assert_eq!((checksum_on_the_wire(0), checksum_on_the_wire(7)), (0xffff, 7));
}

proptest! {
    #[test]
    fn parse_inverts_emit(source_port in any::<u16>(), destination_port in any::<u16>(), payload in testing::bytes(64)) {
        let header = Header { source_port, destination_port };
        let mut bytes = [0; 80];
        let len = header.emit(&mut bytes, payload.len());
        bytes[len..len + payload.len()].copy_from_slice(&payload);
        let datagram = Header::parse(&bytes).unwrap();
        prop_assert_eq!((datagram.header, datagram.payload), (header, &payload[..]));
        prop_assert!(!datagram.has_checksum);
    }
}
