//! What `doctor` says: what was found, what would be chosen, and what stands in the way.
//!
//! ```text
//!   Survey ─┬─▶ sections        a heading and a line each
//!           ├─▶ Choice ─▶ its steps
//!           └─▶ obstacles       each with the command that removes it
//! ```
//!
//! The document (`--json`) is the same as data: `version`, `survey`, `choice`, `obstacles`, `confinement`. Fields are added and never
//! change their meaning while `version` stays.

use core::fmt;
use serde::Serialize;
use survey::{Device, IoUring, Memory, RingState, Survey, Tree, Tun};

use crate::choice::{Asked, Candidate, Choice, Obstacle};
use crate::confinement::{Layer, trial};
use crate::machine::{Machine, default_pool_bytes};
use crate::network::NetworkError;
use crate::values::{AddressMode, Bytes, LinkChoice};

/// The document's version.
const VERSION: u32 = 1;
/// Fewer open files would not serve many connections.
const OPEN_FILES_MIN: u64 = 4_096;
const HUGE_PAGE_BYTES: u64 = 2 << 20;

/// Everything that `doctor` says.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    version: u32,
    survey: Survey,
    choice: Choice,
    obstacles: Vec<Obstacle>,
    /// What held when it was tried; nothing when it was not.
    confinement: Vec<Layer>,
}

impl Report {
    /// Looks at this machine, for a server that was asked for such a link; confines a thread to see what comes of it.
    ///
    /// # Errors
    /// The kernel does not say what it has, or has no such interface.
    pub fn take(
        link: &LinkChoice,
        mode: Option<AddressMode>,
        workers: Option<u16>,
    ) -> Result<Self, NetworkError> {
        let interface = link.interface();
        let shared = if interface.is_some() { AddressMode::Shared } else { AddressMode::Own };
        let survey = Survey::take(&Tree::host(), interface).map_err(NetworkError::Netlink)?;
        // As `serve` would: a TAP device is made in a namespace by whoever may not make one outside.
        let inside = interface.is_none() && !Machine::look().net_admin && survey.privileges.user_namespaces;
        let asked = Asked { link, mode: mode.unwrap_or(shared), workers, inside };
        Ok(Self::new(survey, &asked).with_trial(trial()))
    }

    /// Puts together what there is to say.
    #[must_use]
    pub fn new(survey: Survey, asked: &Asked<'_>) -> Self {
        let choice = Choice::of(&survey, asked);
        let obstacles = obstacles(&survey, &choice);
        Self { version: VERSION, survey, choice, obstacles, confinement: Vec::new() }
    }

    /// The same with what came of confining a thread.
    #[must_use]
    pub fn with_trial(self, confinement: Vec<Layer>) -> Self {
        Self { confinement, ..self }
    }

