//! Everything of a worker but its link, its disk and its clock: what the steps of a turn work on.
//!
//! Each step is a file of its own: `input` (packets become events), `shake` (handshakes), `pull` (credit becomes
//! reads), `seal` (reads become records), `transmit` (records become segments), `serve` (the service is asked),
//! `close` (endings and timers). They meet only here, in three lists of connections:
//!
//! ```text
//! runnable   may have something to read          input, seal, serve, transmit ──▶ pull
//! touched    may have something to say           input, pull, seal, close     ──▶ transmit
//! shaking    have handshake bytes to work on     input                        ──▶ shake
//! ```

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use clock::Instant;
use core::hash::BuildHasher;
use dma::Pool;
use handshake::ServerSettings;
use platform::{Disk, LinkCapabilities, Open, Packet, RootId};
use siphasher::sip::SipHasher13;
use stack::{
    ConnectionTable, FlowId, HashKey, Interface, ListenKeys, Listener, Replies, TimeWaitTable, Wheel,
};
use tls::ExpandedKeys;

use crate::carrier::Carrier;
use crate::config::{Config, ConfigError};
use crate::counters::Counters;
use crate::files::{FileRef, Files};
use crate::flow::{Flows, Marks};
use crate::outbound::{Content, Item, Outbound};
use crate::pull::{Lack, Pulled};
use crate::read::Fetches;
use crate::service::{Actions, Now, Service, Ticket};
use crate::slab::Slab;
use crate::tap::Tap;
use crate::train::Train;
use crate::transmit::Egress;

/// What a worker draws from its entropy: seven secrets.
pub(crate) const SEED_BYTES: usize = 7 * 16;
/// Boxes of sending state kept for the next connection that speaks.
const SPARE_OUTBOUND_MAX: usize = 256;

/// A keyed hash whose order can be replayed and not be guessed.
#[derive(Clone, Copy)]
pub(crate) struct SeededHash([u8; 16]);

impl BuildHasher for SeededHash {
    type Hasher = SipHasher13;
    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}

/// An open on its way to the disk, and who asked.
pub(crate) struct PendingOpen {
    pub(crate) flow: FlowId,
    pub(crate) root: RootId,
    pub(crate) path: Box<[u8]>,
}

/// The parts of a worker that are neither link nor disk.
pub(crate) struct Core<A: tls::Aead, S: Service> {
    pub(crate) config: Config,
    pub(crate) tcp_v4: tcp::Config,
    pub(crate) tcp_v6: tcp::Config,
    pub(crate) egress: Egress,
    pub(crate) now: Now,
    pub(crate) pool: Pool,
    pub(crate) interface: Interface,
    pub(crate) replies: Replies,
    pub(crate) table: ConnectionTable,
    pub(crate) listener: Listener,
    pub(crate) time_wait: TimeWaitTable,
    pub(crate) wheel: Wheel,
    pub(crate) flows: Flows<S::Session>,
    pub(crate) service: S,
    pub(crate) actions: Actions,
    pub(crate) secure: Option<ServerSettings>,
    pub(crate) keys: ExpandedKeys<A>,
    /// Where records are opened; out while one is.
    pub(crate) scratch: Option<tls::Scratch>,
    /// In-order bytes of the segment being processed.
    pub(crate) inbox: Vec<u8>,
    pub(crate) files: Files<SeededHash>,
    pub(crate) opens: Slab<PendingOpen>,
    /// Asked for and not yet staged: the disk's queue was full.
    pub(crate) opens_waiting: VecDeque<PendingOpen>,
    /// Asked for and answered by the descriptor cache.
    pub(crate) found: VecDeque<(FlowId, FileRef)>,
    /// Connections that wait for a ticket to be called.
    pub(crate) waiting: BTreeMap<Ticket, Vec<FlowId>>,
    pub(crate) fetches: Fetches,
    pub(crate) runnable: VecDeque<FlowId>,
    /// Would read, and found no place.
    pub(crate) waits_for_read: VecDeque<FlowId>,
    /// Would send bytes of ours, and found no frame to keep them in.
    pub(crate) waits_for_frame: VecDeque<FlowId>,
    /// When to look next for peers that keep frames and say nothing.
    pub(crate) shed_at: Instant,
    pub(crate) touched: VecDeque<FlowId>,
    pub(crate) shaking: VecDeque<FlowId>,
    /// Where packets are built that carry parts of frames, or nothing: one is large to move.
    pub(crate) packet: Packet,
    /// The link would not take it; it goes first, and no other is built meanwhile.
    pub(crate) refused: bool,
    /// The link took less than there was when it was last asked.
    pub(crate) link_full: bool,
    /// The rest of a run that is cut here, and whose it is; it goes second, and nothing else goes before it.
    pub(crate) train: Option<(FlowId, Train)>,
    #[expect(clippy::vec_box, reason = "the boxes themselves are what is used again")]
    pub(crate) spare: Vec<Box<Outbound>>,
    /// What TCP keeps of a transfer, for the next.
    pub(crate) transfers: Vec<tcp::Spare>,
    pub(crate) counters: Counters,
    pub(crate) draining: bool,
    /// Who looks at packets, and the time they are told.
    pub(crate) tap: Option<Box<dyn Tap>>,
    pub(crate) tap_at: Instant,
    /// Whether the link carries anything.
    pub(crate) carrier: Carrier,
    /// Neighbours are asked for until then, because the link came back.
    pub(crate) neighbours_until: Instant,
}

