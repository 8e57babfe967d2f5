//! A request to the admin port: method and path; everything else is only checked.

use super::Response;

/// A request with its body must fit into this.
pub(super) const HEAD_BYTES_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 48;

/// The methods that mean something here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: Method,
    /// Without the query.
    pub(crate) path: String,
    /// What stands behind the question mark, as it came.
    pub(crate) query: String,
}

impl Request {
    /// What the query says of `name`; the first time, when it does so twice.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(key, value)| (key == name).then(|| decode(value)))
    }

    /// The first parameter that is none of these.
    pub(crate) fn unknown_parameter(&self, known: &[&str]) -> Option<&str> {
        let keys = self.query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(key, _)| key));
        keys.filter(|key| !key.is_empty()).find(|key| !known.contains(key))
    }
}

/// `+` and `%2F`; what is not UTF-8 then is replaced, and means nothing to anybody.
fn decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let escaped = match (byte, behind.split_first_chunk::<2>()) {
            (b'%', Some((digits, behind))) => core::str::from_utf8(digits)
                .ok()
                .and_then(|digits| u8::from_str_radix(digits, 16).ok())
                .map(|byte| (byte, behind)),
            _ => None,
        };
        let (byte, behind) = escaped.unwrap_or((if byte == b'+' { b' ' } else { byte }, behind));
        bytes.push(byte);
        rest = behind;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What has been received so far is …
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// … the beginning of a request.
    Partial,
    /// … a request.
    Request(Request),
    /// … nothing that we answer otherwise.
    Refused(Response),
}

pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let refuse = |status, line| Parsed::Refused(Response::text(status, line));
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let head_bytes = match head.parse(bytes) {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Ok(httparse::Status::Partial) if bytes.len() > HEAD_BYTES_MAX => {
            return refuse(431, "the request is longer than 8 KiB");
        }
        Ok(httparse::Status::Partial) => return Parsed::Partial,
        Err(httparse::Error::TooManyHeaders) => return refuse(431, "the request has more than 48 headers"),
        Err(_) => return refuse(400, "not an HTTP/1.1 request"),
    };
    let method = match head.method {
        Some("GET") => Method::Get,
        Some("HEAD") => Method::Head,
        Some("POST") => Method::Post,
        _ => return refuse(405, "only GET, HEAD and POST mean something here"),
    };
    let mut body_bytes = 0;
    for header in head.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("transfer-encoding") {
            return refuse(400, "a body without a length");
        }
        if is("content-length") {
            let length = core::str::from_utf8(header.value).ok().and_then(|text| text.parse().ok());
            let Some(length) = length else { return refuse(400, "a Content-Length that is not a number") };
            body_bytes = length;
        }
        let from_a_page = is("origin") || (is("sec-fetch-site") && header.value != b"none");
        if from_a_page && method == Method::Post {
            return refuse(403, "commands are not taken from web pages");
        }
    }
    // Closing before the whole body has been taken would reset the connection under the answer.
    match head_bytes.checked_add(body_bytes) {
        Some(bytes_all) if bytes_all <= HEAD_BYTES_MAX => {
            if bytes.len() < bytes_all {
                return Parsed::Partial;
            }
        }
        _ => return refuse(413, "the request is longer than 8 KiB"),
    }
    let target = head.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Parsed::Request(Request { method, path: path.to_owned(), query: query.to_owned() })
}
