//! Steering: answers by client and by health, asked for with dig, while targets die, come back and are spoken for.

use crate::harness::process::output;
use crate::harness::server::IPV4;
use crate::harness::{Namespace, Process, Server, eventually, fresh_directory, namestorm};
use crate::lifecycle::admin;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use core::time::Duration;
use rustix::process::Signal;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

const ADMIN: &str = "127.0.0.1:9464";
const NEAR: &str = "192.0.2.71";
const FAR: &str = "198.51.100.72";
const OF_THE_ZONE: &str = "192.0.2.250";

/// A target's health, as its port tells it: this status, and nothing at all when it is 0.
struct Target {
    status: Arc<AtomicU16>,
    /// How often it said so.
    said: Arc<AtomicU32>,
    address: SocketAddr,
}

impl Target {
    fn new() -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback interface");
        let address = listener.local_addr().expect("it is bound");
        let said = Arc::new(AtomicU32::new(0));
        let (its_status, its_said) = (Arc::clone(&status), Arc::clone(&said));
        thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                let _ = stream.read(&mut [0; 1_024]);
                match its_status.load(Ordering::Relaxed) {
                    0 => silent.push(stream),
                    status => {
                        its_said.fetch_add(1, Ordering::Relaxed);
                        drop(write!(stream, "HTTP/1.1 {status} x\r\nContent-Length: 0\r\n\r\n"));
                    }
                }
            }
        });
        Self { status, said, address }
    }

    /// What it says from now on; returns how often it said anything before.
    fn answers(&self, status: u16) -> u32 {
        let said = self.said.load(Ordering::Relaxed);
        self.status.store(status, Ordering::Relaxed);
        said
    }
}

struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let files = Self(fresh_directory(&std::env::temp_dir(), &format!("namestorm-steering-{test}")));
        let zone = format!(
            "$TTL 300\n@ SOA ns hostmaster 1 3600 900 604800 300\n@ NS ns\nns A {IPV4}\nvideo A {OF_THE_ZONE}\n\
             video TXT \"ordinary\"\nwww CNAME video\n"
        );
        files.write("example.zone", &zone);
        files
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file of ours");
        path.to_str().expect("our own paths are text").to_owned()
    }

    /// Clients of 203.0.113.0/24 go to the near target, which is asked how it is; all others to the far one.
    fn table(&self, near: &Target, weight: u32) -> String {
        self.write("networks.txt", "# one line for each\n203.0.113.0/24 near far\n");
        self.write(
            "steering.toml",
            &format!(
                "ttl = 7\necs = \"any\"\n[check]\ninterval-ms = 200\ntimeout-ms = 300\nrise = 1\nfall = 1\n\
                 [target.near-1]\naddresses = [\"{NEAR}\"]\nweight = {weight}\nhealth = \"http://{}/up\"\n\
                 [target.far-1]\naddresses = [\"{FAR}\"]\n[pool]\nnear = [\"near-1\"]\nfar = [\"far-1\"]\n\
                 [map.world]\ndefault = [\"far\", \"near\"]\nnetworks = \"networks.txt\"\n\
                 [name.\"video.example\"]\nmap = \"world\"\n",
                near.address
            ),
        )
    }

    fn command(&self, table: &str) -> Process {
        let zone = format!("example={}/example.zone", self.0.display());
        let address = format!("{IPV4}/24");
        namestorm().args([
            "serve",
            "--admin",
            ADMIN,
            "--zone",
            &zone,
            "--addr",
            &address,
            "--steering",
            table,
        ])
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The whole of what dig says of a name.
fn dig(arguments: &[&str]) -> String {
    let server = format!("@{IPV4}");
    output(Process::new("dig").args(["+tries=1", "+time=5", &server]).args(arguments)).stdout_text()
}

/// The addresses that a client of this network gets, and what dig says of the subnet.
fn steered(name: &str, network: &str) -> (Vec<String>, String) {
    let said = dig(&[name, "A", &format!("+subnet={network}")]);
    let addresses = said.lines().filter(|line| !line.starts_with(';') && line.contains("\tA\t"));
    let addresses = addresses.filter_map(|line| line.rsplit('\t').next().map(str::to_owned)).collect();
    let subnet = said.lines().find_map(|line| line.strip_prefix("; CLIENT-SUBNET: ")).unwrap_or_default();
    (addresses, subnet.to_owned())
}

fn near_gets() -> Vec<String> {
    steered("video.example", "203.0.113.0/24").0
}

fn set(arguments: &[&str]) -> String {
    namestorm().args(["set", "--admin", ADMIN]).args(arguments).run().success().stdout_text()
}

/// How long it takes until it is so.
fn until(what: &str, so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
    }
    begun.elapsed()
}

