//! Answers: from what was found to what is sent.

use core::time::Duration;
use std::sync::Arc;

use http::conditions::{self, Outcome, Validators};
use http::date::DateCache;
use http::etag::ETag;
use http::mime;
use http::range::{self, ByteRange, Selection};
use http::response::{
    Connection, ContentRange, Cors, EmitError, HEAD_BYTES, Head, Location, Multipart, PAGE_BYTES_MAX,
    error_page,
};
use http::target::Resource;
use http::{Method, Request, Status, Target};
use platform::{FileMeta, OpenError};
use turn::{Actions, FileHandle, Now};
use web::session::Refused;

use super::route::{NO_SUCH_NAME, file_of};
use super::{Answered, Rest, Route, Site};
use crate::page::{self, Page};

/// As much of a page as is handed over at once.
const PIECE_BYTES: usize = 64 * 1024;

/// What an answer is made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer<'a> {
    /// An open file.
    File(FileHandle, &'a FileMeta),
    /// The file could not be opened.
    OpenError(OpenError),
    /// It needs no file.
    Route(&'a Route<'a>),
}

/// What makes answers: a clock's face and a desk.
#[derive(Debug)]
pub(super) struct Responder {
    dates: DateCache,
    /// Heads are written here and copied in one piece.
    desk: Box<[u8; DESK_BYTES]>,
}

/// A head with a target's worth of Location in it, every byte of which may be escaped.
const DESK_BYTES: usize = HEAD_BYTES + 3 * crate::settings::HEAD_BYTES_MAX;

/// What is the same in all answers to a request.
struct Context<'a> {
    site: &'a Site,
    now: Now,
    request: Option<&'a Request<'a>>,
    /// False for HEAD.
    has_content: bool,
}

impl Context<'_> {
    fn is_get_or_head(&self) -> bool {
        self.request.is_none_or(|request| request.method != Method::Options)
    }
}

impl Responder {
    pub(super) fn new(now: u64) -> Self {
        Self { dates: DateCache::new(now), desk: Box::new([0; DESK_BYTES]) }
    }

    /// Answers a request that was understood.
    pub(super) fn answer(
        &mut self,
        site: &Site,
        now: Now,
        request: &Request<'_>,
        answered: &mut Answered,
        answer: Answer<'_>,
        actions: &mut Actions,
    ) {
        let context =
            Context { site, now, request: Some(request), has_content: request.method != Method::Head };
        match answer {
            Answer::File(handle, meta) => self.file(&context, answered, handle, meta, actions),
            Answer::OpenError(OpenError::IsDirectory) => self.redirect(&context, answered, actions),
            Answer::OpenError(error) => {
                let (status, sentence) = judge(error);
                self.error(&context, answered, Head::new(status), sentence, actions);
            }
            Answer::Route(Route::Page(page)) => self.page(&context, answered, page, actions),
            Answer::Route(Route::Health { draining }) => self.health(&context, answered, *draining, actions),
            Answer::Route(Route::Options) => self.options(&context, answered, actions),
            Answer::Route(Route::Denied(denied)) => {
                self.error(&context, answered, Head::new(Status::Forbidden), denied.sentence(), actions);
            }
            Answer::Route(Route::Error(status, sentence)) => {
                self.error(&context, answered, Head::new(*status), sentence, actions);
            }
            Answer::Route(Route::File(_)) => {
                debug_assert!(false, "a file is opened first");
                self.error(&context, answered, Head::new(Status::InternalServerError), BROKEN, actions);
            }
        }
    }

    /// Answers what nobody looks at: bytes that are no request, and requests beyond what can be served.
    pub(super) fn refuse(
        &mut self,
        site: &Site,
        refused: &Refused<'_>,
        answered: &mut Answered,
        actions: &mut Actions,
    ) {
        let Refused { now, status, sentence, request, has_content } = *refused;
        let context = Context { site, now, request, has_content };
        self.error(&context, answered, Head::new(status), sentence, actions);
    }

