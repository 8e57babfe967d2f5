//! What every [`Link`] promises.

use dma::{Frame, Pool};
use platform::{
    ChecksumOffload, Full, Headers, Link, LinkCounters, Offload, Packet, Part, Parts, ROOM_BYTES, Received,
    Segmentation,
};

use crate::promise::{keep, promises, wakes};

/// A link with somebody at its other end.
pub trait LinkFixture {
    /// The link that is held to its promises.
    type Link: Link;
    /// Who is at the other end.
    type Peer: Link;
    /// The link.
    fn link(&mut self) -> &mut Self::Link;
    /// The other end.
    fn peer(&mut self) -> &mut Self::Peer;
    /// Where frames come from: at least 8 large ones, all free.
    fn pool(&self) -> &Pool;
    /// Lets what was flushed get to the other end.
    fn settle(&mut self);
}

/// Holds a link to all that the trait promises.
///
/// # Panics
/// A promise was broken.
pub fn link_suite<F: LinkFixture>(make: impl FnMut() -> F) {
    keep(
        promises![
            an_empty_link_has_nothing_to_receive,
            a_packet_in_parts_arrives_in_one_piece,
            a_packet_whose_headers_lie_before_its_part_arrives,
            a_packet_without_parts_arrives,
            short_bytes_arrive_as_they_are,
            bytes_longer_than_the_mtu_are_refused,
            nothing_leaves_before_the_flush,
            packets_arrive_in_the_order_in_which_they_were_staged,
            a_refused_packet_comes_back_whole,
            a_link_that_was_full_takes_packets_again,
            frames_are_held_until_the_packet_has_left,
            frames_return_after_the_packet_has_left,
            a_frame_in_two_packets_returns_after_both,
            each_packet_is_reclaimed_once,
            a_superframe_is_taken_in_one_piece,
            packets_from_the_other_end_arrive,
            a_packet_is_lent_until_the_next_is_asked_for,
            what_was_sent_and_received_is_counted,
            a_packet_that_arrived_wakes_a_sleeper,
            a_slot_takes_a_superframe_or_the_mtu,
            what_is_written_to_a_slot_arrives_behind_its_headers,
            a_slot_asked_for_again_is_as_it_was_left,
            a_link_without_room_gives_no_slot,
            a_link_without_slots_gives_none,
            room_for_a_short_packet_is_as_long_as_the_mtu_or_a_usual_frame,
            what_is_written_to_room_arrives,
            room_asked_for_again_is_as_it_was_left,
            a_full_link_gives_no_room,
            a_checksum_is_left_to_a_link_that_sums_in_room_too,
        ],
        make,
    );
}

/// Local experimental Ethertype 1 (IEEE 802): nothing else on any link speaks it.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
const ETHERNET_BYTES: usize = 14;
const TCP_OFFSET: usize = ETHERNET_BYTES + 20;
const HEADERS_V4_BYTES: usize = TCP_OFFSET + 20;

/// How often a fixture settles before what should have happened is missed.
const PATIENCE: usize = 200;

fn ethernet(from: [u8; 6], to: [u8; 6], ethertype: [u8; 2]) -> Vec<u8> {
    [&to[..], &from, &ethertype].concat()
}

/// The Ethernet header of what the fixture's link sends to its peer.
fn our_header<F: LinkFixture>(fixture: &mut F) -> Vec<u8> {
    let from = fixture.link().capabilities().mac;
    ethernet(from, fixture.peer().capabilities().mac, ETHERTYPE)
}

fn headers(bytes: &[u8]) -> Headers {
    let mut headers = Headers::new();
    headers.room_mut()[..bytes.len()].copy_from_slice(bytes);
    headers.set_len(bytes.len());
    headers
}

fn frame_of(pool: &Pool, bytes: &[u8]) -> Frame {
    let mut frame = pool.acquire_large().expect("the fixture's pool has free frames");
    frame.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
    frame
}

fn part_of(pool: &Pool, bytes: &[u8]) -> Part {
    let len = u32::try_from(bytes.len()).expect("a frame is short");
    Part { frame: frame_of(pool, bytes).share(), start: 0, len }
}

