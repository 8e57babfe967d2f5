//! Every status, and what comes with it.

use super::*;

mod a_file {
    use super::*;

    #[test]
    fn comes_whole_with_all_that_describes_it() {
        let mut world = World::plain();
        let reply = world.get("/film.mp4");
        let tag = tag_of(b"0123456789");
        assert_eq!((reply.status, reply.content.as_slice()), (200, b"0123456789".as_slice()));
        for (name, value) in [
            ("server", "atlas"),
            ("date", "Tue, 14 Nov 2023 22:13:20 GMT"),
            ("content-type", "video/mp4"),
            ("content-length", "10"),
            ("accept-ranges", "bytes"),
            ("etag", &tag),
            ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("cache-control", "public, max-age=3600"),
            ("access-control-allow-origin", "*"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(reply.field(name), Some(value), "{name}");
        }
        assert_eq!(reply.field("connection"), None, "HTTP/1.1 persists without a word");
        assert!(!world.finished);
    }

    #[test]
    fn may_be_empty_or_have_a_name_with_spaces() {
        let mut world = World::plain();
        let reply = world.get("/empty");
        assert_eq!((reply.status, reply.content.len()), (200, 0));
        assert_eq!(world.get("/a%20b.txt").content, b"text");
        assert_eq!(world.get("http://elsewhere/film.mp4").status, 200, "absolute-form");
        assert_eq!(world.get("//film.mp4?x=y").status, 200);
    }

    /// RFC 9110 §9.3.2: "The HEAD method is identical to GET except that the server MUST NOT send content".
    #[test]
    fn has_the_same_head_for_head_as_for_get() {
        for (target, lines) in [
            ("/film.mp4", ""),
            ("/empty", ""),
            ("/missing", ""),
            ("/", ""),
            ("/healthz", ""),
            ("/film.mp4", "If-None-Match: *\r\n"),
            ("/film.mp4", "If-Match: \"x\"\r\n"),
        ] {
            let mut world = World::plain();
            let Reply { status, fields, .. } = world.get_with(target, lines);
            let head = world.head_of(target, lines);
            assert_eq!((head.status, head.fields), (status, fields), "{target} {lines}");
        }
    }

    #[test]
    fn ignores_a_range_for_head() {
        assert_eq!(World::plain().head_of("/film.mp4", "Range: bytes=0-1\r\n").status, 200);
    }

    #[test]
    fn comes_in_parts() {
        let mut world = World::plain();
        for (range, content_range, content) in [
            ("0-3", "bytes 0-3/10", b"0123".as_slice()),
            ("4-", "bytes 4-9/10", b"456789"),
            ("-1", "bytes 9-9/10", b"9"),
            ("8-100", "bytes 8-9/10", b"89"),
        ] {
            let reply = world.get_with("/film.mp4", &format!("Range: bytes={range}\r\n"));
            assert_eq!(reply.status, 206);
            assert_eq!(reply.field("content-range"), Some(content_range));
            assert_eq!(reply.content, content);
            assert_eq!(reply.field("etag"), Some(tag_of(b"0123456789").as_str()));
        }
    }

    #[test]
    fn comes_in_several_parts_at_once() {
        let reply = World::plain().get_with("/film.mp4", "Range: bytes=0-1,8-\r\n");
        assert_eq!(reply.status, 206);
        assert_eq!(reply.field("content-range"), None, "RFC 9110 §15.3.7.2: MUST NOT");
        let boundary =
            reply.field("content-type").unwrap().strip_prefix("multipart/byteranges; boundary=").unwrap();
        let expected = format!(
            "\r\n--{boundary}\r\nContent-Type: video/mp4\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
             \r\n--{boundary}\r\nContent-Type: video/mp4\r\nContent-Range: bytes 8-9/10\r\n\r\n89\
             \r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(reply.content).unwrap(), expected);
    }

    #[test]
    fn without_the_range_asked_for_is_416_with_its_length() {
        let mut world = World::plain();
        let reply = world.get_with("/film.mp4", "Range: bytes=10-\r\n");
        assert_eq!((reply.status, reply.field("content-range")), (416, Some("bytes */10")));
        let reply = world.get_with("/empty", "Range: bytes=0-\r\n");
        assert_eq!((reply.status, reply.field("content-range")), (416, Some("bytes */0")));
    }

    #[test]
    fn comes_in_part_only_if_it_is_the_same() {
        let mut world = World::plain();
        let mut status = |value: &str| {
            world.get_with("/film.mp4", &format!("Range: bytes=0-1\r\nIf-Range: {value}\r\n")).status
        };
        assert_eq!(status(&tag_of(b"0123456789")), 206);
        assert_eq!(status("Sun, 06 Nov 1994 08:49:37 GMT"), 206);
        assert_eq!(status("\"other\""), 200);
        assert_eq!(status("Sun, 06 Nov 1994 08:49:38 GMT"), 200);
    }

    #[test]
    fn that_the_client_has_is_304_without_content() {
        let mut world = World::plain();
        for line in [
            format!("If-None-Match: {}", tag_of(b"0123456789")),
            "If-None-Match: *".to_owned(),
            "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT".to_owned(),
        ] {
            let reply = world.get_with("/film.mp4", &format!("{line}\r\n"));
            assert_eq!(reply.status, 304);
            // RFC 9110 §15.4.5 lists what has to be there.
            for name in ["date", "etag", "cache-control"] {
                assert!(reply.field(name).is_some(), "{name}");
            }
            assert_eq!(reply.field("content-length"), None);
        }
        assert_eq!(world.get_with("/film.mp4", "If-None-Match: \"x\"\r\n").status, 200);
    }

    #[test]
    fn that_is_another_than_wanted_is_412() {
        let mut world = World::plain();
        assert_eq!(world.get_with("/film.mp4", "If-Match: \"x\"\r\n").status, 412);
        let line = "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n";
        assert_eq!(world.get_with("/film.mp4", line).status, 412);
        assert!(!world.finished, "the connection is not to blame");
    }

    #[test]
    fn is_cached_by_its_suffix() {
        let rule = CacheRule { suffixes: vec!["txt".to_owned()], value: "no-cache".to_owned() };
        let mut world =
            World::new(Settings { cache: vec![rule], cache_default: "x".to_owned(), ..Settings::default() });
        assert_eq!(world.get("/a%20b.txt").field("cache-control"), Some("no-cache"));
        assert_eq!(world.get("/film.mp4").field("cache-control"), Some("x"));
    }

    #[test]
    fn was_never_changed_later_than_now() {
        let mut world = World::plain();
        world.now.unix = Duration::from_secs(MODIFIED - 5);
        let reply = world.get("/film.mp4");
        assert_eq!(reply.field("last-modified"), reply.field("date"));
    }
}

mod no_file {
    use super::*;

