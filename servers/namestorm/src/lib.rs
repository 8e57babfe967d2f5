//! Namestorm: authoritative DNS whose answers are packetised ahead of time.
//!
//! ```text
//! zone files ── load ──▶ zone ──▶ catalogue: an immutable snapshot of all zones
//!                                    │
//! query ──▶ responder ── one hash ───┘──▶ header, question as it came, body as it lies there
//! ```
//!
//! This far it does no I/O but to read zone files, and keeps no time: a query, its source and the time go in, an answer
//! comes out in the caller's buffer. [`front`] answers datagrams with it, [`service`] streams.
#![forbid(unsafe_code)]

pub mod catalogue;
pub mod desk;
pub mod dnstap;
pub mod front;
pub mod hash;
pub mod keeper;
pub mod load;
pub mod query_log;
mod replicas;
pub mod respond;
pub mod rrl;
pub mod service;
pub mod show;
pub mod steer;
pub mod transfer;
pub mod zone;
