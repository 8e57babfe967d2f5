use super::*;
use crate::catalogue::Catalogue;
use crate::desk::Snapshot;
use crate::hash::{Form, Key};
use crate::respond::Settings;
use crate::{load, zone};
use core::time::Duration;
use link_memory::{MemoryLink, MemoryLinkConfig};
use std::sync::Arc;
use wire::checksum::{Sum, checksum};

const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
const US6: core::net::Ipv6Addr = core::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

const ZONE: &str = "$TTL 60\n@ SOA ns host 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.7\n\
    www RRSIG A 8 2 60 20380101000000 20200101000000 1 test. AAAA\nmail MX 1 ns\nalias CNAME www\n\
    cut NS ns.cut\nns.cut A 192.0.2.2\n*.wild TXT any\n";

fn catalogue(text: &str, form: Form) -> Arc<Catalogue> {
    let apex = b"\x04test\0";
    let key = Key::new([7; 16]);
    let loaded = load::read_text("zone".as_ref(), text.as_bytes(), apex).unwrap();
    let zone = zone::build(apex, loaded, key, form).unwrap().zone;
    Arc::new(Catalogue::new(key, form, vec![Arc::new(zone)]))
}

fn world() -> (Front<MemoryLink>, MemoryLink, Rc<RefCell<Desk>>) {
    world_of(catalogue(ZONE, Form::Wire), Settings::default())
}

fn world_of(
    catalogue: Arc<Catalogue>,
    settings: Settings,
) -> (Front<MemoryLink>, MemoryLink, Rc<RefCell<Desk>>) {
    let serving = Serving {
        addresses: vec![[192, 0, 2, 1].into(), US6.into()],
        port: 53,
        settings,
        idle: Duration::from_secs(10),
    };
    let desk = Desk::new(&Snapshot { catalogue, serving: Arc::new(serving.clone()) });
    let desk = Rc::new(RefCell::new(desk));
    let config = MemoryLinkConfig { macs: MACS, ..MemoryLinkConfig::default() };
    let (server, client) = link_memory::pair(1_024, config);
    (Front::new(server, &serving, Rc::clone(&desk)), client, desk)
}

/// A datagram to port 53 or another, with the question for www.test.
fn frame(port: u16) -> Vec<u8> {
    frame_of(port, &question("www.test", 1, None, 7))
}

/// A question, with EDNS and DO perhaps.
fn question(name: &str, qtype: u16, edns: Option<bool>, id: u16) -> Vec<u8> {
    let arcount = u16::from(edns.is_some());
    let header = dns::Header { id, qdcount: 1, arcount, ..dns::Header::default() };
    let mut message = header.emit().to_vec();
    message.extend(dns::name::from_text(name.as_bytes()).unwrap());
    message.extend(qtype.to_be_bytes());
    message.extend([0, 1]);
    message.extend(edns.iter().flat_map(|dnssec| dns::edns::emit_opt(1_232, 0, *dnssec, 0)));
    message
}

/// The same over IPv6.
fn frame_v6(message: &[u8]) -> Vec<u8> {
    let them = core::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
    let datagram = u16::try_from(8 + message.len()).unwrap();
    let mut frame = [&MACS[0][..], &MACS[1][..], &[0x86, 0xdd, 0x60, 0, 0, 0]].concat();
    frame.extend(datagram.to_be_bytes());
    frame.extend([17, 64]);
    frame.extend(them.octets());
    frame.extend(US6.octets());
    let udp = frame.len();
    for field in [4_000, 53, datagram, 0] {
        frame.extend(field.to_be_bytes());
    }
    frame.extend(message);
    let sum = Sum::pseudo_v6(them, US6, wire::Protocol::UDP, datagram.into()).then(&frame[udp..]).finish();
    frame[udp + 6..udp + 8].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn frame_of(port: u16, message: &[u8]) -> Vec<u8> {
    let datagram = u16::try_from(8 + message.len()).unwrap();
    let mut frame = [&MACS[0][..], &MACS[1][..], &[8, 0, 0x45, 0]].concat();
    frame.extend((20 + datagram).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 9, 192, 0, 2, 1]);
    let ip = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&ip.to_be_bytes());
    let udp = frame.len();
    for field in [4_000, port, datagram, 0] {
        frame.extend(field.to_be_bytes());
    }
    frame.extend(message);
    let pseudo = Sum::pseudo_v4(
        [192, 0, 2, 9].into(),
        [192, 0, 2, 1].into(),
        wire::Protocol::UDP,
        u32::from(datagram),
    );
    let sum = pseudo.then(&frame[udp..]).finish();
    frame[udp + 6..udp + 8].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn arp() -> Vec<u8> {
    [&[0xff; 6][..], &MACS[1], &[8, 6], &[0; 46]].concat()
}

