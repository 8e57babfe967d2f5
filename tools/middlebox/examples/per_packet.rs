//! What a delayed packet costs the library, by how many flows there are: `cargo run --release -p middlebox --example
//! per_packet`.
//!
//! A million acknowledgments a second arrive, for the flows in turn, and wait from 10 to 40 ms; time is a number here.
//! The rounds are interleaved; the quickest counts, because the others were disturbed.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use clock::Instant;
use core::time::Duration;
use middlebox::{Config, Direction, Middlebox, Room, Verdict};

const FLOWS: [u32; 4] = [10, 1_000, 20_000, 200_000];
const PACKETS: u32 = 1_000_000;
const ROUNDS: usize = 7;
/// Virtio-net header, Ethernet, IPv4, TCP with timestamps.
const BYTES: usize = 10 + 14 + 20 + 32;
const GAP: Duration = Duration::from_micros(1);

fn main() -> Result<(), Box<dyn core::error::Error>> {
    let mut best = FLOWS.map(|_| f64::INFINITY);
    for _ in 0..ROUNDS {
        for (flows, best) in FLOWS.iter().zip(&mut best) {
            *best = best.min(measure(*flows)?);
        }
    }
    println!("{:>9} {:>10}", "flows", "ns/packet");
    for (flows, nanos) in FLOWS.iter().zip(best) {
        println!("{flows:>9} {nanos:>10.1}");
    }
    Ok(())
}

fn measure(flows: u32) -> Result<f64, Box<dyn core::error::Error>> {
    let mut middlebox = Middlebox::new(&Config::default(), Instant::EPOCH)?;
    let (mut room, mut frame) = (Room::new(), [0; BYTES]);
    frame[10 + 12..][..2].copy_from_slice(&[0x08, 0x00]);
    frame[10 + 14] = 0x45;
    frame[10 + 23] = 6;
    let mut now = Instant::EPOCH;
    let mut left = 0_u32;
    // As many again to fill the path first.
    let mut started = std::time::Instant::now();
    for number in 0..2 * PACKETS {
        if number == PACKETS {
            (started, left) = (std::time::Instant::now(), 0);
        }
        now += GAP;
        frame[10 + 26..][..4].copy_from_slice(&(number % flows).to_be_bytes());
        room.space()[..BYTES].copy_from_slice(&frame);
        room.fill(BYTES, &[], None);
        assert_eq!(middlebox.received(now, Direction::ToServer, &mut room), Verdict::Taken, "it waits");
        while let Some(frame) = middlebox.take(now, Direction::ToServer) {
            left += 1;
            middlebox.release(frame);
        }
    }
    let nanos = started.elapsed().as_nanos() as f64;
    assert!(left.abs_diff(PACKETS) < PACKETS / 50, "as many leave as arrive: {left}");
    assert_eq!(middlebox.statistics().to_server.overflowed, 0);
    Ok(nanos / f64::from(PACKETS))
}