/// A packet with a header of ours and `pieces` as parts.
fn packet<F: LinkFixture>(fixture: &mut F, pieces: &[&[u8]]) -> Packet {
    let header = our_header(fixture);
    let parts: Parts = pieces.iter().map(|piece| part_of(fixture.pool(), piece)).collect();
    Packet { headers: headers(&header), parts, offload: Offload::default() }
}

/// The next packet of ours at the other end, without its Ethernet header. Other traffic is passed over.
fn arrival<F: LinkFixture>(fixture: &mut F) -> Option<Vec<u8>> {
    for _ in 0..PATIENCE {
        while let Some(Received { bytes, .. }) = fixture.peer().receive() {
            if bytes.get(12..14) == Some(&ETHERTYPE) {
                return Some(bytes[ETHERNET_BYTES..].to_vec());
            }
        }
        fixture.settle();
    }
    None
}

/// The next packet of the peer's at this end, likewise.
fn receipt<F: LinkFixture>(fixture: &mut F) -> Option<Vec<u8>> {
    for _ in 0..PATIENCE {
        while let Some(Received { bytes, .. }) = fixture.link().receive() {
            if bytes.get(12..14) == Some(&ETHERTYPE) {
                return Some(bytes[ETHERNET_BYTES..].to_vec());
            }
        }
        fixture.settle();
    }
    None
}

fn stage<F: LinkFixture>(fixture: &mut F, mut packet: Packet) {
    assert!(fixture.link().stage(&mut packet).is_ok(), "a link that is not full refused a packet");
    assert!(packet.parts.is_empty(), "parts that were taken are left to their sender");
}

/// Flushes, lets the peer look at everything, and reclaims until nothing is in flight. Returns how many
/// packets left.
fn drain<F: LinkFixture>(fixture: &mut F) -> usize {
    let mut reclaimed = 0;
    for _ in 0..PATIENCE {
        fixture.link().flush();
        while fixture.peer().receive().is_some() {}
        reclaimed += fixture.link().reclaim();
        if fixture.link().in_flight() == 0 {
            return reclaimed;
        }
        fixture.settle();
    }
    panic!("{} packets never left", fixture.link().in_flight());
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().max(46), 0);
    bytes
}

fn an_empty_link_has_nothing_to_receive<F: LinkFixture>(fixture: &mut F) {
    while let Some(Received { bytes, .. }) = fixture.link().receive() {
        assert_ne!(bytes.get(12..14), Some(&ETHERTYPE[..]), "nobody sent that");
    }
    assert_eq!(fixture.link().in_flight(), 0);
    assert_eq!(fixture.link().reclaim(), 0);
}

fn a_packet_in_parts_arrives_in_one_piece<F: LinkFixture>(fixture: &mut F) {
    let packet = packet(fixture, &[&[1; 400], b"between", &[2; 500]]);
    stage(fixture, packet);
    fixture.link().flush();
    assert_eq!(arrival(fixture).unwrap(), [&[1; 400][..], b"between", &[2; 500]].concat());
}

fn a_packet_whose_headers_lie_before_its_part_arrives<F: LinkFixture>(fixture: &mut F) {
    let header = our_header(fixture);
    let len = u32::try_from(header.len()).expect("short");
    for (skip, payload) in [(0, [5; 700]), (3_900, [6; 700])] {
        let all = [&vec![0xee; skip][..], &header, &payload].concat();
        let part = part_of(fixture.pool(), &all);
        let start = u32::try_from(skip).expect("within a frame") + len;
        let part = Part { frame: part.frame, start, len: 700 };
        let mut headers = headers(&header);
        headers.set_before_parts();
        let parts = core::iter::once(part).collect();
        stage(fixture, Packet { headers, parts, offload: Offload::default() });
        fixture.link().flush();
        assert_eq!(arrival(fixture).unwrap(), payload);
    }
    assert_eq!(drain(fixture), 2);
    assert_eq!(fixture.pool().in_use().large, 0, "frames are held");
}

