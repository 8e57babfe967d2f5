//! One worker's answers: the zones in force, and what answers from them, for datagrams and for streams alike.
//!
//! ```text
//!   front   datagrams in the receive batch ─┐
//!                                           ├─▶ desk ─▶ responder ─▶ catalogue in force
//!   service streams, through the engine ────┘             a new one takes its place between two answers
//! ```

use crate::catalogue::Catalogue;
use crate::query_log::{Record, Sampler};
use crate::respond::{Counters as Responses, Glance, Request, Responder, Response, Settings, Transport};
use crate::transfer::outgoing::{Kind, Outgoing};
use control::{Figure, Figures};
use core::net::IpAddr;
use core::time::Duration;
use dma::Pool;
use dns::Name;
use platform::Part;
use std::sync::Arc;

/// What does not change while the server runs.
#[derive(Clone, Debug)]
pub struct Serving {
    /// Ours.
    pub addresses: Vec<IpAddr>,
    /// For datagrams and streams.
    pub port: u16,
    /// How questions are answered.
    pub settings: Settings,
    /// How long a stream may be silent.
    pub idle: Duration,
}

/// What control hands to each worker: all of it immutable, and swapped as a whole.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The zones.
    pub catalogue: Arc<Catalogue>,
    /// The rest.
    pub serving: Arc<Serving>,
}

/// What a worker counts of questions and answers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// By what they asked and how they were answered.
    pub responses: Responses,
    /// What became of frames with datagrams.
    pub datagrams: datagram::Counters,
    /// Answers that the link had no room for.
    pub unsent: u64,
    /// Messages that came in datagrams.
    pub udp: u64,
    /// Messages that came in streams.
    pub tcp: u64,
    /// Streams that were ended because of what came in them.
    pub streams_refused: u64,
    /// Streams that were silent for too long.
    pub streams_idle: u64,
    /// Questions that the log had no room for.
    pub log_dropped: u64,
    /// Transfers that were begun: of a whole zone, of what changed, of nothing.
    pub transfers: [u64; 3],
}

/// Answers for one worker.
#[derive(Debug)]
pub struct Desk {
    catalogue: Arc<Catalogue>,
    responder: Responder,
    log: Option<Sampler>,
    name: Name,
    /// What both ways to it count.
    pub(crate) counters: Counters,
}

impl Desk {
    /// Answers from these zones.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        let catalogue = Arc::clone(&snapshot.catalogue);
        let responder = Responder::new(snapshot.serving.settings.clone(), &catalogue);
        let log = snapshot.serving.settings.log.map(Sampler::new);
        Self { catalogue, responder, log, name: Name::root(), counters: Counters::default() }
    }

    /// From now on answers lie ready in frames of this pool, if the settings want that.
    pub fn replicate(&mut self, pool: &Pool) {
        self.responder.replicate(pool);
    }

    /// From now on, from these.
    pub fn renew(&mut self, catalogue: Arc<Catalogue>) {
        self.catalogue = catalogue;
        if let Some(replicas) = self.responder.replicas_mut() {
            replicas.forget();
        }
    }

    /// Answers one message into `out`, which has room for 512 bytes or more; nothing when there is nothing to be said.
    #[inline]
    pub fn respond(&mut self, request: &Request, message: &[u8], out: &mut [u8]) -> Option<Response> {
        match request.transport {
            Transport::Udp => self.counters.udp += 1,
            Transport::Tcp => self.counters.tcp += 1,
        }
        let response = self.responder.respond(&self.catalogue, request, message, out);
        self.log(request, message, response, out);
        response
    }

    #[inline]
    fn log(&mut self, request: &Request, message: &[u8], response: Option<Response>, out: &[u8]) {
        if let Some(log) = &mut self.log {
            log.on_question(request, message, response.map(|response| &out[..response.bytes]));
        }
    }

    /// The next record for the query log.
    pub fn take_record(&mut self) -> Option<Box<Record>> {
        self.log.as_mut()?.take()
    }

    /// The transfer that a message in a stream asks for, if it does and may.
    pub fn transfer(&mut self, request: &Request, message: &[u8]) -> Option<Box<Outgoing>> {
        let outgoing = Outgoing::open(&self.catalogue, request, message, &mut self.name)?;
        self.counters.tcp += 1;
        self.counters.transfers[match outgoing.kind() {
            Kind::All => 0,
            Kind::Changes => 1,
            Kind::Current => 2,
        }] += 1;
        Some(Box::new(outgoing))
    }

    /// Looks at a message in a datagram that is to be answered soon: see [`Responder::glance`].
    #[inline]
    pub fn glance(&mut self, room: &[u8], bytes: usize) -> Option<Glance> {
        self.responder.glance(&self.catalogue, room, bytes)
    }

    /// Looks up what was glanced at, all of it together.
    #[inline]
    pub fn look_up(&self, glances: &mut [Option<Glance>]) {
        Responder::look_up(&self.catalogue, glances);
    }

    /// Answers a message from a datagram that was glanced at and looked up; no other catalogue came in between.
    #[inline]
    pub fn respond_glanced(
        &mut self,
        request: &Request,
        glance: Option<&Glance>,
        message: &[u8],
        out: &mut [u8],
    ) -> Option<Response> {
        self.counters.udp += 1;
        let response = self.responder.respond_glanced(&self.catalogue, request, glance, message, out);
        if let Some(log) = &mut self.log {
            let replica = self.responder.replicas_mut().and_then(|replicas| replicas.message());
            let out = replica.unwrap_or(out);
            log.on_question(request, message, response.map(|response| &out[..response.bytes]));
        }
        response
    }

    /// The replica that the last answer was written into, as a part of a packet: `write` writes so many bytes of headers
    /// before the message that it is given with them. Nothing when the answer was written into the caller's room.
    #[inline]
    pub(crate) fn close_replica(
        &mut self,
        headers_bytes: usize,
        write: impl FnOnce(&mut [u8]),
    ) -> Option<Part> {
        self.responder.replicas_mut()?.close(headers_bytes, write)
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let log_dropped = self.log.as_ref().map_or(0, Sampler::dropped);
        Counters { responses: self.responder.counters(), log_dropped, ..self.counters }
    }
}

