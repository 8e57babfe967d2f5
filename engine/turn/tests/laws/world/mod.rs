//! One engine, its clients, and the wire between them: a millisecond each way, and lossless unless a test says otherwise.
//!
//! Two laws are watched whatever the test is about: a byte of the stream is never sent as two different bytes, unless the
//! test has changed a file of a plain connection; and everything the server says is well-formed and sums up.

use aead::AwsLc;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use clock::Instant;
use core::cell::Cell;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use disk_memory::{MemoryDisk, MemoryDiskConfig, Object, pattern};
use dma::{Pool, PoolLayout};
use handshake::{
    Certificate, Certificates, ClientOptions, ClientSettings, ServerOptions, ServerSettings, Ticketing, Trust,
};
use link_memory::{MemoryLink, MemoryLinkConfig, segment};
use platform::Link as _;
use stack::{Address, InterfaceConfig};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use tls::{ExpandedKeys, Scratch, Suite, Version};
use turn::{Carrier, Config, Engine, EngineParts};
use wire::tcp::{Flags, Header};
use wire::{MacAddr, Packet, parse_frame};

pub(crate) mod client;
pub(crate) mod lent;
pub(crate) mod machine;
pub(crate) mod service;

use client::{Client, Trove};
use lent::Lendable;
use machine::{Machine, NarrowLink, Numbers, WorldClock};
use service::{Lines, ROOT};

pub(crate) const SERVER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub(crate) const SERVER_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2));
pub(crate) const SERVER_V6: IpAddr = IpAddr::V6(core::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));
pub(crate) const PLAIN: u16 = 80;
pub(crate) const SECURE: u16 = 443;
/// One way.
pub(crate) const DELAY: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A certificate for `localhost`: made once a process, for it costs.
static SERVER_SETTINGS: LazyLock<ServerSettings> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let certificate =
        Certificate::from_pem(made.cert.pem().as_bytes(), made.signing_key.serialize_pem().as_bytes())
            .expect("a certificate");
    let ticketing = Ticketing::new().expect("randomness");
    ServerSettings::new(Certificates::new(certificate), &ticketing, ServerOptions::default())
        .expect("settings")
});

/// A server before it begins.
pub(crate) struct Setup {
    pub(crate) config: Config,
    pub(crate) link: MemoryLinkConfig,
    pub(crate) disk: MemoryDiskConfig,
    pub(crate) pool: PoolLayout,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let mut interface = InterfaceConfig::new(SERVER_MAC);
        interface.addresses.push(Address { ip: SERVER_V4, prefix_len: 16 });
        interface.addresses.push(Address { ip: SERVER_V6, prefix_len: 64 });
        let mut config = Config::new(interface);
        config.connections_max = 1_024;
        Self {
            config,
            link: MemoryLinkConfig {
                macs: [SERVER_MAC.0, [2, 0, 0, 0, 0, 9]],
                slots: crate::SLOTS,
                ..MemoryLinkConfig::default()
            },
            disk: MemoryDiskConfig::default(),
            pool: PoolLayout { large_count: 256, small_count: 512 },
        }
    }

    pub(crate) fn world(self) -> World {
        World::new(self)
    }
}

/// A segment of the server's, as the wire saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    /// Which client it is for; none for nobody we know.
    pub(crate) client: Option<usize>,
    pub(crate) header: Header,
    /// Where its payload begins in the server's stream.
    pub(crate) offset: u64,
    pub(crate) payload: Vec<u8>,
}

impl Seen {
    pub(crate) fn is(&self, flags: Flags) -> bool {
        self.header.flags.contains(flags)
    }

    pub(crate) fn holds(&self, offset: u64) -> bool {
        (self.offset..self.offset + self.payload.len() as u64).contains(&offset)
    }
}

type Filter = Box<dyn FnMut(&Seen) -> bool>;

