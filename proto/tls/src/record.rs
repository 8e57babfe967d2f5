//! The record: head, nonce, additional data.
//!
//! ```text
//! TLS 1.3           |17 03 03|len| payload …            | inner type | tag 16 |   RFC 8446 §5.2
//! TLS 1.2, GCM      |tt 03 03|len| nonce 8 | payload …               | tag 16 |   RFC 5288 §3
//! TLS 1.2, ChaCha20 |tt 03 03|len| payload …                         | tag 16 |   RFC 7905 §2
//!                   '---- head ------------'                '------ tail ------'
//! ```

use core::ops::Range;

use crate::aead::{Nonce, TAG_BYTES};
use crate::suite::{Suite, Version};

/// The most plaintext that one record carries: 2¹⁴ bytes, RFC 8446 §5.1.
pub const PLAINTEXT_BYTES_MAX: usize = 1 << 14;
/// The largest length field that we accept: 2¹⁴ + 256, RFC 8446 §5.2. TLS 1.2 would allow 2¹⁴ + 2,048, of which an
/// AEAD suite without compression uses no more than 24.
pub const CIPHERTEXT_BYTES_MAX: usize = PLAINTEXT_BYTES_MAX + 256;
/// Type, version, length.
pub const RECORD_HEAD_BYTES: usize = 5;

pub(crate) const EXPLICIT_NONCE_BYTES: usize = 8;
pub(crate) const HEAD_BYTES_MAX: usize = RECORD_HEAD_BYTES + EXPLICIT_NONCE_BYTES;
pub(crate) const TAIL_BYTES_MAX: usize = 1 + TAG_BYTES;

const LEGACY_VERSION: [u8; 2] = [3, 3];

/// What a record carries. The other types of RFC 8446 §5.1 never leave or reach this room as values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentType {
    /// 21
    Alert,
    /// 22
    Handshake,
    /// 23
    ApplicationData,
}

impl ContentType {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Alert => 21,
            Self::Handshake => 22,
            Self::ApplicationData => 23,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            21 => Some(Self::Alert),
            22 => Some(Self::Handshake),
            23 => Some(Self::ApplicationData),
            _ => None,
        }
    }
}

/// How much room a record needs around its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLayout {
    /// Bytes directly before the payload: 5, or 13 with an explicit nonce.
    pub head_bytes: usize,
    /// Bytes directly behind it: 17 with an inner type, or 16.
    pub tail_bytes: usize,
}

impl RecordLayout {
    /// The layout of every record of this version and suite.
    #[must_use]
    pub const fn of(version: Version, suite: Suite) -> Self {
        match (version, suite) {
            (Version::Tls13, _) => Self { head_bytes: RECORD_HEAD_BYTES, tail_bytes: 1 + TAG_BYTES },
            (Version::Tls12, Suite::Chacha20Poly1305) => {
                Self { head_bytes: RECORD_HEAD_BYTES, tail_bytes: TAG_BYTES }
            }
            (Version::Tls12, Suite::Aes128Gcm | Suite::Aes256Gcm) => {
                Self { head_bytes: RECORD_HEAD_BYTES + EXPLICIT_NONCE_BYTES, tail_bytes: TAG_BYTES }
            }
        }
    }

    /// What a record adds to its payload: 21, 22 or 29 bytes.
    #[must_use]
    pub const fn overhead_bytes(self) -> usize {
        self.head_bytes + self.tail_bytes
    }

    /// The size on the wire of a record with so much payload, at most [`PLAINTEXT_BYTES_MAX`].
    #[must_use]
    pub const fn sealed_bytes(self, payload_bytes: usize) -> usize {
        payload_bytes + self.overhead_bytes()
    }

    /// Where the record of this payload lies, when it fits into a buffer of so many bytes.
    #[must_use]
    pub fn around(self, payload: &Range<usize>, buffer_bytes: usize) -> Option<Range<usize>> {
        let start = payload.start.checked_sub(self.head_bytes)?;
        let end = payload.end.checked_add(self.tail_bytes)?;
        (payload.start <= payload.end && end <= buffer_bytes).then_some(start..end)
    }
}

const _: () = {
    assert!(RecordLayout::of(Version::Tls13, Suite::Aes128Gcm).overhead_bytes() == 22);
    assert!(RecordLayout::of(Version::Tls12, Suite::Aes256Gcm).overhead_bytes() == 29);
    assert!(RecordLayout::of(Version::Tls12, Suite::Chacha20Poly1305).overhead_bytes() == 21);
    assert!(
        PLAINTEXT_BYTES_MAX + HEAD_BYTES_MAX + TAIL_BYTES_MAX <= CIPHERTEXT_BYTES_MAX + RECORD_HEAD_BYTES
    );
    assert!(CIPHERTEXT_BYTES_MAX <= u16::MAX as usize);
};

/// The whole size, head included, of the record that these bytes begin; `None` until five are there.
///
/// Nothing is judged: the length may be more than any record may have.
#[must_use]
pub fn peek_record_bytes(bytes: &[u8]) -> Option<usize> {
    let &[_, _, _, high, low, ..] = bytes else { return None };
    Some(RECORD_HEAD_BYTES + usize::from(u16::from_be_bytes([high, low])))
}

/// The head's five bytes. `length` counts everything behind them, at most [`CIPHERTEXT_BYTES_MAX`].
pub(crate) fn head(outer_type: u8, length: usize) -> [u8; RECORD_HEAD_BYTES] {
    debug_assert!(length <= CIPHERTEXT_BYTES_MAX);
    let [high, low] = be16(length);
    let [major, minor] = LEGACY_VERSION;
    [outer_type, major, minor, high, low]
}

/// The iv with the record number added in, RFC 8446 §5.3 and RFC 7905 §2.
///
/// TLS 1.2 GCM lets the sender choose its explicit nonce; ours is the last eight bytes of this, the construction of
/// rustls. Numbers that rustls used for the last handshake record and ours so never meet.
pub(crate) fn nonce(iv: &Nonce, number: u64) -> Nonce {
    let mut nonce = *iv;
    for (byte, n) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
        *byte ^= n;
    }
    nonce
}

/// TLS 1.2's additional data: number, type, version, length of the plaintext. RFC 5246 §6.2.3.3.
pub(crate) fn aad12(number: u64, outer_type: u8, plaintext_bytes: usize) -> [u8; 13] {
    debug_assert!(plaintext_bytes <= CIPHERTEXT_BYTES_MAX);
    let mut aad = [0; 13];
    aad[..8].copy_from_slice(&number.to_be_bytes());
    aad[8] = outer_type;
    aad[9..11].copy_from_slice(&LEGACY_VERSION);
    aad[11..].copy_from_slice(&be16(plaintext_bytes));
    aad
}

/// Whether the head names the version that TLS 1.2 records must name.
pub(crate) fn names_tls12(head: &[u8; RECORD_HEAD_BYTES]) -> bool {
    head[1..3] == LEGACY_VERSION
}

fn be16(length: usize) -> [u8; 2] {
    // Every caller is bounded by CIPHERTEXT_BYTES_MAX, which the assertion above keeps within 16 bits.
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests;
