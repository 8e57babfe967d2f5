use super::*;
use crate::checksum::verify_v6;
use crate::testing;
use proptest::prelude::*;

#[test]
fn packet_too_big_tells_the_mtu_whatever_its_code() {
    let bytes = [2, 9, 0, 0, 0, 0, 0x05, 0x00, 0x60];
    assert_eq!(Message::parse(&bytes), Ok(Message::PacketTooBig { mtu: 1280, quote: &[0x60] }));
}

#[test]
fn a_header_cut_anywhere_is_truncated() {
    for len in 0..HEADER_BYTES {
        assert_eq!(Message::parse(&[128; HEADER_BYTES][..len]), Err(Malformed::Truncated));
    }
}

//= https://www.rfc-editor.org/rfc/rfc4861#section-7.1.1
//= type=test
//# ICMP Code is 0.
#[test]
fn ndp_with_a_code_is_not_ndp() {
    let mut bytes = [0; 24];
    bytes[..2].copy_from_slice(&[135, 1]);
    assert_eq!(Message::parse(&bytes), Ok(Message::Other { kind: 135, code: 1 }));
}

proptest! {
    #[test]
    fn parse_inverts_emit(
        which in 0..6, a in any::<u16>(), b in any::<u16>(), code in any::<u8>(), mtu in any::<u32>(), data in testing::bytes(64),
        ndp in testing::ndp_message(), source in testing::host_v6(), destination in testing::host_v6(),
    ) {
        let message = match which {
            0 => Message::EchoRequest { identifier: a, sequence: b, data: &data },
            1 => Message::EchoReply { identifier: a, sequence: b, data: &data },
            2 => Message::DestinationUnreachable { code, quote: &data },
            3 => Message::PacketTooBig { mtu, quote: &data },
            4 => Message::TimeExceeded { code, quote: &data },
            _ => Message::Ndp(ndp),
        };
        let mut bytes = alloc::vec![0xa5; message.len()];
        prop_assert_eq!(message.emit(source, destination, &mut bytes), bytes.len());
        prop_assert!(verify_v6(source, destination, Protocol::ICMPV6, &bytes));
        prop_assert_eq!(Message::parse(&bytes), Ok(message));
    }
}
