//! A zone on its way to another server: messages of one stream, made as they leave.
//!
//! ```text
//! AXFR                      SOA │ everything but the SOA │ SOA          RFC 5936 §2.2
//! IXFR, it has this version SOA                                         RFC 1995 §2
//! IXFR, we know its version SOA │ SOA, gone │ SOA, new │ … │ SOA        §4
//! IXFR, otherwise           as AXFR                                     §4
//! ```
//!
//! The zone is held until the last message: a reload meanwhile concerns whoever asks next. Each message repeats the
//! question, so that names end with a pointer into it, and each is signed if the question was.

use crate::catalogue::Catalogue;
use crate::load::RecordRef;
use crate::respond::Request;
use crate::transfer::journal::Delta;
use crate::transfer::serial;
use crate::zone::{Cursor, Item, Soa, Zone};
use core::ops::ControlFlow;
use dns::header::HEADER_BYTES;
use dns::query::{self, Query};
use dns::record::{Record, leading_bytes_and_names, uncompress_data};
use dns::tsig::Transaction;
use dns::{Class, Flags, Header, Name, Opcode, Rcode, Rtype};
use std::collections::VecDeque;
use std::sync::Arc;

/// A message is closed when it has as many bytes, so that every name in it can be pointed at.
const MESSAGE_BYTES: usize = 0x4000 - 512;

/// A question for a transfer that may be answered with one.
#[derive(Debug)]
pub struct Outgoing {
    zone: Arc<Zone>,
    /// The first message's header, and the question.
    head: Vec<u8>,
    transaction: Option<Transaction>,
    steps: VecDeque<Step>,
    kind: Kind,
}

/// What is being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// All of the zone.
    All,
    /// What changed.
    Changes,
    /// That nothing did.
    Current,
}

#[derive(Debug)]
enum Step {
    Soa(Soa),
    Everything(Cursor),
    Gone(Arc<Delta>, Option<RecordRef>),
    New(Arc<Delta>, Option<RecordRef>),
}

impl Outgoing {
    /// Looks whether `message` asks for a zone that we have and that its sender may have. Everything else is answered as
    /// any question is.
    #[must_use]
    pub fn open(catalogue: &Catalogue, request: &Request, message: &[u8], name: &mut Name) -> Option<Self> {
        let query = query::parse(message, name).ok()?;
        let question = query.question?;
        let wanted = query.opcode == Opcode::QUERY
            && question.qclass == Class::IN
            && matches!(question.qtype, Rtype::AXFR | Rtype::IXFR);
        if !wanted || query.edns.is_some_and(|edns| edns.version != 0) {
            return None;
        }
        let transaction = match query.tsig {
            None => None,
            Some(tsig) => {
                let keys = catalogue.policy().keys();
                Some(Transaction::accept(keys, message, tsig, request.unix.into()).ok()?)
            }
        };
        let zone = catalogue.zone(name.wire()).filter(|zone| !zone.is_withheld())?;
        let key = transaction.as_ref().map(Transaction::key_name);
        if !catalogue.policy().may_transfer(zone.apex(), request.source, key) {
            return None;
        }
        let flags = Flags(query.header.flags.of_response().0 | Flags::AA);
        let header = Header { id: query.header.id, flags, qdcount: 1, ..Header::default() };
        let mut head = header.emit().to_vec();
        head.extend_from_slice(name.wire());
        head.extend_from_slice(&question.qtype.0.to_be_bytes());
        head.extend_from_slice(&question.qclass.0.to_be_bytes());
        let (kind, steps) = steps(zone, message, &query, question.qtype);
        Some(Self { zone: Arc::clone(zone), head, transaction, steps, kind })
    }

