//! The other thread: what a server needs beside its workers, on ordinary kernel sockets.
//!
//! ```text
//!            worker 0 … worker N              one thread per core, nothing shared
//!              ▲ │          ▲ │
//!   commands   │ │ reports  │ │               one bounded ring each way and worker; a full ring drops and counts
//!              │ ▼          │ ▼
//!   ┌────────────────── control ───────────────────┐
//!   │ signals · admin port · metrics · access log   │
//!   │ certificates · tickets · reload · drain       │
//!   └───────────────────────────────────────────────┘
//! ```
//!
//! Control sleeps in `poll` until a signal, an admin client or an urgent report wakes it, and looks at the rings a few
//! times a second. It never makes a worker wait: what it hands over is an immutable snapshot, what it takes is what
//! fits into a ring. A [`Server`] says what is particular: what a snapshot holds, which numbers are counted, how an
//! access-log line is written.
//!
//! Deliberately absent: payload (never passes through here, but for what an operator captures), an async runtime, and a way to change a worker's state
//! other than by a [`Command`].

#![forbid(unsafe_code)]

mod access_log;
mod admin;
mod capture;
mod certificate;
mod figures;
mod files;
mod latency;
mod listing;
mod mailbox;
mod metrics;
mod run;
mod signals;
mod wake;
mod wish;

pub use access_log::{AccessLog, Destination};
pub use admin::{Admin, AdminError};
pub use capture::{
    BadFilter, CAPTURE_BYTES_MIN, CAPTURE_SNAP_MAX, CAPTURE_SNAP_MIN, Capture, CaptureError, CaptureFilter,
    CapturePlan, CaptureSink,
};
pub use certificate::{Certificate, CertificateError};
pub use figures::{Figure, Figures, Kind};
pub use files::{Directly, Opener, Purpose};
pub use latency::Latency;
pub use listing::{Connection, ListOrder, Listed, PAGE_CONNECTIONS, Page};
pub use mailbox::{Command, ControlPort, Ends, Event, Refused, Report, WorkerPort, mailbox};
pub use run::{Outcome, Plan, Reloaded, Server, Status, run};
pub use signals::{SignalError, Signals};
pub use wake::Wake;
pub use wish::{Said, Wish};
