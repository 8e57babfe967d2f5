//! The path between a client and the server: faults are devices that wrap devices.
//!
//! ```text
//!   carry(frame) ─▶ Loss ─▶ Corrupt ─▶ Duplicate ─▶ Mtu ─▶ Stall ─▶ Rate ─▶ Reorder ─▶ Wire ─▶ arrives later
//!                     ╳                               └─▶ ICMP back to the sender
//! ```
//!
//! # Fault model
//!
//! The network carries frames of at most the MTU; the world cuts superframes before it hands them over. Each way of
//! each client has a path of its own. A path may, while it is faulty,
//!
//! - **lose** a frame: at random ([`Loss`]) or in bursts ([`BurstLoss`], a Gilbert-Elliott chain);
//! - **delay** it: always ([`Wire`]), by jitter ([`Reorder`] of every frame), by a queue before a slow line
//!   ([`Rate`], which drops at its tail), or because the line stands still for a while ([`Stall`]);
//! - **reorder** ([`Reorder`]) and **duplicate** ([`Duplicate`]) frames;
//! - **corrupt** a frame ([`Corrupt`]): a burst of at most 15 bits behind the Ethernet header is flipped. The Internet
//!   checksum detects every such burst (RFC 1071), so a damaged segment must never be accepted;
//! - **refuse** packets above a lowered MTU with an ICMP message to the sender ([`Mtu`]), or lower its MTU mid-way.
//!
//! It never invents a frame, never changes one undetectably, and never carries one to the wrong host. *Healing* a
//! path ends loss, corruption, duplication, reordering and stalls; delay, rate and MTU are what the path is like.

use clock::Instant;
use core::fmt::Debug;
use core::time::Duration;

use crate::random::Dice;

mod mtu;

#[cfg(test)]
mod tests;

pub use mtu::Mtu;

/// A frame, from the Ethernet header on, without a frame check sequence.
pub type Frame = Vec<u8>;

/// What became of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// When it arrives.
    pub at: Instant,
    /// Where.
    pub to: End,
    /// What.
    pub frame: Frame,
}

/// The ends of one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where frames are carried to.
    Receiver,
    /// Where they come from: an ICMP message comes back.
    Sender,
}

/// What the devices of a path did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Frames lost, at random or in bursts.
    pub lost: u64,
    /// Frames dropped at the tail of a queue.
    pub overflowed: u64,
    /// Frames that came twice.
    pub duplicated: u64,
    /// Frames damaged.
    pub corrupted: u64,
    /// Frames held back so that others overtake them.
    pub reordered: u64,
    /// Frames that waited for the line to move again.
    pub stalled: u64,
    /// Packets refused for their size.
    pub refused: u64,
}

impl Faults {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let Self { lost, overflowed, duplicated, corrupted, reordered, stalled, refused } = other;
        Self {
            lost: self.lost + lost,
            overflowed: self.overflowed + overflowed,
            duplicated: self.duplicated + duplicated,
            corrupted: self.corrupted + corrupted,
            reordered: self.reordered + reordered,
            stalled: self.stalled + stalled,
            refused: self.refused + refused,
        }
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { lost, overflowed, duplicated, corrupted, reordered, stalled, refused } = *self;
        lost + overflowed + duplicated + corrupted + reordered + stalled + refused
    }
}

/// One way of a path, or a part of it.
pub trait Device: Debug {
    /// A frame enters at `now`; what becomes of it is appended to `out`. Not every frame that enters comes out, and
    /// not in order.
    fn carry(&mut self, now: Instant, frame: Frame, out: &mut Vec<Carried>);

    /// From now on the path is healthy.
    fn heal(&mut self);

    /// Adds what this device and those behind it did.
    fn report(&self, faults: &mut Faults);
}

/// The end of every path: a line with a constant delay.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    /// How long a frame takes.
    pub delay: Duration,
}

impl Device for Wire {
    fn carry(&mut self, now: Instant, frame: Frame, out: &mut Vec<Carried>) {
        out.push(Carried { at: now + self.delay, to: End::Receiver, frame });
    }

    fn heal(&mut self) {}

    fn report(&self, _: &mut Faults) {}
}

/// Loses frames at random.
#[derive(Debug)]
pub struct Loss {
    /// What is behind.
    pub inner: Box<dyn Device>,
    /// How many in a million.
    pub ppm: u32,
    /// Which.
    pub dice: Dice,
    /// How many so far.
    pub lost: u64,
}

