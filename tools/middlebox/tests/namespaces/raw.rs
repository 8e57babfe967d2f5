//! What frames look like at the far end, byte by byte: tags, and superframes of any length.

use core::net::IpAddr;
use core::time::Duration;
use std::time::Instant;
use vnet::{HEADER_BYTES, RawQueue, VlanTag};

use super::world::{World, pattern, transfer};

const MSS: usize = 1_448;
const CUSTOMER: [u8; 4] = [0x81, 0x00, 0x20, 0x07];
const PROVIDER: [u8; 4] = [0x88, 0xa8, 0x00, 0x08];
/// Of the test's own: nobody is at home there, so that nobody answers.
const NOBODY: [u8; 6] = [2, 0xee, 0, 0, 0, 9];
const PATIENCE: Duration = Duration::from_secs(5);

/// A frame of the client's behind its virtio-net header: one segment, or a superframe.
fn frame(tags: &[[u8; 4]], payload: usize) -> Vec<u8> {
    let tags = tags.concat();
    let ip = 14 + tags.len();
    let mut frame = [&NOBODY[..], &[2, 0xee, 0, 0, 0, 1], &tags, &[0x08, 0x00]].concat();
    // More than its length field can say: BIG TCP says nothing.
    let length = u16::try_from(40 + payload).unwrap_or(0).to_be_bytes();
    frame.extend([0x45, 0, length[0], length[1], 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 9, 0, 1, 10, 9, 0, 2]);
    frame.extend([0x9c, 0x40, 0x1b, 0x58, 0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, 0x10, 1, 0, 0, 0, 0, 0]);
    frame.extend(pattern(payload));
    let mut header = [0; HEADER_BYTES];
    if payload > MSS {
        let [hdr_len, csum_start] = [ip + 40, ip + 20].map(|at| u8::try_from(at).unwrap());
        header = [1, 1, hdr_len, 0, 0xa8, 5, csum_start, 0, 16, 0];
    }
    [&header[..], &frame].concat()
}

/// Waits for the next frame to [`NOBODY`].
fn receive(queue: &mut RawQueue) -> Vec<u8> {
    let began = Instant::now();
    let mut room = vec![0; 1 << 20];
    while began.elapsed() < PATIENCE {
        let space = core::iter::once([&mut room[VlanTag::BYTES..], &mut []]);
        let Some(arrival) = queue.receive(space).unwrap().pop() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        assert!(!arrival.truncated);
        let (mut start, mut end) = (VlanTag::BYTES, VlanTag::BYTES + arrival.len);
        if let Some(tag) = arrival.tag {
            tag.insert(&mut room);
            (start, end) = (0, end);
        }
        let frame = &room[start..end];
        if frame[HEADER_BYTES..].starts_with(&NOBODY) {
            return frame.to_vec();
        }
    }
    panic!("nothing arrived within {PATIENCE:?}");
}

#[test]
#[ignore = "needs root"]
fn frames_of_any_length_and_with_any_tags_arrive_as_they_were_sent() {
    let world = World::new();
    let middlebox = world.middlebox(&["--delay", "2ms"]);
    let [mut client, mut server] =
        [("client", "c0"), ("server", "s0")].map(|(who, device)| world.socket(who, device));
    for tags in [&[][..], &[CUSTOMER], &[PROVIDER, CUSTOMER]] {
        for payload in [100, MSS, 50_000, 65_000] {
            let frame = frame(tags, payload);
            let sent = client.send(core::iter::once(&frame[..]));
            assert_eq!((sent.done, sent.refused), (1, 0), "{} tags, {payload} bytes: {sent:?}", tags.len());
            let arrived = receive(&mut server);
            assert_eq!(arrived.len(), frame.len(), "{} tags, {payload} bytes", tags.len());
            assert!(arrived[HEADER_BYTES..] == frame[HEADER_BYTES..], "{} tags, {payload} bytes", tags.len());
            if payload > MSS {
                assert_eq!(arrived[..HEADER_BYTES], frame[..HEADER_BYTES]);
            }
        }
    }
    let totals = middlebox.interrupt();
    assert_eq!((totals.row("malformed"), totals.row("refused by device")), ([0, 0], [0, 0]));
}

#[test]
#[ignore = "needs root"]
fn superframes_of_any_length_and_with_any_tags_are_cut_where_packets_may_be_lost() {
    let world = World::new();
    let middlebox = world.middlebox(&["--delay", "2ms", "--police", "100gbit:10MB"]);
    let [mut client, mut server] =
        [("client", "c0"), ("server", "s0")].map(|(who, device)| world.socket(who, device));
    for tags in [&[][..], &[CUSTOMER], &[PROVIDER, CUSTOMER]] {
        let headers = HEADER_BYTES + 54 + 4 * tags.len();
        for segments in [2, 45] {
            let frame = frame(tags, segments * MSS);
            assert_eq!(client.send(core::iter::once(&frame[..])).refused, 0);
            for payload in frame[headers..].chunks(MSS) {
                let arrived = receive(&mut server);
                assert_eq!(arrived[HEADER_BYTES..][12..][..4 * tags.len()], tags.concat());
                assert!(arrived[headers..] == *payload);
            }
        }
    }
    assert_eq!(middlebox.interrupt().row("superframes cut"), [6, 0]);
}

