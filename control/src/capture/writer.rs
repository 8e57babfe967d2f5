//! The thread that writes: rings in, blocks out, never more than two files hold.

use core::sync::atomic::Ordering;
use core::time::Duration;
use rtrb::Consumer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;

use super::pcapng::{Blocks, PacketHead, Statistics};
use super::ring::{self, Tally};
use super::{Totals, wall_clock_offset};
use crate::Wake;

/// How often the rings are looked at. Half of one is what comes within this, or the bell is rung before.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What is gathered before it is written.
const GATHER_BYTES: usize = 256 << 10;

/// How often, and how long between, a worker is waited for that has not let go of its end yet.
const FAREWELLS: u32 = 50;
const FAREWELL: Duration = Duration::from_millis(5);

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Finish what is being written, and begin this.
    Begin(Box<Session>),
    /// Finish it.
    End,
}

/// A capture, from its beginning to its end.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) sources: Vec<Source>,
    pub(super) filter: String,
    pub(super) snap: u32,
    pub(super) program: String,
    /// From the monotonic clock to the time of day.
    pub(super) offset: Duration,
}

/// One worker's ring.
#[derive(Debug)]
pub(super) struct Source {
    ring: Consumer<u8>,
    tally: Arc<Tally>,
    name: String,
    description: String,
    began_unix_nanos: u64,
}

impl Source {
    pub(super) fn new(ring: Consumer<u8>, tally: Arc<Tally>, name: String, description: String) -> Self {
        Self { ring, tally, name, description, began_unix_nanos: unix_nanos() }
    }
}

