//! Data as people write it, of types that the parser knows only by number: turned into the form that every type has,
//! `TYPE29 \# 16 00…` (RFC 3597 §5).
//!
//! Asked only after the parser has refused a chunk. What cannot be read here is left as it stands, for the parser to refuse
//! again.

use base64ct::{Base64, Encoding as _};
use core::fmt::Write as _;
use core::net::Ipv4Addr;
use dns::Rtype;
use dns::name::{self, NAME_BYTES_MAX};

/// What an entry's data is made of.
type Form = fn(&mut Data<'_>) -> Option<()>;

/// Types and their forms, by mnemonic; the number is the registry's.
const FORMS: [(&str, u16, Form); 24] = [
    ("RP", 17, |data| data.name()?.name()?.end()), // RFC 1183 §2.2
    ("AFSDB", 18, |data| data.number::<2>()?.name()?.end()), // RFC 1183 §1
    ("X25", 19, |data| data.string()?.end()),      // RFC 1183 §3.1
    ("ISDN", 20, |data| data.string()?.strings()), // RFC 1183 §3.2
    ("RT", 21, |data| data.number::<2>()?.name()?.end()), // RFC 1183 §3.3
    ("PX", 26, |data| data.number::<2>()?.name()?.name()?.end()), // RFC 2163 §4
    ("GPOS", 27, |data| data.string()?.string()?.string()?.end()), // RFC 1712 §3
    ("LOC", 29, |data| data.location()),           // RFC 1876 §3
    ("KX", 36, |data| data.number::<2>()?.name()?.end()), // RFC 2230 §3
    ("CERT", 37, |data| data.certificate()),       // RFC 4398 §2.2
    ("APL", 42, |data| data.prefixes()),           // RFC 3123 §5
    ("DHCID", 49, |data| data.base64()),           // RFC 4701 §3.1
    ("SMIMEA", 53, |data| data.number::<1>()?.number::<1>()?.number::<1>()?.hex()), // RFC 8162 §2
    ("NINFO", 56, |data| data.string()?.strings()),
    ("CSYNC", 62, |data| data.number::<4>()?.number::<2>()?.types()), // RFC 7477 §2.1.2
    ("SPF", 99, |data| data.string()?.strings()),                     // RFC 7208 §3.1
    ("NID", 104, |data| data.number::<2>()?.groups(':', 4, 2)?.end()), // RFC 6742 §2.1.2
    ("L32", 105, |data| data.number::<2>()?.address()?.end()),        // RFC 6742 §2.2.2
    ("L64", 106, |data| data.number::<2>()?.groups(':', 4, 2)?.end()), // RFC 6742 §2.3.2
    ("LP", 107, |data| data.number::<2>()?.name()?.end()),            // RFC 6742 §2.4.2
    ("EUI48", 108, |data| data.groups('-', 6, 1)?.end()),             // RFC 7043 §3.2
    ("EUI64", 109, |data| data.groups('-', 8, 1)?.end()),             // RFC 7043 §4.2
    ("URI", 256, |data| data.number::<2>()?.number::<2>()?.bytes()?.end()), // RFC 7553 §4
    ("AVC", 258, |data| data.string()?.strings()),
];

/// `text` with every entry of those types rewritten; nothing when there is none. Line ends stay where they are.
pub(super) fn spelled_out(text: &[u8], origin: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 256);
    let mut changed = false;
    let mut at = 0;
    while at < text.len() {
        let entry = Entry::read(text, at);
        match entry.rewritten(text, origin) {
            Some(rewritten) => {
                out.extend_from_slice(&rewritten);
                changed = true;
            }
            None => out.extend_from_slice(&text[at..entry.end]),
        }
        at = entry.end;
    }
    changed.then_some(out)
}

/// A word, where it stands, and how deep in parentheses.
struct Word {
    start: usize,
    end: usize,
    depth: usize,
    quoted: bool,
}

/// An entry: to the end of a line, or of the line on which its last parenthesis closes.
struct Entry {
    start: usize,
    end: usize,
    /// It begins with a blank: the owner is the last one.
    has_no_owner: bool,
    words: Vec<Word>,
}

