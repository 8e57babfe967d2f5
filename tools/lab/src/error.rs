//! Why a run did not come about, in one line.

use core::fmt;
use std::io;
use std::path::PathBuf;

use testbed::TestbedError;

use crate::figures::Problem;
use crate::load::catalogue::BadUrl;

/// What went wrong before anything was measured.
#[derive(Debug)]
pub enum ProgramError {
    /// The operator's arguments contradict each other or ask for nothing.
    Arguments(String),
    /// A URL is none.
    Url(BadUrl),
    /// A file cannot be read.
    File {
        /// Which,
        path: PathBuf,
        /// and why.
        source: io::Error,
    },
    /// The limit of open files is too low.
    Descriptors {
        /// Connections wanted,
        wanted: usize,
        /// and possible.
        possible: u64,
    },
    /// Namespaces are refused.
    NoNamespaces(String),
    /// A namespace or a path between two.
    Ground(TestbedError),
    /// The server that was to be measured.
    Server {
        /// How it ended, or that it does not answer,
        status: String,
        /// and what it said last.
        said: String,
    },
    /// A process of ours cannot be started or waited for.
    Restart(io::Error),
    /// Signals cannot be caught.
    Signals(io::Error),
    /// The load itself.
    Run(String),
    /// A figure.
    Figure(Problem),
    /// Standard output is gone.
    Output(io::Error),
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(why) => f.write_str(why),
            Self::Url(error) => error.fmt(f),
            Self::Figure(problem) => problem.fmt(f),
            Self::File { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Descriptors { wanted, possible } => write!(
                f,
                "{wanted} connections need as many open files, and {possible} are allowed: raise the limit (ulimit -Hn, \
                 LimitNOFILE) or run as root"
            ),
            Self::NoNamespaces(why) => f.write_str(why),
            Self::Ground(error) => error.fmt(f),
            Self::Server { status, said } if said.is_empty() => write!(f, "the server of --serve: {status}"),
            Self::Server { status, said } => write!(f, "the server of --serve: {status}; it said: {said}"),
            Self::Restart(error) => write!(f, "cannot start a process or wait for it: {error}"),
            Self::Signals(error) => write!(f, "cannot catch signals: {error}"),
            Self::Run(why) => f.write_str(why),
            Self::Output(error) => write!(f, "cannot write to standard output: {error}"),
        }
    }
}

impl core::error::Error for ProgramError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Url(error) => Some(error),
            Self::Ground(error) => Some(error),
            Self::Figure(problem) => Some(problem),
            Self::File { source, .. } => Some(source),
            Self::Restart(error) | Self::Signals(error) | Self::Output(error) => Some(error),
            Self::Arguments(_)
            | Self::Descriptors { .. }
            | Self::NoNamespaces(_)
            | Self::Server { .. }
            | Self::Run(_) => None,
        }
    }
}

impl From<BadUrl> for ProgramError {
    fn from(error: BadUrl) -> Self {
        Self::Url(error)
    }
}

impl From<TestbedError> for ProgramError {
    fn from(error: TestbedError) -> Self {
        Self::Ground(error)
    }
}
