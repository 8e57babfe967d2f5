//! How targets are: one thread that asks each of them over HTTP, on kernel sockets, and tells control what changed.
//!
//! ```text
//!   control ── checks ──▶ thread: connect ─▶ GET ─▶ status line ─▶ verdict ── a change ──▶ control, and its bell
//!                          └ one poll for all of them; a target that hangs costs one descriptor until its timeout
//! ```
//!
//! It is a thread of its own because control may be busy for seconds with a zone, and because what it may do is little:
//! connect to the ports that the table named when the server started. Names are not looked up and nothing is sealed: a check
//! that needs a resolver or a certificate fails for reasons that are not its target's.

use super::flap::Health;
use super::table::Check;
use confine::{Files, Kind, Network};
use control::Wake;
use core::fmt;
use core::time::Duration;
use host::Policy;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// A status line and headers; what comes behind is read and forgotten.
const HEAD_BYTES_MAX: usize = 4 << 10;
/// A target that sends more than this has said enough.
const BODY_BYTES_MAX: usize = 256 << 10;

/// Whom to ask, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The target's name.
    pub target: String,
    /// How.
    pub check: Check,
}

/// What has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The target's name.
    pub target: String,
    /// It is well from now on; or is not.
    pub well: bool,
    /// What its last answer was, for people.
    pub why: String,
}

/// The thread. It ends when this is dropped.
#[derive(Debug)]
pub struct Checker {
    orders: Option<Sender<Vec<Asked>>>,
    bell: Wake,
    told: Receiver<Told>,
    thread: Option<JoinHandle<()>>,
}

impl Checker {
    /// Starts asking. `control` is rung for every change. A port that none of these has cannot be connected to later.
    ///
    /// # Errors
    /// The process has no descriptor or no thread left.
    pub fn start(asked: Vec<Asked>, policy: Policy, control: Wake) -> io::Result<Self> {
        let bell = Wake::new()?;
        let (orders, its_orders) = channel();
        let (tell, told) = channel();
        let mut ports: Vec<u16> = asked.iter().map(|asked| asked.check.address.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        let its_bell = bell.clone();
        let thread = thread::Builder::new().name("health".to_owned()).spawn(move || {
            let files = Files { network: Network::Connect(ports), ..Files::default() };
            if let Err(error) = policy.apply(Kind::Caller, files) {
                tracing::error!("targets are not asked how they are: {error}");
                return;
            }
            let mut rounds = Rounds { probes: Vec::new(), began: Instant::now(), tell, control };
            rounds.renew(asked);
            rounds.run(&its_orders, &its_bell);
        })?;
        Ok(Self { orders: Some(orders), bell, told, thread: Some(thread) })
    }

    /// Asks these from now on. What is known of one that is asked as before is kept.
    pub fn renew(&self, asked: Vec<Asked>) {
        if let Some(orders) = &self.orders
            && orders.send(asked).is_ok()
        {
            self.bell.ring();
        }
    }

    /// What has changed since the last time.
    #[must_use]
    pub fn changes(&self) -> Vec<Told> {
        self.told.try_iter().collect()
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.orders = None;
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic handler.
            let _ = thread.join();
        }
    }
}

/// All targets.
struct Rounds {
    probes: Vec<Probe>,
    began: Instant,
    tell: Sender<Told>,
    control: Wake,
}

struct Probe {
    asked: Asked,
    health: Health,
    /// When it is asked next.
    next: Instant,
    attempt: Option<Attempt>,
}

/// A question that is on its way.
struct Attempt {
    stream: TcpStream,
    stage: Stage,
    deadline: Instant,
    request: Vec<u8>,
    received: Vec<u8>,
    body_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Connecting, then sending what is left of the request.
    Asking,
    /// Until there is a status line.
    Listening,
    /// The verdict is known; what is left is taken, so that the target's log has no reset connections.
    Leaving,
}

/// How far a question has come.
enum Progress {
    /// The target has to say something.
    Waits,
    /// It has said this, and may say more.
    Answered(u16),
    /// It has nothing more to say.
    Over,
}

/// What came of a question.
enum Outcome {
    Status(u16),
    Failed(Reason),
}

#[derive(Debug)]
enum Reason {
    Io(io::Error),
    Slow(Duration),
    NotHttp,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                write!(f, "{error}: if its port is new in the table, the server has to be started again")
            }
            Self::Io(error) => error.fmt(f),
            Self::Slow(timeout) => write!(f, "no answer within {} ms", timeout.as_millis()),
            Self::NotHttp => f.write_str("the answer is not HTTP"),
        }
    }
}

