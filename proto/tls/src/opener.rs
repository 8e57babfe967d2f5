//! The receive side: bytes in any pieces, records opened, messages out.
//!
//! ```text
//!   TCP bytes ──► gather ──────────► scratch ──► open in place ──► Message, borrowed from scratch
//!                   │  whole records go straight through          (or nothing: empty, padding, warning)
//!                   ▼
//!                 partial: the front of a record, at most 16,645 bytes, freed when the record is whole
//! ```
//!
//! The scratch is the worker's, so a connection between two records holds no buffer.
//!
//! # What a peer may cost us
//!
//! | it sends | it gets |
//! |---|---|
//! | a record longer than allowed | `record_overflow`, before one byte of it is kept |
//! | the front of a record and then nothing | what it sent is kept, no more |
//! | records without content | `unexpected_message` at the 33rd in a row |
//! | KeyUpdates | as many as its data records, and 32 on account; then `unexpected_message` |
//! | warnings | `unexpected_message` at the fifth |
//! | handshake messages | TLS 1.2: one `no_renegotiation`, then `unexpected_message`; TLS 1.3: `unexpected_message` |

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::aead::{Aead, NONCE_BYTES, TAG_BYTES};
use crate::alert::{Alert, AlertDescription, AlertLevel};
use crate::cache::ExpandedKeys;
use crate::keys::TrafficKeys;
use crate::record::{self, CIPHERTEXT_BYTES_MAX, ContentType, PLAINTEXT_BYTES_MAX, RECORD_HEAD_BYTES};
use crate::sealer::KeyUpdateRequest;
use crate::suite::{Suite, Version};

const EMPTY_RECORDS_MAX: u8 = 32;
const KEY_UPDATES_ON_ACCOUNT: u8 = 32;
const WARNINGS_MAX: u8 = 4;
/// The longest NewSessionTicket that a client of ours takes; it is handed out from the scratch.
const HANDSHAKE_MESSAGE_BYTES_MAX: usize = PLAINTEXT_BYTES_MAX;
const HANDSHAKE_HEAD_BYTES: usize = 4;
const SCRATCH_BYTES: usize = RECORD_HEAD_BYTES + CIPHERTEXT_BYTES_MAX;

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

/// Which end we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We serve: after the handshake a client may send data, KeyUpdates and alerts.
    Server,
    /// We ask: a server may also send tickets.
    Client,
}

