//! A load on several cores, from its start to its result.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};
use testbed::cpu::pin;

use crate::device::Port;

use super::fault::{Guilty, KINDS};
use super::kernel::{Gauge, Window, Worker, now};
use super::own::OwnWorker;
use super::plan::Plan;
use super::sys::own_descriptors;
use super::tally::{Failures, Latency, Tally, round};

/// How long, and how much.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// After the ramp, before anything counts.
    pub warm_up: Duration,
    /// What counts.
    pub duration: Duration,
    /// Ends after so many requests, if that is sooner; ramp and warm-up then count too.
    pub requests: Option<u64>,
    /// Share of responses that are compared.
    pub verify: f64,
}

/// What came of a load.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// All workers' counts.
    pub tally: Tally,
    /// The longest window.
    pub wall: Duration,
    /// CPU time of all workers in their windows.
    pub cpu: Duration,
    /// How many workers.
    pub workers: usize,
    /// What was counted in ramp and warm-up.
    pub before: Tally,
}

/// Descriptors beside those of connections.
const OTHER_DESCRIPTORS: u64 = 64;

/// Raises the limit of open files as far as it takes and may be raised. Each worker has a table of its own.
///
/// # Errors
/// How many connections are possible.
pub fn allow_connections(connections: usize, workers: usize) -> Result<(), u64> {
    let workers = workers.max(1) as u64;
    let wanted = (connections as u64).div_ceil(workers) + OTHER_DESCRIPTORS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    // Everybody may raise the first up to the second, some may raise both.
    let higher = maximum.map(|maximum| maximum.max(wanted));
    for maximum in [maximum, higher] {
        if maximum.is_none_or(|maximum| maximum >= wanted)
            && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).is_ok()
        {
            return Ok(());
        }
    }
    Err(maximum.unwrap_or(u64::MAX).saturating_sub(OTHER_DESCRIPTORS).saturating_mul(workers))
}

/// Whose TCP carries the load.
#[derive(Clone, Copy)]
pub enum Via<'a> {
    /// The kernel's, on every core.
    Kernel,
    /// Our own, on the first core, over the link that this opens; with it comes the prefix length of our network.
    Own(&'a (dyn Fn() -> Result<(Port, u8), String> + Sync)),
}

impl core::fmt::Debug for Via<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Kernel => "Kernel",
            Self::Own(_) => "Own",
        })
    }
}

/// One thread's clients, whoever moves their bytes.
trait Clients {
    fn gauge(&self) -> Arc<Gauge>;
    fn set_verify(&mut self, share: f64);
    fn run(&mut self, duration: Duration, stop: &AtomicBool) -> Result<Window, Errno>;
    fn leave(&mut self);
}

macro_rules! clients {
    ($worker:ty) => {
        impl Clients for $worker {
            fn gauge(&self) -> Arc<Gauge> {
                <$worker>::gauge(self)
            }

            fn set_verify(&mut self, share: f64) {
                <$worker>::set_verify(self, share);
            }

            fn run(&mut self, duration: Duration, stop: &AtomicBool) -> Result<Window, Errno> {
                <$worker>::run(self, duration, stop)
            }

            fn leave(&mut self) {
                <$worker>::leave(self);
            }
        }
    };
}

clients!(Worker);
clients!(OwnWorker);

/// Runs the load, a thread on each core, which `enter`s wherever it is to run; `watch` is called now and then with what
/// the workers have done so far.
///
/// # Errors
/// Why no thread could run.
pub fn run(
    plan: &Arc<Plan>,
    via: Via<'_>,
    cores: &[usize],
    effort: &Effort,
    stop: &AtomicBool,
    enter: &(dyn Fn() -> Result<(), String> + Sync),
    watch: &mut dyn FnMut(&[Arc<Gauge>], bool),
) -> Result<Outcome, String> {
    let cores = match via {
        Via::Kernel => cores,
        Via::Own(_) => &cores[..cores.len().min(1)],
    };
    let budget = effort.requests.map(|requests| Arc::new(AtomicU64::new(requests)));
    let begins = now();
    let (measuring, gauges) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let work = |number: usize, core: usize| -> Result<(Tally, Window), String> {
        enter()?;
        pin(core);
        let complain = |errno: Errno| format!("the kernel refuses to wait for packets: {errno}");
        let mut worker: Box<dyn Clients> = match via {
            Via::Kernel => {
                own_descriptors()
                    .map_err(|errno| format!("no table of descriptors for a thread: {errno}"))?;
                let whose = (number, cores.len());
                Box::new(Worker::new(plan, whose, begins, budget.clone()).map_err(complain)?)
            }
            Via::Own(open) => {
                let (port, prefix_len) = open()?;
                let own = OwnWorker::new(plan, port, prefix_len, budget.clone());
                Box::new(own.map_err(|error| error.to_string())?)
            }
        };
        worker.set_verify(effort.verify);
        if let Ok(mut gauges) = gauges.lock() {
            gauges.push(worker.gauge());
        }
        let before = match &budget {
            Some(_) => Tally::new(),
            None => worker.run(plan.ramp + effort.warm_up, stop).map_err(complain)?.tally,
        };
        measuring.store(true, Ordering::Relaxed);
        let window = worker.run(effort.duration, stop).map_err(complain)?;
        worker.leave();
        Ok((before, window))
    };
    let windows: Vec<Result<(Tally, Window), String>> = thread::scope(|scope| {
        let threads: Vec<_> = cores
            .iter()
            .enumerate()
            .map(|(number, core)| {
                let work = &work;
                thread::Builder::new()
                    .name(format!("load-{number}"))
                    .spawn_scoped(scope, move || work(number, *core))
                    .map_err(|error| format!("no thread can be started: {error}"))
            })
            .collect();
        while threads.iter().flatten().any(|thread| !thread.is_finished()) {
            thread::sleep(Duration::from_millis(50));
            if let Ok(gauges) = gauges.lock() {
                watch(&gauges, measuring.load(Ordering::Relaxed));
            }
        }
        threads
            .into_iter()
            .map(|thread| thread?.join().map_err(|_| "a worker panicked: a defect of ours".to_owned())?)
            .collect()
    });
    let mut outcome = Outcome {
        tally: Tally::new(),
        wall: Duration::ZERO,
        cpu: Duration::ZERO,
        workers: cores.len(),
        before: Tally::new(),
    };
    for window in windows {
        let (before, Window { tally, wall, cpu }) = window?;
        outcome.before.add(&before);
        outcome.tally.add(&tally);
        outcome.wall = outcome.wall.max(wall);
        outcome.cpu += cpu;
    }
    Ok(outcome)
}

