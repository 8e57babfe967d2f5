//! What came of a load over DNS.

use core::fmt::Write as _;
use core::time::Duration;
use serde_json::{Map, Value, json};

use super::message::{Answer, RCODES, Wrong};
use crate::load::fault::Guilty;
use crate::load::tally::{Failures, Latency, round};

/// Kinds of failures, and whose they are.
pub const KINDS: [(&str, Guilty); 5] = [
    ("timeout", Guilty::ServerOrNetwork),
    ("wrong", Guilty::Server),
    ("refused", Guilty::ServerOrNetwork),
    ("tcp", Guilty::ServerOrNetwork),
    ("local", Guilty::Machine),
];

/// A kind's place in [`KINDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No answer in time.
    Timeout,
    /// An answer that is none.
    Wrong,
    /// ICMP says that nobody is there.
    Refused,
    /// The TCP connection failed.
    Tcp,
    /// We could not send.
    Local,
}

/// Everything counted in some time.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Queries that went out over UDP, and over TCP.
    pub sent: [u64; 2],
    /// Right answers over UDP, and over TCP.
    pub answered: [u64; 2],
    /// By RCODE.
    pub rcodes: [u64; 16],
    /// Answers over UDP with TC.
    pub truncated: u64,
    /// Answers to ids that were not out: late, or made up by somebody.
    pub unknown: u64,
    /// Bytes of answers.
    pub bytes: u64,
    /// From query to answer over UDP, and over TCP.
    pub latency: [Latency; 2],
    /// By kind.
    pub failures: [Failures; KINDS.len()],
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            sent: [0; 2],
            answered: [0; 2],
            rcodes: [0; 16],
            truncated: 0,
            unknown: 0,
            bytes: 0,
            latency: [Latency::new(), Latency::new()],
            failures: core::array::from_fn(|_| Failures::default()),
        }
    }

    /// An answer to a question that was out.
    pub(super) fn judged(
        &mut self,
        over_tcp: bool,
        bytes: usize,
        judged: Result<Answer, Wrong>,
        took: Duration,
    ) {
        match judged {
            Ok(Answer { rcode, truncated }) => {
                let way = usize::from(over_tcp);
                self.answered[way] += 1;
                self.latency[way].record(took);
                self.rcodes[usize::from(rcode & 15)] += 1;
                self.truncated += u64::from(truncated && !over_tcp);
                self.bytes += bytes as u64;
            }
            Err(wrong) => self.fail(Kind::Wrong, 1, || wrong.to_string()),
        }
    }

    pub(crate) fn fail(&mut self, kind: Kind, count: u64, say: impl FnOnce() -> String) {
        if count > 0 {
            let failures = &mut self.failures[kind as usize];
            failures.count += count;
            failures.first.get_or_insert_with(say);
        }
    }

    /// How many failures there were.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.iter().map(|failures| failures.count).sum()
    }

    pub(super) fn add(&mut self, other: &Self) {
        let Self { sent, answered, rcodes, truncated, unknown, bytes, latency, failures } = other;
        for way in 0..2 {
            self.sent[way] += sent[way];
            self.answered[way] += answered[way];
            self.latency[way].add(&latency[way]);
        }
        for (ours, theirs) in self.rcodes.iter_mut().zip(rcodes) {
            *ours += theirs;
        }
        self.truncated += truncated;
        self.unknown += unknown;
        self.bytes += bytes;
        for (ours, theirs) in self.failures.iter_mut().zip(failures) {
            ours.count += theirs.count;
            ours.first = ours.first.take().or_else(|| theirs.first.clone());
        }
    }
}

/// What came of a load.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// All workers' counts.
    pub tally: Tally,
    /// The longest window.
    pub wall: Duration,
    /// CPU time of all workers in it.
    pub cpu: Duration,
    /// How many workers.
    pub workers: usize,
}

impl Outcome {
    /// The result, as `docs/lab.md` describes it.
    #[must_use]
    pub fn json(&self) -> Value {
        let tally = &self.tally;
        let counted = RCODES.iter().zip(tally.rcodes).filter(|(_, count)| *count > 0);
        let rcodes: Map<String, Value> =
            counted.map(|(name, count)| ((*name).to_owned(), count.into())).collect();
        let errors: Vec<Value> = KINDS
            .iter()
            .zip(&tally.failures)
            .filter(|(_, failures)| failures.count > 0)
            .map(|((kind, guilty), Failures { count, first })| {
                json!({"kind": kind, "guilty": guilty.name(), "count": count, "first": first})
            })
            .collect();
        json!({
            "schema": "lab-dns-1",
            "seconds": round(self.wall.as_secs_f64()),
            "sent": {"udp": tally.sent[0], "tcp": tally.sent[1]},
            "answered": {"udp": tally.answered[0], "tcp": tally.answered[1]},
            "answers_per_s": round(per(tally.answered[0] + tally.answered[1], self.wall)),
            "answer_bytes": tally.bytes,
            "latency_us": {"udp": tally.latency[0].json(), "tcp": tally.latency[1].json()},
            "rcodes": rcodes,
            "truncated": tally.truncated,
            "unknown": tally.unknown,
            "errors": errors,
            "failed": tally.failed(),
            "cpu_s": round(self.cpu.as_secs_f64()),
            "answers_per_cpu_s": round(per(tally.answered[0] + tally.answered[1], self.cpu)),
            "workers": self.workers,
        })
    }

    /// The same for people.
    #[must_use]
    pub fn table(&self) -> String {
        let (tally, mut text) = (&self.tally, String::new());
        let answered = tally.answered[0] + tally.answered[1];
        let _ = writeln!(
            text,
            "{answered} answers in {:.1} s: {:.0}/s; {:.0} per CPU-second of the load",
            self.wall.as_secs_f64(),
            per(answered, self.wall),
            per(answered, self.cpu),
        );
        for (way, latency) in ["udp", "tcp"].iter().zip(&tally.latency) {
            if latency.count() > 0 {
                let at = [0.5, 0.9, 0.99, 0.999, 1.0].map(|share| latency.quantile_us(share));
                let [p50, p90, p99, p999, max] = at;
                let _ = writeln!(text, "{way}  p50 {p50} us, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}");
            }
        }
        for (name, count) in RCODES.iter().zip(tally.rcodes).filter(|(_, count)| *count > 0) {
            let _ = writeln!(text, "{name:9} {count}");
        }
        if tally.truncated > 0 {
            let _ = writeln!(text, "truncated {}", tally.truncated);
        }
        for ((kind, guilty), failures) in KINDS.iter().zip(&tally.failures) {
            if failures.count > 0 {
                let first = failures.first.as_deref().unwrap_or("");
                let _ = writeln!(text, "FAILED    {} × {kind} ({}): {first}", failures.count, guilty.name());
            }
        }
        text
    }
}

fn per(count: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let count = count as f64;
    if time.is_zero() { 0.0 } else { count / time.as_secs_f64() }
}
