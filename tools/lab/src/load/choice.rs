//! Which object comes next: one after the other, uniform, Zipf, or by size as a CDN's requests are.

use rand::Rng as _;
use rand::rngs::SmallRng;

/// How objects are chosen from a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mix {
    /// One after the other; clients begin at different places.
    Sequential,
    /// Each as often as the others.
    Uniform,
    /// The first is the most popular, the one at rank r by 1 / r^s.
    Zipf(f64),
    /// Sizes of requested objects follow [`CDN_SIZES`].
    Cdn,
}

/// Sizes of objects that a CDN's clients ask for: size and the share of requests for objects of at most that size.
///
/// Nine in ten are under 25 KB and the largest has 20 MB, as the dissertation has it (§3.3.3, after Al-Fares et al., IMC
/// 2011); between its two fixed points the curve is ours, straight in the logarithm of the size.
pub const CDN_SIZES: [(f64, f64); 9] = [
    (300.0, 0.0),
    (1_000.0, 0.15),
    (2_500.0, 0.35),
    (5_000.0, 0.52),
    (10_000.0, 0.70),
    (25_000.0, 0.90),
    (100_000.0, 0.975),
    (1_000_000.0, 0.998),
    (20_000_000.0, 1.0),
];

/// A list's chooser, made once and read by all.
#[derive(Clone, Debug)]
pub enum Chooser {
    /// The index is the caller's turn.
    Sequential(usize),
    /// So many objects, alike.
    Uniform(usize),
    /// Running sums of weights.
    Weighted(Box<[f64]>),
}

impl Chooser {
    /// A chooser among objects of these sizes; a size is 0 where it is not known, which only [`Mix::Cdn`] minds.
    ///
    /// # Errors
    /// The list is empty, or sizes are missing.
    pub fn new(mix: Mix, sizes: &[u64]) -> Result<Self, &'static str> {
        let count = sizes.len();
        if count == 0 {
            return Err("there is no URL");
        }
        Ok(match mix {
            Mix::Sequential => Self::Sequential(count),
            Mix::Uniform => Self::Uniform(count),
            Mix::Zipf(exponent) =>
            {
                #[expect(clippy::cast_precision_loss, reason = "a rank; lists are shorter than 2^52")]
                Self::weighted((1..=count).map(|rank| (rank as f64).powf(-exponent)))
            }
            Mix::Cdn => {
                if sizes.contains(&0) {
                    return Err(
                        "a CDN mix needs the size of every object: give --root, or sizes in the list",
                    );
                }
                Self::weighted(cdn_weights(sizes).into_iter())
            }
        })
    }

    fn weighted(weights: impl Iterator<Item = f64>) -> Self {
        let mut sum = 0.0;
        Self::Weighted(
            weights
                .map(|weight| {
                    sum += weight;
                    sum
                })
                .collect(),
        )
    }

    /// The next object's index; `turn` counts the caller's requests.
    pub fn next(&self, turn: usize, random: &mut SmallRng) -> usize {
        match self {
            Self::Sequential(count) => turn % count,
            Self::Uniform(count) => random.random_range(0..*count),
            Self::Weighted(sums) => {
                let all = sums.last().copied().unwrap_or(0.0);
                let at = random.random::<f64>() * all;
                sums.partition_point(|sum| *sum <= at).min(sums.len() - 1)
            }
        }
    }
}

/// The share of requests for objects of at most `bytes`.
fn cdn_share(bytes: f64) -> f64 {
    let above = CDN_SIZES.partition_point(|(size, _)| *size < bytes);
    match (above.checked_sub(1).map(|at| CDN_SIZES[at]), CDN_SIZES.get(above)) {
        (None, _) => 0.0,
        (_, None) => 1.0,
        (Some((low, below)), Some((high, upto))) => {
            below + (upto - below) * (bytes / low).ln() / (high / low).ln()
        }
    }
}

/// The size below which this share of requests lies: the other way round.
#[must_use]
pub fn cdn_size(share: f64) -> f64 {
    let above = CDN_SIZES.partition_point(|(_, upto)| *upto < share).clamp(1, CDN_SIZES.len() - 1);
    let ((low, below), (high, upto)) = (CDN_SIZES[above - 1], CDN_SIZES[above]);
    low * (high / low).powf((share - below) / (upto - below))
}

