//! What changed in a zone from version to version, so that whoever has an older one need not have all of it (RFC 1995).
//!
//! ```text
//! journal   serial 7 ──▶ 8 ──▶ 11     as long as all of it stays small beside the zone: else it begins anew
//!                  delta  delta       gone, new: whole records
//! ```

use crate::hash::{Form, Key, Suffixes};
use crate::load::Records;
use crate::zone::{Item, Node, NodeRef, Soa, Zone};
use core::cmp::Ordering;
use dns::{Name, Rtype};
use std::sync::Arc;

/// Versions that are remembered at most.
const DELTAS_MAX: usize = 32;
/// A journal may take a quarter of its zone, and so many bytes in any case.
const BYTES_MIN: usize = 64 << 10;

/// From one version to the next.
#[derive(Debug)]
pub struct Delta {
    /// The SOA before.
    pub from: Soa,
    /// The SOA after.
    pub to: Soa,
    /// Records that are no more, the SOA not among them; every one with its owner.
    pub gone: Records,
    /// Records that were not before.
    pub new: Records,
}

impl Delta {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.from.rdata.len() + self.to.rdata.len() + self.gone.bytes() + self.new.bytes()
    }

    /// What became of `old` in `new`; nothing when that takes more than `bytes_max`.
    #[must_use]
    pub fn between(old: &Zone, new: &Zone, key: Key, form: Form, bytes_max: usize) -> Option<Self> {
        let delta =
            Self { from: old.soa(), to: new.soa(), gone: Records::default(), new: Records::default() };
        let mut difference =
            Difference { delta, bytes_max, name: Name::root(), hashes: Suffixes::new(key, form), old, new };
        difference.names()?;
        difference.nsec3()?;
        difference.hidden()?;
        let Self { from, to, gone, new } = difference.delta;
        Some(Self { from, to, gone: gone.shrunk(), new: new.shrunk() })
    }
}

/// The newest changes of a zone, oldest first; each begins where the one before ended.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    deltas: Vec<Arc<Delta>>,
}

impl Journal {
    /// What changed since that version, if that is still known.
    #[must_use]
    pub fn since(&self, serial: u32) -> Option<&[Arc<Delta>]> {
        let first = self.deltas.iter().position(|delta| delta.from.serial() == serial)?;
        Some(&self.deltas[first..])
    }

    /// The bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.deltas.iter().map(|delta| delta.bytes()).sum()
    }

    /// The journal of `new`, whose predecessor is `old`.
    #[must_use]
    pub fn continued(old: &Zone, new: &Zone, key: Key, form: Form) -> Self {
        let quarter = usize::try_from(new.weight().bytes / 4).unwrap_or(usize::MAX);
        let bytes_max = quarter.max(BYTES_MIN);
        let Some(delta) = Delta::between(old, new, key, form, bytes_max) else { return Self::default() };
        let mut journal = old.journal().clone();
        journal.deltas.push(Arc::new(delta));
        let surplus = journal.deltas.len().saturating_sub(DELTAS_MAX);
        journal.deltas.drain(..surplus);
        while journal.bytes() > bytes_max {
            journal.deltas.remove(0);
        }
        journal
    }
}

/// There is no room for all of it.
struct TooMuch;

type Row = (Vec<u8>, Rtype, u32, Vec<u8>);

fn row(item: &Item<'_>) -> Row {
    (item.owner.to_vec(), item.rtype, item.ttl, item.rdata.to_vec())
}

struct Difference<'z> {
    delta: Delta,
    bytes_max: usize,
    name: Name,
    hashes: Suffixes,
    old: &'z Zone,
    new: &'z Zone,
}

