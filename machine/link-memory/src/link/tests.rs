//! The pair by state; what every link promises is in `tests/conformance`.

use dma::{Pool, PoolLayout};
use platform::{ChecksumOffload, Part, Segmentation};

use super::*;

fn pool() -> Pool {
    Pool::new(PoolLayout { large_count: 4, small_count: 0 }).unwrap()
}

fn packet(pool: &Pool, payload: &[u8]) -> Packet {
    let mut headers = Headers::new();
    headers.room_mut()[..4].copy_from_slice(b"head");
    headers.set_len(4);
    let mut frame = pool.acquire_large().unwrap();
    frame.bytes_mut()[..payload.len()].copy_from_slice(payload);
    let mut parts = Parts::new();
    let len = u32::try_from(payload.len()).unwrap();
    parts.push(Part { frame: frame.share(), start: 0, len });
    Packet { headers, parts, offload: Offload::default() }
}

mod a_packet_in_parts {
    use super::*;

    #[test]
    fn arrives_without_its_payload_having_been_copied() {
        let pool = pool();
        let (mut engine, mut peer) = pair(8, MemoryLinkConfig::default());
        let mut staged = packet(&pool, b"payload");
        let address = staged.parts[0].bytes().as_ptr();
        engine.stage(&mut staged).unwrap();
        engine.flush();
        let delivery = peer.receive_packet().unwrap();
        assert_eq!(delivery.payload().next().unwrap().as_ptr(), address);
        assert_eq!(pool.in_use().large, 1);
        drop(delivery);
        assert_eq!(pool.in_use().large, 0);
    }

    #[test]
    fn arrives_in_one_piece_when_asked_for_as_bytes() {
        let pool = pool();
        let (mut engine, mut peer) = pair(8, MemoryLinkConfig::default());
        engine.stage(&mut packet(&pool, b"payload")).unwrap();
        engine.flush();
        assert_eq!(peer.receive().unwrap().bytes, b"headpayload");
        assert_eq!(pool.in_use().large, 0, "the frame went back with the copy");
    }

    #[test]
    fn arrives_as_headers_only_for_a_peer_that_must_not_pay() {
        let pool = pool();
        let config = MemoryLinkConfig { gather: Gather::HeadersOnly, ..Default::default() };
        let (mut engine, mut peer) = pair(8, config);
        engine.stage(&mut packet(&pool, b"payload")).unwrap();
        engine.flush();
        assert_eq!(peer.receive().unwrap().bytes, b"head");
        assert_eq!(pool.in_use().large, 0);
        assert_eq!(peer.counters().received_bytes, 11);
    }

    #[test]
    fn is_vouched_for_when_its_checksum_was_left_to_the_link() {
        let pool = pool();
        let (mut engine, mut peer) = pair(8, MemoryLinkConfig::default());
        let mut superframe = packet(&pool, &[7; 9_000]);
        superframe.offload = Offload {
            checksum: Some(ChecksumOffload { start: 34, field: 16 }),
            segmentation: Some(Segmentation { mss: 1_448, ipv6: false }),
        };
        engine.stage(&mut superframe).unwrap();
        engine.stage(&mut packet(&pool, b"x")).unwrap();
        engine.flush();
        assert!(peer.receive().unwrap().verified);
        assert!(!peer.receive().unwrap().verified);
    }

    #[test]
    #[should_panic(expected = "a packet of 1604 bytes, on an MTU that was never above 1500")]
    fn that_no_wire_could_carry_is_a_defect_of_the_sender() {
        let (mut engine, _peer) = pair(8, MemoryLinkConfig::default());
        engine.stage(&mut packet(&pool(), &[0; 1_600])).unwrap();
    }
}

mod a_link_whose_mtu_shrank {
    use super::*;

    #[test]
    fn drops_and_counts_what_its_sender_still_made_for_the_old_one() {
        let pool = pool();
        let (mut engine, mut peer) = pair(8, MemoryLinkConfig::default());
        engine.set_mtu(1_280);
        assert_eq!(engine.capabilities().mtu, 1_280);
        engine.stage(&mut packet(&pool, &[1; 1_400])).unwrap();
        engine.stage(&mut packet(&pool, &[2; 1_200])).unwrap();
        engine.flush();
        assert_eq!(peer.receive_packet().unwrap().payload().next().unwrap().len(), 1_200);
        assert_eq!((engine.counters().sent, engine.counters().send_errors), (1, 1));
        assert_eq!(pool.in_use().large, 0);
    }
}

mod bytes {
    use super::*;

    #[test]
    fn of_any_length_up_to_the_mtu_arrive() {
        let (mut engine, mut peer) = pair(8, MemoryLinkConfig::default());
        for len in [60, 128, 129, 1_518] {
            engine.stage_bytes(&vec![9; len]).unwrap();
            engine.flush();
            assert_eq!(peer.receive().unwrap().bytes, vec![9; len]);
        }
        assert!(engine.stage_bytes(&[9; 1_519]).is_err());
    }

    #[test]
    fn merged_by_a_device_may_be_longer_than_the_mtu() {
        let (mut engine, mut peer) = pair(8, MemoryLinkConfig::default());
        peer.inject(&[3; 60_000], true).unwrap();
        peer.flush();
        let received = engine.receive().unwrap();
        assert!(received.verified);
        assert_eq!(received.bytes.len(), 60_000);
    }

    #[test]
    fn use_the_same_buffer_again() {
        let (mut engine, mut peer) = pair(8, MemoryLinkConfig::default());
        let mut seen = Vec::new();
        for round in 0..3 {
            engine.stage_bytes(&[round; 1_000]).unwrap();
            engine.flush();
            seen.push(peer.receive().unwrap().bytes.as_ptr());
            assert!(peer.receive().is_none());
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[1], seen[2]);
    }
}

mod a_link_with_slots {
    use super::*;

    fn ends() -> (MemoryLink, MemoryLink) {
        pair(8, MemoryLinkConfig { slots: 2, ..Default::default() })
    }

    #[test]
    fn lends_each_slot_until_the_other_end_has_let_go_of_it() {
        let (mut engine, mut peer) = ends();
        for number in 0..2 {
            engine.slot().unwrap()[..9].fill(number);
            engine.stage_slot(&Headers::new(), 9, Offload::default());
        }
        assert!(engine.slot().is_none());
        engine.flush();
        let held = peer.receive_packet().unwrap();
        assert!(engine.slot().is_none(), "the other end looks at it");
        assert_eq!(held.payload().collect::<Vec<_>>(), [[0; 9]]);
        drop(held);
        engine.reclaim();
        assert!(engine.slot().is_some());
    }

    #[test]
    fn copies_what_comes_in_parts_and_lets_their_frames_go() {
        let pool = pool();
        let (mut engine, mut peer) = ends();
        engine.stage(&mut packet(&pool, b"payload")).unwrap();
        assert_eq!(pool.in_use().large, 0);
        engine.flush();
        assert_eq!(peer.receive().unwrap().bytes, b"headpayload");
    }

    #[test]
    #[should_panic(expected = "a slot was given")]
    fn has_nothing_to_stage_before_a_slot_is_asked_for() {
        ends().0.stage_slot(&Headers::new(), 1, Offload::default());
    }
}
