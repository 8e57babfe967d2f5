use super::*;
use alloc::vec::Vec;
use core::net::IpAddr;
use dma::{Pool, PoolLayout};
use link_memory::segment;
use platform::Segmentation;
use wire::MacAddr;
use wire::tcp::{Options, SeqNum, Timestamps};

const MSS: u16 = 1_448;

fn pool() -> Pool {
    Pool::new(PoolLayout { large_count: 8, small_count: 0 }).unwrap()
}

/// The next segment, in a packet of its own.
fn next(train: &mut Train) -> Packet {
    let mut packet = Packet::new();
    train.next_into(&mut packet);
    packet
}

/// Parts of `lens` bytes, no two bytes near each other the same.
fn parts(pool: &Pool, lens: &[u32]) -> Parts {
    let mut parts = Parts::new();
    for (index, &len) in lens.iter().enumerate() {
        let mut frame = pool.acquire_large().unwrap();
        for (at, byte) in frame.bytes_mut().iter_mut().enumerate() {
            *byte = u8::try_from((at * 7 + at / 251 + index * 31) % 256).unwrap();
        }
        parts.push(Part { frame: frame.share(), start: 100 + u32::try_from(index).unwrap(), len });
    }
    parts
}

fn path(ipv6: bool, vlan: Option<u16>) -> Path {
    let ip = |last: u8| -> IpAddr {
        if ipv6 {
            [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, last].into()
        } else {
            [198, 18, 0, last].into()
        }
    };
    let path = Path::new(MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]), ip(1), ip(2));
    // The identification and the sequence number both wrap within a run.
    Path { vlan, identification: 0xfffe, flow_label: if ipv6 { 0xabcde } else { 0 }, ..path }
}

fn header(flags: Flags) -> Header {
    Header {
        source_port: 443,
        destination_port: 50_000,
        seq: SeqNum(u32::MAX - 2_000),
        ack: SeqNum(77),
        flags: Flags::ACK | flags,
        window: 1_000,
        urgent: 0,
        options: Options { timestamps: Some(Timestamps { value: 5, echo: 6 }), ..Options::NONE },
    }
}

fn bytes(packet: &Packet) -> Vec<u8> {
    let mut bytes = packet.headers.bytes().to_vec();
    packet.parts.iter().for_each(|part| bytes.extend_from_slice(part.bytes()));
    bytes
}

/// What a device makes of the same run as one superframe.
fn cut_by_a_device(path: &Path, header: &Header, mss: u16, parts: &Parts) -> Vec<Vec<u8>> {
    let payload: Vec<u8> = parts.iter().flat_map(|part| part.bytes().iter().copied()).collect();
    let mut superframe = [0; 128].to_vec();
    let layout = emit_tcp(&mut superframe, path, header, payload.len(), Checksum::Offload);
    superframe.truncate(layout.len);
    superframe.extend_from_slice(&payload);
    let offload = Offload {
        checksum: Some(ChecksumOffload { start: layout.l4, field: layout.checksum_field }),
        segmentation: Some(Segmentation { mss, ipv6: path.source.is_ipv6() }),
    };
    segment(&superframe, offload).unwrap().collect()
}

const RUNS: [&[u32]; 7] = [
    &[16_000, 16_000, 16_000],
    &[1_448, 1_448],
    &[1, 1_447, 1, 2_895, 3],
    &[16_001, 333, 9_999, 1, 1, 1, 4_321],
    &[2_896],
    &[1_449],
    &[700, 700],
];

mod a_run {
    use super::*;

    #[test]
    fn is_cut_to_the_bytes_that_a_device_makes_of_a_superframe() {
        let pool = pool();
        for (ipv6, vlan) in [(false, None), (true, None), (false, Some(7)), (true, Some(4_094))] {
            for lens in RUNS {
                for flags in [Flags::empty(), Flags::PSH, Flags::PSH | Flags::FIN] {
                    let (path, header, parts) = (path(ipv6, vlan), header(flags), parts(&pool, lens));
                    let expected = cut_by_a_device(&path, &header, MSS, &parts);
                    let mut train = Train::new(path, header, MSS, parts, false);
                    assert_eq!(train.segments_left() as usize, expected.len());
                    for segment in &expected {
                        let packet = next(&mut train);
                        assert_eq!(packet.offload, Offload::default());
                        assert!(bytes(&packet) == *segment, "{lens:?}, IPv6: {ipv6}, {flags:?}");
                    }
                    assert!(train.is_empty());
                    assert_eq!(train.segments_left(), 0);
                }
            }
        }
    }

    #[test]
    fn may_leave_its_checksums_to_the_link() {
        let pool = pool();
        for ipv6 in [false, true] {
            let (path, header, parts) = (path(ipv6, None), header(Flags::PSH), parts(&pool, RUNS[3]));
            let expected = cut_by_a_device(&path, &header, MSS, &parts);
            let mut train = Train::new(path, header, MSS, parts, true);
            for finished in &expected {
                let packet = next(&mut train);
                assert_ne!(bytes(&packet), *finished);
                let by_the_link: Vec<_> = segment(&bytes(&packet), packet.offload).unwrap().collect();
                assert!(by_the_link == [finished.clone()]);
            }
            assert!(train.is_empty());
        }
    }

    #[test]
    fn holds_its_frames_until_its_last_segment_and_no_longer() {
        let pool = pool();
        let mut train =
            Train::new(path(false, None), header(Flags::PSH), MSS, parts(&pool, &[2_000, 2_000]), true);
        drop(next(&mut train));
        drop(next(&mut train));
        assert_eq!(pool.in_use().large, 2);
        let last = next(&mut train);
        assert_eq!(last.parts.iter().map(|part| part.len).sum::<u32>(), 1_104);
        drop(last);
        assert_eq!(pool.in_use().large, 0);
    }
}
