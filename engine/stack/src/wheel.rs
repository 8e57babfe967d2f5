//! A hierarchical timing wheel: one timer per slot of the connection table, O(1) to set, move and cancel.
//!
//! ```text
//! level 0   64 ticks of 16.4 µs          │││││││││…  1 ms
//! level 1   64 × 64 ticks                │ │ │ │ …  67 ms
//! level 2   64 × 64 × 64 ticks           │  │  │ …  4.3 s
//!   …       nine levels reach every instant there is
//! ```
//!
//! A timer stands on the level of the highest base-64 digit in which its tick differs from the wheel's. When the wheel
//! reaches the slot it stands in, it moves down, at most eight times in its life; most timers are moved or cancelled long
//! before. A bitmap per level tells the first occupied slot, so that an idle wheel costs nothing to advance, however far.
//!
//! Timers fire in the order of their ticks; those of one tick in an order that depends on nothing but what was called.

use alloc::vec::Vec;
use clock::Instant;

#[cfg(test)]
mod tests;

/// Nanoseconds per tick, as a power of two: 16,384 ns. Fine enough to pace, coarse enough to batch.
const TICK_BITS: u32 = 14;

/// Nanoseconds per tick.
pub const TICK_NANOS: u64 = 1 << TICK_BITS;

const LEVEL_BITS: u32 = 6;
const SLOTS_PER_LEVEL: usize = 1 << LEVEL_BITS;
/// Nine digits of six bits hold the 50 bits of a tick.
const LEVELS: usize = 9;

const _: () =
    assert!(LEVELS == (u64::BITS - TICK_BITS).div_ceil(LEVEL_BITS) as usize, "every instant has a place");

/// The list of timers that are due, behind the lists of all levels.
const DUE: u16 = 576;
const _: () = assert!(DUE as usize == LEVELS * SLOTS_PER_LEVEL, "the due list comes after the levels");

/// A timer that is in no list.
const UNSET: u16 = u16::MAX;

/// No timer.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Timer {
    tick: u64,
    next: u32,
    previous: u32,
    list: u16,
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

/// The wheel.
#[derive(Debug)]
pub struct Wheel {
    timers: Vec<Timer>,
    lists: Vec<List>,
    occupied: [u64; LEVELS],
    /// All timers at this tick and before have become due.
    elapsed: u64,
    len: u32,
}

impl Wheel {
    /// A wheel for timers `0..count` that begins at `now`.
    #[must_use]
    pub fn new(count: u32, now: Instant) -> Self {
        let unset = Timer { tick: 0, next: NONE, previous: NONE, list: UNSET };
        Self {
            timers: alloc::vec![unset; count as usize],
            lists: alloc::vec![List { first: NONE, last: NONE }; LEVELS * SLOTS_PER_LEVEL + 1],
            occupied: [0; LEVELS],
            elapsed: now.as_nanos() >> TICK_BITS,
            len: 0,
        }
    }

    /// How many timers are set.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Sets a timer, or moves it: it fires at `at` or less than a tick later, and never before the next tick of the wheel,
    /// so that a timer that sets itself again cannot hold up a turn. [`Instant::NEVER`] cancels it.
    ///
    /// # Panics
    /// A timer beyond the count that the wheel was made for.
    pub fn schedule(&mut self, timer: u32, at: Instant) {
        if at == Instant::NEVER {
            self.cancel(timer);
            return;
        }
        let tick = at.as_nanos().div_ceil(TICK_NANOS).max(self.elapsed + 1);
        let Timer { tick: old_tick, list, .. } = self.timers[timer as usize];
        if list != UNSET && list != DUE && old_tick == tick {
            return;
        }
        if list != UNSET {
            self.unlink(timer);
        } else {
            self.len += 1;
        }
        self.timers[timer as usize].tick = tick;
        self.link(timer, self.list_of(tick));
    }

    /// Cancels a timer, also when it is due and was not yet popped; nothing happens when it is not set.
    ///
    /// # Panics
    /// A timer beyond the count that the wheel was made for.
    pub fn cancel(&mut self, timer: u32) {
        if self.timers[timer as usize].list != UNSET {
            self.unlink(timer);
            self.timers[timer as usize].list = UNSET;
            self.len -= 1;
        }
    }

    /// When a timer will fire, to the tick; `None` when it is not set.
    #[must_use]
    pub fn deadline_of(&self, timer: u32) -> Option<Instant> {
        let Timer { tick, list, .. } = *self.timers.get(timer as usize)?;
        (list != UNSET).then(|| instant_of(tick))
    }

