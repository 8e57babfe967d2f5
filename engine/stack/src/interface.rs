//! An interface: our addresses on one link, and what every host says on it without being a server.
//!
//! ```text
//! on_frame   a frame in  ─▶ Input, and perhaps a reply
//! poll       time passes ─▶ announcements, solicitations
//! resolve    an active open asks for its next hop
//! ```
//!
//! Answers go to the MAC address and the VLAN that the question came from.

use crate::bounded::BoundedMap;
use crate::hash::HashKey;
use crate::input::{Counters, Input, Reason, TcpInput};
use crate::neighbours::{Neighbours, Resolution};
use crate::pmtu::{MTU_MIN_V4, MTU_MIN_V6};
use crate::rate::TokenBucket;
use crate::replies::Replies;
use crate::tuple::{FourTuple, broadcast_of, is_in_prefix, is_link_local};
use arrayvec::ArrayVec;
use clock::Instant;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use wire::icmp::Quote;
use wire::{MacAddr, Malformed, Packet, Parsed, Path, arp, icmpv4, icmpv6, ipv4, ndp};

mod emit;

#[cfg(test)]
mod tests;

/// The most addresses an interface may have, link-local ones included.
pub const ADDRESSES_MAX: usize = 16;

/// The least MTU that we work with, in bytes: IPv6's (RFC 8200 §5).
pub const MTU_MIN: u16 = 1280;

/// Announcements of an address, and the time between two of them (RFC 5227 §1.1).
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCEMENT_INTERVAL: Duration = Duration::from_secs(2);

/// Between two defences of an address that somebody else uses (RFC 5227 §1.1: DEFEND_INTERVAL).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// The MTU to assume when a router is too old to tell the next hop's (RFC 1191 §3: every host takes 576).
const MTU_UNTOLD: u16 = 576;

/// One of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// How many of its leading bits are the link's: who shares them is a neighbour.
    pub prefix_len: u8,
}

/// What an operator chooses about an interface.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// Our MAC address.
    pub mac: MacAddr,
    /// The largest IP packet, in bytes.
    pub mtu: u16,
    /// The VLAN we live in; frames without a tag when absent.
    pub vlan: Option<u16>,
    /// Our addresses. A link-local IPv6 address is added when there is any IPv6 address.
    pub addresses: ArrayVec<Address, ADDRESSES_MAX>,
    /// The IPv4 router; for active opens only.
    pub gateway_v4: Option<Ipv4Addr>,
    /// The IPv6 router; for active opens only.
    pub gateway_v6: Option<Ipv6Addr>,
    /// Echo requests answered per second.
    pub echo_per_second: u32,
    /// Neighbours remembered.
    pub neighbours_max: u32,
}

impl InterfaceConfig {
    /// The usual configuration: MTU 1500, no VLAN, no gateway, 1,000 echo replies a second, 256 neighbours.
    #[must_use]
    pub fn new(mac: MacAddr) -> Self {
        Self {
            mac,
            mtu: 1500,
            vlan: None,
            addresses: ArrayVec::new(),
            gateway_v4: None,
            gateway_v6: None,
            echo_per_second: 1000,
            neighbours_max: 256,
        }
    }
}

/// A configuration that no host can have: the operator's to correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceError {
    /// The MAC address is a group's, or zero.
    Mac(MacAddr),
    /// The MTU is below [`MTU_MIN`].
    Mtu(u16),
    /// The VLAN identifier is not 1 to 4,094.
    Vlan(u16),
    /// There is no address.
    NoAddress,
    /// The address is not one that a host can have.
    NotAHost(IpAddr),
    /// The prefix is longer than the address.
    Prefix(Address),
    /// The address is there twice.
    Twice(IpAddr),
    /// There are more than [`ADDRESSES_MAX`] addresses, the link-local one included.
    TooMany,
    /// The gateway is in none of the prefixes.
    Gateway(IpAddr),
}

impl fmt::Display for InterfaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "{mac} is not a MAC address that one station can have"),
            Self::Mtu(mtu) => write!(f, "an MTU of {mtu} bytes is too small: use at least {MTU_MIN}"),
            Self::Vlan(vlan) => write!(f, "there is no VLAN {vlan}: use 1 to 4094"),
            Self::NoAddress => f.write_str("an interface needs at least one address"),
            Self::NotAHost(ip) => write!(f, "{ip} is not an address that a host can have"),
            Self::Prefix(Address { ip, prefix_len }) => {
                write!(f, "the prefix /{prefix_len} is longer than the address {ip}")
            }
            Self::Twice(ip) => write!(f, "the address {ip} is given twice"),
            Self::TooMany => write!(f, "an interface has at most {ADDRESSES_MAX} addresses"),
            Self::Gateway(ip) => write!(f, "the gateway {ip} is in none of the interface's prefixes"),
        }
    }
}

