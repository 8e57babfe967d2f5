//! TLS handshakes by rustls, until the keys are out.
//!
//! ```text
//!   ServerSettings ──► Handshake                          ──► Established { sealer, opener, leftover, … }
//!    certificates,      on_bytes: one record at a time          raw keys; rustls is gone
//!    tickets, ALPN      take_output: what is to be sent
//! ```
//!
//! rustls is not seen from outside but in [`ServerSettings::from_rustls`] and [`ClientSettings::from_rustls`], where a
//! simulation brings its own randomness and its own time. Everything else of its API stays in this room, because
//! 0.24 replaces it.
//!
//! # Where rustls ends
//!
//! It is given one record at a time and is let go as soon as it holds the traffic keys. So it never opens application
//! data or a KeyUpdate: the first record behind the handshake is [`tls::Opener`]'s, and the first number that the
//! [`tls::Sealer`] binds is the one after the tickets.
//!
//! # What is kept of it: nothing
//!
//! rustls offers a `KernelConnection` that computes later keys. In rustls 0.23.46 it measures 560 bytes, most of it
//! room for QUIC, and 224 of heap per connection; and it keeps a replaced configuration alive. The next keys need only
//! the traffic secret, 32 or 48 bytes a direction, which rustls tells its key log. So a key log of ours takes them, and
//! [`tls::TrafficKeys`] goes on from there. All that stays of TLS per connection is a [`tls::Sealer`] of 144 bytes and a
//! [`tls::Opener`] of 168, without heap. A handshake under way is 1.3 kB and 3 kB of heap.

#![forbid(unsafe_code)]

mod capture;
mod certificates;
mod client;
mod error;
mod flow;
mod server;

pub use capture::SecretLog;
pub use certificates::{Certificate, CertificateError, Certificates};
pub use client::{ClientHandshake, ClientOptions, ClientSettings, TicketError, Tickets13, Trust};
pub use error::{HandshakeError, SettingsError};
pub use flow::{Established, HANDSHAKE_BYTES_MAX, Progress};
pub use server::{Handshake, ServerOptions, ServerSettings, Ticketing};

#[cfg(test)]
mod tests;
