//! `perf_event_open(2)`, for counters of devices.

#![expect(unsafe_code, reason = "perf_event_open(2) has no safe wrapper")]

use core::mem::size_of;
use rustix::io::Errno;
use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};

/// `struct perf_event_attr` in its first version, which every kernel takes; what is not named here is 0: nothing is sampled,
/// nothing is left out, and counting begins at once.
#[repr(C)]
#[derive(Debug, Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    others: [u64; 6],
}

/// `PERF_ATTR_SIZE_VER0`
const _: () = assert!(size_of::<Attributes>() == 64);
/// `PERF_FLAG_FD_CLOEXEC`
const CLOSE_ON_EXEC: libc::c_ulong = 8;

/// A counter of a device.
#[derive(Debug)]
pub(super) struct Counter(OwnedFd);

impl Counter {
    /// Counts what the device counts for everybody.
    pub(super) fn open(kind: u32, config: u64, cpu: u32) -> Result<Self, Errno> {
        let size = u32::try_from(size_of::<Attributes>()).unwrap_or(0);
        let attributes = Attributes { kind, size, config, ..Attributes::default() };
        let cpu = libc::c_int::try_from(cpu).unwrap_or(-1);
        let (everybody, no_group): (libc::pid_t, libc::c_int) = (-1, -1);
        // SAFETY: `attributes` is a whole structure of the size it names, alive during the call, and only read.
        let opened = unsafe {
            libc::syscall(
                libc::SYS_perf_event_open,
                &raw const attributes,
                everybody,
                cpu,
                no_group,
                CLOSE_ON_EXEC,
            )
        };
        let descriptor = RawFd::try_from(opened).ok().filter(|descriptor| *descriptor >= 0);
        let Some(descriptor) = descriptor else {
            let errno = io::Error::last_os_error().raw_os_error();
            return Err(Errno::from_raw_os_error(errno.unwrap_or(libc::EIO)));
        };
        // SAFETY: The kernel has just made this descriptor for us, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// The count so far.
    #[expect(clippy::host_endian_bytes, reason = "the kernel writes a number of this machine's")]
    pub(super) fn read(&self) -> io::Result<u64> {
        let mut count = [0; 8];
        let bytes = rustix::io::read(&self.0, &mut count)?;
        if bytes == count.len() {
            Ok(u64::from_ne_bytes(count))
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}
