use super::*;
use crate::catalogue::Catalogue;
use crate::hash::{Form, Key};
use crate::respond::{Request, Transport};
use crate::transfer::outgoing::Outgoing;
use crate::transfer::policy::{Policy, Rules};
use crate::{load, zone};
use dns::Name;

const APEX: &[u8] = b"\x07example\0";
const NOW: u64 = 1_800_000_000;
const ID: u16 = 4_711;
const LARGE: u64 = 1 << 20;

fn names_key() -> Key {
    Key::new([3; 16])
}

fn key() -> tsig::Key {
    tsig::Key { name: b"\x03xfr\0".to_vec(), algorithm: tsig::Algorithm::Sha256, secret: vec![7; 32] }
}

fn version(serial: u32, rest: &str, before: Option<&Arc<Zone>>) -> Arc<Zone> {
    let text = format!("$TTL 300\n@ SOA ns h {serial} 3600 900 604800 60\n@ NS ns\nns A 192.0.2.1\n{rest}");
    let loaded = load::read_text("z".as_ref(), text.as_bytes(), APEX).unwrap();
    built(loaded, before)
}

fn built(loaded: Loaded, before: Option<&Arc<Zone>>) -> Arc<Zone> {
    let mut zone = zone::build(APEX, loaded, names_key(), Form::Wire).unwrap().zone;
    if let Some(before) = before {
        zone.succeed(before, names_key(), Form::Wire);
    }
    Arc::new(zone)
}

/// What a primary with this zone answers.
fn answers(theirs: &Arc<Zone>, message: &[u8]) -> Vec<Vec<u8>> {
    let rules = Rules { transfer: vec!["0.0.0.0/0".parse().unwrap()], primaries: Vec::new() };
    let policy = Policy::new(vec![key()], BTreeMap::from([(APEX.into(), rules)]));
    let zones = vec![Arc::clone(theirs)];
    let catalogue = Catalogue::new(names_key(), Form::Wire, zones).governed(Arc::new(policy));
    let request = Request {
        source: [192, 0, 2, 9].into(),
        transport: Transport::Tcp,
        now_ms: 0,
        unix: u32::try_from(NOW).unwrap(),
    };
    let mut outgoing = Outgoing::open(&catalogue, &request, message, &mut Name::root()).unwrap();
    core::iter::from_fn(|| outgoing.next_message(NOW)).collect()
}

fn ask(ours: Option<&Arc<Zone>>, all: bool, key: Option<&tsig::Key>) -> (Incoming, Vec<u8>) {
    Incoming::ask(APEX, ours.cloned(), all, key, (ID, NOW), LARGE)
}

fn take(incoming: &mut Incoming, messages: &[Vec<u8>]) -> Result<Progress, Fault> {
    let mut progress = Progress::More;
    for message in messages {
        assert!(matches!(progress, Progress::More), "the end came before the last message");
        progress = incoming.on_message(message, NOW)?;
    }
    Ok(progress)
}

/// What comes of asking somebody who has `theirs`.
fn fetched(ours: Option<&Arc<Zone>>, theirs: &Arc<Zone>) -> Result<Option<Arc<Zone>>, Fault> {
    let (mut incoming, message) = ask(ours, false, None);
    match take(&mut incoming, &answers(theirs, &message))? {
        Progress::More => Err(Fault::Ended),
        Progress::Current => Ok(None),
        Progress::Version(loaded) => Ok(Some(built(loaded, ours))),
    }
}

fn rows(zone: &Zone) -> Vec<(Vec<u8>, Rtype, u32, Vec<u8>)> {
    let mut rows = Vec::new();
    let _ = zone.visit(Cursor::default(), |item| {
        rows.push((item.owner.to_vec(), item.rtype, item.ttl, item.rdata.to_vec()));
        ControlFlow::Continue(())
    });
    rows.sort();
    rows
}

const A: &str = "www A 1.1.1.1\nwww A 1.1.1.2\nm MX 10 ns\nsub NS ns.sub\nns.sub A 1.1.1.3\nold TXT \"x\"\nttl A 1.1.1.9\n";
const B: &str =
    "www A 1.1.1.2\nm MX 20 WWW\nsub NS ns.sub\nns.sub A 1.1.1.4\nnew TXT \"x\"\nttl 600 A 1.1.1.9\n";

