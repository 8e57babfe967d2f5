//! The engine and the server, on a memory link and a memory disk, under clients that do anything.

use crate::decision;
use clock::Instant;
use core::net::IpAddr;
use core::time::Duration;
use disk_memory::Latency;
use sim::address;
use sim::provider::Identity;
use sim::random::Seed;
use sim::server::{Production, Server, Vitals};
use sim::setup::Setup;
use sim::time::SimClock;
use std::sync::OnceLock;
use wire::checksum::Sum;
use wire::tcp::{Flags, Header, Options, SeqNum};
use wire::{Checksum, HEADERS_BYTES_MAX, MacAddr, Packet, Path, emit_tcp, parse_frame};

/// Clients at once.
const CLIENTS: usize = 4;
/// How far a script goes.
const STEPS_MAX: usize = 400;
/// Longer than everything that ends by itself in [`Setup::ordinary`].
const PATIENCE: Duration = Duration::from_secs(600);

/// What a client may ask for; the script picks one and where to cut it.
const REQUESTS: &[&[u8]] = &[
    b"GET /o/17.m4s HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /o/19.m4s HTTP/1.1\r\nHost: a\r\nRange: bytes=1-70000\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET /.. HTTP/1.1\r\nHost: a\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"\x16\x03\x01\x00\x05hello",
];

/// A script: `ReceiveFrame | CompleteRead | AdvanceTime`, where frames are raw, or segments of one of a few clients that
/// may know the right numbers. Reads complete when time has advanced by the disk's latency.
///
/// # Panics
/// A law is broken: frames are neither lost nor held twice, everything that is said is well-formed, and when everybody
/// has gone silent nothing is left.
pub fn engine(bytes: &[u8]) {
    run(bytes);
}

/// The same; returns how the server stood in the end.
pub(crate) fn run(bytes: &[u8]) -> Vitals {
    let (choice, mut script) = decision(bytes);
    let mut world = World::new(choice);
    for _ in 0..STEPS_MAX {
        let (op, rest) = decision(script);
        if rest.is_empty() {
            break;
        }
        script = world.step(op, rest);
        world.check();
    }
    world.fall_silent();
    world.server.vitals()
}

struct World {
    clock: SimClock,
    server: Production,
    clients: [Client; CLIENTS],
}

/// What a client has learnt from what was sent to it.
#[derive(Clone, Copy)]
struct Client {
    next: SeqNum,
    ack: SeqNum,
}

impl World {
    fn new(choice: u8) -> Self {
        static IDENTITY: OnceLock<Identity> = OnceLock::new();
        let clock = SimClock::new();
        clock.advance(Instant::EPOCH + Duration::from_secs(1));
        let mut setup = Setup::ordinary();
        // A power of two, from nothing to some milliseconds.
        let latency = Duration::from_micros(1 << (choice % 14));
        setup.disk.faults.read = Latency::Range(latency / 2, latency);
        if choice & 0x40 != 0 {
            setup.pool.large_count = 12;
            setup.pool.small_count = 24;
        }
        if choice & 0x80 != 0 {
            setup.disk.faults.read_errors_per_million = 100_000;
        }
        let server = setup.server(Seed(u64::from(choice)), &clock, IDENTITY.get_or_init(Identity::new));
        Self { clock, server, clients: [Client { next: SeqNum(1), ack: SeqNum(0) }; CLIENTS] }
    }

