//! What the engine runs on here: a link that may refuse, a disk in memory, and a clock that only the world moves.

use alloc::rc::Rc;
use clock::Instant;
use core::cell::Cell;
use core::time::Duration;
use disk_memory::MemoryDisk;
use link_memory::MemoryLink;
use platform::{
    Clock, Entropy, Full, Headers, Link, LinkCapabilities, LinkCounters, Offload, Packet, Platform, Received,
};
use std::os::fd::BorrowedFd;

/// The four choices.
#[derive(Debug)]
pub(crate) enum Machine {}

impl Platform for Machine {
    type Link = NarrowLink;
    type Disk = MemoryDisk;
    type Clock = WorldClock;
    type Entropy = Numbers;
}

/// A clock whose clones tell the same time.
#[derive(Clone, Debug)]
pub(crate) struct WorldClock(pub(crate) Rc<Cell<u64>>);

impl WorldClock {
    pub(crate) fn instant(&self) -> Instant {
        Instant::from_nanos(self.0.get())
    }
}

impl Clock for WorldClock {
    fn now(&mut self) -> Instant {
        self.instant()
    }

    fn unix_time(&mut self) -> Duration {
        Duration::from_nanos(self.0.get())
    }
}

/// The same numbers every time, and how often they were asked for.
#[derive(Debug)]
pub(crate) struct Numbers {
    pub(crate) last: u8,
    pub(crate) drawn: Rc<Cell<usize>>,
}

impl Entropy for Numbers {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.drawn.set(self.drawn.get() + 1);
        for byte in bytes {
            self.last = self.last.wrapping_mul(181).wrapping_add(101);
            *byte = self.last;
        }
    }
}

/// A memory link that takes only so many packets until it is given room again.
#[derive(Debug)]
pub(crate) struct NarrowLink {
    pub(crate) inner: MemoryLink,
    /// Packets that it takes still.
    pub(crate) room: Rc<Cell<usize>>,
    pub(crate) refused: Rc<Cell<usize>>,
}

impl NarrowLink {
    fn is_full(&self) -> bool {
        let room = self.room.get();
        if room == 0 {
            self.refused.set(self.refused.get() + 1);
            return true;
        }
        self.room.set(room - 1);
        false
    }
}

impl Link for NarrowLink {
    fn capabilities(&self) -> LinkCapabilities {
        self.inner.capabilities()
    }

    fn receive(&mut self) -> Option<Received<'_>> {
        self.inner.receive()
    }

    fn stage(&mut self, packet: &mut Packet) -> Result<(), Full<()>> {
        if self.is_full() { Err(Full(())) } else { self.inner.stage(packet) }
    }

    fn stage_bytes(&mut self, bytes: &[u8]) -> Result<(), Full<()>> {
        if self.is_full() { Err(Full(())) } else { self.inner.stage_bytes(bytes) }
    }

    fn room(&mut self) -> Option<&mut [u8]> {
        if self.room.get() == 0 {
            self.refused.set(self.refused.get() + 1);
            return None;
        }
        self.inner.room()
    }

    fn stage_room(&mut self, bytes: usize, offload: Offload) {
        self.room.set(self.room.get() - 1);
        self.inner.stage_room(bytes, offload);
    }

    fn slot(&mut self) -> Option<&mut [u8]> {
        if self.room.get() == 0 {
            self.refused.set(self.refused.get() + 1);
            return None;
        }
        self.inner.slot()
    }

    fn stage_slot(&mut self, headers: &Headers, payload_bytes: usize, offload: Offload) {
        self.room.set(self.room.get() - 1);
        self.inner.stage_slot(headers, payload_bytes, offload);
    }

    fn flush(&mut self) {
        self.inner.flush();
    }

    fn reclaim(&mut self) -> usize {
        self.inner.reclaim()
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    fn counters(&self) -> LinkCounters {
        self.inner.counters()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn is_lost(&self) -> bool {
        self.inner.is_lost()
    }
}
