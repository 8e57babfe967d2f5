//! From a seed to a world, and through it.
//!
//! ```text
//!   seed ─▶ Features: which faults, which oddities ─▶ Setup: how strong ─▶ world
//!   run:  safety (faults on) ─▶ heal ─▶ liveness (all must get done) ─▶ rest (nothing is held any more)
//! ```
//!
//! Swarm testing (Groce and others, ISSTA 2012): a world in which everything goes wrong a little finds less than many
//! worlds, each with some things badly wrong and others not at all. So a seed first throws a coin for each feature.

use alloc::sync::Arc;
use clock::Instant;
use core::net::SocketAddr;
use core::time::Duration;
use rustls::{CipherSuite, ClientConfig};

use crate::address;
use crate::check::{self, Breach};
use crate::client::adversary::{Babbler, Flood};
use crate::client::model::{Manners, ModelTcp};
use crate::client::own::OwnTcp;
use crate::client::report::{Mishap, Report, Tally};
use crate::client::script::{Ending, Expect, Request, Visit, path as path_of, target};
use crate::client::smol::{SmolConfig, SmolTcp};
use crate::client::visitor::{SECURE_PORT, Visitor};
use crate::client::{Ended, Host};
use crate::content::Content;
use crate::network::{BurstLoss, Corrupt, Device, Duplicate, Faults, Loss, Mtu, Rate, Reorder, Stall, Wire};
use crate::provider::{Identity, SUITES_12, SUITES_13, client_config};
use crate::random::{Dice, PPM, Seed};
use crate::server::{Outage, Production, Server as _, Vitals};
use crate::setup::{CHANGING, ROOT, Setup, disk_object, object_len};
use crate::time::SimClock;
use crate::world::{Stop, World};
use platform::{Disk as _, Link as _};

/// What may go wrong in a world. Each is on or off for all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "coins")]
pub struct Features {
    /// Frames are lost at random.
    pub loss: bool,
    /// Frames are lost in bursts.
    pub bursts: bool,
    /// Frames overtake each other.
    pub reordering: bool,
    /// Frames come twice.
    pub duplication: bool,
    /// Frames are damaged.
    pub corruption: bool,
    /// Lines are slow, with short queues.
    pub slow_lines: bool,
    /// Lines stand still.
    pub stalls: bool,
    /// The MTU falls.
    pub mtu: bool,
    /// The disk takes its time.
    pub slow_disk: bool,
    /// The disk fails.
    pub disk_errors: bool,
    /// The server's link stands still, and its queue fills.
    pub link_stalls: bool,
    /// Clients of odd manners.
    pub odd_manners: bool,
    /// Clients that leave in the middle.
    pub cut_short: bool,
    /// Adversaries.
    pub adversaries: bool,
    /// The server has little of everything.
    pub scarcity: bool,
    /// A file is written to while it is served.
    pub file_changes: bool,
    /// The server's link loses its carrier, vanishes and comes back as another device, or changes its MTU.
    pub outages: bool,
}

impl Features {
    /// A coin for each; now and then a world without any fault.
    #[must_use]
    pub fn roll(dice: &mut Dice) -> Self {
        if dice.chance(PPM / 12) {
            return Self { odd_manners: dice.chance(PPM / 2), ..Self::default() };
        }
        let mut coin = || dice.chance(PPM / 5 * 2);
        Self {
            loss: coin(),
            bursts: coin(),
            reordering: coin(),
            duplication: coin(),
            corruption: coin(),
            slow_lines: coin(),
            stalls: coin(),
            mtu: coin(),
            slow_disk: coin(),
            disk_errors: coin(),
            link_stalls: coin(),
            odd_manners: coin(),
            cut_short: coin(),
            adversaries: coin(),
            scarcity: coin(),
            file_changes: coin(),
            outages: coin(),
        }
    }