impl Outcome {
    /// Failures, those of ramp and warm-up included.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.tally.failed() + self.before.failed()
    }

    /// From SYN to established, and from there to keys: ramp and warm-up included, for persistent connections are made
    /// there.
    #[must_use]
    pub fn openings(&self) -> (Latency, Latency) {
        let (mut connect, mut handshake) = (self.tally.connect.clone(), self.tally.handshake.clone());
        connect.add(&self.before.connect);
        handshake.add(&self.before.handshake);
        (connect, handshake)
    }

    /// Failures by kind, those of ramp and warm-up included: the kind, who is guilty, and what was said.
    #[must_use]
    pub fn failures(&self) -> Vec<(&'static str, Guilty, Failures)> {
        let mut all = self.before.clone();
        all.add(&self.tally);
        let kinds = KINDS.iter().zip(all.failures);
        kinds
            .filter(|(_, failures)| failures.count > 0)
            .map(|((kind, guilty), failures)| (*kind, *guilty, failures))
            .collect()
    }

    /// Responses a second.
    #[must_use]
    pub fn requests_per_s(&self) -> f64 {
        per(self.tally.requests, self.wall)
    }

    /// Responses per CPU-second of the workers.
    #[must_use]
    pub fn requests_per_cpu_s(&self) -> f64 {
        per(self.tally.requests, self.cpu)
    }

    /// Bits of bodies a second, in Gb/s.
    #[must_use]
    pub fn gbit_per_s(&self) -> f64 {
        per(self.tally.body_bytes, self.wall) * 8.0 / 1e9
    }

    /// The result, as `docs/lab.md` describes it.
    #[must_use]
    pub fn json(&self) -> Value {
        let tally = &self.tally;
        let (connect, handshake) = self.openings();
        let errors: Vec<Value> = self
            .failures()
            .into_iter()
            .map(|(kind, guilty, Failures { count, first })| {
                json!({"kind": kind, "guilty": guilty.name(), "count": count, "first": first})
            })
            .collect();
        let audience = &tally.audience;
        let viewers = (audience.viewers > 0).then(|| {
            json!({
                "viewers": audience.viewers, "started": audience.started, "startup_us": audience.startup.json(),
                "rebuffer_events": audience.stalls, "disturbed": audience.disturbed,
                "stalled_s": round(audience.stalled.as_secs_f64()),
            })
        });
        json!({
            "schema": "lab-load-1",
            "seconds": round(self.wall.as_secs_f64()),
            "requests": tally.requests,
            "requests_per_s": round(self.requests_per_s()),
            "body_bytes": tally.body_bytes,
            "wire_bytes": tally.wire_bytes,
            "body_gbit_per_s": round(self.gbit_per_s()),
            "connections": tally.connections,
            "connections_before": self.before.connections,
            "connections_per_s": round(per(tally.connections, self.wall)),
            "resumed": tally.resumed,
            "latency_us": {
                "connect": connect.json(), "handshake": handshake.json(),
                "first_byte": tally.first_byte.json(), "total": tally.total.json(),
            },
            "verified": {"responses": tally.verified, "bytes": tally.verified_bytes},
            "viewers": viewers,
            "errors": errors,
            "failed": self.failed(),
            "cpu_s": round(self.cpu.as_secs_f64()),
            "requests_per_cpu_s": round(self.requests_per_cpu_s()),
            "workers": self.workers,
        })
    }
}

fn per(count: u64, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let count = count as f64;
    if time.is_zero() { 0.0 } else { count / time.as_secs_f64() }
}
