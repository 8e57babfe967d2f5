//! The production engine with the production service, on a memory link and a memory disk.

use aead::AwsLc;
use alloc::collections::VecDeque;
use atlas::AccessRecord;
use clock::Instant;
use core::fmt;
use disk_memory::MemoryDisk;
use dma::Pool;
use handshake::ServerSettings;
use link_memory::{Delivery, MemoryLink, SegmentError, segment};
use platform::{Link, Offload, Platform};
use turn::{Carrier, Config, ConfigError, Engine, EngineParts};

use super::{Lending, Server, Vitals};
use crate::network::Frame;
use crate::random::Dice;
use crate::time::SimClock;

/// The choices of a simulated worker: the counterpart of production's list.
#[derive(Debug)]
pub enum SimPlatform {}

impl Platform for SimPlatform {
    type Link = MemoryLink;
    type Disk = MemoryDisk;
    type Clock = SimClock;
    type Entropy = Dice;
}

/// The engine that runs here: production's, on another platform.
pub type SimEngine = Engine<SimPlatform, AwsLc, Lending>;

/// An engine that is busy for so many turns without time moving is busy for ever.
const TURNS_MAX: usize = 100_000;

/// What an engine is put together from.
#[derive(Debug)]
pub struct Parts {
    /// What an operator may choose.
    pub config: Config,
    /// The engine's end of the link, and the world's.
    pub link: (MemoryLink, MemoryLink),
    /// With the objects on it.
    pub disk: MemoryDisk,
    /// The world's.
    pub clock: SimClock,
    /// The engine's.
    pub entropy: Dice,
    /// Frames.
    pub pool: Pool,
    /// The HTTP server.
    pub service: Lending,
    /// TLS.
    pub secure: ServerSettings,
}

/// What becomes of the link for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// The machine says that it has no carrier.
    Carrier,
    /// The device vanishes with all that was on it, and another one takes its place.
    Device,
    /// It takes smaller packets only.
    Mtu,
}

/// The least MTU that an operator sets here: what IPv6 asks of every link.
const MTU_LEAST: u16 = 1_280;

/// The production engine behind its link.
pub struct Production {
    engine: SimEngine,
    wire: MemoryLink,
    /// Frames for which the link had no room.
    waiting: VecDeque<Frame>,
    /// The wire takes nothing until then.
    stalled_until: Instant,
    /// What is the matter with the link, and until when.
    outage: Option<(Outage, Instant)>,
    /// Packets that had been sent after the first turn without a link.
    sent_when_cut_off: Option<u64>,
    /// The link's when all is well.
    mtu: u16,
    scratch: Vec<u8>,
    connections_max: u32,
    files_max: u32,
    records: Vec<AccessRecord>,
}

impl Production {
    /// Puts a server together.
    ///
    /// # Errors
    /// The configuration's numbers do not go together.
    pub fn new(parts: Parts) -> Result<Self, ConfigError> {
        let Parts { config, link: (link, wire), disk, clock, entropy, pool, service, secure } = parts;
        let secure = Some(secure);
        let mtu = link.capabilities().mtu;
        let connections_max = config.connections_max;
        let files_max = u32::try_from(config.files_max).unwrap_or(u32::MAX);
        let engine = Engine::new(config, EngineParts { link, disk, clock, entropy, pool, service, secure })?;
        Ok(Self {
            engine,
            wire,
            waiting: VecDeque::new(),
            stalled_until: Instant::EPOCH,
            outage: None,
            sent_when_cut_off: None,
            mtu,
            scratch: Vec::new(),
            connections_max,
            files_max,
            records: Vec::new(),
        })
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &SimEngine {
        &self.engine
    }

    /// The engine, for something scripted.
    pub fn engine_mut(&mut self) -> &mut SimEngine {
        &mut self.engine
    }

    /// The wire takes nothing until `until`: the engine's queue fills up.
    pub fn stall_link(&mut self, until: Instant) {
        self.stalled_until = until;
    }

    /// Something becomes of the link, until `until`; nothing while something else is the matter with it.
    pub fn lose_link(&mut self, outage: Outage, until: Instant) {
        if self.outage.is_some() {
            return;
        }
        self.outage = Some((outage, until));
        match outage {
            Outage::Carrier => self.engine.set_carrier(Carrier::Down),
            Outage::Device => self.engine.link_mut().lose(),
            // The link itself still takes what was made before: what it dropped, no law could account for.
            Outage::Mtu => self.engine.set_mtu(MTU_LEAST),
        }
    }

    /// Nothing passes the link.
    fn is_cut_off(&self) -> bool {
        matches!(self.outage, Some((Outage::Carrier | Outage::Device, _)))
    }

    /// What was the matter with the link is over.
    fn restore_link(&mut self) {
        self.sent_when_cut_off = None;
        match self.outage.take() {
            None => {}
            Some((Outage::Carrier, _)) => self.engine.set_carrier(Carrier::Up),
            Some((Outage::Device, _)) => {
                let (link, wire) = self.engine.link().anew();
                drop(self.engine.replace_link(link));
                self.wire = wire;
            }
            Some((Outage::Mtu, _)) => self.engine.set_mtu(self.mtu),
        }
    }

    /// The access log so far.
    #[must_use]
    pub fn records(&self) -> &[AccessRecord] {
        &self.records
    }

    /// The access log so far, which then begins anew.
    pub fn take_records(&mut self) -> Vec<AccessRecord> {
        core::mem::take(&mut self.records)
    }

    /// Moves what is on the link to `out`, cut to the wire's size; whether there was anything.
    fn drain(&mut self, out: &mut Vec<Frame>) -> bool {
        let mut moved = false;
        while let Some(delivery) = self.wire.receive_packet() {
            moved = true;
            cut(&delivery, &mut self.scratch, out).expect("the engine sends what its link can cut");
        }
        moved
    }
}

/// Appends the frames of a packet as the wire carries them, checksums and all.
fn cut(delivery: &Delivery, scratch: &mut Vec<u8>, out: &mut Vec<Frame>) -> Result<(), SegmentError> {
    let offload = delivery.offload();
    delivery.gather_into(scratch);
    if offload == Offload::default() {
        out.push(scratch.clone());
        return Ok(());
    }
    let mut segments = segment(scratch, offload)?;
    loop {
        let mut frame = Vec::new();
        if !segments.next_into(&mut frame) {
            return Ok(());
        }
        out.push(frame);
    }
}

impl Server for Production {
    fn on_frame(&mut self, frame: &[u8]) {
        self.waiting.push_back(frame.to_vec());
    }

