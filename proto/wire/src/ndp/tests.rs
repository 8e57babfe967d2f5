use super::*;
use crate::testing;
use alloc::vec::Vec;
use proptest::prelude::*;

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

fn emitted(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = alloc::vec![0xa5; message.len()];
    assert_eq!(message.emit(&mut bytes), message.len());
    bytes
}

fn solicitation() -> Vec<u8> {
    emitted(&Message::NeighborSolicitation { target: "2001:db8::7".parse().unwrap(), source_mac: Some(MAC) })
}

#[test]
fn a_solicitation_is_written_as_rfc_4861_draws_it() {
    let expected = [
        &[135, 0, 0, 0, 0, 0, 0, 0][..],
        &[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
        &[1, 1, 2, 0, 0, 0, 0, 1],
    ];
    assert_eq!(solicitation(), expected.concat());
}

#[test]
fn a_message_cut_within_its_target_or_its_option_is_truncated() {
    let bytes = solicitation();
    for len in (0..bytes.len()).filter(|&len| len != 24) {
        assert_eq!(Message::parse(&bytes[..len]), Err(Malformed::Truncated), "at {len}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc4861#section-7.1.1
//= type=test
//# All included options have a length that is greater than zero.
#[test]
fn an_option_of_length_zero_is_refused() {
    let mut bytes = solicitation();
    bytes[25] = 0;
    assert_eq!(Message::parse(&bytes), Err(Malformed::Length));
}

//= https://www.rfc-editor.org/rfc/rfc4861#section-7.1.1
//= type=test
//# Target Address is not a multicast address.
#[test]
fn a_multicast_target_is_refused() {
    let mut bytes = solicitation();
    bytes[8] = 0xff;
    assert_eq!(Message::parse(&bytes), Err(Malformed::Address));
}

#[test]
fn unknown_options_are_skipped() {
    let bytes = [&solicitation()[..24], &[14, 1, 1, 2, 3, 4, 5, 6], &solicitation()[24..]].concat();
    let Ok(Message::NeighborSolicitation { source_mac, .. }) = Message::parse(&bytes) else {
        panic!("{bytes:?}")
    };
    assert_eq!(source_mac, Some(MAC));
}

#[test]
fn prefixes_are_read_where_they_stand_and_impossible_ones_skipped() {
    let prefix = |last: u16, prefix_len| PrefixInformation {
        prefix: Ipv6Addr::new(0x2001, 0xdb8, last, 0, 0, 0, 0, 0),
        prefix_len,
        on_link: true,
        autonomous: false,
        valid_lifetime_s: 1,
        preferred_lifetime_s: 2,
    };
    let mut buffer = [0; 3 * PREFIX_OPTION_BYTES];
    let prefixes = Prefixes::emit(&[prefix(1, 64), prefix(2, 129), prefix(3, 48)], &mut buffer);
    let advertisement = RouterAdvertisement {
        hop_limit: 64,
        managed: false,
        other: true,
        router_lifetime_s: 1800,
        reachable_ms: 0,
        retransmit_ms: 0,
        source_mac: Some(MAC),
        mtu: Some(1500),
        prefixes,
    };
    let bytes = emitted(&Message::RouterAdvertisement(advertisement));
    let Ok(Message::RouterAdvertisement(parsed)) = Message::parse(&bytes) else { panic!("{bytes:?}") };
    assert_eq!(parsed, advertisement);
    assert_eq!(parsed.prefixes.iter().collect::<Vec<_>>(), [prefix(1, 64), prefix(3, 48)]);
}

//= https://www.rfc-editor.org/rfc/rfc4291#section-2.7.1
//= type=test
#[test]
fn the_solicited_node_group_has_the_last_24_bits() {
    let address = "4037::01:800:200e:8c6c".parse().unwrap();
    assert_eq!(solicited_node(address), "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
}

proptest! {
    #[test]
    fn parse_inverts_emit(message in testing::ndp_message()) {
        let bytes = emitted(&message);
        prop_assert!(bytes.len() <= 32 || matches!(message, Message::RouterAdvertisement(_)));
        prop_assert_eq!(Message::parse(&bytes), Ok(message));
    }

    #[test]
    fn any_bytes_are_read_or_refused(kind in 133_u8..=136, mut bytes in testing::bytes(200)) {
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        let _ = Message::parse(&bytes);
    }
}
