//! Driving rustls, for either side: a record goes in, what it wants to say comes out, until the keys do.

use core::fmt;
use core::mem;
use core::ops::RangeInclusive;

use rustls::kernel::KernelConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{CommonState, ConnectionTrafficSecrets, ExtractedSecrets, HandshakeKind, ProtocolVersion};
use tls::{
    Opener, RECORD_HEAD_BYTES, Role, Sealer, SecretBytes, Suite, TrafficKeys, Version, peek_record_bytes,
};

use crate::capture::Captured;
use crate::error::HandshakeError;

/// What a peer may send before it is established. A post-quantum ClientHello is about 1.8 kB, a client's certificates
/// are never asked for; a server's may be long.
pub const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;

/// RFC 5246 §6.2.3: the longest record that any version ever allowed.
const RECORD_BYTES_MAX: usize = RECORD_HEAD_BYTES + (1 << 14) + 2048;
/// ChangeCipherSpec to application data: which of them may come first, rustls knows.
const RECORD_TYPES: RangeInclusive<u8> = 20..=23;

/// Where a handshake stands after some bytes.
#[derive(Debug)]
pub enum Progress<E = Established> {
    /// More bytes are needed.
    Continue,
    /// The keys are out. What is still to be sent, tickets included, is in the output.
    Established(Box<E>),
    /// It failed. The alert, if one is owed, is in the output.
    Failed(HandshakeError),
}

/// An established connection, ready for records.
#[derive(Debug)]
pub struct Established {
    /// The send side.
    pub sealer: Sealer,
    /// The receive side.
    pub opener: Opener,
    /// The version agreed on.
    pub version: Version,
    /// The cipher agreed on.
    pub suite: Suite,
    /// The application protocol agreed on.
    pub alpn: Option<Box<[u8]>>,
    /// The name the client asked for, in lower case. Only a server is told.
    pub server_name: Option<Box<str>>,
    /// Whether a ticket spared the full handshake.
    pub resumed: bool,
    /// What came behind the handshake: the opener's first input, still sealed.
    pub leftover: Vec<u8>,
}

/// One side of rustls.
pub(crate) trait Side: Sized {
    type Data;
    const ROLE: Role;

    fn process<'c, 'i>(&'c mut self, records: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
    fn common(&self) -> &CommonState;
    fn into_kernel(self) -> Result<(ExtractedSecrets, KernelConnection<Self::Data>), rustls::Error>;
}

/// A handshake under way.
pub(crate) struct Flow<S> {
    /// Gone when it has ended, either way.
    side: Option<S>,
    /// What has come and rustls has not discarded.
    input: Vec<u8>,
    /// How much of the front of `input` rustls has been shown: whole records of which it still needs something.
    shown: usize,
    shown_in_all: usize,
    output: Vec<u8>,
    captured: Captured,
}

/// The keys, and what is left of rustls.
type Ended<S> = (Established, KernelConnection<<S as Side>::Data>);

/// What a call into rustls came to, without its borrows.
enum Step {
    Again,
    NeedsRecord,
    Done,
}

impl<S: Side> Flow<S> {
    pub(crate) const fn new(side: S) -> Self {
        Self {
            side: Some(side),
            input: Vec::new(),
            shown: 0,
            shown_in_all: 0,
            output: Vec::new(),
            captured: Captured::EMPTY,
        }
    }

    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        mem::take(&mut self.output)
    }

    pub(crate) const fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// What it holds outside itself and rustls, in bytes.
    pub(crate) const fn buffered_bytes(&self) -> usize {
        self.input.capacity() + self.output.capacity()
    }

    /// Takes bytes, and goes as far as they reach. With the keys comes what is left of rustls.
    pub(crate) fn on_bytes(&mut self, bytes: &[u8]) -> Result<Option<Ended<S>>, HandshakeError> {
        self.input.extend_from_slice(bytes);
        self.run().inspect_err(|_| {
            self.side = None;
            self.input = Vec::new();
        })
    }

