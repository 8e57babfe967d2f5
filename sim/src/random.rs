//! Where every choice of a world comes from.
//!
//! One seed feeds many streams of dice, each known by a label and an index, so that one client more does not change
//! what the disk does. Nothing here is secret.

use core::hash::Hasher;
use core::ops::Range;
use core::time::Duration;
use platform::Entropy;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use siphasher::sip::SipHasher13;

/// What a world is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// The dice known as `label` number `index`.
    #[must_use]
    pub fn dice(self, label: &str, index: u64) -> Dice {
        let mut key = [0; 32];
        for (lane, bytes) in (0u64..).zip(key.as_chunks_mut::<8>().0) {
            let mut hasher = SipHasher13::new_with_keys(self.0, lane);
            hasher.write(label.as_bytes());
            hasher.write_u64(index);
            *bytes = hasher.finish().to_le_bytes();
        }
        Dice(ChaCha8Rng::from_seed(key))
    }
}

/// One in a million: the unit of [`Dice::chance`].
pub const PPM: u32 = 1_000_000;

/// A stream of choices.
#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// True `ppm` times in a million.
    pub fn chance(&mut self, ppm: u32) -> bool {
        ppm > 0 && self.0.random_range(0..PPM) < ppm
    }

    /// A number of `range`.
    ///
    /// # Panics
    /// The range is empty.
    pub fn within(&mut self, range: Range<u64>) -> u64 {
        self.0.random_range(range)
    }

    /// A number of `range`, small ones as likely as large ones: uniform in its logarithm, roughly.
    ///
    /// # Panics
    /// The range is empty.
    pub fn skewed(&mut self, range: Range<u64>) -> u64 {
        assert!(range.start < range.end, "an empty range");
        let span = range.end - range.start;
        let bits = self.0.random_range(0..=span.ilog2());
        range.start + self.0.random_range(0..span.min(2 << bits))
    }

    /// A duration of `range`, to the nanosecond.
    ///
    /// # Panics
    /// The range is empty.
    pub fn duration(&mut self, range: Range<Duration>) -> Duration {
        self.0.random_range(range)
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// There are none.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        assert!(!choices.is_empty(), "nothing to pick from");
        &choices[self.0.random_range(0..choices.len())]
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Any bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Other dice, which no longer depend on how often these are thrown.
    pub fn fork(&mut self) -> Self {
        Self(ChaCha8Rng::from_rng(&mut self.0))
    }
}

impl Entropy for Dice {
    fn fill(&mut self, bytes: &mut [u8]) {
        Self::fill(self, bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_by_label_and_by_index() {
        let seed = Seed(7);
        let first = |label, index| seed.dice(label, index).number();
        assert_eq!(first("disk", 0), first("disk", 0));
        assert_ne!(first("disk", 0), first("disk", 1));
        assert_ne!(first("disk", 0), first("link", 0));
        assert_ne!(first("disk", 0), Seed(8).dice("disk", 0).number());
    }

    #[test]
    fn chance_comes_as_often_as_it_says() {
        let mut dice = Seed(1).dice("chance", 0);
        let hits = (0..100_000).filter(|_| dice.chance(PPM / 10)).count();
        assert!((9_000..11_000).contains(&hits), "{hits} of 100,000");
        assert!((0..1_000).all(|_| !dice.chance(0)));
        assert!((0..1_000).all(|_| dice.chance(PPM)));
    }

    #[test]
    fn skewed_numbers_stay_in_their_range_and_reach_both_ends() {
        let mut dice = Seed(2).dice("skewed", 0);
        let numbers: Vec<u64> = (0..10_000).map(|_| dice.skewed(10..1_010)).collect();
        assert!(numbers.iter().all(|number| (10..1_010).contains(number)));
        assert!(numbers.iter().any(|&number| number < 14) && numbers.iter().any(|&number| number > 900));
    }
}
