//! Requests, and the parts of them that have a grammar of their own.

use crate::{decision, pieces};
use http::conditions::{self, Validators};
use http::etag::ETag;
use http::range::{ByteRange, Selection};
use http::request::Progress;
use http::{Glance, Limits, Parse, Request, Target, date, range};

/// 2026-11-20, for dates with two digits.
const NOW: u64 = 1_795_132_800;

/// Any bytes on the stream.
///
/// # Panics
/// A law is broken: a request ends within the bytes, arriving in pieces changes nothing, nothing leads upwards.
pub fn http_request(bytes: &[u8]) {
    let (seed, stream) = decision(bytes);
    let limits = Limits::default();
    let mut rest = stream;
    // A pipeline: one request after the other until something else comes.
    loop {
        match Request::parse(rest, &limits) {
            Parse::Complete { request, bytes_used } => {
                assert!((1..=rest.len()).contains(&bytes_used), "a request of {bytes_used} bytes");
                assert!(bytes_used <= limits.head_bytes_max, "a request beyond the limit");
                judge(&request);
                let (head, behind) = rest.split_at(bytes_used);
                assert_arrives_in_pieces(seed, head, bytes_used);
                rest = behind;
            }
            Parse::Partial => {
                assert!(rest.len() < limits.head_bytes_max, "waiting for more than is allowed");
                break;
            }
            Parse::Refused(refusal) => {
                assert!((400..600).contains(&refusal.status().code()), "{refusal:?}");
                break;
            }
        }
    }
    let glance = Glance::new(rest);
    assert!(glance.method.len() + glance.target.len() + glance.version.len() <= rest.len());
}

fn judge(request: &Request<'_>) {
    http_target(request.target);
    let etag = ETag::of_file(1000, 1, 1);
    let validators = Validators { etag: &etag, last_modified: Some(NOW - 1) };
    let _ = conditions::evaluate(request, &validators, NOW);
    for len in [0, 1, 1000, u64::MAX] {
        assert_within(&range::select(request, &validators, len, NOW), len);
    }
}

/// A head that is complete is complete when its last byte arrives, and not before.
fn assert_arrives_in_pieces(seed: u8, head: &[u8], bytes_used: usize) {
    let limits = Limits::default();
    let mut progress = Progress::default();
    let mut arrived = 0;
    for piece in pieces(seed, head) {
        arrived += piece.len();
        match progress.parse(&head[..arrived], &limits) {
            Parse::Partial => assert!(arrived < bytes_used, "complete, but not seen to be"),
            Parse::Complete { bytes_used: used, .. } => assert_eq!((arrived, used), (bytes_used, bytes_used)),
            Parse::Refused(refusal) => panic!("refused in pieces ({refusal:?}), taken whole"),
        }
    }
}

/// Any request target.
///
/// # Panics
/// A law is broken: a path stays below the root.
pub fn http_target(bytes: &[u8]) {
    let Ok(Target::Resource(resource)) = Target::parse(bytes) else { return };
    let path = &*resource.path;
    assert!(!path.starts_with(b"/"), "an absolute path");
    assert!(!path.iter().any(|byte| *byte < 0x20 || *byte == b'\\'), "a character that is none");
    for (index, segment) in path.split(|byte| *byte == b'/').enumerate() {
        assert!(segment != b".." && segment != b".", "a path that climbs");
        let last = path.split(|byte| *byte == b'/').count() - 1;
        assert!(!segment.is_empty() || index == last, "an empty segment");
    }
    // What is written as a target again is the same path.
    let target: Vec<u8> = core::iter::once(b'/').chain(http::target::encode(path)).collect();
    let Ok(Target::Resource(again)) = Target::parse(&target) else { panic!("an encoded path is no target") };
    assert_eq!(*again.path, *path);
}

/// Eight bytes of a length, then a Range field.
///
/// # Panics
/// A law is broken: a range lies within the representation.
pub fn http_range(bytes: &[u8]) {
    let Some((len, value)) = bytes.split_first_chunk::<8>() else { return };
    let len = u64::from_be_bytes(*len);
    assert_within(&range::parse(value, len), len);
    let (short, _) = decision(&len.to_be_bytes());
    assert_within(&range::parse(value, u64::from(short)), u64::from(short));
}

fn assert_within(selection: &Selection, len: u64) {
    let check = |part: &ByteRange| {
        assert!(part.first <= part.last && part.last < len, "{part:?} of {len} bytes");
        assert!(part.bytes() <= len);
    };
    match selection {
        Selection::Whole | Selection::Unsatisfiable => {}
        Selection::Single(part) => check(part),
        Selection::Multiple(parts) => {
            assert!(parts.len() >= 2);
            parts.iter().for_each(check);
            let total: u64 = parts.iter().map(|part| part.bytes()).sum();
            assert!(total <= len, "overlapping parts cost more than the whole");
        }
    }
}

/// Any date.
///
/// # Panics
/// A law is broken: a date that is read is written so that it is read again.
pub fn http_date(bytes: &[u8]) {
    let Some(seconds) = date::parse(bytes, NOW) else { return };
    let text = date::HttpDate::new(seconds);
    // The leap second after the last year that has four digits has no name of its own.
    let named = seconds.min(date::SECONDS_MAX);
    assert_eq!(date::parse(text.as_bytes(), NOW), Some(named), "{text}");
}
