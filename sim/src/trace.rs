//! What happened, as one number.

use clock::Instant;
use core::fmt;
use core::hash::Hasher;
use siphasher::sip::SipHasher13;

/// Which way a frame went at the server's link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From a client, after the faults.
    Received,
    /// To a client, before the faults.
    Sent,
}

/// A hash over the time, the direction and every byte of every frame at the server's link. Two runs of a seed are
/// the same run exactly when their traces are equal.
#[derive(Clone)]
pub struct Trace {
    hasher: SipHasher13,
    frames: u64,
    bytes: u64,
}

impl Trace {
    /// Nothing has happened.
    #[must_use]
    pub fn new() -> Self {
        Self { hasher: SipHasher13::new_with_keys(0, 0), frames: 0, bytes: 0 }
    }

    /// A frame passed.
    pub fn record(&mut self, at: Instant, direction: Direction, frame: &[u8]) {
        self.hasher.write_u64(at.as_nanos());
        self.hasher.write_u8(match direction {
            Direction::Received => 0,
            Direction::Sent => 1,
        });
        self.hasher.write_usize(frame.len());
        self.hasher.write(frame);
        self.frames += 1;
        self.bytes += frame.len() as u64;
    }

    /// The hash of everything so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// Frames so far.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Bytes so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x} over {} frames", self.hash(), self.frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(frames: &[(u64, Direction, &[u8])]) -> u64 {
        let mut trace = Trace::new();
        for &(at, direction, bytes) in frames {
            trace.record(Instant::from_nanos(at), direction, bytes);
        }
        trace.hash()
    }

    #[test]
    fn time_direction_bytes_and_their_boundaries_all_count() {
        let one = trace(&[(1, Direction::Sent, b"ab"), (1, Direction::Sent, b"c")]);
        assert_eq!(one, trace(&[(1, Direction::Sent, b"ab"), (1, Direction::Sent, b"c")]));
        assert_ne!(one, trace(&[(1, Direction::Sent, b"ab"), (2, Direction::Sent, b"c")]));
        assert_ne!(one, trace(&[(1, Direction::Sent, b"ab"), (1, Direction::Received, b"c")]));
        assert_ne!(one, trace(&[(1, Direction::Sent, b"a"), (1, Direction::Sent, b"bc")]));
        assert_ne!(one, trace(&[(1, Direction::Sent, b"ab"), (1, Direction::Sent, b"d")]));
    }
}
