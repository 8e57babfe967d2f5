//! One core's share of the path.
//!
//! ```text
//!   receive a batch ─▶ received ─▶ Pass: send from where it lies
//!                               └▶ Taken ─▶ … ─▶ take a batch ─▶ send ─▶ release
//! ```
//!
//! Frames come and go many per system call, and are copied by us only when they are small and have to wait. With
//! nothing to do the worker sleeps until a device is readable or the wheel's next deadline.

use arrayvec::ArrayVec;
use core::num::NonZeroU64;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use middlebox::{Config, Direction, FRAME_BYTES_MAX, Frame, Middlebox, Room, Verdict};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::time::Instant;
use vnet::RAW_BATCH_MAX;

use crate::device::{OpenQueue, Queue};
use crate::error::ProgramError;
use crate::report::Report;

/// What a batch is to bring, in bytes, so that it is still in the core's own cache when it leaves; and the fewest frames
/// that are worth a batch.
const BATCH_BYTES: usize = 512 << 10;
const BATCH_MIN: usize = 4;
/// The shortest sleep. Deadlines of dense traffic are a tick apart: to wake for each, or to wait for it awake, would
/// take the processor from the ends of the path. What is due may leave this much later, and leaves with what arrives.
const REST: Duration = Duration::from_micros(50);
/// The longest sleep, so that the end is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(50);
/// How often the numbers are told.
const TELL: Duration = Duration::from_millis(100);
/// How long a device may have no room before frames are dropped.
const PATIENCE: Duration = Duration::from_millis(20);

/// One core's share of the path.
#[derive(Debug)]
pub(crate) struct Worker {
    middlebox: Middlebox,
    /// Where frames are received, and what is too long for each.
    rooms: Vec<(Room, Box<[u8]>)>,
    client: Port,
    server: Port,
    epoch: Instant,
}

/// One side.
#[derive(Debug)]
struct Port {
    name: String,
    queue: OpenQueue,
    /// Frames that the next batch may bring.
    width: usize,
    missed: u64,
    refused: u64,
    refusal: Option<Errno>,
}

impl Worker {
    /// A path between two queues, which belong to the calling thread from now on; time counts from `epoch`.
    pub(crate) fn new(
        config: &Config,
        client: Queue,
        server: Queue,
        epoch: Instant,
    ) -> Result<Self, ProgramError> {
        let rooms = (0..RAW_BATCH_MAX).map(|_| {
            let mut room = Room::new();
            let spill = vec![0; FRAME_BYTES_MAX - room.space().len()];
            (room, spill.into())
        });
        Ok(Self {
            middlebox: Middlebox::new(config, since(epoch))?,
            rooms: rooms.collect(),
            client: Port::open(client)?,
            server: Port::open(server)?,
            epoch,
        })
    }

    /// Forwards until `stop`, telling its numbers now and then, and at the end.
    pub(crate) fn run(mut self, stop: &AtomicBool, tell: impl Fn(&Report)) -> Result<(), ProgramError> {
        // Else the kernel may let us sleep 50 µs longer than we ask for; a refusal costs just that.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        let mut told = clock::Instant::EPOCH;
        while !stop.load(Ordering::Relaxed) {
            let mut busy = self.receive(Direction::ToServer)?;
            busy |= self.receive(Direction::ToClient)?;
            let now = self.send_due();
            if now.since(told) >= TELL {
                told = now;
                tell(&self.report());
            }
            if !busy && !self.client.queue.is_pending() && !self.server.queue.is_pending() {
                self.sleep()?;
            }
        }
        tell(&self.report());
        Ok(())
    }

    fn report(&mut self) -> Report {
        for port in [&mut self.client, &mut self.server] {
            port.missed += port.queue.missed();
        }
        Report {
            statistics: self.middlebox.statistics(),
            missed: [self.client.missed, self.server.missed],
            refused: [self.server.refused, self.client.refused],
            refusal: self.server.refusal.or(self.client.refusal),
        }
    }

