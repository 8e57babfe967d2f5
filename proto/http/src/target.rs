//! The request target (RFC 9112 §3.2): a path that cannot leave the directory, and a query.
//!
//! ```text
//!   /films/a%20b/seg.m4s?x=1              origin-form     ┐  path   films/a b/seg.m4s
//!   http://host:80/films/a%20b/seg.m4s    absolute-form   ┘  query  x=1
//!   *                                     asterisk-form      OPTIONS only
//! ```
//!
//! A path is decoded once and stays bytes. What a file server could misread is refused, not repaired: dot segments
//! (also encoded), an encoded slash, a backslash, control characters, a bad escape. Empty segments alone are repaired,
//! by leaving them out, since sloppy base URLs are full of them. So every file has one name here; signatures, logs and
//! caches rely on that.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use crate::request::is_host_and_port;
use crate::status::Status;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A resource: origin-form or absolute-form.
    Resource(Resource<'a>),
    /// `*`: the server as a whole.
    Asterisk,
}

/// A path below the root, and a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource<'a> {
    /// The decoded path without a leading slash: segments that are neither empty nor `.` nor `..` and hold neither
    /// slash, backslash nor control character, with single slashes between them. A slash at the end is kept; the root
    /// is empty. Bytes, since file names are.
    pub path: Cow<'a, [u8]>,
    /// What follows the first `?`, not decoded.
    pub query: Option<&'a [u8]>,
}

/// Why a target names nothing. The client is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetError {
    /// None of the four forms, or an authority that cannot be one, or a fragment.
    Form,
    /// A `%` without two hexadecimal digits behind it.
    Escape,
    /// A byte no path here may have: NUL or another control character, a backslash, an encoded slash.
    Forbidden,
    /// A segment `.`, which would give a file a second name.
    DotSegment,
    /// A segment `..`: the path climbs.
    Climbs,
}

impl TargetError {
    /// The status to answer with.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Form | Self::Escape | Self::Forbidden | Self::DotSegment => Status::BadRequest,
            Self::Climbs => Status::Forbidden,
        }
    }

    /// One sentence for whoever reads the error page.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Form => "The address asked for is not one.",
            Self::Escape => "The address asked for has a percent sign that encodes nothing.",
            Self::Forbidden => "The address asked for has a character no path here may have.",
            Self::DotSegment => "The address asked for has a dot for a segment.",
            Self::Climbs => "The address asked for climbs out of its directory.",
        }
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl core::error::Error for TargetError {}

impl<'a> Target<'a> {
    /// Reads a request target. Allocates only for a path with escapes or empty segments.
    ///
    /// # Errors
    /// The target is in none of the forms a server of files answers, or its path could be misread.
    pub fn parse(target: &'a [u8]) -> Result<Self, TargetError> {
        if target == b"*" {
            return Ok(Self::Asterisk);
        }
        let relative = match target.strip_prefix(b"/") {
            Some(relative) => relative,
            None => behind_authority(target)?,
        };
        if relative.contains(&b'#') {
            return Err(TargetError::Form);
        }
        let (path, query) = match relative.iter().position(|&byte| byte == b'?') {
            Some(mark) => (&relative[..mark], Some(&relative[mark + 1..])),
            None => (relative, None),
        };
        Ok(Self::Resource(Resource { path: decode(path)?, query }))
    }
}

/// What follows the slash behind `http://authority` (RFC 9112 §3.2.2). An empty path is the root.
fn behind_authority(target: &[u8]) -> Result<&[u8], TargetError> {
    let scheme = target.iter().position(|&byte| byte == b':').ok_or(TargetError::Form)?;
    let (scheme, rest) = target.split_at(scheme);
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(TargetError::Form);
    }
    let rest = rest.strip_prefix(b"://").ok_or(TargetError::Form)?;
    let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    // RFC 9110 §4.2.1: "A sender MUST NOT generate an "http" URI with an empty host identifier." User information
    // is as wrong (§4.2.4) and falls out here, since no host has an @.
    if authority.is_empty() || authority[0] == b':' || !is_host_and_port(authority) {
        return Err(TargetError::Form);
    }
    Ok(path.strip_prefix(b"/").unwrap_or(path))
}

/// Decodes a path and checks every segment of it.
fn decode(path: &[u8]) -> Result<Cow<'_, [u8]>, TargetError> {
    let is_plain =
        !path.contains(&b'%') && !path.starts_with(b"/") && !path.windows(2).any(|pair| pair == b"//");
    if is_plain {
        for segment in path.split(|&byte| byte == b'/') {
            check_segment(segment)?;
        }
        return Ok(Cow::Borrowed(path));
    }
    let mut decoded: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path.split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let start = decoded.len();
        unescape(segment, &mut decoded)?;
        check_segment(&decoded[start..])?;
        if decoded.len() > start && segments.peek().is_some() {
            decoded.push(b'/');
        }
    }
    Ok(Cow::Owned(decoded))
}

/// Appends `segment` with its percent escapes resolved (RFC 3986 §2.1).
fn unescape(segment: &[u8], decoded: &mut Vec<u8>) -> Result<(), TargetError> {
    let mut rest = segment;
    while let [first, behind @ ..] = rest {
        rest = behind;
        let byte = if *first == b'%' {
            let [high, low, behind @ ..] = behind else { return Err(TargetError::Escape) };
            rest = behind;
            hex(*high)? << 4 | hex(*low)?
        } else {
            *first
        };
        decoded.push(byte);
    }
    Ok(())
}

fn hex(digit: u8) -> Result<u8, TargetError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        b'A'..=b'F' => Ok(digit - b'A' + 10),
        _ => Err(TargetError::Escape),
    }
}

/// Refuses a decoded segment that could be taken for something else than a name.
fn check_segment(segment: &[u8]) -> Result<(), TargetError> {
    match segment {
        b"." => Err(TargetError::DotSegment),
        b".." => Err(TargetError::Climbs),
        _ if segment.iter().any(|&byte| matches!(byte, 0..=0x1f | 0x7f | b'\\' | b'/')) => {
            Err(TargetError::Forbidden)
        }
        _ => Ok(()),
    }
}

/// Encodes a path for a Location field or a link: everything but unreserved characters and slashes becomes an escape
/// (RFC 3986 §2.3). `Target::parse` of a slash and the result gives the path back.
pub fn encode(path: &[u8]) -> impl Iterator<Item = u8> + '_ {
    path.iter().flat_map(|&byte| {
        let upper = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' + (nibble - 10) };
        let plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        let (bytes, count) =
            if plain { ([byte, 0, 0], 1) } else { ([b'%', upper(byte >> 4), upper(byte & 15)], 3) };
        bytes.into_iter().take(count)
    })
}

/// The value of the first parameter of this name in a query of `name=value` pairs, not decoded.
#[must_use]
pub fn query_value<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.split(|&byte| byte == b'&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests;
