//! Questions and answers of one datagram each, in front of the ordinary stack.
//!
//! ```text
//! frame ─▶ Turnaround::accept ─▶ UDP to our port ─▶ Answer ─▶ reply: headers turned round, checksums written ─▶ frame out
//!                │                                      one pass: the answer's sum comes with the answer
//!                ├─▶ anything else: NotOurs ─▶ the ordinary stack (ARP, NDP, ICMP, TCP)
//!                └─▶ damaged, or no way to answer it: Dropped, and counted
//! ```
//!
//! There is no connection, so nothing is remembered: an answer goes back to where its question came from, MAC address
//! and VLAN included. Many questions can be accepted before the first is answered. An answer never leaves in fragments: whoever answers keeps within the room that it is given.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate alloc;
#[cfg(test)]
extern crate std;

use arrayvec::ArrayVec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use wire::checksum::Sum;
use wire::udp::{self, CHECKSUM_OFFSET, checksum_on_the_wire};
use wire::{EtherType, MacAddr, Malformed, Packet, Protocol, ethernet, ipv4, ipv6};

/// The most addresses that questions may come to.
pub const ADDRESSES_MAX: usize = 16;

/// The longest headers in front of an answer: a VLAN tag, IPv6, UDP.
pub const HEADERS_BYTES_MAX: usize =
    ethernet::HEADER_BYTES + ethernet::VLAN_TAG_BYTES + ipv6::HEADER_BYTES + udp::HEADER_BYTES;

/// An answer, written where it was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// How many bytes it has.
    pub bytes: usize,
    /// Their sum.
    pub sum: Sum,
}

/// Where a question came from and went to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// From whom, or who it claims to be.
    pub source: SocketAddr,
    /// Which of our addresses.
    pub destination: IpAddr,
}

/// A question that was taken out of its frame: what its answer needs of it besides its message.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// Who asked, and where.
    pub asked: Asked,
    /// The answer's, but for our own address.
    ethernet: ethernet::Header,
}

impl Accepted {
    /// Room for headers in front of the answer: at most [`HEADERS_BYTES_MAX`].
    #[inline]
    #[must_use]
    pub const fn headers_bytes(&self) -> usize {
        let ip = if self.asked.destination.is_ipv4() { ipv4::HEADER_BYTES_MIN } else { ipv6::HEADER_BYTES };
        self.l3() + ip + udp::HEADER_BYTES
    }

    const fn l3(&self) -> usize {
        let tag = if self.ethernet.vlan.is_some() { ethernet::VLAN_TAG_BYTES } else { 0 };
        ethernet::HEADER_BYTES + tag
    }
}

/// Where questions come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Our MAC address; frames for others are not ours.
    pub mac: MacAddr,
    /// Our VLAN, if frames carry a tag.
    pub vlan: Option<u16>,
    /// Our addresses.
    pub addresses: ArrayVec<IpAddr, ADDRESSES_MAX>,
    /// Our port.
    pub port: u16,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// An answer of that many bytes is to leave as it was written.
    Reply(usize),
    /// It is none of ours: the ordinary stack's.
    NotOurs,
    /// It was ours, and nothing is to be said.
    Silent,
    /// It was damaged, or cannot be answered.
    Dropped(Reason),
}

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The sender's fault, or the wire's.
    Malformed(Malformed),
    /// It claims to come from us, from nobody, or from port 0: no answer would arrive.
    Spoofed,
    /// A piece of a datagram for us.
    Fragment,
}

/// What was counted since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Questions that were intact and for us.
    pub asked: u64,
    /// Answers.
    pub answered: u64,
    /// [`Reason::Malformed`].
    pub malformed: u64,
    /// [`Reason::Spoofed`].
    pub spoofed: u64,
    /// [`Reason::Fragment`].
    pub fragments: u64,
}

/// Turns questions round into answers.
#[derive(Debug)]
pub struct Turnaround {
    config: Config,
    counters: Counters,
}

