//! Beside the kernel, on the same device and at the same addresses: what is the kernel's goes on unharmed, whatever
//! becomes of us.
//!
//! ```text
//!   a shell's keystrokes, echoed ─┐
//!   a stream that fills the wire ─┼─▶ server0, 10.44.0.2 ─┬─▶ kernel
//!   ping ─────────────────────────┘                       │
//!   downloads ────────────────────────────────────────────┴─▶ atlas: started, loaded, killed, started again
//! ```

use crate::harness::content::bytes_of;
use crate::harness::process::Running;
use crate::harness::server::is_sandstorm;
use crate::harness::wire::{KERNEL_V4, KERNEL_V6, Link, Wire};
use crate::harness::{Library, PATIENCE, Process, Server, assert_same, eventually};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use rustix::process::Signal;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Instant;

/// Where a shell would be.
const SHELL: u16 = 22;
/// Where backups go.
const BULK: u16 = 873;
/// Between two keystrokes.
const KEYSTROKE: Duration = Duration::from_millis(5);
/// How long an echo may take. A lost packet costs a retransmission: that much, and no connection, may be harmed.
const ECHO_MAX: Duration = Duration::from_secs(2);

/// What goes on all the time, between the client and the far kernel.
struct Traffic {
    goes_on: Arc<AtomicBool>,
    keystrokes: Arc<AtomicU64>,
    bulk_bytes: Arc<AtomicU64>,
    slowest: JoinHandle<io::Result<Duration>>,
    bulk: JoinHandle<io::Result<()>>,
    ping: Running,
}

impl Traffic {
    fn begin(wire: &Wire) -> Self {
        let [shell, bulk] = [SHELL, BULK].map(|port| {
            wire.begin_there(|| TcpListener::bind((KERNEL_V4, port)).expect("nobody else is there"))
        });
        spawn(move || {
            let (mut stream, _) = shell.accept().expect("the client comes");
            let mut key = [0; 1];
            while let Ok(1) = stream.read(&mut key) {
                let _ = stream.write_all(&key);
            }
        });
        let goes_on = Arc::new(AtomicBool::new(true));
        let (keystrokes, bulk_bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let pattern = bytes_of("bulk", 1 << 16);

        let (stop, sent) = (Arc::clone(&goes_on), pattern.clone());
        spawn(move || {
            let (mut stream, _) = bulk.accept().expect("the client comes");
            while stop.load(Ordering::Relaxed) && stream.write_all(&sent).is_ok() {}
        });

        let open = |port| {
            let stream = TcpStream::connect((KERNEL_V4, port)).expect("the kernel accepts");
            stream.set_nodelay(true).expect("an option");
            stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            stream
        };
        let (mut stream, stop, count) = (open(SHELL), Arc::clone(&goes_on), Arc::clone(&keystrokes));
        let slowest = spawn(move || {
            let mut slowest = Duration::ZERO;
            while stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let key = [u8::try_from(count.load(Ordering::Relaxed) % 251).expect("below 256")];
                stream.write_all(&key)?;
                let mut echo = [0];
                stream.read_exact(&mut echo)?;
                if echo != key {
                    return Err(io::Error::other(format!("{key:?} was echoed as {echo:?}")));
                }
                slowest = slowest.max(begun.elapsed());
                count.fetch_add(1, Ordering::Relaxed);
                sleep(KEYSTROKE);
            }
            Ok(slowest)
        });
        let (mut stream, stop, count) = (open(BULK), Arc::clone(&goes_on), Arc::clone(&bulk_bytes));
        let bulk = spawn(move || {
            let mut chunk = vec![0; pattern.len()];
            while stop.load(Ordering::Relaxed) {
                stream.read_exact(&mut chunk)?;
                if chunk != pattern {
                    return Err(io::Error::other("the stream was changed on its way"));
                }
                count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                // A wire that is never quiet, and never so full that nothing else passes on two cores.
                sleep(Duration::from_millis(1));
            }
            Ok(())
        });
        let ping = Process::new("ping").args(["-i", "0.02", "-W", "1", KERNEL_V4]).start();
        Self { goes_on, keystrokes, bulk_bytes, slowest, bulk, ping }
    }

    /// All of it goes on: what was there before has grown by now.
    fn goes_on(&self, when: &str) {
        assert!(
            !self.slowest.is_finished() && !self.bulk.is_finished(),
            "a connection of the kernel's ended {when}"
        );
        let keys = self.keystrokes.load(Ordering::Relaxed);
        let bytes = self.bulk_bytes.load(Ordering::Relaxed);
        eventually(&format!("the kernel's own traffic goes on {when}"), || {
            self.keystrokes.load(Ordering::Relaxed) >= keys + 20
                && self.bulk_bytes.load(Ordering::Relaxed) >= bytes + (1 << 20)
        });
    }

