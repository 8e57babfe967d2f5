//! Figures 3.8a and 3.8b: an authoritative server by the size of its zone, and by what it may answer together.

use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::contestant::{self, CLIENT_CORE, Contestant};
use super::meter::Meter;
use super::record::{Axis, Curve, Drawn, Origin, Panel, Point};
use super::{Figure, Ground, Problem, Run};
use crate::device::{Device, DeviceName};
use crate::dns::message::Manner;
use crate::dns::result::{Kind, Tally};
use crate::dns::{names, run as dns};
use crate::ground::Served;
use crate::load::choice::{Chooser, Mix};

const NAMES: [u32; 5] = [1, 10, 100, 1_000, 10_000];
const QUICK_NAMES: [u32; 2] = [1, 10_000];
const REPETITIONS: usize = 5;
/// Where questions come from: an address that is no kernel's.
const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 18, 3, 1);
const PREFIX_LEN: u8 = 16;
/// Questions out at a time: fewer than the 256 that the queue of a veth device holds.
const OUT: u16 = 192;
/// From as many ports as there are questions, up to so many.
const PORTS_MAX: u16 = 16;
/// Figure 3.8b's.
const OUTS: [u16; 7] = [1, 2, 4, 16, 32, 64, 192];
const QUICK_OUTS: [u16; 3] = [1, 16, 192];
const BATCHES_NAMES: u32 = 1_000;
/// One question in so many may be lost: a busy machine drops some.
const LOST_SHARE: u64 = 1_000;
/// A thread runs, and its device is open, so long after it was asked for.
const STARTED: Duration = Duration::from_millis(100);

pub(super) const ZONES: Figure = Figure {
    id: "3.8",
    title: "Answers a second by the size of the zone",
    section: "§3.3.4",
    found: "Namestorm answers 9 to 13 times as many questions as NSD; both fall by a third from 1 name to 10,000.",
    seconds: (90, 240),
    ground: Ground::Namespaces,
    run: zones,
};

pub(super) const BATCHES: Figure = Figure {
    id: "3.8b",
    title: "Answers a second by the questions that may be answered together",
    section: "§3.3.4.1",
    found: "Batches of 32 more than double what one core answers; without any it still answers twice as many as NSD.",
    seconds: (90, 240),
    ground: Ground::Namespaces,
    run: batches,
};

/// What came of one run.
#[derive(Clone, Copy, Debug)]
struct Score {
    answers_per_s: f64,
    /// Of the whole machine, generator included.
    cpu_us: f64,
    /// Share of the server's core.
    core: f64,
}

