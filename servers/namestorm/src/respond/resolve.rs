//! Answers that are put together: chains, wildcards, denials (RFC 1034 §4.3.2, RFC 4592, RFC 6672, RFC 2308).
//!
//! ```text
//! question ─▶ located: exact      ─▶ CNAME ─┐      ANY ▶ one set      nothing of this type ▶ NODATA
//!     ▲                wildcard   ─▶ CNAME ─┤      the same, owned by the name that was asked for
//!     │                DNAME      ─▶ CNAME ─┤
//!     │                cut        ─▶ referral          nothing ▶ NXDOMAIN
//!     └────────────────────────────────────┘ while the target lies in the zone, and was not met before
//! ```

use super::Answered;
use super::compose::{NoRoom, Owner, Reply, Section, is_reachable};
use super::proof::{Proof, Proven};
use crate::hash::Suffixes;
use crate::rrl::Kind;
use crate::steer::{Client, Steering};
use crate::zone::{Entry, Found, Node, NodeRef, Zone, flag};
use arrayvec::ArrayVec;
use dns::name::NAME_BYTES_MAX;
use dns::{Name, Rcode, Rtype};

/// The most links of a chain that are followed.
const CHAIN_MAX: usize = 16;

/// A question that no single body answers.
pub(super) struct Resolve<'a, 'o> {
    pub(super) say: Say<'a, 'o>,
    pub(super) question: &'a Name,
    pub(super) hashes: &'a Suffixes,
    pub(super) chain: &'a mut Name,
    pub(super) chain_hashes: &'a mut Suffixes,
}

/// What is asked of each name that the question leads to, and where it is said.
pub(super) struct Say<'a, 'o> {
    pub(super) zone: &'a Zone,
    pub(super) qtype: Rtype,
    pub(super) dnssec: bool,
    pub(super) any_is_minimal: bool,
    /// What depends on who asks, and who does.
    pub(super) steered: Option<(&'a Steering, Client)>,
    /// How much of the client's network mattered.
    pub(super) scope: &'a mut u8,
    pub(super) reply: &'a mut Reply<'o>,
}

/// Where a chain goes on.
enum Next {
    /// All was said.
    Done(Rcode),
    /// At the name whose place in the message this is.
    At(usize),
}

impl Resolve<'_, '_> {
    /// Writes the answer; one that does not fit is taken back and truncated.
    pub(super) fn run(mut self) -> Answered {
        // What it would have been, as far as that was seen.
        let mut known = Answered { rcode: Rcode::NOERROR, authoritative: true, kind: Kind::Positive };
        match self.follow(&mut known) {
            Ok(answered) => answered,
            Err(NoRoom) => {
                self.say.reply.truncate();
                known
            }
        }
    }

