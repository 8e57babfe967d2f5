//! Throughput on a path that loses packets: ours and the kernel's TCP.

use core::time::Duration;

use super::contestant::{self, Contestant, Reading};
use super::load::{Load, Score};
use super::record::{Axis, Curve, Drawn, Origin, Panel, Point};
use super::video::CHUNK_BYTES;
use super::{Figure, Ground, Problem, Run};
use crate::ground::Middlebox;
use crate::load::choice::Mix;

/// As many as the dissertation had.
const CLIENTS: usize = 80;
const OBJECTS: u64 = 32;
const REPETITIONS: usize = 5;
/// Lost each way, in percent.
const SHARES: [f64; 5] = [0.1, 0.3, 1.0, 3.0, 5.0];
const QUICK_SHARES: [f64; 2] = [0.1, 1.0];

pub(super) const LOSS: Figure = Figure {
    id: "loss",
    title: "Throughput of 80 clients by the share of packets that are lost",
    section: "§3.3.2",
    found: "With one packet in a hundred lost FreeBSD gives 640 Mb/s and Sandstorm a quarter less, for its retransmit timer is \
            coarse and it has Reno.",
    seconds: (70, 250),
    ground: Ground::Namespaces,
    run: loss,
};

fn loss(run: &mut Run<'_>) -> Result<(), Problem> {
    run.step("files")?;
    let name = |number: u64| format!("chunk-{number:02}.bin");
    for number in 0..OBJECTS {
        contestant::file(&format!("loss/{}", name(number)), &vec![b'l'; CHUNK_BYTES])?;
    }
    let directory = contestant::place("loss")?;
    let atlas = Contestant::atlas(run, &directory).map(|atlas| {
        let command = format!("{} --congestion newreno", atlas.command);
        Contestant { command, ..atlas }
    });
    let contestants = [atlas, Contestant::video_nginx(run, &directory, Reading::Cached)];
    let contestants = contestant::present(run, contestants)?;
    let shares: &[f64] = run.either(&QUICK_SHARES, &SHARES);
    let time = run.either(Duration::from_secs(2), Duration::from_secs(4));
    let mut scores: Vec<Vec<Vec<Score>>> = vec![vec![Vec::new(); shares.len()]; contestants.len()];
    for repetition in 1..=REPETITIONS {
        for (at, share) in shares.iter().enumerate() {
            // Another path each time, the same for both.
            let command = contestant::middlebox(run, &format!("--loss {share}% --seed {repetition}"))?;
            let middlebox = Middlebox { command: &command, both_ways: true };
            for (contestant, scores) in contestants.iter().zip(&mut scores) {
                run.step(&format!("{}, {share} %, {repetition} of {REPETITIONS}", contestant.name))?;
                let served = contestant.start_behind(run, middlebox)?;
                let load = Load {
                    objects: (0..OBJECTS).map(|number| (name(number), CHUNK_BYTES as u64)).collect(),
                    mix: Mix::Uniform,
                    connections: CLIENTS,
                    short: false,
                    secure: false,
                    time,
                };
                scores[at].push(load.measure(run, &served, contestant)?);
            }
        }
    }
    let curve = |(contestant, scores): (&Contestant, &Vec<Vec<Score>>)| Curve {
        name: contestant.name.to_owned(),
        origin: Origin::Measured,
        drawn: Drawn::Line,
        colour: None,
        points: shares
            .iter()
            .zip(scores)
            .filter_map(|(share, scores)| {
                Point::of(*share, &scores.iter().map(|score| score.gbit_per_s * 1e3).collect::<Vec<_>>())
            })
            .collect(),
    };
    run.panel(Panel {
        title: "Throughput, 300 KB objects over 80 persistent connections".into(),
        x: Axis::log10("% of packets lost, each way"),
        y: Axis::log10("Mb/s"),
        curves: contestants.iter().zip(&scores).map(curve).collect(),
        ..Panel::default()
    });
    run.remark(
        "The loss is random, of packets of one MSS, in both directions; round trips are 10 to 40 ms, and both ends have \
         NewReno and SACK (the kernel's reno), for a namespace may choose no other but BBR on many machines. Clients are the kernel's TCP. Neither server nor path is near its limit.",
    );
    Ok(())
}
