//! An AF_XDP socket on one queue of one interface, with an arena of its worker's as UMEM.
//!
//! ```text
//!   pool ── chunks ──▶ fill ring ──▶ kernel, NIC ──▶ RX ring ──▶ receive: the chunk comes back, with a packet in it
//!   frames, chunks ── stage ──▶ TX ring ──flush──▶ kernel, NIC ──▶ completion ring ──▶ reclaim
//! ```
//!
//! In copy mode the kernel has the bytes once it has taken the descriptor, within the call that a flush makes; the
//! completion that it sends when the packet is gone only makes room for others. In zero-copy mode the NIC reads our
//! memory until the completion comes. In both, what is staged comes back in the order in which it was staged.

mod open;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use dma::{Frame, Pool};

use crate::error::XdpError;
use crate::ring::{Descriptor, EmptiedRing, FilledRing};
use crate::sys::socket as sys;

/// Room before a descriptor's address for what the device is to do: `struct xsk_tx_metadata`, flags and checksum.
pub const METADATA_BYTES: usize = 16;

/// Bytes of packets that may wait for the driver in copy mode.
const SEND_BYTES: i32 = 16 << 20;

/// RX slots are given back this many at a time, and as many chunks lent.
const BATCH: u32 = 64;

/// Who moves the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyMode {
    /// The NIC where its driver can, else the kernel.
    Best,
    /// The NIC, or an error.
    ZeroCopy,
    /// The kernel.
    Copy,
}

/// Have our own calls poll the queue (SO_PREFER_BUSY_POLL): for a worker that never sleeps, with
/// `napi_defer_hard_irqs` and `gro_flush_timeout` set on the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// How long a call polls.
    pub micros: u32,
    /// How many packets it takes at most.
    pub budget: u32,
}

/// What a socket is like. Ring sizes are rounded up to powers of two; 0 leaves a direction out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketConfig {
    /// Pieces that may have arrived and not been looked at.
    pub rx_slots: u32,
    /// Pieces that may be staged.
    pub tx_slots: u32,
    /// Chunks lent to the kernel at most, to receive into.
    pub receive_chunks: u32,
    /// Who moves the bytes.
    pub copy_mode: CopyMode,
    /// The largest packet, Ethernet header included. One that does not fit into a chunk needs a driver that takes
    /// packets in pieces.
    pub packet_bytes_max: u32,
    /// Reserve [`METADATA_BYTES`] before each staged descriptor's address, so that [`Descriptor::METADATA`] may be used.
    pub metadata: bool,
    /// Poll the queue ourselves.
    pub busy_poll: Option<BusyPoll>,
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            rx_slots: 2_048,
            tx_slots: 2_048,
            receive_chunks: 1_024,
            copy_mode: CopyMode::Best,
            packet_bytes_max: 1_518,
            metadata: false,
            busy_poll: None,
        }
    }
}

/// What a socket got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketFacts {
    /// The NIC reads and writes the arena; else the kernel copies.
    pub zero_copy: bool,
    /// A packet may have several pieces.
    pub multi_buffer: bool,
    /// [`Descriptor::METADATA`] may be used.
    pub metadata: bool,
    /// Our own calls poll the queue.
    pub busy_poll: bool,
}

/// Whether the interface is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketState {
    /// As far as we know.
    Up,
    /// It is down; what is staged waits.
    Down,
    /// It is gone, and will not come back to this socket: what was staged is lost.
    Gone,
}

/// What happened since the socket was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketCounters {
    /// Calls that had the kernel look at a ring.
    pub wakeups: u64,
    /// Of them, those after which the kernel had taken nothing of what was staged.
    pub stalls: u64,
    /// Staged descriptors that the kernel dropped.
    pub dropped: u64,
    /// Descriptors of the kernel's that name no chunk that was lent: never so.
    pub invalid: u64,
}

/// What the kernel counted (linux/if_xdp.h, `struct xdp_statistics`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelCounters {
    /// Packets that found no room or no sense.
    pub rx_dropped: u64,
    /// Packets that found the RX ring full.
    pub rx_ring_full: u64,
    /// Times that the kernel looked for a chunk to receive into and there was none.
    pub fill_ring_empty: u64,
    /// Staged descriptors that the kernel did not accept.
    pub tx_invalid: u64,
}

/// A piece of a packet that arrived.
#[derive(Debug)]
pub struct Piece {
    /// The chunk that it is in. Dropping it lends the chunk to the kernel again, sooner or later.
    pub frame: Frame,
    /// The first byte in the chunk.
    pub start: usize,
    /// How many bytes.
    pub len: usize,
    /// The packet goes on in the next piece.
    pub continues: bool,
}

impl Piece {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.frame.bytes()[self.start..][..self.len]
    }
}

