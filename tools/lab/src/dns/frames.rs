//! Datagrams as frames on a link of our own: AF_XDP, a packet socket, TAP.
//!
//! The stack's interface answers ARP and neighbour discovery for our addresses, and finds the server's neighbour; a
//! datagram to one of our ports is handed over where it lies in the frame.

use clock::Instant;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

use stack::{Address, HashKey, Interface, InterfaceConfig, Replies, Resolution};
use wire::checksum::Sum;
use wire::{EtherType, MacAddr, Packet, Protocol, ethernet, ipv4, ipv6, parse_frame, udp};

use super::carrier::{Carrier, wait_for};
use super::sys::Batch;
use crate::device::Port;
use crate::load::kernel::now;
use crate::load::own::OwnError;

/// The first port that queries come from.
const PORT_FIRST: u16 = 20_000;
/// Frames taken from the link at a time.
const BATCH: usize = 64;
/// A neighbour answers within this time.
const RESOLVE: Duration = Duration::from_secs(3);

/// Ports of our own addresses on a link.
#[derive(Debug)]
pub(super) struct Frames {
    port: Port,
    interface: Interface,
    replies: Replies,
    server: SocketAddr,
    hop: MacAddr,
    /// Where each way comes from.
    ways: Vec<SocketAddr>,
    frame: Vec<u8>,
}

impl Frames {
    /// A way from each of `sources`, which are in a network with this prefix; returns when the server's neighbour is known.
    pub(super) fn open(
        port: Port,
        server: SocketAddr,
        sources: &[IpAddr],
        prefix_len: u8,
    ) -> Result<Self, OwnError> {
        let capabilities = port.link().capabilities();
        let mut config = InterfaceConfig::new(MacAddr(capabilities.mac));
        config.mtu = capabilities.mtu;
        for ip in sources {
            if !config.addresses.iter().any(|address| address.ip == *ip) && !config.addresses.is_full() {
                config.addresses.push(Address { ip: *ip, prefix_len });
            }
        }
        // Nobody but the operator's own machines fills this table.
        let interface = Interface::new(&config, HashKey::new([7; 16])).map_err(OwnError::Interface)?;
        let ways = (PORT_FIRST..).zip(sources).map(|(port, ip)| SocketAddr::new(*ip, port)).collect();
        let mut frames = Self {
            port,
            interface,
            replies: Replies::new(),
            server,
            hop: MacAddr::ZERO,
            ways,
            frame: Vec::new(),
        };
        let begun = now();
        loop {
            let at = now();
            match frames.interface.resolve(at, server.ip(), &mut frames.replies) {
                Resolution::Known(mac) => {
                    frames.hop = mac;
                    return Ok(frames);
                }
                Resolution::Pending if at.since(begun) < RESOLVE => {}
                Resolution::Pending | Resolution::Unreachable | Resolution::NoRoute => {
                    return Err(OwnError::NoWay(server.ip()));
                }
            }
            frames.answer(at);
            frames.wait(Duration::from_millis(10), None).map_err(OwnError::Wait)?;
            frames.receive(now(), &mut |_, _| {}).map_err(OwnError::Wait)?;
        }
    }

    /// Sends what the interface has to say.
    fn answer(&mut self, now: Instant) {
        self.interface.poll(now, &mut self.replies);
        let link = self.port.link_mut();
        link.reclaim();
        while let Some(bytes) = self.replies.front() {
            if link.stage_bytes(bytes).is_err() {
                break;
            }
            self.replies.pop();
        }
        link.flush();
    }
}

impl Carrier for Frames {
    fn ways(&self) -> usize {
        self.ways.len()
    }

    fn send(&mut self, way: usize, batch: &mut Batch, count: usize) -> Result<usize, Errno> {
        let (from, mac) = (self.ways[way], self.interface.mac());
        let link = self.port.link_mut();
        link.reclaim();
        let mut sent = 0;
        for index in 0..count {
            emit(&mut self.frame, (mac, from), (self.hop, self.server), batch.message(index));
            if link.stage_bytes(&self.frame).is_err() {
                break;
            }
            sent += 1;
        }
        link.flush();
        Ok(sent)
    }

