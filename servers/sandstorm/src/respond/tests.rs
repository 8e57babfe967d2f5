use super::*;
use crate::load::tests::Directory;
use crate::rules::{Redirects, Rule};
use dma::{Pool, PoolLayout};
use http::{Limits, Parse};

/// 2026-01-01T00:00:00Z and later than any file: `age` puts files before it.
struct World {
    site: Site,
    shelf: Shelf,
    responder: Responder,
    now: u64,
    loads: u32,
}

impl World {
    fn of(site: Site) -> Self {
        let layout = PoolLayout { large_count: 8, small_count: 64 };
        let shelf = Shelf::new(Pool::new(layout).unwrap(), layout);
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = since.as_secs() + 3_600;
        Self { site, shelf, responder: Responder::new(now), now, loads: 0 }
    }

    fn ask(&mut self, line: &str, fields: &str) -> (Status, String, Vec<u8>) {
        let head = format!("{line} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let Parse::Complete { request, .. } = Request::parse(head.as_bytes(), &Limits::default()) else {
            panic!("{head:?}")
        };
        for _ in 0..2 {
            match self.responder.answer(&self.site, &mut self.shelf, &request, self.now, false) {
                Answer::Load(variant) => {
                    self.loads += 1;
                    let bytes = self.site.read(variant).unwrap();
                    self.shelf.put(variant.key, &bytes).unwrap();
                }
                Answer::Reply(reply) => return unpack(&reply),
            }
        }
        panic!("what was put is not there")
    }
}

fn unpack(reply: &Reply) -> (Status, String, Vec<u8>) {
    assert_eq!(reply.head_sum.fold() % 0xffff, Sum::of(&reply.head).fold() % 0xffff);
    let of = |object: &Object, range: &Range<usize>| -> Vec<u8> {
        object.slices(range.clone()).flat_map(|slice| slice.bytes().to_vec()).collect()
    };
    let body = match &reply.body {
        Body::Nothing => Vec::new(),
        Body::Bytes(bytes) => bytes.clone(),
        Body::Object(object, range) => of(object, range),
        Body::Parts(object, parts, end) => {
            let mut body = Vec::new();
            for (head, range) in parts {
                body.extend_from_slice(head);
                body.extend(of(object, range));
            }
            body.extend_from_slice(end);
            body
        }
    };
    assert_eq!(body.len() as u64, reply.body.bytes());
    (reply.status, String::from_utf8(reply.head.clone()).unwrap(), body)
}

fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn an_object_is_loaded_once_and_its_head_is_written_once_but_for_the_date() {
    let dir = Directory::new("once");
    dir.write("logo.png", &[7; 1_000]);
    let mut world = World::of(dir.site());
    let (status, first, body) = world.ask("GET /logo.png", "");
    assert_eq!((status, body), (Status::Ok, vec![7; 1_000]));
    assert_eq!(value(&first, "Content-Type"), Some("image/png"));
    assert_eq!(value(&first, "Content-Length"), Some("1000"));
    world.now += 1;
    let (_, second, _) = world.ask("GET /logo.png", "");
    assert_eq!(world.loads, 1);
    assert_ne!(value(&first, "Date"), value(&second, "Date"));
    let undated = |head: &str| head.lines().filter(|line| !line.starts_with("Date")).collect::<String>();
    assert_eq!(undated(&first), undated(&second));
}

#[test]
fn what_get_says_head_says_too_without_a_look_at_the_file() {
    let dir = Directory::new("head");
    dir.write("a.css", b"body{}");
    let mut world = World::of(dir.site());
    let (_, head, body) = world.ask("HEAD /a.css", "");
    assert!(body.is_empty() && world.loads == 0);
    assert_eq!(world.ask("GET /a.css", "").1, head);
}

