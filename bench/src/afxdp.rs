//! AF_XDP on a veth pair, where the kernel copies: our link beside a bare loop on the same memory.
//!
//! ```text
//!   send      bare: descriptors of packets that lie ready        link: headers, and a part of a frame, staged
//!   reflect   bare: addresses swapped where the packet lies      link: received, swapped in a copy, staged
//! ```
//!
//! Both go through the same rings in the same way, 64 packets to a doorbell, and take turns in one run. What is compared
//! is packets per second of the thread's CPU time: the kernel's half of a send, which is most of it, runs inside our call.
//! Of the reflector only its own half is timed; what comes to it is sent by the other end in between, on the same core.

use core::time::Duration;
use std::collections::VecDeque;
use std::os::fd::AsFd as _;

use dma::{Frame, Pool, PoolLayout};
use link_afxdp::{AfxdpConfig, AfxdpLink, AfxdpQueue, Interface};
use netlink::{LinkChange, Netlink};
use platform::{Headers, Link as _, Offload, Packet, Part, Parts};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use testbed::{Namespace, cpu::pin};
use xdp::{AttachMode, Attachment, CopyMode, Descriptor, Scope, Socket, SocketConfig, Steering};

use crate::Effort;
use crate::drain::Complaint;
use crate::report::{Report, Spread};

/// Packets to a doorbell.
const BATCH: usize = 64;
const SLOTS: u32 = 1_024;
/// Ethernet, IPv4 and TCP with timestamps.
const HEADERS_BYTES: usize = 14 + 20 + 32;
/// Pairs of runs: a run is short, so that what else the machine does hits both.
const PAIRS_PER_RUN: usize = 5;

/// What is sent.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Headers only, padded to the shortest Ethernet frame.
    Short,
    /// A full segment: 1,448 bytes of a frame behind the headers.
    Full,
}

