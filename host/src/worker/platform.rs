//! The four types that a worker runs on, here on Linux.

use clock::Instant;
use core::marker::PhantomData;
use core::time::Duration;
use disk_uring::DiskUring;
use platform::{Clock, Entropy, Link, Platform};
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::io;

/// This machine, with this link.
#[derive(Debug)]
pub(super) struct Here<L>(PhantomData<L>);

impl<L: Link> Platform for Here<L> {
    type Link = L;
    type Disk = DiskUring;
    type Clock = Monotonic;
    type Entropy = Random;
}

/// `CLOCK_MONOTONIC` for deadlines, `CLOCK_REALTIME_COARSE` for dates: both without a system call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Monotonic;

impl Clock for Monotonic {
    fn now(&mut self) -> Instant {
        let since = since_epoch(clock_gettime(ClockId::Monotonic));
        Instant::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn unix_time(&mut self) -> Duration {
        since_epoch(clock_gettime(ClockId::RealtimeCoarse))
    }
}

/// A time before the epoch is the epoch.
fn since_epoch(Timespec { tv_sec, tv_nsec }: Timespec) -> Duration {
    Duration::new(u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0))
}

/// `getrandom(2)`, asked once at start, so that a kernel without randomness is found out there.
#[derive(Debug)]
pub(super) struct Random {
    ready: [u8; READY_BYTES],
    used: usize,
}

/// More than an engine ever asks for; one call of this size is never cut short.
const READY_BYTES: usize = 256;

impl Random {
    pub(super) fn new() -> io::Result<Self> {
        let mut ready = [0; READY_BYTES];
        fill(&mut ready)?;
        Ok(Self { ready, used: 0 })
    }
}

impl Entropy for Random {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == READY_BYTES {
                fill(&mut self.ready).expect("the kernel gave randomness before, and cannot run out of it");
                self.used = 0;
            }
            *byte = core::mem::take(&mut self.ready[self.used]);
            self.used += 1;
        }
    }
}

fn fill(mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match getrandom(&mut *bytes, GetRandomFlags::empty()) {
            Ok(filled) => bytes = &mut bytes[filled..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_go_backwards() {
        let mut clock = Monotonic;
        let first = clock.now();
        assert!(clock.now() >= first && first > Instant::EPOCH);
        assert!(clock.unix_time() > Duration::from_secs(1_700_000_000));
    }

    #[test]
    fn randomness_never_repeats_over_a_refill() {
        let mut random = Random::new().unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            let mut bytes = [0; 16];
            random.fill(&mut bytes);
            assert!(seen.insert(bytes));
        }
    }
}
