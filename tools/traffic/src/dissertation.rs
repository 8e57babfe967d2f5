//! The dissertation's machine and stacks, in the model's terms. Nothing here was fitted to the ratios of figures 4.12
//! and 4.14; what the text does not say is an assumption, numbered A1 to A6 in `docs/design/traffic.md`.
//!
//! | what | says | where |
//! |---|---|---|
//! | cache | Xeon E5-2667 v3, eight cores: 20 MiB, 20 ways, lines of 64 bytes | §4.4 names the processor |
//! | DDIO | "typically 10 %" of it: 2 ways | §2.2.2, footnote 2 |
//! | reads | 16 KiB, the sweet spot; 10 · MSS of credit | §4.3.1.3, §4.3.2 |
//! | I/O window | about 128 requests saturate a drive, in under a millisecond; four drives | §4.3, figure 4.6 |
//! | rates | 73 Gb/s plain, 72 sealed; 13 % less under 4,000 clients | §4.4.1, §4.4.2 |
//! | Netflix's misses | 90 million LLC misses a second, plain | §4.2.2 |

use crate::cache::{Geometry, Index};
use crate::pipeline::{Pipeline, Recycling, Seal};

/// The last-level cache of the Xeon E5-2667 v3, of which DMA may allocate a tenth (§2.2.2, footnote 2).
pub const XEON: Geometry =
    Geometry { bytes: 20 << 20, ways: 20, line_bytes: 64, dma_ways: 2, index: Index::Hashed };

/// Plain HTTP with the NICs saturated, in bits per second (§4.4.1).
pub const PLAIN_RATE: u64 = 73_000_000_000;
/// Reads that saturate a drive (§4.3, figure 4.6).
pub const WINDOW: u64 = 128;
/// Drives (§4.4).
pub const DRIVES: u64 = 4;
/// The size of a read (§4.3.1.3).
pub const READ_BYTES: u32 = 16_384;
/// Lines that the Netflix stack misses per second when it serves plaintext from disk (§4.2.2).
pub const NETFLIX_MISSES: u64 = 90_000_000;

/// A ring of netmap's: not in the text, but the driver's default (A4).
pub const NIC_SLOTS: u64 = 1_024;
/// Stacks, one per core (§4.4).
pub const STACKS: u64 = 4;

/// Atlas with its disks busy and its NICs not: 2,000 clients (§4.4.1).
#[must_use]
pub const fn atlas_at_2000(seal: Seal) -> Pipeline {
    let window = DRIVES * WINDOW * READ_BYTES as u64;
    Pipeline {
        record_bytes: READ_BYTES,
        window_bytes: window,
        // A1: the pages of a read come from dies with queues of their own.
        landing_bytes: window,
        // A3: a NIC with room fetches at once.
        nic_queue_bytes: 0,
        // A5: TX completions are late by a ring, which keeps recycling from being last-in first-out.
        notice_bytes: STACKS * NIC_SLOTS * READ_BYTES as u64,
        recycling: Recycling::Fifo { frames: 0 },
        seal,
        ..Pipeline::PROMPT
    }
}

/// Atlas with both saturated: "deeper queues on the I/O and NIC rings" (§4.4.1), here full ones (A4).
#[must_use]
pub const fn atlas_saturated(seal: Seal) -> Pipeline {
    Pipeline { nic_queue_bytes: STACKS * NIC_SLOTS * READ_BYTES as u64, ..atlas_at_2000(seal) }
}

/// The Netflix stack: a page cache far larger than the CPU's, queues between all stages, sealing out of place into fresh
/// buffers with non-temporal stores (§4.2.3, §4.4.2). `cached` is its 100 % buffer cache.
#[must_use]
pub const fn netflix(sealed: bool, cached: bool) -> Pipeline {
    let ring = 4_096;
    let state_bytes = (NETFLIX_MISSES * 64 * READ_BYTES as u64 / (PLAIN_RATE / 8)) as u32;
    Pipeline {
        record_bytes: READ_BYTES,
        window_bytes: DRIVES * WINDOW * READ_BYTES as u64,
        // A6: asynchronous stages, each longer than the cache ("not immediately consumed, so gets flushed", §4.2.3).
        backlog_bytes: XEON.bytes * 2,
        nic_queue_bytes: XEON.bytes * 2,
        recycling: Recycling::Fifo { frames: 16_384 },
        seal: if sealed { Seal::Into { slots: ring, streaming: true } } else { Seal::Plain },
        cached,
        state_bytes,
        ..Pipeline::PROMPT
    }
}

/// Our engine on the same machine, sealed in place: four workers, each with at most 32 reads of seven records on their way
/// (`turn::Config`'s defaults), of which `window_bytes` are; the NIC `nic_queue_bytes` behind.
#[must_use]
pub const fn ours(window_bytes: u64, nic_queue_bytes: u64, recycling: Recycling) -> Pipeline {
    Pipeline {
        records_per_read: 7,
        window_bytes,
        landing_bytes: window_bytes,
        nic_queue_bytes,
        notice_bytes: 0,
        recycling,
        seal: Seal::InPlace,
        ..Pipeline::PROMPT
    }
}

/// The most that our four workers read at once.
pub const OURS_WINDOW_MAX: u64 = STACKS * 32 * 7 * READ_BYTES as u64;