    /// What was asked for cannot be had.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.obstacles.iter().any(|obstacle| obstacle.blocks)
    }

    /// The document.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("plain data")
    }

    /// What was found: a heading and a line each.
    fn sections(&self) -> Vec<(String, String)> {
        let Survey {
            kernel,
            processors,
            memory,
            limits,
            privileges,
            confinement,
            io_uring,
            iommu,
            nvme,
            tun,
            xdp_sockets,
            device,
        } = &self.survey;
        let mut lines: Vec<(String, String)> = Vec::new();
        let mut say = |heading: &str, line: String| lines.push((heading.to_owned(), line));
        say("kernel", format!("Linux {} on {}", kernel.release, kernel.architecture));
        say("cores", processors.to_string());
        say("memory", memory_line(memory));
        let memlock =
            limits.memlock_bytes.map_or_else(|| "any amount".to_owned(), |bytes| Bytes(bytes).to_string());
        let files =
            |limit: Option<u64>| limit.map_or_else(|| "any number".to_owned(), |files| files.to_string());
        say(
            "limits",
            format!(
                "{memlock} of locked memory, {} open files, which may be {}",
                files(limits.open_files),
                files(limits.open_files_most)
            ),
        );
        let held: Vec<&str> = privileges.capabilities.iter().map(|one| one.name()).collect();
        say(
            "privilege",
            format!(
                "{}, {}; user namespaces {}",
                if privileges.root { "root" } else { "not root" },
                if held.is_empty() { "no capability that matters".to_owned() } else { held.join(" ") },
                if privileges.user_namespaces { "for everybody" } else { "not for everybody" }
            ),
        );
        let landlock = confinement
            .landlock_abi
            .map_or_else(|| "no Landlock".to_owned(), |version| format!("Landlock, version {version}"));
        say(
            "confinement",
            format!("{landlock}; {}", if confinement.seccomp { "seccomp" } else { "no seccomp" }),
        );
        if !self.confinement.is_empty() {
            let layers: Vec<_> =
                self.confinement.iter().map(|layer| format!("{} {}", layer.name, layer.detail)).collect();
            say("", format!("tried on a thread: {}", layers.join(", ")));
        }
        say("io_uring", ring_line(io_uring));
        let mode = iommu.mode.as_ref().map(|mode| format!(", {mode} for most of {} groups", iommu.groups));
        say(
            "IOMMU",
            if iommu.present { format!("present{}", mode.unwrap_or_default()) } else { "none".to_owned() },
        );
        if nvme.disks.is_empty() {
            say("NVMe", "no drive".to_owned());
        }
        for disk in &nvme.disks {
            let model = disk.model.as_deref().unwrap_or("a drive");
            let size = disk.bytes.map(|bytes| format!(", {} GB", bytes / 1_000_000_000)).unwrap_or_default();
            let through = disk.passthrough.as_ref().map(|name| format!(", commands through {name}"));
            say(
                &disk.name,
                format!(
                    "{model}{size}, completions {}{}",
                    if disk.polled { "can be polled for" } else { "by interrupt" },
                    through.unwrap_or_default()
                ),
            );
        }
        say(
            "TAP",
            match tun {
                Tun::Usable => "/dev/net/tun may be opened",
                Tun::Forbidden => "/dev/net/tun may not be opened",
                Tun::Missing => "there is no /dev/net/tun",
            }
            .to_owned(),
        );
        let sockets = match xdp_sockets.supported {
            Some(true) => "sockets",
            Some(false) => "no sockets",
            None => "sockets unknown (CAP_NET_RAW tells)",
        };
        let programs = if xdp_sockets.jit { "compiled" } else { "interpreted" };
        say("AF_XDP", format!("{sockets}, programs are {programs}"));
        if let Some(device) = device {
            lines.extend(device_lines(device));
        }
        lines
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (heading, line) in self.sections() {
            writeln!(f, "{heading:<12} {line}")?;
        }
        writeln!(f, "\nFor --link {}, address {}:", self.choice.asked, self.choice.address_mode)?;
        for line in self.choice.lines() {
            writeln!(f, "  {line}")?;
        }
        if self.choice.taken().is_some() {
            let plural = if self.choice.workers == 1 { "" } else { "s" };
            writeln!(f, "  {} worker{plural} ({})", self.choice.workers, self.choice.workers_why)?;
        }
        for (blocks, title) in [(true, "In the way:"), (false, "Would be better:")] {
            let mut of_kind = self.obstacles.iter().filter(|obstacle| obstacle.blocks == blocks).peekable();
            if of_kind.peek().is_some() {
                writeln!(f, "\n{title}")?;
            }
            for Obstacle { what, remedy, .. } in of_kind {
                writeln!(f, "  {what}")?;
                if let Some(remedy) = remedy {
                    writeln!(f, "      {remedy}")?;
                }
            }
        }
        Ok(())
    }
}

fn memory_line(memory: &Memory) -> String {
    let free = memory.available_bytes.map_or_else(|| "unknown".to_owned(), |bytes| Bytes(bytes).to_string());
    let huge: Vec<String> = memory
        .huge_pages
        .iter()
        .filter(|pages| pages.total > 0)
        .map(|pages| {
            format!("{} of {} huge pages of {} free", pages.free, pages.total, Bytes(pages.page_bytes))
        })
        .collect();
    let huge = if huge.is_empty() { "no huge pages reserved".to_owned() } else { huge.join(", ") };
    let transparent = memory.transparent_huge_pages.as_deref().unwrap_or("none");
    format!("{free} available; {huge}; transparent ones: {transparent}")
}

fn ring_line(ring: &IoUring) -> String {
    match &ring.state {
        RingState::Usable => {
            let mut line = "usable".to_owned();
            if ring.reads_several_fixed {
                line.push_str(", one read for several registered frames");
            }
            if ring.commands {
                line.push_str(", commands passed through");
            }
            line
        }
        RingState::Missing => "the kernel has none".to_owned(),
        RingState::Forbidden => match ring.sysctl_disabled {
            Some(value @ 1..) => format!("switched off (kernel.io_uring_disabled = {value})"),
            _ => "forbidden by a filter of system calls".to_owned(),
        },
        RingState::Refused(why) => format!("refused: {why}"),
    }
}