fn a_packet_without_parts_arrives<F: LinkFixture>(fixture: &mut F) {
    let header = [our_header(fixture), padded(b"headers only")].concat();
    stage(fixture, Packet { headers: headers(&header), parts: Parts::new(), offload: Offload::default() });
    fixture.link().flush();
    assert_eq!(arrival(fixture).unwrap(), padded(b"headers only"));
}

fn short_bytes_arrive_as_they_are<F: LinkFixture>(fixture: &mut F) {
    let mtu = usize::from(fixture.link().capabilities().mtu);
    for len in [46, 114, 115, 600, mtu] {
        let payload = vec![u8::try_from(len % 251).expect("below 251"); len];
        let bytes = [our_header(fixture), payload.clone()].concat();
        fixture.link().stage_bytes(&bytes).expect("room");
        fixture.link().flush();
        assert_eq!(arrival(fixture).unwrap(), payload, "{len} bytes");
        fixture.link().reclaim();
    }
}

fn bytes_longer_than_the_mtu_are_refused<F: LinkFixture>(fixture: &mut F) {
    let mtu = usize::from(fixture.link().capabilities().mtu);
    // An Ethernet header, a VLAN tag, and one byte too many.
    let bytes = [our_header(fixture), vec![0; 4 + mtu + 1]].concat();
    assert!(fixture.link().stage_bytes(&bytes).is_err());
    assert_eq!(fixture.link().in_flight(), 0);
}

fn nothing_leaves_before_the_flush<F: LinkFixture>(fixture: &mut F) {
    let packet = packet(fixture, &[&[5; 100]]);
    stage(fixture, packet);
    fixture.settle();
    while let Some(Received { bytes, .. }) = fixture.peer().receive() {
        assert_ne!(bytes.get(12..14), Some(&ETHERTYPE[..]), "not flushed");
    }
    assert_eq!(fixture.link().in_flight(), 1);
    fixture.link().flush();
    assert_eq!(arrival(fixture).unwrap(), [5; 100]);
}

fn packets_arrive_in_the_order_in_which_they_were_staged<F: LinkFixture>(fixture: &mut F) {
    const COUNT: u8 = 100;
    let shared = frame_of(fixture.pool(), &[0; 64]).share();
    let header = our_header(fixture);
    let mut sent = 0;
    let mut seen = Vec::new();
    while seen.len() < usize::from(COUNT) {
        // As many as fit, then look at the other end; a single packet must always fit then.
        while sent < COUNT {
            let numbered = [&header[..], &[sent]].concat();
            let part = Part { frame: shared.clone(), start: 0, len: 63 };
            let parts = core::iter::once(part).collect();
            let mut packet = Packet { headers: headers(&numbered), parts, offload: Offload::default() };
            match fixture.link().stage(&mut packet) {
                Ok(()) => sent += 1,
                Err(Full(())) => break,
            }
        }
        fixture.link().flush();
        seen.push(arrival(fixture).expect("a packet")[0]);
        fixture.link().reclaim();
    }
    assert_eq!(seen, (0..COUNT).collect::<Vec<_>>());
}

/// Fills the link with packets that all carry one frame. Returns how many it took, and the one that it
/// refused.
fn fill<F: LinkFixture>(fixture: &mut F, part: &Part) -> (usize, Packet) {
    let header = our_header(fixture);
    for count in 0..100_000 {
        let parts = core::iter::once(part.clone()).collect();
        let mut packet = Packet { headers: headers(&header), parts, offload: Offload::default() };
        if fixture.link().stage(&mut packet).is_err() {
            return (count, packet);
        }
    }
    panic!("a queue of 100,000 packets is not bounded");
}

