//! Both directions, the wheel, and the memory.

use clock::Instant;
use core::time::Duration;
use vnet::HEADER_BYTES;

use crate::config::{Config, ConfigError};
use crate::flow::FlowHash;
use crate::lane::{Departure, Departures, Lane};
use crate::offload;
use crate::pool::{Frame, Pool, ROOM_BYTES};
use crate::random::Random;
use crate::statistics::Statistics;
use crate::wheel::Wheel;

/// The room for a frame, its virtio-net header included: a byte more at least than any that is 64 KiB of IP.
pub const FRAME_BYTES_MAX: usize = ROOM_BYTES;

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
pub enum Verdict<'a> {
    /// Send it on as it is, virtio-net header included.
    Pass(&'a [u8]),
    /// Nothing: it is held, cut into packets that are, or gone.
    Taken,
}

/// The middlebox.
///
/// For every frame: fill [`room`](Self::room), say so with [`received`](Self::received), and send what that says.
/// Then [`take`](Self::take) what is due until there is none, send each and [`release`](Self::release) it. Nothing
/// happens before [`next_deadline`](Self::next_deadline).
///
/// Time may stand still between calls; when it is given as earlier than before, it stands still.
#[derive(Debug)]
pub struct Middlebox {
    lanes: Lanes,
    hash: FlowHash,
    wheel: Wheel<(Direction, Frame)>,
    pool: Pool,
    room: Box<[u8]>,
    segment: Vec<u8>,
    now: Instant,
}

impl Middlebox {
    /// A middlebox that begins at `now`.
    ///
    /// # Errors
    /// The operator asks for a path that cannot be.
    pub fn new(config: &Config, now: Instant) -> Result<Self, ConfigError> {
        let horizon = config.check()?;
        let Config { seed, stream, to_server, to_client, memory_bytes } = config;
        let random = |direction: u64| Random::new(*seed, stream.wrapping_mul(2).wrapping_add(direction));
        Ok(Self {
            lanes: Lanes {
                to_server: Lane::new(to_server, random(0), now),
                to_client: Lane::new(to_client, random(1), now),
            },
            hash: FlowHash::new(*seed),
            wheel: Wheel::new(horizon, now),
            pool: Pool::new(*memory_bytes),
            room: vec![0; FRAME_BYTES_MAX].into(),
            segment: Vec::with_capacity(FRAME_BYTES_MAX),
            now,
        })
    }

