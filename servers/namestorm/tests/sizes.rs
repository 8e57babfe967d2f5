//! Whatever is asked and however little room there is: an answer keeps within it, can be read, and says what the same answer
//! says where there is room; it is cut short when something that must be said does not fit, and only then (RFC 2181 §9).

#![forbid(unsafe_code)]
#![cfg(test)]

use dns::name::from_text;
use dns::{Flags, Header};
use namestorm::catalogue::Catalogue;
use namestorm::hash::{Form, Key};
use namestorm::load;
use namestorm::respond::{Request, Responder, Settings, Transport};
use namestorm::show::{Shown, show};
use namestorm::zone;
use proptest::prelude::*;
use std::sync::Arc;

/// A label as long as labels are.
const LONG: &str = "lllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll";

/// Every way in which answers are put together, with sets that just fit and sets that do not.
fn text() -> String {
    let mut text = String::from(
        "$TTL 300\n@ SOA ns host 1 3600 900 604800 60\n@ NS ns\n@ NS ns.other.test.\nns A 192.0.2.1\nns AAAA 2001:db8::1\n\
         @ RRSIG SOA 13 1 300 20380101000000 20200101000000 1 t. c2lnbmF0dXJl\n\
         alias CNAME big\nchain CNAME alias\nlong CNAME chain\none CNAME two\ntwo CNAME one\n\
         *.wild MX 5 big\n*.wild MX 6 ns\n*.wc CNAME chain\ndn DNAME wild\nhere.dn2 DNAME dn\n\
         cut NS ns.cut\ncut NS ns2.cut\ncut NS ns\ncut DS 1 13 2 abababababababababababababababababababababababababababababababab\n\
         ns.cut A 192.0.2.40\nintocut CNAME www.cut\nsrv SRV 1 2 3 big\nsrv SRV 1 2 3 ns\nsvc HTTPS 1 big alpn=h2\n\
         naptr NAPTR 1 2 \"s\" \"SIP+D2U\" \"\" big\nunknown TYPE1000 \\# 3 010203\n",
    );
    for host in 0..24 {
        text.push_str(&format!("big A 10.0.0.{host}\nns2.cut AAAA 2001:db8::2:{host}\n"));
    }
    for index in 0..14 {
        text.push_str(&format!(
            "many MX {index} mail{index}.some.where.in.the.zone\nptr PTR host{index}.{LONG}\n"
        ));
        text.push_str(&format!("txt TXT \"{}\"\n", "x".repeat(index * 17)));
    }
    text.push_str(
        "big RRSIG A 13 2 300 20380101000000 20200101000000 1 t. c2lnbmF0dXJlIG9mIGEgc2V0IHRoYXQgaXMgbGFyZ2Ugbm93\n",
    );
    text
}

const NAMES: [&str; 24] = [
    "t.",
    "big.t.",
    "alias.t.",
    "chain.t.",
    "long.t.",
    "one.t.",
    "a.wild.t.",
    "wild.t.",
    "a.b.wc.t.",
    "x.dn.t.",
    "x.here.dn2.t.",
    "cut.t.",
    "www.cut.t.",
    "a.b.c.cut.t.",
    "intocut.t.",
    "srv.t.",
    "svc.t.",
    "naptr.t.",
    "unknown.t.",
    "many.t.",
    "ptr.t.",
    "txt.t.",
    "nothing.t.",
    "elsewhere.",
];
const TYPES: [u16; 14] = [1, 2, 5, 6, 12, 15, 16, 28, 33, 35, 43, 65, 255, 1_000];

fn catalogue() -> Catalogue {
    let key = Key::new([5; 16]);
    let loaded = load::read_text("t".as_ref(), text().as_bytes(), b"\x01t\0").expect("a zone");
    let zone = zone::build(b"\x01t\0", loaded, key, Form::Wire).expect("a zone").zone;
    Catalogue::new(key, Form::Wire, vec![Arc::new(zone)])
}

