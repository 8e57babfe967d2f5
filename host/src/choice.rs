//! Which link: the best that the machine allows, and for each better one why not.
//!
//! ```text
//!   --link auto --dev eth0:   AF_XDP zero-copy ──▶ AF_XDP copy ──▶ packet socket ──▶ TAP device
//!                               │ no: why, and the command that would make it a yes
//! ```
//!
//! A function of a [`Survey`] and of what was asked for, so that `doctor` says what `serve` would do, in the same words.

use core::fmt;
use serde::Serialize;
use survey::{Capability, Device, Survey, Tun};

use crate::machine::default_pool_bytes;
use crate::values::{AddressMode, Bytes, LinkChoice};

/// A packet larger than this does not fit into a page beside what the kernel keeps there: 4,096 bytes less 256 of
/// headroom, 320 of its own and an Ethernet header with a tag. Then a driver must take packets of several pieces.
const MTU_OF_A_PAGE: u32 = 3_498;
/// `BPF_LINK_CREATE` for XDP, with which a program goes when its process does.
const KERNEL_OF_XDP_LINKS: (u32, u32) = (5, 9);

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The link.
    pub link: &'a LinkChoice,
    /// Whose the addresses are.
    pub mode: AddressMode,
    /// How many workers, if the operator says.
    pub workers: Option<u16>,
    /// The server will be root over a network namespace of its own, where there is no interface but its own.
    pub inside: bool,
}

/// A link that could be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Candidate {
    /// AF_XDP, the device reading and writing our memory.
    AfXdpZeroCopy,
    /// AF_XDP, the kernel copying.
    AfXdpCopy,
    /// A packet socket with rings.
    Packet,
    /// A TAP device.
    Tap,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AfXdpZeroCopy => "AF_XDP, zero-copy",
            Self::AfXdpCopy => "AF_XDP, copy",
            Self::Packet => "packet socket",
            Self::Tap => "TAP device",
        })
    }
}

/// Something in the way, and the command that removes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// What it is.
    pub what: String,
    /// What to run, where a command helps.
    pub remedy: Option<String>,
    /// Without it gone what was asked for is impossible; else it only costs.
    pub blocks: bool,
}

impl Obstacle {
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: Some(remedy.into()), blocks: true }
    }

    pub(crate) fn without_remedy(what: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: None, blocks: true }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.remedy {
            Some(remedy) => write!(f, "{} (`{remedy}`)", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// One candidate, and why it was passed over, if it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The candidate.
    pub candidate: Candidate,
    /// Why not; the first without an obstacle is taken.
    pub obstacle: Option<Obstacle>,
}

/// What would be taken, and what was passed over on the way there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// What was asked for.
    pub asked: String,
    /// The interface that it is about.
    pub device: Option<String>,
    /// Whose the addresses are.
    #[serde(serialize_with = "as_text")]
    pub address_mode: AddressMode,
    /// In order; the last one is taken unless it has an obstacle too.
    pub steps: Vec<Step>,
    /// How many workers.
    pub workers: u16,
    /// Where that number comes from.
    pub workers_why: String,
}

