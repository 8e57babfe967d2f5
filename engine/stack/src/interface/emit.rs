//! Whole frames into the outbox: ARP, ICMP, NDP. Each says whether there was room.

use crate::replies::Replies;
use core::net::Ipv6Addr;
use wire::ethernet::Header as Ethernet;
use wire::{EtherType, MacAddr, Protocol, arp, icmpv4, icmpv6, ipv4, ipv6, ndp};

pub(super) fn arp(
    replies: &mut Replies,
    source: MacAddr,
    destination: MacAddr,
    vlan: Option<u16>,
    packet: &arp::Packet,
) -> bool {
    let ethernet = Ethernet { destination, source, vlan, ether_type: EtherType::ARP };
    replies.push(ethernet.len() + arp::PACKET_BYTES, |frame| {
        let l3 = ethernet.emit(frame);
        packet.emit(&mut frame[l3..]);
    })
}

pub(super) fn icmpv4(
    replies: &mut Replies,
    source: MacAddr,
    destination: MacAddr,
    vlan: Option<u16>,
    ip: &ipv4::Header,
    message: &icmpv4::Message<'_>,
) -> bool {
    let ethernet = Ethernet { destination, source, vlan, ether_type: EtherType::IPV4 };
    replies.push(ethernet.len() + ipv4::HEADER_BYTES_MIN + message.len(), |frame| {
        let l3 = ethernet.emit(frame);
        let l4 = l3 + ip.emit(&mut frame[l3..], message.len());
        message.emit(&mut frame[l4..]);
    })
}

pub(super) fn icmpv6(
    replies: &mut Replies,
    source: MacAddr,
    destination: MacAddr,
    vlan: Option<u16>,
    ip: &ipv6::Header,
    message: &icmpv6::Message<'_>,
) -> bool {
    let ethernet = Ethernet { destination, source, vlan, ether_type: EtherType::IPV6 };
    replies.push(ethernet.len() + ipv6::HEADER_BYTES + message.len(), |frame| {
        let l3 = ethernet.emit(frame);
        let l4 = l3 + ip.emit(&mut frame[l3..], message.len());
        message.emit(ip.source, ip.destination, &mut frame[l4..]);
    })
}

pub(super) fn ndp(
    replies: &mut Replies,
    source_mac: MacAddr,
    destination_mac: MacAddr,
    vlan: Option<u16>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    message: ndp::Message<'_>,
) -> bool {
    let ip = ipv6::Header {
        source,
        destination,
        protocol: Protocol::ICMPV6,
        hop_limit: ndp::HOP_LIMIT,
        traffic_class: 0,
        flow_label: 0,
    };
    icmpv6(replies, source_mac, destination_mac, vlan, &ip, &icmpv6::Message::Ndp(message))
}