impl Entry {
    fn read(text: &[u8], start: usize) -> Self {
        let has_no_owner = text.get(start).is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        let mut words = Vec::new();
        let (mut at, mut depth) = (start, 0_usize);
        while let Some(&byte) = text.get(at) {
            match byte {
                b'\n' if depth == 0 => {
                    at += 1;
                    break;
                }
                b'(' => depth += 1,
                b')' => depth = depth.saturating_sub(1),
                b';' => {
                    // To the end of the line, which may be the entry's.
                    at += text[at..].iter().position(|byte| *byte == b'\n').unwrap_or(text.len() - at);
                    continue;
                }
                b'"' => {
                    let end = end_of_quote(text, at + 1);
                    words.push(Word { start: at + 1, end, depth, quoted: true });
                    at = end;
                }
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ => {
                    let end = end_of_word(text, at);
                    words.push(Word { start: at, end, depth, quoted: false });
                    at = end;
                    continue;
                }
            }
            at += 1;
        }
        Self { start, end: at.min(text.len()), has_no_owner, words }
    }

    fn rewritten(&self, text: &[u8], origin: &[u8]) -> Option<Vec<u8>> {
        let mut words = self.words.iter().skip(usize::from(!self.has_no_owner)).enumerate();
        // A TTL and a class, in either order, stand before the type.
        let (before, word) = words.find(|(_, word)| {
            let word = &text[word.start..word.end];
            let is_class = [&b"IN"[..], b"CH", b"HS"].iter().any(|class| word.eq_ignore_ascii_case(class));
            !is_class && !word.first().is_some_and(u8::is_ascii_digit)
        })?;
        let mnemonic = core::str::from_utf8(&text[word.start..word.end]).ok().filter(|_| before <= 2)?;
        let (_, number, form) = FORMS.iter().find(|(name, ..)| name.eq_ignore_ascii_case(mnemonic))?;
        let rest = words.map(|(_, word)| (&text[word.start..word.end], word.quoted)).collect();
        let mut data = Data { words: rest, next: 0, origin, out: Vec::new() };
        if data.words.first().is_some_and(|(word, quoted)| !quoted && *word == b"\\#") {
            return None;
        }
        form(&mut data)?;
        let mut line = format!("TYPE{number} ( \\# {} ", data.out.len());
        for byte in &data.out {
            let _ = write!(line, "{byte:02x}");
        }
        let mut out = text[self.start..word.start].to_vec();
        out.extend_from_slice(line.as_bytes());
        // Lines are counted: those within the entry stay within it.
        let ended = text[word.start..self.end].ends_with(b"\n");
        let lines = text[word.start..self.end].iter().filter(|byte| **byte == b'\n').count();
        out.extend(core::iter::repeat_n(b'\n', lines - usize::from(ended)));
        out.extend(core::iter::repeat_n(b')', word.depth + 1));
        out.extend(ended.then_some(b'\n'));
        Some(out)
    }
}

fn end_of_quote(text: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => break,
            b'\\' => at += 1,
            _ => {}
        }
        at += 1;
    }
    at.min(text.len())
}

fn end_of_word(text: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = text.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b';' | b'"' => break,
            b'\\' => at += 1,
            _ => {}
        }
        at += 1;
    }
    at.min(text.len())
}

/// The words of an entry's data, and the bytes that they come to.
struct Data<'a> {
    words: Vec<(&'a [u8], bool)>,
    next: usize,
    origin: &'a [u8],
    out: Vec<u8>,
}

