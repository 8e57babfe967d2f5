use super::*;
use crate::testing;
use alloc::vec::Vec;
use proptest::prelude::*;

/// The checksum as RFC 1071 §4.1 spells it, a word at a time.
fn by_the_book(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) << 8 | word.get(1).map_or(0, |&byte| u32::from(byte));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

//= https://www.rfc-editor.org/rfc/rfc1071#section-3
//= type=test
#[test]
fn the_example_of_rfc_1071_sums_to_ddf2() {
    assert_eq!(Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).fold(), 0xddf2);
}

//= https://www.rfc-editor.org/rfc/rfc1624#section-4
//= type=test
#[test]
fn the_example_of_rfc_1624_updates_to_zero() {
    assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn nothing_sums_to_zero() {
    assert_eq!((Sum::ZERO.fold(), checksum(&[])), (0, 0xffff));
}

#[test]
fn a_known_ipv4_header_verifies() {
    let header = [
        0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0,
        0xa8, 0x00, 0xc7,
    ];
    assert!(verify(&header));
}

#[test]
fn long_slices_of_ones_carry_correctly() {
    for len in [63, 64, 65, 65_535, 1 << 20] {
        let ones = alloc::vec![0xff; len];
        assert_eq!(checksum(&ones), by_the_book(&ones), "{len} bytes");
    }
}

#[test]
fn a_superframe_longer_than_16_bits_has_a_pseudo_header() {
    let (a, b) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let written_out = [10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 0, 2, 0, 5];
    assert_eq!(Sum::pseudo_v4(a, b, Protocol::TCP, 0x0002_0005).fold(), Sum::of(&written_out).fold());
}

proptest! {
    #[test]
    fn folding_is_division_but_that_only_zero_is_zero(any: u64, near in 0_u64..4) {
        for sum in [any, near, u64::MAX - near, any << 32, any & 0xffff_ffff] {
            prop_assert_eq!(u64::from(fold(sum)) % 0xffff, sum % 0xffff);
            prop_assert_eq!(fold(sum) == 0, sum == 0);
        }
    }

    #[test]
    fn every_length_agrees_with_the_book(bytes in testing::bytes(700)) {
        prop_assert_eq!(checksum(&bytes), by_the_book(&bytes));
    }

    #[test]
    fn parts_sum_to_the_whole(bytes in testing::bytes(300), cuts in proptest::collection::vec(0_usize..300, 0..6)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let parts = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        prop_assert_eq!(Sum::of_parts(parts.clone()).finish(), by_the_book(&bytes));
        // Also when every part was summed on its own, and pairs from the back.
        let combined = parts.rev().map(Sum::of).fold(Sum::ZERO, |behind, part| part.combine(behind));
        prop_assert_eq!(combined.finish(), by_the_book(&bytes));
    }

    #[test]
    fn a_sealed_slice_verifies_and_any_flipped_bit_breaks_it(
        mut bytes in proptest::collection::vec(any::<u8>(), 2..200), flip in any::<prop::sample::Index>(),
    ) {
        bytes[..2].fill(0);
        let sum = checksum(&bytes);
        bytes[..2].copy_from_slice(&sum.to_be_bytes());
        prop_assert!(verify(&bytes));
        let bit = flip.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!verify(&bytes));
    }

    #[test]
    fn an_update_equals_a_new_sum(mut bytes in proptest::collection::vec(any::<u8>(), 20), new in any::<u16>(), wide in any::<u32>()) {
        // Without a zero word throughout: of the two zeros of one's complement, an update may reach the other one.
        bytes[0] = 0x45;
        let old = u16::from_be_bytes([bytes[8], bytes[9]]);
        let updated = update(checksum(&bytes), old, new);
        bytes[8..10].copy_from_slice(&new.to_be_bytes());
        prop_assert_eq!(updated, checksum(&bytes));
        let old = u32::from_be_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]);
        let updated = update_u32(updated, old, wide);
        bytes[12..16].copy_from_slice(&wide.to_be_bytes());
        prop_assert_eq!(updated, checksum(&bytes));
    }

    #[test]
    fn a_replaced_word_and_a_kept_sum_equal_a_new_sum(
        mut bytes in proptest::collection::vec(any::<u8>(), 4..80), at in any::<prop::sample::Index>(), new in any::<u16>(),
        before in proptest::collection::vec(any::<u8>(), 0..5),
    ) {
        let at = at.index(bytes.len() - 1);
        let kept = Sum::of_folded(Sum::of(&bytes).fold(), bytes.len() % 2 == 1);
        let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
        let whole = Sum::of(&[1]).then(&before).then(&bytes);
        let composed = Sum::of(&[1]).then(&before).combine(kept.replace(old, new, at % 2 == 1));
        prop_assert_eq!(composed.finish(), whole.finish());
    }

    #[test]
    fn the_pseudo_headers_are_those_of_their_rfcs(
        v4 in (testing::host_v4(), testing::host_v4()), v6 in (testing::host_v6(), testing::host_v6()),
        protocol in any::<u8>(), bytes in any::<u16>(),
    ) {
        let [high, low] = bytes.to_be_bytes();
        let written_v4 = [&v4.0.octets()[..], &v4.1.octets(), &[0, protocol, high, low]].concat();
        let sum = Sum::pseudo_v4(v4.0, v4.1, Protocol(protocol), bytes.into());
        prop_assert_eq!(sum.finish(), by_the_book(&written_v4));
        let written_v6 = [&v6.0.octets()[..], &v6.1.octets(), &[0, 0, high, low, 0, 0, 0, protocol]].concat();
        let sum = Sum::pseudo_v6(v6.0, v6.1, Protocol(protocol), bytes.into());
        prop_assert_eq!(sum.finish(), by_the_book(&written_v6));
    }
}
