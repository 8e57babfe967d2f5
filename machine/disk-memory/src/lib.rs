//! A disk in memory, with latencies, reordering and errors by seed.