impl<'a> Data<'a> {
    fn raw(&mut self) -> Option<&'a [u8]> {
        let (word, _) = self.words.get(self.next)?;
        self.next += 1;
        Some(word)
    }

    fn word(&mut self) -> Option<&'a str> {
        core::str::from_utf8(self.raw()?).ok()
    }

    fn is_done(&self) -> bool {
        self.next == self.words.len()
    }

    fn end(&self) -> Option<()> {
        self.is_done().then_some(())
    }

    /// A number of so many bytes.
    fn number<const BYTES: usize>(&mut self) -> Option<&mut Self> {
        let number: u32 = self.word().filter(|word| is_number(word))?.parse().ok()?;
        let bytes = number.to_be_bytes();
        let (above, below) = bytes.split_at(4 - BYTES);
        self.out.extend_from_slice(below);
        above.iter().all(|byte| *byte == 0).then_some(self)
    }

    fn name(&mut self) -> Option<&mut Self> {
        let text = self.raw()?;
        let mut wire = if text == b"@" { vec![0] } else { name::from_text(text).ok()? };
        // An escaped dot ends no name; a doubled backslash before the dot does not escape it.
        let escapes = text.iter().rev().skip(1).take_while(|byte| **byte == b'\\').count();
        if text.last() != Some(&b'.') || escapes % 2 == 1 {
            wire.pop();
            wire.extend_from_slice(self.origin);
        }
        self.out.extend_from_slice(&wire);
        (wire.len() <= NAME_BYTES_MAX).then_some(self)
    }

    fn bytes(&mut self) -> Option<&mut Self> {
        let text = self.raw()?;
        let bytes = unescaped(text)?;
        self.out.extend_from_slice(&bytes);
        Some(self)
    }

    /// A character string (RFC 1035 §3.3).
    fn string(&mut self) -> Option<&mut Self> {
        let bytes = unescaped(self.raw()?)?;
        self.out.push(u8::try_from(bytes.len()).ok()?);
        self.out.extend_from_slice(&bytes);
        Some(self)
    }

    fn strings(&mut self) -> Option<()> {
        while !self.is_done() {
            self.string()?;
        }
        Some(())
    }

    fn rest(&mut self) -> Option<String> {
        let mut all = String::new();
        while !self.is_done() {
            all.push_str(self.word()?);
        }
        Some(all)
    }

    fn hex(&mut self) -> Option<()> {
        let digits = self.rest()?;
        self.out.extend(hex(&digits)?);
        Some(())
    }

    fn base64(&mut self) -> Option<()> {
        let bytes = Base64::decode_vec(&self.rest()?).ok().filter(|bytes| !bytes.is_empty())?;
        self.out.extend(bytes);
        Some(())
    }

    /// So many groups of so many bytes, each in hexadecimal with all its digits or, of two bytes, with fewer.
    fn groups(&mut self, between: char, count: usize, bytes: usize) -> Option<&mut Self> {
        let word = self.word()?;
        let mut seen = 0;
        for group in word.split(between) {
            let is_hex = group.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !is_hex || group.is_empty() || group.len() > 2 * bytes || (bytes == 1 && group.len() != 2) {
                return None;
            }
            let value = u16::from_str_radix(group, 16).ok()?;
            self.out.extend_from_slice(&value.to_be_bytes()[2 - bytes..]);
            seen += 1;
        }
        (seen == count).then_some(self)
    }

    fn address(&mut self) -> Option<&mut Self> {
        let address: Ipv4Addr = self.word()?.parse().ok()?;
        self.out.extend_from_slice(&address.octets());
        Some(self)
    }

    /// A bitmap of types (RFC 4034 §4.1.2).
    fn types(&mut self) -> Option<()> {
        let mut types = Vec::new();
        while !self.is_done() {
            types.push(rtype(self.word()?)?);
        }
        types.sort_unstable();
        types.dedup();
        for window in types.chunk_by(|one, next| one >> 8 == next >> 8) {
            let mut bits = [0_u8; 32];
            let mut len = 0;
            for &number in window {
                let low = usize::from(number & 255);
                bits[low / 8] |= 0x80 >> (low % 8);
                len = low / 8 + 1;
            }
            let (number, len_byte) = (u8::try_from(window.first()? >> 8).ok()?, u8::try_from(len).ok()?);
            self.out.extend_from_slice(&[number, len_byte]);
            self.out.extend_from_slice(&bits[..len]);
        }
        Some(())
    }

    fn certificate(&mut self) -> Option<()> {
        const TYPES: [(&str, u16); 10] = [
            ("PKIX", 1),
            ("SPKI", 2),
            ("PGP", 3),
            ("IPKIX", 4),
            ("ISPKI", 5),
            ("IPGP", 6),
            ("ACPKIX", 7),
            ("IACPKIX", 8),
            ("URI", 253),
            ("OID", 254),
        ];
        const ALGORITHMS: [(&str, u8); 7] = [
            ("RSASHA1", 5),
            ("RSASHA256", 8),
            ("RSASHA512", 10),
            ("ECDSAP256SHA256", 13),
            ("ECDSAP384SHA384", 14),
            ("ED25519", 15),
            ("ED448", 16),
        ];
        let word = self.word()?;
        let named = TYPES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, number)| *number);
        self.out.extend_from_slice(
            &named.or_else(|| word.parse().ok().filter(|_| is_number(word)))?.to_be_bytes(),
        );
        self.number::<2>()?;
        let word = self.word()?;
        let named = ALGORITHMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        self.out.push(
            named.map(|(_, number)| *number).or_else(|| word.parse().ok().filter(|_| is_number(word)))?,
        );
        self.base64()
    }

    /// `[!]family:address/length …`, trailing zeros cut off.
    fn prefixes(&mut self) -> Option<()> {
        while !self.is_done() {
            let word = self.word()?;
            let (negative, word) = word.strip_prefix('!').map_or((0, word), |rest| (0x80, rest));
            let (family, prefix) = word.split_once(':')?;
            let (address, length) = prefix.split_once('/')?;
            let mut octets = match family {
                "1" => address.parse::<Ipv4Addr>().ok()?.octets().to_vec(),
                "2" => address.parse::<core::net::Ipv6Addr>().ok()?.octets().to_vec(),
                _ => return None,
            };
            let length: u8 = length.parse().ok().filter(|length| usize::from(*length) <= octets.len() * 8)?;
            while octets.last() == Some(&0) {
                octets.pop();
            }
            let family: u16 = family.parse().ok()?;
            self.out.extend_from_slice(&family.to_be_bytes());
            self.out.extend_from_slice(&[length, negative | u8::try_from(octets.len()).ok()?]);
            self.out.extend_from_slice(&octets);
        }
        Some(())
    }

    /// Latitude, longitude and altitude; then size and precisions in metres, or what the RFC takes for them.
    fn location(&mut self) -> Option<()> {
        let latitude = self.angle(["S", "N"], 90)?;
        let longitude = self.angle(["W", "E"], 180)?;
        let altitude = u32::try_from(metres(self.word()?)? + 10_000_000).ok()?;
        let mut precisions = [0x12, 0x16, 0x13];
        for precision in &mut precisions {
            if !self.is_done() {
                *precision = power(metres(self.word()?)?)?;
            }
        }
        self.out.push(0);
        self.out.extend_from_slice(&precisions);
        for number in [latitude, longitude, altitude] {
            self.out.extend_from_slice(&number.to_be_bytes());
        }
        self.end()
    }

    /// Degrees, minutes and seconds, then which half of the Earth, below or above: thousandths of a second from 2³¹.
    fn angle(&mut self, [below, above]: [&str; 2], degrees_max: i64) -> Option<u32> {
        let mut thousandths = 0;
        let mut parts = [3_600_000, 60_000, 1_000].into_iter();
        loop {
            let word = self.word()?;
            if word.eq_ignore_ascii_case(below) || word.eq_ignore_ascii_case(above) {
                if parts.len() == 3 || thousandths > degrees_max * 3_600_000 {
                    return None;
                }
                let sign = if word.eq_ignore_ascii_case(below) { -1 } else { 1 };
                return u32::try_from((1_i64 << 31) + sign * thousandths).ok();
            }
            let unit = parts.next()?;
            let digits = if unit == 1_000 { 3 } else { 0 };
            let value = fixed(word, digits)?;
            let most = if unit == 3_600_000 { degrees_max } else { 60_i64 * 10_i64.pow(digits) - 1 };
            if !(0..=most).contains(&value) {
                return None;
            }
            thousandths += if unit == 1_000 { value } else { value * unit };
        }
    }
}

