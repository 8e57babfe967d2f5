//! The answers of one RRset, written once.
//!
//! ```text
//! ordinary     answer: records [signatures]
//! with names   answer: records [signatures]          additional: addresses [signatures]
//! at a cut     authority: NS [DS | NSEC, signed]     additional: glue below the cut, other addresses
//! ```

use super::sketch::Sketches;
use super::{NONE, WARNINGS_MAX, Warning};
use crate::load::{Reason, RecordRef, Records, ZoneError};
use crate::zone::Negative;
use crate::zone::compress::{Against, TO_QUESTION, Writer, name_bytes};
use crate::zone::node::{Draft, flag, lay_long, lay_short, sum_of};
use dns::Rtype;

/// What a message has for answers, at most, behind its header, a long question and an OPT record with options.
const BODY_BYTES_MAX: usize = 65_535 - 12 - 259 - 128;

/// The records of one type at one name, and their signatures.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) rtype: Rtype,
    pub(super) ttl: u32,
    pub(super) records: Vec<RecordRef>,
    pub(super) signatures: Vec<RecordRef>,
    mixed_ttl: bool,
}

/// Sorts the list that begins with `first` into sets; records that say the same are one (RFC 2181 §5).
pub(super) fn gather(records: &Records, first: RecordRef) -> Vec<Set> {
    let mut sets: Vec<Set> = Vec::new();
    let mut at = first;
    while at != NONE {
        let record = records.record(at);
        let covered = match record.rtype {
            Rtype::RRSIG => Rtype(u16::from_be_bytes([record.rdata[0], record.rdata[1]])),
            rtype => rtype,
        };
        let index = sets.iter().position(|set| set.rtype == covered).unwrap_or_else(|| {
            let (records, signatures) = (Vec::new(), Vec::new());
            sets.push(Set { rtype: covered, ttl: u32::MAX, records, signatures, mixed_ttl: false });
            sets.len() - 1
        });
        let set = &mut sets[index];
        let is_signature = record.rtype == Rtype::RRSIG;
        let list = if is_signature { &mut set.signatures } else { &mut set.records };
        if !list.iter().any(|other| records.record(*other).rdata == record.rdata) {
            list.push(at);
            if !is_signature {
                set.mixed_ttl |= set.ttl != u32::MAX && set.ttl != record.ttl;
                // RFC 2181 §8: an upper bit means 0.
                set.ttl = set.ttl.min(if record.ttl >> 31 == 1 { 0 } else { record.ttl });
            }
        }
        at = records.next(at);
    }
    // Signatures of nothing answer nothing.
    sets.retain(|set| !set.records.is_empty());
    sets.sort_by_key(|set| set.rtype);
    sets
}

/// What a name may not have together.
pub(super) fn check(sets: &[Set], name: &[u8], flags: u8) -> Result<(), ZoneError> {
    let error = |reason| Err(ZoneError::new(reason));
    for set in sets {
        let single = matches!(set.rtype, Rtype::CNAME | Rtype::DNAME | Rtype::SOA);
        if single && set.records.len() > 1 {
            return error(match set.rtype {
                Rtype::SOA => Reason::SeveralSoa(name.into()),
                rtype => Reason::Several(rtype, name.into()),
            });
        }
    }
    let beside_cname = |set: &Set| !matches!(set.rtype, Rtype::CNAME | Rtype::NSEC | Rtype(25));
    if flags & flag::CNAME != 0 && sets.iter().any(beside_cname) {
        return error(Reason::CnameAndOther(name.into()));
    }
    if flags & flag::APEX != 0 {
        if !sets.iter().any(|set| set.rtype == Rtype::SOA) {
            return error(Reason::NoSoa(name.into()));
        }
        if !sets.iter().any(|set| set.rtype == Rtype::NS) {
            return error(Reason::NoNs(name.into()));
        }
    }
    Ok(())
}

