//! What went wrong with a connection or a request, and whose fault it is.

use core::fmt;
use core::time::Duration;

use super::framing::Malformed;

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection came about.
    Connect(rustix::io::Errno),
    /// We could not even try: descriptors, ports, addresses.
    Local(rustix::io::Errno),
    /// No handshake, or records that cannot be opened.
    Tls(String),
    /// Another status than the request's.
    Status {
        /// What came,
        status: u16,
        /// for which target.
        target: String,
    },
    /// The response is not HTTP.
    Response(Malformed),
    /// Bytes that nobody asked for.
    Unasked,
    /// The bytes are not the file's.
    Mismatch {
        /// Which target,
        target: String,
        /// and where in the file.
        at: u64,
    },
    /// The response is not as long as the file, or as the part that was asked for.
    Length {
        /// Which target,
        target: String,
        /// what there is of it,
        expected: u64,
        /// and what came.
        found: u64,
    },
    /// Nothing whole within the time allowed.
    Timeout {
        /// What we waited for,
        during: &'static str,
        /// and how long.
        after: Duration,
    },
    /// RST.
    Reset,
    /// FIN at a wrong place.
    Closed(&'static str),
    /// The file to compare with cannot be read.
    Truth(String),
}

/// Who is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guilty {
    /// The server that is measured.
    Server,
    /// The server, or the network between.
    ServerOrNetwork,
    /// The machine that the load runs on: its limits are too low for this load.
    Machine,
    /// Whoever gave the arguments.
    Operator,
}

impl Guilty {
    /// As results name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::ServerOrNetwork => "server or network",
            Self::Machine => "machine",
            Self::Operator => "operator",
        }
    }
}

/// Kinds of failures, as results count them.
pub const KINDS: [(&str, Guilty); 9] = [
    ("connect", Guilty::ServerOrNetwork),
    ("local", Guilty::Machine),
    ("tls", Guilty::Server),
    ("status", Guilty::Server),
    ("framing", Guilty::Server),
    ("mismatch", Guilty::Server),
    ("timeout", Guilty::ServerOrNetwork),
    ("reset", Guilty::ServerOrNetwork),
    ("truth", Guilty::Operator),
];

impl Fault {
    /// Its place in [`KINDS`].
    #[must_use]
    pub fn kind(&self) -> usize {
        match self {
            Self::Connect(_) => 0,
            Self::Local(_) => 1,
            Self::Tls(_) => 2,
            Self::Status { .. } => 3,
            Self::Response(_) | Self::Unasked | Self::Closed(_) => 4,
            Self::Mismatch { .. } | Self::Length { .. } => 5,
            Self::Timeout { .. } => 6,
            Self::Reset => 7,
            Self::Truth(_) => 8,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(errno) => write!(f, "cannot connect: {errno}"),
            Self::Local(errno) => write!(
                f,
                "cannot open a socket: {errno}: raise the limit of open files (ulimit -n), or give more --source addresses"
            ),
            Self::Tls(why) => write!(f, "TLS: {why}"),
            Self::Status { status, target } => write!(f, "status {status} for {target}"),
            Self::Response(malformed) => malformed.fmt(f),
            Self::Unasked => f.write_str("the server sent bytes behind its response"),
            Self::Mismatch { target, at } => write!(f, "{target}: byte {at} is not the file's"),
            Self::Length { target, expected, found } => {
                write!(f, "{target}: {found} bytes instead of {expected}")
            }
            Self::Timeout { during, after } => {
                write!(f, "timed out after {} s: {during}", after.as_secs_f64())
            }
            Self::Reset => f.write_str("the connection was reset"),
            Self::Closed(place) => write!(f, "the server closed the connection {place}"),
            Self::Truth(why) => write!(f, "cannot compare: {why}"),
        }
    }
}

impl core::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_names_somebody() {
        let timeout = Fault::Timeout { during: "the response", after: Duration::from_millis(2_500) };
        assert_eq!(KINDS[timeout.kind()], ("timeout", Guilty::ServerOrNetwork));
        assert_eq!(timeout.to_string(), "timed out after 2.5 s: the response");
        assert_eq!(KINDS[Fault::Truth(String::new()).kind()].1, Guilty::Operator);
        assert_eq!(KINDS[Fault::Unasked.kind()].0, "framing");
    }
}
