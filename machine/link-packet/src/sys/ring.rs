//! The memory that a packet socket shares with the kernel: equal frames, each behind a `tpacket2_hdr`.
//!
//! ```text
//!   TX frame, 64 KiB
//!   0            32            182 .. 192                                       65,536
//!   | status len | …  unused … | vnet 10 | headers | payload …                   |
//!     └ SEND_REQUEST: the kernel's    └ tp_mac says where this begins (PACKET_TX_HAS_OFF)
//!
//!   RX frame, 2 KiB
//!   | status len snaplen mac net … | vnet 10 | packet … |
//!                            └ tp_mac: where the packet begins
//! ```
//!
//! A frame belongs to whoever its status names. Each side takes notice of it with an *acquire* load and gives it away with
//! a *release* store, so that what was written to the frame is seen by whoever learns that it is his. The accessors
//! below panic when asked for the bytes of a frame that is the kernel's.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `tpacket2_hdr`: status, len, snaplen (32 bits each), mac, net (16 bits each), two times, VLAN, padding.
const HEADER_BYTES: usize = 32;
const LEN_AT: usize = 4;
const SNAPLEN_AT: usize = 8;
const MAC_AT: usize = 12;
const VLAN_TCI_AT: usize = 24;

/// `TP_STATUS_SEND_REQUEST`, `TP_STATUS_SENDING` and `TP_STATUS_WRONG_FORMAT`: not ours. Timestamps use higher bits.
const TX_BUSY: u32 = 1 | 2 | 4;
const TX_REQUEST: u32 = 1;
const TX_AVAILABLE: u32 = 0;
const RX_KERNEL: u32 = 0;
const RX_USER: u32 = 1;

/// Where the payload of a frame to be sent begins: behind the kernel's header, a virtio-net header and the longest
/// headers, on a cache line of its own.
pub(crate) const PAYLOAD_AT: usize = 192;
/// The most there may be before the payload.
pub(crate) const HEAD_BYTES_MAX: usize = PAYLOAD_AT - HEADER_BYTES;
const _: () = assert!(HEAD_BYTES_MAX >= vnet::HEADER_BYTES + platform::HEADERS_BYTES_MAX);

/// How a ring's memory is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How many frames; a power of two.
    pub(crate) count: u32,
    /// How large each is; it divides a block.
    pub(crate) frame_bytes: u32,
}

impl Shape {
    /// The kernel finds contiguous memory for each block: small enough that it always can.
    pub(crate) const BLOCK_BYTES: u32 = 64 << 10;

    /// The whole ring.
    pub(crate) const fn bytes(self) -> usize {
        self.count as usize * self.frame_bytes as usize
    }

    /// # Panics
    /// A ring that the kernel would cut otherwise than we do.
    pub(crate) fn check(self) {
        assert!(self.count.is_power_of_two(), "{} frames", self.count);
        assert!(Self::BLOCK_BYTES.is_multiple_of(self.frame_bytes), "frames of {} bytes", self.frame_bytes);
        assert!(self.bytes().is_multiple_of(Self::BLOCK_BYTES as usize), "a block that is not full");
    }
}

/// The mapping of one ring.
#[derive(Debug)]
struct Frames {
    base: NonNull<u8>,
    shape: Shape,
}

impl Frames {
    /// Maps the ring that `fd` was given. Its pages are the kernel's own: they are there from the start and are never
    /// swapped, so there is nothing to lock.
    fn map(fd: BorrowedFd<'_>, shape: Shape) -> io::Result<Self> {
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        Self::map_as(fd.as_raw_fd(), flags, shape)
    }

    /// The same of ordinary memory, for tests that play the kernel.
    #[cfg(test)]
    fn anonymous(shape: Shape) -> io::Result<Self> {
        Self::map_as(-1, libc::MAP_SHARED | libc::MAP_ANONYMOUS, shape)
    }

