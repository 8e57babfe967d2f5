//! The engine between memory and memory: what remains is its own work, TCP's and the cipher's.

use std::time::Instant;

use aead::AwsLc;
use link_memory::MemoryLinkConfig;
use serde_json::json;
use tls::{Aead as _, Suite};

use crate::Effort;
use crate::afxdp::thread_seconds;
use crate::drain::Complaint;
use crate::memory_peer::{Look, MemoryPeer};
use crate::report::{Report, Spread, round};
use crate::world::{self, MemoryEngine, OBJECT_BYTES};

const CONNECTIONS: usize = 100;
const RECORD_BYTES: usize = 16 << 10;
const SEGMENT_BYTES: f64 = 1_448.0;

/// What a run over memory came to.
struct Run {
    /// CPU seconds inside the engine, and inside the peer.
    engine_seconds: f64,
    peer_seconds: f64,
    wire_bytes: f64,
}

/// Bytes of plaintext per second that `aws-lc-rs` seals in 16 KiB records, AES-128-GCM, in a working set of 1 MiB.
fn raw_seal_rate(seconds: f64) -> f64 {
    let key = AwsLc::key(Suite::Aes128Gcm, &[7; 16]);
    let mut frames = vec![vec![0_u8; RECORD_BYTES]; 64];
    let mut tail = [0; 17];
    let mut records = 0_u64;
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < seconds {
        for frame in &mut frames {
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&records.to_be_bytes());
            AwsLc::seal(&key, &nonce, &[0x17, 3, 3, 0x40, 0x11], frame, &[0x17], &mut tail);
            records += 1;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let bytes = (records * RECORD_BYTES as u64) as f64;
    bytes / begun.elapsed().as_secs_f64()
}

pub(crate) fn connected(secure: bool, look: Look) -> Result<(MemoryEngine, MemoryPeer), Complaint> {
    ready(world::over_memory(secure, look)?)
}

fn ready(
    (mut engine, mut peer): (MemoryEngine, MemoryPeer),
) -> Result<(MemoryEngine, MemoryPeer), Complaint> {
    for _ in 0..CONNECTIONS {
        peer.connect()?;
    }
    let begun = Instant::now();
    while peer.steady() < CONNECTIONS {
        engine.turn();
        peer.turn()?;
        if begun.elapsed().as_secs() > 20 {
            return Err(format!("only {} of {CONNECTIONS} connections came up", peer.steady()).into());
        }
    }
    Ok((engine, peer))
}

fn run(engine: &mut MemoryEngine, peer: &mut MemoryPeer, seconds: f64) -> Result<Run, Complaint> {
    let wire = peer.wire_bytes;
    let (mut engine_seconds, mut peer_seconds) = (0.0, 0.0);
    let begun = Instant::now();
    let begun_cpu = thread_seconds();
    let mut mark = begun;
    while mark.duration_since(begun).as_secs_f64() < seconds {
        engine.turn();
        let turned = Instant::now();
        let said = peer.turn();
        said.map_err(|why| format!("{why}; {} overruns; {:?}", peer.overruns, engine.counters()))?;
        let answered = Instant::now();
        engine_seconds += turned.duration_since(mark).as_secs_f64();
        peer_seconds += answered.duration_since(turned).as_secs_f64();
        mark = answered;
    }
    // On a machine that does other things too, the clock runs on while we do not: both shares are of our CPU time.
    let ours = ((thread_seconds() - begun_cpu) / (engine_seconds + peer_seconds)).min(1.0);
    let (engine_seconds, peer_seconds) = (engine_seconds * ours, peer_seconds * ours);
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    Ok(Run { engine_seconds, peer_seconds, wire_bytes: (peer.wire_bytes - wire) as f64 })
}

fn ratio(bench: &str, look: Look, effort: Effort, report: &Report) -> Result<(), Complaint> {
    let (mut engine, mut peer) = connected(true, look)?;
    run(&mut engine, &mut peer, effort.seconds / 4.0)?;
    let mut ratios = Vec::new();
    let (mut raws, mut rates, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..effort.runs {
        let raw = raw_seal_rate(effort.seconds / 3.0);
        let run = run(&mut engine, &mut peer, effort.seconds)?;
        let rate = run.wire_bytes / run.engine_seconds;
        ratios.push(rate / raw);
        raws.push(raw / 1e9);
        rates.push(rate / 1e9);
        shares.push(run.peer_seconds / (run.peer_seconds + run.engine_seconds));
    }
    let counters = engine.counters();
    let detail = json!({
        "raw_seal_gb_per_s": Spread::of(raws).json(),
        "engine_gb_per_s": Spread::of(rates).json(),
        "ratio": Spread::of(ratios.clone()).json(),
        "peer_share_of_time": round(Spread::of(shares).median),
        "connections": CONNECTIONS,
        "object_bytes": OBJECT_BYTES,
        "suite": "AES-128-GCM",
        "frames_in_use_max": counters.frames_large_max,
        "resent_bytes": counters.resent_bytes,
        "overruns": peer.overruns,
        "runs": effort.runs,
    });
    report.result(bench, Spread::of(ratios).median, "ratio", &detail);
    Ok(())
}

/// The engine's rate of sealed bytes as a share of what the cipher alone does in the same run.
pub(crate) fn seal_ratio(effort: Effort, report: &Report) -> Result<(), Complaint> {
    ratio("seal-ratio", Look::Count, effort, report)
}

/// The same, with a peer that opens every record and compares every byte.
pub(crate) fn seal_ratio_verified(effort: Effort, report: &Report) -> Result<(), Complaint> {
    ratio("seal-ratio-verified", Look::Verify, effort, report)
}

/// What a segment costs when the link cuts it and nothing is sealed.
pub(crate) fn plain_segment(effort: Effort, report: &Report) -> Result<(), Complaint> {
    segments("plain-segment", MemoryLinkConfig::default(), effort, report)
}

/// The same when every segment is a packet of the engine's own, as on AF_XDP; and when the engine sums it, too.
pub(crate) fn plain_segment_uncut(effort: Effort, report: &Report) -> Result<(), Complaint> {
    let uncut = MemoryLinkConfig { superframe_bytes_max: 0, ..MemoryLinkConfig::default() };
    segments("plain-segment-uncut", uncut, effort, report)?;
    let summed = MemoryLinkConfig { checksum: false, ..uncut };
    segments("plain-segment-uncut-summed", summed, effort, report)
}

fn segments(bench: &str, link: MemoryLinkConfig, effort: Effort, report: &Report) -> Result<(), Complaint> {
    let (mut engine, mut peer) = ready(world::over_memory_link(false, Look::Count, link)?)?;
    run(&mut engine, &mut peer, effort.seconds / 4.0)?;
    let mut nanos = Vec::new();
    for _ in 0..effort.runs {
        let run = run(&mut engine, &mut peer, effort.seconds)?;
        nanos.push(run.engine_seconds * 1e9 / (run.wire_bytes / SEGMENT_BYTES));
    }
    let detail = json!({
        "spread": Spread::of(nanos.clone()).json(),
        "connections": CONNECTIONS,
        "object_bytes": OBJECT_BYTES,
        "runs": effort.runs,
    });
    report.result(bench, Spread::of(nanos).median, "ns", &detail);
    Ok(())
}

/// Full handshakes, each with one request, by time inside the engine.
pub(crate) fn handshakes(effort: Effort, report: &Report) -> Result<(), Complaint> {
    let mut rates = Vec::new();
    for _ in 0..effort.runs {
        let (mut engine, mut peer) = world::over_memory(true, Look::Count)?;
        let count = 200;
        let mut engine_seconds = 0.0;
        for _ in 0..count {
            peer.connect()?;
        }
        while peer.steady() < count {
            let begun = Instant::now();
            engine.turn();
            engine_seconds += begun.elapsed().as_secs_f64();
            peer.turn().map_err(|why| format!("{why}: {:?}", engine.counters()))?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        rates.push(count as f64 / engine_seconds);
    }
    let detail = json!({
        "spread": Spread::of(rates.clone()).json(),
        "what": "TLS 1.3, X25519MLKEM768, ECDSA P-256, one object each",
        "runs": effort.runs,
    });
    report.result("handshakes", Spread::of(rates).median, "1/s", &detail);
    Ok(())
}
