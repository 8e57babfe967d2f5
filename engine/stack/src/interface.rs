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
use crate::input::{Counters, Input, TcpInput};
use crate::neighbours::{Neighbours, Resolution};
use crate::rate::TokenBucket;
use crate::replies::Replies;
use crate::tuple::{FourTuple, broadcast_of, is_in_prefix, is_link_local};
use arrayvec::ArrayVec;
use clock::Instant;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use wire::{MacAddr, Path, UsualTcp, arp, ndp};

mod config;
mod emit;
mod receive;

#[cfg(test)]
mod tests;

use config::complete_addresses;
pub use config::{ADDRESSES_MAX, Address, AddressMode, InterfaceConfig, InterfaceError, MTU_MIN};

/// Announcements of an address, and the time between two of them (RFC 5227 §1.1).
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCEMENT_INTERVAL: Duration = Duration::from_secs(2);

/// Between two defences of an address that somebody else uses (RFC 5227 §1.1: DEFEND_INTERVAL).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// The MTU to assume when a router is too old to tell the next hop's (RFC 1191 §3: every host takes 576).
const MTU_UNTOLD: u16 = 576;

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
    /// Of these the IPv4 ones, which every packet is compared with.
    addresses_v4: ArrayVec<Ipv4Addr, ADDRESSES_MAX>,
    mode: AddressMode,
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
            mode,
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
        let addresses = complete_addresses(addresses, *mac, mode)?;
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
            addresses_v4: addresses.iter().filter_map(|address| ipv4_of(address.ip)).collect(),
            addresses,
            mode: mode.clone(),
            gateway_v4: *gateway_v4,
            gateway_v6: *gateway_v6,
            neighbours: Neighbours::new(*neighbours_max, hash_key),
            defended: BoundedMap::new(u32::try_from(ADDRESSES_MAX).expect("a small number"), hash_key),
            echo: TokenBucket::new(*echo_per_second, (*echo_per_second / 10).max(1)),
            announcements_left: if *mode == AddressMode::Own { ANNOUNCEMENTS } else { 0 },
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

    /// Our MAC address is another one from now on: the device behind the link is. Addresses stay as they are, an IPv6
    /// address that was made from the old one too.
    pub const fn set_mac(&mut self, mac: MacAddr) {
        self.mac = mac;
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

    /// The kernel answers for our addresses, but for our ports.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self.mode, AddressMode::Shared(_))
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether an address is one of ours.
    #[must_use]
    #[inline]
    pub fn is_ours(&self, ip: IpAddr) -> bool {
        match ip {
            IpAddr::V4(ip) => self.addresses_v4.contains(&ip),
            IpAddr::V6(_) => self.addresses.iter().any(|address| address.ip == ip),
        }
    }

    /// The path on which to answer a segment: to where it came from.
    #[must_use]
    pub fn path_back(&self, input: &TcpInput<'_>) -> Path {
        Path { vlan: input.vlan, ..Path::new(self.mac, input.peer_mac, input.local(), input.peer()) }
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
        if let Some(input) = self.on_tcp_frame(frame, verified) {
            return Input::Tcp(input);
        }
        let input = match self.read(now, frame, verified, replies) {
            Ok(input) => input,
            Err(reason) => Input::Dropped(reason),
        };
        self.counters.count(&input);
        input
    }

    /// The shortest way, of TCP over IPv4 with nothing between. After `None` the frame is to go to
    /// [`on_frame`](Self::on_frame), as one that nobody has looked at.
    #[inline]
    pub fn on_usual_frame<'a>(&mut self, frame: &'a [u8], verified: bool) -> Option<UsualTcp<'a>> {
        if frame.first_chunk::<6>()? != &self.mac.0 || self.vlan.is_some() {
            return None;
        }
        let segment = UsualTcp::parse(frame, !verified)?;
        let is_for_us = match &self.mode {
            AddressMode::Own => true,
            AddressMode::Shared(ports) => ports.contains(&segment.ports().1),
        };
        let ours = &self.addresses_v4;
        if !is_for_us
            || !ours.contains(&segment.destination())
            || ours.contains(&segment.source())
            || segment.source_mac() == self.mac
        {
            return None;
        }
        self.counters.frames += 1;
        self.counters.tcp += 1;
        Some(segment)
    }

    /// The short way to a TCP segment, which nearly all of a server's frames are. After `None` the frame is to go to
    /// [`on_frame`](Self::on_frame), as one that nobody has looked at.
    #[inline]
    pub fn on_tcp_frame<'a>(&mut self, frame: &'a [u8], verified: bool) -> Option<TcpInput<'a>> {
        let input = self.read_tcp(frame, verified)?;
        self.counters.frames += 1;
        self.counters.tcp += 1;
        Some(input)
    }

    /// Announces our addresses again, from the next [`Interface::poll`] on: after a failover, or when the link came back.
    /// Shared ones are the kernel's to announce.
    pub fn announce(&mut self, now: Instant) {
        if self.is_shared() {
            return;
        }
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

    /// The MAC address of an active open's next hop; asks for it when it is not known. Never from a shared address: the
    /// answer would go to the kernel.
    pub fn resolve(&mut self, now: Instant, destination: IpAddr, replies: &mut Replies) -> Resolution {
        if self.is_shared() {
            return Resolution::NoRoute;
        }
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

    /// Forgets who is behind which MAC address: the link is another one.
    pub fn forget_neighbours(&mut self) {
        self.neighbours.forget();
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

fn ipv4_of(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

fn common_prefix_len(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u32::from(a) ^ u32::from(b)).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a) ^ u128::from(b)).leading_zeros(),
        _ => 0,
    }
}
