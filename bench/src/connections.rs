//! What a short connection costs the engine: SYN, request, response, close, and the next one.
//!
//! ```text
//!   client (a few counters)                   engine, timed
//!     SYN            ──────────────────────▶
//!                    ◀──────────────────────  SYN-ACK
//!     ACK, request   ──────────────────────▶
//!                    ◀──────────────────────  response, FIN     one packet when it fits a segment
//!     FIN, ACK       ──────────────────────▶
//!                    ◀──────────────────────  ACK, and TIME-WAIT
//! ```
//!
//! With a service that answers every head with the same bytes, which leaves the engine's and TCP's own work; with the
//! production service over a disk in memory; and with objects in memory, in each of the ways in which memory gets into
//! packets. Packets are counted by kind, both ways, so that one too many shows.

use core::net::IpAddr;
use core::time::Duration;
use std::rc::Rc;
use std::time::Instant;

use disk_memory::{MemoryDisk, MemoryDiskConfig, Object};
use dma::{Pool, PoolLayout};
use link_memory::{Delivery, Gather, MemoryLink, MemoryLinkConfig, pair};
use platform::{FileMeta, Link as _, OpenError};
use serde_json::json;
use turn::{Actions, End, FileHandle, Memory, MemoryVariant, Now, Peer, Service, Transfer};
use wire::checksum::Sum;
use wire::tcp::{Flags, Header, Options, SeqNum};
use wire::{Checksum, MacAddr, Path, emit_tcp};

use crate::Effort;
use crate::afxdp::thread_seconds;
use crate::drain::Complaint;
use crate::report::{Report, Spread};
use crate::world::{self, CLIENT, EngineOf, MEMORY_FRAMES_MAX, ROOT, SERVER};

/// Connections at once: a batch's worth, so that a turn has what a busy server's has.
const SLOTS: u16 = 256;
const FIRST_PORT: u16 = 1_024;
/// A multiple of [`SLOTS`], and of a few of them: a port belongs to one slot.
const PORTS: u16 = 64_512;
const OBJECT_BYTES: usize = 1_024;
/// Whoever has so much and has not said so says so.
const ACK_BYTES: u32 = 2 * 1_448;
/// Ethernet and IPv4 without options.
const TCP_AT: usize = 34;

/// Answers each head with the same bytes.
struct Canned(Vec<u8>);

impl Service for Canned {
    type Session = ();
    type Snapshot = ();

    fn on_connect(&mut self, _: Now, _: &Peer, _: &mut Actions) {}

    fn on_bytes(&mut self, _: Now, (): &mut (), bytes: &[u8], actions: &mut Actions) -> usize {
        if !bytes.ends_with(b"\r\n\r\n") {
            return 0;
        }
        actions.send(self.0.clone());
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening,
    Asked,
    Closing,
}

#[derive(Clone, Copy, Debug)]
struct Client {
    port: u16,
    phase: Phase,
    seq: SeqNum,
    ack: SeqNum,
    /// Of what came, what the server was not told of.
    unsaid: u32,
    came: usize,
    /// What it asks for.
    asks: usize,
}

/// What arrived from the server, by kind.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    connections: u64,
    sent: u64,
    syn_acks: u64,
    data: u64,
    data_with_fin: u64,
    fins: u64,
    acks: u64,
}

/// Something to ask for.
#[derive(Clone, Debug)]
struct Wish {
    request: Vec<u8>,
    object_bytes: usize,
    /// Bytes of the first response: all are the same but for their dates, which are equally long.
    response_bytes: Option<usize>,
}

impl Wish {
    fn new(path: &str, object_bytes: usize) -> Self {
        let request =
            format!("GET /{path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").into_bytes();
        Self { request, object_bytes, response_bytes: None }
    }
}

struct Clients {
    link: MemoryLink,
    clients: Vec<Client>,
    wishes: Vec<Wish>,
    next_wish: usize,
    next_seq: u32,
    tally: Tally,
}

impl Clients {
    /// So many at once, each of which asks for the next of the wishes.
    fn new(link: MemoryLink, wishes: Vec<Wish>, slots: u16) -> Self {
        let clients = (0..slots)
            .map(|slot| Client {
                port: FIRST_PORT + slot,
                phase: Phase::Opening,
                seq: SeqNum(0),
                ack: SeqNum(0),
                unsaid: 0,
                came: 0,
                asks: 0,
            })
            .collect();
        Self { link, clients, wishes, next_wish: 0, next_seq: 1, tally: Tally::default() }
    }

