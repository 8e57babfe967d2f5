//! What the operator chose: command line over file over defaults. A flag is a key of the file.

use clap::Args;
use control::{Destination, Directly, Opener};
use core::fmt;
use core::num::NonZeroU32;
use core::str::FromStr;
use core::time::Duration;
use host::values::{
    AddressMode, AdminChoice, BadValue, Bytes, Cidr, InterfaceName, LinkChoice, LogLevel, bad,
};
use host::{FRAMES_MIN, Named, Policy, PoolChoice, Seccomp};
use namestorm::hash::Form;
use namestorm::query_log::Rule;
use namestorm::steer::table::Table;
use namestorm::transfer::policy::{self, Remote};
use serde::{Deserialize, Deserializer};
use std::path::{Path, PathBuf};

use crate::zones::{ForAll, KeyChoice, Written, ZoneChoice, Zones};

/// A file of more than this is not a configuration; 10,000 zones need less.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Memory of a worker is for its streams' answers only: datagrams need none.
const FRAMES: u32 = 256;
const FRAMES_MAX: u32 = 4 << 20;
const WORKERS_MAX: u16 = 256;
const RATE_MAX: u32 = 100_000;
const QUERY_LOG_EVERY: NonZeroU32 = NonZeroU32::new(1_000).expect("not zero");

pub(crate) const AFTER_LONG: &str = "\
EXAMPLES
  A zone on a TAP device, to look at with dig:
    namestorm serve --zone example=example.zone

  At an address of its own on an interface, two workers:
    namestorm serve --config /etc/namestorm.toml --link packet:eth1 \\
        --addr 192.0.2.53/24 --workers 2

FILES
  The configuration file is TOML. Every option is a key of the same name
  without the dashes; paths are relative to the file; the command line beats
  the file:

    zone = [\"example=zones/example.zone\", \"test=zones/test.zone\"]
    addr = [\"192.0.2.53/24\", \"2001:db8::53/64\"]
    link = \"packet:eth1\"

  Keys, who may have a zone, who is told of its changes, and zones that come
  from other servers are in the file only; docs/namestorm.md has the tables.

SIGNALS
  SIGINT, SIGTERM   Let streams finish within --drain-seconds, leave.
  SIGHUP            Read the configuration file again: zones that are new or gone,
                    keys, who may have zones and who is told of changes. Read the
                    zones whose files have changed, and the table of --steering.
                    What is broken is reported, and what was in force stays.

EXIT STATUS
  0   It was told to leave, and left.
  1   It failed while it ran.
  2   It could not start: one line says why and what to do about it.";

/// What `serve` takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServeArgs {
    /// Read options from this TOML file
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: Options,
}

/// Where questions are written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueryLogChoice {
    /// Nowhere.
    Off,
    /// A line of JSON each.
    Json(Destination),
    /// As dnstap, into a file.
    Dnstap(PathBuf),
    /// As dnstap, to whoever listens there.
    DnstapSocket(PathBuf),
}

impl QueryLogChoice {
    fn in_directory(self, directory: &Path) -> Self {
        match self {
            Self::Off | Self::Json(Destination::Stdout) => self,
            Self::Json(Destination::File(path)) => Self::Json(Destination::File(directory.join(path))),
            Self::Dnstap(path) => Self::Dnstap(directory.join(path)),
            Self::DnstapSocket(path) => Self::DnstapSocket(directory.join(path)),
        }
    }
}

impl FromStr for QueryLogChoice {
    type Err = BadValue;

    fn from_str(text: &str) -> Result<Self, BadValue> {
        let path = |path: &str| {
            if path.is_empty() { bad("there is no file behind the colon") } else { Ok(path.into()) }
        };
        match (text, text.split_once(':')) {
            ("off", _) => Ok(Self::Off),
            ("-", _) => Ok(Self::Json(Destination::Stdout)),
            ("", _) => bad("a file, -, dnstap:FILE, dnstap-socket:PATH or off"),
            (_, Some(("dnstap", file))) => Ok(Self::Dnstap(path(file)?)),
            (_, Some(("dnstap-socket", file))) => Ok(Self::DnstapSocket(path(file)?)),
            (file, _) => Ok(Self::Json(Destination::File(path(file)?))),
        }
    }
}

impl fmt::Display for QueryLogChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Json(destination) => write!(f, "{destination}"),
            Self::Dnstap(path) => write!(f, "dnstap to {}", path.display()),
            Self::DnstapSocket(path) => write!(f, "dnstap to the socket {}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for QueryLogChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What names are hashed as.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HashForm {
    /// The labels with their lengths
    Wire,
    /// The labels written out, with dots
    Name,
}

