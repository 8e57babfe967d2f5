//! When a zone of other servers is asked for, and how long it may be served without an answer (RFC 1034 §4.3.5).
//!
//! ```text
//!            refresh, or a primary's word                        SOA as ours: current
//!  Waiting ───────────────────────────────▶ Asking primary 0 ──────────────────────────▶ Waiting, refresh
//!     ▲                                         │ failed          newer, fetched whole
//!     │ retry, when all have failed             ▼
//!     └─────────────────────────────────── primary 1 …            all along: EXPIRE since the last answer ─▶ expired
//! ```
//!
//! A pure value: `poll` says whom to ask, one of `on_current`, `on_version` and `on_failure` says what came of it, and time
//! is what the caller says it is: any clock that goes forward. It asks nobody twice before it has been told.

use super::policy::Remote;
use super::serial::is_newer;
use crate::zone::Soa;
use core::net::IpAddr;
use core::time::Duration;

/// Bounds for what a primary wants: it may be mistaken, or lie.
const REFRESH_MIN: Duration = Duration::from_secs(1);
const INTERVAL_MAX: Duration = Duration::from_secs(28 * 86_400);
/// Without a version there is no RETRY: from the first to the last of these, twice as long each time.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(3_600);

/// The timers of a version that we have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Timers {
    serial: u32,
    refresh: Duration,
    retry: Duration,
    expire: Duration,
}

