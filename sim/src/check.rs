//! The laws that are watched while a world runs, each a type.
//!
//! ```text
//!   frames received (after the faults) ─┐
//!   frames sent (before the faults)    ─┼─▶ RepeatsItself · StaysWithinCredit · ShowsNoPlaintext · …
//!   the server's vitals                ─┘                    └─▶ Breach: the seed has failed
//! ```
//!
//! Checkers know TCP only from [`crate::packet`]. A damaged frame does not count: the server must not believe it
//! either.

use clock::Instant;
use core::fmt;
use core::net::SocketAddr;

use crate::packet::Segment;
use crate::server::Vitals;

mod credit;
mod plaintext;
mod repeats;
mod vitals;

#[cfg(test)]
mod tests;

pub use credit::StaysWithinCredit;
pub use plaintext::ShowsNoPlaintext;
pub use repeats::RepeatsItself;
pub use vitals::{CountsAddUp, FramesComeBack, StaysSmall};

/// A law was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// When.
    pub at: Instant,
    /// Which law.
    pub law: &'static str,
    /// How.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, law, what } = self;
        let micros = at.as_micros();
        write!(f, "at {}.{:06} s: {law}: {what}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// A segment at the server's link.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// When.
    pub at: Instant,
    /// Its headers.
    pub segment: &'a Segment,
    /// Its payload.
    pub payload: &'a [u8],
}

/// A connection, as both ends are seen from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// The client.
    pub client: SocketAddr,
    /// The server.
    pub server: SocketAddr,
}

/// Somebody who watches.
pub trait Checker: fmt::Debug {
    /// A segment reached the server.
    fn on_received(&mut self, seen: Seen<'_>, breaches: &mut Vec<Breach>) {
        let _ = (seen, breaches);
    }

    /// The server sent a segment.
    fn on_sent(&mut self, seen: Seen<'_>, breaches: &mut Vec<Breach>) {
        let _ = (seen, breaches);
    }

    /// The server stands like this after a turn.
    fn on_turn(&mut self, at: Instant, vitals: &Vitals, breaches: &mut Vec<Breach>) {
        let _ = (at, vitals, breaches);
    }

    /// Everybody has left, and the server stands like this.
    fn at_rest(&mut self, at: Instant, vitals: &Vitals, breaches: &mut Vec<Breach>) {
        let _ = (at, vitals, breaches);
    }
}

/// All of them.
#[must_use]
pub fn all(secure_port: u16) -> Vec<Box<dyn Checker>> {
    vec![
        Box::new(RepeatsItself::new(secure_port)),
        Box::new(StaysWithinCredit::new()),
        Box::new(ShowsNoPlaintext::new(secure_port)),
        Box::new(FramesComeBack),
        Box::new(StaysSmall),
        Box::new(CountsAddUp::default()),
    ]
}