impl Difference<'_> {
    /// Names that questions lead to.
    fn names(&mut self) -> Option<()> {
        let (old, new) = (self.old, self.new);
        for (at, node) in old.nodes() {
            match self.look_up(new, node) {
                Some(other) if new.node(other).whole() == node.whole() => {}
                Some(other) => self.rows(rows_of(old, node), rows_of(new, new.node(other)))?,
                // An NSEC3 node is found by its hash only, not by its name.
                None if self.look_up(old, node) != Some(at) => {}
                None => self.rows(rows_of(old, node), Vec::new())?,
            }
        }
        for (at, node) in new.nodes() {
            if self.look_up(old, node).is_none() && self.look_up(new, node) == Some(at) {
                self.rows(Vec::new(), rows_of(new, node))?;
            }
        }
        Some(())
    }

    fn look_up(&mut self, zone: &Zone, node: Node<'_>) -> Option<NodeRef> {
        zone.whole_name(node.name(), &mut self.name);
        self.hashes.fill(&self.name);
        zone.find(self.hashes.suffix(0), node.name())
    }

    /// Hashed names, both sides in the order of hashes.
    fn nsec3(&mut self) -> Option<()> {
        let (old, new) = (self.old, self.new);
        let owners = |zone: &'_ Zone| zone.nsec3().map_or_else(Vec::new, |nsec3| nsec3.owners.to_vec());
        let (before, after) = (owners(old), owners(new));
        let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return Some(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.cmp(b),
            };
            let gone = if order.is_le() { before.next() } else { None };
            let come = if order.is_ge() { after.next() } else { None };
            let (gone, come) = (gone.map(|(_, at)| old.node(*at)), come.map(|(_, at)| new.node(*at)));
            if gone.map(|node| node.whole()) != come.map(|node| node.whole()) {
                let of =
                    |zone: &Zone, node: Option<Node<'_>>| node.map_or_else(Vec::new, |n| rows_of(zone, n));
                self.rows(of(old, gone), of(new, come))?;
            }
        }
    }

    /// What answers nothing.
    fn hidden(&mut self) -> Option<()> {
        let (old, new) = (self.old, self.new);
        if old.hidden_is_that_of(new) { Some(()) } else { self.rows(old.hidden_rows(), new.hidden_rows()) }
    }

    fn rows(&mut self, mut before: Vec<Row>, mut after: Vec<Row>) -> Option<()> {
        before.sort_unstable();
        after.sort_unstable();
        let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.cmp(b),
            };
            let gone = if order.is_le() { before.next() } else { None };
            let new = if order.is_ge() { after.next() } else { None };
            match (gone, new) {
                (Some(row), None) => push(&mut self.delta.gone, row, self.old).ok()?,
                (None, Some(row)) => push(&mut self.delta.new, row, self.new).ok()?,
                _ => {}
            }
        }
        (self.delta.gone.bytes() + self.delta.new.bytes() <= self.bytes_max).then_some(())
    }
}

fn rows_of(zone: &Zone, node: Node<'_>) -> Vec<Row> {
    let mut rows = Vec::new();
    zone.visit_node(node, |item| {
        if !(item.rtype == Rtype::SOA && item.owner.is_empty()) {
            rows.push(row(item));
        }
    });
    rows
}

fn push(records: &mut Records, row: &Row, zone: &Zone) -> Result<(), TooMuch> {
    let (owner, rtype, ttl, rdata) = row;
    let owner = [owner, zone.apex()].concat();
    records.forget_owner();
    records.push(&owner, *rtype, *ttl, |out| out.extend_from_slice(rdata)).map_err(|_| TooMuch)
}

impl Zone {
    /// What answers nothing, as rows.
    fn hidden_rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        self.visit_hidden(|item| rows.push(row(item)));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::serial::is_newer;
    use crate::{load, zone};
    use core::ops::ControlFlow;
    use std::collections::BTreeSet;

    const KEY: [u8; 16] = [9; 16];
    const APEX: &[u8] = b"\x07example\0";

