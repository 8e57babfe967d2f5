//! The two devices, as descriptors that deliver and take frames behind virtio-net headers.

use core::fmt;
use core::str::FromStr;
use link_tap::{TapDevice, TapSetup};
use rustix::net::sockopt::{set_socket_send_buffer_size, set_socket_send_buffer_size_force};
use std::os::fd::OwnedFd;
use vnet::{RawKind, RawQueue};

use crate::error::ProgramError;

/// Room for a few hundred superframes on their way: with the kernel's default, three of them fill a socket.
const SEND_BYTES: usize = 16 << 20;

/// A device as the operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeviceName {
    /// An interface that exists, through packet sockets.
    Packet(String),
    /// A TAP device that we make and that goes with us.
    Tap(String),
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (make, name): (fn(String) -> Self, _) = match text.split_once(':') {
            None => (Self::Packet, text),
            Some(("packet", name)) => (Self::Packet, name),
            Some(("tap", name)) => (Self::Tap, name),
            Some((kind, _)) => return Err(format!("'{kind}' is no kind of device: packet:NAME or tap:NAME")),
        };
        if name.is_empty() { Err("a device has a name".to_owned()) } else { Ok(make(name.to_owned())) }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet(name) => f.write_str(name),
            Self::Tap(name) => write!(f, "tap:{name}"),
        }
    }
}

/// One queue of a device, on its way to its worker.
#[derive(Debug)]
pub(crate) struct Queue {
    /// What the device is called.
    pub(crate) name: String,
    fd: OwnedFd,
    kind: RawKind,
}

impl Queue {
    /// Opens the queue in the calling thread, which keeps it.
    pub(crate) fn open(self) -> Result<RawQueue, ProgramError> {
        let Self { name, fd, kind } = self;
        RawQueue::open(fd, kind).map_err(|source| ProgramError::Queue { name, source })
    }
}

/// The queues of a device, one per worker. A flow stays on one of them.
#[derive(Debug)]
pub(crate) struct Queues;

impl Queues {
    /// Opens a device. An interface must be up; a TAP device is made, and brought up.
    pub(crate) fn open(device: &DeviceName, count: u16) -> Result<Vec<Queue>, ProgramError> {
        let (name, kind, descriptors): (_, _, Vec<OwnedFd>) = match device {
            DeviceName::Packet(name) => {
                let sockets = link_packet::sockets(name, count)?;
                (name, RawKind::Socket, sockets.into_iter().map(OwnedFd::from).inspect(make_room).collect())
            }
            DeviceName::Tap(name) => {
                let (mut tap, queues) = TapDevice::create(Some(name), count)?;
                tap.bring_up(TapSetup::default())?;
                (name, RawKind::Tap, queues.into_iter().map(OwnedFd::from).collect())
            }
        };
        Ok(descriptors.into_iter().map(|fd| Queue { name: name.clone(), fd, kind }).collect())
    }
}

/// Beyond the operator's limit where we may, up to it where we may not. Less room costs a wait.
fn make_room(socket: &OwnedFd) {
    if set_socket_send_buffer_size_force(socket, SEND_BYTES).is_err() {
        let _ = set_socket_send_buffer_size(socket, SEND_BYTES);
    }
}
