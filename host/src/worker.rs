//! One worker: a thread that turns the engine, and sleeps when there is nothing to turn for.
//!
//! ```text
//!      ┌───────────────── busy ─────────────────┐
//!      ▼                                        │
//!   command? ─▶ engine.turn() ─▶ records ─▶ idle? ─▶ spin a little ─▶ ppoll: link, disk, control, deadline
//!      ▲                                                                   │
//!      └───────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Everything of a worker is made inside its thread and dies there: nothing of it could be sent. What it has in common
//! with others is the mailbox.

mod counters;
mod platform;
mod spin;
mod visible;

use ::platform::{Disk, Link};
use confine::{ConfineError, Confinement, Files, Kind};
use control::Figures;
use core::fmt;
use core::time::Duration;
use disk_uring::{DiskUring, Features, UringConfig, UringError};
use dma::{Pages, Pool, PoolLayout, RegionError};
use handshake::ServerSettings;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::CapabilitySet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use turn::{Carrier, Engine, EngineParts, MemoryVariant, Service};

use crate::confinement::Policy;
use crate::keeper::{Order, Orders};
use crate::link::{Front, HostLink};
use crate::machine;
use crate::network::{NetworkError, Queue};
pub use counters::Counters;
use platform::{Here, Monotonic, Random};
use spin::Spin;
use visible::{Lists, Shown};

/// How often the counters are told, while they change.
const PUBLISH_EVERY: Duration = Duration::from_millis(200);
/// How long to sleep while a packet waits for a device that was full: it does not tell when it is not.
const FULL_LINK_NAP: Duration = Duration::from_micros(200);
/// Turns after everything was reset, so that the resets leave.
const LAST_TURNS: usize = 8;

/// A server, as the host runs it: its service, and what to take from it between turns.
///
/// Implemented by a type of the server's program, so that the service itself need not know that there is a machine.
pub trait Tenant: 'static {
    /// What the engine runs.
    type Service: Service<Snapshot: Clone + fmt::Debug + Send>;
    /// What the engine takes packets from: the machine's link as it is, or behind something of the tenant's own that answers
    /// some packets at once, such as questions of one datagram each, and leaves the engine the rest.
    type Link: Front;
    /// What the service counts, in one copy.
    type Counters: Copy + Default + fmt::Debug + Figures + Send;
    /// What a request amounted to, for the access log.
    type Record: fmt::Debug + Send;
    /// What each worker's service gets for itself alone; `()` where all are alike.
    type Seat: Send;

    /// A worker's own service, in its thread.
    fn service(
        snapshot: <Self::Service as Service>::Snapshot,
        seat: Self::Seat,
        place: &Place<'_>,
    ) -> Self::Service;
    /// Puts what is the tenant's in front of the link. It lives in the same thread as the service, and may share with it.
    fn front(service: &mut Self::Service, link: HostLink) -> Self::Link;
    /// What it has counted so far.
    fn counters(service: &Self::Service) -> Self::Counters;
    /// The next record, if one waits.
    fn take_record(service: &mut Self::Service) -> Option<Self::Record>;
}

/// Where a worker's service finds itself.
#[derive(Debug)]
pub struct Place<'a> {
    /// The frames that the engine sends from, for a service that keeps bytes of its own in them.
    pub pool: &'a Pool,
    /// The time, in seconds since the Unix epoch.
    pub unix_seconds: u64,
}

/// What the tenant's service is given between turns.
type Given<T> = <<T as Tenant>::Service as Service>::Snapshot;

/// What control hands over between two turns.
#[derive(Clone, Debug)]
pub struct Snapshot<C> {
    /// Content and rules.
    pub service: C,
    /// Certificates and tickets, when there is a TLS port.
    pub secure: Option<ServerSettings>,
}

/// The worker's end of the mailbox.
pub type Port<T> =
    control::WorkerPort<Snapshot<Given<T>>, Counters<<T as Tenant>::Counters>, <T as Tenant>::Record>;

