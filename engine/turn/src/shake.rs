//! TLS: handshakes until the keys are out, then records.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;
use handshake::{Established, Handshake, HandshakeError, Progress};
use stack::FlowId;
use tls::{KeyUpdateRequest, Message};

use crate::flow::{Handshaking, Marks, Records, Security};
use crate::outbound::Content;
use crate::service::{End, Peer, Service};
use crate::worker::Core;

/// Bytes of a handshake that may wait: a `ClientHello` with post-quantum key shares and a long list of everything
/// fits several times.
const HANDSHAKE_INPUT_BYTES_MAX: usize = 64 << 10;

impl<A: tls::Aead, S: Service> Core<A, S> {
    /// A connection may speak: to the service, or first through a handshake.
    pub(crate) fn on_established(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        self.counters.accepted += 1;
        if !self.config.secure_ports.contains(&flow.tcp.ports().0) {
            return self.connect_service(id, None);
        }
        let Some(secure) = &self.secure else { return self.abort(id, End::Shed) };
        let Ok(handshake) = Handshake::new(secure) else { return self.abort(id, End::Shed) };
        flow.security = Security::Handshaking(Box::new(Handshaking { handshake, input: Vec::new() }));
        flow.deadline = self.now.instant + self.config.handshake_timeout;
    }

    /// Stream bytes of the peer, in order.
    pub(crate) fn on_stream(&mut self, id: FlowId, bytes: &[u8]) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        if flow.marks.contains(Marks::CLOSED) {
            return;
        }
        flow.received_bytes += bytes.len() as u64;
        self.counters.received_bytes += bytes.len() as u64;
        match &mut flow.security {
            Security::Plain => self.on_plaintext(id, bytes),
            Security::Handshaking(shaking) => {
                let Handshaking { input, .. } = &mut **shaking;
                if input.len() + bytes.len() > HANDSHAKE_INPUT_BYTES_MAX {
                    return self.abort(id, End::PeerProtocol);
                }
                input.extend_from_slice(bytes);
                if !flow.marks.contains(Marks::SHAKING) {
                    flow.marks.insert(Marks::SHAKING);
                    self.shaking.push_back(id);
                }
            }
            Security::Established(_) => self.on_records(id, bytes),
        }
    }

    /// Works on a few handshakes: each step may cost a signature and a key exchange.
    pub(crate) fn shake(&mut self) -> bool {
        let mut left = self.config.handshakes_per_turn;
        let mut busy = false;
        while left > 0 {
            let Some(id) = self.shaking.pop_front() else { break };
            let Some(flow) = self.flows.get_mut(id) else { continue };
            flow.marks.remove(Marks::SHAKING);
            let Security::Handshaking(shaking) = &mut flow.security else { continue };
            let Handshaking { handshake, input } = &mut **shaking;
            busy = true;
            left -= 1;
            let bytes = mem::take(input);
            let progress = handshake.on_bytes(&bytes);
            let output = handshake.take_output();
            self.queue_bytes(id, output, Content::Wire);
            match progress {
                Progress::Continue => {}
                Progress::Established(established) => self.on_keys(id, established),
                Progress::Failed(error) => {
                    self.counters.tls_failures += 1;
                    if matches!(error, HandshakeError::PlainHttp) {
                        self.counters.plain_to_tls += 1;
                        // Whoever speaks plainly is answered plainly, or not at all.
                        let answer = self.service.plain_to_tls(self.now);
                        self.queue_bytes(id, answer, Content::Wire);
                    }
                    // The alert, or the answer, is queued: it leaves, and a FIN behind it.
                    self.finish_with(id, End::PeerProtocol);
                }
            }
        }
        busy
    }

    /// The handshake is done.
    fn on_keys(&mut self, id: FlowId, established: Box<Established>) {
        let Established { mut sealer, opener, server_name, leftover, resumed, version: _, suite: _, alpn: _ } =
            *established;
        self.counters.handshakes += 1;
        self.counters.resumptions += u64::from(resumed);
        if let Some(records) = self.config.key_update_after {
            sealer = sealer.with_key_update_after(records);
        }
        let Some(flow) = self.flows.get_mut(id) else { return };
        flow.security = Security::Established(Box::new(Records { sealer, opener }));
        self.connect_service(id, server_name);
        if !leftover.is_empty() {
            self.on_records(id, &leftover);
        }
        self.pump(id);
    }

    fn connect_service(&mut self, id: FlowId, server_name: Option<Box<str>>) {
        let now = self.now;
        let draining = self.draining;
        let Self { flows, service, actions, .. } = self;
        let Some(flow) = flows.get_mut(id) else { return };
        flow.deadline = clock::Instant::NEVER;
        let peer = Peer {
            remote: flow.peer(),
            local: flow.local(),
            secure: matches!(flow.security, Security::Established(_)),
            server_name,
        };
        flow.session = Some(service.on_connect(now, &peer, actions));
        self.apply(id, None);
        if draining {
            self.tell_drain(id);
        }
    }

    /// Sealed bytes of the peer.
    fn on_records(&mut self, id: FlowId, mut bytes: &[u8]) {
        let Some(mut scratch) = self.scratch.take() else { return };
        while let Some(flow) = self.flows.get_mut(id).filter(|flow| !flow.marks.contains(Marks::CLOSED)) {
            let Security::Established(records) = &mut flow.security else { break };
            match records.opener.poll(&mut self.keys, &mut scratch, &mut bytes) {
                Ok(None) => break,
                Ok(Some(Message::Data(plaintext))) => self.on_plaintext(id, plaintext),
                Ok(Some(Message::KeyUpdate(request))) => {
                    if request == KeyUpdateRequest::Requested {
                        records.sealer.on_key_update_requested();
                        self.make_runnable(id);
                    }
                }
                Ok(Some(Message::RenegotiationRefused)) => {
                    let refusal = tls::Alert::warning(tls::AlertDescription::NO_RENEGOTIATION);
                    if let Ok(record) = records.sealer.seal_alert(&mut self.keys, refusal) {
                        let bytes = record.as_bytes().into();
                        self.queue_sealed(id, bytes);
                    }
                }
                Ok(Some(Message::CloseNotify)) => {
                    flow.marks.insert(Marks::PEER_FINISHED);
                    self.pump(id);
                }
                // Only a client is sent tickets, and the opener knows that we are none.
                Ok(Some(Message::NewSessionTicket(_))) => {}
                Err(error) => {
                    self.counters.tls_failures += 1;
                    if let Some(alert) = error.alert()
                        && let Ok(record) = records.sealer.seal_alert(&mut self.keys, alert)
                    {
                        let bytes = record.as_bytes().into();
                        self.drop_queue(id);
                        self.queue_sealed(id, bytes);
                    }
                    self.finish_with(id, End::PeerProtocol);
                    break;
                }
            }
        }
        self.scratch = Some(scratch);
    }
}
