//! Two connections and the network between them.
//!
//! ```text
//!   End ── segments ──► Network: loss, duplication, delay, jitter, a bottleneck ── segments ──► End
//!    │ ▲
//!    ▼ │ ranges: fetched after a while, sometimes dropped and surrendered
//!   "disk": the byte at an offset is a function of the offset
//! ```
//!
//! The test is the owner: it takes credit, fetches, transmits, and checks every byte that is delivered. It checks on every
//! segment what must hold of any: that it lies within the window the peer promised, carries the right bytes, and is no
//! longer than the MSS.

use clock::Instant;
use core::ops::Range;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use tcp::{Config, Connection, Events, Flags, Header, Outgoing, SeqNum, State, TimeWait, TimeWaitAction};

/// A superframe, in bytes.
const SUPERFRAME: u32 = 64 << 10;
/// The largest read, in bytes.
const READ_MAX: u32 = 128 << 10;

/// What the network and the disks do. Rates are per thousand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) loss: u32,
    pub(crate) duplication: u32,
    /// Delay of each segment: this, and up to `jitter` more.
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    /// Bytes a second, and how many bytes may wait for them; none for infinite.
    pub(crate) bottleneck: Option<(u64, u64)>,
    /// How long a fetch takes.
    pub(crate) fetch: Duration,
    /// Fetched ranges that are dropped instead of sent.
    pub(crate) surrender: u32,
    /// Every so many milliseconds the receiving owner has no room for so many milliseconds.
    pub(crate) stall: Option<(u32, u32)>,
}

impl Faults {
    pub(crate) const NONE: Self = Self {
        loss: 0,
        duplication: 0,
        delay: Duration::from_millis(10),
        jitter: Duration::ZERO,
        bottleneck: None,
        fetch: Duration::from_micros(200),
        surrender: 0,
        stall: None,
    };
}

/// A small generator of numbers, by seed (SplitMix64).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.roll() % bound }
    }

    pub(crate) fn per_mille(&mut self, rate: u32) -> bool {
        self.below(1000) < u64::from(rate)
    }
}

/// The byte at `offset` of the stream that `side` sends.
pub(crate) fn byte_at(side: usize, offset: u64) -> u8 {
    let salt = if side == CLIENT { 0 } else { 1 << 40 };
    (offset ^ salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]
}

/// One side: a connection and its owner.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) config: Config,
    pub(crate) connection: Option<Connection>,
    pub(crate) time_wait: Option<TimeWait>,
    iss: SeqNum,
    to_send: u64,
    fetching: Vec<(Instant, Range<u64>)>,
    ready: VecDeque<Range<u64>>,
    pub(crate) opened: bool,
    pub(crate) received: u64,
    pub(crate) peer_finished: bool,
    pub(crate) events: Events,
    /// The right edge of the window that the peer ever promised, as it was told.
    promised: Option<SeqNum>,
    pub(crate) sent_segments: u64,
    pub(crate) sent_payload: u64,
    pub(crate) entries_most: usize,
    pub(crate) heap_most: usize,
}

impl End {
    fn new(side: usize, config: Config, to_send: u64, iss: SeqNum) -> Self {
        config.validate().expect("a test uses a valid configuration");
        Self {
            config,
            connection: None,
            time_wait: None,
            iss,
            to_send,
            fetching: Vec::new(),
            ready: VecDeque::new(),
            opened: side == CLIENT,
            received: 0,
            peer_finished: false,
            events: Events::empty(),
            promised: None,
            sent_segments: 0,
            sent_payload: 0,
            entries_most: 0,
            heap_most: 0,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.connection.as_ref().is_none_or(|connection| connection.state() == State::Closed)
    }
}

#[derive(Clone, Debug)]
struct Packet {
    to: usize,
    header: Header,
    payload: Vec<u8>,
}

/// Whether a segment is lost, besides those lost by chance: a number to count with, where it goes, its header, its
/// payload in bytes.
pub(crate) type Drop = fn(&mut u64, usize, &Header, usize) -> bool;

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) ends: [End; 2],
    pub(crate) faults: Faults,
    dice: Dice,
    packets: BTreeMap<(Instant, u64), Packet>,
    serial: u64,
    /// When the bottleneck towards each side is free.
    free_at: [Instant; 2],
    pub(crate) steps: u64,
    pub(crate) drop: Option<Drop>,
    dropped: u64,
}

