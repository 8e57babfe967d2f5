//! What is ours: the program that decides it for each packet, and its maps.

mod program;

use core::net::IpAddr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::error::XdpError;
use crate::sys::bpf;

pub(crate) use program::{Map, SOLICITED_NODE, UNICAST};

const CAPABILITIES: &str = "CAP_BPF and CAP_NET_ADMIN";

/// How many addresses of each family, and how many ports, may be ours at once.
const ENTRIES_MAX: u32 = 4_096;

/// What the program takes of a packet to one of our addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: the address is ours alone. IPv4, IPv6, ICMP, fragments, ARP for it, and neighbour solicitations of
    /// it; with one VLAN tag or without.
    OwnAddress,
    /// TCP and UDP to our ports: the kernel has the address too, and gets all else. IPv4 without options and not in
    /// fragments, IPv6 without extension headers; with one VLAN tag or without.
    SharedAddress,
    /// Every packet, whoever it is for: a middlebox, or a test.
    Everything,
}

/// A transport protocol with ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// Where in the kernel the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver, before a packet is the kernel's. Zero-copy needs it.
    Native,
    /// In the kernel's generic receive path: every driver, more slowly.
    Generic,
}

/// What the program says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The kernel gets it.
    Pass,
    /// A socket of ours gets it.
    Redirect,
    /// Something else, by its number in linux/bpf.h. Never so.
    Other(u32),
}

/// The program, loaded, and its maps. It does nothing before it is attached.
///
/// The maps may be changed at any time, also by another process that holds their descriptors.
#[derive(Debug)]
pub struct Steering {
    program: OwnedFd,
    sockets: OwnedFd,
    v4: OwnedFd,
    v6: OwnedFd,
    ports: OwnedFd,
    queues: u32,
}

impl Steering {
    /// Loads the program, for sockets on queues below `queues`.
    ///
    /// # Errors
    /// We may not, or the kernel is too old.
    pub fn load(scope: Scope, queues: u32) -> Result<Self, XdpError> {
        let map = |kind, key_bytes, value_bytes, entries| {
            bpf::create_map(kind, key_bytes, value_bytes, entries)
                .map_err(|source| XdpError::of("make a map for the steering program", CAPABILITIES, source))
        };
        let sockets = map(bpf::MapKind::Sockets, 4, 4, queues.max(1))?;
        let v4 = map(bpf::MapKind::Hash, 4, 1, ENTRIES_MAX)?;
        let v6 = map(bpf::MapKind::Hash, 16, 1, 2 * ENTRIES_MAX)?;
        let ports = map(bpf::MapKind::Hash, 4, 1, ENTRIES_MAX)?;
        let code = program::assemble(scope).link(|map| {
            match map {
                Map::Sockets => &sockets,
                Map::V4 => &v4,
                Map::V6 => &v6,
                Map::Ports => &ports,
            }
            .as_raw_fd()
        });
        let program = bpf::load_program(&code).map_err(|refusal| match refusal {
            bpf::LoadError { source, log } if log.is_empty() => {
                XdpError::of("load the steering program", CAPABILITIES, source)
            }
            bpf::LoadError { source, log } => XdpError::Verifier { log, source },
        })?;
        Ok(Self { program, sockets, v4, v6, ports, queues })
    }

    /// An address is ours from now on. With an IPv6 address comes its solicited-node multicast address (RFC 4291
    /// §2.7.1).
    ///
    /// # Errors
    /// There are too many, or the descriptors are not of such maps.
    pub fn add_address(&self, address: IpAddr) -> Result<(), XdpError> {
        let set = |map: &OwnedFd, key: &[u8], value| {
            bpf::set(map.as_fd(), key, &[value]).map_err(|source| changing("steer an address", source))
        };
        match address {
            IpAddr::V4(v4) => set(&self.v4, &v4.octets(), UNICAST),
            IpAddr::V6(v6) => {
                set(&self.v6, &v6.octets(), UNICAST)?;
                set(&self.v6, &program::solicited_node(v6).octets(), SOLICITED_NODE)
            }
        }
    }

    /// An address is ours no longer. A solicited-node multicast address that it may have shared with another of ours
    /// stays: what is sent to it is looked into.
    ///
    /// # Errors
    /// The descriptors are not of such maps.
    pub fn remove_address(&self, address: IpAddr) -> Result<(), XdpError> {
        match address {
            IpAddr::V4(v4) => unset(&self.v4, &v4.octets()),
            IpAddr::V6(v6) => unset(&self.v6, &v6.octets()),
        }
    }

