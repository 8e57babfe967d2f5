//! What an interface does with each kind of packet that arrives.

use super::{AddressMode, DEFEND_INTERVAL, Interface, MTU_UNTOLD, emit};
use crate::input::{Input, Reason, TcpInput};
use crate::pmtu::{MTU_MIN_V4, MTU_MIN_V6};
use crate::replies::Replies;
use crate::tuple::{FourTuple, TupleKey};
use clock::Instant;
use core::net::{IpAddr, SocketAddr};
use wire::icmp::Quote;
use wire::{MacAddr, Malformed, Packet, Parsed, Path, arp, icmpv4, icmpv6, ipv4, ndp};

impl Interface {
    /// A TCP segment to an address and a MAC address of ours alone: what [`read`](Self::read) makes of it, sooner. `None`
    /// says nothing about the frame.
    #[inline]
    pub(super) fn read_tcp<'a>(&self, frame: &'a [u8], verified: bool) -> Option<TcpInput<'a>> {
        if frame.first_chunk::<6>()? != &self.mac.0 || self.vlan.is_some() {
            return None;
        }
        let (peer_mac, segment) = wire::parse_tcp_frame(frame, !verified)?;
        let wire::Tcp { source, destination, traffic_class, header, payload } = segment;
        let is_for_us = match &self.mode {
            AddressMode::Own => true,
            AddressMode::Shared(ports) => ports.contains(&header.destination_port),
        };
        if !is_for_us || !self.is_ours(destination) || self.is_ours(source) || peer_mac == self.mac {
            return None;
        }
        let key = TupleKey::of_packet((destination, header.destination_port), (source, header.source_port))?;
        Some(TcpInput { key, peer_mac, vlan: None, traffic_class, header, payload })
    }

    /// Reads a frame, and counts nothing but the answers given.
    pub(super) fn read<'a>(
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
        // A tag of VLAN 0 carries a priority and nothing else (802.1Q §6.9.1). The kernel may have a shared address on a
        // VLAN of its own choice, which the packet names.
        let vlan = ethernet.vlan.filter(|&vlan| vlan != 0);
        if vlan != self.vlan && !(self.is_shared() && self.vlan.is_none()) {
            return Err(Reason::OtherVlan);
        }
        self.require_ours_to_answer(&packet)?;
        match packet {
            Packet::Tcp(segment) => {
                let wire::Tcp { source, destination, traffic_class, header, payload } = segment;
                self.require_ours(destination)?;
                if self.is_ours(source) {
                    return Err(Reason::Spoofed);
                }
                let ends = ((destination, header.destination_port), (source, header.source_port));
                Ok(Input::Tcp(TcpInput {
                    key: TupleKey::of_packet(ends.0, ends.1).expect("the addresses of one packet"),
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

    /// Of what comes to a shared address only our ports are ours, and what routers say of our packets.
    fn require_ours_to_answer(&self, packet: &Packet<'_>) -> Result<(), Reason> {
        let AddressMode::Shared(ports) = &self.mode else { return Ok(()) };
        let ours = match packet {
            Packet::Tcp(segment) => ports.contains(&segment.header.destination_port),
            Packet::Icmpv4 { message, .. } => !matches!(
                message,
                icmpv4::Message::EchoRequest { .. }
                    | icmpv4::Message::EchoReply { .. }
                    | icmpv4::Message::Other { .. }
            ),
            Packet::Icmpv6 { message, .. } => !matches!(
                message,
                icmpv6::Message::EchoRequest { .. }
                    | icmpv6::Message::EchoReply { .. }
                    | icmpv6::Message::Ndp(_)
                    | icmpv6::Message::Other { .. }
            ),
            Packet::Arp(_)
            | Packet::Fragment { .. }
            | Packet::Udp(_)
            | Packet::OtherIp { .. }
            | Packet::Other => false,
        };
        if ours { Ok(()) } else { Err(Reason::Kernels) }
    }

    fn require_ours(&self, destination: IpAddr) -> Result<(), Reason> {
        if self.is_ours(destination) { Ok(()) } else { Err(Reason::OtherAddress) }
    }

    /// Our MAC address, everybody's, all nodes', and the solicited-node groups of our IPv6 addresses.
    fn listens_to(&self, destination: MacAddr) -> bool {
        destination == self.mac
            || destination == MacAddr::BROADCAST
            || (destination.is_multicast() && !self.is_shared() && {
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
        // An announcement asks for the sender's own address, and wants no answer (RFC 5227 §2.3).
        if operation != arp::Operation::Request || sender_ip == target_ip {
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
}

fn require_room(was_pushed: bool) -> Result<(), Reason> {
    if was_pushed { Ok(()) } else { Err(Reason::OutboxFull) }
}