    #[test]
    fn is_404_403_500_or_503_by_its_reason() {
        let mut world = World::plain()
            .with_error("forbidden", OpenError::Forbidden)
            .with_error("fifo", OpenError::NotAFile)
            .with_error("loop", OpenError::Io(40))
            .with_error("film.mp4/x", OpenError::Io(20))
            .with_error("broken", OpenError::Io(5))
            .with_error("busy", OpenError::Busy);
        for (target, status) in [
            ("/missing", 404),
            ("/film.mp4/x", 404),
            ("/forbidden", 403),
            ("/fifo", 403),
            ("/loop", 403),
            ("/broken", 500),
            ("/busy", 503),
        ] {
            let reply = world.get(target);
            assert_eq!(reply.status, status, "{target}");
            assert_eq!(reply.field("cache-control"), Some("no-store"));
            assert!(reply.content.starts_with(b"<!doctype html>"));
            assert_eq!(reply.field("retry-after").is_some(), status == 503);
        }
        assert!(!world.finished, "the connection goes on");
        assert_eq!(
            (world.service.counters().tally.open_failed, world.service.counters().tally.open_busy),
            (1, 1)
        );
    }

    #[test]
    fn but_a_directory_is_301_to_its_slash() {
        let mut world =
            World::plain().with_error("a b", OpenError::IsDirectory).with("a b/index.html", b"hello");
        let reply = world.get("/a%20b?x=1");
        assert_eq!((reply.status, reply.field("location")), (301, Some("/a%20b/?x=1")));
        let reply = world.get("/a%20b/");
        assert_eq!((reply.status, reply.content.as_slice()), (200, b"hello".as_slice()));
        assert_eq!(reply.field("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(world.get("/other/").status, 404, "no listing");
    }

    /// `//elsewhere/` in a Location would be another host.
    #[test]
    fn but_a_directory_never_leads_to_another_host() {
        let mut world = World::plain().with_error("elsewhere", OpenError::IsDirectory);
        assert_eq!(world.get("//elsewhere").field("location"), Some("/elsewhere/"));
    }

    #[test]
    fn outside_the_directory_is_ever_opened() {
        let mut world = World::plain();
        for target in ["/../etc/passwd", "/%2e%2e/x", "/a/..%2fx", "/a%00", "/a%5cb", "/./a", "/a%zz", "/a#b"]
        {
            let reply = world.get(target);
            assert!(matches!(reply.status, 400 | 403), "{target}: {}", reply.status);
            assert!(world.waiting_open.is_none());
        }
        assert!(!world.finished);
    }

    #[test]
    fn with_a_dot_before_its_name_is_there() {
        let mut world = World::plain().with(".git/config", b"").with(".well-known/x", b"").with("a/.b", b"");
        for (target, status) in
            [("/.git/config", 404), ("/a/.b", 404), ("/.well-known/x", 200), ("/.well-known/.x", 404)]
        {
            assert_eq!(world.get(target).status, status, "{target}");
        }
        let mut world =
            World::new(Settings { hidden_files: true, ..Settings::default() }).with(".git/config", b"");
        assert_eq!(world.get("/.git/config").status, 200);
    }
}

mod a_bad_request {
    use super::*;

    #[test]
    fn is_told_what_is_wrong_and_the_connection_ends() {
        let long = "x".repeat(20_000);
        for (request, status) in [
            ("\x16\x03\x01".to_owned(), 400),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("POST / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello".to_owned(), 413),
            (format!("GET /{long} HTTP/1.1\r\n"), 414),
            ("GET / HTTP/1.1\r\nHost: a\r\nExpect: x\r\n\r\n".to_owned(), 417),
            (format!("GET / HTTP/1.1\r\nX: {long}"), 431),
            ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 501),
            ("GET / HTTP/2.0\r\n\r\n".to_owned(), 505),
        ] {
            let mut world = World::plain();
            let reply = world.ask(&request);
            assert_eq!(reply.status, status, "{request:.40}");
            assert_eq!(reply.field("connection"), Some("close"));
            assert_eq!(reply.field("allow").is_some(), status == 405);
            assert!(world.finished && world.input.is_empty());
        }
    }

    #[test]
    fn hides_no_second_request() {
        let mut world = World::plain();
        let smuggled = "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /film.mp4 HTTP/1.1\r\n\r\n";
        assert_eq!(world.ask(smuggled).status, 400);
        assert!(world.finished);
    }
}

mod options {
    use super::*;

