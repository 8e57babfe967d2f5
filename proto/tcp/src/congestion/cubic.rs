//! CUBIC (RFC 9438): the window is a cubic function of the time since the last loss.
//!
//! ```text
//!  cwnd │                    .·       W_cubic(t) = C · (t − K)³ + W_max
//!       │                  .·
//! W_max ┤──────.·─·─·─·─··            concave towards the window that last failed, flat around it,
//!       │   .·        ▲               convex beyond it in search of more
//!       │ .·          K
//!       └──────────────────────► t
//! ```
//!
//! All arithmetic is in integers (bytes, milliseconds): a simulation replays on every machine.

use super::Ack;
use crate::num::{clamp_u32, cube_root};
use clock::Instant;

/// β_cubic = 0.7 (RFC 9438 §4.6).
const BETA: (u64, u64) = (7, 10);
/// (1 + β) / 2 = 0.85, the fast convergence of §4.7.
const CONVERGE: (u64, u64) = (17, 20);
/// α_cubic = 3 (1 − β) / (1 + β) = 9 / 17 (§4.3).
const ALPHA: (u64, u64) = (9, 17);
/// Beyond so many milliseconds the cube says nothing new: 17 minutes, far beyond 1.5 windows.
const MS_MAX: u64 = 1 << 20;

#[derive(Clone, Copy, Debug)]
pub(super) struct Cubic {
    /// When this avoidance began; [`Instant::NEVER`] until its first ACK.
    epoch: Instant,
    /// The window at the last loss, in bytes; 0 before any.
    w_max: u32,
    /// cwnd_prior: the window when ssthresh was last set.
    prior: u32,
    /// W_est: what Reno would have, in bytes.
    w_est: u32,
    /// K, in milliseconds.
    k_ms: u32,
    /// Remainders of growth that are less than a byte so far.
    growth_rest: u32,
    est_rest: u32,
}

impl Cubic {
    pub(super) fn new() -> Self {
        Self { epoch: Instant::NEVER, w_max: 0, prior: 0, w_est: 0, k_ms: 0, growth_rest: 0, est_rest: 0 }
    }

    pub(super) fn w_max(&self) -> u32 {
        self.w_max
    }

    pub(super) fn on_ack(&mut self, cwnd: u32, ack: &Ack) -> u32 {
        if !ack.limited {
            // RFC 9438 §5.8: time in which the application was the limit does not count. A new epoch from the same
            // cwnd continues the same curve below W_max, and begins flat above it.
            self.on_pause();
            return cwnd;
        }
        if self.epoch == Instant::NEVER {
            self.begin(cwnd, ack);
        }
        let elapsed_ms = ms(ack.now.since(self.epoch));
        self.grow_estimate(cwnd, ack);
        if self.w_cubic(elapsed_ms, ack.mss) < u64::from(self.w_est) {
            //= RFC 9438 §4.3: "if W_cubic(t) is less than W_est(t), then cwnd SHOULD be set to W_est(t) at each
            //= reception of an ACK"
            return cwnd.max(self.w_est);
        }
        //= RFC 9438 §4.2: target is W_cubic(t + RTT), at least cwnd and at most 1.5 cwnd
        let ahead = self.w_cubic(elapsed_ms + ms(ack.srtt), ack.mss);
        let target = ahead.clamp(u64::from(cwnd), u64::from(cwnd) * 3 / 2);
        //= RFC 9438 §4.4: "cwnd MUST be incremented by (target - cwnd)/cwnd for each received ACK"
        let growth = (target - u64::from(cwnd)) * u64::from(ack.acked) + u64::from(self.growth_rest);
        self.growth_rest = clamp_u32(growth % u64::from(cwnd));
        cwnd.saturating_add(clamp_u32(growth / u64::from(cwnd)).min(cwnd / 2))
    }

    fn begin(&mut self, cwnd: u32, ack: &Ack) {
        self.epoch = ack.now;
        self.growth_rest = 0;
        self.est_rest = 0;
        self.w_est = cwnd;
        if cwnd < self.w_max {
            //= RFC 9438 §4.2: "K = cbrt((W_max - cwnd_epoch) / C)", C = 0.4, here in ms: cbrt(x · 2.5 · 10⁹)
            let gap = u64::from(self.w_max - cwnd);
            self.k_ms = clamp_u32(cube_root(gap * 2_500_000_000 / u64::from(ack.mss)));
        } else {
            self.w_max = cwnd;
            self.k_ms = 0;
        }
    }

    /// W_cubic `t_ms` after the epoch began, in bytes.
    fn w_cubic(&self, t_ms: u64, mss: u32) -> u64 {
        let k_ms = u64::from(self.k_ms);
        let distance = t_ms.abs_diff(k_ms).min(MS_MAX);
        // C = 4/10 segments per second³, with milliseconds cubed 10⁹ times that. 2⁶⁰ fits, and divided by 10⁶ (less
        // than a byte is lost) the product with four segments fits too.
        let offset = distance * distance * distance / 1_000_000 * (u64::from(mss) * 4) / 10_000;
        let w_max = u64::from(self.w_max);
        if t_ms < k_ms { w_max.saturating_sub(offset) } else { w_max.saturating_add(offset) }
    }

    /// RFC 9438 §4.3: W_est grows by α segments for each window acknowledged; by a whole one once it is where loss was.
    fn grow_estimate(&mut self, cwnd: u32, ack: &Ack) {
        let (by, of) = if self.w_est >= self.prior { (1, 1) } else { ALPHA };
        let growth = u64::from(ack.acked) * u64::from(ack.mss) * by / of + u64::from(self.est_rest);
        self.est_rest = clamp_u32(growth % u64::from(cwnd));
        self.w_est = self.w_est.saturating_add(clamp_u32(growth / u64::from(cwnd)));
    }

    pub(super) fn on_loss(&mut self, cwnd: u32, flight: u32) -> u32 {
        //= RFC 9438 §4.7: "if cwnd < W_max and fast convergence is enabled, further reduce W_max"
        self.w_max = if cwnd < self.w_max { ratio(cwnd, CONVERGE) } else { cwnd };
        self.prior = cwnd;
        self.epoch = Instant::NEVER;
        //= RFC 9438 §4.6: "ssthresh = flight_size * beta_cubic"
        ratio(flight, BETA)
    }

    /// RFC 9438 §4.8: after a timeout K is 0 and W_max is where the next avoidance begins.
    pub(super) fn on_timeout(&mut self) {
        self.w_max = 0;
        self.epoch = Instant::NEVER;
    }

    pub(super) fn on_pause(&mut self) {
        self.epoch = Instant::NEVER;
    }

    pub(super) fn undo(&mut self, w_max: u32) {
        self.w_max = w_max;
        self.epoch = Instant::NEVER;
    }
}

fn ratio(bytes: u32, (by, of): (u64, u64)) -> u32 {
    clamp_u32(u64::from(bytes) * by / of)
}

fn ms(time: core::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).min(MS_MAX)
}
