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
const WARM_UP: Duration = Duration::from_millis(700);
const MEASURED: Duration = Duration::from_millis(1_500);

/// What one measurement gave.
#[derive(Clone, Copy, Debug)]
struct Measured {
    gigabits: f64,
    /// Of the forwarder, per gigabyte that arrived.
    cpu_seconds: f64,
}

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
        measured(rate, bytes, forwarder.join().expect("it does not panic"))
    })
}

fn through_a_middlebox(arguments: &[&str]) -> Measured {
    let world = World::new();
    let middlebox = world.middlebox(arguments);
    let (rate, bytes) = load(&world);
    measured(rate, bytes, middlebox.cpu())
}

fn measured(rate: f64, bytes: f64, cpu: Duration) -> Measured {
    Measured { gigabits: rate * 8.0 / 1e9, cpu_seconds: cpu.as_secs_f64() / (bytes / 1e9) }
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
    println!("{:22} {:>24} {:>24}", "medians (least..most)", "Gb/s", "CPU-seconds per GB");
    for ((name, _), row) in ways.iter().zip(rows) {
        let rate = spread(row.iter().map(|measured| measured.gigabits).collect());
        let cpu = spread(row.iter().map(|measured| measured.cpu_seconds).collect());
        println!("{name:22} {rate:>24} {cpu:>24}");
    }
}

fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    format!("{:.3} ({:.3}..{:.3})", values[values.len() / 2], values[0], values[values.len() - 1])
}
