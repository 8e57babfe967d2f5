//! Landlock: which files, and no sockets of others.
//!
//! The rules are strictest: every access that Landlock of Linux 6.15 (ABI 7) can handle is refused unless a rule grants
//! it, and connections and ports of TCP with them. Landlock says nothing of `stat`, and nothing of descriptors that are
//! open already.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, NetPort, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use std::os::fd::BorrowedFd;

use crate::{ConfineError, Holds};

/// The newest set of accesses that was looked at.
const KNOWN: ABI = ABI::V7;

/// The paths that a thread keeps, as open descriptors: of a directory everything below it, of a file that file. A
/// descriptor that was opened with `O_PATH` will do.
#[derive(Clone, Debug, Default)]
pub struct Files<'a> {
    /// To be read.
    pub read: Vec<BorrowedFd<'a>>,
    /// To be written, created and truncated, but not read, renamed or removed.
    pub write: Vec<BorrowedFd<'a>>,
    /// Directories whose files are read, written and replaced by others of that directory.
    pub replace: Vec<BorrowedFd<'a>>,
    /// What is kept of TCP.
    pub network: Network,
}

/// Which TCP ports of the kernel's a thread may still use. What is open stays open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// None.
    #[default]
    Nothing,
    /// It may connect to these.
    Connect(Vec<u16>),
    /// All: for the monitor, which makes sockets of other kinds anyway.
    Everything,
}

/// Restricts the calling thread.
pub(crate) fn restrict(files: &Files<'_>) -> Result<Holds, ConfineError> {
    let status = rules(files).map_err(|error| ConfineError::Files { reason: error.to_string() })?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::FullyEnforced, _) => Holds::Held,
        (RulesetStatus::PartiallyEnforced, _) => Holds::InPart { missing: "all of it needs Linux 6.15" },
        (RulesetStatus::NotEnforced, LandlockStatus::NotEnabled) => {
            Holds::KernelLacks { remedy: "boot with landlock in lsm=" }
        }
        (RulesetStatus::NotEnforced, _) => {
            Holds::KernelLacks { remedy: "it needs Linux 5.13 with CONFIG_SECURITY_LANDLOCK" }
        }
    })
}

fn rules(files: &Files<'_>) -> Result<landlock::RestrictionStatus, landlock::RulesetError> {
    let Files { read, write, replace, network } = files;
    // A device below the content is asked for its size; what else it may be asked, seccomp says.
    let reading = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::IoctlDev;
    let writing = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg;
    let mut set = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))?
        .scope(Scope::from_all(KNOWN))?;
    if *network != Network::Everything {
        set = set.handle_access(AccessNet::from_all(KNOWN))?;
    }
    let mut set = set.create()?;
    for fd in read {
        set = set.add_rule(PathBeneath::new(fd, reading))?;
    }
    for fd in write {
        set = set.add_rule(PathBeneath::new(fd, writing))?;
    }
    for fd in replace {
        set = set.add_rule(PathBeneath::new(fd, reading | writing | AccessFs::RemoveFile))?;
    }
    if let Network::Connect(ports) = network {
        for port in ports {
            set = set.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
        }
    }
    set.restrict_self()
}