/// Lays down the only record of a name, if it is one that nothing needs to be looked up for: what most of a large zone
/// is. Says whether it did.
pub(super) fn lay_single(records: &Records, first: RecordRef, arena: &mut Vec<u8>) -> bool {
    if first == NONE || records.next(first) != NONE {
        return false;
    }
    let record = records.record(first);
    if !matches!(record.rtype, Rtype::A | Rtype::AAAA | Rtype::TXT) || record.rdata.len() > 256 {
        return false;
    }
    let ttl = if record.ttl >> 31 == 1 { 0 } else { record.ttl };
    let mut body = [0; 12 + 256];
    let bytes = 12 + record.rdata.len();
    body[..2].copy_from_slice(&TO_QUESTION);
    body[2..4].copy_from_slice(&record.rtype.0.to_be_bytes());
    body[4..6].copy_from_slice(&dns::Class::IN.0.to_be_bytes());
    body[6..10].copy_from_slice(&ttl.to_be_bytes());
    body[10..12].copy_from_slice(&u16::try_from(record.rdata.len()).expect("at most 256").to_be_bytes());
    body[12..bytes].copy_from_slice(record.rdata);
    let plain = (1, u16::try_from(bytes).expect("at most 268"));
    lay_short(arena, record.rtype, plain, plain, &body[..bytes]);
    true
}

/// Lays down the entry of `set`, one of the sets of `name`.
pub(super) fn lay(
    sketches: &Sketches<'_>,
    name: &[u8],
    flags: u8,
    set: &Set,
    sets: &[Set],
    arena: &mut Vec<u8>,
    warnings: &mut Vec<Warning>,
) -> Result<(), ZoneError> {
    if set.mixed_ttl && warnings.len() < WARNINGS_MAX {
        warnings.push(Warning::Ttl(set.rtype, name.into()));
    }
    let drafting = Drafting { sketches, name, set, sets };
    if flags & flag::CUT != 0 && set.rtype == Rtype::NS {
        let plain = drafting.referral(false, warnings)?;
        let signed = drafting.has_proof().then(|| drafting.referral(true, &mut Vec::new())).transpose()?;
        lay_long(arena, set.rtype, &plain, signed.as_ref());
        return Ok(());
    }
    let targets = if name.starts_with(b"\x01*") { Vec::new() } else { drafting.targets() };
    let (body, plain_bytes) = drafting.answer()?;
    let (records, all) = (set.records.len(), set.records.len() + set.signatures.len());
    if let (true, Ok(records), Ok(all)) = (targets.is_empty(), u8::try_from(records), u8::try_from(all)) {
        lay_short(arena, set.rtype, (records, plain_bytes), (all, length(&body)), &body);
        return Ok(());
    }
    let plain = drafting.with_additional(&targets, false)?;
    let any_signature = !set.signatures.is_empty()
        || targets.iter().any(|target| target.addresses.iter().any(|set| !set.signatures.is_empty()));
    let signed = any_signature.then(|| drafting.with_additional(&targets, true)).transpose()?;
    lay_long(arena, set.rtype, &plain, signed.as_ref());
    Ok(())
}

/// A name in the data of a set, with the addresses that the zone has for it.
struct Target {
    name: Vec<u8>,
    addresses: Vec<Set>,
}

struct Drafting<'a> {
    sketches: &'a Sketches<'a>,
    name: &'a [u8],
    set: &'a Set,
    sets: &'a [Set],
}

