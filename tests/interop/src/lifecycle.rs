//! Start, drain, reload, idle: the life of a server.

use crate::harness::http::{Connection, request};
use crate::harness::process::{Running, output};
use crate::harness::{Library, Namespace, Process, Server, World, assert_same, atlas, eventually};
use core::time::Duration;
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

/// A share of one core that an idle server may use.
const IDLE_SHARE_MAX: f64 = 0.01;
const IDLE: Duration = Duration::from_secs(5);

#[test]
#[ignore = "needs root"]
fn without_any_option_it_serves_at_addresses_of_its_own() {
    let namespace = Namespace::enter();
    let files = Library::new();
    let before = namespace.inventory();
    let server = Server::ready(atlas().arg("serve").arg(files.root()));
    let response = Connection::open(&server.plain()).get("/4096.bin", &[]);
    assert_same("by default", &response.body, &files.read("4096.bin"));
    let output = server.interrupt().success();
    assert!(output.stdout_text().lines().all(|line| line.starts_with("listening ")), "{output:?}");
    assert_eq!(namespace.inventory(), before, "something was left behind");
}

#[test]
#[ignore = "needs root"]
fn the_page_at_the_root_needs_nobody_else() {
    let world = World::new();
    let response = Connection::open(&world.server.plain()).get("/", &[]);
    assert_eq!(response.status, 200);
    assert!(
        response.header("Content-Type").is_some_and(|kind| kind.starts_with("text/html")),
        "{response:?}"
    );
    let page = String::from_utf8(response.body).expect("a page is text");
    for scheme in ["src=\"http", "href=\"http", "src='http", "@import"] {
        assert!(!page.contains(scheme), "the page asks someone else for something ({scheme})");
    }
}

#[test]
#[ignore = "needs root"]
fn an_idle_server_sleeps() {
    let mut world = World::new();
    // Connections that are open and silent are no reason to wake up.
    let mut silent: Vec<Connection> = (0..20).map(|_| Connection::open(&world.server.plain())).collect();
    for connection in &mut silent {
        assert_eq!(connection.get("/1.bin", &[]).status, 200);
    }
    std::thread::sleep(Duration::from_secs(1));
    let before = world.server.cpu();
    std::thread::sleep(IDLE);
    let share = (world.server.cpu() - before).as_secs_f64() / IDLE.as_secs_f64();
    assert!(share < IDLE_SHARE_MAX, "idle, it uses {:.1} % of a core", share * 100.0);
}

#[test]
#[ignore = "needs root"]
fn ctrl_c_drains_what_is_running_and_leaves_nothing_behind() {
    let namespace = Namespace::enter();
    let before = namespace.inventory();
    let files = Library::new();
    let file = files.add("large.bin", 24 << 20);
    for signal in [Signal::INT, Signal::TERM] {
        let mut server = Server::start(files.root(), &["--drain-seconds", "30"]);
        let downloads =
            [server.http(), server.https()].map(|base| slow_download(&format!("{base}/large.bin")));
        eventually("both downloads run", || downloads.iter().all(|download| !download.stdout().is_empty()));
        let mut idle = Connection::open(&server.plain());
        assert_eq!(idle.get("/1.bin", &[]).status, 200);
        server.process().signal(signal);
        assert!(idle.is_over(), "an idle connection is closed at once");
        for download in downloads {
            assert_same("drained", &download.wait().success().stdout, &file);
        }
        server.wait().success();
        assert_eq!(namespace.inventory(), before, "after {signal:?} something was left behind");
    }
}

#[test]
#[ignore = "needs root"]
fn a_second_ctrl_c_does_not_wait() {
    let world = World::with(&["--drain-seconds", "600"]);
    world.files.add("large.bin", 24 << 20);
    world.learns("large.bin");
    let download = slow_download(&format!("{}/large.bin", world.server.http()));
    eventually("the download runs", || !download.stdout().is_empty());
    let World { mut server, files: _files, namespace } = world;
    server.process().signal(Signal::INT);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!server.process().has_ended(), "the first one waits for the download");
    server.process().signal(Signal::INT);
    server.wait();
    assert!(!namespace.inventory().iter().any(|line| line.contains("tap") || line.contains("atlas")));
}

#[test]
#[ignore = "needs root"]
fn a_drain_has_a_deadline() {
    let world = World::with(&["--drain-seconds", "1"]);
    world.files.add("large.bin", 64 << 20);
    world.learns("large.bin");
    let download = slow_download(&format!("{}/large.bin", world.server.http()));
    eventually("the download runs", || !download.stdout().is_empty());
    let started = std::time::Instant::now();
    let World { server, files: _files, namespace: _namespace } = world;
    server.interrupt();
    assert!(started.elapsed() < Duration::from_secs(6), "it took {:?}", started.elapsed());
    assert!(!download.wait().status.success(), "the download was cut off");
}

