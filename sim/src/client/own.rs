//! Our own TCP as a client: the same state machine at both ends, opened actively.
//!
//! It proves nothing about what both ends get wrong alike; it is here for what only one of them gets wrong, and for the
//! active open itself.

use clock::Instant;
use core::net::SocketAddr;
use tcp::{Config, Connection, Events, State};
use wire::tcp::{Flags, Header, Options, SackBlocks, SeqNum, Timestamps};

use super::{Ended, Phase, Transport};
use crate::network::Frame;
use crate::packet::{Mac, Segment};
use crate::random::Dice;

/// Payload is handed over in pieces of at most this size: there is no link here that cuts.
const SEND_BYTES_MAX: u32 = 65_535;

/// Our own TCP with one connection.
#[derive(Debug)]
pub struct OwnTcp {
    local: (Mac, SocketAddr),
    server: (Mac, SocketAddr),
    config: Config,
    dice: Dice,
    open: Option<Open>,
    silent: bool,
    /// Segments that belong to no connection are answered.
    strays: Vec<Frame>,
}

#[derive(Debug)]
struct Open {
    tcp: Connection,
    local: (Mac, SocketAddr),
    remote: (Mac, SocketAddr),
    /// The stream from offset 0 on: requests are short.
    stream: Vec<u8>,
    /// Arrived and not read.
    ready: Vec<u8>,
    peer_finished: bool,
    finish: bool,
    ended: Option<Ended>,
}

impl OwnTcp {
    /// A TCP at `local`, whose port is the first to be used, for a server at `server`, whose port does not matter.
    #[must_use]
    pub fn new(local: (Mac, SocketAddr), server: (Mac, SocketAddr), config: Config, dice: Dice) -> Self {
        Self { local, server, config, dice, open: None, silent: false, strays: Vec::new() }
    }
}

impl Transport for OwnTcp {
    fn open(&mut self, now: Instant, port: u16) {
        let local = self.local;
        self.local.1.set_port(local.1.port().checked_add(1).unwrap_or(1_024));
        let mut remote = self.server;
        remote.1.set_port(port);
        let iss = SeqNum(u32::try_from(self.dice.number() >> 32).expect("32 bits"));
        let tcp = Connection::connect(&self.config, now, local.1.port(), port, iss);
        self.open = Some(Open {
            tcp,
            local,
            remote,
            stream: Vec::new(),
            ready: Vec::new(),
            peer_finished: false,
            finish: false,
            ended: None,
        });
        self.silent = false;
    }

    fn phase(&self) -> Phase {
        let Some(open) = &self.open else { return Phase::Ended(Ended::Aborted) };
        match (open.ended, open.tcp.state()) {
            (Some(how), _) => Phase::Ended(how),
            (None, State::SynSent | State::SynReceived) => Phase::Opening,
            (None, _) if open.peer_finished => Phase::PeerFinished,
            (None, _) => Phase::Open,
        }
    }

    fn send(&mut self, bytes: &[u8]) -> usize {
        let Some(open) = self.open.as_mut().filter(|open| !open.finish) else { return 0 };
        open.stream.extend_from_slice(bytes);
        bytes.len()
    }

    fn receive(&mut self, _: Instant, bytes_max: usize, out: &mut Vec<u8>) -> usize {
        let Some(open) = &mut self.open else { return 0 };
        let count = open.ready.len().min(bytes_max);
        out.extend(open.ready.drain(..count));
        if count > 0 {
            open.tell_room(&self.config);
        }
        count
    }

    fn finish(&mut self) {
        if let Some(open) = &mut self.open {
            open.finish = true;
        }
    }

    fn abort(&mut self, _: Instant) {
        if let Some(open) = &mut self.open {
            open.tcp.abort();
            open.ended.get_or_insert(Ended::Aborted);
        }
    }

    fn vanish(&mut self) {
        self.silent = true;
    }

    fn forget(&mut self) {
        self.open = None;
    }

    fn on_frame(&mut self, now: Instant, frame: &[u8]) {
        if self.silent {
            return;
        }
        let Ok((segment, payload)) = Segment::parse(frame) else { return };
        if segment.destination_mac != self.local.0 || segment.destination.ip() != self.local.1.ip() {
            return;
        }
        let header = to_header(&segment);
        let payload = &frame[payload];
        let ours = |open: &&mut Open| {
            open.local.1 == segment.destination && open.remote.1 == segment.source && open.ended.is_none()
        };
        if let Some(open) = self.open.as_mut().filter(ours) {
            let ready = &mut open.ready;
            let events = open.tcp.on_segment(&self.config, now, &header, payload, &mut |bytes| {
                ready.extend_from_slice(bytes);
            });
            open.on_events(events);
            open.tell_room(&self.config);
        } else if let Some(reset) =
            tcp::reset_for(&header, u32::try_from(payload.len()).expect("a frame is short"))
        {
            let way = (segment.destination_mac, segment.destination);
            self.strays.push(to_frame(way, (segment.source_mac, segment.source), &reset, &[]));
        }
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Frame>) {
        let before = out.len();
        out.append(&mut self.strays);
        if let Some(open) = &mut self.open {
            open.poll(&self.config, now, out);
        }
        if self.silent {
            out.truncate(before);
        }
    }

