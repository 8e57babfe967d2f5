//! Packets become events: to a connection, to the listener, or to nobody.

use core::mem;
use stack::{FlowId, HashedTuple, Input, TcpInput, Verdict};
use tcp::{Connection, Events, State, TimeWaitAction};

use crate::flow::Marks;
use crate::service::Service;
use crate::worker::Core;

impl<A: tls::Aead, S: Service> Core<A, S> {
    /// A packet has arrived. `verified`: the link vouches for its checksum.
    pub(crate) fn on_frame(&mut self, bytes: &[u8], verified: bool) {
        let now = self.now.instant;
        if let Some(segment) = self.interface.on_usual_frame(bytes, verified) {
            return self.on_tcp(&TcpInput::of_usual(&segment));
        }
        match self.interface.on_frame(now, bytes, verified, &mut self.replies) {
            Input::Tcp(input) => self.on_tcp(&input),
            Input::PathMtu { tuple, seq, mtu } => {
                if let Some(id) = self.table.find(&tuple)
                    && let Some(flow) = self.flows.get_mut(id)
                    && flow.tcp.is_plausible(seq)
                {
                    let headers = if tuple.local.is_ipv4() { 40 } else { 60 };
                    flow.tcp.on_mss(self.now.instant, mtu.saturating_sub(headers));
                    self.make_runnable(id);
                    self.touch(id);
                }
            }
            Input::Unreachable { .. } | Input::Handled | Input::Dropped(_) => {}
        }
    }

    fn on_tcp(&mut self, input: &TcpInput<'_>) {
        match self.table.find_input(input) {
            Ok(id) => self.on_flow(id, input),
            Err(tuple) => self.on_stranger(&tuple, input),
        }
    }

    #[inline(always)]
    fn on_flow(&mut self, id: FlowId, input: &TcpInput<'_>) {
        let now = self.now.instant;
        let Self { flows, tcp_v4, tcp_v6, inbox, .. } = self;
        let Some(flow) = flows.get_mut(id) else { return };
        let config = if flow.path.source.is_ipv4() { tcp_v4 } else { tcp_v6 };
        let events = flow.tcp.on_segment(config, now, &input.header, input.payload, &mut |bytes| {
            inbox.extend_from_slice(bytes);
        });
        // A peer's router may have changed: answer where its packets come from, once TCP has found them in order.
        if !events.contains(Events::DROPPED) {
            flow.path.peer_mac = input.peer_mac;
        }
        if events.contains(Events::UNEXPECTED)
            && let Ok(payload_bytes) = u32::try_from(input.payload.len())
            && let Some(reset) = tcp::reset_for(&input.header, payload_bytes)
        {
            self.reply(input, &reset);
        }
        self.on_events(id, events);
        self.deliver(id);
    }

    /// What came in order goes on, with the connection free again.
    fn deliver(&mut self, id: FlowId) {
        if self.inbox.is_empty() {
            return;
        }
        let mut inbox = mem::take(&mut self.inbox);
        self.on_stream(id, &inbox);
        inbox.clear();
        self.inbox = inbox;
    }

    /// A segment that belongs to no connection.
    fn on_stranger(&mut self, tuple: &HashedTuple, input: &TcpInput<'_>) {
        let now = self.now.instant;
        let config = if input.local().is_ipv4() { &self.tcp_v4 } else { &self.tcp_v6 };
        let payload_bytes = u32::try_from(input.payload.len()).unwrap_or(u32::MAX);
        let remembered = self.time_wait.on_segment(config, now, tuple, &input.header, payload_bytes);
        let iss_min = match remembered {
            None => None,
            Some(TimeWaitAction::Reuse { iss_min }) => Some(iss_min),
            Some(TimeWaitAction::Ack(header)) => return self.reply(input, &header),
            Some(TimeWaitAction::Ignore) => return,
        };
        let connection = match self.listener.on_segment(config, now, input, iss_min) {
            Verdict::Accept { iss } => Connection::accept(config, now, &input.header, iss),
            Verdict::AcceptCookie(cookie) => Connection::accept_cookie(config, now, &input.header, &cookie),
            Verdict::Reply(header) => return self.reply(input, &header),
            Verdict::Drop(_) => return,
        };
        if iss_min.is_some() {
            self.time_wait.remove(tuple);
        }
        self.admit(tuple, input, connection);
    }

    /// A new connection enters the table.
    fn admit(&mut self, tuple: &HashedTuple, input: &TcpInput<'_>, tcp: Connection) {
        let half_open = tcp.state() == State::SynReceived;
        let Ok(id) = self.table.insert_absent(tuple) else {
            self.listener.on_closed(input.peer(), half_open);
            return;
        };
        let marks = if half_open { Marks::HALF_OPEN } else { Marks::empty() };
        let path = self.interface.path_back(input);
        self.flows.insert(id, tcp, path, marks);
        if half_open {
            self.touch(id);
        } else {
            // The cookie's ACK may carry the request already: it goes through the connection like any other segment.
            self.on_established(id);
            self.on_flow(id, input);
        }
    }

    /// A short answer on behalf of no connection.
    fn reply(&mut self, input: &TcpInput<'_>, header: &tcp::Header) {
        let path = self.interface.path_back(input);
        self.replies.push_tcp(&path, header);
    }
}
