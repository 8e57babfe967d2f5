//! `sim`: seeds from the command line.
//!
//! `sim --seed 17` replays seed 17 and tells what it was; `sim --count 200` runs 200 seeds. What fails is reproduced by
//! the one line that is printed.

#![forbid(unsafe_code)]

use clap::Parser;
use core::fmt;
use sim::client::report::Tally;
use sim::network::Faults;
use sim::swarm::{self, Verdict};
use std::io::Write as _;
use std::panic;
use std::process::ExitCode;
use std::time::Instant;

/// Runs the production engine and server on seeded worlds.
///
/// Each seed decides which faults there are and how strong, who the clients are and what they ask for. First the
/// faults are on and no law may be broken; then everything is healed and everybody must get done. Exit status 1 when a
/// seed fails.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
struct Options {
    /// Replay this seed, telling what it was.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Run this many seeds.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The first of them; `--seed` serves as well.
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// Run every seed twice and compare the traces.
    #[arg(long)]
    twice: bool,
    /// Print every segment at the server's link to the standard error.
    #[arg(long)]
    trace: bool,
    /// Go on after a seed that failed.
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let first = options.seed.unwrap_or(options.from);
    let count = options.count.unwrap_or(1);
    let begun = Instant::now();
    let mut totals = Totals::default();
    let mut failed = 0;
    for seed in first..first.saturating_add(count) {
        let outcome = run(seed, &options);
        if let Ok(verdict) = &outcome {
            totals.add(verdict);
            if count == 1 {
                tell(verdict);
            }
        }
        let why = match outcome {
            Ok(verdict) if verdict.breaches.is_empty() => {
                if totals.seeds.is_multiple_of(25) {
                    progress(begun, &totals);
                }
                continue;
            }
            Ok(verdict) => verdict.breaches.iter().take(10).map(ToString::to_string).collect(),
            Err(why) => vec![why],
        };
        say(format_args!("seed {seed} FAILED"));
        for line in why {
            say(format_args!("  {line}"));
        }
        say(format_args!("  reproduce: cargo xtask sim {seed}"));
        failed += 1;
        if !options.keep_going {
            break;
        }
    }
    if count > 1 {
        totals.tell();
        let seconds = begun.elapsed().as_secs_f64();
        say(format_args!("{} seeds from {first}: {failed} failed, {seconds:.1} s", totals.seeds + failed));
    }
    ExitCode::from(u8::from(failed > 0))
}

/// Runs a seed, however it ends.
fn run(seed: u64, options: &Options) -> Result<Verdict, String> {
    let once = || {
        panic::catch_unwind(|| swarm::run(seed, options.trace)).map_err(|payload| {
            let text = payload
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| payload.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            format!("the server, or the world, panicked: {text}")
        })
    };
    let verdict = once()?;
    if options.twice {
        let again = once()?;
        if again != verdict {
            return Err(format!("two runs differ: trace {:016x}, then {:016x}", verdict.trace, again.trace));
        }
    }
    Ok(verdict)
}

/// What many seeds came to: that the faults happened, and what the clients got nevertheless.
#[derive(Debug, Default)]
struct Totals {
    seeds: u64,
    frames: u64,
    faults: Faults,
    tally: Tally,
    resent_bytes: u64,
    tag_mismatches: u64,
    disk_failures: u64,
    /// Seeds with memory to send from, and how often it was sent from.
    with_memory: u64,
    lent: u64,
}

impl Totals {
    fn add(&mut self, verdict: &Verdict) {
        self.seeds += u64::from(verdict.breaches.is_empty());
        self.frames += verdict.frames;
        self.faults = self.faults.plus(verdict.faults);
        self.tally = self.tally.plus(verdict.tally);
        self.resent_bytes += verdict.vitals.resent_bytes;
        self.tag_mismatches += verdict.vitals.tag_mismatches;
        self.disk_failures += verdict.vitals.disk_failures;
        self.with_memory += u64::from(verdict.lent.is_some());
        self.lent += verdict.lent.unwrap_or(0);
    }

    fn tell(&self) {
        let Self { seeds: _, frames, faults, tally, .. } = self;
        let Self { resent_bytes, tag_mismatches, disk_failures, with_memory, lent, .. } = self;
        say(format_args!("paths:   {frames} frames, {faults:?}"));
        say(format_args!("clients: {tally:?}"));
        say(format_args!(
            "server:  {resent_bytes} bytes sent again, {tag_mismatches} tag mismatches, {disk_failures} disk failures"
        ));
        say(format_args!("memory:  sent from {lent} times, in {with_memory} seeds"));
    }
}

fn progress(begun: Instant, totals: &Totals) {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = totals.seeds as f64 / begun.elapsed().as_secs_f64();
    let megabytes = totals.tally.body_bytes / 1_000_000;
    say(format_args!(
        "{} seeds, {rate:.1} a second: {} frames, {megabytes} MB compared",
        totals.seeds, totals.frames
    ));
}

fn tell(verdict: &Verdict) {
    let Verdict { seed, features, trace, frames, lasted, faults, tally, lent, vitals, breaches } = verdict;
    let outcome = if breaches.is_empty() { "ok" } else { "FAILED" };
    say(format_args!("seed {seed}: {outcome} in {lasted:?} of its time"));
    say(format_args!("  on      {features:?}"));
    say(format_args!("  paths   {faults:?}"));
    say(format_args!("  clients {tally:?}"));
    say(format_args!("  server  {vitals:?}"));
    if let Some(lent) = lent {
        say(format_args!("  memory  sent from {lent} times"));
    }
    say(format_args!("  frames  {frames}"));
    say(format_args!("  trace   {trace:016x}"));
}

/// A line to the standard output, at once. A reader that has gone is no reason to panic.
fn say(line: fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
