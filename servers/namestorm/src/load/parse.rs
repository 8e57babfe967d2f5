//! A chunk through the `domain` crate's parser.
//!
//! Before the chunk's text stands a preamble that tells the parser what was said before: origin, `$TTL`, and a record
//! that carries class, last TTL and owner. That record is dropped, and lines are counted behind it.

use super::chunks::{Chunk, entries_bytes};
use super::plain::Plain;
use super::records::Records;
use super::{Reason, ZoneError, forms, units};
use bytes::Bytes;
use core::fmt::Write as _;
use core::panic::AssertUnwindSafe;
use dns::Rtype;
use dns::name::{Presentation, TextError};
use domain::base::Name;
use domain::base::iana::Class;
use domain::base::rdata::ComposeRecordData;
use domain::zonefile::inplace::{Entry, ScannedDname, ScannedRecord, Zonefile};
use std::panic::catch_unwind;

/// Where a line is not plain, so much is left to the parser, before the next ones are tried again.
const ODD_BYTES: usize = 8 << 10;

/// Reads the chunk's records into `records`. Returns the last record's TTL.
pub(super) fn parse(
    chunk: &Chunk,
    ttl_before: Option<u32>,
    records: &mut Records,
) -> Result<Option<u32>, ZoneError> {
    let mut plain = Plain::new(chunk, ttl_before);
    let (mut at, mut line) = (0, chunk.line);
    loop {
        let (run, outcome) = plain.read(at, records);
        at = run.end;
        line += if chunk.generated { 0 } else { run.lines };
        outcome.map_err(|error| ZoneError::at(&chunk.file, line, error.reason))?;
        let rest = &chunk.text[at..];
        if rest.is_empty() {
            return Ok(plain.ttl);
        }
        let text = &rest[..entries_bytes(rest, ODD_BYTES)];
        let owner = (!plain.owner.is_empty()).then(|| plain.owner.clone());
        let odd = chunk.part(line, owner, text);
        plain.ttl = parse_odd(&odd, plain.ttl, &mut plain.owner, records)?.or(plain.ttl);
        at += text.len();
        let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
        line += if chunk.generated { 0 } else { lines };
    }
}

/// The same, by the parser alone. The last record's owner is left in `owner`.
fn parse_odd(
    chunk: &Chunk,
    ttl_before: Option<u32>,
    owner: &mut Vec<u8>,
    records: &mut Records,
) -> Result<Option<u32>, ZoneError> {
    run(chunk, ttl_before, |line, record| {
        let rtype = Rtype(record.rtype().to_int());
        check(&record, rtype).map_err(|reason| ZoneError::at(&chunk.file, line(), reason))?;
        let ttl = record.ttl().as_secs();
        let (name, data) = record.into_owner_and_data();
        fold_into(name, owner);
        // The parser takes `a..b`, whose empty label ends the name for everybody else.
        if dns::name::skip(owner, 0) != Ok(owner.len()) {
            return Err(ZoneError::at(&chunk.file, line(), Reason::Name(TextError::EmptyLabel)));
        }
        records
            .push(owner, rtype, ttl, |out| {
                data.compose_rdata(out).unwrap_or_else(|never| match never {});
            })
            .map_err(|error| ZoneError::at(&chunk.file, line(), error.reason))
    })
}

/// Calls `visit` with each record's line, owner and type.
pub(super) fn visit(
    chunk: &Chunk,
    ttl_before: Option<u32>,
    mut visit: impl FnMut(&dyn Fn() -> u64, &[u8], Rtype),
) -> Result<Option<u32>, ZoneError> {
    let mut owner = Vec::new();
    run(chunk, ttl_before, |line, record| {
        let rtype = Rtype(record.rtype().to_int());
        fold_into(record.into_owner_and_data().0, &mut owner);
        visit(line, &owner, rtype);
        Ok(())
    })
}

