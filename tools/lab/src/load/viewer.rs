//! A player as a server sees it: it fills a buffer, drains it at the bitrate, and stalls when it runs dry.
//!
//! ```text
//!   Starting ── buffered ≥ start ──▶ Playing ── buffered = 0 ──▶ Stalled
//!                                        ▲                          │
//!                                        └──── buffered ≥ start ────┘      a rebuffer event, and how long it took
//! ```
//!
//! It asks for the next segment as soon as there is room for it, and for none before.

use clock::Instant;
use core::time::Duration;

/// How somebody watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Habit {
    /// Media drains at this rate.
    pub bits_per_s: u64,
    /// So much is buffered at most.
    pub buffer: Duration,
    /// Playback begins, and begins again, with so much buffered.
    pub start: Duration,
}

/// A player's state. All inputs carry the time, which does not go back.
#[derive(Clone, Debug)]
pub struct Viewer {
    habit: Habit,
    state: State,
    /// Media buffered at `at`, in nanoseconds of playback.
    buffered_ns: u64,
    at: Instant,
    startup: Option<Duration>,
    stalls: u32,
    stalled: Duration,
    /// The last segment's size stands for the next one's.
    segment_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting { since: Instant },
    Playing,
    Stalled { since: Instant },
}

/// What a viewer lived through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Experience {
    /// From the first request to the first picture, if it came.
    pub startup: Option<Duration>,
    /// Rebuffer events.
    pub stalls: u32,
    /// How long they took together.
    pub stalled: Duration,
}

impl Viewer {
    /// Somebody who presses play.
    #[must_use]
    pub fn new(habit: Habit, now: Instant) -> Self {
        Self {
            habit,
            state: State::Starting { since: now },
            buffered_ns: 0,
            at: now,
            startup: None,
            stalls: 0,
            stalled: Duration::ZERO,
            segment_bytes: 0,
        }
    }

    /// Bytes of media came.
    pub fn on_bytes(&mut self, now: Instant, bytes: u64) {
        self.drain(now);
        self.buffered_ns = self.buffered_ns.saturating_add(self.playback_ns(bytes));
        if self.buffered_ns < nanos(self.start()) {
            return;
        }
        match self.state {
            State::Playing => {}
            State::Starting { since } => {
                self.startup = Some(now.since(since));
                self.state = State::Playing;
            }
            State::Stalled { since } => {
                self.stalled += now.since(since);
                self.state = State::Playing;
            }
        }
    }

    /// A segment of so many bytes is whole.
    pub fn on_segment(&mut self, bytes: u64) {
        self.segment_bytes = bytes;
    }

    /// When there is room for the next segment: now, or later. Until the first came, nobody knows how much it takes.
    #[must_use]
    pub fn asks_at(&mut self, now: Instant) -> Instant {
        self.drain(now);
        let full = self.buffered_ns.saturating_add(self.playback_ns(self.segment_bytes));
        let excess = full.saturating_sub(nanos(self.habit.buffer));
        // A buffer smaller than a segment is emptied, not waited for forever.
        let wait = excess.min(self.buffered_ns);
        if self.state == State::Playing { now + Duration::from_nanos(wait) } else { now }
    }

    /// What it lived through until now.
    #[must_use]
    pub fn experience(&mut self, now: Instant) -> Experience {
        self.drain(now);
        let under_way = match self.state {
            State::Stalled { since } => now.since(since),
            State::Starting { .. } | State::Playing => Duration::ZERO,
        };
        Experience { startup: self.startup, stalls: self.stalls, stalled: self.stalled + under_way }
    }

    /// From now on only what happens from now on counts; playback goes on.
    pub fn forget(&mut self, now: Instant) {
        self.drain(now);
        self.stalls = 0;
        self.stalled = Duration::ZERO;
        if let State::Stalled { since } = &mut self.state {
            *since = now;
            self.stalls = 1;
        }
    }

    fn start(&self) -> Duration {
        self.habit.start.min(self.habit.buffer)
    }