    /// Something may keep an honest client from being served at the first try.
    #[must_use]
    pub fn excuse_mishaps(self) -> bool {
        // What is late or comes twice or leaves early keeps nobody else from anything.
        let calm = Self {
            duplication: self.duplication,
            slow_disk: self.slow_disk,
            cut_short: self.cut_short,
            ..Self::default()
        };
        self != calm
    }
}

/// Versions of the file that changes.
const VERSIONS: u32 = 3;
/// The longest that a server has no link, or a smaller MTU: several timeouts of TCP.
const OUTAGE_MAX: Duration = Duration::from_secs(4);
/// How long faults last, in the world's time.
const SAFETY: Duration = Duration::from_secs(15);
/// How long everything may take on healthy paths.
const LIVENESS: Duration = Duration::from_secs(400);
/// A client that is owed something gets something within this time on a healthy path.
const STARVATION: Duration = Duration::from_secs(60);
/// How long the server may take to forget everybody: idle timeouts, retransmissions to the dead, TIME-WAIT.
const REST: Duration = Duration::from_secs(150);

/// Hosts of short connections, where there is memory to send from.
const SHORT_HOSTS: u32 = 6;
const SHORT_FIRST: u32 = 500;
/// They ask for the first of all objects: up to two large frames.
const SHORT_OBJECTS: u32 = 12;

/// In the name of a host that speaks it.
const TLS_12: &str = "1.2";

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// What was on.
    pub features: Features,
    /// The trace's hash.
    pub trace: u64,
    /// Frames at the server's link.
    pub frames: u64,
    /// How long the world lasted, in its own time.
    pub lasted: Duration,
    /// What the paths did.
    pub faults: Faults,
    /// What the clients achieved.
    pub tally: Tally,
    /// How often the server sent from memory; none where everything is a file.
    pub lent: Option<u64>,
    /// How the server stood at the end.
    pub vitals: Vitals,
    /// Laws that were broken.
    pub breaches: Vec<Breach>,
}

/// Runs a seed from its beginning to its end. With `verbose` every segment at the server's link goes to the standard error.
///
/// # Panics
/// The server panicked: the caller reports the seed.
#[must_use]
pub fn run(seed: u64, verbose: bool) -> Verdict {
    let mut dice = Seed(seed).dice("features", 0);
    let features = Features::roll(&mut dice);
    let setup = Setup::roll(Seed(seed), features, &mut dice);
    let mut world = build(Seed(seed), features, &setup);
    world.set_verbose(verbose);
    let mut breaches = Vec::new();
    safety(&mut world, Seed(seed), features);
    let calm = !features.excuse_mishaps();
    world.heal();
    let healed = world.now();
    liveness(&mut world, &mut breaches);
    for host in world.hosts() {
        let report = host.report();
        // TLS 1.2 cannot update its keys: the server closes when they are worn out, and here they wear out soon.
        let worn = setup.config.key_update_after.is_some() && report.name.contains(TLS_12);
        for &(at, mishap) in report.mishaps {
            if worn && matches!(mishap, Mishap::Closed | Mishap::Ended(Ended::Finished)) {
                continue;
            }
            if calm || at > healed + STARVATION {
                let what = format!("{}: {mishap:?} though nothing is wrong", report.name);
                breaches.push(Breach { at, law: "NoMishapWithoutFault", what });
            }
        }
    }
    // Hosts of short connections ask for what lies in memory; where frames are scarce there may be no room for it.
    if setup.memory.is_some() && !features.scarcity && world.server().engine().service().lent() == 0 {
        let what = "every object was sent as a file".to_owned();
        breaches.push(Breach { at: world.now(), law: "SendsFromMemory", what });
    }
    if breaches.is_empty() && !world.has_failed() {
        let drains = dice.chance(PPM / 2);
        if drains {
            world.server_mut().engine_mut().drain();
        }
        world.run_until(world.now() + REST);
        world.server_mut().engine_mut().service_mut().clear();
        world.rest();
        if drains && !world.server().engine().is_drained() {
            let what = format!("it drains, and after {REST:?} it still holds connections");
            breaches.push(Breach { at: world.now(), law: "DrainsInTheEnd", what });
        }
        log_every_request(&world, &mut breaches);
    }
    breaches.extend_from_slice(world.breaches());
    if world.server().vitals().connections > 0 && !breaches.is_empty() {
        let what = server_views(&world);
        breaches.push(Breach { at: world.now(), law: "(the server's view)", what });
    }
    Verdict {
        seed,
        features,
        trace: world.trace().hash(),
        frames: world.trace().frames(),
        lasted: world.now().since(Instant::EPOCH),
        faults: world.faults(),
        tally: world.tally(),
        lent: setup.memory.map(|_| world.server().engine().service().lent()),
        vitals: world.server().vitals(),
        breaches,
    }
}

