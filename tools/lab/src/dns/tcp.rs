//! The share of queries that goes over TCP: one connection, many queries on it (RFC 7766 §6.2.1.1), answers in any order.

use clock::Instant;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd as _, BorrowedFd};

use super::message::{Manner, QUERY_BYTES_MAX, Question, id_of};
use super::result::{Kind, Tally};
use super::window::Window;

/// Questions out on a connection.
const WINDOW: u16 = 64;
/// Connecting takes no longer, and is not tried again before.
const PATIENCE: Duration = Duration::from_millis(500);

/// A connection, made again when it breaks.
#[derive(Debug)]
pub(super) struct Stream {
    server: SocketAddr,
    stream: Option<TcpStream>,
    window: Window,
    output: Vec<u8>,
    input: Vec<u8>,
    next_try: Instant,
}

impl Stream {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self {
            server,
            stream: None,
            window: Window::new(WINDOW),
            output: Vec::new(),
            input: Vec::new(),
            next_try: Instant::EPOCH,
        }
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(|stream| stream.as_fd())
    }

    /// How many questions are out.
    pub(super) fn out(&self) -> usize {
        self.window.out()
    }

    /// Takes a question, if there is room for one.
    pub(super) fn ask(&mut self, now: Instant, question: usize, what: &Question, manner: Manner) -> bool {
        if self.stream.is_none() {
            return false;
        }
        let Some(id) = self.window.ask(now, question) else { return false };
        let mut room = [0; QUERY_BYTES_MAX];
        let len = what.emit(id, manner, &mut room);
        // A query has far fewer than 65,536 bytes.
        self.output.extend_from_slice(&u16::try_from(len).unwrap_or(0).to_be_bytes());
        self.output.extend_from_slice(&room[..len]);
        true
    }

    /// Connects if need be, sends, and reads what there is; whether anything came.
    pub(super) fn turn(&mut self, now: Instant, questions: &[Question], tally: &mut Tally) -> bool {
        if self.stream.is_none() {
            if now < self.next_try {
                return false;
            }
            self.next_try = now + PATIENCE;
            match connect(self.server) {
                Ok(stream) => self.stream = Some(stream),
                Err(error) => {
                    tally.fail(Kind::Tcp, 1, || format!("no TCP connection: {error}"));
                    return false;
                }
            }
        }
        let before = tally.answered[1];
        if let Err(error) = self.exchange(now, questions, tally) {
            let lost = self.window.give_up(Instant::NEVER);
            tally.fail(Kind::Tcp, lost.max(1), || format!("the TCP connection broke: {error}"));
            self.stream = None;
            self.output.clear();
            self.input.clear();
        }
        tally.answered[1] > before
    }

    fn exchange(&mut self, now: Instant, questions: &[Question], tally: &mut Tally) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        while !self.output.is_empty() {
            match stream.write(&self.output) {
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let mut room = [0; 16 << 10];
        loop {
            match stream.read(&mut room) {
                Ok(0) if self.window.out() == 0 => {
                    // RFC 7766 §6.2.3: a server closes what idles; the next question makes another connection.
                    self.stream = None;
                    return Ok(());
                }
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.input.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let mut at = 0;
        while let Some((length, rest)) = self.input[at..].split_first_chunk::<2>()
            && let Some(message) = rest.get(..usize::from(u16::from_be_bytes(*length)))
        {
            at += 2 + message.len();
            let id = id_of(message);
            match id.and_then(|id| Some((id, self.window.find(id)?))) {
                Some((id, question)) => {
                    let took = self.window.answer(now, id).unwrap_or_default();
                    tally.judged(true, message.len(), questions[question].judge(message), took);
                }
                None => tally.unknown += 1,
            }
        }
        self.input.drain(..at);
        Ok(())
    }

    /// Gives up what was asked before `limit`: the connection is of no use then.
    pub(super) fn give_up(&mut self, limit: Instant, tally: &mut Tally) {
        let lost = self.window.give_up(limit);
        tally.fail(Kind::Timeout, lost, || "no answer over TCP in time".to_owned());
        if lost > 0 {
            let others = self.window.give_up(Instant::NEVER);
            tally.fail(Kind::Tcp, others, || "given up with a connection that was silent".to_owned());
            self.stream = None;
            self.output.clear();
            self.input.clear();
        }
    }
}

fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}
