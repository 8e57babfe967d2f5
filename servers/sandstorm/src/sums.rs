//! The sums of an object's bytes, taken once: the sum of any part of it costs two looks and two edges.
//!
//! ```text
//!   bytes   |────────|────────|────────|────────|───      a mark every 64 bytes
//!   marks   0        s₁       s₂       s₃       s₄        sₙ: the sum of all bytes before mark n
//!
//!   part          └──────────────────────────┘
//!                 edge  s₄ − s₁            edge
//! ```
//!
//! A checksum prepared per segment would hold for one MSS, one length of the head and no range. The difference of two
//! marks holds for all of them, both IP versions, with timestamps and without; the edges are shorter than a header.

use core::ops::Range;

use wire::checksum::Sum;

/// Bytes from mark to mark: marks are 3 % of the object, an edge is summed in two or three vector loads.
pub const STRIDE: usize = 64;

/// The sums up to each mark, folded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixSums {
    marks: Box<[u16]>,
}

/// Marks that are being made, of bytes that come in pieces of any length.
#[derive(Debug)]
pub(crate) struct Marks {
    marks: Vec<u16>,
    sum: Sum,
    /// What came behind the last mark.
    rest: [u8; STRIDE],
    rest_len: usize,
}

impl Default for Marks {
    fn default() -> Self {
        Self { marks: vec![0], sum: Sum::ZERO, rest: [0; STRIDE], rest_len: 0 }
    }
}

impl Marks {
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        if self.rest_len > 0 {
            let (begun, behind) = bytes.split_at(bytes.len().min(STRIDE - self.rest_len));
            self.rest[self.rest_len..self.rest_len + begun.len()].copy_from_slice(begun);
            self.rest_len += begun.len();
            bytes = behind;
            if self.rest_len < STRIDE {
                return;
            }
            let rest = self.rest;
            self.mark(&rest);
            self.rest_len = 0;
        }
        let (strides, rest) = bytes.as_chunks::<STRIDE>();
        for stride in strides {
            self.mark(stride);
        }
        self.rest[..rest.len()].copy_from_slice(rest);
        self.rest_len = rest.len();
    }

    fn mark(&mut self, stride: &[u8; STRIDE]) {
        self.sum = self.sum.then(stride);
        self.marks.push(self.sum.fold());
    }

    pub(crate) fn done(self) -> PrefixSums {
        PrefixSums { marks: self.marks.into() }
    }
}

impl PrefixSums {
    /// The sums of bytes that come in pieces.
    #[must_use]
    pub fn of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut marks = Marks::default();
        for piece in pieces {
            marks.push(piece);
        }
        marks.done()
    }

    /// The sum of `range`; `edge` gives the sum of what lies between a mark and an end of it, at most 126 bytes.
    ///
    /// # Panics
    /// The range reaches beyond the object.
    #[must_use]
    pub fn sum(&self, range: Range<usize>, edge: impl Fn(Range<usize>) -> Sum) -> Sum {
        let (first, last) = (range.start.div_ceil(STRIDE), range.end / STRIDE);
        if first >= last {
            return edge(range);
        }
        // One's complement: to take away is to add the complement.
        let between = u32::from(self.marks[last]) + u32::from(!self.marks[first]);
        let between = (between & 0xffff) + (between >> 16);
        #[expect(clippy::cast_possible_truncation, reason = "the carry was put back")]
        let between = Sum::of_folded(between as u16, false);
        edge(range.start..first * STRIDE).combine(between).combine(edge(last * STRIDE..range.end))
    }

    /// The memory that the marks take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.marks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// In this arithmetic 0 and 0xffff are the same number.
    fn number(sum: Sum) -> u16 {
        sum.fold() % 0xffff
    }

    proptest! {
        #[test]
        fn a_part_has_the_sum_of_its_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 0..2_000),
            one in 0_usize..2_001,
            other in 0_usize..2_001,
        ) {
            let (one, other) = (one.min(bytes.len()), other.min(bytes.len()));
            let range = one.min(other)..one.max(other);
            let (one_cut, other_cut) = (bytes.len() / 3, bytes.len() / 2);
            let sums =
                PrefixSums::of([&bytes[..one_cut], &bytes[one_cut..other_cut], &bytes[other_cut..]]);
            let sum = sums.sum(range.clone(), |edge| Sum::of(&bytes[edge]));
            // Parity too: something stands behind it.
            prop_assert_eq!(number(sum.then(b"\x12\x34\x56")), number(Sum::of(&bytes[range]).then(b"\x12\x34\x56")));
        }
    }

    #[test]
    fn only_edges_are_looked_at() {
        let bytes = [0xa5; 10_000];
        let sums = PrefixSums::of([&bytes[..]]);
        let looked_at = core::cell::Cell::new(0);
        let _ = sums.sum(1_001..9_999, |edge| {
            looked_at.set(looked_at.get() + edge.len());
            Sum::of(&bytes[edge])
        });
        assert_eq!(looked_at.get(), (1_024 - 1_001) + (9_999 - 9_984));
    }
}
