//! What a request costs the client: `lab load` beside wrk, against the same nginx.
//!
//! ```text
//!   core 0   nginx, files in the page cache
//!   core 1   the client: the lab's worker, then wrk with one thread, then the lab's again …
//! ```
//!
//! CPU time is the client's own, the kernel's on its behalf included: the thread's for the lab, the process's for wrk.
//! Both connect within their time. Receive processing of the client's device stays on core 1 for both.

use core::net::Ipv4Addr;
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use handshake::{ClientOptions, ClientSettings, Trust};
use lab::load::catalogue::{Catalogue, Part};
use lab::load::choice::{Chooser, Mix};
use lab::load::kernel::{Window, Worker, now};
use lab::load::plan::{Demand, Plan};
use serde_json::{Value, json};
use testbed::cpu::pin;
use testbed::{Namespace, path};

use crate::Effort;
use crate::drain::Complaint;
use crate::nginx::{Nginx, Reading, chroot, configuration};
use crate::report::{Report, Spread};
use crate::world;

const SERVER_CORE: usize = 0;
const CLIENT_CORE: usize = 1;
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 1, 2);
const CONNECTIONS: usize = 100;
const OBJECT_BYTES: usize = 300_000;
/// Clock ticks of `/proc/PID/stat` per second (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// What a client did.
#[derive(Clone, Copy, Debug)]
struct Cost {
    requests_per_s: f64,
    requests_per_cpu_s: f64,
}

/// TLS and plain, one after the other.
pub(crate) fn beside_wrk(effort: Effort, report: &Report) -> Result<(), Complaint> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root, for namespaces: run it with sudo".into());
    }
    let root = chroot()?;
    fs::create_dir_all(root.join("bench"))?;
    fs::write(root.join("bench/load.bin"), vec![0x5a; OBJECT_BYTES])?;
    let (chain, key) = world::certificate()?;
    let (client, server) = (Namespace::new("client")?, Namespace::new("server")?);
    path::veth((&client, "198.18.1.1/24"), (&server, "198.18.1.2/24"))?;
    for namespace in [&client, &server] {
        path::congestion_control(namespace, "reno")?;
    }
    path::limit_receive_buffers(&client)?;
    path::steer(&client, "near", CLIENT_CORE)?;
    path::steer(&server, "far", SERVER_CORE)?;
    let _nginx = Nginx::start(&root, &server, SERVER_CORE, Reading::Cached, (&chain, &key))?;
    for scheme in ["https", "http"] {
        let url = format!("{scheme}://{SERVER}/load.bin");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..effort.runs {
            ours.push(lab(&client, &url, effort)?);
            theirs.push(wrk(&client, &url, effort)?);
        }
        let pairs = ours.iter().zip(&theirs);
        let ratio =
            Spread::of(pairs.map(|(ours, theirs)| ours.requests_per_cpu_s / theirs.requests_per_cpu_s));
        let detail = json!({
            "ratio": ratio.json(), "lab": costs(&ours), "wrk": costs(&theirs), "connections": CONNECTIONS,
            "object_bytes": OBJECT_BYTES, "runs": effort.runs, "seconds": effort.seconds,
            "nginx_configuration": configuration(SERVER_CORE, Reading::Cached),
        });
        report.result(&format!("load-wrk/{scheme}"), ratio.median, "ratio", &detail);
    }
    Ok(())
}

fn costs(costs: &[Cost]) -> Value {
    json!({
        "requests_per_s": Spread::of(costs.iter().map(|cost| cost.requests_per_s)).json(),
        "requests_per_cpu_s": Spread::of(costs.iter().map(|cost| cost.requests_per_cpu_s)).json(),
    })
}

/// In a thread of its own, which dies in the namespace that it entered.
fn lab(client: &Namespace, url: &str, effort: Effort) -> Result<Cost, Complaint> {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            client.enter()?;
            pin(CLIENT_CORE);
            let mut catalogue = Catalogue::default();
            catalogue.add(url, None)?;
            let plan = Arc::new(Plan {
                chooser: Chooser::new(Mix::Sequential, &[0])?,
                catalogue,
                part: Part::Whole,
                demand: Demand::CLOSED_LOOP,
                connections: CONNECTIONS,
                ramp: Duration::ZERO,
                timeout: Duration::from_secs(10),
                sources: Vec::new(),
                truth: None,
                tls: ClientSettings::new(Trust::Anyone, ClientOptions::default())?,
                seed: 1,
            });
            let mut worker = Worker::new(&plan, (0, 1), now(), None)?;
            let window = worker.run(Duration::from_secs_f64(effort.seconds), &AtomicBool::new(false))?;
            let Window { tally, wall, cpu } = window;
            if let Some(why) = tally.failures.iter().find_map(|failures| failures.first.clone()) {
                return Err(why.into());
            }
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let requests = tally.requests as f64;
            Ok(Cost {
                requests_per_s: requests / wall.as_secs_f64(),
                requests_per_cpu_s: requests / cpu.as_secs_f64(),
            })
        });
        worker.join().unwrap_or_else(|_| Err("the client died".into()))
    })
}

fn wrk(client: &Namespace, url: &str, effort: Effort) -> Result<Cost, Complaint> {
    // It counts whole seconds only.
    let seconds = effort.seconds.ceil().max(1.0);
    let before = children_cpu_s()?;
    let core = CLIENT_CORE.to_string();
    let output = client
        .command("taskset")
        .args(["-c", &core, "wrk", "-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s"), url])
        .output()?;
    let cpu = children_cpu_s()? - before;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let requests = wrk_requests(&said).ok_or_else(|| {
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        format!("wrk did not say how many requests it made (Debian package wrk): {}", complaint.trim())
    })?;
    Ok(Cost { requests_per_s: requests / seconds, requests_per_cpu_s: requests / cpu })
}

/// `  12345 requests in 3.00s, 3.45GB read`; none when some failed.
fn wrk_requests(said: &str) -> Option<f64> {
    if said.contains("Socket errors") || said.contains("Non-2xx") {
        return None;
    }
    said.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
}

/// CPU seconds of our children that have ended.
fn children_cpu_s() -> Result<f64, Complaint> {
    let stat = fs::read_to_string(Path::new("/proc/self/stat"))?;
    // Fields from the third on stand behind the name, which may hold anything (proc_pid_stat(5)): 16 and 17 are theirs.
    let fields = stat.rsplit_once(") ").ok_or("a strange /proc/self/stat")?.1;
    let ticks: f64 =
        fields.split_whitespace().skip(13).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrk_s_count_is_read_and_failures_are_no_count() {
        let said =
            "Running 3s test\n  1 threads\n  16425 requests in 3.00s, 4.59GB read\nRequests/sec: 5470.1\n";
        assert_eq!(wrk_requests(said), Some(16_425.0));
        assert_eq!(wrk_requests(&format!("{said}  Socket errors: connect 0, read 5\n")), None);
        assert_eq!(wrk_requests(""), None);
    }
}
