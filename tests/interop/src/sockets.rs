//! What no well-behaved client sends, and what a server must survive.

use crate::harness::content::{SECRET, bytes_of};
use crate::harness::http::{Connection, request};
use crate::harness::{World, assert_same};
use core::time::Duration;
use std::io::Write;
use std::net::Shutdown;
use std::time::Instant;

/// A file can still be had: the server is in good health.
#[track_caller]
fn assert_healthy(world: &World) {
    let response = Connection::open(&world.server.plain()).get("/4096.bin", &[]);
    assert_eq!(response.status, 200);
    assert_same("afterwards", &response.body, &world.files.read("4096.bin"));
}

#[test]
#[ignore = "needs root"]
fn pipelined_requests_are_answered_in_order() {
    let world = World::new();
    let names = ["1.bin", "300000.bin", "0.bin", "missing", "16385.bin", "131073.bin", "513.bin"];
    let text: String = names.iter().map(|name| request("GET", &format!("/{name}"), &[])).collect();
    // All at once; then cut at places that hurt.
    for piece in [text.len(), 1, 7, 60] {
        let mut connection = Connection::open(&world.server.plain());
        for chunk in text.as_bytes().chunks(piece) {
            connection.write(chunk).expect("the server reads");
        }
        for name in names {
            let response = connection.response(false).expect("an answer to each");
            if name == "missing" {
                assert_eq!(response.status, 404);
            } else {
                assert_eq!(response.status, 200, "{name}");
                assert_same(name, &response.body, &world.files.read(name));
            }
        }
    }
}

#[test]
#[ignore = "needs root"]
fn malformed_requests_get_a_clear_answer() {
    let world = World::new();
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: test\r\n\r\n", "a".repeat(10_000));
    let long_header = format!("GET / HTTP/1.1\r\nHost: test\r\nX-Long: {}\r\n\r\n", "a".repeat(20_000));
    let many_headers = format!("GET / HTTP/1.1\r\nHost: test\r\n{}\r\n", "X-A: b\r\n".repeat(500));
    let table: &[(&str, &[u16])] = &[
        ("nonsense\r\n\r\n", &[400]),
        ("GET /1.bin\r\n\r\n", &[400, 505]),
        ("GET /1.bin HTTP/1.1\r\n\r\n", &[400]),
        ("GET /1.bin HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", &[400]),
        ("GET /1.bin HTTP/1.1\r\nHost: test\r\n folded: line\r\n\r\n", &[400]),
        ("GET /1.bin HTTP/1.1\r\nHost : test\r\n\r\n", &[400]),
        ("GET /1.bin HTTP/2.0\r\nHost: test\r\n\r\n", &[505]),
        ("GET /1.bin HTTP/0.9\r\nHost: test\r\n\r\n", &[505]),
        ("GET /%zz HTTP/1.1\r\nHost: test\r\n\r\n", &[400]),
        ("GET /1.bin%00 HTTP/1.1\r\nHost: test\r\n\r\n", &[400, 403]),
        ("DELETE /1.bin HTTP/1.1\r\nHost: test\r\n\r\n", &[405]),
        ("POST /1.bin HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello", &[405, 413]),
        ("BREW /1.bin HTTP/1.1\r\nHost: test\r\n\r\n", &[501, 405]),
        ("GET /1.bin HTTP/1.1\r\nHost: test\r\nContent-Length: 99999999999\r\n\r\n", &[413]),
        ("GET /1.bin HTTP/1.1\r\nHost: test\r\nContent-Length: -1\r\n\r\n", &[400]),
        ("GET /1.bin HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", &[400]),
        (
            "GET /1.bin HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            &[400],
        ),
        (&long_target, &[414]),
        (&long_header, &[431]),
        (&many_headers, &[431]),
    ];
    for (bytes, allowed) in table {
        let mut connection = Connection::open(&world.server.plain());
        // The answer may come before the last byte is written; writing may then fail.
        let _ = connection.write(bytes.as_bytes());
        let shown: String = bytes.chars().take(60).collect();
        let response = connection.response(false).unwrap_or_else(|error| panic!("{shown:?}: {error}"));
        assert!(allowed.contains(&response.status), "{shown:?}: {} instead of {allowed:?}", response.status);
    }
    assert_healthy(&world);
}

