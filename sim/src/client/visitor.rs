//! A client that follows a script and compares every byte.
//!
//! ```text
//!   waiting ──after──▶ visiting ──all answered──▶ ending ──▶ waiting for the next visit … ──▶ done
//!      ▲                  │ reset, FIN too early, 408, 503, silence
//!      └────── mishap ────┘ (asks again for what was not answered)
//! ```
//!
//! A *complaint* is something that the server may never do. A *mishap* is something that may happen while there are
//! faults; whether it may have happened is the world's to judge.

use alloc::sync::Arc;
use clock::Instant;
use core::time::Duration;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion};
use std::io::{Read as _, Write as _};

use super::model::Violation;
use super::report::{Complaint, Mishap, Report, Tally};
use super::response::{Reader, Step, Wrong};
use super::script::{Ending, Visit};
use super::{Ended, Host, Phase, Transport};
use crate::network::Frame;
use crate::provider::SERVER_NAME;
use crate::random::Dice;

/// Where the server listens.
pub const PLAIN_PORT: u16 = 80;
/// Where it listens for TLS.
pub const SECURE_PORT: u16 = 443;

/// How long a visitor waits before it asks again.
const RETRY: core::ops::Range<Duration> = Duration::from_millis(50)..Duration::from_millis(800);
/// How long it waits for a connection to end in order after everything was answered.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long it waits for a server to have had enough of an idle connection.
const IDLE_PATIENCE: Duration = Duration::from_secs(600);
/// How long it takes whatever comes after garbage.
const GARBAGE_PATIENCE: Duration = Duration::from_secs(5);
/// A slow reader reads this often.
const SLOW_READ_EVERY: Duration = Duration::from_millis(20);
/// A `KeyUpdate` goes after so many bytes of bodies, again and again.
const KEY_UPDATE_BYTES: u64 = 150_000;
/// More than this is never read at once.
const READ_BYTES_MAX: usize = 256 << 10;

/// A host with one visitor on it.
#[derive(Debug)]
pub struct Visitor<T> {
    name: String,
    transport: T,
    tls: Arc<ClientConfig>,
    dice: Dice,
    script: Vec<Visit>,
    visit: usize,
    /// Requests of the current visit that were answered, over all its connections.
    answered: usize,
    state: State,
    wakes: Instant,
    complaints: Vec<Complaint>,
    mishaps: Vec<(Instant, Mishap)>,
    tally: Tally,
    scratch: Vec<u8>,
    excused: bool,
}

#[derive(Debug)]
enum State {
    Waiting(Instant),
    Visiting(Box<Session>),
    Done,
}

/// One connection of a visit.
#[derive(Debug)]
struct Session {
    tls: Option<ClientConnection>,
    handshake_counted: bool,
    /// For the transport.
    out: Vec<u8>,
    /// For TLS or the transport, slowly.
    trickling: Vec<u8>,
    trickle_at: Instant,
    read_at: Instant,
    /// Requests that were sent, counted over the visit.
    sent: usize,
    reader: Reader,
    body_bytes: u64,
    key_update_at: u64,
    /// Everything was answered: when to stop waiting for the end.
    farewell: Option<Instant>,
    /// We said that we ask for nothing more,
    finished: bool,
    /// and TCP knows it.
    fin_asked: bool,
    patience: Option<Instant>,
}

impl<T: Transport> Visitor<T> {
    /// A visitor of this name, with a script. `tls` remembers its tickets.
    #[must_use]
    pub fn new(name: String, transport: T, tls: Arc<ClientConfig>, script: Vec<Visit>, dice: Dice) -> Self {
        let begins = Instant::EPOCH + script.first().map_or(Duration::ZERO, |visit| visit.after);
        Self {
            name,
            transport,
            tls,
            dice,
            script,
            visit: 0,
            answered: 0,
            state: State::Waiting(begins),
            wakes: begins,
            complaints: Vec::new(),
            mishaps: Vec::new(),
            tally: Tally::default(),
            scratch: Vec::new(),
            excused: false,
        }
    }