/// Everything may go wrong; no law may be broken.
fn safety(world: &mut World<Production>, seed: Seed, features: Features) {
    let mut dice = seed.dice("safety", 0);
    let end = Instant::EPOCH + SAFETY;
    while world.now() < end {
        let next = (world.now() + dice.duration(Duration::from_millis(200)..Duration::from_secs(2))).min(end);
        if world.run_until_done(next) != Stop::Time {
            return;
        }
        let until = world.now() + dice.duration(Duration::from_millis(1)..Duration::from_millis(300));
        if features.link_stalls && dice.chance(PPM / 2) {
            world.server_mut().stall_link(until);
        }
        if features.outages && dice.chance(PPM / 2) {
            let until = world.now() + dice.duration(Duration::from_millis(1)..OUTAGE_MAX);
            let outage = *dice.pick(&[Outage::Carrier, Outage::Device, Outage::Mtu]);
            world.server_mut().lose_link(outage, until);
        }
        if features.file_changes && dice.chance(PPM / 2) {
            let version = u32::try_from(dice.within(0..u64::from(VERSIONS))).expect("few");
            let content = Content { object: CHANGING, version };
            let object = disk_object(content, object_len(CHANGING));
            world.server_mut().engine_mut().disk_mut().replace(ROOT, path_of(CHANGING), object);
        }
        if features.slow_disk && dice.chance(PPM / 4) {
            world.server_mut().engine_mut().disk_mut().stall_until(until);
        }
    }
}

/// Nothing goes wrong any more; everybody who is owed something gets it.
fn liveness(world: &mut World<Production>, breaches: &mut Vec<Breach>) {
    let limit = world.now() + LIVENESS;
    let tallies =
        |world: &World<Production>| -> Vec<Tally> { world.hosts().map(|host| host.report().tally).collect() };
    loop {
        let before = tallies(world);
        let stop = world.run_until_done((world.now() + STARVATION).min(limit));
        if stop != Stop::Time {
            return;
        }
        for ((host, before), now) in world.hosts().zip(before).zip(tallies(world)) {
            let report = host.report();
            if !report.done && !report.excused && before == now {
                let Report { name, tally, waits_for, .. } = report;
                let views = server_views(world);
                let what = format!(
                    "{name} got nothing for {STARVATION:?}: {tally:?}, waits for {waits_for:?}{views}"
                );
                breaches.push(Breach { at: world.now(), law: "NobodyStarves", what });
            }
        }
        if world.now() >= limit {
            for host in world.hosts().filter(|host| !host.report().done && !host.report().excused) {
                let what = format!("{} is not done after {LIVENESS:?}", host.report().name);
                breaches.push(Breach { at: world.now(), law: "EverybodyGetsDone", what });
            }
        }
        if !breaches.is_empty() {
            return;
        }
    }
}

/// Every response that a client has received whole is in the access log, and so are its bytes.
fn log_every_request(world: &World<Production>, breaches: &mut Vec<Breach>) {
    let records = world.server().records();
    let logged: u64 = records.iter().map(|record| record.content_bytes).sum();
    let tally = world.tally();
    if (records.len() as u64) < tally.answered || logged < tally.body_bytes {
        let what = format!(
            "{} requests and {logged} bytes are logged; clients have received {} and {}",
            records.len(),
            tally.answered,
            tally.body_bytes
        );
        breaches.push(Breach { at: world.now(), law: "LogsEveryRequest", what });
    }
}

