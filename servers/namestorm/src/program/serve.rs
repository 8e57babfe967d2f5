//! Setting up: from options to threads that answer.
//!
//! ```text
//!   load the zones ─▶ ports, signals ─▶ network ─▶ monitor ─▶ loader, courier, workers ─▶ confine ─▶ control
//! ```
//!
//! Nothing is said until everything is ready: what goes wrong is one line, and what was made so far goes with us.

use confine::{ConfineError, Files, Kind};
use control::{AdminError, Directly, Outcome, SignalError, Signals, Wake, mailbox};
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use dns::cookie::Secret;
use host::start::{describe_workers, list, log_to_stderr, monitor_arguments, open_admin};
use host::values::AddressMode;
use host::{
    Asked, Choices, Machine, Monitor, MonitorError, Named, Network, NetworkError, TooLittle, Transport,
    Wanted,
};
use namestorm::desk::{Serving, Snapshot};
use namestorm::hash::Key;
use namestorm::keeper::Keeper;
use namestorm::load::Threads;
use namestorm::query_log::Rule;
use namestorm::respond::Settings;
use namestorm::rrl::Rate;
use namestorm::transfer::notice::Notices;
use rustix::fs::{Mode, OFlags};
use rustix::rand::{GetRandomFlags, getrandom};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use survey::{Survey, Tree};

use crate::courier::{self, CourierError, Order, Recalled};
use crate::loader::{Loader, LoaderError};
use crate::log::{self, QueryLog};
use crate::options::{Config, ConfigError, Copying, QueryLogChoice, ServeArgs};
use crate::server::{Namestorm, Port, describe};
use crate::steering::{Steering, SteeringError};
use crate::{FAILED, NOT_STARTED, refuse};

/// Beside Atlas's.
pub(crate) const ADMIN_PORT: u16 = 9_466;
/// What the monitor is called in a list of processes.
const MONITOR_NAME: &str = "namestorm-monitor";
/// The most that a primary may send of one zone before it is given up.
const TRANSFER_BYTES_MAX: u64 = 4 << 30;
/// Reports of a worker that may wait: of a query log, what comes in while control sleeps.
const REPORTS: usize = 1_024;
/// A stream whose client takes nothing of what it is sent for so long is reset.
const STALLED: Duration = Duration::from_secs(60);
/// Frames of a worker for answers that lie ready, with `--copy pre`: 32 MiB.
const REPLICAS: usize = 16_384;

/// Why the server could not start: one line that says why and what to do.
#[derive(Debug)]
enum StartError {
    Config(ConfigError),
    /// No zone could be loaded: what is wrong with the first.
    Zones(String),
    Admin(AdminError),
    Network(NetworkError),
    Signals(SignalError),
    Memory(TooLittle),
    Monitor(MonitorError),
    Confine(ConfineError),
    Steering(SteeringError),
    Courier(CourierError),
    Loader(LoaderError),
    /// Where questions are to be written down.
    QueryLog {
        choice: QueryLogChoice,
        source: io::Error,
    },
    /// A zone's directory.
    Directory {
        path: PathBuf,
        source: io::Error,
    },
    /// Threads, descriptors, randomness.
    System {
        attempt: &'static str,
        source: io::Error,
    },
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Zones(line) => f.write_str(line),
            Self::Admin(error) => error.fmt(f),
            Self::Network(error) => error.fmt(f),
            Self::Signals(error) => error.fmt(f),
            Self::Memory(error) => error.fmt(f),
            Self::Monitor(error) => error.fmt(f),
            Self::Confine(error)
            | Self::Courier(CourierError::Confine(error))
            | Self::Loader(LoaderError::Confine(error)) => error.fmt(f),
            Self::Steering(error) => error.fmt(f),
            Self::Courier(CourierError::Thread(error)) => {
                write!(f, "cannot start the thread that fetches zones: {error}")
            }
            Self::Loader(LoaderError::Thread(error)) => {
                write!(f, "cannot start the thread that reads zones: {error}")
            }
            Self::QueryLog { choice, source } => write!(f, "cannot write the query log ({choice}): {source}"),
            Self::Directory { path, source } => write!(f, "cannot open {}: {source}", path.display()),
            Self::System { attempt, source } => write!(f, "cannot {attempt}: {source}"),
        }
    }
}

