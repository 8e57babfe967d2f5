//! Proofs of what is not there (RFC 4035 §3.1.3, RFC 5155 §7.2), out of the zone's NSEC or NSEC3 records.
//!
//! ```text
//!                 NSEC                              NSEC3
//! NXDOMAIN        covers name, covers *.encloser    matches encloser, covers next closer, covers *.encloser
//! NODATA          matches (or covers) name          matches name, or as for a DS
//! wildcard        covers name                       covers next closer
//! wildcard NODATA covers name, matches wildcard     … and matches encloser and wildcard
//! no DS           matches cut                       matches cut, or closest provable encloser and covers next closer
//! ```

use super::compose::{NoRoom, Owner, Reply, Section};
use crate::zone::{Node, NodeRef, Zone};
use arrayvec::ArrayVec;
use dns::name::NAME_BYTES_MAX;
use dns::{Name, Rtype};

/// What stood for a name that does not exist.
#[derive(Clone, Copy, Debug)]
pub(super) enum Proven {
    /// A wildcard's records.
    WildcardAnswer,
    /// A wildcard that lacks the type.
    WildcardNoData(NodeRef),
}

/// The proofs of one response; a record is written once.
pub(super) struct Proof<'z> {
    zone: &'z Zone,
    apex_at: usize,
    said: ArrayVec<NodeRef, 24>,
    /// Records that belong behind the answer section, which is still being written.
    due: ArrayVec<NodeRef, 24>,
}

impl<'z> Proof<'z> {
    pub(super) const fn new(zone: &'z Zone, apex_at: usize) -> Self {
        Self { zone, apex_at, said: ArrayVec::new_const(), due: ArrayVec::new_const() }
    }

    /// Writes what is due: the answer section is complete.
    pub(super) fn flush(&mut self, reply: &mut Reply<'_>) -> Result<(), NoRoom> {
        for at in core::mem::take(&mut self.due) {
            let node = self.zone.node(at);
            let rtype = if self.zone.nsec3().is_some() { Rtype::NSEC3 } else { Rtype::NSEC };
            let Some(entry) = node.entry(rtype) else { continue };
            reply.forget_sum();
            let owner = Owner::Below(node.name());
            reply.records(Section::Authority, &entry.signed(), None, owner, self.apex_at, u32::MAX)?;
        }
        Ok(())
    }

    fn say(&mut self, at: Option<NodeRef>) {
        if let Some(at) = at
            && !self.said.contains(&at)
            && !self.said.is_full()
        {
            self.said.push(at);
            self.due.push(at);
        }
    }

    fn covers(&mut self, name: &Name, skip: usize) {
        let zone = self.zone;
        let at = match zone.nsec3() {
            Some(nsec3) => nsec3.covering(&nsec3.hash(name.suffix(skip))),
            None => zone.nsec_at_or_before(zone.relative(name, skip)),
        };
        self.say(at);
    }

    /// `*.` the last `labels` labels of `name`.
    fn covers_wildcard(&mut self, name: &Name, labels: usize) {
        let encloser = name.suffix(name.labels() - labels);
        let mut wildcard: ArrayVec<u8, { NAME_BYTES_MAX + 2 }> = ArrayVec::new();
        wildcard.extend(*b"\x01*");
        wildcard.extend(encloser.iter().copied());
        let zone = self.zone;
        let at = match zone.nsec3() {
            Some(nsec3) => nsec3.covering(&nsec3.hash(&wildcard)),
            None => zone.nsec_at_or_before(&wildcard[..wildcard.len() - zone.apex().len()]),
        };
        self.say(at);
    }

    /// The name does not exist, and its closest encloser has this many labels.
    pub(super) fn of_name_error(
        &mut self,
        reply: &mut Reply<'_>,
        name: &Name,
        encloser: usize,
    ) -> Result<(), NoRoom> {
        let mut encloser = encloser;
        if let Some(nsec3) = self.zone.nsec3() {
            // An encloser that opt-out left without a hash cannot be proven; one above it can.
            while encloser > self.zone.apex_labels()
                && nsec3.matching(&nsec3.hash(name.suffix(name.labels() - encloser))).is_none()
            {
                encloser -= 1;
            }
            self.say(nsec3.matching(&nsec3.hash(name.suffix(name.labels() - encloser))));
            self.covers(name, name.labels() - encloser - 1);
        } else {
            self.covers(name, 0);
        }
        self.covers_wildcard(name, encloser);
        self.flush(reply)
    }