type What = fn(&Score) -> f64;
type Scores = Vec<(&'static str, Vec<(f64, Vec<Score>)>)>;

/// Everybody at one place of a figure, in turn, so that whatever disturbs the machine disturbs all.
fn everybody_at(
    run: &mut Run<'_>,
    contestants: &[Contestant],
    (place, what): (f64, &str),
    (size, out): (u32, u16),
    all: &mut Scores,
) -> Result<(), Problem> {
    let time = run.either(Duration::from_millis(500), Duration::from_secs(2));
    let mut scores: Vec<Vec<Score>> = vec![Vec::new(); contestants.len()];
    for repetition in 1..=REPETITIONS {
        for (contestant, scores) in contestants.iter().zip(&mut scores) {
            run.step(&format!("{}, {what}, {repetition} of {REPETITIONS}", contestant.name))?;
            scores.push(ask(run, contestant, (size, out), time)?);
        }
    }
    for (contestant, scores) in contestants.iter().zip(scores) {
        match all.iter_mut().find(|(name, _)| *name == contestant.name) {
            Some((_, places)) => places.push((place, scores)),
            None => all.push((contestant.name, vec![(place, scores)])),
        }
    }
    Ok(())
}

fn curves(all: &Scores, what: What) -> Vec<Curve> {
    let curve = |(name, places): &(&'static str, Vec<(f64, Vec<Score>)>)| Curve {
        name: (*name).to_owned(),
        origin: Origin::Measured,
        drawn: Drawn::Line,
        colour: None,
        points: places
            .iter()
            .filter_map(|(place, scores)| Point::of(*place, &scores.iter().map(what).collect::<Vec<_>>()))
            .collect(),
    };
    all.iter().map(curve).collect()
}

/// A zone of so many names.
fn zone(size: u32) -> Result<PathBuf, Problem> {
    let mut zone = "$TTL 3600\n@ SOA ns host 1 3600 900 604800 300\n@ NS ns\nns A 192.0.2.1\n".to_owned();
    for number in 0..size {
        let [_, b, c, d] = number.to_be_bytes();
        let _ = writeln!(zone, "n{number} IN A 10.{b}.{c}.{d}");
    }
    contestant::file(&format!("zones/{size}"), zone.as_bytes())
}

fn zones(run: &mut Run<'_>) -> Result<(), Problem> {
    let sizes: &[u32] = run.either(&QUICK_NAMES, &NAMES);
    let mut all = Scores::new();
    for &size in sizes {
        let contestants = everybody(run, &zone(size)?)?;
        let place = (size.into(), &*format!("{size} names"));
        everybody_at(run, &contestants, place, (size, OUT), &mut all)?;
    }
    let panels: [(&str, &str, &str, What); 2] = [
        ("a", "Answers a second", "answers/s", |score| score.answers_per_s),
        ("b", "CPU of the whole machine, generator included", "µs per answer", |score| score.cpu_us),
    ];
    for (letter, title, unit, what) in panels {
        run.panel(Panel {
            letter: letter.into(),
            title: title.into(),
            x: Axis::log10("names in the zone"),
            y: Axis::linear(unit),
            curves: curves(&all, what),
        });
    }
    run.remark(ONE_LINK);
    run.remark(contestant::WHO_RECEIVES);
    Ok(())
}

fn batches(run: &mut Run<'_>) -> Result<(), Problem> {
    let outs: &[u16] = run.either(&QUICK_OUTS, &OUTS);
    let contestants = everybody(run, &zone(BATCHES_NAMES)?)?;
    let mut all = Scores::new();
    for &out in outs {
        let place = (out.into(), &*format!("{out} out"));
        everybody_at(run, &contestants, place, (BATCHES_NAMES, out), &mut all)?;
    }
    let panels: [(&str, &str, &str, What); 2] = [
        ("", "Answers a second, 1,000 names", "answers/s", |score| score.answers_per_s),
        ("2", "The server's core, for each answer", "µs", |score| score.core * 1e6 / score.answers_per_s),
    ];
    for (letter, title, unit, what) in panels {
        run.panel(Panel {
            letter: letter.into(),
            title: title.into(),
            x: Axis::log2("questions out at a time: the most that a batch can hold"),
            y: Axis::linear(unit),
            curves: curves(&all, what),
        });
    }
    run.remark(
        "The batch is bounded from outside, by the questions that are out at a time, so that all servers run as they are \
         deployed: with few of them out the round trip between two cores is measured as well. The server's own part by batch, over \
         a link in memory: cargo xtask bench namestorm.",
    );
    run.remark(ONE_LINK);
    run.remark(contestant::WHO_RECEIVES);
    Ok(())
}

const ONE_LINK: &str = "A veth pair instead of a 10 Gb/s NIC: copies, and not the servers, are the limit of AF_XDP here. The \
    generator is ours, over AF_XDP as well.";

fn everybody(run: &mut Run<'_>, zone: &Path) -> Result<Vec<Contestant>, Problem> {
    let all = [
        Contestant::namestorm(run, zone),
        Contestant::knot(run, zone, true),
        Contestant::knot(run, zone, false),
        Contestant::nsd(run, zone),
    ];
    contestant::present(run, all)
}

/// Until it answers: a server listens before it has its zone.
fn wait(served: &Served, contestant: &Contestant) -> Result<(), String> {
    const QUESTION: &[u8] = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x02ns\x07example\0\0\x01\0\x01";
    served.enter_client()?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|error| error.to_string())?;
    socket.set_read_timeout(Some(Duration::from_millis(100))).map_err(|error| error.to_string())?;
    for _ in 0..300 {
        let _ = socket.send_to(QUESTION, contestant.address);
        let mut answer = [0; 512];
        if socket.recv(&mut answer).is_ok() && answer[3] & 15 == 0 {
            return Ok(());
        }
    }
    Err("its zone is not answered from within 30 s".to_owned())
}

