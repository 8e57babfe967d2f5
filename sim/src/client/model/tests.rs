//! The model client against an independent server: smoltcp, over faulty paths.

use super::*;
use crate::client::smol::{SmolConfig, SmolTcp};
use crate::content::Content;
use crate::network::{Carried, Corrupt, Device, Duplicate, Loss, Reorder, Wire};
use crate::random::{PPM, Seed};

const CLIENT_MAC: Mac = [2, 0, 0, 0, 0, 1];
const SERVER_MAC: Mac = [2, 0, 0, 0, 0, 2];
const PORT: u16 = 80;

/// A model client and a smoltcp server that sends `object` after it has read a byte, and then FIN.
struct Rig {
    now: Instant,
    client: ModelTcp,
    server: SmolTcp,
    up: Box<dyn Device>,
    down: Box<dyn Device>,
    in_flight: Vec<(Carried, bool)>,
    object: Content,
    sent: u64,
    asked: bool,
    bytes: u64,
    received: Vec<u8>,
    violations: Vec<Violation>,
}

fn path(ppm: u32, dice: &Dice) -> Box<dyn Device> {
    let mut dice = dice.clone();
    let wire = Wire { delay: Duration::from_millis(5) };
    let hold_max = Duration::from_millis(10);
    let inner = Reorder { inner: Box::new(wire), ppm, hold_max, dice: dice.fork(), reordered: 0 };
    let later_max = Duration::from_millis(3);
    let inner = Duplicate { inner: Box::new(inner), ppm, later_max, dice: dice.fork(), duplicated: 0 };
    let inner = Corrupt { inner: Box::new(inner), ppm, dice: dice.fork(), corrupted: 0 };
    Box::new(Loss { inner: Box::new(inner), ppm, dice: dice.fork(), lost: 0 })
}

