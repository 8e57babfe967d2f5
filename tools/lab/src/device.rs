//! The device under our own stack, and what is made for it.
//!
//! ```text
//!   tap        the kernel is at its other end                                    made, and gone afterwards
//!   packet:IF  a packet socket: sees everything that comes to the interface
//!   afxdp:IF   a program takes what is addressed to us, before the kernel's stack; one queue
//! ```

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;
use std::io;

use dma::{Pool, PoolLayout, RegionError};
use link_afxdp::{AfxdpConfig, AfxdpError, AfxdpQueue, Interface};
use link_packet::PacketError;
use link_tap::{TapDevice, TapError, TapQueue, TapSetup};
use platform::Link;
use vnet::VnetConfig;
use xdp::{AttachMode, Attachment, Scope, Socket, Steering, XdpError};

/// Packets the link may hold: a batch of answers, and requests besides.
const CAPACITY: u16 = 1_024;

/// Which device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceName {
    /// A TAP device that is made, and gone afterwards.
    Tap,
    /// A packet socket on an interface that is up.
    Packet(String),
    /// An AF_XDP socket on an interface that is up and has one queue.
    Afxdp(String),
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "")) {
            ("tap", "") => Ok(Self::Tap),
            ("packet", name) if !name.is_empty() => Ok(Self::Packet(name.to_owned())),
            ("afxdp", name) if !name.is_empty() => Ok(Self::Afxdp(name.to_owned())),
            _ => Err(format!("{text}: a device is tap, packet:INTERFACE or afxdp:INTERFACE")),
        }
    }
}

/// A device that was opened, on its way to the thread that will use it.
#[derive(Debug)]
pub enum Device {
    /// The TAP device lives as long as this does.
    Tap {
        /// The host's side.
        device: TapDevice,
        /// Ours.
        queue: TapQueue,
    },
    /// A socket on somebody's interface.
    Packet(link_packet::PacketSocket),
    /// A queue of somebody's interface, and the program before it.
    Afxdp {
        /// The socket.
        queue: AfxdpQueue,
        /// Which sockets packets go to.
        steering: Steering,
        /// The program goes when this does.
        attachment: Attachment,
    },
}