impl Drafting<'_> {
    fn writer(&self) -> Writer<'_> {
        Writer::new(self.name, self.sketches.apex)
    }

    fn fits(&self, bytes: usize) -> Result<(), ZoneError> {
        if bytes <= BODY_BYTES_MAX {
            return Ok(());
        }
        Err(ZoneError::new(Reason::TooLarge(self.set.rtype, self.name.into())))
    }

    /// Records, then signatures; and how many bytes the records take.
    fn answer(&self) -> Result<(Vec<u8>, u16), ZoneError> {
        let mut writer = self.writer();
        let plain = self.write_answer(&mut writer, true)?;
        Ok((writer.body, plain))
    }

    fn write_answer(&self, writer: &mut Writer<'_>, signed: bool) -> Result<u16, ZoneError> {
        let records = &self.sketches.records;
        for at in &self.set.records {
            writer.record(self.set.rtype, self.set.ttl, records.record(*at).rdata, Against::Apex);
            self.fits(writer.body.len())?;
        }
        let plain = length(&writer.body);
        if signed {
            for at in &self.set.signatures {
                writer.record(Rtype::RRSIG, self.set.ttl, records.record(*at).rdata, Against::Nothing);
                self.fits(writer.body.len())?;
            }
        }
        Ok(plain)
    }

    fn with_additional(&self, targets: &[Target], signed: bool) -> Result<Draft, ZoneError> {
        let mut writer = self.writer();
        writer.learn = true;
        self.write_answer(&mut writer, signed)?;
        let an = self.set.records.len() + if signed { self.set.signatures.len() } else { 0 };
        let sections = length(&writer.body);
        writer.learn = false;
        let mut ar = 0;
        for target in targets {
            ar += self.write_addresses(&mut writer, target, signed);
        }
        Ok(Draft {
            an: count(an),
            ns: 0,
            ar,
            sections,
            keep: sections,
            keep_ar: 0,
            body: writer.body,
            // What moves is found by walking the records: an answer of this kind is moved only in a chain.
            moves: Vec::new(),
        })
    }

    /// Writes the addresses of a target while there is room; returns how many records those are.
    fn write_addresses(&self, writer: &mut Writer<'_>, target: &Target, signed: bool) -> u16 {
        let mut written = 0;
        for set in &target.addresses {
            let before = (writer.body.len(), writer.moves.len());
            let mut count = 0;
            for at in &set.records {
                let rdata = self.sketches.records.record(*at).rdata;
                writer.record_of(&target.name, set.rtype, set.ttl, rdata, Against::All);
                count += 1;
            }
            for at in set.signatures.iter().filter(|_| signed) {
                let rdata = self.sketches.records.record(*at).rdata;
                writer.record_of(&target.name, Rtype::RRSIG, set.ttl, rdata, Against::All);
                count += 1;
            }
            if writer.body.len() > BODY_BYTES_MAX {
                writer.body.truncate(before.0);
                writer.moves.truncate(before.1);
                return written;
            }
            written += count;
        }
        written
    }

    /// Names in the data that the zone has addresses for, each once.
    fn targets(&self) -> Vec<Target> {
        let Some(offset) = self.set.rtype.target_offset() else { return Vec::new() };
        let mut targets: Vec<Target> = Vec::new();
        for at in &self.set.records {
            let rdata = self.sketches.records.record(*at).rdata;
            let Some(name) = rdata.get(offset..).map(|rest| &rest[..name_bytes(rest)]) else { continue };
            // RFC 9460 §2.5: in ServiceMode a target of "." is the owner itself.
            let is_service = matches!(self.set.rtype, Rtype::SVCB | Rtype::HTTPS) && rdata[..2] != [0, 0];
            let name = if name == [0] && is_service { self.name } else { name };
            if targets.iter().any(|target| target.name.eq_ignore_ascii_case(name)) {
                continue;
            }
            let addresses = self.addresses(name);
            if !addresses.is_empty() {
                targets.push(Target { name: name.to_vec(), addresses });
            }
        }
        targets
    }

    fn addresses(&self, name: &[u8]) -> Vec<Set> {
        let Some(index) = self.sketches.find(name) else { return Vec::new() };
        let mut sets = gather(&self.sketches.records, self.sketches.first(index));
        sets.retain(|set| matches!(set.rtype, Rtype::A | Rtype::AAAA));
        if self.sketches.flags(index) & (flag::OCCLUDED | flag::CUT) != 0 {
            // Glue is not ours to sign (RFC 4035 §2.2).
            sets.iter_mut().for_each(|set| set.signatures.clear());
        }
        sets
    }

    /// A signed DS, or a signed NSEC that says there is none, stands at the cut.
    fn has_proof(&self) -> bool {
        self.sets.iter().any(|set| matches!(set.rtype, Rtype::DS | Rtype::NSEC) && !set.signatures.is_empty())
    }

    fn referral(&self, signed: bool, warnings: &mut Vec<Warning>) -> Result<Draft, ZoneError> {
        let records = &self.sketches.records;
        let mut writer = self.writer();
        writer.learn = true;
        let mut ns = 0;
        for at in &self.set.records {
            writer.record_of(self.name, Rtype::NS, self.set.ttl, records.record(*at).rdata, Against::All);
            ns += 1;
        }
        writer.learn = false;
        if signed {
            let ds = self.sets.iter().find(|set| set.rtype == Rtype::DS);
            let proof = ds.or_else(|| self.sets.iter().find(|set| set.rtype == Rtype::NSEC));
            if let Some(set) = proof {
                for at in &set.records {
                    writer.record_of(self.name, set.rtype, set.ttl, records.record(*at).rdata, Against::All);
                    ns += 1;
                }
                for at in &set.signatures {
                    writer.record_of(
                        self.name,
                        Rtype::RRSIG,
                        set.ttl,
                        records.record(*at).rdata,
                        Against::All,
                    );
                    ns += 1;
                }
            }
        }
        self.fits(writer.body.len())?;
        let sections = length(&writer.body);
        let mut targets = self.targets();
        // RFC 9471 §2.1: what lies below the cut is needed, anything else helps.
        let below = |target: &Target| {
            let name = &target.name;
            name.len() >= self.name.len()
                && name[name.len() - self.name.len()..].eq_ignore_ascii_case(self.name)
        };
        targets.sort_by_key(|target| !below(target));
        let (mut ar, mut keep, mut keep_ar) = (0, sections, 0);
        for target in &targets {
            ar += self.write_addresses(&mut writer, target, signed);
            if below(target) {
                (keep, keep_ar) = (length(&writer.body), ar);
            }
        }
        self.warn_of_missing_glue(&targets, warnings);
        let Writer { body, moves, .. } = writer;
        Ok(Draft { an: 0, ns, ar, body, sections, keep, keep_ar, moves })
    }

    fn warn_of_missing_glue(&self, targets: &[Target], warnings: &mut Vec<Warning>) {
        for at in &self.set.records {
            let server = self.sketches.records.record(*at).rdata;
            let below = server.len() >= self.name.len()
                && server[server.len() - self.name.len()..].eq_ignore_ascii_case(self.name);
            let known = targets.iter().any(|target| target.name.eq_ignore_ascii_case(server));
            if below && !known && warnings.len() < WARNINGS_MAX {
                warnings.push(Warning::MissingGlue(self.name.into(), server.into()));
            }
        }
    }
}

