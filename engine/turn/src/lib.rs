//! The turn of the wheel: the engine that a worker runs, generic over its machine and its server.
//!
//! ```text
//!             ┌────────── link: packets in ──────────┐
//!             ▼                                      │
//!   input ─▶ tcp ─▶ credit ─▶ pull ─▶ disk ─▶ seal ─▶ transmit ─▶ link: superframes out
//!     │                         ▲                               (frames go back, newest on top)
//!     └─▶ shake, serve ─────────┘
//! ```
//!
//! [`Engine`] owns a [`platform::Link`], a [`platform::Disk`], a clock and a [`Service`], and everything between them.
//! One [`Engine::turn`] takes what has arrived, reads what the windows allow, seals what was read and sends what was
//! sealed; nothing waits in a queue longer than that, and nothing blocks. Production gives it a TAP and io_uring, the
//! simulator a network and a disk made of dice: the engine cannot tell.
//!
//! The laws it keeps (DESIGN §2, dissertation §4.3): data is read when the window has room for it and not before; what
//! was read leaves at once; what is lost is read again; a record number meets one plaintext.
#![forbid(unsafe_code)]

extern crate alloc;

mod carrier;
mod close;
mod config;
mod copies;
mod counters;
mod engine;
mod files;
mod flow;
mod input;
mod list;
mod memory;
mod outbound;
mod pull;
mod read;
mod seal;
mod serve;
mod service;
mod shake;
mod slab;
mod tap;
mod train;
mod transmit;
mod worker;

pub use carrier::Carrier;
pub use config::{Config, ConfigError};
pub use copies::MemoryVariant;
pub use counters::{Counters, TURN_SLOTS};
pub use engine::{Engine, EngineParts, Turned};
pub use list::{ConnectionSummary, Listed, Protection};
pub use memory::Memory;
pub use service::{Action, Actions, End, FileHandle, Lent, Now, Peer, Service, Ticket, Transfer};
pub use tap::{Direction, Passing, Tap};
pub use train::Train;
