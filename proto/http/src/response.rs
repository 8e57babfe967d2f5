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

use core::fmt;

use crate::date::HttpDate;
use crate::etag::ETag;
use crate::range::ByteRange;
use crate::request::{Method, Request, Version};
use crate::status::Status;
use crate::{decimal, target};

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
        lines.put(b"HTTP/1.1 ")?;
        lines.put(status.text().as_bytes())?;
        lines.put(b"\r\n")?;
        if !server.is_empty() {
            lines.field("Server", server)?;
        }
        lines.known("Date: ", date.as_bytes())?;
        match connection {
            Connection::Persist => {}
            Connection::KeepAlive => lines.known("Connection: ", b"keep-alive")?,
            Connection::Close => lines.known("Connection: ", b"close")?,
        }
        if allow || status == Status::MethodNotAllowed {
            lines.known("Allow: ", Method::ALLOW.as_bytes())?;
        }
        if let Some(value) = content_type {
            lines.field("Content-Type", value)?;
        }
        // RFC 9110 §8.6: "A server MUST NOT send a Content-Length header field in any response with a status code of
        // 1xx (Informational) or 204 (No Content)"; with 304 it may only say what 200 would have said.
        if let Some(value) = content_length.filter(|_| !status.is_bodiless()) {
            lines.put(b"Content-Length: ")?;
            lines.number(value)?;
            lines.put(b"\r\n")?;
        }
        if let Some(content_range) = content_range {
            lines.content_range(content_range)?;
        }
        if accept_ranges {
            lines.known("Accept-Ranges: ", b"bytes")?;
        }
        if let Some(value) = etag {
            lines.known("ETag: ", value.as_str().as_bytes())?;
        }
        if let Some(seconds) = last_modified {
            lines.known("Last-Modified: ", HttpDate::new(seconds).as_bytes())?;
        }
        if let Some(value) = cache_control {
            lines.field("Cache-Control", value)?;
        }
        if let Some(Location { path, query }) = location {
            lines.location(path, query)?;
        }
        if let Some(seconds) = retry_after_s {
            lines.put(b"Retry-After: ")?;
            lines.number(seconds.into())?;
            lines.put(b"\r\n")?;
        }
        if let Some(cors) = cors {
            lines.cors(&cors)?;
        }
        for (name, value) in extra {
            lines.field(name, value)?;
        }
        lines.put(b"\r\n")?;
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
    fn text(&mut self, text: &str) -> Result<(), EmitError> {
        check(text.as_bytes())?;
        self.put(text.as_bytes())
    }

    fn number(&mut self, value: u64) -> Result<(), EmitError> {
        self.put(decimal(value, &mut [0; 20]).as_bytes())
    }

    /// A field with a value from elsewhere.
    fn field(&mut self, name: &str, value: &str) -> Result<(), EmitError> {
        self.put(name.as_bytes())?;
        self.put(b": ")?;
        self.text(value)?;
        self.put(b"\r\n")
    }

    /// A field with a value that was made here and cannot end its line.
    fn known(&mut self, name_and_colon: &str, value: &[u8]) -> Result<(), EmitError> {
        self.put(name_and_colon.as_bytes())?;
        self.put(value)?;
        self.put(b"\r\n")
    }

    fn content_range(&mut self, content_range: ContentRange) -> Result<(), EmitError> {
        self.put(b"Content-Range: bytes ")?;
        let len = match content_range {
            ContentRange::Part { range: ByteRange { first, last }, len } => {
                self.number(first)?;
                self.put(b"-")?;
                self.number(last)?;
                len
            }
            ContentRange::Unsatisfied { len } => {
                self.put(b"*")?;
                len
            }
        };
        self.put(b"/")?;
        self.number(len)?;
        self.put(b"\r\n")
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
            self.known("Vary: ", b"Origin")?;
        }
        let allow_origin = match allow_origin {
            AllowOrigin::Any => "*",
            AllowOrigin::One(origin) => origin,
            AllowOrigin::Refused => return Ok(()),
        };
        self.field("Access-Control-Allow-Origin", allow_origin)?;
        if let Some(seconds) = preflight_max_age_s {
            self.known("Access-Control-Allow-Methods: ", Method::ALLOW.as_bytes())?;
            self.known("Access-Control-Allow-Headers: ", ALLOW_HEADERS.as_bytes())?;
            self.put(b"Access-Control-Max-Age: ")?;
            self.number(seconds.into())?;
            self.put(b"\r\n")
        } else {
            self.known("Access-Control-Expose-Headers: ", EXPOSE_HEADERS.as_bytes())?;
            // Lets players measure their downloads (Resource Timing); as public as the content itself.
            self.field("Timing-Allow-Origin", allow_origin)
        }
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
