//! Signals, as things that a poll loop reads.

use core::fmt;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGINT or SIGTERM: finish what is being sent, then leave; a second one: leave now.
    Leave,
    /// SIGHUP: read configuration, certificate and catalogue again.
    Reload,
    /// SIGUSR1: the access log was moved away, open it again.
    Reopen,
}

/// The process could not take charge of its signals.
#[derive(Debug)]
pub struct SignalError(io::Error);

impl fmt::Display for SignalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot catch signals: {}", self.0)
    }
}

impl core::error::Error for SignalError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// The signals that control acts on, caught from the moment this is made.
pub struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl Signals {
    /// Catches SIGINT, SIGTERM, SIGHUP and SIGUSR1. To be made before the workers, so that none is lost meanwhile.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn catch() -> Result<Self, SignalError> {
        let (read, write) = UnixStream::pair().map_err(SignalError)?;
        let delivery = SignalDelivery::with_pipe(read, write, SignalOnly, [SIGINT, SIGTERM, SIGHUP, SIGUSR1])
            .map_err(SignalError)?;
        Ok(Self { delivery })
    }

    /// What has arrived since the last call. Signals of one kind may have been merged.
    pub(crate) fn take(&mut self) -> Vec<Signal> {
        self.delivery
            .pending()
            .filter_map(|signal| match signal {
                SIGINT | SIGTERM => Some(Signal::Leave),
                SIGHUP => Some(Signal::Reload),
                SIGUSR1 => Some(Signal::Reopen),
                _ => None,
            })
            .collect()
    }

    /// A SIGINT or SIGTERM has arrived; everything that arrived with it is forgotten. For start-up, before there is
    /// anything to drain or reload.
    pub fn told_to_leave(&mut self) -> bool {
        self.take().contains(&Signal::Leave)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signals")
    }
}
