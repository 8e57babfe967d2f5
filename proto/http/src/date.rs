//! HTTP-date (RFC 9110 §5.6.7): written in one format, read in three.
//!
//! ```text
//!   Sun, 06 Nov 1994 08:49:37 GMT      IMF-fixdate, the one that is written
//!   Sunday, 06-Nov-94 08:49:37 GMT     RFC 850, obsolete
//!   Sun Nov  6 08:49:37 1994           asctime, obsolete
//! ```
//!
//! Ours rather than the `httpdate` crate, which needs `SystemTime` and so the standard library; the tests hold the two
//! against each other.

use core::fmt;
use core::str;

use crate::digits;

/// The length of an IMF-fixdate, in bytes.
pub const BYTES: usize = 29;

/// The last second that has a four-digit year: 31 December 9999, 23:59:59.
pub const SECONDS_MAX: u64 = 253_402_300_799;

const SECONDS_PER_DAY: u64 = 86_400;
const DAY_NAMES: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTH_NAMES: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Days before the first of each month in a year that is not a leap year.
const DAYS_BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

/// A moment of the proleptic Gregorian calendar, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The year, 1970 to 9999.
    pub year: u64,
    /// The month, 1 to 12.
    pub month: u64,
    /// The day of the month, 1 to 31.
    pub day: u64,
    /// The day of the week, counted from Sunday as 0.
    pub weekday: u64,
    /// 0 to 23.
    pub hour: u64,
    /// 0 to 59.
    pub minute: u64,
    /// 0 to 59.
    pub second: u64,
}

impl Civil {
    /// The calendar's view of `seconds` since the Unix epoch; later than [`SECONDS_MAX`] reads as that.
    #[must_use]
    pub fn of(seconds: u64) -> Self {
        let seconds = seconds.min(SECONDS_MAX);
        let (days, in_day) = (seconds / SECONDS_PER_DAY, seconds % SECONDS_PER_DAY);
        // A guess that is right or one too large, since no year has fewer than 365 days; 8,030 years have 1,948 leap
        // days, five years' worth, hence the loop.
        let mut year = 1970 + days / 365;
        while days_before_year(year) > days {
            year -= 1;
        }
        let mut day = days - days_before_year(year);
        let leap = u64::from(is_leap(year));
        let mut month = 12;
        while day < days_before_month(month, leap) {
            month -= 1;
        }
        day -= days_before_month(month, leap);
        Self {
            year,
            month,
            day: day + 1,
            // The first of January 1970 was a Thursday.
            weekday: (days + 4) % 7,
            hour: in_day / 3_600,
            minute: in_day / 60 % 60,
            second: in_day % 60,
        }
    }

    /// The three letters of the month.
    #[must_use]
    pub fn month_name(&self) -> &'static str {
        MONTH_NAMES.get(index(self.month.saturating_sub(1))).copied().unwrap_or("Jan")
    }
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days from the epoch to the first of January of `year`, which is not before 1970.
const fn days_before_year(year: u64) -> u64 {
    let past = year - 1;
    (year - 1970) * 365 + (past / 4 - past / 100 + past / 400) - (1969 / 4 - 1969 / 100 + 1969 / 400)
}

/// Days from the first of January to the first of `month`, 1 to 12.
fn days_before_month(month: u64, leap: u64) -> u64 {
    DAYS_BEFORE[index(month - 1)] + if month > 2 { leap } else { 0 }
}

/// Names of days and months are few.
fn index(small: u64) -> usize {
    usize::try_from(small).unwrap_or(usize::MAX)
}

/// An IMF-fixdate, ready to be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HttpDate([u8; BYTES]);

impl HttpDate {
    /// The date of `seconds` since the Unix epoch; later than [`SECONDS_MAX`] reads as that.
    #[must_use]
    pub fn new(seconds: u64) -> Self {
        let civil = Civil::of(seconds);
        let mut text = *b"Day, 00 Mon 0000 00:00:00 GMT";
        text[..3].copy_from_slice(&DAY_NAMES[index(civil.weekday)].as_bytes()[..3]);
        put(&mut text[5..7], civil.day);
        text[8..11].copy_from_slice(civil.month_name().as_bytes());
        put(&mut text[12..16], civil.year);
        put(&mut text[17..19], civil.hour);
        put(&mut text[20..22], civil.minute);
        put(&mut text[23..25], civil.second);
        Self(text)
    }

