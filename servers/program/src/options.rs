//! What the operator chose: command line over file over defaults.
//!
//! ```text
//!   command line ─▶ Options ─┐
//!                            ├─ over ─▶ Options ── resolve ──▶ Loaded, complete and consistent
//!   FILE (TOML)  ─▶ Options ─┘
//! ```
//!
//! [`Options`] is both: a flag is a key of the file, by construction. Half of them, [`Common`], every server of the web
//! has; the other half is its own.

mod capture;
mod file;

use clap::Args;
use control::Opener;
use core::fmt;
use core::time::Duration;
use host::{Named, Policy, Seccomp};
use serde::Deserialize;
use std::path::{Path, PathBuf};

use crate::particular::Program;

use host::values::{
    AddressMode, AdminChoice, BadValue, Bytes, Cidr, Congestion, InterfaceName, LinkChoice, LogChoice,
    LogFormat, LogLevel, Namespace, PacketFilter, PortChoice,
};

pub use capture::CaptureChoice;
pub use file::switch as deserialize_switch;

const WORKERS_MAX: u16 = 256;

/// What `serve` and `check` take.
#[derive(Args, Debug)]
pub struct ServeArgs<T: Args> {
    /// Read options from this TOML file
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The options themselves
    #[command(flatten)]
    pub options: Options<T>,
}

/// Every option of a server, as far as it was given.
#[derive(Args, Clone, Debug, Default)]
pub struct Options<T: Args> {
    /// Those that all have
    #[command(flatten)]
    pub common: Common,
    /// Its own
    #[command(flatten)]
    pub own: T,
}

