//! A zone as it is served: immutable, and every answer of it ready.
//!
//! ```text
//! h₀ of the name ─▶ slots: tag │ node ─▶ arena: node, node, node …       the name, and its answers
//! names in order ─▶ nsec:  node, node …                                  for what does not exist, with proof
//! hashes in order ▶ nsec3: hash │ node …
//! ```
//!
//! A reload builds another zone beside this one; whoever holds this one goes on with it.

mod build;
mod compress;
mod contents;
mod denial;
pub mod node;
mod text;

pub use build::{Built, Warning, build};
pub use contents::{Cursor, Item, Soa};
pub use denial::{Nsec3, Nsec3Hash};
pub use node::{Entry, Node, NodeRef, Variant, flag};

pub(crate) use compress::{TO_QUESTION, name_bytes};

use crate::hash::{Form, Key, Suffixes};
use crate::load::{Loaded, Records};
use crate::transfer::journal::Journal;
use crate::transfer::serial::is_newer;
use core::fmt;
use dns::{Name, Rtype};

/// What a zone weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Names, empty non-terminals among them.
    pub names: u64,
    /// Records.
    pub records: u64,
    /// Bytes of zone text that it was read from.
    pub text_bytes: u64,
    /// Bytes that it holds now.
    pub bytes: u64,
}

impl fmt::Display for Weight {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, records, text_bytes, bytes } = *self;
        let per_name = bytes as f64 / names.max(1) as f64;
        let ratio = bytes as f64 / text_bytes.max(1) as f64;
        write!(
            f,
            "{names} names, {records} records, {bytes} bytes: {per_name:.1} per name, {ratio:.2} times the text"
        )
    }
}

/// A zone.
pub struct Zone {
    /// Its name, folded, on the wire.
    apex: Box<[u8]>,
    apex_labels: usize,
    arena: Box<[u8]>,
    slots: Box<[u64]>,
    apex_node: NodeRef,
    /// SOA for negative answers, with the TTL that RFC 2308 gives it; and with signatures, if it has any.
    negative: (Negative, Option<Box<Negative>>),
    /// Nodes with NSEC records in canonical order; empty when there are none.
    nsec: Box<[NodeRef]>,
    nsec3: Option<Box<Nsec3>>,
    serial: u32,
    /// Records that no question leads to, if there are any: they are part of the zone, and of its transfers.
    hidden: Option<Box<Records>>,
    journal: Journal,
    /// It is known, and nothing of it may be said.
    withheld: bool,
    weight: Weight,
}

/// The authority section of a negative answer, as if the question were the apex.
#[derive(Clone, Debug, Default)]
pub struct Negative {
    /// Its records.
    pub body: Box<[u8]>,
    /// Their number.
    pub count: u16,
    /// Their sum, with the pointers as they stand.
    pub sum: u16,
    /// Where the pointers to the apex stand in the body.
    pub moves: Box<[u16]>,
}

