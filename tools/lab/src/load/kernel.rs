//! Clients over the kernel's TCP: one thread, one epoll, as many sockets as descriptors allow.
//!
//! ```text
//!   epoll ──▶ readable ──▶ want: Bytes   recv into one buffer
//!     ▲                          Discard recv(MSG_TRUNC): the kernel frees what it would have copied
//!     └── timers: a heap of deadlines, looked at again when they come
//! ```
//!
//! Readiness by epoll and not io_uring: profiles show the system calls' entries to be a tenth of what a client costs,
//! and the rest the kernel's TCP, which both pay (docs/design/lab.md).

use clock::Instant;
use core::net::{IpAddr, SocketAddr};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, sockopt};
use rustix::time::{ClockId, Timespec, clock_gettime};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::fault::Fault;
use super::plan::Plan;
use super::session::Want;
use super::tally::Tally;
use super::timers::Timers;
use super::visit::{Action, Client, Desk};

/// Bytes are received into this; what is discarded is named by its length, and never written.
const BUFFER_BYTES: usize = 1 << 20;
const EVENTS_MAX: usize = 256;
/// One connection is read at most so often before the others' turn.
const READS_MAX: usize = 64;
/// How long it sleeps at most: somebody may want it to stop.
const GLANCE: Duration = Duration::from_millis(50);

/// Numbers for whoever waits, updated now and then.
#[derive(Debug, Default)]
pub struct Gauge {
    /// Responses so far.
    pub requests: AtomicU64,
    /// Bytes from the network so far.
    pub wire_bytes: AtomicU64,
    /// Failures so far.
    pub failed: AtomicU64,
    /// Connections now.
    pub open: AtomicU64,
}

/// What was counted between two instants.
#[derive(Clone, Debug)]
pub struct Window {
    /// What.
    pub tally: Tally,
    /// How long it was.
    pub wall: Duration,
    /// CPU time of this thread in it, the kernel's on its behalf included.
    pub cpu: Duration,
}

/// A worker: some of a plan's clients.
#[derive(Debug)]
pub struct Worker {
    desk: Desk,
    slots: Vec<Slot>,
    timers: Timers,
    poll: OwnedFd,
    buffer: Vec<u8>,
    gauge: Arc<Gauge>,
    open: u64,
    retired: usize,
}

#[derive(Debug)]
struct Slot {
    client: Client,
    socket: Option<OwnedFd>,
    /// What epoll watches for.
    writing: bool,
    source: Option<IpAddr>,
    /// It was counted as one who will not ask again.
    retired: bool,
}

/// The monotonic clock, which every worker shares.
#[must_use]
pub fn now() -> Instant {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(tv_sec).unwrap_or(0);
    Instant::from_nanos(seconds * 1_000_000_000 + u64::try_from(tv_nsec).unwrap_or(0))
}

/// CPU time of this thread.
#[must_use]
pub fn thread_cpu() -> Duration {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(tv_sec).unwrap_or(0), u32::try_from(tv_nsec).unwrap_or(0))
}

