//! `openssl s_client`: TLS by hand, typed at a running connection.

use crate::harness::process::Running;
use crate::harness::{Process, World, assert_same, eventually};
use core::time::Duration;
use std::path::Path;

/// A connection whose commands (`K`, `k`, `R`) and requests are typed.
struct Client {
    running: Running,
}

impl Client {
    fn connect(address: &str, arguments: &[&str]) -> Self {
        let running = Process::new("openssl").args(["s_client", "-connect", address]).args(arguments).start();
        let client = Self { running };
        // Tickets and what is said about them come first, so that they do not stand within a body.
        client.sees("Verify return code");
        std::thread::sleep(Duration::from_millis(300));
        client
    }

    fn sees(&self, words: &str) {
        eventually(&format!("s_client says {words:?}"), || {
            String::from_utf8_lossy(&self.running.stdout()).contains(words)
                || self.running.stderr().contains(words)
        });
    }

    /// A command stands alone in one read.
    fn command(&mut self, letter: &str) {
        self.running.write(format!("{letter}\n").as_bytes());
        std::thread::sleep(Duration::from_millis(200));
    }

    /// A GET, and the body of its response found in what s_client prints.
    fn get(&mut self, name: &str, length: usize) -> Vec<u8> {
        let from = self.running.stdout().len();
        self.running.write(format!("GET /{name} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes());
        let mut body = Vec::new();
        eventually(&format!("all of {name} arrives"), || {
            let stdout = self.running.stdout();
            let printed = &stdout[from..];
            let Some(head) = find(printed, b"HTTP/1.1 200 ") else { return false };
            let Some(end) = find(&printed[head..], b"\r\n\r\n") else { return false };
            let start = head + end + 4;
            if printed.len() < start + length {
                return false;
            }
            body = printed[start..start + length].to_vec();
            true
        });
        body
    }
}

#[test]
#[ignore = "needs root"]
fn keys_are_updated_by_either_request_while_files_cross() {
    let world = World::new();
    let mut client = Client::connect(&world.server.secure(), &["-tls1_3"]);
    let file = world.files.read("300000.bin");
    assert_same("before any update", &client.get("300000.bin", file.len()), &file);
    // `k` changes the client's keys; `K` asks the server to change its own too.
    for (round, letter) in ["k", "K", "K", "k", "K"].iter().enumerate() {
        client.command(letter);
        assert_same(
            &format!("after update {round} ({letter})"),
            &client.get("300000.bin", file.len()),
            &file,
        );
    }
    let said = client.running.stderr();
    assert_eq!(said.matches("KEYUPDATE").count(), 5, "{said}");
}

#[test]
#[ignore = "needs root"]
fn a_tls_1_3_ticket_resumes_a_session() {
    let world = World::new();
    let ticket = world.files.beside("session.pem");
    let mut first = Client::connect(&world.server.secure(), &["-tls1_3", "-sess_out", text(&ticket)]);
    let file = world.files.read("4096.bin");
    assert_same("the first session", &first.get("4096.bin", file.len()), &file);
    first.command("Q");
    first.running.wait();
    let mut second = Client::connect(&world.server.secure(), &["-tls1_3", "-sess_in", text(&ticket)]);
    second.sees("Reused, TLSv1.3");
    assert_same("the resumed session", &second.get("4096.bin", file.len()), &file);
}

#[test]
#[ignore = "needs root"]
fn a_tls_1_2_session_is_resumed_five_times() {
    let world = World::new();
    let client = Client::connect(&world.server.secure(), &["-tls1_2", "-reconnect"]);
    eventually("five resumptions", || {
        let printed = client.running.stdout();
        String::from_utf8_lossy(&printed).matches("Reused, TLSv1.2").count() == 5
    });
}

#[test]
#[ignore = "needs root"]
fn a_ticket_of_one_worker_resumes_at_another() {
    let world = World::with(&["--workers", "2"]);
    let ticket = world.files.beside("session.pem");
    Client::connect(&world.server.secure(), &["-tls1_3", "-sess_out", text(&ticket)]).command("Q");
    eventually("the ticket is written", || ticket.exists());
    // The kernel spreads connections over queues by a hash of their ports: some of these meet the other worker.
    for _ in 0..8 {
        Client::connect(&world.server.secure(), &["-tls1_3", "-sess_in", text(&ticket)])
            .sees("Reused, TLSv1.3");
    }
}

#[test]
#[ignore = "needs root"]
fn the_end_is_announced_by_close_notify() {
    let world = World::new();
    for version in ["-tls1_3", "-tls1_2"] {
        let mut client = Client::connect(&world.server.secure(), &[version]);
        client.running.write(b"GET /1.bin HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        let output = client.running.wait();
        // OpenSSL 3 calls an end without close_notify an error.
        assert!(output.status.success(), "{version}: {output:?}");
        assert!(!output.stderr.contains("unexpected eof"), "{version}: {output:?}");
        assert!(output.stdout_text().contains("closed"), "{version}: {output:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn renegotiation_is_refused() {
    let world = World::new();
    let mut client = Client::connect(&world.server.secure(), &["-tls1_2"]);
    client.command("R");
    client.running.close_stdin();
    let output = client.running.wait();
    assert!(output.stderr.contains("RENEGOTIATING"), "{output:?}");
    let refused = ["no renegotiation", "unexpected message", "handshake failure"];
    assert!(refused.iter().any(|words| output.stderr.contains(words)), "{output:?}");
}

#[test]
#[ignore = "needs root"]
fn old_versions_and_weak_suites_are_refused() {
    let world = World::new();
    for arguments in [
        &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"][..],
        &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:AES128-SHA"],
    ] {
        let output = Process::new("openssl")
            .args(["s_client", "-connect", &world.server.secure()])
            .args(arguments)
            .run();
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        assert!(output.stderr.contains("alert"), "refused with an alert: {output:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn http_1_1_is_chosen_by_alpn() {
    let world = World::new();
    let client = Client::connect(&world.server.secure(), &["-alpn", "h2,http/1.1"]);
    client.sees("ALPN protocol: http/1.1");
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("our own paths are text")
}
