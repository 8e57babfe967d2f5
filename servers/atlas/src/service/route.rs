//! What a request is about: one of ours, a file, or an error.

use std::borrow::Cow;

use http::signature::Denied;
use http::target::Resource;
use http::{Method, Request, Status, Target};

use super::Site;
use crate::page::{self, Page};

/// What a request is about.
#[derive(Debug)]
pub(super) enum Route<'a> {
    /// The path below the root of a file to be opened.
    File(Cow<'a, [u8]>),
    /// Content in memory.
    Page(&'a Page),
    /// Whether this server is well: 200, or 503 while draining.
    Health {
        /// It is on its way out.
        draining: bool,
    },
    /// What can be done here, or a preflight of CORS.
    Options,
    /// No signature that opens it.
    Denied(Denied),
    /// A status and the sentence on its page.
    Error(Status, &'static str),
}

/// What of a directory is served in its place.
const INDEX: &[u8] = b"index.html";

/// The file that a decoded path means: of a directory the index in it.
pub(super) fn file_of(path: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if path.is_empty() || path.ends_with(b"/") {
        let mut index = path.into_owned();
        index.extend_from_slice(INDEX);
        return Cow::Owned(index);
    }
    path
}

impl<'a> Route<'a> {
    /// Finds what `request` is about. `now` is in seconds since the Unix epoch.
    pub(super) fn of(site: &'a Site, request: &Request<'a>, now: u64, draining: bool) -> Self {
        let resource = match Target::parse(request.target) {
            Ok(Target::Resource(resource)) => resource,
            // RFC 9110 §9.3.7: about the server as a whole; for other methods there is no such target.
            Ok(Target::Asterisk) if request.method == Method::Options => return Self::Options,
            Ok(Target::Asterisk) => {
                return Self::Error(Status::BadRequest, "Only OPTIONS asks about the whole server.");
            }
            Err(error) => return Self::Error(error.status(), error.sentence()),
        };
        // Preflights come without what they ask leave for, signatures in a cookie's place included.
        if request.method == Method::Options {
            return Self::Options;
        }
        let Resource { path, query } = resource;
        if *path == *b"healthz" {
            return Self::Health { draining };
        }
        if let Some(pages) = &site.pages {
            match pages.at(&path) {
                Some(page) => return Self::Page(page),
                None if path.starts_with(page::DIRECTORY) => return NOT_FOUND,
                None => {}
            }
        }
        let length = match site.keys.check(&path, query, now) {
            Ok(allowed) => allowed.len(),
            Err(denied) => return Self::Denied(denied),
        };
        let path = without_signature(path, length);
        if !site.settings.hidden_files && is_hidden(&path) {
            return NOT_FOUND;
        }
        Self::File(file_of(path))
    }
}

/// The same for what is not there and for what nobody is to know is there.
const NOT_FOUND: Route<'static> = Route::Error(Status::NotFound, NO_SUCH_NAME);

/// One wording, so that hidden and missing files cannot be told apart.
pub(super) const NO_SUCH_NAME: &str = "Nothing here has that name.";

/// The last `length` bytes of a path: the signature stands before them.
fn without_signature(path: Cow<'_, [u8]>, length: usize) -> Cow<'_, [u8]> {
    match path {
        Cow::Borrowed(path) => Cow::Borrowed(&path[path.len() - length..]),
        Cow::Owned(mut path) => {
            path.drain(..path.len() - length);
            Cow::Owned(path)
        }
    }
}

/// Whether a segment begins with a dot. `.well-known` (RFC 8615) is meant to be found.
fn is_hidden(path: &[u8]) -> bool {
    let path = path.strip_prefix(b".well-known/").unwrap_or(path);
    path.split(|&byte| byte == b'/').any(|segment| segment.starts_with(b"."))
}
