//! Keeping a list of promises.

use core::panic::AssertUnwindSafe;
use std::os::fd::BorrowedFd;
use std::panic::catch_unwind;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

/// A sentence, and the code that holds a backend to it.
pub(crate) type Promise<F> = (&'static str, fn(&mut F));

/// Writes a list of promises from the functions' own names.
macro_rules! promises {
    ($($name:ident),+ $(,)?) => { vec![$((stringify!($name), $name)),+] };
}
pub(crate) use promises;

/// Holds a fresh fixture to each promise.
///
/// # Panics
/// A promise was broken; the message names each one, and the output above it says how.
pub(crate) fn keep<F>(promises: Vec<Promise<F>>, mut make: impl FnMut() -> F) {
    let count = promises.len();
    let broken: Vec<&str> = promises
        .into_iter()
        .filter(|(_, promise)| {
            let mut fixture = make();
            catch_unwind(AssertUnwindSafe(|| promise(&mut fixture))).is_err()
        })
        .map(|(name, _)| name)
        .collect();
    assert!(broken.is_empty(), "{} of {count} promises broken: {}", broken.len(), broken.join(", "));
}

/// Whether `descriptor` wakes a sleeper within two seconds. Being readable when the sleeper gives up is not
/// waking it: poll(2) looks once more before it returns.
pub(crate) fn wakes(descriptor: BorrowedFd<'_>) -> bool {
    const PATIENCE: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };
    let mut descriptors = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
    let began = clock_gettime(ClockId::Monotonic);
    let woken = poll(&mut descriptors, Some(&PATIENCE)).is_ok_and(|ready| ready == 1);
    woken && clock_gettime(ClockId::Monotonic) < began + PATIENCE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_is_one(value: &mut u32) {
        assert_eq!(*value, 1);
    }

    fn one_is_two(value: &mut u32) {
        assert_eq!(*value, 2);
    }

    #[test]
    fn promises_that_hold_pass() {
        keep(promises![one_is_one], || 1);
    }

    #[test]
    #[should_panic(expected = "1 of 2 promises broken: one_is_two")]
    fn a_broken_promise_is_named() {
        keep(promises![one_is_one, one_is_two], || 1);
    }
}
