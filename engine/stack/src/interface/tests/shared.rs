//! An address that the kernel has too: only our ports are ours.

use super::*;
use arrayvec::ArrayVec;

fn shared(ports: &[u16]) -> (Interface, Replies) {
    let mode = AddressMode::Shared(ports.iter().copied().collect::<ArrayVec<_, _>>());
    let config = InterfaceConfig { mode, ..config() };
    (Interface::new(&config, HashKey::new([9; 16])).unwrap(), Replies::new())
}

/// What becomes of a frame when 443 is ours and the rest is the kernel's; nothing is ever answered.
fn on_shared_frame(frame: &[u8]) -> Input<'_> {
    let (mut interface, mut replies) = shared(&[443]);
    let input = interface.on_frame(NOW, frame, false, &mut replies);
    assert_eq!(replies.len(), 0);
    input
}

const KERNELS: Input<'static> = Input::Dropped(Reason::Kernels);

#[test]
fn a_segment_for_our_port_is_handed_on_in_whichever_vlan_it_came() {
    for (ours, theirs) in [(IpAddr::from(OUR_V4), IpAddr::from(THEIR_V4)), (OUR_V6.into(), THEIR_V6.into())] {
        for vlan in [None, Some(7)] {
            let frame = tagged_segment(theirs, ours, vlan);
            let Input::Tcp(input) = on_shared_frame(&frame) else { panic!("{vlan:?}") };
            assert_eq!((input.tuple().local, input.peer_mac, input.vlan), ((ours, 443).into(), THEIRS, vlan));
        }
    }
}

#[test]
fn a_segment_for_another_port_is_the_kernels() {
    let (mut interface, mut replies) = shared(&[80, 8443]);
    let frame = segment(THEIR_V4.into(), OUR_V4.into());
    assert_eq!(interface.on_frame(NOW, &frame, false, &mut replies), KERNELS);
    assert_eq!((interface.counters().kernels, interface.counters().tcp), (1, 0));
}

#[test]
fn who_asks_for_the_address_hears_the_kernel() {
    let request = arp_frame(arp::Operation::Request, NEIGHBOUR_V4, OUR_V4);
    assert_eq!(on_shared_frame(&request), KERNELS);
    let group = ndp::solicited_node(OUR_V6);
    let question = ndp::Message::NeighborSolicitation { target: OUR_V6, source_mac: Some(THEIRS) };
    for (to_mac, to) in [(OURS, OUR_V6), (MacAddr::BROADCAST, group)] {
        let message = icmpv6::Message::Ndp(question);
        assert_eq!(on_shared_frame(&icmpv6_frame(to_mac, NEIGHBOUR_V6, to, &message)), KERNELS);
    }
    // The group's own MAC address is not even listened to.
    let to_group =
        icmpv6_frame(MacAddr::of_ipv6_multicast(group), NEIGHBOUR_V6, group, &icmpv6::Message::Ndp(question));
    assert_eq!(on_shared_frame(&to_group), Input::Dropped(Reason::OtherMac));
}

#[test]
fn a_host_that_uses_the_address_is_the_kernels_to_meet() {
    assert_eq!(on_shared_frame(&arp_frame(arp::Operation::Request, OUR_V4, NEIGHBOUR_V4)), KERNELS);
}

#[test]
fn an_echo_request_is_the_kernels() {
    let ask = icmpv4::Message::EchoRequest { identifier: 3, sequence: 4, data: b"hello" };
    assert_eq!(on_shared_frame(&icmpv4_frame(OUR_V4, ask)), KERNELS);
    let ask = icmpv6::Message::EchoRequest { identifier: 3, sequence: 4, data: b"hello" };
    assert_eq!(on_shared_frame(&icmpv6_frame(OURS, THEIR_V6, OUR_V6, &ask)), KERNELS);
}

#[test]
fn a_datagram_and_a_piece_of_one_are_the_kernels() {
    let udp = [0x30, 0x39, 0, 53, 0, 8, 0, 0];
    let datagram = ipv4_packet(THEIR_V4, OUR_V4, Protocol::UDP, &udp);
    assert_eq!(on_shared_frame(&framed(OURS, EtherType::IPV4, &datagram)), KERNELS);
    let other = ipv4_packet(THEIR_V4, OUR_V4, Protocol(47), b"whatever");
    assert_eq!(on_shared_frame(&framed(OURS, EtherType::IPV4, &other)), KERNELS);
}

#[test]
fn what_a_router_says_of_our_packets_is_heard_if_it_comes_at_all() {
    let quote = our_segment_v4();
    let message = icmpv4::Message::DestinationUnreachable {
        code: icmpv4::unreachable::FRAGMENTATION_NEEDED,
        next_hop_mtu: 1400,
        quote: &quote,
    };
    let frame = icmpv4_frame(OUR_V4, message);
    assert_eq!(
        on_shared_frame(&frame),
        Input::PathMtu { tuple: our_tuple_v4(), seq: SeqNum(1000), mtu: 1400 }
    );
}

#[test]
fn nothing_is_announced_and_no_address_added() {
    let (mut interface, mut replies) = shared(&[443]);
    interface.announce(NOW);
    interface.poll(NOW, &mut replies);
    assert_eq!((replies.len(), interface.next_deadline()), (0, None));
    assert_eq!(interface.addresses().len(), 2, "the link-local address is the kernel's");
}

#[test]
fn an_active_open_has_no_route_for_the_neighbour_would_answer_the_kernel() {
    let (mut interface, mut replies) = shared(&[443]);
    assert_eq!(interface.resolve(NOW, NEIGHBOUR_V4.into(), &mut replies), Resolution::NoRoute);
    assert_eq!(replies.len(), 0);
}
