use super::*;
use core::time::Duration;
use proptest::prelude::*;

const MSS: u32 = 1000;

fn at(ms: u32) -> Instant {
    Instant::EPOCH + Duration::from_millis(1) * (ms + 1)
}

/// A board with `sends` sent one after the other, a millisecond apart.
fn sent(sends: &[u32]) -> (Scoreboard, u64) {
    let mut board = Scoreboard::new();
    let mut nxt = 0;
    for (ms, &bytes) in (0..).zip(sends) {
        board.reserve(nxt, bytes);
        board.send_new(at(ms), nxt, bytes, MSS);
        nxt += u64::from(bytes);
    }
    (board, nxt)
}

fn sack(board: &mut Scoreboard, range: Range<u64>) -> Delivered {
    let mut delivered = Delivered::default();
    board.sack(range, MSS, &mut delivered);
    delivered
}

fn acknowledge(board: &mut Scoreboard, ack: u64) -> Delivered {
    let mut delivered = Delivered::default();
    board.acknowledge(ack, &mut delivered);
    delivered
}

impl Scoreboard {
    /// What must always hold: no gap, no overlap, sums that are sums.
    fn check(&self, una: u64, end: u64) {
        let mut at = una;
        let (mut pipe, mut sacked, mut lost, mut held_lost, mut surrendered) = (0, 0, 0, 0, 0);
        let mut sent = true;
        for entry in &self.entries {
            assert_eq!(entry.start, at, "{self:?}");
            assert!(entry.bytes > 0);
            at = entry.end();
            assert!(sent || !entry.fate.contains(Fate::SENT), "unsent before sent");
            sent = entry.fate.contains(Fate::SENT);
            assert!(!entry.fate.contains(Fate::SACKED) || !entry.fate.intersects(Fate::LOST | Fate::HELD));
            if !sent {
                surrendered += if entry.fate.contains(Fate::HELD) { 0 } else { entry.bytes };
            } else if entry.fate.contains(Fate::SACKED) {
                sacked += entry.bytes;
            } else if entry.fate.contains(Fate::LOST) {
                lost += entry.bytes;
                held_lost += if entry.fate.contains(Fate::HELD) { entry.bytes } else { 0 };
                assert!(entry.fate.intersects(Fate::HELD | Fate::FIN) || entry.end() > self.lost_from);
            } else {
                pipe += entry.bytes;
            }
        }
        assert_eq!(at, end.max(una));
        let sums = (self.pipe, self.sacked, self.lost, self.held_lost, self.surrendered);
        assert_eq!(sums, (pipe, sacked, lost, held_lost, surrendered), "{self:?}");
        assert!(self.entries.len() <= ENTRIES_MAX);
    }
}

mod sending {
    use super::*;

    #[test]
    fn superframes_of_one_turn_are_one_entry() {
        let mut board = Scoreboard::new();
        board.reserve(0, 100_000);
        board.send_new(at(0), 0, 64_000, MSS);
        board.send_new(at(0), 64_000, 36_000, MSS);
        assert_eq!((board.len(), board.pipe()), (1, 100_000));
    }

    #[test]
    fn a_superframe_that_ends_within_a_segment_is_not_joined_so_that_segment_boundaries_stay() {
        let mut board = Scoreboard::new();
        board.reserve(0, 10_000);
        board.send_new(at(0), 0, 1500, MSS);
        board.send_new(at(0), 1500, 1000, MSS);
        assert_eq!(board.len(), 3);
    }

    #[test]
    fn only_what_the_owner_holds_counts_as_ready() {
        let mut board = Scoreboard::new();
        board.reserve(0, 3000);
        board.surrender(1000..2000);
        assert_eq!(board.held_from(0), 1000);
        assert_eq!(board.surrendered(), 1000);
        assert_eq!(board.hold_surrendered(0, 10_000, 10_000, MSS), Some(1000..2000));
        assert_eq!((board.held_from(0), board.surrendered()), (3000, 0));
    }
}

mod sacked {
    use super::*;

    #[test]
    fn a_superframe_is_cut_at_the_edges_of_the_report() {
        let (mut board, nxt) = sent(&[10_000]);
        let delivered = sack(&mut board, 3000..5000);
        assert_eq!(
            (delivered.sacked, delivered.fresh, board.sacked(), board.pipe()),
            (2000, 2000, 2000, 8000)
        );
        assert_eq!(delivered.original, Some(Sent { at: at(0), end: 5000 }));
        board.check(0, nxt);
    }

