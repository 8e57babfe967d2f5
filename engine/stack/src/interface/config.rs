//! What an operator chooses about an interface, and what no host can have.

use crate::listen::PORTS_MAX;
use crate::tuple::{broadcast_of, is_link_local};
use arrayvec::ArrayVec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wire::MacAddr;

/// The most addresses an interface may have, link-local ones included.
pub const ADDRESSES_MAX: usize = 16;

/// The least MTU that we work with, in bytes: IPv6's (RFC 8200 §5).
pub const MTU_MIN: u16 = 1280;

/// One of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// How many of its leading bits are the link's: who shares them is a neighbour.
    pub prefix_len: u8,
}

/// Whose the addresses are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AddressMode {
    /// Ours alone: everything to them is answered here, from ARP to echo requests.
    #[default]
    Own,
    /// The kernel's, of which we have these TCP ports. ARP, neighbour discovery, echo and every other port are the
    /// kernel's to answer: here nothing is announced, asked or answered on their behalf, not even with a reset.
    Shared(ArrayVec<u16, PORTS_MAX>),
}

/// What an operator chooses about an interface.
#[derive(Clone, Debug)]
pub struct InterfaceConfig {
    /// Our MAC address.
    pub mac: MacAddr,
    /// The largest IP packet, in bytes.
    pub mtu: u16,
    /// The VLAN we live in; frames without a tag when absent.
    pub vlan: Option<u16>,
    /// Our addresses. A link-local IPv6 address is added when there is any IPv6 address, unless they are shared.
    pub addresses: ArrayVec<Address, ADDRESSES_MAX>,
    /// Whose they are.
    pub mode: AddressMode,
    /// The IPv4 router; for active opens only.
    pub gateway_v4: Option<Ipv4Addr>,
    /// The IPv6 router; for active opens only.
    pub gateway_v6: Option<Ipv6Addr>,
    /// Echo requests answered per second.
    pub echo_per_second: u32,
    /// Neighbours remembered.
    pub neighbours_max: u32,
}

impl InterfaceConfig {
    /// The usual configuration: MTU 1500, no VLAN, no gateway, 1,000 echo replies a second, 256 neighbours.
    #[must_use]
    pub fn new(mac: MacAddr) -> Self {
        Self {
            mac,
            mtu: 1500,
            vlan: None,
            addresses: ArrayVec::new(),
            mode: AddressMode::Own,
            gateway_v4: None,
            gateway_v6: None,
            echo_per_second: 1000,
            neighbours_max: 256,
        }
    }
}

/// A configuration that no host can have: the operator's to correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InterfaceError {
    /// The MAC address is a group's, or zero.
    Mac(MacAddr),
    /// The MTU is below [`MTU_MIN`].
    Mtu(u16),
    /// The VLAN identifier is not 1 to 4,094.
    Vlan(u16),
    /// There is no address.
    NoAddress,
    /// The address is not one that a host can have.
    NotAHost(IpAddr),
    /// The prefix is longer than the address.
    Prefix(Address),
    /// The address is there twice.
    Twice(IpAddr),
    /// There are more than [`ADDRESSES_MAX`] addresses, the link-local one included.
    TooMany,
    /// The gateway is in none of the prefixes.
    Gateway(IpAddr),
}

impl fmt::Display for InterfaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "{mac} is not a MAC address that one station can have"),
            Self::Mtu(mtu) => write!(f, "an MTU of {mtu} bytes is too small: use at least {MTU_MIN}"),
            Self::Vlan(vlan) => write!(f, "there is no VLAN {vlan}: use 1 to 4094"),
            Self::NoAddress => f.write_str("an interface needs at least one address"),
            Self::NotAHost(ip) => write!(f, "{ip} is not an address that a host can have"),
            Self::Prefix(Address { ip, prefix_len }) => {
                write!(f, "the prefix /{prefix_len} is longer than the address {ip}")
            }
            Self::Twice(ip) => write!(f, "the address {ip} is given twice"),
            Self::TooMany => write!(f, "an interface has at most {ADDRESSES_MAX} addresses"),
            Self::Gateway(ip) => write!(f, "the gateway {ip} is in none of the interface's prefixes"),
        }
    }
}

impl core::error::Error for InterfaceError {}

/// The operator's addresses, checked, and a link-local one if there is IPv6 without. The kernel has its own of those.
pub(super) fn complete_addresses(
    given: &[Address],
    mac: MacAddr,
    mode: &AddressMode,
) -> Result<ArrayVec<Address, ADDRESSES_MAX>, InterfaceError> {
    let mut addresses: ArrayVec<Address, ADDRESSES_MAX> = ArrayVec::new();
    for &address in given {
        let Address { ip, prefix_len } = address;
        if prefix_len > if ip.is_ipv4() { 32 } else { 128 } {
            return Err(InterfaceError::Prefix(address));
        }
        let is_broadcast =
            broadcast_of(ip, prefix_len).is_some_and(|all| ip == all) || ip == Ipv4Addr::BROADCAST;
        let is_mapped = matches!(ip, IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some());
        if ip.is_multicast() || ip.is_unspecified() || ip.is_loopback() || is_broadcast || is_mapped {
            return Err(InterfaceError::NotAHost(ip));
        }
        if addresses.iter().any(|known| known.ip == ip) {
            return Err(InterfaceError::Twice(ip));
        }
        addresses.try_push(address).map_err(|_| InterfaceError::TooMany)?;
    }
    if addresses.is_empty() {
        return Err(InterfaceError::NoAddress);
    }
    let has_v6 = addresses.iter().any(|address| address.ip.is_ipv6());
    let has_link_local =
        addresses.iter().any(|address| matches!(address.ip, IpAddr::V6(ip) if is_link_local(ip)));
    if has_v6 && !has_link_local && *mode == AddressMode::Own {
        let link_local = Address { ip: mac.link_local().into(), prefix_len: 64 };
        addresses.try_push(link_local).map_err(|_| InterfaceError::TooMany)?;
    }
    Ok(addresses)
}
