//! The raw keys of one direction in one epoch, and how TLS 1.3 makes the next from them.

use core::fmt;

use zeroize::Zeroize;

use crate::aead::{Aead, NONCE_BYTES, Nonce};
use crate::cache::KeyId;
use crate::record::RecordLayout;
use crate::suite::{Suite, Version};

const KEY_BYTES_MAX: usize = 32;
const SECRET_BYTES_MAX: usize = 48;

/// Up to 48 secret bytes, wiped when dropped and never printed.
#[derive(Clone)]
pub struct SecretBytes {
    bytes: [u8; SECRET_BYTES_MAX],
    len: u8,
}

impl SecretBytes {
    /// Copies a secret; `None` when it is longer than any hash of our suites.
    #[must_use]
    pub fn new(secret: &[u8]) -> Option<Self> {
        let mut bytes = [0; SECRET_BYTES_MAX];
        bytes.get_mut(..secret.len())?.copy_from_slice(secret);
        Some(Self { bytes, len: u8::try_from(secret.len()).ok()? })
    }

    /// The secret.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.len)
    }
}

/// Raw keys of one direction in one epoch: 112 bytes, wiped when dropped, never printed.
pub struct TrafficKeys {
    version: Version,
    suite: Suite,
    key: [u8; KEY_BYTES_MAX],
    iv: Nonce,
    /// TLS 1.3's `application_traffic_secret_N`; zeroes in TLS 1.2, which never updates.
    secret: [u8; SECRET_BYTES_MAX],
    /// Where the worker's cache may hold the expanded key; nothing until the first use.
    pub(crate) id: Option<KeyId>,
}

impl TrafficKeys {
    /// TLS 1.3: everything from the traffic secret, RFC 8446 §7.3.
    ///
    /// # Errors
    /// The secret is not of the suite's hash length.
    pub fn tls13<A: Aead>(suite: Suite, secret: &[u8]) -> Result<Self, KeyMaterialError> {
        if secret.len() != suite.hash().bytes() {
            return Err(KeyMaterialError { suite, what: "traffic secret", bytes: secret.len() });
        }
        let mut keys = Self::empty(Version::Tls13, suite);
        keys.secret[..secret.len()].copy_from_slice(secret);
        hkdf_expand_label::<A>(suite, secret, b"key", &mut keys.key[..suite.key_bytes()]);
        hkdf_expand_label::<A>(suite, secret, b"iv", &mut keys.iv);
        Ok(keys)
    }

    /// TLS 1.3, from a handshake that has derived key and iv already.
    ///
    /// # Errors
    /// One of the three is not of the suite's length.
    pub fn tls13_derived(
        suite: Suite,
        secret: &[u8],
        key: &[u8],
        iv: &[u8],
    ) -> Result<Self, KeyMaterialError> {
        if secret.len() != suite.hash().bytes() {
            return Err(KeyMaterialError { suite, what: "traffic secret", bytes: secret.len() });
        }
        let mut keys = Self::with_key(Version::Tls13, suite, key, iv)?;
        keys.secret[..secret.len()].copy_from_slice(secret);
        Ok(keys)
    }

    /// TLS 1.2. The iv of a GCM suite is its four-byte salt and eight bytes at which explicit nonces start.
    ///
    /// # Errors
    /// One of the two is not of the suite's length.
    pub fn tls12(suite: Suite, key: &[u8], iv: &[u8]) -> Result<Self, KeyMaterialError> {
        Self::with_key(Version::Tls12, suite, key, iv)
    }

    /// The protocol version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The cipher.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.suite
    }

    /// The room that records under these keys need.
    #[must_use]
    pub const fn layout(&self) -> RecordLayout {
        RecordLayout::of(self.version, self.suite)
    }

    pub(crate) const fn iv(&self) -> &Nonce {
        &self.iv
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key[..self.suite.key_bytes()]
    }

    /// The next epoch's keys, RFC 8446 §7.2; `None` in TLS 1.2, where there is none.
    pub(crate) fn next<A: Aead>(&self) -> Option<Self> {
        if self.version == Version::Tls12 {
            return None;
        }
        let length = self.suite.hash().bytes();
        let mut next = [0; SECRET_BYTES_MAX];
        hkdf_expand_label::<A>(self.suite, &self.secret[..length], b"traffic upd", &mut next[..length]);
        let keys = Self::tls13::<A>(self.suite, &next[..length]);
        next.zeroize();
        keys.ok()
    }

    fn with_key(version: Version, suite: Suite, key: &[u8], iv: &[u8]) -> Result<Self, KeyMaterialError> {
        if key.len() != suite.key_bytes() {
            return Err(KeyMaterialError { suite, what: "key", bytes: key.len() });
        }
        if iv.len() != NONCE_BYTES {
            return Err(KeyMaterialError { suite, what: "iv", bytes: iv.len() });
        }
        let mut keys = Self::empty(version, suite);
        keys.key[..key.len()].copy_from_slice(key);
        keys.iv.copy_from_slice(iv);
        Ok(keys)
    }

    const fn empty(version: Version, suite: Suite) -> Self {
        Self {
            version,
            suite,
            key: [0; KEY_BYTES_MAX],
            iv: [0; NONCE_BYTES],
            secret: [0; SECRET_BYTES_MAX],
            id: None,
        }
    }
}

impl Drop for TrafficKeys {
    fn drop(&mut self) {
        self.key.zeroize();
        self.iv.zeroize();
        self.secret.zeroize();
    }
}

impl fmt::Debug for TrafficKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrafficKeys({:?}, {:?})", self.version, self.suite)
    }
}

/// HKDF-Expand-Label with an empty context, RFC 8446 §7.1.
///
/// ```text
/// struct { uint16 length; opaque label<7..255> = "tls13 " + Label; opaque context<0..255>; } HkdfLabel;
/// ```
fn hkdf_expand_label<A: Aead>(suite: Suite, secret: &[u8], label: &[u8], okm: &mut [u8]) {
    const PREFIX: &[u8] = b"tls13 ";
    const LABEL_BYTES_MAX: usize = 11;
    debug_assert!(label.len() <= LABEL_BYTES_MAX && okm.len() <= SECRET_BYTES_MAX);

    let mut info = [0; 2 + 1 + PREFIX.len() + LABEL_BYTES_MAX + 1];
    let prefix_end = 3 + PREFIX.len();
    let label_end = prefix_end + label.len();
    // Both lengths are bounded by the assertion above: every label and every output is one of ours.
    info[1] = u8::try_from(okm.len()).unwrap_or(u8::MAX);
    info[2] = u8::try_from(PREFIX.len() + label.len()).unwrap_or(u8::MAX);
    info[3..prefix_end].copy_from_slice(PREFIX);
    info[prefix_end..label_end].copy_from_slice(label);
    // The byte at label_end is the length of the empty context: zero, as it stands.
    A::hkdf_expand(suite, secret, &info[..=label_end], okm);
}

/// A handshake handed over keys that do not fit their suite: a fault of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyMaterialError {
    suite: Suite,
    what: &'static str,
    bytes: usize,
}

impl fmt::Display for KeyMaterialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "our handshake gave {:?} a {} of {} bytes", self.suite, self.what, self.bytes)
    }
}

impl core::error::Error for KeyMaterialError {}

#[cfg(test)]
mod tests;
