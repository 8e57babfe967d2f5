//! Figure 2.5: what the cipher does, in place and out of place, in the cache and beyond it, by cores.

use aead::AwsLc;
use core::hint::black_box;
use core::time::Duration;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;
use tls::{Aead as _, Suite, TAG_BYTES};

use super::record::{Axis, Curve, Drawn, Origin, Panel, Point};
use super::{Figure, Ground, Problem, Run};

/// A TLS record.
const RECORD_BYTES: usize = 16_384;
/// Buffers of one core that fit the cache, and buffers that do not.
const IN_CACHE_BYTES: usize = 256 << 10;
const BEYOND_BYTES: usize = 192 << 20;
const REPETITIONS: usize = 5;

pub(super) const BULK: Figure = Figure {
    id: "2.5",
    title: "AES-128-GCM: in place and out of place, in the cache and in memory, by cores",
    section: "§2.2.3",
    found: "25.5 Gb/s a core in the cache; from memory in place loses 8 %, out of place a third with all cores.",
    seconds: (20, 90),
    ground: Ground::Nothing,
    run: bulk,
};

#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    in_place: bool,
    bytes: usize,
}

const WAYS: [Way; 4] = [
    Way { name: "in place, cache", in_place: true, bytes: IN_CACHE_BYTES },
    Way { name: "out of place, cache", in_place: false, bytes: IN_CACHE_BYTES },
    Way { name: "in place, memory", in_place: true, bytes: BEYOND_BYTES },
    Way { name: "out of place, memory", in_place: false, bytes: BEYOND_BYTES },
];

fn bulk(run: &mut Run<'_>) -> Result<(), Problem> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let time = run.either(Duration::from_millis(200), Duration::from_secs(1));
    let counts: Vec<usize> = (1..=cores).filter(|count| count.is_power_of_two() || *count == cores).collect();
    let mut curves: Vec<Curve> = WAYS
        .iter()
        .map(|way| Curve {
            name: way.name.to_owned(),
            origin: Origin::Measured,
            drawn: Drawn::Line,
            colour: None,
            points: Vec::new(),
        })
        .collect();
    for &count in &counts {
        let mut values = [const { Vec::new() }; WAYS.len()];
        for repetition in 1..=REPETITIONS {
            run.step(&format!("{count} of {cores} cores, {repetition} of {REPETITIONS}"))?;
            // One after the other within a repetition: whatever disturbs the machine disturbs all four.
            for (way, values) in WAYS.iter().zip(&mut values) {
                values.push(seal(*way, count, time));
            }
        }
        for (curve, values) in curves.iter_mut().zip(&values) {
            #[expect(clippy::cast_precision_loss, reason = "cores")]
            curve.points.extend(Point::of(count as f64, values));
        }
    }
    run.panel(Panel {
        letter: "a".into(),
        title: "Records of 16 KiB, all cores together".into(),
        x: Axis::linear("cores"),
        y: Axis::linear("Gb/s"),
        curves,
    });
    run.remark(
        "2.5b, memory read while encrypting, wants memory counters; by the model of the cache each byte from memory is \
         read once in place and twice out of place, as the dissertation measured.",
    );
    Ok(())
}

/// Gb/s of `count` cores together.
fn seal(way: Way, count: usize, time: Duration) -> f64 {
    let barrier = Barrier::new(count);
    let bytes: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|core| {
                let barrier = &barrier;
                scope.spawn(move || {
                    testbed::cpu::pin(core);
                    seal_one(way, barrier, time)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread that only seals")).sum()
    });
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let rate = bytes as f64 * 8.0 / time.as_secs_f64() / 1e9;
    rate
}

/// Bytes that one core sealed in `time`.
fn seal_one(way: Way, barrier: &Barrier, time: Duration) -> u64 {
    let key = AwsLc::key(Suite::Aes128Gcm, &[7; 16]);
    let mut source = vec![1_u8; way.bytes];
    let mut target = if way.in_place { Vec::new() } else { vec![1_u8; way.bytes] };
    let (mut tag, mut sealed) = ([0_u8; TAG_BYTES], 0_u64);
    let mut seal = |at: usize| {
        let mut nonce = [0_u8; 12];
        nonce[..8].copy_from_slice(&sealed.to_le_bytes());
        let record = &mut source[at..at + RECORD_BYTES];
        if way.in_place {
            AwsLc::seal(&key, &nonce, &[], record, &[], &mut tag);
        } else {
            let out = &mut target[at..at + RECORD_BYTES];
            AwsLc::seal_separate(&key, &nonce, &[], record, out, &[], &mut tag);
        }
        black_box(&tag);
        sealed += RECORD_BYTES as u64;
        sealed
    };
    let places = || (0..way.bytes).step_by(RECORD_BYTES);
    // Every page is there, and the cache is as it will be.
    let before = places().map(&mut seal).last().unwrap_or(0);
    barrier.wait();
    let until = Instant::now() + time;
    let after = places().cycle().map(&mut seal).find(|_| Instant::now() >= until);
    after.unwrap_or(before) - before
}
