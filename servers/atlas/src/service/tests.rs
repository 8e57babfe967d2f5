//! The service against a fake engine: bytes of a client in, bytes of answers out.

use super::*;
use crate::catalogue::Catalogue;
use crate::settings::{CacheRule, Secret, Settings};
use clock::Instant;
use core::net::{Ipv4Addr, SocketAddr};
use core::time::Duration;
use http::Status;
use platform::RootId;
use std::collections::BTreeMap;
use turn::{Action, End, Peer, Service as _, Transfer};
use web::AccessRecord;
use web::session::{DRAIN_GRACE, OBJECT_BYTES_MAX};

mod answers;
mod connections;
mod records;

/// 06 Nov 1994 08:49:37, when all files were last changed.
const MODIFIED: u64 = 784_111_777;
/// When everything happens.
const NOW: u64 = 1_700_000_000;

/// A server with files and one connection, which does what the engine would.
struct World {
    service: AtlasService,
    session: Option<Session>,
    now: Now,
    files: BTreeMap<Vec<u8>, Result<Vec<u8>, OpenError>>,
    /// What the client has sent and the service has not taken.
    input: Vec<u8>,
    /// What the service has sent.
    output: Vec<u8>,
    /// Opens wait for [`World::let_files_open`].
    slow_disk: bool,
    waiting_open: Option<Vec<u8>>,
    /// Answers are not over until [`World::let_answers_end`].
    slow_client: bool,
    waiting_sent: bool,
    finished: bool,
    deadline: Instant,
}

impl World {
    fn new(settings: Settings) -> Self {
        let site = Site::new(settings, RootId(3), &Catalogue::default()).unwrap();
        let mut world = Self {
            service: AtlasService::new(Arc::new(site), NOW),
            session: None,
            now: Now { instant: Instant::from_nanos(0), unix: Duration::from_secs(NOW) },
            files: BTreeMap::new(),
            input: Vec::new(),
            output: Vec::new(),
            slow_disk: false,
            waiting_open: None,
            slow_client: false,
            waiting_sent: false,
            finished: false,
            deadline: Instant::NEVER,
        };
        world.connect();
        world
            .with("film.mp4", b"0123456789")
            .with("empty", b"")
            .with("a b.txt", b"text")
            .with("big", &[7; 100_000])
    }

    /// A server as it comes, with a few files.
    fn plain() -> Self {
        Self::new(Settings::default())
    }

    fn with(mut self, path: &str, content: &[u8]) -> Self {
        self.files.insert(path.as_bytes().to_vec(), Ok(content.to_vec()));
        self
    }

    fn with_error(mut self, path: &str, error: OpenError) -> Self {
        self.files.insert(path.as_bytes().to_vec(), Err(error));
        self
    }

