//! NVMe drives: whether completions can be polled for, and commands passed through.

use serde::Serialize;

use crate::tree::Tree;

/// NVMe drives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nvme {
    /// Queues that are polled rather than interrupt, of each drive; absent when the driver is not loaded.
    pub poll_queues: Option<u64>,
    /// Namespaces of drives, as block devices.
    pub disks: Vec<NvmeDisk>,
}

/// One namespace of a drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NvmeDisk {
    /// Its block device: `nvme0n1`.
    pub name: String,
    /// The drive's model.
    pub model: Option<String>,
    /// Its size in bytes.
    pub bytes: Option<u64>,
    /// Completions can be polled for.
    pub polled: bool,
    /// The device for commands of our own: `ng0n1`.
    pub passthrough: Option<String>,
}

impl Nvme {
    pub(crate) fn look(tree: &Tree) -> Self {
        let poll_queues = tree.number("/sys/module/nvme/parameters/poll_queues");
        let disks = tree.list("/sys/block").into_iter().filter(|name| name.starts_with("nvme"));
        let disks = disks.map(|name| NvmeDisk {
            model: tree.read(&format!("/sys/block/{name}/device/model")).map(|model| model.trim().to_owned()),
            bytes: tree.number(&format!("/sys/block/{name}/size")).map(|sectors| sectors * 512),
            polled: tree.number(&format!("/sys/block/{name}/queue/io_poll")) == Some(1),
            passthrough: Some(name.replacen("nvme", "ng", 1))
                .filter(|generic| tree.has(&format!("/sys/class/nvme-generic/{generic}"))),
            name,
        });
        Self { poll_queues, disks: disks.collect() }
    }
}
