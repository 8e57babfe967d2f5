//! The event loop: hosts, paths and the server on one clock.
//!
//! ```text
//!   heap: (time, order) ─▶ frame reaches the server │ frame reaches a host │ host wakes │ something is scripted
//!   then: hosts that were touched poll ─▶ up path ─▶ heap;  the server turns ─▶ checkers ─▶ down path ─▶ heap
//! ```
//!
//! Time jumps from one event to the next. Events of one moment happen in the order in which they were scheduled, so a
//! world is a function of how it was built.

use alloc::collections::{BTreeMap, BTreeSet, BinaryHeap};
use clock::Instant;
use core::cmp::{Ordering, Reverse};
use core::ops::Range;
use core::time::Duration;

use crate::check::{Breach, Checker, Seen};
use crate::client::Host;
use crate::client::report::Tally;
use crate::network::{Carried, Device, End, Faults, Frame};
use crate::packet::{Mac, Rejected, Segment};
use crate::random::Dice;
use crate::server::Server;
use crate::time::SimClock;
use crate::trace::{Direction, Trace};

/// Everything there is.
#[derive(Debug)]
pub struct World<S> {
    clock: SimClock,
    server: S,
    places: Vec<Place>,
    by_mac: BTreeMap<Mac, usize>,
    events: BinaryHeap<Reverse<Event>>,
    order: u64,
    checkers: Vec<Box<dyn Checker>>,
    breaches: Vec<Breach>,
    trace: Trace,
    dice: Dice,
    /// How long a turn takes.
    turn_time: Range<Duration>,
    /// The server is busy with its last turn until then.
    busy_until: Instant,
    server_touched: bool,
    events_handled: u64,
    /// What is printed of every frame.
    verbose: bool,
}

/// A host and its path.
#[derive(Debug)]
struct Place {
    host: Box<dyn Host>,
    up: Box<dyn Device>,
    down: Box<dyn Device>,
    /// The earliest wake-up in the heap.
    wakes: Instant,
}

#[derive(Debug)]
struct Event {
    at: Instant,
    order: u64,
    what: What,
}

#[derive(Debug)]
enum What {
    ToServer(Frame),
    ToHost(usize, Frame),
    Wake(usize),
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Every host is done.
    Done,
    /// Time is up.
    Time,
    /// A law was broken.
    Breach,
}

impl<S: Server> World<S> {
    /// A world without hosts. `turn_time` is how long the server is busy with a turn.
    #[must_use]
    pub fn new(
        clock: SimClock,
        server: S,
        checkers: Vec<Box<dyn Checker>>,
        turn_time: Range<Duration>,
        dice: Dice,
    ) -> Self {
        Self {
            clock,
            server,
            places: Vec::new(),
            by_mac: BTreeMap::new(),
            events: BinaryHeap::new(),
            order: 0,
            checkers,
            breaches: Vec::new(),
            trace: Trace::new(),
            dice,
            turn_time,
            busy_until: Instant::EPOCH,
            server_touched: true,
            events_handled: 0,
            verbose: false,
        }
    }

    /// Prints every frame at the server's link to the standard error.
    pub fn set_verbose(&mut self, verbose: bool) {
        self.verbose = verbose;
    }

    /// A host with a path.
    pub fn add(&mut self, mac: Mac, host: Box<dyn Host>, up: Box<dyn Device>, down: Box<dyn Device>) {
        let index = self.places.len();
        self.by_mac.insert(mac, index);
        self.places.push(Place { host, up, down, wakes: Instant::NEVER });
        self.schedule_wake(index, self.now());
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.instant()
    }

    /// The server.
    pub fn server(&self) -> &S {
        &self.server
    }

    /// The server, for something scripted; it turns afterwards.
    pub fn server_mut(&mut self) -> &mut S {
        self.server_touched = true;
        &mut self.server
    }

    /// A host.
    #[must_use]
    pub fn host(&self, index: usize) -> &dyn Host {
        &*self.places[index].host
    }

    /// All hosts.
    pub fn hosts(&self) -> impl Iterator<Item = &dyn Host> {
        self.places.iter().map(|place| &*place.host)
    }

    /// What was broken so far.
    #[must_use]
    pub fn breaches(&self) -> &[Breach] {
        &self.breaches
    }