impl Device for Loss {
    fn carry(&mut self, now: Instant, frame: Frame, out: &mut Vec<Carried>) {
        if self.dice.chance(self.ppm) {
            self.lost += 1;
        } else {
            self.inner.carry(now, frame, out);
        }
    }

    fn heal(&mut self) {
        self.ppm = 0;
        self.inner.heal();
    }

    fn report(&self, faults: &mut Faults) {
        faults.lost += self.lost;
        self.inner.report(faults);
    }
}

/// Loses frames in bursts: a chain of two states (Gilbert and Elliott), in one of which most frames are lost.
#[derive(Debug)]
pub struct BurstLoss {
    /// What is behind.
    pub inner: Box<dyn Device>,
    /// How likely, in a million, a frame begins a burst.
    pub begin_ppm: u32,
    /// How likely, in a million, a frame ends it.
    pub end_ppm: u32,
    /// How likely, in a million, a frame of a burst is lost.
    pub loss_ppm: u32,
    /// When.
    pub dice: Dice,
    /// We are in a burst.
    pub in_burst: bool,
    /// How many so far.
    pub lost: u64,
}

impl Device for BurstLoss {
    fn carry(&mut self, now: Instant, frame: Frame, out: &mut Vec<Carried>) {
        let turn = if self.in_burst { self.end_ppm } else { self.begin_ppm };
        if self.dice.chance(turn) {
            self.in_burst = !self.in_burst;
        }
        if self.in_burst && self.dice.chance(self.loss_ppm) {
            self.lost += 1;
        } else {
            self.inner.carry(now, frame, out);
        }
    }

    fn heal(&mut self) {
        self.begin_ppm = 0;
        self.in_burst = false;
        self.inner.heal();
    }

    fn report(&self, faults: &mut Faults) {
        faults.lost += self.lost;
        self.inner.report(faults);
    }
}

/// Damages frames so that the Internet checksum is bound to notice.
#[derive(Debug)]
pub struct Corrupt {
    /// What is behind.
    pub inner: Box<dyn Device>,
    /// How many in a million.
    pub ppm: u32,
    /// Which, and where.
    pub dice: Dice,
    /// How many so far.
    pub corrupted: u64,
}

impl Corrupt {
    /// Flips at most this many consecutive bits: the sum of 16-bit words notices every burst that is shorter than a word.
    const BURST_BITS_MAX: u64 = 15;

    /// The first byte that may be damaged. The addresses of Ethernet decide who gets the frame, which the model says
    /// is never wrong; what lies before TCP has a checksum only in IPv4.
    fn damageable(frame: &[u8]) -> usize {
        use crate::packet::ETHERNET_BYTES;
        let ipv6 = frame.get(12..14) == Some(&[0x86, 0xDD]);
        ETHERNET_BYTES + if ipv6 { 40 } else { 0 }
    }
}

impl Device for Corrupt {
    fn carry(&mut self, now: Instant, mut frame: Frame, out: &mut Vec<Carried>) {
        let start = Self::damageable(&frame) as u64 * 8;
        let end = frame.len() as u64 * 8;
        // ARP has no checksum at all.
        let checked = frame.get(12..14) != Some(&[0x08, 0x06]);
        if start < end && checked && self.dice.chance(self.ppm) {
            let first = self.dice.within(start..end);
            let bits = self.dice.within(1..Self::BURST_BITS_MAX + 1).min(end - first);
            let pattern = self.dice.number() | 1;
            for bit in 0..bits {
                if pattern >> bit & 1 == 1 {
                    let at = first + bit;
                    let byte = usize::try_from(at / 8).expect("an index of the frame");
                    frame[byte] ^= 0x80 >> (at % 8);
                }
            }
            self.corrupted += 1;
        }
        self.inner.carry(now, frame, out);
    }

    fn heal(&mut self) {
        self.ppm = 0;
        self.inner.heal();
    }

    fn report(&self, faults: &mut Faults) {
        faults.corrupted += self.corrupted;
        self.inner.report(faults);
    }
}

/// Carries some frames twice.
#[derive(Debug)]
pub struct Duplicate {
    /// What is behind.
    pub inner: Box<dyn Device>,
    /// How many in a million.
    pub ppm: u32,
    /// The second comes up to this much later.
    pub later_max: Duration,
    /// Which.
    pub dice: Dice,
    /// How many so far.
    pub duplicated: u64,
}

