//! The sending half: a ring of slots that the kernel empties strictly in order.
//!
//! ```text
//!   slot     0    1    2    3    4    5    6    7
//!                 ▲         ▲         ▲
//!   head ─────────┘         │         └── tail: filled next
//!   taken ──────────────────┘
//!            head..taken   the kernel's, until the device has let go of the payload
//!            taken..tail   staged: the kernel takes them at the next flush, or when the device has room again
//! ```
//!
//! Headers are copied by the kernel; payload is read where it lies in the slot, by the NIC if it can, and the slot is
//! free when its status says so. Few slots are enough, and few stay in the cache: what is sealed into a slot is still there
//! when it is read.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netlink::Generic;
use platform::LinkCounters;
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::sys;
use crate::sys::ring::TxSlots;

/// A device that had no room so many times in a row may have lost what we rely on: it is asked.
const REFUSALS_SUSPICIOUS: u16 = 256;
/// And so many times in a row, it is not waited for: TCP will ask again. What is staged may be a megabyte, so that a
/// receiver that is late by some milliseconds is worth waiting for.
const REFUSALS_MAX: u16 = 16 * REFUSALS_SUSPICIOUS;

/// What makes the kernel look at the ring.
pub(crate) trait Doorbell {
    /// Lets the kernel take what is staged. How many bytes it sent, or why it stopped before the first that it could not.
    fn ring(&mut self) -> Result<usize, Errno>;

    /// The device refuses for so long that something else may be wrong: whether there is another way to it.
    fn relent(&mut self) -> bool {
        false
    }
}

/// The socket of a TX ring.
#[derive(Debug)]
pub(crate) struct Sender {
    fd: OwnedFd,
    /// Tells what the device can do; opened when sockets may still be.
    generic: Option<Generic>,
    /// Packets leave past the queueing discipline.
    bypasses: bool,
    /// The interface was removed.
    gone: bool,
}

impl Sender {
    pub(crate) fn new(fd: OwnedFd, generic: Option<Generic>) -> Self {
        Self { bypasses: sys::bypasses(fd.as_fd()), fd, generic, gone: false }
    }

    /// For the sender that takes this one's place.
    pub(crate) fn take_generic(&mut self) -> Option<Generic> {
        self.generic.take()
    }

    /// The device cuts superframes and computes checksums, or nobody knows.
    fn is_offloading(&mut self) -> bool {
        let index = sys::interface_of(self.fd.as_fd());
        let told = index.zip(self.generic.as_mut()).and_then(|(index, generic)| generic.offloads(index).ok());
        told.flatten().is_none_or(|device| device.tso && device.tso6 && device.tx_checksum)
    }

    pub(crate) fn bypasses(&self) -> bool {
        self.bypasses
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Doorbell for Sender {
    fn ring(&mut self) -> Result<usize, Errno> {
        let rung = rustix::net::send(self.as_fd(), &[], SendFlags::DONTWAIT);
        self.gone |= matches!(rung, Err(Errno::NXIO | Errno::NODEV));
        rung
    }

    /// A device that has lost its offloads since has what it would have to cut refused, for ever. Through the queueing
    /// discipline the kernel cuts.
    fn relent(&mut self) -> bool {
        if !self.bypasses || self.is_offloading() {
            return false;
        }
        self.bypasses = false;
        sys::set_bypass(self.as_fd(), false).is_ok()
    }
}

/// What was asked of the kernel, beside [`LinkCounters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingCounters {
    /// System calls that sent.
    pub send_calls: u64,
    /// Of those, the ones after which something was left that the device had no room for.
    pub refusals: u64,
}

/// A TX ring.
#[derive(Debug)]
pub(crate) struct TxRing<D> {
    slots: TxSlots,
    doorbell: D,
    /// How long the packet in each slot is.
    lens: Box<[u32]>,
    /// These count up for ever; a slot is one of them modulo the number of slots, which is a power of two.
    head: u32,
    taken: u32,
    tail: u32,
    /// Flushes in a row by which nothing was taken.
    refusals: u16,
    /// Packets given up and not yet reported by `reclaim`.
    given_up: usize,
    pub(crate) calls: RingCounters,
}

impl<D: Doorbell> TxRing<D> {
    pub(crate) fn new(slots: TxSlots, doorbell: D) -> Self {
        let count = slots.count();
        let lens = (0..count).map(|_| 0).collect();
        let calls = RingCounters::default();
        Self { slots, doorbell, lens, head: 0, taken: 0, tail: 0, refusals: 0, given_up: 0, calls }
    }

