//! Where a response begins and ends: RFC 9112 §6, for bytes that come in any pieces and for bytes that nobody sees.
//!
//! ```text
//!   head ──▶ Content-Length ──▶ body, of which [`Reader::skippable`] bytes may be passed over unseen ──▶ done
//!        ├─▶ chunked: size line ─▶ chunk, skippable ─▶ … ─▶ trailer ─▶ done
//!        ├─▶ neither: until the peer closes
//!        └─▶ 1xx: another head follows; 204, 304: done
//! ```

use core::fmt;
use core::mem::MaybeUninit;

/// A head may be this long.
const HEAD_BYTES_MAX: usize = 32 << 10;
const FIELDS_MAX: usize = 96;
/// A chunk's size line, extensions included, and a trailer, in all.
const LINES_BYTES_MAX: usize = 8 << 10;

/// What a response's head says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// Bytes of the body, where the head says so.
    pub body_bytes: Option<u64>,
    /// `Content-Range`: first byte and length of the whole.
    pub range: Option<(u64, Option<u64>)>,
    /// The server closes after this response.
    pub closes: bool,
}

/// A step of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// More bytes are needed.
    More,
    /// The head is whole.
    Head(Head),
    /// Some of the body.
    Body(&'a [u8]),
    /// The response is whole. What is left of the input is not part of it.
    Done,
}

/// Where a response stands.
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// A head, a chunk's size line or a trailer that is not whole.
    line: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Fixed {
        left: u64,
    },
    ChunkSize,
    Chunk {
        left: u64,
    },
    ChunkEnd,
    Trailer,
    UntilClose,
    /// The end is there and has not been told.
    Ending,
    Done,
}

impl Reader {
    /// Before a response.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::Head, line: Vec::new() }
    }

    /// Takes from the front of `input` until there is something to say. Call it until it returns [`Step::More`] or
    /// [`Step::Done`].
    ///
    /// # Errors
    /// [`Malformed`], by the server.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Step<'a>, Malformed> {
        loop {
            match self.state {
                State::Done => return Ok(Step::Done),
                State::Ending => {
                    self.state = State::Done;
                    return Ok(Step::Done);
                }
                _ if input.is_empty() => return Ok(Step::More),
                State::Head => {
                    let whole = if self.line.is_empty() { head_end(input) } else { None };
                    let head = if let Some(end) = whole.filter(|end| *end <= HEAD_BYTES_MAX) {
                        // It came in one piece: nothing is gathered.
                        let (head, rest) = input.split_at(end);
                        *input = rest;
                        self.parse_head(head)?
                    } else {
                        if !self.gather(input, b"\r\n\r\n", HEAD_BYTES_MAX)? {
                            return Ok(Step::More);
                        }
                        let line = core::mem::take(&mut self.line);
                        let head = self.parse_head(&line)?;
                        self.line = line;
                        self.line.clear();
                        head
                    };
                    if head.status >= 200 {
                        return Ok(Step::Head(head));
                    }
                }
                State::Fixed { left } => {
                    let body = take(input, left);
                    self.skip(body.len() as u64);
                    return Ok(Step::Body(body));
                }
                State::Chunk { left } => {
                    let body = take(input, left);
                    self.skip(body.len() as u64);
                    return Ok(Step::Body(body));
                }
                State::UntilClose => return Ok(Step::Body(take(input, u64::MAX))),
                State::ChunkSize => {
                    if !self.gather(input, b"\r\n", LINES_BYTES_MAX)? {
                        return Ok(Step::More);
                    }
                    let left = chunk_size(&self.line).ok_or(Malformed::ChunkSize)?;
                    self.line.clear();
                    self.state = if left == 0 { State::Trailer } else { State::Chunk { left } };
                }
                State::ChunkEnd => {
                    if !self.gather(input, b"\r\n", 2)? {
                        return Ok(Step::More);
                    }
                    self.line.clear();
                    self.state = State::ChunkSize;
                }
                State::Trailer => {
                    if !self.gather(input, b"\r\n", LINES_BYTES_MAX)? {
                        return Ok(Step::More);
                    }
                    let last = self.line == b"\r\n";
                    self.line.clear();
                    if last {
                        self.state = State::Ending;
                    }
                }
            }
        }
    }

    /// Bytes that come next and are body: nobody has to see them.
    #[must_use]
    pub fn skippable(&self) -> u64 {
        match self.state {
            State::Fixed { left } | State::Chunk { left } => left,
            _ => 0,
        }
    }

    /// So many bytes of the body came unseen.
    ///
    /// # Panics
    /// They are more than [`skippable`](Self::skippable): a defect of the caller's.
    pub fn skip(&mut self, bytes: u64) {
        let less = |left: u64| left.checked_sub(bytes).expect("no more is passed over than is body");
        self.state = match self.state {
            State::Fixed { left } if left == bytes => State::Ending,
            State::Fixed { left } => State::Fixed { left: less(left) },
            State::Chunk { left } if left == bytes => State::ChunkEnd,
            State::Chunk { left } => State::Chunk { left: less(left) },
            other => {
                assert_eq!(bytes, 0, "only a body is passed over");
                other
            }
        };
    }

    /// The response is whole, and [`next`](Self::next) will say so, or has.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self.state, State::Ending | State::Done)
    }

    /// Not a byte of the response has come.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.state == State::Head && self.line.is_empty()
    }

    /// The peer closed; whether the response is whole by that.
    #[must_use]
    pub fn on_end(&mut self) -> bool {
        if self.state == State::UntilClose {
            self.state = State::Ending;
        }
        self.is_whole()
    }

    /// Adds to the line until it ends in `end`; whether it does.
    fn gather(&mut self, input: &mut &[u8], end: &[u8], bytes_max: usize) -> Result<bool, Malformed> {
        let from = self.line.len().saturating_sub(end.len() - 1);
        let old = self.line.len();
        let room = bytes_max.saturating_sub(old).min(input.len());
        self.line.extend_from_slice(&input[..room]);
        if let Some(at) = self.line[from..].windows(end.len()).position(|window| window == end) {
            let whole = from + at + end.len();
            self.line.truncate(whole);
            *input = &input[whole - old..];
            return Ok(true);
        }
        *input = &input[room..];
        if self.line.len() >= bytes_max { Err(Malformed::TooLong) } else { Ok(false) }
    }

    fn parse_head(&mut self, bytes: &[u8]) -> Result<Head, Malformed> {
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut response, bytes, &mut fields) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) | Err(_) => return Err(Malformed::Head),
        }
        let status = response.code.ok_or(Malformed::Head)?;
        let mut head = Head { status, body_bytes: None, range: None, closes: response.version == Some(0) };
        let mut chunked = false;
        for field in response.headers.iter() {
            let value = str::from_utf8(field.value).unwrap_or("").trim();
            if field.name.eq_ignore_ascii_case("content-length") {
                let bytes = number(value).ok_or(Malformed::Length)?;
                // RFC 9112 §6.3: lengths that differ are an error nobody can recover from.
                if head.body_bytes.replace(bytes).is_some_and(|other| other != bytes) {
                    return Err(Malformed::Length);
                }
            } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.to_ascii_lowercase().ends_with("chunked");
            } else if field.name.eq_ignore_ascii_case("content-range") {
                head.range = content_range(value);
            } else if field.name.eq_ignore_ascii_case("connection") {
                let lower = value.to_ascii_lowercase();
                head.closes = lower.contains("close") || head.closes && !lower.contains("keep-alive");
            }
        }
        self.state = match (status, head.body_bytes) {
            (..200, _) => State::Head,
            (204 | 304, _) => State::Ending,
            _ if chunked => State::ChunkSize,
            (_, Some(0)) => State::Ending,
            (_, Some(left)) => State::Fixed { left },
            (_, None) => State::UntilClose,
        };
        if chunked {
            head.body_bytes = None;
        } else if matches!(status, 204 | 304) {
            head.body_bytes = Some(0);
        }
        head.closes |= self.state == State::UntilClose;
        Ok(head)
    }
}

