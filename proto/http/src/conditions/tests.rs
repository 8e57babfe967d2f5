use super::{Outcome, Validators, evaluate};
use crate::etag::ETag;
use crate::request::{Limits, Parse, Request};
use std::format;

/// 06 Nov 1994 08:49:37.
const MODIFIED: u64 = 784_111_777;
const NOW: u64 = 1_700_000_000;

fn outcome_of(method: &str, lines: &str) -> Outcome {
    outcome_at(Some(MODIFIED), method, lines)
}

fn outcome_at(modified: Option<u64>, method: &str, lines: &str) -> Outcome {
    let etag = ETag::of_file(1, 2, 3);
    let validators = Validators { etag: &etag, last_modified: modified };
    let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    match Request::parse(text.as_bytes(), &Limits::default()) {
        Parse::Complete { request, .. } => evaluate(&request, &validators, NOW),
        other => panic!("{other:?}"),
    }
}

const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

/// RFC 9110 §13.1, one field at a time.
#[test]
fn each_field_has_its_meaning() {
    use Outcome::{NotModified, PreconditionFailed, Proceed};
    for (line, expected) in [
        (r#"If-Match: "1-2-3""#.into(), Proceed),
        (r#"If-Match: "x", "1-2-3""#.into(), Proceed),
        ("If-Match: *".into(), Proceed),
        // §13.1.1: strong comparison.
        (r#"If-Match: W/"1-2-3""#.into(), PreconditionFailed),
        (r#"If-Match: "x""#.into(), PreconditionFailed),
        ("If-Match:".into(), PreconditionFailed),
        ("If-Match: \"x\"\r\nIf-Match: \"1-2-3\"".into(), Proceed),
        (r#"If-None-Match: "1-2-3""#.into(), NotModified),
        // §13.1.2: weak comparison.
        (r#"If-None-Match: W/"1-2-3""#.into(), NotModified),
        ("If-None-Match: *".into(), NotModified),
        (r#"If-None-Match: "x", W/"y""#.into(), Proceed),
        (format!("If-Modified-Since: {SAME}"), NotModified),
        (format!("If-Modified-Since: {AFTER}"), NotModified),
        (format!("If-Modified-Since: {BEFORE}"), Proceed),
        // §13.1.3: "A recipient MUST ignore the If-Modified-Since header field if the received field value is not a
        // valid HTTP-date".
        ("If-Modified-Since: yesterday".into(), Proceed),
        (format!("If-Unmodified-Since: {SAME}"), Proceed),
        (format!("If-Unmodified-Since: {AFTER}"), Proceed),
        (format!("If-Unmodified-Since: {BEFORE}"), PreconditionFailed),
        ("If-Unmodified-Since: yesterday".into(), Proceed),
    ] {
        for method in ["GET", "HEAD"] {
            assert_eq!(outcome_of(method, &format!("{line}\r\n")), expected, "{line}");
        }
        assert_eq!(outcome_of("OPTIONS", &format!("{line}\r\n")), Proceed, "§13.2.1: {line}");
    }
}

/// RFC 9110 §13.2.2.
#[test]
fn fields_are_weighed_in_order() {
    use Outcome::{NotModified, PreconditionFailed, Proceed};
    let table = [
        // If-Match decides, its date does not.
        (format!("If-Match: \"1-2-3\"\r\nIf-Unmodified-Since: {BEFORE}"), Proceed),
        (format!("If-Match: \"x\"\r\nIf-Unmodified-Since: {AFTER}"), PreconditionFailed),
        // If-None-Match decides, its date does not.
        (format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {SAME}"), Proceed),
        (format!("If-None-Match: \"1-2-3\"\r\nIf-Modified-Since: {BEFORE}"), NotModified),
        // Lost updates before caches.
        ("If-None-Match: \"1-2-3\"\r\nIf-Match: \"x\"".into(), PreconditionFailed),
        ("If-None-Match: \"1-2-3\"\r\nIf-Match: \"1-2-3\"".into(), NotModified),
        (format!("If-Unmodified-Since: {BEFORE}\r\nIf-None-Match: \"1-2-3\""), PreconditionFailed),
    ];
    for (lines, expected) in table {
        assert_eq!(outcome_of("GET", &format!("{lines}\r\n")), expected, "{lines}");
    }
}

/// RFC 9110 §13.1.3, §13.1.4: "if the resource does not have a modification date available".
#[test]
fn without_a_date_only_tags_count() {
    for line in ["If-Modified-Since", "If-Unmodified-Since"] {
        for date in [BEFORE, AFTER] {
            assert_eq!(outcome_at(None, "GET", &format!("{line}: {date}\r\n")), Outcome::Proceed);
        }
    }
    assert_eq!(outcome_at(None, "GET", "If-None-Match: \"1-2-3\"\r\n"), Outcome::NotModified);
}