/// What the server thinks of its connections, a line each: for whoever has to find out why one of them stands still.
fn server_views(world: &World<Production>) -> String {
    use core::fmt::Write as _;
    let mut text = String::new();
    let engine = world.server().engine();
    let _ = write!(
        text,
        "\n      engine: deadline {:?}, link holds {}, disk holds {} until {:?}, {:?}, {:?}",
        engine.deadline(),
        engine.link().in_flight(),
        engine.disk().in_flight(),
        engine.disk().next_due(),
        engine.counters(),
        engine.stack_counters()
    );
    for connection in engine.connections(16) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n      {connection:?}");
    }
    text
}

/// The world of a seed.
///
/// # Panics
/// Never: the configurations that are rolled are lawful.
#[must_use]
pub fn build(seed: Seed, features: Features, setup: &Setup) -> World<Production> {
    let mut dice = seed.dice("world", 0);
    let clock = SimClock::new();
    let identity = Identity::new();
    let server = setup.server(seed, &clock, &identity);
    let turn_max = Duration::from_micros(dice.skewed(2..2_000));
    let mut world = World::new(
        clock.clone(),
        server,
        check::all(SECURE_PORT),
        Duration::from_micros(1)..turn_max,
        seed.dice("turns", 0),
    );
    let count = u32::try_from(dice.within(2..12)).expect("few");
    for index in 0..count {
        let mut dice = seed.dice("host", u64::from(index));
        let ipv6 = dice.chance(PPM / 3);
        let host = host(index, ipv6, features, setup, &clock, &identity, &mut dice);
        let up = path(features, ipv6, setup, false, &mut dice.fork());
        let down = path(features, ipv6, setup, true, &mut dice.fork());
        world.add(address::mac(index), host, up, down);
    }
    if setup.memory.is_some() {
        for index in SHORT_FIRST..SHORT_FIRST + SHORT_HOSTS {
            let mut dice = seed.dice("short", u64::from(index));
            let host = short(index, features, setup, &clock, &identity, &mut dice);
            let up = path(features, false, setup, false, &mut dice.fork());
            let down = path(features, false, setup, true, &mut dice.fork());
            world.add(address::mac(index), host, up, down);
        }
    }
    if features.adversaries {
        let mut dice = seed.dice("adversaries", 0);
        let server = (address::SERVER_MAC, address::server(false));
        let wire = || -> Box<dyn Device> { Box::new(Wire { delay: Duration::from_millis(2) }) };
        if dice.chance(PPM / 2) {
            let index = 1_000;
            let flood = Flood::new(address::mac(index), server, &mut dice);
            world.add(address::mac(index), Box::new(flood), wire(), wire());
        }
        for (index, half_open) in [(1_002, false), (1_003, true)] {
            if dice.chance(PPM / 2) {
                let host = harmful(index, half_open, &clock, &identity, &mut dice);
                world.add(address::mac(index), host, wire(), wire());
            }
        }
        let index = 1_001;
        let local = (address::mac(index), address::host(index, false, 2_000));
        let babbler = Babbler::new(local, server, dice);
        world.add(address::mac(index), Box::new(babbler), wire(), wire());
    }
    world
}

