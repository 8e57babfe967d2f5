//! A load on a contestant, and how busy both ends were.

use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use std::sync::Arc;

use handshake::{ClientOptions, ClientSettings, Trust};

use super::contestant::{CLIENT_CORE, Contestant};
use super::meter::Meter;
use super::{Problem, Run};
use crate::device::{Device, DeviceName};
use crate::ground::Served;
use crate::load::catalogue::{Catalogue, Part};
use crate::load::choice::{Chooser, Mix};
use crate::load::plan::{Demand, Plan};
use crate::load::run::{Effort, Via, run as run_load};
use crate::uncore::Traffic;

/// The clients' own addresses where they use our TCP: each has 64,512 ports.
const SOURCES: [Ipv4Addr; 4] = [
    Ipv4Addr::new(198, 18, 3, 1),
    Ipv4Addr::new(198, 18, 3, 2),
    Ipv4Addr::new(198, 18, 3, 3),
    Ipv4Addr::new(198, 18, 3, 4),
];
const PREFIX_LEN: u8 = 16;

/// 16,000 connections that share a slow server wait for seconds, and that is no failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// A window is taken so often at most.
const WINDOWS_MAX: u32 = 3;

/// What is asked for, and how.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// Paths and sizes.
    pub(super) objects: Vec<(String, u64)>,
    /// Which of them.
    pub(super) mix: Mix,
    /// At once.
    pub(super) connections: usize,
    /// A new connection for every request, by our own active open: the kernel's clients would be the bottleneck.
    pub(super) short: bool,
    /// Over TLS.
    pub(super) secure: bool,
    /// What counts.
    pub(super) time: Duration,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score {
    pub(super) requests_per_s: f64,
    pub(super) gbit_per_s: f64,
    /// Busy share of the server's core, softirq included.
    pub(super) core: f64,
    /// Of the whole machine.
    pub(super) cpu_us_per_request: f64,
    /// The same for each byte that came, of responses under way too: with more connections than are served within the
    /// window, hardly a response is whole.
    pub(super) cpu_s_per_gb: f64,
    /// Memory traffic for each byte that came, where the machine counts it.
    pub(super) memory: Option<Traffic>,
}

impl Load {
    /// Puts it on a server that was started. A short window in which nothing came, while a machine was busy with something
    /// else, is taken again.
    ///
    /// # Errors
    /// Requests failed, or none was answered.
    pub(super) fn measure(
        &self,
        run: &Run<'_>,
        served: &Served,
        contestant: &Contestant,
    ) -> Result<Score, Problem> {
        for _ in 0..WINDOWS_MAX {
            if let Some(score) = self.measure_once(run, served, contestant)? {
                return Ok(score);
            }
        }
        Err(Problem::Experiment(format!("{}: no response came", contestant.name)))
    }

    fn measure_once(
        &self,
        run: &Run<'_>,
        served: &Served,
        contestant: &Contestant,
    ) -> Result<Option<Score>, Problem> {
        let failed = |why: String| Problem::Experiment(format!("{}: {why}", contestant.name));
        let plan = Arc::new(self.plan(contestant).map_err(failed)?);
        let effort = Effort { warm_up: self.warm_up(), duration: self.time, requests: None, verify: 0.0 };
        let open = || {
            let name = DeviceName::Packet("near".to_owned());
            let device = Device::open(&name, (SOURCES[0].into(), PREFIX_LEN), &plan.sources);
            let port = device.and_then(Device::into_port).map_err(|error| error.to_string())?;
            Ok((port, PREFIX_LEN))
        };
        let via = if self.short { Via::Own(&open) } else { Via::Kernel };
        let mut meter = Meter::new(self.time);
        let enter = || served.enter_client();
        let outcome = run_load(&plan, via, &[CLIENT_CORE], &effort, run.stop, &enter, &mut |_, measuring| {
            if measuring {
                meter.look();
            }
        })
        .map_err(failed)?;
        if let Some((kind, _, failures)) = outcome.failures().into_iter().next() {
            return Err(failed(format!("{kind}: {}", failures.first.unwrap_or_default())));
        }
        let (requests_per_s, gbit_per_s) = (outcome.requests_per_s(), outcome.gbit_per_s());
        let Some(used) = meter.used().filter(|_| gbit_per_s > 0.0) else { return Ok(None) };
        Ok(Some(Score {
            requests_per_s,
            gbit_per_s,
            core: used.core,
            cpu_us_per_request: used.machine * 1e6 / requests_per_s,
            cpu_s_per_gb: used.machine * 8.0 / gbit_per_s,
            memory: used.memory.map(|memory| memory.per(gbit_per_s * 1e9 / 8.0)),
        }))
    }

    /// A server makes a few thousand handshakes a second.
    fn ramp(&self) -> Duration {
        let each = Duration::from_micros(if self.secure { 400 } else { 50 });
        each * u32::try_from(self.connections).unwrap_or(u32::MAX)
    }

    fn warm_up(&self) -> Duration {
        // Persistent connections are to have opened their windows, over round trips of 40 ms.
        if self.short { Duration::from_millis(300).min(self.time / 2) } else { Duration::from_secs(1) }
    }

    fn plan(&self, contestant: &Contestant) -> Result<Plan, String> {
        let mut catalogue = Catalogue::default();
        let address = if self.secure { contestant.secure() } else { contestant.address };
        let scheme = if self.secure { "https" } else { "http" };
        for (path, bytes) in &self.objects {
            let url = format!("{scheme}://{address}/{path}");
            catalogue.add(&url, Some(*bytes)).map_err(|error| error.to_string())?;
        }
        let sizes: Vec<u64> = self.objects.iter().map(|(_, bytes)| *bytes).collect();
        Ok(Plan {
            chooser: Chooser::new(self.mix, &sizes)?,
            catalogue,
            part: Part::Whole,
            demand: Demand { requests_per_connection: self.short.then_some(1), ..Demand::CLOSED_LOOP },
            connections: self.connections,
            ramp: self.ramp(),
            timeout: if self.short { Duration::from_secs(10) } else { PATIENCE },
            sources: if self.short {
                SOURCES.map(IpAddr::from).to_vec()
            } else {
                // The kernel has about 28,000 ports for an address.
                vec![Ipv4Addr::new(198, 18, 1, 1).into()]
            },
            truth: None,
            tls: ClientSettings::new(Trust::Anyone, ClientOptions::default())
                .map_err(|error| error.to_string())?,
            seed: 1,
        })
    }
}
