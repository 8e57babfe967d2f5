//! What a server does to memory, and what comes of it.

use core::ops::Range;

use crate::cache::{Cache, Geometry, Traffic};

/// Who touches some bytes, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Touch {
    /// A disk's DMA lands.
    DiskIn,
    /// The CPU reads and rewrites in place: a record sealed where it lies.
    Rewrite,
    /// The CPU reads: a checksum, the source of a copy or of a sealing out of place.
    Read,
    /// The CPU writes through the cache: a copy's destination, a warm-up.
    Write,
    /// The CPU writes whole lines through the cache and need not read them before: `rep movsb` of fast strings.
    Overwrite,
    /// The CPU writes past the cache, with non-temporal stores.
    Stream,
    /// A NIC's DMA fetches what leaves.
    NicOut,
    /// The memory may be used again. The cache does not learn of it: dead dirty lines are written back like living ones.
    Freed,
}

/// Takes touches as they happen.
pub trait Sink {
    /// `touch` of the bytes at these addresses.
    fn touch(&mut self, touch: Touch, at: Range<u64>);
}

impl Sink for Vec<(Touch, Range<u64>)> {
    fn touch(&mut self, touch: Touch, at: Range<u64>) {
        self.push((touch, at));
    }
}

/// Replays touches through a cache as they come, and counts what left.
#[derive(Debug)]
pub struct Replay {
    cache: Cache,
    sent: u64,
    mark: (Traffic, u64),
}

impl Replay {
    /// Over an empty cache.
    #[must_use]
    pub fn new(geometry: Geometry) -> Self {
        Self { cache: Cache::new(geometry), sent: 0, mark: (Traffic::default(), 0) }
    }

    /// The cache.
    #[must_use]
    pub const fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Counts from here on: what went before was warming up.
    pub fn begin(&mut self) {
        self.mark = (self.cache.traffic(), self.sent);
    }

    /// Traffic per byte sent, since [`begin`](Self::begin).
    #[must_use]
    pub fn ratio(&self) -> Ratio {
        Ratio { traffic: self.cache.traffic().since(self.mark.0), sent: self.sent - self.mark.1 }
    }
}

impl Sink for Replay {
    fn touch(&mut self, touch: Touch, at: Range<u64>) {
        match touch {
            Touch::DiskIn => self.cache.dma_write(at),
            Touch::Read => self.cache.cpu_read(at),
            // A write to a line that was just read hits: one pass does both.
            Touch::Rewrite | Touch::Write => self.cache.cpu_write(at),
            Touch::Overwrite => self.cache.cpu_overwrite(at),
            Touch::Stream => self.cache.stream_write(at),
            Touch::NicOut => {
                self.sent += at.end - at.start;
                self.cache.dma_read(at);
            }
            Touch::Freed => {}
        }
    }
}

/// Memory traffic, and what was sent meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ratio {
    /// To and from memory, in bytes.
    pub traffic: Traffic,
    /// Bytes that NICs fetched.
    pub sent: u64,
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
impl Ratio {
    /// Bytes read from memory for each byte sent: the dissertation's figures 4.12e and 4.14e.
    #[must_use]
    pub fn read(&self) -> f64 {
        self.traffic.read() as f64 / self.sent as f64
    }

    /// Of those, what the CPU waited for: figures 4.12f and 4.14f.
    #[must_use]
    pub fn cpu_read(&self) -> f64 {
        self.traffic.cpu_read as f64 / self.sent as f64
    }

    /// Bytes written to memory for each byte sent.
    #[must_use]
    pub fn written(&self) -> f64 {
        self.traffic.written as f64 / self.sent as f64
    }
}
