//! The socket between a server and its monitor.
//!
//! ```text
//!   server ── request ──▶ monitor          SOCK_SEQPACKET: a message is whole or not there
//!          ◀── answer + descriptors ──
//!          ◀── end of file ── whoever dies first
//! ```
//!
//! One request at a time, one answer to each. The first message is the briefing: what the server made before it gave up
//! the right to make it. There is no second one.

use core::mem::MaybeUninit;
use core::time::Duration;
use rustix::io::Errno;
use rustix::net::sockopt::Timeout;
use rustix::net::sockopt::set_socket_timeout;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::ChannelError;
use crate::requests::{PATH_BYTES_MAX, Request, emit_answer, parse_answer};

/// The longest message: a request with the longest path, a briefing, or an answer with a note.
const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// The most descriptors in an answer: two for each worker. The kernel takes 253.
const DESCRIPTORS_MAX: usize = 128;
/// How long the server waits for an answer. Opening a link takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);

const _: () = assert!(PATH_BYTES_MAX + 2 <= MESSAGE_BYTES_MAX);

/// What came with an answer.
#[derive(Debug, Default)]
pub struct Passed {
    /// The descriptors, in the order in which they were given.
    pub descriptors: Vec<OwnedFd>,
    /// What there is to say about them.
    pub note: Vec<u8>,
}

/// What the monitor hears.
#[derive(Debug)]
pub enum Asked {
    /// A request, to be [answered](Channel::answer).
    Request(Request),
    /// Something that is no request; answer it with a refusal.
    Nonsense,
    /// The server is gone.
    Gone,
}

/// One end.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// The server's end, and the other one to be handed to the monitor.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn pair() -> Result<(Self, OwnedFd), ChannelError> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(socket)?;
        set_socket_timeout(&ours, Timeout::Recv, Some(PATIENCE)).map_err(socket)?;
        set_socket_timeout(&ours, Timeout::Send, Some(PATIENCE)).map_err(socket)?;
        Ok((Self { socket: ours }, theirs))
    }

    /// The monitor's end.
    #[must_use]
    pub const fn new(socket: OwnedFd) -> Self {
        Self { socket }
    }

    /// Another name for the same end. Two who ask at once would get each other's answers: for one thread at a time.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn try_clone(&self) -> Result<Self, ChannelError> {
        Ok(Self { socket: self.socket.try_clone().map_err(ChannelError::Socket)? })
    }

    /// Tells the monitor what it has to know, before anything else.
    ///
    /// # Errors
    /// It is gone, or there is too much to say.
    pub fn brief(&self, briefing: &[u8]) -> Result<(), ChannelError> {
        self.send(briefing, &[])
    }

    /// What the monitor has to know. Blocks.
    ///
    /// # Errors
    /// The server is gone.
    pub fn briefing(&self) -> Result<Vec<u8>, ChannelError> {
        let (bytes, _) = self.receive()?;
        if bytes.is_empty() { Err(ChannelError::Gone) } else { Ok(bytes) }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The monitor refuses, or is not there to do so.
    pub fn ask(&self, request: &Request) -> Result<Passed, ChannelError> {
        self.send(&request.emit(), &[])?;
        let (bytes, descriptors) = self.receive()?;
        if bytes.is_empty() {
            return Err(ChannelError::Gone);
        }
        match parse_answer(&bytes) {
            Some(Ok(note)) => Ok(Passed { descriptors, note }),
            Some(Err(reason)) => Err(ChannelError::Refused { reason }),
            None => Err(ChannelError::Malformed),
        }
    }

    /// The next request. Blocks. Descriptors that came with it are closed.
    ///
    /// # Errors
    /// The socket failed.
    pub fn asked(&self) -> Result<Asked, ChannelError> {
        match self.receive() {
            Ok((bytes, _)) if bytes.is_empty() => Ok(Asked::Gone),
            Ok((bytes, _)) => Ok(Request::parse(&bytes).map_or(Asked::Nonsense, Asked::Request)),
            Err(ChannelError::Gone) => Ok(Asked::Gone),
            Err(ChannelError::Malformed) => Ok(Asked::Nonsense),
            Err(error) => Err(error),
        }
    }

    /// Answers what was asked last.
    ///
    /// # Errors
    /// The server is gone.
    ///
    /// # Panics
    /// More descriptors than an answer holds.
    pub fn answer(&self, answer: Result<&Passed, &str>) -> Result<(), ChannelError> {
        match answer {
            Ok(Passed { descriptors, note }) => {
                assert!(descriptors.len() <= DESCRIPTORS_MAX, "{} descriptors", descriptors.len());
                let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                self.send(&emit_answer(Ok(note)), &borrowed)
            }
            Err(reason) => self.send(&emit_answer(Err(reason)), &[]),
        }
    }

    /// Ends the conversation, for both sides.
    pub fn shutdown(&self) {
        // Of a socket whose other side is gone there is nothing left to end.
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }

    fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(ChannelError::Malformed);
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        loop {
            // A peer that is gone is an answer, not a signal.
            match sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failure(errno)),
            }
        }
    }

    /// A message; an empty one is the end.
    fn receive(&self) -> Result<(Vec<u8>, Vec<OwnedFd>), ChannelError> {
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut into = [IoSliceMut::new(&mut bytes)];
            match recvmsg(&self.socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) => break received,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failure(errno)),
            }
        };
        let descriptors = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .collect();
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(ChannelError::Malformed);
        }
        bytes.truncate(received.bytes);
        Ok((bytes, descriptors))
    }
}

