//! What a host has to say about the server, and of itself.

use clock::Instant;
use core::fmt;

use super::Ended;
use super::model::Violation;
use super::response::Wrong;
use super::script::Request;

/// Something that the server may never do.
#[derive(Clone, Debug)]
pub enum Complaint {
    /// On the level of TCP.
    Tcp(Violation),
    /// On the level of TLS.
    Tls(rustls::Error),
    /// On the level of HTTP.
    Http(Wrong),
    /// The stream of a TLS connection ended in order and without `close_notify` (RFC 8446 §6.1).
    Truncated,
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(violation) => write!(f, "TCP: {violation}"),
            Self::Tls(error) => write!(f, "TLS: {error}"),
            Self::Http(wrong) => write!(f, "HTTP: {wrong}"),
            Self::Truncated => f.write_str("TLS: the stream ended without close_notify"),
        }
    }
}

/// Something that may happen while there are faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// The connection ended before everything was answered.
    Ended(Ended),
    /// The server sent FIN before everything was answered.
    Closed,
    /// The server answered with this status: it is busy, or we were slow.
    PutOff(u16),
    /// The server sent an alert.
    Alert,
}

/// What a visitor has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Responses received whole.
    pub answered: u64,
    /// Bytes of bodies compared.
    pub body_bytes: u64,
    /// Connections begun.
    pub connections: u64,
    /// TLS handshakes completed.
    pub handshakes: u64,
    /// Of those, resumed.
    pub resumed: u64,
    /// Mishaps.
    pub mishaps: u64,
}

impl Tally {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let Self { answered, body_bytes, connections, handshakes, resumed, mishaps } = other;
        Self {
            answered: self.answered + answered,
            body_bytes: self.body_bytes + body_bytes,
            connections: self.connections + connections,
            handshakes: self.handshakes + handshakes,
            resumed: self.resumed + resumed,
            mishaps: self.mishaps + mishaps,
        }
    }
}

/// What a host has to say so far.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Who says so.
    pub name: &'a str,
    /// It wants nothing more.
    pub done: bool,
    /// It need not get done: it harms itself, or others.
    pub excused: bool,
    /// What the server may never do.
    pub complaints: &'a [Complaint],
    /// What may happen while there are faults, and when it happened.
    pub mishaps: &'a [(Instant, Mishap)],
    /// What was achieved.
    pub tally: Tally,
    /// What it waits for, if it waits for the server.
    pub waits_for: Option<&'a Request>,
}