/// A socket, in use. It belongs to the thread that opened it.
#[derive(Debug)]
pub struct Socket {
    /// Before the chunks, so that the kernel has let go of them when they return to the pool.
    fd: OwnedFd,
    rx: Option<EmptiedRing<Descriptor>>,
    fill: FilledRing<u64>,
    tx: Option<FilledRing<Descriptor>>,
    completion: EmptiedRing<u64>,
    facts: SocketFacts,
    state: SocketState,
    counters: SocketCounters,
    pool: Pool,

    /// Chunks that are the kernel's, by number.
    lent: Box<[Option<Frame>]>,
    lent_count: u32,
    lent_max: u32,
    /// RX slots taken and not given back.
    taken: u32,

    /// Zero-copy: the addresses staged and not completed, oldest first.
    sent: VecDeque<u64>,
    /// Descriptors that came back since the last [`reclaim`](Self::reclaim).
    returned: u32,
}

impl Socket {
    /// A socket without anything: the only part of opening one that needs a privilege (`CAP_NET_RAW`). With
    /// `CAP_NET_ADMIN` it lets more than the host's limit wait for the driver, whoever opens it.
    ///
    /// # Errors
    /// We may not, or the kernel has no AF_XDP.
    pub fn create() -> Result<OwnedFd, XdpError> {
        let fd =
            sys::create().map_err(|source| XdpError::of("open an AF_XDP socket", "CAP_NET_RAW", source))?;
        sys::widen_sends(fd.as_fd(), SEND_BYTES);
        Ok(fd)
    }

    /// Makes `fd`, a descriptor from [`create`](Self::create), a socket on `queue` of the interface with that index,
    /// with the pool's arena as its memory. The pool needs [`SocketConfig::receive_chunks`] chunks, and those that
    /// its user wants to stage.
    ///
    /// The descriptor must have no copies that live longer than the socket: the kernel writes to the lent chunks until
    /// the last one is closed.
    ///
    /// # Errors
    /// The kernel refuses it: the memory may not be pinned, the queue is taken or does not exist, the driver cannot.
    ///
    /// # Panics
    /// The configuration has neither direction, or more than 2³¹ slots.
    pub fn open(
        fd: OwnedFd,
        interface: u32,
        queue: u32,
        pool: &Pool,
        config: SocketConfig,
    ) -> Result<Self, XdpError> {
        open::open(fd, interface, queue, pool, config)
    }

    /// What the socket got.
    #[must_use]
    pub fn facts(&self) -> SocketFacts {
        self.facts
    }

    /// Whether the interface was there when a call last depended on it.
    #[must_use]
    pub fn state(&self) -> SocketState {
        self.state
    }

    /// Asks the kernel whether the interface is there. One system call.
    pub fn check(&mut self) -> SocketState {
        let result =
            if self.rx.is_some() { sys::wake_rx(self.fd.as_fd()) } else { sys::wake_tx(self.fd.as_fd()) };
        self.note(&result);
        self.state
    }

    /// What happened so far.
    #[must_use]
    pub fn counters(&self) -> SocketCounters {
        self.counters
    }

    /// What the kernel counted so far; zeroes when it does not say.
    #[must_use]
    pub fn kernel_counters(&self) -> KernelCounters {
        sys::statistics(self.fd.as_fd()).map_or_else(
            |_| KernelCounters::default(),
            |counted| KernelCounters {
                rx_dropped: counted.rx_dropped,
                rx_ring_full: counted.rx_ring_full,
                fill_ring_empty: counted.rx_fill_ring_empty_descs,
                tx_invalid: counted.tx_invalid_descs,
            },
        )
    }

    /// The arena's frames and chunks.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The next piece that arrived; `None` when there is none now.
    pub fn receive(&mut self) -> Option<Piece> {
        loop {
            let Some(descriptor) = self.rx.as_mut()?.take() else {
                self.give_back();
                return None;
            };
            self.taken += 1;
            if self.taken >= BATCH {
                self.give_back();
            }
            let lent = self
                .pool
                .chunk_at(descriptor.base())
                .and_then(|number| self.lent[usize::try_from(number).expect("32 bits fit")].take());
            let Some(frame) = lent else {
                self.counters.invalid += 1;
                continue;
            };
            self.lent_count -= 1;
            let (start, len) = (descriptor.offset(), descriptor.len);
            let (Ok(start), Ok(len)) = (usize::try_from(start), usize::try_from(len)) else { continue };
            if start + len > frame.bytes().len() {
                self.counters.invalid += 1;
                continue;
            }
            return Some(Piece {
                frame,
                start,
                len,
                continues: descriptor.options & Descriptor::CONTINUES != 0,
            });
        }
    }

    /// Gives RX slots back, and lends chunks for the next packets.
    fn give_back(&mut self) {
        if core::mem::take(&mut self.taken) > 0 {
            self.rx.as_mut().map(EmptiedRing::release);
        }
        self.replenish();
    }