    /// Receives a batch. Returns whether there may be more.
    fn receive(&mut self, direction: Direction) -> Result<bool, ProgramError> {
        let (from, to) = match direction {
            Direction::ToServer => (&mut self.client, &mut self.server),
            Direction::ToClient => (&mut self.server, &mut self.client),
        };
        let spaces = self.rooms.iter_mut().map(|(room, spill)| [room.space(), &mut spill[..]]);
        let arrivals = from
            .queue
            .receive(spaces.take(from.width))
            .map_err(|source| ProgramError::Device { name: from.name.clone(), source })?;
        if arrivals.is_empty() {
            return Ok(false);
        }
        let now = since(self.epoch);
        let mut bytes = 0;
        let mut passing = ArrayVec::<usize, RAW_BATCH_MAX>::new();
        for arrival in &arrivals {
            let (room, spill) = &mut self.rooms[arrival.room];
            // What lost its end cannot go on, and counts as malformed.
            room.fill(if arrival.truncated { 0 } else { arrival.len }, spill, arrival.tag);
            bytes += arrival.len;
            if self.middlebox.received(now, direction, room) == Verdict::Pass {
                passing.push(arrival.room);
            }
        }
        from.width = (BATCH_BYTES / (bytes / arrivals.len()).max(1)).clamp(BATCH_MIN, RAW_BATCH_MAX);
        to.send(passing.iter().map(|room| self.rooms[*room].0.bytes()));
        Ok(true)
    }

    /// Sends what is due. Returns the time it is.
    fn send_due(&mut self) -> clock::Instant {
        let now = since(self.epoch);
        for (direction, to) in
            [(Direction::ToServer, &mut self.server), (Direction::ToClient, &mut self.client)]
        {
            loop {
                let due = core::iter::from_fn(|| self.middlebox.take(now, direction));
                let due: ArrayVec<Frame, RAW_BATCH_MAX> = due.take(RAW_BATCH_MAX).collect();
                if due.is_empty() {
                    break;
                }
                to.send(due.iter().map(Frame::bytes));
                // Newest on top of the pool: its memory is the one that is still in the cache.
                due.into_iter().for_each(|frame| self.middlebox.release(frame));
            }
        }
        now
    }

    fn sleep(&self) -> Result<(), ProgramError> {
        let wait = match self.middlebox.next_deadline() {
            Some(deadline) => deadline.since(since(self.epoch)).clamp(REST, SLEEP_MAX),
            None => SLEEP_MAX,
        };
        let mut devices = [&self.client, &self.server]
            .map(|port| PollFd::from_borrowed_fd(port.queue.descriptor(), PollFlags::IN));
        match poll(&mut devices, Some(&timespec(wait))) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(ProgramError::Wait(error)),
        }
    }
}

impl Port {
    fn open(queue: Queue) -> Result<Self, ProgramError> {
        let name = queue.name.clone();
        Ok(Self { name, queue: queue.open()?, width: RAW_BATCH_MAX, missed: 0, refused: 0, refusal: None })
    }

    /// Sends frames. A device without room holds us up for a while, as a full wire would; frames that it will not take
    /// are counted.
    fn send<'a>(&mut self, frames: impl ExactSizeIterator<Item = &'a [u8]> + Clone) {
        let (mut done, mut began) = (0, None);
        while done < frames.len() {
            let sent = self.queue.send(frames.clone().skip(done));
            done += sent.done;
            self.refused += sent.refused as u64;
            self.refusal = sent.refusal.or(self.refusal);
            if sent.done > 0 {
                began = None;
            } else if began.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
                let mut device = [PollFd::from_borrowed_fd(self.queue.descriptor(), PollFlags::OUT)];
                // Whatever it says, the next attempt knows better.
                let _ = poll(&mut device, Some(&timespec(Duration::from_millis(1))));
            } else {
                self.refused += (frames.len() - done) as u64;
                self.refusal = Some(Errno::AGAIN);
                return;
            }
        }
    }
}

fn since(epoch: Instant) -> clock::Instant {
    clock::Instant::EPOCH + epoch.elapsed()
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}
