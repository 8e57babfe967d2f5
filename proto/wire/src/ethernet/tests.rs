use super::*;
use crate::testing;
use alloc::string::ToString;
use proptest::prelude::*;

#[test]
fn addresses_are_written_and_read_alike() {
    let mac = MacAddr([0x02, 0x00, 0x5e, 0x10, 0x00, 0xff]);
    assert_eq!(mac.to_string(), "02:00:5e:10:00:ff");
    assert_eq!("02:00:5E:10:00:ff".parse(), Ok(mac));
    assert_eq!("02-00-5e-10-00-ff".parse(), Ok(mac));
}

#[test]
fn what_is_no_address_is_refused() {
    for text in [
        "",
        "02:00:5e:10:00",
        "02:00:5e:10:00:ff:01",
        "2:0:5e:10:0:ff",
        "+2:00:5e:10:00:ff",
        "02:00:5e:10:00:fg",
    ] {
        assert_eq!(text.parse::<MacAddr>(), Err(NotAMacAddr), "{text:?}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc4291#appendix-A
//= type=test
#[test]
fn the_link_local_address_is_the_modified_eui_64() {
    let mac = MacAddr([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]);
    assert_eq!(mac.link_local(), "fe80::3656:78ff:fe9a:bcde".parse::<Ipv6Addr>().unwrap());
}

#[test]
fn groups_have_addresses() {
    assert_eq!(
        MacAddr::of_ipv6_multicast("ff02::1:ff12:3456".parse().unwrap()).to_string(),
        "33:33:ff:12:34:56"
    );
    assert_eq!(MacAddr::of_ipv4_multicast(Ipv4Addr::new(224, 128, 0, 251)).to_string(), "01:00:5e:00:00:fb");
    assert!(MacAddr::BROADCAST.is_multicast() && !MacAddr::ZERO.is_unicast());
}

#[test]
fn a_priority_is_not_part_of_the_vlan() {
    let frame = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0x00, 0xe0, 0x07, 0x08, 0x00, 0xaa];
    let (header, payload) = Header::parse(&frame).unwrap();
    assert_eq!((header.vlan, header.ether_type, payload), (Some(7), EtherType::IPV4, &[0xaa][..]));
}

#[test]
fn a_frame_cut_anywhere_in_its_header_is_truncated() {
    let frame = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0x00, 0x00, 0x07, 0x08, 0x00];
    for len in 0..frame.len() {
        assert_eq!(Header::parse(&frame[..len]), Err(Malformed::Truncated), "at {len}");
    }
}

proptest! {
    #[test]
    fn parse_inverts_emit(header in testing::ethernet_header()) {
        let mut frame = [0xa5; 20];
        let len = header.emit(&mut frame);
        prop_assert_eq!(len, header.len());
        prop_assert_eq!(Header::parse(&frame), Ok((header, &[0xa5; 6][..20 - len])));
    }

    #[test]
    fn every_address_survives_its_text(mac in testing::mac()) {
        prop_assert_eq!(mac.to_string().parse(), Ok(mac));
    }
}
