//! The numbers, for a person.

use core::fmt::Write as _;
use core::ops::AddAssign;
use core::time::Duration;
use middlebox::{LaneStatistics, Statistics};
use rustix::io::Errno;
use std::sync::{Mutex, PoisonError};

/// A number of one direction.
type Column = fn(&LaneStatistics) -> u64;

/// What one worker, or all of them, counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    /// What the path did.
    pub(crate) statistics: Statistics,
    /// Frames that the server's and the client's device would not take.
    pub(crate) refused: [u64; 2],
    /// Why, the last time.
    pub(crate) refusal: Option<Errno>,
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        let Self { statistics, refused, refusal } = other;
        self.statistics += statistics;
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

    /// Everything, as a table.
    pub(crate) fn table(&self, elapsed: Duration) -> String {
        let Statistics { to_server, to_client, held, memory_bytes: _, memory_bytes_max } = &self.statistics;
        let rows: [(&str, Column); 14] = [
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
        let mut text = format!("{:<18} {:>16} {:>16}\n", "", "to server", "to client");
        let mut row = |name: &str, values: [u64; 2]| {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name:<18} {:>16} {:>16}", values[0], values[1]);
        };
        for (name, value) in rows {
            row(name, [value(to_server), value(to_client)]);
        }
        row("refused by device", self.refused);
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
