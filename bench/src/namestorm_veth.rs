//! Namestorm over AF_XDP on a veth pair, beside Knot (XDP), NSD (sockets) and a reflector that only turns packets round.
//!
//! ```text
//!   core 1   the lab's generator, frames through AF_XDP ── near ═══ far ── a server of one worker          core 0
//! ```
//!
//! All of them take turns in one run, each with a pair of its own that goes afterwards: Knot leaves its program attached.
//! Receive processing of either end stays on its core, so that what a server costs is what its core was busy with. The
//! zone has an address for each name; questions are drawn uniformly, with EDNS, and every answer is looked at.

use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::VecDeque;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use dma::{Frame, Pool, PoolLayout};
use lab::device::{Device, DeviceName};
use lab::dns::{message::Manner, names, run};
use lab::load::choice::{Chooser, Mix};
use link_afxdp::Interface;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use serde_json::{Value, json};
use testbed::cpu::{Busy, pin};
use testbed::{Namespace, path};
use xdp::{AttachMode, CopyMode, Descriptor, Scope, Socket, SocketConfig, Steering, Transport};

use crate::Effort;
use crate::drain::Complaint;
use crate::report::{Report, Spread};

const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 2);
const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 100);
const PORT: u16 = 53;
const SIZES: [u32; 3] = [1, 10_000, 1_000_000];
/// Ports that questions come from, and how many are out from each: fewer in all than the 256 that the queue of a veth
/// device with a program holds, or bursts are lost and windows wait for their time.
const WAYS: usize = 16;
const WINDOW: u16 = 12;
const SLOTS: u32 = 2_048;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Reflector,
    Namestorm,
    Knot,
    Nsd,
}

impl Who {
    const ALL: [Self; 4] = [Self::Reflector, Self::Namestorm, Self::Knot, Self::Nsd];

    const fn name(self) -> &'static str {
        match self {
            Self::Reflector => "reflector",
            Self::Namestorm => "namestorm",
            Self::Knot => "knot",
            Self::Nsd => "nsd",
        }
    }
}

/// What came of one run.
#[derive(Clone, Copy, Debug)]
struct Score {
    answers_per_s: f64,
    /// Of a core that would do nothing else.
    per_core: f64,
    /// CPU of the whole machine, generator included.
    machine_us: f64,
    /// Share of its core that the server's side took.
    core: f64,
    generator_core: f64,
    failed: f64,
}

/// Every size of zone, every server in turn.
pub(crate) fn beside(effort: Effort, report: &Report) -> Result<(), Complaint> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root, for namespaces: run it with sudo".into());
    }
    for size in SIZES {
        let bench = format!("namestorm-veth {size}");
        if !report.wants(&bench) {
            continue;
        }
        let stage = Stage::new(size)?;
        let mut scores: Vec<(Who, Vec<Score>)> = Who::ALL.map(|who| (who, Vec::new())).into();
        for _ in 0..effort.runs {
            for (who, scores) in &mut scores {
                scores.push(stage.measure(*who, effort)?);
            }
        }
        let ratio = |to: Who, of: fn(&Score) -> f64| {
            let of_whom = |whose: Who| {
                scores.iter().find(|(who, _)| *who == whose).map_or(&[][..], |(_, scores)| scores)
            };
            let pairs = of_whom(Who::Namestorm).iter().zip(of_whom(to));
            Spread::of(pairs.map(|(ours, theirs)| of(ours) / of(theirs)))
        };
        let to_reflector = ratio(Who::Reflector, |score| score.answers_per_s);
        let mut detail = serde_json::Map::new();
        detail.insert("of the reflector's answers/s".to_owned(), to_reflector.json());
        for (name, who) in [("to Knot per server core", Who::Knot), ("to NSD per server core", Who::Nsd)] {
            detail.insert(name.to_owned(), ratio(who, |score| score.per_core).json());
        }
        for (who, scores) in &scores {
            detail.insert(who.name().to_owned(), told(scores));
        }
        detail.insert("runs".to_owned(), json!(effort.runs));
        report.result(&bench, to_reflector.median, "of the reflector", &detail.into());
    }
    Ok(())
}