    fn playback_ns(&self, bytes: u64) -> u64 {
        let ns = u128::from(bytes) * 8 * 1_000_000_000 / u128::from(self.habit.bits_per_s.max(1));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    fn drain(&mut self, now: Instant) {
        let passed = nanos(now.since(self.at));
        let dry_at = self.at + Duration::from_nanos(self.buffered_ns);
        self.at = self.at.max(now);
        if self.state != State::Playing {
            return;
        }
        if passed < self.buffered_ns {
            self.buffered_ns -= passed;
            return;
        }
        self.buffered_ns = 0;
        self.stalls += 1;
        self.state = State::Stalled { since: dry_at };
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 8 Mb/s: a megabyte lasts a second.
    const HABIT: Habit =
        Habit { bits_per_s: 8_000_000, buffer: Duration::from_secs(10), start: Duration::from_secs(2) };
    const SECOND_BYTES: u64 = 1_000_000;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn playback_begins_when_enough_is_buffered() {
        let mut viewer = Viewer::new(HABIT, at(0));
        viewer.on_bytes(at(500), SECOND_BYTES);
        assert_eq!(viewer.experience(at(600)).startup, None);
        viewer.on_bytes(at(700), SECOND_BYTES);
        let experience = viewer.experience(at(800));
        assert_eq!(experience.startup, Some(Duration::from_millis(700)));
        assert_eq!(experience.stalls, 0);
    }

    #[test]
    fn a_dry_buffer_is_one_stall_until_enough_is_buffered_again() {
        let mut viewer = Viewer::new(HABIT, at(0));
        viewer.on_bytes(at(0), 2 * SECOND_BYTES);
        // Dry at 2 s; the next bytes come at 5 s, and are not enough before 6 s.
        viewer.on_bytes(at(5_000), SECOND_BYTES);
        assert_eq!(viewer.experience(at(5_500)).stalls, 1);
        assert_eq!(viewer.experience(at(5_500)).stalled, Duration::from_millis(3_500));
        viewer.on_bytes(at(6_000), SECOND_BYTES);
        let experience = viewer.experience(at(7_000));
        assert_eq!((experience.stalls, experience.stalled), (1, Duration::from_secs(4)));
    }

    #[test]
    fn a_full_buffer_asks_for_nothing() {
        let mut viewer = Viewer::new(HABIT, at(0));
        for _ in 0..9 {
            viewer.on_bytes(at(0), SECOND_BYTES);
            viewer.on_segment(SECOND_BYTES);
        }
        assert_eq!(viewer.asks_at(at(0)), at(0));
        viewer.on_bytes(at(0), SECOND_BYTES);
        assert_eq!(viewer.asks_at(at(0)), at(1_000));
        assert_eq!(viewer.asks_at(at(1_000)), at(1_000));
    }

    #[test]
    fn a_segment_longer_than_the_buffer_is_asked_for_when_the_buffer_is_dry() {
        let mut viewer = Viewer::new(HABIT, at(0));
        viewer.on_bytes(at(0), 20 * SECOND_BYTES);
        viewer.on_segment(20 * SECOND_BYTES);
        assert_eq!(viewer.asks_at(at(0)), at(20_000));
    }

    #[test]
    fn forgetting_keeps_the_picture_running() {
        let mut viewer = Viewer::new(HABIT, at(0));
        viewer.on_bytes(at(0), 2 * SECOND_BYTES);
        viewer.forget(at(3_000));
        assert_eq!(viewer.experience(at(4_000)).stalled, Duration::from_secs(1));
    }

    proptest! {
        /// Time is either played, waited for at the start, stalled, or still to come.
        #[test]
        fn no_time_is_lost(steps in proptest::collection::vec((0_u64..4_000, 0_u64..3_000_000), 1..60)) {
            let (mut viewer, mut now, mut bytes) = (Viewer::new(HABIT, at(0)), at(0), 0);
            for (ms, more) in steps {
                now += Duration::from_millis(ms);
                viewer.on_bytes(now, more);
                bytes += more;
            }
            let experience = viewer.experience(now);
            if let Some(startup) = experience.startup {
                let played = now.since(at(0)) - startup - experience.stalled;
                let media = Duration::from_nanos(bytes * 1_000);
                let left = Duration::from_nanos(viewer.buffered_ns);
                prop_assert!((played + left).abs_diff(media) < Duration::from_micros(1));
            }
        }
    }
}