fn a_refused_packet_comes_back_whole<F: LinkFixture>(fixture: &mut F) {
    let part = part_of(fixture.pool(), &[7; 300]);
    let (count, refused) = fill(fixture, &part);
    assert!(count > 0, "an empty link refused its first packet");
    assert_eq!(fixture.link().in_flight(), count);
    assert_eq!(refused.bytes(), ETHERNET_BYTES + 300);
    assert_eq!(refused.parts[0].bytes(), [7; 300]);
    // One name here, one in the refused packet, one in each that was taken and not copied.
    let held = if fixture.link().capabilities().slots { 0 } else { count };
    assert_eq!(part.frame.shares() as usize, 2 + held);
    assert!(fixture.link().stage_bytes(&[0; 60]).is_err(), "full for bytes too");
}

fn a_link_that_was_full_takes_packets_again<F: LinkFixture>(fixture: &mut F) {
    let part = part_of(fixture.pool(), &[7; 300]);
    let (count, refused) = fill(fixture, &part);
    assert_eq!(drain(fixture), count);
    stage(fixture, refused);
    assert_eq!(drain(fixture), 1);
    assert_eq!(part.frame.shares(), 1);
}

fn frames_are_held_until_the_packet_has_left<F: LinkFixture>(fixture: &mut F) {
    let packet = packet(fixture, &[&[1; 10], &[2; 90]]);
    stage(fixture, packet);
    let held = if fixture.link().capabilities().slots { 0 } else { 2 };
    assert_eq!(fixture.pool().in_use().large, held);
    fixture.link().reclaim();
    assert_eq!(fixture.pool().in_use().large, held, "staged, not flushed");
}

fn frames_return_after_the_packet_has_left<F: LinkFixture>(fixture: &mut F) {
    for _ in 0..50 {
        let packet = packet(fixture, &[&[1; 10], &[2; 90]]);
        stage(fixture, packet);
        drain(fixture);
        assert_eq!(fixture.pool().in_use().large, 0);
    }
}

fn a_frame_in_two_packets_returns_after_both<F: LinkFixture>(fixture: &mut F) {
    let part = part_of(fixture.pool(), &[3; 200]);
    let header = our_header(fixture);
    let carrying = |part: &Part| Packet {
        headers: headers(&header),
        parts: core::iter::once(part.clone()).collect(),
        offload: Offload::default(),
    };
    stage(fixture, carrying(&part));
    drain(fixture);
    stage(fixture, carrying(&part));
    drop(part);
    let held = if fixture.link().capabilities().slots { 0 } else { 1 };
    assert_eq!(fixture.pool().in_use().large, held);
    drain(fixture);
    assert_eq!(fixture.pool().in_use().large, 0);
}

fn each_packet_is_reclaimed_once<F: LinkFixture>(fixture: &mut F) {
    for count in [1, 3, 7] {
        for _ in 0..count {
            let packet = packet(fixture, &[&[9; 80]]);
            stage(fixture, packet);
        }
        assert_eq!(drain(fixture), count);
        assert_eq!(fixture.link().reclaim(), 0);
    }
}

fn a_superframe_is_taken_in_one_piece<F: LinkFixture>(fixture: &mut F) {
    let capabilities = fixture.link().capabilities();
    if capabilities.superframe_bytes_max == 0 {
        return;
    }
    let payload: Vec<Vec<u8>> = (1..=3).map(|number| vec![number; 16_384]).collect();
    let total = u16::try_from(20 + 20 + payload.concat().len()).expect("a superframe");
    let mut head = ethernet(capabilities.mac, fixture.peer().capabilities().mac, [0x08, 0x00]);
    head.extend([0x45, 0]);
    head.extend(total.to_be_bytes());
    head.extend([0, 1, 0x40, 0, 64, 6]);
    head.extend([0, 0, 198, 18, 99, 1, 198, 18, 99, 2]);
    let ip_sum = !fold(&head[ETHERNET_BYTES..]);
    head[ETHERNET_BYTES + 10..ETHERNET_BYTES + 12].copy_from_slice(&ip_sum.to_be_bytes());
    let pseudo = fold(&[&head[ETHERNET_BYTES + 12..], &[0, 6], &(total - 20).to_be_bytes()].concat());
    head.extend([0x01, 0xbb, 0xc0, 0x00, 0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, 0x10, 0xff, 0xff]);
    head.extend(pseudo.to_be_bytes());
    head.extend([0, 0]);
    assert_eq!(head.len(), HEADERS_V4_BYTES);
    let offload = Offload {
        checksum: Some(ChecksumOffload { start: u16::try_from(TCP_OFFSET).expect("small"), field: 16 }),
        segmentation: Some(Segmentation { mss: 1_460, ipv6: false }),
    };
    let parts = payload.iter().map(|bytes| part_of(fixture.pool(), bytes)).collect();
    stage(fixture, Packet { headers: headers(&head), parts, offload });
    fixture.link().flush();
    for _ in 0..PATIENCE {
        while let Some(Received { bytes, verified }) = fixture.peer().receive() {
            if bytes.get(..HEADERS_V4_BYTES) == Some(&head[..]) {
                assert!(bytes[HEADERS_V4_BYTES..] == payload.concat(), "the payload was damaged");
                assert!(verified, "its checksum was left to the link");
                fixture.link().reclaim();
                assert_eq!(fixture.pool().in_use().large, 0);
                return;
            }
        }
        fixture.settle();
    }
    panic!("the superframe never arrived");
}

