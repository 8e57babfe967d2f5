//! Goodput where packets are lost: 80 clients of the kernel's TCP, one packet in a hundred lost each way.
//!
//! ```text
//!   core 1                          core 1                      core 0
//!   80 clients ── c0 ═ veth ═ m0 ── middlebox ── m1 ═ veth ═ s0 ── AF_XDP: Sandstorm, or the kernel: nginx
//!                                            └── tap ── TAP: Sandstorm
//! ```
//!
//! The dissertation's Sandstorm lost 25 % to FreeBSD here (§3.3.2), for want of a fine timer. Nobody is short of CPU: what
//! is compared is how soon a sender knows what was lost, and what it does then. Loss acts on packets of the wire's size, for
//! the middlebox cuts superframes first. The kernel of the server forgets what it learned of earlier connections
//! (`tcp_no_metrics_save`), which would only slow nginx down.

use core::net::{Ipv4Addr, SocketAddr};
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::io::Read as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;

use handshake::{ClientOptions, ClientSettings, Trust};
use lab::load::catalogue::{Catalogue, Part};
use lab::load::choice::{Chooser, Mix};
use lab::load::kernel::{Window, Worker, now};
use lab::load::plan::{Demand, Plan};
use lab::load::truth::Files;
use serde_json::{Value, json};
use testbed::cpu::pin;
use testbed::{Namespace, path};

use crate::Effort;
use crate::drain::Complaint;
use crate::nginx::{Nginx, chroot, short_configuration};
use crate::report::{Report, Spread};

use super::ground::{CLIENT_CORE, SERVER_CORE};
use super::program::{Ours, Site, command_line};
use super::{Content, file_name, ratio_of, warm_up};

const CLIENTS: usize = 80;
const LOSS: &str = "1%";
/// As the dissertation has it, on one switch; and as far as its clients of chapter 4 are.
const DELAYS: [(&str, &str); 2] = [("near", "0ms"), ("far", "10ms..40ms")];
const CONTENTS: [Content; 2] = [Content::Size(24), Content::Size(512)];
/// And `newreno` for us. A namespace may not choose cubic unless the machine allows it to all.
const CONGESTION_CONTROL: &str = "reno";
const OUR_ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 2, 3);
const KERNEL: Ipv4Addr = Ipv4Addr::new(198, 18, 2, 2);

#[derive(Clone, Copy, Debug)]
enum Whose {
    Afxdp,
    Tap,
    Nginx,
}

const OURS: [(&str, Whose, &str); 2] = [("afxdp", Whose::Afxdp, "afxdp:s0"), ("tap", Whose::Tap, "tap:tap")];

/// What came of a run.
#[derive(Clone, Copy, Debug)]
struct Score {
    gbit_per_s: f64,
    connections_per_s: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Near and far, short objects and long ones, over both links.
pub(crate) fn beside_nginx(effort: Effort, report: &Report) -> Result<(), Complaint> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root, for namespaces and devices: run it with sudo".into());
    }
    let root = chroot()?;
    for content in CONTENTS {
        let sizes = content.make(&root)?;
        let directory = content.directory(&root);
        for (place, delay) in DELAYS {
            let names = OURS.map(|(link, ..)| format!("loss-nginx/{link}/{place}/{}", content.name()));
            if !names.iter().any(|name| report.wants(name)) {
                continue;
            }
            let (mut ours, mut theirs) = ([Vec::new(), Vec::new()], Vec::new());
            // Interleaved, and each of a round with the same luck.
            for seed in 1..=effort.runs {
                let run = |whose, effort| run(whose, (&root, &directory), &sizes, (delay, seed), effort);
                for ((name, (_, whose, _)), scores) in names.iter().zip(OURS).zip(&mut ours) {
                    if report.wants(name) {
                        scores.push(run(whose, effort).map_err(|why| format!("{name}: {why}"))?);
                    }
                }
                theirs.push(run(Whose::Nginx, effort).map_err(|why| format!("nginx: {why}"))?);
            }
            for ((name, (_, _, link)), ours) in names.iter().zip(OURS).zip(&ours) {
                if ours.is_empty() {
                    continue;
                }
                let ratio = ratio_of(ours, &theirs, |score| score.gbit_per_s);
                let detail = json!({
                    "ratio": ratio.json(), "ours": spreads(ours), "nginx": spreads(&theirs),
                    "our_command": command_line(site(link), &directory),
                    "nginx_configuration": short_configuration(SERVER_CORE, "/web/…"),
                    "congestion_control": CONGESTION_CONTROL, "clients": CLIENTS, "loss": LOSS, "delay": delay,
                    "runs": effort.runs, "seconds": effort.seconds,
                });
                report.result(name, ratio.median, "times nginx's goodput", &detail);
            }
        }
    }
    Ok(())
}

fn site(link: &str) -> Site<'_> {
    Site { link, address: OUR_ADDRESS, copy: None }
}

fn spreads(scores: &[Score]) -> Value {
    let spread = |field: fn(&Score) -> f64| Spread::of(scores.iter().map(field)).json();
    json!({
        "gbit_per_s": spread(|score| score.gbit_per_s),
        "connections_per_s": spread(|score| score.connections_per_s),
        "total_ms_p50": spread(|score| score.p50_ms),
        "total_ms_p99": spread(|score| score.p99_ms),
    })
}

