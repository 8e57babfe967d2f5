//! A connection as people look at it.

use alloc::string::String;
use core::net::SocketAddr;

/// One line of an `ss`-like list.
#[derive(Clone, Debug)]
pub struct ConnectionSummary {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's.
    pub peer: SocketAddr,
    /// The connection is TLS.
    pub secure: bool,
    /// What TCP knows: state, windows, round-trip time, retransmissions.
    pub tcp: tcp::Info,
    /// Stream bytes sent for the first time.
    pub sent_bytes: u64,
    /// Stream bytes sent again.
    pub resent_bytes: u64,
    /// Stream bytes received in order.
    pub received_bytes: u64,
    /// Reads on their way.
    pub reads: u32,
    /// Why it is ending, when it is.
    pub ending: Option<String>,
}