    /// A new connection in this slot, from its next port, with a number beyond all that the port has used: RFC 6191
    /// and RFC 9293 §3.6.1 let it follow one in TIME-WAIT.
    fn open(&mut self, slot: usize) {
        self.next_seq = self.next_seq.wrapping_add(4_096);
        let slots = u16::try_from(self.clients.len()).expect("as many as ports");
        let client = &mut self.clients[slot];
        let place = client.port - FIRST_PORT + slots;
        client.port = FIRST_PORT + if place >= PORTS { place - PORTS } else { place };
        client.phase = Phase::Opening;
        client.seq = SeqNum(self.next_seq);
        (client.came, client.unsaid) = (0, 0);
        client.asks = self.next_wish;
        self.next_wish = (self.next_wish + 1) % self.wishes.len();
        self.send(
            slot,
            Flags::SYN,
            Options { mss: Some(1_460), window_scale: Some(7), ..Options::NONE },
            b"",
        );
        self.clients[slot].seq += 1;
    }

    fn turn(&mut self) -> Result<(), Complaint> {
        while let Some(delivery) = self.link.receive_packet() {
            self.on_delivery(&delivery)?;
        }
        // One a batch, as a kernel that merges segments would.
        for slot in 0..self.clients.len() {
            if self.clients[slot].unsaid >= ACK_BYTES {
                self.send(slot, Flags::ACK, Options::NONE, b"");
            }
        }
        self.link.flush();
        self.link.reclaim();
        Ok(())
    }

    fn on_delivery(&mut self, delivery: &Delivery) -> Result<(), Complaint> {
        let headers = delivery.headers();
        if headers.get(12..14) != Some(&[0x08, 0x00]) || headers.get(23) != Some(&6) {
            return Ok(());
        }
        let (header, data_at) = Header::parse(&headers[TCP_AT..])?;
        let payload_bytes = delivery.bytes() - TCP_AT - data_at;
        let slot = usize::from(header.destination_port - FIRST_PORT) % self.clients.len();
        let client = &mut self.clients[slot];
        if header.flags.contains(Flags::RST) || client.port != header.destination_port {
            return Err(format!("{client:?} was not to get {header:?}").into());
        }
        if header.flags.contains(Flags::SYN) {
            self.tally.syn_acks += 1;
            client.ack = header.seq + 1;
            client.phase = Phase::Asked;
            self.send(slot, Flags::ACK, Options::NONE, b"");
            let request = core::mem::take(&mut self.wishes[self.clients[slot].asks].request);
            self.send(slot, Flags::ACK | Flags::PSH, Options::NONE, &request);
            self.clients[slot].seq += u32::try_from(request.len())?;
            self.wishes[self.clients[slot].asks].request = request;
            return Ok(());
        }
        let fin = header.flags.contains(Flags::FIN);
        match (payload_bytes > 0, fin) {
            (true, true) => self.tally.data_with_fin += 1,
            (true, false) => self.tally.data += 1,
            (false, true) => self.tally.fins += 1,
            (false, false) => self.tally.acks += 1,
        }
        if header.seq != client.ack {
            return Err(format!("a hole in a link without loss: {client:?} got {header:?}").into());
        }
        client.ack += u32::try_from(payload_bytes)?;
        client.unsaid += u32::try_from(payload_bytes)?;
        client.came += payload_bytes;
        if fin {
            let wish = &mut self.wishes[client.asks];
            let expected = *wish.response_bytes.get_or_insert(client.came);
            if client.came != expected || expected <= wish.object_bytes {
                return Err(format!("a response of {} bytes instead of {expected}", client.came).into());
            }
            client.ack += 1;
            client.phase = Phase::Closing;
            self.send(slot, Flags::FIN | Flags::ACK, Options::NONE, b"");
            self.clients[slot].seq += 1;
        } else if client.phase == Phase::Closing && header.ack == client.seq {
            self.tally.connections += 1;
            self.open(slot);
        }
        Ok(())
    }

    fn send(&mut self, slot: usize, flags: Flags, options: Options, payload: &[u8]) {
        let client = &mut self.clients[slot];
        client.unsaid = 0;
        let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
        let path = Path::new(mac(2), mac(1), IpAddr::V4(CLIENT), IpAddr::V4(SERVER));
        let header = Header {
            source_port: client.port,
            destination_port: 80,
            seq: client.seq,
            ack: client.ack,
            flags,
            window: 0x4000,
            urgent: 0,
            options,
        };
        let mut packet = [0; 256];
        let checksum = Checksum::Software(Sum::of_parts([payload]));
        let layout = emit_tcp(&mut packet, &path, &header, payload.len(), checksum);
        let end = layout.len + payload.len();
        packet[layout.len..end].copy_from_slice(payload);
        // The ring holds what all slots can have under way.
        let staged = self.link.stage_bytes(&packet[..end]);
        debug_assert!(staged.is_ok(), "a ring too small");
        self.tally.sent += 1;
    }
}

