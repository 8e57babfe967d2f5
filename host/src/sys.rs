//! The calls that the compiler cannot check.

#![expect(
    unsafe_code,
    reason = "entering a namespace changes what the whole thread sees; a filter is passed by pointer"
)]

use core::mem::size_of;
use core::ptr;
use rustix::io;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::os::fd::{AsRawFd as _, OwnedFd};

/// Moves the calling thread, which must be the only one, into a user and a network namespace of its own. Threads
/// started later are there too; descriptors that are open stay as they are.
pub(crate) fn unshare_user_and_network() -> io::Result<()> {
    // SAFETY: what makes `unshare` dangerous is `CLONE_FILES`, which is not among the flags: descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) }
}

/// Gives a socket a filter that keeps nothing of any packet (socket(7), `SO_ATTACH_FILTER`).
pub(crate) fn drop_everything(socket: &OwnedFd) -> io::Result<()> {
    // `ret #0`: of every packet, nothing.
    let mut nothing = [libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 }];
    let program = libc::sock_fprog { len: 1, filter: nothing.as_mut_ptr() };
    let bytes = libc::socklen_t::try_from(size_of::<libc::sock_fprog>()).expect("a few bytes");
    let pointer = ptr::from_ref(&program).cast();
    // SAFETY: the kernel copies the program and the one instruction that it points to, both of which live until then.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, pointer, bytes)
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(io::Errno::INVAL))
    }
}
