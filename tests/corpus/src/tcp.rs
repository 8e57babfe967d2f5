//! One TCB under a peer that says anything, and an owner that does anything it may.

use clock::Instant;
use core::ops::Range;
use core::time::Duration;
use tcp::{Config, Connection, Flags, Header, Options, Outgoing, SackBlocks, SeqNum, State, Timestamps};

/// What one connection may hold, whatever its peer does: reassembly (64 KiB), the map of what is in flight, slack.
const HEAP_BYTES_MAX: usize = 512 << 10;
/// Control segments that may be due at once.
const CONTROL_MAX: usize = 16;
/// No link takes less at a time. What leaves in pieces is remembered in pieces, so this bounds memory too.
const PACKET_BYTES_MIN: u32 = 1_220;
/// Timers that may be due at one moment.
const FIRINGS_MAX: usize = 100;
/// Segments that a range may leave in, however small they have to be.
const SEGMENTS_MAX: usize = 100_000;
/// How far a script goes.
const STEPS_MAX: usize = 2_000;

const ISS: SeqNum = SeqNum(0xffff_f000);
const PEER_ISS: SeqNum = SeqNum(0xffff_ff00);

/// A script: `ReceiveSegment | AdvanceTime | Reserve | Transmit | Surrender | Fetch | Order`, one byte each with their
/// arguments behind them. The first byte decides how the connection begins.
///
/// # Panics
/// A law is broken: what is sent lies within what was reserved and within the peer's window, offsets only grow, memory
/// is bounded, control segments come to an end.
pub fn tcp_connection(bytes: &[u8]) {
    let mut script = Script(bytes);
    let mut world = World::new(script.byte());
    for _ in 0..STEPS_MAX {
        if script.0.is_empty() {
            break;
        }
        world.step(&mut script);
        world.check();
    }
    world.let_time_pass();
}

/// The bytes that are left; zeros behind their end.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let (byte, rest) = crate::decision(self.0);
        self.0 = rest;
        byte
    }

    fn word(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }
}

struct World {
    config: Config,
    connection: Connection,
    now: Instant,
    held: Vec<Range<u64>>,
    /// What the connection last acknowledged: where our own next byte goes.
    expected: SeqNum,
    /// One past the last byte that the connection sent, as a stream offset.
    sent: u64,
    /// The farthest offset that any window of ours ever allowed.
    edge: u64,
    acknowledged: u64,
    is_over: bool,
}

impl World {
    fn new(choice: u8) -> Self {
        let config = Config {
            timestamps: choice & 1 == 0,
            sack: choice & 2 == 0,
            pacing: choice & 4 != 0,
            congestion: if choice & 8 == 0 { tcp::Algorithm::Cubic } else { tcp::Algorithm::NewReno },
            ..Config::default()
        };
        let now = Instant::EPOCH + Duration::from_secs(1);
        let connection = if choice & 16 == 0 {
            Connection::accept(&config, now, &header(Flags::SYN, PEER_ISS, SeqNum(0), syn_options()), ISS)
        } else {
            Connection::connect(&config, now, 80, 50_000, ISS)
        };
        let mut world = Self {
            config,
            connection,
            now,
            held: Vec::new(),
            expected: PEER_ISS + 1,
            sent: 0,
            edge: 0,
            acknowledged: 0,
            is_over: false,
        };
        world.poll_control();
        world
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 8 {
            0 => {
                let (flags, seq, ack) =
                    (Flags::from_bits_retain(script.byte()), script.word(), script.word());
                let (window, options, length) = (script.word(), script.byte(), script.byte());
                let mut segment = header(
                    flags,
                    self.expected + u32::from(seq) - 0x8000,
                    self.seq(self.acknowledged) + u32::from(ack) - 0x100,
                    Options::NONE,
                );
                segment.window = window;
                if options & 1 != 0 {
                    segment.options.timestamps =
                        Some(Timestamps { value: u32::from(script.word()), echo: u32::from(script.word()) });
                }
                if options & 2 != 0 {
                    let mut sack = SackBlocks::EMPTY;
                    for _ in 0..options >> 6 {
                        let left = self.seq(self.acknowledged) + u32::from(script.word());
                        let _full = !sack.push(left, left + u32::from(script.word()));
                    }
                    segment.options.sack = sack;
                }
                if flags.contains(Flags::SYN) && options & 4 != 0 {
                    segment.options = syn_options();
                }
                self.receive(&segment, usize::from(length) * 16);
            }
            // A peer that is well: it acknowledges what there is and says a little.
            1 => {
                let mut segment = header(Flags::ACK, self.expected, self.seq(self.sent), Options::NONE);
                if let Some(timestamps) = self.echo() {
                    segment.options.timestamps = Some(timestamps);
                }
                self.receive(&segment, usize::from(script.byte() % 4));
            }
            2 => {
                self.now += Duration::from_micros(u64::from(script.word()) * 50);
                let mut firings = 0;
                while !self.is_over && self.connection.deadline().is_some_and(|deadline| deadline <= self.now)
                {
                    firings += 1;
                    assert!(firings < FIRINGS_MAX, "a timer that fires for ever: {:?}", self.connection);
                    self.is_over |=
                        self.connection.on_deadline(&self.config, self.now).contains(tcp::Events::CLOSED);
                    self.poll_control();
                }
            }
            3 => {
                let credit = self.connection.credit(self.now);
                assert!(credit <= self.connection.window(), "more credit than window");
                // What a record needs may exceed the credit.
                let range =
                    self.connection.reserve(credit.min(u32::from(script.word())) + u32::from(script.byte()));
                if !range.is_empty() {
                    self.held.push(range);
                }
            }
            4 => self.transmit(u32::from(script.word()).max(PACKET_BYTES_MIN)),
            5 => {
                let at = usize::from(script.byte());
                if !self.held.is_empty() {
                    let range = self.held.remove(at % self.held.len());
                    self.connection.surrender(range);
                }
            }
            6 => {
                while let Some(range) = self.connection.wanted(self.now, u32::from(script.word()) + 1) {
                    assert!(
                        !range.is_empty() && range.end <= self.connection.reserved(),
                        "{range:?} is wanted"
                    );
                    self.held.push(range);
                    if self.held.len() > 64 {
                        break;
                    }
                }
            }
            _ => match script.byte() % 8 {
                0 => self.connection.finish(),
                1 => self.connection.abort(),
                2 => self.connection.on_mss(self.now, script.word()),
                _ => self.connection.set_receive_window(u32::from(script.word()) * 4),
            },
        }
        self.poll_control();
    }

