//! `namestorm top`: a running server, live in a terminal. [`host::screen`] looks and draws; what is shown of it is here.

#[path = "top/view.rs"]
mod view;

use clap::Args;
use core::time::Duration;
use host::screen::{Screen, Stats, TopError, Watched, of, watch};
use std::collections::VecDeque;
use std::time::Instant;

use crate::offline::Complaint;
use crate::set::AdminArgs;

/// Intervals that the sparkline remembers: the widest terminal there is.
const HISTORY: usize = 512;

#[derive(Debug, Args)]
pub(crate) struct Top {
    #[command(flatten)]
    admin: AdminArgs,
    /// Look so often, in seconds [default: 1]
    #[arg(long, value_name = "SECONDS", default_value_t = 1, hide_default_value = true)]
    interval: u16,
}

impl Top {
    pub(crate) fn run(self) -> Result<(), Complaint> {
        let port = self.admin.port()?;
        let interval = Duration::from_secs(self.interval.max(1).into());
        let mut model = Model::new(Watched::new("namestorm", port.0, interval));
        let sample = move || Ok(Sample { stats: Stats::of(&port.stats()?), at: Instant::now() });
        watch(&mut model, sample).map_err(|error| match error {
            TopError::NoTerminal => Complaint::from(
                "top draws on a terminal, and standard output is none; for programs there is `namestorm stats`",
            ),
            error @ TopError::Terminal(_) => error.into(),
        })
    }
}

/// `namestorm stats`: the same figures, as JSON.
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    admin: AdminArgs,
}

impl StatsArgs {
    pub(crate) fn run(self) -> Result<(), Complaint> {
        use std::io::Write as _;
        let stats = self.admin.port()?.stats()?;
        writeln!(std::io::stdout(), "{stats:#}")?;
        Ok(())
    }
}

/// Everything seen at one moment.
#[derive(Clone, Debug)]
struct Sample {
    at: Instant,
    stats: Stats,
}

/// What is known of the server: two samples, and what happened between them.
#[derive(Debug)]
struct Model {
    watched: Watched,
    now: Option<Sample>,
    before: Option<Sample>,
    /// Questions a second, the newest last.
    history: VecDeque<u64>,
}

/// A target, as the figures have it.
#[derive(Clone, Debug, PartialEq)]
struct Target {
    name: String,
    up: bool,
    weight: f64,
    changes: f64,
}

impl Model {
    const fn new(watched: Watched) -> Self {
        Self { watched, now: None, before: None, history: VecDeque::new() }
    }

    /// A figure of all workers; of all its labels, when `name` ends with a dot.
    fn sum(&self, name: &str) -> f64 {
        self.now.as_ref().map_or(0.0, |sample| sample.stats.sum(name))
    }

    /// A figure of the process.
    fn process(&self, name: &str) -> f64 {
        self.now.as_ref().and_then(|sample| sample.stats.process.get(name)).copied().unwrap_or(0.0)
    }

    fn workers(&self) -> usize {
        self.now.as_ref().map_or(0, |sample| sample.stats.workers.len())
    }

    /// How much a counter of all workers has grown in a second.
    fn rate(&self, name: &str) -> f64 {
        (0..self.workers()).map(|worker| self.rate_of(worker, name)).sum()
    }

    /// How much a worker's counter has grown in a second.
    fn rate_of(&self, worker: usize, name: &str) -> f64 {
        let Some((before, now)) = self.before.as_ref().zip(self.now.as_ref()) else { return 0.0 };
        let elapsed = now.at.saturating_duration_since(before.at).as_secs_f64();
        let figure =
            |sample: &Sample| sample.stats.workers.get(worker).map_or(0.0, |worker| of(worker, name));
        if elapsed > 0.0 { ((figure(now) - figure(before)) / elapsed).max(0.0) } else { 0.0 }
    }

    /// What a figure's labels have grown by in a second, the most first; what never happened is left out.
    fn rates_by_label(&self, name: &str) -> Vec<(String, f64)> {
        let Some(first) = self.now.as_ref().and_then(|sample| sample.stats.workers.first()) else {
            return Vec::new();
        };
        let prefix = format!("{name}.");
        let labels = first.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        let mut rates: Vec<(String, f64)> = labels
            .filter(|(key, _)| self.sum(key) > 0.0)
            .map(|(key, _)| (key[prefix.len()..].to_owned(), self.rate(key)))
            .collect();
        rates.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        rates
    }

