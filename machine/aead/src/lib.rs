//! aws-lc-rs behind the record layer's [`Aead`].
//!
//! ```text
//!   tls::Sealer ──► AwsLc::seal ──► EVP_AEAD_CTX_seal_scatter(in place, extra_in = [inner type])
//!               ──► AwsLc::seal_separate ──► the same, from one buffer into another
//!   tls::Opener ──► AwsLc::open ──► EVP_AEAD_CTX_open_gather(in place)
//!   KeyUpdate   ──► AwsLc::hkdf_expand ──► HKDF-Expand over SHA-256 or SHA-384
//! ```
//!
//! `LessSafeKey` rather than aws-lc's own TLS record keys: those insist that nonces only grow, and a retransmission
//! seals an old one again. That a nonce never meets two plaintexts is [`tls::Sealer`]'s law.

#![forbid(unsafe_code)]

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, HKDF_SHA384, KeyType, Prk};
use tls::{Aead, BadRecord, HashLength, Nonce, Suite, TAG_BYTES};

/// The cipher of the product.
#[derive(Debug)]
pub enum AwsLc {}

/// An expanded key: a handle to about 0.6 KiB of C heap.
#[derive(Debug)]
pub struct Key(LessSafeKey);

impl Aead for AwsLc {
    type Key = Key;

    fn key(suite: Suite, bytes: &[u8]) -> Key {
        let algorithm = match suite {
            Suite::Aes128Gcm => &AES_128_GCM,
            Suite::Aes256Gcm => &AES_256_GCM,
            Suite::Chacha20Poly1305 => &CHACHA20_POLY1305,
        };
        Key(LessSafeKey::new(UnboundKey::new(algorithm, bytes).expect("a raw key has its suite's length")))
    }

    fn seal(
        key: &Key,
        nonce: &Nonce,
        aad: &[u8],
        in_place: &mut [u8],
        extra_in: &[u8],
        extra_out_and_tag: &mut [u8],
    ) {
        debug_assert_eq!(extra_out_and_tag.len(), extra_in.len() + TAG_BYTES);
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(*nonce);
        key.0
            .seal_in_place_scatter(nonce, Aad::from(aad), in_place, extra_in, extra_out_and_tag)
            .expect("a record is within every suite's limits and its tail has room");
    }

    fn seal_separate(
        key: &Key,
        nonce: &Nonce,
        aad: &[u8],
        plaintext: &[u8],
        out: &mut [u8],
        extra_in: &[u8],
        extra_out_and_tag: &mut [u8],
    ) {
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(*nonce);
        key.0
            .seal_out_of_place_scatter(nonce, Aad::from(aad), plaintext, out, extra_in, extra_out_and_tag)
            .expect("a record is within every suite's limits, and its room is as long as it is");
    }

    fn open(key: &Key, nonce: &Nonce, aad: &[u8], in_place: &mut [u8]) -> Result<usize, BadRecord> {
        let nonce = aws_lc_rs::aead::Nonce::assume_unique_for_key(*nonce);
        let opened = key.0.open_in_place(nonce, Aad::from(aad), in_place);
        opened.map(|plaintext| plaintext.len()).map_err(|_| BadRecord)
    }

    fn hkdf_expand(suite: Suite, prk: &[u8], info: &[u8], okm: &mut [u8]) {
        let algorithm = match suite.hash() {
            HashLength::Sha256 => HKDF_SHA256,
            HashLength::Sha384 => HKDF_SHA384,
        };
        Prk::new_less_safe(algorithm, prk)
            .expand(&[info], OkmBytes(okm.len()))
            .and_then(|expanded| expanded.fill(okm))
            .expect("an output of at most 48 bytes is within HKDF's 255 blocks");
    }
}

/// How aws-lc-rs is told the length of an output.
struct OkmBytes(usize);

impl KeyType for OkmBytes {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests;