    /// What is being sent.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The next message, signed with this time; nothing after the last one.
    pub fn next_message(&mut self, unix: u64) -> Option<Vec<u8>> {
        if self.steps.is_empty() {
            return None;
        }
        let mut message = Message::new(&self.head, self.zone.apex().len());
        while let Some(step) = self.steps.pop_front() {
            if let Some(rest) = message.write(&self.zone, step) {
                self.steps.push_front(rest);
                break;
            }
        }
        let mut bytes = message.finish();
        if let Some(transaction) = &mut self.transaction {
            // RFC 8945 §5.3.1: not every message needs a signature, but the first and the last, which hold a SOA alone
            // when the one before was full.
            if bytes.len() + transaction.record_bytes() <= usize::from(u16::MAX) {
                transaction.sign(&mut bytes, unix);
            } else {
                transaction.defer(&bytes);
            }
        }
        Some(bytes)
    }
}

/// What answers the question, step by step.
fn steps(zone: &Arc<Zone>, message: &[u8], query: &Query, qtype: Rtype) -> (Kind, VecDeque<Step>) {
    let soa = zone.soa();
    let theirs = if qtype == Rtype::IXFR { serial_of(message, query) } else { None };
    if let Some(theirs) = theirs {
        // RFC 1995 §2: if it is as new, or newer, all it gets is what we have.
        if !serial::is_newer(soa.serial(), theirs) {
            return (Kind::Current, [Step::Soa(soa)].into());
        }
        if let Some(deltas) = zone.journal().since(theirs) {
            let mut steps = VecDeque::from([Step::Soa(soa.clone())]);
            for delta in deltas {
                steps.push_back(Step::Soa(delta.from.clone()));
                steps.push_back(Step::Gone(Arc::clone(delta), delta.gone.first()));
                steps.push_back(Step::Soa(delta.to.clone()));
                steps.push_back(Step::New(Arc::clone(delta), delta.new.first()));
            }
            steps.push_back(Step::Soa(soa));
            return (Kind::Changes, steps);
        }
    }
    let everything = Step::Everything(Cursor::default());
    (Kind::All, [Step::Soa(soa.clone()), everything, Step::Soa(soa)].into())
}

/// The serial in the authority section of an IXFR question (RFC 1995 §3).
fn serial_of(message: &[u8], query: &Query) -> Option<u32> {
    let record = Record::parse(message, query.records).ok().filter(|record| record.rtype == Rtype::SOA)?;
    let mut rdata = Vec::new();
    uncompress_data(message, &record, &mut rdata).ok()?;
    let numbers = rdata.len().checked_sub(20)?;
    rdata[numbers..].first_chunk::<4>().map(|serial| u32::from_be_bytes(*serial))
}

/// A message being written.
struct Message {
    bytes: Vec<u8>,
    answers: u16,
    apex_bytes: usize,
    /// The owner that was written last, without the apex, and where.
    owner: Option<(Vec<u8>, usize)>,
}

impl Message {
    fn new(head: &[u8], apex_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(MESSAGE_BYTES + 512);
        bytes.extend_from_slice(head);
        Self { bytes, answers: 0, apex_bytes, owner: None }
    }

    /// Writes as much of a step as there is room for; returns what is left of it.
    fn write(&mut self, zone: &Zone, step: Step) -> Option<Step> {
        match step {
            Step::Soa(soa) => {
                let item = Item { owner: &[], rtype: Rtype::SOA, ttl: soa.ttl, rdata: &soa.rdata };
                self.record(&item).is_break().then_some(Step::Soa(soa))
            }
            Step::Everything(from) => {
                let rest = zone.visit(from, |item| {
                    if item.rtype == Rtype::SOA && item.owner.is_empty() {
                        return ControlFlow::Continue(());
                    }
                    self.record(item)
                });
                rest.map(Step::Everything)
            }
            Step::Gone(delta, at) => {
                let rest = self.records(zone, &delta.gone, at);
                rest.map(|at| Step::Gone(delta, Some(at)))
            }
            Step::New(delta, at) => {
                let rest = self.records(zone, &delta.new, at);
                rest.map(|at| Step::New(delta, Some(at)))
            }
        }
    }

