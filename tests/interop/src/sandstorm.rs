//! What only Sandstorm promises. What it promises as Atlas does is asked of both: see `INTEROP_SERVER`.

use crate::harness::content::bytes_of;
use crate::harness::http::{Connection, request};
use crate::harness::process::Output;
use crate::harness::wire::{Link, Wire};
use crate::harness::{Library, Namespace, Process, Server, assert_same, eventually, sandstorm};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;
use rustix::process::Signal;
use std::io::Read as _;
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const COPIES: [&str; 3] = ["pre", "mem", "gather"];
const SCHEMES: &[&str] = &["http://", "https://"];
/// All of it is pinned at start.
const MEMORY: &str = "96M";

/// A server on a TAP device in a namespace. Dropped in the order of the fields.
struct Place {
    server: Server,
    files: Library,
    _namespace: Namespace,
}

impl Place {
    fn with(files: Library, arguments: &[&str]) -> Self {
        let namespace = Namespace::enter();
        let server = start(files.root(), arguments);
        Self { server, files, _namespace: namespace }
    }

    fn get(&self, target: &str) -> (u16, Vec<u8>) {
        get(&self.server.plain(), target)
    }

    fn figure(&self, name: &str) -> u64 {
        let stats = Process::new("curl").args(["--silent", "http://127.0.0.1:9465/stats"]).run().success();
        let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).expect("JSON");
        stats["workers"][0][name].as_u64().unwrap_or_else(|| panic!("no {name} in {stats}"))
    }
}

fn start(directory: impl AsRef<Path>, arguments: &[&str]) -> Server {
    let memory: &[&str] = if arguments.contains(&"--memory") { &[] } else { &["--memory", MEMORY] };
    let process = sandstorm()
        .arg("serve")
        .arg(directory.as_ref())
        .args(["--admin", "9465"])
        .args(memory)
        .args(arguments);
    Server::ready_for(process, SCHEMES)
}

/// A request on a connection of its own, which the server closes.
fn get(address: &str, target: &str) -> (u16, Vec<u8>) {
    let mut connection = Connection::open(address);
    connection.write(request("GET", target, &["Connection: close"]).as_bytes()).expect("the server reads");
    let response = connection.response(false).unwrap_or_else(|error| panic!("{target}: {error}"));
    assert!(connection.is_over(), "{target}: the server closes");
    (response.status, response.body)
}

/// `count` connections by eight clients at once, one request each, every byte compared.
fn crowd(address: &str, files: &Library, names: &[&str], count: usize) {
    let contents: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (*name, files.read(name))).collect();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let contents = &contents;
            scope.spawn(move || {
                for number in (client..count).step_by(8) {
                    let (name, expected) = &contents[number % contents.len()];
                    let mut stream = TcpStream::connect(address).expect("the server accepts");
                    let text = request("GET", &format!("/{name}"), &["Connection: close"]);
                    std::io::Write::write_all(&mut stream, text.as_bytes()).expect("the server reads");
                    let mut answer = Vec::with_capacity(expected.len() + 1_024);
                    stream.read_to_end(&mut answer).expect("the server closes in order");
                    let head =
                        answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
                    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{name}, connection {number}");
                    assert_same(&format!("{name}, connection {number}"), &answer[head..], expected);
                }
            });
        }
    });
}

const SMALL: &[&str] =
    &["1.bin", "513.bin", "1448.bin", "1449.bin", "4097.bin", "16384.bin", "16385.bin", "49152.bin"];

#[test]
#[ignore = "needs root"]
fn ten_thousand_short_connections_get_every_byte_in_each_way_of_copying() {
    for copy in COPIES {
        let place = Place::with(Library::new(), &["--copy", copy]);
        crowd(&place.server.plain(), &place.files, SMALL, 10_000);
        assert_eq!(place.figure("shelf_loaded"), SMALL.len() as u64, "{copy}");
        assert_eq!(place.figure("shelf_load_failed"), 0, "{copy}");
        place.server.interrupt().success();
    }
}

