//! dig: Namestorm, asked by the client that every operator asks with.

use crate::harness::process::{Output, output};
use crate::harness::server::{IPV4, IPV6};
use crate::harness::{Namespace, Process, Server, eventually, fresh_directory, namestorm};
use crate::lifecycle::admin;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Zone files of one test.
pub(crate) struct Zones(PathBuf);

impl Zones {
    pub(crate) fn new() -> Self {
        let zones = Self(fresh_directory(&std::env::temp_dir(), "namestorm-dig"));
        zones.write("example", 1, "");
        zones
    }

    /// `pair` has two addresses that end in twice the serial, and one more.
    fn write(&self, name: &str, serial: u32, rest: &str) {
        let mut text = format!(
            "$TTL 300\n@ SOA ns hostmaster {serial} 3600 900 604800 300\n@ NS ns\nns A {IPV4}\nns AAAA {IPV6}\n\
             pair A 192.0.2.{}\npair A 192.0.2.{}\nwww AAAA 2001:db8::7\n\
             signed A 192.0.2.99\nsigned RRSIG A 13 2 300 20380101000000 20200101000000 1 example. c2lnbmF0dXJl\n",
            serial * 2,
            serial * 2 + 1
        );
        for index in 0..80 {
            text.push_str(&format!("large TXT \"{index:0>100}\"\n"));
        }
        text.push_str(rest);
        // Written aside and moved over, as an editor does.
        std::fs::write(self.0.join("aside"), text).expect("a file of ours");
        std::fs::rename(self.0.join("aside"), self.file(name)).expect("a file of ours");
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.zone"))
    }

    fn command(&self) -> Process {
        let zone = format!("example={}", self.file("example").display());
        namestorm().args(["serve", "--admin", "127.0.0.1:9464", "--zone", &zone])
    }

    /// A server on both families, with further arguments.
    pub(crate) fn serve(&self, arguments: &[&str]) -> Server {
        let addresses = [format!("{IPV4}/24"), format!("{IPV6}/64")];
        let command = self.command().args(["--addr", &addresses[0], "--addr", &addresses[1]]);
        Server::ready_for(command.args(arguments), &["dns://"])
    }
}

