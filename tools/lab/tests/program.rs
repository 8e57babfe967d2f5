//! The program itself: what it says to operators, and real servers in namespaces.

#![cfg(test)]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says why by panicking")]

use std::process::{Command, Output};

const LAB: &str = env!("CARGO_BIN_EXE_lab");

fn lab(arguments: &[&str]) -> Output {
    Command::new(LAB).args(arguments).output().unwrap()
}

mod an_operator {
    use super::*;

    fn refused(arguments: &[&str]) -> String {
        let output = lab(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.lines().count()), (Some(2), 1), "{said}");
        said
    }

    #[test]
    fn who_asks_for_what_cannot_be_is_told_in_one_line() {
        for (arguments, hint) in [
            (&["load"][..], "there is no URL"),
            (&["load", "ftp://127.0.0.1/"], "http://"),
            (&["load", "http://127.0.0.1/", "--urls", "/nowhere/list"], "/nowhere/list"),
            (&["load", "http://127.0.0.1/", "--mix", "cdn"], "--root"),
            (&["load", "http://127.0.0.1/", "--cores", "1000"], "core 1000"),
            (&["load", "http://127.0.0.1/", "-c", "4000000000"], "raise the limit"),
        ] {
            let said = refused(arguments);
            assert!(said.starts_with("lab: ") && said.contains(hint), "{said}");
        }
    }
}

mod in_namespaces {
    use core::time::Duration;
    use std::fs;
    use std::path::PathBuf;
    use std::process::Stdio;
    use std::thread;
    use std::time::Instant;

    use super::*;

    /// A directory with a file of 300 KB, and an nginx that serves it with and without TLS.
    struct Site {
        directory: PathBuf,
    }

