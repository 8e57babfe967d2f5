//! Any query to a small zone that has one of everything.

use core::net::{IpAddr, Ipv4Addr};
use dns::Flags;
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
