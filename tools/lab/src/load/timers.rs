//! When each client is to be polled: a heap of deadlines, looked at again when they come.

use clock::Instant;
use core::cmp::Reverse;
use std::collections::BinaryHeap;

/// Deadlines of clients `0..count`.
///
/// A client's deadline moves with every request. It is left in the heap when it moves away, and when its old time comes
/// the owner says the new one: a request costs no heap operation.
#[derive(Debug)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
    /// The entry of each client that counts; others are stale.
    armed: Box<[Instant]>,
}

impl Timers {
    pub(crate) fn new(count: usize) -> Self {
        Self { heap: BinaryHeap::with_capacity(count), armed: vec![Instant::NEVER; count].into() }
    }

    /// The client is to be polled at `at` at the latest.
    pub(crate) fn arm(&mut self, client: usize, at: Instant) {
        if at < self.armed[client] {
            self.armed[client] = at;
            self.heap.push(Reverse((at, client)));
        }
    }

    /// Somebody who is due; to be polled, and armed again.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<usize> {
        while let Some(&Reverse((at, client))) = self.heap.peek() {
            if at > now {
                return None;
            }
            self.heap.pop();
            if self.armed[client] == at {
                self.armed[client] = Instant::NEVER;
                return Some(client);
            }
        }
        None
    }

    /// When somebody may be due.
    pub(crate) fn next(&self) -> Instant {
        self.heap.peek().map_or(Instant::NEVER, |Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_due_comes_once_and_the_earlier_time_counts() {
        let at = Instant::from_nanos;
        let mut timers = Timers::new(2);
        timers.arm(0, at(50));
        timers.arm(0, at(20));
        timers.arm(0, at(90));
        timers.arm(1, at(30));
        assert_eq!((timers.pop(at(19)), timers.next()), (None, at(20)));
        assert_eq!((timers.pop(at(60)), timers.pop(at(60)), timers.pop(at(60))), (Some(0), Some(1), None));
        timers.arm(0, at(90));
        assert_eq!((timers.pop(at(89)), timers.pop(at(90))), (None, Some(0)));
        assert_eq!(timers.next(), Instant::NEVER);
    }
}
