//! A world with a written course: few hosts, clean lines, and devices that do what the scenario says.

use clock::Instant;
use core::cell::Cell;
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use rustls::CipherSuite;
use sim::address;
use sim::check;
use sim::client::Host;
use sim::client::model::{Manners, ModelTcp};
use sim::client::report::{Mishap, Tally};
use sim::client::script::Visit;
use sim::client::smol::{SmolConfig, SmolTcp};
use sim::client::visitor::{SECURE_PORT, Visitor};
use sim::network::{Carried, Device, Faults, Frame, Wire};
use sim::packet::Segment;
use sim::provider::{Identity, SUITES_13, client_config};
use sim::random::Seed;
use sim::server::{Production, Server as _, Vitals};
use sim::setup::Setup;
use sim::time::SimClock;
use sim::world::{Stop, World};
use std::rc::Rc;
use std::sync::Arc;

/// A world and what hosts in it are made from.
pub(crate) struct Stage {
    pub(crate) world: World<Production>,
    pub(crate) clock: SimClock,
    pub(crate) identity: Identity,
    seed: Seed,
    hosts: u32,
}

impl Stage {
    /// A server like this, and nobody else.
    pub(crate) fn with(setup: &Setup) -> Self {
        let seed = Seed(1);
        let clock = SimClock::new();
        let identity = Identity::new();
        let server = setup.server(seed, &clock, &identity);
        let turn_time = Duration::from_micros(1)..Duration::from_micros(20);
        let world =
            World::new(clock.clone(), server, check::all(SECURE_PORT), turn_time, seed.dice("turns", 0));
        Self { world, clock, identity, seed, hosts: 0 }
    }

    /// An ordinary server.
    pub(crate) fn ordinary() -> Self {
        Self::with(&Setup::ordinary())
    }

    /// A model client over two lines of its own; returns its index.
    pub(crate) fn model(&mut self, manners: Manners, script: Vec<Visit>, lines: Lines) -> usize {
        let (index, mac, local) = self.place();
        let server = (address::SERVER_MAC, SocketAddr::new(address::server(false), 0));
        let tcp = ModelTcp::new((mac, local), server, manners, self.seed.dice("tcp", u64::from(index)));
        self.visitor(index, tcp, script, lines, SUITES_13[0])
    }

    /// An ordinary model client over clean lines of 5 ms.
    pub(crate) fn client(&mut self, script: Vec<Visit>) -> usize {
        self.model(Manners::ordinary(), script, Lines::clean())
    }

    /// smoltcp over clean lines.
    pub(crate) fn smol(&mut self, script: Vec<Visit>) -> usize {
        let (index, mac, local) = self.place();
        let config = SmolConfig { receive_buffer: 65_535, mtu: 1_500, prefix_len: address::PREFIX_V4 };
        let dice = self.seed.dice("tcp", u64::from(index));
        let tcp = SmolTcp::new(mac, local, address::server(false), config, dice);
        self.visitor(index, tcp, script, Lines::clean(), SUITES_13[0])
    }

    fn place(&mut self) -> (u32, sim::packet::Mac, SocketAddr) {
        let index = self.hosts;
        self.hosts += 1;
        (index, address::mac(index), address::host(index, false, 40_000))
    }

