//! The server's certificate: read and checked before anybody is shown it, or made when there is none.
//!
//! Everything that would otherwise be found out by the first client is found out here: a key that belongs to another
//! certificate, a date that has passed, an encrypted key, a file in the wrong place.

use core::fmt;
use core::time::Duration;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate, X509Version};

use crate::Opener;

/// How long a certificate that we made is valid; browsers refuse longer ones.
const SELF_SIGNED_DAYS: i64 = 397;
const DAY_SECONDS: i64 = 86_400;
/// A file of more than this is no chain and no key.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// A chain with its private key, known to belong together and to be valid.
pub struct Certificate {
    certified: Arc<CertifiedKey>,
    key: PrivateKeyDer<'static>,
    names: Vec<String>,
    not_after: i64,
    self_signed: bool,
}

/// Why there is no certificate. The operator's, in all but the last case.
#[derive(Debug)]
pub enum CertificateError {
    /// The file is not there, or not for us.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds no certificate in PEM form, or a broken one.
    NoCertificate {
        /// Which file.
        path: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// The file holds no private key in PEM form, or a broken one.
    NoKey {
        /// Which file.
        path: PathBuf,
        /// What was found instead.
        why: String,
    },
    /// The key is encrypted, and there is nobody to ask for the passphrase.
    EncryptedKey {
        /// Which file.
        path: PathBuf,
    },
    /// The certificate is older than what clients understand.
    OldVersion {
        /// Which file.
        path: PathBuf,
        /// Its X.509 version, counted from 1.
        version: u32,
    },
    /// The certificate was made for another key.
    KeyMismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The certificate's time is over.
    Expired {
        /// Which file.
        path: PathBuf,
        /// When.
        date: String,
    },
    /// The certificate's time has not come.
    NotYetValid {
        /// Which file.
        path: PathBuf,
        /// When it will.
        date: String,
    },
    /// Our own certificate could not be made.
    Generate(rcgen::Error),
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::NoCertificate { path, why } => {
                write!(f, "{} is not a PEM certificate chain: {why}", path.display())
            }
            Self::NoKey { path, why } => write!(f, "{} is not a PEM private key: {why}", path.display()),
            Self::EncryptedKey { path } => write!(
                f,
                "the key in {} is encrypted; decrypt it with `openssl pkey -in {0} -out KEY`",
                path.display()
            ),
            Self::OldVersion { path, version } => write!(
                f,
                "the certificate in {} is of X.509 version {version}; make one of version 3, with a subjectAltName",
                path.display()
            ),
            Self::KeyMismatch { certificate, key } => write!(
                f,
                "the key in {} does not match the certificate in {}",
                key.display(),
                certificate.display()
            ),
            Self::Expired { path, date } => {
                write!(f, "the certificate in {} expired on {date}; renew it", path.display())
            }
            Self::NotYetValid { path, date } => write!(
                f,
                "the certificate in {} is valid only from {date} on; check this machine's clock",
                path.display()
            ),
            Self::Generate(error) => write!(f, "cannot make a self-signed certificate: {error}"),
        }
    }
}

impl core::error::Error for CertificateError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            Self::Generate(source) => Some(source),
            _ => None,
        }
    }
}

