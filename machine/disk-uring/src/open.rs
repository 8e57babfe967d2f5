//! An open, step by step: OPENAT2, STATX, and what follows from them.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use platform::{FileMeta, OpenError};
use rustix::fs::{FileType, OFlags, fcntl_setfl};

use crate::sys::{Stat, block_device};

/// The strictest alignment that a read may need; what is assumed of a filesystem that takes O_DIRECT and does
/// not say.
const ALIGN_MAX: u32 = 4_096;
/// What buffered reads are aligned to: nothing needs it, but a reader then treats all files alike.
const ALIGN_BUFFERED: u32 = 512;

/// Nonblocking, so that a named pipe without a writer holds nothing up; it is found out and closed by its
/// type.
const FLAGS: i32 = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK;
/// Below the root whatever links and dots say, and through no link of /proc.
pub(crate) const RESOLVE: u64 = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;

/// How often a path may change under the kernel's eyes before it is given up.
pub(crate) const RETRIES_MAX: u8 = 8;

/// An open on its way.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) token: u64,
    pub(crate) root: usize,
    pub(crate) path: CString,
    pub(crate) retries: u8,
    pub(crate) noatime: bool,
    /// The file, once OPENAT2 has ended.
    pub(crate) fd: Option<OwnedFd>,
}

/// openat2's flags, with or without leaving access times alone, which only a file's owner may ask for.
pub(crate) fn flags(noatime: bool) -> u64 {
    u64::from(FLAGS.cast_unsigned() | if noatime { libc::O_NOATIME.cast_unsigned() } else { 0 })
}

/// What was opened: refused unless it is a file or a block device, and made ready to be read.
pub(crate) fn inspect(
    fd: BorrowedFd<'_>,
    stat: Stat,
    noatime: bool,
    direct_wanted: bool,
) -> Result<FileMeta, OpenError> {
    let (len, direct) = match FileType::from_raw_mode(stat.mode) {
        FileType::RegularFile => (stat.len, stat.direct),
        FileType::BlockDevice => {
            let (len, block) = block_device(fd.as_fd())
                .map_err(|error| OpenError::Io(error.raw_os_error().unwrap_or(libc::EIO)))?;
            (len, stat.direct.or(Some((block, block))))
        }
        FileType::Directory => return Err(OpenError::IsDirectory),
        _ => return Err(OpenError::NotAFile),
    };
    let align = direct_align(direct).filter(|_| direct_wanted);
    let keep = if noatime { OFlags::NOATIME } else { OFlags::empty() };
    // Reads may wait for the device from here on, in the kernel's hands: without this they would fail
    // instead.
    let is_direct = align.is_some() && fcntl_setfl(fd, keep | OFlags::DIRECT).is_ok();
    if !is_direct {
        fcntl_setfl(fd, keep).map_err(|errno| OpenError::Io(errno.raw_os_error()))?;
    }
    Ok(FileMeta {
        len,
        mtime_ns: stat.mtime_ns,
        inode: stat.inode,
        device: stat.device,
        align: align.filter(|_| is_direct).unwrap_or(ALIGN_BUFFERED),
        direct: is_direct,
    })
}

/// What direct reads are aligned to; `None` when they are not possible, or only with more than a page.
fn direct_align(said: Option<(u32, u32)>) -> Option<u32> {
    match said {
        None => Some(ALIGN_MAX),
        Some((0, _) | (_, 0)) => None,
        Some((memory, offset)) => {
            let align = offset.checked_next_power_of_two()?.max(ALIGN_BUFFERED);
            (memory <= ALIGN_MAX && align <= ALIGN_MAX).then_some(align)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alignment_is_what_the_filesystem_says_within_a_page() {
        assert_eq!(direct_align(Some((4, 512))), Some(512));
        assert_eq!(direct_align(Some((512, 4_096))), Some(4_096));
        assert_eq!(direct_align(Some((1, 1))), Some(512), "a reader need not know smaller ones");
    }

    #[test]
    fn a_filesystem_that_does_not_say_gets_the_strictest() {
        assert_eq!(direct_align(None), Some(4_096));
    }

    #[test]
    fn direct_reads_that_need_more_than_a_page_or_do_not_exist_are_not_made() {
        assert_eq!(direct_align(Some((0, 0))), None);
        assert_eq!(direct_align(Some((512, 65_536))), None);
        assert_eq!(direct_align(Some((u32::MAX, u32::MAX))), None);
    }
}
