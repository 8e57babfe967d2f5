use super::*;
use crate::hash::{Form, Key};
use crate::respond::{Responder, Settings, Transport};
use crate::show::{Shown, show};
use crate::transfer::policy::{Policy, Rules};
use crate::{load, zone};
use core::fmt::Write as _;
use dns::tsig;
use std::collections::{BTreeMap, BTreeSet};

const APEX: &[u8] = b"\x07example\0";
const NOW: u32 = 1_800_000_000;

fn names_key() -> Key {
    Key::new([3; 16])
}

fn key() -> tsig::Key {
    tsig::Key { name: b"\x03xfr\0".to_vec(), algorithm: tsig::Algorithm::Sha256, secret: vec![7; 32] }
}

fn version(serial: u32, rest: &str, before: Option<&Zone>) -> Zone {
    let text = format!("$TTL 300\n@ SOA ns h {serial} 3600 900 604800 60\n@ NS ns\nns A 192.0.2.1\n{rest}");
    let loaded = load::read_text("z".as_ref(), text.as_bytes(), APEX).unwrap();
    let mut zone = zone::build(APEX, loaded, names_key(), Form::Wire).unwrap().zone;
    if let Some(before) = before {
        zone.succeed(before, names_key(), Form::Wire);
    }
    zone
}

/// These zones, to whoever fits one of the rules.
fn catalogue(zones: Vec<Zone>, rules: &[&str]) -> Catalogue {
    let transfer = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    let rules = Rules { transfer, primaries: vec!["192.0.2.1".parse().unwrap()] };
    let policy = Policy::new(vec![key()], BTreeMap::from([(APEX.into(), rules)]));
    let zones = zones.into_iter().map(Arc::new).collect();
    Catalogue::new(names_key(), Form::Wire, zones).governed(Arc::new(policy))
}

fn request(transport: Transport) -> Request {
    Request { source: [192, 0, 2, 9].into(), transport, now_ms: 0, unix: NOW }
}

/// A question, with the SOA of an IXFR behind it.
fn question(name: &str, qtype: Rtype, serial: Option<u32>) -> Vec<u8> {
    let nscount = u16::from(serial.is_some());
    let mut message = Header { id: 77, qdcount: 1, nscount, ..Header::default() }.emit().to_vec();
    message.extend(dns::name::from_text(name.as_bytes()).unwrap());
    message.extend(qtype.0.to_be_bytes());
    message.extend([0, 1]);
    if let Some(serial) = serial {
        message.extend([0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0]);
        message.extend(serial.to_be_bytes());
        message.extend([0; 16]);
    }
    message
}

fn open(catalogue: &Catalogue, message: &[u8]) -> Option<Outgoing> {
    Outgoing::open(catalogue, &request(Transport::Tcp), message, &mut Name::root())
}

/// All messages, read by a reader that is not ours.
fn read(mut outgoing: Outgoing) -> Vec<Shown> {
    core::iter::from_fn(|| outgoing.next_message(NOW.into())).map(|message| show(&message).unwrap()).collect()
}

fn records(messages: &[Shown]) -> Vec<String> {
    messages.iter().flat_map(|message| message.sections[0].clone()).collect()
}

fn soa(serial: u32) -> String {
    format!("example. 300 IN SOA ns.example. h.example. {serial} 3600 900 604800 60")
}

/// The answer to what is no transfer.
fn answered(catalogue: &Catalogue, message: &[u8], transport: Transport) -> Vec<u8> {
    let mut room = vec![0; 65_535];
    let mut responder = Responder::new(Settings::default(), catalogue);
    let response = responder.respond(catalogue, &request(transport), message, &mut room).unwrap();
    room.truncate(response.bytes);
    room
}