fn as_text<S: serde::Serializer>(value: &AddressMode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl Choice {
    /// Chooses.
    #[must_use]
    pub fn of(survey: &Survey, asked: &Asked<'_>) -> Self {
        let first = match asked.link {
            LinkChoice::Auto(Some(_)) | LinkChoice::AfXdp(_) => Candidate::AfXdpZeroCopy,
            LinkChoice::Packet(_) => Candidate::Packet,
            LinkChoice::Auto(None) | LinkChoice::Tap(_) => Candidate::Tap,
        };
        let mut steps = Vec::new();
        let mut next = Some(first);
        while let Some(candidate) = next {
            let obstacle = why_not(candidate, survey, asked);
            next = after(candidate, asked.link).filter(|_| obstacle.is_some());
            steps.push(Step { candidate, obstacle });
        }
        let taken = steps.last().filter(|step| step.obstacle.is_none()).map(|step| step.candidate);
        let (workers, workers_why) = workers(survey, asked, taken);
        Self {
            asked: asked.link.to_string(),
            device: asked.link.interface().map(str::to_owned),
            address_mode: asked.mode,
            steps,
            workers,
            workers_why,
        }
    }

    /// The candidate that is taken, if one can be.
    #[must_use]
    pub fn taken(&self) -> Option<Candidate> {
        self.steps.last().filter(|step| step.obstacle.is_none()).map(|step| step.candidate)
    }

    /// Why nothing could be taken, in one line: each reason once, the remedies with them.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        if self.taken().is_some() {
            return None;
        }
        let several = self.steps.len() > 1;
        let mut reasons: Vec<String> = Vec::new();
        for Step { candidate, obstacle } in &self.steps {
            // A TAP device was only the last resort.
            let Some(obstacle) = obstacle.as_ref().filter(|_| !(several && *candidate == Candidate::Tap))
            else {
                continue;
            };
            let reason = obstacle.to_string();
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        let reasons = reasons.join("; ");
        Some(match &self.device {
            Some(device) if self.steps.len() > 2 => format!("no link on {device} can be had: {reasons}"),
            _ => format!("{} cannot be had: {reasons}", self.asked),
        })
    }

    /// What kept us from each candidate, but for a TAP device that was only the last resort.
    pub(crate) fn obstacles(&self) -> impl Iterator<Item = &Obstacle> {
        let several = self.steps.len() > 1;
        let counts = move |step: &&Step| !(several && step.candidate == Candidate::Tap);
        self.steps.iter().filter(counts).filter_map(|step| step.obstacle.as_ref())
    }

    /// What was tried was refused by the machine after all: goes on to the next candidate. `false` when there is none, or
    /// nothing else was allowed.
    pub fn fall_back(&mut self, why: impl Into<String>, survey: &Survey, asked: &Asked<'_>) -> bool {
        let Some(step) = self.steps.last_mut().filter(|step| step.obstacle.is_none()) else { return false };
        step.obstacle = Some(Obstacle::without_remedy(why));
        let mut last = step.candidate;
        while let Some(next) = after(last, asked.link) {
            let obstacle = why_not(next, survey, asked);
            let taken = obstacle.is_none();
            self.steps.push(Step { candidate: next, obstacle });
            if taken {
                return true;
            }
            last = next;
        }
        false
    }

    /// Why nothing better was taken: a line for each reason, with the candidates that were passed over for it.
    #[must_use]
    pub fn reasons(&self) -> Vec<String> {
        let alike = |one: &Step, next: &Step| one.obstacle == next.obstacle;
        let groups = self.steps.chunk_by(alike);
        groups
            .filter_map(|group| {
                let obstacle = group.first()?.obstacle.as_ref()?;
                let candidates: Vec<String> = group.iter().map(|step| step.candidate.to_string()).collect();
                Some(format!("{}: no, {obstacle}", candidates.join("; ")))
            })
            .collect()
    }

    /// What else is needed so that anything arrives. The other end of a veth pair is a kernel that leaves checksums to its
    /// device, which is none: whoever sees packets before our kernel's stack does sees them unfinished, and cannot tell
    /// them from damaged ones.
    #[must_use]
    pub fn caution(&self, survey: &Survey) -> Option<Obstacle> {
        let past_the_stack = match self.taken()? {
            Candidate::AfXdpZeroCopy | Candidate::AfXdpCopy => true,
            Candidate::Packet => self.address_mode == AddressMode::Shared,
            Candidate::Tap => false,
        };
        let device = survey.device.as_ref().filter(|device| device.driver.as_deref() == Some("veth"))?;
        past_the_stack.then(|| Obstacle {
            what: format!(
                "{} is a veth device: nobody connects unless its peer computes checksums",
                device.name
            ),
            remedy: Some("ethtool -K PEER tx off".to_owned()),
            blocks: false,
        })
    }

    /// The same, and then what was taken.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let taken = self.taken().map(|candidate| format!("{candidate}: taken"));
        self.reasons().into_iter().chain(taken).collect()
    }
}

/// What is tried when a candidate cannot be had.
const fn after(candidate: Candidate, link: &LinkChoice) -> Option<Candidate> {
    match (candidate, link) {
        (Candidate::AfXdpZeroCopy, _) => Some(Candidate::AfXdpCopy),
        (Candidate::AfXdpCopy, LinkChoice::Auto(_)) => Some(Candidate::Packet),
        (Candidate::Packet, LinkChoice::Auto(_)) => Some(Candidate::Tap),
        _ => None,
    }
}

/// How many workers, and why so many.
fn workers(survey: &Survey, asked: &Asked<'_>, taken: Option<Candidate>) -> (u16, String) {
    if let Some(workers) = asked.workers {
        return (workers, "as chosen".to_owned());
    }
    let steered = match taken {
        Some(Candidate::AfXdpZeroCopy | Candidate::AfXdpCopy) => true,
        Some(Candidate::Packet) => is_steered(survey, asked),
        Some(Candidate::Tap) | None => false,
    };
    if steered && let Some(device) = &survey.device {
        let queues = u16::try_from(device.rss_queues()).unwrap_or(u16::MAX);
        return (queues, format!("one for each queue of {}", device.name));
    }
    let processors = survey.processors;
    match processors {
        0 | 1 => (1, "there is no more".to_owned()),
        more => (more - 1, "one core is left for the kernel's side".to_owned()),
    }
}

