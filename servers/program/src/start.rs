//! Setting up: from a configuration to threads that serve.
//!
//! ```text
//!   look at the machine ─▶ open what needs nothing ─▶ namespace? ─▶ network ─▶ certificate ─▶ workers ─▶ control
//!                          directory, certificate,    a thread of   device,    of our own
//!                          ports of the loopback,     one process   addresses  when none
//!                          logs, signals              may enter     queues     was given
//! ```
//!
//! Nothing is said until everything is ready: what goes wrong is one line, and what was made so far goes with us.

use confine::{ConfineError, Files, Kind};
use control::{
    AccessLog, Admin, AdminError, Capture, CaptureError, CapturePlan, ControlPort, Destination, Directly,
    SignalError, Signals, Wake, mailbox,
};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use host::start::{describe_workers, list, monitor_arguments, open_admin};
use host::values::{AddressMode, Bytes, Congestion, LinkChoice, LogChoice, Namespace, PortChoice};
use host::{
    Asked, Choice, Choices, Facts, Forwarder, Keep, Keeper, Machine, Monitor, MonitorError, NamespaceError,
    Network, NetworkError, Policy, Route, Transport, Wanted, namespace,
};
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use survey::{Survey, Tree};

use crate::options::{CaptureChoice, Config, ConfigError, Loaded};
use crate::particular::{Complaint, Given, Program, Seating};
use crate::secure::{Secure, SecureError};

/// Reports of a worker that may wait: a tick of control's at 100,000 requests a second.
const REPORTS: usize = 4_096;
/// The loopback ports that are forwarded, unless chosen otherwise.
const FORWARD_HTTP: u16 = 8_080;
const FORWARD_HTTPS: u16 = 8_443;

/// Why the server could not start: one line that says why and what to do.
#[derive(Debug)]
pub(crate) enum StartError {
    Config(ConfigError),
    /// What only this program has.
    Program(Complaint),
    Secure(SecureError),
    Admin(AdminError),
    Network(NetworkError),
    Namespace(NamespaceError),
    Signals(SignalError),
    Capture(CaptureError),
    Monitor(MonitorError),
    Confine(ConfineError),
    /// A port of the loopback interface is taken.
    Forward {
        address: SocketAddr,
        option: &'static str,
        source: io::Error,
    },
    AccessLog {
        path: PathBuf,
        source: io::Error,
    },
    /// A link on an interface where there can be none.
    InterfaceInNamespace {
        interface: String,
    },
    /// Threads, descriptors.
    System {
        attempt: &'static str,
        source: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Program(error) => error.fmt(f),
            Self::Secure(error) => error.fmt(f),
            Self::Admin(error) => error.fmt(f),
            Self::Network(error) => error.fmt(f),
            Self::Namespace(error) => error.fmt(f),
            Self::Signals(error) => error.fmt(f),
            Self::Capture(error) => error.fmt(f),
            Self::Monitor(error) => error.fmt(f),
            Self::Confine(error) => error.fmt(f),
            Self::Forward { address, option, source } => {
                write!(f, "cannot open {address}: {source}; choose another port with {option}")
            }
            Self::AccessLog { path, source } => {
                write!(f, "cannot write the access log {}: {source}", path.display())
            }
            Self::InterfaceInNamespace { interface } => write!(
                f,
                "a link on {interface} needs root, or CAP_NET_ADMIN and CAP_NET_RAW: inside a namespace there is \
                 no {interface}"
            ),
            Self::System { attempt, source } if is_out_of_files(source) => write!(
                f,
                "cannot {attempt}: this process may not open more files; raise the limit (`ulimit -n`, or \
                 LimitNOFILE= of the service)"
            ),
            Self::System { attempt, source } => write!(f, "cannot {attempt}: {source}"),
        }
    }
}

impl From<Complaint> for StartError {
    fn from(error: Complaint) -> Self {
        Self::Program(error)
    }
}

impl core::error::Error for StartError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Program(error) => Some(&**error),
            Self::Secure(error) => Some(error),
            Self::Admin(error) => Some(error),
            Self::Network(error) => Some(error),
            Self::Namespace(error) => Some(error),
            Self::Signals(error) => Some(error),
            Self::Capture(error) => Some(error),
            Self::Monitor(error) => Some(error),
            Self::Confine(error) => Some(error),
            Self::Forward { source, .. } | Self::AccessLog { source, .. } | Self::System { source, .. } => {
                Some(source)
            }
            Self::InterfaceInNamespace { .. } => None,
        }
    }
}

