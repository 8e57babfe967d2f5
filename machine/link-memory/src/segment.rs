//! What a device does with an offload: finish the checksum, cut the superframe, of TCP or of UDP. In software, for peers that
//! want packets as a wire would carry them.
//!
//! ```text
//!   | Ethernet | IP | TCP, PSH FIN | payload ······················· |        one superframe
//!
//!   | Ethernet | IP, id   | TCP, seq         | mss |
//!   | Ethernet | IP, id+1 | TCP, seq+mss     | mss |
//!   | Ethernet | IP, id+2 | TCP, PSH FIN     | … |
//! ```

use core::fmt;

use platform::{ChecksumOffload, Offload, Segmentation};

const ETHERNET_BYTES: usize = 14;
const VLAN_BYTES: usize = 4;
/// A customer's tag, and a provider's before it (IEEE 802.1Q).
const ETHERTYPES_VLAN: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const IPV4_BYTES_MIN: usize = 20;
const IPV6_BYTES: usize = 40;
const TCP_BYTES_MIN: usize = 20;
const UDP_BYTES: usize = 8;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Where IPv6 says what follows, and the extension header that says how long a superframe of more than 64 KiB is
/// (RFC 2675): no segment needs it.
const IPV6_NEXT: usize = 6;
const HOP_BY_HOP: u8 = 0;
const JUMBO_BYTES: usize = 8;
const JUMBO_OPTION: u8 = 0xc2;
/// Where the flags lie in a TCP header, and those that only one segment of a train may carry (RFC 9293 §3.1).
const TCP_FLAGS: usize = 13;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

/// An offload that no device could honour: a defect of whoever built the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentError {
    /// The Ethernet type is neither IPv4's nor IPv6's, or not the one that the offload names.
    NotIp,
    /// The headers are longer than the packet, or the checksum lies outside of it.
    Truncated,
    /// A superframe whose checksum is not left to the device.
    NoChecksum,
    /// Segments without payload.
    NoMss,
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotIp => "the packet to be finished is not the IP version that it says",
            Self::Truncated => "the packet to be finished is shorter than its headers",
            Self::NoChecksum => "the superframe leaves no checksum to the device",
            Self::NoMss => "the superframe is to be cut into segments without payload",
        })
    }
}

impl core::error::Error for SegmentError {}

/// Cuts `packet`, from its Ethernet header on, as its `offload` says: one packet when it is not to be cut.
///
/// # Errors
/// The offload does not fit the packet.
pub fn segment(packet: &[u8], offload: Offload) -> Result<Segments<'_>, SegmentError> {
    let plan = match offload {
        Offload { checksum: None, segmentation: None } => Plan::AsItIs,
        Offload { checksum: None, segmentation: Some(_) } => return Err(SegmentError::NoChecksum),
        Offload { checksum: Some(checksum), segmentation: None } => {
            let start = usize::from(checksum.start);
            let field = start + usize::from(checksum.field);
            if field + 2 > packet.len() {
                return Err(SegmentError::Truncated);
            }
            Plan::Checksum { start, field }
        }
        Offload { checksum: Some(checksum), segmentation: Some(segmentation) } => {
            Plan::Cut(Cut::new(packet, TCP, checksum, segmentation, Finish::Segments)?)
        }
    };
    Ok(Segments { packet, plan, next: 0, done: false })
}

/// Cuts a packet of many UDP datagrams alike into one for each: what `UDP_SEGMENT` leaves to a device (udp(7)).
///
/// # Errors
/// The offload does not fit the packet.
pub fn segment_datagrams(
    packet: &[u8],
    checksum: ChecksumOffload,
    segmentation: Segmentation,
) -> Result<Segments<'_>, SegmentError> {
    let plan = Plan::Cut(Cut::new(packet, UDP, checksum, segmentation, Finish::Segments)?);
    Ok(Segments { packet, plan, next: 0, done: false })
}

