//! Load over DNS: queries over UDP in batches and, for a share of them, over TCP; answers checked, latencies kept.
//!
//! ```text
//!   Names ──▶ Window: id ─▶ when it was asked, and what     closed loop, or at a rate
//!                │ sendmmsg            ▲ recvmmsg
//!                ▼                     │
//!             ways, each from a port of its own, so that the server's queues share them: sockets, or frames on a link
//! ```
//!
//! A codec of our own and not the server's: a client that reads with the server's parser shares its mistakes.

mod carrier;
mod frames;
pub mod message;
pub mod names;
pub mod result;
pub mod run;
mod sys;
mod tcp;
mod window;
mod worker;