    /// What happened so far, as one number.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Events handled so far.
    #[must_use]
    pub fn events_handled(&self) -> u64 {
        self.events_handled
    }

    /// What the paths did so far.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = Faults::default();
        for place in &self.places {
            place.up.report(&mut faults);
            place.down.report(&mut faults);
        }
        faults
    }

    /// What the hosts achieved so far, together.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.hosts().map(|host| host.report().tally).fold(Tally::default(), Tally::plus)
    }

    /// Heals every path, every host and the disk.
    pub fn heal(&mut self) {
        let now = self.now();
        for index in 0..self.places.len() {
            let place = &mut self.places[index];
            place.up.heal();
            place.down.heal();
            place.host.heal(now);
            self.schedule_wake(index, now);
        }
        self.server.heal(now);
        self.server_touched = true;
    }

    /// Runs until every host is done, until something is broken, or until `limit`.
    pub fn run_until_done(&mut self, limit: Instant) -> Stop {
        loop {
            if self.has_failed() {
                return Stop::Breach;
            }
            if self.places.iter().all(|place| {
                let report = place.host.report();
                report.done || report.excused
            }) {
                return Stop::Done;
            }
            if !self.step(limit) {
                return Stop::Time;
            }
        }
    }

    /// Runs until `limit`, or until something is broken.
    pub fn run_until(&mut self, limit: Instant) -> Stop {
        loop {
            if self.has_failed() {
                return Stop::Breach;
            }
            if !self.step(limit) {
                return Stop::Time;
            }
        }
    }

    /// Runs while `condition` holds, until `limit`.
    pub fn run_while(&mut self, limit: Instant, mut condition: impl FnMut(&Self) -> bool) -> Stop {
        while condition(self) {
            if self.has_failed() {
                return Stop::Breach;
            }
            if !self.step(limit) {
                return Stop::Time;
            }
        }
        Stop::Done
    }

    /// Everybody has left: the checkers look a last time.
    pub fn rest(&mut self) {
        let now = self.now();
        let vitals = self.server.vitals();
        for checker in &mut self.checkers {
            checker.at_rest(now, &vitals, &mut self.breaches);
        }
    }

    /// A law was broken, or a host has complained.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        !self.breaches.is_empty()
    }

    fn schedule(&mut self, at: Instant, what: What) {
        self.order += 1;
        self.events.push(Reverse(Event { at, order: self.order, what }));
    }

    fn schedule_wake(&mut self, index: usize, at: Instant) {
        if at < self.places[index].wakes {
            self.places[index].wakes = at;
            self.schedule(at, What::Wake(index));
        }
    }

    fn schedule_carried(&mut self, index: usize, up: bool, carried: &mut Vec<Carried>) {
        for Carried { at, to, frame } in carried.drain(..) {
            let to_server = up == (to == End::Receiver);
            self.schedule(at, if to_server { What::ToServer(frame) } else { What::ToHost(index, frame) });
        }
    }

    /// When the server turns next.
    fn server_turns_at(&self) -> Instant {
        let wants = if self.server_touched { self.now() } else { self.server.deadline() };
        if wants == Instant::NEVER { wants } else { wants.max(self.busy_until).max(self.now()) }
    }

    /// One moment; false when there is none up to `limit`, where time then stands.
    fn step(&mut self, limit: Instant) -> bool {
        let next_event = self.events.peek().map_or(Instant::NEVER, |Reverse(event)| event.at);
        let turn = self.server_turns_at();
        let next = next_event.min(turn);
        if next > limit || next == Instant::NEVER {
            if limit != Instant::NEVER {
                self.clock.advance(limit.max(self.now()));
            }
            return false;
        }
        self.clock.advance(next.max(self.now()));
        let now = self.now();
        let mut touched = BTreeSet::new();
        while self.events.peek().is_some_and(|Reverse(event)| event.at <= now) {
            let Some(Reverse(event)) = self.events.pop() else { break };
            self.events_handled += 1;
            self.handle(now, event.what, &mut touched);
        }
        for index in touched {
            self.poll_host(now, index);
        }
        if self.server_turns_at() <= now {
            self.turn_server(now);
        }
        true
    }

    fn handle(&mut self, now: Instant, what: What, touched: &mut BTreeSet<usize>) {
        match what {
            What::ToServer(frame) => {
                self.trace.record(now, Direction::Received, &frame);
                if let Ok((segment, payload)) = Segment::parse(&frame) {
                    let seen = Seen { at: now, segment: &segment, payload: &frame[payload] };
                    if self.verbose {
                        print_segment("<", seen);
                    }
                    for checker in &mut self.checkers {
                        checker.on_received(seen, &mut self.breaches);
                    }
                }
                self.server.on_frame(&frame);
                self.server_touched = true;
            }
            What::ToHost(index, frame) => {
                self.places[index].host.on_frame(now, &frame);
                touched.insert(index);
            }
            What::Wake(index) => {
                if self.places[index].wakes <= now {
                    self.places[index].wakes = Instant::NEVER;
                    touched.insert(index);
                }
            }
        }
    }

    fn poll_host(&mut self, now: Instant, index: usize) {
        let place = &mut self.places[index];
        let mut frames = Vec::new();
        let complaints = place.host.report().complaints.len();
        place.host.poll(now, &mut frames);
        let report = place.host.report();
        for complaint in &report.complaints[complaints..] {
            self.breaches.push(Breach {
                at: now,
                law: "EveryByteIsRight",
                what: format!("{}: {complaint}", report.name),
            });
        }
        let mut carried = Vec::new();
        for frame in frames {
            place.up.carry(now, frame, &mut carried);
        }
        let deadline = place.host.deadline();
        self.schedule_carried(index, true, &mut carried);
        if deadline != Instant::NEVER {
            // A host that was polled has done what it can do now.
            self.schedule_wake(index, deadline.max(Instant::from_nanos(now.as_nanos() + 1)));
        }
    }

    fn turn_server(&mut self, now: Instant) {
        self.server_touched = false;
        let mut frames = Vec::new();
        self.server.turn(now, &mut frames);
        self.busy_until = now + self.dice.duration(self.turn_time.clone());
        let mut carried = Vec::new();
        for frame in frames {
            self.trace.record(now, Direction::Sent, &frame);
            match Segment::parse(&frame) {
                Ok((segment, payload)) => {
                    let seen = Seen { at: now, segment: &segment, payload: &frame[payload] };
                    if self.verbose {
                        print_segment(">", seen);
                    }
                    for checker in &mut self.checkers {
                        checker.on_sent(seen, &mut self.breaches);
                    }
                }
                Err(Rejected::NotTcp) => {}
                Err(rejected) => {
                    let what =
                        format!("{} bytes, {rejected}: {:02x?}", frame.len(), &frame[..frame.len().min(80)]);
                    self.breaches.push(Breach { at: now, law: "SendsWholeSegments", what });
                }
            }
            let Some(mac) = frame.first_chunk::<6>() else { continue };
            if let Some(&index) = self.by_mac.get(mac) {
                self.places[index].down.carry(now, frame, &mut carried);
                self.schedule_carried(index, false, &mut carried);
            } else if mac[0] & 1 == 1 {
                // A group address: an announcement to all.
                for index in 0..self.places.len() {
                    self.places[index].down.carry(now, frame.clone(), &mut carried);
                    self.schedule_carried(index, false, &mut carried);
                }
            }
        }
        let vitals = self.server.vitals();
        for checker in &mut self.checkers {
            checker.on_turn(now, &vitals, &mut self.breaches);
        }
    }
}

#[expect(clippy::print_stderr, reason = "asked for with --trace")]
fn print_segment(direction: &str, seen: Seen<'_>) {
    let micros = seen.at.as_micros();
    eprintln!(
        "{:5}.{:06} {direction} {:?} len {}",
        micros / 1_000_000,
        micros % 1_000_000,
        seen.segment,
        seen.payload.len()
    );
    // Heads in plaintext are worth reading.
    let starts = ["HTTP/1.1 ", "GET ", "HEAD "];
    if starts.iter().any(|start| seen.payload.starts_with(start.as_bytes())) {
        let end = memchr::memmem::find(seen.payload, b"\r\n\r\n").unwrap_or(seen.payload.len());
        for line in seen.payload[..end].split(|&byte| byte == b'\n') {
            eprintln!("                 | {}", line.trim_ascii().escape_ascii());
        }
    }
}

#[cfg(test)]
mod tests;