impl Certificate {
    /// Reads a chain, leaf first, and its key from PEM files, which may be the same file, and checks them.
    ///
    /// # Errors
    /// Every way in which a client would be disappointed.
    pub fn load(
        opener: &dyn Opener,
        certificate: &Path,
        key: &Path,
        now: SystemTime,
        provider: &CryptoProvider,
    ) -> Result<Self, CertificateError> {
        let chain = read_chain(opener, certificate)?;
        // Asked first: rustls would only say that it knows no such version.
        if let Some(version) = old_version(&chain) {
            return Err(CertificateError::OldVersion { path: certificate.into(), version });
        }
        let key_der = read_key(opener, key)?;
        let certified =
            CertifiedKey::from_der(chain, key_der.clone_key(), provider).map_err(|error| match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    CertificateError::KeyMismatch { certificate: certificate.into(), key: key.into() }
                }
                rustls::Error::InvalidCertificate(why) => {
                    CertificateError::NoCertificate { path: certificate.into(), why: why.to_string() }
                }
                other => CertificateError::NoKey { path: key.into(), why: other.to_string() },
            })?;
        let leaf = Leaf::parse(&certified)
            .map_err(|why| CertificateError::NoCertificate { path: certificate.into(), why })?;
        let now = unix_seconds(now);
        if now > leaf.not_after {
            return Err(CertificateError::Expired { path: certificate.into(), date: date(leaf.not_after) });
        }
        if now < leaf.not_before {
            let date = date(leaf.not_before);
            return Err(CertificateError::NotYetValid { path: certificate.into(), date });
        }
        Ok(Self {
            certified: Arc::new(certified),
            key: key_der,
            names: leaf.names,
            not_after: leaf.not_after,
            self_signed: false,
        })
    }

    /// Makes a certificate for `names`, DNS names or IP addresses, signed by itself with a fresh P-256 key.
    ///
    /// # Errors
    /// A name is not one, or the machine has no randomness.
    pub fn self_signed(
        names: &[String],
        now: SystemTime,
        provider: &CryptoProvider,
    ) -> Result<Self, CertificateError> {
        let mut params = CertificateParams::new(names).map_err(CertificateError::Generate)?;
        params.distinguished_name.push(DnType::CommonName, "atlas self-signed");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        // A day of grace for clients whose clock is behind.
        let not_before = unix_seconds(now) - DAY_SECONDS;
        let not_after = not_before + SELF_SIGNED_DAYS * DAY_SECONDS;
        if let (Ok(from), Ok(to)) =
            (ASN1Time::from_timestamp(not_before), ASN1Time::from_timestamp(not_after))
        {
            params.not_before = from.to_datetime();
            params.not_after = to.to_datetime();
        }
        let pair = KeyPair::generate().map_err(CertificateError::Generate)?;
        let certificate = params.self_signed(&pair).map_err(CertificateError::Generate)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let certified = CertifiedKey::from_der(vec![certificate.der().clone()], key.clone_key(), provider)
            .map_err(|_| CertificateError::Generate(rcgen::Error::CouldNotParseKeyPair))?;
        Ok(Self { certified: Arc::new(certified), key, names: names.to_vec(), not_after, self_signed: true })
    }

    /// The chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The private key.
    #[must_use]
    pub const fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// Both, as a handshake uses them.
    #[must_use]
    pub fn certified(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }

    /// What the certificate is for: DNS names and addresses.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// We made it ourselves.
    #[must_use]
    pub const fn is_self_signed(&self) -> bool {
        self.self_signed
    }

    /// The last day on which it is valid.
    #[must_use]
    pub fn expiry_date(&self) -> String {
        date(self.not_after)
    }

    /// How long it is still valid.
    #[must_use]
    pub fn valid_for(&self, now: SystemTime) -> Duration {
        Duration::from_secs(u64::try_from(self.not_after - unix_seconds(now)).unwrap_or(0))
    }

    /// Both certificates are the same, byte for byte.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .field("expires", &self.expiry_date())
            .field("self_signed", &self.self_signed)
            .finish_non_exhaustive()
    }
}

/// What we read off the leaf.
struct Leaf {
    names: Vec<String>,
    not_before: i64,
    not_after: i64,
}

impl Leaf {
    fn parse(certified: &CertifiedKey) -> Result<Self, String> {
        let der = certified.end_entity_cert().map_err(|error| error.to_string())?;
        let (_, leaf) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let names = leaf.subject_alternative_name().ok().flatten().map_or_else(Vec::new, |extension| {
            extension.value.general_names.iter().filter_map(name).collect()
        });
        let validity = leaf.validity();
        Ok(Self {
            names,
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(|octets| core::net::IpAddr::from(octets).to_string())
            .or_else(|_| {
                <[u8; 16]>::try_from(*bytes).map(|octets| core::net::IpAddr::from(octets).to_string())
            })
            .ok(),
        _ => None,
    }
}

/// Reads a PEM file.
fn read(opener: &dyn Opener, path: &Path) -> Result<Vec<u8>, CertificateError> {
    opener
        .read(path, PEM_BYTES_MAX)
        .map_err(|source| CertificateError::Unreadable { path: path.into(), source })
}

fn read_chain(opener: &dyn Opener, path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let refused =
        |error: pem::Error| CertificateError::NoCertificate { path: path.into(), why: error.to_string() };
    let bytes = read(opener, path)?;
    let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>().map_err(refused)?;
    if chain.is_empty() {
        return Err(refused(pem::Error::NoItemsFound));
    }
    Ok(chain)
}

/// The version of the leaf, counted from 1, where it is not the third (RFC 5280 §4.1.2.1).
fn old_version(chain: &[CertificateDer<'_>]) -> Option<u32> {
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    (leaf.version() != X509Version::V3).then(|| leaf.version().0.saturating_add(1))
}

fn read_key(opener: &dyn Opener, path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let bytes = read(opener, path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| {
        let encrypted = [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"]
            .iter()
            .any(|mark| bytes.windows(mark.len()).any(|window| window == *mark));
        if encrypted {
            CertificateError::EncryptedKey { path: path.into() }
        } else {
            CertificateError::NoKey { path: path.into(), why: error.to_string() }
        }
    })
}

fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// As `2026-03-31`.
fn date(unix_seconds: i64) -> String {
    ASN1Time::from_timestamp(unix_seconds)
        .map_or_else(|_| "an unknown date".to_owned(), |time| time.to_datetime().date().to_string())
}

#[cfg(test)]
mod tests;
