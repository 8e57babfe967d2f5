//! A TCP segment in its Ethernet frame, parsed and emitted by a second hand.
//!
//! The production stack has `wire` for this. The model client, the faults and the checkers must not share its errors,
//! so they have this codec of their own: plain, owned, and slow where that is simpler. It knows Ethernet without tags,
//! IPv4, IPv6 without extension headers, and TCP.

use arrayvec::ArrayVec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::Range;

/// An Ethernet header.
pub const ETHERNET_BYTES: usize = 14;
/// No more data.
pub const FIN: u8 = 0x01;
/// Synchronize.
pub const SYN: u8 = 0x02;
/// Reset.
pub const RST: u8 = 0x04;
/// Push.
pub const PSH: u8 = 0x08;
/// The acknowledgment counts.
pub const ACK: u8 = 0x10;

const TYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TYPE_IPV6: [u8; 2] = [0x86, 0xDD];
const PROTOCOL_TCP: u8 = 6;

/// A hardware address.
pub type Mac = [u8; 6];

/// A segment and the way it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    /// The sender's hardware address.
    pub source_mac: Mac,
    /// The receiver's.
    pub destination_mac: Mac,
    /// The sender.
    pub source: SocketAddr,
    /// The receiver.
    pub destination: SocketAddr,
    /// SEG.SEQ.
    pub seq: u32,
    /// SEG.ACK.
    pub ack: u32,
    /// Of [`FIN`], [`SYN`], [`RST`], [`PSH`], [`ACK`].
    pub flags: u8,
    /// SEG.WND, not scaled.
    pub window: u16,
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale.
    pub window_scale: Option<u8>,
    /// SACK permitted.
    pub sack_permitted: bool,
    /// SACK blocks: left edge, right edge.
    pub sack: ArrayVec<(u32, u32), 4>,
    /// Timestamps: value, echo.
    pub timestamps: Option<(u32, u32)>,
}

/// Why a frame is not a segment for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Another protocol.
    NotTcp,
    /// Shorter than its headers say.
    Truncated,
    /// The IPv4 header's or the segment's checksum is wrong.
    Checksum,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTcp => "not a TCP segment",
            Self::Truncated => "shorter than its headers say",
            Self::Checksum => "damaged: a checksum does not hold",
        })
    }
}

impl core::error::Error for Rejected {}

impl Segment {
    /// A segment without anything in it.
    ///
    /// # Panics
    /// The addresses are of two families.
    #[must_use]
    pub fn between(source: (Mac, SocketAddr), destination: (Mac, SocketAddr)) -> Self {
        assert_eq!(source.1.is_ipv4(), destination.1.is_ipv4(), "two families");
        Self {
            source_mac: source.0,
            destination_mac: destination.0,
            source: source.1,
            destination: destination.1,
            seq: 0,
            ack: 0,
            flags: 0,
            window: 0,
            mss: None,
            window_scale: None,
            sack_permitted: false,
            sack: ArrayVec::new(),
            timestamps: None,
        }
    }

    /// All of `flags` are set.
    #[must_use]
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Reads a frame; returns the segment and where its payload lies in the frame.
    ///
    /// # Errors
    /// It is not a whole and undamaged TCP segment.
    pub fn parse(frame: &[u8]) -> Result<(Self, Range<usize>), Rejected> {
        let (source, destination, tcp) = network_layer(frame)?;
        let bytes = &frame[tcp.clone()];
        if bytes.len() < 20 {
            return Err(Rejected::Truncated);
        }
        if finish(pseudo_header(source, destination, bytes.len()) + sum(bytes)) != 0 {
            return Err(Rejected::Checksum);
        }
        let header_bytes = usize::from(bytes[12] >> 4) * 4;
        if header_bytes < 20 || header_bytes > bytes.len() {
            return Err(Rejected::Truncated);
        }
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let half = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let mut segment = Self {
            source_mac: *frame[6..].first_chunk().expect("longer than Ethernet"),
            destination_mac: *frame.first_chunk().expect("longer than Ethernet"),
            source: SocketAddr::new(source, half(0)),
            destination: SocketAddr::new(destination, half(2)),
            seq: word(4),
            ack: word(8),
            flags: bytes[13] & 0x3F,
            window: half(14),
            mss: None,
            window_scale: None,
            sack_permitted: false,
            sack: ArrayVec::new(),
            timestamps: None,
        };
        segment.parse_options(&bytes[20..header_bytes])?;
        Ok((segment, tcp.start + header_bytes..tcp.end))
    }