impl Shape {
    const ALL: [(&'static str, Self); 2] = [("64", Self::Short), ("1448", Self::Full)];

    fn bytes(self) -> usize {
        match self {
            Self::Short => 64,
            Self::Full => HEADERS_BYTES + 1_448,
        }
    }
}

/// A veth pair, its ends with a program that takes every packet.
struct Bed {
    ours: Interface,
    theirs: Interface,
    /// Of our end, and of the other.
    steering: Vec<Steering>,
    _attachments: Vec<Attachment>,
    pool: Pool,
}

impl Bed {
    /// Lays it out in the calling thread's namespace.
    fn new() -> Result<Self, Complaint> {
        let mut netlink = Netlink::open()?;
        netlink.create_veth("ours", "theirs")?;
        for end in ["ours", "theirs"] {
            netlink.change_link(end, LinkChange { up: Some(true), ..LinkChange::default() })?;
        }
        let (ours, theirs) = (Interface::named("ours")?, Interface::named("theirs")?);
        let (mut steering, mut attachments) = (Vec::new(), Vec::new());
        for end in [ours, theirs] {
            let program = Steering::load(Scope::Everything, 1)?;
            attachments.push(program.attach(end.index, AttachMode::Native)?);
            steering.push(program);
        }
        let layout = PoolLayout { large_count: 64, small_count: 0 };
        let pool = Pool::with_chunks(layout, 4 * SLOTS)?;
        Ok(Self { ours, theirs, steering, _attachments: attachments, pool })
    }

    fn socket(&self, interface: Interface, steering: &Steering) -> Result<Socket, Complaint> {
        let config = SocketConfig {
            rx_slots: SLOTS,
            tx_slots: SLOTS,
            receive_chunks: SLOTS,
            copy_mode: CopyMode::Copy,
            metadata: true,
            ..SocketConfig::default()
        };
        let socket = Socket::open(Socket::create()?, interface.index, 0, &self.pool, config)?;
        steering.insert(0, socket.as_fd())?;
        Ok(socket)
    }

    fn bare(&self) -> Result<Socket, Complaint> {
        self.socket(self.ours, &self.steering[0])
    }

    fn link(&self) -> Result<AfxdpLink, Complaint> {
        let config = AfxdpConfig {
            copy_mode: CopyMode::Copy,
            slots: SLOTS,
            receive_chunks: SLOTS,
            ..AfxdpConfig::default()
        };
        let link = AfxdpQueue::new(Socket::create()?, self.ours, 0).open(&self.pool, config)?;
        self.steering[0].insert(0, link.descriptor().ok_or("the link cannot be slept on")?)?;
        Ok(link)
    }

    /// A packet from our end to the other, ready in a chunk.
    fn packet(&self, shape: Shape) -> Result<Frame, Complaint> {
        let mut chunk = self.pool.acquire_chunk().ok_or("no chunk is free")?;
        chunk.bytes_mut()[LEAD..][..6].copy_from_slice(&self.theirs.mac);
        chunk.bytes_mut()[LEAD + 6..][..6].copy_from_slice(&self.ours.mac);
        chunk.bytes_mut()[LEAD + 12..][..2].copy_from_slice(&[0x88, 0xb5]);
        chunk.bytes_mut()[LEAD + 14..][..shape.bytes() - 14].fill(0x5a);
        Ok(chunk)
    }

    fn descriptor(&self, chunk: &Frame, start: usize, len: usize) -> Descriptor {
        let addr = self.pool.offset_of(&chunk.bytes()[start..]).unwrap_or(0);
        Descriptor { addr, len: u32::try_from(len).unwrap_or(0), options: 0 }
    }
}

/// Where a packet begins in a chunk: as the link has it, so that both are as well aligned.
const LEAD: usize = 64;

/// CPU time of this thread, in seconds.
pub(crate) fn thread_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
        .as_secs_f64()
}

/// Packets, and the CPU seconds that they took.
#[derive(Clone, Copy, Debug, Default)]
struct Work {
    packets: u64,
    seconds: f64,
}

impl Work {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    fn rate(self) -> f64 {
        self.packets as f64 / self.seconds
    }
}

/// Sends packets that lie ready in 256 chunks, one after the other.
fn send_bare(bed: &Bed, shape: Shape, seconds: f64) -> Result<Work, Complaint> {
    let mut socket = bed.bare()?;
    let ready: Vec<Frame> = (0..256).map(|_| bed.packet(shape)).collect::<Result<_, _>>()?;
    let descriptors: Vec<_> = ready.iter().map(|chunk| bed.descriptor(chunk, LEAD, shape.bytes())).collect();
    let mut next = descriptors.iter().cycle();
    let mut work = Work::default();
    let begun = thread_seconds();
    while work.seconds < seconds {
        for _ in 0..BATCH {
            if socket.room() == 0 || !socket.stage(*next.next().ok_or("no packets")?) {
                break;
            }
        }
        socket.flush();
        work.packets += u64::from(socket.reclaim());
        work.seconds = thread_seconds() - begun;
    }
    Ok(work)
}

fn send_link(bed: &Bed, shape: Shape, seconds: f64) -> Result<Work, Complaint> {
    let mut link = bed.link()?;
    let ready = bed.packet(shape)?;
    let header_bytes = if matches!(shape, Shape::Short) { 64 } else { HEADERS_BYTES };
    // Eight records of payload, as a worker's sealed frames would lie; segments walk through them.
    let frames: Vec<_> = core::iter::from_fn(|| bed.pool.acquire_large())
        .take(8)
        .map(|mut frame| {
            frame.bytes_mut().fill(0x5a);
            frame.share()
        })
        .collect();
    let starts = (0..11).map(|at| 512 + at * 1_448);
    let segments: Vec<Part> = frames
        .iter()
        .flat_map(|frame| starts.clone().map(|start| Part { frame: frame.clone(), start, len: 1_448 }))
        .collect();
    let mut headers = Headers::new();
    headers.room_mut()[..header_bytes].copy_from_slice(&ready.bytes()[LEAD..][..header_bytes]);
    headers.set_len(header_bytes);
    let mut packet = Packet { headers, parts: Parts::new(), offload: Offload::default() };
    let mut next = segments.iter().cycle();
    let mut work = Work::default();
    let begun = thread_seconds();
    while work.seconds < seconds {
        for _ in 0..BATCH {
            packet.parts.clear();
            if matches!(shape, Shape::Full) {
                packet.parts.extend(next.next().cloned());
            }
            if link.stage(&mut packet).is_err() {
                break;
            }
        }
        link.flush();
        work.packets += link.reclaim() as u64;
        work.seconds = thread_seconds() - begun;
    }
    if link.counters().send_errors > 0 {
        return Err("packets were refused".into());
    }
    Ok(work)
}

/// The other end: sends a batch, and lets what comes back go by.
struct Generator {
    socket: Socket,
    descriptors: Vec<Descriptor>,
    _ready: Vec<Frame>,
}

impl Generator {
    fn new(bed: &Bed, shape: Shape) -> Result<Self, Complaint> {
        let socket = bed.socket(bed.theirs, &bed.steering[1])?;
        let ready: Vec<Frame> = (0..BATCH).map(|_| bed.packet(shape)).collect::<Result<_, _>>()?;
        let descriptors = ready.iter().map(|chunk| bed.descriptor(chunk, LEAD, shape.bytes())).collect();
        Ok(Self { socket, descriptors, _ready: ready })
    }

