use super::*;
use crate::checksum::verify;
use crate::testing;
use alloc::vec::Vec;
use proptest::prelude::*;

fn emitted(message: Message<'_>) -> Vec<u8> {
    let mut bytes = alloc::vec![0xa5; message.len()];
    assert_eq!(message.emit(&mut bytes), message.len());
    bytes
}

#[test]
fn an_echo_request_is_written_as_rfc_792_draws_it() {
    let bytes = emitted(Message::EchoRequest { identifier: 1, sequence: 2, data: b"hi" });
    assert_eq!(bytes, [8, 0, 0x8f, 0x93, 0, 1, 0, 2, b'h', b'i']);
}

//= https://www.rfc-editor.org/rfc/rfc1191#section-4
//= type=test
#[test]
fn fragmentation_needed_tells_the_mtu() {
    let bytes = [3, 4, 0, 0, 0, 0, 0x05, 0x78, 0x45];
    assert_eq!(
        Message::parse(&bytes),
        Ok(Message::DestinationUnreachable { code: 4, next_hop_mtu: 1400, quote: &[0x45] })
    );
}

#[test]
fn other_unreachables_have_no_mtu() {
    let bytes = [3, 1, 0, 0, 0, 0, 0x05, 0x78];
    assert_eq!(
        Message::parse(&bytes),
        Ok(Message::DestinationUnreachable { code: unreachable::HOST, next_hop_mtu: 0, quote: &[] })
    );
}

#[test]
fn a_header_cut_anywhere_is_truncated() {
    for len in 0..HEADER_BYTES {
        assert_eq!(Message::parse(&[0; HEADER_BYTES][..len]), Err(Malformed::Truncated));
    }
}

#[test]
fn an_unknown_type_is_other() {
    assert_eq!(Message::parse(&[13, 0, 0, 0, 0, 0, 0, 0]), Ok(Message::Other { kind: 13, code: 0 }));
}

proptest! {
    #[test]
    fn parse_inverts_emit(which in 0..4, a in any::<u16>(), b in any::<u16>(), code in any::<u8>(), data in testing::bytes(64)) {
        let message = match which {
            0 => Message::EchoRequest { identifier: a, sequence: b, data: &data },
            1 => Message::EchoReply { identifier: a, sequence: b, data: &data },
            2 => Message::DestinationUnreachable { code, next_hop_mtu: if code == 4 { a } else { 0 }, quote: &data },
            _ => Message::TimeExceeded { code, quote: &data },
        };
        let bytes = emitted(message);
        prop_assert!(verify(&bytes));
        prop_assert_eq!(Message::parse(&bytes), Ok(message));
    }
}
