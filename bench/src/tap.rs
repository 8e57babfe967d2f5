//! Over TAP to a kernel client, beside nginx over veth in the same run.
//!
//! ```text
//!   core 0   the server: our engine, or nginx's only worker, and whatever the kernel does on its behalf
//!   core 1   the client: drain, and the client's receive processing (rps_cpus, the same for both servers)
//! ```
//!
//! *Gb/s per server core* is Gb/s of objects divided by the busy share of core 0, softirq included. Machine CPU seconds
//! per GB stand beside it: the client costs the same against either server, so the difference is the servers'.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;

use disk_memory::{MemoryDisk, MemoryDiskConfig, Object};
use disk_uring::{DiskUring, UringConfig};
use link_tap::{TapDevice, TapLink, TapSetup};
use platform::{Disk, RootId};
use serde_json::{Value, json};
use testbed::cpu::{Busy, pin};
use testbed::{Namespace, path};
use vnet::VnetConfig;

use crate::Effort;
use crate::drain::{Complaint, Drain, Expected, Load};
use crate::nginx::{Nginx, Reading, chroot, configuration};
use crate::report::{Report, Spread};
use crate::world::{self, BenchEngine, OBJECT_BYTES};

const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;
const CONNECTIONS: usize = 100;
/// Enough that nobody's disk cache helps, and little enough to be made in seconds: 600 MB.
const OBJECTS: usize = 2_000;
/// As the server's default.
const FILE_READS_MAX: u32 = 32;
const ROOT: RootId = RootId(0);

/// Where our engine's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The files, by O_DIRECT.
    Files,
    /// A disk in memory. Its bytes come from a block that stays in the cache, the nearest a CPU comes to DMA: an
    /// untouched frame would not do, for a kernel client's delayed ACK makes TCP probe, and a probe is read again.
    Memory,
}

/// One comparison of the issue.
struct Contest {
    name: &'static str,
    secure: bool,
    ours: Source,
    theirs: Reading,
}

const CONTESTS: [Contest; 4] = [
    Contest { name: "tls-disk", secure: true, ours: Source::Files, theirs: Reading::Direct },
    Contest { name: "tls-memory", secure: true, ours: Source::Memory, theirs: Reading::Cached },
    Contest { name: "plain-disk", secure: false, ours: Source::Files, theirs: Reading::Direct },
    Contest { name: "plain-memory", secure: false, ours: Source::Memory, theirs: Reading::Cached },
];

/// What a server gave in one run.
#[derive(Clone, Copy, Debug)]
struct Score {
    gbit_per_s: f64,
    core: f64,
    machine_seconds_per_gb: f64,
}

impl Score {
    fn per_core(self) -> f64 {
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

/// Our own contests with nginx, one after the other.
pub(crate) fn beside_nginx(effort: Effort, report: &Report) -> Result<(), Complaint> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root, for namespaces and devices: run it with sudo".into());
    }
    let root = chroot()?;
    let directory = root.join("bench");
    make_objects(&directory)?;
    let certificate = world::certificate()?;
    for contest in &CONTESTS {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // Interleaved: the machine's speed drifts, and both are to drift with it.
        for _ in 0..effort.runs {
            ours.push(run_ours(contest, effort, &directory, &certificate)?);
            theirs.push(run_nginx(contest, effort, &root, &certificate)?);
        }
        let ratios = ours.iter().zip(&theirs).map(|(ours, theirs)| ours.per_core() / theirs.per_core());
        let ratio = Spread::of(ratios);
        let detail = json!({
            "ratio": ratio.json(),
            "ours": scores(&ours),
            "nginx": scores(&theirs),
            "nginx_configuration": configuration(SERVER_CORE, contest.theirs),
            "connections": CONNECTIONS,
            "object_bytes": OBJECT_BYTES,
            "runs": effort.runs,
        });
        report.result(&format!("tap-nginx/{}", contest.name), ratio.median, "ratio", &detail);
    }
    Ok(())
}

fn scores(scores: &[Score]) -> Value {
    let spread = |field: fn(&Score) -> f64| Spread::of(scores.iter().map(field)).json();
    json!({
        "gbit_per_s": spread(|score| score.gbit_per_s),
        "core_busy": spread(|score| score.core),
        "gbit_per_s_per_core": spread(|score| score.per_core()),
        "machine_cpu_s_per_gb": spread(|score| score.machine_seconds_per_gb),
    })
}