/// Cuts a superframe that is too long for a device into superframes of at most `bytes_max` each, whose segments are the
/// same. Checksum and segmentation are left to the device, at [`Segments::transport`].
///
/// # Errors
/// The offload does not fit the packet.
pub fn split(
    packet: &[u8],
    checksum: ChecksumOffload,
    segmentation: Segmentation,
    bytes_max: usize,
) -> Result<Segments<'_>, SegmentError> {
    let plan = Plan::Cut(Cut::new(packet, TCP, checksum, segmentation, Finish::Superframes { bytes_max })?);
    Ok(Segments { packet, plan, next: 0, done: false })
}

#[derive(Clone, Copy, Debug)]
enum Plan {
    AsItIs,
    Checksum { start: usize, field: usize },
    Cut(Cut),
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    protocol: u8,
    ip: usize,
    transport: usize,
    payload: usize,
    /// Payload of each piece but the last, and how many segments that is.
    piece: usize,
    segments: usize,
    ipv6: bool,
    /// Segments are complete; superframes are left to the device.
    complete: bool,
    /// The superframe has a header that its segments do not have.
    jumbo: bool,
}

/// What a superframe is cut into.
#[derive(Clone, Copy, Debug)]
enum Finish {
    Segments,
    Superframes { bytes_max: usize },
}

impl Cut {
    fn new(
        packet: &[u8],
        protocol: u8,
        checksum: ChecksumOffload,
        segmentation: Segmentation,
        finish: Finish,
    ) -> Result<Self, SegmentError> {
        if segmentation.mss == 0 {
            return Err(SegmentError::NoMss);
        }
        let ethertype = |at: usize| packet.get(at..at + 2).ok_or(SegmentError::Truncated);
        let mut ip = ETHERNET_BYTES;
        while ETHERTYPES_VLAN.iter().any(|tag| ethertype(ip - 2).is_ok_and(|found| found == tag)) {
            ip += VLAN_BYTES;
        }
        let expected = if segmentation.ipv6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
        if ethertype(ip - 2)? != expected {
            return Err(SegmentError::NotIp);
        }
        let transport = usize::from(checksum.start);
        let ip_bytes_min = if segmentation.ipv6 { IPV6_BYTES } else { IPV4_BYTES_MIN };
        let bytes_min = if protocol == TCP { TCP_BYTES_MIN } else { UDP_BYTES };
        if transport < ip + ip_bytes_min || transport + bytes_min > packet.len() {
            return Err(SegmentError::Truncated);
        }
        let header = if protocol == TCP { usize::from(packet[transport + 12] >> 4) * 4 } else { UDP_BYTES };
        let payload = transport + header;
        if header < bytes_min || payload > packet.len() {
            return Err(SegmentError::Truncated);
        }
        let jumbo = segmentation.ipv6
            && packet[ip + IPV6_NEXT] == HOP_BY_HOP
            && transport >= ip + IPV6_BYTES + JUMBO_BYTES
            && packet[ip + IPV6_BYTES + 1] == 0
            && packet[ip + IPV6_BYTES + 2] == JUMBO_OPTION;
        let mss = usize::from(segmentation.mss);
        let (segments, complete) = match finish {
            Finish::Segments => (1, true),
            Finish::Superframes { bytes_max } => ((bytes_max.saturating_sub(payload) / mss).max(1), false),
        };
        let piece = segments * mss;
        Ok(Self {
            protocol,
            ip,
            transport,
            payload,
            piece,
            segments,
            ipv6: segmentation.ipv6,
            complete,
            jumbo,
        })
    }

    /// Where the transport header lies in what is written.
    fn transport_written(self) -> usize {
        self.transport - if self.jumbo { JUMBO_BYTES } else { 0 }
    }

    fn count(self, packet: &[u8]) -> usize {
        (packet.len() - self.payload).div_ceil(self.piece).max(1)
    }