fn told(scores: &[Score]) -> Value {
    let of = |what: fn(&Score) -> f64| Spread::of(scores.iter().map(what)).json();
    json!({
        "answers_per_s": of(|score| score.answers_per_s), "per_server_core": of(|score| score.per_core),
        "machine_cpu_us": of(|score| score.machine_us), "server_core": of(|score| score.core),
        "generator_core": of(|score| score.generator_core), "failed": of(|score| score.failed),
    })
}

/// The zone, and where servers keep what they write.
struct Stage {
    directory: PathBuf,
    names: u32,
}

impl Stage {
    fn new(names: u32) -> Result<Self, Complaint> {
        let directory = std::env::temp_dir().join(format!("namestorm-veth-{}-{names}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let mut text =
            String::from("$TTL 3600\n@ SOA ns host 1 3600 900 604800 300\n@ NS ns\nns A 192.0.2.1\n");
        for index in 0..names {
            let [_, b, c, d] = index.to_be_bytes();
            let _ = writeln!(text, "n{index} IN A 10.{b}.{c}.{d}");
        }
        std::fs::write(directory.join("zone"), text)?;
        Ok(Self { directory, names })
    }

    fn measure(&self, who: Who, effort: Effort) -> Result<Score, Complaint> {
        let (client, server) = (Namespace::new("asks")?, Namespace::new("answers")?);
        path::veth((&client, "198.18.1.1/24"), (&server, "198.18.1.2/24"))?;
        // What the kernel sends, neither end would sum for it.
        path::complete_packets(&client, "near")?;
        path::complete_packets(&server, "far")?;
        path::steer(&client, "near", CLIENT_CORE)?;
        path::steer(&server, "far", SERVER_CORE)?;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let reflector = (who == Who::Reflector).then(|| {
                let (server, stop) = (&server, &stop);
                scope.spawn(move || reflect(server, stop).map_err(|why| why.to_string()))
            });
            let process = if who == Who::Reflector { None } else { Some(self.start(who, &server)?) };
            let score = scope
                .spawn(|| {
                    client.enter().map_err(|why| why.to_string())?;
                    wait_for(who)?;
                    if who != Who::Nsd {
                        // It has a program by now, and with it queues that are polled.
                        path::poll_on(&server, "far", SERVER_CORE).map_err(|why| why.to_string())?;
                    }
                    self.ask(&client, effort)
                })
                .join()
                .unwrap_or_else(|_| Err("the client died".to_owned()));
            stop.store(true, Ordering::Relaxed);
            drop(process);
            if let Some(reflector) = reflector {
                reflector.join().map_err(|_| "the reflector died")??;
            }
            score.map_err(|why| format!("{}: {why}", who.name()).into())
        })
    }

    /// A server on core 0, all of its threads.
    fn start(&self, who: Who, namespace: &Namespace) -> Result<Running, Complaint> {
        let at = self.directory.display();
        let zone = self.directory.join("zone");
        let config = self.directory.join("conf");
        let mut command = namespace.command("taskset");
        command.args(["-c", &SERVER_CORE.to_string()]);
        match who {
            Who::Reflector => return Err("no process".into()),
            Who::Namestorm => {
                let program = std::env::current_exe()?.with_file_name("namestorm");
                if !program.exists() {
                    return Err(
                        "namestorm does not lie beside the bench: cargo build --release -p namestorm".into(),
                    );
                }
                command.arg(program).args(["serve", "--link", "afxdp:far", "--rate", "0", "--workers", "1"]);
                command.args(["--admin", "off", "--zone", &format!("example={}", zone.display())]);
            }
            Who::Nsd => {
                std::fs::write(
                    &config,
                    format!(
                        "server:\n server-count: 1\n ip-address: {SERVER}\n username: \"\"\n chroot: \"\"\n \
                         zonesdir: \"{at}\"\n database: \"\"\n pidfile: \"{at}/pid\"\n xfrdfile: \"{at}/xfrd\"\n \
                         zonelistfile: \"{at}/list\"\n xfrdir: \"{at}\"\n minimal-responses: yes\n \
                         rrl-ratelimit: 0\nremote-control:\n control-enable: no\nzone:\n name: example\n \
                         zonefile: zone\n"
                    ),
                )?;
                command.args(["nsd", "-d", "-c"]).arg(&config);
            }
            Who::Knot => {
                std::fs::write(
                    &config,
                    format!(
                        "server:\n  rundir: {at}\n  background-workers: 1\nxdp:\n  listen: far@{PORT}\n\
                         database:\n  storage: {at}\nzone:\n  - domain: example\n    storage: {at}\n    \
                         file: zone\n    journal-content: none\n    zonefile-sync: -1\n"
                    ),
                )?;
                command.args(["knotd", "-c"]).arg(&config);
            }
        }
        let log = std::fs::File::create(self.directory.join("log"))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
        Ok(Running(child))
    }

