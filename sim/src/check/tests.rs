//! Each checker against a server that breaks its law.

use super::*;
use crate::content::Content;
use crate::packet::{ACK, SYN};

const SECURE_PORT: u16 = 443;

fn segment(from_server: bool, flags: u8, seq: u32, ack: u32) -> Segment {
    let client = ([2, 0, 0, 0, 0, 1], "10.0.0.1:5000".parse().unwrap());
    let server = ([2, 0, 0, 0, 0, 2], SocketAddr::new("10.0.0.2".parse().unwrap(), SECURE_PORT));
    let mut segment =
        if from_server { Segment::between(server, client) } else { Segment::between(client, server) };
    segment.flags = flags;
    segment.seq = seq;
    segment.ack = ack;
    segment.window = 1_000;
    segment
}

/// A checker that has seen a handshake: client 99, server 999, window 1,000, no scale.
struct Watch<C>(C, Vec<Breach>);

impl<C: Checker> Watch<C> {
    fn established(checker: C) -> Self {
        let mut watch = Self(checker, Vec::new());
        watch.received(&segment(false, SYN, 99, 0));
        watch.sent(&segment(true, SYN | ACK, 999, 100), b"");
        watch.received(&segment(false, ACK, 100, 1_000));
        assert_eq!(watch.1, []);
        watch
    }

    fn received(&mut self, segment: &Segment) {
        self.0.on_received(Seen { at: Instant::EPOCH, segment, payload: b"" }, &mut self.1);
    }

    fn sent(&mut self, segment: &Segment, payload: &[u8]) {
        self.0.on_sent(Seen { at: Instant::EPOCH, segment, payload }, &mut self.1);
    }

    fn data(&mut self, seq: u32, payload: &[u8]) -> usize {
        self.sent(&segment(true, ACK, seq, 100), payload);
        self.1.len()
    }
}

mod repeats_itself {
    use super::*;

    #[test]
    fn the_same_bytes_again_are_lawful_however_they_are_cut() {
        let mut watch = Watch::established(RepeatsItself::new(SECURE_PORT));
        assert_eq!(watch.data(1_000, b"abcdef"), 0);
        assert_eq!(watch.data(1_010, b"klm"), 0);
        assert_eq!(watch.data(1_003, b"defghijkl"), 0);
        assert_eq!(watch.data(1_000, b"abcdefghijklmnop"), 0);
    }

    #[test]
    fn another_byte_at_the_same_place_is_a_breach() {
        let mut watch = Watch::established(RepeatsItself::new(SECURE_PORT));
        assert_eq!(watch.data(1_000, b"abcdef"), 0);
        assert_eq!(watch.data(1_005, b"fgh"), 0);
        assert_eq!(watch.data(1_004, b"eFg"), 1);
        assert!(watch.1[0].what.contains("stream byte 5"), "{}", watch.1[0]);
    }

    #[test]
    fn a_new_connection_of_the_same_pair_is_another_stream() {
        let mut watch = Watch::established(RepeatsItself::new(SECURE_PORT));
        assert_eq!(watch.data(1_000, b"abc"), 0);
        watch.sent(&segment(true, SYN | ACK, 5_000, 100), b"");
        assert_eq!(watch.data(5_001, b"xyz"), 0);
    }
}

mod stays_within_credit {
    use super::*;

    #[test]
    fn the_edge_may_be_reached_and_not_passed() {
        let mut watch = Watch::established(StaysWithinCredit::new());
        assert_eq!(watch.data(1_000, &[0; 1_000]), 0);
        assert_eq!(watch.data(1_999, &[0; 2]), 1);
    }

    #[test]
    fn a_window_that_was_taken_back_still_counts() {
        let mut watch = Watch::established(StaysWithinCredit::new());
        let mut shrunk = segment(false, ACK, 100, 1_000);
        shrunk.window = 10;
        watch.received(&shrunk);
        assert_eq!(watch.data(1_500, &[0; 500]), 0);
    }