#[test]
#[ignore = "needs root"]
fn no_path_leads_out_of_the_directory() {
    let world = World::new();
    let root = world.files.root();
    std::os::unix::fs::symlink(world.files.beside("secret.txt"), root.join("link-out.txt")).expect("a link");
    std::os::unix::fs::symlink("/etc", root.join("link-to-etc")).expect("a link");
    std::os::unix::fs::symlink("4096.bin", root.join("link-within.bin")).expect("a link");
    let targets = [
        "/../secret.txt",
        "/a%20directory/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "/.%2e/secret.txt",
        "//../secret.txt",
        "/./../secret.txt",
        "/a%20directory/%2e%2e/%2e%2e/secret.txt",
        "/link-out.txt",
        "/link-to-etc/passwd",
        "/etc/passwd",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "http://test/../secret.txt",
        "/..%c0%afsecret.txt",
        "/..;/secret.txt",
        "/4096.bin/../../secret.txt",
        "/4096.bin%00.txt",
    ];
    for target in targets {
        let mut connection = Connection::open(&world.server.plain());
        let response = connection.get(target, &[]);
        assert!([400, 403, 404].contains(&response.status), "{target}: {}", response.status);
        assert!(
            !response.body.windows(SECRET.len()).any(|window| window == SECRET),
            "{target} shows the secret"
        );
        assert!(!response.body.windows(5).any(|window| window == b"root:"), "{target} shows a password file");
    }
    world.learns("link-within.bin");
    let within = Connection::open(&world.server.plain()).get("/link-within.bin", &[]);
    assert_eq!(within.status, 200, "a link that stays inside is followed");
    assert_same("through the link", &within.body, &world.files.read("4096.bin"));
}

#[test]
#[ignore = "needs root"]
fn a_request_that_never_ends_is_408() {
    let world = World::new();
    let mut connection = Connection::open(&world.server.plain());
    connection.write(b"GET /1.bin HTTP/1.1\r\nHost: te").expect("the server reads");
    let started = Instant::now();
    let drip = connection.stream.try_clone().expect("a second handle");
    // A byte now and then does not buy more time.
    let dripping = std::thread::spawn(move || {
        let mut drip = drip;
        while started.elapsed() < Duration::from_secs(40) && drip.write_all(b"s").is_ok() {
            std::thread::sleep(Duration::from_millis(700));
        }
    });
    let response = connection.response(false).expect("an answer");
    assert_eq!(response.status, 408);
    assert!(started.elapsed() < Duration::from_secs(30), "after {:?}", started.elapsed());
    let _ = connection.stream.shutdown(Shutdown::Both);
    dripping.join().expect("it does not panic");
    assert_healthy(&world);
}

#[test]
#[ignore = "needs root"]
fn a_crowd_that_never_finishes_its_requests_costs_little() {
    let mut world = World::new();
    assert_healthy(&world);
    let before = world.server.resident_bytes();
    // Half of them say nothing at all, half stop in the middle of a header.
    let mut crowd: Vec<Connection> = (0..900).map(|_| Connection::open(&world.server.plain())).collect();
    for connection in crowd.iter_mut().step_by(2) {
        connection
            .write(format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(4_000)).as_bytes())
            .expect("the server reads");
    }
    assert_healthy(&world);
    let grown = world.server.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "900 idle clients cost {grown} bytes");
    for connection in crowd.iter_mut().step_by(2) {
        assert_eq!(connection.response(false).expect("an answer").status, 408);
    }
    assert_healthy(&world);
}

