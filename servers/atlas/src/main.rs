//! The `atlas` program: its command line, and what is not as in every server of the web.
//!
//! ```text
//!   cli ─▶ program: options, start, control's side
//!            └─ server ─▶ content: the directory and its catalogue
//! ```

#![forbid(unsafe_code)]

mod cli;
mod content;
mod own;
mod server;
mod sign;

use clap::Parser as _;
use clap::error::ErrorKind;
use program::ss::SsError;
use program::{FAILED, NOT_STARTED, Program as _};
use std::process::ExitCode;

use cli::{Cli, Command};
use server::Atlas;

fn main() -> ExitCode {
    let refuse = |error: &dyn core::fmt::Display, status| program::refuse(Atlas::NAME, error, status);
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
        Command::Serve(arguments) => program::serve::<Atlas>(*arguments),
        Command::Check(arguments) => program::check::<Atlas>(*arguments),
        Command::Doctor(arguments) => program::doctor(arguments, Atlas::NAME),
        Command::Monitor(arguments) => program::monitor::<Atlas>(*arguments),
        Command::Sign(arguments) => match sign::sign(&arguments) {
            Ok(url) => program::print(&url),
            Err(error) => refuse(&error, NOT_STARTED),
        },
        Command::Ss(arguments) => match program::ss::ss(&arguments, Atlas::ADMIN_PORT) {
            Ok(()) => ExitCode::SUCCESS,
            // Whoever has read enough need not be told.
            Err(SsError::Unread) => ExitCode::from(FAILED),
            Err(error @ SsError::Filter(_)) => refuse(&error, NOT_STARTED),
            Err(error @ SsError::Look(_)) => refuse(&error, FAILED),
        },
        Command::Top(arguments) => match program::top::top(arguments, Atlas::NAME, Atlas::ADMIN_PORT) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => refuse(&error, FAILED),
        },
    }
}