    fn map_as(fd: i32, flags: i32, shape: Shape) -> io::Result<Self> {
        shape.check();
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a mapping at an address of the kernel's choice disturbs nobody's memory.
        let base = unsafe { libc::mmap(core::ptr::null_mut(), shape.bytes(), prot, flags, fd, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).expect("mmap returned null without failing");
        Ok(Self { base, shape })
    }

    /// The first byte of frame `index`, of which `frame_bytes` are mapped.
    fn frame(&self, index: u32) -> NonNull<u8> {
        assert!(index < self.shape.count, "frame {index} of {}", self.shape.count);
        // SAFETY: the frame lies in the mapping: its index was just checked, and blocks lie one behind the other.
        unsafe { self.base.add(index as usize * self.shape.frame_bytes as usize) }
    }

    fn status(&self, index: u32) -> &AtomicU32 {
        // SAFETY: frames are aligned to their size, the status is their first word, and both sides access it atomically.
        unsafe { self.frame(index).cast::<AtomicU32>().as_ref() }
    }

    fn load(&self, index: u32) -> u32 {
        self.status(index).load(Ordering::Acquire)
    }

    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "nothing of a frame may be borrowed when it is given away"
    )]
    fn store(&mut self, index: u32, status: u32) {
        self.status(index).store(status, Ordering::Release);
    }

    /// The 32-bit field at `at` of a frame that is ours.
    fn field(&self, index: u32, at: usize) -> u32 {
        debug_assert!(at < HEADER_BYTES && at.is_multiple_of(4));
        // SAFETY: the field lies inside the frame's header.
        let field = unsafe { self.frame(index).add(at) }.cast::<u32>();
        // SAFETY: as above, it is aligned, and the frame is not the kernel's, by the status that the caller looked at.
        unsafe { field.read() }
    }

    fn set_field(&mut self, index: u32, at: usize, value: u32) {
        debug_assert!(at < HEADER_BYTES && at.is_multiple_of(4));
        // SAFETY: the field lies inside the frame's header.
        let field = unsafe { self.frame(index).add(at) }.cast::<u32>();
        // SAFETY: as in `field`, and `self` is borrowed exclusively.
        unsafe { field.write(value) };
    }

    /// `len` bytes from `at` on of a frame that is ours.
    fn bytes(&self, index: u32, at: usize, len: usize) -> &[u8] {
        self.check_range(at, len);
        // SAFETY: the range was checked to lie in the frame.
        let start = unsafe { self.frame(index).add(at) };
        // SAFETY: the range is mapped and initialised, and the kernel does not write a frame that is not its own, by
        // the status that the caller looked at; the borrow of `self` keeps us from giving the frame away.
        unsafe { core::slice::from_raw_parts(start.as_ptr(), len) }
    }

    fn bytes_mut(&mut self, index: u32, at: usize, len: usize) -> &mut [u8] {
        self.check_range(at, len);
        // SAFETY: as in `bytes`.
        let start = unsafe { self.frame(index).add(at) };
        // SAFETY: as in `bytes`, and `self` is borrowed exclusively.
        unsafe { core::slice::from_raw_parts_mut(start.as_ptr(), len) }
    }

    fn check_range(&self, at: usize, len: usize) {
        let frame = self.shape.frame_bytes as usize;
        assert!(at >= HEADER_BYTES && at <= frame && len <= frame - at, "{len} bytes at {at} of {frame}");
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and everything borrowed from it borrows `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.shape.bytes()) };
    }
}

/// The frames of a TX ring, by number.
#[derive(Debug)]
pub(crate) struct TxSlots(Frames);

impl TxSlots {
    /// Maps the TX ring of `fd`.
    pub(crate) fn map(fd: BorrowedFd<'_>, shape: Shape) -> io::Result<Self> {
        Frames::map(fd, shape).map(Self)
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.shape.count
    }

    /// How much payload a slot takes.
    pub(crate) fn payload_bytes_max(&self) -> usize {
        self.0.shape.frame_bytes as usize - PAYLOAD_AT
    }

    /// The slot may be filled: it never was, or what was in it has left.
    pub(crate) fn is_free(&self, slot: u32) -> bool {
        self.0.load(slot) & TX_BUSY == 0
    }

    /// The kernel has not taken the slot yet.
    pub(crate) fn is_waiting(&self, slot: u32) -> bool {
        self.0.load(slot) & TX_BUSY == TX_REQUEST
    }

    /// The slot's payload, to be written.
    ///
    /// # Panics
    /// The slot is not free.
    pub(crate) fn payload_mut(&mut self, slot: u32) -> &mut [u8] {
        assert!(self.is_free(slot), "slot {slot} is on its way");
        let len = self.payload_bytes_max();
        self.0.bytes_mut(slot, PAYLOAD_AT, len)
    }

    /// Puts `heads` before the slot's first `payload_bytes` and asks for it to be sent.
    ///
    /// # Panics
    /// The slot is not free, or that is too much for it.
    pub(crate) fn request(&mut self, slot: u32, heads: [&[u8]; 2], payload_bytes: usize) {
        assert!(self.is_free(slot), "slot {slot} is on its way");
        assert!(payload_bytes <= self.payload_bytes_max(), "{payload_bytes} bytes of payload");
        let head_bytes = heads[0].len() + heads[1].len();
        assert!(head_bytes <= HEAD_BYTES_MAX, "{head_bytes} bytes before the payload");
        let begin = PAYLOAD_AT - head_bytes;
        let (first, second) = self.0.bytes_mut(slot, begin, head_bytes).split_at_mut(heads[0].len());
        first.copy_from_slice(heads[0]);
        second.copy_from_slice(heads[1]);
        let len = u32::try_from(head_bytes + payload_bytes).expect("a slot is small");
        self.0.set_field(slot, LEN_AT, len);
        // The upper half, tp_net, is for sockets without link-layer headers.
        self.0.set_field(slot, MAC_AT, u32::try_from(begin).expect("a slot is small"));
        self.0.store(slot, TX_REQUEST);
    }

    /// Takes back a slot that the kernel has not taken.
    ///
    /// Only between two calls that send: within one the kernel may be at it.
    pub(crate) fn take_back(&mut self, slot: u32) {
        if self.is_waiting(slot) {
            self.0.store(slot, TX_AVAILABLE);
        }
    }
}

/// The frames of an RX ring, by number.
#[derive(Debug)]
pub(crate) struct RxFrames(Frames);

/// What the kernel says of a packet that it has put into a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// How long the packet is.
    pub(crate) len: usize,
    /// How much of it lies in the frame.
    pub(crate) here: usize,
    /// Where.
    at: usize,
    /// The whole packet waits in the socket's queue, because the frame is too small.
    pub(crate) queued: bool,
    /// Packets were dropped since the last one that said so.
    pub(crate) losing: bool,
    /// Its checksum was verified.
    pub(crate) verified: bool,
    /// The VLAN whose tag was taken off.
    pub(crate) vlan: Option<u16>,
}

impl RxFrames {
    const COPY: u32 = 1 << 1;
    const LOSING: u32 = 1 << 2;
    const VLAN_VALID: u32 = 1 << 4;
    const CSUM_VALID: u32 = 1 << 7;

    /// Maps the RX ring of `fd`.
    pub(crate) fn map(fd: BorrowedFd<'_>, shape: Shape) -> io::Result<Self> {
        Frames::map(fd, shape).map(Self)
    }

    pub(crate) fn count(&self) -> u32 {
        self.0.shape.count
    }

    /// What lies in the frame, once the kernel has given it to us.
    pub(crate) fn arrived(&self, frame: u32) -> Option<Arrived> {
        let status = self.0.load(frame);
        if status & RX_USER == 0 {
            return None;
        }
        let word = |at| usize::try_from(self.0.field(frame, at)).expect("32 bits fit");
        let at = word(MAC_AT) & 0xffff;
        // The kernel is trusted with the header, but a slice is only made of what is mapped.
        let room = (self.0.shape.frame_bytes as usize).saturating_sub(at);
        let tci = (self.0.field(frame, VLAN_TCI_AT) & 0x0fff) as u16;
        Some(Arrived {
            len: word(LEN_AT),
            here: word(SNAPLEN_AT).min(room),
            at,
            queued: status & Self::COPY != 0,
            losing: status & Self::LOSING != 0,
            verified: status & Self::CSUM_VALID != 0,
            vlan: (status & Self::VLAN_VALID != 0).then_some(tci),
        })
    }

    /// The virtio-net header and the packet in a frame of ours.
    ///
    /// # Panics
    /// The frame is the kernel's.
    pub(crate) fn packet(&self, frame: u32, arrived: &Arrived) -> (&[u8], &[u8]) {
        assert!(self.0.load(frame) & RX_USER != 0, "frame {frame} is the kernel's");
        let begin = arrived.at.saturating_sub(vnet::HEADER_BYTES);
        self.0.bytes(frame, begin, arrived.at - begin + arrived.here).split_at(arrived.at - begin)
    }

    /// Gives the frame back to the kernel.
    pub(crate) fn release(&mut self, frame: u32) {
        self.0.store(frame, RX_KERNEL);
    }
}

/// The other side of a ring, for tests that play the kernel.
#[cfg(test)]
pub(crate) mod kernel {
    use super::*;

    const SENDING: u32 = 2;

    impl TxSlots {
        /// A ring and the kernel at its other end.
        pub(crate) fn with_kernel(count: u32) -> (Self, Kernel) {
            let shape = Shape { count, frame_bytes: Shape::BLOCK_BYTES };
            let slots = Self(Frames::anonymous(shape).unwrap());
            // The same memory under a second name, as the kernel has one; `Kernel` says who unmaps it.
            let kernel = Kernel {
                frames: core::mem::ManuallyDrop::new(Frames { base: slots.0.base, shape }),
                head: 0,
            };
            (slots, kernel)
        }
    }

    /// Takes slots strictly in order. Must not outlive its ring.
    #[derive(Debug)]
    pub(crate) struct Kernel {
        frames: core::mem::ManuallyDrop<Frames>,
        head: u32,
    }

    impl Kernel {
        /// Takes the slot at the head, if it was asked for: its number, and what is to be sent.
        pub(crate) fn take(&mut self) -> Option<(u32, Vec<u8>)> {
            let slot = self.head % self.frames.shape.count;
            if self.frames.load(slot) & TX_BUSY != TX_REQUEST {
                return None;
            }
            let at = self.frames.field(slot, MAC_AT) as usize & 0xffff;
            let len = self.frames.field(slot, LEN_AT) as usize;
            let bytes = self.frames.bytes(slot, at, len).to_vec();
            self.frames.store(slot, SENDING);
            self.head += 1;
            Some((slot, bytes))
        }

        /// The slot has left.
        pub(crate) fn complete(&mut self, slot: u32) {
            self.frames.store(slot, TX_AVAILABLE);
        }
    }
}
