//! What came of it: counts, latencies, failures.

use core::time::Duration;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::fault::{Fault, KINDS};
use super::viewer::Experience;

/// Latencies, in microseconds from 1 µs to an hour, three digits.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Latency {
    const MICROS_MAX: u64 = 3_600_000_000;

    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self(
            Histogram::new_with_bounds(1, Self::MICROS_MAX, 3)
                .expect("three digits between 1 µs and an hour"),
        )
    }

    /// One more.
    pub fn record(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).clamp(1, Self::MICROS_MAX);
        self.0.saturating_record(micros);
    }

    /// Another's, as well.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("histograms have one shape");
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value below which this share of them lies, in microseconds.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> u64 {
        self.0.value_at_quantile(share)
    }

    /// For results.
    #[must_use]
    pub fn json(&self) -> Value {
        if self.0.is_empty() {
            return json!({"count": 0});
        }
        let at = |share| self.0.value_at_quantile(share);
        json!({
            "count": self.0.len(), "min": self.0.min(), "mean": round(self.0.mean()), "p50": at(0.5),
            "p90": at(0.9), "p99": at(0.99), "p999": at(0.999), "max": self.0.max(),
        })
    }
}

/// Three decimals.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Failures of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// How many.
    pub count: u64,
    /// What the first one said.
    pub first: Option<String>,
}

/// What viewers lived through, together.
#[derive(Clone, Debug)]
pub struct Audience {
    /// How many watched.
    pub viewers: u64,
    /// How many saw a picture.
    pub started: u64,
    /// From the first request to the picture.
    pub startup: Latency,
    /// Rebuffer events.
    pub stalls: u64,
    /// How many had at least one.
    pub disturbed: u64,
    /// How long they took together.
    pub stalled: Duration,
}

impl Audience {
    fn new() -> Self {
        Self {
            viewers: 0,
            started: 0,
            startup: Latency::new(),
            stalls: 0,
            disturbed: 0,
            stalled: Duration::ZERO,
        }
    }

    /// One viewer's report.
    pub fn add(&mut self, experience: Experience) {
        let Experience { startup, stalls, stalled } = experience;
        self.viewers += 1;
        if let Some(startup) = startup {
            self.started += 1;
            self.startup.record(startup);
        }
        self.stalls += u64::from(stalls);
        self.disturbed += u64::from(stalls > 0);
        self.stalled += stalled;
    }
}

/// Everything counted in some time.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Responses that were whole and right.
    pub requests: u64,
    /// Bytes of their bodies, and of those under way.
    pub body_bytes: u64,
    /// Bytes that came from the network, TLS and heads included.
    pub wire_bytes: u64,
    /// Connections established, handshake included.
    pub connections: u64,
    /// Handshakes that a ticket shortened.
    pub resumed: u64,
    /// Responses compared with the truth.
    pub verified: u64,
    /// Bytes compared.
    pub verified_bytes: u64,
    /// SYN to established.
    pub connect: Latency,
    /// ClientHello to keys.
    pub handshake: Latency,
    /// Request to the response's first byte.
    pub first_byte: Latency,
    /// Request to its last.
    pub total: Latency,
    /// By kind.
    pub failures: [Failures; KINDS.len()],
    /// Who watched.
    pub audience: Audience,
}

impl Tally {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            requests: 0,
            body_bytes: 0,
            wire_bytes: 0,
            connections: 0,
            resumed: 0,
            verified: 0,
            verified_bytes: 0,
            connect: Latency::new(),
            handshake: Latency::new(),
            first_byte: Latency::new(),
            total: Latency::new(),
            failures: core::array::from_fn(|_| Failures::default()),
            audience: Audience::new(),
        }
    }

    /// One more failure.
    pub fn fail(&mut self, fault: &Fault) {
        let failures = &mut self.failures[fault.kind()];
        failures.count += 1;
        failures.first.get_or_insert_with(|| fault.to_string());
    }

    /// How many failures there were.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failures.iter().map(|failures| failures.count).sum()
    }

    /// Another worker's.
    pub fn add(&mut self, other: &Self) {
        let Self {
            requests,
            body_bytes,
            wire_bytes,
            connections,
            resumed,
            verified,
            verified_bytes,
            connect,
            handshake,
            first_byte,
            total,
            failures,
            audience,
        } = other;
        self.requests += requests;
        self.body_bytes += body_bytes;
        self.wire_bytes += wire_bytes;
        self.connections += connections;
        self.resumed += resumed;
        self.verified += verified;
        self.verified_bytes += verified_bytes;
        self.connect.add(connect);
        self.handshake.add(handshake);
        self.first_byte.add(first_byte);
        self.total.add(total);
        for (ours, theirs) in self.failures.iter_mut().zip(failures) {
            ours.count += theirs.count;
            ours.first = ours.first.take().or_else(|| theirs.first.clone());
        }
        let Audience { viewers, started, startup, stalls, disturbed, stalled } = audience;
        self.audience.viewers += viewers;
        self.audience.started += started;
        self.audience.startup.add(startup);
        self.audience.stalls += stalls;
        self.audience.disturbed += disturbed;
        self.audience.stalled += *stalled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn quantiles_keep_three_digits() {
        let mut latency = Latency::new();
        for micros in 1..=100_000 {
            latency.record(Duration::from_micros(micros));
        }
        for (share, expected) in [(0.5, 50_000_u64), (0.9, 90_000), (0.99, 99_000), (1.0, 100_000)] {
            let found = latency.quantile_us(share);
            assert!(found.abs_diff(expected) * 1_000 <= expected, "{found} for {expected}");
        }
    }

    #[test]
    fn what_is_beyond_the_bounds_is_counted_at_them() {
        let mut latency = Latency::new();
        latency.record(Duration::ZERO);
        latency.record(Duration::from_secs(10_000));
        assert_eq!((latency.count(), latency.quantile_us(0.1)), (2, 1));
    }

    #[test]
    fn workers_add_up_and_the_first_failure_of_a_kind_speaks_for_it() {
        let (mut one, mut two) = (Tally::new(), Tally::new());
        one.total.record(Duration::from_millis(1));
        two.total.record(Duration::from_millis(3));
        two.requests = 5;
        one.fail(&Fault::Reset);
        two.fail(&Fault::Status { status: 404, target: "/x".to_owned() });
        two.fail(&Fault::Status { status: 500, target: "/y".to_owned() });
        one.add(&two);
        assert_eq!((one.requests, one.total.count(), one.failed()), (5, 2, 3));
        let said: Vec<_> = one.failures.iter().filter_map(|failures| failures.first.as_deref()).collect();
        assert_eq!(said, ["status 404 for /x", "the connection was reset"]);
    }
}
