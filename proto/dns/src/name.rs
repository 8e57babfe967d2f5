//! Names (RFC 1035 §3.1 and §4.1.4, RFC 4343).
//!
//! ```text
//! sent    3 W w W 7 E x a m p l e 0        or  3 W w W C0 04   (a pointer)
//! bytes   3 w w w 7 e x a m p l e 0        folded, without pointers, then padding
//! labels  0       4              12        where each label begins; the root is the last
//! ```
//!
//! A length is at most 63 and lies below the letters, so folding goes over the whole name, lengths included, eight
//! bytes at a time.

use core::fmt;

/// A name on the wire, its root included.
pub const NAME_BYTES_MAX: usize = 255;

/// A label, its length not included.
pub const LABEL_BYTES_MAX: usize = 63;

/// The most labels that a name has, the root not included.
pub const LABELS_MAX: usize = 127;

/// What can be read behind a name's first byte without leaving its buffer: whole words, and one more.
const BUFFER_BYTES: usize = 272;

/// Why bytes are not a name. Always the fault of whoever sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// The message ends within the name.
    Truncated,
    /// More than 255 bytes.
    TooLong,
    /// A label of a type that never came to be (RFC 6891 §5).
    LabelType,
    /// A pointer that does not lead backwards.
    Pointer,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the message ends within a name",
            Self::TooLong => "a name of more than 255 bytes",
            Self::LabelType => "a label of an unknown type",
            Self::Pointer => "a compression pointer that does not lead backwards",
        })
    }
}

impl core::error::Error for NameError {}

/// Where a name ended in its message, and how it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first byte behind the name as it was sent.
    pub end: usize,
    /// It was sent with a pointer.
    pub compressed: bool,
}

/// A name in lower case, without pointers, with the place of every label. To be used again for the next one.
#[derive(Clone)]
pub struct Name {
    bytes: [u8; BUFFER_BYTES],
    starts: [u8; LABELS_MAX + 1],
    len: u8,
    labels: u8,
}

impl Name {
    /// The root.
    #[must_use]
    pub const fn root() -> Self {
        Self { bytes: [0; BUFFER_BYTES], starts: [0; LABELS_MAX + 1], len: 1, labels: 0 }
    }

    /// Reads the name at `start` of `message` in place of what was here.
    ///
    /// # Errors
    /// Bytes that are not a name; what is here then is of no use.
    #[inline]
    pub fn read(&mut self, message: &[u8], start: usize) -> Result<Span, NameError> {
        let sent = message.get(start..).ok_or(NameError::Truncated)?;
        self.fold_from(sent);
        let readable = sent.len();
        let mut at = 0_usize;
        let mut labels = 0_usize;
        loop {
            if at >= readable {
                return Err(NameError::Truncated);
            }
            let Some(&byte) = self.bytes.get(at) else { return Err(NameError::TooLong) };
            if at >= NAME_BYTES_MAX {
                return Err(NameError::TooLong);
            }
            #[expect(
                clippy::cast_possible_truncation,
                reason = "below 255, and at most 127 labels of two bytes"
            )]
            match byte {
                0 => {
                    self.starts[labels & LABELS_MAX] = at as u8;
                    self.labels = labels as u8;
                    self.len = at as u8 + 1;
                    return Ok(Span { end: start + at + 1, compressed: false });
                }
                1..=63 => {
                    self.starts[labels & LABELS_MAX] = at as u8;
                    labels += 1;
                    at += 1 + usize::from(byte);
                }
                // Folding has left the two upper bits as they were.
                192.. => return self.read_compressed(message, start),
                _ => return Err(NameError::LabelType),
            }
        }
    }

    /// The same with pointers, each of which leads in front of where the name, or the part before it, began: then no
    /// loop is possible, and no byte is read twice.
    #[cold]
    fn read_compressed(&mut self, message: &[u8], start: usize) -> Result<Span, NameError> {
        let mut len = 0;
        let end = uncompress(message, start, |label| {
            self.bytes[len] = label[0];
            for (room, byte) in self.bytes[len + 1..].iter_mut().zip(&label[1..]) {
                *room = byte.to_ascii_lowercase();
            }
            len += label.len();
        })?;
        self.index();
        Ok(Span { end, compressed: true })
    }

    /// Takes `wire`, which is a name of its own and nothing behind it.
    ///
    /// # Errors
    /// It is not one.
    pub fn set(&mut self, wire: &[u8]) -> Result<(), NameError> {
        let span = self.read(wire, 0)?;
        if span.compressed { Err(NameError::Pointer) } else { Ok(()) }
    }

    /// Fills the buffer with `sent` in lower case. What was behind the name stays: nobody may look there.
    #[inline]
    fn fold_from(&mut self, sent: &[u8]) {
        let sent = &sent[..sent.len().min(NAME_BYTES_MAX + 1)];
        let (words, tail) = sent.as_chunks::<8>();
        let (room, _) = self.bytes.as_chunks_mut::<8>();
        for (room, word) in room.iter_mut().zip(words) {
            *room = fold(u64::from_le_bytes(*word)).to_le_bytes();
        }
        if !tail.is_empty() {
            let mut last = [0; 8];
            last[..tail.len()].copy_from_slice(tail);
            room[words.len()] = fold(u64::from_le_bytes(last)).to_le_bytes();
        }
    }

    /// Finds the labels of bytes that are known to be a name.
    fn index(&mut self) {
        let mut at = 0_u8;
        let mut labels = 0_u8;
        loop {
            self.starts[usize::from(labels)] = at;
            let len = self.bytes[usize::from(at)];
            if len == 0 {
                self.labels = labels;
                self.len = at + 1;
                return;
            }
            at += len + 1;
            labels += 1;
        }
    }

    /// The name, its root included.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// How long that is: at most 255.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// The name, and what happens to lie behind it: for those who read whole words and mask them.
    #[must_use]
    pub const fn buffer(&self) -> &[u8; BUFFER_BYTES] {
        &self.bytes
    }

    /// How many labels it has, the root not counted.
    #[must_use]
    pub fn labels(&self) -> usize {
        usize::from(self.labels)
    }

    /// Where label `index` begins, counted from the left; that of index [`labels`](Self::labels) is the root.
    ///
    /// # Panics
    /// There is no such label.
    #[must_use]
    pub fn label_start(&self, index: usize) -> usize {
        usize::from(self.starts[index])
    }

    /// The name without its first `index` labels.
    ///
    /// # Panics
    /// There are not that many.
    #[must_use]
    pub fn suffix(&self, index: usize) -> &[u8] {
        &self.bytes[self.label_start(index)..usize::from(self.len)]
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.wire() == other.wire()
    }
}

