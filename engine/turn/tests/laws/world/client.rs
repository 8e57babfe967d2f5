//! A client: our own TCP opened actively, a handshake, and somebody who reads or does not.

use aead::AwsLc;
use clock::Instant;
use core::net::{IpAddr, SocketAddr};
use handshake::{ClientHandshake, ClientSettings, Progress};
use tcp::{Connection, Events, Outgoing, State};
use tls::{ContentType, ExpandedKeys, KeyUpdateRequest, Message, Opener, Scratch, Sealer};
use wire::checksum::Sum;
use wire::tcp::{Header, SeqNum};
use wire::{Checksum, HEADERS_BYTES_MAX, MacAddr, Path, emit_tcp};

/// What lies between the client and its TCP.
enum Security {
    Plain,
    Shaking(Box<ClientHandshake>),
    Records {
        sealer: Box<Sealer>,
        opener: Box<Opener>,
    },
    /// While records are being worked on.
    Taken,
}

/// One connection of one client.
pub(crate) struct Client {
    pub(crate) tcp: Connection,
    pub(crate) config: tcp::Config,
    pub(crate) local: SocketAddr,
    remote: SocketAddr,
    mac: MacAddr,
    security: Security,
    /// All that was ever to be sent, from stream offset 0 on.
    stream: Vec<u8>,
    /// Lines that wait for the handshake.
    waiting: Vec<u8>,
    /// Arrived and not read.
    unread: Vec<u8>,
    /// Reads what arrives; otherwise its window closes.
    pub(crate) reads: bool,
    /// Says nothing any more, and hears nothing.
    pub(crate) is_gone: bool,
    finishes: bool,
    /// What was read, in plaintext.
    pub(crate) heard: Vec<u8>,
    pub(crate) was_reset: bool,
    pub(crate) timed_out: bool,
    pub(crate) peer_finished: bool,
    pub(crate) close_notified: bool,
    pub(crate) key_updates_heard: usize,
    pub(crate) failure: Option<String>,
}

/// What all clients share.
pub(crate) struct Trove {
    pub(crate) keys: ExpandedKeys<AwsLc>,
    pub(crate) scratch: Scratch,
}

impl Client {
    pub(crate) fn new(
        now: Instant,
        config: tcp::Config,
        (mac, local, remote): (MacAddr, SocketAddr, SocketAddr),
        settings: Option<&ClientSettings>,
    ) -> Self {
        let iss = SeqNum(u32::from(local.port()).wrapping_mul(0x9E37_79B9));
        let security = match settings {
            None => Security::Plain,
            Some(settings) => {
                Security::Shaking(Box::new(ClientHandshake::new(settings, "localhost").expect("settings")))
            }
        };
        let mut client = Self {
            tcp: Connection::connect(&config, now, local.port(), remote.port(), iss),
            config,
            local,
            remote,
            mac,
            security,
            stream: Vec::new(),
            waiting: Vec::new(),
            unread: Vec::new(),
            reads: true,
            is_gone: false,
            finishes: false,
            heard: Vec::new(),
            was_reset: false,
            timed_out: false,
            peer_finished: false,
            close_notified: false,
            key_updates_heard: 0,
            failure: None,
        };
        if let Security::Shaking(handshake) = &mut client.security {
            client.stream.extend(handshake.take_output());
        }
        client
    }

    pub(crate) fn is_established(&self) -> bool {
        matches!(self.security, Security::Plain | Security::Records { .. })
            && !matches!(self.tcp.state(), State::SynSent | State::Closed)
    }

    /// Bytes on the connection as they are, whatever it is.
    pub(crate) fn say_raw(&mut self, bytes: &[u8]) {
        self.stream.extend_from_slice(bytes);
    }

    /// Plaintext, sealed if the connection is.
    pub(crate) fn say(&mut self, trove: &mut Trove, bytes: &[u8]) {
        match &mut self.security {
            Security::Plain => self.stream.extend_from_slice(bytes),
            Security::Shaking(_) | Security::Taken => self.waiting.extend_from_slice(bytes),
            Security::Records { sealer, .. } => {
                for piece in bytes.chunks(16_384) {
                    let layout = sealer.layout();
                    let mut record = vec![0; layout.sealed_bytes(piece.len())];
                    let payload = layout.head_bytes..layout.head_bytes + piece.len();
                    record[payload.clone()].copy_from_slice(piece);
                    let number = sealer.bind().expect("a number");
                    sealer
                        .seal(&mut trove.keys, number, ContentType::ApplicationData, &mut record, payload)
                        .expect("a record");
                    self.stream.extend_from_slice(&record);
                }
            }
        }
    }

    pub(crate) fn update_keys(&mut self, trove: &mut Trove, request: KeyUpdateRequest) {
        let Security::Records { sealer, .. } = &mut self.security else { panic!("no records yet") };
        let record = sealer.seal_key_update(&mut trove.keys, request).expect("a key update");
        self.stream.extend_from_slice(record.as_bytes());
    }

    /// No more bytes from here.
    pub(crate) fn finish(&mut self) {
        self.finishes = true;
    }

    pub(crate) fn on_segment(&mut self, now: Instant, header: &Header, payload: &[u8], trove: &mut Trove) {
        let unread = &mut self.unread;
        let events = self.tcp.on_segment(&self.config, now, header, payload, &mut |bytes| {
            unread.extend_from_slice(bytes);
        });
        self.on_events(events);
        self.read(trove);
    }

    fn on_events(&mut self, events: Events) {
        self.was_reset |= events.contains(Events::RESET);
        self.timed_out |= events.contains(Events::TIMED_OUT);
        self.peer_finished |= events.contains(Events::PEER_FINISHED);
    }

