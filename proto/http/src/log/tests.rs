use super::{Record, quote_json};
use crate::status::Status;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use proptest::prelude::*;
use std::string::String;
use std::vec::Vec;

fn record() -> Record<'static> {
    Record {
        time: 784_111_777,
        remote: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)),
        method: b"GET",
        target: b"/a.m4s?x=1",
        version: b"HTTP/1.1",
        status: Status::PartialContent,
        content_bytes: 500,
        duration_us: 1_234,
        host: Some(b"example.org"),
        referer: None,
        user_agent: Some(b"player/1"),
        range: Some(b"bytes=0-499"),
        secure: true,
        aborted: false,
    }
}

fn combined(record: &Record<'_>) -> String {
    let mut line = String::new();
    record.write_combined(&mut line).unwrap();
    line
}

fn json(record: &Record<'_>) -> String {
    let mut line = String::new();
    record.write_json(&mut line).unwrap();
    line
}

#[test]
fn a_combined_line_is_as_analysers_expect_it() {
    assert_eq!(
        combined(&record()),
        r#"192.0.2.7 - - [06/Nov/1994:08:49:37 +0000] "GET /a.m4s?x=1 HTTP/1.1" 206 500 "-" "player/1""#
    );
}

#[test]
fn a_json_line_says_everything_known() {
    assert_eq!(
        json(&record()),
        concat!(
            r#"{"time":"1994-11-06T08:49:37Z","remote":"192.0.2.7","method":"GET","target":"/a.m4s?x=1","#,
            r#""version":"HTTP/1.1","status":206,"bytes":500,"duration_us":1234,"host":"example.org","#,
            r#""user_agent":"player/1","range":"bytes=0-499","secure":true}"#
        )
    );
}

#[test]
fn an_aborted_response_says_so_and_ipv6_is_plain() {
    let line = json(&Record { aborted: true, remote: IpAddr::V6(Ipv6Addr::LOCALHOST), ..record() });
    assert!(line.contains(r#""remote":"::1""#) && line.ends_with(r#","aborted":true}"#), "{line}");
}

#[test]
fn nothing_a_client_sends_ends_a_quotation_or_a_line() {
    let attack = Record { user_agent: Some(b"a\" 200 0 \"\\\x1b[2J\r\n\xff\x9b"), ..record() };
    assert!(combined(&attack).ends_with(r#" "a\x22 200 0 \x22\x5C\x1B[2J\x0D\x0A\xFF\x9B""#));
    assert!(json(&attack).contains(r#""user_agent":"a\" 200 0 \"\\\u001b[2J\r\n"#));
}

proptest! {
    #[test]
    fn a_quotation_has_no_control_and_no_bare_quote(bytes: Vec<u8>) {
        let mut quoted = String::new();
        quote_json(&bytes, &mut quoted).unwrap();
        prop_assert!(!quoted.chars().any(char::is_control));
        let mut symbols = quoted.chars();
        while let Some(symbol) = symbols.next() {
            prop_assert!(symbol != '"');
            if symbol == '\\' {
                prop_assert!(symbols.next().is_some_and(|next| "\"\\nrtu".contains(next)));
            }
        }
        let line = combined(&Record { target: &bytes, referer: Some(&bytes), ..record() });
        prop_assert!(line.is_ascii() && !line.chars().any(char::is_control));
        prop_assert_eq!(line.matches('"').count(), 6);
    }
}