fn device_lines(device: &Device) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut say = |heading: &str, line: String| lines.push((heading.to_owned(), line));
    let mut about = vec![
        device.driver.as_ref().map_or_else(|| "no driver".to_owned(), |driver| format!("driver {driver}")),
    ];
    about.extend(device.bus.as_ref().map(|bus| format!("at {bus}")));
    about.extend(device.numa_node.map(|node| format!("memory node {node}")));
    about.extend(device.iommu.as_ref().map(|mode| format!("IOMMU {mode}")));
    about.extend(device.speed_mbps.map(|speed| format!("{speed} Mb/s")));
    about.extend(device.master.as_ref().map(|master| format!("part of {master}")));
    about.push(format!("MTU {}", device.mtu));
    about.push(
        match (device.up, device.running) {
            (true, true) => "up",
            (true, false) => "up, no carrier",
            (false, _) => "down",
        }
        .to_owned(),
    );
    say(&device.name, about.join(", "));
    let addresses = if device.addresses.is_empty() { "none".to_owned() } else { device.addresses.join(", ") };
    say("  addresses", addresses);
    let xdp = match device.xdp.features {
        None => "the kernel does not tell what the driver can do (6.3 or newer does)".to_owned(),
        Some(features) => {
            let mut can =
                vec![if features.native { "programs in the driver" } else { "no programs in the driver" }];
            can.extend(features.redirect.then_some("redirects"));
            can.push(if features.zero_copy { "zero-copy" } else { "no zero-copy" });
            can.extend(features.pieces.then_some("packets of several pieces"));
            can.extend(features.tx_checksum.then_some("checksums"));
            can.join(", ")
        }
    };
    say("  XDP", xdp);
    let mut queues = match device.channels {
        Some(channels) => format!(
            "{} of {} receive, {} send{}",
            channels.rx,
            channels.rx_max,
            channels.tx,
            if channels.combined { ", in pairs" } else { "" }
        ),
        None => format!("{} receive, {} send", device.queues.rx, device.queues.tx),
    };
    match device.rss {
        Some(rss) => queues.push_str(&format!("; flows spread over {}", rss.queues)),
        None => queues.push_str("; how flows are spread is not told"),
    }
    say("  queues", queues);
    if let Some(rings) = device.rings {
        say(
            "  rings",
            format!("{} of {} receive, {} of {} send", rings.rx, rings.rx_max, rings.tx, rings.tx_max),
        );
    }
    if let Some(offloads) = device.offloads {
        let named = [
            (offloads.tso, "TSO"),
            (offloads.tso6, "TSO for IPv6"),
            (offloads.tx_checksum, "checksums sent"),
            (offloads.rx_checksum, "checksums received"),
            (offloads.scatter_gather, "scatter-gather"),
            (offloads.lro, "LRO"),
            (offloads.gro, "GRO"),
            (offloads.rx_vlan, "VLAN tags"),
            (offloads.ntuple, "flow rules"),
        ];
        let on: Vec<&str> = named.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        say("  offloads", if on.is_empty() { "none".to_owned() } else { on.join(", ") });
    }
    lines
}

