//! Atlas as a [`turn::Service`]: HTTP/1.1 over whatever connections the engine brings.
//!
//! ```text
//!            ┌──────── deadline: closed, silently ◀──┐
//!            │                                       │
//!   on_connect ─▶ Idle ─ first byte ─▶ Reading ─ deadline ─▶ 408 ─▶ Closing
//!                  ▲                      │ whole head
//!                  │                      ├─ refused ───────▶ error ─▶ Closing
//!                  │                      ▼
//!                  │                   route ── a file ─▶ Opening ─ on_file ─┐
//!                  │                      └── a page, an error, 204 ─────────┤
//!                  └─────── on_sent ◀───────────────────────────── Sending ◀─┘
//! ```
//!
//! One request at a time: the engine offers no bytes while an answer is on its way, so pipelined requests wait in its
//! buffer and are answered in order. What is remembered of an idle connection is less than two cache lines; the head of
//! the request that is being answered is boxed, and becomes the access-log record afterwards.

use core::net::IpAddr;
use core::time::Duration;
use std::sync::Arc;

use clock::Instant;
use http::request::Progress;
use http::{Glance, Parse, Refusal, Request, Status};
use platform::{FileMeta, OpenError};
use turn::{Actions, End, FileHandle, Now, Peer, Transfer};
use web::{AccessRecord, Records};

use crate::site::{Site, Snapshot};

mod counters;
mod respond;
mod route;

pub use counters::Counters;

use respond::{Answer, Responder};
use route::Route;

/// While draining, how long after an answer the client's next request may still come.
const DRAIN_GRACE: Duration = Duration::from_millis(250);

/// What is kept of a request that cannot be understood.
const REFUSED_HEAD_BYTES: usize = 1_024;

/// One worker's HTTP server.
#[derive(Debug)]
pub struct AtlasService {
    site: Snapshot,
    responder: Responder,
    counters: Counters,
    records: Records,
    draining: bool,
}

/// What is remembered of a connection.
#[derive(Debug)]
pub struct Session {
    state: State,
    progress: Progress,
    /// Stream bytes of the answers that are over.
    answered_bytes: u64,
    requests: u32,
    remote: IpAddr,
    secure: bool,
    /// One too many: told so and closed.
    surplus: bool,
}

const _: () = assert!(size_of::<Session>() <= 128, "100,000 idle connections have to fit");

/// Where a connection stands.
#[derive(Debug)]
enum State {
    /// Nothing of a request has come.
    Idle,
    /// The beginning of a head has come.
    Reading,
    /// A file is being opened for this request.
    Opening(Box<Exchange>),
    /// This request is being answered.
    Sending(Box<Exchange>),
    /// Nothing more will be said.
    Closing,
}

/// A request and what became of it.
#[derive(Debug)]
struct Exchange {
    /// The head as it came.
    head: Box<[u8]>,
    arrived: Now,
    /// The connection ends with the answer.
    close: bool,
    status: Status,
    /// Bytes of the answer's head, and of its content.
    head_bytes: u64,
    content_bytes: u64,
    /// What of a large page could not be handed over yet.
    rest: Option<Rest>,
}

/// Content in memory, from an offset on.
#[derive(Debug)]
struct Rest {
    content: Arc<[u8]>,
    from: usize,
}

impl Exchange {
    fn new(head: &[u8], arrived: Now, close: bool) -> Box<Self> {
        let status = Status::InternalServerError;
        Box::new(Self {
            head: head.into(),
            arrived,
            close,
            status,
            head_bytes: 0,
            content_bytes: 0,
            rest: None,
        })
    }
}

/// What is shown of an object's name in a list of connections.
const OBJECT_BYTES_MAX: usize = 256;

impl AtlasService {
    /// A server of `site`. `now` is in seconds since the Unix epoch.
    #[must_use]
    pub fn new(site: Snapshot, now: u64) -> Self {
        Self {
            site,
            responder: Responder::new(now),
            counters: Counters::default(),
            records: Records::default(),
            draining: false,
        }
    }

    /// What has been counted so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// The oldest record of a finished request that has not been taken. A bounded number waits; the worker takes them
    /// each turn.
    pub fn take_record(&mut self) -> Option<AccessRecord> {
        self.records.pop()
    }

    /// What is in force.
    #[must_use]
    pub const fn site(&self) -> &Snapshot {
        &self.site
    }

