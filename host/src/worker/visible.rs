//! What people see of a worker: packets for a capture, connections for a list.
//!
//! ```text
//!   Command::Capture ─▶ [`Shown`]   the engine's tap: a packet is offered to control's ring
//!   Command::List    ─▶ [`Lists`]   a few connections after each turn, a page when there are enough
//! ```

use control::{CaptureSink, Connection, ListOrder, Listed};
use core::fmt;
use core::mem;
use platform::Platform;
use std::borrow::Cow;
use std::collections::VecDeque;
use tcp::State;
use turn::{ConnectionSummary, Direction, Engine, Passing, Protection, Service, Tap};

/// Places of the connection table that are looked at after one turn, and connections that are told of: twenty
/// microseconds or so, less than a turn under load.
const PLACES: usize = 1_024;
const CONNECTIONS: usize = 64;

/// Shows packets to a capture.
#[derive(Debug)]
pub(super) struct Shown(pub(super) Box<CaptureSink>);

impl Tap for Shown {
    fn on_packet(&mut self, packet: &Passing<'_>) {
        let parts = packet.pieces();
        let is_outgoing = packet.direction == Direction::Out;
        self.0.offer(packet.at.as_nanos(), is_outgoing, packet.bytes(), packet.headers, parts);
    }
}

/// Pages that were asked for.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// As they came; the first is being worked on. Bounded by the clients that the admin port has at once.
    orders: VecDeque<ListOrder>,
    connections: Vec<Connection>,
    /// The page is ready, and control has no room for it yet.
    ready: Option<Box<Listed>>,
}

impl Lists {
    /// One more is asked for.
    pub(super) fn add(&mut self, order: ListOrder) {
        self.orders.push_back(order);
    }

    /// There is something to go on with: the worker does not sleep.
    pub(super) fn is_busy(&self) -> bool {
        self.ready.is_some() || !self.orders.is_empty()
    }

    /// Goes on a little; a page that is ready, if there is `room` for it.
    pub(super) fn go_on<P: Platform, A: tls::Aead, S: Service>(
        &mut self,
        engine: &Engine<P, A, S>,
        room: usize,
    ) -> Option<Box<Listed>> {
        if self.ready.is_none()
            && let Some(order) = self.orders.front_mut()
        {
            let left = (order.count_max as usize).saturating_sub(self.connections.len());
            let connections = &mut self.connections;
            let listed = engine.list_connections(order.from, PLACES, left.min(CONNECTIONS), &mut |summary| {
                connections.push(connection(&summary));
            });
            let next = match listed {
                turn::Listed::All => None,
                turn::Listed::Until(place) => Some(place),
            };
            match next {
                Some(place) if self.connections.len() < order.count_max as usize => order.from = place,
                next => {
                    let connections = mem::take(&mut self.connections);
                    self.ready = Some(Box::new(Listed { id: order.id, next, connections }));
                    self.orders.pop_front();
                }
            }
        }
        if room > 0 { self.ready.take() } else { None }
    }
}

/// In the words of `ss`.
fn state(state: State) -> &'static str {
    match state {
        State::Closed => "CLOSED",
        State::SynSent => "SYN-SENT",
        State::SynReceived => "SYN-RECV",
        State::Established => "ESTAB",
        State::FinWait1 => "FIN-WAIT-1",
        State::FinWait2 => "FIN-WAIT-2",
        State::CloseWait => "CLOSE-WAIT",
        State::Closing => "CLOSING",
        State::LastAck => "LAST-ACK",
        State::TimeWait => "TIME-WAIT",
    }
}

fn protection(protection: Protection) -> Option<Cow<'static, str>> {
    use tls::{Suite, Version};
    let name = match protection {
        Protection::Plain => return None,
        Protection::Handshaking => "handshake",
        Protection::Tls(Version::Tls12, Suite::Aes128Gcm) => "TLS1.2 AES-128-GCM",
        Protection::Tls(Version::Tls12, Suite::Aes256Gcm) => "TLS1.2 AES-256-GCM",
        Protection::Tls(Version::Tls12, Suite::Chacha20Poly1305) => "TLS1.2 CHACHA20-POLY1305",
        Protection::Tls(Version::Tls13, Suite::Aes128Gcm) => "TLS1.3 AES-128-GCM",
        Protection::Tls(Version::Tls13, Suite::Aes256Gcm) => "TLS1.3 AES-256-GCM",
        Protection::Tls(Version::Tls13, Suite::Chacha20Poly1305) => "TLS1.3 CHACHA20-POLY1305",
    };
    Some(name.into())
}

fn connection(summary: &ConnectionSummary) -> Connection {
    let ConnectionSummary {
        local,
        peer,
        protection: sealed,
        tcp,
        sent_bytes,
        resent_bytes,
        received_bytes,
        reads,
        object,
        ending,
    } = summary;
    let micros = |duration: core::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    Connection {
        local: *local,
        peer: *peer,
        state: state(tcp.state).into(),
        tls: protection(*sealed),
        cwnd: tcp.cwnd,
        ssthresh: (tcp.ssthresh < u32::MAX).then_some(tcp.ssthresh),
        snd_wnd: tcp.snd_wnd,
        mss: tcp.mss,
        srtt_us: tcp.srtt.map(micros),
        rttvar_us: micros(tcp.rttvar),
        rtt_min_us: tcp.rtt_min.map(micros),
        rto_us: micros(tcp.rto),
        pacing_rate: tcp.pacing_rate,
        in_flight: tcp.in_flight,
        lost: tcp.lost,
        unsent: tcp.unsent,
        sent_bytes: *sent_bytes,
        resent_bytes: *resent_bytes,
        retransmitted_segments: tcp.counters.retransmitted_segments,
        timeouts: tcp.counters.timeouts,
        received_bytes: *received_bytes,
        reads: *reads,
        object: object.as_deref().map(|name| printable(name).to_string()),
        ending: ending.map(|end| format!("{end:?}")),
    }
}

/// A name that a peer chose, without what would move a terminal's cursor.
fn printable(name: &[u8]) -> impl fmt::Display + '_ {
    name.escape_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_a_peers_cannot_command_a_terminal() {
        assert_eq!(printable(b"/a\x1b[2Jb\n\xC3\xA9").to_string(), r"/a\x1b[2Jb\n\xc3\xa9");
    }
}
