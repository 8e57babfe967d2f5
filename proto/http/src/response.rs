//! Response heads, written into a buffer of the caller's, and the small pages that go with errors.
//!
//! ```text
//!   HTTP/1.1 206 Partial Content CRLF
//!   Server: … CRLF  Date: … CRLF  Content-Type, -Length, -Range, ETag, … CRLF
//!   CRLF
//! ```
//!
//! A head is a value with one optional part per field this server sends, so that what GET says HEAD says too: the
//! caller emits the same head and leaves the content away. Nothing allocates. A value that would end its line early is
//! an error, whoever wrote it: no response can be split.

use core::fmt::{self, Write as _};

use crate::date::HttpDate;
use crate::etag::ETag;
use crate::range::ByteRange;
use crate::request::{Method, Request, Version};
use crate::status::Status;
use crate::target;

mod multipart;
mod page;

pub use multipart::Multipart;
pub use page::{PAGE_BYTES_MAX, error_page};

/// A buffer this large takes every head whose Location, cache rules and extra fields have together at most 1 KiB.
pub const HEAD_BYTES: usize = 2_560;

/// Request fields a page elsewhere may send along (CORS): ranges, conditions, and CMCD (CTA-5004).
const ALLOW_HEADERS: &str = "Range, If-Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, \
                             Cache-Control, CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status";

/// Response fields a page elsewhere may read (CORS). Those that are always readable are not repeated.
const EXPOSE_HEADERS: &str = "Accept-Ranges, Content-Length, Content-Range, Date, ETag, Server";

/// What becomes of the connection after this response (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It goes on, as HTTP/1.1 does unless told otherwise: no field.
    Persist,
    /// It goes on, although the client speaks HTTP/1.0: the field says so.
    KeepAlive,
    /// It ends.
    Close,
}

impl Connection {
    /// The answer to what `request` wants, when the server is willing.
    #[must_use]
    pub const fn wanted_by(request: &Request<'_>) -> Self {
        match (request.persistent, request.version) {
            (false, _) => Self::Close,
            (true, Version::Http10) => Self::KeepAlive,
            (true, Version::Http11) => Self::Persist,
        }
    }
}

/// The value of Content-Range (RFC 9110 §14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentRange {
    /// This part of a representation of `len` bytes; with 206.
    Part {
        /// The part.
        range: ByteRange,
        /// The length of the whole.
        len: u64,
    },
    /// No part, but this is the length; with 416.
    Unsatisfied {
        /// The length of the whole.
        len: u64,
    },
}

/// A new place on this server (RFC 9110 §10.2.2): a decoded path below the root, and a query as it came.
#[derive(Clone, Copy, Debug)]
pub struct Location<'a> {
    /// The path without its leading slash; encoded when written.
    pub path: &'a [u8],
    /// The query without its question mark.
    pub query: Option<&'a [u8]>,
}

/// Who besides our own pages may read a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllowOrigin<'a> {
    /// Everybody.
    Any,
    /// The origin that asks, which is on a list.
    One(&'a str),
    /// Not the origin that asks, or none asks; another might, so caches have to know.
    Refused,
}

/// Leave for scripts of other origins to read the response (the Fetch standard, "CORS protocol").
#[derive(Clone, Copy, Debug)]
pub struct Cors<'a> {
    /// For whom.
    pub allow_origin: AllowOrigin<'a>,
    /// Whether the answer is a preflight's, and for how many seconds it holds.
    pub preflight_max_age_s: Option<u32>,
}

/// A response head. `None` and `false` leave a field out.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The status line's code. With 405 Allow is sent.
    pub status: Status,
    /// What becomes of the connection.
    pub connection: Connection,
    /// The length of the content that follows, or would follow if this were not for HEAD. Not sent with 204 and 304.
    pub content_length: Option<u64>,
    /// The media type of the content.
    pub content_type: Option<&'a str>,
    /// Which part the content is.
    pub content_range: Option<ContentRange>,
    /// Whether to say that ranges are served.
    pub accept_ranges: bool,
    /// The entity tag.
    pub etag: Option<&'a ETag>,
    /// When the representation last changed, in seconds since the Unix epoch.
    pub last_modified: Option<u64>,
    /// What caches may do.
    pub cache_control: Option<&'a str>,
    /// Where to go instead.
    pub location: Option<Location<'a>>,
    /// Whether to say which methods are taken; 405 says it anyway.
    pub allow: bool,
    /// After how many seconds to try again.
    pub retry_after_s: Option<u32>,
    /// Leave for other origins.
    pub cors: Option<Cors<'a>>,
    /// Fields without a place above, as name and value.
    pub extra: &'a [(&'a str, &'a str)],
}

/// Why a head was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitError {
    /// The buffer is too small: the caller's mistake, or a Location of many kilobytes.
    Full,
    /// A value holds a control character: the operator's mistake, or an attempt to split the response.
    Control,
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the response head does not fit its buffer",
            Self::Control => "a response header field would hold a control character",
        })
    }
}

impl core::error::Error for EmitError {}

impl<'a> Head<'a> {
    /// A head of nothing but a status, on a connection that goes on.
    #[must_use]
    pub const fn new(status: Status) -> Self {
        Self {
            status,
            connection: Connection::Persist,
            content_length: None,
            content_type: None,
            content_range: None,
            accept_ranges: false,
            etag: None,
            last_modified: None,
            cache_control: None,
            location: None,
            allow: false,
            retry_after_s: None,
            cors: None,
            extra: &[],
        }
    }

