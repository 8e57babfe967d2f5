//! Questions that are signed (RFC 8945), and those of other servers: transfers in a datagram, and word of a change.
//!
//! A signed question is answered as if it were not, with room left for the signature that the answer gets. One whose
//! signature does not count is told why, and nothing else.

use super::compose::Reply;
use super::{Answered, Request, Responder, Response, Transport};
use crate::catalogue::Catalogue;
use crate::rrl::Kind;
use crate::transfer::notice::Notice;
use dns::header::HEADER_BYTES;
use dns::query::{Query, Question};
use dns::record::{Record, uncompress_data};
use dns::tsig::{Transaction, Tsig, TsigError, refuse};
use dns::{Class, Opcode, Rcode, Rtype};
use wire::checksum::Sum;

/// Room that an answer has in any case: a header and the longest question.
const ROOM_MIN: usize = 300;

impl Responder {
    /// Answers a question whose signature begins at `start`.
    #[cold]
    pub(super) fn signed(
        &mut self,
        catalogue: &Catalogue,
        request: &Request,
        message: &[u8],
        (query, start): (&Query, usize),
        out: &mut [u8],
    ) -> Option<Response> {
        let now = u64::from(request.unix);
        let keys = catalogue.policy().keys();
        let mut transaction = match Transaction::accept(keys, message, start, now) {
            Ok(transaction) => transaction,
            Err(error) => return self.not_believed(catalogue, request, message, (query, start, error), out),
        };
        self.counters.signed += 1;
        let mut plain = message[..start].to_vec();
        let arcount = query.header.arcount.saturating_sub(1);
        plain[10..HEADER_BYTES].copy_from_slice(&arcount.to_be_bytes());
        let limit = self.limit_of(request, query).min(out.len());
        let room = limit.saturating_sub(transaction.record_bytes()).max(ROOM_MIN).min(out.len());
        self.signer = Some(transaction.key_name().into());
        let response = self.respond_to(catalogue, request, &plain, &mut out[..room]);
        self.signer = None;
        let mut answer = out[..response?.bytes].to_vec();
        transaction.sign(&mut answer, now);
        put(&answer, out)
    }

    /// NOTAUTH, and in the record of the signature what is wrong with it (RFC 8945 §5.2).
    fn not_believed(
        &mut self,
        catalogue: &Catalogue,
        request: &Request,
        message: &[u8],
        (query, start, error): (&Query, usize, TsigError),
        out: &mut [u8],
    ) -> Option<Response> {
        self.counters.signed_wrong += 1;
        let tsig = Tsig::parse(message, start).ok().filter(|_| error != TsigError::Malformed);
        let Some(tsig) = tsig else {
            return self.refuse(request, message, query.question, Rcode::FORMERR, out);
        };
        let response = self.refuse(request, message, query.question, Rcode::NOTAUTH, out)?;
        let mut answer = out[..response.bytes].to_vec();
        refuse(&mut answer, &tsig, catalogue.policy().keys(), error, u64::from(request.unix));
        put(&answer, out)
    }

    /// A transfer that did not come as one: over UDP, or refused.
    pub(super) fn transfer(
        &mut self,
        catalogue: &Catalogue,
        question: &Question,
        reply: &mut Reply<'_>,
        request: &Request,
    ) -> Answered {
        let say = |rcode, authoritative| Answered { rcode, authoritative, kind: Kind::Error };
        if question.qtype == Rtype::AXFR && request.transport == Transport::Udp {
            // RFC 5936 §4.2: there is no such thing.
            return say(Rcode::FORMERR, false);
        }
        let Some(zone) = catalogue.zone(self.name.wire()) else {
            // RFC 5936 §2.2.1.
            return say(Rcode::NOTAUTH, false);
        };
        if !catalogue.policy().may_transfer(zone.apex(), request.source, self.signer.as_deref()) {
            self.counters.transfers_refused += 1;
            return say(Rcode::REFUSED, false);
        }
        if zone.is_withheld() {
            return say(Rcode::SERVFAIL, false);
        }
        // RFC 1995 §2: what does not fit a datagram is answered with the SOA, and asked for again over TCP. We say so of
        // everything.
        match zone.apex_node().entry(Rtype::SOA) {
            Some(entry) => reply.prebuilt(&entry.plain()),
            None => return say(Rcode::SERVFAIL, false),
        }
        say(Rcode::NOERROR, true)
    }

    /// A primary says that a zone has changed (RFC 1996).
    pub(super) fn notified(
        &mut self,
        catalogue: &Catalogue,
        request: &Request,
        message: &[u8],
        query: &Query,
        question: &Question,
    ) -> Answered {
        let say = |rcode, authoritative| Answered { rcode, authoritative, kind: Kind::Error };
        debug_assert_eq!(query.opcode, Opcode::NOTIFY, "asked before");
        if question.qclass != Class::IN || question.qtype != Rtype::SOA {
            return say(Rcode::NOTIMP, false);
        }
        let apex = self.name.wire();
        if catalogue.zone(apex).is_none() {
            return say(Rcode::NOTAUTH, false);
        }
        if !catalogue.policy().may_notify(apex, request.source, self.signer.as_deref()) {
            self.counters.notifies_refused += 1;
            return say(Rcode::REFUSED, false);
        }
        self.counters.notifies += 1;
        if let Some(notices) = &self.settings.notices {
            let serial = if query.header.ancount > 0 { serial_at(message, query.records) } else { None };
            notices.leave(Notice { apex: apex.into(), source: request.source, serial });
        }
        say(Rcode::NOERROR, true)
    }
}

/// The serial of the SOA record that stands there.
fn serial_at(message: &[u8], start: usize) -> Option<u32> {
    let record = Record::parse(message, start).ok().filter(|record| record.rtype == Rtype::SOA)?;
    let mut rdata = Vec::new();
    uncompress_data(message, &record, &mut rdata).ok()?;
    let numbers = rdata.len().checked_sub(20)?;
    rdata[numbers..].first_chunk::<4>().map(|serial| u32::from_be_bytes(*serial))
}

fn put(answer: &[u8], out: &mut [u8]) -> Option<Response> {
    out.get_mut(..answer.len())?.copy_from_slice(answer);
    Some(Response { bytes: answer.len(), sum: Sum::of(answer) })
}