/// What is wrong with a response, by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The head is not a head.
    Head,
    /// A head, size line or trailer without end.
    TooLong,
    /// Content-Length is no number, or two of them.
    Length,
    /// A chunk's size is no number.
    ChunkSize,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Head => "the response's head is none: the server broke the framing, or pads its records",
            Self::TooLong => "the response's head does not end within 32 KiB",
            Self::Length => "the response's Content-Length is no number, or says two",
            Self::ChunkSize => "a chunk's size is no number",
        })
    }
}

impl core::error::Error for Malformed {}

fn take<'a>(input: &mut &'a [u8], bytes_max: u64) -> &'a [u8] {
    let count = usize::try_from(bytes_max).unwrap_or(usize::MAX).min(input.len());
    let (taken, rest) = input.split_at(count);
    *input = rest;
    taken
}

/// Digits only: a sign or a space is not a number on the wire.
fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// Where the first empty line ends, if there is one: looks at every fourth byte until one could belong to it.
fn head_end(bytes: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    let mut last = END.len() - 1;
    while let Some(byte) = bytes.get(last) {
        last += match byte {
            b'\n' if bytes[..=last].ends_with(END) => return Some(last + 1),
            b'\n' => 2,
            b'\r' => 1,
            _ => END.len(),
        };
    }
    None
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let text = str::from_utf8(line).ok()?;
    let digits = text.split([';', '\r']).next()?.trim();
    // Fifteen digits are a petabyte.
    (!digits.is_empty() && digits.len() <= 15 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

/// `bytes 0-99/1000`, `bytes 0-99/*`.
fn content_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, whole) = value.strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, _last) = range.split_once('-')?;
    Some((number(first)?, number(whole.trim())))
}

#[cfg(test)]
mod tests;
