//! From a frame to what it means, in one call.
//!
//! ```text
//! frame ── Ethernet ──┬── ARP
//!                     ├── IPv4 ──┬── fragment          each layer: lengths first, then the
//!                     └── IPv6 ──┼── ICMP, NDP         checksum, then the fields
//!                                ├── TCP
//!                                └── UDP
//! ```

use crate::checksum::Sum;
use crate::tcp::{self, SeqNum};
use crate::{EtherType, MacAddr};
use crate::{Malformed, Protocol, arp, checksum, ethernet, icmpv4, icmpv6, ipv4, ipv6, udp};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// A frame: its Ethernet header and what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The Ethernet header.
    pub ethernet: ethernet::Header,
    /// What the frame carries.
    pub packet: Packet<'a>,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// ARP.
    Arp(arp::Packet),
    /// ICMP over IPv4.
    Icmpv4 {
        /// The IP header.
        ip: ipv4::Header,
        /// The message.
        message: icmpv4::Message<'a>,
    },
    /// ICMP over IPv6, NDP included.
    Icmpv6 {
        /// The IP header.
        ip: ipv6::Header,
        /// The message.
        message: icmpv6::Message<'a>,
    },
    /// TCP.
    Tcp(Tcp<'a>),
    /// UDP.
    Udp(Udp<'a>),
    /// A piece of an IP datagram: not looked into.
    Fragment {
        /// From whom.
        source: IpAddr,
        /// To whom.
        destination: IpAddr,
    },
    /// An IP packet that carries something else.
    OtherIp {
        /// From whom.
        source: IpAddr,
        /// To whom.
        destination: IpAddr,
        /// What it carries.
        protocol: Protocol,
    },
    /// A frame that carries something else.
    Other,
}

/// A TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp<'a> {
    /// From whom.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// DSCP and, in the lowest two bits, ECN.
    pub traffic_class: u8,
    /// The TCP header.
    pub header: tcp::Header,
    /// The payload.
    pub payload: &'a [u8],
}

/// A UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp<'a> {
    /// From whom.
    pub source: IpAddr,
    /// To whom.
    pub destination: IpAddr,
    /// The ports.
    pub header: udp::Header,
    /// The payload.
    pub payload: &'a [u8],
}

/// Reads a frame from its Ethernet header on.
///
/// With `verify` the transport checksums are verified. Without it the link vouches for the frame; then it may also have
/// merged segments to a superframe whose IP length is zero. IPv4's header checksum is always verified.
///
/// # Errors
/// What is malformed. A packet whose source no packet may have (a group, loopback; for TCP and ICMPv4 also nobody) is
/// [`Malformed::Address`], NDP that came through a router [`Malformed::HopLimit`].
#[inline]
pub fn parse_frame(frame: &[u8], verify: bool) -> Result<Parsed<'_>, Malformed> {
    let (ethernet, payload) = ethernet::Header::parse(frame)?;
    let packet = match ethernet.ether_type {
        EtherType::ARP => Packet::Arp(arp::Packet::parse(payload)?),
        EtherType::IPV4 => parse_ipv4(payload, verify)?,
        EtherType::IPV6 => parse_ipv6(payload, verify)?,
        _ => Packet::Other,
    };
    Ok(Parsed { ethernet, packet })
}

/// The TCP segment in a frame that [`parse_frame`] takes for one, if it is like nearly all of them: without a VLAN tag, a
/// fragment or anything wrong. Whom it came from beside it. A value of many kinds is moved from layer to layer, which costs
/// more than to look at a header; this is of one kind.
///
/// `None` says nothing about the frame.
#[must_use]
#[inline]
pub fn parse_tcp_frame(frame: &[u8], verify: bool) -> Option<(MacAddr, Tcp<'_>)> {
    let (source, ether_type, packet) = untagged(frame)?;
    let tcp = match ether_type {
        EtherType::IPV4 => tcp_over_ipv4(packet, verify)?,
        EtherType::IPV6 => match parse_ipv6(packet, verify) {
            Ok(Packet::Tcp(tcp)) => tcp,
            _ => return None,
        },
        _ => return None,
    };
    Some((source, tcp))
}

