//! A chunk through the `domain` crate's parser.
//!
//! Before the chunk's text stands a preamble that tells the parser what was said before: origin, `$TTL`, and a record
//! that carries class, last TTL and owner. That record is dropped, and lines are counted behind it.

use super::chunks::Chunk;
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

/// Reads the chunk's records into `records`. Returns the last record's TTL.
pub(super) fn parse(
    chunk: &Chunk,
    ttl_before: Option<u32>,
    records: &mut Records,
) -> Result<Option<u32>, ZoneError> {
    let mut owner = Vec::with_capacity(255);
    run(chunk, ttl_before, |line, record| {
        let rtype = Rtype(record.rtype().to_int());
        check(&record, rtype).map_err(|reason| ZoneError::at(&chunk.file, line(), reason))?;
        let ttl = record.ttl().as_secs();
        let (name, data) = record.into_owner_and_data();
        fold_into(name, &mut owner);
        // The parser takes `a..b`, whose empty label ends the name for everybody else.
        if dns::name::skip(&owner, 0) != Ok(owner.len()) {
            return Err(ZoneError::at(&chunk.file, line(), Reason::Name(TextError::EmptyLabel)));
        }
        records
            .push(&owner, rtype, ttl, |out| {
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
