//! Clients over our own TCP: where a machine's kernel clients saturate before the server does.
//!
//! ```text
//!   link ──▶ interface ──▶ table ──▶ tcp::Connection ──▶ Client      payload is given where it lies, and discarded there
//!     ▲                      │              │
//!     └───── outbox ◀────────┴── segments ◀─┘
//! ```
//!
//! # Batches
//!
//! What a batch of packets brought a connection is answered once, when all of the batch was read: a response that came in
//! ten packets costs one ACK, as it does behind a kernel that merges them (GRO). Only a segment that brought nothing in order is
//! answered at once, for the sender counts those (RFC 5681 §4.2).
//!
//! # Ports
//!
//! A short connection is closed by the server first, so TIME_WAIT stays with it. A tuple comes around again after all
//! others (64,000 ports of each address), and its new SYN lies beyond the old sequence numbers: initial sequence numbers
//! are those of RFC 6528, which grow with time, and timestamps are off, so that a server in TIME_WAIT lets the new
//! connection begin (RFC 6191, RFC 9293 §3.6.1). Where this end did close first, its own TIME_WAIT answers until the
//! tuple is used again. Nothing is ever reset but what failed.

use clock::Instant;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::ops::Range;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use rand::rngs::SmallRng;
use rand::{RngCore as _, SeedableRng as _};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::time::Timespec;
use std::sync::Arc;

use stack::{
    Address, ConnectionTable, FlowId, HashKey, Input, Interface, InterfaceConfig, Replies, Resolution,
    TcpInput, TimeWaitTable, Wheel,
};
use tcp::{Connection, Events, Outgoing, SeqNum, State, TimeWaitAction};
use wire::checksum::Sum;
use wire::{Checksum, MacAddr, Path, emit_tcp};

use crate::device::Port;

use super::fault::Fault;
use super::kernel::{Gauge, Window, now, thread_cpu};
use super::plan::Plan;
use super::session::Want;
use super::timers::Timers;
use super::visit::{Action, Client, Desk};

mod outbox;
mod tuples;

use outbox::Outbox;
use tuples::Tuples;

/// Frames taken from the link before what they caused is sent.
const BATCH: usize = 64;
/// How long it sleeps at most: somebody may want it to stop.
const GLANCE: Duration = Duration::from_millis(50);
/// Peers have so long to answer our FINs at the end.
const LEAVE: Duration = Duration::from_millis(500);
/// A neighbour answers within this time.
const RESOLVE: Duration = Duration::from_secs(3);
const TIME_WAITS: u32 = 65_536;

/// Why no load can run on our own stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnError {
    /// The addresses are none for this link.
    Interface(stack::InterfaceError),
    /// A server is on no network of ours, or silent.
    NoWay(IpAddr),
    /// The kernel would not wait.
    Wait(Errno),
}

impl core::fmt::Display for OwnError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Interface(error) => error.fmt(f),
            Self::NoWay(server) => write!(
                f,
                "{server} does not answer ARP or neighbour discovery: our own stack has no routes, so the server must be \
                 in the network of --source"
            ),
            Self::Wait(errno) => write!(f, "the kernel would not wait for packets: {errno}"),
        }
    }
}

impl core::error::Error for OwnError {}

/// All clients of a plan, on one link.
#[derive(Debug)]
pub struct OwnWorker {
    port: Port,
    engine: Engine,
}

/// Everything but the link, whose packets are borrowed while they are read.
#[derive(Debug)]
struct Engine {
    interface: Interface,
    config: tcp::Config,
    table: ConnectionTable,
    flows: Vec<Option<Flow>>,
    /// Flows that something happened to, which have not been asked since what they would send.
    touched: Vec<FlowId>,
    /// Memory of streams that are over.
    spares: Vec<Vec<u8>>,
    transfers: Vec<tcp::Spare>,
    wheel: Wheel,
    time_wait: TimeWaitTable,
    replies: Replies,
    outbox: Outbox,
    tuples: Tuples,
    /// The next hop to each server of the catalogue.
    hops: Vec<Option<MacAddr>>,
    desk: Desk,
    seats: Vec<Seat>,
    timers: Timers,
    gauge: Arc<Gauge>,
    retired: usize,
    /// Connections that clients have now.
    open: u64,
}