/// The UDP datagram in a frame, likewise. Its source may be nobody.
#[must_use]
#[inline]
pub fn parse_udp_frame(frame: &[u8], verify: bool) -> Option<(MacAddr, Udp<'_>)> {
    let (source, ether_type, packet) = untagged(frame)?;
    let udp = match ether_type {
        EtherType::IPV4 => udp_over_ipv4(packet, verify)?,
        EtherType::IPV6 => match parse_ipv6(packet, verify) {
            Ok(Packet::Udp(udp)) => udp,
            _ => return None,
        },
        _ => return None,
    };
    Some((source, udp))
}

/// Ethernet without a tag, IPv4 without options, TCP.
const USUAL_BYTES: usize = ethernet::HEADER_BYTES + ipv4::HEADER_BYTES_MIN + tcp::HEADER_BYTES_MIN;

/// A TCP segment over IPv4 without options, in a frame without a tag: everything has its place before anything is known of it,
/// and nothing is moved. Intact, whole, and from somebody.
#[derive(Clone, Copy, Debug)]
pub struct UsualTcp<'a> {
    fixed: &'a [u8; USUAL_BYTES],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> UsualTcp<'a> {
    const L3: usize = ethernet::HEADER_BYTES;
    const IP_BYTES: u16 = 20;
    const L4: usize = Self::L3 + ipv4::HEADER_BYTES_MIN;

    /// The segment in a frame, if it is one that [`parse_tcp_frame`] would read. `None` says nothing about the frame.
    #[must_use]
    #[inline]
    pub fn parse(frame: &'a [u8], verify: bool) -> Option<Self> {
        let fixed = frame.first_chunk::<USUAL_BYTES>()?;
        let segment = Self { fixed, options: &[], payload: &[] };
        let is_plain = segment.half(12) == EtherType::IPV4.0
            && fixed[Self::L3] == 0x45
            && fixed[Self::L3 + 9] == Protocol::TCP.0
            && segment.half(Self::L3 + 6) & ipv4::FRAGMENT == 0;
        if !is_plain || checksum::fold(segment.sum(Self::L3)) != 0xffff {
            return None;
        }
        let end = Self::L3 + usize::from(segment.half(Self::L3 + 2));
        let behind = frame.get(USUAL_BYTES..end)?;
        let options_bytes =
            (usize::from(fixed[Self::L4 + 12] >> 4) * 4).checked_sub(tcp::HEADER_BYTES_MIN)?;
        let (options, payload) = behind.split_at_checked(options_bytes)?;
        if !is_somebody_v4(segment.source()) {
            return None;
        }
        if verify {
            let behind = if behind.is_empty() { 0 } else { Sum::of(behind).words() };
            // What the pseudo header has beside the addresses: length and protocol.
            let bytes = segment.half(Self::L3 + 2) - Self::IP_BYTES;
            let tail = u64::from(bytes.swap_bytes()) + u64::from(u16::from(Protocol::TCP.0).swap_bytes());
            let sum = checksum::carrying_add(segment.eight(Self::L3 + 12), segment.sum(Self::L4));
            if checksum::fold(checksum::carrying_add(checksum::carrying_add(sum, tail), behind)) != 0xffff {
                return None;
            }
        }
        Some(Self { fixed, options, payload })
    }

    /// From whose interface.
    #[must_use]
    #[inline]
    pub fn source_mac(&self) -> MacAddr {
        let [_, _, _, _, _, _, s0, s1, s2, s3, s4, s5, ..] = *self.fixed;
        MacAddr([s0, s1, s2, s3, s4, s5])
    }

    /// From whom.
    #[must_use]
    #[inline]
    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.word(Self::L3 + 12))
    }

    /// To whom.
    #[must_use]
    #[inline]
    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.word(Self::L3 + 16))
    }

    /// DSCP and, in the lowest two bits, ECN.
    #[must_use]
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        self.fixed[Self::L3 + 1]
    }

    /// The sender's port and the receiver's.
    #[must_use]
    #[inline]
    pub fn ports(&self) -> (u16, u16) {
        (self.half(Self::L4), self.half(Self::L4 + 2))
    }

    /// The TCP header.
    #[must_use]
    #[inline(always)]
    pub fn header(&self) -> tcp::Header {
        let (source_port, destination_port) = self.ports();
        tcp::Header {
            source_port,
            destination_port,
            seq: SeqNum(self.word(Self::L4 + 4)),
            ack: SeqNum(self.word(Self::L4 + 8)),
            flags: tcp::Flags::from_bits_retain(self.fixed[Self::L4 + 13]),
            window: self.half(Self::L4 + 14),
            urgent: self.half(Self::L4 + 18),
            options: tcp::Options::parse(self.options),
        }
    }

    /// The payload.
    #[must_use]
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    #[inline(always)]
    fn half(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.fixed[at], self.fixed[at + 1]])
    }

    #[inline(always)]
    fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes([self.fixed[at], self.fixed[at + 1], self.fixed[at + 2], self.fixed[at + 3]])
    }

    /// Eight bytes, as sums have them.
    #[inline(always)]
    fn eight(&self, at: usize) -> u64 {
        checksum::little_endian(core::array::from_fn(|index| self.fixed[at + index]))
    }

    /// The sum of twenty bytes, which is what either header has.
    #[inline(always)]
    fn sum(&self, at: usize) -> u64 {
        let rest = u64::from(self.word(at + 16).swap_bytes());
        checksum::carrying_add(checksum::carrying_add(self.eight(at), self.eight(at + 8)), rest)
    }
}

