//! The forwarder: from ports of the loopback interface outside to the server inside its namespace.
//!
//! ```text
//!   client ── 127.0.0.1:8080 ──▶ socket ══ splice ══▶ pipe ══ splice ══▶ socket ──▶ 10.77.0.2:80
//!                                       ◀══════════════════════════════
//! ```
//!
//! One thread, edge-triggered epoll; the bytes stay in the kernel. A pipe is held only while there are bytes in it, so
//! that an idle connection costs two descriptors. Each direction ends on its own (half-close), and a reset on one side
//! is a reset on the other. At most [`CONNECTIONS_MAX`] connections; more wait in the listener's queue.

mod relay;

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use rustix::event::{Timespec, epoll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::confinement::Policy;
use confine::{Files, Kind};
use control::Wake;
use relay::{Pipes, Relay};

/// Connections at once: this is for development, not for the world.
const CONNECTIONS_MAX: usize = 1_024;
/// Events taken at once.
const EVENTS: usize = 128;

const STOP_TOKEN: u64 = u64::MAX;
/// Tokens of listeners begin here; connections have those below.
const LISTENER_TOKENS: u64 = 1 << 32;

/// A port outside, and where it leads.
#[derive(Debug)]
pub struct Route {
    /// Bound outside.
    pub listener: TcpListener,
    /// Inside.
    pub target: SocketAddr,
}

/// The running forwarder. Stops when dropped.
#[derive(Debug)]
pub struct Forwarder {
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
    bell: Wake,
}

/// What the thread and its owner tell each other.
#[derive(Debug, Default)]
struct Shared {
    order: AtomicU8,
    accepted: AtomicU64,
    failed: AtomicU64,
}

const RUN: u8 = 0;
const ACCEPT_NO_MORE: u8 = 1;
const STOP: u8 = 2;

impl Forwarder {
    /// Starts the thread. The targets are reached from the caller's network namespace.
    pub fn start(routes: Vec<Route>, policy: Policy) -> io::Result<Self> {
        let bell = Wake::new()?;
        let shared = Arc::new(Shared::default());
        let targets = routes.iter().map(|route| route.target.port()).collect();
        let mut forward = Forward::new(routes, bell.clone(), Arc::clone(&shared))?;
        let thread = thread::Builder::new().name("forward".to_owned()).spawn(move || {
            let files = Files { network: confine::Network::Connect(targets), ..Files::default() };
            if let Err(error) = policy.apply(Kind::Forwarder, files) {
                tracing::error!("the forwarder did not start: {error}");
            } else if let Err(error) = forward.run() {
                tracing::error!("the forwarder stopped: {error}");
            }
        })?;
        Ok(Self { thread: Some(thread), shared, bell })
    }

    /// Closes the ports outside; connections go on.
    pub fn accept_no_more(&self) {
        if self.shared.order.fetch_max(ACCEPT_NO_MORE, Ordering::Relaxed) == RUN {
            self.bell.ring();
        }
    }

    /// Connections taken so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections that could not be forwarded, or were reset by one side.
    pub fn failed(&self) -> u64 {
        self.shared.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.order.store(STOP, Ordering::Relaxed);
        self.bell.ring();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic handler.
            let _ = thread.join();
        }
    }
}

/// The thread's own.
struct Forward {
    epoll: OwnedFd,
    routes: Vec<Route>,
    relays: BTreeMap<u64, Relay>,
    next_token: u64,
    pipes: Pipes,
    /// Relays that have more to do than one turn allows.
    unfinished: Vec<u64>,
    /// The listeners are not looked at, because the table is full or descriptors ran out.
    paused: bool,
    bell: Wake,
    shared: Arc<Shared>,
}