/// What the peer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Application data, never empty.
    Data(&'a [u8]),
    /// The peer's keys have changed, and ours with them on this side. When it is
    /// [`Requested`](KeyUpdateRequest::Requested), tell the [`Sealer`](crate::Sealer).
    KeyUpdate(KeyUpdateRequest),
    /// TLS 1.2: the peer wanted to renegotiate. Answer with a `no_renegotiation` warning and go on.
    RenegotiationRefused,
    /// To a client: the body of a NewSessionTicket.
    NewSessionTicket(&'a [u8]),
    /// The peer will send no more. Whatever follows is ignored.
    CloseNotify,
}

/// A worker's buffer in which records are opened: 16,645 bytes.
pub struct Scratch(Box<[u8]>);

impl Scratch {
    /// The buffer.
    #[must_use]
    pub fn new() -> Self {
        Self(vec![0; SCRATCH_BYTES].into_boxed_slice())
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Holds someone's plaintext.
        write!(f, "Scratch({} bytes)", self.0.len())
    }
}

/// The receive side of an established connection.
#[derive(Debug)]
pub struct Opener {
    keys: TrafficKeys,
    number: u64,
    /// The front of a record, head included; no heap when empty.
    partial: Vec<u8>,
    /// Handshake messages not yet whole or not yet handed out; no heap when empty.
    handshake: Vec<u8>,
    role: Role,
    state: State,
    key_updates_left: u8,
    empty_records: u8,
    warnings: u8,
    renegotiations: u8,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Open,
    /// After `close_notify`.
    Closed,
    /// After an error, which is said again.
    Failed(OpenError),
}

/// A [`Message`] before it borrows: ranges of the scratch.
enum Event {
    Data(Range<usize>),
    KeyUpdate(KeyUpdateRequest),
    RenegotiationRefused,
    NewSessionTicket(Range<usize>),
    CloseNotify,
}

impl Opener {
    /// The receive side under these keys, of which the handshake has used the first `number` records.
    #[must_use]
    pub const fn new(role: Role, keys: TrafficKeys, number: u64) -> Self {
        Self {
            keys,
            number,
            partial: Vec::new(),
            handshake: Vec::new(),
            role,
            state: State::Open,
            key_updates_left: KEY_UPDATES_ON_ACCOUNT,
            empty_records: 0,
            warnings: 0,
            renegotiations: 0,
        }
    }

    /// Takes from the front of `input`, which continues the peer's stream, until there is a message or no more
    /// input. Call it until it returns `None`; `input` is then empty.
    ///
    /// # Errors
    /// [`OpenError`], whose [`alert`](OpenError::alert) is to be sent before the connection ends. Every later call
    /// says the same.
    pub fn poll<'s, A: Aead>(
        &mut self,
        cache: &mut ExpandedKeys<A>,
        scratch: &'s mut Scratch,
        input: &mut &[u8],
    ) -> Result<Option<Message<'s>>, OpenError> {
        let event = match self.state {
            State::Closed => {
                *input = &[];
                return Ok(None);
            }
            State::Failed(error) => return Err(error),
            State::Open => self.next_event(cache, scratch, input),
        };
        let event = event.inspect_err(|&error| self.fail(error))?;
        let scratch = &*scratch.0;
        Ok(event.map(|event| match event {
            Event::Data(range) => Message::Data(&scratch[range]),
            Event::KeyUpdate(request) => Message::KeyUpdate(request),
            Event::RenegotiationRefused => Message::RenegotiationRefused,
            Event::NewSessionTicket(range) => Message::NewSessionTicket(&scratch[range]),
            Event::CloseNotify => Message::CloseNotify,
        }))
    }

    /// Takes the number of a record that nobody looks at: its bytes were passed over unseen, and what it said is lost.
    /// For a client that counts what it has not asked to understand; only between two records.
    pub fn pass_over(&mut self) {
        debug_assert!(self.partial.is_empty(), "a record is half gathered");
        self.number = self.number.wrapping_add(1);
    }

    /// Whether the peer said `close_notify`. A stream that ends without it was cut, perhaps by someone else.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether the stream stands between two records.
    #[must_use]
    pub const fn at_record_boundary(&self) -> bool {
        self.partial.is_empty()
    }

    /// The number of the peer's next record under its current key.
    #[must_use]
    pub const fn next_number(&self) -> u64 {
        self.number
    }

    /// The protocol version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.keys.version()
    }

    /// The cipher.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.keys.suite()
    }

    /// What it holds outside itself, in bytes: nothing between two messages.
    #[must_use]
    pub const fn heap_bytes(&self) -> usize {
        self.partial.capacity() + self.handshake.capacity()
    }

    /// Drops this connection's expanded key from the cache: the connection is over.
    pub fn forget<A: Aead>(&self, cache: &mut ExpandedKeys<A>) {
        cache.forget(&self.keys);
    }

    fn fail(&mut self, error: OpenError) {
        self.state = State::Failed(error);
        self.partial = Vec::new();
        self.handshake = Vec::new();
    }

    fn next_event<A: Aead>(
        &mut self,
        cache: &mut ExpandedKeys<A>,
        scratch: &mut Scratch,
        input: &mut &[u8],
    ) -> Result<Option<Event>, OpenError> {
        loop {
            if let Some(event) = self.next_handshake_message(cache, scratch)? {
                return Ok(Some(event));
            }
            let Some(bytes) = self.gather(scratch, input)? else { return Ok(None) };
            let (content, range) = self.open(cache, &mut scratch.0[..bytes])?;
            if let Some(event) = self.on_record(content, range, &scratch.0)? {
                return Ok(Some(event));
            }
        }
    }

    /// Brings one whole record into the scratch and returns its size, or keeps what there is of it.
    fn gather(&mut self, scratch: &mut Scratch, input: &mut &[u8]) -> Result<Option<usize>, OpenError> {
        if self.partial.is_empty()
            && let Some(bytes) = self.judge_head(input)?
            && let Some((whole, rest)) = input.split_at_checked(bytes)
        {
            scratch.0[..bytes].copy_from_slice(whole);
            *input = rest;
            return Ok(Some(bytes));
        }
        self.keep_until(RECORD_HEAD_BYTES, input);
        let Some(bytes) = self.judge_head(&self.partial)? else { return Ok(None) };
        self.keep_until(bytes, input);
        if self.partial.len() < bytes {
            return Ok(None);
        }
        scratch.0[..bytes].copy_from_slice(&self.partial);
        self.partial = Vec::new();
        Ok(Some(bytes))
    }

    fn keep_until(&mut self, bytes: usize, input: &mut &[u8]) {
        let wanted = bytes.saturating_sub(self.partial.len());
        let (taken, rest) = input.split_at(wanted.min(input.len()));
        let needed = self.partial.len() + taken.len();
        if needed > self.partial.capacity() {
            // Doubling keeps one-byte segments linear; the record's size keeps doubling within bounds.
            let capacity = needed.max(2 * self.partial.capacity()).min(bytes);
            self.partial.reserve_exact(capacity - self.partial.len());
        }
        self.partial.extend_from_slice(taken);
        *input = rest;
    }

    /// The size of the record that begins with these bytes, once the head is there and lawful.
    fn judge_head(&self, bytes: &[u8]) -> Result<Option<usize>, OpenError> {
        let Some(head) = bytes.first_chunk::<RECORD_HEAD_BYTES>() else { return Ok(None) };
        let layout = self.keys.layout();
        let length_min = layout.overhead_bytes() - RECORD_HEAD_BYTES;
        let (lawful_type, length_max) = match self.version() {
            // RFC 8446 §5: after the handshake every record looks like application data, and the version in the
            // head is to be ignored (but it is authenticated).
            Version::Tls13 => (head[0] == ContentType::ApplicationData.code(), CIPHERTEXT_BYTES_MAX),
            Version::Tls12 => (ContentType::from_code(head[0]).is_some(), PLAINTEXT_BYTES_MAX + length_min),
        };
        if !lawful_type {
            return Err(OpenError::UnexpectedRecord(head[0]));
        }
        if self.version() == Version::Tls12 && !record::names_tls12(head) {
            return Err(OpenError::WrongVersion);
        }
        let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
        if length > length_max {
            return Err(OpenError::RecordOverflow);
        }
        if length < length_min {
            return Err(OpenError::BadRecord);
        }
        Ok(Some(RECORD_HEAD_BYTES + length))
    }

    /// Opens one whole record in place; returns what it carries and where that now lies.
    fn open<A: Aead>(
        &mut self,
        cache: &mut ExpandedKeys<A>,
        whole: &mut [u8],
    ) -> Result<(ContentType, Range<usize>), OpenError> {
        let layout = self.keys.layout();
        let (head, body) = whole.split_at_mut(layout.head_bytes);
        let number = self.number;
        let (content, bytes) = match self.version() {
            Version::Tls13 => {
                let nonce = record::nonce(self.keys.iv(), number);
                let opened = A::open(cache.expanded(&mut self.keys), &nonce, head, body);
                strip_padding(&body[..opened.map_err(|_| OpenError::BadRecord)?])?
            }
            Version::Tls12 => {
                let content = ContentType::from_code(head[0]).ok_or(OpenError::UnexpectedRecord(head[0]))?;
                let explicit = &head[RECORD_HEAD_BYTES..];
                let nonce = if explicit.is_empty() {
                    record::nonce(self.keys.iv(), number)
                } else {
                    let mut nonce = *self.keys.iv();
                    nonce[NONCE_BYTES - explicit.len()..].copy_from_slice(explicit);
                    nonce
                };
                let aad = record::aad12(number, content.code(), body.len() - TAG_BYTES);
                let opened = A::open(cache.expanded(&mut self.keys), &nonce, &aad, body);
                (content, opened.map_err(|_| OpenError::BadRecord)?)
            }
        };
        if bytes > PLAINTEXT_BYTES_MAX {
            return Err(OpenError::RecordOverflow);
        }
        // 2⁶⁴ records do not come.
        self.number = number.wrapping_add(1);
        Ok((content, layout.head_bytes..layout.head_bytes + bytes))
    }

    fn on_record(
        &mut self,
        content: ContentType,
        range: Range<usize>,
        scratch: &[u8],
    ) -> Result<Option<Event>, OpenError> {
        // RFC 8446 §5.1: a handshake message is not interleaved with anything.
        if content != ContentType::Handshake && !self.handshake.is_empty() {
            return Err(OpenError::InterleavedHandshake);
        }
        match content {
            ContentType::ApplicationData if range.is_empty() => {
                self.empty_records += 1;
                if self.empty_records > EMPTY_RECORDS_MAX {
                    Err(OpenError::TooManyEmptyRecords)
                } else {
                    Ok(None)
                }
            }
            ContentType::ApplicationData => {
                self.empty_records = 0;
                self.key_updates_left = (self.key_updates_left + 1).min(KEY_UPDATES_ON_ACCOUNT);
                Ok(Some(Event::Data(range)))
            }
            ContentType::Alert => self.on_alert(&scratch[range]),
            ContentType::Handshake => self.on_handshake(&scratch[range]),
        }
    }

    fn on_alert(&mut self, content: &[u8]) -> Result<Option<Event>, OpenError> {
        let alert = Alert::parse(content).ok_or(OpenError::MalformedAlert)?;
        if alert.description == AlertDescription::CLOSE_NOTIFY {
            self.state = State::Closed;
            self.partial = Vec::new();
            return Ok(Some(Event::CloseNotify));
        }
        // RFC 8446 §6: every alert but these two is an error alert, whatever its level says.
        let harmless = match self.version() {
            Version::Tls13 => alert.description == AlertDescription::USER_CANCELED,
            Version::Tls12 => alert.level == AlertLevel::Warning,
        };
        if !harmless {
            return Err(OpenError::AlertReceived(alert.description));
        }
        self.warnings += 1;
        if self.warnings > WARNINGS_MAX { Err(OpenError::TooManyWarnings) } else { Ok(None) }
    }

    fn on_handshake(&mut self, content: &[u8]) -> Result<Option<Event>, OpenError> {
        if self.version() == Version::Tls12 {
            // Nothing but a wish to renegotiate. RFC 5746 §5 lets us refuse with a warning; a second wish, or one
            // too long for a record, is a peer that does not listen.
            self.renegotiations += 1;
            return if self.renegotiations > 1 {
                Err(OpenError::Renegotiation)
            } else {
                Ok(Some(Event::RenegotiationRefused))
            };
        }
        if content.is_empty() {
            return Err(OpenError::UnexpectedRecord(ContentType::Handshake.code()));
        }
        self.handshake.extend_from_slice(content);
        Ok(None)
    }

    /// TLS 1.3: takes one whole message out of what the handshake records carried.
    fn next_handshake_message<A: Aead>(
        &mut self,
        cache: &mut ExpandedKeys<A>,
        scratch: &mut Scratch,
    ) -> Result<Option<Event>, OpenError> {
        let Some(&kind) = self.handshake.first() else { return Ok(None) };
        // Judged by its first byte, so that nothing is collected that would be refused.
        match (self.role, kind) {
            (_, KEY_UPDATE) | (Role::Client, NEW_SESSION_TICKET) => {}
            (_, other) => return Err(OpenError::UnexpectedHandshake(other)),
        }
        let &[_, a, b, c, ref body @ ..] = self.handshake.as_slice() else { return Ok(None) };
        let length = (usize::from(a) << 16) | (usize::from(b) << 8) | usize::from(c);
        if kind == KEY_UPDATE && length != 1 {
            return Err(OpenError::MalformedHandshake);
        }
        if length > HANDSHAKE_MESSAGE_BYTES_MAX {
            return Err(OpenError::MalformedHandshake);
        }
        let Some((body, rest)) = body.split_at_checked(length) else { return Ok(None) };

        let event = match (kind, body) {
            (KEY_UPDATE, &[request]) => {
                let request = match request {
                    0 => KeyUpdateRequest::NotRequested,
                    1 => KeyUpdateRequest::Requested,
                    _ => return Err(OpenError::IllegalKeyUpdate),
                };
                // RFC 8446 §5.1: a message before a key change ends its record.
                if !rest.is_empty() {
                    return Err(OpenError::InterleavedHandshake);
                }
                Event::KeyUpdate(request)
            }
            (_, body) => {
                scratch.0[..length].copy_from_slice(body);
                Event::NewSessionTicket(0..length)
            }
        };
        self.handshake.drain(..HANDSHAKE_HEAD_BYTES + length);
        if self.handshake.is_empty() {
            self.handshake = Vec::new();
        }
        if let Event::KeyUpdate(_) = event {
            self.update_keys(cache)?;
        }
        Ok(Some(event))
    }

    fn update_keys<A: Aead>(&mut self, cache: &mut ExpandedKeys<A>) -> Result<(), OpenError> {
        self.key_updates_left = self.key_updates_left.checked_sub(1).ok_or(OpenError::TooManyKeyUpdates)?;
        let next = self.keys.next::<A>().ok_or(OpenError::UnexpectedHandshake(KEY_UPDATE))?;
        cache.forget(&self.keys);
        self.keys = next;
        self.number = 0;
        Ok(())
    }
}

