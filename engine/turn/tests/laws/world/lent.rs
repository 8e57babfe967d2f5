//! Memory to be lent: a pattern in frames of the engine's own pool, large and small ones in turn.

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::ops::Range;
use disk_memory::pattern;
use dma::{Frame, Pool};
use platform::Part;
use turn::Memory;
use wire::checksum::Sum;

#[derive(Debug)]
pub(crate) struct Lendable {
    parts: RefCell<Vec<Part>>,
    /// How often a sum was asked for.
    pub(crate) summed: Cell<usize>,
    /// How often parts were asked for.
    pub(crate) looked_up: Cell<usize>,
}

impl Lendable {
    /// The first `len` bytes of pattern `number`.
    pub(crate) fn new(pool: &Pool, number: u64, len: u64) -> Rc<Self> {
        let lendable =
            Self { parts: RefCell::new(Vec::new()), summed: Cell::new(0), looked_up: Cell::new(0) };
        lendable.fill(pool, number, len);
        Rc::new(lendable)
    }

    /// What no memory does: from now on it is another.
    pub(crate) fn fill(&self, pool: &Pool, number: u64, len: u64) {
        let mut parts = Vec::new();
        let mut at = 0;
        while at < len {
            let is_large = parts.len().is_multiple_of(3);
            let frame = if is_large { pool.acquire_large() } else { pool.acquire_small() };
            let mut frame: Frame = frame.expect("a frame to lend");
            let start = frame.payload_start();
            let bytes = u64::try_from(frame.payload_bytes_max()).expect("a frame").min(len - at);
            let end = start + usize::try_from(bytes).expect("a frame");
            pattern(number, at, &mut frame.bytes_mut()[start..end]);
            let [start, len] = [start, end - start].map(|count| u32::try_from(count).expect("a frame"));
            parts.push(Part { frame: frame.share(), start, len });
            at += bytes;
        }
        self.parts.replace(parts);
    }

    fn each(&self, range: &Range<u64>, mut tell: impl FnMut(Part)) {
        assert!(!range.is_empty(), "nothing was asked for");
        let mut at = 0;
        for part in &*self.parts.borrow() {
            let (start, end) = (range.start.max(at), range.end.min(at + u64::from(part.len)));
            if start < end {
                let [skip, len] =
                    [start - at, end - start].map(|count| u32::try_from(count).expect("a part"));
                tell(Part { frame: part.frame.clone(), start: part.start + skip, len });
            }
            at += u64::from(part.len);
        }
        assert!(range.end <= at, "{range:?} of {at} bytes");
    }
}

impl Memory for Lendable {
    fn parts(&self, range: Range<u64>, tell: &mut dyn FnMut(Part)) {
        self.looked_up.set(self.looked_up.get() + 1);
        self.each(&range, tell);
    }

    fn sum(&self, range: Range<u64>) -> Sum {
        self.summed.set(self.summed.get() + 1);
        let mut sum = Sum::ZERO;
        self.each(&range, |part| sum = sum.then(part.bytes()));
        sum
    }
}