fn run(
    chunk: &Chunk,
    ttl_before: Option<u32>,
    mut each: impl FnMut(&dyn Fn() -> u64, ScannedRecord) -> Result<(), ZoneError>,
) -> Result<Option<u32>, ZoneError> {
    match scan(chunk, &chunk.text, ttl_before, &mut each) {
        Err(Failed { read, error }) if matches!(error.reason, Reason::Syntax(_)) => {
            retry(chunk, ttl_before, read, error, &mut each)
        }
        Err(failed) => Err(failed.error),
        Ok(ttl) => Ok(ttl),
    }
}

/// A second look at a chunk that may only have had times with units in it, or types that the parser knows by number. What
/// was read the first time is passed over.
fn retry(
    chunk: &Chunk,
    ttl_before: Option<u32>,
    read: usize,
    error: ZoneError,
    each: &mut impl FnMut(&dyn Fn() -> u64, ScannedRecord) -> Result<(), ZoneError>,
) -> Result<Option<u32>, ZoneError> {
    let timed = units::spelled_out(&chunk.text);
    let general = forms::spelled_out(timed.as_deref().unwrap_or(&chunk.text), &chunk.origin);
    let Some(text) = general.or(timed) else { return Err(error) };
    let mut left = read;
    let mut later = |line: &dyn Fn() -> u64, record: ScannedRecord| {
        if left > 0 {
            left -= 1;
            return Ok(());
        }
        each(line, record)
    };
    scan(chunk, &text, ttl_before, &mut later).map_err(|failed| failed.error)
}

/// How many records were read before something was wrong.
struct Failed {
    read: usize,
    error: ZoneError,
}

fn scan(
    chunk: &Chunk,
    text: &[u8],
    ttl_before: Option<u32>,
    each: &mut impl FnMut(&dyn Fn() -> u64, ScannedRecord) -> Result<(), ZoneError>,
) -> Result<Option<u32>, Failed> {
    let mut preamble = String::new();
    let owner = chunk.owner.as_deref().unwrap_or(&chunk.origin);
    if let Some(ttl) = chunk.ttl {
        let _ = writeln!(preamble, "$TTL {ttl}");
    }
    let _ = writeln!(preamble, "{} {} IN TXT x", Presentation(owner), ttl_before.unwrap_or(3_600));
    let mut zonefile = Zonefile::with_capacity(preamble.len() + text.len() + 1);
    let origin = Name::from_octets(Bytes::copy_from_slice(&chunk.origin)).expect("a name, as it was read");
    zonefile.set_origin(origin);
    zonefile.set_default_class(Class::IN);
    zonefile.extend_from_slice(preamble.as_bytes());
    zonefile.extend_from_slice(text);
    if text.last() != Some(&b'\n') {
        zonefile.extend_from_slice(b"\n");
    }
    let preamble_lines = if chunk.ttl.is_some() { 2 } else { 1 };
    let mut ttl = None;
    let mut read = 0;
    let mut first = true;
    loop {
        // The parser panics on some broken entries; a broken zone is to stop nothing but itself.
        let Ok(entry) = catch_unwind(AssertUnwindSafe(|| zonefile.next_entry())) else {
            let what = Reason::Syntax("the parser gives up on this entry, or on one after it".to_owned());
            let end = zonefile.current_offset().saturating_sub(preamble.len()).min(text.len());
            return Err(Failed { read, error: ZoneError::at(&chunk.file, chunk.line_of(text, end), what) });
        };
        match entry {
            Ok(Some(Entry::Record(record))) => {
                if first {
                    first = false;
                    continue;
                }
                ttl = Some(record.ttl().as_secs());
                let end = zonefile.current_offset().saturating_sub(preamble.len()).min(text.len());
                let line = || chunk.line_of(text, end);
                each(&line, record).map_err(|error| Failed { read, error })?;
                read += 1;
            }
            // Directives never reach the parser.
            Ok(Some(Entry::Include { .. })) => {}
            Ok(None) => return Ok(ttl),
            Err(error) => {
                return Err(Failed { read, error: chunk.syntax_error(&error.to_string(), preamble_lines) });
            }
        }
    }
}

impl Chunk {
    /// The line of the entry that ends at `end`.
    fn line_of(&self, text: &[u8], end: usize) -> u64 {
        if self.generated {
            return self.line;
        }
        let entry = text[..end].trim_ascii_end();
        self.line + entry.iter().filter(|byte| **byte == b'\n').count() as u64
    }

