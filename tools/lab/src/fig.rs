//! Figures of the dissertation again, on the user's machine: what is measured, and how it is drawn.
//!
//! ```text
//!   ground ─▶ servers, one after the other ─▶ load, and what is looked at ─▶ plot ─▶ DIR/NUMBER.svg
//!                                                  └─ capture: packets and when they came
//! ```

pub mod capture;
pub mod machine;
pub mod plot;
pub mod trace;

/// A figure that can be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// As the dissertation counts.
    pub number: &'static str,
    /// What it shows.
    pub about: &'static str,
}

/// Every figure there is here.
pub const FIGURES: [Figure; 1] = [Figure {
    number: "3.2",
    about: "packet traces of one connection to a busy but unsaturated server: sequence numbers and acknowledgements by time",
}];
