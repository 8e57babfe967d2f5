//! The touches of a stack that reads, seals and sends: frames on their way from a disk to a NIC, over and over.
//!
//! ```text
//!            ◀──── window ────▶            ◀ nic queue ▶          ◀ notice ▶
//!   acquire ─┬──── pages land ─┬─ noticed ──┬─ NIC's DMA ──────────┬─ freed ──▶ acquire
//!            issue             completion   sealed, staged         sent
//! ```
//!
//! Time is counted in bytes on the wire: one read completes whenever as much has been sent as it brings, and a queue of
//! *n* bytes is a delay of *n*. [`crate::bytes_in`] makes bytes of a delay at a rate.

use alloc::collections::{BinaryHeap, VecDeque};
use core::cmp::Reverse;
use core::ops::Range;

use crate::cache::Geometry;
use crate::random::Random;
use crate::touch::{Ratio, Replay, Sink, Touch};

/// Which free frame the next read fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recycling {
    /// The one that has been free the longest, of at least this many frames.
    Fifo {
        /// How many frames there are; more only if more are on their way at once.
        frames: u32,
    },
    /// The one that was freed last: no more frames are touched than are on their way at once.
    Lifo,
}

/// What the CPU does to a record before it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seal {
    /// Nothing: plaintext, and the NIC sums.
    Plain,
    /// Sums it in software.
    Checksum,
    /// Seals it where it lies.
    InPlace,
    /// Seals or copies it into one of these many slots of a ring, in turn; the frame is free at once.
    Into {
        /// How many slots of a record's size.
        slots: u32,
        /// With non-temporal stores.
        streaming: bool,
    },
}

/// A stack in its steady state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// Payload of a frame: one record.
    pub record_bytes: u32,
    /// Records that one read fills.
    pub records_per_read: u32,
    /// Bytes being read at any time: the I/O window. Rounded up to whole reads.
    pub window_bytes: u64,
    /// Pages of a read land, each for itself, anywhere in the last so many bytes' time before it completes; at least one
    /// lands last. 0: all land when it completes.
    pub landing_bytes: u64,
    /// What lands at once.
    pub page_bytes: u32,
    /// What has completed lies for so many bytes' time before the CPU looks at it: a queue of §2.2.2's figure 2.4, a
    /// socket buffer.
    pub backlog_bytes: u64,
    /// Completions are looked for once per so many bytes' time; 0 for at once.
    pub turn_bytes: u64,
    /// What is staged waits behind so many bytes before the NIC fetches it.
    pub nic_queue_bytes: u64,
    /// The NIC says so many bytes' time later that it has.
    pub notice_bytes: u64,
    /// Which free frame is next.
    pub recycling: Recycling,
    /// What the CPU does to it.
    pub seal: Seal,
    /// Frames are written once by the CPU before the first read: a warm cache, in §2.2.2's words.
    pub warmed: bool,
    /// Nothing is read from disk: the content lies in memory, in a buffer cache of all the frames.
    pub cached: bool,
    /// Bytes of other state that the CPU reads from memory for each record: packet buffers, page tables, connections.
    pub state_bytes: u32,
    /// Where landing times are drawn from.
    pub seed: u64,
}

impl Pipeline {
    /// One record per read of 16 KiB, one read at a time, sent as it completes: nothing ever waits.
    pub const PROMPT: Self = Self {
        record_bytes: 16_384,
        records_per_read: 1,
        window_bytes: 16_384,
        landing_bytes: 0,
        page_bytes: 4_096,
        backlog_bytes: 0,
        turn_bytes: 0,
        nic_queue_bytes: 0,
        notice_bytes: 0,
        recycling: Recycling::Lifo,
        seal: Seal::Plain,
        warmed: false,
        cached: false,
        state_bytes: 0,
        seed: 1,
    };

