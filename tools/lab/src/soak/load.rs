//! What the server is to do meanwhile: connections that last, short ones, questions. Each in a thread of its own in the
//! client's network, until it is told to stop.

use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use handshake::{ClientOptions, ClientSettings, Trust};
use testbed::Namespace;

use crate::dns::message::Manner;
use crate::dns::{names, result, run as dns};
use crate::load::catalogue::{Catalogue, Part};
use crate::load::choice::{Chooser, Mix};
use crate::load::plan::{Demand, Plan};
use crate::load::run::{Effort, Via, run};
use crate::load::truth::Files;

/// Longer than any round.
const LONG: Duration = Duration::from_secs(24 * 3_600);

/// Failures of one kind.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) kind: &'static str,
    pub(super) count: u64,
    pub(super) first: String,
}

/// What came of a load.
#[derive(Clone, Debug, Default)]
pub(super) struct Came {
    /// Responses or answers that were whole and right.
    pub(super) requests: u64,
    /// Bytes of streams that came from the network.
    pub(super) wire_bytes: u64,
    /// Bytes that were compared with the truth.
    pub(super) verified_bytes: u64,
    /// Connections that were established.
    pub(super) connections: u64,
    /// By kind.
    pub(super) failed: Vec<Failed>,
}

impl Came {
    pub(super) fn add(&mut self, other: Self) {
        let Self { requests, wire_bytes, verified_bytes, connections, failed } = other;
        self.requests += requests;
        self.wire_bytes += wire_bytes;
        self.verified_bytes += verified_bytes;
        self.connections += connections;
        self.failed.extend(failed);
    }
}

/// A load under way.
#[derive(Debug)]
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    /// Requests so far.
    progress: Arc<AtomicU64>,
    thread: JoinHandle<Result<Came, String>>,
}

impl Load {
    pub(super) fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    pub(super) fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Stops it; what came.
    pub(super) fn end(self) -> Result<Came, String> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().map_err(|_| "a load panicked: a defect of ours".to_owned())?
    }

    /// Requests over HTTP by this plan.
    pub(super) fn web(client: &Arc<Namespace>, plan: Plan, core: usize, verify: f64) -> Self {
        let (client, plan) = (Arc::clone(client), Arc::new(plan));
        Self::spawn(move |stop, progress| {
            let effort = Effort { warm_up: Duration::ZERO, duration: LONG, requests: None, verify };
            let enter = || client.enter().map_err(|error| error.to_string());
            let outcome = run(&plan, Via::Kernel, &[core], &effort, stop, &enter, &mut |gauges, _| {
                let all = gauges.iter().map(|gauge| gauge.requests.load(Ordering::Relaxed)).sum();
                progress.store(all, Ordering::Relaxed);
            })?;
            let sum = |of: fn(&crate::load::tally::Tally) -> u64| of(&outcome.tally) + of(&outcome.before);
            let failed = outcome.failures().into_iter().map(|(kind, _, failures)| Failed {
                kind,
                count: failures.count,
                first: failures.first.unwrap_or_default(),
            });
            Ok(Came {
                requests: sum(|tally| tally.requests),
                wire_bytes: sum(|tally| tally.wire_bytes),
                verified_bytes: sum(|tally| tally.verified_bytes),
                connections: sum(|tally| tally.connections),
                failed: failed.collect(),
            })
        })
    }

    /// Questions by this plan.
    pub(super) fn questions(client: &Arc<Namespace>, plan: dns::Plan, core: usize) -> Self {
        let (client, plan) = (Arc::clone(client), Arc::new(plan));
        Self::spawn(move |stop, progress| {
            let enter = || client.enter().map_err(|error| error.to_string());
            let times = (Duration::ZERO, LONG);
            let outcome = dns::run(&plan, &[core], times, stop, &enter, None, &mut |answered, _| {
                progress.store(answered, Ordering::Relaxed);
            })?;
            let tally = outcome.tally;
            let failures =
                result::KINDS.iter().zip(tally.failures).filter(|(_, failures)| failures.count > 0);
            let failed = failures.map(|((kind, _), failures)| Failed {
                kind,
                count: failures.count,
                first: failures.first.unwrap_or_default(),
            });
            Ok(Came { requests: tally.answered.iter().sum(), failed: failed.collect(), ..Came::default() })
        })
    }

    fn spawn(work: impl FnOnce(&AtomicBool, &AtomicU64) -> Result<Came, String> + Send + 'static) -> Self {
        let (stop, progress) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (theirs, told) = (Arc::clone(&stop), Arc::clone(&progress));
        Self { stop, progress, thread: thread::spawn(move || work(&theirs, &told)) }
    }
}

/// Somebody else in the client's network, whose complaints are kept.
#[derive(Debug)]
pub(super) struct Helper {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

/// Where helpers leave their complaints.
pub(super) type Complaints = Arc<Mutex<Vec<String>>>;

impl Helper {
    pub(super) fn spawn(
        client: &Arc<Namespace>,
        complaints: &Complaints,
        work: impl FnOnce(&AtomicBool, &mut dyn FnMut(String)) + Send + 'static,
    ) -> Self {
        let (client, complaints) = (Arc::clone(client), Arc::clone(complaints));
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut complain = |what: String| {
                if let Ok(mut complaints) = complaints.lock() {
                    complaints.push(what);
                }
            };
            match client.enter() {
                Ok(()) => work(&theirs, &mut complain),
                Err(error) => complain(error.to_string()),
            }
        });
        Self { stop, thread }
    }

    pub(super) fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        // What it complained of is kept; one that panicked printed why.
        let _ = self.thread.join();
    }
}

/// Requests for objects of these names below `root`, of which all but the scheme is alike.
pub(super) fn plan(
    base: &str,
    (root, names): (&Path, &[String]),
    (connections, requests_per_connection, think, timeout): (usize, Option<u32>, Duration, Duration),
    trust: Trust<'_>,
    seed: u64,
) -> Result<Plan, String> {
    let mut catalogue = Catalogue::default();
    let mut sizes = Vec::new();
    for name in names {
        let bytes = std::fs::metadata(root.join(name)).map_err(|error| format!("{name}: {error}"))?.len();
        catalogue.add(&format!("{base}/{name}"), Some(bytes)).map_err(|error| error.to_string())?;
        sizes.push(bytes);
    }
    Ok(Plan {
        chooser: Chooser::new(Mix::Uniform, &sizes)?,
        catalogue,
        part: Part::Whole,
        demand: Demand { requests_per_connection, think, habit: None },
        connections,
        ramp: Duration::from_millis(100),
        timeout,
        sources: Vec::new(),
        truth: Some(Arc::new(Files(root.to_owned()))),
        tls: ClientSettings::new(trust, ClientOptions::default()).map_err(|error| error.to_string())?,
        seed,
    })
}

/// Questions for the names of a zone.
pub(super) fn questions(server: SocketAddr, zone: &str, count: u32, seed: u64) -> Result<dns::Plan, String> {
    Ok(dns::Plan {
        server,
        questions: names::made_up(zone, count)?,
        chooser: Chooser::new(Mix::Uniform, &vec![0; count as usize])?,
        manner: Manner { edns: Some(1_232), dnssec: false, recursion: false },
        // Together less than the queue of a veth device takes.
        window: 25,
        sockets: 4,
        prefix_len: super::place::PREFIX_LEN,
        rate: None,
        tcp: 0.05,
        timeout: Duration::from_secs(2),
        sources: Vec::<IpAddr>::new(),
        seed,
    })
}
