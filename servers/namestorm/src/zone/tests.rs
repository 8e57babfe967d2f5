use super::*;
use crate::hash::{Form, Key};
use crate::load::{Reason, read_text};
use core::fmt::Write as _;
use dns::Rtype;
use dns::name::from_text;
use std::path::Path;

const HEAD: &str = "$TTL 300\n@ SOA ns h 7 3600 900 604800 60\n@ NS ns\nns A 192.0.2.1\n";

fn built(text: &str) -> Result<Built, crate::load::ZoneError> {
    let apex = from_text(b"example.").unwrap();
    let loaded = read_text(Path::new("z"), text.as_bytes(), &apex)?;
    build(&apex, loaded, Key::new([1; 16]), Form::Wire)
}

fn zone(rest: &str) -> Built {
    built(&format!("{HEAD}{rest}")).unwrap()
}

fn located(zone: &Zone, text: &str) -> String {
    let mut name = Name::root();
    name.set(&from_text(text.as_bytes()).unwrap()).unwrap();
    let mut hashes = Suffixes::new(Key::new([1; 16]), Form::Wire);
    hashes.fill(&name);
    match zone.locate(&name, &hashes) {
        Found::Exact(..) => "exact".to_owned(),
        Found::Cut(..) => "cut".to_owned(),
        Found::Dname(..) => "dname".to_owned(),
        Found::Wildcard(_, _, labels) => format!("wildcard below {labels}"),
        Found::Nothing(labels) => format!("nothing below {labels}"),
    }
}

#[test]
fn a_name_leads_where_rfc_1034_says() {
    let built =
        zone("a.b.c A 1.1.1.1\nsub NS ns.sub\nns.sub A 1.1.1.2\nd DNAME x.\n*.w A 1.1.1.3\nq.w A 1.1.1.4\n");
    let zone = &built.zone;
    for (name, place) in [
        ("example.", "exact"),
        ("a.b.c.example.", "exact"),
        ("b.c.example.", "exact"),
        ("z.b.c.example.", "nothing below 3"),
        ("sub.example.", "cut"),
        ("ns.sub.example.", "cut"),
        ("x.y.sub.example.", "cut"),
        ("d.example.", "exact"),
        ("x.d.example.", "dname"),
        ("x.w.example.", "wildcard below 2"),
        ("y.x.w.example.", "wildcard below 2"),
        ("q.w.example.", "exact"),
        ("x.q.w.example.", "nothing below 3"),
        ("*.w.example.", "exact"),
        ("nowhere.example.", "nothing below 1"),
    ] {
        assert_eq!(located(zone, name), place, "{name}");
    }
    assert_eq!(zone.serial(), 7);
}

#[test]
fn every_name_of_many_is_found_and_no_other() {
    let mut text = String::new();
    for index in 0..5_000 {
        let _ = writeln!(text, "h{index} A 10.0.{}.{}", index / 256, index % 256);
    }
    let built = zone(&text);
    for index in 0..5_000 {
        assert_eq!(located(&built.zone, &format!("h{index}.example.")), "exact");
        assert_eq!(located(&built.zone, &format!("g{index}.example.")), "nothing below 1");
    }
    assert_eq!(built.zone.nodes().count(), 5_002);
    assert_eq!(built.zone.weight().names, 5_002);
}

#[test]
fn what_a_zone_may_not_hold_is_refused() {
    for (text, expected) in [
        ("$TTL 1\n@ NS a\n", Reason::NoSoa(from_text(b"example.").unwrap().into())),
        ("$TTL 1\n@ SOA a b 1 2 3 4 5\n", Reason::NoNs(from_text(b"example.").unwrap().into())),
        (
            &format!("{HEAD}@ SOA ns h 8 3600 900 604800 60\n"),
            Reason::SeveralSoa(from_text(b"example.").unwrap().into()),
        ),
        (
            &format!("{HEAD}c CNAME x\nc A 1.1.1.1\n"),
            Reason::CnameAndOther(from_text(b"c.example.").unwrap().into()),
        ),
        (
            &format!("{HEAD}c CNAME x\nc CNAME y\n"),
            Reason::Several(Rtype::CNAME, from_text(b"c.example.").unwrap().into()),
        ),
        (&format!("{HEAD}$GENERATE 1-5000 big A 10.0.${{0}}.1\n"), Reason::Syntax(String::new())),
    ] {
        let reason = built(text).unwrap_err().reason;
        match expected {
            Reason::Syntax(_) => assert!(matches!(reason, Reason::Syntax(_)), "{reason}"),
            expected => assert_eq!(reason, expected),
        }
    }
}

