//! The `namestorm` program.
//!
//! ```text
//!   options ─▶ serve ─┬─▶ host: worker 0 … N    front and engine each, on a thread of its own
//!                     ├─▶ courier              zones of other servers, and word of ours to them
//!                     ├─▶ loader               zones whose files have changed
//!                     └─▶ control::run          this thread, until everything has left
//!   offline: check, query, doctor
//! ```
#![forbid(unsafe_code)]

#[path = "program/courier.rs"]
mod courier;
#[path = "program/doctor.rs"]
mod doctor;
#[path = "program/loader.rs"]
mod loader;
#[path = "program/log.rs"]
mod log;
#[path = "program/offline.rs"]
mod offline;
#[path = "program/options.rs"]
mod options;
#[path = "program/serve.rs"]
mod serve;
#[path = "program/server.rs"]
mod server;
#[path = "program/set.rs"]
mod set;
#[path = "program/steering.rs"]
mod steering;
#[path = "program/top.rs"]
mod top;
#[path = "program/zones.rs"]
mod zones;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use options::ServeArgs;
use std::io::Write as _;
use std::process::ExitCode;

/// It failed while it ran, or what was checked is broken.
const FAILED: u8 = 1;
/// It could not start.
const NOT_STARTED: u8 = 2;

/// Authoritative DNS whose answers are packetised ahead of time
#[derive(Debug, Parser)]
#[command(name = "namestorm", version, subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve zones over UDP and TCP
    #[command(after_long_help = options::AFTER_LONG)]
    Serve(Box<ServeArgs>),
    /// What a server starts beside itself
    #[command(hide = true)]
    Monitor(Box<ServeArgs>),
    /// Read a zone file, or all that a configuration names, as the server would, and say what is wrong with it
    Check(offline::Check),
    /// Say what this machine allows, which link would be taken and why
    Doctor(doctor::Doctor),
    /// Answer one question from zone files
    Query(offline::Query),
    /// Show the targets of a running server's steering, or say something of one
    Set(set::Set),
    /// Watch a running server in this terminal
    Top(top::Top),
    /// The figures of a running server, as JSON
    Stats(top::StatsArgs),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // A manual that was asked for goes to standard output, with status 0.
        Err(told)
            if !told.use_stderr() || told.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            told.exit()
        }
        Err(error) => return refuse(&host::start::one_line(&error.to_string()), NOT_STARTED),
    };
    match cli.command {
        Command::Serve(arguments) => serve::serve(*arguments),
        Command::Monitor(arguments) => serve::monitor(*arguments),
        Command::Check(check) => status(check.run()),
        Command::Doctor(doctor) => doctor.run(),
        Command::Query(query) => status(query.run()),
        Command::Set(set) => status(set.run()),
        Command::Top(top) => status(top.run()),
        Command::Stats(stats) => status(stats.run()),
    }
}

fn status(done: Result<(), offline::Complaint>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => refuse(&why, FAILED),
    }
}

/// One line on standard error.
fn refuse(error: &dyn core::fmt::Display, status: u8) -> ExitCode {
    let line = error.to_string().lines().collect::<Vec<_>>().join(" ");
    // With standard error gone, the status says it.
    let _ = writeln!(std::io::stderr(), "namestorm: {line}");
    ExitCode::from(status)
}
