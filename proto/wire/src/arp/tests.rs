use super::*;
use crate::testing;
use proptest::prelude::*;

fn request() -> Packet {
    Packet {
        operation: Operation::Request,
        sender_mac: MacAddr([2, 0, 0, 0, 0, 1]),
        sender_ip: Ipv4Addr::new(192, 0, 2, 1),
        target_mac: MacAddr::ZERO,
        target_ip: Ipv4Addr::new(192, 0, 2, 2),
    }
}

fn emitted(packet: Packet) -> [u8; PACKET_BYTES] {
    let mut bytes = [0; PACKET_BYTES];
    packet.emit(&mut bytes);
    bytes
}

#[test]
fn a_request_is_written_as_rfc_826_draws_it() {
    assert_eq!(
        emitted(request()),
        [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 2]
    );
}

#[test]
fn a_packet_cut_anywhere_is_truncated() {
    for len in 0..PACKET_BYTES {
        assert_eq!(Packet::parse(&emitted(request())[..len]), Err(Malformed::Truncated), "at {len}");
    }
}

#[test]
fn other_hardware_protocols_and_operations_are_refused() {
    for at in 0..8 {
        let mut bytes = emitted(request());
        bytes[at] ^= 0x40;
        assert_eq!(Packet::parse(&bytes), Err(Malformed::Version), "byte {at}");
    }
}

#[test]
fn a_sender_who_claims_to_be_a_group_is_refused() {
    for packet in [
        Packet { sender_mac: MacAddr::BROADCAST, ..request() },
        Packet { sender_mac: MacAddr::ZERO, ..request() },
        Packet { sender_ip: Ipv4Addr::new(224, 0, 0, 1), ..request() },
        Packet { sender_ip: Ipv4Addr::BROADCAST, ..request() },
    ] {
        assert_eq!(Packet::parse(&emitted(packet)), Err(Malformed::Address));
    }
}

proptest! {
    #[test]
    fn parse_inverts_emit(packet in testing::arp_packet()) {
        prop_assert_eq!(Packet::parse(&emitted(packet)), Ok(packet));
    }
}
