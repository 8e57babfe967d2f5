//! The steering program's text.
//!
//! ```text
//!   R6  the context (struct xdp_md)          R7  the layer being looked at
//!   R8  the end of the packet's first piece  R9  what survives a helper's call
//!
//!   Ethernet ─ one VLAN tag? ─┬─ ARP   own: target address ours?
//!                             ├─ IPv4  own: destination ours?      shared: … no options, whole, TCP or UDP, port ours?
//!                             ├─ IPv6  own: destination ours, or a solicitation of ours?       shared: … port ours?
//!                             └─ else                                                  ─────────▶ pass
//!   ours ─▶ redirect to this queue's socket; without one, pass
//! ```
//!
//! Every load is behind a comparison with R8: the kernel's verifier insists on it, and a short packet passes.

use core::net::Ipv6Addr;

use super::Scope;
use crate::assembler::Register::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};
use crate::assembler::{Assembler, Code, Helper, Label, Register, Width};

pub(super) const XDP_PASS: u32 = 2;
pub(super) const XDP_REDIRECT: u32 = 4;

/// What the map of IPv6 addresses says of one: it is ours.
pub(crate) const UNICAST: u8 = 1;
/// It is the solicited-node multicast address of one of ours, and maybe of others.
pub(crate) const SOLICITED_NODE: u8 = 2;

/// The maps that the program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Map {
    /// Queue to AF_XDP socket.
    Sockets,
    /// Our IPv4 addresses.
    V4,
    /// Our IPv6 addresses, to [`UNICAST`] or [`SOLICITED_NODE`].
    V6,
    /// Our ports, by [`port_key`].
    Ports,
}

// struct xdp_md (linux/bpf.h).
const MD_DATA: i16 = 0;
const MD_DATA_END: i16 = 4;
const MD_RX_QUEUE_INDEX: i16 = 16;

const ETHERNET_BYTES: i32 = 14;
const ETHERNET_TYPE: i16 = 12;
const VLAN_BYTES: i32 = 4;
/// In a tag, behind the tag's own two bytes.
const VLAN_TYPE: i16 = 2;

const TCP: i32 = 6;
const UDP: i32 = 17;
const ICMPV6: i32 = 58;
const NEIGHBOUR_SOLICITATION: i32 = 135;

/// Where keys are built, below the frame pointer.
const ADDRESS_KEY: i16 = -16;
const PORT_KEY: i16 = -24;

/// A number of two bytes as a load sees it: the wire's first byte is the low one.
const fn wire16(value: u16) -> i32 {
    value.swap_bytes() as i32
}

/// The key under which a port is ours: protocol, nothing, and the port as on the wire.
pub(super) fn port_key(protocol: u8, port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [protocol, 0, high, low]
}

/// RFC 4291 §2.7.1: ff02::1:ff00:0 with the address's last three bytes.
pub(super) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The program for `scope`.
pub(crate) fn assemble(scope: Scope) -> Code<Map> {
    let mut text = Text::new();
    text.a.copy(R6, R1);
    if scope == Scope::Everything {
        text.redirect();
        return text.a.finish();
    }
    text.ethernet();
    text.on_arp(scope);
    text.on_ipv4(scope);
    text.on_ipv6(scope);
    text.a.bind(text.ours);
    text.redirect();
    text.a.bind(text.pass);
    text.a.set(R0, XDP_PASS.cast_signed());
    text.a.exit();
    text.a.finish()
}

/// The text under construction, with the places that its parts go to.
struct Text {
    a: Assembler<Map>,
    arp: Label,
    ipv4: Label,
    ipv6: Label,
    ours: Label,
    pass: Label,
}

impl Text {
    fn new() -> Self {
        let mut a = Assembler::new();
        let [arp, ipv4, ipv6, ours, pass] = core::array::from_fn(|_| a.label());
        Self { a, arp, ipv4, ipv6, ours, pass }
    }

    /// Passes a packet that ends before `bytes` of the layer at R7.
    fn need(&mut self, bytes: i32) {
        self.a.copy(R4, R7);
        self.a.add(R4, bytes);
        self.a.jump_greater(R4, R8, self.pass);
    }

    fn load(&mut self, width: Width, dst: Register, offset: i16) {
        self.a.load(width, dst, R7, offset);
    }

    /// Looks up the key at `offset` of the stack; passes the packet when it is not there. R0 points to the value.
    fn look_up(&mut self, map: Map, offset: i16) {
        self.a.load_map(R1, map);
        self.a.copy(R2, R10);
        self.a.add(R2, i32::from(offset));
        self.a.call(Helper::MapLookup);
        self.a.jump_equal(R0, 0, self.pass);
    }

    /// Builds an IPv4 address's key from the layer's `offset`, and looks it up.
    fn look_up_v4(&mut self, offset: i16) {
        self.load(Width::Word, R5, offset);
        self.a.store(Width::Word, R10, ADDRESS_KEY, R5);
        self.look_up(Map::V4, ADDRESS_KEY);
    }