#[derive(Debug)]
struct Seat {
    client: Client,
    flow: Option<FlowId>,
    retired: bool,
}

#[derive(Debug)]
struct Flow {
    tcp: Connection,
    path: Path,
    /// Whose it is; nobody's while it only closes.
    owner: Option<usize>,
    /// What is to be sent, from stream offset `base` on: acknowledged bytes are gone.
    stream: Vec<u8>,
    base: u64,
    /// It is among the touched.
    touched: bool,
}

impl OwnWorker {
    /// All of a plan's clients, from its sources, which are this stack's own addresses. Returns when every server's
    /// neighbour is known.
    ///
    /// # Errors
    /// [`OwnError`]
    pub fn new(
        plan: &Arc<Plan>,
        port: Port,
        prefix_len: u8,
        budget: Option<Arc<AtomicU64>>,
    ) -> Result<Self, OwnError> {
        let count = plan.connections;
        let mut desk = Desk::new(Arc::clone(plan), count, 0, budget);
        // Drawn from the seed, so that a second run soon after continues the first one's sequence numbers instead of
        // meeting the server's TIME_WAIT with others.
        let mut random = SmallRng::seed_from_u64(plan.seed);
        let mut key = [0; 16];
        random.fill_bytes(&mut key);
        let key = HashKey::new(key);
        let capabilities = port.link().capabilities();
        let mut config = InterfaceConfig::new(MacAddr(capabilities.mac));
        config.mtu = capabilities.mtu;
        let addresses = plan.sources.iter().map(|ip| Address { ip: *ip, prefix_len });
        config.addresses.extend(addresses.take(config.addresses.remaining_capacity()));
        let interface = Interface::new(&config, key).map_err(OwnError::Interface)?;
        let family = plan.sources.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let mss_max = interface.mss(family);
        let begins = now();
        // Some connections close while their clients have new ones already.
        let capacity = u32::try_from(4 * count + 1_024).unwrap_or(u32::MAX);
        let mut timers = Timers::new(count);
        let seats = (0..count)
            .map(|number| {
                #[expect(clippy::cast_precision_loss, reason = "a share of a ramp")]
                let at = begins + plan.ramp.mul_f64(number as f64 / count as f64);
                timers.arm(number, at);
                Seat { client: Client::new(&mut desk, number, at), flow: None, retired: false }
            })
            .collect();
        let mut worker = Self {
            port,
            engine: Engine {
                tuples: Tuples::new(
                    interface.addresses().iter().map(|address| address.ip),
                    random.next_u64(),
                ),
                interface,
                config: tcp::Config {
                    mss_max,
                    receive_window: 1 << 20,
                    timestamps: false,
                    pacing: false,
                    time_wait: Duration::from_secs(5),
                    fin_wait_2: Duration::from_secs(5),
                    user_timeout: plan.timeout,
                    ..tcp::Config::default()
                },
                table: ConnectionTable::new(capacity, key),
                flows: (0..capacity).map(|_| None).collect(),
                touched: Vec::with_capacity(count),
                spares: Vec::with_capacity(count),
                transfers: Vec::with_capacity(count),
                wheel: Wheel::new(capacity, begins),
                time_wait: TimeWaitTable::new(TIME_WAITS),
                replies: Replies::with_capacity(4 * BATCH),
                outbox: Outbox::new(),
                hops: vec![None; plan.catalogue.servers.len()],
                desk,
                seats,
                timers,
                gauge: Arc::new(Gauge::default()),
                retired: 0,
                open: 0,
            },
        };
        worker.resolve(plan)?;
        Ok(worker)
    }

    /// Numbers for whoever waits.
    #[must_use]
    pub fn gauge(&self) -> Arc<Gauge> {
        Arc::clone(&self.engine.gauge)
    }