    fn connect(&mut self) {
        let peer = Peer {
            remote: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 7), 40_000)),
            local: SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 80)),
            secure: false,
            server_name: None,
        };
        let mut actions = Actions::new();
        self.session = Some(self.service.on_connect(self.now, &peer, &mut actions));
        self.finished = false;
        self.apply(actions);
    }

    /// Does what the service asks for, as the engine would.
    fn apply(&mut self, mut actions: Actions) {
        for action in actions.take() {
            match action {
                Action::Send(bytes) => {
                    assert!(!self.finished, "nothing is sent after the end");
                    self.output.extend_from_slice(&bytes);
                    self.waiting_sent = true;
                }
                Action::SendFile(handle, range) => {
                    assert_eq!(handle, FileHandle::for_tests(9));
                    let path = self.waiting_open.as_ref().unwrap();
                    let content = self.files[path].as_ref().unwrap();
                    let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
                    self.output.extend_from_slice(&content[range]);
                    self.waiting_sent = true;
                }
                Action::Open(root, path) => {
                    assert_eq!(root, RootId(3));
                    assert!(self.waiting_open.replace(path.into_vec()).is_none(), "one open at a time");
                }
                Action::SendMemory(..) => panic!("nothing here lies in memory"),
                Action::Wait(ticket) => panic!("{ticket:?} is nobody's"),
                Action::Finish => self.finished = true,
                Action::Abort => panic!("aborted"),
                Action::Deadline(at) => self.deadline = at,
            }
        }
    }

    /// Calls one of the service's functions and does what it asks for.
    fn call(&mut self, call: impl FnOnce(&mut AtlasService, Now, &mut Session, &mut Actions)) {
        let mut actions = Actions::new();
        let session = self.session.as_mut().unwrap();
        call(&mut self.service, self.now, session, &mut actions);
        self.apply(actions);
    }

    /// Goes on until the service has to wait for something.
    fn pump(&mut self) {
        loop {
            if self.waiting_open.is_some() {
                if self.slow_disk {
                    return;
                }
                self.answer_open();
            } else if self.waiting_sent {
                if self.slow_client {
                    return;
                }
                self.waiting_sent = false;
                self.call(|service, now, session, actions| service.on_sent(now, session, actions));
            } else if !self.input.is_empty() && !self.finished {
                let input = core::mem::take(&mut self.input);
                let mut taken = 0;
                self.call(|service, now, session, actions| {
                    taken = service.on_bytes(now, session, &input, actions)
                });
                self.input = input[taken..].to_vec();
                if taken == 0 && self.waiting_open.is_none() && !self.waiting_sent {
                    return;
                }
            } else {
                return;
            }
        }
    }

    fn answer_open(&mut self) {
        let path = self.waiting_open.clone().unwrap();
        let result = match self.files.get(&path) {
            None => Err(OpenError::NotFound),
            Some(Err(error)) => Err(*error),
            Some(Ok(content)) => Ok((FileHandle::for_tests(9), meta(content))),
        };
        self.call(|service, now, session, actions| service.on_file(now, session, result, actions));
        self.waiting_open = None;
    }

    fn let_files_open(&mut self) {
        self.slow_disk = false;
        self.pump();
    }

    fn let_answers_end(&mut self) {
        self.slow_client = false;
        self.pump();
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.input.extend_from_slice(bytes.as_ref());
        self.pump();
    }

    /// Lets time pass, deadlines included.
    fn wait(&mut self, duration: Duration) {
        self.now.instant += duration;
        self.now.unix += duration;
        if self.deadline <= self.now.instant {
            self.deadline = Instant::NEVER;
            self.call(|service, now, session, actions| service.on_deadline(now, session, actions));
            self.pump();
        }
    }

    fn drain(&mut self) {
        self.call(|service, now, session, actions| service.on_drain(now, session, actions));
        self.pump();
    }

    fn close(&mut self, end: End, sent_bytes: u64) {
        let session = self.session.take().unwrap();
        let transfer = Transfer { sent_bytes, ..Transfer::default() };
        self.service.on_close(self.now, session, end, &transfer);
    }

    /// Every answer so far, read as a client would.
    fn answers(&mut self) -> Vec<Reply> {
        let output = core::mem::take(&mut self.output);
        let mut rest = output.as_slice();
        let mut replies = Vec::new();
        while !rest.is_empty() {
            let (reply, used) = Reply::parse(rest);
            rest = &rest[used..];
            replies.push(reply);
        }
        replies
    }

    /// The one answer to a request.
    fn ask(&mut self, request: impl AsRef<[u8]>) -> Reply {
        self.send(request);
        let mut answers = self.answers();
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0)
    }

    fn get(&mut self, target: &str) -> Reply {
        self.get_with(target, "")
    }

    fn get_with(&mut self, target: &str, lines: &str) -> Reply {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
    }

    /// Head and nothing else: whatever follows would be read as the next answer.
    fn head_of(&mut self, target: &str, lines: &str) -> Reply {
        self.send(format!("HEAD {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n"));
        let output = core::mem::take(&mut self.output);
        let (reply, used) = Reply::parse_head(&output);
        assert_eq!(used, output.len(), "an answer to HEAD has no content");
        reply
    }
}

fn meta(content: &[u8]) -> FileMeta {
    FileMeta {
        len: content.len() as u64,
        mtime_ns: i64::try_from(MODIFIED).unwrap() * 1_000_000_000,
        inode: 3,
        device: 1,
        align: 512,
        direct: true,
    }
}

/// The tag of a file in a [`World`].
fn tag_of(content: &[u8]) -> String {
    let FileMeta { len, mtime_ns, inode, .. } = meta(content);
    http::etag::ETag::of_file(len, mtime_ns.cast_unsigned(), inode).to_string()
}

/// An answer, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    status: u16,
    /// Names in lower case.
    fields: Vec<(String, String)>,
    content: Vec<u8>,
}

impl Reply {
    fn parse_head(bytes: &[u8]) -> (Self, usize) {
        let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
        let mut used = 0;
        let mut next = || {
            let line = lines.next().expect("the head ends");
            used += line.len();
            core::str::from_utf8(line).unwrap().strip_suffix("\r\n").expect("lines end in CRLF").to_owned()
        };
        let status = next();
        let status =
            status.strip_prefix("HTTP/1.1 ").expect("HTTP/1.1").split(' ').next().unwrap().parse().unwrap();
        let mut fields = Vec::new();
        loop {
            let line = next();
            let Some((name, value)) = line.split_once(": ") else {
                assert_eq!(line, "");
                return (Self { status, fields, content: Vec::new() }, used);
            };
            let name = name.to_ascii_lowercase();
            assert!(fields.iter().all(|(other, _)| *other != name), "{name} comes twice");
            fields.push((name, value.to_owned()));
        }
    }

    fn parse(bytes: &[u8]) -> (Self, usize) {
        let (mut reply, used) = Self::parse_head(bytes);
        let length = match reply.status {
            204 | 304 => 0,
            _ => reply.field("content-length").expect("a length").parse().unwrap(),
        };
        reply.content = bytes[used..used + length].to_vec();
        (reply, used + length)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}
