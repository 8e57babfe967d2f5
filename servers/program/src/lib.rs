//! What the programs of the web's servers share: what an operator writes, what is done with it, and what is told.
//!
//! ```text
//!   options ─▶ start ─┬─▶ host: worker 0 … N    an engine each, on a thread of its own
//!                     ├─▶ host: forward         only inside a namespace
//!                     └─▶ serve: control::run   this thread, until everything has left
//!   look ─▶ ss, top                             another process, over the admin port
//! ```
//!
//! A server's program names itself and what is particular to it by a [`Program`]: its own options, its directory, what
//! its workers begin with. Everything else of a command line is the same by construction.

#![forbid(unsafe_code)]

mod events;
pub mod look;
pub mod options;
mod particular;
mod secure;
mod serve;
pub mod ss;
mod start;
mod stats;
pub mod top;

pub use events::Events;
pub use options::{
    CaptureChoice, Common, Config, ConfigError, Loaded, Options, ServeArgs, deserialize_switch, switch,
};
pub use particular::{Complaint, Given, Program, Seating};
pub use serve::{DoctorArgs, check, doctor, monitor, print, refuse, serve};

/// It failed while it ran.
pub const FAILED: u8 = 1;
/// It could not start.
pub const NOT_STARTED: u8 = 2;
