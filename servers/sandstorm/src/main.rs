//! The `sandstorm` program: its command line, and what is not as in every server of the web.
//!
//! ```text
//!   cli ─▶ program: options, start, control's side
//!            └─ server ─▶ content: the directory, its redirects, what of it has changed
//!                     └─▶ a loader for each worker
//! ```

#![forbid(unsafe_code)]

#[path = "program/cli.rs"]
mod cli;
#[path = "program/content.rs"]
mod content;
#[path = "program/own.rs"]
mod own;
#[path = "program/server.rs"]
mod server;

use clap::Parser as _;
use clap::error::ErrorKind;
use program::ss::SsError;
use program::{FAILED, NOT_STARTED, Program as _};
use std::process::ExitCode;

use cli::{Cli, Command};
use server::Sandstorm;

fn main() -> ExitCode {
    let refuse = |error: &dyn core::fmt::Display, status| program::refuse(Sandstorm::NAME, error, status);
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
        Command::Serve(arguments) => program::serve::<Sandstorm>(*arguments),
        Command::Check(arguments) => program::check::<Sandstorm>(*arguments),
        Command::Doctor(arguments) => program::doctor(arguments, Sandstorm::NAME),
        Command::Monitor(arguments) => program::monitor::<Sandstorm>(*arguments),
        Command::Ss(arguments) => match program::ss::ss(&arguments, Sandstorm::ADMIN_PORT) {
            Ok(()) => ExitCode::SUCCESS,
            // Whoever has read enough need not be told.
            Err(SsError::Unread) => ExitCode::from(FAILED),
            Err(error @ SsError::Filter(_)) => refuse(&error, NOT_STARTED),
            Err(error @ SsError::Look(_)) => refuse(&error, FAILED),
        },
        Command::Top(arguments) => {
            match program::top::top(arguments, Sandstorm::NAME, Sandstorm::ADMIN_PORT) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => refuse(&error, FAILED),
            }
        }
    }
}
