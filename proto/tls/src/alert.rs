//! Alerts, RFC 8446 §6: how either side says why it ends.

use core::fmt;

/// How an alert was labelled. TLS 1.3 peers ignore the label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertLevel {
    /// 1
    Warning,
    /// 2
    Fatal,
}

/// What an alert says: the registry's code, with names for those that occur here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlertDescription(pub u8);

macro_rules! descriptions {
    ($($(#[$doc:meta])* $constant:ident = $code:literal, $name:literal;)*) => {
        impl AlertDescription {
            $($(#[$doc])* pub const $constant: Self = Self($code);)*

            /// The RFC's name for the code, where it is one of those above.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($name),)*
                    _ => None,
                }
            }
        }
    };
}

descriptions! {
    /// The sender will send no more.
    CLOSE_NOTIFY = 0, "close_notify";
    /// A message that does not belong here.
    UNEXPECTED_MESSAGE = 10, "unexpected_message";
    /// A record that does not authenticate.
    BAD_RECORD_MAC = 20, "bad_record_mac";
    /// A record longer than allowed.
    RECORD_OVERFLOW = 22, "record_overflow";
    /// No acceptable parameters.
    HANDSHAKE_FAILURE = 40, "handshake_failure";
    /// A certificate was corrupt or did not verify.
    BAD_CERTIFICATE = 42, "bad_certificate";
    /// A certificate of an unsupported kind.
    UNSUPPORTED_CERTIFICATE = 43, "unsupported_certificate";
    /// A certificate is outside its validity.
    CERTIFICATE_EXPIRED = 45, "certificate_expired";
    /// Some other trouble with a certificate.
    CERTIFICATE_UNKNOWN = 46, "certificate_unknown";
    /// A field out of range or inconsistent.
    ILLEGAL_PARAMETER = 47, "illegal_parameter";
    /// The certificate authority is not known.
    UNKNOWN_CA = 48, "unknown_ca";
    /// A message that does not parse.
    DECODE_ERROR = 50, "decode_error";
    /// A cryptographic operation in the handshake failed.
    DECRYPT_ERROR = 51, "decrypt_error";
    /// A recognised but unsupported version.
    PROTOCOL_VERSION = 70, "protocol_version";
    /// A fault of ours that has nothing to do with the peer.
    INTERNAL_ERROR = 80, "internal_error";
    /// The user ended the handshake; a `close_notify` follows.
    USER_CANCELED = 90, "user_canceled";
    /// TLS 1.2: the renegotiation is refused. Always a warning.
    NO_RENEGOTIATION = 100, "no_renegotiation";
    /// The name in SNI is not served here.
    UNRECOGNIZED_NAME = 112, "unrecognized_name";
    /// No common application protocol.
    NO_APPLICATION_PROTOCOL = 120, "no_application_protocol";
}

impl fmt::Debug for AlertDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for AlertDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "alert {}", self.0),
        }
    }
}

/// An alert to send: two bytes of plaintext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert {
    /// Its label.
    pub level: AlertLevel,
    /// Its meaning.
    pub description: AlertDescription,
}

impl Alert {
    /// The alert with which an orderly end begins.
    pub const CLOSE_NOTIFY: Self = Self::warning(AlertDescription::CLOSE_NOTIFY);

    /// An alert after which the connection is over.
    #[must_use]
    pub const fn fatal(description: AlertDescription) -> Self {
        Self { level: AlertLevel::Fatal, description }
    }

    /// An alert that does not by itself end the connection.
    #[must_use]
    pub const fn warning(description: AlertDescription) -> Self {
        Self { level: AlertLevel::Warning, description }
    }

    /// The alert as it stands in a record.
    #[must_use]
    pub const fn emit(self) -> [u8; 2] {
        [
            match self.level {
                AlertLevel::Warning => 1,
                AlertLevel::Fatal => 2,
            },
            self.description.0,
        ]
    }

    /// Reads the content of an alert record; `None` when it is not exactly one alert.
    #[must_use]
    pub const fn parse(content: &[u8]) -> Option<Self> {
        match *content {
            [1, code] => Some(Self::warning(AlertDescription(code))),
            [2, code] => Some(Self::fatal(AlertDescription(code))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
