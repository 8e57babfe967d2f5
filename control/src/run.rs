//! Control's loop: from the workers' first word to their last.
//!
//! ```text
//!             all ready            signal, /drain            all drained, deadline,
//!  Starting ────────────▶ Running ───────────────▶ Draining ──────────────────────▶ Stopping ──▶ over
//!      │   a worker failed   │                          │        second signal          │
//!      └─────────────────────┴──────────────────────────┴───────────────────────────────┘
//! ```

use core::fmt;
use core::time::Duration;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;
use tracing::Level;

use crate::admin::{Answer, Ask, Method, Request, Response};
use crate::listing::Wishes;
use crate::metrics::{self, Samples};
use crate::signals::Signal;
use crate::{
    AccessLog, Admin, CAPTURE_SNAP_MAX, CAPTURE_SNAP_MIN, Capture, CaptureFilter, Command, ControlPort,
    Directly, Event, Figure, Figures, Opener, Report, Said, Signals, Wake, Wish,
};

/// How long control sleeps between looks at the rings while records come in, and while none do.
const TICK_BUSY: Duration = Duration::from_millis(25);
const TICK_IDLE: Duration = Duration::from_millis(250);
/// How long workers may take from [`Command::Stop`] to [`Report::Stopped`].
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// What is particular to a server.
pub trait Server {
    /// What a worker is given between two turns.
    type Snapshot: Clone;
    /// What a worker counts.
    type Counters: Figures;
    /// What a worker says of a finished request.
    type Record;

    /// The prefix of every exported name.
    const NAME: &'static str;

    /// Every worker takes packets. Called once.
    fn on_ready(&mut self);

    /// Reads configuration, certificates and content again, because the operator asked. What is broken is told, and
    /// what was in force stays in force.
    fn reload(&mut self) -> Reloaded<Self::Snapshot>;

    /// A reload was begun, and what comes of it is still to come as [`news`](Self::news).
    fn is_reloading(&self) -> bool {
        false
    }

    /// Looks whether content or certificates have changed by themselves; `None` when not.
    fn rescan(&mut self) -> Option<Reloaded<Self::Snapshot>>;

    /// Whether [`rescan`](Self::rescan) should not wait until it is time for it: something was seen to have changed.
    fn wants_rescan(&self) -> bool {
        false
    }

    /// Writes a record as a line of the access log, without the line feed.
    fn write_record(&mut self, record: &Self::Record, line: &mut Vec<u8>);

    /// Called about once a second with what the workers counted; `None` for one that has not reported yet.
    fn on_second(&mut self, status: Status, workers: &[Option<&Self::Counters>]);

    /// Figures of the process rather than of a worker.
    fn figures(&self) -> Vec<Figure>;

    /// Who opens the files that the operator names.
    fn opener(&self) -> &dyn Opener {
        &Directly
    }

    /// What control is woken by besides: while the server runs or drains it sleeps until one of these is readable. Before and
    /// after that a server's devices are no business of its, and news of them would be left unread.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// What has changed for the workers by what woke control, without anybody having asked. Called after
    /// [`on_wake`](Self::on_wake), and after a request that only the server understands.
    fn news(&mut self) -> Option<Reloaded<Self::Snapshot>> {
        None
    }

    /// Answers a request to the admin port that only the server understands; nothing when it does not either.
    fn on_request(&mut self, _wish: &Wish<'_>) -> Option<Said> {
        None
    }

    /// Opens again what is written to besides the access log: it may have been moved away.
    fn on_reopen(&mut self) {}

    /// Takes note of a record, besides the access log.
    fn on_record(&mut self, _record: &Self::Record) {}

    /// Called whenever control is awake, at least a few times a second.
    ///
    /// # Errors
    /// Something broke without which the server is not what the operator started: one line. It drains, and fails.
    fn on_wake(&mut self, _status: Status, _now: Instant) -> Result<(), String> {
        Ok(())
    }
}

/// How long whoever asks for a reload waits for what comes of it.
const RELOAD_PATIENCE: Duration = Duration::from_secs(60);
/// What asking again for that is asked under: no page of connections has this number.
const RELOAD: u64 = u64::MAX;

/// What came of a reload so far.
#[derive(Debug, Default)]
struct Told {
    broken: bool,
    lines: Vec<String>,
    until: Option<Instant>,
}

