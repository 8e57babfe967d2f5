//! The TCB as a value: segments and time in, segments and send credit out.
//!
//! ```text
//!                    header, payload, now
//!                            │
//!                ┌───────────▼────────────┐  in-order payload   ┌───────┐
//!                │       Connection       ├────────────────────►│       │
//!                │  validate  handshake   │                     │       │
//!                │  ack ► recovery ► cwnd │  credit ►           │ owner │── reads the disk,
//!                │  receiver  reassembly  │  ◄ reserve          │       │   seals the record
//!                │  timers    close       │  wanted ►           │       │
//!                └───────────┬────────────┘  ◄ surrender        └───┬───┘
//!                            │      transmit(range) ◄───────────────┘ the bytes are ready
//!                            ▼
//!                   Outgoing: header + range of the stream
//! ```
//!
//! **There is no send buffer.** A connection never holds a byte to send: it deals in *stream offsets* (`u64`, 0 is the
//! first byte after our SYN) and remembers only the map of what was sent. Its owner takes [`Connection::credit`],
//! turns it into a read with [`Connection::reserve`], and comes back with the bytes to [`Connection::transmit`]. What
//! was lost is asked for with [`Connection::wanted`] and is read again.
//!
//! There is no I/O, no clock and no randomness here: initial sequence numbers, keyed hashes and the time are given.
//!
//! One file per RFC concern:
//!
//! | file | what it implements |
//! |---|---|
//! | `connection` | the states of RFC 9293 §3.3.2 and its segment-arrives procedure §3.10.7 |
//! | `handshake` | SYN, SYN-ACK, options (RFC 7323, 2018), both directions of opening |
//! | `validate` | acceptability, RFC 5961 challenge ACKs, PAWS (RFC 7323 §5) |
//! | `receiver`, `reassembly` | RCV.*, delayed ACKs, SWS avoidance, SACK and DSACK blocks for the peer |
//! | `sender`, `scoreboard` | SND.*, the map of what was sent, credit, retransmission |
//! | `ack` | what an acknowledgment does, in order |
//! | `recovery` | RACK-TLP (8985), PRR (9937), NewReno without SACK (6582), RTO, F-RTO, Eifel and DSACK undo |
//! | `congestion` | slow start with HyStart++ (9406), CUBIC (9438), NewReno (5681) |
//! | `rtt`, `timestamps`, `pacing`, `timers` | RFC 6298; the clock of RFC 7323; tokens; what fires when |
//! | `close` | FIN both ways, half-close, abort |
//! | `time_wait`, `cookies`, `segment` | what needs no TCB: TIME-WAIT (1337, 6191), SYN cookies (4987), RST answers |
//!
//! **Deliberately absent**: ECN, urgent data (URG is read as ordinary data), TCP Fast Open, Nagle's algorithm (the owner
//! knows what it is about to write), a send buffer.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod ack;
mod close;
mod config;
mod congestion;
mod connection;
pub mod cookies;
mod events;
mod handshake;
mod info;
mod num;
mod pacing;
mod reassembly;
mod receiver;
mod recovery;
mod rtt;
mod scoreboard;
mod segment;
mod sender;
mod time_wait;
mod timers;
mod timestamps;
mod validate;

pub use config::{Algorithm, Config, ConfigError, Keepalive};
pub use connection::{Connection, State};
pub use cookies::CookieParams;
pub use events::Events;
pub use info::{Counters, Info};
pub use segment::{Outgoing, reset_for};
pub use sender::Spare;
pub use time_wait::{TimeWait, TimeWaitAction};
pub use wire::tcp::{Flags, Header, Options, SackBlocks, SeqNum, Timestamps};
