//! Where a ring's two counters live.

use core::ptr::NonNull;
use core::sync::atomic::AtomicU32;
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

/// Implements [`Indices`] on two atomic counters: the one place that says with which orderings. The tests put
/// loom's atomics here.
macro_rules! acquire_and_release {
    ($indices:ty, |$this:ident| $produced:expr, $consumed:expr) => {
        impl $crate::Indices for $indices {
            fn produced(&self) -> u32 {
                let $this = self;
                $produced.load(core::sync::atomic::Ordering::Acquire)
            }
            fn publish(&self, index: u32) {
                let $this = self;
                $produced.store(index, core::sync::atomic::Ordering::Release);
            }
            fn consumed(&self) -> u32 {
                let $this = self;
                $consumed.load(core::sync::atomic::Ordering::Acquire)
            }
            fn release(&self, index: u32) {
                let $this = self;
                $consumed.store(index, core::sync::atomic::Ordering::Release);
            }
        }
    };
}
#[cfg(test)]
pub(crate) use acquire_and_release;

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

acquire_and_release!(LocalIndices, |indices| indices.produced.0, indices.consumed.0);

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
    /// Both pointers must stay valid and aligned for as long as the result or a copy of it is used, and
    /// everyone who writes there must do so atomically.
    #[must_use]
    pub unsafe fn new(produced: NonNull<AtomicU32>, consumed: NonNull<AtomicU32>) -> Self {
        Self { produced, consumed }
    }

    /// The producer's counter and the consumer's.
    fn counters(&self) -> (&AtomicU32, &AtomicU32) {
        // SAFETY: valid, aligned and only accessed atomically, by the contract of `new`.
        let produced = unsafe { self.produced.as_ref() };
        // SAFETY: as above.
        (produced, unsafe { self.consumed.as_ref() })
    }
}

acquire_and_release!(MappedIndices, |indices| indices.counters().0, indices.counters().1);