impl Drop for Zones {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn dig(server: &str, arguments: &[&str]) -> Output {
    let server = format!("@{server}");
    output(Process::new("dig").args(["+tries=1", "+time=5", &server]).args(arguments))
}

fn short(server: &str, arguments: &[&str]) -> Vec<String> {
    let text = dig(server, &[arguments, &["+short"]].concat()).stdout_text();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
#[ignore = "needs root"]
fn a_zone_is_served_over_udp_and_tcp_of_both_families_and_nothing_stays_behind() {
    let namespace = Namespace::enter();
    let before = namespace.inventory();
    let zones = Zones::new();
    let server = zones.serve(&[]);
    assert_eq!(server.urls, [format!("dns://{IPV4}:53"), format!("dns://[{IPV6}]:53")]);
    for address in [IPV4, IPV6] {
        for transport in ["+notcp", "+tcp"] {
            assert_eq!(short(address, &[transport, "www.example", "AAAA"]), ["2001:db8::7"]);
            let denied = dig(address, &[transport, "nothing.example", "A"]).stdout_text();
            assert!(denied.contains("status: NXDOMAIN") && denied.contains("SOA"), "{denied}");
            let refused = dig(address, &[transport, "www.elsewhere", "A"]).stdout_text();
            assert!(refused.contains("status: REFUSED"), "{refused}");
        }
    }
    assert!(server.stderr().contains("workers and control held"), "it is confined: {}", server.stderr());
    eventually("what was asked is counted", || {
        let figures = admin("/metrics").1;
        ["transport=\"udp\"} 6", "transport=\"tcp\"} 6", "rcode=\"REFUSED\"} 4", "type=\"AAAA\"} 4"]
            .iter()
            .all(|figure| figures.contains(figure))
    });
    server.interrupt().success();
    assert_eq!(namespace.inventory(), before, "something was left behind");
}

#[test]
#[ignore = "needs root"]
fn an_answer_that_does_not_fit_is_asked_for_again_over_tcp() {
    let _namespace = Namespace::enter();
    let zones = Zones::new();
    let _server = zones.serve(&[]);
    let cut = dig(IPV4, &["+ignore", "large.example", "TXT"]).stdout_text();
    assert!(cut.contains("flags: qr aa tc") && cut.contains("ANSWER: 0"), "{cut}");
    let whole = dig(IPV4, &["large.example", "TXT"]).stdout_text();
    assert!(whole.contains("(TCP)") && whole.contains("ANSWER: 80"), "{whole}");
    assert_eq!(short(IPV6, &["+tcp", "large.example", "TXT"]).len(), 80);
}

#[test]
#[ignore = "needs root"]
fn signatures_come_to_those_who_want_them() {
    let _namespace = Namespace::enter();
    let zones = Zones::new();
    let _server = zones.serve(&[]);
    for transport in ["+notcp", "+tcp"] {
        let plain = dig(IPV4, &[transport, "signed.example", "A"]).stdout_text();
        assert!(!plain.contains("RRSIG") && plain.contains("192.0.2.99"), "{plain}");
        let signed = dig(IPV4, &[transport, "+dnssec", "signed.example", "A"]).stdout_text();
        assert!(signed.contains("flags: do") && signed.contains("RRSIG\tA 13 2 300"), "{signed}");
    }
}

#[test]
#[ignore = "needs root"]
fn many_questions_share_one_stream() {
    let _namespace = Namespace::enter();
    let zones = Zones::new();
    let _server = zones.serve(&[]);
    let batch = zones.0.join("batch");
    std::fs::write(&batch, "www.example AAAA\n".repeat(100)).expect("a file of ours");
    let batch = batch.to_str().expect("our own paths are text");
    let answers = short(IPV4, &["+tcp", "+keepopen", "-f", batch]);
    assert_eq!(answers, vec!["2001:db8::7"; 100]);
    eventually("they are counted, and came in one connection", || {
        let figures = admin("/metrics").1;
        let one = figures.lines().any(|line| {
            line.starts_with("namestorm_connections_accepted_total")
                && line.trim_end_matches(".0").ends_with(" 1")
        });
        figures.contains("transport=\"tcp\"} 100") && one
    });
}

#[test]
#[ignore = "needs root"]
fn a_reload_loses_no_question_mixes_no_answer_and_takes_no_broken_zone() {
    let _namespace = Namespace::enter();
    let zones = Zones::new();
    let mut server = zones.serve(&["--workers", "2", "--rate", "0"]);
    let batch = zones.0.join("batch");
    let mut serial = 1;
    for (transport, questions) in [("+notcp", 20_000), ("+tcp", 5_000)] {
        std::fs::write(&batch, "pair.example A\n".repeat(questions)).expect("a file of ours");
        let mut asking = Process::new("dig")
            .args(["+tries=1", "+time=5", "+short", transport, &format!("@{IPV4}"), "-f"])
            .arg(&batch)
            .start();
        while !asking.has_ended() {
            serial = serial % 100 + 1;
            // Another length each time: files may be written twice within a tick of the clock.
            zones.write("example", serial, &";\n".repeat(serial as usize));
            server.process().signal(Signal::HUP);
            std::thread::sleep(core::time::Duration::from_millis(15));
        }
        let text = asking.wait().success().stdout_text();
        let ends = text.lines().map(|line| line.rsplit('.').next().and_then(|last| last.parse().ok()));
        let addresses: Vec<u32> = ends.map(|last| last.expect("an address")).collect();
        assert_eq!(addresses.len(), 2 * questions, "every question has its answer");
        for pair in addresses.chunks(2) {
            assert!(pair[0] / 2 == pair[1] / 2 && pair[0] != pair[1], "a mixture: {pair:?}");
        }
        let catalogues: BTreeSet<u32> = addresses.iter().map(|last| last / 2).collect();
        assert!(catalogues.len() > 5, "the zone was replaced under way: {catalogues:?}");
    }
    zones.write("example", 110, "");
    server.process().signal(Signal::HUP);
    eventually("it is in force", || short(IPV4, &["pair.example", "A"]) == ["192.0.2.220", "192.0.2.221"]);
    zones.write("example", 111, "broken A 192.0.2\n");
    server.process().signal(Signal::HUP);
    server.says("example.zone:91: ");
    assert_eq!(short(IPV4, &["pair.example", "A"]), ["192.0.2.220", "192.0.2.221"]);
    zones.write("example", 112, "; repaired\n");
    server.process().signal(Signal::HUP);
    eventually("a repaired zone is served", || {
        short(IPV4, &["pair.example", "A"]) == ["192.0.2.224", "192.0.2.225"]
    });
    server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn two_workers_share_the_questions() {
    let _namespace = Namespace::enter();
    let zones = Zones::new();
    let _server = zones.serve(&["--workers", "2"]);
    for _ in 0..40 {
        assert_eq!(short(IPV4, &["+notcp", "www.example", "AAAA"]), ["2001:db8::7"]);
        assert_eq!(short(IPV6, &["+tcp", "www.example", "AAAA"]), ["2001:db8::7"]);
    }
    eventually("both have answered, 40 each way in all", || {
        let figures = admin("/metrics").1;
        ["udp", "tcp"].iter().all(|transport| {
            let counts: Vec<f64> = figures
                .lines()
                .filter(|line| line.starts_with("namestorm_queries_total") && line.contains(transport))
                .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
                .collect();
            counts.len() == 2
                && (counts.iter().sum::<f64>() - 40.0).abs() < 0.5
                && counts.iter().all(|count| *count > 0.0)
        })
    });
}

#[test]
#[ignore = "needs root"]
fn even_when_killed_namestorm_leaves_no_device() {
    let namespace = Namespace::enter();
    let before = namespace.inventory();
    let zones = Zones::new();
    let mut server = zones.serve(&[]);
    server.process().signal(Signal::KILL);
    server.wait();
    eventually("the device is gone", || namespace.inventory() == before);
}

#[test]
#[ignore = "needs root"]
fn on_an_interface_it_answers_at_the_kernels_address_or_at_its_own() {
    let _namespace = Namespace::enter();
    let there = format!("namestorm-{}", std::process::id());
    let ip = |arguments: &str| output(Process::new("ip").args(arguments.split(' ')));
    ip(&format!("netns add {there}"));
    ip(&format!("link add inside type veth peer name outside netns {there}"));
    ip("address add 10.44.0.2/24 dev inside");
    ip("link set inside up");
    ip(&format!("-n {there} address add 10.44.0.1/24 dev outside"));
    ip(&format!("-n {there} link set outside up"));
    // A veth pair leaves checksums to whoever receives, and with AF_XDP nobody says that they are not there yet.
    let there_runs = |command: &[&str]| {
        Process::new("ip").args(["netns", "exec", &there]).args(command).run().success().stdout_text()
    };
    there_runs(&["ethtool", "-K", "outside", "tx", "off"]);
    let zones = Zones::new();
    for (arguments, address) in [
        (&["--link", "packet:inside"][..], "10.44.0.2"),
        (&["--link", "afxdp:inside"], "10.44.0.2"),
        (&["--link", "packet:inside", "--addr", "10.44.0.3/24"], "10.44.0.3"),
        (&["--link", "afxdp:inside", "--addr", "10.44.0.3/24"], "10.44.0.3"),
    ] {
        let server = Server::ready_for(zones.command().args(arguments), &["dns://"]);
        for transport in ["+notcp", "+tcp"] {
            let address = format!("@{address}");
            let dig = ["dig", "+tries=3", "+time=2", "+short", transport, &address, "www.example", "AAAA"];
            assert_eq!(there_runs(&dig), "2001:db8::7\n", "{arguments:?} {transport}");
        }
        server.interrupt().success();
    }
    ip(&format!("netns delete {there}"));
}

#[test]
#[ignore = "needs root"]
fn one_broken_zone_stops_no_other_and_a_server_without_zones_says_why_in_one_line() {
    let _namespace = Namespace::enter();
    let zones = Zones::new();
    zones.write("broken", 1, "x A nonsense\n");
    let broken = format!("broken={}", zones.file("broken").display());
    let server = zones.serve(&["--zone", &broken]);
    server.says("broken.zone:91: ");
    assert_eq!(short(IPV4, &["www.example", "AAAA"]), ["2001:db8::7"]);
    server.interrupt().success();

    for (arguments, words) in [
        (&["--zone", &broken][..], "broken.zone:91: "),
        (&["--zone", "missing=/nowhere/missing.zone"], "/nowhere"),
        (&["--zone", "missing"], "example=example.zone"),
        (&[], "--zone"),
    ] {
        let told = namestorm().arg("serve").args(arguments).run();
        assert_eq!(told.status.code(), Some(2), "{told:?}");
        let complaint = told.stderr.lines().filter(|line| line.starts_with("namestorm: ")).count();
        assert!(complaint == 1 && told.stderr.contains(words), "{told:?}");
    }
}
