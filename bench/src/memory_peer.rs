//! The other end of a memory link: many clients that ask for objects and acknowledge what comes.
//!
//! The link loses and reorders nothing, so a client here is a handful of counters: what it costs is measured apart
//! from the server, and is kept small so that a run is mostly server. A *verifying* peer opens every record and compares
//! every byte; a *counting* one looks at headers only.

use core::net::{IpAddr, Ipv4Addr};

use aead::AwsLc;
use handshake::{ClientHandshake, ClientOptions, ClientSettings, Progress, Trust};
use lab::load::records::RecordCounter;
use link_memory::{Delivery, MemoryLink};
use platform::Link as _;
use tls::{ContentType, ExpandedKeys, Message, Opener, Scratch, Sealer};
use wire::checksum::Sum;
use wire::tcp::{Flags, Header, Options, SeqNum};
use wire::{Checksum, MacAddr, Path, emit_tcp};

use crate::drain::Complaint;

/// Ethernet and IPv4 without options: where TCP begins in every packet on this link.
const TCP_AT: usize = 34;
const WINDOW_SCALE: u8 = 10;
const FIRST_PORT: u16 = 10_000;

/// What the peer does with payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Counts it.
    Count,
    /// Opens it and compares every byte with the object's.
    Verify,
}

enum Phase {
    Opening,
    Shaking(Box<ClientHandshake>),
    /// Reads its first response whole, to learn how long responses are.
    Learning,
    Steady,
}

struct Client {
    port: u16,
    phase: Phase,
    seq: SeqNum,
    ack: SeqNum,
    sealer: Option<Sealer>,
    opener: Option<Opener>,
    counter: RecordCounter,
    /// Plaintext of a response, once known: its head and the object.
    response_bytes: u64,
    /// Plaintext of the response under way that has come, on a plain connection.
    came: u64,
    /// Plaintext of the response under way.
    head: Vec<u8>,
    body_bytes: u64,
    ack_due: bool,
}

/// How the peer reaches the server, and what it asks for.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) local: Ipv4Addr,
    pub(crate) server: Ipv4Addr,
    pub(crate) port: u16,
    pub(crate) secure: bool,
    pub(crate) path: String,
    pub(crate) object_bytes: u64,
    pub(crate) look: Look,
}

pub(crate) struct MemoryPeer {
    link: MemoryLink,
    target: Target,
    settings: ClientSettings,
    clients: Vec<Client>,
    keys: ExpandedKeys<AwsLc>,
    /// Out while a record is opened.
    scratch: Option<Scratch>,
    gathered: Vec<u8>,
    expected: Vec<u8>,
    fill: fn(u64, &mut [u8]),
    pub(crate) requests: u64,
    pub(crate) overruns: u64,
    pub(crate) wire_bytes: u64,
}

impl MemoryPeer {
    pub(crate) fn new(link: MemoryLink, target: Target, fill: fn(u64, &mut [u8])) -> Result<Self, Complaint> {
        Ok(Self {
            link,
            target,
            settings: ClientSettings::new(Trust::Anyone, ClientOptions::default())?,
            clients: Vec::new(),
            keys: ExpandedKeys::new(4_096),
            scratch: Some(Scratch::new()),
            gathered: Vec::new(),
            expected: Vec::new(),
            fill,
            requests: 0,
            overruns: 0,
            wire_bytes: 0,
        })
    }

    /// Opens one more connection.
    pub(crate) fn connect(&mut self) -> Result<(), Complaint> {
        let port = FIRST_PORT + u16::try_from(self.clients.len())?;
        let seq = SeqNum(u32::from(port) * 7_919);
        self.clients.push(Client {
            port,
            phase: Phase::Opening,
            seq,
            ack: SeqNum(0),
            sealer: None,
            opener: None,
            counter: RecordCounter::new(tls::Version::Tls13, tls::Suite::Aes128Gcm),
            response_bytes: 0,
            came: 0,
            head: Vec::new(),
            body_bytes: 0,
            ack_due: false,
        });
        let options = Options { mss: Some(1_460), window_scale: Some(WINDOW_SCALE), ..Options::NONE };
        self.send(self.clients.len() - 1, Flags::SYN, options, &[]);
        Ok(())
    }

    /// Connections that have had their first response.
    pub(crate) fn steady(&self) -> usize {
        self.clients.iter().filter(|client| matches!(client.phase, Phase::Steady)).count()
    }

