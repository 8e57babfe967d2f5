//! Connections as people look at them, a few places of the table at a time.

use alloc::boxed::Box;
use core::net::SocketAddr;

use crate::flow::{Flow, Security};
use crate::service::{End, Service};
use crate::worker::Core;

/// One line of an `ss`-like list.
#[derive(Clone, Debug)]
pub struct ConnectionSummary {
    /// Our end.
    pub local: SocketAddr,
    /// The peer's.
    pub peer: SocketAddr,
    /// What lies between the service and TCP.
    pub protection: Protection,
    /// What TCP knows: state, windows, round-trip time, retransmissions.
    pub tcp: tcp::Info,
    /// Stream bytes sent for the first time.
    pub sent_bytes: u64,
    /// Stream bytes sent again.
    pub resent_bytes: u64,
    /// Stream bytes received in order.
    pub received_bytes: u64,
    /// Reads on their way.
    pub reads: u32,
    /// What the service is answering with, as it names it.
    pub object: Option<Box<[u8]>>,
    /// Why it is ending, when it is.
    pub ending: Option<End>,
}

/// Whether and how a connection is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// It is not.
    Plain,
    /// It is being agreed on.
    Handshaking,
    /// It is, with this.
    Tls(tls::Version, tls::Suite),
}

/// How far a list has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Nothing comes behind this.
    All,
    /// It goes on at this place.
    Until(u32),
}

impl<A: tls::Aead, S: Service> Core<A, S> {
    /// See [`Engine::list_connections`](crate::Engine::list_connections).
    pub(crate) fn list(
        &self,
        from: u32,
        places_max: usize,
        count_max: usize,
        tell: &mut dyn FnMut(ConnectionSummary),
    ) -> Listed {
        let mut place = from;
        let mut count = 0;
        for (looked, flow) in self.flows.places(from).enumerate() {
            if looked >= places_max || count >= count_max {
                return Listed::Until(place);
            }
            if let Some(flow) = flow {
                tell(self.summary(flow));
                count += 1;
            }
            place = place.saturating_add(1);
        }
        Listed::All
    }

    fn summary(&self, flow: &Flow<S::Session>) -> ConnectionSummary {
        ConnectionSummary {
            local: flow.local(),
            peer: flow.peer(),
            protection: match &flow.security {
                Security::Plain => Protection::Plain,
                Security::Handshaking(_) => Protection::Handshaking,
                Security::Established(records) => {
                    Protection::Tls(records.sealer.version(), records.sealer.suite())
                }
            },
            tcp: flow.tcp.info(),
            sent_bytes: flow.sent_bytes,
            resent_bytes: flow.resent_bytes,
            received_bytes: flow.received_bytes,
            reads: flow.outbound.as_ref().map_or(0, |outbound| outbound.fetches),
            object: flow.session.as_ref().and_then(|session| self.service.object(session)).map(Box::from),
            ending: flow.end,
        }
    }
}
