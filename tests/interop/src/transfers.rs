//! Zones between Namestorm and the servers of others: fetched from us, fetched by us, and the word that they changed.
//!
//! ```text
//!   one namespace     dig, NSD, Knot at the kernel's side ── TAP ──▶ namestorm at its own address
//!                                    ▲                                  │ courier: sockets of the kernel
//!                                    └──────────────────────────────────┘
//! ```

mod dig;
mod knotd;
mod nsd;

use crate::harness::process::{Output, Running, output};
use crate::harness::server::IPV4;
use crate::harness::{Namespace, Process, Server, eventually, fresh_directory, namestorm};
use rustix::process::Signal;
use std::path::PathBuf;

/// The kernel's side of the TAP device, where the others listen, and with which port.
const THERE: &str = "10.77.0.1";
const PORT: u16 = 5_353;
/// A secret that both sides have.
const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER_SECRET: &str = "AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Files of one test: zones, and what each server is told.
struct Files(PathBuf);

impl Files {
    fn new() -> Self {
        let directory = fresh_directory(&std::env::temp_dir(), "namestorm-transfers");
        for below in ["zones", "fetched", "theirs"] {
            std::fs::create_dir_all(directory.join(below)).expect("a directory of ours");
        }
        Self(directory)
    }

    /// Written aside and moved over, as an editor does.
    fn write(&self, name: &str, text: &str) -> PathBuf {
        std::fs::write(self.0.join("aside"), text).expect("a file of ours");
        std::fs::rename(self.0.join("aside"), self.0.join(name)).expect("a file of ours");
        self.0.join(name)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// What Namestorm is told: a key, and what the test says.
    fn configure(&self, rest: &str) {
        let text = format!(
            "addr = [\"{IPV4}/24\"]\nadmin = \"127.0.0.1:9464\"\nrate = 0\ndrain-seconds = 0\n{rest}\n\
             [[key]]\nname = \"xfr\"\nsecret = \"{SECRET}\"\n"
        );
        self.write("namestorm.toml", &text);
    }

    fn serve(&self) -> Server {
        let command = namestorm().args(["serve", "--config", &self.path("namestorm.toml")]);
        Server::ready_for(command, &["dns://"])
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A zone whose `www` ends with its serial. It is asked about every few seconds, and expires soon.
fn zone(serial: u32, rest: &str) -> String {
    format!(
        "$TTL 300\n@ SOA ns hostmaster {serial} 2 1 6 60\n@ NS ns\nns A {IPV4}\nwww A 192.0.2.{serial}\n\
         sub NS ns.sub\nns.sub A 192.0.2.200\n*.wild TXT \"a \\\"wild\\\" one\"\n{rest}"
    )
}

fn dig(server: &str, port: u16, arguments: &[&str]) -> Output {
    let (server, port) = (format!("@{server}"), port.to_string());
    output(Process::new("dig").args(["+tries=1", "+time=5", &server, "-p", &port]).args(arguments))
}

/// What we answer.
fn ours(arguments: &[&str]) -> String {
    dig(IPV4, 53, arguments).stdout_text()
}

/// What the other one answers, or that it does not.
fn theirs(arguments: &[&str]) -> String {
    let port = PORT.to_string();
    let server = format!("@{THERE}");
    Process::new("dig")
        .args(["+tries=1", "+time=1", &server, "-p", &port])
        .args(arguments)
        .run()
        .stdout_text()
}

/// Every record of a zone, as dig writes them, in one order, the SOA once.
fn records(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.starts_with(';') && !line.is_empty());
    let mut records: Vec<String> =
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()).collect();
    records.retain(|record| !record.contains(" any tsig "));
    records.sort();
    records.dedup();
    records
}

fn signed(secret: &str) -> String {
    format!("hmac-sha256:xfr:{secret}")
}

/// What a figure of ours has counted under this label, in all workers together.
fn figure(name: &str, label: &str) -> f64 {
    let text = crate::lifecycle::admin("/metrics").1;
    let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.split_whitespace().last()?.parse::<f64>().ok()).sum()
}

/// Another server: NSD or Knot.
trait Other {
    /// Writes what it is told and starts it.
    fn start(&self, files: &Files) -> Running;

    /// The zone file changed.
    fn reload(&self, running: &Running) {
        running.signal(Signal::HUP);
    }
}