impl<A: tls::Aead, S: Service> Core<A, S> {
    pub(crate) fn new(
        config: Config,
        link: &LinkCapabilities,
        seed: &[u8; SEED_BYTES],
        now: Now,
        pool: Pool,
        service: S,
        secure: Option<ServerSettings>,
    ) -> Result<Self, ConfigError> {
        config.validate(secure.is_some())?;
        let mut tcp_v4 = config.tcp;
        tcp_v4.mss_max = tcp_v4.mss_max.min(link.mtu.saturating_sub(40));
        let mut tcp_v6 = config.tcp;
        tcp_v6.mss_max = tcp_v6.mss_max.min(link.mtu.saturating_sub(60));
        tcp_v4.validate().map_err(ConfigError::Tcp)?;
        tcp_v6.validate().map_err(ConfigError::Tcp)?;
        let (files_seed, seed) = seed.split_first_chunk::<16>().expect("the seed is long enough");
        let mut seeds = seed.chunks_exact(16);
        let mut secret = || {
            let bytes =
                seeds.next().and_then(|bytes| bytes.try_into().ok()).expect("the seed is long enough");
            HashKey::new(bytes)
        };
        let mut interface = Interface::new(&config.interface, secret()).map_err(ConfigError::Interface)?;
        interface.announce(now.instant);
        let connections = config.connections_max;
        Ok(Self {
            egress: Egress::new(link, config.memory),
            interface,
            replies: Replies::new(),
            table: ConnectionTable::new(connections, secret()),
            listener: Listener::new(
                &config.listen(),
                ListenKeys { table: secret(), isn: secret(), cookie: secret() },
                now.instant,
            ),
            time_wait: TimeWaitTable::new(config.time_wait_max),
            wheel: Wheel::new(connections, now.instant),
            flows: Flows::new(),
            service,
            actions: Actions::new(),
            secure,
            keys: ExpandedKeys::new(config.keys_max),
            scratch: Some(tls::Scratch::new()),
            inbox: Vec::with_capacity(64 << 10),
            files: Files::new(config.files_max, SeededHash(*files_seed)),
            opens: Slab::with_capacity(64),
            opens_waiting: VecDeque::new(),
            found: VecDeque::new(),
            waiting: BTreeMap::new(),
            fetches: Fetches::with_capacity(256),
            runnable: VecDeque::with_capacity(1_024),
            waits_for_read: VecDeque::with_capacity(1_024),
            waits_for_frame: VecDeque::new(),
            shed_at: Instant::EPOCH,
            touched: VecDeque::with_capacity(1_024),
            shaking: VecDeque::new(),
            packet: Packet::new(),
            refused: false,
            link_full: false,
            train: None,
            spare: Vec::with_capacity(SPARE_OUTBOUND_MAX),
            transfers: Vec::with_capacity(SPARE_OUTBOUND_MAX),
            counters: Counters::default(),
            draining: false,
            tap: None,
            tap_at: Instant::EPOCH,
            carrier: Carrier::Up,
            neighbours_until: Instant::EPOCH,
            config,
            tcp_v4,
            tcp_v6,
            now,
            pool,
        })
    }

    /// Puts `id` among those that may have something to say in this turn.
    pub(crate) fn touch(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.get_mut(id)
            && flow.marks_newly(Marks::TOUCHED)
        {
            self.touched.push_back(id);
        }
    }

    /// Puts `id` among those that may have something to read.
    pub(crate) fn make_runnable(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.get_mut(id)
            && flow.marks_newly(Marks::RUNNABLE)
        {
            self.runnable.push_back(id);
        }
    }

    /// Runnable connections take turns, a read each, until nobody may read more or there is no room.
    ///
    /// Who found no room waits in a queue, in order, and before those that come later. It waits with its new reads only:
    /// what it has lost, and bytes of our own, go on as soon as they can.
    pub(crate) fn read<D: Disk>(&mut self, disk: &mut D) -> bool {
        let mut busy = self.answer_found();
        busy |= self.stage_opens(disk);
        let mut may_read = true;
        for lack in [Lack::Frame, Lack::Read] {
            while let Some(id) = self.waiting_for(lack).pop_front() {
                let Some(flow) = self.flows.get_mut(id) else { continue };
                flow.marks.remove(lack.mark());
                let reads_next = lack == Lack::Read || self.waits_for_read.is_empty();
                match self.pull(disk, id, reads_next) {
                    Pulled::Done => {}
                    Pulled::More => {
                        busy = true;
                        self.make_runnable(id);
                    }
                    Pulled::Starved(other) => {
                        may_read &= other != Lack::Read;
                        self.wait_for(other, id, other == lack);
                        if other == lack {
                            break;
                        }
                    }
                }
            }
        }
        // Whoever gets more than one read in this turn gets it after all the others had theirs.
        let mut left = self.runnable.len() * 4;
        while left > 0 {
            left -= 1;
            let Some(id) = self.runnable.pop_front() else { break };
            let Some(flow) = self.flows.get_mut(id) else { continue };
            flow.marks.remove(Marks::RUNNABLE);
            match self.pull(disk, id, may_read) {
                Pulled::Done => {}
                Pulled::More => {
                    busy = true;
                    self.make_runnable(id);
                }
                Pulled::Starved(lack) => {
                    may_read &= lack != Lack::Read;
                    self.wait_for(lack, id, false);
                }
            }
        }
        disk.flush();
        busy
    }

