//! Superframes against what a device would put on the wire, checked by arithmetic of the test's own.

use proptest::prelude::*;

use super::*;

const CHECKSUM_V4: ChecksumOffload = ChecksumOffload { start: 34, field: 16 };
const CHECKSUM_V6: ChecksumOffload = ChecksumOffload { start: 54, field: 16 };

/// A superframe with 12 bytes of TCP options, its checksum field holding the pseudo-header's sum.
fn superframe(ipv6: bool, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut tcp = vec![0; 32];
    tcp[..4].copy_from_slice(&[0x01, 0xbb, 0xc0, 0x00]);
    tcp[4..8].copy_from_slice(&0xffff_ff00_u32.to_be_bytes());
    tcp[12] = 8 << 4;
    tcp[13] = flags;
    let mut packet = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    let length = u16::try_from(tcp.len() + payload.len()).unwrap();
    let addresses: Vec<u8>;
    if ipv6 {
        packet.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        packet.extend(length.to_be_bytes());
        packet.extend([6, 64]);
        addresses = (1..=32).collect();
        packet.extend(&addresses);
    } else {
        packet.extend([0x08, 0x00, 0x45, 0]);
        packet.extend((length + 20).to_be_bytes());
        packet.extend([0xff, 0xfe, 0x40, 0, 64, 6, 0, 0]);
        addresses = vec![10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend(&addresses);
    }
    let pseudo = !folded(&[&addresses[..], &[0, 6], &length.to_be_bytes()].concat());
    tcp[16..18].copy_from_slice(&(!pseudo).to_be_bytes());
    packet.extend(tcp);
    packet.extend(payload);
    packet
}

/// The ones' complement sum, one word at a time with the carry brought round: slower and plainer than the
/// code's.
fn folded(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    u16::try_from(sum).unwrap()
}

/// Whether a receiver would accept both checksums.
fn intact(packet: &[u8], ipv6: bool) -> bool {
    let (addresses, tcp) =
        if ipv6 { (&packet[22..54], &packet[54..]) } else { (&packet[26..34], &packet[34..]) };
    let length = u16::try_from(tcp.len()).unwrap().to_be_bytes();
    let transport = folded(&[addresses, &[0, 6], &length, tcp].concat());
    transport == 0xffff && (ipv6 || folded(&packet[14..34]) == 0xffff)
}

fn cut(mss: u16, ipv6: bool) -> Offload {
    Offload {
        checksum: Some(if ipv6 { CHECKSUM_V6 } else { CHECKSUM_V4 }),
        segmentation: Some(Segmentation { mss, ipv6 }),
    }
}

mod a_superframe {
    use super::*;

    #[test]
    fn becomes_segments_with_consecutive_numbers() {
        let payload: Vec<u8> = (0..250).collect();
        let superframe = superframe(false, 0x10 | PSH | FIN | CWR, &payload);
        let segments: Vec<_> = segment(&superframe, cut(100, false)).unwrap().collect();
        let seq = |packet: &[u8]| u32::from_be_bytes(packet[38..42].try_into().unwrap());
        let total = |packet: &[u8]| u16::from_be_bytes(packet[16..18].try_into().unwrap());
        let id = |packet: &[u8]| u16::from_be_bytes(packet[18..20].try_into().unwrap());
        let flags = |packet: &[u8]| packet[47];
        assert_eq!(
            segments.iter().map(|s| seq(s)).collect::<Vec<_>>(),
            [0xffff_ff00, 0xffff_ff64, 0xffff_ffc8]
        );
        assert_eq!(segments.iter().map(|s| total(s)).collect::<Vec<_>>(), [152, 152, 102]);
        assert_eq!(segments.iter().map(|s| id(s)).collect::<Vec<_>>(), [0xfffe, 0xffff, 0]);
        assert_eq!(
            segments.iter().map(|s| flags(s)).collect::<Vec<_>>(),
            [0x10 | CWR, 0x10, 0x10 | PSH | FIN],
            "PSH and FIN on the last only, CWR on the first only"
        );
    }

    #[test]
    fn without_payload_is_one_segment() {
        let superframe = superframe(false, 0x10 | FIN, &[]);
        let segments: Vec<_> = segment(&superframe, cut(100, false)).unwrap().collect();
        assert_eq!(segments.len(), 1);
        assert!(intact(&segments[0], false));
    }

    #[test]
    fn that_contradicts_its_offload_is_an_error() {
        let packet = superframe(false, 0x10, &[0; 300]);
        let refused = |packet: &[u8], offload| segment(packet, offload).err();
        assert_eq!(refused(&packet, cut(100, true)), Some(SegmentError::NotIp));
        assert_eq!(refused(&packet[..40], cut(100, false)), Some(SegmentError::Truncated));
        assert_eq!(refused(&packet, cut(0, false)), Some(SegmentError::NoMss));
        assert_eq!(
            refused(&packet, Offload { checksum: None, ..cut(100, false) }),
            Some(SegmentError::NoChecksum)
        );
    }
}

mod a_superframe_with_more_before_its_tcp {
    use super::*;

    fn with(packet: &[u8], at: usize, inserted: &[u8]) -> Vec<u8> {
        [&packet[..at], inserted, &packet[at..]].concat()
    }

    #[test]
    fn keeps_the_tags_of_a_customer_and_a_provider_on_each_segment() {
        let tags = [0x88, 0xa8, 0, 5, 0x81, 0x00, 0x20, 7];
        let packet = with(&superframe(false, 0x10, &[3; 250]), 12, &tags);
        let offload = Offload {
            checksum: Some(ChecksumOffload { start: CHECKSUM_V4.start + 8, ..CHECKSUM_V4 }),
            ..cut(100, false)
        };
        let segments: Vec<_> = segment(&packet, offload).unwrap().collect();
        assert_eq!(segments.len(), 3);
        for tagged in segments {
            assert_eq!(tagged[12..20], tags);
            assert!(intact(&[&tagged[..12], &tagged[20..]].concat(), false));
        }
    }

    #[test]
    fn loses_the_header_that_said_how_long_it_is() {
        let payload: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        let mut packet = superframe(true, 0x10, &[]);
        packet.extend(&payload);
        packet[18..20].fill(0);
        packet[20] = HOP_BY_HOP;
        let packet = with(&packet, 54, &[6, 0, JUMBO_OPTION, 4, 0, 1, 0x11, 0x98]);
        let offload = Offload {
            checksum: Some(ChecksumOffload { start: CHECKSUM_V6.start + 8, ..CHECKSUM_V6 }),
            ..cut(1_428, true)
        };
        let segments: Vec<_> = segment(&packet, offload).unwrap().collect();
        assert!(segments.iter().all(|packet| packet[20] == 6 && intact(packet, true)));
        assert_eq!(segments.iter().flat_map(|packet| packet[86..].to_vec()).collect::<Vec<_>>(), payload);
    }
}

mod a_superframe_that_is_too_long_for_a_device {
    use super::*;

    #[test]
    fn becomes_shorter_ones_of_the_same_segments() {
        let payload: Vec<u8> = (0..=250).cycle().take(5_050).collect();
        for ipv6 in [false, true] {
            let superframe = superframe(ipv6, 0x10 | PSH | CWR, &payload);
            let Offload { checksum: Some(checksum), segmentation: Some(segmentation) } = cut(100, ipv6)
            else {
                unreachable!()
            };
            let whole: Vec<_> = segment(&superframe, cut(100, ipv6)).unwrap().collect();
            let pieces = split(&superframe, checksum, segmentation, 1_250).unwrap();
            assert_eq!(pieces.transport(), Some(usize::from(checksum.start)));
            let pieces: Vec<_> = pieces.collect();
            assert!(pieces.len() > 4 && pieces.iter().all(|piece| piece.len() <= 1_250));
            let again = pieces.iter().flat_map(|piece| segment(piece, cut(100, ipv6)).unwrap());
            assert_eq!(again.collect::<Vec<_>>(), whole);
            // What a device does that only finishes the checksum.
            let finish = Offload { segmentation: None, ..cut(100, ipv6) };
            for piece in &pieces {
                assert!(segment(piece, finish).unwrap().all(|packet| intact(&packet, ipv6)));
            }
        }
    }
}

mod datagrams_that_travel_together {
    use super::*;

    #[test]
    fn become_packets_of_their_own() {
        let payload: Vec<u8> = (0..250).collect();
        let mut packet = superframe(false, 0, &[]);
        packet.truncate(34);
        packet[23] = UDP;
        packet.extend([0x01, 0xbb, 0xc0, 0x00, 0, 0, 0, 0]);
        packet.extend(&payload);
        let checksum = ChecksumOffload { start: 34, field: 6 };
        let datagrams: Vec<_> =
            segment_datagrams(&packet, checksum, Segmentation { mss: 100, ipv6: false }).unwrap().collect();
        assert_eq!(datagrams.iter().map(Vec::len).collect::<Vec<_>>(), [142, 142, 92]);
        for (datagram, payload) in datagrams.iter().zip(payload.chunks(100)) {
            let length = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
            assert_eq!((&datagram[38..40], &datagram[42..]), (&length[..], payload));
            let sum = folded(&[&datagram[26..34], &[0, UDP], &length, &datagram[34..]].concat());
            assert_eq!((sum, folded(&datagram[14..34])), (0xffff, 0xffff));
        }
    }
}

mod a_packet_that_is_not_to_be_cut {
    use super::*;

    #[test]
    fn gets_its_checksum() {
        let packet = superframe(true, 0x10, b"odd");
        let offload = Offload { checksum: Some(CHECKSUM_V6), segmentation: None };
        let segments: Vec<_> = segment(&packet, offload).unwrap().collect();
        assert_eq!(segments.len(), 1);
        assert!(intact(&segments[0], true));
    }

    #[test]
    fn stays_as_it_is_when_it_is_complete() {
        let packet = superframe(true, 0x10, b"odd");
        let segments: Vec<_> = segment(&packet, Offload::default()).unwrap().collect();
        assert_eq!(segments, [packet]);
    }
}

proptest! {
    #[test]
    fn segments_carry_the_payload_and_two_good_checksums(
        payload in proptest::collection::vec(any::<u8>(), 1..5_000),
        mss in 1_u16..1_600,
        ipv6: bool,
        flags: u8,
    ) {
        let superframe = superframe(ipv6, flags, &payload);
        let head = superframe.len() - payload.len();
        let segments: Vec<_> = segment(&superframe, cut(mss, ipv6)).unwrap().collect();
        for packet in &segments {
            prop_assert!(intact(packet, ipv6));
        }
        let carried: Vec<u8> = segments.iter().flat_map(|packet| packet[head..].to_vec()).collect();
        prop_assert_eq!(carried, payload);
        let full = segments.iter().rev().skip(1).all(|packet| packet.len() == head + usize::from(mss));
        prop_assert!(full);
    }

    #[test]
    fn nothing_that_is_not_a_packet_makes_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        start: u16,
        field: u16,
        mss: u16,
        ipv6: bool,
        cut: bool,
    ) {
        let offload = Offload {
            checksum: Some(ChecksumOffload { start, field }),
            segmentation: cut.then_some(Segmentation { mss, ipv6 }),
        };
        if let Ok(segments) = segment(&bytes, offload) {
            let _ = segments.count();
        }
        let segmentation = Segmentation { mss, ipv6 };
        if let Ok(datagrams) = segment_datagrams(&bytes, ChecksumOffload { start, field }, segmentation) {
            let _ = datagrams.count();
        }
    }
}