    fn receive(&mut self, segment: &Header, payload_bytes: usize) {
        const PAYLOAD: [u8; 4096] = [0x61; 4096];
        let payload = &PAYLOAD[..payload_bytes.min(PAYLOAD.len())];
        let scale = u32::from(self.connection.peer_window_scale());
        let window = if segment.flags.contains(Flags::SYN) { 0 } else { scale };
        let allowed = segment.ack - self.seq(0);
        if let Ok(offset) = u64::try_from(allowed) {
            self.edge = self.edge.max(offset + (u64::from(segment.window) << window));
        }
        let mut delivered = 0;
        let events = self
            .connection
            .on_segment(&self.config, self.now, segment, payload, &mut |bytes| delivered += bytes.len());
        assert!(
            delivered <= payload.len() + self.config.reassembly_bytes_max as usize,
            "{delivered} bytes from nowhere"
        );
        self.is_over |= events.contains(tcp::Events::CLOSED);
    }

    fn transmit(&mut self, bytes_max: u32) {
        let mut held = core::mem::take(&mut self.held);
        for range in &mut held {
            let mut segments = 0;
            while let Some(outgoing) = self.connection.transmit(self.now, range, bytes_max) {
                segments += 1;
                assert!(segments < SEGMENTS_MAX, "{range:?} never leaves: {outgoing:?}");
                assert!(range.start <= range.end, "a range turned around");
                self.note(&outgoing);
                if range.is_empty() {
                    break;
                }
            }
        }
        held.retain(|range| !range.is_empty());
        self.held = held;
    }

    fn poll_control(&mut self) {
        for _ in 0..CONTROL_MAX {
            let Some(outgoing) = self.connection.poll_control(&self.config, self.now) else { return };
            assert!(outgoing.range.is_empty(), "control segments carry nothing");
            self.note(&outgoing);
        }
        panic!("control segments without end");
    }

    fn note(&mut self, outgoing: &Outgoing) {
        if outgoing.header.flags.contains(Flags::ACK) {
            self.expected = outgoing.header.ack;
        }
        let Range { start, end } = outgoing.range;
        if start < end {
            assert_eq!(outgoing.header.seq, self.seq(start), "a payload under another's number");
            assert!(end <= self.connection.reserved(), "bytes that do not exist");
            assert!(end <= self.edge, "{end} is beyond {}, the peer's window", self.edge);
            assert!(start <= self.sent, "a hole was sent");
            self.sent = self.sent.max(end);
        }
    }

    fn check(&mut self) {
        let (acknowledged, sent, reserved) =
            (self.connection.acknowledged(), self.connection.sent(), self.connection.reserved());
        assert!(acknowledged <= sent && sent <= reserved, "{acknowledged}, {sent}, {reserved}");
        assert!(self.acknowledged <= acknowledged, "an acknowledgement was taken back");
        self.acknowledged = acknowledged;
        let heap = self.connection.heap_bytes();
        assert!(heap <= HEAP_BYTES_MAX, "{heap} bytes held");
        let _ = self.connection.info();
    }

    /// Whatever has happened: with nothing more to hear from the peer it ends, or waits for an owner, or for nobody.
    fn let_time_pass(&mut self) {
        for _ in 0..1_000 {
            let Some(deadline) = self.connection.deadline() else { return };
            if self.is_over || self.connection.state() == State::Closed {
                return;
            }
            self.now = self.now.max(deadline);
            self.is_over |= self.connection.on_deadline(&self.config, self.now).contains(tcp::Events::CLOSED);
            self.poll_control();
            self.check();
        }
    }

    fn seq(&self, offset: u64) -> SeqNum {
        // Offset 0 is the first byte after our SYN; sequence numbers are offsets modulo 2³².
        let low = u32::try_from(offset & u64::from(u32::MAX)).expect("masked");
        ISS + 1 + low
    }

    /// Timestamps that the connection would believe.
    fn echo(&self) -> Option<Timestamps> {
        let micros = u32::try_from(self.now.as_millis() & 0xffff_ffff).expect("masked");
        self.config.timestamps.then_some(Timestamps { value: micros, echo: 0 })
    }
}

fn header(flags: Flags, seq: SeqNum, ack: SeqNum, options: Options) -> Header {
    Header { source_port: 50_000, destination_port: 80, seq, ack, flags, window: 0xffff, urgent: 0, options }
}

fn syn_options() -> Options {
    Options {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { value: 1, echo: 0 }),
        ..Options::NONE
    }
}
