//! Addresses: those that are free on this machine, and those that an interface has.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use netlink::{Netlink, NetlinkError};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread::sleep;
use std::time::Instant;

use super::{NetworkError, list};
use crate::values::Cidr;

/// Networks that we try for ourselves, of each family.
const CANDIDATES: u16 = 256;
/// The abstract socket that is held while addresses are being chosen.
const TURNSTILE: &str = "atlas-chooses-addresses";
/// How long another server may take to choose; one that hangs must not keep us from starting.
const TURNSTILE_PATIENCE: Duration = Duration::from_secs(3);
const TURNSTILE_RETRY: Duration = Duration::from_millis(10);
/// More addresses of one interface are not ours to answer on.
const SHARED_MAX: usize = stack::ADDRESSES_MAX;

/// Between looking for a free network and taking it nobody else may look: two servers that start together would both
/// find the same one. An abstract socket is a lock that belongs to the network namespace, as addresses do, and that
/// ends with its holder.
pub(super) struct Turnstile {
    _name: UnixListener,
}

impl Turnstile {
    /// Waits for its turn. `None` when that took too long or cannot be had: then the kernel's own checks must do.
    pub(super) fn enter() -> Option<Self> {
        Self::enter_within(TURNSTILE, TURNSTILE_PATIENCE)
    }

    fn enter_within(name: &str, patience: Duration) -> Option<Self> {
        let address = SocketAddr::from_abstract_name(name).ok()?;
        let begun = Instant::now();
        loop {
            match UnixListener::bind_addr(&address) {
                Ok(name) => return Some(Self { _name: name }),
                Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => return None,
                Err(_) if begun.elapsed() >= patience => return None,
                Err(_) => sleep(TURNSTILE_RETRY),
            }
        }
    }
}

/// What the host has, as far as it could get in our way.
pub(super) struct Host {
    addresses: Vec<(IpAddr, String)>,
    /// With their networks, and where they are.
    interfaces: Vec<(Cidr, String)>,
    routes: Vec<(Cidr, String)>,
    ipv6: bool,
}

impl Host {
    pub(super) fn look(netlink: &mut Netlink) -> Result<Self, NetlinkError> {
        let links = netlink.links()?;
        let name = |index: Option<u32>| {
            links
                .iter()
                .find(|link| Some(link.index) == index)
                .map_or_else(|| "another interface".to_owned(), |link| link.name.clone())
        };
        let addresses = netlink.addresses()?;
        let routes = netlink.routes()?;
        Ok(Self {
            ipv6: std::fs::read_to_string("/proc/sys/net/ipv6/conf/default/disable_ipv6")
                .is_ok_and(|disabled| disabled.trim() == "0"),
            addresses: addresses.iter().map(|of| (of.address, name(Some(of.index)))).collect(),
            interfaces: addresses
                .iter()
                .map(|of| (Cidr { address: of.address, prefix: of.prefix }, name(Some(of.index))))
                .collect(),
            routes: routes
                .iter()
                // Everything is covered by a default route, and what is link-local or multicast is nobody's.
                .filter(|route| route.prefix > 0 && !is_everywhere(route.network))
                .map(|route| (Cidr { address: route.network, prefix: route.prefix }, name(route.index)))
                .collect(),
        })
    }

    pub(super) fn must_not_have(&self, address: IpAddr) -> Result<(), NetworkError> {
        match self.addresses.iter().find(|(theirs, _)| *theirs == address) {
            Some((_, interface)) => Err(NetworkError::Taken { address, interface: interface.clone() }),
            None => Ok(()),
        }
    }

    /// The addresses of an interface that are to be shared: those wanted, or all that others can reach.
    pub(super) fn shared(&self, interface: &str, wanted: &[Cidr]) -> Result<Vec<Cidr>, NetworkError> {
        let theirs = self.interfaces.iter().filter(|(_, of)| of == interface).map(|(cidr, _)| *cidr);
        let theirs: Vec<Cidr> = theirs.filter(|cidr| !is_link_local(cidr.address)).take(SHARED_MAX).collect();
        if theirs.is_empty() {
            return Err(NetworkError::NothingToShare { interface: interface.to_owned() });
        }
        if wanted.is_empty() {
            return Ok(theirs);
        }
        wanted
            .iter()
            .map(|wanted| {
                theirs.iter().find(|cidr| cidr.address == wanted.address).copied().ok_or_else(|| {
                    NetworkError::NotShared {
                        address: wanted.address,
                        interface: interface.to_owned(),
                        theirs: list(&theirs),
                    }
                })
            })
            .collect()
    }

    fn route_over(&self, network: Cidr) -> Option<&str> {
        self.routes.iter().find(|(route, _)| route.overlaps(network)).map(|(_, interface)| interface.as_str())
    }

    /// The addresses to use on a link of our own: those wanted, or the first that are free.
    pub(super) fn addresses(&self, wanted: &[Cidr]) -> Result<Vec<Cidr>, NetworkError> {
        for cidr in wanted {
            self.must_not_have(cidr.address)?;
            if let Some(interface) = self.route_over(*cidr) {
                return Err(NetworkError::Routed { network: *cidr, interface: interface.to_owned() });
            }
        }
        if !wanted.is_empty() {
            return Ok(wanted.to_vec());
        }
        let free = |candidate: fn(u16) -> Cidr| {
            (0..CANDIDATES).map(candidate).find(|cidr| self.route_over(*cidr).is_none())
        };
        let v4 = free(candidate_v4).ok_or(NetworkError::NoNetwork)?;
        let v6 = if self.ipv6 { free(candidate_v6) } else { None };
        Ok(core::iter::once(v4).chain(v6).collect())
    }
}

