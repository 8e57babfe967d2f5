//! The memory of a ring that the kernel shares with us.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rings::MappedIndices;

use super::socket::{Offsets, Ring};

/// What lies in a ring's slots: plain numbers, of which every value is one.
pub(crate) trait Slot: Copy {}
impl Slot for u64 {}
impl Slot for crate::ring::Descriptor {}

/// A ring's mapping: two counters, flags, slots. Unmapped when dropped.
#[derive(Debug)]
pub(crate) struct RingMemory<T> {
    base: NonNull<u8>,
    bytes: usize,
    indices: MappedIndices,
    flags: NonNull<AtomicU32>,
    slots: NonNull<T>,
    count: usize,
}

impl<T: Slot> RingMemory<T> {
    /// Maps `ring` of the socket, which has `count` slots.
    pub(crate) fn map(fd: BorrowedFd<'_>, ring: Ring, offsets: Offsets, count: u32) -> io::Result<Self> {
        let count = usize::try_from(count).expect("32 bits fit");
        let bytes = offsets.slots + count * size_of::<T>();
        let page_offset = match ring {
            Ring::Rx => libc::XDP_PGOFF_RX_RING,
            Ring::Tx => libc::XDP_PGOFF_TX_RING,
            Ring::Fill => libc::XDP_UMEM_PGOFF_FILL_RING.cast_signed(),
            Ring::Completion => libc::XDP_UMEM_PGOFF_COMPLETION_RING.cast_signed(),
        };
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nobody's memory.
        let mapped =
            unsafe { libc::mmap(core::ptr::null_mut(), bytes, prot, flags, fd.as_raw_fd(), page_offset) };
        if mapped == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base: NonNull<u8> = NonNull::new(mapped.cast()).expect("mmap returned null without failing");
        let place = |offset: usize, room: usize| {
            assert!(
                offset + room <= bytes && offset.is_multiple_of(4),
                "the kernel's ring has another layout"
            );
            // SAFETY: the offset lies inside the mapping.
            unsafe { base.add(offset) }
        };
        let produced = place(offsets.producer, 4).cast();
        let consumed = place(offsets.consumer, 4).cast();
        // SAFETY: both lie inside the mapping, aligned, and are used only while this value lives (see `indices`);
        // the kernel accesses them atomically.
        let indices = unsafe { MappedIndices::new(produced, consumed) };
        let slots = place(offsets.slots, count * size_of::<T>()).cast::<T>();
        assert!(slots.is_aligned(), "the kernel's slots are not aligned");
        Ok(Self { base, bytes, indices, flags: place(offsets.flags, 4).cast(), slots, count })
    }

    /// The ring's counters. To be dropped before this value is.
    pub(crate) fn indices(&self) -> MappedIndices {
        self.indices
    }

    /// What the other side wrote to a slot that it has published.
    pub(crate) fn read(&self, slot: usize) -> T {
        assert!(slot < self.count, "slot {slot} of {}", self.count);
        // SAFETY: the slot lies inside the mapping.
        let place = unsafe { self.slots.add(slot) };
        // SAFETY: the slot is mapped and aligned, and any bytes are a value.
        unsafe { place.read_volatile() }
    }

    /// Writes to a slot that is not yet published.
    pub(crate) fn write(&mut self, slot: usize, value: T) {
        assert!(slot < self.count, "slot {slot} of {}", self.count);
        // SAFETY: the slot lies inside the mapping.
        let place = unsafe { self.slots.add(slot) };
        // SAFETY: the slot is mapped and aligned, and the other side does not look at it before it is published.
        unsafe { place.write_volatile(value) };
    }

    /// The kernel does not look at this ring unless it is told to.
    pub(crate) fn needs_wakeup(&self) -> bool {
        // SAFETY: the flags lie inside the mapping and are only accessed atomically.
        let flags = unsafe { self.flags.as_ref() };
        flags.load(Ordering::Acquire) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

impl<T> Drop for RingMemory<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and whoever holds its counters is dropped before.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}