#[test]
#[ignore = "needs root"]
fn ten_thousand_short_connections_through_af_xdp_get_every_byte_in_each_way_of_copying() {
    for copy in COPIES {
        let wire = Wire::new(1);
        let files = Library::new();
        let mut arguments = vec!["serve"];
        let root = files.root();
        arguments.push(root.to_str().expect("our own paths are text"));
        arguments.extend(Link::AfxdpOwn.arguments());
        arguments.extend(["--memory", MEMORY, "--copy", copy]);
        let program = crate::harness::server::program("SANDSTORM_BIN", "sandstorm");
        let server = Server::ready_for(wire.there(program).args(arguments), SCHEMES);
        crowd(&server.plain(), &files, SMALL, 10_000);
        for name in ["300000.bin", "1048583.bin"] {
            let received = Process::new("curl")
                .args(["--disable", "--silent", "--insecure", "--fail", "--max-time", "50"])
                .arg(format!("{}/{name}", server.https()))
                .run()
                .success();
            assert_same(&format!("{copy}, {name}"), &received.stdout, &files.read(name));
        }
        server.interrupt().success();
    }
}

#[test]
#[ignore = "needs root"]
fn the_report_says_what_a_way_of_copying_comes_to_on_the_link() {
    for (copy, told) in [("pre", "gather: "), ("gather", "gather: "), ("mem", "mem: ")] {
        let place = Place::with(Library::new(), &["--copy", copy]);
        place.server.says(&format!("copy        {told}"));
        assert_eq!(place.server.stderr().contains("not pre: this link cuts segments itself"), copy == "pre");
        place.server.interrupt().success();
    }
}

/// A version of a file: its number, all the way.
fn version(number: u32) -> Vec<u8> {
    format!("{number:08}\n").repeat(3_000).into_bytes()
}

/// Puts a version in the place of the file, as a careful operator does.
fn replace(files: &Library, name: &str, number: u32) {
    let next = files.beside("next");
    std::fs::write(&next, version(number)).expect("a file of ours");
    std::fs::rename(next, files.root().join(name)).expect("the same disk");
}

/// The number of a version; fails if it is not one version from the beginning to the end.
#[track_caller]
fn version_of(body: &[u8]) -> u32 {
    let number = core::str::from_utf8(&body[..8]).expect("digits").parse().expect("a number");
    assert_same("one version and no other", body, &version(number));
    number
}

