//! Why there is no ring, in an operator's words; and the kernel's errnos in the trait's.

use core::fmt;
use std::io;

use platform::{DiskError, OpenError};
use rustix::io::Errno;

/// Why files cannot be read through io_uring on this machine. Each says what to do about it.
#[derive(Debug)]
pub enum UringError {
    /// The kernel was built without it, or is older than 5.1.
    Missing,
    /// An operator switched it off, or a container's filter forbids it.
    Forbidden {
        /// What `kernel.io_uring_disabled` is, where it can be read.
        sysctl: Option<u8>,
    },
    /// The process may not lock as much memory as a ring needs.
    Memlock {
        /// The limit, in bytes.
        limit: Option<u64>,
    },
    /// The process may not have as many descriptors.
    Descriptors,
    /// The kernel does not know an operation that we cannot do without.
    Operation {
        /// Its name.
        name: &'static str,
    },
    /// The kernel refused something else.
    Refused {
        /// What was asked of it.
        attempt: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for UringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("this kernel has no io_uring: Linux 5.6 or newer is needed"),
            Self::Forbidden { sysctl: Some(value @ 1..) } => write!(
                f,
                "io_uring is switched off (kernel.io_uring_disabled = {value}): run `sysctl kernel.io_uring_disabled=0`"
            ),
            Self::Forbidden { .. } => f.write_str(
                "io_uring is forbidden to this process: allow it in the container's seccomp profile (for a trial: \
                 `--security-opt seccomp=unconfined`)",
            ),
            Self::Memlock { limit } => {
                f.write_str("io_uring needs more locked memory than this process may have")?;
                if let Some(limit) = limit {
                    write!(f, " ({} KiB)", limit >> 10)?;
                }
                f.write_str(": raise the memlock limit (`ulimit -l`, or LimitMEMLOCK= of the service)")
            }
            Self::Descriptors => f.write_str(
                "this process may not open more files: raise the limit (`ulimit -n`, or LimitNOFILE= of the service)",
            ),
            Self::Operation { name } => {
                write!(f, "this kernel's io_uring lacks {name}: Linux 5.6 or newer is needed")
            }
            Self::Refused { attempt, source } => write!(f, "the kernel would not {attempt}: {source}"),
        }
    }
}

impl core::error::Error for UringError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Refused { source, .. } => Some(source),
            Self::Missing
            | Self::Forbidden { .. }
            | Self::Memlock { .. }
            | Self::Descriptors
            | Self::Operation { .. } => None,
        }
    }
}

impl UringError {
    /// What the kernel's refusal to make a ring means.
    pub(crate) fn of_setup(source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::ENOSYS) => Self::Missing,
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden { sysctl: sysctl() },
            Some(libc::ENOMEM) => {
                let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock).current;
                Self::Memlock { limit }
            }
            Some(libc::EMFILE | libc::ENFILE) => Self::Descriptors,
            _ => Self::Refused { attempt: "make an io_uring", source },
        }
    }
}

fn sysctl() -> Option<u8> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

/// What a failed open means to whoever asked for the path.
pub(crate) fn open_error(errno: Errno) -> OpenError {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::ILSEQ => OpenError::NotFound,
        // XDEV: it leads out of the root. LOOP: through too many links, or a magic one.
        Errno::ACCESS | Errno::PERM | Errno::XDEV | Errno::LOOP => OpenError::Forbidden,
        Errno::ISDIR => OpenError::IsDirectory,
        Errno::NXIO | Errno::NODEV => OpenError::NotAFile,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM => OpenError::Busy,
        other => OpenError::Io(other.raw_os_error()),
    }
}

/// What a failed read means.
pub(crate) fn read_error(errno: Errno) -> DiskError {
    match errno {
        Errno::BADF | Errno::NODEV | Errno::NXIO | Errno::STALE => DiskError::Gone,
        other => DiskError::Io(other.raw_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_ring_is_one_line_with_its_remedy() {
        let of = |errno| UringError::of_setup(io::Error::from_raw_os_error(errno)).to_string();
        assert_eq!(of(libc::ENOSYS), "this kernel has no io_uring: Linux 5.6 or newer is needed");
        assert!(of(libc::ENOMEM).contains("ulimit -l"), "{}", of(libc::ENOMEM));
        assert!(of(libc::EMFILE).contains("ulimit -n"), "{}", of(libc::EMFILE));
        let switched_off = UringError::Forbidden { sysctl: Some(2) }.to_string();
        assert!(switched_off.contains("`sysctl kernel.io_uring_disabled=0`"), "{switched_off}");
        let filtered = UringError::Forbidden { sysctl: Some(0) }.to_string();
        assert!(filtered.contains("seccomp"), "{filtered}");
    }

    #[test]
    fn a_path_that_leaves_its_root_is_forbidden_and_not_missing() {
        assert_eq!(open_error(Errno::XDEV), OpenError::Forbidden);
        assert_eq!(open_error(Errno::NOENT), OpenError::NotFound);
        assert_eq!(open_error(Errno::IO), OpenError::Io(libc::EIO));
    }
}
