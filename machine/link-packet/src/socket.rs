//! The bare sockets of one interface: for who forwards packets as they are, or would rather copy than map rings.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netlink::{Generic, Netlink};
use vnet::{VnetConfig, VnetQueue};

use crate::error::PacketError;
use crate::sys;

/// An interface that carries Ethernet, and is up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interface {
    pub(crate) index: u32,
    pub(crate) mac: [u8; 6],
    pub(crate) mtu: u16,
    /// The device cuts superframes and computes checksums, or nobody knows.
    pub(crate) offloads: bool,
}

impl Interface {
    pub(crate) fn find(name: &str) -> Result<Self, PacketError> {
        let named = || name.to_owned();
        let link = Netlink::open()?.link(name)?.ok_or_else(|| PacketError::NoInterface { name: named() })?;
        if !link.up {
            return Err(PacketError::Down { name: named() });
        }
        if link.mac == [0; 6] {
            return Err(PacketError::NotEthernet { name: named() });
        }
        let offloads = Generic::open()?.offloads(link.index)?;
        Ok(Self {
            index: link.index,
            mac: link.mac,
            mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
            offloads: offloads.is_none_or(|device| device.tso && device.tso6 && device.tx_checksum),
        })
    }

    /// The hardware address that we have beside the interface's own.
    pub(crate) fn own_mac(&self) -> [u8; 6] {
        let mut mac = self.mac;
        mac[0] = (mac[0] | 0x02) & !0x01;
        mac[5] ^= 0x80;
        mac
    }

    /// Receives on `socket` what is sent to any hardware address.
    pub(crate) fn listen(&self, socket: BorrowedFd<'_>) -> Result<(), PacketError> {
        sys::bind(socket, self.index).map_err(refused("bind a packet socket to the interface"))?;
        sys::receive_all(socket, self.index).map_err(refused("deliver packets for our own hardware address"))
    }
}

/// A socket that receives nothing before it is bound.
pub(crate) fn socket() -> Result<OwnedFd, PacketError> {
    sys::socket().map_err(|source| match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => PacketError::MayNot,
        _ => PacketError::Refused { attempt: "open a packet socket", source },
    })
}

pub(crate) fn refused(attempt: &'static str) -> impl Fn(io::Error) -> PacketError {
    move |source| PacketError::Refused { attempt, source }
}

/// One socket without rings, on its way to the thread that will use it.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    mac: [u8; 6],
    mtu: u16,
}

/// Opens `count` bare sockets on an interface that is up. Flows are spread over them by a hash that is the same both
/// ways.
///
/// # Errors
/// There is no such interface, it is down, or we may not.
pub fn sockets(interface: &str, count: u16) -> Result<Vec<PacketSocket>, PacketError> {
    let interface = Interface::find(interface)?;
    let mut group = None;
    let mut sockets = Vec::new();
    for _ in 0..count {
        let fd = socket()?;
        sys::set_options(fd.as_fd()).map_err(refused("put virtio-net headers before packets"))?;
        interface.listen(fd.as_fd())?;
        if count > 1 {
            group = Some(sys::join(fd.as_fd(), group).map_err(refused("spread flows over sockets"))?);
        }
        sockets.push(PacketSocket { fd, mac: interface.own_mac(), mtu: interface.mtu });
    }
    Ok(sockets)
}

impl PacketSocket {
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

    /// A link that copies, for the calling thread. [`VnetConfig::mac`] and [`VnetConfig::mtu`] are replaced by what is
    /// so.
    ///
    /// # Errors
    /// io_uring is demanded and the kernel refuses it.
    pub fn open(self, config: VnetConfig) -> Result<VnetQueue, PacketError> {
        let Self { fd, mac, mtu } = self;
        VnetQueue::open(fd, VnetConfig { mac, mtu, ..config })
            .map_err(|source| PacketError::Refused { attempt: "open a ring for the packet socket", source })
    }
}

/// The bare socket, nonblocking, for who forwards packets with their virtio-net headers as they are. Closing it ends
/// its membership of the fanout group.
impl From<PacketSocket> for OwnedFd {
    fn from(socket: PacketSocket) -> Self {
        socket.fd
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open;

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
