//! What this machine offers a server: read, and never changed.
//!
//! ```text
//!   /proc, /sys ── Tree ──────┐
//!   system calls, netlink ────┼──▶ Survey ──▶ what would be chosen, what stands in the way (the host's to say)
//!   the interface asked for ──┘
//! ```
//!
//! A [`Survey`] is plain data, and its serialised form is what `doctor --json` prints: names and units here are that
//! document's. Files are read below a [`Tree`], so that a test can bring the files of another machine. What cannot be
//! read is absent; nothing here fails because a kernel is old or a container hides something.

#![deny(unsafe_code)]

mod device;
mod machine;
mod ring;
mod storage;
mod sys;
mod tree;

pub use device::{Device, DeviceFeatures, Iommu, Xdp};
pub use machine::{Capability, Confinement, HugePages, Kernel, Limits, Memory, Privileges, Tun, XdpSockets};
pub use ring::{IoUring, RingState};
pub use storage::{Nvme, NvmeDisk};
pub use tree::Tree;

pub use netlink::{Channels, NetlinkError, Offloads, Rings, Rss, XdpAttached, XdpMode};
use serde::Serialize;

/// Everything that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// The kernel.
    pub kernel: Kernel,
    /// Processors that we may run on.
    pub processors: u16,
    /// Memory and its pages.
    pub memory: Memory,
    /// What the process may have.
    pub limits: Limits,
    /// What the process may do.
    pub privileges: Privileges,
    /// What the process could give up.
    pub confinement: Confinement,
    /// Rings to the disk.
    pub io_uring: IoUring,
    /// Translation of device addresses.
    pub iommu: Iommu,
    /// NVMe drives.
    pub nvme: Nvme,
    /// TAP devices.
    pub tun: Tun,
    /// AF_XDP at large.
    pub xdp_sockets: XdpSockets,
    /// The interface that was asked for: absent when none was, or when there is none of that name.
    pub device: Option<Device>,
}

impl Survey {
    /// Looks around, and at one interface in particular.
    ///
    /// # Errors
    /// The kernel would not talk about interfaces at all.
    pub fn take(tree: &Tree, device: Option<&str>) -> Result<Self, NetlinkError> {
        let device = match device {
            Some(name) => Device::look(tree, name)?,
            None => None,
        };
        let privileges = Privileges::look(tree);
        Ok(Self {
            kernel: Kernel::look(),
            processors: machine::processors(),
            memory: Memory::look(tree),
            limits: Limits::look(&privileges),
            confinement: Confinement::look(tree),
            io_uring: IoUring::look(tree),
            iommu: Iommu::look(tree),
            nvme: Nvme::look(tree),
            tun: Tun::look(tree),
            xdp_sockets: XdpSockets::look(tree),
            privileges,
            device,
        })
    }
}