impl Eq for Name {}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({})", Presentation(self.wire()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Presentation(self.wire()).fmt(f)
    }
}

/// Eight bytes in lower case (RFC 4343 §3): only A to Z change.
#[inline]
#[must_use]
pub const fn fold(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let heptets = word & (0x7f * ONES);
    let from_a = heptets + ((0x80 - 0x41) * ONES);
    let above_z = heptets + ((0x80 - 0x5b) * ONES);
    // The eighth bit of a lane: at least A, not above Z, and no eighth bit of its own.
    let upper = (from_a & !above_z & !word) & (0x80 * ONES);
    word | upper >> 2
}

/// Bytes in lower case, in place.
pub fn fold_bytes(bytes: &mut [u8]) {
    bytes.make_ascii_lowercase();
}

/// Calls `label` with each label of the name at `start`, its length before it and the root included, in the case in
/// which it was sent; returns where the name ended.
///
/// # Errors
/// It is not a name. Labels may have been passed on before that is known.
pub fn uncompress(message: &[u8], start: usize, mut label: impl FnMut(&[u8])) -> Result<usize, NameError> {
    let mut end = None;
    let mut at = start;
    // The part that is being read began here; a pointer must lead before it.
    let mut part = start;
    let mut len = 0;
    loop {
        let byte = *message.get(at).ok_or(NameError::Truncated)?;
        match byte {
            0..=63 => {
                let bytes = message.get(at..=at + usize::from(byte)).ok_or(NameError::Truncated)?;
                len += bytes.len();
                if len > NAME_BYTES_MAX || byte != 0 && len == NAME_BYTES_MAX {
                    return Err(NameError::TooLong);
                }
                label(bytes);
                at += bytes.len();
                if byte == 0 {
                    return Ok(end.unwrap_or(at));
                }
            }
            192.. => {
                let low = *message.get(at + 1).ok_or(NameError::Truncated)?;
                let target = usize::from(u16::from_be_bytes([byte & 63, low]));
                if target >= part {
                    return Err(NameError::Pointer);
                }
                end.get_or_insert(at + 2);
                at = target;
                part = target;
            }
            _ => return Err(NameError::LabelType),
        }
    }
}

/// Where the name at `start` ends, its labels unread.
///
/// # Errors
/// The message ends first, or a label is of no known type.
pub fn skip(message: &[u8], start: usize) -> Result<usize, NameError> {
    let mut at = start;
    loop {
        match *message.get(at).ok_or(NameError::Truncated)? {
            0 => return Ok(at + 1),
            byte @ 1..=63 => at += 1 + usize::from(byte),
            192.. => {
                return if at + 2 <= message.len() { Ok(at + 2) } else { Err(NameError::Truncated) };
            }
            _ => return Err(NameError::LabelType),
        }
        if at - start >= NAME_BYTES_MAX {
            return Err(NameError::TooLong);
        }
    }
}

