//! The numbers, for a person or for a program.

use core::fmt::Write as _;
use core::ops::AddAssign;
use core::time::Duration;
use middlebox::{LaneStatistics, Statistics};
use rustix::io::Errno;
use serde_json::{Map, Value, json};
use std::sync::{Mutex, PoisonError};

/// A number of one direction.
type Column = fn(&LaneStatistics) -> u64;

/// What each direction counted, by name.
const ROWS: [(&str, Column); 14] = [
    ("frames received", |lane| lane.received),
    ("bytes received", |lane| lane.received_bytes),
    ("superframes cut", |lane| lane.cut),
    ("packets", |lane| lane.packets),
    ("forwarded", |lane| lane.forwarded),
    ("bytes forwarded", |lane| lane.forwarded_bytes),
    ("lost", |lane| lane.lost),
    ("lost in bursts", |lane| lane.lost_in_burst),
    ("duplicated", |lane| lane.duplicated),
    ("reordered", |lane| lane.reordered),
    ("queue full", |lane| lane.queue_full),
    ("policed", |lane| lane.policed),
    ("out of memory", |lane| lane.overflowed),
    ("malformed", |lane| lane.malformed),
];

const MISSED: &str = "missed by us";
const REFUSED: &str = "refused by device";

/// What one worker, or all of them, counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    /// What the path did.
    pub(crate) statistics: Statistics,
    /// Frames that the kernel dropped because we did not read quickly enough.
    pub(crate) missed: [u64; 2],
    /// Frames that the server's and the client's device would not take.
    pub(crate) refused: [u64; 2],
    /// Why, the last time.
    pub(crate) refusal: Option<Errno>,
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        let Self { statistics, missed, refused, refusal } = other;
        self.statistics += statistics;
        self.missed[0] += missed[0];
        self.missed[1] += missed[1];
        self.refused[0] += refused[0];
        self.refused[1] += refused[1];
        self.refusal = refusal.or(self.refusal);
    }
}

impl Report {
    /// One line for the time since `before`.
    pub(crate) fn line(&self, before: &Self, elapsed: Duration) -> String {
        let way = |now: &LaneStatistics, then: &LaneStatistics| {
            let packets = now.forwarded.saturating_sub(then.forwarded);
            let bytes = now.forwarded_bytes.saturating_sub(then.forwarded_bytes);
            let dropped = dropped(now).saturating_sub(dropped(then));
            format!("{} frames/s {} dropped {dropped}", per_second(packets, elapsed), bits(bytes, elapsed))
        };
        let Statistics { to_server, to_client, held, memory_bytes, .. } = &self.statistics;
        format!(
            "to server {}; to client {}; held {held} in {} KiB",
            way(to_server, &before.statistics.to_server),
            way(to_client, &before.statistics.to_client),
            memory_bytes / 1_024,
        )
    }

    /// Everything, as one object on one line: names as in the table, with underscores.
    pub(crate) fn json(&self, event: &str, elapsed: Duration) -> String {
        let Statistics { to_server, to_client, held, memory_bytes, memory_bytes_max } = &self.statistics;
        let way = |lane: &LaneStatistics, way: usize| {
            let rows = ROWS.iter().map(|(name, value)| (name.replace(' ', "_"), value(lane).into()));
            let ours = [(MISSED, self.missed[way]), (REFUSED, self.refused[way])];
            let ours = ours.map(|(name, value)| (name.replace(' ', "_"), value.into()));
            rows.chain(ours).collect::<Map<String, Value>>()
        };
        json!({
            "event": event,
            "seconds": elapsed.as_secs_f64(),
            "to_server": way(to_server, 0),
            "to_client": way(to_client, 1),
            "last_refusal": self.refusal.map(|error| error.to_string()),
            "held": held,
            "memory_bytes": memory_bytes,
            "memory_bytes_max": memory_bytes_max,
        })
        .to_string()
    }

    /// Everything, as a table.
    pub(crate) fn table(&self, elapsed: Duration) -> String {
        let Statistics { to_server, to_client, held, memory_bytes: _, memory_bytes_max } = &self.statistics;
        let mut text = format!("{:<18} {:>16} {:>16}\n", "", "to server", "to client");
        let mut row = |name: &str, values: [u64; 2]| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:<18} {:>16} {:>16}", values[0], values[1]);
        };
        for (name, value) in ROWS {
            row(name, [value(to_server), value(to_client)]);
        }
        row(MISSED, self.missed);
        row(REFUSED, self.refused);
        if let Some(error) = self.refusal {
            let _ = writeln!(text, "the last refusal was: {error}");
        }
        let _ = writeln!(
            text,
            "{:.1} s; {held} packets still held; {} KiB of packets at most",
            elapsed.as_secs_f64(),
            memory_bytes_max / 1_024
        );
        text
    }
}

fn dropped(lane: &LaneStatistics) -> u64 {
    lane.lost + lane.lost_in_burst + lane.policed + lane.queue_full + lane.overflowed + lane.malformed
}

fn per_second(count: u64, elapsed: Duration) -> u128 {
    u128::from(count) * 1_000 / elapsed.as_millis().max(1)
}

fn bits(bytes: u64, elapsed: Duration) -> String {
    let megabits = per_second(bytes.saturating_mul(8), elapsed) / 1_000_000;
    format!("{megabits} Mb/s")
}

/// Where workers leave their numbers, a place for each.
#[derive(Debug)]
pub(crate) struct Board(Vec<Mutex<Report>>);

impl Board {
    /// A board for so many workers.
    pub(crate) fn new(workers: u16) -> Self {
        Self((0..workers).map(|_| Mutex::default()).collect())
    }

    /// Replaces a worker's numbers.
    pub(crate) fn put(&self, worker: usize, report: &Report) {
        *self.0[worker].lock().unwrap_or_else(PoisonError::into_inner) = *report;
    }

    /// The sum.
    pub(crate) fn total(&self) -> Report {
        let mut total = Report::default();
        for place in &self.0 {
            total += *place.lock().unwrap_or_else(PoisonError::into_inner);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_reads_the_numbers_that_a_person_does() {
        let mut report =
            Report { missed: [0, 5], refused: [3, 0], refusal: Some(Errno::NOBUFS), ..Report::default() };
        report.statistics.to_client.lost_in_burst = 7;
        report.statistics.memory_bytes_max = 1 << 20;
        let read: Value = serde_json::from_str(&report.json("totals", Duration::from_millis(1_500))).unwrap();
        assert_eq!((&read["event"], &read["seconds"]), (&json!("totals"), &json!(1.5)));
        assert_eq!(read["to_client"]["lost_in_bursts"], 7);
        assert_eq!(read["to_client"]["missed_by_us"], 5);
        assert_eq!(
            (&read["to_server"]["refused_by_device"], &read["memory_bytes_max"]),
            (&json!(3), &json!(1 << 20))
        );
        assert_eq!(read["to_server"].as_object().unwrap().len(), ROWS.len() + 2);
        let table = report.table(Duration::from_millis(1_500));
        assert!(ROWS.iter().all(|(name, _)| table.contains(name)), "{table}");
    }
}
