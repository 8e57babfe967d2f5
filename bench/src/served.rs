//! A server on one core and a kernel client on the other: our engine over a device, or nginx over veth.
//!
//! ```text
//!   core 0   the server: our engine, or nginx's only worker, and whatever the kernel does on its behalf
//!   core 1   the client: drain, and the client's receive processing (rps_cpus, the same for every server)
//! ```
//!
//! *Gb/s per server core* is Gb/s of objects divided by the busy share of core 0, softirq included. Machine CPU seconds
//! per GB stand beside it: the client costs the same against either server, so the difference is the servers'.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

use disk_memory::{MemoryDisk, MemoryDiskConfig, Object};
use disk_uring::{DiskUring, UringConfig};
use dma::Pool;
use link_packet::{PacketConfig, Rings};
use link_tap::{TapDevice, TapSetup};
use platform::{Disk, Link, RootId};
use serde_json::{Value, json};
use testbed::cpu::{Busy, pin};
use testbed::{Namespace, path};
use vnet::VnetConfig;

use crate::Effort;
use crate::drain::{Complaint, Drain, Expected, Load};
use crate::nginx::{Nginx, Reading, chroot};
use crate::report::Spread;
use crate::world::{self, BenchEngine, OBJECT_BYTES};

pub(crate) const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;
pub(crate) const CONNECTIONS: usize = 100;
/// Enough that nobody's disk cache helps, and little enough to be made in seconds: 600 MB.
const OBJECTS: usize = 2_000;
/// As the server's default.
const FILE_FRAMES_MAX: u32 = 256;
const ROOT: RootId = RootId(0);
const SERVER_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xb, 0, 0, 0, 0, 0, 2);

/// Where our engine's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The files, by O_DIRECT.
    Files,
    /// A disk in memory. Its bytes come from a block that stays in the cache, the nearest a CPU comes to DMA: an
    /// untouched frame would not do, for a kernel client's delayed ACK makes TCP probe, and a probe is read again.
    Memory,
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) secure: bool,
    pub(crate) ipv6: bool,
    pub(crate) source: Source,
}

/// What our engine reaches its client over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Over {
    /// A TAP device, whose kernel is the client's.
    Tap(VnetConfig),
    /// Rings on one end of a veth pair, the client at the other. The kernel copies what leaves, for veth cannot read out
    /// of a ring.
    Packet(Rings, PacketConfig),
}

/// What all runs share.
#[derive(Debug)]
pub(crate) struct Stage {
    root: PathBuf,
    certificate: (String, String),
    pub(crate) effort: Effort,
}

impl Stage {
    /// Makes the objects, and installs nginx the first time.
    pub(crate) fn new(effort: Effort) -> Result<Self, Complaint> {
        if !rustix::process::geteuid().is_root() {
            return Err("needs root, for namespaces and devices: run it with sudo".into());
        }
        let root = chroot()?;
        make_objects(&root.join("bench"))?;
        Ok(Self { root, certificate: world::certificate()?, effort })
    }
}

/// What a server gave in one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Score {
    gbit_per_s: f64,
    core: f64,
    machine_seconds_per_gb: f64,
}

impl Score {
    pub(crate) fn per_core(self) -> f64 {
        self.gbit_per_s / self.core
    }
}

fn object_path(index: usize) -> String {
    format!("/{index:06}.m4s")
}

/// The number in an object's path.
fn object_index(path: &str) -> usize {
    path.trim_matches(|c: char| !c.is_ascii_digit())
        .split('.')
        .next()
        .and_then(|digits| digits.parse().ok())
        .expect("a path of ours")
}

/// Bytes of an object, from its number: cheap, and different for each.
fn object(index: usize) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(OBJECT_BYTES).expect("300 KiB")];
    disk_memory::pattern(index as u64, 0, &mut bytes);
    bytes
}

/// What the disk in memory reads: one block, again and again.
fn fill(_number: u64, offset: u64, out: &mut [u8]) {
    const BLOCK_BYTES: usize = 64 << 10;
    static BLOCK: OnceLock<Vec<u8>> = OnceLock::new();
    let block = BLOCK.get_or_init(|| {
        let mut block = vec![0; BLOCK_BYTES];
        disk_memory::pattern(0, 0, &mut block);
        block
    });
    let mut at = usize::try_from(offset % BLOCK_BYTES as u64).expect("within a block");
    let mut rest = out;
    while !rest.is_empty() {
        let (now, later) = rest.split_at_mut(rest.len().min(BLOCK_BYTES - at));
        now.copy_from_slice(&block[at..at + now.len()]);
        (rest, at) = (later, 0);
    }
}