#[test]
fn questions_are_answered_and_everything_else_passes_unchanged_and_in_order() {
    let (mut front, mut client, desk) = world();
    let other_port = frame(54);
    for sent in [&frame(53), &arp(), &frame(53), &other_port] {
        client.stage_bytes(sent).unwrap();
    }
    client.flush();
    assert_eq!(front.receive().unwrap().bytes, arp());
    assert_eq!(front.receive().unwrap().bytes, other_port);
    assert!(front.receive().is_none());
    let mut answers = 0;
    while let Some(answer) = client.receive_packet() {
        assert!(answer.headers().ends_with(&[192, 0, 2, 7]));
        answers += 1;
    }
    assert_eq!((answers, front.taken), (2, 2));
    assert_eq!(desk.borrow().counters().udp, 2);
}

/// What is answered to these frames, all of them in one batch.
fn answers(front: &mut Front<MemoryLink>, client: &mut MemoryLink, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    for frame in frames {
        client.stage_bytes(frame).unwrap();
    }
    client.flush();
    assert!(front.receive().is_none());
    let mut answers = Vec::new();
    while let Some(answer) = client.receive() {
        answers.push(answer.bytes.to_vec());
    }
    client.reclaim();
    answers
}

#[test]
fn ready_packets_say_what_copied_ones_say() {
    let rate = crate::rrl::Rate { per_second: 40, burst_seconds: 1, ..crate::rrl::Rate::default() };
    for form in [Form::Wire, Form::Name] {
        for rate in [None, Some(rate)] {
            let pool = dma::Pool::new(dma::PoolLayout { large_count: 1, small_count: 80 }).unwrap();
            let settings = Settings { replicas: 64, rate, ..Settings::default() };
            let (mut copying, mut copied, counted) = world_of(catalogue(ZONE, form), settings.clone());
            let (mut replicating, mut ready, desk) = world_of(catalogue(ZONE, form), settings);
            desk.borrow_mut().replicate(&pool);
            let mut frames = Vec::new();
            for (id, name) in (0_u16..).zip([
                "www.test",
                "WWW.Test",
                "test",
                "mail.test",
                "alias.test",
                "no.test",
                "a.cut.test",
                "b.wild.test",
            ]) {
                for qtype in [1, 2, 6, 15, 16, 255] {
                    for edns in [None, Some(false), Some(true)] {
                        let message = question(name, qtype, edns, id << 8 | qtype);
                        frames.extend([frame_of(53, &message), frame_v6(&message)]);
                    }
                }
            }
            for round in 0..4 {
                // In the third round another zone is in force.
                if round == 2 {
                    let other = catalogue(&ZONE.replace("192.0.2.7", "192.0.2.77"), form);
                    counted.borrow_mut().renew(Arc::clone(&other));
                    desk.borrow_mut().renew(other);
                }
                for frames in frames.chunks(100) {
                    let expected = answers(&mut copying, &mut copied, frames);
                    assert_eq!(answers(&mut replicating, &mut ready, frames), expected);
                }
                // One answer, more often than there are replicas of it.
                let many: Vec<_> =
                    (0..200).map(|id| frame_of(53, &question("wWw.test", 1, Some(true), id))).collect();
                let expected = answers(&mut copying, &mut copied, &many);
                assert_eq!(answers(&mut replicating, &mut ready, &many), expected);
            }
            assert_eq!(desk.borrow().counters().responses, counted.borrow().counters().responses);
            let in_use = pool.in_use();
            assert!(in_use.small_max > 16 && in_use.small_max <= 64, "{in_use:?}");
            desk.borrow_mut().renew(catalogue(ZONE, form));
            assert_eq!(pool.in_use().small, 0);
        }
    }
}

#[test]
fn a_flood_leaves_the_engine_its_turn() {
    let (mut front, mut client, _) = world();
    for _ in 0..BATCH + 1 {
        client.stage_bytes(&frame(53)).unwrap();
    }
    client.stage_bytes(&arp()).unwrap();
    client.flush();
    assert!(front.receive().is_none(), "a batch is over");
    assert_eq!(front.taken, BATCH as u64);
    assert_eq!(front.receive().unwrap().bytes, arp());
}

#[test]
fn answers_for_which_the_link_has_no_room_are_counted() {
    let (mut front, mut client, desk) = world();
    // Nobody takes the answers: the queue towards the client fills.
    let mut asked = 0;
    while desk.borrow().counters().unsent == 0 {
        assert!(asked < 100_000, "the queue never fills");
        if client.stage_bytes(&frame(53)).is_ok() {
            asked += 1;
        }
        client.flush();
        client.reclaim();
        assert!(front.receive().is_none());
    }
    assert_eq!(desk.borrow().counters().udp, asked);
}
