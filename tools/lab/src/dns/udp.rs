//! A worker: sockets, each with its window, and perhaps a TCP connection.

use clock::Instant;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use super::message::{QUERY_BYTES_MAX, id_of};
use super::result::{Kind, Tally};
use super::run::Plan;
use super::sys::{BATCH, Batch};
use super::tcp::Stream;
use super::window::Window;
use crate::load::kernel::now;

/// The longest answer over UDP that anybody sends.
const ANSWER_BYTES_MAX: usize = 4_096;
/// How long it sleeps at most: somebody may want it to stop.
const GLANCE: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(super) struct Worker {
    plan: Arc<Plan>,
    sockets: Vec<Socket>,
    stream: Option<Stream>,
    out: Batch,
    back: Batch,
    tally: Tally,
    random: SmallRng,
    turn: usize,
    pace: Option<Pace>,
}

#[derive(Debug)]
struct Socket {
    socket: UdpSocket,
    window: Window,
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

impl Worker {
    /// One of `workers`, which share the rate and the sources.
    pub(super) fn new(plan: &Arc<Plan>, number: usize, workers: usize) -> io::Result<Self> {
        let sockets = (0..plan.sockets)
            .map(|index| {
                let any = if plan.server.is_ipv4() { "0.0.0.0".parse() } else { "::".parse() };
                let source = (number + index * workers).checked_rem(plan.sources.len());
                let ip = match source {
                    Some(at) => plan.sources[at],
                    None => any.map_err(io::Error::other)?,
                };
                let socket = UdpSocket::bind((ip, 0))?;
                socket.connect(plan.server)?;
                socket.set_nonblocking(true)?;
                Ok(Socket { socket, window: Window::new(plan.window) })
            })
            .collect::<io::Result<Vec<Socket>>>()?;
        #[expect(clippy::cast_precision_loss, reason = "a few workers")]
        let pace = plan.rate.map(|rate| Pace { per_s: rate / workers as f64, begun: now(), sent: 0 });
        Ok(Self {
            sockets,
            stream: (plan.tcp > 0.0).then(|| Stream::new(plan.server)),
            out: Batch::new(QUERY_BYTES_MAX),
            back: Batch::new(ANSWER_BYTES_MAX),
            tally: Tally::new(),
            random: SmallRng::seed_from_u64(plan.seed.wrapping_add(number as u64)),
            turn: number * 7,
            pace,
            plan: Arc::clone(plan),
        })
    }

    /// Asks for this long, and then waits for the answers that are out; returns what was counted, and how long it asked.
    pub(super) fn run(&mut self, duration: Duration, stop: &AtomicBool) -> Result<(Tally, Duration), Errno> {
        self.tally = Tally::new();
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
            for index in 0..self.sockets.len() {
                busy |= self.receive(at, index);
                if !over {
                    busy |= self.fill(at, index);
                }
            }
            if let Some(stream) = &mut self.stream {
                busy |= stream.turn(at, &self.plan.questions, &mut self.tally);
            }
            if at.since(looked) >= GLANCE {
                looked = at;
                self.give_up(at);
            }
            if !busy {
                let next = self.pace.as_ref().filter(|_| !over).map_or(Instant::NEVER, Pace::next);
                self.wait(next.since(now()).min(GLANCE))?;
            }
        }
        // What is still out when somebody wanted it to stop is nobody's fault.
        if !stop.load(Ordering::Relaxed) {
            self.give_up(now());
        }
        let asked = asked.unwrap_or(ends).since(begun);
        Ok((core::mem::replace(&mut self.tally, Tally::new()), asked))
    }

    fn outstanding(&self) -> usize {
        let udp: usize = self.sockets.iter().map(|socket| socket.window.out()).sum();
        udp + self.stream.as_ref().map_or(0, Stream::out)
    }

    fn give_up(&mut self, now: Instant) {
        let limit = now - self.plan.timeout;
        for socket in &mut self.sockets {
            let lost = socket.window.give_up(limit);
            self.tally.fail(Kind::Timeout, lost, || "no answer over UDP in time".to_owned());
        }
        if let Some(stream) = &mut self.stream {
            stream.give_up(limit, &mut self.tally);
        }
    }

    /// Reads a batch of answers; whether there was any.
    fn receive(&mut self, at: Instant, index: usize) -> bool {
        let Socket { socket, window } = &mut self.sockets[index];
        let count = match self.back.receive(socket.as_fd()) {
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return false,
            Err(errno) => {
                self.tally.fail(kind_of(errno), 1, || format!("receiving: {errno}"));
                return false;
            }
        };
        for index in 0..count {
            let message = self.back.message(index);
            match id_of(message).and_then(|id| Some((id, window.find(id)?))) {
                Some((id, question)) => {
                    let judged = self.plan.questions[question].judge(message);
                    let took = window.answer(at, id).unwrap_or_default();
                    self.tally.judged(false, message.len(), judged, took);
                }
                None => self.tally.unknown += 1,
            }
        }
        count > 0
    }

    /// Sends what the window and the rate allow; whether anything went.
    fn fill(&mut self, at: Instant, index: usize) -> bool {
        let plan = &*self.plan;
        let Socket { socket, window } = &mut self.sockets[index];
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
            match self.out.send(socket.as_fd(), count) {
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

    fn wait(&self, duration: Duration) -> Result<(), Errno> {
        let descriptors = self.sockets.iter().map(|socket| socket.socket.as_fd());
        let stream = self.stream.as_ref().and_then(Stream::descriptor);
        let mut all: Vec<PollFd<'_>> =
            descriptors.chain(stream).map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: duration.subsec_nanos().into() };
        match poll(&mut all, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

fn kind_of(errno: Errno) -> Kind {
    match errno {
        Errno::CONNREFUSED | Errno::HOSTUNREACH | Errno::NETUNREACH => Kind::Refused,
        _ => Kind::Local,
    }
}
