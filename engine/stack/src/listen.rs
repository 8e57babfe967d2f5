//! Listeners: what to do with a segment that belongs to no connection.
//!
//! ```text
//!                          ┌─ port closed ───────────────▶ RST, so many per second
//! SYN ── limits, policy ───┼─ backlog has room ──────────▶ Accept: a TCB in SYN-RECEIVED, with this ISS
//!                          └─ backlog full ──────────────▶ SYN-ACK whose ISS is a cookie; nothing is remembered
//! ACK ─────────────────────┬─ of a cookie of ours ───────▶ AcceptCookie: a TCB in ESTABLISHED
//!                          └─ of nothing ────────────────▶ RST, so many per second
//! ```
//!
//! The owner tells when a connection is established and when it has gone, so that the limits hold. Whatever a stranger
//! sends costs at most two hashes and a short packet.

use crate::bounded::BoundedMap;
use crate::hash::HashKey;
use crate::input::TcpInput;
use crate::rate::TokenBucket;
use crate::tuple::{FourTuple, PeerKey, TupleKey};
use arrayvec::ArrayVec;
use clock::Instant;
use core::hash::{Hash, Hasher};
use core::net::IpAddr;
use core::time::Duration;
use tcp::cookies::{self, CookieParams};
use wire::tcp::{Flags, Header, SeqNum};

#[cfg(test)]
mod tests;

/// The most ports that one worker listens on.
pub const PORTS_MAX: usize = 16;

/// How long a secret makes cookies. Longer than a cookie is good, so that the secret before it is all that is needed.
pub const COOKIE_SECRET_LIFETIME: Duration = Duration::from_secs(600);

/// How long after the last cookie an ACK may still return one: a little more than a cookie is good.
const COOKIES_EXPECTED: Duration = Duration::from_secs(130);

/// How fast initial sequence numbers run: one every 4 µs (RFC 9293 §3.4.1, RFC 6528 §3).
const ISN_TICK_NANOS: u64 = 4_000;

/// What an operator chooses about listening.
#[derive(Clone, Debug)]
pub struct ListenConfig {
    /// The ports, on all our addresses.
    pub ports: ArrayVec<u16, PORTS_MAX>,
    /// Connections of all kinds: what the connection table has room for.
    pub connections_max: u32,
    /// Connections whose handshake is not complete. Beyond them SYNs are answered with cookies; as many again are there for
    /// those that begin anew what is in TIME-WAIT.
    pub half_open_max: u32,
    /// Connections of one peer, which is an IPv4 address or an IPv6 /64; no limit when absent.
    pub per_peer_max: Option<u32>,
    /// RSTs per second that answer segments without a connection.
    pub resets_per_second: u32,
}

impl ListenConfig {
    /// The usual configuration for so many connections: an eighth of them half open, no limit per peer, 1,000 RSTs a second.
    #[must_use]
    pub fn new(connections_max: u32) -> Self {
        Self {
            ports: ArrayVec::new(),
            connections_max,
            half_open_max: (connections_max / 8).max(16),
            per_peer_max: None,
            resets_per_second: 1000,
        }
    }
}

/// The secrets of a listener, from `platform::Entropy`.
#[derive(Clone, Copy, Debug)]
pub struct ListenKeys {
    /// Hashes peers into the table that counts them.
    pub table: HashKey,
    /// Initial sequence numbers; the same for the life of the worker (RFC 6528 §3).
    pub isn: HashKey,
    /// The first secret of cookies; [`Listener::rotate`] brings the next.
    pub cookie: HashKey,
}

/// What to do about a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Make a TCB from this SYN, in SYN-RECEIVED. It is counted as a connection and as half open.
    Accept {
        /// The initial send sequence number.
        iss: SeqNum,
    },
    /// Make a TCB from this ACK, in ESTABLISHED. It is counted as a connection.
    AcceptCookie(CookieParams),
    /// Send this: a SYN-ACK with a cookie, or an RST.
    Reply(Header),
    /// Do nothing.
    Drop(Refusal),
}

/// Why a segment is not even answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// There is nothing to say to it: an RST, a segment without ACK or SYN, SYN and FIN at once.
    Ignored,
    /// An RST would be due, but there were too many in this second.
    ResetsLimited,
    /// There are as many connections as the operator allows.
    ConnectionsFull,
    /// The peer has as many connections as the operator allows one.
    PeerLimit,
    /// The backlog is full twice over, and the tuple is in TIME-WAIT: a cookie could not make sure that old segments are told
    /// from new ones (RFC 6191).
    BacklogFull,
}

/// What a listener counted since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ListenCounters {
    /// SYNs that became half-open connections.
    pub accepted: u64,
    /// SYNs that were answered with a cookie.
    pub cookies_sent: u64,
    /// ACKs that returned a cookie and became connections.
    pub cookies_accepted: u64,
    /// RSTs sent.
    pub resets: u64,
    /// [`Refusal::Ignored`].
    pub ignored: u64,
    /// [`Refusal::ResetsLimited`].
    pub resets_limited: u64,
    /// [`Refusal::ConnectionsFull`].
    pub connections_full: u64,
    /// [`Refusal::PeerLimit`].
    pub peer_limit: u64,
    /// [`Refusal::BacklogFull`].
    pub backlog_full: u64,
}