impl Worker {
    /// Of a plan's clients those whose number is `first`, `first + step`, and so on; they begin within the plan's ramp
    /// from `begins` on.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn new(
        plan: &Arc<Plan>,
        (first, step): (usize, usize),
        begins: Instant,
        budget: Option<Arc<AtomicU64>>,
    ) -> Result<Self, Errno> {
        let numbers: Vec<usize> = (first..plan.connections).step_by(step.max(1)).collect();
        let mut desk = Desk::new(Arc::clone(plan), numbers.len(), first as u64, budget);
        let mut timers = Timers::new(numbers.len());
        let mut slots = Vec::with_capacity(numbers.len());
        for number in numbers {
            let at = begins + plan.ramp.mul_f64(share(number, plan.connections));
            timers.arm(slots.len(), at);
            let source = number.checked_rem(plan.sources.len()).map(|index| plan.sources[index]);
            let client = Client::new(&mut desk, number, at);
            slots.push(Slot { client, socket: None, writing: false, source, retired: false });
        }
        Ok(Self {
            desk,
            slots,
            timers,
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            buffer: vec![0; BUFFER_BYTES],
            gauge: Arc::new(Gauge::default()),
            open: 0,
            retired: 0,
        })
    }

    /// Numbers for whoever waits.
    #[must_use]
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.gauge)
    }

    /// From now on this share of responses is compared with the truth.
    pub fn set_verify(&mut self, share: f64) {
        self.desk.set_verify(share);
    }

    /// Lets the clients go about their business for this long, or until nobody has any, or `stop`.
    ///
    /// # Errors
    /// The kernel would not wait.
    pub fn run(&mut self, duration: Duration, stop: &AtomicBool) -> Result<Window, Errno> {
        let begun = now();
        let (ends, cpu) = (begun + duration, thread_cpu());
        let _ = self.desk.take_tally();
        for slot in &mut self.slots {
            slot.client.forget(begun);
        }
        let mut events = Vec::with_capacity(EVENTS_MAX);
        loop {
            let mut at = now();
            if at >= ends || stop.load(Ordering::Relaxed) || self.retired == self.slots.len() {
                break;
            }
            let due = self.expire(at);
            let wait = due.min(ends).since(at).min(GLANCE);
            events.clear();
            let timeout = Timespec { tv_sec: 0, tv_nsec: wait.subsec_nanos().into() };
            match epoll::wait(&self.poll, spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
            for event in &events {
                let event: &epoll::Event = event;
                let index = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                at = now();
                self.on_ready(at, index, event.flags);
            }
            self.tell();
        }
        let at = now();
        let mut tally = self.desk.take_tally();
        for slot in &mut self.slots {
            slot.client.report(at, &mut tally);
        }
        Ok(Window { tally, wall: at.since(begun), cpu: thread_cpu().saturating_sub(cpu) })
    }

    /// Takes leave of everybody: the kernel sends what is to be sent.
    pub fn leave(&mut self) {
        for slot in &mut self.slots {
            self.open -= u64::from(slot.socket.take().is_some());
        }
    }

    fn tell(&mut self) {
        let tally = self.desk.tally();
        self.gauge.requests.store(tally.requests, Ordering::Relaxed);
        self.gauge.wire_bytes.store(tally.wire_bytes, Ordering::Relaxed);
        self.gauge.failed.store(tally.failed(), Ordering::Relaxed);
        self.gauge.open.store(self.open, Ordering::Relaxed);
    }

    /// Polls whoever is due; returns when the next one is.
    fn expire(&mut self, now: Instant) -> Instant {
        while let Some(index) = self.timers.pop(now) {
            self.settle(now, index);
        }
        self.timers.next()
    }

    fn on_ready(&mut self, now: Instant, index: usize, flags: epoll::EventFlags) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        let Some(socket) = &slot.socket else { return };
        if !slot.client.is_connected() {
            match sockopt::socket_error(socket) {
                Ok(Ok(())) if flags.contains(epoll::EventFlags::OUT) => {
                    slot.client.on_connected(now, &mut self.desk)
                }
                Ok(Ok(())) => return,
                Ok(Err(errno)) | Err(errno) => slot.client.on_broken(Fault::Connect(errno)),
            }
        } else if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            Self::read(now, slot, &mut self.desk, &mut self.buffer);
        }
        self.settle(now, index);
    }

    /// Takes what there is, until a response is whole or nothing is left.
    fn read(now: Instant, slot: &mut Slot, desk: &mut Desk, buffer: &mut [u8]) {
        let Some(socket) = &slot.socket else { return };
        for _ in 0..READS_MAX {
            let (room, flags) = match slot.client.want() {
                Want::Bytes(count) => (count.min(buffer.len()), RecvFlags::empty()),
                Want::Discard(count) => {
                    (usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len()), RecvFlags::TRUNC)
                }
            };
            let count = match recv(socket, &mut buffer[..room], flags | RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return slot.client.on_end(now, desk),
                Ok((_, count)) => count,
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR) => continue,
                Err(Errno::CONNRESET | Errno::PIPE) => return slot.client.on_broken(Fault::Reset),
                Err(errno) => return slot.client.on_broken(Fault::Connect(errno)),
            };
            if flags.contains(RecvFlags::TRUNC) {
                slot.client.on_discarded(now, desk, count as u64);
            } else {
                slot.client.on_bytes(now, desk, &buffer[..count]);
            }
            if count < room || slot.client.has_turned() {
                return;
            }
        }
    }

    /// Does what the client wants, until it rests.
    fn settle(&mut self, now: Instant, index: usize) {
        loop {
            let slot = &mut self.slots[index];
            match slot.client.poll(now, &mut self.desk) {
                Action::Rest => break,
                Action::Open { server } => {
                    let address = self.desk.plan().catalogue.servers[server].address;
                    match dial(address, slot.source) {
                        Ok(socket) => {
                            slot.client.on_opening(now, &mut self.desk);
                            self.open += 1;
                            slot.writing = true;
                            if let Err(errno) = epoll::add(
                                &self.poll,
                                &socket,
                                epoll::EventData::new_u64(index as u64),
                                epoll::EventFlags::IN | epoll::EventFlags::OUT,
                            ) {
                                slot.client.on_broken(Fault::Local(errno));
                            }
                            slot.socket = Some(socket);
                        }
                        Err(fault) => slot.client.on_broken(fault),
                    }
                }
                Action::Close | Action::Abort => {
                    self.open -= u64::from(slot.socket.take().is_some());
                }
            }
        }
        self.flush(now, index);
        let slot = &mut self.slots[index];
        if slot.client.is_retired() {
            self.retired += usize::from(!slot.retired);
            slot.retired = true;
            return;
        }
        let wakes = slot.client.wakes_at(self.desk.plan());
        self.timers.arm(index, wakes);
    }

    /// Sends what is to be sent, and watches for room where there was too little.
    fn flush(&mut self, now: Instant, index: usize) {
        let slot = &mut self.slots[index];
        let Some(socket) = &slot.socket else { return };
        while !slot.client.output().is_empty() {
            match send(socket, slot.client.output(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => slot.client.on_sent(count),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET | Errno::PIPE) => {
                    slot.client.on_broken(Fault::Reset);
                    return self.settle(now, index);
                }
                Err(errno) => {
                    slot.client.on_broken(Fault::Connect(errno));
                    return self.settle(now, index);
                }
            }
        }
        let writing = !slot.client.is_connected() || !slot.client.output().is_empty();
        if writing != slot.writing {
            slot.writing = writing;
            let room = if writing { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
            let data = epoll::EventData::new_u64(index as u64);
            let _ = epoll::modify(&self.poll, socket, data, epoll::EventFlags::IN | room);
        }
    }
}

/// A connection under way.
fn dial(address: SocketAddr, source: Option<IpAddr>) -> Result<OwnedFd, Fault> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None).map_err(Fault::Local)?;
    sockopt::set_tcp_nodelay(&socket, true).map_err(Fault::Local)?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        // With SO_REUSEADDR the kernel may choose a port that another of our connections has towards another server.
        sockopt::set_socket_reuseaddr(&socket, true).map_err(Fault::Local)?;
        rustix::net::bind(&socket, &SocketAddr::new(source, 0)).map_err(Fault::Local)?;
    }
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(errno @ (Errno::ADDRNOTAVAIL | Errno::MFILE | Errno::NFILE | Errno::NOBUFS)) => {
            Err(Fault::Local(errno))
        }
        Err(errno) => Err(Fault::Connect(errno)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share of a ramp")]
fn share(number: usize, of: usize) -> f64 {
    number as f64 / of.max(1) as f64
}
