//! Our engine beside nginx, in the same run.

use link_packet::{PacketConfig, Rings};
use serde_json::json;
use vnet::VnetConfig;

use crate::Effort;
use crate::drain::Complaint;
use crate::nginx::{Reading, configuration};
use crate::report::{Report, Spread};
use crate::served::{CONNECTIONS, Job, Over, SERVER_CORE, Source, Stage, run_nginx, run_ours, scores};
use crate::world::OBJECT_BYTES;

/// One comparison of the issue.
struct Contest {
    name: &'static str,
    secure: bool,
    ours: Source,
    theirs: Reading,
}

const CONTESTS: [Contest; 4] = [
    Contest { name: "tls-disk", secure: true, ours: Source::Files, theirs: Reading::Direct },
    Contest { name: "tls-memory", secure: true, ours: Source::Memory, theirs: Reading::Cached },
    Contest { name: "plain-disk", secure: false, ours: Source::Files, theirs: Reading::Direct },
    Contest { name: "plain-memory", secure: false, ours: Source::Memory, theirs: Reading::Cached },
];

/// Over TAP.
pub(crate) fn tap(effort: Effort, report: &Report) -> Result<(), Complaint> {
    contests("tap-nginx", Over::Tap(VnetConfig::default()), effort, report)
}

/// Over a packet socket's rings.
pub(crate) fn packet(effort: Effort, report: &Report) -> Result<(), Complaint> {
    contests("packet-nginx", Over::Packet(Rings::default(), PacketConfig::default()), effort, report)
}

/// One after the other.
fn contests(name: &str, over: Over, effort: Effort, report: &Report) -> Result<(), Complaint> {
    let stage = Stage::new(effort)?;
    for contest in &CONTESTS {
        let name = format!("{name}/{}", contest.name);
        if !report.wants(&name) {
            continue;
        }
        let job = Job { secure: contest.secure, ipv6: false, source: contest.ours };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // Interleaved: the machine's speed drifts, and both are to drift with it.
        for _ in 0..effort.runs {
            ours.push(run_ours(&stage, job, over)?);
            theirs.push(run_nginx(&stage, job, contest.theirs)?);
        }
        let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours.per_core() / theirs.per_core());
        let ratio = Spread::of(ratios);
        let detail = json!({
            "ratio": ratio.json(),
            "ours": scores(&ours),
            "nginx": scores(&theirs),
            "nginx_configuration": configuration(SERVER_CORE, contest.theirs),
            "connections": CONNECTIONS,
            "object_bytes": OBJECT_BYTES,
            "runs": effort.runs,
        });
        report.result(&name, ratio.median, "ratio", &detail);
    }
    Ok(())
}
