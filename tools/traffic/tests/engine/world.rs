//! The production engine between a memory link and a memory disk, and what its devices touch.
//!
//! ```text
//!   clients ──ACK, one round trip later──▶ link ─▶ engine ─▶ TracedDisk ─▶ memory disk
//!      ▲                                              │            └─ pages land: DiskIn, at times within the latency
//!      └────── NIC: fetches at its rate, NicOut ◀── packets        └─ a read is handed over: Rewrite, if it is sealed
//! ```
//!
//! One worker of four, with a quarter of everything: cores share nothing but the cache and the devices. The engine is
//! not asked anything: the disk is wrapped, and packets are looked at where the NIC would fetch them.

use core::cell::RefCell;
use core::cmp::Reverse;
use core::net::{IpAddr, Ipv4Addr};
use core::ops::Range;
use core::time::Duration;
use std::collections::{BinaryHeap, VecDeque};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use aead::AwsLc;
use atlas::{AtlasService, Catalogue, Settings, Site};
use clock::Instant;
use disk_memory::{Faults, Latency, MemoryDisk, MemoryDiskConfig, Object};
use dma::{HEADROOM_BYTES, PAYLOAD_BYTES, Pool, PoolLayout};
use handshake::{ClientHandshake, ClientOptions, ClientSettings, Progress, ServerSettings, Trust};
use link_memory::{Delivery, MemoryLink, MemoryLinkConfig, pair};
use platform::{Close, Completion, Disk, DiskCapabilities, Full, Link as _, Open, Platform, Read, RootId};
use sim::provider::{Identity, server_config};
use sim::random::{Dice, Seed};
use sim::time::{SimClock, UNIX_START};
use stack::{Address, InterfaceConfig};
use tls::{ContentType, ExpandedKeys, Sealer};
use traffic::{Geometry, Ratio, Recycling, Replay, Sink as _, Touch};
use turn::{Config, Engine, EngineParts};
use wire::checksum::Sum;
use wire::tcp::{Flags, Header, Options, SeqNum};
use wire::{Checksum, MacAddr, Path, emit_tcp};

const ROOT: RootId = RootId(0);
const SERVER: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const TCP_AT: usize = 34;
const FIRST_PORT: u16 = 10_000;
/// A frame's place in the traced address space: payload on a page boundary.
const STRIDE: u64 = 5 * 4_096;
const LEAD: u64 = 4_096 - HEADROOM_BYTES as u64;
/// How often the worker turns: its loop takes so long.
const TICK: Duration = Duration::from_micros(10);

/// One worker and its share of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    pub(crate) connections: u16,
    pub(crate) secure: bool,
    /// Of the link, in bits per second.
    pub(crate) rate: u64,
    /// What every client lets be under way.
    pub(crate) window: u32,
    pub(crate) disk_latency: Duration,
    /// Of the disk's own queue.
    pub(crate) reads_in_flight_max: u32,
    pub(crate) reading_frames_max: u32,
    /// Packets that the NIC's ring holds.
    pub(crate) ring: u32,
    pub(crate) frames: u32,
    pub(crate) recycling: Recycling,
    pub(crate) geometry: Geometry,
}

/// What came of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) ratio: Ratio,
    /// Bytes fetched by the NIC, as a share of its rate.
    pub(crate) utilisation: f64,
    /// The most frames out at once.
    pub(crate) frames_max: u32,
}

/// When, in which order, what (by number in [`KINDS`]), and the addresses.
type Waiting = (u64, u64, usize, u64, u64);
const KINDS: [Touch; 3] = [Touch::DiskIn, Touch::Rewrite, Touch::NicOut];

/// Touches wait here until none can come before them.
struct Tracer {
    replay: Replay,
    waiting: BinaryHeap<Reverse<Waiting>>,
    order: u64,
    /// Where each frame is thought to lie.
    places: Vec<u64>,
    recycling: Recycling,
    reads: u64,
    seed: u64,
}

