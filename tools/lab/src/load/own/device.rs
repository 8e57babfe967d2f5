//! The device under our own stack, and what is made for it.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;
use std::io;

use link_packet::PacketError;
use link_tap::{TapDevice, TapError, TapQueue, TapSetup};
use platform::Link;
use vnet::{VnetConfig, VnetQueue};

/// Packets the link may hold: a batch of answers, and requests besides.
const CAPACITY: u16 = 1_024;

/// Which device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceName {
    /// A TAP device that is made, and gone afterwards.
    Tap,
    /// A packet socket on an interface that is up.
    Packet(String),
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':').unwrap_or((text, "")) {
            ("tap", "") => Ok(Self::Tap),
            ("packet", name) if !name.is_empty() => Ok(Self::Packet(name.to_owned())),
            _ => Err(format!("{text}: a device is tap or packet:INTERFACE")),
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
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tap(error) => error.fmt(f),
            Self::Packet(error) => error.fmt(f),
            Self::Queue(error) => write!(f, "the TAP device has no queue: {error}"),
        }
    }
}

impl core::error::Error for DeviceError {}

impl Device {
    /// Opens it; a TAP device's host side gets `host`, in a network of this prefix.
    ///
    /// # Errors
    /// [`DeviceError`]
    pub fn open(name: &DeviceName, (host, prefix_len): (IpAddr, u8)) -> Result<Self, DeviceError> {
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
        }
    }

    /// The link, in the thread that turns it.
    ///
    /// # Errors
    /// The kernel refuses a ring.
    pub fn into_port(self) -> Result<Port, DeviceError> {
        let config = VnetConfig { capacity: CAPACITY, ..VnetConfig::default() };
        Ok(match self {
            Self::Tap { device, queue } => {
                Port { link: queue.open(config).map_err(DeviceError::Tap)?, _device: Some(device) }
            }
            Self::Packet(socket) => {
                Port { link: socket.open(config).map_err(DeviceError::Packet)?, _device: None }
            }
        })
    }
}

/// A link, and what must live as long.
#[derive(Debug)]
pub struct Port {
    link: VnetQueue,
    _device: Option<TapDevice>,
}

impl Port {
    pub(super) fn link(&self) -> &impl Link {
        &self.link
    }

    pub(super) fn link_mut(&mut self) -> &mut impl Link {
        &mut self.link
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_as_elsewhere() {
        assert_eq!("tap".parse(), Ok(DeviceName::Tap));
        assert_eq!("packet:veth0".parse(), Ok(DeviceName::Packet("veth0".to_owned())));
        assert!("packet:".parse::<DeviceName>().is_err() && "eth0".parse::<DeviceName>().is_err());
    }
}
