//! Which flow a packet belongs to: a hash of addresses, protocol and ports that is the same both ways.
//!
//! ```text
//!   mix(source, port) + mix(destination, port)     a sum does not know who comes first
//! ```
//!
//! Fragments are told apart by addresses and protocol only, since not all of them carry ports (RFC 8200 §4.5); so is
//! what is neither TCP nor UDP.

use crate::random::mix;

const ETHERNET_BYTES: usize = 14;
const VLAN_BYTES: usize = 4;
/// A customer's tag, and a provider's before it (IEEE 802.1Q).
const ETHERTYPES_VLAN: [u16; 2] = [0x8100, 0x88a8];
const TAGS_MAX: usize = 4;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const IPV6_BYTES: usize = 40;
/// Hop-by-hop options, routing, destination options (RFC 8200 §4.1): skipped, within bounds.
const EXTENSIONS: [u8; 3] = [0, 43, 60];
const EXTENSIONS_MAX: usize = 4;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Hashes flows, differently for every seed.
#[derive(Clone, Copy, Debug)]
pub struct FlowHash {
    seed: u64,
}

impl FlowHash {
    /// The hash of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed: mix(seed ^ 0xf10e_f10e_f10e_f10e) }
    }

    /// The hash of the flow that an Ethernet frame belongs to; `None` when it carries no IP, or not enough of it.
    #[must_use]
    pub fn of_frame(self, frame: &[u8]) -> Option<u64> {
        let mut ip = ETHERNET_BYTES;
        for _ in 0..TAGS_MAX {
            if !ETHERTYPES_VLAN.contains(&u16_at(frame, ip - 2)?) {
                break;
            }
            ip += VLAN_BYTES;
        }
        let packet = frame.get(ip..)?;
        match u16_at(frame, ip - 2)? {
            ETHERTYPE_IPV4 => self.of_ipv4(packet),
            ETHERTYPE_IPV6 => self.of_ipv6(packet),
            _ => None,
        }
    }

    fn of_ipv4(self, packet: &[u8]) -> Option<u64> {
        let header_bytes = usize::from(packet.first()? & 0x0f) * 4;
        // Everything but "don't fragment": a piece, or the first of several.
        let whole = u16_at(packet, 6)? & 0x3fff == 0;
        let protocol = *packet.get(9)?;
        let [source, destination] = [u32_at(packet, 12)?, u32_at(packet, 16)?].map(u64::from);
        let ports = if whole { ports(protocol, packet.get(header_bytes..)?) } else { [0; 2] };
        Some(self.join(protocol, self.end(source, 0, ports[0]), self.end(destination, 0, ports[1])))
    }

    fn of_ipv6(self, packet: &[u8]) -> Option<u64> {
        let (mut protocol, mut transport) = (*packet.get(6)?, IPV6_BYTES);
        // A superframe of more than 64 KiB has an extension header that the flow's other packets do not have.
        for _ in 0..EXTENSIONS_MAX {
            if !EXTENSIONS.contains(&protocol) {
                break;
            }
            let Some([next, length]) = packet.get(transport..).and_then(|rest| rest.first_chunk()) else {
                break;
            };
            (protocol, transport) = (*next, transport + 8 * (usize::from(*length) + 1));
        }
        let [source_high, source_low] = [u64_at(packet, 8)?, u64_at(packet, 16)?];
        let [destination_high, destination_low] = [u64_at(packet, 24)?, u64_at(packet, 32)?];
        let ports = ports(protocol, packet.get(transport..).unwrap_or_default());
        let source = self.end(source_high, source_low, ports[0]);
        Some(self.join(protocol, source, self.end(destination_high, destination_low, ports[1])))
    }

    fn end(self, high: u64, low: u64, port: u16) -> u64 {
        mix(mix(mix(self.seed ^ high) ^ low) ^ u64::from(port))
    }

    fn join(self, protocol: u8, one: u64, other: u64) -> u64 {
        mix(one.wrapping_add(other) ^ mix(self.seed ^ u64::from(protocol)))
    }
}

fn ports(protocol: u8, segment: &[u8]) -> [u16; 2] {
    match (protocol, u16_at(segment, 0), u16_at(segment, 2)) {
        (TCP | UDP, Some(source), Some(destination)) => [source, destination],
        _ => [0; 2],
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|chunk| u16::from_be_bytes(*chunk))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|chunk| u32::from_be_bytes(*chunk))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|chunk| u64::from_be_bytes(*chunk))
}

#[cfg(test)]
mod tests;