/// The content type behind the last byte that is not padding, and the length of what stands before it.
fn strip_padding(inner: &[u8]) -> Result<(ContentType, usize), OpenError> {
    // RFC 8446 §5.4: all of it, padding included, is at most 2¹⁴ + 1 bytes.
    if inner.len() > PLAINTEXT_BYTES_MAX + 1 {
        return Err(OpenError::RecordOverflow);
    }
    let end = inner.iter().rposition(|&byte| byte != 0).ok_or(OpenError::NoContentType)?;
    let content = ContentType::from_code(inner[end]).ok_or(OpenError::UnexpectedRecord(inner[end]))?;
    Ok((content, end))
}

/// How the peer broke the protocol, or said that we did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// The peer ended the connection with this alert.
    AlertReceived(AlertDescription),
    /// A record that does not authenticate, or is too short to.
    BadRecord,
    /// A record longer than a record may be.
    RecordOverflow,
    /// A record of this type does not belong here: ChangeCipherSpec, plaintext, or not TLS at all.
    UnexpectedRecord(u8),
    /// TLS 1.2: a record that names another version.
    WrongVersion,
    /// TLS 1.3: a record of nothing but padding.
    NoContentType,
    /// A handshake message of this type does not belong here.
    UnexpectedHandshake(u8),
    /// A handshake message with an impossible length.
    MalformedHandshake,
    /// A KeyUpdate that asks for neither of the two things it may ask for.
    IllegalKeyUpdate,
    /// Something inside a fragmented handshake message, or behind a KeyUpdate in its record.
    InterleavedHandshake,
    /// An alert that is not two bytes.
    MalformedAlert,
    /// TLS 1.2: it insists on renegotiation.
    Renegotiation,
    /// A flood of records without content.
    TooManyEmptyRecords,
    /// A flood of KeyUpdates.
    TooManyKeyUpdates,
    /// A flood of warnings.
    TooManyWarnings,
}

