//! Signed URLs: who has the key says who may watch, and until when.
//!
//! ```text
//!   one file      /films/a.mp4?expires=1767225600&sig=Xr0…
//!   a directory   /films/a/seg-7.m4s?expires=1767225600&prefix=2&sig=9fQ…      prefix: how many segments are signed
//!   a directory   /.signed/1767225600/2/9fQ…/films/a/master.m3u8               for players: relative URLs keep it
//!
//!   sig = base64url( HMAC-SHA-256( key, "atlas-1" LF scope LF expires LF path ) )
//!         scope = "file" or "prefix", expires in decimal, path decoded, of a prefix with the slash at its end
//! ```
//!
//! The method is not signed: HEAD and a CORS preflight are about the same resource. The decoded path is, so that no
//! other spelling of it needs another signature. The scope is part of what is signed, so that the signature of a file
//! never opens a directory. Several keys may be valid at once, the newest first, so that keys can be replaced without
//! breaking a link that is out.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::target::{encode, query_value};
use crate::{decimal, digits};

/// The first segment of a path that carries its signature.
pub const PATH_MARK: &[u8] = b".signed";

/// The fewest bytes a key may have: as strong as the hash is long would be 32; 16 cannot be guessed.
pub const KEY_BYTES_MIN: usize = 16;

/// The most keys that are tried, which bounds the work a stranger can ask for.
pub const KEY_COUNT_MAX: usize = 4;

/// An HMAC-SHA-256 in base64url without padding.
const SIGNATURE_BYTES: usize = 43;

/// A secret that signs.
#[derive(Clone)]
pub struct Key(Box<[u8]>);

impl Key {
    /// A key of these bytes.
    ///
    /// # Errors
    /// It is shorter than [`KEY_BYTES_MIN`].
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        if bytes.len() < KEY_BYTES_MIN {
            return Err(KeyError::Short { bytes: bytes.len() });
        }
        Ok(Self(bytes.into()))
    }

    /// The HMAC over a scope, ready to be compared or written.
    fn mac(&self, scope: Scope, expires: u64, path: &[u8]) -> Hmac<Sha256> {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else {
            unreachable!("HMAC takes keys of every length (RFC 2104 §2)")
        };
        let mut room = [0; 20];
        mac.update(b"atlas-1\n");
        mac.update(match scope {
            Scope::File => b"file\n",
            Scope::Prefix => b"prefix\n",
        });
        mac.update(decimal(expires, &mut room).as_bytes());
        mac.update(b"\n");
        mac.update(path);
        mac
    }
}

/// Never shows the secret.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

/// Why keys are no good: the operator's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Shorter than [`KEY_BYTES_MIN`].
    Short {
        /// Its length.
        bytes: usize,
    },
    /// More than [`KEY_COUNT_MAX`].
    Many {
        /// How many.
        count: usize,
    },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short { bytes } => {
                write!(f, "a signing key has {bytes} bytes; it needs {KEY_BYTES_MIN} at least")
            }
            Self::Many { count } => {
                write!(f, "there are {count} signing keys; {KEY_COUNT_MAX} may be valid at once")
            }
        }
    }
}

impl core::error::Error for KeyError {}

/// What a signature opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    File,
    Prefix,
}

/// The keys that are valid now. The first signs; all of them open.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

/// Why a signed URL does not open: 403 all the same, and the reason is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Denied {
    /// There is no signature.
    Missing,
    /// There is one that nobody here can have made.
    Malformed,
    /// It was good until a moment that is over.
    Expired,
    /// It is for something else, or by another key.
    Wrong,
}

impl Denied {
    /// One sentence for whoever reads the error page.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Missing => "This address needs a signature.",
            Self::Malformed => "The signature in this address is not one.",
            Self::Expired => "The signature in this address has expired.",
            Self::Wrong => "The signature in this address is not for it.",
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.sentence())
    }
}

impl core::error::Error for Denied {}

impl Keys {
    /// These keys, the newest first.
    ///
    /// # Errors
    /// More than [`KEY_COUNT_MAX`].
    pub fn new(keys: Vec<Key>) -> Result<Self, KeyError> {
        if keys.len() > KEY_COUNT_MAX {
            return Err(KeyError::Many { count: keys.len() });
        }
        Ok(Self(keys))
    }

