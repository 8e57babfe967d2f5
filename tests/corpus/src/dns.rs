//! Any query to a small zone that has one of everything.

use core::net::{IpAddr, Ipv4Addr};
use dns::{Flags, Header, Rcode, Rtype};
use namestorm::catalogue::Catalogue;
use namestorm::hash::{Form, Key};
use namestorm::load;
use namestorm::respond::{Request, Responder, SLACK_BYTES, Settings, Transport};
use namestorm::show;
use namestorm::zone;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use wire::checksum::Sum;

const ZONE: &str = "$TTL 300\n@ SOA ns h 1 3600 900 604800 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\n\
                    alias CNAME www\nloop CNAME loop\n*.w MX 1 www\ncut NS ns.cut\nns.cut A 192.0.2.3\nd DNAME x\n\
                    a.x TXT \"deep\"\n$GENERATE 1-90 big A 10.0.0.$\n";

static CATALOGUES: LazyLock<[Catalogue; 2]> = LazyLock::new(|| {
    [Form::Wire, Form::Name].map(|form| {
        let apex = b"\x07example\0";
        let key = Key::new(*b"what is fuzzed..");
        let loaded = load::read_text(Path::new("fuzz"), ZONE.as_bytes(), apex).expect("our own zone");
        let built = zone::build(apex, loaded, key, form).expect("our own zone");
        Catalogue::new(key, form, vec![Arc::new(built.zone)])
    })
});

/// What is said to a message that is looked up together with others.
fn glanced(catalogue: &Catalogue, request: &Request, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut responder = Responder::new(Settings::default(), catalogue);
    // What lies behind a message is not to matter.
    let mut room = vec![0xa5; bytes.len() + SLACK_BYTES];
    room[..bytes.len()].copy_from_slice(bytes);
    let mut glances = [responder.glance(catalogue, &room, bytes.len())];
    Responder::look_up(catalogue, &mut glances);
    let mut out = vec![0x5a; 65_535];
    let response = responder.respond_glanced(catalogue, request, glances[0].as_ref(), bytes, &mut out)?;
    out.truncate(response.bytes);
    let said = response.sum.fold() % u16::MAX;
    assert_eq!(said, Sum::of(&out).fold() % u16::MAX, "the sum is not that of the bytes");
    Some(out)
}

/// Any message.
///
/// # Panics
/// A law is broken: an answer is readable, has the query's id, says that it is one, keeps to its limit, comes with its
/// own sum, and is the same whatever is hashed, and whether it was looked up with others or alone.
pub fn dns_query(bytes: &[u8]) {
    for transport in [Transport::Udp, Transport::Tcp] {
        let source = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));
        let request = Request { source, transport, now_ms: 0, unix: 0 };
        let mut answers = Vec::new();
        for catalogue in &*CATALOGUES {
            let mut responder = Responder::new(Settings::default(), catalogue);
            let mut out = vec![0xa5; 65_535];
            let answer = responder.respond(catalogue, &request, bytes, &mut out).map(|response| {
                out.truncate(response.bytes);
                let said = response.sum.fold() % u16::MAX;
                assert_eq!(said, Sum::of(&out).fold() % u16::MAX, "the sum is not that of the bytes");
                out
            });
            answers.push(answer);
        }
        assert_eq!(answers[0], answers[1], "what is hashed changes what is said");
        if transport == Transport::Udp && bytes.len() <= 4_096 {
            for catalogue in &*CATALOGUES {
                assert_eq!(
                    answers[0],
                    glanced(catalogue, &request, bytes),
                    "an answer that was looked up before differs"
                );
            }
        }
        let Some(answer) = answers.pop().flatten() else { continue };
        assert_eq!(answer[..2], bytes[..2], "another id");
        assert!(transport == Transport::Tcp || answer.len() <= 1_232, "{} bytes over UDP", answer.len());
        let shown = show::show(&answer).expect("what we write can be read");
        assert!(shown.header.flags.has(Flags::QR), "an answer that asks");
    }
}

/// Any zone file.
///
/// # Panics
/// A law is broken: what is wrong with a text is told with its line; a text that is a zone answers every name that it has,
/// whatever is hashed, with the same bytes, and weighs no more than its records can.
pub fn dns_zone(bytes: &[u8]) {
    // Other files are the machine's, and a long range says nothing that a short one does not.
    let upper = bytes.to_ascii_uppercase();
    let has = |what: &[u8]| upper.windows(what.len()).any(|window| window == what);
    let counts_far =
        bytes.windows(4).any(|window| window.iter().all(u8::is_ascii_digit)) && has(b"$GENERATE");
    if has(b"$INCLUDE") || counts_far || bytes.len() > 16_384 {
        return;
    }
    let apex = b"\x07example\0";
    let key = Key::new(*b"what is fuzzed..");
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let zones = [Form::Wire, Form::Name].map(|form| {
        let loaded = load::read_text(Path::new("fuzz"), bytes, apex).map_err(|error| {
            let place = error.place.as_ref().expect("the parser's errors stand somewhere");
            assert!((1..=lines).contains(&place.line), "line {} of {lines}", place.line);
            error.to_string()
        })?;
        zone::build(apex, loaded, key, form).map(|built| built.zone).map_err(|error| error.to_string())
    });
    let [wire, name] = match zones {
        [Ok(wire), Ok(name)] => [wire, name],
        [Err(one), Err(other)] => return assert_eq!(one, other, "what is hashed changes what is wrong"),
        _ => panic!("what is hashed changes whether it is a zone"),
    };
    let names: Vec<Vec<u8>> =
        wire.nodes().take(64).map(|(_, node)| [node.name(), &apex[..]].concat()).collect();
    let catalogues = [(Form::Wire, wire), (Form::Name, name)]
        .map(|(form, zone)| Catalogue::new(key, form, vec![Arc::new(zone)]));
    let source = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));
    for name in names {
        for rtype in [Rtype::A, Rtype::SOA, Rtype::ANY, Rtype::DS] {
            let header = Header { id: 1, qdcount: 1, arcount: 1, ..Header::default() };
            let mut message = header.emit().to_vec();
            message.extend_from_slice(&name);
            message.extend_from_slice(&rtype.0.to_be_bytes());
            message.extend_from_slice(&[0, 1]);
            message.extend_from_slice(&dns::edns::emit_opt(1_232, 0, true, 0));
            let answers = [Transport::Udp, Transport::Tcp].map(|transport| {
                let request = Request { source, transport, now_ms: 0, unix: 0 };
                let [one, other] = [0, 1].map(|index| {
                    let mut responder = Responder::new(Settings::default(), &catalogues[index]);
                    let mut out = vec![0; 65_535];
                    let response = responder.respond(&catalogues[index], &request, &message, &mut out);
                    out.truncate(response.expect("a question is answered").bytes);
                    out
                });
                assert_eq!(one, other, "what is hashed changes what is said");
                let shown = show::show(&one).expect("what we write can be read");
                let rcode = shown.header.flags.rcode();
                assert!(rcode != Rcode::REFUSED && rcode != Rcode::SERVFAIL, "a name of ours: {rcode:?}");
                one
            });
            let [datagram, stream] = &answers;
            assert!(datagram.len() <= 1_232 && datagram.len() <= stream.len().max(512));
            if rtype != Rtype::ANY {
                let request = Request { source, transport: Transport::Udp, now_ms: 0, unix: 0 };
                assert_eq!(glanced(&catalogues[0], &request, &message).as_ref(), Some(datagram));
            }
        }
    }
}