/// The ones' complement sum of RFC 1071.
fn fold(bytes: &[u8]) -> u16 {
    let sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    let once = (sum & 0xffff) + (sum >> 16);
    u16::try_from((once & 0xffff) + (once >> 16)).expect("folded")
}

fn send_from_peer<F: LinkFixture>(fixture: &mut F, payload: &[u8]) {
    let from = fixture.peer().capabilities().mac;
    let to = fixture.link().capabilities().mac;
    let bytes = [ethernet(from, to, ETHERTYPE), payload.to_vec()].concat();
    fixture.peer().stage_bytes(&bytes).expect("room");
    fixture.peer().flush();
    fixture.peer().reclaim();
}

fn packets_from_the_other_end_arrive<F: LinkFixture>(fixture: &mut F) {
    for number in 0..40 {
        send_from_peer(fixture, &[number; 200]);
    }
    for number in 0..40 {
        assert_eq!(receipt(fixture).unwrap(), [number; 200]);
    }
}

fn a_packet_is_lent_until_the_next_is_asked_for<F: LinkFixture>(fixture: &mut F) {
    send_from_peer(fixture, &[1; 60]);
    send_from_peer(fixture, &[2; 1_000]);
    assert_eq!(receipt(fixture).unwrap(), [1; 60]);
    assert_eq!(receipt(fixture).unwrap(), [2; 1_000]);
}

fn what_was_sent_and_received_is_counted<F: LinkFixture>(fixture: &mut F) {
    let before = fixture.link().counters();
    let packet = packet(fixture, &[&[1; 86]]);
    stage(fixture, packet);
    assert_eq!(fixture.link().counters().sent, before.sent, "not flushed");
    drain(fixture);
    send_from_peer(fixture, &[1; 186]);
    receipt(fixture).expect("a packet");
    let after = fixture.link().counters();
    let LinkCounters { received, received_bytes, sent, sent_bytes, send_errors, receive_errors } = after;
    assert_eq!((sent - before.sent, sent_bytes - before.sent_bytes), (1, 100));
    // A kernel at the other end may have said something too.
    assert!(received > before.received && received_bytes >= before.received_bytes + 200);
    assert_eq!((send_errors, receive_errors), (before.send_errors, before.receive_errors));
}

fn a_packet_that_arrived_wakes_a_sleeper<F: LinkFixture>(fixture: &mut F) {
    if fixture.link().descriptor().is_none() {
        return;
    }
    while fixture.link().receive().is_some() {}
    send_from_peer(fixture, &[1; 60]);
    let descriptor = fixture.link().descriptor().expect("it had one");
    assert!(wakes(descriptor), "asleep on a packet");
    assert_eq!(receipt(fixture).unwrap(), [1; 60]);
}