#[test]
#[ignore = "needs root"]
fn an_idle_client_that_never_closes_does_not_hold_up_the_end() {
    let world = World::with(&["--drain-seconds", "60"]);
    let mut idle = Connection::open(&world.server.plain());
    assert_eq!(idle.get("/1.bin", &[]).status, 200);
    let started = std::time::Instant::now();
    let World { server, files: _files, namespace: _namespace } = world;
    server.interrupt().success();
    assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
    assert!(idle.is_over());
}

#[test]
#[ignore = "needs root"]
fn even_when_killed_no_device_stays() {
    let namespace = Namespace::enter();
    let before = namespace.inventory();
    let files = Library::new();
    let mut server = Server::start(files.root(), &[]);
    server.process().signal(Signal::KILL);
    server.wait();
    eventually("the device is gone", || namespace.inventory() == before);
}

#[test]
#[ignore = "needs root"]
fn two_servers_live_side_by_side() {
    let namespace = Namespace::enter();
    let before = namespace.inventory();
    let files = Library::new();
    let first = Server::ready(atlas().arg("serve").arg(files.root()));
    let second = Server::ready(atlas().arg("serve").arg(files.root()));
    for server in [&first, &second] {
        let response = Connection::open(&server.plain()).get("/16385.bin", &[]);
        assert_same("one of two", &response.body, &files.read("16385.bin"));
    }
    first.interrupt().success();
    second.interrupt().success();
    assert_eq!(namespace.inventory(), before, "something was left behind");
}

#[test]
#[ignore = "needs root"]
fn two_workers_share_the_connections() {
    let world = World::with(&["--workers", "2"]);
    let file = world.files.read("1048583.bin");
    for number in 0..40 {
        let response = Connection::open(&world.server.plain()).get("/1048583.bin", &[]);
        assert_same(&format!("connection {number}"), &response.body, &file);
    }
    // Connections that begin at one worker must stay there while others begin at the other.
    let mut kept: Vec<Connection> = (0..16).map(|_| Connection::open(&world.server.plain())).collect();
    for round in 0..4 {
        for connection in &mut kept {
            let response = connection.get("/65536.bin", &[]);
            assert_same(&format!("round {round}"), &response.body, &world.files.read("65536.bin"));
        }
    }
}

#[test]
#[ignore = "needs root"]
fn a_certificate_is_swapped_under_running_connections() {
    let namespace = Namespace::enter();
    let files = Library::new();
    let file = files.add("large.bin", 24 << 20);
    let (certificate, key) = (files.beside("cert.pem"), files.beside("key.pem"));
    make_certificate("first.example", &certificate, &key);
    let mut server = Server::start(files.root(), &["--cert", text(&certificate), "--key", text(&key)]);
    assert!(subject(&server.secure()).contains("first.example"));
    let download = slow_download(&format!("{}/large.bin", server.https()));
    eventually("the download runs", || !download.stdout().is_empty());

    make_certificate("second.example", &certificate, &key);
    server.process().signal(Signal::HUP);
    eventually("new connections see the new certificate", || {
        subject(&server.secure()).contains("second.example")
    });

    // A key that is no key is reported, and the certificate in use stays.
    std::fs::write(&key, "not a key").expect("a file of ours");
    server.process().signal(Signal::HUP);
    server.says("key.pem");
    assert!(subject(&server.secure()).contains("second.example"));

    assert_same("across both reloads", &download.wait().success().stdout, &file);
    server.interrupt().success();
    drop(namespace);
}

#[test]
#[ignore = "needs root"]
fn the_admin_port_tells_health_and_figures() {
    let mut world = World::new();
    assert_eq!(Connection::open(&world.server.plain()).get("/300000.bin", &[]).status, 200);
    for (path, wanted) in [("/healthz", ""), ("/readyz", ""), ("/metrics", "# TYPE"), ("/stats", "{")] {
        let (status, body) = admin(path);
        assert_eq!(status, 200, "{path}");
        assert!(body.contains(wanted), "{path}: {body}");
    }
    let download_of = |body: &str| {
        body.lines().filter(|line| !line.starts_with('#')).filter(|line| line.contains("sent")).count()
    };
    eventually("what was sent is counted", || download_of(&admin("/metrics").1) > 0);
    assert_eq!(admin("/nothing").0, 404);
    world.server.process().signal(Signal::INT);
}