/// 10.77.0.2/24 and so on.
fn candidate_v4(index: u16) -> Cidr {
    let [_, third] = index.to_be_bytes();
    Cidr { address: Ipv4Addr::new(10, 77, third, 2).into(), prefix: 24 }
}

/// fd61:746c:6173::2/64 and so on: a unique local address that spells "atlas".
fn candidate_v6(index: u16) -> Cidr {
    Cidr { address: Ipv6Addr::new(0xfd61, 0x746c, 0x6173, index, 0, 0, 0, 2).into(), prefix: 64 }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn is_everywhere(network: IpAddr) -> bool {
    match network {
        IpAddr::V4(network) => network.is_multicast() || network.is_link_local(),
        IpAddr::V6(network) => network.is_multicast() || network.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(routes: &[&str], addresses: &[&str]) -> Host {
        Host {
            addresses: addresses.iter().map(|text| (text.parse().unwrap(), "eth0".to_owned())).collect(),
            interfaces: Vec::new(),
            routes: routes
                .iter()
                .map(|text| {
                    let (network, prefix) = text.split_once('/').unwrap();
                    let network = Cidr { address: network.parse().unwrap(), prefix: prefix.parse().unwrap() };
                    (network, "eth0".to_owned())
                })
                .collect(),
            ipv6: true,
        }
    }

    fn cidrs(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_free_machine_gets_the_first_networks() {
        let addresses = host(&["192.168.1.0/24"], &[]).addresses(&[]).unwrap();
        assert_eq!(addresses, cidrs(&["10.77.0.2/24", "fd61:746c:6173::2/64"]));
    }

    #[test]
    fn networks_with_a_route_are_passed_over() {
        let host = host(&["10.77.0.0/24", "10.77.1.7/32", "fd61:746c:6173::/64"], &[]);
        assert_eq!(host.addresses(&[]).unwrap(), cidrs(&["10.77.2.2/24", "fd61:746c:6173:1::2/64"]));
    }

    #[test]
    fn a_machine_without_ipv6_gets_none() {
        let host = Host { ipv6: false, ..host(&[], &[]) };
        assert_eq!(host.addresses(&[]).unwrap(), cidrs(&["10.77.0.2/24"]));
    }

    #[test]
    fn only_one_server_at_a_time_chooses_addresses() {
        let name = format!("atlas-turnstile-test-{}", std::process::id());
        let first = Turnstile::enter_within(&name, Duration::ZERO).unwrap();
        assert!(Turnstile::enter_within(&name, TURNSTILE_RETRY * 2).is_none());
        drop(first);
        assert!(Turnstile::enter_within(&name, Duration::ZERO).is_some());
    }

    #[test]
    fn an_interface_shares_what_others_can_reach_or_what_was_chosen_of_it() {
        let of = |text: &str, interface: &str| {
            let (address, prefix) = text.split_once('/').unwrap();
            (
                Cidr { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() },
                interface.to_owned(),
            )
        };
        let interfaces = vec![
            of("192.0.2.10/32", "eth0"),
            of("2001:db8::10/64", "eth0"),
            of("fe80::1/64", "eth0"),
            of("198.51.100.1/24", "eth1"),
        ];
        let host = Host { interfaces, ..host(&[], &[]) };
        let texts = |found: Vec<Cidr>| found.iter().map(Cidr::to_string).collect::<Vec<_>>();
        assert_eq!(texts(host.shared("eth0", &[]).unwrap()), ["192.0.2.10/32", "2001:db8::10/64"]);
        let chosen = host.shared("eth0", &cidrs(&["192.0.2.10/24"])).unwrap();
        assert_eq!(texts(chosen), ["192.0.2.10/32"], "the interface's own prefix counts");
        let line = host.shared("eth0", &cidrs(&["198.51.100.1/24"])).unwrap_err().to_string();
        assert!(line.contains("192.0.2.10/32 and 2001:db8::10/64") && !line.contains('\n'), "{line}");
        let line = host.shared("eth2", &[]).unwrap_err().to_string();
        assert!(line.contains("ip address add"), "{line}");
    }

    #[test]
    fn when_everything_is_taken_the_operator_chooses() {
        let line = host(&["10.0.0.0/8"], &[]).addresses(&[]).unwrap_err().to_string();
        assert!(line.contains("--addr"), "{line}");
    }

    #[test]
    fn an_address_of_the_kernels_is_refused() {
        let host = host(&["10.66.0.2/32"], &["10.66.0.2"]);
        let line = host.addresses(&cidrs(&["10.66.0.2/24"])).unwrap_err().to_string();
        assert!(line.contains("10.66.0.2 is an address of this machine already (on eth0)"), "{line}");
    }

    #[test]
    fn a_network_that_is_reached_elsewhere_is_refused() {
        let host = host(&["192.0.2.0/24"], &["192.0.2.1"]);
        let line = host.addresses(&cidrs(&["192.0.2.77/24"])).unwrap_err().to_string();
        assert!(line.contains("through eth0") && line.contains("--link packet:eth0"), "{line}");
    }
}