    /// Those who are not well first.
    fn targets(&self) -> Vec<Target> {
        let Some(sample) = &self.now else { return Vec::new() };
        let prefix = "target_up.";
        let process = &sample.stats.process;
        let named = process.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        let mut targets: Vec<Target> = named
            .map(|(key, up)| {
                let name = &key[prefix.len()..];
                Target {
                    name: name.to_owned(),
                    up: *up > 0.0,
                    weight: self.process(&format!("target_weight.{name}")),
                    changes: self.process(&format!("target_changes.{name}")),
                }
            })
            .collect();
        targets.sort_by(|a, b| a.up.cmp(&b.up).then_with(|| a.name.cmp(&b.name)));
        targets
    }
}

impl Screen for Model {
    type Sample = Sample;

    fn watched(&mut self) -> &mut Watched {
        &mut self.watched
    }

    fn on_sample(&mut self, sample: Sample) {
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
            self.history.push_back(self.rate("queries.") as u64);
            while self.history.len() > HISTORY {
                self.history.pop_front();
            }
        }
    }

    fn on_key(&mut self, _: char) {}

    fn draw(&self, frame: &mut ratatui::Frame<'_>, now: Instant) {
        view::draw(frame, self, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A server of two workers, after so many seconds.
    fn sample(begun: Instant, second: u32, targets: bool) -> Sample {
        let worker = |each: u32| {
            json!({
                "queries.udp": each * second, "queries.tcp": 3 * second,
                "questions.A": each * second / 2, "questions.AAAA": each * second / 4, "questions.MX": 0,
                "responses.NOERROR": each * second, "responses.NXDOMAIN": 10 * second, "responses.SERVFAIL": second,
                "answers.prebuilt": each * second / 2, "answers.composed": 20 * second, "answers.steered": 9 * second,
                "queries_dropped.rate": 5 * second, "queries_dropped.malformed": second,
                "responses_truncated": 2 * second, "responses_slipped": 4 * second, "cookies_accepted": 7 * second,
                "connections": 12, "connections_accepted": 3 * second, "streams_idle": second,
                "awake_seconds": 0.25 * f64::from(second),
                "link_received_packets": each * second, "link_sent_packets": each * second,
            })
        };
        let mut process = json!({"uptime_seconds": 90 + second, "zones": 10_000});
        if targets {
            for (name, up) in [("paris-1", 1), ("paris-2", 0), ("tokyo-1", 1)] {
                process[format!("target_up.{name}")] = json!(up);
                process[format!("target_weight.{name}")] = json!(3);
                process[format!("target_changes.{name}")] = json!(5);
            }
        }
        let stats = Stats::of(&json!({
            "status": "running", "process": process, "workers": [worker(40_000), worker(20_000)],
        }));
        Sample { at: begun + Duration::from_secs(second.into()), stats }
    }

    pub(super) fn model(targets: bool) -> (Model, Instant) {
        let begun = Instant::now();
        let watched = Watched::new("namestorm", ([127, 0, 0, 1], 9_466).into(), Duration::from_secs(1));
        let mut model = Model::new(watched);
        for second in 0..30 {
            model.on_sample(sample(begun, second, targets));
        }
        (model, begun + Duration::from_secs(29))
    }

    #[test]
    fn rates_are_what_happened_between_two_samples() {
        let (model, _) = model(false);
        assert_eq!(model.rate("queries."), 60_006.0);
        assert_eq!(model.history.back(), Some(&60_006));
        let by_type = model.rates_by_label("questions");
        assert_eq!(by_type, [("A".to_owned(), 30_000.0), ("AAAA".to_owned(), 15_000.0)]);
    }

    #[test]
    fn a_server_that_was_started_again_has_no_rates_yet() {
        let (mut model, now) = model(false);
        let mut again = sample(now, 31, false);
        again.stats.uptime = 1.0;
        model.on_sample(again);
        assert_eq!(model.rate("queries."), 0.0);
    }

    #[test]
    fn targets_that_are_not_well_stand_first() {
        let (model, _) = model(true);
        let names: Vec<_> = model.targets().into_iter().map(|target| (target.name, target.up)).collect();
        let expected = [("paris-2", false), ("paris-1", true), ("tokyo-1", true)];
        assert_eq!(names, expected.map(|(name, up)| (name.to_owned(), up)));
    }
}
