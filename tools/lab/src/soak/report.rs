//! What came of a soak: for programs, and for people.

use core::fmt::Write as _;
use core::time::Duration;
use serde_json::{Value, json};

use super::Order;
use super::fault::Fault;
use super::figures::Figures;
use super::growth::Growth;
use super::load::{Came, Failed};
use super::server::Held;
use crate::load::tally::round;

/// Complaints that are shown to people.
const SHOWN: usize = 20;

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Complaint {
    /// Seconds since the beginning.
    pub at_s: f64,
    /// In which round.
    pub round: usize,
    /// What went on then.
    pub fault: Fault,
    /// What.
    pub what: String,
}

/// One round.
#[derive(Clone, Debug)]
pub struct Round {
    number: usize,
    fault: Fault,
    path: Vec<String>,
    time: Duration,
    came: Came,
}

impl Round {
    pub(super) fn new(number: usize, fault: Fault, path: Vec<String>, time: Duration, came: Came) -> Self {
        Self { number, fault, path, time, came }
    }
}

/// What a quantity may gain over a life: so much, or this share of the least that it was, whichever is more.
#[derive(Clone, Copy, Debug)]
struct Bound {
    name: &'static str,
    absolute: f64,
    share: f64,
}

const BOUNDS: [Bound; 4] = [
    Bound { name: "resident bytes", absolute: 12_000_000.0, share: 0.03 },
    Bound { name: "descriptors", absolute: 8.0, share: 0.0 },
    Bound { name: "threads", absolute: 2.0, share: 0.0 },
    Bound { name: "frames in use at rest", absolute: 16.0, share: 0.0 },
];

/// A life of the server's process: what it held each time that it rested.
#[derive(Clone, Debug, Default)]
pub(super) struct Life {
    held: [Growth; BOUNDS.len()],
}

impl Life {
    /// It rests, and holds so much.
    pub(super) fn rest(&mut self, at_s: f64, held: Held, figures: &Figures) {
        let Held { bytes, descriptors, threads } = held;
        // What is kept open on purpose, and what is kept in memory on purpose, is bounded elsewhere.
        let files = descriptors.saturating_sub(figures.gauge("files_open"));
        let objects = figures.gauge("shelf_objects");
        let frames = if objects > 0 { 0 } else { figures.gauge("frames_in_use.large") };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        for (growth, value) in self.held.iter_mut().zip([bytes, files, threads, frames]) {
            growth.add(at_s, value as f64);
        }
    }

    /// What grew more than it may, after a warm-up.
    pub(super) fn grew(&self) -> Vec<String> {
        let bounds = self.held.iter().zip(BOUNDS);
        bounds
            .filter_map(|(growth, Bound { name, absolute, share })| {
                let growth = growth.warmed_up();
                let (gained, least) = (growth.gained()?, growth.least()?);
                let bound = absolute.max(least * share);
                (gained > bound).then(|| {
                    format!("{name} grew by {gained:.0}, from {least:.0}, and {bound:.0} is what it may")
                })
            })
            .collect()
    }

