//! Figures of video: 300 KB chunks over persistent connections, from disk and from the buffer cache, plain and sealed.

use core::time::Duration;
use std::fs;
use std::path::Path;

use super::contestant::{self, Contestant, Reading};
use super::load::{Load, Score};
use super::record::{Axis, Curve, Drawn, Origin, Panel, Point};
use super::scratch::Scratch;
use super::{Figure, Ground, Problem, Run};
use crate::ground::Middlebox;
use crate::load::choice::Mix;

/// A chunk of the dissertation's (§4.2.2).
pub(super) const CHUNK_BYTES: usize = 300 << 10;
/// Enough that a disk's own cache does not help much, and little enough to be made in seconds: 600 MB.
const CHUNKS: u64 = 2_000;
/// Of them, those that the buffer cache is to hold.
const HOT: u64 = 100;
const REPETITIONS: usize = 5;
const COUNTS: [usize; 6] = [1, 10, 100, 1_000, 4_000, 16_000];
const QUICK_COUNTS: [usize; 2] = [10, 200];
const GROUND: &str = "One core for the server and one for the clients over a veth pair, instead of eight cores, four NVMe drives and \
    two 40 Gb/s NICs; the disk is a file system on this machine's disk, read with O_DIRECT. The conventional stack is \
    nginx on Linux: sendfile where content is cached, threads and directio where it is not.";

pub(super) const HIT_RATIO: Figure = Figure {
    id: "2.8",
    title: "nginx by the share of content that the buffer cache holds",
    section: "§2.3.1.2",
    found: "Throughput falls and CPU rises as soon as content comes from disk: reclaiming pages, not the disk, is the limit.",
    seconds: (60, 120),
    ground: Ground::Namespaces,
    run: hit_ratio,
};

pub(super) const STOCK_PLAIN: Figure = Figure {
    id: "4.1",
    title: "The conventional stack, plain, by connections: cached and from disk",
    section: "§4.2.2",
    found: "From the buffer cache all are alike; from disk the stock stack halves.",
    seconds: (60, 240),
    ground: Ground::Namespaces,
    run: |run| by_connections(run, false, false),
};

pub(super) const STOCK_SEALED: Figure = Figure {
    id: "4.2",
    title: "The conventional stack, encrypted, by connections: cached and from disk",
    section: "§4.2.2",
    found: "Encryption costs the stack a third of its throughput from disk, and saturates all cores.",
    seconds: (60, 240),
    ground: Ground::Namespaces,
    run: |run| by_connections(run, true, false),
};

pub(super) const PLAIN: Figure = Figure {
    id: "4.12",
    title: "Atlas and the conventional stack, plain, by connections",
    section: "§4.4.1",
    found: "Atlas serves from disk what Netflix serves from memory, with half of the cores.",
    seconds: (90, 360),
    ground: Ground::Namespaces,
    run: |run| by_connections(run, false, true),
};

pub(super) const SEALED: Figure = Figure {
    id: "4.14",
    title: "Atlas and the conventional stack, encrypted, by connections",
    section: "§4.4.2",
    found: "72 Gb/s on four cores, half as much again as Netflix on eight.",
    seconds: (90, 360),
    ground: Ground::Namespaces,
    run: |run| by_connections(run, true, true),
};

/// The chunks, on a disk; gone when this is.
struct Chunks {
    scratch: Scratch,
}

impl Chunks {
    fn make(run: &mut Run<'_>) -> Result<Self, Problem> {
        run.step("600 MB of chunks")?;
        let chunks = Self { scratch: Scratch::new(run.out)? };
        let failed = |error| Problem::File(chunks.directory().to_owned(), error);
        fs::create_dir(chunks.directory().join("hot")).map_err(failed)?;
        for (path, bytes) in chunks.objects(0..CHUNKS).iter().chain(&hot()) {
            let content = vec![b'v'; usize::try_from(*bytes).unwrap_or(0)];
            fs::write(chunks.directory().join(path), content).map_err(failed)?;
        }
        run.step("600 MB to the disk")?;
        // What is dirty cannot be read past the cache.
        rustix::fs::sync();
        Ok(chunks)
    }

