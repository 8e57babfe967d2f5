//! What an idle TLS connection costs: opened by the model client and rustls, one after the other, then left alone.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]
#![expect(clippy::print_stderr, reason = "the figure is the point")]

mod heap;

use clock::Instant;
use core::net::SocketAddr;
use core::time::Duration;
use rustls::{ClientConfig, ClientConnection};
use sim::address;
use sim::client::model::{Manners, ModelTcp};
use sim::client::script::{Request, path};
use sim::client::visitor::SECURE_PORT;
use sim::client::{Phase, Transport};
use sim::content::Content;
use sim::network::Frame;
use sim::packet::Segment;
use sim::provider::{Identity, SERVER_NAME, SUITES_12, SUITES_13, client_config};
use sim::random::Seed;
use sim::server::{Production, Server};
use sim::setup::{ROOT, Setup, disk_object, object_len};
use sim::time::SimClock;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

/// What the issue asks for.
const BYTES_MAX: usize = 1_024;

/// A server and a time; clients come and go.
struct Bench {
    clock: SimClock,
    server: Production,
    /// The heap before there was a server.
    before: usize,
    opened: u32,
}

impl Bench {
    fn new(connections: u32) -> Self {
        let seed = Seed(1);
        let clock = SimClock::new();
        let identity = Identity::new();
        let mut setup = Setup::ordinary();
        setup.config.connections_max = connections;
        // Nobody is sent away while the others come.
        setup.settings.idle_timeout_ms = 24 * 60 * 60 * 1_000;
        setup.settings.connections_max = connections;
        let before = heap::allocated();
        let mut server = setup.server(seed, &clock, &identity);
        let object = disk_object(Content::of(0), object_len(0));
        server.engine_mut().disk_mut().insert(ROOT, path(0), object);
        Self { clock, server, before, opened: 0 }
    }

    /// Opens a connection, asks for a byte, and leaves without a word.
    fn open(&mut self, tls: &Arc<ClientConfig>) {
        let index = self.opened;
        self.opened += 1;
        let local = (address::mac(index), address::host(index, false, 40_000));
        let server = (address::SERVER_MAC, SocketAddr::new(address::server(false), 0));
        let dice = Seed(2).dice("tcp", u64::from(index));
        let mut tcp = ModelTcp::new(local, server, Manners::ordinary(), dice);
        let name = SERVER_NAME.try_into().expect("a DNS name");
        let mut tls = ClientConnection::new(Arc::clone(tls), name).expect("the configuration is complete");
        tls.writer().write_all(&Request::get(1, 1).emit(false)).expect("a request fits");
        tcp.open(self.now(), SECURE_PORT);
        let mut body = Vec::new();
        // The marker's first byte is the object's only one.
        while !body.ends_with(b"\r\n\r\n\x01") {
            self.exchange(&mut tcp);
            let mut arrived = Vec::new();
            tcp.receive(self.now(), usize::MAX, &mut arrived);
            let mut input = &arrived[..];
            while !input.is_empty() {
                tls.read_tls(&mut input).expect("rustls takes records");
                tls.process_new_packets().expect("the server speaks TLS");
                let _ = tls.reader().read_to_end(&mut body);
            }
            let mut out = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut out).expect("a vector takes everything");
            }
            if tcp.phase() == Phase::Open {
                tcp.send(&out);
            } else {
                assert_eq!(tcp.phase(), Phase::Opening, "connection {index}");
                // rustls has said its first words before TCP is open.
                if !out.is_empty() {
                    tcp.send(&out);
                }
            }
        }
        // Everything is acknowledged.
        self.pass(Duration::from_millis(50));
        self.exchange(&mut tcp);
        assert_eq!(self.server.take_records().len(), 1);
    }

    fn now(&self) -> Instant {
        self.clock.instant()
    }

    /// What both have to say now, and half a millisecond.
    fn exchange(&mut self, tcp: &mut ModelTcp) {
        let mut frames: Vec<Frame> = Vec::new();
        tcp.poll(self.now(), &mut frames);
        for frame in frames.drain(..) {
            self.server.on_frame(&frame);
        }
        self.server.turn(self.now(), &mut frames);
        for frame in &frames {
            tcp.on_frame(self.now(), frame);
        }
        self.pass(Duration::from_micros(500));
    }

    /// Lets time pass; nobody else says anything.
    fn pass(&mut self, time: Duration) {
        let end = self.now() + time;
        while self.server.deadline() < end {
            self.clock.advance(self.server.deadline().max(self.now()));
            let mut frames = Vec::new();
            self.server.turn(self.now(), &mut frames);
            assert!(
                frames.iter().all(|frame| Segment::parse(frame).is_err() || frame.len() < 1_514),
                "data is sent to a client that has left"
            );
        }
        self.clock.advance(end);
        self.server.turn(end, &mut Vec::new());
    }

    /// Bytes of heap since there is a server.
    fn bytes(&self) -> usize {
        heap::allocated() - self.before
    }
}

/// What idle connections cost, in bytes of heap each.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// All of the server, its tables for so many included.
    altogether: usize,
    /// The second half of the connections: the tables were there before.
    marginal: usize,
}

/// Opens so many, TLS 1.3 and 1.2 in turn, and waits until the server has given back what only a transfer needs.
fn idle_connections(count: u32) -> Cost {
    let mut bench = Bench::new(count);
    let identity = Identity::new();
    let half = |bench: &mut Bench| {
        // The clients' side, and the tickets it remembers, are gone before the heap is looked at.
        let configs: Vec<Arc<ClientConfig>> = (0..)
            .zip([SUITES_13, SUITES_12].concat())
            .map(|(index, suite)| {
                let dice = Seed(3).dice("tls", index);
                Arc::new(client_config(dice, bench.clock.clone(), &identity, suite))
            })
            .collect();
        for index in 0..count / 2 {
            bench.open(&configs[index as usize % configs.len()]);
        }
        drop(configs);
        bench.pass(Duration::from_secs(5));
        bench.bytes()
    };
    let first = half(&mut bench);
    let all = half(&mut bench);
    let vitals = bench.server.vitals();
    assert_eq!((vitals.connections, vitals.frames_large, vitals.frames_small), (count, 0, 0));
    let cost =
        Cost { altogether: all / count as usize, marginal: (all - first) / (count - count / 2) as usize };
    eprintln!("{count} idle TLS connections, bytes of heap each, C's included: {cost:?}");
    cost
}

/// 100,000 idle connections that woke up once a second would keep a core busy.
#[test]
fn an_idle_connection_wakes_nobody() {
    let mut bench = Bench::new(10);
    let dice = Seed(3).dice("tls", 0);
    let tls = Arc::new(client_config(dice, bench.clock.clone(), &Identity::new(), SUITES_13[0]));
    bench.open(&tls);
    bench.pass(Duration::from_secs(10));
    let turns = bench.server.engine().counters().turns_busy;
    bench.pass(Duration::from_secs(100));
    let woken = bench.server.engine().counters().turns_busy - turns;
    assert!(
        woken <= 1,
        "the server woke up {woken} times in 100 s: {:?}",
        bench.server.engine().connections(1)
    );
}

/// Few enough for a debug build. The server's fixed tables weigh more on few connections.
#[test]
fn two_thousand_idle_tls_connections() {
    let cost = idle_connections(2_000);
    assert!(cost.marginal <= BYTES_MAX, "{cost:?}");
}

#[test]
#[ignore = "takes long"]
fn hundred_thousand_idle_tls_connections() {
    let cost = idle_connections(100_000);
    assert!(cost.altogether <= BYTES_MAX, "{cost:?}");
}
