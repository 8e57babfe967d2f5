//! Figures of short connections: what a server gives by the size of what is asked for.

use core::time::Duration;

use super::contestant::{self, Contestant, Copying};
use super::load::{Load, Score};
use super::record::{Axis, Curve, Drawn, Origin, Panel, Point};
use super::{Figure, Ground, Problem, Run};
use crate::load::choice::{Mix, cdn_size};

/// Sizes that are asked for, in KB.
const SIZES_KB: [u64; 10] = [1, 4, 8, 16, 24, 32, 64, 128, 256, 512];
const QUICK_KB: [u64; 3] = [1, 24, 256];
/// Objects of one size: enough that nobody serves one from a register, few enough to be hot.
const OBJECTS: u64 = 64;
/// Files of the CDN's trace.
const CDN_OBJECTS: u32 = 1_000;
const REPETITIONS: usize = 5;
const ONE_LINK: &str = "One link, a veth pair, instead of up to six NICs of 10 Gb/s; the server has one core and the clients the \
    other. Clients are our own TCP by active open, over a packet socket.";

pub(super) const SHORT_FLOWS: Figure = Figure {
    id: "2.7",
    title: "The conventional stack by file size, a connection for each request",
    section: "§2.3.1.1",
    found: "From 24 KB on the link is full; below, connections cost so much that the CPU is, at a fraction of the throughput.",
    seconds: (20, 90),
    ground: Ground::Namespaces,
    run: |run| {
        let directory = objects(run)?;
        let contestants = [Contestant::nginx(run, &directory)];
        let contestants = contestant::present(run, contestants)?;
        by_size(run, &contestants)
    },
};

pub(super) const SIZES: Figure = Figure {
    id: "3.4",
    title: "Sandstorm and nginx by file size, a connection for each request",
    section: "§3.3.2",
    found: "Sandstorm gives 2 to 10 times nginx's throughput for small files, and needs less of the CPU at every size.",
    seconds: (40, 180),
    ground: Ground::Namespaces,
    run: |run| {
        let directory = objects(run)?;
        let contestants =
            [Contestant::sandstorm(run, &directory, Copying::Default), Contestant::nginx(run, &directory)];
        let contestants = contestant::present(run, contestants)?;
        by_size(run, &contestants)
    },
};

pub(super) const VARIANTS: Figure = Figure {
    id: "3.6",
    title: "Sandstorm's variants by file size: replicas, copies, shared memory",
    section: "§3.3.2",
    found: "A memcpy costs little where DDIO is; replicas have headroom below 32 KB.",
    seconds: (60, 240),
    ground: Ground::Namespaces,
    run: |run| {
        let directory = objects(run)?;
        let contestants = [
            Contestant::sandstorm(run, &directory, Copying::Gather)?,
            Contestant::sandstorm(run, &directory, Copying::Mem)?,
            Contestant::sandstorm(run, &directory, Copying::Pre)?,
        ];
        run.remark("System calls per second are not shown: AF_XDP's are wake-ups, and busy loops make none.");
        by_size(run, &contestants)
    },
};

pub(super) const OLD_HARDWARE: Figure = Figure {
    id: "3.7",
    title: "A file of 23 KB: replicas, copies, shared memory, and nginx",
    section: "§3.3.2",
    found: "On servers of 2006 a copy costs Sandstorm 30 %, and replicas give three times nginx's throughput.",
    seconds: (25, 60),
    ground: Ground::Namespaces,
    run: old_hardware,
};

pub(super) const CDN: Figure = Figure {
    id: "3.5",
    title: "A CDN's mix of objects",
    section: "§3.3.2",
    found: "More than twice the throughput of nginx, with less CPU.",
    seconds: (20, 60),
    ground: Ground::Namespaces,
    run: cdn,
};

