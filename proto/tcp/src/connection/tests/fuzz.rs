//! Anything in any order: never a panic, never memory without bound, never a segment outside of the window.

#![expect(clippy::disallowed_types, reason = "prop_oneof! shares its branches in an Arc")]

use super::fixture::*;
use crate::{Config, Flags, Header, SackBlocks, SeqNum, State, Timestamps};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Segment { header: Header, payload: usize },
    Pass(u64),
    Deadline,
    Send(u32),
    Surrender(u64, u64),
    Repair,
    Room(u32),
    Mss(u16),
    Finish,
    Abort,
}

/// Numbers near those that matter are more likely to get through.
fn number(near: u32) -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => (0_u32..20_000).prop_map(move |offset| near.wrapping_add(offset)),
        1 => (0_u32..2000).prop_map(move |offset| near.wrapping_sub(offset)),
        1 => any::<u32>(),
    ]
}

fn segment() -> impl Strategy<Value = Step> {
    let flags = prop_oneof![8 => Just(Flags::ACK.bits()), 2 => any::<u8>(), 1 => Just(Flags::SYN.bits())];
    let blocks = prop::collection::vec((number(ISS), 0_u32..5000), 0..4);
    (
        (flags, number(IRS), number(ISS), any::<u16>()),
        blocks,
        prop::option::weighted(0.7, (90_u32..200, any::<u32>())),
        (prop::option::of(any::<u16>()), prop::option::of(any::<u8>()), any::<bool>()),
        prop_oneof![Just(0_usize), 1_usize..3000],
    )
        .prop_map(
            |(
                (flags, seq, ack, window),
                blocks,
                timestamps,
                (mss, window_scale, sack_permitted),
                payload,
            )| {
                let mut header = header(Flags::from_bits_truncate(flags), seq, ack);
                header.window = window;
                header.options.sack = blocks
                    .into_iter()
                    .map(|(left, bytes)| (SeqNum(left), SeqNum(left) + bytes))
                    .collect::<SackBlocks>();
                header.options.timestamps = timestamps.map(|(value, echo)| Timestamps { value, echo });
                header.options.mss = mss;
                header.options.window_scale = window_scale;
                header.options.sack_permitted = sack_permitted;
                Step::Segment { header, payload }
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => segment(),
        2 => (0_u64..2_000_000).prop_map(Step::Pass),
        3 => Just(Step::Deadline),
        4 => (1_u32..30_000).prop_map(Step::Send),
        1 => (0_u64..20_000, 0_u64..20_000).prop_map(|(a, b)| Step::Surrender(a, b)),
        2 => Just(Step::Repair),
        1 => (0_u32..300_000).prop_map(Step::Room),
        1 => any::<u16>().prop_map(Step::Mss),
        1 => prop_oneof![9 => Just(Step::Deadline), 1 => Just(Step::Finish), 1 => Just(Step::Abort)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn anything_in_any_order_is_survived(
        begin in 0_u8..4,
        timestamps: bool,
        sack: bool,
        pacing: bool,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let config = Config { timestamps, sack, pacing, ..plain() };
        let mut fixture = match begin {
            0 => Fixture::syn_sent_with(config),
            1 => Fixture::syn_received_with(config),
            _ => Fixture::established_with(config),
        };
        fixture.ts = None;
        let mut held = Vec::new();
        for step in steps {
            match step {
                Step::Segment { header, payload } => {
                    let _ = fixture.on(header, &vec![0; payload]);
                }
                Step::Pass(micros) => fixture.pass(core::time::Duration::from_micros(micros)),
                Step::Deadline => {
                    if fixture.connection.deadline().is_some() {
                        let _ = fixture.expire();
                    }
                }
                Step::Send(bytes) => {
                    let bytes = bytes.min(fixture.connection.credit(fixture.now) + 1000);
                    let mut range = fixture.connection.reserve(bytes);
                    fixture.transmit(&mut range);
                    held.push(range);
                }
                Step::Surrender(from, bytes) => fixture.connection.surrender(from..from + bytes),
                Step::Repair => {
                    while let Some(mut range) = fixture.connection.wanted(fixture.now, 30_000) {
                        prop_assert!(range.end <= fixture.connection.reserved());
                        fixture.transmit(&mut range);
                    }
                    held.retain_mut(|range| {
                        fixture.transmit(range);
                        !range.is_empty()
                    });
                }
                Step::Room(bytes) => fixture.connection.set_receive_window(bytes),
                Step::Mss(mss) => fixture.connection.on_mss(fixture.now, mss),
                Step::Finish => fixture.connection.finish(),
                Step::Abort => fixture.connection.abort(),
            }
            for _ in 0..20 {
                let Some(control) = fixture.poll() else { break };
                prop_assert!(control.header.len() <= 60);
            }
            prop_assert_eq!(fixture.poll(), None, "control segments without end");
            let connection = &fixture.connection;
            prop_assert!(connection.acknowledged() <= connection.sent());
            prop_assert!(connection.sent() <= connection.reserved());
            prop_assert!(connection.heap_bytes() < 1 << 20);
            prop_assert!(u32::from(connection.mss()) <= 1000);
            let info = connection.info();
            prop_assert!(info.cwnd >= u32::from(info.mss).min(1000) || connection.state() == State::Closed);
        }
    }
}
