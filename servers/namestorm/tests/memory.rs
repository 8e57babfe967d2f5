//! What zones weigh, and a flood of random names, sources and cookies, and what is left of it: nothing. Alone in its process,
//! whose pages it counts, one after the other.

#![forbid(unsafe_code)]
#![cfg(test)]

use core::net::{IpAddr, Ipv4Addr};
use dns::Header;
use namestorm::catalogue::Catalogue;
use namestorm::hash::{Form, Key};
use namestorm::respond::{Request, Responder, Settings, Transport};
use namestorm::rrl::Rate;
use namestorm::{load, zone};
use std::path::Path;
use std::sync::Arc;

const APEX: &[u8] = b"\x07example\0";

/// Pages of this process.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("pages")
}

/// A query for a name that nobody asked for before, with cookies that nobody gave.
fn query(number: u64, out: &mut Vec<u8>) {
    let header = Header { id: 7, qdcount: 1, arcount: 1, ..Header::default() };
    out.clear();
    out.extend_from_slice(&header.emit());
    let label = format!("x{number:x}");
    out.push(u8::try_from(label.len()).expect("short"));
    out.extend_from_slice(label.as_bytes());
    // A denial, a wildcard's answer, a referral, a redirection.
    let above = [&b""[..], b"\x04wild", b"\x03cut", b"\x01d"];
    out.extend_from_slice(above[usize::from(number.to_be_bytes()[0]) % above.len()]);
    out.extend_from_slice(APEX);
    out.extend_from_slice(&[0, 1, 0, 1]);
    out.extend_from_slice(&dns::edns::emit_opt(1_232, 0, true, 28));
    out.extend_from_slice(&[0, 10, 0, 24]);
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&[1; 16]);
}

/// A small zone as people have them: two servers, mail, a page, ten records.
fn small_zone(number: usize) -> (String, Vec<u8>) {
    let [.., b, c] = number.to_be_bytes();
    let text = format!(
        "$TTL 3600\n@ IN SOA ns1 hostmaster 2026112001 3600 900 604800 300\n@ IN NS ns1\n@ IN NS ns2\n@ IN MX 10 mail\n\
         @ IN A 192.0.2.1\nns1 IN A 10.0.{b}.{c}\nns2 IN A 10.1.{b}.{c}\nmail IN A 10.2.{b}.{c}\nwww IN CNAME @\n\
         @ IN TXT \"v=spf1 mx -all\"\n"
    );
    let apex = dns::name::from_text(format!("zone{number}.example").as_bytes()).expect("a name");
    (text, apex)
}

#[test]
fn zones_take_little_more_than_their_text_and_a_flood_takes_no_memory() {
    ten_thousand_zones_of_ten_records();
    a_flood_of_random_names_sources_and_cookies_costs_no_memory();
}

fn ten_thousand_zones_of_ten_records() {
    let key = Key::new(*b"a key for a test");
    let load = |number| {
        let (text, apex) = small_zone(number);
        let loaded = load::read_text(Path::new("zone"), text.as_bytes(), &apex).expect("a zone");
        zone::build(&apex, loaded, key, Form::Wire).expect("a zone").zone
    };
    // What a load takes and gives back is in the process by then.
    drop((0..100).map(load).collect::<Vec<_>>());
    let before = resident();
    let zones: Vec<_> = (0..10_000).map(load).map(Arc::new).collect();
    let catalogue = Catalogue::new(key, Form::Wire, zones);
    let pages = resident() - before;
    let (text, bytes) = catalogue.zones().iter().fold((0, 0), |(text, bytes), zone| {
        let weight = zone.weight();
        (text + weight.text_bytes, bytes + weight.bytes)
    });
    // The goal is three times the text. What a zone takes before its first record is most of so small a one.
    assert!(bytes * 10 <= 34 * text, "{bytes} bytes of {text} bytes of text");
    assert!(pages * 4_096 * 10 <= 45 * text, "{pages} pages of {text} bytes of text");
}

fn a_flood_of_random_names_sources_and_cookies_costs_no_memory() {
    let text = "$TTL 60\n@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n*.wild TXT \"any\"\ncut NS ns.cut\nns.cut A 192.0.2.2\nd DNAME example.\n";
    let key = Key::new(*b"a key for a test");
    let loaded = load::read_text(Path::new("zone"), text.as_bytes(), APEX).expect("a zone");
    let built = zone::build(APEX, loaded, key, Form::Wire).expect("a zone").zone;
    let catalogue = Catalogue::new(key, Form::Wire, vec![Arc::new(built)]);
    let settings = Settings {
        rate: Some(Rate { key: 3, ..Rate::default() }),
        cookie_secret: Some(dns::cookie::Secret([9; 16])),
        ..Settings::default()
    };
    let mut responder = Responder::new(settings, &catalogue);
    let (mut room, mut message) = ([0; 4_096], Vec::new());
    let mut flood = |from: u64, to: u64| {
        for number in from..to {
            let dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let [a, b, c, d, ..] = dice.to_be_bytes();
            query(dice, &mut message);
            let transport = if number % 7 == 0 { Transport::Tcp } else { Transport::Udp };
            let source = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
            let request = Request { source, transport, now_ms: number / 100, unix: 5 };
            let _ = responder.respond(&catalogue, &request, &message, &mut room);
        }
    };
    // Until every bucket was touched once.
    flood(0, 1_000_000);
    let before = resident();
    flood(1_000_000, 3_000_000);
    let after = resident();
    assert!(after <= before + 64, "{before} pages, then {after}");
    let counters = responder.counters();
    assert_eq!((counters.queries, counters.dropped), (3_000_000, 0));
}
