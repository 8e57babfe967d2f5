//! Figure 3.2: one connection, packet by packet, to servers that are busy and not saturated.

use core::time::Duration;

use super::contestant::{self, Contestant, Copying};
use super::record::{Axis, Curve, Drawn, Origin, Panel, Point};
use super::trace::{self, Look, Trace};
use super::{Figure, Ground, Problem, Run};

const OBJECT: &str = "object.bin";
const OBJECT_BYTES: usize = 64_000;
const CLIENTS: usize = 40;
const THINK: Duration = Duration::from_millis(4);

pub(super) const TRACES: Figure = Figure {
    id: "3.2",
    title: "Packet traces of one connection to a busy, unsaturated server",
    section: "§3.1.2",
    found: "A batched, conventional stack adds to the round trip even while the CPU is nearly idle; Sandstorm answers at once.",
    seconds: (10, 20),
    ground: Ground::Namespaces,
    run: traces,
};

fn traces(run: &mut Run<'_>) -> Result<(), Problem> {
    let object = contestant::file(&format!("web/{OBJECT}"), &vec![b'x'; OBJECT_BYTES])?;
    let directory = object.parent().unwrap_or(&object);
    let contestants =
        [Contestant::sandstorm(run, directory, Copying::Default), Contestant::nginx(run, directory)];
    let contestants = contestant::present(run, contestants)?;
    let capture = contestant::file("capture.pcap", &[])?;
    let mut curves = Vec::new();
    for (index, contestant) in contestants.iter().enumerate() {
        run.step(contestant.name)?;
        let served = contestant.start(run, &[trace::PROBE.into()])?;
        let Some(client) = served.client() else { continue };
        let traced = trace::look(&Look {
            client,
            server: contestant.address,
            path: &format!("/{OBJECT}"),
            clients: CLIENTS,
            think: THINK,
            probes: run.either(5, 101),
            file: &capture,
        })
        .map_err(|why| Problem::Experiment(format!("{}: {why}", contestant.name)))?;
        run.remark(&format!(
            "{}: {:.0} requests/s from {CLIENTS} other clients, its core {:.0} % busy.",
            contestant.name,
            traced.requests_per_s,
            traced.busy * 100.0
        ));
        curves.extend(drawn(&traced, contestant.name, index));
    }
    run.panel(Panel {
        title: format!(
            "The connection of median length, {} KB, at the client's end of a veth pair",
            OBJECT_BYTES / 1_000
        ),
        x: Axis::linear("time since the client's SYN (µs)"),
        y: Axis::linear("bytes of the response"),
        curves,
        ..Panel::default()
    });
    Ok(())
}

fn drawn(trace: &Trace, name: &str, colour: usize) -> Vec<Curve> {
    let one = |what: &str, drawn, points| Curve {
        name: format!("{name}: {what}"),
        origin: Origin::Measured,
        drawn,
        colour: Some(colour),
        points,
    };
    let exact = |points: &[(f64, f64)]| points.iter().map(|&(x, y)| Point::exact(x, y)).collect();
    let packets = trace.data.iter().map(|&(x, least, most)| Point { x, y: most, least, most }).collect();
    vec![
        one("packets", Drawn::Spans, packets),
        one("acknowledged", Drawn::Steps, exact(&trace.acknowledged)),
        one("SYN to FIN", Drawn::Marks, exact(&trace.marks)),
    ]
}
