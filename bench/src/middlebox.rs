//! The middlebox beside loops that forward and do nothing else, on the same link in the same run.
//!
//! ```text
//!   core 0: generator          core 1: who is measured                nobody is at home: counted, then dropped
//!   ┌ client ────┐       ┌ middle ──────────────────┐       ┌ server ────┐
//!   │         c0 │──────▶│ m0   loop, middlebox   m1 │──────▶│ s0         │
//!   └────────────┘ veth  └──────────────────────────┘ veth  └────────────┘
//! ```
//!
//! The generator sends as fast as its core can, whoever forwards and however late: with TCP at the ends, a delay would
//! change what is sent (deeper windows, shorter superframes), and one would measure that. What the forwarder does not
//! take in time is dropped before it.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use clock::Instant as Moment;
use middlebox::{Config, Direction, Middlebox, Room, Verdict};
use serde_json::{Value, json};
use testbed::Namespace;
use testbed::cpu::pin;
use vnet::{HEADER_BYTES, RAW_BATCH_MAX, RawKind, RawQueue};

use crate::Effort;
use crate::drain::Complaint;
use crate::report::{Report, Spread};

const GENERATOR_CORE: usize = 0;
const FORWARDER_CORE: usize = 1;
const MSS: usize = 1_448;
const TCP_BYTES: usize = 32;
/// So that the path is full of packets that wait.
const WARM_UP: Duration = Duration::from_millis(200);

/// What is forwarded.
struct Traffic {
    name: &'static str,
    /// Behind the headers.
    payload: usize,
    flows: u16,
}

impl Traffic {
    /// There are no superframes with AF_XDP.
    fn suits(&self, forwarder: Forwarder) -> bool {
        self.payload <= MSS || !matches!(forwarder, Forwarder::Middlebox(_, "xdp:"))
    }
}

const TRAFFIC: [Traffic; 4] = [
    Traffic { name: "acknowledgements", payload: 0, flows: 10 },
    Traffic { name: "acknowledgements-20000-flows", payload: 0, flows: 20_000 },
    Traffic { name: "full-sized", payload: MSS, flows: 100 },
    Traffic { name: "superframes", payload: 44 * MSS, flows: 100 },
];

/// Who forwards.
#[derive(Clone, Copy, Debug)]
enum Forwarder {
    /// One read and one write per frame.
    Loop,
    /// Many frames per call, as the middlebox does.
    BatchedLoop,
    /// The program, its delay, and how it opens devices.
    Middlebox(&'static str, &'static str),
}

const FORWARDERS: [(&str, Forwarder); 5] = [
    ("bare_loop", Forwarder::Loop),
    ("bare_loop_batched", Forwarder::BatchedLoop),
    ("middlebox_0ms", Forwarder::Middlebox("0ms", "packet:")),
    ("middlebox_10..40ms", Forwarder::Middlebox("10ms..40ms", "packet:")),
    ("middlebox_xdp_10..40ms", Forwarder::Middlebox("10ms..40ms", "xdp:")),
];

/// The program with delays on, beside the quicker of two bare loops.
pub(crate) fn beside_a_bare_loop(effort: Effort, report: &Report) -> Result<(), Complaint> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root, for namespaces and devices: run it with sudo".into());
    }
    let ground = Ground::new()?;
    for traffic in &TRAFFIC {
        let mut rates = FORWARDERS.map(|_| Vec::new());
        // Interleaved: the machine's speed drifts, and all are to drift with it.
        for _ in 0..effort.runs {
            for ((_, forwarder), rates) in FORWARDERS.iter().zip(&mut rates) {
                if !traffic.suits(*forwarder) {
                    continue;
                }
                rates.push(ground.measure(traffic, *forwarder, effort)?);
            }
        }
        let ratios = (0..effort.runs).map(|run| rates[3][run] / rates[0][run].max(rates[1][run]));
        let ratio = Spread::of(ratios);
        let frames: serde_json::Map<String, Value> = FORWARDERS
            .iter()
            .zip(&rates)
            .filter(|(_, rates)| !rates.is_empty())
            .map(|((name, _), rates)| ((*name).to_owned(), Spread::of(rates.iter().copied()).json()))
            .collect();
        let detail = json!({
            "ratio": ratio.json(),
            "frames_per_s": frames,
            "frame_bytes": frame(traffic, 0).len() - HEADER_BYTES,
            "flows": traffic.flows,
            "runs": effort.runs,
        });
        report.result(&format!("middlebox/{}", traffic.name), ratio.median, "of the bare loop", &detail);
    }
    Ok(())
}

/// The three namespaces.
struct Ground {
    client: Namespace,
    middle: Namespace,
    server: Namespace,
    program: PathBuf,
}

