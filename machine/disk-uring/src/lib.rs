//! Files and block devices through io_uring: the kernel's drivers and filesystems, our own buffers.
//!
//! ```text
//!   open  ── OPENAT2, beneath the root ──▶ STATX ──▶ registered file, O_DIRECT where it can be
//!   read  ── READ_FIXED, READV_FIXED ────▶ short? the rest again ──▶ frames filled in order
//!            └ registered buffers: the arena         └ until the end of the file
//!   close ── once the last read of the file has ended
//! ```
//!
//! Nothing here blocks, opens included: a cold inode is looked up by the kernel's own threads while the
//! worker turns. Staging queues a submission; a flush is one system call for all of them; a completion costs
//! one only when the kernel says that it has something (`IORING_SETUP_TASKRUN_FLAG`).
//!
//! What the machine does not offer is done without, and said: see [`Features`].

#![deny(unsafe_code)]

mod disk;
mod error;
mod open;
mod read;
mod sys;

pub use disk::{DiskUring, Features, UringConfig};
pub use error::UringError;
