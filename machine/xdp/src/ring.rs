//! A ring's cursor and its memory, together: what each of the four looks like from our end.

use std::io;
use std::os::fd::BorrowedFd;

use rings::{Consumer, MappedIndices, Producer, RingSize};

use crate::sys::rings::{RingMemory, Slot};
use crate::sys::socket::{Offsets, Ring};

/// A piece of a packet in the arena: `struct xdp_desc`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// The first byte, counted from the arena's beginning. What the kernel hands out has a second number, to be added,
    /// in the upper 16 bits.
    pub addr: u64,
    /// How many bytes, at least one, at most a chunk.
    pub len: u32,
    /// [`CONTINUES`](Self::CONTINUES) and [`METADATA`](Self::METADATA), or neither.
    pub options: u32,
}

impl Descriptor {
    /// The packet goes on in the next descriptor.
    pub const CONTINUES: u32 = libc::XDP_PKT_CONTD;
    /// What the device is to do stands before the address.
    pub const METADATA: u32 = libc::XDP_TX_METADATA;

    const OFFSET_SHIFT: u32 = 48;

    /// Where the chunk was when it was lent to the kernel.
    pub(crate) const fn base(self) -> u64 {
        self.addr & ((1 << Self::OFFSET_SHIFT) - 1)
    }

    /// How far behind that the bytes begin.
    pub(crate) const fn offset(self) -> u64 {
        self.addr >> Self::OFFSET_SHIFT
    }
}

/// A ring that we fill.
#[derive(Debug)]
pub(crate) struct FilledRing<T> {
    /// Before the memory that it names, so that it is dropped before.
    cursor: Producer<MappedIndices>,
    memory: RingMemory<T>,
}

impl<T: Slot> FilledRing<T> {
    pub(crate) fn map(fd: BorrowedFd<'_>, ring: Ring, offsets: Offsets, size: RingSize) -> io::Result<Self> {
        let memory = RingMemory::map(fd, ring, offsets, size.slots())?;
        Ok(Self { cursor: Producer::new(memory.indices(), size), memory })
    }

    /// Queues `value`. Returns whether there was room.
    pub(crate) fn stage(&mut self, value: T) -> bool {
        let Some(slot) = self.cursor.stage() else { return false };
        self.memory.write(slot, value);
        true
    }

    pub(crate) fn cursor(&self) -> &Producer<MappedIndices> {
        &self.cursor
    }

    pub(crate) fn publish(&mut self) -> u32 {
        self.cursor.publish()
    }

    pub(crate) fn reclaim(&mut self) -> u32 {
        self.cursor.reclaim()
    }

    pub(crate) fn needs_wakeup(&self) -> bool {
        self.memory.needs_wakeup()
    }
}

/// A ring that the kernel fills.
#[derive(Debug)]
pub(crate) struct EmptiedRing<T> {
    /// Before the memory that it names, so that it is dropped before.
    cursor: Consumer<MappedIndices>,
    memory: RingMemory<T>,
}

impl<T: Slot> EmptiedRing<T> {
    pub(crate) fn map(fd: BorrowedFd<'_>, ring: Ring, offsets: Offsets, size: RingSize) -> io::Result<Self> {
        let memory = RingMemory::map(fd, ring, offsets, size.slots())?;
        Ok(Self { cursor: Consumer::new(memory.indices(), size), memory })
    }

    /// The next value; its slot stays ours until [`release`](Self::release).
    pub(crate) fn take(&mut self) -> Option<T> {
        self.cursor.take().map(|slot| self.memory.read(slot))
    }

    pub(crate) fn release(&mut self) -> u32 {
        self.cursor.release()
    }

    /// Forgets all values there are now. Returns how many.
    pub(crate) fn discard(&mut self) -> u32 {
        while self.cursor.take().is_some() {}
        self.cursor.release()
    }
}

const _: () = assert!(size_of::<Descriptor>() == size_of::<libc::xdp_desc>());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_kernels_is_a_chunk_and_an_offset() {
        let descriptor = Descriptor { addr: 256 << 48 | 0x1234_5000, len: 60, options: 0 };
        assert_eq!((descriptor.base(), descriptor.offset()), (0x1234_5000, 256));
    }
}