    fn json(&self) -> Value {
        let names = BOUNDS.iter().map(|bound| bound.name.to_owned());
        names
            .zip(self.held.iter().map(|growth| growth.warmed_up().json()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Report {
    order: Order,
    pub(super) command: String,
    pub(super) seconds: f64,
    pub(super) looks: u64,
    pub(super) lines: u64,
    pub(super) interrupted: bool,
    pub(super) ended_early: bool,
    pub(super) rounds: Vec<Round>,
    pub(super) lives: Vec<Life>,
    /// What must not be, in order.
    pub complaints: Vec<Complaint>,
}

impl Report {
    pub(super) fn new(order: &Order) -> Self {
        Self {
            order: order.clone(),
            command: String::new(),
            seconds: 0.0,
            looks: 0,
            lines: 0,
            interrupted: false,
            ended_early: false,
            rounds: Vec::new(),
            lives: Vec::new(),
            complaints: Vec::new(),
        }
    }

    /// Nothing was wrong, and something was done.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.complaints.is_empty() && !self.ended_early && !self.rounds.is_empty()
    }

    pub(super) fn requests(&self) -> u64 {
        self.rounds.iter().map(|round| round.came.requests).sum()
    }

    fn verified(&self) -> u64 {
        self.rounds.iter().map(|round| round.came.verified_bytes).sum()
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let rounds: Vec<Value> = self
            .rounds
            .iter()
            .map(|Round { number, fault, path, time, came }| {
                let Came { requests, wire_bytes, verified_bytes, connections, failed } = came;
                let failed: Vec<Value> = failed
                    .iter()
                    .map(
                        |Failed { kind, count, first }| json!({"kind": kind, "count": count, "first": first}),
                    )
                    .collect();
                json!({
                    "round": number, "fault": fault.name(), "path": path.join(" "),
                    "seconds": round(time.as_secs_f64()), "requests": requests, "wire_bytes": wire_bytes,
                    "verified_bytes": verified_bytes, "connections": connections, "failed": failed,
                })
            })
            .collect();
        let complaints: Vec<Value> = self
            .complaints
            .iter()
            .map(|Complaint { at_s, round: number, fault, what }| {
                json!({"at_s": round(*at_s), "round": number, "fault": fault.name(), "what": what})
            })
            .collect();
        json!({
            "schema": "lab-soak-1",
            "server": self.order.who.name(),
            "seed": self.order.seed,
            "replay": self.order.replay(),
            "command": self.command,
            "seconds": round(self.seconds),
            "interrupted": self.interrupted,
            "ended_early": self.ended_early,
            "passed": self.passed(),
            "requests": self.requests(),
            "verified_bytes": self.verified(),
            "looks": self.looks,
            "lines": self.lines,
            "rounds": rounds,
            "lives": self.lives.iter().map(Life::json).collect::<Vec<_>>(),
            "complaints": complaints,
        })
    }

    /// For people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!(
            "{:>5} {:<13} {:>7} {:>10} {:>10}  failed\n",
            "round", "fault", "seconds", "requests", "MB checked"
        );
        for Round { number, fault, path, time, came } in &self.rounds {
            let failed: Vec<String> =
                came.failed.iter().map(|failed| format!("{} {}", failed.count, failed.kind)).collect();
            let _ = writeln!(
                text,
                "{number:>5} {:<13} {:>7.1} {:>10} {:>10.1}  {} {}",
                fault.name(),
                time.as_secs_f64(),
                came.requests,
                megabytes(came.verified_bytes),
                failed.join(", "),
                path.join(" "),
            );
        }
        let _ = writeln!(
            text,
            "{} in {:.0} s: {} rounds, {} requests, {:.0} MB compared, {} looks at its numbers, {} lives",
            self.order.who.name(),
            self.seconds,
            self.rounds.len(),
            self.requests(),
            megabytes(self.verified()),
            self.looks,
            self.lives.len(),
        );
        for (bound, index) in BOUNDS.iter().zip(0..) {
            let longest = self.lives.iter().map(|life| life.held[index].warmed_up()).max_by_key(Growth::len);
            if let Some((growth, gained)) =
                longest.and_then(|growth| Some((growth.clone(), growth.gained()?)))
            {
                let least = growth.least().unwrap_or(0.0);
                let _ = writeln!(text, "{}: {least:.0}, and {gained:+.0} over the longest life", bound.name);
            }
        }
        for Complaint { at_s, round, fault, what } in self.complaints.iter().take(SHOWN) {
            let _ = writeln!(text, "WRONG at {at_s:.1} s, round {round} ({fault}): {what}");
        }
        if self.complaints.len() > SHOWN {
            let _ = writeln!(text, "and {} more", self.complaints.len() - SHOWN);
        }
        let verdict = if self.passed() { "passed" } else { "FAILED" };
        let why = if self.interrupted { ", as far as it came before it was stopped" } else { "" };
        let _ = writeln!(text, "{verdict}{why}");
        if !self.passed() {
            let _ = writeln!(text, "again: {}", self.order.replay());
        }
        text
    }
}

fn megabytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let bytes = bytes as f64;
    bytes / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_grows_with_time_is_told_and_a_warm_up_is_not() {
        let life = |values: &[f64]| {
            let mut life = Life::default();
            for (at, value) in values.iter().enumerate() {
                life.held[0].add(f64::from(u32::try_from(at).unwrap()) * 10.0, *value * 1e6);
            }
            life.grew()
        };
        assert_eq!(life(&[20.0, 80.0, 100.0, 101.0, 100.0, 101.0, 100.0, 101.0]), Vec::<String>::new());
        let told = life(&[100.0, 110.0, 120.0, 130.0, 140.0, 150.0, 160.0, 170.0]);
        assert!(matches!(&told[..], [line] if line.starts_with("resident bytes grew by")), "{told:?}");
    }
}