    /// Where the next frame is to be written, beginning with its virtio-net header.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.room
    }

    /// The first `len` bytes of [`room`](Self::room) are a frame that arrived at `now`.
    ///
    /// A frame of which there is no more than a virtio-net header is malformed, and gone; so is one that fills its
    /// room, since the device may have had more of it.
    ///
    /// # Panics
    /// A frame longer than its room.
    pub fn received(&mut self, now: Instant, direction: Direction, len: usize) -> Verdict<'_> {
        let now = self.advance(now);
        let hash = self.hash;
        let lane = self.lanes.of_mut(direction);
        let ethernet = match self.room[..len].split_first_chunk::<HEADER_BYTES>() {
            Some((_, ethernet)) if !ethernet.is_empty() && len < FRAME_BYTES_MAX => ethernet,
            _ => {
                lane.statistics.malformed += 1;
                return Verdict::Taken;
            }
        };
        let bytes = ethernet.len();
        lane.statistics.received += 1;
        lane.statistics.received_bytes += bytes as u64;
        let Some(flow) = hash.of_frame(ethernet) else {
            // It belongs to the link.
            lane.statistics.packets += 1;
            return pass(lane, &self.room[..len]);
        };
        let delay = lane.delay_of(flow);
        if lane.is_per_packet()
            && let Some(offload) = self.room.first_chunk().and_then(offload::cut)
        {
            self.cut(now, direction, len, delay, offload);
            return Verdict::Taken;
        }
        match lane.fate(now, bytes, delay) {
            // Where some packets of a flow may wait for the next `take`, none may pass them by.
            [Some(Departure::Now), None] if !lane.is_per_packet() => return pass(lane, &self.room[..len]),
            [Some(only), None] | [None, Some(only)] => {
                let frame = self.pool.keep(&mut self.room, len);
                self.hold(direction, only, frame);
            }
            departures => {
                for departure in departures.into_iter().flatten() {
                    let frame = copy(&mut self.pool, &self.room[..len]);
                    self.hold(direction, departure, frame);
                }
            }
        }
        Verdict::Taken
    }

    /// The next frame that is due at `now`, and where it goes.
    pub fn take(&mut self, now: Instant) -> Option<(Direction, Frame)> {
        self.advance(now);
        let (direction, frame) = self.wheel.take()?;
        let bytes = frame.ethernet().len() as u64;
        let statistics = &mut self.lanes.of_mut(direction).statistics;
        statistics.forwarded += 1;
        statistics.forwarded_bytes += bytes;
        Some((direction, frame))
    }

    /// Takes back the memory of a frame that was sent, or that nobody would send.
    pub fn release(&mut self, frame: Frame) {
        self.pool.release(frame);
    }

    /// When to [`take`](Self::take) next; `None` when nothing is held.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.wheel.next_deadline()
    }

    /// The delay of the flow that an Ethernet frame belongs to.
    #[must_use]
    pub fn delay_of(&self, direction: Direction, ethernet: &[u8]) -> Duration {
        let lane = self.lanes.of(direction);
        self.hash.of_frame(ethernet).map_or(Duration::ZERO, |flow| lane.delay_of(flow))
    }

    /// How late a frame may be that was delayed.
    #[must_use]
    pub fn tick(&self) -> Duration {
        self.wheel.tick()
    }

    /// What happened so far.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let (used, used_max) = self.pool.used();
        Statistics {
            to_server: self.lanes.to_server.statistics,
            to_client: self.lanes.to_client.statistics,
            held: self.wheel.len() as u64,
            memory_bytes: used as u64,
            memory_bytes_max: used_max as u64,
        }
    }

    fn cut(
        &mut self,
        now: Instant,
        direction: Direction,
        len: usize,
        delay: Duration,
        offload: platform::Offload,
    ) {
        let mut segment = core::mem::take(&mut self.segment);
        match link_memory::segment(&self.room[HEADER_BYTES..len], offload) {
            Err(_) => self.lanes.of_mut(direction).statistics.malformed += 1,
            Ok(mut segments) => {
                let lane = self.lanes.of_mut(direction);
                lane.statistics.cut += 1;
                while segments.next_into(&mut segment) {
                    let departures: Departures = lane.fate(now, segment.len(), delay);
                    for departure in departures.into_iter().flatten() {
                        match self.pool.copy(&COMPLETE, &segment) {
                            Some(frame) => put(&mut self.wheel, direction, departure, frame),
                            None => lane.statistics.overflowed += 1,
                        }
                    }
                }
            }
        }
        self.segment = segment;
    }

    fn hold(&mut self, direction: Direction, departure: Departure, frame: Option<Frame>) {
        match frame {
            Some(frame) => put(&mut self.wheel, direction, departure, frame),
            None => self.lanes.of_mut(direction).statistics.overflowed += 1,
        }
    }

    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.wheel.advance(self.now);
        self.now
    }
}

/// Both directions.
#[derive(Debug)]
struct Lanes {
    to_server: Lane,
    to_client: Lane,
}

impl Lanes {
    fn of(&self, direction: Direction) -> &Lane {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    fn of_mut(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::ToServer => &mut self.to_server,
            Direction::ToClient => &mut self.to_client,
        }
    }
}

fn pass<'a>(lane: &mut Lane, frame: &'a [u8]) -> Verdict<'a> {
    lane.statistics.forwarded += 1;
    lane.statistics.forwarded_bytes += (frame.len() - HEADER_BYTES) as u64;
    Verdict::Pass(frame)
}

fn put(wheel: &mut Wheel<(Direction, Frame)>, direction: Direction, departure: Departure, frame: Frame) {
    match departure {
        Departure::Now => wheel.put_ready((direction, frame)),
        Departure::At(at) => wheel.put(at, (direction, frame)),
    }
}

fn copy(pool: &mut Pool, frame: &[u8]) -> Option<Frame> {
    let (header, ethernet) = frame.split_first_chunk()?;
    pool.copy(header, ethernet)
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