    /// A port is ours from now on, on all our addresses. Means nothing to an own address, whose ports are all ours.
    ///
    /// # Errors
    /// There are too many, or the descriptors are not of such maps.
    pub fn add_port(&self, transport: Transport, port: u16) -> Result<(), XdpError> {
        let key = program::port_key(transport.number(), port);
        bpf::set(self.ports.as_fd(), &key, &[1]).map_err(|source| changing("steer a port", source))
    }

    /// A port is ours no longer.
    ///
    /// # Errors
    /// The descriptors are not of such maps.
    pub fn remove_port(&self, transport: Transport, port: u16) -> Result<(), XdpError> {
        unset(&self.ports, &program::port_key(transport.number(), port))
    }

    /// What is ours and arrives on `queue` goes to `socket` from now on: an AF_XDP socket with an RX ring, bound to
    /// that queue. When the socket is closed the queue's packets are the kernel's again.
    ///
    /// # Errors
    /// It is no such socket, or the queue is not below what the program was loaded for.
    pub fn insert(&self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), XdpError> {
        bpf::set(self.sockets.as_fd(), &queue.to_le_bytes(), &socket.as_raw_fd().to_le_bytes()).map_err(
            |source| match source.raw_os_error() {
                Some(libc::E2BIG) => XdpError::NoQueue { queue },
                _ => changing("steer a queue to a socket", source),
            },
        )
    }

    /// What arrives on `queue` goes to the kernel from now on.
    ///
    /// # Errors
    /// The descriptors are not of such maps.
    pub fn remove(&self, queue: u32) -> Result<(), XdpError> {
        unset(&self.sockets, &queue.to_le_bytes())
    }

    /// Queues below this may have a socket.
    #[must_use]
    pub fn queues(&self) -> u32 {
        self.queues
    }

    /// Puts the program before the stack of the interface with that index.
    ///
    /// # Errors
    /// We may not, another program is there, or the driver cannot: then [`AttachMode::Generic`] may do.
    pub fn attach(&self, interface: u32, mode: AttachMode) -> Result<Attachment, XdpError> {
        let attempt = match mode {
            AttachMode::Native => "attach the steering program in the driver",
            AttachMode::Generic => "attach the steering program",
        };
        bpf::attach(self.program.as_fd(), interface, mode)
            .map(|link| Attachment { link })
            .map_err(|source| XdpError::of(attempt, CAPABILITIES, source))
    }

    /// What the program says of `packet`, as if it had arrived on queue 0.
    ///
    /// # Errors
    /// We may not, or the packet is shorter than an Ethernet header or longer than a page.
    pub fn try_packet(&self, packet: &[u8]) -> Result<Verdict, XdpError> {
        let verdict = bpf::test_run(self.program.as_fd(), packet)
            .map_err(|source| XdpError::of("try the steering program", CAPABILITIES, source))?;
        Ok(match verdict {
            program::XDP_PASS => Verdict::Pass,
            program::XDP_REDIRECT => Verdict::Redirect,
            other => Verdict::Other(other),
        })
    }

    /// The descriptors, to be passed to another process: [`Self::from_descriptors`] takes them in this order.
    #[must_use]
    pub fn into_descriptors(self) -> [OwnedFd; 5] {
        let Self { program, sockets, v4, v6, ports, queues: _ } = self;
        [program, sockets, v4, v6, ports]
    }

    /// A program that was loaded elsewhere, for `queues`.
    #[must_use]
    pub fn from_descriptors(descriptors: [OwnedFd; 5], queues: u32) -> Self {
        let [program, sockets, v4, v6, ports] = descriptors;
        Self { program, sockets, v4, v6, ports, queues }
    }
}

fn changing(attempt: &'static str, source: io::Error) -> XdpError {
    XdpError::of(attempt, CAPABILITIES, source)
}

/// What is not there need not be removed.
fn unset(map: &OwnedFd, key: &[u8]) -> Result<(), XdpError> {
    match bpf::unset(map.as_fd(), key) {
        Err(source) if source.raw_os_error() != Some(libc::ENOENT) => {
            Err(changing("stop steering to us", source))
        }
        _ => Ok(()),
    }
}

/// A program before the stack of an interface, for as long as this descriptor or a copy of it is open.
#[derive(Debug)]
pub struct Attachment {
    link: OwnedFd,
}

impl From<OwnedFd> for Attachment {
    fn from(link: OwnedFd) -> Self {
        Self { link }
    }
}

impl From<Attachment> for OwnedFd {
    fn from(attachment: Attachment) -> Self {
        attachment.link
    }
}

impl AsFd for Attachment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

#[cfg(test)]
mod tests;
