use super::*;
use crate::hash::Key;
use crate::respond::Settings;
use crate::rrl::Rate;
use crate::{load, zone};
use core::net::IpAddr;
use std::sync::Arc;

/// A parent, its child, and names of every length.
fn catalogue(form: Form) -> Catalogue {
    let key = Key::new(*b"a key of a test.");
    let mut parent = String::from(
        "$TTL 60\n@ SOA ns host 1 1 1 1 1\n@ NS ns\nns A 192.0.2.1\nsub NS ns.sub\nns.sub A 192.0.2.2\n\
         below.ns.sub A 192.0.2.3\nalias CNAME ns\n*.wild A 192.0.2.4\nmail MX 1 ns\n",
    );
    for length in 1..=63 {
        parent.push_str(&format!("{} A 10.0.0.{length}\n", "x".repeat(length)));
        parent.push_str(&format!("{}.deep.er TXT \"{length}\"\n", "y".repeat(length)));
    }
    for index in 0..40 {
        parent.push_str(&format!("many A 10.0.1.{index}\n"));
    }
    let child =
        "$TTL 60\n@ SOA ns host 1 1 1 1 1\n@ NS ns\nns A 192.0.2.5\n@ DS 1 13 2 aa\nwww A 192.0.2.6\n";
    let zones = [(&b"\x04test\0"[..], &parent[..]), (b"\x05child\x04test\0", child)].map(|(apex, text)| {
        let loaded = load::read_text("zone".as_ref(), text.as_bytes(), apex).unwrap();
        Arc::new(zone::build(apex, loaded, key, form).unwrap().zone)
    });
    Catalogue::new(key, form, zones.to_vec())
}

