//! The program, run by an interpreter of our own: by example, and beside a model that knows packets and no
//! instructions. What the kernel makes of it is in `tests/kernel.rs`.

use core::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::{Scope, Transport, Verdict};
use interpreter::Machine;

mod interpreter;

const V4: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 1);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xa71a, 0, 0, 0, 0, 0x12, 0x3456);
/// Another address in the same solicited-node group.
const V6_NEIGHBOUR: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xa71a, 0, 0, 0, 1, 0x12, 0x3456);
const PORT: u16 = 443;

fn machine(scope: Scope) -> Machine {
    Machine::new(scope).with_v4(V4).with_v6(V6).with_port(Transport::Tcp, PORT).with_socket(0)
}

fn ethernet(kind: u16, rest: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &kind.to_be_bytes(), rest].concat()
}

fn tagged(tag: u16, packet: &[u8]) -> Vec<u8> {
    [&packet[..12], &tag.to_be_bytes(), &[0, 7], &packet[12..]].concat()
}

fn arp(target: Ipv4Addr) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    ethernet(0x0806, &[&head[..], &[2, 0, 0, 0, 0, 2, 198, 18, 7, 9], &[0; 6], &target.octets()].concat())
}

/// An IPv4 header, and behind it eight bytes of which the destination port is the third and fourth.
#[derive(Clone, Copy, Debug)]
struct Ip4 {
    to: Ipv4Addr,
    protocol: u8,
    port: u16,
    words: u8,
    fragment: u16,
}

const SEGMENT: Ip4 = Ip4 { to: V4, protocol: 6, port: PORT, words: 5, fragment: 0x4000 };

impl Ip4 {
    fn bytes(self) -> Vec<u8> {
        let Self { to, protocol, port, words, fragment } = self;
        let [flags, offset] = fragment.to_be_bytes();
        let head = [0x40 | words, 0, 0, 60, 0, 1, flags, offset, 64, protocol, 0, 0, 198, 18, 7, 9];
        let options = vec![1; usize::from(words - 5) * 4];
        let ports = [&[0xc0, 0][..], &port.to_be_bytes(), &[0; 4]].concat();
        ethernet(0x0800, &[&head[..], &to.octets(), &options, &ports].concat())
    }
}

fn ip6(to: Ipv6Addr, next: u8, rest: &[u8]) -> Vec<u8> {
    let from = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9).octets();
    ethernet(0x86dd, &[&[0x60, 0, 0, 0, 0, 0, next, 64][..], &from, &to.octets(), rest].concat())
}

fn ports(port: u16) -> Vec<u8> {
    [&[0xc0, 0][..], &port.to_be_bytes(), &[0; 4]].concat()
}

