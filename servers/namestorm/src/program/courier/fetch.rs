//! One transfer: a connection of the kernel's to a primary, a question, and messages until the end.

use core::net::SocketAddr;
use core::time::Duration;
use namestorm::transfer::incoming::{Incoming, Progress};
use namestorm::transfer::policy::{Policy, Remote};
use namestorm::transfer::secondary::{Ask, Failure};
use namestorm::zone::Zone;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

/// How long a primary may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// How long all of it may take, however it trickles.
const WHOLE: Duration = Duration::from_secs(3_600);
/// What is read between two looks at others.
const STEP_BYTES: usize = 1 << 20;

/// What came of going on.
#[derive(Debug)]
pub(super) enum Step {
    /// There is more to come.
    Pending,
    /// The end.
    Done(Progress),
    /// Nothing comes of it: a line about the primary.
    Failed(String, Failure),
}

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) primary: Remote,
    stream: TcpStream,
    connecting: bool,
    /// The question, as far as it was not written yet.
    question: Vec<u8>,
    input: Vec<u8>,
    incoming: Incoming,
    idle_at: Duration,
    over_at: Duration,
}

impl Fetch {
    /// Begins one: nothing is waited for.
    ///
    /// # Errors
    /// The kernel does not even try, in words.
    pub(super) fn begin(
        apex: &[u8],
        ours: Option<Arc<Zone>>,
        ask: &Ask,
        policy: &Policy,
        now: Duration,
        bytes_max: u64,
    ) -> Result<Self, String> {
        let Ask { primary, serial } = ask;
        let key = primary.key.as_ref().and_then(|name| policy.key(name));
        let ids = (super::draw(), super::unix());
        let (incoming, message) = Incoming::ask(apex, ours, serial.is_none(), key, ids, bytes_max);
        let length = u16::try_from(message.len()).expect("a question is short");
        let question = [&length.to_be_bytes()[..], &message].concat();
        let stream = open(primary.address).map_err(|errno| match errno {
            Errno::ACCESS => format!(
                "port {} may not be connected to: after a change of ports, restart the server",
                primary.address.port()
            ),
            errno => cannot_connect(&errno.into()),
        })?;
        Ok(Self {
            primary: primary.clone(),
            stream,
            connecting: true,
            question,
            input: Vec::new(),
            incoming,
            idle_at: now + IDLE,
            over_at: now + WHOLE,
        })
    }

    pub(super) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn wants_to_write(&self) -> bool {
        self.connecting || !self.question.is_empty()
    }

    /// When it has to be looked at, whatever happens.
    pub(super) fn due(&self) -> Duration {
        self.idle_at.min(self.over_at)
    }

    /// Does what can be done without waiting.
    pub(super) fn step(&mut self, now: Duration, unix: u64) -> Step {
        match self.advance(now, unix) {
            Ok(Progress::More) if now < self.due() => Step::Pending,
            Ok(Progress::More) => Step::Failed("it does not answer".to_owned(), Failure::Other),
            Ok(progress) => Step::Done(progress),
            Err((why, failure)) => Step::Failed(why, failure),
        }
    }

    fn advance(&mut self, now: Duration, unix: u64) -> Result<Progress, (String, Failure)> {
        if self.connecting {
            let failed = match sockopt::socket_error(&self.stream) {
                Ok(Ok(())) => None,
                Ok(Err(errno)) | Err(errno) => Some(errno),
            };
            if let Some(errno) = failed {
                return Err((cannot_connect(&errno.into()), Failure::Other));
            }
            if self.stream.peer_addr().is_err() {
                return Ok(Progress::More);
            }
            self.connecting = false;
        }
        while !self.question.is_empty() {
            match self.stream.write(&self.question) {
                Ok(bytes) => drop(self.question.drain(..bytes)),
                Err(error) => return stalled(&error),
            }
        }
        let mut room = vec![0; 1 << 16];
        let mut read = 0;
        while read < STEP_BYTES {
            let bytes = match self.stream.read(&mut room) {
                Ok(0) => {
                    let fault = namestorm::transfer::incoming::Fault::Ended;
                    return Err((fault.to_string(), fault.failure(self.incoming.wants_difference())));
                }
                Ok(bytes) => bytes,
                Err(error) => return stalled(&error),
            };
            read += bytes;
            self.idle_at = now + IDLE;
            self.input.extend_from_slice(&room[..bytes]);
            let mut at = 0;
            while let Some((length, rest)) = self.input[at..].split_first_chunk::<2>() {
                let Some(message) = rest.get(..usize::from(u16::from_be_bytes(*length))) else { break };
                at += 2 + message.len();
                match self.incoming.on_message(message, unix) {
                    Ok(Progress::More) => {}
                    Ok(progress) => return Ok(progress),
                    Err(fault) => {
                        let failure = fault.failure(self.incoming.wants_difference());
                        return Err((fault.to_string(), failure));
                    }
                }
            }
            self.input.drain(..at);
        }
        // Poll tells of the rest.
        Ok(Progress::More)
    }
}

fn stalled(error: &io::Error) -> Result<Progress, (String, Failure)> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Progress::More),
        _ => Err((format!("the connection broke: {error}"), Failure::Other)),
    }
}

fn cannot_connect(error: &io::Error) -> String {
    format!("no connection: {error}")
}

fn open(address: SocketAddr) -> Result<TcpStream, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(TcpStream::from(socket)),
        Err(errno) => Err(errno),
    }
}