#[test]
#[ignore = "needs root"]
fn a_file_that_shrinks_ends_its_own_connection_and_no_other() {
    let world = World::new();
    let whole = world.files.add("whole.bin", 32 << 20);
    world.files.add("shrinks.bin", 64 << 20);
    let mut other = Connection::open(&world.server.plain());
    let mut victim = Connection::open(&world.server.plain());
    for (connection, name) in [(&mut other, "whole.bin"), (&mut victim, "shrinks.bin")] {
        connection.write(request("GET", &format!("/{name}"), &[]).as_bytes()).expect("the server reads");
    }
    // Neither is read from yet: both have most of their bytes before them.
    std::thread::sleep(Duration::from_millis(200));
    let file =
        std::fs::File::options().write(true).open(world.files.root().join("shrinks.bin")).expect("our file");
    file.set_len(8 << 20).expect("it shrinks");
    let error = victim.response(false).expect_err("64 MiB can no longer be had");
    let expected = [std::io::ErrorKind::UnexpectedEof, std::io::ErrorKind::ConnectionReset];
    assert!(expected.contains(&error.kind()), "{error}");
    let response = other.response(false).expect("the other file is whole");
    assert_same("the other connection", &response.body, &whole);
    assert_healthy(&world);
}

#[test]
#[ignore = "needs root"]
fn a_client_that_has_said_all_still_hears_all() {
    let world = World::new();
    let mut connection = Connection::open(&world.server.plain());
    connection.write(request("GET", "/1048583.bin", &[]).as_bytes()).expect("the server reads");
    connection.stream.shutdown(Shutdown::Write).expect("half a close");
    let response = connection.response(false).expect("the whole file");
    assert_same("after half a close", &response.body, &world.files.read("1048583.bin"));
}

#[test]
#[ignore = "needs root"]
fn a_client_that_stops_reading_for_a_while_gets_every_byte() {
    let world = World::new();
    let file = world.files.add("large.bin", 24 << 20);
    world.learns("large.bin");
    let mut connection = Connection::open(&world.server.plain());
    connection.write(request("GET", "/large.bin", &[]).as_bytes()).expect("the server reads");
    // Its window closes; the server probes, and holds no memory meanwhile.
    std::thread::sleep(Duration::from_secs(3));
    let response = connection.response(false).expect("the whole file");
    assert_same("after a pause", &response.body, &file);
}

#[test]
#[ignore = "needs root"]
fn clients_that_vanish_leave_nothing_behind() {
    let world = World::new();
    world.files.add("large.bin", 32 << 20);
    world.learns("large.bin");
    for _ in 0..100 {
        let mut connection = Connection::open(&world.server.plain());
        connection.write(request("GET", "/large.bin", &[]).as_bytes()).expect("the server reads");
        // Closing with bytes unread is a reset.
        drop(connection);
    }
    assert_healthy(&world);
}

#[test]
#[ignore = "needs root"]
fn noise_is_answered_or_reset_and_forgotten() {
    let world = World::new();
    for number in 0..60 {
        let noise = bytes_of(&format!("noise {number}"), 1 << (number % 16));
        for address in [world.server.plain(), world.server.secure()] {
            let mut connection = Connection::open(&address);
            let _ = connection.write(&noise);
            let _ = connection.stream.shutdown(Shutdown::Write);
            // Any answer will do; hanging will not.
            let _ = connection.rest();
        }
    }
    assert_healthy(&world);
}

#[test]
#[ignore = "needs root"]
fn plain_http_on_the_tls_port_is_closed_not_served() {
    let world = World::new();
    let mut connection = Connection::open(&world.server.secure());
    connection.write(request("GET", "/4096.bin", &[]).as_bytes()).expect("the server reads");
    let answer = connection.rest().unwrap_or_default();
    let file = world.files.read("4096.bin");
    assert!(!answer.windows(64).any(|window| window == &file[..64]), "the file crossed in the clear");
    assert_healthy(&world);
}

#[test]
#[ignore = "needs root"]
fn a_port_nobody_listens_on_refuses_at_once() {
    let world = World::new();
    let started = Instant::now();
    let address = world.server.plain().rsplit_once(':').map(|(host, _)| format!("{host}:9")).expect("a port");
    let error = std::net::TcpStream::connect(address).expect_err("nobody listens there");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(started.elapsed() < Duration::from_secs(1));
}
