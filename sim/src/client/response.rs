//! A reader of responses by a second hand: heads without tolerance, bodies compared as they come.

use core::fmt;

use super::script::{Expect, Request};
use crate::content::Difference;

/// A head may be this long.
const HEAD_BYTES_MAX: usize = 16_384;

/// What is wrong with a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The head is not a head.
    Head(String),
    /// Another status than must come.
    Status {
        /// What must come,
        expected: u16,
        /// and what came,
        found: u16,
        /// to this request.
        target: String,
    },
    /// A body of another length.
    Length {
        /// What must come,
        expected: u64,
        /// and what was announced.
        found: u64,
    },
    /// A byte of the body.
    Body(Difference),
    /// Bytes that nobody asked for.
    Unasked(usize),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(why) => write!(f, "a bad response head: {why}"),
            Self::Status { expected, found, target } => {
                write!(f, "status {found} instead of {expected} for {target}")
            }
            Self::Length { expected, found } => write!(f, "a body of {found} bytes instead of {expected}"),
            Self::Body(difference) => difference.fmt(f),
            Self::Unasked(bytes) => write!(f, "{bytes} bytes that nobody asked for"),
        }
    }
}

/// Statuses with which a server may put off any request.
const PUT_OFF: [u16; 2] = [408, 503];

/// Where we are in a response.
#[derive(Debug, Default)]
pub struct Reader {
    head: Vec<u8>,
    body: Option<Body>,
    /// A response said that the connection closes.
    pub closes: bool,
    /// The validator of the last response.
    pub etag: Option<String>,
}

#[derive(Debug)]
struct Body {
    left: u64,
    offset: u64,
    compared: bool,
}

/// What a step of reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// More bytes are needed.
    More,
    /// The response is complete.
    Complete,
    /// The server puts us off with this status.
    PutOff(u16),
}

impl Reader {
    /// Reads from the front of `bytes` what belongs to the response to `request`; leaves the rest. Adds to `body_bytes` what it
    /// compared.
    ///
    /// # Errors
    /// What is wrong with the response.
    pub fn read(
        &mut self,
        request: &Request,
        bytes: &mut &[u8],
        body_bytes: &mut u64,
    ) -> Result<Step, Wrong> {
        if self.body.is_none() {
            let Some(head) = self.take_head(bytes)? else { return Ok(Step::More) };
            match self.on_head(request, &head)? {
                Step::Complete => {}
                other => return Ok(other),
            }
        }
        let body = self.body.as_mut().expect("just made");
        let count = usize::try_from(body.left).unwrap_or(usize::MAX).min(bytes.len());
        let (part, rest) = bytes.split_at(count);
        *bytes = rest;
        if body.compared
            && let Expect::Object { content, .. } = request.expect
        {
            content.verify_any(request.later_versions, body.offset, part).map_err(Wrong::Body)?;
        }
        body.offset += count as u64;
        body.left -= count as u64;
        *body_bytes += count as u64;
        if body.left > 0 {
            return Ok(Step::More);
        }
        self.body = None;
        Ok(Step::Complete)
    }