    /// The date's 29 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }
}

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl fmt::Debug for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Fills `place` with the last digits of `value`.
fn put(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// The present as an HTTP-date, written again only when the second changes.
#[derive(Clone, Copy, Debug)]
pub struct DateCache {
    seconds: u64,
    date: HttpDate,
}

impl DateCache {
    /// A cache that holds `seconds` since the Unix epoch.
    #[must_use]
    pub fn new(seconds: u64) -> Self {
        Self { seconds, date: HttpDate::new(seconds) }
    }

    /// The date of `seconds`.
    pub fn date(&mut self, seconds: u64) -> &HttpDate {
        if seconds != self.seconds {
            *self = Self::new(seconds);
        }
        &self.date
    }
}

/// Reads a date in any of the three formats, as seconds since the Unix epoch; a date before the epoch reads as the
/// epoch. `now`, in the same measure, decides the century of a two-digit year.
///
/// Nothing when it is no date: RFC 9110 §13.1.3 has such a field ignored.
#[must_use]
pub fn parse(text: &[u8], now: u64) -> Option<u64> {
    match text.iter().position(|byte| b", ".contains(byte))? {
        3 if text[3] == b',' => parse_imf_fixdate(text),
        3 => parse_asctime(text),
        _ => parse_rfc850(text, now),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn parse_imf_fixdate(text: &[u8]) -> Option<u64> {
    if text.len() != BYTES || [text[4], text[7], text[11], text[16]] != *b"    " || !text.ends_with(b" GMT") {
        return None;
    }
    weekday(&text[..3], 3)?;
    seconds_of(digits(&text[12..16])?, month(&text[8..11])?, digits(&text[5..7])?, clock(&text[17..25])?)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn parse_rfc850(text: &[u8], now: u64) -> Option<u64> {
    let comma = text.iter().position(|&byte| byte == b',')?;
    weekday(&text[..comma], usize::MAX)?;
    let rest = &text[comma..];
    if rest.len() != 24 || [rest[1], rest[4], rest[8], rest[11]] != *b" -- " || !rest.ends_with(b" GMT") {
        return None;
    }
    let two = digits(&rest[9..11])?;
    let at = |year: u64| seconds_of(year, month(&rest[5..8])?, digits(&rest[2..4])?, clock(&rest[12..20])?);
    // "Recipients of a timestamp value in rfc850-date format, which uses a two-digit year, MUST interpret a timestamp
    // that appears to be more than 50 years in the future as representing the most recent year in the past that had the
    // same last two digits."
    let this_year = Civil::of(now).year;
    let latest = this_year + 50;
    let year = latest - (latest + 100 - two) % 100;
    at(year)
}

/// `Sun Nov  6 08:49:37 1994`
fn parse_asctime(text: &[u8]) -> Option<u64> {
    if text.len() != 24 || [text[3], text[7], text[10], text[19]] != *b"    " {
        return None;
    }
    weekday(&text[..3], 3)?;
    let day = if text[8] == b' ' { &text[9..10] } else { &text[8..10] };
    seconds_of(digits(&text[20..])?, month(&text[4..7])?, digits(day)?, clock(&text[11..19])?)
}

/// The day's name, cut to `letters`, must be one; whether it is the right one does not matter to anybody.
fn weekday(name: &[u8], letters: usize) -> Option<()> {
    let is_named = DAY_NAMES.iter().any(|day| &day.as_bytes()[..letters.min(day.len())] == name);
    is_named.then_some(())
}

/// The month of a three-letter name, 1 to 12.
fn month(name: &[u8]) -> Option<u64> {
    (1_u64..).zip(MONTH_NAMES).find(|(_, month)| month.as_bytes() == name).map(|(number, _)| number)
}

/// `08:49:37` in seconds. The grammar has a second 60, for leap seconds: it is the next minute's first.
fn clock(text: &[u8]) -> Option<u64> {
    let [_, _, b':', _, _, b':', _, _] = text else { return None };
    let (hour, minute, second) = (digits(&text[..2])?, digits(&text[3..5])?, digits(&text[6..])?);
    (hour < 24 && minute < 60 && second <= 60).then(|| hour * 3_600 + minute * 60 + second)
}

/// Seconds from the epoch to a moment of a day that exists; zero before the epoch.
fn seconds_of(year: u64, month: u64, day: u64, in_day: u64) -> Option<u64> {
    let leap = u64::from(is_leap(year));
    let before = days_before_month(month, leap);
    let after = if month == 12 { 365 + leap } else { days_before_month(month + 1, leap) };
    if day == 0 || day > after - before {
        return None;
    }
    if year < 1970 {
        return Some(0);
    }
    Some((days_before_year(year) + before + day - 1) * SECONDS_PER_DAY + in_day)
}

#[cfg(test)]
mod tests;
