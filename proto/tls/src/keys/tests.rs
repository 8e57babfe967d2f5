use std::format;

use super::*;
use crate::testing::{ToyAead, keys};

#[test]
fn material_that_does_not_fit_its_suite_makes_no_keys() {
    for suite in Suite::ALL {
        let (key, hash) = (suite.key_bytes(), suite.hash().bytes());
        let zeroes = [0; 64];
        assert!(TrafficKeys::tls12(suite, &zeroes[..key], &zeroes[..12]).is_ok());
        assert!(TrafficKeys::tls12(suite, &zeroes[..key - 1], &zeroes[..12]).is_err());
        assert!(TrafficKeys::tls12(suite, &zeroes[..key + 1], &zeroes[..12]).is_err());
        assert!(TrafficKeys::tls12(suite, &zeroes[..key], &zeroes[..4]).is_err());
        assert!(TrafficKeys::tls13::<ToyAead>(suite, &zeroes[..hash]).is_ok());
        assert!(TrafficKeys::tls13::<ToyAead>(suite, &zeroes[..hash + 1]).is_err());
        assert!(TrafficKeys::tls13_derived(suite, &zeroes[..hash], &zeroes[..key], &zeroes[..12]).is_ok());
        assert!(
            TrafficKeys::tls13_derived(suite, &zeroes[..hash - 1], &zeroes[..key], &zeroes[..12]).is_err()
        );
    }
    assert_eq!(SecretBytes::new(&[0; 49]).map(drop), None);
    assert_eq!(SecretBytes::new(&[7; 48]).unwrap().as_bytes(), [7; 48]);
}

#[test]
fn secrets_are_not_printed() {
    let secret = SecretBytes::new(&[0x5a; 32]).unwrap();
    let printed = format!("{secret:?} {:?}", keys(Version::Tls13, Suite::Aes256Gcm, 0x5a));
    assert_eq!(printed, "SecretBytes(32 bytes) TrafficKeys(Tls13, Aes256Gcm)");
}

#[test]
fn each_epoch_has_other_keys_and_tls12_has_one_epoch() {
    let first = keys(Version::Tls13, Suite::Aes256Gcm, 1);
    let second = first.next::<ToyAead>().unwrap();
    let third = second.next::<ToyAead>().unwrap();
    assert!(first.key != second.key && second.key != third.key && first.key != third.key);
    assert!(first.iv != second.iv && second.iv != third.iv);
    assert!(second.id.is_none(), "the cache must not find the old key under the new one's name");
    assert!(keys(Version::Tls12, Suite::Aes256Gcm, 1).next::<ToyAead>().is_none());
}

/// Writes the label down instead of deriving anything.
enum Recorder {}

impl Aead for Recorder {
    type Key = ();

    fn key(_: Suite, _: &[u8]) {}

    fn seal((): &(), _: &Nonce, _: &[u8], _: &mut [u8], _: &[u8], _: &mut [u8]) {}

    fn seal_separate((): &(), _: &Nonce, _: &[u8], _: &[u8], _: &mut [u8], _: &[u8], _: &mut [u8]) {}

    fn open((): &(), _: &Nonce, _: &[u8], _: &mut [u8]) -> Result<usize, crate::BadRecord> {
        Err(crate::BadRecord)
    }

    fn hkdf_expand(_: Suite, _: &[u8], info: &[u8], okm: &mut [u8]) {
        okm[..info.len()].copy_from_slice(info);
    }
}

#[test]
fn labels_are_laid_out_as_in_rfc8446_section_7_1() {
    let mut okm = [0xff; 48];
    hkdf_expand_label::<Recorder>(Suite::Aes256Gcm, &[], b"traffic upd", &mut okm);
    assert_eq!(okm[..21], *b"\x00\x30\x11tls13 traffic upd\x00");
    assert_eq!(okm[21..], [0xff; 27]);
}
