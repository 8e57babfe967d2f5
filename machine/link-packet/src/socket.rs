//! The sockets of one interface.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use netlink::Netlink;
use vnet::{VnetConfig, VnetQueue};

use crate::error::PacketError;
use crate::sys;

/// One socket, on its way to the thread that will use it.
#[derive(Debug)]
pub struct PacketQueue {
    fd: OwnedFd,
    mac: [u8; 6],
    mtu: u16,
}

/// One socket, in use.
pub type PacketLink = VnetQueue;

/// Opens `queues` sockets on an interface that is up. Flows are spread over them by a hash that is the same
/// both ways.
///
/// # Errors
/// There is no such interface, it is down, or we may not.
pub fn open(interface: &str, queues: u16) -> Result<Vec<PacketQueue>, PacketError> {
    let named = || interface.to_owned();
    let link = Netlink::open()?.link(interface)?.ok_or_else(|| PacketError::NoInterface { name: named() })?;
    if !link.up {
        return Err(PacketError::Down { name: named() });
    }
    if link.mac == [0; 6] {
        return Err(PacketError::NotEthernet { name: named() });
    }
    let mut mac = link.mac;
    mac[0] = (mac[0] | 0x02) & !0x01;
    mac[5] ^= 0x80;
    let mtu = u16::try_from(link.mtu).unwrap_or(u16::MAX);

    let mut group = None;
    let mut sockets = Vec::new();
    for _ in 0..queues {
        let fd = sys::socket().map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => PacketError::MayNot,
            _ => PacketError::Refused { attempt: "open a packet socket", source },
        })?;
        let refused = |attempt| move |source: io::Error| PacketError::Refused { attempt, source };
        sys::set_options(fd.as_fd()).map_err(refused("put virtio-net headers before packets"))?;
        sys::bind(fd.as_fd(), link.index).map_err(refused("bind a packet socket to the interface"))?;
        sys::receive_all(fd.as_fd(), link.index)
            .map_err(refused("deliver packets for our own hardware address"))?;
        if queues > 1 {
            group = Some(sys::join(fd.as_fd(), group).map_err(refused("spread flows over sockets"))?);
        }
        sockets.push(PacketQueue { fd, mac, mtu });
    }
    Ok(sockets)
}

impl PacketQueue {
    /// Our own hardware address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The interface's MTU when the socket was opened.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// Opens the queue in the calling thread, which keeps it. [`VnetConfig::mac`] and [`VnetConfig::mtu`] are
    /// replaced by what is so.
    ///
    /// # Errors
    /// io_uring is demanded and the kernel refuses it.
    pub fn open(self, config: VnetConfig) -> Result<PacketLink, PacketError> {
        let Self { fd, mac, mtu } = self;
        VnetQueue::open(fd, VnetConfig { mac, mtu, ..config })
            .map_err(|source| PacketError::Refused { attempt: "open a ring for the packet socket", source })
    }
}

/// The bare socket, nonblocking, for who forwards packets with their virtio-net headers as they are. Closing it ends
/// its membership of the fanout group.
impl From<PacketQueue> for OwnedFd {
    fn from(queue: PacketQueue) -> Self {
        queue.fd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_does_not_exist_is_named() {
        let error = open("no-such-link", 1).unwrap_err();
        assert_eq!(error.to_string(), "there is no interface no-such-link: `ip link` lists those there are");
    }

    #[test]
    fn the_loopback_is_no_ethernet_to_have_an_address_on() {
        let error = open("lo", 1).unwrap_err();
        assert!(matches!(error, PacketError::NotEthernet { .. } | PacketError::Down { .. }), "{error}");
    }
}