    /// The ratios over `sent` bytes, after the cache has seen its size and all frames twice.
    #[must_use]
    pub fn measure(&self, geometry: Geometry, sent: u64) -> Ratio {
        let mut replay = Replay::new(geometry);
        let mut run = Run::new(*self);
        let frames = match self.recycling {
            Recycling::Fifo { frames } => u64::from(frames),
            Recycling::Lifo => 0,
        };
        let frame_bytes = frames * u64::from(self.record_bytes);
        let on_the_way = self.window_bytes + self.backlog_bytes + self.nic_queue_bytes + self.notice_bytes;
        run.advance(&mut replay, 2 * geometry.bytes.max(frame_bytes).max(on_the_way));
        replay.begin();
        run.advance(&mut replay, sent);
        replay.ratio()
    }

    /// The touches while about `sent` bytes leave, from the first on. Returns how many frames were used.
    pub fn run(&self, sink: &mut impl Sink, sent: u64) -> u32 {
        let mut run = Run::new(*self);
        run.advance(sink, sent);
        run.frames
    }

    const fn read_bytes(&self) -> u64 {
        self.record_bytes as u64 * self.records_per_read as u64
    }
}

/// What happens when; the field that tells frames apart is an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Issue,
    Land { frame: u32, page: u32 },
    Noticed { frame: u32 },
    Fetched { place: Place },
    Freed { frame: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Frame(u32),
    Slot(u32),
}

/// Frames lie in a region of their own, slots in another, each a page apart as pools lay them out.
const SLOTS_AT: u64 = 1 << 40;
/// Other state lies in a third, which no cache holds.
const STATE_AT: u64 = 1 << 41;
const STATE_BYTES: u64 = 4 << 30;

struct Run {
    pipeline: Pipeline,
    random: Random,
    steps: BinaryHeap<Reverse<(u64, u64, Step)>>,
    order: u64,
    now: u64,
    /// How many there are.
    frames: u32,
    free: VecDeque<u32>,
    reads: u64,
    slots_used: u64,
    state: u64,
    /// When the NIC has fetched the last record staged.
    nic_free: u64,
    sent: u64,
}

impl Run {
    fn new(pipeline: Pipeline) -> Self {
        if let Seal::Into { slots, .. } = pipeline.seal {
            let needed = pipeline.nic_queue_bytes + pipeline.turn_bytes;
            let ring = u64::from(slots) * u64::from(pipeline.record_bytes);
            assert!(ring > needed, "{slots} slots are overwritten before they are sent: {pipeline:?}");
        }
        let mut run = Self {
            random: Random::new(pipeline.seed),
            pipeline,
            steps: BinaryHeap::new(),
            order: 0,
            now: 0,
            frames: 0,
            free: VecDeque::new(),
            reads: 0,
            slots_used: 0,
            state: 0,
            nic_free: 0,
            sent: 0,
        };
        run.at(0, Step::Issue);
        run
    }

    fn at(&mut self, when: u64, step: Step) {
        self.order += 1;
        self.steps.push(Reverse((when, self.order, step)));
    }

    fn advance(&mut self, sink: &mut impl Sink, sent: u64) {
        let until = self.sent + sent;
        while self.sent < until {
            let Some(Reverse((now, _, step))) = self.steps.pop() else { return };
            self.now = now;
            match step {
                Step::Issue => self.issue(sink),
                Step::Land { .. } if self.pipeline.cached => {}
                Step::Land { frame, page } => {
                    let Range { start, end } = self.frame(frame);
                    let first = start + u64::from(page) * u64::from(self.pipeline.page_bytes);
                    sink.touch(Touch::DiskIn, first..end.min(first + u64::from(self.pipeline.page_bytes)));
                }
                Step::Noticed { frame } => self.process(sink, frame),
                Step::Fetched { place } => self.fetched(sink, place),
                Step::Freed { frame } => {
                    sink.touch(Touch::Freed, self.frame(frame));
                    self.free.push_back(frame);
                }
            }
        }
    }

    fn frame(&self, frame: u32) -> Range<u64> {
        let start = u64::from(frame) * u64::from(self.pipeline.record_bytes);
        start..start + u64::from(self.pipeline.record_bytes)
    }

