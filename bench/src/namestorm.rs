//! Namestorm: what a query costs over a link in memory, and what a zone costs to load.
//!
//! ```text
//! frames of queries ─▶ link ─▶ Front: accepted, looked up together, answered ─▶ link ─▶ counted
//!                          └─────────────────── timed ──────────────────────┘      beside a loop that sends back what came
//! ```
//!
//! Only the server's part of a batch is timed, by a clock that is read twice a batch: for batches of one query that is
//! a third of what is measured, and the bare loop beside it pays the same.

pub(crate) mod steered;

use core::cell::RefCell;
use core::fmt::Write as _;
use core::hint::black_box;
use core::time::Duration;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use dma::{Pool, PoolLayout};
use link_memory::{MemoryLink, MemoryLinkConfig};
use namestorm::catalogue::Catalogue;
use namestorm::desk::{Desk, Serving, Snapshot};
use namestorm::front::Front;
use namestorm::hash::{Form, Key};
use namestorm::load::{self, Threads};
use namestorm::respond::Settings;
use namestorm::zone;
use platform::Link;
use serde_json::json;
use wire::checksum::{Sum, checksum};
use wire::{EtherType, Protocol};

use crate::Effort;
use crate::drain::Complaint;
use crate::report::{Report, Spread, round};

const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
const SIZES: [usize; 6] = [1, 10, 100, 1_000, 10_000, 1_000_000];
const BATCHES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Frames of a worker for answers that lie ready, as the program has them.
const REPLICAS: usize = 16_384;
/// Frames of random queries that are sent again and again.
const FRAMES: usize = 1 << 16;

/// Queries per second of one core, by the number of names, the batch, the form of the hash and the way of copying.
pub(crate) fn queries(effort: Effort, report: &Report) -> Result<(), Complaint> {
    for names in SIZES {
        let variants = [Form::Wire, Form::Name].map(|form| [(form, 0), (form, REPLICAS)]);
        for (form, replicas) in variants.into_iter().flatten() {
            let copy = if replicas > 0 { "pre" } else { "mem" };
            let bench = format!("namestorm {names} {form:?} {copy}").to_lowercase();
            if !report.wants(&bench) {
                continue;
            }
            let mut world = World::new(names, form, replicas)?;
            let mut detail = serde_json::Map::new();
            let mut headline = 0.0;
            for batch in BATCHES {
                let share = effort.seconds / BATCHES.len() as f64;
                let mut answered = Vec::new();
                let mut bare = Vec::new();
                for _ in 0..effort.runs {
                    bare.push(world.nanoseconds(batch, share / 2.0, Loop::Bare));
                    answered.push(world.nanoseconds(batch, share / 2.0, Loop::Answer));
                }
                let (answered, bare) = (Spread::of(answered), Spread::of(bare));
                headline = 1e3 / answered.median;
                detail.insert(
                    format!("batch {batch}"),
                    json!({"ns": answered.json(), "bare_ns": bare.json(), "mqps": round(headline)}),
                );
            }
            detail.insert("zone".to_owned(), json!(world.weight.clone()));
            report.result(&bench, headline, "M queries/s", &detail.into());
        }
    }
    Ok(())
}

/// Records per second of one core, and what the zone weighs then.
pub(crate) fn load(effort: Effort, report: &Report) -> Result<(), Complaint> {
    let names = 1_000_000;
    let file = std::env::temp_dir().join(format!("namestorm-bench-{}.zone", std::process::id()));
    std::fs::write(&file, text(names))?;
    let mut rates = Vec::new();
    let mut parsing = Vec::new();
    let mut weight = String::new();
    for _ in 0..effort.runs.min(3) {
        let begin = Instant::now();
        let loaded = load::read_file(&file, APEX, Threads(1))?;
        parsing.push(begin.elapsed().as_secs_f64());
        let built = zone::build(APEX, loaded, key(), Form::Wire)?;
        rates.push(names as f64 / begin.elapsed().as_secs_f64() / 1e6);
        weight = built.zone.weight().to_string();
    }
    std::fs::remove_file(&file)?;
    let rates = Spread::of(rates);
    let detail = json!({"rates": rates.json(), "parsing_s": Spread::of(parsing).json(), "zone": weight});
    report.result("namestorm-load", rates.median, "M records/s", &detail);
    Ok(())
}

const APEX: &[u8] = b"\x07example\0";

fn key() -> Key {
    Key::new(*b"a key of a bench")
}

fn text(names: usize) -> String {
    let mut text =
        String::from("$TTL 3600\n@ SOA ns hostmaster 1 3600 900 604800 300\n@ NS ns\nns A 192.0.2.1\n");
    for index in 0..names {
        let [_, b, c, d] = u32::try_from(index).unwrap_or(0).to_be_bytes();
        let _ = writeln!(text, "host{index} IN A 10.{b}.{c}.{d}");
    }
    text
}

#[derive(Clone, Copy)]
enum Loop {
    Answer,
    Bare,
}

/// The server as a worker runs it, and a loop without one, each behind a link of its own.
struct World {
    front: Front<MemoryLink>,
    client: MemoryLink,
    bare: MemoryLink,
    bare_client: MemoryLink,
    frames: Vec<Vec<u8>>,
    next: usize,
    weight: String,
}

