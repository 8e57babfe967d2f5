//! The server's handshake, and what it is set to.

#![expect(
    clippy::disallowed_types,
    reason = "rustls wants its configuration in an Arc, shared by all workers"
)]

use core::fmt;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, cipher_suite};
use rustls::kernel::KernelConnection;
use rustls::server::{
    NoServerSessionStorage, ProducesTickets, ServerConfig, ServerConnectionData, UnbufferedServerConnection,
};
use rustls::unbuffered::UnbufferedStatus;
use rustls::{
    CommonState, ExtractedSecrets, KeyLog, NoKeyLog, SupportedCipherSuite, SupportedProtocolVersion,
};
use tls::{Role, Suite, Version};

use crate::capture::{CapturingKeyLog, CapturingResolver, Logged, SecretLog};
use crate::certificates::Certificates;
use crate::error::{HandshakeError, SettingsError};
use crate::flow::{Flow, Progress, Side};

/// The keys that tickets are sealed with. One value is shared by all workers and outlives a change of certificates, so
/// that a client may resume anywhere and after a reload.
///
/// The keys roll by themselves every six hours and open tickets for twelve. Stateless: nothing is kept per client.
#[derive(Clone)]
pub struct Ticketing(Arc<dyn ProducesTickets>);

impl Ticketing {
    /// Fresh keys.
    ///
    /// # Errors
    /// [`SettingsError::Randomness`]
    pub fn new() -> Result<Self, SettingsError> {
        aws_lc_rs::Ticketer::new().map(Self).map_err(|_| SettingsError::Randomness)
    }
}

impl fmt::Debug for Ticketing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticketing")
    }
}

/// What a server offers, besides certificates and tickets.
#[derive(Debug)]
pub struct ServerOptions {
    /// Application protocols, best first.
    pub alpn: Vec<Vec<u8>>,
    /// Versions, in any order.
    pub versions: Vec<Version>,
    /// Ciphers, best first: our order counts, not the client's.
    pub suites: Vec<Suite>,
    /// Where secrets are also written, when that is wanted.
    pub secret_log: Option<Box<dyn SecretLog>>,
}

impl Default for ServerOptions {
    /// HTTP/1.1, both versions, all suites with AES-128-GCM first, no secret log.
    fn default() -> Self {
        Self {
            alpn: vec![b"http/1.1".to_vec()],
            versions: vec![Version::Tls13, Version::Tls12],
            suites: Suite::ALL.to_vec(),
            secret_log: None,
        }
    }
}

/// An immutable snapshot of what handshakes need. Cheap to clone; a new certificate is a new value, put into the
/// place of the old one between two turns. Handshakes under way end with what they began with.
#[derive(Debug, Clone)]
pub struct ServerSettings(Arc<ServerConfig>);

impl ServerSettings {
    /// Settings for production: aws-lc, post-quantum key exchange first, server preference, no 0-RTT.
    ///
    /// # Errors
    /// [`SettingsError::NothingOffered`] when versions and suites leave nothing.
    pub fn new(
        certificates: Certificates,
        ticketing: &Ticketing,
        options: ServerOptions,
    ) -> Result<Self, SettingsError> {
        let ServerOptions { alpn, versions, suites, secret_log } = options;
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = cipher_suites(&suites);
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&protocol_versions(&versions))
            .map_err(|error| SettingsError::NothingOffered(error.to_string().into()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = alpn;
        config.ignore_client_order = true;
        config.ticketer = ticketing.0.clone();
        // Tickets carry all there is; sessions by id would be state that workers share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.key_log = key_log(secret_log);
        Ok(Self::from_rustls(config))
    }

    /// Settings from a configuration of rustls: for a simulation with its own provider and time. Secrets are
    /// extracted and 0-RTT is off whatever it says; its key log is still called.
    #[must_use]
    pub fn from_rustls(mut config: ServerConfig) -> Self {
        config.enable_secret_extraction = true;
        config.max_early_data_size = 0;
        config.send_half_rtt_data = false;
        config.key_log = Arc::new(CapturingKeyLog { next: config.key_log });
        config.cert_resolver = Arc::new(CapturingResolver { next: config.cert_resolver });
        Self(Arc::new(config))
    }
}

/// A server's handshake.
#[derive(Debug)]
pub struct Handshake(Flow<UnbufferedServerConnection>);

impl Handshake {
    /// Waits for a ClientHello.
    ///
    /// # Errors
    /// Ours: the settings are not usable.
    pub fn new(settings: &ServerSettings) -> Result<Self, HandshakeError> {
        Ok(Self(Flow::new(UnbufferedServerConnection::new(settings.0.clone())?)))
    }

    /// Takes the peer's next bytes, in order and in any pieces. Afterwards [`take_output`](Self::take_output) has
    /// what is to be sent, whatever the progress is. After an end there is nothing more to give it.
    ///
    /// A ClientHello costs a signature and a key agreement: about 0.1 ms.
    pub fn on_bytes(&mut self, bytes: &[u8]) -> Progress {
        match self.0.on_bytes(bytes) {
            Ok(None) => Progress::Continue,
            Ok(Some((established, _))) => Progress::Established(Box::new(established)),
            Err(error) => Progress::Failed(error),
        }
    }

    /// What is to be sent: to be kept until it is acknowledged, for it cannot be made again.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<u8> {
        self.0.take_output()
    }

    /// Whether [`take_output`](Self::take_output) would give anything.
    #[must_use]
    pub const fn has_output(&self) -> bool {
        self.0.has_output()
    }

    /// What it holds in buffers, in bytes: at most a record beyond what it was given last. rustls holds
    /// about 2 kB besides.
    #[must_use]
    pub const fn buffered_bytes(&self) -> usize {
        self.0.buffered_bytes()
    }
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    const ROLE: Role = Role::Server;

    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(records)
    }

    fn common(&self) -> &CommonState {
        self
    }

    fn into_kernel(
        self,
    ) -> Result<(ExtractedSecrets, KernelConnection<ServerConnectionData>), rustls::Error> {
        self.dangerous_into_kernel_connection()
    }
}

pub(crate) fn key_log(secret_log: Option<Box<dyn SecretLog>>) -> Arc<dyn KeyLog> {
    match secret_log {
        Some(log) => Arc::new(Logged(log)),
        None => Arc::new(NoKeyLog),
    }
}

pub(crate) fn protocol_versions(versions: &[Version]) -> Vec<&'static SupportedProtocolVersion> {
    let rustls_version = |version: &Version| match version {
        Version::Tls12 => &rustls::version::TLS12,
        Version::Tls13 => &rustls::version::TLS13,
    };
    versions.iter().map(rustls_version).collect()
}

/// Every suite of rustls that is one of ours, in our order.
pub(crate) fn cipher_suites(suites: &[Suite]) -> Vec<SupportedCipherSuite> {
    let rustls_suites = |suite: &Suite| match suite {
        Suite::Aes128Gcm => [
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        ],
        Suite::Aes256Gcm => [
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        ],
        Suite::Chacha20Poly1305 => [
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
    };
    suites.iter().flat_map(rustls_suites).collect()
}
