//! The production service on objects in memory: what it would send of a file, this sends of memory.
//!
//! ```text
//!   service ─ send(head), send_file(handle, range) ─▶ this ─ send(head), send_memory(object, range) ─▶ engine
//!                                                      │
//!                                                    shelf: objects as Sandstorm has them, loaded when first asked for
//! ```
//!
//! So every client, fault and law there is for files holds for memory as well. A file that changes, and one for which the
//! shelf has no room, is sent as ever. Without a shelf all are.

use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use atlas::{AccessRecord, AtlasService};
use core::ops::Range;
use dma::{Pool, PoolLayout};
use platform::{FileMeta, OpenError};
use sandstorm::{Key, Shelf};
use turn::{Action, Actions, End, FileHandle, Lent, Memory, Now, Peer, Service, Ticket, Transfer};

use crate::client::script::path;
use crate::content::Content;
use crate::setup::{OBJECTS, object_len};

/// Large frames that no shelf takes: records are read and sealed in them, and the last few are for what was lost.
const FOR_THE_ENGINE: u32 = 16;

/// The service, and the shelf if there is one.
#[derive(Debug)]
pub struct Lending {
    inner: AtlasService,
    shelf: Option<Shelf>,
    /// Objects by the path that the service opens.
    names: BTreeMap<Vec<u8>, u32>,
    lent: u64,
}

/// A connection's.
#[expect(missing_debug_implementations, reason = "sessions need not be printable")]
pub struct Session {
    inner: <AtlasService as Service>::Session,
    /// What was opened last, if it is an object that stays as it is.
    opened: Option<u32>,
}

impl Lending {
    /// The service as it is.
    #[must_use]
    pub fn new(inner: AtlasService) -> Self {
        Self { inner, shelf: None, names: BTreeMap::new(), lent: 0 }
    }

    /// The same with a third of these frames for a shelf, but for those that the engine needs.
    #[must_use]
    pub fn from_memory(inner: AtlasService, pool: &Pool) -> Self {
        let PoolLayout { large_count, small_count } = pool.layout();
        let large_count = (large_count / 3).min(large_count.saturating_sub(FOR_THE_ENGINE));
        let max = PoolLayout { large_count, small_count: small_count / 3 };
        let names = (0..OBJECTS).map(|object| (path(object).into_bytes(), object)).collect();
        Self { inner, shelf: Some(Shelf::new(pool.clone(), max)), names, lent: 0 }
    }

    /// Takes the next line of the access log.
    pub fn take_record(&mut self) -> Option<AccessRecord> {
        self.inner.take_record()
    }

    /// How often memory was sent from.
    #[must_use]
    pub fn lent(&self) -> u64 {
        self.lent
    }

    /// Takes everything off the shelf.
    pub fn clear(&mut self) {
        if let Some(shelf) = &mut self.shelf {
            shelf.begin_sweep();
            while shelf.sweep(usize::MAX, |_| false) {}
        }
    }

    fn memory(&mut self, object: u32) -> Option<Rc<dyn Memory>> {
        let shelf = self.shelf.as_mut()?;
        let key = Key::new(u64::from(object));
        if let Some(object) = shelf.get(key) {
            return Some(object);
        }
        let mut bytes = vec![0; usize::try_from(object_len(object)).ok()?];
        Content::of(object).fill(0, &mut bytes);
        Some(shelf.put(key, &bytes).ok()?)
    }

    /// What the service has just asked for, with memory in the place of files.
    fn lend(&mut self, session: &mut Session, actions: &mut Actions) {
        for action in actions.take() {
            match action {
                Action::SendFile(file, range) => self.lend_file(session, file, range, actions),
                Action::Open(root, path) => {
                    session.opened = self.names.get(&*path).copied();
                    actions.open(root, &path);
                }
                Action::Send(bytes) => actions.send(bytes),
                Action::SendMemory(Lent(memory), range) => actions.send_memory(memory, range),
                Action::Wait(ticket) => actions.wait(ticket),
                Action::Finish => actions.finish(),
                Action::Abort => actions.abort(),
                Action::Deadline(at) => actions.deadline(at),
            }
        }
    }

    fn lend_file(&mut self, session: &Session, file: FileHandle, range: Range<u64>, actions: &mut Actions) {
        match session.opened.and_then(|object| self.memory(object)) {
            Some(memory) => {
                self.lent += 1;
                actions.send_memory(memory, range);
            }
            None => actions.send_file(file, range),
        }
    }
}

impl Service for Lending {
    type Session = Session;
    type Snapshot = <AtlasService as Service>::Snapshot;

    fn on_connect(&mut self, now: Now, peer: &Peer, actions: &mut Actions) -> Session {
        let mut session = Session { inner: self.inner.on_connect(now, peer, actions), opened: None };
        self.lend(&mut session, actions);
        session
    }

    fn on_bytes(&mut self, now: Now, session: &mut Session, bytes: &[u8], actions: &mut Actions) -> usize {
        let taken = self.inner.on_bytes(now, &mut session.inner, bytes, actions);
        self.lend(session, actions);
        taken
    }

    fn on_file(
        &mut self,
        now: Now,
        session: &mut Session,
        result: Result<(FileHandle, FileMeta), OpenError>,
        actions: &mut Actions,
    ) {
        self.inner.on_file(now, &mut session.inner, result, actions);
        self.lend(session, actions);
    }

    fn on_turn(&mut self, now: Now) -> bool {
        self.inner.on_turn(now)
    }

    fn poll_ticket(&mut self) -> Option<Ticket> {
        self.inner.poll_ticket()
    }

    fn on_roused(&mut self, now: Now, session: &mut Session, actions: &mut Actions) {
        self.inner.on_roused(now, &mut session.inner, actions);
        self.lend(session, actions);
    }

    fn on_sent(&mut self, now: Now, session: &mut Session, actions: &mut Actions) {
        self.inner.on_sent(now, &mut session.inner, actions);
        self.lend(session, actions);
    }

    fn on_deadline(&mut self, now: Now, session: &mut Session, actions: &mut Actions) {
        self.inner.on_deadline(now, &mut session.inner, actions);
        self.lend(session, actions);
    }

    fn on_peer_finished(&mut self, now: Now, session: &mut Session, actions: &mut Actions) {
        self.inner.on_peer_finished(now, &mut session.inner, actions);
        self.lend(session, actions);
    }

    fn plain_to_tls(&mut self, now: Now) -> Vec<u8> {
        self.inner.plain_to_tls(now)
    }

    fn object<'a>(&self, session: &'a Session) -> Option<&'a [u8]> {
        self.inner.object(&session.inner)
    }

    fn on_close(&mut self, now: Now, session: Session, end: End, transfer: &Transfer) {
        self.inner.on_close(now, session.inner, end, transfer);
    }

    fn on_snapshot(&mut self, now: Now, snapshot: Self::Snapshot) {
        self.inner.on_snapshot(now, snapshot);
    }

    fn on_drain(&mut self, now: Now, session: &mut Session, actions: &mut Actions) {
        self.inner.on_drain(now, &mut session.inner, actions);
        self.lend(session, actions);
    }
}
