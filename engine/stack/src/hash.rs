//! Keyed hashing: what peers choose is never hashed without a secret, and never with the clock's.

use core::fmt;
use core::hash::{Hash, Hasher};
use siphasher::sip::{SipHasher13, SipHasher24};

/// A secret for a hash, from `platform::Entropy`. Does not print itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashKey([u8; 16]);

impl HashKey {
    /// A key of these bytes, which nobody outside may guess.
    #[must_use]
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// SipHash-1-3: good enough for a table, whose hashes nobody sees.
    pub(crate) fn hash(&self, value: &impl Hash) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        value.hash(&mut hasher);
        hasher.finish()
    }

    /// SipHash-2-4: for numbers that go out on the wire and must not give the key away.
    pub(crate) fn prf(&self, value: &impl Hash) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        value.hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(…)")
    }
}
