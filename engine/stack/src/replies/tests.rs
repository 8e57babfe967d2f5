use super::*;
use core::net::IpAddr;
use wire::tcp::{Flags, Options, SeqNum};
use wire::{MacAddr, Packet, parse_frame};

fn with(packets: &[&[u8]]) -> Replies {
    let mut replies = Replies::with_capacity(3);
    for packet in packets {
        replies.push(packet.len(), |buffer| buffer.copy_from_slice(packet));
    }
    replies
}

#[test]
fn packets_come_out_in_the_order_in_which_they_went_in() {
    let mut replies = with(&[b"one", b"two"]);
    for expected in [&b"one"[..], b"two"] {
        assert_eq!(replies.front(), Some(expected));
        replies.pop();
    }
    assert_eq!(replies.front(), None);
}

#[test]
fn the_ring_goes_round_and_leaves_nothing_of_older_packets() {
    let mut replies = with(&[b"a long first packet", b"two", b"three"]);
    replies.pop();
    assert!(replies.push(4, |buffer| buffer.copy_from_slice(b"four")));
    replies.pop();
    replies.pop();
    assert_eq!((replies.front(), replies.len()), (Some(&b"four"[..]), 1));
}

#[test]
fn a_full_outbox_drops_and_counts_the_newest() {
    let mut replies = with(&[b"1", b"2", b"3"]);
    assert!(!replies.push(1, |_| panic!("must not write")));
    assert_eq!((replies.len(), replies.dropped(), replies.front()), (3, 1, Some(&b"1"[..])));
}

#[test]
fn a_packet_too_long_for_its_buffer_is_dropped_and_counted() {
    let mut replies = with(&[]);
    assert!(!replies.push(REPLY_BYTES_MAX + 1, |_| panic!("must not write")));
    assert!(replies.push(REPLY_BYTES_MAX, |buffer| buffer.fill(1)));
    assert_eq!((replies.len(), replies.dropped()), (1, 1));
}

#[test]
fn popping_an_empty_outbox_does_nothing() {
    let mut replies = with(&[]);
    replies.pop();
    assert!(replies.push(1, |buffer| buffer[0] = 9));
    assert_eq!(replies.front(), Some(&[9][..]));
}

#[test]
fn a_segment_without_payload_is_complete() {
    let (source, destination) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let path = Path::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]), source, destination);
    let header = tcp::Header {
        source_port: 443,
        destination_port: 50_000,
        seq: SeqNum(7),
        ack: SeqNum(9),
        flags: Flags::RST | Flags::ACK,
        window: 0,
        urgent: 0,
        options: Options::NONE,
    };
    let mut replies = Replies::new();
    assert!(replies.push_tcp(&path, &header));
    let parsed = parse_frame(replies.front().unwrap(), true).unwrap();
    let Packet::Tcp(segment) = parsed.packet else { panic!("{parsed:?}") };
    assert_eq!((segment.source, segment.destination, segment.header), (source, destination, header));
}