/// What a worker is made of.
#[expect(missing_debug_implementations, reason = "a tenant need not be printable")]
pub struct Plan<T: Tenant> {
    /// Its number.
    pub index: u16,
    /// Its packets.
    pub queue: Queue,
    /// The directories that it may open files in.
    pub roots: Vec<OwnedFd>,
    /// Its frames.
    pub pool: PoolLayout,
    /// The core it stays on.
    pub core: Option<usize>,
    /// What the operator chose.
    pub choices: Choices,
    /// What it begins with.
    pub snapshot: Snapshot<Given<T>>,
    /// What it has for itself.
    pub seat: T::Seat,
    /// Its mailbox.
    pub port: Port<T>,
    /// What it is told about its link.
    pub orders: Orders,
    /// What it gives up once everything is open.
    pub policy: Policy,
    /// Who wants to know what it got.
    pub facts: Sender<Facts>,
}

/// What the operator chose, as far as a worker's engine is concerned.
#[derive(Clone, Debug)]
pub struct Choices {
    /// Ours.
    pub addresses: Vec<stack::Address>,
    /// The kernel has them too.
    pub shared: bool,
    /// The port without TLS.
    pub http: Option<u16>,
    /// The port with TLS.
    pub https: Option<u16>,
    /// Which law the congestion window follows.
    pub congestion: tcp::Algorithm,
    /// The most connections at once.
    pub connections: u32,
    /// The most of them from one client.
    pub connections_per_client: u32,
    /// How long a client that answers may take nothing of what it is sent; for ever when absent.
    pub stalled: Option<Duration>,
    /// How memory that the service sends gets into packets.
    pub memory: MemoryVariant,
}

/// What a worker got from the machine, for the start-up report.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The pages under its frames.
    pub pages: Pages,
    /// What its ring can do; `None` when it opens no files.
    pub ring: Option<Features>,
    /// How packets go to the kernel.
    pub packets: String,
    /// How memory gets into them, on this link.
    pub memory: MemoryVariant,
    /// What it gave up; `None` when the operator wants none of it.
    pub confinement: Option<Confinement>,
}

/// Why a worker could not start. One line each, with what to do.
#[derive(Debug)]
enum WorkerError {
    Memory(RegionError),
    Disk(UringError),
    Link(NetworkError),
    Config(turn::ConfigError),
    Random(io::Error),
    Poll(io::Error),
    Roots(io::Error),
    Confine(ConfineError),
}

impl fmt::Display for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(error) => write!(f, "{error}; give less with --memory or --frames"),
            Self::Disk(error) => error.fmt(f),
            Self::Link(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Random(error) => write!(f, "the kernel gives no randomness: {error}"),
            Self::Poll(error) => write!(f, "cannot wait for packets: {error}"),
            Self::Roots(error) => write!(f, "cannot share the directory: {error}"),
            Self::Confine(error) => error.fmt(f),
        }
    }
}

/// Starts the worker's thread, which reports through its mailbox and never otherwise.
///
/// # Errors
/// No thread can be had.
pub fn spawn<T: Tenant>(plan: Plan<T>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(format!("worker-{}", plan.index)).spawn(move || {
        if let Some(core) = plan.core {
            stay_on(core, plan.index);
        }
        let Plan {
            index: _,
            queue,
            roots,
            pool,
            core: _,
            choices,
            snapshot,
            seat,
            mut port,
            orders,
            policy,
            facts,
        } = plan;
        let keep = if queue.is_pinned_again() { machine::pinning() } else { CapabilitySet::empty() };
        let built = Worker::<T>::build(queue, &roots, pool, choices, (snapshot, seat), orders)
            .and_then(|(worker, told)| confine(policy, &roots, keep).map(|held| (worker, told, held)));
        drop(roots);
        let end = match built {
            Ok((mut worker, told, confinement)) => {
                // Whoever wanted to know may have given up meanwhile.
                let _ = facts.send(Facts { confinement, ..told });
                drop(facts);
                port.report(control::Report::Ready);
                let end = worker.run(&mut port);
                worker.leave(&mut port);
                end
            }
            Err(error) => Err(error),
        };
        port.report(match end {
            Ok(()) => control::Report::Stopped,
            Err(error) => control::Report::Failed(error.to_string().into()),
        });
    })
}