    fn zone_of(serial: u32, rest: &str, before: Option<&Zone>) -> Zone {
        let text =
            format!("$TTL 300\n@ SOA ns h {serial} 3600 900 604800 60\n@ NS ns\nns A 192.0.2.1\n{rest}");
        let loaded = load::read_text("z".as_ref(), text.as_bytes(), APEX).unwrap();
        let mut zone = zone::build(APEX, loaded, Key::new(KEY), Form::Wire).unwrap().zone;
        if let Some(before) = before {
            zone.succeed(before, Key::new(KEY), Form::Wire);
        }
        zone
    }

    fn set(zone: &Zone) -> BTreeSet<Row> {
        let mut rows = BTreeSet::new();
        let end = zone.visit(zone::Cursor::default(), |item| {
            if item.rtype != Rtype::SOA {
                rows.insert(row(item));
            }
            ControlFlow::Continue(())
        });
        assert_eq!(end, None);
        rows
    }

    fn list(records: &Records) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut next = records.first();
        while let Some(at) = next {
            let record = records.record(at);
            let owner = record.owner.expect("written out");
            let owner = owner[..owner.len() - APEX.len()].to_vec();
            rows.push((owner, record.rtype, record.ttl, record.rdata.to_vec()));
            next = records.following(at);
        }
        rows
    }

    const A: &str = "www A 1.1.1.1\nwww A 1.1.1.2\nmail MX 10 ns\nsub NS ns.sub\nns.sub A 1.1.1.3\nold TXT \"x\"\n\
         b4um86eghhds6nea196smvmlo4ors995 NSEC3 1 0 0 - b4um86eghhds6nea196smvmlo4ors995 A\n";
    const B: &str = "www A 1.1.1.2\nwww 600 AAAA 2001:db8::1\nmail MX 10 ns\nsub NS ns.sub\nns.sub A 1.1.1.4\nnew.deep TXT \"x\"\n\
         c4um86eghhds6nea196smvmlo4ors995 NSEC3 1 0 0 - c4um86eghhds6nea196smvmlo4ors995 A\n";

    #[test]
    fn the_old_version_and_what_changed_make_the_new_one() {
        let old = zone_of(7, A, None);
        let new = zone_of(8, B, Some(&old));
        let delta = &new.journal().since(7).unwrap()[0];
        let mut rows = set(&old);
        for gone in list(&delta.gone) {
            assert!(rows.remove(&gone), "{gone:?} was there");
        }
        for come in list(&delta.new) {
            assert!(rows.insert(come.clone()), "{come:?} was not there");
        }
        assert_eq!(rows, set(&new));
        assert!(is_newer(delta.to.serial(), delta.from.serial()));
        // The MX set's additional section changed with nothing of its own: that is no change of it.
        assert!(list(&delta.new).iter().all(|(_, rtype, ..)| *rtype != Rtype::MX));
    }

    #[test]
    fn versions_follow_each_other_until_one_is_unknown() {
        let first = zone_of(u32::MAX, A, None);
        let second = zone_of(0, B, Some(&first));
        let third = zone_of(5, A, Some(&second));
        assert_eq!(third.journal().since(u32::MAX).map(<[_]>::len), Some(2));
        assert_eq!(third.journal().since(0).map(<[_]>::len), Some(1));
        assert!(third.journal().since(5).is_none() && third.journal().since(3).is_none());
        let backwards = zone_of(4, B, Some(&third));
        assert!(backwards.journal().since(5).is_none(), "nobody may be led back");
    }

    #[test]
    fn a_journal_stays_small_beside_its_zone() {
        let filler = |letter: &str| -> String {
            (0..400).map(|index| format!("t{index} TXT \"{}\"\n", letter.repeat(200))).collect()
        };
        let first = zone_of(1, &filler("a"), None);
        let second = zone_of(2, &filler("b"), Some(&first));
        assert!(second.journal().since(1).is_none(), "all of it changed: that is no journal");
        let mut zone = second;
        for serial in 3..60 {
            zone = zone_of(serial, &format!("{}x TXT \"{serial}\"\n", filler("b")), Some(&zone));
        }
        assert!(zone.journal().since(59 - 32).is_some() && zone.journal().since(59 - 33).is_none());
    }
}