impl Turnaround {
    /// For questions to these addresses.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self { config, counters: Counters { asked: 0, answered: 0, malformed: 0, spoofed: 0, fragments: 0 } }
    }

    /// Our MAC address is another one from now on: the device behind the link is.
    pub const fn set_mac(&mut self, mac: MacAddr) {
        self.config.mac = mac;
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Looks at a frame; if it is a question, has it answered by `answer` into `out`, behind the headers, and completes
    /// the frame. `verified`: the link vouches for the transport checksum.
    ///
    /// # Panics
    /// `out` has no room for headers and an answer of 512 bytes.
    #[inline]
    pub fn on_frame(
        &mut self,
        frame: &[u8],
        verified: bool,
        out: &mut [u8],
        answer: impl FnOnce(&Asked, &[u8], &mut [u8]) -> Option<Answered>,
    ) -> Verdict {
        let (accepted, message) = match self.accept(frame, verified) {
            Ok(question) => question,
            Err(verdict) => return verdict,
        };
        let room = &mut out[accepted.headers_bytes()..];
        let Some(answered) = answer(&accepted.asked, message, room) else { return Verdict::Silent };
        Verdict::Reply(self.reply(&accepted, answered, out))
    }

    /// The first half of [`on_frame`](Self::on_frame): a question and its message, which is answered by
    /// [`reply`](Self::reply), soon or never; or what else became of the frame.
    ///
    /// # Errors
    /// It is no question of ours; never [`Verdict::Reply`].
    #[inline]
    pub fn accept<'f>(&mut self, frame: &'f [u8], verified: bool) -> Result<(Accepted, &'f [u8]), Verdict> {
        if !self.may_be_ours(frame) {
            return Err(Verdict::NotOurs);
        }
        // Nearly all questions; whatever is not quite like them goes the long way.
        let (ethernet, udp) = match wire::parse_udp_frame(frame, !verified) {
            Some((source, udp))
                if self.config.vlan.is_none()
                    && self.is_to_us(udp.destination, udp.header.destination_port) =>
            {
                let ether_type = if udp.source.is_ipv4() { EtherType::IPV4 } else { EtherType::IPV6 };
                (
                    ethernet::Header { destination: source, source: self.config.mac, vlan: None, ether_type },
                    udp,
                )
            }
            _ => self.accept_odd(frame, verified)?,
        };
        let source_port = udp.header.source_port;
        if source_port == 0 || udp.source.is_unspecified() || self.config.addresses.contains(&udp.source) {
            self.counters.spoofed += 1;
            return Err(Verdict::Dropped(Reason::Spoofed));
        }
        self.counters.asked += 1;
        let asked = Asked { source: SocketAddr::new(udp.source, source_port), destination: udp.destination };
        Ok((Accepted { asked, ethernet }, udp.payload))
    }

    /// A question that is not like nearly all of them, and the Ethernet header of its answer.
    fn accept_odd<'f>(
        &mut self,
        frame: &'f [u8],
        verified: bool,
    ) -> Result<(ethernet::Header, wire::Udp<'f>), Verdict> {
        let parsed = match wire::parse_frame(frame, !verified) {
            Ok(parsed) => parsed,
            Err(malformed) => {
                self.counters.malformed += 1;
                return Err(Verdict::Dropped(Reason::Malformed(malformed)));
            }
        };
        let udp = match parsed.packet {
            Packet::Udp(udp) if self.is_to_us(udp.destination, udp.header.destination_port) => udp,
            Packet::Fragment { destination, .. } if self.config.addresses.contains(&destination) => {
                self.counters.fragments += 1;
                return Err(Verdict::Dropped(Reason::Fragment));
            }
            _ => return Err(Verdict::NotOurs),
        };
        if parsed.ethernet.vlan != self.config.vlan {
            return Err(Verdict::NotOurs);
        }
        let ethernet = ethernet::Header {
            destination: parsed.ethernet.source,
            source: self.config.mac,
            ..parsed.ethernet
        };
        Ok((ethernet, udp))
    }

    /// The second half: completes the frame around an answer that stands in `out` behind the room for headers. Returns
    /// how long it is.
    ///
    /// # Panics
    /// `out` is shorter than that.
    #[inline]
    pub fn reply(&mut self, accepted: &Accepted, answered: Answered, out: &mut [u8]) -> usize {
        self.counters.answered += 1;
        let Accepted { asked, ethernet } = accepted;
        if let (IpAddr::V4(us), SocketAddr::V4(peer), None) = (asked.destination, asked.source, ethernet.vlan)
        {
            return self.reply_plain(us, peer, ethernet.destination, answered, out);
        }
        let payload = accepted.headers_bytes();
        let l4 = payload - udp::HEADER_BYTES;
        ethernet::Header { source: self.config.mac, ..*ethernet }.emit(out);
        let datagram = udp::HEADER_BYTES + answered.bytes;
        let pseudo = emit_ip(asked, datagram, &mut out[accepted.l3()..]);
        let header = udp::Header { source_port: self.config.port, destination_port: asked.source.port() };
        header.emit(&mut out[l4..], answered.bytes);
        let sum = pseudo.then(&out[l4..payload]).combine(answered.sum);
        let checksum = checksum_on_the_wire(sum.finish());
        out[l4 + CHECKSUM_OFFSET..][..2].copy_from_slice(&checksum.to_be_bytes());
        l4 + datagram
    }

    /// The same over IPv4, untagged: all three headers at places that are known, summed before they are written.
    #[inline]
    fn reply_plain(
        &self,
        us: Ipv4Addr,
        peer: SocketAddrV4,
        to: MacAddr,
        answered: Answered,
        out: &mut [u8],
    ) -> usize {
        const PAYLOAD: usize = ethernet::HEADER_BYTES + ipv4::HEADER_BYTES_MIN + udp::HEADER_BYTES;
        let datagram = udp::HEADER_BYTES + answered.bytes;
        let total =
            u16::try_from(ipv4::HEADER_BYTES_MIN + datagram).expect("a packet has at most 65,535 bytes");
        let of_datagram = total - 20;
        // Version, length and class, total length; no identification, don't fragment (RFC 6864 §4.1); TTL, protocol.
        let [first, second, third] = [
            0x4500_0000 | u32::from(total),
            0x0000_4000,
            u32::from(wire::Path::HOP_LIMIT) << 24 | u32::from(Protocol::UDP.0) << 16,
        ];
        let (source, destination) = (u32::from(us), u32::from(*peer.ip()));
        let words = [first, second, third, source, destination].map(u64::from);
        let ip_checksum = Sum::ZERO.then(&words.iter().sum::<u64>().to_be_bytes()).finish();
        let ports = u64::from(self.config.port) << 48 | u64::from(peer.port()) << 32;
        let udp = ports | u64::from(of_datagram) << 16;
        let sum = Sum::pseudo_v4(us, *peer.ip(), Protocol::UDP, of_datagram.into())
            .then(&udp.to_be_bytes())
            .combine(answered.sum);
        let udp_checksum = checksum_on_the_wire(sum.finish());
        let head = out.first_chunk_mut::<PAYLOAD>().expect("room for the headers of an answer");
        head[..6].copy_from_slice(&to.0);
        head[6..12].copy_from_slice(&self.config.mac.0);
        head[12..14].copy_from_slice(&EtherType::IPV4.0.to_be_bytes());
        head[14..18].copy_from_slice(&first.to_be_bytes());
        head[18..22].copy_from_slice(&second.to_be_bytes());
        head[22..26].copy_from_slice(&(third | u32::from(ip_checksum)).to_be_bytes());
        head[26..30].copy_from_slice(&source.to_be_bytes());
        head[30..34].copy_from_slice(&destination.to_be_bytes());
        head[34..42].copy_from_slice(&(udp | u64::from(udp_checksum)).to_be_bytes());
        ethernet::HEADER_BYTES + usize::from(total)
    }

    /// A first look: a frame for our MAC address that carries IP, and UDP if it is IPv4. TCP goes on at once.
    #[inline]
    fn may_be_ours(&self, frame: &[u8]) -> bool {
        let Some((head, _)) = frame.split_first_chunk::<24>() else { return false };
        if head[..6] != self.config.mac.0 {
            return false;
        }
        match EtherType(u16::from_be_bytes([head[12], head[13]])) {
            EtherType::IPV4 => head[23] == Protocol::UDP.0,
            // Extension headers may stand between; the parser finds out.
            EtherType::IPV6 => head[20] != Protocol::TCP.0,
            // A tag, perhaps: the parser finds out.
            _ => self.config.vlan.is_some(),
        }
    }

    #[inline]
    fn is_to_us(&self, destination: IpAddr, port: u16) -> bool {
        port == self.config.port && self.config.addresses.contains(&destination)
    }
}

/// Writes the IP header of an answer; returns its pseudo header's sum.
#[inline]
fn emit_ip(asked: &Asked, datagram: usize, out: &mut [u8]) -> Sum {
    let bytes = u32::try_from(datagram).expect("a datagram has at most 65,535 bytes");
    match (asked.destination, asked.source.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = ipv4::Header {
                source,
                destination,
                protocol: Protocol::UDP,
                ttl: wire::Path::HOP_LIMIT,
                traffic_class: 0,
                identification: 0,
                dont_fragment: true,
            };
            header.emit(out, datagram);
            Sum::pseudo_v4(source, destination, Protocol::UDP, bytes)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = ipv6::Header {
                source,
                destination,
                protocol: Protocol::UDP,
                hop_limit: wire::Path::HOP_LIMIT,
                traffic_class: 0,
                flow_label: 0,
            };
            header.emit(out, datagram);
            Sum::pseudo_v6(source, destination, Protocol::UDP, bytes)
        }
        _ => unreachable!("both addresses stood in one header"),
    }
}

#[cfg(test)]
mod tests;
