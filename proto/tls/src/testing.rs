//! A toy cipher for tests. It hides nothing and resists nobody; but it is an AEAD in every respect that this room
//! relies on: another key, nonce, additional data or plaintext gives another tag.

use alloc::vec;
use alloc::vec::Vec;

use crate::aead::{Aead, BadRecord, Nonce, TAG_BYTES};
use crate::cache::ExpandedKeys;
use crate::keys::TrafficKeys;
use crate::opener::{Opener, Role};
use crate::record::ContentType;
use crate::sealer::Sealer;
use crate::suite::{Suite, Version};

/// The toy: a keyed mixing function as stream and as tag.
#[derive(Debug)]
pub enum ToyAead {}

/// Its expanded key.
#[derive(Debug, Clone)]
pub struct ToyKey(u64);

impl Aead for ToyAead {
    type Key = ToyKey;

    fn key(suite: Suite, bytes: &[u8]) -> ToyKey {
        assert_eq!(bytes.len(), suite.key_bytes(), "the key must be of the suite's length");
        ToyKey(bytes.iter().fold(mix(bytes.len() as u64), absorb))
    }

    fn seal(
        key: &ToyKey,
        nonce: &Nonce,
        aad: &[u8],
        in_place: &mut [u8],
        extra_in: &[u8],
        extra_out_and_tag: &mut [u8],
    ) {
        assert_eq!(
            extra_out_and_tag.len(),
            extra_in.len() + TAG_BYTES,
            "room for the extra bytes and the tag"
        );
        let (extra, tag) = extra_out_and_tag.split_at_mut(extra_in.len());
        extra.copy_from_slice(extra_in);
        let seed = nonce.iter().fold(key.0, absorb);
        in_place.iter_mut().chain(extra.iter_mut()).zip(stream(seed)).for_each(|(byte, pad)| *byte ^= pad);
        let sealed = in_place.iter().chain(extra.iter());
        tag.copy_from_slice(&tag_of(seed, aad, sealed));
    }

    fn seal_separate(
        key: &ToyKey,
        nonce: &Nonce,
        aad: &[u8],
        plaintext: &[u8],
        out: &mut [u8],
        extra_in: &[u8],
        extra_out_and_tag: &mut [u8],
    ) {
        out.copy_from_slice(plaintext);
        Self::seal(key, nonce, aad, out, extra_in, extra_out_and_tag);
    }

    fn open(key: &ToyKey, nonce: &Nonce, aad: &[u8], in_place: &mut [u8]) -> Result<usize, BadRecord> {
        let bytes = in_place.len().checked_sub(TAG_BYTES).ok_or(BadRecord)?;
        let (sealed, tag) = in_place.split_at_mut(bytes);
        let seed = nonce.iter().fold(key.0, absorb);
        if tag_of(seed, aad, sealed.iter()) != *tag {
            return Err(BadRecord);
        }
        sealed.iter_mut().zip(stream(seed)).for_each(|(byte, pad)| *byte ^= pad);
        Ok(bytes)
    }

    fn hkdf_expand(suite: Suite, prk: &[u8], info: &[u8], okm: &mut [u8]) {
        let seed = info.iter().fold(prk.iter().fold(mix(suite.hash().bytes() as u64), absorb), absorb);
        okm.iter_mut().zip(stream(seed)).for_each(|(byte, pad)| *byte = pad);
    }
}

fn stream(seed: u64) -> impl Iterator<Item = u8> {
    (0_u64..).flat_map(move |block| mix(seed ^ mix(block)).to_be_bytes())
}

fn tag_of<'a>(seed: u64, aad: &[u8], sealed: impl Iterator<Item = &'a u8>) -> [u8; TAG_BYTES] {
    let state = sealed.fold(aad.iter().fold(mix(seed), absorb), absorb);
    let mut tag = [0; TAG_BYTES];
    tag[..8].copy_from_slice(&mix(state).to_be_bytes());
    tag[8..].copy_from_slice(&mix(!state).to_be_bytes());
    tag
}

fn absorb(state: u64, byte: &u8) -> u64 {
    mix(state ^ u64::from(*byte))
}

/// An odd multiplication and two shifts, twice: enough for bytes to matter.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 31)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let x = (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ (x >> 32)
}

/// Keys of this version and suite, the same for the same seed.
///
/// # Panics
/// Never: the lengths are the suite's.
#[must_use]
pub fn keys(version: Version, suite: Suite, seed: u8) -> TrafficKeys {
    let bytes = [seed; 48];
    match version {
        Version::Tls12 => TrafficKeys::tls12(suite, &bytes[..suite.key_bytes()], &bytes[..12]),
        Version::Tls13 => TrafficKeys::tls13::<ToyAead>(suite, &bytes[..suite.hash().bytes()]),
    }
    .expect("the lengths are the suite's")
}

/// A client's send side and a server's receive side with the same toy keys.
///
/// # Panics
/// Never: a fresh key has numbers left.
#[must_use]
pub fn client_to_server(version: Version, suite: Suite) -> (Sealer, Opener) {
    let sealer = Sealer::new(keys(version, suite, 1), 0).expect("a fresh key has numbers left");
    (sealer, Opener::new(Role::Server, keys(version, suite, 1), 0))
}

/// Binds and seals a plaintext of any kind; returns the record's bytes.
///
/// # Panics
/// When the sealer refuses.
pub fn seal_record<A: Aead>(
    sealer: &mut Sealer,
    cache: &mut ExpandedKeys<A>,
    content: ContentType,
    plaintext: &[u8],
) -> Vec<u8> {
    let layout = sealer.layout();
    let payload = layout.head_bytes..layout.head_bytes + plaintext.len();
    let mut buffer = vec![0; layout.sealed_bytes(plaintext.len())];
    buffer[payload.clone()].copy_from_slice(plaintext);
    let record = sealer.bind().expect("a number is left");
    let sealed = sealer.seal(cache, record, content, &mut buffer, payload).expect("the buffer has room");
    assert_eq!(sealed.range, 0..buffer.len());
    buffer
}
