//! Entity tags (RFC 9110 §8.8.3): made from what `stat` says, compared as lists say.

use core::fmt;

use arrayvec::ArrayString;
use sha2::{Digest as _, Sha256};

use crate::hex_pair;

/// Two quotes, three numbers of at most 16 hexadecimal digits, two hyphens.
const BYTES_MAX: usize = 2 + 3 * 16 + 2;

/// The strong entity tag of a file that is replaced rather than written in place.
///
/// Its opaque part is length, modification time and inode in hexadecimal: a replaced file has another inode, a changed
/// one another time. That is as strong as the file system's clock ticks are short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ETag(ArrayString<BYTES_MAX>);

impl ETag {
    /// The tag of a file of `len` bytes, changed `mtime_ns` nanoseconds after the Unix epoch, in inode `inode`.
    #[must_use]
    pub fn of_file(len: u64, mtime_ns: u64, inode: u64) -> Self {
        let mut text = ArrayString::new();
        // No push can fail: BYTES_MAX is the longest there is.
        for (before, value) in [("\"", len), ("-", mtime_ns), ("-", inode)] {
            text.push_str(before);
            let digits = 16 - (value | 1).leading_zeros() / 4;
            for place in (0..digits).rev() {
                text.push(
                    char::from_digit(u32::try_from(value >> (4 * place) & 15).unwrap_or(0), 16)
                        .unwrap_or('0'),
                );
            }
        }
        text.push('"');
        Self(text)
    }

    /// The tag of content that is made here: the beginning of its SHA-256.
    #[must_use]
    pub fn of_content(content: &[u8]) -> Self {
        let mut text = ArrayString::new();
        let digest: [u8; 32] = Sha256::digest(content).into();
        // 2 quotes and 32 digits are fewer than BYTES_MAX.
        text.push('"');
        for &byte in &digest[..16] {
            hex_pair(byte).iter().for_each(|&digit| text.push(char::from(digit)));
        }
        text.push('"');
        Self(text)
    }

    /// The tag with its quotes, as it is sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `tag`, as sent by the client, is this one by strong comparison: both strong, and the same (RFC 9110
    /// §8.8.3.2).
    #[must_use]
    pub fn matches_strongly(&self, tag: &[u8]) -> bool {
        tag == self.0.as_bytes()
    }

    /// Whether `tag` is this one by weak comparison: the same but for a `W/`.
    #[must_use]
    pub fn matches_weakly(&self, tag: &[u8]) -> bool {
        self.matches_strongly(tag.strip_prefix(b"W/").unwrap_or(tag))
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The entity tags in one line of If-Match or If-None-Match, with their `W/` and quotes.
///
/// Reading stops where the grammar does: what follows a malformed member is not looked at.
#[derive(Clone, Debug)]
pub struct Tags<'a> {
    rest: &'a [u8],
}

impl<'a> Tags<'a> {
    /// The tags in a field line's value.
    #[must_use]
    pub const fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while let [b' ' | b'\t' | b',', rest @ ..] = self.rest {
            self.rest = rest;
        }
        let text = self.rest;
        self.rest = b"";
        let prefix = if text.starts_with(b"W/") { 2 } else { 0 };
        let opaque = text.get(prefix..)?.strip_prefix(b"\"")?;
        let end = prefix + 1 + opaque.iter().position(|&byte| byte == b'"')? + 1;
        self.rest = &text[end..];
        Some(&text[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::{ETag, Tags};
    use std::vec::Vec;

    #[test]
    fn the_longest_tag_fits() {
        assert_eq!(ETag::of_file(u64::MAX, u64::MAX, u64::MAX).as_str().len(), super::BYTES_MAX);
    }

    #[test]
    fn each_of_length_time_and_inode_changes_the_tag() {
        let tag = ETag::of_file(1, 2, 3);
        assert_eq!(tag.as_str(), "\"1-2-3\"");
        for other in [ETag::of_file(9, 2, 3), ETag::of_file(1, 9, 3), ETag::of_file(1, 2, 9)] {
            assert_ne!(tag, other);
        }
    }

    #[test]
    fn content_is_known_by_its_digest() {
        assert_eq!(ETag::of_content(b"abc").as_str(), "\"ba7816bf8f01cfea414140de5dae2223\"");
    }

    /// The table of RFC 9110 §8.8.3.2, the half that has a strong tag on one side.
    #[test]
    fn a_weak_tag_never_matches_strongly() {
        let tag = ETag::of_file(1, 2, 3);
        assert!(tag.matches_strongly(b"\"1-2-3\"") && tag.matches_weakly(b"\"1-2-3\""));
        assert!(!tag.matches_strongly(b"W/\"1-2-3\"") && tag.matches_weakly(b"W/\"1-2-3\""));
        assert!(!tag.matches_strongly(b"1-2-3") && !tag.matches_weakly(b"W/\"4-5-6\""));
    }

    #[test]
    fn a_tag_may_hold_commas_and_a_list_empty_members() {
        let tags: Vec<&[u8]> = Tags::new(b" , \"a,b\",W/\"c\" ,, \"\"").collect();
        assert_eq!(tags, [b"\"a,b\"".as_slice(), b"W/\"c\"", b"\"\""]);
    }

    #[test]
    fn a_list_ends_at_its_first_malformed_member() {
        assert_eq!(Tags::new(b"\"a\", b, \"c\"").count(), 1);
        assert_eq!(Tags::new(b"\"unclosed").count(), 0);
    }
}