/// The options that every server of the web has.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Common {
    /// The directory to serve
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// An address of ours with the prefix length of its network; may be given twice, for IPv4 and IPv6
    ///
    /// On a TAP device the kernel gets another address of the same network. [default: 10.77.0.2/24 and
    /// fd61:746c:6173::2/64, or the next ones that no route of this machine covers]
    #[arg(long, value_name = "IP/PREFIX", help_heading = "Network")]
    pub addr: Vec<Cidr>,
    /// What carries packets: auto, tap, tap:NAME, packet:INTERFACE or afxdp:INTERFACE [default: auto with --dev, else tap]
    ///
    /// `tap` creates a TAP device with one queue for each worker, which vanishes with the server. `packet` and `afxdp`
    /// use a network interface beside the kernel: `packet` through a packet socket, which leaves cutting and checksums
    /// to the device; `afxdp` past the kernel's stack. `auto` takes the best of them that the interface (--dev) allows
    /// and says why not a better one; `doctor` says the same without serving.
    #[arg(long, value_name = "LINK", help_heading = "Network")]
    pub link: Option<LinkChoice>,
    /// The interface for --link auto: eth1
    #[arg(long, value_name = "INTERFACE", help_heading = "Network")]
    pub dev: Option<InterfaceName>,
    /// Whose the addresses are: own or shared [default: shared on an interface without --addr, else own]
    ///
    /// Of an own address (--addr) everything is ours, and the kernel must not have it. A shared address is the
    /// kernel's: we take our ports, and it keeps the rest, ARP, ping and SSH among it.
    #[arg(long, value_name = "WHOSE", help_heading = "Network")]
    pub address_mode: Option<AddressMode>,
    /// The port for HTTP, or off [default: 80]
    #[arg(long, value_name = "PORT", help_heading = "Network")]
    pub http: Option<PortChoice>,
    /// The port for HTTPS, or off [default: 443]
    #[arg(long, value_name = "PORT", help_heading = "Network")]
    pub https: Option<PortChoice>,
    /// Congestion control: cubic or newreno [default: cubic]
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub congestion: Option<Congestion>,
    /// The most connections of a worker at once [default: 65536]
    #[arg(long, value_name = "N", help_heading = "Network")]
    pub connections: Option<u32>,
    /// The most connections of one client address at once, 0 for no limit [default: 0]
    #[arg(long, value_name = "N", help_heading = "Network")]
    pub connections_per_client: Option<u32>,
    /// How long a client may take nothing of what it is sent, in seconds, 0 for ever
    /// [default: 600 for Atlas, 60 for Sandstorm]
    #[arg(long, value_name = "N", help_heading = "Network")]
    pub stalled_seconds: Option<u32>,

    /// The certificate chain, PEM, leaf first [default: one of our own, signed by itself]
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub key: Option<PathBuf>,
    /// Write connection secrets to this file, for Wireshark (as SSLKEYLOGFILE does)
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub key_log: Option<PathBuf>,

    /// Worker threads, one for each core [default: the cores there are, less one]
    #[arg(long, value_name = "N", help_heading = "Cores and memory")]
    pub workers: Option<u16>,
    /// Keep each worker on a core of its own: on or off [default: off]
    #[arg(long, value_name = "SWITCH", num_args = 0..=1, require_equals = true, default_missing_value = "on",
          value_parser = switch, help_heading = "Cores and memory")]
    #[serde(deserialize_with = "file::switch")]
    pub pin: Option<bool>,

    /// Where the admin port is: PORT (on 127.0.0.1), ADDRESS:PORT or off [default: 9464 for Atlas,
    /// 9465 for Sandstorm, or a free one]
    #[arg(long, value_name = "WHERE", help_heading = "Logs and numbers")]
    pub admin: Option<AdminChoice>,
    /// Where the access log goes: a file, - for standard output, or off [default: off]
    #[arg(long, value_name = "FILE", help_heading = "Logs and numbers")]
    pub access_log: Option<LogChoice>,
    /// How a line of it is written: combined or json [default: combined]
    #[arg(long, value_name = "FORMAT", help_heading = "Logs and numbers")]
    pub log_format: Option<LogFormat>,
    /// What the event log on standard error tells: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = "Logs and numbers")]
    pub log_level: Option<LogLevel>,
    /// Print a line of numbers each second: on or off [default: off]
    #[arg(long, value_name = "SWITCH", num_args = 0..=1, require_equals = true, default_missing_value = "on",
          value_parser = switch, help_heading = "Logs and numbers")]
    #[serde(deserialize_with = "file::switch")]
    pub stats: Option<bool>,

    /// Capture packets to FILE, and FILE.1 when that is full: pcapng, for Wireshark
    ///
    /// Packets are seen as the engine sees them: superframes before they are cut into segments, and before checksums
    /// are filled in. Both files are for their owner alone. POST /capture/start and /capture/stop on the admin port
    /// switch it while the server runs.
    #[arg(long, value_name = "FILE", help_heading = "Packets")]
    pub pcap: Option<PathBuf>,
    /// Which packets: 'host ADDRESS', 'port NUMBER' or 'host ADDRESS and port NUMBER' [default: all]
    #[arg(long, value_name = "FILTER", help_heading = "Packets")]
    pub pcap_filter: Option<PacketFilter>,
    /// The size of both files together; the older half goes when it is reached [default: 256M]
    #[arg(long, value_name = "SIZE", help_heading = "Packets")]
    pub pcap_size: Option<Bytes>,
    /// How much of each packet to keep, 74 to 262144: headers fit into 128 [default: 128]
    #[arg(long, value_name = "BYTES", help_heading = "Packets")]
    pub pcap_snap: Option<u32>,
    /// Begin with the first packet, or not before it is asked for: on or off [default: on]
    #[arg(long, value_name = "SWITCH", num_args = 0..=1, require_equals = true, default_missing_value = "on",
          value_parser = switch, help_heading = "Packets")]
    #[serde(deserialize_with = "file::switch")]
    pub pcap_start: Option<bool>,

    /// How long connections may take to finish after SIGTERM [default: 30]
    #[arg(long, value_name = "SECONDS", help_heading = "Operation")]
    pub drain_seconds: Option<u32>,
    /// How often to look for new content and a new certificate, 0 for only on SIGHUP [default: 10 for Atlas, 2 for Sandstorm]
    #[arg(long, value_name = "SECONDS", help_heading = "Operation")]
    pub rescan_seconds: Option<u32>,

    /// Give up privileges once everything is open, and leave opening to a small monitor: on or off [default: on]
    #[arg(long, value_name = "SWITCH", num_args = 0..=1, require_equals = true, default_missing_value = "on",
          value_parser = switch, help_heading = "Privileges")]
    #[serde(deserialize_with = "file::switch")]
    pub confine: Option<bool>,
    /// What becomes of a system call that a thread has no use for: enforce (it ends the process), log or off
    /// [default: enforce]
    #[arg(long, value_name = "MODE", help_heading = "Privileges")]
    pub seccomp: Option<Seccomp>,

    /// Run inside a user and network namespace: auto, always or never [default: auto, when not root]
    ///
    /// Needs no privilege. Ports of the loopback interface outside are forwarded to the server inside.
    #[arg(long, value_name = "WHEN", help_heading = "Without root")]
    pub namespace: Option<Namespace>,
    /// The loopback port that is forwarded to HTTP, or off [default: 8080, or a free one]
    #[arg(long, value_name = "PORT", help_heading = "Without root")]
    pub forward_http: Option<PortChoice>,
    /// The loopback port that is forwarded to HTTPS, or off [default: 8443, or a free one]
    #[arg(long, value_name = "PORT", help_heading = "Without root")]
    pub forward_https: Option<PortChoice>,
}

