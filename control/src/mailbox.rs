//! The two rings between control and one worker.
//!
//! ```text
//!   ControlPort ──Command──▶ ring of 64 ──▶ WorkerPort      and a bell, so that a sleeping worker looks
//!   ControlPort ◀──Report─── ring of N  ◀── WorkerPort      and a bell for what cannot wait
//! ```
//!
//! Neither side ever waits for the other. A report that finds the ring full is dropped and counted; the last few
//! slots are kept for the reports that say how the worker is, which are never dropped. A command that finds it full is
//! kept, the last of its kind, and sent when there is room: a worker that hung for a while is told what holds now.

use core::fmt;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use tracing::Level;

use crate::{CaptureSink, ListOrder, Listed, Wake};

/// Commands that may wait: far more than are ever sent between two turns.
const COMMANDS: usize = 64;
/// Slots that only [`Report::is_state`] may use: more than such reports in a worker's life.
const STATE_SLOTS: usize = 8;

/// What control tells a worker to do, between two turns.
#[derive(Debug)]
pub enum Command<S> {
    /// From now on use this: configuration, catalogue, certificates.
    Snapshot(S),
    /// Finish connections as they become idle, accept none that is new, then report [`Report::Drained`].
    Drain,
    /// Leave at once.
    Stop,
    /// Show packets to this; `None`: to nobody any more.
    Capture(Option<Box<CaptureSink>>),
    /// Tell of connections: [`Report::Listed`].
    List(ListOrder),
}

/// Something that happened in a worker and belongs into the event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// How bad it is.
    pub level: Level,
    /// One line.
    pub text: Box<str>,
}

/// What a worker tells control.
#[derive(Debug)]
pub enum Report<C, R> {
    /// Everything is set up, packets are being taken.
    Ready,
    /// The counters, as they are now.
    Counters(Box<C>),
    /// One line for the access log.
    Record(R),
    /// One line for the event log.
    Event(Event),
    /// The answer to [`Command::List`]. Somebody waits for it: the worker keeps it until there is room.
    Listed(Box<Listed>),
    /// No connection is left after [`Command::Drain`].
    Drained,
    /// The worker has left its loop.
    Stopped,
    /// The worker could not start or go on: one line that names cause and remedy.
    Failed(Box<str>),
}

impl<C, R> Report<C, R> {
    /// Says how the worker is, rather than what it did; never dropped.
    #[must_use]
    pub const fn is_state(&self) -> bool {
        match self {
            Self::Ready | Self::Drained | Self::Stopped | Self::Failed(_) => true,
            Self::Counters(_) | Self::Record(_) | Self::Event(_) | Self::Listed(_) => false,
        }
    }
}

/// The worker has 64 commands waiting: it hangs. Nothing is lost but [`Command::List`], which somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the worker takes no more commands")
    }
}

impl core::error::Error for Refused {}

/// A worker's end.
#[derive(Debug)]
pub struct WorkerPort<S, C, R> {
    commands: Consumer<Command<S>>,
    reports: Producer<Report<C, R>>,
    mine: Wake,
    control: Wake,
    dropped: u64,
}

/// Control's end.
#[derive(Debug)]
pub struct ControlPort<S, C, R> {
    commands: Producer<Command<S>>,
    kept: Kept<S>,
    reports: Consumer<Report<C, R>>,
    worker: Wake,
}

/// What found no room: of each kind the last, which is all that would be in force after the others.
#[derive(Debug)]
struct Kept<S> {
    snapshot: Option<S>,
    capture: Option<Option<Box<CaptureSink>>>,
    drain: bool,
    stop: bool,
}

impl<S> Kept<S> {
    const NOTHING: Self = Self { snapshot: None, capture: None, drain: false, stop: false };

    /// `false` for what is not kept.
    fn keep(&mut self, command: Command<S>) -> bool {
        match command {
            Command::Snapshot(snapshot) => self.snapshot = Some(snapshot),
            Command::Capture(sink) => self.capture = Some(sink),
            Command::Drain => self.drain = true,
            Command::Stop => self.stop = true,
            Command::List(_) => return false,
        }
        true
    }