/// How the records of an answer get into its packet.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Copying {
    /// Copied for each
    Mem,
    /// They stay in packets that lie ready, for answers that are asked for again and again
    Pre,
}

/// Every option, as far as it was given.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Options {
    /// A zone and its file; may be given many times
    #[arg(long, value_name = "NAME=FILE")]
    zone: Vec<ZoneChoice>,
    /// In the file only: `[[key]]`.
    #[arg(skip)]
    key: Vec<KeyChoice>,
    /// In the file only: who may have the zones that do not say so themselves.
    #[arg(skip)]
    transfer: Vec<Written<policy::Rule>>,
    /// In the file only: who is told that such a zone has changed.
    #[arg(skip)]
    notify: Vec<Written<Remote>>,
    /// What names are hashed as [default: wire]
    #[arg(long, value_name = "FORM")]
    hash: Option<HashForm>,
    /// How the records of an answer get into its packet; pre takes 32 MiB for each worker [default: mem]
    #[arg(long, value_name = "WAY")]
    copy: Option<Copying>,
    /// Threads that parse a zone at start [default: 1]
    #[arg(long, value_name = "N")]
    load_threads: Option<usize>,
    /// Answers a second to one network about one name, 0 for no limit [default: 200]
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Answer some names by who asks and by who is well, after this TOML table [default: none]
    #[arg(long, value_name = "FILE")]
    steering: Option<PathBuf>,
    /// Who we say we are, to NSID and id.server [default: nobody]
    #[arg(long, value_name = "TEXT")]
    identity: Option<String>,

    /// An address of ours with the prefix length of its network; may be given twice, for IPv4 and IPv6
    #[arg(long, value_name = "IP/PREFIX", help_heading = "Network")]
    addr: Vec<Cidr>,
    /// What carries packets: auto, tap, tap:NAME, packet:INTERFACE or afxdp:INTERFACE [default: auto with --dev, else tap]
    #[arg(long, value_name = "LINK", help_heading = "Network")]
    link: Option<LinkChoice>,
    /// The interface for --link auto: eth1
    #[arg(long, value_name = "INTERFACE", help_heading = "Network")]
    dev: Option<InterfaceName>,
    /// Whose the addresses are: own or shared [default: shared on an interface without --addr, else own]
    #[arg(long, value_name = "WHOSE", help_heading = "Network")]
    address_mode: Option<AddressMode>,
    /// The port, for UDP and TCP [default: 53]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Network")]
    port: Option<u16>,
    /// The most streams of a worker at once [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Network")]
    connections: Option<u32>,
    /// The most of them from one client address, 0 for no limit [default: 64]
    #[arg(long, value_name = "N", help_heading = "Network")]
    connections_per_client: Option<u32>,
    /// How long a stream may be silent [default: 10]
    #[arg(long, value_name = "SECONDS", help_heading = "Network")]
    idle_seconds: Option<u16>,

    /// Worker threads, one for each core [default: the cores there are, less one]
    #[arg(long, value_name = "N", help_heading = "Cores and memory")]
    workers: Option<u16>,
    /// Keep each worker on a core of its own: true or false [default: false]
    #[arg(long, value_name = "SWITCH", help_heading = "Cores and memory")]
    pin: Option<bool>,
    /// Frames of 16 KiB for each worker's streams [default: 256]
    #[arg(long, value_name = "N", conflicts_with = "memory", help_heading = "Cores and memory")]
    frames: Option<u32>,
    /// Memory for the frames of all workers, instead of --frames: 16M
    #[arg(long, value_name = "SIZE", help_heading = "Cores and memory")]
    memory: Option<Bytes>,

    /// Where the admin port is: PORT (on 127.0.0.1), ADDRESS:PORT or off [default: 9466, or a free one]
    #[arg(long, value_name = "WHERE", help_heading = "Operation")]
    admin: Option<AdminChoice>,
    /// Where questions are written down: off, FILE or - (lines of JSON), dnstap:FILE or dnstap-socket:PATH [default: off]
    #[arg(long, value_name = "WHERE", help_heading = "Operation")]
    query_log: Option<QueryLogChoice>,
    /// Write one question in so many down [default: 1000]
    #[arg(long, value_name = "N", help_heading = "Operation")]
    query_log_every: Option<NonZeroU32>,
    /// Write down every question that got an error, a truncated answer or none as well: true or false [default: true]
    #[arg(long, value_name = "SWITCH", help_heading = "Operation")]
    query_log_odd: Option<bool>,
    /// What the event log on standard error tells: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL", help_heading = "Operation")]
    log_level: Option<LogLevel>,
    /// How long streams may take to finish after SIGTERM [default: 5]
    #[arg(long, value_name = "SECONDS", help_heading = "Operation")]
    drain_seconds: Option<u32>,
    /// How often to look for zones that have changed, 0 for only on SIGHUP [default: 0]
    #[arg(long, value_name = "SECONDS", help_heading = "Operation")]
    rescan_seconds: Option<u32>,
    /// Give up privileges once everything is open: true or false [default: true]
    #[arg(long, value_name = "SWITCH", help_heading = "Privileges")]
    confine: Option<bool>,
    /// What becomes of a system call that a thread has no use for: enforce, log or off [default: enforce]
    #[arg(long, value_name = "MODE", help_heading = "Privileges")]
    seccomp: Option<Seccomp>,
}