    #[test]
    fn reported_twice_it_counts_once() {
        let (mut board, _) = sent(&[10_000]);
        sack(&mut board, 3000..5000);
        assert_eq!(sack(&mut board, 3000..6000).sacked, 1000);
        assert_eq!(board.len(), 3, "neighbours of one fate are one entry");
        assert_eq!(acknowledge(&mut board, 6000).fresh, 3000);
    }

    #[test]
    fn a_report_below_what_was_reported_before_tells_of_reordering() {
        let (mut board, _) = sent(&[10_000]);
        let first = sack(&mut board, 5000..6000);
        assert!(!first.reordered);
        let mut second = Delivered::since(first.fack);
        board.sack(1000..2000, MSS, &mut second);
        assert!(second.reordered);
    }

    #[test]
    fn every_other_byte_does_not_make_the_map_grow() {
        let (mut board, nxt) = sent(&[1 << 20]);
        for offset in 0..200_000 {
            sack(&mut board, 2 * offset + 1..2 * offset + 2);
        }
        assert!(board.len() <= ENTRIES_MAX_FOR_ODD_CUTS + 2, "{}", board.len());
        board.check(0, nxt);
    }

    #[test]
    fn every_other_segment_of_a_huge_window_stops_at_the_limit() {
        let (mut board, nxt) = sent(&[16 << 20]);
        for segment in 0..8000 {
            sack(&mut board, (2 * segment + 1) * 1000..(2 * segment + 2) * 1000);
        }
        assert!(board.len() <= ENTRIES_MAX);
        board.check(0, nxt);
    }
}

mod lost {
    use super::*;

    #[test]
    fn a_lost_range_is_asked_for_once_in_whole_segments() {
        let (mut board, nxt) = sent(&[10_000]);
        board.lose_all();
        assert_eq!(board.hold_lost(u64::MAX, 3500, MSS), Some(0..3000));
        assert_eq!(board.hold_lost(u64::MAX, 100_000, MSS), Some(3000..10_000));
        assert_eq!(board.hold_lost(u64::MAX, 100_000, MSS), None);
        board.check(0, nxt);
    }

    #[test]
    fn a_lost_range_beyond_the_peers_window_is_not_asked_for() {
        let (mut board, _) = sent(&[10_000]);
        board.lose_all();
        board.hold_lost(u64::MAX, 3000, MSS);
        assert_eq!(board.hold_lost(3000, 3000, MSS), None);
    }

    #[test]
    fn sent_again_it_is_in_flight_with_a_new_time() {
        let (mut board, nxt) = sent(&[10_000]);
        board.lose_all();
        board.hold_lost(u64::MAX, 4000, MSS);
        assert_eq!(board.again(at(9), 0, 64_000, MSS), Again::Sent(0..4000));
        assert_eq!((board.pipe(), board.lost()), (4000, 6000));
        assert_eq!(acknowledge(&mut board, 1000).again, Some(Sent { at: at(9), end: 1000 }));
        board.check(1000, nxt);
    }

    #[test]
    fn what_arrived_meanwhile_is_not_sent_again() {
        let (mut board, nxt) = sent(&[10_000]);
        board.lose_all();
        board.hold_lost(u64::MAX, 4000, MSS);
        sack(&mut board, 1000..2000);
        assert_eq!(board.again(at(9), 0, 64_000, MSS), Again::Sent(0..1000));
        assert_eq!(board.again(at(9), 1000, 64_000, MSS), Again::Skip(2000));
        assert_eq!(board.again(at(9), 2000, 64_000, MSS), Again::Sent(2000..4000));
        board.check(0, nxt);
    }

    #[test]
    fn surrendered_it_is_asked_for_again() {
        let (mut board, nxt) = sent(&[10_000]);
        board.lose_all();
        board.hold_lost(u64::MAX, 4000, MSS);
        board.surrender(1000..2000);
        assert_eq!(board.hold_lost(u64::MAX, 1000, MSS), Some(1000..2000));
        board.check(0, nxt);
    }

    #[test]
    fn an_undo_finds_it_in_flight_and_the_owners_bytes_are_not_needed() {
        let (mut board, nxt) = sent(&[10_000]);
        board.lose_all();
        board.hold_lost(u64::MAX, 4000, MSS);
        board.find_lost();
        assert_eq!((board.pipe(), board.lost()), (10_000, 0));
        assert_eq!(board.again(at(9), 0, 64_000, MSS), Again::Skip(4000));
        board.check(0, nxt);
    }

    //= RFC 2018 §8: "After a retransmit timeout the data sender SHOULD turn off all of the SACKed bits"
    #[test]
    fn a_peer_that_reneged_is_believed_no_more() {
        let (mut board, nxt) = sent(&[10_000]);
        sack(&mut board, 0..2000);
        board.lose_all();
        assert_eq!((board.sacked(), board.lost()), (0, 10_000));
        board.check(0, nxt);
    }