/// A response with these records, of class IN unless they say otherwise.
fn response(records: &[(&[u8], Rtype, &[u8])]) -> Vec<u8> {
    let flags = Flags(Flags::QR | Flags::AA);
    let ancount = u16::try_from(records.len()).unwrap();
    let mut message = Header { id: ID, flags, ancount, ..Header::default() }.emit().to_vec();
    for (owner, rtype, rdata) in records {
        message.extend_from_slice(owner);
        message.extend(rtype.0.to_be_bytes());
        message.extend([0, 1, 0, 0, 0, 60]);
        message.extend(u16::try_from(rdata.len()).unwrap().to_be_bytes());
        message.extend_from_slice(rdata);
    }
    message
}

fn soa(serial: u32) -> Vec<u8> {
    let mut rdata = vec![0, 0];
    rdata.extend(serial.to_be_bytes());
    rdata.extend([0; 16]);
    rdata
}

mod honest {
    use super::*;

    #[test]
    fn a_zone_that_is_new_here_comes_whole() {
        let theirs = version(7, A, None);
        assert_eq!(rows(&fetched(None, &theirs).unwrap().unwrap()), rows(&theirs));
    }

    #[test]
    fn whoever_has_what_we_have_says_so() {
        let theirs = version(7, A, None);
        assert!(fetched(Some(&version(7, A, None)), &theirs).unwrap().is_none());
    }

    #[test]
    fn what_changed_over_several_versions_makes_the_last_one() {
        let first = version(u32::MAX, A, None);
        let second = version(3, B, Some(&first));
        let third = version(4, A, Some(&second));
        let fourth = version(5, B, Some(&third));
        for ours in [&first, &second, &third] {
            let (mut incoming, message) = ask(Some(ours), false, None);
            let messages = answers(&fourth, &message);
            let Progress::Version(loaded) = take(&mut incoming, &messages).unwrap() else {
                panic!("a version")
            };
            assert_eq!(rows(&built(loaded, Some(ours))), rows(&fourth));
        }
    }

    #[test]
    fn somebody_without_a_journal_sends_all_of_it() {
        let theirs = version(8, B, None);
        let ours = version(7, A, None);
        assert_eq!(rows(&fetched(Some(&ours), &theirs).unwrap().unwrap()), rows(&theirs));
    }

    #[test]
    fn a_large_zone_comes_in_many_messages_each_signed() {
        let text: String = (0..3_000).map(|index| format!("n{index} TXT \"{index:0>100}\"\n")).collect();
        let theirs = version(7, &text, None);
        let (mut incoming, message) = ask(None, false, Some(&key()));
        let messages = answers(&theirs, &message);
        assert!(messages.len() > 10);
        let Progress::Version(loaded) = take(&mut incoming, &messages).unwrap() else { panic!("a version") };
        assert_eq!(rows(&built(loaded, None)), rows(&theirs));
    }

    #[test]
    fn names_are_the_same_in_any_case() {
        let ours = version(7, "m MX 10 Mail\n", None);
        let gone = response(&[
            (APEX, Rtype::SOA, &soa(8)),
            (APEX, Rtype::SOA, &soa(7)),
            (b"\x01M\x07Example\0", Rtype::MX, b"\0\x0a\x04mAIL\x07example\0"),
            (APEX, Rtype::SOA, &soa(8)),
            (APEX, Rtype::SOA, &soa(8)),
        ]);
        let (mut incoming, _) = ask(Some(&ours), false, None);
        let Progress::Version(loaded) = take(&mut incoming, &[gone]).unwrap() else { panic!("a version") };
        assert!(built(loaded, None).soa().serial() == 8);
    }
}

mod lying {
    use super::*;

    fn fault(ours: Option<&Arc<Zone>>, messages: &[Vec<u8>]) -> Fault {
        let (mut incoming, _) = ask(ours, false, None);
        take(&mut incoming, messages).unwrap_err()
    }

    fn of(records: &[(&[u8], Rtype, &[u8])]) -> Fault {
        fault(Some(&version(7, A, None)), &[response(records)])
    }

    #[test]
    fn nobody_leads_us_back() {
        let ours = version(7, A, None);
        for serial in [6, 7_u32.wrapping_add(1 << 31), 7_u32.wrapping_sub(1 << 30)] {
            let older = Fault::Older { theirs: serial, ours: 7 };
            assert_eq!(of(&[(APEX, Rtype::SOA, &soa(serial))]), older, "alone");
            let all: &[(&[u8], Rtype, &[u8])] = &[
                (APEX, Rtype::SOA, &soa(serial)),
                (APEX, Rtype::NS, &[0]),
                (APEX, Rtype::SOA, &soa(serial)),
            ];
            assert_eq!(of(all), older, "all of it");
            let (mut incoming, _) = ask(Some(&ours), true, None);
            assert_eq!(take(&mut incoming, &[response(all)]).unwrap_err(), older, "when that was asked for");
            let changes: &[(&[u8], Rtype, &[u8])] = &[
                (APEX, Rtype::SOA, &soa(serial)),
                (APEX, Rtype::SOA, &soa(7)),
                (APEX, Rtype::SOA, &soa(serial)),
            ];
            assert_eq!(of(changes), older, "as changes");
        }
    }