impl core::error::Error for StartError {}

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
    Admin(AdminError),
    Network(NetworkError),
    Signals(SignalError),
    Memory(TooLittle),
    Monitor(MonitorError),
    Confine(ConfineError),
    Steering(SteeringError),
    Courier(CourierError),
    Loader(LoaderError),
);

/// Serves until it is told to leave.
pub(crate) fn serve(arguments: ServeArgs) -> ExitCode {
    let config = match Config::load(arguments.clone(), &Directly) {
        Ok(config) => config,
        Err(error) => return refuse(&error, NOT_STARTED),
    };
    log_to_stderr(config.log_level);
    let Started { plan, ports, workers, mut server, directories, keep } = match start(&config, arguments) {
        Ok(started) => started,
        Err(error) => return refuse(&error, NOT_STARTED),
    };
    // This thread's own turn: everything that needs a privilege is open, and whoever is to keep one has been started.
    let files = Files { read: directories.iter().map(AsFd::as_fd).collect(), ..Files::default() };
    match config.policy.apply(Kind::Control, files) {
        Ok(confinement) => server.confinement = confinement,
        Err(error) => return refuse(&error, NOT_STARTED),
    }
    let outcome = control::run(plan, ports, &mut server);
    drop(server);
    for worker in workers {
        // A thread that hangs ends with the process; one that panicked has been reported.
        if outcome == Outcome::Stopped || worker.is_finished() {
            let _ = worker.join();
        }
    }
    // The device, the program and the ports last: until now somebody may have been sending.
    drop(keep);
    match outcome {
        Outcome::Stopped => ExitCode::SUCCESS,
        Outcome::Failed { at_start: true, line } => refuse(&line, NOT_STARTED),
        Outcome::Failed { at_start: false, line } => refuse(&line, FAILED),
    }
}

/// Opens links again that the server has given up the right to open. Started by a server, and of no use to anybody else.
pub(crate) fn monitor(arguments: ServeArgs) -> ExitCode {
    let file = arguments.config.clone();
    let load = || Config::load(arguments.clone(), &Directly);
    let config = match load() {
        Ok(config) => config,
        Err(error) => return refuse(&error, NOT_STARTED),
    };
    log_to_stderr(config.log_level);
    // What is named may have changed by the time that it is asked for; of a file that is broken, itself.
    let nothing_but_the_file = Named { read: file.iter().cloned().collect(), append: Vec::new() };
    let named = || match load() {
        Ok(config) => config.named(file.as_deref()),
        Err(_) => nothing_but_the_file.clone(),
    };
    match host::attend(config.policy, named) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error, FAILED),
    }
}

/// A server whose workers are starting.
struct Started {
    plan: control::Plan,
    ports: Vec<Port>,
    workers: Vec<JoinHandle<()>>,
    server: Namestorm,
    /// Where zones lie: what is read again.
    directories: Vec<OwnedFd>,
    keep: host::Keep,
}