/// Everything in the way: what blocks first.
fn obstacles(survey: &Survey, choice: &Choice) -> Vec<Obstacle> {
    let mut found: Vec<Obstacle> = Vec::new();
    let taken = choice.taken();
    for obstacle in choice.obstacles() {
        let obstacle = Obstacle { blocks: taken.is_none(), ..obstacle.clone() };
        // A step that was passed over for what no command changes has said so already.
        if (taken.is_none() || obstacle.remedy.is_some()) && !found.contains(&obstacle) {
            found.push(obstacle);
        }
    }
    // A TAP device instead of the interface that was named is not what was asked for.
    if let (Some(device), Some(Candidate::Tap)) = (&choice.device, taken) {
        found.push(Obstacle::without_remedy(format!(
            "nothing better than a TAP device can be had on {device}"
        )));
    }
    found.extend(ring(&survey.io_uring));
    let better = |what: String, remedy: String| Obstacle { what, remedy: Some(remedy), blocks: false };
    let pool_bytes = default_pool_bytes() * u64::from(choice.workers.max(1));
    if survey.memory.huge_bytes_free() < pool_bytes {
        let pages = pool_bytes.div_ceil(HUGE_PAGE_BYTES);
        found.push(better(
            format!(
                "fewer than {pages} huge pages are free: transparent ones are used, as far as there are any"
            ),
            format!("sudo sysctl -w vm.nr_hugepages={pages}"),
        ));
        if survey.memory.transparent_huge_pages.as_deref() == Some("never") {
            found.push(better(
                "transparent huge pages are off too: small ones are used".to_owned(),
                "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled".to_owned(),
            ));
        }
    }
    if let Some(limit) = survey.limits.memlock_bytes.filter(|limit| *limit < pool_bytes) {
        found.push(better(
            format!("only {} may be locked, and frames for {} would be", Bytes(limit), Bytes(pool_bytes)),
            "ulimit -l unlimited, or LimitMEMLOCK=infinity in the service's unit".to_owned(),
        ));
    }
    if survey.limits.open_files_most.is_some_and(|most| most < OPEN_FILES_MIN) {
        found.push(better(
            format!("no more than {} files may be open", survey.limits.open_files_most.unwrap_or(0)),
            "ulimit -n 65536, or LimitNOFILE=65536 in the service's unit".to_owned(),
        ));
    }
    if !survey.nvme.disks.is_empty() && survey.nvme.poll_queues == Some(0) {
        found.push(better(
            "the NVMe driver has no queues to poll: completions come by interrupt".to_owned(),
            format!(
                "echo 'options nvme poll_queues={}' | sudo tee /etc/modprobe.d/nvme.conf; then reboot",
                survey.processors
            ),
        ));
    }
    if survey.iommu.mode.as_deref() == Some("DMA") {
        found.push(better(
            "the IOMMU translates strictly: each transfer is mapped and unmapped".to_owned(),
            "sudo sed -i 's/^GRUB_CMDLINE_LINUX=\"/&iommu.strict=0 /' /etc/default/grub && sudo update-grub; then \
             reboot"
                .to_owned(),
        ));
    }
    if let Some(device) = &survey.device {
        found.extend(of_device(survey, device, taken));
    }
    found.extend(choice.caution(survey));
    found.sort_by_key(|obstacle| !obstacle.blocks);
    found
}

fn ring(ring: &IoUring) -> Option<Obstacle> {
    match &ring.state {
        RingState::Usable => None,
        RingState::Missing => Some(Obstacle::without_remedy("the kernel has no io_uring: 5.6 or newer has")),
        RingState::Forbidden => Some(match ring.sysctl_disabled {
            Some(value @ 1..) => Obstacle::new(
                format!("io_uring is switched off ({value})"),
                "sudo sysctl -w kernel.io_uring_disabled=0",
            ),
            _ => Obstacle::new(
                "io_uring is forbidden by a filter of system calls, as containers have one",
                "docker run --security-opt seccomp=unconfined …",
            ),
        }),
        RingState::Refused(why) => Some(Obstacle::without_remedy(format!("io_uring cannot be had: {why}"))),
    }
}

fn of_device(survey: &Survey, device: &Device, taken: Option<Candidate>) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let name = &device.name;
    let better = |what: String, remedy: Option<String>| Obstacle { what, remedy, blocks: false };
    if device.up && !device.running {
        found.push(better(format!("{name} has no carrier"), None));
    }
    let xdp = matches!(taken, Some(Candidate::AfXdpZeroCopy | Candidate::AfXdpCopy));
    if xdp && !survey.xdp_sockets.jit {
        found.push(better(
            "programs are interpreted, which costs some times more".to_owned(),
            Some("sudo sysctl -w net.core.bpf_jit_enable=1".to_owned()),
        ));
    }
    if let Some(channels) = device.channels.filter(|_| xdp) {
        let wanted = channels.rx_max.min(survey.processors.into());
        if channels.rx < wanted {
            let what = format!("{name} has {} of {} queues: as many workers", channels.rx, channels.rx_max);
            let kinds = if channels.combined {
                format!("combined {wanted}")
            } else {
                format!("rx {wanted} tx {wanted}")
            };
            found.push(better(what, Some(format!("ethtool -L {name} {kinds}"))));
        }
    }
    if taken == Some(Candidate::Packet)
        && device.offloads.is_some_and(|offloads| !(offloads.tso && offloads.tso6 && offloads.tx_checksum))
    {
        found.push(better(
            format!("{name} does not cut and sum what is sent: the kernel does"),
            Some(format!("ethtool -K {name} tx on sg on tso on")),
        ));
    }
    found
}

#[cfg(test)]
mod tests;