    /// The load, in a thread in the client's namespace.
    fn ask(&self, client: &Namespace, effort: Effort) -> Result<Score, String> {
        let plan = run::Plan {
            server: SocketAddr::new(SERVER.into(), PORT),
            questions: names::made_up("example", self.names)?,
            chooser: Chooser::new(Mix::Uniform, &vec![0; self.names as usize]).map_err(str::to_owned)?,
            manner: Manner { edns: Some(1_232), dnssec: false, recursion: false },
            window: WINDOW,
            sockets: WAYS,
            prefix_len: 24,
            rate: None,
            tcp: 0.0,
            timeout: Duration::from_millis(200),
            sources: vec![IpAddr::V4(SOURCE)],
            seed: 1,
        };
        let ways = vec![IpAddr::V4(SOURCE); WAYS];
        let plan = Arc::new(run::Plan { sources: ways.clone(), ..plan });
        let port = || {
            client.enter().map_err(|why| why.to_string())?;
            let near = DeviceName::Afxdp("near".to_owned());
            let device =
                Device::open(&near, (SOURCE.into(), 24), &ways[..1]).map_err(|why| why.to_string())?;
            path::poll_on(client, "near", CLIENT_CORE).map_err(|why| why.to_string())?;
            device.into_port().map_err(|why| why.to_string())
        };
        let enter = || client.enter().map_err(|why| why.to_string());
        let warm_up = Duration::from_millis(300);
        let started = AtomicBool::new(false);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            // The time measured begins when answers come: what was busy before belongs to the neighbours' discovery.
            let mut busy: Option<(Busy, Busy)> = None;
            let load = scope.spawn(|| {
                let result = run::run(
                    &plan,
                    &[CLIENT_CORE],
                    (warm_up, Duration::from_secs_f64(effort.seconds)),
                    &stop,
                    &enter,
                    Some(&port),
                    &mut |answered, _| started.store(answered > 0, Ordering::Relaxed),
                );
                started.store(true, Ordering::Relaxed);
                result
            });
            while !started.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(5));
            }
            thread::sleep(warm_up);
            if !load.is_finished() {
                busy = Some((Busy::read(), Busy::read()));
            }
            thread::sleep(Duration::from_secs_f64(effort.seconds * 0.8));
            let spent = busy.map(|(server, client)| (server.spent(SERVER_CORE), client.spent(CLIENT_CORE)));
            let outcome = load.join().map_err(|_| "the generator died".to_owned())??;
            let (server, client) = spent.ok_or("the load ended before it began")?;
            if outcome.tally.answered[0] == 0 {
                return Err("nothing was answered".to_owned());
            }
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let (answered, failed) = (outcome.tally.answered[0] as f64, outcome.tally.failed() as f64);
            let answers_per_s = answered / outcome.wall.as_secs_f64();
            let core = server.core_fraction - server.core_niced_fraction;
            let seconds = effort.seconds * 0.8;
            let machine = (server.machine_seconds - server.machine_niced_seconds) / seconds;
            Ok(Score {
                answers_per_s,
                per_core: answers_per_s / core,
                machine_us: machine / answers_per_s * 1e6,
                core,
                generator_core: client.core_fraction - client.core_niced_fraction,
                failed,
            })
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A server's process, ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // `ip netns exec` and `taskset` became the server: its own children end with it.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) && matches!(self.0.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Until it answers from the zone, asked by the kernel.
fn wait_for(who: Who) -> Result<(), String> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|why| why.to_string())?;
    socket.set_read_timeout(Some(Duration::from_millis(200))).map_err(|why| why.to_string())?;
    let question = b"\0\x01\0\0\0\x01\0\0\0\0\0\0\x02ns\x07example\0\0\x01\0\x01";
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let _ = socket.send_to(question, (SERVER, PORT));
        let mut room = [0; 512];
        if socket.recv(&mut room).is_ok() && room[3] & 15 == 0 {
            return Ok(());
        }
    }
    Err(format!("{} does not answer within a minute", who.name()))
}

