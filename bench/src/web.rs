//! Sandstorm beside nginx where a link is between server and client: a new connection for every request.
//!
//! ```text
//!   core 0                                              core 1
//!   sandstorm ── TAP ──────────────────────────┐
//!   sandstorm ── AF_XDP ── far ═ veth ═ near ──┼── packet socket ── the lab's clients on our own TCP (active open)
//!   sandstorm ── packet ── far ═ veth ═ near ──┤
//!   nginx ────── kernel ── far ═ veth ═ near ──┤
//!   bare loop ── each link, no stack ──────────┘
//! ```
//!
//! All take turns in one run. *Connections per server core* are connections a second divided by the busy share of
//! core 0, softirq and the kernel's threads included; CPU of the whole machine per request stands beside it, for a core can look
//! idle by making the other one work. Receive processing of the server's end stays on the server's core for everybody: by
//! `rps_cpus` where the kernel's stack receives, by a polling thread where an XDP program does.
//!
//! The client is the same for all, and says how busy its own thread was: a client that is always busy measures itself.

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Effort;
use crate::drain::Complaint;
use crate::nginx::{chroot, short_configuration};
use crate::report::{Report, Spread};

mod bare;
mod client;
mod ground;
mod lossy;
mod program;

use client::{Load, Score};
use ground::{Over, SERVER_CORE, Whose};

/// Objects of one size: enough that nobody serves one from a register, and few enough to be hot.
const OBJECTS: usize = 64;
/// Files of the CDN mix, as the dissertation's trace has them (§3.3.2).
const CDN_OBJECTS: u32 = 1_000;
/// KB of the issue's sizes.
const SIZES_KB: [usize; 10] = [1, 4, 8, 16, 24, 32, 64, 128, 256, 512];

/// What is asked for.
#[derive(Clone, Copy, Debug)]
enum Content {
    Size(usize),
    Cdn,
}

impl Content {
    fn name(self) -> String {
        match self {
            Self::Size(kb) => format!("{kb}k"),
            Self::Cdn => "cdn".to_owned(),
        }
    }

    /// Connections at once: as many as a backlog of 1,000 packets, which the machine has for all, takes the windows of.
    fn at_once(self) -> usize {
        match self {
            Self::Size(0..=8) => 100,
            Self::Size(0..=32) | Self::Cdn => 32,
            Self::Size(_) => 16,
        }
    }

    /// Makes the files below `root`, and says the sizes of all.
    fn make(self, root: &Path) -> Result<Vec<u64>, Complaint> {
        let directory = self.directory(root);
        fs::create_dir_all(&directory)?;
        let sizes: Vec<u64> = match self {
            Self::Size(kb) => vec![kb as u64 * 1_024; OBJECTS],
            Self::Cdn => (0..CDN_OBJECTS)
                .map(|number| {
                    let share = (f64::from(number) + 0.5) / f64::from(CDN_OBJECTS);
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "300 bytes to 20 MB"
                    )]
                    {
                        lab::load::choice::cdn_size(share) as u64
                    }
                })
                .collect(),
        };
        for (number, size) in sizes.iter().enumerate() {
            let path = directory.join(file_name(number));
            if fs::metadata(&path).is_ok_and(|meta| meta.len() == *size) {
                continue;
            }
            let mut bytes = vec![0; usize::try_from(*size)?];
            disk_memory::pattern(number as u64, 0, &mut bytes);
            fs::write(path, bytes)?;
        }
        Ok(sizes)
    }

    fn directory(self, root: &Path) -> PathBuf {
        root.join("web").join(self.name())
    }
}

fn file_name(number: usize) -> String {
    format!("{number:06}.bin")
}

pub(crate) use lossy::beside_nginx as lossy_beside_nginx;

/// What carries our packets, in turn.
const LINKS: [Over; 3] = [Over::Tap, Over::Afxdp, Over::Packet];