/// Gives up what the worker does not need: everything it works with is open, and its rings are restricted.
fn confine(
    policy: Policy,
    roots: &[OwnedFd],
    keep: CapabilitySet,
) -> Result<Option<Confinement>, WorkerError> {
    let files = Files { read: roots.iter().map(AsFd::as_fd).collect(), ..Files::default() };
    policy.apply_keeping(Kind::Worker, Some(files), keep).map_err(WorkerError::Confine)
}

/// Keeps the calling thread on one core. Where that is refused the worker runs anywhere, which is no reason to fail.
fn stay_on(core: usize, index: u16) {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    if let Err(error) = rustix::thread::sched_setaffinity(None, &cores) {
        tracing::warn!("worker {index} cannot be kept on core {core}: {error}");
    }
}

type WorkerEngine<T> = Engine<Here<<T as Tenant>::Link>, aead::AwsLc, <T as Tenant>::Service>;

struct Worker<T: Tenant> {
    engine: WorkerEngine<T>,
    pool: Pool,
    clock: Monotonic,
    spin: Spin,
    counters: Counters<T::Counters>,
    /// When the counters were told last, and whether anything has happened since.
    published: clock::Instant,
    dirty: bool,
    /// When the last sleep ended, and how long the worker was awake before that.
    woke: clock::Instant,
    awake: Duration,
    draining: bool,
    drained: bool,
    lists: Lists,
    orders: Orders,
    /// Why the device that came back could not be used, once that was told.
    unusable: Option<String>,
    /// Packets that the tenant's front had taken when last looked.
    taken: u64,
}

impl<T: Tenant> Worker<T> {
    fn build(
        queue: Queue,
        roots: &[OwnedFd],
        layout: PoolLayout,
        choices: Choices,
        (snapshot, seat): (Snapshot<Given<T>>, T::Seat),
        orders: Orders,
    ) -> Result<(Self, Facts), WorkerError> {
        let roots: io::Result<Vec<_>> = roots.iter().map(OwnedFd::try_clone).collect();
        let roots = roots.map_err(WorkerError::Roots)?;
        let pool = Pool::with_chunks(layout, queue.chunk_count()).map_err(WorkerError::Memory)?;
        // A service that opens no files has no use for frames that are pinned: that takes seconds where memory is large.
        let opens = !roots.is_empty();
        let region = if opens { pool.region() } else { (pool.region().0, 0) };
        let disk = DiskUring::open(UringConfig::default(), roots, region).map_err(WorkerError::Disk)?;
        let link = queue.open(&pool).map_err(WorkerError::Link)?;
        let told = Facts {
            pages: pool.pages(),
            ring: opens.then(|| disk.features()),
            packets: link.manner(),
            memory: choices.memory.on(&link.capabilities()),
            confinement: None,
        };
        let mut clock = Monotonic;
        let now = ::platform::Clock::unix_time(&mut clock).as_secs();
        let Snapshot { service, secure } = snapshot;
        let mut service = T::service(service, seat, &Place { pool: &pool, unix_seconds: now });
        let link = T::front(&mut service, link);
        let config = config(&choices, &link.capabilities());
        let parts = EngineParts {
            link,
            disk,
            clock,
            entropy: Random::new().map_err(WorkerError::Random)?,
            pool: pool.clone(),
            service,
            secure,
        };
        let engine = Engine::new(config, parts).map_err(WorkerError::Config)?;
        let worker = Self {
            engine,
            pool,
            clock,
            spin: Spin::new(),
            counters: Counters::default(),
            published: clock::Instant::EPOCH,
            dirty: true,
            woke: ::platform::Clock::now(&mut clock),
            awake: Duration::ZERO,
            draining: false,
            drained: false,
            lists: Lists::default(),
            orders,
            unusable: None,
            taken: 0,
        };
        Ok((worker, told))
    }

