//! Both directions, the wheel, and the memory.

use clock::Instant;
use core::time::Duration;
use vnet::HEADER_BYTES;

use crate::config::{Config, ConfigError};
use crate::flow::FlowHash;
use crate::lane::{Departure, Departures, Lane};
use crate::offload::{ETHERNET_BYTES_MAX, Superframe};
use crate::pool::{Frame, Pool, Room};
use crate::random::Random;
use crate::statistics::Statistics;
use crate::wheel::Wheel;

/// The header of a packet that is complete as it is.
const COMPLETE: [u8; HEADER_BYTES] = [0; HEADER_BYTES];

/// Where a packet is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// It came from the client's device.
    ToServer,
    /// It came from the server's device.
    ToClient,
}

impl Direction {
    /// Both of them.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];
}

/// What is to be done with the frame that was just received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it on as it lies in its room.
    Pass,
    /// Nothing: it is held, cut into packets that are, or gone.
    Taken,
}

/// The middlebox.
///
/// For every frame: fill a [`Room`], say so with [`received`](Self::received), and send it if that says so. Then
/// [`take`](Self::take) what is due, either way, until there is none, send each and [`release`](Self::release) it.
/// Nothing happens before [`next_deadline`](Self::next_deadline).
///
/// Time may stand still between calls; when it is given as earlier than before, it stands still.
#[derive(Debug)]
pub struct Middlebox {
    to_server: Way,
    to_client: Way,
    hash: FlowHash,
    pool: Pool,
    memory_bytes_max: usize,
    segment: Vec<u8>,
    now: Instant,
}

/// One direction.
#[derive(Debug)]
struct Way {
    lane: Lane,
    wheel: Wheel<Frame>,
}

impl Middlebox {
    /// A middlebox that begins at `now`.
    ///
    /// # Errors
    /// The operator asks for a path that cannot be.
    pub fn new(config: &Config, now: Instant) -> Result<Self, ConfigError> {
        let horizons = config.check()?;
        let Config { seed, stream, to_server, to_client, memory_bytes } = config;
        let random = |direction: u64| Random::new(*seed, stream.wrapping_mul(2).wrapping_add(direction));
        let way = |number: u8, profile, horizon| Way {
            lane: Lane::new(profile, random(number.into()), now),
            wheel: Wheel::new(horizon, now),
        };
        Ok(Self {
            to_server: way(0, to_server, horizons.to_server),
            to_client: way(1, to_client, horizons.to_client),
            hash: FlowHash::new(*seed),
            pool: Pool::new(*memory_bytes),
            memory_bytes_max: 0,
            segment: Vec::new(),
            now,
        })
    }