/// Centimetres.
fn metres(word: &str) -> Option<i64> {
    fixed(word.strip_suffix(['m', 'M']).unwrap_or(word), 2)
}

/// One digit and a power of ten, as RFC 1876 §2 packs them.
fn power(centimetres: i64) -> Option<u8> {
    let (mut base, mut exponent) = (centimetres, 0_u8);
    while base >= 10 {
        base /= 10;
        exponent += 1;
    }
    let base = u8::try_from(base).ok()?;
    (exponent <= 9).then_some(base << 4 | exponent)
}

/// A decimal number with at most so many digits behind its point, as a whole number of the last.
fn fixed(word: &str, digits: u32) -> Option<i64> {
    let (sign, word) = word.strip_prefix('-').map_or((1, word), |rest| (-1, rest));
    let (whole, part) = word.split_once('.').unwrap_or((word, ""));
    if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > digits as usize {
        return None;
    }
    let whole = whole.parse::<i64>().ok().filter(|whole| *whole < 1 << 40)?;
    let scale = 10_i64.pow(digits - u32::try_from(part.len()).ok()?);
    let part = if part.is_empty() { 0 } else { part.parse::<i64>().ok()? };
    Some(sign * (whole * 10_i64.pow(digits) + part * scale))
}

/// Digits and nothing else: the standard library takes a sign as well.
fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hex || digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}

/// Text without its escapes (RFC 1035 §5.1).
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match *rest {
            [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ref behind @ ..] => {
                rest = behind;
                let value = u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0');
                out.push(u8::try_from(value).ok()?);
            }
            [byte, ref behind @ ..] => {
                rest = behind;
                out.push(byte);
            }
            [] => return None,
        }
    }
    Some(out)
}

/// A type by its mnemonic, ours included.
fn rtype(text: &str) -> Option<u16> {
    let known = FORMS.iter().find(|(name, ..)| name.eq_ignore_ascii_case(text)).map(|(_, number, _)| *number);
    known.or_else(|| Rtype::from_text(text).map(|rtype| rtype.0))
}

#[cfg(test)]
mod tests;