fn make_objects(directory: &Path) -> Result<(), Complaint> {
    fs::create_dir_all(directory)?;
    for index in 0..OBJECTS {
        let path = directory.join(&object_path(index)[1..]);
        if fs::metadata(&path).is_ok_and(|meta| meta.len() == OBJECT_BYTES) {
            continue;
        }
        fs::write(path, object(index))?;
    }
    rustix::fs::sync();
    Ok(())
}

/// Spreads of what some runs gave.
pub(crate) fn scores(scores: &[Score]) -> Value {
    let spread = |field: fn(&Score) -> f64| Spread::of(scores.iter().map(field)).json();
    json!({
        "gbit_per_s": spread(|score| score.gbit_per_s),
        "core_busy": spread(|score| score.core),
        "gbit_per_s_per_core": spread(|score| score.per_core()),
        "machine_cpu_s_per_gb": spread(|score| score.machine_seconds_per_gb),
    })
}

/// The load, from inside `namespace`, while a server runs.
fn measure(namespace: &Namespace, job: Job, server: IpAddr, effort: Effort) -> Result<Score, Complaint> {
    namespace.enter()?;
    pin(CLIENT_CORE);
    let load = Load {
        server: SocketAddr::new(server, if job.secure { 443 } else { 80 }),
        secure: job.secure,
        paths: (0..OBJECTS).map(object_path).collect(),
        object_bytes: OBJECT_BYTES,
        connections: CONNECTIONS,
    };
    let expected: Expected = match job.source {
        Source::Files => Arc::new(|path: &str| object(object_index(path))),
        Source::Memory => Arc::new(|_: &str| {
            let mut bytes = vec![0; usize::try_from(OBJECT_BYTES).expect("300 KiB")];
            fill(0, 0, &mut bytes);
            bytes
        }),
    };
    let mut drain = Drain::connect(&load, expected)?;
    drain.run(Duration::from_secs_f64(effort.seconds / 4.0))?;
    let busy = Busy::read();
    let drained = drain.run(Duration::from_secs_f64(effort.seconds))?;
    let spent = busy.spent(SERVER_CORE);
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let bytes = drained.wire_bytes as f64;
    Ok(Score {
        gbit_per_s: bytes * 8.0 / drained.seconds / 1e9,
        core: spent.core_fraction,
        machine_seconds_per_gb: spent.machine_seconds / (bytes / 1e9),
    })
}

/// In a thread of its own, which dies in the namespace that it entered.
fn measured(namespace: &Namespace, job: Job, server: IpAddr, effort: Effort) -> Result<Score, Complaint> {
    thread::scope(|scope| {
        let client = scope.spawn(|| measure(namespace, job, server, effort));
        client.join().unwrap_or_else(|_| Err("the client died".into()))
    })
}

/// A veth pair between two namespaces, `near` at the client and `far` at the server, the same for every server.
fn cable() -> Result<(Namespace, Namespace), Complaint> {
    let client = Namespace::new("client")?;
    let server = Namespace::new("server")?;
    path::veth((&client, "198.18.1.1/24"), (&server, "198.18.1.2/24"))?;
    path::congestion_control(&client, "reno")?;
    path::congestion_control(&server, "reno")?;
    path::limit_receive_buffers(&client)?;
    path::steer(&client, "near", CLIENT_CORE)?;
    path::steer(&server, "far", SERVER_CORE)?;
    Ok((client, server))
}

/// nginx, which reads `theirs`.
pub(crate) fn run_nginx(stage: &Stage, job: Job, theirs: Reading) -> Result<Score, Complaint> {
    let (client, server) = cable()?;
    let (chain, key) = &stage.certificate;
    let _nginx = Nginx::start(&stage.root, &server, SERVER_CORE, theirs, (chain, key))?;
    let job = Job { source: Source::Files, ..job };
    measured(&client, job, IpAddr::V4(Ipv4Addr::new(198, 18, 1, 2)), stage.effort)
}

/// Our engine.
pub(crate) fn run_ours(stage: &Stage, job: Job, over: Over) -> Result<Score, Complaint> {
    match over {
        Over::Tap(_) => {
            let namespace = Namespace::new("ours")?;
            path::congestion_control(&namespace, "reno")?;
            path::limit_receive_buffers(&namespace)?;
            run_between(stage, job, over, (&namespace, &namespace))
        }
        Over::Packet(..) => {
            let (client, server) = cable()?;
            run_between(stage, job, over, (&client, &server))
        }
    }
}

