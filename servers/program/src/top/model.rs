//! What is known of the server: two samples, what happened between them, and what happened before.

use control::Connection;
use core::net::SocketAddr;
use core::time::Duration;
use host::screen::{Stats, Watched, of};
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// Intervals that the sparkline remembers: the widest terminal there is.
const HISTORY: usize = 512;

/// Everything seen at one moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) at: Instant,
    pub(super) stats: Stats,
    pub(super) connections: Vec<Connection>,
}

/// What the connections are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Rate,
    Resent,
    RoundTrip,
    Window,
}

/// A connection that may be shown.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) connection: Connection,
    /// Bytes a second, first and repeated sendings; none for one that was not there before.
    pub(super) rate: Option<f64>,
    /// Of all bytes sent, since it began.
    pub(super) resent: f64,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) watched: Watched,
    pub(super) sort: Sort,
    pub(super) now: Option<Sample>,
    before: Option<Sample>,
    /// Bits a second, the newest last.
    pub(super) history: VecDeque<u64>,
    /// All connections, in order.
    pub(super) rows: Vec<Row>,
}

impl Model {
    pub(super) fn new(program: &'static str, address: SocketAddr, interval: Duration) -> Self {
        Self {
            watched: Watched::new(program, address, interval),
            sort: Sort::Rate,
            now: None,
            before: None,
            history: VecDeque::new(),
            rows: Vec::new(),
        }
    }

