//! Sandstorm: the web from memory, packetised ahead of time.
//!
//! ```text
//!   directory ── load ──▶ site: names, codings, rules, redirects        control makes it; workers share it, read only
//!                           │
//!   request ── respond ─────┤ which form of which name, which bytes of it, under which head
//!                           ▼
//!                  shelf: objects in frames, with the sums of their bytes   a worker's own; least recently used goes
//!                           │ not there ─▶ seat: a thread that reads ─▶ pieces ─▶ filling, on first use
//!                           ▼
//!                  reply: a head whose date is filled in, and parts of an object that stay where they lie
//! ```
//!
//! The library does no I/O but to load, on a thread of its own, and keeps no time. [`desk`] is what the sessions of
//! [`web`] ask; how a reply goes on the wire is told in `docs/design/sandstorm.md`.

#![forbid(unsafe_code)]

pub mod desk;
pub mod load;
mod replicas;
pub mod respond;
pub mod rules;
pub mod seat;
pub mod shelf;
pub mod sums;

pub use desk::{First, Given, Objects, SandstormService, Session, Tally};
pub use load::{Key, LoadError, Site, Variant};
pub use respond::{Answer, Body, Reply, Responder};
pub use rules::{Redirects, Rule, Settings};
pub use shelf::{Object, Shelf};
pub use sums::PrefixSums;
