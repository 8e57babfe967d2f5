//! Lines that say one thing whoever reads them: what most of a large zone is. Everything else is the parser's.
//!
//! ```text
//!   www.a  3600  IN  A  192.0.2.1   ; …      owner [seconds] [IN] type data, and nothing else but a comment
//!   │                │  └ A, AAAA, NS, CNAME, PTR, MX
//!   │                └ no other class
//!   └ letters, digits, - _ * and dots; blank: that of the record before
//! ```
//!
//! No escape, quote, parenthesis, unit or sign is read here, and nothing is refused: a line that is not quite like this
//! ends the run, and the `domain` crate says what it is. That both read the same in what both read is tested.

use super::records::Records;
use super::{Chunk, ZoneError};
use core::net::{Ipv4Addr, Ipv6Addr};
use dns::Rtype;
use dns::name::{LABEL_BYTES_MAX, NAME_BYTES_MAX, fold_bytes};

/// Reads plain lines, and keeps what they say for those behind them.
#[derive(Debug)]
pub(super) struct Plain<'c> {
    chunk: &'c Chunk,
    /// Of the record before, folded; nothing when there was none.
    pub(super) owner: Vec<u8>,
    /// Of the record before.
    pub(super) ttl: Option<u32>,
    /// The owner of a line that may yet not be plain.
    owner_next: Vec<u8>,
    target: Vec<u8>,
}

/// How far a run of plain lines went.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Where it ended in the text.
    pub(super) end: usize,
    /// How many lines it had.
    pub(super) lines: u64,
}

impl<'c> Plain<'c> {
    /// For the lines of `chunk`; `ttl` is that of the record before it.
    pub(super) fn new(chunk: &'c Chunk, ttl: Option<u32>) -> Self {
        let mut owner = chunk.owner.clone().unwrap_or_default();
        fold_bytes(&mut owner);
        let [owner_next, target] = [0; 2].map(|_| Vec::with_capacity(NAME_BYTES_MAX));
        Self { chunk, owner, ttl, owner_next, target }
    }

    /// Reads lines from `from` on into `records`, until one is not plain.
    ///
    /// # Errors
    /// The records are too many: the error is without a place, and the line the one behind `lines`.
    pub(super) fn read(&mut self, from: usize, records: &mut Records) -> (Run, Result<(), ZoneError>) {
        let mut run = Run { end: from, lines: 0 };
        while run.end < self.chunk.text.len() {
            let mut words = Words { text: &self.chunk.text, at: run.end };
            if !words.ends_line() {
                words.at = run.end;
                match self.record(&mut words, records) {
                    Some(Ok(())) => {}
                    Some(Err(error)) => return (run, Err(error)),
                    None => break,
                }
            }
            run = Run { end: words.at, lines: run.lines + 1 };
        }
        (run, Ok(()))
    }

    /// Reads a line with a record; nothing if it is not plain, and then nothing has changed.
    fn record(&mut self, words: &mut Words<'c>, records: &mut Records) -> Option<Result<(), ZoneError>> {
        let origin = &self.chunk.origin;
        let has_owner = !words.is_at_blank();
        if has_owner {
            self.owner_next.clear();
            match words.next()? {
                b"@" => self.owner_next.extend_from_slice(origin),
                word => push_name(word, origin, &mut self.owner_next)?,
            }
            fold_bytes(&mut self.owner_next);
        } else if self.owner.is_empty() {
            return None;
        }
        let mut word = words.next()?;
        let mut ttl = None;
        if word[0].is_ascii_digit() {
            ttl = Some(number(word, 10)?);
            word = words.next()?;
        }
        if word.eq_ignore_ascii_case(b"IN") {
            word = words.next()?;
        }
        let ttl = ttl.or(self.chunk.ttl).or(self.ttl)?;
        let (mut address, mut bytes) = ([0; 16], 0);
        let target = &mut self.target;
        target.clear();
        let rtype = match word {
            b"A" => {
                address[..4].copy_from_slice(&ipv4(words.next()?)?.octets());
                bytes = 4;
                Rtype::A
            }
            b"AAAA" => {
                let text = core::str::from_utf8(words.next()?).ok()?;
                address = text.parse::<Ipv6Addr>().ok()?.octets();
                bytes = 16;
                Rtype::AAAA
            }
            b"MX" => {
                let preference = u16::try_from(number(words.next()?, 5)?).ok()?;
                target.extend_from_slice(&preference.to_be_bytes());
                Rtype::MX
            }
            b"NS" => Rtype::NS,
            b"CNAME" => Rtype::CNAME,
            b"PTR" => Rtype::PTR,
            _ => return None,
        };
        let data = if bytes == 0 {
            let start = target.len();
            push_name(words.next()?, origin, target)?;
            debug_assert!(target.len() - start <= NAME_BYTES_MAX, "a name");
            &target[..]
        } else {
            &address[..bytes]
        };
        if !words.ends_line() {
            return None;
        }
        if has_owner {
            core::mem::swap(&mut self.owner, &mut self.owner_next);
        }
        self.ttl = Some(ttl);
        Some(records.push(&self.owner, rtype, ttl, |out| out.extend_from_slice(data)))
    }
}