/// One way of a path.
fn path(features: Features, ipv6: bool, setup: &Setup, down: bool, dice: &mut Dice) -> Box<dyn Device> {
    let micros = |dice: &mut Dice, range| Duration::from_micros(dice.skewed(range));
    let delay = micros(dice, 20..60_000);
    let mut device: Box<dyn Device> = Box::new(Wire { delay });
    if features.reordering {
        let (ppm, hold_max) = (strength(dice, 200_000), micros(dice, 10..50_000));
        device = Box::new(Reorder { inner: device, ppm, hold_max, dice: dice.fork(), reordered: 0 });
    }
    if features.slow_lines {
        device = Box::new(Rate {
            inner: device,
            bytes_per_second: dice.skewed(60_000..100_000_000),
            queue_bytes_max: dice.skewed(6_000..500_000),
            free_at: Instant::EPOCH,
            overflowed: 0,
        });
    }
    if features.stalls {
        device = Box::new(Stall {
            inner: device,
            period: dice.duration(Duration::from_millis(500)..Duration::from_secs(8)),
            length: dice.duration(Duration::from_millis(1)..Duration::from_millis(2_500)),
            first: Instant::EPOCH + dice.duration(Duration::ZERO..Duration::from_secs(4)),
            stalled: 0,
        });
    }
    // The way up is as wide as the link: our clients send little, and none of them listens to ICMP.
    if down && features.mtu && dice.chance(PPM / 2) {
        let least: u16 = if ipv6 { 1_280 } else { 576 };
        let mtu = u16::try_from(dice.within(u64::from(least)..u64::from(setup.mtu) + 1)).expect("small");
        let from = Instant::EPOCH + dice.duration(Duration::ZERO..Duration::from_secs(6));
        device = Box::new(Mtu { inner: device, mtu, from, silent: dice.chance(PPM / 5), refused: 0 });
    }
    if features.duplication {
        let (ppm, later_max) = (strength(dice, 100_000), micros(dice, 1..20_000));
        device = Box::new(Duplicate { inner: device, ppm, later_max, dice: dice.fork(), duplicated: 0 });
    }
    if features.corruption {
        let ppm = strength(dice, 50_000);
        device = Box::new(Corrupt { inner: device, ppm, dice: dice.fork(), corrupted: 0 });
    }
    if features.bursts {
        device = Box::new(BurstLoss {
            inner: device,
            begin_ppm: strength(dice, 10_000),
            end_ppm: u32::try_from(dice.within(20_000..500_000)).expect("small"),
            loss_ppm: u32::try_from(dice.within(300_000..u64::from(PPM) + 1)).expect("small"),
            dice: dice.fork(),
            in_burst: false,
            lost: 0,
        });
    }
    if features.loss {
        let ppm = strength(dice, 80_000);
        device = Box::new(Loss { inner: device, ppm, dice: dice.fork(), lost: 0 });
    }
    device
}

fn strength(dice: &mut Dice, ppm_max: u64) -> u32 {
    u32::try_from(dice.skewed(100..ppm_max)).expect("at most a million")
}