    /// Turns until control says stop, or is gone.
    fn run(&mut self, port: &mut Port<T>) -> Result<(), WorkerError> {
        loop {
            while let Some(command) = port.command() {
                match command {
                    control::Command::Snapshot(Snapshot { service, secure }) => {
                        self.engine.apply(service);
                        if let Some(secure) = secure {
                            self.engine.apply_secure(secure);
                        }
                    }
                    control::Command::Drain => {
                        self.engine.drain();
                        self.draining = true;
                    }
                    control::Command::Stop => return Ok(()),
                    control::Command::Capture(sink) => {
                        self.engine.set_tap(sink.map(|sink| Box::new(Shown(sink)) as Box<dyn turn::Tap>));
                    }
                    control::Command::List(order) => self.lists.add(order),
                }
            }
            while let Some(order) = self.orders.next() {
                self.on_order(order, port);
            }
            if port.is_alone() {
                return Ok(());
            }
            let begun = self.now();
            let turned = self.engine.turn().busy;
            let taken = self.engine.link().taken();
            let busy = turned | (taken != self.taken);
            self.taken = taken;
            let ended = self.now();
            if busy {
                self.counters.latency.record(ended.since(begun));
                self.dirty = true;
                self.spin.on_work(ended);
            }
            self.take_records(port);
            if self.lists.is_busy()
                && let Some(listed) = self.lists.go_on(&self.engine, port.room())
            {
                port.report(control::Report::Listed(listed));
            }
            if self.dirty && ended.since(self.published) >= PUBLISH_EVERY {
                self.publish(port, ended);
            }
            if self.draining && !self.drained && self.engine.is_drained() {
                self.drained = true;
                self.publish(port, ended);
                port.report(control::Report::Drained);
            }
            if !busy && !self.lists.is_busy() && !self.spin.goes_on(ended) {
                self.sleep(port, ended)?;
            }
        }
    }

    /// Something happened to the link.
    fn on_order(&mut self, order: Order, port: &mut Port<T>) {
        match order {
            Order::Carrier(carrier) => self.engine.set_carrier(carrier),
            Order::Mtu { mtu, say } => self.set_mtu(mtu, say.then_some(port)),
            Order::Reopen { descriptors, facts } => {
                match self.engine.reopen_link(|link| link.host_mut().reopen(descriptors, facts)) {
                    Ok(()) => {
                        self.unusable = None;
                        self.set_mtu(facts.mtu(), None);
                        self.engine.set_carrier(Carrier::Up);
                    }
                    Err(error) => {
                        self.orders.failed();
                        let why = error.to_string();
                        if self.unusable.as_ref() != Some(&why) {
                            let text = format!(
                                "link: the device that came back cannot be used, and is tried again: {why}"
                            );
                            port.report(control::Report::Event(control::Event {
                                level: tracing::Level::ERROR,
                                text: text.into(),
                            }));
                            self.unusable = Some(why);
                        }
                    }
                }
            }
        }
        self.dirty = true;
    }

    /// The device takes packets of so many bytes. `port` hears of it if the link does not.
    fn set_mtu(&mut self, mtu: u16, port: Option<&mut Port<T>>) {
        let mut takes = mtu;
        let Ok(()) = self.engine.reopen_link(|link| {
            takes = link.host_mut().set_mtu(mtu);
            Ok::<_, core::convert::Infallible>(())
        });
        self.engine.set_mtu(takes);
        if let Some(port) = port.filter(|_| takes < mtu) {
            let text = format!(
                "link: packets of at most {takes} bytes are sent, though the device takes {mtu}: that is this link's \
                 largest (`--link packet:` takes more)"
            );
            port.report(control::Report::Event(control::Event {
                level: tracing::Level::WARN,
                text: text.into(),
            }));
        }
    }