/// Why there is no device.
#[derive(Debug)]
pub enum DeviceError {
    /// No TAP device.
    Tap(TapError),
    /// No packet socket.
    Packet(PacketError),
    /// No queue.
    Queue(io::Error),
    /// No AF_XDP on the interface.
    Afxdp(AfxdpError),
    /// The kernel refuses the program or the socket.
    Xdp(XdpError),
    /// A socket takes one queue, and the interface has more.
    Queues {
        /// Its name,
        name: String,
        /// and how many.
        count: u32,
    },
    /// No memory for packets.
    Memory(RegionError),
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tap(error) => error.fmt(f),
            Self::Packet(error) => error.fmt(f),
            Self::Queue(error) => write!(f, "the TAP device has no queue: {error}"),
            Self::Afxdp(error) => error.fmt(f),
            Self::Xdp(error) => error.fmt(f),
            Self::Queues { name, count } => {
                write!(f, "{name} has {count} queues, and one is turned: ethtool -L {name} combined 1")
            }
            Self::Memory(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for DeviceError {}

impl Device {
    /// Opens it; a TAP device's host side gets `host`, in a network of this prefix, and a program takes what is for `ours`.
    ///
    /// # Errors
    /// [`DeviceError`]
    pub fn open(
        name: &DeviceName,
        (host, prefix_len): (IpAddr, u8),
        ours: &[IpAddr],
    ) -> Result<Self, DeviceError> {
        let gone = || DeviceError::Queue(io::ErrorKind::NotFound.into());
        match name {
            DeviceName::Tap => {
                let (mut device, mut queues) = TapDevice::create(None, 1).map_err(DeviceError::Tap)?;
                device.bring_up(TapSetup::default()).map_err(DeviceError::Tap)?;
                device.add_address(host, prefix_len).map_err(DeviceError::Tap)?;
                Ok(Self::Tap { device, queue: queues.pop().ok_or_else(gone)? })
            }
            DeviceName::Packet(interface) => {
                let socket = link_packet::sockets(interface, 1).map_err(DeviceError::Packet)?.pop();
                Ok(Self::Packet(socket.ok_or_else(gone)?))
            }
            DeviceName::Afxdp(name) => {
                let interface = Interface::named(name).map_err(DeviceError::Afxdp)?;
                if interface.queues != 1 {
                    return Err(DeviceError::Queues { name: name.clone(), count: interface.queues });
                }
                let steering = Steering::load(Scope::OwnAddress, 1).map_err(DeviceError::Xdp)?;
                ours.iter().try_for_each(|ip| steering.add_address(*ip)).map_err(DeviceError::Xdp)?;
                let attachment = steering
                    .attach(interface.index, AttachMode::Native)
                    .or_else(|_| steering.attach(interface.index, AttachMode::Generic))
                    .map_err(DeviceError::Xdp)?;
                let socket = Socket::create().map_err(DeviceError::Xdp)?;
                Ok(Self::Afxdp { queue: AfxdpQueue::new(socket, interface, 0), steering, attachment })
            }
        }
    }

    /// The link, in the thread that turns it.
    ///
    /// # Errors
    /// The kernel refuses a ring.
    pub fn into_port(self) -> Result<Port, DeviceError> {
        let config = VnetConfig { capacity: CAPACITY, ..VnetConfig::default() };
        let port = |link: Box<dyn Link>, keep: Keep| Port { link: AnyLink(link), _keep: keep };
        Ok(match self {
            Self::Tap { device, queue } => {
                port(Box::new(queue.open(config).map_err(DeviceError::Tap)?), Keep::Tap(device))
            }
            Self::Packet(socket) => {
                port(Box::new(socket.open(config).map_err(DeviceError::Packet)?), Keep::Nothing)
            }
            Self::Afxdp { queue, steering, attachment } => {
                let config = AfxdpConfig::default();
                let layout = PoolLayout { large_count: 1, small_count: 1 };
                let pool = Pool::with_chunks(layout, config.chunk_count()).map_err(DeviceError::Memory)?;
                let link = queue.open(&pool, config).map_err(DeviceError::Xdp)?;
                let socket =
                    link.descriptor().ok_or_else(|| DeviceError::Queue(io::ErrorKind::NotFound.into()))?;
                steering.insert(0, socket).map_err(DeviceError::Xdp)?;
                port(Box::new(link), Keep::Program(steering, attachment))
            }
        })
    }
}

/// A link, and what must live as long.
#[derive(Debug)]
pub struct Port {
    link: AnyLink,
    _keep: Keep,
}

struct AnyLink(Box<dyn Link>);

impl fmt::Debug for AnyLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.capabilities())
    }
}

/// What ends with a port.
#[derive(Debug)]
#[expect(dead_code, reason = "held, and never looked at")]
enum Keep {
    Nothing,
    Tap(TapDevice),
    Program(Steering, Attachment),
}

impl Port {
    /// Over a link that needs nothing kept.
    #[cfg(test)]
    pub(crate) fn over(link: impl Link + 'static) -> Self {
        Self { link: AnyLink(Box::new(link)), _keep: Keep::Nothing }
    }

    pub(crate) fn link(&self) -> &dyn Link {
        &*self.link.0
    }

    pub(crate) fn link_mut(&mut self) -> &mut dyn Link {
        &mut *self.link.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_as_elsewhere() {
        assert_eq!("tap".parse(), Ok(DeviceName::Tap));
        assert_eq!("packet:veth0".parse(), Ok(DeviceName::Packet("veth0".to_owned())));
        assert_eq!("afxdp:veth0".parse(), Ok(DeviceName::Afxdp("veth0".to_owned())));
        assert!("packet:".parse::<DeviceName>().is_err() && "eth0".parse::<DeviceName>().is_err());
    }
}