fn is_out_of_files(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error())
}

macro_rules! from_error {
    ($($variant:ident($error:ty)),+ $(,)?) => {$(
        impl From<$error> for StartError {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )+};
}

from_error!(
    Config(ConfigError),
    Secure(SecureError),
    Admin(AdminError),
    Network(NetworkError),
    Namespace(NamespaceError),
    Signals(SignalError),
    Capture(CaptureError),
    Monitor(MonitorError),
    Confine(ConfineError),
);

/// Control's end of a worker's mailbox.
pub(crate) type Port<P> = ControlPort<Snapshot<P>, Counters<P>, web::AccessRecord>;
/// What control hands to a worker.
pub(crate) type Snapshot<P> = host::Snapshot<Given<P>>;
/// What a worker tells of itself.
pub(crate) type Counters<P> = host::Counters<web::Counters<<P as Program>::Tally>>;

/// A server whose workers are starting.
pub(crate) struct Started<P: Program> {
    pub(crate) signals: Signals,
    pub(crate) bell: Wake,
    pub(crate) admin: Option<Admin>,
    pub(crate) access_log: Option<AccessLog>,
    pub(crate) capture: Option<Capture>,
    pub(crate) ports: Vec<Port<P>>,
    pub(crate) workers: Vec<JoinHandle<()>>,
    pub(crate) program: P,
    pub(crate) secure: Option<Secure>,
    pub(crate) forwarder: Option<Forwarder>,
    /// The device, the program and the ports: as long as anything is served.
    pub(crate) keep: Keep,
    /// Who looks after the link.
    pub(crate) keeper: Keeper,
    /// Who opens what we no longer may.
    pub(crate) monitor: Option<Monitor>,
    /// What the workers got; one message each.
    pub(crate) facts: Receiver<Facts>,
    /// Where clients find us.
    pub(crate) urls: Vec<String>,
    /// What was found and chosen: a heading and a line for each.
    pub(crate) report: Vec<(&'static str, String)>,
}

/// Sets everything up and starts the workers.
pub(crate) fn start<P: Program>(loaded: &Loaded<P>) -> Result<Started<P>, StartError> {
    let Loaded { config, choices: own } = loaded;
    let machine = Machine::look();
    host::raise_file_limit();
    let policy = config.policy;
    let mut program = policy.with_what_is_left(|| P::open(&config.dir, config, own, &Directly))??;
    // With addresses that are known, or a certificate that names its own, everything about TLS is checked before
    // anything is changed; a certificate of our own needs the addresses first.
    let given = match (&config.certificate, config.https) {
        (Some(files), Some(_)) => Some(Secure::new(Some(files), &[], config.key_log.as_deref())?),
        _ => None,
    };
    let inside = needs_namespace(config, &machine)?;
    let admin = open_admin(config.admin, P::ADMIN_PORT)?;
    let outside = if inside { open_outside(config)? } else { Outside::default() };
    let access_log = open_access_log(&config.access_log)?;
    let signals = Signals::catch()?;
    if inside {
        namespace::enter()?;
    }

    let survey = Survey::take(&Tree::host(), config.link.interface()).map_err(NetworkError::Netlink)?;
    let ports: Vec<u16> = config.http.iter().chain(&config.https).copied().collect();
    let wanted = Wanted {
        asked: asked(config, inside),
        addresses: &config.addr,
        ports: &ports,
        transports: &[Transport::Tcp],
    };
    let network = Network::open(&survey, &wanted)?;
    let workers = network.choice.workers;
    let mut keeper = Keeper::new(network.device.clone()).map_err(NetworkError::from)?;
    // Last of what needs privileges, and before the first thread that has none.
    let monitor = policy
        .confine
        .then(|| Monitor::start(P::MONITOR, &monitor_arguments(), &network.device, workers))
        .transpose()?;
    let (pool, pool_notes) = program.pool(own, &machine, workers)?;
    let addresses: Vec<IpAddr> = network.addresses.iter().map(|cidr| cidr.address).collect();
    let mut secure = match (given, config.https) {
        (Some(secure), _) => Some(secure),
        (None, Some(_)) => {
            let mut names = addresses.clone();
            names.extend(inside.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)));
            Some(Secure::new(None, &names, config.key_log.as_deref())?)
        }
        (None, None) => None,
    };
    secure.iter_mut().try_for_each(|secure| secure.write_secrets(policy))?;
    let snapshot = Snapshot::<P> {
        service: program.snapshot(),
        secure: secure.as_ref().map(Secure::settings).transpose()?,
    };

    let system = |attempt| move |source| StartError::System { attempt, source };
    let bell = Wake::new().map_err(system("make an eventfd"))?;
    let mut report = vec![
        ("directory", program.description()),
        ("network", network.description.clone()),
        ("addresses", list(&network.addresses)),
        ("workers", describe_workers(&network.choice, &machine)),
        (
            "memory",
            format!(
                "{} frames of 16 KiB and {} small ones for each worker, {}",
                pool.large_count,
                pool.small_count,
                Bytes(pool.bytes() as u64)
            ),
        ),
    ];
    report.extend(pool_notes.into_iter().map(|note| ("", note)));
    // Why the link is not a better one.
    let at = report.iter().position(|(heading, _)| *heading == "addresses").unwrap_or(0);
    let caution = network.choice.caution(&survey).map(|caution| caution.to_string());
    report.splice(at..at, network.choice.reasons().into_iter().chain(caution).map(|reason| ("", reason)));
    report.extend(secure.as_ref().map(|secure| ("tls", secure.description())));
    let forwarder = if inside {
        outside.forward(config, &addresses, policy).map_err(system("start the forwarder"))?
    } else {
        None
    };
    let urls = match &forwarder {
        Some((_, urls)) => urls.clone(),
        None => urls(config, &addresses),
    };
    if inside {
        let note = "inside a user and network namespace; ports of the loopback interface are forwarded to it";
        report.push(("privilege", note.to_owned()));
    }
    report.extend(admin.as_ref().map(|admin| ("admin", format!("http://{}/", admin.address()))));
    report.extend(access_log.as_ref().map(|log| ("access log", log.destination().to_string())));
    let program_name = format!("{} {}", P::NAME, P::VERSION);
    let capture = open_capture(config.capture.as_ref(), program_name, &network.interface, workers, policy)?;
    report.extend(config.capture.as_ref().map(|choice| ("capture", choice.to_string())));

    let choices = Choices {
        addresses: network
            .addresses
            .iter()
            .map(|cidr| stack::Address { ip: cidr.address, prefix_len: cidr.prefix })
            .collect(),
        shared: config.address_mode == AddressMode::Shared,
        http: config.http,
        https: config.https,
        congestion: match config.congestion {
            Congestion::Cubic => tcp::Algorithm::Cubic,
            Congestion::NewReno => tcp::Algorithm::NewReno,
        },
        connections: config.connections,
        connections_per_client: config.connections_per_client,
        stalled: config.stalled,
        memory: P::memory(own),
    };
    let cores = if config.pin { host::cores() } else { Vec::new() };
    let (tell, facts) = channel();
    let mut ports = Vec::new();
    let mut threads = Vec::new();
    for (index, queue) in (0_u16..).zip(network.queues) {
        let (mine, its) = mailbox(REPORTS, bell.clone()).map_err(system("make a mailbox"))?;
        let seating = Seating { index, pool, bell: &mine.bell(), control: &bell, policy };
        let plan = host::Plan::<P> {
            index,
            queue,
            roots: program.roots().map_err(system("share the directory"))?,
            pool,
            core: cores.get(usize::from(index) % cores.len().max(1)).copied(),
            choices: choices.clone(),
            snapshot: snapshot.clone(),
            seat: program.seat(&seating).map_err(system("start a worker's helper"))?,
            port: its,
            orders: keeper.post(mine.bell()),
            policy,
            facts: tell.clone(),
        };
        threads.push(host::spawn(plan).map_err(system("start a worker's thread"))?);
        ports.push(mine);
    }
    Ok(Started {
        signals,
        bell,
        admin,
        access_log,
        capture,
        ports,
        workers: threads,
        program,
        secure,
        keep: network.keep,
        forwarder: forwarder.map(|(forwarder, _)| forwarder),
        keeper,
        monitor,
        facts,
        urls,
        report,
    })
}