    #[test]
    fn says_what_can_be_done() {
        for target in ["*", "/film.mp4", "/missing"] {
            let reply = World::plain().ask(format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n"));
            assert_eq!((reply.status, reply.field("allow")), (204, Some("GET, HEAD, OPTIONS")));
            assert_eq!(reply.field("access-control-max-age"), None, "no preflight");
        }
        assert_eq!(World::plain().get("*").status, 400);
    }

    #[test]
    fn answers_the_preflight_of_a_player_elsewhere() {
        let preflight = "OPTIONS /film.mp4 HTTP/1.1\r\nHost: a\r\nOrigin: https://player.example\r\n\
            Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: range,cmcd-session\r\n\r\n";
        let reply = World::plain().ask(preflight);
        assert_eq!(reply.status, 204);
        assert_eq!(reply.field("access-control-allow-origin"), Some("*"));
        let allowed = reply.field("access-control-allow-headers").unwrap().to_lowercase();
        assert!(["range", "if-range", "cmcd-session"].iter().all(|name| allowed.contains(name)));
        assert_eq!(reply.field("access-control-max-age"), Some("86400"));
    }

    #[test]
    fn and_everything_else_heeds_the_list_of_origins() {
        let origins = vec!["https://player.example".to_owned()];
        let mut world = World::new(Settings { cors_origins: origins, ..Settings::default() });
        let reply = world.get_with("/film.mp4", "Origin: https://player.example\r\n");
        assert_eq!(reply.field("access-control-allow-origin"), Some("https://player.example"));
        assert_eq!(reply.field("vary"), Some("Origin"));
        let reply = world.get_with("/film.mp4", "Origin: https://other.example\r\n");
        assert_eq!((reply.field("access-control-allow-origin"), reply.field("vary")), (None, Some("Origin")));
        let mut silent = World::new(Settings { cors_origins: Vec::new(), ..Settings::default() });
        assert_eq!(silent.get_with("/film.mp4", "Origin: https://a\r\n").field("vary"), None);
    }
}

mod our_own_pages {
    use super::*;