    /// From now on this share of responses is compared with the truth.
    pub fn set_verify(&mut self, share: f64) {
        self.engine.desk.set_verify(share);
    }

    /// Asks for every server's neighbour.
    fn resolve(&mut self, plan: &Plan) -> Result<(), OwnError> {
        let begun = now();
        for (index, server) in plan.catalogue.servers.iter().enumerate() {
            let ip = server.address.ip();
            loop {
                let at = now();
                let engine = &mut self.engine;
                match engine.interface.resolve(at, ip, &mut engine.replies) {
                    Resolution::Known(mac) => {
                        engine.hops[index] = Some(mac);
                        break;
                    }
                    Resolution::Pending if at.since(begun) < RESOLVE => {}
                    Resolution::Pending | Resolution::Unreachable | Resolution::NoRoute => {
                        return Err(OwnError::NoWay(ip));
                    }
                }
                self.send();
                self.wait(Duration::from_millis(10)).map_err(OwnError::Wait)?;
                self.receive(now());
            }
        }
        Ok(())
    }

    /// Lets the clients go about their business for this long, or until nobody has any, or `stop`.
    ///
    /// # Errors
    /// The kernel would not wait.
    pub fn run(&mut self, duration: Duration, stop: &AtomicBool) -> Result<Window, Errno> {
        let (begun, cpu) = (now(), thread_cpu());
        let ends = begun + duration;
        let _ = self.engine.desk.take_tally();
        for seat in &mut self.engine.seats {
            seat.client.forget(begun);
        }
        loop {
            let at = now();
            if at >= ends || stop.load(Ordering::Relaxed) || self.engine.retired == self.engine.seats.len() {
                break;
            }
            let busy = self.receive(at);
            let due = self.engine.expire(at);
            self.send();
            self.engine.tell();
            if !busy {
                self.wait(due.min(ends).since(now()).min(GLANCE))?;
            }
        }
        let at = now();
        let engine = &mut self.engine;
        let mut tally = engine.desk.take_tally();
        for seat in &mut engine.seats {
            seat.client.report(at, &mut tally);
        }
        Ok(Window { tally, wall: at.since(begun), cpu: thread_cpu().saturating_sub(cpu) })
    }

    /// Takes leave of everybody: FINs, and a moment for the answers.
    pub fn leave(&mut self) {
        let begun = now();
        let engine = &mut self.engine;
        engine.seats.clear();
        for slot in 0..engine.table.capacity() {
            let Some(id) = engine.table.flow_at(slot) else { continue };
            if let Some(flow) = &mut engine.flows[id.index()] {
                flow.owner = None;
                if flow.tcp.state() == State::SynSent { flow.tcp.abort() } else { flow.tcp.finish() }
            }
            engine.touch(id);
        }
        engine.pump_touched(begun);
        while self.engine.table.len() > 0 && now().since(begun) < LEAVE {
            self.send();
            if self.wait(Duration::from_millis(1)).is_err() {
                return;
            }
            let at = now();
            self.receive(at);
            self.engine.expire_flows(at);
            self.engine.pump_touched(at);
        }
        self.send();
    }

    /// Reads a batch of frames; whether there was any.
    fn receive(&mut self, now: Instant) -> bool {
        let Self { port, engine } = self;
        let mut count = 0;
        while count < BATCH
            && let Some(received) = port.link_mut().receive()
        {
            engine.on_frame(now, received.bytes, received.verified);
            count += 1;
        }
        count > 0
    }

    /// Hands everything that waits to the link.
    fn send(&mut self) {
        let Engine { replies, outbox, interface, .. } = &mut self.engine;
        interface.poll(now(), replies);
        let link = self.port.link_mut();
        link.reclaim();
        let mut staged = false;
        let mut stage = |bytes: &[u8]| {
            if link.stage_bytes(bytes).is_err() {
                link.flush();
                link.reclaim();
                // What does not fit now is lost, as on a wire; TCP mends it.
                let _ = link.stage_bytes(bytes);
            }
            staged = true;
        };
        while let Some(bytes) = replies.front() {
            stage(bytes);
            replies.pop();
        }
        outbox.drain(&mut stage);
        if staged {
            link.flush();
        }
    }

