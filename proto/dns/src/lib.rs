//! DNS messages as an authoritative server needs them: questions in, the pieces of answers out.
//!
//! ```text
//!  bytes ──▶ query::parse ──▶ Query { header, question, edns, tsig }   or a Refusal: what RFC 8906 wants answered
//!                 │
//!                 └──▶ name::Name: folded, with the place of every label; no pointer survives
//!  bytes ◀── header, edns::Reply, cookie, records
//! ```
//!
//! A view of a message costs no allocation, and what it costs is bounded by the message's length: each name is read
//! once, pointers only lead backwards, and what cannot be read is refused with the code that the RFC names.
//!
//! Deliberately absent: zone files, resolution, anything that remembers.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod cookie;
pub mod edns;
pub mod header;
pub mod name;
pub mod query;
pub mod record;
pub mod rtype;
pub mod tsig;

pub use header::{Flags, Header, Opcode, Rcode};
pub use name::Name;
pub use query::{Query, Question, Refusal};
pub use rtype::{Class, Rtype};
