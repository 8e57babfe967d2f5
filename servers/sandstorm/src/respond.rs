//! A request into a reply: which form of what, which bytes of it, under which head.
//!
//! ```text
//!   target ─▶ redirect? ─▶ resource ─▶ form (Accept-Encoding) ─▶ conditions ─▶ range ─▶ on the shelf?
//!               301, 302     404           Vary                   304, 412     206, 416     │ no: Load, ask again
//!                                                                                           ▼
//!   head of a whole object: written once for each end of connection; then its date is written over ◀┘
//! ```

use core::ops::Range;
use std::collections::HashMap;
use std::rc::Rc;

use http::coding::{Accepted, Coding};
use http::conditions::{self, Outcome, Validators};
use http::date::DateCache;
use http::range::{self, ByteRange, Selection};
use http::response::{
    AllowOrigin, Connection, ContentRange, Cors, HEAD_BYTES, Head, Location, Multipart, PAGE_BYTES_MAX,
    error_page,
};
use http::target::Resource as Named;
use http::{Method, Request, Status, Target};
use wire::checksum::Sum;

use crate::load::{Key, Resource, Site, Variant};
use crate::rules::{FIELDS_BYTES_MAX, Settings};
use crate::shelf::{Object, Shelf};

/// What becomes of a request.
#[derive(Debug)]
pub enum Answer<'a> {
    /// This is sent.
    Reply(Reply),
    /// These bytes are wanted first: [`Site::read`] them, [`Shelf::put`] them, and ask again.
    Load(&'a Variant),
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: Status,
    /// The head as it goes on the wire.
    pub head: Vec<u8>,
    /// The head's sum.
    pub head_sum: Sum,
    /// What follows it.
    pub body: Body,
    /// The connection ends with it.
    pub close: bool,
}

/// The content of a response.
#[derive(Debug)]
pub enum Body {
    /// None.
    Nothing,
    /// Bytes made for this response.
    Bytes(Vec<u8>),
    /// Bytes of an object, which lie where they lie.
    Object(Rc<Object>, Range<usize>),
    /// Several of them, each under a head of its own, and what ends them.
    Parts(Rc<Object>, Vec<(Vec<u8>, Range<usize>)>, Vec<u8>),
}

impl Body {
    /// How many bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Nothing => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Object(_, range) => range.len(),
            Self::Parts(_, parts, end) => {
                parts.iter().map(|(head, range)| head.len() + range.len()).sum::<usize>() + end.len()
            }
        };
        bytes as u64
    }
}

/// A head that is the same in every reply but for its date.
#[derive(Debug)]
struct Template {
    bytes: Box<[u8]>,
    /// Where the date stands: its bytes are zero here.
    date: Range<usize>,
    sum: Sum,
}

impl Template {
    /// From a head that was written: the first Date in it is the server's.
    fn of(head: &[u8]) -> Option<Self> {
        const NAME: &[u8] = b"\r\nDate: ";
        let start = head.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
        let end = start + head[start..].iter().position(|&byte| byte == b'\r')?;
        let mut bytes: Box<[u8]> = head.into();
        bytes[start..end].fill(0);
        let sum = Sum::of(&bytes);
        Some(Self { bytes, date: start..end, sum })
    }

    fn dated(&self, date: &[u8]) -> (Vec<u8>, Sum) {
        let mut head = self.bytes.to_vec();
        head[self.date.clone()].copy_from_slice(date);
        // Where the template has zeros nothing was summed: the date's own sum is added, in its lanes.
        let before = Sum::of_folded(0, self.date.start % 2 == 1);
        let of_date = before.combine(Sum::of(date)).fold();
        (head, Sum::of_folded(of_date, false).combine(self.sum))
    }
}

/// Whose head: a file's, as which form, for which end of connection.
type Place = (Key, Option<Coding>, u8);

/// What makes replies: a clock's face, a desk, and the heads written before.
#[derive(Debug)]
pub struct Responder {
    dates: DateCache,
    desk: Box<[u8]>,
    heads: HashMap<Place, Template>,
}

/// The longest head: the Location of a directory's name without its slash, every byte of which may be escaped.
const DESK_BYTES: usize = HEAD_BYTES + 2 * FIELDS_BYTES_MAX + 3 * 16 * 1_024;

/// Heads that are kept; each is a few hundred bytes.
const HEADS_MAX: usize = 16_384;

const NO_SUCH_NAME: &str = "Nothing here has that name.";
const CHANGED: &str = "The file is not the one the request is about.";
const OUTSIDE: &str = "None of the ranges asked for lies inside the file.";
const LATER: &str = "The file cannot be had now; the next moment may do.";
const CORS_MAX_AGE_S: u32 = 86_400;
const RETRY_AFTER_S: u32 = 1;
const PLAIN_TO_TLS: &str =
    "Plain HTTP was sent to the port for HTTPS: ask for https:// instead of http://.\n";