/// Starts it, asks, and ends it: a server that leaves a program on the device takes it along.
fn ask(
    run: &mut Run<'_>,
    contestant: &Contestant,
    (size, out): (u32, u16),
    time: Duration,
) -> Result<Score, Problem> {
    let failed = |why: String| Problem::Experiment(format!("{}: {why}", contestant.name));
    let served = contestant.start_for_frames(run)?;
    std::thread::scope(|scope| scope.spawn(|| wait(&served, contestant)).join())
        .unwrap_or_else(|_| Err("the client died".to_owned()))
        .map_err(failed)?;
    let ports = out.min(PORTS_MAX);
    let ways = vec![IpAddr::V4(SOURCE); usize::from(ports)];
    let plan = Arc::new(dns::Plan {
        server: contestant.address.into(),
        questions: names::made_up("example", size).map_err(failed)?,
        chooser: Chooser::new(Mix::Uniform, &vec![0; size as usize]).map_err(|why| failed(why.to_owned()))?,
        manner: Manner { edns: Some(1_232), dnssec: false, recursion: false },
        window: out / ports,
        sockets: usize::from(ports),
        prefix_len: PREFIX_LEN,
        rate: None,
        tcp: 0.0,
        timeout: Duration::from_millis(200),
        sources: ways.clone(),
        seed: 1,
    });
    let port = || {
        let near = DeviceName::Afxdp("near".to_owned());
        let device = Device::open(&near, (SOURCE.into(), PREFIX_LEN), &ways[..1]);
        device.and_then(Device::into_port).map_err(|error| error.to_string())
    };
    let warm_up = Duration::from_millis(300);
    let begun = std::time::Instant::now();
    let mut meter = Meter::new(time);
    let enter = || served.enter_client();
    let outcome = dns::run(
        &plan,
        &[CLIENT_CORE],
        (warm_up, time),
        run.stop,
        &enter,
        Some(&port),
        &mut |answered, _| {
            // Threads begin a moment after us, and count after their warm-up.
            if answered > 0 && begun.elapsed() > warm_up + STARTED {
                meter.look();
            }
        },
    )
    .map_err(failed)?;
    check(&outcome.tally).map_err(failed)?;
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let answers_per_s = outcome.tally.answered[0] as f64 / outcome.wall.as_secs_f64();
    let used = meter.used().ok_or_else(|| failed("nothing was measured".to_owned()))?;
    Ok(Score { answers_per_s, cpu_us: used.machine * 1e6 / answers_per_s, core: used.core })
}

/// Every question is one that the zone answers, and no more are out than a queue holds: what is lost is a defect or a
/// disturbance, and no rate.
fn check(tally: &Tally) -> Result<(), String> {
    let answered = tally.answered[0];
    if answered == 0 {
        return Err("nothing was answered".to_owned());
    }
    let others: u64 = tally.rcodes[1..].iter().sum();
    if others > 0 {
        return Err(format!("{others} of {answered} answers were not NOERROR"));
    }
    let lost = tally.failures[Kind::Timeout as usize].count;
    let worse: u64 = tally.failed() - lost;
    if worse > 0 || lost > answered / LOST_SHARE {
        let first = tally.failures.iter().find_map(|failures| failures.first.clone());
        return Err(format!(
            "{} of {answered} questions failed: {}",
            worse + lost,
            first.unwrap_or_default()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(answered: u64, refused: u64, lost: u64) -> Tally {
        let mut tally = Tally::new();
        tally.answered[0] = answered;
        tally.rcodes[0] = answered - refused;
        tally.rcodes[5] = refused;
        tally.fail(Kind::Timeout, lost, || "no answer within 200 ms".to_owned());
        tally
    }

    #[test]
    fn a_rate_of_refusals_or_of_losses_is_none() {
        assert_eq!(check(&tally(10_000, 0, 10)), Ok(()));
        assert!(check(&tally(10_000, 1, 0)).unwrap_err().contains("1 of 10000 answers were not NOERROR"));
        assert!(check(&tally(10_000, 0, 11)).unwrap_err().contains("no answer within 200 ms"));
        assert!(check(&tally(0, 0, 0)).is_err());
    }
}