impl Device for Duplicate {
    fn carry(&mut self, now: Instant, frame: Frame, out: &mut Vec<Carried>) {
        if self.dice.chance(self.ppm) {
            self.duplicated += 1;
            let before = out.len();
            self.inner.carry(now, frame.clone(), out);
            let later = self.dice.duration(Duration::ZERO..self.later_max.max(Duration::from_nanos(1)));
            for carried in &mut out[before..] {
                carried.at += later;
            }
        }
        self.inner.carry(now, frame, out);
    }

    fn heal(&mut self) {
        self.ppm = 0;
        self.inner.heal();
    }

    fn report(&self, faults: &mut Faults) {
        faults.duplicated += self.duplicated;
        self.inner.report(faults);
    }
}

/// Holds some frames back, so that those behind overtake them. With every frame held it is jitter.
#[derive(Debug)]
pub struct Reorder {
    /// What is behind.
    pub inner: Box<dyn Device>,
    /// How many in a million.
    pub ppm: u32,
    /// Held for up to this long.
    pub hold_max: Duration,
    /// Which.
    pub dice: Dice,
    /// How many so far.
    pub reordered: u64,
}

impl Device for Reorder {
    fn carry(&mut self, now: Instant, frame: Frame, out: &mut Vec<Carried>) {
        let before = out.len();
        self.inner.carry(now, frame, out);
        if self.dice.chance(self.ppm) {
            self.reordered += 1;
            let hold = self.dice.duration(Duration::ZERO..self.hold_max.max(Duration::from_nanos(1)));
            for carried in &mut out[before..] {
                carried.at += hold;
            }
        }
    }

    fn heal(&mut self) {
        self.ppm = 0;
        self.inner.heal();
    }

    fn report(&self, faults: &mut Faults) {
        faults.reordered += self.reordered;
        self.inner.report(faults);
    }
}

/// A line that takes its time, behind a queue that drops at its tail.
#[derive(Debug)]
pub struct Rate {
    /// What is behind.
    pub inner: Box<dyn Device>,
    /// Bytes a second.
    pub bytes_per_second: u64,
    /// How much may wait.
    pub queue_bytes_max: u64,
    /// When the line has sent everything it was given.
    pub free_at: Instant,
    /// Dropped so far.
    pub overflowed: u64,
}

impl Rate {
    fn time_for(&self, bytes: u64) -> Duration {
        Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / self.bytes_per_second.max(1))
    }
}

impl Device for Rate {
    fn carry(&mut self, now: Instant, frame: Frame, out: &mut Vec<Carried>) {
        let bytes = frame.len() as u64;
        if self.free_at.since(now) > self.time_for(self.queue_bytes_max) {
            self.overflowed += 1;
            return;
        }
        self.free_at = self.free_at.max(now) + self.time_for(bytes);
        self.inner.carry(self.free_at, frame, out);
    }

    fn heal(&mut self) {
        self.inner.heal();
    }

    fn report(&self, faults: &mut Faults) {
        faults.overflowed += self.overflowed;
        self.inner.report(faults);
    }
}

/// A line that stands still from time to time; frames wait until it moves again.
#[derive(Debug)]
pub struct Stall {
    /// What is behind.
    pub inner: Box<dyn Device>,
    /// From the beginning of one stall to that of the next; zero: never again.
    pub period: Duration,
    /// How long the line stands still.
    pub length: Duration,
    /// When the first stall begins.
    pub first: Instant,
    /// How many frames waited so far.
    pub stalled: u64,
}

impl Device for Stall {
    fn carry(&mut self, now: Instant, frame: Frame, out: &mut Vec<Carried>) {
        let period = self.period.as_nanos();
        let mut leaves = now;
        if period > 0 && now >= self.first {
            let into = Duration::from_nanos(
                u64::try_from(now.since(self.first).as_nanos() % period).expect("less than a period"),
            );
            if into < self.length {
                self.stalled += 1;
                leaves = now + (self.length - into);
            }
        }
        self.inner.carry(leaves, frame, out);
    }

    fn heal(&mut self) {
        self.period = Duration::ZERO;
        self.inner.heal();
    }

    fn report(&self, faults: &mut Faults) {
        faults.stalled += self.stalled;
        self.inner.report(faults);
    }
}
