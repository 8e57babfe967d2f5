//! Every record of a zone, read back out of its answers: for transfers, and for what changed between two versions.
//!
//! ```text
//! arena:  node, node …     an entry's body behind a question that was never asked: its answer section is the RRset
//! hidden: record, record … what answers nothing: glue, what lies below a DNAME, an NSEC3 chain that is not served
//! ```
//!
//! Nothing is kept twice for this: a transfer costs reading, not memory.

use super::node::{Entry, Node, flag};
use super::{NodeRef, Zone};
use crate::load::{RecordRef, Records};
use core::ops::ControlFlow;
use dns::header::HEADER_BYTES;
use dns::record::{Record, uncompress_data};
use dns::{Name, Rtype};

/// A record as it would stand in a zone file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// Its owner, folded, without the apex: nothing for the apex itself.
    pub owner: &'a [u8],
    /// Its type.
    pub rtype: Rtype,
    /// Seconds to live.
    pub ttl: u32,
    /// Its data, names without compression.
    pub rdata: &'a [u8],
}

/// A place in a zone's contents: of that zone and no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    /// The node, by its place in the arena in bytes; behind the arena, the hidden records.
    at: usize,
    /// The entry of the node.
    entry: usize,
    /// The record of the entry, or the hidden record.
    record: usize,
}

/// The SOA of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soa {
    /// Seconds to live.
    pub ttl: u32,
    /// Its data, without compression.
    pub rdata: Box<[u8]>,
}

impl Soa {
    /// The last five fields: SERIAL, REFRESH, RETRY, EXPIRE, MINIMUM (RFC 1035 §3.3.13).
    #[must_use]
    pub fn numbers(&self) -> [u32; 5] {
        let at = self.rdata.len() - 20;
        let mut numbers = [0; 5];
        for (number, bytes) in numbers.iter_mut().zip(self.rdata[at..].as_chunks::<4>().0) {
            *number = u32::from_be_bytes(*bytes);
        }
        numbers
    }

    /// The serial.
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.numbers()[0]
    }
}

impl Zone {
    /// Its SOA.
    ///
    /// # Panics
    /// There is none, with which no zone is built.
    #[must_use]
    pub fn soa(&self) -> Soa {
        let mut soa = None;
        let mut reader = Reader::new(self);
        reader.place(self.apex_node());
        let entry = self.apex_node().entry(Rtype::SOA).expect("a zone has one");
        let _ = reader.entry(self.apex_node(), &entry, &mut |item| {
            soa = Some(Soa { ttl: item.ttl, rdata: item.rdata.into() });
            ControlFlow::Break(())
        });
        soa.expect("a zone has one")
    }

