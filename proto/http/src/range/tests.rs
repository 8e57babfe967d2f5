use super::{ByteRange, COUNT_MAX, Selection, parse, select};
use crate::conditions::Validators;
use crate::etag::ETag;
use crate::request::{Limits, Parse, Request};
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec::Vec;

const LEN: u64 = 10_000;
const MODIFIED: u64 = 784_111_777;

const fn range(first: u64, last: u64) -> ByteRange {
    ByteRange { first, last }
}

fn single(first: u64, last: u64) -> Selection {
    Selection::Single(range(first, last))
}

/// RFC 9110 §14.1.2, with its examples.
#[test]
fn one_range_selects_its_bytes() {
    let table = [
        ("bytes=0-499", single(0, 499)),
        ("bytes=500-999", single(500, 999)),
        ("bytes=-500", single(9_500, 9_999)),
        ("bytes=9500-", single(9_500, 9_999)),
        ("bytes=0-0", single(0, 0)),
        ("bytes=0-", single(0, 9_999)),
        ("bytes=9999-", single(9_999, 9_999)),
        ("bytes=9000-20000", single(9_000, 9_999)),
        ("bytes=-20000", single(0, 9_999)),
        ("bytes= 0-499 ", single(0, 499)),
        ("Bytes=0-499", single(0, 499)),
        ("bytes=,0-499,", single(0, 499)),
        ("bytes=0-499,20000-", single(0, 499)),
        ("bytes=5-99999999999999999999999999", single(5, 9_999)),
        ("bytes=-99999999999999999999999999", single(0, 9_999)),
    ];
    for (value, expected) in table {
        assert_eq!(parse(value.as_bytes(), LEN), expected, "{value}");
    }
}

#[test]
fn several_ranges_keep_their_order() {
    let Selection::Multiple(ranges) = parse(b"bytes=500-600, 0-0 ,-1", LEN) else { panic!() };
    assert_eq!(ranges.as_slice(), [range(500, 600), range(0, 0), range(9_999, 9_999)]);
}

#[test]
fn nothing_inside_is_unsatisfiable() {
    for value in [
        "bytes=10000-",
        "bytes=10000-10001",
        "bytes=-0",
        "bytes=20000-,30000-",
        "bytes=99999999999999999999-",
    ] {
        assert_eq!(parse(value.as_bytes(), LEN), Selection::Unsatisfiable, "{value}");
    }
}

/// RFC 9110 §14.1.1, §14.2: an invalid Range is ignored.
#[test]
fn what_is_no_range_selects_the_whole() {
    for value in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=5-4",
        "bytes=a-b",
        "bytes=1",
        "bytes=0x0-1",
        "bytes=+1-2",
        "bytes=0-1;2-3",
        "bytes=0-1,x",
        "items=0-1",
        "bytes 0-1",
        "bytes=0--1",
        "bytes =0-1",
        "bytes=1-2-3",
    ] {
        assert_eq!(parse(value.as_bytes(), LEN), Selection::Whole, "{value}");
    }
}

/// RFC 9110 §17.15.
#[test]
fn many_or_overlapping_ranges_select_the_whole() {
    let list = |count: u64| {
        let specs: Vec<String> = (0..count).map(|i| format!("{}-{}", i * 10, i * 10 + 1)).collect();
        format!("bytes={}", specs.join(","))
    };
    assert!(
        matches!(parse(list(8).as_bytes(), LEN), Selection::Multiple(ranges) if ranges.len() == COUNT_MAX)
    );
    assert_eq!(parse(list(9).as_bytes(), LEN), Selection::Whole);
    assert_eq!(parse(b"bytes=0-10,10-20", LEN), Selection::Whole);
    assert_eq!(parse(b"bytes=0-,0-,0-", LEN), Selection::Whole);
}

#[test]
fn an_empty_file_has_no_range() {
    // §14.1.2: an int-range needs a byte at its first position.
    assert_eq!(parse(b"bytes=0-", 0), Selection::Unsatisfiable);
    assert_eq!(parse(b"bytes=-0", 0), Selection::Unsatisfiable);
    // A suffix is satisfiable, and all of it is the whole.
    assert_eq!(parse(b"bytes=-5", 0), Selection::Whole);
    assert_eq!(parse(b"bytes=5-4", 0), Selection::Whole);
}

fn selection(method: &str, lines: &str, now: u64) -> Selection {
    let etag = ETag::of_file(1, 2, 3);
    let validators = Validators { etag: &etag, last_modified: Some(MODIFIED) };
    let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    match Request::parse(text.as_bytes(), &Limits::default()) {
        Parse::Complete { request, .. } => select(&request, &validators, LEN, now),
        other => panic!("{other:?}"),
    }
}

/// RFC 9110 §13.1.5.
#[test]
fn if_range_needs_the_very_same_representation() {
    let table = [
        (r#""1-2-3""#, true),
        (r#"W/"1-2-3""#, false),
        (r#""x""#, false),
        (r#""1-2-3", "x""#, false),
        ("Sun, 06 Nov 1994 08:49:37 GMT", true),
        ("Sun, 06 Nov 1994 08:49:38 GMT", false),
        ("Sun, 06 Nov 1994 08:49:36 GMT", false),
        ("1-2-3", false),
    ];
    for (value, holds) in table {
        let lines = format!("Range: bytes=0-1\r\nIf-Range: {value}\r\n");
        let expected = if holds { single(0, 1) } else { Selection::Whole };
        assert_eq!(selection("GET", &lines, MODIFIED + 1), expected, "{value}");
    }
}

/// RFC 9110 §8.8.2.2.
#[test]
fn if_range_with_a_date_of_this_second_does_not_hold() {
    let lines = "Range: bytes=0-1\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    assert_eq!(selection("GET", lines, MODIFIED), Selection::Whole);
}

#[test]
fn only_get_has_ranges() {
    for method in ["HEAD", "OPTIONS"] {
        assert_eq!(selection(method, "Range: bytes=0-1\r\n", 0), Selection::Whole);
    }
}

#[test]
fn a_repeated_range_is_no_range() {
    assert_eq!(selection("GET", "Range: bytes=0-1\r\nRange: bytes=0-1\r\n", 0), Selection::Whole);
}

proptest! {
    #[test]
    fn every_selected_range_lies_inside(value in "bytes=([0-9]{0,3}-[0-9]{0,3},?){0,10}", len in 0_u64..1_000) {
        let ranges: Vec<ByteRange> = match parse(value.as_bytes(), len) {
            Selection::Single(range) => Vec::from([range]),
            Selection::Multiple(ranges) => ranges.into_iter().collect(),
            Selection::Whole | Selection::Unsatisfiable => Vec::new(),
        };
        for range in &ranges {
            prop_assert!(range.first <= range.last && range.last < len);
        }
        // Disjoint, so that together they are never more than the whole.
        prop_assert!(ranges.iter().map(|range| range.bytes()).sum::<u64>() <= len);
    }

    #[test]
    fn any_bytes_are_some_selection(value in prop::collection::vec(any::<u8>(), 0..40), len: u64) {
        let _ = parse(&value, len);
        let _ = parse(&[b"bytes=".as_slice(), &value].concat(), len);
    }
}