/// From whom, and what, in a frame of which nobody says yet that it has no tag.
#[inline]
fn untagged(frame: &[u8]) -> Option<(MacAddr, EtherType, &[u8])> {
    let (ethernet, packet) = frame.split_first_chunk::<{ ethernet::HEADER_BYTES }>()?;
    let &[_, _, _, _, _, _, s0, s1, s2, s3, s4, s5, t0, t1] = ethernet;
    Some((MacAddr([s0, s1, s2, s3, s4, s5]), EtherType(u16::from_be_bytes([t0, t1])), packet))
}

#[inline]
fn udp_over_ipv4(packet: &[u8], verify: bool) -> Option<Udp<'_>> {
    let parsed = if verify { ipv4::Header::parse(packet) } else { ipv4::Header::parse_merged(packet) };
    let ipv4::Packet { header: ip, fragment, payload } = parsed.ok()?;
    let ipv4::Header { source, destination, protocol, .. } = ip;
    let is_nobody = source.is_unspecified();
    if protocol != Protocol::UDP || fragment.is_some() || !(is_nobody || is_somebody_v4(source)) {
        return None;
    }
    let udp::Datagram { header, payload, has_checksum, bytes } = udp::Header::parse(payload).ok()?;
    if verify && has_checksum && !checksum::verify_v4(source, destination, protocol, bytes) {
        return None;
    }
    Some(Udp { source: source.into(), destination: destination.into(), header, payload })
}

#[inline]
fn tcp_over_ipv4(packet: &[u8], verify: bool) -> Option<Tcp<'_>> {
    let parsed = if verify { ipv4::Header::parse(packet) } else { ipv4::Header::parse_merged(packet) };
    let ipv4::Packet { header: ip, fragment, payload } = parsed.ok()?;
    let ipv4::Header { source, destination, protocol, traffic_class, .. } = ip;
    if protocol != Protocol::TCP || fragment.is_some() || !is_somebody_v4(source) {
        return None;
    }
    if verify && !checksum::verify_v4(source, destination, protocol, payload) {
        return None;
    }
    let (header, offset) = tcp::Header::parse(payload).ok()?;
    let (source, destination) = (source.into(), destination.into());
    Some(Tcp { source, destination, traffic_class, header, payload: &payload[offset..] })
}

/// A unicast address that a host on a network may have.
#[inline]
fn is_somebody_v4(source: Ipv4Addr) -> bool {
    !(source.is_multicast() || source.is_broadcast() || source.is_loopback() || source.is_unspecified())
}

