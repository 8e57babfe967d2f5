//! Where packets come from: the device, its addresses and ours.
//!
//! ```text
//!   tap        kernel 10.77.0.1/24 ── atlas0 ══ one queue per worker ══ 10.77.0.2 the engine
//!   veth       kernel 10.77.0.1/24 ── atlas0 ── atlas1 ══ packet sockets ══ 10.77.0.2       in a namespace without TAP
//!   packet     the network ── eth1 ══ packet sockets ══ our address; the kernel keeps its own
//! ```

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::time::Duration;
use link_packet::{PacketError, PacketSocket};
use link_tap::{TapDevice, TapError, TapQueue, TapSetup};
use netlink::{LinkChange, Netlink, NetlinkError};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::thread::sleep;
use std::time::Instant;
use vnet::{VnetConfig, VnetQueue};

use crate::values::{Cidr, LinkChoice};

/// The two ends of the veth pair in a namespace where nobody else has names.
const VETH_KERNEL: &str = "atlas0";
const VETH_OURS: &str = "atlas1";
/// Networks that we try for ourselves, of each family.
const CANDIDATES: u16 = 256;
/// The abstract socket that is held while addresses are being chosen.
const TURNSTILE: &str = "atlas-chooses-addresses";
/// How long another server may take to choose; one that hangs must not keep us from starting.
const TURNSTILE_PATIENCE: Duration = Duration::from_secs(3);
const TURNSTILE_RETRY: Duration = Duration::from_millis(10);

/// Why there is no network. The operator's or the machine's; one line each.
#[derive(Debug)]
pub enum NetworkError {
    /// The TAP device.
    Tap(TapError),
    /// The packet socket.
    Packet(PacketError),
    /// Something else about interfaces and addresses.
    Netlink(NetlinkError),
    /// The kernel itself has this address.
    Taken {
        /// That was asked for.
        address: IpAddr,
        /// That has it.
        interface: String,
    },
    /// The kernel would send packets for this network elsewhere.
    Routed {
        /// That was asked for.
        network: Cidr,
        /// That leads there.
        interface: String,
    },
    /// Every network that we try has a route.
    NoNetwork,
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tap(error) => error.fmt(f),
            Self::Packet(error) => error.fmt(f),
            Self::Netlink(error) => error.fmt(f),
            Self::Taken { address, interface } => write!(
                f,
                "{address} is an address of this machine already (on {interface}); give another with --addr"
            ),
            Self::Routed { network, interface } => write!(
                f,
                "the network of {network} is reached through {interface}; give --addr one that is free, or use \
                 --link packet:{interface}"
            ),
            Self::NoNetwork => {
                f.write_str("every network that could be used has a route; choose one with --addr IP/PREFIX")
            }
        }
    }
}

impl core::error::Error for NetworkError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Tap(error) => Some(error),
            Self::Packet(error) => Some(error),
            Self::Netlink(error) => Some(error),
            Self::Taken { .. } | Self::Routed { .. } | Self::NoNetwork => None,
        }
    }
}

impl From<TapError> for NetworkError {
    fn from(error: TapError) -> Self {
        Self::Tap(error)
    }
}

impl From<PacketError> for NetworkError {
    fn from(error: PacketError) -> Self {
        Self::Packet(error)
    }
}

impl From<NetlinkError> for NetworkError {
    fn from(error: NetlinkError) -> Self {
        Self::Netlink(error)
    }
}

/// A queue on its way to its worker.
#[derive(Debug)]
pub enum Queue {
    /// Of a TAP device.
    Tap(TapQueue),
    /// Of a network interface.
    Packet(PacketSocket),
}

impl Queue {
    /// Opens the queue in the calling thread, which keeps it. What went wrong is one line.
    pub fn open(self) -> Result<VnetQueue, NetworkError> {
        Ok(match self {
            Self::Tap(queue) => {
                queue.open(VnetConfig { mtu: TapSetup::default().mtu, ..VnetConfig::default() })?
            }
            Self::Packet(queue) => queue.open(VnetConfig::default())?,
        })
    }
}

/// A network that is ready. What was created vanishes when this and the queues are dropped.
#[derive(Debug)]
pub struct Network {
    /// One for each worker.
    pub queues: Vec<Queue>,
    /// Our addresses: one or two, of different families.
    pub addresses: Vec<Cidr>,
    /// What was set up, for people.
    pub description: String,
    /// The interface that packets pass.
    pub interface: String,
    /// The host's side of a TAP device.
    _device: Option<TapDevice>,
}

impl Network {
    /// Sets everything up.
    pub fn open(
        link: &LinkChoice,
        wanted: &[Cidr],
        workers: u16,
        in_namespace: bool,
    ) -> Result<Self, NetworkError> {
        let _turnstile = Turnstile::enter(TURNSTILE, TURNSTILE_PATIENCE);
        let host = Host::look(&mut Netlink::open()?)?;
        match link {
            LinkChoice::Packet(interface) => {
                // The interface first: without it an address means nothing.
                let queues = link_packet::sockets(interface, workers)?;
                for cidr in wanted {
                    host.must_not_have(cidr.address)?;
                }
                Ok(Self {
                    queues: queues.into_iter().map(Queue::Packet).collect(),
                    addresses: wanted.to_vec(),
                    description: format!(
                        "packet socket on {interface}, {} beside the kernel's own addresses",
                        list(wanted)
                    ),
                    interface: interface.clone(),
                    _device: None,
                })
            }
            LinkChoice::Tap(name) => {
                let addresses = host.addresses(wanted)?;
                match Self::tap(name.as_deref(), &addresses, workers) {
                    Err(NetworkError::Tap(
                        error @ (TapError::NoDriver { .. } | TapError::MayNotOpen { .. }),
                    )) if in_namespace && name.is_none() => Self::veth(&addresses, workers, &error),
                    result => result,
                }
            }
        }
    }

