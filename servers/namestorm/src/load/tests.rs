use super::*;
use dns::Rtype;
use dns::name::{Presentation, from_text};

fn load(text: &str) -> Result<Vec<String>, ZoneError> {
    load_bytes(text.as_bytes())
}

fn load_bytes(text: &[u8]) -> Result<Vec<String>, ZoneError> {
    let loaded = read_text(Path::new("z"), text, &from_text(b"example.").unwrap())?;
    Ok(lines(&loaded.records))
}

fn lines(records: &Records) -> Vec<String> {
    let mut owner = Vec::new();
    let mut lines = Vec::new();
    let mut next = records.first();
    while let Some(at) = next {
        let record = records.record(at);
        if let Some(own) = record.owner {
            owner = own.to_vec();
        }
        lines.push(format!(
            "{} {} {} {}",
            Presentation(&owner),
            record.ttl,
            record.rtype,
            record.rdata.len()
        ));
        next = records.following(at);
    }
    lines
}

#[test]
fn entries_take_owner_and_ttl_from_those_before() {
    let text =
        "$TTL 1h\nA.b A 192.0.2.1\n  7 AAAA ::1 ; a comment\n\n@ MX 1 a\n$ORIGIN sub\nx A 192.0.2.2\n y A\n";
    let error = load(text).unwrap_err().to_string();
    assert!(error.starts_with("z:8: "), "{error}");
    let lines = load(&text[..text.len() - 5]).unwrap();
    assert_eq!(
        lines,
        ["a.b.example. 3600 A 4", "a.b.example. 7 AAAA 16", "example. 3600 MX 13", "x.sub.example. 3600 A 4"]
    );
}

/// RFC 1035 §5.1: without $TTL, the last one stated.
#[test]
fn a_ttl_is_that_of_the_record_before() {
    let lines =
        load("a 60 A 192.0.2.1\nb A 192.0.2.2\n$ORIGIN o\nc A 192.0.2.3\nd 5 A 192.0.2.4\ne A 192.0.2.5\n");
    let ttls: Vec<_> = lines.unwrap().iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(ttls, ["60", "60", "60", "5", "5"]);
}

#[test]
fn an_entry_may_go_over_lines_in_parentheses_and_quotes() {
    let text = "@ 1 SOA a b ( 1 ; serial (\n 2 3\n 4 5 )\nt 1 TXT \"; ( no comment\" \"\\\"\"\nu 1 TXT (\n a\n b )\nv 1 A 1.2.3.4";
    assert_eq!(load(text).unwrap().len(), 4);
}

#[test]
fn times_may_have_units_where_times_stand() {
    let text = "$TTL 1d\n@ IN SOA a b 1 1h 15m 1w 1H30M\nx 2h IN A 192.0.2.1\ny IN 1m30s A 192.0.2.2\n1h TXT 1h\n 3 TXT 5m\n";
    let lines = load(text).unwrap();
    assert_eq!(
        lines,
        [
            "example. 86400 SOA 42",
            "x.example. 7200 A 4",
            "y.example. 90 A 4",
            "1h.example. 86400 TXT 3",
            "1h.example. 3 TXT 3"
        ]
    );
}

#[test]
fn generate_counts() {
    let lines = load("$TTL 9\n$GENERATE 1-5/2 h${0,3,d}.$ A 192.0.2.$\n$GENERATE 16-17 ${0,4,n} PTR a\\$b.$\nz A 1.1.1.1\n").unwrap();
    assert_eq!(lines[0], "h001.1.example. 9 A 4");
    assert_eq!(lines[2], "h005.5.example. 9 A 4");
    assert_eq!(lines[3], "0.1.example. 9 PTR 16");
    assert_eq!(lines.len(), 6);
    for wrong in [
        "x A 1",
        "2-1 x A 1.1.1.1",
        "1-2/0 x A 1.1.1.1",
        "0-1 x${-1} A 1.1.1.1",
        "1-2 x${0,0,q} A 1.1.1.1",
        "1-2 ${ A 1",
    ] {
        let error = load(&format!("\n\n$GENERATE {wrong}\n")).unwrap_err().to_string();
        assert!(error.starts_with("z:3: $GENERATE: "), "{error}");
    }
}

