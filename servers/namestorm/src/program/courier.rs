//! Who fetches zones from other servers and tells others of ours: a thread of its own, with ordinary sockets of the kernel.
//!
//! ```text
//!   control ── zones as configured, zones that changed ──▶ courier ── TCP: transfers ──▶ primaries
//!           ◀── zones that came, zones that expired ─────    │  └──── UDP: NOTIFY ─────▶ secondaries
//!   workers ── words of primaries (NOTIFY) ──────────────────┘
//! ```
//!
//! When to ask, what to believe and how often to say something is decided in `namestorm::transfer`; here are the sockets, the
//! files and the log.

#[path = "courier/fetch.rs"]
mod fetch;

use confine::{ConfineError, Files, Kind, Network};
use control::{Figure, Wake};
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use dns::name::Presentation;
use fetch::{Fetch, Step};
use host::Policy as Privileges;
use namestorm::hash::{Form, Key};
use namestorm::keeper::{Source, load_zone};
use namestorm::load::Threads;
use namestorm::transfer::incoming::Progress;
use namestorm::transfer::notice::Notice;
use namestorm::transfer::notifier::{self, Heard, Notifier};
use namestorm::transfer::policy::{Policy, Remote};
use namestorm::transfer::secondary::{Ask, Failure, Secondary};
use namestorm::zone::{self, Zone};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::rand::{GetRandomFlags, getrandom};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::net::UdpSocket;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::zones::Zones;

/// Transfers at once: each holds what has come of a zone.
const FETCHES_MAX: usize = 16;
/// Of them, with one primary: one that is dead does not keep us from those that live.
const FETCHES_OF_ONE_MAX: usize = 6;
/// Every day when nothing else happens.
const LONG: Duration = Duration::from_secs(86_400);

/// What control says.
#[derive(Debug)]
pub(crate) enum Order {
    /// The zones are these now, and of those that come from others this is known.
    Zones(Box<Zones>, Vec<Recalled>),
    /// These zones of the operator's have changed.
    Changed(Vec<Arc<Zone>>),
}

/// A zone of other servers, as its file has it.
#[derive(Debug)]
pub(crate) struct Recalled {
    /// Its name.
    apex: Box<[u8]>,
    /// What the file says, if it says anything.
    zone: Option<Arc<Zone>>,
    /// How long ago a primary said that this is in force.
    age: Duration,
}

impl Recalled {
    /// Reads the file of a zone. One that is broken, or not there, is fetched.
    pub(crate) fn read(source: &Source, key: Key, form: Form) -> Self {
        let apex: Box<[u8]> = source.apex.clone().into();
        let Ok(written) = std::fs::metadata(&source.path).and_then(|metadata| metadata.modified()) else {
            return Self { apex, zone: None, age: Duration::ZERO };
        };
        // A clock that went back makes it no older.
        let age = SystemTime::now().duration_since(written).unwrap_or_default();
        match load_zone(source, key, form, Threads(1)) {
            Ok(built) => Self { apex, zone: Some(Arc::new(built.zone)), age },
            Err(error) => {
                tracing::warn!("zone: {error}; it is fetched again");
                Self { apex, zone: None, age }
            }
        }
    }

    /// What is to be served until a primary has answered: nothing of what has expired.
    pub(crate) fn servable(&self) -> Option<Arc<Zone>> {
        let zone = self.zone.as_ref()?;
        let [_, _, retry, expire, _] = zone.soa().numbers();
        (self.age < Duration::from_secs(expire.max(retry).into())).then(|| Arc::clone(zone))
    }
}

/// What is counted, for the admin port.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    came: AtomicU64,
    current: AtomicU64,
    failed: AtomicU64,
    expired: AtomicU64,
    said: AtomicU64,
    heard: AtomicU64,
    unheard: AtomicU64,
}

impl Tally {
    pub(crate) fn figures(&self) -> Vec<Figure> {
        let Self { came, current, failed, expired, said, heard, unheard } = self;
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let fetched = "Zones that were asked for at other servers, by what came of it";
        let words = "Words to other servers that a zone of ours has changed, by what became of them";
        vec![
            Figure::counter("transfers_in", fetched, read(came)).labelled("result", "version"),
            Figure::counter("transfers_in", fetched, read(current)).labelled("result", "current"),
            Figure::counter("transfers_in", fetched, read(failed)).labelled("result", "failed"),
            Figure::gauge(
                "zones_expired",
                "Zones of other servers that none of them confirms",
                read(expired),
            ),
            Figure::counter("notifies_out", words, read(said)).labelled("result", "sent"),
            Figure::counter("notifies_out", words, read(heard)).labelled("result", "heard"),
            Figure::counter("notifies_out", words, read(unheard)).labelled("result", "given_up"),
        ]
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Control's end.
#[derive(Debug)]
pub(crate) struct Post {
    orders: Option<Sender<Order>>,
    arrivals: Receiver<Arc<Zone>>,
    bell: Wake,
    pub(crate) tally: Arc<Tally>,
    thread: Option<JoinHandle<()>>,
}

impl Post {
    pub(crate) fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // A courier that is gone has said why.
            let _ = orders.send(order);
            self.bell.ring();
        }
    }

