//! Keyed hashing: what peers choose is never hashed without a secret, and never with the clock's.

use core::fmt;
use core::hash::{Hash, Hasher};
use siphasher::sip::{SipHasher13, SipHasher24};

use crate::tuple::TupleKey;

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

    /// The same as [`prf`](Self::prf) of what writes these bytes at once.
    pub(crate) fn prf_of_bytes(&self, bytes: &[u8]) -> u64 {
        SipHasher24::new_with_key(&self.0).hash(bytes)
    }

    /// SipHash-2-4: for numbers that go out on the wire and must not give the key away.
    pub(crate) fn prf(&self, value: &impl Hash) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        value.hash(&mut hasher);
        hasher.finish()
    }
}

/// 2⁶¹ − 1, a prime that is easy to divide by.
const PRIME: u64 = (1 << 61) - 1;

/// The words of an IPv4 tuple and of an IPv6 tuple, 32 bits each.
const WORDS_V4: usize = 3;
const WORDS_V6: usize = 9;

/// The hash of tables of four-tuples, of which every packet costs one.
///
/// Peers choose addresses and ports, and would choose those that collide; so what they may know must not help them. The
/// words of a tuple are multiplied by secrets and added, modulo a prime: any two tuples are the same number then with a
/// probability of 2⁻⁶¹. That number is put into a polynomial of degree four with secret coefficients, which makes any
/// five hashes independent of each other (Wegman and Carter 1981): as much as linear probing needs for a constant number
/// of steps, *whatever* the set of tuples is (Pagh, Pagh and Ružić 2007). With two secrets instead of five, as
/// multiplicative hashes have them, the ports of one host in a row already make long runs.
///
/// Unlike `SipHash` it would give its secrets away to somebody who sees hashes. Nobody does: they choose buckets, and no order
/// of anything that can be observed is theirs. What goes out on the wire is a [`HashKey`]'s.
#[derive(Clone)]
pub(crate) struct TupleHash {
    words_v4: [u64; WORDS_V4],
    words_v6: [u64; WORDS_V6],
    polynomial: [u64; 5],
}

impl TupleHash {
    /// A hash drawn from a secret.
    pub(crate) fn new(key: HashKey) -> Self {
        let mut count = 0_u64;
        let mut draw = || {
            count += 1;
            key.prf(&count) % PRIME
        };
        Self {
            words_v4: core::array::from_fn(|_| draw()),
            words_v6: core::array::from_fn(|_| draw()),
            polynomial: core::array::from_fn(|_| draw()),
        }
    }

    /// The hash of a tuple.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower half of 61 bits that are as good as random"
    )]
    pub(crate) fn hash(&self, key: &TupleKey) -> u32 {
        let sum = match *key {
            TupleKey::V4 { addresses, ports } => {
                let words = [(addresses >> 32) as u32, addresses as u32, ports];
                inner_product(&self.words_v4, &words)
            }
            TupleKey::V6 { local, peer, ports } => {
                let mut words = [0; WORDS_V6];
                for (word, bytes) in
                    words.iter_mut().zip(local.as_chunks().0.iter().chain(peer.as_chunks().0))
                {
                    *word = u32::from_be_bytes(*bytes);
                }
                words[WORDS_V6 - 1] = ports;
                inner_product(&self.words_v6, &words)
            }
        };
        let [first, rest @ ..] = &self.polynomial;
        let at = reduce(sum);
        // A product with `at`, folded once, is less than the prime above the other factor; so after four steps the value is
        // below five primes, which is below 2⁶⁴, and it is enough to reduce it then.
        let value = rest.iter().fold(*first, |value, coefficient| {
            fold(u128::from(value) * u128::from(at) + u128::from(*coefficient))
        });
        reduce(u128::from(value)) as u32
    }
}

impl fmt::Debug for TupleHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TupleHash(…)")
    }
}

/// At most nine products of 61 and 32 bits.
fn inner_product<const N: usize>(secrets: &[u64; N], words: &[u32; N]) -> u128 {
    secrets.iter().zip(words).map(|(secret, word)| u128::from(*secret) * u128::from(*word)).sum()
}

/// `value`, below 2¹²⁴, folded once: the same modulo [`PRIME`].
#[expect(clippy::cast_possible_truncation, reason = "61 bits, and 63 bits")]
fn fold(value: u128) -> u64 {
    (value as u64 & PRIME) + (value >> 61) as u64 // < 2⁶¹ + 2⁶³
}

/// What is left of `value`, below 2¹²⁴, modulo [`PRIME`].
fn reduce(value: u128) -> u64 {
    let folded = fold(value);
    let folded = (folded & PRIME) + (folded >> 61); // ≤ 2⁶¹ − 1 + 7
    if folded >= PRIME { folded - PRIME } else { folded }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(…)")
    }
}

#[cfg(test)]
mod tests;
