//! Sequence numbers: points on a circle of 2³² (RFC 9293 §3.4).

use core::fmt;
use core::ops::{Add, AddAssign, Sub, SubAssign};

/// A sequence number.
///
/// A circle has no order, so there is no `Ord`: [`SeqNum::before`] and [`SeqNum::after`] hold between numbers less than
/// 2³¹ apart, which is why RFC 7323 bounds windows to 2³⁰. They are not transitive around the circle.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SeqNum(pub u32);

impl SeqNum {
    /// `self < other` in RFC 9293's circular sense. Nothing is before the point opposite to it.
    #[must_use]
    pub const fn before(self, other: Self) -> bool {
        other.after(self)
    }

    /// `self > other` in RFC 9293's circular sense.
    #[must_use]
    pub const fn after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    /// Whether `first =< self < first + len`: exact for every `len`, even beyond half the circle.
    #[must_use]
    pub const fn is_within(self, first: Self, len: u32) -> bool {
        self.0.wrapping_sub(first.0) < len
    }

    /// Bytes from `earlier` forward to `self`: 0 to 2³² − 1, never negative.
    #[must_use]
    pub const fn distance_from(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// The later of two numbers.
    #[must_use]
    pub const fn later(self, other: Self) -> Self {
        if other.after(self) { other } else { self }
    }

    /// The earlier of two numbers.
    #[must_use]
    pub const fn earlier(self, other: Self) -> Self {
        if other.before(self) { other } else { self }
    }
}

impl Add<u32> for SeqNum {
    type Output = Self;
    fn add(self, bytes: u32) -> Self {
        Self(self.0.wrapping_add(bytes))
    }
}

impl AddAssign<u32> for SeqNum {
    fn add_assign(&mut self, bytes: u32) {
        *self = *self + bytes;
    }
}

impl Sub<u32> for SeqNum {
    type Output = Self;
    fn sub(self, bytes: u32) -> Self {
        Self(self.0.wrapping_sub(bytes))
    }
}

impl SubAssign<u32> for SeqNum {
    fn sub_assign(&mut self, bytes: u32) {
        *self = *self - bytes;
    }
}

impl Sub for SeqNum {
    type Output = i32;
    /// How far `self` is after `other`; negative when before. The point opposite is `i32::MIN` from both sides.
    fn sub(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }
}

impl From<u32> for SeqNum {
    fn from(number: u32) -> Self {
        Self(number)
    }
}

impl From<SeqNum> for u32 {
    fn from(number: SeqNum) -> Self {
        number.0
    }
}

impl fmt::Debug for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