    /// The first of what is kept: what a worker should know comes before what it should do.
    fn next(&mut self) -> Option<Command<S>> {
        let Self { snapshot, capture, drain, stop } = self;
        snapshot
            .take()
            .map(Command::Snapshot)
            .or_else(|| capture.take().map(Command::Capture))
            .or_else(|| core::mem::take(drain).then_some(Command::Drain))
            .or_else(|| core::mem::take(stop).then_some(Command::Stop))
    }
}

/// Control's end and the worker's.
pub type Ends<S, C, R> = (ControlPort<S, C, R>, WorkerPort<S, C, R>);

/// Makes the rings between control, whose bell is given, and one worker. `reports` is how many reports may wait.
///
/// # Errors
/// The process has no descriptor left for the worker's bell.
pub fn mailbox<S, C, R>(reports: usize, control: Wake) -> io::Result<Ends<S, C, R>> {
    let worker = Wake::new()?;
    let (command_in, command_out) = RingBuffer::new(COMMANDS);
    let (report_in, report_out) = RingBuffer::new(reports + STATE_SLOTS);
    Ok((
        ControlPort {
            commands: command_in,
            kept: Kept::NOTHING,
            reports: report_out,
            worker: worker.clone(),
        },
        WorkerPort { commands: command_out, reports: report_in, mine: worker, control, dropped: 0 },
    ))
}

impl<S, C, R> WorkerPort<S, C, R> {
    /// The next command, if there is one. Costs one load when there is none.
    pub fn command(&mut self) -> Option<Command<S>> {
        self.commands.pop().ok()
    }

    /// Control is gone: nobody will say [`Command::Stop`] any more.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.commands.is_abandoned()
    }

    /// Tells control. Never blocks; a full ring drops the report and counts it.
    pub fn report(&mut self, report: Report<C, R>) {
        let state = report.is_state();
        let is_waited_for = state || matches!(report, Report::Listed(_));
        if !state && self.reports.slots() <= STATE_SLOTS {
            self.dropped += 1;
            return;
        }
        if self.reports.push(report).is_err() {
            self.dropped += 1;
        }
        if is_waited_for {
            self.control.ring();
        }
    }

    /// Room for this many more reports before they are dropped.
    #[must_use]
    pub fn room(&self) -> usize {
        self.reports.slots().saturating_sub(STATE_SLOTS)
    }

    /// How many reports found the ring full.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Stops the bell, which is rung for each command. To be called before looking for commands.
    pub fn silence(&self) {
        self.mine.silence();
    }
}

/// Readable when a command waits.
impl<S, C, R> AsFd for WorkerPort<S, C, R> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.mine.as_fd()
    }
}

impl<S, C, R> ControlPort<S, C, R> {
    /// Leaves a command and wakes the worker.
    ///
    /// # Errors
    /// The worker has not looked at its commands for a long time. What it should know is kept for it, see
    /// [`Self::send_kept`]; an order to tell of connections is not.
    pub fn send(&mut self, command: Command<S>) -> Result<(), Refused> {
        // Not past what was kept: an older snapshot must not come behind a newer one.
        let refused = match self.send_kept() {
            Ok(()) => self.push(command).err(),
            Err(Refused) => Some(command),
        };
        let Some(command) = refused else { return Ok(()) };
        self.kept.keep(command);
        Err(Refused)
    }

    /// Sends what found no room before. To be called now and then.
    ///
    /// # Errors
    /// There is still no room.
    pub fn send_kept(&mut self) -> Result<(), Refused> {
        while let Some(command) = self.kept.next() {
            if let Err(command) = self.push(command) {
                self.kept.keep(command);
                return Err(Refused);
            }
        }
        Ok(())
    }

    fn push(&mut self, command: Command<S>) -> Result<(), Command<S>> {
        let sent = self.commands.push(command).map_err(|PushError::Full(command)| command);
        self.worker.ring();
        sent
    }

