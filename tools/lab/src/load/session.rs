//! One connection above TCP: TLS or not, requests out, responses in. Sans-IO: it says what it wants to be given next.
//!
//! ```text
//!            want()                                     on_bytes, on_discarded
//!   plain    a little for the head, then Discard ─────▶ Reader
//!   TLS      5 bytes of a record's head ──▶ is all of the record body that nobody asked to see?
//!                 yes: Discard its body ──────────────▶ Reader::skip(plaintext)
//!                 no:  Bytes, opened ─────────────────▶ Reader
//! ```
//!
//! What [`Want::Discard`] names is thrown away where it lies: by the kernel (`MSG_TRUNC`), or by our own TCP. In TLS the
//! first record of a response is opened, for the length is in it; small ones are, for they may be a KeyUpdate or an
//! alert. Of a response that is to be seen ([`Heed::See`]) everything is opened.

use aead::AwsLc;
use handshake::{ClientHandshake, ClientSettings, Established, Progress, Tickets13};
use tls::{
    BeforeData, CIPHERTEXT_BYTES_MAX, ContentType, ExpandedKeys, KeyUpdateRequest, Message, Opener,
    PLAINTEXT_BYTES_MAX, RECORD_HEAD_BYTES, Scratch, SealError, Sealer, peek_record_bytes,
};

use super::fault::Fault;
use super::framing::{Head, Reader, Step};
use super::records::RecordCounter;

/// Of a plain response this much is taken at a time until its head is whole.
const HEAD_BYTES: usize = 1 << 10;
/// Of a response over TLS this much is taken at first: a full record.
const FIRST_BYTES: usize = RECORD_HEAD_BYTES + PLAINTEXT_BYTES_MAX + 17;
/// What is to be seen is taken in pieces of this size.
const SEEN_BYTES: usize = 64 << 10;
/// Records of at most this size are opened whatever they hold: a KeyUpdate has 22 bytes, a ticket some hundred.
const SMALL_RECORD_BYTES: u64 = 1 << 10;

/// A worker's cipher state, for all its connections.
#[derive(Debug)]
pub struct Cryptography {
    keys: ExpandedKeys<AwsLc>,
    scratch: Scratch,
}

impl Cryptography {
    /// For so many connections.
    #[must_use]
    pub fn new(connections: usize) -> Self {
        Self { keys: ExpandedKeys::new(2 * connections), scratch: Scratch::new() }
    }
}

/// What to bring next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// At most so many bytes.
    Bytes(usize),
    /// At most so many bytes, unseen.
    Discard(u64),
}

/// Whether a response is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heed {
    /// Its head, and how long it is.
    Count,
    /// Every byte.
    See,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The TLS handshake is over; whether a ticket spared its larger part.
    Established {
        /// By a ticket.
        resumed: bool,
    },
    /// The response's first byte is there.
    FirstByte,
    /// Its head is whole.
    Head(Head),
    /// Some of its body, seen.
    Body(&'a [u8]),
    /// Some of its body, unseen.
    Skipped(u64),
    /// It is whole.
    Done,
}

/// A connection above TCP.
#[derive(Debug)]
pub struct Session {
    layer: Layer,
    incoming: Incoming,
    output: Vec<u8>,
}

#[derive(Debug)]
enum Layer {
    Plain,
    Shaking(Box<ClientHandshake>),
    Secure(Box<Secure>),
}

/// The response under way.
#[derive(Debug)]
struct Incoming {
    reader: Reader,
    heed: Heed,
    /// A request is out.
    awaiting: bool,
}

#[derive(Debug)]
struct Secure {
    sealer: Sealer,
    opener: Opener,
    tickets: Tickets13,
    counter: RecordCounter,
    /// The current record's body is passed over.
    passing: bool,
    /// Bytes go to the opener as they come; left only between two records.
    streaming: bool,
}

impl Session {
    /// Without TLS.
    #[must_use]
    pub fn plain() -> Self {
        Self::of(Layer::Plain, Vec::new())
    }

