//! Numbers from a seed: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).

use crate::config::Probability;

/// A stream of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream `number` of those that belong to `seed`.
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        Self(mix(seed ^ mix(number.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Whether something of this probability happens now. What never happens draws no number.
    pub(crate) fn happens(&mut self, probability: Probability) -> bool {
        probability != Probability::NEVER
            && below(self.next(), u64::from(Probability::ALWAYS.per_billion()))
                < u64::from(probability.per_billion())
    }
}

/// Spreads `value` over all 64 bits, one to one.
pub(crate) const fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Maps a number that may be anything evenly to `0..bound`; 0 when the bound is.
pub(crate) const fn below(number: u64, bound: u64) -> u64 {
    ((number as u128 * bound as u128) >> 64) as u64
}
