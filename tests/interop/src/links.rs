//! The same few promises on every link: each of these tests runs on each of them.

use crate::harness::http::{Connection, request};
use crate::harness::wire::{Link, Wire};
use crate::harness::{Library, Process, Server, assert_same};
use core::time::Duration;

/// A server on a link at the far end of a wire. Dropped in the order of the fields.
struct Far {
    server: Server,
    files: Library,
    wire: Wire,
}

impl Far {
    fn on(link: Link) -> Self {
        let wire = Wire::new(1);
        let files = Library::new();
        let server = wire.serve_on(link, files.root());
        Self { server, files, wire }
    }

    fn bases(&self) -> [&str; 4] {
        [self.server.http(), self.server.https(), self.server.http6(), self.server.https6()]
    }
}

fn curl(arguments: &[&str]) -> Vec<u8> {
    Process::new("curl")
        .args(["--disable", "--noproxy", "*", "--silent", "--show-error", "--insecure", "--max-time", "50"])
        .arg("--fail")
        .args(arguments)
        .run()
        .success()
        .stdout
}

fn files_of_every_size_arrive_byte_for_byte(link: Link) {
    let far = Far::on(link);
    for base in far.bases() {
        for size in [0_u32, 1, 1_448, 4_097, 16_385, 65_495, 131_073, 1_048_583] {
            let url = format!("{base}/{size}.bin");
            assert_same(&url, &curl(&[&url]), &far.files.read(&format!("{size}.bin")));
        }
    }
    far.server.interrupt().success();
}

fn a_range_is_exactly_the_bytes_asked_for(link: Link) {
    let far = Far::on(link);
    let file = far.files.read("300000.bin");
    for base in [far.server.http(), far.server.https6()] {
        let url = format!("{base}/300000.bin");
        for (range, expected) in
            [("0-0", 0..1), ("16383-16385", 16_383..16_386), ("100000-199999", 100_000..200_000)]
        {
            assert_same(range, &curl(&["--range", range, &url]), &file[expected]);
        }
    }
    far.server.interrupt().success();
}

fn every_version_of_tls_carries_a_file(link: Link) {
    let far = Far::on(link);
    let url = format!("{}/1048583.bin", far.server.https());
    for version in [&["--tlsv1.3"][..], &["--tls-max", "1.2"]] {
        let received = curl(&[version, &[url.as_str()]].concat());
        assert_same(&format!("{version:?}"), &received, &far.files.read("1048583.bin"));
    }
    far.server.interrupt().success();
}

fn many_connections_at_once_get_what_each_asked_for(link: Link) {
    let far = Far::on(link);
    let place = Library::empty();
    Process::new("curl")
        .args(["--disable", "--silent", "--show-error", "--insecure", "--fail", "--max-time", "55"])
        .args(["--parallel", "--parallel-immediate", "--parallel-max", "60", "--output"])
        .arg(place.root().join("#1"))
        .arg(format!("{}/300000.bin?copy=[1-60]", far.server.https()))
        .run()
        .success();
    for number in 1..=60 {
        let received = place.read(&number.to_string());
        assert_same(&format!("copy {number}"), &received, &far.files.read("300000.bin"));
    }
    far.server.interrupt().success();
}

fn requests_one_after_the_other_share_a_connection(link: Link) {
    let far = Far::on(link);
    let mut connection = Connection::open(&far.server.plain());
    for name in ["1.bin", "131073.bin", "0.bin", "16384.bin"] {
        let response = connection.get(&format!("/{name}"), &[]);
        assert_same(name, &response.body, &far.files.read(name));
    }
    // Ctrl-C lets go of an idle connection in order.
    connection.write(request("HEAD", "/1.bin", &[]).as_bytes()).expect("the server reads");
    assert_eq!(connection.response(true).expect("a head").status, 200);
    far.server.interrupt().success();
    assert!(connection.is_over());
}

fn a_server_that_nobody_talks_to_sleeps(link: Link) {
    let mut far = Far::on(link);
    let url = format!("{}/16385.bin", far.server.http());
    assert_same(&url, &curl(&[&url]), &far.files.read("16385.bin"));
    std::thread::sleep(Duration::from_millis(500));
    let before = far.server.cpu();
    std::thread::sleep(Duration::from_secs(4));
    let used = far.server.cpu().saturating_sub(before);
    assert!(used <= Duration::from_millis(40), "{used:?} of processor time in four idle seconds");
    far.server.interrupt().success();
}

fn nothing_is_left_behind(link: Link) {
    let far = Far::on(link);
    let there = |far: &Far| far.wire.ip_there("-brief address show dev server0");
    let during = there(&far);
    assert_eq!(far.wire.has_program(), link != Link::PacketOwn, "{during}");
    let Far { server, files: _files, wire } = far;
    server.interrupt().success();
    assert!(!wire.has_program());
    assert_eq!(wire.ip_there("-brief address show dev server0"), during);
}

/// One module for each link, so that a failure names it.
macro_rules! on {
    ($($module:ident: $link:expr),+ $(,)?) => {$(
        mod $module {
            use super::Link;

            on!(@tests $link =>
                files_of_every_size_arrive_byte_for_byte,
                a_range_is_exactly_the_bytes_asked_for,
                every_version_of_tls_carries_a_file,
                many_connections_at_once_get_what_each_asked_for,
                requests_one_after_the_other_share_a_connection,
                a_server_that_nobody_talks_to_sleeps,
                nothing_is_left_behind,
            );
        }
    )+};
    (@tests $link:expr => $($name:ident),+ $(,)?) => {$(
        #[test]
        #[ignore = "needs root"]
        fn $name() {
            super::$name($link);
        }
    )+};
}

