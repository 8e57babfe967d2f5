//! Records into a zone: the work of a load.
//!
//! ```text
//! Records ── sort in ──▶ sketches: a name, its records, its place in the tree ── lay down ──▶ arena, slots
//!              │ what lies outside, and NSEC3, apart              │ bodies, written by `answers`
//!              ▼                                                  ▼
//!           warnings                                           ZoneError: nothing is replaced
//! ```

mod answers;
mod sketch;

use super::denial::{self, Nsec3};
use super::node::{self, NodeRef, flag};
use super::{Negative, Weight, Zone};
use crate::hash::{Form, Key};
use crate::load::{Loaded, Reason, RecordRef, Records, ZoneError};
use crate::transfer::journal::Journal;
use core::fmt;
use dns::name::{Presentation, canonical_order};
use dns::{Name, Rtype};
use sketch::Sketches;

/// A zone that can be served, and what its operator may want to know.
#[derive(Debug)]
pub struct Built {
    /// The zone.
    pub zone: Zone,
    /// What looks like a mistake.
    pub warnings: Vec<Warning>,
}

/// Something that looks like a mistake, and does not stop the zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Records whose owner is not in the zone were left out: how many, and the first one's owner.
    OutOfZone(u64, Box<[u8]>),
    /// A server of a delegation lies below its cut, and no address of it is here.
    MissingGlue(Box<[u8]>, Box<[u8]>),
    /// RFC 9276 §3.1: names should not be hashed again and again.
    Nsec3Iterations(u16),
    /// Different TTLs in one RRset (RFC 2181 §5.2): the smallest is used.
    Ttl(Rtype, Box<[u8]>),
    /// A SOA record that is not the apex's was left out.
    SoaBelowApex(Box<[u8]>),
    /// The zone has changed, and its serial is what it was: whoever fetches it does not notice.
    SameSerial(u32),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfZone(count, first) => {
                write!(
                    f,
                    "{count} records outside the zone were left out, the first of {}",
                    Presentation(first)
                )
            }
            Self::MissingGlue(cut, server) => write!(
                f,
                "{} is served by {}, which lies below it and has no address here",
                Presentation(cut),
                Presentation(server)
            ),
            Self::Nsec3Iterations(iterations) => {
                write!(f, "NSEC3 with {iterations} additional iterations; RFC 9276 wants 0")
            }
            Self::Ttl(rtype, owner) => {
                write!(
                    f,
                    "the {rtype} records of {} have different TTLs; the smallest is used",
                    Presentation(owner)
                )
            }
            Self::SameSerial(serial) => {
                write!(f, "its serial is still {serial}: secondaries do not see the change; count it up")
            }
            Self::SoaBelowApex(owner) => {
                write!(
                    f,
                    "the SOA record of {}, which is not the zone's name, was left out",
                    Presentation(owner)
                )
            }
        }
    }
}

/// More warnings than this are more of the same.
pub(super) const WARNINGS_MAX: usize = 100;

