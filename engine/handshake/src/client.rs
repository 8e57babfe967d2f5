//! The client's handshake: for load generators, simulations and tests.

#![expect(clippy::disallowed_types, reason = "rustls wants its configuration in an Arc")]

use core::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnectionData, UnbufferedClientConnection};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::kernel::KernelConnection;
use rustls::unbuffered::UnbufferedStatus;
use rustls::{CommonState, DigitallySignedStruct, ExtractedSecrets, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tls::{Role, Suite, Version};

use crate::capture::{CapturingKeyLog, SecretLog};
use crate::error::{HandshakeError, SettingsError};
use crate::flow::{Established, Flow, Progress, Side};
use crate::server::{cipher_suites, key_log, protocol_versions};

/// Whose certificates a client believes.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// Anyone's: the name and the issuer are not looked at. The handshake is still signed by the certificate's key.
    Anyone,
    /// Those issued by these roots, as PEM text, for the name asked for.
    Roots(&'a [u8]),
}

/// What a client offers.
#[derive(Debug)]
pub struct ClientOptions {
    /// Application protocols, best first.
    pub alpn: Vec<Vec<u8>>,
    /// Versions, in any order.
    pub versions: Vec<Version>,
    /// Ciphers, best first.
    pub suites: Vec<Suite>,
    /// Where secrets are also written, when that is wanted.
    pub secret_log: Option<Box<dyn SecretLog>>,
}

impl Default for ClientOptions {
    /// HTTP/1.1, both versions, all suites, no secret log.
    fn default() -> Self {
        Self {
            alpn: vec![b"http/1.1".to_vec()],
            versions: vec![Version::Tls13, Version::Tls12],
            suites: Suite::ALL.to_vec(),
            secret_log: None,
        }
    }
}

/// What handshakes of a client need, and the tickets it has been given: clones share them.
#[derive(Debug, Clone)]
pub struct ClientSettings(Arc<ClientConfig>);

impl ClientSettings {
    /// Settings with aws-lc.
    ///
    /// # Errors
    /// Versions and suites leave nothing, or the roots are unreadable.
    pub fn new(trust: Trust<'_>, options: ClientOptions) -> Result<Self, SettingsError> {
        let ClientOptions { alpn, versions, suites, secret_log } = options;
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = cipher_suites(&suites);
        let provider = Arc::new(provider);
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&protocol_versions(&versions))
            .map_err(|error| SettingsError::NothingOffered(error.to_string().into()))?;
        let mut config = match trust {
            Trust::Anyone => {
                let verifier = Arc::new(AnyCertificate(provider));
                builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
            }
            Trust::Roots(pem) => builder.with_root_certificates(roots(pem)?).with_no_client_auth(),
        };
        config.alpn_protocols = alpn;
        config.key_log = key_log(secret_log);
        Ok(Self::from_rustls(config))
    }

    /// Settings from a configuration of rustls: for a simulation with its own provider and time. Secrets are
    /// extracted and 0-RTT is off whatever it says; its key log is still called.
    #[must_use]
    pub fn from_rustls(mut config: ClientConfig) -> Self {
        config.enable_secret_extraction = true;
        config.enable_early_data = false;
        config.key_log = Arc::new(CapturingKeyLog { next: config.key_log });
        Self(Arc::new(config))
    }
}

fn roots(pem: &[u8]) -> Result<RootCertStore, SettingsError> {
    let unreadable = |error: &dyn fmt::Display| SettingsError::Roots(error.to_string().into());
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(pem) {
        store.add(root.map_err(|error| unreadable(&error))?).map_err(|error| unreadable(&error))?;
    }
    if store.is_empty() {
        return Err(SettingsError::Roots("the file holds no certificate".into()));
    }
    Ok(store)
}

/// A client's handshake.
#[derive(Debug)]
pub struct ClientHandshake(Flow<UnbufferedClientConnection>);

impl ClientHandshake {
    /// Makes the ClientHello, which is now the output.
    ///
    /// # Errors
    /// The name is none, or ours.
    pub fn new(settings: &ClientSettings, server_name: &str) -> Result<Self, HandshakeError> {
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| {
            HandshakeError::Ours(SettingsError::ServerName(server_name.into()).to_string().into())
        })?;
        let mut flow = Flow::new(UnbufferedClientConnection::new(settings.0.clone(), name)?);
        flow.on_bytes(&[])?;
        Ok(Self(flow))
    }

    /// Takes the peer's next bytes, as [`Handshake::on_bytes`](crate::Handshake::on_bytes) does. With the
    /// connection comes a place for the tickets that a TLS 1.3 server sends behind the handshake.
    pub fn on_bytes(&mut self, bytes: &[u8]) -> Progress<(Established, Tickets13)> {
        match self.0.on_bytes(bytes) {
            Ok(None) => Progress::Continue,
            Ok(Some((established, rest))) => Progress::Established(Box::new((established, Tickets13(rest)))),
            Err(error) => Progress::Failed(error),
        }
    }

    /// What is to be sent: to be kept until it is acknowledged, for it cannot be made again.
    #[must_use]
    pub fn take_output(&mut self) -> Vec<u8> {
        self.0.take_output()
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    const ROLE: Role = Role::Client;

    fn process<'c, 'i>(
        &'c mut self,
        records: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(records)
    }

    fn common(&self) -> &CommonState {
        self
    }

    fn into_kernel(
        self,
    ) -> Result<(ExtractedSecrets, KernelConnection<ClientConnectionData>), rustls::Error> {
        self.dangerous_into_kernel_connection()
    }
}

/// Where the tickets of a TLS 1.3 server go, so that a later handshake under the same settings resumes. About 1.5 kB;
/// drop it to do without.
pub struct Tickets13(KernelConnection<ClientConnectionData>);

impl Tickets13 {
    /// Keeps the ticket of a [`tls::Message::NewSessionTicket`].
    ///
    /// # Errors
    /// [`TicketError`]
    pub fn on_new_session_ticket(&mut self, body: &[u8]) -> Result<(), TicketError> {
        self.0.handle_new_session_ticket(body).map_err(|error| TicketError(error.to_string().into()))
    }
}

impl fmt::Debug for Tickets13 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets13")
    }
}

/// A ticket of the peer's that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TicketError(Box<str>);

impl fmt::Display for TicketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peer's ticket cannot be used: {}", self.0)
    }
}

impl core::error::Error for TicketError {}

/// Believes every certificate, but checks that the handshake was signed by its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
