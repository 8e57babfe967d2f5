//! Certificates, and which of them a client gets.
//!
//! ```text
//!   SNI "a.example.org" ──► exact name ──► "*.example.org" ──► the first certificate
//!                           among those of one name: the first whose key the client can verify
//! ```

#![expect(clippy::disallowed_types, reason = "rustls shares its certificates by Arc")]

use core::fmt;
use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate chain with its private key, checked to belong together.
#[derive(Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
}

impl Certificate {
    /// Reads a chain, leaf first, and a key (PKCS#8, PKCS#1 or SEC1) from PEM text.
    ///
    /// # Errors
    /// What an operator can get wrong about the two files.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|error| CertificateError::Chain(error.to_string().into()))?;
        if chain.is_empty() {
            return Err(CertificateError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            rustls_pki_types::pem::Error::NoItemsFound => CertificateError::NoKey,
            other => CertificateError::Key(other.to_string().into()),
        })?;
        Self::from_der(chain, key)
    }

    /// Takes a chain, leaf first, and a key.
    ///
    /// # Errors
    /// They do not parse or do not belong together.
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        let leaf = chain.first().ok_or(CertificateError::NoCertificate)?;
        let names = webpki::EndEntityCert::try_from(leaf)
            .map_err(|error| CertificateError::Chain(error.to_string().into()))?
            .valid_dns_names()
            .map(str::to_ascii_lowercase)
            .collect();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => CertificateError::Mismatch,
            other => CertificateError::Key(other.to_string().into()),
        })?;
        Ok(Self { key: Arc::new(key), names })
    }

    /// The DNS names it is for, wildcards included.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).finish_non_exhaustive()
    }
}

/// An immutable set of certificates. To change it, make another and other settings around it.
#[derive(Debug)]
pub struct Certificates {
    all: Vec<Certificate>,
    by_name: BTreeMap<String, Vec<usize>>,
}

impl Certificates {
    /// This certificate for whoever names none of the others.
    #[must_use]
    pub fn new(default: Certificate) -> Self {
        Self { all: Vec::new(), by_name: BTreeMap::new() }.with(default)
    }

    /// And this one, for its names.
    #[must_use]
    pub fn with(mut self, certificate: Certificate) -> Self {
        let index = self.all.len();
        for name in &certificate.names {
            self.by_name.entry(name.clone()).or_default().push(index);
        }
        self.all.push(certificate);
        self
    }

    /// The certificate for this name (any, when there is none) and these signature schemes (any, when none fits:
    /// rustls then finds the right alert for what is really missing, often a common suite).
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Certificate> {
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wildcard =
                || name.split_once('.').and_then(|(_, rest)| self.by_name.get(&format!("*.{rest}")));
            self.by_name.get(&name).or_else(wildcard)
        });
        let mut candidates =
            named.into_iter().flatten().filter_map(|&index| self.all.get(index)).chain(&self.all);
        candidates
            .find(|certificate| certificate.key.key.choose_scheme(schemes).is_some())
            .or_else(|| self.all.first())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes()).map(|certificate| certificate.key.clone())
    }
}

/// Why certificate and key files make no certificate: the operator's fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateError {
    /// The chain holds no certificate.
    NoCertificate,
    /// The chain does not parse.
    Chain(Box<str>),
    /// The key file holds no private key.
    NoKey,
    /// The key does not parse, or is of a kind that cannot sign here.
    Key(Box<str>),
    /// The key is not the certificate's.
    Mismatch,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCertificate => f.write_str("the certificate file holds no certificate"),
            Self::Chain(why) => write!(f, "the certificate cannot be read: {why}"),
            Self::NoKey => f.write_str("the key file holds no private key"),
            Self::Key(why) => write!(f, "the private key cannot be used: {why}"),
            Self::Mismatch => f.write_str("the private key does not belong to the certificate"),
        }
    }
}

impl core::error::Error for CertificateError {}

#[cfg(test)]
mod tests;