/// Whether a packet socket receives by AF_XDP: it must for a shared address, and does where hardware with a driver that
/// runs programs would otherwise have each packet copied. A virtual wire may carry packets without checksums, which only
/// the kernel can vouch for.
pub(crate) fn is_steered(survey: &Survey, asked: &Asked<'_>) -> bool {
    let hardware = |device: &Device| {
        device.bus.is_some()
            && device.xdp.features.is_some_and(|features| features.native && features.redirect)
            && xdp(survey, device).and_then(|()| queues(survey, asked, device)).is_ok()
    };
    asked.mode == AddressMode::Shared || survey.device.as_ref().is_some_and(hardware)
}

/// What keeps us from a candidate.
fn why_not(candidate: Candidate, survey: &Survey, asked: &Asked<'_>) -> Option<Obstacle> {
    let possible = match candidate {
        Candidate::AfXdpZeroCopy => on_device(survey, asked).and_then(|device| {
            xdp(survey, device)?;
            queues(survey, asked, device)?;
            zero_copy(device)
        }),
        Candidate::AfXdpCopy => on_device(survey, asked).and_then(|device| {
            xdp(survey, device)?;
            queues(survey, asked, device)?;
            copy(asked, device)
        }),
        Candidate::Packet => on_device(survey, asked).and_then(|device| {
            if asked.mode == AddressMode::Shared {
                // The kernel has answered what a packet socket sees: a program has to take it out before.
                xdp(survey, device)?;
                queues(survey, asked, device)?;
            }
            privileged(survey, &[Capability::NetRaw])
        }),
        Candidate::Tap => tap(survey, asked),
    };
    possible.err()
}

/// What a worker receives into and builds headers in.
fn chunk_bytes() -> u64 {
    let chunks = link_afxdp::AfxdpConfig::default().chunk_count();
    u64::from(chunks) * u64::try_from(dma::CHUNK_BYTES).expect("a page")
}

fn on_device<'a>(survey: &'a Survey, asked: &Asked<'_>) -> Result<&'a Device, Obstacle> {
    let name = asked.link.interface().unwrap_or_default();
    if asked.inside {
        return Err(Obstacle::new(
            format!("inside a namespace there is no {name}, and outside this needs privilege"),
            "sudo setcap cap_net_admin,cap_net_raw,cap_bpf,cap_ipc_lock,cap_net_bind_service+ep \
             $(command -v atlas)",
        ));
    }
    let device = survey
        .device
        .as_ref()
        .ok_or_else(|| Obstacle::new(format!("there is no interface {name}"), "ip -brief link"))?;
    if !device.ethernet {
        return Err(Obstacle::without_remedy(format!("{name} carries no Ethernet")));
    }
    if !device.up {
        return Err(Obstacle::new(format!("{name} is down"), format!("ip link set dev {name} up")));
    }
    if asked.mode == AddressMode::Shared && device.addresses.is_empty() {
        return Err(Obstacle::new(
            format!("{name} has no address that could be shared"),
            format!("ip address add IP/PREFIX dev {name}"),
        ));
    }
    Ok(device)
}

fn privileged(survey: &Survey, needed: &[Capability]) -> Result<(), Obstacle> {
    let privileges = &survey.privileges;
    let missing: Vec<&str> = needed
        .iter()
        // Before CAP_BPF, and still, CAP_SYS_ADMIN was enough.
        .filter(|one| {
            let instead = **one == Capability::Bpf && privileges.has(Capability::SysAdmin);
            !(privileges.has(**one) || instead)
        })
        .map(|one| one.name())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = needed.iter().map(|one| one.name().to_lowercase()).collect::<Vec<_>>().join(",");
    Err(Obstacle::new(
        format!("{} missing", missing.join(", ")),
        format!("sudo setcap {list}+ep $(command -v atlas)"),
    ))
}

