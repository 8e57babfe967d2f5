//! Network interfaces, addresses and routes of the host: the few questions and orders that setting up a link
//! needs, over rtnetlink (rtnetlink(7)); and what a device can do, over generic netlink.
//!
//! ```text
//!   | nlmsghdr: len type flags seq pid | ifinfomsg / ifaddrmsg / rtmsg | attribute | attribute | … |
//!                                                                      | len type value, padded to 4 |
//! ```
//!
//! Every call asks and waits for the kernel's answer: this is for setting up and tidying, never for a
//! worker's turn. What was created here is not undone here; a TAP device vanishes with its descriptors, and a
//! veth pair with [`Netlink::delete_link`] or its namespace.

#![forbid(unsafe_code)]

mod conversation;
mod error;
mod generic;
mod message;
mod route;
mod watch;

pub use error::NetlinkError;
pub use generic::{Channels, DeviceFeatures, Generic, Offloads, Rings, Rss, XdpFeatures, XskFeatures};
pub use route::{AddressInfo, LinkChange, LinkInfo, Netlink, Queues, RouteInfo, XdpAttached, XdpMode};
pub use watch::{LinkWatch, News};

#[cfg(target_endian = "big")]
compile_error!("netlink speaks the host's byte order, and this crate writes little-endian");

#[cfg(test)]
mod tests;
