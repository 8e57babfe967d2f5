//! What a device does with an offload: finish the checksum, cut the superframe. In software, for peers that
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
const ETHERTYPE_VLAN: [u8; 2] = [0x81, 0x00];
const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const IPV4_BYTES_MIN: usize = 20;
const IPV6_BYTES: usize = 40;
const TCP_BYTES_MIN: usize = 20;
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
            Plan::Cut(Cut::new(packet, checksum, segmentation)?)
        }
    };
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
    ip: usize,
    tcp: usize,
    payload: usize,
    mss: usize,
    ipv6: bool,
}

impl Cut {
    fn new(
        packet: &[u8],
        checksum: ChecksumOffload,
        segmentation: Segmentation,
    ) -> Result<Self, SegmentError> {
        if segmentation.mss == 0 {
            return Err(SegmentError::NoMss);
        }
        let ethertype = |at: usize| packet.get(at..at + 2).ok_or(SegmentError::Truncated);
        let ip = match ethertype(ETHERNET_BYTES - 2)? {
            tag if *tag == ETHERTYPE_VLAN => ETHERNET_BYTES + VLAN_BYTES,
            _ => ETHERNET_BYTES,
        };
        let expected = if segmentation.ipv6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 };
        if ethertype(ip - 2)? != expected {
            return Err(SegmentError::NotIp);
        }
        let tcp = usize::from(checksum.start);
        let ip_bytes_min = if segmentation.ipv6 { IPV6_BYTES } else { IPV4_BYTES_MIN };
        if tcp < ip + ip_bytes_min || tcp + TCP_BYTES_MIN > packet.len() {
            return Err(SegmentError::Truncated);
        }
        let payload = tcp + usize::from(packet[tcp + 12] >> 4) * 4;
        if payload < tcp + TCP_BYTES_MIN || payload > packet.len() {
            return Err(SegmentError::Truncated);
        }
        Ok(Self { ip, tcp, payload, mss: usize::from(segmentation.mss), ipv6: segmentation.ipv6 })
    }

    fn count(self, packet: &[u8]) -> usize {
        (packet.len() - self.payload).div_ceil(self.mss).max(1)
    }

    fn write(self, packet: &[u8], index: usize, out: &mut Vec<u8>) {
        let last = index + 1 == self.count(packet);
        let start = self.payload + index * self.mss;
        let end = packet.len().min(start + self.mss);
        out.extend_from_slice(&packet[..self.payload]);
        out.extend_from_slice(&packet[start..end]);

        let (ip, transport) = out.split_at_mut(self.tcp);
        let ip = &mut ip[self.ip..];
        let source_and_destination = if self.ipv6 {
            put16(ip, 4, low16(ip.len() - IPV6_BYTES + transport.len()));
            8..40
        } else {
            put16(ip, 2, low16(ip.len() + transport.len()));
            let id = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(low16(index));
            put16(ip, 4, id);
            put16(ip, 10, 0);
            let header = checksum(sum(ip));
            put16(ip, 10, header);
            12..20
        };

        let seq = u32::from_be_bytes([transport[4], transport[5], transport[6], transport[7]]);
        let offset = u32::try_from(index * self.mss).expect("a superframe is shorter than 4 GiB");
        transport[4..8].copy_from_slice(&seq.wrapping_add(offset).to_be_bytes());
        if !last {
            transport[TCP_FLAGS] &= !(FIN | PSH);
        }
        if index > 0 {
            transport[TCP_FLAGS] &= !CWR;
        }
        put16(transport, 16, 0);
        let pseudo = sum(&ip[source_and_destination]) + u64::from(6_u8) + transport.len() as u64;
        let checksum = checksum(pseudo + sum(transport));
        put16(transport, 16, checksum);
    }
}

/// The packets of one superframe, in order.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    packet: &'a [u8],
    plan: Plan,
    next: usize,
    done: bool,
}

impl Segments<'_> {
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
                // A UDP checksum of zero would mean "none"; all ones is the same number (RFC 768).
                let complete = match checksum(sum(&out[start..])) {
                    0 => 0xffff,
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
