//! Questions that one ready body answers, many at a time: what most questions are.
//!
//! ```text
//! glance    │ is it an ordinary question?  one pass: labels, folded words, hashes of all suffixes ─▶ zone
//! look up   │ slot, slot, slot, slot …     all of a batch, so that the waits for memory overlap
//!           │ node, node, node, node …
//! answer    │ the name compared, header, question, body, OPT: written where the packet leaves from
//! ```
//!
//! Whatever is out of the ordinary is left to [`Responder::respond`], which gives the same bytes where both have an
//! answer: a law that is fuzzed. A new kind of answer that depends on more than name and type needs a reason here why it
//! is not ready.

use super::opt::Opt;
use super::{Request, Responder, Response, Transport, type_index};
use crate::catalogue::Catalogue;
use crate::hash::Form;
use crate::replicas::Answer;
use crate::rrl::{Kind, Verdict};
use crate::zone::{NodeRef, flag};
use core::hint::black_box;
use dns::edns::{DO, Edns, OPT_BYTES};
use dns::header::HEADER_BYTES;
use dns::name::{LABEL_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX, fold};
use dns::{Flags, Rtype};
use wire::checksum::Sum;

/// Bytes behind a message that may be read, whatever they hold: names are read a word at a time.
pub const SLACK_BYTES: usize = 8;

/// The most questions that are looked up together: the misses of so many fit what a core has under way.
pub const TOGETHER: usize = 32;

/// What an ordinary question asks, and where its answer lies if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Glance {
    /// Of its whole name.
    hash: u64,
    /// Its place in the catalogue.
    zone: u32,
    node: Option<NodeRef>,
    /// Its answer may depend on who asks.
    steered: bool,
    /// Where the question ends.
    end: u16,
    /// The most bytes that its answer may have.
    bytes_max: u16,
    qtype: Rtype,
    edns: bool,
    /// There are options behind the OPT record's fixed part.
    options: bool,
    dnssec: bool,
}

/// What came of a [`Glance`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// An answer.
    Answer(Response),
    /// Nothing is to be said.
    Silent,
    /// It is not ready: [`Responder::respond`] knows what to say.
    NotReady,
}

impl Responder {
    /// Reads the first `bytes` of `room` as an ordinary question: a query in class IN for a name without pointers, and
    /// nothing behind it but an OPT record perhaps, whose options are not read yet. Nothing when it is another, or when no
    /// zone of ours is likely to have its name.
    ///
    /// Behind the message [`SLACK_BYTES`] can be read.
    #[inline]
    pub fn glance(&mut self, catalogue: &Catalogue, room: &[u8], bytes: usize) -> Option<Glance> {
        let message = room.get(..bytes)?;
        let head = message.first_chunk::<HEADER_BYTES>()?;
        let flags = u16::from_be_bytes([head[2], head[3]]);
        const OPCODE: u16 = 0x7800;
        let [.., additional] = *head;
        if flags & (Flags::QR | Flags::TC | OPCODE) != 0
            || head[4..11] != [0, 1, 0, 0, 0, 0, 0]
            || additional > 1
        {
            return None;
        }
        let mut starts = [0_u8; LABELS_MAX + 1];
        let (mut at, mut labels) = (0_usize, 0_usize);
        loop {
            let length = usize::from(*message.get(HEADER_BYTES + at)?);
            if length == 0 {
                break;
            }
            *starts.get_mut(labels)? = u8::try_from(at).ok()?;
            labels += 1;
            at += 1 + length;
            if length > LABEL_BYTES_MAX || at >= NAME_BYTES_MAX {
                return None;
            }
        }
        let question = HEADER_BYTES + at + 1;
        let (qtype, udp_bytes, dnssec, options) = match *message.get(question..)? {
            [t0, t1, 0, 1] if additional == 0 => ([t0, t1], None, false, false),
            // RFC 6891 §6.1.2: root, OPT, version 0, options to the end of the message.
            [t0, t1, 0, 1, 0, 0, 41, s0, s1, _, 0, z0, z1, o0, o1, ref options @ ..]
                if additional == 1 && options.len() == usize::from(u16::from_be_bytes([o0, o1])) =>
            {
                let dnssec = u16::from_be_bytes([z0, z1]) & DO != 0;
                ([t0, t1], Some(u16::from_be_bytes([s0, s1])), dnssec, !options.is_empty())
            }
            _ => return None,
        };
        let qtype = Rtype(u16::from_be_bytes(qtype));
        if qtype == Rtype::DS {
            // It may be the parent's to answer.
            return None;
        }
        let (hash, zone) = match catalogue.form() {
            Form::Wire => hash_wire(catalogue, room, &starts[..labels], at)?,
            Form::Name => {
                self.name.read(message, HEADER_BYTES).ok()?;
                self.hashes.fill(&self.name);
                let mut zone = None;
                for skip in (0..=labels).rev() {
                    zone = catalogue.likely(labels - skip, self.hashes.suffix(skip)).or(zone);
                }
                (self.hashes.suffix(0), zone?)
            }
        };
        let steered = matches!(qtype, Rtype::A | Rtype::AAAA)
            && catalogue.steering().is_some_and(|steering| steering.may_steer(hash));
        Some(Glance {
            hash,
            zone,
            node: None,
            steered,
            end: u16::try_from(question + 4).ok()?,
            bytes_max: udp_bytes.map_or(512, |bytes| bytes.max(512).min(self.settings.udp_bytes_max)),
            qtype,
            edns: udp_bytes.is_some(),
            options,
            dnssec,
        })
    }

