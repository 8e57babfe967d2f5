//! What a load is to be.

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use handshake::ClientSettings;

use super::catalogue::{Catalogue, Part};
use super::choice::Chooser;
use super::truth::Truth;
use super::viewer::Habit;

/// Everything that workers have in common, and do not change.
#[derive(Debug)]
pub struct Plan {
    /// What may be asked for.
    pub catalogue: Catalogue,
    /// Which of it.
    pub chooser: Chooser,
    /// How much of it at a time.
    pub part: Part,
    /// How often.
    pub demand: Demand,
    /// How many connections, over all workers.
    pub connections: usize,
    /// They begin within this time.
    pub ramp: Duration,
    /// A connection, a handshake and a response may take so long each.
    pub timeout: Duration,
    /// Addresses that connections come from, in turn; the kernel's choice when empty.
    pub sources: Vec<IpAddr>,
    /// What responses are compared with.
    pub truth: Option<Arc<dyn Truth>>,
    /// For TLS.
    pub tls: ClientSettings,
    /// Choices are drawn from it.
    pub seed: u64,
}

/// How often somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// A new connection after so many requests.
    pub requests_per_connection: Option<u32>,
    /// From a response to the next request.
    pub think: Duration,
    /// Requests are paced by a player's buffer, instead.
    pub habit: Option<Habit>,
}

impl Demand {
    /// The next request at once, on the same connection.
    pub const CLOSED_LOOP: Self = Self { requests_per_connection: None, think: Duration::ZERO, habit: None };
}
