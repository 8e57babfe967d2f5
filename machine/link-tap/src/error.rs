//! Why there is no TAP device, in an operator's words.

use core::fmt;
use std::io;

use netlink::NetlinkError;

/// Why a TAP device could not be made or set up. Each says what to do about it.
#[derive(Debug)]
pub enum TapError {
    /// The kernel has no TAP devices.
    NoDriver {
        /// What opening /dev/net/tun said.
        source: io::Error,
    },
    /// We may not open /dev/net/tun.
    MayNotOpen {
        /// What the kernel said.
        source: io::Error,
    },
    /// We may open it, but not create a device in this network namespace.
    MayNotCreate {
        /// The device.
        name: String,
    },
    /// An interface of that name exists and is in use, or is no TAP device of several queues.
    NameTaken {
        /// The device.
        name: String,
    },
    /// No interface can have that name.
    BadName {
        /// The device.
        name: String,
    },
    /// The kernel has no more queues for one device.
    TooManyQueues {
        /// How many were asked for.
        queues: u16,
    },
    /// The kernel refused something else.
    Refused {
        /// What was asked of it.
        attempt: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The device is there but could not be set up.
    Setup(NetlinkError),
}

impl fmt::Display for TapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver { source } => {
                write!(f, "this kernel has no TAP devices ({source}): load the module with `modprobe tun`")
            }
            Self::MayNotOpen { source } => write!(
                f,
                "/dev/net/tun may not be opened ({source}): run as root, or let this user open /dev/net/tun and give \
                 the program CAP_NET_ADMIN"
            ),
            Self::MayNotCreate { name } => write!(
                f,
                "the TAP device {name} may not be created: run as root, or give the program CAP_NET_ADMIN"
            ),
            Self::NameTaken { name } => write!(
                f,
                "the interface {name} is in use: choose another name, or end the program that holds it"
            ),
            Self::BadName { name } => {
                write!(f, "no interface can be called {name:?}: use 1 to 15 letters, digits, '-' or '_'")
            }
            Self::TooManyQueues { queues } => {
                write!(f, "a TAP device cannot have {queues} queues: use fewer workers")
            }
            Self::Refused { attempt, source } => write!(f, "the kernel would not {attempt}: {source}"),
            Self::Setup(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for TapError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::NoDriver { source } | Self::MayNotOpen { source } | Self::Refused { source, .. } => {
                Some(source)
            }
            Self::Setup(error) => Some(error),
            Self::MayNotCreate { .. }
            | Self::NameTaken { .. }
            | Self::BadName { .. }
            | Self::TooManyQueues { .. } => None,
        }
    }
}

impl From<NetlinkError> for TapError {
    fn from(error: NetlinkError) -> Self {
        Self::Setup(error)
    }
}