    /// The same, but it harms itself: it need not get done, and what it complains of is its own doing. It leaves when the
    /// world is healed.
    #[must_use]
    pub fn excused(self) -> Self {
        Self { excused: true, ..self }
    }

    /// Its TCP.
    pub fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    fn begin(&mut self, now: Instant) {
        let visit = &self.script[self.visit];
        let tls = visit.secure.then(|| {
            let name = SERVER_NAME.try_into().expect("a DNS name");
            ClientConnection::new(Arc::clone(&self.tls), name).expect("the configuration is complete")
        });
        self.transport.open(now, if visit.secure { SECURE_PORT } else { PLAIN_PORT });
        self.tally.connections += 1;
        let mut session = Session {
            tls,
            handshake_counted: false,
            out: Vec::new(),
            trickling: Vec::new(),
            trickle_at: now,
            read_at: now,
            sent: self.answered,
            reader: Reader::default(),
            body_bytes: 0,
            key_update_at: KEY_UPDATE_BYTES,
            farewell: None,
            finished: false,
            fin_asked: false,
            patience: None,
        };
        if let Some(garbage) = &visit.garbage {
            session.out.extend_from_slice(garbage);
            session.tls = None;
            session.patience = Some(now + GARBAGE_PATIENCE);
        }
        self.state = State::Visiting(Box::new(session));
    }

    fn next_visit(&mut self, now: Instant) {
        self.visit += 1;
        self.answered = 0;
        self.state = match self.script.get(self.visit) {
            None => State::Done,
            Some(visit) => State::Waiting(now + visit.after),
        };
    }

    fn retry(&mut self, now: Instant, mishap: Mishap) {
        self.mishaps.push((now, mishap));
        self.tally.mishaps += 1;
        self.state = State::Waiting(now + self.dice.duration(RETRY));
    }

    fn complain(&mut self, now: Instant, complaint: Complaint) {
        self.complaints.push(complaint);
        self.transport.abort(now);
        // It goes on with the next visit: one complaint is enough for a seed to fail.
        self.next_visit(now);
    }

    /// One round of everything that can be done now; whether there may be more.
    fn step(&mut self, now: Instant) -> bool {
        match &self.state {
            State::Done => return false,
            State::Waiting(until) if *until > now => {
                self.wakes = *until;
                return false;
            }
            State::Waiting(_) => {
                self.begin(now);
                return true;
            }
            State::Visiting(_) => {}
        }
        let State::Visiting(mut session) = core::mem::replace(&mut self.state, State::Done) else {
            return false;
        };
        let outcome = self.converse(now, &mut session);
        match outcome {
            Outcome::Waits(until) => {
                self.wakes = until;
                self.state = State::Visiting(session);
                false
            }
            Outcome::Moves => {
                self.state = State::Visiting(session);
                true
            }
            Outcome::Over => {
                self.next_visit(now);
                true
            }
            Outcome::Mishap(mishap) => {
                // A connection that was given up is told so.
                if !matches!(mishap, Mishap::Ended(_)) {
                    self.transport.abort(now);
                }
                self.retry(now, mishap);
                true
            }
            Outcome::Again => {
                self.transport.abort(now);
                self.state = State::Waiting(now + self.dice.duration(RETRY));
                true
            }
            Outcome::Complaint(complaint) => {
                self.complain(now, complaint);
                true
            }
        }
    }