/// The authority sections of negative answers: SOA with the TTL of RFC 2308 §3, alone, and signed if it is.
pub(super) fn negative(sketches: &Sketches<'_>) -> Result<(Negative, Option<Box<Negative>>), ZoneError> {
    let sets = gather(&sketches.records, sketches.first(0));
    let soa = soa_of(&sets, sketches)?;
    let rdata = sketches.records.record(soa.records[0]).rdata;
    let minimum = rdata.last_chunk::<4>().map_or(0, |bytes| u32::from_be_bytes(*bytes));
    let ttl = soa.ttl.min(minimum);
    let with = |signatures: &[RecordRef]| {
        let mut writer = Writer::new(sketches.apex, sketches.apex);
        writer.record_of(sketches.apex, Rtype::SOA, ttl, rdata, Against::Apex);
        for at in signatures {
            let rdata = sketches.records.record(*at).rdata;
            writer.record_of(sketches.apex, Rtype::RRSIG, ttl, rdata, Against::Apex);
        }
        let Writer { body, moves, .. } = writer;
        let count = count(1 + signatures.len());
        Negative { sum: sum_of(&body), body: body.into_boxed_slice(), count, moves: moves.into_boxed_slice() }
    };
    let signed = (!soa.signatures.is_empty()).then(|| Box::new(with(&soa.signatures)));
    Ok((with(&[]), signed))
}

/// The serial of the zone's SOA.
pub(super) fn serial(sketches: &Sketches<'_>) -> Result<u32, ZoneError> {
    let sets = gather(&sketches.records, sketches.first(0));
    let rdata = sketches.records.record(soa_of(&sets, sketches)?.records[0]).rdata;
    let (_, numbers) = rdata.split_at(rdata.len() - 20);
    Ok(u32::from_be_bytes([numbers[0], numbers[1], numbers[2], numbers[3]]))
}

fn soa_of<'s>(sets: &'s [Set], sketches: &Sketches<'_>) -> Result<&'s Set, ZoneError> {
    let soa = sets.iter().find(|set| set.rtype == Rtype::SOA);
    soa.ok_or_else(|| ZoneError::new(Reason::NoSoa(sketches.apex.into())))
}

fn length(body: &[u8]) -> u16 {
    u16::try_from(body.len()).expect("checked to fit a message")
}

fn count(records: usize) -> u16 {
    u16::try_from(records).expect("fewer than a message has bytes")
}
