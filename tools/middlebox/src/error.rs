//! Why there is no path, or none any longer, in one line.

use core::fmt;
use dma::RegionError;
use link_afxdp::AfxdpError;
use link_packet::PacketError;
use link_tap::TapError;
use middlebox::ConfigError;
use rustix::io::Errno;
use std::io;

/// What went wrong.
#[derive(Debug)]
pub(crate) enum ProgramError {
    /// The operator asks for a path that cannot be.
    Config(ConfigError),
    /// The operator gives the same device twice.
    SameDevice { name: String },
    /// A packet socket cannot be opened.
    Packet(PacketError),
    /// A TAP device cannot be made.
    Tap(TapError),
    /// An interface cannot be used through AF_XDP.
    Afxdp(AfxdpError),
    /// The operator asks for more workers than the interface has queues.
    Queues { name: String, queues: u32, workers: u16 },
    /// There is no memory for an AF_XDP socket.
    Memory(RegionError),
    /// A queue of a device cannot be used.
    Queue { name: String, source: io::Error },
    /// Signals cannot be caught.
    Signals(io::Error),
    /// No thread can be started.
    Thread(io::Error),
    /// A device is gone or down.
    Device { name: String, source: io::Error },
    /// The kernel would not wait for packets.
    Wait(Errno),
    /// Standard output is gone.
    Output(io::Error),
    /// A defect of ours; the panic has said which.
    Panicked,
}

impl ProgramError {
    /// It never forwarded anything.
    pub(crate) fn is_at_start(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::SameDevice { .. }
            | Self::Packet(_)
            | Self::Tap(_)
            | Self::Afxdp(_)
            | Self::Queues { .. }
            | Self::Memory(_)
            | Self::Queue { .. }
            | Self::Signals(_)
            | Self::Thread(_) => true,
            Self::Device { .. } | Self::Wait(_) | Self::Output(_) | Self::Panicked => false,
        }
    }
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::SameDevice { name } => {
                write!(f, "{name} is on both sides: --client and --server must be two devices")
            }
            Self::Packet(error) => error.fmt(f),
            Self::Tap(error) => error.fmt(f),
            Self::Afxdp(error) => error.fmt(f),
            Self::Queues { name, queues, workers } => write!(
                f,
                "{name} has {queues} receive queues for --workers {workers}: each needs one: `ethtool -L {name} \
                 combined {workers}` makes more, where the device can"
            ),
            Self::Memory(error) => error.fmt(f),
            Self::Queue { name, source } => {
                write!(f, "{name} cannot be forwarded from ({source}): is it a device of this kernel?")
            }
            Self::Signals(error) => write!(f, "cannot catch signals: {error}"),
            Self::Thread(error) => write!(f, "cannot start a thread: {error}"),
            Self::Device { name, source } => {
                write!(f, "{name} delivers no more packets ({source}): was it taken down?")
            }
            Self::Wait(error) => write!(f, "cannot wait for packets: {error}"),
            Self::Output(error) => write!(f, "cannot write to standard output: {error}"),
            Self::Panicked => f.write_str("a worker panicked; this is a defect, please report it"),
        }
    }
}

impl core::error::Error for ProgramError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Packet(error) => Some(error),
            Self::Tap(error) => Some(error),
            Self::Afxdp(error) => Some(error),
            Self::Memory(error) => Some(error),
            Self::Signals(error) | Self::Thread(error) | Self::Output(error) => Some(error),
            Self::Device { source, .. } | Self::Queue { source, .. } => Some(source),
            Self::Wait(source) => Some(source),
            Self::SameDevice { .. } | Self::Queues { .. } | Self::Panicked => None,
        }
    }
}

impl From<ConfigError> for ProgramError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<PacketError> for ProgramError {
    fn from(error: PacketError) -> Self {
        Self::Packet(error)
    }
}

impl From<AfxdpError> for ProgramError {
    fn from(error: AfxdpError) -> Self {
        Self::Afxdp(error)
    }
}

impl From<TapError> for ProgramError {
    fn from(error: TapError) -> Self {
        Self::Tap(error)
    }
}
