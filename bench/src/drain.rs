//! A client over kernel TCP that costs little: it asks for objects on persistent connections and throws their payload
//! away inside the kernel (`MSG_TRUNC`).
//!
//! Each object is fetched once and opened, byte for byte, before the clock starts; that gives the length of its
//! response, and from then on responses are counted by their record heads, not read.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsFd as _;
use std::time::Instant;

use aead::AwsLc;
use handshake::{ClientHandshake, ClientOptions, ClientSettings, Progress, Trust};
use rustix::event::epoll;
use rustix::net::{RecvFlags, recv};
use tls::{ContentType, ExpandedKeys, Message, Opener, Scratch, Sealer};

use crate::records::RecordCounter;

/// What is asked for, and how.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) server: SocketAddr,
    pub(crate) secure: bool,
    pub(crate) paths: Vec<String>,
    pub(crate) object_bytes: u64,
    pub(crate) connections: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Drained {
    pub(crate) wire_bytes: u64,
    pub(crate) object_bytes: u64,
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
}

/// A client's complaint, for people.
pub(crate) type Complaint = Box<dyn core::error::Error + Send + Sync>;

struct Connection {
    stream: TcpStream,
    sealer: Option<Sealer>,
    opener: Option<Opener>,
    counter: RecordCounter,
    /// Plaintext of the response under way that has come, on a plain connection.
    came: u64,
    next_path: usize,
    /// Which object's response is under way.
    path: usize,
}

/// The load's state between warm-up and runs.
pub(crate) struct Drain {
    load: Load,
    keys: ExpandedKeys<AwsLc>,
    scratch: Scratch,
    connections: Vec<Connection>,
    /// Plaintext of each response: its head and the object.
    response_bytes: Vec<u64>,
    sink: Vec<u8>,
    /// Requests are under way.
    running: bool,
}

impl Drain {
    /// Connects everybody and fetches every object once.
    pub(crate) fn connect(load: Load, expect: &dyn Fn(usize, &[u8]) -> bool) -> Result<Self, Complaint> {
        let mut drain = Self {
            keys: ExpandedKeys::new(2 * load.connections),
            scratch: Scratch::new(),
            connections: Vec::new(),
            response_bytes: Vec::new(),
            sink: vec![0; 1 << 20],
            running: false,
            load,
        };
        let settings = ClientSettings::new(Trust::Anyone, ClientOptions::default())?;
        let mut first = drain.open(&settings, 0)?;
        // Tickets may come with the first response and are not part of any.
        drain.fetch(&mut first, 0, expect)?;
        for index in 0..drain.load.paths.len() {
            let bytes = drain.fetch(&mut first, index, expect)?;
            drain.response_bytes.push(bytes);
        }
        for index in 0..drain.load.connections {
            let mut connection = drain.open(&settings, index * 7)?;
            let path = connection.next_path % drain.load.paths.len();
            drain.fetch(&mut connection, path, expect)?;
            connection.next_path += 1;
            connection.stream.set_nonblocking(true)?;
            drain.connections.push(connection);
        }
        Ok(drain)
    }

