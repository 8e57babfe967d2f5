use super::*;
use crate::date::HttpDate;
use proptest::prelude::*;
use std::string::{String, ToString};
use std::vec::Vec;

fn text_of(head: &Head<'_>) -> String {
    let mut out = [0; HEAD_BYTES];
    let bytes = head.emit("atlas", &HttpDate::new(784_111_777), &mut out).unwrap();
    core::str::from_utf8(&out[..bytes]).unwrap().to_string()
}

/// RFC 9110 §6, §15.3.7.
#[test]
fn a_part_of_a_file_is_described_in_full() {
    let etag = ETag::of_file(1_000, 2, 3);
    let head = Head {
        connection: Connection::KeepAlive,
        content_length: Some(10),
        content_type: Some("video/mp4"),
        content_range: Some(ContentRange::Part { range: ByteRange { first: 0, last: 9 }, len: 1_000 }),
        accept_ranges: true,
        etag: Some(&etag),
        last_modified: Some(0),
        cache_control: Some("max-age=60"),
        cors: Some(Cors { allow_origin: AllowOrigin::Any, preflight_max_age_s: None }),
        extra: &[("X-Cache", "MISS")],
        ..Head::new(Status::PartialContent)
    };
    let expected = "HTTP/1.1 206 Partial Content\r\n\
        Server: atlas\r\n\
        Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
        Connection: keep-alive\r\n\
        Content-Type: video/mp4\r\n\
        Content-Length: 10\r\n\
        Content-Range: bytes 0-9/1000\r\n\
        Accept-Ranges: bytes\r\n\
        ETag: \"3e8-2-3\"\r\n\
        Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
        Cache-Control: max-age=60\r\n\
        Access-Control-Allow-Origin: *\r\n\
        Access-Control-Expose-Headers: Accept-Ranges, Content-Length, Content-Range, Date, ETag, Server\r\n\
        Timing-Allow-Origin: *\r\n\
        X-Cache: MISS\r\n\r\n";
    assert_eq!(text_of(&head), expected);
}

/// RFC 9110 §15.5.17.
#[test]
fn an_unsatisfied_range_says_the_length() {
    let head = Head {
        content_range: Some(ContentRange::Unsatisfied { len: 7 }),
        ..Head::new(Status::RangeNotSatisfiable)
    };
    assert!(text_of(&head).contains("\r\nContent-Range: bytes */7\r\n"));
}