impl World {
    fn new(names: usize, form: Form, replicas: usize) -> Result<Self, Complaint> {
        let loaded = load::read_text("bench".as_ref(), text(names).as_bytes(), APEX)?;
        let zone = zone::build(APEX, loaded, key(), form)?.zone;
        let weight = zone.weight().to_string();
        let catalogue = Catalogue::new(key(), form, vec![Arc::new(zone)]);
        let mut dice = 0x5eed_u64;
        let frames = (0..FRAMES)
            .map(|_| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let index = usize::try_from(dice >> 33).unwrap_or(0) % names;
                frame(&format!("host{index}.example"), [192, 0, 2, 9], &[])
            })
            .collect();
        Ok(Self { weight, ..Self::of(catalogue, frames, replicas)? })
    }

    /// A server of this catalogue, with so many frames for answers that lie ready, and what it is asked.
    fn of(catalogue: Catalogue, frames: Vec<Vec<u8>>, replicas: usize) -> Result<Self, Complaint> {
        let serving = Serving {
            addresses: vec![[192, 0, 2, 1].into()],
            port: 53,
            settings: Settings { replicas, ..Settings::default() },
            idle: Duration::from_secs(10),
        };
        let catalogue = Arc::new(catalogue);
        let mut desk = Desk::new(&Snapshot { catalogue, serving: Arc::new(serving.clone()) });
        desk.replicate(&Pool::new(PoolLayout { large_count: 1, small_count: u32::try_from(replicas)? })?);
        let config = MemoryLinkConfig { macs: MACS, checksum: false, ..MemoryLinkConfig::default() };
        let (server, client) = link_memory::pair(256, config);
        let (bare, bare_client) = link_memory::pair(256, config);
        let front = Front::new(server, &serving, Rc::new(RefCell::new(desk)));
        Ok(Self { front, client, bare, bare_client, frames, next: 0, weight: String::new() })
    }

    /// Nanoseconds of the server's part per query, in the median batch.
    fn nanoseconds(&mut self, batch: usize, seconds: f64, what: Loop) -> f64 {
        let Self { front, client, bare, bare_client, frames, next, .. } = self;
        let client = match what {
            Loop::Answer => client,
            Loop::Bare => bare_client,
        };
        let begin = Instant::now();
        let mut spent: Vec<u64> = Vec::new();
        while begin.elapsed().as_secs_f64() < seconds {
            for _ in 0..256 {
                for _ in 0..batch {
                    let staged = client.stage_bytes(&frames[*next % FRAMES]);
                    staged.expect("the link holds a batch");
                    *next += 1;
                }
                client.flush();
                let start = Instant::now();
                match what {
                    Loop::Answer => assert!(front.receive().is_none(), "a packet that is no question"),
                    Loop::Bare => send_back(bare),
                }
                spent.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
                let mut answers = 0;
                while let Some(received) = client.receive() {
                    black_box(received.bytes);
                    answers += 1;
                }
                assert_eq!(answers, batch, "every query is answered");
                client.reclaim();
            }
        }
        // The median batch: one during which another process had the core says nothing of ours.
        let middle = spent.len() / 2;
        let (_, median, _) = spent.select_nth_unstable(middle);
        *median as f64 / batch as f64
    }
}

/// Each frame goes back as it came, in one copy.
fn send_back(link: &mut MemoryLink) {
    let mut frame = [0; 256];
    while let Some(received) = link.receive() {
        let bytes = received.bytes.len();
        frame[..bytes].copy_from_slice(received.bytes);
        link.stage_bytes(&frame[..bytes]).expect("the link holds a batch");
    }
    link.flush();
    link.reclaim();
}

/// A query for the addresses of `name`, with EDNS and these options, in a frame from there.
fn frame(name: &str, source: [u8; 4], options: &[u8]) -> Vec<u8> {
    let name = dns::name::from_text(name.as_bytes()).expect("a name");
    let header = dns::Header { id: 7, qdcount: 1, arcount: 1, ..dns::Header::default() };
    let mut message = header.emit().to_vec();
    message.extend_from_slice(&name);
    message.extend_from_slice(&[0, 1, 0, 1]);
    let options_bytes = u16::try_from(options.len()).expect("a few options");
    message.extend_from_slice(&dns::edns::emit_opt(1_232, 0, false, options_bytes));
    message.extend_from_slice(options);
    let datagram = u16::try_from(8 + message.len()).expect("a query is short");
    let mut frame = Vec::new();
    frame.extend_from_slice(&MACS[0]);
    frame.extend_from_slice(&MACS[1]);
    frame.extend_from_slice(&EtherType::IPV4.0.to_be_bytes());
    frame.extend_from_slice(&[0x45, 0]);
    frame.extend_from_slice(&(20 + datagram).to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0x40, 0, 64, Protocol::UDP.0, 0, 0]);
    frame.extend_from_slice(&source);
    frame.extend_from_slice(&[192, 0, 2, 1]);
    let ip = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&ip.to_be_bytes());
    let udp = frame.len();
    frame.extend_from_slice(&[0x9c, 0x40, 0, 53]);
    frame.extend_from_slice(&datagram.to_be_bytes());
    frame.extend_from_slice(&[0, 0]);
    frame.extend_from_slice(&message);
    let pseudo = Sum::pseudo_v4(source.into(), [192, 0, 2, 1].into(), Protocol::UDP, u32::from(datagram));
    let sum = pseudo.then(&frame[udp..]).finish();
    frame[udp + 6..udp + 8].copy_from_slice(&sum.to_be_bytes());
    frame
}
