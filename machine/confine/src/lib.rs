//! What a process gives up before it listens to strangers.
//!
//! ```text
//!   opened with privileges: devices, sockets, directories, rings
//!        │
//!        ▼
//!   confine(kind, …)   1. no_new_privs          no program gives anything back
//!   in each thread     2. capabilities          none, in any set
//!                      3. Landlock              these paths and no others; no TCP ports, no strangers' sockets
//!                      4. seccomp               the system calls of this kind of thread
//!   in each ring       5. io_uring restrictions the operations that the ring is for: seccomp does not see those
//!        │
//!        ▼
//!   what still has to be opened comes from the monitor, which takes no orders but three ([`Request`])
//! ```
//!
//! Each layer says what became of it ([`Holds`]). A kernel that lacks one is no reason not to serve, and an operator may
//! switch one off; a layer that was asked for, is there and refuses is an error.
//!
//! All four belong to the calling *thread*, and are inherited by threads that it starts. The kernel's own helpers of a
//! ring (`iou-wrk`) take them over from the thread that submits, so a thread confines itself before it submits anything.

#![forbid(unsafe_code)]

mod capabilities;
mod channel;
mod error;
mod files;
mod layers;
mod requests;
mod syscalls;

pub use capabilities::{inherit, suspend};
pub use channel::{Asked, Channel, Passed};
pub use error::{ChannelError, ConfineError};
pub use files::{Files, Network};
pub use layers::{Confinement, Holds};
pub use requests::{Access, PATH_BYTES_MAX, Request};
pub use syscalls::{Kind, SyscallMode};

/// What a thread is to keep.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What sort of thread it is: which system calls it keeps.
    pub kind: Kind,
    /// What becomes of a system call that the thread has no use for.
    pub syscalls: SyscallMode,
    /// The paths that it keeps; `None` leaves Landlock out.
    pub files: Option<Files<'a>>,
    /// The capabilities that it keeps: none, but for the monitor.
    pub keep: rustix::thread::CapabilitySet,
}

/// Confines the calling thread, for as long as it lives. There is no way back.
///
/// # Errors
/// The kernel has a layer and refuses it. Layers before that one hold.
pub fn confine(plan: &Plan<'_>) -> Result<Confinement, ConfineError> {
    let Plan { kind, syscalls, files, keep } = plan;
    let privileges = capabilities::no_new_privileges()?;
    let capabilities = capabilities::reduce_to(*keep)?;
    let files = files.as_ref().map_or(Ok(Holds::SwitchedOff), files::restrict)?;
    let syscalls = syscalls::restrict(*kind, *syscalls)?;
    Ok(Confinement { privileges, capabilities, files, syscalls })
}
