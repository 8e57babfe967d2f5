//! The packets of a short connection without a stack: what the link and the kernel behind it take in any case.
//!
//! ```text
//!   SYN      ──▶  SYN-ACK
//!   request  ──▶  response, FIN with its last packet          ten segments of it (RFC 6928),
//!   ACK      ──▶  the next of it, while there is more         and then twice what was acknowledged: slow start
//!   FIN      ──▶  ACK
//! ```
//!
//! It remembers how much it sent to each port and nothing else: every number in its answers is read off the packet that it
//! answers. Nothing is ever sent again, no timer runs, no request is looked at. It sends by the link's own means, superframes
//! and checksums included, one doorbell for what came in one batch, and sleeps when there is nothing.

use core::net::{IpAddr, Ipv4Addr};
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use dma::{Pool, PoolLayout, SharedFrame};
use link_afxdp::{AfxdpConfig, AfxdpQueue, Interface};
use link_packet::PacketConfig;
use link_tap::{TapDevice, TapSetup};
use platform::{ChecksumOffload, Headers, Link, Offload, Packet, Part, Parts, Segmentation};
use rustix::event::{PollFd, PollFlags, poll};
use vnet::VnetConfig;
use wire::checksum::Sum;
use wire::tcp::{Flags, Header, Options, SeqNum};
use wire::{Checksum, MacAddr, Path, emit_tcp};
use xdp::{AttachMode, Scope, Socket, Steering};

use crate::drain::Complaint;

const MSS: u32 = 1_460;
/// Of each connection, before an acknowledgement.
const WINDOW: u32 = 10 * MSS;
const ISS: SeqNum = SeqNum(1_000);
/// What is in one frame of the response.
const PIECE: usize = 16 << 10;
/// Ethernet and IPv4 without options.
const TCP_AT: usize = 34;
/// As the engine: packets taken before what they caused is sent.
const BATCH: usize = 64;

/// Serves objects of so many bytes at `address` of a TAP device that is made for it.
pub(super) fn on_tap(
    name: &str,
    address: Ipv4Addr,
    bytes: usize,
    stop: &AtomicBool,
    ready: &mpsc::Sender<()>,
) -> Result<(), Complaint> {
    let (mut device, mut queues) = TapDevice::create(Some(name), 1)?;
    device.bring_up(TapSetup::default())?;
    let queue = queues.pop().ok_or("a TAP without a queue")?;
    let link = queue.open(VnetConfig::default())?;
    ready.send(())?;
    Bare::new(link, &Pool::new(layout())?, address, bytes)?.run(stop)
}

/// Serves them on one end of a veth pair.
pub(super) fn on_afxdp(
    name: &str,
    address: Ipv4Addr,
    bytes: usize,
    stop: &AtomicBool,
    ready: &mpsc::Sender<()>,
) -> Result<(), Complaint> {
    let interface = Interface::named(name)?;
    let config = AfxdpConfig::default();
    let pool = Pool::with_chunks(layout(), config.chunk_count())?;
    let steering = Steering::load(Scope::OwnAddress, 1)?;
    steering.add_address(IpAddr::V4(address))?;
    let _attachment = steering.attach(interface.index, AttachMode::Native)?;
    let link = AfxdpQueue::new(Socket::create()?, interface, 0).open(&pool, config)?;
    steering.insert(0, link.descriptor().ok_or("the link cannot be slept on")?)?;
    ready.send(())?;
    Bare::new(link, &pool, address, bytes)?.run(stop)
}

/// Serves them there through a packet socket's rings, at a hardware address of its own.
pub(super) fn on_packet(
    name: &str,
    address: Ipv4Addr,
    bytes: usize,
    stop: &AtomicBool,
    ready: &mpsc::Sender<()>,
) -> Result<(), Complaint> {
    let queue = link_packet::open(name, 1)?.pop().ok_or("a link without a queue")?;
    let pool = Pool::new(layout())?;
    let link = queue.open(&pool, PacketConfig::default())?;
    ready.send(())?;
    Bare::new(link, &pool, address, bytes)?.run(stop)
}