#[test]
#[ignore = "needs root"]
fn the_kernels_own_superframes_of_more_than_64_kib_arrive_in_shorter_ones_or_in_packets() {
    for (faults, is_whole) in
        [(&["--delay", "1ms"][..], true), (&["--delay", "1ms", "--police", "100gbit:10MB"], false)]
    {
        let world = World::new();
        let sizes = ["gso_max_size", "185000", "gro_max_size", "185000"];
        for (who, device, address) in [("client", "c0", "fd09::1/64"), ("server", "s0", "fd09::2/64")] {
            world.ip(who, &[&["link", "set", device][..], &sizes].concat());
            world.ip(who, &["address", "add", address, "dev", device, "nodad"]);
        }
        let middlebox = world.middlebox(faults);
        let server: IpAddr = "fd09::2".parse().expect("an address");
        let (client, server) = world.pair(&world.listen_at(server));
        transfer(server, client, &pattern(64 << 20));
        let totals = middlebox.interrupt();
        assert_eq!((totals.row("malformed"), totals.row("refused by device")), ([0, 0], [0, 0]));
        let [[_, received], [_, bytes], [_, cut], [_, forwarded]] =
            ["frames received", "bytes received", "superframes cut", "forwarded"].map(|row| totals.row(row));
        // Nothing was sent twice, handshakes and short windows at the beginning included.
        assert!(bytes < 70 << 20 && bytes / received > 66_000 && cut > 300, "{totals:?}");
        assert!(if is_whole { forwarded < 4 * received } else { forwarded > 40 * received }, "{totals:?}");
    }
}

#[test]
#[ignore = "needs the machine's root"]
fn frames_pass_through_af_xdp_with_their_tags_and_their_delay() {
    let world = World::new();
    let middlebox = world.middlebox_between("xdp:m0", "xdp:m1", &["--delay", "30ms"]);
    let [mut client, mut server] =
        [("client", "c0"), ("server", "s0")].map(|(who, device)| world.socket(who, device));
    for tags in [&[][..], &[CUSTOMER], &[PROVIDER, CUSTOMER]] {
        for payload in [100, MSS] {
            let frame = frame(tags, payload);
            let began = Instant::now();
            client.send(core::iter::once(&frame[..]));
            assert!(receive(&mut server) == frame, "{} tags, {payload} bytes", tags.len());
            assert!(began.elapsed() >= Duration::from_millis(30));
            // Back again at once.
            server.send(core::iter::once(&frame[..]));
            assert!(receive(&mut client) == frame);
        }
    }
    let ping = world.command("client", "ping").args(["-c", "3", "-i", "0.1", "10.9.0.2"]).output().unwrap();
    let text = String::from_utf8_lossy(&ping.stdout);
    assert!(text.contains(" 0% packet loss") && text.contains("time=3"), "{text}");
    middlebox.interrupt();
    // Nothing of ours is left on the interface.
    let link = world.command("middle", "ip").args(["-details", "link", "show", "m0"]).output().unwrap();
    let text = String::from_utf8_lossy(&link.stdout);
    assert!(!text.contains("xdp") && text.contains("promiscuity 0"), "{text}");
}

#[test]
#[ignore = "needs the machine's root"]
fn what_a_packet_socket_left_to_the_device_is_finished_before_af_xdp() {
    let world = World::new();
    // TCP's checksums, and superframes, on the side of the packet socket: the kernel at the other end sees packets.
    let middlebox = world.middlebox_between("m0", "xdp:m1", &["--delay", "1ms"]);
    let mut server = world.socket("server", "s0");
    let mut client = world.socket("client", "c0");
    let frame = frame(&[], 40 * MSS);
    client.send(core::iter::once(&frame[..]));
    for payload in frame[HEADER_BYTES + 54..].chunks(MSS) {
        let arrived = receive(&mut server);
        assert_eq!(arrived[..HEADER_BYTES], [0; HEADER_BYTES]);
        assert!(arrived[HEADER_BYTES + 54..] == *payload);
    }
    assert_eq!(middlebox.interrupt().row("refused by device"), [0, 0]);
}

#[test]
#[ignore = "needs the machine's root"]
fn af_xdp_needs_a_queue_for_each_worker_and_says_so() {
    let world = World::new();
    let arguments = ["--client", "xdp:m0", "--server", "m1", "--workers", "200"];
    let output =
        world.command("middle", env!("CARGO_BIN_EXE_middlebox")).args(arguments).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("middlebox: m0 has ") && said.lines().count() == 1, "{said}");
}

#[test]
#[ignore = "needs the machine's root"]
fn af_xdp_misses_no_queue_with_one_worker_for_all_or_one_for_each() {
    for workers in ["1", "2"] {
        let world = World::new();
        let middlebox =
            world.middlebox_between("xdp:m0", "xdp:m1", &["--delay", "5ms", "--workers", workers]);
        let [mut client, mut server] =
            [("client", "c0"), ("server", "s0")].map(|(who, device)| world.socket(who, device));
        let mut ports: Vec<u8> = (0..32).collect();
        for port in &ports {
            let mut frame = frame(&[], 100);
            frame[HEADER_BYTES + 35] = *port;
            assert_eq!(client.send(core::iter::once(&frame[..])).done, 1);
        }
        while !ports.is_empty() {
            let arrived = receive(&mut server)[HEADER_BYTES + 35];
            ports.retain(|port| *port != arrived);
        }
        assert_eq!(middlebox.interrupt().row("malformed"), [0, 0]);
    }
}

#[test]
#[ignore = "needs the machine's root"]
fn a_device_of_af_xdp_that_goes_down_or_away_ends_the_program_by_its_name() {
    for end in [&["link", "set", "m1", "down"][..], &["link", "delete", "m1"]] {
        let world = World::new();
        let middlebox = world.middlebox_between("xdp:m0", "xdp:m1", &[]);
        world.ip("middle", end);
        let (status, said) = middlebox.end();
        assert_eq!(status, Some(1), "{said}");
        assert!(said.starts_with("middlebox: m1 delivers no more packets"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
