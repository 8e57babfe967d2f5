//! The algorithms of signatures (RFC 8945 §6), and a MAC that is made while messages come.

use core::fmt;
use hmac::{Hmac, Mac as _};
use sha1::Sha1;
use sha2::{Sha224, Sha256, Sha384, Sha512};

/// What two servers sign with. Of those in RFC 8945 §6, MD5 and GSS-TSIG are not here: the former must not be used, the
/// latter is another protocol. MACs that are cut short are not sent and not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// `hmac-sha1`: everyone must have it, nobody should choose it.
    Sha1,
    /// `hmac-sha224`.
    Sha224,
    /// `hmac-sha256`: everyone must have it, and should choose it.
    #[default]
    Sha256,
    /// `hmac-sha384`.
    Sha384,
    /// `hmac-sha512`.
    Sha512,
}

/// The longest MAC.
pub const MAC_BYTES_MAX: usize = 64;

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Its name, folded, on the wire.
    #[must_use]
    pub const fn wire(self) -> &'static [u8] {
        match self {
            Self::Sha1 => b"\x09hmac-sha1\0",
            Self::Sha224 => b"\x0bhmac-sha224\0",
            Self::Sha256 => b"\x0bhmac-sha256\0",
            Self::Sha384 => b"\x0bhmac-sha384\0",
            Self::Sha512 => b"\x0bhmac-sha512\0",
        }
    }

    /// The one of that name, as `named.conf` and `knot.conf` spell it.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.strip_suffix('.').unwrap_or(text);
        Self::ALL.into_iter().find(|algorithm| text.as_bytes().eq_ignore_ascii_case(algorithm.text()))
    }

    const fn text(self) -> &'static [u8] {
        let (_, name) = self.wire().split_at(1);
        name.split_at(name.len() - 1).0
    }

    /// How long its MAC is.
    #[must_use]
    pub const fn mac_bytes(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(self.text()).unwrap_or_default())
    }
}

/// A MAC of what has come so far: memory does not grow with it.
#[derive(Clone)]
pub(super) enum Running {
    Sha1(Hmac<Sha1>),
    Sha224(Hmac<Sha224>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Running(…)")
    }
}

impl Running {
    pub(super) fn new(algorithm: Algorithm, secret: &[u8]) -> Self {
        const ANY: &str = "HMAC takes keys of any length";
        match algorithm {
            Algorithm::Sha1 => Self::Sha1(Hmac::new_from_slice(secret).expect(ANY)),
            Algorithm::Sha224 => Self::Sha224(Hmac::new_from_slice(secret).expect(ANY)),
            Algorithm::Sha256 => Self::Sha256(Hmac::new_from_slice(secret).expect(ANY)),
            Algorithm::Sha384 => Self::Sha384(Hmac::new_from_slice(secret).expect(ANY)),
            Algorithm::Sha512 => Self::Sha512(Hmac::new_from_slice(secret).expect(ANY)),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(mac) => mac.update(bytes),
            Self::Sha224(mac) => mac.update(bytes),
            Self::Sha256(mac) => mac.update(bytes),
            Self::Sha384(mac) => mac.update(bytes),
            Self::Sha512(mac) => mac.update(bytes),
        }
    }

    pub(super) fn finish(self, out: &mut [u8; MAC_BYTES_MAX]) -> &[u8] {
        let mut put = |mac: &[u8]| {
            out[..mac.len()].copy_from_slice(mac);
            mac.len()
        };
        let bytes = match self {
            Self::Sha1(mac) => put(&mac.finalize().into_bytes()),
            Self::Sha224(mac) => put(&mac.finalize().into_bytes()),
            Self::Sha256(mac) => put(&mac.finalize().into_bytes()),
            Self::Sha384(mac) => put(&mac.finalize().into_bytes()),
            Self::Sha512(mac) => put(&mac.finalize().into_bytes()),
        };
        &out[..bytes]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    /// RFC 4231 §4.3, and RFC 2202 §3 for SHA-1: the key "Jefe".
    #[test]
    fn the_macs_are_those_of_the_rfcs() {
        for (algorithm, begins) in [
            (Algorithm::Sha1, [0xef, 0xfc, 0xdf, 0x6a]),
            (Algorithm::Sha224, [0xa3, 0x0e, 0x01, 0x09]),
            (Algorithm::Sha256, [0x5b, 0xdc, 0xc1, 0x46]),
            (Algorithm::Sha384, [0xaf, 0x45, 0xd2, 0xe3]),
            (Algorithm::Sha512, [0x16, 0x4b, 0x7a, 0x7b]),
        ] {
            let mut mac = Running::new(algorithm, b"Jefe");
            mac.update(b"what do ya want ");
            mac.update(b"for nothing?");
            let mut room = [0; MAC_BYTES_MAX];
            let made = mac.finish(&mut room);
            assert_eq!((made.len(), &made[..4]), (algorithm.mac_bytes(), &begins[..]), "{algorithm}");
        }
    }

    #[test]
    fn a_name_is_read_as_it_is_written() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_text(&algorithm.to_string().to_uppercase()), Some(algorithm));
            assert!(algorithm.mac_bytes() <= MAC_BYTES_MAX);
            assert_eq!(crate::name::skip(algorithm.wire(), 0), Ok(algorithm.wire().len()));
        }
        assert_eq!(Algorithm::from_text("hmac-sha512."), Some(Algorithm::Sha512));
        assert_eq!(Algorithm::from_text("hmac-md5"), None);
    }
}