impl Told {
    fn hear<S>(&mut self, reloaded: &Reloaded<S>) {
        self.broken |= !reloaded.is_clean();
        // Of ten thousand zones that are as they should be, the log may tell.
        let told = reloaded.events.iter().filter(|event| event.level <= Level::INFO);
        self.lines.extend(told.map(|event| event.text.to_string()));
    }
}

/// What there is at the admin port.
const INDEX: &str = "\
GET   /metrics         the numbers for Prometheus
      /stats           the same as JSON
      /healthz         200 while it runs
      /readyz          200 while new connections are welcome
      /connections     a page of connections as JSON: ?worker=N&from=PLACE
      /capture         what is being captured
POST  /drain           as SIGTERM
      /reload          as SIGHUP
      /capture/start   capture packets to the file of --pcap: ?host=ADDRESS&port=NUMBER&snap=BYTES
      /capture/stop    no more";

/// What came of reading things again.
#[derive(Debug)]
pub struct Reloaded<S> {
    /// For the workers; `None` when nothing changed for them.
    pub snapshot: Option<S>,
    /// What was done and what was wrong, for the event log and for who asked.
    pub events: Vec<Event>,
    /// A new time for draining.
    pub drain: Option<Duration>,
}

impl<S> Reloaded<S> {
    /// Whether all that was asked for is in force, or was never going to change without a restart.
    fn is_clean(&self) -> bool {
        self.events.iter().all(|event| event.level > Level::ERROR)
    }
}

/// How the server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not every worker takes packets yet.
    Starting,
    /// New connections are welcome.
    Running,
    /// Connections are being finished.
    Draining,
    /// The workers have been told to leave.
    Stopping,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        })
    }
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As the operator wished.
    Stopped,
    /// A worker could not start or go on; one line for the operator.
    Failed {
        /// It never took a packet.
        at_start: bool,
        /// Cause and remedy.
        line: String,
    },
}

/// What control runs with.
#[derive(Debug)]
pub struct Plan {
    /// Caught before the workers were started.
    pub signals: Signals,
    /// The bell that was given to every mailbox.
    pub bell: Wake,
    /// The admin port, if there is one.
    pub admin: Option<Admin>,
    /// The access log, if there is one.
    pub access_log: Option<AccessLog>,
    /// Where packets may be captured to, if anywhere.
    pub capture: Option<Capture>,
    /// How long connections may take to finish.
    pub drain: Duration,
    /// How often to look for changes; `None` for never.
    pub rescan: Option<Duration>,
}

/// Runs until every worker has left. Blocks.
pub fn run<S: Server>(
    plan: Plan,
    ports: Vec<ControlPort<S::Snapshot, S::Counters, S::Record>>,
    server: &mut S,
) -> Outcome {
    Loop::new(plan, ports, server).run()
}

/// A worker, as control knows it.
struct Member<S: Server> {
    port: ControlPort<S::Snapshot, S::Counters, S::Record>,
    state: State,
    counters: Option<Box<S::Counters>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Ready,
    Drained,
    Gone,
}

struct Loop<'a, S: Server> {
    signals: Signals,
    bell: Wake,
    admin: Option<Admin>,
    desk: Desk<'a, S>,
}

/// Everything that a request at the admin port may touch.
struct Desk<'a, S: Server> {
    server: &'a mut S,
    members: Vec<Member<S>>,
    access_log: Option<AccessLog>,
    capture: Option<Capture>,
    wishes: Wishes,
    status: Status,
    /// When draining or stopping has to be over.
    deadline: Option<Instant>,
    drain: Duration,
    started: Instant,
    failure: Option<Outcome>,
    records: u64,
    reloads: u64,
    told: Told,
    rescan: Option<Duration>,
    next_rescan: Instant,
}

impl<'a, S: Server> Loop<'a, S> {
    fn new(
        plan: Plan,
        ports: Vec<ControlPort<S::Snapshot, S::Counters, S::Record>>,
        server: &'a mut S,
    ) -> Self {
        let Plan { signals, bell, admin, access_log, capture, drain, rescan } = plan;
        let now = Instant::now();
        let members =
            ports.into_iter().map(|port| Member { port, state: State::Starting, counters: None }).collect();
        let mut desk = Desk {
            server,
            members,
            access_log,
            capture,
            wishes: Wishes::default(),
            status: Status::Starting,
            deadline: None,
            drain,
            started: now,
            failure: None,
            records: 0,
            reloads: 0,
            told: Told::default(),
            rescan,
            next_rescan: now + rescan.unwrap_or_default(),
        };
        if let Some(plan) = desk.capture.as_ref().map(Capture::plan).filter(|plan| plan.at_start) {
            // The order is there before the worker's first turn: not a packet is missed.
            let (filter, snap) = (plan.filter, plan.snap);
            desk.start_capture(filter, snap);
        }
        Self { signals, bell, admin, desk }
    }

