use super::*;
use crate::middlebox::testing::{Ends, ipv4, ipv6};
use proptest::prelude::*;

const HASH: FlowHash = FlowHash::new(7);

mod a_flow {
    use super::*;

    #[test]
    fn is_the_same_both_ways() {
        let ends = Ends::client(40_000);
        assert_eq!(HASH.of_frame(&ipv4(ends, 10)), HASH.of_frame(&ipv4(ends.reversed(), 10)));
        assert_eq!(HASH.of_frame(&ipv6(ends, 10)), HASH.of_frame(&ipv6(ends.reversed(), 10)));
    }

    #[test]
    fn does_not_depend_on_what_it_carries() {
        assert_eq!(HASH.of_frame(&ipv4(Ends::client(1), 0)), HASH.of_frame(&ipv4(Ends::client(1), 1_000)));
    }

    #[test]
    fn is_another_with_another_port_family_or_seed() {
        let frame = ipv4(Ends::client(1), 0);
        assert_ne!(HASH.of_frame(&frame), HASH.of_frame(&ipv4(Ends::client(2), 0)));
        assert_ne!(HASH.of_frame(&frame), HASH.of_frame(&ipv6(Ends::client(1), 0)));
        assert_ne!(HASH.of_frame(&frame), FlowHash::new(8).of_frame(&frame));
    }

    #[test]
    fn keeps_its_hash_behind_vlan_tags() {
        let frame = ipv4(Ends::client(1), 5);
        for tags in [&[0x81, 0, 0, 42][..], &[0x88, 0xa8, 0, 1, 0x81, 0, 0, 42]] {
            let tagged = [&frame[..12], tags, &frame[12..]].concat();
            assert_eq!(HASH.of_frame(&tagged), HASH.of_frame(&frame));
        }
    }

    #[test]
    fn keeps_its_hash_when_it_sends_a_superframe_of_more_than_64_kib() {
        let frame = ipv6(Ends::client(1), 5);
        let jumbo = [6, 0, 0xc2, 4, 0, 2, 0, 0];
        let mut superframe = [&frame[..54], &jumbo, &frame[54..]].concat();
        superframe[20] = 0;
        assert_eq!(HASH.of_frame(&superframe), HASH.of_frame(&frame));
    }
}

#[test]
fn fragments_of_one_packet_belong_together() {
    let mut first = ipv4(Ends::client(1), 8);
    first[14 + 6] = 0x20;
    let mut last = ipv4(Ends::client(2), 8);
    last[14 + 7] = 185;
    assert_eq!(HASH.of_frame(&first), HASH.of_frame(&last), "the second has no ports where ports would be");
}

#[test]
fn an_arp_request_belongs_to_no_flow() {
    let mut frame = vec![0; 60];
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    assert_eq!(HASH.of_frame(&frame), None);
}

proptest! {
    #[test]
    fn any_bytes_have_a_hash_or_none(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut frame = bytes;
        if frame.len() > 14 {
            let ethertype = if frame[0] < 128 { [8, 0] } else { [0x86, 0xdd] };
            frame[12..14].copy_from_slice(&ethertype);
        }
        prop_assert_eq!(HASH.of_frame(&frame), HASH.of_frame(&frame.clone()));
    }
}