/// Readable, or hung up, when the other side is gone.
impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn socket(errno: Errno) -> ChannelError {
    ChannelError::Socket(errno.into())
}

fn failure(errno: Errno) -> ChannelError {
    match errno {
        Errno::PIPE | Errno::CONNRESET => ChannelError::Gone,
        Errno::AGAIN => ChannelError::Silent,
        errno => socket(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Access;
    use std::fs::File;
    use std::io::Read as _;

    fn pair() -> (Channel, Channel) {
        let (server, monitor) = Channel::pair().unwrap();
        (server, Channel::new(monitor))
    }

    #[test]
    fn a_descriptor_crosses_with_its_note() {
        let (server, monitor) = pair();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let Asked::Request(Request::File { path, access: Access::Read }) = monitor.asked().unwrap()
                else {
                    panic!("another request");
                };
                let file = File::open(path).unwrap();
                let passed = Passed { descriptors: vec![file.into()], note: b"as you wished".to_vec() };
                monitor.answer(Ok(&passed)).unwrap();
            });
            let request = Request::File { path: "/proc/self/cmdline".into(), access: Access::Read };
            let mut passed = server.ask(&request).unwrap();
            assert_eq!(passed.note, b"as you wished");
            let mut text = Vec::new();
            File::from(passed.descriptors.pop().unwrap()).read_to_end(&mut text).unwrap();
            assert!(!text.is_empty());
        });
    }

    #[test]
    fn a_refusal_has_a_reason() {
        let (server, monitor) = pair();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(matches!(monitor.asked().unwrap(), Asked::Request(Request::Link)));
                monitor.answer(Err("the interface eth1 is gone")).unwrap();
            });
            let error = server.ask(&Request::Link).unwrap_err();
            assert_eq!(error.to_string(), "the interface eth1 is gone");
        });
    }

    #[test]
    fn who_dies_is_missed_by_the_other() {
        let (server, monitor) = pair();
        drop(server);
        assert!(matches!(monitor.asked().unwrap(), Asked::Gone));
        assert!(matches!(monitor.answer(Err("too late")), Err(ChannelError::Gone)));

        let (server, monitor) = pair();
        drop(monitor);
        assert!(matches!(server.ask(&Request::Link), Err(ChannelError::Gone)));
    }

    #[test]
    fn nonsense_and_too_much_are_told_apart_from_requests() {
        let (server, monitor) = pair();
        server.brief(b"\xff\xfe").unwrap();
        assert!(matches!(monitor.asked().unwrap(), Asked::Nonsense));
        let much = vec![1; MESSAGE_BYTES_MAX + 1];
        assert!(matches!(server.brief(&much), Err(ChannelError::Malformed)));
        // Past the check on our side, as an attacker would.
        rustix::net::send(&server.socket, &much, SendFlags::empty()).unwrap();
        assert!(matches!(monitor.asked().unwrap(), Asked::Nonsense));
    }

    #[test]
    fn descriptors_that_nobody_asked_for_are_closed() {
        let (server, monitor) = pair();
        let (watched, stranger) = pair();
        server.send(&Request::Link.emit(), &[stranger.as_fd()]).unwrap();
        drop(stranger);
        assert!(matches!(monitor.asked().unwrap(), Asked::Request(Request::Link)));
        assert!(matches!(watched.ask(&Request::Link), Err(ChannelError::Gone)));
    }
}