    fn follow(&mut self, known: &mut Answered) -> Result<Answered, NoRoom> {
        let zone = self.say.zone;
        let apex_at = 12 + self.question.len() - zone.apex().len();
        let mut met: ArrayVec<NodeRef, CHAIN_MAX> = ArrayVec::new();
        // Names by their hashes, whose key nobody knows: one that comes again closes a loop.
        let mut names: ArrayVec<u64, { CHAIN_MAX + 1 }> = ArrayVec::new();
        names.push(self.hashes.suffix(0));
        let mut proof = Proof::new(zone, apex_at);
        // A wildcard or a DNAME answers any number of names: they share a rate.
        let mut any_name = false;
        // First the question's name; then what the chain leads to, and where that stands.
        let mut target: Option<usize> = None;
        loop {
            let (name, hashes) = match target {
                None => (self.question, self.hashes),
                Some(_) => (&*self.chain, &*self.chain_hashes),
            };
            let relative: ArrayVec<u8, NAME_BYTES_MAX> = zone.relative(name, 0).iter().copied().collect();
            let owner = match target {
                None => Owner::Question,
                Some(at) if is_reachable(at) => Owner::At(at),
                Some(_) => Owner::Below(&relative),
            };
            let found = zone.locate(name, hashes);
            any_name |= matches!(found, Found::Wildcard(..) | Found::Dname(..));
            if any_name {
                known.kind = Kind::Negative(zone_hash(zone));
            }
            let next = match found {
                Found::Exact(..) if self.say.steered(name, hashes, owner, apex_at)? => {
                    Next::Done(Rcode::NOERROR)
                }
                Found::Exact(at, node) => {
                    // A CNAME that was met before is not said twice: a loop ends here.
                    if node.is(flag::CNAME) && met.contains(&at) {
                        Next::Done(Rcode::NOERROR)
                    } else {
                        let _ = met.try_push(at);
                        let next = self.say.at_node(node, owner, apex_at)?;
                        if matches!(next, Next::Done(_)) && !self.say.has_answer(node) && self.say.dnssec {
                            proof.of_no_data(self.say.reply, at, name)?;
                        }
                        next
                    }
                }
                Found::Wildcard(at, node, encloser) => {
                    let next = self.say.at_node(node, owner, apex_at)?;
                    if self.say.dnssec {
                        let proven = if self.say.has_answer(node) {
                            Proven::WildcardAnswer
                        } else {
                            Proven::WildcardNoData(at)
                        };
                        proof.of_wildcard(self.say.reply, proven, name, encloser)?;
                    }
                    if met.is_full() {
                        Next::Done(Rcode::NOERROR)
                    } else {
                        met.push(at);
                        next
                    }
                }
                Found::Dname(at, node) => {
                    if met.is_full() {
                        Next::Done(Rcode::NOERROR)
                    } else {
                        let is_said = met.contains(&at);
                        met.push(at);
                        self.say.through_dname(node, is_said, name, owner, apex_at)?
                    }
                }
                Found::Cut(_, node) => {
                    known.authoritative =
                        target.is_some() || self.say.qtype == Rtype::DS && is_at(name, node, zone);
                    let below = name.labels() - node.labels() - zone.apex_labels();
                    let kind = if any_name {
                        Kind::Negative(zone_hash(zone))
                    } else {
                        Kind::Referral(hashes.suffix(below))
                    };
                    known.kind = kind;
                    let answered = self.say.at_cut(node, name, target.is_some(), &mut proof, apex_at)?;
                    return Ok(Answered { kind, ..answered });
                }
                Found::Nothing(encloser) => {
                    *known = Answered {
                        rcode: Rcode::NXDOMAIN,
                        authoritative: true,
                        kind: Kind::Negative(zone_hash(zone)),
                    };
                    self.say.reply.negative(zone.negative(self.say.dnssec), apex_at)?;
                    if self.say.dnssec {
                        proof.of_name_error(self.say.reply, name, encloser)?;
                    }
                    let kind = Kind::Negative(zone_hash(zone));
                    return Ok(Answered { rcode: Rcode::NXDOMAIN, authoritative: true, kind });
                }
            };
            match next {
                Next::Done(rcode) => {
                    proof.flush(self.say.reply)?;
                    let kind = if any_name { Kind::Negative(zone_hash(zone)) } else { Kind::Positive };
                    return Ok(Answered { rcode, authoritative: true, kind });
                }
                Next::At(at) => {
                    let kind = if any_name { Kind::Negative(zone_hash(zone)) } else { Kind::Positive };
                    let positive = Answered { rcode: Rcode::NOERROR, authoritative: true, kind };
                    self.say.reply.name_at(at, self.chain)?;
                    let labels = self.chain.labels();
                    let within = labels >= zone.apex_labels()
                        && self.chain.suffix(labels - zone.apex_labels()) == zone.apex();
                    if !within || met.is_full() {
                        proof.flush(self.say.reply)?;
                        return Ok(positive);
                    }
                    self.chain_hashes.fill(self.chain);
                    let hash = self.chain_hashes.suffix(0);
                    if names.contains(&hash) || names.try_push(hash).is_err() {
                        proof.flush(self.say.reply)?;
                        return Ok(positive);
                    }
                    target = Some(at);
                }
            }
        }
    }
}

impl Say<'_, '_> {
    /// Whether the node answers the type that is asked for, or leads elsewhere.
    fn has_answer(&self, node: Node<'_>) -> bool {
        match self.qtype {
            Rtype::ANY => node.entries_count() > 0,
            Rtype::RRSIG => self.signed_entry(node).is_some(),
            qtype => node.entry(qtype).is_some() || node.entry(Rtype::CNAME).is_some(),
        }
    }

    /// Says the addresses of a steered name, to which a chain has led.
    fn steered(
        &mut self,
        name: &Name,
        hashes: &Suffixes,
        owner: Owner<'_>,
        apex_at: usize,
    ) -> Result<bool, NoRoom> {
        let Some((steering, client)) = self.steered else { return Ok(false) };
        let Some(steered) = steering.answer(name, hashes, self.qtype, client) else { return Ok(false) };
        *self.scope = (*self.scope).max(steered.scope);
        let Some(variant) = steered.variant else { return Ok(false) };
        self.reply.records(Section::Answer, &variant, None, owner, apex_at, u32::MAX)?;
        Ok(true)
    }