    /// Takes everything that has arrived, and answers. True when something had.
    pub(crate) fn turn(&mut self) -> Result<bool, Complaint> {
        let mut busy = false;
        while let Some(delivery) = self.link.receive_packet() {
            busy = true;
            self.on_delivery(&delivery)?;
        }
        // One acknowledgment a batch, as a kernel with receive offload would send.
        for index in 0..self.clients.len() {
            if self.clients[index].ack_due {
                self.send(index, Flags::ACK, Options::NONE, &[]);
            }
        }
        self.link.flush();
        self.link.reclaim();
        Ok(busy)
    }

    fn on_delivery(&mut self, delivery: &Delivery) -> Result<(), Complaint> {
        let headers = delivery.headers();
        if headers.get(12..14) != Some(&[0x08, 0x00]) || headers.get(23) != Some(&6) {
            return Ok(());
        }
        let (header, data_at) = Header::parse(&headers[TCP_AT..])?;
        let index = usize::from(header.destination_port - FIRST_PORT);
        let inline = &headers[TCP_AT + data_at..];
        let payload_bytes = delivery.bytes() - TCP_AT - data_at;
        let Some(client) = self.clients.get_mut(index) else { return Ok(()) };
        if header.flags.contains(Flags::RST) {
            return Err(format!(
                "the server reset connection {index} within a response of {} bytes",
                client.came
            )
            .into());
        }
        if matches!(client.phase, Phase::Opening) {
            if !header.flags.contains(Flags::SYN | Flags::ACK) {
                return Err("a connection began without SYN and ACK".into());
            }
            client.ack = header.seq + 1;
            client.seq += 1;
            return self.opened(index);
        }
        if payload_bytes == 0 {
            return Ok(());
        }
        if header.seq != client.ack {
            return Err(format!("a hole at {:?} in a link without loss: {header:?}", client.ack).into());
        }
        client.ack += u32::try_from(payload_bytes)?;
        client.ack_due = true;
        self.wire_bytes += payload_bytes as u64;
        if self.target.look == Look::Count && matches!(client.phase, Phase::Steady) {
            let done = if client.sealer.is_some() {
                client.counter.take(inline);
                delivery.payload().for_each(|piece| client.counter.take(piece));
                client.counter.reached(client.response_bytes)
            } else {
                client.came += payload_bytes as u64;
                (client.came <= client.response_bytes).then_some(client.came == client.response_bytes)
            };
            if done.ok_or("a response became longer than the first one")? {
                self.requests += 1;
                return self.request(index);
            }
            return Ok(());
        }
        let mut gathered = core::mem::take(&mut self.gathered);
        gathered.clear();
        gathered.extend_from_slice(inline);
        for piece in delivery.payload() {
            gathered.extend_from_slice(piece);
        }
        let done = self.on_payload(index, &gathered);
        self.gathered = gathered;
        done
    }

    fn opened(&mut self, index: usize) -> Result<(), Complaint> {
        if !self.target.secure {
            self.clients[index].phase = Phase::Learning;
            self.send(index, Flags::ACK, Options::NONE, &[]);
            return self.request(index);
        }
        let mut handshake = Box::new(ClientHandshake::new(&self.settings, "localhost")?);
        let _ = handshake.on_bytes(&[]);
        let hello = handshake.take_output();
        self.clients[index].phase = Phase::Shaking(handshake);
        self.send(index, Flags::ACK | Flags::PSH, Options::NONE, &hello);
        Ok(())
    }

    fn on_payload(&mut self, index: usize, bytes: &[u8]) -> Result<(), Complaint> {
        let client = &mut self.clients[index];
        if let Phase::Shaking(handshake) = &mut client.phase {
            let progress = handshake.on_bytes(bytes);
            let output = handshake.take_output();
            match progress {
                Progress::Continue => {
                    if !output.is_empty() {
                        self.send(index, Flags::ACK | Flags::PSH, Options::NONE, &output);
                    }
                }
                Progress::Established(established) => {
                    let (established, _) = *established;
                    client.sealer = Some(established.sealer);
                    client.opener = Some(established.opener);
                    client.phase = Phase::Learning;
                    self.send(index, Flags::ACK | Flags::PSH, Options::NONE, &output);
                    self.on_payload(index, &established.leftover)?;
                    return self.request(index);
                }
                Progress::Failed(error) => return Err(error.into()),
            }
            return Ok(());
        }
        let mut rest = bytes;
        match client.opener.take() {
            None => {
                self.on_plaintext(index, bytes)?;
            }
            Some(mut opener) => {
                let mut scratch = self.scratch.take().ok_or("a record is opened within a record")?;
                while let Some(message) = opener.poll(&mut self.keys, &mut scratch, &mut rest)? {
                    if let Message::Data(plaintext) = message {
                        self.on_plaintext(index, plaintext)?;
                    }
                }
                self.scratch = Some(scratch);
                self.clients[index].opener = Some(opener);
            }
        }
        let client = &mut self.clients[index];
        if client.body_bytes == self.target.object_bytes && !client.head.is_empty() {
            client.response_bytes = client.head.len() as u64 + client.body_bytes;
            client.phase = Phase::Steady;
            self.requests += 1;
            return self.request(index);
        }
        Ok(())
    }