    /// What wakes the worker, for those who leave something for it elsewhere.
    #[must_use]
    pub fn bell(&self) -> Wake {
        self.worker.clone()
    }

    /// The next report, if there is one.
    pub fn report(&mut self) -> Option<Report<C, R>> {
        self.reports.pop().ok()
    }

    /// The worker is gone, and everything it reported has been taken.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.reports.is_abandoned() && self.reports.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(reports: usize) -> (Ends<u8, u64, u32>, Wake) {
        let bell = Wake::new().unwrap();
        (mailbox(reports, bell.clone()).unwrap(), bell)
    }

    #[test]
    fn a_full_ring_drops_records_and_counts_them() {
        let ((mut control, mut worker), _bell) = ends(2);
        (0..5).for_each(|n| worker.report(Report::Record(n)));
        assert_eq!(worker.dropped(), 3);
        let taken: Vec<_> = core::iter::from_fn(|| control.report())
            .map(|report| match report {
                Report::Record(n) => n,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(taken, [0, 1]);
    }

    #[test]
    fn a_full_ring_still_takes_how_the_worker_is() {
        let ((mut control, mut worker), bell) = ends(1);
        (0..5).for_each(|n| worker.report(Report::Record(n)));
        assert!(!bell.silence(), "records do not wake control");
        worker.report(Report::Stopped);
        assert!(bell.silence(), "a state does");
        assert!(matches!(control.report(), Some(Report::Record(0))));
        assert!(matches!(control.report(), Some(Report::Stopped)));
    }

    #[test]
    fn a_command_rings_the_workers_bell() {
        let ((mut control, mut worker), _bell) = ends(1);
        control.send(Command::Snapshot(7)).unwrap();
        assert!(worker.mine.silence());
        assert!(matches!(worker.command(), Some(Command::Snapshot(7))));
        assert!(worker.command().is_none());
    }

    #[test]
    fn a_worker_that_hung_is_told_what_holds_when_it_looks_again() {
        let ((mut control, mut worker), _bell) = ends(1);
        (0..COMMANDS).for_each(|_| control.send(Command::Snapshot(0)).unwrap());
        for command in [Command::Stop, Command::Snapshot(1), Command::Drain, Command::Snapshot(2)] {
            assert_eq!(control.send(command), Err(Refused));
        }
        assert_eq!(control.send_kept(), Err(Refused));
        // Room for one: the next that is sent does not pass the others.
        assert!(worker.command().is_some());
        assert_eq!(control.send(Command::Snapshot(3)), Err(Refused));
        while let Some(command) = worker.command() {
            assert!(matches!(command, Command::Snapshot(0 | 2)), "{command:?}");
        }
        assert!(worker.mine.silence());
        assert_eq!(control.send_kept(), Ok(()));
        assert!(worker.mine.silence(), "it is woken for what was kept");
        assert!(matches!(worker.command(), Some(Command::Snapshot(3))));
        assert!(matches!(worker.command(), Some(Command::Drain)));
        assert!(matches!(worker.command(), Some(Command::Stop)));
        assert!(worker.command().is_none(), "once");
    }

    #[test]
    fn a_worker_that_hangs_is_not_asked_for_connections_later() {
        let ((mut control, mut worker), _bell) = ends(1);
        (0..COMMANDS).for_each(|_| control.send(Command::Drain).unwrap());
        let order = ListOrder { id: 1, from: 0, count_max: 1 };
        assert_eq!(control.send(Command::List(order)), Err(Refused));
        while worker.command().is_some() {}
        assert_eq!(control.send_kept(), Ok(()));
        assert!(worker.command().is_none());
    }

    #[test]
    fn an_end_that_is_gone_is_noticed_after_its_last_word() {
        let ((mut control, mut worker), _bell) = ends(1);
        worker.report(Report::Failed("no io_uring".into()));
        drop(worker);
        assert!(!control.is_alone());
        assert!(matches!(control.report(), Some(Report::Failed(_))));
        assert!(control.is_alone());

        let ((control, worker), _bell) = ends(1);
        drop(control);
        assert!(worker.is_alone());
    }
}
