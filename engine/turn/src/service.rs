//! What a server is to the engine: bytes of a peer in, things to send out.
//!
//! A [`Service`] does no I/O and keeps no time. It is called within a turn and answers through [`Actions`]; what it
//! asks for happens after it has returned. The bytes it sees are plaintext, whatever the connection was sealed with.
//!
//! ```text
//! on_connect ─▶ on_bytes ─▶ actions.open ─▶ on_file ─▶ actions.send + actions.send_file ─▶ on_sent ─▶ on_bytes …
//!                    └──▶ actions.send ─────────────────────────────────────────────────────┘       └─▶ on_close
//! ```

use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use clock::Instant;
use core::net::SocketAddr;
use core::ops::Range;
use core::time::Duration;
use platform::{FileMeta, OpenError, RootId};

use crate::memory::Memory;

/// The time, both ways of telling it, as read at the beginning of the turn.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines and durations.
    pub instant: Instant,
    /// Since 1970-01-01T00:00:00Z, for dates.
    pub unix: Duration,
}

/// Who a connection is with, and how.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client.
    pub remote: SocketAddr,
    /// Our own end.
    pub local: SocketAddr,
    /// The connection is TLS; set before the first byte of plaintext arrives.
    pub secure: bool,
    /// The name the client asked for (SNI).
    pub server_name: Option<Box<str>>,
}

/// An open file, as long as it is named by a callback or by something being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHandle(pub(crate) u32);

impl FileHandle {
    /// A handle with this number, for tests of services without an engine.
    #[must_use]
    pub const fn for_tests(number: u32) -> Self {
        Self(number)
    }
}

/// What connections wait for that comes to the service from elsewhere, by a number of the service's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides had said all they wanted.
    Finished,
    /// The peer reset it.
    PeerReset,
    /// The peer fell silent, or never finished its handshake.
    TimedOut,
    /// The peer broke TLS.
    PeerProtocol,
    /// The service asked for it.
    Aborted,
    /// The disk failed or the file shrank while it was being sent.
    Disk,
    /// The file changed between a record's first sealing and a later one.
    TagMismatch,
    /// The server is shutting down, or out of a resource.
    Shed,
}

/// What a connection amounted to, for logs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Transfer {
    /// Stream bytes sent for the first time.
    pub sent_bytes: u64,
    /// Stream bytes sent again.
    pub resent_bytes: u64,
    /// Stream bytes received in order.
    pub received_bytes: u64,
    /// Smoothed round-trip time, when known.
    pub srtt: Duration,
}

/// What a service may ask for while it is called.
#[derive(Debug, Default)]
pub struct Actions {
    pub(crate) list: Vec<Action>,
}

/// One thing asked for. Public so that a service's tests can look at what it asked.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// These bytes; they are kept until acknowledged.
    Send(Vec<u8>),
    /// This part of a file; it is read when the window opens, and again if it is lost.
    SendFile(FileHandle, Range<u64>),
    /// This range of memory at hand; it is held until acknowledged.
    SendMemory(Lent, Range<u64>),
    /// A file below a root; [`Service::on_file`] has the answer.
    Open(RootId, Box<[u8]>),
    /// Nothing until the service calls this ticket; [`Service::on_roused`] goes on.
    Wait(Ticket),
    /// Close once all of this has been sent; take no more bytes.
    Finish,
    /// Reset now.
    Abort,
    /// Call [`Service::on_deadline`] then; `NEVER` calls it off.
    Deadline(Instant),
}

/// Memory that is being sent; the same as another if it is one and the same.
#[derive(Clone, Debug)]
pub struct Lent(pub Rc<dyn Memory>);

impl PartialEq for Lent {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Lent {}

impl Actions {
    /// Nothing asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends bytes, which are kept until acknowledged: response heads and small generated pages, up to 256 KiB
    /// waiting at once.
    pub fn send(&mut self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.list.push(Action::Send(bytes));
        }
    }

    /// Sends `range` of a file, after what was asked for before.
    pub fn send_file(&mut self, file: FileHandle, range: Range<u64>) {
        if range.start < range.end {
            self.list.push(Action::SendFile(file, range));
        }
    }

    /// Sends `range` of memory at hand, after what was asked for before. It is held until acknowledged, and what the link
    /// still sends of it longer. No byte is copied but where the link or TLS asks for it.
    pub fn send_memory(&mut self, memory: Rc<dyn Memory>, range: Range<u64>) {
        if range.start < range.end {
            self.list.push(Action::SendMemory(Lent(memory), range));
        }
    }

