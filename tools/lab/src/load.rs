//! Load over HTTP: many clients that cost little, and what they see.
//!
//! ```text
//!   Plan ──▶ Desk ──▶ Client (visit) ──▶ Session (TLS, HTTP framing)        sans-IO
//!               │         ▲
//!               │         ├── kernel::Worker (epoll, MSG_TRUNC)             moves bytes
//!               │         └── own::OwnWorker (our own TCP on a link)        moves bytes
//!               ▼
//!             Tally: histograms, failures by kind, viewers
//! ```

pub mod catalogue;
pub mod choice;
pub mod fault;
pub mod framing;
pub mod kernel;
pub mod own;
pub mod plan;
pub mod records;
pub mod run;
pub mod session;
mod sys;
pub mod tally;
mod timers;
pub mod truth;
pub mod viewer;
pub mod visit;