    fn signed_entry<'n>(&self, node: Node<'n>) -> Option<Entry<'n>> {
        node.entries().find(|entry| entry.signed().an > entry.plain().an)
    }

    /// What a name says to the question, or where it leads.
    fn at_node(&mut self, node: Node<'_>, owner: Owner<'_>, apex_at: usize) -> Result<Next, NoRoom> {
        let dnssec = self.dnssec;
        let all = u32::MAX;
        let done = Ok(Next::Done(Rcode::NOERROR));
        match self.qtype {
            Rtype::ANY if node.entries_count() > 0 => {
                for entry in node.entries() {
                    // RFC 8482 §4.1: one set is enough; the first, that is the lowest type, but never only DNSSEC's.
                    self.reply.records(Section::Answer, &entry.variant(dnssec), None, owner, apex_at, all)?;
                    if self.any_is_minimal {
                        break;
                    }
                }
                return done;
            }
            Rtype::RRSIG => {
                if let Some(entry) = self.signed_entry(node) {
                    self.reply.records(
                        Section::Answer,
                        &entry.signed(),
                        Some(Rtype::RRSIG),
                        owner,
                        apex_at,
                        all,
                    )?;
                    return done;
                }
            }
            Rtype::IXFR => {
                // RFC 1995 §2 and §4: over UDP, or when there is no history, the SOA alone.
                if let Some(entry) = node.entry(Rtype::SOA) {
                    self.reply.records(Section::Answer, &entry.plain(), None, owner, apex_at, all)?;
                    return done;
                }
            }
            qtype => {
                if let Some(entry) = node.entry(qtype) {
                    self.reply.records(Section::Answer, &entry.variant(dnssec), None, owner, apex_at, all)?;
                    return done;
                }
            }
        }
        if let Some(entry) = node.entry(Rtype::CNAME) {
            let variant = entry.variant(dnssec);
            let at = self.reply.records(Section::Answer, &variant, None, owner, apex_at, all)?;
            return Ok(Next::At(at));
        }
        self.reply.negative(self.zone.negative(dnssec), apex_at)?;
        done
    }

    /// RFC 6672 §3.2: the DNAME, and the CNAME that it means for this name.
    fn through_dname(
        &mut self,
        node: Node<'_>,
        is_said: bool,
        name: &Name,
        owner: Owner<'_>,
        apex_at: usize,
    ) -> Result<Next, NoRoom> {
        let Some(entry) = node.entry(Rtype::DNAME) else { return Ok(Next::Done(Rcode::SERVFAIL)) };
        let of_node = Reply::owner_of(&node);
        let variant = entry.variant(self.dnssec);
        // The second time in a chain it is written to be read, and taken back.
        let before = self.reply.mark();
        let data = self.reply.records(Section::Answer, &variant, None, of_node, apex_at, u32::MAX)?;
        let mut target: ArrayVec<u8, { 2 * NAME_BYTES_MAX }> = ArrayVec::new();
        let above = name.len() - node.name().len() - self.zone.apex().len();
        target.extend(name.wire()[..above].iter().copied());
        let mut to = Name::root();
        self.reply.name_at(data, &mut to)?;
        if is_said {
            self.reply.back_to(before);
        }
        target.extend(to.wire().iter().copied());
        if target.len() > NAME_BYTES_MAX {
            return Ok(Next::Done(Rcode::YXDOMAIN));
        }
        // §3.1: the TTL of the CNAME is the DNAME's.
        let fixed = &variant.body[2..];
        let ttl = u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
        let at = self.reply.cname(owner, apex_at, ttl, &target)?;
        // A CNAME is what was asked for: it is not followed (RFC 1034 §3.6.2).
        Ok(if self.qtype == Rtype::CNAME { Next::Done(Rcode::NOERROR) } else { Next::At(at) })
    }

    /// A referral, in so far as it does not lie there whole; or the parent's word about a DS.
    fn at_cut(
        &mut self,
        node: Node<'_>,
        name: &Name,
        in_chain: bool,
        proof: &mut Proof<'_>,
        apex_at: usize,
    ) -> Result<Answered, NoRoom> {
        let cut_bytes = node.name().len() + self.zone.apex().len();
        let positive =
            |authoritative| Answered { rcode: Rcode::NOERROR, authoritative, kind: Kind::Positive };
        if self.qtype == Rtype::DS && name.len() == cut_bytes {
            let owner = Reply::owner_of(&node);
            let owner = if in_chain { owner } else { Owner::Question };
            if let Some(entry) = node.entry(Rtype::DS) {
                let variant = entry.variant(self.dnssec);
                self.reply.records(Section::Answer, &variant, None, owner, apex_at, u32::MAX)?;
                return Ok(positive(true));
            }
            self.reply.negative(self.zone.negative(self.dnssec), apex_at)?;
            if self.dnssec {
                proof.of_no_ds(self.reply, node, name)?;
            }
            return Ok(positive(true));
        }
        let Some(entry) = node.entry(Rtype::NS) else { return Ok(positive(in_chain)) };
        let variant = entry.variant(self.dnssec);
        // With NSEC, the proof lies with the referral.
        let unproven = self.dnssec && self.zone.nsec3().is_some() && node.entry(Rtype::DS).is_none();
        let cut = name.suffix(name.labels() - node.labels() - self.zone.apex_labels());
        if in_chain {
            // RFC 1034 §4.3.2 step 3b: a chain that leaves the zone ends as a question that does.
            self.reply.chained_referral(&variant, &node, apex_at, |reply| {
                proof.flush(reply)?;
                if unproven { proof.of_no_ds_at(reply, node, cut) } else { Ok(()) }
            })?;
            return Ok(positive(true));
        }
        let below = name.len() - cut_bytes;
        self.reply.referral_with(&variant, below, |reply| {
            if unproven { proof.of_no_ds_at(reply, node, cut) } else { Ok(()) }
        })?;
        Ok(positive(false))
    }
}

/// Whether the cut is at that very name.
fn is_at(name: &Name, node: Node<'_>, zone: &Zone) -> bool {
    name.len() == node.name().len() + zone.apex().len()
}

/// Something that tells zones apart.
fn zone_hash(zone: &Zone) -> u64 {
    zone.apex()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
