//! A load over DNS on several cores, from its start to its result.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::thread;

use testbed::cpu::pin;

use super::carrier::{Carrier, Sockets};
use super::frames::Frames;
use super::message::{Manner, Question};
use super::result::{Outcome, Tally};
use super::worker::Worker;
use crate::device::Port;
use crate::load::choice::Chooser;
use crate::load::kernel::thread_cpu;

/// What a load is to be.
#[derive(Debug)]
pub struct Plan {
    /// Who is asked.
    pub server: SocketAddr,
    /// What may be asked.
    pub questions: Vec<Question>,
    /// Which of it.
    pub chooser: Chooser,
    /// How.
    pub manner: Manner,
    /// Queries out on a socket at a time.
    pub window: u16,
    /// Sockets of each worker, or ports on the link.
    pub sockets: usize,
    /// On a link: the prefix length of the network that the sources and the server are in.
    pub prefix_len: u8,
    /// Queries a second by all workers; as the windows allow when absent.
    pub rate: Option<f64>,
    /// Share of queries over TCP.
    pub tcp: f64,
    /// An answer may take so long.
    pub timeout: Duration,
    /// Addresses that sockets are bound to, in turn.
    pub sources: Vec<IpAddr>,
    /// Choices are drawn from it.
    pub seed: u64,
}

/// Numbers for whoever waits, by all workers.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    pub(super) answered: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// Runs it: a warm-up that does not count, then what counts; over the kernel's sockets on every core, or over a link on
/// the first. `watch` is called now and then with how many answers
/// came and how many failed.
///
/// # Errors
/// Why a worker could not run.
pub fn run(
    plan: &Arc<Plan>,
    cores: &[usize],
    (warm_up, duration): (Duration, Duration),
    stop: &AtomicBool,
    enter: &(dyn Fn() -> Result<(), String> + Sync),
    link: Option<&(dyn Fn() -> Result<Port, String> + Sync)>,
    watch: &mut dyn FnMut(u64, u64),
) -> Result<Outcome, String> {
    let cores = if link.is_some() { &cores[..cores.len().min(1)] } else { cores };
    let gauge = Gauge::default();
    let work = |number: usize, core: usize| -> Result<(Tally, Duration, Duration), String> {
        enter()?;
        pin(core);
        let source = |index: usize| {
            let at = (number + index * cores.len()).checked_rem(plan.sources.len());
            at.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |at| plan.sources[at])
        };
        let sources: Vec<IpAddr> = (0..plan.sockets).map(source).collect();
        let carrier: Box<dyn Carrier> = match link {
            None => {
                Box::new(Sockets::open(plan.server, &sources).map_err(|error| format!("no socket: {error}"))?)
            }
            Some(open) => {
                let frames = Frames::open(open()?, plan.server, &sources, plan.prefix_len);
                Box::new(frames.map_err(|error| error.to_string())?)
            }
        };
        let mut worker = Worker::new(plan, number, cores.len(), carrier, &gauge);
        let complain = |errno| format!("the kernel refuses to wait for answers: {errno}");
        if !warm_up.is_zero() {
            worker.run(warm_up, stop).map_err(complain)?;
        }
        let cpu = thread_cpu();
        let (tally, wall) = worker.run(duration, stop).map_err(complain)?;
        Ok((tally, wall, thread_cpu().saturating_sub(cpu)))
    };
    let mut outcome =
        Outcome { tally: Tally::new(), wall: Duration::ZERO, cpu: Duration::ZERO, workers: cores.len() };
    thread::scope(|scope| {
        let threads: Vec<_> = cores
            .iter()
            .enumerate()
            .map(|(number, core)| {
                let work = &work;
                scope.spawn(move || work(number, *core))
            })
            .collect();
        while threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(Duration::from_millis(50));
            watch(gauge.answered.load(Ordering::Relaxed), gauge.failed.load(Ordering::Relaxed));
        }
        for thread in threads {
            let (tally, wall, cpu) =
                thread.join().map_err(|_| "a worker panicked: a defect of ours".to_owned())??;
            outcome.tally.add(&tally);
            outcome.wall = outcome.wall.max(wall);
            outcome.cpu += cpu;
        }
        Ok(outcome)
    })
}