impl Rounds {
    fn renew(&mut self, asked: Vec<Asked>) {
        let now = Instant::now();
        let count = u32::try_from(asked.len()).unwrap_or(u32::MAX).max(1);
        let mut old = core::mem::take(&mut self.probes);
        self.probes = (0..)
            .zip(asked)
            .map(|(index, asked)| match old.iter().position(|probe| probe.asked == asked) {
                Some(at) => old.swap_remove(at),
                // They are spread over the interval, so that none of it is a burst.
                None => Probe {
                    next: now + asked.check.interval * index / count,
                    asked,
                    health: Health::default(),
                    attempt: None,
                },
            })
            .collect();
    }

    fn run(&mut self, orders: &Receiver<Vec<Asked>>, bell: &Wake) {
        loop {
            let now = Instant::now();
            for probe in &mut self.probes {
                if let Some(told) = probe.turn(now, self.began) {
                    // Control is gone: so are we, soon.
                    let _ = self.tell.send(told);
                    self.control.ring();
                }
            }
            self.sleep(bell);
            bell.silence();
            loop {
                match orders.try_recv() {
                    Ok(asked) => self.renew(asked),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
        }
    }

    /// Until one of the targets says something, has been silent for too long, or is to be asked.
    fn sleep(&self, bell: &Wake) {
        let until = self.probes.iter().map(Probe::due).min();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        let mut fds = vec![PollFd::from_borrowed_fd(bell.as_fd(), PollFlags::IN)];
        fds.extend(self.probes.iter().filter_map(|probe| probe.attempt.as_ref()).map(|attempt| {
            let wanted = if attempt.stage == Stage::Asking { PollFlags::OUT } else { PollFlags::IN };
            PollFd::new(&attempt.stream, wanted)
        }));
        // Interrupted is as good as ready: everything is looked at without blocking.
        let _ = poll(&mut fds, timeout.as_ref());
    }
}

impl Probe {
    fn due(&self) -> Instant {
        self.attempt.as_ref().map_or(self.next, |attempt| attempt.deadline)
    }

    /// Goes on as far as possible. Says what has changed.
    fn turn(&mut self, now: Instant, began: Instant) -> Option<Told> {
        let check = &self.asked.check;
        if self.attempt.is_none() && now >= self.next {
            // A question that took longer than the interval is not made up for.
            self.next = (self.next + check.interval).max(now);
            match Attempt::begin(check, now) {
                Ok(attempt) => self.attempt = Some(attempt),
                Err(error) => return self.on_outcome(Outcome::Failed(Reason::Io(error)), now, began),
            }
        }
        let attempt = self.attempt.as_mut()?;
        let outcome = match attempt.turn() {
            Ok(Progress::Waits) if now < attempt.deadline => return None,
            Ok(Progress::Answered(status)) => Outcome::Status(status),
            // What happens after the verdict says nothing of the target.
            _ if attempt.stage == Stage::Leaving => {
                self.attempt = None;
                return None;
            }
            Ok(Progress::Waits) => Outcome::Failed(Reason::Slow(check.timeout)),
            Ok(Progress::Over) => Outcome::Failed(Reason::NotHttp),
            Err(reason) => Outcome::Failed(reason),
        };
        if attempt.stage != Stage::Leaving {
            self.attempt = None;
        }
        self.on_outcome(outcome, now, began)
    }

    fn on_outcome(&mut self, outcome: Outcome, now: Instant, began: Instant) -> Option<Told> {
        let (first, last) = self.asked.check.status;
        let (good, why) = match outcome {
            Outcome::Status(status) => ((first..=last).contains(&status), format!("it answers {status}")),
            Outcome::Failed(reason) => (false, reason.to_string()),
        };
        let well = self.health.on_answer(good, now.saturating_duration_since(began), &self.asked.check)?;
        Some(Told { target: self.asked.target.clone(), well, why })
    }
}

impl Attempt {
    fn begin(check: &Check, now: Instant) -> io::Result<Self> {
        let family = if check.address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &check.address) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let Check { path, host, timeout, .. } = check;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: namestorm/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        Ok(Self {
            stream: TcpStream::from(socket),
            stage: Stage::Asking,
            deadline: now + *timeout,
            request: request.into_bytes(),
            received: Vec::new(),
            body_bytes: 0,
        })
    }

    /// Goes on without waiting.
    fn turn(&mut self) -> Result<Progress, Reason> {
        if self.stage == Stage::Asking {
            if let Some(error) = self.stream.take_error().map_err(Reason::Io)? {
                return Err(Reason::Io(error));
            }
            while !self.request.is_empty() {
                match self.stream.write(&self.request) {
                    Ok(bytes) => drop(self.request.drain(..bytes)),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    // Not connected yet, or no room.
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
                        ) =>
                    {
                        return Ok(Progress::Waits);
                    }
                    Err(error) => return Err(Reason::Io(error)),
                }
            }
            self.stage = Stage::Listening;
        }
        let mut piece = [0; 4_096];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Ok(Progress::Over),
                Ok(bytes) if self.stage == Stage::Leaving => {
                    self.body_bytes += bytes;
                    if self.body_bytes > BODY_BYTES_MAX {
                        return Ok(Progress::Over);
                    }
                }
                Ok(bytes) => {
                    self.received.extend_from_slice(&piece[..bytes]);
                    if let Some(status) = status(&self.received)? {
                        self.stage = Stage::Leaving;
                        return Ok(Progress::Answered(status));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Waits),
                Err(error) => return Err(Reason::Io(error)),
            }
        }
    }
}

