//! Where records begin and end.

use super::*;

const LOTS: u32 = 1 << 20;

#[test]
fn inside_a_range_a_record_is_a_whole_frame() {
    assert_eq!(record_bytes(0, 300_000, LOTS), 16_384);
    assert_eq!(record_bytes(16_384, 300_000, LOTS), 16_384);
}

#[test]
fn the_first_record_of_an_odd_range_ends_on_a_boundary() {
    assert_eq!(record_bytes(1, 300_000, LOTS), 16_383);
    assert_eq!(record_bytes(4_095, 300_000, LOTS), 16_384 - 4_095);
    assert_eq!(record_bytes(5_000, 300_000, LOTS), 16_384 - (5_000 - 4_096));
}

#[test]
fn the_last_record_is_what_is_left() {
    assert_eq!(record_bytes(16_384, 100, LOTS), 100);
    assert_eq!(record_bytes(4_000, 200, LOTS), 200);
}

#[test]
fn a_small_window_cuts_records_on_boundaries_while_it_reaches_one() {
    assert_eq!(record_bytes(0, 300_000, 14_000), 12_288);
    assert_eq!(record_bytes(4_000, 300_000, 1_000), 96);
    assert_eq!(record_bytes(0, 300_000, 1_426), 1_426);
    assert_eq!(record_bytes(0, 300_000, 0), 0);
}

#[test]
fn a_record_and_its_blocks_always_fit_a_frame() {
    for offset in (0..20_000_u64).step_by(37) {
        for room in [1, 500, 4_095, 4_096, 4_097, 16_383, 16_384, LOTS] {
            for left in [1_u64, 511, 4_096, 16_384, 100_000] {
                let bytes = record_bytes(offset, left, room);
                assert!(bytes >= 1 && u64::from(bytes) <= left && bytes <= room);
                let cover = (offset + u64::from(bytes)).next_multiple_of(4_096) - offset / 4_096 * 4_096;
                assert!(cover <= 16_384, "{offset} {left} {room}: {bytes}");
            }
        }
    }
}