    fn deadline(&self) -> Instant {
        let deadline = self.open.as_ref().filter(|open| open.ended.is_none() && !self.silent);
        deadline.and_then(|open| open.tcp.deadline()).unwrap_or(Instant::NEVER)
    }
}

impl Open {
    fn on_events(&mut self, events: Events) {
        self.peer_finished |= events.contains(Events::PEER_FINISHED);
        if self.ended.is_some() {
            return;
        }
        if events.contains(Events::RESET) {
            self.ended = Some(Ended::Reset);
        } else if events.contains(Events::TIMED_OUT) {
            self.ended = Some(Ended::TimedOut);
        } else if events.contains(Events::CLOSED) || self.tcp.state() == State::TimeWait {
            self.ended = Some(Ended::Finished);
        }
    }

    fn tell_room(&mut self, config: &Config) {
        let taken = u32::try_from(self.ready.len()).unwrap_or(u32::MAX);
        self.tcp.set_receive_window(config.receive_window.saturating_sub(taken));
    }

    fn poll(&mut self, config: &Config, now: Instant, out: &mut Vec<Frame>) {
        if self.tcp.deadline().is_some_and(|deadline| deadline <= now) {
            let events = self.tcp.on_deadline(config, now);
            self.on_events(events);
        }
        // What was lost, and what was surrendered: the bytes are at hand.
        while let Some(range) = self.tcp.wanted(now, SEND_BYTES_MAX) {
            if !self.transmit(now, range, out) {
                break;
            }
        }
        loop {
            let left = (self.stream.len() as u64).saturating_sub(self.tcp.reserved());
            let credit = self.tcp.credit(now).min(u32::try_from(left).unwrap_or(u32::MAX));
            if left == 0 || credit < self.tcp.read_threshold(left) {
                break;
            }
            let range = self.tcp.reserve(credit);
            if !self.transmit(now, range, out) {
                break;
            }
        }
        if self.finish
            && self.tcp.reserved() == self.stream.len() as u64
            && !self.tcp.is_finishing()
            && self.tcp.state() != State::SynSent
        {
            self.tcp.finish();
        }
        while let Some(outgoing) = self.tcp.poll_control(config, now) {
            out.push(to_frame(self.local, self.remote, &outgoing.header, &[]));
        }
        if self.ended.is_none() && self.tcp.state() == State::TimeWait {
            self.ended = Some(Ended::Finished);
        }
    }

    /// Sends what may be sent of `range`; whether all of it went.
    fn transmit(&mut self, now: Instant, mut range: core::ops::Range<u64>, out: &mut Vec<Frame>) -> bool {
        let mss = u32::from(self.tcp.mss());
        while let Some(outgoing) = self.tcp.transmit(now, &mut range, mss) {
            let index = |offset: u64| usize::try_from(offset).expect("requests are short");
            let payload = &self.stream[index(outgoing.range.start)..index(outgoing.range.end)];
            out.push(to_frame(self.local, self.remote, &outgoing.header, payload));
        }
        if range.is_empty() {
            return true;
        }
        self.tcp.surrender(range);
        false
    }
}

fn to_header(segment: &Segment) -> Header {
    let mut sack = SackBlocks::EMPTY;
    for &(left, right) in &segment.sack {
        let _ = sack.push(SeqNum(left), SeqNum(right));
    }
    Header {
        source_port: segment.source.port(),
        destination_port: segment.destination.port(),
        seq: SeqNum(segment.seq),
        ack: SeqNum(segment.ack),
        flags: Flags::from_bits_retain(segment.flags),
        window: segment.window,
        urgent: 0,
        options: Options {
            mss: segment.mss,
            window_scale: segment.window_scale,
            sack_permitted: segment.sack_permitted,
            sack,
            timestamps: segment.timestamps.map(|(value, echo)| Timestamps { value, echo }),
        },
    }
}

fn to_frame(from: (Mac, SocketAddr), to: (Mac, SocketAddr), header: &Header, payload: &[u8]) -> Frame {
    let mut segment = Segment::between(from, to);
    segment.seq = header.seq.0;
    segment.ack = header.ack.0;
    segment.flags = header.flags.bits();
    segment.window = header.window;
    segment.mss = header.options.mss;
    segment.window_scale = header.options.window_scale;
    segment.sack_permitted = header.options.sack_permitted;
    segment.sack = header.options.sack.iter().map(|&(left, right)| (left.0, right.0)).collect();
    segment.timestamps = header.options.timestamps.map(|timestamps| (timestamps.value, timestamps.echo));
    segment.emit(payload)
}