fn start(config: &Config, arguments: ServeArgs) -> Result<Started, StartError> {
    let machine = Machine::look();
    host::raise_file_limit();
    let system = |attempt| move |source| StartError::System { attempt, source };
    let policy = config.policy;
    let directories = open_all(directories(config, arguments.config.as_deref()))?;
    let secrets = Secrets::draw().map_err(system("draw a secret"))?;
    let zones = &config.zones;
    let mut keeper = Keeper::new(secrets.names, config.form, Threads(config.load_threads), Vec::new());
    let fetched: Vec<_> = zones.secondaries.iter().map(|zone| zone.source.apex.clone()).collect();
    keeper.set(zones.files.clone(), &fetched, Arc::clone(&zones.policy));
    // With the rights that will be left: a zone that could not be read again is found out now.
    let (loaded, recalled) = policy.with_what_is_left(|| {
        let sources = zones.secondaries.iter().map(|zone| &zone.source);
        let recalled: Vec<_> =
            sources.map(|source| Recalled::read(source, secrets.names, config.form)).collect();
        (keeper.refresh(), recalled)
    })?;
    keeper.install(recalled.iter().filter_map(Recalled::servable).collect());
    // From here on whoever reads zones makes no threads.
    keeper.set_threads(Threads(1));
    if keeper.catalogue().zones().is_empty() {
        let first = loaded.iter().find_map(|outcome| outcome.result.as_ref().err());
        return Err(StartError::Zones(first.map_or_else(|| "no zone".to_owned(), ToString::to_string)));
    }
    let steering = config.steering.as_deref();
    let mut steering =
        policy.with_what_is_left(|| steering.map(|path| Steering::open(path, &keeper)).transpose())??;
    let query_log = log::open(&config.query_log, &Directly)
        .map_err(|source| StartError::QueryLog { choice: config.query_log.clone(), source })?;
    let admin = open_admin(config.admin, ADMIN_PORT)?;
    let signals = Signals::catch()?;

    let survey = Survey::take(&Tree::host(), config.link.interface()).map_err(NetworkError::Netlink)?;
    let wanted = Wanted {
        asked: Asked {
            link: &config.link,
            mode: config.address_mode,
            workers: config.workers,
            inside: false,
        },
        addresses: &config.addr,
        ports: &[config.port],
        transports: &[Transport::Tcp, Transport::Udp],
    };
    let network = Network::open(&survey, &wanted)?;
    let workers = network.choice.workers;
    let mut link_keeper = host::Keeper::new(network.device.clone()).map_err(NetworkError::from)?;
    // Last of what needs privileges, and before the first thread that has none.
    let monitor = policy
        .confine
        .then(|| Monitor::start(MONITOR_NAME, &monitor_arguments(), &network.device, workers))
        .transpose()?;
    let (mut pool, pool_note) = machine.pool(config.pool, workers)?;
    let replicas = replicas(config);
    pool.small_count += u32::try_from(replicas).expect("a small number");

    let bell = Wake::new().map_err(system("make an eventfd"))?;
    let loader = Loader::start(
        policy,
        open_all(self::directories(config, arguments.config.as_deref()))?,
        bell.clone(),
    )?;
    let courier_bell = Wake::new().map_err(system("make an eventfd"))?;
    let (notices, notice) = Notices::new(courier_bell.clone());
    let courier = courier::start(courier::Plan {
        key: secrets.names,
        form: config.form,
        bell: courier_bell,
        notices: notice,
        control: bell.clone(),
        privileges: policy,
        directories: open_all(zones.secondaries.iter().map(|zone| parent(&zone.source.path)).collect())?,
        ports: zones.ports(),
        bytes_max: TRANSFER_BYTES_MAX,
    })?;
    courier.order(Order::Zones(Box::new(zones.clone()), recalled));
    // RFC 1996 §3.3 leaves it to us; whoever missed something while we were away hears of it now.
    courier.order(Order::Changed(keeper.catalogue().zones().to_vec()));

    let addresses: Vec<IpAddr> = network.addresses.iter().map(|cidr| cidr.address).collect();
    let serving = Serving {
        addresses: addresses.clone(),
        port: config.port,
        settings: Settings { notices: Some(notices), ..settings(config, &secrets) },
        idle: Duration::from_secs(config.idle_seconds.into()),
    };
    let mut catalogue = keeper.catalogue();
    if let Some(steering) = &mut steering {
        catalogue = steering.steer(&catalogue, &mut Vec::new());
    }
    let snapshot = Snapshot { catalogue, serving: Arc::new(serving) };

    let mut report = vec![("zones", describe(&keeper))];
    report.extend(steering.iter().map(|steering| ("steering", steering.describe())));
    report.push(("network", network.description.clone()));
    report.extend(network.choice.reasons().into_iter().map(|reason| ("", reason)));
    report.push(("addresses", list(&network.addresses)));
    report.push(("workers", describe_workers(&network.choice, &machine)));
    let memory = host::values::Bytes(pool.bytes() as u64);
    let whose = if replicas > 0 { "streams and ready answers" } else { "streams" };
    report.push(("memory", format!("{memory} of frames for each worker's {whose}")));
    report.extend(pool_note.map(|note| ("", note)));
    if config.query_log != QueryLogChoice::Off {
        let Rule { every, odd } = config.query_log_rule;
        let odd = if odd { ", and the odd ones" } else { "" };
        report.push(("query log", format!("{}: one question in {every}{odd}", config.query_log)));
    }
    report.extend(admin.as_ref().map(|admin| ("admin", format!("http://{}/", admin.address()))));

    let choices = Choices {
        addresses: network
            .addresses
            .iter()
            .map(|cidr| stack::Address { ip: cidr.address, prefix_len: cidr.prefix })
            .collect(),
        shared: config.address_mode == AddressMode::Shared,
        http: Some(config.port),
        https: None,
        congestion: tcp::Algorithm::Cubic,
        connections: config.connections,
        connections_per_client: config.connections_per_client,
        stalled: Some(STALLED),
        memory: turn::MemoryVariant::default(),
    };
    if let Some(steering) = &mut steering {
        steering.start(policy, bell.clone()).map_err(system("start the thread that asks targets"))?;
    }
    let (query_log, lines) =
        QueryLog::start(query_log, config, policy).map_err(system("start the thread that writes dnstap"))?;
    let cores = if config.pin { host::cores() } else { Vec::new() };
    let (tell, facts) = channel();
    let mut ports = Vec::new();
    let mut threads = Vec::new();
    for (index, queue) in (0_u16..).zip(network.queues) {
        let (mine, its) = mailbox(REPORTS, bell.clone()).map_err(system("make a mailbox"))?;
        let plan = host::Plan::<Namestorm> {
            index,
            queue,
            roots: Vec::new(),
            pool,
            core: cores.get(usize::from(index) % cores.len().max(1)).copied(),
            choices: choices.clone(),
            snapshot: host::Snapshot { service: snapshot.clone(), secure: None },
            seat: (),
            port: its,
            orders: link_keeper.post(mine.bell()),
            policy,
            facts: tell.clone(),
        };
        threads.push(host::spawn(plan).map_err(system("start a worker's thread"))?);
        ports.push(mine);
    }
    let urls = addresses.iter().map(|address| format!("dns://{}", SocketAddr::new(*address, config.port)));
    Ok(Started {
        plan: control::Plan {
            signals,
            bell,
            admin,
            access_log: lines,
            capture: None,
            drain: config.drain,
            rescan: config.rescan,
        },
        ports,
        workers: threads,
        server: Namestorm {
            keeper,
            loaded,
            snapshot,
            steering,
            query_log,
            link_keeper,
            monitor,
            confinement: None,
            facts,
            urls: urls.collect(),
            report,
            arguments,
            config: config.clone(),
            loader,
            courier,
        },
        directories,
        keep: network.keep,
    })
}

