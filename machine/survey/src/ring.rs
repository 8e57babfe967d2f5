//! io_uring: whether there is one for us, and what it can do.

use io_uring::{IoUring as Ring, Probe, opcode};
use serde::Serialize;

use crate::tree::Tree;

/// io_uring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IoUring {
    /// Whether a ring can be made.
    pub state: RingState,
    /// `kernel.io_uring_disabled`, where the kernel has such a setting.
    pub sysctl_disabled: Option<u64>,
    /// Reads into several registered buffers at once (6.15).
    pub reads_several_fixed: bool,
    /// NVMe commands (5.19).
    pub commands: bool,
}

/// Whether a ring can be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RingState {
    /// Yes.
    Usable,
    /// Switched off by the setting, or by a filter of system calls.
    Forbidden,
    /// The kernel has none.
    Missing,
    /// Something else is in the way, in the kernel's words.
    Refused(String),
}

/// `IORING_OP_READV_FIXED`, which the library has no name for yet.
const READV_FIXED: u8 = 60;

impl IoUring {
    pub(crate) fn look(tree: &Tree) -> Self {
        let sysctl_disabled = tree.number("/proc/sys/kernel/io_uring_disabled");
        let mut found =
            Self { state: RingState::Usable, sysctl_disabled, reads_several_fixed: false, commands: false };
        match Ring::new(2) {
            Ok(ring) => {
                let mut probe = Probe::new();
                if ring.submitter().register_probe(&mut probe).is_ok() {
                    found.reads_several_fixed = probe.is_supported(READV_FIXED);
                    found.commands = probe.is_supported(opcode::UringCmd16::CODE);
                }
            }
            Err(error) => {
                found.state = match error.raw_os_error() {
                    Some(libc::ENOSYS) => RingState::Missing,
                    Some(libc::EPERM | libc::EACCES) => RingState::Forbidden,
                    _ => RingState::Refused(error.to_string()),
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_can_be_made_is_usable_whatever_the_setting_says() {
        let found = IoUring::look(&Tree::host());
        assert_eq!(found.state == RingState::Usable, Ring::new(2).is_ok());
    }
}