    fn parse_options(&mut self, mut options: &[u8]) -> Result<(), Rejected> {
        let word = |bytes: &[u8]| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        while let [kind, rest @ ..] = options {
            match kind {
                0 => break,
                1 => {
                    options = rest;
                    continue;
                }
                _ => {}
            }
            let len = usize::from(*rest.first().ok_or(Rejected::Truncated)?);
            let value = options.get(2..len).ok_or(Rejected::Truncated)?;
            match (kind, value.len()) {
                (2, 2) => self.mss = Some(u16::from_be_bytes([value[0], value[1]])),
                (3, 1) => self.window_scale = Some(value[0]),
                (4, 0) => self.sack_permitted = true,
                (5, 8 | 16 | 24 | 32) => {
                    self.sack = value.as_chunks::<8>().0.iter().map(|b| (word(b), word(&b[4..]))).collect();
                }
                (8, 8) => self.timestamps = Some((word(value), word(&value[4..]))),
                _ => {}
            }
            options = &options[len..];
        }
        Ok(())
    }

    /// The frame on the wire with this payload, checksums and all.
    ///
    /// # Panics
    /// More payload than an IP packet holds.
    #[must_use]
    pub fn emit(&self, payload: &[u8]) -> Vec<u8> {
        let options = self.emit_options();
        let tcp_bytes = 20 + options.len() + payload.len();
        let mut frame = Vec::with_capacity(ETHERNET_BYTES + 40 + tcp_bytes);
        frame.extend_from_slice(&self.destination_mac);
        frame.extend_from_slice(&self.source_mac);
        emit_network_layer(&mut frame, self.source.ip(), self.destination.ip(), PROTOCOL_TCP, tcp_bytes);
        let tcp = frame.len();
        frame.extend_from_slice(&self.source.port().to_be_bytes());
        frame.extend_from_slice(&self.destination.port().to_be_bytes());
        frame.extend_from_slice(&self.seq.to_be_bytes());
        frame.extend_from_slice(&self.ack.to_be_bytes());
        let words = u8::try_from(5 + options.len() / 4).expect("at most 15");
        frame.extend_from_slice(&[words << 4, self.flags]);
        frame.extend_from_slice(&self.window.to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(&options);
        frame.extend_from_slice(payload);
        let checksum = pseudo_header(self.source.ip(), self.destination.ip(), tcp_bytes) + sum(&frame[tcp..]);
        frame[tcp + 16..tcp + 18].copy_from_slice(&finish(checksum).to_be_bytes());
        frame
    }

    fn emit_options(&self) -> ArrayVec<u8, 60> {
        let mut out = ArrayVec::new();
        let mut put = |bytes: &[u8]| out.try_extend_from_slice(bytes).expect("options fit");
        if let Some(mss) = self.mss {
            put(&[2, 4]);
            put(&mss.to_be_bytes());
        }
        if let Some(shift) = self.window_scale {
            put(&[1, 3, 3, shift]);
        }
        if self.sack_permitted {
            put(&[1, 1, 4, 2]);
        }
        if let Some((value, echo)) = self.timestamps {
            put(&[1, 1, 8, 10]);
            put(&value.to_be_bytes());
            put(&echo.to_be_bytes());
        }
        if !self.sack.is_empty() {
            put(&[1, 1, 5, u8::try_from(2 + 8 * self.sack.len()).expect("at most 34")]);
            for (left, right) in &self.sack {
                put(&left.to_be_bytes());
                put(&right.to_be_bytes());
            }
        }
        assert!(out.len() <= 40, "{} bytes of options", out.len());
        out
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} ", self.source, self.destination)?;
        for (flag, letter) in [(SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (ACK, ".")] {
            if self.has(flag) {
                f.write_str(letter)?;
            }
        }
        write!(f, " seq {} ack {} win {}", self.seq, self.ack, self.window)?;
        if let Some(mss) = self.mss {
            write!(f, " mss {mss}")?;
        }
        if let Some(shift) = self.window_scale {
            write!(f, " ws {shift}")?;
        }
        if self.sack_permitted {
            f.write_str(" sackok")?;
        }
        if !self.sack.is_empty() {
            write!(f, " sack {:?}", self.sack)?;
        }
        if let Some((value, echo)) = self.timestamps {
            write!(f, " ts {value}:{echo}")?;
        }
        Ok(())
    }
}

/// Where the transport's bytes lie in a frame, if it carries TCP.
fn network_layer(frame: &[u8]) -> Result<(IpAddr, IpAddr, Range<usize>), Rejected> {
    let ip = frame.get(ETHERNET_BYTES..).ok_or(Rejected::Truncated)?;
    let half = |at: usize| usize::from(u16::from_be_bytes([ip[at], ip[at + 1]]));
    match [frame[12], frame[13]] {
        TYPE_IPV4 => {
            if ip.len() < 20 {
                return Err(Rejected::Truncated);
            }
            let header_bytes = usize::from(ip[0] & 15) * 4;
            let total = half(2);
            if ip[0] >> 4 != 4 || header_bytes < 20 || total < header_bytes || total > ip.len() {
                return Err(Rejected::Truncated);
            }
            if finish(sum(&ip[..header_bytes])) != 0 {
                return Err(Rejected::Checksum);
            }
            // A fragment is no segment; the don't-fragment bit is no fragment.
            if ip[9] != PROTOCOL_TCP || half(6) & 0x3FFF != 0 {
                return Err(Rejected::NotTcp);
            }
            let address = |at: usize| IpAddr::V4(Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]));
            Ok((address(12), address(16), ETHERNET_BYTES + header_bytes..ETHERNET_BYTES + total))
        }
        TYPE_IPV6 => {
            if ip.len() < 40 || ip[0] >> 4 != 6 || 40 + half(4) > ip.len() {
                return Err(Rejected::Truncated);
            }
            if ip[6] != PROTOCOL_TCP {
                return Err(Rejected::NotTcp);
            }
            let address = |at: usize| {
                IpAddr::V6(Ipv6Addr::from(*ip[at..].first_chunk::<16>().expect("40 bytes of header")))
            };
            let start = ETHERNET_BYTES + 40;
            Ok((address(8), address(24), start..start + half(4)))
        }
        _ => Err(Rejected::NotTcp),
    }
}

