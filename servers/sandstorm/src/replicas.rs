//! Segments of an object that lie ready, each in a frame of its own: what stands before the object's bytes is written
//! anew for each packet, the bytes themselves stay.
//!
//! ```text
//!   cut (first byte, length)   asked for once ─▶ known       again ─▶ a replica is made
//!     replica 0   |      room      | headers, head | bytes |   on its way: another name holds the frame
//!     replica 1   |      room      | headers, head | bytes |   back: ours is the only name, and it may be written again
//!     …           as many as packets of this cut are on their way at once, up to a high-water mark
//! ```
//!
//! A cut is what MSS, head and range make of an object. Clients choose all of them, so that the cuts that are known have
//! a bound; where it is reached all are forgotten, and those that are asked for come again.

use core::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use dma::{Frame, LARGE_BYTES, SMALL_BYTES, SharedFrame};
use platform::Part;

use crate::shelf::{Budget, Need};

/// Replicas of one cut: a batch's packets of one object, for a queue that is emptied as often.
const HIGH_WATER: usize = 64;
/// Cuts that are known of any object, and one more for each so many of its bytes: no segment that is asked for often is
/// shorter.
const CUTS: usize = 64;
const CUT_BYTES: usize = 512;

#[derive(Debug)]
pub(crate) struct Replicas {
    budget: Rc<Budget>,
    cuts: RefCell<HashMap<(u64, u32), Cut>>,
    cuts_max: usize,
    /// Off the shelf no more are made.
    stopped: Cell<bool>,
}

#[derive(Debug, Default)]
struct Cut {
    replicas: Vec<Option<SharedFrame>>,
    /// The one that was given last but one place: packets leave in order, so it is the next to come back.
    next: usize,
}

impl Cut {
    fn is_back(&self, index: usize) -> bool {
        self.replicas.get(index).is_some_and(|frame| frame.as_ref().is_some_and(|frame| frame.shares() == 1))
    }
}

impl Replicas {
    /// For an object of `len` bytes.
    pub(crate) fn new(budget: Rc<Budget>, len: usize) -> Self {
        Self { budget, cuts: RefCell::default(), cuts_max: CUTS + len / CUT_BYTES, stopped: Cell::new(false) }
    }

    /// A replica of the cut that begins at `start` and is `len` bytes long, with `before` written before them. `fill`
    /// writes them when there is none yet. `None`: it was not asked for before, or as many as may be are on their way.
    pub(crate) fn take(
        &self,
        (start, len): (u64, u32),
        before: &[&[u8]],
        fill: impl FnOnce(&mut [u8]),
    ) -> Option<Part> {
        let mut cuts = self.cuts.borrow_mut();
        if !cuts.contains_key(&(start, len)) {
            if cuts.len() >= self.cuts_max {
                self.forget(&mut cuts);
            }
            cuts.insert((start, len), Cut::default());
            return None;
        }
        let cut = cuts.get_mut(&(start, len))?;
        let before_bytes: usize = before.iter().map(|bytes| bytes.len()).sum();
        // The first that are back are used before the others: a few stay in the cache.
        let index = if cut.is_back(0) { 0 } else { cut.next };
        let (index, mut frame) = if cut.is_back(index) {
            (index, cut.replicas[index].take()?.thaw().ok()?)
        } else if cut.replicas.len() < HIGH_WATER {
            let mut frame = self.make(before_bytes + len as usize)?;
            let from = frame.bytes().len() - len as usize;
            fill(&mut frame.bytes_mut()[from..]);
            cut.replicas.push(None);
            (cut.replicas.len() - 1, frame)
        } else {
            return None;
        };
        let begin = write_before(&mut frame, before, len as usize);
        let frame = frame.share();
        cut.replicas[index] = Some(frame.clone());
        cut.next = index + 1;
        let begin = u32::try_from(begin?).ok()?;
        Some(Part { start: begin, len: u32::try_from(before_bytes).ok()? + len, frame })
    }

    /// A frame for so many bytes, if the budget has one.
    fn make(&self, bytes: usize) -> Option<Frame> {
        if self.stopped.get() || bytes > LARGE_BYTES {
            return None;
        }
        let need =
            if bytes <= SMALL_BYTES { Need { large: 0, small: 1 } } else { Need { large: 1, small: 0 } };
        self.budget.replicate(need)
    }

    /// Lets go of all of them; those on their way come back to the pool when they have left.
    pub(crate) fn clear(&self) {
        self.forget(&mut self.cuts.borrow_mut());
    }

    /// The same, and none is made again.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
        self.clear();
    }

    fn forget(&self, cuts: &mut HashMap<(u64, u32), Cut>) {
        for frame in cuts.drain().flat_map(|(_, cut)| cut.replicas).flatten() {
            let is_small = frame.bytes().len() == SMALL_BYTES;
            self.budget.give_back(if is_small {
                Need { large: 0, small: 1 }
            } else {
                Need { large: 1, small: 0 }
            });
        }
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Writes what stands before the last `len` bytes of the frame. Where it begins; `None` when there is no room.
fn write_before(frame: &mut Frame, before: &[&[u8]], len: usize) -> Option<usize> {
    let room = frame.bytes_mut();
    let before_bytes: usize = before.iter().map(|bytes| bytes.len()).sum();
    let begin = room.len().checked_sub(len + before_bytes)?;
    let mut at = begin;
    for bytes in before {
        room[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    }
    Some(begin)
}
