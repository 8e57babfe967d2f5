//! One connection, as the engine holds it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use clock::Instant;
use core::net::SocketAddr;
use handshake::Handshake;
use stack::FlowId;

use crate::outbound::Outbound;
use crate::service::End;

/// What a connection is to the engine. Idle, it holds no [`Outbound`] and no input: those exist while something is
/// being said.
pub(crate) struct Flow<Session> {
    pub(crate) tcp: tcp::Connection,
    pub(crate) path: wire::Path,
    pub(crate) security: Security,
    /// `Some` once the service knows of the connection.
    pub(crate) session: Option<Session>,
    pub(crate) outbound: Option<Box<Outbound>>,
    /// Plaintext that the service has not taken.
    pub(crate) input: Input,
    /// When the service, or the handshake, wants to be called.
    pub(crate) deadline: Instant,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) resent_bytes: u64,
    pub(crate) marks: Marks,
    /// Why it ends, once that is known.
    pub(crate) end: Option<End>,
}

bitflags::bitflags! {
    /// Where a connection stands, between two events.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Marks: u16 {
        /// In the queue of those that may have something to read.
        const RUNNABLE = 1 << 0;
        /// In the list of those that may have something to say.
        const TOUCHED = 1 << 1;
        /// In the queue of handshakes with work to do.
        const SHAKING = 1 << 2;
        /// A file is being opened for the service.
        const OPENING = 1 << 3;
        /// The service has asked for something since it was last told that all was sent.
        const ASKED = 1 << 4;
        /// The service wants no more bytes and a close after what it asked for.
        const FINISHING = 1 << 5;
        /// Our FIN is queued behind the last byte.
        const FINISHED = 1 << 6;
        /// The peer will send no more.
        const PEER_FINISHED = 1 << 7;
        /// The service was told so.
        const PEER_FINISH_TOLD = 1 << 8;
        /// The service was told that the server drains.
        const DRAIN_TOLD = 1 << 9;
        /// Counted in the backlog of half-open connections.
        const HALF_OPEN = 1 << 10;
        /// TCP has nothing more to do: remove it when this turn has sent its last segments.
        const CLOSED = 1 << 11;
        /// The service has seen all that waits and has taken none of it: it wants more first.
        const WANTS_MORE = 1 << 13;
        /// In the queue of those that wait for a place at the disk.
        const WAITS_FOR_READ = 1 << 14;
        /// In the queue of those that wait for a frame to keep bytes of ours in.
        const WAITS_FOR_FRAME = 1 << 15;
        /// Nothing more is said, not even `close_notify`: an alert was the last word.
        const MUTE = 1 << 12;
    }
}

/// Plaintext that the service has not taken: a pointer while there is none, which is nearly always.
#[derive(Default)]
pub(crate) struct Input(Option<Box<Waiting>>);

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
}

impl Input {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.0.get_or_insert_default().bytes.extend_from_slice(bytes);
    }

    /// Lets go of the first `count` bytes, and of the memory when they were all.
    pub(crate) fn take(&mut self, count: usize) {
        if let Some(waiting) = &mut self.0 {
            waiting.bytes.drain(..count);
            if waiting.bytes.is_empty() {
                self.0 = None;
            }
        }
    }
}

impl core::ops::Deref for Input {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.as_ref().map_or(&[], |waiting| &waiting.bytes)
    }
}

/// What lies between the service and TCP.
pub(crate) enum Security {
    /// Nothing.
    Plain,
    /// A handshake.
    Handshaking(Box<Handshaking>),
    /// Records.
    Established(Box<Records>),
}

/// A handshake under way, and what of the peer's bytes it has not been given yet.
pub(crate) struct Handshaking {
    pub(crate) handshake: Handshake,
    pub(crate) input: Vec<u8>,
}

/// An established TLS connection.
pub(crate) struct Records {
    pub(crate) sealer: tls::Sealer,
    pub(crate) opener: tls::Opener,
}

impl<Session> Flow<Session> {
    pub(crate) fn new(tcp: tcp::Connection, path: wire::Path, marks: Marks) -> Self {
        Self {
            tcp,
            path,
            security: Security::Plain,
            session: None,
            outbound: None,
            input: Input::default(),
            deadline: Instant::NEVER,
            received_bytes: 0,
            sent_bytes: 0,
            resent_bytes: 0,
            marks,
            end: None,
        }
    }

    /// Another connection, in the memory of one that is gone: what is the same at both ends of a life is not written again.
    fn begin(&mut self, new_tcp: tcp::Connection, new_path: wire::Path, new_marks: Marks) {
        let Self {
            tcp,
            path,
            security,
            session,
            outbound,
            input,
            deadline,
            received_bytes,
            sent_bytes,
            resent_bytes,
            marks,
            end,
        } = self;
        debug_assert!(session.is_none() && outbound.is_none() && input.is_empty(), "recycled");
        debug_assert!(matches!(security, Security::Plain), "recycled");
        *tcp = new_tcp;
        *path = new_path;
        *deadline = Instant::NEVER;
        (*received_bytes, *sent_bytes, *resent_bytes) = (0, 0, 0);
        *marks = new_marks;
        *end = None;
    }

