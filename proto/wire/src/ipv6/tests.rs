use super::*;
use crate::testing;
use alloc::vec::Vec;
use proptest::prelude::*;

const UPPER: [u8; 4] = [0xde, 0xad, 0xbe, 0xef];
const HOP_BY_HOP: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];
const ROUTE_ENDS_HERE: [u8; 8] = [0, 0, 2, 0, 0, 0, 0, 0];

/// A packet whose extension headers are `chain`, each {its number, its bytes with the next-header byte still open}.
fn packet(chain: &[(Protocol, &[u8])]) -> Vec<u8> {
    let mut payload = Vec::new();
    let following = chain.iter().skip(1).map(|(protocol, _)| *protocol).chain([Protocol::TCP]);
    for ((_, bytes), next) in chain.iter().zip(following) {
        payload.push(next.0);
        payload.extend(&bytes[1..]);
    }
    payload.extend(UPPER);
    let first = chain.first().map_or(Protocol::TCP, |(protocol, _)| *protocol);
    let header = Header {
        source: "2001:db8::1".parse().unwrap(),
        destination: "2001:db8::2".parse().unwrap(),
        protocol: first,
        hop_limit: 64,
        traffic_class: 0,
        flow_label: 0,
    };
    let mut packet = alloc::vec![0; HEADER_BYTES];
    header.emit(&mut packet, payload.len());
    packet.extend(payload);
    packet
}

fn parsed(chain: &[(Protocol, &[u8])]) -> Result<(Protocol, Option<Fragment>, Vec<u8>), Malformed> {
    let packet = packet(chain);
    Header::parse(&packet).map(|packet| (packet.header.protocol, packet.fragment, packet.payload.to_vec()))
}

fn whole() -> Result<(Protocol, Option<Fragment>, Vec<u8>), Malformed> {
    Ok((Protocol::TCP, None, UPPER.to_vec()))
}

#[test]
fn known_extension_headers_are_walked_past() {
    assert_eq!(parsed(&[]), whole());
    assert_eq!(
        parsed(&[
            (Protocol::HOP_BY_HOP, &HOP_BY_HOP),
            (Protocol::DESTINATION_OPTIONS, &[0, 1, 1, 6, 0, 0, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0]),
            (Protocol::ROUTING, &ROUTE_ENDS_HERE),
            (Protocol::FRAGMENT, &[0, 0, 0, 0, 1, 2, 3, 4]),
            (Protocol::DESTINATION_OPTIONS, &HOP_BY_HOP),
        ]),
        whole()
    );
}

#[test]
fn a_header_that_is_not_known_ends_the_walk() {
    let esp = Protocol(50);
    let packet = packet(&[(esp, &[0; 8])]);
    let parsed = Header::parse(&packet).unwrap();
    assert_eq!((parsed.header.protocol, parsed.payload.len()), (esp, 12));
}

#[test]
fn a_chain_without_end_is_refused() {
    let options = (Protocol::DESTINATION_OPTIONS, &HOP_BY_HOP[..]);
    assert_eq!(parsed(&[options; EXTENSION_HEADERS_MAX]), whole());
    assert_eq!(parsed(&[options; EXTENSION_HEADERS_MAX + 1]), Err(Malformed::HeaderChain));
}

//= https://www.rfc-editor.org/rfc/rfc8200#section-4.1
//= type=test
//# the Hop-by-Hop Options header, which is restricted to appear immediately after an IPv6 header only.
#[test]
fn hop_by_hop_options_come_first_or_not_at_all() {
    let hop_by_hop = (Protocol::HOP_BY_HOP, &HOP_BY_HOP[..]);
    assert_eq!(parsed(&[hop_by_hop, hop_by_hop]), Err(Malformed::HeaderChain));
}

#[test]
fn a_route_that_goes_on_is_refused() {
    assert_eq!(parsed(&[(Protocol::ROUTING, &[0, 0, 0, 1, 0, 0, 0, 0])]), Err(Malformed::HeaderChain));
}

//= https://www.rfc-editor.org/rfc/rfc8200#section-4.2
//= type=test
#[test]
fn an_unknown_option_is_skipped_only_if_it_says_so() {
    let option = |kind: u8| parsed(&[(Protocol::HOP_BY_HOP, &[0, 0, kind, 4, 0, 0, 0, 0])]);
    assert_eq!(option(0x3e), whole());
    for kind in [0x7e, 0xbe, 0xfe, 0xc2] {
        assert_eq!(option(kind), Err(Malformed::HeaderChain), "option {kind:#x}");
    }
}

