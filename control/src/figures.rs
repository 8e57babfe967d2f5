//! Numbers that a person or a monitoring system can read.

/// How a figure behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows; meaningful as a difference.
    Counter,
    /// Goes up and down; meaningful as it is.
    Gauge,
}

/// One number with everything needed to show it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// In snake case with the unit last, without the server's prefix: `disk_read_bytes`.
    pub name: &'static str,
    /// One sentence without a full stop.
    pub help: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// What tells this one apart from others of the same name, which must follow directly: `("class", "2xx")`.
    pub label: Option<(&'static str, &'static str)>,
    /// The value.
    pub value: f64,
}

impl Figure {
    /// A counter.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: Kind::Counter, label: None, value: whole(value) }
    }

    /// A gauge.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str, value: u64) -> Self {
        Self { name, help, kind: Kind::Gauge, label: None, value: whole(value) }
    }

    /// A gauge that is not a whole number, such as a time in seconds.
    #[must_use]
    pub const fn ratio(name: &'static str, help: &'static str, value: f64) -> Self {
        Self { name, help, kind: Kind::Gauge, label: None, value }
    }

    /// The same figure, told apart from its namesakes by a label.
    #[must_use]
    pub const fn labelled(mut self, key: &'static str, value: &'static str) -> Self {
        self.label = Some((key, value));
        self
    }
}

/// A number of a worker's, as the double that both exports carry. Exact up to 2⁵³, eight petabytes.
#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 a counter of bytes may be off by one in 10^16")]
fn whole(value: u64) -> f64 {
    value as f64
}

/// A worker's counters at one moment.
pub trait Figures: Copy + Send + 'static {
    /// Offers every figure, always in the same order, namesakes together.
    fn visit(&self, visit: &mut dyn FnMut(Figure));
}
