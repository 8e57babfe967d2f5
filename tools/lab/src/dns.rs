//! Load over DNS: queries over UDP in batches and, for a share of them, over TCP; answers checked, latencies kept.
//!
//! ```text
//!   Names ──▶ Window: id ─▶ when it was asked, and what     closed loop, or at a rate
//!                │ sendmmsg            ▲ recvmmsg
//!                ▼                     │
//!             sockets, each connected from a port of its own, so that the server's queues share them
//! ```
//!
//! A codec of our own and not the server's: a client that reads with the server's parser shares its mistakes.

pub mod message;
pub mod names;
pub mod result;
pub mod run;
mod sys;
mod tcp;
mod udp;
mod window;