    /// In the middle of a response, or of its head.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.body.is_some() || !self.head.is_empty()
    }

    fn take_head(&mut self, bytes: &mut &[u8]) -> Result<Option<String>, Wrong> {
        // A boundary may cut the empty line: look at the last three bytes again.
        let from = self.head.len().saturating_sub(3);
        let before = self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(HEAD_BYTES_MAX)]);
        let Some(end) = memchr::memmem::find(&self.head[from..], b"\r\n\r\n") else {
            if self.head.len() > HEAD_BYTES_MAX {
                return Err(Wrong::Head("too long".to_owned()));
            }
            *bytes = &[];
            return Ok(None);
        };
        let end = from + end;
        *bytes = &bytes[end + 4 - before..];
        let mut head = core::mem::take(&mut self.head);
        head.truncate(end);
        String::from_utf8(head).map(Some).map_err(|_| Wrong::Head("not UTF-8".to_owned()))
    }

    fn on_head(&mut self, request: &Request, head: &str) -> Result<Step, Wrong> {
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status: u16 = status_line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| Wrong::Head(status_line.to_owned()))?;
        let mut length = None;
        let mut dated = false;
        self.etag = None;
        for line in lines {
            let (name, value) = line.split_once(':').ok_or_else(|| Wrong::Head(line.to_owned()))?;
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" if length.is_some() => return Err(Wrong::Head("two lengths".to_owned())),
                "content-length" => {
                    length = Some(value.parse().map_err(|_| Wrong::Head(line.to_owned()))?);
                }
                "transfer-encoding" => return Err(Wrong::Head(line.to_owned())),
                "connection" => self.closes |= value.eq_ignore_ascii_case("close"),
                "etag" => self.etag = Some(value.to_owned()),
                "date" => dated = true,
                _ => {}
            }
        }
        if !dated && status < 500 {
            // RFC 9110 §6.6.1: an origin server with a clock must send it.
            return Err(Wrong::Head("no Date".to_owned()));
        }
        let (expected, wanted) = match &request.expect {
            Expect::Object { status, content: _, range } => (*status, Some(range)),
            Expect::Status(status) => (*status, None),
        };
        if status != expected {
            if PUT_OFF.contains(&status) {
                return Ok(Step::PutOff(status));
            }
            return Err(Wrong::Status { expected, found: status, target: request.target.clone() });
        }
        let bodiless = request.method == "HEAD" || matches!(status, 204 | 304);
        if let Some(range) = wanted {
            let expected = range.end - range.start;
            let found = length.ok_or_else(|| Wrong::Head("no length".to_owned()))?;
            if found != expected {
                return Err(Wrong::Length { expected, found });
            }
        } else if !bodiless && length.is_none() {
            return Err(Wrong::Head("no length".to_owned()));
        }
        self.body = Some(Body {
            left: if bodiless { 0 } else { length.unwrap_or(0) },
            offset: wanted.map_or(0, |range| range.start),
            compared: wanted.is_some(),
        });
        Ok(Step::Complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;

    fn response(body: &[u8], length: usize, status: &str) -> Vec<u8> {
        let head = format!("HTTP/1.1 {status}\r\nDate: x\r\ncontent-length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    }

    fn object() -> Vec<u8> {
        let mut bytes = vec![0; 300];
        Content::of(1).fill(0, &mut bytes);
        bytes
    }

    /// Reads `bytes` in pieces of `piece`; the steps that were not `More`, and how much was left.
    fn read(bytes: &[u8], piece: usize, request: &Request) -> Result<(Vec<Step>, u64), Wrong> {
        let mut reader = Reader::default();
        let mut steps = Vec::new();
        let mut body_bytes = 0;
        for mut piece in bytes.chunks(piece) {
            while !piece.is_empty() {
                let step = reader.read(request, &mut piece, &mut body_bytes)?;
                if step != Step::More {
                    steps.push(step);
                }
            }
        }
        Ok((steps, body_bytes))
    }

    #[test]
    fn responses_are_read_in_any_pieces() {
        let request = Request::get(1, 300);
        let two = response(&object(), 300, "200 OK").repeat(2);
        for piece in 1..two.len() {
            assert_eq!(read(&two, piece, &request), Ok((vec![Step::Complete; 2], 600)), "{piece}");
        }
    }

    #[test]
    fn a_wrong_byte_a_wrong_length_and_a_wrong_status_are_told() {
        let request = Request::get(1, 300);
        let mut wrong = object();
        wrong[299] ^= 1;
        assert!(matches!(read(&response(&wrong, 300, "200 OK"), 50, &request), Err(Wrong::Body(_))));
        assert!(matches!(
            read(&response(&object(), 299, "200 OK"), 50, &request),
            Err(Wrong::Length { expected: 300, found: 299 })
        ));
        assert!(matches!(
            read(&response(&object(), 300, "206 Partial Content"), 50, &request),
            Err(Wrong::Status { expected: 200, found: 206, .. })
        ));
    }

    #[test]
    fn a_head_has_no_body_and_a_busy_server_puts_us_off() {
        let head = response(&[], 300, "200 OK");
        assert_eq!(read(&head, 7, &Request::head(1, 300)), Ok((vec![Step::Complete], 0)));
        let busy = response(&[], 0, "503 Service Unavailable");
        assert_eq!(read(&busy, 7, &Request::get(1, 300)), Ok((vec![Step::PutOff(503)], 0)));
    }

    #[test]
    fn a_line_without_a_colon_is_no_head() {
        let bytes = b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n";
        assert!(matches!(read(bytes, 100, &Request::get(1, 300)), Err(Wrong::Head(_))));
    }
}
