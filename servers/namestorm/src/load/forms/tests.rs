use super::*;

const ORIGIN: &[u8] = b"\x07example\0";

/// The data of one entry of `example.`, in hexadecimal.
fn data(entry: &str) -> Option<String> {
    let text = format!("a 60 IN {entry}\n");
    let out = String::from_utf8(spelled_out(text.as_bytes(), ORIGIN)?).unwrap();
    let (head, hex) = out.trim_end().trim_end_matches(')').rsplit_once(' ')?;
    assert!(head.starts_with("a 60 IN TYPE") && head.contains("( \\# "), "{out}");
    Some(hex.to_owned())
}

#[test]
fn the_examples_of_rfc_1876_come_to_the_bytes_that_its_layout_says() {
    // §4: CAMBRIDGE-NET.KEI.COM., and a place of the same section.
    assert_eq!(data("LOC 42 21 54 N 71 06 18 W -24m 30m").unwrap(), "0033161389172dd070be15f000988d20");
    assert_eq!(data("LOC 42 21 28.764 N 71 00 51.617 W -44m 2000m").unwrap().len(), 32);
    assert_eq!(data("loc 0 N 0 E 0").unwrap(), "00121613800000008000000000989680");
    for wrong in [
        "LOC 91 N 0 E 0",
        "LOC 1 60 N 0 E 0",
        "LOC N 0 E 0",
        "LOC 1 N 181 E 0",
        "LOC 1 N 1 E 0.001m",
        "LOC 1 N 1 E",
    ] {
        assert_eq!(data(wrong), None, "{wrong}");
    }
}

#[test]
fn names_end_at_the_origin_unless_a_dot_ends_them() {
    assert_eq!(data("RP me @").unwrap(), "026d65076578616d706c6500076578616d706c6500");
    assert_eq!(data("AFSDB 1 x.").unwrap(), "0001017800");
    assert_eq!(data(r"KX 7 a\.").unwrap(), "000702612e076578616d706c6500");
    assert_eq!(data("KX 65536 x."), None);
    assert_eq!(data("KX +5 x."), None);
    assert_eq!(data("KX 7 x. y."), None);
}

#[test]
fn every_form_has_its_bytes() {
    for (entry, bytes) in [
        ("URI 10 1 \"ftp://a/\"", "000a00016674703a2f2f612f"),
        ("EUI48 00-00-5e-00-53-2a", "00005e00532a"),
        ("EUI64 00-00-5e-ef-10-00-00-2a", "00005eef1000002a"),
        ("NID 10 0014:4fff:ff20:ee64", "000a00144fffff20ee64"),
        ("L64 10 2001:db8:1140:1000", "000a20010db811401000"),
        ("L32 10 10.1.2.0", "000a0a010200"),
        ("SMIMEA 3 0 1 ab CD", "030001abcd"),
        ("CERT PKIX 12345 RSASHA256 AAEC", "0001303908000102"),
        ("DHCID AAEC", "000102"),
        ("APL 1:192.168.32.0/21 !1:192.168.38.0/28", "00011503c0a82000011c83c0a826"),
        ("APL 2:ff00::/8", "00020801ff"),
        ("CSYNC 66 3 A NS AAAA", "000000420003000460000008"),
        ("SPF \"v=spf1\" -all", "06763d73706631042d616c6c"),
        (r#"X25 "3\0491\"""#, "0433313122"),
    ] {
        assert_eq!(data(entry).as_deref(), Some(bytes), "{entry}");
    }
}

#[test]
fn digits_have_no_sign() {
    for wrong in ["SMIMEA 3 0 1 +a", "EUI48 +0-00-5e-00-53-2a", "NID 1 +014:4fff:ff20:ee64", "LOC +1 N 0 E 0"]
    {
        assert_eq!(data(wrong), None, "{wrong}");
    }
}

#[test]
fn what_cannot_be_read_and_what_is_general_already_stays_as_it_is() {
    for text in
        ["a LOC \\# 1 00\n", "a LOC here\n", "a A 192.0.2.1\n", "a TXT \"RP a b\"\n", "LOC A 192.0.2.1\n"]
    {
        assert_eq!(spelled_out(text.as_bytes(), ORIGIN), None, "{text}");
    }
}

#[test]
fn lines_stay_where_they_are_and_comments_and_parentheses_go() {
    let text = "a ( 60 ; (\n RP ( b ; c\n d )\n )\n  RP e f ; g\nb A 192.0.2.1\n";
    let out = String::from_utf8(spelled_out(text.as_bytes(), ORIGIN).unwrap()).unwrap();
    assert_eq!(out.lines().count(), text.lines().count());
    assert_eq!(out.lines().last(), Some("b A 192.0.2.1"));
    assert!(out.starts_with("a ( 60 ; (\n TYPE17 ( \\# "), "{out}");
    assert_eq!(out.matches('(').count() - 1, out.matches(')').count(), "a comment holds one: {out}");
}
