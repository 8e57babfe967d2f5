//! The query log, in the worker: one question in so many, and the odd ones, copied for whoever writes them down.
//!
//! ```text
//! desk: question, answer ─▶ one in N? odd? ─▶ at most 256 records ─▶ the worker's ring ─▶ control ─▶ JSON or dnstap
//!                                                  └ full: counted, and nothing is copied
//! ```
//!
//! Nothing here waits, and what is not logged costs a count. A record is memory of its own: of answers longer than
//! [`MESSAGE_BYTES_MAX`] only the header is kept.

use crate::respond::{Request, Transport};
use core::net::IpAddr;
use core::num::NonZeroU32;
use core::time::Duration;
use dns::edns::Edns;
use dns::{Class, Flags, Header, Name, Rcode, Rtype, query};
use serde_json::json;
use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

/// Records that may wait for control.
const WAITING_MAX: usize = 256;
/// The longest message that is kept whole.
pub const MESSAGE_BYTES_MAX: usize = 4_096;

/// What is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// One question in so many.
    pub every: NonZeroU32,
    /// Every odd one as well: an error, a truncated answer, or none.
    pub odd: bool,
}

/// Why a question was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It was its turn.
    Sample,
    /// It was answered with an error, cut short, or not at all.
    Odd,
}

/// A question and what was said to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When, since 1970.
    pub time: Duration,
    /// Whom it came from, or claimed to.
    pub source: IpAddr,
    /// How it came.
    pub transport: Transport,
    /// Why it is here.
    pub why: Why,
    /// The question, as it came; cut at [`MESSAGE_BYTES_MAX`].
    pub question: Box<[u8]>,
    /// The answer's header; nothing when there was no answer.
    pub header: Option<Header>,
    /// How many bytes the answer had.
    pub answer_bytes: u16,
    /// The answer; nothing when there was none, or it was longer than [`MESSAGE_BYTES_MAX`].
    pub answer: Box<[u8]>,
}

/// A worker's part of the log.
#[derive(Debug)]
pub(crate) struct Sampler {
    rule: Rule,
    /// Questions until the next one's turn.
    left: u32,
    waiting: VecDeque<Box<Record>>,
    dropped: u64,
}

impl Sampler {
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule, left: rule.every.get(), waiting: VecDeque::new(), dropped: 0 }
    }

    /// A question was answered like that, or not at all.
    #[inline]
    pub(crate) fn on_question(&mut self, request: &Request, question: &[u8], answer: Option<&[u8]>) {
        self.left -= 1;
        let sampled = self.left == 0;
        if sampled {
            self.left = self.rule.every.get();
        }
        if sampled || self.rule.odd && is_odd(answer) {
            self.keep(request, question, answer, if sampled { Why::Sample } else { Why::Odd });
        }
    }

    #[cold]
    fn keep(&mut self, request: &Request, question: &[u8], answer: Option<&[u8]>, why: Why) {
        if self.waiting.len() >= WAITING_MAX {
            self.dropped += 1;
            return;
        }
        let Request { source, transport, .. } = *request;
        let kept = answer.filter(|answer| answer.len() <= MESSAGE_BYTES_MAX).unwrap_or_default();
        self.waiting.push_back(Box::new(Record {
            time: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            source,
            transport,
            why,
            question: question[..question.len().min(MESSAGE_BYTES_MAX)].into(),
            header: answer.and_then(Header::parse),
            answer_bytes: u16::try_from(answer.map_or(0, <[u8]>::len)).unwrap_or(u16::MAX),
            answer: kept.into(),
        }));
    }

    /// The next record.
    pub(crate) fn take(&mut self) -> Option<Box<Record>> {
        self.waiting.pop_front()
    }

    /// Records that found no room.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// An error, or cut short: in the first four bytes.
#[inline]
fn is_odd(answer: Option<&[u8]>) -> bool {
    match answer {
        Some(&[_, _, upper, lower, ..]) => {
            let rcode = Rcode((lower & 15).into());
            upper & 2 != 0 || rcode != Rcode::NOERROR && rcode != Rcode::NXDOMAIN
        }
        _ => true,
    }
}