    impl Site {
        fn new(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("lab-test-{}-{name}", std::process::id()));
            fs::create_dir_all(directory.join("www")).unwrap();
            let bytes: Vec<u8> = (0..300_000_u32)
                .map(|at| u8::try_from(at.wrapping_mul(2_654_435_761) >> 24).unwrap())
                .collect();
            fs::write(directory.join("www/a.bin"), bytes).unwrap();
            let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            fs::write(directory.join("cert.pem"), made.cert.pem()).unwrap();
            fs::write(directory.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
            let site = Self { directory };
            let at = site.directory.display();
            let configuration = format!(
                "user root; worker_processes 1; daemon off; pid {at}/pid; error_log {at}/log crit;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100; sendfile on;
  client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3; uwsgi_temp_path {at}/t4;
  scgi_temp_path {at}/t5;
  ssl_certificate {at}/cert.pem; ssl_certificate_key {at}/key.pem; ssl_protocols TLSv1.3 TLSv1.2;
  server {{ listen 80; listen 443 ssl; root {at}/www; }} }}"
            );
            fs::write(site.directory.join("nginx.conf"), configuration).unwrap();
            site
        }

        fn server(&self) -> String {
            format!("nginx -e stderr -c {}/nginx.conf", self.directory.display())
        }

        fn root(&self) -> String {
            self.directory.join("www").display().to_string()
        }

        fn load(&self, arguments: &[&str]) -> (Option<i32>, serde_json::Value) {
            let server = self.server();
            let duration: &[&str] = if arguments.contains(&"-d") { &[] } else { &["-d", "1s"] };
            let ramp: &[&str] = if arguments.contains(&"--ramp") { &[] } else { &["--ramp", "300ms"] };
            let output = lab(&[arguments, duration, ramp, &["--json", "--serve", &server]].concat());
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let result =
                serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no result: {said}"));
            (output.status.code(), result)
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }

    fn number(result: &serde_json::Value, path: &str) -> u64 {
        result
            .pointer(path)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_else(|| panic!("{path} in {result}"))
    }

    #[test]
    #[ignore = "needs root"]
    fn every_way_of_asking_brings_the_files_bytes() {
        let site = Site::new("bytes");
        let root = site.root();
        let verified = ["--verify", "20%", "--root", &root];
        for way in [
            &["load", "http://198.18.1.2/a.bin"][..],
            &["load", "https://198.18.1.2/a.bin", "--tls", "1.3"],
            &["load", "https://198.18.1.2/a.bin", "--tls", "1.2"],
            &["load", "https://198.18.1.2/a.bin", "--part", "random:20000", "-c", "10"],
            &["load", "https://198.18.1.2/a.bin", "--viewers", "2mbit", "--part", "sequential:30000"],
            &["web", "https://198.18.1.2/a.bin", "-c", "4"],
            &["web", "http://198.18.1.2/a.bin", "-c", "4", "--source", "198.18.2.1-198.18.2.4"],
            &["load", "https://198.18.1.2/a.bin", "--client", "own", "-c", "10"],
            &[
                "web",
                "https://198.18.0.1/a.bin",
                "--client",
                "own",
                "--ground",
                "one",
                "--dev",
                "tap",
                "-c",
                "4",
            ],
            &["web", "http://198.18.1.2/a.bin", "--client", "own", "-c", "4", "--source", "198.18.9.1"],
            &["web", "http://198.18.1.2/a.bin", "--client", "own", "-c", "4", "--dev", "afxdp:near"],
        ] {
            let (status, result) = site.load(&[way, &verified].concat());
            assert_eq!(status, Some(0), "{way:?}: {result}");
            assert!(number(&result, "/requests") > 20, "{way:?}: {result}");
            assert!(number(&result, "/verified/responses") > 0, "{way:?}: {result}");
            assert_eq!(number(&result, "/failed"), 0, "{way:?}");
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn a_byte_that_is_not_the_file_s_is_the_server_s_fault() {
        let site = Site::new("mismatch");
        let other = site.directory.join("other");
        fs::create_dir_all(&other).unwrap();
        let mut bytes = fs::read(site.directory.join("www/a.bin")).unwrap();
        bytes[123_456] ^= 1;
        fs::write(other.join("a.bin"), bytes).unwrap();
        let other = other.display().to_string();
        let (status, result) =
            site.load(&["load", "https://198.18.1.2/a.bin", "--verify", "1", "--root", &other, "-c", "2"]);
        assert_eq!((status, number(&result, "/requests")), (Some(1), 0));
        let error = &result["errors"][0];
        assert_eq!((&error["kind"], &error["guilty"]), (&"mismatch".into(), &"server".into()), "{result}");
        assert_eq!(error["first"], "/a.bin: byte 123456 is not the file's");
    }

    #[test]
    #[ignore = "needs root"]
    fn a_run_of_so_many_requests_makes_exactly_these() {
        let site = Site::new("count");
        let (status, result) =
            site.load(&["load", "http://198.18.1.2/a.bin", "-n", "1234", "-c", "50", "-d", "30s"]);
        assert_eq!((status, number(&result, "/requests")), (Some(0), 1_234));
    }

    /// A counter of `/proc/net/snmp`, as a server of `--serve` left it when it was stopped.
    fn tcp_counter(snmp: &str, name: &str) -> u64 {
        let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
        let at = names.split(' ').position(|one| one == name).unwrap();
        values.split(' ').nth(at).unwrap().parse().unwrap()
    }

    #[test]
    #[ignore = "needs root"]
    fn our_own_short_connections_use_their_ports_again_and_nobody_is_reset() {
        let site = Site::new("ports");
        let snmp = site.directory.join("snmp");
        // One address has 64,512 ports: they come around while the server has the first ones in TIME_WAIT.
        let server = format!(
            "trap 'kill $!; wait; cat /proc/net/snmp > {}; exit 0' TERM; {} & wait",
            snmp.display(),
            site.server()
        );
        let output = lab(&[
            "web",
            "http://198.18.1.2/a.bin",
            "--part",
            "0-9",
            "--client",
            "own",
            "-c",
            "100",
            "-n",
            "140000",
            "-d",
            "100s",
            "--source",
            "198.18.9.1",
            "--json",
            "--serve",
            &server,
        ]);
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((number(&result, "/requests"), number(&result, "/failed")), (140_000, 0), "{result}");
        let snmp = fs::read_to_string(snmp).unwrap();
        assert!(tcp_counter(&snmp, "PassiveOpens") >= 140_000, "{snmp}");
        assert_eq!(tcp_counter(&snmp, "EstabResets"), 0, "{snmp}");
        // Before it listened, the lab may have asked once or twice whether it does.
        assert!(tcp_counter(&snmp, "OutRsts") < 10, "{snmp}");
    }

    #[test]
    #[ignore = "needs root"]
    fn twenty_thousand_connections_are_open_at_once() {
        let site = Site::new("many");
        fs::write(
            site.directory.join("nginx.conf"),
            fs::read_to_string(site.directory.join("nginx.conf"))
                .unwrap()
                .replace("worker_processes 1", "worker_processes 2; worker_rlimit_nofile 19000")
                .replace("worker_connections 4096", "worker_connections 18000")
                .replace("listen 80;", "listen 80 reuseport backlog=4096;"),
        )
        .unwrap();
        let (status, result) = site.load(&[
            "load",
            "http://198.18.1.2/a.bin",
            "-c",
            "20000",
            "--think",
            "1s",
            "--part",
            "0-999",
            "-d",
            "4s",
            "--ramp",
            "5s",
            "--warm-up",
            "3s",
            "--timeout",
            "30s",
        ]);
        assert_eq!(status, Some(0), "{result}");
        assert!(
            number(&result, "/connections_before") + number(&result, "/connections") >= 20_000,
            "{result}"
        );
        assert!(number(&result, "/requests") >= 20_000, "{result}");
    }

    /// Processes whose command line has this word in it.
    fn processes_with(word: &str) -> usize {
        let of = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let all = fs::read_dir("/proc").unwrap().flatten().map(of);
        all.filter(|line| String::from_utf8_lossy(line).contains(word)).count()
    }

    fn soon(what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < Duration::from_secs(15), "{what}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn nothing_is_left_however_a_run_ends() {
        for signal in ["INT", "TERM", "KILL"] {
            let site = Site::new(&format!("left-{signal}"));
            let server = site.server();
            let mut child = Command::new(LAB)
                .args(["load", "http://198.18.1.2/a.bin", "-d", "60s", "--serve", &server])
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let word = site.directory.display().to_string();
            soon("the server starts", || processes_with(&word) > 3);
            let id = child.id().to_string();
            assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
            if signal == "INT" {
                // On a terminal Ctrl-C reaches everybody in the foreground; here only the first one was told.
                assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
            }
            child.wait().unwrap();
            soon(&format!("after SIG{signal} everybody is gone"), || processes_with(&word) == 0);
            let devices = fs::read_to_string("/proc/net/dev").unwrap();
            assert!(!devices.contains("near") && !devices.contains("far"), "{devices}");
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn a_server_that_does_not_start_has_the_last_word() {
        let output = lab(&["load", "http://198.18.1.2/", "--serve", "echo the port is taken >&2; exit 3"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2));
        assert!(said.contains("the port is taken") && said.contains("exit status: 3"), "{said}");
    }
}
