use super::*;
use proptest::prelude::*;

const EVERYTHING: [(Version, Suite); 6] = [
    (Version::Tls13, Suite::Aes128Gcm),
    (Version::Tls13, Suite::Aes256Gcm),
    (Version::Tls13, Suite::Chacha20Poly1305),
    (Version::Tls12, Suite::Aes128Gcm),
    (Version::Tls12, Suite::Aes256Gcm),
    (Version::Tls12, Suite::Chacha20Poly1305),
];

#[test]
fn a_full_record_is_within_what_a_peer_may_be_sent() {
    for (version, suite) in EVERYTHING {
        let bytes = RecordLayout::of(version, suite).sealed_bytes(PLAINTEXT_BYTES_MAX);
        assert!(bytes <= RECORD_HEAD_BYTES + CIPHERTEXT_BYTES_MAX, "{version:?} {suite:?}");
    }
}

#[test]
fn a_payload_without_room_for_head_or_tail_has_no_record() {
    let layout = RecordLayout::of(Version::Tls12, Suite::Aes128Gcm);
    assert_eq!(layout.around(&(13..20), 36), Some(0..36));
    assert_eq!(layout.around(&(12..20), 36), None);
    assert_eq!(layout.around(&(13..20), 35), None);
    assert_eq!(layout.around(&(13..usize::MAX), 36), None);
    #[expect(clippy::reversed_empty_ranges, reason = "what a caller might get wrong")]
    let reversed = 20..13;
    assert_eq!(layout.around(&reversed, 64), None);
}

#[test]
fn a_record_number_changes_the_last_eight_bytes_of_the_iv() {
    let iv = [0xa5; 12];
    assert_eq!(nonce(&iv, 0), iv);
    assert_eq!(nonce(&iv, 0x0102_0304_0506_0708)[..4], iv[..4]);
    assert_eq!(nonce(&iv, 0xff)[11], 0x5a);
}

#[test]
fn the_additional_data_of_tls12_is_number_type_version_and_length() {
    assert_eq!(aad12(1, 23, 0x0203), [0, 0, 0, 0, 0, 0, 0, 1, 23, 3, 3, 2, 3]);
}

#[test]
fn four_bytes_do_not_tell_a_records_size() {
    assert_eq!(peek_record_bytes(&[23, 3, 3, 0]), None);
    assert_eq!(peek_record_bytes(&[23, 3, 3, 0, 1]), Some(6));
    assert_eq!(peek_record_bytes(&[0, 0, 0, 0xff, 0xff, 9]), Some(65_540));
}

proptest! {
    #[test]
    fn two_numbers_under_one_iv_have_two_nonces(iv: [u8; 12], a: u64, b: u64) {
        prop_assert_eq!(nonce(&iv, a) == nonce(&iv, b), a == b);
    }

    #[test]
    fn peek_inverts_head(length in 0..=CIPHERTEXT_BYTES_MAX) {
        prop_assert_eq!(peek_record_bytes(&head(23, length)), Some(RECORD_HEAD_BYTES + length));
    }
}