fn host(
    index: u32,
    ipv6: bool,
    features: Features,
    setup: &Setup,
    clock: &SimClock,
    identity: &Identity,
    dice: &mut Dice,
) -> Box<dyn Host> {
    let suite: CipherSuite = *dice.pick(&[SUITES_13, SUITES_12].concat());
    let tls = Arc::new(client_config(dice.fork(), clock.clone(), identity, suite));
    let secure = dice.chance(PPM / 4 * 3);
    let mac = address::mac(index);
    let port = u16::try_from(dice.within(1_024..60_000)).expect("a port");
    let local = address::host(index, ipv6, port);
    let server = address::server(ipv6);
    let version = if suite.as_str().is_some_and(|name| name.starts_with("TLS13")) { "1.3" } else { TLS_12 };
    let protocol = if secure { version } else { "plain" };
    if dice.chance(PPM / 3) {
        let prefix_len = if ipv6 { address::PREFIX_V6 } else { address::PREFIX_V4 };
        // With a window scale, smoltcp 0.12 rounds its window down, takes the byte behind it, and panics.
        let receive_buffer = usize::try_from(dice.skewed(3_000..65_536)).expect("small");
        let config = SmolConfig { receive_buffer, mtu: setup.mtu.min(1_500), prefix_len };
        let tcp = SmolTcp::new(mac, local, server, config, dice.fork());
        let script = script(secure, receive_buffer as u64, features, dice);
        return visitor(format!("host {index} (smoltcp, {protocol})"), tcp, tls, script, dice);
    }
    let at = (address::SERVER_MAC, SocketAddr::new(server, 0));
    if dice.chance(PPM / 4) {
        let keepalive =
            tcp::Keepalive { idle: Duration::from_secs(8), interval: Duration::from_secs(2), probes: 8 };
        let config = tcp::Config {
            mss_max: setup.mtu.min(1_500) - 60,
            keepalive: Some(keepalive),
            ..tcp::Config::default()
        };
        let ease = u64::from(config.receive_window);
        let tcp = OwnTcp::new((mac, local), at, config, dice.fork());
        let script = script(secure, ease, features, dice);
        return visitor(format!("host {index} (our own, {protocol})"), tcp, tls, script, dice);
    }
    let mut manners = if features.odd_manners { Manners::odd(dice, ipv6) } else { Manners::ordinary() };
    if features.scarcity || features.adversaries {
        // A SYN cookie cannot tell a smaller one.
        manners.mss = manners.mss.max(536);
    }
    let ease = manners.ease();
    let tcp =
        ModelTcp::new((mac, local), (address::SERVER_MAC, SocketAddr::new(server, 0)), manners, dice.fork());
    let script = script(secure, ease, features, dice);
    visitor(format!("host {index} (model, {protocol})"), tcp, tls, script, dice)
}

/// A client that opens a new connection for each small object.
fn short(
    index: u32,
    features: Features,
    setup: &Setup,
    clock: &SimClock,
    identity: &Identity,
    dice: &mut Dice,
) -> Box<dyn Host> {
    let secure = dice.chance(PPM / 2);
    let tls = Arc::new(client_config(dice.fork(), clock.clone(), identity, SUITES_13[0]));
    let config = tcp::Config { mss_max: setup.mtu.min(1_500) - 60, ..tcp::Config::default() };
    let local = (address::mac(index), address::host(index, false, 4_000));
    let at = (address::SERVER_MAC, SocketAddr::new(address::server(false), 0));
    let tcp = OwnTcp::new(local, at, config, dice.fork());
    let visits = (0..dice.within(4..16)).map(|_| {
        let object = u32::try_from(dice.within(0..u64::from(SHORT_OBJECTS))).expect("few");
        let mut visit = Visit::new(secure, vec![Request::get(object, object_len(object))]);
        visit.after = Duration::from_micros(dice.skewed(1..200_000));
        visit.ending = *dice.pick(&[Ending::ServerCloses, Ending::ServerCloses, Ending::EarlyFin]);
        if features.cut_short && dice.chance(PPM / 8) {
            visit.ending = Ending::Abort(dice.skewed(1..20_000));
        }
        visit
    });
    let visits = visits.collect();
    visitor(format!("host {index} (short)"), tcp, tls, visits, dice)
}

fn visitor<T: crate::client::Transport + 'static>(
    name: String,
    transport: T,
    tls: Arc<ClientConfig>,
    script: Vec<Visit>,
    dice: &mut Dice,
) -> Box<dyn Host> {
    Box::new(Visitor::new(name, transport, tls, script, dice.fork()))
}

/// A client that acknowledges what it has not got, or never completes a handshake.
fn harmful(
    index: u32,
    half_open: bool,
    clock: &SimClock,
    identity: &Identity,
    dice: &mut Dice,
) -> Box<dyn Host> {
    let mut manners = Manners::odd(dice, false);
    manners.mss = manners.mss.max(536);
    manners.half_open = half_open;
    manners.acks.ahead = u32::try_from(dice.skewed(1..200_000)).expect("small");
    let secure = dice.chance(PPM / 2);
    let script = script(secure, manners.ease(), Features::default(), dice);
    let local = (address::mac(index), address::host(index, false, 3_000));
    let server = (address::SERVER_MAC, SocketAddr::new(address::server(false), 0));
    let tcp = ModelTcp::new(local, server, manners, dice.fork());
    let tls = Arc::new(client_config(dice.fork(), clock.clone(), identity, SUITES_13[0]));
    let name = if half_open { "half open" } else { "optimist" };
    Box::new(Visitor::new(name.to_owned(), tcp, tls, script, dice.fork()).excused())
}

