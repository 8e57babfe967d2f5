use super::*;
use crate::testing;
use alloc::vec::Vec;
use proptest::prelude::*;

fn quoted_v4(protocol: Protocol, transport: &[u8]) -> Vec<u8> {
    let header = ipv4::Header {
        source: "192.0.2.1".parse().unwrap(),
        destination: "198.51.100.9".parse().unwrap(),
        protocol,
        ttl: 1,
        traffic_class: 0,
        identification: 0,
        dont_fragment: true,
    };
    let mut quote = alloc::vec![0; 20];
    // As the packet was: much longer than what is left of it here.
    header.emit(&mut quote, 1480);
    quote.extend(transport);
    quote
}

#[test]
fn eight_bytes_of_tcp_tell_ports_and_sequence_number() {
    let bytes = quoted_v4(Protocol::TCP, &[0x01, 0xbb, 0xc3, 0x50, 0, 0, 0x10, 0]);
    let quote = Quote::parse_v4(&bytes).unwrap();
    assert_eq!(quote.source, IpAddr::from([192, 0, 2, 1]));
    assert_eq!(quote.tcp(), Some((443, 50_000, SeqNum(4096))));
}

#[test]
fn less_than_eight_bytes_tell_nothing() {
    for len in 0..8 {
        let bytes = quoted_v4(Protocol::TCP, &[0; 8][..len]);
        assert_eq!(Quote::parse_v4(&bytes).unwrap().tcp(), None);
    }
}

#[test]
fn udp_has_no_sequence_number() {
    let bytes = quoted_v4(Protocol::UDP, &[0; 8]);
    assert_eq!(Quote::parse_v4(&bytes).unwrap().tcp(), None);
}

#[test]
fn a_later_fragment_has_no_ports() {
    let mut bytes = quoted_v4(Protocol::TCP, &[0; 8]);
    bytes[6..8].copy_from_slice(&[0, 1]);
    assert_eq!(Quote::parse_v4(&bytes).unwrap().tcp(), None);
}

#[test]
fn a_quote_of_the_other_family_is_none() {
    assert_eq!(Quote::parse_v6(&quoted_v4(Protocol::TCP, &[0; 8])), None);
}

proptest! {
    #[test]
    fn a_quoted_segment_is_recognised_in_both_families(path in testing::path(), header in testing::tcp_header()) {
        let mut frame = [0; crate::HEADERS_BYTES_MAX];
        let layout = crate::emit_tcp(&mut frame, &path, &header, 1000, crate::Checksum::Offload);
        let packet = &frame[usize::from(layout.l3)..usize::from(layout.l4) + 8];
        let quote = if path.source.is_ipv4() { Quote::parse_v4(packet) } else { Quote::parse_v6(packet) }.unwrap();
        prop_assert_eq!((quote.source, quote.destination), (path.source, path.destination));
        prop_assert_eq!(quote.tcp(), Some((header.source_port, header.destination_port, header.seq)));
    }

    #[test]
    fn any_bytes_are_a_quote_or_none(quote in testing::bytes(100)) {
        for quote in [Quote::parse_v4(&quote), Quote::parse_v6(&quote)].into_iter().flatten() {
            let _ = quote.tcp();
        }
    }
}