impl Ground {
    fn new() -> Result<Self, Complaint> {
        let program = std::env::current_exe()?.with_file_name("middlebox");
        if !program.exists() {
            return Err("the program is not built: cargo build --release -p middlebox".into());
        }
        let [client, middle, server] = ["client", "middle", "server"].map(Namespace::new);
        let (client, middle, server) = (client?, middle?, server?);
        for (ours, theirs, there) in [("m0", "c0", &client), ("m1", "s0", &server)] {
            middle.ip(&[
                "link",
                "add",
                ours,
                "type",
                "veth",
                "peer",
                "name",
                theirs,
                "netns",
                there.name(),
            ])?;
            middle.ip(&["link", "set", ours, "up"])?;
            there.ip(&["link", "set", theirs, "up"])?;
        }
        Ok(Self { client, middle, server, program })
    }

    /// Frames that reach the server per second.
    fn measure(&self, traffic: &Traffic, forwarder: Forwarder, effort: Effort) -> Result<f64, Complaint> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let (ready, is_ready) = mpsc::channel();
            let forwarding = scope.spawn(|| self.forward(forwarder, &stop, ready));
            // An error of the forwarder's is told when it is joined.
            let outcome = is_ready.recv().map_err(Complaint::from).and_then(|()| {
                let generating = scope.spawn(|| self.generate(traffic, &stop));
                let counting = scope.spawn(|| self.count(Duration::from_secs_f64(effort.seconds / 3.0)));
                let counted = counting.join().unwrap_or_else(|_| Err("the counter died".into()));
                stop.store(true, Ordering::Relaxed);
                generating.join().unwrap_or_else(|_| Err("the generator died".into()))?;
                counted
            });
            stop.store(true, Ordering::Relaxed);
            forwarding.join().unwrap_or_else(|_| Err("the forwarder died".into()))?;
            outcome
        })
    }

    /// Sends until told to stop, from batches made before.
    fn generate(&self, traffic: &Traffic, stop: &AtomicBool) -> Result<(), Complaint> {
        self.client.enter()?;
        pin(GENERATOR_CORE);
        let mut device = open("c0")?;
        let frames: Vec<Vec<u8>> = (0..traffic.flows).map(|flow| frame(traffic, flow)).collect();
        let mut next = frames.iter().cycle();
        while !stop.load(Ordering::Relaxed) {
            device.send(next.by_ref().take(RAW_BATCH_MAX).map(Vec::as_slice));
        }
        Ok(())
    }

    /// What arrives per second, after a while.
    fn count(&self, during: Duration) -> Result<f64, Complaint> {
        self.server.enter()?;
        thread::sleep(WARM_UP);
        let (before, began) = (received("s0")?, Instant::now());
        thread::sleep(during);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let frames = (received("s0")? - before) as f64;
        Ok(frames / began.elapsed().as_secs_f64())
    }

    fn forward(
        &self,
        forwarder: Forwarder,
        stop: &AtomicBool,
        ready: mpsc::Sender<()>,
    ) -> Result<(), Complaint> {
        self.middle.enter()?;
        pin(FORWARDER_CORE);
        match forwarder {
            Forwarder::Loop => {
                let [from, to] = [socket("m0")?, socket("m1")?];
                ready.send(())?;
                let mut frame = vec![0; 1 << 17];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(len) = rustix::io::read(&from, &mut frame) {
                        // What finds no room is lost, as what found none before us.
                        let _ = rustix::io::write(&to, &frame[..len]);
                    }
                }
            }
            Forwarder::BatchedLoop => {
                let [mut from, mut to] = [open("m0")?, open("m1")?];
                ready.send(())?;
                let mut rooms = vec![vec![0; 1 << 17]; RAW_BATCH_MAX];
                while !stop.load(Ordering::Relaxed) {
                    let spaces = rooms.iter_mut().take(16).map(|room| [&mut room[..], &mut []]);
                    let arrivals = from.receive(spaces)?;
                    to.send(arrivals.iter().map(|arrival| &rooms[arrival.room][..arrival.len]));
                }
            }
            Forwarder::Middlebox(delay, kind) => {
                let program = Program::start(&self.program, delay, kind)?;
                ready.send(())?;
                while !stop.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_millis(5));
                }
                drop(program);
            }
        }
        Ok(())
    }
}

/// The running program, in the namespace and on the core of the thread that started it.
struct Program(Child);