/// The labels of an uncompressed name, from the left, the root not among them.
pub fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = wire;
    core::iter::from_fn(move || {
        let (&len, behind) = rest.split_first()?;
        if len == 0 {
            return None;
        }
        let (label, behind) = behind.split_at_checked(usize::from(len))?;
        rest = behind;
        Some(label)
    })
}

/// Compares two uncompressed names as RFC 4034 §6.1 orders them: label by label from the right, folded.
#[must_use]
pub fn canonical_order(a: &[u8], b: &[u8]) -> core::cmp::Ordering {
    let starts = |wire: &[u8]| {
        let mut starts = [0_u8; LABELS_MAX + 1];
        let (mut at, mut count) = (0_usize, 0_usize);
        while let Some(&len) = wire.get(at)
            && len != 0
            && count < LABELS_MAX
        {
            #[expect(clippy::cast_possible_truncation, reason = "inside a name")]
            {
                starts[count] = at as u8;
            }
            at += 1 + usize::from(len);
            count += 1;
        }
        (starts, count)
    };
    let ((in_a, mut left_a), (in_b, mut left_b)) = (starts(a), starts(b));
    let label = |wire: &'_ [u8], at: u8| -> (usize, usize) {
        let at = usize::from(at);
        (at + 1, (at + 1 + usize::from(wire[at])).min(wire.len()))
    };
    while left_a > 0 && left_b > 0 {
        left_a -= 1;
        left_b -= 1;
        let (from_a, to_a) = label(a, in_a[left_a]);
        let (from_b, to_b) = label(b, in_b[left_b]);
        let of_a = a[from_a..to_a].iter().map(u8::to_ascii_lowercase);
        let of_b = b[from_b..to_b].iter().map(u8::to_ascii_lowercase);
        let order = of_a.cmp(of_b);
        if order.is_ne() {
            return order;
        }
    }
    left_a.cmp(&left_b)
}

/// An uncompressed name as people write it (RFC 1035 §5.1), absolute.
#[derive(Clone, Copy, Debug)]
pub struct Presentation<'a>(pub &'a [u8]);

impl fmt::Display for Presentation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        let mut any = false;
        for label in labels(self.0) {
            any = true;
            for &byte in label {
                match byte {
                    b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                        f.write_char('\\')?;
                        f.write_char(char::from(byte))?;
                    }
                    0x21..=0x7e => f.write_char(char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
            f.write_char('.')?;
        }
        if any { Ok(()) } else { f.write_char('.') }
    }
}

/// Why text is not a name. The fault of whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// A label of more than 63 bytes.
    LabelTooLong,
    /// More than 255 bytes in all.
    TooLong,
    /// Two dots without anything between.
    EmptyLabel,
    /// A backslash that three digits up to 255, or one character, do not follow.
    Escape,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LabelTooLong => "a label of more than 63 bytes",
            Self::TooLong => "a name of more than 255 bytes",
            Self::EmptyLabel => "an empty label",
            Self::Escape => "a backslash that nothing readable follows",
        })
    }
}

impl core::error::Error for TextError {}

/// The name that `text` writes; a missing last dot is taken as there.
///
/// # Errors
/// It does not write one.
pub fn from_text(text: &[u8]) -> Result<alloc::vec::Vec<u8>, TextError> {
    let mut wire = alloc::vec![0_u8];
    if text == b"." {
        return Ok(wire);
    }
    let mut label = 0;
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let octet = match byte {
            b'.' => {
                if wire.len() == label + 1 {
                    return Err(TextError::EmptyLabel);
                }
                label = wire.len();
                wire.push(0);
                continue;
            }
            b'\\' => match *rest {
                [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ref behind @ ..] => {
                    rest = behind;
                    let value = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
                    u8::try_from(value).map_err(|_| TextError::Escape)?
                }
                [byte, ref behind @ ..] if !byte.is_ascii_digit() => {
                    rest = behind;
                    byte
                }
                _ => return Err(TextError::Escape),
            },
            byte => byte,
        };
        wire.push(octet);
        wire[label] += 1;
        if usize::from(wire[label]) > LABEL_BYTES_MAX {
            return Err(TextError::LabelTooLong);
        }
    }
    if wire[label] != 0 {
        wire.push(0);
    }
    if wire.len() > NAME_BYTES_MAX { Err(TextError::TooLong) } else { Ok(wire) }
}

#[cfg(test)]
mod tests;