    /// How many echoes of ping were lost.
    fn end(self) -> u64 {
        self.goes_on.store(false, Ordering::Relaxed);
        let slowest = self.slowest.join().expect("no panic").expect("the shell's connection lived");
        self.bulk.join().expect("no panic").expect("the stream's connection lived");
        assert!(slowest < ECHO_MAX, "an echo took {slowest:?}");
        self.ping.signal(Signal::INT);
        let text = self.ping.wait().stdout_text();
        let summary = text.lines().find(|line| line.contains("packets transmitted")).expect("a summary");
        let numbers: Vec<u64> = summary.split(' ').filter_map(|word| word.parse().ok()).collect();
        assert!(numbers[0] > 50, "{summary}");
        numbers[0] - numbers[1]
    }
}

/// Many downloads at once, byte for byte.
fn load(server: &Server, files: &Library) {
    let place = Library::empty();
    for base in [server.https(), server.http6()] {
        Process::new("curl")
            .args(["--disable", "--silent", "--show-error", "--insecure", "--fail", "--max-time", "55"])
            .args(["--parallel", "--parallel-immediate", "--parallel-max", "20", "--output"])
            .arg(place.root().join("#1"))
            .arg(format!("{base}/1048583.bin?copy=[1-20]"))
            .run()
            .success();
        for number in 1..=20 {
            let received = place.read(&number.to_string());
            assert_same(&format!("{base}, copy {number}"), &received, &files.read("1048583.bin"));
        }
    }
}

fn what_is_the_kernels_goes_on_whatever_becomes_of_us(link: Link) {
    let wire = Wire::new(1);
    let files = Library::new();
    // More than a client's kernel takes before its reader does.
    files.add("film.bin", 32 << 20);
    let traffic = Traffic::begin(&wire);
    traffic.goes_on("before we come");
    for round in 0..2 {
        let resets = wire.tcp_counter("OutRsts");
        let mut server = wire.serve_on(link, files.root());
        assert!(server.http().contains(KERNEL_V4) && server.http6().contains(KERNEL_V6));
        traffic.goes_on("after we came");
        load(&server, &files);
        traffic.goes_on("after a load");
        // Our ports are nobody else's, and the kernel says nothing for them: not even to the machine itself, whose
        // packets never reach the device.
        let local =
            wire.there("curl").args(["--silent", "--max-time", "1", &format!("http://{KERNEL_V4}/")]).run();
        assert_eq!(local.status.code(), Some(28), "a timeout, neither an answer nor a refusal: {local:?}");
        assert_eq!(wire.tcp_counter("OutRsts"), resets, "the kernel reset something of ours");
        // Killed in the middle of a download, without a chance to tidy up.
        let url = format!("{}/film.bin", server.http());
        let download = Process::new("curl").args(["--silent", "--limit-rate", "4M", &url]).start();
        sleep(Duration::from_millis(300));
        server.process().signal(Signal::KILL);
        let _ = server.wait();
        eventually("the program is gone", || !wire.has_program());
        traffic.goes_on(&format!("after we were killed for the {}. time", round + 1));
        // A client that only receives is never told: it is ended.
        drop(download);
    }
    let server = wire.serve_on(link, files.root());
    load(&server, &files);
    server.interrupt().success();
    traffic.goes_on("after we left");
    let lost = traffic.end();
    // None usually; attaching and detaching a program stops a veth device for a moment, six times here.
    assert!(lost <= 6, "{lost} echoes were lost");
}

#[test]
#[ignore = "needs root"]
fn what_is_the_kernels_goes_on_beside_af_xdp() {
    what_is_the_kernels_goes_on_whatever_becomes_of_us(Link::AfxdpShared);
}

#[test]
#[ignore = "needs root"]
fn what_is_the_kernels_goes_on_beside_a_packet_socket() {
    what_is_the_kernels_goes_on_whatever_becomes_of_us(Link::PacketShared);
}

#[test]
#[ignore = "needs root"]
fn a_port_that_the_kernel_serves_is_refused_with_the_name_of_who_has_it() {
    let wire = Wire::new(1);
    let files = Library::new();
    let _theirs = wire.begin_there(|| TcpListener::bind((KERNEL_V4, 80)).expect("nobody else is there"));
    let output = wire
        .there(crate::harness::server::binary())
        .arg("serve")
        .arg(files.root())
        .args(Link::AfxdpShared.arguments())
        .run();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let line = output.stderr.trim();
    let name = if is_sandstorm() { "sandstorm" } else { "atlas" };
    let us = format!("(process {})", std::process::id());
    assert!(
        line.starts_with(&format!("{name}: TCP port 10.44.0.2:80 is in use by ")) && line.contains(&us),
        "{line}"
    );
    assert!(!line.contains('\n'), "{line}");
    assert!(!wire.has_program());
}