on! {
    packet_own: Link::PacketOwn,
    packet_shared: Link::PacketShared,
    afxdp_own: Link::AfxdpOwn,
    afxdp_shared: Link::AfxdpShared,
}

#[test]
#[ignore = "needs root"]
fn workers_share_the_flows_and_each_flow_stays_where_it_is() {
    for link in [Link::PacketOwn, Link::PacketShared, Link::AfxdpOwn, Link::AfxdpShared] {
        let wire = Wire::new(2);
        let files = Library::new();
        let mut arguments = link.arguments();
        // A veth device delivers by the queue that the sender's socket chose, and a reset that no socket sends comes by
        // another: whoever waits for it waits until the end.
        arguments.extend(["--workers", "2", "--drain-seconds", "2"]);
        let server = wire.serve(files.root(), &arguments);
        let place = Library::empty();
        Process::new("curl")
            .args(["--disable", "--silent", "--show-error", "--insecure", "--fail", "--max-time", "55"])
            .args(["--parallel", "--parallel-immediate", "--parallel-max", "40", "--output"])
            .arg(place.root().join("#1"))
            .arg(format!("{}/300000.bin?copy=[1-40]", server.https()))
            .run()
            .success();
        for number in 1..=40 {
            let received = place.read(&number.to_string());
            assert_same(&format!("{link:?}, copy {number}"), &received, &files.read("300000.bin"));
        }
        // What the workers counted is told a few times a second.
        std::thread::sleep(Duration::from_millis(700));
        let stats = wire.there("curl").args(["--silent", "http://127.0.0.1:9464/stats"]).run().success();
        let stats: serde_json::Value = serde_json::from_slice(&stats.stdout).expect("JSON");
        let workers = stats["workers"].as_array().expect("a list");
        assert_eq!(workers.len(), 2);
        for worker in workers {
            let accepted = worker["connections_accepted"].as_u64().expect("it is counted");
            assert!(accepted >= 2, "{link:?}: flows were not spread: {stats}");
            assert_eq!(worker["http_aborted"], 0, "{link:?}: {stats}");
        }
        server.interrupt().success();
    }
}

#[test]
#[ignore = "needs root"]
fn the_best_link_is_taken_and_the_reason_is_doctors() {
    let wire = Wire::new(1);
    let files = Library::new();
    let doctor =
        wire.there(crate::harness::server::binary()).args(["doctor", "--dev", "server0"]).run().success();
    let doctor = doctor.stdout_text();
    let reason = "AF_XDP, zero-copy: no, the driver veth has no zero-copy";
    assert!(doctor.contains(reason) && doctor.contains("AF_XDP, copy: taken"), "{doctor}");
    let server = wire.serve(files.root(), &["--dev", "server0"]);
    server.says(reason);
    assert_same("a file", &curl(&[&format!("{}/1.bin", server.http())]), &files.read("1.bin"));
    server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn a_second_server_on_the_interface_takes_the_next_best_link_and_says_why() {
    let wire = Wire::new(1);
    let files = Library::new();
    let first = wire.serve_on(Link::AfxdpOwn, files.root());
    let second = wire.serve(files.root(), &["--dev", "server0", "--addr", "10.44.0.4/24", "--admin", "off"]);
    second.says("AF_XDP, copy: no, server0 has an XDP program already");
    second.says("packet socket on server0");
    for server in [&first, &second] {
        let url = format!("{}/131073.bin", server.https());
        assert_same(&url, &curl(&[&url]), &files.read("131073.bin"));
    }
    // The first one leaves, and takes nothing of the second's with it.
    first.interrupt().success();
    assert!(!wire.has_program());
    let url = format!("{}/16385.bin", second.http());
    assert_same(&url, &curl(&[&url]), &files.read("16385.bin"));
    second.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn doctor_has_a_document_and_a_status_and_changes_nothing() {
    let wire = Wire::new(2);
    let doctor = |arguments: &[&str]| {
        wire.there(crate::harness::server::binary())
            .arg("doctor")
            .args(["--dev", "server0", "--json"])
            .args(arguments)
            .run()
    };
    let before = wire.ip_there("-details link show dev server0");
    let found = doctor(&[]).success();
    let document: serde_json::Value = serde_json::from_slice(&found.stdout).expect("JSON");
    let device = &document["survey"]["device"];
    assert_eq!((&device["driver"], &device["name"]), (&"veth".into(), &"server0".into()));
    assert_eq!(device["channels"]["rx"], 2);
    assert_eq!(device["xdp"]["features"]["native"], true);
    assert!(device["offloads"]["scatter_gather"].is_boolean());
    assert_eq!(document["choice"]["workers"], 2);
    // Two queues and one worker: the command that helps is told, and the status says that it is needed.
    let one = doctor(&["--workers", "1"]);
    assert_eq!(one.status.code(), Some(1));
    let document: serde_json::Value = serde_json::from_slice(&one.stdout).expect("JSON");
    assert_eq!(document["obstacles"][0]["remedy"], "ethtool -L server0 rx 1 tx 1");
    assert_eq!(wire.ip_there("-details link show dev server0"), before);
    // And it does help; a veth device wants as many queues at the other end.
    wire.there("ethtool").args(["-L", "server0", "rx", "1", "tx", "1"]).run().success();
    Process::new("ethtool").args(["-L", "client0", "rx", "1", "tx", "1"]).run().success();
    doctor(&["--workers", "1"]).success();
}
