//! Tests by state. Each begins in a state: `Fixture::syn_sent()`, `Fixture::established()` …
//!
//! Our ISS is 5000 and the peer's 1000: the first byte of our stream is 5001, of theirs 1001.

mod blind;
mod closing;
mod fixture;
mod fuzz;
mod opening;
mod receiving;
mod recovery;
mod sending;
mod waiting;