impl Tracer {
    fn new(share: &Share) -> Self {
        Self {
            replay: Replay::new(share.geometry),
            waiting: BinaryHeap::new(),
            order: 0,
            places: (0..u64::from(share.frames)).collect(),
            recycling: share.recycling,
            reads: 0,
            seed: 1,
        }
    }

    /// A frame is about to be filled. First-in first-out, it is the next of all; the pool's own order is last-in first-out.
    fn on_acquired(&mut self, frame: u32) {
        if let Recycling::Fifo { frames } = self.recycling {
            self.places[frame as usize] = self.reads % u64::from(frames);
            self.reads += 1;
        }
    }

    fn push(&mut self, at: Instant, kind: usize, frame: u32, within: Range<u64>) {
        // Small frames hold heads and handshakes: next to nothing.
        let Some(place) = self.places.get(frame as usize) else { return };
        let start = place * STRIDE + LEAD;
        self.order += 1;
        let touch = (at.as_nanos(), self.order, kind, start + within.start, start + within.end);
        self.waiting.push(Reverse(touch));
    }

    fn below(&mut self, end: u64) -> u64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        self.seed % end.max(1)
    }

    /// Replays what happened before `until`.
    fn settle(&mut self, until: u64) {
        while self.waiting.peek().is_some_and(|Reverse(touch)| touch.0 < until) {
            let Some(Reverse((_, _, kind, start, end))) = self.waiting.pop() else { return };
            self.replay.touch(KINDS[kind], start..end);
        }
    }
}

/// A disk that says what lands where. Faults are devices that wrap devices; so is this.
struct TracedDisk {
    inner: MemoryDisk,
    clock: SimClock,
    tracer: Rc<RefCell<Tracer>>,
    latency: Duration,
    secure: bool,
}

impl Disk for TracedDisk {
    fn capabilities(&self) -> DiskCapabilities {
        self.inner.capabilities()
    }

    fn stage_read(&mut self, read: Read) -> Result<(), Full<Read>> {
        let frames: Vec<u32> = read.targets.iter().map(|target| target.frame.index()).collect();
        self.inner.stage_read(read)?;
        frames.into_iter().for_each(|frame| self.tracer.borrow_mut().on_acquired(frame));
        Ok(())
    }

    fn stage_open(&mut self, open: Open) -> Result<(), Full<Open>> {
        self.inner.stage_open(open)
    }

    fn stage_close(&mut self, close: Close) {
        self.inner.stage_close(close);
    }

    fn flush(&mut self) {
        self.inner.flush();
    }

