//! Fuzz targets, with the pinned toolchain and libFuzzer.
//!
//! `fuzz/` has cargo-fuzz's layout, and `cargo fuzz run TARGET` works where that program and a nightly are. Neither is
//! needed here: coverage instrumentation is a code generation option of the stable compiler. Memory errors are not
//! looked for, since nothing fuzzed contains `unsafe`; panics, hangs and unbounded memory are.

use crate::sim::foreground;
use crate::steps::{Outcome, Report};
use crate::workspace::Workspace;
use clap::Args;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// A target that holds more has unbounded memory.
const MEGABYTES_MAX: u32 = 2048;

/// What libFuzzer needs to see: counters per edge, and the operands of comparisons.
const INSTRUMENTATION: &str = "--cfg=fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions=on -Coverflow-checks=on -Ccodegen-units=1";

/// What to fuzz, and for how long.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The target, or `all`; without one, the targets are listed.
    target: Option<String>,
    /// Stop each target after this long; 0 means never.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Replay one input instead, such as a crash that was found.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Keep what was learnt: merge new inputs into the committed corpus afterwards.
    #[arg(long)]
    merge: bool,
}

impl Options {
    /// Every target is meant.
    pub(crate) fn wants_all(&self) -> bool {
        self.target.as_deref() == Some("all")
    }
}

/// Fuzzes in the foreground.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> ExitCode {
    let targets = targets(workspace);
    let Some(target) = &options.target else {
        println!("{}", targets.join("\n"));
        return ExitCode::SUCCESS;
    };
    if !targets.contains(target) {
        eprintln!("xtask: no fuzz target {target}; there are {}", targets.join(", "));
        return ExitCode::from(2);
    }
    let built = build(workspace).status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("xtask: the fuzz targets do not build (libFuzzer needs a C++ compiler)");
        return ExitCode::from(2);
    }
    if let Some(input) = &options.input {
        let mut command = Command::new(program(workspace, target));
        command.arg(input);
        return foreground(command);
    }
    let code = foreground(fuzzer(workspace, target, options.seconds));
    if !options.merge || code != ExitCode::SUCCESS {
        return code;
    }
    let mut command = Command::new(program(workspace, target));
    command.arg("-merge=1").arg(committed(workspace, target)).arg(learnt(workspace, target));
    foreground(command)
}

/// Every target for as long as asked, as steps.
pub(crate) fn all(workspace: &Workspace, options: &Options, report: &mut Report) {
    let targets = targets(workspace);
    let compiler = ["c++", "g++", "clang++"]
        .iter()
        .any(|compiler| Command::new(compiler).arg("--version").output().is_ok());
    if !compiler {
        report.step("fuzz", |_| {
            Outcome::not_run(targets.len() as u64, "libFuzzer needs a C++ compiler: install g++")
        });
        return;
    }
    if !report.command("build the fuzz targets", build(workspace)) {
        return;
    }
    for target in targets {
        report.command(&format!("fuzz {target}"), fuzzer(workspace, &target, options.seconds));
    }
}

/// The targets, by the name of their files.
fn targets(workspace: &Workspace) -> Vec<String> {
    let directory = workspace.root.join("fuzz/fuzz_targets");
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

fn build(workspace: &Workspace) -> Command {
    // Not locked: a room that gains a library must not break this other lock file.
    // A target named explicitly keeps the instrumentation away from build scripts.
    let mut command =
        workspace.cargo(&["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target", TRIPLE]);
    command.env("RUSTFLAGS", INSTRUMENTATION).env("CARGO_TARGET_DIR", workspace.target.join("fuzz"));
    command
}

const TRIPLE: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

fn program(workspace: &Workspace, target: &str) -> PathBuf {
    workspace.target.join("fuzz").join(TRIPLE).join("release").join(target)
}

fn committed(workspace: &Workspace, target: &str) -> PathBuf {
    workspace.root.join("fuzz/corpus").join(target)
}

fn learnt(workspace: &Workspace, target: &str) -> PathBuf {
    workspace.target.join("fuzz/learnt").join(target)
}

/// New inputs go to the first corpus, which is not committed; what was found to fail goes to `fuzz/artifacts`.
fn fuzzer(workspace: &Workspace, target: &str, seconds: u32) -> Command {
    let artifacts = workspace.root.join("fuzz/artifacts").join(target);
    let learnt = learnt(workspace, target);
    for directory in [&artifacts, &learnt] {
        // If it cannot be made, libFuzzer says so.
        let _ = std::fs::create_dir_all(directory);
    }
    let mut command = Command::new(program(workspace, target));
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEGABYTES_MAX}"))
        .arg("-timeout=10")
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args([learnt, committed(workspace, target)])
        .current_dir(&workspace.root);
    command
}
