//! Headers byte for byte, and a queue whose device is a socket pair; what every link promises is in
//! `tests/conformance`.

use std::os::fd::OwnedFd;

use dma::{Pool, PoolLayout};
use platform::{ChecksumOffload, Headers, Link, Offload, Packet, Part, Parts, Segmentation};
use proptest::prelude::*;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

use super::*;

const CHECKSUM: ChecksumOffload = ChecksumOffload { start: 34, field: 16 };

mod a_header {
    use super::*;

    #[test]
    fn of_a_complete_packet_is_zeroes() {
        assert_eq!(VnetHeader::of(Offload::default(), 54).emit(), [0; HEADER_BYTES]);
    }

    #[test]
    fn of_a_packet_without_its_checksum_says_where_it_belongs() {
        let offload = Offload { checksum: Some(CHECKSUM), segmentation: None };
        assert_eq!(VnetHeader::of(offload, 54).emit(), [1, 0, 0, 0, 0, 0, 34, 0, 16, 0]);
    }

    #[test]
    fn of_a_superframe_says_how_to_cut_it() {
        let cut = |ipv6, headers| {
            let segmentation = Some(Segmentation { mss: 1_448, ipv6 });
            VnetHeader::of(Offload { checksum: Some(CHECKSUM), segmentation }, headers).emit()
        };
        assert_eq!(cut(false, 66), [1, 1, 66, 0, 0xa8, 5, 34, 0, 16, 0]);
        assert_eq!(cut(true, 86), [1, 4, 86, 0, 0xa8, 5, 34, 0, 16, 0]);
    }

    #[test]
    fn vouches_for_a_packet_that_was_checked_or_never_needed_to_be() {
        let parsed = |flags| VnetHeader::parse(&[flags, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(!parsed(0).verified());
        assert!(parsed(1).verified(), "needs_csum: it comes from this host");
        assert!(parsed(2).verified(), "data_valid: the device checked it");
    }

    #[test]
    fn tells_merged_packets_from_others() {
        let parsed = |kind| VnetHeader::parse(&[0, kind, 66, 0, 0xa8, 5, 0, 0, 0, 0]).merged();
        assert_eq!([parsed(0), parsed(0x80)], [None, None]);
        assert_eq!([parsed(1), parsed(4), parsed(0x81)], [Some(1_448); 3]);
    }

    proptest! {
        #[test]
        fn is_parsed_back_to_what_was_emitted(bytes: [u8; HEADER_BYTES]) {
            prop_assert_eq!(VnetHeader::parse(&bytes).emit(), bytes);
        }
    }
}

/// A queue, and the other end of its socket, which sees virtio-net headers.
struct Fixture {
    queue: VnetQueue,
    device: OwnedFd,
    pool: Pool,
}

impl Fixture {
    fn with(submission: Submission) -> Self {
        Self::of(VnetConfig { submission, ..Default::default() })
    }

    fn of(config: VnetConfig) -> Self {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, device) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        // Room for a few large packets only.
        set_socket_send_buffer_size(&ours, 256 << 10).unwrap();
        set_socket_recv_buffer_size(&device, 256 << 10).unwrap();
        let pool = Pool::new(PoolLayout { large_count: 8, small_count: 0 }).unwrap();
        Self { queue: VnetQueue::open(ours, config).unwrap(), device, pool }
    }

    fn packet(&self, number: u8, payload: u32) -> Packet {
        let mut headers = Headers::new();
        headers.room_mut()[0] = number;
        headers.set_len(1);
        let frame = self.pool.acquire_large().unwrap().share();
        let parts = core::iter::once(Part { frame, start: 0, len: payload }).collect();
        Packet { headers, parts, offload: Offload::default() }
    }

    fn stage_small(&mut self, numbers: core::ops::Range<u8>) {
        for number in numbers {
            self.queue.stage_bytes(&[number; 20]).unwrap();
        }
    }

    fn device_takes(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 70_000];
        let (len, _) = recv(&self.device, &mut buffer[..], RecvFlags::empty()).ok()?;
        buffer.truncate(len);
        Some(buffer)
    }

    fn device_gives(&self, bytes: &[u8]) {
        send(&self.device, bytes, SendFlags::empty()).unwrap();
    }
}

mod another_descriptor {
    use super::*;