    /// 200, 206, 304, 412 or 416.
    fn file(
        &mut self,
        context: &Context<'_>,
        answered: &mut Answered,
        handle: FileHandle,
        meta: &FileMeta,
        actions: &mut Actions,
    ) {
        let (Some(request), now) = (context.request, context.now.unix.as_secs()) else { return };
        let path = match Target::parse(request.target) {
            Ok(Target::Resource(Resource { path, .. })) => file_of(path),
            // It was a file's path before it was opened.
            _ => b"".into(),
        };
        let len = meta.len;
        let etag = ETag::of_file(len, meta.mtime_ns.cast_unsigned(), meta.inode);
        // RFC 9110 §8.8.2.1: no later than the Date of the answer.
        let modified = u64::try_from(meta.mtime_ns).unwrap_or(0) / 1_000_000_000;
        let validators = Validators { etag: &etag, last_modified: Some(modified.min(now)) };
        let described = Head {
            accept_ranges: true,
            etag: Some(&etag),
            last_modified: validators.last_modified,
            cache_control: Some(context.site.cache_control(&path)),
            ..Head::new(Status::Ok)
        };
        match conditions::evaluate(request, &validators, now) {
            Outcome::Proceed => {}
            Outcome::NotModified => {
                let head = Head { status: Status::NotModified, accept_ranges: false, ..described };
                self.send(context, answered, head, b"", actions);
                return;
            }
            Outcome::PreconditionFailed => {
                self.error(context, answered, Head::new(Status::PreconditionFailed), CHANGED, actions);
                return;
            }
        }
        let content_type = mime::of(&path);
        let described = Head { content_type: Some(content_type), ..described };
        match range::select(request, &validators, len, now) {
            Selection::Whole => {
                let head = Head { content_length: Some(len), ..described };
                self.send(context, answered, head, b"", actions);
                if context.has_content {
                    actions.send_file(handle, 0..len);
                    answered.content_bytes = len;
                }
            }
            Selection::Single(range) => {
                let head = Head {
                    status: Status::PartialContent,
                    content_length: Some(range.bytes()),
                    content_range: Some(ContentRange::Part { range, len }),
                    ..described
                };
                self.send(context, answered, head, b"", actions);
                actions.send_file(handle, range.first..range.last + 1);
                answered.content_bytes = range.bytes();
            }
            Selection::Multiple(ranges) => {
                // The writer of the file cannot know when it will be asked for.
                let boundary = meta.inode ^ nanos(context.now.unix).rotate_left(32);
                let multipart = Multipart { boundary: boundary.wrapping_mul(MIX), content_type, len };
                if self.parts(context, answered, described, handle, &multipart, &ranges, actions).is_err() {
                    self.error(context, answered, Head::new(Status::InternalServerError), BROKEN, actions);
                }
            }
            Selection::Unsatisfiable => {
                let head = Head {
                    content_range: Some(ContentRange::Unsatisfied { len }),
                    ..Head::new(Status::RangeNotSatisfiable)
                };
                self.error(context, answered, head, OUTSIDE, actions);
            }
        }
    }

    /// Several parts, each with a head of its own.
    #[expect(clippy::too_many_arguments, reason = "all of it is needed and none of it belongs together")]
    fn parts(
        &mut self,
        context: &Context<'_>,
        answered: &mut Answered,
        described: Head<'_>,
        handle: FileHandle,
        multipart: &Multipart<'_>,
        ranges: &[ByteRange],
        actions: &mut Actions,
    ) -> Result<(), EmitError> {
        let mut room = [0; 2 * Multipart::HEAD_BYTES_MAX];
        let total = multipart.content_length(ranges)?;
        let bytes = multipart.emit_content_type(&mut room)?;
        let content_type = core::str::from_utf8(&room[..bytes]).map_err(|_| EmitError::Control)?;
        let head = Head {
            status: Status::PartialContent,
            content_length: Some(total),
            content_type: Some(content_type),
            ..described
        };
        self.send(context, answered, head, b"", actions);
        // It fitted a moment ago: after the head nothing can fail.
        for &range in ranges {
            let bytes = multipart.emit_part_head(range, &mut room)?;
            actions.send(room[..bytes].to_vec());
            actions.send_file(handle, range.first..range.last + 1);
        }
        let bytes = multipart.emit_end(&mut room)?;
        actions.send(room[..bytes].to_vec());
        answered.content_bytes = total;
        Ok(())
    }