/// What a name leads to.
#[derive(Clone, Copy, Debug)]
pub enum Found<'z> {
    /// The name itself.
    Exact(NodeRef, Node<'z>),
    /// A cut at the name or above it: another server's.
    Cut(NodeRef, Node<'z>),
    /// A DNAME above it.
    Dname(NodeRef, Node<'z>),
    /// Nothing, but a wildcard that stands for it, and how many labels its closest encloser has.
    Wildcard(NodeRef, Node<'z>, usize),
    /// Nothing, and how many labels its closest encloser has.
    Nothing(usize),
}

impl Zone {
    /// The zone's name, folded, on the wire.
    #[must_use]
    pub fn apex(&self) -> &[u8] {
        &self.apex
    }

    /// How many labels that has, the root not counted.
    #[must_use]
    pub const fn apex_labels(&self) -> usize {
        self.apex_labels
    }

    /// The apex's node.
    #[must_use]
    pub fn apex_node(&self) -> Node<'_> {
        self.node(self.apex_node)
    }

    /// The SOA's serial.
    #[must_use]
    pub const fn serial(&self) -> u32 {
        self.serial
    }

    /// What changed in it lately.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// It is a zone of ours, and we have nothing to say of it: not yet, or not any more (RFC 1035 §4.3.5).
    #[inline]
    #[must_use]
    pub const fn is_withheld(&self) -> bool {
        self.withheld
    }

    /// Whether it says the same as `other`, in the same order.
    #[must_use]
    pub fn says_what(&self, other: &Self) -> bool {
        self.arena == other.arena && self.hidden().are_those_of(other.hidden())
    }

    /// This zone takes the place of `old`: what changed is remembered, as far as that is little.
    pub fn succeed(&mut self, old: &Self, key: Key, form: Form) {
        if !old.withheld && is_newer(self.serial, old.serial) {
            self.journal = Journal::continued(old, self, key, form);
            self.weight.bytes += self.journal.bytes() as u64;
        }
    }

    /// A zone that stands for one of which nothing is known.
    ///
    /// # Panics
    /// `apex` is not a folded name on the wire.
    #[must_use]
    pub fn withheld(apex: &[u8], key: Key, form: Form) -> Self {
        let mut loaded = Loaded::default();
        let push = |records: &mut Records, rtype, rdata: &[u8]| {
            records.push(apex, rtype, 0, |out| out.extend_from_slice(rdata)).expect("there is room for two");
        };
        push(&mut loaded.records, Rtype::SOA, &[0; 22]);
        push(&mut loaded.records, Rtype::NS, &[0]);
        let mut zone = build(apex, loaded, key, form).expect("a SOA and an NS make a zone").zone;
        zone.withheld = true;
        zone
    }

    /// What it weighs.
    #[must_use]
    pub const fn weight(&self) -> Weight {
        self.weight
    }

    /// The authority section of a negative answer.
    #[must_use]
    pub fn negative(&self, dnssec: bool) -> &Negative {
        let (plain, signed) = &self.negative;
        signed.as_deref().filter(|_| dnssec).unwrap_or(plain)
    }

    fn hidden(&self) -> &Records {
        static NONE: Records = Records::new();
        self.hidden.as_deref().unwrap_or(&NONE)
    }

    /// Names are hashed to deny them.
    #[must_use]
    pub fn nsec3(&self) -> Option<&Nsec3> {
        self.nsec3.as_deref()
    }

    /// The node at that place.
    ///
    /// # Panics
    /// It is another zone's.
    #[inline]
    #[must_use]
    pub fn node(&self, at: NodeRef) -> Node<'_> {
        Node::new(&self.arena[at.0 as usize * node::ALIGN..])
    }

    /// The node whose name, relative to the apex, is `name`, and whose whole name has this hash.
    #[inline]
    #[must_use]
    pub fn find(&self, hash: u64, name: &[u8]) -> Option<NodeRef> {
        let tag = tag(hash);
        let mut slot = slot_of(hash, self.slots.len());
        loop {
            let entry = self.slots[slot];
            if entry == 0 {
                return None;
            }
            if entry >> 32 == tag {
                #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
                let at = NodeRef(entry as u32 - 1);
                if self.node(at).name() == name {
                    return Some(at);
                }
            }
            slot = next_slot(slot, self.slots.len());
        }
    }

    /// The node of the first slot that has the hash's tag: the one, most likely, whose name has this hash.
    #[inline]
    pub(crate) fn likely(&self, hash: u64) -> Option<NodeRef> {
        let tag = tag(hash);
        let mut slot = slot_of(hash, self.slots.len());
        loop {
            let entry = self.slots[slot];
            if entry == 0 {
                return None;
            }
            if entry >> 32 == tag {
                #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
                return Some(NodeRef(entry as u32 - 1));
            }
            slot = next_slot(slot, self.slots.len());
        }
    }

    /// Reads the slot where a hash is looked for first, so that it is in the cache then.
    #[inline]
    pub(crate) fn touch_slot(&self, hash: u64) -> u64 {
        self.slots[slot_of(hash, self.slots.len())]
    }

    /// Reads a node's first byte and one of the cache line behind it.
    #[inline]
    pub(crate) fn touch_node(&self, at: NodeRef) -> u64 {
        let at = at.0 as usize * node::ALIGN;
        u64::from(self.arena[at] ^ self.arena[(at + TOUCHED_BYTES).min(self.arena.len() - 1)])
    }

    /// The part of `name` above the apex, without its first `skip` labels.
    #[inline]
    #[must_use]
    pub fn relative<'n>(&self, name: &'n Name, skip: usize) -> &'n [u8] {
        let suffix = name.suffix(skip);
        &suffix[..suffix.len() - self.apex.len()]
    }

    /// Where `name`, which is the apex or below it, leads (RFC 1034 §4.3.2 step 3).
    #[inline]
    #[must_use]
    pub fn locate(&self, name: &Name, hashes: &Suffixes) -> Found<'_> {
        if let Some(at) = self.find(hashes.suffix(0), self.relative(name, 0)) {
            let node = self.node(at);
            if !node.is(flag::CUT | flag::OCCLUDED) {
                return Found::Exact(at, node);
            }
        }
        self.locate_above(name, hashes)
    }

    /// Whether authority ends at that very name.
    #[must_use]
    pub fn delegates(&self, name: &Name, hashes: &Suffixes) -> bool {
        let below = name.labels() - self.apex_labels;
        matches!(self.locate(name, hashes), Found::Cut(_, node) if node.labels() == below)
    }

    /// The same for a name that is not there, or where authority ends. From the apex downwards, so that the highest
    /// cut decides.
    fn locate_above(&self, name: &Name, hashes: &Suffixes) -> Found<'_> {
        let below = name.labels() - self.apex_labels;
        let mut encloser = None;
        for depth in 0..=below {
            let skip = below - depth;
            let Some(at) = self.find(hashes.suffix(skip), self.relative(name, skip)) else { break };
            let node = self.node(at);
            if node.is(flag::CUT) {
                return Found::Cut(at, node);
            }
            if node.is(flag::DNAME) && depth < below {
                return Found::Dname(at, node);
            }
            encloser = Some((depth, node));
        }
        let (depth, node) = encloser.expect("the apex is there");
        if node.is(flag::WILDCARD_BELOW)
            && let Some((at, wildcard)) = self.wildcard_below(name, below - depth, hashes)
        {
            return Found::Wildcard(at, wildcard, self.apex_labels + depth);
        }
        Found::Nothing(self.apex_labels + depth)
    }

    /// The node `*` directly below the name without its first `skip` labels.
    fn wildcard_below(&self, name: &Name, skip: usize, hashes: &Suffixes) -> Option<(NodeRef, Node<'_>)> {
        let encloser = self.relative(name, skip);
        let mut relative = [0; 255];
        relative[..2].copy_from_slice(b"\x01*");
        let room = relative.get_mut(2..2 + encloser.len())?;
        room.copy_from_slice(encloser);
        let hash = hashes.below(skip, b"\x01*");
        let at = self.find(hash, &relative[..2 + encloser.len()])?;
        Some((at, self.node(at)))
    }

    /// Every node, in the order in which they lie.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeRef, Node<'_>)> {
        let mut at = 0;
        core::iter::from_fn(move || {
            if at >= self.arena.len() {
                return None;
            }
            let place = NodeRef(u32::try_from(at / node::ALIGN).expect("as it was laid"));
            let node = self.node(place);
            at = (at + node.extent()).next_multiple_of(node::ALIGN);
            Some((place, node))
        })
    }
}

/// How far behind its beginning a node is still touched: an address and its name take less.
const TOUCHED_BYTES: usize = 48;

/// The half of a hash that is compared before the name is.
#[inline]
const fn tag(hash: u64) -> u64 {
    hash & 0xffff_ffff
}

/// Where a hash is looked for first: its other half, scaled.
#[inline]
fn slot_of(hash: u64, slots: usize) -> usize {
    let scaled = ((hash >> 32) * slots as u64) >> 32;
    usize::try_from(scaled).expect("less than the number of slots")
}

/// The slot behind a slot that another name has taken.
#[inline]
const fn next_slot(slot: usize, slots: usize) -> usize {
    if slot + 1 == slots { 0 } else { slot + 1 }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zone")
            .field("apex", &dns::name::Presentation(&self.apex).to_string())
            .field("serial", &self.serial)
            .field("weight", &self.weight)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