    /// The name is there, but not this type.
    pub(super) fn of_no_data(
        &mut self,
        reply: &mut Reply<'_>,
        at: NodeRef,
        name: &Name,
    ) -> Result<(), NoRoom> {
        match self.zone.nsec3() {
            Some(nsec3) => match nsec3.matching(&nsec3.hash(name.wire())) {
                Some(at) => self.say(Some(at)),
                // An empty non-terminal above insecure delegations only (RFC 5155 §7.2.4 by way of opt-out).
                None => self.closest_provable(name.wire()),
            },
            None if self.zone.node(at).entry(Rtype::NSEC).is_some() => self.say(Some(at)),
            None => self.covers(name, 0),
        }
        self.flush(reply)
    }

    /// A wildcard stood for the name, whose closest encloser has this many labels.
    pub(super) fn of_wildcard(
        &mut self,
        reply: &mut Reply<'_>,
        proven: Proven,
        name: &Name,
        encloser: usize,
    ) -> Result<(), NoRoom> {
        let next_closer = name.labels() - encloser - 1;
        match (proven, self.zone.nsec3()) {
            (Proven::WildcardAnswer, None) => self.covers(name, 0),
            (Proven::WildcardAnswer, Some(_)) => self.covers(name, next_closer),
            (Proven::WildcardNoData(at), None) => {
                self.covers(name, 0);
                self.say(Some(at));
            }
            (Proven::WildcardNoData(at), Some(nsec3)) => {
                self.say(nsec3.matching(&nsec3.hash(name.suffix(next_closer + 1))));
                self.covers(name, next_closer);
                let mut wildcard: ArrayVec<u8, { NAME_BYTES_MAX + 2 }> = ArrayVec::new();
                wildcard.extend(self.zone.node(at).name().iter().copied());
                wildcard.extend(self.zone.apex().iter().copied());
                self.say(nsec3.matching(&nsec3.hash(&wildcard)));
            }
        }
        match proven {
            // More of the answer section may follow.
            Proven::WildcardAnswer => Ok(()),
            Proven::WildcardNoData(_) => self.flush(reply),
        }
    }

    /// The cut has no DS, which was asked for.
    pub(super) fn of_no_ds(
        &mut self,
        reply: &mut Reply<'_>,
        node: Node<'_>,
        cut: &Name,
    ) -> Result<(), NoRoom> {
        self.of_no_ds_at(reply, node, cut.wire())
    }

    /// The cut has no DS.
    pub(super) fn of_no_ds_at(
        &mut self,
        reply: &mut Reply<'_>,
        node: Node<'_>,
        cut: &[u8],
    ) -> Result<(), NoRoom> {
        match self.zone.nsec3() {
            Some(nsec3) => match nsec3.matching(&nsec3.hash(cut)) {
                Some(at) => self.say(Some(at)),
                None => self.closest_provable(cut),
            },
            None if node.entry(Rtype::NSEC).is_some() => {
                let relative = node.name();
                self.say(self.zone.nsec_at_or_before(relative));
            }
            None => {}
        }
        self.flush(reply)
    }

    /// RFC 5155 §7.2.1: the closest encloser that has a hash, and what covers the name one label longer.
    fn closest_provable(&mut self, name: &[u8]) {
        let Some(nsec3) = self.zone.nsec3() else { return };
        let apex = self.zone.apex().len();
        let mut next_closer = name;
        while next_closer.len() > apex {
            let encloser = &next_closer[1 + usize::from(next_closer[0])..];
            if let Some(at) = nsec3.matching(&nsec3.hash(encloser)) {
                self.say(Some(at));
                self.say(nsec3.covering(&nsec3.hash(next_closer)));
                return;
            }
            next_closer = encloser;
        }
    }
}
