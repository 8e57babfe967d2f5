//! Records of finished requests, on their way to the access log.
//!
//! A worker only moves the head it has into a record; taking it apart and writing the line is left to control.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;

use http::{Glance, Status, log};

/// Records that wait for the worker to take them.
const COUNT_MAX: usize = 8_192;

/// Bytes of heads in records that wait.
const BYTES_MAX: usize = 4 << 20;

/// How a line of the access log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// As most analysers expect it.
    #[default]
    Combined,
    /// One JSON object.
    Json,
}

/// A finished request.
#[derive(Debug)]
pub struct AccessRecord {
    /// When the request arrived, in seconds since the Unix epoch.
    pub time: u64,
    /// From its arrival to the end of its answer.
    pub duration: Duration,
    /// Who asked.
    pub remote: IpAddr,
    /// Through TLS.
    pub secure: bool,
    /// What was answered.
    pub status: Status,
    /// How many bytes of content the answer had, or got through before it was cut short.
    pub content_bytes: u64,
    /// The answer was cut short.
    pub aborted: bool,
    /// The head as it came.
    pub head: Box<[u8]>,
}

impl AccessRecord {
    /// Appends the record to `line`, without a line end.
    pub fn write_to(&self, format: LogFormat, line: &mut Vec<u8>) {
        let Self { time, duration, remote, secure, status, content_bytes, aborted, ref head } = *self;
        let Glance { method, target, version, fields } = Glance::new(head);
        let record = log::Record {
            time,
            remote,
            method: or_dash(method),
            target: or_dash(target),
            version: or_dash(version),
            status,
            content_bytes,
            duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
            host: fields.single(b"host"),
            referer: fields.single(b"referer"),
            user_agent: fields.single(b"user-agent"),
            range: fields.single(b"range"),
            secure,
            aborted,
        };
        let mut line = Line(line);
        // Appending to a vector cannot fail.
        let _ = match format {
            LogFormat::Combined => record.write_combined(&mut line),
            LogFormat::Json => record.write_json(&mut line),
        };
    }
}

const fn or_dash(word: &[u8]) -> &[u8] {
    if word.is_empty() { b"-" } else { word }
}

struct Line<'a>(&'a mut Vec<u8>);

impl fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// The records that wait: a bounded number, of a bounded size.
#[derive(Debug, Default)]
pub struct Records {
    waiting: VecDeque<AccessRecord>,
    bytes: usize,
    dropped: u64,
}

impl Records {
    /// Adds a record, or counts it as dropped when too many wait.
    pub fn push(&mut self, record: AccessRecord) {
        let bytes = self.bytes + record.head.len();
        if self.waiting.len() >= COUNT_MAX || bytes > BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.bytes = bytes;
        self.waiting.push_back(record);
    }

    /// The oldest record that waits.
    pub fn pop(&mut self) -> Option<AccessRecord> {
        let record = self.waiting.pop_front()?;
        self.bytes -= record.head.len();
        Some(record)
    }

    /// How many were dropped so far.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    fn record(head: &[u8]) -> AccessRecord {
        AccessRecord {
            time: 784_111_777,
            duration: Duration::from_millis(3),
            remote: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure: false,
            status: Status::Ok,
            content_bytes: 5,
            aborted: false,
            head: head.into(),
        }
    }

    fn line(head: &[u8], format: LogFormat) -> String {
        let mut line = Vec::new();
        record(head).write_to(format, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_is_made_from_the_head() {
        let head = b"GET /a HTTP/1.1\r\nHost: b\r\nUser-Agent: c\r\nReferer: d\r\n\r\n";
        assert_eq!(
            line(head, LogFormat::Combined),
            r#"127.0.0.1 - - [06/Nov/1994:08:49:37 +0000] "GET /a HTTP/1.1" 200 5 "d" "c""#
        );
        assert!(
            line(head, LogFormat::Json)
                .contains(r#""duration_us":3000,"host":"b","referer":"d","user_agent":"c""#)
        );
    }

    #[test]
    fn what_was_no_request_is_written_down_safely() {
        assert!(line(b"", LogFormat::Combined).contains(r#""- - -" 200"#));
        assert!(line(b"\x16\x03\"\n\"", LogFormat::Combined).contains(r#""\x16\x03\x22 - -" 200"#));
    }

    #[test]
    fn records_are_bounded_in_number_and_in_bytes() {
        let mut records = Records::default();
        for _ in 0..COUNT_MAX + 3 {
            records.push(record(b""));
        }
        assert_eq!(records.dropped(), 3);
        while records.pop().is_some() {}
        for _ in 0..5 {
            records.push(record(&vec![b'x'; BYTES_MAX / 4]));
        }
        assert_eq!(records.dropped(), 4);
        assert_eq!(core::iter::from_fn(|| records.pop()).count(), 4);
        assert_eq!(records.bytes, 0);
    }
}
