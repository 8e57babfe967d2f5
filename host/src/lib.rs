//! The host: what a server needs of a Linux machine.
//!
//! ```text
//!   Machine ── what there is ──▶ how many workers, how much memory
//!   Network ── links, addresses, perhaps a namespace ──▶ one queue for each worker
//!   worker  ── a thread: engine, pool, link, disk ── turns, and sleeps when there is nothing to turn for
//!   look    ── the other end of a running server's admin port; `screen` shows it, again and again
//!   forward ── from the loopback interface outside into a namespace
//! ```
//!
//! A server's program reads its configuration, asks this room for a network and a pool, and starts workers with a
//! [`Tenant`]: its service, and how to look at it. Everything here is about the machine and nothing about what is served.
//! The values an operator writes for these things ([`values`]) are here too, so that every server spells them alike.

pub mod choice;
mod confinement;
mod doctor;
mod forward;
mod holders;
mod keeper;
mod link;
pub mod look;
mod machine;
mod monitor;
pub mod namespace;
mod network;
pub mod screen;
pub mod start;
mod sys;
pub mod values;
mod worker;

pub use choice::{Asked, Candidate, Choice, Obstacle};
pub use confinement::{Layer, Policy, Seccomp, trial};
pub use doctor::Report;
pub use forward::{Forwarder, Route};
pub use holders::{HolderError, Holders, Owner, Transport};
pub use keeper::{Keeper, Orders};
pub use link::{Front, HostLink};
pub use machine::{FRAMES, FRAMES_MIN, Machine, PoolChoice, TooLittle, cores, raise_file_limit};
pub use monitor::{Monitor, MonitorError, Named, attend};
pub use namespace::NamespaceError;
pub use network::{Device, Keep, Network, NetworkError, Queue, Steer, Wanted};
pub use worker::{Choices, Counters, Facts, Place, Plan, Port, Snapshot, Tenant, spawn};