    /// Whether no key is configured: then nothing needs a signature.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The path that may be served for a decoded `path` and a `query`: `path` itself, or what follows the signature in
    /// it. Nothing to do when there is no key, but a path that carries a signature still loses it.
    ///
    /// # Errors
    /// No good signature at `now`, in seconds since the Unix epoch.
    pub fn check<'p>(&self, path: &'p [u8], query: Option<&[u8]>, now: u64) -> Result<&'p [u8], Denied> {
        if let Some(signed) = in_path(path) {
            let (claim, path) = signed.ok_or(Denied::Malformed)?;
            return self.verify(&claim, path, now).map(|()| path);
        }
        if self.is_empty() {
            return Ok(path);
        }
        let claim = in_query(query.unwrap_or_default())?;
        self.verify(&claim, path, now).map(|()| path)
    }

    fn verify(&self, claim: &Claim<'_>, path: &[u8], now: u64) -> Result<(), Denied> {
        if self.is_empty() {
            return Ok(());
        }
        let mut signature = [0; 33];
        // The text is as long as a canonical one; the decoder refuses stray bits in its last character.
        let Ok(signature) = Base64UrlUnpadded::decode(claim.signature, &mut signature) else {
            return Err(Denied::Malformed);
        };
        let (scope, covered) = match claim.prefix_segments {
            None => (Scope::File, path),
            Some(count) => (Scope::Prefix, prefix_of(path, count).ok_or(Denied::Wrong)?),
        };
        // Every key is tried in full: neither the time nor the answer tells which one fits.
        let fits = self.0.iter().fold(false, |fits, key| {
            fits | key.mac(scope, claim.expires, covered).verify_slice(signature).is_ok()
        });
        // The signature first: a stranger learns nothing about when his guess expired.
        if !fits {
            return Err(Denied::Wrong);
        }
        if now >= claim.expires { Err(Denied::Expired) } else { Ok(()) }
    }

    /// The path and query of a URL for one file, good until `expires` (seconds since the Unix epoch); nothing when there
    /// is no key. `path` is decoded and has no leading slash; the result is encoded and has one.
    #[must_use]
    pub fn sign_file(&self, path: &[u8], expires: u64) -> Option<String> {
        let signature = self.signature(Scope::File, path, expires)?;
        Some(alloc::format!("/{}?expires={expires}&sig={signature}", encoded(path)))
    }

    /// As [`Keys::sign_file`], for `path` and everything else in its directory and below. The signature is in the path,
    /// so that relative URLs in a playlist keep it.
    #[must_use]
    pub fn sign_directory_of(&self, path: &[u8], expires: u64) -> Option<String> {
        let end = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let prefix = &path[..end];
        let count = prefix.iter().filter(|&&byte| byte == b'/').count();
        let signature = self.signature(Scope::Prefix, prefix, expires)?;
        Some(alloc::format!("/.signed/{expires}/{count}/{signature}/{}", encoded(path)))
    }

    /// As [`Keys::sign_directory_of`], with the signature in the query, for players that add it to every URL.
    #[must_use]
    pub fn sign_directory_of_in_query(&self, path: &[u8], expires: u64) -> Option<String> {
        let end = path.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let count = path[..end].iter().filter(|&&byte| byte == b'/').count();
        let signature = self.signature(Scope::Prefix, &path[..end], expires)?;
        Some(alloc::format!("/{}?expires={expires}&prefix={count}&sig={signature}", encoded(path)))
    }

    fn signature(&self, scope: Scope, path: &[u8], expires: u64) -> Option<String> {
        let mac = self.0.first()?.mac(scope, expires, path).finalize().into_bytes();
        Some(Base64UrlUnpadded::encode_string(&mac))
    }
}

/// What a URL says about its own signature.
struct Claim<'a> {
    expires: u64,
    /// How many leading segments of the path are signed; all of it when nothing is said.
    prefix_segments: Option<u64>,
    signature: &'a [u8],
}

impl<'a> Claim<'a> {
    fn new(expires: &[u8], prefix: Option<&[u8]>, signature: &'a [u8]) -> Option<Self> {
        if signature.len() != SIGNATURE_BYTES {
            return None;
        }
        let prefix_segments = match prefix {
            None => None,
            Some(count) => Some(digits(count)?),
        };
        Some(Self { expires: digits(expires)?, prefix_segments, signature })
    }
}

/// The claim in a path and the path behind it; nothing inside when the mark is there and the rest is not.
fn in_path(path: &[u8]) -> Option<Option<(Claim<'_>, &[u8])>> {
    let rest = path.strip_prefix(PATH_MARK)?.strip_prefix(b"/")?;
    let mut parts = rest.splitn(4, |&byte| byte == b'/');
    let (Some(expires), Some(prefix), Some(signature), Some(path)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Some(None);
    };
    Some(Claim::new(expires, Some(prefix), signature).map(|claim| (claim, path)))
}

fn in_query(query: &[u8]) -> Result<Claim<'_>, Denied> {
    let signature = query_value(query, b"sig").ok_or(Denied::Missing)?;
    let expires = query_value(query, b"expires").ok_or(Denied::Malformed)?;
    Claim::new(expires, query_value(query, b"prefix"), signature).ok_or(Denied::Malformed)
}

/// The first `count` segments of `path`, each with its slash.
fn prefix_of(path: &[u8], count: u64) -> Option<&[u8]> {
    let Some(last) = count.checked_sub(1) else { return Some(b"") };
    let slash = path
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'/')
        .map(|(index, _)| index)
        .nth(usize::try_from(last).ok()?)?;
    Some(&path[..=slash])
}

fn encoded(path: &[u8]) -> String {
    encode(path).map(char::from).collect()
}

#[cfg(test)]
mod tests;
