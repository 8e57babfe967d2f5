//! A worker: ways to the server, each with its window, and perhaps a TCP connection.

use clock::Instant;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::io::Errno;
use std::sync::Arc;

use super::carrier::Carrier;
use super::message::{QUERY_BYTES_MAX, id_of};
use super::result::{Kind, Tally};
use super::run::{Gauge, Plan};
use super::sys::{BATCH, Batch};
use super::tcp::Stream;
use super::window::Window;
use crate::load::kernel::now;

/// How long it sleeps at most: somebody may want it to stop.
const GLANCE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Worker<'g> {
    plan: Arc<Plan>,
    carrier: Box<dyn Carrier>,
    /// Of each of the carrier's ways.
    windows: Vec<Window>,
    stream: Option<Stream>,
    out: Batch,
    tally: Tally,
    random: SmallRng,
    turn: usize,
    pace: Option<Pace>,
    gauge: &'g Gauge,
    /// What the gauge was told of the tally.
    told: (u64, u64),
}

/// Queries at a rate.
#[derive(Debug)]
struct Pace {
    per_s: f64,
    begun: Instant,
    sent: u64,
}

impl Pace {
    /// What may go out now.
    fn allowance(&self, now: Instant) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, not negative")]
        let due = (now.since(self.begun).as_secs_f64() * self.per_s) as u64;
        usize::try_from(due.saturating_sub(self.sent)).unwrap_or(usize::MAX)
    }

    /// When the next one may.
    fn next(&self) -> Instant {
        #[expect(clippy::cast_precision_loss, reason = "a count of queries")]
        let after = (self.sent + 1) as f64 / self.per_s;
        self.begun + Duration::from_secs_f64(after)
    }
}

