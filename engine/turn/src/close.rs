//! Endings, and what happens when nothing does: timers.

use clock::Instant;
use core::mem;
use core::time::Duration;
use stack::FlowId;
use tcp::{Events, State};

use crate::carrier::Carrier;
use crate::flow::{Marks, Security};
use crate::service::{End, Service, Transfer};
use crate::worker::Core;

/// How long a peer may acknowledge nothing while others wait for the frames it keeps.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// While draining: how long a peer that has everything, and knows that no more comes, may take to close its side too.
/// A client that keeps an idle connection open for ever must not hold up the end.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How often it is looked for such peers.
const SHED_INTERVAL: Duration = Duration::from_millis(250);

impl<A: tls::Aead, S: Service> Core<A, S> {
    /// Resets a connection, for this reason; what is under way for it comes to nothing.
    pub(crate) fn abort(&mut self, id: FlowId, why: End) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        flow.end.get_or_insert(why);
        flow.tcp.abort();
        flow.marks.insert(Marks::CLOSED | Marks::FINISHING | Marks::FINISHED);
        if let Some(outbound) = &mut flow.outbound {
            outbound.clear();
        }
        self.touch(id);
    }

    /// Lets what is queued leave, then closes, for this reason.
    pub(crate) fn finish_with(&mut self, id: FlowId, why: End) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        flow.end.get_or_insert(why);
        // After an alert nothing is said, no `close_notify` either: straight to FIN when the queue is empty.
        flow.marks.insert(Marks::FINISHING | Marks::MUTE);
        self.forget_input(id);
        self.make_runnable(id);
    }

    /// Forgets what was asked for and neither reserved nor sealed.
    pub(crate) fn drop_queue(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.get_mut(id)
            && let Some(outbound) = &mut flow.outbound
        {
            outbound.drop_unsealed();
        }
    }

    /// The FIN, after the last byte.
    pub(crate) fn finish_tcp(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.get_mut(id) {
            flow.tcp.finish();
            self.touch(id);
        }
    }

    /// What TCP made of a segment or a deadline.
    #[inline(always)]
    pub(crate) fn on_events(&mut self, id: FlowId, events: Events) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        if events.contains(Events::ACKNOWLEDGED)
            && let Some(outbound) = &mut flow.outbound
        {
            outbound.forget(self.now.instant, flow.tcp.acknowledged());
            if let Security::Established(records) = &mut flow.security {
                let oldest = outbound.oldest_record().unwrap_or_else(|| records.sealer.next_record());
                records.sealer.on_acknowledged(oldest);
            }
        }
        if events.contains(Events::RESET) {
            flow.end.get_or_insert(End::PeerReset);
        }
        if events.contains(Events::TIMED_OUT) {
            flow.end.get_or_insert(End::TimedOut);
        }
        if events.contains(Events::PEER_FINISHED) {
            flow.marks.insert(Marks::PEER_FINISHED);
        }
        if events.contains(Events::FINISH_ACKNOWLEDGED) {
            // Whatever the peer still says: it has so long to finish as well.
            let patience = if self.draining { LAST_WORDS } else { self.config.tcp.fin_wait_2 };
            flow.deadline = self.now.instant + patience;
        }
        if events.contains(Events::CLOSED) {
            flow.marks.insert(Marks::CLOSED);
        }
        if events.contains(Events::ESTABLISHED) {
            if flow.marks.contains(Marks::HALF_OPEN) {
                flow.marks.remove(Marks::HALF_OPEN);
                self.listener.on_established();
            }
            self.on_established(id);
        }
        let opens = events.intersects(Events::ACKNOWLEDGED | Events::CREDIT | Events::WANTED);
        let Some(flow) = self.flows.get_mut(id) else { return };
        if opens && !flow.has_nothing_to_read() && flow.marks_newly(Marks::RUNNABLE) {
            self.runnable.push_back(id);
        }
        if flow.marks_newly(Marks::TOUCHED) {
            self.touched.push_back(id);
        }
    }

    /// After a connection has said what it could: what follows from that.
    pub(crate) fn settle(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        if flow.marks.contains(Marks::CLOSED) {
            return self.remove(id);
        }
        let has_session = flow.session.is_some();
        if !has_session && flow.marks.contains(Marks::PEER_FINISHED) {
            // Gone before it had said anything.
            flow.marks.insert(Marks::FINISHING | Marks::MUTE);
            self.make_runnable(id);
        }
        if has_session {
            self.pump(id);
        }
        let Some(flow) = self.flows.get_mut(id) else { return };
        if flow.outbound.as_ref().is_some_and(|outbound| outbound.is_idle())
            && let Some(outbound) = flow.outbound.take()
        {
            self.recycle(outbound);
        }
        self.schedule(id);
    }

    /// One timer a connection: whatever comes first.
    fn schedule(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(id) else { return };
        let at = flow.tcp.deadline().unwrap_or(Instant::NEVER).min(flow.deadline);
        if at == Instant::NEVER {
            self.wheel.cancel(id.slot());
        } else {
            self.wheel.schedule(id.slot(), at);
        }
    }

    /// Timers that are due.
    pub(crate) fn expire(&mut self) -> bool {
        let now = self.now.instant;
        let mut busy = false;
        while let Some(slot) = self.wheel.pop(now) {
            if let Some(id) = self.table.flow_at(slot) {
                busy = true;
                self.on_deadline(id);
            }
        }
        self.shed_silent();
        self.time_wait.expire(now);
        self.interface.poll(now, &mut self.replies);
        busy
    }

    /// While somebody waits for a frame, whoever keeps frames and acknowledges nothing makes room: otherwise a few
    /// thousand peers that fall silent would silence the server.
    fn shed_silent(&mut self) {
        let now = self.now.instant;
        // Nobody can acknowledge anything over a link that carries nothing.
        if self.waits_for_frame.is_empty() || now < self.shed_at || self.carrier == Carrier::Down {
            return;
        }
        self.shed_at = now + SHED_INTERVAL;
        for id in self.flows.ids() {
            let is_silent = self.flows.get(id).is_some_and(|flow| {
                // A head that waits here for what is behind it was not sent: the peer has nothing to acknowledge.
                let waits_for_us = flow.marks.intersects(Marks::WAITS_FOR_READ | Marks::WAITS_FOR_FRAME)
                    && flow.tcp.sent() == flow.tcp.acknowledged();
                let outbound = flow.outbound.as_ref().filter(|_| !waits_for_us);
                outbound.is_some_and(|outbound| {
                    now.since(outbound.progress_at) >= SILENCE_MAX && outbound.keeps_frames()
                })
            });
            if is_silent {
                self.abort(id, End::Shed);
            }
        }
    }

    fn on_deadline(&mut self, id: FlowId) {
        let now = self.now;
        let Some(flow) = self.flows.get_mut(id) else { return };
        if flow.tcp.deadline().is_some_and(|at| at <= now.instant) {
            let config = if flow.path.source.is_ipv4() { &self.tcp_v4 } else { &self.tcp_v6 };
            let events = flow.tcp.on_deadline(config, now.instant);
            self.on_events(id, events);
            // Pacing and loss timers open what no ACK opened.
            self.make_runnable(id);
        }
        let Some(flow) = self.flows.get_mut(id) else { return };
        if flow.deadline <= now.instant && !flow.marks.contains(Marks::CLOSED) {
            flow.deadline = Instant::NEVER;
            if flow.tcp.state() == State::FinWait2 {
                self.abort(id, End::TimedOut);
            } else if let Some(session) = &mut flow.session {
                self.service.on_deadline(now, session, &mut self.actions);
                self.apply(id, None);
                self.pump(id);
            } else {
                self.abort(id, End::TimedOut);
            }
        }
        self.touch(id);
    }

    /// The connection's entry goes, and with it everything it held.
    fn remove(&mut self, id: FlowId) {
        let Some(mut flow) = self.flows.remove(id) else { return };
        // Who is gone has no use for the rest of a run, and its frames have other uses.
        self.train.take_if(|(of, _)| *of == id);
        let tuple = self.table.remove(id);
        let (marks, end) = (flow.marks, flow.end);
        let transfer = Transfer {
            sent_bytes: flow.sent_bytes,
            resent_bytes: flow.resent_bytes,
            received_bytes: flow.received_bytes,
            srtt: flow.tcp.srtt().unwrap_or_default(),
        };
        self.wheel.cancel(id.slot());
        self.listener.on_closed(flow.path.destination, marks.contains(Marks::HALF_OPEN));
        let config = if flow.path.source.is_ipv4() { &self.tcp_v4 } else { &self.tcp_v6 };
        if let (Some(tuple), Some(entry)) = (tuple, flow.tcp.time_wait(config, self.now.instant)) {
            self.time_wait.insert(&tuple, entry);
        }
        if let Security::Established(records) = mem::replace(&mut flow.security, Security::Plain) {
            records.sealer.forget(&mut self.keys);
            records.opener.forget(&mut self.keys);
        }
        if let Some(outbound) = flow.outbound.take() {
            self.recycle(outbound);
        }
        let session = flow.session.take();
        flow.tcp.give_back(&mut self.transfers);
        self.flows.recycle(flow);
        if marks.contains(Marks::HALF_OPEN) {
            // It never came in.
            return;
        }
        let end = end.unwrap_or(End::Finished);
        match end {
            End::Finished => self.counters.finished += 1,
            End::TagMismatch => self.counters.tag_mismatches += 1,
            End::Disk => self.counters.disk_failures += 1,
            End::PeerReset | End::TimedOut | End::PeerProtocol | End::Aborted | End::Shed => {}
        }
        self.counters.failed += u64::from(end != End::Finished);
        if let Some(session) = session {
            self.service.on_close(self.now, session, end, &transfer);
        }
    }

    pub(crate) fn drain(&mut self) {
        if self.draining {
            return;
        }
        self.draining = true;
        self.listener.close();
        for id in self.flows.ids() {
            self.tell_drain(id);
            if let Some(flow) = self.flows.get_mut(id)
                && flow.tcp.state() == State::FinWait2
            {
                flow.deadline = flow.deadline.min(self.now.instant + LAST_WORDS);
            }
            self.touch(id);
        }
    }

    pub(crate) fn tell_drain(&mut self, id: FlowId) {
        let now = self.now;
        let Self { flows, service, actions, .. } = self;
        let Some(flow) = flows.get_mut(id) else { return };
        let Some(session) = &mut flow.session else { return };
        if !flow.marks.intersects(Marks::DRAIN_TOLD | Marks::CLOSED) {
            flow.marks.insert(Marks::DRAIN_TOLD);
            service.on_drain(now, session, actions);
            self.apply(id, None);
        }
    }

    pub(crate) fn shed(&mut self) {
        self.draining = true;
        self.listener.close();
        for id in self.flows.ids() {
            self.abort(id, End::Shed);
        }
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.draining && self.flows.len() == 0
    }
}