    fn converse(&mut self, now: Instant, session: &mut Session) -> Outcome {
        // The phase is asked before reading: bytes that come with a FIN are read before it counts.
        let phase = self.transport.phase();
        let received = match self.receive(now, session) {
            Ok(received) => received,
            Err(outcome) => return outcome,
        };
        let mut moved = received == Some(true);
        let visit = &self.script[self.visit];
        match visit.ending {
            Ending::Abort(bytes) if session.body_bytes >= bytes => {
                self.transport.abort(now);
                return Outcome::Over;
            }
            Ending::Vanish(bytes) if session.body_bytes >= bytes => {
                self.transport.vanish();
                return Outcome::Over;
            }
            Ending::Forget(bytes) if session.body_bytes >= bytes => {
                self.transport.forget();
                return Outcome::Over;
            }
            _ => {}
        }
        if received == Some(false)
            && let Some(outcome) = self.on_phase(phase, session)
        {
            return outcome;
        }
        if session.patience.is_some_and(|patience| patience <= now)
            || session.farewell.is_some_and(|farewell| farewell <= now)
        {
            // Everything was answered, and the end of the connection got lost on the way; or it was garbage.
            self.transport.abort(now);
            return Outcome::Over;
        }

        let visit = &self.script[self.visit];
        moved |= session.ask(now, visit, self.answered);
        if self.answered == visit.requests.len() && visit.garbage.is_none() && session.farewell.is_none() {
            let patience = if visit.ending == Ending::Idle { IDLE_PATIENCE } else { FAREWELL };
            session.farewell = Some(now + patience);
            moved = true;
        }
        let close_now = match visit.ending {
            Ending::EarlyFin => session.sent == visit.requests.len() && session.trickling.is_empty(),
            Ending::Close => session.farewell.is_some(),
            _ => false,
        };
        if close_now && session.is_handshaken() && visit.garbage.is_none() {
            session.close();
        }
        moved |= session.flush(&mut self.transport);
        if moved { Outcome::Moves } else { Outcome::Waits(session.wakes(now, visit)) }
    }

    /// Takes what has arrived; whether there was anything. `None`: it is too early for a slow reader to look.
    fn receive(&mut self, now: Instant, session: &mut Session) -> Result<Option<bool>, Outcome> {
        let budget = match self.script[self.visit].read_rate {
            None => READ_BYTES_MAX,
            Some(_) if session.read_at > now => return Ok(None),
            Some(rate) => {
                session.read_at = now + SLOW_READ_EVERY;
                usize::try_from(rate / 50).unwrap_or(READ_BYTES_MAX).max(1)
            }
        };
        let mut arrived = core::mem::take(&mut self.scratch);
        arrived.clear();
        let moved = self.transport.receive(now, budget, &mut arrived) > 0;
        let before = session.body_bytes;
        let read = if moved { self.on_bytes(session, &arrived) } else { Ok(()) };
        self.tally.body_bytes += session.body_bytes - before;
        self.scratch = arrived;
        read.map(|()| Some(moved))
    }

    /// Nothing more has arrived, so what the connection has come to counts.
    fn on_phase(&self, phase: Phase, session: &mut Session) -> Option<Outcome> {
        let visit = &self.script[self.visit];
        let complete = self.answered == visit.requests.len();
        match phase {
            Phase::Opening | Phase::Open => None,
            Phase::Ended(_) | Phase::PeerFinished if visit.garbage.is_some() => Some(Outcome::Over),
            Phase::Ended(how) if complete => {
                if how == Ended::Finished && !session.was_notified() {
                    return Some(Outcome::Complaint(Complaint::Truncated));
                }
                Some(Outcome::Over)
            }
            // It had said that it would close.
            Phase::Ended(_) | Phase::PeerFinished if session.reader.closes && !complete => {
                Some(Outcome::Again)
            }
            Phase::Ended(how) => Some(Outcome::Mishap(Mishap::Ended(how))),
            Phase::PeerFinished if !session.was_notified() => Some(Outcome::Complaint(Complaint::Truncated)),
            Phase::PeerFinished if complete => {
                session.close();
                None
            }
            Phase::PeerFinished => Some(Outcome::Mishap(Mishap::Closed)),
        }
    }

