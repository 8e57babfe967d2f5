use super::*;
use alloc::vec::Vec;
use proptest::prelude::*;

/// `www.example. IN A`, with RD.
const PLAIN: &[u8] = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x03www\x07example\0\0\x01\0\x01";

fn parsed(message: &[u8]) -> Result<Query, Refusal> {
    parse(message, &mut Name::root())
}

/// `PLAIN` with these records behind it, all of them additional.
fn with_additional(records: &[&[u8]]) -> Vec<u8> {
    let mut message = PLAIN.to_vec();
    message[11] = u8::try_from(records.len()).unwrap();
    message.extend(records.concat());
    message
}

const OPT: &[u8] = b"\0\0\x29\x04\xd0\0\0\x80\0\0\0";

mod a_plain_query {
    use super::*;

    #[test]
    fn is_read() {
        let query = parsed(PLAIN).unwrap();
        let question = query.question.unwrap();
        assert_eq!((question.qtype, question.qclass, question.end), (Rtype::A, Class::IN, PLAIN.len()));
        assert_eq!((query.header.id, query.edns, query.tsig), (0x1234, None, None));
    }

    #[test]
    fn that_ends_anywhere_else_is_formerr_or_dropped() {
        for cut in 0..PLAIN.len() {
            match parsed(&PLAIN[..cut]) {
                Err(Refusal::TooShort) => assert!(cut < 12),
                Err(Refusal::Answer { rcode: Rcode::FORMERR, .. }) => assert!(cut >= 12),
                other => panic!("cut at {cut}: {other:?}"),
            }
        }
    }

    /// RFC 8906 §4.
    #[test]
    fn with_bytes_behind_it_is_formerr() {
        let mut message = PLAIN.to_vec();
        message.push(0);
        assert!(matches!(
            parsed(&message),
            Err(Refusal::Answer { rcode: Rcode::FORMERR, question: Some(_) })
        ));
    }
}

mod a_header {
    use super::*;

    fn refused(change: impl FnOnce(&mut Vec<u8>)) -> Refusal {
        let mut message = PLAIN.to_vec();
        change(&mut message);
        parsed(&message).unwrap_err()
    }

    #[test]
    fn of_a_response_is_dropped() {
        assert_eq!(refused(|message| message[2] |= 0x80), Refusal::Response);
    }

    /// RFC 8906 §3.1.4.
    #[test]
    fn with_an_unknown_opcode_is_notimp_whatever_follows() {
        for opcode in (0..16).filter(|opcode| ![0, 4].contains(opcode)) {
            let refusal = refused(|message| {
                message[2] = opcode << 3;
                message.truncate(12 + usize::from(opcode % 3));
            });
            assert_eq!(refusal, Refusal::Answer { rcode: Rcode::NOTIMP, question: None });
        }
    }

    /// RFC 9619 §4.
    #[test]
    fn with_more_questions_than_one_is_formerr() {
        for count in [2, 255] {
            assert_eq!(refused(|message| message[5] = count), formerr(None));
        }
        assert_eq!(refused(|message| message[4..6].copy_from_slice(&[255, 255])), formerr(None));
    }

    #[test]
    fn with_answers_or_authority_is_formerr() {
        for at in [7, 9] {
            let refusal = refused(|message| message[at] = 1);
            assert!(matches!(refusal, Refusal::Answer { rcode: Rcode::FORMERR, question: Some(_) }));
        }
    }

    /// RFC 7873 §5.4.
    #[test]
    fn without_a_question_is_formerr_but_for_a_cookie() {
        let mut message = PLAIN[..12].to_vec();
        message[5] = 0;
        assert_eq!(parsed(&message), Err(formerr(None)));
        message[11] = 1;
        message.extend(b"\0\0\x29\x04\xd0\0\0\0\0\0\x0c\0\x0a\0\x0812345678");
        let query = parsed(&message).unwrap();
        assert_eq!(query.question, None);
        assert_eq!(query.edns.unwrap().cookie.unwrap().client, *b"12345678");
    }
}

mod an_opt_record {
    use super::*;

    #[test]
    fn is_read() {
        let edns = parsed(&with_additional(&[OPT])).unwrap().edns.unwrap();
        assert_eq!((edns.udp_bytes, edns.version, edns.dnssec), (1232, 0, true));
    }

    /// RFC 6891 §6.1.1.
    #[test]
    fn twice_is_formerr() {
        assert!(parsed(&with_additional(&[OPT, OPT])).is_err());
    }