/// Turns round what comes for port 53, where it lies: addresses, ports, and the bit that says that it is an answer.
fn reflect(namespace: &Namespace, stop: &AtomicBool) -> Result<(), Complaint> {
    namespace.enter()?;
    pin(SERVER_CORE);
    let far = Interface::named("far")?;
    let steering = Steering::load(Scope::SharedAddress, 1)?;
    steering.add_address(SERVER.into())?;
    steering.add_port(Transport::Udp, PORT)?;
    let _attachment = steering.attach(far.index, AttachMode::Native)?;
    let pool = Pool::with_chunks(PoolLayout { large_count: 1, small_count: 1 }, 4 * SLOTS)?;
    let config = SocketConfig {
        rx_slots: SLOTS,
        tx_slots: SLOTS,
        receive_chunks: SLOTS,
        copy_mode: CopyMode::Copy,
        ..SocketConfig::default()
    };
    let mut socket = Socket::open(Socket::create()?, far.index, 0, &pool, config)?;
    steering.insert(0, socket.as_fd())?;
    let mut sent: VecDeque<Frame> = VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        let mut any = false;
        while let Some(mut piece) = socket.receive() {
            any = true;
            turn_round(&mut piece.frame.bytes_mut()[piece.start..piece.start + piece.len]);
            let addr = pool.offset_of(&piece.frame.bytes()[piece.start..]).unwrap_or(0);
            let len = u32::try_from(piece.len).unwrap_or(0);
            if socket.stage(Descriptor { addr, len, options: 0 }) {
                sent.push_back(piece.frame);
            }
        }
        socket.flush();
        for _ in 0..socket.reclaim() {
            sent.pop_front();
        }
        if !any {
            let nap = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
            let _ = poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&nap));
        }
    }
    Ok(())
}

/// Ethernet, IPv4 without options, UDP, DNS; shorter frames stay as they are.
fn turn_round(frame: &mut [u8]) {
    let Some(fixed) = frame.first_chunk_mut::<46>() else { return };
    let mut swap = |a: usize, b: usize, bytes: usize| (0..bytes).for_each(|at| fixed.swap(a + at, b + at));
    swap(0, 6, 6);
    swap(26, 30, 4);
    swap(34, 36, 2);
    fixed[44] |= 0x80;
    // RFC 1624: the sum grew by 0x8000, and nothing else by being swapped.
    let checksum = u16::from_be_bytes([fixed[40], fixed[41]]);
    let (mut sum, carry) = (!checksum).overflowing_add(0x8000);
    sum += u16::from(carry);
    fixed[40..42].copy_from_slice(&(!sum).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_that_is_turned_round_is_an_answer_with_the_right_sum() {
        let mut frame = vec![0_u8; 60];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14] = 0x45;
        frame[16..18].copy_from_slice(&46_u16.to_be_bytes());
        frame[23] = 17;
        frame[26..34].copy_from_slice(&[198, 18, 1, 100, 198, 18, 1, 2]);
        frame[34..42].copy_from_slice(&[0x4e, 0x20, 0, 53, 0, 26, 0, 0]);
        frame[42..46].copy_from_slice(&[0x12, 0x34, 1, 0]);
        let sum_of = |frame: &[u8]| {
            let address =
                |at: usize| -> Ipv4Addr { [frame[at], frame[at + 1], frame[at + 2], frame[at + 3]].into() };
            let pseudo = wire::checksum::Sum::pseudo_v4(address(26), address(30), wire::Protocol::UDP, 26);
            pseudo.then(&frame[34..60]).finish()
        };
        let sum = sum_of(&frame);
        frame[40..42].copy_from_slice(&sum.to_be_bytes());
        turn_round(&mut frame);
        assert_eq!(frame[26..38], [198, 18, 1, 2, 198, 18, 1, 100, 0, 53, 0x4e, 0x20]);
        assert_eq!((frame[44], sum_of(&frame)), (0x81, 0));
    }
}
