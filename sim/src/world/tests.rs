//! The world without the engine: an independent server (smoltcp, rustls, fifty lines of HTTP) behind the same link.
//!
//! What complains here is wrong in the world, its clients or its checkers, not in the server under test.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::net::IpAddr;
use rustls::{ServerConfig, ServerConnection};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device as Phy, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};
use std::io::{Read as _, Write as _};

use super::*;
use crate::address;
use crate::client::Transport;
use crate::client::model::{Manners, ModelTcp, WindowPlan};
use crate::client::script::{Ending, Request, Visit};
use crate::client::smol::{SmolConfig, SmolTcp};
use crate::client::visitor::{PLAIN_PORT, SECURE_PORT, Visitor};
use crate::content::Content;
use crate::network::{Corrupt, Duplicate, Loss, Reorder, Wire};
use crate::provider::{Identity, SUITES_12, SUITES_13, client_config, server_config};
use crate::random::{PPM, Seed};
use crate::server::Vitals;

/// The length of object `index`.
fn len(object: u32) -> u64 {
    [0, 1, 1_000, 16_384, 100_001, 300_000][object as usize % 6]
}

/// An HTTP server on smoltcp.
struct SmolServer {
    queues: Queues,
    interface: Interface,
    sockets: SocketSet<'static>,
    sessions: BTreeMap<SocketHandle, Session>,
    tls: Arc<ServerConfig>,
    wakes: Instant,
    /// Lies about every so-manieth byte.
    lie: Option<usize>,
}

impl core::fmt::Debug for SmolServer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SmolServer")
    }
}

#[derive(Default)]
struct Session {
    port: u16,
    tls: Option<ServerConnection>,
    input: Vec<u8>,
    out: VecDeque<u8>,
    closes: bool,
    closed: bool,
}

impl SmolServer {
    fn new(seed: Seed, clock: SimClock) -> Self {
        let mut queues = Queues::default();
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(address::SERVER_MAC)));
        let mut interface = Interface::new(config, &mut queues, smoltcp::time::Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let v4 = IpCidr::new(IpAddr::V4(address::SERVER_V4).into(), address::PREFIX_V4);
            addresses.push(v4).unwrap();
        });
        let mut sockets = SocketSet::new(Vec::new());
        let mut sessions = BTreeMap::new();
        for port in [PLAIN_PORT, SECURE_PORT] {
            for _ in 0..12 {
                let buffers = || SocketBuffer::new(vec![0; 65_536]);
                let mut socket = Socket::new(buffers(), buffers());
                socket.set_nagle_enabled(false);
                socket.listen(port).unwrap();
                sessions.insert(sockets.add(socket), Session { port, ..Session::default() });
            }
        }
        let tls = Arc::new(server_config(seed, clock, &Identity::new()));
        Self { queues, interface, sockets, sessions, tls, wakes: Instant::EPOCH, lie: None }
    }

    fn serve(&mut self) {
        for (&handle, session) in &mut self.sessions {
            let socket = self.sockets.get_mut::<Socket<'_>>(handle);
            if matches!(socket.state(), State::Closed | State::TimeWait) {
                socket.abort();
                socket.listen(session.port).unwrap();
                *session = Session { port: session.port, ..Session::default() };
            }
            let mut arrived = Vec::new();
            while socket.can_recv() {
                let taken = socket.recv(|bytes| {
                    arrived.extend_from_slice(bytes);
                    (bytes.len(), bytes.len())
                });
                if taken.is_err() {
                    break;
                }
            }
            session.on_bytes(&arrived, &self.tls, self.lie);
            if !socket.may_recv() && socket.may_send() && socket.state() == State::CloseWait {
                session.closes = true;
            }
            while socket.can_send() && !session.out.is_empty() {
                let (front, _) = session.out.as_slices();
                let taken = socket.send_slice(front).unwrap();
                session.out.drain(..taken);
            }
            if session.closes && !session.closed {
                if let Some(tls) = &mut session.tls {
                    tls.send_close_notify();
                    session.drain_tls();
                }
                session.closed = true;
            }
            if session.closed && session.out.is_empty() {
                socket.close();
            }
        }
    }
}

