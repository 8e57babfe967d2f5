//! Three namespaces, two cables, and processes with an end.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use vnet::{RawKind, RawQueue};

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
pub(crate) const PORT: u16 = 7_000;

/// Longer than anything here takes on a slow machine; what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Numbers the worlds of one test program.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The namespaces, gone with it.
#[derive(Debug)]
pub(crate) struct World {
    name: String,
}

impl World {
    /// Two cables that end in the middle, with nothing between them yet.
    pub(crate) fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let world = Self { name: format!("mb-{}-{number}", std::process::id()) };
        for who in ["client", "middle", "server"] {
            run(Command::new("ip").args(["netns", "add", &world.space(who)]));
        }
        world.cable("m0", "client", "c0", CLIENT);
        world.cable("m1", "server", "s0", SERVER);
        world
    }

    fn cable(&self, ours: &str, who: &str, theirs: &str, address: Ipv4Addr) {
        let there = self.space(who);
        let queues = ["numtxqueues", "2", "numrxqueues", "2"];
        let pair = [&["link", "add", ours][..], &queues, &["type", "veth", "peer", "name", theirs], &queues];
        self.ip("middle", &[&pair.concat()[..], &["netns", &there]].concat());
        self.ip("middle", &["link", "set", ours, "up"]);
        self.ip(who, &["address", "add", &format!("{address}/24"), "dev", theirs]);
        self.ip(who, &["link", "set", theirs, "up"]);
    }

    /// `ip` in one of the namespaces.
    pub(crate) fn ip(&self, who: &str, arguments: &[&str]) {
        run(Command::new("ip").args(["-n", &self.space(who)]).args(arguments));
    }

    /// A program in one of the namespaces.
    pub(crate) fn command(&self, who: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.space(who), program]);
        command
    }

    /// The middlebox between the cables, ready.
    pub(crate) fn middlebox(&self, arguments: &[&str]) -> Middlebox {
        self.middlebox_between("m0", "m1", arguments)
    }

    pub(crate) fn middlebox_between(&self, client: &str, server: &str, arguments: &[&str]) -> Middlebox {
        let mut command = self.command("middle", env!("CARGO_BIN_EXE_middlebox"));
        command.args(["--client", client, "--server", server]).args(arguments);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ip can be started");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("our pipe");
        let middlebox = Middlebox { child, output };
        if !line.contains("forwarding") {
            panic!("it is not ready: {line:?}, {:?}", middlebox.end());
        }
        middlebox
    }

    /// Runs `what` on a thread that lives in one of the namespaces; the sockets it opens stay there.
    pub(crate) fn inside<T: Send>(&self, who: &str, what: impl FnOnce() -> T + Send) -> T {
        let there = File::open(format!("/run/netns/{}", self.space(who))).expect("the namespace");
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("needs root");
                what()
            });
            thread.join().expect("it does not panic")
        })
    }

    /// A listening socket of the server's.
    pub(crate) fn listen(&self) -> TcpListener {
        self.inside("server", || TcpListener::bind((SERVER, PORT)).expect("a free port"))
    }

    /// A listening socket of the server's at another of its addresses.
    pub(crate) fn listen_at(&self, server: IpAddr) -> TcpListener {
        self.inside("server", || TcpListener::bind((server, PORT)).expect("a free port"))
    }

    /// A packet socket on one of the ends' devices.
    pub(crate) fn socket(&self, who: &str, device: &str) -> RawQueue {
        let mut queues = self.inside(who, || link_packet::sockets(device, 1)).expect("needs root");
        RawQueue::open(queues.pop().expect("one").into(), RawKind::Socket).expect("a packet socket")
    }

    /// A connection of the client's.
    fn connect_to(&self, server: IpAddr) -> TcpStream {
        let server = SocketAddr::from((server, PORT));
        let stream = self.inside("client", || TcpStream::connect_timeout(&server, PATIENCE));
        patient(stream.expect("the server listens"))
    }

    /// A connection, from both ends: the client's and the server's.
    pub(crate) fn pair(&self, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let client = self.connect_to(listener.local_addr().expect("a socket").ip());
        (client, patient(listener.accept().expect("a connection").0))
    }

    fn space(&self, who: &str) -> String {
        format!("{}-{who}", self.name)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for who in ["client", "middle", "server"] {
            let _ = Command::new("ip").args(["netns", "delete", &self.space(who)]).status();
        }
    }
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
    stream
}

/// The running program.
#[derive(Debug)]
pub(crate) struct Middlebox {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Middlebox {
    /// Processor time it has used so far.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(self.child.id())
    }

    /// Ctrl-C, and the totals.
    pub(crate) fn interrupt(mut self) -> Totals {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("our pipe");
        assert_eq!(self.child.wait().expect("our child").code(), Some(0), "{text}");
        Totals(text)
    }
}

impl Middlebox {
    /// It ends by itself: its status, and what it said on standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut said).expect("our pipe");
        (self.child.wait().expect("our child").code(), said)
    }
}

impl Drop for Middlebox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the program printed at its end.
#[derive(Debug)]
pub(crate) struct Totals(pub(crate) String);

impl Totals {
    /// The numbers of a row: to the server and to the client.
    pub(crate) fn row(&self, name: &str) -> [u64; 2] {
        let row = self.0.lines().find_map(|line| line.strip_prefix(&format!("{name:<18} ")));
        let mut numbers =
            row.expect("a row").split_whitespace().map(|number| number.parse().expect("a number"));
        [numbers.next().expect("two"), numbers.next().expect("two")]
    }
}

/// Sends `bytes` on one connection and compares what arrives with it.
pub(crate) fn transfer(mut from: TcpStream, mut to: TcpStream, bytes: &[u8]) {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            from.write_all(bytes).expect("the peer reads");
        });
        let mut received = Vec::with_capacity(bytes.len());
        to.read_to_end(&mut received).expect("the peer sends");
        assert_eq!(received.len(), bytes.len());
        assert!(received == bytes, "every byte in its place");
    });
}

/// Bytes that repeat nowhere near.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let next = core::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    next.take(len).collect()
}

/// Processor time of a process.
pub(crate) fn cpu_of(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The name may hold anything, parentheses included; fields are counted from behind it.
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks: u64 = [11, 12].iter().map(|index| fields[*index].parse::<u64>().expect("ticks")).sum();
    Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
}

fn run(command: &mut Command) {
    let output = command.output().expect("ip can be started");
    assert!(output.status.success(), "{command:?}: {output:?}");
}