    #[test]
    fn takes_the_place_of_one_whose_device_is_gone() {
        for submission in [Submission::Uring, Submission::Syscalls] {
            let mut old = Fixture::with(submission);
            let mut new = Fixture::with(submission);
            let mut frame = old.packet(1, 100);
            old.queue.stage(&mut frame).unwrap();
            old.stage_small(2..5);
            let (ours, device) =
                socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
            old.queue.reopen(ours, 1_400).unwrap();
            new.device = device;
            assert_eq!(old.queue.submission(), submission);
            assert_eq!((old.queue.in_flight(), old.queue.reclaim(), old.pool.in_use().large), (0, 4, 0));
            assert_eq!((old.queue.counters().send_errors, old.queue.capabilities().mtu), (4, 1_400));
            old.stage_small(10..20);
            old.queue.flush();
            for number in 10..20 {
                assert_eq!(new.device_takes().unwrap()[HEADER_BYTES], number, "{submission:?}");
            }
            assert_eq!(old.device_takes(), Some(Vec::new()), "the old device has not seen the end");
            for number in 0..5 {
                new.device_gives(&[[0; HEADER_BYTES].as_slice(), &[number; 60]].concat());
            }
            for number in 0..5 {
                assert_eq!(old.queue.receive().unwrap().bytes, [number; 60], "{submission:?}");
            }
            assert_eq!(old.queue.submission(), submission);
        }
    }
}

mod a_flush {
    use super::*;

    #[test]
    fn writes_the_header_the_headers_and_the_parts_in_one_piece() {
        let mut fixture = Fixture::with(Submission::Syscalls);
        let mut packet = fixture.packet(7, 100);
        packet.offload.checksum = Some(CHECKSUM);
        fixture.queue.stage(&mut packet).unwrap();
        fixture.queue.flush();
        let written = fixture.device_takes().unwrap();
        assert_eq!(written.len(), HEADER_BYTES + 1 + 100);
        assert_eq!(&written[..HEADER_BYTES + 1], [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 7]);
    }

    #[test]
    fn is_one_system_call_for_up_to_64_packets() {
        let mut fixture = Fixture::with(Submission::Uring);
        fixture.stage_small(0..65);
        fixture.queue.flush();
        assert_eq!(fixture.queue.calls().send_calls, 2);
        for number in 0..65 {
            assert_eq!(fixture.device_takes().unwrap()[HEADER_BYTES], number);
        }
        assert_eq!(fixture.queue.reclaim(), 65);
    }

    #[test]
    fn is_one_system_call_per_packet_without_io_uring() {
        let mut fixture = Fixture::with(Submission::Syscalls);
        fixture.stage_small(0..10);
        fixture.queue.flush();
        assert_eq!(fixture.queue.calls().send_calls, 10);
        assert_eq!(fixture.queue.submission(), Submission::Syscalls);
    }

    #[test]
    fn keeps_what_the_device_has_no_room_for_in_order() {
        for submission in [Submission::Uring, Submission::Syscalls] {
            let mut fixture = Fixture::with(submission);
            let shared = fixture.packet(0, 16_000).parts.remove(0);
            for number in 0..60 {
                let mut headers = Headers::new();
                headers.room_mut()[0] = number;
                headers.set_len(1);
                let parts: Parts = core::iter::repeat_n(shared.clone(), 4).collect();
                fixture.queue.stage(&mut Packet { headers, parts, offload: Offload::default() }).unwrap();
            }
            fixture.queue.flush();
            let left = fixture.queue.in_flight();
            assert!((1..60).contains(&left), "{submission:?}: {left} left");
            assert_eq!(shared.frame.shares() as usize, 1 + 4 * left);
            assert!(fixture.queue.calls().refusals > 0);

            let mut seen = Vec::new();
            while seen.len() < 60 {
                let taken = fixture.device_takes().expect("the device was given room, and took nothing");
                seen.push(taken[HEADER_BYTES]);
                fixture.queue.flush();
            }
            assert_eq!(seen, (0..60).collect::<Vec<_>>(), "{submission:?}");
            assert_eq!((fixture.queue.reclaim(), shared.frame.shares()), (60, 1));
            assert_eq!(fixture.queue.counters().send_errors, 0);
        }
    }

