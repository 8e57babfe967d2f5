//! Kernel, memory, limits and privileges.

use rustix::fs::{Access, access};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};
use serde::Serialize;

use crate::sys;
use crate::tree::Tree;

/// The kernel that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// As `uname -r` says.
    pub release: String,
    /// The two first numbers of it.
    pub version: (u32, u32),
    /// As `uname -m` says.
    pub architecture: String,
}

impl Kernel {
    pub(crate) fn look() -> Self {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy().into_owned();
        Self {
            version: version(&release),
            architecture: uname.machine().to_string_lossy().into_owned(),
            release,
        }
    }
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

pub(crate) fn processors() -> u16 {
    std::thread::available_parallelism().map_or(1, |count| u16::try_from(count.get()).unwrap_or(u16::MAX))
}

/// Memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Free, or could be freed; in bytes.
    pub available_bytes: Option<u64>,
    /// Reserved huge pages, by size.
    pub huge_pages: Vec<HugePages>,
    /// What becomes of memory that asks for transparent ones: `always`, `madvise`, `never`.
    pub transparent_huge_pages: Option<String>,
}

/// Huge pages of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HugePages {
    /// How large one is.
    pub page_bytes: u64,
    /// Reserved.
    pub total: u64,
    /// Of those, nobody's.
    pub free: u64,
}

impl Memory {
    pub(crate) fn look(tree: &Tree) -> Self {
        const HUGE: &str = "/sys/kernel/mm/hugepages";
        let meminfo = tree.read("/proc/meminfo").unwrap_or_default();
        let kib = meminfo.lines().find_map(|line| {
            line.strip_prefix("MemAvailable:")?.split_whitespace().next()?.parse::<u64>().ok()
        });
        let mut huge_pages: Vec<HugePages> = tree
            .list(HUGE)
            .iter()
            .filter_map(|name| {
                let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
                let of = |file| tree.number(&format!("{HUGE}/{name}/{file}"));
                Some(HugePages {
                    page_bytes: kib << 10,
                    total: of("nr_hugepages")?,
                    free: of("free_hugepages")?,
                })
            })
            .collect();
        huge_pages.sort_by_key(|pages| pages.page_bytes);
        Self {
            available_bytes: kib.map(|kib| kib << 10),
            huge_pages,
            transparent_huge_pages: tree.chosen("/sys/kernel/mm/transparent_hugepage/enabled"),
        }
    }

    /// Bytes in free reserved pages of 2 MiB.
    #[must_use]
    pub fn huge_bytes_free(&self) -> u64 {
        self.huge_pages
            .iter()
            .filter(|pages| pages.page_bytes == 2 << 20)
            .map(|pages| pages.free * pages.page_bytes)
            .sum()
    }
}

/// What the process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Memory that it may lock, in bytes; absent when there is no limit.
    pub memlock_bytes: Option<u64>,
    /// Files that it may open, now.
    pub open_files: Option<u64>,
    /// Files that it may allow itself.
    pub open_files_most: Option<u64>,
}

impl Limits {
    pub(crate) fn look(privileges: &Privileges) -> Self {
        let files = getrlimit(Resource::Nofile);
        let memlock = getrlimit(Resource::Memlock).current;
        Self {
            memlock_bytes: memlock.filter(|_| !privileges.has(Capability::IpcLock)),
            open_files: files.current,
            open_files_most: files.maximum,
        }
    }
}

/// A capability that a server has a use for (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Capability {
    /// Devices, addresses, XDP programs on interfaces.
    #[serde(rename = "CAP_NET_ADMIN")]
    NetAdmin,
    /// Packet and AF_XDP sockets.
    #[serde(rename = "CAP_NET_RAW")]
    NetRaw,
    /// Loading programs.
    #[serde(rename = "CAP_BPF")]
    Bpf,
    /// Locking memory beyond the limit.
    #[serde(rename = "CAP_IPC_LOCK")]
    IpcLock,
    /// Ports below 1,024.
    #[serde(rename = "CAP_NET_BIND_SERVICE")]
    NetBindService,
    /// Nearly everything; before 5.8 also loading programs.
    #[serde(rename = "CAP_SYS_ADMIN")]
    SysAdmin,
}

