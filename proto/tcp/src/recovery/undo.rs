//! Taking back what was a mistake: Eifel detection (RFC 3522, 4015) and DSACK (RFC 3708).

use crate::congestion::Snapshot;
use crate::timestamps::precedes;

/// What is needed to take a reduction back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Undo {
    before: Snapshot,
    /// SND.UNA when the reduction was made: older DSACKs say nothing about it.
    marker: u64,
    /// Bytes sent again that no DSACK has reported yet.
    unreported: u32,
    /// TSval of the first segment sent again.
    first_value: u32,
    armed: bool,
    retransmitted: bool,
}

impl Undo {
    /// A reduction is about to be made.
    pub(crate) fn arm(before: Snapshot, una: u64) -> Self {
        Self { before, marker: una, armed: true, ..Self::default() }
    }

    pub(crate) fn on_retransmit(&mut self, bytes: u32, value: u32) {
        if self.armed {
            if !self.retransmitted {
                self.retransmitted = true;
                self.first_value = value;
            }
            self.unreported = self.unreported.saturating_add(bytes);
        }
    }

    /// Whether an ACK of what was sent again echoes a time before the first retransmission: it answers the original
    /// (RFC 3522 §3.2).
    pub(crate) fn is_eifel(&self, echo: Option<u32>) -> bool {
        self.armed && self.retransmitted && echo.is_some_and(|echo| precedes(echo, self.first_value))
    }

    /// A DSACK for `bytes` from `start` on; whether now all that was sent again is known to have been needless.
    pub(crate) fn on_dsack(&mut self, start: u64, bytes: u32) -> bool {
        if !self.armed || !self.retransmitted || start < self.marker {
            return false;
        }
        self.unreported = self.unreported.saturating_sub(bytes);
        self.unreported == 0
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.armed
    }

    /// The state to go back to; only once.
    pub(crate) fn take(&mut self) -> Snapshot {
        self.armed = false;
        self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armed() -> Undo {
        Undo::arm(Snapshot::default(), 1000)
    }

    //= RFC 3522 §3.2 step 5: "If the value of the Timestamp Echo Reply field is less than the value of RetransmitTS"
    #[test]
    fn an_echo_from_before_the_retransmission_tells_a_spurious_one() {
        let mut undo = armed();
        assert!(!undo.is_eifel(Some(5)), "nothing was sent again yet");
        undo.on_retransmit(100, 10);
        undo.on_retransmit(100, 20);
        assert!(undo.is_eifel(Some(9)));
        assert!(!undo.is_eifel(Some(10)));
        assert!(!undo.is_eifel(None));
    }

    //= RFC 3708 §2: every retransmission must be reported
    #[test]
    fn dsacks_undo_only_when_they_report_everything_sent_again() {
        let mut undo = armed();
        undo.on_retransmit(200, 10);
        assert!(!undo.on_dsack(1000, 100));
        assert!(undo.on_dsack(1100, 100));
    }

    #[test]
    fn a_dsack_of_older_data_says_nothing() {
        let mut undo = armed();
        undo.on_retransmit(100, 10);
        assert!(!undo.on_dsack(900, 100));
    }
}
