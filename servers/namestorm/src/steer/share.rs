//! Who of a pool answers a client: rendezvous hashing, worked out ahead of time.
//!
//! ```text
//! client's network ── hash ──▶ one of 4,096 buckets ──▶ the targets of that bucket, best first
//!                                                         └ score = weight / -ln u,   u = hash(bucket, target)
//! ```
//!
//! A client stays where it is: its bucket is its network's, and a bucket changes only when a target that it had goes, or one
//! comes that beats it. On average a target has buckets in proportion to its weight; 4,096 of them keep the spread below
//! one per cent. Nothing is keyed or drawn, so that servers of one table agree, and one that was started again with itself.

use super::prefixes::{bits_of, mask};
use core::net::IpAddr;

/// How finely clients are told apart.
pub const BUCKETS: usize = 1 << 12;
/// A client is its network: the same that a resolver names (RFC 7871 §11.1).
pub const CLIENT_V4: u8 = 24;
/// The same for IPv6.
pub const CLIENT_V6: u8 = 56;

/// How many bits of an address tell clients apart.
#[inline]
#[must_use]
pub const fn client_bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { CLIENT_V4 } else { CLIENT_V6 }
}

/// The bucket of a client's network, of which `prefix` bits are known.
#[inline]
#[must_use]
pub fn bucket(address: IpAddr, prefix: u8) -> usize {
    let network = bits_of(address) & mask(prefix.min(client_bits(address)));
    #[expect(clippy::cast_possible_truncation, reason = "the two halves; the upper bits of a hash")]
    {
        (mix(mix((network >> 64) as u64 ^ u64::from(address.is_ipv4())) ^ network as u64) >> 52) as usize
    }
}

/// A number that tells targets apart by their names.
#[must_use]
pub fn seed(name: &str) -> u64 {
    name.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The `count` best of those, by their seeds and weights, for a bucket; the best first. A weight of 0 is never among them.
#[must_use]
pub fn best(bucket: usize, targets: &[(u64, u32)], count: usize) -> Vec<usize> {
    let mut scores: Vec<(f64, usize)> = targets
        .iter()
        .enumerate()
        .filter(|(_, (_, weight))| *weight > 0)
        .map(|(index, (seed, weight))| {
            #[expect(
                clippy::cast_precision_loss,
                reason = "53 bits of a hash, between 0 and 1, neither of them"
            )]
            let unit = ((mix(seed ^ mix(bucket as u64)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            (f64::from(*weight) / -unit.ln(), index)
        })
        .collect();
    scores.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scores.truncate(count);
    scores.into_iter().map(|(_, index)| index).collect()
}

/// Every bit depends on every bit.
#[inline]
const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb).wrapping_add(0x9e37_79b9_7f4a_7c15);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(weights: &[u32]) -> Vec<(u64, u32)> {
        weights.iter().enumerate().map(|(index, weight)| (seed(&format!("edge-{index}")), *weight)).collect()
    }

    fn shares(targets: &[(u64, u32)]) -> Vec<f64> {
        let mut counts = vec![0; targets.len()];
        for bucket in 0..BUCKETS {
            counts[best(bucket, targets, 1)[0]] += 1;
        }
        #[expect(clippy::cast_precision_loss, reason = "at most 4,096")]
        counts.into_iter().map(|count: u32| f64::from(count) / BUCKETS as f64).collect()
    }

    #[test]
    fn targets_have_buckets_in_proportion_to_their_weights() {
        let weights = [1, 2, 3, 10];
        for (share, weight) in shares(&targets(&weights)).into_iter().zip(weights) {
            let fair = f64::from(weight) / 16.0;
            // Three standard deviations of a draw of 4,096.
            let spread = 3.0 * (fair * (1.0 - fair) / 4_096.0).sqrt();
            assert!((share - fair).abs() < spread, "weight {weight}: {share} and not {fair} ± {spread}");
        }
    }

    #[test]
    fn a_target_that_goes_moves_its_own_buckets_only() {
        let all = targets(&[5, 5, 5, 5]);
        let mut without = all.clone();
        without[2].1 = 0;
        for bucket in 0..BUCKETS {
            let (before, after) = (best(bucket, &all, 1)[0], best(bucket, &without, 1)[0]);
            assert!(before == after || before == 2, "bucket {bucket} moved from {before} to {after}");
            assert_ne!(after, 2);
        }
    }

    #[test]
    fn a_weight_that_grows_only_takes() {
        let before = targets(&[5, 5, 5]);
        let mut after = before.clone();
        after[1].1 = 9;
        for bucket in 0..BUCKETS {
            let moved = best(bucket, &before, 1) != best(bucket, &after, 1);
            assert!(!moved || best(bucket, &after, 1) == [1]);
        }
    }

    #[test]
    fn several_are_different_ones_and_the_first_stays_the_first() {
        let all = targets(&[1, 4, 2]);
        for bucket in 0..BUCKETS {
            let two = best(bucket, &all, 2);
            assert_eq!(two[..1], best(bucket, &all, 1)[..]);
            assert_ne!(two[0], two[1]);
            assert_eq!(best(bucket, &all, 9).len(), 3);
        }
    }

    #[test]
    fn clients_spread_over_buckets_and_a_network_is_one_client() {
        let mut counts = vec![0_u32; BUCKETS];
        for network in 0..400_000_u32 {
            counts[bucket(IpAddr::from((network << 8).to_be_bytes()), 32)] += 1;
        }
        // 98 on average, with a standard deviation of ten.
        assert!(counts.iter().all(|count| (40..160).contains(count)), "{:?}", counts.iter().max());
        let one = |text: &str| bucket(text.parse().unwrap(), 128);
        assert_eq!(one("192.0.2.1"), one("192.0.2.254"));
        assert_eq!(one("2001:db8:0:100::1"), one("2001:db8:0:1ff::2"));
        assert_ne!(one("2001:db8:0:100::1"), one("2001:db8:0:200::1"));
    }
}
