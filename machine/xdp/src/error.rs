//! Why there is no program or no socket, in an operator's words.

use core::fmt;
use std::io;

/// The kernel refused something that AF_XDP needs.
#[derive(Debug)]
pub enum XdpError {
    /// We lack the privilege.
    MayNot {
        /// What was to be done.
        attempt: &'static str,
        /// Which capability allows it.
        capability: &'static str,
    },
    /// The process may not pin as much memory as the arena has.
    Memlock {
        /// How large the arena is.
        bytes: usize,
    },
    /// The interface has no such queue.
    NoQueue {
        /// Counted from 0.
        queue: u32,
    },
    /// Somebody else has the interface or the queue.
    Busy {
        /// What was to be done.
        attempt: &'static str,
    },
    /// The driver cannot do it.
    Unsupported {
        /// What was to be done.
        attempt: &'static str,
    },
    /// The kernel's verifier refused the program: a defect of ours.
    Verifier {
        /// The end of what it said.
        log: String,
        /// What the system call said.
        source: io::Error,
    },
    /// The kernel refused something else.
    Refused {
        /// What was to be done.
        attempt: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl XdpError {
    /// What `source` means, when `attempt` was made.
    pub(crate) fn of(attempt: &'static str, capability: &'static str, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::MayNot { attempt, capability },
            Some(libc::EBUSY | libc::EEXIST) => Self::Busy { attempt },
            Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => Self::Unsupported { attempt },
            _ => Self::Refused { attempt, source },
        }
    }

    /// Another mode might do.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        matches!(self, Self::Unsupported { .. })
    }
}

impl fmt::Display for XdpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MayNot { attempt, capability } => {
                write!(f, "we may not {attempt}: run as root, or give the program {capability}")
            }
            Self::Memlock { bytes } => write!(
                f,
                "{} MiB of packet memory may not be pinned: raise the limit (`ulimit -l`, LimitMEMLOCK=), or give \
                 the program CAP_IPC_LOCK",
                bytes >> 20
            ),
            Self::NoQueue { queue } => {
                write!(
                    f,
                    "the interface has no queue {queue}: `ethtool -l` lists its channels; use fewer workers"
                )
            }
            Self::Busy { attempt } => write!(
                f,
                "cannot {attempt}: another program has it; `ip link` shows programs, `ss --xdp` sockets"
            ),
            Self::Unsupported { attempt } => {
                write!(f, "cannot {attempt}: the driver or this kernel does not do it; choose another link")
            }
            Self::Verifier { log, source } => {
                write!(f, "the kernel refused our steering program ({source}): {log}; please report this")
            }
            Self::Refused { attempt, source } => write!(f, "cannot {attempt}: {source}"),
        }
    }
}

impl core::error::Error for XdpError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Verifier { source, .. } | Self::Refused { source, .. } => Some(source),
            Self::MayNot { .. }
            | Self::Memlock { .. }
            | Self::NoQueue { .. }
            | Self::Busy { .. }
            | Self::Unsupported { .. } => None,
        }
    }
}
