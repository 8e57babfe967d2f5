//! One line per request, for people (the combined format) or for machines (JSON).
//!
//! ```text
//!   192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] "GET /a.m4s HTTP/1.1" 206 500 "-" "player/1"
//!   {"time":"1994-11-06T08:49:37Z","remote":"192.0.2.7","method":"GET","target":"/a.m4s",…}
//! ```
//!
//! What the client sent is escaped: no line can hold another line, end a quotation or move a terminal's cursor.

use core::fmt::{self, Write};
use core::net::IpAddr;

use crate::date::Civil;
use crate::status::Status;

/// What is known of a request when its response is over.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// When the request had arrived, in seconds since the Unix epoch.
    pub time: u64,
    /// From whom.
    pub remote: IpAddr,
    /// The method's token, or as much as was there of one.
    pub method: &'a [u8],
    /// The target as sent.
    pub target: &'a [u8],
    /// The version's name, or what stood in its place.
    pub version: &'a [u8],
    /// The answer.
    pub status: Status,
    /// How many bytes of content were handed to the connection.
    pub content_bytes: u64,
    /// From the request's arrival to the response's last byte, in microseconds.
    pub duration_us: u64,
    /// The fields of the same names.
    pub host: Option<&'a [u8]>,
    /// See `host`.
    pub referer: Option<&'a [u8]>,
    /// See `host`.
    pub user_agent: Option<&'a [u8]>,
    /// See `host`.
    pub range: Option<&'a [u8]>,
    /// Whether the connection was TLS.
    pub secure: bool,
    /// Whether the response was cut short, by whatever.
    pub aborted: bool,
}

impl Record<'_> {
    /// Writes the record in the combined log format, without a line end.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_combined(&self, out: &mut impl Write) -> fmt::Result {
        let Civil { year, month: _, day, weekday: _, hour, minute, second } = Civil::of(self.time);
        let month = Civil::of(self.time).month_name();
        write!(
            out,
            "{} - - [{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000] \"",
            self.remote
        )?;
        quote_combined(self.method, out)?;
        out.write_char(' ')?;
        quote_combined(self.target, out)?;
        out.write_char(' ')?;
        quote_combined(self.version, out)?;
        write!(out, "\" {} {} \"", self.status.code(), self.content_bytes)?;
        quote_combined(self.referer.unwrap_or(b"-"), out)?;
        out.write_str("\" \"")?;
        quote_combined(self.user_agent.unwrap_or(b"-"), out)?;
        out.write_char('"')
    }

    /// Writes the record as one JSON object, without a line end.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json(&self, out: &mut impl Write) -> fmt::Result {
        // In full: a new field belongs into the object.
        let Self {
            time,
            remote,
            method,
            target,
            version,
            status,
            content_bytes,
            duration_us,
            host,
            referer,
            user_agent,
            range,
            secure,
            aborted,
        } = *self;
        let Civil { year, month, day, weekday: _, hour, minute, second } = Civil::of(time);
        write!(out, "{{\"time\":\"{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z\"")?;
        write!(out, ",\"remote\":\"{remote}\"")?;
        for (name, value) in [("method", Some(method)), ("target", Some(target)), ("version", Some(version))]
        {
            member(name, value, out)?;
        }
        write!(out, ",\"status\":{},\"bytes\":{content_bytes},\"duration_us\":{duration_us}", status.code())?;
        for (name, value) in
            [("host", host), ("referer", referer), ("user_agent", user_agent), ("range", range)]
        {
            member(name, value, out)?;
        }
        if secure {
            out.write_str(",\"secure\":true")?;
        }
        if aborted {
            out.write_str(",\"aborted\":true")?;
        }
        out.write_char('}')
    }
}

/// Escapes as other servers do: `\xHH` for what is not printable ASCII, and for quotes and backslashes.
fn quote_combined(bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    bytes.iter().try_for_each(|&byte| match byte {
        b'"' | b'\\' | 0..=0x1f | 0x7f.. => write!(out, "\\x{byte:02X}"),
        _ => out.write_char(char::from(byte)),
    })
}

/// `,"name":"value"`, or nothing.
fn member(name: &str, value: Option<&[u8]>, out: &mut impl Write) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    write!(out, ",\"{name}\":\"")?;
    quote_json(value, out)?;
    out.write_char('"')
}

/// Writes bytes as the inside of a JSON string (RFC 8259 §7). Bytes that are not UTF-8 become U+FFFD.
pub fn quote_json(bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    for chunk in bytes.utf8_chunks() {
        for symbol in chunk.valid().chars() {
            match symbol {
                '"' => out.write_str("\\\"")?,
                '\\' => out.write_str("\\\\")?,
                '\n' => out.write_str("\\n")?,
                '\r' => out.write_str("\\r")?,
                '\t' => out.write_str("\\t")?,
                // C1 controls move cursors too; the line separators end lines in JavaScript.
                control if control.is_control() || matches!(control, '\u{2028}' | '\u{2029}') => {
                    write!(out, "\\u{:04x}", u32::from(control))?;
                }
                symbol => out.write_char(symbol)?,
            }
        }
        if !chunk.invalid().is_empty() {
            out.write_char('\u{fffd}')?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