/// Checks everything that can be checked without changing anything. Returns what would be served, for people.
pub(crate) fn check<P: Program>(loaded: &Loaded<P>) -> Result<Vec<(&'static str, String)>, StartError> {
    let Loaded { config, choices: own } = loaded;
    let machine = Machine::look();
    let mut program = P::open(&config.dir, config, own, &Directly)?;
    let mut report = vec![("directory", program.description())];
    let addresses: Vec<IpAddr> = config.addr.iter().map(|cidr| cidr.address).collect();
    if config.https.is_some() {
        let secure = Secure::new(config.certificate.as_ref(), &addresses, None)?;
        report.push(("tls", secure.description()));
    }
    let inside = needs_namespace(config, &machine)?;
    let survey = Survey::take(&Tree::host(), config.link.interface()).map_err(NetworkError::Netlink)?;
    let choice = Choice::of(&survey, &asked(config, inside));
    let (pool, notes) = program.pool(own, &machine, choice.workers)?;
    report.push(("link", config.link.to_string()));
    report.extend(choice.lines().into_iter().map(|line| ("", line)));
    if !config.addr.is_empty() {
        report.push(("addresses", list(&config.addr)));
        report.extend(urls(config, &addresses).into_iter().map(|url| ("url", url)));
    }
    report.push(("workers", describe_workers(&choice, &machine)));
    report.push(("memory", format!("{} frames of 16 KiB for each worker", pool.large_count)));
    report.extend(notes.into_iter().map(|note| ("", note)));
    if inside {
        report.push(("privilege", "would run inside a user and network namespace".to_owned()));
    }
    report.extend(program.problems().into_iter().map(|problem| ("unreadable", problem)));
    Ok(report)
}