    fn directory(&self) -> &Path {
        self.scratch.path()
    }

    #[expect(clippy::unused_self, reason = "they exist")]
    fn objects(&self, numbers: core::ops::Range<u64>) -> Vec<(String, u64)> {
        numbers.map(|number| (format!("{number:04}.bin"), CHUNK_BYTES as u64)).collect()
    }
}

/// Those that are read through the buffer cache.
fn hot() -> Vec<(String, u64)> {
    (0..HOT).map(|number| (format!("hot/{number:04}.bin"), CHUNK_BYTES as u64)).collect()
}

/// A server, and what is asked of it.
struct Line {
    contestant: Contestant,
    name: &'static str,
    objects: Vec<(String, u64)>,
}

fn by_connections(run: &mut Run<'_>, secure: bool, ours: bool) -> Result<(), Problem> {
    let chunks = Chunks::make(run)?;
    let directory = chunks.directory();
    let (cold, hot) = (chunks.objects(0..CHUNKS), hot());
    let mut lines = Vec::new();
    if ours {
        let contestant = Contestant::atlas(run, directory)?;
        lines.push(Line { contestant, name: "Atlas, disk", objects: cold.clone() });
    }
    for (reading, name, objects) in
        [(Reading::Direct, "nginx, disk", cold), (Reading::Cached, "nginx, cached", hot)]
    {
        let made = Contestant::video_nginx(run, directory, reading);
        let contestant = contestant::perhaps(run, made)?;
        lines.extend(contestant.map(|contestant| Line { contestant, name, objects }));
    }
    if lines.is_empty() {
        return Ok(());
    }
    let path = contestant::middlebox(run, "")?;
    let middlebox = Middlebox { command: &path, both_ways: false };
    let counts: &[usize] = run.either(&QUICK_COUNTS, &COUNTS);
    let time = run.either(Duration::from_millis(500), Duration::from_secs(2));
    let mut scores: Vec<Vec<Vec<Score>>> = vec![vec![Vec::new(); counts.len()]; lines.len()];
    for repetition in 1..=REPETITIONS {
        for (line, scores) in lines.iter().zip(&mut scores) {
            let served = line.contestant.start_behind(run, middlebox)?;
            for (count, scores) in counts.iter().zip(scores) {
                run.step(&format!("{}, {count} connections, {repetition} of {REPETITIONS}", line.name))?;
                let load = Load {
                    objects: line.objects.clone(),
                    mix: Mix::Uniform,
                    connections: *count,
                    short: false,
                    secure,
                    time: window(time, *count),
                };
                scores.push(load.measure(run, &served, &line.contestant)?);
            }
        }
    }
    let curves = |what: fn(&Score) -> f64| {
        let curves = lines.iter().zip(&scores).map(|(line, scores)| Curve {
            name: line.name.to_owned(),
            origin: Origin::Measured,
            drawn: Drawn::Line,
            colour: None,
            points: counts
                .iter()
                .zip(scores)
                .filter_map(|(count, scores)| point(*count, scores, what))
                .filter(|point| point.y.is_finite())
                .collect(),
        });
        curves.collect::<Vec<_>>()
    };
    let panels: [(&str, &str, &str, Vec<Curve>); 4] = [
        ("a", "Throughput", "Gb/s", curves(|score| score.gbit_per_s)),
        ("b", "Busy share of the server's core, softirq included", "%", curves(|score| score.core * 100.0)),
        (
            "c",
            "Throughput for each busy server core",
            "Gb/s",
            curves(|score| score.gbit_per_s / score.core.max(0.01)),
        ),
        (
            "d",
            "CPU of the whole machine, clients included",
            "CPU seconds per GB",
            curves(|score| score.cpu_s_per_gb),
        ),
    ];
    for (letter, title, unit, curves) in panels {
        run.panel(Panel {
            letter: letter.into(),
            title: title.into(),
            x: Axis::log2("connections at once"),
            y: Axis::linear(unit),
            curves,
        });
    }
    run.remark(GROUND);
    run.remark(
        "Reno is the kernel's congestion control. As in figure 4.11 what clients send is delayed by 10 to 40 ms, constant for each connection, and what the server \
         sends comes straight. The middlebox shares the clients' core.",
    );
    if ours {
        match crate::uncore::Memory::open() {
            Ok(memory) => {
                let names = memory.names().join(", ");
                for (letter, title, curves) in [
                    (
                        "e",
                        "Read from memory",
                        curves(|score| score.memory.map_or(f64::NAN, |memory| memory.read)),
                    ),
                    (
                        "f",
                        "Written to memory",
                        curves(|score| score.memory.map_or(f64::NAN, |memory| memory.written)),
                    ),
                ] {
                    run.panel(Panel {
                        letter: letter.into(),
                        title: title.into(),
                        x: Axis::log2("connections at once"),
                        y: Axis::linear("bytes per byte sent, of the whole machine"),
                        curves,
                    });
                }
                run.remark(&format!("Memory traffic is that of the memory controllers' counters ({names})."));
            }
            Err(lack) => run.remark(&format!("Memory traffic: {lack}: figure 4.12e here is the model's.")),
        }
    }
    Ok(())
}