/// What is the same in all answers to a request.
struct Context<'a> {
    site: &'a Site,
    now: u64,
    connection: Connection,
    has_content: bool,
    is_preflight: bool,
}

impl Responder {
    /// `now` is in seconds since the Unix epoch, here and below.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self {
            dates: DateCache::new(now),
            desk: vec![0; DESK_BYTES].into_boxed_slice(),
            heads: HashMap::new(),
        }
    }

    /// A new site has come: what was written by the old one's rules is forgotten.
    pub fn on_site(&mut self) {
        self.heads.clear();
    }

    /// Answers a request that was understood. `close` ends the connection whatever the client wants.
    pub fn answer<'s>(
        &mut self,
        site: &'s Site,
        shelf: &mut Shelf,
        request: &Request<'_>,
        now: u64,
        close: bool,
    ) -> Answer<'s> {
        let context = Context {
            site,
            now,
            connection: if close { Connection::Close } else { Connection::wanted_by(request) },
            has_content: request.method != Method::Head,
            is_preflight: request.method == Method::Options
                && request.fields.contains(b"access-control-request-method"),
        };
        let (path, query) = match Target::parse(request.target) {
            Ok(Target::Resource(Named { path, query })) => (path, query),
            Ok(Target::Asterisk) if request.method == Method::Options => (Vec::new().into(), None),
            Ok(Target::Asterisk) => {
                let why = "Only OPTIONS asks about the whole server.";
                return Answer::Reply(self.error(&context, Head::new(Status::BadRequest), why));
            }
            Err(error) => {
                return Answer::Reply(self.error(&context, Head::new(error.status()), error.sentence()));
            }
        };
        if request.method == Method::Options {
            let head = Head { allow: true, ..Head::new(Status::NoContent) };
            return Answer::Reply(self.reply(&context, head, Body::Nothing));
        }
        if let Some(redirect) = site.redirects().of(&path) {
            let status = if redirect.permanent { Status::MovedPermanently } else { Status::Found };
            let extra = [("Location", redirect.to.as_str())];
            let head = Head {
                extra: &extra,
                cache_control: Some(&site.settings().cache_default),
                ..Head::new(status)
            };
            return Answer::Reply(self.error(&context, head, "It has moved; the header says where."));
        }
        if let Some(resource) = site.find(&path) {
            return self.resource(&context, shelf, request, resource);
        }
        if site.lacks_slash(&path) {
            let path = [&path, b"/".as_slice()].concat();
            let location = Some(Location { path: &path, query });
            let cache_control = Some(site.settings().cache_default.as_str());
            let head = Head { location, cache_control, ..Head::new(Status::MovedPermanently) };
            let why = "This is a directory; its name ends in a slash.";
            return Answer::Reply(self.error(&context, head, why));
        }
        self.missing(&context, shelf)
    }

    /// Answers what nobody looks at, with a page that says why; the connection ends.
    pub fn refuse(
        &mut self,
        site: &Site,
        (status, sentence): (Status, &str),
        has_content: bool,
        now: u64,
    ) -> Reply {
        let retry_after_s = (status == Status::ServiceUnavailable).then_some(RETRY_AFTER_S);
        let head = Head { retry_after_s, ..Head::new(status) };
        self.error(&Context { has_content, ..Context::closing(site, now) }, head, sentence)
    }

    /// Says whether the server is well.
    pub fn health(
        &mut self,
        site: &Site,
        request: &Request<'_>,
        now: u64,
        draining: bool,
        close: bool,
    ) -> Reply {
        let (status, text): (_, &[u8]) =
            if draining { (Status::ServiceUnavailable, b"draining\n") } else { (Status::Ok, b"ok\n") };
        let has_content = request.method != Method::Head;
        let connection = if close { Connection::Close } else { Connection::wanted_by(request) };
        let context = Context { site, now, connection, has_content, is_preflight: false };
        let head = Head {
            content_type: Some("text/plain; charset=utf-8"),
            content_length: Some(text.len() as u64),
            cache_control: Some("no-store"),
            ..Head::new(status)
        };
        let body = if has_content { Body::Bytes(text.to_vec()) } else { Body::Nothing };
        self.reply(&context, head, body)
    }

    /// One line for somebody who speaks plain HTTP to the port for TLS, in a response that any client understands.
    pub fn plain_to_tls(&mut self, site: &Site, now: u64) -> Vec<u8> {
        let head = Head {
            content_type: Some("text/plain; charset=utf-8"),
            content_length: Some(PLAIN_TO_TLS.len() as u64),
            cache_control: Some("no-store"),
            ..Head::new(Status::BadRequest)
        };
        let body = Body::Bytes(PLAIN_TO_TLS.as_bytes().to_vec());
        let Reply { head, .. } = self.reply(&Context::closing(site, now), head, body);
        [&head, PLAIN_TO_TLS.as_bytes()].concat()
    }

    /// 200, 206, 304, 412 or 416.
    fn resource<'s>(
        &mut self,
        context: &Context<'_>,
        shelf: &mut Shelf,
        request: &Request<'_>,
        resource: &'s Resource,
    ) -> Answer<'s> {
        let accepted = Accepted::of(request.fields);
        let offered = resource.variants.iter().map(|variant| (variant.coding, variant.len()));
        // Whoever refuses all there is gets the bare form all the same (RFC 9110 §15.5.7).
        let variant = &resource.variants[accepted.choose(offered).unwrap_or(0)];
        let now = context.now;
        // RFC 9110 §8.8.2.1: no later than the Date of the answer.
        let validators =
            Validators { etag: &variant.etag, last_modified: Some(variant.last_modified.min(now)) };
        let mut extra: Vec<(&str, &str)> =
            resource.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if resource.variants.len() > 1 {
            extra.push(("Vary", "Accept-Encoding"));
        }
        let described = Head {
            etag: Some(&variant.etag),
            last_modified: validators.last_modified,
            cache_control: Some(&resource.cache_control),
            extra: &extra,
            ..Head::new(Status::Ok)
        };
        match conditions::evaluate(request, &validators, now) {
            Outcome::Proceed => {}
            Outcome::NotModified => {
                let head = Head { status: Status::NotModified, ..described };
                return Answer::Reply(self.reply(context, head, Body::Nothing));
            }
            Outcome::PreconditionFailed => {
                let head = Head::new(Status::PreconditionFailed);
                return Answer::Reply(self.error(context, head, CHANGED));
            }
        }
        let mut coded = extra.clone();
        coded.extend(variant.coding.map(|coding| ("Content-Encoding", coding.token())));
        let len = variant.len();
        let described = Head {
            content_type: Some(resource.content_type),
            accept_ranges: true,
            extra: &coded,
            ..described
        };
        let selection = range::select(request, &validators, len, now);
        if selection == Selection::Unsatisfiable {
            let content_range = Some(ContentRange::Unsatisfied { len });
            let head = Head { content_range, ..Head::new(Status::RangeNotSatisfiable) };
            return Answer::Reply(self.error(context, head, OUTSIDE));
        }
        if !context.has_content {
            let head = Head { content_length: Some(len), ..described };
            return Answer::Reply(self.reply(context, head, Body::Nothing));
        }
        let Some(object) = shelf.get(variant.key) else { return Answer::Load(variant) };
        let reply = match selection {
            Selection::Whole | Selection::Unsatisfiable => {
                let head = Head { content_length: Some(len), ..described };
                self.whole(context, variant, head, object)
            }
            Selection::Single(range) => {
                let head = Head {
                    status: Status::PartialContent,
                    content_length: Some(range.bytes()),
                    content_range: Some(ContentRange::Part { range, len }),
                    ..described
                };
                self.reply(context, head, Body::Object(object, within(range)))
            }
            Selection::Multiple(ranges) => self.parts(context, variant, described, object, &ranges),
        };
        Answer::Reply(reply)
    }

    /// The whole object under a head that was written before, if it was.
    fn whole(
        &mut self,
        context: &Context<'_>,
        variant: &Variant,
        head: Head<'_>,
        object: Rc<Object>,
    ) -> Reply {
        let place = (variant.key, variant.coding, context.connection as u8);
        // A file may have been changed after the answer's second: then Last-Modified moves with the date.
        let is_lasting = head.last_modified.is_none_or(|modified| modified < context.now);
        let Some(template) = self.heads.get(&place).filter(|_| is_lasting) else {
            let range = 0..usize::try_from(object.len()).unwrap_or(usize::MAX);
            let reply = self.reply(context, head, Body::Object(object, range));
            if is_lasting && let Some(template) = Template::of(&reply.head) {
                // Names that are asked for once must not fill memory; those that are asked for again come back.
                if self.heads.len() >= HEADS_MAX {
                    self.heads.clear();
                }
                self.heads.insert(place, template);
            }
            return reply;
        };
        let (head, head_sum) = template.dated(self.dates.date(context.now).as_bytes());
        let range = 0..usize::try_from(object.len()).unwrap_or(usize::MAX);
        let close = context.connection == Connection::Close;
        Reply { status: Status::Ok, head, head_sum, body: Body::Object(object, range), close }
    }

    /// Several ranges, each under a head of its own.
    fn parts(
        &mut self,
        context: &Context<'_>,
        variant: &Variant,
        described: Head<'_>,
        object: Rc<Object>,
        ranges: &[ByteRange],
    ) -> Reply {
        // What stands in a file cannot know in which second it is asked for.
        let boundary = (variant.key.0 ^ context.now.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let content_type = described.content_type.unwrap_or(http::mime::UNKNOWN);
        let multipart = Multipart { boundary, content_type, len: object.len() };
        let mut room = [0; 2 * Multipart::HEAD_BYTES_MAX];
        let made = (|| {
            let content_length = Some(multipart.content_length(ranges)?);
            let mut parts = Vec::with_capacity(ranges.len());
            for &range in ranges {
                let bytes = multipart.emit_part_head(range, &mut room)?;
                parts.push((room[..bytes].to_vec(), within(range)));
            }
            let bytes = multipart.emit_end(&mut room)?;
            let end = room[..bytes].to_vec();
            let bytes = multipart.emit_content_type(&mut room)?;
            Ok::<_, http::response::EmitError>((content_length, parts, end, room[..bytes].to_vec()))
        })();
        let Ok((content_length, parts, end, content_type)) = made else {
            return self.error(context, Head::new(Status::InternalServerError), LATER);
        };
        let head = Head {
            status: Status::PartialContent,
            content_length,
            content_type: core::str::from_utf8(&content_type).ok(),
            ..described
        };
        self.reply(context, head, Body::Parts(object, parts, end))
    }

    /// 404, with the operator's page if there is one.
    fn missing<'s>(&mut self, context: &Context<'s>, shelf: &mut Shelf) -> Answer<'s> {
        let head = Head { cache_control: Some("no-store"), ..Head::new(Status::NotFound) };
        let Some(page) = context.site.not_found() else {
            return Answer::Reply(self.error(context, head, NO_SUCH_NAME));
        };
        let variant = &page.variants[0];
        let len = variant.len();
        let head = Head { content_type: Some(page.content_type), content_length: Some(len), ..head };
        if !context.has_content {
            return Answer::Reply(self.reply(context, head, Body::Nothing));
        }
        let Some(object) = shelf.get(variant.key) else { return Answer::Load(variant) };
        let range = 0..usize::try_from(len).unwrap_or(usize::MAX);
        Answer::Reply(self.reply(context, head, Body::Object(object, range)))
    }

    /// A page that says what is wrong.
    fn error(&mut self, context: &Context<'_>, head: Head<'_>, sentence: &str) -> Reply {
        let mut page = [0; PAGE_BYTES_MAX];
        // All our sentences fit; if one did not, the status would have to do.
        let bytes = error_page(head.status, sentence, &mut page).unwrap_or(0);
        let head = Head {
            content_type: Some("text/html; charset=utf-8"),
            content_length: Some(bytes as u64),
            cache_control: head.cache_control.or(Some("no-store")),
            ..head
        };
        let body = if context.has_content { Body::Bytes(page[..bytes].to_vec()) } else { Body::Nothing };
        self.reply(context, head, body)
    }

    /// Completes a head and writes it.
    fn reply(&mut self, context: &Context<'_>, head: Head<'_>, body: Body) -> Reply {
        let Settings { server, any_origin, .. } = context.site.settings();
        let cors = any_origin.then_some(Cors {
            allow_origin: AllowOrigin::Any,
            preflight_max_age_s: context.is_preflight.then_some(CORS_MAX_AGE_S),
        });
        let head = Head { connection: context.connection, cors, ..head };
        let date = self.dates.date(context.now);
        let Ok(bytes) = head.emit(server, date, &mut self.desk) else {
            // What an operator sets was checked and what a client sends is encoded: our own mistake. Nothing is said.
            debug_assert!(false, "a head that cannot be written");
            return Reply {
                status: Status::InternalServerError,
                head: Vec::new(),
                head_sum: Sum::ZERO,
                body: Body::Nothing,
                close: true,
            };
        };
        let bytes = self.desk[..bytes].to_vec();
        let close = context.connection == Connection::Close;
        Reply { status: head.status, head_sum: Sum::of(&bytes), head: bytes, body, close }
    }
}

impl<'a> Context<'a> {
    const fn closing(site: &'a Site, now: u64) -> Self {
        Self { site, now, connection: Connection::Close, has_content: true, is_preflight: false }
    }
}

/// A range of an object in memory.
fn within(range: ByteRange) -> Range<usize> {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    place(range.first)..place(range.last + 1)
}

#[cfg(test)]
mod tests;