#[test]
#[ignore = "needs root"]
fn a_client_is_answered_by_its_network_with_the_scope_that_decided() {
    let _namespace = Namespace::enter();
    let near = Target::new();
    let files = Files::new("client");
    let server = Server::ready_for(files.command(&files.table(&near, 1)), &["dns://"]);
    assert_eq!(steered("video.example", "203.0.113.0/24"), (vec![NEAR.into()], "203.0.113.0/24/24".into()));
    assert_eq!(steered("www.example", "203.0.113.7/32"), (vec![NEAR.into()], "203.0.113.7/32/24".into()));
    // 203.0.113.0/24 is the only network of the table: three bits of the address tell that this one is not in it.
    assert_eq!(steered("video.example", "198.51.100.0/24"), (vec![FAR.into()], "198.51.100.0/24/5".into()));
    assert_eq!(steered("ns.example", "203.0.113.0/24"), (vec![IPV4.into()], "203.0.113.0/24/0".into()));
    let plain = dig(&["video.example", "A"]);
    assert!(plain.contains(FAR) && plain.contains("\t7\tIN") && !plain.contains("CLIENT-SUBNET"), "{plain}");
    assert!(dig(&["video.example", "TXT"]).contains("ordinary"), "other types are the zone's");
    assert!(dig(&["+tcp", "video.example", "A", "+subnet=203.0.113.0/24"]).contains(NEAR));
    // RFC 7871 §7.1.2: a family that is none, and more bits than it has.
    for subnet in
        ["+ednsopt=8:00031800cb0071", "+ednsopt=8:00012100cb00710000", "+ednsopt=8:00011800cb0071ff"]
    {
        let said = dig(&["video.example", "A", subnet]);
        assert!(said.contains("status: FORMERR"), "{subnet}: {said}");
    }
    server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn a_target_that_dies_is_left_and_one_that_comes_back_is_found_in_under_a_second() {
    let _namespace = Namespace::enter();
    let near = Target::new();
    let files = Files::new("health");
    let server = Server::ready_for(files.command(&files.table(&near, 1)), &["dns://"]);
    eventually("it is asked how it is", || set(&[]).contains("it answers 200"));
    assert_eq!(near_gets(), [NEAR]);
    let second = Duration::from_secs(1);

    near.answers(503);
    let left = until("the dying target is left", || near_gets() == [FAR]);
    server.says("target near-1 is down: it answers 503");
    near.answers(200);
    let back = until("the living target is found", || near_gets() == [NEAR]);
    server.says("target near-1 is up: it answers 200");
    assert!(left < second && back < second, "left after {left:?}, found after {back:?}");

    // One that takes connections and says nothing. It fell twice within a minute now, and has to be well twice.
    near.answers(0);
    let left = until("the silent target is left", || near_gets() == [FAR]);
    server.says("no answer within 300 ms");
    let well = near.answers(204);
    until("it is found again", || near_gets() == [NEAR]);
    let well = near.said.load(Ordering::Relaxed) - well;
    assert!(left < second && well >= 2, "left after {left:?}, found after {well} good answers");

    let figures = admin("/metrics").1;
    for figure in ["target_up{target=\"near-1\"} 1.0", "target_changes_total{target=\"near-1\"} 4.0"] {
        assert!(figures.contains(figure), "{figure} in {figures}");
    }
    assert_eq!(server.stderr().matches("target near-1 is").count(), 4, "one line a change");
    assert_eq!(server.stderr().matches("steering:").count(), 0, "nothing was read again");
    server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn the_operators_word_counts_at_once_and_a_table_is_read_again_on_sighup() {
    let _namespace = Namespace::enter();
    let near = Target::new();
    let files = Files::new("word");
    let mut server = Server::ready_for(files.command(&files.table(&near, 3)), &["dns://"]);
    eventually("it is asked how it is", || set(&[]).contains("it answers 200"));

    assert_eq!(set(&["near-1", "--down"]), "target near-1 is down by the operator's word, with weight 3\n");
    eventually("nobody goes there", || near_gets() == [FAR]);
    assert_eq!(set(&["near-1", "--auto"]), "target near-1 is up by its checks, with weight 3\n");
    eventually("they are back", || near_gets() == [NEAR]);
    set(&["near-1", "--weight", "0"]);
    eventually("no weight is as good as down", || near_gets() == [FAR]);
    set(&["near-1", "--weight", "5"]);
    eventually("they are back", || near_gets() == [NEAR]);
    let told = namestorm().args(["set", "--admin", ADMIN, "rome-1", "--down"]).run();
    assert!(told.status.code() == Some(1) && told.stderr.contains("no target 'rome-1'"), "{told:?}");

    // The file that the table names, then the table, then a broken one.
    files.write("networks.txt", "192.0.2.0/24 near far\n");
    server.process().signal(Signal::HUP);
    eventually("other clients are near", || near_gets() == [FAR]);
    assert_eq!(steered("video.example", "192.0.2.0/24").0, [NEAR]);
    files.write("networks.txt", "192.0.2.0/24 nowhere\n");
    server.process().signal(Signal::HUP);
    server.says("networks.txt:1: map world: there is no pool 'nowhere'; what was in force stays");
    assert_eq!(steered("video.example", "192.0.2.0/24").0, [NEAR]);
    // A zone that loses the name answers no more from the table, and says so.
    let zone = std::fs::read_to_string(files.0.join("example.zone")).expect("a file of ours");
    files.write("networks.txt", "192.0.2.0/24 near far\n");
    files.write("example.zone", &zone.replace("video A", "audio A").replace("video TXT", "audio TXT"));
    server.process().signal(Signal::HUP);
    server.says("video.example. is not steered: its zone does not have it");
    eventually("it is gone", || dig(&["video.example", "A"]).contains("status: NXDOMAIN"));
    server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn a_table_that_cannot_be_followed_is_refused_at_start_in_one_line() {
    let _namespace = Namespace::enter();
    let near = Target::new();
    let files = Files::new("refused");
    let table = files.table(&near, 1);
    let good = std::fs::read_to_string(&table).expect("a file of ours");
    for (bad, words) in [
        (good.replace("[\"near-1\"]", "[\"near-2\"]"), "bad.toml: pool near has a target 'near-2'"),
        (good.replace("weight = 1", "wait = 1"), "bad.toml:10: unknown field `wait`"),
        (good.replace("video.example", "audio.example"), "audio.example. is not steered: its zone does not"),
        (good.replace("video.example", "video.test"), "it lies in no zone of ours"),
    ] {
        let told = files.command(&files.write("bad.toml", &bad)).run();
        assert_eq!(told.status.code(), Some(2), "{told:?}");
        let complaint = told.stderr.lines().filter(|line| line.starts_with("namestorm: steering: ")).count();
        assert!(complaint == 1 && told.stderr.contains(words), "{told:?}");
    }
    let zone = std::fs::read_to_string(files.0.join("example.zone")).expect("a file of ours");
    files.write("example.zone", &format!("{zone}@ DNSKEY 257 3 13 AQID\n"));
    let told = files.command(&table).run();
    assert!(told.status.code() == Some(2) && told.stderr.contains("its zone is signed"), "{told:?}");
}