    /// A frame arrived at `now`, and lies in `room`.
    ///
    /// A frame of which there is no more than a virtio-net header is malformed, and gone.
    pub fn received(&mut self, now: Instant, direction: Direction, room: &mut Room) -> Verdict {
        let now = self.advance(now);
        let hash = self.hash;
        let way = match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        };
        let lane = &mut way.lane;
        let Some((header, ethernet)) = room.split() else {
            lane.statistics.malformed += 1;
            return Verdict::Taken;
        };
        let bytes = ethernet.len();
        lane.statistics.received += 1;
        lane.statistics.received_bytes += bytes as u64;
        let Some(flow) = hash.of_frame(ethernet) else {
            // It belongs to the link.
            lane.statistics.packets += 1;
            return pass(lane, bytes);
        };
        let delay = lane.delay_of(flow);
        let is_cut = lane.is_per_packet() || bytes > ETHERNET_BYTES_MAX;
        if is_cut && let Some(superframe) = Superframe::behind(header) {
            self.cut(now, direction, (header, ethernet), delay, superframe);
            return Verdict::Taken;
        }
        match lane.fate(now, bytes, delay) {
            // Where some packets of a flow wait for the next `take`, none may pass them by.
            [Some(Departure::Now), None] if !way.wheel.has_ready() => return pass(lane, bytes),
            [Some(only), None] | [None, Some(only)] => self.hold(direction, only, |pool| pool.keep(room)),
            departures => {
                for departure in departures.into_iter().flatten() {
                    let copy = |pool: &mut Pool| {
                        room.split().and_then(|(header, ethernet)| pool.copy(header, ethernet))
                    };
                    self.hold(direction, departure, copy);
                }
            }
        }
        Verdict::Taken
    }

    /// The next frame of a direction that is due at `now`.
    pub fn take(&mut self, now: Instant, direction: Direction) -> Option<Frame> {
        self.advance(now);
        let way = self.way_mut(direction);
        let frame = way.wheel.take()?;
        way.lane.statistics.forwarded += 1;
        way.lane.statistics.forwarded_bytes += frame.ethernet().len() as u64;
        Some(frame)
    }

    /// Takes back the memory of a frame that was sent, or that nobody would send.
    pub fn release(&mut self, frame: Frame) {
        self.pool.release(frame);
    }

    /// When to [`take`](Self::take) next; `None` when nothing is held.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        match [&self.to_server, &self.to_client].map(|way| way.wheel.next_deadline()) {
            [Some(one), Some(other)] => Some(one.min(other)),
            [one, other] => one.or(other),
        }
    }

    /// The delay of the flow that an Ethernet frame belongs to.
    #[must_use]
    pub fn delay_of(&self, direction: Direction, ethernet: &[u8]) -> Duration {
        let lane = &self.way(direction).lane;
        self.hash.of_frame(ethernet).map_or(Duration::ZERO, |flow| lane.delay_of(flow))
    }

    /// How late a frame may be that was delayed.
    #[must_use]
    pub fn tick(&self) -> Duration {
        self.to_server.wheel.tick().max(self.to_client.wheel.tick())
    }

    /// What happened so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        Statistics {
            to_server: self.to_server.lane.statistics,
            to_client: self.to_client.lane.statistics,
            held: (self.to_server.wheel.len() + self.to_client.wheel.len()) as u64,
            memory_bytes: self.memory_bytes() as u64,
            memory_bytes_max: self.memory_bytes_max as u64,
        }
    }

    fn memory_bytes(&self) -> usize {
        let chunks = self.to_server.wheel.used() + self.to_client.wheel.used();
        self.pool.used() + chunks * Wheel::<Frame>::CHUNK_BYTES
    }

    /// Draws the fate of each packet of a superframe; where all have the same, of superframes that devices take.
    fn cut(
        &mut self,
        now: Instant,
        direction: Direction,
        (header, ethernet): (&[u8; HEADER_BYTES], &[u8]),
        delay: Duration,
        superframe: Superframe,
    ) {
        let lane = &mut self.way_mut(direction).lane;
        let is_per_packet = lane.is_per_packet();
        let cut = if is_per_packet { superframe.cut(ethernet) } else { superframe.split(ethernet) };
        let Ok(mut segments) = cut else {
            lane.statistics.malformed += 1;
            return;
        };
        lane.statistics.cut += 1;
        let transport = segments.transport().filter(|_| !is_per_packet);
        let mut segment = core::mem::take(&mut self.segment);
        while segments.next_into(&mut segment) {
            let header = transport.map_or(COMPLETE, |at| superframe.header(header, at, &segment));
            let departures: Departures = self.way_mut(direction).lane.fate(now, segment.len(), delay);
            for departure in departures.into_iter().flatten() {
                self.hold(direction, departure, |pool| pool.copy(&header, &segment));
            }
        }
        self.segment = segment;
    }

    /// Puts a frame into the wheel, if there is memory for it.
    fn hold(
        &mut self,
        direction: Direction,
        departure: Departure,
        mut frame: impl FnMut(&mut Pool) -> Option<Frame>,
    ) {
        let frame = match frame(&mut self.pool) {
            None if self.reclaim() => frame(&mut self.pool),
            first => first,
        };
        match frame {
            Some(frame) if self.has_place(direction) => {
                let wheel = &mut self.way_mut(direction).wheel;
                match departure {
                    Departure::Now => wheel.put_ready(frame),
                    Departure::At(at) => wheel.put(at, frame),
                }
                self.memory_bytes_max = self.memory_bytes_max.max(self.memory_bytes());
            }
            refused => {
                self.way_mut(direction).lane.statistics.overflowed += 1;
                refused.into_iter().for_each(|frame| self.release(frame));
            }
        }
    }

    /// Whether a frame may be put into the wheel: its chunks are part of the bound.
    fn has_place(&mut self, direction: Direction) -> bool {
        const BYTES: usize = Wheel::<Frame>::CHUNK_BYTES;
        if self.way(direction).wheel.spare() > 0 {
            return true;
        }
        let has = self.pool.lend(BYTES) || self.reclaim() && self.pool.lend(BYTES);
        if has {
            self.way_mut(direction).wheel.grow();
        }
        has
    }

    /// Gives up chunks that nothing is in. Returns whether there were any.
    fn reclaim(&mut self) -> bool {
        let mut chunks = 0;
        for wheel in [&mut self.to_server.wheel, &mut self.to_client.wheel] {
            while wheel.shrink() {
                chunks += 1;
            }
        }
        self.pool.redeem(chunks * Wheel::<Frame>::CHUNK_BYTES);
        chunks > 0
    }

    fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    fn way_mut(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }

    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.to_server.wheel.advance(self.now);
        self.to_client.wheel.advance(self.now);
        self.now
    }
}

fn pass(lane: &mut Lane, bytes: usize) -> Verdict {
    lane.statistics.forwarded += 1;
    lane.statistics.forwarded_bytes += bytes as u64;
    Verdict::Pass
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