    /// When to call [`Wheel::pop`] next; `None` when no timer is set.
    ///
    /// Exact for timers up to a millisecond away. Before a farther one it names the moment at which the timer moves down
    /// a level: never after the timer's tick, and at most eight times in vain.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.lists[usize::from(DUE)].first != NONE {
            return Some(instant_of(self.elapsed));
        }
        self.first_occupied().map(|(_, tick)| instant_of(tick))
    }

    /// Takes out a timer that is due at `now`, the earliest first; call until `None`.
    pub fn pop(&mut self, now: Instant) -> Option<u32> {
        let now_tick = now.as_nanos() >> TICK_BITS;
        loop {
            let due = self.lists[usize::from(DUE)].first;
            if due != NONE {
                self.cancel(due);
                return Some(due);
            }
            match self.first_occupied() {
                Some((list, tick)) if tick <= now_tick => {
                    self.elapsed = tick;
                    self.move_down(list);
                }
                _ => {
                    // Nothing before `now`: later timers keep their places, since none of their slots was reached.
                    self.elapsed = self.elapsed.max(now_tick);
                    return None;
                }
            }
        }
    }

    /// The list that the wheel reaches first, and the tick at which it does.
    ///
    /// It is on the lowest level that has any: what stands higher differs from `elapsed` in a higher digit, so is later.
    fn first_occupied(&self) -> Option<(u16, u64)> {
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = u64::from(self.occupied[level].trailing_zeros());
        // At most 9 × 64 lists, at most 48 bits of shift.
        let list = u16::try_from(level * SLOTS_PER_LEVEL).ok()? + u16::try_from(slot).ok()?;
        let shift = u32::try_from(level).ok()? * LEVEL_BITS;
        let above = (self.elapsed >> shift >> LEVEL_BITS) << LEVEL_BITS;
        Some((list, (above | slot) << shift))
    }

    /// Empties a list that the wheel has reached: into the due list, or to lower levels.
    fn move_down(&mut self, list: u16) {
        let mut timer = self.lists[usize::from(list)].first;
        while timer != NONE {
            let Timer { tick, next, .. } = self.timers[timer as usize];
            self.unlink(timer);
            self.link(timer, self.list_of(tick));
            timer = next;
        }
    }

    fn list_of(&self, tick: u64) -> u16 {
        if tick <= self.elapsed {
            return DUE;
        }
        let highest_bit = u64::BITS - 1 - (tick ^ self.elapsed).leading_zeros();
        let level = highest_bit / LEVEL_BITS;
        let slot = (tick >> (level * LEVEL_BITS)) & (SLOTS_PER_LEVEL as u64 - 1);
        u16::try_from(u64::from(level) * SLOTS_PER_LEVEL as u64 + slot).expect("at most 9 × 64 lists")
    }

    /// Puts a timer, which is in no list, at the end of one.
    fn link(&mut self, timer: u32, list: u16) {
        let List { first, last } = &mut self.lists[usize::from(list)];
        let previous = core::mem::replace(last, timer);
        if previous == NONE {
            *first = timer;
        } else {
            self.timers[previous as usize].next = timer;
        }
        let entry = &mut self.timers[timer as usize];
        entry.previous = previous;
        entry.next = NONE;
        entry.list = list;
        if let Some(slots) = self.occupied.get_mut(usize::from(list) / SLOTS_PER_LEVEL) {
            *slots |= 1 << (list % 64);
        }
    }

    /// Takes a timer out of its list; the caller puts it into another or says that it is in none.
    fn unlink(&mut self, timer: u32) {
        let Timer { next, previous, list, .. } = self.timers[timer as usize];
        if previous == NONE {
            self.lists[usize::from(list)].first = next;
        } else {
            self.timers[previous as usize].next = next;
        }
        if next == NONE {
            self.lists[usize::from(list)].last = previous;
        } else {
            self.timers[next as usize].previous = previous;
        }
        if self.lists[usize::from(list)].first == NONE
            && let Some(slots) = self.occupied.get_mut(usize::from(list) / SLOTS_PER_LEVEL)
        {
            *slots &= !(1 << (list % 64));
        }
    }
}

fn instant_of(tick: u64) -> Instant {
    Instant::from_nanos(tick.saturating_mul(TICK_NANOS))
}
