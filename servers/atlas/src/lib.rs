//! Atlas: video from disk, clocked by TCP.
//!
//! ```text
//!   settings ─┐
//!   catalogue ├─▶ site ─── snapshot ──▶ service ── turn::Service ──▶ the engine
//!   page ─────┘   (control makes it)    (each worker has one)
//! ```
//!
//! This library is the server without a machine under it: an HTTP service that does no I/O, and the things that control
//! makes for it. It runs the same in a worker, in the simulator and in a test. The binary beside it picks the machine.

#![forbid(unsafe_code)]

pub mod catalogue;
mod page;
pub mod service;
pub mod settings;
mod site;

pub use catalogue::{Catalogue, ScanLimits};
pub use page::DIRECTORY as PAGE_DIRECTORY;
pub use service::{AtlasService, Counters, Session, Tally};
pub use settings::{Settings, SettingsError};
pub use site::{Site, Snapshot};
pub use web::{AccessRecord, LogFormat};
