//! What a name on the disk stands for.

use core::fmt;

use crate::random::mix;

/// The content of one file.
#[derive(Clone)]
pub struct Object {
    content: Content,
    len: u64,
    mtime_ns: i64,
}

#[derive(Clone)]
enum Content {
    Bytes(Vec<u8>),
    Function { number: u64, fill: fn(u64, u64, &mut [u8]) },
    Untouched,
}

impl Object {
    /// These bytes.
    #[must_use]
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { len: bytes.len() as u64, content: Content::Bytes(bytes), mtime_ns: 0 }
    }

    /// `len` bytes of [`pattern`] number `number`.
    #[must_use]
    pub fn pattern(number: u64, len: u64) -> Self {
        Self::function(number, len, pattern)
    }

    /// `len` bytes that `fill(number, offset, out)` produces when they are read. The same arguments must
    /// always produce the same bytes, however a range is cut.
    #[must_use]
    pub fn function(number: u64, len: u64, fill: fn(u64, u64, &mut [u8])) -> Self {
        Self { content: Content::Function { number, fill }, len, mtime_ns: 0 }
    }

    /// `len` bytes that nobody writes: reads complete and leave the frames as they are.
    #[must_use]
    pub fn untouched(len: u64) -> Self {
        Self { content: Content::Untouched, len, mtime_ns: 0 }
    }

    /// The same, last modified at `mtime_ns` nanoseconds after the Unix epoch.
    #[must_use]
    pub fn modified(mut self, mtime_ns: i64) -> Self {
        self.mtime_ns = mtime_ns;
        self
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn mtime_ns(&self) -> i64 {
        self.mtime_ns
    }

    pub(crate) fn truncate(&mut self, len: u64) {
        if len < self.len {
            self.len = len;
            if let Content::Bytes(bytes) = &mut self.content {
                bytes.truncate(usize::try_from(len).expect("shorter than what is in memory"));
            }
        }
    }

    /// Fills `out` with the bytes from `offset` on. Returns how many there were: fewer only at the end.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let left = self.len.saturating_sub(offset);
        let count = usize::try_from(left).map_or(out.len(), |left| left.min(out.len()));
        let out = &mut out[..count];
        match &self.content {
            Content::Bytes(bytes) if count > 0 => {
                let start = usize::try_from(offset).expect("before the end of what is in memory");
                out.copy_from_slice(&bytes[start..start + count]);
            }
            Content::Function { number, fill } if count > 0 => fill(*number, offset, out),
            Content::Bytes(_) | Content::Function { .. } | Content::Untouched => {}
        }
        count
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = match &self.content {
            Content::Bytes(_) => "bytes",
            Content::Function { .. } => "function",
            Content::Untouched => "untouched",
        };
        f.debug_struct("Object").field("content", &content).field("len", &self.len).finish_non_exhaustive()
    }
}

/// The bytes of pattern `number` from `offset` on: no two patterns agree, and no two places of one repeat
/// within any length that matters, so that a byte from the wrong place is noticed.
pub fn pattern(number: u64, offset: u64, out: &mut [u8]) {
    const WORD: u64 = 8;
    let salt = mix(number.wrapping_add(0x9e37_79b9_7f4a_7c15));
    let word_at = |word: u64| mix(word ^ salt).to_le_bytes();
    let mut word = offset / WORD;
    let before = usize::try_from(offset % WORD).expect("below eight");
    let (head, rest) = out.split_at_mut(if before == 0 { 0 } else { out.len().min(8 - before) });
    if !head.is_empty() {
        head.copy_from_slice(&word_at(word)[before..before + head.len()]);
        word += 1;
    }
    for chunk in rest.chunks_mut(8) {
        chunk.copy_from_slice(&word_at(word)[..chunk.len()]);
        word = word.wrapping_add(1);
    }
}
