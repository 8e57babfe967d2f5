use super::*;
use crate::packet::{ACK, Rejected, Segment};
use crate::random::{PPM, Seed};

fn wire() -> Box<dyn Device> {
    Box::new(Wire { delay: Duration::from_millis(10) })
}

fn dice() -> Dice {
    Seed(5).dice("network", 0)
}

fn at(micros: u64) -> Instant {
    Instant::EPOCH + Duration::from_micros(micros)
}

/// `count` frames of `bytes` each, one every `micros`, numbered in their first four bytes.
fn carry(device: &mut dyn Device, count: u32, bytes: usize, micros: u64) -> Vec<(u32, Instant)> {
    let mut out = Vec::new();
    for number in 0..count {
        let mut frame = vec![0; bytes];
        frame[..4].copy_from_slice(&number.to_be_bytes());
        device.carry(at(u64::from(number) * micros), frame, &mut out);
    }
    out.iter()
        .map(|carried| (u32::from_be_bytes(*carried.frame.first_chunk().unwrap()), carried.at))
        .collect()
}

fn faults(device: &dyn Device) -> Faults {
    let mut faults = Faults::default();
    device.report(&mut faults);
    faults
}

#[test]
fn a_wire_delays_and_keeps_order() {
    let carried = carry(&mut Wire { delay: Duration::from_millis(10) }, 3, 60, 5);
    assert_eq!(carried, [(0, at(10_000)), (1, at(10_005)), (2, at(10_010))]);
}

#[test]
fn loss_loses_its_share_until_it_is_healed() {
    let mut loss = Loss { inner: wire(), ppm: PPM / 10, dice: dice(), lost: 0 };
    let arrived = carry(&mut loss, 10_000, 60, 1).len();
    assert!((8_800..9_200).contains(&arrived), "{arrived} of 10,000 arrived");
    assert_eq!(faults(&loss).lost, 10_000 - arrived as u64);
    loss.heal();
    assert_eq!(carry(&mut loss, 1_000, 60, 1).len(), 1_000);
}

#[test]
fn bursts_lose_neighbours() {
    let mut loss = BurstLoss {
        inner: wire(),
        begin_ppm: PPM / 100,
        end_ppm: PPM / 10,
        loss_ppm: PPM,
        dice: dice(),
        in_burst: false,
        lost: 0,
    };
    let arrived = carry(&mut loss, 10_000, 60, 1);
    let gaps = arrived.windows(2).filter(|pair| pair[1].0 > pair[0].0 + 1).count() as u64;
    let lost = faults(&loss).lost;
    assert!(gaps > 20 && lost > 4 * gaps, "{lost} frames lost in {gaps} bursts");
}

#[test]
fn duplicates_come_as_well_not_instead() {
    let mut duplicate = Duplicate {
        inner: wire(),
        ppm: PPM / 2,
        later_max: Duration::from_millis(3),
        dice: dice(),
        duplicated: 0,
    };
    let carried = carry(&mut duplicate, 1_000, 60, 1);
    let mut numbers: Vec<u32> = carried.iter().map(|&(number, _)| number).collect();
    assert_eq!(numbers.len() as u64, 1_000 + faults(&duplicate).duplicated);
    numbers.dedup();
    assert_eq!(numbers, (0..1_000).collect::<Vec<_>>());
}

#[test]
fn reordered_frames_are_overtaken() {
    let mut reorder = Reorder {
        inner: wire(),
        ppm: PPM / 10,
        hold_max: Duration::from_millis(5),
        dice: dice(),
        reordered: 0,
    };
    let mut carried = carry(&mut reorder, 1_000, 60, 100);
    assert_eq!(carried.len(), 1_000);
    carried.sort_by_key(|&(_, at)| at);
    assert!(carried.windows(2).any(|pair| pair[0].0 > pair[1].0));
    assert!(faults(&reorder).reordered > 50);
}

#[test]
fn a_rate_is_kept_and_a_full_queue_drops() {
    // 1,000 bytes each millisecond fit exactly.
    let rate = |queue_bytes_max| Rate {
        inner: wire(),
        bytes_per_second: 1_000_000,
        queue_bytes_max,
        free_at: Instant::EPOCH,
        overflowed: 0,
    };
    let mut fits = rate(2_000);
    let carried = carry(&mut fits, 100, 1_000, 1_000);
    assert_eq!((carried.len(), faults(&fits).overflowed), (100, 0));
    // Twice as fast, half of it must go, and what passes is spaced by the line.
    let mut overflows = rate(5_000);
    let carried = carry(&mut overflows, 100, 1_000, 500);
    assert!((50..60).contains(&carried.len()), "{} passed", carried.len());
    assert!(carried.windows(2).all(|pair| pair[1].1.since(pair[0].1) >= Duration::from_millis(1)));
}

