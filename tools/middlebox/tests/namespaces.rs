//! The program between two kernels.
//!
//! ```text
//!   ┌ client ───────┐      ┌ middle ───────────────┐      ┌ server ───────┐
//!   │ 10.9.0.1   c0 │──────│ m0    middlebox    m1 │──────│ s0   10.9.0.2 │
//!   └───────────────┘ veth └───────────────────────┘ veth └───────────────┘
//! ```

#![forbid(unsafe_code)]

#[cfg(test)]
mod namespaces {
    pub(crate) mod bare;
    mod measures;
    mod path;
    mod raw;
    pub(crate) mod world;
}
