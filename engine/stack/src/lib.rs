//! The IP stack without its TCBs: who a packet is from, which flow it belongs to, when to wake up, and the answers that
//! need no connection.
//!
//! ```text
//! frame ─▶ Interface::on_frame ─┬─▶ Tcp ─▶ ConnectionTable ─▶ the owner's TCBs
//!             │  ARP, NDP, echo │        └▶ TimeWaitTable, Listener: SYN, cookie, RST
//!             ▼                 ├─▶ PathMtu, Unreachable ─▶ the TCB decides whether to believe it
//!          Replies ─▶ link      └─▶ Dropped(Reason), counted
//!
//! Wheel: one timer per flow ─▶ next_deadline
//! ```
//!
//! Everything is bounded and allocated at the beginning. Time is a parameter; secrets are given as bytes. A server
//! never resolves a peer: it answers to the MAC address that the packet came from. Only active opens use neighbours.
//!
//! Deliberately absent: putting fragments together, forwarding, address configuration (DHCP, SLAAC), multicast group
//! membership beyond listening, UDP.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bounded;
mod hash;
mod index;
mod input;
pub mod interface;
pub mod listen;
pub mod neighbours;
pub mod pmtu;
mod rate;
mod replies;
mod table;
mod time_wait;
mod tuple;
mod wheel;

pub use hash::HashKey;
pub use input::{Counters, Input, Reason, TcpInput};
pub use interface::{
    ADDRESSES_MAX, Address, AddressMode, Interface, InterfaceConfig, InterfaceError, Resolved,
};
pub use listen::{ListenConfig, ListenCounters, ListenKeys, Listener, Refusal, Verdict};
pub use neighbours::Resolution;
pub use pmtu::PathMtuCache;
pub use rate::TokenBucket;
pub use replies::{REPLIES_MAX, REPLY_BYTES_MAX, Replies};
pub use table::{ConnectionTable, FlowId, HashedTuple, InsertError};
pub use time_wait::TimeWaitTable;
pub use tuple::FourTuple;
pub use wheel::{TICK_NANOS, Wheel};
