//! A query in, an answer out.
//!
//! ```text
//! query ─▶ `ready`: an ordinary question, its answer in one piece: many at a time
//!            │ or else
//!            ▼
//!          parse ─▶ zone ─▶ node ─▶ entry ─▶ ┌ header ┬ question, as it came ┬ body ┬ OPT ┐   one hash, one pass
//!            │        │       └ no such node, CNAME …: `resolve` puts prebuilt records together
//!            │        └ no zone: REFUSED
//!            └ no query: what RFC 8906 says
//! ```

mod chaos;
mod compose;
mod opt;
mod proof;
mod ready;
mod resolve;
pub mod settings;
mod signed;

use crate::catalogue::Catalogue;
use crate::hash::Suffixes;
use crate::replicas::Replicas;
use crate::rrl::{Kind, Limiter, Verdict};
use crate::zone::Found;
use compose::Reply;
use core::net::IpAddr;
use dns::edns::{Edns, OPT_BYTES};
use dns::header::HEADER_BYTES;
use dns::query::{self, Query, Question, Refusal};
use dns::{Class, Name, Opcode, Rcode, Rtype};
use opt::Opt;
pub use ready::{Glance, SLACK_BYTES, TOGETHER};
pub use settings::Settings;
use wire::checksum::Sum;

/// How a query came, which bounds its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram: 512 bytes, or what EDNS allows.
    Udp,
    /// In a stream: 65,535 bytes; and the sender is who it says it is.
    Tcp,
}

/// What is known of a query besides its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// Whom it comes from, or claims to.
    pub source: IpAddr,
    /// How it came.
    pub transport: Transport,
    /// Now: milliseconds since any beginning, for rates.
    pub now_ms: u64,
    /// Now: seconds since 1970, for cookies.
    pub unix: u32,
}

/// An answer in the caller's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Response {
    /// How many bytes it has.
    pub bytes: usize,
    /// Their sum, to go on to a UDP checksum.
    pub sum: Sum,
}

/// The types that questions are counted by; the last one stands for all others.
pub const TYPES: [&str; 12] =
    ["A", "AAAA", "NS", "SOA", "CNAME", "MX", "TXT", "PTR", "SRV", "HTTPS", "DNSSEC", "other"];

const fn type_index(qtype: Rtype) -> usize {
    match qtype {
        Rtype::A => 0,
        Rtype::AAAA => 1,
        Rtype::NS => 2,
        Rtype::SOA => 3,
        Rtype::CNAME => 4,
        Rtype::MX => 5,
        Rtype::TXT => 6,
        Rtype::PTR => 7,
        Rtype::SRV => 8,
        Rtype::HTTPS => 9,
        Rtype::DS | Rtype::DNSKEY | Rtype::RRSIG | Rtype::NSEC | Rtype::NSEC3 | Rtype::NSEC3PARAM => 10,
        _ => 11,
    }
}

/// What came in and what went out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages of every kind.
    pub queries: u64,
    /// Questions by type, in the order of [`TYPES`].
    pub types: [u64; TYPES.len()],
    /// Answered from one prebuilt body.
    pub prebuilt: u64,
    /// Put together from several.
    pub composed: u64,
    /// Chosen by who asked.
    pub steered: u64,
    /// Responses, and messages shorter than a header: dropped.
    pub dropped: u64,
    /// Answers by response code, 0 to 15; what is above counts as 15.
    pub rcodes: [u64; 16],
    /// Answers that did not fit.
    pub truncated: u64,
    /// Queries that were not answered because of their rate.
    pub limited: u64,
    /// Queries that were answered with TC because of their rate.
    pub slipped: u64,
    /// Queries with a cookie of ours.
    pub cookies_accepted: u64,
    /// Queries with a signature that counts.
    pub signed: u64,
    /// Queries with one that does not.
    pub signed_wrong: u64,
    /// Transfers that were asked for by whoever may not have them.
    pub transfers_refused: u64,
    /// Words of primaries that a zone has changed.
    pub notifies: u64,
    /// The same of those who are none.
    pub notifies_refused: u64,
}

/// Answers queries. One for each worker: it holds what is written again and again.
#[derive(Debug)]
pub struct Responder {
    settings: Settings,
    name: Name,
    hashes: Suffixes,
    /// The name that a chain has led to.
    chain: Name,
    chain_hashes: Suffixes,
    limiter: Option<Limiter>,
    counters: Counters,
    opt_room: Box<opt::Room>,
    bare_opts: [([u8; OPT_BYTES], Sum); 2],
    /// The key that the query was signed with.
    signer: Option<Box<[u8]>>,
    /// How much of the client's network the answer depended on.
    scope: u8,
    replicas: Option<Replicas>,
}

