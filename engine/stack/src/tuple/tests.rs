use super::*;
use proptest::prelude::*;

#[test]
fn a_prefix_contains_its_own() {
    let within = |address: &str, network: &str, len| {
        is_in_prefix(address.parse().unwrap(), network.parse().unwrap(), len)
    };
    assert!(within("192.0.2.200", "192.0.2.1", 24) && !within("192.0.3.1", "192.0.2.1", 24));
    assert!(within("8.8.8.8", "192.0.2.1", 0) && !within("192.0.2.2", "192.0.2.1", 32));
    assert!(within("2001:db8::9", "2001:db8::1", 64) && !within("2001:db8:0:1::9", "2001:db8::1", 64));
    assert!(within("::9", "2001:db8::1", 0) && !within("2001:db8::2", "2001:db8::1", 128));
    assert!(!within("2001:db8::9", "192.0.2.1", 0));
}

//= https://www.rfc-editor.org/rfc/rfc3021#section-2.2
//= type=test
#[test]
fn the_last_address_of_a_prefix_is_everybodys_unless_it_has_two_or_one() {
    let last = |len| broadcast_of("192.0.2.1".parse().unwrap(), len);
    assert_eq!(last(24), Some(Ipv4Addr::new(192, 0, 2, 255)));
    assert_eq!(last(30), Some(Ipv4Addr::new(192, 0, 2, 3)));
    assert_eq!(last(0), Some(Ipv4Addr::BROADCAST));
    assert_eq!((last(31), last(32)), (None, None));
    assert_eq!(broadcast_of("2001:db8::1".parse().unwrap(), 64), None);
}

#[test]
fn a_peer_is_an_ipv4_address_or_an_ipv6_prefix_of_64_bits() {
    let key = |address: &str| PeerKey::new(address.parse().unwrap());
    assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
    assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
    assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
}

proptest! {
    #[test]
    fn a_key_is_its_tuple(v4 in any::<[[u8; 4]; 2]>(), v6 in any::<[[u16; 8]; 2]>(), ports in any::<[u16; 2]>()) {
        for tuple in [
            FourTuple { local: (v4[0], ports[0]).into(), peer: (v4[1], ports[1]).into() },
            FourTuple { local: (v6[0], ports[0]).into(), peer: (v6[1], ports[1]).into() },
        ] {
            prop_assert_eq!(TupleKey::new(&tuple).unwrap().tuple(), tuple);
        }
    }
}