/// What a cookie's hash covers besides what `tcp::cookies` puts in: who the two ends are.
struct CookieInput<'a>(&'a TupleKey, &'a [u8]);

impl Hash for CookieInput<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
        state.write(self.1);
    }
}

/// All listeners of a worker.
#[derive(Debug)]
pub struct Listener {
    ports: ArrayVec<u16, PORTS_MAX>,
    connections_max: u32,
    half_open_max: u32,
    per_peer_max: Option<u32>,
    resets: TokenBucket,
    isn_key: HashKey,
    cookie_key: HashKey,
    cookie_key_before: HashKey,
    rotate_at: Instant,
    last_cookie_at: Option<Instant>,
    connections: u32,
    half_open: u32,
    /// Connections per peer. As many entries as there may be connections, so nobody's count is ever forgotten.
    peers: BoundedMap<PeerKey, u32>,
    counters: ListenCounters,
}

impl Listener {
    /// Listeners as configured.
    #[must_use]
    pub fn new(config: &ListenConfig, keys: ListenKeys, now: Instant) -> Self {
        let ListenConfig { ports, connections_max, half_open_max, per_peer_max, resets_per_second } = config;
        let ListenKeys { table, isn, cookie } = keys;
        let peers_max = if per_peer_max.is_some() { *connections_max } else { 0 };
        Self {
            ports: ports.clone(),
            connections_max: *connections_max,
            half_open_max: *half_open_max,
            per_peer_max: *per_peer_max,
            resets: TokenBucket::new(*resets_per_second, (*resets_per_second / 10).max(1)),
            isn_key: isn,
            cookie_key: cookie,
            cookie_key_before: cookie,
            rotate_at: now + COOKIE_SECRET_LIFETIME,
            last_cookie_at: None,
            connections: 0,
            half_open: 0,
            peers: BoundedMap::new(peers_max, table),
            counters: ListenCounters::default(),
        }
    }

    /// A segment came that belongs to no connection.
    ///
    /// `iss_min` is what [`tcp::TimeWaitAction::Reuse`] asks for when the tuple was in TIME-WAIT.
    pub fn on_segment(
        &mut self,
        config: &tcp::Config,
        now: Instant,
        input: &TcpInput<'_>,
        iss_min: Option<SeqNum>,
    ) -> Verdict {
        let verdict = self.judge(config, now, input, iss_min);
        let ListenCounters {
            accepted,
            cookies_sent,
            cookies_accepted,
            resets,
            ignored,
            resets_limited,
            connections_full,
            peer_limit,
            backlog_full,
        } = &mut self.counters;
        *match verdict {
            Verdict::Accept { .. } => accepted,
            Verdict::AcceptCookie(_) => cookies_accepted,
            Verdict::Reply(header) if header.flags.contains(Flags::RST) => resets,
            Verdict::Reply(_) => cookies_sent,
            Verdict::Drop(Refusal::Ignored) => ignored,
            Verdict::Drop(Refusal::ResetsLimited) => resets_limited,
            Verdict::Drop(Refusal::ConnectionsFull) => connections_full,
            Verdict::Drop(Refusal::PeerLimit) => peer_limit,
            Verdict::Drop(Refusal::BacklogFull) => backlog_full,
        } += 1;
        verdict
    }

    /// RFC 9293 §3.10.7.1 and §3.10.7.2: the CLOSED and the LISTEN state.
    fn judge(
        &mut self,
        config: &tcp::Config,
        now: Instant,
        input: &TcpInput<'_>,
        iss_min: Option<SeqNum>,
    ) -> Verdict {
        let TcpInput { key, header, payload, .. } = input;
        let (flags, peer) = (header.flags, input.peer());
        if flags.contains(Flags::RST) || flags.contains(Flags::SYN | Flags::FIN) {
            return Verdict::Drop(Refusal::Ignored);
        }
        if !self.ports.contains(&header.destination_port) {
            return self.reset(now, header, payload.len());
        }
        if flags.contains(Flags::ACK) {
            let Some(params) = self.check_cookie(config, now, header, key) else {
                return self.reset(now, header, payload.len());
            };
            return match self.admit(peer) {
                Ok(()) => Verdict::AcceptCookie(params),
                Err(refusal) => Verdict::Drop(refusal),
            };
        }
        if !flags.contains(Flags::SYN) {
            return Verdict::Drop(Refusal::Ignored);
        }
        if let Err(refusal) = self.may_admit(peer) {
            return Verdict::Drop(refusal);
        }
        // A cookie could not make sure that old segments are told from new ones (RFC 6191). But who was connected a minute ago
        // is where he says: a flood has few such tuples, and for them there is as much room again.
        if iss_min.is_none() && self.half_open >= self.half_open_max {
            return Verdict::Reply(self.cookie(config, now, header, key));
        }
        if self.half_open >= self.half_open_max.saturating_mul(2) {
            return Verdict::Drop(Refusal::BacklogFull);
        }
        self.half_open += 1;
        self.count_in(peer);
        let iss = self.isn_of(now, key);
        Verdict::Accept { iss: iss_min.map_or(iss, |iss_min| iss.later(iss_min)) }
    }

