//! What names a connection: two addresses, two ports.

use core::hash::{Hash, Hasher};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

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

/// A [`FourTuple`] as tables keep it: 40 bytes for either family instead of 64, hashed in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TupleKey {
    V4 { local: Ipv4Addr, peer: Ipv4Addr, local_port: u16, peer_port: u16 },
    V6 { local: [u8; 16], peer: [u8; 16], local_port: u16, peer_port: u16 },
}

const _: () = assert!(size_of::<TupleKey>() <= 40, "a million connections have a million of these");

impl TupleKey {
    /// The key of a tuple; `None` when its two ends are of two families, as no packet's are.
    pub(crate) fn new(tuple: &FourTuple) -> Option<Self> {
        match (tuple.local, tuple.peer) {
            (SocketAddr::V4(local), SocketAddr::V4(peer)) => Some(Self::V4 {
                local: *local.ip(),
                peer: *peer.ip(),
                local_port: local.port(),
                peer_port: peer.port(),
            }),
            (SocketAddr::V6(local), SocketAddr::V6(peer)) => Some(Self::V6 {
                local: local.ip().octets(),
                peer: peer.ip().octets(),
                local_port: local.port(),
                peer_port: peer.port(),
            }),
            _ => None,
        }
    }

    pub(crate) fn tuple(&self) -> FourTuple {
        match *self {
            Self::V4 { local, peer, local_port, peer_port } => FourTuple {
                local: SocketAddrV4::new(local, local_port).into(),
                peer: SocketAddrV4::new(peer, peer_port).into(),
            },
            Self::V6 { local, peer, local_port, peer_port } => FourTuple {
                local: SocketAddrV6::new(local.into(), local_port, 0, 0).into(),
                peer: SocketAddrV6::new(peer.into(), peer_port, 0, 0).into(),
            },
        }
    }
}

impl Hash for TupleKey {
    /// One write of 12 or 36 bytes: a third of the time that a derived hash takes.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match *self {
            Self::V4 { local, peer, local_port, peer_port } => {
                let mut bytes = [0; 12];
                bytes[0..4].copy_from_slice(&local.octets());
                bytes[4..8].copy_from_slice(&peer.octets());
                bytes[8..10].copy_from_slice(&local_port.to_be_bytes());
                bytes[10..12].copy_from_slice(&peer_port.to_be_bytes());
                state.write(&bytes);
            }
            Self::V6 { local, peer, local_port, peer_port } => {
                let mut bytes = [0; 36];
                bytes[0..16].copy_from_slice(&local);
                bytes[16..32].copy_from_slice(&peer);
                bytes[32..34].copy_from_slice(&local_port.to_be_bytes());
                bytes[34..36].copy_from_slice(&peer_port.to_be_bytes());
                state.write(&bytes);
            }
        }
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