#[test]
fn a_zone_leaves_between_two_of_its_soa() {
    let zone = version(
        7,
        "www A 1.1.1.1\nwww AAAA 2001:db8::1\nsub NS ns.sub\nns.sub A 1.1.1.2\nm MX 5 www\n",
        None,
    );
    let catalogue = catalogue(vec![zone], &["192.0.2.0/24"]);
    let messages = read(open(&catalogue, &question("Example", Rtype::AXFR, None)).unwrap());
    let mut all = records(&messages);
    assert_eq!((all.remove(0), all.pop().unwrap()), (soa(7), soa(7)));
    all.sort();
    assert_eq!(
        all,
        [
            "example. 300 IN NS ns.example.",
            "m.example. 300 IN MX 5 www.example.",
            "ns.example. 300 IN A 192.0.2.1",
            "ns.sub.example. 300 IN A 1.1.1.2",
            "sub.example. 300 IN NS ns.sub.example.",
            "www.example. 300 IN A 1.1.1.1",
            "www.example. 300 IN AAAA 2001:db8::1",
        ]
    );
    assert_eq!(messages[0].header.id, 77);
    assert!(messages[0].header.flags.has(Flags::QR | Flags::AA));
}

#[test]
fn a_large_zone_leaves_in_messages_that_pointers_reach_and_nothing_is_lost_between_them() {
    let mut text = String::new();
    for index in 0..4_000 {
        writeln!(text, "n{index} TXT \"{index:0>100}\"\nn{index} A 10.0.{}.{}", index / 256, index % 256)
            .unwrap();
    }
    let text_of_long = "y".repeat(250);
    for index in 0..200 {
        writeln!(text, "long TXT \"{index}{text_of_long}\"").unwrap();
    }
    let catalogue = catalogue(vec![version(7, &text, None)], &["::/0", "0.0.0.0/0"]);
    let mut outgoing = open(&catalogue, &question("example", Rtype::AXFR, None)).unwrap();
    let mut messages = Vec::new();
    while let Some(message) = outgoing.next_message(NOW.into()) {
        assert!(message.len() <= MESSAGE_BYTES + 512, "{} bytes", message.len());
        messages.push(show(&message).unwrap());
    }
    let all = records(&messages);
    let different: BTreeSet<_> = all.iter().collect();
    assert_eq!((all.len(), different.len()), (2 + 2 + 8_000 + 200, 1 + 2 + 8_000 + 200));
    assert!(messages.len() > 30, "{} messages", messages.len());
}

#[test]
fn whoever_is_current_is_told_so_and_whoever_is_behind_gets_what_changed() {
    let first = version(u32::MAX, "www A 1.1.1.1\nold A 1.1.1.2\n", None);
    let second = version(3, "www A 1.1.1.3\n", Some(&first));
    let third = version(4, "www A 1.1.1.3\nnew A 1.1.1.4\n", Some(&second));
    let catalogue = catalogue(vec![third], &["192.0.2.9"]);
    let ask = |serial| {
        let outgoing = open(&catalogue, &question("example", Rtype::IXFR, Some(serial))).unwrap();
        (outgoing.kind(), records(&read(outgoing)))
    };
    assert_eq!(ask(4), (Kind::Current, vec![soa(4)]));
    assert_eq!(ask(5), (Kind::Current, vec![soa(4)]), "RFC 1995 §2: newer than ours");
    let a = |name: &str, address: &str| format!("{name}.example. 300 IN A {address}");
    let last = vec![soa(4), soa(3), soa(4), a("new", "1.1.1.4"), soa(4)];
    assert_eq!(ask(3), (Kind::Changes, last));
    let both = vec![
        soa(4),
        soa(u32::MAX),
        a("www", "1.1.1.1"),
        a("old", "1.1.1.2"),
        soa(3),
        a("www", "1.1.1.3"),
        soa(3),
        soa(4),
        a("new", "1.1.1.4"),
        soa(4),
    ];
    assert_eq!(ask(u32::MAX), (Kind::Changes, both));
    assert_eq!(ask(1).0, Kind::All, "that version is not known");
    let without = question("example", Rtype::IXFR, None);
    assert_eq!(open(&catalogue, &without).unwrap().kind(), Kind::All);
}