impl Options {
    /// These, and those of `below` where these say nothing.
    fn over(self, below: Self) -> Self {
        // One of these two given here means that neither of them is taken from below.
        let sized = self.frames.is_some() || self.memory.is_some();
        let linked = self.link.is_some() || self.dev.is_some();
        Self {
            zone: if self.zone.is_empty() { below.zone } else { self.zone },
            key: below.key,
            transfer: below.transfer,
            notify: below.notify,
            hash: self.hash.or(below.hash),
            copy: self.copy.or(below.copy),
            load_threads: self.load_threads.or(below.load_threads),
            rate: self.rate.or(below.rate),
            steering: self.steering.or(below.steering),
            identity: self.identity.or(below.identity),
            addr: if self.addr.is_empty() { below.addr } else { self.addr },
            link: if linked { self.link } else { below.link },
            dev: if linked { self.dev } else { below.dev },
            address_mode: self.address_mode.or(below.address_mode),
            port: self.port.or(below.port),
            connections: self.connections.or(below.connections),
            connections_per_client: self.connections_per_client.or(below.connections_per_client),
            idle_seconds: self.idle_seconds.or(below.idle_seconds),
            workers: self.workers.or(below.workers),
            pin: self.pin.or(below.pin),
            frames: if sized { self.frames } else { below.frames },
            memory: if sized { self.memory } else { below.memory },
            admin: self.admin.or(below.admin),
            query_log: self.query_log.or(below.query_log),
            query_log_every: self.query_log_every.or(below.query_log_every),
            query_log_odd: self.query_log_odd.or(below.query_log_odd),
            log_level: self.log_level.or(below.log_level),
            drain_seconds: self.drain_seconds.or(below.drain_seconds),
            rescan_seconds: self.rescan_seconds.or(below.rescan_seconds),
            confine: self.confine.or(below.confine),
            seccomp: self.seccomp.or(below.seccomp),
        }
    }
}

/// Everything that the operator decides.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) zones: Zones,
    pub(crate) form: Form,
    pub(crate) copy: Copying,
    pub(crate) load_threads: usize,
    /// Answers a second; 0 for no limit.
    pub(crate) rate: u32,
    pub(crate) steering: Option<PathBuf>,
    pub(crate) identity: Option<String>,
    pub(crate) addr: Vec<Cidr>,
    pub(crate) link: LinkChoice,
    pub(crate) address_mode: AddressMode,
    pub(crate) port: u16,
    pub(crate) connections: u32,
    pub(crate) connections_per_client: u32,
    pub(crate) idle_seconds: u16,
    pub(crate) workers: Option<u16>,
    pub(crate) pin: bool,
    pub(crate) pool: PoolChoice,
    pub(crate) admin: Option<AdminChoice>,
    pub(crate) query_log: QueryLogChoice,
    pub(crate) query_log_rule: Rule,
    pub(crate) log_level: LogLevel,
    pub(crate) drain: Duration,
    pub(crate) rescan: Option<Duration>,
    pub(crate) policy: Policy,
}

/// A choice that cannot be followed: the operator's, in one line.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    Unreadable { path: PathBuf, source: std::io::Error },
    /// The file is not what it should be.
    Syntax { path: PathBuf, line: usize, why: String },
    /// Two options that do not go together, or one too few.
    Contradiction(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, source } => write!(f, "cannot read {}: {source}", path.display()),
            Self::Syntax { path, line, why } => write!(f, "{}:{line}: {why}", path.display()),
            Self::Contradiction(line) => f.write_str(line),
        }
    }
}

impl core::error::Error for ConfigError {}

impl Config {
    /// What the command line and the file, if there is one, amount to.
    pub(crate) fn load(arguments: ServeArgs, opener: &dyn Opener) -> Result<Self, ConfigError> {
        let ServeArgs { config, options } = arguments;
        let options = match config {
            Some(path) => options.over(read(&path, opener)?),
            None => options,
        };
        Self::resolve(options)
    }

