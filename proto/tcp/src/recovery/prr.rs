//! Proportional Rate Reduction (RFC 9937): while losses are repaired, what leaves follows what arrives.

use crate::num::clamp_u32;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Prr {
    /// prr_delivered: bytes delivered since recovery began.
    delivered: u32,
    /// prr_out: bytes sent since then.
    out: u32,
    /// RecoverFS: bytes that could possibly be delivered in this recovery.
    recover_fs: u32,
}

/// An acknowledgment during recovery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PrrAck {
    /// DeliveredData: bytes.
    pub(crate) delivered: u32,
    /// Bytes thought to be in the network after it.
    pub(crate) pipe: u32,
    pub(crate) ssthresh: u32,
    pub(crate) mss: u32,
    /// SafeACK: SND.UNA moved and nothing more was found lost.
    pub(crate) safe: bool,
}

impl Prr {
    /// Recovery begins; `recover_fs` as RFC 9937 §6.1 computes it.
    pub(crate) fn begin(recover_fs: u32) -> Self {
        Self { delivered: 0, out: 0, recover_fs: recover_fs.max(1) }
    }

    pub(crate) fn on_send(&mut self, bytes: u32) {
        self.out = self.out.saturating_add(bytes);
    }

    /// The congestion window that lets SndCnt bytes leave now (RFC 9937 §6.2); none when the ACK says nothing.
    pub(crate) fn on_ack(&mut self, ack: &PrrAck) -> Option<u32> {
        let PrrAck { delivered, pipe, ssthresh, mss, safe } = *ack;
        if delivered == 0 && self.out > 0 {
            return None;
        }
        self.delivered = self.delivered.saturating_add(delivered);
        let mut send_count = if pipe > ssthresh {
            //= RFC 9937 §6.2: "SndCnt = CEIL(prr_delivered * ssthresh / RecoverFS) - prr_out"
            let share =
                (u64::from(self.delivered) * u64::from(ssthresh)).div_ceil(u64::from(self.recover_fs));
            clamp_u32(share).saturating_sub(self.out)
        } else {
            //= RFC 9937 §6.2: PRR-CRB by default, "SndCnt += SMSS" (PRR-SSRB) when recovery is in good progress
            let conserve = self.delivered.saturating_sub(self.out).max(delivered);
            let conserve = if safe { conserve.saturating_add(mss) } else { conserve };
            conserve.min(ssthresh - pipe)
        };
        //= RFC 9937 §6.2: "if (prr_out is 0 AND SndCnt is 0) ... Force a fast retransmit upon entering recovery"
        if self.out == 0 {
            send_count = send_count.max(mss);
        }
        Some(pipe.saturating_add(send_count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1000;

    fn ack(delivered: u32, pipe: u32) -> PrrAck {
        PrrAck { delivered, pipe, ssthresh: 10 * MSS, mss: MSS, safe: false }
    }

    //= RFC 9937 §6.2: the first retransmission is never held back
    #[test]
    fn entering_recovery_always_lets_one_segment_leave() {
        let mut prr = Prr::begin(20 * MSS);
        assert_eq!(prr.on_ack(&ack(0, 19 * MSS)), Some(20 * MSS));
    }

    //= RFC 9937 §6.2: with ssthresh half of RecoverFS one segment leaves for two that arrive
    #[test]
    fn above_the_threshold_it_sends_in_proportion() {
        let mut prr = Prr::begin(20 * MSS);
        let mut pipe = 19 * MSS;
        let mut sent = 0;
        for _ in 0..12 {
            pipe -= MSS;
            let cwnd = prr.on_ack(&ack(MSS, pipe)).unwrap();
            let count = (cwnd - pipe) / MSS * MSS;
            prr.on_send(count);
            pipe += count;
            sent += count;
        }
        assert_eq!(sent, 6 * MSS);
    }

    #[test]
    fn below_the_threshold_it_conserves_packets_and_grows_only_when_recovery_progresses() {
        let mut prr = Prr::begin(20 * MSS);
        prr.on_send(MSS);
        assert_eq!(prr.on_ack(&ack(MSS, 4 * MSS)), Some(5 * MSS));
        prr.on_send(MSS);
        assert_eq!(prr.on_ack(&PrrAck { safe: true, ..ack(MSS, 4 * MSS) }), Some(6 * MSS));
    }

    #[test]
    fn it_never_fills_the_pipe_beyond_the_threshold() {
        let mut prr = Prr::begin(20 * MSS);
        prr.on_send(MSS);
        assert_eq!(prr.on_ack(&ack(15 * MSS, 8 * MSS)), Some(10 * MSS));
    }

    #[test]
    fn an_ack_that_delivers_nothing_changes_nothing() {
        let mut prr = Prr::begin(20 * MSS);
        prr.on_send(MSS);
        assert_eq!(prr.on_ack(&ack(0, 19 * MSS)), None);
    }
}