impl Record {
    /// Writes it as one line of JSON, without the line feed.
    pub fn write_json(&self, line: &mut Vec<u8>) {
        let Self { time, source, transport, why, question, header, answer_bytes, answer: _ } = self;
        let mut name = Name::root();
        let asked = query::parse(question, &mut name).ok();
        let of_question = asked.as_ref().and_then(|query| query.question.as_ref());
        let ecs = asked.and_then(|query| query.edns).as_ref().and_then(|edns: &Edns| edns.ecs);
        let flags: Vec<&str> = [(Flags::AA, "aa"), (Flags::TC, "tc"), (Flags::RD, "rd")]
            .into_iter()
            .filter(|(bit, _)| header.is_some_and(|header| header.flags.has(*bit)))
            .map(|(_, name)| name)
            .collect();
        let rcode = header.map(|header| {
            let rcode = header.flags.rcode();
            rcode.mnemonic().map_or_else(|| rcode.0.to_string(), str::to_owned)
        });
        let value = json!({
            "time": time.as_secs_f64(),
            "client": source.to_string(),
            "transport": match transport { Transport::Udp => "udp", Transport::Tcp => "tcp" },
            "name": of_question.map(|_| dns::name::Presentation(name.wire()).to_string()),
            "type": of_question.map(|question| Rtype::to_string(&question.qtype)),
            "class": of_question.map(|question| Class::to_string(&question.qclass)),
            "ecs": ecs.map(|ecs| format!("{}/{}", ecs.address, ecs.source_prefix)),
            "rcode": rcode,
            "flags": flags,
            "answers": header.map(|header| header.ancount),
            "bytes": answer_bytes,
            "why": match why { Why::Sample => "sample", Why::Odd => "odd" },
        });
        // A value of ours can be written, and a vector takes it.
        let _ = serde_json::to_writer(line, &value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(every: u32, odd: bool) -> Sampler {
        Sampler::new(Rule { every: NonZeroU32::new(every).unwrap(), odd })
    }

    fn request() -> Request {
        Request { source: [192, 0, 2, 7].into(), transport: Transport::Udp, now_ms: 0, unix: 0 }
    }

    fn question() -> Vec<u8> {
        let mut message = Header { id: 9, qdcount: 1, ..Header::default() }.emit().to_vec();
        message.extend(b"\x05Video\x07example\0\0\x01\0\x01");
        message
    }

    fn answer(rcode: Rcode, bits: u16) -> Vec<u8> {
        let flags = Flags(Flags::QR).with(bits, rcode);
        Header { id: 9, flags, ancount: 2, ..Header::default() }.emit().to_vec()
    }

    fn taken(sampler: &mut Sampler) -> Vec<Why> {
        core::iter::from_fn(|| sampler.take()).map(|record| record.why).collect()
    }

    #[test]
    fn one_in_so_many_is_kept() {
        let mut sampler = sampler(10, false);
        for _ in 0..95 {
            sampler.on_question(&request(), &question(), Some(&answer(Rcode::NOERROR, 0)));
        }
        assert_eq!(taken(&mut sampler).len(), 9);
    }

    #[test]
    fn the_odd_ones_are_kept_besides() {
        let mut sampler = sampler(1_000, true);
        let mut on = |answer: Option<&[u8]>| sampler.on_question(&request(), &question(), answer);
        on(Some(&answer(Rcode::NOERROR, Flags::AA)));
        on(Some(&answer(Rcode::NXDOMAIN, Flags::AA)));
        on(Some(&answer(Rcode::NOERROR, Flags::TC)));
        on(Some(&answer(Rcode::SERVFAIL, 0)));
        on(None);
        assert_eq!(taken(&mut sampler), [Why::Odd; 3]);
    }

    #[test]
    fn a_log_that_nobody_takes_is_bounded_and_counts_what_it_loses() {
        let mut sampler = sampler(1, true);
        for _ in 0..1_000 {
            sampler.on_question(&request(), &question(), None);
        }
        assert_eq!((sampler.waiting.len(), sampler.dropped()), (WAITING_MAX, 1_000 - WAITING_MAX as u64));
    }

    #[test]
    fn a_line_says_who_asked_what_and_what_came_of_it() {
        let mut sampler = sampler(1, false);
        sampler.on_question(&request(), &question(), Some(&answer(Rcode::NOERROR, Flags::AA)));
        let mut line = Vec::new();
        sampler.take().unwrap().write_json(&mut line);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        for (key, expected) in [
            ("client", json!("192.0.2.7")),
            ("transport", json!("udp")),
            ("name", json!("video.example.")),
            ("type", json!("A")),
            ("rcode", json!("NOERROR")),
            ("flags", json!(["aa"])),
            ("answers", json!(2)),
            ("why", json!("sample")),
        ] {
            assert_eq!(value[key], expected, "{key}");
        }
        assert!(value["time"].as_f64().unwrap() > 1e9);
        // Something that is no question at all.
        sampler.on_question(&request(), b"\xff", None);
        let mut line = Vec::new();
        sampler.take().unwrap().write_json(&mut line);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert!(value["name"].is_null() && value["rcode"].is_null());
    }

    #[test]
    fn an_answer_that_is_too_long_is_told_and_not_kept() {
        let mut sampler = sampler(1, false);
        let mut long = answer(Rcode::NOERROR, 0);
        long.resize(60_000, 0);
        sampler.on_question(&request(), &question(), Some(&long));
        let record = sampler.take().unwrap();
        assert_eq!((record.answer.len(), record.answer_bytes), (0, 60_000));
        assert_eq!(record.header.unwrap().ancount, 2);
    }
}