    fn resolve(options: Options) -> Result<Self, ConfigError> {
        let wrong = |line: &str| Err(ConfigError::Contradiction(line.to_owned()));
        let all = ForAll { keys: options.key, transfer: options.transfer, notify: options.notify };
        let zones = Zones::resolve(options.zone, all).map_err(ConfigError::Contradiction)?;
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
                    "an address of our own needs --addr: one of that network which nobody else has",
                );
            }
            (AddressMode::Shared, None) => {
                return wrong("--address-mode shared needs an interface (--dev, --link packet: or afxdp:)");
            }
            _ => {}
        }
        let pool = match (options.frames, options.memory) {
            (Some(_), Some(_)) => return wrong("frames and memory say the same thing: give one of them"),
            (Some(frames), None) if !(FRAMES_MIN..=FRAMES_MAX).contains(&frames) => {
                let line = format!("--frames {frames} is not from {FRAMES_MIN} to {FRAMES_MAX}");
                return Err(ConfigError::Contradiction(line));
            }
            (frames, None) => PoolChoice::Frames(frames.unwrap_or(FRAMES)),
            (None, Some(memory)) => PoolChoice::Memory(memory),
        };
        if options.workers.is_some_and(|workers| !(1..=WORKERS_MAX).contains(&workers)) {
            return wrong("--workers is not from 1 to 256");
        }
        if options.rate.is_some_and(|rate| rate > RATE_MAX) {
            return wrong("--rate is not from 0 to 100000");
        }
        if options.idle_seconds.is_some_and(|seconds| !(1..=3_600).contains(&seconds)) {
            return wrong("--idle-seconds is not from 1 to 3600");
        }
        // As clap refuses them on the command line, for the file.
        if options.port == Some(0) || options.connections == Some(0) {
            return wrong("port and connections are not 0: nobody could connect");
        }
        let rescan = options.rescan_seconds.filter(|seconds| *seconds > 0);
        Ok(Self {
            zones,
            form: match options.hash {
                None | Some(HashForm::Wire) => Form::Wire,
                Some(HashForm::Name) => Form::Name,
            },
            copy: options.copy.unwrap_or(Copying::Mem),
            load_threads: options.load_threads.unwrap_or(1).clamp(1, 64),
            rate: options.rate.unwrap_or(200),
            steering: options.steering,
            identity: options.identity,
            addr: options.addr,
            link,
            address_mode,
            port: options.port.unwrap_or(53),
            connections: options.connections.unwrap_or(4_096),
            connections_per_client: options.connections_per_client.unwrap_or(64),
            idle_seconds: options.idle_seconds.unwrap_or(10),
            workers: options.workers,
            pin: options.pin.unwrap_or(false),
            pool,
            admin: options.admin,
            query_log: options.query_log.unwrap_or(QueryLogChoice::Off),
            query_log_rule: Rule {
                every: options.query_log_every.unwrap_or(QUERY_LOG_EVERY),
                odd: options.query_log_odd.unwrap_or(true),
            },
            log_level: options.log_level.unwrap_or(LogLevel::Info),
            drain: Duration::from_secs(options.drain_seconds.unwrap_or(5).into()),
            rescan: rescan.map(|seconds| Duration::from_secs(seconds.into())),
            policy: Policy {
                confine: options.confine.unwrap_or(true),
                seccomp: options.seccomp.unwrap_or_default(),
            },
        })
    }

    /// The files that the monitor opens for us: the configuration's own, and those of steering. Those of zones are not among
    /// them, as control keeps their directories.
    pub(crate) fn named(&self, file: Option<&Path>) -> Named {
        let mut read: Vec<PathBuf> =
            file.map(Path::to_owned).into_iter().chain(self.steering.clone()).collect();
        let tables = self.steering.iter();
        read.extend(
            tables.flat_map(|path| Table::named_files(path, &|path, most| Directly.read(path, most))),
        );
        let append = match &self.query_log {
            QueryLogChoice::Json(Destination::File(path)) | QueryLogChoice::Dnstap(path) => {
                vec![path.clone()]
            }
            _ => Vec::new(),
        };
        Named { read, append }
    }

    /// What differs from `other` and is not taken over by a reload.
    pub(crate) fn fixed_differences(&self, other: &Self) -> Vec<&'static str> {
        let Self {
            zones: _,
            load_threads: _,
            drain: _,
            form,
            copy,
            rate,
            identity,
            addr,
            link,
            address_mode,
            port,
            connections,
            connections_per_client,
            idle_seconds,
            workers,
            pin,
            pool,
            admin,
            log_level,
            rescan,
            policy,
            steering,
            query_log,
            query_log_rule,
        } = self;
        [
            ("hash", *form != other.form),
            ("copy", *copy != other.copy),
            ("rate", *rate != other.rate),
            ("identity", *identity != other.identity),
            ("addr", *addr != other.addr),
            ("link", *link != other.link),
            ("address-mode", *address_mode != other.address_mode),
            ("port", *port != other.port),
            ("connections", *connections != other.connections),
            ("connections-per-client", *connections_per_client != other.connections_per_client),
            ("idle-seconds", *idle_seconds != other.idle_seconds),
            ("workers", *workers != other.workers),
            ("pin", *pin != other.pin),
            ("frames or memory", *pool != other.pool),
            ("admin", *admin != other.admin),
            ("log-level", *log_level != other.log_level),
            ("rescan-seconds", *rescan != other.rescan),
            ("confine or seccomp", *policy != other.policy),
            ("steering", *steering != other.steering),
            (
                "query-log or its rule",
                *query_log != other.query_log || *query_log_rule != other.query_log_rule,
            ),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}

