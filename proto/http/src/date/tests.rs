use super::{Civil, DateCache, HttpDate, SECONDS_MAX, parse};
use core::time::Duration;
use proptest::prelude::*;
use std::format;
use std::string::ToString;
use std::time::UNIX_EPOCH;

/// The example of RFC 9110 §5.6.7.
const EXAMPLE: u64 = 784_111_777;
const NOW: u64 = 1_700_000_000;

#[test]
fn all_three_formats_name_the_same_second() {
    for text in
        ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
    {
        assert_eq!(parse(text.as_bytes(), NOW), Some(EXAMPLE), "{text}");
    }
    assert_eq!(HttpDate::new(EXAMPLE).to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
}

#[test]
fn leap_days_and_the_ends_of_time_exist() {
    let table = [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
        (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        (SECONDS_MAX, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ];
    for (seconds, text) in table {
        assert_eq!(HttpDate::new(seconds).to_string(), text);
        assert_eq!(parse(text.as_bytes(), NOW), Some(seconds));
    }
    assert_eq!(HttpDate::new(u64::MAX), HttpDate::new(SECONDS_MAX));
}

#[test]
fn what_is_no_date_is_none() {
    for text in [
        "",
        "0",
        "Sun",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Wed, 29 Feb 1995 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Son, 06 Nov 1994 08:49:37 GMT",
        "Sun, +6 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT ",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sunday, 06 Nov 94 08:49:37 GMT",
    ] {
        assert_eq!(parse(text.as_bytes(), NOW), None, "{text}");
    }
}

#[test]
fn a_date_before_the_epoch_is_the_epoch() {
    assert_eq!(parse(b"Sun, 06 Nov 1904 08:49:37 GMT", NOW), Some(0));
}

/// RFC 9110 §5.6.7: "more than 50 years in the future".
#[test]
fn a_two_digit_year_lies_at_most_fifty_years_ahead() {
    let in_2026 = 1_780_000_000;
    for (two, four) in [("26", 2026), ("76", 2076), ("77", 1977), ("99", 1999), ("00", 2000)] {
        let seconds = parse(format!("Monday, 01-Jan-{two} 00:00:00 GMT").as_bytes(), in_2026);
        assert_eq!(seconds.map(|seconds| Civil::of(seconds).year), Some(four), "{two}");
    }
}

#[test]
fn a_leap_second_is_the_next_minutes_first() {
    assert_eq!(parse(b"Sat, 31 Dec 2016 23:59:60 GMT", NOW), parse(b"Sun, 01 Jan 2017 00:00:00 GMT", NOW));
}

#[test]
fn the_cache_follows_the_clock() {
    let mut cache = DateCache::new(NOW);
    for seconds in [NOW, NOW + 1, NOW + 1, NOW] {
        assert_eq!(*cache.date(seconds), HttpDate::new(seconds));
    }
}

proptest! {
    #[test]
    fn parse_inverts_format(seconds in 0..=SECONDS_MAX) {
        prop_assert_eq!(parse(HttpDate::new(seconds).as_bytes(), NOW), Some(seconds));
    }

    #[test]
    fn httpdate_writes_the_same(seconds in 0..=SECONDS_MAX) {
        let theirs = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
        prop_assert_eq!(HttpDate::new(seconds).to_string(), theirs);
    }

    #[test]
    fn any_bytes_are_a_date_or_none(text in prop::collection::vec(any::<u8>(), 0..40), now: u64) {
        let _ = parse(&text, now);
    }

    #[test]
    fn a_damaged_date_is_a_date_or_none(
        format in prop::sample::select(["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"].to_vec()),
        at in 0_usize..24,
        byte: u8,
        cut in 0_usize..30,
        now: u64,
    ) {
        let mut text = format.as_bytes().to_vec();
        text[at] = byte;
        let _ = parse(&text, now);
        let _ = parse(&text[..cut.min(text.len())], now);
    }
}
