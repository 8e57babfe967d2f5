//! The cipher suites and versions we speak: exactly those whose records are an AEAD of 12-byte nonce and
//! 16-byte tag.

/// A version of the protocol, as negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// TLS 1.2, RFC 5246, with ECDHE and AEAD suites only.
    Tls12,
    /// TLS 1.3, RFC 8446.
    Tls13,
}

/// The AEAD of a cipher suite. In TLS 1.2 the key exchange and the signature are part of the suite's name too;
/// after the handshake neither matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Suite {
    /// `TLS_AES_128_GCM_SHA256`, `TLS_ECDHE_{ECDSA,RSA}_WITH_AES_128_GCM_SHA256`.
    Aes128Gcm,
    /// `TLS_AES_256_GCM_SHA384`, `TLS_ECDHE_{ECDSA,RSA}_WITH_AES_256_GCM_SHA384`.
    Aes256Gcm,
    /// `TLS_CHACHA20_POLY1305_SHA256`, `TLS_ECDHE_{ECDSA,RSA}_WITH_CHACHA20_POLY1305_SHA256`.
    Chacha20Poly1305,
}

/// The output size of the suite's hash: what its traffic secrets measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashLength {
    /// SHA-256: 32 bytes.
    Sha256,
    /// SHA-384: 48 bytes.
    Sha384,
}

impl HashLength {
    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }
}

impl Suite {
    /// Every suite, in the order of our preference.
    pub const ALL: [Self; 3] = [Self::Aes128Gcm, Self::Aes256Gcm, Self::Chacha20Poly1305];

    /// The size of the AEAD key, in bytes.
    #[must_use]
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::Chacha20Poly1305 => 32,
        }
    }

    /// The hash that the suite's TLS 1.3 key schedule uses.
    #[must_use]
    pub const fn hash(self) -> HashLength {
        match self {
            Self::Aes128Gcm | Self::Chacha20Poly1305 => HashLength::Sha256,
            Self::Aes256Gcm => HashLength::Sha384,
        }
    }
}