pub(crate) struct World {
    pub(crate) engine: Engine<Machine, AwsLc, Lines>,
    pub(crate) clock: WorldClock,
    pub(crate) clients: Vec<Client>,
    pub(crate) trove: Trove,
    /// Every segment of the server's, lost ones included.
    pub(crate) seen: Vec<Seen>,
    /// Whether those are kept.
    pub(crate) keeps_seen: bool,
    /// How long what clients say is on its way.
    pub(crate) delay_up: Duration,
    /// Nothing of what clients would say leaves them.
    mute: bool,
    /// Where the last segment was sent to.
    pub(crate) last_mac: MacAddr,
    /// Packets the link takes within one turn.
    pub(crate) link_room: usize,
    pub(crate) link_refused: Rc<Cell<usize>>,
    /// Whether streams may change: only where a plain file does.
    pub(crate) streams_may_change: bool,
    /// How often the engine has asked for randomness.
    pub(crate) randomness_drawn: Rc<Cell<usize>>,
    /// Called before and after each turn.
    pub(crate) around_turns: fn(bool),
    room: Rc<Cell<usize>>,
    wire: MemoryLink,
    /// What is on its way, with the time it arrives.
    up: VecDeque<(Instant, Vec<u8>)>,
    down: VecDeque<(Instant, usize, Header, Vec<u8>)>,
    filter: Filter,
    /// First bytes ever sent, by client.
    streams: BTreeMap<usize, Vec<Option<u8>>>,
    hungry: bool,
    /// The most handshakes that one turn completed.
    pub(crate) handshakes_in_a_turn: u64,
    port: u16,
    tcp: tcp::Config,
}

