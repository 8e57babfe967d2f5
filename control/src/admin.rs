//! The admin port: a few fixed questions and two commands, on a kernel socket of the loopback interface.
//!
//! ```text
//!   GET  /healthz   200 while the process works              GET  /metrics       OpenMetrics text
//!   GET  /readyz    200 while new connections are welcome    GET  /stats         the same numbers as JSON
//!   POST /drain     as SIGTERM                               GET  /connections   a page of the list
//!   POST /reload    as SIGHUP                                GET  /capture       POST /capture/start, /capture/stop
//! ```
//!
//! One request per connection. A client has five seconds, 8 KiB and one of sixteen places, so that a slow or a
//! garbled one costs nothing. A command is refused when a browser sends it from some page (`Origin`): anybody may
//! put a form for `127.0.0.1` on a web site.

mod request;

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use request::{HEAD_BYTES_MAX, Parsed};
pub(crate) use request::{Method, Request};

const CLIENTS_MAX: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// The port could not be opened. The operator's.
#[derive(Debug)]
pub struct AdminError {
    /// Which.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot open the admin port {}: {}", self.address, self.source)?;
        if self.source.kind() == io::ErrorKind::AddrInUse {
            f.write_str("; choose another with --admin, or --admin off")?;
        }
        Ok(())
    }
}

impl core::error::Error for AdminError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// What the port asks of whoever knows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ask<'a> {
    /// Somebody has asked this.
    New(&'a Request),
    /// The answer that was promised under this number.
    Again(u64),
}

/// What it is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This.
    Now(Response),
    /// Ask again, under this number: a worker is asked.
    Later(u64),
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) content_type: &'static str,
    pub(crate) body: String,
}

impl Response {
    /// One line of text.
    pub(crate) fn text(status: u16, line: impl fmt::Display) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: format!("{line}\n") }
    }

    fn write(&self, method: Method) -> Vec<u8> {
        let reason = match self.status {
            200 => "OK",
            202 => "Accepted",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            409 => "Conflict",
            413 => "Content Too Large",
            431 => "Request Header Fields Too Large",
            500 => "Internal Server Error",
            _ => "Service Unavailable",
        };
        let allow = if self.status == 405 { "Allow: GET, HEAD, POST\r\n" } else { "" };
        let body = if method == Method::Head { "" } else { &self.body };
        format!(
            "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             {allow}Connection: close\r\n\r\n{body}",
            self.status,
            self.content_type,
            self.body.len(),
        )
        .into_bytes()
    }
}

/// The open port with its clients.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    clients: Vec<Client>,
}

impl Admin {
    /// Opens the port.
    ///
    /// # Errors
    /// The port is taken, or not for us.
    pub fn bind(address: SocketAddr) -> Result<Self, AdminError> {
        let refused = |source| AdminError { address, source };
        let listener = TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address, clients: Vec::new() })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to sleep on: descriptor, and whether for writing.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, bool)> {
        let listener = (self.clients.len() < CLIENTS_MAX).then(|| (self.listener.as_fd(), false));
        // Whoever waits for an answer has nothing to say meanwhile.
        let clients = self.clients.iter().filter(|client| client.waits_for.is_none());
        listener.into_iter().chain(clients.map(|client| (client.stream.as_fd(), client.is_answered())))
    }

    /// When the most impatient client's time is up.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.clients.iter().map(|client| client.deadline).min()
    }

    /// Serves whoever can be served without waiting.
    pub(crate) fn turn(&mut self, now: Instant, answer: &mut dyn FnMut(Ask<'_>) -> Answer) {
        while self.clients.len() < CLIENTS_MAX {
            // An error is the client's (it is gone already) or a lack of descriptors, which will pass.
            let Ok((stream, _)) = self.listener.accept() else { break };
            if stream.set_nonblocking(true).is_ok() {
                self.clients.push(Client::new(stream, now));
            }
        }
        self.clients.retain_mut(|client| client.turn(now, answer));
    }
}

/// One connection: first a request, then an answer.
#[derive(Debug)]
struct Client {
    stream: TcpStream,
    deadline: Instant,
    received: Vec<u8>,
    method: Method,
    /// An answer was promised under this number.
    waits_for: Option<u64>,
    answer: Vec<u8>,
    written: usize,
}

impl Client {
    fn new(stream: TcpStream, now: Instant) -> Self {
        Self {
            stream,
            deadline: now + PATIENCE,
            received: Vec::new(),
            method: Method::Get,
            waits_for: None,
            answer: Vec::new(),
            written: 0,
        }
    }

    const fn is_answered(&self) -> bool {
        !self.answer.is_empty()
    }

    /// Goes on as far as possible. Returns whether there is more to do.
    fn turn(&mut self, now: Instant, answer: &mut dyn FnMut(Ask<'_>) -> Answer) -> bool {
        if let Some(id) = self.waits_for {
            if !self.on_answer(answer(Ask::Again(id)), now) {
                // Whoever promises has a deadline of its own: it comes before this one.
                return true;
            }
        } else if !self.is_answered() {
            let open = match self.read() {
                Ok(open) => open,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
                Err(_) => return false,
            };
            match request::parse(&self.received) {
                Parsed::Partial if !open => return false,
                Parsed::Partial if now >= self.deadline => {
                    self.answer = Response::text(408, "the request took too long").write(Method::Get);
                }
                Parsed::Partial => return true,
                Parsed::Request(request) => {
                    self.method = request.method;
                    if !self.on_answer(answer(Ask::New(&request)), now) {
                        return true;
                    }
                }
                Parsed::Refused(response) => self.answer = response.write(Method::Get),
            }
            self.deadline = now + PATIENCE;
        }
        while self.written < self.answer.len() {
            match self.stream.write(&self.answer[self.written..]) {
                Ok(0) => return false,
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return now < self.deadline,
                Err(_) => return false,
            }
        }
        false
    }

    /// Whether this is the answer, and not a promise of one.
    fn on_answer(&mut self, answer: Answer, now: Instant) -> bool {
        match answer {
            Answer::Now(response) => {
                self.waits_for = None;
                self.answer = response.write(self.method);
                self.deadline = now + PATIENCE;
                true
            }
            Answer::Later(id) => {
                self.waits_for = Some(id);
                self.deadline = now + PATIENCE;
                false
            }
        }
    }

    /// Takes what has arrived, up to the limit. Returns whether the client may send more.
    fn read(&mut self) -> io::Result<bool> {
        let mut piece = [0; 2_048];
        while self.received.len() <= HEAD_BYTES_MAX {
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(false),
                Ok(bytes) => self.received.extend_from_slice(&piece[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