#[test]
fn whoever_fits_no_rule_gets_nothing() {
    let zones = || vec![version(7, "", None)];
    let axfr = question("example", Rtype::AXFR, None);
    let rcode = |catalogue: &Catalogue, message: &[u8], transport| {
        show(&answered(catalogue, message, transport)).unwrap().rcode
    };
    for rules in [&[][..], &["192.0.3.0/24"], &["key:xfr"], &["192.0.2.9 key:xfr"]] {
        let catalogue = catalogue(zones(), rules);
        assert!(open(&catalogue, &axfr).is_none(), "{rules:?}");
        assert_eq!(rcode(&catalogue, &axfr, Transport::Tcp), Rcode::REFUSED);
        let ixfr = question("example", Rtype::IXFR, Some(1));
        assert_eq!(rcode(&catalogue, &ixfr, Transport::Udp), Rcode::REFUSED);
    }
    let catalogue = catalogue(zones(), &["192.0.2.9"]);
    for name in ["elsewhere", "www.example"] {
        let message = question(name, Rtype::AXFR, None);
        assert!(open(&catalogue, &message).is_none());
        assert_eq!(rcode(&catalogue, &message, Transport::Tcp), Rcode::NOTAUTH, "RFC 5936 §2.2.1");
    }
    assert_eq!(rcode(&catalogue, &axfr, Transport::Udp), Rcode::FORMERR, "RFC 5936 §4.2");
}

#[test]
fn an_ixfr_in_a_datagram_is_answered_with_the_soa_alone() {
    let catalogue = catalogue(vec![version(7, "www A 1.1.1.1\n", None)], &["192.0.2.9"]);
    let message = question("example", Rtype::IXFR, Some(3));
    let shown = show(&answered(&catalogue, &message, Transport::Udp)).unwrap();
    assert_eq!((shown.rcode, shown.sections[0].clone()), (Rcode::NOERROR, vec![soa(7)]));
}

#[test]
fn a_zone_that_is_withheld_is_not_sent() {
    let withheld = Zone::withheld(APEX, names_key(), Form::Wire);
    let catalogue = catalogue(vec![withheld], &["192.0.2.9"]);
    for (name, qtype) in [("example", Rtype::AXFR), ("example", Rtype::SOA), ("www.example", Rtype::A)] {
        let message = question(name, qtype, None);
        assert!(open(&catalogue, &message).is_none());
        let shown = show(&answered(&catalogue, &message, Transport::Tcp)).unwrap();
        assert_eq!((shown.rcode, shown.sections[0].len()), (Rcode::SERVFAIL, 0));
    }
}

mod signed {
    use super::*;
    use dns::tsig::Tsig;

    /// Where the TSIG record of a message begins, if it has one.
    fn tsig_at(message: &[u8]) -> Option<usize> {
        let header = Header::parse(message).unwrap();
        let mut at = dns::name::skip(message, HEADER_BYTES).unwrap() + 4;
        let mut last = None;
        for _ in 0..header.ancount + header.nscount + header.arcount {
            let record = Record::parse(message, at).unwrap();
            last = (record.rtype == Rtype::TSIG).then_some(at);
            at = record.end;
        }
        last
    }

    fn large() -> Zone {
        let text: String = (0..2_000).map(|index| format!("n{index} TXT \"{index:0>100}\"\n")).collect();
        version(7, &text, None)
    }

    #[test]
    fn every_message_of_a_stream_is_believed() {
        let catalogue = catalogue(vec![large()], &["key:xfr"]);
        let mut message = question("example", Rtype::AXFR, None);
        let mut client = Transaction::request(key(), &mut message, NOW.into());
        let mut outgoing = open(&catalogue, &message).unwrap();
        let mut messages = 0;
        while let Some(message) = outgoing.next_message(u64::from(NOW) + 5) {
            client.verify(&message, tsig_at(&message), NOW.into()).unwrap();
            messages += 1;
        }
        assert!(messages > 10 && client.is_signed());
    }

    #[test]
    fn a_signed_question_in_a_datagram_gets_a_signed_answer_that_fits() {
        let text: String = (0..8).map(|index| format!("many TXT \"{index:0>47}\"\n")).collect();
        let catalogue = catalogue(vec![version(7, &text, None)], &[]);
        for (name, rtype) in [("ns.example", Rtype::A), ("many.example", Rtype::TXT)] {
            let mut message = question(name, rtype, None);
            let mut client = Transaction::request(key(), &mut message, NOW.into());
            let answer = answered(&catalogue, &message, Transport::Udp);
            client.verify(&answer, tsig_at(&answer), NOW.into()).unwrap();
            assert!(answer.len() <= 512, "{} bytes", answer.len());
            // Eight texts are 496 bytes: without a signature they would just have fitted.
            assert_eq!(Header::parse(&answer).unwrap().flags.has(Flags::TC), rtype == Rtype::TXT);
        }
    }

