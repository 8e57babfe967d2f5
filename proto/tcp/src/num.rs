//! Saturating conversions: quantities that a peer can push never wrap and never panic.

/// `bytes` as far as 32 bits reach.
pub(crate) fn clamp_u32(bytes: u64) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The whole multiples of `mss` in `bytes`, in bytes.
pub(crate) fn whole_segments(bytes: u32, mss: u32) -> u32 {
    bytes - bytes % mss.max(1)
}

/// The integer cube root, rounded down. Newton would need a division per step; this needs 22 comparisons.
pub(crate) fn cube_root(value: u64) -> u64 {
    let mut root = 0_u64;
    // 2²¹·³ = 2⁶³ fits, and 2642245³ is the last cube below 2⁶⁴.
    for bit in (0..=21).rev() {
        let candidate = root | (1 << bit);
        if candidate
            .checked_mul(candidate)
            .and_then(|square| square.checked_mul(candidate))
            .is_some_and(|c| c <= value)
        {
            root = candidate;
        }
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_cube_root_is_the_largest_number_whose_cube_fits(value: u64) {
            let root = u128::from(cube_root(value));
            prop_assert!(root.pow(3) <= u128::from(value));
            prop_assert!((root + 1).pow(3) > u128::from(value));
        }

        #[test]
        fn whole_segments_never_exceed_the_bytes_and_miss_less_than_one(bytes: u32, mss in 1_u32..70_000) {
            let whole = whole_segments(bytes, mss);
            prop_assert_eq!(whole % mss, 0);
            prop_assert!(whole <= bytes && bytes - whole < mss);
        }
    }
}
