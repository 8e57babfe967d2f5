//! Storms, while real clients want to be served: half-open connections and resets from addresses that are nobody's, and
//! readers that do not read.
//!
//! ```text
//!   forger:  SYN, RST from 198.18.x.y ─┐
//!   clients: a connection a request ───┴─▶ kernel ─▶ TAP ─▶ the server
//! ```

use crate::harness::http::{Connection, request};
use crate::harness::{World, assert_same, eventually};
use crate::lifecycle::admin;
use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
use std::io::Read as _;

use std::thread::sleep;

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
/// Segments of a storm that leave together, and the pause behind them: 15,000 a second, which leaves the device's queue
/// and a machine of two cores room for real clients.
const GUST: u32 = 75;
const LULL: Duration = Duration::from_millis(5);
/// Segments of each kind that a guesser sends.
const GUESSES: u32 = 8_000;
/// More than a storm may cost: as many TCBs as there may be half-open connections are a fraction of it.
const MEMORY_MAX: u64 = 32 << 20;

/// Says what it likes in anybody's name.
struct Forger {
    socket: OwnedFd,
    server: SocketAddrV4,
    /// Drawn from for addresses, ports and numbers.
    state: u64,
}

impl Forger {
    fn new(address: &str, seed: u64) -> Self {
        let SocketAddr::V4(server) = address.parse().expect("an address") else { panic!("IPv4") };
        let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW)).expect("needs root");
        Self { socket, server, state: seed }
    }

    /// Marsaglia's xorshift.
    fn draw(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// An address that is nobody's (RFC 2544), and a port.
    fn nobody(&mut self) -> SocketAddrV4 {
        let [a, b, c, high, low, ..] = self.draw().to_be_bytes();
        SocketAddrV4::new(Ipv4Addr::new(198, 18 + a % 2, b, c), u16::from_be_bytes([high | 0x80, low]))
    }

    /// One segment without data, with a number that was guessed.
    fn send(&mut self, from: SocketAddrV4, flags: u8) {
        let number = self.draw().to_be_bytes();
        let (source, destination) = (from.ip().octets(), self.server.ip().octets());
        // The kernel fills in length, identification and checksum of the IP header.
        let mut packet = [0; 40];
        packet[..12].copy_from_slice(&[0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
        packet[12..16].copy_from_slice(&source);
        packet[16..20].copy_from_slice(&destination);
        packet[20..22].copy_from_slice(&from.port().to_be_bytes());
        packet[22..24].copy_from_slice(&self.server.port().to_be_bytes());
        packet[24..28].copy_from_slice(&number[..4]);
        packet[32..36].copy_from_slice(&[5 << 4, flags, 0xff, 0xff]);
        let pseudo = [source, destination, [0, 6, 0, 20]].concat();
        let words = pseudo.chunks(2).chain(packet[20..].chunks(2));
        let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        let sum = !u16::try_from(sum).expect("16 bits");
        packet[36..38].copy_from_slice(&sum.to_be_bytes());
        // A full queue drops it, as a wire would.
        let _ = sendto(&self.socket, &packet, SendFlags::empty(), &self.server);
    }
}

/// A figure of the admin port's, of the only worker.
fn figure(name: &str) -> u64 {
    let (status, stats) = admin("/stats");
    assert_eq!(status, 200);
    let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
    stats["workers"][0][name].as_u64().unwrap_or_else(|| panic!("{name} is not in {stats}"))
}

/// Clients that come again and again until it is over, each time on a new connection; how often they were served.
fn serve_until(world: &World, over: &AtomicBool, name: &str) -> u64 {
    let expected = world.files.read(name);
    let served = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let response = Connection::open(&world.server.plain()).get(&format!("/{name}"), &[]);
                    assert_eq!(response.status, 200);
                    assert_same("during the storm", &response.body, &expected);
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    served.into_inner()
}

/// A server that waits at its end for nobody long: what is half open then would be waited for.
fn calm_end() -> World {
    World::with(&["--drain-seconds", "2"])
}

#[test]
#[ignore = "needs root"]
fn a_storm_of_half_open_connections_keeps_no_client_from_its_answer() {
    const SYNS: u32 = 30_000;
    let mut world = calm_end();
    // What is made at first use is no part of what a storm costs.
    let over = AtomicBool::new(true);
    assert_eq!(serve_until(&world, &over, "16385.bin"), 0);
    assert_eq!(Connection::open(&world.server.plain()).get("/16385.bin", &[]).status, 200);
    let before = world.server.resident_bytes();
    over.store(false, Ordering::Relaxed);
    let served = std::thread::scope(|scope| {
        let storm = scope.spawn(|| {
            let mut forger = Forger::new(&world.server.plain(), 0x9e37_79b9_7f4a_7c15);
            for number in 0..SYNS {
                let from = forger.nobody();
                forger.send(from, SYN);
                if number % GUST == 0 {
                    sleep(LULL);
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        let served = serve_until(&world, &over, "16385.bin");
        storm.join().expect("no panic");
        served
    });
    assert!(served > 20, "{served} were served");
    // Beyond the half-open connections there may be, nothing is remembered; whoever is real comes back with a cookie.
    eventually("what there was no room for was answered with cookies", || {
        figure("syn_cookies_sent") > 10_000
    });
    assert!(figure("syn_cookies_accepted") > 0, "no client's connection was made of a cookie");
    assert!(figure("syns_accepted") >= 4_096, "{}", figure("syns_accepted"));
    let grown = world.server.resident_bytes().saturating_sub(before);
    assert!(grown < MEMORY_MAX, "{SYNS} SYNs cost {grown} bytes");
    let response = Connection::open(&world.server.plain()).get("/300000.bin", &[]);
    assert_same("afterwards", &response.body, &world.files.read("300000.bin"));
    world.server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn resets_that_are_guessed_end_no_download() {
    let world = calm_end();
    world.files.add("large.bin", 16 << 20);
    world.learns("large.bin");
    let mut connection = Connection::open(&world.server.plain());
    let SocketAddr::V4(ours) = connection.stream.local_addr().expect("it is connected") else {
        panic!("IPv4")
    };
    connection
        .write(request("GET", "/large.bin", &["Connection: close"]).as_bytes())
        .expect("the server reads");
    let over = AtomicBool::new(false);
    let answer = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut forger = Forger::new(&world.server.plain(), 0x2545_f491_4f6c_dd1d);
            for number in 0..GUESSES {
                // In the client's own name, and in others'. RFC 5961: what is not exactly next is at most asked about.
                forger.send(ours, RST);
                forger.send(ours, SYN);
                let from = forger.nobody();
                forger.send(from, RST);
                if number % (GUST / 3) == 0 {
                    sleep(LULL);
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        let (mut answer, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let count = connection.stream.read(&mut chunk).expect("the connection lives");
            if count == 0 {
                break;
            }
            answer.extend_from_slice(&chunk[..count]);
            // As slow as it takes for the guesses to fall into the download.
            if !over.load(Ordering::Relaxed) {
                sleep(Duration::from_millis(5));
            }
        }
        answer
    });
    let expected = world.files.read("large.bin");
    assert!(answer.starts_with(b"HTTP/1.1 200 "));
    assert_same("under resets", &answer[answer.len().saturating_sub(expected.len())..], &expected);
    world.server.interrupt().success();
}

#[test]
#[ignore = "needs root"]
fn readers_that_do_not_read_keep_nobody_waiting_and_get_every_byte_in_the_end() {
    const CROWD: usize = 200;
    let mut world = World::new();
    let (large, small) = (world.files.read("1048583.bin"), world.files.read("16385.bin"));
    assert_eq!(Connection::open(&world.server.plain()).get("/1048583.bin", &[]).status, 200);
    let before = world.server.resident_bytes();
    let mut crowd: Vec<Connection> = (0..CROWD).map(|_| Connection::open(&world.server.plain())).collect();
    for connection in &mut crowd {
        connection.write(request("GET", "/1048583.bin", &[]).as_bytes()).expect("the server reads");
    }
    sleep(Duration::from_secs(1));
    for _ in 0..50 {
        let response = Connection::open(&world.server.plain()).get("/16385.bin", &[]);
        assert_same("beside the crowd", &response.body, &small);
    }
    let grown = world.server.resident_bytes().saturating_sub(before);
    assert!(grown < MEMORY_MAX, "{CROWD} readers that do not read cost {grown} bytes");
    for (number, mut connection) in crowd.into_iter().enumerate() {
        let response = connection.response(false).expect("an answer");
        assert_same(&format!("reader {number}"), &response.body, &large);
    }
    world.server.interrupt().success();
}