    fn run(mut self) -> Outcome {
        let mut next_second = Instant::now() + Duration::from_secs(1);
        let mut tick = TICK_BUSY;
        loop {
            self.sleep(Instant::now() + tick, next_second);
            let now = Instant::now();
            self.bell.silence();
            for signal in self.signals.take() {
                self.desk.on_signal(signal, now);
            }
            let records_before = self.desk.records;
            self.desk.take_reports(now);
            self.desk.send_kept();
            self.desk.wake(now);
            self.desk.take_news();
            let busy = self.desk.records > records_before;
            tick = if busy || self.desk.status != Status::Running { TICK_BUSY } else { TICK_IDLE };
            if let Some(admin) = &mut self.admin {
                admin.turn(now, &mut |ask| self.desk.on_ask(ask, now));
            }
            if now >= next_second {
                // A second that was missed is not made up for.
                next_second = (next_second + Duration::from_secs(1)).max(now);
                let counters: Vec<_> = self.desk.members.iter().map(|m| m.counters.as_deref()).collect();
                self.desk.server.on_second(self.desk.status, &counters);
            }
            self.desk.rescan(now);
            if let Some(outcome) = self.desk.advance(now) {
                return outcome;
            }
        }
    }

    /// Until something happens, the next tick, or the next second.
    fn sleep(&self, tick: Instant, second: Instant) {
        let clients = self.admin.as_ref().and_then(Admin::deadline);
        let until = [Some(tick), Some(second), clients, self.desk.deadline]
            .into_iter()
            .flatten()
            .min()
            .expect("a tick is always ahead")
            .saturating_duration_since(Instant::now());
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.bell.as_fd(), PollFlags::IN),
        ];
        let others = match self.desk.status {
            Status::Running | Status::Draining => self.desk.server.descriptors(),
            Status::Starting | Status::Stopping => Vec::new(),
        };
        fds.extend(others.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        fds.extend(self.admin.iter().flat_map(Admin::descriptors).map(|(fd, to_write)| {
            PollFd::from_borrowed_fd(fd, if to_write { PollFlags::OUT } else { PollFlags::IN })
        }));
        let timeout = Timespec {
            tv_sec: i64::try_from(until.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(until.subsec_nanos()),
        };
        // Interrupted is as good as ready: everything is looked at without blocking.
        let _ = poll(&mut fds, Some(&timeout));
    }
}

