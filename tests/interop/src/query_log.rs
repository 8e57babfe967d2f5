//! The query log: lines of JSON, and dnstap in a file and through a socket, read by the programs that people read it with.

use crate::harness::process::output;
use crate::harness::server::IPV4;
use crate::harness::{Namespace, Process, Server, eventually, fresh_directory, namestorm};
use crate::lifecycle::admin;
use rustix::process::Signal;
use std::path::{Path, PathBuf};

struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let directory = fresh_directory(&std::env::temp_dir(), &format!("namestorm-log-{test}"));
        let zone = format!("$TTL 300\n@ SOA ns h 1 1 1 1 1\n@ NS ns\nns A {IPV4}\nwww A 192.0.2.7\n");
        std::fs::write(directory.join("example.zone"), zone).expect("a file of ours");
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("our own paths are text").to_owned()
    }

    fn serve(&self, arguments: &[&str]) -> Server {
        Server::ready_for(self.command().args(arguments), &["dns://"])
    }

    fn command(&self) -> Process {
        let zone = format!("example={}", self.path("example.zone"));
        let address = format!("{IPV4}/24");
        namestorm().args(["serve", "--admin", "127.0.0.1:9464", "--zone", &zone, "--addr", &address])
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn ask(arguments: &[&str]) {
    let server = format!("@{IPV4}");
    output(Process::new("dig").args(["+tries=1", "+time=5", &server]).args(arguments));
}

/// What dnstap-ldns makes of a file: a line for each message.
fn read_dnstap(file: &str) -> Vec<String> {
    let read = Process::new("dnstap-ldns").args(["-q", "-r", file]).run();
    read.stdout_text().lines().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs root"]
fn one_question_in_so_many_is_a_line_of_json_and_every_odd_one_is() {
    let _namespace = Namespace::enter();
    let files = Files::new("json");
    let log = files.path("queries.json");
    let mut server = files.serve(&["--query-log", &log, "--query-log-every", "10", "--workers", "1"]);
    for _ in 0..30 {
        ask(&["www.example", "A", "+subnet=198.51.100.0/24"]);
    }
    ask(&["www.elsewhere", "AAAA"]);
    ask(&["+tcp", "www.elsewhere", "AAAA"]);
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("five lines are written", || lines().lines().count() == 5);
    let text = lines();
    let sampled: Vec<&str> = text.lines().filter(|line| line.contains("\"why\":\"sample\"")).collect();
    assert_eq!(sampled.len(), 3, "{text}");
    for word in
        ["\"name\":\"www.example.\"", "\"type\":\"A\"", "\"ecs\":\"198.51.100.0/24\"", "\"udp\"", "NOERROR"]
    {
        assert!(sampled[0].contains(word), "{word} in {}", sampled[0]);
    }
    let odd = text.lines().filter(|line| line.contains("\"why\":\"odd\"") && line.contains("REFUSED"));
    assert_eq!(odd.filter(|line| line.contains("\"tcp\"") || line.contains("\"udp\"")).count(), 2, "{text}");

    // As log rotation does it.
    std::fs::rename(&log, files.path("old.json")).expect("a file of ours");
    server.process().signal(Signal::HUP);
    eventually("a new one is begun", || Path::new(&log).exists());
    ask(&["www.elsewhere", "TXT"]);
    eventually("it goes on there", || lines().contains("\"TXT\""));
    server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn dnstap_in_a_file_is_read_by_those_who_read_dnstap() {
    let _namespace = Namespace::enter();
    let files = Files::new("file");
    let file = files.path("queries.tap");
    let arguments = ["--query-log", &format!("dnstap:{file}"), "--query-log-every", "1", "--identity", "ns1"];
    let mut server = files.serve(&arguments);
    ask(&["www.example", "A"]);
    ask(&["+tcp", "www.elsewhere", "MX"]);
    eventually("both are there", || read_dnstap(&file).len() == 2);
    let read = read_dnstap(&file);
    assert!(
        read[0].contains(" AR ") && read[0].contains(" UDP ") && read[0].contains("www.example."),
        "{read:?}"
    );
    assert!(
        read[1].contains(" AR ") && read[1].contains(" TCP ") && read[1].contains("www.elsewhere."),
        "{read:?}"
    );

    // A stream begins at the beginning of its file: one that was moved away has a successor, and one that was not goes on.
    let old = files.path("old.tap");
    std::fs::rename(&file, &old).expect("a file of ours");
    server.process().signal(Signal::HUP);
    eventually("a new one is begun", || Path::new(&file).exists());
    server.process().signal(Signal::HUP);
    ask(&["ns.example", "A"]);
    eventually("it goes on there", || read_dnstap(&file).len() == 1);
    server.interrupt().success();
    let whole = Process::new("fstrm_dump").arg(&old).run().success();
    assert_eq!(whole.stderr.matches("FSTRM_CONTROL_ST").count(), 2, "START and STOP: {}", whole.stderr);
    let refused = files.command().args(arguments).run();
    assert!(refused.status.code() == Some(2) && refused.stderr.contains("move it away"), "{refused:?}");
}

#[test]
#[ignore = "needs root"]
fn dnstap_through_a_socket_survives_its_collector() {
    let _namespace = Namespace::enter();
    let files = Files::new("socket");
    let socket = files.path("dnstap.sock");
    let collect = |name: &str| {
        let _ = std::fs::remove_file(&socket);
        let collector = Process::new("fstrm_capture")
            .args(["-t", "protobuf:dnstap.Dnstap", "-u", &socket, "-w", &files.path(name)])
            .start();
        eventually("it listens", || Path::new(&socket).exists());
        collector
    };
    let first = collect("one.tap");
    let server = files.serve(&["--query-log", &format!("dnstap-socket:{socket}"), "--query-log-every", "1"]);
    server.says("takes frames");
    ask(&["www.example", "A"]);
    std::thread::sleep(core::time::Duration::from_millis(700));
    first.signal(Signal::TERM);
    first.wait();
    let read = read_dnstap(&files.path("one.tap"));
    assert!(read.len() == 1 && read[0].contains("www.example."), "{read:?}");

    // Nobody is there: what is lost is counted, and questions are answered all the same.
    let lost = || {
        let figures = admin("/metrics").1;
        let line =
            figures.lines().find(|line| line.starts_with("namestorm_dnstap_lost_total ")).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0)
    };
    eventually("it is noticed", || {
        ask(&["www.example", "A"]);
        lost() > 0.0
    });
    let second = collect("two.tap");
    eventually("the new one is found", || server.stderr().matches("takes frames").count() == 2);
    ask(&["ns.example", "A"]);
    server.interrupt().success();
    second.signal(Signal::TERM);
    second.wait();
    let read = read_dnstap(&files.path("two.tap"));
    assert!(read.iter().any(|line| line.contains("ns.example.")), "{read:?}");
}