/// The status of an answer (RFC 9112 §4); nothing while its line is not whole.
fn status(received: &[u8]) -> Result<Option<u16>, Reason> {
    let Some(end) = received.iter().position(|byte| *byte == b'\n') else {
        return if received.len() > HEAD_BYTES_MAX { Err(Reason::NotHttp) } else { Ok(None) };
    };
    let line = core::str::from_utf8(&received[..end]).map_err(|_| Reason::NotHttp)?.trim_end();
    let mut words = line.split(' ');
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let code = words.next().filter(|code| is_http && code.len() == 3);
    code.and_then(|code| code.parse().ok()).map(Some).ok_or(Reason::NotHttp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::SocketAddr;
    use core::sync::atomic::{AtomicU16, Ordering};
    use std::net::TcpListener;
    use std::sync::Arc;

    /// A target that answers with this status, and hangs when it is 0. Ends with the test.
    fn target(status: Arc<AtomicU16>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut kept = Vec::new();
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut request = [0; 1_024];
                let bytes = stream.read(&mut request).unwrap_or(0);
                let asked = String::from_utf8_lossy(&request[..bytes]).into_owned();
                assert!(asked.starts_with("GET /up HTTP/1.1\r\nHost: video.example\r\n"), "{asked}");
                match status.load(Ordering::Relaxed) {
                    0 => kept.push(stream),
                    status => {
                        let _ = write!(stream, "HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\nok");
                    }
                }
            }
        });
        address
    }

    fn asked(name: &str, address: SocketAddr) -> Asked {
        let check = Check {
            address,
            path: "/up".to_owned(),
            host: "video.example".to_owned(),
            interval: Duration::from_millis(50),
            timeout: Duration::from_millis(100),
            rise: 2,
            fall: 2,
            status: (200, 299),
        };
        Asked { target: name.to_owned(), check }
    }

    fn next(checker: &Checker) -> Told {
        checker.told.recv_timeout(Duration::from_secs(5)).expect("a change within five seconds")
    }

    fn checker(asked: Vec<Asked>) -> Checker {
        Checker::start(asked, Policy::NOTHING, Wake::new().unwrap()).unwrap()
    }

    #[test]
    fn a_target_that_fails_hangs_and_recovers_is_told_of_once_each_time() {
        let status = Arc::new(AtomicU16::new(200));
        let checker = checker(vec![asked("a", target(Arc::clone(&status)))]);
        assert_eq!(next(&checker), Told { target: "a".into(), well: true, why: "it answers 200".into() });
        status.store(503, Ordering::Relaxed);
        assert_eq!(next(&checker), Told { target: "a".into(), well: false, why: "it answers 503".into() });
        status.store(204, Ordering::Relaxed);
        assert!(next(&checker).well);
        status.store(0, Ordering::Relaxed);
        let told = next(&checker);
        assert!(!told.well && told.why == "no answer within 100 ms", "{told:?}");
        assert!(checker.changes().is_empty());
    }

    #[test]
    fn nobody_there_is_not_well_and_says_why() {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let told = next(&checker(vec![asked("b", nobody)]));
        assert!(!told.well && told.why.contains("refused"), "{told:?}");
    }

    #[test]
    fn what_is_known_of_a_target_outlives_a_new_list() {
        let status = Arc::new(AtomicU16::new(200));
        let one = asked("a", target(Arc::clone(&status)));
        let checker = checker(vec![one.clone()]);
        assert!(next(&checker).well);
        let two = asked("b", target(Arc::new(AtomicU16::new(500))));
        checker.renew(vec![two, one]);
        let told = next(&checker);
        assert_eq!((told.target.as_str(), told.well), ("b", false), "of a nothing is new");
        assert!(checker.changes().is_empty());
    }

    #[test]
    fn a_status_line_is_read_as_far_as_it_has_come() {
        assert!(matches!(status(b"HTTP/1.1 20"), Ok(None)));
        assert!(matches!(status(b"HTTP/1.0 301 Moved\r\n"), Ok(Some(301))));
        assert!(status(b"SSH-2.0-x\r\n").is_err());
        assert!(status(b"HTTP/1.1 2000\r\n").is_err());
        assert!(status(&[b'x'; HEAD_BYTES_MAX + 1]).is_err());
    }
}
