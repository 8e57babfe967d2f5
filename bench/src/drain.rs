//! A client over kernel TCP that costs little: the lab's, on one core and in steps.
//!
//! Before the clock starts every response is opened and compared byte for byte, until everybody is connected; from then
//! on payload is thrown away inside the kernel.

use core::net::SocketAddr;
use core::sync::atomic::AtomicBool;
use core::time::Duration;
use std::sync::Arc;

use handshake::{ClientOptions, ClientSettings, Trust};
use lab::load::catalogue::{Catalogue, Part};
use lab::load::choice::{Chooser, Mix};
use lab::load::fault::Fault;
use lab::load::kernel::{Window, Worker, now};
use lab::load::plan::{Demand, Plan};
use lab::load::truth::{Original, Truth};

/// What is asked for, and how.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) server: SocketAddr,
    pub(crate) secure: bool,
    pub(crate) paths: Vec<String>,
    pub(crate) object_bytes: u64,
    pub(crate) connections: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Drained {
    pub(crate) wire_bytes: u64,
    pub(crate) seconds: f64,
}

/// A client's complaint, for people.
pub(crate) type Complaint = Box<dyn core::error::Error + Send + Sync>;

/// The bytes of the object at a path.
pub(crate) type Expected = Arc<dyn Fn(&str) -> Vec<u8> + Send + Sync>;

/// The load's state between warm-up and runs.
#[derive(Debug)]
pub(crate) struct Drain {
    worker: Worker,
}

/// Objects as a function of their paths.
struct Known(Expected);

impl core::fmt::Debug for Known {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Known")
    }
}

#[derive(Debug)]
struct Bytes(Vec<u8>);

impl Truth for Known {
    fn open(&self, path: &str) -> Result<Box<dyn Original>, Fault> {
        Ok(Box::new(Bytes((self.0)(path))))
    }
}

impl Original for Bytes {
    fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Fault> {
        let range = usize::try_from(offset).ok().and_then(|at| self.0.get(at..at.checked_add(out.len())?));
        out.copy_from_slice(range.ok_or_else(|| Fault::Truth("a range beyond the object".to_owned()))?);
        Ok(())
    }
}

impl Drain {
    /// Connects everybody, and compares what they fetch meanwhile.
    pub(crate) fn connect(load: &Load, expected: Expected) -> Result<Self, Complaint> {
        let scheme = if load.secure { "https" } else { "http" };
        let mut catalogue = Catalogue::default();
        for path in &load.paths {
            catalogue.add(&format!("{scheme}://{}{path}", load.server), Some(load.object_bytes))?;
        }
        let plan = Arc::new(Plan {
            chooser: Chooser::new(Mix::Sequential, &vec![load.object_bytes; load.paths.len()])?,
            catalogue,
            part: Part::Whole,
            demand: Demand::CLOSED_LOOP,
            connections: load.connections,
            ramp: Duration::from_millis(200),
            timeout: Duration::from_secs(10),
            sources: Vec::new(),
            truth: Some(Arc::new(Known(expected))),
            tls: ClientSettings::new(Trust::Anyone, ClientOptions::default())?,
            seed: 1,
        });
        let mut drain = Self { worker: Worker::new(&plan, (0, 1), now(), None)? };
        drain.worker.set_verify(1.0);
        // Until everybody has had something: handshakes take the server's core a while.
        for _ in 0..50 {
            let window = drain.window(Duration::from_millis(300))?;
            let open = drain.worker.gauge().open.load(core::sync::atomic::Ordering::Relaxed);
            if window.tally.verified >= load.connections as u64 && open >= load.connections as u64 {
                drain.worker.set_verify(0.0);
                return Ok(drain);
            }
        }
        Err("not every connection got a response within 15 s".into())
    }

    /// Asks for objects on every connection for this long.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Drained, Complaint> {
        let Window { tally, wall, .. } = self.window(duration)?;
        Ok(Drained { wire_bytes: tally.wire_bytes, seconds: wall.as_secs_f64() })
    }

    fn window(&mut self, duration: Duration) -> Result<Window, Complaint> {
        let window = self.worker.run(duration, &AtomicBool::new(false))?;
        match window.tally.failures.iter().find_map(|failures| failures.first.clone()) {
            Some(why) => Err(why.into()),
            None => Ok(window),
        }
    }
}