    /// With TLS, to a server of this name; its ClientHello is the first output.
    ///
    /// # Errors
    /// The name is none.
    pub fn secure(settings: &ClientSettings, server_name: &str) -> Result<Self, Fault> {
        let mut handshake =
            ClientHandshake::new(settings, server_name).map_err(|error| Fault::Tls(error.to_string()))?;
        let output = handshake.take_output();
        Ok(Self::of(Layer::Shaking(Box::new(handshake)), output))
    }

    fn of(layer: Layer, output: Vec<u8>) -> Self {
        let incoming = Incoming { reader: Reader::new(), heed: Heed::Count, awaiting: false };
        Self { layer, incoming, output }
    }

    /// Requests may be made: there is no handshake, or it is over.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !matches!(self.layer, Layer::Shaking(_))
    }

    /// A request is out whose response is not whole.
    #[must_use]
    pub fn is_awaiting(&self) -> bool {
        self.incoming.awaiting
    }

    /// What is to be sent.
    #[must_use]
    pub fn output(&self) -> &[u8] {
        &self.output
    }

    /// So much of the output has been sent.
    pub fn on_sent(&mut self, bytes: usize) {
        if bytes == self.output.len() {
            self.output.clear();
        } else {
            self.output.drain(..bytes);
        }
    }

    /// What to bring next.
    #[must_use]
    pub fn want(&self) -> Want {
        match &self.layer {
            Layer::Shaking(_) => Want::Bytes(16 << 10),
            Layer::Plain => match (self.incoming.heed, self.incoming.reader.skippable()) {
                (Heed::See, _) => Want::Bytes(SEEN_BYTES),
                (Heed::Count, 0) => Want::Bytes(HEAD_BYTES),
                (Heed::Count, left) => Want::Discard(left),
            },
            Layer::Secure(secure) if secure.streaming => Want::Bytes(SEEN_BYTES),
            Layer::Secure(secure) => match secure.counter.body_left() {
                // The first record is opened anyway: with its head, in one piece.
                0 if self.incoming.awaits_first_byte() => Want::Bytes(FIRST_BYTES),
                0 => Want::Bytes(secure.counter.head_left()),
                left if secure.passing => Want::Discard(left),
                left => Want::Bytes(usize::try_from(left).unwrap_or(SEEN_BYTES)),
            },
        }
    }

    /// Makes a request, when the response to the one before is whole.
    ///
    /// # Errors
    /// The keys are used up: the connection is to be closed.
    pub fn ask(&mut self, cx: &mut Cryptography, request: &[u8], heed: Heed) -> Result<(), Fault> {
        self.incoming = Incoming { reader: Reader::new(), heed, awaiting: true };
        match &mut self.layer {
            Layer::Plain => self.output.extend_from_slice(request),
            Layer::Shaking(_) => {
                return Err(Fault::Tls("a request before the handshake was over".to_owned()));
            }
            Layer::Secure(secure) => {
                // Half a record that the opener holds must come to it whole.
                secure.streaming = heed == Heed::See || !secure.opener.at_record_boundary();
                secure.seal(cx, request, &mut self.output).map_err(|error| Fault::Tls(error.to_string()))?;
            }
        }
        Ok(())
    }

    /// Takes bytes that came, as many as were wanted or fewer.
    ///
    /// # Errors
    /// What the peer did wrong; the connection is then of no use.
    pub fn on_bytes(
        &mut self,
        cx: &mut Cryptography,
        bytes: &[u8],
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Fault> {
        match &mut self.layer {
            Layer::Plain => self.incoming.feed(bytes, tell),
            Layer::Secure(secure) => secure.on_bytes(cx, bytes, &mut self.incoming, tell),
            Layer::Shaking(handshake) => {
                let progress = handshake.on_bytes(bytes);
                self.output.extend_from_slice(&handshake.take_output());
                match progress {
                    Progress::Continue => Ok(()),
                    Progress::Failed(error) => Err(Fault::Tls(error.to_string())),
                    Progress::Established(established) => {
                        let (established, tickets) = *established;
                        let Established { sealer, opener, version, suite, resumed, leftover, .. } =
                            established;
                        let counter = RecordCounter::new(version, suite);
                        let mut secure =
                            Secure { sealer, opener, tickets, counter, passing: false, streaming: false };
                        tell(Event::Established { resumed });
                        let went_on = secure.on_bytes(cx, &leftover, &mut self.incoming, tell);
                        self.layer = Layer::Secure(Box::new(secure));
                        went_on
                    }
                }
            }
        }
    }

    /// So many bytes came unseen, at most as many as were to be discarded.
    pub fn on_discarded(&mut self, bytes: u64, tell: &mut dyn FnMut(Event<'_>)) {
        match &mut self.layer {
            Layer::Plain => self.incoming.skip(bytes, tell),
            Layer::Secure(secure) => secure.pass(bytes, &mut self.incoming, tell),
            Layer::Shaking(_) => {}
        }
    }

    /// The peer sent FIN.
    ///
    /// # Errors
    /// A response is cut short by it.
    pub fn on_end(&mut self, tell: &mut dyn FnMut(Event<'_>)) -> Result<(), Fault> {
        if !self.is_ready() {
            return Err(Fault::Closed("in the handshake"));
        }
        if !self.incoming.awaiting {
            return Ok(());
        }
        // RFC 8446 §6.1: without close_notify somebody else may have cut it.
        let honest = match &self.layer {
            Layer::Secure(secure) => secure.opener.is_closed(),
            Layer::Plain | Layer::Shaking(_) => true,
        };
        if !self.incoming.reader.on_end() || !honest {
            let fresh = self.incoming.reader.is_fresh();
            return Err(Fault::Closed(if fresh { "before the response" } else { "within a response" }));
        }
        self.incoming.feed(&[], tell)
    }

    /// The connection is over; its keys need not be kept warm.
    pub fn forget(&self, cx: &mut Cryptography) {
        if let Layer::Secure(secure) = &self.layer {
            secure.opener.forget(&mut cx.keys);
            secure.sealer.forget(&mut cx.keys);
        }
    }
}

impl Incoming {
    fn feed(&mut self, mut bytes: &[u8], tell: &mut dyn FnMut(Event<'_>)) -> Result<(), Fault> {
        if !self.awaiting {
            return if bytes.is_empty() { Ok(()) } else { Err(Fault::Unasked) };
        }
        if self.reader.is_fresh() && !bytes.is_empty() {
            tell(Event::FirstByte);
        }
        loop {
            match self.reader.next(&mut bytes).map_err(Fault::Response)? {
                Step::More => return Ok(()),
                Step::Head(head) => tell(Event::Head(head)),
                Step::Body(body) => tell(Event::Body(body)),
                Step::Done => {
                    self.awaiting = false;
                    tell(Event::Done);
                    return if bytes.is_empty() { Ok(()) } else { Err(Fault::Unasked) };
                }
            }
        }
    }

    fn awaits_first_byte(&self) -> bool {
        self.awaiting && self.reader.is_fresh()
    }

    fn skip(&mut self, bytes: u64, tell: &mut dyn FnMut(Event<'_>)) {
        self.reader.skip(bytes);
        tell(Event::Skipped(bytes));
        if self.reader.is_whole() {
            self.awaiting = false;
            tell(Event::Done);
        }
    }
}

impl Secure {
    fn seal(&mut self, cx: &mut Cryptography, request: &[u8], output: &mut Vec<u8>) -> Result<(), SealError> {
        if self.sealer.before_data() == BeforeData::KeyUpdate {
            let update = self.sealer.seal_key_update(&mut cx.keys, KeyUpdateRequest::NotRequested)?;
            output.extend_from_slice(update.as_bytes());
        }
        let layout = self.sealer.layout();
        for part in request.chunks(PLAINTEXT_BYTES_MAX) {
            let start = output.len() + layout.head_bytes;
            output.resize(output.len() + layout.sealed_bytes(part.len()), 0);
            let payload = start..start + part.len();
            output[payload.clone()].copy_from_slice(part);
            let record = self.sealer.bind()?;
            self.sealer.seal(&mut cx.keys, record, ContentType::ApplicationData, output, payload)?;
        }
        // Nothing is ever sealed again here: TCP, the kernel's or ours, keeps what was.
        self.sealer.on_acknowledged(self.sealer.next_record());
        Ok(())
    }

    fn on_bytes(
        &mut self,
        cx: &mut Cryptography,
        mut bytes: &[u8],
        incoming: &mut Incoming,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if self.streaming {
                return self.open(cx, bytes, incoming, tell);
            }
            let within = self.counter.body_left();
            if incoming.awaits_first_byte()
                && within == 0
                && self.counter.head_left() == RECORD_HEAD_BYTES
                && self.opener.at_record_boundary()
                && let Some((whole, rest)) =
                    peek_record_bytes(bytes).and_then(|whole| bytes.split_at_checked(whole))
            {
                // A whole record, which is opened where it lies instead of being gathered.
                self.counter.take(whole);
                bytes = rest;
                self.open(cx, whole, incoming, tell)?;
                continue;
            }
            let count = if within == 0 { self.counter.head_left() as u64 } else { within };
            let (now, rest) = bytes.split_at(usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len()));
            bytes = rest;
            if within == 0 {
                self.counter.take(now);
                if self.counter.head_left() == RECORD_HEAD_BYTES {
                    self.on_head(cx, incoming, tell)?;
                }
            } else if self.passing {
                self.pass(now.len() as u64, incoming, tell);
            } else {
                self.counter.skip(now.len() as u64);
                self.open(cx, now, incoming, tell)?;
            }
        }
        Ok(())
    }

    /// A record's head is whole: decides whether its body is looked at.
    fn on_head(
        &mut self,
        cx: &mut Cryptography,
        incoming: &mut Incoming,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Fault> {
        let head = self.counter.head();
        let body = self.counter.body_left();
        self.passing = incoming.heed == Heed::Count
            && head[0] == ContentType::ApplicationData.code()
            && (SMALL_RECORD_BYTES..=CIPHERTEXT_BYTES_MAX as u64).contains(&body)
            && self.counter.record_plaintext() <= incoming.reader.skippable();
        if self.passing { Ok(()) } else { self.open(cx, &head, incoming, tell) }
    }

    /// Bytes of a record's body came that nobody asked to see.
    fn pass(&mut self, bytes: u64, incoming: &mut Incoming, tell: &mut dyn FnMut(Event<'_>)) {
        self.counter.skip(bytes);
        if self.counter.body_left() == 0 {
            self.opener.pass_over();
            incoming.skip(self.counter.record_plaintext(), tell);
        }
    }

    fn open(
        &mut self,
        cx: &mut Cryptography,
        mut bytes: &[u8],
        incoming: &mut Incoming,
        tell: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Fault> {
        loop {
            let message = self.opener.poll(&mut cx.keys, &mut cx.scratch, &mut bytes);
            match message.map_err(|error| Fault::Tls(error.to_string()))? {
                None | Some(Message::CloseNotify) => return Ok(()),
                Some(Message::Data(data)) => incoming.feed(data, tell)?,
                // One that cannot be used costs a full handshake, later.
                Some(Message::NewSessionTicket(ticket)) => drop(self.tickets.on_new_session_ticket(ticket)),
                Some(Message::KeyUpdate(KeyUpdateRequest::Requested)) => {
                    self.sealer.on_key_update_requested()
                }
                Some(Message::KeyUpdate(KeyUpdateRequest::NotRequested)) => {}
                Some(Message::RenegotiationRefused) => {
                    return Err(Fault::Tls("the server wants to renegotiate".to_owned()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