/// Appends the EtherType and an IP header for `bytes` of `protocol`.
///
/// # Panics
/// More bytes than an IP packet holds, or addresses of two families.
pub fn emit_network_layer(
    frame: &mut Vec<u8>,
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    bytes: usize,
) {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend_from_slice(&TYPE_IPV4);
            let at = frame.len();
            let total = u16::try_from(20 + bytes).expect("fits a packet").to_be_bytes();
            // Don't fragment; 64 hops.
            frame.extend_from_slice(&[0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0]);
            frame.extend_from_slice(&source.octets());
            frame.extend_from_slice(&destination.octets());
            let checksum = finish(sum(&frame[at..]));
            frame[at + 10..at + 12].copy_from_slice(&checksum.to_be_bytes());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend_from_slice(&TYPE_IPV6);
            let length = u16::try_from(bytes).expect("fits a packet").to_be_bytes();
            frame.extend_from_slice(&[0x60, 0, 0, 0, length[0], length[1], protocol, 64]);
            frame.extend_from_slice(&source.octets());
            frame.extend_from_slice(&destination.octets());
        }
        _ => panic!("two families"),
    }
}

fn pseudo_header(source: IpAddr, destination: IpAddr, bytes: usize) -> u64 {
    address_sum(source) + address_sum(destination) + u64::from(PROTOCOL_TCP) + bytes as u64
}

/// An address as part of a pseudo header.
#[must_use]
pub fn address_sum(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => sum(&address.octets()),
        IpAddr::V6(address) => sum(&address.octets()),
    }
}

/// The sum of RFC 1071 over bytes from an even offset, neither folded nor complemented.
#[must_use]
pub fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut total: u64 = words.iter().map(|&word| u64::from(u32::from_be_bytes(word))).sum();
    let (halves, odd) = rest.as_chunks::<2>();
    total += halves.iter().map(|&half| u64::from(u16::from_be_bytes(half))).sum::<u64>();
    total + odd.iter().map(|&byte| u64::from(byte) << 8).sum::<u64>()
}

/// A sum, folded and complemented: what stands in the checksum field, or zero when the field was part of the sum.
///
/// # Panics
/// Never: folding ends below 2¹⁶.
#[must_use]
pub fn finish(mut total: u64) -> u16 {
    while total > 0xFFFF {
        total = (total & 0xFFFF) + (total >> 16);
    }
    !u16::try_from(total).expect("folded")
}

#[cfg(test)]
mod tests;