    fn turn(&mut self, now: Instant, out: &mut Vec<Frame>) {
        self.engine.disk_mut().advance(now);
        if self.outage.is_some_and(|(_, until)| until <= now) {
            self.restore_link();
        }
        if self.is_cut_off() {
            self.waiting.clear();
        }
        for _ in 0..TURNS_MAX {
            let mut injected = false;
            self.wire.reclaim();
            while let Some(frame) = self.waiting.front() {
                if self.wire.inject(frame, false).is_err() {
                    break;
                }
                self.waiting.pop_front();
                injected = true;
            }
            self.wire.flush();
            let busy = self.engine.turn().busy;
            while let Some(record) = self.engine.service_mut().take_record() {
                self.records.push(record);
            }
            if self.is_cut_off() {
                // What was on the wire when it was cut still arrives; nothing new may be put there.
                self.drain(out);
                let sent = self.engine.link().counters().sent;
                let before = self.sent_when_cut_off.get_or_insert(sent);
                assert_eq!(*before, sent, "it sends where nothing is carried");
                if !busy {
                    return;
                }
                continue;
            }
            let drained = self.stalled_until <= now && self.drain(out);
            if !busy && !drained && !injected {
                return;
            }
        }
        panic!("{TURNS_MAX} busy turns in one moment: {:?}", self.engine.counters());
    }

    fn deadline(&self) -> Instant {
        let engine = self.engine.deadline().unwrap_or(Instant::NEVER);
        let disk = self.engine.disk().next_due().unwrap_or(Instant::NEVER);
        let stall = if self.engine.link().in_flight() > 0 { self.stalled_until } else { Instant::NEVER };
        let outage = self.outage.map_or(Instant::NEVER, |(_, until)| until);
        engine.min(disk).min(stall).min(outage)
    }

    fn vitals(&self) -> Vitals {
        let counters = self.engine.counters();
        let layout = self.engine.pool().layout();
        let in_use = self.engine.pool().in_use();
        Vitals {
            connections: counters.connections,
            connections_max: self.connections_max,
            files_open: counters.files_open,
            files_max: self.files_max,
            frames_large: in_use.large,
            frames_large_max: layout.large_count,
            frames_small: in_use.small,
            frames_small_max: layout.small_count,
            link_packets: u32::try_from(self.engine.link().in_flight()).unwrap_or(u32::MAX),
            sent_bytes: counters.sent_bytes,
            resent_bytes: counters.resent_bytes,
            sealed_bytes: counters.sealed_bytes,
            read_bytes: counters.read_bytes,
            accepted: counters.accepted,
            finished: counters.finished,
            failed: counters.failed,
            tag_mismatches: counters.tag_mismatches,
            disk_failures: counters.disk_failures,
        }
    }

    fn heal(&mut self, now: Instant) {
        let disk = self.engine.disk_mut();
        *disk.faults_mut() = disk_memory::Faults::NONE;
        disk.stall_until(now);
        self.stalled_until = now;
        self.restore_link();
    }
}

impl fmt::Debug for Production {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Production").field("counters", &self.engine.counters()).finish_non_exhaustive()
    }
}
