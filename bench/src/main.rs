//! What it costs: every number that a document of this project names is printed by one of these.
//!
//! `cargo xtask bench [NAME…] [--quick] [--json]` runs them. With `--json` each result is one object on one line:
//! `{"bench": …, "value": …, "unit": …, "detail": {…}}`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

mod afxdp;
mod beside;
mod capture;
mod connections;
mod cutting;
mod drain;
mod levers;
mod load;
mod memory;
mod memory_peer;
mod middlebox;
mod namestorm;
mod namestorm_veth;
mod nginx;
mod report;
mod served;
mod web;
mod world;

use drain::Complaint;
use report::Report;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Seconds of one measurement.
    seconds: f64,
    /// Measurements whose median is reported.
    runs: usize,
}

#[derive(Debug, Parser)]
#[command(name = "bench", about = "What it costs: medians of interleaved runs, with the spread beside them")]
struct Arguments {
    /// Which benches; all of them when none is named
    names: Vec<String>,
    /// Short and few runs: shows that a bench works, not what it is worth
    #[arg(long)]
    quick: bool,
    /// Of benches with several results those whose name contains this
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// One JSON object per line
    #[arg(long)]
    json: bool,
    /// Names the benches
    #[arg(long)]
    list: bool,
}

type Bench = fn(Effort, &Report) -> Result<(), Complaint>;

const BENCHES: [(&str, &str, Bench); 24] = [
    (
        "seal-ratio",
        "engine over memory, TLS, 300 KB objects, beside the raw seal rate; counting peer",
        memory::seal_ratio,
    ),
    (
        "seal-ratio-verified",
        "the same with a peer that opens and compares every byte",
        memory::seal_ratio_verified,
    ),
    (
        "plain-segment",
        "nanoseconds of CPU per 1,448-byte segment, plaintext, superframes",
        memory::plain_segment,
    ),
    (
        "plain-segment-uncut",
        "the same when each segment is a packet of the engine's own; with checksums left to the link, and not",
        memory::plain_segment_uncut,
    ),
    (
        "cut-segment",
        "building headers and cutting alone: runs of 45 segments into a memory link that does not cut; also summed",
        cutting::cutting,
    ),
    ("handshakes", "full TLS 1.3 handshakes and short requests per second of one core", memory::handshakes),
    (
        "connections",
        "short connections per second of one core, engine over memory: canned bytes, Atlas, objects in memory sent three ways",
        connections::connections,
    ),
    (
        "capture",
        "engine over memory with a tap that does nothing, and with a capture of headers, beside none",
        capture::capture,
    ),
    (
        "tap-nginx",
        "over TAP to a kernel client, beside nginx over veth in the same run (needs root)",
        beside::tap,
    ),
    (
        "packet-nginx",
        "over a packet socket's rings on veth, beside nginx over veth in the same run (needs root)",
        beside::packet,
    ),
    (
        "web-nginx",
        "short connections, TAP, and AF_XDP and a packet socket's ring on veth, beside nginx and a loop without a stack in the \
         same run (needs root)",
        web::beside_nginx,
    ),
    (
        "web-copies",
        "short connections, ways for a packet to come to its payload, on each link that leaves a choice (needs root)",
        web::copies,
    ),
    (
        "loss-nginx",
        "goodput of 80 clients with 1 % loss, with and without delay, beside nginx in the same run (needs root)",
        web::lossy_beside_nginx,
    ),
    (
        "levers-tap",
        "over TAP: superframes of several records, io_uring batches, BIG TCP, each on and off (needs root)",
        levers::tap_levers,
    ),
    (
        "levers-packet",
        "over rings on veth: several records, sealing into slots, the number of slots (needs root)",
        levers::packet_levers,
    ),
    (
        "load-wrk",
        "requests per CPU-second of the client, lab load beside wrk, 300 KB objects (needs root)",
        load::beside_wrk,
    ),
    (
        "middlebox",
        "frames per second through the middlebox, beside bare forwarding loops in the same run (needs root)",
        middlebox::beside_a_bare_loop,
    ),
    ("middlebox-flows", "what a delayed packet costs, with 20,000 flows beside 10", middlebox::flows),
    ("afxdp-send", "AF_XDP over veth: our link beside a bare send loop (needs root)", afxdp::send),
    ("afxdp-reflect", "AF_XDP over veth: our link beside a bare reflector (needs root)", afxdp::reflect),
    (
        "namestorm",
        "DNS over memory: nanoseconds per query by names, batch and hash, beside a loop that sends frames back",
        namestorm::queries,
    ),
    (
        "namestorm-veth",
        "DNS over AF_XDP on veth, beside Knot, NSD and a bare reflector with the same generator (needs root)",
        namestorm_veth::beside,
    ),
    (
        "namestorm-load",
        "records per second of one core, and what a zone of 1,000,000 names weighs",
        namestorm::load,
    ),
    (
        "namestorm-steered",
        "what an answer by client and health costs, with 1,000 and 1,000,000 networks, beside an ordinary one",
        namestorm::steered::steered,
    ),
];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for (name, about, _) in BENCHES {
            report::line(&format!("{name:22} {about}"));
        }
        return ExitCode::SUCCESS;
    }
    for name in &arguments.names {
        if !BENCHES.iter().any(|(known, ..)| known == name) {
            report::complain(&format!("no bench is called {name}: see --list"));
            return ExitCode::from(2);
        }
    }
    let effort =
        if arguments.quick { Effort { seconds: 0.4, runs: 1 } } else { Effort { seconds: 3.0, runs: 5 } };
    let report = Report::new(arguments.json, arguments.only);
    let mut failed = false;
    for (name, about, bench) in BENCHES {
        if !arguments.names.is_empty() && !arguments.names.iter().any(|wanted| wanted == name) {
            continue;
        }
        let needs_root = about.contains("needs root");
        if needs_root && arguments.names.is_empty() && !rustix::process::geteuid().is_root() {
            report::complain(&format!(
                "{name}: not run: it makes devices and namespaces, which only root may"
            ));
            continue;
        }
        if let Err(why) = bench(effort, &report) {
            report::complain(&format!("{name}: {why}"));
            failed = true;
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
