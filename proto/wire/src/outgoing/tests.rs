use super::*;
use crate::tcp::{Flags, Options, SeqNum, Timestamps};
use crate::{checksum, testing};
use core::net::{Ipv4Addr, Ipv6Addr};
use proptest::prelude::*;

fn path_v4() -> Path {
    Path::new(
        MacAddr([2, 0, 0, 0, 0, 1]),
        MacAddr([2, 0, 0, 0, 0, 2]),
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
    )
}

fn path_v6() -> Path {
    Path {
        source: IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
        destination: IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)),
        ..path_v4()
    }
}

fn data() -> tcp::Header {
    tcp::Header {
        source_port: 443,
        destination_port: 50_000,
        seq: SeqNum(1000),
        ack: SeqNum(2000),
        flags: Flags::ACK | Flags::PSH,
        window: 512,
        urgent: 0,
        options: Options { timestamps: Some(Timestamps { value: 1, echo: 2 }), ..Options::NONE },
    }
}

#[test]
fn the_layout_says_where_the_link_finds_the_checksum() {
    let mut buffer = [0; HEADERS_BYTES_MAX];
    let layout = emit_tcp(&mut buffer, &path_v4(), &data(), 1448, Checksum::Offload);
    assert_eq!(layout, HeaderLayout { len: 66, l3: 14, l4: 34, checksum_field: 16 });
    let tagged = Path { vlan: Some(9), ..path_v6() };
    let layout = emit_tcp(&mut buffer, &tagged, &data(), 1448, Checksum::Offload);
    assert_eq!(layout, HeaderLayout { len: 90, l3: 18, l4: 58, checksum_field: 16 });
    assert_eq!(tagged.len_before_tcp(), 58);
}

/// What a device does with CHECKSUM_PARTIAL: sum from the TCP header on, the field included, and write the complement.
#[test]
fn what_is_left_to_the_link_comes_out_as_what_we_compute() {
    let payload = b"some payload of odd length";
    for path in [path_v4(), path_v6()] {
        let mut ours = [0; HEADERS_BYTES_MAX];
        let layout = emit_tcp(&mut ours, &path, &data(), payload.len(), Checksum::Software(Sum::of(payload)));
        let mut theirs = [0; HEADERS_BYTES_MAX];
        emit_tcp(&mut theirs, &path, &data(), payload.len(), Checksum::Offload);
        let l4 = usize::from(layout.l4);
        let sum = Sum::of(&theirs[l4..layout.len]).then(payload).finish();
        theirs[l4 + 16..l4 + 18].copy_from_slice(&sum.to_be_bytes());
        assert_eq!(ours, theirs);
    }
}

/// The next segment's headers, made from those before it and made anew.
#[test]
fn headers_advance_to_what_would_be_written_for_the_next_segment() {
    for path in [path_v4(), path_v6(), Path { vlan: Some(9), ..path_v4() }] {
        let mut path = Path { identification: 0xfff0, ..path };
        let mut header = tcp::Header { seq: SeqNum(u32::MAX - 20_000), ..data() };
        let (mut advanced, mut anew) = ([0; HEADERS_BYTES_MAX], [0; HEADERS_BYTES_MAX]);
        let layout = emit_tcp(&mut advanced, &path, &header, 1_448, Checksum::Offload);
        for _ in 0..40 {
            layout.advance(&mut advanced, 1_448);
            path.identification = path.identification.wrapping_add(1);
            header.seq += 1_448;
            emit_tcp(&mut anew, &path, &header, 1_448, Checksum::Offload);
            assert_eq!(advanced, anew);
            let (mut finished, payload) = (advanced, Sum::of(&[7; 1_448]));
            layout.finish_checksum(&mut finished, payload);
            emit_tcp(&mut anew, &path, &header, 1_448, Checksum::Software(payload));
            assert_eq!(finished, anew);
        }
    }
}

#[test]
fn a_superframe_beyond_ip_lengths_is_told_in_ips_own_ways() {
    let mut buffer = [0; HEADERS_BYTES_MAX];
    let layout = emit_tcp(&mut buffer, &path_v4(), &data(), 131_072, Checksum::Offload);
    assert_eq!((buffer[16..18].as_ref(), layout.len), (&[0, 0][..], 66));
    let layout = emit_tcp(&mut buffer, &path_v6(), &data(), 131_072, Checksum::Offload);
    assert_eq!((layout.l4, layout.len), (14 + 48, 14 + 48 + 32));
    assert_eq!(buffer[54..58], [6, 0, 0xc2, 4]);
}

#[test]
#[should_panic(expected = "only a link that cuts superframes")]
fn a_superframe_cannot_be_checksummed_by_us() {
    emit_tcp(&mut [0; 128], &path_v4(), &data(), 65_500, Checksum::Software(Sum::ZERO));
}

#[test]
#[should_panic(expected = "a path from")]
fn a_path_stays_in_one_family() {
    let mixed = Path { destination: path_v6().destination, ..path_v4() };
    emit_tcp(&mut [0; 128], &mixed, &data(), 0, Checksum::Offload);
}

proptest! {
    /// The short way is no other way.
    #[test]
    fn usual_headers_are_those_that_any_would_be(path in testing::path(), header in testing::tcp_header(), payload in testing::bytes(200), offload: bool) {
        let sum = if offload { Checksum::Offload } else { Checksum::Software(Sum::of(&payload)) };
        let (mut usual, mut any) = ([0; HEADERS_BYTES_MAX], [0; HEADERS_BYTES_MAX]);
        let layout = emit_tcp(&mut usual, &path, &header, payload.len(), sum);
        prop_assert_eq!(layout, emit_any(&mut any, &path, &header, payload.len(), sum));
        prop_assert_eq!(usual, any);
    }

    #[test]
    fn headers_fit_and_checksums_hold(path in testing::path(), header in testing::tcp_header(), payload in testing::bytes(200)) {
        let mut frame = [0; HEADERS_BYTES_MAX + 200];
        let layout = emit_tcp(&mut frame, &path, &header, payload.len(), Checksum::Software(Sum::of(&payload)));
        prop_assert!(layout.len <= HEADERS_BYTES_MAX);
        prop_assert_eq!(layout.len, path.len_before_tcp() + header.len());
        frame[layout.len..layout.len + payload.len()].copy_from_slice(&payload);
        let segment = &frame[usize::from(layout.l4)..layout.len + payload.len()];
        let intact = match (path.source, path.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => checksum::verify_v4(source, destination, Protocol::TCP, segment),
            (IpAddr::V6(source), IpAddr::V6(destination)) => checksum::verify_v6(source, destination, Protocol::TCP, segment),
            _ => unreachable!(),
        };
        prop_assert!(intact);
    }
}