impl core::error::Error for InterfaceError {}

/// A neighbour that was waited for: its MAC address, or none if it did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The next hop, as [`Interface::next_hop`] names it.
    pub next_hop: IpAddr,
    /// Where it is.
    pub mac: Option<MacAddr>,
}

/// Addresses on a link.
#[derive(Debug)]
pub struct Interface {
    mac: MacAddr,
    mtu: u16,
    vlan: Option<u16>,
    addresses: ArrayVec<Address, ADDRESSES_MAX>,
    gateway_v4: Option<Ipv4Addr>,
    gateway_v6: Option<Ipv6Addr>,
    neighbours: Neighbours,
    /// When each of our addresses was last defended.
    defended: BoundedMap<IpAddr, Instant>,
    echo: TokenBucket,
    announcements_left: u8,
    announce_at: Instant,
    identification: u16,
    counters: Counters,
}

impl Interface {
    /// An interface that announces its addresses at the first [`Interface::poll`].
    ///
    /// # Errors
    /// The operator's: a configuration that no host can have.
    pub fn new(config: &InterfaceConfig, hash_key: HashKey) -> Result<Self, InterfaceError> {
        let InterfaceConfig {
            mac,
            mtu,
            vlan,
            addresses,
            gateway_v4,
            gateway_v6,
            echo_per_second,
            neighbours_max,
        } = config;
        if !mac.is_unicast() {
            return Err(InterfaceError::Mac(*mac));
        }
        if *mtu < MTU_MIN {
            return Err(InterfaceError::Mtu(*mtu));
        }
        if let Some(vlan) = vlan.filter(|vlan| !(1..=wire::ethernet::VLAN_ID_MAX).contains(vlan)) {
            return Err(InterfaceError::Vlan(vlan));
        }
        let addresses = complete_addresses(addresses, *mac)?;
        let gateways = [gateway_v4.map(IpAddr::V4), gateway_v6.map(IpAddr::V6)];
        for gateway in gateways.into_iter().flatten() {
            if !addresses.iter().any(|address| is_in_prefix(gateway, address.ip, address.prefix_len)) {
                return Err(InterfaceError::Gateway(gateway));
            }
        }
        Ok(Self {
            mac: *mac,
            mtu: *mtu,
            vlan: *vlan,
            addresses,
            gateway_v4: *gateway_v4,
            gateway_v6: *gateway_v6,
            neighbours: Neighbours::new(*neighbours_max, hash_key),
            defended: BoundedMap::new(u32::try_from(ADDRESSES_MAX).expect("a small number"), hash_key),
            echo: TokenBucket::new(*echo_per_second, (*echo_per_second / 10).max(1)),
            announcements_left: ANNOUNCEMENTS,
            announce_at: Instant::EPOCH,
            identification: 0,
            counters: Counters::default(),
        })
    }

    /// Our MAC address.
    #[must_use]
    pub const fn mac(&self) -> MacAddr {
        self.mac
    }

    /// The largest IP packet of the link, in bytes.
    #[must_use]
    pub const fn mtu(&self) -> u16 {
        self.mtu
    }

    /// The link's MTU has changed. Values below [`MTU_MIN`] are taken as that.
    pub fn set_mtu(&mut self, mtu: u16) {
        self.mtu = mtu.max(MTU_MIN);
    }

    /// The largest TCP segment that fits the link, in bytes, options not deducted (RFC 6691): what a SYN announces.
    #[must_use]
    pub const fn mss(&self, family: IpAddr) -> u16 {
        mss_of(self.mtu, family)
    }

    /// The VLAN we live in.
    #[must_use]
    pub const fn vlan(&self) -> Option<u16> {
        self.vlan
    }

    /// Our addresses, the link-local one included.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether an address is one of ours.
    #[must_use]
    pub fn is_ours(&self, ip: IpAddr) -> bool {
        self.addresses.iter().any(|address| address.ip == ip)
    }

