//! What the servers of the web share: the walk through a directory, and the records of finished requests.
//!
//! ```text
//!   directory ── walk ──▶ files, problems         Atlas lists what plays, Sandstorm takes it into memory
//!   exchange ─── access ─▶ records ─▶ control     one line each
//! ```
//!
//! What a request and an answer mean is `http`'s; what a server makes of them is its own.

#![forbid(unsafe_code)]

pub mod access;
pub mod walk;

pub use access::{AccessRecord, LogFormat, Records};
