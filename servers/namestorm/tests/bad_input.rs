//! What operators mistype and what strangers send: each mistake has a line and a reason, none harms another zone, and no
//! flood makes of us a weapon or a glutton.

#![forbid(unsafe_code)]
#![cfg(test)]

use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr};
use dns::{Flags, Header, Name};
use namestorm::catalogue::Catalogue;
use namestorm::hash::{Form, Key};
use namestorm::keeper::{Keeper, Source, load_zone};
use namestorm::load::{self, Threads};
use namestorm::respond::{Request, Responder, Settings, Transport};
use namestorm::rrl::Rate;
use namestorm::zone;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const APEX: &[u8] = b"\x07example\0";
const HEAD: &str = "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n";

fn key() -> Key {
    Key::new(*b"a key for a test")
}

/// A directory that goes when the test does.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("namestorm-bad-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory of ours");
        Self(directory)
    }

    fn write(&self, name: &str, text: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file of ours");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

mod a_zone_file_with_a_mistake {
    use super::*;

    /// What is wrong (behind four lines that are right), the line, and words of the reason.
    const MISTAKES: [(&str, u64, &str); 40] = [
        ("w A 192.0.2\n", 5, "IPv4"),
        ("w A 192.0.2.1 192.0.2.2\n", 5, ""),
        ("w AAAA 192.0.2.1\n", 5, "IPv6"),
        ("w MX mail\n", 5, ""),
        ("w MX 70000 mail\n", 5, ""),
        ("w TXT \"open\n", 5, ""),
        ("w TXT\n", 5, ""),
        ("w NOSUCHTYPE data\n", 5, ""),
        ("w 60 CH A 192.0.2.1\n", 5, "class"),
        ("w TYPE1000 \\# 3 0102\n", 5, ""),
        ("w TYPE1000 \\# 2 010203\n", 5, ""),
        ("w TYPE1 \\# 3 010203\n", 5, "malformed"),
        ("w TYPE255 \\# 0\n", 5, "is no type of data"),
        ("w A \\# 3 010203\n", 5, ""),
        ("w..w A 192.0.2.1\n", 5, ""),
        (LONG_LABEL, 5, ""),
        (LONG_NAME, 5, ""),
        ("w A ( 192.0.2.1\n", 5, ""),
        ("ok A 192.0.2.9\nw A 192.0.2.1 )\n", 6, ""),
        ("w 99999999999 A 192.0.2.1\n", 5, ""),
        ("w DS 1 8 2 xyz\n", 5, ""),
        ("w RRSIG A 13 2 60 yesterday 20200101000000 1 example. AA==\n", 5, ""),
        ("w NSEC3 1 0 0 - zzz A\n", 5, ""),
        ("$FOO bar\n", 5, "$FOO is not known"),
        ("$TTL soon\n", 5, "$TTL"),
        ("$TTL 1 2\n", 5, "$TTL"),
        ("$ORIGIN\n", 5, "$ORIGIN"),
        ("$ORIGIN a..b.\n", 5, "empty label"),
        ("$INCLUDE\n", 5, "$INCLUDE"),
        ("$INCLUDE nothing-here\n", 5, "cannot read"),
        ("$INCLUDE zone\n", 5, "include"),
        ("$GENERATE 5-1 w$ A 192.0.2.$\n", 5, "$GENERATE"),
        ("$GENERATE 1-300 w$ A 192.0.2.$\n", 5, ""),
        ("$GENERATE 1-2 w${0,0,q} A 192.0.2.$\n", 5, "$GENERATE"),
        ("w A 192.0.2.1\nw CNAME ns\n", 6, "CNAME"),
        ("w CNAME a\nw CNAME b\n", 5, "more than one CNAME"),
        ("w DNAME a\nw DNAME b\n", 5, "more than one DNAME"),
        ("@ SOA ns h 2 2 3 4 5\n", 2, "more than one SOA"),
        ("short.example. NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr A\n", 5, "NSEC3"),
        ("w AXFR x\n", 5, ""),
    ];
    const LONG_LABEL: &str = "llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll A 192.0.2.1\n";
    const LONG_NAME: &str = "a23456789.b23456789.c23456789.d23456789.e23456789.f23456789.g23456789.h23456789.\
        i23456789.j23456789.k23456789.l23456789.m23456789.n23456789.o23456789.p23456789.q23456789.r23456789.\
        s23456789.t23456789.u23456789.v23456789.w23456789.x23456789.y23456789.z23456789 A 192.0.2.1\n";

    #[test]
    fn is_told_with_file_line_and_reason() {
        let directory = Directory::new("mistakes");
        let mut told = String::new();
        for (mistake, line, words) in MISTAKES {
            let path = directory.write("zone", format!("{HEAD}{mistake}good A 192.0.2.8\n").as_bytes());
            let source = Source { apex: APEX.to_vec(), path: path.clone() };
            let Err(error) = load_zone(&source, key(), Form::Wire, Threads(1)) else {
                let _ = writeln!(told, "{mistake:?} is taken");
                continue;
            };
            let error = error.to_string();
            let begins = format!("{}:{line}: ", path.display());
            if !error.starts_with(&begins) || !error.contains(words) || error.contains('\n') {
                let _ = writeln!(told, "{mistake:?}: {error}");
            }
        }
        assert!(told.is_empty(), "{told}");
    }

    #[test]
    fn names_its_file_even_where_no_line_is_to_blame() {
        let directory = Directory::new("apex");
        for (text, words) in [
            ("$TTL 1\n@ NS ns\n", "no SOA record"),
            ("$TTL 1\n@ SOA ns h 1 2 3 4 5\n", "no NS record"),
            ("", "no SOA record"),
            ("$ORIGIN other.\n$TTL 1\n@ SOA ns h 1 2 3 4 5\n@ NS ns\n", "no SOA record"),
        ] {
            let path = directory.write("zone", text.as_bytes());
            let source = Source { apex: APEX.to_vec(), path: path.clone() };
            let error = load_zone(&source, key(), Form::Wire, Threads(1)).expect_err(text).to_string();
            let begins = format!("{}:", path.display());
            assert!(error.starts_with(&begins) && error.contains(words), "{text:?}: {error}");
        }
    }

    #[test]
    fn stops_no_other_zone_and_replaces_no_predecessor() {
        let directory = Directory::new("others");
        let source = |name: &str, apex: &[u8]| Source { apex: apex.to_vec(), path: directory.0.join(name) };
        let sources =
            vec![source("one", b"\x03one\0"), source("two", b"\x03two\0"), source("three", b"\x05three\0")];
        for name in ["one", "two", "three"] {
            directory.write(name, HEAD.as_bytes());
        }
        directory.write("two", format!("{HEAD}w A nonsense\n").as_bytes());
        let mut keeper = Keeper::new(key(), Form::Wire, Threads(1), sources);
        let failed =
            |keeper: &mut Keeper| keeper.refresh().iter().filter(|outcome| outcome.result.is_err()).count();
        assert_eq!(failed(&mut keeper), 1);
        let serials = |keeper: &Keeper| {
            let mut all: Vec<_> =
                keeper.catalogue().zones().iter().map(|zone| (zone.apex().to_vec(), zone.serial())).collect();
            all.sort();
            all
        };
        let (one, two, three) = (b"\x03one\0".to_vec(), b"\x03two\0".to_vec(), b"\x05three\0".to_vec());
        assert_eq!(serials(&keeper), [(one.clone(), 1), (three.clone(), 1)]);
        // Each of them changes: one is mended, one broken, one goes on.
        let head = HEAD.replace("h 1 2", "h 22 2");
        directory.write("two", head.as_bytes());
        directory.write("one", format!("{head}w A nonsense\n").as_bytes());
        directory.write("three", head.as_bytes());
        assert_eq!(failed(&mut keeper), 1);
        assert_eq!(serials(&keeper), [(one, 1), (two, 22), (three, 22)]);
    }
}

/// A zone with large answers of every kind.
fn catalogue() -> Catalogue {
    let mut text = String::from(HEAD);
    for index in 0..60 {
        let _ = writeln!(
            text,
            "big A 10.0.0.{index}\nlong TXT \"{index:0>100}\"\ncut NS ns{index}.cut\nns{index}.cut A 10.0.1.{index}"
        );
    }
    text.push_str("few NS ns.few\nns.few A 192.0.2.9\nout DNAME elsewhere.test.\n*.away CNAME www.elsewhere.test.\n*.near CNAME big\n");
    text.push_str("*.wild TXT \"any name\"\nalias CNAME big\nd DNAME example.\n");
    let loaded = load::read_text(Path::new("zone"), text.as_bytes(), APEX).expect("a zone");
    let zone = zone::build(APEX, loaded, key(), Form::Wire).expect("a zone").zone;
    Catalogue::new(key(), Form::Wire, vec![Arc::new(zone)])
}

/// A query; `edns`: the size of answers that is claimed, and further bytes of options.
fn query(name: &[u8], qtype: u16, edns: Option<(u16, &[u8])>) -> Vec<u8> {
    let header =
        Header { id: 7, flags: Flags(0), qdcount: 1, arcount: edns.is_some().into(), ..Header::default() };
    let mut message = header.emit().to_vec();
    message.extend_from_slice(name);
    message.extend_from_slice(&qtype.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    if let Some((size, options)) = edns {
        let length = u16::try_from(options.len()).expect("few bytes");
        message.extend_from_slice(&dns::edns::emit_opt(size, 0, true, length));
        message.extend_from_slice(options);
    }
    message
}

const SPOOFED: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

mod a_flood_with_a_forged_source {
    use super::*;

    const PER_SECOND: u32 = 10;

    fn responder(catalogue: &Catalogue) -> Responder {
        let rate = Rate { per_second: PER_SECOND, burst_seconds: 1, slip: 2, buckets: 1 << 12, key: 3 };
        let cookie_secret = Some(dns::cookie::Secret([9; 16]));
        Responder::new(Settings { rate: Some(rate), cookie_secret, ..Settings::default() }, catalogue)
    }

    /// A name that nobody asked for before.
    fn fresh(number: u64, above: &[u8]) -> Vec<u8> {
        let label = format!("x{number:x}");
        let mut name = vec![u8::try_from(label.len()).expect("short")];
        name.extend_from_slice(label.as_bytes());
        name.extend_from_slice(above);
        name
    }

    #[test]
    fn gets_no_answer_larger_than_its_question_beyond_the_rate() {
        let catalogue = catalogue();
        /// What it is, the type that is asked for, and the name by the number of the question.
        type Flood = (&'static str, u16, fn(u64) -> Vec<u8>);
        let floods: [Flood; 13] = [
            ("names below a small cut", 1, |number| fresh(number, b"\x03few\x07example\0")),
            ("a DNAME's names elsewhere", 1, |number| fresh(number, b"\x03out\x07example\0")),
            ("a wildcard's names that lead elsewhere", 1, |number| fresh(number, b"\x04away\x07example\0")),
            ("a wildcard's names that lead to one", 1, |number| fresh(number, b"\x04near\x07example\0")),
            ("a large set", 1, |_| b"\x03big\x07example\0".to_vec()),
            ("a set that does not fit", 16, |_| b"\x04long\x07example\0".to_vec()),
            ("a referral", 1, |_| b"\x01x\x03cut\x07example\0".to_vec()),
            ("a chain", 1, |_| b"\x05alias\x07example\0".to_vec()),
            ("names that do not exist", 1, |number| fresh(number, b"\x07example\0")),
            ("a wildcard's names", 16, |number| fresh(number, b"\x04wild\x07example\0")),
            ("a DNAME's names", 1, |number| fresh(number, b"\x01d\x07example\0")),
            ("names below a cut", 1, |number| fresh(number, b"\x03cut\x07example\0")),
            ("another's zone", 1, |number| fresh(number, b"\x05other\0")),
        ];
        for (what, qtype, name) in floods {
            let mut responder = responder(&catalogue);
            let (mut asked, mut answered, mut larger, mut largest) = (0, 0, 0, 0);
            let seconds = 10;
            for number in 0..20_000_u64 {
                let message = query(&name(number), qtype, Some((4_096, &[])));
                let now_ms = number * seconds * 1_000 / 20_000;
                let request = Request { source: SPOOFED, transport: Transport::Udp, now_ms, unix: 0 };
                let mut room = [0; 4_096];
                asked += message.len();
                if let Some(response) = responder.respond(&catalogue, &request, &message, &mut room) {
                    answered += response.bytes;
                    if response.bytes > message.len() {
                        larger += 1;
                    }
                    largest = largest.max(response.bytes);
                }
            }
            // The burst, and what the rate allows in ten seconds.
            let allowed = u64::from(PER_SECOND) * (seconds + 1) + 1;
            assert!(larger <= allowed, "{what}: {larger} answers are larger than their questions");
            let bound = asked / 2 + usize::try_from(allowed).expect("few") * largest;
            assert!(answered <= bound, "{what}: {answered} bytes for {asked}");
            assert!(responder.counters().slipped > 9_000 && responder.counters().limited > 9_000, "{what}");
        }
    }

    #[test]
    fn of_messages_that_are_none_is_limited_as_well() {
        let catalogue = catalogue();
        let mut responder = responder(&catalogue);
        let mut cookie = Header { id: 7, arcount: 1, ..Header::default() }.emit().to_vec();
        cookie.extend(dns::edns::emit_opt(4_096, 0, false, 12));
        cookie.extend([0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]);
        let short = Header { id: 7, qdcount: 1, ..Header::default() }.emit().to_vec();
        let mut opcode = query(b"\x03big\x07example\0", 1, None);
        opcode[2] |= 0x78;
        for message in [short, opcode, cookie] {
            let mut answered = 0;
            for _ in 0..1_000 {
                let request = Request { source: SPOOFED, transport: Transport::Udp, now_ms: 0, unix: 0 };
                let mut room = [0; 4_096];
                answered += responder
                    .respond(&catalogue, &request, &message, &mut room)
                    .map_or(0, |response| response.bytes);
            }
            assert!(answered <= 520 * message.len(), "{answered} bytes for 1,000 of {}", message.len());
        }
    }

    #[test]
    fn does_not_keep_those_with_a_cookie_from_their_answers() {
        let catalogue = catalogue();
        let mut responder = responder(&catalogue);
        let request = Request { source: SPOOFED, transport: Transport::Udp, now_ms: 0, unix: 100 };
        let mut room = [0; 4_096];
        let mut ask = |options: &[u8], room: &mut [u8]| {
            let message = query(b"\x03big\x07example\0", 1, Some((4_096, options)));
            responder.respond(&catalogue, &request, &message, room).map(|response| response.bytes)
        };
        let first = ask(&[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8], &mut room).expect("the first is answered");
        // The option is the last thing in the answer: client cookie and ours.
        let ours = room[first - 24..first].to_vec();
        while ask(&[], &mut room).is_some_and(|bytes| bytes > 600) {}
        let with_cookie = [&[0, 10, 0, 24][..], &ours].concat();
        for _ in 0..1_000 {
            assert!(ask(&with_cookie, &mut room).is_some_and(|bytes| bytes > 900), "it is trusted");
        }
        let mut forged = with_cookie.clone();
        *forged.last_mut().expect("bytes") ^= 1;
        let answered = (0..100).filter(|_| ask(&forged, &mut room).is_some_and(|bytes| bytes > 100)).count();
        assert_eq!(answered, 0, "a forged cookie is none");
    }
}

mod a_message_that_is_hard_to_read {
    use super::*;

    fn answer(message: &[u8]) -> Option<Vec<u8>> {
        let catalogue = catalogue();
        let mut responder = Responder::new(Settings::default(), &catalogue);
        let request = Request { source: SPOOFED, transport: Transport::Udp, now_ms: 0, unix: 0 };
        let mut room = [0; 4_096];
        let response = responder.respond(&catalogue, &request, message, &mut room)?;
        Some(room[..response.bytes].to_vec())
    }

    fn rcode(message: &[u8]) -> Option<u8> {
        answer(message).map(|answer| answer[3] & 15)
    }

    #[test]
    fn with_pointers_that_go_round_is_a_format_error() {
        for name in [
            &[0xc0, 12][..],
            &[1, b'a', 0xc0, 12],
            &[0xc0, 14, 0xc0, 12],
            &[0xff, 0xff],
            &[0xc0],
            &[0xc0, 13, 0],
            &[0x40, 0],
            &[0x80, 0],
            &[64, b'a'],
        ] {
            assert_eq!(rcode(&query(name, 1, None)), Some(1), "{name:02x?}");
        }
    }

    #[test]
    fn with_the_longest_names_is_answered_and_with_longer_ones_refused() {
        let label = [&[63][..], &[b'l'; 63]].concat();
        let last = |bytes: usize| {
            let length = u8::try_from(bytes).expect("a label");
            [&[length][..], &vec![b'l'; bytes]].concat()
        };
        // 3 × 64 and 9 bytes of the zone leave 54: a length and 53.
        let longest = [&label[..], &label, &label, &last(53), APEX].concat();
        assert_eq!(longest.len(), 255);
        assert_eq!(rcode(&query(&longest, 1, None)), Some(3));
        assert_eq!(
            answer(&query(&longest, 1, None)).map(|answer| answer[12..267] == longest[..]),
            Some(true)
        );
        let longer = [&label[..], &label, &label, &last(54), APEX].concat();
        assert_eq!(rcode(&query(&longer, 1, None)), Some(1));
        let labels = [&[1, b'a'].repeat(123)[..], APEX].concat();
        assert_eq!((labels.len(), rcode(&query(&labels, 1, None))), (255, Some(3)));
        let mut name = Name::root();
        assert!(name.set(&longest).is_ok());
        // Through a DNAME it would become longer still: RFC 6672 §2.2.
        let below = [&label[..], &label, &label, &last(51), b"\x01d", APEX].concat();
        assert_eq!((below.len(), rcode(&query(&below, 1, Some((1_232, &[]))))), (255, Some(3)));
    }

    #[test]
    fn of_any_bytes_is_answered_with_a_message_or_not_at_all() {
        let catalogue = catalogue();
        let mut responder = Responder::new(Settings::default(), &catalogue);
        let mut dice = 1_u64;
        let mut any = move || {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(dice >> 33).unwrap_or(0)
        };
        for _ in 0..200_000 {
            let mut message =
                query(b"\x01x\x03cut\x07example\0", 1, Some((1_232, &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8])));
            for _ in 0..1 + any() % 6 {
                let at = any() % message.len();
                message[at] = u8::try_from(any() % 256).unwrap_or(0);
            }
            message.truncate(any() % (message.len() + 20));
            let transport = if any() % 2 == 0 { Transport::Tcp } else { Transport::Udp };
            let request = Request { source: SPOOFED, transport, now_ms: 0, unix: 0 };
            let mut room = [0; 4_096];
            if let Some(response) = responder.respond(&catalogue, &request, &message, &mut room) {
                let bytes = &room[..response.bytes];
                namestorm::show::show(bytes).unwrap_or_else(|why| panic!("{why}: {message:02x?}"));
                assert_eq!(response.sum.fold() % 0xffff, wire::checksum::Sum::of(bytes).fold() % 0xffff);
            }
        }
    }
}