    fn waiting_for(&mut self, lack: Lack) -> &mut VecDeque<FlowId> {
        match lack {
            Lack::Read => &mut self.waits_for_read,
            Lack::Frame => &mut self.waits_for_frame,
        }
    }

    /// Puts `id` among those that wait for what comes back with completions or acknowledgments; `first` if it was the
    /// first of them.
    fn wait_for(&mut self, lack: Lack, id: FlowId, first: bool) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        if flow.marks.contains(lack.mark()) {
            return;
        }
        flow.marks.insert(lack.mark());
        let queue = self.waiting_for(lack);
        if first {
            queue.push_front(id);
        } else {
            queue.push_back(id);
        }
    }

    fn stage_opens<D: Disk>(&mut self, disk: &mut D) -> bool {
        let mut busy = false;
        while let Some(open) = self.opens_waiting.pop_front() {
            if self.flows.get(open.flow).is_none() {
                continue;
            }
            self.files.make_room(self.opens.len() + 1, &mut |file| disk.stage_close(platform::Close(file)));
            let (root, path) = (open.root, open.path.clone());
            let token = self.opens.insert(open);
            if disk.stage_open(Open { token: u64::from(token), root, path }).is_err() {
                self.opens_waiting.extend(self.opens.remove(token));
                break;
            }
            self.counters.opens += 1;
            busy = true;
        }
        busy
    }

    /// Closes files that were replaced and are no longer sent from.
    pub(crate) fn sweep<D: Disk>(&mut self, disk: &mut D) {
        self.files.sweep(&mut |file| disk.stage_close(platform::Close(file)));
    }

    /// The connection's sending state, made when it is needed.
    pub(crate) fn outbound(&mut self, id: FlowId) -> Option<&mut Outbound> {
        let Self { flows, spare, transfers, .. } = self;
        Some(flows.get_mut(id)?.outbound(spare, transfers))
    }

    /// Takes the sending state of an idle connection away, for another one to use.
    pub(crate) fn recycle(&mut self, mut outbound: Box<Outbound>) {
        if self.spare.len() < SPARE_OUTBOUND_MAX {
            outbound.clear();
            self.spare.push(outbound);
        }
    }

    /// Queues bytes of our own behind everything asked for before.
    pub(crate) fn queue_bytes(&mut self, id: FlowId, bytes: Vec<u8>, content: Content) {
        if bytes.is_empty() {
            return;
        }
        if let Some(outbound) = self.outbound(id) {
            outbound.ask(Item::Bytes { bytes, done: 0, content });
            self.make_runnable(id);
        }
    }

    /// Queues a record of our own making before everything asked for: a `KeyUpdate`, an alert. What was sealed before
    /// it still goes first, for its number is lower.
    pub(crate) fn queue_sealed(&mut self, id: FlowId, bytes: Vec<u8>) {
        if let Some(outbound) = self.outbound(id) {
            outbound.insert_sealed(bytes);
            self.make_runnable(id);
        }
    }

    /// When something has to happen even if nothing arrives.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let is_busy = !self.touched.is_empty() || !self.shaking.is_empty() || !self.found.is_empty();
        // What the link refused waits for one that carries something.
        let refused = (self.refused || self.train.is_some()) && self.carrier == Carrier::Up;
        if is_busy || refused || self.replies.len() > 0 {
            return Some(self.now.instant);
        }
        // An expired TIME-WAIT entry is not found: nobody has to wake up for it.
        // Nobody is shed over a link that carries nothing.
        let sheds = !self.waits_for_frame.is_empty() && self.carrier == Carrier::Up;
        let shed_at = sheds.then_some(self.shed_at);
        let interface = self.interface.next_deadline();
        self.wheel.next_deadline().into_iter().chain(shed_at).chain(interface).min()
    }

    /// Certificates for handshakes that begin from now on.
    pub(crate) fn set_secure(&mut self, secure: ServerSettings) {
        self.secure = Some(secure);
    }

    pub(crate) fn counters(&self) -> Counters {
        let in_use = self.pool.in_use();
        Counters {
            connections: u32::try_from(self.flows.len()).unwrap_or(u32::MAX),
            reads_in_flight: u32::try_from(self.fetches.len()).unwrap_or(u32::MAX),
            files_open: u32::try_from(self.files.len()).unwrap_or(u32::MAX),
            frames_large: in_use.large,
            frames_large_max: in_use.large_max,
            frames_small: in_use.small,
            frames_small_max: in_use.small_max,
            ..self.counters
        }
    }
}