/// Reads the file. Relative paths in it are relative to its directory.
fn read(path: &Path, opener: &dyn Opener) -> Result<Options, ConfigError> {
    let bytes = opener
        .read(path, FILE_BYTES_MAX)
        .map_err(|source| ConfigError::Unreadable { path: path.into(), source })?;
    let syntax = |line, why: &str| ConfigError::Syntax { path: path.into(), line, why: why.to_owned() };
    let text = String::from_utf8(bytes).map_err(|_| syntax(1, "not UTF-8"))?;
    let mut options: Options = toml::from_str(&text).map_err(|error| {
        let before = error.span().map_or(0, |span| span.start);
        let line = text.bytes().take(before).filter(|byte| *byte == b'\n').count() + 1;
        syntax(line, &error.message().lines().collect::<Vec<_>>().join(" "))
    })?;
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    for zone in &mut options.zone {
        zone.lies_in(directory);
    }
    options.steering = options.steering.map(|path| directory.join(path));
    options.query_log = options.query_log.map(|choice| choice.in_directory(directory));
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser as _};
    use namestorm::keeper::Source;

    fn config(arguments: &[&str]) -> Result<Config, String> {
        let all = ["namestorm", "serve"].iter().chain(arguments);
        let cli = crate::Cli::try_parse_from(all).map_err(|error| error.to_string())?;
        let crate::Command::Serve(arguments) = cli.command else { panic!("serve was asked for") };
        Config::load(*arguments, &Directly).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_consistent() {
        crate::Cli::command().debug_assert();
    }

    #[test]
    fn another_way_of_copying_needs_a_restart() {
        let [mem, pre] = ["mem", "pre"].map(|way| config(&["--zone", "a=b", "--copy", way]).unwrap());
        assert_eq!(mem.copy, config(&["--zone", "a=b"]).unwrap().copy);
        assert_eq!(mem.fixed_differences(&pre), ["copy"]);
        assert!(config(&["--zone", "a=b", "--copy", "gather"]).is_err());
    }

    #[test]
    fn an_option_beats_the_file_and_paths_are_the_files() {
        let directory = std::env::temp_dir().join(format!("namestorm-options-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("namestorm.toml");
        std::fs::write(&file, "zone = [\"Example=a.zone\"]\nport = 5353\nworkers = 2\n").unwrap();
        let told = config(&["--config", file.to_str().unwrap(), "--port", "54"]).unwrap();
        assert_eq!((told.port, told.workers), (54, Some(2)));
        let example = Source { apex: b"\x07example\0".to_vec(), path: directory.join("a.zone") };
        assert_eq!(told.zones.files, [example]);
        std::fs::write(&file, "zone = [\"a=b\"]\n\nprot = 1\n").unwrap();
        let line = config(&["--config", file.to_str().unwrap()]).unwrap_err();
        assert!(line.contains("namestorm.toml:3: unknown field `prot`"), "{line}");
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn what_cannot_be_served_is_refused_with_the_remedy() {
        assert!(config(&[]).unwrap_err().contains("--zone example=example.zone"));
        assert!(config(&["--zone", "example"]).unwrap_err().contains("example=example.zone"));
        assert!(config(&["--zone", "a=1", "--zone", "A=2"]).unwrap_err().contains("twice"));
        assert!(
            config(&["--zone", "a=1", "--link", "packet:eth0", "--address-mode", "own"])
                .unwrap_err()
                .contains("--addr")
        );
        assert!(config(&["--zone", "a=1", "--port", "0"]).is_err());
    }
}
