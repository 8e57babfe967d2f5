//! The other side: who connects to the server, and how.
//!
//! ```text
//!   Visitor: a script of visits, HTTP/1.1, every byte compared   ┐
//!     └─ rustls, or nothing                                      ├ one Host
//!         └─ Transport: smoltcp · our model · our own tcp        ┘
//! ```
//!
//! A [`Host`] is a machine with one address. It is as sans-IO as the server: frames and time in, frames and a deadline
//! out.

use clock::Instant;
use core::fmt::Debug;

use crate::network::Frame;

pub mod adversary;
pub mod model;
pub mod own;
pub mod report;
pub mod response;
pub mod script;
pub mod smol;
pub mod visitor;

/// A machine at the other end of a path.
pub trait Host: Debug {
    /// A frame arrived.
    fn on_frame(&mut self, now: Instant, frame: &[u8]);

    /// Lets time pass, and appends the frames to be sent now.
    fn poll(&mut self, now: Instant, out: &mut Vec<Frame>);

    /// When to poll again if nothing arrives before.
    fn deadline(&self) -> Instant;

    /// From now on the world is healthy, and everybody is to get done.
    fn heal(&mut self, now: Instant);

    /// What it has to say so far.
    fn report(&self) -> report::Report<'_>;
}

/// One TCP connection at a time to the server.
pub trait Transport: Debug {
    /// Begins a connection to `port`, and forgets the one before.
    fn open(&mut self, now: Instant, port: u16);

    /// Where the connection stands.
    fn phase(&self) -> Phase;

    /// Takes some of `bytes` to be sent; returns how many.
    fn send(&mut self, bytes: &[u8]) -> usize;

    /// Appends at most `bytes_max` of what has arrived in order; returns how many.
    fn receive(&mut self, now: Instant, bytes_max: usize, out: &mut Vec<u8>) -> usize;

    /// Sends FIN after everything else.
    fn finish(&mut self);

    /// Sends RST.
    fn abort(&mut self, now: Instant);

    /// From now on nothing is sent and nothing is heard, until a connection is opened: the machine is gone.
    fn vanish(&mut self);

    /// Forgets the connection, as a machine that restarts: what comes for it is answered with RST (RFC 9293 §3.5.1).
    fn forget(&mut self);

    /// A frame arrived.
    fn on_frame(&mut self, now: Instant, frame: &[u8]);

    /// Appends the frames to be sent now.
    fn poll(&mut self, now: Instant, out: &mut Vec<Frame>);

    /// When to poll again if nothing arrives before.
    fn deadline(&self) -> Instant;

    /// From now on only what is good for the client itself.
    fn behave(&mut self) {}

    /// What the server did that it may not do, as far as this side of TCP can tell.
    fn take_violations(&mut self) -> Vec<model::Violation> {
        Vec::new()
    }
}

/// Where a connection stands, as its user sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not yet established.
    Opening,
    /// Bytes go both ways.
    Open,
    /// The peer has sent FIN; everything before it may still have to be received.
    PeerFinished,
    /// It is over.
    Ended(Ended),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Both sides sent FIN and know it.
    Finished,
    /// The peer reset it.
    Reset,
    /// We reset it.
    Aborted,
    /// The peer fell silent.
    TimedOut,
}