/// A switch of the command line: on or off.
///
/// # Errors
/// It is neither.
pub fn switch(text: &str) -> Result<bool, BadValue> {
    file::on_or_off(text)
}

impl Common {
    /// These, and those of `below` where these say nothing.
    fn over(self, below: Self) -> Self {
        // In full: a new option must not be forgotten here.
        let Self {
            dir,
            addr,
            link,
            dev,
            address_mode,
            http,
            https,
            congestion,
            connections,
            connections_per_client,
            stalled_seconds,
            cert,
            key,
            key_log,
            workers,
            pin,
            admin,
            access_log,
            log_format,
            log_level,
            stats,
            pcap,
            pcap_filter,
            pcap_size,
            pcap_snap,
            pcap_start,
            drain_seconds,
            rescan_seconds,
            confine,
            seccomp,
            namespace,
            forward_http,
            forward_https,
        } = self;
        // A certificate without its key is a mistake, not half of a mixture.
        let certified = cert.is_some() || key.is_some();
        // A link and its device are one choice.
        let linked = link.is_some() || dev.is_some();
        Self {
            dir: dir.or(below.dir),
            addr: if addr.is_empty() { below.addr } else { addr },
            link: if linked { link } else { below.link },
            dev: if linked { dev } else { below.dev },
            address_mode: address_mode.or(below.address_mode),
            http: http.or(below.http),
            https: https.or(below.https),
            congestion: congestion.or(below.congestion),
            connections: connections.or(below.connections),
            connections_per_client: connections_per_client.or(below.connections_per_client),
            stalled_seconds: stalled_seconds.or(below.stalled_seconds),
            cert: if certified { cert } else { below.cert },
            key: if certified { key } else { below.key },
            key_log: key_log.or(below.key_log),
            workers: workers.or(below.workers),
            pin: pin.or(below.pin),
            admin: admin.or(below.admin),
            access_log: access_log.or(below.access_log),
            log_format: log_format.or(below.log_format),
            log_level: log_level.or(below.log_level),
            stats: stats.or(below.stats),
            pcap: pcap.or(below.pcap),
            pcap_filter: pcap_filter.or(below.pcap_filter),
            pcap_size: pcap_size.or(below.pcap_size),
            pcap_snap: pcap_snap.or(below.pcap_snap),
            pcap_start: pcap_start.or(below.pcap_start),
            drain_seconds: drain_seconds.or(below.drain_seconds),
            rescan_seconds: rescan_seconds.or(below.rescan_seconds),
            confine: confine.or(below.confine),
            seccomp: seccomp.or(below.seccomp),
            namespace: namespace.or(below.namespace),
            forward_http: forward_http.or(below.forward_http),
            forward_https: forward_https.or(below.forward_https),
        }
    }
}

/// Everything decided that the operator decides; what depends on the machine is decided at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The served directory.
    pub dir: PathBuf,
    /// Our addresses: none, or at most one of each family.
    pub addr: Vec<Cidr>,
    /// What carries packets.
    pub link: LinkChoice,
    /// Whose the addresses are.
    pub address_mode: AddressMode,
    /// The port for HTTP.
    pub http: Option<u16>,
    /// The port for HTTPS.
    pub https: Option<u16>,
    /// Congestion control.
    pub congestion: Congestion,
    /// Connections of a worker at once.
    pub connections: u32,
    /// Connections of one client address at once; 0 for no limit.
    pub connections_per_client: u32,
    /// How long a client may take nothing of what it is sent; `None` for ever.
    pub stalled: Option<Duration>,
    /// Where the certificate is.
    pub certificate: Option<CertificateFiles>,
    /// Where connection secrets are written to.
    pub key_log: Option<PathBuf>,
    /// Worker threads, when chosen.
    pub workers: Option<u16>,
    /// Each worker stays on a core.
    pub pin: bool,
    /// Where the admin port is; `None`: where it is by default.
    pub admin: Option<AdminChoice>,
    /// Where the access log goes.
    pub access_log: LogChoice,
    /// How its lines look.
    pub log_format: LogFormat,
    /// What the event log tells.
    pub log_level: LogLevel,
    /// A line a second.
    pub stats: bool,
    /// Where packets may be captured to.
    pub capture: Option<CaptureChoice>,
    /// How long draining may take.
    pub drain: Duration,
    /// How often to look for changes.
    pub rescan: Option<Duration>,
    /// What is given up once everything is open.
    pub policy: Policy,
    /// Whether to run inside a namespace.
    pub namespace: Namespace,
    /// The loopback port for HTTP; `None`: the default, or a free one.
    pub forward_http: Option<PortChoice>,
    /// The loopback port for HTTPS; `None`: the default, or a free one.
    pub forward_https: Option<PortChoice>,
}