/// What is measured: over which link, for how many clients at once, who ask for what.
struct Case<'a> {
    bench: &'a str,
    effort: Effort,
    report: &'a Report,
    link: MemoryLinkConfig,
    memory: MemoryVariant,
    slots: u16,
    wishes: Vec<Wish>,
}

/// Nothing at all within this time is a defect.
const PATIENCE: Duration = Duration::from_secs(5);

impl Case<'_> {
    /// Connections per second of one core's time inside the engine: TCP, the service, and the engine's side of the link,
    /// which is most of what a link in memory costs. The clients' time is not in it.
    fn measure<S: Service>(&self, make: impl FnOnce(&Pool) -> Result<S, Complaint>) -> Result<(), Complaint> {
        let Self { bench, effort, report, link, memory, slots, wishes } = self;
        let (ours, theirs) = pair(8_192, *link);
        let mut disk = MemoryDisk::new(MemoryDiskConfig::default());
        disk.insert(ROOT, "object", Object::untouched(OBJECT_BYTES as u64));
        let pool = world::pool()?;
        let service = make(&pool)?;
        let parts = (ours, disk, pool);
        let mut engine: EngineOf<_, _, S> =
            world::engine_sending(*memory, IpAddr::V4(SERVER), parts, None, MEMORY_FRAMES_MAX, service)?;
        let mut clients = Clients::new(theirs, wishes.clone(), *slots);
        for slot in 0..usize::from(*slots) {
            clients.open(slot);
        }
        let (mut rates, mut gigabits) = (Vec::new(), Vec::new());
        for run in 0..=effort.runs {
            let seconds = if run == 0 { effort.seconds / 4.0 } else { effort.seconds };
            let (before, sent_before) = (clients.tally.connections, engine.counters().sent_bytes);
            let begun = Instant::now();
            let mut inside = 0.0;
            // The first packets of all are the first to touch their frames, which may take longer than a short run.
            let is_over = |count: u64| {
                begun.elapsed().as_secs_f64() >= seconds && (count > 0 || begun.elapsed() >= PATIENCE)
            };
            while !is_over(clients.tally.connections - before) {
                // Of this thread, and not of the clock on the wall: others may have the core meanwhile.
                let mark = thread_seconds();
                engine.turn();
                inside += thread_seconds() - mark;
                clients.turn().map_err(|why| format!("{why}; {:?}", engine.counters()))?;
            }
            let count = clients.tally.connections - before;
            if count == 0 {
                return Err(format!("nothing moves: {:?}, {:?}", clients.tally, engine.counters()).into());
            }
            #[expect(clippy::cast_precision_loss, reason = "rates for people")]
            if run > 0 {
                rates.push(count as f64 / inside);
                gigabits.push((engine.counters().sent_bytes - sent_before) as f64 * 8.0 / inside / 1e9);
            }
        }
        let tally = clients.tally;
        let counters = engine.counters();
        #[expect(clippy::cast_precision_loss, reason = "packets per connection, for people")]
        let each = |count: u64| (count as f64 / tally.connections as f64 * 100.0).round() / 100.0;
        let detail = json!({
            "spread": Spread::of(rates.clone()).json(),
            "gigabits": Spread::of(gigabits).json(),
            "connections": tally.connections,
            "at_once": slots,
            "measures": "CPU time of one core within the engine; the clients' share is left out",
            "packets_in": each(tally.sent),
            "packets_out": {
                "syn_ack": each(tally.syn_acks), "data": each(tally.data),
                "data_fin": each(tally.data_with_fin), "fin": each(tally.fins), "ack": each(tally.acks),
                "copied": each(counters.copied_packets), "replicas": each(counters.replica_packets),
            },
            "resent_bytes": counters.resent_bytes,
            "runs": effort.runs,
        });
        report.result(bench, Spread::of(rates).median, "1/s", &detail);
        Ok(())
    }
}

fn head(bytes: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\
         Content-Type: image/png\r\nContent-Length: {bytes}\r\nETag: \"0123456789abcdef\"\r\n\r\n"
    );
    head.into_bytes()
}

fn canned() -> Canned {
    let mut response = head(OBJECT_BYTES);
    response.resize(response.len() + OBJECT_BYTES, b'x');
    Canned(response)
}

/// Objects in memory, asked for by number, each behind a head that was written before.
struct Shelved(Vec<(Vec<u8>, Rc<sandstorm::Object>)>);

