//! Names on their way into a zone: which there are, what lies between them, and where authority ends.

use super::{NONE, WARNINGS_MAX, Warning};
use crate::hash::{Form, Key, Suffixes};
use crate::load::{Reason, RecordRef, Records, ZoneError};
use crate::zone::denial::{Nsec3Hash, from_label};
use crate::zone::node::{NodeRef, flag};
use crate::zone::{next_slot, slot_of, tag};
use dns::{Name, Rtype};

/// A name, and the list of its records.
#[derive(Clone, Copy, Debug)]
struct Sketch {
    hash: u64,
    first: RecordRef,
    last: RecordRef,
    /// Where its name is written: the record whose owner it is, or in `names`.
    name: NamePlace,
    flags: u8,
    labels: u8,
}

#[derive(Clone, Copy, Debug)]
enum NamePlace {
    Record(RecordRef),
    /// An empty non-terminal: nobody owns anything there.
    Between(u32),
}

/// All names of a zone.
pub(super) struct Sketches<'a> {
    pub(super) apex: &'a [u8],
    pub(super) apex_labels: usize,
    pub(super) records: Records,
    pub(super) warnings: Vec<Warning>,
    list: Vec<Sketch>,
    /// Names of empty non-terminals, each behind its length.
    names: Vec<u8>,
    /// As the zone's own slots: the hash's tag, and the sketch's index plus one.
    slots: Box<[u64]>,
    /// NSEC3 records and their signatures: the hash in their owner, and the list.
    nsec3: Vec<(Nsec3Hash, RecordRef)>,
    hashes: Suffixes,
    name: Name,
}

impl<'a> Sketches<'a> {
    pub(super) fn new(apex: &'a [u8], records: Records, key: Key, form: Form) -> Result<Self, ZoneError> {
        // The apex is there whatever the records say.
        let capacity = usize::try_from(records.owners()).unwrap_or(0) + 1;
        let mut sketches = Self {
            apex,
            apex_labels: super::name_of(apex).labels(),
            records,
            warnings: Vec::new(),
            list: Vec::with_capacity(capacity),
            names: Vec::new(),
            slots: vec![0; slots_for(capacity)].into(),
            nsec3: Vec::new(),
            hashes: Suffixes::new(key, form),
            name: Name::root(),
        };
        // The apex comes first, whatever the file says first.
        sketches.name.set(apex).expect("a name");
        sketches.hashes.fill(&sketches.name);
        sketches.between(0)?;
        Ok(sketches)
    }

    pub(super) const fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn flags(&self, index: usize) -> u8 {
        self.list[index].flags
    }

    pub(super) fn first(&self, index: usize) -> RecordRef {
        self.list[index].first
    }

    pub(super) fn name(&self, index: usize) -> &[u8] {
        match self.list[index].name {
            NamePlace::Record(at) => {
                self.records.record(at).owner.expect("the record that begins its owner's")
            }
            NamePlace::Between(at) => {
                let at = at as usize;
                &self.names[at + 1..=at + usize::from(self.names[at])]
            }
        }
    }

    /// The name of that wire form, if the zone has it: glue, too.
    pub(super) fn find(&self, wire: &[u8]) -> Option<usize> {
        let name = super::name_of(wire);
        if !self.holds(&name) {
            return None;
        }
        let mut hashes = self.hashes.clone();
        hashes.fill(&name);
        self.look_up(hashes.suffix(0), name.wire())
    }

    fn holds(&self, name: &Name) -> bool {
        name.labels() >= self.apex_labels && name.suffix(name.labels() - self.apex_labels) == self.apex
    }

    fn look_up(&self, hash: u64, wire: &[u8]) -> Option<usize> {
        let mut slot = slot_of(hash, self.slots.len());
        loop {
            let entry = self.slots[slot];
            if entry == 0 {
                return None;
            }
            if entry >> 32 == tag(hash) {
                #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
                let index = (entry as u32 - 1) as usize;
                if self.name(index) == wire {
                    return Some(index);
                }
            }
            slot = next_slot(slot, self.slots.len());
        }
    }

