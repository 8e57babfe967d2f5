use super::{FIELD_COUNT_MAX, Glance, Limits, Method, Parse, Progress, Refusal, Request, Version};
use proptest::prelude::*;
use std::format;
use std::string::String;
use std::vec::Vec;

const LIMITS: Limits = Limits { head_bytes_max: 16 * 1024, target_bytes_max: 8 * 1024 };

fn complete(text: &(impl AsRef<[u8]> + ?Sized)) -> (Request<'_>, usize) {
    match Request::parse(text.as_ref(), &LIMITS) {
        Parse::Complete { request, bytes_used } => (request, bytes_used),
        other => panic!("{other:?}"),
    }
}

fn refused(text: impl AsRef<[u8]>) -> Refusal {
    match Request::parse(text.as_ref(), &LIMITS) {
        Parse::Refused(refusal) => refusal,
        other => panic!("{}: {other:?}", text.as_ref().escape_ascii()),
    }
}

/// A head whose field lines, after Host, are `lines`.
fn with(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

mod a_good_head {
    use super::*;

    #[test]
    fn is_a_request_and_ends_where_the_next_begins() {
        let text = b"GET /a?b HTTP/1.1\r\nHost: example.org\r\nRange: bytes=0-1\r\n\r\nGET /next";
        let (request, used) = complete(text);
        assert_eq!(request.method, Method::Get);
        assert_eq!(request.target, b"/a?b");
        assert_eq!(request.version, Version::Http11);
        assert_eq!(request.fields.single(b"range"), Some(b"bytes=0-1".as_slice()));
        assert_eq!(&text[used..], b"GET /next");
    }

    #[test]
    fn is_partial_until_its_last_byte() {
        let text = with("Range: bytes=0-1\r\n");
        for end in 0..text.len() {
            let parse = Request::parse(&text.as_bytes()[..end], &LIMITS);
            assert!(matches!(parse, Parse::Partial), "{end}: {parse:?}");
        }
        complete(&text);
    }

    /// RFC 9112 §2.2: "a server that is expecting to receive and parse a request-line SHOULD ignore at least one empty
    /// line (CRLF) received prior to the request-line."
    #[test]
    fn may_follow_an_empty_line() {
        let text = format!("\r\n{}", with(""));
        assert_eq!(complete(&text).1, text.len());
    }

    #[test]
    fn may_not_follow_empty_lines_without_end() {
        assert_eq!(refused("\r\n".repeat(5)), Refusal::RequestLine);
    }

    /// RFC 9112 §2.2: "a recipient MAY recognize a single LF as a line terminator".
    #[test]
    fn may_end_its_lines_without_cr() {
        let (request, _) = complete("GET / HTTP/1.1\nHost: a\nRange: x\n\n");
        assert_eq!(request.fields.single(b"range"), Some(b"x".as_slice()));
    }

    #[test]
    fn has_every_method_that_is_taken() {
        for method in [Method::Get, Method::Head, Method::Options] {
            let text = format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", method.token());
            assert_eq!(complete(&text).0.method, method);
            assert!(Method::ALLOW.contains(method.token()));
        }
    }

    #[test]
    fn reads_names_without_case_and_values_without_white_space() {
        let text = with("rAnGe: \t bytes=1- \t\r\n");
        assert_eq!(complete(&text).0.fields.single(b"range"), Some(b"bytes=1-".as_slice()));
    }

    #[test]
    fn has_no_single_value_of_a_repeated_field() {
        let text = with("Range: bytes=0-1\r\nRange: bytes=2-3\r\n");
        assert_eq!(complete(&text).0.fields.single(b"range"), None);
        assert!(complete(&text).0.fields.contains(b"range"));
    }
}

/// RFC 9112 §9.3.
#[test]
fn a_connection_persists_by_version_and_option() {
    let table = [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: TE, CLOSE\r\n", false),
        ("1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ];
    for (version, lines, persistent) in table {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        assert_eq!(complete(&text).0.persistent, persistent, "{version} {lines:?}");
    }
}

/// RFC 9112 §3.2.
#[test]
fn exactly_one_possible_host_is_wanted() {
    complete("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(refused("GET / HTTP/1.1\r\n\r\n"), Refusal::HostMissing);
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"), Refusal::HostRepeated);
    for host in
        ["", "a", "example.org:8080", "[::1]:443", "[fe80::1]", "a:", "xn--bcher-kva.example", "1.2.3.4"]
    {
        complete(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    }
    for host in ["a b", "a/b", "u@a", "a:b", "[::1", "[g]", "::1", "a,b", "a?b", "[::1]x", "\"a\""] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        if host == "a,b" {
            // A comma is a sub-delim, so the grammar has it.
            complete(&text);
        } else {
            assert_eq!(refused(&text), Refusal::HostInvalid, "{host}");
        }
    }
}

/// RFC 9112 §2.2, §5, §5.1, §5.2.
#[test]
fn a_head_outside_the_grammar_is_a_bad_request() {
    let table: [(&[u8], Refusal); 16] = [
        (b"\x16\x03\x01\x02\x00\x01\x00", Refusal::RequestLine),
        (b"GET\r\n\r\n", Refusal::RequestLine),
        (b"GET /\r\n\r\n", Refusal::RequestLine),
        (b" GET / HTTP/1.1\r\n\r\n", Refusal::RequestLine),
        (b"GET / HTTP/1.1 \r\n\r\n", Refusal::RequestLine),
        (b"GET  / HTTP/1.1\r\n\r\n", Refusal::RequestLine),
        (b"GET / FTP/1.1\r\n\r\n", Refusal::RequestLine),
        (b"GET /\0 HTTP/1.1\r\n\r\n", Refusal::RequestLine),
        (b"GET / HTTP/1.1\rHost: a\r\n\r\n", Refusal::RequestLine),
        (b"GET / HTTP/1.1\r\nHost: a\r\n fold\r\n\r\n", Refusal::FieldLine),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refusal::FieldLine),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", Refusal::FieldLine),
        (b"GET / HTTP/1.1\r\nHost\r\n\r\n", Refusal::FieldLine),
        (b"GET / HTTP/1.1\r\n: a\r\n\r\n", Refusal::FieldLine),
        (b"GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", Refusal::FieldLine),
        (b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", Refusal::FieldLine),
    ];
    for (text, expected) in table {
        assert_eq!(refused(text), expected, "{}", text.escape_ascii());
        assert_eq!(refused(text).status().code(), 400);
    }
}

/// RFC 9110 §9.1, §15.5.6, §15.6.2.
#[test]
fn other_methods_are_refused_as_known_or_unknown() {
    for method in ["POST", "PUT", "DELETE", "CONNECT", "TRACE", "PATCH"] {
        let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(refused(text).status().code(), 405);
    }
    for method in ["get", "BREW", "PROPFIND", "X"] {
        assert_eq!(refused(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).status().code(), 501);
    }
}

#[test]
fn other_versions_are_505() {
    for version in ["0.9", "1.2", "2.0", "3.0"] {
        assert_eq!(
            refused(format!("GET / HTTP/{version}\r\nHost: a\r\n\r\n")),
            Refusal::Version,
            "{version}"
        );
    }
    assert_eq!(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Refusal::Version);
    assert_eq!(Refusal::Version.status().code(), 505);
}

/// RFC 9112 §6; RFC 9110 §8.6, §10.1.1.
#[test]
fn content_is_refused_and_its_length_never_guessed() {
    let table = [
        ("Content-Length: 1\r\n", Refusal::Content),
        ("Content-Length: 99999999999999999999999\r\n", Refusal::Content),
        ("Content-Length: 1\r\nExpect: 100-continue\r\n", Refusal::Content),
        ("Content-Length: -1\r\n", Refusal::ContentLength),
        ("Content-Length: +1\r\n", Refusal::ContentLength),
        ("Content-Length: 0x1\r\n", Refusal::ContentLength),
        ("Content-Length:\r\n", Refusal::ContentLength),
        ("Content-Length: 0, 1\r\n", Refusal::ContentLength),
        ("Content-Length: 0\r\nContent-Length: 1\r\n", Refusal::ContentLength),
        ("Transfer-Encoding: chunked\r\n", Refusal::Content),
        ("Transfer-Encoding: gzip, chunked\r\n", Refusal::Content),
        ("Transfer-Encoding: chunked, gzip\r\n", Refusal::TransferEncoding),
        ("Transfer-Encoding: gzip\r\n", Refusal::TransferEncoding),
        ("Transfer-Encoding:\r\n", Refusal::TransferEncoding),
        ("Transfer-Encoding: rot13\r\n", Refusal::TransferEncodingUnknown),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", Refusal::LengthAndCoding),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Refusal::LengthAndCoding),
        ("Expect: a-miracle\r\n", Refusal::Expectation),
    ];
    for (lines, expected) in table {
        assert_eq!(refused(with(lines)), expected, "{lines:?}");
    }
    assert_eq!(
        refused("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Refusal::TransferEncoding,
        "HTTP/1.0 knows no transfer coding"
    );
    for lines in ["Content-Length: 0\r\n", "Content-Length: 0, 0\r\n", "Expect: 100-Continue\r\n"] {
        complete(&with(lines));
    }
}

mod a_large_head {
    use super::*;

    #[test]
    fn is_taken_up_to_the_limit_and_refused_one_byte_later() {
        let frame = with("X: \r\n").len();
        let fits = with(&format!("X: {}\r\n", "x".repeat(LIMITS.head_bytes_max - frame)));
        assert_eq!(fits.len(), LIMITS.head_bytes_max);
        assert_eq!(complete(&fits).1, LIMITS.head_bytes_max);
        let large = with(&format!("X: {}\r\n", "x".repeat(LIMITS.head_bytes_max - frame + 1)));
        assert_eq!(refused(large).status().code(), 431);
    }

    #[test]
    fn is_refused_before_it_ends() {
        let text = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(LIMITS.head_bytes_max));
        assert_eq!(refused(text), Refusal::HeadTooLarge);
    }

    #[test]
    fn may_have_64_lines() {
        let lines =
            |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
        assert_eq!(complete(&lines(FIELD_COUNT_MAX)).0.fields.iter().count(), FIELD_COUNT_MAX);
        assert_eq!(refused(lines(FIELD_COUNT_MAX + 1)), Refusal::FieldCount);
        assert_eq!(Refusal::FieldCount.status().code(), 431);
    }

    #[test]
    fn with_a_large_target_is_414_whether_complete_or_not() {
        let target = "/".repeat(LIMITS.target_bytes_max);
        complete(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert_eq!(refused(format!("GET {target}x HTTP/1.1\r\nHost: a\r\n\r\n")), Refusal::TargetTooLong);
        assert_eq!(refused(format!("GET {target}x")), Refusal::TargetTooLong);
    }
}

mod arriving_slowly {
    use super::*;

    /// Feeds `text` in two parts cut at `cut`, then byte by byte from there.
    fn requests_of(text: &[u8], cut: usize) -> Vec<(Method, Vec<u8>)> {
        let (mut requests, mut from, mut progress) = (Vec::new(), 0, Progress::default());
        for end in cut..=text.len() {
            loop {
                match progress.parse(&text[from..end], &LIMITS) {
                    Parse::Complete { request, bytes_used } => {
                        requests.push((request.method, request.target.to_vec()));
                        from += bytes_used;
                        progress = Progress::default();
                    }
                    Parse::Partial => break,
                    Parse::Refused(refusal) => panic!("{refusal}"),
                }
            }
        }
        requests
    }

    #[test]
    fn pipelined_requests_are_the_same_cut_anywhere() {
        let text = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nHEAD /2 HTTP/1.1\nHost: a\n\n\r\nOPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
        let expected =
            [(Method::Get, b"/1".to_vec()), (Method::Head, b"/2".to_vec()), (Method::Options, b"*".to_vec())];
        for cut in 0..=text.len() {
            assert_eq!(requests_of(text, cut), expected, "{cut}");
        }
    }

    #[test]
    fn full_parses_are_as_few_as_doublings() {
        let text = with(&format!("X: {}\r\n", "x".repeat(10_000)));
        let (mut progress, mut parses) = (Progress::default(), 0);
        for end in 1..text.len() {
            let before = progress.parsed;
            assert!(matches!(progress.parse(&text.as_bytes()[..end], &LIMITS), Parse::Partial));
            parses += usize::from(progress.parsed != before);
        }
        assert!(parses <= 14, "{parses}");
    }

    #[test]
    fn a_limit_is_met_without_the_end() {
        let text = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(LIMITS.head_bytes_max));
        let mut progress = Progress::default();
        let refused = (0..text.len())
            .find(|&end| matches!(progress.parse(&text.as_bytes()[..end], &LIMITS), Parse::Refused(_)));
        assert_eq!(refused, Some(LIMITS.head_bytes_max));
    }

    #[test]
    fn garbage_is_refused_without_an_end() {
        assert!(matches!(Progress::default().parse(b"\x16\x03\x01", &LIMITS), Parse::Refused(_)));
    }
}

/// Bytes that often look like HTTP.
#[expect(clippy::disallowed_types, reason = "prop_oneof! shares its parts in an Arc")]
fn almost_http() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"GET /x HTTP/1.1\r\n".to_vec()),
        Just(b"Host: a\r\n".to_vec()),
        Just(b"Content-Length: 0\r\n".to_vec()),
        Just(b"Transfer-Encoding: ".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"X:y\n".to_vec()),
        "[A-Za-z]{1,8}: ?[ -~]{0,12}\r\n".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn parse_never_panics_nor_reads_past_the_end(bytes in almost_http()) {
        let small = Limits { head_bytes_max: 64, target_bytes_max: 8 };
        for limits in [LIMITS, small] {
            if let Parse::Complete { request, bytes_used } = Request::parse(&bytes, &limits) {
                prop_assert!(bytes_used <= bytes.len());
                prop_assert!(request.target.len() <= limits.target_bytes_max);
                for (name, value) in request.fields.iter() {
                    prop_assert!(!name.is_empty());
                    prop_assert!(!value.contains(&b'\n') && !value.contains(&0));
                }
            }
        }
    }

    #[test]
    fn our_fields_are_httparses_fields(bytes in almost_http()) {
        let mut headers = [httparse::EMPTY_HEADER; FIELD_COUNT_MAX];
        let mut reference = httparse::Request::new(&mut headers);
        let parsed = reference.parse(&bytes);
        if let Parse::Complete { request, .. } = Request::parse(&bytes, &LIMITS) {
            prop_assert!(matches!(parsed, Ok(httparse::Status::Complete(_))));
            let ours: Vec<_> = request.fields.iter().collect();
            let theirs: Vec<_> = reference.headers.iter().map(|line| (line.name.as_bytes(), line.value)).collect();
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn a_complete_request_stays_so_whatever_follows(bytes in almost_http(), more in prop::collection::vec(any::<u8>(), 0..9)) {
        if let Parse::Complete { bytes_used, .. } = Request::parse(&bytes, &LIMITS) {
            let longer = [bytes, more].concat();
            let same = matches!(Request::parse(&longer, &LIMITS), Parse::Complete { bytes_used: again, .. } if again == bytes_used);
            prop_assert!(same);
        }
    }

    #[test]
    fn a_glance_sees_what_a_parse_sees(bytes in almost_http()) {
        let glance = Glance::new(&bytes);
        if let Parse::Complete { request, bytes_used } = Request::parse(&bytes, &LIMITS) {
            let glance = Glance::new(&bytes[..bytes_used]);
            prop_assert_eq!(glance.method, request.method.token().as_bytes());
            prop_assert_eq!(glance.target, request.target);
            prop_assert_eq!(glance.version, request.version.token().as_bytes());
            prop_assert!(glance.fields.iter().eq(request.fields.iter()));
        } else {
            prop_assert!(glance.method.len() + glance.target.len() + glance.version.len() <= bytes.len());
            let _ = glance.fields.iter().count();
        }
    }
}