impl World {
    fn new(setup: Setup) -> Self {
        let Setup { config, link, disk, pool } = setup;
        let (ours, wire) = link_memory::pair(8_192, link);
        let clock = WorldClock(Rc::new(Cell::new(1_000_000_000)));
        let (room, refused) = (Rc::new(Cell::new(usize::MAX)), Rc::new(Cell::new(0)));
        let tcp = tcp::Config {
            mss_max: link.mtu - 40,
            // What is behind a hole is never thrown away here.
            reassembly_bytes_max: 256 << 10,
            ..tcp::Config::default()
        };
        let drawn = Rc::new(Cell::new(0));
        let engine = Engine::new(
            config,
            EngineParts {
                link: NarrowLink { inner: ours, room: Rc::clone(&room), refused: Rc::clone(&refused) },
                disk: MemoryDisk::new(disk),
                clock: clock.clone(),
                entropy: Numbers { last: 7, drawn: Rc::clone(&drawn) },
                pool: Pool::new(pool).expect("memory"),
                service: Lines::default(),
                secure: Some(SERVER_SETTINGS.clone()),
            },
        )
        .expect("a lawful configuration");
        Self {
            engine,
            clock,
            clients: Vec::new(),
            trove: Trove { keys: ExpandedKeys::new(256), scratch: Scratch::new() },
            seen: Vec::new(),
            keeps_seen: true,
            delay_up: DELAY,
            mute: false,
            last_mac: MacAddr::ZERO,
            link_room: usize::MAX,
            link_refused: refused,
            streams_may_change: false,
            randomness_drawn: drawn,
            around_turns: |_| {},
            room,
            wire,
            up: VecDeque::new(),
            down: VecDeque::new(),
            filter: Box::new(|_| true),
            streams: BTreeMap::new(),
            hungry: true,
            handshakes_in_a_turn: 0,
            port: 20_000,
            tcp,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.clock.instant()
    }

    // ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// A file of `len` bytes of this pattern.
    pub(crate) fn file(&mut self, name: &str, number: u64, len: u64) {
        self.engine.disk_mut().insert(ROOT, name, Object::pattern(number, len));
    }

    /// Memory of `len` bytes of this pattern.
    pub(crate) fn lend(&mut self, name: &str, number: u64, len: u64) {
        let lendable = Lendable::new(self.engine.pool(), number, len);
        self.engine.service_mut().lendables.insert(name.to_owned(), lendable);
    }

    pub(crate) fn lendable(&self, name: &str) -> Rc<Lendable> {
        Rc::clone(&self.engine.service().lendables[name])
    }

    // ── Clients ──────────────────────────────────────────────────────────────────────────────────────────────────────

    /// A plain connection from a host of its own.
    pub(crate) fn plain(&mut self) -> usize {
        let index = self.clients.len();
        self.connect(client::host(index, false), PLAIN, None, self.tcp)
    }

    /// A connection with this TCP from a host of its own.
    pub(crate) fn plain_with(&mut self, tcp: tcp::Config) -> usize {
        let index = self.clients.len();
        self.connect(client::host(index, false), PLAIN, None, tcp)
    }

    /// A TLS connection of this version and cipher, from a host of its own.
    pub(crate) fn secure(&mut self, version: Version, suite: Suite) -> usize {
        self.secure_with(version, suite, self.tcp)
    }

    pub(crate) fn secure_with(&mut self, version: Version, suite: Suite, tcp: tcp::Config) -> usize {
        let options =
            ClientOptions { versions: vec![version], suites: vec![suite], ..ClientOptions::default() };
        let settings = ClientSettings::new(Trust::Anyone, options).expect("settings");
        let index = self.clients.len();
        self.connect(client::host(index, false), SECURE, Some(&settings), tcp)
    }

    /// The usual TLS connection.
    pub(crate) fn tls(&mut self) -> usize {
        self.secure(Version::Tls13, Suite::Aes128Gcm)
    }

    pub(crate) fn connect(
        &mut self,
        (mac, ip): (MacAddr, IpAddr),
        port: u16,
        settings: Option<&ClientSettings>,
        tcp: tcp::Config,
    ) -> usize {
        self.port += 1;
        let local = SocketAddr::new(ip, self.port);
        let server = if ip.is_ipv4() { SERVER_V4 } else { SERVER_V6 };
        let remote = SocketAddr::new(server, port);
        self.clients.push(Client::new(self.now(), tcp, (mac, local, remote), settings));
        self.clients.len() - 1
    }

    /// The next connection is from this port.
    pub(crate) fn use_port_next(&mut self, port: u16) {
        self.port = port - 1;
    }

    /// What comes is not for this client any more.
    pub(crate) fn forget(&mut self, client: usize) {
        self.clients[client].local.set_port(0);
    }

    pub(crate) fn client_tcp(&self) -> tcp::Config {
        self.tcp
    }

    pub(crate) fn say(&mut self, client: usize, line: &str) {
        let Self { clients, trove, .. } = self;
        clients[client].say(trove, format!("{line}\n").as_bytes());
    }

    /// The client reads again, or stops to.
    pub(crate) fn set_reads(&mut self, client: usize, reads: bool) {
        let Self { clients, trove, .. } = self;
        clients[client].reads = reads;
        clients[client].read(trove);
    }

    /// Only segments for which `passes` says so arrive from now on.
    pub(crate) fn filter(&mut self, passes: impl FnMut(&Seen) -> bool + 'static) {
        self.filter = Box::new(passes);
    }

    /// A frame of nobody's, to the server.
    pub(crate) fn inject(&mut self, frame: Vec<u8>) {
        self.up.push_back((self.now() + DELAY, frame));
    }

    // ── The link ─────────────────────────────────────────────────────────────────────────────────────────────────────

    /// The cable is out, or in again. What was on the wire still arrives.
    pub(crate) fn set_carrier(&mut self, carrier: Carrier) {
        self.engine.set_carrier(carrier);
        self.hungry = true;
    }

    /// The server's device vanishes.
    pub(crate) fn lose_link(&mut self) {
        self.engine.link_mut().inner.lose();
        self.hungry = true;
    }

    /// Another device takes its place, with another wire. What the old one held is gone.
    pub(crate) fn replace_link(&mut self, link: MemoryLinkConfig) {
        let (ours, wire) = link_memory::pair(8_192, link);
        let (room, refused) = (Rc::clone(&self.room), Rc::clone(&self.link_refused));
        let old = self.engine.replace_link(NarrowLink { inner: ours, room, refused });
        drop((old, core::mem::replace(&mut self.wire, wire)));
        self.hungry = true;
    }

    /// Lets time pass until the link has taken `packets` of a turn and no more, and stays there.
    #[track_caller]
    pub(crate) fn choke(&mut self, packets: usize) {
        for _ in 0..10_000 {
            self.settle();
            self.clock.0.set(self.next_event().max(self.now()).as_nanos());
            self.clients_speak();
            let now = self.now();
            while self.up.front().is_some_and(|(at, _)| *at <= now) {
                let (_, frame) = self.up.pop_front().expect("a frame");
                self.wire.inject(&frame, false).expect("room on the wire");
            }
            self.wire.flush();
            self.engine.disk_mut().advance(now);
            self.room.set(packets);
            let refused = self.link_refused.get();
            self.engine.turn();
            self.hungry = true;
            self.watch();
            if self.link_refused.get() > refused {
                return;
            }
        }
        panic!("the link was never full");
    }

    /// Clients say nothing for a while, or speak again.
    pub(crate) fn set_client_speaks(&mut self, speaks: bool) {
        self.mute = !speaks;
    }

    /// What comes to the service from elsewhere wakes the worker.
    pub(crate) fn call(&mut self, ticket: turn::Ticket) {
        self.engine.service_mut().called.push(ticket);
        self.hungry = true;
    }

    /// An operator changes the MTU of the server's device, and the machine says so.
    pub(crate) fn set_mtu(&mut self, mtu: u16) {
        self.engine.link_mut().inner.set_mtu(mtu);
        self.engine.set_mtu(mtu);
        self.hungry = true;
    }

    // ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Lets time pass until `done`; whether it ever was, within `limit`.
    pub(crate) fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now() + limit;
        loop {
            self.settle();
            if done(self) {
                return true;
            }
            let next = self.next_event();
            if next > end {
                self.clock.0.set(end.as_nanos());
                self.settle();
                return done(self);
            }
            self.clock.0.set(next.max(self.now()).as_nanos());
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Lets time pass until the client has heard so many bytes.
    #[track_caller]
    pub(crate) fn hear(&mut self, client: usize, count: usize) {
        let came = self.run_until(60 * SECOND, |world| {
            assert_eq!(world.clients[client].failure, None);
            world.clients[client].heard.len() >= count
        });
        assert!(came, "{} of {count} bytes came", self.clients[client].heard.len());
        assert_eq!(self.clients[client].heard.len(), count);
    }

    fn next_event(&self) -> Instant {
        let mut next = Instant::NEVER;
        let wire = [self.up.front().map(|up| up.0), self.down.front().map(|down| down.0)];
        let engine = [self.engine.deadline(), self.engine.disk().next_due()];
        for at in wire.into_iter().chain(engine).flatten() {
            next = next.min(at);
        }
        let speakers = if self.mute { &[][..] } else { &self.clients };
        speakers.iter().fold(next, |next, client| next.min(client.deadline()))
    }

    /// Everything that happens now.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            let now = self.now();
            let mut moved = self.clients_speak();
            while self.up.front().is_some_and(|(at, _)| *at <= now) {
                let (_, frame) = self.up.pop_front().expect("a frame");
                self.wire.inject(&frame, false).expect("room on the wire");
                self.hungry = true;
            }
            self.wire.flush();
            self.engine.disk_mut().advance(now);
            let due = [self.engine.deadline(), self.engine.disk().next_due()];
            if self.hungry || due.into_iter().flatten().any(|at| at <= now) {
                self.room.set(self.link_room);
                let handshakes = self.engine.counters().handshakes;
                (self.around_turns)(true);
                self.hungry = self.engine.turn().busy;
                (self.around_turns)(false);
                let handshakes = self.engine.counters().handshakes - handshakes;
                self.handshakes_in_a_turn = self.handshakes_in_a_turn.max(handshakes);
                moved = true;
                self.watch();
            }
            while self.down.front().is_some_and(|(at, ..)| *at <= now) {
                let (_, client, header, payload) = self.down.pop_front().expect("a segment");
                let Self { clients, trove, .. } = self;
                if !clients[client].is_gone {
                    clients[client].on_segment(now, &header, &payload, trove);
                }
                moved = true;
            }
            if !moved {
                return;
            }
        }
        panic!("time stands still at {:?}: {:?}", self.now(), self.engine);
    }