    /// Finds the nodes of up to [`TOGETHER`] questions, and has them in the cache when they are answered.
    #[inline]
    pub fn look_up(catalogue: &Catalogue, glances: &mut [Option<Glance>]) {
        // Loads that nobody waits for: each loop is short enough that many turns of it are under way at once.
        let mut touched = 0;
        for glance in glances.iter().flatten() {
            touched ^= catalogue.zones()[glance.zone as usize].touch_slot(glance.hash);
        }
        for glance in glances.iter_mut().flatten() {
            let zone = &catalogue.zones()[glance.zone as usize];
            glance.node = zone.likely(glance.hash);
            touched ^= glance.node.map_or(0, |node| zone.touch_node(node));
        }
        black_box(touched);
    }

    /// Answers an ordinary question that was looked up in this catalogue, if its answer is ready. `message` is what was
    /// glanced at.
    #[inline]
    pub(super) fn ready(
        &mut self,
        catalogue: &Catalogue,
        request: &Request,
        glance: &Glance,
        message: &[u8],
        out: &mut [u8],
    ) -> Outcome {
        debug_assert_eq!(request.transport, Transport::Udp, "streams have other limits");
        let zone = &catalogue.zones()[glance.zone as usize];
        let Some(place) = glance.node else { return Outcome::NotReady };
        let node = zone.node(place);
        let end = usize::from(glance.end);
        let name = &message[HEADER_BYTES..end - 4];
        let (relative, apex) = (node.name(), zone.apex());
        // What was found by hash alone is held against what was asked.
        if name.len() != relative.len() + apex.len()
            || !folds_to(&name[..relative.len()], relative)
            || !folds_to(&name[relative.len()..], apex)
            || node.is(flag::CUT | flag::OCCLUDED)
            || zone.is_withheld()
        {
            return Outcome::NotReady;
        }
        let edns = match glance.options.then(|| read_options(&message[end..])) {
            None => None,
            Some(Some(edns)) => Some(edns),
            Some(None) => return Outcome::NotReady,
        };
        let steered = catalogue.steering().filter(|_| glance.steered).and_then(|steering| {
            let subnet = edns.as_ref().and_then(|edns| edns.ecs.as_ref());
            let client = steering.client(request.source, subnet);
            steering.answer_to(glance.hash, [relative, apex], glance.qtype, client)
        });
        let scope = steered.map_or(0, |steered| steered.scope);
        let steered = steered.and_then(|steered| steered.variant);
        let variant = match (steered, node.entry(glance.qtype)) {
            (Some(variant), _) => variant,
            (None, Some(entry)) => entry.variant(glance.dnssec),
            (None, None) => return Outcome::NotReady,
        };
        let steered = steered.is_some();
        let body_end = end + variant.body.len();
        let opt = edns.map(|edns| self.opt_of(catalogue, request, edns));
        let opt_bytes = opt.as_ref().map_or(if glance.edns { OPT_BYTES } else { 0 }, Opt::bytes);
        let bytes = body_end + opt_bytes;
        if bytes > usize::from(glance.bytes_max) || bytes > out.len() {
            return Outcome::NotReady;
        }
        // What depends on who asks, or on what, is copied.
        let replica = match &mut self.replicas {
            Some(replicas) if !steered && opt.is_none() => {
                let Glance { zone, qtype, dnssec, edns, .. } = *glance;
                let answer = Answer { zone, node: place, qtype, dnssec, edns };
                replicas.open(answer, glance.hash, bytes)
            }
            _ => None,
        };
        let trusted = opt.as_ref().is_some_and(Opt::is_trusted);
        self.counters.cookies_accepted += u64::from(trusted);
        if let Some(limiter) = self.limiter.as_mut().filter(|_| !trusted) {
            let index = Kind::Positive.index();
            match limiter.verdict(request.source, index, glance.hash, request.now_ms) {
                None => {}
                Some(verdict) => {
                    if let (Some(replicas), Some(is_written)) = (&mut self.replicas, replica) {
                        replicas.leave(is_written);
                    }
                    return self.limited(verdict, glance, steered, message, out);
                }
            }
        }
        self.count(glance, steered);
        self.counters.rcodes[0] += 1;
        let (out, is_written) = match (&mut self.replicas, replica) {
            (Some(replicas), Some(is_written)) => (replicas.message_mut(), is_written),
            _ => (&mut out[..bytes], false),
        };
        let additional = variant.ar + u16::from(glance.edns);
        let sum = head(message, Flags::AA, [variant.an, variant.ns, additional], end, out);
        let sum = sum.combine(Sum::of_folded(variant.sum, variant.body.len() % 2 == 1));
        if is_written {
            let sum =
                if glance.edns { sum.combine(self.bare_opts[usize::from(glance.dnssec)].1) } else { sum };
            return Outcome::Answer(Response { bytes, sum });
        }
        out[end..body_end].copy_from_slice(variant.body);
        let Some(opt) = opt else {
            let sum = write_opt(&self.bare_opts, glance, body_end, sum, out);
            return Outcome::Answer(Response { bytes, sum });
        };
        opt.set_scope(scope, &mut self.opt_room);
        let opt = opt.emit(0, &mut self.opt_room);
        out[body_end..].copy_from_slice(opt);
        Outcome::Answer(Response { bytes, sum: sum.then(opt) })
    }