impl OpenError {
    /// The alert that the peer is owed; none when it sent one itself.
    #[must_use]
    pub const fn alert(self) -> Option<Alert> {
        let description = match self {
            Self::AlertReceived(_) => return None,
            Self::BadRecord => AlertDescription::BAD_RECORD_MAC,
            Self::RecordOverflow => AlertDescription::RECORD_OVERFLOW,
            Self::WrongVersion => AlertDescription::PROTOCOL_VERSION,
            Self::MalformedHandshake | Self::MalformedAlert => AlertDescription::DECODE_ERROR,
            Self::IllegalKeyUpdate => AlertDescription::ILLEGAL_PARAMETER,
            Self::UnexpectedRecord(_)
            | Self::NoContentType
            | Self::UnexpectedHandshake(_)
            | Self::InterleavedHandshake
            | Self::Renegotiation
            | Self::TooManyEmptyRecords
            | Self::TooManyKeyUpdates
            | Self::TooManyWarnings => AlertDescription::UNEXPECTED_MESSAGE,
        };
        Some(Alert::fatal(description))
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlertReceived(description) => write!(f, "the peer ended the connection: {description}"),
            Self::BadRecord => f.write_str("the peer's record does not authenticate"),
            Self::RecordOverflow => f.write_str("the peer's record is longer than a record may be"),
            Self::UnexpectedRecord(code) => {
                write!(f, "the peer sent a record of type {code} where none belongs")
            }
            Self::WrongVersion => f.write_str("the peer's record names another TLS version"),
            Self::NoContentType => f.write_str("the peer's record is all padding"),
            Self::UnexpectedHandshake(code) => {
                write!(f, "the peer sent a handshake message of type {code} where none belongs")
            }
            Self::MalformedHandshake => f.write_str("the peer's handshake message has an impossible length"),
            Self::IllegalKeyUpdate => f.write_str("the peer's KeyUpdate asks for something unknown"),
            Self::InterleavedHandshake => {
                f.write_str("the peer mixed a handshake message with something else")
            }
            Self::MalformedAlert => f.write_str("the peer's alert is not two bytes"),
            Self::Renegotiation => f.write_str("the peer insists on renegotiation"),
            Self::TooManyEmptyRecords => f.write_str("the peer floods us with empty records"),
            Self::TooManyKeyUpdates => f.write_str("the peer floods us with KeyUpdates"),
            Self::TooManyWarnings => f.write_str("the peer floods us with warnings"),
        }
    }
}

impl core::error::Error for OpenError {}

#[cfg(test)]
mod tests;
