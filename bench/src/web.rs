//! Sandstorm beside nginx where a link is between server and client: a new connection for every request.
//!
//! ```text
//!   core 0                                              core 1
//!   sandstorm ── TAP ──────────────────────────┐
//!   sandstorm ── AF_XDP ── far ═ veth ═ near ──┼── packet socket ── the lab's clients on our own TCP (active open)
//!   nginx ────── kernel ── far ═ veth ═ near ──┤
//!   bare loop ── either link, no stack ────────┘
//! ```
//!
//! The five take turns in one run. *Connections per server core* are connections a second divided by the busy share of
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

/// Who takes turns.
const CONTESTANTS: [(&str, Whose); 5] = [
    ("Sandstorm over TAP", Whose::Ours(Over::Tap)),
    ("Sandstorm over AF_XDP", Whose::Ours(Over::Afxdp)),
    ("nginx", Whose::Nginx),
    ("the bare loop over TAP", Whose::Bare(Over::Tap)),
    ("the bare loop over AF_XDP", Whose::Bare(Over::Afxdp)),
];

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
        let names = [Over::Tap, Over::Afxdp]
            .map(|over| (over, format!("web-nginx/{}/{}", over.name(), content.name())));
        if !names.iter().any(|(_, name)| report.wants(name)) {
            continue;
        }
        let sizes = content.make(&root)?;
        let load = Load { sizes, at_once: content.at_once(), is_cdn: matches!(content, Content::Cdn) };
        let directory = content.directory(&root);
        let wanted = |whose: Whose| match whose {
            Whose::Nginx => true,
            // What the bare loop sends is of one size.
            Whose::Bare(_) if load.is_cdn => false,
            Whose::Ours(over) | Whose::Bare(over) => {
                names.iter().any(|(link, name)| *link == over && report.wants(name))
            }
        };
        let mut scores: [Vec<Score>; CONTESTANTS.len()] = Default::default();
        // Interleaved: the machine's speed drifts, and all are to drift with it.
        for _ in 0..effort.runs {
            for ((name, whose), scores) in CONTESTANTS.iter().zip(&mut scores) {
                if wanted(*whose) {
                    let score = ground::run(*whose, &root, &directory, &load, effort);
                    scores.push(score.map_err(|why| format!("{name}, {}: {why}", content.name()))?);
                }
            }
        }
        let [tap, afxdp, nginx, bare_tap, bare_afxdp] = &scores;
        for ((over, name), (ours, bare)) in names.iter().zip([(tap, bare_tap), (afxdp, bare_afxdp)]) {
            if !report.wants(name) {
                continue;
            }
            let ratio = ratio(ours, nginx);
            let mut detail = json!({
                "ratio": ratio.json(), "ours": spreads(ours), "nginx": spreads(nginx),
                "our_command": program::command_line((&over.link(), over.address()), &directory),
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