    /// The parser's message is `line:column: what`, its lines counted from the preamble's first.
    fn syntax_error(&self, message: &str, preamble_lines: u64) -> ZoneError {
        let mut parts = message.splitn(3, ':');
        let line = parts.next().and_then(|line| line.parse::<u64>().ok());
        let column = parts.next().and_then(|column| column.parse::<u64>().ok());
        let what = parts.next().unwrap_or(message).trim();
        // What it stumbles over it has read: at the beginning of a line, that is the end of the line before.
        let behind = u64::from(column == Some(1));
        let line = match line {
            Some(line) if !self.generated => self.line + line.saturating_sub(preamble_lines + 1 + behind),
            _ => self.line,
        };
        let what = match column {
            Some(column) if column > 1 => format!("{what}, before column {column}"),
            _ => what.to_owned(),
        };
        ZoneError::at(&self.file, line, Reason::Syntax(what))
    }
}

/// The owner in lower case, in place of what was there: what stood in the text, then the origin.
fn fold_into(owner: ScannedDname, out: &mut Vec<u8>) {
    let (own, behind) = owner.unwrap();
    out.clear();
    out.extend_from_slice(own.as_slice());
    out.extend_from_slice(behind.as_slice());
    // Lengths lie below the letters.
    dns::name::fold_bytes(out);
}

