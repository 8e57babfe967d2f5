//! A long and imperfect path, as a value: packets and the time in, packets out later.
//!
//! ```text
//!   client ──▶ flow hash ─▶ policer ─▶ loss ─▶ twice? ─▶ bottleneck ─▶ wheel ──▶ server
//!                 │                                                      ▲
//!                 └──────────── a constant delay of the flow ────────────┘
//! ```
//!
//! It is the middlebox of the dissertation (fig. 4.11). Every flow has one delay for all its life, drawn by the hash
//! of its addresses and ports from the configured [`Bands`], so that nothing is reordered that was not asked to be.
//! Packets wait in the buckets of a timing wheel; on each tick a bucket is emptied as a whole. The cost of a packet
//! depends neither on how many flows there are nor on how many packets wait.
//!
//! [`Middlebox`] does no I/O and reads no clock. Its only randomness is its seed's: the same packets at the same times
//! meet the same fate. Memory has a bound, and what did not fit is counted.
//!
//! Packets carry their virtio-net header (ten bytes, [`vnet::HEADER_BYTES`]) before them. A superframe passes whole
//! where nothing happens to single packets, and is cut first where something may: the loss of one superframe would be
//! that of forty packets. One of more than 64 KiB (BIG TCP) leaves as several.
//!
//! Deliberately absent: routing, address translation, fragments put together. What is not IP (ARP) belongs to the
//! link and not to the path: it passes at once and unharmed.

#![forbid(unsafe_code)]

mod config;
mod flow;
mod lane;
mod loss;
mod middlebox;
mod offload;
mod pool;
mod random;
mod rate;
mod statistics;
mod wheel;

pub use config::{
    Band, Bands, Burst, Config, ConfigError, Horizons, Police, Probability, Profile, Rate, Reorder,
};
pub use flow::FlowHash;
pub use middlebox::{Direction, Middlebox, Verdict};
pub use offload::finish;
pub use pool::{FRAME_BYTES_MAX, Frame, Room};
pub use statistics::{LaneStatistics, Statistics};
pub use wheel::Wheel;
