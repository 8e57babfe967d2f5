//! What names a connection: two addresses, two ports.

use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use wire::UsualTcp;

#[cfg(test)]
mod tests;

/// Both ends of a connection, from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FourTuple {
    /// Our address and port.
    pub local: SocketAddr,
    /// The peer's; of the same family.
    pub peer: SocketAddr,
}

/// A [`FourTuple`] as tables keep it: 40 bytes for either family instead of 64, compared and hashed by the word. Ours
/// stands in the upper halves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TupleKey {
    V4 { addresses: u64, ports: u32 },
    V6 { local: [u8; 16], peer: [u8; 16], ports: u32 },
}

const _: () = assert!(size_of::<TupleKey>() <= 40, "a million connections have a million of these");

impl TupleKey {
    /// The key of a tuple; `None` when its two ends are of two families, as no packet's are.
    #[inline]
    pub(crate) fn new(tuple: &FourTuple) -> Option<Self> {
        let FourTuple { local, peer } = tuple;
        Self::of_packet((local.ip(), local.port()), (peer.ip(), peer.port()))
    }

    /// The key of a packet from `peer` to us; `None` when they are of two families, as no packet's are.
    #[inline]
    pub(crate) fn of_packet(
        (local, local_port): (IpAddr, u16),
        (peer, peer_port): (IpAddr, u16),
    ) -> Option<Self> {
        let ports = u32::from(local_port) << 16 | u32::from(peer_port);
        match (local, peer) {
            (IpAddr::V4(local), IpAddr::V4(peer)) => {
                let addresses = u64::from(local.to_bits()) << 32 | u64::from(peer.to_bits());
                Some(Self::V4 { addresses, ports })
            }
            (IpAddr::V6(local), IpAddr::V6(peer)) => {
                Some(Self::V6 { local: local.octets(), peer: peer.octets(), ports })
            }
            _ => None,
        }
    }

    /// The key of a segment that came to us.
    #[inline]
    pub(crate) fn of_usual(segment: &UsualTcp<'_>) -> Self {
        let (local, peer) = (segment.destination().to_bits(), segment.source().to_bits());
        let (peer_port, local_port) = segment.ports();
        Self::V4 {
            addresses: u64::from(local) << 32 | u64::from(peer),
            ports: u32::from(local_port) << 16 | u32::from(peer_port),
        }
    }

    /// Our address and the peer's.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the halves of a number")]
    pub(crate) fn addresses(&self) -> (IpAddr, IpAddr) {
        match *self {
            Self::V4 { addresses, ports: _ } => {
                let of = |address| IpAddr::V4(Ipv4Addr::from_bits(address));
                (of((addresses >> 32) as u32), of(addresses as u32))
            }
            Self::V6 { local, peer, ports: _ } => (IpAddr::V6(local.into()), IpAddr::V6(peer.into())),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the halves of a number")]
    pub(crate) fn tuple(&self) -> FourTuple {
        let (Self::V4 { ports, .. } | Self::V6 { ports, .. }) = *self;
        let (local, peer) = self.addresses();
        FourTuple {
            local: SocketAddr::new(local, (ports >> 16) as u16),
            peer: SocketAddr::new(peer, ports as u16),
        }
    }
}

impl TupleKey {
    /// What stands for the tuple under a hash: 12 or 36 bytes.
    #[inline]
    pub(crate) fn with_bytes<T>(&self, take: impl FnOnce(&[u8]) -> T) -> T {
        match *self {
            Self::V4 { addresses, ports } => {
                let mut bytes = [0; 12];
                bytes[..8].copy_from_slice(&addresses.to_be_bytes());
                bytes[8..].copy_from_slice(&ports.to_be_bytes());
                take(&bytes)
            }
            Self::V6 { local, peer, ports } => {
                let mut bytes = [0; 36];
                bytes[..16].copy_from_slice(&local);
                bytes[16..32].copy_from_slice(&peer);
                bytes[32..].copy_from_slice(&ports.to_be_bytes());
                take(&bytes)
            }
        }
    }
}

impl Hash for TupleKey {
    /// One write: a third of the time that a derived hash takes.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.with_bytes(|bytes| state.write(bytes));
    }
}

/// Whom a limit or a path MTU concerns: one IPv4 address, or what one customer of an IPv6 provider has at least, a /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PeerKey {
    V4(Ipv4Addr),
    V6Prefix([u8; 8]),
}

impl PeerKey {
    pub(crate) fn new(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6Prefix([a, b, c, d, e, f, g, h])
            }
        }
    }
}

/// Whether `address` lies in the prefix of `prefix_len` bits around `network`.
pub(crate) fn is_in_prefix(address: IpAddr, network: IpAddr, prefix_len: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix_len.into())).unwrap_or(0);
            (u32::from(address) ^ u32::from(network)) & mask == 0
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix_len.into())).unwrap_or(0);
            (u128::from(address) ^ u128::from(network)) & mask == 0
        }
        _ => false,
    }
}

/// The last address of an IPv4 prefix, which names everybody in it; `None` where a prefix is too short to have one (RFC 3021).
pub(crate) fn broadcast_of(network: IpAddr, prefix_len: u8) -> Option<Ipv4Addr> {
    let IpAddr::V4(network) = network else { return None };
    let host_bits = u32::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
    (prefix_len < 31).then(|| Ipv4Addr::from(u32::from(network) | host_bits))
}

/// Whether an IPv6 address is fe80::/10.
pub(crate) fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}