    fn complete(&mut self) -> Option<Completion> {
        let completion = self.inner.complete()?;
        if let Completion::Read(done) = &completion {
            let now = self.clock.instant();
            let tracer = &mut *self.tracer.borrow_mut();
            let latency = u64::try_from(self.latency.as_nanos()).expect("short");
            for target in &done.targets {
                let payload = HEADROOM_BYTES as u64..HEADROOM_BYTES as u64 + u64::from(target.bytes);
                for page in payload.clone().step_by(4_096) {
                    // Pages land for themselves, as in the generator (assumption A1).
                    let early = Duration::from_nanos(tracer.below(latency));
                    let landed =
                        Instant::from_nanos(now.as_nanos() - u64::try_from(early.as_nanos()).expect("short"));
                    tracer.push(landed, 0, target.frame.index(), page..payload.end.min(page + 4_096));
                }
                if self.secure {
                    // The head before it and the tag behind it are the same pass.
                    tracer.push(now, 1, target.frame.index(), payload.start - 5..payload.end + 17);
                }
            }
        }
        Some(completion)
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

enum Traced {}

impl Platform for Traced {
    type Link = MemoryLink;
    type Disk = TracedDisk;
    type Clock = SimClock;
    type Entropy = Dice;
}

enum Phase {
    Opening,
    Shaking(Box<ClientHandshake>),
    Streaming,
}

struct Client {
    phase: Phase,
    seq: SeqNum,
    ack: SeqNum,
    round_trip: Duration,
}

/// What reaches a client, or the server from it, later.
struct Arrival {
    client: usize,
    syn: bool,
    ack: SeqNum,
    payload: Vec<u8>,
}

struct World {
    share: Share,
    clock: SimClock,
    engine: Engine<Traced, AwsLc, AtlasService>,
    wire: MemoryLink,
    tracer: Rc<RefCell<Tracer>>,
    settings: ClientSettings,
    keys: ExpandedKeys<AwsLc>,
    clients: Vec<Client>,
    arrivals: BinaryHeap<Reverse<(u64, u64)>>,
    contents: std::collections::BTreeMap<u64, Arrival>,
    order: u64,
    /// Packets for which the link had no room.
    outgoing: VecDeque<Vec<u8>>,
    nic_free: u64,
    fetched: u64,
}

/// Runs a worker for `seconds` after everybody has streamed for as long, and counts what that cost memory.
pub(crate) fn run(share: Share, seconds: f64) -> Outcome {
    let mut world = World::new(share);
    let streaming =
        |world: &World| world.clients.iter().all(|client| matches!(client.phase, Phase::Streaming));
    while world.clients.len() < usize::from(share.connections) || !streaming(&world) {
        world.tick();
        if world.clients.len() < usize::from(share.connections) {
            world.connect();
        }
        assert!(world.clock.instant().as_millis() < 60_000, "clients that never got through");
    }
    // Slow start, and the cache.
    world.run_for(Duration::from_millis(250) + Duration::from_secs_f64(seconds));
    world.tracer.borrow_mut().replay.begin();
    let fetched = world.fetched;
    world.run_for(Duration::from_secs_f64(seconds));
    let counters = world.engine.counters();
    assert_eq!(counters.resent_bytes, 0, "nothing is lost here: {counters:?}");
    let ratio = world.tracer.borrow().replay.ratio();
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    let utilisation = (world.fetched - fetched) as f64 * 8.0 / (share.rate as f64 * seconds);
    Outcome { ratio, utilisation, frames_max: world.engine.pool().in_use().large_max }
}

impl World {
    fn new(share: Share) -> Self {
        let seed = Seed(3);
        let clock = SimClock::new();
        clock.advance(Instant::from_nanos(1_000_000_000));
        let config = MemoryLinkConfig::default();
        let (ours, wire) = pair(share.ring, config);
        let faults = Faults { read: Latency::Fixed(share.disk_latency), ..Faults::NONE };
        let mut inner = MemoryDisk::new(MemoryDiskConfig {
            align: 4_096,
            faults,
            reads_in_flight_max: share.reads_in_flight_max,
            ..MemoryDiskConfig::default()
        });
        inner.insert(ROOT, "object", Object::untouched(1 << 40));
        let tracer = Rc::new(RefCell::new(Tracer::new(&share)));
        let disk = TracedDisk {
            inner,
            clock: clock.clone(),
            tracer: Rc::clone(&tracer),
            latency: share.disk_latency,
            secure: share.secure,
        };
        let mut interface = InterfaceConfig::new(MacAddr(config.macs[0]));
        interface.addresses.push(Address { ip: IpAddr::V4(SERVER), prefix_len: 24 });
        let mut config = Config::new(interface);
        config.reading_frames_max = share.reading_frames_max;
        config.keys_max = 2 * usize::from(share.connections);
        config.handshake_timeout = Duration::from_secs(60);
        let settings = Settings { page: Some(false), access_log: false, ..Settings::default() };
        let site = Site::new(settings, ROOT, &Catalogue::default()).expect("lawful settings");
        let secure = ServerSettings::from_rustls(server_config(seed, clock.clone(), &Identity::new()));
        let parts = EngineParts {
            link: ours,
            disk,
            clock: clock.clone(),
            entropy: seed.dice("entropy", 0),
            pool: Pool::new(PoolLayout { large_count: share.frames, small_count: 32_768 }).expect("memory"),
            service: AtlasService::new(std::sync::Arc::new(site), UNIX_START.as_secs()),
            secure: Some(secure),
        };
        let engine = Engine::new(config, parts).expect("a lawful configuration");
        Self {
            share,
            clock,
            engine,
            wire,
            tracer,
            settings: ClientSettings::new(Trust::Anyone, ClientOptions::default()).expect("settings"),
            keys: ExpandedKeys::new(2 * usize::from(share.connections)),
            clients: Vec::new(),
            arrivals: BinaryHeap::new(),
            contents: std::collections::BTreeMap::new(),
            order: 0,
            outgoing: VecDeque::new(),
            nic_free: 0,
            fetched: 0,
        }
    }

    fn run_for(&mut self, time: Duration) {
        let until = self.clock.instant() + time;
        while self.clock.instant() < until {
            self.tick();
        }
    }

    /// The dissertation's middlebox: a constant delay per flow, from 10 to 40 ms (§4.4).
    fn connect(&mut self) {
        let index = self.clients.len();
        let round_trip = Duration::from_micros(10_000 + (index as u64 * 7_919) % 30_000);
        let seq = SeqNum(u32::try_from(index).expect("few") * 7_919);
        self.clients.push(Client { phase: Phase::Opening, seq, ack: SeqNum(0), round_trip });
        let options = Options { mss: Some(1_460), window_scale: Some(4), ..Options::NONE };
        self.send(index, Flags::SYN, options, &[]);
    }

    fn tick(&mut self) {
        let now = self.clock.instant() + TICK;
        self.clock.advance(now);
        while self.arrivals.peek().is_some_and(|Reverse((at, _))| *at <= now.as_nanos()) {
            let Some(Reverse((_, order))) = self.arrivals.pop() else { break };
            if let Some(arrival) = self.contents.remove(&order) {
                self.arrive(arrival);
            }
        }
        self.engine.disk_mut().inner.advance(now);
        for _ in 0..64 {
            self.wire.reclaim();
            while let Some(packet) = self.outgoing.pop_front() {
                if self.wire.inject(&packet, true).is_err() {
                    self.outgoing.push_front(packet);
                    break;
                }
            }
            self.wire.flush();
            let busy = self.engine.turn().busy;
            self.fetch(now);
            if !busy && self.outgoing.is_empty() {
                break;
            }
        }
        // A page may land as early as the latency before its read completes.
        let horizon = now - self.share.disk_latency;
        self.tracer.borrow_mut().settle(horizon.as_nanos());
    }

    /// The NIC fetches packets in order, at its rate, as far as it gets by `now`.
    fn fetch(&mut self, now: Instant) {
        let tick = u64::try_from(TICK.as_nanos()).expect("short");
        self.nic_free = self.nic_free.max(now.as_nanos() - tick);
        while self.nic_free <= now.as_nanos() {
            let Some(delivery) = self.wire.receive_packet() else { return };
            let bytes = delivery.bytes() as u64;
            self.nic_free += bytes * 8_000_000_000 / self.share.rate;
            for part in delivery.parts() {
                let within = u64::from(part.start)..u64::from(part.start + part.len);
                self.tracer.borrow_mut().push(now, 2, part.frame.index(), within);
            }
            self.fetched += bytes;
            self.depart(&delivery);
        }
    }

    /// The packet is on its way; what the client answers arrives a round trip later.
    fn depart(&mut self, delivery: &Delivery) {
        let headers = delivery.headers();
        if headers.get(12..14) != Some(&[0x08, 0x00]) || headers.get(23) != Some(&6) {
            return;
        }
        let (header, data_at) = Header::parse(&headers[TCP_AT..]).expect("the engine's own header");
        assert!(!header.flags.contains(Flags::RST), "a connection was reset: {:?}", self.engine.counters());
        let client = usize::from(header.destination_port - FIRST_PORT);
        let inline = &headers[TCP_AT + data_at..];
        let syn = header.flags.contains(Flags::SYN);
        let bytes = delivery.bytes() - TCP_AT - data_at;
        if bytes == 0 && !syn {
            return;
        }
        let end = header.seq + u32::try_from(bytes).expect("a packet") + u32::from(syn);
        let mut payload = Vec::new();
        if matches!(self.clients[client].phase, Phase::Shaking(_)) {
            payload.extend_from_slice(inline);
            delivery.payload().for_each(|piece| payload.extend_from_slice(piece));
        }
        let at = self.nic_free + u64::try_from(self.clients[client].round_trip.as_nanos()).expect("short");
        self.order += 1;
        self.arrivals.push(Reverse((at, self.order)));
        self.contents.insert(self.order, Arrival { client, syn, ack: end, payload });
    }

    fn arrive(&mut self, arrival: Arrival) {
        let Arrival { client: index, syn, ack, payload } = arrival;
        let client = &mut self.clients[index];
        client.ack = ack;
        if syn {
            client.seq += 1;
            if !self.share.secure {
                client.phase = Phase::Streaming;
                let request = b"GET /object HTTP/1.1\r\nHost: localhost\r\n\r\n";
                return self.send(index, Flags::ACK | Flags::PSH, Options::NONE, request);
            }
            let mut handshake = Box::new(ClientHandshake::new(&self.settings, "localhost").expect("a name"));
            let _ = handshake.on_bytes(&[]);
            let hello = handshake.take_output();
            client.phase = Phase::Shaking(handshake);
            return self.send(index, Flags::ACK | Flags::PSH, Options::NONE, &hello);
        }
        let Phase::Shaking(handshake) = &mut client.phase else {
            return self.send(index, Flags::ACK, Options::NONE, &[]);
        };
        let progress = handshake.on_bytes(&payload);
        let mut output = handshake.take_output();
        match progress {
            Progress::Continue => {}
            Progress::Established(established) => {
                client.phase = Phase::Streaming;
                output.extend_from_slice(&request(established.0.sealer, &mut self.keys));
            }
            Progress::Failed(error) => panic!("a handshake failed: {error}"),
        }
        self.send(index, Flags::ACK | Flags::PSH, Options::NONE, &output);
    }

    fn send(&mut self, index: usize, flags: Flags, options: Options, payload: &[u8]) {
        let client = &mut self.clients[index];
        let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
        let path = Path::new(mac(2), mac(1), IpAddr::V4(CLIENT), IpAddr::V4(SERVER));
        for bytes in payload.chunks(1_460).chain(payload.is_empty().then_some(&[][..])) {
            let header = Header {
                source_port: FIRST_PORT + u16::try_from(index).expect("few"),
                destination_port: if self.share.secure { 443 } else { 80 },
                seq: client.seq,
                ack: client.ack,
                flags,
                window: u16::try_from(self.share.window >> 4).expect("scaled by 16"),
                urgent: 0,
                options,
            };
            let mut packet = [0; 128 + 1_460];
            let sum = Sum::of_parts(core::iter::once(bytes));
            let layout = emit_tcp(&mut packet, &path, &header, bytes.len(), Checksum::Software(sum));
            packet[layout.len..layout.len + bytes.len()].copy_from_slice(bytes);
            self.outgoing.push_back(packet[..layout.len + bytes.len()].to_vec());
            client.seq += u32::try_from(bytes.len()).expect("a segment");
        }
    }
}

/// A request, sealed.
fn request(mut sealer: Sealer, keys: &mut ExpandedKeys<AwsLc>) -> Vec<u8> {
    let head = b"GET /object HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let layout = sealer.layout();
    let mut record = vec![0; layout.sealed_bytes(head.len())];
    let payload = layout.head_bytes..layout.head_bytes + head.len();
    record[payload.clone()].copy_from_slice(head);
    let number = sealer.bind().expect("the first record");
    sealer.seal(keys, number, ContentType::ApplicationData, &mut record, payload).expect("sealed");
    record
}

const _: () = assert!(PAYLOAD_BYTES as u64 + 2 * 512 <= STRIDE);