    /// 301 from a directory to its name with a slash.
    fn redirect(&mut self, context: &Context<'_>, answered: &mut Answered, actions: &mut Actions) {
        let target = context.request.map(|request| Target::parse(request.target));
        // A name with a slash was looked for as the index in it; that this is a directory too is the operator's fun.
        let (path, query) = match target {
            Some(Ok(Target::Resource(Resource { path, query })))
                if !path.ends_with(b"/") && !path.is_empty() =>
            {
                (path, query)
            }
            _ => return self.error(context, answered, Head::new(Status::NotFound), NO_SUCH_NAME, actions),
        };
        let path = [&path, b"/".as_slice()].concat();
        let head = Head {
            location: Some(Location { path: &path, query }),
            cache_control: Some(page::CACHE_CONTROL),
            ..Head::new(Status::MovedPermanently)
        };
        self.error(context, answered, head, "This is a directory; its name ends in a slash.", actions);
    }

    /// 200 or 304 from memory.
    fn page(&mut self, context: &Context<'_>, answered: &mut Answered, page: &Page, actions: &mut Actions) {
        let described = Head {
            etag: Some(&page.etag),
            cache_control: Some(page::CACHE_CONTROL),
            extra: &[
                ("Content-Security-Policy", page::CONTENT_SECURITY_POLICY),
                ("Referrer-Policy", "same-origin"),
            ],
            ..Head::new(Status::Ok)
        };
        let validators = Validators { etag: &page.etag, last_modified: None };
        let outcome = context.request.map_or(Outcome::Proceed, |request| {
            conditions::evaluate(request, &validators, context.now.unix.as_secs())
        });
        match outcome {
            Outcome::Proceed => {
                let head = Head {
                    content_type: Some(page.content_type),
                    content_length: Some(page.content.len() as u64),
                    ..described
                };
                if context.has_content && page.content.len() > PIECE_BYTES {
                    self.send(context, answered, head, b"", actions);
                    answered.content_bytes = page.content.len() as u64;
                    answered.rest = send_piece(Rest { content: Arc::clone(&page.content), from: 0 }, actions);
                } else {
                    self.send(context, answered, head, &page.content, actions);
                }
            }
            Outcome::NotModified => {
                self.send(context, answered, Head { status: Status::NotModified, ..described }, b"", actions);
            }
            Outcome::PreconditionFailed => {
                self.error(context, answered, Head::new(Status::PreconditionFailed), CHANGED, actions);
            }
        }
    }

    fn health(
        &mut self,
        context: &Context<'_>,
        answered: &mut Answered,
        draining: bool,
        actions: &mut Actions,
    ) {
        let (status, text): (_, &[u8]) =
            if draining { (Status::ServiceUnavailable, b"draining\n") } else { (Status::Ok, b"ok\n") };
        let head = Head {
            content_type: Some("text/plain; charset=utf-8"),
            content_length: Some(text.len() as u64),
            cache_control: Some("no-store"),
            ..Head::new(status)
        };
        self.send(context, answered, head, text, actions);
    }

    /// 204, and leave for the scripts of other origins if this is their preflight.
    fn options(&mut self, context: &Context<'_>, answered: &mut Answered, actions: &mut Actions) {
        self.send(context, answered, Head { allow: true, ..Head::new(Status::NoContent) }, b"", actions);
    }

    /// A page that says what is wrong.
    fn error(
        &mut self,
        context: &Context<'_>,
        answered: &mut Answered,
        head: Head<'_>,
        sentence: &str,
        actions: &mut Actions,
    ) {
        let mut page = [0; PAGE_BYTES_MAX];
        // All our sentences fit; if one did not, the status would have to do.
        let bytes = error_page(head.status, sentence, &mut page).unwrap_or(0);
        let is_surplus = head.status == Status::ServiceUnavailable;
        let head = Head {
            content_type: Some("text/html; charset=utf-8"),
            content_length: Some(bytes as u64),
            // RFC 9111 §4.2.2 lets caches keep a 404 by their own judgement; the next segment of a live stream is
            // missing only until it is there.
            cache_control: head.cache_control.or(Some("no-store")),
            retry_after_s: is_surplus.then_some(context.site.settings.retry_after_s),
            ..head
        };
        self.send(context, answered, head, &page[..bytes], actions);
    }

