//! What an operator decides about answers.

use crate::query_log::Rule;
use crate::rrl::Rate;
use crate::transfer::notice::Notices;
use dns::cookie::Secret;

/// The settings of a responder.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The largest UDP answer, whatever a client takes: 1232 passes every path (RFC 9715).
    pub udp_bytes_max: u16,
    /// Answers to ANY are one RRset (RFC 8482 §4.1).
    pub any_is_minimal: bool,
    /// What cookies are made with (RFC 9018); servers of one address share it.
    pub cookie_secret: Option<Secret>,
    /// Who we say we are, to NSID (RFC 5001), `id.server.` and `hostname.bind.`.
    pub identity: Option<Box<[u8]>>,
    /// What we say we are, to `version.server.` and `version.bind.`.
    pub version: Option<Box<[u8]>>,
    /// How many answers of a kind a network gets.
    pub rate: Option<Rate>,
    /// Which questions are written down, if any.
    pub log: Option<Rule>,
    /// How long an idle connection is kept, in units of 100 milliseconds (RFC 7828).
    pub keepalive: u16,
    /// Small frames in which answers lie ready as messages; 0: each is copied.
    pub replicas: usize,
    /// Where words of primaries are left.
    pub notices: Option<Notices>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            udp_bytes_max: 1_232,
            any_is_minimal: true,
            cookie_secret: None,
            identity: None,
            version: None,
            rate: None,
            log: None,
            keepalive: 100,
            replicas: 0,
            notices: None,
        }
    }
}
