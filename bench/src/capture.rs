//! What it costs to be looked at: the same engine over memory without a tap, with one that does nothing, and with a
//! capture of headers to a file, in turns.

use control::{CAPTURE_BYTES_MIN, Capture, CaptureFilter, CapturePlan, CaptureSink};
use platform::Part;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use std::time::Instant;
use turn::{Direction, Passing, Tap};

use crate::Effort;
use crate::drain::Complaint;
use crate::memory::connected;
use crate::memory_peer::{Look, MemoryPeer};
use crate::report::{Report, Spread};
use crate::world::MemoryEngine;

/// Each of the runs is cut into so many, so that what changes on the machine meanwhile meets all three alike.
const SLICES: u32 = 5;
/// What `--pcap` keeps of a packet unless told otherwise.
const SNAP: u32 = 128;

/// Is called, and does nothing: more than it costs to have none.
#[derive(Debug)]
struct Idle;

impl Tap for Idle {
    fn on_packet(&mut self, _: &Passing<'_>) {}
}

/// As a worker shows packets to a capture.
struct Shown(CaptureSink);

impl Tap for Shown {
    fn on_packet(&mut self, packet: &Passing<'_>) {
        let parts = packet.parts.iter().map(Part::bytes);
        let is_outgoing = packet.direction == Direction::Out;
        self.0.offer(packet.at.as_nanos(), is_outgoing, packet.bytes(), packet.headers, parts);
    }
}

/// Nanoseconds of this thread's processor time inside the engine for each packet, in and out. Not by the clock on the
/// wall: the differences looked for are smaller than what others on the machine add to it.
fn packet_nanos(engine: &mut MemoryEngine, peer: &mut MemoryPeer, seconds: f64) -> Result<f64, Complaint> {
    let packets = |engine: &MemoryEngine| engine.counters().packets + engine.stack_counters().frames;
    let before = packets(engine);
    let mut nanos = 0;
    let begun = Instant::now();
    while begun.elapsed().as_secs_f64() < seconds {
        let mark = thread_nanos();
        engine.turn();
        nanos += thread_nanos() - mark;
        peer.turn()?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let per_packet = nanos as f64 / (packets(engine) - before).max(1) as f64;
    Ok(per_packet)
}

fn thread_nanos() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The three, interleaved; the result is what an idle tap costs, which no tap at all stays below.
pub(crate) fn capture(effort: Effort, report: &Report) -> Result<(), Complaint> {
    let file = std::env::temp_dir().join(format!("atlas-bench-{}.pcapng", std::process::id()));
    let other = file.with_extension("pcapng.1");
    let plan = CapturePlan {
        file: file.clone(),
        bytes_max: 16 * CAPTURE_BYTES_MIN,
        snap: SNAP,
        filter: CaptureFilter::default(),
        at_start: false,
        program: "bench".to_owned(),
        links: vec!["memory".to_owned()],
    };
    let mut capture = Capture::open(plan, || Ok(()))?;
    let (mut engine, mut peer) = connected(true, Look::Count)?;
    packet_nanos(&mut engine, &mut peer, effort.seconds / 4.0)?;
    let (mut none, mut idle, mut captured) = (Vec::new(), Vec::new(), Vec::new());
    let seconds = effort.seconds / f64::from(SLICES);
    for _ in 0..effort.runs * SLICES as usize {
        engine.set_tap(None);
        none.push(packet_nanos(&mut engine, &mut peer, seconds)?);
        engine.set_tap(Some(Box::new(Idle)));
        idle.push(packet_nanos(&mut engine, &mut peer, seconds)?);
        let sink = capture.start(CaptureFilter::default(), SNAP).pop();
        engine.set_tap(sink.map(|sink| Box::new(Shown(sink)) as Box<dyn Tap>));
        captured.push(packet_nanos(&mut engine, &mut peer, seconds)?);
        engine.set_tap(None);
        capture.stop();
    }
    let status = capture.status();
    drop(capture);
    std::fs::remove_file(file)?;
    std::fs::remove_file(other)?;
    let ratios = |with: &[f64]| Spread::of(with.iter().zip(&none).map(|(with, none)| with / none));
    let detail = json!({
        "no_tap_ns_per_packet": Spread::of(none.iter().copied()).json(),
        "idle_tap_ratio": ratios(&idle).json(),
        "capture_ns_per_packet": Spread::of(captured.iter().copied()).json(),
        "capture_ratio": ratios(&captured).json(),
        "captured": status["packets"],
        "dropped": status["dropped"],
        "snap": SNAP,
        "runs": none.len(),
    });
    report.result("capture", ratios(&idle).median, "ratio", &detail);
    Ok(())
}
