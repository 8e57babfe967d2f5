//! What a visitor does: visits, each one connection, each with requests and an ending.

use core::ops::Range;
use core::time::Duration;

use crate::content::Content;

/// One connection.
#[derive(Clone, Debug)]
pub struct Visit {
    /// TLS, on the secure port.
    pub secure: bool,
    /// What is asked for, in order.
    pub requests: Vec<Request>,
    /// All requests are sent at once; otherwise each after the response to the one before.
    pub pipelined: bool,
    /// A `KeyUpdate` that asks for one in return goes before each request after the first, and in the middle of long
    /// responses (TLS 1.3).
    pub key_updates: bool,
    /// Request heads are sent this slowly: so many bytes each time.
    pub trickle: Option<(usize, Duration)>,
    /// At most this many bytes a second are read.
    pub read_rate: Option<u64>,
    /// How it ends.
    pub ending: Ending,
    /// What is sent instead of requests; anything may come back.
    pub garbage: Option<Vec<u8>>,
    /// How long to wait before it.
    pub after: Duration,
}

impl Visit {
    /// An ordinary visit.
    #[must_use]
    pub fn new(secure: bool, requests: Vec<Request>) -> Self {
        Self {
            secure,
            requests,
            pipelined: false,
            key_updates: false,
            trickle: None,
            read_rate: None,
            ending: Ending::Close,
            garbage: None,
            after: Duration::ZERO,
        }
    }

    /// It ends before everything was received.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.garbage.is_some()
            || matches!(self.ending, Ending::Abort(_) | Ending::Vanish(_) | Ending::Forget(_))
    }
}

impl Visit {
    /// It asks for an object that may change meanwhile.
    #[must_use]
    pub fn reads_what_changes(&self) -> bool {
        self.requests.iter().any(|request| request.later_versions > 0)
    }
}

/// How a visit ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// We close after the last response.
    Close,
    /// The last request asks the server to close.
    ServerCloses,
    /// We send FIN right behind the last request, and still want the responses.
    EarlyFin,
    /// We wait until the server has had enough of an idle connection.
    Idle,
    /// We reset after so many bytes of bodies.
    Abort(u64),
    /// We are gone after so many bytes of bodies.
    Vanish(u64),
    /// We restart after so many bytes of bodies.
    Forget(u64),
}

/// One request, and what must come of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// GET, HEAD, OPTIONS or worse.
    pub method: &'static str,
    /// The target.
    pub target: String,
    /// More header lines, each with its CRLF.
    pub headers: String,
    /// What must come of it.
    pub expect: Expect,
    /// How many later versions of the object may have come in its place meanwhile.
    pub later_versions: u32,
}

/// What must come of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// This status, with these bytes of this object if it has a body.
    Object {
        /// 200 or 206.
        status: u16,
        /// Which object.
        content: Content,
        /// Which bytes.
        range: Range<u64>,
    },
    /// This status; the body, if any, is the server's own.
    Status(u16),
}

/// The target of an object.
#[must_use]
pub fn target(object: u32) -> String {
    format!("/{}", path(object))
}

/// The path of an object below the root.
#[must_use]
pub fn path(object: u32) -> String {
    format!("o/{object}.m4s")
}

impl Request {
    /// All of an object.
    #[must_use]
    pub fn get(object: u32, len: u64) -> Self {
        Self {
            method: "GET",
            target: target(object),
            headers: String::new(),
            expect: Expect::Object { status: 200, content: Content::of(object), range: 0..len },
            later_versions: 0,
        }
    }

    /// The head only.
    #[must_use]
    pub fn head(object: u32, len: u64) -> Self {
        Self { method: "HEAD", ..Self::get(object, len) }
    }

    /// A part of an object, which must not be empty and must lie within it.
    #[must_use]
    pub fn range(object: u32, range: Range<u64>) -> Self {
        Self {
            method: "GET",
            target: target(object),
            headers: format!("Range: bytes={}-{}\r\n", range.start, range.end - 1),
            expect: Expect::Object { status: 206, content: Content::of(object), range },
            later_versions: 0,
        }
    }

    /// A request that has no object to show.
    #[must_use]
    pub fn answered_with(method: &'static str, target: String, status: u16) -> Self {
        Self { method, target, headers: String::new(), expect: Expect::Status(status), later_versions: 0 }
    }

    /// The head on the wire.
    #[must_use]
    pub fn emit(&self, close: bool) -> Vec<u8> {
        let Self { method, target, headers, expect: _, later_versions: _ } = self;
        let connection = if close { "Connection: close\r\n" } else { "" };
        format!("{method} {target} HTTP/1.1\r\nHost: atlas.test\r\n{connection}{headers}\r\n").into_bytes()
    }
}
