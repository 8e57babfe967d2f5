//! What proves that a name does not exist: NSEC (RFC 4034 §4) in the order of names, NSEC3 (RFC 5155) in the order of
//! their hashes.

use super::{NodeRef, Zone};
use core::fmt;
use dns::name::canonical_order;
use sha1::{Digest as _, Sha1};

/// A name, hashed.
pub type Nsec3Hash = [u8; 20];

/// The hashed names of a zone.
#[derive(Clone)]
pub struct Nsec3 {
    /// Additional iterations.
    pub iterations: u16,
    /// What is hashed with each name.
    pub salt: Box<[u8]>,
    /// Every hash that has a record, and where that lies; in order.
    pub(crate) owners: Box<[(Nsec3Hash, NodeRef)]>,
}

impl fmt::Debug for Nsec3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nsec3")
            .field("iterations", &self.iterations)
            .field("salt", &self.salt)
            .field("owners", &self.owners.len())
            .finish()
    }
}

impl Nsec3 {
    /// The hash of a folded name (RFC 5155 §5).
    #[must_use]
    pub fn hash(&self, name: &[u8]) -> Nsec3Hash {
        hash(name, &self.salt, self.iterations)
    }

    /// The record of that very hash.
    #[must_use]
    pub fn matching(&self, hash: &Nsec3Hash) -> Option<NodeRef> {
        self.owners.binary_search_by(|(owner, _)| owner.cmp(hash)).ok().map(|index| self.owners[index].1)
    }

    /// The record between whose hash and the next this one would lie.
    #[must_use]
    pub fn covering(&self, hash: &Nsec3Hash) -> Option<NodeRef> {
        let behind = self.owners.partition_point(|(owner, _)| owner <= hash);
        // Before the first is behind the last: the circle of RFC 5155 §3.1.7.
        let index = behind.checked_sub(1).or_else(|| self.owners.len().checked_sub(1))?;
        Some(self.owners[index].1)
    }
}

pub(crate) fn hash(name: &[u8], salt: &[u8], iterations: u16) -> Nsec3Hash {
    let mut digest: Nsec3Hash = Sha1::new().chain_update(name).chain_update(salt).finalize().into();
    for _ in 0..iterations {
        digest = Sha1::new().chain_update(digest).chain_update(salt).finalize().into();
    }
    digest
}

/// The hash that an owner's first label writes in base 32 with extended hex alphabet (RFC 4648 §7); nothing when it
/// writes none.
pub(crate) fn from_label(label: &[u8]) -> Option<Nsec3Hash> {
    let mut hash = [0; 20];
    if label.len() != 32 {
        return None;
    }
    for (room, text) in hash.chunks_exact_mut(5).zip(label.chunks_exact(8)) {
        let mut bits = 0_u64;
        for digit in text {
            let value = match digit.to_ascii_lowercase() {
                digit @ b'0'..=b'9' => digit - b'0',
                digit @ b'a'..=b'v' => digit - b'a' + 10,
                _ => return None,
            };
            bits = bits << 5 | u64::from(value);
        }
        room.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(hash)
}

impl Zone {
    /// Whether the zone denies with NSEC.
    #[must_use]
    pub fn has_nsec(&self) -> bool {
        !self.nsec.is_empty()
    }

    /// The name with an NSEC record that is last at or before `name`, which is below the apex; both relative to it.
    #[must_use]
    pub fn nsec_at_or_before(&self, relative: &[u8]) -> Option<NodeRef> {
        let behind = self.nsec.partition_point(|at| {
            canonical_order(self.node(*at).name(), relative) != core::cmp::Ordering::Greater
        });
        let index = behind.checked_sub(1).or_else(|| self.nsec.len().checked_sub(1))?;
        Some(self.nsec[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dns::name::from_text;

    /// RFC 5155 appendix A: salt aabbccdd, 12 iterations.
    #[test]
    fn the_hashes_of_the_rfc_are_ours() {
        for (name, expected) in [
            ("example", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
            ("a.example", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
            ("*.w.example", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
        ] {
            let wire = from_text(name.as_bytes()).unwrap();
            let hashed = hash(&wire, &[0xaa, 0xbb, 0xcc, 0xdd], 12);
            assert_eq!(from_label(expected.as_bytes()), Some(hashed), "{name}");
        }
    }

    #[test]
    fn a_label_that_writes_no_hash_is_none() {
        assert_eq!(from_label(b"short"), None);
        assert_eq!(from_label(&[b'w'; 32]), None);
        assert_eq!(from_label(&[b'V'; 32]), Some([0xff; 20]));
    }
}