fn run(
    whose: Whose,
    (root, directory): (&Path, &Path),
    sizes: &[u64],
    (delay, seed): (&str, usize),
    effort: Effort,
) -> Result<Score, Complaint> {
    let [client, middle, server] = ["loss-client", "loss-middle", "loss-server"].map(Namespace::new);
    let (client, middle, server) = (client?, middle?, server?);
    for (ours, theirs, there, address) in
        [("m0", "c0", &client, "198.18.2.1/24"), ("m1", "s0", &server, "198.18.2.2/24")]
    {
        let queues = ["numtxqueues", "1", "numrxqueues", "1"];
        let pair = [&["link", "add", ours][..], &queues, &["type", "veth", "peer", "name", theirs], &queues];
        middle.ip(&[&pair.concat()[..], &["netns", there.name()]].concat())?;
        middle.ip(&["link", "set", ours, "up"])?;
        there.ip(&["addr", "add", address, "dev", theirs])?;
        there.ip(&["link", "set", theirs, "up"])?;
        path::congestion_control(there, CONGESTION_CONTROL)?;
        there.write("/proc/sys/net/ipv4/tcp_no_metrics_save", "1")?;
    }
    path::limit_receive_buffers(&client)?;
    let measured = |to_server: &str, address: Ipv4Addr| {
        let _middlebox = Middlebox::start(&middle, to_server, delay, seed)?;
        std::thread::scope(|scope| {
            let load = scope.spawn(|| measure(&client, address, sizes, directory, effort));
            load.join().unwrap_or_else(|_| Err("the client died".into()))
        })
    };
    match whose {
        Whose::Nginx => {
            let inside = Path::new("/web").join(directory.file_name().ok_or("a directory without a name")?);
            let configuration =
                short_configuration(SERVER_CORE, inside.to_str().ok_or("a directory of ours")?);
            let _nginx = Nginx::start_with(root, &server, SERVER_CORE, &configuration)?;
            measured("m1", KERNEL)
        }
        Whose::Afxdp => {
            // A checksum that is left to a device that is none would never be written.
            path::complete_packets(&middle, "m1")?;
            let _ours = Ours::start(site("afxdp:s0"), &server, directory)?;
            measured("m1", OUR_ADDRESS)
        }
        Whose::Tap => {
            let _ours = Ours::start(site("tap:tap"), &middle, directory)?;
            // The kernel at the device's other end would answer beside the clients' kernel.
            middle.ip(&["addr", "flush", "dev", "tap"])?;
            measured("tap", OUR_ADDRESS)
        }
    }
}

/// The path between them, on the client's core; gone when dropped.
#[derive(Debug)]
struct Middlebox(Child);

impl Middlebox {
    fn start(middle: &Namespace, to_server: &str, delay: &str, seed: usize) -> Result<Self, Complaint> {
        let program = std::env::current_exe()?.with_file_name("middlebox");
        if !program.exists() {
            return Err("the program is not built: cargo build --release -p middlebox".into());
        }
        let mut command = middle.command("taskset");
        command.args(["-c", &CLIENT_CORE.to_string()]).arg(program);
        command.args(["--client", "m0", "--server", to_server, "--delay", delay, "--loss", LOSS]);
        command.args(["--seed", &seed.to_string()]);
        let mut running = Self(command.stdout(Stdio::piped()).spawn()?);
        let mut first = [0; 1];
        let output = running.0.stdout.as_mut().ok_or("a program without output")?;
        // It says so when it forwards.
        output.read_exact(&mut first).map_err(|_| "the middlebox did not start")?;
        Ok(running)
    }
}

impl Drop for Middlebox {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(
    client: &Namespace,
    server: Ipv4Addr,
    sizes: &[u64],
    directory: &Path,
    effort: Effort,
) -> Result<Score, Complaint> {
    client.enter()?;
    pin(CLIENT_CORE);
    let server = SocketAddr::from((server, 80));
    let mut catalogue = Catalogue::default();
    for (number, bytes) in sizes.iter().enumerate() {
        catalogue.add(&format!("http://{server}/{}", file_name(number)), Some(*bytes))?;
    }
    let plan = Arc::new(Plan {
        chooser: Chooser::new(Mix::Sequential, sizes)?,
        catalogue,
        part: Part::Whole,
        demand: Demand { requests_per_connection: Some(1), ..Demand::CLOSED_LOOP },
        connections: CLIENTS,
        ramp: Duration::from_millis(100),
        timeout: Duration::from_secs(20),
        sources: Vec::new(),
        truth: Some(Arc::new(Files(directory.to_owned()))),
        tls: ClientSettings::new(Trust::Anyone, ClientOptions::default())?,
        seed: 1,
    });
    let mut worker = Worker::new(&plan, (0, 1), now(), None)?;
    let never = AtomicBool::new(false);
    worker.set_verify(1.0);
    let warm = worker.run(warm_up(effort) * 2, &never)?;
    worker.set_verify(0.0);
    let window = worker.run(Duration::from_secs_f64(effort.seconds), &never)?;
    worker.leave();
    for Window { tally, .. } in [&warm, &window] {
        if let Some(why) = tally.failures.iter().find_map(|failures| failures.first.clone()) {
            return Err(format!("{} of {} failed: {why}", tally.failed(), tally.requests).into());
        }
    }
    let Window { tally, wall, .. } = window;
    #[expect(clippy::cast_precision_loss, reason = "rates for people")]
    let (requests, bytes) = (tally.requests as f64, tally.body_bytes as f64);
    #[expect(clippy::cast_precision_loss, reason = "milliseconds for people")]
    let quantile = |share| tally.total.quantile_us(share) as f64 / 1e3;
    Ok(Score {
        gbit_per_s: bytes * 8.0 / wall.as_secs_f64() / 1e9,
        connections_per_s: requests / wall.as_secs_f64(),
        p50_ms: quantile(0.5),
        p99_ms: quantile(0.99),
    })
}