    #[test]
    fn with_an_owner_is_formerr() {
        let owned = [b"\x01x", OPT].concat();
        assert!(parsed(&with_additional(&[&owned])).is_err());
    }

    /// RFC 6891 §6.2.3.
    #[test]
    fn with_a_size_below_512_means_512() {
        let small = [&OPT[..3], b"\0\x10", &OPT[5..]].concat();
        assert_eq!(parsed(&with_additional(&[&small])).unwrap().edns.unwrap().udp_bytes, 512);
    }

    fn with_option(option: &[u8]) -> Result<Query, Refusal> {
        let mut opt = OPT.to_vec();
        opt[10] = u8::try_from(option.len()).unwrap();
        opt.extend_from_slice(option);
        parsed(&with_additional(&[&opt]))
    }

    #[test]
    fn with_an_unknown_option_is_read() {
        assert!(with_option(b"\xff\x01\0\x02hi").is_ok());
    }

    #[test]
    fn with_an_option_behind_its_end_is_formerr() {
        assert!(with_option(b"\xff\x01\0\x03hi").is_err());
        assert!(with_option(b"\xff\x01\0").is_err());
    }

    /// RFC 7873 §5.2.2.
    #[test]
    fn with_a_cookie_of_a_wrong_length_is_formerr() {
        for bytes in 0..=48_u8 {
            let option = [&[0, 10, 0, bytes][..], &[7; 48][..usize::from(bytes)]].concat();
            assert_eq!(with_option(&option).is_ok(), bytes == 8 || (16..=40).contains(&bytes), "{bytes}");
        }
    }

    /// RFC 7871 §7.1.2 and §11.1.
    #[test]
    fn with_a_client_subnet_is_read_or_formerr() {
        let ecs = with_option(b"\0\x08\0\x07\0\x01\x18\0\xc0\0\x02").unwrap().edns.unwrap().ecs.unwrap();
        assert_eq!((ecs.address, ecs.source_prefix), ([192, 0, 2, 0].into(), 24));
        let v6 = with_option(b"\0\x08\0\x08\0\x02\x20\0\x20\x01\x0d\xb8").unwrap().edns.unwrap().ecs.unwrap();
        let mut out = [0; 64];
        assert_eq!(v6.emit(24, &mut out), Some(12));
        assert_eq!(&out[..12], b"\0\x08\0\x08\0\x02\x20\x18\x20\x01\x0d\xb8");
        for bad in [
            &b"\0\x08\0\x07\0\x03\x18\0\xc0\0\x02"[..],
            b"\0\x08\0\x07\0\x01\x18\x08\xc0\0\x02",
            b"\0\x08\0\x07\0\x01\x10\0\xc0\0\x02",
            b"\0\x08\0\x07\0\x01\x17\0\xc0\0\x03",
            b"\0\x08\0\x09\0\x01\x21\0\xc0\0\x02\0\0",
            b"\0\x08\0\x03\0\x01\x00",
        ] {
            assert!(with_option(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn of_another_version_is_not_looked_into() {
        let mut opt = [OPT, b"\0\x0a\0"].concat();
        opt[6] = 1;
        opt[10] = 3;
        assert_eq!(parsed(&with_additional(&[&opt])).unwrap().edns.unwrap().version, 1);
    }
}

/// RFC 8945 §5.1.
#[test]
fn a_signature_that_is_not_last_is_formerr() {
    let tsig = b"\x01k\0\0\xfa\0\xff\0\0\0\0\0\0";
    assert!(parsed(&with_additional(&[OPT, tsig])).unwrap().tsig.is_some());
    assert!(parsed(&with_additional(&[tsig, OPT])).is_err());
}

/// The one name that an honest header can lend: the upper byte of a count is the root.
#[test]
fn a_name_compressed_into_the_header_is_understood() {
    let mut message = PLAIN[..12].to_vec();
    message.extend(b"\x03www\x07example\xc0\x04\0\x01\0\x01");
    let mut name = Name::root();
    let query = parse(&message, &mut name).unwrap();
    assert!(query.question.unwrap().compressed);
    assert_eq!(name.wire(), b"\x03www\x07example\0");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parsed(&bytes);
    }

    #[test]
    fn no_change_makes_it_panic(at in 0_usize..60, byte in any::<u8>()) {
        let mut message = with_additional(&[b"\0\0\x29\x04\xd0\0\0\x80\0\0\x0c\0\x0a\0\x0812345678"]);
        let at = at % message.len();
        message[at] = byte;
        let _ = parsed(&message);
    }
}
