//! A request head, from the bytes on the stream (RFC 9112 §2–§7).
//!
//! ```text
//!   GET /video/seg-7.m4s?x=1 HTTP/1.1 CRLF      request line: method, target, version
//!   Host: example.org CRLF                      fields: at most 64 lines
//!   Range: bytes=0- CRLF
//!   CRLF                                        end of the head; the next request starts here
//! ```
//!
//! `httparse` knows the grammar; this file adds what a server must refuse although the grammar allows it (two lengths,
//! two hosts, a body nobody reads), sizes, and which of the refusals is meant. A refused request ends its connection:
//! behind a head that was not understood, nobody knows where the next one starts.

use core::fmt;
use core::mem::MaybeUninit;

use crate::status::Status;
use crate::{digits, trim_ows};

mod fields;

pub use fields::Fields;

/// The most field lines a head may have.
pub const FIELD_COUNT_MAX: usize = 64;

/// Empty lines before a request that are forgiven (RFC 9112 §2.2 asks for at least one), in bytes.
const LEADING_BYTES_MAX: usize = 8;

/// How much of a request is read before it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The whole head with its final empty line, in bytes; more is 431.
    pub head_bytes_max: usize,
    /// The request target, in bytes; more is 414.
    pub target_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes_max: 16 * 1024, target_bytes_max: 8 * 1024 }
    }
}

/// A method this server takes (RFC 9110 §9). The others are refused while parsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// Head and content.
    Get,
    /// The head alone, as for GET.
    Head,
    /// What can be done with the target; the preflight of CORS.
    Options,
}

impl Method {
    /// The value of the Allow field: every method taken.
    pub const ALLOW: &'static str = "GET, HEAD, OPTIONS";

    /// The method's token.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
        }
    }
}

/// The version in the request line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0: one request per connection unless agreed otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// The version's name on the wire.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
        }
    }
}

/// A request without content, borrowed from the bytes it was read from.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is to be done.
    pub method: Method,
    /// With what: the request target as sent; [`crate::Target::parse`] reads it.
    pub target: &'a [u8],
    /// The version in the request line.
    pub version: Version,
    /// Whether the client wants to go on using the connection (RFC 9112 §9.3).
    pub persistent: bool,
    /// The field lines.
    pub fields: Fields<'a>,
}

/// What a run of bytes from the stream turned out to be.
#[derive(Clone, Copy, Debug)]
pub enum Parse<'a> {
    /// The beginning of a head that may still become a good one.
    Partial,
    /// A good request; the next one starts `bytes_used` further on.
    Complete {
        /// The request.
        request: Request<'a>,
        /// Its length, the final empty line included.
        bytes_used: usize,
    },
    /// Nothing that can be answered with more than a status. Say why, then close.
    Refused(Refusal),
}

/// Why a request is refused unread: always the client's fault, or its guess at what this server can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The request line is not one.
    RequestLine,
    /// A field line is not one: no colon, space in the name, a fold, a control character.
    FieldLine,
    /// An HTTP/1.1 request without Host (RFC 9112 §3.2).
    HostMissing,
    /// More than one Host (RFC 9112 §3.2).
    HostRepeated,
    /// Host holds what no host and port can be (RFC 9112 §3.2).
    HostInvalid,
    /// Content-Length is not a number, or several different ones (RFC 9112 §6.3).
    ContentLength,
    /// Content-Length and Transfer-Encoding together: the sign of a smuggled request (RFC 9112 §6.1).
    LengthAndCoding,
    /// A transfer coding in HTTP/1.0, or one that does not end in chunked (RFC 9112 §6.1, §6.3).
    TransferEncoding,
    /// A transfer coding that is not known here (RFC 9112 §6.1).
    TransferEncodingUnknown,
    /// The request brings content; nothing here takes any.
    Content,
    /// An Expect other than 100-continue (RFC 9110 §10.1.1).
    Expectation,
    /// A method of HTTP that is not taken here.
    MethodNotAllowed,
    /// A method nobody here has heard of.
    MethodUnknown,
    /// The target is longer than [`Limits::target_bytes_max`].
    TargetTooLong,
    /// The head is longer than [`Limits::head_bytes_max`].
    HeadTooLarge,
    /// The head has more than [`FIELD_COUNT_MAX`] lines.
    FieldCount,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    Version,
}

