//! Arbitrary values of every type on the wire, for property tests.

#![expect(clippy::disallowed_types, reason = "`prop_oneof!` shares its strategies through Arc")]

use crate::tcp::{self, Flags, Options, SackBlocks, SeqNum, Timestamps};
use crate::{MacAddr, Path, Protocol, arp, ethernet, ipv4, ipv6, ndp};
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub(crate) fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=max)
}

pub(crate) fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(MacAddr)
}

pub(crate) fn station() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(|[a, b, c, d, e, f]| MacAddr([a & 0xfe | 2, b, c, d, e, f]))
}

/// An IPv4 address that a host may have.
pub(crate) fn host_v4() -> impl Strategy<Value = Ipv4Addr> {
    (1_u8..=223, any::<[u8; 3]>())
        .prop_map(|(a, [b, c, d])| Ipv4Addr::new(if a == 127 { 128 } else { a }, b, c, d))
}

/// An IPv6 address that a host may have.
pub(crate) fn host_v6() -> impl Strategy<Value = Ipv6Addr> {
    any::<[u8; 15]>().prop_map(|rest| {
        let mut octets = [0x20; 16];
        octets[1..].copy_from_slice(&rest);
        Ipv6Addr::from_octets(octets)
    })
}

pub(crate) fn seq() -> impl Strategy<Value = SeqNum> {
    any::<u32>().prop_map(SeqNum)
}

pub(crate) fn ethernet_header() -> impl Strategy<Value = ethernet::Header> {
    (mac(), mac(), option::of(0_u16..=0xfff), any::<u16>()).prop_map(
        |(destination, source, vlan, ether_type)| {
            let ether_type = if ether_type == 0x8100 {
                ethernet::EtherType::IPV4
            } else {
                ethernet::EtherType(ether_type)
            };
            ethernet::Header { destination, source, vlan, ether_type }
        },
    )
}

pub(crate) fn arp_packet() -> impl Strategy<Value = arp::Packet> {
    (any::<bool>(), station(), host_v4(), mac(), host_v4()).prop_map(
        |(is_request, sender_mac, sender_ip, target_mac, target_ip)| arp::Packet {
            operation: if is_request { arp::Operation::Request } else { arp::Operation::Reply },
            sender_mac,
            sender_ip,
            target_mac,
            target_ip,
        },
    )
}

pub(crate) fn ipv4_header() -> impl Strategy<Value = ipv4::Header> {
    (host_v4(), host_v4(), any::<u8>(), any::<u8>(), any::<u8>(), any::<u16>(), any::<bool>()).prop_map(
        |(source, destination, protocol, ttl, traffic_class, identification, dont_fragment)| ipv4::Header {
            source,
            destination,
            protocol: Protocol(protocol),
            ttl,
            traffic_class,
            identification,
            dont_fragment,
        },
    )
}

pub(crate) fn ipv6_header() -> impl Strategy<Value = ipv6::Header> {
    (host_v6(), host_v6(), any::<u8>(), any::<u8>(), any::<u8>(), 0_u32..1 << 20).prop_map(
        |(source, destination, protocol, hop_limit, traffic_class, flow_label)| ipv6::Header {
            source,
            destination,
            // Not the number of an extension header, which the payload would have to be.
            protocol: if matches!(protocol, 0 | 43 | 44 | 60) { Protocol::TCP } else { Protocol(protocol) },
            hop_limit,
            traffic_class,
            flow_label,
        },
    )
}

pub(crate) fn tcp_options() -> impl Strategy<Value = Options> {
    (
        option::of(any::<u16>()),
        option::of(any::<u8>()),
        any::<bool>(),
        vec((seq(), seq()), 0..=4),
        option::of((any::<u32>(), any::<u32>())),
    )
        .prop_map(|(mss, window_scale, sack_permitted, sack, timestamps)| {
            let mut options = Options {
                mss,
                window_scale,
                sack_permitted,
                sack: sack.into_iter().collect::<SackBlocks>(),
                timestamps: timestamps.map(|(value, echo)| Timestamps { value, echo }),
            };
            let fitting = options.sack_blocks_fitting();
            options.sack.truncate(fitting);
            options
        })
}