/// The two files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain.
    pub chain: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// A choice that cannot be followed: the operator's, in one line.
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The file has a key that means nothing.
    UnknownKey {
        /// Which.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// The key.
        key: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// There is no directory to serve.
    NoDirectory {
        /// How one is given.
        example: &'static str,
    },
    /// Two options that do not go together, or a number out of its range.
    Contradiction(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Syntax { path, line, why } => write!(f, "{}:{line}: {why}", path.display()),
            Self::UnknownKey { path, line, key, nearest } => {
                write!(f, "{}:{line}: there is no option '{key}'", path.display())?;
                nearest.as_ref().map_or(Ok(()), |nearest| write!(f, "; did you mean '{nearest}'?"))
            }
            Self::NoDirectory { example } => {
                write!(f, "no directory to serve: give one, as in `{example}`")
            }
            Self::Contradiction(line) => f.write_str(line),
        }
    }
}

impl core::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Everything decided: what all decide, and what is this program's own.
#[derive(Debug)]
pub struct Loaded<P: Program> {
    /// As every server has it.
    pub config: Config,
    /// The program's.
    pub choices: P::Choices,
}

impl<P: Program> Loaded<P> {
    /// What the command line and the file, if there is one, amount to.
    ///
    /// # Errors
    /// The file cannot be read, or options contradict each other.
    pub fn new(
        options: Options<P::Own>,
        file: Option<&Path>,
        opener: &dyn Opener,
    ) -> Result<Self, ConfigError> {
        let Options { common, own } = options;
        let (common, own) = match file {
            Some(path) => {
                let below = file::read(path, opener, P::TABLES, P::paths)?;
                (common.over(below.common), P::over(own, below.own))
            }
            None => (common, own),
        };
        let defaults = Defaults { rescan: P::RESCAN_SECONDS, stalled: P::STALLED_SECONDS };
        Ok(Self { config: Config::resolve(common, P::EXAMPLE, defaults)?, choices: P::resolve(own)? })
    }

    /// The files that these options name, beside the configuration file itself.
    pub(crate) fn named(&self) -> Named {
        let Config { certificate, access_log, .. } = &self.config;
        let certificate = certificate.iter().flat_map(|files| [&files.chain, &files.key]).cloned();
        let append = match access_log {
            LogChoice::File(path) => vec![path.clone()],
            LogChoice::Off | LogChoice::Stdout => Vec::new(),
        };
        Named { read: certificate.chain(P::named(&self.choices)).collect(), append }
    }
}

/// What differs between servers where the operator says nothing, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    pub(crate) rescan: u32,
    pub(crate) stalled: u32,
}

