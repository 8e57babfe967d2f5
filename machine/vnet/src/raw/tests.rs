use super::*;

mod a_frame_whose_tag_was_taken_out {
    use super::*;

    const TAG: VlanTag = VlanTag { tpid: 0x8100, tci: 0x2064 };

    /// Four unused bytes, a header, and an untagged frame.
    fn room(header: [u8; HEADER_BYTES]) -> Vec<u8> {
        let frame = [&[1; 6][..], &[2; 6], &[0x08, 0x00], &[0x45, 9, 9, 9]].concat();
        [&[0xee; 4][..], &header, &frame].concat()
    }

    #[test]
    fn gets_it_back_behind_the_addresses() {
        let mut room = room([0; HEADER_BYTES]);
        TAG.insert(&mut room);
        let frame =
            [&[1; 6][..], &[2; 6], &[0x81, 0x00, 0x20, 0x64], &[0x08, 0x00], &[0x45, 9, 9, 9]].concat();
        assert_eq!(room[..HEADER_BYTES], [0; HEADER_BYTES]);
        assert_eq!(room[HEADER_BYTES..], frame);
    }

    #[test]
    fn has_its_checksum_and_its_payload_four_bytes_farther() {
        // Needs a checksum from byte 34, a superframe behind 54 bytes of headers.
        let mut room = room([1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0]);
        TAG.insert(&mut room);
        assert_eq!(room[..HEADER_BYTES], [1, 1, 58, 0, 0xa8, 5, 38, 0, 16, 0]);
    }
}

mod a_batch {
    use super::*;

    /// A pair of datagram sockets keeps frames apart as a device does.
    fn pair() -> (RawQueue, RawQueue) {
        let flags = rustix::net::SocketFlags::NONBLOCK;
        let kind = rustix::net::SocketType::SEQPACKET;
        let (one, other) =
            rustix::net::socketpair(rustix::net::AddressFamily::UNIX, kind, flags, None).unwrap();
        // Read and written as a TAP queue is.
        (RawQueue::open(one, RawKind::Tap).unwrap(), RawQueue::open(other, RawKind::Tap).unwrap())
    }

    fn receive(queue: &mut RawQueue, count: usize) -> Vec<(Arrival, Vec<u8>)> {
        let mut received = Vec::new();
        loop {
            let mut rooms = vec![([0; 16], [0; 8]); count];
            let pieces = rooms.iter_mut().map(|(room, spill)| [&mut room[..], &mut spill[..]]);
            let arrivals = queue.receive(pieces).unwrap();
            if arrivals.is_empty() {
                return received;
            }
            received.extend(arrivals.into_iter().map(|arrival| {
                let (room, spill) = &rooms[arrival.room];
                (arrival, [&room[..], spill].concat())
            }));
        }
    }

    #[test]
    fn arrives_in_the_order_in_which_it_was_sent() {
        for single in [false, true] {
            let (mut one, mut other) = pair();
            if single {
                (one.calls, other.calls) = (Calls::Single, Calls::Single);
            }
            let frames = [vec![1; 12], vec![2; 20], vec![3; 24]];
            let sent = one.send(frames.iter().map(Vec::as_slice));
            assert_eq!((sent.done, sent.refused), (3, 0));
            let received = receive(&mut other, 8);
            let lens: Vec<_> = received.iter().map(|(arrival, _)| (arrival.len, arrival.truncated)).collect();
            // The second runs over into its spill; the third fills both, so that there may have been more of it.
            assert_eq!(lens, [(12, false), (20, false), (24, true)]);
            assert!(received[1].1[..20] == frames[1] && received[2].1 == frames[2]);
            assert!(receive(&mut other, 8).is_empty());
        }
    }

    #[test]
    fn stays_with_its_sender_from_the_frame_on_that_there_is_no_room_for() {
        let (mut one, mut other) = pair();
        let frame = vec![7; 16 << 10];
        let mut accepted = 0;
        loop {
            let sent = one.send(core::iter::repeat_n(&frame[..], RAW_BATCH_MAX));
            accepted += sent.done;
            if sent.done < RAW_BATCH_MAX {
                break;
            }
        }
        assert_eq!(receive(&mut other, RAW_BATCH_MAX).len(), accepted);
    }
}
