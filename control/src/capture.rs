//! Packets that pass an engine, on their way to a file.
//!
//! ```text
//!   worker 0: tap ──▶ CaptureSink ══ bytes, 4 MiB ══╗
//!   worker 1: tap ──▶ CaptureSink ══ bytes, 4 MiB ══╬══▶ thread "capture" ──▶ FILE, FILE.1
//!   control: POST /capture/start, /capture/stop ────╝       pcapng, one interface for each worker
//! ```
//!
//! A worker copies the beginning of each packet that fits the [`CaptureFilter`] into a ring of bytes, and never waits:
//! what finds no room is dropped and counted, in the file as well. A thread of its own writes, so that a slow disk
//! delays neither workers nor control. Nothing of this exists while nothing is captured but the two open files: they
//! are opened at start, by name and once, so that a process that has given up its privileges can still write them, and
//! so that whoever reaches the admin port cannot choose what is written where.
//!
//! The two files share the size that the operator gave. When one is full the other one is begun anew; the older packets
//! are in the older file. `mergecap -w all.pcapng FILE FILE.1` puts them together.

mod filter;
mod pcapng;
mod ring;
mod writer;

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use crate::{Figure, Wake};
pub use filter::{BadFilter, CaptureFilter};
pub use ring::CaptureSink;
use writer::{Files, Order, Session, Source};

/// The most of a packet that can be kept: more than any superframe.
pub const CAPTURE_SNAP_MAX: u32 = 262_144;
/// The least of it: Ethernet, IPv6 and TCP without options.
pub const CAPTURE_SNAP_MIN: u32 = 74;
/// The least that both files together may have.
pub const CAPTURE_BYTES_MIN: u64 = 2 << 20;

/// What the operator wants captured, and where to.
#[derive(Clone, Debug)]
pub struct CapturePlan {
    /// The first of the two files; the other one has `.1` behind its name.
    pub file: PathBuf,
    /// The size of both together, in bytes.
    pub bytes_max: u64,
    /// What is kept of a packet, in bytes, unless a request says otherwise.
    pub snap: u32,
    /// Which packets, unless a request says otherwise.
    pub filter: CaptureFilter,
    /// From the first packet on; else when it is asked for.
    pub at_start: bool,
    /// Who writes, for the file: `atlas 0.1.0`.
    pub program: String,
    /// What each worker's link is called.
    pub links: Vec<String>,
}

/// The files cannot be had. The operator's.
#[derive(Debug)]
pub enum CaptureError {
    /// One of the two.
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a directory, a device or a pipe: it cannot be begun anew.
    NotAFile {
        /// Which.
        path: PathBuf,
    },
    /// The thread, or its bell.
    System(io::Error),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, source } => {
                write!(f, "cannot capture to {}: {source}; name another file with --pcap", path.display())
            }
            Self::NotAFile { path } => {
                write!(f, "cannot capture to {}: it is no file; name one with --pcap", path.display())
            }
            Self::System(source) => write!(f, "cannot start the thread that writes captures: {source}"),
        }
    }
}

impl core::error::Error for CaptureError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::File { source, .. } | Self::System(source) => Some(source),
            Self::NotAFile { .. } => None,
        }
    }
}

/// What was captured since the process began, told by all sinks and by the writer.
#[derive(Debug, Default)]
struct Totals {
    packets: AtomicU64,
    dropped: AtomicU64,
    bytes: AtomicU64,
    active: AtomicBool,
    failed: AtomicBool,
}

/// The two files, and the thread that writes them.
#[derive(Debug)]
pub struct Capture {
    plan: CapturePlan,
    orders: Option<Sender<Order>>,
    bell: Wake,
    totals: Arc<Totals>,
    thread: Option<JoinHandle<()>>,
    /// What is being captured now.
    now: (CaptureFilter, u32),
}