    /// Puts every record into the list of its name.
    pub(super) fn sort_in(&mut self) -> Result<(), ZoneError> {
        let mut next = self.records.first();
        let mut current: Option<usize> = None;
        let mut outside: Option<(u64, Box<[u8]>)> = None;
        while let Some(at) = next {
            next = self.records.following(at);
            let record = self.records.record(at);
            let rtype = record.rtype;
            let owner = record.owner;
            if let Some(owner) = owner {
                self.name.set(owner).expect("a name, as it was read");
            }
            if !data_is_sound(rtype, record.rdata) {
                return Err(ZoneError::new(Reason::Data(rtype, self.name.wire().into())));
            }
            if !self.holds(&self.name) {
                outside.get_or_insert_with(|| (0, self.name.wire().into())).0 += 1;
                current = None;
                continue;
            }
            let of_nsec3 = rtype == Rtype::NSEC3
                || rtype == Rtype::RRSIG && record.rdata.starts_with(&Rtype::NSEC3.0.to_be_bytes());
            if of_nsec3 {
                let label = dns::name::labels(self.name.wire()).next().unwrap_or_default();
                let hash = from_label(label)
                    .ok_or_else(|| ZoneError::new(Reason::Data(Rtype::NSEC3, self.name.wire().into())))?;
                self.nsec3.push((hash, at));
                current = None;
                continue;
            }
            if owner.is_some() || current.is_none() {
                self.hashes.fill(&self.name);
                current = Some(self.enter(at, owner.is_some())?);
            }
            let index = current.expect("entered");
            if rtype == Rtype::SOA && index != 0 {
                self.warn(Warning::SoaBelowApex(self.name.wire().into()));
                continue;
            }
            let sketch = &mut self.list[index];
            match rtype {
                Rtype::NS if index != 0 => sketch.flags |= flag::CUT,
                Rtype::DNAME => sketch.flags |= flag::DNAME,
                Rtype::CNAME => sketch.flags |= flag::CNAME,
                _ => {}
            }
            let last = sketch.last;
            sketch.last = at;
            if last == NONE {
                sketch.first = at;
            } else {
                self.records.set_next(last, at);
            }
        }
        if let Some((count, first)) = outside {
            self.warn(Warning::OutOfZone(count, first));
        }
        self.list[0].flags |= flag::APEX;
        Ok(())
    }

    fn warn(&mut self, warning: Warning) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(warning);
        }
    }

    /// The sketch of the name that was hashed last, made if it is new, and those above it.
    fn enter(&mut self, at: RecordRef, owner_is_written: bool) -> Result<usize, ZoneError> {
        if let Some(index) = self.look_up(self.hashes.suffix(0), self.name.wire()) {
            return Ok(index);
        }
        let index = if owner_is_written {
            self.insert(0, NamePlace::Record(at))?
        } else {
            // The owner stands at a record that went elsewhere.
            self.between(0)?
        };
        let below = self.name.labels() - self.apex_labels;
        for skip in 1..below {
            if self.look_up(self.hashes.suffix(skip), self.name.suffix(skip)).is_some() {
                break;
            }
            self.between(skip)?;
        }
        Ok(index)
    }

    /// A name that nothing is written at, yet.
    fn between(&mut self, skip: usize) -> Result<usize, ZoneError> {
        let at = u32::try_from(self.names.len()).map_err(|_| ZoneError::new(Reason::TooMany))?;
        let wire = self.name.suffix(skip);
        self.names.push(u8::try_from(wire.len()).expect("a name has at most 255 bytes"));
        self.names.extend_from_slice(wire);
        self.insert(skip, NamePlace::Between(at))
    }

    fn insert(&mut self, skip: usize, name: NamePlace) -> Result<usize, ZoneError> {
        if slots_for(self.list.len() + 1) > self.slots.len() {
            self.grow();
        }
        let hash = self.hashes.suffix(skip);
        let index = self.list.len();
        let number = u32::try_from(index + 1).map_err(|_| ZoneError::new(Reason::TooMany))?;
        let labels = u8::try_from(self.name.labels() - skip).expect("a name has at most 127 labels");
        self.list.push(Sketch { hash, first: NONE, last: NONE, name, flags: 0, labels });
        self.put(hash, number);
        Ok(index)
    }

    fn put(&mut self, hash: u64, number: u32) {
        put(&mut self.slots, hash, number);
    }

    fn grow(&mut self) {
        // Empty non-terminals are not counted beforehand. They are few, or else many.
        self.slots = vec![0; self.slots.len() + self.slots.len() / 2].into();
        for index in 0..self.list.len() {
            let number = u32::try_from(index + 1).expect("counted when it was inserted");
            self.put(self.list[index].hash, number);
        }
    }

    /// Finds out which names lie below cuts and DNAMEs, and which have a wildcard below them.
    pub(super) fn mark(&mut self) {
        let ends = flag::CUT | flag::DNAME;
        let any_end = self.list.iter().any(|sketch| sketch.flags & ends != 0);
        let mut name = Name::root();
        let mut hashes = self.hashes.clone();
        for index in 0..self.list.len() {
            let labels = usize::from(self.list[index].labels);
            let is_wildcard = self.name(index).starts_with(b"\x01*");
            let deep =
                labels > self.apex_labels + 1 || labels > self.apex_labels && self.list[0].flags & ends != 0;
            if !(is_wildcard || any_end && deep) {
                continue;
            }
            name.set(self.name(index)).expect("a name");
            hashes.fill(&name);
            if is_wildcard && let Some(parent) = self.look_up(hashes.suffix(1), name.suffix(1)) {
                self.list[parent].flags |= flag::WILDCARD_BELOW;
            }
            for skip in 1..=labels - self.apex_labels {
                if let Some(above) = self.look_up(hashes.suffix(skip), name.suffix(skip))
                    && self.list[above].flags & ends != 0
                {
                    self.list[index].flags |= flag::OCCLUDED;
                    break;
                }
            }
        }
    }

    /// The table from hashes to nodes, for sketches of which each became the node at its place among `nodes`, or none.
    pub(super) fn into_slots(mut self, nodes: &[Option<NodeRef>]) -> Box<[u64]> {
        let names = nodes.iter().flatten().count();
        let number = |node: &NodeRef| node.0 + 1;
        // What is left out leaves holes that others were led past.
        if names < nodes.len() || slots_for(names) < self.slots.len() - self.slots.len() / 16 {
            let mut slots = vec![0; slots_for(names)].into_boxed_slice();
            for (sketch, node) in self.list.iter().zip(nodes) {
                if let Some(node) = node {
                    put(&mut slots, sketch.hash, number(node));
                }
            }
            return slots;
        }
        for slot in self.slots.iter_mut().filter(|slot| **slot != 0) {
            #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
            let index = *slot as u32 as usize - 1;
            let node = nodes[index].as_ref().map_or(0, number);
            *slot = *slot >> 32 << 32 | u64::from(node);
        }
        self.slots
    }

    /// Each hashed owner, and the list of its records.
    pub(super) fn nsec3_owners(&self) -> Vec<(Nsec3Hash, RecordRef)> {
        let mut owners = self.nsec3.clone();
        owners.dedup_by_key(|(hash, _)| *hash);
        owners
    }

    /// Joins the NSEC3 records of one hash into lists. To be called once, before they are asked for.
    pub(super) fn join_nsec3(&mut self) {
        self.nsec3.sort_by_key(|(hash, at)| (*hash, *at));
        for pair in 0..self.nsec3.len().saturating_sub(1) {
            let ((hash, at), (next_hash, next)) = (self.nsec3[pair], self.nsec3[pair + 1]);
            if hash == next_hash {
                self.records.set_next(at, next);
            }
        }
    }

    /// The owner of a hashed record.
    pub(super) fn nsec3_name(&self, hash: &Nsec3Hash) -> Vec<u8> {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let mut name = vec![32];
        for bytes in hash.chunks_exact(5) {
            let bits = bytes.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            name.extend(
                (0..8).rev().map(|digit| DIGITS[usize::try_from(bits >> (5 * digit) & 31).unwrap_or(0)]),
            );
        }
        name.extend_from_slice(self.apex);
        name
    }
}