pub(crate) fn tcp_header() -> impl Strategy<Value = tcp::Header> {
    (any::<[u16; 4]>(), seq(), seq(), any::<u8>(), tcp_options()).prop_map(
        |([source_port, destination_port, window, urgent], seq, ack, flags, options)| tcp::Header {
            source_port,
            destination_port,
            seq,
            ack,
            flags: Flags::from_bits_retain(flags),
            window,
            urgent,
            options,
        },
    )
}

/// A neighbour discovery message whose prefixes, if it has any, are in memory that nobody frees: a test ends soon.
pub(crate) fn ndp_message() -> impl Strategy<Value = ndp::Message<'static>> {
    prop_oneof![
        option::of(mac()).prop_map(|source_mac| ndp::Message::RouterSolicitation { source_mac }),
        (host_v6(), option::of(mac()))
            .prop_map(|(target, source_mac)| ndp::Message::NeighborSolicitation { target, source_mac }),
        (host_v6(), any::<[bool; 3]>(), option::of(mac())).prop_map(
            |(target, [router, solicited, overrides], target_mac)| ndp::Message::NeighborAdvertisement {
                target,
                router,
                solicited,
                overrides,
                target_mac,
            }
        ),
        router_advertisement().prop_map(ndp::Message::RouterAdvertisement),
    ]
}

fn router_advertisement() -> impl Strategy<Value = ndp::RouterAdvertisement<'static>> {
    (
        any::<u8>(),
        any::<[bool; 2]>(),
        any::<u16>(),
        any::<[u32; 2]>(),
        option::of(mac()),
        option::of(any::<u32>()),
        vec(prefix_information(), 0..=5),
    )
        .prop_map(
            |(
                hop_limit,
                [managed, other],
                router_lifetime_s,
                [reachable_ms, retransmit_ms],
                source_mac,
                mtu,
                prefixes,
            )| {
                let buffer = alloc::vec![0; prefixes.len() * ndp::PREFIX_OPTION_BYTES].leak();
                ndp::RouterAdvertisement {
                    hop_limit,
                    managed,
                    other,
                    router_lifetime_s,
                    reachable_ms,
                    retransmit_ms,
                    source_mac,
                    mtu,
                    prefixes: ndp::Prefixes::emit(&prefixes, buffer),
                }
            },
        )
}

fn prefix_information() -> impl Strategy<Value = ndp::PrefixInformation> {
    (host_v6(), 0_u8..=128, any::<[bool; 2]>(), any::<[u32; 2]>()).prop_map(
        |(prefix, prefix_len, [on_link, autonomous], [valid_lifetime_s, preferred_lifetime_s])| {
            ndp::PrefixInformation {
                prefix,
                prefix_len,
                on_link,
                autonomous,
                valid_lifetime_s,
                preferred_lifetime_s,
            }
        },
    )
}

pub(crate) fn path() -> impl Strategy<Value = Path> {
    let addresses = prop_oneof![
        (host_v4(), host_v4()).prop_map(|(s, d)| (IpAddr::V4(s), IpAddr::V4(d))),
        (host_v6(), host_v6()).prop_map(|(s, d)| (IpAddr::V6(s), IpAddr::V6(d))),
    ];
    (
        station(),
        station(),
        addresses,
        option::of(0_u16..=0xfff),
        1_u8..,
        any::<u8>(),
        0_u32..1 << 20,
        any::<u16>(),
    )
        .prop_map(
            |(
                local_mac,
                peer_mac,
                (source, destination),
                vlan,
                hop_limit,
                traffic_class,
                flow_label,
                identification,
            )| {
                Path {
                    local_mac,
                    peer_mac,
                    vlan,
                    source,
                    destination,
                    hop_limit,
                    traffic_class,
                    flow_label,
                    identification,
                }
            },
        )
}