    /// Whether the thread is there; it leaves when this is dropped, and not before.
    pub(crate) fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Zones that came, or that stand for those that expired.
    pub(crate) fn arrivals(&self) -> Vec<Arc<Zone>> {
        self.arrivals.try_iter().collect()
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        self.orders = None;
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread is started with.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) key: Key,
    pub(crate) form: Form,
    /// What wakes it; whoever leaves words for it rings it too.
    pub(crate) bell: Wake,
    pub(crate) notices: Receiver<Notice>,
    /// What wakes control.
    pub(crate) control: Wake,
    pub(crate) privileges: Privileges,
    /// Where zones of other servers are kept.
    pub(crate) directories: Vec<OwnedFd>,
    /// The ports of primaries.
    pub(crate) ports: Vec<u16>,
    /// The most that one transfer may have.
    pub(crate) bytes_max: u64,
}

/// Why there is no courier.
#[derive(Debug)]
pub(crate) enum CourierError {
    Thread(io::Error),
    Confine(ConfineError),
}

/// Starts the thread, and waits until it has given up what it has no use for.
pub(crate) fn start(plan: Plan) -> Result<Post, CourierError> {
    let (orders, order) = channel();
    let (arrive, arrivals) = channel();
    let (tell, told) = channel();
    let tally = Arc::new(Tally::default());
    let (bell, for_thread) = (plan.bell.clone(), Arc::clone(&tally));
    let thread = std::thread::Builder::new()
        .name("courier".to_owned())
        .spawn(move || {
            let Plan { privileges, directories, ports, .. } = &plan;
            let files = Files {
                replace: directories.iter().map(|directory| directory.as_fd()).collect(),
                network: Network::Connect(ports.clone()),
                ..Files::default()
            };
            let words = Words::open();
            let confined = privileges.apply(Kind::Courier, files).map(|_| ());
            let goes_on = confined.is_ok();
            let _ = tell.send(confined);
            if goes_on {
                Courier::new(plan, words, order, arrive, for_thread).run();
            }
        })
        .map_err(CourierError::Thread)?;
    match told.recv() {
        Ok(Ok(())) => Ok(Post { orders: Some(orders), arrivals, bell, tally, thread: Some(thread) }),
        Ok(Err(error)) => Err(CourierError::Confine(error)),
        Err(_) => Err(CourierError::Thread(io::Error::other("it ended at once"))),
    }
}

/// Sockets for words to others, one for each family that the kernel has.
#[derive(Debug)]
struct Words {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
}

impl Words {
    fn open() -> Self {
        let open = |address: SocketAddr| {
            let socket = UdpSocket::bind(address).ok()?;
            socket.set_nonblocking(true).ok()?;
            Some(socket)
        };
        Self { v4: open((Ipv4Addr::UNSPECIFIED, 0).into()), v6: open((Ipv6Addr::UNSPECIFIED, 0).into()) }
    }

    fn send(&self, to: SocketAddr, message: &[u8]) -> io::Result<usize> {
        let socket = if to.is_ipv4() { &self.v4 } else { &self.v6 };
        match socket {
            Some(socket) => socket.send_to(message, to),
            None => Err(io::Error::from(io::ErrorKind::AddrNotAvailable)),
        }
    }

    fn sockets(&self) -> impl Iterator<Item = &UdpSocket> {
        self.v4.iter().chain(&self.v6)
    }
}

/// A zone that other servers have.
struct Fetched {
    secondary: Secondary,
    zone: Option<Arc<Zone>>,
    path: PathBuf,
    fetch: Option<Fetch>,
    /// Whom to ask, when there was no room for it yet.
    wanted: Option<Ask>,
    /// What was said last, so that it is not said again with every attempt.
    said: String,
}

