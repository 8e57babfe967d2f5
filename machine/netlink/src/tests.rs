//! Questions that need no privilege, asked of this very host; orders that need one are refused in words.

use core::net::{IpAddr, Ipv4Addr};

use super::message::{Message, answers, attributes};
use super::*;

#[test]
fn the_loopback_interface_is_known_by_name() {
    let link = Netlink::open().unwrap().link("lo").unwrap().expect("every namespace has one");
    assert_eq!((link.name.as_str(), link.index), ("lo", 1));
}

#[test]
fn an_interface_that_does_not_exist_is_none() {
    assert_eq!(Netlink::open().unwrap().link("no-such-link").unwrap(), None);
}

#[test]
fn a_loopback_that_is_up_has_its_address_and_a_route_to_it() {
    let mut netlink = Netlink::open().unwrap();
    if netlink.link("lo").unwrap().is_some_and(|lo| lo.up) {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(netlink.addresses().unwrap().contains(&AddressInfo { index: 1, address, prefix: 8 }));
        assert!(netlink.routes().unwrap().iter().any(|route| route.network == address && route.prefix == 32));
    }
}

#[test]
fn an_order_about_a_missing_interface_names_it() {
    let error = Netlink::open().unwrap().change_link("no-such-link", LinkChange::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot configure no-such-link: No such device (os error 19)");
}

#[test]
fn a_name_that_no_interface_can_have_is_refused_before_the_kernel_sees_it() {
    let mut netlink = Netlink::open().unwrap();
    for name in ["", "sixteen-letters!", "a/b", "a b"] {
        let error = netlink.create_veth(name, "peer").unwrap_err();
        assert_eq!(error.errno, rustix::io::Errno::INVAL, "{name:?}");
    }
}

#[test]
fn a_missing_privilege_is_said_with_its_remedy() {
    let error = NetlinkError { attempt: "delete eth0".to_owned(), errno: rustix::io::Errno::PERM };
    assert!(error.to_string().ends_with("(run as root, or with CAP_NET_ADMIN)"), "{error}");
}

#[test]
fn nested_attributes_are_found_where_they_were_put() {
    let message = Message::new(16, 1, &[7; 4])
        .attribute_str(3, "ab")
        .nested(18, &[9, 9, 9, 9], |inner| inner.attribute(1, b"xyz").attribute_u32(2, 5))
        .finish(77);
    let answer = answers(&message).next().unwrap();
    assert_eq!((answer.kind, answer.seq), (16, 77));
    let found: Vec<_> = attributes(answer.body, 4).collect();
    assert_eq!(found[0], (3, &b"ab\0"[..]));
    let inner: Vec<_> = attributes(found[1].1, 4).collect();
    assert_eq!(inner, [(1, &b"xyz"[..]), (2, &[5, 0, 0, 0][..])]);
}

#[test]
fn what_is_cut_short_ends_the_walk() {
    let message = Message::new(16, 1, &[0; 16]).attribute_u32(4, 1_500).finish(1);
    for len in 0..message.len() {
        assert_eq!(answers(&message[..len]).count(), 0);
    }
    assert_eq!(attributes(&[3, 0, 1, 0], 0).count(), 0, "shorter than its own header");
}