/// The load, from inside `namespace`, while a server runs.
fn measure(
    namespace: &Namespace,
    contest: &Contest,
    server: Ipv4Addr,
    effort: Effort,
    source: Source,
) -> Result<Score, Complaint> {
    namespace.enter()?;
    pin(CLIENT_CORE);
    let load = Load {
        server: SocketAddr::new(IpAddr::V4(server), if contest.secure { 443 } else { 80 }),
        secure: contest.secure,
        paths: (0..OBJECTS).map(object_path).collect(),
        object_bytes: OBJECT_BYTES,
        connections: CONNECTIONS,
    };
    let expected: Expected = match source {
        Source::Files => Arc::new(|path: &str| object(object_index(path))),
        Source::Memory => Arc::new(|_: &str| {
            let mut bytes = vec![0; usize::try_from(OBJECT_BYTES).expect("300 KiB")];
            fill(0, 0, &mut bytes);
            bytes
        }),
    };
    let mut drain = Drain::connect(&load, expected)?;
    drain.run(Duration::from_secs_f64(effort.seconds / 4.0))?;
    let busy = Busy::read(SERVER_CORE);
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
fn measured(
    namespace: &Namespace,
    contest: &Contest,
    server: Ipv4Addr,
    effort: Effort,
    source: Source,
) -> Result<Score, Complaint> {
    thread::scope(|scope| {
        let client = scope.spawn(|| measure(namespace, contest, server, effort, source));
        client.join().unwrap_or_else(|_| Err("the client died".into()))
    })
}

fn run_nginx(
    contest: &Contest,
    effort: Effort,
    root: &Path,
    certificate: &(String, String),
) -> Result<Score, Complaint> {
    let client = Namespace::new("client")?;
    let server = Namespace::new("server")?;
    path::veth((&client, "198.18.1.1/24"), (&server, "198.18.1.2/24"))?;
    path::congestion_control(&client, "reno")?;
    path::congestion_control(&server, "reno")?;
    path::limit_receive_buffers(&client)?;
    path::steer(&client, "near", CLIENT_CORE)?;
    path::steer(&server, "far", SERVER_CORE)?;
    let (chain, key) = certificate;
    let _nginx = Nginx::start(root, &server, SERVER_CORE, contest.theirs, (chain, key))?;
    measured(&client, contest, Ipv4Addr::new(198, 18, 1, 2), effort, Source::Files)
}

fn run_ours(
    contest: &Contest,
    effort: Effort,
    directory: &Path,
    certificate: &(String, String),
) -> Result<Score, Complaint> {
    let namespace = Namespace::new("ours")?;
    path::congestion_control(&namespace, "reno")?;
    path::limit_receive_buffers(&namespace)?;
    let stop = Arc::new(AtomicBool::new(false));
    let (ready, is_ready) = std::sync::mpsc::channel::<Result<(), String>>();
    thread::scope(|scope| {
        let (stop_server, namespace) = (Arc::clone(&stop), &namespace);
        let server = scope.spawn(move || {
            let served = serve(namespace, contest.ours, directory, certificate, &stop_server, &ready);
            let _ = ready.send(served.as_ref().copied().map_err(ToString::to_string));
            served
        });
        let outcome = match is_ready.recv() {
            Ok(Ok(())) => {
                path::steer(namespace, "tap", CLIENT_CORE).map_err(Complaint::from).and_then(|()| {
                    measured(namespace, contest, Ipv4Addr::new(198, 18, 0, 2), effort, contest.ours)
                })
            }
            Ok(Err(why)) => Err(why.into()),
            Err(_) => Err("the server died".into()),
        };
        stop.store(true, Ordering::Relaxed);
        server.join().unwrap_or_else(|_| Err("the server died".into()))?;
        outcome
    })
}

fn serve(
    namespace: &Namespace,
    source: Source,
    directory: &Path,
    (chain, key): &(String, String),
    stop: &AtomicBool,
    ready: &std::sync::mpsc::Sender<Result<(), String>>,
) -> Result<(), Complaint> {
    namespace.enter()?;
    pin(SERVER_CORE);
    let (mut device, mut queues) = TapDevice::create(Some("tap"), 1)?;
    device.bring_up(TapSetup::default())?;
    device.add_address(IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)), 24)?;
    let queue = queues.pop().ok_or("a TAP without a queue")?;
    let link = queue.open(VnetConfig::default())?;
    let pool = world::pool()?;
    let secure = world::secure(chain, key)?;
    let address = Ipv4Addr::new(198, 18, 0, 2);
    match source {
        Source::Files => {
            let roots = vec![std::os::fd::OwnedFd::from(fs::File::open(directory)?)];
            let disk = DiskUring::open(UringConfig::default(), roots, pool.region())?;
            let _ = ready.send(Ok(()));
            turn_until(stop, &mut world::engine(address, (link, disk, pool), secure, FILE_READS_MAX)?);
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
            let _ = ready.send(Ok(()));
            turn_until(
                stop,
                &mut world::engine(address, (link, disk, pool), secure, world::MEMORY_READS_MAX)?,
            );
        }
    }
    Ok(())
}

/// The worker's loop: turns while there is work, then sleeps on what can wake it.
fn turn_until<D: Disk>(stop: &AtomicBool, engine: &mut BenchEngine<TapLink, D>) {
    use platform::Link as _;
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
    let counters = engine.counters();
    if counters.failed > 0 {
        crate::report::complain(&format!("connections failed: {counters:?}"));
    }
}