    fn receive(&mut self, now: Instant, deliver: &mut dyn FnMut(usize, &[u8])) -> Result<bool, Errno> {
        let Self { port, interface, replies, server, ways, .. } = self;
        let (mut any, mut count) = (false, 0);
        while count < BATCH
            && let Some(received) = port.link_mut().receive()
        {
            count += 1;
            if let Ok(parsed) = parse_frame(received.bytes, !received.verified)
                && let Packet::Udp(datagram) = parsed.packet
                && SocketAddr::new(datagram.source, datagram.header.source_port) == *server
            {
                let to = SocketAddr::new(datagram.destination, datagram.header.destination_port);
                let way = usize::from(to.port().wrapping_sub(PORT_FIRST));
                if ways.get(way) == Some(&to) {
                    any = true;
                    deliver(way, datagram.payload);
                }
            } else {
                let _ = interface.on_frame(now, received.bytes, received.verified, replies);
            }
        }
        if self.replies.len() > 0 || self.interface.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.answer(now);
        }
        Ok(any)
    }

    fn wait(&self, duration: Duration, other: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        wait_for(self.port.link().descriptor().into_iter().chain(other), duration)
    }
}

/// A datagram in a frame, complete with its checksums.
fn emit(
    frame: &mut Vec<u8>,
    (mac, from): (MacAddr, SocketAddr),
    (hop, to): (MacAddr, SocketAddr),
    payload: &[u8],
) {
    const ETHERNET: usize = ethernet::HEADER_BYTES;
    let segment = udp::HEADER_BYTES + payload.len();
    let ip_bytes = if from.is_ipv4() { ipv4::HEADER_BYTES_MIN } else { ipv6::HEADER_BYTES };
    frame.clear();
    frame.resize(ETHERNET + ip_bytes + segment, 0);
    let ether_type = if from.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
    ethernet::Header { destination: hop, source: mac, vlan: None, ether_type }.emit(frame);
    let length = u32::try_from(segment).unwrap_or(u32::MAX);
    let pseudo = match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = ipv4::Header {
                source,
                destination,
                protocol: Protocol::UDP,
                ttl: 64,
                traffic_class: 0,
                identification: 0,
                dont_fragment: true,
            };
            header.emit(&mut frame[ETHERNET..], segment);
            Sum::pseudo_v4(source, destination, Protocol::UDP, length)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = ipv6::Header {
                source,
                destination,
                protocol: Protocol::UDP,
                hop_limit: 64,
                traffic_class: 0,
                flow_label: 0,
            };
            header.emit(&mut frame[ETHERNET..], segment);
            Sum::pseudo_v6(source, destination, Protocol::UDP, length)
        }
        _ => Sum::ZERO,
    };
    let datagram = &mut frame[ETHERNET + ip_bytes..];
    udp::Header { source_port: from.port(), destination_port: to.port() }.emit(datagram, payload.len());
    datagram[udp::HEADER_BYTES..].copy_from_slice(payload);
    let checksum = udp::checksum_on_the_wire(pseudo.then(datagram).finish());
    datagram[udp::CHECKSUM_OFFSET..][..2].copy_from_slice(&checksum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back_with_its_checksums() {
        for (from, to) in [("198.18.3.1:20000", "198.18.1.2:53"), ("[2001:db8::1]:20001", "[2001:db8::2]:53")]
        {
            let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
            let macs = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
            let mut frame = Vec::new();
            emit(&mut frame, (macs.0, from), (macs.1, to), b"a question");
            let parsed = parse_frame(&frame, true).unwrap();
            let Packet::Udp(datagram) = parsed.packet else { panic!("a datagram") };
            assert_eq!((parsed.ethernet.destination, datagram.payload), (macs.1, &b"a question"[..]));
            assert_eq!(SocketAddr::new(datagram.source, datagram.header.source_port), from);
            *frame.last_mut().unwrap() ^= 1;
            assert!(parse_frame(&frame, true).is_err());
        }
    }
}
