//! What a worker counted: plain numbers, copied out whole.

/// Since the worker started, unless said otherwise. Read by control once or more a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Turns of the wheel.
    pub turns: u64,
    /// Turns in which something happened.
    pub turns_busy: u64,
    /// Busy turns by duration: slot `k` counts those shorter than 2^k microseconds and not shorter than 2^(k-1);
    /// the last slot takes all the rest.
    pub turn_us_log2: [u64; TURN_SLOTS],
    /// Connections accepted, cookies included.
    pub accepted: u64,
    /// Connections in the table now, half-open ones included.
    pub connections: u32,
    /// Connections that ended in order.
    pub finished: u64,
    /// Connections that ended otherwise, all causes.
    pub failed: u64,
    /// Of those, because the file changed between two sealings of one record.
    pub tag_mismatches: u64,
    /// Of those, because the disk failed or a file shrank.
    pub disk_failures: u64,
    /// Of those, because the peer broke TLS.
    pub tls_failures: u64,
    /// Handshakes completed.
    pub handshakes: u64,
    /// Of those, resumed from a ticket.
    pub resumptions: u64,
    /// Plain HTTP that arrived at a TLS port.
    pub plain_to_tls: u64,
    /// Reads handed to the disk.
    pub reads: u64,
    /// Reads that came back, failed ones included.
    pub reads_done: u64,
    /// How long those were on their way, all together, in microseconds.
    pub reads_took_us: u64,
    /// Reads on their way now.
    pub reads_in_flight: u32,
    /// Bytes that reads filled.
    pub read_bytes: u64,
    /// Records sealed.
    pub sealed_records: u64,
    /// Plaintext bytes sealed.
    pub sealed_bytes: u64,
    /// Our own `KeyUpdate`s.
    pub key_updates: u64,
    /// Stream bytes handed to the link for the first time.
    pub sent_bytes: u64,
    /// Stream bytes handed to the link again.
    pub resent_bytes: u64,
    /// Packets handed to the link, superframes counted once.
    pub packets: u64,
    /// Of those, with memory that was copied into a frame for them.
    pub copied_packets: u64,
    /// Of those, with memory in a replica that was there or made for them.
    pub replica_packets: u64,
    /// Stream bytes received in order.
    pub received_bytes: u64,
    /// Times a connection had credit and no frame was free.
    pub frame_waits: u64,
    /// Times a connection had credit and the disk's queue was full.
    pub disk_waits: u64,
    /// Bytes at hand that the window no longer let out; they are read again later.
    pub surrendered_bytes: u64,
    /// Times the link's queue was full.
    pub link_waits: u64,
    /// Times the link stopped carrying anything: no carrier, or no device.
    pub link_losses: u64,
    /// Packets of our own that were not sent because it carried nothing: replies, and what it had refused before.
    pub link_loss_drops: u64,
    /// Times the link's MTU changed.
    pub mtu_changes: u64,
    /// Files open now.
    pub files_open: u32,
    /// Opens handed to the disk.
    pub opens: u64,
    /// Large frames in use now.
    pub frames_large: u32,
    /// The most large frames in use at once.
    pub frames_large_max: u32,
    /// Small frames in use now.
    pub frames_small: u32,
    /// The most small frames in use at once.
    pub frames_small_max: u32,
}

/// Slots of [`Counters::turn_us_log2`]: the last one begins at half a second.
pub const TURN_SLOTS: usize = 20;

impl Counters {
    /// Times a connection had credit and could not read for lack of anything.
    #[must_use]
    pub const fn credit_waits(&self) -> u64 {
        self.frame_waits + self.disk_waits
    }

    /// Files a busy turn of `micros` microseconds.
    pub(crate) fn on_busy_turn(&mut self, micros: u64) {
        self.turns_busy += 1;
        let slot = (u64::BITS - micros.leading_zeros()) as usize;
        self.turn_us_log2[slot.min(TURN_SLOTS - 1)] += 1;
    }

    /// The duration, in microseconds, that `share` (0 to 1) of the busy turns did not exceed: the upper edge of its
    /// slot.
    #[must_use]
    pub fn turn_us_quantile(&self, share: f64) -> u64 {
        let mut left = self.turns_busy;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a count, for people"
        )]
        let beyond = (self.turns_busy as f64 * (1.0 - share.clamp(0.0, 1.0))) as u64;
        for slot in (0..TURN_SLOTS).rev() {
            left -= self.turn_us_log2[slot].min(left);
            if self.turn_us_log2[slot] > 0 && self.turns_busy - left > beyond {
                return 1 << slot;
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_filed_under_the_power_of_two_above_it() {
        let mut counters = Counters::default();
        for micros in [0, 1, 2, 3, 4, u64::MAX] {
            counters.on_busy_turn(micros);
        }
        assert_eq!(counters.turn_us_log2[..4], [1, 1, 2, 1]);
        assert_eq!(counters.turn_us_log2[TURN_SLOTS - 1], 1);
    }

    #[test]
    fn quantiles_are_upper_edges() {
        let mut counters = Counters::default();
        for _ in 0..99 {
            counters.on_busy_turn(3);
        }
        counters.on_busy_turn(1_000);
        assert_eq!(counters.turn_us_quantile(0.5), 4);
        assert_eq!(counters.turn_us_quantile(1.0), 1_024);
        assert_eq!(Counters::default().turn_us_quantile(0.5), 0);
    }
}