impl<'g> Worker<'g> {
    /// One of `workers`, which share the rate.
    pub(super) fn new(
        plan: &Arc<Plan>,
        number: usize,
        workers: usize,
        carrier: Box<dyn Carrier>,
        gauge: &'g Gauge,
    ) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a few workers")]
        let pace = plan.rate.map(|rate| Pace { per_s: rate / workers as f64, begun: now(), sent: 0 });
        Self {
            windows: (0..carrier.ways()).map(|_| Window::new(plan.window)).collect(),
            carrier,
            stream: (plan.tcp > 0.0).then(|| Stream::new(plan.server)),
            out: Batch::new(QUERY_BYTES_MAX),
            tally: Tally::new(),
            random: SmallRng::seed_from_u64(plan.seed.wrapping_add(number as u64)),
            turn: number * 7,
            pace,
            plan: Arc::clone(plan),
            gauge,
            told: (0, 0),
        }
    }

    /// Asks for this long, and then waits for the answers that are out; returns what was counted, and how long it asked.
    pub(super) fn run(&mut self, duration: Duration, stop: &AtomicBool) -> Result<(Tally, Duration), Errno> {
        self.tally = Tally::new();
        self.told = (0, 0);
        let begun = now();
        let ends = begun + duration;
        let mut looked = begun;
        if let Some(pace) = &mut self.pace {
            (pace.begun, pace.sent) = (begun, 0);
        }
        let mut asked = None;
        loop {
            let at = now();
            let over = at >= ends || stop.load(Ordering::Relaxed);
            if over {
                let until = *asked.get_or_insert(at) + self.plan.timeout;
                if self.outstanding() == 0 || at >= until || stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            let mut busy = false;
            busy |= self.receive(at);
            for way in 0..self.windows.len() {
                busy |= !over && self.fill(at, way);
            }
            if let Some(stream) = &mut self.stream {
                busy |= stream.turn(at, &self.plan.questions, &mut self.tally);
            }
            if at.since(looked) >= GLANCE {
                looked = at;
                self.give_up(at);
                self.tell();
            }
            if !busy {
                let next = self.pace.as_ref().filter(|_| !over).map_or(Instant::NEVER, Pace::next);
                let other = self.stream.as_ref().and_then(Stream::descriptor);
                self.carrier.wait(next.since(now()).min(GLANCE), other)?;
            }
        }
        // What is still out when somebody wanted it to stop is nobody's fault.
        if !stop.load(Ordering::Relaxed) {
            self.give_up(now());
        }
        let asked = asked.unwrap_or(ends).since(begun);
        Ok((core::mem::replace(&mut self.tally, Tally::new()), asked))
    }

    fn tell(&mut self) {
        let now = (self.tally.answered.iter().sum::<u64>(), self.tally.failed());
        self.gauge.answered.fetch_add(now.0 - self.told.0, Ordering::Relaxed);
        self.gauge.failed.fetch_add(now.1 - self.told.1, Ordering::Relaxed);
        self.told = now;
    }

    fn outstanding(&self) -> usize {
        let udp: usize = self.windows.iter().map(Window::out).sum();
        udp + self.stream.as_ref().map_or(0, Stream::out)
    }

    fn give_up(&mut self, now: Instant) {
        let limit = now - self.plan.timeout;
        for window in &mut self.windows {
            let lost = window.give_up(limit);
            self.tally.fail(Kind::Timeout, lost, || "no answer over UDP in time".to_owned());
        }
        if let Some(stream) = &mut self.stream {
            stream.give_up(limit, &mut self.tally);
        }
    }

    /// Reads what answers there are; whether there was any.
    fn receive(&mut self, at: Instant) -> bool {
        let Self { carrier, windows, plan, tally, .. } = self;
        let mut deliver = |way: usize, message: &[u8]| {
            let window: &mut Window = &mut windows[way];
            match id_of(message).and_then(|id| Some((id, window.find(id)?))) {
                Some((id, question)) => {
                    let judged = plan.questions[question].judge(message);
                    let took = window.answer(at, id).unwrap_or_default();
                    tally.judged(false, message.len(), judged, took);
                }
                None => tally.unknown += 1,
            }
        };
        match carrier.receive(at, &mut deliver) {
            Ok(any) => any,
            Err(errno) => {
                tally.fail(kind_of(errno), 1, || format!("receiving: {errno}"));
                false
            }
        }
    }

    /// Sends what the window and the rate allow; whether anything went.
    fn fill(&mut self, at: Instant, way: usize) -> bool {
        let plan = &*self.plan;
        let window = &mut self.windows[way];
        let mut allowed = self.pace.as_ref().map_or(BATCH, |pace| pace.allowance(at)).min(BATCH);
        let (mut count, mut over_tcp, mut ids) = (0, 0_u64, [0; BATCH]);
        while allowed > 0 {
            let question = plan.chooser.next(self.turn, &mut self.random);
            let what = &plan.questions[question];
            if let Some(stream) = &mut self.stream
                && self.random.random::<f64>() < plan.tcp
            {
                if !stream.ask(at, question, what, plan.manner) {
                    break;
                }
                over_tcp += 1;
            } else {
                let Some(id) = window.ask(at, question) else { break };
                let len = what.emit(id, plan.manner, self.out.room_mut(count));
                self.out.set_len(count, len);
                ids[count] = id;
                count += 1;
            }
            self.turn = self.turn.wrapping_add(1);
            allowed -= 1;
        }
        let mut sent = 0;
        if count > 0 {
            match self.carrier.send(way, &mut self.out, count) {
                Ok(done) => sent = done,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(errno) => self.tally.fail(kind_of(errno), 1, || format!("sending: {errno}")),
            }
            for id in &ids[sent..count] {
                let _ = window.answer(at, *id);
            }
        }
        self.tally.sent[0] += sent as u64;
        self.tally.sent[1] += over_tcp;
        if let Some(pace) = &mut self.pace {
            pace.sent += sent as u64 + over_tcp;
        }
        sent as u64 + over_tcp > 0
    }
}

fn kind_of(errno: Errno) -> Kind {
    match errno {
        Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH => Kind::Refused,
        _ => Kind::Local,
    }
}
