//! Queues of an interface through AF_XDP: every frame that arrives on them is ours, before the kernel's stack.
//!
//! ```text
//!   RX ring of queue 0 ──▶ piece in a chunk ──copy──▶ room         frame ──copy──▶ chunk ──▶ TX ring of queue 0
//!   RX ring of queue 2 ──▶ …
//! ```
//!
//! An interface spreads flows over its queues, and each must have a socket, or its packets would be the kernel's. The
//! worker with number *w* of *n* has the queues *w*, *w + n*, …, and sends through the first of them.
//!
//! There are no superframes: what came from a packet socket or a TAP device and is one, or lacks its checksum, is cut
//! and finished before it leaves.

use arrayvec::ArrayVec;
use dma::{CHUNK_BYTES, Frame, Pool, PoolLayout};
use link_afxdp::{AfxdpError, Interface};
use rustix::event::epoll;
use rustix::io::Errno;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use vnet::{Arrival, HEADER_BYTES, RAW_BATCH_MAX, Sent};
use xdp::{
    AttachMode, Attachment, Descriptor, Piece, Scope, Socket, SocketConfig, SocketState, Steering, XdpError,
};

use crate::error::ProgramError;

/// Chunks that the kernel receives into, and that may be on their way out: two milliseconds of a million a second.
const RECEIVE_CHUNKS: u32 = 2_048;
const SEND_CHUNKS: u32 = 2_048;
/// An Ethernet header with two VLAN tags.
const ETHERNET_BYTES_MAX: u32 = 22;
/// Times that nothing came, between two looks whether the interface is still there.
const LOOK_AFTER: u32 = 16;

/// An interface whose packets are all ours, for as long as this is there.
#[derive(Debug)]
pub(crate) struct Diverted {
    _attachment: Attachment,
    /// Has the interface listen to every hardware address.
    _promiscuous: Vec<OwnedFd>,
}

/// The queues of a worker, on their way to it.
#[derive(Debug)]
pub(crate) struct AfxdpQueue {
    interface: Interface,
    numbers: Vec<u32>,
    steering: Arc<Steering>,
}

/// Puts the program before an interface's stack, and divides its queues between workers.
pub(crate) fn divert(name: &str, workers: u16) -> Result<(Diverted, Vec<AfxdpQueue>), ProgramError> {
    let interface = Interface::named(name)?;
    let count = u32::from(workers);
    if interface.queues < count {
        return Err(ProgramError::Queues { name: name.to_owned(), queues: interface.queues, workers });
    }
    let steering = Arc::new(Steering::load(Scope::Everything, interface.queues).map_err(AfxdpError::from)?);
    let attachment = match steering.attach(interface.index, AttachMode::Native) {
        Err(XdpError::Unsupported { .. }) => steering.attach(interface.index, AttachMode::Generic),
        attached => attached,
    };
    let diverted = Diverted {
        _attachment: attachment.map_err(AfxdpError::from)?,
        _promiscuous: link_packet::sockets(name, 1)?.into_iter().map(OwnedFd::from).collect(),
    };
    let queues = (0..count).map(|worker| AfxdpQueue {
        interface,
        numbers: (worker..interface.queues).step_by(workers.into()).collect(),
        steering: Arc::clone(&steering),
    });
    Ok((diverted, queues.collect()))
}

impl AfxdpQueue {
    /// Opens the sockets in the calling thread, which keeps them, and has the queues' packets sent to them.
    pub(crate) fn open(self) -> Result<AfxdpPort, ProgramError> {
        let Self { interface, numbers, steering } = self;
        let readable = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(ProgramError::Wait)?;
        let mut sockets = Vec::new();
        for number in numbers {
            let tx_slots = if sockets.is_empty() { SEND_CHUNKS } else { 0 };
            let layout = PoolLayout { large_count: 0, small_count: 0 };
            let pool = Pool::with_chunks(layout, RECEIVE_CHUNKS + tx_slots).map_err(ProgramError::Memory)?;
            let config = SocketConfig {
                rx_slots: RECEIVE_CHUNKS,
                tx_slots,
                receive_chunks: RECEIVE_CHUNKS,
                packet_bytes_max: u32::from(interface.mtu) + ETHERNET_BYTES_MAX,
                ..SocketConfig::default()
            };
            let fd = Socket::create().map_err(AfxdpError::from)?;
            let socket = match Socket::open(fd, interface.index, number, &pool, config) {
                // Of the queues that an interface was made with, the later ones may be out of use.
                Err(XdpError::NoQueue { .. }) if !sockets.is_empty() => break,
                opened => opened.map_err(AfxdpError::from)?,
            };
            steering.insert(number, socket.as_fd()).map_err(AfxdpError::from)?;
            let data = epoll::EventData::new_u64(number.into());
            epoll::add(&readable, socket.as_fd(), data, epoll::EventFlags::IN).map_err(ProgramError::Wait)?;
            sockets.push(socket);
        }
        Ok(AfxdpPort { sockets, next: 0, readable, outgoing: VecDeque::new(), silent: 0, missed: 0 })
    }
}

/// The queues of a worker, in use.
#[derive(Debug)]
pub(crate) struct AfxdpPort {
    /// The first one sends.
    sockets: Vec<Socket>,
    /// The one to receive from first the next time.
    next: usize,
    readable: OwnedFd,
    /// Chunks that are staged, oldest first.
    outgoing: VecDeque<Frame>,
    /// How often nothing came.
    silent: u32,
    /// Frames dropped so far.
    missed: u64,
}

