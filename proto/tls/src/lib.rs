//! TLS records, sealed where they lie.
//!
//! This room starts where a handshake ends. It is given the keys and it turns plaintext that lies in a frame into
//! a record around it, without moving a byte; and it turns what a peer sent back into requests, key updates and
//! alerts. It has no I/O, no clock, no randomness, and no cipher either: that enters through [`Aead`].
//!
//! ```text
//!    what we send                                        what we receive
//!
//!    bind ──► Unsealed ──► seal ──► SealedRecord         TCP bytes, in order, in any pieces
//!               (a number,          {id, range, tag}                  │
//!                an epoch)                │                      Opener::poll
//!                                         │                           │
//!              lost? read again ──► reseal {id, tag}     Message::{Data, KeyUpdate, CloseNotify, …}
//!                                                        or an OpenError that knows its alert
//! ```
//!
//! # A record number is used once
//!
//! GCM and ChaCha20-Poly1305 break when one nonce meets two plaintexts. [`Sealer::bind`] hands out each number once,
//! as a value that [`Sealer::seal`] consumes. Whoever wants to send the same record again has only its
//! [`RecordId`] and its [`Tag`], and [`Sealer::reseal`] compares before anyone sees a byte. So the rule is kept
//! by the types, and a file that changed between two reads becomes [`SealError::PlaintextChanged`].
//!
//! # What an idle connection costs
//!
//! A [`Sealer`] and an [`Opener`] hold raw keys, 312 bytes together, and no heap. Expanded cipher contexts
//! live in one [`ExpandedKeys`] per worker, of a fixed size, least recently used out.
//!
//! # Deliberately absent
//!
//! Handshakes, certificates, 0-RTT, renegotiation, compression, CBC suites, and TLS older than 1.2.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod aead;
mod alert;
mod cache;
mod keys;
mod opener;
mod record;
mod sealer;
mod suite;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use aead::{Aead, BadRecord, NONCE_BYTES, Nonce, TAG_BYTES, Tag};
pub use alert::{Alert, AlertDescription, AlertLevel};
pub use cache::ExpandedKeys;
pub use keys::{KeyMaterialError, SecretBytes, TrafficKeys};
pub use opener::{Message, OpenError, Opener, Role, Scratch};
pub use record::{
    CIPHERTEXT_BYTES_MAX, ContentType, PLAINTEXT_BYTES_MAX, RECORD_HEAD_BYTES, RecordLayout,
    peek_record_bytes,
};
pub use sealer::{
    BeforeData, ControlRecord, KeyUpdateRequest, RECORDS_PER_KEY_MAX, RecordId, SealError, SealedRecord,
    Sealer, Unsealed,
};
pub use suite::{HashLength, Suite, Version};