/// Visits for a client that takes about `ease` bytes in a round trip.
fn script(secure: bool, ease: u64, features: Features, dice: &mut Dice) -> Vec<Visit> {
    // A client with a tiny window does not ask for films.
    let budget = ease.saturating_mul(150).clamp(3_000, 3_000_000);
    let count = dice.within(1..6);
    (0..count).map(|_| visit(secure, budget / count, features, dice)).collect()
}

fn visit(secure: bool, budget: u64, features: Features, dice: &mut Dice) -> Visit {
    let mut left = budget;
    let count = dice.within(1..8);
    let mut requests = Vec::new();
    for _ in 0..count {
        let mut request = request(left, dice);
        if features.file_changes && left > object_len(CHANGING) / 2 && dice.chance(PPM / 3) {
            let start = dice.within(0..object_len(CHANGING) / 2);
            let end = dice.within(start + 1..object_len(CHANGING) + 1);
            request = Request::range(CHANGING, start..end);
            request.later_versions = VERSIONS - 1;
        }
        if let Expect::Object { range, .. } = &request.expect
            && request.method == "GET"
        {
            left = left.saturating_sub(range.end - range.start);
        }
        requests.push(request);
    }
    let mut visit = Visit::new(secure, requests);
    visit.pipelined = dice.chance(PPM / 3);
    visit.key_updates = dice.chance(PPM / 4);
    visit.after = Duration::from_micros(dice.skewed(1..2_000_000));
    if dice.chance(PPM / 10) {
        visit.trickle = Some((
            usize::try_from(dice.within(1..60)).expect("small"),
            Duration::from_micros(dice.skewed(100..100_000)),
        ));
    }
    if dice.chance(PPM / 10) {
        visit.read_rate = Some(dice.skewed(20_000..5_000_000));
    }
    visit.ending = match dice.within(0..10) {
        0 => Ending::Idle,
        1 | 2 => Ending::ServerCloses,
        3 | 4 => Ending::EarlyFin,
        5 | 6 if features.cut_short => {
            let bytes = dice.skewed(1..budget.max(2));
            *dice.pick(&[Ending::Abort(bytes), Ending::Vanish(bytes), Ending::Forget(bytes)])
        }
        _ => Ending::Close,
    };
    if features.adversaries && dice.chance(PPM / 12) {
        let mut garbage = vec![0; usize::try_from(dice.skewed(1..30_000)).expect("small")];
        dice.fill(&mut garbage);
        visit.garbage = Some(garbage);
    }
    visit
}

fn request(budget: u64, dice: &mut Dice) -> Request {
    let affordable: Vec<u32> =
        (0..crate::setup::OBJECTS).filter(|&object| object_len(object) <= budget.max(1_000)).collect();
    let object = *dice.pick(&affordable);
    let len = object_len(object);
    match dice.within(0..12) {
        0 => Request::head(object, len),
        1 => Request::answered_with("GET", "/not/there.mp4".to_owned(), 404),
        2 => Request::answered_with("DELETE", target(object), 405),
        3 => {
            let mut beyond = Request::get(object, len);
            beyond.headers = format!("Range: bytes={len}-\r\n");
            beyond.expect = Expect::Status(416);
            beyond
        }
        4..7 => {
            // A part of something large, at any offset.
            let object = *dice.pick(&crate::setup::LARGE);
            let len = object_len(object);
            let start = dice.within(0..len);
            let bytes = dice.skewed(1..budget.clamp(2, 400_000)).min(len - start);
            Request::range(object, start..start + bytes)
        }
        _ => Request::get(object, len),
    }
}

#[cfg(test)]
mod tests;
