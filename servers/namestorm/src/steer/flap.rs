//! From answers to a verdict: some in a row before a target is well or is not, and more of them for one that flaps.

use super::table::Check;
use core::time::Duration;

/// A target that fell is watched for longer after each fall within so long of the one before.
const CALM: Duration = Duration::from_secs(60);
/// At most so many times doubled.
const DOUBLED_MAX: u8 = 5;

/// What is known of a target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// The verdict; nothing before the first answer.
    well: Option<bool>,
    /// Answers in a row that speak against it.
    against: u32,
    /// Falls, of which one is forgotten for each calm time.
    falls: u8,
    fell: Duration,
}

impl Health {
    /// Takes an answer; says what the verdict is now, when that has changed. The first answer decides at once: until then
    /// nothing is known that a second one would have to outweigh.
    pub(super) fn on_answer(&mut self, good: bool, now: Duration, check: &Check) -> Option<bool> {
        let Some(well) = self.well else {
            if !good {
                self.fall(now);
            }
            self.well = Some(good);
            return Some(good);
        };
        if good == well {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < self.needed(well, check) {
            return None;
        }
        self.against = 0;
        self.well = Some(good);
        if !good {
            self.fall(now);
        }
        Some(good)
    }

    fn needed(&self, well: bool, check: &Check) -> u32 {
        if well {
            check.fall.into()
        } else {
            u32::from(check.rise) << self.falls.saturating_sub(1).min(DOUBLED_MAX)
        }
    }

    fn fall(&mut self, now: Duration) {
        let calm = now.saturating_sub(self.fell).as_secs() / CALM.as_secs();
        let forgotten = u8::try_from(calm).unwrap_or(u8::MAX);
        self.falls = self.falls.saturating_sub(forgotten).saturating_add(1);
        self.fell = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rise: u8, fall: u8) -> Check {
        Check {
            address: ([127, 0, 0, 1], 80).into(),
            path: "/".to_owned(),
            host: "x".to_owned(),
            interval: Duration::from_millis(100),
            timeout: Duration::from_millis(100),
            rise,
            fall,
            status: (200, 299),
        }
    }

    /// How many good answers it takes to be well again.
    fn recovery(health: &mut Health, now: u64, check: &Check) -> u32 {
        (1..1_000).find(|_| health.on_answer(true, Duration::from_secs(now), check) == Some(true)).unwrap()
    }

    fn fall(health: &mut Health, now: u64, check: &Check) {
        while health.on_answer(false, Duration::from_secs(now), check).is_none() {}
    }

    #[test]
    fn the_first_answer_decides_and_then_it_takes_some_in_a_row() {
        let check = check(3, 2);
        let mut health = Health::default();
        let mut on = |good| health.on_answer(good, Duration::ZERO, &check);
        assert_eq!(on(true), Some(true));
        assert_eq!([on(false), on(true), on(false), on(false)], [None, None, None, Some(false)]);
        assert_eq!([on(true), on(true), on(false)], [None; 3]);
        assert_eq!([on(true), on(true), on(true)], [None, None, Some(true)]);
    }

    #[test]
    fn whoever_flaps_waits_longer_each_time_and_a_calm_time_is_forgiven() {
        let check = check(2, 1);
        let mut health = Health::default();
        recovery(&mut health, 0, &check);
        let mut waits = Vec::new();
        for second in 0..8 {
            fall(&mut health, second, &check);
            waits.push(recovery(&mut health, second, &check));
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 64, 64, 64]);
        fall(&mut health, 10_000, &check);
        assert_eq!(recovery(&mut health, 10_000, &check), 2);
    }
}
