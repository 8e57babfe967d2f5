//! Figure 3.9: memory traffic of Sandstorm's replicas and of its copies, by the model of the last-level cache.
//!
//! ```text
//!   replicas   CPU writes a line of headers ─▶ NIC reads the packet where it lies
//!   copies     CPU reads the object ─▶ CPU writes headers and payload into the next slot, whole lines ─▶ NIC reads the slot
//! ```

use core::ops::Range;

use traffic::dissertation::XEON;
use traffic::{Geometry, Index, Ratio, Replay, Sink, Touch};

use super::record::{Axis, Curve, Drawn, Origin, Panel, Point};
use super::{Figure, Ground, Problem, Run};

/// The servers of chapter 3: four cores of Sandy Bridge, 10 MiB, of which DMA may allocate a tenth.
const SANDY_BRIDGE: Geometry =
    Geometry { bytes: 10 << 20, ways: 20, line_bytes: 64, dma_ways: 2, index: Index::Hashed };
const PAYLOAD_BYTES: u64 = 1_448;
/// A packet's memory, its headers first.
const SLOT_BYTES: u64 = 2_048;
const HEADER_BYTES: u64 = 66;
/// Of netmap's rings: three stacks with two NICs each, a ring of 1,024 slots for each NIC.
const SLOTS: u64 = 6 * 1_024;
/// Files of one size, each asked for as often as any.
const OBJECTS: u64 = 16;
/// Copies of a packet on the way to different clients.
const REPLICAS: u64 = 4;
const SLOTS_AT: u64 = 1 << 40;
const SENT: u64 = 64 << 20;

pub(super) const REPLICAS_AND_COPIES: Figure = Figure {
    id: "3.9",
    title: "Memory traffic of replicas and of copies, by file size",
    section: "§3.3.5",
    found: "Replicas are read from memory at the rate of the network; copies of small files leave from the cache, at the price of \
            more written.",
    seconds: (15, 30),
    ground: Ground::Nothing,
    run: by_size,
};

/// How a packet comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// It lies ready.
    Replica,
    /// It is copied.
    Copy,
}

/// Packets of files of `file_bytes`, one file after the other, each in all its packets.
fn measure(manner: Manner, file_bytes: u64, geometry: Geometry) -> Ratio {
    let packets = file_bytes.div_ceil(PAYLOAD_BYTES);
    let mut replay = Replay::new(geometry);
    let mut slot = 0;
    let mut serve = |replay: &mut Replay, file: u64, replica: u64| {
        for packet in 0..packets {
            let payload = PAYLOAD_BYTES.min(file_bytes - packet * PAYLOAD_BYTES);
            match manner {
                Manner::Replica => {
                    let at = ((file * REPLICAS + replica) * packets + packet) * SLOT_BYTES;
                    replay.touch(Touch::Write, at..at + HEADER_BYTES);
                    replay.touch(Touch::NicOut, at..at + HEADER_BYTES + payload);
                }
                Manner::Copy => {
                    let from = file * file_bytes.next_multiple_of(SLOT_BYTES) + packet * PAYLOAD_BYTES;
                    let at = SLOTS_AT + slot * SLOT_BYTES;
                    slot = (slot + 1) % SLOTS;
                    let whole: Range<u64> = at..at + HEADER_BYTES + payload;
                    replay.touch(Touch::Read, from..from + payload);
                    replay.touch(Touch::Overwrite, whole.clone());
                    replay.touch(Touch::NicOut, whole);
                }
            }
        }
    };
    // All files and replicas come around, as often as it takes.
    let rounds = |bytes: u64| bytes.div_ceil(file_bytes * OBJECTS * REPLICAS).max(2);
    for (count, begin) in [(rounds(2 * geometry.bytes), true), (rounds(SENT), false)] {
        for turn in 0..count * OBJECTS * REPLICAS {
            serve(&mut replay, turn % OBJECTS, turn / OBJECTS % REPLICAS);
        }
        if begin {
            replay.begin();
        }
    }
    replay.ratio()
}

