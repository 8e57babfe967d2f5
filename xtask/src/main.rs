//! What a developer and CI run: `cargo xtask --help`.
//!
//! ```text
//! ci ─┬─ check ── fmt, clippy, tidy, doc
//!     ├─ test ─── the workspace, seeds, corpora, real clients in namespaces
//!     └─ bench ── every bench once, quickly
//! ```
//!
//! Every command is a list of [`steps::Step`]s: each writes a log under `target/xtask/`, which is shown when it
//! fails, and the closing summary names every step that passed, failed or was not run, with the reason.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks on its streams")]

mod bench;
mod check;
mod ci;
mod fuzz;
mod guest;
mod house;
mod ignored;
mod lanes;
mod licences;
mod namespaces;
mod packages;
mod sim;
mod source;
mod steps;
mod test;
mod tidy;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

use steps::Report;
use workspace::Workspace;

/// Checks, tests and measures this workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Formatting, lints, tidy and documentation, all with warnings denied.
    Check,
    /// Everything that can be proved here: unit tests, seeds, corpora, and real clients in namespaces of their own.
    Test(test::Options),
    /// Replays seeds of the simulator: `sim 17` replays seed 17, `sim --count 200` runs 200.
    Sim(sim::Options),
    /// Fuzzes one target, or `all` one after the other; without a name, lists them.
    Fuzz(fuzz::Options),
    /// Runs benches; without names, all of them.
    Bench(bench::Options),
    /// Exactly what CI runs: check, test, and a quick run of every bench.
    Ci,
    /// The rules of the house: who may use whom, and what a file may not contain.
    Tidy,
    /// Installs the Debian packages that `test` uses (as root).
    Install,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let workspace = match Workspace::load() {
        Ok(workspace) => workspace,
        Err(error) => {
            eprintln!("xtask: {error}");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::new(&workspace);
    match cli.command {
        Command::Check => check::run(&workspace, &mut report),
        Command::Test(options) => test::run(&workspace, &options, &mut report),
        Command::Sim(options) => return sim::run(&workspace, &options),
        Command::Fuzz(options) if options.wants_all() => fuzz::all(&workspace, &options, &mut report),
        Command::Fuzz(options) => return fuzz::run(&workspace, &options),
        Command::Bench(options) => return bench::run(&workspace, &options),
        Command::Ci => ci::run(&workspace, &mut report),
        Command::Tidy => tidy::run(&workspace, &mut report),
        Command::Install => packages::run(&mut report),
    }
    report.close()
}