    /// Until a packet or a completion comes, control rings, or a timer is due.
    fn sleep(&mut self, port: &Port<T>, now: clock::Instant) -> Result<(), WorkerError> {
        let mut until = self.engine.deadline().unwrap_or(clock::Instant::NEVER);
        if self.dirty {
            until = until.min(self.published + PUBLISH_EVERY);
        }
        // A link that carries nothing may be readable for ever, and what it holds is not on its way.
        let carries = self.engine.carrier() == Carrier::Up && !self.engine.link().is_lost();
        if carries && self.engine.link().in_flight() > 0 {
            until = until.min(now + FULL_LINK_NAP);
        }
        let left = until.since(now);
        if left.is_zero() {
            return Ok(());
        }
        let timeout = (until < clock::Instant::NEVER).then(|| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        let control = port.as_fd();
        let mut fds = arrayvec::ArrayVec::<PollFd<'_>, 3>::new();
        fds.push(PollFd::from_borrowed_fd(control, PollFlags::IN));
        let link = self.engine.link().descriptor().filter(|_| carries);
        let devices = [link, self.engine.disk().descriptor()];
        fds.extend(devices.into_iter().flatten().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(WorkerError::Poll(error.into())),
        }
        if fds[0].revents().contains(PollFlags::IN) {
            port.silence();
        }
        drop(fds);
        let woken = self.now();
        self.counters.sleeps += 1;
        self.awake += now.since(self.woke);
        self.woke = woken;
        self.spin.on_sleep(woken.since(now), woken);
        Ok(())
    }

    /// Hands over what requests amounted to, as far as control has room.
    fn take_records(&mut self, port: &mut Port<T>) {
        while port.room() > 0 {
            let Some(record) = T::take_record(self.engine.service_mut()) else { break };
            port.report(control::Report::Record(record));
        }
    }

    fn publish(&mut self, port: &mut Port<T>, now: clock::Instant) {
        self.counters.take::<T>(&self.engine, &self.pool, port.dropped());
        self.counters.awake = self.awake + now.since(self.woke);
        port.report(control::Report::Counters(Box::new(self.counters)));
        self.published = now;
        self.dirty = false;
    }

    /// Resets what is left, and tells the last of it.
    fn leave(&mut self, port: &mut Port<T>) {
        self.engine.shed();
        for _ in 0..LAST_TURNS {
            self.engine.turn();
            self.take_records(port);
        }
        let now = self.now();
        self.publish(port, now);
    }

    fn now(&mut self) -> clock::Instant {
        ::platform::Clock::now(&mut self.clock)
    }
}

/// The engine's configuration.
fn config(choices: &Choices, link: &::platform::LinkCapabilities) -> turn::Config {
    let Choices {
        addresses,
        shared,
        http,
        https,
        congestion,
        connections,
        connections_per_client,
        stalled,
        memory,
    } = choices;
    let mut interface = stack::InterfaceConfig::new(wire::MacAddr(link.mac));
    interface.mtu = link.mtu;
    interface.addresses.extend(addresses.iter().copied());
    if *shared {
        interface.mode = stack::AddressMode::Shared(http.iter().chain(https).copied().collect());
    }
    let mut config = turn::Config::new(interface);
    config.plain_ports = http.iter().copied().collect();
    config.secure_ports = https.iter().copied().collect();
    config.tcp.congestion = *congestion;
    config.connections_max = *connections;
    config.connections_per_peer_max = *connections_per_client;
    config.tcp.zero_window_timeout = *stalled;
    config.memory = *memory;
    config
}