fn layout() -> PoolLayout {
    PoolLayout { large_count: 64, small_count: 64 }
}

/// What there is to know of a packet that came.
enum Ask {
    Tcp {
        mac: MacAddr,
        ip: Ipv4Addr,
        header: Header,
        payload_bytes: u32,
    },
    /// The answer to an ARP request, ready.
    Arp([u8; 42]),
}

struct Bare<L> {
    link: L,
    mac: MacAddr,
    address: Ipv4Addr,
    chunk_max: u32,
    checksum: bool,
    content: Vec<SharedFrame>,
    /// Head and content.
    bytes: u32,
    /// How much went to each port, for each last octet of an address.
    sent: Vec<u32>,
}

impl<L: Link> Bare<L> {
    fn new(link: L, pool: &Pool, address: Ipv4Addr, bytes: usize) -> Result<Self, Complaint> {
        let head = format!(
            "HTTP/1.1 200 OK\r\nServer: bare\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\n\
             Content-Type: application/octet-stream\r\nAccept-Ranges: bytes\r\nETag: \"0123456789abcdef\"\r\n\
             Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: {bytes}\r\n\r\n"
        );
        let mut response = head.into_bytes();
        response.resize(response.len() + bytes, b'x');
        let content = response.chunks(PIECE).map(|piece| {
            let mut frame = pool.acquire_large().ok_or("no frame is free")?;
            frame.bytes_mut()[..piece.len()].copy_from_slice(piece);
            Ok(frame.share())
        });
        let capabilities = link.capabilities();
        Ok(Self {
            mac: MacAddr(capabilities.mac),
            address,
            // Whole segments, as a stack cuts them.
            chunk_max: capabilities.superframe_bytes_max.max(MSS) / MSS * MSS,
            checksum: capabilities.checksum,
            content: content.collect::<Result<_, Complaint>>()?,
            bytes: u32::try_from(response.len())?,
            sent: vec![0; 1 << 24],
            link,
        })
    }

