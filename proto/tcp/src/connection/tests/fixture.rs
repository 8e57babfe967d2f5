//! A connection in a state, and a peer that says what a test wants.

use crate::{
    Config, Connection, Events, Flags, Header, Options, Outgoing, SackBlocks, SeqNum, State, Timestamps,
};
use clock::Instant;
use core::ops::Range;
use core::time::Duration;

pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const ISS: u32 = 5000;
pub(super) const IRS: u32 = 1000;
pub(super) const WINDOW: u16 = 64_000;
/// Payload per segment of the fixtures without timestamps.
pub(super) const MSS: u32 = 1000;

pub(super) struct Fixture {
    pub(super) connection: Connection,
    pub(super) config: Config,
    pub(super) now: Instant,
    pub(super) delivered: Vec<u8>,
    /// TSval of the peer, if timestamps were agreed.
    pub(super) ts: Option<u32>,
}

/// Plain: no timestamps, SACK, no pacing, an MSS that is easy to add up.
pub(super) fn plain() -> Config {
    Config { mss_max: 1000, timestamps: false, pacing: false, black_hole_mss: None, ..Config::default() }
}

pub(super) fn header(flags: Flags, seq: u32, ack: u32) -> Header {
    Header {
        source_port: 50_000,
        destination_port: 443,
        seq: SeqNum(seq),
        ack: SeqNum(ack),
        flags,
        window: WINDOW,
        urgent: 0,
        options: Options::NONE,
    }
}

pub(super) fn syn(config: &Config) -> Header {
    let mut syn = header(Flags::SYN, IRS, 0);
    syn.options.mss = Some(config.mss_max);
    syn.options.sack_permitted = config.sack;
    syn.options.timestamps = config.timestamps.then_some(Timestamps { value: 100, echo: 0 });
    syn
}

impl Fixture {
    pub(super) fn syn_sent() -> Self {
        Self::syn_sent_with(plain())
    }

    pub(super) fn syn_sent_with(config: Config) -> Self {
        let now = Instant::EPOCH + SECOND * 1000;
        let connection = Connection::connect(&config, now, 443, 50_000, SeqNum(ISS));
        let mut fixture = Self { connection, config, now, delivered: Vec::new(), ts: None };
        let syn = fixture.control();
        assert_eq!(syn.flags, Flags::SYN);
        fixture
    }

    pub(super) fn syn_received() -> Self {
        Self::syn_received_with(plain())
    }

    pub(super) fn syn_received_with(config: Config) -> Self {
        let now = Instant::EPOCH + SECOND * 1000;
        let connection = Connection::accept(&config, now, &syn(&config), SeqNum(ISS));
        let ts = config.timestamps.then_some(100);
        let mut fixture = Self { connection, config, now, delivered: Vec::new(), ts };
        let syn_ack = fixture.control();
        assert_eq!(syn_ack.flags, Flags::SYN | Flags::ACK);
        fixture
    }

    pub(super) fn established() -> Self {
        Self::established_with(plain())
    }

    /// After a round trip of 100 ms.
    pub(super) fn established_with(config: Config) -> Self {
        let mut fixture = Self::syn_received_with(config);
        fixture.pass(100 * MS);
        assert!(fixture.ack(0).contains(Events::ESTABLISHED));
        assert_eq!(fixture.connection.state(), State::Established);
        fixture
    }

    /// The peer finished first.
    pub(super) fn close_wait() -> Self {
        let mut fixture = Self::established();
        assert!(
            fixture
                .on(header(Flags::FIN | Flags::ACK, IRS + 1, ISS + 1), b"")
                .contains(Events::PEER_FINISHED)
        );
        assert_eq!(fixture.control().ack, SeqNum(IRS + 2));
        fixture
    }

    /// We finished, nothing was sent, and the peer has not acknowledged it.
    pub(super) fn fin_wait_1() -> Self {
        let mut fixture = Self::established();
        fixture.connection.finish();
        assert_eq!(fixture.control().flags, Flags::FIN | Flags::ACK);
        assert_eq!(fixture.connection.state(), State::FinWait1);
        fixture
    }

    pub(super) fn fin_wait_2() -> Self {
        let mut fixture = Self::fin_wait_1();
        assert!(fixture.ack(1).contains(Events::FINISH_ACKNOWLEDGED));
        assert_eq!(fixture.connection.state(), State::FinWait2);
        fixture
    }

    /// A segment of the peer comes.
    pub(super) fn on(&mut self, mut header: Header, payload: &[u8]) -> Events {
        if let Some(value) = self.ts
            && header.options.timestamps.is_none()
        {
            header.options.timestamps =
                Some(Timestamps { value, echo: self.connection.clock.value(self.now) });
        }
        let Self { connection, config, now, delivered, .. } = self;
        connection.on_segment(config, *now, &header, payload, &mut |bytes| delivered.extend_from_slice(bytes))
    }

    /// The peer acknowledges our stream up to `offset`.
    pub(super) fn ack(&mut self, offset: u32) -> Events {
        self.ack_sack(offset, &[])
    }

    /// And reports these ranges of it.
    pub(super) fn ack_sack(&mut self, offset: u32, blocks: &[Range<u32>]) -> Events {
        let mut ack = header(Flags::ACK, IRS + 1 + self.received(), ISS + 1 + offset);
        ack.options.sack = sack(blocks);
        self.on(ack, b"")
    }

    /// Bytes (and FIN) of the peer that we have.
    fn received(&self) -> u32 {
        self.connection.rcv.nxt.distance_from(SeqNum(IRS + 1))
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    /// Time passes until the next deadline; what happens then.
    pub(super) fn expire(&mut self) -> Events {
        self.now = self.connection.deadline().expect("a timer runs").max(self.now);
        self.connection.on_deadline(&self.config, self.now)
    }

    /// The one control segment that is due.
    #[track_caller]
    pub(super) fn control(&mut self) -> Header {
        let header = self.poll().expect("a control segment is due").header;
        assert_eq!(self.poll(), None, "only one control segment is due");
        header
    }

    #[track_caller]
    pub(super) fn silent(&mut self) {
        assert_eq!(self.poll(), None);
    }

    pub(super) fn poll(&mut self) -> Option<Outgoing> {
        self.connection.poll_control(&self.config, self.now)
    }

    /// Reserves and transmits `bytes` at once, as far as it may leave: the ranges that left.
    pub(super) fn send(&mut self, bytes: u32) -> Vec<Range<u64>> {
        let mut range = self.connection.reserve(bytes);
        self.transmit(&mut range)
    }

    pub(super) fn transmit(&mut self, range: &mut Range<u64>) -> Vec<Range<u64>> {
        let now = self.now;
        core::iter::from_fn(|| self.connection.transmit(now, range, 64 << 10))
            .map(|outgoing| outgoing.range)
            .collect()
    }

    /// Fetches and sends again all that is wanted now.
    pub(super) fn repair(&mut self) -> Vec<Range<u64>> {
        let mut all = Vec::new();
        while let Some(mut range) = self.connection.wanted(self.now, 64 << 10) {
            all.extend(self.transmit(&mut range));
            assert!(range.is_empty(), "what was wanted may leave");
        }
        all
    }
}

pub(super) fn sack(blocks: &[Range<u32>]) -> SackBlocks {
    blocks.iter().map(|block| (SeqNum(ISS + 1 + block.start), SeqNum(ISS + 1 + block.end))).collect()
}
