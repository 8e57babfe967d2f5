//! What only Atlas counts of its answers.

use control::{Figure, Figures};
use http::Status;
use platform::OpenError;

/// What became of files that were asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests without a good signature.
    pub denied: u64,
    /// Files that could not be opened because too many are.
    pub open_busy: u64,
    /// Files that could not be opened because the disk failed.
    pub open_failed: u64,
}

impl Tally {
    /// Some errors are the name's, and some the disk's: the answer tells.
    pub(super) fn on_open_error(&mut self, error: OpenError, status: Status) {
        if error == OpenError::Busy {
            self.open_busy += 1;
        } else if status == Status::InternalServerError {
            self.open_failed += 1;
        }
    }
}

impl Figures for Tally {
    fn visit(&self, visit: &mut dyn FnMut(Figure)) {
        // In full, so that nothing is counted and not shown.
        let Self { denied, open_busy, open_failed } = *self;
        for (name, help, value) in [
            ("http_denied", "Requests without a good signature", denied),
            ("http_open_busy", "Files not opened because too many are open", open_busy),
            ("http_open_failed", "Files not opened because the disk failed", open_failed),
        ] {
            visit(Figure::counter(name, help, value));
        }
    }
}