    #[test]
    fn what_was_never_here_cannot_be_gone() {
        let lie = of(&[
            (APEX, Rtype::SOA, &soa(8)),
            (APEX, Rtype::SOA, &soa(7)),
            (b"\x04never\x07example\0", Rtype::A, &[1, 1, 1, 1]),
            (APEX, Rtype::SOA, &soa(8)),
            (APEX, Rtype::SOA, &soa(8)),
        ]);
        assert!(matches!(lie, Fault::Malformed(_) | Fault::NotOurVersion | Fault::Record(..)));
        let lie = of(&[
            (APEX, Rtype::SOA, &soa(8)),
            (APEX, Rtype::SOA, &soa(7)),
            (b"\x05never\x07example\0", Rtype::A, &[1, 1, 1, 1]),
            (APEX, Rtype::SOA, &soa(8)),
            (APEX, Rtype::SOA, &soa(8)),
        ]);
        assert_eq!((lie.clone(), lie.failure(true)), (Fault::NotOurVersion, Failure::NoDifference));
    }

    #[test]
    fn versions_that_do_not_follow_each_other_are_no_changes() {
        let lie = of(&[
            (APEX, Rtype::SOA, &soa(10)),
            (APEX, Rtype::SOA, &soa(7)),
            (APEX, Rtype::SOA, &soa(8)),
            (APEX, Rtype::SOA, &soa(9)),
        ]);
        assert_eq!(lie, Fault::NotOurVersion);
    }

    #[test]
    fn a_record_that_does_not_belong_there_ends_it() {
        let outside: &[u8] = b"\x03www\x04test\0";
        // One label that ends with the bytes of the apex.
        let alike: &[u8] = b"\x09x\x07example\0";
        for (records, words) in [
            (&[(APEX, Rtype::NS, &[0][..])][..], "begin with the SOA"),
            (&[(APEX, Rtype::SOA, &soa(8)), (outside, Rtype::A, &[1, 1, 1, 1])], "outside"),
            (&[(APEX, Rtype::SOA, &soa(8)), (alike, Rtype::A, &[1, 1, 1, 1])], "outside"),
            (&[(APEX, Rtype::SOA, &soa(8)), (APEX, Rtype::TSIG, &[])], "no data"),
            (&[(APEX, Rtype::SOA, &[0, 0, 1])], "too short"),
            (
                &[
                    (APEX, Rtype::SOA, &soa(8)),
                    (APEX, Rtype::NS, &[0]),
                    (APEX, Rtype::SOA, &soa(8)),
                    (APEX, Rtype::NS, &[0]),
                ],
                "after the end",
            ),
            (
                &[(APEX, Rtype::SOA, &soa(8)), (APEX, Rtype::NS, &[0]), (APEX, Rtype::SOA, &soa(9))],
                "second version",
            ),
        ] {
            let line = of(records).to_string();
            assert!(line.contains(words), "{line}");
        }
    }

    #[test]
    fn another_id_question_or_kind_of_message_is_no_answer() {
        let good = answers(&version(7, A, None), &ask(None, false, None).1).remove(0);
        for (at, byte) in [(0, 0xff), (2, 0x04), (2, 0xa4), (2, 0x86), (5, 2), (14, b'y'), (22, 1)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert!(matches!(fault(None, &[bad]), Fault::NotAnAnswer(_)), "byte {at}");
        }
    }

    #[test]
    fn every_byte_of_a_signed_zone_counts() {
        let (_, message) = ask(None, false, Some(&key()));
        let messages = answers(&version(7, A, None), &message);
        for at in 0..messages[0].len() {
            let (mut incoming, _) = ask(None, false, Some(&key()));
            let mut changed = messages.clone();
            changed[0][at] ^= 1;
            let told = take(&mut incoming, &changed);
            // An error code that nobody signed is taken at its word: it is a failure either way.
            assert!(!matches!(told, Ok(Progress::Version(_) | Progress::Current)), "byte {at}: {told:?}");
        }
    }