    fn records(
        &mut self,
        zone: &Zone,
        records: &crate::load::Records,
        mut at: Option<RecordRef>,
    ) -> Option<RecordRef> {
        while let Some(place) = at {
            let record = records.record(place);
            // A delta writes every owner out.
            let owner = record.owner.unwrap_or_default();
            let owner = &owner[..owner.len().saturating_sub(zone.apex().len())];
            let item = Item { owner, rtype: record.rtype, ttl: record.ttl, rdata: record.rdata };
            if self.record(&item).is_break() {
                return Some(place);
            }
            at = records.following(place);
        }
        None
    }

    /// Writes a record, unless the message is full. One alone always has room: what is loaded fits an answer.
    fn record(&mut self, item: &Item<'_>) -> ControlFlow<()> {
        let bytes = item.owner.len() + 2 + 10 + item.rdata.len();
        if self.answers > 0 && self.bytes.len() + bytes > MESSAGE_BYTES {
            return ControlFlow::Break(());
        }
        self.owner(item.owner);
        self.bytes.extend_from_slice(&item.rtype.0.to_be_bytes());
        self.bytes.extend_from_slice(&Class::IN.0.to_be_bytes());
        self.bytes.extend_from_slice(&item.ttl.to_be_bytes());
        let rdlength = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.data(item.rtype, item.rdata);
        let data = u16::try_from(self.bytes.len() - rdlength - 2).expect("no longer than it was");
        self.bytes[rdlength..rdlength + 2].copy_from_slice(&data.to_be_bytes());
        self.answers += 1;
        ControlFlow::Continue(())
    }

    fn owner(&mut self, relative: &[u8]) {
        if relative.is_empty() {
            return self.bytes.extend_from_slice(&pointer(HEADER_BYTES));
        }
        if let Some((last, at)) = &self.owner
            && last == relative
        {
            let at = *at;
            return self.bytes.extend_from_slice(&pointer(at));
        }
        let at = self.bytes.len();
        self.bytes.extend_from_slice(relative);
        self.bytes.extend_from_slice(&pointer(HEADER_BYTES));
        // The first record of a message may be longer than pointers reach; it is the last one then.
        self.owner = (at < 0x4000).then(|| (relative.to_vec(), at));
    }

    /// Data, with the apex at the end of its names pointed at, where RFC 3597 §4 lets names be compressed.
    fn data(&mut self, rtype: Rtype, rdata: &[u8]) {
        let (leading, names) = leading_bytes_and_names(rtype);
        let Some((before, mut rest)) = rdata.split_at_checked(leading).filter(|_| names > 0) else {
            return self.bytes.extend_from_slice(rdata);
        };
        self.bytes.extend_from_slice(before);
        for _ in 0..names {
            let end = crate::zone::name_bytes(rest);
            let (name, behind) = rest.split_at(end);
            rest = behind;
            self.name(name);
        }
        self.bytes.extend_from_slice(rest);
    }

    fn name(&mut self, name: &[u8]) {
        let apex = &self.bytes[HEADER_BYTES..HEADER_BYTES + self.apex_bytes];
        if self.apex_bytes > 1
            && let Some(at) = name.len().checked_sub(self.apex_bytes)
            && name[at..].eq_ignore_ascii_case(apex)
            && is_label(name, at)
        {
            self.bytes.extend_from_slice(&name[..at]);
            self.bytes.extend_from_slice(&pointer(HEADER_BYTES));
        } else {
            self.bytes.extend_from_slice(name);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes[6..8].copy_from_slice(&self.answers.to_be_bytes());
        self.bytes
    }
}

/// Whether a label of `name` begins at `at`.
fn is_label(name: &[u8], at: usize) -> bool {
    let mut label = 0;
    while label < at {
        label += 1 + usize::from(name[label]);
    }
    label == at
}

fn pointer(at: usize) -> [u8; 2] {
    (0xc000 | u16::try_from(at).expect("within reach of a pointer")).to_be_bytes()
}

/// The header of a response that says no more than a code.
#[must_use]
pub fn bare(header: &Header, rcode: Rcode) -> Vec<u8> {
    let flags = header.flags.of_response().with(0, rcode);
    Header { id: header.id, flags, ..Header::default() }.emit().to_vec()
}

#[cfg(test)]
mod tests;