impl Capture {
    /// Opens the files, for the owner alone. What was in them is gone. `prepare` is called by the thread that writes, before
    /// it does; without its consent nothing is written.
    ///
    /// # Errors
    /// A file cannot be opened, or there is no thread to be had.
    pub fn open(
        plan: CapturePlan,
        prepare: impl FnOnce() -> Result<(), String> + Send + 'static,
    ) -> Result<Self, CaptureError> {
        let paths = [plan.file.clone(), second(&plan.file)];
        let [first, second] = [open(&paths[0])?, open(&paths[1])?];
        let bell = Wake::new().map_err(CaptureError::System)?;
        let totals = Arc::new(Totals::default());
        let files = Files::new([first, second], paths, plan.bytes_max.max(CAPTURE_BYTES_MIN) / 2);
        let (orders, taken) = channel();
        let (its_bell, its_totals) = (bell.clone(), Arc::clone(&totals));
        let thread = thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || match prepare() {
                Ok(()) => writer::run(files, &taken, &its_bell, &its_totals),
                Err(line) => {
                    its_totals.failed.store(true, Ordering::Relaxed);
                    tracing::error!("capture: {line}");
                }
            })
            .map_err(CaptureError::System)?;
        let now = (plan.filter, plan.snap);
        Ok(Self { plan, orders: Some(orders), bell, totals, thread: Some(thread), now })
    }

    /// What the operator wants.
    #[must_use]
    pub const fn plan(&self) -> &CapturePlan {
        &self.plan
    }

    /// Begins a capture in a file of its own, one sink for each worker. What was being captured before ends.
    pub fn start(&mut self, filter: CaptureFilter, snap: u32) -> Vec<CaptureSink> {
        let snap = snap.clamp(CAPTURE_SNAP_MIN, CAPTURE_SNAP_MAX);
        let (mut sinks, mut sources) = (Vec::new(), Vec::new());
        for (index, name) in self.plan.links.iter().enumerate() {
            let (sink, ring, tally) = ring::pair(filter, snap, &self.totals, self.bell.clone());
            sinks.push(sink);
            sources.push(Source::new(ring, tally, name.clone(), format!("worker {index}")));
        }
        self.now = (filter, snap);
        self.totals.active.store(true, Ordering::Relaxed);
        self.totals.failed.store(false, Ordering::Relaxed);
        let program = self.plan.program.clone();
        let session =
            Session { sources, filter: filter.to_string(), snap, program, offset: wall_clock_offset() };
        self.order(Order::Begin(Box::new(session)));
        sinks
    }

    /// The workers have been told to let go of their sinks: what they left is written, and the file is finished.
    pub fn stop(&mut self) {
        self.totals.active.store(false, Ordering::Relaxed);
        self.order(Order::End);
    }

    fn order(&self, order: Order) {
        // A thread that is gone has told why; the next capture would need a restart.
        if let Some(orders) = &self.orders {
            let _ = orders.send(order);
        }
        self.bell.ring();
    }

    /// Packets are being captured.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.totals.active.load(Ordering::Relaxed) && !self.totals.failed.load(Ordering::Relaxed)
    }

    /// For whoever asks at the admin port.
    #[must_use]
    pub fn status(&self) -> Value {
        let (filter, snap) = &self.now;
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        json!({
            "active": self.is_active(),
            "failed": self.totals.failed.load(Ordering::Relaxed),
            "file": self.plan.file.display().to_string(),
            "other": second(&self.plan.file).display().to_string(),
            "filter": filter.to_string(),
            "snap": snap,
            "packets": count(&self.totals.packets),
            "dropped": count(&self.totals.dropped),
            "bytes": count(&self.totals.bytes),
        })
    }

    /// The same, for the metrics.
    #[must_use]
    pub fn figures(&self) -> [Figure; 4] {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        [
            Figure::gauge("capture_active", "Packets are being captured", u64::from(self.is_active())),
            Figure::counter("capture_packets", "Packets captured", count(&self.totals.packets)),
            Figure::counter(
                "capture_dropped",
                "Packets that were to be captured and found no room",
                count(&self.totals.dropped),
            ),
            Figure::counter("capture_bytes", "Bytes written by captures", count(&self.totals.bytes)),
        ]
    }
}

/// Lets the thread write what it has.
impl Drop for Capture {
    fn drop(&mut self) {
        self.orders = None;
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// `FILE.1`.
fn second(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Opens a file to be written anew, and no link that somebody has put in its place.
fn open(path: &Path) -> Result<File, CaptureError> {
    let refused = |source| CaptureError::File { path: path.into(), source };
    let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.cast_signed())
        .open(path)
        .map_err(refused)?;
    if !file.metadata().map_err(refused)?.is_file() {
        return Err(CaptureError::NotAFile { path: path.into() });
    }
    // A file that was there before may have been open to others.
    rustix::fs::fchmod(&file, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
        .map_err(|errno| refused(errno.into()))?;
    file.set_len(0).map_err(refused)?;
    Ok(file)
}

/// What the monotonic clock lacks to the time of day. Taken once a capture, so that differences within it are true
/// whatever happens to the time of day.
fn wall_clock_offset() -> Duration {
    let of = |id| {
        let time = clock_gettime(id);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    of(ClockId::Realtime).saturating_sub(of(ClockId::Monotonic))
}

#[cfg(test)]
mod tests;