pub(crate) const CLIENT: usize = 0;
pub(crate) const SERVER: usize = 1;

impl World {
    pub(crate) fn new(seed: u64, faults: Faults, configs: &[Config; 2], to_send: [u64; 2]) -> Self {
        let mut dice = Dice(seed);
        // Half of all streams wrap around within their first bytes.
        let mut iss = || {
            let number = u32::try_from(dice.below(1 << 32)).unwrap();
            SeqNum(if dice.per_mille(500) { number } else { u32::MAX - number % 100_000 })
        };
        let (a, b) = (iss(), iss());
        let now = Instant::EPOCH + Duration::from_secs(1000);
        let mut client = End::new(CLIENT, configs[CLIENT], to_send[CLIENT], a);
        client.connection = Some(Connection::connect(&client.config, now, 50_000, 443, a));
        Self {
            now,
            ends: [client, End::new(SERVER, configs[SERVER], to_send[SERVER], b)],
            faults,
            dice,
            packets: BTreeMap::new(),
            serial: 0,
            free_at: [now; 2],
            steps: 0,
            drop: None,
            dropped: 0,
        }
    }

    /// Runs until both are done, or `limit` has passed; whether both are done.
    pub(crate) fn run(&mut self, limit: Duration) -> bool {
        let end = self.now + limit;
        self.run_until(end, |world| world.ends.iter().all(|end| end.opened && end.is_done()))
    }