#[test]
fn a_stalled_line_lets_go_of_everything_at_once() {
    let mut stall = Stall {
        inner: wire(),
        period: Duration::from_secs(1),
        length: Duration::from_millis(100),
        first: at(10_000),
        stalled: 0,
    };
    let carried = carry(&mut stall, 200, 60, 1_000);
    let together = carried.iter().filter(|&&(_, arrives)| arrives == at(110_000 + 10_000)).count();
    assert_eq!(together, 101, "those of the stall, and the one that came as it ended");
    assert_eq!(faults(&stall).stalled, 100);
}

fn segment(ipv6: bool) -> Segment {
    let (source, destination) =
        if ipv6 { ("[fd00::1]:80", "[fd00::2]:5000") } else { ("10.0.0.1:80", "10.0.0.2:5000") };
    let mut segment = Segment::between(
        ([2, 0, 0, 0, 0, 1], source.parse().unwrap()),
        ([2, 0, 0, 0, 0, 2], destination.parse().unwrap()),
    );
    segment.flags = ACK;
    segment
}

#[test]
fn no_corrupted_segment_is_ever_accepted() {
    for ipv6 in [false, true] {
        let frame = segment(ipv6).emit(&[0x5A; 777]);
        let mut corrupt = Corrupt { inner: wire(), ppm: PPM, dice: dice(), corrupted: 0 };
        for _ in 0..20_000 {
            let mut out = Vec::new();
            corrupt.carry(Instant::EPOCH, frame.clone(), &mut out);
            let damaged = &out[0].frame;
            assert_ne!(damaged, &frame);
            assert_eq!(damaged[..12], frame[..12]);
            assert!(Segment::parse(damaged).is_err(), "{damaged:02x?} passed");
        }
        // Nor does another hand accept what this one rejects for its checksum alone.
        assert_eq!(faults(&corrupt).corrupted, 20_000);
    }
}

#[test]
fn a_packet_too_big_comes_back_as_a_message_that_quotes_it() {
    for ipv6 in [false, true] {
        let mut mtu = Mtu { inner: wire(), mtu: 1_300, from: at(5), silent: false, refused: 0 };
        let small = segment(ipv6).emit(&[0; 1_200]);
        let big = segment(ipv6).emit(&[0; 1_400]);
        let mut out = Vec::new();
        mtu.carry(at(4), big.clone(), &mut out);
        mtu.carry(at(5), small.clone(), &mut out);
        mtu.carry(at(5), big.clone(), &mut out);
        let ends: Vec<End> = out.iter().map(|carried| carried.to).collect();
        assert_eq!(ends, [End::Receiver, End::Receiver, End::Sender]);
        let message = &out[2].frame;
        assert_eq!(message[..6], big[6..12], "it goes to the sender");
        let quoted = &big[14..14 + 28];
        assert!(memchr::memmem::find(message, quoted).is_some(), "it quotes the packet");
        assert!(memchr::memmem::find(message, &1_300u16.to_be_bytes()).is_some());
        assert_eq!(Segment::parse(message).unwrap_err(), Rejected::NotTcp);
        assert_eq!(faults(&mtu).refused, 1);
    }
}

#[test]
fn the_message_about_a_packet_too_big_has_checksums_that_hold() {
    use smoltcp::wire::{EthernetFrame, Icmpv4Packet, Icmpv6Packet, Ipv4Packet, Ipv6Packet};
    let message = |ipv6| {
        let mut mtu = Mtu { inner: wire(), mtu: 1_300, from: at(0), silent: false, refused: 0 };
        let mut out = Vec::new();
        mtu.carry(at(5), segment(ipv6).emit(&[0; 1_400]), &mut out);
        out.remove(0).frame
    };
    let v4 = message(false);
    let ip = Ipv4Packet::new_checked(EthernetFrame::new_checked(&v4[..]).unwrap().payload()).unwrap();
    assert!(ip.verify_checksum() && Icmpv4Packet::new_checked(ip.payload()).unwrap().verify_checksum());
    let v6 = message(true);
    let ip = Ipv6Packet::new_checked(EthernetFrame::new_checked(&v6[..]).unwrap().payload()).unwrap();
    let icmp = Icmpv6Packet::new_checked(ip.payload()).unwrap();
    assert!(icmp.verify_checksum(&ip.src_addr(), &ip.dst_addr()));
}