impl<S: Server> Desk<'_, S> {
    fn on_signal(&mut self, signal: Signal, now: Instant) {
        match (signal, self.status) {
            (Signal::Leave, Status::Starting | Status::Running) => self.drain("signal", now),
            (Signal::Leave, Status::Draining) => {
                tracing::warn!("second signal: leaving at once");
                self.stop(now);
            }
            // The workers are on their way out, and have STOP_PATIENCE: an impatient finger is no fault of theirs.
            (Signal::Leave, Status::Stopping) => {}
            (Signal::Reload, _) => self.reload(),
            (Signal::Reopen, _) => self.reopen(),
        }
    }

    /// Lets the server look at what only it knows of.
    fn wake(&mut self, now: Instant) {
        if let Err(line) = self.server.on_wake(self.status, now) {
            tracing::error!("{line}");
            self.failure.get_or_insert(Outcome::Failed { at_start: false, line });
            self.drain("failure", now);
        }
    }

    /// Hands over what the server has found out by itself.
    fn take_news(&mut self) {
        if matches!(self.status, Status::Running | Status::Draining) {
            let awaited = self.server.is_reloading();
            if let Some(reloaded) = self.server.news() {
                if awaited {
                    self.told.hear(&reloaded);
                }
                self.adopt(reloaded);
            }
        }
    }

    /// Lets connections finish. Does nothing when that is under way.
    fn drain(&mut self, why: &str, now: Instant) {
        if matches!(self.status, Status::Draining | Status::Stopping) {
            return;
        }
        tracing::info!("{why}: draining, at most {} s", self.drain.as_secs());
        self.status = Status::Draining;
        self.deadline = Some(now + self.drain);
        self.send(|| Command::Drain);
    }

    fn stop(&mut self, now: Instant) {
        if self.status == Status::Stopping {
            return;
        }
        self.status = Status::Stopping;
        self.deadline = Some(now + STOP_PATIENCE);
        self.send(|| Command::Stop);
    }

    fn send(&mut self, mut command: impl FnMut() -> Command<S::Snapshot>) {
        for (index, member) in self.members.iter_mut().enumerate() {
            if member.state != State::Gone
                && let Err(error) = member.port.send(command())
            {
                tracing::error!("worker {index}: {error}; it is told when it does");
            }
        }
    }

    /// What a worker that hung could not be told.
    fn send_kept(&mut self) {
        for member in self.members.iter_mut().filter(|member| member.state != State::Gone) {
            // That it hangs has been told.
            let _ = member.port.send_kept();
        }
    }

    /// Reads everything again, or begins to.
    fn reload(&mut self) {
        self.reloads += 1;
        self.reopen();
        if !self.server.is_reloading() {
            self.told = Told::default();
        }
        let reloaded = self.server.reload();
        self.told.hear(&reloaded);
        self.adopt(reloaded);
    }

    /// What came of it, when it is over.
    fn told(&mut self, now: Instant) -> Answer {
        let until = *self.told.until.get_or_insert(now + RELOAD_PATIENCE);
        match (self.server.is_reloading(), self.told.broken) {
            (true, _) if now < until => Answer::Later(RELOAD),
            (true, _) => {
                Answer::Now(Response::text(202, "it takes long: the event log will say what comes of it"))
            }
            (false, broken) => {
                Answer::Now(Response::text(if broken { 500 } else { 200 }, self.told.lines.join("\n")))
            }
        }
    }

    fn rescan(&mut self, now: Instant) {
        if self.status != Status::Running {
            return;
        }
        let every = self.rescan.filter(|_| now >= self.next_rescan);
        if let Some(every) = every {
            self.next_rescan = now + every;
        }
        if (every.is_some() || self.server.wants_rescan())
            && let Some(reloaded) = self.server.rescan()
        {
            self.adopt(reloaded);
        }
    }

    fn adopt(&mut self, reloaded: Reloaded<S::Snapshot>) {
        let Reloaded { snapshot, events, drain } = reloaded;
        events.iter().for_each(log);
        if let Some(snapshot) = snapshot {
            self.send(|| Command::Snapshot(snapshot.clone()));
        }
        self.drain = drain.unwrap_or(self.drain);
    }

    fn reopen(&mut self) {
        self.server.on_reopen();
        if let Some(access_log) = &mut self.access_log
            && let Err(error) = access_log.reopen(self.server.opener())
        {
            tracing::error!("access log: cannot open {}: {error}", access_log.destination());
        }
    }

    fn take_reports(&mut self, now: Instant) {
        let mut failed = None;
        for (index, member) in self.members.iter_mut().enumerate() {
            while let Some(report) = member.port.report() {
                match report {
                    Report::Ready => member.state = State::Ready,
                    Report::Counters(counters) => member.counters = Some(counters),
                    Report::Record(record) => {
                        self.records += 1;
                        self.server.on_record(&record);
                        if let Some(access_log) = &mut self.access_log {
                            access_log.line(|line| self.server.write_record(&record, line));
                        }
                    }
                    Report::Event(event) => log(&event),
                    Report::Listed(listed) => self.wishes.on_listed(listed),
                    Report::Drained => member.state = State::Drained,
                    Report::Stopped => member.state = State::Gone,
                    Report::Failed(line) => {
                        member.state = State::Gone;
                        failed.get_or_insert_with(|| String::from(line));
                    }
                }
            }
            if member.state != State::Gone && member.port.is_alone() {
                member.state = State::Gone;
                failed.get_or_insert_with(|| format!("worker {index} died; this is a bug of ours"));
            }
        }
        if let Some(access_log) = &mut self.access_log {
            access_log.flush();
        }
        if let Some(line) = failed {
            let at_start = self.status == Status::Starting;
            self.failure.get_or_insert(Outcome::Failed { at_start, line });
            self.stop(now);
        }
    }

    /// Goes from one status to the next when it is time to. Returns how it ended, when it has.
    fn advance(&mut self, now: Instant) -> Option<Outcome> {
        let all =
            |state| self.members.iter().all(|member| member.state == state || member.state == State::Gone);
        let late = self.deadline.is_some_and(|deadline| now >= deadline);
        match self.status {
            Status::Starting if all(State::Ready) => {
                self.status = Status::Running;
                self.server.on_ready();
            }
            Status::Draining if all(State::Drained) => {
                tracing::info!("drained");
                self.stop(now);
            }
            Status::Draining if late => {
                tracing::warn!("not drained in time: resetting what is left");
                self.stop(now);
            }
            Status::Stopping if all(State::Gone) => {
                return Some(self.failure.take().unwrap_or(Outcome::Stopped));
            }
            Status::Stopping if late => {
                let line = "a worker does not stop; this is a bug of ours".to_owned();
                return Some(self.failure.take().unwrap_or(Outcome::Failed { at_start: false, line }));
            }
            _ => {}
        }
        None
    }

    fn on_ask(&mut self, ask: Ask<'_>, now: Instant) -> Answer {
        match ask {
            Ask::Again(RELOAD) => self.told(now),
            Ask::Again(id) => {
                let workers = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
                self.wishes.poll(id, workers, now).map_or(Answer::Later(id), Answer::Now)
            }
            Ask::New(request) => match (request.method, request.path.as_str()) {
                (Method::Get | Method::Head, "/connections") => self.ask_for_page(request, now),
                (Method::Post, "/reload") => {
                    self.reload();
                    self.told(now)
                }
                _ => Answer::Now(self.answer(request, now)),
            },
        }
    }

    fn ask_for_page(&mut self, request: &Request, now: Instant) -> Answer {
        let refuse = |line: &str| Answer::Now(Response::text(400, line));
        let number = |name| request.parameter(name).map_or(Ok(0), |value| value.parse::<u32>());
        if let Some(unknown) = request.unknown_parameter(&["worker", "from"]) {
            return refuse(&format!("there is no parameter '{unknown}': only worker and from"));
        }
        let (Ok(worker), Ok(from)) = (number("worker"), number("from")) else {
            return refuse("worker and from are numbers");
        };
        let member = self.members.get_mut(worker as usize).filter(|member| member.state != State::Gone);
        let Some(member) = member else { return refuse(&format!("there is no worker {worker}")) };
        let order = self.wishes.add(worker, from, now);
        match member.port.send(Command::List(order)) {
            Ok(()) => Answer::Later(order.id),
            Err(error) => Answer::Now(Response::text(503, format_args!("worker {worker}: {error}"))),
        }
    }

    /// Begins a capture in all workers.
    fn start_capture(&mut self, filter: CaptureFilter, snap: u32) {
        let Some(capture) = &mut self.capture else { return };
        let sinks = capture.start(filter, snap);
        let file = capture.plan().file.display();
        let what =
            if filter == CaptureFilter::default() { "all packets".to_owned() } else { filter.to_string() };
        if self.status != Status::Starting {
            tracing::warn!("capturing {what}, {snap} bytes of each, to {file}");
        }
        for (member, sink) in self.members.iter_mut().zip(sinks) {
            if member.state != State::Gone
                && member.port.send(Command::Capture(Some(Box::new(sink)))).is_err()
            {
                tracing::error!("capture: a worker takes no more commands; it is told when it does");
            }
        }
    }

    fn stop_capture(&mut self) {
        if self.capture.as_ref().is_some_and(Capture::is_active) {
            self.send(|| Command::Capture(None));
        }
        if let Some(capture) = &mut self.capture {
            capture.stop();
            tracing::info!("no more packets are captured to {}", capture.plan().file.display());
        }
    }

    /// `/capture` and what is below it.
    fn on_capture(&mut self, request: &Request) -> Response {
        let Some(capture) = &self.capture else {
            return Response::text(409, "no file to capture to was named at start: --pcap FILE");
        };
        let plan = capture.plan();
        match (request.method, request.path.as_str()) {
            (Method::Get | Method::Head, "/capture") => {}
            (Method::Post, "/capture/stop") => self.stop_capture(),
            (Method::Post, "/capture/start") => {
                if let Some(unknown) = request.unknown_parameter(&["host", "port", "snap"]) {
                    let line = format_args!("there is no parameter '{unknown}': only host, port and snap");
                    return Response::text(400, line);
                }
                let snap = match request.parameter("snap").map(|snap| snap.parse::<u32>()) {
                    None => plan.snap,
                    Some(Ok(snap)) if (CAPTURE_SNAP_MIN..=CAPTURE_SNAP_MAX).contains(&snap) => snap,
                    Some(_) => {
                        let line =
                            format_args!("snap is a number from {CAPTURE_SNAP_MIN} to {CAPTURE_SNAP_MAX}");
                        return Response::text(400, line);
                    }
                };
                // Said as on the command line, and read by the same rules.
                let words: Vec<_> = ["host", "port"]
                    .iter()
                    .filter_map(|name| request.parameter(name).map(|value| format!("{name} {value}")))
                    .collect();
                let filter = if words.is_empty() { Ok(plan.filter) } else { words.join(" and ").parse() };
                match filter {
                    Ok(filter) => self.start_capture(filter, snap),
                    Err(error) => return Response::text(400, error),
                }
            }
            _ => return Response::text(405, "ask with GET, command with POST"),
        }
        let status = self.capture.as_ref().map(Capture::status).unwrap_or_default();
        Response { status: 200, content_type: "application/json", body: format!("{status:#}\n") }
    }

    fn answer(&mut self, request: &Request, now: Instant) -> Response {
        let Request { method, path, query: _ } = request;
        match (method, path.as_str()) {
            (Method::Get | Method::Head, "/healthz") => Response::text(200, self.status),
            (Method::Get | Method::Head, "/readyz") => {
                Response::text(if self.status == Status::Running { 200 } else { 503 }, self.status)
            }
            (Method::Get | Method::Head, "/metrics") => self.samples(now).open_metrics(S::NAME).map_or_else(
                |error| Response::text(500, error),
                |body| Response { status: 200, content_type: metrics::CONTENT_TYPE, body },
            ),
            (Method::Get | Method::Head, "/stats") => {
                let mut stats = self.samples(now).json();
                stats["status"] = json!(self.status.to_string());
                Response { status: 200, content_type: "application/json", body: format!("{stats:#}\n") }
            }
            (Method::Get | Method::Head, "/") => Response::text(200, INDEX),
            (Method::Post, "/drain") => {
                self.drain("POST /drain", now);
                Response::text(202, self.status)
            }
            (_, "/capture" | "/capture/start" | "/capture/stop") => self.on_capture(request),
            (
                _,
                "/" | "/healthz" | "/readyz" | "/metrics" | "/stats" | "/drain" | "/reload" | "/connections",
            ) => Response::text(405, "ask with GET, command with POST"),
            _ => {
                let Some(said) = self.server.on_request(&Wish(request)) else {
                    return Response::text(404, INDEX);
                };
                self.take_news();
                match said {
                    Said::Json(body) => Response { status: 200, content_type: "application/json", body },
                    Said::Done(line) => Response::text(200, line),
                    Said::Refused(status, line) => Response::text(status, line),
                }
            }
        }
    }

    fn samples(&self, now: Instant) -> Samples {
        let mut process = vec![
            Figure::ratio(
                "uptime_seconds",
                "Time since start",
                now.saturating_duration_since(self.started).as_secs_f64(),
            ),
            Figure::gauge("ready", "New connections are welcome", u64::from(self.status == Status::Running)),
            Figure::counter("reloads", "Times that everything was read again", self.reloads),
            Figure::counter("access_log_records", "Requests reported by the workers", self.records),
            Figure::counter(
                "access_log_dropped",
                "Access-log lines that a slow destination cost",
                self.access_log.as_ref().map_or(0, AccessLog::dropped),
            ),
        ];
        process.extend(self.capture.iter().flat_map(Capture::figures));
        process.extend(self.server.figures());
        let workers = self
            .members
            .iter()
            .map(|member| member.counters.as_deref().map_or_else(Vec::new, metrics::list))
            .collect();
        Samples { workers, process }
    }
}

/// `tracing` wants its level at compile time.
fn log(event: &Event) {
    let Event { level, text } = event;
    match *level {
        Level::ERROR => tracing::error!("{text}"),
        Level::WARN => tracing::warn!("{text}"),
        Level::INFO => tracing::info!("{text}"),
        Level::DEBUG => tracing::debug!("{text}"),
        Level::TRACE => tracing::trace!("{text}"),
    }
}

#[cfg(test)]
mod tests;