    #[test]
    fn the_probe_is_the_last_segment_and_the_fin_if_that_was_last() {
        let (mut board, nxt) = sent(&[2500]);
        assert_eq!(board.mark_probe(nxt, MSS), Some(false));
        assert_eq!(board.hold_probe(nxt), Some(2000..2500));
        assert_eq!(board.hold_probe(nxt), None);
        assert_eq!(board.again(at(5), 2000, 64_000, MSS), Again::Sent(2000..2500));
        // The FIN rides on it, or leaves alone if it is all that is left.
        board.send_fin(at(6), nxt);
        assert_eq!(board.mark_probe(nxt + 1, MSS), Some(false));
        assert_eq!(board.hold_probe(nxt + 1), Some(2000..2500));
        acknowledge(&mut board, nxt);
        assert_eq!(board.mark_probe(nxt + 1, MSS), Some(true));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Reserve(u32),
    Send(u32),
    Surrender(u64, u64),
    Ack(u64),
    Sack(u64, u64),
    LoseAll,
    LoseFront,
    Hold(u32),
    HoldSurrendered(u32),
    Again(u64, u32),
    Probe,
    Undo,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_u32..20_000).prop_map(Step::Reserve),
        (1_u32..20_000).prop_map(Step::Send),
        (0_u64..50_000, 1_u64..20_000).prop_map(|(a, b)| Step::Surrender(a, b)),
        (0_u64..20_000).prop_map(Step::Ack),
        (0_u64..50_000, 1_u64..9000).prop_map(|(a, b)| Step::Sack(a, b)),
        Just(Step::LoseAll),
        Just(Step::LoseFront),
        (1000_u32..20_000).prop_map(Step::Hold),
        (1000_u32..20_000).prop_map(Step::HoldSurrendered),
        (0_u64..50_000, 1_u32..20_000).prop_map(|(a, b)| Step::Again(a, b)),
        Just(Step::Probe),
        Just(Step::Undo),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_map_has_no_gap_and_its_sums_are_right(steps in prop::collection::vec(step(), 1..150)) {
        let mut board = Scoreboard::new();
        let (mut una, mut nxt, mut end) = (0_u64, 0_u64, 0_u64);
        for (ms, step) in (0..).zip(steps) {
            match step {
                Step::Reserve(bytes) => {
                    board.reserve(end, bytes);
                    end += u64::from(bytes);
                }
                Step::Send(bytes) => {
                    let bytes = bytes.min(board.held_from(nxt));
                    if bytes > 0 {
                        board.send_new(at(ms), nxt, bytes, MSS);
                        nxt += u64::from(bytes);
                    }
                }
                Step::Surrender(from, bytes) => {
                    let from = una + from;
                    board.surrender(from.min(end)..(from + bytes).min(end));
                }
                Step::Ack(bytes) => {
                    una = (una + bytes).min(nxt);
                    acknowledge(&mut board, una);
                }
                Step::Sack(from, bytes) => {
                    let range = (una + from).min(nxt)..(una + from + bytes).min(nxt);
                    if range.start < range.end {
                        sack(&mut board, range);
                    }
                }
                Step::LoseAll => board.lose_all(),
                Step::LoseFront => board.lose_front(MSS),
                Step::Hold(bytes) => {
                    if let Some(range) = board.hold_lost(u64::MAX, bytes, MSS) {
                        prop_assert!(range.start >= una && range.end <= nxt);
                    }
                }
                Step::HoldSurrendered(bytes) => {
                    if let Some(range) = board.hold_surrendered(nxt, u64::MAX, bytes, MSS) {
                        prop_assert!(range.start >= nxt && range.end <= end);
                    }
                }
                Step::Again(from, bytes) => {
                    let from = una + from;
                    if from < nxt {
                        match board.again(at(ms), from, bytes, MSS) {
                            Again::Sent(range) => {
                                prop_assert!(range.start == from && range.end <= nxt);
                                prop_assert!(range.end - range.start <= u64::from(bytes));
                            }
                            Again::Skip(next) => prop_assert!(next > from),
                            Again::New => prop_assert!(false, "below SND.NXT everything was sent"),
                        }
                    }
                }
                Step::Probe => {
                    if board.mark_probe(nxt, MSS) == Some(false)
                        && let Some(probe) = board.hold_probe(nxt)
                    {
                        prop_assert!(probe.end == nxt && probe.end - probe.start <= u64::from(MSS));
                    }
                }
                Step::Undo => board.find_lost(),
            }
            board.check(una, end);
        }
    }
}