    /// A whole head has come: finds what it is about.
    fn on_request(
        &mut self,
        now: Now,
        session: &mut Session,
        request: &Request<'_>,
        head: &[u8],
        actions: &mut Actions,
    ) {
        session.requests = session.requests.saturating_add(1);
        let close = !request.persistent
            || self.draining
            || session.surplus
            || session.requests >= self.site.settings.requests_per_connection_max;
        let mut exchange = Exchange::new(head, now, close);
        let route = if session.surplus {
            self.counters.surplus += 1;
            Route::Error(Status::ServiceUnavailable, "This server has all the connections it can serve.")
        } else {
            Route::of(&self.site, request, now.unix.as_secs(), self.draining)
        };
        if let Route::File(path) = route {
            actions.open(self.site.root, &path);
            session.state = State::Opening(exchange);
            return;
        }
        if let Route::Denied(_) = route {
            self.counters.denied += 1;
        }
        self.responder.answer(&self.site, now, request, &mut exchange, Answer::Route(&route), actions);
        self.on_answered(session, exchange, actions);
    }

    /// Nobody knows where the next request begins: answers and closes.
    fn on_refusal(
        &mut self,
        now: Now,
        session: &mut Session,
        refusal: Refusal,
        bytes: &[u8],
        actions: &mut Actions,
    ) {
        let head = &bytes[..bytes.len().min(REFUSED_HEAD_BYTES)];
        let mut exchange = Exchange::new(head, now, true);
        let has_content = Glance::new(head).method != b"HEAD";
        self.responder.refuse(
            &self.site,
            now,
            (refusal.status(), refusal.sentence()),
            has_content,
            &mut exchange,
            actions,
        );
        self.on_answered(session, exchange, actions);
    }

    /// An answer has been handed to the engine.
    fn on_answered(&mut self, session: &mut Session, exchange: Box<Exchange>, actions: &mut Actions) {
        self.counters.on_answer(exchange.status);
        if exchange.close && exchange.rest.is_none() {
            actions.finish();
        }
        session.state = State::Sending(exchange);
    }

    /// An answer is over, one way or the other: counts it and writes it down.
    fn record(&mut self, now: Now, session: &Session, exchange: Exchange, content_bytes: u64, aborted: bool) {
        self.counters.content_bytes = self.counters.content_bytes.saturating_add(content_bytes);
        self.counters.aborted += u64::from(aborted);
        if self.site.settings.access_log {
            self.records.push(AccessRecord {
                time: exchange.arrived.unix.as_secs(),
                duration: now.instant.since(exchange.arrived.instant),
                remote: session.remote,
                secure: session.secure,
                status: exchange.status,
                content_bytes,
                aborted,
                head: exchange.head,
            });
            self.counters.records_dropped = self.records.dropped();
        }
    }
}

impl turn::Service for AtlasService {
    type Session = Session;
    type Snapshot = Snapshot;

    fn on_connect(&mut self, now: Now, peer: &Peer, actions: &mut Actions) -> Session {
        self.counters.connections_accepted += 1;
        self.counters.connections += 1;
        actions.deadline(now.instant + self.site.settings.idle_timeout());
        Session {
            state: State::Idle,
            progress: Progress::default(),
            answered_bytes: 0,
            requests: 0,
            remote: peer.remote.ip().to_canonical(),
            secure: peer.secure,
            surplus: self.counters.connections > u64::from(self.site.settings.connections_max),
        }
    }

    fn on_bytes(&mut self, now: Now, session: &mut Session, bytes: &[u8], actions: &mut Actions) -> usize {
        match session.state {
            State::Idle | State::Reading => {}
            // The engine offers nothing in these states; if it did, the bytes would be the next request's, or nobody's.
            State::Opening(_) | State::Sending(_) => return 0,
            State::Closing => return bytes.len(),
        }
        match session.progress.parse(bytes, &self.site.limits) {
            Parse::Partial => {
                if matches!(session.state, State::Idle) && !bytes.is_empty() {
                    session.state = State::Reading;
                    actions.deadline(now.instant + self.site.settings.header_timeout());
                }
                0
            }
            Parse::Complete { request, bytes_used } => {
                session.progress = Progress::default();
                self.on_request(now, session, &request, &bytes[..bytes_used], actions);
                bytes_used
            }
            Parse::Refused(refusal) => {
                self.on_refusal(now, session, refusal, bytes, actions);
                bytes.len()
            }
        }
    }

