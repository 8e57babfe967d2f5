//! One forwarded connection: two sockets, two directions.

use core::time::Duration;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{Shutdown, sockopt};
use rustix::pipe::{PipeFlags, SpliceFlags, pipe_with, splice};
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};

/// A pipe's capacity, unless it was changed.
const PIPE_BYTES: usize = 64 << 10;
/// Bytes moved before others have their turn.
const TURN_BYTES: usize = 1 << 20;
/// Pipes kept for reuse.
const SPARE_PIPES: usize = 32;

/// Empty pipes, for whoever has bytes to move.
#[derive(Debug, Default)]
pub(super) struct Pipes(Vec<Pipe>);

#[derive(Debug)]
struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Pipes {
    fn take(&mut self) -> io::Result<Pipe> {
        match self.0.pop() {
            Some(pipe) => Ok(pipe),
            None => {
                let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
                Ok(Pipe { out, into })
            }
        }
    }

    /// Takes back a pipe that is empty.
    fn give(&mut self, pipe: Pipe) {
        if self.0.len() < SPARE_PIPES {
            self.0.push(pipe);
        }
    }
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// Nothing to do until a socket is ready.
    Waiting,
    /// There is more to do at once.
    Unfinished,
    /// Both directions have ended, or one has failed.
    Over {
        /// Everything was delivered.
        clean: bool,
    },
}

#[derive(Debug)]
pub(super) struct Relay {
    client: OwnedFd,
    server: OwnedFd,
    up: Direction,
    down: Direction,
    /// The connection to the server is not there yet.
    connecting: bool,
}

/// One way of it. Bytes are in the pipe or in a socket, never with us.
#[derive(Debug, Default)]
struct Direction {
    /// Held while it has bytes in it.
    pipe: Option<Pipe>,
    piped: usize,
    /// The sender has no more.
    ended: bool,
    /// The receiver has been told so.
    told: bool,
}

impl Relay {
    pub(super) fn new(client: TcpStream, server: OwnedFd) -> io::Result<Self> {
        client.set_nonblocking(true)?;
        // Small answers do not wait for company.
        client.set_nodelay(true)?;
        sockopt::set_tcp_nodelay(&server, true)?;
        Ok(Self {
            client: client.into(),
            server,
            up: Direction::default(),
            down: Direction::default(),
            connecting: true,
        })
    }

    /// Has both sockets watched, edge-triggered: a turn goes on until neither can.
    pub(super) fn register(&self, epoll: &OwnedFd, token: u64) -> io::Result<()> {
        use epoll::EventFlags;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        for socket in [&self.client, &self.server] {
            epoll::add(epoll, socket, epoll::EventData::new_u64(token), flags)?;
        }
        Ok(())
    }

    pub(super) fn turn(&mut self, pipes: &mut Pipes) -> Turned {
        match self.go_on(pipes) {
            Ok(turned) => turned,
            Err(_) => {
                // Whichever side failed, the other one learns that the stream is not complete.
                for socket in [&self.client, &self.server] {
                    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
                }
                Turned::Over { clean: false }
            }
        }
    }

    fn go_on(&mut self, pipes: &mut Pipes) -> io::Result<Turned> {
        if self.connecting {
            match rustix::net::getpeername(&self.server) {
                Ok(_) => self.connecting = false,
                Err(Errno::NOTCONN) => {
                    sockopt::socket_error(&self.server)??;
                    return Ok(Turned::Waiting);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let up = self.up.turn(&self.client, &self.server, pipes)?;
        let down = self.down.turn(&self.server, &self.client, pipes)?;
        Ok(if self.up.told && self.down.told {
            Turned::Over { clean: true }
        } else if up || down {
            Turned::Unfinished
        } else {
            Turned::Waiting
        })
    }
}

impl Direction {
    /// Moves what can be moved. Returns whether there is more.
    fn turn(&mut self, from: &OwnedFd, to: &OwnedFd, pipes: &mut Pipes) -> io::Result<bool> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        let mut moved = 0;
        while !self.told {
            if moved >= TURN_BYTES {
                return Ok(true);
            }
            if self.piped > 0 {
                let pipe = self.pipe.as_ref().expect("bytes are in a pipe");
                match splice(pipe.out.as_fd(), None, to.as_fd(), None, self.piped, flags) {
                    Ok(bytes) => {
                        self.piped -= bytes;
                        moved += bytes;
                    }
                    Err(Errno::AGAIN) => return Ok(false),
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            if self.ended {
                self.release(pipes);
                match rustix::net::shutdown(to, Shutdown::Write) {
                    // The receiver may have gone since; what it was sent, it has.
                    Ok(()) | Err(Errno::NOTCONN) => self.told = true,
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            if self.pipe.is_none() {
                self.pipe = Some(pipes.take()?);
            }
            let pipe = self.pipe.as_ref().expect("taken just now");
            match splice(from.as_fd(), None, pipe.into.as_fd(), None, PIPE_BYTES, flags) {
                Ok(0) => self.ended = true,
                Ok(bytes) => self.piped = bytes,
                Err(Errno::AGAIN) => {
                    self.release(pipes);
                    return Ok(false);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Gives the pipe, which is empty, to others.
    fn release(&mut self, pipes: &mut Pipes) {
        debug_assert_eq!(self.piped, 0);
        if let Some(pipe) = self.pipe.take() {
            pipes.give(pipe);
        }
    }
}