impl Session {
    fn on_bytes(&mut self, mut bytes: &[u8], config: &Arc<ServerConfig>, lie: Option<usize>) {
        if self.port == PLAIN_PORT {
            self.input.extend_from_slice(bytes);
            self.answer(lie);
            return;
        }
        if bytes.is_empty() {
            return;
        }
        let tls =
            self.tls.get_or_insert_with(|| ServerConnection::new(Arc::clone(config)).expect("configured"));
        while !bytes.is_empty() {
            tls.read_tls(&mut bytes).unwrap();
            if tls.process_new_packets().is_err() {
                self.closes = true;
                break;
            }
            let _ = tls.reader().read_to_end(&mut self.input);
        }
        self.answer(lie);
        self.drain_tls();
    }

    fn drain_tls(&mut self) {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                let mut out = Vec::new();
                tls.write_tls(&mut out).unwrap();
                self.out.extend(out);
            }
        }
    }

    fn answer(&mut self, lie: Option<usize>) {
        while let Some(end) = memchr::memmem::find(&self.input, b"\r\n\r\n") {
            let head: Vec<u8> = self.input.drain(..end + 4).collect();
            let head = String::from_utf8(head).unwrap();
            let mut words = head.split_whitespace();
            let (method, target) = (words.next().unwrap(), words.next().unwrap());
            self.closes |= head.contains("Connection: close");
            let object = target
                .strip_prefix("/o/")
                .and_then(|name| name.strip_suffix(".m4s"))
                .and_then(|number| number.parse::<u32>().ok());
            let range = head.split_once("Range: bytes=").map(|(_, rest)| {
                let (start, rest) = rest.split_once('-').unwrap();
                let (last, _) = rest.split_once('\r').unwrap();
                start.parse::<u64>().unwrap()..last.parse::<u64>().unwrap() + 1
            });
            let (status, range) = match (object, range) {
                (None, _) => ("404 Not Found", 0..0),
                (Some(_), Some(range)) => ("206 Partial Content", range),
                (Some(object), None) => ("200 OK", 0..len(object)),
            };
            let mut response = format!(
                "HTTP/1.1 {status}\r\nDate: today\r\nContent-Length: {}\r\n\r\n",
                range.end - range.start
            )
            .into_bytes();
            if method != "HEAD" {
                let at = response.len();
                response.resize(at + usize::try_from(range.end - range.start).unwrap(), 0);
                Content::of(object.unwrap_or(0)).fill(range.start, &mut response[at..]);
                if let Some(byte) = lie.and_then(|every| response.get_mut(at + every)) {
                    *byte ^= 1;
                }
            }
            match &mut self.tls {
                None => self.out.extend(response),
                Some(tls) => {
                    for piece in response.chunks(16_384) {
                        tls.writer().write_all(piece).unwrap();
                        while tls.wants_write() {
                            let mut out = Vec::new();
                            tls.write_tls(&mut out).unwrap();
                            self.out.extend(out);
                        }
                    }
                }
            }
        }
    }
}

impl Server for SmolServer {
    fn on_frame(&mut self, frame: &[u8]) {
        self.queues.received.push_back(frame.to_vec());
    }

