//! RFC 7323's timestamps: our clock, and the peer's most recent one.

use clock::Instant;
use wire::tcp::SeqNum;

/// TS.Recent that was not refreshed for so long says nothing any more (RFC 7323 §5.5): 24 days.
const RECENT_LIFE_S: u32 = 24 * 24 * 3600;

/// Both sides of an agreed timestamps option.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimestampClock {
    /// Added to the worker's milliseconds.
    offset: u32,
    /// TS.Recent: what our segments echo.
    pub(crate) recent: u32,
    /// When TS.Recent was last refreshed, in seconds of the worker's clock.
    recent_at_s: u32,
    /// Whether both sides sent the option in their SYN.
    pub(crate) enabled: bool,
}

impl TimestampClock {
    pub(crate) fn new(offset: u32) -> Self {
        Self { offset, recent: 0, recent_at_s: 0, enabled: false }
    }

    /// An offset that hides the host's uptime from whoever does not know `key`.
    pub(crate) fn offset_for(iss: SeqNum, key: u32) -> u32 {
        // A bijective mixer of 32 bits: every bit of the input reaches every bit of the output.
        let mut mixed = iss.0 ^ key;
        mixed = (mixed ^ (mixed >> 16)).wrapping_mul(0x7feb_352d);
        mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0x846c_a68b);
        mixed ^ (mixed >> 16) ^ key.rotate_left(7)
    }

    pub(crate) fn offset(&self) -> u32 {
        self.offset
    }

    /// TSval now: one tick is a millisecond (RFC 7323 §5.4 wants 1 ms to 1 s).
    pub(crate) fn value(&self, now: Instant) -> u32 {
        ticks(now).wrapping_add(self.offset)
    }

    /// TS.Recent becomes `value` (RFC 7323 §4.3).
    pub(crate) fn refresh(&mut self, now: Instant, value: u32) {
        self.recent = value;
        self.recent_at_s = seconds(now);
    }

    /// Whether `value` is older than TS.Recent, and TS.Recent is young enough to say so: PAWS (RFC 7323 §5.3 R1).
    pub(crate) fn is_old(&self, now: Instant, value: u32) -> bool {
        let valid = seconds(now).saturating_sub(self.recent_at_s) < RECENT_LIFE_S;
        valid && precedes(value, self.recent)
    }
}

/// `a < b` on the circle of timestamps (RFC 7323 §5.2).
pub(crate) fn precedes(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() < 0
}

/// The worker's milliseconds on the circle of timestamps.
#[expect(clippy::cast_possible_truncation, reason = "timestamps live on a circle of 2³² ms")]
pub(crate) fn ticks(now: Instant) -> u32 {
    now.as_millis() as u32
}

fn seconds(now: Instant) -> u32 {
    u32::try_from(now.as_millis() / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn an_older_timestamp_is_recognised_across_the_wrap() {
        let mut clock = TimestampClock::new(0);
        clock.refresh(Instant::EPOCH, 5);
        assert!(clock.is_old(Instant::EPOCH, u32::MAX - 5));
        assert!(!clock.is_old(Instant::EPOCH, 5));
        assert!(!clock.is_old(Instant::EPOCH, 6));
    }

    //= RFC 7323 §5.5: "TS.Recent is ... invalidated whenever a connection is idle for more than 24 days"
    #[test]
    fn after_24_days_of_silence_any_timestamp_is_believed() {
        let mut clock = TimestampClock::new(0);
        clock.refresh(Instant::EPOCH, 100);
        assert!(clock.is_old(Instant::EPOCH + Duration::from_secs(23 * 86_400), 99));
        assert!(!clock.is_old(Instant::EPOCH + Duration::from_secs(24 * 86_400), 99));
    }

    #[test]
    fn the_clock_ticks_a_millisecond() {
        let clock = TimestampClock::new(u32::MAX);
        assert_eq!(clock.value(Instant::EPOCH), u32::MAX);
        assert_eq!(clock.value(Instant::EPOCH + Duration::from_millis(3)), 2);
    }
}