    /// One line for somebody who speaks plain HTTP to the port for TLS, in a response that any client understands.
    pub(super) fn plain_to_tls(&mut self, site: &Site, now: Now) -> Vec<u8> {
        let head = Head {
            content_type: Some("text/plain; charset=utf-8"),
            content_length: Some(PLAIN_TO_TLS.len() as u64),
            cache_control: Some("no-store"),
            connection: Connection::Close,
            ..Head::new(Status::BadRequest)
        };
        let date = self.dates.date(now.unix.as_secs());
        let bytes = head.emit(&site.settings.server, date, self.desk.as_mut_slice()).unwrap_or(0);
        [&self.desk[..bytes], PLAIN_TO_TLS.as_bytes()].concat()
    }

    /// Completes a head, writes it, and hands it over with the `content` that is in memory.
    fn send(
        &mut self,
        context: &Context<'_>,
        answered: &mut Answered,
        head: Head<'_>,
        content: &[u8],
        actions: &mut Actions,
    ) {
        let Context { site, now, request, has_content } = *context;
        let connection = match request {
            _ if answered.close => Connection::Close,
            Some(request) => Connection::wanted_by(request),
            None => Connection::Close,
        };
        let origin = request.and_then(|request| request.fields.single(b"origin"));
        let is_preflight = !context.is_get_or_head()
            && request.is_some_and(|request| request.fields.contains(b"access-control-request-method"));
        let cors = site.allow_origin(origin).map(|allow_origin| Cors {
            allow_origin,
            preflight_max_age_s: is_preflight.then_some(site.settings.cors_max_age_s),
        });
        let mut extra: arrayvec::ArrayVec<(&str, &str), EXTRA_MAX> = head.extra.iter().copied().collect();
        extra.extend(site.fields().take(extra.remaining_capacity()));
        let head = Head { connection, cors, extra: &extra, ..head };

        let date = self.dates.date(now.unix.as_secs());
        let content = if has_content { content } else { b"" };
        answered.status = head.status;
        if let Ok(bytes) = head.emit(&site.settings.server, date, self.desk.as_mut_slice()) {
            let mut message = Vec::with_capacity(bytes + content.len());
            message.extend_from_slice(&self.desk[..bytes]);
            message.extend_from_slice(content);
            actions.send(message);
            answered.head_bytes = bytes as u64;
            answered.content_bytes = content.len() as u64;
        } else {
            // What an operator sets has been checked and what a client sends is encoded: this is our own mistake, and
            // the client learns at once that nothing will come.
            debug_assert!(false, "a head that cannot be written");
            answered.status = Status::InternalServerError;
            actions.abort();
        }
    }
}

/// The fields of a page, and those an operator may add.
const EXTRA_MAX: usize = 64;

/// An odd number without a pattern: the golden ratio's.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

const PLAIN_TO_TLS: &str =
    "Plain HTTP was sent to the port for HTTPS: ask for https:// instead of http://.\n";
const BROKEN: &str = "Something in this server is broken.";
const CHANGED: &str = "The file is not the one the request is about.";
const OUTSIDE: &str = "None of the ranges asked for lies inside the file.";

fn nanos(unix: Duration) -> u64 {
    u64::try_from(unix.as_nanos()).unwrap_or(u64::MAX)
}

/// Hands over as much as goes at once; what is left.
pub(super) fn send_piece(rest: Rest, actions: &mut Actions) -> Option<Rest> {
    let Rest { content, from } = rest;
    let to = content.len().min(from.saturating_add(PIECE_BYTES));
    actions.send(content.get(from..to).unwrap_or_default().to_vec());
    (to < content.len()).then_some(Rest { content, from: to })
}

/// The status for a file that cannot be opened, and the sentence on its page.
const fn judge(error: OpenError) -> (Status, &'static str) {
    // Linux's numbers, the same on every architecture this runs on.
    const ENOTDIR: i32 = 20;
    const ENAMETOOLONG: i32 = 36;
    const ELOOP: i32 = 40;
    match error {
        // The name of a file used as a directory, or longer than any name is.
        OpenError::NotFound | OpenError::Io(ENOTDIR | ENAMETOOLONG) => (Status::NotFound, NO_SUCH_NAME),
        OpenError::Forbidden | OpenError::NotAFile | OpenError::Io(ELOOP) => {
            (Status::Forbidden, "This may not be read from here.")
        }
        OpenError::Busy => {
            (Status::ServiceUnavailable, "Too many files are open; the next moment may have room.")
        }
        OpenError::IsDirectory | OpenError::Io(_) => {
            (Status::InternalServerError, "The file could not be opened.")
        }
    }
}