impl Rig {
    fn new(manners: Manners, bytes: u64, ppm: u32) -> Self {
        let seed = Seed(bytes ^ u64::from(ppm));
        let local: SocketAddr = "10.0.0.1:5000".parse().unwrap();
        let remote: SocketAddr = "10.0.0.2:0".parse().unwrap();
        let client =
            ModelTcp::new((CLIENT_MAC, local), (SERVER_MAC, remote), manners, seed.dice("client", 0));
        let config = SmolConfig { receive_buffer: 65_536, mtu: 1_500, prefix_len: 24 };
        let mut server = SmolTcp::new(SERVER_MAC, remote, local.ip(), config, seed.dice("server", 0));
        server.listen(PORT);
        Self {
            now: Instant::EPOCH,
            client,
            server,
            up: path(ppm, &seed.dice("up", 0)),
            down: path(ppm, &seed.dice("down", 0)),
            in_flight: Vec::new(),
            object: Content::of(1),
            sent: 0,
            asked: false,
            bytes,
            received: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// Asks for the object and runs until the client's connection is over, or until `limit`.
    fn download(&mut self, limit: Duration) -> Phase {
        self.client.open(self.now, PORT);
        self.client.send(b"?");
        let end = self.now + limit;
        while self.now < end && !matches!(self.client.phase(), Phase::Ended(_)) {
            self.step();
        }
        self.client.phase()
    }

    fn step(&mut self) {
        self.serve();
        self.client.receive(self.now, usize::MAX, &mut self.received);
        if self.client.phase() == Phase::PeerFinished {
            self.client.finish();
        }
        let mut frames = Vec::new();
        self.client.poll(self.now, &mut frames);
        self.violations.append(&mut self.client.take_violations());
        let mut out = Vec::new();
        for frame in frames.drain(..) {
            self.up.carry(self.now, frame, &mut out);
        }
        self.in_flight.extend(out.drain(..).map(|carried| (carried, true)));
        self.server.poll(self.now, &mut frames);
        for frame in frames {
            // The model client knows no ARP; the rig answers for it.
            if frame[12..14] == [8, 6] {
                self.server.on_frame(self.now, &arp_reply(&frame));
            } else {
                self.down.carry(self.now, frame, &mut out);
            }
        }
        self.in_flight.extend(out.drain(..).map(|carried| (carried, false)));
        let arrival = self.in_flight.iter().map(|(carried, _)| carried.at).min().unwrap_or(Instant::NEVER);
        let next = arrival.min(self.client.deadline()).min(self.server.deadline());
        self.now = self.now.max(next.min(self.now + Duration::from_secs(1)));
        self.in_flight.sort_by_key(|(carried, _)| carried.at);
        while let Some((carried, to_server)) = self.in_flight.first().cloned()
            && carried.at <= self.now
        {
            self.in_flight.remove(0);
            if to_server {
                self.server.on_frame(self.now, &carried.frame);
            } else {
                self.client.on_frame(self.now, &carried.frame);
            }
        }
    }

    fn serve(&mut self) {
        self.asked |= self.server.receive(self.now, 100, &mut Vec::new()) > 0;
        while self.asked && self.sent < self.bytes {
            let mut chunk = vec![0; usize::try_from((self.bytes - self.sent).min(4_096)).unwrap()];
            self.object.fill(self.sent, &mut chunk);
            let taken = self.server.send(&chunk) as u64;
            self.sent += taken;
            if taken == 0 {
                break;
            }
        }
        if self.asked && self.sent == self.bytes {
            self.server.finish();
        }
    }

    #[track_caller]
    fn expect_whole(&self) {
        assert_eq!(self.violations, []);
        assert_eq!(self.received.len() as u64, self.bytes);
        self.object.verify(0, &self.received).unwrap();
    }
}

fn arp_reply(request: &[u8]) -> Frame {
    let mut reply = request[..42].to_vec();
    reply[..6].copy_from_slice(&request[6..12]);
    reply[6..12].copy_from_slice(&CLIENT_MAC);
    reply[21] = 2;
    reply[22..28].copy_from_slice(&CLIENT_MAC);
    reply[28..32].copy_from_slice(&request[38..42]);
    reply[32..42].copy_from_slice(&request[22..32]);
    reply
}

const MINUTES: Duration = Duration::from_secs(1_200);

mod established {
    use super::*;

    #[test]
    fn an_ordinary_client_receives_every_byte_over_a_clean_path() {
        let mut rig = Rig::new(Manners::ordinary(), 300_000, 0);
        assert_eq!(rig.download(Duration::from_secs(20)), Phase::Ended(Ended::Finished));
        rig.expect_whole();
    }

    #[test]
    fn an_ordinary_client_receives_every_byte_over_a_faulty_path() {
        let mut rig = Rig::new(Manners::ordinary(), 200_000, PPM / 50);
        assert_eq!(rig.download(MINUTES), Phase::Ended(Ended::Finished));
        rig.expect_whole();
    }

    #[test]
    fn odd_clients_receive_every_byte_too() {
        for index in 0..40 {
            let mut dice = Seed(1).dice("odd", index);
            let mut manners = Manners::odd(&mut dice, false);
            match &mut manners.window {
                // A window of a few bytes would take hours.
                WindowPlan::Tiny(bytes) => *bytes = (*bytes).max(600),
                // smoltcp 0.12 does not probe a closed window, so an update that is lost is the end.
                WindowPlan::Doors { .. } | WindowPlan::Pause { .. } | WindowPlan::Shrinking(_) => {
                    manners.window = WindowPlan::Steady;
                }
                WindowPlan::Steady => {}
            }
            let mut rig = Rig::new(manners.clone(), 30_000 + index, PPM / 100);
            let phase = rig.download(MINUTES);
            assert_eq!(phase, Phase::Ended(Ended::Finished), "{index}: {manners:?}\n{:?}", rig.server);
            rig.expect_whole();
        }
    }

    #[test]
    fn a_window_that_shuts_for_a_minute_loses_nothing() {
        let mut manners = Manners::ordinary();
        manners.receive_buffer = 20_000;
        manners.window = WindowPlan::Doors { open: Duration::from_millis(30), shut: Duration::from_secs(60) };
        let mut rig = Rig::new(manners, 60_000, 0);
        assert_eq!(rig.download(MINUTES), Phase::Ended(Ended::Finished));
        assert!(rig.now > Instant::EPOCH + Duration::from_secs(60));
        rig.expect_whole();
    }

    #[test]
    fn a_reset_ends_both_sides() {
        let mut rig = Rig::new(Manners::ordinary(), 1 << 20, 0);
        rig.client.open(rig.now, PORT);
        rig.client.send(b"?");
        while rig.received.len() < 20_000 {
            rig.step();
        }
        rig.client.abort(rig.now);
        for _ in 0..100 {
            rig.step();
        }
        assert_eq!(rig.client.phase(), Phase::Ended(Ended::Aborted));
        assert_eq!(rig.server.phase(), Phase::Ended(Ended::Reset));
    }

    #[test]
    fn a_client_that_forgot_answers_with_a_reset() {
        let mut rig = Rig::new(Manners::ordinary(), 1 << 20, 0);
        rig.client.open(rig.now, PORT);
        rig.client.send(b"?");
        while rig.received.len() < 20_000 {
            rig.step();
        }
        rig.client.forget();
        for _ in 0..100 {
            rig.step();
        }
        assert_eq!(rig.server.phase(), Phase::Ended(Ended::Reset));
    }

    #[test]
    fn a_client_that_vanished_says_nothing() {
        let mut rig = Rig::new(Manners::ordinary(), 1 << 20, 0);
        rig.client.open(rig.now, PORT);
        rig.client.send(b"?");
        while rig.received.len() < 20_000 {
            rig.step();
        }
        rig.client.vanish();
        for _ in 0..100 {
            rig.step();
        }
        let received = rig.received.len();
        rig.client.receive(rig.now, usize::MAX, &mut rig.received);
        assert_eq!(rig.received.len(), received);
        assert_eq!(rig.server.phase(), Phase::Open);
    }
}

/// Segments by hand: what the receiving half tells, and what it objects to.
mod receiving {
    use super::super::receiving::Receiving;
    use super::*;

    fn established(manners: Manners) -> Receiving {
        let mut rcv = Receiving::new(Instant::EPOCH, manners, Seed(1).dice("receiving", 0));
        rcv.established(999, true, true);
        rcv.next_ack(Instant::EPOCH, 4);
        rcv
    }

    fn data(rcv: &mut Receiving, seq: u32, payload: &[u8]) -> Vec<Violation> {
        let mut violations = Vec::new();
        rcv.on_data(Instant::EPOCH, seq, payload, false, &mut violations);
        violations
    }

    #[test]
    fn blocks_are_told_the_latest_first_and_merge_when_they_touch() {
        let mut rcv = established(Manners::ordinary());
        for seq in [1_100, 1_300, 1_500, 1_200] {
            assert_eq!(data(&mut rcv, seq, &[0; 100]), []);
        }
        let ack = rcv.next_ack(Instant::EPOCH, 4).unwrap();
        assert_eq!((ack.ack, &ack.sack[..]), (1_000, &[(1_100, 1_400), (1_500, 1_600)][..]));
        assert_eq!(data(&mut rcv, 1_000, &[0; 100]), []);
        let ack = rcv.next_ack(Instant::EPOCH, 4).unwrap();
        assert_eq!((ack.ack, &ack.sack[..]), (1_400, &[(1_500, 1_600)][..]));
    }

    #[test]
    fn what_came_twice_is_told_before_the_blocks() {
        let mut rcv = established(Manners::ordinary());
        data(&mut rcv, 1_000, &[0; 100]);
        data(&mut rcv, 1_200, &[0; 100]);
        rcv.next_ack(Instant::EPOCH, 4);
        data(&mut rcv, 1_000, &[0; 50]);
        let ack = rcv.next_ack(Instant::EPOCH, 4).unwrap();
        assert_eq!(&ack.sack[..], [(1_000, 1_050), (1_200, 1_300)]);
    }

    #[test]
    fn an_acknowledgment_can_come_in_pieces() {
        let mut manners = Manners::ordinary();
        manners.acks.pieces = 4;
        manners.acks.every = 1;
        let mut rcv = established(manners);
        data(&mut rcv, 1_000, &[0; 100]);
        let acks: Vec<u32> =
            core::iter::from_fn(|| rcv.next_ack(Instant::EPOCH, 4)).map(|ack| ack.ack).collect();
        assert_eq!(acks, [1_025, 1_050, 1_075, 1_100]);
    }

    #[test]
    fn data_behind_every_window_is_a_violation() {
        let mut manners = Manners::ordinary();
        manners.receive_buffer = 1_000;
        manners.window_scale = Some(0);
        let mut rcv = established(manners);
        assert_eq!(data(&mut rcv, 1_900, &[0; 100]), []);
        assert_eq!(data(&mut rcv, 1_901, &[0; 100]), [Violation::BeyondWindow { bytes: 1 }]);
    }

    #[test]
    fn a_byte_that_changes_when_it_is_sent_again_is_a_violation() {
        let mut rcv = established(Manners::ordinary());
        data(&mut rcv, 1_100, &[1; 100]);
        assert_eq!(data(&mut rcv, 1_150, &[2; 100]), [Violation::Rewritten { offset: 150 }]);
        let mut rcv = established(Manners::ordinary());
        data(&mut rcv, 1_100, &[1; 100]);
        assert_eq!(data(&mut rcv, 1_000, &[1; 150]), []);
        let mut rcv = established(Manners::ordinary());
        data(&mut rcv, 1_100, &[1; 100]);
        assert_eq!(data(&mut rcv, 1_000, &[3; 150]), [Violation::Rewritten { offset: 100 }]);
    }

    #[test]
    fn a_moving_fin_is_a_violation() {
        let mut rcv = established(Manners::ordinary());
        let mut violations = Vec::new();
        rcv.on_data(Instant::EPOCH, 1_100, &[], true, &mut violations);
        assert_eq!(violations, []);
        rcv.on_data(Instant::EPOCH, 1_099, &[], true, &mut violations);
        assert_eq!(violations, [Violation::BeyondFin]);
    }
}