fn solicitation(target: Ipv6Addr) -> Vec<u8> {
    let group = super::program::solicited_node(V6);
    ip6(group, 58, &[&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat())
}

fn redirected(scope: Scope, packet: &[u8]) -> bool {
    match machine(scope).run(packet) {
        Verdict::Redirect => true,
        Verdict::Pass => false,
        Verdict::Other(other) => panic!("verdict {other}"),
    }
}

mod an_own_address {
    use super::*;

    fn ours(packet: &[u8]) -> bool {
        redirected(Scope::OwnAddress, packet)
    }

    #[test]
    fn gets_everything_of_ipv4_that_is_sent_to_it() {
        assert!(ours(&SEGMENT.bytes()));
        assert!(ours(&Ip4 { port: 22, ..SEGMENT }.bytes()), "any port");
        assert!(ours(&Ip4 { protocol: 1, ..SEGMENT }.bytes()), "ICMP");
        assert!(ours(&Ip4 { fragment: 0x2000, ..SEGMENT }.bytes()), "a first fragment");
        assert!(ours(&Ip4 { fragment: 0x00b9, ..SEGMENT }.bytes()), "a last fragment");
        assert!(ours(&Ip4 { words: 8, ..SEGMENT }.bytes()), "options");
        assert!(!ours(&Ip4 { to: Ipv4Addr::new(198, 18, 7, 2), ..SEGMENT }.bytes()));
        assert!(!ours(&Ip4 { to: Ipv4Addr::BROADCAST, ..SEGMENT }.bytes()));
    }

    #[test]
    fn is_resolved_by_us_and_others_by_the_kernel() {
        assert!(ours(&arp(V4)));
        assert!(!ours(&arp(Ipv4Addr::new(198, 18, 7, 2))));
        let mut token_ring = arp(V4);
        token_ring[14 + 4] = 8;
        assert!(!ours(&token_ring), "hardware addresses of another length");
    }

    #[test]
    fn gets_everything_of_ipv6_that_is_sent_to_it() {
        assert!(ours(&ip6(V6, 6, &ports(PORT))));
        assert!(ours(&ip6(V6, 44, &[6, 0, 0, 1, 0, 0, 0, 1])), "a fragment");
        assert!(ours(&ip6(V6, 58, &[1; 8])), "ICMPv6");
        assert!(!ours(&ip6(V6_NEIGHBOUR, 6, &ports(PORT))));
        assert!(!ours(&ip6("ff02::1".parse().unwrap(), 58, &[134; 60])), "a router's advertisement to all");
    }

    #[test]
    fn is_solicited_through_its_group_and_others_in_the_group_by_the_kernel() {
        assert!(ours(&solicitation(V6)));
        assert!(!ours(&solicitation(V6_NEIGHBOUR)));
        let group = crate::steering::program::solicited_node(V6);
        assert!(!ours(&solicitation(group)), "nobody's address");
        assert!(!ours(&ip6(group, 17, &ports(PORT))), "no solicitation");
        let mut advertisement = solicitation(V6);
        advertisement[14 + 40] = 136;
        assert!(!ours(&advertisement));
    }

    #[test]
    fn is_found_behind_one_vlan_tag_and_not_behind_two() {
        for packet in [SEGMENT.bytes(), arp(V4), ip6(V6, 6, &ports(PORT)), solicitation(V6)] {
            for tag in [0x8100, 0x88a8] {
                assert!(ours(&tagged(tag, &packet)));
                assert!(!ours(&tagged(0x88a8, &tagged(tag, &packet))));
            }
        }
    }

    #[test]
    fn without_a_socket_on_the_queue_is_the_kernels() {
        let without = Machine::new(Scope::OwnAddress).with_v4(V4).with_socket(1);
        assert_eq!(without.run(&SEGMENT.bytes()), Verdict::Pass);
    }
}

mod a_shared_address {
    use super::*;

    fn ours(packet: &[u8]) -> bool {
        redirected(Scope::SharedAddress, packet)
    }

    #[test]
    fn gets_its_ports_and_the_kernel_the_others() {
        assert!(ours(&SEGMENT.bytes()));
        assert!(ours(&ip6(V6, 6, &ports(PORT))));
        assert!(!ours(&Ip4 { port: 22, ..SEGMENT }.bytes()));
        assert!(!ours(&ip6(V6, 6, &ports(22))));
        assert!(!ours(&Ip4 { protocol: 17, ..SEGMENT }.bytes()), "the port is TCP's");
        assert!(!ours(&Ip4 { to: Ipv4Addr::new(198, 18, 7, 2), ..SEGMENT }.bytes()));
    }

    #[test]
    fn gets_udp_where_the_port_is_udps() {
        let machine = machine(Scope::SharedAddress).with_port(Transport::Udp, 53);
        assert_eq!(machine.run(&Ip4 { protocol: 17, port: 53, ..SEGMENT }.bytes()), Verdict::Redirect);
        assert_eq!(machine.run(&Ip4 { protocol: 6, port: 53, ..SEGMENT }.bytes()), Verdict::Pass);
        assert_eq!(machine.run(&ip6(V6, 17, &ports(53))), Verdict::Redirect);
    }

    #[test]
    fn leaves_fragments_and_options_to_the_kernel() {
        assert!(!ours(&Ip4 { fragment: 0x2000, ..SEGMENT }.bytes()), "more fragments");
        assert!(!ours(&Ip4 { fragment: 0x0001, ..SEGMENT }.bytes()), "a later fragment");
        assert!(!ours(&Ip4 { words: 6, ..SEGMENT }.bytes()), "options");
        assert!(!ours(&ip6(V6, 44, &[6, 0, 0, 1, 0, 0, 0, 1])), "a fragment");
        assert!(!ours(&ip6(V6, 0, &[6, 0, 0, 0, 0, 0, 0, 0])), "hop-by-hop options");
        assert!(ours(&Ip4 { fragment: 0x8000, ..SEGMENT }.bytes()), "the reserved bit says nothing");
    }

    #[test]
    fn leaves_arp_neighbours_and_icmp_to_the_kernel() {
        assert!(!ours(&arp(V4)));
        assert!(!ours(&solicitation(V6)));
        assert!(!ours(&Ip4 { protocol: 1, ..SEGMENT }.bytes()));
        assert!(!ours(&ip6(V6, 58, &[128, 0, 0, 0, 0, 0, 0, 0])));
        let group = crate::steering::program::solicited_node(V6);
        assert!(!ours(&ip6(group, 6, &ports(PORT))), "a group is no address of a port");
    }

    #[test]
    fn is_found_behind_a_vlan_tag() {
        assert!(ours(&tagged(0x8100, &SEGMENT.bytes())));
        assert!(!ours(&tagged(0x8100, &Ip4 { port: 22, ..SEGMENT }.bytes())));
    }
}

#[test]
fn everything_is_redirected_where_everything_is_wanted() {
    for packet in [ethernet(0x88b5, &[]), arp(Ipv4Addr::BROADCAST), vec![0; 14]] {
        assert!(redirected(Scope::Everything, &packet));
    }
}

/// What the issue asks for, said without instructions.
fn model(scope: Scope, packet: &[u8]) -> bool {
    wanted(scope, packet).unwrap_or(false)
}

/// `None`: cut short.
fn wanted(scope: Scope, packet: &[u8]) -> Option<bool> {
    let kind_at = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().unwrap()));
    let (kind, start) = match kind_at(12)? {
        0x8100 | 0x88a8 => (kind_at(16)?, 18),
        kind => (kind, 14),
    };
    let layer = &packet[start..];
    let own = scope == Scope::OwnAddress;
    let port_is_ours =
        |protocol: u8, ports: &[u8]| Some(protocol == 6 && *ports.get(2..4)? == PORT.to_be_bytes());
    match kind {
        0x0806 if own => {
            let target = layer.get(24..28)?;
            Some(target == V4.octets() && layer[2..6] == [8, 0, 6, 4])
        }
        0x0800 => {
            let header = layer.get(..20)?;
            if header[16..] != V4.octets() {
                return Some(false);
            }
            let whole = u16::from_be_bytes([header[6], header[7]]) & 0x3fff == 0;
            Some(own || header[0] == 0x45 && whole && port_is_ours(header[9], &layer[20..])?)
        }
        0x86dd => {
            let (header, rest) = layer.split_at_checked(40)?;
            let to = &header[24..];
            if to == V6.octets() {
                return Some(own || port_is_ours(header[6], rest)?);
            }
            let group = to == super::program::solicited_node(V6).octets();
            Some(own && group && header[6] == 58 && *rest.get(8..24)? == V6.octets() && rest[0] == 135)
        }
        _ => Some(false),
    }
}

