//! The load: the lab's clients on our own TCP, on one core, counted over a window beside the machine's CPU time.

use core::net::{IpAddr, Ipv4Addr};
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use handshake::{ClientOptions, ClientSettings, Trust};
use lab::device::{Device, DeviceName};
use lab::load::catalogue::{Catalogue, Part};
use lab::load::choice::{Chooser, Mix};
use lab::load::kernel::Window;
use lab::load::own::OwnWorker;
use lab::load::plan::{Demand, Plan};
use lab::load::truth::{Files, Truth};
use testbed::Namespace;
use testbed::cpu::{Busy, pin};

use crate::Effort;
use crate::drain::Complaint;

use super::ground::{CLIENT_CORE, SERVER_CORE};
use super::{file_name, warm_up};

/// Addresses that connections come from: a tuple comes again after 256,000 others.
const SOURCES: u8 = 4;
const PREFIX_LEN: u8 = 24;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Load {
    /// Sizes of the objects, by number.
    pub(super) sizes: Vec<u64>,
    /// Connections at once.
    pub(super) at_once: usize,
    /// Objects are chosen as a CDN's clients do; else one after the other.
    pub(super) is_cdn: bool,
}

/// What a server gave in one run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    pub(super) connections_per_s: f64,
    pub(super) gbit_per_s: f64,
    /// Busy share of the server's core, without what others do there at low priority.
    pub(super) core: f64,
    pub(super) machine_cpu_us: f64,
    pub(super) client_cpu_us: f64,
    pub(super) client_busy: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
}

impl Score {
    pub(super) fn per_core(&self) -> f64 {
        self.connections_per_s / self.core
    }
}

/// Where the load is to go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    /// Whose packets.
    pub(super) namespace: &'a Namespace,
    pub(super) device: &'a str,
    pub(super) server: Ipv4Addr,
    /// Files that what comes is compared with while nothing counts; nothing is, without.
    pub(super) truth: Option<&'a Path>,
}

/// In a thread of its own, which dies in the namespace that it entered.
pub(super) fn measured(target: Target<'_>, load: &Load, effort: Effort) -> Result<Score, Complaint> {
    std::thread::scope(|scope| {
        let named = std::thread::Builder::new().name("web-client".to_owned());
        let client = named.spawn_scoped(scope, || measure(target, load, effort))?;
        client.join().unwrap_or_else(|_| Err("the client died".into()))
    })
}

fn measure(target: Target<'_>, load: &Load, effort: Effort) -> Result<Score, Complaint> {
    target.namespace.enter()?;
    pin(CLIENT_CORE);
    let [a, b, c, _] = target.server.octets();
    let sources: Vec<IpAddr> =
        (0..SOURCES).map(|number| IpAddr::V4(Ipv4Addr::new(a, b, c, 100 + number))).collect();
    let mut catalogue = Catalogue::default();
    for (number, bytes) in load.sizes.iter().enumerate() {
        catalogue.add(&format!("http://{}/{}", target.server, file_name(number)), Some(*bytes))?;
    }
    let mix = if load.is_cdn { Mix::Cdn } else { Mix::Sequential };
    let name = DeviceName::Packet(target.device.to_owned());
    let port = Device::open(&name, (sources[0], PREFIX_LEN), &sources)?.into_port()?;
    let plan = Arc::new(Plan {
        chooser: Chooser::new(mix, &load.sizes)?,
        catalogue,
        part: Part::Whole,
        demand: Demand { requests_per_connection: Some(1), ..Demand::CLOSED_LOOP },
        connections: load.at_once,
        ramp: Duration::ZERO,
        timeout: Duration::from_secs(5),
        sources,
        truth: target.truth.map(|path| Arc::new(Files(path.to_owned())) as Arc<dyn Truth>),
        tls: ClientSettings::new(Trust::Anyone, ClientOptions::default())?,
        seed: 1,
    });
    let mut worker = OwnWorker::new(&plan, port, PREFIX_LEN, None)?;
    let never = AtomicBool::new(false);
    worker.set_verify(1.0);
    let warm = worker.run(warm_up(effort), &never)?;
    worker.set_verify(0.0);
    let busy = Busy::read();
    let window = worker.run(Duration::from_secs_f64(effort.seconds), &never)?;
    let spent = busy.spent(SERVER_CORE);
    worker.leave();
    for Window { tally, .. } in [&warm, &window] {
        if let Some(why) = tally.failures.iter().find_map(|failures| failures.first.clone()) {
            return Err(format!("{} of {} failed: {why}", tally.failed(), tally.requests).into());
        }
    }
    if target.truth.is_some() && warm.tally.verified == 0 {
        return Err("nothing was compared".into());
    }
    let Window { tally, wall, cpu } = window;
    #[expect(clippy::cast_precision_loss, reason = "rates for people")]
    let (requests, bytes) = (tally.requests as f64, tally.body_bytes as f64);
    if tally.requests == 0 {
        return Err("no response came".into());
    }
    #[expect(clippy::cast_precision_loss, reason = "microseconds for people")]
    let quantile = |share| tally.total.quantile_us(share) as f64;
    Ok(Score {
        connections_per_s: requests / wall.as_secs_f64(),
        gbit_per_s: bytes * 8.0 / wall.as_secs_f64() / 1e9,
        core: spent.core_fraction - spent.core_niced_fraction,
        machine_cpu_us: (spent.machine_seconds - spent.machine_niced_seconds) * 1e6 / requests,
        client_cpu_us: cpu.as_secs_f64() * 1e6 / requests,
        client_busy: cpu.as_secs_f64() / wall.as_secs_f64(),
        p50_us: quantile(0.5),
        p99_us: quantile(0.99),
    })
}