    fn wait(&self, duration: Duration) -> Result<(), Errno> {
        let Some(descriptor) = self.port.link().descriptor() else { return Ok(()) };
        let timeout = Timespec {
            tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: duration.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl Engine {
    fn on_frame(&mut self, now: Instant, frame: &[u8], verified: bool) {
        let Input::Tcp(input) = self.interface.on_frame(now, frame, verified, &mut self.replies) else {
            return;
        };
        let tuple = self.table.hashed_input(&input);
        if let Some(flow) = self.table.find_hashed(&tuple) {
            self.on_segment(now, flow, &input);
            return;
        }
        let payload_bytes = u32::try_from(input.payload.len()).unwrap_or(u32::MAX);
        let action = self.time_wait.on_segment(&self.config, now, &tuple, &input.header, payload_bytes);
        let reply = match action {
            Some(TimeWaitAction::Ack(header)) => Some(header),
            Some(TimeWaitAction::Ignore | TimeWaitAction::Reuse { .. }) => None,
            None => tcp::reset_for(&input.header, payload_bytes),
        };
        if let Some(header) = reply {
            self.replies.push_tcp(&self.interface.path_back(&input), &header);
        }
    }

    fn on_segment(&mut self, now: Instant, id: FlowId, input: &TcpInput<'_>) {
        let Some(Flow { tcp, owner, .. }) = &mut self.flows[id.index()] else { return };
        let (seats, desk) = (&mut self.seats, &mut self.desk);
        let events = match *owner {
            Some(owner) => {
                let client = &mut seats[owner].client;
                tcp.on_segment(&self.config, now, &input.header, input.payload, &mut |bytes| {
                    give(client, desk, now, bytes);
                })
            }
            None => tcp.on_segment(&self.config, now, &input.header, input.payload, &mut |_| {}),
        };
        if events.contains(Events::UNEXPECTED)
            && let Some(reset) = tcp::reset_for(&input.header, 0)
        {
            self.replies.push_tcp(&self.interface.path_back(input), &reset);
        }
        self.on_events(now, id, events);
        if !input.payload.is_empty() && !events.contains(Events::DELIVERED) {
            self.pump(now, id);
        }
    }

    fn on_events(&mut self, now: Instant, id: FlowId, events: Events) {
        let owner = self.flows[id.index()].as_ref().and_then(|flow| flow.owner);
        if let Some(owner) = owner {
            let client = &mut self.seats[owner].client;
            let was_connected = client.is_connected();
            if events.contains(Events::ESTABLISHED) {
                client.on_connected(now, &mut self.desk);
            }
            if events.contains(Events::PEER_FINISHED) {
                client.on_end(now, &mut self.desk);
            }
            if events.contains(Events::RESET) {
                client.on_broken(if was_connected {
                    Fault::Reset
                } else {
                    Fault::Connect(Errno::CONNREFUSED)
                });
            } else if events.contains(Events::TIMED_OUT) {
                client.on_broken(Fault::Connect(Errno::TIMEDOUT));
            }
            if self.seats[owner].client.has_turned() {
                self.settle(now, owner);
            }
        }
        self.touch(id);
    }

    /// It is to be asked what it would send when the batch is over.
    fn touch(&mut self, id: FlowId) {
        if let Some(flow) = &mut self.flows[id.index()]
            && !core::mem::replace(&mut flow.touched, true)
        {
            self.touched.push(id);
        }
    }

    fn pump_touched(&mut self, now: Instant) {
        while let Some(id) = self.touched.pop() {
            self.pump(now, id);
        }
    }

    /// Does what a client wants, until it rests.
    fn settle(&mut self, now: Instant, index: usize) {
        loop {
            let action = self.seats[index].client.poll(now, &mut self.desk);
            match action {
                Action::Rest => break,
                Action::Open { server } => self.open(now, index, server),
                Action::Close | Action::Abort => {
                    let Some(id) = self.seats[index].flow.take() else { continue };
                    self.open -= 1;
                    if let Some(flow) = &mut self.flows[id.index()] {
                        flow.owner = None;
                        if action == Action::Close { flow.tcp.finish() } else { flow.tcp.abort() }
                    }
                    self.touch(id);
                }
            }
        }
        if let Some(id) = self.seats[index].flow {
            self.touch(id);
        }
        let seat = &mut self.seats[index];
        if seat.client.is_retired() && !seat.retired {
            seat.retired = true;
            self.retired += 1;
        }
        let wakes = seat.client.wakes_at(self.desk.plan());
        self.timers.arm(index, wakes);
    }

    fn open(&mut self, now: Instant, index: usize, server: usize) {
        let peer = self.desk.plan().catalogue.servers[server].address;
        let opened = self.new_flow(now, index, peer, self.hops[server]);
        match opened {
            Ok(id) => {
                self.seats[index].client.on_opening(now, &mut self.desk);
                self.seats[index].flow = Some(id);
                self.open += 1;
            }
            Err(fault) => self.seats[index].client.on_broken(fault),
        }
    }

    fn new_flow(
        &mut self,
        now: Instant,
        owner: usize,
        peer: SocketAddr,
        hop: Option<MacAddr>,
    ) -> Result<FlowId, Fault> {
        let none = Fault::Local(Errno::ADDRNOTAVAIL);
        let hop = hop.ok_or_else(|| none.clone())?;
        let table = &self.table;
        let tuple =
            self.tuples.next(peer, |tuple| table.find(tuple).is_none()).ok_or_else(|| none.clone())?;
        let hashed = self.table.hashed(&tuple).ok_or_else(|| none.clone())?;
        let id = self.table.insert_hashed(&hashed).map_err(|_| none)?;
        // Ours of an earlier time, if there is one: the new sequence numbers lie beyond its.
        self.time_wait.remove(&hashed);
        let iss = SeqNum(self.tuples.initial_sequence_number(now, &tuple));
        let tcp = Connection::connect(&self.config, now, tuple.local.port(), tuple.peer.port(), iss);
        let path = self.interface.path_to(&tuple, hop);
        let stream = self.spares.pop().unwrap_or_default();
        self.flows[id.index()] =
            Some(Flow { tcp, path, owner: Some(owner), stream, base: 0, touched: false });
        Ok(id)
    }

    /// Sends what may be sent on a flow, and lets it go when it is over.
    fn pump(&mut self, now: Instant, id: FlowId) {
        let Some(flow) = &mut self.flows[id.index()] else { return };
        flow.touched = false;
        if let Some(owner) = flow.owner {
            let client = &mut self.seats[owner].client;
            let output = client.output();
            if !output.is_empty() {
                flow.tcp.lend(&mut self.transfers);
                flow.stream.extend_from_slice(output);
                let sent = output.len();
                client.on_sent(sent);
            }
        }
        flow.poll(&self.config, now, &mut self.outbox);
        if matches!(flow.tcp.state(), State::Closed | State::TimeWait) {
            if let Some(rest) = flow.tcp.time_wait(&self.config, now)
                && let Some(tuple) = self.table.tuple(id).and_then(|tuple| self.table.hashed(&tuple))
            {
                self.time_wait.insert(&tuple, rest);
            }
            if let Some(owner) = flow.owner
                && self.seats[owner].flow == Some(id)
            {
                // Its client has been told why, and takes leave of it when it is polled.
                self.seats[owner].flow = None;
                self.open -= 1;
            }
            flow.tcp.give_back(&mut self.transfers);
            let mut stream = core::mem::take(&mut flow.stream);
            if self.spares.len() < self.spares.capacity() {
                stream.clear();
                self.spares.push(stream);
            }
            self.table.remove(id);
            self.flows[id.index()] = None;
            self.wheel.cancel(id.slot());
            return;
        }
        self.wheel.schedule(id.slot(), flow.tcp.deadline().unwrap_or(Instant::NEVER));
    }

    fn expire_flows(&mut self, now: Instant) {
        while let Some(slot) = self.wheel.pop(now) {
            let Some(id) = self.table.flow_at(slot) else { continue };
            let Some(flow) = &mut self.flows[id.index()] else { continue };
            let events = flow.tcp.on_deadline(&self.config, now);
            self.on_events(now, id, events);
        }
        self.time_wait.expire(now);
    }

    /// Fires what is due; returns when to come again.
    fn expire(&mut self, now: Instant) -> Instant {
        self.expire_flows(now);
        while let Some(index) = self.timers.pop(now) {
            self.settle(now, index);
        }
        self.pump_touched(now);
        let flows = self.wheel.next_deadline().unwrap_or(Instant::NEVER);
        flows.min(self.timers.next()).min(self.interface.next_deadline().unwrap_or(Instant::NEVER))
    }

    fn tell(&mut self) {
        let tally = self.desk.tally();
        self.gauge.requests.store(tally.requests, Ordering::Relaxed);
        self.gauge.wire_bytes.store(tally.wire_bytes, Ordering::Relaxed);
        self.gauge.failed.store(tally.failed(), Ordering::Relaxed);
        self.gauge.open.store(self.open, Ordering::Relaxed);
    }
}

impl Flow {
    fn poll(&mut self, config: &tcp::Config, now: Instant, outbox: &mut Outbox) {
        let acknowledged = self.tcp.acknowledged().saturating_sub(self.base);
        if acknowledged > 0 {
            let gone = usize::try_from(acknowledged).unwrap_or(usize::MAX).min(self.stream.len());
            self.stream.drain(..gone);
            self.base += gone as u64;
        }
        let end = self.base + self.stream.len() as u64;
        while let Some(range) = self.tcp.wanted(now, u32::from(u16::MAX)) {
            if !self.transmit(now, range, outbox) {
                break;
            }
        }
        loop {
            let left = end.saturating_sub(self.tcp.reserved());
            let credit = self.tcp.credit(now).min(u32::try_from(left).unwrap_or(u32::MAX));
            if left == 0 || credit < self.tcp.read_threshold(left) {
                break;
            }
            let range = self.tcp.reserve(credit);
            if !self.transmit(now, range, outbox) {
                break;
            }
        }
        while let Some(outgoing) = self.tcp.poll_control(config, now) {
            emit(outbox, &self.path, &outgoing, &[]);
        }
    }

    /// Sends what may be sent of a range; whether all of it went.
    fn transmit(&mut self, now: Instant, mut range: Range<u64>, outbox: &mut Outbox) -> bool {
        let mss = u32::from(self.tcp.mss());
        while let Some(outgoing) = self.tcp.transmit(now, &mut range, mss) {
            let index = |offset: u64| usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX);
            let payload = self.stream.get(index(outgoing.range.start)..index(outgoing.range.end));
            emit(outbox, &self.path, &outgoing, payload.unwrap_or(&[]));
        }
        if range.is_empty() {
            return true;
        }
        self.tcp.surrender(range);
        false
    }
}

fn emit(outbox: &mut Outbox, path: &Path, outgoing: &Outgoing, payload: &[u8]) {
    let headers = path.len_before_tcp() + outgoing.header.len();
    outbox.push(headers + payload.len(), |room| {
        emit_tcp(room, path, &outgoing.header, payload.len(), Checksum::Software(Sum::of(payload)));
        room[headers..].copy_from_slice(payload);
    });
}

/// Gives bytes to a client as it wants them: what it would discard is not even shown.
fn give(client: &mut Client, desk: &mut Desk, now: Instant, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match client.want() {
            Want::Bytes(count) => {
                let (taken, rest) = bytes.split_at(count.min(bytes.len()));
                client.on_bytes(now, desk, taken);
                bytes = rest;
            }
            Want::Discard(count) => {
                let (taken, rest) =
                    bytes.split_at(usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len()));
                client.on_discarded(now, desk, taken.len() as u64);
                bytes = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests;
