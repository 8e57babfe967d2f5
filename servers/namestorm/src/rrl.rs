//! Response rate limiting: a spoofed flood turns us into nobody's weapon.
//!
//! ```text
//! (network of the source, kind of answer, name) ─▶ bucket ─▶ a token: answer
//!                                                        └▶ none: drop, and every slip-th time TC
//! ```
//!
//! A table of fixed size, without chains: a bucket belongs to whoever used it last in a long enough silence. Two that
//! share one limit each other, which is the lesser evil under a flood. Queries over TCP, or with a cookie of ours, are
//! not limited.

use core::net::IpAddr;

/// How many answers of a kind a network gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Answers a second, for each network and name.
    pub per_second: u32,
    /// How many seconds' worth may come at once.
    pub burst_seconds: u32,
    /// Every such query of those above the rate is answered with TC; 0: none.
    pub slip: u8,
    /// Buckets, rounded up to a power of two: 16 bytes each.
    pub buckets: u32,
    /// A secret, so that nobody can aim at another's bucket.
    pub key: u64,
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_second: 20, burst_seconds: 5, slip: 2, buckets: 1 << 17, key: 0 }
    }
}

/// What kind of answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Records: limited by name.
    Positive,
    /// A denial, or what stands for any number of names: limited by zone, given as something that tells zones apart.
    Negative(u64),
    /// A referral: limited by its cut, whose hash this is, whatever was asked for below it.
    Referral(u64),
    /// REFUSED, FORMERR …: limited by code.
    Error,
}

impl Kind {
    /// Tells the kinds apart.
    #[must_use]
    pub const fn index(self) -> u8 {
        match self {
            Self::Positive => 0,
            Self::Negative(_) => 1,
            Self::Error => 2,
            Self::Referral(_) => 3,
        }
    }
}

/// An answer is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Say nothing.
    Drop,
    /// Say that it is truncated, in no more bytes than were asked with.
    Slip,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    tag: u32,
    /// Answers in stock, in thousandths.
    stock: u32,
    /// When that was so, in milliseconds, modulo 2³².
    at: u32,
    /// Queries above the rate, counted for slips.
    above: u8,
}

/// The buckets.
#[derive(Debug)]
pub struct Limiter {
    rate: Rate,
    buckets: Box<[Bucket]>,
}

impl Limiter {
    /// Buckets that are full.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        let buckets = rate.buckets.max(1).next_power_of_two();
        Self { rate, buckets: vec![Bucket::default(); buckets as usize].into() }
    }

    /// Takes an answer of `kind` about `name` to `source` out of its bucket; says what to do if there is none.
    #[expect(clippy::cast_possible_truncation, reason = "times and hashes are cut on purpose")]
    pub fn verdict(&mut self, source: IpAddr, kind: u8, name: u64, now_ms: u64) -> Option<Verdict> {
        let hash = mix(mix(network(source) ^ self.rate.key, name), u64::from(kind) + 1);
        let full = self.rate.per_second.saturating_mul(1_000).saturating_mul(self.rate.burst_seconds.max(1));
        let index = hash as usize & (self.buckets.len() - 1);
        let tag = (hash >> 32) as u32 | 1;
        let now = now_ms as u32;
        let bucket = &mut self.buckets[index];
        let silent_ms = now.wrapping_sub(bucket.at);
        let earned = u64::from(silent_ms) * u64::from(self.rate.per_second);
        let stock = (u64::from(bucket.stock) + earned).min(u64::from(full)) as u32;
        if bucket.tag != tag && (bucket.tag == 0 || stock == full) {
            *bucket = Bucket { tag, stock: full, at: now, above: 0 };
        } else {
            bucket.stock = stock;
            bucket.at = now;
        }
        if bucket.stock >= 1_000 {
            bucket.stock -= 1_000;
            return None;
        }
        bucket.above = bucket.above.wrapping_add(1);
        let slips = self.rate.slip > 0 && bucket.above.is_multiple_of(self.rate.slip);
        Some(if slips { Verdict::Slip } else { Verdict::Drop })
    }
}

/// A /24 or a /56: what one sender can have all of.
fn network(source: IpAddr) -> u64 {
    match source {
        IpAddr::V4(v4) => u64::from(u32::from(v4) >> 8),
        IpAddr::V6(v6) => {
            let bits = u128::from(v6) >> 72;
            u64::try_from(bits).unwrap_or(0) | 1 << 63
        }
    }
}

fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word ^ 0x9e37_79b9_7f4a_7c15) * u128::from(0xa076_1d64_78bd_642f_u64);
    #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
    {
        product as u64 ^ (product >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 7));

    fn limiter(slip: u8) -> Limiter {
        Limiter::new(Rate { per_second: 10, burst_seconds: 2, slip, buckets: 1_024, key: 7 })
    }

    #[test]
    fn a_flood_is_answered_at_the_rate_and_slips() {
        let mut limiter = limiter(2);
        let verdicts: Vec<_> = (0..10_000).map(|ms| limiter.verdict(FLOOD, 0, 1, ms)).collect();
        let answered = verdicts.iter().filter(|verdict| verdict.is_none()).count();
        let slipped = verdicts.iter().filter(|verdict| **verdict == Some(Verdict::Slip)).count();
        assert!((115..=125).contains(&answered), "20 at once and 10 a second for 10 s: {answered}");
        assert!(slipped.abs_diff((10_000 - answered) / 2) <= 1, "{slipped}");
    }

    #[test]
    fn another_network_kind_or_name_is_not_to_blame() {
        let mut limiter = limiter(0);
        while limiter.verdict(FLOOD, 0, 1, 0).is_none() {}
        assert_eq!(limiter.verdict(FLOOD, 0, 1, 0), Some(Verdict::Drop));
        assert_eq!(limiter.verdict([192, 0, 2, 200].into(), 0, 1, 0), Some(Verdict::Drop));
        assert_eq!(limiter.verdict([192, 0, 3, 7].into(), 0, 1, 0), None);
        assert_eq!(limiter.verdict(FLOOD, 1, 1, 0), None);
        assert_eq!(limiter.verdict(FLOOD, 0, 2, 0), None);
    }

    #[test]
    fn after_a_silence_all_is_forgotten() {
        let mut limiter = limiter(0);
        while limiter.verdict(FLOOD, 0, 1, 0).is_none() {}
        let again = (0..100).filter(|_| limiter.verdict(FLOOD, 0, 1, 60_000).is_none()).count();
        assert_eq!(again, 20);
    }
}
