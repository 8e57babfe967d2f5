//! Seeds of the simulator.

use crate::steps::{Outcome, Report, Step};
use crate::workspace::Workspace;
use clap::Args;
use std::process::{Command, ExitCode};

/// Seeds that CI runs, from 0 on.
const SEEDS: u64 = 200;
/// Of these, how many run once more: a trace that differs is a leak of the real world into the simulated one.
const SEEDS_TWICE: u64 = 8;

/// Which seeds.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Replay this seed, telling what happens.
    seed: Option<u64>,
    /// Run this many seeds, counted from SEED (or 0) on.
    #[arg(long)]
    count: Option<u64>,
    /// Further arguments for the simulator.
    #[arg(last = true)]
    more: Vec<String>,
}

/// Runs the simulator in the foreground.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> ExitCode {
    let mut command = simulator(workspace);
    if let Some(seed) = options.seed {
        command.arg("--seed").arg(seed.to_string());
    }
    if options.count.is_some() || options.seed.is_none() {
        command.arg("--count").arg(options.count.unwrap_or(SEEDS).to_string());
    }
    command.args(&options.more);
    foreground(command)
}

/// The seeds of CI, as steps.
pub(crate) fn steps(workspace: &Workspace, report: &mut Report) {
    if !workspace.has_program("sim", "sim") {
        report.step("seeds", |_| Outcome::not_run(SEEDS, "the workspace has no simulator"));
        return;
    }
    if !report
        .command("build the simulator", workspace.cargo(&["build", "--release", "-p", "sim", "--locked"]))
    {
        return;
    }
    report.step("seeds", |step| {
        let mut command = simulator(workspace);
        command.args(["--keep-going", "--count", &SEEDS.to_string()]);
        match step.output(command) {
            Some((status, _)) if status.success() => Outcome::passed(SEEDS),
            Some((_, text)) => {
                // A simulator that ended early has run nobody knows how many.
                let failed = failures(&text);
                let passed =
                    if text.contains(&format!("{SEEDS} seeds from")) { SEEDS - failed.min(SEEDS) } else { 0 };
                Outcome { passed, ..Outcome::failed(failed.max(1), first_failure(&text)) }
            }
            None => Outcome::failed(1, "the simulator could not be started"),
        }
    });
    report.step("seeds twice", |step| {
        let mut outcome = Outcome::passed(0);
        for seed in 0..SEEDS_TWICE {
            match (trace(workspace, step, seed), trace(workspace, step, seed)) {
                (Some(first), Some(second)) if first == second => outcome.passed += 1,
                (Some(first), Some(second)) => {
                    outcome.failed += 1;
                    outcome.remark = format!("seed {seed} left two traces: {first} and {second}");
                }
                _ => {
                    outcome.failed += 1;
                    outcome.remark = format!("seed {seed} left no trace hash: cargo xtask sim {seed}");
                }
            }
        }
        outcome
    });
}

/// The hash of everything that happened under `seed`.
fn trace(workspace: &Workspace, step: &mut Step, seed: u64) -> Option<String> {
    let mut command = simulator(workspace);
    command.args(["--seed", &seed.to_string()]);
    let (status, text) = step.output(command)?;
    if !status.success() {
        return None;
    }
    trace_hash(&text)
}

/// The word after the last `trace` of the simulator's output.
fn trace_hash(text: &str) -> Option<String> {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || c == ':' || c == '=').filter(|w| !w.is_empty()).collect();
    let at = words.iter().rposition(|word| *word == "trace")?;
    let hash = words.get(at + 1)?.trim_start_matches("0x");
    (hash.len() >= 8 && hash.chars().all(|c| c.is_ascii_hexdigit())).then(|| hash.to_owned())
}

/// How many lines say how to reproduce a failure.
fn failures(text: &str) -> u64 {
    text.lines().filter(|line| line.contains("cargo xtask sim ")).count() as u64
}

fn first_failure(text: &str) -> String {
    text.lines()
        .find(|line| line.contains("cargo xtask sim"))
        .or_else(|| text.lines().rfind(|line| !line.trim().is_empty()))
        .unwrap_or("a seed failed")
        .trim()
        .to_owned()
}

fn simulator(workspace: &Workspace) -> Command {
    workspace.cargo(&["run", "--quiet", "--release", "--locked", "-p", "sim", "--bin", "sim", "--"])
}

/// Runs a command on our own streams.
pub(crate) fn foreground(mut command: Command) -> ExitCode {
    match command.status() {
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("xtask: cannot start {}: {error}", command.get_program().to_string_lossy());
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_hash_is_the_word_after_trace() {
        assert_eq!(trace_hash("seed 3 ok\ntrace 00f3a1b2c4d5e6f7\n").as_deref(), Some("00f3a1b2c4d5e6f7"));
        assert_eq!(trace_hash("seed 3: ok, trace=0x00f3a1b2").as_deref(), Some("00f3a1b2"));
        assert_eq!(trace_hash("no such thing"), None);
        assert_eq!(trace_hash("a trace of doubt"), None);
    }

    #[test]
    fn a_failure_is_shown_by_the_line_that_reproduces_it() {
        assert_eq!(
            first_failure("seed 1 ok\nreproduce: cargo xtask sim 17\nbye\n"),
            "reproduce: cargo xtask sim 17"
        );
    }
}