impl AfxdpPort {
    /// As [`vnet::RawQueue::receive`].
    pub(crate) fn receive<'a>(
        &mut self,
        rooms: impl Iterator<Item = [&'a mut [u8]; 2]>,
    ) -> io::Result<ArrayVec<Arrival, RAW_BATCH_MAX>> {
        self.flush();
        let mut arrivals = ArrayVec::new();
        let mut rooms = rooms.take(RAW_BATCH_MAX).enumerate().peekable();
        for _ in 0..self.sockets.len() {
            let socket = &mut self.sockets[self.next];
            while rooms.peek().is_some() {
                let Some(piece) = socket.receive() else { break };
                let Some((index, [room, _])) = rooms.next() else { break };
                let (len, truncated) = gather(socket, piece, room);
                arrivals.push(Arrival { room: index, len, tag: None, truncated });
            }
            self.next = (self.next + 1) % self.sockets.len();
        }
        if arrivals.is_empty() {
            self.silent += 1;
            if self.silent.is_multiple_of(LOOK_AFTER) && self.sockets[0].check() != SocketState::Up {
                return Err(Errno::NETDOWN.into());
            }
        }
        Ok(arrivals)
    }

    /// As [`vnet::RawQueue::send`].
    pub(crate) fn send<'a>(&mut self, frames: impl Iterator<Item = &'a [u8]>) -> Sent {
        let mut sent = Sent::default();
        for frame in frames {
            let result = match frame.split_first_chunk() {
                Some((header, ethernet)) if *header == [0; HEADER_BYTES] => self.stage(&[ethernet]),
                _ => self.stage_finished(frame),
            };
            match result {
                Ok(true) => sent.done += 1,
                Ok(false) => break,
                Err(refusal) => {
                    sent.done += 1;
                    sent.refused += 1;
                    sent.refusal = Some(refusal);
                }
            }
        }
        self.flush();
        sent
    }

    /// Frames dropped since the last call because we did not receive quickly enough.
    pub(crate) fn missed(&mut self) -> u64 {
        let counted = self.sockets.iter().map(Socket::kernel_counters);
        let total = counted.map(|counters| counters.rx_dropped + counters.rx_ring_full).sum();
        total - core::mem::replace(&mut self.missed, total)
    }

    /// Something has not left yet, and needs another [`receive`](Self::receive) or [`send`](Self::send) to.
    pub(crate) fn is_pending(&self) -> bool {
        !self.outgoing.is_empty()
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }

    /// Stages what the device will not finish by itself.
    fn stage_finished(&mut self, frame: &[u8]) -> Result<bool, Errno> {
        let mut packets: Vec<Vec<u8>> = Vec::new();
        let finished = middlebox::finish(frame, |packet| packets.push(packet.to_vec()));
        let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        finished.map_err(|_| Errno::INVAL).and_then(|()| self.stage(&packets))
    }

    /// Stages all of some packets, or none; `false` when there is no room now.
    fn stage(&mut self, packets: &[&[u8]]) -> Result<bool, Errno> {
        let socket = &mut self.sockets[0];
        let pieces: usize = packets.iter().map(|packet| packet.len().div_ceil(CHUNK_BYTES)).sum();
        if packets.iter().any(|packet| packet.is_empty())
            || pieces > packets.len() && !socket.facts().multi_buffer
        {
            return Err(Errno::MSGSIZE);
        }
        if pieces > room(socket) {
            self.flush();
            if pieces > room(&self.sockets[0]) {
                return Ok(false);
            }
        }
        let socket = &mut self.sockets[0];
        for packet in packets {
            let count = packet.len().div_ceil(CHUNK_BYTES);
            for (index, piece) in packet.chunks(CHUNK_BYTES).enumerate() {
                let mut chunk = socket.pool().acquire_chunk().expect("they were counted");
                chunk.bytes_mut()[..piece.len()].copy_from_slice(piece);
                let staged = socket.stage(Descriptor {
                    addr: socket.pool().offset_of(chunk.bytes()).expect("a chunk of this pool's"),
                    len: u32::try_from(piece.len()).expect("a chunk is short"),
                    options: if index + 1 < count { Descriptor::CONTINUES } else { 0 },
                });
                debug_assert!(staged, "there was room");
                self.outgoing.push_back(chunk);
            }
        }
        Ok(true)
    }

    /// One doorbell, and what has left comes back.
    fn flush(&mut self) {
        if self.outgoing.is_empty() {
            return;
        }
        self.sockets[0].flush();
        let returned = usize::try_from(self.sockets[0].reclaim()).expect("a ring is shorter");
        self.outgoing.drain(..returned.min(self.outgoing.len()));
    }
}

/// Chunks that can be staged now.
fn room(socket: &Socket) -> usize {
    socket.pool().chunks_free().min(usize::try_from(socket.room()).unwrap_or(usize::MAX))
}

/// Copies a packet of which this is the first piece into a room, behind a virtio-net header. Returns how long that is,
/// and whether some of it is missing.
fn gather(socket: &mut Socket, mut piece: Piece, room: &mut [u8]) -> (usize, bool) {
    // Complete as it is, as far as anybody knows.
    room[..HEADER_BYTES].fill(0);
    let (mut len, mut truncated) = (HEADER_BYTES, false);
    loop {
        match room.get_mut(len..len + piece.len) {
            Some(place) => place.copy_from_slice(piece.bytes()),
            None => truncated = true,
        }
        len += piece.len;
        if !piece.continues {
            return (len, truncated);
        }
        let Some(next) = socket.receive() else { return (len, true) };
        piece = next;
    }
}