    fn clients_speak(&mut self) -> bool {
        let now = self.now();
        if self.mute {
            return false;
        }
        let mut frames = Vec::new();
        for client in &mut self.clients {
            client.poll(now, &mut frames);
        }
        let spoke = !frames.is_empty();
        let delay = self.delay_up;
        self.up.extend(frames.into_iter().map(|frame| (now + delay, frame)));
        spoke
    }

    /// Takes what the server has said off the link.
    fn watch(&mut self) {
        let now = self.now();
        let mut bytes = Vec::new();
        while let Some(delivery) = self.wire.receive_packet() {
            delivery.gather_into(&mut bytes);
            for packet in segment(&bytes, delivery.offload()).expect("an offload that fits") {
                assert!(packet.len() <= 1_514, "longer than the wire takes");
                let parsed = parse_frame(&packet, true).expect("what the server says is well-formed");
                if let Packet::Tcp(segment) = parsed.packet {
                    self.last_mac = MacAddr(*packet.first_chunk().expect("a frame"));
                    self.on_seen(now, segment);
                }
            }
        }
    }

    fn on_seen(&mut self, at: Instant, segment: wire::Tcp<'_>) {
        let wire::Tcp { destination, header, payload, .. } = segment;
        let to = SocketAddr::new(destination, header.destination_port);
        let client = self.clients.iter().position(|client| client.local == to);
        let mut offset = 0;
        if let Some(index) = client {
            let known = self.seen.iter().find(|seen| seen.client == client && seen.is(Flags::SYN));
            if let Some(syn) = known {
                offset = u64::from(header.seq.distance_from(syn.header.seq + 1));
            }
            if !payload.is_empty() {
                self.remember(index, offset, payload);
            }
        }
        let seen = Seen { at, client, header, offset, payload: payload.to_vec() };
        let passes = (self.filter)(&seen);
        if let Some(index) = client.filter(|_| passes) {
            self.down.push_back((at + DELAY, index, header, payload.to_vec()));
        }
        if self.keeps_seen || seen.is(Flags::SYN) {
            self.seen.push(seen);
        }
    }

