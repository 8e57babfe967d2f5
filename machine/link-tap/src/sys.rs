//! The ioctls of /dev/net/tun (linux/if_tun.h).

#![expect(unsafe_code, reason = "ioctl(2) takes pointers")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_short, c_uint, c_ulong};

const FLAGS: c_int = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | libc::IFF_MULTI_QUEUE;

/// Makes `fd` a queue of the device called `name`, which is created if there is none; a `%d` in it is
/// numbered. Returns the device's name.
pub(crate) fn attach(fd: BorrowedFd<'_>, name: &str) -> io::Result<String> {
    // SAFETY: an interface request is plain bytes, and all zeroes is one.
    let mut request: libc::ifreq = unsafe { core::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = c_short::try_from(FLAGS).expect("the flags fit");
    // SAFETY: the request lives through the call, and TUNSETIFF reads and writes an ifreq.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    let name = request.ifr_name.iter().take_while(|byte| **byte != 0).map(|byte| byte.cast_unsigned());
    Ok(String::from_utf8_lossy(&name.collect::<Vec<u8>>()).into_owned())
}

/// What the device may leave unfinished when it hands packets to us: checksums, and TCP superframes of both
/// families.
pub(crate) fn set_offloads(fd: BorrowedFd<'_>) -> io::Result<()> {
    let offloads: c_uint = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
    // SAFETY: TUNSETOFFLOAD takes its argument by value.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETOFFLOAD, c_ulong::from(offloads)) })
}

/// Ten bytes of virtio-net header, little-endian whatever the host is.
pub(crate) fn set_header(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let bytes = c_int::try_from(bytes).expect("a header is short");
    // SAFETY: the integer lives through the call, and TUNSETVNETHDRSZ reads one.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const bytes) })?;
    let yes: c_int = 1;
    // SAFETY: as above, for TUNSETVNETLE.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETVNETLE, &raw const yes) })
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