    /// Opens `path` below `root`. One open at a time per connection; no bytes are offered until it is answered.
    pub fn open(&mut self, root: RootId, path: &[u8]) {
        self.list.push(Action::Open(root, path.into()));
    }

    /// Waits until the service calls `ticket` ([`Service::poll_ticket`]). Any number of connections may wait for one; no
    /// bytes are offered meanwhile. Nothing else is asked for in the same call, and the connection's deadline stays.
    pub fn wait(&mut self, ticket: Ticket) {
        self.list.push(Action::Wait(ticket));
    }

    /// Closes in order, after everything asked for has been sent. No more bytes are offered.
    pub fn finish(&mut self) {
        self.list.push(Action::Finish);
    }

    /// Resets the connection.
    pub fn abort(&mut self) {
        self.list.push(Action::Abort);
    }

    /// Sets the connection's one deadline.
    pub fn deadline(&mut self, at: Instant) {
        self.list.push(Action::Deadline(at));
    }

    /// Takes what was asked for, in order.
    pub fn take(&mut self) -> Vec<Action> {
        core::mem::take(&mut self.list)
    }
}

/// A server, as the engine sees it. One per worker; nothing in it is shared.
pub trait Service {
    /// What the service remembers of one connection. Small: an idle connection should cost a cache line or two.
    type Session;
    /// What control hands over while the server runs: configuration, catalogue, keys. Swapped between two turns.
    type Snapshot;

    /// A connection is established (for TLS: its handshake is done).
    fn on_connect(&mut self, now: Now, peer: &Peer, actions: &mut Actions) -> Self::Session;

    /// The peer has sent `bytes`, all that have not been taken so far. Returns how many are taken now. What is not
    /// taken is offered again with more bytes, or after [`on_sent`](Self::on_sent); at most 16 KiB wait, after which
    /// the peer's window closes. While something asked for is not yet sent, nothing is offered.
    fn on_bytes(
        &mut self,
        now: Now,
        session: &mut Self::Session,
        bytes: &[u8],
        actions: &mut Actions,
    ) -> usize;

    /// What [`Actions::open`] asked for. The handle lasts for this call and for what is sent of it.
    fn on_file(
        &mut self,
        now: Now,
        session: &mut Self::Session,
        result: Result<(FileHandle, FileMeta), OpenError>,
        actions: &mut Actions,
    );

    /// A turn begins: the service takes a bounded part of what has come to it from elsewhere. Returns whether more of it
    /// waits, for which the worker turns again before it sleeps.
    fn on_turn(&mut self, now: Now) -> bool {
        let _ = now;
        false
    }

    /// The next ticket to be called: asked until there is none, after [`on_turn`](Self::on_turn).
    fn poll_ticket(&mut self) -> Option<Ticket> {
        None
    }

    /// The ticket that this connection waited for was called.
    fn on_roused(&mut self, now: Now, session: &mut Self::Session, actions: &mut Actions) {
        let _ = (now, session, actions);
    }

    /// Everything asked for has been handed to the network once.
    fn on_sent(&mut self, now: Now, session: &mut Self::Session, actions: &mut Actions);

    /// The deadline has passed.
    fn on_deadline(&mut self, now: Now, session: &mut Self::Session, actions: &mut Actions);

    /// The peer will send no more. The default lets what is being sent be sent, then closes.
    fn on_peer_finished(&mut self, now: Now, session: &mut Self::Session, actions: &mut Actions) {
        let _ = (now, session);
        actions.finish();
    }

    /// What to answer, as it goes on the wire, to somebody who speaks plain HTTP to a port for TLS; the connection ends
    /// with it. The default says nothing.
    fn plain_to_tls(&mut self, now: Now) -> Vec<u8> {
        let _ = now;
        Vec::new()
    }

    /// What a connection is being answered with, for people who list connections: the name of an object.
    fn object<'a>(&self, session: &'a Self::Session) -> Option<&'a [u8]> {
        let _ = session;
        None
    }

    /// The connection is over.
    fn on_close(&mut self, now: Now, session: Self::Session, end: End, transfer: &Transfer);

    /// A new snapshot is in force.
    fn on_snapshot(&mut self, now: Now, snapshot: Self::Snapshot);

    /// The server is draining: finish this connection as soon as it is idle. Called once for each connection, and
    /// again for each that is still accepted.
    fn on_drain(&mut self, now: Now, session: &mut Self::Session, actions: &mut Actions);
}
