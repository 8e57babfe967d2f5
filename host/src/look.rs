//! The other end of the admin port: what a program's other commands, such as `ss` and `top`, ask a running server.
//!
//! One request a connection, a few seconds of patience, and answers of a bounded size: whoever listens there may be
//! somebody else.

use control::{Connection, Page};
use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use serde_json::Value;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(5);
/// Many times a page of connections.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// More workers than these, and more pages of one, no server has.
const WORKERS_MAX: u32 = 1_024;

/// A server's admin port.
#[derive(Clone, Copy, Debug)]
pub struct AdminPort(
    /// Where it listens.
    pub SocketAddr,
);

/// Why there is no answer. One line, for the operator.
#[derive(Debug)]
pub enum LookError {
    /// Nobody listens, or nobody answers.
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Somebody else listens there.
    Stranger {
        /// Where.
        address: SocketAddr,
    },
    /// The server says no.
    Refused {
        /// Where.
        address: SocketAddr,
        /// The status of its answer.
        status: u16,
        /// What it says.
        line: String,
    },
}

impl fmt::Display for LookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, source } if source.kind() == io::ErrorKind::ConnectionRefused => {
                write!(
                    f,
                    "no server has its admin port at {address}; where it is, the server says at start: --admin WHERE"
                )
            }
            Self::Unreachable { address, source } => {
                write!(f, "the admin port {address} does not answer: {source}")
            }
            Self::Stranger { address } => {
                write!(
                    f,
                    "what listens at {address} is not the admin port of a server of ours; say where it is: --admin WHERE"
                )
            }
            Self::Refused { address, status, line } => {
                write!(f, "the admin port {address} refuses ({status}): {line}")
            }
        }
    }
}

impl core::error::Error for LookError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Unreachable { source, .. } => Some(source),
            Self::Stranger { .. } | Self::Refused { .. } => None,
        }
    }
}

impl AdminPort {
    /// All figures, as `/stats` has them.
    ///
    /// # Errors
    /// Nobody answers, somebody else does, or the server refuses.
    pub fn stats(self) -> Result<Value, LookError> {
        let body = self.ask("GET", "/stats")?;
        serde_json::from_slice::<Value>(&body)
            .ok()
            .filter(|stats| stats["workers"].is_array() && stats["process"].is_object())
            .ok_or(LookError::Stranger { address: self.0 })
    }

    /// Every connection of every worker, page by page.
    ///
    /// # Errors
    /// As [`stats`](Self::stats).
    pub fn connections(self, on_page: &mut dyn FnMut(Vec<Connection>)) -> Result<(), LookError> {
        let stranger = || LookError::Stranger { address: self.0 };
        let (mut worker, mut from) = (0, 0);
        loop {
            let body = self.ask("GET", &format!("/connections?worker={worker}&from={from}"))?;
            let page: Page = serde_json::from_slice(&body).map_err(|_| stranger())?;
            on_page(page.connections);
            match page.next {
                Some(next) if next > from => from = next,
                Some(_) => return Err(stranger()),
                None => {
                    (worker, from) = (worker + 1, 0);
                    if worker >= page.workers.min(WORKERS_MAX) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// What the server answers to a request of that method, if it agrees.
    ///
    /// # Errors
    /// As [`stats`](Self::stats).
    pub fn ask(self, method: &str, target: &str) -> Result<Vec<u8>, LookError> {
        let Self(address) = self;
        let answer =
            exchange(address, method, target).map_err(|source| LookError::Unreachable { address, source })?;
        let (head, body) = split(&answer).ok_or(LookError::Stranger { address })?;
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
        match status {
            Some(200) => Ok(body.to_vec()),
            // An older server does not know the path, and lists those that it knows.
            Some(status) => {
                let line = String::from_utf8_lossy(body).lines().next().unwrap_or_default().to_owned();
                Err(LookError::Refused { address, status, line })
            }
            None => Err(LookError::Stranger { address }),
        }
    }
}

fn exchange(address: SocketAddr, method: &str, target: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    Ok(answer)
}

/// Head and body; the body is whole if it is as long as it says.
fn split(answer: &[u8]) -> Option<(&str, &[u8])> {
    let at = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = core::str::from_utf8(&answer[..at]).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    })?;
    let body = &answer[at + 4..];
    (body.len() == length).then_some((head, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// A port that answers each connection with the next of these.
    fn port(answers: Vec<&'static str>) -> AdminPort {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1_024];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        AdminPort(address)
    }

    fn page(worker: u32, next: Option<u32>) -> &'static str {
        let page = Page { worker, workers: 2, next, connections: Vec::new() };
        let body = serde_json::to_string(&page).unwrap();
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).leak()
    }

    #[test]
    fn pages_are_followed_from_worker_to_worker() {
        let port = port(vec![page(0, Some(7)), page(0, None), page(1, None)]);
        let mut pages = 0;
        port.connections(&mut |_| pages += 1).unwrap();
        assert_eq!(pages, 3);
    }

    #[test]
    fn a_page_that_leads_backwards_is_not_followed_for_ever() {
        let port = port(vec![page(0, Some(7)), page(0, Some(7))]);
        let error = port.connections(&mut |_| ()).unwrap_err();
        assert!(matches!(error, LookError::Stranger { .. }), "{error}");
    }

    #[test]
    fn nobody_somebody_else_and_a_refusal_are_told_apart_in_one_line() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let line = AdminPort(nobody).stats().unwrap_err().to_string();
        assert!(line.contains("--admin WHERE") && line.contains("no server"), "{line}");
        for answer in [
            "SSH-2.0-OpenSSH_9.6\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        ] {
            let line = port(vec![answer]).stats().unwrap_err().to_string();
            assert!(line.contains("not the admin port"), "{line}");
        }
        let refused = "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nGET /nope";
        let line = port(vec![refused]).stats().unwrap_err().to_string();
        assert!(line.contains("refuses (404): GET /nope"), "{line}");
    }
}
