use std::format;

use super::*;

#[test]
fn a_tag_matches_itself_and_no_other() {
    let tag = Tag([0x0f; TAG_BYTES]);
    assert!(tag.matches(&tag));
    for bit in 0..TAG_BYTES * 8 {
        let mut other = tag;
        other.0[bit / 8] ^= 1 << (bit % 8);
        assert!(!tag.matches(&other));
    }
    assert_eq!(format!("{tag:?}"), "Tag(0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f)");
}
