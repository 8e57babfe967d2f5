//! The answers of a pool as it is now: written out, and one chosen for each bucket of clients.
//!
//! ```text
//! bucket ─▶ index ─▶ body: record, record …    as a node of a zone has them, with its sum
//! ```
//!
//! Another state of the pool is another value of this type; what lies here never changes.

use super::share::{BUCKETS, best};
use super::table::Target;
use crate::zone::{TO_QUESTION, Variant};
use dns::{Class, Rtype};
use std::collections::HashMap;
use wire::checksum::Sum;

/// The answers of a pool to questions for one type, with one TTL.
#[derive(Debug)]
pub struct Answers {
    /// By bucket; of one element when all clients get the same.
    chosen: Box<[u16]>,
    bodies: Vec<Body>,
}

#[derive(Debug)]
struct Body {
    records: u16,
    sum: u16,
    bytes: Box<[u8]>,
}

/// What the answers of a pool depend on, besides who is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// For A records; otherwise for AAAA records.
    pub v4: bool,
    /// Theirs.
    pub ttl: u32,
    /// The most targets in an answer.
    pub answers: u8,
}

impl Answers {
    /// What those targets, each with its weight, answer. Nothing when none of them has an address of that family and a weight.
    #[must_use]
    pub fn new(targets: &[(&Target, u32)], wanted: Wanted) -> Option<Self> {
        let able: Vec<_> = targets
            .iter()
            .filter(|(target, weight)| *weight > 0 && has(target, wanted.v4))
            .map(|(target, weight)| (*target, (target.seed, *weight)))
            .collect();
        let weights: Vec<(u64, u32)> = able.iter().map(|(_, weight)| *weight).collect();
        let mut bodies = Vec::new();
        let mut known: HashMap<Vec<usize>, u16> = HashMap::new();
        let buckets = match able.len() {
            0 => return None,
            1 => 1,
            _ => BUCKETS,
        };
        let chosen = (0..buckets)
            .map(|bucket| {
                let best = best(bucket, &weights, wanted.answers.into());
                let next = u16::try_from(bodies.len()).expect("at most one for each bucket");
                *known.entry(best).or_insert_with_key(|best| {
                    bodies.push(Body::new(best.iter().map(|index| able[*index].0), wanted));
                    next
                })
            })
            .collect();
        Some(Self { chosen, bodies })
    }

    /// Whether it matters who asks.
    #[inline]
    #[must_use]
    pub fn differ(&self) -> bool {
        self.chosen.len() > 1
    }

    /// The answer to clients of that bucket.
    #[inline]
    #[must_use]
    pub fn of(&self, bucket: usize) -> Variant<'_> {
        let index = if self.differ() { self.chosen[bucket % BUCKETS] } else { 0 };
        let Body { records, sum, bytes } = &self.bodies[usize::from(index)];
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        Variant {
            an: *records,
            ns: 0,
            ar: 0,
            body: bytes,
            sum: *sum,
            sections: length,
            keep: length,
            keep_ar: 0,
            moves: &[],
        }
    }
}

fn has(target: &Target, v4: bool) -> bool {
    if v4 { !target.v4.is_empty() } else { !target.v6.is_empty() }
}

impl Body {
    fn new<'t>(targets: impl Iterator<Item = &'t Target>, wanted: Wanted) -> Self {
        let mut bytes = Vec::new();
        let mut records = 0;
        for target in targets {
            let v4 = target.v4.iter().map(|v4| v4.octets().to_vec()).filter(|_| wanted.v4);
            let v6 = target.v6.iter().map(|v6| v6.octets().to_vec()).filter(|_| !wanted.v4);
            for octets in v4.chain(v6) {
                let rtype = if wanted.v4 { Rtype::A } else { Rtype::AAAA };
                bytes.extend_from_slice(&TO_QUESTION);
                bytes.extend_from_slice(&rtype.0.to_be_bytes());
                bytes.extend_from_slice(&Class::IN.0.to_be_bytes());
                bytes.extend_from_slice(&wanted.ttl.to_be_bytes());
                bytes.extend_from_slice(&if wanted.v4 { [0, 4] } else { [0, 16] });
                bytes.extend_from_slice(&octets);
                records += 1;
            }
        }
        Self { records, sum: Sum::of(&bytes).fold(), bytes: bytes.into() }
    }
}