/// Makes the files of all sizes.
fn objects(run: &mut Run<'_>) -> Result<std::path::PathBuf, Problem> {
    run.step("files")?;
    for kb in sizes(run) {
        for number in 0..OBJECTS {
            let content = vec![b'a' + (number % 26) as u8; usize::try_from(kb * 1_024).unwrap_or(0)];
            contestant::file(&format!("web/{}", name(*kb, number)), &content)?;
        }
    }
    contestant::place("web")
}

fn sizes(run: &Run<'_>) -> &'static [u64] {
    run.either(&QUICK_KB, &SIZES_KB)
}

fn name(kb: u64, number: u64) -> String {
    format!("{kb}k-{number:02}.bin")
}

/// Connections at once: as many as a device's backlog takes the windows of.
fn at_once(kb: u64) -> usize {
    match kb {
        0..=8 => 100,
        9..=32 => 32,
        _ => 16,
    }
}

fn by_size(run: &mut Run<'_>, contestants: &[Contestant]) -> Result<(), Problem> {
    if contestants.is_empty() {
        return Ok(());
    }
    let sizes = sizes(run);
    let time = run.either(Duration::from_millis(400), Duration::from_secs(1));
    let mut scores: Vec<Vec<Vec<Score>>> = vec![vec![Vec::new(); sizes.len()]; contestants.len()];
    // All take turns within a repetition: whatever disturbs the machine disturbs all.
    for repetition in 1..=REPETITIONS {
        for (contestant, scores) in contestants.iter().zip(&mut scores) {
            run.step(&format!("{}, {repetition} of {REPETITIONS}", contestant.name))?;
            let served = contestant.start(run, &[])?;
            for (kb, scores) in sizes.iter().zip(scores) {
                let load = Load {
                    objects: (0..OBJECTS).map(|number| (name(*kb, number), kb * 1_024)).collect(),
                    mix: Mix::Sequential,
                    connections: at_once(*kb),
                    short: true,
                    secure: false,
                    time,
                };
                scores.push(load.measure(run, &served, contestant)?);
            }
        }
    }
    let curves = |what: fn(&Score) -> f64| {
        let curves = contestants.iter().zip(&scores).map(|(contestant, scores)| Curve {
            name: contestant.name.to_owned(),
            origin: Origin::Measured,
            drawn: Drawn::Line,
            colour: None,
            points: sizes.iter().zip(scores).filter_map(|(kb, scores)| point(*kb, scores, what)).collect(),
        });
        curves.collect::<Vec<_>>()
    };
    let panels: [(&str, &str, &str, Vec<Curve>); 4] = [
        ("a", "Throughput", "Gb/s", curves(|score| score.gbit_per_s)),
        ("b", "Busy share of the server's core, softirq included", "%", curves(|score| score.core * 100.0)),
        (
            "c",
            "Connections a second for each busy server core",
            "connections/s",
            curves(|score| score.requests_per_s / score.core.max(0.01)),
        ),
        (
            "d",
            "CPU of the whole machine, clients included",
            "µs per request",
            curves(|score| score.cpu_us_per_request),
        ),
    ];
    for (letter, title, unit, curves) in panels {
        run.panel(Panel {
            letter: letter.into(),
            title: title.into(),
            x: Axis::log2("KB asked for on each connection"),
            y: Axis::linear(unit),
            curves,
        });
    }
    run.remark(ONE_LINK);
    if contestants.iter().any(|contestant| contestant.afxdp) {
        run.remark(contestant::WHO_RECEIVES);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "kilobytes")]
fn point(kb: u64, scores: &[Score], what: fn(&Score) -> f64) -> Option<Point> {
    Point::of(kb as f64, &scores.iter().map(what).collect::<Vec<_>>())
}

type What = fn(&Score) -> f64;

/// One load on all, in turn, and a bar for each.
fn bars(run: &mut Run<'_>, contestants: &[Contestant], load: &Load) -> Result<(), Problem> {
    let mut scores: Vec<Vec<Score>> = vec![Vec::new(); contestants.len()];
    for repetition in 1..=REPETITIONS {
        for (contestant, scores) in contestants.iter().zip(&mut scores) {
            run.step(&format!("{}, {repetition} of {REPETITIONS}", contestant.name))?;
            let served = contestant.start(run, &[])?;
            scores.push(load.measure(run, &served, contestant)?);
        }
    }
    let panels: [(&str, &str, What); 2] = [
        ("a", "Throughput", |score| score.gbit_per_s),
        ("b", "Throughput for each busy server core", |score| score.gbit_per_s / score.core.max(0.01)),
    ];
    for (letter, title, what) in panels {
        let points = scores.iter().zip(0_u64..).filter_map(|(scores, at)| point(at, scores, what));
        let curve = Curve {
            name: "one core".into(),
            origin: Origin::Measured,
            drawn: Drawn::Line,
            colour: None,
            points: points.collect(),
        };
        run.panel(Panel {
            letter: letter.into(),
            title: title.into(),
            x: Axis::names("", contestants.iter().map(|contestant| contestant.name)),
            y: Axis::linear("Gb/s"),
            curves: vec![curve],
        });
    }
    Ok(())
}

fn old_hardware(run: &mut Run<'_>) -> Result<(), Problem> {
    const KB: u64 = 23;
    run.step("files")?;
    let objects: Vec<_> = (0..OBJECTS).map(|number| (name(KB, number), KB * 1_024)).collect();
    for (name, bytes) in &objects {
        contestant::file(&format!("old/{name}"), &vec![b'o'; usize::try_from(*bytes).unwrap_or(0)])?;
    }
    let directory = contestant::place("old")?;
    let contestants = [
        Contestant::sandstorm(run, &directory, Copying::Pre),
        Contestant::sandstorm(run, &directory, Copying::Mem),
        Contestant::sandstorm(run, &directory, Copying::Gather),
        Contestant::nginx(run, &directory),
    ];
    let contestants = contestant::present(run, contestants)?;
    let time = run.either(Duration::from_millis(500), Duration::from_secs(2));
    let load =
        Load { objects, mix: Mix::Sequential, connections: at_once(KB), short: true, secure: false, time };
    bars(run, &contestants, &load)?;
    run.remark(
        "The dissertation's servers of 2006 have no DDIO, and memory is their limit: no machine of today has that to offer, and none \
         was made up. The same comparison on this machine shows what a copy costs where the cache takes it.",
    );
    run.remark(ONE_LINK);
    run.remark(contestant::WHO_RECEIVES);
    Ok(())
}

fn cdn(run: &mut Run<'_>) -> Result<(), Problem> {
    run.step("files")?;
    let mut objects = Vec::new();
    for number in 0..CDN_OBJECTS {
        let share = (f64::from(number) + 0.5) / f64::from(CDN_OBJECTS);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 300 bytes and 20 MB"
        )]
        let bytes = cdn_size(share) as u64;
        let name = format!("{number:04}.bin");
        contestant::file(&format!("cdn/{name}"), &vec![b'c'; usize::try_from(bytes).unwrap_or(0)])?;
        objects.push((name, bytes));
    }
    let directory = contestant::place("cdn")?;
    let contestants =
        [Contestant::sandstorm(run, &directory, Copying::Default), Contestant::nginx(run, &directory)];
    let contestants = contestant::present(run, contestants)?;
    let time = run.either(Duration::from_millis(500), Duration::from_secs(3));
    let load = Load { objects, mix: Mix::Cdn, connections: 32, short: true, secure: false, time };
    bars(run, &contestants, &load)?;
    run.remark(ONE_LINK);
    run.remark(contestant::WHO_RECEIVES);
    run.remark(
        "1,000 files of 300 bytes to 20 MB, nine requests in ten for less than 25 KB, in random order.",
    );
    Ok(())
}