/// Packets that are nearly ours.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop::sample::select(vec![
        SEGMENT.bytes(),
        Ip4 { words: 6, ..SEGMENT }.bytes(),
        arp(V4),
        ip6(V6, 6, &ports(PORT)),
        solicitation(V6),
    ]);
    let tag = prop::sample::select(vec![None, Some(0x8100_u16), Some(0x88a8)]);
    let change = prop::option::of((any::<prop::sample::Index>(), any::<u8>()));
    (whole, tag, change, any::<prop::sample::Index>(), 0..4_u8).prop_map(|(packet, tag, change, end, cut)| {
        let mut packet = tag.map_or_else(|| packet.clone(), |tag| tagged(tag, &packet));
        if let Some((at, value)) = change {
            let at = at.index(packet.len());
            packet[at] = value;
        }
        if cut == 0 {
            packet.truncate(end.index(packet.len() + 1));
        }
        packet
    })
}

fn scope() -> impl Strategy<Value = Scope> {
    prop::sample::select(vec![Scope::OwnAddress, Scope::SharedAddress])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn the_program_and_the_model_agree_on_packets_that_are_nearly_ours(scope in scope(), packet in nearly()) {
        prop_assert_eq!(redirected(scope, &packet), model(scope, &packet));
    }

    #[test]
    fn the_program_and_the_model_agree_on_any_bytes(
        scope in scope(),
        packet in prop::collection::vec(any::<u8>(), 0..90),
    ) {
        prop_assert_eq!(redirected(scope, &packet), model(scope, &packet));
    }
}
