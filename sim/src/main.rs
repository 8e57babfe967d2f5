//! `sim`: seeds from the command line.
//!
//! `sim --seed 17` replays seed 17 and tells what it was; `sim --count 200` runs 200 seeds. What fails is reproduced by
//! the one line that is printed.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a command-line tool")]

use clap::Parser;
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
    let mut failed = 0;
    let mut totals = (0, 0);
    for seed in first..first.saturating_add(count) {
        match run(seed, &options) {
            Ok(verdict) => {
                totals = (totals.0 + verdict.frames, totals.1 + verdict.tally.body_bytes);
                if count == 1 {
                    tell(&verdict);
                }
                if verdict.breaches.is_empty() {
                    let done = seed - first + 1;
                    if count > 1 && done.is_multiple_of(25) {
                        progress(done, begun, totals);
                    }
                    continue;
                }
                println!("seed {seed} FAILED");
                for breach in verdict.breaches.iter().take(10) {
                    println!("  {breach}");
                }
            }
            Err(why) => println!("seed {seed} FAILED\n  {why}"),
        }
        println!("  reproduce: cargo xtask sim {seed}");
        failed += 1;
        if !options.keep_going {
            break;
        }
    }
    if count > 1 {
        println!("{count} seeds from {first}: {failed} failed, {:.1} s", begun.elapsed().as_secs_f64());
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

fn progress(done: u64, begun: Instant, (frames, bytes): (u64, u64)) {
    let seconds = begun.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let rate = done as f64 / seconds;
    println!("{done} seeds, {rate:.1} a second: {frames} frames, {} MB compared", bytes / 1_000_000);
    // Progress that waits in a buffer is none.
    let _ = std::io::stdout().flush();
}

fn tell(verdict: &Verdict) {
    let Verdict { seed, features, trace, frames, lasted, faults, tally, vitals, breaches } = verdict;
    println!("seed {seed}: {} in {lasted:?} of its time", if breaches.is_empty() { "ok" } else { "FAILED" });
    println!("  on      {features:?}");
    println!("  paths   {faults:?}");
    println!("  clients {tally:?}");
    println!("  server  {vitals:?}");
    println!("  frames  {frames}");
    println!("  trace   {trace:016x}");
}