/// So many slots that three of four are taken.
const fn slots_for(names: usize) -> usize {
    names + names / 3 + 2
}

fn put(slots: &mut [u64], hash: u64, number: u32) {
    let mut slot = slot_of(hash, slots.len());
    while slots[slot] != 0 {
        slot = next_slot(slot, slots.len());
    }
    slots[slot] = tag(hash) << 32 | u64::from(number);
}

/// Whether data of a type that we look into is what the type says.
fn data_is_sound(rtype: Rtype, rdata: &[u8]) -> bool {
    let names = |leading: usize, count: usize, trailing: Option<usize>| {
        let mut at = leading;
        for _ in 0..count {
            let Some(mut len) = rdata.get(at).copied() else { return false };
            let start = at;
            while len != 0 {
                at += 1 + usize::from(len);
                match rdata.get(at) {
                    Some(next) if len < 64 => len = *next,
                    _ => return false,
                }
            }
            at += 1;
            if at - start > dns::name::NAME_BYTES_MAX {
                return false;
            }
        }
        at <= rdata.len() && trailing.is_none_or(|trailing| at + trailing == rdata.len())
    };
    match rtype {
        Rtype::A => rdata.len() == 4,
        Rtype::AAAA => rdata.len() == 16,
        Rtype::SOA => names(0, 2, Some(20)),
        Rtype::NS | Rtype::CNAME | Rtype::PTR | Rtype::DNAME => names(0, 1, Some(0)),
        Rtype::MB | Rtype::MD | Rtype::MF | Rtype::MG | Rtype::MR => names(0, 1, Some(0)),
        Rtype::MINFO => names(0, 2, Some(0)),
        Rtype::MX | Rtype::AFSDB | Rtype::KX => names(2, 1, Some(0)),
        Rtype::SRV => names(6, 1, Some(0)),
        Rtype::SVCB | Rtype::HTTPS => names(2, 1, None),
        Rtype::RRSIG => rdata.len() > 18,
        _ => true,
    }
}
