//! What an operator may choose about a worker.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use stack::listen::PORTS_MAX;
use stack::{InterfaceConfig, InterfaceError, ListenConfig};

use crate::copies::MemoryVariant;

/// What an operator may choose about a worker. The server's own settings are the service's.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our addresses.
    pub interface: InterfaceConfig,
    /// Ports that answer in plaintext.
    pub plain_ports: Vec<u16>,
    /// Ports that answer in TLS.
    pub secure_ports: Vec<u16>,
    /// TCP. The MSS is lowered to what the link's MTU allows.
    pub tcp: tcp::Config,
    /// Connections at once, half-open ones included.
    pub connections_max: u32,
    /// Half-open connections at once; beyond it SYNs are answered with cookies.
    pub backlog_max: u32,
    /// Connections of one address at once; 0 for no limit.
    pub connections_per_peer_max: u32,
    /// Connections remembered in TIME-WAIT.
    pub time_wait_max: u32,
    /// Files open at once without being sent.
    pub files_max: usize,
    /// Expanded cipher keys held at once: twice the connections that are busy at a time.
    pub keys_max: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Handshake steps in one turn: each costs up to a millisecond.
    pub handshakes_per_turn: usize,
    /// Bytes one read may fill: 16 KiB to 128 KiB. Seven records are the most that leave in two superframes of IPv4.
    pub read_bytes_max: u32,
    /// Reads that one connection may have on their way.
    pub reads_per_connection_max: u32,
    /// Frames of 16 KiB that reads on their way may fill, all connections' together: the disk's bandwidth times its
    /// latency, and no more, so that they stay in the last-level cache. While the link is full, whatever else is out
    /// of the pool counts as well: what cannot leave need not be read yet. At least one read is always allowed.
    pub reading_frames_max: u32,
    /// How memory gets into packets, where the link leaves a choice.
    pub memory: MemoryVariant,
    /// Our own `KeyUpdate` after this many records; only tests lower it.
    pub key_update_after: Option<u32>,
}

impl Config {
    /// The defaults for these addresses: HTTP on 80, HTTPS on 443.
    #[must_use]
    pub fn new(interface: InterfaceConfig) -> Self {
        Self {
            interface,
            plain_ports: vec![80],
            secure_ports: vec![443],
            tcp: tcp::Config::default(),
            connections_max: 65_536,
            backlog_max: 4_096,
            connections_per_peer_max: 0,
            time_wait_max: 16_384,
            files_max: 1_024,
            keys_max: 1_024,
            handshake_timeout: Duration::from_secs(10),
            handshakes_per_turn: 4,
            read_bytes_max: 112 << 10,
            reads_per_connection_max: 4,
            reading_frames_max: 256,
            memory: MemoryVariant::Gather,
            key_update_after: None,
        }
    }
}

impl Config {
    /// Checks that the numbers make sense together; TCP's and the interface's are checked where they are used.
    pub(crate) fn validate(&self, has_certificate: bool) -> Result<(), ConfigError> {
        if self.plain_ports.is_empty() && self.secure_ports.is_empty() {
            return Err(ConfigError::NoPort);
        }
        if let Some(port) = self.plain_ports.iter().find(|port| self.secure_ports.contains(port)) {
            return Err(ConfigError::PortTwice(*port));
        }
        if self.plain_ports.len() + self.secure_ports.len() > PORTS_MAX {
            return Err(ConfigError::TooManyPorts);
        }
        if !self.secure_ports.is_empty() && !has_certificate {
            return Err(ConfigError::NoCertificate);
        }
        if self.connections_max == 0 {
            return Err(ConfigError::NoConnections);
        }
        Ok(())
    }

    /// The listener's part.
    pub(crate) fn listen(&self) -> ListenConfig {
        let mut listen = ListenConfig::new(self.connections_max);
        listen.ports.extend(self.plain_ports.iter().chain(&self.secure_ports).copied());
        listen.half_open_max = self.backlog_max;
        listen.per_peer_max = (self.connections_per_peer_max > 0).then_some(self.connections_per_peer_max);
        listen
    }
}

/// Numbers that do not go together: the operator's to correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The interface's numbers.
    Interface(InterfaceError),
    /// More ports than a listener has room for.
    TooManyPorts,
    /// TCP's numbers.
    Tcp(tcp::ConfigError),
    /// One port is to answer both in plaintext and in TLS.
    PortTwice(u16),
    /// No port at all.
    NoPort,
    /// Secure ports without certificates.
    NoCertificate,
    /// No room for a connection.
    NoConnections,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(error) => error.fmt(f),
            Self::TooManyPorts => write!(f, "more than {PORTS_MAX} ports to listen on"),
            Self::Tcp(error) => error.fmt(f),
            Self::PortTwice(port) => {
                write!(f, "port {port} cannot be plain and TLS at once: choose two ports")
            }
            Self::NoPort => f.write_str("no port to listen on: give --http or --https"),
            Self::NoCertificate => f.write_str("a TLS port needs a certificate: give --cert and --key"),
            Self::NoConnections => f.write_str("connections_max is 0: nobody could connect"),
        }
    }
}

impl core::error::Error for ConfigError {}