fn by_size(run: &mut Run<'_>) -> Result<(), Problem> {
    let sizes: &[u32] = run.either(&[4, 64, 1_024], &[4, 8, 16, 24, 32, 64, 128, 256, 512, 1_024]);
    let mut points: [[Vec<Point>; 2]; 2] = Default::default();
    for &kb in sizes {
        for (manner, points) in [Manner::Replica, Manner::Copy].into_iter().zip(&mut points) {
            run.step(&format!("{manner:?}, {kb} KB"))?;
            let ratio = measure(manner, u64::from(kb) << 10, SANDY_BRIDGE);
            points[0].push(Point::exact(kb.into(), ratio.read()));
            points[1].push(Point::exact(kb.into(), ratio.written()));
        }
    }
    let names = [["replicas: read", "replicas: written"], ["copies: read", "copies: written"]];
    let curves = names.into_iter().flatten().zip(points.into_iter().flatten()).map(|(name, points)| Curve {
        name: name.to_owned(),
        origin: Origin::Model,
        drawn: Drawn::Line,
        colour: None,
        points,
    });
    run.panel(Panel {
        title: "Memory traffic per byte sent, packets of 1,448 bytes".into(),
        x: Axis::log2("KB of a file"),
        y: Axis::linear("bytes per byte sent"),
        curves: curves.collect(),
        ..Panel::default()
    });
    run.remark(&format!(
        "Computed, not measured: this machine has no memory counters. A last-level cache of {} MiB, a tenth of it for DMA; {OBJECTS} \
         files of each size, {REPLICAS} replicas of each packet, and netmap rings of {SLOTS} slots, as assumed here and not said by the \
         text. Without a NIC's own delays: a packet is fetched when it is ready. The larger cache of chapter 4 ({} MiB) moves the \
         step to the right.",
        SANDY_BRIDGE.bytes >> 20,
        XEON.bytes >> 20,
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_beyond_the_cache_are_read_at_the_rate_of_the_network() {
        let ratio = measure(Manner::Replica, 256 << 10, SANDY_BRIDGE);
        // But for the two lines of headers, which stay in the cache.
        assert!((0.88..1.0).contains(&ratio.read()), "{ratio:?}");
        assert!(ratio.written() < 0.1, "{ratio:?}");
    }

    #[test]
    fn replicas_within_the_cache_that_were_never_written_are_read_from_memory_all_the_same() {
        // A NIC's read places nothing in the cache.
        assert!(measure(Manner::Replica, 4 << 10, SANDY_BRIDGE).read() > 0.88);
    }

    #[test]
    fn copies_of_what_fits_into_the_cache_leave_from_there() {
        let small = Geometry { bytes: 64 << 20, ..SANDY_BRIDGE };
        let ratio = measure(Manner::Copy, 4 << 10, small);
        assert!(ratio.read() < 0.01 && ratio.written() < 0.01, "{ratio:?}");
    }

    #[test]
    fn copies_of_small_files_are_not_read_from_memory_and_some_are_written_there() {
        // Rings that nearly fit: 6,144 slots of which 1,514 bytes are used, 9.3 MB, beside 128 KiB of objects.
        let ratio = measure(Manner::Copy, 8 << 10, SANDY_BRIDGE);
        assert!(ratio.read() < 0.1 && (0.1..0.9).contains(&ratio.written()), "{ratio:?}");
    }

    #[test]
    fn copies_into_rings_larger_than_the_cache_are_written_to_memory_once() {
        // Six rings of 2 MiB, of which three quarters are used, and a cache of 10 MiB.
        let ratio = measure(Manner::Copy, 1 << 20, SANDY_BRIDGE);
        assert!((0.9..1.2).contains(&ratio.written()), "{ratio:?}");
        assert!((0.9..1.1).contains(&ratio.read()), "the object: {ratio:?}");
    }
}