    pub(crate) fn doorbell(&self) -> &D {
        &self.doorbell
    }

    pub(crate) fn doorbell_mut(&mut self) -> &mut D {
        &mut self.doorbell
    }

    /// How much payload a slot takes.
    pub(crate) fn payload_bytes_max(&self) -> usize {
        self.slots.payload_bytes_max()
    }

    fn slot(&self, position: u32) -> u32 {
        position & (self.slots.count() - 1)
    }

    /// The payload of the next slot, to be written; `None` when all are filled or on their way.
    pub(crate) fn room(&mut self) -> Option<&mut [u8]> {
        if self.tail.wrapping_sub(self.head) == self.slots.count() {
            return None;
        }
        Some(self.slots.payload_mut(self.slot(self.tail)))
    }

    /// Stages what was written to [`room`](Self::room), behind `heads`.
    ///
    /// # Panics
    /// There is no room.
    pub(crate) fn stage(&mut self, heads: [&[u8]; 2], payload_bytes: usize) {
        assert!(self.tail.wrapping_sub(self.head) < self.slots.count(), "no slot is free");
        let slot = self.slot(self.tail);
        self.slots.request(slot, heads, payload_bytes);
        // What a counter counts as the packet is what a wire would carry: without the virtio-net header.
        self.lens[slot as usize] = u32::try_from(heads[1].len() + payload_bytes).expect("a slot is small");
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel take what is staged, as far as the device has room.
    pub(crate) fn flush(&mut self, counters: &mut LinkCounters) {
        while self.taken != self.tail {
            let rung = self.doorbell.ring();
            self.calls.send_calls += 1;
            let (count, bytes) = self.advance();
            let mut lost = 0;
            if let Ok(sent) = rung
                && (sent as u64) < bytes
            {
                // The kernel skipped what it found no sense in, and says so only by the sum.
                lost = 1;
            }
            counters.sent += count - lost.min(count);
            counters.sent_bytes += if lost > 0 { bytes.min(rung.unwrap_or(0) as u64) } else { bytes };
            counters.send_errors += lost;
            if count > 0 {
                self.refusals = 0;
            }
            match rung {
                Err(Errno::INTR) => {}
                Ok(_) if count > 0 => {}
                Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS) => {
                    self.calls.refusals += 1;
                    self.refusals += 1;
                    let is_suspicious = self.refusals.is_multiple_of(REFUSALS_SUSPICIOUS);
                    if is_suspicious && self.doorbell.relent() {
                        continue;
                    }
                    if self.refusals >= REFUSALS_MAX {
                        self.give_up(counters);
                    }
                    return;
                }
                // The interface is down or gone. What is staged is for a time that is over.
                Err(_) => return self.give_up(counters),
            }
        }
    }

    /// Notices what the kernel has taken since: how many packets, and their bytes.
    fn advance(&mut self) -> (u64, u64) {
        let (mut count, mut bytes) = (0, 0);
        while self.taken != self.tail && !self.slots.is_waiting(self.slot(self.taken)) {
            count += 1;
            bytes += u64::from(self.lens[self.slot(self.taken) as usize]);
            self.taken = self.taken.wrapping_add(1);
        }
        (count, bytes)
    }

    /// Takes back what the kernel has not taken. It goes on at the same slot, which is the next to be filled.
    fn give_up(&mut self, counters: &mut LinkCounters) {
        self.refusals = 0;
        while self.tail != self.taken {
            self.tail = self.tail.wrapping_sub(1);
            self.slots.take_back(self.slot(self.tail));
            self.given_up += 1;
            counters.send_errors += 1;
        }
    }

    /// Notices which slots are free again, in order. Returns how many packets those were.
    pub(crate) fn reclaim(&mut self) -> usize {
        let mut count = core::mem::take(&mut self.given_up);
        while self.head != self.taken && self.slots.is_free(self.slot(self.head)) {
            self.head = self.head.wrapping_add(1);
            count += 1;
        }
        count
    }