impl Program {
    fn start(program: &PathBuf, delay: &str, kind: &str) -> Result<Self, Complaint> {
        let mut command = Command::new(program);
        command.args(["--client", &format!("{kind}m0"), "--server", &format!("{kind}m1")]);
        command.args(["--delay", delay, "--memory", "2GiB"]);
        let mut running = Self(command.stdout(Stdio::piped()).spawn()?);
        let mut first = [0; 1];
        let output = running.0.stdout.as_mut().ok_or("a program without output")?;
        // It says so when it forwards.
        std::io::Read::read_exact(output, &mut first).map_err(|_| "the middlebox did not start")?;
        Ok(running)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn socket(device: &str) -> Result<std::os::fd::OwnedFd, Complaint> {
    let socket = link_packet::sockets(device, 1)?.pop().ok_or("a device without a socket")?;
    let fd = std::os::fd::OwnedFd::from(socket);
    rustix::net::sockopt::set_socket_send_buffer_size_force(&fd, 16 << 20)?;
    Ok(fd)
}

fn open(device: &str) -> Result<RawQueue, Complaint> {
    Ok(RawQueue::open(socket(device)?, RawKind::Socket)?)
}

/// Frames that the device received, as the calling thread's namespace counts them.
fn received(device: &str) -> Result<u64, Complaint> {
    let table = fs::read_to_string("/proc/thread-self/net/dev")?;
    let line = table.lines().find_map(|line| line.trim().strip_prefix(device)?.strip_prefix(':'));
    let count = line.and_then(|line| line.split_whitespace().nth(1)).ok_or("a device without a count")?;
    Ok(count.parse()?)
}

/// A frame to nobody, behind its virtio-net header.
fn frame(traffic: &Traffic, flow: u16) -> Vec<u8> {
    let mut frame = [&[2, 0xee, 0, 0, 0, 9][..], &[2, 0xee, 0, 0, 0, 1], &[0x08, 0x00]].concat();
    let length = u16::try_from(20 + TCP_BYTES + traffic.payload).expect("at most 64 KiB").to_be_bytes();
    frame.extend([0x45, 0, length[0], length[1], 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2]);
    frame.extend((10_000 + flow).to_be_bytes());
    frame.extend([0x1b, 0x58, 0, 0, 0, 1, 0, 0, 0, 1, 8 << 4, 0x10, 1, 0, 0, 0, 0, 0]);
    frame.resize(14 + 20 + TCP_BYTES + traffic.payload, 0);
    let mut header = [0; HEADER_BYTES];
    if traffic.payload > MSS {
        header = [1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0];
    }
    [&header[..], &frame].concat()
}

/// What a delayed acknowledgement costs the library alone, by how many flows there are.
pub(crate) fn flows(effort: Effort, report: &Report) -> Result<(), Complaint> {
    const FLOWS: [u32; 4] = [10, 1_000, 20_000, 200_000];
    let mut costs = FLOWS.map(|_| Vec::new());
    for _ in 0..effort.runs {
        for (flows, costs) in FLOWS.iter().zip(&mut costs) {
            costs.push(delayed(*flows, effort)?);
        }
    }
    let ratio = Spread::of(costs[2].iter().zip(&costs[0]).map(|(many, few)| many / few));
    let nanos: serde_json::Map<String, Value> = FLOWS
        .iter()
        .zip(&costs)
        .map(|(flows, costs)| (flows.to_string(), Spread::of(costs.iter().copied()).json()))
        .collect();
    let detail = json!({"ns_per_packet_by_flows": nanos, "ratio": ratio.json(), "runs": effort.runs});
    report.result("middlebox-flows", ratio.median, "of 10 flows' cost", &detail);
    Ok(())
}

/// Nanoseconds per packet, of a million a second for the flows in turn that wait from 10 to 40 ms; time is a number here.
fn delayed(flows: u32, effort: Effort) -> Result<f64, Complaint> {
    const FILL: u32 = 100_000;
    let mut middlebox = Middlebox::new(&Config::default(), Moment::EPOCH)?;
    let mut bytes = frame(&TRAFFIC[0], 0);
    let (mut room, mut now, mut left, mut number) = (Room::new(), Moment::EPOCH, 0_u32, 0_u32);
    let during = Duration::from_secs_f64(effort.seconds / 6.0);
    let mut began = thread_time()?;
    while number < FILL || !number.is_multiple_of(1_024) || thread_time()? - began < during {
        if number == FILL {
            (began, left) = (thread_time()?, 0);
        }
        now += Duration::from_micros(1);
        bytes[HEADER_BYTES + 26..][..4].copy_from_slice(&(number % flows).to_be_bytes());
        room.space()[..bytes.len()].copy_from_slice(&bytes);
        room.fill(bytes.len(), &[], None);
        if middlebox.received(now, Direction::ToServer, &mut room) != Verdict::Taken {
            return Err("a packet that should have waited did not".into());
        }
        while let Some(frame) = middlebox.take(now, Direction::ToServer) {
            left += 1;
            middlebox.release(frame);
        }
        number += 1;
    }
    let nanos = (thread_time()? - began).as_secs_f64() * 1e9;
    if middlebox.statistics().to_server.overflowed > 0 {
        return Err("packets were dropped for want of memory".into());
    }
    Ok(nanos / f64::from(left))
}

/// Processor time of this thread: what others do meanwhile is not its cost.
fn thread_time() -> Result<Duration, Complaint> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Ok(Duration::try_from(now)?)
}