/// How a question was answered, before it is known whether all of it fits.
struct Answered {
    rcode: Rcode,
    authoritative: bool,
    /// What kind of answer it is, to the limiter.
    kind: Kind,
}

impl Responder {
    /// A responder for the catalogues that were made with the same key and form as this one.
    #[must_use]
    pub fn new(settings: Settings, catalogue: &Catalogue) -> Self {
        let hashes = Suffixes::new(catalogue.key(), catalogue.form());
        Self {
            limiter: settings.rate.map(Limiter::new),
            bare_opts: ready::bare_opts(settings.udp_bytes_max),
            settings,
            name: Name::root(),
            chain: Name::root(),
            chain_hashes: hashes.clone(),
            hashes,
            counters: Counters::default(),
            opt_room: Box::new(opt::EMPTY),
            signer: None,
            scope: 0,
            replicas: None,
        }
    }

    /// From now on answers lie ready in frames of this pool, if the settings want that.
    pub(crate) fn replicate(&mut self, pool: &dma::Pool) {
        let frames = self.settings.replicas;
        self.replicas = (frames > 0).then(|| Replicas::new(pool.clone(), frames));
    }

    /// The answers that lie ready, one of which may be open since a message was answered.
    #[inline]
    pub(crate) const fn replicas_mut(&mut self) -> Option<&mut Replicas> {
        self.replicas.as_mut()
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Answers `message` into `out`; nothing when there is nothing to be said.
    ///
    /// # Panics
    /// `out` has no room for 512 bytes.
    pub fn respond(
        &mut self,
        catalogue: &Catalogue,
        request: &Request,
        message: &[u8],
        out: &mut [u8],
    ) -> Option<Response> {
        assert!(out.len() >= 512, "an answer takes 512 bytes or more");
        self.counters.queries += 1;
        self.respond_to(catalogue, request, message, out)
    }

    #[inline]
    fn respond_to(
        &mut self,
        catalogue: &Catalogue,
        request: &Request,
        message: &[u8],
        out: &mut [u8],
    ) -> Option<Response> {
        self.scope = 0;
        let query = match query::parse(message, &mut self.name) {
            Ok(query) => query,
            Err(Refusal::TooShort | Refusal::Response) => {
                self.counters.dropped += 1;
                return None;
            }
            Err(Refusal::Answer { rcode, question }) => {
                return self.refuse(request, message, question, rcode, out);
            }
        };
        if let Some(start) = query.tsig {
            return self.signed(catalogue, request, message, (&query, start), out);
        }
        let Some(question) = query.question else { return self.cookie_only(request, message, &query, out) };
        self.counters.types[type_index(question.qtype)] += 1;
        let opt = query.edns.map(|edns| self.opt_of(catalogue, request, edns));
        if opt.as_ref().is_some_and(Opt::is_trusted) {
            self.counters.cookies_accepted += 1;
        }
        let limit = self.limit_of(request, &query);
        let mut reply = Reply::begin(out, message, &query.header, &question, &self.name);
        reply.limit(limit.min(reply.capacity()), opt.as_ref().map_or(0, Opt::bytes));
        if query.edns.is_some_and(|edns| edns.version != 0) {
            return Some(self.finish(reply, opt, Rcode::BADVERS, false));
        }
        let ordinary = query.opcode == Opcode::QUERY && matches!(question.qclass, Class::IN | Class::ANY);
        let answered = if ordinary {
            match self.answer(catalogue, &query, &question, &mut reply, request) {
                Ok(answered) => answered,
                Err(()) => Answered { rcode: Rcode::REFUSED, authoritative: false, kind: Kind::Error },
            }
        } else if query.opcode == Opcode::NOTIFY {
            self.notified(catalogue, request, message, &query, &question)
        } else if query.opcode == Opcode::QUERY && question.qclass == Class::CH {
            let rcode = chaos::answer(&self.settings, &self.name, question.qtype, &mut reply);
            Answered { rcode, authoritative: rcode == Rcode::NOERROR, kind: Kind::Error }
        } else {
            Answered { rcode: Rcode::REFUSED, authoritative: false, kind: Kind::Error }
        };
        // RFC 1034 §4.3.1: an answer that may not be all of them is not authoritative.
        let authoritative = answered.authoritative && question.qclass != Class::ANY;
        if let Some(verdict) = self.limit(request, opt.as_ref(), answered.kind, answered.rcode) {
            match verdict {
                Verdict::Drop => {
                    self.counters.limited += 1;
                    return None;
                }
                Verdict::Slip => {
                    self.counters.slipped += 1;
                    reply.truncate();
                    return Some(self.finish(reply, opt.map(Opt::bare), Rcode::NOERROR, false));
                }
            }
        }
        let mut opt = opt;
        if let Some(opt) = &mut opt {
            opt.set_scope(self.scope, &mut self.opt_room);
            let why = match answered.rcode {
                // RFC 8914 §4.19: prohibited; §4.21: not authoritative; §4.15: not ready.
                Rcode::REFUSED if matches!(question.qtype, Rtype::AXFR | Rtype::IXFR) => Some(18),
                Rcode::REFUSED => Some(20),
                Rcode::SERVFAIL => Some(14),
                _ => None,
            };
            opt.explain(why, reply.room(), &mut self.opt_room);
        }
        Some(self.finish(reply, opt, answered.rcode, authoritative))
    }

    /// Our OPT record for a query with that one.
    #[inline]
    fn opt_of(&mut self, catalogue: &Catalogue, request: &Request, mut edns: Edns) -> Opt {
        // RFC 7871 §7.2.1: who does not take a resolver's word does not send the option back.
        if edns.ecs.is_some() && catalogue.steering().is_some_and(|steering| !steering.heeds(request.source))
        {
            edns.ecs = None;
        }
        Opt::new(&self.settings, &edns, request, &mut self.opt_room)
    }

    /// How long an answer may be.
    #[inline]
    fn limit_of(&self, request: &Request, query: &Query) -> usize {
        match (request.transport, query.edns) {
            (Transport::Tcp, _) => usize::from(u16::MAX),
            (Transport::Udp, Some(edns)) => usize::from(edns.udp_bytes.min(self.settings.udp_bytes_max)),
            (Transport::Udp, None) => 512,
        }
    }

    /// Answers a message from a datagram that was glanced at, and looked up in this catalogue, before: into `out`, or into a
    /// replica, which is then open and no other can be until it is closed.
    ///
    /// # Panics
    /// As [`respond`](Self::respond).
    #[inline]
    pub fn respond_glanced(
        &mut self,
        catalogue: &Catalogue,
        request: &Request,
        glance: Option<&Glance>,
        message: &[u8],
        out: &mut [u8],
    ) -> Option<Response> {
        if let Some(glance) = glance {
            match self.ready(catalogue, request, glance, message, out) {
                ready::Outcome::Answer(response) => return Some(response),
                ready::Outcome::Silent => return None,
                ready::Outcome::NotReady => {}
            }
        }
        self.respond(catalogue, request, message, out)
    }

    /// Counts, and completes header and OPT.
    #[inline]
    fn finish(
        &mut self,
        mut reply: Reply<'_>,
        opt: Option<Opt>,
        rcode: Rcode,
        authoritative: bool,
    ) -> Response {
        self.counters.rcodes[usize::from(rcode.0.min(15))] += 1;
        self.counters.truncated += u64::from(reply.is_truncated());
        if let Some(opt) = opt {
            reply.append_opt(opt.emit(rcode.high(), &mut self.opt_room));
        }
        reply.finish(rcode, authoritative)
    }

    /// Whether this answer is one too many of its kind.
    fn limit(&mut self, request: &Request, opt: Option<&Opt>, kind: Kind, rcode: Rcode) -> Option<Verdict> {
        let limiter = self.limiter.as_mut()?;
        if request.transport == Transport::Tcp || opt.is_some_and(Opt::is_trusted) {
            return None;
        }
        let hash = match kind {
            // Every name below a zone that does not exist is one answer, or random names would each have a rate.
            Kind::Negative(zone) => zone,
            Kind::Referral(cut) => cut,
            Kind::Positive => self.hashes.suffix(0),
            Kind::Error => u64::from(rcode.0),
        };
        limiter.verdict(request.source, kind.index(), hash, request.now_ms)
    }

    /// The answer to a question in class IN, in the reply. Nothing when no zone of ours has the name.
    #[inline]
    fn answer(
        &mut self,
        catalogue: &Catalogue,
        query: &Query,
        question: &Question,
        reply: &mut Reply<'_>,
        request: &Request,
    ) -> Result<Answered, ()> {
        self.hashes.fill(&self.name);
        let qtype = question.qtype;
        if matches!(qtype, Rtype::AXFR | Rtype::IXFR) {
            return Ok(self.transfer(catalogue, question, reply, request));
        }
        let mut zone = catalogue.deepest(&self.name, &self.hashes, 0).ok_or(())?;
        if qtype == Rtype::DS && zone.apex_labels() == self.name.labels() && zone.apex_labels() > 0 {
            // RFC 4035 §3.1.4.1: the parent speaks of it, if it is here too and knows of the child. One that does not
            // would deny the name, and with it everything below (RFC 8020).
            let parent = catalogue.deepest(&self.name, &self.hashes, 1);
            zone = parent.filter(|parent| parent.delegates(&self.name, &self.hashes)).unwrap_or(zone);
        }
        if zone.is_withheld() {
            return Ok(Answered { rcode: Rcode::SERVFAIL, authoritative: false, kind: Kind::Error });
        }
        let dnssec = query.edns.is_some_and(|edns| edns.dnssec);
        let found = zone.locate(&self.name, &self.hashes);
        let steered =
            catalogue.steering().filter(|_| matches!(qtype, Rtype::A | Rtype::AAAA)).map(|steering| {
                let subnet = query.edns.as_ref().and_then(|edns| edns.ecs.as_ref());
                (steering, steering.client(request.source, subnet))
            });
        if let (Found::Exact(..), Some((steering, client))) = (found, steered)
            && let Some(steered) = steering.answer(&self.name, &self.hashes, qtype, client)
        {
            self.scope = steered.scope;
            if let Some(variant) = steered.variant {
                self.counters.steered += 1;
                reply.prebuilt(&variant);
                return Ok(Answered { rcode: Rcode::NOERROR, authoritative: true, kind: Kind::Positive });
            }
        }
        if let Found::Exact(_, node) = found
            && !qtype.is_meta()
            && let Some(entry) = node.entry(qtype)
        {
            self.counters.prebuilt += 1;
            reply.prebuilt(&entry.variant(dnssec));
            return Ok(Answered { rcode: Rcode::NOERROR, authoritative: true, kind: Kind::Positive });
        }
        match qtype {
            Rtype::MAILA | Rtype::MAILB | Rtype::TKEY | Rtype::TSIG | Rtype::OPT => {
                let rcode = match qtype {
                    // RFC 6891 and 8945: OPT and TSIG are no data.
                    Rtype::OPT | Rtype::TSIG => Rcode::FORMERR,
                    _ => Rcode::NOTIMP,
                };
                return Ok(Answered { rcode, authoritative: false, kind: Kind::Error });
            }
            _ => {}
        }
        // What remains is put together, but for referrals and plain denials, which lie there as well.
        if let Found::Cut(_, node) = found
            && qtype != Rtype::DS
            && let Some(entry) = node.entry(Rtype::NS)
            && (!dnssec || zone.nsec3().is_none() || node.entry(Rtype::DS).is_some())
        {
            self.counters.prebuilt += 1;
            let cut_bytes = node.name().len() + zone.apex().len();
            reply.referral(&entry.variant(dnssec), self.name.len() - cut_bytes);
            let below = self.name.labels() - node.labels() - zone.apex_labels();
            let kind = Kind::Referral(self.hashes.suffix(below));
            return Ok(Answered { rcode: Rcode::NOERROR, authoritative: false, kind });
        }
        self.counters.composed += 1;
        let any_is_minimal = self.settings.any_is_minimal;
        Ok(resolve::Resolve {
            say: resolve::Say { zone, qtype, dnssec, any_is_minimal, steered, scope: &mut self.scope, reply },
            question: &self.name,
            hashes: &self.hashes,
            chain: &mut self.chain,
            chain_hashes: &mut self.chain_hashes,
        }
        .run())
    }

    /// An answer to something that is no query.
    fn refuse(
        &mut self,
        request: &Request,
        message: &[u8],
        question: Option<Question>,
        rcode: Rcode,
        out: &mut [u8],
    ) -> Option<Response> {
        let header = dns::Header::parse(message)?;
        if let Some(verdict) = self.limit(request, None, Kind::Error, rcode) {
            // An answer to what we could not read is no larger with TC than without.
            self.counters.limited += u64::from(verdict == Verdict::Drop);
            if verdict == Verdict::Drop {
                return None;
            }
        }
        let reply = match question {
            Some(question) => Reply::begin(out, message, &header, &question, &self.name),
            None => Reply::headed(out, &header),
        };
        Some(self.finish(reply, None, rcode, false))
    }

    /// RFC 7873 §5.4: a client that only wants a cookie.
    fn cookie_only(
        &mut self,
        request: &Request,
        message: &[u8],
        query: &Query,
        out: &mut [u8],
    ) -> Option<Response> {
        debug_assert!(message.len() >= HEADER_BYTES, "it was parsed");
        if self.limit(request, None, Kind::Error, Rcode::NOERROR).is_some() {
            self.counters.limited += 1;
            return None;
        }
        let opt = query.edns.map(|edns| Opt::new(&self.settings, &edns, request, &mut self.opt_room));
        let mut reply = Reply::headed(out, &query.header);
        reply.limit(512, opt.as_ref().map_or(0, Opt::bytes));
        Some(self.finish(reply, opt, Rcode::NOERROR, false))
    }
}
