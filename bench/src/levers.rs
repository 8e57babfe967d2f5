//! What each means of speed is worth: on and off, interleaved in one run.
//!
//! The number is Gb/s per server core with it, divided by the same without it: TLS, 300 KB objects, from the disk and
//! from memory.

use link_packet::{PacketConfig, Rings};
use serde_json::json;
use vnet::{Submission, VnetConfig};

use crate::Effort;
use crate::drain::Complaint;
use crate::report::{Report, Spread};
use crate::served::{Job, Over, Source, Stage, run_ours, scores};

/// Takes eight whole records: above what IP's length fields can tell (BIG TCP).
const BIG_BYTES: u32 = 133_000;

/// Something that can be had or not.
struct Lever {
    name: &'static str,
    ipv6: bool,
    on: Over,
    off: Over,
}

fn tap(change: impl FnOnce(&mut VnetConfig)) -> Over {
    let mut config = VnetConfig::default();
    change(&mut config);
    Over::Tap(config)
}

fn packet(slot_count: u16, change: impl FnOnce(&mut PacketConfig)) -> Over {
    let mut config = PacketConfig::default();
    change(&mut config);
    Over::Packet(Rings { slots: slot_count, ..Rings::default() }, config)
}

const fn lever(name: &'static str, on: Over, off: Over) -> Lever {
    Lever { name, ipv6: false, on, off }
}

/// Those of TAP.
pub(crate) fn tap_levers(effort: Effort, report: &Report) -> Result<(), Complaint> {
    let big = |config: &mut VnetConfig| config.superframe_bytes_max = BIG_BYTES;
    let levers = [
        // A run is as many chunks as a packet may have parts, and a chunk is a record.
        lever("tap/records", tap(|_| {}), tap(|config| config.parts_max = 1)),
        lever("tap/batches", tap(|_| {}), tap(|config| config.submission = Submission::Syscalls)),
        lever("tap/big-tcp-ipv4", tap(big), tap(|_| {})),
        Lever { name: "tap/big-tcp-ipv6", ipv6: true, on: tap(big), off: tap(|_| {}) },
    ];
    pull(&levers, effort, report)
}

/// Those of a packet socket's rings. A flush is one system call for all slots, so there is nothing to batch; a packet has
/// 17 fragments of a page at most, so there is no BIG TCP.
pub(crate) fn packet_levers(effort: Effort, report: &Report) -> Result<(), Complaint> {
    let usual = Rings::default().slots;
    let counted = |name, count| lever(name, packet(count, |_| {}), packet(usual, |_| {}));
    let levers = [
        lever("packet/records", packet(usual, |_| {}), packet(usual, |config| config.parts_max = 1)),
        // Sealed into slots as it leaves, or sealed where it was read and then copied there.
        lever(
            "packet/sealed-into-slots",
            packet(usual, |_| {}),
            packet(usual, |config| config.slots = false),
        ),
        counted("packet/slots-4", 4),
        counted("packet/slots-8", 8),
        counted("packet/slots-32", 32),
        counted("packet/slots-128", 128),
    ];
    pull(&levers, effort, report)
}

fn pull(levers: &[Lever], effort: Effort, report: &Report) -> Result<(), Complaint> {
    let stage = Stage::new(effort)?;
    for lever in levers {
        for (source, from) in [(Source::Files, "disk"), (Source::Memory, "memory")] {
            let name = format!("levers/{}/{from}", lever.name);
            if !report.wants(&name) {
                continue;
            }
            let job = Job { secure: true, ipv6: lever.ipv6, source };
            let (mut on, mut off) = (Vec::new(), Vec::new());
            for _ in 0..effort.runs {
                on.push(run_ours(&stage, job, lever.on)?);
                off.push(run_ours(&stage, job, lever.off)?);
            }
            let ratio = Spread::of(on.iter().zip(&off).map(|(on, off)| on.per_core() / off.per_core()));
            let detail = json!({"ratio": ratio.json(), "on": scores(&on), "off": scores(&off)});
            report.result(&name, ratio.median, "ratio", &detail);
        }
    }
    Ok(())
}