#[test]
fn a_set_that_no_message_holds_is_refused() {
    let mut text = HEAD.to_owned();
    for index in 0..4_200 {
        let _ = writeln!(text, "big A 10.0.{}.{}", index / 256, index % 256);
    }
    assert_eq!(
        built(&text).unwrap_err().reason,
        Reason::TooLarge(Rtype::A, from_text(b"big.example.").unwrap().into())
    );
}

#[test]
fn what_looks_like_a_mistake_is_said() {
    let built =
        zone("other.test. A 1.1.1.1\nsub NS ns.sub\nx 5 A 1.1.1.1\nx 6 A 1.1.1.2\nlow SOA a b 1 2 3 4 5\n");
    let said: Vec<String> = built.warnings.iter().map(ToString::to_string).collect();
    for expected in ["outside the zone", "has no address here", "different TTLs", "not the zone's name"] {
        assert!(said.iter().any(|said| said.contains(expected)), "{expected}: {said:?}");
    }
}

#[test]
fn the_same_record_twice_is_one() {
    let built = zone("x A 1.1.1.1\nx A 1.1.1.1\nx A 1.1.1.2\n");
    let (_, node) = built.zone.nodes().find(|(_, node)| node.name() == b"\x01x").unwrap();
    assert_eq!(node.entry(Rtype::A).unwrap().plain().an, 2);
}

#[test]
fn a_zone_weighs_less_than_three_times_its_text() {
    let mut text = HEAD.to_owned();
    for index in 0..20_000 {
        let _ = writeln!(text, "host{index} A 10.0.{}.{}", index / 256, index % 256);
    }
    let weight = built(&text).unwrap().zone.weight();
    assert!(weight.bytes <= 3 * weight.text_bytes, "{weight}");
}

mod contents {
    use super::*;
    use crate::zone::{Cursor, Item};
    use core::ops::ControlFlow;
    use std::collections::BTreeSet;

    const EVERYTHING: &str = "a.b.c A 1.1.1.1\na.b.c A 1.1.1.2\nmail MX 10 a.b.c\nmail RRSIG MX 13 2 300 20380101000000 \
         20200101000000 1 example. c2ln\nsub NS ns.sub\nsub NS elsewhere.test.\nsub DS 1 13 2 aabb\nsub TXT \"hidden\"\n\
         sub RRSIG NS 13 2 300 20380101000000 20200101000000 1 example. c2ln\nns.sub A 1.1.1.2\nns.sub AAAA 2001:db8::1\n\
         d DNAME x.\nbelow.d TXT \"occluded\"\n*.w SRV 1 2 3 mail\nq.w CNAME www.Example.test.\n\
         b4um86eghhds6nea196smvmlo4ors995 NSEC3 1 0 0 - b4um86eghhds6nea196smvmlo4ors995 A\n\
         b4um86eghhds6nea196smvmlo4ors995 RRSIG NSEC3 13 2 300 20380101000000 20200101000000 1 example. c2ln\n\
         c4um86eghhds6nea196smvmlo4ors995 NSEC3 1 0 5 aa c4um86eghhds6nea196smvmlo4ors995 A\n";

    type Row = (Vec<u8>, Rtype, u32, Vec<u8>);

    fn row(item: &Item<'_>) -> Row {
        (item.owner.to_vec(), item.rtype, item.ttl, item.rdata.to_vec())
    }

    /// What the file says, by the parser.
    fn said(rest: &str) -> Vec<Row> {
        let apex = from_text(b"example.").unwrap();
        let loaded = read_text(Path::new("z"), format!("{HEAD}{rest}").as_bytes(), &apex).unwrap();
        let mut rows = Vec::new();
        let (mut next, mut owner) = (loaded.records.first(), Vec::new());
        while let Some(at) = next {
            let record = loaded.records.record(at);
            if let Some(own) = record.owner {
                owner = own[..own.len() - apex.len()].to_vec();
            }
            rows.push((owner.clone(), record.rtype, record.ttl, record.rdata.to_vec()));
            next = loaded.records.following(at);
        }
        rows.sort();
        rows
    }