    fn on_plaintext(&mut self, index: usize, bytes: &[u8]) -> Result<(), Complaint> {
        let client = &mut self.clients[index];
        let mut body = bytes;
        if !client.head.ends_with(b"\r\n\r\n") {
            client.head.extend_from_slice(bytes);
            let Some(at) = client.head.windows(4).position(|window| window == b"\r\n\r\n") else {
                return Ok(());
            };
            body = &bytes[bytes.len() - (client.head.len() - at - 4)..];
            client.head.truncate(at + 4);
            if !client.head.starts_with(b"HTTP/1.1 200") {
                return Err(String::from_utf8_lossy(&client.head).into_owned().into());
            }
        }
        if self.target.look == Look::Verify {
            self.expected.resize(body.len(), 0);
            (self.fill)(client.body_bytes, &mut self.expected);
            if self.expected != body {
                return Err(format!("connection {index}: wrong bytes from {}", client.body_bytes).into());
            }
        }
        client.body_bytes += body.len() as u64;
        if client.body_bytes > self.target.object_bytes {
            return Err("a response is longer than its object".into());
        }
        Ok(())
    }

    fn request(&mut self, index: usize) -> Result<(), Complaint> {
        let head = format!("GET {} HTTP/1.1\r\nHost: bench\r\n\r\n", self.target.path);
        let client = &mut self.clients[index];
        client.head.clear();
        client.body_bytes = 0;
        client.came = 0;
        let Some(sealer) = &mut client.sealer else {
            self.send(index, Flags::ACK | Flags::PSH, Options::NONE, head.as_bytes());
            return Ok(());
        };
        let layout = sealer.layout();
        let mut record = vec![0; layout.sealed_bytes(head.len())];
        let payload = layout.head_bytes..layout.head_bytes + head.len();
        record[payload.clone()].copy_from_slice(head.as_bytes());
        let number = sealer.bind()?;
        sealer.seal(&mut self.keys, number, ContentType::ApplicationData, &mut record, payload)?;
        self.send(index, Flags::ACK | Flags::PSH, Options::NONE, &record);
        Ok(())
    }

    fn send(&mut self, index: usize, flags: Flags, options: Options, payload: &[u8]) {
        let client = &mut self.clients[index];
        client.ack_due = false;
        let mac = |last| MacAddr([2, 0, 0, 0, 0, last]);
        let source = IpAddr::V4(self.target.local);
        let path = Path::new(mac(2), mac(1), source, IpAddr::V4(self.target.server));
        for (piece, bytes) in
            payload.chunks(1_460).enumerate().chain(payload.is_empty().then_some((0, &[][..])))
        {
            let header = Header {
                source_port: client.port,
                destination_port: self.target.port,
                seq: client.seq + u32::try_from(piece * 1_460).expect("a request is short"),
                ack: client.ack,
                flags,
                window: 0xFFFF,
                urgent: 0,
                options,
            };
            let mut packet = [0; 128 + 1_460];
            let sum = Sum::of_parts(core::iter::once(bytes));
            let layout = emit_tcp(&mut packet, &path, &header, bytes.len(), Checksum::Software(sum));
            packet[layout.len..layout.len + bytes.len()].copy_from_slice(bytes);
            // The ring is sized for what the connections can have under way; a server that stalls fills it, and then
            // its silence is noticed.
            self.overruns += u64::from(self.link.stage_bytes(&packet[..layout.len + bytes.len()]).is_err());
        }
        client.seq += u32::try_from(payload.len()).expect("a request is short");
    }
}
