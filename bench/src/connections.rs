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
//! Twice: with a service that answers every head with the same bytes, which leaves the engine's and TCP's own work, and
//! with the production service over a disk in memory. Packets are counted by kind, both ways, so that one too many shows.

use core::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

use disk_memory::{MemoryDisk, MemoryDiskConfig, Object};
use link_memory::{Delivery, Gather, MemoryLink, MemoryLinkConfig, pair};
use platform::{FileMeta, Link as _, OpenError};
use serde_json::json;
use turn::{Actions, End, FileHandle, Now, Peer, Service, Transfer};
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
/// A multiple of [`SLOTS`]: a port belongs to one slot.
const PORTS: u16 = 64_512;
const OBJECT_BYTES: usize = 1_024;
const REQUEST: &[u8] = b"GET /object HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
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
    came: usize,
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

struct Clients {
    link: MemoryLink,
    clients: Vec<Client>,
    /// Bytes of the first response: all are the same but for their dates, which are equally long.
    response_bytes: Option<usize>,
    next_seq: u32,
    tally: Tally,
}

impl Clients {
    fn new(link: MemoryLink) -> Self {
        let clients = (0..SLOTS)
            .map(|slot| Client {
                port: FIRST_PORT + slot,
                phase: Phase::Opening,
                seq: SeqNum(0),
                ack: SeqNum(0),
                came: 0,
            })
            .collect();
        Self { link, clients, response_bytes: None, next_seq: 1, tally: Tally::default() }
    }

    /// A new connection in this slot, from its next port, with a number beyond all that the port has used: RFC 6191
    /// and RFC 9293 §3.6.1 let it follow one in TIME-WAIT.
    fn open(&mut self, slot: usize) {
        self.next_seq = self.next_seq.wrapping_add(4_096);
        let client = &mut self.clients[slot];
        let place = client.port - FIRST_PORT + SLOTS;
        client.port = FIRST_PORT + if place >= PORTS { place - PORTS } else { place };
        client.phase = Phase::Opening;
        client.seq = SeqNum(self.next_seq);
        client.came = 0;
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
        let slot = usize::from((header.destination_port - FIRST_PORT) % SLOTS);
        let client = &mut self.clients[slot];
        if header.flags.contains(Flags::RST) || client.port != header.destination_port {
            return Err(format!("{client:?} was not to get {header:?}").into());
        }
        if header.flags.contains(Flags::SYN) {
            self.tally.syn_acks += 1;
            client.ack = header.seq + 1;
            client.phase = Phase::Asked;
            self.send(slot, Flags::ACK, Options::NONE, b"");
            self.send(slot, Flags::ACK | Flags::PSH, Options::NONE, REQUEST);
            self.clients[slot].seq += u32::try_from(REQUEST.len())?;
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
        client.came += payload_bytes;
        if fin {
            let expected = *self.response_bytes.get_or_insert(client.came);
            if client.came != expected || expected <= OBJECT_BYTES {
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
        let client = &self.clients[slot];
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

/// Connections per second of one core's time inside the engine: TCP, the service, and the engine's side of the link, which
/// is most of what a link in memory costs. The clients' time is not in it.
fn measure<S: Service>(
    bench: &str,
    service: S,
    effort: Effort,
    report: &Report,
    link: MemoryLinkConfig,
) -> Result<(), Complaint> {
    let (ours, theirs) = pair(8_192, link);
    let mut disk = MemoryDisk::new(MemoryDiskConfig::default());
    disk.insert(ROOT, "object", Object::untouched(OBJECT_BYTES as u64));
    let parts = (ours, disk, world::pool()?);
    let address: Ipv4Addr = SERVER;
    let mut engine: EngineOf<_, _, S> =
        world::engine_of(IpAddr::V4(address), parts, None, MEMORY_FRAMES_MAX, service)?;
    let mut clients = Clients::new(theirs);
    for slot in 0..usize::from(SLOTS) {
        clients.open(slot);
    }
    let mut rates = Vec::new();
    for run in 0..=effort.runs {
        let seconds = if run == 0 { effort.seconds / 4.0 } else { effort.seconds };
        let before = clients.tally.connections;
        let begun = Instant::now();
        let mut inside = 0.0;
        while begun.elapsed().as_secs_f64() < seconds {
            // Of this thread, and not of the clock on the wall: others may have the core meanwhile.
            let before = thread_seconds();
            engine.turn();
            inside += thread_seconds() - before;
            clients.turn().map_err(|why| format!("{why}; {:?}", engine.counters()))?;
        }
        let count = clients.tally.connections - before;
        if count == 0 {
            return Err(format!("nothing moves: {:?}, {:?}", clients.tally, engine.counters()).into());
        }
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        if run > 0 {
            rates.push(count as f64 / inside);
        }
    }
    let tally = clients.tally;
    #[expect(clippy::cast_precision_loss, reason = "packets per connection, for people")]
    let each = |count: u64| (count as f64 / tally.connections as f64 * 100.0).round() / 100.0;
    let detail = json!({
        "spread": Spread::of(rates.clone()).json(),
        "connections": tally.connections,
        "object_bytes": OBJECT_BYTES,
        "at_once": SLOTS,
        "measures": "CPU time of one core within the engine; the clients' share is left out",
        "packets_in": each(tally.sent),
        "packets_out": {
            "syn_ack": each(tally.syn_acks), "data": each(tally.data), "data_fin": each(tally.data_with_fin),
            "fin": each(tally.fins), "ack": each(tally.acks),
        },
        "runs": effort.runs,
    });
    report.result(bench, Spread::of(rates).median, "1/s", &detail);
    Ok(())
}

fn canned() -> Canned {
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\
         Content-Type: image/png\r\nContent-Length: {OBJECT_BYTES}\r\nETag: \"0123456789abcdef\"\r\n\r\n"
    );
    let mut response = head.into_bytes();
    response.resize(response.len() + OBJECT_BYTES, b'x');
    Canned(response)
}

/// A new connection for each request, over a link that sums and over one that does not.
pub(crate) fn connections(effort: Effort, report: &Report) -> Result<(), Complaint> {
    let summing = MemoryLinkConfig { gather: Gather::HeadersOnly, ..MemoryLinkConfig::default() };
    let bare = MemoryLinkConfig { gather: Gather::HeadersOnly, checksum: false, ..summing };
    if report.wants("connections/canned") {
        measure("connections/canned", canned(), effort, report, summing)?;
    }
    if report.wants("connections/summed-here") {
        measure("connections/summed-here", canned(), effort, report, bare)?;
    }
    if report.wants("connections/atlas") {
        measure("connections/atlas", world::service()?, effort, report, summing)?;
    }
    Ok(())
}