/// The words of lines.
struct Words<'t> {
    text: &'t [u8],
    at: usize,
}

impl<'t> Words<'t> {
    fn is_at_blank(&self) -> bool {
        matches!(self.text.get(self.at), Some(b' ' | b'\t'))
    }

    /// The next word of the line; nothing when there is none, or it has something in it that may mean something else.
    #[inline]
    fn next(&mut self) -> Option<&'t [u8]> {
        while self.is_at_blank() {
            self.at += 1;
        }
        let rest = self.text.get(self.at..)?;
        let bytes = rest.iter().position(|byte| !IN_WORDS[usize::from(*byte)]).unwrap_or(rest.len());
        self.at += bytes;
        let ends = matches!(rest.get(bytes), None | Some(b' ' | b'\t' | b'\n'));
        (ends && bytes > 0).then(|| &rest[..bytes])
    }

    /// Whether nothing but a comment is left of the line; then goes behind it.
    #[inline]
    fn ends_line(&mut self) -> bool {
        let begin = self.at;
        while self.is_at_blank() {
            self.at += 1;
        }
        match self.text.get(self.at) {
            None => true,
            Some(b'\n') => {
                self.at += 1;
                true
            }
            // At the end of a word it would be for the parser to say what it is.
            Some(b';') if self.at > begin || begin == 0 || self.text[begin - 1] == b'\n' => {
                let rest = &self.text[self.at..];
                self.at += rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
                true
            }
            Some(_) => false,
        }
    }
}

/// Bytes that mean themselves wherever they stand in a word.
const IN_WORDS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*' | b'.' | b':' | b'@');
        byte += 1;
    }
    table
};

/// Appends the name that `word` means below `origin`; nothing if it is not a plain one.
#[inline]
fn push_name(word: &[u8], origin: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let begin = out.len();
    let mut length_at = begin;
    out.push(0);
    for byte in word {
        match byte {
            b'.' => {
                close_label(out, length_at)?;
                length_at = out.len();
                out.push(0);
            }
            b':' | b'@' => return None,
            byte => out.push(*byte),
        }
    }
    if length_at + 1 < out.len() {
        close_label(out, length_at)?;
        out.extend_from_slice(origin);
    } else if word.len() == 1 {
        // The root, which owns little.
        return None;
    }
    (out.len() - begin <= NAME_BYTES_MAX).then_some(())
}

/// Writes the length of the label that ends here; nothing if no label may have it.
#[inline]
fn close_label(out: &mut [u8], length_at: usize) -> Option<()> {
    let length = out.len() - length_at - 1;
    if length == 0 || length > LABEL_BYTES_MAX {
        return None;
    }
    out[length_at] = u8::try_from(length).ok()?;
    Some(())
}

/// A number of at most so many digits, the first of which is 0 only if it is the only one.
#[inline]
fn number(word: &[u8], digits_max: usize) -> Option<u32> {
    if word.len() > digits_max || word.len() > 1 && word[0] == b'0' {
        return None;
    }
    let mut number = 0_u64;
    for byte in word {
        number = number * 10 + u64::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    u32::try_from(number).ok()
}

#[inline]
fn ipv4(word: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = word.split(|byte| *byte == b'.');
    for octet in &mut octets {
        let part = parts.next().filter(|part| !part.is_empty())?;
        *octet = u8::try_from(number(part, 3)?).ok()?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}
