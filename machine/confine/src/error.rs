//! Why a thread is not confined, or the monitor did not answer.

use core::fmt;
use rustix::io::Errno;
use std::io;

/// The kernel has a layer and would not give it. The machine's, or ours.
#[derive(Debug)]
pub enum ConfineError {
    /// A system call about the thread itself.
    Refused {
        /// What was tried.
        attempt: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// Landlock.
    Files {
        /// What its library said.
        reason: String,
    },
    /// seccomp.
    Syscalls {
        /// What its library said.
        reason: String,
    },
}

impl fmt::Display for ConfineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { attempt, errno } => {
                write!(f, "cannot {attempt}: {errno}; --confine off goes without")
            }
            Self::Files { reason } => {
                write!(f, "Landlock refuses its rules: {reason}; --confine off goes without")
            }
            Self::Syscalls { reason } => {
                write!(f, "seccomp refuses its filter: {reason}; --seccomp off goes without")
            }
        }
    }
}

impl core::error::Error for ConfineError {}

/// A request that was not fulfilled.
#[derive(Debug)]
pub enum ChannelError {
    /// The other side is gone.
    Gone,
    /// It did not answer in time.
    Silent,
    /// It says why not.
    Refused {
        /// Its reason, for the operator.
        reason: String,
    },
    /// It said what no honest one would.
    Malformed,
    /// The socket itself.
    Socket(io::Error),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the monitor is gone"),
            Self::Silent => f.write_str("the monitor does not answer"),
            Self::Refused { reason } => f.write_str(reason),
            Self::Malformed => f.write_str("the monitor's answer makes no sense; this is a bug of ours"),
            Self::Socket(error) => write!(f, "the monitor cannot be asked: {error}"),
        }
    }
}

impl core::error::Error for ChannelError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Socket(error) => Some(error),
            Self::Gone | Self::Silent | Self::Refused { .. } | Self::Malformed => None,
        }
    }
}
