use super::*;
use crate::testing;
use alloc::format;
use alloc::vec::Vec;
use proptest::prelude::*;

/// Headers as they go by on a link, from their bytes.
mod header {
    use super::*;

    /// A SYN of Linux 6.18, with the options it sends today.
    const SYN: [u8; 40] = [
        0xc3, 0x50, 0x01, 0xbb, 0x12, 0x34, 0x56, 0x78, 0, 0, 0, 0, 0xa0, 0x02, 0xfa, 0xf0, 0, 0, 0,
        0, // fixed
        2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0x30, 0x39, 0, 0, 0, 0, 1, 3, 3, 7,
    ];

    fn syn() -> Header {
        Header {
            source_port: 50_000,
            destination_port: 443,
            seq: SeqNum(0x1234_5678),
            ack: SeqNum(0),
            flags: Flags::SYN,
            window: 64_240,
            urgent: 0,
            options: Options {
                mss: Some(1460),
                window_scale: Some(7),
                sack_permitted: true,
                sack: SackBlocks::EMPTY,
                timestamps: Some(Timestamps { value: 12_345, echo: 0 }),
            },
        }
    }

    #[test]
    fn a_syn_is_read() {
        assert_eq!(Header::parse(&SYN), Ok((syn(), 40)));
    }

    #[test]
    fn a_syn_is_written_as_others_write_it() {
        let mut buffer = [0xff; 40];
        assert_eq!(syn().emit(&mut buffer), 40);
        assert_eq!(buffer, SYN);
    }

    #[test]
    fn a_header_cut_anywhere_is_truncated() {
        for len in 0..SYN.len() {
            assert_eq!(Header::parse(&SYN[..len]), Err(Malformed::Truncated), "at {len}");
        }
    }

    #[test]
    fn a_data_offset_below_five_words_is_refused() {
        for offset in 0..5 {
            let mut segment = SYN;
            segment[12] = offset << 4;
            assert_eq!(Header::parse(&segment), Err(Malformed::Length));
        }
    }

    #[test]
    fn the_reserved_bits_are_ignored() {
        let mut segment = SYN;
        segment[12] |= 0x0f;
        assert_eq!(Header::parse(&segment), Ok((syn(), 40)));
    }

    #[test]
    fn syn_and_fin_count_one_each() {
        let header = Header { flags: Flags::SYN | Flags::FIN, ..syn() };
        assert_eq!(header.segment_len(10), 12);
        assert_eq!(Header { flags: Flags::ACK, ..header }.segment_len(10), 10);
    }

    #[test]
    fn a_header_prints_on_one_line() {
        assert_eq!(
            format!("{:?}", syn()),
            "50000 → 443 SYN seq 305419896 ack 0 win 64240 mss 1460 ws 7 sackok ts 12345:0"
        );
    }
}

/// What peers write into the options, wilfully or not.
mod options {
    use super::*;

    const MSS: [u8; 4] = [2, 4, 5, 180];

    fn parsed(parts: &[&[u8]]) -> Options {
        Options::parse(&parts.concat())
    }

    fn only_mss() -> Options {
        Options { mss: Some(1460), ..Options::NONE }
    }

    //= https://www.rfc-editor.org/rfc/rfc9293#section-3.1
    //= type=test
    //# A TCP implementation MUST be able to receive a TCP Option in any segment (MUST-5).
    #[test]
    fn every_option_is_read_wherever_it_stands() {
        let options = parsed(&[&[1, 3, 3, 9, 1], &MSS, &[4, 2], &[1]]);
        assert_eq!(options, Options { window_scale: Some(9), sack_permitted: true, ..only_mss() });
    }

    //= https://www.rfc-editor.org/rfc/rfc9293#section-3.1
    //= type=test
    //# A TCP implementation MUST ignore without error any TCP Option it does not
    //# implement, assuming that the option has a length field.
    #[test]
    fn an_unknown_option_is_skipped() {
        assert_eq!(parsed(&[&[253, 6, 1, 2, 3, 4], &MSS]), only_mss());
    }

    #[test]
    fn nothing_is_read_behind_the_end() {
        assert_eq!(parsed(&[&[0], &MSS]), Options::NONE);
    }

    //= https://www.rfc-editor.org/rfc/rfc9293#section-3.1
    //= type=test
    //# A TCP implementation MUST be prepared to handle an illegal option length (e.g., zero);
    #[test]
    fn an_impossible_length_ends_the_list_and_keeps_what_was_read() {
        for len in [0, 1, 40] {
            assert_eq!(parsed(&[&MSS, &[8, len, 1, 2, 3, 4]]), only_mss(), "length {len}");
        }
    }