    fn turn(&mut self, now: Instant, out: &mut Vec<Frame>) {
        let at = smoltcp::time::Instant::from_micros(i64::try_from(now.as_micros()).unwrap());
        for _ in 0..3 {
            self.interface.poll(at, &mut self.queues, &mut self.sockets);
            for frame in core::mem::take(&mut self.queues.sent) {
                // The model client knows no ARP: everybody is where the plan says.
                if frame[12..14] == [8, 6] && frame[21] == 1 {
                    let target = *frame[38..].first_chunk::<4>().unwrap();
                    let mac = address::mac(address::index_of(target.into()));
                    let mut reply = frame[..42].to_vec();
                    reply[..6].copy_from_slice(&frame[6..12]);
                    reply[6..12].copy_from_slice(&mac);
                    reply[21] = 2;
                    reply[22..28].copy_from_slice(&mac);
                    reply[28..32].copy_from_slice(&target);
                    reply[32..42].copy_from_slice(&frame[22..32]);
                    self.queues.received.push_back(reply);
                } else {
                    out.push(frame);
                }
            }
            self.serve();
        }
        let wakes = self.interface.poll_at(at, &self.sockets);
        self.wakes = wakes.map_or(Instant::NEVER, |wakes| {
            let micros = u64::try_from(wakes.total_micros()).unwrap();
            Instant::from_nanos(micros * 1_000).max(now + Duration::from_micros(10))
        });
    }

    fn deadline(&self) -> Instant {
        self.wakes
    }

    fn vitals(&self) -> Vitals {
        Vitals::default()
    }

    fn heal(&mut self, _: Instant) {}
}

#[derive(Default)]
struct Queues {
    received: VecDeque<Frame>,
    sent: Vec<Frame>,
}

impl Phy for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: smoltcp::time::Instant) -> Option<(Received, Sending<'_>)> {
        Some((Received(self.received.pop_front()?), Sending(&mut self.sent)))
    }

    fn transmit(&mut self, _: smoltcp::time::Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1_514;
        capabilities
    }
}

struct Received(Frame);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Sending<'a>(&'a mut Vec<Frame>);

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}

fn path(ppm: u32, mut dice: Dice) -> Box<dyn Device> {
    let inner = Wire { delay: Duration::from_millis(3) };
    let hold_max = Duration::from_millis(10);
    let inner = Reorder { inner: Box::new(inner), ppm, hold_max, dice: dice.fork(), reordered: 0 };
    let later_max = Duration::from_millis(3);
    let inner = Duplicate { inner: Box::new(inner), ppm, later_max, dice: dice.fork(), duplicated: 0 };
    let inner = Corrupt { inner: Box::new(inner), ppm, dice: dice.fork(), corrupted: 0 };
    Box::new(Loss { inner: Box::new(inner), ppm, dice: dice.fork(), lost: 0 })
}

fn script(host: u32, clean: bool) -> Vec<Visit> {
    let secure = !host.is_multiple_of(3);
    let get = |object| Request::get(object, len(object));
    let mut first = Visit::new(secure, vec![get(2), Request::head(5, len(5)), get(5), get(0)]);
    first.ending = if host.is_multiple_of(2) { Ending::Close } else { Ending::ServerCloses };
    first.key_updates = true;
    let missing = Request::answered_with("GET", "/nothing".to_owned(), 404);
    let mut second = Visit::new(secure, vec![get(1), Request::range(4, 777..55_555), missing, get(3)]);
    second.pipelined = true;
    second.after = Duration::from_millis(100);
    let mut third = Visit::new(secure, vec![get(4)]);
    if clean {
        // As a server in CLOSE-WAIT smoltcp 0.12 does not send lost data again.
        third.ending = Ending::EarlyFin;
    }
    third.trickle = Some((5, Duration::from_millis(10)));
    let mut fourth = Visit::new(secure, vec![get(5)]);
    fourth.ending = Ending::Abort(10_000);
    let mut fifth = Visit::new(secure, vec![get(5)]);
    // Nor does it probe a closed window when the update is lost.
    fifth.read_rate = clean.then_some(400_000);
    vec![first, second, third, fourth, fifth]
}