impl Config {
    pub(crate) fn resolve(
        options: Common,
        example: &'static str,
        defaults: Defaults,
    ) -> Result<Self, ConfigError> {
        let wrong = |line: &str| Err(ConfigError::Contradiction(line.to_owned()));
        let port =
            |choice: Option<PortChoice>, default| choice.map_or(Some(default), |PortChoice(port)| port);
        let capture = capture::resolve(&options)?;
        let (http, https) = (port(options.http, 80), port(options.https, 443));
        if http.is_none() && https.is_none() {
            return wrong("--http and --https are both off: there is nothing to serve");
        }
        if http == https {
            return wrong("--http and --https are the same port: choose two");
        }
        let certificate = match (options.cert, options.key) {
            (Some(chain), Some(key)) => Some(CertificateFiles { chain, key }),
            (None, None) => None,
            (Some(_), None) => {
                return wrong("--cert without --key: the certificate's private key is needed too");
            }
            (None, Some(_)) => return wrong("--key without --cert: the key's certificate is needed too"),
        };
        let of_family = |v4: bool| options.addr.iter().filter(|cidr| cidr.address.is_ipv4() == v4).count();
        if of_family(true) > 1 || of_family(false) > 1 {
            return wrong("--addr may be given once for IPv4 and once for IPv6");
        }
        let link = LinkChoice::of(options.link, options.dev)
            .map_err(|error| ConfigError::Contradiction(error.to_string()))?;
        let address_mode = match (options.address_mode, link.interface()) {
            (Some(mode), _) => mode,
            (None, Some(_)) if options.addr.is_empty() => AddressMode::Shared,
            (None, _) => AddressMode::Own,
        };
        match (address_mode, link.interface()) {
            (AddressMode::Own, Some(_)) if options.addr.is_empty() => {
                return wrong(
                    "an address of our own needs --addr: one of that network which nobody else has; or take our ports \
                     of the interface's with --address-mode shared",
                );
            }
            (AddressMode::Shared, None) => {
                return wrong(
                    "--address-mode shared needs an interface (--dev, --link packet: or afxdp:): a TAP device has no \
                     address that the kernel could share",
                );
            }
            _ => {}
        }
        if let Some(workers) = options.workers
            && !(1..=WORKERS_MAX).contains(&workers)
        {
            return wrong("--workers is not from 1 to 256");
        }
        if options.connections == Some(0) {
            return wrong("--connections 0: nobody could connect");
        }
        Ok(Self {
            dir: options.dir.ok_or(ConfigError::NoDirectory { example })?,
            addr: options.addr,
            link,
            address_mode,
            http,
            https,
            congestion: options.congestion.unwrap_or(Congestion::Cubic),
            connections: options.connections.unwrap_or(65_536),
            connections_per_client: options.connections_per_client.unwrap_or(0),
            stalled: unless_zero(options.stalled_seconds.unwrap_or(defaults.stalled)),
            certificate,
            key_log: options.key_log,
            workers: options.workers,
            pin: options.pin.unwrap_or(false),
            admin: options.admin,
            access_log: options.access_log.unwrap_or(LogChoice::Off),
            log_format: options.log_format.unwrap_or(LogFormat::Combined),
            log_level: options.log_level.unwrap_or(LogLevel::Info),
            stats: options.stats.unwrap_or(false),
            capture,
            drain: Duration::from_secs(options.drain_seconds.unwrap_or(30).into()),
            rescan: unless_zero(options.rescan_seconds.unwrap_or(defaults.rescan)),
            policy: Policy {
                confine: options.confine.unwrap_or(true),
                seccomp: options.seccomp.unwrap_or_default(),
            },
            namespace: options.namespace.unwrap_or(Namespace::Auto),
            forward_http: options.forward_http,
            forward_https: options.forward_https,
        })
    }

    /// The options in which `new` differs and which only a restart changes.
    pub(crate) fn fixed_differences(&self, new: &Self) -> Vec<&'static str> {
        let mut different = Vec::new();
        let mut compare = |name, same: bool| {
            if !same {
                different.push(name);
            }
        };
        compare("addr", self.addr == new.addr);
        compare("link", self.link == new.link);
        compare("address-mode", self.address_mode == new.address_mode);
        compare("http", self.http == new.http);
        compare("https", self.https == new.https);
        compare("congestion", self.congestion == new.congestion);
        compare("connections", self.connections == new.connections);
        compare("connections-per-client", self.connections_per_client == new.connections_per_client);
        compare("stalled-seconds", self.stalled == new.stalled);
        compare("key-log", self.key_log == new.key_log);
        compare("workers", self.workers == new.workers);
        compare("pin", self.pin == new.pin);
        compare("admin", self.admin == new.admin);
        compare("access-log", self.access_log == new.access_log);
        compare("pcap", self.capture == new.capture);
        compare("log-level", self.log_level == new.log_level);
        compare("rescan-seconds", self.rescan == new.rescan);
        compare("confine or seccomp", self.policy == new.policy);
        compare("namespace", self.namespace == new.namespace);
        compare("forward-http", self.forward_http == new.forward_http);
        compare("forward-https", self.forward_https == new.forward_https);
        compare("dir", self.dir == new.dir);
        different
    }
}

/// In seconds; 0 stands for never.
fn unless_zero(seconds: u32) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests;
