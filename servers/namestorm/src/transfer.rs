//! Zones from server to server: all of one (RFC 5936), what changed in it (RFC 1995), and the word that it did (RFC 1996).
//!
//! ```text
//! incoming  a zone of another server, message by message                ◀── who fetches
//! journal   what changed from version to version
//! policy    who may have what, with which keys
//! notice    a primary's word, from a worker to whoever fetches zones
//! notifier  our word to others
//! outgoing  a zone as messages, a few at a time, each signed            ◀── service
//! secondary when a zone of other servers is asked for, and when it expires
//! serial    which of two versions is the newer one (RFC 1982)
//! ```

pub mod incoming;
pub mod journal;
pub mod notice;
pub mod notifier;
pub mod outgoing;
pub mod policy;
pub mod secondary;
pub mod serial;

#[cfg(test)]
mod tests;
