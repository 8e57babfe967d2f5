//! What an operator sees of a running server: `atlas ss` and `atlas top`.

use crate::harness::http::{Connection, request};
use crate::harness::server::binary;
use crate::harness::{Namespace, Process, World, atlas, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::TcpStream;

/// More than four pages.
const MANY: usize = 4_500;

fn list(filter: &[&str]) -> Vec<Value> {
    let output = atlas().args(["ss", "--admin", "9464", "--json"]).args(filter).run().success();
    serde_json::from_slice(&output.stdout).expect("a JSON array")
}

#[test]
#[ignore = "needs root"]
fn a_download_that_waits_for_its_client_is_listed_with_its_object() {
    let world = World::new();
    let mut slow = Connection::open(&world.server.plain());
    slow.write(request("GET", "/1048583.bin?token=secret", &[]).as_bytes()).expect("the server reads");
    let idle = Connection::open(&world.server.plain());
    // The kernel takes some of it, and no more: nobody reads.
    eventually("the window closes", || {
        list(&["object", "1048583"]).iter().any(|connection| connection["sent_bytes"].as_u64() > Some(50_000))
    });
    let [connection] = &list(&["object", "1048583"])[..] else { panic!("one has an object") };
    let local = slow.stream.local_addr().expect("an address").to_string();
    assert_eq!(connection["peer"], local.as_str());
    assert_eq!(
        (connection["state"].as_str(), connection["object"].as_str()),
        (Some("ESTAB"), Some("/1048583.bin"))
    );
    assert!(connection["srtt_us"].as_u64().is_some() && connection["cwnd"].as_u64() > Some(1_448));
    let peer = idle.stream.local_addr().expect("an address").to_string();
    let listed = list(&["dst", &peer, "state", "established"]);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["object"], Value::Null);
    let people = atlas().args(["ss", "--admin", "9464", "dst", &local]).run().success().stdout_text();
    assert!(people.starts_with("State ") && people.contains("object:/1048583.bin"), "{people}");
    assert!(!people.contains("secret"), "{people}");
}

#[test]
#[ignore = "needs root"]
fn thousands_of_connections_are_listed_each_once_while_a_download_goes_on() {
    let world = World::new();
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX).min(20_000);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum })
        .expect("our own limit");
    let address = world.server.plain();
    let idle: Vec<TcpStream> = (0..MANY).map(|_| TcpStream::connect(&address).expect("room")).collect();
    let url = format!("{}/1048583.bin", world.server.https());
    let mut download = Process::new("curl")
        .args([
            "--disable",
            "--silent",
            "--insecure",
            "--fail",
            "--limit-rate",
            "400k",
            "--output",
            "/dev/null",
            &url,
        ])
        .start();
    eventually("the download begins", || !list(&["object", "1048583"]).is_empty());
    assert!(!download.has_ended());
    let peers: Vec<String> = list(&["sport", "80"])
        .iter()
        .map(|connection| connection["peer"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(peers.len(), MANY);
    let each: BTreeSet<&String> = peers.iter().collect();
    assert_eq!(each.len(), MANY, "somebody is there twice");
    let sealed = list(&["sport", "443", "object", "1048583"]);
    assert!(sealed[0]["tls"].as_str().is_some_and(|tls| tls.starts_with("TLS1.3 ")), "{sealed:?}");
    assert!(download.wait().status.success());
    drop(idle);
}

#[test]
#[ignore = "needs root"]
fn top_shows_a_server_on_a_terminal_and_leaves_when_it_is_told() {
    let world = World::new();
    // A terminal of its own, of this size, for as long as top runs.
    let command = format!("stty cols 80 rows 24; exec {} top --interval 1s", binary().display());
    let mut terminal =
        Process::new("script").args(["--quiet", "--return", "--command", &command, "/dev/null"]).start();
    let screen = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    eventually("top shows the server", || screen(terminal.stdout()).contains("running"));
    assert!(screen(terminal.stdout()).contains("workers"));
    terminal.write(b"q");
    assert!(terminal.wait().status.success());
    drop(world);
}

#[test]
#[ignore = "needs root"]
fn whoever_asks_where_nobody_is_is_told_in_one_line() {
    let _namespace = Namespace::enter();
    let output = atlas().arg("ss").run();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stderr.lines().count(), 1);
    assert!(
        output.stderr.contains("127.0.0.1:9464") && output.stderr.contains("--admin"),
        "{}",
        output.stderr
    );
    let output = atlas().arg("top").run();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.contains("terminal") && output.stderr.lines().count() == 1, "{}", output.stderr);
}
