//! A set-associative last-level cache that devices may use a few ways of.
//!
//! ```text
//!   one set:  │ way 0 │ way 1 │ way 2 │ … │ way 19 │
//!              ◀─ DMA writes ▶
//!                 that miss
//!              ◀──────────── CPU misses ───────────▶
//! ```
//!
//! | who | hit | miss |
//! |---|---|---|
//! | CPU read | served | line read from memory, placed in any way |
//! | CPU write | line becomes dirty | the same, and dirty: write-allocate reads what it is about to change |
//! | CPU overwrite | line becomes dirty | placed dirty in any way, nothing is read |
//! | streaming store | line leaves the cache | the line goes to memory, nothing is read |
//! | DMA write | updated where it lies, dirty | placed dirty in one of the DMA ways, nothing is read |
//! | DMA read | served, nothing moves | line read from memory, not placed |
//!
//! This is how the dissertation describes DDIO (§2.2.1: write update and write allocate, the latter limited "typically"
//! to 10 % of the cache; a NIC's reads are served without evicting). A dirty line that is replaced is written to memory.
//! Replacement is least recently used among the ways that the newcomer may take. DMA reads do not count as use.
//!
//! With no DMA ways at all (before 2011, or DDIO switched off), a DMA write goes to memory and invalidates the line.

use core::ops::Range;

use crate::random::mix;

/// Which set a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// Line number modulo sets: consecutive lines fill consecutive sets.
    Modulo,
    /// By a hash of the line number, as Intel spreads lines over the slices: contiguous buffers collide as random ones.
    Hashed,
}

/// The size and shape of a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// All of it.
    pub bytes: u64,
    /// Lines per set.
    pub ways: u32,
    /// A line; a power of two.
    pub line_bytes: u32,
    /// Ways that DMA writes may allocate in: the first ones. 0 switches DDIO off.
    pub dma_ways: u32,
    /// Which set a line belongs to.
    pub index: Index,
}

impl Geometry {
    /// How many sets there are.
    #[must_use]
    pub const fn sets(&self) -> u64 {
        self.bytes / (self.ways as u64 * self.line_bytes as u64)
    }

    /// What DMA writes may occupy.
    #[must_use]
    pub const fn dma_bytes(&self) -> u64 {
        self.sets() * self.dma_ways as u64 * self.line_bytes as u64
    }

    /// # Panics
    /// A cache that cannot be: no set, lines that are no power of two, more DMA ways than ways.
    fn check(&self) {
        assert!(self.ways > 0 && self.line_bytes.is_power_of_two(), "{self:?}");
        assert!(self.sets() > 0 && self.dma_ways <= self.ways, "{self:?}");
    }
}

/// Bytes between the cache and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Read because the CPU missed.
    pub cpu_read: u64,
    /// Read because a device read what was not in the cache.
    pub dma_read: u64,
    /// Dirty lines evicted, streaming stores, and DMA writes without DDIO.
    pub written: u64,
}

impl Traffic {
    /// All bytes read from memory.
    #[must_use]
    pub const fn read(&self) -> u64 {
        self.cpu_read + self.dma_read
    }

    /// What came since `earlier`.
    #[must_use]
    pub const fn since(&self, earlier: Self) -> Self {
        Self {
            cpu_read: self.cpu_read - earlier.cpu_read,
            dma_read: self.dma_read - earlier.dma_read,
            written: self.written - earlier.written,
        }
    }
}

/// No line has this number: addresses end below 2⁶³.
const EMPTY: u64 = u64::MAX >> 1;

/// The cache itself: which lines it holds, which of them are dirty, and when each was used last.
pub struct Cache {
    geometry: Geometry,
    sets: u64,
    line_shift: u32,
    /// Line number above, dirty in the lowest bit; a set's ways lie together.
    lines: Vec<u64>,
    /// 0 for an empty way.
    used: Vec<u64>,
    clock: u64,
    traffic: Traffic,
}

impl Cache {
    /// An empty cache.
    ///
    /// # Panics
    /// A cache that cannot be: no set, lines that are no power of two, more DMA ways than ways.
    #[must_use]
    pub fn new(geometry: Geometry) -> Self {
        geometry.check();
        let sets = geometry.sets();
        let count = usize::try_from(sets * u64::from(geometry.ways)).expect("a cache fits in memory");
        Self {
            geometry,
            sets,
            line_shift: geometry.line_bytes.trailing_zeros(),
            lines: vec![EMPTY << 1; count],
            used: vec![0; count],
            clock: 0,
            traffic: Traffic::default(),
        }
    }

    /// Its size and shape.
    #[must_use]
    pub const fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Everything since the beginning.
    #[must_use]
    pub const fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Dirty bytes in the cache now: what memory would still have to take.
    #[must_use]
    pub fn dirty_bytes(&self) -> u64 {
        let dirty = self.lines.iter().filter(|&&line| line & 1 == 1).count();
        dirty as u64 * u64::from(self.geometry.line_bytes)
    }

