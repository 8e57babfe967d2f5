//! The real engine's memory traffic, by the model.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

mod world;

use core::time::Duration;
use traffic::dissertation::XEON;
use traffic::{Geometry, Recycling};
use world::{Outcome, Share, run};

/// A quarter of the dissertation's machine: one of four workers (§4.4). `clients` are those of the whole machine. Each
/// lets 99 KB be under way: what 63.5 Gb/s to 2,000 clients at 25 ms come to (§4.4.1). A drive per worker, with the 128 reads
/// that saturate it (§4.3).
fn quarter(clients: u16) -> Share {
    Share {
        connections: clients / 4,
        secure: true,
        rate: 80_000_000_000 / 4,
        window: 99_200,
        disk_latency: Duration::from_micros(920),
        reads_in_flight_max: 128,
        reading_frames_max: 256,
        ring: 256,
        frames: 3_072,
        recycling: Recycling::Lifo,
        geometry: Geometry { bytes: XEON.bytes / 4, ..XEON },
    }
}

#[track_caller]
fn assert_at_most(outcome: Outcome, most: f64) {
    let read = outcome.ratio.read();
    assert!(outcome.ratio.sent > 4 << 20, "too little was sent to say: {outcome:?}");
    assert!(read <= most, "{read:.2} bytes read for each byte sent: {outcome:?}");
}

#[test]
fn a_few_sealed_connections_read_nothing() {
    assert_at_most(run(quarter(200), 0.05), 0.1);
}

#[test]
fn frames_reused_first_in_first_out_read_more() {
    let last_in = run(quarter(400), 0.05);
    let first_in = run(Share { recycling: Recycling::Fifo { frames: 12_288 }, ..quarter(400) }, 0.05);
    let (last_in, first_in) = (last_in.ratio, first_in.ratio);
    assert!(
        first_in.read() > last_in.read() && first_in.written() > last_in.written(),
        "{last_in:?} {first_in:?}"
    );
}

#[test]
#[ignore = "takes long"]
fn two_thousand_sealed_connections_read_at_most_three_tenths() {
    assert_at_most(run(quarter(2_000), 0.2), 0.3);
}

#[test]
#[ignore = "takes long"]
fn sixteen_thousand_sealed_connections_read_at_most_what_they_send_while_disks_are_the_limit() {
    assert_at_most(run(quarter(16_000), 0.2), 1.0);
}

#[test]
#[ignore = "takes long"]
fn sixteen_thousand_sealed_connections_read_at_most_what_they_send_where_the_link_is_the_limit() {
    let outcome =
        run(Share { reads_in_flight_max: 1_024, reading_frames_max: 320, ring: 64, ..quarter(16_000) }, 0.2);
    assert!(outcome.utilisation > 0.9, "the link is not the limit: {outcome:?}");
    assert_at_most(outcome, 1.0);
}

#[test]
#[ignore = "measures"]
#[expect(clippy::print_stdout, reason = "a table for people")]
fn the_engine_by_connections_and_ring() {
    println!(
        "| clients | disk's queue | frames being read | ring | recycling | read | of it CPU | written | of the link | frames |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let fifo = Recycling::Fifo { frames: 12_288 };
    for (clients, reads_in_flight_max, reading_frames_max, ring) in [
        (400, 128, 256, 256),
        (2_000, 128, 128, 256),
        (2_000, 128, 256, 256),
        (2_000, 1_024, 256, 256),
        (4_000, 128, 256, 256),
        (4_000, 1_024, 384, 32),
        (4_000, 1_024, 384, 256),
        (16_000, 128, 256, 256),
        (16_000, 1_024, 128, 256),
        (16_000, 1_024, 256, 256),
        (16_000, 1_024, 320, 32),
        (16_000, 1_024, 320, 64),
        (16_000, 1_024, 320, 256),
        (16_000, 1_024, 384, 32),
        (16_000, 1_024, 3_072, 256),
    ] {
        for (name, recycling) in [("LIFO", Recycling::Lifo), ("FIFO", fifo)] {
            let share =
                Share { ring, reads_in_flight_max, reading_frames_max, recycling, ..quarter(clients) };
            let Outcome { ratio, utilisation, frames_max } = run(share, 0.1);
            let (read, cpu, written) = (ratio.read(), ratio.cpu_read(), ratio.written());
            println!(
                "| {clients} | {reads_in_flight_max} | {reading_frames_max} | {ring} | {name} | {read:.2} | {cpu:.2} | {written:.2} | {utilisation:.2} | {frames_max} |"
            );
        }
    }
}