fn run_between(
    stage: &Stage,
    job: Job,
    over: Over,
    (near, far): (&Namespace, &Namespace),
) -> Result<Score, Complaint> {
    let stop = AtomicBool::new(false);
    let (ready, is_ready) = mpsc::channel::<Result<(), String>>();
    thread::scope(|scope| {
        let stop_server = &stop;
        let server = scope.spawn(move || {
            let served = serve(stage, job, over, far, stop_server, &ready);
            let _ = ready.send(served.as_ref().copied().map_err(ToString::to_string));
            served
        });
        let outcome = match is_ready.recv() {
            Ok(Ok(())) => prepare_client(near, job, over)
                .and_then(|()| measured(near, job, address(job, over), stage.effort)),
            Ok(Err(why)) => Err(why.into()),
            Err(_) => Err("the server died".into()),
        };
        stop.store(true, Ordering::Relaxed);
        server.join().unwrap_or_else(|_| Err("the server died".into()))?;
        outcome
    })
}

/// Ours, in the client's network.
fn address(job: Job, over: Over) -> IpAddr {
    match over {
        _ if job.ipv6 => IpAddr::V6(SERVER_V6),
        Over::Tap(_) => IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2)),
        // Beside the kernel's, which is .2.
        Over::Packet(..) => IpAddr::V4(Ipv4Addr::new(198, 18, 1, 3)),
    }
}

fn prepare_client(near: &Namespace, job: Job, over: Over) -> Result<(), Complaint> {
    let device = if let Over::Tap(_) = over { "tap" } else { "near" };
    if let Over::Tap(_) = over {
        path::steer(near, device, CLIENT_CORE)?;
    }
    if job.ipv6 {
        near.ip(&["address", "add", "fd00:b::1/64", "dev", device, "nodad"])?;
    }
    Ok(())
}

fn serve(
    stage: &Stage,
    job: Job,
    over: Over,
    namespace: &Namespace,
    stop: &AtomicBool,
    ready: &mpsc::Sender<Result<(), String>>,
) -> Result<(), Complaint> {
    namespace.enter()?;
    pin(SERVER_CORE);
    match over {
        Over::Tap(config) => {
            let (mut device, mut queues) = TapDevice::create(Some("tap"), 1)?;
            device.bring_up(TapSetup::default())?;
            device.add_address(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)), 24)?;
            let queue = queues.pop().ok_or("a TAP without a queue")?;
            let link = queue.open(config)?;
            serve_on((link, world::pool()?), stage, (job, address(job, over)), stop, ready)
        }
        Over::Packet(rings, config) => {
            let queue = link_packet::open_with("far", 1, rings)?.pop().ok_or("no queue")?;
            let pool = world::pool()?;
            let link = queue.open(&pool, config)?;
            serve_on((link, pool), stage, (job, address(job, over)), stop, ready)
        }
    }
}

fn serve_on<L: Link>(
    (link, pool): (L, Pool),
    stage: &Stage,
    (job, address): (Job, IpAddr),
    stop: &AtomicBool,
    ready: &mpsc::Sender<Result<(), String>>,
) -> Result<(), Complaint> {
    let (chain, key) = &stage.certificate;
    let secure = world::secure(chain, key)?;
    match job.source {
        Source::Files => {
            let roots = vec![std::os::fd::OwnedFd::from(fs::File::open(stage.root.join("bench"))?)];
            let disk = DiskUring::open(UringConfig::default(), roots, pool.region())?;
            let mut engine = world::engine(address, (link, disk, pool), secure, FILE_FRAMES_MAX)?;
            let _ = ready.send(Ok(()));
            turn_until(stop, &mut engine);
        }
        Source::Memory => {
            let mut disk = MemoryDisk::new(MemoryDiskConfig::default());
            for index in 0..OBJECTS {
                disk.insert(
                    ROOT,
                    &object_path(index)[1..],
                    Object::function(index as u64, OBJECT_BYTES, fill),
                );
            }
            let mut engine = world::engine(address, (link, disk, pool), secure, world::MEMORY_FRAMES_MAX)?;
            let _ = ready.send(Ok(()));
            turn_until(stop, &mut engine);
        }
    }
    Ok(())
}

/// The worker's loop: turns while there is work, then sleeps on what can wake it.
fn turn_until<L: Link, D: Disk>(stop: &AtomicBool, engine: &mut BenchEngine<L, D>) {
    use rustix::event::{PollFd, PollFlags, poll};
    while !stop.load(Ordering::Relaxed) {
        if engine.turn().busy {
            continue;
        }
        let descriptors = [engine.link().descriptor(), engine.disk().descriptor()];
        let mut waits: Vec<PollFd<'_>> =
            descriptors.iter().flatten().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        let _ = poll(&mut waits, Some(&timeout));
    }
    let (counters, link) = (engine.counters(), engine.link().counters());
    // Clients that leave in the middle of a response are no failure of the server's.
    if counters.tag_mismatches + counters.disk_failures + link.send_errors + link.receive_errors > 0 {
        crate::report::complain(&format!("not a clean run: {counters:?} {link:?}"));
    }
}
