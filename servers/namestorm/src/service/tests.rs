use super::*;
use crate::catalogue::Catalogue;
use crate::desk::Serving;
use crate::hash::{Form, Key};
use crate::respond::Settings;
use crate::{load, zone};
use clock::Instant;
use turn::Action;

const IDLE: Duration = Duration::from_secs(10);

fn snapshot(address: &str) -> Snapshot {
    let mut text = format!("$TTL 60\n@ SOA ns host 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\nwww A {address}\n");
    for index in 0..280 {
        text.push_str(&format!("large TXT \"{index:0>200}\"\n"));
    }
    let apex = b"\x04test\0";
    let loaded = load::read_text("zone".as_ref(), text.as_bytes(), apex).unwrap();
    let key = Key::new([7; 16]);
    let zone = zone::build(apex, loaded, key, Form::Wire).unwrap().zone;
    let catalogue = Arc::new(Catalogue::new(key, Form::Wire, vec![Arc::new(zone)]));
    let serving = Serving {
        addresses: vec![[192, 0, 2, 1].into()],
        port: 53,
        settings: Settings::default(),
        idle: IDLE,
    };
    Snapshot { catalogue, serving: Arc::new(serving) }
}

fn now(seconds: u64) -> Now {
    Now { instant: Instant::EPOCH + Duration::from_secs(seconds), unix: Duration::from_secs(seconds) }
}

