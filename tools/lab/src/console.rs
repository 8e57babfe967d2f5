//! What people see: how long it will take, how far it is, and what came of it.

use core::fmt::Write as _;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Instant;

use lab::dns;
use lab::load::kernel::Gauge;
use lab::load::plan::Plan;
use lab::load::run::{Effort, Outcome};
use lab::load::tally::Latency;

use crate::cli::Dns;

/// A line at the start, and a bar on a terminal.
#[derive(Debug)]
pub(crate) struct Console {
    bar: Option<ProgressBar>,
    begun: Instant,
    /// When these numbers were shown, and what they were.
    shown: (Instant, u64, u64),
}

impl Console {
    /// Says what a load will do and how long it will take, to standard error if that is a terminal.
    pub(crate) fn new(plan: &Plan, effort: &Effort, cores: &[usize]) -> Self {
        let takes = plan.ramp + effort.warm_up + effort.duration;
        let until = if effort.requests.is_some() { "at most " } else { "" };
        Self::of(takes, || {
            format!(
                "{} connections, {} URLs, {} threads; {until}{} s: {} s of ramp, {} s of warm-up, {} s measured",
                plan.connections,
                plan.catalogue.objects.len(),
                cores.len(),
                takes.as_secs_f64(),
                plan.ramp.as_secs_f64(),
                effort.warm_up.as_secs_f64(),
                effort.duration.as_secs_f64(),
            )
        })
    }

    /// The same for a load over DNS.
    pub(crate) fn of_dns(arguments: &Dns, plan: &dns::run::Plan, cores: &[usize]) -> Self {
        let takes = arguments.warm_up + arguments.duration;
        Self::of(takes, || {
            format!(
                "{} questions for {}, {} ports on {} threads; {} s: {} s of warm-up, {} s measured",
                plan.questions.len(),
                plan.server,
                plan.sockets * cores.len(),
                cores.len(),
                takes.as_secs_f64(),
                arguments.warm_up.as_secs_f64(),
                arguments.duration.as_secs_f64(),
            )
        })
    }

    fn of(takes: Duration, headline: impl FnOnce() -> String) -> Self {
        let begun = Instant::now();
        let bar = io::stderr().is_terminal().then(|| {
            let _ = writeln!(io::stderr(), "{}", headline());
            let millis = u64::try_from(takes.as_millis()).unwrap_or(u64::MAX);
            let bar = ProgressBar::with_draw_target(Some(millis), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{wide_bar} {msg}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, begun, shown: (begun, 0, 0) }
    }

    /// How far it is.
    pub(crate) fn show(&mut self, gauges: &[Arc<Gauge>], measuring: bool) {
        let sum = |field: fn(&Gauge) -> &AtomicU64| -> u64 {
            gauges.iter().map(|gauge| field(gauge).load(Ordering::Relaxed)).sum()
        };
        let (requests, bytes) = (sum(|gauge| &gauge.requests), sum(|gauge| &gauge.wire_bytes));
        self.tell(requests, bytes, |requests_per_s, bytes_per_s| {
            format!(
                "{} {} open, {requests_per_s:.0} requests/s, {:.2} Gb/s, {} failed",
                if measuring { "measuring:" } else { "ramp:" },
                sum(|gauge| &gauge.open),
                bytes_per_s * 8.0 / 1e9,
                sum(|gauge| &gauge.failed),
            )
        });
    }

    /// The same for a load over DNS.
    pub(crate) fn show_dns(&mut self, answered: u64, failed: u64) {
        self.tell(answered, 0, |per_s, _| format!("{per_s:.0} answers/s, {failed} failed"));
    }

    /// Moves the bar; now and then says at which rates two counts grew.
    fn tell(&mut self, first: u64, second: u64, message: impl FnOnce(f64, f64) -> String) {
        let Some(bar) = &self.bar else { return };
        bar.set_position(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        let (at, first_before, second_before) = self.shown;
        if at.elapsed() < Duration::from_millis(500) {
            return;
        }
        let per_s = |now: u64, before: u64| {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let more = now.saturating_sub(before) as f64;
            more / at.elapsed().as_secs_f64()
        };
        bar.set_message(message(per_s(first, first_before), per_s(second, second_before)));
        self.shown = (Instant::now(), first, second);
    }

    /// The bar goes away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The result, to standard output.
pub(crate) fn report(outcome: &Outcome, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", outcome.json())?
    } else {
        write!(out, "{}", table(outcome))?
    }
    out.flush()
}

fn table(outcome: &Outcome) -> String {
    let tally = &outcome.tally;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} requests in {:.1} s: {:.0}/s, {:.2} Gb/s of bodies; {} connections; {:.0} requests per CPU-second of the load",
        tally.requests,
        outcome.wall.as_secs_f64(),
        outcome.requests_per_s(),
        outcome.gbit_per_s(),
        tally.connections + outcome.before.connections,
        outcome.requests_per_cpu_s(),
    );
    let _ =
        writeln!(text, "{:12} {:>10} {:>10} {:>10} {:>10} {:>10}", "", "p50", "p90", "p99", "p99.9", "max");
    let (connect, handshake) = outcome.openings();
    let rows = [
        ("connect", &connect),
        ("handshake", &handshake),
        ("first byte", &tally.first_byte),
        ("response", &tally.total),
    ];
    for (name, latency) in rows {
        if latency.count() > 0 {
            let _ = writeln!(text, "{name:12} {}", quantiles(latency));
        }
    }
    if tally.verified > 0 {
        let _ = writeln!(text, "compared     {} responses, {} bytes", tally.verified, tally.verified_bytes);
    }
    let audience = &tally.audience;
    if audience.viewers > 0 {
        let _ = writeln!(
            text,
            "viewers      {}: {} started (p50 {}, p99 {}), {} rebuffer events for {} of them, {:.1} s stalled",
            audience.viewers,
            audience.started,
            micros(audience.startup.quantile_us(0.5)),
            micros(audience.startup.quantile_us(0.99)),
            audience.stalls,
            audience.disturbed,
            audience.stalled.as_secs_f64(),
        );
    }
    for (kind, guilty, failures) in outcome.failures() {
        let first = failures.first.unwrap_or_default();
        let _ = writeln!(text, "FAILED       {} × {kind} ({}): {first}", failures.count, guilty.name());
    }
    text
}

fn quantiles(latency: &Latency) -> String {
    [0.5, 0.9, 0.99, 0.999, 1.0].map(|share| format!("{:>10}", micros(latency.quantile_us(share)))).join(" ")
}

fn micros(micros: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a time for people")]
    let value = micros as f64;
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{:.2} ms", value / 1e3),
        _ => format!("{:.2} s", value / 1e6),
    }
}
