//! Hosts that want nothing but harm.

use clock::Instant;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use super::Host;
use super::report::{Report, Tally};
use super::visitor::{PLAIN_PORT, SECURE_PORT};
use crate::address;
use crate::network::Frame;
use crate::packet::{ACK, FIN, Mac, PSH, RST, SYN, Segment};
use crate::random::{Dice, PPM};

fn report(name: &str) -> Report<'_> {
    let (complaints, mishaps, tally) = (&[], &[], Tally::default());
    Report { name, done: false, excused: true, complaints, mishaps, tally, waits_for: None }
}

/// SYNs from addresses that never answer (RFC 4987 §2).
#[derive(Debug)]
pub struct Flood {
    mac: Mac,
    server: (Mac, IpAddr),
    every: Duration,
    next: Instant,
    stopped: bool,
    dice: Dice,
}

impl Flood {
    /// A flood from `mac` of thousands of SYNs a second.
    #[must_use]
    pub fn new(mac: Mac, server: (Mac, IpAddr), dice: &mut Dice) -> Self {
        let every = Duration::from_micros(dice.skewed(500..20_000));
        Self { mac, server, every, next: Instant::EPOCH, stopped: false, dice: dice.fork() }
    }
}

impl Host for Flood {
    fn on_frame(&mut self, _: Instant, _: &[u8]) {}

    fn poll(&mut self, now: Instant, out: &mut Vec<Frame>) {
        while !self.stopped && self.next <= now {
            let index = 500_000 + u32::try_from(self.dice.within(0..500_000)).expect("small");
            let port = u16::try_from(self.dice.within(1_024..65_536)).expect("a port");
            let to = SocketAddr::new(self.server.1, *self.dice.pick(&[PLAIN_PORT, SECURE_PORT]));
            let mut syn = Segment::between(
                (self.mac, address::host(index, self.server.1.is_ipv6(), port)),
                (self.server.0, to),
            );
            syn.flags = SYN;
            syn.seq = u32::try_from(self.dice.number() >> 32).expect("32 bits");
            syn.window = 65_535;
            syn.mss = Some(1_460);
            syn.sack_permitted = self.dice.chance(PPM / 2);
            out.push(syn.emit(&[]));
            self.next += self.every;
        }
    }

    fn deadline(&self) -> Instant {
        if self.stopped { Instant::NEVER } else { self.next }
    }

    fn heal(&mut self, _: Instant) {
        self.stopped = true;
    }

    fn report(&self) -> Report<'_> {
        report("flood")
    }
}

/// Frames of every kind of nonsense: random bytes, segments that belong nowhere, lies in every field.
#[derive(Debug)]
pub struct Babbler {
    local: (Mac, SocketAddr),
    server: (Mac, IpAddr),
    next: Instant,
    stopped: bool,
    dice: Dice,
    /// The last segment that came, to be answered wrongly.
    last: Option<Segment>,
}

impl Babbler {
    /// A babbler.
    #[must_use]
    pub fn new(local: (Mac, SocketAddr), server: (Mac, IpAddr), dice: Dice) -> Self {
        Self { local, server, next: Instant::EPOCH, stopped: false, dice, last: None }
    }

    fn segment(&mut self) -> Segment {
        let dice = &mut self.dice;
        let port = *dice.pick(&[PLAIN_PORT, SECURE_PORT, 1, 65_535]);
        // Few ports, so that segments meet.
        let mut local = self.local;
        local.1.set_port(2_000 + u16::try_from(dice.within(0..4)).expect("small"));
        let mut segment = Segment::between(local, (self.server.0, SocketAddr::new(self.server.1, port)));
        let word = |dice: &mut Dice| u32::try_from(dice.number() >> 32).expect("32 bits");
        segment.flags =
            *dice.pick(&[SYN, ACK, RST, FIN | ACK, PSH | ACK, SYN | ACK, SYN | FIN, SYN | RST, 0, 0x3F]);
        segment.seq = word(dice);
        segment.ack = word(dice);
        segment.window = u16::try_from(dice.within(0..65_536)).expect("16 bits");
        if let Some(last) = self.last.as_ref().filter(|_| dice.chance(PPM / 4 * 3)) {
            // Near to what the server believes: in its window, at its edges, just beside.
            segment.destination = last.source;
            segment.source = last.destination;
            segment.seq =
                last.ack.wrapping_add(u32::try_from(dice.skewed(0..70_000)).expect("small")).wrapping_sub(5);
            segment.ack = last.seq.wrapping_add(u32::try_from(dice.skewed(0..70_000)).expect("small"));
        }
        if dice.chance(PPM / 3) {
            segment.timestamps = Some((word(dice), word(dice)));
        }
        if segment.flags & SYN != 0 && dice.chance(PPM / 2) {
            segment.mss = Some(u16::try_from(dice.within(0..65_536)).expect("16 bits"));
            segment.window_scale = Some(u8::try_from(dice.within(0..256)).expect("8 bits"));
            segment.sack_permitted = dice.chance(PPM / 2);
        } else if dice.chance(PPM / 3) {
            for _ in 0..dice.within(1..3) {
                let near = segment.ack;
                let left = near.wrapping_add(u32::try_from(dice.skewed(0..100_000)).expect("small"));
                let right = left.wrapping_add(u32::try_from(dice.skewed(0..100_000)).expect("small"));
                segment.sack.push(if dice.chance(PPM / 5) { (right, left) } else { (left, right) });
            }
        }
        segment
    }
}

impl Host for Babbler {
    fn on_frame(&mut self, _: Instant, frame: &[u8]) {
        if let Ok((segment, _)) = Segment::parse(frame) {
            self.last = Some(segment);
        }
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<Frame>) {
        while !self.stopped && self.next <= now {
            let mut payload = vec![0; usize::try_from(self.dice.skewed(0..1_400)).expect("small")];
            self.dice.fill(&mut payload);
            if self.dice.chance(PPM / 3) {
                payload.clear();
            }
            let mut frame = if self.dice.chance(PPM / 8) {
                let mut frame =
                    [&self.server.0[..], &self.local.0, &[0x08, *self.dice.pick(&[0, 6])]].concat();
                if self.dice.chance(PPM / 2) {
                    frame.truncate(12);
                    frame.extend_from_slice(&[0x86, 0xDD]);
                }
                frame.extend_from_slice(&payload);
                frame
            } else {
                self.segment().emit(&payload)
            };
            if self.dice.chance(PPM / 10) {
                let len = usize::try_from(self.dice.within(0..frame.len() as u64 + 1)).expect("small");
                frame.truncate(len);
            }
            out.push(frame);
            self.next += Duration::from_micros(self.dice.skewed(100..50_000));
        }
    }

    fn deadline(&self) -> Instant {
        if self.stopped { Instant::NEVER } else { self.next }
    }

    fn heal(&mut self, _: Instant) {
        self.stopped = true;
    }

    fn report(&self) -> Report<'_> {
        report("babbler")
    }
}