/// Long enough for each connection to get some of a chunk from a slow server.
fn window(least: Duration, connections: usize) -> Duration {
    least + Duration::from_micros(500) * u32::try_from(connections).unwrap_or(u32::MAX)
}

fn hit_ratio(run: &mut Run<'_>) -> Result<(), Problem> {
    let chunks = Chunks::make(run)?;
    let contestant = Contestant::video_nginx(run, chunks.directory(), Reading::Both)?;
    let shares: &[u64] = run.either(&[0, 50, 100], &[0, 20, 40, 60, 80, 100]);
    let time = run.either(Duration::from_millis(500), Duration::from_secs(2));
    let hot = hot();
    let mut scores: Vec<Vec<Score>> = vec![Vec::new(); shares.len()];
    for repetition in 1..=REPETITIONS {
        let served = contestant.start(run, &[])?;
        for (share, scores) in shares.iter().zip(&mut scores) {
            run.step(&format!("{share} % cached, {repetition} of {REPETITIONS}"))?;
            // As many of each as their share: hot ones come again and again, the others are never cached.
            let cold = (CHUNKS * (100 - share) / 100).max(u64::from(*share < 100));
            let mut objects = chunks.objects(0..cold);
            objects
                .extend(hot.iter().cycle().take(usize::try_from(CHUNKS * share / 100).unwrap_or(0)).cloned());
            let load =
                Load { objects, mix: Mix::Uniform, connections: 100, short: false, secure: false, time };
            scores.push(load.measure(run, &served, &contestant)?);
        }
    }
    let curve = |what: fn(&Score) -> f64| {
        let points = shares.iter().zip(&scores);
        let points = points.filter_map(|(share, scores)| point(usize::try_from(*share).ok()?, scores, what));
        vec![Curve {
            name: "nginx".into(),
            origin: Origin::Measured,
            drawn: Drawn::Line,
            colour: None,
            points: points.collect(),
        }]
    };
    let panels: [(&str, &str, &str, Vec<Curve>); 2] = [
        ("a", "Throughput, 100 connections", "Gb/s", curve(|score| score.gbit_per_s)),
        ("b", "Busy share of the server's core, softirq included", "%", curve(|score| score.core * 100.0)),
    ];
    for (letter, title, unit, curves) in panels {
        run.panel(Panel {
            letter: letter.into(),
            title: title.into(),
            x: Axis::linear("% of requests that the buffer cache answers"),
            y: Axis::linear(unit),
            curves,
        });
    }
    run.remark(GROUND);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "connections")]
pub(super) fn point(at: usize, scores: &[Score], what: fn(&Score) -> f64) -> Option<Point> {
    Point::of(at as f64, &scores.iter().map(what).collect::<Vec<_>>())
}
