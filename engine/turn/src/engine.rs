//! The engine: one worker's world, and the turn that moves it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use clock::Instant;
use core::time::Duration;
use dma::Pool;
use handshake::ServerSettings;
use platform::{Clock, Close, Completion, Disk, Entropy, Link, Platform};
use stack::HashKey;

use crate::carrier::Carrier;
use crate::config::{Config, ConfigError};
use crate::counters::Counters;
use crate::list::{ConnectionSummary, Listed};
use crate::service::{Now, Service};
use crate::tap::{Direction, Passing, Tap};
use crate::worker::{Core, SEED_BYTES};

/// Packets taken in one turn: enough to share a doorbell, few enough that an ACK's credit does not wait.
const RECEIVE_BATCH: usize = 256;
/// Completed reads sealed before what they gave is sent: half a megabyte, still in the core's own cache when the link
/// takes it.
const SEAL_BATCH: usize = 4;
/// How often that may happen in one turn before packets are looked at again.
const SEAL_ROUNDS: usize = 16;

/// One worker: a link, a disk, a clock, and everything between them. `A` seals and opens records, `S` is the server.
///
/// There are four kinds of methods. [`turn`](Self::turn) does everything; [`deadline`](Self::deadline) says how long
/// the worker may sleep after an idle turn; `apply`, `drain` and their like are called between two turns, on behalf of
/// control; the rest only tells. Time enters through the platform's clock, once a turn.
pub struct Engine<P: Platform, A: tls::Aead, S: Service> {
    link: P::Link,
    disk: P::Disk,
    clock: P::Clock,
    entropy: P::Entropy,
    /// What the machine says of the link's carrier; a link that is lost has none, whatever this says.
    told: Carrier,
    core: Core<A, S>,
}

/// What came of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turned {
    /// Something was received, completed or sent: turn again before sleeping.
    pub busy: bool,
}

/// What an engine is made of.
#[expect(missing_debug_implementations, reason = "links, disks and services need not be printable")]
pub struct EngineParts<P: Platform, S> {
    /// Packets.
    pub link: P::Link,
    /// Blocks.
    pub disk: P::Disk,
    /// Time.
    pub clock: P::Clock,
    /// Randomness: drawn from for the keys of hash tables, initial sequence numbers and cookies, and every ten minutes
    /// for the next secret of cookies.
    pub entropy: P::Entropy,
    /// The frames that link and disk were opened with.
    pub pool: Pool,
    /// The server.
    pub service: S,
    /// What the secure ports need; `None` when there are none.
    pub secure: Option<ServerSettings>,
}

impl<P: Platform, A: tls::Aead, S: Service> Engine<P, A, S> {
    /// Puts an engine together.
    ///
    /// # Errors
    /// The operator's numbers do not go together.
    pub fn new(config: Config, parts: EngineParts<P, S>) -> Result<Self, ConfigError> {
        let EngineParts { link, disk, mut clock, mut entropy, pool, service, secure } = parts;
        let mut seed = [0; SEED_BYTES];
        entropy.fill(&mut seed);
        let now = Now { instant: clock.now(), unix: clock.unix_time() };
        let core = Core::new(config, &link.capabilities(), &seed, now, pool, service, secure)?;
        Ok(Self { link, disk, clock, entropy, told: Carrier::Up, core })
    }