    fn tap(name: Option<&str>, addresses: &[Cidr], workers: u16) -> Result<Self, NetworkError> {
        let (mut device, queues) = TapDevice::create(name, workers)?;
        device.bring_up(TapSetup::default())?;
        let mut kernel = Vec::new();
        for ours in addresses {
            let theirs = ours.neighbour();
            device.add_address(theirs.address, theirs.prefix)?;
            kernel.push(theirs);
        }
        let plural = if workers == 1 { "" } else { "s" };
        let description = format!(
            "TAP device {} with {workers} queue{plural}, the kernel's side {}, TSO and checksums left to it",
            device.name(),
            list(&kernel)
        );
        Ok(Self {
            queues: queues.into_iter().map(Queue::Tap).collect(),
            addresses: addresses.to_vec(),
            description,
            interface: device.name().to_owned(),
            _device: Some(device),
        })
    }

    /// Only inside a namespace of ours: the pair vanishes with it.
    fn veth(addresses: &[Cidr], workers: u16, why: &TapError) -> Result<Self, NetworkError> {
        let mut netlink = Netlink::open()?;
        netlink.create_veth(VETH_KERNEL, VETH_OURS)?;
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        netlink.change_link(VETH_KERNEL, up)?;
        netlink.change_link(VETH_OURS, up)?;
        let mut kernel = Vec::new();
        for ours in addresses {
            let theirs = ours.neighbour();
            netlink.add_address(VETH_KERNEL, theirs.address, theirs.prefix)?;
            kernel.push(theirs);
        }
        let queues = link_packet::sockets(VETH_OURS, workers)?;
        let why = why.to_string();
        let why = why.split(':').next().unwrap_or_default();
        Ok(Self {
            queues: queues.into_iter().map(Queue::Packet).collect(),
            addresses: addresses.to_vec(),
            description: format!(
                "veth pair with a packet socket, the kernel's side {} (no TAP device: {why})",
                list(&kernel)
            ),
            interface: VETH_OURS.to_owned(),
            _device: None,
        })
    }
}

/// Between looking for a free network and taking it nobody else may look: two servers that start together would both
/// find the same one. An abstract socket is a lock that belongs to the network namespace, as addresses do, and that
/// ends with its holder.
struct Turnstile {
    _name: UnixListener,
}

impl Turnstile {
    /// Waits for its turn. `None` when that took too long or cannot be had: then the kernel's own checks must do.
    fn enter(name: &str, patience: Duration) -> Option<Self> {
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
struct Host {
    addresses: Vec<(IpAddr, String)>,
    routes: Vec<(Cidr, String)>,
    ipv6: bool,
}

impl Host {
    fn look(netlink: &mut Netlink) -> Result<Self, NetlinkError> {
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
            routes: routes
                .iter()
                // Everything is covered by a default route, and what is link-local or multicast is nobody's.
                .filter(|route| route.prefix > 0 && !is_everywhere(route.network))
                .map(|route| (Cidr { address: route.network, prefix: route.prefix }, name(route.index)))
                .collect(),
        })
    }

    fn must_not_have(&self, address: IpAddr) -> Result<(), NetworkError> {
        match self.addresses.iter().find(|(theirs, _)| *theirs == address) {
            Some((_, interface)) => Err(NetworkError::Taken { address, interface: interface.clone() }),
            None => Ok(()),
        }
    }

    fn route_over(&self, network: Cidr) -> Option<&str> {
        self.routes.iter().find(|(route, _)| route.overlaps(network)).map(|(_, interface)| interface.as_str())
    }

    /// The addresses to use on a link of our own: those wanted, or the first that are free.
    fn addresses(&self, wanted: &[Cidr]) -> Result<Vec<Cidr>, NetworkError> {
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

fn is_everywhere(network: IpAddr) -> bool {
    match network {
        IpAddr::V4(network) => network.is_multicast() || network.is_link_local(),
        IpAddr::V6(network) => network.is_multicast() || network.is_unicast_link_local(),
    }
}

fn list(addresses: &[Cidr]) -> String {
    addresses.iter().map(Cidr::to_string).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(routes: &[&str], addresses: &[&str]) -> Host {
        Host {
            addresses: addresses.iter().map(|text| (text.parse().unwrap(), "eth0".to_owned())).collect(),
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
        let first = Turnstile::enter(&name, Duration::ZERO).unwrap();
        assert!(Turnstile::enter(&name, TURNSTILE_RETRY * 2).is_none());
        drop(first);
        assert!(Turnstile::enter(&name, Duration::ZERO).is_some());
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
