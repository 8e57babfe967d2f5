//! What every backend of a trait promises.
//!
//! A suite is a list of promises, each a function on a fresh fixture: a [`LinkFixture`] is a link with
//! somebody at its other end, a [`DiskFixture`] a disk with files on it. [`link_suite`] and [`disk_suite`]
//! keep every promise of the list and say at the end which were broken, by name. `tests/` runs them on each
//! backend.

#![forbid(unsafe_code)]

mod disk;
mod link;
mod promise;

pub use disk::{DiskFixture, disk_suite};
pub use link::{LinkFixture, link_suite};
