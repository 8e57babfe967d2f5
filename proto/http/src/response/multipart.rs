//! multipart/byteranges (RFC 9110 §14.6): several parts of one representation in one response.
//!
//! ```text
//!   CRLF --BOUNDARY CRLF  Content-Type: … CRLF  Content-Range: bytes 0-0/10 CRLF CRLF  ▒ the part ▒
//!   CRLF --BOUNDARY CRLF  …                                                            ▒ the part ▒
//!   CRLF --BOUNDARY-- CRLF
//! ```
//!
//! The first delimiter's CRLF is an empty preamble, which RFC 2046 §5.1.1 has; so all part heads look alike.

use super::{ContentRange, EmitError, Lines};
use crate::hex_pair;
use crate::range::ByteRange;

/// How the parts of one response are set apart.
#[derive(Clone, Copy, Debug)]
pub struct Multipart<'a> {
    /// Number in the boundary. The parts say their own length, so nobody needs to search for the boundary, but it should
    /// be hard to guess for whoever writes the files.
    pub boundary: u64,
    /// The media type of the representation.
    pub content_type: &'a str,
    /// The length of the representation in bytes.
    pub len: u64,
}

impl Multipart<'_> {
    /// `CRLF -- boundary`, the boundary being sixteen hexadecimal digits.
    fn delimiter(&self) -> [u8; 20] {
        let mut text = *b"\r\n--0123456789abcdef";
        for (place, byte) in text[4..].chunks_exact_mut(2).zip(self.boundary.to_be_bytes()) {
            place.copy_from_slice(&hex_pair(byte));
        }
        text
    }

    /// The longest media type of a multipart response, and the longest part head but for the media type in it.
    pub const HEAD_BYTES_MAX: usize = 160;

    /// Writes the value of the response's Content-Type to the front of `out`; its length in bytes.
    ///
    /// # Errors
    /// It does not fit.
    pub fn emit_content_type(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let mut lines = Lines::new(out);
        lines.put(b"multipart/byteranges; boundary=")?;
        lines.put(&self.delimiter()[4..])?;
        Ok(lines.len)
    }

    /// Writes what stands before the part `range` to the front of `out`; its length in bytes.
    ///
    /// # Errors
    /// It does not fit, or the media type holds a control character.
    pub fn emit_part_head(&self, range: ByteRange, out: &mut [u8]) -> Result<usize, EmitError> {
        let mut lines = Lines::new(out);
        lines.put(&self.delimiter())?;
        lines.put(b"\r\n")?;
        lines.field("Content-Type", self.content_type)?;
        lines.content_range(ContentRange::Part { range, len: self.len })?;
        lines.put(b"\r\n")?;
        Ok(lines.len)
    }

    /// Writes what stands behind the last part to the front of `out`; its length in bytes.
    ///
    /// # Errors
    /// It does not fit.
    pub fn emit_end(&self, out: &mut [u8]) -> Result<usize, EmitError> {
        let mut lines = Lines::new(out);
        lines.put(&self.delimiter())?;
        lines.put(b"--\r\n")?;
        Ok(lines.len)
    }

    /// The Content-Length of a response with these parts.
    ///
    /// # Errors
    /// As the other functions.
    pub fn content_length(&self, ranges: &[ByteRange]) -> Result<u64, EmitError> {
        let mut scratch = [0; 2 * Self::HEAD_BYTES_MAX];
        let mut total = self.emit_end(&mut scratch)? as u64;
        for range in ranges {
            let head = self.emit_part_head(*range, &mut scratch)? as u64;
            // The ranges lie inside one representation and do not overlap, but nothing here depends on it.
            total = total.saturating_add(head).saturating_add(range.bytes());
        }
        Ok(total)
    }
}
