//! A table of descriptors for each worker.

#![expect(
    unsafe_code,
    reason = "a thread that leaves the shared table of descriptors cannot be expressed safely"
)]

use rustix::io::Errno;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// From now on this thread has a table of descriptors of its own, a copy of the shared one: the limit of open files
/// counts for it alone, and opening a socket does not wait for other threads.
///
/// For a thread that was just started and ends with its work: what it opens, nobody else can use.
///
/// # Errors
/// The kernel has no memory.
pub(crate) fn own_descriptors() -> Result<(), Errno> {
    // SAFETY: Descriptors that other threads own stay open in their table whatever happens in this one, and this thread
    // holds none yet: an `OwnedFd` made here is dropped here, and those it borrows (standard streams) are not closed.
    unsafe { unshare_unsafe(UnshareFlags::FILES) }
}