struct Courier {
    plan: Plan,
    words: Words,
    orders: Receiver<Order>,
    arrive: Sender<Arc<Zone>>,
    tally: Arc<Tally>,
    began: Instant,
    policy: Arc<Policy>,
    notify: BTreeMap<Box<[u8]>, Vec<Remote>>,
    notifier: Notifier,
    fetched: BTreeMap<Box<[u8]>, Fetched>,
}

impl Courier {
    fn new(
        plan: Plan,
        words: Words,
        orders: Receiver<Order>,
        arrive: Sender<Arc<Zone>>,
        tally: Arc<Tally>,
    ) -> Self {
        Self {
            plan,
            words,
            orders,
            arrive,
            tally,
            began: Instant::now(),
            policy: Arc::default(),
            notify: BTreeMap::new(),
            notifier: Notifier::default(),
            fetched: BTreeMap::new(),
        }
    }

    /// Until control is gone.
    fn run(mut self) {
        while self.take_orders() {
            let now = self.now();
            self.take_notices(now);
            self.hear();
            self.go_on(now);
            self.begin(now);
            self.say(now);
            self.expire(now);
            self.sleep();
            self.plan.bell.silence();
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn take_orders(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Zones(zones, recalled)) => self.configure(*zones, recalled),
                Ok(Order::Changed(zones)) => {
                    let now = self.now();
                    for zone in zones {
                        self.changed(&zone, now);
                    }
                }
                Err(std::sync::mpsc::TryRecvError::Empty) => return true,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn configure(&mut self, zones: Zones, recalled: Vec<Recalled>) {
        let now = self.now();
        let Zones { secondaries, notify, policy, files: _ } = zones;
        let mut recalled: BTreeMap<_, _> =
            recalled.into_iter().map(|Recalled { apex, zone, age }| (apex, (zone, age))).collect();
        let mut before = core::mem::take(&mut self.fetched);
        for crate::zones::Secondary { source, primaries } in secondaries {
            let apex: Box<[u8]> = source.apex.into();
            let fetched = match before.remove(&apex) {
                Some(mut fetched) => {
                    fetched.secondary.set_primaries(primaries, now);
                    fetched.path = source.path;
                    fetched
                }
                None => {
                    let (zone, age) = recalled.remove(&apex).unwrap_or_default();
                    let soa = zone.as_ref().map(|zone| zone.soa());
                    let have = soa.as_ref().map(|soa| (soa, age));
                    let secondary = Secondary::new(primaries, have, now);
                    let said = String::new();
                    Fetched { secondary, zone, path: source.path, fetch: None, wanted: None, said }
                }
            };
            self.fetched.insert(apex, fetched);
        }
        self.notify = notify;
        self.policy = policy;
        let notify = &self.notify;
        self.notifier.retain(|apex, remote| notify.get(apex).is_some_and(|all| all.contains(remote)));
        self.count_expired();
    }

    /// Tells whoever wants to know of this zone.
    fn changed(&mut self, zone: &Zone, now: Duration) {
        if let Some(remotes) = self.notify.get(zone.apex())
            && !zone.is_withheld()
        {
            self.notifier.on_change(zone.apex(), &zone.soa(), remotes, now);
        }
    }

    fn take_notices(&mut self, now: Duration) {
        while let Ok(Notice { apex, source, serial }) = self.plan.notices.try_recv() {
            if let Some(fetched) = self.fetched.get_mut(&apex) {
                fetched.secondary.on_notice(source.to_canonical(), serial, now);
            }
        }
    }

    /// Answers to our words.
    fn hear(&mut self) {
        let mut room = [0; 1_500];
        for socket in self.words.sockets() {
            // An error of an earlier word comes back here: it will be said again.
            for _ in 0..1_000 {
                let (bytes, from) = match socket.recv_from(&mut room) {
                    Ok(heard) => heard,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                    Err(_) => break,
                };
                let Some((apex, remote, heard)) = self.notifier.on_answer(from, &room[..bytes], unix())
                else {
                    continue;
                };
                count(&self.tally.heard);
                let zone = Presentation(&apex);
                match heard {
                    Heard::Taken => tracing::debug!("zone {zone}: {remote} knows that it has changed"),
                    Heard::Refused(rcode) => {
                        let name = rcode.mnemonic().unwrap_or("an error");
                        tracing::warn!(
                            "zone {zone}: {remote} answers {name} to the word that it has changed"
                        );
                    }
                }
            }
        }
    }

    fn say(&mut self, now: Duration) {
        // What there are many of is sent a little at a time, so that no queue on the way overflows.
        for _ in 0..64 {
            match self.notifier.poll(&self.policy, now, unix(), draw) {
                None => return,
                Some(notifier::Step::Say { to, message }) => {
                    count(&self.tally.said);
                    if let Err(error) = self.words.send(to, &message) {
                        tracing::debug!("{to} cannot be told of a change: {error}");
                    }
                }
                Some(notifier::Step::GaveUp(apex, remote)) => {
                    count(&self.tally.unheard);
                    let zone = Presentation(&apex);
                    tracing::warn!("zone {zone}: {remote} does not answer the word that it has changed");
                }
            }
        }
    }

    /// Asks whoever is to be asked, as many at once as may be.
    fn begin(&mut self, now: Duration) {
        let mut running = Running::count(&self.fetched);
        let mut failed = Vec::new();
        for (apex, fetched) in self.fetched.iter_mut().filter(|(_, fetched)| fetched.fetch.is_none()) {
            let Some(ask) = fetched.wanted.take().or_else(|| fetched.secondary.poll(now)) else { continue };
            if !running.has_room(&ask) {
                fetched.wanted = Some(ask);
                continue;
            }
            match Fetch::begin(apex, fetched.zone.clone(), &ask, &self.policy, now, self.plan.bytes_max) {
                Ok(fetch) => {
                    running.add(&fetch.primary);
                    fetched.fetch = Some(fetch);
                }
                Err(error) => failed.push((apex.clone(), ask.primary, error)),
            }
        }
        for (apex, primary, error) in failed {
            self.on_failure(&apex, &primary, &error, Failure::Other, now);
        }
    }

    fn go_on(&mut self, now: Duration) {
        let mut done = Vec::new();
        for (apex, fetched) in &mut self.fetched {
            let Some(fetch) = &mut fetched.fetch else { continue };
            let step = fetch.step(now, unix());
            if !matches!(step, Step::Pending) {
                let fetch = fetched.fetch.take().expect("it is there");
                done.push((apex.clone(), fetch.primary, step));
            }
        }
        for (apex, primary, step) in done {
            match step {
                Step::Pending | Step::Done(Progress::More) => {}
                Step::Done(Progress::Current) => self.on_current(&apex, now),
                Step::Done(Progress::Version(loaded)) => self.on_version(&apex, &primary, loaded, now),
                Step::Failed(why, failure) => self.on_failure(&apex, &primary, &why, failure, now),
            }
        }
    }

    fn on_current(&mut self, apex: &[u8], now: Duration) {
        let Some(fetched) = self.fetched.get_mut(apex) else { return };
        count(&self.tally.current);
        let was_expired = fetched.secondary.is_expired();
        fetched.secondary.on_current(now);
        fetched.said.clear();
        // The time at which the file was written says until when it may be served.
        let touched = File::options().append(true).open(&fetched.path);
        let touched = touched.and_then(|file| file.set_modified(SystemTime::now()));
        if let Err(error) = touched {
            tracing::warn!("cannot touch {}: {error}", fetched.path.display());
        }
        if let (true, Some(zone)) = (was_expired, fetched.zone.clone()) {
            tracing::info!("zone {}: confirmed again, serial {}", Presentation(apex), zone.serial());
            self.arrived(zone);
        }
        self.count_expired();
    }

    fn on_version(&mut self, apex: &[u8], primary: &Remote, loaded: namestorm::load::Loaded, now: Duration) {
        let (key, form) = (self.plan.key, self.plan.form);
        let mut built = match zone::build(apex, loaded, key, form) {
            Ok(built) => built,
            Err(error) => {
                let why = format!("what it sent is no zone: {error}");
                return self.on_failure(apex, primary, &why, Failure::NoDifference, now);
            }
        };
        let Some(fetched) = self.fetched.get_mut(apex) else { return };
        count(&self.tally.came);
        if let Some(before) = &fetched.zone
            && self.policy.is_sent(apex)
        {
            built.zone.succeed(before, key, form);
        }
        let zone = Arc::new(built.zone);
        let soa = zone.soa();
        fetched.secondary.on_version(&soa, now);
        fetched.zone = Some(Arc::clone(&zone));
        fetched.said.clear();
        tracing::info!("zone {}: serial {} from {primary}", Presentation(apex), soa.serial());
        for warning in built.warnings {
            tracing::warn!("zone {}: {warning}", Presentation(apex));
        }
        if let Err(error) = write(&fetched.path, &zone) {
            tracing::warn!(
                "zone {}: cannot keep it in {}: {error}; it is served, and fetched again after a restart",
                Presentation(apex),
                fetched.path.display()
            );
        }
        self.changed(&zone, now);
        self.arrived(zone);
        self.count_expired();
    }

    fn on_failure(&mut self, apex: &[u8], primary: &Remote, why: &str, failure: Failure, now: Duration) {
        let Some(fetched) = self.fetched.get_mut(apex) else { return };
        count(&self.tally.failed);
        let line = format!("zone {}: {primary}: {why}", Presentation(apex));
        fetched.wanted = fetched.secondary.on_failure(failure, now);
        if failure == Failure::NoDifference && fetched.wanted.is_some() {
            tracing::debug!("{line}; all of it is asked for");
        } else if line == fetched.said {
            tracing::debug!("{line}");
        } else {
            tracing::warn!("{line}");
            fetched.said = line;
        }
    }

    fn expire(&mut self, now: Duration) {
        let mut gone = Vec::new();
        for (apex, fetched) in &mut self.fetched {
            if fetched.secondary.expires(now) {
                tracing::error!(
                    "zone {} has expired: no primary has confirmed it in time; it is answered with SERVFAIL",
                    Presentation(apex)
                );
                gone.push(Arc::new(Zone::withheld(apex, self.plan.key, self.plan.form)));
            }
        }
        for zone in gone {
            self.arrived(zone);
            self.count_expired();
        }
    }

    fn count_expired(&self) {
        let expired = self.fetched.values().filter(|fetched| fetched.secondary.is_expired()).count();
        self.tally.expired.store(expired as u64, Ordering::Relaxed);
    }

    fn arrived(&self, zone: Arc<Zone>) {
        let _ = self.arrive.send(zone);
        self.plan.control.ring();
    }

    /// Until something is readable, or writable where it connects, or due.
    fn sleep(&self) {
        let now = self.now();
        let running = Running::count(&self.fetched);
        let due = self.fetched.values().filter_map(|fetched| match (&fetched.fetch, &fetched.wanted) {
            (Some(fetch), _) => [Some(fetch.due()), fetched.secondary.next()].into_iter().flatten().min(),
            (None, Some(ask)) if running.has_room(ask) => Some(now),
            // What there is no room for waits for the end of another; it may expire meanwhile.
            (None, _) => fetched.secondary.next(),
        });
        let until = due.chain(self.notifier.next()).min().unwrap_or(now + LONG).saturating_sub(now);
        let mut fds = vec![PollFd::new(&self.plan.bell, PollFlags::IN)];
        fds.extend(self.words.sockets().map(|socket| PollFd::new(socket, PollFlags::IN)));
        for fetch in self.fetched.values().filter_map(|fetched| fetched.fetch.as_ref()) {
            fds.push(PollFd::new(
                fetch.stream(),
                if fetch.wants_to_write() { PollFlags::OUT } else { PollFlags::IN },
            ));
        }
        // A millisecond more, so that what is due is due.
        let until = until.min(LONG) + Duration::from_millis(1);
        let timeout = Timespec {
            tv_sec: i64::try_from(until.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(until.subsec_nanos()),
        };
        // Interrupted is as good as ready: everything is looked at without blocking.
        let _ = poll(&mut fds, Some(&timeout));
    }
}

/// How many transfers are under way, and with whom.
#[derive(Default)]
struct Running {
    all: usize,
    of: BTreeMap<SocketAddr, usize>,
}

impl Running {
    fn count(fetched: &BTreeMap<Box<[u8]>, Fetched>) -> Self {
        let mut running = Self::default();
        for fetch in fetched.values().filter_map(|fetched| fetched.fetch.as_ref()) {
            running.add(&fetch.primary);
        }
        running
    }

    fn add(&mut self, primary: &Remote) {
        self.all += 1;
        *self.of.entry(primary.address).or_default() += 1;
    }

    fn has_room(&self, ask: &Ask) -> bool {
        let of_this = self.of.get(&ask.primary.address).copied().unwrap_or(0);
        self.all < FETCHES_MAX && of_this < FETCHES_OF_ONE_MAX
    }
}

/// Written aside and moved over: a crash leaves the one or the other.
fn write(path: &Path, zone: &Zone) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let aside = PathBuf::from(aside);
    let mut out = BufWriter::new(File::create(&aside)?);
    zone.write(&mut out)?;
    out.flush()?;
    out.get_ref().sync_data()?;
    std::fs::rename(&aside, path)
}

/// An id that nobody guesses.
fn draw() -> u16 {
    let mut bytes = [0; 2];
    // The kernel gives so few bytes whole; before it can, it waits.
    let _ = getrandom(&mut bytes[..], GetRandomFlags::empty());
    u16::from_be_bytes(bytes)
}

fn unix() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
