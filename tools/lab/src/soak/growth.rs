//! Whether something grows: a least-squares line through samples, and what it says about all of the time.

use serde_json::{Value, json};

/// Samples of one quantity over time.
#[derive(Clone, Debug, Default)]
pub(super) struct Growth {
    /// Seconds, and how much.
    samples: Vec<(f64, f64)>,
}

impl Growth {
    /// Fewer say nothing.
    const SAMPLES_MIN: usize = 4;

    pub(super) fn add(&mut self, seconds: f64, value: f64) {
        self.samples.push((seconds, value));
    }

    pub(super) fn len(&self) -> usize {
        self.samples.len()
    }

    /// Without the first quarter, and at least the first: what comes to be once.
    pub(super) fn warmed_up(&self) -> Self {
        let cold = (self.samples.len() / 4).max(1).min(self.samples.len());
        Self { samples: self.samples[cold..].to_vec() }
    }

    /// The least that it was.
    pub(super) fn least(&self) -> Option<f64> {
        self.samples.iter().map(|sample| sample.1).reduce(f64::min)
    }

    /// The line's slope, per second; nothing with too few samples, or all at one time.
    pub(super) fn slope(&self) -> Option<f64> {
        if self.samples.len() < Self::SAMPLES_MIN {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of samples")]
        let count = self.samples.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| self.samples.iter().map(of).sum::<f64>() / count;
        let (mean_x, mean_y) = (mean(|sample| sample.0), mean(|sample| sample.1));
        let (mut xx, mut xy) = (0.0, 0.0);
        for (x, y) in &self.samples {
            xx += (x - mean_x).powi(2);
            xy += (x - mean_x) * (y - mean_y);
        }
        (xx > 0.0).then(|| xy / xx)
    }

    /// What the line gained from the first sample to the last.
    pub(super) fn gained(&self) -> Option<f64> {
        let (first, last) = (self.samples.first()?, self.samples.last()?);
        Some(self.slope()? * (last.0 - first.0))
    }

    /// For the report: samples, least, most, slope and what was gained.
    pub(super) fn json(&self) -> Value {
        let values = || self.samples.iter().map(|sample| sample.1);
        json!({
            "samples": self.samples.len(),
            "least": self.least(),
            "most": values().reduce(f64::max),
            "per_hour": self.slope().map(|slope| (slope * 3_600.0).round()),
            "gained": self.gained().map(f64::round),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: &[(f64, f64)]) -> Growth {
        Growth { samples: samples.to_vec() }
    }

    #[test]
    fn a_line_is_found_and_noise_around_it_does_not_matter() {
        let growth = of(&[(0.0, 10.0), (10.0, 31.0), (20.0, 49.0), (30.0, 70.0)]);
        assert!((growth.slope().unwrap() - 1.98).abs() < 1e-9, "{growth:?}");
        assert!((growth.gained().unwrap() - 59.4).abs() < 1e-9, "{growth:?}");
    }

    #[test]
    fn what_goes_up_and_down_gains_nothing() {
        let growth = of(&[(0.0, 5.0), (1.0, 9.0), (2.0, 9.0), (3.0, 5.0)]);
        assert!(growth.gained().unwrap().abs() < 1e-9, "{growth:?}");
    }

    #[test]
    fn too_little_says_nothing() {
        assert_eq!(of(&[(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]).slope(), None);
        assert_eq!(of(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0), (1.0, 4.0)]).slope(), None);
    }
}
