//! The same engine on a seeded world.
//!
//! ```text
//!                 up: loss · stall · rate · jitter · …            frames          reads
//!   client host ──────────────────────────────────────▶ memory link ──▶ engine ──▶ memory disk
//!   (smoltcp or   ◀──────────────────────────────────────           ◀──        ◀──  (errors, stalls,
//!    our model)   down: the same devices, other dice      segments       bytes       slow, replaced files)
//!        │                                                    │
//!        └── every byte compared with the object              └── checkers watch the wire
//! ```
//!
//! The production engine and the production server run here on seeded time, on one thread, as one instantiation of
//! the same generic ([`platform::Platform`]). A seed decides everything: which faults are on and how strong, who the
//! clients are and what they ask for. First comes safety: the faults are on, and whatever happens no checker may
//! object. Then comes liveness: the path is healed, and everything must complete within a bound. Two runs of a seed
//! have the same [`trace`](trace::Trace).

#![forbid(unsafe_code)]

extern crate alloc;

pub mod address;
pub mod check;
pub mod client;
pub mod content;
pub mod network;
pub mod packet;
pub mod provider;
pub mod random;
pub mod server;
pub mod setup;
pub mod swarm;
pub mod time;
pub mod trace;
pub mod world;
