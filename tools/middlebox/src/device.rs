//! The two devices, as descriptors that deliver and take frames behind virtio-net headers.

use arrayvec::ArrayVec;
use core::fmt;
use core::str::FromStr;
use link_tap::{TapDevice, TapSetup};
use rustix::net::sockopt::{set_socket_send_buffer_size, set_socket_send_buffer_size_force};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use vnet::{Arrival, RAW_BATCH_MAX, RawKind, RawQueue, Sent};

use crate::afxdp::{self, AfxdpPort, AfxdpQueue, Diverted};
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
    /// An interface that exists, through AF_XDP.
    Xdp(String),
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (make, name): (fn(String) -> Self, _) = match text.split_once(':') {
            None => (Self::Packet, text),
            Some(("packet", name)) => (Self::Packet, name),
            Some(("tap", name)) => (Self::Tap, name),
            Some(("xdp", name)) => (Self::Xdp, name),
            Some((kind, _)) => {
                return Err(format!("'{kind}' is no kind of device: packet:NAME, tap:NAME or xdp:NAME"));
            }
        };
        if name.is_empty() { Err("a device has a name".to_owned()) } else { Ok(make(name.to_owned())) }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packet(name) => f.write_str(name),
            Self::Tap(name) => write!(f, "tap:{name}"),
            Self::Xdp(name) => write!(f, "xdp:{name}"),
        }
    }
}

/// One queue of a device, on its way to its worker.
#[derive(Debug)]
pub(crate) struct Queue {
    /// What the device is called.
    pub(crate) name: String,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Raw(OwnedFd, RawKind),
    Xdp(AfxdpQueue),
}

impl Queue {
    /// Opens the queue in the calling thread, which keeps it.
    pub(crate) fn open(self) -> Result<OpenQueue, ProgramError> {
        let Self { name, way } = self;
        match way {
            Way::Raw(fd, kind) => RawQueue::open(fd, kind)
                .map(OpenQueue::Raw)
                .map_err(|source| ProgramError::Queue { name, source }),
            Way::Xdp(queue) => queue.open().map(|port| OpenQueue::Xdp(Box::new(port))),
        }
    }
}

/// One queue of a device, in use: frames behind virtio-net headers, many per call.
#[derive(Debug)]
pub(crate) enum OpenQueue {
    /// A packet socket or a TAP queue.
    Raw(RawQueue),
    /// An AF_XDP socket.
    Xdp(Box<AfxdpPort>),
}

impl OpenQueue {
    /// As [`RawQueue::receive`].
    pub(crate) fn receive<'a>(
        &mut self,
        rooms: impl Iterator<Item = [&'a mut [u8]; 2]>,
    ) -> io::Result<ArrayVec<Arrival, RAW_BATCH_MAX>> {
        match self {
            Self::Raw(queue) => queue.receive(rooms),
            Self::Xdp(port) => port.receive(rooms),
        }
    }

    /// As [`RawQueue::send`].
    pub(crate) fn send<'a>(&mut self, frames: impl Iterator<Item = &'a [u8]>) -> Sent {
        match self {
            Self::Raw(queue) => queue.send(frames),
            Self::Xdp(port) => port.send(frames),
        }
    }

    /// Frames dropped since the last call because we did not receive quickly enough.
    pub(crate) fn missed(&mut self) -> u64 {
        match self {
            Self::Raw(queue) => queue.missed(),
            Self::Xdp(port) => port.missed(),
        }
    }

    /// Something was sent that has not left yet.
    pub(crate) fn is_pending(&self) -> bool {
        match self {
            Self::Raw(_) => false,
            Self::Xdp(port) => port.is_pending(),
        }
    }

    /// Readable when a frame has arrived, writable when there is room for one.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Raw(queue) => queue.descriptor(),
            Self::Xdp(port) => port.descriptor(),
        }
    }
}

/// A device, open: its queues, one per worker, and what must stay while they are in use. A flow stays on one of them.
#[derive(Debug)]
pub(crate) struct Device {
    /// One per worker.
    pub(crate) queues: Vec<Queue>,
    /// Its packets are the kernel's again when this goes.
    _diverted: Option<Diverted>,
}

impl Device {
    /// Opens a device. An interface must be up; a TAP device is made, and brought up.
    pub(crate) fn open(device: &DeviceName, count: u16) -> Result<Self, ProgramError> {
        let raw = |kind| move |fd| Way::Raw(fd, kind);
        let (name, ways, diverted): (_, Vec<Way>, _) = match device {
            DeviceName::Packet(name) => {
                let sockets = link_packet::sockets(name, count)?.into_iter().map(OwnedFd::from);
                (name, sockets.inspect(make_room).map(raw(RawKind::Socket)).collect(), None)
            }
            DeviceName::Tap(name) => {
                let (mut tap, queues) = TapDevice::create(Some(name), count)?;
                tap.bring_up(TapSetup::default())?;
                (name, queues.into_iter().map(OwnedFd::from).map(raw(RawKind::Tap)).collect(), None)
            }
            DeviceName::Xdp(name) => {
                let (diverted, queues) = afxdp::divert(name, count)?;
                (name, queues.into_iter().map(Way::Xdp).collect(), Some(diverted))
            }
        };
        Ok(Self {
            queues: ways.into_iter().map(|way| Queue { name: name.clone(), way }).collect(),
            _diverted: diverted,
        })
    }
}

/// Beyond the operator's limit where we may, up to it where we may not. Less room costs a wait.
fn make_room(socket: &OwnedFd) {
    if set_socket_send_buffer_size_force(socket, SEND_BYTES).is_err() {
        let _ = set_socket_send_buffer_size(socket, SEND_BYTES);
    }
}
