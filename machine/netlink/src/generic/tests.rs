//! Answers as drivers give them, and questions that any kernel answers.

use super::*;
use crate::message::answers;

/// An answer's body: the generic header, and what `attributes` appends.
fn body(attributes: impl FnOnce(Message) -> Message) -> Vec<u8> {
    let message = attributes(Message::new(0, 0, &[0; HEADER_BYTES])).finish(1);
    answers(&message).next().unwrap().body.to_vec()
}

#[test]
fn a_driver_with_zero_copy_says_how_many_pieces_and_what_it_sums() {
    let answer = body(|answer| {
        answer
            .attribute_u32(1, 2)
            .attribute(3, &0x6f_u64.to_le_bytes())
            .attribute_u32(4, 8)
            .attribute(6, &2_u64.to_le_bytes())
    });
    let features = netdev::device_features(&answer).unwrap();
    assert!(features.xdp.basic() && features.xdp.redirect() && features.xdp.zero_copy());
    assert!(features.xdp.receives_pieces() && features.xsk.checksum());
    assert_eq!(features.zero_copy_segments_max, 8);
}

#[test]
fn a_driver_without_zero_copy_says_only_what_its_programs_may_do() {
    let features =
        netdev::device_features(&body(|answer| answer.attribute(3, &0x27_u64.to_le_bytes()))).unwrap();
    assert!(features.xdp.redirect() && !features.xdp.zero_copy() && !features.xsk.checksum());
    assert_eq!(features.zero_copy_segments_max, 0);
}

#[test]
fn queues_in_pairs_count_both_ways() {
    let answer = body(|answer| answer.attribute_u32(5, 16).attribute_u32(8, 1).attribute_u32(9, 4));
    let channels = ethtool::channels(&answer).unwrap();
    assert_eq!(channels, Channels { rx: 4, tx: 4, rx_max: 16, combined: true });
}

#[test]
fn queues_that_are_made_apart_are_counted_apart() {
    let answer =
        body(|answer| answer.attribute_u32(2, 8).attribute_u32(3, 8).attribute_u32(6, 2).attribute_u32(7, 1));
    assert_eq!(ethtool::channels(&answer).unwrap(), Channels { rx: 2, tx: 1, rx_max: 8, combined: false });
    assert_eq!(ethtool::channels(&body(|answer| answer)), None, "the driver tells nothing");
}

#[test]
fn flows_are_spread_over_the_queues_that_the_table_names() {
    let table: Vec<u8> = [0_u32, 1, 2, 0, 1, 2, 0, 1].iter().flat_map(|queue| queue.to_le_bytes()).collect();
    let answer = body(|answer| answer.attribute_u32(3, 1).attribute(4, &table).attribute(5, &[0; 40]));
    assert_eq!(ethtool::rss(&answer).unwrap(), Rss { queues: 3, table: 8, key_bytes: 40, hashes: true });
}

#[test]
fn an_offload_that_is_listed_is_on() {
    let bit = |bits: Message, index: u32, name: &str| {
        bits.nested(1, &[], |bit| bit.attribute_u32(1, index).attribute_str(2, name))
    };
    let answer = body(|answer| {
        answer.nested(4, &[], |set| {
            set.attribute(1, &[])
                .attribute_u32(2, 64)
                .nested(3, &[], |bits| bit(bit(bits, 16, "tx-tcp-segmentation"), 0, "tx-scatter-gather"))
        })
    });
    let offloads = ethtool::offloads(&answer).unwrap();
    assert!(offloads.tso && offloads.scatter_gather && !offloads.tso6 && !offloads.tx_checksum);
}

#[test]
fn this_kernel_tells_of_its_loopback_or_says_that_it_cannot() {
    let mut generic = Generic::open().unwrap();
    // Loopback runs no programs in a driver: whoever tells anything tells that.
    if let Some(features) = generic.device_features(1).unwrap() {
        assert!(!features.xdp.zero_copy());
    }
    assert_eq!(generic.channels(1).unwrap(), None);
    match generic.offloads(1).unwrap() {
        Some(offloads) => assert!(offloads.scatter_gather, "the loopback interface always does"),
        None => {
            assert_eq!(generic.family("ethtool").unwrap(), None, "only without the family nothing is told")
        }
    }
}

#[test]
fn a_family_that_no_kernel_has_is_none() {
    let mut generic = Generic::open().unwrap();
    assert_eq!(generic.family("no-such-family").unwrap(), None);
}

#[test]
fn a_device_that_does_not_exist_is_named_as_such() {
    let mut generic = Generic::open().unwrap();
    if let Err(error) = generic.offloads(0x7fff_fff0) {
        assert_eq!(error.errno, Errno::NODEV);
    }
}
