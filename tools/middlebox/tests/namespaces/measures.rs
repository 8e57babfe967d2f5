//! What forwarding costs, beside a loop that does nothing else. By hand:
//!
//! ```text
//! unshare --net --mount sh -c 'mount -t tmpfs tmpfs /run &&
//!     cargo test --release -p middlebox --test namespaces -- --ignored --nocapture beside_a_bare_loop'
//! ```

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::io::{Read, Write};
use std::time::Instant;

use super::bare;
use super::world::World;

const FLOWS: usize = 32;
const ROUNDS: usize = 5;
const WARM_UP: Duration = Duration::from_millis(1_000);
const MEASURED: Duration = Duration::from_millis(1_500);

/// What one measurement gave.
#[derive(Clone, Copy, Debug)]
struct Measured {
    gigabits: f64,
    /// Processor time of the forwarder, per gigabyte that arrived.
    cpu_seconds: f64,
    /// The same per frame that it forwarded, in microseconds: frames are smaller where windows are.
    cpu_micros: f64,
}

/// One of its numbers.
type Column = fn(&Measured) -> f64;

/// Bytes per second that clients receive while all flows run, and bytes in all.
fn load(world: &World) -> (f64, f64) {
    let listener = world.listen();
    let pairs: Vec<_> = (0..FLOWS).map(|_| world.pair(&listener)).collect();
    let (stop, received) = (AtomicBool::new(false), AtomicU64::new(0));
    let rate = std::thread::scope(|scope| {
        for (mut client, mut server) in pairs {
            let (stop, received) = (&stop, &received);
            scope.spawn(move || {
                let chunk = vec![7; 1 << 18];
                while !stop.load(Ordering::Relaxed) && server.write_all(&chunk).is_ok() {}
            });
            scope.spawn(move || {
                let mut chunk = vec![0; 1 << 18];
                while let Ok(count @ 1..) = client.read(&mut chunk) {
                    received.fetch_add(count as u64, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(WARM_UP);
        let (before, began) = (received.load(Ordering::Relaxed), Instant::now());
        std::thread::sleep(MEASURED);
        let rate = (received.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        rate
    });
    (rate, received.load(Ordering::Relaxed) as f64)
}

fn through_a_bare_loop() -> Measured {
    let world = World::new();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let forwarder = scope.spawn(|| world.inside("middle", || bare::forward(&stop)));
        let (rate, bytes) = load(&world);
        stop.store(true, Ordering::Relaxed);
        let (cpu, frames) = forwarder.join().expect("it does not panic");
        measured(rate, bytes, cpu, frames)
    })
}

fn through_a_middlebox(arguments: &[&str]) -> Measured {
    let world = World::new();
    let middlebox = world.middlebox(arguments);
    let (rate, bytes) = load(&world);
    let cpu = middlebox.cpu();
    measured(rate, bytes, cpu, middlebox.interrupt().row("forwarded").iter().sum())
}

fn measured(rate: f64, bytes: f64, cpu: Duration, frames: u64) -> Measured {
    Measured {
        gigabits: rate * 8.0 / 1e9,
        cpu_seconds: cpu.as_secs_f64() / (bytes / 1e9),
        cpu_micros: cpu.as_secs_f64() * 1e6 / frames as f64,
    }
}

#[test]
#[ignore = "measures"]
#[expect(clippy::print_stdout, reason = "a measurement is printed")]
fn beside_a_bare_loop() {
    let ways: [(&str, &dyn Fn() -> Measured); 3] = [
        ("bare loop", &through_a_bare_loop),
        ("middlebox, 0 ms", &|| through_a_middlebox(&["--delay", "0ms"])),
        ("middlebox, 10..40 ms", &|| through_a_middlebox(&[])),
    ];
    let mut rows = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for ((_, way), row) in ways.iter().zip(&mut rows) {
            row.push(way());
        }
    }
    let columns: [(&str, Column); 3] = [
        ("Gb/s", |measured| measured.gigabits),
        ("CPU-seconds per GB", |measured| measured.cpu_seconds),
        ("CPU-us per frame", |measured| measured.cpu_micros),
    ];
    let heads = columns.map(|(name, _)| format!("{name:>24}")).concat();
    println!("{:22}{heads}", "medians (least..most)");
    for ((name, _), row) in ways.iter().zip(rows) {
        let cells = columns.map(|(_, column)| format!("{:>24}", spread(row.iter().map(column).collect())));
        println!("{name:22}{}", cells.concat());
    }
}

fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    format!("{:.3} ({:.3}..{:.3})", values[values.len() / 2], values[0], values[values.len() - 1])
}
