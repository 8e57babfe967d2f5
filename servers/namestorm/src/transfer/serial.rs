//! Serial numbers (RFC 1982): a circle, on which only what lies less than half of it ahead is newer.

/// Whether `serial` is newer than `than`. Two that lie exactly opposite are neither (§3.2): then nothing is newer.
#[must_use]
pub const fn is_newer(serial: u32, than: u32) -> bool {
    let ahead = serial.wrapping_sub(than);
    ahead != 0 && ahead < 1 << 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_circle_has_no_end_and_its_far_side_is_neither() {
        assert!(is_newer(1, 0) && !is_newer(0, 1));
        assert!(is_newer(0, u32::MAX) && !is_newer(u32::MAX, 0));
        assert!(is_newer(0x7fff_ffff, 0) && !is_newer(0x8000_0000, 0) && !is_newer(0, 0x8000_0000));
        assert!(!is_newer(7, 7));
    }
}