impl Refusal {
    /// The status to answer with.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::RequestLine
            | Self::FieldLine
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostInvalid
            | Self::ContentLength
            | Self::LengthAndCoding
            | Self::TransferEncoding => Status::BadRequest,
            Self::TransferEncodingUnknown | Self::MethodUnknown => Status::NotImplemented,
            Self::Content => Status::ContentTooLarge,
            Self::Expectation => Status::ExpectationFailed,
            Self::MethodNotAllowed => Status::MethodNotAllowed,
            Self::TargetTooLong => Status::UriTooLong,
            Self::HeadTooLarge | Self::FieldCount => Status::RequestHeaderFieldsTooLarge,
            Self::Version => Status::HttpVersionNotSupported,
        }
    }

    /// One sentence for whoever reads the error page.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::RequestLine => "The request line is not one of HTTP.",
            Self::FieldLine => "A header field of the request is malformed.",
            Self::HostMissing => "The request names no host.",
            Self::HostRepeated => "The request names more than one host.",
            Self::HostInvalid => "The Host of the request cannot be one.",
            Self::ContentLength => "The Content-Length of the request cannot be one.",
            Self::LengthAndCoding => "The request has both a Content-Length and a Transfer-Encoding.",
            Self::TransferEncoding => "The Transfer-Encoding of the request does not say where it ends.",
            Self::TransferEncodingUnknown => {
                "The Transfer-Encoding of the request is not known to this server."
            }
            Self::Content => "This server takes no content in requests.",
            Self::Expectation => "The request expects something this server does not do.",
            Self::MethodNotAllowed => "This server answers GET, HEAD and OPTIONS only.",
            Self::MethodUnknown => "The method of the request is not known to this server.",
            Self::TargetTooLong => "The address asked for is longer than this server reads.",
            Self::HeadTooLarge => "The header of the request is larger than this server reads.",
            Self::FieldCount => "The request has more header fields than this server reads.",
            Self::Version => "This server speaks HTTP/1.0 and HTTP/1.1.",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl core::error::Error for Refusal {}

impl<'a> Request<'a> {
    /// Reads one request from the front of `bytes`, in time linear in their number.
    ///
    /// On a stream use a [`Progress`], which does not read what it has read before.
    #[must_use]
    pub fn parse(bytes: &'a [u8], limits: &Limits) -> Parse<'a> {
        match parse(bytes, limits) {
            Ok(Some((request, bytes_used))) => Parse::Complete { request, bytes_used },
            Ok(None) => Parse::Partial,
            Err(refusal) => Parse::Refused(refusal),
        }
    }
}

/// What can be read of a head that was refused, or need not be judged again: for logs.
#[derive(Clone, Copy, Debug)]
pub struct Glance<'a> {
    /// The first word of the first line.
    pub method: &'a [u8],
    /// The second.
    pub target: &'a [u8],
    /// The rest of the line.
    pub version: &'a [u8],
    /// Whatever looks like fields in the lines that follow.
    pub fields: Fields<'a>,
}

impl<'a> Glance<'a> {
    /// Reads any bytes as if they were a head. Nothing is checked.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        let leading = bytes.iter().take_while(|&&byte| matches!(byte, b'\r' | b'\n')).count();
        let head = &bytes[leading..];
        let end = head.iter().position(|&byte| byte == b'\n').unwrap_or(head.len());
        let (line, rest) = head.split_at(end);
        let mut words = line.strip_suffix(b"\r").unwrap_or(line).splitn(3, |&byte| byte == b' ');
        let mut word = || words.next().unwrap_or_default();
        let fields = Fields::unchecked(rest.strip_prefix(b"\n").unwrap_or(rest));
        Self { method: word(), target: word(), version: word(), fields }
    }
}

/// How far a head that is still arriving has been read, so that a client that sends it byte by byte costs no more than
/// one that sends it at once.
///
/// Law: between two calls of [`Progress::parse`] bytes are only appended; a request that is complete, or refused,
/// starts over with a new `Progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Up to here the bytes hold no empty line.
    searched: usize,
    /// The number of bytes at the last full parse.
    parsed: usize,
}

