//! What a figure's run leaves behind: one JSON file that the report is made of.
//!
//! ```text
//!   Record ─┬─ panels ─┬─ axes, and on a named axis the names
//!           │          └─ curves ── points: median, least, most
//!           └─ what was run: commands, versions, configurations, and what this machine cannot do
//! ```
//!
//! Nothing in it depends on how it was measured, so that a report can be made elsewhere and later.

use serde::{Deserialize, Serialize};

/// One figure, as measured once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The dissertation's number: `4.12`.
    pub figure: String,
    /// What is shown.
    pub title: String,
    /// The section that tells of it.
    pub section: String,
    /// What the dissertation found, in a sentence.
    pub found: String,
    /// When, as HTTP writes dates.
    pub taken_at: String,
    /// Seconds that it took.
    pub took_s: f64,
    /// Fewer points and repetitions.
    pub quick: bool,
    /// The machine, a line each: what it is, and what that was.
    pub machine: Vec<(String, String)>,
    /// The plots.
    pub panels: Vec<Panel>,
    /// Each command that was run, as it would be typed.
    pub commands: Vec<String>,
    /// Programs and what they say their version is.
    pub versions: Vec<(String, String)>,
    /// Peers and their configuration, whole.
    pub configurations: Vec<(String, String)>,
    /// What this machine cannot do, and what was run instead.
    pub remarks: Vec<String>,
}

/// One plot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    /// `a`, when there are several.
    pub letter: String,
    /// What is shown.
    pub title: String,
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// What is drawn.
    pub curves: Vec<Curve>,
}

/// An axis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// What it measures, with its unit.
    pub label: String,
    /// How values lie on it.
    pub scale: Scale,
}

/// How values lie on an axis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Scale {
    /// Evenly, from zero.
    #[default]
    Linear,
    /// By their logarithm to base two.
    Log2,
    /// By their logarithm to base ten.
    Log10,
    /// Names: the values are their places, from 0.
    Names(Vec<String>),
}

/// One line of a plot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Whose it is.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// What it looks like.
    #[serde(default)]
    pub drawn: Drawn,
    /// Curves of one number have one colour; each has its own where there is none.
    #[serde(default)]
    pub colour: Option<usize>,
    /// By rising x.
    pub points: Vec<Point>,
}

/// What a curve looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Drawn {
    /// From point to point.
    #[default]
    Line,
    /// Up or down where there is something new, and level otherwise.
    Steps,
    /// From the least to the most, at each place.
    Spans,
    /// Marks alone.
    Marks,
}

/// Where a curve comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Measured in this run.
    Measured,
    /// Computed by the model of the cache.
    Model,
    /// The dissertation's own number, on its machine.
    Dissertation,
}

/// What was measured at one place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Where.
    pub x: f64,
    /// The median, or the one value.
    pub y: f64,
    /// The least of the repetitions.
    pub least: f64,
    /// The most of them.
    pub most: f64,
}

impl Point {
    /// One value without a spread: a model's, or a number of the text.
    #[must_use]
    pub const fn exact(x: f64, y: f64) -> Self {
        Self { x, y, least: y, most: y }
    }

    /// The median of `values` and their spread; `None` of none. What is no number (a cost of nothing) is none of them.
    #[must_use]
    pub fn of(x: f64, values: &[f64]) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let y = if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        };
        Some(Self { x, y, least, most })
    }
}

impl Axis {
    /// Evenly, from zero.
    #[must_use]
    pub fn linear(label: &str) -> Self {
        Self { label: label.to_owned(), scale: Scale::Linear }
    }

    /// By the logarithm to base two.
    #[must_use]
    pub fn log2(label: &str) -> Self {
        Self { label: label.to_owned(), scale: Scale::Log2 }
    }

    /// By the logarithm to base ten.
    #[must_use]
    pub fn log10(label: &str) -> Self {
        Self { label: label.to_owned(), scale: Scale::Log10 }
    }

    /// Names side by side.
    #[must_use]
    pub fn names<S: Into<String>>(label: &str, names: impl IntoIterator<Item = S>) -> Self {
        let names = names.into_iter().map(Into::into).collect();
        Self { label: label.to_owned(), scale: Scale::Names(names) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        let point = Point::of(1.0, &[4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((point.y, point.least, point.most), (2.5, 1.0, 4.0));
        assert_eq!(Point::of(1.0, &[7.0, 5.0, 6.0]).unwrap().y, 6.0);
        assert_eq!(Point::of(1.0, &[]), None);
        assert_eq!(Point::of(1.0, &[f64::INFINITY, 3.0]).unwrap().most, 3.0);
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let record = Record {
            figure: "2.5".into(),
            panels: vec![Panel {
                letter: "a".into(),
                x: Axis::names("stack", ["ours", "theirs"]),
                curves: vec![Curve {
                    name: "read".into(),
                    origin: Origin::Model,
                    drawn: Drawn::Line,
                    colour: None,
                    points: vec![Point::exact(0.0, 0.25)],
                }],
                ..Panel::default()
            }],
            ..Record::default()
        };
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
