//! Cases whose answer is known on paper: exact with sets by modulo, so that nothing collides by chance.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is one")]

use traffic::{Cache, Geometry, Index, Pipeline, Recycling, Replay, Seal, Sink, Touch, Traffic};

const MIB: u64 = 1 << 20;

/// 4 MiB, 16 ways, 2 of them for DMA: half a mebibyte.
const SMALL: Geometry =
    Geometry { bytes: 4 * MIB, ways: 16, line_bytes: 64, dma_ways: 2, index: Index::Modulo };

fn pipeline() -> Pipeline {
    Pipeline { seed: 7, ..Pipeline::PROMPT }
}

/// Reads and writes per byte sent, exactly.
#[track_caller]
fn assert_ratio(pipeline: Pipeline, geometry: Geometry, read: u64, written: u64) {
    let ratio = pipeline.measure(geometry, 16 * MIB);
    assert_eq!(
        (ratio.traffic.read(), ratio.traffic.written),
        (read * ratio.sent, written * ratio.sent),
        "{pipeline:?}"
    );
}

#[test]
fn a_working_set_that_fits_needs_no_memory() {
    let mut cache = Cache::new(SMALL);
    cache.cpu_write(0..4 * MIB);
    let filled = cache.traffic();
    assert_eq!(filled, Traffic { cpu_read: 4 * MIB, dma_read: 0, written: 0 });
    for _ in 0..3 {
        cache.cpu_read(0..4 * MIB);
        cache.cpu_write(0..4 * MIB);
        cache.dma_read(0..4 * MIB);
        cache.dma_write(0..4 * MIB);
    }
    assert_eq!(cache.traffic(), filled);
}

#[test]
fn one_line_more_than_fits_is_always_missed() {
    let mut cache = Cache::new(Geometry { bytes: 16 * 64, ways: 16, ..SMALL });
    for _ in 0..3 {
        cache.cpu_read(0..17 * 64);
    }
    assert_eq!(cache.traffic(), Traffic { cpu_read: 3 * 17 * 64, dma_read: 0, written: 0 });
}

#[test]
fn what_is_sent_at_once_and_reused_last_in_first_out_stays_in_the_cache() {
    assert_ratio(pipeline(), SMALL, 0, 0);
    assert_ratio(Pipeline { seal: Seal::InPlace, ..pipeline() }, SMALL, 0, 0);
}

#[test]
fn first_in_first_out_over_more_than_the_dma_ways_is_written_once() {
    // Sent before it is evicted, so nothing is read again; §2.2.2, "1K I/O buffers, cold".
    assert_ratio(Pipeline { recycling: Recycling::Fifo { frames: 48 }, ..pipeline() }, SMALL, 0, 1);
    // 32 frames are half a mebibyte: they fit, and stay.
    assert_ratio(Pipeline { recycling: Recycling::Fifo { frames: 32 }, ..pipeline() }, SMALL, 0, 0);
}

#[test]
fn a_delay_longer_than_the_dma_ways_is_one_write_and_one_read_for_each_byte() {
    // Figure 2.4: completed reads lie in a queue.
    let queued = Pipeline { backlog_bytes: MIB, recycling: Recycling::Fifo { frames: 0 }, ..pipeline() };
    assert_ratio(queued, SMALL, 1, 1);
    // A NIC's queue is a delay as well.
    assert_ratio(Pipeline { backlog_bytes: 0, nic_queue_bytes: MIB, ..queued }, SMALL, 1, 1);
    // Half as long a queue fits.
    let short = Pipeline { backlog_bytes: MIB / 4, recycling: Recycling::Lifo, ..queued };
    assert_ratio(short, SMALL, 0, 0);
}

#[test]
fn sealing_late_reads_and_the_nic_then_finds_it() {
    let queued = Pipeline {
        backlog_bytes: MIB,
        recycling: Recycling::Fifo { frames: 1_024 },
        seal: Seal::InPlace,
        ..pipeline()
    };
    // 1,024 frames are four times the cache: evicted before sealing (written, read), and again after (written).
    let ratio = queued.measure(SMALL, 16 * MIB);
    assert_eq!(ratio.traffic.cpu_read, ratio.sent);
    assert_eq!(ratio.traffic.dma_read, 0);
    assert_eq!(ratio.traffic.written, 2 * ratio.sent);
}

#[test]
fn frames_that_were_sealed_from_memory_may_use_the_whole_cache() {
    // A mebibyte in flight: twice the DMA ways. Once the CPU has missed a line it lies in any way, and DMA updates it there.
    let sealed = Pipeline { backlog_bytes: MIB, seal: Seal::InPlace, ..pipeline() };
    assert_ratio(sealed, SMALL, 0, 0);
    // Plain, no CPU ever brings it in; unless it has warmed the frames.
    assert_ratio(Pipeline { seal: Seal::Plain, ..sealed }, SMALL, 1, 1);
    assert_ratio(Pipeline { seal: Seal::Plain, warmed: true, ..sealed }, SMALL, 0, 0);
}