    fn step<'a>(&mut self, op: u8, rest: &'a [u8]) -> &'a [u8] {
        let client = usize::from(op >> 6) % CLIENTS;
        match op % 8 {
            // A raw frame.
            0 => {
                let (length, rest) = decision(rest);
                let (frame, rest) = rest.split_at(usize::from(length).min(rest.len()));
                self.server.on_frame(frame);
                self.turn();
                rest
            }
            // Time passes: reads complete, timers fire.
            1 => {
                let (exponent, rest) = decision(rest);
                self.advance(Duration::from_micros(1 << (exponent % 24)));
                rest
            }
            2 => {
                self.segment(client, Flags::SYN, 0, &[]);
                rest
            }
            // A request, whole or cut.
            3 => {
                let (which, rest) = decision(rest);
                let (cut, rest) = decision(rest);
                let request = REQUESTS[usize::from(which) % REQUESTS.len()];
                let cut = if cut == 0 { request.len() } else { usize::from(cut).min(request.len()) };
                self.segment(client, Flags::ACK | Flags::PSH, 0, &request[..cut]);
                rest
            }
            // Acknowledgements, of everything or of something else.
            4 => {
                let (shift, rest) = decision(rest);
                self.segment(client, Flags::ACK, i32::from(shift.cast_signed()) * 512, &[]);
                rest
            }
            5 => {
                self.segment(client, Flags::ACK, 0, &[]);
                self.advance(Duration::from_millis(1));
                rest
            }
            6 => {
                let (flags, rest) = decision(rest);
                self.segment(client, Flags::from_bits_retain(flags), 0, &[]);
                rest
            }
            // Payload of the script's own.
            _ => {
                let (length, rest) = decision(rest);
                let (payload, rest) = rest.split_at(usize::from(length).min(rest.len()));
                self.segment(client, Flags::ACK, 0, payload);
                rest
            }
        }
    }

    /// A segment of a client's, with the numbers it has learnt; its acknowledgement is off by `off`.
    fn segment(&mut self, client: usize, flags: Flags, off: i32, payload: &[u8]) {
        let Client { next, ack } = self.clients[client];
        let index = u32::try_from(client).expect("a few clients");
        let mut options = Options::NONE;
        if flags.contains(Flags::SYN) {
            options.mss = Some(1460);
            options.sack_permitted = true;
        }
        let header = Header {
            source_port: 40_000,
            destination_port: if client == CLIENTS - 1 { 443 } else { 80 },
            seq: if flags.contains(Flags::SYN) { next - 1 } else { next },
            ack: SeqNum(ack.0.wrapping_add_signed(off)),
            flags,
            window: 0xffff,
            urgent: 0,
            options,
        };
        let source = address::host(index, false, 0).ip();
        let path = Path::new(
            MacAddr(address::mac(index)),
            MacAddr(address::SERVER_MAC),
            source,
            IpAddr::V4(address::SERVER_V4),
        );
        let mut frame = vec![0; HEADERS_BYTES_MAX];
        let layout =
            emit_tcp(&mut frame, &path, &header, payload.len(), Checksum::Software(Sum::of(payload)));
        frame.truncate(layout.len);
        frame.extend_from_slice(payload);
        if !flags.contains(Flags::SYN) {
            let length = u32::try_from(payload.len()).expect("a short payload");
            self.clients[client].next = next + header.segment_len(length);
        }
        self.server.on_frame(&frame);
        self.turn();
    }

    fn turn(&mut self) {
        let mut sent = Vec::new();
        self.server.turn(self.clock.instant(), &mut sent);
        for frame in sent {
            let parsed = parse_frame(&frame, true).expect("what the server says is well-formed");
            let Packet::Tcp(segment) = parsed.packet else { continue };
            let known = (0..CLIENTS).find(|index| {
                let index = u32::try_from(*index).expect("a few clients");
                address::host(index, false, 0).ip() == segment.destination
            });
            if let Some(client) = known {
                let length = u32::try_from(segment.payload.len()).expect("a packet's payload");
                let behind = segment.header.seq + segment.header.segment_len(length);
                if behind.after(self.clients[client].ack) || segment.header.flags.contains(Flags::SYN) {
                    self.clients[client].ack = behind;
                }
                if segment.header.flags.contains(Flags::ACK) && segment.header.flags.contains(Flags::SYN) {
                    self.clients[client].next = segment.header.ack;
                }
            }
        }
    }

    fn advance(&mut self, by: Duration) {
        let until = self.clock.instant() + by;
        for _ in 0..10_000 {
            let deadline = self.server.deadline();
            if deadline > until {
                break;
            }
            self.clock.advance(deadline.max(self.clock.instant()));
            self.turn();
        }
        self.clock.advance(until.max(self.clock.instant()));
        self.turn();
    }

    fn check(&self) {
        let vitals = self.server.vitals();
        assert!(vitals.frames_large <= vitals.frames_large_max, "{vitals:?}");
        assert!(vitals.frames_small <= vitals.frames_small_max, "{vitals:?}");
        assert_eq!(vitals.tag_mismatches, 0, "no file has changed");
    }

    /// Nobody says anything any more. Whatever was begun ends by itself, and gives back what it held.
    fn fall_silent(&mut self) {
        self.advance(PATIENCE);
        let vitals = self.server.vitals();
        assert_eq!(vitals.connections, 0, "a connection that never ends: {vitals:?}");
        assert_eq!((vitals.frames_large, vitals.frames_small), (0, 0), "frames were lost: {vitals:?}");
        // What never got beyond its SYN has failed without having been accepted.
        assert!(vitals.accepted <= vitals.finished + vitals.failed, "{vitals:?}");
    }
}