    /// The server was seen. While paused the screen stays as it is.
    pub(super) fn on_sample(&mut self, sample: Sample) {
        if self.watched.paused {
            return;
        }
        // One that was started again has counted from zero: nothing happened between the two.
        self.before = self.now.take().filter(|before| {
            before.stats.uptime <= sample.stats.uptime
                && before.stats.workers.len() == sample.stats.workers.len()
        });
        self.now = Some(sample);
        if self.before.is_some() {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate, not negative"
            )]
            self.history.push_back((self.rate("sent_bytes") * 8.0) as u64);
            while self.history.len() > HISTORY {
                self.history.pop_front();
            }
        }
        self.make_rows();
    }

    pub(super) fn sort_by(&mut self, sort: Sort) {
        self.sort = sort;
        self.order_rows();
    }

    fn elapsed(&self) -> Option<f64> {
        let (before, now) = self.before.as_ref().zip(self.now.as_ref())?;
        Some(now.at.saturating_duration_since(before.at).as_secs_f64()).filter(|elapsed| *elapsed > 0.0)
    }

    /// How much a counter of all workers has grown in a second.
    pub(super) fn rate(&self, name: &str) -> f64 {
        let workers = self.now.as_ref().map_or(0, |now| now.stats.workers.len());
        (0..workers).map(|worker| self.rate_of(worker, name)).sum()
    }

    /// How much a worker's counter has grown in a second.
    pub(super) fn rate_of(&self, worker: usize, name: &str) -> f64 {
        let Some(((before, now), elapsed)) = self.before.as_ref().zip(self.now.as_ref()).zip(self.elapsed())
        else {
            return 0.0;
        };
        let figure =
            |sample: &Sample| sample.stats.workers.get(worker).map_or(0.0, |worker| of(worker, name));
        ((figure(now) - figure(before)) / elapsed).max(0.0)
    }

    fn make_rows(&mut self) {
        let elapsed = self.elapsed();
        let mut known: HashMap<(SocketAddr, SocketAddr), u64> = HashMap::new();
        for connection in self.before.iter().flat_map(|before| &before.connections) {
            let sent = connection.sent_bytes + connection.resent_bytes;
            known.insert((connection.local, connection.peer), sent);
        }
        let connections = self.now.iter().flat_map(|now| &now.connections);
        self.rows = connections
            .map(|connection| {
                let sent = connection.sent_bytes + connection.resent_bytes;
                let before = known.get(&(connection.local, connection.peer));
                #[expect(clippy::cast_precision_loss, reason = "for people")]
                let rate = before
                    .zip(elapsed)
                    .map(|(before, elapsed)| sent.saturating_sub(*before) as f64 / elapsed);
                #[expect(clippy::cast_precision_loss, reason = "for people")]
                let resent = connection.resent_bytes as f64 / sent.max(1) as f64;
                Row { connection: connection.clone(), rate, resent }
            })
            .collect();
        self.order_rows();
    }

    /// The largest first; of equals the order of their addresses, so that lines do not jump.
    fn order_rows(&mut self) {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let key = |row: &Row| match self.sort {
            Sort::Rate => row.rate.unwrap_or(0.0),
            Sort::Resent => row.resent,
            Sort::RoundTrip => row.connection.srtt_us.unwrap_or(0) as f64,
            Sort::Window => row.connection.cwnd.into(),
        };
        self.rows.sort_by(|a, b| {
            key(b).total_cmp(&key(a)).then_with(|| a.connection.peer.cmp(&b.connection.peer))
        });
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::ss::tests::connection;
    use serde_json::json;

    /// A server of two workers that has sent so many bytes.
    pub(crate) fn sample(begun: Instant, second: u32, sent: u64) -> Sample {
        let worker = |sent: u64| {
            json!({
                "sent_bytes": sent, "resent_bytes": sent / 1000, "disk_read_bytes": sent,
                "disk_reads": sent / 65_536, "disk_reads_done": sent / 65_536,
                "disk_reads_microseconds": sent / 65_536 * 240, "disk_reads_in_flight": 3,
                "connections": 600, "connections_accepted": 1_000 + sent / 1_000_000,
                "connections_finished": 400 + sent / 2_000_000,
                "handshakes": 800 + sent / 2_000_000, "resumptions": 100,
                "http_answers.200": sent / 300_000, "http_answers.404": second,
                "frames": 4096, "frames_in_use.large": 312, "frames_in_use_max.large": 498,
                "credit_waits.frame": 0, "credit_waits.disk": 7 * second,
                "awake_seconds": 0.45 * f64::from(second), "turn_seconds.0.99": 0.000_112,
                "link_received_packets": sent / 20_000, "link_sent_packets": sent / 60_000,
                "link_send_errors": 0, "link_receive_errors": 0,
            })
        };
        let stats = Stats::of(&json!({
            "status": "running",
            "process": {"uptime_seconds": 11_520 + second},
            "workers": [worker(sent), worker(sent / 2)],
        }));
        let connections = (0..40_u32)
            .map(|index| {
                let mut connection = connection(&format!("198.51.100.{}:{}", index + 1, 52_000 + index));
                connection.sent_bytes = sent / 100 * u64::from(index);
                connection.srtt_us = Some(u64::from(40 - index) * 1_000);
                connection
            })
            .collect();
        Sample { at: begun + Duration::from_secs(second.into()), stats, connections }
    }

    pub(crate) fn model() -> (Model, Instant) {
        let begun = Instant::now();
        let mut model = Model::new("atlas", "127.0.0.1:9464".parse().unwrap(), Duration::from_secs(1));
        for second in 0..30 {
            model.on_sample(sample(begun, second, 1_250_000_000 * u64::from(second)));
        }
        (model, begun + Duration::from_secs(29))
    }

    #[test]
    fn rates_are_what_happened_between_two_samples() {
        let (model, _) = model();
        assert_eq!(model.rate("sent_bytes"), 1_875_000_000.0);
        assert_eq!(model.history.back(), Some(&15_000_000_000));
        assert_eq!(model.rate("credit_waits."), 14.0);
        assert_eq!(model.rate_of(1, "sent_bytes"), 625_000_000.0);
        assert!((model.rate_of(0, "awake_seconds") - 0.45).abs() < 1e-9);
    }

    #[test]
    fn the_first_sample_has_no_rates_and_neither_has_one_after_a_restart() {
        let begun = Instant::now();
        let (mut model, _) = model();
        let mut restarted = sample(begun, 40, 1_000);
        restarted.stats.uptime = 2.0;
        model.on_sample(restarted);
        assert_eq!(model.rate("sent_bytes"), 0.0);
        assert!(model.rows.iter().all(|row| row.rate.is_none()));
        model.on_sample(Sample {
            stats: Stats { uptime: 3.0, ..sample(begun, 41, 9_000).stats },
            ..sample(begun, 41, 9_000)
        });
        assert!(model.rate("sent_bytes") > 0.0);
    }

    #[test]
    fn rows_are_sorted_by_what_is_asked_for() {
        let (mut model, _) = model();
        assert_eq!(model.rows[0].connection.peer.port(), 52_039);
        model.sort_by(Sort::RoundTrip);
        assert_eq!(model.rows[0].connection.peer.port(), 52_000);
    }

    #[test]
    fn a_pause_keeps_what_is_shown() {
        let (mut model, _) = model();
        model.watched.pause();
        let shown = model.now.as_ref().unwrap().at;
        model.on_sample(sample(Instant::now(), 99, 0));
        assert_eq!(model.now.as_ref().unwrap().at, shown);
        model.watched.pause();
        model.on_sample(sample(Instant::now(), 99, 0));
        assert_ne!(model.now.as_ref().unwrap().at, shown);
    }
}