    #[test]
    fn an_acknowledgment_moves_the_edge() {
        let mut watch = Watch::established(StaysWithinCredit::new());
        watch.received(&segment(false, ACK, 100, 1_600));
        assert_eq!(watch.data(2_000, &[0; 600]), 0);
        assert_eq!(watch.data(2_600, &[0; 1]), 1);
    }

    #[test]
    fn a_later_opening_of_the_pair_does_not_move_the_edge_of_the_one_that_was_answered() {
        let mut watch = Watch::established(StaysWithinCredit::new());
        watch.received(&segment(false, SYN, 70_000, 0));
        watch.sent(&segment(true, SYN | ACK, 900_000, 70_001), b"");
        assert_eq!(watch.data(1_000, &[0; 1_000]), 0);
        assert_eq!(watch.data(2_000, &[0; 1]), 1);
    }
}

mod shows_no_plaintext {
    use super::*;

    #[test]
    fn content_and_heads_are_breaches_on_the_secure_port_only() {
        let mut content = [0; 600];
        Content::of(1).fill(100, &mut content);
        let refusal = b"HTTP/1.1 400 Bad Request\r\n\r\nask for https:// instead";
        let smuggled = [&refusal[..], b"HTTP/1.1 200 OK"].concat();
        let cases: [(&[u8], usize); 5] =
            [(&content, 1), (b"..HTTP/1.1 200 OK", 1), (&[0x5A; 600], 0), (refusal, 0), (&smuggled, 1)];
        for (payload, count) in cases {
            let mut watch = Watch::established(ShowsNoPlaintext::new(SECURE_PORT));
            assert_eq!(watch.data(1_000, payload), count);
            let mut watch = Watch::established(ShowsNoPlaintext::new(8_443));
            assert_eq!(watch.data(1_000, payload), 0);
        }
    }
}

mod vitals {
    use super::*;

    #[test]
    fn a_frame_that_is_held_when_everybody_has_left_is_a_breach() {
        let mut breaches = Vec::new();
        let mut vitals = Vitals { frames_large_max: 4, frames_small_max: 4, ..Vitals::default() };
        FramesComeBack.at_rest(Instant::EPOCH, &vitals, &mut breaches);
        assert_eq!(breaches, []);
        vitals.frames_small = 1;
        FramesComeBack.at_rest(Instant::EPOCH, &vitals, &mut breaches);
        assert_eq!(breaches.len(), 1);
    }

    #[test]
    fn one_connection_too_many_is_a_breach() {
        let mut breaches = Vec::new();
        let mut vitals = Vitals { connections: 3, connections_max: 3, ..Vitals::default() };
        StaysSmall.on_turn(Instant::EPOCH, &vitals, &mut breaches);
        assert_eq!(breaches, []);
        vitals.connections = 4;
        StaysSmall.on_turn(Instant::EPOCH, &vitals, &mut breaches);
        assert_eq!(breaches.len(), 1);
    }

    #[test]
    fn a_byte_on_the_wire_that_is_not_counted_is_a_breach() {
        let mut watch = Watch::established(CountsAddUp::default());
        watch.data(1_000, b"abc");
        let vitals = Vitals { sent_bytes: 3, ..Vitals::default() };
        watch.0.on_turn(Instant::EPOCH, &vitals, &mut watch.1);
        assert_eq!(watch.1, []);
        watch.data(1_003, b"d");
        watch.0.on_turn(Instant::EPOCH, &vitals, &mut watch.1);
        assert_eq!(watch.1.len(), 1);
    }

    #[test]
    fn a_connection_that_neither_finished_nor_failed_is_a_breach() {
        let mut breaches = Vec::new();
        let vitals = Vitals { accepted: 2, finished: 1, ..Vitals::default() };
        CountsAddUp::default().at_rest(Instant::EPOCH, &vitals, &mut breaches);
        assert_eq!(breaches.len(), 1);
    }
}