fn unix_nanos() -> u64 {
    let now = wall_clock_offset() + monotonic();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

fn monotonic() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The two files, of which one is being written.
#[derive(Debug)]
pub(super) struct Files {
    files: [File; 2],
    paths: [PathBuf; 2],
    /// The one being written.
    current: usize,
    /// What is in it.
    written: u64,
    bytes_max: u64,
    /// It has packets in it.
    has_packets: bool,
}

impl Files {
    pub(super) fn new(files: [File; 2], paths: [PathBuf; 2], bytes_max: u64) -> Self {
        Self { files, paths, current: 0, written: 0, bytes_max, has_packets: false }
    }

    /// Begins a file: the other one, unless nothing is in this one. A file that was never begun gets a header as well, so
    /// that tools find two captures.
    fn begin(&mut self, header: &[u8]) -> io::Result<()> {
        if self.has_packets {
            self.current ^= 1;
        }
        self.has_packets = false;
        self.written = 0;
        let file = &mut self.files[self.current];
        file.set_len(0)?;
        file.rewind()?;
        let other = &mut self.files[self.current ^ 1];
        if other.metadata()?.len() == 0 {
            other.write_all(header)?;
        }
        self.append(header)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.files[self.current].write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

/// A session, and what of it is not in the file yet.
struct Writing<'a> {
    session: Session,
    files: &'a mut Files,
    totals: &'a Totals,
    blocks: Blocks,
}

/// Writes until nobody gives orders any more.
pub(super) fn run(mut files: Files, orders: &Receiver<Order>, bell: &Wake, totals: &Totals) {
    let mut next = None;
    loop {
        bell.silence();
        match next.take().map_or_else(|| orders.try_recv(), Ok) {
            Ok(Order::Begin(session)) => {
                let mut writing =
                    Writing { session: *session, files: &mut files, totals, blocks: Blocks::default() };
                match writing.run(orders, bell) {
                    Ok(order) => next = order,
                    Err(error) => {
                        totals.failed.store(true, Ordering::Relaxed);
                        let path = files.paths[files.current].display();
                        tracing::error!("capture: cannot write {path}: {error}; the capture has ended");
                    }
                }
            }
            Ok(Order::End) => {}
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => wait(bell, None),
        }
    }
}

fn wait(bell: &Wake, timeout: Option<Duration>) {
    let timeout = timeout.map(|timeout| Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(timeout.subsec_nanos()),
    });
    // Interrupted is as good as rung.
    let _ = poll(&mut [PollFd::new(bell, PollFlags::IN)], timeout.as_ref());
}

impl Writing<'_> {
    /// Until another order comes, which is returned; `None` when there will be no more of them.
    fn run(&mut self, orders: &Receiver<Order>, bell: &Wake) -> io::Result<Option<Order>> {
        self.begin()?;
        loop {
            bell.silence();
            let order = orders.try_recv();
            self.drain()?;
            match order {
                Err(TryRecvError::Empty) => wait(bell, Some(LOOK_EVERY)),
                Ok(order) => {
                    self.finish()?;
                    return Ok(Some(order));
                }
                // The workers have left by then, or are about to be left behind.
                Err(TryRecvError::Disconnected) => {
                    self.finish()?;
                    return Ok(None);
                }
            }
        }
    }

    fn header(&self) -> Blocks {
        let Session { sources, filter, snap, program, offset: _ } = &self.session;
        let mut header = Blocks::default();
        let uname = rustix::system::uname();
        header.section_header(program, &format!("Linux {}", uname.release().to_string_lossy()));
        for source in sources {
            let description = format!(
                "{}, as its engine sees packets: superframes before segmentation and checksums",
                source.description
            );
            header.interface(&source.name, &description, filter, *snap);
        }
        header
    }

    fn begin(&mut self) -> io::Result<()> {
        let header = self.header();
        self.totals.bytes.fetch_add(header.bytes().len() as u64, Ordering::Relaxed);
        self.files.begin(header.bytes())
    }

    /// Writes what waits.
    fn drain(&mut self) -> io::Result<()> {
        for index in 0..self.session.sources.len() {
            // What comes while we are at it may be more than we can write: the others have their turn, too.
            let mut left = self.session.sources[index].ring.slots();
            while left > 0 {
                let before = self.session.sources[index].ring.slots();
                if !self.take(index) {
                    break;
                }
                let after = self.session.sources[index].ring.slots();
                left = left.saturating_sub(before.saturating_sub(after));
                if self.blocks.bytes().len() >= GATHER_BYTES {
                    self.write()?;
                }
            }
        }
        self.write()
    }

    fn take(&mut self, index: usize) -> bool {
        let Self { session, blocks, totals, .. } = self;
        let offset = u64::try_from(session.offset.as_nanos()).unwrap_or(u64::MAX);
        ring::take(&mut session.sources[index].ring, &mut |head, pieces| {
            totals.packets.fetch_add(1, Ordering::Relaxed);
            let head = PacketHead {
                interface: u32::try_from(index).unwrap_or(u32::MAX),
                unix_nanos: head.nanos.saturating_add(offset),
                is_outgoing: head.is_outgoing,
                original_bytes: head.original_bytes,
                dropped: head.dropped,
            };
            blocks.packet(&head, pieces);
        })
    }

    /// Appends what was gathered; goes over to the other file when this one is full.
    fn write(&mut self) -> io::Result<()> {
        if self.blocks.bytes().is_empty() {
            return Ok(());
        }
        let mut gathered = core::mem::take(&mut self.blocks);
        // Room is left for the statistics that every file ends with.
        let room = 256 * self.session.sources.len() as u64;
        let is_full = self.files.written + gathered.bytes().len() as u64 + room > self.files.bytes_max;
        if is_full && self.files.has_packets {
            self.statistics()?;
            self.begin()?;
        }
        self.totals.bytes.fetch_add(gathered.bytes().len() as u64, Ordering::Relaxed);
        self.files.append(gathered.bytes())?;
        self.files.has_packets = true;
        gathered.clear();
        self.blocks = gathered;
        Ok(())
    }

    fn statistics(&mut self) -> io::Result<()> {
        let mut blocks = Blocks::default();
        let now = unix_nanos();
        for (index, source) in (0..).zip(&self.session.sources) {
            let Tally { seen, fitting, dropped } = &*source.tally;
            let statistics = Statistics {
                began_unix_nanos: source.began_unix_nanos,
                now_unix_nanos: now,
                seen: seen.load(Ordering::Relaxed),
                fitting: fitting.load(Ordering::Relaxed),
                dropped: dropped.load(Ordering::Relaxed),
            };
            blocks.statistics(index, &statistics);
        }
        self.totals.bytes.fetch_add(blocks.bytes().len() as u64, Ordering::Relaxed);
        self.files.append(blocks.bytes())
    }

    /// What the workers left before they let go of their ends, and the statistics behind it.
    fn finish(&mut self) -> io::Result<()> {
        for _ in 0..FAREWELLS {
            let are_gone = self.session.sources.iter().all(|source| source.ring.is_abandoned());
            self.drain()?;
            if are_gone {
                break;
            }
            thread::sleep(FAREWELL);
        }
        self.statistics()
    }
}
