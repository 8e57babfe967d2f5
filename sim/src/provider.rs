//! A rustls provider whose every random byte comes from the seed.
//!
//! aws-lc-rs ignores supplied randomness, so key exchange is another crate's ([`X25519`] over `x25519-dalek`), and the
//! random bytes, the tickets and the time are the world's. Hashes, HKDF, AEADs and Ed25519 signatures are functions
//! of their input and stay aws-lc-rs's, as in production. Two handshakes with equal seeds are equal byte for byte.
//!
//! None of this is secret: never use it outside of a simulation.

use alloc::sync::Arc;
use rustls::crypto::{CryptoProvider, GetRandomFailed, SecureRandom, SupportedKxGroup, aws_lc_rs};
use rustls::server::ProducesTickets;
use rustls::{CipherSuite, ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Mutex;

use crate::random::{Dice, Seed};
use crate::time::SimClock;

mod exchange;
mod tickets;

#[cfg(test)]
mod tests;

pub use exchange::X25519;
pub use tickets::SeededTickets;

/// The name on the world's certificate.
pub const SERVER_NAME: &str = "atlas.test";

/// The three suites of TLS 1.3 that we serve.
pub const SUITES_13: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// The three suites of TLS 1.2 that we serve with an Ed25519 certificate.
pub const SUITES_12: [CipherSuite; 3] = [
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// Random bytes from the seed, for rustls.
#[derive(Debug)]
pub struct SeededRandom {
    // A mutex because rustls asks for `Sync`, not because threads meet here.
    dice: Mutex<Dice>,
}

impl SeededRandom {
    /// Bytes from `dice`, for as long as the process lives: rustls names its randomness by a `'static` reference. A
    /// world leaks a few hundred bytes for each of its providers.
    #[must_use]
    pub fn leaked(dice: Dice) -> &'static Self {
        Box::leak(Box::new(Self { dice: Mutex::new(dice) }))
    }

    /// The next `N` bytes.
    ///
    /// # Panics
    /// Never: nothing panics while it holds the dice.
    #[must_use]
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.dice.lock().expect("not poisoned").fill(&mut bytes);
        bytes
    }
}

impl SecureRandom for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        self.dice.lock().map_err(|_| GetRandomFailed)?.fill(bytes);
        Ok(())
    }
}

/// A provider that draws from `dice` and offers only `suites`, in this order.
///
/// # Panics
/// aws-lc-rs does not know one of the suites.
#[must_use]
pub fn provider(dice: Dice, suites: &[CipherSuite]) -> CryptoProvider {
    let random = SeededRandom::leaked(dice);
    let exchange: &'static X25519 = Box::leak(Box::new(X25519::new(random)));
    let known = |suite: &CipherSuite| -> SupportedCipherSuite {
        *aws_lc_rs::ALL_CIPHER_SUITES
            .iter()
            .find(|known| known.suite() == *suite)
            .expect("aws-lc-rs knows the suites we serve")
    };
    let exchange: &'static dyn SupportedKxGroup = exchange;
    CryptoProvider {
        cipher_suites: suites.iter().map(known).collect(),
        kx_groups: vec![exchange],
        secure_random: random,
        ..aws_lc_rs::default_provider()
    }
}

/// The world's certificate and key: the same in every world, so that a trace does not depend on the day.
#[derive(Debug)]
pub struct Identity {
    /// Self-signed, for [`SERVER_NAME`].
    pub certificate: CertificateDer<'static>,
    /// Its Ed25519 key.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Makes the certificate.
    ///
    /// # Panics
    /// Never: the key is a constant.
    #[must_use]
    pub fn new() -> Self {
        // PKCS #8 of an Ed25519 private key (RFC 8410 §7): this prefix and 32 bytes, any 32 bytes.
        const PREFIX: [u8; 16] =
            [0x30, 0x2E, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let mut der = PREFIX.to_vec();
        der.extend_from_slice(b"a key that everybody may know...");
        let pkcs8 = PrivatePkcs8KeyDer::from(der);
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &rcgen::PKCS_ED25519)
            .expect("32 bytes are an Ed25519 key");
        let certificate = rcgen::CertificateParams::new([SERVER_NAME.to_owned()])
            .expect("a DNS name")
            .self_signed(&pair)
            .expect("an Ed25519 key signs");
        Self { certificate: certificate.der().clone(), key: PrivateKeyDer::Pkcs8(pkcs8) }
    }
}

/// The server's side of TLS: both versions, all suites, tickets, secrets to be taken out.
///
/// # Panics
/// Never: the provider and the identity fit each other.
#[must_use]
pub fn server_config(seed: Seed, clock: SimClock, identity: &Identity) -> ServerConfig {
    let suites = [SUITES_13, SUITES_12].concat();
    let provider = provider(seed.dice("tls server", 0), &suites);
    let mut config = ServerConfig::builder_with_details(Arc::new(provider), Arc::new(clock))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("both versions have suites")
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .expect("the key is the certificate's");
    let tickets: Arc<dyn ProducesTickets> = Arc::new(SeededTickets::new(seed.dice("tickets", 0)));
    config.ticketer = tickets;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.enable_secret_extraction = true;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// A client's side of TLS: one suite, and with it one version. Trusts only the world's certificate, by the ordinary
/// rules of WebPKI.
///
/// # Panics
/// Never: as above.
#[must_use]
pub fn client_config(dice: Dice, clock: SimClock, identity: &Identity, suite: CipherSuite) -> ClientConfig {
    let version: &[&rustls::SupportedProtocolVersion] =
        if SUITES_13.contains(&suite) { &[&rustls::version::TLS13] } else { &[&rustls::version::TLS12] };
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate.clone()).expect("a certificate");
    let mut config = ClientConfig::builder_with_details(Arc::new(provider(dice, &[suite])), Arc::new(clock))
        .with_protocol_versions(version)
        .expect("the version has the suite")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}