    /// Calls `each` with every record from `from` on, the SOA among them, until it breaks. Returns the place of the record
    /// that it broke at; nothing at the end.
    pub fn visit(&self, from: Cursor, mut each: impl FnMut(&Item<'_>) -> ControlFlow<()>) -> Option<Cursor> {
        let mut cursor = from;
        let mut reader = Reader::new(self);
        while cursor.at < self.arena.len() {
            let place = NodeRef(u32::try_from(cursor.at / super::node::ALIGN).expect("as it was laid"));
            let node = self.node(place);
            reader.place(node);
            for entry in node.entries().skip(cursor.entry) {
                let mut index = 0;
                let flow = reader.entry(node, &entry, &mut |item| {
                    if index >= cursor.record {
                        each(item)?;
                        cursor.record += 1;
                    }
                    index += 1;
                    ControlFlow::Continue(())
                });
                if flow.is_break() {
                    return Some(cursor);
                }
                cursor.entry += 1;
                cursor.record = 0;
            }
            let next = (cursor.at + node.extent()).next_multiple_of(super::node::ALIGN);
            cursor = Cursor { at: next, entry: 0, record: 0 };
        }
        // `record` is one more than the place of the hidden record: 0 is the beginning.
        let mut next = match cursor.record.checked_sub(1) {
            None => self.hidden().first(),
            Some(at) => Some(RecordRef(u32::try_from(at).expect("as it was counted"))),
        };
        let mut owner: &[u8] = match next {
            Some(_) => owner_at(self.hidden(), cursor.entry),
            None => &[],
        };
        while let Some(at) = next {
            let record = self.hidden().record(at);
            if let Some(own) = record.owner {
                owner = own;
                cursor.entry = at.0 as usize;
            }
            cursor.record = at.0 as usize + 1;
            let relative = &owner[..owner.len() - self.apex.len()];
            let item = Item { owner: relative, rtype: record.rtype, ttl: record.ttl, rdata: record.rdata };
            if each(&item).is_break() {
                return Some(cursor);
            }
            next = self.hidden().following(at);
        }
        None
    }

    /// Whether what answers nothing is the same in both, and in the same order.
    pub(crate) fn hidden_is_that_of(&self, other: &Self) -> bool {
        self.hidden().are_those_of(other.hidden())
    }

    /// Every record that answers nothing.
    pub(crate) fn visit_hidden(&self, mut each: impl FnMut(&Item<'_>)) {
        let behind = Cursor { at: self.arena.len(), entry: 0, record: 0 };
        let _ = self.visit(behind, |item| {
            each(item);
            ControlFlow::Continue(())
        });
    }

    /// Every record of a node, in the order in which they lie.
    pub(crate) fn visit_node(&self, node: Node<'_>, mut each: impl FnMut(&Item<'_>)) {
        let mut reader = Reader::new(self);
        reader.place(node);
        for entry in node.entries() {
            let _ = reader.entry(node, &entry, &mut |item| {
                each(item);
                ControlFlow::Continue(())
            });
        }
    }

    /// The name of a node with the apex, to be looked up in another version of this zone.
    pub(crate) fn whole_name(&self, relative: &[u8], room: &mut Name) {
        let mut wire = Vec::with_capacity(relative.len() + self.apex.len());
        wire.extend_from_slice(relative);
        wire.extend_from_slice(&self.apex);
        room.set(&wire).expect("a name, as it was read");
    }
}

/// The owner that is written at that place of the hidden records.
fn owner_at(hidden: &Records, place: usize) -> &[u8] {
    let at = RecordRef(u32::try_from(place).expect("as it was counted"));
    hidden.record(at).owner.expect("it was written there")
}

/// Reads bodies as if they were messages.
struct Reader<'z> {
    apex: &'z [u8],
    /// A header, the name of the node, and room for a type and a class; bodies are put behind it.
    message: Vec<u8>,
    question: usize,
    rdata: Vec<u8>,
}

impl<'z> Reader<'z> {
    fn new(zone: &'z Zone) -> Self {
        Self { apex: &zone.apex, message: vec![0; HEADER_BYTES], question: HEADER_BYTES, rdata: Vec::new() }
    }

    fn place(&mut self, node: Node<'_>) {
        self.message.truncate(HEADER_BYTES);
        self.message.extend_from_slice(node.name());
        self.message.extend_from_slice(self.apex);
        self.message.extend_from_slice(&[0; 4]);
        self.question = self.message.len();
    }

    fn entry(
        &mut self,
        node: Node<'_>,
        entry: &Entry<'_>,
        each: &mut dyn FnMut(&Item<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        // At a cut, NS is a referral: its own records come first, and all of it is authority.
        let is_referral = node.is(flag::CUT) && entry.rtype == Rtype::NS;
        let variant = if is_referral { entry.plain() } else { entry.signed() };
        let count = if is_referral { variant.ns } else { variant.an };
        self.message.truncate(self.question);
        self.message.extend_from_slice(variant.body);
        let mut at = self.question;
        for _ in 0..count {
            let record = Record::parse(&self.message, at).expect("as it was written");
            at = record.end;
            self.rdata.clear();
            uncompress_data(&self.message, &record, &mut self.rdata).expect("as it was written");
            let (rtype, ttl) = (record.rtype, record.ttl);
            each(&Item { owner: node.name(), rtype, ttl, rdata: &self.rdata })?;
        }
        ControlFlow::Continue(())
    }
}