fn a_slot_takes_a_superframe_or_the_mtu<F: LinkFixture>(fixture: &mut F) {
    let capabilities = fixture.link().capabilities();
    if !capabilities.slots {
        return;
    }
    let room = fixture.link().slot().expect("an empty link has a slot").len();
    assert!(room >= capabilities.superframe_bytes_max as usize, "{room} bytes");
    assert!(room >= usize::from(capabilities.mtu), "{room} bytes");
    assert_eq!(fixture.link().in_flight(), 0, "given, not staged");
}

fn what_is_written_to_a_slot_arrives_behind_its_headers<F: LinkFixture>(fixture: &mut F) {
    if !fixture.link().capabilities().slots {
        return;
    }
    let header = our_header(fixture);
    // More than there can be slots: each is used again, after other packets and before them.
    for number in 0..200_u8 {
        let len = 46 + usize::from(number) * 7;
        let room = fixture.link().slot().expect("a slot");
        room[..len].fill(number);
        room[len] = !number;
        fixture.link().stage_slot(&headers(&header), len, Offload::default());
        if number % 3 == 0 {
            let packet = packet(fixture, &[&[1; 50]]);
            stage(fixture, packet);
        }
        assert_eq!(fixture.link().in_flight(), if number % 3 == 0 { 2 } else { 1 });
        fixture.link().flush();
        assert_eq!(arrival(fixture).unwrap(), vec![number; len]);
        if number % 3 == 0 {
            assert_eq!(arrival(fixture).unwrap(), [1; 50]);
        }
        drain(fixture);
    }
}

fn a_slot_asked_for_again_is_as_it_was_left<F: LinkFixture>(fixture: &mut F) {
    if !fixture.link().capabilities().slots {
        return;
    }
    let header = our_header(fixture);
    fixture.link().slot().expect("a slot")[..60].fill(1);
    fixture.link().slot().expect("the same slot")[60..120].fill(2);
    fixture.link().flush();
    assert_eq!(fixture.link().reclaim(), 0, "nothing was staged");
    fixture.link().stage_slot(&headers(&header), 120, Offload::default());
    fixture.link().flush();
    assert_eq!(arrival(fixture).unwrap(), [[1; 60], [2; 60]].concat());
}

fn a_link_without_room_gives_no_slot<F: LinkFixture>(fixture: &mut F) {
    if !fixture.link().capabilities().slots {
        return;
    }
    let header = our_header(fixture);
    let mut count = 0;
    while let Some(room) = fixture.link().slot() {
        room[..80].fill(3);
        fixture.link().stage_slot(&headers(&header), 80, Offload::default());
        count += 1;
        assert!(count < 100_000, "a queue of 100,000 packets is not bounded");
    }
    assert_eq!(fixture.link().in_flight(), count);
    assert!(fixture.link().stage_bytes(&[0; 60]).is_err(), "full for bytes too");
    assert_eq!(drain(fixture), count);
    assert!(fixture.link().slot().is_some(), "there is room again");
}

fn room_for_a_short_packet_is_as_long_as_the_mtu_or_a_usual_frame<F: LinkFixture>(fixture: &mut F) {
    let longest = ETHERNET_BYTES + usize::from(fixture.link().capabilities().mtu);
    let room = fixture.link().room().expect("an empty link has room").len();
    assert!(room >= longest.min(ROOM_BYTES), "{room} bytes");
    assert_eq!(fixture.link().in_flight(), 0, "given, not staged");
}

fn what_is_written_to_room_arrives<F: LinkFixture>(fixture: &mut F) {
    let header = our_header(fixture);
    // Between packets staged otherwise, and into memory that was used for others before.
    for number in 0..200_u8 {
        let payload = vec![number; 46 + usize::from(number) * 7];
        let whole = [&header[..], &payload].concat();
        fixture.link().room().expect("room")[..whole.len()].copy_from_slice(&whole);
        fixture.link().stage_room(whole.len(), Offload::default());
        if number % 3 == 0 {
            let packet = packet(fixture, &[&[1; 50]]);
            stage(fixture, packet);
        }
        assert_eq!(fixture.link().in_flight(), if number % 3 == 0 { 2 } else { 1 });
        fixture.link().flush();
        assert_eq!(arrival(fixture).unwrap(), payload);
        if number % 3 == 0 {
            assert_eq!(arrival(fixture).unwrap(), [1; 50]);
        }
        drain(fixture);
    }
}