    /// The same for IPv6; R5 is what the map says of the address.
    fn look_up_v6(&mut self, offset: i16) {
        for half in [0, 8] {
            self.load(Width::Double, R5, offset + half);
            self.a.store(Width::Double, R10, ADDRESS_KEY + half, R5);
        }
        self.look_up(Map::V6, ADDRESS_KEY);
        self.a.load(Width::Byte, R5, R0, 0);
    }

    /// Passes what is neither TCP nor UDP by the protocol in R9, or whose destination port, two bytes at `offset`, is
    /// not ours.
    fn need_port(&mut self, offset: i16) {
        let ports = self.a.label();
        self.a.jump_equal(R9, TCP, ports);
        self.a.jump_not_equal(R9, UDP, self.pass);
        self.a.bind(ports);
        self.need(i32::from(offset) + 2);
        self.load(Width::Half, R5, offset);
        self.a.shift_left(R5, 16);
        self.a.or(R5, R9);
        self.a.store(Width::Word, R10, PORT_KEY, R5);
        self.look_up(Map::Ports, PORT_KEY);
    }

    fn ethernet(&mut self) {
        self.a.load(Width::Word, R7, R6, MD_DATA);
        self.a.load(Width::Word, R8, R6, MD_DATA_END);
        self.need(ETHERNET_BYTES);
        self.load(Width::Half, R5, ETHERNET_TYPE);
        self.a.add(R7, ETHERNET_BYTES);
        let (tagged, untagged) = (self.a.label(), self.a.label());
        self.a.jump_equal(R5, wire16(0x8100), tagged);
        self.a.jump_not_equal(R5, wire16(0x88a8), untagged);
        self.a.bind(tagged);
        self.need(VLAN_BYTES);
        self.load(Width::Half, R5, VLAN_TYPE);
        self.a.add(R7, VLAN_BYTES);
        self.a.bind(untagged);
        self.a.jump_equal(R5, wire16(0x0800), self.ipv4);
        self.a.jump_equal(R5, wire16(0x86dd), self.ipv6);
        self.a.jump_equal(R5, wire16(0x0806), self.arp);
        self.a.jump(self.pass);
    }

    /// RFC 826, for Ethernet and IPv4: the target's protocol address is at byte 24.
    fn on_arp(&mut self, scope: Scope) {
        self.a.bind(self.arp);
        if scope == Scope::SharedAddress {
            self.a.jump(self.pass);
            return;
        }
        self.need(28);
        self.load(Width::Half, R5, 2);
        self.a.jump_not_equal(R5, wire16(0x0800), self.pass);
        self.load(Width::Half, R5, 4);
        self.a.jump_not_equal(R5, wire16(0x0604), self.pass);
        self.look_up_v4(24);
        self.a.jump(self.ours);
    }

    /// RFC 791 §3.1.
    fn on_ipv4(&mut self, scope: Scope) {
        self.a.bind(self.ipv4);
        self.need(20);
        if scope == Scope::SharedAddress {
            // Version 4, five words of header.
            self.load(Width::Byte, R5, 0);
            self.a.jump_not_equal(R5, 0x45, self.pass);
            // More fragments, or not the first.
            self.load(Width::Half, R5, 6);
            self.a.and(R5, wire16(0x3fff));
            self.a.jump_not_equal(R5, 0, self.pass);
            self.load(Width::Byte, R9, 9);
            self.need_port(22);
        }
        self.look_up_v4(16);
        self.a.jump(self.ours);
    }

    /// RFC 8200 §3; neighbour solicitations are RFC 4861 §4.3.
    fn on_ipv6(&mut self, scope: Scope) {
        self.a.bind(self.ipv6);
        self.need(40);
        if scope == Scope::SharedAddress {
            self.load(Width::Byte, R9, 6);
            self.need_port(42);
            self.look_up_v6(24);
            self.a.jump_equal(R5, i32::from(UNICAST), self.ours);
            self.a.jump(self.pass);
            return;
        }
        self.look_up_v6(24);
        self.a.jump_equal(R5, i32::from(UNICAST), self.ours);
        // Sent to a group that an address of the kernel's may be in as well: ours when it asks for ours.
        self.need(64);
        self.load(Width::Byte, R5, 6);
        self.a.jump_not_equal(R5, ICMPV6, self.pass);
        self.load(Width::Byte, R5, 40);
        self.a.jump_not_equal(R5, NEIGHBOUR_SOLICITATION, self.pass);
        self.look_up_v6(48);
        self.a.jump_equal(R5, i32::from(UNICAST), self.ours);
        self.a.jump(self.pass);
    }

    /// To this queue's socket, or to the kernel when it has none.
    fn redirect(&mut self) {
        self.a.load_map(R1, Map::Sockets);
        self.a.load(Width::Word, R2, R6, MD_RX_QUEUE_INDEX);
        self.a.set(R3, XDP_PASS.cast_signed());
        self.a.call(Helper::RedirectMap);
        self.a.exit();
    }
}
