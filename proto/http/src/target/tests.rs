use super::{Resource, Target, TargetError, encode, query_value};
use proptest::prelude::*;
use std::borrow::Cow;
use std::vec::Vec;

fn resource(target: &[u8]) -> Resource<'_> {
    match Target::parse(target) {
        Ok(Target::Resource(resource)) => resource,
        other => panic!("{}: {other:?}", target.escape_ascii()),
    }
}

/// RFC 9112 §3.2.1, §3.2.2, §3.2.4.
#[test]
fn each_form_names_its_resource() {
    type Row = (&'static [u8], &'static [u8], Option<&'static [u8]>);
    let table: [Row; 14] = [
        (b"/", b"", None),
        (b"/a/b.mp4", b"a/b.mp4", None),
        (b"/a/", b"a/", None),
        (b"/a?x=1&y=2", b"a", Some(b"x=1&y=2")),
        (b"/a?", b"a", Some(b"")),
        (b"/?a?b", b"", Some(b"a?b")),
        (b"/a%20b%C3%A9", b"a b\xc3\xa9", None),
        (b"/%ff", b"\xff", None),
        (b"/a%3Fb", b"a?b", None),
        (b"http://example.org", b"", None),
        (b"HTTP://example.org:80/a/b?c", b"a/b", Some(b"c")),
        (b"https://[::1]:443/a", b"a", None),
        (b"http://example.org?x", b"", Some(b"x")),
        (b"/http://a", b"http:/a", None),
    ];
    for (target, path, query) in table {
        let expected = Resource { path: Cow::Borrowed(path), query };
        assert_eq!(resource(target), expected, "{}", target.escape_ascii());
    }
    assert_eq!(Target::parse(b"*"), Ok(Target::Asterisk));
}

#[test]
fn a_plain_path_is_not_copied() {
    assert!(matches!(resource(b"/a/b/c").path, Cow::Borrowed(_)));
}

/// RFC 3986 §3.3 allows empty segments; file systems do not.
#[test]
fn empty_segments_are_left_out() {
    for target in [b"//a//b".as_slice(), b"/a//b", b"///a/b", b"/a///b"] {
        assert_eq!(resource(target).path, b"a/b".as_slice());
    }
    assert_eq!(resource(b"/a//").path, b"a/".as_slice());
    assert_eq!(resource(b"//").path, b"".as_slice());
}

#[test]
fn a_target_that_could_be_misread_is_refused() {
    use TargetError::{Climbs, DotSegment, Escape, Forbidden, Form};
    let table: [(&[u8], TargetError); 30] = [
        (b"", Form),
        (b"a", Form),
        (b"**", Form),
        (b"example.org:443", Form),
        (b"ftp://a/b", Form),
        (b"http:/a", Form),
        (b"http://", Form),
        (b"http:///a", Form),
        (b"http://:80/a", Form),
        (b"http://user@a/b", Form),
        (b"/a#b", Form),
        (b"/..", Climbs),
        (b"/../a", Climbs),
        (b"/a/../b", Climbs),
        (b"/a/..", Climbs),
        (b"/%2e%2e/a", Climbs),
        (b"/.%2E/a", Climbs),
        (b"//..", Climbs),
        (b"http://a/../b", Climbs),
        (b"/.", DotSegment),
        (b"/a/./b", DotSegment),
        (b"/%2e/b", DotSegment),
        (b"/a%2fb", Forbidden),
        (b"/..%2f..%2fetc", Forbidden),
        (b"/a%00b", Forbidden),
        (b"/a%0d%0ab", Forbidden),
        (b"/a\\b", Forbidden),
        (b"/..%5c..%5cetc", Forbidden),
        (b"/a%2", Escape),
        (b"/%zz", Escape),
    ];
    for (target, error) in table {
        assert_eq!(Target::parse(target), Err(error), "{}", target.escape_ascii());
    }
    assert_eq!(Climbs.status().code(), 403);
    assert_eq!(Escape.status().code(), 400);
}

#[test]
fn a_path_is_decoded_once() {
    assert_eq!(resource(b"/%252e%252e/a").path, b"%2e%2e/a".as_slice());
}

#[test]
fn a_name_that_begins_with_dots_is_only_a_name() {
    assert_eq!(resource(b"/.../..a/.b").path, b".../..a/.b".as_slice());
}

#[test]
fn a_query_gives_its_first_value() {
    let query = b"sig=x&signature=y&sig=z&empty=";
    assert_eq!(query_value(query, b"sig"), Some(b"x".as_slice()));
    assert_eq!(query_value(query, b"signature"), Some(b"y".as_slice()));
    assert_eq!(query_value(query, b"empty"), Some(b"".as_slice()));
    assert_eq!(query_value(query, b"ig"), None);
}

const PIECES: [&str; 13] =
    [".", "..", "/", "%2e", "%2F", "%5C", "\\", "%00", "%", "a", "%25", "?", "http://a"];

/// Targets made of what tends to go wrong.
#[expect(clippy::disallowed_types, reason = "prop_oneof! shares its parts in an Arc")]
fn tricky() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(PIECES.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..3),
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| [b"/".to_vec(), pieces.concat()].concat())
}

proptest! {
    #[test]
    fn a_path_never_leaves_the_root(target in tricky()) {
        if let Ok(Target::Resource(Resource { path, .. })) = Target::parse(&target) {
            prop_assert!(!path.starts_with(b"/"));
            prop_assert!(!path.iter().any(|&byte| byte < 0x20 || byte == 0x7f || byte == b'\\'));
            let segments: Vec<_> = path.split(|&byte| byte == b'/').collect();
            for (index, segment) in segments.iter().enumerate() {
                prop_assert!(*segment != b"." && *segment != b"..");
                prop_assert!(!segment.is_empty() || index + 1 == segments.len());
            }
        }
    }

    #[test]
    fn parse_inverts_encode(target in tricky()) {
        if let Ok(Target::Resource(Resource { path, .. })) = Target::parse(&target) {
            let again: Vec<u8> = core::iter::once(b'/').chain(encode(&path)).collect();
            prop_assert!(again.is_ascii());
            prop_assert_eq!(resource(&again).path, path);
        }
    }

    #[test]
    fn any_bytes_are_a_target_or_an_error(target in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Target::parse(&target);
    }
}