fn room_asked_for_again_is_as_it_was_left<F: LinkFixture>(fixture: &mut F) {
    let header = our_header(fixture);
    fixture.link().room().expect("room")[..ETHERNET_BYTES].copy_from_slice(&header);
    fixture.link().room().expect("the same room")[ETHERNET_BYTES..][..60].fill(1);
    fixture.link().flush();
    assert_eq!(fixture.link().reclaim(), 0, "nothing was staged");
    fixture.link().room().expect("the same room")[ETHERNET_BYTES + 60..][..60].fill(2);
    fixture.link().stage_room(ETHERNET_BYTES + 120, Offload::default());
    fixture.link().flush();
    assert_eq!(arrival(fixture).unwrap(), [[1; 60], [2; 60]].concat());
}

fn a_full_link_gives_no_room<F: LinkFixture>(fixture: &mut F) {
    let header = our_header(fixture);
    let mut count = 0;
    while let Some(room) = fixture.link().room() {
        room[..ETHERNET_BYTES].copy_from_slice(&header);
        fixture.link().stage_room(ETHERNET_BYTES + 60, Offload::default());
        count += 1;
        assert!(count < 100_000, "a queue of 100,000 packets is not bounded");
    }
    assert_eq!(fixture.link().in_flight(), count);
    assert!(fixture.link().stage_bytes(&[0; 60]).is_err(), "full for bytes too");
    assert_eq!(drain(fixture), count);
    assert!(fixture.link().room().is_some(), "there is room again");
}

/// An acknowledgment whose checksum is the pseudo header's sum.
fn unfinished_segment<F: LinkFixture>(fixture: &mut F) -> (Vec<u8>, Offload) {
    let (ours, theirs) = (fixture.link().capabilities().mac, fixture.peer().capabilities().mac);
    let mut packet = ethernet(ours, theirs, [0x08, 0x00]);
    packet.extend([0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0, 198, 18, 99, 1, 198, 18, 99, 2]);
    let ip_sum = !fold(&packet[ETHERNET_BYTES..]);
    packet[ETHERNET_BYTES + 10..ETHERNET_BYTES + 12].copy_from_slice(&ip_sum.to_be_bytes());
    let pseudo = fold(&[&packet[ETHERNET_BYTES + 12..], &[0, 6, 0, 20]].concat());
    packet.extend([0x01, 0xbb, 0xc0, 0x00, 0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, 0x10, 0xff, 0xff]);
    packet.extend(pseudo.to_be_bytes());
    packet.extend([0, 0]);
    let start = u16::try_from(TCP_OFFSET).expect("small");
    (packet, Offload { checksum: Some(ChecksumOffload { start, field: 16 }), segmentation: None })
}

fn a_checksum_is_left_to_a_link_that_sums_in_room_too<F: LinkFixture>(fixture: &mut F) {
    if !fixture.link().capabilities().checksum {
        return;
    }
    let (packet, offload) = unfinished_segment(fixture);
    fixture.link().room().expect("room")[..packet.len()].copy_from_slice(&packet);
    fixture.link().stage_room(packet.len(), offload);
    fixture.link().flush();
    for _ in 0..PATIENCE {
        while let Some(Received { bytes, verified }) = fixture.peer().receive() {
            if bytes.get(..TCP_OFFSET) == Some(&packet[..TCP_OFFSET]) {
                let summed = fold(&[&bytes[ETHERNET_BYTES + 12..TCP_OFFSET + 20], &[0, 6, 0, 20]].concat());
                assert!(verified || summed == 0xffff, "neither vouched for nor finished");
                return;
            }
        }
        fixture.settle();
    }
    panic!("the segment never arrived");
}

fn a_link_without_slots_gives_none<F: LinkFixture>(fixture: &mut F) {
    if !fixture.link().capabilities().slots {
        assert!(fixture.link().slot().is_none());
    }
}