/// What every use of XDP on this device needs.
fn xdp(survey: &Survey, device: &Device) -> Result<(), Obstacle> {
    let name = &device.name;
    if survey.xdp_sockets.supported == Some(false) {
        return Err(Obstacle::without_remedy("the kernel was built without AF_XDP (CONFIG_XDP_SOCKETS)"));
    }
    if survey.kernel.version < KERNEL_OF_XDP_LINKS {
        return Err(Obstacle::without_remedy(format!(
            "Linux {} cannot bind a program to its process (5.9 or newer can)",
            survey.kernel.release
        )));
    }
    privileged(survey, &[Capability::NetAdmin, Capability::NetRaw, Capability::Bpf])?;
    // The disk's ring and the socket each count the same pages against the limit.
    let pinned = 2 * u64::from(device.rss_queues()) * (default_pool_bytes() + chunk_bytes());
    if let Some(limit) = survey.limits.memlock_bytes.filter(|limit| *limit < pinned) {
        return Err(Obstacle::new(
            format!("only {} may be locked, and {} would be", Bytes(limit), Bytes(pinned)),
            "ulimit -l unlimited, or LimitMEMLOCK=infinity in the service's unit",
        ));
    }
    if device.xdp.attached.is_some() {
        return Err(Obstacle::new(
            format!("{name} has an XDP program already (`bpftool net` shows whose)"),
            format!("ip link set dev {name} xdp off"),
        ));
    }
    if device.offloads.is_some_and(|offloads| offloads.lro) {
        return Err(Obstacle::new(
            format!("{name} merges segments in hardware, which XDP cannot follow"),
            format!("ethtool -K {name} lro off"),
        ));
    }
    let pieces = device.xdp.features.is_none_or(|features| features.pieces || !features.native);
    if device.mtu > MTU_OF_A_PAGE && !pieces {
        return Err(Obstacle::new(
            format!("{name} has an MTU of {} and its driver gives XDP no packet beyond a page", device.mtu),
            format!("ip link set dev {name} mtu {MTU_OF_A_PAGE}"),
        ));
    }
    Ok(())
}

/// One worker for each queue, and one queue for each worker: a packet that arrives where nobody listens is lost.
fn queues(survey: &Survey, asked: &Asked<'_>, device: &Device) -> Result<(), Obstacle> {
    let queues = device.rss_queues();
    let most = u32::from(asked.workers.unwrap_or(survey.processors).max(1));
    let enough = asked.workers.is_none_or(|workers| u32::from(workers) <= queues);
    if queues <= most && enough {
        return Ok(());
    }
    let name = &device.name;
    let plural =
        |count: u32, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    let what = match asked.workers {
        Some(workers) => format!(
            "{name} spreads flows over {} and there are to be {}",
            plural(queues, "queue"),
            plural(workers.into(), "worker")
        ),
        None => format!(
            "{name} spreads flows over {} and there are {}",
            plural(queues, "queue"),
            plural(most, "core")
        ),
    };
    let remedy = match device.channels {
        Some(channels) if most > channels.rx_max => format!("--workers {}", channels.rx_max),
        Some(channels) if channels.combined => format!("ethtool -L {name} combined {most}"),
        Some(_) => format!("ethtool -L {name} rx {most} tx {most}"),
        None => format!("--workers {queues}"),
    };
    Err(Obstacle::new(what, remedy))
}

fn driver(device: &Device) -> String {
    device.driver.as_ref().map_or_else(|| "its driver".to_owned(), |driver| format!("the driver {driver}"))
}

fn zero_copy(device: &Device) -> Result<(), Obstacle> {
    match device.xdp.features {
        // An older kernel does not tell: it is tried, and the answer taken as it comes.
        None => Ok(()),
        Some(features) if features.zero_copy => Ok(()),
        Some(_) => Err(Obstacle::without_remedy(format!("{} has no zero-copy", driver(device)))),
    }
}

fn copy(asked: &Asked<'_>, device: &Device) -> Result<(), Obstacle> {
    match device.xdp.features {
        None => Ok(()),
        Some(features) if features.native && features.redirect => Ok(()),
        // Asked for by name it is taken as it is; a packet socket costs less.
        Some(_) if matches!(asked.link, LinkChoice::AfXdp(_)) => Ok(()),
        Some(_) => Err(Obstacle::without_remedy(format!(
            "{} runs no XDP programs; after the kernel's own receive path a packet socket costs less",
            driver(device)
        ))),
    }
}

fn tap(survey: &Survey, asked: &Asked<'_>) -> Result<(), Obstacle> {
    if asked.mode == AddressMode::Shared {
        return Err(Obstacle::without_remedy(
            "a TAP device has no address that the kernel could share: --address-mode own",
        ));
    }
    if asked.inside {
        // Where there is no TAP device a veth pair takes its place.
        return Ok(());
    }
    privileged(survey, &[Capability::NetAdmin])?;
    match survey.tun {
        Tun::Usable => Ok(()),
        Tun::Missing => Err(Obstacle::new("this kernel has no TAP devices", "modprobe tun")),
        Tun::Forbidden => {
            Err(Obstacle::new("/dev/net/tun may not be opened", "sudo chmod a+rw /dev/net/tun"))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
