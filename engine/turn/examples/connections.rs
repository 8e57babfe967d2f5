//! So many short connections over a link in memory, and no clock: what a profiler counts here is the same in every run.
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='*connections*serve*' target/release/examples/connections 20000 memory
//! ```
//!
//! SYN, request, 1 KB of response with its FIN, and the peer's FIN: four packets in, three out, 256 connections at once.
//! The engine's share is what is below [`serve`]; the rest is the client. How fast that is, `bench connections` says.
//!
//! | what | answers with | over a link that |
//! |---|---|---|
//! | `canned` | bytes of the service's | sums and cuts |
//! | `memory` | a head, and memory behind it | leaves both to us |

use core::error::Error;
use core::net::Ipv4Addr;
use core::ops::Range;
use core::time::Duration;
use std::rc::Rc;

use clock::Instant;
use disk_memory::{MemoryDisk, MemoryDiskConfig};
use dma::{Pool, PoolLayout, SharedFrame};
use link_memory::{Gather, MemoryLink, MemoryLinkConfig, pair};
use platform::{Clock, Entropy, FileMeta, Link as _, OpenError, Part, Platform};
use stack::{Address, InterfaceConfig};
use turn::{Actions, Config, End, Engine, EngineParts, FileHandle, Memory, Now, Peer, Service, Transfer};
use wire::checksum::Sum;
use wire::tcp::{Flags, Header, Options, SeqNum};
use wire::{Checksum, MacAddr, Path, emit_tcp};

const AT_ONCE: u16 = 256;
const FIRST_PORT: u16 = 1_024;
const PORTS: u16 = 64_512;
const TCP_AT: usize = 34;
const OURS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const THEIRS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const REQUEST: &[u8] = b"GET /object HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";

/// A clock that steps a tenth of a millisecond each turn.
#[derive(Debug)]
struct Steps(u64);

impl Clock for Steps {
    fn now(&mut self) -> Instant {
        self.0 += 50_000;
        Instant::from_nanos(self.0)
    }

    fn unix_time(&mut self) -> Duration {
        Duration::from_secs(1_800_000_000)
    }
}

#[derive(Debug)]
struct Numbers;

impl Entropy for Numbers {
    fn fill(&mut self, bytes: &mut [u8]) {
        for (byte, value) in bytes.iter_mut().zip((1_u8..=255).cycle()) {
            *byte = value.wrapping_mul(167);
        }
    }
}

#[derive(Debug)]
struct Machine;

impl Platform for Machine {
    type Link = MemoryLink;
    type Disk = MemoryDisk;
    type Clock = Steps;
    type Entropy = Numbers;
}

/// A kilobyte in a frame, and its sum.
#[derive(Debug)]
struct Kilobyte {
    frame: SharedFrame,
    sum: Sum,
}

const OBJECT_BYTES: usize = 1_024;

impl Kilobyte {
    fn new(pool: &Pool) -> Option<Self> {
        let mut frame = pool.acquire_small()?;
        frame.bytes_mut()[..OBJECT_BYTES].fill(b'x');
        let sum = Sum::of(&frame.bytes()[..OBJECT_BYTES]);
        Some(Self { frame: frame.share(), sum })
    }
}

impl Memory for Kilobyte {
    fn parts(&self, range: Range<u64>, tell: &mut dyn FnMut(Part)) {
        let at = |offset| u32::try_from(offset).expect("within a kilobyte");
        tell(Part { frame: self.frame.clone(), start: at(range.start), len: at(range.end - range.start) });
    }

    fn sum(&self, range: Range<u64>) -> Sum {
        assert_eq!(range, 0..OBJECT_BYTES as u64, "all of it leaves at once");
        self.sum
    }
}

/// The same for every request: bytes, and memory behind them.
struct Same {
    bytes: Vec<u8>,
    memory: Option<Rc<Kilobyte>>,
}

impl Service for Same {
    type Session = ();
    type Snapshot = ();

    fn on_connect(&mut self, _: Now, _: &Peer, _: &mut Actions) {}

    fn on_bytes(&mut self, _: Now, (): &mut (), bytes: &[u8], actions: &mut Actions) -> usize {
        actions.send(self.bytes.clone());
        if let Some(memory) = &self.memory {
            actions.send_memory(Rc::clone(memory) as Rc<dyn Memory>, 0..OBJECT_BYTES as u64);
        }
        actions.finish();
        bytes.len()
    }

    fn on_file(
        &mut self,
        _: Now,
        (): &mut (),
        _: Result<(FileHandle, FileMeta), OpenError>,
        _: &mut Actions,
    ) {
    }

    fn on_sent(&mut self, _: Now, (): &mut (), _: &mut Actions) {}

    fn on_deadline(&mut self, _: Now, (): &mut (), _: &mut Actions) {}

    fn on_close(&mut self, _: Now, (): (), _: End, _: &Transfer) {}

    fn on_snapshot(&mut self, _: Now, (): ()) {}