/// Names of the response codes that are counted one by one; what is above NOTAUTH is one.
const RCODES: [&str; 16] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
    "NOTAUTH", "NOTZONE", "11", "12", "13", "14", "other",
];

impl Figures for Counters {
    fn visit(&self, visit: &mut dyn FnMut(Figure)) {
        let Self {
            responses,
            datagrams,
            unsent,
            udp,
            tcp,
            streams_refused,
            streams_idle,
            log_dropped,
            transfers,
        } = *self;
        // In full, so that nothing is counted and not shown.
        let Responses {
            queries: _,
            types,
            prebuilt,
            composed,
            steered,
            dropped,
            rcodes,
            truncated,
            limited,
            slipped,
            cookies_accepted,
            signed,
            signed_wrong,
            transfers_refused,
            notifies,
            notifies_refused,
        } = responses;
        for (transport, value) in [("udp", udp), ("tcp", tcp)] {
            visit(
                Figure::counter("queries", "Messages, by how they came", value)
                    .labelled("transport", transport),
            );
        }
        for (class, value) in crate::respond::TYPES.iter().zip(types) {
            visit(Figure::counter("questions", "Questions, by type", value).labelled("type", class));
        }
        for (rcode, value) in RCODES.iter().zip(rcodes) {
            visit(Figure::counter("responses", "Answers, by response code", value).labelled("rcode", rcode));
        }
        for (how, value) in [("prebuilt", prebuilt), ("composed", composed), ("steered", steered)] {
            let help = "Answers from one ready body, put together from several, or chosen by who asked";
            visit(Figure::counter("answers", help, value).labelled("body", how));
        }
        let help = "Messages that were not answered, by reason";
        let datagram::Counters { asked: _, answered, malformed, spoofed, fragments } = datagrams;
        for (reason, value) in [
            ("no_query", dropped),
            ("rate", limited),
            ("malformed", malformed),
            ("spoofed", spoofed),
            ("fragment", fragments),
            ("link_full", unsent),
        ] {
            visit(Figure::counter("queries_dropped", help, value).labelled("reason", reason));
        }
        for (what, value) in ["all", "changes", "current", "refused"]
            .into_iter()
            .zip(transfers.into_iter().chain([transfers_refused]))
        {
            let help = "Transfers that were asked for, by what was sent";
            visit(Figure::counter("transfers_out", help, value).labelled("sent", what));
        }
        for (of, value) in [("primary", notifies), ("other", notifies_refused)] {
            let help = "Words that a zone has changed, by whose they were";
            visit(Figure::counter("notifies_in", help, value).labelled("of", of));
        }
        for (name, help, value) in [
            ("signatures_accepted", "Questions with a signature of a key of ours", signed),
            ("signatures_refused", "Questions with a signature that does not count", signed_wrong),
            ("datagrams_answered", "Answers in datagrams", answered),
            ("responses_truncated", "Answers that did not fit", truncated),
            ("responses_slipped", "Answers cut short because of their rate", slipped),
            ("cookies_accepted", "Questions with a cookie of ours", cookies_accepted),
            ("query_log_dropped", "Questions that the query log had no room for", log_dropped),
            ("streams_refused", "Streams ended because of what came in them", streams_refused),
            ("streams_idle", "Streams ended because they were silent", streams_idle),
        ] {
            visit(Figure::counter(name, help, value));
        }
    }
}
