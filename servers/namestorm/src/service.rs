//! Questions in streams (RFC 7766): two bytes of length before each message, one after the other.
//!
//! ```text
//!   bytes ─▶ length, message ─▶ desk ─▶ length, answer ─┐   until 128 KiB wait: the rest is offered again
//!     └── length, message … ─────────────────────────────┴─▶ one send
//! ```
//!
//! Questions may be sent without waiting; answers leave in the order of the questions, which RFC 7766 §7 allows. A
//! stream is ended when nothing whole came, or nothing left, for the idle time: bytes that trickle in do not prolong it.
//! A message of more than [`MESSAGE_BYTES_MAX`] ends its stream, because no query is as long and no more is held of a
//! peer; so does one that gets no answer, as the peer would wait for it.

use crate::desk::{Counters, Desk, Snapshot};
use crate::respond::{Request, Transport};
use core::cell::{Ref, RefCell};
use core::net::IpAddr;
use core::time::Duration;
use platform::{FileMeta, OpenError};
use std::rc::Rc;
use std::sync::Arc;
use turn::{Actions, End, FileHandle, Now, Peer, Service, Transfer};

/// The longest query in a stream.
pub const MESSAGE_BYTES_MAX: usize = 4_096;
/// Answers that may wait at once; the one that passes it is the last.
const WAITING_BYTES: usize = 128 << 10;
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
#[derive(Clone, Copy, Debug)]
pub struct Session {
    source: IpAddr,
    /// Answers are on their way to the network.
    sending: bool,
    /// It is to end when they have left.
    ending: bool,
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

    fn idle(&self) -> Duration {
        self.snapshot.serving.idle
    }
}

impl Service for StreamService {
    type Session = Session;
    type Snapshot = Snapshot;

    fn on_connect(&mut self, now: Now, peer: &Peer, actions: &mut Actions) -> Session {
        actions.deadline(now.instant + self.idle());
        Session { source: peer.remote.ip(), sending: false, ending: false }
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
                session.ending = true;
                break;
            }
            let Some(message) = rest.get(..length) else { break };
            taken += LENGTH_BYTES + length;
            let Some(response) = desk.respond(&request, message, &mut self.room) else {
                session.ending = true;
                break;
            };
            let length = u16::try_from(response.bytes).expect("the room is no longer");
            answers.extend_from_slice(&length.to_be_bytes());
            answers.extend_from_slice(&self.room[..response.bytes]);
        }
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
        session.sending = false;
        if session.ending {
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

#[cfg(test)]
mod tests;