/// A question as it goes into a stream.
fn question(id: u16, name: &str, rtype: dns::Rtype) -> Vec<u8> {
    let header = Header { id, qdcount: 1, ..Header::default() };
    let mut message = header.emit().to_vec();
    message.extend(dns::name::from_text(name.as_bytes()).unwrap());
    message.extend(rtype.0.to_be_bytes());
    message.extend([0, 1]);
    [&u16::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat()
}

struct Stream {
    service: StreamService,
    session: Session,
    actions: Actions,
}

impl Stream {
    fn open() -> Self {
        let mut service = StreamService::new(snapshot("192.0.2.7"));
        let peer = Peer {
            remote: ([192, 0, 2, 9], 4_000).into(),
            local: ([192, 0, 2, 1], 53).into(),
            secure: false,
            server_name: None,
        };
        let mut actions = Actions::new();
        let session = service.on_connect(now(0), &peer, &mut actions);
        assert_eq!(actions.take(), [Action::Deadline(now(10).instant)]);
        Self { service, session, actions }
    }

    fn offer(&mut self, seconds: u64, bytes: &[u8]) -> (usize, Vec<Action>) {
        let taken = self.service.on_bytes(now(seconds), &mut self.session, bytes, &mut self.actions);
        (taken, self.actions.take())
    }
}

/// The answers in what was sent.
fn answers(actions: &[Action]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for action in actions {
        let Action::Send(bytes) = action else { continue };
        let mut rest = &bytes[..];
        while let Some((length, behind)) = rest.split_first_chunk::<2>() {
            let (message, behind) = behind.split_at(u16::from_be_bytes(*length).into());
            found.push(message.to_vec());
            rest = behind;
        }
    }
    found
}

fn ids(actions: &[Action]) -> Vec<u16> {
    answers(actions).iter().map(|message| u16::from_be_bytes([message[0], message[1]])).collect()
}

#[test]
fn a_question_in_pieces_is_answered_when_it_is_whole() {
    let mut stream = Stream::open();
    let bytes = question(7, "www.test", dns::Rtype::A);
    for end in 0..bytes.len() {
        assert_eq!(stream.offer(1, &bytes[..end]), (0, Vec::new()), "{end} bytes");
    }
    let (taken, actions) = stream.offer(2, &bytes);
    assert_eq!((taken, ids(&actions)), (bytes.len(), vec![7]));
    assert!(answers(&actions)[0].ends_with(&[192, 0, 2, 7]));
    assert_eq!(
        actions[0],
        Action::Deadline(now(12).instant),
        "bytes that trickle in prolong nothing, answers do"
    );
}

#[test]
fn questions_that_were_not_waited_for_are_answered_in_their_order() {
    let mut stream = Stream::open();
    let bytes: Vec<u8> = (1..=20).flat_map(|id| question(id, "www.test", dns::Rtype::A)).collect();
    let (taken, actions) = stream.offer(1, &bytes[..bytes.len() - 1]);
    assert_eq!(ids(&actions), (1..20).collect::<Vec<u16>>());
    assert_eq!(taken, bytes.len() / 20 * 19);
}

#[test]
fn a_large_answer_is_whole_and_many_wait_their_turn() {
    let mut stream = Stream::open();
    let bytes: Vec<u8> = (1..=5).flat_map(|id| question(id, "large.test", dns::Rtype::TXT)).collect();
    let (taken, first) = stream.offer(1, &bytes);
    let one = &answers(&first)[0];
    assert!(one.len() > 55_000 && one[2] & 2 == 0, "{} bytes", one.len());
    stream.service.on_sent(now(2), &mut stream.session, &mut stream.actions);
    stream.actions.take();
    let (_, second) = stream.offer(2, &bytes[taken..]);
    assert_eq!(ids(&first), [1, 2, 3], "the third passes 128 KiB");
    assert_eq!(ids(&second), [4, 5]);
}

#[test]
fn what_is_no_question_ends_the_stream_after_the_answers_before_it() {
    let long = [&[0x20, 0, 1, 2, 0x80][..], &[0; 9]].concat();
    let short = [0, 3, 1, 2, 3].to_vec();
    let mut response = question(9, "www.test", dns::Rtype::A);
    response[4] |= 0x80;
    for nonsense in [long, short, response] {
        let mut stream = Stream::open();
        let bytes = [question(1, "www.test", dns::Rtype::A), nonsense].concat();
        let (_, actions) = stream.offer(1, &bytes);
        assert_eq!(ids(&actions), [1]);
        assert_eq!(actions.last(), Some(&Action::Finish));
        assert_eq!(stream.service.counters().streams_refused, 1);
    }
}

#[test]
fn a_silent_stream_ends_in_order_and_one_that_takes_no_answers_at_once() {
    let mut stream = Stream::open();
    stream.service.on_deadline(now(10), &mut stream.session, &mut stream.actions);
    assert_eq!(stream.actions.take(), [Action::Finish]);

    let mut stream = Stream::open();
    stream.offer(1, &question(1, "www.test", dns::Rtype::A));
    stream.service.on_deadline(now(11), &mut stream.session, &mut stream.actions);
    assert_eq!(stream.actions.take(), [Action::Abort]);
}

#[test]
fn a_drain_lets_what_is_being_sent_be_sent() {
    let mut stream = Stream::open();
    stream.offer(1, &question(1, "www.test", dns::Rtype::A));
    stream.service.on_drain(now(1), &mut stream.session, &mut stream.actions);
    assert_eq!(stream.actions.take(), []);
    stream.service.on_sent(now(1), &mut stream.session, &mut stream.actions);
    assert_eq!(stream.actions.take(), [Action::Finish]);
}

#[test]
fn new_zones_are_answered_from_at_once() {
    let mut stream = Stream::open();
    let other = snapshot("192.0.2.99");
    stream.service.on_snapshot(now(1), other);
    let (_, actions) = stream.offer(1, &question(1, "www.test", dns::Rtype::A));
    assert!(answers(&actions)[0].ends_with(&[192, 0, 2, 99]));
}

mod transfers {
    use super::*;
    use crate::transfer::policy::{Policy, Rules};
    use std::collections::BTreeMap;

    /// A zone of about 400 KiB, for everybody.
    fn open_to_all() -> Stream {
        let mut text = "$TTL 60\n@ SOA ns host 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\n".to_owned();
        for index in 0..3_000 {
            text.push_str(&format!("n{index} TXT \"{index:0>100}\"\n"));
        }
        let apex = b"\x04test\0";
        let loaded = load::read_text("zone".as_ref(), text.as_bytes(), apex).unwrap();
        let key = Key::new([7; 16]);
        let zone = zone::build(apex, loaded, key, Form::Wire).unwrap().zone;
        let rules = Rules { transfer: vec!["0.0.0.0/0".parse().unwrap()], primaries: Vec::new() };
        let policy = Policy::new(Vec::new(), BTreeMap::from([(apex[..].into(), rules)]));
        let catalogue = Catalogue::new(key, Form::Wire, vec![Arc::new(zone)]).governed(Arc::new(policy));
        let mut stream = Stream::open();
        let serving = Arc::clone(&stream.service.snapshot().serving);
        stream.service.on_snapshot(now(0), Snapshot { catalogue: Arc::new(catalogue), serving });
        stream
    }

    #[test]
    fn a_zone_leaves_a_little_at_a_time_and_what_was_asked_behind_it_waits() {
        let mut stream = open_to_all();
        let asked = [question(7, "test", dns::Rtype::AXFR), question(8, "ns.test", dns::Rtype::A)].concat();
        let (taken, mut actions) = stream.offer(1, &asked);
        assert!(taken < asked.len());
        // A reload meanwhile is for whoever asks next.
        stream.service.on_snapshot(now(1), snapshot("192.0.2.7"));
        let mut messages = Vec::new();
        for second in 2.. {
            let some = answers(&actions);
            if some.is_empty() {
                break;
            }
            assert!(some.iter().map(Vec::len).sum::<usize>() < TRANSFER_BYTES + (17 << 10));
            messages.extend(some);
            stream.service.on_sent(now(second), &mut stream.session, &mut stream.actions);
            actions = stream.actions.take();
        }
        let records: usize =
            messages.iter().map(|message| usize::from(Header::parse(message).unwrap().ancount)).sum();
        assert_eq!(records, 3_000 + 4);
        let (rest, actions) = stream.offer(9, &asked[taken..]);
        assert_eq!((rest + taken, ids(&actions)), (asked.len(), vec![8]));
        assert_eq!(stream.service.counters().transfers, [1, 0, 0]);
    }

    #[test]
    fn a_drain_lets_a_transfer_end() {
        let mut stream = open_to_all();
        let (_, mut actions) = stream.offer(1, &question(7, "test", dns::Rtype::AXFR));
        stream.service.on_drain(now(1), &mut stream.session, &mut stream.actions);
        let mut records = 0;
        while actions.last() != Some(&Action::Finish) {
            stream.service.on_sent(now(2), &mut stream.session, &mut stream.actions);
            for message in answers(&actions) {
                records += usize::from(Header::parse(&message).unwrap().ancount);
            }
            actions = stream.actions.take();
        }
        for message in answers(&actions) {
            records += usize::from(Header::parse(&message).unwrap().ancount);
        }
        assert_eq!(records, 3_000 + 4);
    }
}

#[test]
fn a_message_that_is_too_long_is_told_so_and_ends_the_stream() {
    let mut stream = Stream::open();
    let mut bytes = question(9, "www.test", dns::Rtype::A);
    bytes[..2].copy_from_slice(&5_000_u16.to_be_bytes());
    assert_eq!(stream.offer(1, &bytes[..10]), (0, Vec::new()), "its header is not whole");
    let (_, actions) = stream.offer(1, &bytes);
    let header = Header::parse(&answers(&actions)[0]).unwrap();
    assert_eq!((header.id, header.flags.rcode()), (9, Rcode::FORMERR));
    assert_eq!(actions.last(), Some(&Action::Finish));
}