    fn reset(&mut self, now: Instant, header: &Header, payload_bytes: usize) -> Verdict {
        let Some(reset) = u32::try_from(payload_bytes).ok().and_then(|bytes| tcp::reset_for(header, bytes))
        else {
            return Verdict::Drop(Refusal::Ignored);
        };
        if self.resets.take(now) { Verdict::Reply(reset) } else { Verdict::Drop(Refusal::ResetsLimited) }
    }

    fn cookie(&mut self, config: &tcp::Config, now: Instant, syn: &Header, key: &TupleKey) -> Header {
        self.last_cookie_at = Some(now);
        cookies::syn_ack(config, now, syn, &|bytes| self.cookie_key.prf(&CookieInput(key, bytes)))
    }

    /// While no cookie was sent for a while, nobody can have one: then guessing is not even tried (as RFC 4987 §3.6 advises).
    fn check_cookie(
        &self,
        config: &tcp::Config,
        now: Instant,
        ack: &Header,
        key: &TupleKey,
    ) -> Option<CookieParams> {
        self.last_cookie_at.filter(|&last| now.since(last) < COOKIES_EXPECTED)?;
        [self.cookie_key, self.cookie_key_before].iter().find_map(|secret| {
            cookies::check(config, now, ack, &|bytes| secret.prf(&CookieInput(key, bytes)))
        })
    }

    fn may_admit(&self, peer: IpAddr) -> Result<(), Refusal> {
        if self.connections >= self.connections_max {
            return Err(Refusal::ConnectionsFull);
        }
        match self.per_peer_max {
            Some(max) if self.connections_of(peer) >= max => Err(Refusal::PeerLimit),
            _ => Ok(()),
        }
    }

    fn admit(&mut self, peer: IpAddr) -> Result<(), Refusal> {
        self.may_admit(peer)?;
        self.count_in(peer);
        Ok(())
    }

    fn count_in(&mut self, peer: IpAddr) {
        self.connections += 1;
        if self.per_peer_max.is_some() {
            let key = PeerKey::new(peer);
            match self.peers.get_mut(&key) {
                Some(count) => *count += 1,
                None => {
                    self.peers.insert(key, 1);
                }
            }
        }
    }

    /// An initial send sequence number: the 4 µs clock plus a keyed hash of the tuple (RFC 6528 §3). For active opens too.
    #[must_use]
    pub fn isn(&self, now: Instant, tuple: &FourTuple) -> SeqNum {
        TupleKey::new(tuple).map_or(SeqNum(0), |key| self.isn_of(now, &key))
    }

    #[expect(clippy::cast_possible_truncation, reason = "sequence numbers live on a circle of 2³²")]
    fn isn_of(&self, now: Instant, key: &TupleKey) -> SeqNum {
        SeqNum(key.with_bytes(|bytes| self.isn_key.prf_of_bytes(bytes)) as u32)
            + (now.as_nanos() / ISN_TICK_NANOS) as u32
    }

    /// A connection that was accepted as half open is established.
    pub fn on_established(&mut self) {
        self.half_open = self.half_open.saturating_sub(1);
    }

    /// A connection that was accepted has gone, or could not be made after all.
    pub fn on_closed(&mut self, peer: IpAddr, was_half_open: bool) {
        self.connections = self.connections.saturating_sub(1);
        if was_half_open {
            self.half_open = self.half_open.saturating_sub(1);
        }
        if self.per_peer_max.is_some() {
            let key = PeerKey::new(peer);
            match self.peers.get_mut(&key) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    self.peers.remove(&key);
                }
            }
        }
    }

    /// When to bring the next secret for cookies.
    #[must_use]
    pub const fn rotate_at(&self) -> Instant {
        self.rotate_at
    }

    /// Makes cookies with a new secret from now on; those of the one before stay good.
    pub fn rotate(&mut self, now: Instant, secret: HashKey) {
        self.cookie_key_before = core::mem::replace(&mut self.cookie_key, secret);
        self.rotate_at = now + COOKIE_SECRET_LIFETIME;
    }

    /// Listens on no port any more, for a worker that drains: SYNs are answered with RST.
    pub fn close(&mut self) {
        self.ports.clear();
    }

    /// The ports listened on.
    #[must_use]
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// How many connections there are.
    #[must_use]
    pub const fn connections(&self) -> u32 {
        self.connections
    }

    /// How many of them have not completed their handshake.
    #[must_use]
    pub const fn half_open(&self) -> u32 {
        self.half_open
    }

    /// How many connections a peer has; zero when there is no limit to count for.
    #[must_use]
    pub fn connections_of(&self, peer: IpAddr) -> u32 {
        self.peers.get(&PeerKey::new(peer)).copied().unwrap_or(0)
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> ListenCounters {
        self.counters
    }
}