    #[test]
    fn what_is_not_signed_to_its_end_is_not_taken() {
        let theirs = version(7, A, None);
        let (mut incoming, message) = ask(None, false, Some(&key()));
        let tail = u64::from(Header::parse(&message).unwrap().arcount);
        assert_eq!(tail, 1);
        let unsigned = answers(&theirs, &ask(None, false, None).1);
        assert_eq!(take(&mut incoming, &unsigned).unwrap_err(), Fault::Signature(TsigError::BadSig));

        // The first message is signed, the last is not.
        let (mut incoming, message) = ask(None, false, Some(&key()));
        let plain_bytes = ask(None, false, None).1.len();
        let mut server = Transaction::accept(&[key()], &message, plain_bytes, NOW).unwrap();
        let mut first = response(&[(APEX, Rtype::SOA, &soa(8)), (APEX, Rtype::NS, &[0])]);
        server.sign(&mut first, NOW);
        let last = response(&[(APEX, Rtype::SOA, &soa(8))]);
        assert_eq!(take(&mut incoming, &[first, last]).unwrap_err(), Fault::Unsigned);
    }

    #[test]
    fn a_zone_without_end_is_given_up() {
        let (mut incoming, _) = ask(None, false, None);
        assert!(matches!(
            incoming.on_message(&response(&[(APEX, Rtype::SOA, &soa(8))]), NOW),
            Ok(Progress::More)
        ));
        let filler = response(&[(APEX, Rtype::TXT, &[0; 1_000])]);
        let fault = (0..2_000).find_map(|_| incoming.on_message(&filler, NOW).err());
        assert_eq!(fault, Some(Fault::TooLarge(LARGE)));
    }

    #[test]
    fn a_zone_that_unpacks_to_more_than_may_be_held_is_given_up() {
        let label = [&[63][..], &[b'x'; 63]].concat();
        let long = [&label[..], &label, &label, APEX].concat();
        for change in [false, true] {
            let ours = version(7, A, None);
            let (mut incoming, _) = ask(Some(&ours), false, None);
            let (newer, ours) = (soa(8), soa(7));
            let both: [(&[u8], Rtype, &[u8]); 2] = [(APEX, Rtype::SOA, &newer), (APEX, Rtype::SOA, &ours)];
            let begin = response(&both[..=usize::from(change)]);
            assert!(matches!(incoming.on_message(&begin, NOW), Ok(Progress::More)));
            let (mut sent, mut told) = (0, None);
            for message in 0..100_u8 {
                // The name once, and then a pointer to it, or into it, for each of its records.
                let datas: Vec<[u8; 4]> = (0..2_000_u16)
                    .map(|index| [1, message, index.to_be_bytes()[0], index.to_be_bytes()[1]])
                    .collect();
                let mut records: Vec<(&[u8], Rtype, &[u8])> = vec![(&long, Rtype::A, &[1, 1, 1, 1])];
                for (index, data) in datas.iter().enumerate() {
                    let owner: &[u8] = if index % 2 == 0 { &[0xc0, 12] } else { &[0xc0, 12 + 64] };
                    records.push((owner, Rtype::A, data));
                }
                let message = response(&records);
                sent += message.len() as u64;
                told = incoming.on_message(&message, NOW).err();
                if told.is_some() {
                    break;
                }
            }
            assert_eq!(told, Some(Fault::TooLarge(LARGE)));
            assert!(sent < LARGE / 4, "{sent} bytes came");
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let refused = |rcode: u16| {
            let mut message = response(&[]);
            message[3] |= u8::try_from(rcode).unwrap();
            fault(Some(&version(7, A, None)), &[message])
        };
        assert!(refused(5).to_string().contains("REFUSED"));
        assert_eq!(refused(5).failure(true), Failure::Other);
        assert_eq!(refused(4).failure(true), Failure::NoDifference, "it does not know IXFR");
        assert_eq!(refused(4).failure(false), Failure::Other);
    }
}

proptest::proptest! {
    #[test]
    fn no_message_makes_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let (mut incoming, _) = ask(Some(&version(7, A, None)), false, None);
        let mut message = response(&[(APEX, Rtype::SOA, &soa(8)), (APEX, Rtype::SOA, &soa(7))]);
        message[7] = message[7].wrapping_add(bytes.first().copied().unwrap_or(0) % 8);
        message.extend(bytes);
        let _ = incoming.on_message(&message, NOW);
    }
}