fn query(name: &[u8], qtype: Rtype, edns: Option<(u16, bool)>) -> Vec<u8> {
    let header =
        dns::Header { id: 0x1234, qdcount: 1, arcount: u16::from(edns.is_some()), ..dns::Header::default() };
    let mut message = header.emit().to_vec();
    message.extend_from_slice(name);
    message.extend_from_slice(&qtype.0.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    if let Some((bytes, dnssec)) = edns {
        message.extend_from_slice(&dns::edns::emit_opt(bytes, 0, dnssec, 0));
    }
    message
}

/// The same with these options behind it.
fn query_with(name: &[u8], qtype: Rtype, edns: (u16, bool), options: &[u8]) -> Vec<u8> {
    let mut message = query(name, qtype, Some(edns));
    let bytes = u16::try_from(options.len()).unwrap().to_be_bytes();
    let at = message.len() - 2;
    message[at..].copy_from_slice(&bytes);
    message.extend_from_slice(options);
    message
}

fn request() -> Request {
    Request { source: IpAddr::from([198, 51, 100, 1]), transport: Transport::Udp, now_ms: 0, unix: 0 }
}

struct Both {
    catalogue: Catalogue,
    alone: Responder,
    together: Responder,
}

impl Both {
    fn new(form: Form, settings: &Settings) -> Self {
        let catalogue = catalogue(form);
        let [alone, together] = [0; 2].map(|_| Responder::new(settings.clone(), &catalogue));
        Self { catalogue, alone, together }
    }

    /// Asks both ways, and says whether the answer was ready.
    fn ask(&mut self, message: &[u8]) -> bool {
        let Self { catalogue, alone, together } = self;
        let mut room = message.to_vec();
        room.resize(message.len() + SLACK_BYTES, 0xa5);
        let mut glances = [together.glance(catalogue, &room, message.len())];
        Responder::look_up(catalogue, &mut glances);
        let mut outs = [vec![0x11; 1_400], vec![0xee; 1_400]];
        let responses = [
            alone.respond(catalogue, &request(), message, &mut outs[0]),
            together.respond_glanced(catalogue, &request(), glances[0].as_ref(), message, &mut outs[1]),
        ];
        for (out, response) in outs.iter_mut().zip(&responses) {
            out.truncate(response.map_or(0, |response| response.bytes));
            if let Some(response) = response {
                assert_eq!(response.sum.fold() % 0xffff, Sum::of(out).fold() % 0xffff, "{message:02x?}");
            }
        }
        assert_eq!(outs[0], outs[1], "{message:02x?}");
        assert_eq!(alone.counters(), together.counters(), "{message:02x?}");
        glances[0].is_some_and(|glance| glance.node.is_some())
    }
}

fn wire(text: &str) -> Vec<u8> {
    dns::name::from_text(text.as_bytes()).unwrap()
}

#[test]
fn names_of_every_length_are_ready_in_whatever_case_they_are_asked_for() {
    for form in [Form::Wire, Form::Name] {
        let mut both = Both::new(form, &Settings::default());
        for length in 1..=63 {
            for name in [
                format!("{}.test", "x".repeat(length)),
                format!("{}.TEST", "xX".repeat(32)[..length].to_owned()),
            ] {
                assert!(both.ask(&query(&wire(&name), Rtype::A, None)), "{name}");
                assert!(both.ask(&query(&wire(&name), Rtype::A, Some((1_232, true)))), "{name}");
            }
            let name = format!("{}.deep.er.test", "Y".repeat(length));
            assert!(both.ask(&query(&wire(&name), Rtype::TXT, Some((4_096, false)))), "{name}");
        }
        let counters = both.together.counters();
        assert_eq!((counters.queries, counters.composed), (counters.prebuilt, 0));
    }
}

#[test]
fn what_is_not_ready_is_answered_as_if_nobody_had_looked() {
    let types = [Rtype::A, Rtype::AAAA, Rtype::NS, Rtype::DS, Rtype::MX, Rtype::ANY, Rtype::AXFR, Rtype::SOA];
    for form in [Form::Wire, Form::Name] {
        let mut both = Both::new(form, &Settings::default());
        for name in [
            ".",
            "test",
            "no.test",
            "sub.test",
            "ns.sub.test",
            "below.ns.sub.test",
            "alias.test",
            "a.wild.test",
            "*.wild.test",
            "wild.test",
            "er.test",
            "mail.test",
            "many.test",
            "child.test",
            "www.child.test",
            "no.child.test",
            "elsewhere.example",
            "deep.er.test",
            "xtest",
        ] {
            for qtype in types {
                for edns in [None, Some((0, true)), Some((512, false)), Some((65_535, true))] {
                    let mut message = query(&wire(name), qtype, edns);
                    both.ask(&message);
                    // Recursion desired, checking disabled; another class; another opcode; a response; truncated.
                    for (at, bits) in [(2, 0x01), (3, 0x10), (2, 0x20), (2, 0x80), (2, 0x02), (3, 0x0f)] {
                        message[at] ^= bits;
                        both.ask(&message);
                        message[at] ^= bits;
                    }
                    let bytes = message.len();
                    for cut in 0..bytes {
                        both.ask(&message[..cut]);
                    }
                }
            }
        }
    }
}

#[test]
fn questions_with_options_are_ready_too_and_answered_alike() {
    let secret = dns::cookie::Secret([9; 16]);
    let ours = secret.server_cookie([1; 8], request().source, 0);
    let cookie = |server: &[u8]| {
        let bytes = 8 + u8::try_from(server.len()).unwrap();
        [&[0, 10, 0, bytes][..], &[1; 8], server].concat()
    };
    let subnet = [0, 8, 0, 7, 0, 1, 24, 0, 203, 0, 113];
    let readable = [
        cookie(&[]),
        cookie(&ours),
        cookie(&[7; 16]),
        cookie(&[7; 8]),
        cookie(&[7; 32]),
        subnet.to_vec(),
        [&subnet[..], &cookie(&ours)].concat(),
        // NSID, a timeout, padding, one that nobody knows, a second cookie.
        vec![0, 3, 0, 0],
        vec![0, 11, 0, 0],
        [&[0, 12, 0, 40][..], &[0; 40]].concat(),
        vec![0xff, 0, 0, 1, 1],
        [cookie(&ours), cookie(&[])].concat(),
    ];
    let unreadable =
        [cookie(&[7; 3]), vec![0, 10, 0, 4, 1, 2, 3, 4], vec![0, 8, 0, 0], vec![0, 3, 0, 1], vec![0]];
    let settings = [
        Settings { cookie_secret: Some(secret), identity: Some(Box::from(*b"one")), ..Settings::default() },
        Settings { cookie_secret: None, ..Settings::default() },
    ];
    for settings in settings {
        let mut both = Both::new(Form::Wire, &settings);
        let mut ask = |name: &str, options: &[u8]| {
            [(1_232, false), (512, true), (0, false)]
                .map(|edns| both.ask(&query_with(&wire(name), Rtype::A, edns, options)))
        };
        for options in &readable {
            assert_eq!(ask("xxx.test", options), [true; 3], "{options:02x?}");
            ask("no.test", options);
            ask("many.test", options);
        }
        for options in &unreadable {
            ask("xxx.test", options);
            ask("many.test", options);
        }
        let counters = both.together.counters();
        let formerrs = counters.rcodes[usize::from(dns::Rcode::FORMERR.0)];
        assert_eq!(formerrs, 2 * 3 * unreadable.len() as u64);
    }
}

#[test]
fn who_comes_with_a_cookie_of_ours_is_not_limited() {
    let secret = dns::cookie::Secret([9; 16]);
    let rate = Rate { per_second: 2, burst_seconds: 1, ..Rate::default() };
    let settings = Settings { rate: Some(rate), cookie_secret: Some(secret), ..Settings::default() };
    let mut both = Both::new(Form::Wire, &settings);
    let ours = secret.server_cookie([1; 8], request().source, 0);
    for server in [&ours[..], &[7; 16]] {
        for _ in 0..10 {
            let options = [&[0, 10, 0, 24][..], &[1; 8], server].concat();
            both.ask(&query_with(&wire("xx.test"), Rtype::A, (1_232, false), &options));
        }
    }
    let counters = both.together.counters();
    assert_eq!((counters.cookies_accepted, counters.limited + counters.slipped), (10, 8));
}

#[test]
fn whoever_asks_too_often_is_limited_alike() {
    let rate = Rate { per_second: 2, burst_seconds: 1, ..Rate::default() };
    let mut both = Both::new(Form::Wire, &Settings { rate: Some(rate), ..Settings::default() });
    for _ in 0..10 {
        both.ask(&query(&wire("many.test"), Rtype::A, Some((1_232, false))));
        both.ask(&query(&wire("xx.test"), Rtype::A, None));
    }
    let counters = both.together.counters();
    assert_eq!((counters.limited, counters.slipped), (8, 8));
}

#[test]
fn what_lies_behind_a_message_changes_nothing() {
    let both = Both::new(Form::Wire, &Settings::default());
    let mut responder = both.together;
    let message = query(&wire("xxx.test"), Rtype::A, None);
    let hashes = [0x00, 0x41, 0xff].map(|filler| {
        let mut room = message.clone();
        room.resize(message.len() + SLACK_BYTES, filler);
        responder.glance(&both.catalogue, &room, message.len()).unwrap().hash
    });
    assert_eq!(hashes, [hashes[0]; 3]);
}

proptest::proptest! {
    #[test]
    fn no_bytes_are_answered_differently(
        mutations in proptest::collection::vec((0..96_usize, proptest::prelude::any::<u8>()), 0..4),
        name in 0..4_usize,
        options in proptest::collection::vec(0..6_usize, 0..4),
    ) {
        let mut both = Both::new(Form::Wire, &Settings::default());
        let name = ["xxxx.test", "www.child.test", "many.test", "yyyy.deep.er.test"][name];
        let options: Vec<u8> = options.into_iter().flat_map(|option| {
            [
                &[0_u8, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8][..], &[0, 10, 0, 16, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 6, 7, 8],
                &[0, 8, 0, 7, 0, 1, 24, 0, 203, 0, 113], &[0, 3, 0, 0], &[0, 11, 0, 0], &[0, 12, 0, 2, 0, 0],
            ][option].to_vec()
        }).collect();
        let mut message = query_with(&wire(name), Rtype::A, (1_232, false), &options);
        for (at, byte) in mutations {
            let at = at % message.len();
            message[at] = byte;
        }
        both.ask(&message);
    }
}