    fn run(&mut self) -> Result<Option<Ended<S>>, HandshakeError> {
        loop {
            match self.step()? {
                Step::Again => {}
                Step::NeedsRecord => {
                    if !self.show_next_record()? {
                        return Ok(None);
                    }
                }
                Step::Done => return self.finish().map(Some),
            }
        }
    }

    /// Shows rustls one more record, when a whole one is there.
    fn show_next_record(&mut self) -> Result<bool, HandshakeError> {
        let unseen = self.input.get(self.shown..).unwrap_or_default();
        if self.shown_in_all == 0 && !begins_like_tls(unseen)? {
            return Ok(false);
        }
        let Some(bytes) = peek_record_bytes(unseen) else { return Ok(false) };
        // Nothing is collected for a record that no version allows; rustls sees its head and finds the alert.
        let bytes = if bytes > RECORD_BYTES_MAX { RECORD_HEAD_BYTES } else { bytes };
        if self.shown_in_all + bytes > HANDSHAKE_BYTES_MAX {
            return Err(HandshakeError::TooLong);
        }
        if unseen.len() < bytes {
            return Ok(false);
        }
        self.shown += bytes;
        self.shown_in_all += bytes;
        Ok(true)
    }

    fn step(&mut self) -> Result<Step, HandshakeError> {
        let Self { side, input, shown, output, captured, shown_in_all: _ } = self;
        let side =
            side.as_mut().ok_or_else(|| HandshakeError::ours("a handshake was continued after its end"))?;

        let UnbufferedStatus { discard, state } =
            captured.during(|| side.process(input.get_mut(..*shown).unwrap_or_default()));
        let step = match state {
            Ok(ConnectionState::EncodeTlsData(mut chunk)) => {
                encode(output, |room| chunk.encode(room)).map(|()| Step::Again)
            }
            Ok(ConnectionState::TransmitTlsData(transmit)) => {
                transmit.done();
                Ok(Step::Again)
            }
            Ok(ConnectionState::BlockedHandshake) => Ok(Step::NeedsRecord),
            Ok(ConnectionState::WriteTraffic(_)) => Ok(Step::Done),
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Err(HandshakeError::Closed),
            // 0-RTT is off, and what follows the handshake is not shown to rustls.
            Ok(_) => Err(HandshakeError::ours("rustls opened application data")),
            // rustls has no word for it but a general error.
            Err(_) if captured.unresolved => {
                Err(HandshakeError::Incompatible("there is no certificate for what the peer asks".into()))
            }
            Err(error) => Err(error.into()),
        };
        // A client that may speak while it still waits for the peer's Finished is not done.
        let step = match step {
            Ok(Step::Done) if side.common().is_handshaking() => Ok(Step::NeedsRecord),
            step => step,
        };
        self.discard(discard);
        step.inspect_err(|_| self.take_alert())
    }

    fn discard(&mut self, bytes: usize) {
        let bytes = bytes.min(self.shown);
        self.input.drain(..bytes);
        self.shown -= bytes;
    }

    /// After an error rustls has only the alert to say, if it has anything. It must not see more input: it takes a
    /// second error for a fault of its own and panics.
    fn take_alert(&mut self) {
        let Some(side) = &mut self.side else { return };
        while side.common().wants_write() {
            let Ok(ConnectionState::EncodeTlsData(mut chunk)) = side.process(&mut []).state else { return };
            if encode(&mut self.output, |room| chunk.encode(room)).is_err() {
                return;
            }
        }
    }

    fn finish(&mut self) -> Result<Ended<S>, HandshakeError> {
        let side = self.side.take().ok_or_else(|| HandshakeError::ours("a handshake ended twice"))?;
        if self.shown != 0 {
            return Err(HandshakeError::Malformed(
                "bytes behind the last handshake message in its record".into(),
            ));
        }
        let common = side.common();
        let version = match common.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
            Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
            _ => return Err(HandshakeError::ours("rustls agreed on a version that we do not speak")),
        };
        let alpn = common.alpn_protocol().map(Box::from);
        let resumed = common.handshake_kind() == Some(HandshakeKind::Resumed);
        let (ExtractedSecrets { tx, rx }, rest) = side.into_kernel()?;

