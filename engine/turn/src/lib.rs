//! The turn of the wheel.
#![forbid(unsafe_code)]
extern crate alloc;

mod service;

pub use service::{Action, Actions, End, FileHandle, Now, Peer, Service, Transfer};
