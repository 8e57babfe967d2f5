//! The others, as processes on the loopback address of this test's own network namespace; and ourselves.

use crate::zones::Zone;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use namestorm::catalogue::Catalogue;
use namestorm::hash::{Form, Key};
use namestorm::respond::{Request, Responder, Settings, Transport};
use namestorm::{load, zone};
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Nsd,
    Knot,
}

impl Who {
    const fn port(self) -> u16 {
        match self {
            Self::Nsd => 5_300,
            Self::Knot => 5_301,
        }
    }

    fn program(self) -> &'static str {
        match self {
            Self::Nsd => "/usr/sbin/nsd",
            Self::Knot => "/usr/sbin/knotd",
        }
    }

    /// What it is told: as little as can be of what we do not do either.
    fn configuration(self, at: &Path, zones: &[(String, String)]) -> String {
        let (at, port) = (at.display(), self.port());
        let mut config = match self {
            Self::Nsd => format!(
                "server:\n server-count: 1\n ip-address: 127.0.0.1@{port}\n username: \"\"\n chroot: \"\"\n \
                 zonesdir: \"{at}\"\n database: \"\"\n pidfile: \"{at}/pid\"\n xfrdfile: \"{at}/xfrd\"\n \
                 zonelistfile: \"{at}/list\"\n xfrdir: \"{at}\"\n minimal-responses: yes\n rrl-ratelimit: 0\n \
                 ipv4-edns-size: 1232\n tcp-timeout: 60\n\
                 remote-control:\n control-enable: no\n"
            ),
            Self::Knot => format!(
                "server:\n  listen: 127.0.0.1@{port}\n  rundir: {at}\n  udp-workers: 1\n  tcp-workers: 1\n  \
                 background-workers: 1\n  udp-max-payload: 1232\n  tcp-idle-timeout: 60\n\
                 database:\n  storage: {at}\n\
                 template:\n  - id: default\n    storage: {at}\n    journal-content: none\n    zonefile-sync: -1\n    \
                 semantic-checks: off\n\
                 zone:\n"
            ),
        };
        for (name, file) in zones {
            config.push_str(&match self {
                Self::Nsd => format!("zone:\n name: \"{name}\"\n zonefile: \"{file}\"\n"),
                Self::Knot => format!("  - domain: \"{name}\"\n    file: \"{file}\"\n"),
            });
        }
        config
    }
}

/// A directory that goes when the test does.
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("namestorm-field-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A peer that runs, stopped when the test ends.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) who: Who,
    child: Child,
    _directory: Directory,
    socket: UdpSocket,
    stream: Option<TcpStream>,
    id: u16,
}

impl Peer {
    pub(crate) fn start(who: Who, zones: &[Zone]) -> Self {
        let directory = Directory::new();
        let mut files = Vec::new();
        for (index, zone) in zones.iter().enumerate() {
            let file = format!("zone-{index}");
            std::fs::write(directory.0.join(&file), &zone.text).expect("a file");
            files.push((zone.name.clone(), file));
        }
        let config = directory.0.join("conf");
        std::fs::write(&config, who.configuration(&directory.0, &files)).expect("a file");
        let log = std::fs::File::create(directory.0.join("log")).expect("a file");
        let mut command = Command::new(who.program());
        if who == Who::Nsd {
            command.arg("-d");
        }
        let child = command
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}, of Debian's packages nsd and knot: {error}", who.program()));
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.connect((Ipv4Addr::LOCALHOST, who.port())).expect("a socket");
        let peer = Self { who, child, _directory: directory, socket, stream: None, id: 2 };
        peer.wait_for(&zones[0].name);
        peer
    }

    /// Until it answers from its zones, which Knot loads after it has begun to answer.
    fn wait_for(&self, zone: &str) {
        let name = dns::name::from_text(zone.as_bytes()).expect("a name");
        let probe = [&[0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &name, &[0, 6, 0, 1]].concat();
        for _ in 0..200 {
            self.socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
            if self.exchange(&probe).is_some_and(|answer| answer[3] & 15 == 0) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let log = std::fs::read_to_string(self._directory.0.join("log")).unwrap_or_default();
        panic!("{:?} does not answer for {zone}: {log}", self.who);
    }

    fn exchange(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.socket.send(message).ok()?;
        let mut room = vec![0; 65_535];
        let bytes = self.socket.recv(&mut room).ok()?;
        room.truncate(bytes);
        Some(room)
    }

    /// Its answer to a message that comes in a datagram. That there is none is known when the next question, which it
    /// surely answers, has its answer: it has one worker.
    pub(crate) fn over_udp(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.id = self.id.wrapping_add(1) | 1;
        let probe_id = self.id & !1;
        let mut sent = message.to_vec();
        if let Some(id) = sent.first_chunk_mut::<2>() {
            *id = self.id.to_be_bytes();
        }
        let probe = [&probe_id.to_be_bytes()[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 1]].concat();
        self.socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a socket");
        self.socket.send(&sent).expect("the loopback interface takes everything");
        self.socket.send(&probe).expect("the loopback interface takes everything");
        let mut answer = None;
        let mut room = vec![0; 65_535];
        loop {
            let bytes = self.socket.recv(&mut room).unwrap_or_else(|error| panic!("{:?}: {error}", self.who));
            if room[..2] == probe_id.to_be_bytes() {
                return answer;
            }
            if room[..2] == self.id.to_be_bytes() {
                answer = Some(room[..bytes].to_vec());
            }
        }
    }

    /// Its answer to a query that comes in a stream.
    pub(crate) fn over_tcp(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        for _ in 0..2 {
            if self.stream.is_none() {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.who.port()));
                let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()?;
                stream.set_nodelay(true).ok()?;
                stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
                self.stream = Some(stream);
            }
            if let Some(answer) = self.in_stream(message) {
                return Some(answer);
            }
            // It may have been closed since.
            self.stream = None;
        }
        None
    }

    fn in_stream(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let stream = self.stream.as_mut()?;
        let length = u16::try_from(message.len()).ok()?;
        stream.write_all(&[&length.to_be_bytes(), message].concat()).ok()?;
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SIGTERM, so that its own children end too.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

/// Ourselves, without a network.
#[derive(Debug)]
pub(crate) struct Ours {
    catalogue: Catalogue,
    responder: Responder,
}

impl Ours {
    pub(crate) fn start(zones: &[Zone]) -> Self {
        let key = Key::new(*b"a differing test");
        let built = zones.iter().map(|zone| {
            let apex = dns::name::from_text(zone.name.as_bytes()).expect("a name");
            let loaded = load::read_text(Path::new(&zone.name), zone.text.as_bytes(), &apex);
            let built = loaded.and_then(|loaded| zone::build(&apex, loaded, key, Form::Wire));
            Arc::new(built.unwrap_or_else(|error| panic!("{error}\n{}", zone.text)).zone)
        });
        let catalogue = Catalogue::new(key, Form::Wire, built.collect());
        let responder = Responder::new(Settings::default(), &catalogue);
        Self { catalogue, responder }
    }

    pub(crate) fn answer(&mut self, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let request = Request { source, transport, now_ms: 0, unix: 0 };
        let mut room = vec![0; 65_535];
        let response = self.responder.respond(&self.catalogue, &request, message, &mut room)?;
        room.truncate(response.bytes);
        assert_eq!(
            response.sum.fold() % 0xffff,
            wire::checksum::Sum::of(&room).fold() % 0xffff,
            "the sum is that of the bytes"
        );
        Some(room)
    }
}
