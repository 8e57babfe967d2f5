//! What rustls tells only its callbacks: traffic secrets and the name the client asked for.
//!
//! ```text
//!   Flow::step ──► reset ──► rustls.process_tls_records ──► KeyLog::log, ResolvesServerCert::resolve
//!        ▲                                                            │
//!        └──────────────────────── take ◄────── this thread's Captured ◄
//! ```
//!
//! rustls calls back within the call, on the thread of the call, and a configuration is shared by all handshakes. So
//! the place is the thread's, emptied before each call and taken after it: nothing of one handshake can reach another.

#![expect(clippy::disallowed_types, reason = "rustls shares its callbacks by Arc")]

use core::cell::RefCell;
use core::fmt::Debug;
use std::sync::Arc;

use rustls::KeyLog;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tls::SecretBytes;

thread_local! {
    static CAPTURED: RefCell<Captured> = const { RefCell::new(Captured::EMPTY) };
}

/// Where connection secrets are also written, in the words of the NSS key log (`SSLKEYLOGFILE`), when an operator
/// wants to read his own traffic. Called on the worker, during handshakes: it must not block.
pub trait SecretLog: Debug + Send + Sync {
    /// One line's three fields.
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]);
}

/// What the callbacks of one call said.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) client_traffic: Option<SecretBytes>,
    pub(crate) server_traffic: Option<SecretBytes>,
    pub(crate) server_name: Option<Box<str>>,
    /// The resolver had no certificate.
    pub(crate) unresolved: bool,
}

impl Captured {
    pub(crate) const EMPTY: Self =
        Self { client_traffic: None, server_traffic: None, server_name: None, unresolved: false };

    /// Runs a call into rustls and adds what its callbacks say.
    pub(crate) fn during<T>(&mut self, call: impl FnOnce() -> T) -> T {
        CAPTURED.with(|captured| captured.replace(Self::EMPTY));
        let result = call();
        let Self { client_traffic, server_traffic, server_name, unresolved } =
            CAPTURED.with(|captured| captured.replace(Self::EMPTY));
        self.client_traffic = client_traffic.or_else(|| self.client_traffic.take());
        self.server_traffic = server_traffic.or_else(|| self.server_traffic.take());
        self.server_name = server_name.or_else(|| self.server_name.take());
        self.unresolved |= unresolved;
        result
    }
}

/// A key log that captures, and passes on to the one that was configured.
#[derive(Debug)]
pub(crate) struct CapturingKeyLog {
    pub(crate) next: Arc<dyn KeyLog>,
}

impl KeyLog for CapturingKeyLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        CAPTURED.with(|captured| {
            let mut captured = captured.borrow_mut();
            match label {
                "CLIENT_TRAFFIC_SECRET_0" => captured.client_traffic = SecretBytes::new(secret),
                "SERVER_TRAFFIC_SECRET_0" => captured.server_traffic = SecretBytes::new(secret),
                _ => {}
            }
        });
        if self.next.will_log(label) {
            self.next.log(label, client_random, secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        matches!(label, "CLIENT_TRAFFIC_SECRET_0" | "SERVER_TRAFFIC_SECRET_0") || self.next.will_log(label)
    }
}

/// A resolver that captures the name the client asked for, and passes the question on.
#[derive(Debug)]
pub(crate) struct CapturingResolver {
    pub(crate) next: Arc<dyn ResolvesServerCert>,
}

impl ResolvesServerCert for CapturingResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if let Some(name) = hello.server_name() {
            CAPTURED.with(|captured| captured.borrow_mut().server_name = Some(name.into()));
        }
        let resolved = self.next.resolve(hello);
        if resolved.is_none() {
            CAPTURED.with(|captured| captured.borrow_mut().unresolved = true);
        }
        resolved
    }

    fn only_raw_public_keys(&self) -> bool {
        self.next.only_raw_public_keys()
    }
}

/// A [`SecretLog`] as rustls wants it.
#[derive(Debug)]
pub(crate) struct Logged(pub(crate) Box<dyn SecretLog>);

impl KeyLog for Logged {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        self.0.log(label, client_random, secret);
    }
}
