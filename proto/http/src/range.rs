//! Range requests (RFC 9110 §14): which bytes of the representation to send.
//!
//! ```text
//!   bytes=0-499     the first 500        bytes=-500    the last 500
//!   bytes=500-      all from 500 on      bytes=0-0,-1  the first and the last
//! ```
//!
//! A Range that is not understood is as if it were not there: the whole is always a right answer.

use arrayvec::ArrayVec;

use crate::conditions::Validators;
use crate::request::{Method, Request};
use crate::{date, digits, trim_ows};

/// The most ranges that are sent in one response.
pub const COUNT_MAX: usize = 8;

/// Bytes `first` to `last`, both included, of a representation longer than `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte's position.
    pub first: u64,
    /// The last byte's position, not before `first`.
    pub last: u64,
}

impl ByteRange {
    /// How many bytes: one at least.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.last - self.first + 1
    }
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// 200 and everything.
    Whole,
    /// 206 and this part.
    Single(ByteRange),
    /// 206 and these parts as multipart/byteranges, in the order asked for; two at least. A server that does not want
    /// to may send the whole.
    Multiple(ArrayVec<ByteRange, COUNT_MAX>),
    /// 416: nothing that was asked for is there.
    Unsatisfiable,
}

/// Weighs Range and If-Range of a request whose other conditions hold, for a representation of `len` bytes. `now` is
/// in seconds since the Unix epoch.
#[must_use]
pub fn select(request: &Request<'_>, validators: &Validators<'_>, len: u64, now: u64) -> Selection {
    // §14.2: "A server MUST ignore a Range header field received with a request method that is unrecognized or for
    // which range handling is not defined. For this specification, GET is the only method".
    if request.method != Method::Get {
        return Selection::Whole;
    }
    let Some(range) = request.fields.single(b"range") else { return Selection::Whole };
    if request.fields.contains(b"if-range") {
        let holds = request.fields.single(b"if-range").is_some_and(|value| if_range(value, validators, now));
        if !holds {
            return Selection::Whole;
        }
    }
    parse(range, len)
}

/// Whether the client's part and ours are parts of the same representation (§13.1.5).
fn if_range(value: &[u8], validators: &Validators<'_>, now: u64) -> bool {
    if value.starts_with(b"\"") || value.starts_with(b"W/") {
        return validators.etag.matches_strongly(value);
    }
    // A date counts when it is strong (§8.8.2.2), that is when the second it names is over, and then only exactly.
    let Some(modified) = validators.last_modified else { return false };
    modified < now && date::parse(value, now) == Some(modified)
}

/// Reads a Range field against a representation of `len` bytes.
#[must_use]
pub fn parse(value: &[u8], len: u64) -> Selection {
    let Some(equals) = value.iter().position(|&byte| byte == b'=') else { return Selection::Whole };
    let (unit, set) = (&value[..equals], &value[equals + 1..]);
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return Selection::Whole;
    }
    let mut ranges = ArrayVec::<ByteRange, COUNT_MAX>::new();
    let mut seen = false;
    for spec in set.split(|&byte| byte == b',').map(trim_ows).filter(|spec| !spec.is_empty()) {
        seen = true;
        match parse_spec(spec, len) {
            // §14.2 allows to ignore a set of many ranges: it is an attack, or a client that wants the whole.
            Some(Spec::Satisfiable(range)) if ranges.try_push(range).is_err() => return Selection::Whole,
            Some(Spec::Satisfiable(_) | Spec::Unsatisfiable) => {}
            Some(Spec::Empty) | None => return Selection::Whole,
        }
    }
    match ranges.as_slice() {
        [] if seen => Selection::Unsatisfiable,
        [] => Selection::Whole,
        [one] => Selection::Single(*one),
        // §17.15: overlapping ranges cost more than the whole.
        many if overlap(many) => Selection::Whole,
        _ => Selection::Multiple(ranges),
    }
}

/// One range-spec, held against a length.
enum Spec {
    Satisfiable(ByteRange),
    /// A suffix of an empty representation: satisfiable by §14.1.2, but no Content-Range can say so.
    Empty,
    Unsatisfiable,
}

/// Nothing when it is no range-spec, or one whose end lies before its beginning (§14.1.1).
fn parse_spec(spec: &[u8], len: u64) -> Option<Spec> {
    let hyphen = spec.iter().position(|&byte| byte == b'-')?;
    let (first, last) = (&spec[..hyphen], &spec[hyphen + 1..]);
    let Some(end) = len.checked_sub(1) else {
        return if first.is_empty() {
            digits(last).map(|suffix| if suffix == 0 { Spec::Unsatisfiable } else { Spec::Empty })
        } else {
            int_range(first, last).map(|_| Spec::Unsatisfiable)
        };
    };
    if first.is_empty() {
        return match digits(last)? {
            0 => Some(Spec::Unsatisfiable),
            suffix => Some(Spec::Satisfiable(ByteRange { first: len.saturating_sub(suffix), last: end })),
        };
    }
    let (first, last) = int_range(first, last)?;
    if first > end {
        return Some(Spec::Unsatisfiable);
    }
    Some(Spec::Satisfiable(ByteRange { first, last: last.min(end) }))
}

/// `first-pos "-" [ last-pos ]`; an open end is the largest number.
fn int_range(first: &[u8], last: &[u8]) -> Option<(u64, u64)> {
    let first = digits(first)?;
    let last = if last.is_empty() { u64::MAX } else { digits(last)? };
    (first <= last).then_some((first, last))
}

/// Whether two of the ranges share a byte. At most 28 pairs.
fn overlap(ranges: &[ByteRange]) -> bool {
    ranges.iter().enumerate().any(|(index, one)| {
        ranges[index + 1..].iter().any(|other| one.first <= other.last && other.first <= one.last)
    })
}

#[cfg(test)]
mod tests;
