//! Why there is no such link, in an operator's words.

use core::fmt;

use netlink::NetlinkError;
use xdp::XdpError;

/// Why an interface cannot be used through AF_XDP.
#[derive(Debug)]
pub enum AfxdpError {
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
    /// The program or a socket was refused.
    Xdp(XdpError),
    /// The kernel would not say what the interface is like.
    Netlink(NetlinkError),
}

impl fmt::Display for AfxdpError {
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
            Self::Xdp(error) => error.fmt(f),
            Self::Netlink(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for AfxdpError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Xdp(error) => Some(error),
            Self::Netlink(error) => Some(error),
            Self::NoInterface { .. } | Self::Down { .. } | Self::NotEthernet { .. } => None,
        }
    }
}

impl From<XdpError> for AfxdpError {
    fn from(error: XdpError) -> Self {
        Self::Xdp(error)
    }
}

impl From<NetlinkError> for AfxdpError {
    fn from(error: NetlinkError) -> Self {
        Self::Netlink(error)
    }
}