    fn on_drain(&mut self, _: Now, (): &mut (), _: &mut Actions) {}
}

struct Clients {
    link: MemoryLink,
    ports: Vec<u16>,
    next_seq: u32,
    done: u32,
}

impl Clients {
    fn open(&mut self, slot: u16) {
        let port = &mut self.ports[usize::from(slot)];
        let place = *port - FIRST_PORT + AT_ONCE;
        *port = FIRST_PORT + if place >= PORTS { place - PORTS } else { place };
        self.next_seq = self.next_seq.wrapping_add(4_096);
        let options = Options { mss: Some(1_460), window_scale: Some(7), ..Options::NONE };
        let port = *port;
        self.send(port, (SeqNum(self.next_seq), SeqNum(0)), Flags::SYN, options, b"");
    }

    fn turn(&mut self) -> Result<(), Box<dyn Error>> {
        while let Some(delivery) = self.link.receive_packet() {
            let headers = delivery.headers();
            if headers.get(12..14) != Some(&[0x08, 0x00]) {
                continue;
            }
            let (header, data_at) = Header::parse(&headers[TCP_AT..])?;
            let payload_bytes = u32::try_from(delivery.bytes() - TCP_AT - data_at)?;
            let port = header.destination_port;
            if header.flags.contains(Flags::SYN) {
                let numbers = (header.ack, header.seq + 1);
                self.send(port, numbers, Flags::ACK, Options::NONE, b"");
                self.send(port, numbers, Flags::ACK | Flags::PSH, Options::NONE, REQUEST);
            } else if header.flags.contains(Flags::FIN) {
                let numbers = (header.ack, header.seq + payload_bytes + 1);
                self.send(port, numbers, Flags::FIN | Flags::ACK, Options::NONE, b"");
            } else {
                assert!(payload_bytes == 0 && !header.flags.contains(Flags::RST), "not this: {header:?}");
                self.done += 1;
                self.open((port - FIRST_PORT) % AT_ONCE);
            }
        }
        self.link.flush();
        self.link.reclaim();
        Ok(())
    }

    fn send(&mut self, port: u16, numbers: (SeqNum, SeqNum), flags: Flags, options: Options, payload: &[u8]) {
        let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
        let path = Path::new(mac(2), mac(1), THEIRS.into(), OURS.into());
        let (seq, ack) = numbers;
        let header = Header {
            source_port: port,
            destination_port: 80,
            seq,
            ack,
            flags,
            window: 0x4000,
            urgent: 0,
            options,
        };
        let room = self.link.room().expect("the ring holds what all have under way");
        let layout = emit_tcp(room, &path, &header, payload.len(), Checksum::Software(Sum::of(payload)));
        let end = layout.len + payload.len();
        room[layout.len..end].copy_from_slice(payload);
        self.link.stage_room(end, platform::Offload::default());
    }
}

/// The engine's share.
#[inline(never)]
fn serve(engine: &mut Engine<Machine, aead::AwsLc, Same>) {
    engine.turn();
}

fn main() -> Result<(), Box<dyn Error>> {
    let count: u32 = std::env::args().nth(1).map_or(Ok(20_000), |count| count.parse())?;
    let from_memory = match std::env::args().nth(2).as_deref() {
        None | Some("canned") => false,
        Some("memory") => true,
        Some(other) => return Err(format!("{other}? There are canned and memory").into()),
    };
    let mut link = MemoryLinkConfig { gather: Gather::HeadersOnly, ..MemoryLinkConfig::default() };
    if from_memory {
        (link.superframe_bytes_max, link.checksum) = (0, false);
    }
    let (ours, theirs) = pair(8_192, link);
    let mut interface = InterfaceConfig::new(MacAddr(ours.capabilities().mac));
    interface.addresses.push(Address { ip: OURS.into(), prefix_len: 24 });
    let mut config = Config::new(interface);
    config.secure_ports.clear();
    let pool = Pool::new(PoolLayout { large_count: 512, small_count: 2_048 })?;
    let memory = if from_memory { Kilobyte::new(&pool).map(Rc::new) } else { None };
    let bytes = vec![b'x'; if from_memory { 188 } else { 188 + OBJECT_BYTES }];
    let parts = EngineParts {
        link: ours,
        disk: MemoryDisk::new(MemoryDiskConfig::default()),
        clock: Steps(1_000_000_000),
        entropy: Numbers,
        pool,
        service: Same { bytes, memory },
        secure: None,
    };
    let mut engine = Engine::new(config, parts)?;
    let ports = (FIRST_PORT..FIRST_PORT + AT_ONCE).collect();
    let mut clients = Clients { link: theirs, ports, next_seq: 1, done: 0 };
    for slot in 0..AT_ONCE {
        clients.open(slot);
    }
    clients.link.flush();
    while clients.done < count {
        serve(&mut engine);
        clients.turn()?;
    }
    assert_eq!(engine.counters().failed, 0);
    Ok(())
}