    fn write(self, packet: &[u8], index: usize, out: &mut Vec<u8>) {
        let last = index + 1 == self.count(packet);
        let start = self.payload + index * self.piece;
        let end = packet.len().min(start + self.piece);
        let header_bytes = self.transport_written();
        if self.jumbo {
            let extension = self.ip + IPV6_BYTES;
            out.extend_from_slice(&packet[..extension]);
            out[self.ip + IPV6_NEXT] = packet[extension];
            out.extend_from_slice(&packet[extension + JUMBO_BYTES..self.payload]);
        } else {
            out.extend_from_slice(&packet[..self.payload]);
        }
        out.extend_from_slice(&packet[start..end]);

        let (ip, transport) = out.split_at_mut(header_bytes);
        let ip = &mut ip[self.ip..];
        let source_and_destination = if self.ipv6 {
            put16(ip, 4, low16(ip.len() - IPV6_BYTES + transport.len()));
            8..40
        } else {
            put16(ip, 2, low16(ip.len() + transport.len()));
            let id = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(low16(index * self.segments));
            put16(ip, 4, id);
            put16(ip, 10, 0);
            let header = checksum(sum(ip));
            put16(ip, 10, header);
            12..20
        };
        let field = if self.protocol == TCP {
            self.finish_tcp(index, last, transport);
            16
        } else {
            put16(transport, 4, low16(transport.len()));
            6
        };
        put16(transport, field, 0);
        let pseudo = sum(&ip[source_and_destination]) + u64::from(self.protocol) + transport.len() as u64;
        if !self.complete {
            // The device adds the rest and complements.
            put16(transport, field, !checksum(pseudo));
            return;
        }
        let checksum = match checksum(pseudo + sum(transport)) {
            0 if self.protocol == UDP => UDP_CHECKSUM_OF_ZERO,
            checksum => checksum,
        };
        put16(transport, field, checksum);
    }

    fn finish_tcp(self, index: usize, last: bool, transport: &mut [u8]) {
        let seq = u32::from_be_bytes([transport[4], transport[5], transport[6], transport[7]]);
        let offset = u32::try_from(index * self.piece).expect("a superframe is shorter than 4 GiB");
        transport[4..8].copy_from_slice(&seq.wrapping_add(offset).to_be_bytes());
        if !last {
            transport[TCP_FLAGS] &= !(FIN | PSH);
        }
        if index > 0 {
            transport[TCP_FLAGS] &= !CWR;
        }
    }
}

/// A UDP checksum of zero would mean "none"; all ones is the same number (RFC 768).
const UDP_CHECKSUM_OF_ZERO: u16 = 0xffff;

/// The packets of one superframe, in order.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    packet: &'a [u8],
    plan: Plan,
    next: usize,
    done: bool,
}

impl Segments<'_> {
    /// Where the transport header of each lies, if the packet is cut at all.
    #[must_use]
    pub fn transport(&self) -> Option<usize> {
        match self.plan {
            Plan::Cut(cut) => Some(cut.transport_written()),
            Plan::AsItIs | Plan::Checksum { .. } => None,
        }
    }

    /// Writes the next packet into `out`, in place of what was there; `false` when there is none left.
    pub fn next_into(&mut self, out: &mut Vec<u8>) -> bool {
        if self.done {
            return false;
        }
        out.clear();
        match self.plan {
            Plan::AsItIs => out.extend_from_slice(self.packet),
            Plan::Checksum { start, field } => {
                out.extend_from_slice(self.packet);
                let complete = match checksum(sum(&out[start..])) {
                    0 => UDP_CHECKSUM_OF_ZERO,
                    complete => complete,
                };
                put16(out, field, complete);
            }
            Plan::Cut(cut) => cut.write(self.packet, self.next, out),
        }
        self.next += 1;
        self.done = match self.plan {
            Plan::Cut(cut) => self.next == cut.count(self.packet),
            Plan::AsItIs | Plan::Checksum { .. } => true,
        };
        true
    }
}

impl Iterator for Segments<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.next_into(&mut out).then_some(out)
    }
}

/// The sum of big-endian 16-bit words, not yet folded (RFC 1071). A last odd byte is the high half of a word.
fn sum(bytes: &[u8]) -> u64 {
    let mut words = bytes.chunks_exact(2);
    let even: u64 = words.by_ref().map(|word| u64::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    even + words.remainder().first().map_or(0, |last| u64::from(*last) << 8)
}

/// The complement of the folded sum.
fn checksum(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !low16(usize::try_from(sum).expect("folded"))
}

/// The low half: lengths and identifiers of a packet that is cut to an MTU fit, and identifiers wrap.
#[expect(clippy::cast_possible_truncation, reason = "masked to 16 bits")]
const fn low16(value: usize) -> u16 {
    (value & 0xffff) as u16
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests;