/// Builds the zone `apex`, a folded name on the wire.
///
/// # Errors
/// What is wrong with the records. The place of an error is unknown here; [`crate::load::locate`] finds it.
pub fn build(apex: &[u8], loaded: Loaded, key: Key, form: Form) -> Result<Built, ZoneError> {
    let Loaded { records, text_bytes } = loaded;
    let records_count = records.count();
    let mut sketches = Sketches::new(apex, records, key, form)?;
    sketches.sort_in()?;
    sketches.join_nsec3();
    sketches.mark();
    let mut warnings = core::mem::take(&mut sketches.warnings);
    let mut layer = Layer {
        arena: Vec::with_capacity(sketches.records.bytes()),
        nsec: Vec::new(),
        placed: Vec::with_capacity(sketches.len()),
        hidden: Records::default(),
    };
    let mut names = 0;
    for index in 0..sketches.len() {
        names += 1;
        if sketches.flags(index) & flag::OCCLUDED != 0 {
            for set in answers::gather(&sketches.records, sketches.first(index)) {
                layer.hide(&sketches.records, sketches.name(index), &set)?;
            }
            layer.placed.push(None);
            continue;
        }
        layer.lay(&sketches, index, &mut warnings)?;
    }
    let nsec3 = nsec3(&sketches, &mut layer, &mut warnings)?;
    let negative = answers::negative(&sketches)?;
    let serial = answers::serial(&sketches)?;
    let arena = layer.arena.into_boxed_slice();
    let mut zone = Zone {
        apex: apex.into(),
        apex_labels: sketches.apex_labels,
        arena,
        apex_node: layer.placed[0].expect("nothing is above the apex that could hide it"),
        slots: sketches.into_slots(&layer.placed),
        negative,
        nsec: Box::default(),
        nsec3: nsec3.map(Box::new),
        serial,
        hidden: (layer.hidden.count() > 0).then(|| Box::new(core::mem::take(&mut layer.hidden).shrunk())),
        journal: Journal::default(),
        withheld: false,
        weight: Weight { names, records: records_count, text_bytes, bytes: 0 },
    };
    layer.nsec.sort_unstable_by(|a, b| canonical_order(zone.node(*a).name(), zone.node(*b).name()));
    zone.nsec = layer.nsec.into_boxed_slice();
    zone.weight.bytes = zone.bytes();
    Ok(Built { zone, warnings })
}

impl Zone {
    fn bytes(&self) -> u64 {
        let Self { apex, arena, slots, negative, nsec, nsec3, hidden, .. } = self;
        let nsec3 = nsec3
            .as_ref()
            .map_or(0, |nsec3| size_of::<Nsec3>() + size_of_val(&*nsec3.owners) + nsec3.salt.len());
        let of_negative = |negative: &Negative| negative.body.len() + size_of_val(&*negative.moves);
        let (plain, signed) = negative;
        let signed = signed.as_deref().map_or(0, |signed| size_of::<Negative>() + of_negative(signed));
        let negative = of_negative(plain) + signed;
        let hidden = hidden.as_ref().map_or(0, |hidden| size_of::<Records>() + hidden.bytes());
        let parts =
            apex.len() + arena.len() + size_of_val(&**slots) + negative + size_of_val(&**nsec) + nsec3;
        (size_of::<Self>() + parts + hidden) as u64
    }
}

/// Nodes being laid down.
struct Layer {
    arena: Vec<u8>,
    nsec: Vec<NodeRef>,
    /// For each sketch its node; nothing for what is below a cut.
    placed: Vec<Option<NodeRef>>,
    hidden: Records,
}

impl Layer {
    /// Keeps records that answer nothing.
    fn hide(&mut self, records: &Records, name: &[u8], set: &answers::Set) -> Result<(), ZoneError> {
        for at in &set.records {
            let rdata = records.record(*at).rdata;
            self.hidden.push(name, set.rtype, set.ttl, |out| out.extend_from_slice(rdata))?;
        }
        self.hide_signatures(records, name, set)
    }

    fn hide_signatures(
        &mut self,
        records: &Records,
        name: &[u8],
        set: &answers::Set,
    ) -> Result<(), ZoneError> {
        for at in &set.signatures {
            let rdata = records.record(*at).rdata;
            self.hidden.push(name, Rtype::RRSIG, set.ttl, |out| out.extend_from_slice(rdata))?;
        }
        Ok(())
    }

    fn lay(
        &mut self,
        sketches: &Sketches<'_>,
        index: usize,
        warnings: &mut Vec<Warning>,
    ) -> Result<(), ZoneError> {
        let name = sketches.name(index);
        let relative = &name[..name.len() - sketches.apex.len()];
        let flags = sketches.flags(index);
        let at = self.begin(relative, flags)?;
        if flags == 0 && answers::lay_single(&sketches.records, sketches.first(index), &mut self.arena) {
            self.count_entry(at);
            self.placed.push(Some(at));
            self.align();
            return Ok(());
        }
        let sets = answers::gather(&sketches.records, sketches.first(index));
        answers::check(&sets, name, flags)?;
        for set in &sets {
            let wanted = flags & flag::CUT == 0 || matches!(set.rtype, Rtype::NS | Rtype::DS | Rtype::NSEC);
            if wanted {
                answers::lay(sketches, name, flags, set, &sets, &mut self.arena, warnings)?;
                self.count_entry(at);
                if flags & flag::CUT != 0 && set.rtype == Rtype::NS {
                    // A referral is not signed (RFC 4035 §2.2); whoever signs it all the same gets it back.
                    self.hide_signatures(&sketches.records, name, set)?;
                }
            } else {
                self.hide(&sketches.records, name, set)?;
            }
            if set.rtype == Rtype::NSEC {
                self.nsec.push(at);
            }
        }
        self.placed.push(Some(at));
        self.align();
        Ok(())
    }

