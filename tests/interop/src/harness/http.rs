//! As little HTTP/1.1 as it takes to send what no client would, and to read every answer exactly.

use super::PATIENCE;
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// A connection on which requests are written by hand.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// Read, but not part of a response yet.
    buffer: Vec<u8>,
}

/// One response.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Connection {
    /// Connects to `address:port`.
    pub(crate) fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address)
            .unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"));
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        Self { stream, buffer: Vec::new() }
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// A whole GET and its response.
    pub(crate) fn get(&mut self, target: &str, headers: &[&str]) -> Response {
        self.write(request("GET", target, headers).as_bytes()).expect("the server reads");
        self.response(false).expect("a response")
    }

    /// The next response. `head_only`: it answers a HEAD.
    ///
    /// # Errors
    /// The connection ended before the response did.
    pub(crate) fn response(&mut self, head_only: bool) -> io::Result<Response> {
        let head_end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill()?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).into_owned();
        self.buffer.drain(..head_end);
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        let mut response = Response { status: status.ok_or_else(|| broken(&head))?, head, body: Vec::new() };
        let has_body =
            !head_only && response.status >= 200 && response.status != 204 && response.status != 304;
        if has_body {
            let length = response.header("Content-Length").and_then(|value| value.parse::<usize>().ok());
            let length = length.ok_or_else(|| broken(&response.head))?;
            while self.buffer.len() < length {
                self.fill()?;
            }
            response.body = self.buffer.drain(..length).collect();
        }
        Ok(response)
    }

    /// Everything until the server closes; an error when it resets.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.fill_some()? > 0 {}
        Ok(core::mem::take(&mut self.buffer))
    }

    /// The server has closed or reset the connection, and sent nothing more.
    pub(crate) fn is_over(&mut self) -> bool {
        match self.fill_some() {
            Ok(count) => count == 0 && self.buffer.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        match self.fill_some()? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    fn fill_some(&mut self) -> io::Result<usize> {
        let mut chunk = [0; 1 << 16];
        let count = self.stream.read(&mut chunk)?;
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(count)
    }
}

/// A request without a body.
pub(crate) fn request(method: &str, target: &str, headers: &[&str]) -> String {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    text + "\r\n"
}

fn broken(head: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a response I can read: {head}"))
}