    #[test]
    fn gives_a_packet_up_that_the_device_never_takes() {
        let mut fixture = Fixture::with(Submission::Syscalls);
        let shared = fixture.packet(0, 16_000).parts.remove(0);
        for _ in 0..20 {
            let parts: Parts = core::iter::repeat_n(shared.clone(), 4).collect();
            let mut headers = Headers::new();
            headers.set_len(1);
            fixture.queue.stage(&mut Packet { headers, parts, offload: Offload::default() }).unwrap();
        }
        for _ in 0..5_000 {
            fixture.queue.flush();
        }
        assert_eq!(fixture.queue.in_flight(), 0);
        assert_eq!(shared.frame.shares(), 1);
        let counters = fixture.queue.counters();
        assert!(counters.send_errors > 0);
        assert_eq!(counters.sent + counters.send_errors, 20);
    }

    #[test]
    fn counts_packets_that_the_device_refuses_for_good_and_frees_their_frames() {
        for submission in [Submission::Uring, Submission::Syscalls] {
            let mut fixture = Fixture::with(submission);
            let (_, other) =
                socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
            drop(core::mem::replace(&mut fixture.device, other));
            for number in 0..3 {
                let mut packet = fixture.packet(number, 100);
                fixture.queue.stage(&mut packet).unwrap();
            }
            fixture.queue.flush();
            assert_eq!((fixture.queue.in_flight(), fixture.queue.reclaim()), (0, 3));
            let counters = fixture.queue.counters();
            assert_eq!((counters.sent, counters.send_errors), (0, 3), "{submission:?}");
            assert_eq!(fixture.pool.in_use().large, 0);
        }
    }
}

mod a_receive {
    use super::*;

    fn drain(queue: &mut VnetQueue) -> Vec<u8> {
        let mut seen = Vec::new();
        while let Some(received) = queue.receive() {
            seen.push(received.bytes[0]);
        }
        seen
    }

    #[test]
    fn takes_off_the_header_and_says_whether_the_device_vouches() {
        let mut fixture = Fixture::with(Submission::Syscalls);
        fixture.device_gives(&[&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], b"checked"].concat());
        fixture.device_gives(&[&[0; HEADER_BYTES][..], b"not"].concat());
        let received = fixture.queue.receive().unwrap();
        assert_eq!((received.bytes, received.verified), (&b"checked"[..], true));
        let received = fixture.queue.receive().unwrap();
        assert_eq!((received.bytes, received.verified), (&b"not"[..], false));
        assert!(fixture.queue.receive().is_none());
    }

    #[test]
    fn reads_in_ever_larger_batches_while_there_is_no_end() {
        let mut fixture = Fixture::with(Submission::Uring);
        for number in 0..100 {
            fixture.device_gives(&[number; HEADER_BYTES + 1]);
        }
        assert_eq!(drain(&mut fixture.queue), (0..100).collect::<Vec<_>>());
        // 1, 2, 4, 8, 16 … buffers: 100 packets took ten calls, and the end was seen by the last.
        assert_eq!(fixture.queue.calls().receive_calls, 10);
    }

    #[test]
    fn of_an_idle_device_is_one_call_that_finds_nothing() {
        let mut fixture = Fixture::with(Submission::Uring);
        for round in 1..=4 {
            assert!(fixture.queue.receive().is_none());
            // The end that one call saw is what the next answer rests on.
            assert_eq!(fixture.queue.calls().receive_calls, round);
        }
    }

    #[test]
    fn passes_over_what_is_shorter_than_a_header() {
        let mut fixture = Fixture::with(Submission::Uring);
        fixture.device_gives(b"short");
        fixture.device_gives(&[9; HEADER_BYTES]);
        fixture.device_gives(&[7; HEADER_BYTES + 1]);
        assert_eq!(drain(&mut fixture.queue), [7]);
        assert_eq!(fixture.queue.counters().received, 1);
        assert_eq!(fixture.queue.counters().receive_errors, 2);
    }
}

#[test]
fn a_queue_without_room_for_a_packet_is_a_defect_of_whoever_configured_it() {
    let opened =
        std::panic::catch_unwind(|| Fixture::of(VnetConfig { capacity: 0, ..Default::default() }).queue);
    assert!(opened.is_err());
}