/// RFC 9110 §15.5.6: "The origin server MUST generate an Allow header field in a 405 response".
#[test]
fn a_405_always_says_what_is_allowed() {
    assert!(text_of(&Head::new(Status::MethodNotAllowed)).contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"));
}

/// RFC 9110 §8.6.
#[test]
fn a_bodiless_status_has_no_length() {
    for status in Status::ALL {
        let text = text_of(&Head { content_length: Some(0), ..Head::new(status) });
        assert_eq!(text.contains("Content-Length"), !status.is_bodiless(), "{text}");
    }
}

#[test]
fn a_preflight_allows_ranges_and_cmcd() {
    let cors =
        Cors { allow_origin: AllowOrigin::One("https://player.example"), preflight_max_age_s: Some(86_400) };
    let text = text_of(&Head { cors: Some(cors), ..Head::new(Status::NoContent) });
    for part in [
        "\r\nAccess-Control-Allow-Origin: https://player.example\r\n",
        "\r\nVary: Origin\r\n",
        "\r\nAccess-Control-Allow-Methods: GET, HEAD, OPTIONS\r\n",
        "\r\nAccess-Control-Max-Age: 86400\r\n",
        "Range, If-Range",
        "CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status\r\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn an_origin_that_is_not_on_the_list_gets_no_leave_but_a_vary() {
    let cors = Cors { allow_origin: AllowOrigin::Refused, preflight_max_age_s: None };
    let text = text_of(&Head { cors: Some(cors), ..Head::new(Status::Ok) });
    assert!(text.contains("\r\nVary: Origin\r\n") && !text.contains("Access-Control"), "{text}");
}

#[test]
fn a_location_is_encoded_and_never_names_a_host() {
    let location = Location { path: b"a b/\xff", query: Some(b"x=1") };
    let text = text_of(&Head { location: Some(location), ..Head::new(Status::MovedPermanently) });
    assert!(text.contains("\r\nLocation: /a%20b/%FF?x=1\r\n"), "{text}");
}

#[test]
fn no_value_ends_its_line() {
    let mut out = [0; HEAD_BYTES];
    let date = HttpDate::new(0);
    let heads = [
        Head { cache_control: Some("a\r\nSet-Cookie: b"), ..Head::new(Status::Ok) },
        Head { content_type: Some("a\0"), ..Head::new(Status::Ok) },
        Head { location: Some(Location { path: b"", query: Some(b"a\rb") }), ..Head::new(Status::Ok) },
        Head { extra: &[("X", "a\nb")], ..Head::new(Status::Ok) },
    ];
    for head in heads {
        assert_eq!(head.emit("atlas", &date, &mut out), Err(EmitError::Control));
    }
    assert_eq!(Head::new(Status::Ok).emit("a\r\nb", &date, &mut out), Err(EmitError::Control));
}

#[test]
fn a_small_buffer_is_an_error_at_every_length() {
    let cors = Cors { allow_origin: AllowOrigin::Any, preflight_max_age_s: Some(1) };
    let head = Head { cors: Some(cors), content_length: Some(1), ..Head::new(Status::Ok) };
    let bytes = text_of(&head).len();
    let mut out = [0; HEAD_BYTES];
    for len in 0..bytes {
        assert_eq!(head.emit("atlas", &HttpDate::new(784_111_777), &mut out[..len]), Err(EmitError::Full));
    }
    assert_eq!(head.emit("atlas", &HttpDate::new(784_111_777), &mut out[..bytes]), Ok(bytes));
}

#[test]
fn a_head_of_everything_fits_the_advised_buffer() {
    let etag = ETag::of_file(u64::MAX, u64::MAX, u64::MAX);
    let long = "x".repeat(1_024);
    let head = Head {
        status: Status::RequestHeaderFieldsTooLarge,
        connection: Connection::KeepAlive,
        content_length: Some(u64::MAX),
        content_type: Some("multipart/byteranges; boundary=0123456789abcdef"),
        content_range: Some(ContentRange::Part {
            range: ByteRange { first: u64::MAX, last: u64::MAX },
            len: u64::MAX,
        }),
        accept_ranges: true,
        etag: Some(&etag),
        last_modified: Some(u64::MAX),
        cache_control: Some(&long),
        location: Some(Location { path: b"", query: None }),
        allow: true,
        retry_after_s: Some(u32::MAX),
        cors: Some(Cors {
            allow_origin: AllowOrigin::One("https://a-rather-long-name-of-a-host.example.org"),
            preflight_max_age_s: Some(1),
        }),
        extra: &[],
    };
    text_of(&head);
}

#[test]
fn every_error_has_a_page_of_its_own_that_fits() {
    for status in Status::ALL {
        let mut out = [0; PAGE_BYTES_MAX];
        let bytes = error_page(status, &"x".repeat(200), &mut out).unwrap();
        let page = core::str::from_utf8(&out[..bytes]).unwrap();
        assert!(page.contains(&status.code().to_string()) && page.contains(status.reason()));
    }
}

/// RFC 9110 §14.6, read back by the rules of RFC 2046 §5.1.1.
#[test]
fn multipart_has_its_announced_length_and_delimiters() {
    let content: Vec<u8> = (0..=255).collect();
    let ranges = [ByteRange { first: 0, last: 9 }, ByteRange { first: 250, last: 255 }];
    let multipart = Multipart { boundary: 0xfeed, content_type: "video/mp4", len: 256 };
    let (mut body, mut scratch) = (Vec::new(), [0; 256]);
    for range in ranges {
        let bytes = multipart.emit_part_head(range, &mut scratch).unwrap();
        body.extend_from_slice(&scratch[..bytes]);
        let part = usize::try_from(range.first).unwrap()..=usize::try_from(range.last).unwrap();
        body.extend_from_slice(&content[part]);
    }
    let bytes = multipart.emit_end(&mut scratch).unwrap();
    body.extend_from_slice(&scratch[..bytes]);
    assert_eq!(multipart.content_length(&ranges), Ok(body.len() as u64));

    let text = String::from_utf8_lossy(&body);
    let parts: Vec<&str> = text.split("\r\n--000000000000feed").collect();
    assert_eq!(parts.len(), 4);
    assert_eq!(parts[0], "");
    assert!(
        parts[1].starts_with("\r\nContent-Type: video/mp4\r\nContent-Range: bytes 0-9/256\r\n\r\n\0\u{1}")
    );
    assert!(parts[2].starts_with("\r\nContent-Type: video/mp4\r\nContent-Range: bytes 250-255/256\r\n\r\n"));
    assert_eq!(parts[3], "--\r\n");
}

#[test]
fn operators_texts_are_judged_before_they_are_used() {
    assert!(is_field_value("public, max-age=60") && is_field_value(""));
    assert!(!is_field_value("a\r\n") && !is_field_value("é"));
    assert!(
        is_field_name("X-Frame-Options")
            && !is_field_name("")
            && !is_field_name("a b")
            && !is_field_name("a:")
    );
}

proptest! {
    #[test]
    fn httparse_reads_what_we_write(length: u64, modified: u64, path: Vec<u8>) {
        let etag = ETag::of_file(length, modified, 1);
        let head = Head {
            content_length: Some(length),
            etag: Some(&etag),
            last_modified: Some(modified),
            location: Some(Location { path: &path[..path.len().min(100)], query: None }),
            ..Head::new(Status::Ok)
        };
        let text = text_of(&head);
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut response = httparse::Response::new(&mut headers);
        prop_assert_eq!(response.parse(text.as_bytes()), Ok(httparse::Status::Complete(text.len())));
        let length = length.to_string();
        let announced = response.headers.iter().find(|line| line.name == "Content-Length").map(|line| line.value);
        prop_assert_eq!(announced, Some(length.as_bytes()));
    }
}