fn world(seed: u64, ppm: u32) -> World<SmolServer> {
    let seed = Seed(seed);
    let clock = SimClock::new();
    let server = SmolServer::new(seed, clock.clone());
    // smoltcp fills no counters, and probes closed windows with a byte.
    let checkers: Vec<Box<dyn Checker>> = vec![
        Box::new(crate::check::RepeatsItself::new(SECURE_PORT)),
        Box::new(crate::check::ShowsNoPlaintext::new(SECURE_PORT)),
    ];
    let turn_time = Duration::from_micros(5)..Duration::from_micros(50);
    let mut world = World::new(clock.clone(), server, checkers, turn_time, seed.dice("turns", 0));
    let identity = Identity::new();
    for host in 0..6 {
        let mut dice = seed.dice("host", u64::from(host));
        let suite = if host < 4 { SUITES_13[host as usize % 3] } else { SUITES_12[host as usize % 3] };
        let tls = Arc::new(client_config(dice.fork(), clock.clone(), &identity, suite));
        let mac = address::mac(host);
        let local = address::host(host, false, 40_000);
        let name = format!("host {host}");
        let up = path(ppm, dice.fork());
        let down = path(ppm, dice.fork());
        let visitor: Box<dyn Host> = if host.is_multiple_of(2) {
            let mut manners = Manners::odd(&mut dice, false);
            // smoltcp does not probe closed windows.
            manners.window = WindowPlan::Steady;
            manners.window_updates = true;
            let server = (address::SERVER_MAC, core::net::SocketAddr::new(address::server(false), 0));
            let tcp = ModelTcp::new((mac, local), server, manners, dice.fork());
            visitor(name, tcp, tls, script(host, ppm == 0), dice)
        } else {
            let config = SmolConfig { receive_buffer: 60_000, mtu: 1_500, prefix_len: address::PREFIX_V4 };
            let tcp = SmolTcp::new(mac, local, address::server(false), config, dice.fork());
            visitor(name, tcp, tls, script(host, ppm == 0), dice)
        };
        world.add(mac, visitor, up, down);
    }
    world
}

fn visitor<T: Transport + 'static>(
    name: String,
    transport: T,
    tls: Arc<rustls::ClientConfig>,
    script: Vec<Visit>,
    dice: Dice,
) -> Box<dyn Host> {
    Box::new(Visitor::new(name, transport, tls, script, dice))
}

const MINUTE: Instant = Instant::from_nanos(60_000_000_000);

#[track_caller]
fn expect_done(world: &mut World<SmolServer>, limit: Instant) {
    let stop = world.run_until_done(limit);
    assert!(!world.has_failed(), "{}", world.breaches()[0]);
    let reports: Vec<_> = world.hosts().filter(|host| !host.report().done).collect();
    assert_eq!(stop, Stop::Done, "{:#?}", reports.first());
}

#[test]
fn everybody_gets_everything_over_clean_paths() {
    let mut world = world(1, 0);
    expect_done(&mut world, MINUTE);
    let tally = world.tally();
    assert_eq!(
        tally.mishaps,
        0,
        "{:?}",
        world.hosts().map(|host| host.report().mishaps.to_vec()).collect::<Vec<_>>()
    );
    assert!(tally.handshakes >= 4 * 5 && tally.resumed >= 4 * 4, "{tally:?}");
    assert!(tally.body_bytes > 6 * 700_000, "{tally:?}");
}

#[test]
fn everybody_gets_everything_over_faulty_paths() {
    let mut world = world(2, PPM / 100);
    expect_done(&mut world, MINUTE + Duration::from_secs(600));
    assert!(world.faults().total() > 20);
}

#[test]
fn two_runs_of_a_seed_are_one_run() {
    let run = |seed| {
        let mut world = world(seed, PPM / 100);
        world.run_until(MINUTE);
        (world.trace().hash(), world.tally(), world.events_handled())
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).0, run(4).0);
}

#[test]
fn a_lying_server_is_caught() {
    let mut world = world(5, 0);
    world.server_mut().lie = Some(500);
    assert_eq!(world.run_until_done(MINUTE), Stop::Breach);
    assert_eq!(world.breaches()[0].law, "EveryByteIsRight");
}