#[inline]
fn parse_ipv4(packet: &[u8], verify: bool) -> Result<Packet<'_>, Malformed> {
    let parsed = if verify { ipv4::Header::parse(packet) } else { ipv4::Header::parse_merged(packet) }?;
    let ipv4::Packet { header: ip, fragment, payload } = parsed;
    let ipv4::Header { source, destination, protocol, .. } = ip;
    if source.is_multicast() || source.is_broadcast() || source.is_loopback() {
        return Err(Malformed::Address);
    }
    if fragment.is_some() {
        return Ok(Packet::Fragment { source: source.into(), destination: destination.into() });
    }
    match protocol {
        Protocol::TCP => {
            require_somebody_v4(source)?;
            let (header, offset) = tcp::Header::parse(payload)?;
            if verify && !checksum::verify_v4(source, destination, protocol, payload) {
                return Err(Malformed::Checksum);
            }
            Ok(Packet::Tcp(Tcp {
                source: source.into(),
                destination: destination.into(),
                traffic_class: ip.traffic_class,
                header,
                payload: &payload[offset..],
            }))
        }
        Protocol::UDP => {
            let udp::Datagram { header, payload, has_checksum, bytes } = udp::Header::parse(payload)?;
            if verify && has_checksum && !checksum::verify_v4(source, destination, protocol, bytes) {
                return Err(Malformed::Checksum);
            }
            Ok(Packet::Udp(Udp { source: source.into(), destination: destination.into(), header, payload }))
        }
        Protocol::ICMP => {
            require_somebody_v4(source)?;
            let message = icmpv4::Message::parse(payload)?;
            if verify && !checksum::verify(payload) {
                return Err(Malformed::Checksum);
            }
            Ok(Packet::Icmpv4 { ip, message })
        }
        _ => Ok(Packet::OtherIp { source: source.into(), destination: destination.into(), protocol }),
    }
}

fn parse_ipv6(packet: &[u8], verify: bool) -> Result<Packet<'_>, Malformed> {
    let parsed = if verify { ipv6::Header::parse(packet) } else { ipv6::Header::parse_merged(packet) }?;
    let ipv6::Packet { header: ip, fragment, payload } = parsed;
    let ipv6::Header { source, destination, protocol, .. } = ip;
    // An IPv4-mapped address on the wire would be taken for the IPv4 peer that it is not.
    if source.is_multicast() || source.is_loopback() || source.to_ipv4_mapped().is_some() {
        return Err(Malformed::Address);
    }
    if fragment.is_some() {
        return Ok(Packet::Fragment { source: source.into(), destination: destination.into() });
    }
    match protocol {
        Protocol::TCP => {
            require_somebody_v6(source)?;
            let (header, offset) = tcp::Header::parse(payload)?;
            if verify && !checksum::verify_v6(source, destination, protocol, payload) {
                return Err(Malformed::Checksum);
            }
            Ok(Packet::Tcp(Tcp {
                source: source.into(),
                destination: destination.into(),
                traffic_class: ip.traffic_class,
                header,
                payload: &payload[offset..],
            }))
        }
        Protocol::UDP => {
            require_somebody_v6(source)?;
            let udp::Datagram { header, payload, has_checksum, bytes } = udp::Header::parse(payload)?;
            if !has_checksum || (verify && !checksum::verify_v6(source, destination, protocol, bytes)) {
                return Err(Malformed::Checksum);
            }
            Ok(Packet::Udp(Udp { source: source.into(), destination: destination.into(), header, payload }))
        }
        Protocol::ICMPV6 => {
            if verify && !checksum::verify_v6(source, destination, protocol, payload) {
                return Err(Malformed::Checksum);
            }
            let message = icmpv6::Message::parse(payload)?;
            if matches!(message, icmpv6::Message::Ndp(_)) && ip.hop_limit != crate::ndp::HOP_LIMIT {
                return Err(Malformed::HopLimit);
            }
            Ok(Packet::Icmpv6 { ip, message })
        }
        _ => Ok(Packet::OtherIp { source: source.into(), destination: destination.into(), protocol }),
    }
}

/// Nobody may ask for an address (DHCP, DAD), but not hold a conversation.
#[inline]
fn require_somebody_v4(source: Ipv4Addr) -> Result<(), Malformed> {
    if source.is_unspecified() { Err(Malformed::Address) } else { Ok(()) }
}

fn require_somebody_v6(source: Ipv6Addr) -> Result<(), Malformed> {
    if source.is_unspecified() { Err(Malformed::Address) } else { Ok(()) }
}