    /// One turn of the wheel. Never blocks; the data path never allocates (tested); reads the clock once.
    pub fn turn(&mut self) -> Turned {
        let begun = self.clock.now();
        self.core.now = Now { instant: begun, unix: self.clock.unix_time() };
        self.rotate_secret(begun);
        self.tap_clock();
        self.core.set_carrier(if self.link.is_lost() { Carrier::Down } else { self.told });
        let mut busy = self.receive(); // RX batch: ACKs become send credit.
        self.core.find_neighbours();
        busy |= self.core.rouse(); // What the service waited for.
        busy |= self.core.shake(); // A few handshakes: they cost.
        busy |= self.core.read(&mut self.disk); // Send credit becomes disk reads: one doorbell.
        for _ in 0..SEAL_ROUNDS {
            let sealed = self.seal(); // Finished reads become TLS records, in place.
            self.tap_clock();
            busy |= self.core.transmit(&mut self.link); // Records become segments: one doorbell; frames go back.
            if !sealed {
                break;
            }
            busy = true;
        }
        busy |= self.core.expire(); // Timers.
        self.core.sweep(&mut self.disk);
        self.core.counters.turns += 1;
        if busy {
            let took = self.clock.now().since(begun);
            self.core.counters.on_busy_turn(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
        Turned { busy }
    }

    /// When the engine wants to turn even if nothing arrives; `None` when it can sleep until something does.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.core.deadline()
    }

    /// A secret that makes cookies is good for so long only. Before packets are looked at: the first after a long sleep
    /// may already be one that wants a cookie.
    fn rotate_secret(&mut self, now: Instant) {
        if now >= self.core.listener.rotate_at() {
            let mut secret = [0; 16];
            self.entropy.fill(&mut secret);
            self.core.listener.rotate(now, HashKey::new(secret));
        }
    }

    fn receive(&mut self) -> bool {
        let mut count = 0;
        while count < RECEIVE_BATCH {
            let Some(packet) = self.link.receive() else { break };
            if let Some(tap) = &mut self.core.tap {
                let (at, direction) = (self.core.tap_at, Direction::In);
                tap.on_packet(&Passing { at, direction, headers: packet.bytes, parts: &[], slot: &[] });
            }
            self.core.on_frame(packet.bytes, packet.verified);
            count += 1;
        }
        count > 0
    }

    fn seal(&mut self) -> bool {
        let mut count = 0;
        while count < SEAL_BATCH {
            match self.disk.complete() {
                None => break,
                Some(Completion::Read(done)) => self.core.on_read(done),
                Some(Completion::Opened { token, result }) => {
                    let disk = &mut self.disk;
                    self.core.on_opened(token, result, &mut |file| disk.stage_close(Close(file)));
                }
            }
            count += 1;
        }
        count > 0
    }

    /// Packets in passing are told the time of the step, which without a tap nobody asks for.
    fn tap_clock(&mut self) {
        if self.core.tap.is_some() {
            self.core.tap_at = self.clock.now();
        }
    }

    /// From now on `tap` sees each packet; `None`: nobody does.
    pub fn set_tap(&mut self, tap: Option<Box<dyn Tap>>) {
        self.core.tap = tap;
    }

    /// Hands the service a new snapshot.
    pub fn apply(&mut self, snapshot: S::Snapshot) {
        self.core.service.on_snapshot(self.core.now, snapshot);
    }

    /// New certificates and ticket keys, for handshakes that begin from now on.
    pub fn apply_secure(&mut self, secure: ServerSettings) {
        self.core.set_secure(secure);
    }

    /// The machine says that the link has lost its carrier, or has it again. In force from the next turn on.
    pub fn set_carrier(&mut self, carrier: Carrier) {
        self.told = carrier;
    }

    /// Whether the last turn could send: the link was there and had its carrier.
    #[must_use]
    pub fn carrier(&self) -> Carrier {
        self.core.carrier
    }

    /// The machine says that the link takes packets of so many bytes from now on.
    pub fn set_mtu(&mut self, mtu: u16) {
        self.core.set_mtu(mtu);
    }

    /// Puts another device behind the link: `reopen` does it, or fails and leaves the link as it was.
    /// Connections stay. The hardware address is the new device's, which neighbours are told when the carrier is back.
    ///
    /// # Errors
    /// What `reopen` says.
    pub fn reopen_link<E>(&mut self, reopen: impl FnOnce(&mut P::Link) -> Result<(), E>) -> Result<(), E> {
        reopen(&mut self.link)?;
        self.core.on_link_replaced(&self.link.capabilities());
        Ok(())
    }

    /// Puts another link in place of the one there is, which is handed back with the packets that it still holds, as
    /// [`reopen_link`](Self::reopen_link) does.
    pub fn replace_link(&mut self, link: P::Link) -> P::Link {
        let old = core::mem::replace(&mut self.link, link);
        self.core.on_link_replaced(&self.link.capabilities());
        old
    }

    /// Takes no more connections and lets those that are there finish.
    pub fn drain(&mut self) {
        self.core.drain();
    }

    /// Resets whatever is still connected.
    pub fn shed(&mut self) {
        self.core.shed();
    }

    /// Draining, and nothing is connected any more.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.core.is_drained()
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.core.counters()
    }

    /// What the IP stack counted so far.
    #[must_use]
    pub fn stack_counters(&self) -> stack::Counters {
        self.core.interface.counters()
    }

    /// What the listener counted so far.
    #[must_use]
    pub fn listen_counters(&self) -> stack::ListenCounters {
        self.core.listener.counters()
    }

    /// The first connections, for people: at most `count_max` of them.
    #[must_use]
    pub fn connections(&self, count_max: usize) -> Vec<ConnectionSummary> {
        let mut summaries = Vec::new();
        self.core.list(0, usize::MAX, count_max, &mut |summary| summaries.push(summary));
        summaries
    }

    /// Tells of connections from place `from` on, looking at `places_max` places and telling of `count_max` at most: a
    /// long list is made a little in each of many turns. Whoever comes or goes meanwhile is in it or not; nobody is in
    /// it twice, and nobody who stays is left out.
    pub fn list_connections(
        &self,
        from: u32,
        places_max: usize,
        count_max: usize,
        tell: &mut dyn FnMut(ConnectionSummary),
    ) -> Listed {
        self.core.list(from, places_max, count_max, tell)
    }

    /// The server.
    #[must_use]
    pub fn service(&self) -> &S {
        &self.core.service
    }

    /// The server, to take its logs.
    pub fn service_mut(&mut self) -> &mut S {
        &mut self.core.service
    }

    /// The link, to sleep on and to count.
    #[must_use]
    pub fn link(&self) -> &P::Link {
        &self.link
    }

    /// The link, for a simulator to reach into.
    pub fn link_mut(&mut self) -> &mut P::Link {
        &mut self.link
    }

    /// The disk, to sleep on.
    #[must_use]
    pub fn disk(&self) -> &P::Disk {
        &self.disk
    }

    /// The disk, for a simulator to reach into.
    pub fn disk_mut(&mut self) -> &mut P::Disk {
        &mut self.disk
    }

    /// The frames.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.core.pool
    }

    /// How long a handshake may take, for those who wait for one in a test.
    #[must_use]
    pub fn handshake_timeout(&self) -> Duration {
        self.core.config.handshake_timeout
    }
}

impl<P: Platform, A: tls::Aead, S: Service> core::fmt::Debug for Engine<P, A, S> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Engine").field("counters", &self.counters()).finish_non_exhaustive()
    }
}
