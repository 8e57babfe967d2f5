//! Why there is no packet socket, in an operator's words.

use core::fmt;
use std::io;

use netlink::NetlinkError;
use xdp::XdpError;

/// Why a packet socket could not be opened on an interface.
#[derive(Debug)]
pub enum PacketError {
    /// There is no such interface in this network namespace.
    NoInterface {
        /// The interface.
        name: String,
    },
    /// The interface is down, and we do not bring up what is not ours.
    Down {
        /// The interface.
        name: String,
    },
    /// The interface carries no Ethernet.
    NotEthernet {
        /// The interface.
        name: String,
    },
    /// We may not open packet sockets.
    MayNot,
    /// The kernel refused something else.
    Refused {
        /// What was asked of it.
        attempt: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The kernel would not say what the interface is like.
    Netlink(NetlinkError),
    /// There is no AF_XDP socket to receive with.
    Xdp(XdpError),
}

impl fmt::Display for PacketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoInterface { name } => {
                write!(f, "there is no interface {name}: `ip link` lists those there are")
            }
            Self::Down { name } => {
                write!(f, "the interface {name} is down: bring it up with `ip link set {name} up`")
            }
            Self::NotEthernet { name } => {
                write!(f, "the interface {name} carries no Ethernet: choose another")
            }
            Self::MayNot => {
                f.write_str("packet sockets may not be opened: run as root, or give the program CAP_NET_RAW")
            }
            Self::Refused { attempt, source } => write!(f, "the kernel would not {attempt}: {source}"),
            Self::Netlink(error) => error.fmt(f),
            Self::Xdp(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for PacketError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Refused { source, .. } => Some(source),
            Self::Netlink(error) => Some(error),
            Self::Xdp(error) => Some(error),
            Self::NoInterface { .. } | Self::Down { .. } | Self::NotEthernet { .. } | Self::MayNot => None,
        }
    }
}

impl From<NetlinkError> for PacketError {
    fn from(error: NetlinkError) -> Self {
        Self::Netlink(error)
    }
}

impl From<XdpError> for PacketError {
    fn from(error: XdpError) -> Self {
        Self::Xdp(error)
    }
}