impl Shelved {
    fn new(pool: &Pool, sizes: &[usize]) -> Result<Self, Complaint> {
        // Small frames are for heads, copies and replicas too.
        let room = PoolLayout { large_count: 2_900, small_count: 3_000 };
        let mut shelf = sandstorm::Shelf::new(pool.clone(), room);
        let mut objects = Vec::new();
        for (number, &size) in (0..).zip(sizes) {
            let bytes: Vec<u8> = (0_u8..=250).cycle().take(size).collect();
            objects.push((head(size), shelf.put(sandstorm::Key::new(number), &bytes)?));
        }
        Ok(Self(objects))
    }
}

impl Service for Shelved {
    type Session = ();
    type Snapshot = ();

    fn on_connect(&mut self, _: Now, _: &Peer, _: &mut Actions) {}

    fn on_bytes(&mut self, _: Now, (): &mut (), bytes: &[u8], actions: &mut Actions) -> usize {
        if !bytes.ends_with(b"\r\n\r\n") {
            return 0;
        }
        let digits = bytes["GET /".len()..].iter().take_while(|byte| byte.is_ascii_digit());
        let number = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
        let (head, object) = &self.0[number];
        actions.send(head.clone());
        actions.send_memory(Rc::clone(object) as Rc<dyn Memory>, 0..object.len());
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

/// A thousand objects as the dissertation's trace has them, without its few of megabytes: nine in ten are smaller than
/// 25 KB. Sizes are spread evenly over their logarithms, and asked for in an order that mixes them.
fn mix() -> Vec<usize> {
    let spread = |at: usize, of: usize, least: f64, most: f64| {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "sizes of test objects"
        )]
        {
            (least * (most / least).powf(at as f64 / of as f64)) as usize
        }
    };
    (0..1_000_usize)
        .map(|index| index * 387 % 1_000)
        .map(|rank| match rank {
            0..900 => spread(rank, 900, 1_024.0, 25_000.0),
            _ => spread(rank - 900, 100, 25_000.0, 1_048_576.0),
        })
        .collect()
}

/// Objects in memory, in each way of memory into packets, over a link that leaves everything to us and one that cuts and
/// sums.
fn shelved(effort: Effort, report: &Report) -> Result<(), Complaint> {
    let superframes = MemoryLinkConfig { gather: Gather::HeadersOnly, ..MemoryLinkConfig::default() };
    let bare = MemoryLinkConfig { superframe_bytes_max: 0, checksum: false, ..superframes };
    let variants =
        [("gather", MemoryVariant::Gather), ("mem", MemoryVariant::Mem), ("pre", MemoryVariant::Pre)];
    let sizes = [1, 4, 8, 16, 24, 32, 64, 128, 256, 512];
    let cases = sizes.map(|kilobytes| (kilobytes.to_string(), vec![kilobytes << 10]));
    for (name, sizes) in cases.into_iter().chain([("mix".to_owned(), mix())]) {
        let largest = sizes.iter().copied().max().unwrap_or_default();
        for (link_name, link) in [("memory", bare), ("memory-superframes", superframes)] {
            for (variant, memory) in variants {
                let bench = format!("connections/{link_name}/{variant}/{name}");
                if !report.wants(&bench) || memory == MemoryVariant::Pre && link.superframe_bytes_max > 0 {
                    continue;
                }
                let wishes = sizes.iter().enumerate();
                let wishes = wishes.map(|(number, &size)| Wish::new(&number.to_string(), size)).collect();
                let slots = if largest > 32 << 10 { SLOTS / 8 } else { SLOTS };
                let case = Case { bench: &bench, effort, report, link, memory, slots, wishes };
                case.measure(|pool| Shelved::new(pool, &sizes))?;
            }
        }
    }
    Ok(())
}

/// A new connection for each request, over a link that sums and over one that does not.
pub(crate) fn connections(effort: Effort, report: &Report) -> Result<(), Complaint> {
    let summing = MemoryLinkConfig { gather: Gather::HeadersOnly, ..MemoryLinkConfig::default() };
    let bare = MemoryLinkConfig { gather: Gather::HeadersOnly, checksum: false, ..summing };
    let case = |bench, link| {
        let (memory, wishes) = (MemoryVariant::Gather, vec![Wish::new("object", OBJECT_BYTES)]);
        Case { bench, effort, report, link, memory, slots: SLOTS, wishes }
    };
    if report.wants("connections/canned") {
        case("connections/canned", summing).measure(|_| Ok(canned()))?;
    }
    if report.wants("connections/summed-here") {
        case("connections/summed-here", bare).measure(|_| Ok(canned()))?;
    }
    if report.wants("connections/atlas") {
        case("connections/atlas", summing).measure(|_| world::service())?;
    }
    shelved(effort, report)
}