    pub(crate) fn run_until(&mut self, limit: Instant, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            self.drive(CLIENT);
            self.drive(SERVER);
            if done(self) {
                return true;
            }
            let Some(next) = self.next_time().filter(|next| *next <= limit) else { return false };
            assert!(next >= self.now, "a deadline lies in the past: {next:?} {:?}", self.now);
            self.steps += 1;
            assert!(self.steps < 300_000, "the world spins: {}", self.summary());
            self.now = next;
            self.deliver_due();
            self.fire_due();
        }
    }

    /// Where everything stands, for a test that fails.
    pub(crate) fn summary(&self) -> String {
        use core::fmt::Write as _;
        let mut text = format!("at {:?}, {} packets under way", self.now, self.packets.len());
        for end in &self.ends {
            let _ = write!(text, "\n  received {} sent {} segments", end.received, end.sent_segments);
            let _ = write!(text, " fetching {:?} ready {:?} {:?}", end.fetching, end.ready, end.events);
            if let Some(connection) = &end.connection {
                let _ = write!(
                    text,
                    "\n    una {} reserved {}",
                    connection.acknowledged(),
                    connection.reserved()
                );
                let _ = write!(text, " deadline {:?} {:?}", connection.deadline(), connection.info());
            }
        }
        text
    }

    fn next_time(&self) -> Option<Instant> {
        let packet = self.packets.keys().next().map(|key| key.0);
        let deadlines = self.ends.iter().filter_map(|end| end.connection.as_ref()?.deadline()).min();
        let fetches = self.ends.iter().flat_map(|end| end.fetching.iter().map(|fetch| fetch.0)).min();
        let stall = self.faults.stall.map(|(every, stalled)| {
            let phase = self.now.as_millis() % u64::from(every);
            let next = if phase < u64::from(stalled) { u64::from(stalled) } else { u64::from(every) };
            self.now + Duration::from_millis(next - phase)
        });
        let live = packet.is_some() || self.ends.iter().any(|end| !end.is_done());
        [packet, deadlines, fetches, stall.filter(|_| live)]
            .into_iter()
            .flatten()
            .min()
            .map(|next| next.max(self.now))
    }

    fn deliver_due(&mut self) {
        while let Some(entry) = self.packets.first_entry()
            && entry.key().0 <= self.now
        {
            let Packet { to, header, payload } = entry.remove();
            self.deliver(to, &header, &payload);
            // Every segment is a turn of its own, so that ACKs are as many as on a real path.
            self.drive(to);
        }
    }

    fn deliver(&mut self, to: usize, header: &Header, payload: &[u8]) {
        let now = self.now;
        let end = &mut self.ends[to];
        if end.connection.is_none() && end.time_wait.is_none() && to == SERVER {
            if header.flags != Flags::SYN || end.opened {
                return;
            }
            end.opened = true;
            end.connection = Some(Connection::accept(&end.config, now, header, end.iss));
            end.promised = Some(end.iss + 1 + u32::from(header.window));
            return;
        }
        if let Some(time_wait) = &mut end.time_wait {
            let config = end.config;
            let bytes = u32::try_from(payload.len()).unwrap();
            if let TimeWaitAction::Ack(ack) = time_wait.on_segment(&config, now, header, bytes) {
                self.put(to, ack, Vec::new());
            }
            return;
        }
        let Some(connection) = &mut end.connection else { return };
        let side = to;
        let received = &mut end.received;
        let events = connection.on_segment(&end.config, now, header, payload, &mut |bytes| {
            for &byte in bytes {
                assert_eq!(
                    byte,
                    byte_at(1 - side, *received),
                    "byte {received} delivered to {side} is wrong"
                );
                *received += 1;
            }
        });
        end.note(events);
        if !events.contains(Events::DROPPED) {
            end.follow_promise(header);
        }
    }

    fn fire_due(&mut self) {
        for end in &mut self.ends {
            let now = self.now;
            if let Some(connection) = &mut end.connection
                && connection.deadline().is_some_and(|deadline| deadline <= now)
            {
                let events = connection.on_deadline(&end.config, now);
                end.note(events);
            }
        }
    }

    /// One turn of an owner.
    fn drive(&mut self, side: usize) {
        let now = self.now;
        let mut out = Vec::new();
        let end = &mut self.ends[side];
        let Some(connection) = &mut end.connection else { return };
        if let Some((every, stalled)) = self.faults.stall {
            let at = u32::try_from(now.as_millis() % u64::from(every)).unwrap();
            connection.set_receive_window(if at < stalled { 0 } else { end.config.receive_window });
        }
        let mut index = 0;
        while index < end.fetching.len() {
            if end.fetching[index].0 <= now {
                let (_, range) = end.fetching.swap_remove(index);
                if self.dice.per_mille(self.faults.surrender) {
                    connection.surrender(range);
                } else {
                    end.ready.push_back(range);
                }
            } else {
                index += 1;
            }
        }
        while let Some(range) = connection.wanted(now, READ_MAX) {
            assert!(range.start < range.end && range.end <= connection.reserved());
            end.fetching.push((now + self.faults.fetch, range));
        }
        loop {
            let left = end.to_send - connection.reserved();
            let credit = connection.credit(now);
            if left == 0 || credit < connection.read_threshold(left) {
                break;
            }
            // Sometimes a record needs more than the credit.
            let extra = if self.dice.per_mille(300) { 700 } else { 0 };
            let bytes = (credit.min(READ_MAX) + extra).min(u32::try_from(left.min(1 << 20)).unwrap());
            let range = connection.reserve(bytes);
            end.fetching.push((now + self.faults.fetch, range));
        }
        if connection.reserved() == end.to_send
            && !connection.is_finishing()
            && matches!(connection.state(), State::Established | State::CloseWait)
        {
            connection.finish();
        }
        // Whatever may leave leaves; a range that unblocks another may stand behind it.
        loop {
            let mut progress = false;
            end.ready.retain_mut(|range| {
                while let Some(outgoing) = connection.transmit(now, range, SUPERFRAME) {
                    progress = true;
                    out.push(outgoing);
                }
                !range.is_empty()
            });
            if !progress {
                break;
            }
        }
        while let Some(outgoing) = connection.poll_control(&end.config, now) {
            out.push(outgoing);
        }
        let info = connection.info();
        end.entries_most = end.entries_most.max(info.sent_map_entries);
        end.heap_most = end.heap_most.max(connection.heap_bytes());
        if connection.state() == State::TimeWait {
            end.time_wait = connection.time_wait(&end.config, now);
            end.connection = None;
        }
        if end.is_done() {
            end.fetching.clear();
            end.ready.clear();
        }
        for outgoing in out {
            self.send(side, &outgoing);
        }
    }

    /// Checks a segment, cuts it as a NIC would, and gives it to the network.
    fn send(&mut self, side: usize, outgoing: &Outgoing) {
        let Outgoing { header, range, mss, .. } = outgoing;
        self.check(side, outgoing);
        if range.is_empty() {
            self.put(side, *header, Vec::new());
            return;
        }
        let step = u64::from(*mss);
        let mut at = range.start;
        while at < range.end {
            let end = (at + step).min(range.end);
            let payload: Vec<u8> = (at..end).map(|offset| byte_at(side, offset)).collect();
            let mut segment = *header;
            segment.seq += u32::try_from(at - range.start).unwrap();
            if end < range.end {
                segment.flags -= Flags::FIN | Flags::PSH;
            }
            self.put(side, segment, payload);
            at = end;
        }
    }

    /// What must hold of any segment.
    fn check(&mut self, side: usize, outgoing: &Outgoing) {
        let end = &mut self.ends[side];
        let Outgoing { header, range, mss, .. } = outgoing;
        end.sent_segments += 1;
        end.sent_payload += range.end - range.start;
        assert!(range.end - range.start <= u64::from(SUPERFRAME));
        let room = u64::from(end.config.mss_max) + 20;
        let longest = u64::from(*mss).min(range.end - range.start);
        assert!(u64::try_from(header.len()).unwrap() + longest <= room);
        if header.flags.contains(Flags::SYN) || header.flags.contains(Flags::RST) {
            return;
        }
        if let Some(promised) = end.promised {
            let last = header.seq + header.segment_len(u32::try_from(range.end - range.start).unwrap());
            assert!(
                !last.after(promised),
                "side {side} sends beyond the peer's window: {header:?} {range:?}"
            );
        }
        if !range.is_empty() {
            let offset = u32::try_from(range.start % (1 << 32)).unwrap();
            assert_eq!(header.seq, end.iss + 1 + offset, "position is the map's");
        }
    }

    /// Puts a segment from `side` on the wire.
    fn put(&mut self, side: usize, header: Header, payload: Vec<u8>) {
        let to = 1 - side;
        self.serial += 1;
        if self.drop.is_some_and(|drop| drop(&mut self.dropped, to, &header, payload.len())) {
            return;
        }
        if self.dice.per_mille(self.faults.loss) {
            return;
        }
        let copies = if self.dice.per_mille(self.faults.duplication) { 2 } else { 1 };
        let mut leaves = self.now;
        if let Some((rate, queue)) = self.faults.bottleneck {
            let bytes = u64::try_from(payload.len()).unwrap() + 60;
            let begins = self.free_at[to].max(self.now);
            let backlog = u64::try_from(begins.since(self.now).as_nanos()).unwrap() * rate / 1_000_000_000;
            if backlog > queue {
                return;
            }
            leaves = begins + Duration::from_nanos(bytes * 1_000_000_000 / rate);
            self.free_at[to] = leaves;
        }
        for copy in 0..copies {
            let jitter = self.dice.below(u64::try_from(self.faults.jitter.as_nanos()).unwrap() + 1);
            let at = leaves + self.faults.delay + Duration::from_nanos(jitter);
            let packet = Packet { to, header, payload: payload.clone() };
            self.packets.insert((at, self.serial * 2 + copy), packet);
        }
    }
}

impl End {
    fn note(&mut self, events: Events) {
        self.events |= events;
        self.peer_finished |= events.contains(Events::PEER_FINISHED);
    }

    /// What the peer told us about its window, with its scale as both ends agreed.
    fn follow_promise(&mut self, header: &Header) {
        let Some(connection) = &self.connection else { return };
        let edge = if header.flags.contains(Flags::SYN) {
            self.iss + 1 + u32::from(header.window)
        } else {
            header.ack + (u32::from(header.window) << connection.peer_window_scale())
        };
        self.promised = Some(self.promised.map_or(edge, |promised| promised.later(edge)));
    }
}