/// Each object stands for the sizes nearer to it than to its neighbours; objects of one size share.
fn cdn_weights(sizes: &[u64]) -> Vec<f64> {
    #[expect(clippy::cast_precision_loss, reason = "sizes of files are below 2^52")]
    let size = |index: usize| sizes[index] as f64;
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|index| sizes[*index]);
    let mut weights = vec![0.0; sizes.len()];
    let mut from = 0;
    let mut share_below = 0.0;
    while from < order.len() {
        let alike = order[from..].iter().take_while(|index| sizes[**index] == sizes[order[from]]).count();
        let upto = from + alike;
        let share = order.get(upto).map_or(1.0, |next| cdn_share((size(order[from]) * size(*next)).sqrt()));
        #[expect(clippy::cast_precision_loss, reason = "a count of files")]
        let each = (share - share_below) / alike as f64;
        for index in &order[from..upto] {
            weights[*index] = each;
        }
        share_below = share;
        from = upto;
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    fn counts(mix: Mix, sizes: &[u64], draws: usize) -> Vec<usize> {
        let chooser = Chooser::new(mix, sizes).unwrap();
        let mut random = SmallRng::seed_from_u64(7);
        let mut counts = vec![0; sizes.len()];
        for turn in 0..draws {
            counts[chooser.next(turn, &mut random)] += 1;
        }
        counts
    }

    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn near(count: usize, expected: f64) -> bool {
        // Five standard deviations of a binomial.
        (count as f64 - expected).abs() < 5.0 * expected.sqrt() + 1.0
    }

    #[test]
    fn one_after_the_other_begins_again() {
        assert_eq!(counts(Mix::Sequential, &[0; 3], 7), [3, 2, 2]);
    }

    #[test]
    fn uniform_prefers_nobody() {
        assert!(counts(Mix::Uniform, &[0; 50], 50_000).into_iter().all(|count| near(count, 1_000.0)));
    }

    #[test]
    fn zipf_falls_with_the_rank() {
        let counts = counts(Mix::Zipf(1.0), &[0; 100], 100_000);
        let harmonic: f64 = (1..=100).map(|rank| 1.0 / f64::from(rank)).sum();
        for rank in [1_u8, 2, 5, 10, 50, 100] {
            let expected = 100_000.0 / f64::from(rank) / harmonic;
            assert!(near(counts[usize::from(rank) - 1], expected), "rank {rank}: {counts:?}");
        }
    }

    #[test]
    fn nine_in_ten_of_a_cdn_s_requests_are_under_25_kb() {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes in bytes")]
        let sizes: Vec<u64> =
            (0..1_000).map(|index| cdn_size((f64::from(index) + 0.5) / 1_000.0) as u64).collect();
        assert!(*sizes.last().unwrap() > 1_000_000);
        let counts = counts(Mix::Cdn, &sizes, 100_000);
        let small: usize =
            counts.iter().zip(&sizes).filter(|(_, size)| **size < 25_000).map(|(count, _)| count).sum();
        assert!(near(small, 90_000.0), "{small}");
    }

    #[test]
    fn a_cdn_mix_follows_the_sizes_however_few_objects_stand_for_them() {
        // Ten objects of 4 KB and one of 1 MB: the large one is asked for as rarely as large ones are.
        let mut sizes = vec![4_000; 10];
        sizes.push(1_000_000);
        let counts = counts(Mix::Cdn, &sizes, 100_000);
        let expected = 100_000.0 * (1.0 - cdn_share(63_245.0));
        assert!(near(counts[10], expected), "{} {expected}", counts[10]);
        assert!(counts[..10].iter().all(|count| near(*count, (100_000.0 - expected) / 10.0)));
    }

    #[test]
    fn a_size_and_its_share_are_each_other_s_inverse() {
        for percent in 1..100 {
            let share = f64::from(percent) / 100.0;
            assert!((cdn_share(cdn_size(share)) - share).abs() < 1e-9);
        }
    }

    #[test]
    fn what_cannot_be_chosen_from_is_said() {
        assert!(Chooser::new(Mix::Uniform, &[]).is_err());
        assert!(Chooser::new(Mix::Cdn, &[1, 0]).unwrap_err().contains("--root"));
    }
}