    /// Lends the kernel chunks up to the configured number, those that came back last first. [`receive`](Self::receive)
    /// does so by itself.
    pub fn replenish(&mut self) {
        self.fill.reclaim();
        while self.lent_count < self.lent_max && self.fill.cursor().free() > 0 {
            let Some(frame) = self.pool.acquire_chunk() else { break };
            let number = self.pool.chunk_number(&frame).expect("a chunk");
            let address = self.pool.offset_of(frame.bytes()).expect("a chunk lies in its arena");
            let staged = self.fill.stage(address);
            debug_assert!(staged, "there was room");
            self.lent[usize::try_from(number).expect("32 bits fit")] = Some(frame);
            self.lent_count += 1;
        }
        let published = self.fill.publish();
        if published > 0 && self.fill.needs_wakeup() {
            self.counters.wakeups += 1;
            let result = sys::wake_rx(self.fd.as_fd());
            self.note(&result);
        }
    }

    /// Descriptors that can be staged now.
    #[inline]
    #[must_use]
    pub fn room(&self) -> u32 {
        self.tx.as_ref().map_or(0, |tx| tx.cursor().free())
    }

    /// Descriptors staged and not yet [`reclaim`](Self::reclaim)ed, or taken by the kernel.
    #[must_use]
    pub fn staged(&self) -> u32 {
        self.tx.as_ref().map_or(0, |tx| tx.cursor().in_flight())
    }

    /// Queues a piece of a packet; a packet's pieces go one after the other. Its bytes must lie in the arena, and stay
    /// as they are until it was reclaimed. Returns whether there was room.
    #[inline]
    #[must_use]
    pub fn stage(&mut self, descriptor: Descriptor) -> bool {
        let staged = self.tx.as_mut().is_some_and(|tx| tx.stage(descriptor));
        if staged && self.facts.zero_copy {
            self.sent.push_back(descriptor.addr);
        }
        staged
    }

    /// One doorbell for everything staged. In copy mode the packets are sent before this returns, unless the driver or
    /// the completion ring has no room: these stay staged.
    pub fn flush(&mut self) {
        let Some(tx) = &mut self.tx else { return };
        tx.publish();
        if self.facts.zero_copy {
            if tx.cursor().in_flight() > 0 && tx.needs_wakeup() {
                self.counters.wakeups += 1;
                let result = sys::wake_tx(self.fd.as_fd());
                self.note(&result);
            }
            return;
        }
        self.completion.discard();
        while self.tx.as_ref().is_some_and(|tx| tx.cursor().in_flight() > 0) {
            let result = sys::wake_tx(self.fd.as_fd());
            self.counters.wakeups += 1;
            self.note(&result);
            let taken = self.tx.as_mut().map_or(0, FilledRing::reclaim);
            self.returned += taken;
            self.completion.discard();
            if taken == 0 {
                self.counters.stalls += 1;
                break;
            }
        }
    }

    /// How many of the staged descriptors, oldest first, came back since the last call: their bytes are their owner's
    /// again.
    pub fn reclaim(&mut self) -> u32 {
        let Some(tx) = &mut self.tx else { return 0 };
        let taken = tx.reclaim();
        if !self.facts.zero_copy {
            self.returned += taken;
            self.completion.discard();
            if self.state == SocketState::Gone {
                let lost = self.abandon();
                self.returned += lost;
            }
            return core::mem::take(&mut self.returned);
        }
        let mut returned = 0;
        while let Some(address) = self.completion.take() {
            // Completions come in order. Who is passed over was dropped by the kernel without one.
            let Some(place) = self.sent.iter().position(|sent| *sent == address) else {
                self.counters.invalid += 1;
                continue;
            };
            self.sent.drain(..=place);
            self.counters.dropped += place as u64;
            returned += u32::try_from(place + 1).expect("a ring is shorter");
        }
        self.completion.release();
        if self.state == SocketState::Gone {
            self.abandon();
            returned += u32::try_from(self.sent.len()).expect("a ring is shorter");
            self.counters.dropped += self.sent.len() as u64;
            self.sent.clear();
        }
        returned
    }

    /// Nobody will ever take what is in the TX ring: it is emptied from our side. Returns how much that was.
    fn abandon(&mut self) -> u32 {
        let Some(tx) = &mut self.tx else { return 0 };
        let lost = tx.cursor().in_flight();
        self.counters.dropped += u64::from(lost);
        self.tx = None;
        lost
    }

    /// Takes note of what a call said of the interface.
    fn note(&mut self, result: &std::io::Result<()>) {
        let errno = result.as_ref().err().and_then(std::io::Error::raw_os_error);
        self.state = match (self.state, errno) {
            (SocketState::Gone, _) | (_, Some(libc::ENXIO | libc::ENODEV)) => SocketState::Gone,
            (_, Some(libc::ENETDOWN)) => SocketState::Down,
            _ => SocketState::Up,
        };
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The kernel takes a live queue from its driver in the background, after the descriptor is closed, and the NIC
        // writes until then: such chunks are never used again. A removed interface writes nothing.
        if self.facts.zero_copy && self.state != SocketState::Gone {
            core::mem::forget(core::mem::take(&mut self.lent));
        }
    }
}

impl AsFd for Socket {
    /// Readable when something has arrived, in error when the interface is gone.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