fn check(record: &ScannedRecord, rtype: Rtype) -> Result<(), Reason> {
    if record.class() != Class::IN {
        return Err(Reason::Class(record.class().to_int()));
    }
    if rtype.is_meta() || rtype.0 == 0 {
        return Err(Reason::MetaType(rtype));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn chunk(text: &str, ttl: Option<u32>) -> Chunk {
        Chunk {
            file: Arc::from("z".as_ref()),
            line: 7,
            generated: false,
            origin: Arc::from(&b"\x03Sub\x07example\0"[..]),
            ttl,
            owner: Some(b"\x06Before\x07example\0".to_vec()),
            text: text.as_bytes().to_vec(),
        }
    }

    /// What both ways make of it: records or an error.
    fn both(text: &str, ttl: Option<u32>) -> [Result<(Records, Option<u32>), String>; 2] {
        let chunk = chunk(text, ttl);
        let (mut together, mut alone) = (Records::default(), Records::default());
        let by_both = parse(&chunk, Some(77), &mut together).map(|last| (together, last.or(Some(77))));
        let by_parser = parse_odd(&chunk, Some(77), &mut Vec::new(), &mut alone);
        let by_parser = by_parser.map(|last| (alone, last.or(Some(77))));
        [by_both, by_parser].map(|outcome| outcome.map_err(|error| error.to_string()))
    }

    fn same(text: &str) {
        same_but_for(text, |error| error);
    }

    fn same_but_for(text: &str, errors: impl Fn(&str) -> &str) {
        for ttl in [None, Some(300)] {
            match both(text, ttl) {
                [Ok((together, a)), Ok((alone, b))] => {
                    assert!(
                        together.are_those_of(&alone),
                        "{text:?}: {} and {} records",
                        together.count(),
                        alone.count()
                    );
                    // Where $TTL is said, the last record's is nobody's.
                    assert!(a == b || ttl.is_some(), "{text:?}");
                }
                [Err(together), Err(alone)] => {
                    assert_eq!(errors(&together), errors(&alone), "{text:?}");
                }
                [together, alone] => {
                    panic!("{text:?}: {:?}, alone {:?}", together.map(|_| ()), alone.map(|_| ()))
                }
            }
        }
    }

    #[test]
    fn plain_lines_are_what_the_parser_makes_of_them() {
        for line in [
            "www A 192.0.2.1",
            "WWW.a.b 5 IN A 192.0.2.1",
            "  A 192.0.2.1",
            "\tIN\tA\t192.0.2.1\t",
            "@ 0 AAAA ::1",
            "* in AAAA 2001:DB8::192.0.2.1",
            "absolute.Else. NS Ns.Sub",
            "_x-1 CNAME target.elsewhere.",
            "a PTR b ; c",
            "; nothing",
            "",
            "   ",
            "a MX 10 b",
            "a MX 0 b.c.",
            "4294967295 4294967295 A 0.0.0.0",
            "a TXT b",
            "1 1 A 1.1.1.1",
        ] {
            let chunk = chunk(line, None);
            let mut records = Records::default();
            let (run, _) = Plain::new(&chunk, Some(1)).read(0, &mut records);
            assert_eq!(run.end == line.len(), !line.contains("TXT"), "{line:?}");
            same(line);
            same(&format!("{line}\n"));
            same(&format!("a TXT \"x\"\n{line}\n{line}\nb A 192.0.2.9\n"));
        }
    }

    #[test]
    fn lines_that_are_not_quite_plain_are_the_parsers() {
        for line in [
            "a A 192.0.2",
            "a A 192.0.2.256",
            "a A 192.0.2.01",
            "a A 192.0.2.1.",
            "a A 192.0.2.1 x",
            "a A",
            "a",
            "a A 1.2.3.4;c",
            "a +5 A 1.2.3.4",
            "a 4294967296 A 1.2.3.4",
            "a 1h A 1.2.3.4",
            "a CH A 1.2.3.4",
            "a IN 5 A 1.2.3.4",
            "a..b A 1.2.3.4",
            ".a A 1.2.3.4",
            ". NS a",
            "a NS .",
            "a NS @",
            "a NS b..",
            "a\\.b A 1.2.3.4",
            "a A ( 1.2.3.4 )",
            "a AAAA 1::2::3",
            "a MX 65536 b",
            "a MX 010 b",
            "a MX b",
            "\"a\" A 1.2.3.4",
            "a A 1.2.3.4\r",
            "IN A 1.2.3.4",
            "a a 1.2.3.4",
            "5 A 1.2.3.4",
            "a@b A 1.2.3.4",
            "a:b A 1.2.3.4",
            "a TYPE1 \\# 4 01020304",
            "a 007 A 1.2.3.4",
            "$x A 1.2.3.4",
        ] {
            same(line);
            same(&format!("b 9 A 192.0.2.1\n{line}\n A 192.0.2.9\n"));
        }
        let long =
            ["x".repeat(63), "x".repeat(64), format!("{0}.{0}.{0}.{0}", "y".repeat(60)), "z.".repeat(120)];
        for name in &long {
            same(&format!("{name} A 1.2.3.4\na NS {name}\n"));
        }
    }

    #[test]
    fn odd_lines_among_many_plain_ones_change_nothing_but_the_way() {
        let mut text = String::new();
        for index in 0..3_000 {
            text.push_str(&match index % 500 {
                3 => format!("t{index} TXT ( \"a\n b\" ) ; x\n"),
                4 => "\tMX 5 mail\n".to_owned(),
                _ => format!("h{index} {} A 10.0.{}.1\n AAAA ::{index}\n", index % 7, index % 256),
            });
        }
        same(&text);
        same(&format!("{text}bad A 1.2.3\n"));
    }

    proptest! {
        #[test]
        fn no_line_is_read_differently(
            words in proptest::collection::vec((0..30_usize, 0..6_usize), 0..24),
        ) {
            const WORDS: [&str; 30] = [
                "a", "B.c", "@", "d.e.", ".", "*", "5", "0", "60", "IN", "in", "CH", "A", "AAAA", "NS", "MX", "CNAME", "PTR",
                "TXT", "1.2.3.4", "::1", "1.2.3", "10", "\"q\"", "(", ")", ";", "\\097", "x_y", "f..g",
            ];
            const BETWEEN: [&str; 6] = [" ", "\n", "\t ", "\n ", " ", ""];
            let text: String = words.iter().flat_map(|(word, between)| [WORDS[*word], BETWEEN[*between]]).collect();
            // Of what is wrong at the beginning of a line the parser does not always know in which.
            same_but_for(&text, |error| error.splitn(3, ':').nth(2).unwrap_or(error));
        }
    }
}