    /// The sending state, made when it is needed, of memory that others used before.
    #[expect(clippy::vec_box, reason = "the boxes themselves are what is used again")]
    pub(crate) fn outbound(
        &mut self,
        spare: &mut Vec<Box<Outbound>>,
        transfers: &mut Vec<tcp::Spare>,
    ) -> &mut Outbound {
        if self.outbound.is_none() {
            self.tcp.lend(transfers);
        }
        self.outbound.get_or_insert_with(|| spare.pop().unwrap_or_default())
    }

    /// Sets a mark. Whether it was not set before.
    pub(crate) fn marks_newly(&mut self, mark: Marks) -> bool {
        let is_new = !self.marks.contains(mark);
        self.marks.insert(mark);
        is_new
    }

    /// Nothing can be read for it now, whatever may be sent: nothing is queued or lost, and its end is no news.
    pub(crate) fn has_nothing_to_read(&self) -> bool {
        self.outbound.as_ref().is_none_or(|outbound| outbound.queue.is_empty())
            && !self.tcp.has_wanted()
            && (!self.marks.contains(Marks::FINISHING) || self.marks.contains(Marks::FINISHED))
    }

    /// Our end.
    pub(crate) fn local(&self) -> SocketAddr {
        SocketAddr::new(self.path.source, self.tcp.ports().0)
    }

    /// The peer's.
    pub(crate) fn peer(&self) -> SocketAddr {
        SocketAddr::new(self.path.destination, self.tcp.ports().1)
    }

    /// The service may be offered bytes: nothing that it asked for is outstanding.
    pub(crate) fn is_attentive(&self) -> bool {
        self.session.is_some() && !self.marks.intersects(Marks::OPENING | Marks::ASKED | Marks::FINISHING)
    }

    /// Whether anything may be told the service: that all was sent, or that there is something new of the peer's.
    pub(crate) fn may_go_on(&self) -> bool {
        if self.marks.contains(Marks::ASKED) {
            return self.is_sent();
        }
        self.session.is_some() && (!self.input.is_empty() || self.marks.contains(Marks::PEER_FINISHED))
    }

    /// Everything asked for has been handed to the network once.
    pub(crate) fn is_sent(&self) -> bool {
        self.outbound.as_ref().is_none_or(|outbound| outbound.queue.is_empty()) && self.tcp.unsent() == 0
    }

    /// Bytes on the wire around a record's plaintext.
    pub(crate) fn overhead(&self) -> u32 {
        match &self.security {
            Security::Plain | Security::Handshaking(_) => 0,
            #[expect(clippy::cast_possible_truncation, reason = "at most 29")]
            Security::Established(records) => records.sealer.layout().overhead_bytes() as u32,
        }
    }
}

/// All connections of a worker, by the ids that the connection table gave them.
pub(crate) struct Flows<Session> {
    slots: Vec<Option<(FlowId, Box<Flow<Session>>)>>,
    len: usize,
    /// Memory of connections that are gone, for the next ones.
    spare: Vec<Box<Flow<Session>>>,
}

/// Boxes that are kept.
const SPARE_MAX: usize = 256;

impl<Session> Flows<Session> {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), len: 0, spare: Vec::with_capacity(SPARE_MAX) }
    }

    pub(crate) fn insert(&mut self, id: FlowId, tcp: tcp::Connection, path: wire::Path, marks: Marks) {
        if self.slots.len() <= id.index() {
            self.slots.resize_with(id.index() + 1, || None);
        }
        let flow = match self.spare.pop() {
            Some(mut spare) => {
                spare.begin(tcp, path, marks);
                spare
            }
            None => Box::new(Flow::new(tcp, path, marks)),
        };
        let before = self.slots[id.index()].replace((id, flow));
        debug_assert!(before.is_none(), "the table gives a slot to one connection at a time");
        self.len += 1;
    }

    pub(crate) fn get(&self, id: FlowId) -> Option<&Flow<Session>> {
        self.slots.get(id.index())?.as_ref().filter(|(known, _)| *known == id).map(|(_, flow)| &**flow)
    }

    pub(crate) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow<Session>> {
        self.slots
            .get_mut(id.index())?
            .as_mut()
            .filter(|(known, _)| *known == id)
            .map(|(_, flow)| &mut **flow)
    }

    pub(crate) fn remove(&mut self, id: FlowId) -> Option<Box<Flow<Session>>> {
        let slot = self.slots.get_mut(id.index())?;
        if slot.as_ref().is_none_or(|(known, _)| *known != id) {
            return None;
        }
        self.len -= 1;
        slot.take().map(|(_, flow)| flow)
    }

    /// Keeps the memory of a connection that is gone. What it held elsewhere was taken out of it; if its peer left
    /// something behind, all of it goes.
    pub(crate) fn recycle(&mut self, flow: Box<Flow<Session>>) {
        debug_assert!(flow.session.is_none() && flow.outbound.is_none(), "held by nobody");
        debug_assert!(matches!(flow.security, Security::Plain), "its keys were taken out");
        if self.spare.len() < SPARE_MAX && flow.tcp.heap_bytes() == 0 && flow.input.is_empty() {
            self.spare.push(flow);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn ids(&self) -> Vec<FlowId> {
        self.slots.iter().flatten().map(|(id, _)| *id).collect()
    }

    /// The places from `from` on, empty ones included.
    pub(crate) fn places(&self, from: u32) -> impl Iterator<Item = Option<&Flow<Session>>> {
        let from = (from as usize).min(self.slots.len());
        self.slots[from..].iter().map(|slot| slot.as_ref().map(|(_, flow)| &**flow))
    }
}