    /// Writes the head with its final empty line to the front of `out`; its length in bytes.
    ///
    /// # Errors
    /// The head does not fit, or a value holds a control character. `out` then holds nothing of use.
    pub fn emit(&self, server: &str, date: &HttpDate, out: &mut [u8]) -> Result<usize, EmitError> {
        // In full, so that no field is forgotten on the wire.
        let Self {
            status,
            connection,
            content_length,
            content_type,
            content_range,
            accept_ranges,
            etag,
            last_modified,
            cache_control,
            location,
            allow,
            retry_after_s,
            cors,
            extra,
        } = *self;
        let mut lines = Lines::new(out);
        lines.line(format_args!("HTTP/1.1 {} {}", status.code(), status.reason()))?;
        if !server.is_empty() {
            lines.field("Server", server)?;
        }
        lines.field("Date", date)?;
        match connection {
            Connection::Persist => {}
            Connection::KeepAlive => lines.field("Connection", "keep-alive")?,
            Connection::Close => lines.field("Connection", "close")?,
        }
        if allow || status == Status::MethodNotAllowed {
            lines.field("Allow", Method::ALLOW)?;
        }
        if let Some(value) = content_type {
            lines.field("Content-Type", value)?;
        }
        // RFC 9110 §8.6: "A server MUST NOT send a Content-Length header field in any response with a status code of
        // 1xx (Informational) or 204 (No Content)"; with 304 it may only say what 200 would have said.
        if let Some(value) = content_length.filter(|_| !status.is_bodiless()) {
            lines.field("Content-Length", value)?;
        }
        match content_range {
            None => {}
            Some(ContentRange::Part { range, len }) => {
                lines.field("Content-Range", format_args!("bytes {}-{}/{len}", range.first, range.last))?;
            }
            Some(ContentRange::Unsatisfied { len }) => {
                lines.field("Content-Range", format_args!("bytes */{len}"))?;
            }
        }
        if accept_ranges {
            lines.field("Accept-Ranges", "bytes")?;
        }
        if let Some(value) = etag {
            lines.field("ETag", value)?;
        }
        if let Some(seconds) = last_modified {
            lines.field("Last-Modified", HttpDate::new(seconds))?;
        }
        if let Some(value) = cache_control {
            lines.field("Cache-Control", value)?;
        }
        if let Some(Location { path, query }) = location {
            lines.location(path, query)?;
        }
        if let Some(seconds) = retry_after_s {
            lines.field("Retry-After", seconds)?;
        }
        if let Some(cors) = cors {
            lines.cors(&cors)?;
        }
        for (name, value) in extra {
            lines.field(name, value)?;
        }
        lines.line(format_args!(""))?;
        Ok(lines.len)
    }
}

/// Lines written one after the other into a buffer.
struct Lines<'b> {
    out: &'b mut [u8],
    len: usize,
}

impl<'b> Lines<'b> {
    const fn new(out: &'b mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), EmitError> {
        let end = self.len.checked_add(bytes.len()).ok_or(EmitError::Full)?;
        self.out.get_mut(self.len..end).ok_or(EmitError::Full)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// Text that must stay in its line.
    fn text(&mut self, text: impl fmt::Display) -> Result<(), EmitError> {
        let from = self.len;
        write!(self, "{text}").map_err(|_| EmitError::Full)?;
        check(&self.out[from..self.len])
    }

    fn line(&mut self, text: fmt::Arguments<'_>) -> Result<(), EmitError> {
        self.text(text)?;
        self.put(b"\r\n")
    }

    fn field(&mut self, name: &str, value: impl fmt::Display) -> Result<(), EmitError> {
        self.line(format_args!("{name}: {value}"))
    }

    fn location(&mut self, path: &[u8], query: Option<&[u8]>) -> Result<(), EmitError> {
        self.put(b"Location: /")?;
        for byte in target::encode(path) {
            self.put(&[byte])?;
        }
        if let Some(query) = query {
            check(query)?;
            self.put(b"?")?;
            self.put(query)?;
        }
        self.put(b"\r\n")
    }

    fn cors(&mut self, cors: &Cors<'_>) -> Result<(), EmitError> {
        let Cors { allow_origin, preflight_max_age_s } = *cors;
        if allow_origin != AllowOrigin::Any {
            self.field("Vary", "Origin")?;
        }
        let allow_origin = match allow_origin {
            AllowOrigin::Any => "*",
            AllowOrigin::One(origin) => origin,
            AllowOrigin::Refused => return Ok(()),
        };
        self.field("Access-Control-Allow-Origin", allow_origin)?;
        if let Some(seconds) = preflight_max_age_s {
            self.field("Access-Control-Allow-Methods", Method::ALLOW)?;
            self.field("Access-Control-Allow-Headers", ALLOW_HEADERS)?;
            self.field("Access-Control-Max-Age", seconds)
        } else {
            self.field("Access-Control-Expose-Headers", EXPOSE_HEADERS)?;
            // Lets players measure their downloads (Resource Timing); as public as the content itself.
            self.field("Timing-Allow-Origin", allow_origin)
        }
    }
}

impl fmt::Write for Lines<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// RFC 9110 §5.5: CR, LF and NUL are dangerous in a value, other controls invalid.
fn check(value: &[u8]) -> Result<(), EmitError> {
    if value.iter().any(|&byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
        return Err(EmitError::Control);
    }
    Ok(())
}

/// Whether an operator's text can be a field's value: no control character, nothing but ASCII.
#[must_use]
pub fn is_field_value(text: &str) -> bool {
    text.is_ascii() && check(text.as_bytes()).is_ok()
}

/// Whether an operator's text can be a field's name (RFC 9110 §5.1: a token).
#[must_use]
pub fn is_field_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests;
