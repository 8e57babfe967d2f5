//! A long and imperfect path between the kernel's TCP and ours.
//!
//! ```text
//! curl ─▶ kernel ─▶ client0 ══ near ─▶ middlebox ─▶ far ══ server0 ─▶ packet socket ─▶ atlas
//!                        veth                             veth
//! ```
//!
//! What the path does is drawn from a seed; every byte must arrive all the same.

use crate::harness::content::target;
use crate::harness::http::Connection;
use crate::harness::process::{Running, output};
use crate::harness::server::binary;
use crate::harness::{Library, Namespace, Process, Server, assert_same, atlas, eventually};
use crate::lifecycle::admin;
use rustix::process::Signal;
use std::path::PathBuf;

const ADDRESS: &str = "10.44.0.2";

/// A server at the other end of a path. Dropped in the order of the fields.
struct Distance {
    server: Server,
    middlebox: Running,
    files: Library,
    _namespace: Namespace,
}

impl Distance {
    /// The path is as the middlebox's options say.
    fn new(path: &[&str]) -> Self {
        let namespace = Namespace::enter();
        let ip = |arguments: &str| output(Process::new("ip").args(arguments.split(' ')));
        for (one, other) in [("client0", "near"), ("far", "server0")] {
            ip(&format!("link add {one} type veth peer name {other}"));
            for device in [one, other] {
                ip(&format!("link set {device} up"));
            }
        }
        ip("address add 10.44.0.1/24 dev client0");
        let files = Library::new();
        let middlebox =
            Process::new(middlebox()).args(["--client", "near", "--server", "far"]).args(path).start();
        let server = atlas().arg("serve").arg(files.root()).args([
            "--addr",
            &format!("{ADDRESS}/24"),
            "--link",
            "packet:server0",
        ]);
        let distance = Self { server: Server::ready(server), middlebox, files, _namespace: namespace };
        eventually("the path is open", || {
            Process::new("ping").args(["-c", "1", "-W", "1", ADDRESS]).run().status.success()
        });
        distance
    }

    fn download(&self, url: &str) -> Vec<u8> {
        Process::new("curl")
            .args(["--disable", "--silent", "--show-error", "--insecure", "--fail", "--max-time", "55", url])
            .run()
            .success()
            .stdout
    }

    /// Files of odd sizes, over both listeners, and many at once.
    fn assert_everything_arrives(&self) {
        for base in [self.server.http(), self.server.https()] {
            for name in ["1.bin", "16385.bin", "131073.bin", "1048583.bin"] {
                let url = format!("{base}/{name}");
                assert_same(&url, &self.download(&url), &self.files.read(name));
            }
        }
        let place = Library::empty();
        Process::new("curl")
            .args(["--disable", "--silent", "--show-error", "--insecure", "--fail", "--max-time", "55"])
            .args(["--parallel", "--parallel-immediate", "--parallel-max", "20", "--output"])
            .arg(place.root().join("#1"))
            .arg(format!("{}/300000.bin?copy=[1-20]", self.server.https()))
            .run()
            .success();
        for number in 1..=20 {
            let received = place.read(&number.to_string());
            assert_same(&format!("copy {number}"), &received, &self.files.read("300000.bin"));
        }
    }

    /// The path did lose something that had to be sent again, or this would have shown nothing.
    fn assert_was_hard(&self) {
        let (status, stats) = admin("/stats");
        assert_eq!(status, 200);
        let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
        let resent = stats["total"]["resent_bytes"].as_u64().expect("it is counted");
        assert!(resent > 0, "nothing was sent again: {stats}");
    }

    /// Both programs leave when told to.
    fn close(self) {
        let Self { server, middlebox, .. } = self;
        server.interrupt().success();
        middlebox.signal(Signal::INT);
        middlebox.wait().success();
    }
}

fn middlebox() -> PathBuf {
    let beside = binary().with_file_name("middlebox");
    let path = if beside.exists() { beside } else { target().join("release/middlebox") };
    assert!(path.exists(), "{} is not built: cargo build --release -p middlebox", path.display());
    path
}

#[test]
#[ignore = "needs root"]
fn one_packet_in_fifty_is_lost_and_every_byte_arrives() {
    let distance =
        Distance::new(&["--delay", "5ms..15ms", "--loss", "2%", "--on", "to-client", "--seed", "7"]);
    distance.assert_everything_arrives();
    distance.assert_was_hard();
    distance.close();
}

#[test]
#[ignore = "needs root"]
fn acknowledgements_are_lost_too() {
    let distance = Distance::new(&["--delay", "10ms", "--loss", "3%", "--seed", "8"]);
    distance.assert_everything_arrives();
    distance.assert_was_hard();
    distance.close();
}

#[test]
#[ignore = "needs root"]
fn packets_overtake_each_other_and_come_twice() {
    let path = ["--delay", "10ms", "--reorder", "5%:8ms", "--duplicate", "2%", "--seed", "9"];
    let distance = Distance::new(&path);
    distance.assert_everything_arrives();
    distance.close();
}

#[test]
#[ignore = "needs root"]
fn losses_come_in_bursts() {
    let distance =
        Distance::new(&["--delay", "5ms", "--burst", "0.2%:20%", "--on", "to-client", "--seed", "10"]);
    distance.assert_everything_arrives();
    distance.assert_was_hard();
    distance.close();
}

#[test]
#[ignore = "needs root"]
fn a_narrow_line_with_a_short_queue_is_filled_and_not_flooded() {
    let path = ["--delay", "20ms", "--rate", "40mbit", "--queue", "100KB", "--on", "to-client"];
    let distance = Distance::new(&path);
    let file = distance.files.add("large.bin", 10 << 20);
    let started = std::time::Instant::now();
    let mut connection = Connection::open(&distance.server.plain());
    let response = connection.get("/large.bin", &[]);
    assert_same("over a narrow line", &response.body, &file);
    // 10 MiB at 40 Mb/s take 2.1 s. Many times as long would be a sender that gives up; a test is no benchmark, so
    // only that is excluded.
    assert!(started.elapsed().as_secs() < 20, "it took {:?}", started.elapsed());
    distance.close();
}
