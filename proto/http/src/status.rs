//! The status codes this server says, and no others (RFC 9110 §15).

/// A status code with its registered reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum Status {
    /// The whole representation follows.
    Ok = 200,
    /// Done, and there is nothing to send.
    NoContent = 204,
    /// The range that was asked for follows.
    PartialContent = 206,
    /// The resource has another name, for good.
    MovedPermanently = 301,
    /// The resource has another name, for now.
    Found = 302,
    /// The client's copy is still right.
    NotModified = 304,
    /// The request cannot be understood.
    BadRequest = 400,
    /// The request is understood and refused.
    Forbidden = 403,
    /// Nothing has this name.
    NotFound = 404,
    /// The resource does not take this method.
    MethodNotAllowed = 405,
    /// The request took too long to arrive.
    RequestTimeout = 408,
    /// A condition in the request does not hold.
    PreconditionFailed = 412,
    /// The request brings more content than is taken.
    ContentTooLarge = 413,
    /// The target is longer than is read.
    UriTooLong = 414,
    /// None of the ranges lies inside the representation.
    RangeNotSatisfiable = 416,
    /// The expectation is not one that can be met.
    ExpectationFailed = 417,
    /// Too many requests were made.
    TooManyRequests = 429,
    /// The header section is larger than is read.
    RequestHeaderFieldsTooLarge = 431,
    /// Something broke on this side.
    InternalServerError = 500,
    /// The method, or the transfer coding, is not known here.
    NotImplemented = 501,
    /// Not now; later perhaps.
    ServiceUnavailable = 503,
    /// That version of HTTP is not spoken.
    HttpVersionNotSupported = 505,
}

impl Status {
    /// Every status there is, in ascending order.
    pub const ALL: [Self; 22] = [
        Self::Ok,
        Self::NoContent,
        Self::PartialContent,
        Self::MovedPermanently,
        Self::Found,
        Self::NotModified,
        Self::BadRequest,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::PreconditionFailed,
        Self::ContentTooLarge,
        Self::UriTooLong,
        Self::RangeNotSatisfiable,
        Self::ExpectationFailed,
        Self::TooManyRequests,
        Self::RequestHeaderFieldsTooLarge,
        Self::InternalServerError,
        Self::NotImplemented,
        Self::ServiceUnavailable,
        Self::HttpVersionNotSupported,
    ];

    /// The three digits.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The first digit: 2 is success, 3 redirection, 4 the client's fault, 5 ours.
    #[must_use]
    pub const fn class(self) -> u16 {
        self.code() / 100
    }

    /// Code and reason phrase, as the status line has them.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::NoContent => "204 No Content",
            Self::PartialContent => "206 Partial Content",
            Self::MovedPermanently => "301 Moved Permanently",
            Self::Found => "302 Found",
            Self::NotModified => "304 Not Modified",
            Self::BadRequest => "400 Bad Request",
            Self::Forbidden => "403 Forbidden",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::PreconditionFailed => "412 Precondition Failed",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::UriTooLong => "414 URI Too Long",
            Self::RangeNotSatisfiable => "416 Range Not Satisfiable",
            Self::ExpectationFailed => "417 Expectation Failed",
            Self::TooManyRequests => "429 Too Many Requests",
            Self::RequestHeaderFieldsTooLarge => "431 Request Header Fields Too Large",
            Self::InternalServerError => "500 Internal Server Error",
            Self::NotImplemented => "501 Not Implemented",
            Self::ServiceUnavailable => "503 Service Unavailable",
            Self::HttpVersionNotSupported => "505 HTTP Version Not Supported",
        }
    }

    /// The three digits as text.
    #[must_use]
    pub const fn digits(self) -> &'static str {
        self.text().split_at(3).0
    }

    /// The registered reason phrase.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        self.text().split_at(4).1
    }

    /// Where this status stands in [`Status::ALL`], for tables of counters.
    #[must_use]
    pub fn index(self) -> usize {
        // Each status is in ALL, which is sorted; both are tested.
        Self::ALL.binary_search(&self).unwrap_or_default()
    }

    /// Whether a response with this status never has content (RFC 9110 §6.4.1).
    #[must_use]
    pub const fn is_bodiless(self) -> bool {
        matches!(self, Self::NoContent | Self::NotModified)
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn all_statuses_are_listed_once_in_order() {
        assert!(Status::ALL.is_sorted_by(|one, next| one < next));
    }

    #[test]
    fn a_status_is_where_its_index_says_and_says_its_code() {
        for (index, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(status.index(), index);
            assert_eq!(status.digits().parse(), Ok(status.code()));
        }
    }

    #[test]
    fn only_204_and_304_have_no_content() {
        let bodiless: std::vec::Vec<u16> =
            Status::ALL.into_iter().filter(|status| status.is_bodiless()).map(Status::code).collect();
        assert_eq!(bodiless, [204, 304]);
    }
}
