//! Header building and segmentation alone: runs of 45 segments, cut into a memory link that does not cut.

use core::hint::black_box;
use core::net::IpAddr;
use std::time::Instant;

use dma::Pool;
use link_memory::{MemoryLink, MemoryLinkConfig, pair};
use platform::{Link as _, Packet, Part, Parts};
use serde_json::json;
use turn::Train;
use wire::tcp::{Flags, Header, Options, SeqNum};
use wire::{MacAddr, Path};

use crate::Effort;
use crate::afxdp::thread_seconds;
use crate::drain::Complaint;
use crate::report::{Report, Spread, round};
use crate::world::{CLIENT, SERVER, pool};

const MSS: u16 = 1_448;
const SEGMENTS: u32 = 45;
/// As many as a run of 64 KiB has that was read in 16 KiB pieces.
const PARTS: u32 = 4;

/// What is cut, again and again.
struct Runs {
    parts: Parts,
    path: Path,
    header: Header,
    /// Where the segments go, and where they come out.
    link: MemoryLink,
    peer: MemoryLink,
    packet: Packet,
}

impl Runs {
    fn new(pool: &Pool, checksum: bool) -> Result<Self, Complaint> {
        let config = MemoryLinkConfig { superframe_bytes_max: 0, checksum, ..MemoryLinkConfig::default() };
        let (link, peer) = pair(64, config);
        let mut parts = Parts::new();
        for _ in 0..PARTS {
            let frame = pool.acquire_large().ok_or("a fresh pool has frames")?.share();
            parts.push(Part { frame, start: 512, len: SEGMENTS * u32::from(MSS) / PARTS });
        }
        let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
        let path = Path::new(mac(1), mac(2), IpAddr::V4(SERVER), IpAddr::V4(CLIENT));
        let header = Header {
            source_port: 80,
            destination_port: 10_000,
            seq: SeqNum(1),
            ack: SeqNum(1),
            flags: Flags::ACK | Flags::PSH,
            window: 512,
            urgent: 0,
            options: Options::NONE,
        };
        Ok(Self { parts, path, header, link, peer, packet: Packet::new() })
    }

    /// Cuts one run; its segments go to the link, or nowhere.
    fn cut(&mut self, checksum: bool, staged: bool) -> Result<(), Complaint> {
        let mut train = Train::new(self.path, self.header, MSS, self.parts.clone(), checksum);
        while !train.is_empty() {
            train.next_into(&mut self.packet);
            if staged {
                self.link.stage(&mut self.packet).map_err(|_| "there is room for a run")?;
            } else {
                black_box(&mut self.packet).parts.clear();
            }
        }
        self.link.flush();
        Ok(())
    }

    /// CPU nanoseconds a segment, over so many seconds. What the other end does is not counted.
    fn nanos(&mut self, checksum: bool, staged: bool, seconds: f64) -> Result<f64, Complaint> {
        let (mut within, mut segments) = (0.0, 0_u32);
        let (begun, begun_cpu) = (Instant::now(), thread_seconds());
        while begun.elapsed().as_secs_f64() < seconds {
            let before = Instant::now();
            self.cut(checksum, staged)?;
            within += before.elapsed().as_secs_f64();
            segments += SEGMENTS;
            self.header.seq += u32::from(MSS) * SEGMENTS;
            while self.peer.receive_packet().is_some() {}
            self.link.reclaim();
        }
        // The clock runs on while other threads have the core.
        let ours = ((thread_seconds() - begun_cpu) / begun.elapsed().as_secs_f64()).min(1.0);
        Ok(within * ours * 1e9 / f64::from(segments))
    }
}

/// Nanoseconds of CPU that a segment's headers and parts cost, into the link and without it.
pub(crate) fn cutting(effort: Effort, report: &Report) -> Result<(), Complaint> {
    let pool = pool()?;
    for (bench, checksum) in [("cut-segment", true), ("cut-segment-summed", false)] {
        let mut runs = Runs::new(&pool, checksum)?;
        runs.nanos(checksum, true, effort.seconds / 4.0)?;
        let (mut linked, mut alone) = (Vec::new(), Vec::new());
        for _ in 0..effort.runs {
            linked.push(runs.nanos(checksum, true, effort.seconds / 2.0)?);
            alone.push(runs.nanos(checksum, false, effort.seconds / 2.0)?);
        }
        let detail = json!({
            "spread": Spread::of(linked.clone()).json(),
            "without_link_ns": round(Spread::of(alone).median),
            "segments": SEGMENTS,
            "segment_bytes": MSS,
            "parts": PARTS,
            "runs": effort.runs,
        });
        report.result(bench, Spread::of(linked).median, "ns", &detail);
    }
    Ok(())
}
