//! Conditional requests (RFC 9110 §13): whether to go on.

use crate::date;
use crate::etag::{ETag, Tags};
use crate::request::{Method, Request};

/// What the selected representation can be recognised by.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// Its entity tag, which is strong.
    pub etag: &'a ETag,
    /// When it last changed, in seconds since the Unix epoch; nothing for what is made up here.
    pub last_modified: Option<u64>,
}

/// What the conditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Do what the request asks; its Range counts.
    Proceed,
    /// Answer 304: the client's copy is good.
    NotModified,
    /// Answer 412: the client wanted another state of things.
    PreconditionFailed,
}

/// Weighs the conditions of a request for an existing representation, in the order of RFC 9110 §13.2.2. `now` is in
/// seconds since the Unix epoch.
#[must_use]
pub fn evaluate(request: &Request<'_>, validators: &Validators<'_>, now: u64) -> Outcome {
    // §13.2.1: "A server MUST ignore the conditional request header fields … when received with a request method that
    // does not involve the selection or modification of a selected representation".
    if request.method == Method::Options {
        return Outcome::Proceed;
    }
    let fields = request.fields;
    // Without a date of our own, conditions about dates do not count (§13.1.3, §13.1.4).
    let compare = |name| Some((validators.last_modified?, date::parse(fields.single(name)?, now)?));

    // Steps 1 and 2: lost updates. If-Match hides If-Unmodified-Since.
    if fields.contains(b"if-match") {
        if !any_tag(request, b"if-match", |tag| validators.etag.matches_strongly(tag)) {
            return Outcome::PreconditionFailed;
        }
    } else if compare(b"if-unmodified-since").is_some_and(|(modified, since)| modified > since) {
        return Outcome::PreconditionFailed;
    }

    // Steps 3 and 4: caches. If-None-Match hides If-Modified-Since.
    if fields.contains(b"if-none-match") {
        if any_tag(request, b"if-none-match", |tag| validators.etag.matches_weakly(tag)) {
            return Outcome::NotModified;
        }
    } else if compare(b"if-modified-since").is_some_and(|(modified, since)| modified <= since) {
        return Outcome::NotModified;
    }

    // Step 5, If-Range, belongs to the range: see `crate::range`.
    Outcome::Proceed
}

/// Whether the field is `*` or lists a tag that `matches`.
fn any_tag(request: &Request<'_>, name: &'static [u8], matches: impl Fn(&[u8]) -> bool) -> bool {
    request.fields.all(name).any(|value| value == b"*" || Tags::new(value).any(&matches))
}

#[cfg(test)]
mod tests;
