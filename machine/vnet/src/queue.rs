//! One queue as a [`Link`].

use core::fmt;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use arrayvec::ArrayVec;
use platform::{Full, Link, LinkCapabilities, LinkCounters, Offload, PARTS_MAX, Packet, Received};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::header::HEADER_BYTES;
use crate::slot::{Incoming, Outgoing};
use crate::sys::{BATCH_MAX, BatchRing};

/// An Ethernet header with one VLAN tag: what a frame has beyond the MTU.
const ETHERNET_BYTES_MAX: usize = 18;

/// A packet that the device refused this often is dropped: the peer's TCP will ask for it again.
const REFUSALS_MAX: u16 = 64;

/// How packets go to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submission {
    /// Batches through io_uring where the kernel allows it, else one system call per packet.
    Detect,
    /// Batches through io_uring, or an error.
    Uring,
    /// One system call per packet.
    Syscalls,
}

/// The buffers that packets are received into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiveBuffers {
    /// How many packets one batch may bring.
    pub count: u8,
    /// The largest packet that can be received, merged ones included.
    pub bytes: u32,
}

/// What a queue is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VnetConfig {
    /// Our own hardware address.
    pub mac: [u8; 6],
    /// Largest IP packet on the wire.
    pub mtu: u16,
    /// Largest TCP payload of one superframe; 0 when the device does not cut. Above 65,495 it is BIG TCP.
    pub superframe_bytes_max: u32,
    /// Most parts a packet may have.
    pub parts_max: u8,
    /// The device computes TCP checksums.
    pub checksum: bool,
    /// Packets that may be staged at once.
    pub capacity: u16,
    /// Where packets are received.
    pub receive: ReceiveBuffers,
    /// How packets go to the kernel.
    pub submission: Submission,
}

impl Default for VnetConfig {
    fn default() -> Self {
        Self {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1_500,
            superframe_bytes_max: 65_495,
            parts_max: u8::try_from(PARTS_MAX).expect("a packet has few parts"),
            checksum: true,
            capacity: 256,
            receive: ReceiveBuffers { count: 16, bytes: 65_600 },
            submission: Submission::Detect,
        }
    }
}

/// What the queue asked of the kernel, beside [`LinkCounters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetCounters {
    /// System calls that sent.
    pub send_calls: u64,
    /// System calls that received.
    pub receive_calls: u64,
    /// Times that the device had no room for a packet, which then stayed staged.
    pub refusals: u64,
}

/// One queue of one device, behind virtio-net headers.
pub struct VnetQueue {
    /// Before the descriptor, so that it is dropped before.
    ring: Option<BatchRing>,
    ring_error: Option<io::Error>,
    fd: OwnedFd,
    config: VnetConfig,
    counters: LinkCounters,
    calls: VnetCounters,

    slots: Vec<Outgoing>,
    /// Slots without a packet, the one used last on top.
    free: Vec<u16>,
    /// Slots to be written, in order.
    staged: VecDeque<u16>,
    /// Packets written and not yet reclaimed.
    written: usize,

    buffers: Vec<Incoming>,
    /// The buffer that `receive` looks at next, and one past the last that the last batch was to fill.
    next: usize,
    filled: usize,
    /// How many reads the next batch tries.
    width: usize,
    /// The last batch brought packets and then found the device empty: the answer to the next question is
    /// known.
    drained: bool,
    /// The device is gone.
    lost: bool,
}

