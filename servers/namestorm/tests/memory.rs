//! A flood of random names, sources and cookies, and what is left of it: nothing. Alone in its process, whose pages it
//! counts.

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

#[test]
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
