//! The one call that the compiler cannot check.

#![expect(unsafe_code, reason = "entering a namespace changes what the whole thread sees")]

use rustix::io;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves the calling thread, which must be the only one, into a user and a network namespace of its own. Threads
/// started later are there too; descriptors that are open stay as they are.
pub(crate) fn unshare_user_and_network() -> io::Result<()> {
    // SAFETY: what makes `unshare` dangerous is `CLONE_FILES`, which is not among the flags: descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) }
}
