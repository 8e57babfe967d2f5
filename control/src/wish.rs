//! Requests to the admin port that only a server understands, and what it says to them.

use crate::admin::{Method, Request};

/// A request to the admin port.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a>(pub(crate) &'a Request);

impl Wish<'_> {
    /// Something is to be changed; otherwise somebody only looks.
    #[must_use]
    pub fn is_command(&self) -> bool {
        self.0.method == Method::Post
    }

    /// Without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// What the query says of `name`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.0.parameter(name)
    }

    /// The first parameter that is none of these.
    #[must_use]
    pub fn unknown_parameter(&self, known: &[&str]) -> Option<&str> {
        self.0.unknown_parameter(known)
    }
}

/// What a server says to a [`Wish`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// What was asked for.
    Json(String),
    /// It is done.
    Done(String),
    /// It cannot be done: a status code, and one line.
    Refused(u16, String),
}