#[test]
#[ignore = "needs root"]
fn stats_are_a_line_a_second() {
    let world = World::with(&["--stats"]);
    let before = world.server.stderr().lines().count();
    std::thread::sleep(Duration::from_millis(3_500));
    let lines = world.server.stderr().lines().count() - before;
    assert!((2..=12).contains(&lines), "{lines} lines in 3.5 s:\n{}", world.server.stderr());
}

#[test]
#[ignore = "needs root"]
fn a_configuration_file_says_what_options_say() {
    let namespace = Namespace::enter();
    let files = Library::new();
    let file = files.beside("atlas.toml");
    std::fs::write(&file, "addr = [\"10.55.0.2/24\"]\nhttp = 8000\nhttps = 8443\nworkers = 2\n")
        .expect("a file");
    let server = Server::ready(
        atlas().arg("serve").arg(files.root()).arg("--config").arg(&file).args(["--http", "81"]),
    );
    assert_eq!(server.plain(), "10.55.0.2:81", "an option beats the file");
    assert_eq!(server.secure(), "10.55.0.2:8443");
    assert_eq!(Connection::open(&server.plain()).get("/1.bin", &[]).status, 200);
    drop(server);
    drop(namespace);
}

#[test]
#[ignore = "needs root"]
fn every_request_is_logged_as_asked() {
    let namespace = Namespace::enter();
    let files = Library::new();
    for format in ["combined", "json"] {
        let log = files.beside(&format!("{format}.log"));
        let server = Server::start(files.root(), &["--access-log", text(&log), "--log-format", format]);
        let mut connection = Connection::open(&server.plain());
        assert_eq!(connection.get("/512.bin", &["User-Agent: a \"quoted\" agent"]).status, 200);
        assert_eq!(connection.get("/missing", &[]).status, 404);
        drop(connection);
        server.interrupt().success();
        let written = std::fs::read_to_string(&log).expect("the log was written");
        assert_eq!(written.lines().count(), 2, "{written}");
        for (line, status) in written.lines().zip(["200", "404"]) {
            assert!(line.contains(status), "{line}");
            if format == "json" {
                serde_json::from_str::<serde_json::Value>(line)
                    .unwrap_or_else(|error| panic!("{error}: {line}"));
            } else {
                assert!(line.contains("\"GET /"), "{line}");
            }
        }
    }
    drop(namespace);
}

#[test]
#[ignore = "needs root"]
fn a_packet_socket_on_a_veth_pair_serves_too() {
    let namespace = Namespace::enter();
    let files = Library::new();
    let ip = |arguments: &str| output(Process::new("ip").args(arguments.split(' ')));
    ip("link add outside type veth peer name inside");
    ip("address add 10.44.0.1/24 dev outside");
    ip("link set outside up");
    ip("link set inside up");
    let server = Server::ready(atlas().arg("serve").arg(files.root()).args([
        "--addr",
        "10.44.0.2/24",
        "--link",
        "packet:inside",
    ]));
    for name in ["0.bin", "16385.bin", "1048583.bin"] {
        let response = Connection::open(&server.plain()).get(&format!("/{name}"), &[]);
        assert_same(name, &response.body, &files.read(name));
    }
    server.interrupt().success();
    assert!(namespace.inventory().iter().any(|line| line.contains("inside")), "the operator's devices stay");
}

/// A download by curl that takes a few seconds.
fn slow_download(url: &str) -> Running {
    Process::new("curl")
        .args(["--disable", "--silent", "--show-error", "--insecure", "--fail", "--limit-rate", "6M", url])
        .start()
}

/// Status and body of a page of the admin port.
pub(crate) fn admin(path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect("127.0.0.1:9464").expect("the admin port");
    let close = request("GET", path, &["Connection: close"]);
    stream.write_all(close.as_bytes()).expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers in text");
    let status =
        text.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("{text}"));
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (status, body)
}

/// What the certificate at `address` is made out to.
pub(crate) fn subject(address: &str) -> String {
    let output = Process::new("openssl").args(["s_client", "-connect", address]).run();
    output.stdout_text().lines().find(|line| line.contains("subject")).unwrap_or_default().to_owned()
}

/// A certificate for `name`, signed by itself.
pub(crate) fn make_certificate(name: &str, certificate: &Path, key: &Path) {
    let subject = format!("/CN={name}");
    let alternative = format!("subjectAltName=DNS:{name}");
    // Written aside and moved over, as every tool that renews certificates does.
    let aside = |path: &Path| PathBuf::from(format!("{}.new", path.display()));
    output(
        Process::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", &subject, "-addext", &alternative, "-keyout", text(&aside(key)), "-out"])
            .arg(aside(certificate)),
    );
    std::fs::rename(aside(key), key).expect("our own files");
    std::fs::rename(aside(certificate), certificate).expect("our own files");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("our own paths are text")
}
