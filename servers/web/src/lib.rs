//! What the servers of the web share: the life of their connections, the walk through a directory, and the records of
//! finished requests.
//!
//! ```text
//!   engine ──── session ──▶ desk ─▶ session ──▶ engine    Atlas's desk has files, Sandstorm's objects in memory
//!   exchange ── access ─▶ records ─▶ control              one line each
//!   directory ─ walk ──▶ files, problems                  Atlas lists what plays, Sandstorm takes it into memory
//! ```
//!
//! What a request and an answer mean is `http`'s; what an answer is made of is each server's own.

#![forbid(unsafe_code)]

pub mod access;
pub mod counters;
pub mod session;
pub mod walk;

pub use access::{AccessRecord, LogFormat, Records};
pub use counters::Counters;
pub use session::{HttpService, Session};
