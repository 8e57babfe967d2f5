//! HTTP/1.1 as a [`turn::Service`], over whatever connections the engine brings, for whatever answers requests.
//!
//! ```text
//!            ┌──────── deadline: closed, silently ◀──┐
//!            │                                       │
//!   on_connect ─▶ Idle ─ first byte ─▶ Reading ─ deadline ─▶ 408 ─▶ Closing
//!                  ▲                      │ whole head
//!                  │                      ├─ refused ───────▶ error ─▶ Closing
//!                  │                      ▼
//!                  │                    Desk ── waits ─▶ Waiting ─ on_file, on_roused ─┐
//!                  │                      └── answered ────────────────────────────────┤
//!                  └─────── on_sent ◀────────────────────────────────────── Sending ◀─┘
//! ```
//!
//! One request at a time: the engine offers no bytes while an answer is on its way, so pipelined requests wait in its
//! buffer and are answered in order. What is remembered of an idle connection is less than two cache lines; the head of
//! the request that is being answered is boxed, and becomes the access-log record afterwards.
//!
//! What an answer is made of is the [`Desk`]'s: this file knows when to ask it, and what its answers amounted to.

use core::net::IpAddr;
use core::time::Duration;

use clock::Instant;
use http::request::Progress;
use http::{Glance, Parse, Refusal, Request, Status};
use platform::{FileMeta, OpenError};
use turn::{Actions, End, FileHandle, Now, Peer, Ticket, Transfer};

use crate::{AccessRecord, Counters, Records};

/// While draining, how long after an answer the client's next request may still come.
pub const DRAIN_GRACE: Duration = Duration::from_millis(250);

/// What is kept of a request that cannot be understood.
const REFUSED_HEAD_BYTES: usize = 1_024;

/// What is shown of an object's name in a list of connections.
pub const OBJECT_BYTES_MAX: usize = 256;

/// Requests that have been answered are asked about again with their own bytes: no limit is meant for those.
const NO_LIMITS: http::Limits = http::Limits { head_bytes_max: usize::MAX, target_bytes_max: usize::MAX };

/// How long a server waits for clients, and how many it takes.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Of a request's head.
    pub limits: http::Limits,
    /// From a head's first byte to its last.
    pub header_timeout: Duration,
    /// Before the first request and between two.
    pub idle_timeout: Duration,
    /// Requests on one connection, after which it is closed.
    pub requests_per_connection_max: u32,
    /// Connections; those beyond are told to come back later.
    pub connections_max: u32,
    /// Whether finished requests are recorded.
    pub access_log: bool,
}

/// What came of asking a [`Desk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The answer has been handed over, or its beginning: [`Answered`] says what it is.
    Answered,
    /// It asked for a file to be opened first.
    Waits,
    /// This ticket has to be called first.
    WaitsFor(Ticket),
}

/// An answer, as far as the session has to know it.
#[derive(Debug)]
pub struct Answered<R> {
    /// The connection ends with the answer: known before it is made, and said in its head.
    pub close: bool,
    /// Its status.
    pub status: Status,
    /// Bytes of its head.
    pub head_bytes: u64,
    /// Bytes of its content.
    pub content_bytes: u64,
    /// What could not be handed over yet.
    pub rest: Option<R>,
}

/// What makes answers. One for each worker.
pub trait Desk {
    /// What it begins with.
    type First;
    /// What control hands over while it runs.
    type Snapshot;
    /// What is kept of an answer that is handed over in pieces.
    type Rest;
    /// What it counts beside what every session does.
    type Tally: Copy + Default;

    /// A desk. `unix_seconds` is the time.
    fn new(first: Self::First, unix_seconds: u64) -> Self;

    /// What holds for sessions now.
    fn terms(&self) -> &Terms;

    /// What was counted so far.
    fn tally(&self) -> Self::Tally;

    /// A request has come.
    fn on_request(
        &mut self,
        asked: &Asked<'_>,
        answered: &mut Answered<Self::Rest>,
        actions: &mut Actions,
    ) -> Step;