    /// Counts what [`Responder::respond`] would.
    #[inline]
    fn count(&mut self, glance: &Glance, steered: bool) {
        self.counters.queries += 1;
        self.counters.types[type_index(glance.qtype)] += 1;
        *if steered { &mut self.counters.steered } else { &mut self.counters.prebuilt } += 1;
    }

    /// What is said when this is one question too many.
    #[cold]
    fn limited(
        &mut self,
        verdict: Verdict,
        glance: &Glance,
        steered: bool,
        message: &[u8],
        out: &mut [u8],
    ) -> Outcome {
        self.count(glance, steered);
        match verdict {
            Verdict::Drop => {
                self.counters.limited += 1;
                Outcome::Silent
            }
            Verdict::Slip => {
                self.counters.rcodes[0] += 1;
                self.counters.slipped += 1;
                self.counters.truncated += 1;
                Outcome::Answer(self.slip(glance, message, out))
            }
        }
    }

    /// The question alone, and TC: it is to be asked again over TCP, by a sender who is there.
    fn slip(&self, glance: &Glance, message: &[u8], out: &mut [u8]) -> Response {
        let end = usize::from(glance.end);
        let bytes = end + if glance.edns { OPT_BYTES } else { 0 };
        let out = &mut out[..bytes];
        let sum = head(message, Flags::TC, [0, 0, u16::from(glance.edns)], end, out);
        Response { bytes, sum: write_opt(&self.bare_opts, glance, end, sum, out) }
    }
}