    fn on_file(
        &mut self,
        now: Now,
        session: &mut Session,
        result: Result<(FileHandle, FileMeta), OpenError>,
        actions: &mut Actions,
    ) {
        let State::Opening(mut exchange) = core::mem::replace(&mut session.state, State::Closing) else {
            debug_assert!(false, "a file that nobody asked for");
            actions.abort();
            return;
        };
        // The head was good when it came. It is kept as bytes and read again: that costs less than to take it apart
        // into boxes, and happens once per file. Limits may have changed since; they do not count any more.
        let head = core::mem::take(&mut exchange.head);
        let limits = http::Limits { head_bytes_max: usize::MAX, target_bytes_max: usize::MAX };
        if let Parse::Complete { request, .. } = Request::parse(&head, &limits) {
            let answer = match &result {
                Ok((handle, meta)) => Answer::File(*handle, meta),
                Err(error) => Answer::OpenError(*error),
            };
            // Whoever is answered now can be told in time.
            exchange.close |= self.draining;
            self.responder.answer(&self.site, now, &request, &mut exchange, answer, actions);
            exchange.head = head;
            if let Err(error) = result {
                self.counters.on_open_error(error, exchange.status);
            }
            self.on_answered(session, exchange, actions);
        } else {
            debug_assert!(false, "a head was good and is so no more");
            actions.abort();
        }
    }

    fn on_sent(&mut self, now: Now, session: &mut Session, actions: &mut Actions) {
        let State::Sending(mut exchange) = core::mem::replace(&mut session.state, State::Closing) else {
            return;
        };
        if let Some(rest) = exchange.rest.take() {
            exchange.rest = respond::send_piece(rest, actions);
            if exchange.close && exchange.rest.is_none() {
                actions.finish();
            }
            session.state = State::Sending(exchange);
            return;
        }
        let Exchange { close, head_bytes, content_bytes, .. } = *exchange;
        session.answered_bytes =
            session.answered_bytes.saturating_add(head_bytes).saturating_add(content_bytes);
        self.record(now, session, *exchange, content_bytes, false);
        if close {
            return;
        }
        session.state = State::Idle;
        // A drained client that has not been told yet may have sent another request: that one will be told.
        let patience = if self.draining { DRAIN_GRACE } else { self.site.settings.idle_timeout() };
        actions.deadline(now.instant + patience);
    }

    fn on_deadline(&mut self, now: Now, session: &mut Session, actions: &mut Actions) {
        match session.state {
            State::Idle => {
                self.counters.idle_timeouts += 1;
                session.state = State::Closing;
                actions.finish();
            }
            State::Reading => {
                self.counters.header_timeouts += 1;
                let mut exchange = Exchange::new(b"", now, true);
                let why = (Status::RequestTimeout, "The request took too long to arrive.");
                self.responder.refuse(&self.site, now, why, true, &mut exchange, actions);
                self.on_answered(session, exchange, actions);
            }
            // Slow readers are TCP's, slow disks the engine's.
            State::Opening(_) | State::Sending(_) | State::Closing => {}
        }
        actions.deadline(Instant::NEVER);
    }

    fn on_peer_finished(&mut self, _now: Now, session: &mut Session, actions: &mut Actions) {
        // Only told between two requests: what was being answered has been.
        if !matches!(session.state, State::Opening(_) | State::Sending(_)) {
            session.state = State::Closing;
        }
        actions.finish();
    }

    fn plain_to_tls(&mut self, now: Now) -> Vec<u8> {
        self.responder.plain_to_tls(&self.site, now)
    }

    fn object<'a>(&self, session: &'a Session) -> Option<&'a [u8]> {
        let (State::Opening(exchange) | State::Sending(exchange)) = &session.state else { return None };
        // Without the query: it may be a signature.
        let target = exchange.head.split(|byte| *byte == b' ').nth(1)?;
        let path = target.split(|byte| *byte == b'?').next()?;
        Some(&path[..path.len().min(OBJECT_BYTES_MAX)])
    }

    fn on_close(&mut self, now: Now, mut session: Session, end: End, transfer: &Transfer) {
        self.counters.connections = self.counters.connections.saturating_sub(1);
        match core::mem::replace(&mut session.state, State::Closing) {
            State::Sending(exchange) => {
                // What this answer got through, as far as the whole stream tells: a little too much under TLS, whose
                // records are longer than their content.
                let before = session.answered_bytes.saturating_add(exchange.head_bytes);
                let sent = transfer.sent_bytes.saturating_sub(before).min(exchange.content_bytes);
                self.record(now, &session, *exchange, sent, end != End::Finished);
            }
            State::Opening(exchange) => {
                self.counters.on_answer(exchange.status);
                self.record(now, &session, *exchange, 0, true);
            }
            State::Idle | State::Reading | State::Closing => {}
        }
    }

    fn on_snapshot(&mut self, _now: Now, snapshot: Snapshot) {
        self.site = snapshot;
    }

    fn on_drain(&mut self, _now: Now, session: &mut Session, actions: &mut Actions) {
        self.draining = true;
        if matches!(session.state, State::Idle) {
            session.state = State::Closing;
            actions.finish();
        }
    }
}

#[cfg(test)]
mod tests;
