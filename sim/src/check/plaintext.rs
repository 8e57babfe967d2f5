//! Guards secrecy: a TLS port shows nothing.

use memchr::memmem::Finder;

use super::{Breach, Checker, Seen};
use crate::content::MARKER;

/// No packet from the TLS port holds a marker of an object's content, or the beginning of a response.
///
/// The handshake's own plaintext holds neither.
#[derive(Debug)]
pub struct ShowsNoPlaintext {
    secure_port: u16,
    marker: Finder<'static>,
    head: Finder<'static>,
}

impl ShowsNoPlaintext {
    /// Watches this port.
    #[must_use]
    pub fn new(secure_port: u16) -> Self {
        Self { secure_port, marker: Finder::new(MARKER), head: Finder::new(b"HTTP/1.1 ") }
    }
}

impl Checker for ShowsNoPlaintext {
    fn on_sent(&mut self, seen: Seen<'_>, breaches: &mut Vec<Breach>) {
        if seen.segment.source.port() != self.secure_port {
            return;
        }
        for (finder, name) in [(&self.marker, "content"), (&self.head, "a response head")] {
            if finder.find(seen.payload).is_some() {
                breaches.push(Breach {
                    at: seen.at,
                    law: "ShowsNoPlaintext",
                    what: format!("{name} in the clear: {:?}", seen.segment),
                });
            }
        }
    }
}