    fn open(&mut self, settings: &ClientSettings, next_path: usize) -> Result<Connection, Complaint> {
        let mut stream = TcpStream::connect_timeout(&self.load.server, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        if !self.load.secure {
            return Ok(Connection {
                stream,
                sealer: None,
                opener: None,
                counter: RecordCounter::default(),
                came: 0,
                next_path,
                path: 0,
            });
        }
        let mut handshake = ClientHandshake::new(settings, "localhost")?;
        let mut progress = handshake.on_bytes(&[]);
        let mut buffer = [0; 16 << 10];
        loop {
            stream.write_all(&handshake.take_output())?;
            match progress {
                Progress::Continue => {
                    let count = stream.read(&mut buffer)?;
                    if count == 0 {
                        return Err("the server closed during the handshake".into());
                    }
                    progress = handshake.on_bytes(&buffer[..count]);
                }
                Progress::Established(established) => {
                    let (established, _tickets) = *established;
                    let mut opener = established.opener;
                    let mut rest = &established.leftover[..];
                    while opener.poll(&mut self.keys, &mut self.scratch, &mut rest)?.is_some() {}
                    return Ok(Connection {
                        stream,
                        sealer: Some(established.sealer),
                        opener: Some(opener),
                        counter: RecordCounter::default(),
                        came: 0,
                        next_path,
                        path: 0,
                    });
                }
                Progress::Failed(error) => return Err(error.into()),
            }
        }
    }

    fn request(&mut self, connection: &mut Connection, path: usize) -> Result<(), Complaint> {
        let head = format!("GET {} HTTP/1.1\r\nHost: bench\r\n\r\n", self.load.paths[path]);
        let Some(sealer) = &mut connection.sealer else {
            connection.stream.write_all(head.as_bytes())?;
            return Ok(());
        };
        let layout = sealer.layout();
        let mut buffer = vec![0; layout.sealed_bytes(head.len())];
        let payload = layout.head_bytes..layout.head_bytes + head.len();
        buffer[payload.clone()].copy_from_slice(head.as_bytes());
        let number = sealer.bind()?;
        sealer.seal(&mut self.keys, number, ContentType::ApplicationData, &mut buffer, payload)?;
        connection.stream.write_all(&buffer)?;
        Ok(())
    }

    /// Fetches one object and opens every byte of it. Returns how many bytes its response had, head included.
    fn fetch(
        &mut self,
        connection: &mut Connection,
        path: usize,
        expect: &dyn Fn(usize, &[u8]) -> bool,
    ) -> Result<u64, Complaint> {
        self.request(connection, path)?;
        let mut response = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        let body_at = loop {
            let count = connection.stream.read(&mut buffer)?;
            if count == 0 {
                return Err("the server closed within a response".into());
            }
            match &mut connection.opener {
                None => response.extend_from_slice(&buffer[..count]),
                Some(opener) => {
                    let mut rest = &buffer[..count];
                    while let Some(message) = opener.poll(&mut self.keys, &mut self.scratch, &mut rest)? {
                        if let Message::Data(bytes) = message {
                            response.extend_from_slice(bytes);
                        }
                    }
                }
            }
            if response.len() >= 12 && !response.starts_with(b"HTTP/1.1 200") {
                let line = String::from_utf8_lossy(&response);
                return Err(
                    format!("{}: {}", self.load.paths[path], line.lines().next().unwrap_or("")).into()
                );
            }
            if let Some(at) = body_start(&response)
                && (response.len() - at) as u64 >= self.load.object_bytes
            {
                break at;
            }
        };
        if !expect(path, &response[body_at..]) {
            return Err(format!("{}: the bytes are not the object's", self.load.paths[path]).into());
        }
        Ok(response.len() as u64)
    }

    /// Asks for objects on every connection for this long.
    pub(crate) fn run(&mut self, duration: Duration) -> Result<Drained, Complaint> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = core::mem::take(&mut self.connections);
        for (index, connection) in connections.iter_mut().enumerate() {
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&poll, connection.stream.as_fd(), data, epoll::EventFlags::IN)?;
            if !self.running {
                self.ask(connection)?;
            }
        }
        self.running = true;
        let mut drained = Drained::default();
        let begun = Instant::now();
        let mut events = Vec::with_capacity(256);
        while begun.elapsed() < duration {
            events.clear();
            let timeout = rustix::time::Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
            epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), Some(&timeout))?;
            for event in &events {
                let event: &epoll::Event = event;
                let index = usize::try_from(event.data.u64())?;
                self.on_readable(&mut connections[index], &mut drained)?;
            }
        }
        drained.seconds = begun.elapsed().as_secs_f64();
        self.connections = connections;
        Ok(drained)
    }

    /// Takes what there is of a response; its payload never leaves the kernel.
    fn on_readable(&mut self, connection: &mut Connection, drained: &mut Drained) -> Result<(), Complaint> {
        let wanted = self.response_bytes[connection.path];
        loop {
            let (count, done) = if connection.sealer.is_none() {
                let left = usize::try_from(wanted - connection.came)?.min(self.sink.len());
                let Some(count) = receive(connection, &mut self.sink[..left], RecvFlags::TRUNC)? else {
                    return Ok(());
                };
                connection.came += count;
                (count, connection.came == wanted)
            } else if connection.counter.body_left() > 0 {
                let left = usize::try_from(connection.counter.body_left())?;
                let Some(count) = receive(connection, &mut self.sink[..left], RecvFlags::TRUNC)? else {
                    return Ok(());
                };
                connection.counter.skip(count);
                (count, connection.counter.reached(wanted).ok_or("a response became longer")?)
            } else {
                let left = connection.counter.head_left();
                let Some(count) = receive(connection, &mut self.sink[..left], RecvFlags::empty())? else {
                    return Ok(());
                };
                connection.counter.take(&self.sink[..usize::try_from(count)?]);
                (count, false)
            };
            drained.wire_bytes += count;
            if done {
                drained.requests += 1;
                drained.object_bytes += self.load.object_bytes;
                return self.ask(connection);
            }
        }
    }

    fn ask(&mut self, connection: &mut Connection) -> Result<(), Complaint> {
        let path = connection.next_path % self.load.paths.len();
        connection.next_path += 1;
        connection.path = path;
        connection.came = 0;
        self.request(connection, path)
    }
}

/// Bytes that are there; `None` when there are none now.
fn receive(connection: &Connection, room: &mut [u8], flags: RecvFlags) -> Result<Option<u64>, Complaint> {
    match recv(&connection.stream, room, flags | RecvFlags::DONTWAIT) {
        Ok((_, 0)) => Err("the server closed a connection".into()),
        Ok((_, count)) => Ok(Some(count as u64)),
        Err(rustix::io::Errno::AGAIN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn body_start(response: &[u8]) -> Option<usize> {
    response.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}