#[test]
fn a_range_that_no_zone_means_is_an_error_and_takes_no_memory() {
    for range in ["0-2147483647", "1-2147483647/1000"] {
        let error = load(&format!("$TTL 1\n$GENERATE {range} h$ A 192.0.2.1\n")).unwrap_err().to_string();
        assert!(
            error.starts_with("z:2: $GENERATE: makes ") && error.ends_with("is the range right?"),
            "{error}"
        );
    }
    // Several directives are no way round it.
    let error = load(&"$GENERATE 1-500000/2 h$ A 192.0.2.1\n".repeat(5)).unwrap_err().to_string();
    assert!(error.starts_with("z:5: $GENERATE: makes 250000 lines"), "{error}");
    let error = load("$GENERATE 4294967295-4294967296 h$ A 192.0.2.1\n").unwrap_err().to_string();
    assert!(error.starts_with("z:1: $GENERATE: wants a range"), "{error}");
}

#[test]
fn lines_of_great_length_are_made_a_few_at_a_time_and_only_so_many() {
    let strings = format!("\"{}\" ", "x".repeat(255)).repeat(200);
    let mut words = vec![&b"1-1000000"[..], b"$", b"TXT"];
    words.extend(strings.split(' ').map(str::as_bytes));
    let mut generate = generate::Generate::parse(&words).unwrap();
    let text = generate.next_text().unwrap();
    assert!(text.len() < 512 << 10, "{} bytes", text.len());

    // Nothing in the data of a record but a length that cannot be held against the line before it is made.
    let mut chunks = Chunks::of_text(
        Path::new("z"),
        format!("\n$GENERATE 1-1000000 $ 1 TXT {strings}\n").into_bytes(),
        b"\x07example\0",
    );
    let error = loop {
        match chunks.next_chunk() {
            Ok(chunk) => assert!(chunk.is_some(), "all of it was made"),
            Err(error) => break error,
        }
    };
    assert_eq!(error, ZoneError::at(Path::new("z"), 2, Reason::GenerateBytes));
}

#[test]
fn a_generated_line_that_says_nothing_is_an_error_of_its_directive() {
    let error = load("$TTL 1\n\n$GENERATE 250-260 h$ A 192.0.2.$\n").unwrap_err().to_string();
    assert!(error.starts_with("z:3: "), "{error}");
}

#[test]
fn errors_name_their_line() {
    for (text, at, what) in [
        ("a 1 A 1.2.3.4\nb 1 A 1.2.3\n", "z:2: ", ""),
        ("a 1 A 1.2.3.4\n\n;\nb 1 CH A 1.2.3.4\n", "z:4: ", "class"),
        ("$FOO 1\n", "z:1: ", "$FOO is not known"),
        ("a 1 A 1.2.3.4\n$ORIGIN a..b\n", "z:2: ", "empty label"),
        ("$TTL x\n", "z:1: ", "$TTL"),
        ("a 1 TXT \"x\nb 1 A 1.2.3.4\n", "z:1: ", ""),
        ("a 1 A (\n1.2.3.4\n", "z:", ""),
        ("a 1 AXFR x\n", "z:1: ", ""),
        ("$INCLUDE /nowhere/at/all\n", "z:1: ", "cannot read"),
        ("$INCLUDE /dev/zero\n", "z:1: ", "not a regular file"),
    ] {
        let error = load(text).expect_err(text).to_string();
        assert!(error.starts_with(at) && error.contains(what), "{text:?}: {error}");
    }
}

