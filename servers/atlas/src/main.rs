//! The `atlas` program: names the machine's parts, and ties engine, service and control together.
//!
//! ```text
//!   cli ─▶ config ─▶ start ─┬─▶ host: worker 0 … N    an engine each, on a thread of its own
//!                           ├─▶ host: forward         only inside a namespace
//!                           └─▶ control::run          this thread, until everything has left
//! ```

#![forbid(unsafe_code)]

mod cli;
mod config;
mod look;
mod server;
mod sign;
mod ss;
mod start;
mod stats;
mod top;

use clap::Parser as _;
use clap::error::ErrorKind;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::time::Instant;

use cli::{Cli, Command, DoctorArgs, ServeArgs};
use config::Config;
use confine::{Files, Kind};
use control::{Directly, Outcome};
use host::Named;
use server::Atlas;
use ss::SsError;
use start::{StartError, Started};
use stats::Stats;

/// It failed while it ran.
const FAILED: u8 = 1;
/// It could not start.
const NOT_STARTED: u8 = 2;

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
        Command::Serve(arguments) => serve(*arguments),
        Command::Check(arguments) => check(*arguments),
        Command::Doctor(arguments) => doctor(arguments),
        Command::Monitor(arguments) => monitor(*arguments),
        Command::Sign(arguments) => match sign::sign(&arguments) {
            Ok(url) => print(&url),
            Err(error) => refuse(&error, NOT_STARTED),
        },
        Command::Ss(arguments) => match ss::ss(&arguments) {
            Ok(()) => ExitCode::SUCCESS,
            // Whoever has read enough need not be told.
            Err(SsError::Unread) => ExitCode::from(FAILED),
            Err(error @ SsError::Filter(_)) => refuse(&error, NOT_STARTED),
            Err(error @ SsError::Look(_)) => refuse(&error, FAILED),
        },
        Command::Top(arguments) => match top::top(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&error, FAILED),
        },
    }
}

fn serve(arguments: ServeArgs) -> ExitCode {
    let ServeArgs { config: file, options } = arguments;
    let config = match Config::load(options.clone(), file.as_deref(), &Directly) {
        Ok(config) => config,
        Err(error) => return refuse(&error, NOT_STARTED),
    };
    host::start::log_to_stderr(config.log_level);
    let started = match start::start(&config) {
        Ok(started) => started,
        Err(error) => return refuse(&error, NOT_STARTED),
    };
    let Started {
        signals,
        bell,
        admin,
        access_log,
        capture,
        ports,
        workers,
        content,
        secure,
        forwarder,
        keep,
        keeper,
        monitor,
        facts,
        urls,
        report,
        site,
    } = started;
    // This thread's own turn: everything that needs a privilege is open, and whoever is to keep one has been started.
    let files = Files { read: vec![content.as_fd()], ..Files::default() };
    let confinement = match config.policy.apply(Kind::Control, files) {
        Ok(confinement) => confinement,
        Err(error) => return refuse(&error, NOT_STARTED),
    };
    let plan = control::Plan {
        signals,
        bell,
        admin,
        access_log,
        capture,
        drain: config.drain,
        rescan: config.rescan,
    };
    let stats = config.stats.then(|| Stats::new(Instant::now()));
    let mut atlas = Atlas {
        options,
        file,
        config,
        content,
        secure,
        site,
        forwarder,
        keeper,
        monitor,
        confinement,
        facts,
        urls,
        report,
        stats,
    };
    let outcome = control::run(plan, ports, &mut atlas);
    // The forwarder first: it has clients of workers that are gone.
    drop(atlas);
    for worker in workers {
        // A thread that hangs ends with the process; one that panicked has been reported.
        if outcome == Outcome::Stopped || worker.is_finished() {
            let _ = worker.join();
        }
    }
    // The device, the program and the ports last: until now somebody may have been sending.
    drop(keep);
    match outcome {
        Outcome::Stopped => ExitCode::SUCCESS,
        Outcome::Failed { at_start: true, line } => refuse(&line, NOT_STARTED),
        Outcome::Failed { at_start: false, line } => refuse(&line, FAILED),
    }
}

/// Opens what the server has given up the right to open. Started by a server, and of no use to anybody else.
fn monitor(arguments: ServeArgs) -> ExitCode {
    let ServeArgs { config: file, options } = arguments;
    let load = || Config::load(options.clone(), file.as_deref(), &Directly);
    let config = match load() {
        Ok(config) => config,
        Err(error) => return refuse(&error, NOT_STARTED),
    };
    host::start::log_to_stderr(config.log_level);
    let attended = host::attend(config.policy, || {
        // Of a file that is broken the server reads what is wrong with it.
        let mut named = load().map_or_else(|_| Named::default(), |config| config.named());
        named.read.extend(file.clone());
        named
    });
    match attended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error, FAILED),
    }
}

fn check(arguments: ServeArgs) -> ExitCode {
    let checked = Config::load(arguments.options, arguments.config.as_deref(), &Directly)
        .map_err(StartError::from)
        .and_then(|config| start::check(&config));
    match checked {
        Ok(report) => {
            let lines: Vec<_> =
                report.iter().map(|(heading, line)| format!("{heading:<11} {line}")).collect();
            print(&lines.join("\n"))
        }
        Err(error) => refuse(&error, NOT_STARTED),
    }
}

fn doctor(arguments: DoctorArgs) -> ExitCode {
    let json = arguments.json;
    let report = match start::doctor(arguments) {
        Ok(report) => report,
        Err(error) => return refuse(&error, NOT_STARTED),
    };
    let text = if json { report.json() } else { report.to_string() };
    let blocked = report.is_blocked();
    match print(text.trim_end()) {
        ExitCode::SUCCESS if blocked => ExitCode::from(FAILED),
        status => status,
    }
}

/// A result on standard output.
fn print(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILED),
    }
}

/// One line on standard error.
fn refuse(error: &dyn core::fmt::Display, status: u8) -> ExitCode {
    let line = error.to_string().lines().collect::<Vec<_>>().join(" ");
    // With standard error gone, the status says it.
    let _ = writeln!(io::stderr(), "atlas: {line}");
    ExitCode::from(status)
}