/// The directories that zones and what they include are read from: theirs, and the configuration file's, so that zones may
/// be added beside it.
fn directories(config: &Config, file: Option<&Path>) -> Vec<PathBuf> {
    config.zones.paths().chain(file).map(parent).collect()
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn open_all(mut paths: Vec<PathBuf>) -> Result<Vec<OwnedFd>, StartError> {
    paths.sort_unstable();
    paths.dedup();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: PathBuf| {
        rustix::fs::open(&path, flags, Mode::empty())
            .map_err(|errno| StartError::Directory { path, source: errno.into() })
    };
    paths.into_iter().map(open).collect()
}

/// Drawn once, and the same for all workers: a client's next question may come to another.
struct Secrets {
    names: Key,
    cookies: Secret,
    rates: u64,
}

impl Secrets {
    fn draw() -> io::Result<Self> {
        let draw = || {
            let mut bytes = [0; 16];
            // The kernel gives so few bytes whole or not at all.
            getrandom(&mut bytes[..], GetRandomFlags::empty()).map(|_| bytes).map_err(io::Error::from)
        };
        let rates = u64::from_le_bytes(*draw()?.first_chunk().expect("16 bytes have 8"));
        Ok(Self { names: Key::new(draw()?), cookies: Secret(draw()?), rates })
    }
}

/// Frames of a worker for answers that lie ready.
const fn replicas(config: &Config) -> usize {
    match config.copy {
        Copying::Mem => 0,
        Copying::Pre => REPLICAS,
    }
}

fn settings(config: &Config, secrets: &Secrets) -> Settings {
    Settings {
        cookie_secret: Some(secrets.cookies),
        identity: config.identity.as_ref().map(|identity| identity.as_bytes().into()),
        rate: (config.rate > 0).then(|| Rate {
            per_second: config.rate,
            key: secrets.rates,
            ..Rate::default()
        }),
        log: (config.query_log != QueryLogChoice::Off).then_some(config.query_log_rule),
        keepalive: config.idle_seconds.saturating_mul(10),
        replicas: replicas(config),
        ..Settings::default()
    }
}