    #[test]
    fn are_there_with_tags_and_a_policy() {
        let mut world = World::plain().with("index.html", b"theirs");
        for (target, content_type) in [
            ("/", "text/html; charset=utf-8"),
            ("/.atlas/player.js", "text/javascript; charset=utf-8"),
            ("/.atlas/catalogue.json", "application/json"),
        ] {
            let reply = world.get(target);
            assert_eq!((reply.status, reply.field("content-type")), (200, Some(content_type)));
            assert_ne!(reply.content, b"theirs");
            assert!(reply.field("content-security-policy").unwrap().contains("default-src 'none'"));
            let tag = reply.field("etag").unwrap();
            assert_eq!(world.get_with(target, &format!("If-None-Match: {tag}\r\n")).status, 304);
        }
        assert_eq!(world.get("/.atlas/missing").status, 404);
    }

    #[test]
    fn can_be_switched_off() {
        let mut world =
            World::new(Settings { page: Some(false), ..Settings::default() }).with("index.html", b"theirs");
        assert_eq!(world.get("/").content, b"theirs");
        assert_eq!(world.get("/.atlas/player.js").status, 404);
    }

    #[test]
    fn go_out_piece_by_piece_when_they_are_large() {
        let mut catalogue = Catalogue::default();
        let entry = crate::catalogue::Entry {
            path: vec![b'x'; 200],
            title: "x".repeat(200),
            kind: crate::catalogue::Kind::File,
            bytes: 1,
            duration_s: None,
            poster: None,
        };
        catalogue.entries = vec![entry; 2_000];
        let mut world = World::plain();
        let site = Site::new(Settings::default(), RootId(3), &catalogue).unwrap();
        world.service.on_snapshot(world.now, Arc::new(site));
        world.slow_client = true;
        world.send("GET /.atlas/catalogue.json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(world.output.len() < 70_000 && !world.finished, "{}", world.output.len());
        world.let_answers_end();
        assert!(world.finished);
        let reply = &world.answers()[0];
        assert_eq!(reply.content, catalogue.to_json("Atlas").into_bytes());
        assert_eq!(world.service.counters().content_bytes, reply.content.len() as u64);
    }
}

mod signed_urls {
    use super::*;

    fn settings() -> Settings {
        Settings { signing_keys: vec![Secret::new("0123456789abcdef".to_owned())], ..Settings::default() }
    }

    #[test]
    fn open_what_they_are_for_and_nothing_opens_without() {
        let mut world =
            World::new(settings()).with("a/m.m3u8", b"list").with("a/s.m4s", b"data").with("b/s", b"");
        let keys = settings().keys().unwrap();
        let file = keys.sign_file(b"film.mp4", NOW + 60).unwrap();
        let directory = keys.sign_directory_of(b"a/m.m3u8", NOW + 60).unwrap();
        assert_eq!(world.get(&file).status, 200);
        assert_eq!(world.get(&directory).content, b"list");
        assert_eq!(world.get(&directory.replace("m.m3u8", "s.m4s")).content, b"data");
        assert_eq!(
            world.get(&directory.replace("m.m3u8", "s.m4s")).field("content-type"),
            Some("video/iso.segment")
        );
        for target in
            ["/film.mp4", "/", "/missing", "/.atlas/catalogue.json", &directory.replace("a/m", "b/s")]
        {
            assert_eq!(world.get(target).status, 403, "{target}");
        }
        assert_eq!(world.get("/healthz").status, 200, "health is no secret");
        assert_eq!(world.service.counters().tally.denied, 5);
        world.now.unix += Duration::from_secs(60);
        assert_eq!(world.get(&file).status, 403);
    }

    #[test]
    fn keep_their_signature_in_a_redirect() {
        let mut world = World::new(settings()).with_error("a/b", OpenError::IsDirectory);
        let url = settings().keys().unwrap().sign_directory_of(b"a/b", NOW + 60).unwrap();
        let reply = world.get(&url);
        assert_eq!(reply.field("location"), Some(format!("{url}/").as_str()));
    }

    #[test]
    fn need_none_for_a_preflight() {
        let reply = World::new(settings()).ask("OPTIONS /film.mp4 HTTP/1.1\r\nHost: a\r\nOrigin: https://a\r\nAccess-Control-Request-Method: GET\r\n\r\n");
        assert_eq!(reply.status, 204);
    }
}