    /// Until told to stop.
    fn run(&mut self, stop: &AtomicBool) -> Result<(), Complaint> {
        if !self.checksum {
            return Err("the link computes no checksums, and this loop none either".into());
        }
        while !stop.load(Ordering::Relaxed) {
            let mut count = 0;
            while count < BATCH
                && let Some(received) = self.link.receive()
            {
                count += 1;
                if let Some(ask) = parse(received.bytes, self.mac, self.address) {
                    self.answer(&ask);
                }
            }
            self.link.flush();
            self.link.reclaim();
            if count == 0 {
                let descriptor = self.link.descriptor().ok_or("the link cannot be slept on")?;
                let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
                poll(&mut [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)], Some(&timeout))?;
            }
        }
        let counters = self.link.counters();
        if counters.send_errors > 0 {
            return Err(format!("packets were refused: {counters:?}").into());
        }
        Ok(())
    }

    fn answer(&mut self, ask: &Ask) {
        let Ask::Tcp { mac, ip, header, payload_bytes } = ask else {
            if let Ask::Arp(reply) = ask {
                let _ = self.link.stage_bytes(reply);
            }
            return;
        };
        let flags = header.flags;
        let path = Path::new(self.mac, *mac, IpAddr::V4(self.address), IpAddr::V4(*ip));
        let peer = usize::from(ip.octets()[3]) << 16 | usize::from(header.source_port);
        if flags.contains(Flags::SYN) {
            self.sent[peer] = 0;
            let options = Options { mss: Some(1_460), window_scale: Some(7), ..Options::NONE };
            let reply = reply_to(header, ISS, header.seq + 1, Flags::SYN | Flags::ACK, options);
            return self.send(&path, &reply, 0..0);
        }
        if flags.contains(Flags::FIN) {
            let ack = header.seq + *payload_bytes + 1;
            return self.send(&path, &reply_to(header, header.ack, ack, Flags::ACK, Options::NONE), 0..0);
        }
        if flags.contains(Flags::RST) {
            return;
        }
        // A request, or an acknowledgement of some of the response.
        let (sent, acknowledged) = (self.sent[peer], header.ack - (ISS + 1));
        if *payload_bytes == 0 && (sent == 0 || sent == self.bytes) {
            return;
        }
        let acknowledged = u32::try_from(acknowledged).unwrap_or(0);
        let end = self.bytes.min(2 * acknowledged + WINDOW);
        let mut at = sent;
        while at < end {
            let next = end.min(at + self.chunk_max);
            let flags = Flags::ACK | Flags::PSH;
            let flags = if next == self.bytes { flags | Flags::FIN } else { flags };
            let (seq, ack) = (ISS + 1 + at, header.seq + *payload_bytes);
            self.send(&path, &reply_to(header, seq, ack, flags, Options::NONE), at..next);
            at = next;
        }
        self.sent[peer] = at.max(sent);
    }

    fn send(&mut self, path: &Path, header: &Header, range: core::ops::Range<u32>) {
        let bytes = range.len();
        let mut headers = Headers::new();
        let checksum = if bytes == 0 { Checksum::Software(Sum::of(&[])) } else { Checksum::Offload };
        let layout = emit_tcp(headers.room_mut(), path, header, bytes, checksum);
        headers.set_len(layout.len);
        let mut offload = Offload::default();
        let mut parts = Parts::new();
        if bytes > 0 {
            offload.checksum = Some(ChecksumOffload { start: layout.l4, field: layout.checksum_field });
            if bytes > MSS as usize {
                offload.segmentation = Some(Segmentation { mss: 1_460, ipv6: false });
            }
            let (mut at, end) = (range.start as usize, range.end as usize);
            while at < end {
                let start = at % PIECE;
                let len = (PIECE - start).min(end - at);
                let [start, count] = [start, len].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
                parts.push(Part { frame: self.content[at / PIECE].clone(), start, len: count });
                at += len;
            }
        }
        let mut packet = Packet { headers, parts, offload };
        while self.link.stage(&mut packet).is_err() {
            self.link.flush();
            self.link.reclaim();
        }
    }
}

fn reply_to(header: &Header, seq: SeqNum, ack: SeqNum, flags: Flags, options: Options) -> Header {
    Header {
        source_port: header.destination_port,
        destination_port: header.source_port,
        seq,
        ack,
        flags,
        window: 0x4000,
        urgent: 0,
        options,
    }
}

/// What a packet asks; nothing, if it is not for us.
fn parse(frame: &[u8], mac: MacAddr, address: Ipv4Addr) -> Option<Ask> {
    let ether_type = frame.get(12..14)?;
    if ether_type == [0x08, 0x06] {
        // RFC 826: who has our address?
        if frame.get(20..22)? != [0, 1] || frame.get(38..42)? != address.octets() {
            return None;
        }
        let mut reply = [0; 42];
        reply.copy_from_slice(frame.get(..42)?);
        reply.copy_within(6..12, 0);
        reply[6..12].copy_from_slice(&mac.0);
        reply[21] = 2;
        reply.copy_within(22..32, 32);
        reply[22..28].copy_from_slice(&mac.0);
        reply[28..32].copy_from_slice(&address.octets());
        return Some(Ask::Arp(reply));
    }
    if ether_type != [0x08, 0x00] || frame.get(23)? != &6 || frame.get(30..34)? != address.octets() {
        return None;
    }
    let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
    let (header, data_at) = Header::parse(frame.get(TCP_AT..14 + total)?).ok()?;
    let source: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
    let ip: [u8; 4] = frame.get(26..30)?.try_into().ok()?;
    let payload_bytes = u32::try_from(total - 20 - data_at).ok()?;
    Some(Ask::Tcp { mac: MacAddr(source), ip: ip.into(), header, payload_bytes })
}
