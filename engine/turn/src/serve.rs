//! The service is asked, and what it asks for is done.

use alloc::boxed::Box;
use core::mem;
use platform::{FileMeta, OpenError, RootId};
use stack::FlowId;

use crate::files::{FileRef, Lookup};
use crate::flow::{Flow, Input, Marks};
use crate::outbound::{Content, Item};
use crate::service::{Action, End, FileHandle, Lent, Service, Ticket};
use crate::worker::{Core, PendingOpen};

/// Plaintext that may wait for the service before the peer's window closes.
const INPUT_BYTES_MAX: usize = 16 << 10;
/// Bytes of its own that a service may have waiting.
const QUEUED_BYTES_MAX: usize = 256 << 10;

impl<A: tls::Aead, S: Service> Core<A, S> {
    /// Plaintext of the peer has arrived.
    pub(crate) fn on_plaintext(&mut self, id: FlowId, bytes: &[u8]) {
        let now = self.now;
        let Self { flows, service, actions, .. } = self;
        let Some(flow) = flows.get_mut(id) else { return };
        if bytes.is_empty() || flow.marks.contains(Marks::FINISHING) {
            return;
        }
        // Usually nothing waits and all of it is taken: then nothing is kept.
        let mut rest = bytes;
        let offered = flow.input.is_empty() && flow.is_attentive();
        if offered {
            let session = flow.session.as_mut().expect("an attentive connection has a session");
            let taken = service.on_bytes(now, session, bytes, actions).min(bytes.len());
            rest = &bytes[taken..];
        }
        if !rest.is_empty() {
            flow.input.push(rest);
            flow.marks.remove(Marks::WANTS_MORE);
            if flow.input.len() >= INPUT_BYTES_MAX {
                flow.tcp.set_receive_window(0);
            }
        }
        let in_vain = offered && rest.len() == bytes.len();
        self.apply(id, None);
        if in_vain {
            self.on_nothing_taken(id);
        }
        self.pump(id);
    }

    /// Goes on with a connection until its service has to wait for something, which it nearly always has to at once.
    #[inline]
    pub(crate) fn pump(&mut self, id: FlowId) {
        if self.flows.get(id).is_some_and(Flow::may_go_on) {
            self.pump_on(id);
        }
    }

    fn pump_on(&mut self, id: FlowId) {
        let now = self.now;
        loop {
            let Self { flows, service, actions, .. } = self;
            let Some(flow) = flows.get_mut(id) else { return };
            if flow.marks.contains(Marks::CLOSED) {
                return;
            }
            let sent = flow.is_sent();
            let attentive = flow.is_attentive();
            let Flow { session, input, marks, .. } = flow;
            let Some(session) = session.as_mut() else { return };
            let mut in_vain = false;
            if marks.contains(Marks::ASKED) && !marks.contains(Marks::OPENING) && sent {
                marks.remove(Marks::ASKED | Marks::WANTS_MORE);
                service.on_sent(now, session, actions);
            } else if attentive && !input.is_empty() && !marks.contains(Marks::WANTS_MORE) {
                let waiting = input.len();
                let taken = service.on_bytes(now, session, input, actions).min(waiting);
                input.take(taken);
                in_vain = taken == 0;
                if waiting >= INPUT_BYTES_MAX && input.len() < INPUT_BYTES_MAX {
                    self.open_window(id);
                }
            } else if attentive
                && marks.contains(Marks::PEER_FINISHED)
                && !marks.contains(Marks::PEER_FINISH_TOLD)
            {
                // What is left will never be more.
                *input = Input::default();
                marks.insert(Marks::PEER_FINISH_TOLD);
                service.on_peer_finished(now, session, actions);
            } else {
                return;
            }
            self.apply(id, None);
            if in_vain {
                self.on_nothing_taken(id);
            }
        }
    }

    /// The service took nothing of all that waits. Unless it asked for something it wants more.
    fn on_nothing_taken(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        if !flow.is_attentive() {
            return;
        }
        if flow.input.len() >= INPUT_BYTES_MAX {
            // The window is closed: nothing could ever move again.
            return self.abort(id, End::Shed);
        }
        flow.marks.insert(Marks::WANTS_MORE);
    }

    /// There is room for more of the peer's, and it is told.
    fn open_window(&mut self, id: FlowId) {
        let window = self.config.tcp.receive_window;
        if let Some(flow) = self.flows.get_mut(id) {
            flow.tcp.set_receive_window(window);
            self.touch(id);
        }
    }

    /// Nothing more is taken from the peer: what waits goes, and what still comes is let in and thrown away, so that its
    /// FIN can follow.
    pub(crate) fn forget_input(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        let was_full = flow.input.len() >= INPUT_BYTES_MAX;
        flow.input = Input::default();
        if was_full {
            self.open_window(id);
        }
    }

