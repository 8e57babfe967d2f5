//! The receive half: delivery, ACKs, SACK and DSACK, the window.

use super::fixture::*;
use crate::{Config, Events, Flags, Header, SeqNum};

fn blocks(header: &Header) -> Vec<(u32, u32)> {
    header.options.sack.iter().map(|&(l, r)| (l.0 - IRS - 1, r.0 - IRS - 1)).collect()
}

/// Payload of the peer at `offset` of its stream.
fn data(fixture: &mut Fixture, offset: u32, payload: &[u8]) -> Events {
    let acked = u32::try_from(fixture.connection.acknowledged()).unwrap();
    fixture.on(header(Flags::ACK, IRS + 1 + offset, ISS + 1 + acked), payload)
}

#[test]
fn data_in_order_is_delivered_and_its_ack_waits_for_company() {
    let mut fixture = Fixture::established();
    assert!(data(&mut fixture, 0, b"hello").contains(Events::DELIVERED));
    assert_eq!(fixture.delivered, b"hello");
    fixture.silent();
    let before = fixture.now;
    let _ = fixture.expire();
    assert_eq!(fixture.now.since(before), fixture.config.delayed_ack);
    assert_eq!(fixture.control().ack, SeqNum(IRS + 6));
}

#[test]
fn an_ack_rides_on_data_that_leaves_meanwhile() {
    let mut fixture = Fixture::established();
    let _ = data(&mut fixture, 0, b"GET");
    let mut range = fixture.connection.reserve(100);
    let outgoing = fixture.connection.transmit(fixture.now, &mut range, 64 << 10).unwrap();
    assert_eq!(outgoing.header.ack, SeqNum(IRS + 4));
    fixture.silent();
}

//= RFC 5681 §4.2: "an ACK SHOULD be generated for at least every second full-sized segment"
#[test]
fn every_second_full_segment_is_acknowledged_at_once() {
    let mut fixture = Fixture::established();
    let mut acks = 0;
    for segment in 0..40 {
        let _ = data(&mut fixture, segment * 500, &[0; 500]);
        acks += u32::from(fixture.poll().is_some());
    }
    assert_eq!(acks, 20);
}

//= RFC 2018 §4
#[test]
fn a_gap_is_reported_at_once_and_when_filled() {
    let mut fixture = Fixture::established();
    let _ = data(&mut fixture, 5, b"world");
    let ack = fixture.control();
    assert_eq!((ack.ack, blocks(&ack)), (SeqNum(IRS + 1), vec![(5, 10)]));
    let _ = data(&mut fixture, 0, b"hello");
    assert_eq!(fixture.delivered, b"helloworld");
    let ack = fixture.control();
    assert_eq!((ack.ack, blocks(&ack)), (SeqNum(IRS + 11), vec![]));
}

#[test]
fn data_that_leaves_while_there_is_a_gap_leaves_the_report_to_an_ack_of_its_own() {
    let mut fixture = Fixture::established();
    let _ = data(&mut fixture, 5, b"world");
    fixture.send(1000);
    assert_eq!(blocks(&fixture.control()), [(5, 10)]);
}

//= RFC 2883 §4.1
#[test]
fn a_duplicate_is_reported_once() {
    let mut fixture = Fixture::established();
    let _ = data(&mut fixture, 0, b"hello");
    let _ = data(&mut fixture, 0, b"hello");
    assert_eq!(fixture.delivered, b"hello");
    assert_eq!(blocks(&fixture.control()), [(0, 5)]);
    let _ = data(&mut fixture, 10, b"gap");
    assert_eq!(blocks(&fixture.control()), [(10, 13)]);
}

//= RFC 2883 §4.2: a partial duplicate
#[test]
fn the_part_that_was_there_is_reported_and_the_rest_delivered() {
    let mut fixture = Fixture::established();
    let _ = data(&mut fixture, 0, b"hello");
    let _ = data(&mut fixture, 3, b"loworld");
    assert_eq!(fixture.delivered, b"helloworld");
    assert_eq!(blocks(&fixture.control()), [(3, 5)]);
}