impl Progress {
    /// As [`Request::parse`], but a full parse happens only when the head's end has come or the bytes have doubled:
    /// all calls together take time linear in the bytes.
    pub fn parse<'a>(&mut self, bytes: &'a [u8], limits: &Limits) -> Parse<'a> {
        if bytes.len() < self.parsed.saturating_mul(2) && bytes.len() < limits.head_bytes_max {
            // Three bytes back: the end may have begun in what was searched before.
            let from = self.searched.max(self.parsed).saturating_sub(3).min(bytes.len());
            self.searched = bytes.len();
            if !has_empty_line(&bytes[from..]) {
                return Parse::Partial;
            }
        }
        self.parsed = bytes.len();
        Request::parse(bytes, limits)
    }
}

/// Whether there is an empty line in `bytes`.
fn has_empty_line(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|end| matches!(bytes[end + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

fn parse<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Option<(Request<'a>, usize)>, Refusal> {
    let leading = bytes.iter().take_while(|&&byte| matches!(byte, b'\r' | b'\n')).count();
    if leading > LEADING_BYTES_MAX {
        return Err(Refusal::RequestLine);
    }
    let head = &bytes[leading..];
    // No byte behind the limit is ever looked at; a head that needs one is too large.
    let window = &head[..head.len().min(limits.head_bytes_max)];

    let mut lines = [const { MaybeUninit::uninit() }; FIELD_COUNT_MAX];
    let mut raw = httparse::Request::new(&mut []);
    let used = match raw.parse_with_uninit_headers(window, &mut lines) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return partial(head, window, limits).map(|()| None),
        Err(error) => return Err(refusal_of(error, window, limits)),
    };
    let (Some(method), Some(target), Some(minor)) = (raw.method, raw.path, raw.version) else {
        return Err(Refusal::RequestLine);
    };
    if target.len() > limits.target_bytes_max {
        return Err(Refusal::TargetTooLong);
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let after_line = memchr::memchr(b'\n', window).map_or(used, |end| end + 1);
    let names = raw.headers.iter().map(|line| line.name.as_bytes());
    let fields = Fields::new(&window[after_line..used], names);

    check_host(fields, version)?;
    let method = method_of(method.as_bytes())?;
    check_framing(fields, version)?;
    let request = Request {
        method,
        target: target.as_bytes(),
        version,
        persistent: is_persistent(fields, version),
        fields,
    };
    Ok(Some((request, leading + used)))
}

/// Whether an unfinished head may still become a good one.
fn partial(head: &[u8], window: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let line = window.split(|&byte| byte == b'\n').next().unwrap_or(window);
    let target = line.split(|&byte| byte == b' ').nth(1).unwrap_or(b"");
    if target.len() > limits.target_bytes_max {
        return Err(Refusal::TargetTooLong);
    }
    if head.len() >= limits.head_bytes_max {
        // A target that fills the window is the larger nuisance, and the better answer.
        let in_line = line.len() == window.len() && !target.is_empty();
        return Err(if in_line { Refusal::TargetTooLong } else { Refusal::HeadTooLarge });
    }
    Ok(())
}

/// Which refusal `httparse`'s error means, by a second look at the request line.
fn refusal_of(error: httparse::Error, window: &[u8], limits: &Limits) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::FieldCount,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Refusal::FieldLine,
        httparse::Error::Version if says_other_version(window) => Refusal::Version,
        httparse::Error::Version | httparse::Error::Token | httparse::Error::Status => {
            let line = window.split(|&byte| byte == b'\n').next().unwrap_or(window);
            match line.split(|&byte| byte == b' ').nth(1) {
                Some(target) if target.len() > limits.target_bytes_max => Refusal::TargetTooLong,
                _ => Refusal::RequestLine,
            }
        }
        // A CR without its LF, or something else where a line should end: which line?
        httparse::Error::NewLine => {
            let line = window.split(|&byte| byte == b'\n').next().unwrap_or(window);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.0") {
                Refusal::FieldLine
            } else {
                Refusal::RequestLine
            }
        }
    }
}

/// Whether the request line ends in the name of some HTTP version.
fn says_other_version(window: &[u8]) -> bool {
    let line = window.split(|&byte| byte == b'\n').next().unwrap_or(window);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(name) = line.split(|&byte| byte == b' ').nth(2) else { return false };
    matches!(name, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
        if major.is_ascii_digit() && minor.is_ascii_digit())
}