#[test]
fn a_client_gets_the_form_it_wants_most_and_caches_are_told() {
    let dir = Directory::new("forms");
    dir.write("a.js", &[b'x'; 90]).write("a.js.gz", &[b'g'; 30]).write("a.js.br", &[b'b'; 20]);
    let mut world = World::of(dir.site());
    for (fields, byte, coding) in [
        ("", b'x', None),
        ("Accept-Encoding: gzip, br\r\n", b'b', Some("br")),
        ("Accept-Encoding: gzip, br;q=0.1\r\n", b'g', Some("gzip")),
        ("Accept-Encoding: *;q=0\r\n", b'x', None),
    ] {
        let (status, head, body) = world.ask("GET /a.js", fields);
        assert_eq!(
            (status, body[0], value(&head, "Content-Encoding")),
            (Status::Ok, byte, coding),
            "{fields}"
        );
        assert_eq!(value(&head, "Vary"), Some("Accept-Encoding"));
        assert_eq!(value(&head, "Content-Type"), Some("text/javascript; charset=utf-8"));
    }
    let (_, head, _) = world.ask("GET /a.js.gz", "Accept-Encoding: gzip\r\n");
    assert_eq!((value(&head, "Vary"), value(&head, "Content-Encoding")), (None, None));
}

#[test]
fn a_coded_form_says_its_coding_whoever_asked_for_the_file_of_its_name_before() {
    let dir = Directory::new("forms-by-name");
    dir.write("app.js", &[b'x'; 90]).write("app.js.gz", &[b'g'; 30]);
    let mut world = World::of(dir.site());
    // A second look knows both from the first.
    let before = core::mem::replace(&mut world.site, dir.site());
    world.site = Site::load(&dir.0, Settings::default(), Redirects::default(), Some(&before)).unwrap();
    for _ in 0..2 {
        let (_, head, body) = world.ask("GET /app.js.gz", "");
        assert_eq!((value(&head, "Content-Encoding"), body), (None, vec![b'g'; 30]));
        let (_, head, body) = world.ask("GET /app.js", "Accept-Encoding: gzip\r\n");
        assert_eq!((value(&head, "Content-Encoding"), body), (Some("gzip"), vec![b'g'; 30]));
        assert_eq!(value(&head, "Vary"), Some("Accept-Encoding"));
    }
    assert_eq!(world.loads, 1, "its bytes are the same");
}