    /// The path on which to answer a segment: to where it came from.
    #[must_use]
    pub fn path_back(&self, input: &TcpInput<'_>) -> Path {
        Path {
            vlan: input.vlan,
            ..Path::new(self.mac, input.peer_mac, input.tuple.local.ip(), input.tuple.peer.ip())
        }
    }

    /// The path of an active open to a peer behind `next_hop_mac`.
    #[must_use]
    pub fn path_to(&self, tuple: &FourTuple, next_hop_mac: MacAddr) -> Path {
        Path { vlan: self.vlan, ..Path::new(self.mac, next_hop_mac, tuple.local.ip(), tuple.peer.ip()) }
    }

    /// Reads a frame, answers what is ours to answer, and hands on what is the owner's.
    ///
    /// `verified`: the link vouches for the transport checksum.
    pub fn on_frame<'a>(
        &mut self,
        now: Instant,
        frame: &'a [u8],
        verified: bool,
        replies: &mut Replies,
    ) -> Input<'a> {
        let input = match self.read(now, frame, verified, replies) {
            Ok(input) => input,
            Err(reason) => Input::Dropped(reason),
        };
        self.counters.count(&input);
        input
    }

    fn read<'a>(
        &mut self,
        now: Instant,
        frame: &'a [u8],
        verified: bool,
        replies: &mut Replies,
    ) -> Result<Input<'a>, Reason> {
        // Before anything is summed up: whether it is for us at all.
        let &destination = frame.first_chunk::<6>().ok_or(Reason::Malformed(Malformed::Truncated))?;
        if !self.listens_to(MacAddr(destination)) {
            return Err(Reason::OtherMac);
        }
        let Parsed { ethernet, packet } = wire::parse_frame(frame, !verified).map_err(Reason::Malformed)?;
        if ethernet.source == self.mac {
            return Err(Reason::Spoofed);
        }
        // A tag of VLAN 0 carries a priority and nothing else (802.1Q §6.9.1).
        if ethernet.vlan.filter(|&vlan| vlan != 0) != self.vlan {
            return Err(Reason::OtherVlan);
        }
        match packet {
            Packet::Tcp(segment) => {
                let wire::Tcp { source, destination, traffic_class, header, payload } = segment;
                self.require_ours(destination)?;
                if self.is_ours(source) {
                    return Err(Reason::Spoofed);
                }
                Ok(Input::Tcp(TcpInput {
                    tuple: FourTuple {
                        local: SocketAddr::new(destination, header.destination_port),
                        peer: SocketAddr::new(source, header.source_port),
                    },
                    peer_mac: ethernet.source,
                    vlan: ethernet.vlan,
                    traffic_class,
                    header,
                    payload,
                }))
            }
            Packet::Arp(packet) => self.on_arp(now, &packet, ethernet, replies),
            Packet::Icmpv4 { ip, message } => {
                self.require_ours(ip.destination.into())?;
                self.on_icmpv4(now, &ip, &message, ethernet, replies)
            }
            Packet::Icmpv6 { ip, message } => self.on_icmpv6(now, &ip, &message, ethernet, replies),
            Packet::Fragment { destination, .. } => {
                self.require_ours(destination)?;
                Err(Reason::Fragment)
            }
            Packet::Udp(datagram) => {
                self.require_ours(datagram.destination)?;
                Err(Reason::Protocol)
            }
            Packet::OtherIp { destination, .. } => {
                self.require_ours(destination)?;
                Err(Reason::Protocol)
            }
            Packet::Other => Err(Reason::Protocol),
        }
    }

    fn require_ours(&self, destination: IpAddr) -> Result<(), Reason> {
        if self.is_ours(destination) { Ok(()) } else { Err(Reason::OtherAddress) }
    }

    /// Our MAC address, everybody's, all nodes', and the solicited-node groups of our IPv6 addresses.
    fn listens_to(&self, destination: MacAddr) -> bool {
        destination == self.mac
            || destination == MacAddr::BROADCAST
            || (destination.is_multicast() && {
                destination == MacAddr::of_ipv6_multicast(ndp::ALL_NODES)
                    || self.addresses.iter().any(|address| match address.ip {
                        IpAddr::V6(ip) => destination == MacAddr::of_ipv6_multicast(ndp::solicited_node(ip)),
                        IpAddr::V4(_) => false,
                    })
            })
    }

    /// RFC 826, "Packet Reception", and RFC 5227 §2.4 for conflicts.
    fn on_arp<'a>(
        &mut self,
        now: Instant,
        packet: &arp::Packet,
        ethernet: wire::ethernet::Header,
        replies: &mut Replies,
    ) -> Result<Input<'a>, Reason> {
        let arp::Packet { operation, sender_mac, sender_ip, target_mac: _, target_ip } = *packet;
        if self.is_ours(sender_ip.into()) {
            self.on_conflict(now, sender_ip.into(), replies);
            return Ok(Input::Handled);
        }
        self.neighbours.on_told(now, sender_ip.into(), sender_mac, true);
        if operation != arp::Operation::Request {
            return Ok(Input::Handled);
        }
        self.require_ours(target_ip.into())?;
        let reply = arp::Packet {
            operation: arp::Operation::Reply,
            sender_mac: self.mac,
            sender_ip: target_ip,
            target_mac: sender_mac,
            target_ip: sender_ip,
        };
        require_room(emit::arp(replies, self.mac, sender_mac, ethernet.vlan, &reply))?;
        self.counters.neighbour_answers += 1;
        Ok(Input::Handled)
    }

    /// Somebody else uses an address of ours. A server keeps it and says so, now and then (RFC 5227 §2.4 (c)).
    fn on_conflict(&mut self, now: Instant, ip: IpAddr, replies: &mut Replies) {
        self.counters.address_conflicts += 1;
        let was_just_defended = self.defended.get(&ip).is_some_and(|&at| now.since(at) < DEFEND_INTERVAL);
        if !was_just_defended {
            self.defended.insert(ip, now);
            self.announce_address(ip, replies);
        }
    }

    fn on_icmpv4<'a>(
        &mut self,
        now: Instant,
        ip: &ipv4::Header,
        message: &icmpv4::Message<'a>,
        ethernet: wire::ethernet::Header,
        replies: &mut Replies,
    ) -> Result<Input<'a>, Reason> {
        match *message {
            icmpv4::Message::EchoRequest { identifier, sequence, data } => {
                self.permit_echo(now, ethernet)?;
                self.identification = self.identification.wrapping_add(1);
                let header = ipv4::Header {
                    source: ip.destination,
                    destination: ip.source,
                    protocol: wire::Protocol::ICMP,
                    ttl: Path::HOP_LIMIT,
                    traffic_class: ip.traffic_class,
                    identification: self.identification,
                    dont_fragment: false,
                };
                let reply = icmpv4::Message::EchoReply { identifier, sequence, data };
                require_room(emit::icmpv4(
                    replies,
                    self.mac,
                    ethernet.source,
                    ethernet.vlan,
                    &header,
                    &reply,
                ))?;
                self.counters.echo_answers += 1;
                Ok(Input::Handled)
            }
            icmpv4::Message::EchoReply { .. } | icmpv4::Message::Other { .. } => Err(Reason::Protocol),
            icmpv4::Message::DestinationUnreachable { code, next_hop_mtu, quote } => {
                let (tuple, seq) = self.quoted(Quote::parse_v4(quote))?;
                if code == icmpv4::unreachable::FRAGMENTATION_NEEDED {
                    let told = if next_hop_mtu == 0 { MTU_UNTOLD } else { next_hop_mtu };
                    return Ok(Input::PathMtu { tuple, seq, mtu: told.max(MTU_MIN_V4) });
                }
                let hard = matches!(code, icmpv4::unreachable::PROTOCOL | icmpv4::unreachable::PORT);
                Ok(Input::Unreachable { tuple, seq, hard })
            }
            icmpv4::Message::TimeExceeded { quote, .. } => {
                let (tuple, seq) = self.quoted(Quote::parse_v4(quote))?;
                Ok(Input::Unreachable { tuple, seq, hard: false })
            }
        }
    }

    fn on_icmpv6<'a>(
        &mut self,
        now: Instant,
        ip: &wire::ipv6::Header,
        message: &icmpv6::Message<'a>,
        ethernet: wire::ethernet::Header,
        replies: &mut Replies,
    ) -> Result<Input<'a>, Reason> {
        if let icmpv6::Message::Ndp(message) = message {
            return self.on_ndp(now, ip, message, ethernet, replies);
        }
        self.require_ours(ip.destination.into())?;
        if ip.source.is_unspecified() {
            return Err(Reason::Malformed(Malformed::Address));
        }
        match *message {
            icmpv6::Message::EchoRequest { identifier, sequence, data } => {
                self.permit_echo(now, ethernet)?;
                let header = wire::ipv6::Header {
                    source: ip.destination,
                    destination: ip.source,
                    hop_limit: Path::HOP_LIMIT,
                    ..*ip
                };
                let reply = icmpv6::Message::EchoReply { identifier, sequence, data };
                require_room(emit::icmpv6(
                    replies,
                    self.mac,
                    ethernet.source,
                    ethernet.vlan,
                    &header,
                    &reply,
                ))?;
                self.counters.echo_answers += 1;
                Ok(Input::Handled)
            }
            icmpv6::Message::PacketTooBig { mtu, quote } => {
                // RFC 8201 §4: what claims less than every link has is ignored.
                if mtu < MTU_MIN_V6.into() {
                    return Err(Reason::Malformed(Malformed::Length));
                }
                let (tuple, seq) = self.quoted(Quote::parse_v6(quote))?;
                Ok(Input::PathMtu { tuple, seq, mtu: u16::try_from(mtu).unwrap_or(u16::MAX) })
            }
            icmpv6::Message::DestinationUnreachable { code, quote } => {
                let (tuple, seq) = self.quoted(Quote::parse_v6(quote))?;
                Ok(Input::Unreachable { tuple, seq, hard: code == icmpv6::unreachable::PORT })
            }
            icmpv6::Message::TimeExceeded { quote, .. } => {
                let (tuple, seq) = self.quoted(Quote::parse_v6(quote))?;
                Ok(Input::Unreachable { tuple, seq, hard: false })
            }
            icmpv6::Message::EchoReply { .. } | icmpv6::Message::Other { .. } | icmpv6::Message::Ndp(_) => {
                Err(Reason::Protocol)
            }
        }
    }

    /// RFC 4861 §7.2.3 and §7.2.5; hop limit, code and checksum are the parser's and were looked at.
    fn on_ndp<'a>(
        &mut self,
        now: Instant,
        ip: &wire::ipv6::Header,
        message: &ndp::Message<'_>,
        ethernet: wire::ethernet::Header,
        replies: &mut Replies,
    ) -> Result<Input<'a>, Reason> {
        match *message {
            ndp::Message::NeighborSolicitation { target, source_mac } => {
                self.require_ours(target.into())?;
                if self.is_ours(ip.source.into()) {
                    self.on_conflict(now, target.into(), replies);
                    return Ok(Input::Handled);
                }
                let is_probe = ip.source.is_unspecified();
                // RFC 4861 §7.1.1: who has no address yet asks the group, and does not say where he is.
                if is_probe && (source_mac.is_some() || ip.destination != ndp::solicited_node(target)) {
                    return Err(Reason::Malformed(Malformed::Address));
                }
                if !is_probe && ip.destination != target && ip.destination != ndp::solicited_node(target) {
                    return Err(Reason::OtherAddress);
                }
                let (to, to_mac) = if is_probe {
                    (ndp::ALL_NODES, MacAddr::of_ipv6_multicast(ndp::ALL_NODES))
                } else {
                    (ip.source, source_mac.filter(|mac| mac.is_unicast()).unwrap_or(ethernet.source))
                };
                let advertisement = ndp::Message::NeighborAdvertisement {
                    target,
                    router: false,
                    solicited: !is_probe,
                    overrides: true,
                    target_mac: Some(self.mac),
                };
                require_room(emit::ndp(replies, self.mac, to_mac, ethernet.vlan, target, to, advertisement))?;
                self.counters.neighbour_answers += 1;
                Ok(Input::Handled)
            }
            ndp::Message::NeighborAdvertisement { target, router: _, solicited, overrides, target_mac } => {
                // RFC 4861 §7.1.2: an answer is for one, not for all.
                if solicited && ip.destination.is_multicast() {
                    return Err(Reason::Malformed(Malformed::Address));
                }
                if self.is_ours(target.into()) {
                    self.on_conflict(now, target.into(), replies);
                } else {
                    let mac = target_mac.unwrap_or(ethernet.source);
                    self.neighbours.on_told(now, target.into(), mac, overrides);
                }
                Ok(Input::Handled)
            }
            // We have our configuration from the operator.
            ndp::Message::RouterAdvertisement(_) => Ok(Input::Handled),
            ndp::Message::RouterSolicitation { .. } => Err(Reason::Protocol),
        }
    }

    /// Echo requests to everybody are not answered (RFC 1122 §3.2.2.6 permits that), and others only so many.
    fn permit_echo(&mut self, now: Instant, ethernet: wire::ethernet::Header) -> Result<(), Reason> {
        if ethernet.destination.is_multicast() {
            return Err(Reason::OtherAddress);
        }
        if self.echo.take(now) { Ok(()) } else { Err(Reason::RateLimited) }
    }

    /// The connection of ours that an ICMP error quotes.
    fn quoted(&self, quote: Option<Quote<'_>>) -> Result<(FourTuple, wire::tcp::SeqNum), Reason> {
        let quote = quote.ok_or(Reason::Unquoted)?;
        let (local_port, peer_port, seq) = quote.tcp().ok_or(Reason::Unquoted)?;
        if !self.is_ours(quote.source) {
            return Err(Reason::Unquoted);
        }
        let tuple = FourTuple {
            local: SocketAddr::new(quote.source, local_port),
            peer: SocketAddr::new(quote.destination, peer_port),
        };
        Ok((tuple, seq))
    }

    /// Announces our addresses again, from the next [`Interface::poll`] on: after a failover, or when the link came back.
    pub fn announce(&mut self, now: Instant) {
        self.announcements_left = ANNOUNCEMENTS;
        self.announce_at = now;
    }

    /// Sends what time makes due: announcements, and solicitations that were not answered.
    pub fn poll(&mut self, now: Instant, replies: &mut Replies) {
        if self.announcements_left > 0 && self.announce_at <= now {
            self.announcements_left -= 1;
            self.announce_at = now + ANNOUNCEMENT_INTERVAL;
            for index in 0..self.addresses.len() {
                self.announce_address(self.addresses[index].ip, replies);
            }
        }
        while let Some(neighbour) = self.neighbours.poll_solicit(now) {
            self.solicit(neighbour, replies);
        }
    }

    /// When [`Interface::poll`] has something to do next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let announcement = (self.announcements_left > 0).then_some(self.announce_at);
        announcement.into_iter().chain(self.neighbours.next_deadline()).min()
    }

    /// Gratuitous ARP (RFC 5227 §2.3), or an unsolicited neighbor advertisement (RFC 4861 §7.2.6).
    fn announce_address(&self, ip: IpAddr, replies: &mut Replies) {
        match ip {
            IpAddr::V4(ip) => {
                let announcement = arp::Packet {
                    operation: arp::Operation::Request,
                    sender_mac: self.mac,
                    sender_ip: ip,
                    target_mac: MacAddr::ZERO,
                    target_ip: ip,
                };
                emit::arp(replies, self.mac, MacAddr::BROADCAST, self.vlan, &announcement);
            }
            IpAddr::V6(ip) => {
                let announcement = ndp::Message::NeighborAdvertisement {
                    target: ip,
                    router: false,
                    solicited: false,
                    overrides: true,
                    target_mac: Some(self.mac),
                };
                let to_mac = MacAddr::of_ipv6_multicast(ndp::ALL_NODES);
                emit::ndp(replies, self.mac, to_mac, self.vlan, ip, ndp::ALL_NODES, announcement);
            }
        }
    }

    fn solicit(&self, neighbour: IpAddr, replies: &mut Replies) {
        let Some(source) = self.source_for(neighbour) else { return };
        match (neighbour, source) {
            (IpAddr::V4(target_ip), IpAddr::V4(sender_ip)) => {
                let request = arp::Packet {
                    operation: arp::Operation::Request,
                    sender_mac: self.mac,
                    sender_ip,
                    target_mac: MacAddr::ZERO,
                    target_ip,
                };
                emit::arp(replies, self.mac, MacAddr::BROADCAST, self.vlan, &request);
            }
            (IpAddr::V6(target), IpAddr::V6(source)) => {
                let solicitation = ndp::Message::NeighborSolicitation { target, source_mac: Some(self.mac) };
                let group = ndp::solicited_node(target);
                let to_mac = MacAddr::of_ipv6_multicast(group);
                emit::ndp(replies, self.mac, to_mac, self.vlan, source, group, solicitation);
            }
            _ => {}
        }
    }

    /// Which of our addresses an active open to `destination` uses: the one with the longest common prefix, and never a
    /// link-local address for somebody farther away (RFC 6724 §5, rules 2 and 8).
    #[must_use]
    pub fn source_for(&self, destination: IpAddr) -> Option<IpAddr> {
        let is_local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if is_link_local(ip));
        self.addresses
            .iter()
            .map(|address| address.ip)
            .filter(|ip| ip.is_ipv4() == destination.is_ipv4() && is_local(*ip) == is_local(destination))
            // Of equals the first in the operator's order.
            .rev()
            .max_by_key(|&ip| common_prefix_len(ip, destination))
    }

    /// Whom a packet to `destination` is handed to: itself when it is on the link, else the gateway.
    #[must_use]
    pub fn next_hop(&self, destination: IpAddr) -> Option<IpAddr> {
        let is_on_link =
            self.addresses.iter().any(|address| is_in_prefix(destination, address.ip, address.prefix_len));
        if is_on_link {
            return Some(destination);
        }
        match destination {
            IpAddr::V4(_) => self.gateway_v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.gateway_v6.map(IpAddr::V6),
        }
    }

    /// The MAC address of an active open's next hop; asks for it when it is not known.
    pub fn resolve(&mut self, now: Instant, destination: IpAddr, replies: &mut Replies) -> Resolution {
        // One host is meant, and another one than us.
        let is_host =
            !(destination.is_multicast() || destination.is_unspecified() || self.is_broadcast(destination));
        let Some(next_hop) = self.next_hop(destination).filter(|_| is_host && !self.is_ours(destination))
        else {
            return Resolution::NoRoute;
        };
        let (resolution, is_to_be_asked) = self.neighbours.resolve(now, next_hop);
        if is_to_be_asked {
            self.solicit(next_hop, replies);
        }
        resolution
    }

    /// How the wait for a neighbour ended, after [`Resolution::Pending`]; call until `None`.
    pub fn poll_resolved(&mut self) -> Option<Resolved> {
        self.neighbours.poll_resolved().map(|(next_hop, mac)| Resolved { next_hop, mac })
    }

    fn is_broadcast(&self, ip: IpAddr) -> bool {
        ip == IpAddr::V4(Ipv4Addr::BROADCAST)
            || self
                .addresses
                .iter()
                .any(|address| broadcast_of(address.ip, address.prefix_len).is_some_and(|all| ip == all))
    }
}

