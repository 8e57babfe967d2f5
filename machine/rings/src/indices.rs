//! Where a ring's two counters live.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, Ordering};
use std::rc::Rc;

/// The two counters of a ring. A load of one side's counter synchronises with the store that wrote it.
pub trait Indices {
    /// How many slots were ever published (acquire).
    fn produced(&self) -> u32;
    /// Publishes every slot before `index` (release).
    fn publish(&self, index: u32);
    /// How many slots were ever released (acquire).
    fn consumed(&self) -> u32;
    /// Releases every slot before `index` (release).
    fn release(&self, index: u32);
}

/// A counter on a cache line of its own, so that the two sides do not fight over one.
#[derive(Debug, Default)]
#[repr(align(64))]
struct OwnLine(AtomicU32);

/// Counters in this process's memory.
#[derive(Debug, Default)]
pub struct LocalIndices {
    produced: OwnLine,
    consumed: OwnLine,
}

impl LocalIndices {
    /// Both counters at `start`: any number will do, and one just below 2³² tests the wrap.
    #[must_use]
    pub fn starting_at(start: u32) -> Self {
        Self { produced: OwnLine(AtomicU32::new(start)), consumed: OwnLine(AtomicU32::new(start)) }
    }
}

impl Indices for LocalIndices {
    fn produced(&self) -> u32 {
        self.produced.0.load(Ordering::Acquire)
    }
    fn publish(&self, index: u32) {
        self.produced.0.store(index, Ordering::Release);
    }
    fn consumed(&self) -> u32 {
        self.consumed.0.load(Ordering::Acquire)
    }
    fn release(&self, index: u32) {
        self.consumed.0.store(index, Ordering::Release);
    }
}

impl<I: Indices> Indices for Rc<I> {
    fn produced(&self) -> u32 {
        (**self).produced()
    }
    fn publish(&self, index: u32) {
        (**self).publish(index);
    }
    fn consumed(&self) -> u32 {
        (**self).consumed()
    }
    fn release(&self, index: u32) {
        (**self).release(index);
    }
}

impl<I: Indices> Indices for &I {
    fn produced(&self) -> u32 {
        (**self).produced()
    }
    fn publish(&self, index: u32) {
        (**self).publish(index);
    }
    fn consumed(&self) -> u32 {
        (**self).consumed()
    }
    fn release(&self, index: u32) {
        (**self).release(index);
    }
}

/// Counters in a mapping that another party, the kernel, reads and writes too.
#[derive(Clone, Copy, Debug)]
pub struct MappedIndices {
    produced: NonNull<AtomicU32>,
    consumed: NonNull<AtomicU32>,
}

impl MappedIndices {
    /// Names the two counters of a mapped ring.
    ///
    /// # Safety
    /// Both pointers must stay valid and aligned for as long as the result or a copy of it is used, and everyone who
    /// writes there must do so atomically.
    #[must_use]
    pub unsafe fn new(produced: NonNull<AtomicU32>, consumed: NonNull<AtomicU32>) -> Self {
        Self { produced, consumed }
    }

    fn produced_index(&self) -> &AtomicU32 {
        // SAFETY: valid, aligned and only accessed atomically, by the contract of `new`.
        unsafe { self.produced.as_ref() }
    }

    fn consumed_index(&self) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { self.consumed.as_ref() }
    }
}

impl Indices for MappedIndices {
    fn produced(&self) -> u32 {
        self.produced_index().load(Ordering::Acquire)
    }
    fn publish(&self, index: u32) {
        self.produced_index().store(index, Ordering::Release);
    }
    fn consumed(&self) -> u32 {
        self.consumed_index().load(Ordering::Acquire)
    }
    fn release(&self, index: u32) {
        self.consumed_index().store(index, Ordering::Release);
    }
}
