//! One link, whichever it is: the engine is compiled once, and one kind may take the place of another while it runs.

use platform::{Full, Headers, Link, LinkCapabilities, LinkCounters, Offload, Packet, Received};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use crate::network::Facts;

/// A link of this machine.
///
/// Every method of [`Link`] is handed on here, those with a default too: a new one that is forgotten would do nothing.
#[derive(Debug)]
pub enum HostLink {
    /// A TAP device's queue, or a packet socket without rings: packets behind virtio-net headers.
    Vnet(vnet::VnetQueue),
    /// A packet socket's rings.
    Packet(link_packet::PacketLink),
    /// An AF_XDP socket.
    Afxdp(link_afxdp::AfxdpLink),
}

/// What every arm says alike.
macro_rules! each {
    ($link:expr, $it:ident => $what:expr) => {
        match $link {
            HostLink::Vnet($it) => $what,
            HostLink::Packet($it) => $what,
            HostLink::Afxdp($it) => $what,
        }
    };
}

impl Link for HostLink {
    fn capabilities(&self) -> LinkCapabilities {
        each!(self, link => link.capabilities())
    }

    fn receive(&mut self) -> Option<Received<'_>> {
        each!(self, link => link.receive())
    }

    fn stage(&mut self, packet: &mut Packet) -> Result<(), Full<()>> {
        each!(self, link => link.stage(packet))
    }

    fn stage_bytes(&mut self, bytes: &[u8]) -> Result<(), Full<()>> {
        each!(self, link => link.stage_bytes(bytes))
    }

    fn room(&mut self) -> Option<&mut [u8]> {
        each!(self, link => link.room())
    }

    fn stage_room(&mut self, bytes: usize, offload: Offload) {
        each!(self, link => link.stage_room(bytes, offload));
    }

    fn slot(&mut self) -> Option<&mut [u8]> {
        each!(self, link => link.slot())
    }

    fn stage_slot(&mut self, headers: &Headers, payload_bytes: usize, offload: Offload) {
        each!(self, link => link.stage_slot(headers, payload_bytes, offload));
    }

    fn flush(&mut self) {
        each!(self, link => link.flush());
    }

    fn reclaim(&mut self) -> usize {
        each!(self, link => link.reclaim())
    }

    fn in_flight(&self) -> usize {
        each!(self, link => link.in_flight())
    }

    fn counters(&self) -> LinkCounters {
        each!(self, link => link.counters())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        each!(self, link => link.descriptor())
    }

    fn is_lost(&self) -> bool {
        each!(self, link => link.is_lost())
    }
}

/// A link with the machine's somewhere behind it.
pub trait Front: Link {
    /// The machine's.
    fn host_mut(&mut self) -> &mut HostLink;

    /// How many packets it has dealt with itself: the engine did not see them, and they are work all the same.
    fn taken(&self) -> u64 {
        0
    }
}

impl Front for HostLink {
    fn host_mut(&mut self) -> &mut HostLink {
        self
    }
}

impl HostLink {
    /// Goes on with other descriptors, of a device that has come back, as [`Device`](crate::Device) gives them to one worker.
    /// Needs no privilege and makes no ring of io_uring's.
    ///
    /// # Errors
    /// They are not what this link is made of, or the kernel maps no rings; the link is then as lost as it was.
    pub(crate) fn reopen(&mut self, descriptors: Vec<OwnedFd>, facts: Facts) -> io::Result<()> {
        let wrong = || io::Error::other("it is made of something else");
        match (self, facts) {
            (Self::Vnet(link), Facts::Vnet { mtu }) => {
                let [descriptor] = descriptors.try_into().map_err(|_| wrong())?;
                link.reopen(descriptor, mtu)
            }
            (Self::Packet(link), Facts::Packet { mac, mtu }) => {
                let descriptors = descriptors.try_into().map_err(|_| wrong())?;
                link.reopen(descriptors, mac, mtu).map_err(io::Error::other)
            }
            (Self::Afxdp(link), Facts::Afxdp(interface)) => {
                let [descriptor] = descriptors.try_into().map_err(|_| wrong())?;
                link.reopen(descriptor, interface).map_err(io::Error::other)
            }
            _ => Err(wrong()),
        }
    }

    /// The device takes packets of so many bytes from now on. Returns what the link takes, which may be less.
    pub(crate) fn set_mtu(&mut self, mtu: u16) -> u16 {
        match self {
            Self::Vnet(_) => mtu,
            Self::Packet(link) => link.set_mtu(mtu),
            Self::Afxdp(link) => link.set_mtu(mtu),
        }
    }

    /// How packets go to the kernel, for people.
    #[must_use]
    pub fn manner(&self) -> String {
        match self {
            Self::Vnet(link) => match link.submission() {
                vnet::Submission::Uring => "in batches through io_uring".to_owned(),
                _ => "one system call each".to_owned(),
            },
            Self::Afxdp(link) => link.facts().to_string(),
            Self::Packet(link) => link.facts().to_string(),
        }
    }
}