#[test]
fn heads_of_names_that_are_asked_for_once_take_no_memory_for_ever() {
    let dir = Directory::new("heads");
    dir.write("a", b"a");
    let mut world = World::of(dir.site());
    let template = || Template::of(b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\n").unwrap();
    for number in 0..HEADS_MAX as u64 {
        world.responder.heads.insert((Key(u64::MAX - number), None, 0), template());
    }
    world.ask("GET /a", "");
    assert_eq!(world.responder.heads.len(), 1);
}

#[test]
fn a_copy_that_is_good_is_not_sent_again_and_each_form_has_its_own_tag() {
    let dir = Directory::new("conditions");
    dir.write("a.js", b"bare").write("a.js.br", b"br");
    let mut world = World::of(dir.site());
    let (_, head, _) = world.ask("GET /a.js", "Accept-Encoding: br\r\n");
    let tag = value(&head, "ETag").unwrap().to_owned();
    let (status, head, body) =
        world.ask("GET /a.js", &format!("Accept-Encoding: br\r\nIf-None-Match: {tag}\r\n"));
    assert_eq!((status, body.len()), (Status::NotModified, 0));
    assert_eq!((value(&head, "Vary"), value(&head, "ETag")), (Some("Accept-Encoding"), Some(tag.as_str())));
    let (status, ..) = world.ask("GET /a.js", &format!("If-None-Match: {tag}\r\n"));
    assert_eq!(status, Status::Ok, "the bare form is another");
    assert_eq!(world.ask("GET /a.js", "If-Match: \"other\"\r\n").0, Status::PreconditionFailed);
}

#[test]
fn ranges_are_parts_of_the_object() {
    let dir = Directory::new("ranges");
    let bytes: Vec<u8> = (0..40_000_u32).map(|at| u8::try_from(at % 251).unwrap()).collect();
    dir.write("film.mp4", &bytes);
    let mut world = World::of(dir.site());
    let (status, head, body) = world.ask("GET /film.mp4", "Range: bytes=16380-20000\r\n");
    assert_eq!((status, body), (Status::PartialContent, bytes[16_380..=20_000].to_vec()));
    assert_eq!(value(&head, "Content-Range"), Some("bytes 16380-20000/40000"));
    let (status, head, body) = world.ask("GET /film.mp4", "Range: bytes=0-0,-2\r\n");
    assert_eq!(status, Status::PartialContent);
    assert_eq!(value(&head, "Content-Length"), Some(body.len().to_string().as_str()));
    assert_eq!(world.ask("GET /film.mp4", "Range: bytes=40000-\r\n").0, Status::RangeNotSatisfiable);
}

#[test]
fn names_that_have_gone_are_said_to_and_directories_get_their_slash() {
    let dir = Directory::new("moved");
    dir.write("docs/index.html", b"docs");
    let redirects = Redirects::parse("/old /docs/\n/shop https://shop.example/ 302\n").unwrap();
    let site = Site::load(&dir.0, Settings::default(), redirects, None).unwrap();
    let mut world = World::of(site);
    for (line, status, location) in [
        ("GET /old", Status::MovedPermanently, "/docs/"),
        ("GET /shop", Status::Found, "https://shop.example/"),
        ("GET /docs?a=b", Status::MovedPermanently, "/docs/?a=b"),
    ] {
        let (got, head, _) = world.ask(line, "");
        assert_eq!((got, value(&head, "Location")), (status, Some(location)), "{line}");
    }
    assert_eq!(world.ask("GET /docs/", "").2, b"docs");
}

#[test]
fn what_is_not_there_is_answered_with_the_operators_page() {
    let dir = Directory::new("missing");
    let mut world = World::of(dir.write("a", b"a").site());
    let (status, _, body) = world.ask("GET /none", "");
    assert!(status == Status::NotFound && !body.is_empty());
    let mut world = World::of(dir.write("404.html", b"lost").site());
    let (status, head, body) = world.ask("GET /none", "");
    assert_eq!((status, body.as_slice()), (Status::NotFound, b"lost".as_slice()));
    assert_eq!(value(&head, "Cache-Control"), Some("no-store"));
    assert_eq!(value(&head, "ETag"), None);
}

#[test]
fn rules_say_what_caches_may_do_and_which_fields_there_are() {
    let dir = Directory::new("rules");
    dir.write("assets/a.js", b"x");
    let rules = vec![Rule {
        pattern: "/assets/**".to_owned(),
        cache_control: Some("public, immutable".to_owned()),
        fields: vec![("X-Robots-Tag".to_owned(), "noindex".to_owned())],
    }];
    let settings = Settings { rules, ..Settings::default() };
    let mut world = World::of(Site::load(&dir.0, settings, Redirects::default(), None).unwrap());
    let (_, head, _) = world.ask("GET /assets/a.js", "");
    assert_eq!(value(&head, "Cache-Control"), Some("public, immutable"));
    assert_eq!(value(&head, "X-Robots-Tag"), Some("noindex"));
    assert_eq!(value(&head, "X-Content-Type-Options"), Some("nosniff"));
}

#[test]
fn options_says_what_can_be_done_and_a_preflight_is_let_through() {
    let dir = Directory::new("options");
    let mut world = World::of(dir.write("a", b"a").site());
    let (status, head, _) = world.ask("OPTIONS *", "");
    assert_eq!((status, value(&head, "Allow")), (Status::NoContent, Some("GET, HEAD, OPTIONS")));
    let (_, head, _) = world.ask("OPTIONS /a", "Origin: b\r\nAccess-Control-Request-Method: GET\r\n");
    assert_eq!(value(&head, "Access-Control-Allow-Origin"), Some("*"));
    assert!(value(&head, "Access-Control-Max-Age").is_some());
}
