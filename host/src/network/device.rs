//! What a link is made of, as far as it may have to be made or opened again while the server runs.

use core::net::IpAddr;
use link_tap::{TapDevice, TapSetup};
use netlink::{LinkChange, Netlink};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;

use super::NetworkError;

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
    /// The same, past its kernel's stack. It is not opened again: a program would have to be attached to the interface
    /// and its sockets bound, which takes the rights that no worker has any more and memory that only a worker has.
    Afxdp {
        /// Its name.
        interface: String,
    },
}

/// A link that was opened again.
#[derive(Debug)]
pub struct Reopened {
    /// As many for each worker, one worker's after the other's.
    pub descriptors: Vec<OwnedFd>,
    /// Its MTU.
    pub mtu: u16,
}

impl Device {
    /// What the kernel calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Tap { name, .. } => name,
            Self::Socket { interface } | Self::Packet { interface, .. } | Self::Afxdp { interface } => {
                interface
            }
        }
    }

    /// Nobody but us makes it.
    pub(crate) const fn is_ours(&self) -> bool {
        matches!(self, Self::Tap { .. })
    }

    /// It can be opened again.
    pub(crate) const fn comes_back(&self) -> bool {
        !matches!(self, Self::Afxdp { .. })
    }

    /// Makes or opens it again, with so many queues.
    pub(crate) fn reopen(&self, queues: u16) -> Result<Reopened, NetworkError> {
        match self {
            Self::Tap { name, kernel_mac, kernel } => {
                let setup = TapSetup::default();
                let (mut device, queues) = TapDevice::create(Some(name), queues)?;
                let mac = LinkChange { mac: Some(*kernel_mac), ..LinkChange::default() };
                Netlink::open()?.change_link(name, mac)?;
                device.bring_up(setup)?;
                for (address, prefix) in kernel {
                    device.add_address(*address, *prefix)?;
                }
                Ok(Reopened { descriptors: queues.into_iter().map(OwnedFd::from).collect(), mtu: setup.mtu })
            }
            Self::Socket { interface } => {
                let sockets = link_packet::sockets(interface, queues)?;
                let mtu = sockets.first().map_or(0, link_packet::PacketSocket::mtu);
                Ok(Reopened { descriptors: sockets.into_iter().map(OwnedFd::from).collect(), mtu })
            }
            Self::Packet { interface, mac } => {
                let rings = link_packet::Rings::default();
                let queues = link_packet::open_as(interface, queues, rings, Some(*mac))?;
                let mtu = queues.first().map_or(0, link_packet::PacketQueue::mtu);
                let descriptors = queues.into_iter().flat_map(link_packet::PacketQueue::into_descriptors);
                Ok(Reopened { descriptors: descriptors.collect(), mtu })
            }
            Self::Afxdp { interface } => Err(NetworkError::Choice(format!(
                "AF_XDP on {interface} is not opened again: restart the server"
            ))),
        }
    }
}