/// The largest TCP segment, options not deducted, in a packet of `mtu` bytes.
#[must_use]
pub const fn mss_of(mtu: u16, family: IpAddr) -> u16 {
    mtu.saturating_sub(if family.is_ipv4() { 40 } else { 60 })
}

/// The operator's addresses, checked, and a link-local one if there is IPv6 without.
fn complete_addresses(
    given: &[Address],
    mac: MacAddr,
) -> Result<ArrayVec<Address, ADDRESSES_MAX>, InterfaceError> {
    let mut addresses: ArrayVec<Address, ADDRESSES_MAX> = ArrayVec::new();
    for &address in given {
        let Address { ip, prefix_len } = address;
        if prefix_len > if ip.is_ipv4() { 32 } else { 128 } {
            return Err(InterfaceError::Prefix(address));
        }
        let is_broadcast =
            broadcast_of(ip, prefix_len).is_some_and(|all| ip == all) || ip == Ipv4Addr::BROADCAST;
        let is_mapped = matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
        if ip.is_multicast() || ip.is_unspecified() || ip.is_loopback() || is_broadcast || is_mapped {
            return Err(InterfaceError::NotAHost(ip));
        }
        if addresses.iter().any(|known| known.ip == ip) {
            return Err(InterfaceError::Twice(ip));
        }
        addresses.try_push(address).map_err(|_| InterfaceError::TooMany)?;
    }
    if addresses.is_empty() {
        return Err(InterfaceError::NoAddress);
    }
    let has_v6 = addresses.iter().any(|address| address.ip.is_ipv6());
    let has_link_local =
        addresses.iter().any(|address| matches!(address.ip, IpAddr::V6(ip) if is_link_local(ip)));
    if has_v6 && !has_link_local {
        let link_local = Address { ip: mac.link_local().into(), prefix_len: 64 };
        addresses.try_push(link_local).map_err(|_| InterfaceError::TooMany)?;
    }
    Ok(addresses)
}

fn common_prefix_len(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u32::from(a) ^ u32::from(b)).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a) ^ u128::from(b)).leading_zeros(),
        _ => 0,
    }
}

fn require_room(was_pushed: bool) -> Result<(), Reason> {
    if was_pushed { Ok(()) } else { Err(Reason::OutboxFull) }
}