    /// Packets staged or on their way.
    pub(crate) fn in_flight(&self) -> usize {
        self.tail.wrapping_sub(self.head) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::ring::kernel::Kernel;
    use core::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;

    /// A device that takes so many packets, completes what it is told to, and says what it is told to say.
    #[derive(Debug)]
    struct Device {
        kernel: Kernel,
        room: usize,
        /// Packets it skips, by their number.
        skips: Option<usize>,
        refuses_with: Errno,
        /// Room that there is once it is asked for otherwise.
        other_way: Option<usize>,
        taken: Vec<(u32, Vec<u8>)>,
        on_their_way: VecDeque<u32>,
    }

    #[derive(Clone, Debug)]
    struct Shared(Rc<RefCell<Device>>);

    impl Doorbell for Shared {
        fn ring(&mut self) -> Result<usize, Errno> {
            let device = &mut *self.0.borrow_mut();
            let mut sum = 0;
            loop {
                if device.room == 0 {
                    return if sum > 0 { Ok(sum) } else { Err(device.refuses_with) };
                }
                let Some((slot, bytes)) = device.kernel.take() else { return Ok(sum) };
                device.room -= 1;
                if device.skips == Some(device.taken.len()) {
                    device.kernel.complete(slot);
                } else {
                    sum += bytes.len() - vnet::HEADER_BYTES;
                    device.on_their_way.push_back(slot);
                }
                device.taken.push((slot, bytes));
            }
        }

        fn relent(&mut self) -> bool {
            let device = &mut *self.0.borrow_mut();
            device.other_way.take().inspect(|room| device.room = *room).is_some()
        }
    }

    struct Fixture {
        // Before the ring whose memory it names.
        device: Shared,
        ring: TxRing<Shared>,
        counters: LinkCounters,
    }

    fn ring_of(count: u32) -> Fixture {
        let (slots, kernel) = TxSlots::with_kernel(count);
        let device = Shared(Rc::new(RefCell::new(Device {
            kernel,
            room: usize::MAX,
            skips: None,
            refuses_with: Errno::NOBUFS,
            other_way: None,
            taken: Vec::new(),
            on_their_way: VecDeque::new(),
        })));
        Fixture { ring: TxRing::new(slots, device.clone()), device, counters: LinkCounters::default() }
    }

    impl Fixture {
        fn stage(&mut self, number: u8) -> bool {
            let Some(room) = self.ring.room() else { return false };
            room[..3].fill(number);
            self.ring.stage([&[0; vnet::HEADER_BYTES], &[0xee, number]], 3);
            true
        }

        fn fill(&mut self) -> usize {
            (0..=u8::MAX).take_while(|number| self.stage(*number)).count()
        }

        fn flush(&mut self) {
            self.ring.flush(&mut self.counters);
        }

        fn seen(&self) -> Vec<u8> {
            self.device.0.borrow().taken.iter().map(|(_, bytes)| *bytes.last().unwrap()).collect()
        }

        fn complete(&self, count: usize) {
            let device = &mut *self.device.0.borrow_mut();
            for slot in device.on_their_way.drain(..count) {
                device.kernel.complete(slot);
            }
        }
    }

    #[test]
    fn a_packet_lies_in_its_slot_behind_its_headers() {
        let mut fixture = ring_of(2);
        fixture.stage(7);
        fixture.flush();
        let expected = [&[0; vnet::HEADER_BYTES][..], &[0xee, 7, 7, 7, 7]].concat();
        assert_eq!(fixture.device.0.borrow().taken, [(0, expected)]);
        assert_eq!((fixture.counters.sent, fixture.counters.sent_bytes), (1, 5));
    }

    #[test]
    fn a_ring_has_as_many_slots_as_it_has_and_they_come_back_in_order() {
        let mut fixture = ring_of(4);
        assert_eq!(fixture.fill(), 4);
        fixture.flush();
        assert_eq!((fixture.ring.reclaim(), fixture.ring.in_flight()), (0, 4), "the device has them");
        assert!(!fixture.stage(9));
        fixture.complete(2);
        assert_eq!((fixture.ring.reclaim(), fixture.ring.in_flight()), (2, 2));
        assert_eq!(fixture.fill(), 2);
        fixture.flush();
        fixture.complete(4);
        assert_eq!((fixture.ring.reclaim(), fixture.ring.in_flight()), (4, 0));
        assert_eq!(fixture.seen(), [0, 1, 2, 3, 0, 1]);
    }

    #[test]
    fn a_slot_that_is_free_before_an_older_one_waits_for_it() {
        let mut fixture = ring_of(4);
        fixture.fill();
        fixture.flush();
        fixture.device.0.borrow_mut().on_their_way.swap(0, 1);
        fixture.complete(1);
        assert_eq!(fixture.ring.reclaim(), 0);
        fixture.complete(1);
        assert_eq!(fixture.ring.reclaim(), 2);
    }

    #[test]
    fn what_a_busy_device_leaves_is_taken_later_in_order() {
        let mut fixture = ring_of(8);
        fixture.device.0.borrow_mut().room = 3;
        fixture.fill();
        fixture.flush();
        assert_eq!((fixture.seen().len(), fixture.ring.in_flight()), (3, 8));
        fixture.complete(3);
        assert_eq!(fixture.ring.reclaim(), 3);
        fixture.stage(8);
        fixture.device.0.borrow_mut().room = usize::MAX;
        fixture.flush();
        assert_eq!(fixture.seen(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((fixture.counters.sent, fixture.counters.send_errors), (9, 0));
    }

    #[test]
    fn a_device_that_stays_busy_is_given_up_and_the_ring_goes_on_at_the_same_slot() {
        let mut fixture = ring_of(4);
        fixture.device.0.borrow_mut().room = 1;
        fixture.fill();
        for _ in 0..REFUSALS_MAX {
            assert_eq!(fixture.ring.in_flight(), 4);
            fixture.flush();
        }
        assert_eq!((fixture.ring.in_flight(), fixture.counters.send_errors), (1, 3));
        assert_eq!(fixture.ring.reclaim(), 3, "given up is reclaimed too");
        fixture.device.0.borrow_mut().room = usize::MAX;
        fixture.stage(5);
        fixture.flush();
        assert_eq!(fixture.seen(), [0, 5]);
        let slots: Vec<u32> = fixture.device.0.borrow().taken.iter().map(|(slot, _)| *slot).collect();
        assert_eq!(slots, [0, 1]);
    }

    #[test]
    fn a_device_that_stays_busy_is_tried_another_way_first() {
        let mut fixture = ring_of(4);
        fixture.device.0.borrow_mut().room = 1;
        fixture.device.0.borrow_mut().other_way = Some(usize::MAX);
        fixture.fill();
        for _ in 0..REFUSALS_SUSPICIOUS {
            fixture.flush();
        }
        assert_eq!(fixture.seen(), [0, 1, 2, 3]);
        assert_eq!((fixture.counters.sent, fixture.counters.send_errors), (4, 0));
    }

    #[test]
    fn an_interface_that_is_down_loses_what_is_staged_at_once() {
        let mut fixture = ring_of(4);
        fixture.device.0.borrow_mut().room = 0;
        fixture.device.0.borrow_mut().refuses_with = Errno::NETDOWN;
        fixture.fill();
        fixture.flush();
        assert_eq!((fixture.ring.in_flight(), fixture.ring.reclaim()), (0, 4));
        assert_eq!((fixture.counters.sent, fixture.counters.send_errors), (0, 4));
        fixture.device.0.borrow_mut().room = usize::MAX;
        fixture.stage(1);
        fixture.flush();
        assert_eq!(fixture.seen(), [1]);
    }

    #[test]
    fn a_packet_that_the_kernel_skips_is_counted_and_stops_nothing() {
        let mut fixture = ring_of(4);
        fixture.device.0.borrow_mut().skips = Some(1);
        fixture.fill();
        fixture.flush();
        assert_eq!(fixture.seen(), [0, 1, 2, 3]);
        fixture.complete(3);
        assert_eq!(fixture.ring.reclaim(), 4);
        let LinkCounters { sent, sent_bytes, send_errors, .. } = fixture.counters;
        assert_eq!((sent, sent_bytes, send_errors), (3, 15, 1));
    }

    #[test]
    #[should_panic(expected = "is on its way")]
    fn a_slot_on_its_way_is_nobodys_to_write() {
        let (mut slots, mut kernel) = TxSlots::with_kernel(2);
        slots.request(0, [&[], &[]], 10);
        assert!(kernel.take().is_some());
        let _ = slots.payload_mut(0);
    }
}