    /// The file that was asked for, or why not.
    fn on_file(
        &mut self,
        asked: &Asked<'_>,
        result: Result<(FileHandle, FileMeta), OpenError>,
        answered: &mut Answered<Self::Rest>,
        actions: &mut Actions,
    ) -> Step;

    /// The ticket that the request waits for was called: asks again, like [`Self::on_request`].
    fn on_roused(
        &mut self,
        asked: &Asked<'_>,
        answered: &mut Answered<Self::Rest>,
        actions: &mut Actions,
    ) -> Step;

    /// Hands over more of an answer.
    fn on_rest(&mut self, rest: Self::Rest, actions: &mut Actions) -> Option<Self::Rest>;

    /// Answers what cannot be answered otherwise with a page that says why. `request` is there if it was understood.
    fn refuse(&mut self, refused: &Refused<'_>, answered: &mut Answered<Self::Rest>, actions: &mut Actions);

    /// One response for somebody who speaks plain HTTP to the port for TLS.
    fn plain_to_tls(&mut self, now: Now) -> Vec<u8>;

    /// A new snapshot is in force.
    fn on_snapshot(&mut self, now: Now, snapshot: Self::Snapshot);

    /// Whoever waited for this ticket is gone.
    fn on_left(&mut self, ticket: Ticket) {
        let _ = ticket;
    }

    /// A turn begins; see [`turn::Service::on_turn`].
    fn on_turn(&mut self, now: Now) -> bool {
        let _ = now;
        false
    }

    /// The next ticket to be called; see [`turn::Service::poll_ticket`].
    fn poll_ticket(&mut self) -> Option<Ticket> {
        None
    }
}

/// A request, as a [`Desk`] is asked.
#[derive(Debug)]
pub struct Asked<'a> {
    /// The time.
    pub now: Now,
    /// When the request came.
    pub arrived: Now,
    /// What is asked for.
    pub request: &'a Request<'a>,
    /// The server is on its way out.
    pub draining: bool,
}

/// Why a request is refused before anybody looks at what it is about.
#[derive(Debug)]
pub struct Refused<'a> {
    /// The time.
    pub now: Now,
    /// The status.
    pub status: Status,
    /// For people.
    pub sentence: &'static str,
    /// The request, if it was understood.
    pub request: Option<&'a Request<'a>>,
    /// False for HEAD.
    pub has_content: bool,
}

/// One worker's HTTP server.
#[derive(Debug)]
pub struct HttpService<D: Desk> {
    desk: D,
    counters: Counters<D::Tally>,
    records: Records,
    draining: bool,
}

/// What is remembered of a connection.
#[derive(Debug)]
pub struct Session<R> {
    state: State<R>,
    progress: Progress,
    /// Stream bytes of the answers that are over.
    answered_bytes: u64,
    requests: u32,
    remote: IpAddr,
    secure: bool,
    /// One too many: told so and closed.
    surplus: bool,
}

const _: () = assert!(size_of::<Session<u64>>() <= 128, "100,000 idle connections have to fit");

/// Where a connection stands.
#[derive(Debug)]
enum State<R> {
    /// Nothing of a request has come.
    Idle,
    /// The beginning of a head has come.
    Reading,
    /// Something has to come before this request can be answered.
    Waiting(Box<Exchange<R>>),
    /// This request is being answered.
    Sending(Box<Exchange<R>>),
    /// Nothing more will be said.
    Closing,
}

/// A request and what became of it.
#[derive(Debug)]
struct Exchange<R> {
    /// The head as it came.
    head: Box<[u8]>,
    arrived: Now,
    /// What it waits for, while it waits.
    ticket: Option<Ticket>,
    answered: Answered<R>,
}

impl<R> Exchange<R> {
    fn new(head: &[u8], arrived: Now, close: bool) -> Box<Self> {
        let status = Status::InternalServerError;
        let answered = Answered { close, status, head_bytes: 0, content_bytes: 0, rest: None };
        Box::new(Self { head: head.into(), arrived, ticket: None, answered })
    }
}