#[test]
fn an_option_longer_than_its_header_is_refused() {
    assert_eq!(parsed(&[(Protocol::HOP_BY_HOP, &[0, 0, 1, 5, 0, 0, 0, 0])]), Err(Malformed::Length));
    assert_eq!(parsed(&[(Protocol::HOP_BY_HOP, &[0, 0, 1, 3, 0, 0, 0, 1])]), Err(Malformed::Length));
}

#[test]
fn fragments_are_recognised_and_atomic_ones_are_whole() {
    let fragment = |high, low| parsed(&[(Protocol::FRAGMENT, &[0, 0, high, low, 0, 0, 0, 7])]).unwrap().1;
    assert_eq!(fragment(0, 1), Some(Fragment { offset: 0, more: true }));
    assert_eq!(fragment(0, 8), Some(Fragment { offset: 8, more: false }));
    assert_eq!(fragment(0xff, 0xf9), Some(Fragment { offset: 65_528, more: true }));
    //= https://www.rfc-editor.org/rfc/rfc6946#section-4
    //= type=test
    assert_eq!(fragment(0, 0), None);
}

#[test]
fn a_packet_cut_anywhere_is_truncated() {
    let packet = packet(&[(Protocol::HOP_BY_HOP, &HOP_BY_HOP)]);
    for len in 0..packet.len() {
        assert_eq!(Header::parse(&packet[..len]), Err(Malformed::Truncated), "at {len}");
    }
}

#[test]
fn extension_headers_that_outrun_the_payload_length_are_truncated() {
    let mut packet = packet(&[(Protocol::HOP_BY_HOP, &HOP_BY_HOP)]);
    packet[HEADER_BYTES + 1] = 1;
    assert_eq!(Header::parse(&packet), Err(Malformed::Truncated));
}

#[test]
fn another_version_is_refused() {
    let mut packet = packet(&[]);
    packet[0] = 0x45;
    assert_eq!(Header::parse(&packet), Err(Malformed::Version));
}

//= https://www.rfc-editor.org/rfc/rfc2675#section-2
//= type=test
#[test]
fn a_superframe_beyond_the_length_field_carries_a_jumbo_option() {
    let header = Header::parse(&packet(&[])).unwrap().header;
    let payload = alloc::vec![7; 65_536];
    let mut superframe = alloc::vec![0; HEADER_BYTES + JUMBO_BYTES];
    assert_eq!(header.emit(&mut superframe, payload.len()), HEADER_BYTES + JUMBO_BYTES);
    assert_eq!(superframe[4..7], [0, 0, 0]);
    assert_eq!(superframe[40..], [6, 0, 0xc2, 4, 0, 1, 0, 8]);
    superframe.extend(&payload);
    let parsed = Header::parse_merged(&superframe).unwrap();
    assert_eq!((parsed.header, parsed.payload), (header, &payload[..]));
    // From the wire nobody gets such a thing.
    assert_eq!(Header::parse(&superframe), Err(Malformed::Truncated));
}

proptest! {
    #[test]
    fn parse_inverts_emit(header in testing::ipv6_header(), payload in testing::bytes(64)) {
        let mut packet = alloc::vec![0xa5; HEADER_BYTES];
        header.emit(&mut packet, payload.len());
        packet.extend(&payload);
        prop_assert_eq!(Header::parse(&packet), Ok(Packet { header, fragment: None, payload: &payload }));
        prop_assert_eq!(Header::parse_quoted(&packet), Header::parse(&packet).ok());
    }

    #[test]
    fn any_chain_is_walked_or_refused(first in prop::sample::select(alloc::vec![0_u8, 43, 44, 60]), rest in testing::bytes(200)) {
        let mut packet = packet(&[]);
        packet.truncate(HEADER_BYTES);
        packet[6] = first;
        packet[5] = u8::try_from(rest.len()).unwrap();
        packet.extend(&rest);
        if let Ok(parsed) = Header::parse(&packet) {
            prop_assert!(parsed.payload.len() <= rest.len());
        }
    }
}
