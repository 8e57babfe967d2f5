//! Who is where: one subnet, the server first.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::packet::Mac;

/// The server's link.
pub const SERVER_MAC: Mac = [2, 0, 0, 0, 0, 1];
/// The server, in IPv4.
pub const SERVER_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The server, in IPv6.
pub const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 0, 0, 1);
/// The subnet's prefix in IPv4.
pub const PREFIX_V4: u8 = 8;
/// The subnet's prefix in IPv6.
pub const PREFIX_V6: u8 = 64;

/// The server in the family.
#[must_use]
pub fn server(ipv6: bool) -> IpAddr {
    if ipv6 { IpAddr::V6(SERVER_V6) } else { IpAddr::V4(SERVER_V4) }
}

/// The hardware address of host number `index`.
#[must_use]
pub fn mac(index: u32) -> Mac {
    let [a, b, c, d] = index.to_be_bytes();
    [2, 1, a, b, c, d]
}

/// The address of host number `index`, with the first port it uses.
#[must_use]
pub fn host(index: u32, ipv6: bool, port: u16) -> SocketAddr {
    let [_, b, c, d] = index.to_be_bytes();
    let ip = if ipv6 {
        IpAddr::V6(Ipv6Addr::new(0xFD00, 0, 0, 0, 0, 1, u16::from(b), u16::from_be_bytes([c, d])))
    } else {
        // 10.1.0.0 and up: the server's own 10.0 stays free.
        IpAddr::V4(Ipv4Addr::new(10, b.saturating_add(1), c, d))
    };
    SocketAddr::new(ip, port)
}

/// The number of the host with this address in IPv4.
#[must_use]
pub fn index_of(address: Ipv4Addr) -> u32 {
    let [_, b, c, d] = address.octets();
    u32::from_be_bytes([0, b.saturating_sub(1), c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        for index in [0, 1, 255, 256, 65_535, 65_536, 200_000] {
            let IpAddr::V4(v4) = host(index, false, 1).ip() else { panic!("not IPv4") };
            assert_eq!(index_of(v4), index);
            assert_ne!(host(index, true, 1), host(index + 1, true, 1));
            assert_ne!(mac(index), mac(index + 1));
        }
    }
}