    fn address(&self, place: Place) -> Range<u64> {
        match place {
            Place::Frame(frame) => self.frame(frame),
            Place::Slot(slot) => {
                let Range { start, end } = self.frame(slot);
                SLOTS_AT + start..SLOTS_AT + end
            }
        }
    }

    fn acquire(&mut self, sink: &mut impl Sink) -> u32 {
        let free = match self.pipeline.recycling {
            Recycling::Fifo { frames } if self.frames < frames => None,
            Recycling::Fifo { .. } => self.free.pop_front(),
            Recycling::Lifo => self.free.pop_back(),
        };
        free.unwrap_or_else(|| {
            let frame = self.frames;
            self.frames += 1;
            if self.pipeline.warmed {
                sink.touch(Touch::Write, self.frame(frame));
            }
            frame
        })
    }

    /// A turn's end: what happened is seen then.
    const fn seen_at(&self, when: u64) -> u64 {
        if self.pipeline.turn_bytes == 0 { when } else { when.next_multiple_of(self.pipeline.turn_bytes) }
    }

    fn issue(&mut self, sink: &mut impl Sink) {
        let read_bytes = self.pipeline.read_bytes();
        let window = self.pipeline.window_bytes.div_ceil(read_bytes).max(1) * read_bytes;
        // The disk completes a read per read's time; what is outstanding was issued that much earlier.
        let completes = self.reads * read_bytes + window;
        self.reads += 1;
        self.at(self.reads * read_bytes, Step::Issue);
        let spread = self.pipeline.landing_bytes.min(window);
        let pages = self.pipeline.record_bytes.div_ceil(self.pipeline.page_bytes);
        let last = self.random.below(u64::from(pages * self.pipeline.records_per_read));
        for record in 0..self.pipeline.records_per_read {
            let frame = self.acquire(sink);
            for page in 0..pages {
                let early =
                    if u64::from(record * pages + page) == last { 0 } else { self.random.below(spread) };
                self.at(completes - early, Step::Land { frame, page });
            }
            self.at(self.seen_at(completes + self.pipeline.backlog_bytes), Step::Noticed { frame });
        }
    }

    fn process(&mut self, sink: &mut impl Sink, frame: u32) {
        let at = self.frame(frame);
        if self.pipeline.state_bytes > 0 {
            let first = STATE_AT + self.state;
            self.state = (self.state + u64::from(self.pipeline.state_bytes)) % STATE_BYTES;
            sink.touch(Touch::Read, first..first + u64::from(self.pipeline.state_bytes));
        }
        let place = match self.pipeline.seal {
            Seal::Plain => Place::Frame(frame),
            Seal::Checksum => {
                sink.touch(Touch::Read, at);
                Place::Frame(frame)
            }
            Seal::InPlace => {
                sink.touch(Touch::Rewrite, at);
                Place::Frame(frame)
            }
            Seal::Into { slots, streaming } => {
                #[expect(clippy::cast_possible_truncation, reason = "below `slots`")]
                let place = Place::Slot((self.slots_used % u64::from(slots)) as u32);
                self.slots_used += 1;
                sink.touch(Touch::Read, at);
                sink.touch(if streaming { Touch::Stream } else { Touch::Write }, self.address(place));
                self.at(self.now, Step::Freed { frame });
                place
            }
        };
        let record_bytes = u64::from(self.pipeline.record_bytes);
        // A batch that is staged at once leaves one record after the other.
        let fetched = (self.now + self.pipeline.nic_queue_bytes).max(self.nic_free);
        self.nic_free = fetched + record_bytes;
        self.at(fetched, Step::Fetched { place });
    }

    fn fetched(&mut self, sink: &mut impl Sink, place: Place) {
        let at = self.address(place);
        self.sent += at.end - at.start;
        sink.touch(Touch::NicOut, at);
        if let Place::Frame(frame) = place {
            self.at(self.seen_at(self.now + self.pipeline.notice_bytes), Step::Freed { frame });
        }
    }
}