fn method_of(token: &[u8]) -> Result<Method, Refusal> {
    match token {
        b"GET" => Ok(Method::Get),
        b"HEAD" => Ok(Method::Head),
        b"OPTIONS" => Ok(Method::Options),
        b"POST" | b"PUT" | b"DELETE" | b"CONNECT" | b"TRACE" | b"PATCH" => Err(Refusal::MethodNotAllowed),
        _ => Err(Refusal::MethodUnknown),
    }
}

/// RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that
/// lacks a Host header field and to any request message that contains more than one Host header field line or a Host
/// header field with an invalid field value."
fn check_host(fields: Fields<'_>, version: Version) -> Result<(), Refusal> {
    let mut hosts = fields.all(b"host");
    let Some(host) = hosts.next() else {
        return if version == Version::Http10 { Ok(()) } else { Err(Refusal::HostMissing) };
    };
    if hosts.next().is_some() {
        return Err(Refusal::HostRepeated);
    }
    if is_host_and_port(host) { Ok(()) } else { Err(Refusal::HostInvalid) }
}

/// `uri-host [ ":" port ]` (RFC 3986 §3.2.2), in the characters it may have; the empty host is one.
pub(crate) fn is_host_and_port(text: &[u8]) -> bool {
    let (host, port) = if let Some(literal) = text.strip_prefix(b"[") {
        let Some(end) = literal.iter().position(|&byte| byte == b']') else { return false };
        let inside = &literal[..end];
        if !inside.iter().all(|&byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')) {
            return false;
        }
        (&b""[..], &literal[end + 1..])
    } else {
        text.split_at(text.iter().position(|&byte| byte == b':').unwrap_or(text.len()))
    };
    let host_is_good =
        host.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte));
    let port_is_good = port.is_empty() || port[0] == b':' && port[1..].iter().all(u8::is_ascii_digit);
    host_is_good && port_is_good
}

/// RFC 9112 §6: how the request says where it ends. Only an empty one passes.
fn check_framing(fields: Fields<'_>, version: Version) -> Result<(), Refusal> {
    let length = content_length(fields)?;
    let codings = fields.members(b"transfer-encoding");
    let coded = fields.all(b"transfer-encoding").next().is_some();
    if coded {
        if length.is_some() {
            return Err(Refusal::LengthAndCoding);
        }
        if version == Version::Http10 {
            return Err(Refusal::TransferEncoding);
        }
        if !codings.clone().all(is_known_coding) {
            return Err(Refusal::TransferEncodingUnknown);
        }
        return match codings.last() {
            Some(last) if last.eq_ignore_ascii_case(b"chunked") => Err(Refusal::Content),
            _ => Err(Refusal::TransferEncoding),
        };
    }
    // RFC 9110 §10.1.1: an expectation other than 100-continue is the client's to do without.
    if fields.members(b"expect").any(|expectation| !expectation.eq_ignore_ascii_case(b"100-continue")) {
        return Err(Refusal::Expectation);
    }
    // With a 100-continue the final status comes instead of the 100, before the content does.
    if length.is_some_and(|length| length > 0) { Err(Refusal::Content) } else { Ok(()) }
}

/// The names registered for transfer codings (RFC 9112 §7); any may have parameters.
fn is_known_coding(member: &[u8]) -> bool {
    let name = trim_ows(member.split(|&byte| byte == b';').next().unwrap_or(member));
    let known: [&[u8]; 7] =
        [b"chunked", b"compress", b"deflate", b"gzip", b"identity", b"x-compress", b"x-gzip"];
    known.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// RFC 9112 §6.3: a repeated Content-Length is one if all its values are the same number.
fn content_length(fields: Fields<'_>) -> Result<Option<u64>, Refusal> {
    let mut length = None;
    for value in fields.all(b"content-length").flat_map(|line| line.split(|&byte| byte == b',')) {
        let value = digits(trim_ows(value)).ok_or(Refusal::ContentLength)?;
        if length.replace(value).is_some_and(|before| before != value) {
            return Err(Refusal::ContentLength);
        }
    }
    Ok(length)
}

/// RFC 9112 §9.3: close wins; HTTP/1.1 persists otherwise, HTTP/1.0 only with keep-alive.
fn is_persistent(fields: Fields<'_>, version: Version) -> bool {
    let says =
        |option: &[u8]| fields.members(b"connection").any(|member| member.eq_ignore_ascii_case(option));
    match version {
        _ if says(b"close") => false,
        Version::Http11 => true,
        Version::Http10 => says(b"keep-alive"),
    }
}

#[cfg(test)]
mod tests;