    fn begin(&mut self, relative: &[u8], flags: u8) -> Result<NodeRef, ZoneError> {
        let place = u32::try_from(self.arena.len() / node::ALIGN).ok().filter(|place| *place < u32::MAX);
        let at = NodeRef(place.ok_or(ZoneError::new(Reason::TooMany))?);
        let bytes = u8::try_from(relative.len()).expect("a name has at most 255 bytes");
        let labels = dns::name::labels(relative).count();
        let labels = u8::try_from(labels).expect("a name has at most 127 labels");
        self.arena.extend_from_slice(&[bytes, flags, 0, labels]);
        self.arena.extend_from_slice(relative);
        Ok(at)
    }

    fn count_entry(&mut self, at: NodeRef) {
        let count = &mut self.arena[at.0 as usize * node::ALIGN + 2];
        // A name with 255 types has every type that there is, twice.
        *count = count.checked_add(1).expect("a name of fewer types");
    }

    fn align(&mut self) {
        self.arena.resize(self.arena.len().next_multiple_of(node::ALIGN), 0);
    }
}

/// Lays down the NSEC3 records, which are found by hash only (RFC 5155 §7.2.8: their owners are no names of the zone).
fn nsec3(
    sketches: &Sketches<'_>,
    layer: &mut Layer,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Nsec3>, ZoneError> {
    let mut owners: Vec<(denial::Nsec3Hash, NodeRef)> = Vec::new();
    let mut parameters: Option<(u16, Box<[u8]>)> = None;
    for (hash, first) in sketches.nsec3_owners() {
        let sets = answers::gather(&sketches.records, first);
        let Some(set) = sets.iter().find(|set| set.rtype == Rtype::NSEC3) else { continue };
        let name = &sketches.nsec3_name(&hash)[..];
        let rdata = sketches.records.record(set.records[0]).rdata;
        let bad = || ZoneError::new(Reason::Data(Rtype::NSEC3, name.into()));
        let (&[algorithm, _, i0, i1, salt_bytes], rest) = rdata.split_first_chunk::<5>().ok_or_else(bad)?;
        let salt = rest.get(..usize::from(salt_bytes)).ok_or_else(bad)?;
        let of_this = (u16::from_be_bytes([i0, i1]), Box::<[u8]>::from(salt));
        // A chain with other parameters is one that is coming or going (RFC 5155 §10.5): the first is served.
        if algorithm != 1 || parameters.get_or_insert_with(|| of_this.clone()) != &of_this {
            layer.hide(&sketches.records, name, set)?;
            continue;
        }
        let at = layer.begin(&name[..name.len() - sketches.apex.len()], 0)?;
        answers::lay(sketches, name, 0, set, &sets, &mut layer.arena, warnings)?;
        layer.count_entry(at);
        layer.align();
        owners.push((hash, at));
    }
    owners.sort_unstable();
    Ok(parameters.map(|(iterations, salt)| {
        if iterations > 0 {
            warnings.push(Warning::Nsec3Iterations(iterations));
        }
        Nsec3 { iterations, salt, owners: owners.into_boxed_slice() }
    }))
}

/// The name in `wire`, which is one.
fn name_of(wire: &[u8]) -> Name {
    let mut name = Name::root();
    name.set(wire).expect("a name, as it was read");
    name
}

/// The end of a list.
const NONE: RecordRef = RecordRef::NONE;