impl Capability {
    const ALL: [(Self, CapabilitySet); 6] = [
        (Self::NetAdmin, CapabilitySet::NET_ADMIN),
        (Self::NetRaw, CapabilitySet::NET_RAW),
        (Self::Bpf, CapabilitySet::BPF),
        (Self::IpcLock, CapabilitySet::IPC_LOCK),
        (Self::NetBindService, CapabilitySet::NET_BIND_SERVICE),
        (Self::SysAdmin, CapabilitySet::SYS_ADMIN),
    ];

    /// As setcap(8) spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetAdmin => "CAP_NET_ADMIN",
            Self::NetRaw => "CAP_NET_RAW",
            Self::Bpf => "CAP_BPF",
            Self::IpcLock => "CAP_IPC_LOCK",
            Self::NetBindService => "CAP_NET_BIND_SERVICE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
        }
    }
}

/// What the process may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Privileges {
    /// The effective user is root.
    pub root: bool,
    /// Of the capabilities that matter, those in effect.
    pub capabilities: Vec<Capability>,
    /// Whoever has none of them may enter a user namespace, as far as settings tell.
    pub user_namespaces: bool,
}

impl Privileges {
    pub(crate) fn look(tree: &Tree) -> Self {
        let effective = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
        let held =
            Capability::ALL.iter().filter(|(_, bit)| effective.contains(*bit)).map(|(which, _)| *which);
        let sysctl = |path: &str| tree.number(&format!("/proc/sys/{path}"));
        let forbidden = sysctl("kernel/unprivileged_userns_clone") == Some(0)
            || sysctl("kernel/apparmor_restrict_unprivileged_userns") == Some(1)
            || sysctl("user/max_user_namespaces").unwrap_or(0) == 0;
        Self {
            root: rustix::process::geteuid().is_root(),
            capabilities: held.collect(),
            user_namespaces: !forbidden,
        }
    }

    /// Whether one is in effect.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

/// What the process could give up for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Confinement {
    /// Landlock's interface version; absent when the kernel has none, or it is switched off.
    pub landlock_abi: Option<u32>,
    /// Filters of system calls.
    pub seccomp: bool,
}

impl Confinement {
    pub(crate) fn look(tree: &Tree) -> Self {
        let actions = tree.read("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
        let seccomp = actions.split_whitespace().any(|action| action == "kill_process");
        Self { landlock_abi: sys::landlock_abi(), seccomp }
    }
}

/// Whether TAP devices can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tun {
    /// Yes, with `CAP_NET_ADMIN`.
    Usable,
    /// `/dev/net/tun` is not for us.
    Forbidden,
    /// There is no `/dev/net/tun`.
    Missing,
}

impl Tun {
    pub(crate) fn look(tree: &Tree) -> Self {
        match access(tree.at("/dev/net/tun"), Access::READ_OK | Access::WRITE_OK) {
            Ok(()) => Self::Usable,
            Err(Errno::NOENT | Errno::NOTDIR) => Self::Missing,
            Err(_) => Self::Forbidden,
        }
    }
}

/// AF_XDP, whatever the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct XdpSockets {
    /// The kernel has such sockets. Absent when we may not ask.
    pub supported: Option<bool>,
    /// Programs are compiled; interpreted ones are several times slower.
    pub jit: bool,
}

impl XdpSockets {
    pub(crate) fn look(tree: &Tree) -> Self {
        let flags = SocketFlags::CLOEXEC;
        let supported = match socket_with(AddressFamily::XDP, SocketType::RAW, flags, None) {
            Ok(_) => Some(true),
            Err(Errno::AFNOSUPPORT | Errno::INVAL) => Some(false),
            Err(_) => None,
        };
        // Where the setting cannot be read, or is not there, it cannot be switched off either.
        Self { supported, jit: tree.number("/proc/sys/net/core/bpf_jit_enable") != Some(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_begins_with_two_numbers() {
        assert_eq!(version("6.18.44-cloud-amd64"), (6, 18));
        assert_eq!(version("5.4"), (5, 4));
        assert_eq!(version("strange"), (0, 0));
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let tree = Tree::host();
        assert!(Memory::look(&tree).available_bytes.is_some_and(|bytes| bytes > 0));
        assert!(Kernel::look().version.0 >= 5 && processors() >= 1);
        let privileges = Privileges::look(&tree);
        assert!(Limits::look(&privileges).open_files.is_none_or(|files| files > 0));
    }
}