    fn on_bytes(&mut self, session: &mut Session, arrived: &[u8]) -> Result<(), Outcome> {
        if self.script[self.visit].garbage.is_some() {
            return Ok(());
        }
        let Some(tls) = &mut session.tls else {
            return self.on_plaintext(session, arrived);
        };
        let mut input = arrived;
        let mut plaintext = Vec::new();
        while !input.is_empty() {
            if tls.read_tls(&mut input).is_err() {
                break;
            }
            if let Err(error) = tls.process_new_packets() {
                return Err(match error {
                    rustls::Error::AlertReceived(_) => Outcome::Mishap(Mishap::Alert),
                    error => Outcome::Complaint(Complaint::Tls(error)),
                });
            }
            // An error only says that there is nothing more to read now.
            let _ = tls.reader().read_to_end(&mut plaintext);
        }
        if !session.handshake_counted && !tls.is_handshaking() {
            session.handshake_counted = true;
            self.tally.handshakes += 1;
            self.tally.resumed += u64::from(tls.handshake_kind() == Some(HandshakeKind::Resumed));
        }
        self.on_plaintext(session, &plaintext)
    }

    fn on_plaintext(&mut self, session: &mut Session, plaintext: &[u8]) -> Result<(), Outcome> {
        let visit = &self.script[self.visit];
        let mut left = plaintext;
        while !left.is_empty() {
            let Some(request) = visit.requests.get(self.answered).filter(|_| self.answered < session.sent)
            else {
                // A server may tell a client that has asked for nothing that it took too long.
                return Err(if left.starts_with(b"HTTP/1.1 408") {
                    Outcome::Mishap(Mishap::PutOff(408))
                } else {
                    Outcome::Complaint(Complaint::Http(Wrong::Unasked(left.len())))
                });
            };
            match session.reader.read(request, &mut left, &mut session.body_bytes) {
                Err(wrong) => return Err(Outcome::Complaint(Complaint::Http(wrong))),
                Ok(Step::More) => {}
                Ok(Step::Complete) => {
                    self.answered += 1;
                    self.tally.answered += 1;
                }
                Ok(Step::PutOff(status)) => return Err(Outcome::Mishap(Mishap::PutOff(status))),
            }
            if visit.key_updates && session.body_bytes >= session.key_update_at {
                session.key_update_at = session.body_bytes + KEY_UPDATE_BYTES;
                session.update_keys();
            }
        }
        Ok(())
    }
}

/// What a round of a conversation came to.
#[derive(Debug)]
enum Outcome {
    /// Nothing to do before then, unless something arrives.
    Waits(Instant),
    /// Something was done; there may be more.
    Moves,
    /// On to the next visit.
    Over,
    /// Ask for the rest on another connection.
    Again,
    /// The same, for no good reason.
    Mishap(Mishap),
    /// The seed has failed.
    Complaint(Complaint),
}

impl Session {
    /// Sends what may be asked now; whether there was anything.
    fn ask(&mut self, now: Instant, visit: &Visit, answered: usize) -> bool {
        if visit.garbage.is_some() || !self.is_handshaken() {
            return false;
        }
        let mut moved = false;
        while self.sent < visit.requests.len()
            && (visit.pipelined || self.sent == answered)
            && self.trickling.is_empty()
            && !self.reader.closes
        {
            if visit.key_updates && self.sent > 0 {
                self.update_keys();
            }
            let last = self.sent + 1 == visit.requests.len();
            let head = visit.requests[self.sent].emit(last && visit.ending == Ending::ServerCloses);
            self.sent += 1;
            moved = true;
            if visit.trickle.is_some() {
                self.trickling = head;
                self.trickle_at = now;
            } else {
                self.write(&head);
            }
        }
        if let Some((bytes, every)) = visit.trickle
            && !self.trickling.is_empty()
            && self.trickle_at <= now
        {
            let count = bytes.max(1).min(self.trickling.len());
            let piece: Vec<u8> = self.trickling.drain(..count).collect();
            self.write(&piece);
            self.trickle_at = now + every;
            moved = true;
        }
        moved
    }