#[test]
#[ignore = "needs root"]
fn a_reload_under_load_loses_no_request_and_goes_only_forward() {
    let files = Library::empty();
    replace(&files, "a.txt", 0);
    let mut place = Place::with(files, &["--rescan-seconds", "0"]);
    let address = place.server.plain();
    let (over, newest, asked) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut seen = 0;
                while !over.load(Ordering::Acquire) {
                    let (status, body) = get(&address, "/a.txt");
                    assert_eq!(status, 200, "after {} requests", asked.load(Ordering::Relaxed));
                    let number = version_of(&body);
                    assert!(number >= seen, "{number} after {seen}");
                    seen = number;
                    newest.fetch_max(number, Ordering::AcqRel);
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for number in 1..=20 {
            replace(&place.files, "a.txt", number);
            place.server.process().signal(Signal::HUP);
            eventually("the new version is served", || newest.load(Ordering::Acquire) == number);
        }
        over.store(true, Ordering::Release);
    });
    assert!(asked.load(Ordering::Relaxed) > 200, "{asked:?}");
    place.server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn a_file_that_is_replaced_is_noticed_without_being_told_and_no_request_is_lost() {
    let files = Library::empty();
    replace(&files, "a.txt", 0);
    let place = Place::with(files, &["--rescan-seconds", "1"]);
    for number in 1..=3 {
        replace(&place.files, "a.txt", number);
        eventually("the new version is served", || {
            let (status, body) = place.get("/a.txt");
            assert_eq!(status, 200);
            version_of(&body) == number
        });
    }
    // One that nobody has asked for is replaced before it is read: whoever asks waits for the new look.
    replace(&place.files, "b.txt", 7);
    eventually("the new name is known", || place.get("/b.txt").0 == 200);
    place.files.write("c.txt", &version(1));
    eventually("the new name is known", || {
        let head = request("HEAD", "/c.txt", &[]);
        let mut connection = Connection::open(&place.server.plain());
        connection.write(head.as_bytes()).expect("the server reads");
        connection.response(true).expect("a head").status == 200
    });
    replace(&place.files, "c.txt", 2);
    let (status, body) = place.get("/c.txt");
    assert_eq!((status, version_of(&body)), (200, 2));
    place.server.says("c.txt changed while it was read");
    place.server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn a_file_that_is_being_written_is_served_as_it_was_at_one_moment_and_whole_when_it_rests() {
    let files = Library::empty();
    files.write("a.txt", &version(0));
    let place = Place::with(files, &["--rescan-seconds", "1"]);
    let over = AtomicBool::new(false);
    let last = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut number = 1;
            while !over.load(Ordering::Acquire) {
                // In place and in pieces, as a careless operator does.
                let path = place.files.root().join("a.txt");
                let mut file = std::fs::File::create(path).expect("a file of ours");
                for piece in version(number).chunks(9_000) {
                    std::io::Write::write_all(&mut file, piece).expect("there is room");
                    std::thread::sleep(Duration::from_millis(30));
                }
                number += 1;
            }
            number - 1
        });
        let begun = std::time::Instant::now();
        let (mut served, mut later) = (0, 0);
        while begun.elapsed() < Duration::from_secs(8) {
            let (status, body) = place.get("/a.txt");
            match status {
                // Between two pieces the file rests, and nobody can tell that more of it is to come: what it held then may
                // be served. What it held at two moments is not: neither the pieces of two versions, nor a length that it
                // had and bytes that came later.
                200 => {
                    let pieces = [0, 9_000, 18_000, 27_000];
                    assert!(pieces.contains(&body.len()), "{} bytes", body.len());
                    assert!(body.chunks(9).all(|line| line == &body[..9]), "two versions");
                    served += 1;
                }
                503 => later += 1,
                other => panic!("{other}"),
            }
        }
        over.store(true, Ordering::Release);
        assert!(served > 0, "{served} served, {later} later");
        writer.join().expect("it writes")
    });
    eventually("the last version is served whole", || {
        let (status, body) = place.get("/a.txt");
        status == 200 && body == version(last)
    });
    place.server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn an_object_is_read_once_however_many_ask_for_it() {
    let files = Library::empty();
    let expected = files.add("large.bin", 8 << 20);
    let place = Place::with(files, &[]);
    std::thread::scope(|scope| {
        for _ in 0..60 {
            scope.spawn(|| {
                let (status, body) = place.get("/large.bin");
                assert_eq!(status, 200);
                assert_same("large.bin", &body, &expected);
            });
        }
    });
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(place.figure("shelf_loaded"), 1);
    place.server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn what_was_not_asked_for_longest_makes_room_and_comes_back_when_asked_for() {
    let files = Library::empty();
    let names: Vec<String> = (0..40).map(|number| format!("{number}.bin")).collect();
    for name in &names {
        files.add(name, 2 << 20);
    }
    let place = Place::with(files, &["--memory", "32M"]);
    place.server.says("the directory would take");
    for _ in 0..2 {
        for name in &names {
            assert_same(name, &place.get(&format!("/{name}")).1, &place.files.read(name));
        }
    }
    std::thread::sleep(Duration::from_millis(500));
    assert!(place.figure("shelf_evicted") >= 60, "{}", place.figure("shelf_evicted"));
    assert_eq!(place.figure("shelf_load_failed"), 0);
    place.server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn preloaded_objects_are_there_before_anybody_asks() {
    let place = Place::with(Library::new(), &["--preload"]);
    eventually("all are read", || place.figure("shelf_objects") >= 25);
    assert_eq!(place.get("/300000.bin").0, 200);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(place.figure("shelf_hits"), 1);
    place.server.interrupt().success();
}

fn curl(arguments: &[&str]) -> Output {
    Process::new("curl")
        .args(["--disable", "--silent", "--show-error", "--insecure", "--max-time", "50"])
        .args(arguments)
        .run()
        .success()
}

#[test]
#[ignore = "needs root"]
fn everything_that_a_static_server_has() {
    let files = Library::empty();
    files.write("index.html", b"<h1>home</h1>\n");
    files.write("sub/index.html", b"<h1>sub</h1>\n");
    files.write("404.html", b"<h1>nothing</h1>\n");
    files.write("assets/app.js", &b"let x = 1;\n".repeat(1_000));
    files.write(".hidden", b"nobody's\n");
    let root = files.root();
    Process::new("gzip").args(["-k", "-9"]).arg(root.join("assets/app.js")).run().success();
    std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"caf\xe9.txt")), "latin\n")
        .expect("any name will do");
    std::fs::write(files.beside("moved.txt"), "/old /sub/ 302 # for now\n/shop https://shop.example/\n")
        .expect("a file of ours");
    let config = files.beside("sandstorm.toml");
    let text = "redirects = \"moved.txt\"\n[service]\n[[service.rule]]\npattern = \"/assets/**\"\n\
                cache_control = \"public, max-age=31536000, immutable\"\nfields = { X-Kept = \"yes\" }\n";
    std::fs::write(&config, text).expect("a file of ours");
    let place = Place::with(files, &["--config", config.to_str().expect("text")]);
    for base in [place.server.http(), place.server.https()] {
        let head = |arguments: &[&str], path: &str| {
            let url = format!("{base}{path}");
            let arguments = [arguments, &["--dump-header", "-", "--output", "/dev/null", &url]].concat();
            curl(&arguments).stdout_text().to_ascii_lowercase()
        };
        let body = |path: &str| curl(&["--location", &format!("{base}{path}")]).stdout_text();
        assert_eq!(body("/"), "<h1>home</h1>\n");
        assert_eq!(body("/sub"), "<h1>sub</h1>\n");
        assert_eq!(body("/old"), "<h1>sub</h1>\n");
        assert_eq!(body("/none"), "<h1>nothing</h1>\n");
        assert_eq!(body("/caf%E9.txt"), "latin\n");
        assert_eq!(body("/healthz"), "ok\n");
        for (path, status) in
            [("/sub", "301"), ("/old", "302"), ("/shop", "301"), ("/none", "404"), ("/.hidden", "404")]
        {
            assert!(head(&[], path).starts_with(&format!("http/1.1 {status} ")), "{path}");
        }
        let coded = head(&["--header", "Accept-Encoding: gzip"], "/assets/app.js");
        for field in ["content-encoding: gzip", "vary: accept-encoding", "max-age=31536000", "x-kept: yes"] {
            assert!(coded.contains(field), "{field}: {coded}");
        }
        assert!(!head(&[], "/assets/app.js").contains("content-encoding"));
        let url = format!("{base}/assets/app.js");
        let plain = curl(&["--compressed", &url]).stdout;
        assert_same("decoded", &plain, &place.files.read("assets/app.js"));
        let python = "import ssl, sys, urllib.request as r\n\
                      c = ssl._create_unverified_context()\n\
                      sys.stdout.buffer.write(r.urlopen(sys.argv[1], context=c).read())";
        let python = Process::new("python3").args(["-c", python, &url]).run().success().stdout;
        assert_same("by Python", &python, &place.files.read("assets/app.js"));
    }
    place.server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn what_is_not_served_is_told_in_a_line_each_and_the_rest_is() {
    let files = Library::empty();
    files.write("good.txt", b"good\n");
    files.write("secret.txt", b"for root\n");
    let secret = files.root().join("secret.txt");
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o000)).expect("our file");
    rustix::fs::chown(&secret, Some(rustix::fs::Uid::from_raw(12_345)), None).expect("needs root");
    files.write("a.js.gz", b"not really");
    std::thread::sleep(Duration::from_millis(50));
    files.write("a.js", b"let a = 1;\n");
    let huge = std::fs::File::create(files.root().join("huge.iso")).expect("our file");
    huge.set_len(1 << 30).expect("a sparse file");
    let place = Place::with(files, &[]);
    for told in [
        "not served: ",
        "secret.txt: Permission denied",
        "not served in place of the bare file, which is newer: a.js.gz",
        "not served: huge.iso: 1024 MiB is more than the memory for objects of a worker holds; raise --memory",
    ] {
        place.server.says(told);
    }
    let statuses = ["/good.txt", "/secret.txt", "/a.js", "/huge.iso"].map(|target| place.get(target).0);
    assert_eq!(statuses, [200, 404, 200, 500]);
    place.server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn connections_beyond_the_limit_are_told_to_come_back() {
    let files = Library::new();
    let config = files.beside("sandstorm.toml");
    std::fs::write(&config, "[service]\nconnections_max = 20\n").expect("a file of ours");
    let place = Place::with(files, &["--config", config.to_str().expect("text")]);
    let mut held: Vec<Connection> = (0..20).map(|_| Connection::open(&place.server.plain())).collect();
    for connection in &mut held {
        assert_eq!(connection.get("/1.bin", &[]).status, 200);
    }
    let response = Connection::open(&place.server.plain()).get("/1.bin", &[]);
    assert_eq!((response.status, response.header("Retry-After").is_some()), (503, true));
    drop(held);
    eventually("there is room again", || place.get("/1.bin").0 == 200);
    place.server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn a_storm_of_resets_leaves_every_frame_and_connection_free() {
    let files = Library::new();
    let place = Place::with(files, &[]);
    let address = place.server.plain();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for number in 0..250 {
                    let mut connection = Connection::open(&address);
                    let name = if number % 2 == 0 { "/1048583.bin" } else { "/16385.bin" };
                    connection.write(request("GET", name, &[]).as_bytes()).expect("the server reads");
                    // Closing with bytes unread is a reset.
                    drop(connection);
                }
            });
        }
    });
    assert_same("afterwards", &place.get("/300000.bin").1, &place.files.read("300000.bin"));
    eventually("nobody is left", || place.figure("http_connections") == 0);
    place.server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn killed_and_started_again_it_serves_as_before() {
    let mut place = Place::with(Library::new(), &[]);
    assert_eq!(place.get("/1.bin").0, 200);
    place.server.process().signal(Signal::KILL);
    let Place { server, files, _namespace } = place;
    let ended = server.wait();
    assert!(!ended.status.success());
    let again = start(files.root(), &[]);
    assert_same("after kill -9", &get(&again.plain(), "/300000.bin").1, &files.read("300000.bin"));
    again.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn every_mistake_is_one_line_with_status_2() {
    let _namespace = Namespace::enter();
    let files = Library::new();
    std::fs::write(files.beside("moved.txt"), "/a b\n").expect("a file of ours");
    std::fs::write(files.beside("wrong.toml"), "[service]\nidnex = []\n").expect("a file of ours");
    let (moved, wrong) = (files.beside("moved.txt"), files.beside("wrong.toml"));
    let (moved, wrong) = (moved.to_str().expect("text"), wrong.to_str().expect("text"));
    for (arguments, words) in [
        (&["--memory", "1M"][..], &["--memory 1024 KiB is too little", "is the least"][..]),
        (&["--copy", "zero"], &["'zero' is none of pre, mem and gather"]),
        (&["--redirects", moved], &["moved.txt", "line 1 of the redirects"]),
        (&["--redirects", "/nonexistent"], &["cannot read the redirects /nonexistent"]),
        (&["--config", wrong], &["wrong.toml:2: there is no option 'idnex'; did you mean 'index'?"]),
        (&["--http", "off", "--https", "off"], &["nothing to serve"]),
    ] {
        let output = sandstorm().arg("serve").arg(files.root()).args(arguments).run();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert_eq!(output.stderr.lines().count(), 1, "{arguments:?}: {}", output.stderr);
        for word in words {
            assert!(output.stderr.contains(word), "{arguments:?}: {}", output.stderr);
        }
    }
    let output = sandstorm().args(["serve", "/nonexistent"]).run();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stderr.contains("cannot read the directory /nonexistent"), "{}", output.stderr);
    let bytes = bytes_of("checked", 10);
    files.write("checked.bin", &bytes);
    let report = sandstorm().arg("check").arg(files.root()).run().success().stdout_text();
    assert!(report.contains("in all forms") && report.contains("memory"), "{report}");
}
