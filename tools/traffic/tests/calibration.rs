//! The model counts only because it gives the dissertation's ratios from the dissertation's machine, within 20 %.
//! What each stack is made of, and where that is written, is in `traffic::dissertation`.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is one")]

use traffic::dissertation::{XEON, atlas_at_2000, atlas_saturated, netflix};
use traffic::{Geometry, Index, Pipeline, Recycling, Seal};

const SENT: u64 = 32 << 20;

#[track_caller]
fn assert_near(pipeline: Pipeline, measured: f64) {
    let read = pipeline.measure(XEON, SENT).read();
    assert!((read / measured - 1.0).abs() <= 0.2, "the model says {read:.3}, the dissertation {measured}");
}

#[test]
fn atlas_reads_two_thirds_of_what_it_sends_to_2000_clients() {
    // §4.4.1: "the memory traffic required is about 65% of the network throughput", plaintext.
    assert_near(atlas_at_2000(Seal::Plain), 0.65);
}

#[test]
fn atlas_reads_once_what_it_sends_in_plaintext() {
    // §4.4.1, figure 4.12e: "very close to a one-to-one ratio", and no CPU stall (figure 4.12f).
    assert_near(atlas_saturated(Seal::Plain), 1.0);
    assert_eq!(atlas_saturated(Seal::Plain).measure(XEON, SENT).traffic.cpu_read, 0);
}

#[test]
fn atlas_reads_one_and_a_half_times_what_it_sends_sealed() {
    // §4.4.2, figure 4.14e: "1.5×"; some by the CPU while sealing, some by the NIC (figure 4.15).
    assert_near(atlas_saturated(Seal::InPlace), 1.5);
}

#[test]
fn netflix_reads_one_and_a_half_times_what_it_sends_in_plaintext() {
    // §4.4.1: "almost 1.5×".
    assert_near(netflix(false, false), 1.5);
}

#[test]
fn netflix_reads_2_6_times_what_it_sends_sealed_cached_or_not() {
    // §4.2.2, §4.4.2: 2.6, "irrespective of whether data comes from the disks or from the buffer cache".
    assert_near(netflix(true, false), 2.6);
    assert_near(netflix(true, true), 2.6);
}

#[test]
fn buffers_that_fit_are_served_from_a_warm_cache_and_written_once_from_a_cold_one() {
    // §2.2.2, figure 2.3: one thousand and sixteen thousand buffers of 8 KiB, warm and cold; reads stay low in all four.
    let variant = |frames, warmed| {
        let recycling = Recycling::Fifo { frames };
        let index = Index::Modulo; // The buffers are contiguous.
        Pipeline { record_bytes: 8_192, window_bytes: 128 << 10, warmed, recycling, ..Pipeline::PROMPT }
            .measure(Geometry { index, ..XEON }, SENT)
    };
    for (frames, warmed, written) in
        [(1_000, true, 0.0), (16_000, true, 1.0), (1_000, false, 1.0), (16_000, false, 1.0)]
    {
        let ratio = variant(frames, warmed);
        assert!(ratio.read() < 0.01, "{frames} {warmed}: {ratio:?}");
        assert!((ratio.written() - written).abs() < 0.01, "{frames} {warmed}: {ratio:?}");
    }
}

#[test]
fn deeper_queues_read_more() {
    // §2.2.2, figure 2.4.
    let reads = [0, 512 << 10, 2 << 20, 8 << 20].map(|backlog_bytes| {
        let recycling = Recycling::Fifo { frames: 4_096 };
        let queued = Pipeline { record_bytes: 8_192, backlog_bytes, recycling, ..Pipeline::PROMPT };
        queued.measure(XEON, SENT).read()
    });
    assert!(reads.is_sorted(), "{reads:?}");
    assert!(reads[0] < 0.05 && reads[3] > 0.95, "{reads:?}");
}

#[test]
fn a_controlled_working_set_is_sealed_without_memory() {
    // §2.2.3, figure 2.6: four drives, 8 KiB reads, sealed, "without any detours to the main memory".
    let sealed =
        Pipeline { record_bytes: 8_192, window_bytes: 1 << 20, seal: Seal::InPlace, ..Pipeline::PROMPT };
    let ratio = sealed.measure(XEON, SENT);
    assert!(ratio.read() < 0.05, "{ratio:?}");
}
