//! Memory to be lent: a pattern in frames of the engine's own pool, large and small ones in turn.

use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::ops::Range;
use disk_memory::pattern;
use dma::{Frame, Pool, SharedFrame};
use platform::Part;
use std::collections::BTreeMap;
use turn::Memory;
use wire::checksum::Sum;

/// Where the bytes of a replica begin.
const REPLICA_AT: usize = 2_048;

#[derive(Debug)]
pub(crate) struct Lendable {
    parts: RefCell<Vec<Part>>,
    /// How often a sum was asked for.
    pub(crate) summed: Cell<usize>,
    pool: Pool,
    /// Replicas by their range; one that was asked for once has none.
    replicas: RefCell<BTreeMap<(u64, u64), Vec<SharedFrame>>>,
}

/// Replicas of one range.
const REPLICAS_MAX: usize = 3;

impl Lendable {
    /// The first `len` bytes of pattern `number`.
    pub(crate) fn new(pool: &Pool, number: u64, len: u64) -> Rc<Self> {
        let lendable = Self {
            parts: RefCell::new(Vec::new()),
            summed: Cell::new(0),
            pool: pool.clone(),
            replicas: RefCell::default(),
        };
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

    /// Frames in replicas.
    pub(crate) fn replicated(&self) -> usize {
        self.replicas.borrow().values().map(Vec::len).sum()
    }

    /// A frame for a replica that is not on its way.
    fn frame_of(&self, range: &Range<u64>) -> Option<Frame> {
        let mut replicas = self.replicas.borrow_mut();
        let Some(known) = replicas.get_mut(&(range.start, range.end)) else {
            replicas.insert((range.start, range.end), Vec::new());
            return None;
        };
        if let Some(index) = known.iter().position(|frame| frame.shares() == 1) {
            return known.swap_remove(index).thaw().ok();
        }
        if known.len() >= REPLICAS_MAX {
            return None;
        }
        let mut frame = self.pool.acquire_large()?;
        let mut at = REPLICA_AT;
        self.each(range, |part| {
            frame.bytes_mut()[at..at + part.bytes().len()].copy_from_slice(part.bytes());
            at += part.bytes().len();
        });
        Some(frame)
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
        self.each(&range, tell);
    }

    fn sum(&self, range: Range<u64>) -> Sum {
        self.summed.set(self.summed.get() + 1);
        let mut sum = Sum::ZERO;
        self.each(&range, |part| sum = sum.then(part.bytes()));
        sum
    }

    fn replica(&self, range: Range<u64>, before: &[&[u8]]) -> Option<Part> {
        let mut frame = self.frame_of(&range)?;
        let before_bytes: usize = before.iter().map(|bytes| bytes.len()).sum();
        let start = REPLICA_AT - before_bytes;
        let mut at = start;
        for bytes in before {
            frame.bytes_mut()[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        }
        let frame = frame.share();
        let mut replicas = self.replicas.borrow_mut();
        replicas.entry((range.start, range.end)).or_default().push(frame.clone());
        let len = before_bytes + usize::try_from(range.end - range.start).expect("a segment");
        let [start, len] = [start, len].map(|count| u32::try_from(count).expect("a frame"));
        Some(Part { frame, start, len })
    }
}