    /// An open that the service asked for has been answered.
    pub(crate) fn answer_open(&mut self, id: FlowId, result: Result<FileRef, OpenError>) {
        let now = self.now;
        let Self { flows, service, actions, .. } = self;
        let Some(Flow { session: Some(session), marks, .. }) = flows.get_mut(id) else { return };
        marks.remove(Marks::OPENING);
        if marks.contains(Marks::CLOSED) {
            return;
        }
        // One file is known to the service at a time, so one number is enough.
        let handle = FileHandle(0);
        let told: Result<(FileHandle, FileMeta), OpenError> = match &result {
            Ok(file) => Ok((handle, *file.meta())),
            Err(error) => Err(*error),
        };
        service.on_file(now, session, told, actions);
        self.apply(id, result.ok().as_ref());
        self.pump(id);
    }

    /// Does what the service asked for in one call. `file` is what its handle stands for.
    pub(crate) fn apply(&mut self, id: FlowId, file: Option<&FileRef>) {
        if self.actions.list.is_empty() {
            return;
        }
        let mut list = mem::take(&mut self.actions.list);
        for action in list.drain(..) {
            let Self { flows, spare, transfers, runnable, .. } = self;
            // What is asked for behind an abort is asked of nobody.
            let Some(flow) = flows.get_mut(id).filter(|flow| !flow.marks.contains(Marks::CLOSED)) else {
                continue;
            };
            let item = match action {
                Action::Send(bytes) => {
                    let waiting = flow.outbound.as_ref().map_or(0, |outbound| outbound.queued_bytes);
                    if waiting + bytes.len() > QUEUED_BYTES_MAX {
                        self.abort(id, End::Shed);
                        continue;
                    }
                    if bytes.is_empty() {
                        flow.marks.insert(Marks::ASKED);
                        continue;
                    }
                    Item::Bytes { bytes, done: 0, content: Content::Data }
                }
                Action::SendFile(_, range) => {
                    let Some(file) = file else {
                        debug_assert!(false, "a service sent a file outside on_file");
                        continue;
                    };
                    Item::File { file: file.clone(), range }
                }
                Action::SendMemory(Lent(memory), range) => Item::Memory { memory, range },
                Action::Open(root, path) => {
                    self.open(id, root, path);
                    continue;
                }
                Action::Wait(ticket) => {
                    self.wait(id, ticket);
                    continue;
                }
                Action::Finish => {
                    flow.marks.insert(Marks::FINISHING);
                    if !flow.input.is_empty() {
                        self.forget_input(id);
                    }
                    self.make_runnable(id);
                    continue;
                }
                Action::Abort => {
                    self.abort(id, End::Aborted);
                    continue;
                }
                Action::Deadline(at) => {
                    flow.deadline = at;
                    self.touch(id);
                    continue;
                }
            };
            flow.marks.insert(Marks::ASKED);
            flow.outbound(spare, transfers).ask(item);
            if flow.marks_newly(Marks::RUNNABLE) {
                runnable.push_back(id);
            }
        }
        // The list's memory is used again, unless a service left a new one meanwhile.
        if self.actions.list.is_empty() {
            self.actions.list = list;
        }
    }

    fn open(&mut self, id: FlowId, root: RootId, path: Box<[u8]>) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        if flow.marks.contains(Marks::OPENING) {
            debug_assert!(false, "a service opened two files at once");
            return;
        }
        flow.marks.insert(Marks::OPENING);
        match self.files.lookup(self.now.instant, root, &path) {
            Lookup::Fresh(file) => self.found.push_back((id, file)),
            Lookup::Look => self.opens_waiting.push_back(PendingOpen { flow: id, root, path }),
        }
    }

    fn wait(&mut self, id: FlowId, ticket: Ticket) {
        let Self { flows, waiting, .. } = self;
        let Some(flow) = flows.get_mut(id) else { return };
        debug_assert!(!flow.marks.contains(Marks::OPENING), "a service waits for two things at once");
        flow.marks.insert(Marks::OPENING);
        let waiters = waiting.entry(ticket).or_default();
        // Clients that gave up meanwhile are forgotten before the list outgrows those that are there.
        if waiters.len() > 2 * flows.len() {
            waiters.retain(|id| flows.get(*id).is_some());
        }
        waiters.push(id);
    }

    /// Lets the service take what came to it from elsewhere, and goes on with connections that waited for it.
    pub(crate) fn rouse(&mut self) -> bool {
        let mut busy = self.service.on_turn(self.now);
        while let Some(ticket) = self.service.poll_ticket() {
            busy = true;
            for id in self.waiting.remove(&ticket).unwrap_or_default() {
                let now = self.now;
                let Self { flows, service, actions, .. } = self;
                let Some(Flow { session: Some(session), marks, .. }) = flows.get_mut(id) else { continue };
                marks.remove(Marks::OPENING);
                if marks.contains(Marks::CLOSED) {
                    continue;
                }
                service.on_roused(now, session, actions);
                self.apply(id, None);
                self.pump(id);
            }
        }
        busy
    }

    /// Answers opens that the descriptor cache could answer. Not within the call that asked, so that a service never
    /// finds itself called inside its own call.
    pub(crate) fn answer_found(&mut self) -> bool {
        let mut busy = false;
        while let Some((id, file)) = self.found.pop_front() {
            self.answer_open(id, Ok(file));
            busy = true;
        }
        busy
    }
}
