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

fn world() -> (Front<MemoryLink>, MemoryLink, Rc<RefCell<Desk>>) {
    let apex = b"\x04test\0";
    let text = b"$TTL 60\n@ SOA ns host 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.7\n";
    let key = Key::new([7; 16]);
    let loaded = load::read_text("zone".as_ref(), text, apex).unwrap();
    let zone = zone::build(apex, loaded, key, Form::Wire).unwrap().zone;
    let catalogue = Arc::new(Catalogue::new(key, Form::Wire, vec![Arc::new(zone)]));
    let serving = Serving {
        addresses: vec![[192, 0, 2, 1].into()],
        port: 53,
        settings: Settings::default(),
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
    let header = dns::Header { id: 7, qdcount: 1, ..dns::Header::default() };
    let mut message = header.emit().to_vec();
    message.extend(b"\x03www\x04test\0\0\x01\0\x01");
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