/// Every size, and the CDN mix.
pub(crate) fn beside_nginx(effort: Effort, report: &Report) -> Result<(), Complaint> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root, for namespaces and devices: run it with sudo".into());
    }
    let root = chroot()?;
    for content in SIZES_KB.map(Content::Size).into_iter().chain([Content::Cdn]) {
        // A quick run of all shows that it works.
        if effort.runs == 1 && report.wants_all() && !matches!(content, Content::Size(1 | 24) | Content::Cdn)
        {
            continue;
        }
        let names = LINKS.map(|over| (over, format!("web-nginx/{}/{}", over.name(), content.name())));
        if !names.iter().any(|(_, name)| report.wants(name)) {
            continue;
        }
        let sizes = content.make(&root)?;
        let load = Load { sizes, at_once: content.at_once(), is_cdn: matches!(content, Content::Cdn) };
        let directory = content.directory(&root);
        let score = |whose: Whose| {
            let score = ground::run(whose, &root, &directory, &load, effort);
            score.map_err(|why| format!("{whose:?}, {}: {why}", content.name()))
        };
        let (mut ours, mut bare): ([Vec<Score>; 3], [Vec<Score>; 3]) = Default::default();
        let mut nginx = Vec::new();
        // Interleaved: the machine's speed drifts, and all are to drift with it.
        for _ in 0..effort.runs {
            nginx.push(score(Whose::Nginx)?);
            for (((over, name), ours), bare) in names.iter().zip(&mut ours).zip(&mut bare) {
                if !report.wants(name) {
                    continue;
                }
                ours.push(score(Whose::Ours(*over, None))?);
                // What the bare loop sends is of one size.
                if !load.is_cdn {
                    bare.push(score(Whose::Bare(*over))?);
                }
            }
        }
        for (((over, name), ours), bare) in names.iter().zip(&ours).zip(&bare) {
            if ours.is_empty() {
                continue;
            }
            let ratio = ratio(ours, &nginx);
            let mut detail = json!({
                "ratio": ratio.json(), "ours": spreads(ours), "nginx": spreads(&nginx),
                "our_command": command_line(*over, None, &directory),
                "nginx_configuration": short_configuration(SERVER_CORE, "/web/…"),
                "at_once": load.at_once, "runs": effort.runs, "seconds": effort.seconds,
            });
            if !bare.is_empty() {
                detail["bare"] = spreads(bare);
                detail["of_bare"] = self::ratio(ours, bare).json();
            }
            report.result(name, ratio.median, "times nginx's connections per server core", &detail);
        }
    }
    Ok(())
}

/// Ways for a packet to come to its payload, on links that leave a choice.
const COPIES: [(Over, &[&str]); 2] =
    [(Over::Tap, &["gather", "mem"]), (Over::Afxdp, &["gather", "mem", "pre"])];
/// Their sizes, in KB.
const COPIES_KB: [usize; 4] = [1, 8, 24, 128];

/// The ways of copying beside each other, on each link that leaves a choice.
pub(crate) fn copies(effort: Effort, report: &Report) -> Result<(), Complaint> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root, for namespaces and devices: run it with sudo".into());
    }
    let root = chroot()?;
    for content in COPIES_KB.map(Content::Size) {
        for (over, copies) in COPIES {
            let name = format!("web-copies/{}/{}", over.name(), content.name());
            if !report.wants(&name) {
                continue;
            }
            let sizes = content.make(&root)?;
            let load = Load { sizes, at_once: content.at_once(), is_cdn: false };
            let directory = content.directory(&root);
            let mut scores: Vec<Vec<Score>> = vec![Vec::new(); copies.len()];
            for _ in 0..effort.runs {
                for (copy, scores) in copies.iter().zip(&mut scores) {
                    let score = ground::run(Whose::Ours(over, Some(copy)), &root, &directory, &load, effort);
                    scores.push(score.map_err(|why| format!("{name}, {copy}: {why}"))?);
                }
            }
            let Some((gather, others)) = scores.split_first() else { continue };
            let mut detail =
                json!({ "gather": spreads(gather), "runs": effort.runs, "seconds": effort.seconds });
            let mut best = 1.0_f64;
            for (copy, scores) in copies.iter().skip(1).zip(others) {
                let ratio = ratio(scores, gather);
                best = best.max(ratio.median);
                detail[*copy] = spreads(scores);
                detail[format!("{copy}_to_gather")] = ratio.json();
            }
            report.result(&name, best, "of the best way to gather, connections per server core", &detail);
        }
    }
    Ok(())
}

fn command_line(over: Over, copy: Option<&str>, directory: &Path) -> String {
    program::command_line(program::Site { link: &over.link(), address: over.address(), copy }, directory)
}

/// Connections per server core, of one to those of another.
fn ratio(ours: &[Score], theirs: &[Score]) -> Spread {
    ratio_of(ours, theirs, Score::per_core)
}

/// One's to the other's, run by run.
fn ratio_of<S>(ours: &[S], theirs: &[S], what: impl Fn(&S) -> f64) -> Spread {
    Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| what(ours) / what(theirs)))
}

fn spreads(scores: &[Score]) -> Value {
    let spread = |field: fn(&Score) -> f64| Spread::of(scores.iter().map(field)).json();
    json!({
        "connections_per_s": spread(|score| score.connections_per_s),
        "core_busy": spread(|score| score.core),
        "connections_per_s_per_core": spread(Score::per_core),
        "gbit_per_s": spread(|score| score.gbit_per_s),
        "machine_cpu_us_per_request": spread(|score| score.machine_cpu_us),
        "client_cpu_us_per_request": spread(|score| score.client_cpu_us),
        "client_busy": spread(|score| score.client_busy),
        "total_us_p50": spread(|score| score.p50_us),
        "total_us_p99": spread(|score| score.p99_us),
    })
}

/// What is sent before it counts.
fn warm_up(effort: Effort) -> Duration {
    Duration::from_secs_f64((effort.seconds / 6.0).min(0.5))
}
