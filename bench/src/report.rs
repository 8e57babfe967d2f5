//! Results, for people or for programs.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "results are what this program prints")]

use serde_json::{Value, json};

/// Where results go.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    only: Option<String>,
}

/// Minimum, median and maximum of some runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The spread of at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Self { min: at(0), median: at(values.len() / 2), max: at(values.len().saturating_sub(1)) }
    }

    pub(crate) fn json(self) -> Value {
        json!({"min": round(self.min), "median": round(self.median), "max": round(self.max)})
    }
}

/// Three significant decimals are more than these machines can keep.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

impl Report {
    pub(crate) fn new(json: bool, only: Option<String>) -> Self {
        Self { json, only }
    }

    /// Whether this result of several is asked for.
    pub(crate) fn wants(&self, bench: &str) -> bool {
        self.only.as_ref().is_none_or(|part| bench.contains(part))
    }

    /// No result was asked for by name.
    pub(crate) fn wants_all(&self) -> bool {
        self.only.is_none()
    }

    /// One result.
    pub(crate) fn result(&self, bench: &str, value: f64, unit: &str, detail: &Value) {
        if self.json {
            println!("{}", json!({"bench": bench, "value": round(value), "unit": unit, "detail": detail}));
            return;
        }
        println!("{bench:32} {:>12} {unit}", round(value));
        if let Value::Object(fields) = detail {
            for (name, value) in fields {
                println!("    {name:28} {value}");
            }
        }
    }
}

/// A line of its own.
pub(crate) fn line(text: &str) {
    println!("{text}");
}

/// A line for whoever waits.
pub(crate) fn complain(text: &str) {
    eprintln!("bench: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        let spread = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
    }
}
