//! One core's share of the path.
//!
//! ```text
//!   read ─▶ received ─▶ Pass: write at once, from where it was read
//!                    └▶ Taken ─▶ … ─▶ take ─▶ write ─▶ release
//! ```
//!
//! A frame is read and written with one system call each, and copied by us only when it is small and has to wait.
//! With nothing to do the worker sleeps until a device is readable or the wheel's next deadline.

use core::num::NonZeroU64;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use middlebox::{Config, Direction, Middlebox, Verdict};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::time::Instant;

use crate::device::Queue;
use crate::error::ProgramError;
use crate::report::Report;

/// Frames read from one device before the other has its turn and what is due leaves.
const BATCH: usize = 16;
/// The shortest sleep. Deadlines of dense traffic are a tick apart: to wake for each, or to wait for it awake, would
/// take the processor from the ends of the path. What is due may leave this much later, and leaves with what arrives.
const REST: Duration = Duration::from_micros(50);
/// The longest sleep, so that the end is noticed.
const SLEEP_MAX: Duration = Duration::from_millis(50);
/// How often the numbers are told.
const TELL: Duration = Duration::from_millis(100);
/// How long a device may have no room before the frame is dropped.
const PATIENCE: Duration = Duration::from_millis(20);

/// One core's share of the path.
#[derive(Debug)]
pub(crate) struct Worker {
    middlebox: Middlebox,
    ports: Ports,
    epoch: Instant,
}

/// Both devices.
#[derive(Debug)]
struct Ports {
    client: Queue,
    server: Queue,
    refused: [u64; 2],
    refusal: Option<Errno>,
}

impl Worker {
    /// A path between two queues; time counts from `epoch`.
    pub(crate) fn new(
        config: &Config,
        client: Queue,
        server: Queue,
        epoch: Instant,
    ) -> Result<Self, ProgramError> {
        let middlebox = Middlebox::new(config, since(epoch))?;
        Ok(Self { middlebox, ports: Ports { client, server, refused: [0; 2], refusal: None }, epoch })
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
            if !busy {
                self.sleep()?;
            }
        }
        tell(&self.report());
        Ok(())
    }

    fn report(&self) -> Report {
        Report {
            statistics: self.middlebox.statistics(),
            refused: self.ports.refused,
            refusal: self.ports.refusal,
        }
    }

    /// Reads a batch. Returns whether there may be more.
    fn receive(&mut self, direction: Direction) -> Result<bool, ProgramError> {
        for _ in 0..BATCH {
            let queue = self.ports.from(direction);
            let len = match rustix::io::read(&queue.fd, self.middlebox.room()) {
                Ok(len) => len,
                Err(Errno::AGAIN) => return Ok(false),
                // A signal, or a frame that the kernel could not describe and has dropped.
                Err(Errno::INTR | Errno::INVAL) => continue,
                Err(source) => return Err(ProgramError::Device { name: queue.name.clone(), source }),
            };
            if let Verdict::Pass(frame) = self.middlebox.received(since(self.epoch), direction, len) {
                self.ports.write(direction, frame);
            }
        }
        Ok(true)
    }

    /// Writes what is due. Returns the time it is.
    fn send_due(&mut self) -> clock::Instant {
        let now = since(self.epoch);
        while let Some((direction, frame)) = self.middlebox.take(now) {
            self.ports.write(direction, frame.bytes());
            self.middlebox.release(frame);
        }
        now
    }

    fn sleep(&self) -> Result<(), ProgramError> {
        let wait = match self.middlebox.next_deadline() {
            Some(deadline) => deadline.since(since(self.epoch)).clamp(REST, SLEEP_MAX),
            None => SLEEP_MAX,
        };
        let mut devices =
            [&self.ports.client, &self.ports.server].map(|queue| PollFd::new(&queue.fd, PollFlags::IN));
        match poll(&mut devices, Some(&timespec(wait))) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(ProgramError::Wait(error)),
        }
    }
}

impl Ports {
    fn from(&self, direction: Direction) -> &Queue {
        match direction {
            Direction::ToServer => &self.client,
            Direction::ToClient => &self.server,
        }
    }

    /// Writes a frame to where it is going. A device without room holds us up for a while, as a full wire would;
    /// a frame that it will not take is counted.
    fn write(&mut self, direction: Direction, frame: &[u8]) {
        let (queue, refused) = match direction {
            Direction::ToServer => (&self.server, &mut self.refused[0]),
            Direction::ToClient => (&self.client, &mut self.refused[1]),
        };
        let mut began = None;
        loop {
            match rustix::io::write(&queue.fd, frame) {
                Ok(_) => return,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if began.get_or_insert_with(Instant::now).elapsed() < PATIENCE => {
                    let mut device = [PollFd::new(&queue.fd, PollFlags::OUT)];
                    // Whatever it says, the next write knows better.
                    let _ = poll(&mut device, Some(&timespec(Duration::from_millis(1))));
                }
                Err(error) => {
                    *refused += 1;
                    self.refusal = Some(error);
                    return;
                }
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
