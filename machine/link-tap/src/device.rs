//! The device, its queues, and its setting up.

use core::net::IpAddr;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use netlink::{LinkChange, Netlink};
use vnet::{HEADER_BYTES, VnetConfig, VnetQueue};

use crate::error::TapError;
use crate::sys;

const TUN: &str = "/dev/net/tun";

/// The kernel numbers these; the name of a device that nobody named.
const NAME_PATTERN: &str = "atlas%d";
/// `IFNAMSIZ` without the NUL.
const NAME_BYTES_MAX: usize = 15;

/// How the host's side of a device is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapSetup {
    /// Largest IP packet.
    pub mtu: u16,
    /// Packets that wait for us at most. The default of 1,000 drops acknowledgements under load.
    pub txqueuelen: u32,
}

impl Default for TapSetup {
    fn default() -> Self {
        Self { mtu: 1_500, txqueuelen: 20_000 }
    }
}

/// The host's side of a TAP device. It exists while one of its [`TapQueue`]s, or a link made of one, does.
#[derive(Debug)]
pub struct TapDevice {
    name: String,
    index: u32,
    kernel_mac: [u8; 6],
    netlink: Netlink,
}

impl TapDevice {
    /// Creates a device with one queue per worker, called `name`, or a new name when there is none. It is
    /// down and has no address.
    ///
    /// # Errors
    /// The machine has no TAP devices, we may not, or the name is taken.
    pub fn create(name: Option<&str>, queues: u16) -> Result<(Self, Vec<TapQueue>), TapError> {
        let wanted = name.unwrap_or(NAME_PATTERN);
        if !is_name(name.unwrap_or("atlas")) {
            return Err(TapError::BadName { name: wanted.to_owned() });
        }
        let mut netlink = Netlink::open()?;
        if netlink.link(wanted)?.is_some() {
            return Err(TapError::NameTaken { name: wanted.to_owned() });
        }
        let first = open_queue(wanted, queues)?;
        let device = first.1;
        let mut descriptors = vec![first.0];
        for _ in 1..queues {
            descriptors.push(open_queue(&device, queues)?.0);
        }
        let link = netlink.link(&device)?.ok_or_else(|| TapError::Refused {
            attempt: "keep the TAP device that it made",
            source: io::ErrorKind::NotFound.into(),
        })?;
        let device = Self { name: device, index: link.index, kernel_mac: link.mac, netlink };
        let mac = device.mac();
        Ok((device, descriptors.into_iter().map(|fd| TapQueue { fd, mac }).collect()))
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The device's number.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The hardware address of the host's side.
    #[must_use]
    pub fn kernel_mac(&self) -> [u8; 6] {
        self.kernel_mac
    }

    /// Our own hardware address: the kernel's neighbour, administered locally.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        let mut mac = self.kernel_mac;
        mac[0] = (mac[0] | 0x02) & !0x01;
        mac[5] ^= 0x01;
        mac
    }

    /// Sets the host's side up and brings it up.
    ///
    /// # Errors
    /// The kernel refuses a value, or we may not.
    pub fn bring_up(&mut self, setup: TapSetup) -> Result<(), TapError> {
        let TapSetup { mtu, txqueuelen } = setup;
        let change = LinkChange {
            up: Some(true),
            mtu: Some(mtu.into()),
            txqueuelen: Some(txqueuelen),
            ..LinkChange::default()
        };
        Ok(self.netlink.change_link(&self.name, change)?)
    }

    /// Gives the host's side an address, usable at once, and with it the route to the address's network.
    ///
    /// # Errors
    /// The host has that address on this device, or we may not.
    pub fn add_address(&mut self, address: IpAddr, prefix: u8) -> Result<(), TapError> {
        Ok(self.netlink.add_address(&self.name, address, prefix)?)
    }
}

/// One queue of a device, on its way to the thread that will use it.
#[derive(Debug)]
pub struct TapQueue {
    fd: OwnedFd,
    mac: [u8; 6],
}

/// One queue of a device, in use.
pub type TapLink = VnetQueue;

impl TapQueue {
    /// Opens the queue in the calling thread, which keeps it. [`VnetConfig::mac`] is replaced by ours.
    ///
    /// # Errors
    /// io_uring is demanded and the kernel refuses it.
    pub fn open(self, config: VnetConfig) -> Result<TapLink, TapError> {
        VnetQueue::open(self.fd, VnetConfig { mac: self.mac, ..config })
            .map_err(|source| TapError::Refused { attempt: "open a ring for the TAP queue", source })
    }
}

/// The bare descriptor, nonblocking, for who forwards packets with their virtio-net headers as they are.
impl From<TapQueue> for OwnedFd {
    fn from(queue: TapQueue) -> Self {
        queue.fd
    }
}

/// Opens one more queue of the device `name`; says what the device is called.
fn open_queue(name: &str, queues: u16) -> Result<(OwnedFd, String), TapError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(TUN)
        .map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => TapError::MayNotOpen { source },
            // No node, or a node without a driver behind it.
            _ if matches!(source.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)) => {
                TapError::NoDriver { source }
            }
            _ => TapError::Refused { attempt: "open /dev/net/tun", source },
        })?;
    let fd = OwnedFd::from(file);
    let device = sys::attach(fd.as_fd(), name).map_err(|source| match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => TapError::MayNotCreate { name: name.to_owned() },
        Some(libc::EBUSY | libc::EEXIST) => TapError::NameTaken { name: name.to_owned() },
        // Something else has its place, as in containers that hide devices behind /dev/null.
        Some(libc::ENOTTY) => TapError::NoDriver { source },
        Some(libc::E2BIG) => TapError::TooManyQueues { queues },
        _ => TapError::Refused { attempt: "create a TAP device", source },
    })?;
    sys::set_header(fd.as_fd(), HEADER_BYTES)
        .map_err(|source| TapError::Refused { attempt: "put virtio-net headers before packets", source })?;
    sys::set_offloads(fd.as_fd())
        .map_err(|source| TapError::Refused { attempt: "hand over TCP superframes", source })?;
    Ok((fd, device))
}

fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !name.starts_with('.')
}

#[cfg(test)]
mod tests;