    #[test]
    fn what_is_wrong_with_a_signature_is_said_and_nothing_else() {
        let catalogue = catalogue(vec![large()], &["0.0.0.0/0"]);
        let sign = |key: tsig::Key, time: u64| {
            let mut message = question("example", Rtype::AXFR, None);
            let client = Transaction::request(key, &mut message, time);
            (client, message)
        };
        let stranger = tsig::Key { name: b"\x05other\0".to_vec(), ..key() };
        let forger = tsig::Key { secret: vec![8; 32], ..key() };
        for (key, time, error) in
            [(stranger, NOW, 17), (forger, NOW, 16), (key(), NOW - 301, 18), (key(), NOW + 301, 18)]
        {
            let (mut client, message) = sign(key, time.into());
            assert!(open(&catalogue, &message).is_none(), "the address alone would do, but it has signed");
            for transport in [Transport::Tcp, Transport::Udp] {
                let answer = answered(&catalogue, &message, transport);
                let header = Header::parse(&answer).unwrap();
                assert_eq!((header.flags.rcode(), header.ancount), (Rcode::NOTAUTH, 0));
                let at = tsig_at(&answer).unwrap();
                let said = Tsig::parse(&answer, at).unwrap();
                // RFC 8945 §5.2.3: only when the time is wrong is the answer signed, and tells ours.
                assert_eq!(
                    (said.error, said.mac.is_empty(), said.other.len()),
                    (error, error != 18, if error == 18 { 6 } else { 0 })
                );
                if error == 18 && transport == Transport::Tcp {
                    client.verify(&answer, Some(at), time.into()).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_signature_that_cannot_be_read_is_a_format_error() {
        let catalogue = catalogue(vec![large()], &["0.0.0.0/0"]);
        let mut message = question("example", Rtype::AXFR, None);
        let plain = message.len();
        let _ = Transaction::request(key(), &mut message, NOW.into());
        // The class of the record is ANY.
        message[plain + 5 + 3] = 1;
        let answer = answered(&catalogue, &message, Transport::Tcp);
        assert_eq!(Header::parse(&answer).unwrap().flags.rcode(), Rcode::FORMERR);
    }
}

mod notified {
    use super::*;
    use crate::transfer::notice::{Notice, Notices};
    use control::Wake;

    fn notify(name: &str, serial: Option<u32>) -> Vec<u8> {
        let mut message = question(name, Rtype::SOA, serial);
        message[2] = 0x24;
        // The SOA stands in the answer section (RFC 1996 §3.7).
        message.swap(7, 9);
        message
    }

    fn tell(source: [u8; 4], message: &[u8]) -> (Rcode, Option<Notice>) {
        let catalogue = catalogue(vec![version(7, "", None)], &[]);
        let (notices, left) = Notices::new(Wake::new().unwrap());
        let settings = Settings { notices: Some(notices), ..Settings::default() };
        let mut responder = Responder::new(settings, &catalogue);
        let mut room = vec![0; 512];
        let request = Request { source: source.into(), ..request(Transport::Udp) };
        let response = responder.respond(&catalogue, &request, message, &mut room).unwrap();
        let shown = show(&room[..response.bytes]).unwrap();
        assert_eq!(shown.header.flags.opcode(), Opcode::NOTIFY);
        (shown.rcode, left.try_recv().ok())
    }

    #[test]
    fn a_primarys_word_is_passed_on_and_answered() {
        let source = [192, 0, 2, 1];
        let notice = Notice { apex: APEX.into(), source: source.into(), serial: Some(9) };
        assert_eq!(tell(source, &notify("EXAMPLE", Some(9))), (Rcode::NOERROR, Some(notice.clone())));
        let notice = Notice { serial: None, ..notice };
        assert_eq!(tell(source, &notify("example", None)), (Rcode::NOERROR, Some(notice)));
    }

    #[test]
    fn nobody_elses_word_counts() {
        assert_eq!(tell([192, 0, 2, 2], &notify("example", Some(9))), (Rcode::REFUSED, None));
        assert_eq!(tell([192, 0, 2, 1], &notify("www.example", Some(9))), (Rcode::NOTAUTH, None));
    }
}
