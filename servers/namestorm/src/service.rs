//! Questions in streams (RFC 7766): two bytes of length before each message, one after the other.
//!
//! ```text
//!   bytes ─▶ length, message ─▶ desk ─▶ length, answer ─┐   until 128 KiB wait: the rest is offered again
//!     └── length, message … ─────────────────────────────┴─▶ one send
//! ```
//!
//! Questions may be sent without waiting; answers leave in the order of the questions, which RFC 7766 §7 allows. A
//! stream is ended when nothing whole came, or nothing left, for the idle time: bytes that trickle in do not prolong it.
//! A message of more than [`MESSAGE_BYTES_MAX`] is answered with FORMERR and ends its stream, because no query is as long
//! and no more is held of a peer; so does one that gets no answer, as the peer would wait for it.
//!
//! A transfer is made as it leaves, `TRANSFER_BYTES` at a time; what was asked behind it waits until it is done.

use crate::desk::{Counters, Desk, Snapshot};
use crate::query_log::Record;
use crate::respond::{Request, Transport};
use crate::transfer::outgoing::{self, Outgoing};
use core::cell::{Ref, RefCell};
use core::net::IpAddr;
use core::time::Duration;
use dns::{Flags, Header, Rcode};
use platform::{FileMeta, OpenError};
use std::rc::Rc;
use std::sync::Arc;
use turn::{Actions, End, FileHandle, Now, Peer, Service, Transfer};

/// The longest query in a stream.
pub const MESSAGE_BYTES_MAX: usize = 4_096;
/// Answers that may wait at once; the one that passes it is the last.
const WAITING_BYTES: usize = 128 << 10;
/// Of a transfer that may wait: less, so that a worker with many of them still answers everybody else.
const TRANSFER_BYTES: usize = 64 << 10;
const LENGTH_BYTES: usize = 2;

/// Answers questions in streams.
#[derive(Debug)]
pub struct StreamService {
    snapshot: Snapshot,
    desk: Rc<RefCell<Desk>>,
    /// An answer that is being written.
    room: Box<[u8]>,
}

/// What is remembered of a stream.
#[derive(Debug)]
pub struct Session {
    source: IpAddr,
    /// Answers are on their way to the network.
    sending: bool,
    /// It is to end when they have left.
    ending: bool,
    /// A zone that is being sent.
    outgoing: Option<Box<Outgoing>>,
}

impl StreamService {
    /// A worker's own, and its desk.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        let desk = Rc::new(RefCell::new(Desk::new(&snapshot)));
        Self { snapshot, desk, room: vec![0; usize::from(u16::MAX)].into() }
    }

    /// The desk, for whoever answers datagrams in the same thread.
    #[must_use]
    pub fn desk(&self) -> Rc<RefCell<Desk>> {
        Rc::clone(&self.desk)
    }

    /// What this was made from.
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let desk: Ref<'_, Desk> = self.desk.borrow();
        desk.counters()
    }

    /// The next record for the query log.
    pub fn take_record(&mut self) -> Option<Box<Record>> {
        self.desk.borrow_mut().take_record()
    }

    fn idle(&self) -> Duration {
        self.snapshot.serving.idle
    }
}

impl Service for StreamService {
    type Session = Session;
    type Snapshot = Snapshot;

    fn on_connect(&mut self, now: Now, peer: &Peer, actions: &mut Actions) -> Session {
        actions.deadline(now.instant + self.idle());
        Session { source: peer.remote.ip(), sending: false, ending: false, outgoing: None }
    }

    fn on_bytes(&mut self, now: Now, session: &mut Session, bytes: &[u8], actions: &mut Actions) -> usize {
        let request = Request {
            source: session.source,
            transport: Transport::Tcp,
            now_ms: now.instant.as_nanos() / 1_000_000,
            // Cookies tell the time modulo 2³² (RFC 9018).
            unix: u32::try_from(now.unix.as_secs() & u64::from(u32::MAX)).unwrap_or(0),
        };
        let mut taken = 0;
        let mut answers = Vec::new();
        let mut desk = self.desk.borrow_mut();
        while answers.len() < WAITING_BYTES
            && let Some((length, rest)) = bytes[taken..].split_first_chunk::<LENGTH_BYTES>()
        {
            let length = usize::from(u16::from_be_bytes(*length));
            if length > MESSAGE_BYTES_MAX {
                let Some(header) = Header::parse(rest) else { break };
                if !header.flags.has(Flags::QR) {
                    push(&mut answers, &outgoing::bare(&header, Rcode::FORMERR));
                }
                session.ending = true;
                break;
            }
            let Some(message) = rest.get(..length) else { break };
            taken += LENGTH_BYTES + length;
            if let Some(outgoing) = desk.transfer(&request, message) {
                session.outgoing = Some(outgoing);
                break;
            }
            let Some(response) = desk.respond(&request, message, &mut self.room) else {
                session.ending = true;
                break;
            };
            push(&mut answers, &self.room[..response.bytes]);
        }
        go_on(now, session, &mut answers);
        desk.counters.streams_refused += u64::from(session.ending);
        drop(desk);
        if !answers.is_empty() {
            session.sending = true;
            actions.deadline(now.instant + self.idle());
            actions.send(answers);
        }
        if session.ending {
            actions.finish();
        }
        taken
    }

    fn on_file(
        &mut self,
        _: Now,
        _: &mut Session,
        _: Result<(FileHandle, FileMeta), OpenError>,
        _: &mut Actions,
    ) {
        // None is asked for.
    }

    fn on_sent(&mut self, now: Now, session: &mut Session, actions: &mut Actions) {
        let mut messages = Vec::new();
        go_on(now, session, &mut messages);
        session.sending = !messages.is_empty();
        actions.send(messages);
        if session.ending && session.outgoing.is_none() {
            actions.finish();
        } else {
            actions.deadline(now.instant + self.idle());
        }
    }

    fn on_deadline(&mut self, _: Now, session: &mut Session, actions: &mut Actions) {
        self.desk.borrow_mut().counters.streams_idle += 1;
        // Whoever does not take its answers gets no goodbye either.
        if session.sending { actions.abort() } else { actions.finish() }
    }

    fn on_close(&mut self, _: Now, _: Session, _: End, _: &Transfer) {}

    fn on_snapshot(&mut self, _: Now, snapshot: Snapshot) {
        self.desk.borrow_mut().renew(Arc::clone(&snapshot.catalogue));
        self.snapshot = snapshot;
    }

    fn on_drain(&mut self, _: Now, session: &mut Session, actions: &mut Actions) {
        session.ending = true;
        if !session.sending {
            actions.finish();
        }
    }
}

/// The next messages of a transfer, as many as may wait.
fn go_on(now: Now, session: &mut Session, out: &mut Vec<u8>) {
    while out.len() < TRANSFER_BYTES
        && let Some(outgoing) = &mut session.outgoing
    {
        match outgoing.next_message(now.unix.as_secs()) {
            Some(message) => push(out, &message),
            None => session.outgoing = None,
        }
    }
}

/// A message behind its length.
fn push(out: &mut Vec<u8>, message: &[u8]) {
    let length = u16::try_from(message.len()).expect("a message is no longer");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message);
}

#[cfg(test)]
mod tests;