/// We have a zone, and `other` fetches it, with a key; it hears of a change and fetches that.
fn fetched_from_us(other: &dyn Other, changes_only: bool) {
    let _namespace = Namespace::enter();
    let files = Files::new();
    let filler: String = (0..2_000).map(|index| format!("n{index} TXT \"{index:0>60}\"\n")).collect();
    files.write("zones/example.zone", &zone(1, &filler));
    files.configure(&format!(
        "[[zone]]\nname = \"example\"\nfile = \"zones/example.zone\"\ntransfer = [\"{THERE} key:xfr\"]\n\
         notify = [\"{THERE}:{PORT} key:xfr\"]\n"
    ));
    let mut server = files.serve();
    let running = other.start(&files);
    let there = |name: &str, rtype: &str| theirs(&["+short", name, rtype]);
    eventually("it has our zone", || there("www.example", "A").trim() == "192.0.2.1");
    assert_eq!(there("n1999.example", "TXT").trim(), format!("\"{:0>60}\"", 1_999));
    assert_eq!(there("x.wild.example", "TXT").trim(), "\"a \\\"wild\\\" one\"");
    for serial in 2..=3 {
        files.write("zones/example.zone", &zone(serial, &filler));
        server.process().signal(Signal::HUP);
        eventually("it hears of the change and has it", || {
            there("www.example", "A").trim() == format!("192.0.2.{serial}")
        });
    }
    assert!(figure("namestorm_notifies_out_total", "\"heard\"") >= 2.0, "it answered our words");
    let sent = |what: &str| figure("namestorm_transfers_out_total", &format!("sent=\"{what}\""));
    eventually("what was sent is counted", || sent("all") >= 1.0);
    if changes_only {
        eventually("it got what changed, not all of it", || sent("changes") >= 2.0 && sent("all") < 2.0);
    }
    assert!(sent("refused") < 1.0);
    drop(running);
    server.interrupt().success();
}

/// `other` has a zone, and we fetch it, with a key; we hear of a change, outlive its death until the zone expires, and
/// serve it at once after a restart.
fn fetched_by_us(other: &dyn Other) {
    let _namespace = Namespace::enter();
    let files = Files::new();
    files.write("theirs/example.zone", &zone(1, ""));
    files.configure(&format!(
        "[[zone]]\nname = \"example\"\nfile = \"fetched/example.zone\"\nprimaries = [\"{THERE}:{PORT} key:xfr\"]\n\
         transfer = [\"{THERE}\"]\n"
    ));
    let server = files.serve();
    let status = ours(&["www.example", "A"]);
    assert!(status.contains("SERVFAIL"), "nothing is known of it yet: {status}");
    let running = other.start(&files);
    let www = || ours(&["+short", "www.example", "A"]).trim().to_owned();
    eventually("we have its zone", || www() == "192.0.2.1");
    let whole = |text: String| records(&text);
    assert_eq!(whole(ours(&["example", "AXFR"])), whole(theirs(&["-y", &signed(SECRET), "example", "AXFR"])));
    files.write("theirs/example.zone", &zone(2, "new CNAME www\n"));
    other.reload(&running);
    eventually("we have the change", || www() == "192.0.2.2");
    assert!(ours(&["new.example", "A"]).contains("CNAME"));
    eventually("it told us of it", || figure("namestorm_notifies_in_total", "\"primary\"") >= 1.0);
    assert_eq!(whole(ours(&["example", "AXFR"])), whole(theirs(&["-y", &signed(SECRET), "example", "AXFR"])));
    let kept = std::fs::read_to_string(files.0.join("fetched/example.zone")).expect("it is kept");
    assert!(kept.contains("www.example. 300 IN A 192.0.2.2"), "{kept}");

    drop(running);
    std::thread::sleep(core::time::Duration::from_secs(2));
    assert_eq!(www(), "192.0.2.2", "it is still in force");
    server.interrupt().success();
    let server = files.serve();
    assert_eq!(www(), "192.0.2.2", "a restart serves what is kept, at once");
    eventually("nobody confirms it, and it expires", || ours(&["www.example", "A"]).contains("SERVFAIL"));
    server.says("example. has expired");
    assert!(files.0.join("fetched/example.zone").exists(), "what has expired is not thrown away");
    let _running = other.start(&files);
    eventually("its primary is back, and so is the zone", || www() == "192.0.2.2");
    server.interrupt().success();
}
