//! HTTP/1.1 as a server of files needs it: requests in, response heads out, and the rules between them.
//!
//! ```text
//!   bytes ──▶ request ──▶ target ────▶ a path below the root     (RFC 9112 §3, RFC 3986)
//!                │          signature ▶ may this be had at all?   (ours, HMAC-SHA-256)
//!                ├────────▶ conditions ▶ 304, 412 or go on        (RFC 9110 §13)
//!                ├────────▶ coding ───▶ which coded form         (RFC 9110 §12.5.3)
//!                └────────▶ range ────▶ which bytes, or 416       (RFC 9110 §14)
//!                                          │
//!   bytes ◀── response (status, date, etag, mime, CORS) ◀┘  then  log: one line for the record
//! ```
//!
//! Nothing here reads a socket, a file, a clock or a random number: the present is a parameter, in whole seconds since
//! the Unix epoch, and output goes into a buffer of the caller's. Only percent-decoding and keys allocate.
//!
//! Deliberately absent: request bodies (a request that brings one is refused and its connection closed), trailers,
//! coding and decoding of content, HTTP/2.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod coding;
pub mod conditions;
pub mod date;
pub mod etag;
pub mod log;
pub mod mime;
pub mod range;
pub mod request;
pub mod response;
pub mod signature;
pub mod status;
pub mod target;

pub use request::{Glance, Limits, Method, Parse, Refusal, Request, Version};
pub use status::Status;
pub use target::Target;

/// Reads a run of ASCII digits as a number; a number too large for 64 bits reads as the largest.
///
/// Nothing for an empty run, or one with any other byte in it: no sign, no space.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, &byte| {
        byte.is_ascii_digit().then(|| value.saturating_mul(10).saturating_add(u64::from(byte - b'0')))
    })
}

/// A byte as two hexadecimal digits.
fn hex_pair(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]
}

/// `value` in decimal, in the last bytes of `room`.
fn decimal(mut value: u64, room: &mut [u8; 20]) -> &str {
    let mut from = room.len();
    loop {
        from -= 1;
        // A digit: no information is lost.
        room[from] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 || from == 0 {
            return core::str::from_utf8(&room[from..]).unwrap_or_default();
        }
    }
}

/// Takes optional white space (RFC 9110 §5.6.3: spaces and tabs) off both ends.
fn trim_ows(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}
