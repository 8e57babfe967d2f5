//! A query as it came, or what to answer to something that is none (RFC 8906, RFC 9619).
//!
//! ```text
//! message ─▶ header ─▶ one question ─▶ (authority: the SOA of IXFR) ─▶ additional: OPT, TSIG last ─▶ nothing more
//!     │         │            │                                              │
//!     ▼ dropped ▼ NOTIMP     ▼ FORMERR                                      ▼ FORMERR
//! ```

use crate::edns::Edns;
use crate::header::{Flags, HEADER_BYTES, Header, Opcode, Rcode};
use crate::name::Name;
use crate::record::Record;
use crate::{Class, Rtype};

/// The question of a query. Its name is in the [`Name`] that it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// What is asked for.
    pub qtype: Rtype,
    /// In which class.
    pub qclass: Class,
    /// Where the question ends in the message; it begins behind the header.
    pub end: usize,
    /// The name was sent with a pointer, which no sender needs.
    pub compressed: bool,
}

/// A message that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Its header.
    pub header: Header,
    /// QUERY or NOTIFY.
    pub opcode: Opcode,
    /// What it asks; nothing only in a query for a cookie (RFC 7873 §5.4).
    pub question: Option<Question>,
    /// What it says in its OPT record, if it has one.
    pub edns: Option<Edns>,
    /// Where its TSIG record begins, if it has one.
    pub tsig: Option<usize>,
    /// Where its first record behind the question begins: of IXFR, the SOA that the client has.
    pub records: usize,
}

/// What to do with a message that is not a query we can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing: fewer bytes than a header.
    TooShort,
    /// Nothing: it is a response, and answering it would begin a conversation of servers.
    Response,
    /// Answer with this code; the question is echoed when it could be read and the opcode is known.
    Answer {
        /// FORMERR, NOTIMP.
        rcode: Rcode,
        /// The question, when it was read.
        question: Option<Question>,
    },
}

const fn formerr(question: Option<Question>) -> Refusal {
    Refusal::Answer { rcode: Rcode::FORMERR, question }
}

/// Reads a query. The folded name of its question is left in `name`.
///
/// # Errors
/// What RFC 8906 wants done with this message instead.
#[inline]
pub fn parse(message: &[u8], name: &mut Name) -> Result<Query, Refusal> {
    let header = Header::parse(message).ok_or(Refusal::TooShort)?;
    if header.flags.has(Flags::QR) {
        return Err(Refusal::Response);
    }
    let opcode = header.flags.opcode();
    if !matches!(opcode, Opcode::QUERY | Opcode::NOTIFY) {
        // RFC 8906 §3.1.4: what follows is not to be looked at.
        return Err(Refusal::Answer { rcode: Rcode::NOTIMP, question: None });
    }
    let question = match header.qdcount {
        1 => Some(read_question(message, name)?),
        // Allowed for cookies alone, which is seen below.
        0 => None,
        _ => return Err(formerr(None)),
    };
    let records = question.map_or(HEADER_BYTES, |question| question.end);
    let mut query = Query { header, opcode, question, edns: None, tsig: None, records };
    if header.ancount == 0 && header.nscount == 0 && question.is_some() {
        let rest = message.get(records..).unwrap_or_default();
        match (header.arcount, rest) {
            (0, []) => return Ok(query),
            // Nothing but an OPT record without options: what most resolvers send.
            (1, &[0, 0, 41, s0, s1, _, version, z0, z1, 0, 0]) => {
                let ttl = u32::from_be_bytes([0, version, z0, z1]);
                query.edns = Some(Edns::from_fixed(u16::from_be_bytes([s0, s1]), ttl));
                return Ok(query);
            }
            _ => {}
        }
    }
    read_records(message, &mut query)?;
    if question.is_none() && query.edns.is_none_or(|edns| edns.cookie.is_none()) {
        return Err(formerr(None));
    }
    Ok(query)
}

#[inline]
fn read_question(message: &[u8], name: &mut Name) -> Result<Question, Refusal> {
    let span = name.read(message, HEADER_BYTES).map_err(|_| formerr(None))?;
    let Some(&[t0, t1, c0, c1]) = message.get(span.end..).and_then(|rest| rest.first_chunk::<4>()) else {
        return Err(formerr(None));
    };
    Ok(Question {
        qtype: Rtype(u16::from_be_bytes([t0, t1])),
        qclass: Class(u16::from_be_bytes([c0, c1])),
        end: span.end + 4,
        compressed: span.compressed,
    })
}

/// Everything behind the question. At most as many records as the message has bytes for.
fn read_records(message: &[u8], query: &mut Query) -> Result<(), Refusal> {
    let Header { ancount, nscount, arcount, .. } = query.header;
    let bad = formerr(query.question);
    // Only IXFR (RFC 1995 §3) and NOTIFY (RFC 1996 §3.7) say something in these sections.
    let is_ixfr = query.question.is_some_and(|question| question.qtype == Rtype::IXFR);
    let is_notify = query.opcode == Opcode::NOTIFY;
    if ancount > 0 && !is_notify || nscount > 0 && !is_ixfr && !is_notify {
        return Err(bad);
    }
    let mut at = query.records;
    for _ in 0..u32::from(ancount) + u32::from(nscount) {
        at = Record::parse(message, at).map_err(|_| bad)?.end;
    }
    for index in 1..=arcount {
        let record = Record::parse(message, at).map_err(|_| bad)?;
        match record.rtype {
            Rtype::OPT => {
                // RFC 6891 §6.1.1: one of them, owned by the root.
                if query.edns.is_some() || message[record.start] != 0 {
                    return Err(bad);
                }
                let mut edns = Edns::from_fixed(record.class.0, record.ttl);
                // RFC 6891 §6.1.3: what another version's options mean is not ours to judge.
                if edns.version == 0 {
                    edns.read_options(record.data(message)).map_err(|_| bad)?;
                }
                query.edns = Some(edns);
            }
            Rtype::TSIG => {
                // RFC 8945 §5.1: the last record, or none.
                if index != arcount {
                    return Err(bad);
                }
                query.tsig = Some(record.start);
            }
            _ => {}
        }
        at = record.end;
    }
    // RFC 8906 §4: bytes that no section counts.
    if at == message.len() { Ok(()) } else { Err(bad) }
}

#[cfg(test)]
mod tests;