    fn remember(&mut self, client: usize, offset: u64, payload: &[u8]) {
        let stream = self.streams.entry(client).or_default();
        let from = usize::try_from(offset).expect("a short stream");
        if stream.len() < from + payload.len() {
            stream.resize(from + payload.len(), None);
        }
        for (known, &byte) in stream[from..].iter_mut().zip(payload) {
            let first = *known.get_or_insert(byte);
            assert!(
                first == byte || self.streams_may_change,
                "client {client}: near offset {offset} the stream was sent differently"
            );
        }
    }

    /// Lets the engine turn, and nothing of what it says be looked at, until `done`.
    pub(crate) fn turn_unwatched(&mut self, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        for _ in 0..1_000 {
            self.clients_speak();
            let now = self.now();
            while self.up.front().is_some_and(|(at, _)| *at <= now) {
                let (_, frame) = self.up.pop_front().expect("a frame");
                self.wire.inject(&frame, false).expect("room on the wire");
            }
            self.wire.flush();
            self.engine.turn();
            if done(self) {
                return true;
            }
            self.clock.0.set(self.now().as_nanos() + 100_000);
        }
        false
    }

    /// What the engine has said meanwhile is taken off the link.
    pub(crate) fn look_again(&mut self) {
        self.watch();
    }

    // ── What is asked at the end ─────────────────────────────────────────────────────────────────────────────────────

    /// Segments for a client, in order.
    pub(crate) fn seen_by(&self, client: usize) -> impl Iterator<Item = &Seen> {
        self.seen.iter().filter(move |seen| seen.client == Some(client))
    }

    /// Everybody leaves, and the server has nothing left.
    #[track_caller]
    pub(crate) fn leave(&mut self) {
        for client in &mut self.clients {
            client.reads = true;
            client.finish();
        }
        let trove = &mut self.trove;
        self.clients.iter_mut().for_each(|client| client.read(trove));
        self.filter(|_| true);
        self.link_room = usize::MAX;
        let left = self.run_until(600 * SECOND, |world| world.engine.counters().connections == 0);
        assert!(left, "somebody stays: {:?}", self.engine.connections(8));
        self.engine.service_mut().lendables.clear();
        self.assert_empty_handed();
    }

    /// No frame is held.
    #[track_caller]
    pub(crate) fn assert_empty_handed(&mut self) {
        self.engine.turn();
        let in_use = self.engine.pool().in_use();
        assert_eq!((in_use.large, in_use.small), (0, 0), "frames are held");
    }
}

/// `from..to` of pattern `number`.
pub(crate) fn bytes_of(number: u64, range: core::ops::Range<u64>) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(range.end - range.start).expect("a short file")];
    pattern(number, range.start, &mut bytes);
    bytes
}

/// Every version with every suite.
pub(crate) fn ciphers() -> impl Iterator<Item = (Version, Suite)> {
    [Version::Tls12, Version::Tls13].into_iter().flat_map(|version| Suite::ALL.map(|suite| (version, suite)))
}