impl Timers {
    fn of(soa: &Soa) -> Self {
        let [serial, refresh, retry, expire, _] = soa.numbers();
        let interval = |seconds: u32| Duration::from_secs(seconds.into()).clamp(REFRESH_MIN, INTERVAL_MAX);
        Self {
            serial,
            refresh: interval(refresh),
            retry: interval(retry),
            // RFC 1912 §2.2: expiring before anybody was asked again would be a mistake.
            expire: Duration::from_secs(expire.into()).max(interval(retry)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting {
        until: Duration,
    },
    Asking {
        primary: usize,
        /// How many have been asked in this round, this one among them.
        asked: usize,
        /// The difference was refused: all of it.
        all: bool,
    },
}

/// Whom to ask, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The server.
    pub primary: Remote,
    /// The version that we have; nothing when all of the zone is wanted.
    pub serial: Option<u32>,
}

/// A zone that other servers have.
#[derive(Clone, Debug)]
pub struct Secondary {
    primaries: Vec<Remote>,
    timers: Option<Timers>,
    /// When somebody last said that what we have is in force.
    confirmed: Duration,
    state: State,
    /// Failures in a row, of whole rounds.
    failures: u32,
    /// A primary has said something while another was asked.
    again: Option<usize>,
    /// When a round was begun last.
    asked_at: Option<Duration>,
    expired: bool,
}

impl Secondary {
    /// A zone of these servers, of which there is at least one. With a version that was confirmed so long ago, or without.
    ///
    /// # Panics
    /// There is no server.
    #[must_use]
    pub fn new(primaries: Vec<Remote>, have: Option<(&Soa, Duration)>, now: Duration) -> Self {
        assert!(!primaries.is_empty(), "a secondary has a primary");
        let timers = have.map(|(soa, _)| Timers::of(soa));
        // Time begins anywhere: what was before it cannot be told, and has expired.
        let age = have.map_or(Duration::ZERO, |(_, age)| age);
        let mut secondary = Self {
            primaries,
            timers,
            confirmed: now,
            state: State::Waiting { until: now },
            failures: 0,
            again: None,
            asked_at: None,
            expired: false,
        };
        if let Some(timers) = &mut secondary.timers {
            secondary.expired = age >= timers.expire;
            // What is left of it counts from now on.
            secondary.confirmed = now.checked_sub(age).unwrap_or_else(|| {
                timers.expire = timers.expire.saturating_sub(age);
                now
            });
        }
        secondary
    }

    /// The servers are these now. Whoever is being asked may still answer.
    ///
    /// # Panics
    /// There is no server.
    pub fn set_primaries(&mut self, primaries: Vec<Remote>, now: Duration) {
        assert!(!primaries.is_empty(), "a secondary has a primary");
        if self.primaries == primaries {
            return;
        }
        self.primaries = primaries;
        self.again = None;
        match &mut self.state {
            State::Waiting { until } => *until = now,
            State::Asking { primary, .. } => {
                *primary = 0;
                self.again = Some(0);
            }
        }
    }

    /// Whom to ask now, if anybody.
    pub fn poll(&mut self, now: Duration) -> Option<Ask> {
        match self.state {
            State::Waiting { until } if until <= now => {
                let primary = self.again.take().unwrap_or(0);
                self.asked_at = Some(now);
                Some(self.ask(primary, 1, false))
            }
            _ => None,
        }
    }

    fn ask(&mut self, primary: usize, asked: usize, all: bool) -> Ask {
        let primary = primary % self.primaries.len();
        self.state = State::Asking { primary, asked, all };
        let serial = self.timers.filter(|_| !all).map(|timers| timers.serial);
        Ask { primary: self.primaries[primary].clone(), serial }
    }

    /// The server that was asked has what we have.
    pub fn on_current(&mut self, now: Duration) {
        self.confirm(now);
    }

    /// The server that was asked had this, and it is ours now.
    pub fn on_version(&mut self, soa: &Soa, now: Duration) {
        self.timers = Some(Timers::of(soa));
        self.confirm(now);
    }

    fn confirm(&mut self, now: Duration) {
        let Some(timers) = self.timers else { return };
        self.confirmed = now;
        self.expired = false;
        self.failures = 0;
        let until = if self.again.is_some() { self.earliest(now) } else { now + timers.refresh };
        self.state = State::Waiting { until };
    }

    /// Nothing came of it. Returns whom to ask instead: the same one for all of the zone, when it could not make the
    /// difference, or the next one.
    pub fn on_failure(&mut self, failure: Failure, now: Duration) -> Option<Ask> {
        let State::Asking { primary, asked, all } = self.state else { return None };
        if failure == Failure::NoDifference && !all && self.timers.is_some() {
            return Some(self.ask(primary, asked, true));
        }
        if asked < self.primaries.len() {
            return Some(self.ask(primary + 1, asked + 1, false));
        }
        let pause = match self.timers {
            Some(timers) => timers.retry,
            None => LAST_RETRY.min(FIRST_RETRY * 2_u32.saturating_pow(self.failures.min(16))),
        };
        self.failures = self.failures.saturating_add(1);
        let until = if self.again.is_some() { self.earliest(now) } else { now + pause };
        self.state = State::Waiting { until };
        None
    }

    /// A primary says that the zone has changed (RFC 1996 §3.11): it is asked first, and at once. What it says of the serial
    /// is a hint: an older one is not believed to be news.
    pub fn on_notice(&mut self, source: IpAddr, serial: Option<u32>, now: Duration) {
        let Some(primary) = self.primaries.iter().position(|remote| remote.address.ip() == source) else {
            return;
        };
        if let (Some(said), Some(timers)) = (serial, self.timers)
            && !is_newer(said, timers.serial)
            && !self.expired
        {
            return;
        }
        self.again = Some(primary);
        let earliest = self.earliest(now);
        if let State::Waiting { until } = &mut self.state {
            *until = (*until).min(earliest);
        }
    }

    /// However many words come, and whoever forges them: a primary is asked once in a while.
    fn earliest(&self, now: Duration) -> Duration {
        self.asked_at.map_or(now, |asked_at| now.max(asked_at + REFRESH_MIN))
    }

    /// What we have has been said to be in force for the last time so long ago that nothing may be said any more. True once,
    /// when it happens.
    pub fn expires(&mut self, now: Duration) -> bool {
        let Some(timers) = self.timers.filter(|_| !self.expired) else { return false };
        self.expired = now >= self.confirmed + timers.expire;
        self.expired
    }

    /// Nothing may be said of the zone.
    #[must_use]
    pub const fn is_expired(&self) -> bool {
        self.expired
    }

    /// When to look again, whatever happens.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        let asked = match self.state {
            State::Waiting { until } => Some(until),
            State::Asking { .. } => None,
        };
        let expiry = self.timers.filter(|_| !self.expired).map(|timers| self.confirmed + timers.expire);
        [asked, expiry].into_iter().flatten().min()
    }
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It cannot tell what changed, or what it told does not fit what we have.
    NoDifference,
    /// Anything else.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn soa(numbers: [u32; 5]) -> Soa {
        let mut rdata = vec![0, 0];
        numbers.iter().for_each(|number| rdata.extend(number.to_be_bytes()));
        Soa { ttl: 60, rdata: rdata.into() }
    }

    fn ordinary(serial: u32) -> Soa {
        soa([serial, 100, 10, 1_000, 60])
    }

    fn remote(text: &str) -> Remote {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Duration {
        SECOND * u32::try_from(seconds).unwrap()
    }

    fn two() -> Vec<Remote> {
        vec![remote("192.0.2.1"), remote("192.0.2.2")]
    }

    /// One that has serial 7 since second 0.
    fn served() -> Secondary {
        let mut secondary = Secondary::new(two(), None, at(0));
        assert_eq!(secondary.poll(at(0)), Some(Ask { primary: remote("192.0.2.1"), serial: None }));
        secondary.on_version(&ordinary(7), at(0));
        secondary
    }

    fn asks(primary: &str, serial: Option<u32>) -> Option<Ask> {
        Some(Ask { primary: remote(primary), serial })
    }

    #[test]
    fn after_refresh_it_asks_and_an_answer_begins_it_anew() {
        let mut secondary = served();
        assert_eq!((secondary.poll(at(99)), secondary.next()), (None, Some(at(100))));
        assert_eq!(secondary.poll(at(100)), asks("192.0.2.1", Some(7)));
        assert_eq!(secondary.poll(at(500)), None, "nobody is asked twice at once");
        secondary.on_current(at(110));
        assert_eq!((secondary.poll(at(209)), secondary.poll(at(210))), (None, asks("192.0.2.1", Some(7))));
    }

    #[test]
    fn when_one_fails_the_next_is_asked_and_when_all_have_it_waits_for_retry() {
        let mut secondary = served();
        secondary.poll(at(100));
        assert_eq!(secondary.on_failure(Failure::Other, at(101)), asks("192.0.2.2", Some(7)));
        assert_eq!(secondary.on_failure(Failure::Other, at(102)), None);
        assert_eq!((secondary.poll(at(111)), secondary.poll(at(112))), (None, asks("192.0.2.1", Some(7))));
    }

    #[test]
    fn who_cannot_tell_the_difference_is_asked_for_all_of_it_once() {
        let mut secondary = served();
        secondary.poll(at(100));
        assert_eq!(secondary.on_failure(Failure::NoDifference, at(100)), asks("192.0.2.1", None));
        assert_eq!(secondary.on_failure(Failure::NoDifference, at(100)), asks("192.0.2.2", Some(7)));
    }

    #[test]
    fn what_nobody_confirms_expires_and_an_answer_brings_it_back() {
        let mut secondary = served();
        assert!(!secondary.expires(at(999)) && secondary.expires(at(1_000)) && !secondary.expires(at(1_001)));
        assert!(secondary.is_expired());
        secondary.poll(at(1_001));
        secondary.on_current(at(1_002));
        assert!(!secondary.is_expired() && !secondary.expires(at(2_001)) && secondary.expires(at(2_002)));
    }

    #[test]
    fn a_zone_from_a_file_is_as_old_as_it_was_confirmed() {
        let fresh = |age| Secondary::new(two(), Some((&ordinary(7), at(age))), at(5));
        let mut secondary = fresh(400);
        assert_eq!(secondary.poll(at(5)), asks("192.0.2.1", Some(7)), "a restart asks at once");
        assert!(!secondary.expires(at(604)) && secondary.expires(at(605)));
        assert!(fresh(1_000).is_expired() && !fresh(999).is_expired());
        // Nobody answers: the old version is still what is asked for.
        let mut old = fresh(5_000);
        assert_eq!(old.poll(at(5)), asks("192.0.2.1", Some(7)));
    }

    #[test]
    fn a_primarys_word_is_acted_on_at_once_and_it_is_asked_first() {
        let mut secondary = served();
        secondary.on_notice([192, 0, 2, 2].into(), Some(8), at(3));
        assert_eq!(secondary.poll(at(3)), asks("192.0.2.2", Some(7)));
        // Another one while it is being asked: once more, afterwards.
        secondary.on_notice([192, 0, 2, 1].into(), None, at(4));
        assert_eq!(secondary.poll(at(4)), None);
        secondary.on_version(&ordinary(8), at(5));
        assert_eq!(secondary.poll(at(5)), asks("192.0.2.1", Some(8)));
        secondary.on_current(at(5));
        assert_eq!(secondary.next(), Some(at(105)));
    }

    #[test]
    fn a_word_that_is_no_news_or_nobodys_changes_nothing() {
        let mut secondary = served();
        secondary.on_notice([192, 0, 2, 1].into(), Some(7), at(3));
        secondary.on_notice([192, 0, 2, 1].into(), Some(6), at(3));
        secondary.on_notice([192, 0, 2, 3].into(), Some(9), at(3));
        assert_eq!(secondary.poll(at(3)), None);
    }

    #[test]
    fn words_without_end_cost_one_question_a_second() {
        let mut secondary = served();
        let mut questions = 0;
        for tenth in 0..600 {
            let now = SECOND / 10 * tenth;
            secondary.on_notice([192, 0, 2, 1].into(), None, now);
            if secondary.poll(now).is_none() {
                continue;
            }
            questions += 1;
            secondary.on_notice([192, 0, 2, 1].into(), None, now);
            if tenth % 20 < 10 {
                secondary.on_current(now);
            } else {
                while secondary.on_failure(Failure::Other, now).is_some() {}
            }
        }
        assert!((50..=61).contains(&questions), "{questions} questions in a minute");
    }

    #[test]
    fn without_a_version_it_tries_less_and_less_often() {
        let mut secondary = Secondary::new(vec![remote("192.0.2.1")], None, at(0));
        let mut now = at(0);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert_eq!(secondary.poll(now), asks("192.0.2.1", None));
            assert_eq!(secondary.on_failure(Failure::NoDifference, now), None);
            let next = secondary.next().unwrap();
            pauses.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 3_600, 3_600]);
    }

    #[test]
    fn timers_that_would_never_rest_or_never_end_are_bounded() {
        let mut secondary = served();
        secondary.poll(at(100));
        secondary.on_version(&soa([8, 0, 0, 0, 0]), at(100));
        assert_eq!(secondary.next(), Some(at(101)));
        secondary.poll(at(101));
        secondary.on_version(&soa([9, u32::MAX, u32::MAX, u32::MAX, 0]), at(101));
        assert_eq!(secondary.next(), Some(at(101) + INTERVAL_MAX));
    }
}