    #[test]
    fn an_option_with_a_wrong_length_for_its_kind_is_ignored() {
        assert_eq!(
            parsed(&[&[3, 4, 7, 7], &[8, 6, 0, 0, 0, 1], &[5, 9, 0, 0, 0, 0, 0, 0, 0], &MSS]),
            only_mss()
        );
    }

    #[test]
    fn a_kind_without_a_length_ends_the_list() {
        assert_eq!(parsed(&[&MSS, &[8]]), only_mss());
    }

    //= https://www.rfc-editor.org/rfc/rfc2018#section-3
    //= type=test
    //# the 40 bytes available for TCP options can specify a maximum of 4 blocks
    #[test]
    fn timestamps_leave_room_for_three_sack_blocks() {
        let mut options = Options {
            sack: (0..4).map(|block| (SeqNum(block * 10), SeqNum(block * 10 + 5))).collect(),
            ..Options::NONE
        };
        assert_eq!((options.sack_blocks_fitting(), options.len()), (4, 36));
        options.timestamps = Some(Timestamps { value: 1, echo: 2 });
        assert_eq!((options.sack_blocks_fitting(), options.len()), (3, 40));
        let mut buffer = [0; 40];
        assert_eq!(options.emit(&mut buffer), 40);
        assert_eq!(*Options::parse(&buffer).sack, options.sack[..3]);
    }

    #[test]
    fn a_full_sack_option_takes_no_fifth_block() {
        let mut sack: SackBlocks = (0..9).map(|block| (SeqNum(block), SeqNum(block + 1))).collect();
        assert_eq!(sack.len(), SACK_BLOCKS_MAX);
        assert!(!sack.push(SeqNum(9), SeqNum(10)));
        assert_eq!(sack.len(), SACK_BLOCKS_MAX);
    }
}

/// The circle.
mod sequence {
    use super::*;

    #[test]
    fn zero_is_after_the_last_number() {
        let last = SeqNum(u32::MAX);
        assert!(SeqNum(0).after(last) && last.before(SeqNum(0)));
        assert_eq!(last + 1, SeqNum(0));
        assert_eq!(SeqNum(0) - last, 1);
        assert_eq!(last - SeqNum(0), -1);
    }

    #[test]
    fn a_window_across_zero_contains_both_sides() {
        let first = SeqNum(u32::MAX - 1);
        let inside: Vec<bool> = [0, 1, 2, 3, 4].map(|step| (first + step).is_within(first, 4)).into();
        assert_eq!(inside, [true, true, true, true, false]);
        assert!(!(first - 1).is_within(first, 4));
        assert!(!first.is_within(first, 0));
    }

    proptest! {
        #[test]
        fn seq_order_survives_wraparound(a in testing::seq(), step in 1_u32..1 << 31) {
            let b = a + step;
            prop_assert!(b.after(a) && a.before(b) && !a.after(b) && !b.before(a));
            prop_assert_eq!(b - a, i32::try_from(step).unwrap());
            prop_assert_eq!(a.later(b), b);
            prop_assert_eq!(b.later(a), b);
            prop_assert_eq!(a.earlier(b), a);
            prop_assert_eq!(b.earlier(a), a);
        }

        #[test]
        fn nothing_is_before_itself(a in testing::seq()) {
            prop_assert!(!a.before(a) && !a.after(a));
        }

        #[test]
        fn subtraction_inverts_addition(a in testing::seq(), step in any::<u32>()) {
            prop_assert_eq!(a + step - step, a);
            prop_assert_eq!((a + step).distance_from(a), step);
        }

        #[test]
        fn order_is_the_same_everywhere_on_the_circle(a in testing::seq(), b in testing::seq(), turn in any::<u32>()) {
            prop_assert_eq!(a.before(b), (a + turn).before(b + turn));
            prop_assert_eq!(a - b, (a + turn) - (b + turn));
        }
    }
}

proptest! {
    #[test]
    fn parse_inverts_emit(header in testing::tcp_header(), payload in testing::bytes(40)) {
        let mut segment = [0xa5; HEADER_BYTES_MAX + 40];
        let len = header.emit(&mut segment);
        prop_assert_eq!(len, header.len());
        prop_assert!(len.is_multiple_of(4) && len <= HEADER_BYTES_MAX);
        segment[len..len + payload.len()].copy_from_slice(&payload);
        prop_assert_eq!(Header::parse(&segment[..len + payload.len()]), Ok((header, len)));
    }

    #[test]
    fn any_bytes_are_read_or_refused(segment in testing::bytes(80)) {
        if let Ok((header, offset)) = Header::parse(&segment) {
            prop_assert!(offset <= segment.len());
            // What was understood can be said again, in no more room than a header has.
            let mut buffer = [0; HEADER_BYTES_MAX];
            let len = header.emit(&mut buffer);
            prop_assert_eq!(Header::parse(&buffer[..len]).unwrap().0.flags, header.flags);
        }
    }
}