    fn visitor<T: sim::client::Transport + 'static>(
        &mut self,
        index: u32,
        tcp: T,
        script: Vec<Visit>,
        lines: Lines,
        suite: CipherSuite,
    ) -> usize {
        let dice = self.seed.dice("tls", u64::from(index));
        let tls = Arc::new(client_config(dice, self.clock.clone(), &self.identity, suite));
        let dice = self.seed.dice("visitor", u64::from(index));
        let visitor = Visitor::new(format!("host {index}"), tcp, tls, script, dice);
        self.add(address::mac(index), Box::new(visitor), lines);
        index as usize
    }

    /// Any host.
    pub(crate) fn add(&mut self, mac: sim::packet::Mac, host: Box<dyn Host>, lines: Lines) {
        self.world.add(mac, host, lines.up, lines.down);
    }

    pub(crate) fn now(&self) -> Instant {
        self.world.now()
    }

    pub(crate) fn vitals(&self) -> Vitals {
        self.world.server().vitals()
    }

    pub(crate) fn tally(&self, host: usize) -> Tally {
        self.world.host(host).report().tally
    }

    pub(crate) fn mishaps(&self, host: usize) -> Vec<Mishap> {
        self.world.host(host).report().mishaps.iter().map(|&(_, mishap)| mishap).collect()
    }

    /// Runs until everybody is done; fails when that takes longer.
    #[track_caller]
    pub(crate) fn done_within(&mut self, limit: Duration) {
        let stop = self.world.run_until_done(self.now() + limit);
        self.lawful();
        assert_eq!(stop, Stop::Done, "not everybody is done after {limit:?}: {:?}", self.world.tally());
    }

    /// Runs while `condition` holds; fails when it holds for longer.
    #[track_caller]
    pub(crate) fn run_while(&mut self, limit: Duration, condition: impl FnMut(&World<Production>) -> bool) {
        let stop = self.world.run_while(self.now() + limit, condition);
        self.lawful();
        assert_eq!(stop, Stop::Done, "still so after {limit:?}: {:?}", self.world.tally());
    }

    /// Runs for a while.
    #[track_caller]
    pub(crate) fn run_for(&mut self, time: Duration) {
        self.world.run_until(self.now() + time);
        self.lawful();
    }

    /// Everybody has left: lets the server forget them, and looks that it holds nothing.
    #[track_caller]
    pub(crate) fn at_rest_after(&mut self, time: Duration) {
        self.run_for(time);
        self.world.rest();
        self.lawful();
    }

    #[track_caller]
    pub(crate) fn lawful(&self) {
        assert!(!self.world.has_failed(), "{}", self.world.breaches()[0]);
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stage")
    }
}

/// Both ways of a path.
pub(crate) struct Lines {
    pub(crate) up: Box<dyn Device>,
    pub(crate) down: Box<dyn Device>,
}

impl Lines {
    /// 5 ms each way, and nothing else.
    pub(crate) fn clean() -> Self {
        Self { up: wire(), down: wire() }
    }

    /// The same, but what goes down meets `filter` first.
    pub(crate) fn down(filter: Filter) -> Self {
        Self { up: wire(), down: Box::new(filter) }
    }
}

pub(crate) fn wire() -> Box<dyn Device> {
    Box::new(Wire { delay: Duration::from_millis(5) })
}

/// Whether a segment with this payload is lost.
type Loses = Box<dyn FnMut(&Segment, &[u8]) -> bool>;

/// Loses what it is told to lose.
pub(crate) struct Filter {
    inner: Box<dyn Device>,
    loses: Loses,
    lost: Rc<Cell<u64>>,
}

impl Filter {
    /// Loses the segments for which `loses` says so.
    pub(crate) fn losing(loses: impl FnMut(&Segment, &[u8]) -> bool + 'static) -> Self {
        Self { inner: wire(), loses: Box::new(loses), lost: Rc::default() }
    }

    /// Loses everything while the gate is shut.
    pub(crate) fn gate() -> (Self, Rc<Cell<bool>>) {
        let open = Rc::new(Cell::new(true));
        let gate = Rc::clone(&open);
        (Self::losing(move |_, _| !gate.get()), open)
    }

    /// How many it has lost.
    pub(crate) fn lost(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.lost)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").field("lost", &self.lost).finish_non_exhaustive()
    }
}

impl Device for Filter {
    fn carry(&mut self, now: Instant, frame: Frame, out: &mut Vec<Carried>) {
        if let Ok((segment, payload)) = Segment::parse(&frame)
            && (self.loses)(&segment, &frame[payload])
        {
            self.lost.set(self.lost.get() + 1);
            return;
        }
        self.inner.carry(now, frame, out);
    }

    fn heal(&mut self) {}

    fn report(&self, faults: &mut Faults) {
        faults.lost += self.lost.get();
    }
}