#[test]
fn a_file_includes_another_and_goes_on_as_it_was() {
    let directory = std::env::temp_dir().join(format!("namestorm-include-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.join(name), text).unwrap();
    write(
        "main",
        "$TTL 5\na A 1.1.1.1\n$INCLUDE \"other\" sub\n  AAAA ::1\n$INCLUDE other\nlast A 1.1.1.2\n",
    );
    write("other", "x A 1.1.1.3\n$ORIGIN deep\ny A 1.1.1.4\n");
    write("self", "a 1 A 1.1.1.1\n$INCLUDE through\n");
    write("through", "$INCLUDE ./self\n");
    for depth in 0..20 {
        write(&format!("depth{depth}"), &format!("$INCLUDE depth{}\n", depth + 1));
        write(&format!("wide{depth}"), &format!("$INCLUDE wide{}\n", depth + 1).repeat(40));
    }
    write("wide5", "");
    let apex = from_text(b"example.").unwrap();
    let loaded = read_file(&directory.join("main"), &apex, Threads(2)).unwrap();
    assert_eq!(
        lines(&loaded.records),
        [
            "a.example. 5 A 4",
            "x.sub.example. 5 A 4",
            "y.deep.sub.example. 5 A 4",
            "a.example. 5 AAAA 16",
            "x.example. 5 A 4",
            "y.deep.example. 5 A 4",
            "last.example. 5 A 4"
        ]
    );
    let refused = |name: &str| read_file(&directory.join(name), &apex, Threads(1)).unwrap_err();
    let looping = refused("self");
    assert_eq!(looping.reason, Reason::IncludeLoop(directory.join("./self")));
    assert!(looping.to_string().contains("through:1: $INCLUDE of "), "{looping}");
    assert_eq!(refused("depth0").reason, Reason::IncludeDepth);
    // Five files of forty lines each include a hundred million.
    assert_eq!(refused("wide0").reason, Reason::Includes);
    let place = locate(&directory.join("main"), &apex, b"\x04last\x07example\0", Rtype::A).unwrap();
    assert_eq!(place.line, 6);
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn a_large_file_is_the_same_in_parallel_chunks() {
    use core::fmt::Write as _;
    let mut text = String::from("$TTL 77\n");
    for index in 0..60_000 {
        let _ = writeln!(text, "host{index} A 10.{}.{}.1\n  TXT ( \"x\"\n )", index / 256 % 256, index % 256);
    }
    let file = std::env::temp_dir().join(format!("namestorm-chunks-{}", std::process::id()));
    std::fs::write(&file, &text).unwrap();
    let apex = from_text(b"example.").unwrap();
    let one = read_file(&file, &apex, Threads(1)).unwrap();
    let several = read_file(&file, &apex, Threads(3)).unwrap();
    assert_eq!(one.records.count(), 120_000);
    assert_eq!(one.text_bytes, text.len() as u64);
    assert_eq!(lines(&one.records), lines(&several.records));
    std::fs::write(&file, format!("{text}oops\n")).unwrap();
    let error = read_file(&file, &apex, Threads(3)).unwrap_err().to_string();
    assert!(error.contains(":180002: "), "{error}");
    std::fs::remove_file(&file).unwrap();
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(text in "[a-c$@;()\"\\\\ \t\n0-9.A-Z-]{0,200}") {
        let _ = load(&text);
    }

    #[test]
    fn no_bytes_make_the_loader_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = load_bytes(&bytes);
    }
}

#[test]
fn types_that_the_parser_knows_by_number_are_read_as_people_write_them() {
    let text = "$TTL 1h\n@ SOA ns h 1 2h 3 4 5\na RP me txt.b.\nb LOC 42 21 54 N ( 71 06 18 W\n -24m ) ; here\nc A 192.0.2.1\n";
    let lines = load(text).unwrap();
    assert_eq!(
        lines[1..],
        ["a.example. 3600 RP 19", "b.example. 3600 LOC 16", "c.example. 3600 A 4"],
        "{lines:?}"
    );
    let error = load("a RP me txt\nb LOC 91 N 0 E 0\nc A 192.0.2.1\n").unwrap_err().to_string();
    assert!(error.starts_with("z:2: "), "{error}");
}
