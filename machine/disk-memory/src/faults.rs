//! What goes wrong, and how slowly.

use core::time::Duration;

use crate::random::Random;

/// How long something takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// Always this long.
    Fixed(Duration),
    /// Anything between these two, both included.
    Range(Duration, Duration),
}

impl Latency {
    /// At once.
    pub const ZERO: Self = Self::Fixed(Duration::ZERO);

    pub(crate) fn draw(self, random: &mut Random) -> Duration {
        match self {
            Self::Fixed(latency) => latency,
            Self::Range(low, high) => random.between(low, high),
        }
    }
}

/// How the disk behaves from the next flush on. May be changed at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// How long a read takes. A range makes reads overtake each other.
    pub read: Latency,
    /// How long an open takes.
    pub open: Latency,
    /// Reads end in the order in which they were staged, whatever their latencies.
    pub in_order: bool,
    /// How many reads in a million fail with `EIO`.
    pub read_errors_per_million: u32,
    /// How many reads in a million take `stall` longer.
    pub stalls_per_million: u32,
    /// How long those are held up.
    pub stall: Latency,
}

impl Faults {
    /// A disk that answers at once and never fails.
    pub const NONE: Self = Self {
        read: Latency::ZERO,
        open: Latency::ZERO,
        in_order: false,
        read_errors_per_million: 0,
        stalls_per_million: 0,
        stall: Latency::ZERO,
    };
}

impl Default for Faults {
    fn default() -> Self {
        Self::NONE
    }
}