impl VnetQueue {
    /// Takes over `fd`, a TAP queue or a bound packet socket that expects ten-byte virtio-net headers. The
    /// queue belongs to the calling thread.
    ///
    /// # Errors
    /// The descriptor cannot be made nonblocking, or io_uring is demanded and the kernel refuses it.
    ///
    /// # Panics
    /// A capacity or a count of receive buffers of zero, or more parts than a packet can have.
    pub fn open(fd: OwnedFd, config: VnetConfig) -> io::Result<Self> {
        assert!(config.capacity > 0 && config.receive.count > 0, "a queue without room");
        assert!(usize::from(config.parts_max) <= PARTS_MAX, "{} parts", config.parts_max);
        fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
        let (ring, ring_error) = match config.submission {
            Submission::Syscalls => (None, None),
            Submission::Uring => (Some(BatchRing::open(fd.as_fd())?), None),
            Submission::Detect => match BatchRing::open(fd.as_fd()) {
                Ok(ring) => (Some(ring), None),
                Err(error) => (None, Some(error)),
            },
        };
        let room = usize::from(config.mtu) + ETHERNET_BYTES_MAX;
        let receive_bytes = usize::try_from(config.receive.bytes).expect("32 bits fit");
        Ok(Self {
            ring,
            ring_error,
            fd,
            config,
            counters: LinkCounters::default(),
            calls: VnetCounters::default(),
            slots: (0..config.capacity).map(|_| Outgoing::with_room(room)).collect(),
            free: (0..config.capacity).rev().collect(),
            staged: VecDeque::with_capacity(usize::from(config.capacity)),
            written: 0,
            buffers: (0..config.receive.count).map(|_| Incoming::with_room(receive_bytes)).collect(),
            next: 0,
            filled: 0,
            width: 1,
            drained: false,
            lost: false,
        })
    }

    /// Puts another descriptor behind the queue, of a device that takes the place of the one that was there. Packets that
    /// had not left are dropped and counted; addresses and capabilities stay, and the MTU becomes `mtu`.
    ///
    /// # Errors
    /// The descriptor cannot be made nonblocking; the queue is then as it was.
    pub fn reopen(&mut self, fd: OwnedFd, mtu: u16) -> io::Result<()> {
        fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
        self.drop_staged();
        if let Some(ring) = &self.ring
            && let Err(error) = ring.replace(fd.as_fd())
        {
            self.abandon_ring(error);
        }
        self.fd = fd;
        self.config.mtu = mtu;
        for slot in &mut self.slots {
            slot.make_room(usize::from(mtu) + ETHERNET_BYTES_MAX);
        }
        (self.next, self.filled, self.width) = (0, 0, 1);
        (self.drained, self.lost) = (false, false);
        Ok(())
    }

    /// Gives up what is staged: it has nowhere to go.
    fn drop_staged(&mut self) {
        while let Some(slot) = self.staged.pop_front() {
            self.slots[usize::from(slot)].clear();
            self.free.push(slot);
            self.counters.send_errors += 1;
            self.written += 1;
        }
    }

    /// How packets go to the kernel: never [`Submission::Detect`].
    #[must_use]
    pub fn submission(&self) -> Submission {
        if self.ring.is_some() { Submission::Uring } else { Submission::Syscalls }
    }

    /// Why the kernel refused io_uring, if it was tried and did.
    #[must_use]
    pub fn submission_error(&self) -> Option<&io::Error> {
        self.ring_error.as_ref()
    }

    /// What was asked of the kernel so far.
    #[must_use]
    pub fn calls(&self) -> VnetCounters {
        self.calls
    }

    /// Stages the packet that `fill` writes into a slot. Returns whether there was one.
    fn stage_with(&mut self, fill: impl FnOnce(&mut Outgoing)) -> bool {
        let Some(slot) = self.free.pop() else { return false };
        fill(&mut self.slots[usize::from(slot)]);
        self.staged.push_back(slot);
        true
    }

    /// Goes on with one system call per packet.
    fn abandon_ring(&mut self, error: io::Error) {
        self.ring = None;
        self.ring_error = Some(error);
    }

