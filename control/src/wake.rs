//! How one thread ends another's sleep: an eventfd.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// A bell that any thread may ring and one thread sleeps beside. Clones name the same bell.
#[derive(Clone, Debug)]
pub struct Wake {
    fd: Arc<OwnedFd>,
}

impl Wake {
    /// A silent bell.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { fd: Arc::new(fd) })
    }

    /// Makes the descriptor readable until it is [`silenced`](Self::silence). Never blocks.
    pub fn ring(&self) {
        // Any number but zero rings. The write can only fail when the counter is about to overflow: then the bell
        // is ringing already.
        let _ = rustix::io::write(&*self.fd, &1_u64.to_le_bytes());
    }

    /// Forgets every ring so far. Returns whether there was one.
    pub fn silence(&self) -> bool {
        let mut count = [0; 8];
        rustix::io::read(&*self.fd, &mut count).is_ok()
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn readable(wake: &Wake) -> bool {
        let mut fds = [PollFd::new(wake, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn a_rung_bell_stays_readable_until_it_is_silenced() {
        let wake = Wake::new().unwrap();
        assert!(!readable(&wake));
        let other = wake.clone();
        other.ring();
        wake.ring();
        assert!(readable(&wake));
        assert!(wake.silence());
        assert!(!readable(&wake) && !wake.silence());
    }
}