        let Captured { client_traffic, server_traffic, server_name, unresolved: _ } =
            mem::replace(&mut self.captured, Captured::EMPTY);
        let (tx_secret, rx_secret) = match S::ROLE {
            Role::Server => (server_traffic, client_traffic),
            Role::Client => (client_traffic, server_traffic),
        };
        let tx_keys = traffic_keys(version, &tx.1, tx_secret.as_ref())?;
        let rx_keys = traffic_keys(version, &rx.1, rx_secret.as_ref())?;
        let sealer =
            Sealer::new(tx_keys, tx.0).map_err(|error| HandshakeError::Ours(error.to_string().into()))?;
        let opener = Opener::new(S::ROLE, rx_keys, rx.0);
        let suite = sealer.suite();
        let mut leftover = mem::take(&mut self.input);
        // It grew with the hello; a connection may keep it for as long as it lives.
        leftover.shrink_to_fit();
        Ok((Established { sealer, opener, version, suite, alpn, server_name, resumed, leftover }, rest))
    }
}

impl<S> fmt::Debug for Flow<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow")
            .field("ended", &self.side.is_none())
            .field("input", &self.input.len())
            .field("shown_in_all", &self.shown_in_all)
            .field("output", &self.output.len())
            .finish_non_exhaustive()
    }
}

/// Before a record is whole: does this begin like TLS? Not yet, when it may still become a method of HTTP.
fn begins_like_tls(bytes: &[u8]) -> Result<bool, HandshakeError> {
    const METHODS: [&[u8]; 10] = [
        b"GET ",
        b"HEAD ",
        b"OPTIONS ",
        b"POST ",
        b"PUT ",
        b"DELETE ",
        b"CONNECT ",
        b"TRACE ",
        b"PATCH ",
        b"PRI * ",
    ];
    match bytes.first() {
        Some(kind) if RECORD_TYPES.contains(kind) => Ok(true),
        _ if METHODS.iter().any(|method| bytes.starts_with(method)) => Err(HandshakeError::PlainHttp),
        _ if METHODS.iter().any(|method| method.starts_with(bytes)) => Ok(false),
        _ => Err(HandshakeError::NotTls),
    }
}

/// Appends what rustls encodes, in exactly the room it wants.
fn encode(
    output: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), HandshakeError> {
    let EncodeError::InsufficientSize(size) = (match encode(&mut []) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    }) else {
        return Err(HandshakeError::ours("rustls had nothing to encode"));
    };
    let start = output.len();
    output.resize(start + size.required_size, 0);
    match encode(output.get_mut(start..).unwrap_or_default()) {
        Ok(written) => {
            output.truncate(start + written);
            Ok(())
        }
        Err(error) => Err(HandshakeError::Ours(error.to_string().into())),
    }
}

fn traffic_keys(
    version: Version,
    extracted: &ConnectionTrafficSecrets,
    secret: Option<&SecretBytes>,
) -> Result<TrafficKeys, HandshakeError> {
    let (suite, key, iv) = match extracted {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Suite::Aes128Gcm, key, iv),
        ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Suite::Aes256Gcm, key, iv),
        ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Suite::Chacha20Poly1305, key, iv),
        _ => return Err(HandshakeError::ours("rustls agreed on a suite that we do not speak")),
    };
    match version {
        Version::Tls12 => TrafficKeys::tls12(suite, key.as_ref(), iv.as_ref()),
        Version::Tls13 => {
            let secret =
                secret.ok_or_else(|| HandshakeError::ours("rustls did not log the traffic secret"))?;
            TrafficKeys::tls13_derived(suite, secret.as_bytes(), key.as_ref(), iv.as_ref())
        }
    }
    .map_err(|error| HandshakeError::Ours(error.to_string().into()))
}