    #[test]
    fn everything_that_the_file_says_is_there_once() {
        let mut rows = Vec::new();
        let end = zone(EVERYTHING).zone.visit(Cursor::default(), |item| {
            rows.push(row(item));
            ControlFlow::Continue(())
        });
        assert_eq!(end, None);
        rows.sort();
        assert_eq!(rows, said(EVERYTHING));
    }

    #[test]
    fn it_goes_on_where_it_stopped() {
        let built = zone(EVERYTHING);
        let mut rows = Vec::new();
        let mut cursor = Some(Cursor::default());
        let mut stops = BTreeSet::new();
        while let Some(from) = cursor {
            let mut left = 1;
            cursor = built.zone.visit(from, |item| {
                if left == 0 {
                    return ControlFlow::Break(());
                }
                left -= 1;
                rows.push(row(item));
                ControlFlow::Continue(())
            });
            assert!(stops.insert(format!("{cursor:?}")), "it moves");
        }
        rows.sort();
        assert_eq!(rows, said(EVERYTHING));
    }

    #[test]
    fn the_soa_is_whole() {
        let soa = zone("").zone.soa();
        assert_eq!((soa.ttl, soa.numbers()), (300, [7, 3_600, 900, 604_800, 60]));
        assert!(soa.rdata.starts_with(b"\x02ns\x07example\0\x01h\x07example\0"));
    }

    #[test]
    fn what_is_written_as_text_is_read_as_the_same() {
        let rest = format!(
            "{EVERYTHING}t TXT \"a\\\"b\\\\c\\200\" \"\" \"; (x) $y @\"\nodd\\.dot.\\032blank A 1.2.3.4\n\\@ A 1.2.3.4\n\
             \\$weird A 1.2.3.4\n\\(p A 1.2.3.4\n@ CAA 0 issue \"ca.example\"\nx TYPE65300 \\# 0\ny TYPE65300 \\# 3 aabbcc\n\
             s SVCB 1 . alpn=h2 port=8443\n@ DNSKEY 257 3 13 aabbccddaabbccdd\ne NSEC f.example. A NSEC\n"
        );
        let before = zone(&rest).zone;
        let mut text = Vec::new();
        before.write(&mut text).unwrap();
        let apex = from_text(b"example.").unwrap();
        let loaded = read_text(Path::new("z"), &text, &apex)
            .unwrap_or_else(|error| panic!("{error}\n{}", String::from_utf8_lossy(&text)));
        let after = build(&apex, loaded, Key::new([1; 16]), Form::Wire).unwrap().zone;
        let rows = |zone: &Zone| {
            let mut rows = Vec::new();
            let _ = zone.visit(Cursor::default(), |item| {
                rows.push(row(item));
                ControlFlow::Continue(())
            });
            rows.sort();
            rows
        };
        assert_eq!(rows(&after), rows(&before), "{}", String::from_utf8_lossy(&text));
    }

    /// Everything of a zone, in one order.
    fn all(zone: &Zone) -> Vec<Row> {
        let mut rows = Vec::new();
        let _ = zone.visit(Cursor::default(), |item| {
            rows.push(row(item));
            ControlFlow::Continue(())
        });
        rows.sort();
        rows
    }

    proptest::proptest! {
        /// What a primary sends is no parser's work: it is what it is, and is built or refused, written and read again.
        #[test]
        fn data_of_any_kind_is_refused_or_kept_as_it_is(
            records in proptest::collection::vec((1_u16..110, proptest::collection::vec(0_u8..80, 0..40)), 0..6),
        ) {
            let apex = from_text(b"example.").unwrap();
            let mut loaded = read_text(Path::new("z"), HEAD.as_bytes(), &apex).unwrap();
            for (index, (rtype, rdata)) in records.iter().enumerate() {
                let owner = from_text(format!("x{}.example.", index % 3).as_bytes()).unwrap();
                if !Rtype(*rtype).is_meta() {
                    loaded.records.push(&owner, Rtype(*rtype), 60, |out| out.extend_from_slice(rdata)).unwrap();
                }
            }
            if let Ok(built) = build(&apex, loaded, Key::new([1; 16]), Form::Wire) {
                let mut text = Vec::new();
                built.zone.write(&mut text).unwrap();
                let again = read_text(Path::new("z"), &text, &apex).unwrap();
                let again = build(&apex, again, Key::new([1; 16]), Form::Wire).unwrap().zone;
                proptest::prop_assert_eq!(all(&again), all(&built.zone));
            }
        }
    }
}