    fn is_handshaken(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking())
    }

    /// The server has said that its stream is complete, or need not.
    fn was_notified(&mut self) -> bool {
        let Some(tls) = &mut self.tls else { return true };
        tls.is_handshaking() || tls.process_new_packets().is_ok_and(|state| state.peer_has_closed())
    }

    fn update_keys(&mut self) {
        if let Some(tls) = &mut self.tls
            && tls.protocol_version() == Some(ProtocolVersion::TLSv1_3)
        {
            tls.refresh_traffic_keys().expect("the handshake is done");
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        match &mut self.tls {
            None => self.out.extend_from_slice(bytes),
            Some(tls) => tls.writer().write_all(bytes).expect("requests fit rustls's buffer"),
        }
    }

    /// No more requests: `close_notify`, then FIN.
    fn close(&mut self) {
        if !self.finished {
            self.finished = true;
            if let Some(tls) = &mut self.tls {
                tls.send_close_notify();
            }
        }
    }

    /// Hands the transport what it takes; whether it took anything.
    fn flush(&mut self, transport: &mut impl Transport) -> bool {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                tls.write_tls(&mut self.out).expect("a vector takes everything");
            }
        }
        let mut moved = false;
        if !self.out.is_empty() && transport.phase() == Phase::Open
            || !self.out.is_empty() && transport.phase() == Phase::PeerFinished
        {
            let taken = transport.send(&self.out);
            self.out.drain(..taken);
            moved = taken > 0;
        }
        if self.finished && self.out.is_empty() && !self.fin_asked {
            self.fin_asked = true;
            transport.finish();
            moved = true;
        }
        moved
    }

    /// When something can be done that cannot be done now. What waits for the peer, such as a request that waits for
    /// the handshake, does not count.
    fn wakes(&self, now: Instant, visit: &Visit) -> Instant {
        let trickle = Some(self.trickle_at).filter(|_| !self.trickling.is_empty());
        let read = Some(self.read_at).filter(|_| visit.read_rate.is_some());
        let all = [self.farewell, self.patience, trickle, read];
        all.into_iter().flatten().filter(|&at| at > now).min().unwrap_or(Instant::NEVER)
    }
}

impl<T: Transport> Host for Visitor<T> {
    fn on_frame(&mut self, now: Instant, frame: &[u8]) {
        self.transport.on_frame(now, frame);
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Frame>) {
        loop {
            self.transport.poll(now, out);
            let mut violations = self.transport.take_violations();
            if self.script.get(self.visit).is_some_and(|visit| !visit.secure && visit.reads_what_changes()) {
                // In plaintext a file that changes under the reader's eyes does so on the wire.
                violations.retain(|violation| !matches!(violation, Violation::Rewritten { .. }));
            }
            self.complaints.extend(violations.into_iter().map(Complaint::Tcp));
            if !self.step(now) {
                break;
            }
        }
        self.transport.poll(now, out);
    }

    fn deadline(&self) -> Instant {
        match self.state {
            State::Done => self.transport.deadline(),
            State::Waiting(until) => until.min(self.transport.deadline()),
            State::Visiting(_) => self.wakes.min(self.transport.deadline()),
        }
    }

    fn heal(&mut self, now: Instant) {
        if self.excused {
            self.transport.vanish();
            self.state = State::Done;
            return;
        }
        self.transport.behave();
        // Nobody is slow, and nobody waits, when it is about getting done.
        for visit in &mut self.script {
            visit.read_rate = None;
            visit.trickle = None;
            visit.after = visit.after.min(Duration::from_millis(100));
        }
        if let State::Waiting(until) = &mut self.state {
            *until = (*until).min(now + Duration::from_millis(100));
        }
        self.wakes = now;
    }

    fn report(&self) -> Report<'_> {
        Report {
            name: &self.name,
            done: matches!(self.state, State::Done),
            excused: self.excused,
            complaints: if self.excused { &[] } else { &self.complaints },
            mishaps: &self.mishaps,
            tally: self.tally,
            waits_for: match self.state {
                State::Visiting(_) => self.script[self.visit].requests.get(self.answered),
                State::Waiting(_) | State::Done => None,
            },
        }
    }
}