//= RFC 2883 §4: "the D-SACK block [for] a duplicate of data in a higher SACK block is followed by that block"
#[test]
fn a_duplicate_behind_a_gap_comes_before_the_block_that_holds_it() {
    let mut fixture = Fixture::established();
    let _ = data(&mut fixture, 100, &[1; 50]);
    let _ = fixture.control();
    let _ = data(&mut fixture, 110, &[1; 10]);
    assert_eq!(blocks(&fixture.control()), [(110, 120), (100, 150)]);
}

#[test]
fn what_lies_beyond_the_window_is_not_kept() {
    let mut fixture = Fixture::established_with(Config { receive_window: 1000, ..plain() });
    let _ = data(&mut fixture, 900, &[1; 300]);
    assert_eq!(blocks(&fixture.control()), [(900, 1000)]);
    let _ = data(&mut fixture, 0, &[2; 900]);
    assert_eq!(fixture.delivered.len(), 1000);
}

#[test]
fn what_exceeds_reassembly_is_not_reported() {
    let mut fixture = Fixture::established_with(Config { reassembly_bytes_max: 2000, ..plain() });
    let _ = data(&mut fixture, 1000, &[0; 1500]);
    let _ = fixture.control();
    let _ = data(&mut fixture, 10_000, &[0; 1000]);
    assert_eq!(blocks(&fixture.control()), [(10_000, 10_500), (1000, 2500)]);
    assert_eq!(fixture.connection.info().reassembly_bytes, 2000);
}

mod window {
    use super::*;

    #[test]
    fn its_right_edge_never_moves_back() {
        let mut fixture = Fixture::established_with(Config { receive_window: 10_000, ..plain() });
        fixture.connection.set_receive_window(0);
        let _ = data(&mut fixture, 0, &[0; 1000]);
        assert_eq!(fixture.control().window, 9000);
        let _ = data(&mut fixture, 1000, &[0; 9000]);
        assert_eq!(fixture.delivered.len(), 10_000);
        assert_eq!(fixture.control().window, 0);
    }

    //= RFC 9293 §3.8.6.2.2: SWS avoidance
    #[test]
    fn a_shut_window_opens_with_an_ack_and_not_by_driblets() {
        let mut fixture = Fixture::established_with(Config { receive_window: 10_000, ..plain() });
        fixture.connection.set_receive_window(0);
        let _ = data(&mut fixture, 0, &[0; 10_000]);
        assert_eq!(fixture.control().window, 0);
        fixture.connection.set_receive_window(10);
        fixture.silent();
        fixture.connection.set_receive_window(5000);
        assert_eq!(fixture.control().window, 5000);
    }

    //= RFC 9293 §3.10.7.4: "If the RCV.WND is zero, no segments will be acceptable, but special allowance should be made to accept valid ACKs"
    #[test]
    fn shut_it_still_takes_acknowledgments_and_answers_probes() {
        let mut fixture = Fixture::established_with(Config { receive_window: 1000, ..plain() });
        fixture.send(1000);
        fixture.connection.set_receive_window(0);
        let _ = data(&mut fixture, 0, &[0; 1000]);
        let _ = fixture.control();
        assert!(fixture.ack(1000).contains(Events::ACKNOWLEDGED));
        let _ = data(&mut fixture, 1000, b"x");
        assert_eq!((fixture.delivered.len(), fixture.control().window), (1000, 0));
    }

    #[test]
    fn is_told_in_the_agreed_scale() {
        let mut fixture = Fixture::syn_received();
        let config = Config { receive_window: 1 << 20, ..plain() };
        let mut offer = syn(&config);
        offer.options.window_scale = Some(0);
        fixture.config = config;
        fixture.connection = crate::Connection::accept(&config, fixture.now, &offer, SeqNum(ISS));
        let syn_ack = fixture.control();
        assert_eq!((syn_ack.window, syn_ack.options.window_scale), (65_535, Some(5)));
        let _ = fixture.ack(0);
        let _ = data(&mut fixture, 0, &[0; 1000]);
        let _ = data(&mut fixture, 1000, &[0; 1000]);
        assert_eq!(u32::from(fixture.control().window), (1 << 20) >> 5);
    }
}