    /// Writes the oldest staged packets. Returns whether the device took all it was offered.
    fn write_batch(&mut self) -> bool {
        let count = self.staged.len().min(BATCH_MAX);
        let mut results: ArrayVec<i32, BATCH_MAX> = ArrayVec::new();
        // One write is cheaper without the ring.
        if let Some(ring) = self.ring.as_mut().filter(|_| count > 1) {
            let packets = self.staged.iter().take(count).map(|slot| &self.slots[usize::from(*slot)]);
            match ring.write(packets) {
                Ok(ends) => results.extend(ends.iter().copied()),
                Err(error) => self.abandon_ring(error),
            }
            self.calls.send_calls += 1;
        }
        if results.contains(&-libc::EOPNOTSUPP) {
            // An old driver that cannot say "not now": none of these was written.
            self.abandon_ring(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
            results.clear();
        }
        if results.is_empty() {
            for slot in self.staged.iter().take(count) {
                let end = write(self.fd.as_fd(), &self.slots[usize::from(*slot)]);
                self.calls.send_calls += 1;
                results.push(end);
                if is_refusal(end) {
                    break;
                }
            }
        }
        self.settle(&results)
    }

    /// Takes note of what became of the oldest staged packets. Those refused keep their places, before all
    /// others.
    fn settle(&mut self, results: &[i32]) -> bool {
        let mut refused: ArrayVec<u16, BATCH_MAX> = ArrayVec::new();
        for result in results {
            let slot = self.staged.pop_front().expect("one result per staged packet");
            let packet = &mut self.slots[usize::from(slot)];
            if is_refusal(*result) {
                self.calls.refusals += 1;
                packet.refusals += 1;
                if packet.refusals < REFUSALS_MAX {
                    refused.push(slot);
                    continue;
                }
            }
            self.lost |= is_loss(*result);
            if *result >= 0 {
                self.counters.sent += 1;
                self.counters.sent_bytes += packet.bytes() as u64;
            } else {
                self.counters.send_errors += 1;
            }
            packet.clear();
            self.free.push(slot);
            self.written += 1;
        }
        let all = refused.is_empty();
        for slot in refused.into_iter().rev() {
            self.staged.push_front(slot);
        }
        all
    }

    /// Reads a batch. Returns whether there is anything to look at.
    fn read_batch(&mut self) -> bool {
        if core::mem::take(&mut self.drained) || self.lost {
            return false;
        }
        let width = self.width.min(self.buffers.len());
        self.calls.receive_calls += 1;
        let mut results: ArrayVec<i32, BATCH_MAX> = ArrayVec::new();
        if let Some(ring) = self.ring.as_mut().filter(|_| width > 1) {
            match ring.read(&mut self.buffers[..width]) {
                Ok(ends) => results.extend(ends.iter().copied()),
                Err(error) => self.abandon_ring(error),
            }
        }
        if results.contains(&-libc::EOPNOTSUPP) {
            self.abandon_ring(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
            results.clear();
        }
        if results.is_empty() {
            results.push(read(self.fd.as_fd(), &mut self.buffers[0]));
        }
        let mut arrived = 0;
        for (result, buffer) in results.iter().zip(&mut self.buffers) {
            let len = usize::try_from(*result).unwrap_or(0);
            self.lost |= is_loss(*result);
            let fits = HEADER_BYTES < len && len <= buffer.room_mut().len();
            if !fits && !is_refusal(*result) {
                self.counters.receive_errors += 1;
            }
            arrived += usize::from(len > 0);
            buffer.set_len(if fits { len } else { 0 });
        }
        self.next = 0;
        self.filled = results.len();
        let end_seen = arrived < results.len();
        self.drained = end_seen && arrived > 0;
        // Twice as many when there was no end to it, else as many as came and one to see the end.
        self.width = if end_seen { arrived + 1 } else { (results.len() * 2).min(BATCH_MAX) };
        arrived > 0
    }
}

impl Link for VnetQueue {
    fn capabilities(&self) -> LinkCapabilities {
        LinkCapabilities {
            mac: self.config.mac,
            mtu: self.config.mtu,
            superframe_bytes_max: self.config.superframe_bytes_max,
            parts_max: self.config.parts_max,
            checksum: self.config.checksum,
            slots: false,
        }
    }

    fn receive(&mut self) -> Option<Received<'_>> {
        let index = loop {
            if self.next == self.filled && !self.read_batch() {
                self.next = self.filled;
                return None;
            }
            let index = self.next;
            self.next += 1;
            if self.buffers[index].packet().is_some() {
                break index;
            }
        };
        let (header, bytes) = self.buffers[index].packet()?;
        self.counters.received += 1;
        self.counters.received_bytes += bytes.len() as u64;
        Some(Received { bytes, verified: header.verified() })
    }

    fn stage(&mut self, packet: &mut Packet) -> Result<(), Full<()>> {
        if self.stage_with(|slot| slot.fill(packet)) { Ok(()) } else { Err(Full(())) }
    }

    fn stage_bytes(&mut self, bytes: &[u8]) -> Result<(), Full<()>> {
        if bytes.len() > usize::from(self.config.mtu) + ETHERNET_BYTES_MAX {
            return Err(Full(()));
        }
        let staged = self.stage_with(|slot| {
            slot.room_mut()[..bytes.len()].copy_from_slice(bytes);
            slot.set(bytes.len(), Offload::default());
        });
        if staged { Ok(()) } else { Err(Full(())) }
    }

    fn room(&mut self) -> Option<&mut [u8]> {
        let slot = *self.free.last()?;
        Some(self.slots[usize::from(slot)].room_mut())
    }

    fn stage_room(&mut self, bytes: usize, offload: Offload) {
        let staged = self.stage_with(|slot| slot.set(bytes, offload));
        assert!(staged, "room was given");
    }

    fn flush(&mut self) {
        while !self.staged.is_empty() {
            if self.lost {
                self.drop_staged();
                return;
            }
            if !self.write_batch() {
                return;
            }
        }
    }

    fn reclaim(&mut self) -> usize {
        core::mem::take(&mut self.written)
    }

    fn in_flight(&self) -> usize {
        self.staged.len()
    }

    fn counters(&self) -> LinkCounters {
        self.counters
    }

    /// Readable when the device has a packet. Packets of the last batch are already here, so sleep only after
    /// [`receive`](Link::receive) has said that there is none.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }

    fn is_lost(&self) -> bool {
        self.lost
    }
}

impl fmt::Debug for VnetQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VnetQueue")
            .field("fd", &self.fd)
            .field("submission", &self.submission())
            .field("staged", &self.staged.len())
            .field("counters", &self.counters)
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

/// The device has no room now, or nothing to read.
fn is_refusal(result: i32) -> bool {
    result < 0 && (result == -libc::EAGAIN || result == -libc::ENOBUFS)
}

/// The device is gone: a TAP queue says `EBADFD`, a packet socket `ENXIO` or `ENODEV`. A device that is only down says
/// something else.
fn is_loss(result: i32) -> bool {
    [libc::EBADFD, libc::ENXIO, libc::ENODEV].contains(&result.saturating_neg())
}

fn write(fd: BorrowedFd<'_>, packet: &Outgoing) -> i32 {
    let pieces: ArrayVec<IoSlice<'_>, { 1 + PARTS_MAX }> = packet.pieces().map(IoSlice::new).collect();
    result_of(|| rustix::io::writev(fd, &pieces))
}

fn read(fd: BorrowedFd<'_>, buffer: &mut Incoming) -> i32 {
    result_of(|| rustix::io::read(fd, buffer.room_mut()))
}

/// What a system call brought, as io_uring says it; interrupted ones are made again.
fn result_of(mut call: impl FnMut() -> Result<usize, Errno>) -> i32 {
    loop {
        match call() {
            Ok(count) => return i32::try_from(count).unwrap_or(i32::MAX),
            Err(Errno::INTR) => {}
            Err(errno) => return -errno.raw_os_error(),
        }
    }
}
