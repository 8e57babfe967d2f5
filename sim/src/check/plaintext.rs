//! Guards secrecy: a TLS port shows nothing.

use memchr::memmem::Finder;

use super::{Breach, Checker, Seen};
use crate::content::MARKER;

/// No packet from the TLS port holds a marker of an object's content, or the beginning of a response.
///
/// The handshake's own plaintext holds neither. The one response that may be in the clear is the 400 to a client that
/// spoke plainly itself: at the beginning of a packet, and alone in it.
#[derive(Debug)]
pub struct ShowsNoPlaintext {
    secure_port: u16,
    marker: Finder<'static>,
    head: Finder<'static>,
}

const PLAIN_REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\n";

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
        let refusal = usize::from(seen.payload.starts_with(PLAIN_REFUSAL));
        for (finder, name, may_be) in [(&self.marker, "content", 0), (&self.head, "a response head", refusal)]
        {
            if finder.find_iter(seen.payload).nth(may_be).is_some() {
                breaches.push(Breach {
                    at: seen.at,
                    law: "ShowsNoPlaintext",
                    what: format!("{name} in the clear: {:?}", seen.segment),
                });
            }
        }
    }
}