    /// Whether all lines of the range are in the cache.
    #[must_use]
    pub fn holds(&self, range: Range<u64>) -> bool {
        self.lines_of(&range).all(|line| self.find(line).1.is_some())
    }

    /// The CPU reads.
    pub fn cpu_read(&mut self, range: Range<u64>) {
        for line in self.lines_of(&range) {
            self.cpu(line, 0);
        }
    }

    /// The CPU writes; what is not in the cache is read first.
    pub fn cpu_write(&mut self, range: Range<u64>) {
        for line in self.lines_of(&range) {
            self.cpu(line, 1);
        }
    }

    /// The CPU writes whole lines; nothing is read first.
    pub fn cpu_overwrite(&mut self, range: Range<u64>) {
        for line in self.lines_of(&range) {
            match self.find(line) {
                (_, Some(at)) => self.use_way(at, line, 1),
                (set, None) => {
                    let at = self.victim(set, self.geometry.ways);
                    self.place(at, line, 1);
                }
            }
        }
    }

    /// The CPU writes past the cache.
    pub fn stream_write(&mut self, range: Range<u64>) {
        for line in self.lines_of(&range) {
            self.past(line);
        }
    }

    /// A device writes: whole lines, as a disk's transfers of blocks are.
    pub fn dma_write(&mut self, range: Range<u64>) {
        for line in self.lines_of(&range) {
            let (set, way) = self.find(line);
            match way {
                _ if self.geometry.dma_ways == 0 => self.past(line),
                Some(at) => self.use_way(at, line, 1),
                None => {
                    let at = self.victim(set, self.geometry.dma_ways);
                    self.place(at, line, 1);
                }
            }
        }
    }

    /// A device reads.
    pub fn dma_read(&mut self, range: Range<u64>) {
        for line in self.lines_of(&range) {
            if self.find(line).1.is_none() {
                self.traffic.dma_read += u64::from(self.geometry.line_bytes);
            }
        }
    }

    fn lines_of(&self, range: &Range<u64>) -> Range<u64> {
        if range.is_empty() {
            return 0..0;
        }
        debug_assert!(range.end < 1 << 62, "an address beyond any machine's");
        range.start >> self.line_shift..((range.end - 1) >> self.line_shift) + 1
    }

    /// Where the line's set begins, and where the line is.
    fn find(&self, line: u64) -> (usize, Option<usize>) {
        let set = match self.geometry.index {
            Index::Modulo => line % self.sets,
            // The high half of a product is uniform below `sets`, whatever number that is.
            Index::Hashed => {
                let product = u128::from(mix(line)) * u128::from(self.sets);
                u64::try_from(product >> 64).expect("below 2⁶⁴")
            }
        };
        let ways = self.geometry.ways as usize;
        #[expect(clippy::cast_possible_truncation, reason = "the arrays were allocated")]
        let first = set as usize * ways;
        let way = self.lines[first..first + ways].iter().position(|&entry| entry >> 1 == line);
        (first, way.map(|way| first + way))
    }

    /// The least recently used of the first `ways`; an empty one is older than any.
    fn victim(&self, set: usize, ways: u32) -> usize {
        let used = &self.used[set..set + ways as usize];
        let mut oldest = 0;
        for (way, &at) in used.iter().enumerate() {
            if at < used[oldest] {
                oldest = way;
            }
        }
        set + oldest
    }

    fn cpu(&mut self, line: u64, dirty: u64) {
        let (set, way) = self.find(line);
        if let Some(at) = way {
            self.use_way(at, line, self.lines[at] & 1 | dirty);
        } else {
            self.traffic.cpu_read += u64::from(self.geometry.line_bytes);
            let at = self.victim(set, self.geometry.ways);
            self.place(at, line, dirty);
        }
    }

    fn past(&mut self, line: u64) {
        if let (_, Some(at)) = self.find(line) {
            self.lines[at] = EMPTY << 1;
            self.used[at] = 0;
        }
        self.traffic.written += u64::from(self.geometry.line_bytes);
    }

    fn place(&mut self, at: usize, line: u64, dirty: u64) {
        if self.lines[at] & 1 == 1 {
            self.traffic.written += u64::from(self.geometry.line_bytes);
        }
        self.use_way(at, line, dirty);
    }

    fn use_way(&mut self, at: usize, line: u64, dirty: u64) {
        self.clock += 1;
        self.lines[at] = line << 1 | dirty;
        self.used[at] = self.clock;
    }
}

impl core::fmt::Debug for Cache {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Cache")
            .field("geometry", &self.geometry)
            .field("traffic", &self.traffic)
            .finish_non_exhaustive()
    }
}