impl Forward {
    fn new(routes: Vec<Route>, bell: Wake, shared: Arc<Shared>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &bell, epoll::EventData::new_u64(STOP_TOKEN), epoll::EventFlags::IN)?;
        for (token, route) in (LISTENER_TOKENS..).zip(&routes) {
            route.listener.set_nonblocking(true)?;
            epoll::add(&epoll, &route.listener, epoll::EventData::new_u64(token), epoll::EventFlags::IN)?;
        }
        Ok(Self {
            epoll,
            routes,
            relays: BTreeMap::new(),
            next_token: 0,
            pipes: Pipes::default(),
            unfinished: Vec::new(),
            paused: false,
            bell,
            shared,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            events.clear();
            let timeout = (!self.unfinished.is_empty()).then_some(&now);
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut ready = core::mem::take(&mut self.unfinished);
            for event in &events {
                // A packed field: copied, not borrowed.
                let data = event.data;
                match data.u64() {
                    STOP_TOKEN => {
                        self.bell.silence();
                        match self.shared.order.load(Ordering::Relaxed) {
                            STOP => return Ok(()),
                            ACCEPT_NO_MORE => self.routes.clear(),
                            _ => {}
                        }
                    }
                    token if token >= LISTENER_TOKENS => self.accept(token),
                    token => ready.push(token),
                }
            }
            ready.sort_unstable();
            ready.dedup();
            ready.into_iter().for_each(|token| self.turn(token));
        }
    }

    /// Takes one connection; the listener is level-triggered and will call again.
    fn accept(&mut self, listener: u64) {
        let index = usize::try_from(listener - LISTENER_TOKENS).unwrap_or(usize::MAX);
        let Some(Route { listener, target }) = self.routes.get(index) else { return };
        if self.relays.len() >= CONNECTIONS_MAX {
            self.pause();
            return;
        }
        let client = match listener.accept() {
            Ok((client, _)) => client,
            Err(error) if error.raw_os_error().is_some_and(is_lack) => {
                // Until somebody leaves; with nobody here it would be for ever, and is tried again at once.
                if !self.relays.is_empty() {
                    self.pause();
                }
                return;
            }
            // The client is gone already.
            Err(_) => return,
        };
        self.shared.accepted.fetch_add(1, Ordering::Relaxed);
        let token = self.next_token;
        // Far fewer than 2^32 connections will ever be forwarded; should they, tokens begin again.
        self.next_token = (token + 1) % LISTENER_TOKENS;
        match connect(*target)
            .and_then(|server| Relay::new(client, server))
            .and_then(|relay| relay.register(&self.epoll, token).map(|()| relay))
        {
            Ok(relay) => {
                self.relays.insert(token, relay);
            }
            Err(error) => {
                self.shared.failed.fetch_add(1, Ordering::Relaxed);
                tracing::debug!("cannot forward to {target}: {error}");
            }
        }
    }

    fn turn(&mut self, token: u64) {
        let Some(relay) = self.relays.get_mut(&token) else { return };
        match relay.turn(&mut self.pipes) {
            relay::Turned::Waiting => {}
            relay::Turned::Unfinished => self.unfinished.push(token),
            relay::Turned::Over { clean } => {
                if !clean {
                    self.shared.failed.fetch_add(1, Ordering::Relaxed);
                }
                self.relays.remove(&token);
                self.resume();
            }
        }
    }

    fn pause(&mut self) {
        if !core::mem::replace(&mut self.paused, true) {
            self.listen(epoll::EventFlags::empty());
        }
    }

    fn resume(&mut self) {
        if core::mem::replace(&mut self.paused, false) {
            self.listen(epoll::EventFlags::IN);
        }
    }

    fn listen(&self, flags: epoll::EventFlags) {
        for (token, route) in (LISTENER_TOKENS..).zip(&self.routes) {
            // Both are open and registered: this cannot fail.
            let _ = epoll::modify(&self.epoll, &route.listener, epoll::EventData::new_u64(token), flags);
        }
    }
}

/// EMFILE, ENFILE, ENOBUFS, ENOMEM: ours, and it will pass.
fn is_lack(errno: i32) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM].iter().any(|lack| lack.raw_os_error() == errno)
}

/// Begins to connect, without waiting.
fn connect(target: SocketAddr) -> io::Result<OwnedFd> {
    let family = if target.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(socket.as_fd(), &target) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
