//! How busy the machine was within a load's window, and not while it begins and ends.
//!
//! ```text
//!   load    ramp │◀───────────── what counts ─────────────▶│ connections are closed
//!   looks   · · ·│·  ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  ·  · │·
//!   meter        │  ◀──────── first to last within ──────▶ │
//! ```
//!
//! Both ends of the meter's time lie within the load's, so that what is spent per second may be divided by what comes per
//! second.

use core::time::Duration;
use std::time::Instant;
use testbed::cpu::Busy;

use super::contestant::SERVER_CORE;
use crate::uncore::{Memory, Traffic};

/// Looks come this often, or nearly.
const LOOK: Duration = Duration::from_millis(50);

/// Reads the machine's time as long as a load counts.
#[derive(Debug)]
pub(super) struct Meter {
    duration: Duration,
    first: Option<(Instant, Busy)>,
    last: Option<Busy>,
    /// Where the machine counts it: memory traffic at the first look and at the last.
    memory: Option<Memory>,
    traffic: [Option<(Instant, Traffic)>; 2],
}

/// Shares of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Use {
    /// Of the server's core, softirq included, 0 to 1.
    pub(super) core: f64,
    /// CPU seconds a second of the whole machine.
    pub(super) machine: f64,
    /// Bytes a second between memory and the machine, where that is counted.
    pub(super) memory: Option<Traffic>,
}

impl Meter {
    /// For a load that counts for so long.
    pub(super) fn new(duration: Duration) -> Self {
        Self { duration, first: None, last: None, memory: Memory::open().ok(), traffic: [None; 2] }
    }

    /// To be called every 50 ms while the load counts, and harmless after.
    pub(super) fn look(&mut self) {
        let Some((begun, _)) = &self.first else {
            self.first = Some((Instant::now(), Busy::read()));
            self.traffic[0] = self.traffic();
            return;
        };
        // The load began to count at most a look earlier.
        if begun.elapsed() + LOOK <= self.duration {
            self.last = Some(Busy::read());
            self.traffic[1] = self.traffic();
        }
    }

    fn traffic(&self) -> Option<(Instant, Traffic)> {
        Some((Instant::now(), self.memory.as_ref()?.read().ok()?))
    }

    /// What was used; `None` of a load that ended before there were two looks.
    pub(super) fn used(&self) -> Option<Use> {
        let (_, first) = self.first.as_ref()?;
        let spent = first.until(self.last.as_ref()?, SERVER_CORE);
        Some(Use {
            // What others do there at low priority is not the server's.
            core: (spent.core_fraction - spent.core_niced_fraction).clamp(0.0, 1.0),
            machine: (spent.machine_seconds - spent.machine_niced_seconds).max(0.0) / spent.seconds,
            memory: match self.traffic {
                [Some((begun, before)), Some((ended, after))] => {
                    Some(after.since(before).per(ended.duration_since(begun).as_secs_f64()))
                }
                _ => None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_too_short_for_two_looks_has_no_share() {
        let mut meter = Meter::new(Duration::from_millis(10));
        assert_eq!(meter.used(), None);
        meter.look();
        meter.look();
        assert_eq!(meter.used(), None);
    }

    #[test]
    fn looks_after_the_window_do_not_count() {
        let mut meter = Meter::new(Duration::from_millis(150));
        for _ in 0..8 {
            meter.look();
            std::thread::sleep(LOOK);
        }
        let (_, first) = meter.first.as_ref().unwrap();
        let seconds = first.until(meter.last.as_ref().unwrap(), 0).seconds;
        assert!(seconds <= 0.15 && seconds > 0.0, "{seconds}");
    }
}
