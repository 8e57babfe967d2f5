//! Why there is no ground to stand on, in one line.

use core::fmt;
use std::io;

/// What went wrong.
#[derive(Debug)]
pub enum TestbedError {
    /// A program is not there or may not be started.
    NotStarted {
        /// Its name,
        program: String,
        /// and why.
        source: io::Error,
    },
    /// A command failed.
    Refused {
        /// The command,
        command: String,
        /// and what it said.
        said: String,
    },
    /// A namespace cannot be entered.
    Enter {
        /// Its name,
        name: String,
        /// and why.
        source: io::Error,
    },
}

impl fmt::Display for TestbedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted { program, source } => {
                write!(f, "{program}: {source}: install the Debian package that has it")
            }
            Self::Refused { command, said } => write!(f, "{command}: {said}"),
            Self::Enter { name, source } => {
                write!(f, "cannot enter the namespace {name} ({source}): it takes root")
            }
        }
    }
}

impl core::error::Error for TestbedError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::NotStarted { source, .. } | Self::Enter { source, .. } => Some(source),
            Self::Refused { .. } => None,
        }
    }
}