/// What is asked of the machine.
fn asked(config: &Config, inside: bool) -> Asked<'_> {
    Asked { link: &config.link, mode: config.address_mode, workers: config.workers, inside }
}

fn needs_namespace(config: &Config, machine: &Machine) -> Result<bool, StartError> {
    let inside = match config.namespace {
        Namespace::Always => true,
        Namespace::Never => false,
        Namespace::Auto => !machine.net_admin,
    };
    match &config.link {
        // A namespace of our own has no interface of this machine.
        LinkChoice::Packet(interface) | LinkChoice::AfXdp(interface) if inside => {
            Err(StartError::InterfaceInNamespace { interface: interface.clone() })
        }
        _ => Ok(inside),
    }
}

fn open_access_log(choice: &LogChoice) -> Result<Option<AccessLog>, StartError> {
    let destination = match choice {
        LogChoice::Off => return Ok(None),
        LogChoice::Stdout => Destination::Stdout,
        LogChoice::File(path) => Destination::File(path.clone()),
    };
    AccessLog::open(destination.clone()).map(Some).map_err(|source| {
        let path = match destination {
            Destination::Stdout => "-".into(),
            Destination::File(path) => path,
        };
        StartError::AccessLog { path, source }
    })
}

/// After the namespace was entered: there is a thread in it.
fn open_capture(
    choice: Option<&CaptureChoice>,
    program: String,
    interface: &str,
    workers: u16,
    policy: Policy,
) -> Result<Option<Capture>, StartError> {
    let Some(CaptureChoice { file, filter, bytes_max, snap, at_start }) = choice else { return Ok(None) };
    let plan = CapturePlan {
        file: file.clone(),
        bytes_max: *bytes_max,
        snap: *snap,
        filter: *filter,
        at_start: *at_start,
        program,
        links: vec![interface.to_owned(); usize::from(workers)],
    };
    let prepare =
        move || policy.apply(Kind::Writer, Files::default()).map(drop).map_err(|error| error.to_string());
    Ok(Some(Capture::open(plan, prepare)?))
}

/// Ports of the loopback interface, opened before we enter the namespace.
#[derive(Debug, Default)]
struct Outside {
    http: Option<TcpListener>,
    https: Option<TcpListener>,
}

fn open_outside(config: &Config) -> Result<Outside, StartError> {
    let open = |served: Option<u16>, choice: Option<PortChoice>, default: u16, option: &'static str| {
        if served.is_none() {
            return Ok(None);
        }
        let bind = |port: u16| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            TcpListener::bind(address).map_err(|source| StartError::Forward { address, option, source })
        };
        match choice {
            Some(PortChoice(None)) => Ok(None),
            Some(PortChoice(Some(port))) => bind(port).map(Some),
            None => bind(default).or_else(|_| bind(0)).map(Some),
        }
    };
    Ok(Outside {
        http: open(config.http, config.forward_http, FORWARD_HTTP, "--forward-http")?,
        https: open(config.https, config.forward_https, FORWARD_HTTPS, "--forward-https")?,
    })
}

