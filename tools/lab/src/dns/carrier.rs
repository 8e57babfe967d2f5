//! What carries datagrams to the server and back: the kernel's sockets, or frames on a link of our own.

use clock::Instant;
use core::fmt::Debug;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, BorrowedFd};

use super::sys::Batch;

/// The longest answer over UDP that anybody sends.
const ANSWER_BYTES_MAX: usize = 4_096;

/// Several ways to one server, each from a port of its own.
pub(super) trait Carrier: Debug {
    /// How many ways there are.
    fn ways(&self) -> usize;

    /// Sends the first `count` of a batch on a way; how many went.
    fn send(&mut self, way: usize, batch: &mut Batch, count: usize) -> Result<usize, Errno>;

    /// Hands over what came, and on which way; whether anything did.
    fn receive(&mut self, now: Instant, deliver: &mut dyn FnMut(usize, &[u8])) -> Result<bool, Errno>;

    /// Waits until something comes, there or on `other`.
    fn wait(&self, duration: Duration, other: Option<BorrowedFd<'_>>) -> Result<(), Errno>;
}

/// Connected sockets of the kernel's.
#[derive(Debug)]
pub(super) struct Sockets {
    sockets: Vec<UdpSocket>,
    back: Batch,
}

impl Sockets {
    /// So many, from these addresses in turn.
    pub(super) fn open(server: SocketAddr, sources: &[IpAddr]) -> io::Result<Self> {
        let any =
            if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
        let sockets = sources
            .iter()
            .map(|ip| {
                let socket = UdpSocket::bind((if ip.is_unspecified() { any } else { *ip }, 0))?;
                socket.connect(server)?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
            .collect::<io::Result<Vec<UdpSocket>>>()?;
        Ok(Self { sockets, back: Batch::new(ANSWER_BYTES_MAX) })
    }
}

impl Carrier for Sockets {
    fn ways(&self) -> usize {
        self.sockets.len()
    }

    fn send(&mut self, way: usize, batch: &mut Batch, count: usize) -> Result<usize, Errno> {
        batch.send(self.sockets[way].as_fd(), count)
    }

    fn receive(&mut self, _: Instant, deliver: &mut dyn FnMut(usize, &[u8])) -> Result<bool, Errno> {
        let (mut any, mut failed) = (false, None);
        for (way, socket) in self.sockets.iter().enumerate() {
            match self.back.receive(socket.as_fd()) {
                Ok(count) => {
                    any |= count > 0;
                    (0..count).for_each(|index| deliver(way, self.back.message(index)));
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => failed = Some(errno),
            }
        }
        failed.map_or(Ok(any), Err)
    }

    fn wait(&self, duration: Duration, other: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        wait_for(self.sockets.iter().map(|socket| socket.as_fd()).chain(other), duration)
    }
}

/// Until one of them is readable, or the time is over.
pub(super) fn wait_for<'a>(
    descriptors: impl Iterator<Item = BorrowedFd<'a>>,
    duration: Duration,
) -> Result<(), Errno> {
    let mut all: Vec<PollFd<'_>> =
        descriptors.map(|descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN)).collect();
    let timeout = Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    };
    match poll(&mut all, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno),
    }
}