    /// Reads what there is, if it reads at all.
    pub(crate) fn read(&mut self, trove: &mut Trove) {
        if self.reads {
            let bytes = core::mem::take(&mut self.unread);
            self.on_bytes(&bytes, trove);
        }
        let taken = u32::try_from(self.unread.len()).expect("within the window");
        self.tcp.set_receive_window(self.config.receive_window.saturating_sub(taken));
    }

    fn on_bytes(&mut self, bytes: &[u8], trove: &mut Trove) {
        if bytes.is_empty() || self.failure.is_some() {
            return;
        }
        match core::mem::replace(&mut self.security, Security::Taken) {
            Security::Plain => {
                self.heard.extend_from_slice(bytes);
                self.security = Security::Plain;
            }
            Security::Shaking(mut handshake) => {
                let progress = handshake.on_bytes(bytes);
                self.stream.extend(handshake.take_output());
                match progress {
                    Progress::Continue => self.security = Security::Shaking(handshake),
                    Progress::Failed(error) => self.failure = Some(error.to_string()),
                    Progress::Established(established) => {
                        let (established, _) = *established;
                        self.security = Security::Records {
                            sealer: Box::new(established.sealer),
                            opener: Box::new(established.opener),
                        };
                        let waiting = core::mem::take(&mut self.waiting);
                        if !waiting.is_empty() {
                            self.say(trove, &waiting);
                        }
                        self.on_bytes(&established.leftover, trove);
                    }
                }
            }
            Security::Records { mut sealer, mut opener } => {
                let mut rest = bytes;
                loop {
                    match opener.poll(&mut trove.keys, &mut trove.scratch, &mut rest) {
                        Ok(None) => break,
                        Ok(Some(Message::Data(data))) => self.heard.extend_from_slice(data),
                        Ok(Some(Message::CloseNotify)) => self.close_notified = true,
                        Ok(Some(Message::KeyUpdate(request))) => {
                            self.key_updates_heard += 1;
                            if request == KeyUpdateRequest::Requested {
                                sealer.on_key_update_requested();
                            }
                        }
                        Ok(Some(_)) => {}
                        Err(error) => {
                            self.failure = Some(error.to_string());
                            break;
                        }
                    }
                }
                self.security = Security::Records { sealer, opener };
            }
            Security::Taken => unreachable!("bytes are not worked on within their own work"),
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        if self.is_gone { Instant::NEVER } else { self.tcp.deadline().unwrap_or(Instant::NEVER) }
    }

    /// What it has to say now.
    pub(crate) fn poll(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        if self.is_gone {
            return;
        }
        if self.tcp.deadline().is_some_and(|deadline| deadline <= now) {
            let events = self.tcp.on_deadline(&self.config, now);
            self.on_events(events);
        }
        while let Some(range) = self.tcp.wanted(now, 65_535) {
            if !self.transmit(now, range, out) {
                break;
            }
        }
        loop {
            let left = self.stream.len() as u64 - self.tcp.reserved();
            let credit = self.tcp.credit(now).min(u32::try_from(left).unwrap_or(u32::MAX));
            if left == 0 || credit < self.tcp.read_threshold(left) {
                break;
            }
            let range = self.tcp.reserve(credit);
            if !self.transmit(now, range, out) {
                break;
            }
        }
        let all_said = self.tcp.reserved() == self.stream.len() as u64 && self.waiting.is_empty();
        if self.finishes && all_said && !self.tcp.is_finishing() && self.tcp.state() != State::SynSent {
            self.tcp.finish();
        }
        while let Some(outgoing) = self.tcp.poll_control(&self.config, now) {
            out.push(self.frame(&outgoing));
        }
    }

    fn transmit(&mut self, now: Instant, mut range: core::ops::Range<u64>, out: &mut Vec<Vec<u8>>) -> bool {
        let mss = u32::from(self.tcp.mss());
        while let Some(outgoing) = self.tcp.transmit(now, &mut range, mss) {
            out.push(self.frame(&outgoing));
        }
        if !range.is_empty() {
            self.tcp.surrender(range.clone());
        }
        range.is_empty()
    }

    fn frame(&self, outgoing: &Outgoing) -> Vec<u8> {
        let index = |offset| usize::try_from(offset).expect("a short stream");
        let payload = &self.stream[index(outgoing.range.start)..index(outgoing.range.end)];
        frame(self.mac, self.local, self.remote, &outgoing.header, payload)
    }
}

/// A segment as a frame to the server.
pub(crate) fn frame(
    mac: MacAddr,
    from: SocketAddr,
    to: SocketAddr,
    header: &Header,
    payload: &[u8],
) -> Vec<u8> {
    let path = Path::new(mac, super::SERVER_MAC, from.ip(), to.ip());
    let mut frame = vec![0; HEADERS_BYTES_MAX];
    let sum = Checksum::Software(Sum::of(payload));
    let layout = emit_tcp(&mut frame, &path, header, payload.len(), sum);
    frame.truncate(layout.len);
    frame.extend_from_slice(payload);
    frame
}

/// The addresses of the `index`-th client.
pub(crate) fn host(index: usize, ipv6: bool) -> (MacAddr, IpAddr) {
    let [high, low] = u16::try_from(index + 1).expect("few clients").to_be_bytes();
    let ip = if ipv6 {
        IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 1, u16::from_be_bytes([high, low])])
    } else {
        IpAddr::from([198, 18, 100 + high, low])
    };
    (MacAddr([2, 0, 0, 1, high, low]), ip)
}