impl<D: Desk> HttpService<D> {
    /// A server with what its desk begins with. `unix_seconds` is the time.
    #[must_use]
    pub fn new(first: D::First, unix_seconds: u64) -> Self {
        Self {
            desk: D::new(first, unix_seconds),
            counters: Counters::default(),
            records: Records::default(),
            draining: false,
        }
    }

    /// What has been counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters<D::Tally> {
        Counters { tally: self.desk.tally(), ..self.counters }
    }

    /// What makes the answers.
    #[must_use]
    pub const fn desk(&self) -> &D {
        &self.desk
    }

    /// The oldest record of a finished request that has not been taken. A bounded number waits; the worker takes them
    /// each turn.
    pub fn take_record(&mut self) -> Option<AccessRecord> {
        self.records.pop()
    }

    /// A whole head has come.
    fn on_request(
        &mut self,
        now: Now,
        session: &mut Session<D::Rest>,
        request: &Request<'_>,
        head: &[u8],
        actions: &mut Actions,
    ) {
        session.requests = session.requests.saturating_add(1);
        let close = !request.persistent
            || self.draining
            || session.surplus
            || session.requests >= self.desk.terms().requests_per_connection_max;
        let mut exchange = Exchange::new(head, now, close);
        if session.surplus {
            self.counters.surplus += 1;
            let refused = Refused {
                now,
                status: Status::ServiceUnavailable,
                sentence: "This server has all the connections it can serve.",
                request: Some(request),
                has_content: request.method != http::Method::Head,
            };
            self.desk.refuse(&refused, &mut exchange.answered, actions);
            return self.on_answered(session, exchange, actions);
        }
        let asked = Asked { now, arrived: now, request, draining: self.draining };
        let step = self.desk.on_request(&asked, &mut exchange.answered, actions);
        self.on_step(step, session, exchange, actions);
    }

    /// Nobody knows where the next request begins, or it never came: answers and closes.
    fn on_refusal(
        &mut self,
        now: Now,
        session: &mut Session<D::Rest>,
        (status, sentence): (Status, &'static str),
        bytes: &[u8],
        actions: &mut Actions,
    ) {
        let head = &bytes[..bytes.len().min(REFUSED_HEAD_BYTES)];
        let mut exchange = Exchange::new(head, now, true);
        let has_content = Glance::new(head).method != b"HEAD";
        let refused = Refused { now, status, sentence, request: None, has_content };
        self.desk.refuse(&refused, &mut exchange.answered, actions);
        self.on_answered(session, exchange, actions);
    }

    /// What a request waited for is there: the desk is asked again.
    ///
    /// The head was good when it came. It is kept as bytes and read again: that costs less than to take it apart into
    /// boxes. Limits may have changed since; they do not count any more.
    fn ask_again(
        &mut self,
        now: Now,
        session: &mut Session<D::Rest>,
        actions: &mut Actions,
        ask: impl FnOnce(&mut D, &Asked<'_>, &mut Answered<D::Rest>, &mut Actions) -> Step,
    ) {
        let State::Waiting(mut exchange) = core::mem::replace(&mut session.state, State::Closing) else {
            debug_assert!(false, "something came that nobody waits for");
            actions.abort();
            return;
        };
        exchange.ticket = None;
        let head = core::mem::take(&mut exchange.head);
        let Parse::Complete { request, .. } = Request::parse(&head, &NO_LIMITS) else {
            debug_assert!(false, "a head was good and is so no more");
            actions.abort();
            return;
        };
        // Whoever is answered now can be told in time.
        exchange.answered.close |= self.draining;
        let arrived = exchange.arrived;
        let asked = Asked { now, arrived, request: &request, draining: self.draining };
        let step = ask(&mut self.desk, &asked, &mut exchange.answered, actions);
        exchange.head = head;
        self.on_step(step, session, exchange, actions);
    }

    fn on_step(
        &mut self,
        step: Step,
        session: &mut Session<D::Rest>,
        mut exchange: Box<Exchange<D::Rest>>,
        actions: &mut Actions,
    ) {
        match step {
            Step::Answered => self.on_answered(session, exchange, actions),
            Step::Waits => session.state = State::Waiting(exchange),
            Step::WaitsFor(ticket) => {
                actions.wait(ticket);
                exchange.ticket = Some(ticket);
                session.state = State::Waiting(exchange);
            }
        }
    }

    /// An answer has been handed to the engine.
    fn on_answered(
        &mut self,
        session: &mut Session<D::Rest>,
        exchange: Box<Exchange<D::Rest>>,
        actions: &mut Actions,
    ) {
        self.counters.on_answer(exchange.answered.status);
        if exchange.answered.close && exchange.answered.rest.is_none() {
            actions.finish();
        }
        session.state = State::Sending(exchange);
    }

    /// An answer is over, one way or the other: counts it and writes it down.
    fn record(
        &mut self,
        now: Now,
        session: &Session<D::Rest>,
        exchange: Exchange<D::Rest>,
        content_bytes: u64,
        aborted: bool,
    ) {
        self.counters.content_bytes = self.counters.content_bytes.saturating_add(content_bytes);
        self.counters.aborted += u64::from(aborted);
        if self.desk.terms().access_log {
            self.records.push(AccessRecord {
                time: exchange.arrived.unix.as_secs(),
                duration: now.instant.since(exchange.arrived.instant),
                remote: session.remote,
                secure: session.secure,
                status: exchange.answered.status,
                content_bytes,
                aborted,
                head: exchange.head,
            });
            self.counters.records_dropped = self.records.dropped();
        }
    }
}

impl<D: Desk> turn::Service for HttpService<D> {
    type Session = Session<D::Rest>;
    type Snapshot = D::Snapshot;

    fn on_connect(&mut self, now: Now, peer: &Peer, actions: &mut Actions) -> Session<D::Rest> {
        self.counters.connections_accepted += 1;
        self.counters.connections += 1;
        let terms = self.desk.terms();
        actions.deadline(now.instant + terms.idle_timeout);
        Session {
            state: State::Idle,
            progress: Progress::default(),
            answered_bytes: 0,
            requests: 0,
            remote: peer.remote.ip().to_canonical(),
            secure: peer.secure,
            surplus: self.counters.connections > u64::from(terms.connections_max),
        }
    }

    fn on_bytes(
        &mut self,
        now: Now,
        session: &mut Session<D::Rest>,
        bytes: &[u8],
        actions: &mut Actions,
    ) -> usize {
        match session.state {
            State::Idle | State::Reading => {}
            // The engine offers nothing in these states; if it did, the bytes would be the next request's, or nobody's.
            State::Waiting(_) | State::Sending(_) => return 0,
            State::Closing => return bytes.len(),
        }
        match session.progress.parse(bytes, &self.desk.terms().limits) {
            Parse::Partial => {
                if matches!(session.state, State::Idle) && !bytes.is_empty() {
                    session.state = State::Reading;
                    actions.deadline(now.instant + self.desk.terms().header_timeout);
                }
                0
            }
            Parse::Complete { request, bytes_used } => {
                session.progress = Progress::default();
                self.on_request(now, session, &request, &bytes[..bytes_used], actions);
                bytes_used
            }
            Parse::Refused(refusal) => {
                let why = (Refusal::status(refusal), Refusal::sentence(refusal));
                self.on_refusal(now, session, why, bytes, actions);
                bytes.len()
            }
        }
    }

    fn on_file(
        &mut self,
        now: Now,
        session: &mut Session<D::Rest>,
        result: Result<(FileHandle, FileMeta), OpenError>,
        actions: &mut Actions,
    ) {
        self.ask_again(now, session, actions, |desk, asked, answered, actions| {
            desk.on_file(asked, result, answered, actions)
        });
    }

    fn on_turn(&mut self, now: Now) -> bool {
        self.desk.on_turn(now)
    }

    fn poll_ticket(&mut self) -> Option<Ticket> {
        self.desk.poll_ticket()
    }

    fn on_roused(&mut self, now: Now, session: &mut Session<D::Rest>, actions: &mut Actions) {
        self.ask_again(now, session, actions, D::on_roused);
    }

    fn on_sent(&mut self, now: Now, session: &mut Session<D::Rest>, actions: &mut Actions) {
        let State::Sending(mut exchange) = core::mem::replace(&mut session.state, State::Closing) else {
            return;
        };
        if let Some(rest) = exchange.answered.rest.take() {
            exchange.answered.rest = self.desk.on_rest(rest, actions);
            if exchange.answered.close && exchange.answered.rest.is_none() {
                actions.finish();
            }
            session.state = State::Sending(exchange);
            return;
        }
        let Answered { close, head_bytes, content_bytes, .. } = exchange.answered;
        session.answered_bytes =
            session.answered_bytes.saturating_add(head_bytes).saturating_add(content_bytes);
        self.record(now, session, *exchange, content_bytes, false);
        if close {
            return;
        }
        session.state = State::Idle;
        // A drained client that has not been told yet may have sent another request: that one will be told.
        let patience = if self.draining { DRAIN_GRACE } else { self.desk.terms().idle_timeout };
        actions.deadline(now.instant + patience);
    }

    fn on_deadline(&mut self, now: Now, session: &mut Session<D::Rest>, actions: &mut Actions) {
        match session.state {
            State::Idle => {
                self.counters.idle_timeouts += 1;
                session.state = State::Closing;
                actions.finish();
            }
            State::Reading => {
                self.counters.header_timeouts += 1;
                let why = (Status::RequestTimeout, "The request took too long to arrive.");
                self.on_refusal(now, session, why, b"", actions);
            }
            // Slow readers are TCP's, slow disks the engine's, and tickets that are not called the desk's.
            State::Waiting(_) | State::Sending(_) | State::Closing => {}
        }
        actions.deadline(Instant::NEVER);
    }

    fn on_peer_finished(&mut self, _now: Now, session: &mut Session<D::Rest>, actions: &mut Actions) {
        // Only told between two requests: what was being answered has been.
        if !matches!(session.state, State::Waiting(_) | State::Sending(_)) {
            session.state = State::Closing;
        }
        actions.finish();
    }

    fn plain_to_tls(&mut self, now: Now) -> Vec<u8> {
        self.desk.plain_to_tls(now)
    }

    fn object<'a>(&self, session: &'a Session<D::Rest>) -> Option<&'a [u8]> {
        let (State::Waiting(exchange) | State::Sending(exchange)) = &session.state else { return None };
        // Without the query: it may be a signature.
        let target = exchange.head.split(|byte| *byte == b' ').nth(1)?;
        let path = target.split(|byte| *byte == b'?').next()?;
        Some(&path[..path.len().min(OBJECT_BYTES_MAX)])
    }

    fn on_close(&mut self, now: Now, mut session: Session<D::Rest>, end: End, transfer: &Transfer) {
        self.counters.connections = self.counters.connections.saturating_sub(1);
        match core::mem::replace(&mut session.state, State::Closing) {
            State::Sending(exchange) => {
                // What this answer got through, as far as the whole stream tells: a little too much under TLS, whose
                // records are longer than their content.
                let Answered { head_bytes, content_bytes, .. } = exchange.answered;
                let before = session.answered_bytes.saturating_add(head_bytes);
                let sent = transfer.sent_bytes.saturating_sub(before).min(content_bytes);
                self.record(now, &session, *exchange, sent, end != End::Finished);
            }
            State::Waiting(exchange) => {
                if let Some(ticket) = exchange.ticket {
                    self.desk.on_left(ticket);
                }
                self.counters.on_answer(exchange.answered.status);
                self.record(now, &session, *exchange, 0, true);
            }
            State::Idle | State::Reading | State::Closing => {}
        }
    }

    fn on_snapshot(&mut self, now: Now, snapshot: D::Snapshot) {
        self.desk.on_snapshot(now, snapshot);
    }

    fn on_drain(&mut self, _now: Now, session: &mut Session<D::Rest>, actions: &mut Actions) {
        self.draining = true;
        if matches!(session.state, State::Idle) {
            session.state = State::Closing;
            actions.finish();
        }
    }
}
