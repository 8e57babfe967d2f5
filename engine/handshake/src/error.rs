//! Who ended a handshake, and how.

use core::fmt;

use tls::AlertDescription;

/// Why there is no connection.
///
/// What rustls said is kept in words; the kinds are ours, so that they can be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeError {
    /// The peer speaks HTTP without TLS. No alert: the service may answer in plain text.
    PlainHttp,
    /// The peer speaks no TLS that we know.
    NotTls,
    /// The peer's handshake is longer than any honest one.
    TooLong,
    /// The peer ended it with this alert.
    AlertReceived(AlertDescription),
    /// The peer closed it before it was done.
    Closed,
    /// The peer sent something that does not parse or does not belong here.
    Malformed(Box<str>),
    /// The peer offers nothing that we accept.
    Incompatible(Box<str>),
    /// The peer broke a rule of the protocol.
    Misbehaved(Box<str>),
    /// The peer's record does not authenticate.
    BadRecord,
    /// The peer's certificate does not verify: only a client finds this.
    PeerCertificate(Box<str>),
    /// The fault is ours or the machine's.
    Ours(Box<str>),
}

impl HandshakeError {
    pub(crate) fn ours(why: &str) -> Self {
        Self::Ours(why.into())
    }
}

impl From<rustls::Error> for HandshakeError {
    fn from(error: rustls::Error) -> Self {
        use rustls::Error;
        let words = || error.to_string().into_boxed_str();
        match &error {
            Error::AlertReceived(description) => {
                Self::AlertReceived(AlertDescription(u8::from(*description)))
            }
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. }
            | Error::InvalidEncryptedClientHello(_)
            | Error::PeerSentOversizedRecord => Self::Malformed(words()),
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::Incompatible(words()),
            Error::PeerMisbehaved(_) => Self::Misbehaved(words()),
            Error::DecryptError => Self::BadRecord,
            Error::NoCertificatesPresented | Error::InvalidCertificate(_) | Error::UnsupportedNameType => {
                Self::PeerCertificate(words())
            }
            _ => Self::Ours(words()),
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlainHttp => f.write_str("the peer speaks plain HTTP to the TLS port"),
            Self::NotTls => f.write_str("the peer does not speak TLS"),
            Self::TooLong => f.write_str("the peer's handshake is too long"),
            Self::AlertReceived(description) => write!(f, "the peer ended the handshake: {description}"),
            Self::Closed => f.write_str("the peer closed during the handshake"),
            Self::Malformed(why) => write!(f, "the peer's handshake is malformed: {why}"),
            Self::Incompatible(why) => write!(f, "the peer offers nothing we accept: {why}"),
            Self::Misbehaved(why) => write!(f, "the peer broke the protocol: {why}"),
            Self::BadRecord => f.write_str("the peer's handshake record does not authenticate"),
            Self::PeerCertificate(why) => write!(f, "the peer's certificate is not acceptable: {why}"),
            Self::Ours(why) => write!(f, "our handshake failed: {why}"),
        }
    }
}

impl core::error::Error for HandshakeError {}

/// Settings that make no server or client: the operator's fault, or a machine without randomness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingsError {
    /// No version, or no suite for a version, is left.
    NothingOffered(Box<str>),
    /// The root certificates are unreadable.
    Roots(Box<str>),
    /// The name to ask for is no name.
    ServerName(Box<str>),
    /// The machine gave no randomness for ticket keys.
    Randomness,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingOffered(why) => write!(f, "no TLS version and suite is left to offer: {why}"),
            Self::Roots(why) => write!(f, "the root certificates cannot be used: {why}"),
            Self::ServerName(name) => write!(f, "{name:?} is not a server name"),
            Self::Randomness => f.write_str("the machine gives no randomness for ticket keys"),
        }
    }
}

impl core::error::Error for SettingsError {}