    fn batch(&mut self) {
        for descriptor in &self.descriptors {
            let _ = self.socket.stage(*descriptor);
        }
        self.socket.flush();
        self.socket.reclaim();
        while self.socket.receive().is_some() {}
    }
}

fn swap(packet: &mut [u8]) {
    let (to, from) = packet.split_at_mut(6);
    to.swap_with_slice(&mut from[..6]);
}

fn reflect_bare(bed: &Bed, shape: Shape, seconds: f64) -> Result<Work, Complaint> {
    let mut generator = Generator::new(bed, shape)?;
    let mut socket = bed.bare()?;
    let mut sent: VecDeque<Frame> = VecDeque::new();
    let mut work = Work::default();
    while work.seconds < seconds {
        generator.batch();
        let begun = thread_seconds();
        while let Some(mut piece) = socket.receive() {
            swap(&mut piece.frame.bytes_mut()[piece.start..]);
            if socket.stage(bed.descriptor(&piece.frame, piece.start, piece.len)) {
                sent.push_back(piece.frame);
                work.packets += 1;
            }
        }
        socket.flush();
        for _ in 0..socket.reclaim() {
            sent.pop_front();
        }
        work.seconds += thread_seconds() - begun;
    }
    Ok(work)
}

fn reflect_link(bed: &Bed, shape: Shape, seconds: f64) -> Result<Work, Complaint> {
    let mut generator = Generator::new(bed, shape)?;
    let mut link = bed.link()?;
    let mut copy = vec![0; 2_048];
    let mut work = Work::default();
    while work.seconds < seconds {
        generator.batch();
        let begun = thread_seconds();
        while let Some(received) = link.receive() {
            let len = received.bytes.len();
            copy[..len].copy_from_slice(received.bytes);
            swap(&mut copy);
            work.packets += u64::from(link.stage_bytes(&copy[..len]).is_ok());
        }
        link.flush();
        link.reclaim();
        work.seconds += thread_seconds() - begun;
    }
    Ok(work)
}

type Loop = fn(&Bed, Shape, f64) -> Result<Work, Complaint>;

/// Both loops in turn, for packets of each shape.
fn contest(bench: &str, [bare, link]: [Loop; 2], effort: Effort, report: &Report) -> Result<(), Complaint> {
    let bed = Bed::new()?;
    let seconds = effort.seconds / 10.0;
    for (name, shape) in Shape::ALL {
        let (mut ratios, mut bares, mut links) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 0..effort.runs * PAIRS_PER_RUN {
            // Who is first changes, so that neither profits from what the other warmed up.
            let (bare, link) = if pair % 2 == 0 {
                let first = bare(&bed, shape, seconds)?;
                (first, link(&bed, shape, seconds)?)
            } else {
                let first = link(&bed, shape, seconds)?;
                (bare(&bed, shape, seconds)?, first)
            };
            ratios.push(link.rate() / bare.rate());
            bares.push(bare.rate() / 1e6);
            links.push(link.rate() / 1e6);
        }
        let detail = json!({
            "link_mpps": Spread::of(links).json(),
            "bare_mpps": Spread::of(bares).json(),
            "ratio": Spread::of(ratios.clone()).json(),
            "packet_bytes": shape.bytes(),
            "batch": BATCH,
            "pairs": effort.runs * PAIRS_PER_RUN,
            "mode": "veth, the kernel copies",
            "rate": "packets per second of the thread's CPU time",
        });
        report.result(&format!("{bench}-{name}"), Spread::of(ratios).median, "ratio", &detail);
    }
    Ok(())
}

/// Runs a contest in a namespace of its own, on one core.
fn apart(bench: &'static str, loops: [Loop; 2], effort: Effort, report: &Report) -> Result<(), Complaint> {
    let namespace = Namespace::new("afxdp")?;
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            namespace.enter().map_err(|why| why.to_string())?;
            pin(0);
            contest(bench, loops, effort, report).map_err(|why| why.to_string())
        });
        match inside.join() {
            Ok(result) => result.map_err(Complaint::from),
            Err(_) => Err("the measuring thread panicked".into()),
        }
    })
}

/// Our link's rate of packets sent as a share of a bare loop's.
pub(crate) fn send(effort: Effort, report: &Report) -> Result<(), Complaint> {
    apart("afxdp-send", [send_bare, send_link], effort, report)
}

/// The same of packets sent back to where they came from.
pub(crate) fn reflect(effort: Effort, report: &Report) -> Result<(), Complaint> {
    apart("afxdp-reflect", [reflect_bare, reflect_link], effort, report)
}