#[test]
fn sealing_out_of_place_doubles_the_footprint() {
    // §2.2.3, figure 2.5: source and destination are read, the destination is written; the NIC finds it in the cache.
    let out = Pipeline {
        backlog_bytes: MIB,
        recycling: Recycling::Fifo { frames: 1_024 },
        seal: Seal::Into { slots: 1_024, streaming: false },
        ..pipeline()
    };
    let ratio = out.measure(SMALL, 16 * MIB);
    assert_eq!(ratio.traffic.cpu_read, 2 * ratio.sent);
    assert_eq!((ratio.traffic.dma_read, ratio.traffic.written), (0, 2 * ratio.sent));
    // With streaming stores the destination is not read by the CPU, but by the NIC.
    let ratio =
        Pipeline { seal: Seal::Into { slots: 1_024, streaming: true }, ..out }.measure(SMALL, 16 * MIB);
    assert_eq!((ratio.traffic.cpu_read, ratio.traffic.dma_read), (ratio.sent, ratio.sent));
    assert_eq!(ratio.traffic.written, 2 * ratio.sent);
}

#[test]
fn a_few_slots_that_are_reused_stay_in_the_cache() {
    let out = Pipeline { seal: Seal::Into { slots: 8, streaming: false }, ..pipeline() };
    assert_ratio(out, SMALL, 0, 0);
}

#[test]
fn encryption_in_memory_reads_one_byte_in_place_and_two_out_of_place() {
    // Figure 2.5 (b): 188 Gb/s at 378 Gb/s of traffic in place, 134 at 267 Gb/s of reads out of place.
    let run = |touches: &[(Touch, u64)]| {
        let mut replay = Replay::new(SMALL);
        for lap in 0..3 {
            for record in 0..1_024 {
                for &(touch, base) in touches {
                    let start = base + record * 16_384;
                    replay.touch(touch, start..start + 16_384);
                }
            }
            if lap == 0 {
                replay.begin();
            }
        }
        let Traffic { cpu_read, dma_read, written } = replay.ratio().traffic;
        [cpu_read, dma_read, written].map(|bytes| bytes / (2 * 1_024 * 16_384))
    };
    assert_eq!(run(&[(Touch::Rewrite, 0)]), [1, 0, 1]);
    assert_eq!(run(&[(Touch::Read, 0), (Touch::Write, 1 << 32)]), [2, 0, 1]);
    assert_eq!(run(&[(Touch::Read, 0), (Touch::Stream, 1 << 32)]), [1, 0, 1]);
    assert_eq!(run(&[(Touch::Read, 0), (Touch::Overwrite, 1 << 32)]), [1, 0, 1]);
}

#[test]
fn dma_takes_no_more_than_its_ways() {
    let mut cache = Cache::new(SMALL);
    cache.cpu_read(0..4 * MIB);
    cache.dma_write(1 << 32..(1 << 32) + 64 * MIB);
    let before = cache.traffic().cpu_read;
    // Fourteen ways of sixteen are still the CPU's.
    let held = (0..4 * MIB).step_by(64).filter(|&line| cache.holds(line..line + 64)).count() as u64 * 64;
    assert_eq!(held, SMALL.bytes - SMALL.dma_bytes());
    assert_eq!(cache.traffic().cpu_read, before);
    assert_eq!(cache.traffic().written, 64 * MIB - SMALL.dma_bytes());
}

#[test]
fn dma_updates_a_line_where_it_lies() {
    let mut cache = Cache::new(SMALL);
    // The CPU fills every way; DMA then writes to all of it.
    cache.cpu_read(0..4 * MIB);
    cache.dma_write(0..4 * MIB);
    assert!(cache.holds(0..4 * MIB));
    assert_eq!(cache.dirty_bytes(), 4 * MIB);
    assert_eq!(cache.traffic().written, 0);
}

#[test]
fn a_device_that_reads_brings_nothing_in() {
    let mut cache = Cache::new(SMALL);
    cache.dma_read(0..MIB);
    cache.dma_read(0..MIB);
    assert_eq!(cache.traffic(), Traffic { cpu_read: 0, dma_read: 2 * MIB, written: 0 });
}

#[test]
fn without_ddio_every_byte_goes_through_memory() {
    // §2.2.1, figure 2.1: before 2011.
    assert_ratio(pipeline(), Geometry { dma_ways: 0, ..SMALL }, 1, 1);
}

#[test]
fn a_streaming_store_leaves_nothing_in_the_cache() {
    let mut cache = Cache::new(SMALL);
    cache.cpu_write(0..MIB);
    cache.stream_write(0..MIB);
    assert_eq!(cache.dirty_bytes(), 0);
    assert!(!cache.holds(0..64));
    assert_eq!(cache.traffic().written, MIB);
}

#[test]
fn the_touches_of_a_record_come_in_order() {
    let mut touches = Vec::new();
    let frames = Pipeline { seal: Seal::InPlace, ..pipeline() }.run(&mut touches, 16_384);
    let pages = (0..4).map(|page| (Touch::DiskIn, page * 4_096..(page + 1) * 4_096));
    let rest = [Touch::Rewrite, Touch::NicOut].map(|touch| (touch, 0..16_384));
    let first: Vec<_> = touches.iter().filter(|(_, at)| at.start < 16_384).take(6).cloned().collect();
    assert_eq!(first, pages.chain(rest).collect::<Vec<_>>());
    assert!(frames <= 2, "{frames} frames for one read at a time");
}