/// Our OPT record, if there was one; returns the sum with it.
#[inline]
fn write_opt(
    bare_opts: &[([u8; OPT_BYTES], Sum); 2],
    glance: &Glance,
    at: usize,
    sum: Sum,
    out: &mut [u8],
) -> Sum {
    if !glance.edns {
        return sum;
    }
    let (opt, sum_of_opt) = &bare_opts[usize::from(glance.dnssec)];
    out[at..at + OPT_BYTES].copy_from_slice(opt);
    sum.combine(*sum_of_opt)
}

/// What the OPT record says that a message ends with, which was glanced at. Nothing when its options cannot be read.
#[inline]
fn read_options(record: &[u8]) -> Option<Edns> {
    let (&[_, _, _, s0, s1, _, version, z0, z1, _, _], options) = record.split_first_chunk::<OPT_BYTES>()?;
    let mut edns = Edns::from_fixed(u16::from_be_bytes([s0, s1]), u32::from_be_bytes([0, version, z0, z1]));
    edns.read_options(options).ok()?;
    Some(edns)
}

/// Our OPT record without options, for questions without the DO bit and with it, and their sums.
pub(super) fn bare_opts(udp_bytes: u16) -> [([u8; OPT_BYTES], Sum); 2] {
    [false, true].map(|dnssec| {
        let opt = dns::edns::emit_opt(udp_bytes, 0, dnssec, 0);
        (opt, Sum::of(&opt))
    })
}

/// The hash of the name that begins behind the header and is `bytes` long without its root, and the zone with the longest
/// apex that has the hash of one of its suffixes.
#[inline]
fn hash_wire(catalogue: &Catalogue, room: &[u8], starts: &[u8], bytes: usize) -> Option<(u64, u32)> {
    let key = catalogue.key();
    let mut hash = key.root();
    let mut zone = catalogue.likely(0, hash);
    let mut end = HEADER_BYTES + bytes;
    for (depth, start) in (1..).zip(starts.iter().rev()) {
        let start = HEADER_BYTES + usize::from(*start);
        hash = key.step_folded(hash, room.get(start..end + SLACK_BYTES)?, end - start);
        zone = catalogue.likely(depth, hash).or(zone);
        end = start;
    }
    Some((hash, zone?))
}

/// Header and question of an answer, `end` bytes of it, with the numbers of records in its sections. Returns their sum,
/// which is taken of what was there before: what has just been written is slow to read.
#[inline]
fn head(message: &[u8], flags: u16, [an, ns, ar]: [u16; 3], end: usize, out: &mut [u8]) -> Sum {
    let [id0, id1, flags0, flags1, ..] = *message else { unreachable!("it was glanced at") };
    let flags = Flags(u16::from_be_bytes([flags0, flags1])).of_response().0 | flags;
    let id = u16::from_be_bytes([id0, id1]);
    let first = [id, flags, 1, an].iter().fold(0, |word, field| word << 16 | u64::from(*field));
    let last = u32::from(ns) << 16 | u32::from(ar);
    let header = out.first_chunk_mut::<HEADER_BYTES>().expect("room for an answer");
    header[..8].copy_from_slice(&first.to_be_bytes());
    header[8..].copy_from_slice(&last.to_be_bytes());
    let question = &message[HEADER_BYTES..end];
    out[HEADER_BYTES..end].copy_from_slice(question);
    Sum::ZERO.then(&first.to_be_bytes()).then(&last.to_be_bytes()).then(question)
}

/// Whether `sent` in lower case is `folded`, which is as long.
#[inline]
fn folds_to(sent: &[u8], folded: &[u8]) -> bool {
    let same =
        |sent: &[u8; 8], folded: &[u8; 8]| fold(u64::from_le_bytes(*sent)) == u64::from_le_bytes(*folded);
    match (sent.last_chunk::<8>(), folded.last_chunk::<8>()) {
        (Some(sent_last), Some(folded_last)) => {
            let words = sent.as_chunks::<8>().0.iter().zip(folded.as_chunks::<8>().0);
            words.into_iter().all(|(sent, folded)| same(sent, folded)) && same(sent_last, folded_last)
        }
        _ => sent.eq_ignore_ascii_case(folded),
    }
}

#[cfg(test)]
mod tests;