fn responder(catalogue: &Catalogue, identity: usize) -> Responder {
    let settings = Settings {
        cookie_secret: Some(dns::cookie::Secret([9; 16])),
        identity: Some(vec![b'i'; identity].into()),
        ..Settings::default()
    };
    Responder::new(settings, catalogue)
}

/// A question with an OPT record of that size, or none; and options.
fn question(name: &str, qtype: u16, edns: Option<(u16, bool)>, options: &[u8]) -> Vec<u8> {
    let arcount = u16::from(edns.is_some());
    let mut message = Header { id: 7, qdcount: 1, arcount, ..Header::default() }.emit().to_vec();
    message.extend(from_text(name.as_bytes()).expect("a name"));
    message.extend(qtype.to_be_bytes());
    message.extend([0, 1]);
    if let Some((bytes, dnssec)) = edns {
        message.extend([0, 0, 41]);
        message.extend(bytes.to_be_bytes());
        message.extend([0, 0, if dnssec { 0x80 } else { 0 }, 0]);
        message.extend(u16::try_from(options.len()).expect("a few").to_be_bytes());
        message.extend(options);
    }
    message
}

fn sorted(section: &[String]) -> Vec<String> {
    let mut lines = section.to_vec();
    lines.sort();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn an_answer_keeps_within_its_room_and_says_what_it_would_say_with_more(
        name in 0..NAMES.len(),
        in_front in prop::bool::weighted(0.2),
        qtype in 0..TYPES.len(),
        edns in prop::option::of((0..1_600_u16, any::<bool>())),
        (nsid, cookie, subnet) in any::<(bool, bool, bool)>(),
        identity in prop::sample::select(vec![0_usize, 7, 128, 255]),
    ) {
        let catalogue = catalogue();
        let mut responder = responder(&catalogue, identity);
        let mut options = Vec::new();
        if nsid {
            options.extend([0, 3, 0, 0]);
        }
        if cookie {
            options.extend([0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        }
        if subnet {
            options.extend([0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2]);
        }
        // With three labels in front, a question is nearly as long as one can be.
        let labels = format!("{LONG}.").repeat(if in_front { 3 } else { 0 });
        let name = format!("{labels}{}", NAMES[name]);
        let message = question(&name, TYPES[qtype], edns, &options);
        let mut answer = |transport| {
            let source = [192, 0, 2, 9].into();
            let request = Request { source, transport, now_ms: 0, unix: 1_800_000_000 };
            let mut room = vec![0; 65_535];
            let response = responder.respond(&catalogue, &request, &message, &mut room).expect("an answer");
            room.truncate(response.bytes);
            let shown: Shown = show(&room).expect("it can be read");
            (room.len(), shown)
        };
        let limit = edns.map_or(512, |(bytes, _)| usize::from(bytes).clamp(512, 1_232));
        let (whole_bytes, whole) = answer(Transport::Tcp);
        let (bytes, short) = answer(Transport::Udp);
        prop_assert!(bytes <= limit, "{bytes} bytes of {limit}");
        prop_assert_eq!(short.options.is_some(), edns.is_some());
        prop_assert_eq!(short.rcode, whole.rcode);
        prop_assert!(!whole.header.flags.has(Flags::TC));
        if whole_bytes <= limit {
            prop_assert!(!short.header.flags.has(Flags::TC), "all of it would fit: {whole_bytes} bytes of {limit}");
            prop_assert_eq!(&short.sections, &whole.sections);
        } else if short.header.flags.has(Flags::TC) {
            prop_assert!(short.sections.iter().all(Vec::is_empty), "nothing half said");
        } else {
            // What only helps may be left out; the rest is there.
            prop_assert_eq!(sorted(&short.sections[0]), sorted(&whole.sections[0]));
            prop_assert_eq!(sorted(&short.sections[1]), sorted(&whole.sections[1]));
            prop_assert!(short.sections[2].iter().all(|line| whole.sections[2].contains(line)));
            prop_assert!(short.sections[2].len() < whole.sections[2].len());
        }
    }
}
