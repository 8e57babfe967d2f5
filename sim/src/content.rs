//! What every object contains: a function of the object, its version and the offset, so that nobody has to keep it.
//!
//! ```text
//! offset  0                16                                          256
//!         | marker (16 B)  | mixed from (object, version, offset / 8)  | marker | …
//! ```
//!
//! The marker tells plaintext: it stands so close together that every packet of more than 272 bytes of payload holds a whole one.

use core::fmt;

/// Stands at the beginning of every block of [`MARKER_STRIDE`] bytes.
pub const MARKER: &[u8; 16] = b"\x01PLAINTEXT>ATLAS";

/// From one marker to the next, in bytes.
pub const MARKER_STRIDE: u64 = 256;

/// An object, as its bytes know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Content {
    /// Which object.
    pub object: u32,
    /// How often it was replaced.
    pub version: u32,
}

impl Content {
    /// The first version of an object.
    #[must_use]
    pub const fn of(object: u32) -> Self {
        Self { object, version: 0 }
    }

    /// Writes the bytes from `offset` on.
    pub fn fill(self, offset: u64, out: &mut [u8]) {
        let skip = usize::try_from(offset % 8).expect("less than eight");
        let (head, rest) = out.split_at_mut(out.len().min((8 - skip) % 8));
        let mut word = offset / 8;
        if !head.is_empty() {
            head.copy_from_slice(&self.word(word)[skip..][..head.len()]);
            word += 1;
        }
        let (words, tail) = rest.as_chunks_mut::<8>();
        for bytes in words {
            *bytes = self.word(word);
            word += 1;
        }
        tail.copy_from_slice(&self.word(word)[..tail.len()]);
    }

    /// Compares `bytes` with what stands at `offset`.
    ///
    /// # Errors
    /// The first byte that differs.
    pub fn verify(self, offset: u64, bytes: &[u8]) -> Result<(), Difference> {
        let mut expected = [0; 4_096];
        let mut at = offset;
        for chunk in bytes.chunks(expected.len()) {
            let expected = &mut expected[..chunk.len()];
            self.fill(at, expected);
            if expected != chunk {
                let index = expected.iter().zip(chunk).position(|(a, b)| a != b).expect("they differ");
                return Err(Difference {
                    content: self,
                    offset: at + index as u64,
                    expected: expected[index],
                    found: chunk[index],
                });
            }
            at += chunk.len() as u64;
        }
        Ok(())
    }

    /// Compares `bytes` with what stands at `offset` in this version or in any of the `later` ones after it: of a file that
    /// changes while it is read, each byte may be old or new.
    ///
    /// # Errors
    /// The first byte that no version has.
    pub fn verify_any(self, later: u32, offset: u64, bytes: &[u8]) -> Result<(), Difference> {
        let Err(difference) = self.verify(offset, bytes) else { return Ok(()) };
        let mut known = vec![false; bytes.len()];
        let mut expected = vec![0; bytes.len()];
        for version in self.version..=self.version + later {
            Self { version, ..self }.fill(offset, &mut expected);
            for (known, (expected, found)) in known.iter_mut().zip(expected.iter().zip(bytes)) {
                *known |= expected == found;
            }
        }
        match known.iter().position(|known| !known) {
            None => Ok(()),
            Some(index) => {
                Err(Difference { offset: offset + index as u64, found: bytes[index], ..difference })
            }
        }
    }

    /// The eight bytes at offset `8 * index`.
    fn word(self, index: u64) -> [u8; 8] {
        const WORDS: u64 = MARKER_STRIDE / 8;
        match index % WORDS {
            0 => *MARKER.first_chunk().expect("16 bytes"),
            1 => *MARKER.last_chunk().expect("16 bytes"),
            _ => {
                // The finaliser of splitmix64 over a Weyl sequence: every input bit reaches every output bit.
                let key = u64::from(self.object) << 32 | u64::from(self.version);
                let mut z = (key ^ 0x6A09_E667_F3BC_C908)
                    .wrapping_mul(0xD129_0D3F_8A5B_63F5)
                    .wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                (z ^ (z >> 31)).to_le_bytes()
            }
        }
    }
}

/// A byte that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Of which object.
    pub content: Content,
    /// Where in the object.
    pub offset: u64,
    /// What should be there.
    pub expected: u8,
    /// What is.
    pub found: u8,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { content, offset, expected, found } = self;
        let Content { object, version } = content;
        write!(f, "object {object} (version {version}) at {offset}: {found:#04x} instead of {expected:#04x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 1_000;

    fn whole(content: Content) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        content.fill(0, &mut bytes);
        bytes
    }

    #[test]
    fn any_part_agrees_with_the_whole() {
        let content = Content { object: 3, version: 1 };
        let whole = whole(content);
        for start in 0..40 {
            for len in [0, 1, 7, 8, 9, 300, 900] {
                let mut part = vec![0; len];
                content.fill(start as u64, &mut part);
                assert_eq!(part, whole[start..start + len], "{len} bytes at {start}");
                assert_eq!(content.verify(start as u64, &part), Ok(()));
            }
        }
    }

    #[test]
    fn one_wrong_byte_is_found_and_named() {
        let content = Content::of(9);
        let mut bytes = whole(content);
        bytes[777] ^= 0x10;
        let difference = content.verify(0, &bytes).unwrap_err();
        assert_eq!((difference.offset, difference.expected ^ difference.found), (777, 0x10));
    }

    #[test]
    fn of_a_file_that_changes_each_byte_is_old_or_new() {
        let content = Content::of(9);
        let mut bytes = whole(content);
        let new = whole(Content { version: 1, ..content });
        bytes[500..700].copy_from_slice(&new[500..700]);
        assert!(content.verify(0, &bytes).is_err());
        assert_eq!(content.verify_any(1, 0, &bytes), Ok(()));
        let odd = (0..=255).find(|byte| ![new[600], whole(content)[600]].contains(byte)).unwrap();
        bytes[600] = odd;
        assert_eq!(content.verify_any(1, 0, &bytes).unwrap_err().offset, 600);
    }

    #[test]
    fn objects_and_versions_differ_but_for_their_markers() {
        let bytes = whole(Content::of(1));
        for other in [Content::of(2), Content { object: 1, version: 1 }] {
            let other = whole(other);
            assert_ne!(bytes[16..256], other[16..256]);
            assert_eq!(bytes[..16], other[..16]);
        }
    }

    #[test]
    fn every_272_bytes_hold_a_marker() {
        let bytes = whole(Content::of(1));
        for window in bytes.windows(271) {
            assert!(memchr::memmem::find(window, MARKER).is_some());
        }
    }
}
