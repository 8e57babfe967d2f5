//! What a link is made of, as far as it may have to be made or opened again while the server runs.

use core::net::IpAddr;
use link_afxdp::Interface;
use link_tap::{TapDevice, TapSetup};
use netlink::{LinkChange, Netlink};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;

use super::NetworkError;
use super::steered::{Program, Steer};

/// A device, with all that was chosen about it at start: nobody has to say anything about it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Device {
    /// A TAP device of ours.
    Tap {
        /// Its name.
        name: String,
        /// The hardware address of the kernel's side, by which everybody on it knows the kernel.
        kernel_mac: [u8; 6],
        /// The kernel's addresses.
        kernel: Vec<(IpAddr, u8)>,
    },
    /// An interface that others make, through bare packet sockets.
    Socket {
        /// Its name.
        interface: String,
    },
    /// The same, through rings.
    Packet {
        /// Its name.
        interface: String,
        /// Our own hardware address, which stays when the interface comes back with another.
        mac: [u8; 6],
    },
    /// The same, past its kernel's stack.
    Afxdp(Steer),
}

/// What a device is like that came back, as far as its link has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Facts {
    /// For packets behind virtio-net headers.
    Vnet {
        /// Its MTU.
        mtu: u16,
    },
    /// For rings.
    Packet {
        /// Our hardware address there.
        mac: [u8; 6],
        /// Its MTU.
        mtu: u16,
    },
    /// For AF_XDP.
    Afxdp(#[serde(with = "AfxdpInterface")] Interface),
}

impl Facts {
    /// The device's MTU.
    pub(crate) const fn mtu(self) -> u16 {
        match self {
            Self::Vnet { mtu } | Self::Packet { mtu, .. } => mtu,
            Self::Afxdp(interface) => interface.mtu,
        }
    }
}

/// How an [`Interface`] is written down.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Interface")]
struct AfxdpInterface {
    index: u32,
    mac: [u8; 6],
    mtu: u16,
    queues: u32,
    zero_copy: Option<bool>,
    checksum: bool,
    pieces_max: u32,
}

/// A link that was opened again.
#[derive(Debug)]
pub(crate) struct Reopened {
    /// As many for each worker, one worker's after the other's.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// What it is like now.
    pub(crate) facts: Facts,
}

impl Device {
    /// What the kernel calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Tap { name, .. } => name,
            Self::Socket { interface } | Self::Packet { interface, .. } => interface,
            Self::Afxdp(steer) => steer.interface(),
        }
    }

    /// Nobody but us makes it.
    pub(crate) const fn is_ours(&self) -> bool {
        matches!(self, Self::Tap { .. })
    }

    /// Each of its queues needs a worker.
    pub(crate) const fn is_by_queue(&self) -> bool {
        matches!(self, Self::Afxdp(_))
    }

    /// Makes or opens it again, with so many queues. The program is what has to be kept while it is used.
    pub(crate) fn reopen(&self, queues: u16) -> Result<(Reopened, Option<Program>), NetworkError> {
        let (descriptors, facts) = match self {
            Self::Tap { name, kernel_mac, kernel } => {
                let setup = TapSetup::default();
                let (mut device, queues) = TapDevice::create(Some(name), queues)?;
                let mac = LinkChange { mac: Some(*kernel_mac), ..LinkChange::default() };
                Netlink::open()?.change_link(name, mac)?;
                device.bring_up(setup)?;
                for (address, prefix) in kernel {
                    device.add_address(*address, *prefix)?;
                }
                let descriptors = queues.into_iter().map(OwnedFd::from).collect();
                (descriptors, Facts::Vnet { mtu: setup.mtu })
            }
            Self::Socket { interface } => {
                let sockets = link_packet::sockets(interface, queues)?;
                let mtu = sockets.first().map_or(0, link_packet::PacketSocket::mtu);
                (sockets.into_iter().map(OwnedFd::from).collect(), Facts::Vnet { mtu })
            }
            Self::Packet { interface, mac } => {
                let rings = link_packet::Rings::default();
                let queues = link_packet::open_as(interface, queues, rings, Some(*mac))?;
                let mtu = queues.first().map_or(0, link_packet::PacketQueue::mtu);
                let descriptors = queues.into_iter().flat_map(link_packet::PacketQueue::into_descriptors);
                (descriptors.collect(), Facts::Packet { mac: *mac, mtu })
            }
            Self::Afxdp(steer) => {
                return steer.reopen(queues).map(|(reopened, program)| (reopened, Some(program)));
            }
        };
        Ok((Reopened { descriptors, facts }, None))
    }
}
