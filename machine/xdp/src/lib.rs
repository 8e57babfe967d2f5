//! Packets past the kernel's stack: a program that steers what is ours to AF_XDP sockets, and these sockets.
//!
//! ```text
//!            ┌── steering program ──┐  ours, and a socket is on this queue
//!   NIC ────▶│ addresses? ports?    │──────────────▶ RX ring ──▶ receive
//!            └──────────┬───────────┘                fill ring ◀── chunks, last-in first-out
//!                       │ all else                   TX ring ◀── stage, flush
//!                       ▼                            completion ring ──▶ reclaim
//!                  the kernel's stack                all four name bytes of one `dma` arena (the UMEM)
//! ```
//!
//! The program is about a hundred instructions, assembled here and loaded by bpf(2): no compiler, no library. What it
//! takes for ours stands in maps, and may change while it runs. It stays attached for as long as a descriptor of its
//! [`Attachment`] is open, and therefore no longer than the processes that hold one live, however they die.
//!
//! Loading, attaching and [`Socket::create`] need privileges; [`Socket::open`] does not. The privileged things are
//! plain descriptors and may come from another process.

#![deny(unsafe_code)]

mod assembler;
mod error;
mod ring;
mod socket;
mod steering;
mod sys;

pub use error::XdpError;
pub use ring::Descriptor;
pub use socket::{
    BusyPoll, CopyMode, KernelCounters, METADATA_BYTES, Piece, Socket, SocketConfig, SocketCounters,
    SocketFacts, SocketState,
};
pub use steering::{AttachMode, Attachment, Scope, Steering, Transport, Verdict};

#[cfg(target_endian = "big")]
compile_error!("the steering program is assembled for a little-endian machine");
