//! The way of bytes from the disk to one worker's shelf: a thread reads, the worker only takes.
//!
//! ```text
//!   worker: Seat ── Want ──▶ ring ──▶ Loader: reads, compares       one thread for each worker, which may block
//!                ◀─ Piece ── ring ◀──          │
//!                ◀─ bell ──────────────────────┘
//! ```
//!
//! What nobody waits for any more is passed over: a disk that is too slow for what is asked of it reads what can still be
//! answered, and not a queue of what cannot. Both rings are bounded. The worker never waits: what does not fit is not asked for. The loader does: a worker that is
//! busy gets its pieces when it has time for them.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use control::Wake;

use crate::load::{LoadError, Site, Variant};

/// Objects that a worker may want at once; what is wanted beyond is answered with 503.
pub const WANTS_MAX: usize = 256;

/// Pieces that may wait for the worker: a megabyte.
const PIECES: usize = 16;

/// A form that a worker wants.
#[derive(Debug)]
pub struct Want {
    /// The worker's number for it, which is in every piece of it.
    pub(crate) number: u64,
    /// Where it is from.
    pub(crate) site: Arc<Site>,
    /// What it is.
    pub(crate) variant: Variant,
    /// Nobody wants it any more: what is left of it is not read.
    pub(crate) over: Arc<AtomicBool>,
}

impl Want {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// What comes of it.
#[derive(Debug)]
pub enum Piece {
    /// The next bytes.
    Bytes(u64, Vec<u8>),
    /// Those were all, and they were the file's.
    Whole(u64),
    /// The file is not the one that was seen: a new look through the directory is on its way.
    Changed(u64),
    /// It cannot be read.
    Unreadable(u64),
}

/// The worker's end.
#[derive(Debug)]
pub struct Seat {
    wants: SyncSender<Want>,
    pieces: Receiver<Piece>,
}

impl Seat {
    /// Asks for a form. `false` when too many are wanted, or nobody reads any more.
    pub(crate) fn want(&self, want: Want) -> bool {
        match self.wants.try_send(want) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }

    /// The next piece, if one has come.
    pub(crate) fn piece(&self) -> Option<Piece> {
        self.pieces.try_recv().ok()
    }
}

/// The reading thread's end.
#[derive(Debug)]
pub struct Loader {
    wants: Receiver<Want>,
    pieces: SyncSender<Piece>,
    worker: Wake,
    control: Wake,
    stale: Arc<AtomicBool>,
}

/// How reading ended.
enum Read {
    /// All of it was handed over.
    Whole,
    /// Nobody wants it any more.
    Over,
    /// The worker is gone.
    Alone,
}

/// The two ends between a worker, whose bell is given, and its loader; `stale` and control's bell say that the directory
/// has to be looked through again.
#[must_use]
pub fn ends(worker: Wake, control: Wake, stale: Arc<AtomicBool>) -> (Seat, Loader) {
    let (want, wants) = sync_channel(WANTS_MAX);
    let (piece, pieces) = sync_channel(PIECES);
    (Seat { wants: want, pieces }, Loader { wants, pieces: piece, worker, control, stale })
}

impl Loader {
    /// Reads what is wanted until the worker is gone. `tell` hears what could not be, one line each.
    pub fn run(self, mut tell: impl FnMut(&LoadError)) {
        while let Ok(want) = self.wants.recv() {
            if !self.serve(want, &mut tell) {
                return;
            }
        }
    }

    /// Reads the next of what is wanted, if anything is.
    #[cfg(test)]
    pub(crate) fn serve_one(&self, tell: &mut dyn FnMut(&LoadError)) -> bool {
        self.wants.try_recv().is_ok_and(|want| self.serve(want, tell))
    }

    /// `false` when the worker is gone.
    fn serve(&self, want: Want, tell: &mut dyn FnMut(&LoadError)) -> bool {
        let number = want.number;
        let (last, is_stale) = match self.read(&want) {
            Ok(Read::Whole) => (Piece::Whole(number), false),
            Ok(Read::Over) => return true,
            Ok(Read::Alone) => return false,
            Err(error) => {
                tell(&error);
                match error {
                    LoadError::Changed { .. } => (Piece::Changed(number), true),
                    LoadError::Io { .. } => (Piece::Unreadable(number), false),
                }
            }
        };
        if !self.hand_over(last) {
            return false;
        }
        // Behind the piece; the two may pass each other all the same, and the worker counts looks.
        if is_stale {
            self.stale.store(true, Ordering::Release);
            self.control.ring();
        }
        true
    }

    fn read(&self, want: &Want) -> Result<Read, LoadError> {
        if want.is_over() {
            return Ok(Read::Over);
        }
        let mut reading = want.site.open(&want.variant)?;
        while let Some(bytes) = reading.next_piece()? {
            if want.is_over() {
                return Ok(Read::Over);
            }
            if !self.hand_over(Piece::Bytes(want.number, bytes)) {
                return Ok(Read::Alone);
            }
        }
        Ok(Read::Whole)
    }

    /// `false` when the worker is gone.
    fn hand_over(&self, piece: Piece) -> bool {
        let taken = self.pieces.send(piece).is_ok();
        self.worker.ring();
        taken
    }
}
