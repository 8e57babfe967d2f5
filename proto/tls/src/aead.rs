//! The cipher, as this room sees it.

use core::fmt;

use crate::suite::Suite;

/// The size of a nonce: every suite's `N_MIN = N_MAX = 12`.
pub const NONCE_BYTES: usize = 12;
/// The size of a tag: every suite adds 16 bytes.
pub const TAG_BYTES: usize = 16;

/// A per-record nonce, RFC 8446 §5.3.
pub type Nonce = [u8; NONCE_BYTES];

/// The ciphers of the three [`Suite`]s, and HKDF over their hashes.
///
/// A `Key` is the expanded form: key schedule, GHASH tables, C heap. It is expensive to hold (about 0.6 KiB) and
/// cheap to make (about 0.1 µs), so it lives in an [`ExpandedKeys`](crate::ExpandedKeys) and not in a connection.
pub trait Aead {
    /// An expanded key.
    type Key;

    /// Expands a raw key. `bytes.len()` is `suite.key_bytes()`.
    fn key(suite: Suite, bytes: &[u8]) -> Self::Key;

    /// Encrypts `in_place`, then `extra_in` behind it, and authenticates both and `aad`.
    ///
    /// The ciphertext of `extra_in` and the tag go to `extra_out_and_tag`, whose length is
    /// `extra_in.len() + TAG_BYTES`. That is what puts the inner content type behind a payload that must stay
    /// where it is.
    fn seal(
        key: &Self::Key,
        nonce: &Nonce,
        aad: &[u8],
        in_place: &mut [u8],
        extra_in: &[u8],
        extra_out_and_tag: &mut [u8],
    );

    /// The same out of place: `plaintext` is left as it is, and its ciphertext goes to `out`, which is as long.
    fn seal_separate(
        key: &Self::Key,
        nonce: &Nonce,
        aad: &[u8],
        plaintext: &[u8],
        out: &mut [u8],
        extra_in: &[u8],
        extra_out_and_tag: &mut [u8],
    );

    /// Decrypts `in_place`, which ends in the tag. Returns the length of the plaintext that now is its front.
    ///
    /// # Errors
    /// [`BadRecord`] when the tag does not authenticate ciphertext and `aad`. The content of `in_place` is then
    /// unspecified and must not be used.
    fn open(key: &Self::Key, nonce: &Nonce, aad: &[u8], in_place: &mut [u8]) -> Result<usize, BadRecord>;

    /// HKDF-Expand (RFC 5869 §2.3) over `suite.hash()`, filling `okm`, which is at most 48 bytes.
    fn hkdf_expand(suite: Suite, prk: &[u8], info: &[u8], okm: &mut [u8]);
}

/// A record that its tag does not authenticate: `bad_record_mac`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRecord;

impl fmt::Display for BadRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the peer's record does not authenticate")
    }
}

impl core::error::Error for BadRecord {}

/// The tag of a sealed record, kept until the record is acknowledged.
///
/// Under one key and one nonce, two different plaintexts of one length have the same tag with probability about
/// 2⁻¹²⁰ at our record size; so an equal tag means the same plaintext, and the same ciphertext.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(pub [u8; TAG_BYTES]);

impl Tag {
    /// Whether `other` is this tag, in a time that does not depend on where they differ.
    ///
    /// Tags travel in the clear; the constant time is a habit, not a need.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests;