impl Outside {
    /// Starts forwarding to the first of our addresses. Returns the URLs outside, too.
    fn forward(
        self,
        config: &Config,
        addresses: &[IpAddr],
        policy: Policy,
    ) -> io::Result<Option<(Forwarder, Vec<String>)>> {
        let Some(target) = addresses.first() else { return Ok(None) };
        let mut routes = Vec::new();
        let mut urls = Vec::new();
        for (scheme, listener, port) in
            [("http", self.http, config.http), ("https", self.https, config.https)]
        {
            if let (Some(listener), Some(port)) = (listener, port) {
                urls.push(format!("{scheme}://{}/", listener.local_addr()?));
                routes.push(Route { listener, target: SocketAddr::new(*target, port) });
            }
        }
        if routes.is_empty() {
            return Ok(None);
        }
        Forwarder::start(routes, policy).map(|forwarder| Some((forwarder, urls)))
    }
}

/// Every URL that leads to us: all HTTP ones, then all HTTPS ones.
fn urls(config: &Config, addresses: &[IpAddr]) -> Vec<String> {
    [("http", config.http), ("https", config.https)]
        .into_iter()
        .filter_map(|(scheme, port)| port.map(|port| (scheme, port)))
        .flat_map(|(scheme, port)| {
            addresses.iter().map(move |address| format!("{scheme}://{}/", SocketAddr::new(*address, port)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Common, Defaults};

    fn config(change: impl FnOnce(&mut Common)) -> Config {
        let mut options = Common { dir: Some(".".into()), ..Common::default() };
        change(&mut options);
        Config::resolve(options, "", Defaults { rescan: 10, stalled: 60 }).unwrap()
    }

    fn machine(net_admin: bool) -> Machine {
        Machine { cores: 2, memory: 1 << 30, memlock: None, net_admin }
    }

    #[test]
    fn every_address_has_every_scheme() {
        let addresses = ["10.77.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
        let config = config(|options| options.https = Some(PortChoice(Some(8443))));
        assert_eq!(
            urls(&config, &addresses),
            [
                "http://10.77.0.2:80/",
                "http://[fd00::2]:80/",
                "https://10.77.0.2:8443/",
                "https://[fd00::2]:8443/"
            ]
        );
    }

    #[test]
    fn a_namespace_is_for_those_without_privilege() {
        assert!(!needs_namespace(&config(|_| ()), &machine(true)).unwrap());
        assert!(needs_namespace(&config(|_| ()), &machine(false)).unwrap());
        let never = config(|options| options.namespace = Some(Namespace::Never));
        assert!(!needs_namespace(&never, &machine(false)).unwrap());
    }

    #[test]
    fn a_packet_link_cannot_be_inside_one() {
        let packet = config(|options| {
            options.link = Some("packet:eth0".parse().unwrap());
            options.addr = vec!["10.0.0.2/24".parse().unwrap()];
        });
        assert!(!needs_namespace(&packet, &machine(true)).unwrap());
        let line = needs_namespace(&packet, &machine(false)).unwrap_err().to_string();
        assert!(line.contains("eth0") && line.contains("root"), "{line}");
    }

    #[test]
    fn a_default_port_that_is_taken_is_replaced_and_a_chosen_one_is_not() {
        let outside = open_outside(&config(|_| ())).unwrap();
        let taken = outside.http.as_ref().unwrap().local_addr().unwrap();
        assert!(open_outside(&config(|_| ())).unwrap().http.is_some());
        let chosen = config(|options| options.forward_http = Some(PortChoice(Some(taken.port()))));
        let line = open_outside(&chosen).unwrap_err().to_string();
        assert!(line.contains("--forward-http"), "{line}");
    }

    #[test]
    fn a_port_that_is_not_served_is_not_forwarded() {
        let outside = open_outside(&config(|options| options.http = Some(PortChoice(None)))).unwrap();
        assert!(outside.http.is_none() && outside.https.is_some());
    }
}
