//! Conversations with an authoritative server, written after an RFC's examples.
//!
//! ```text
//! // RFC 1034 §6.2.1
//! zone edu.
//!   @ 86400 IN SOA …            the zone's text, indented, up to the next line that is not
//! query SRI-NIC.ARPA. A         name, type, and perhaps: do, edns N, tcp, rd, cd, class C, opcode N
//! NOERROR aa                    the response code and the flags, without qr: all of them
//! answer                        a section's records, indented, in any order: all of them
//!   sri-nic.arpa. 86400 IN A 26.0.0.73
//! size 512                      no more bytes than that
//! ```
//!
//! Records are compared as the parser of another house reads them, on both sides.

use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr};
use dns::{Flags, Rtype};
use namestorm::catalogue::Catalogue;
use namestorm::hash::{Form, Key};
use namestorm::respond::{Request, Responder, Settings, Transport};
use namestorm::{load, show, zone};
use std::path::Path;
use std::sync::Arc;

/// What a script asks.
#[derive(Clone, Debug, Default)]
struct Asked {
    line: usize,
    text: String,
    message: Vec<u8>,
    tcp: bool,
    status: String,
    sections: [Vec<String>; 3],
    size: Option<usize>,
}

/// Plays a script; says where it goes otherwise, a line each.
///
/// # Errors
/// What went otherwise, or is misspelt.
pub fn play(script: &str) -> Result<(), String> {
    let mut otherwise = String::new();
    for form in [Form::Wire, Form::Name] {
        let key = Key::new(*b"a key for a test");
        let mut zones = Vec::new();
        for (origin, text, line) in zones_of(script) {
            let apex = dns::name::from_text(origin.to_ascii_lowercase().as_bytes())
                .map_err(|error| format!("line {line}: {error}"))?;
            let loaded = load::read_text(Path::new("script"), text.as_bytes(), &apex);
            let built = loaded.and_then(|loaded| zone::build(&apex, loaded, key, form));
            zones.push(Arc::new(built.map_err(|error| format!("zone at line {line}: {error}"))?.zone));
        }
        let catalogue = Catalogue::new(key, form, zones);
        let mut responder = Responder::new(Settings::default(), &catalogue);
        for asked in asked_of(script)? {
            if let Err(why) = ask(&mut responder, &catalogue, &asked) {
                let _ = writeln!(otherwise, "line {}, {form:?}: {}: {why}", asked.line, asked.text);
            }
        }
    }
    if otherwise.is_empty() { Ok(()) } else { Err(otherwise) }
}

fn ask(responder: &mut Responder, catalogue: &Catalogue, asked: &Asked) -> Result<(), String> {
    let transport = if asked.tcp { Transport::Tcp } else { Transport::Udp };
    let source = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53));
    let request = Request { source, transport, now_ms: 0, unix: 0 };
    let mut out = vec![0xa5; 65_535];
    let Some(response) = responder.respond(catalogue, &request, &asked.message, &mut out) else {
        return if asked.status == "nothing" { Ok(()) } else { Err("no answer".to_owned()) };
    };
    let bytes = &out[..response.bytes];
    if response.sum.fold() % 0xffff != wire::checksum::Sum::of(bytes).fold() % 0xffff {
        return Err("the sum is not that of the bytes".to_owned());
    }
    let shown = show::show(bytes).map_err(|error| error.to_string())?;
    let mut status = shown.rcode.mnemonic().unwrap_or("?").to_owned();
    for (bit, name) in [
        (Flags::AA, " aa"),
        (Flags::TC, " tc"),
        (Flags::RD, " rd"),
        (Flags::RA, " ra"),
        (Flags::AD, " ad"),
        (Flags::CD, " cd"),
    ] {
        if shown.header.flags.has(bit) {
            status.push_str(name);
        }
    }
    if status != asked.status {
        return Err(format!("{status} instead of {}\n{shown}", asked.status));
    }
    for (expected, said) in asked.sections.iter().zip(&shown.sections) {
        // Names are compared as RFC 4343 does; what is in them besides does not differ by case alone.
        let folded = |lines: &[String]| {
            let mut lines: Vec<String> = lines.iter().map(|line| line.to_ascii_lowercase()).collect();
            lines.sort();
            lines
        };
        if folded(expected) != folded(said) {
            return Err(format!("expected\n{}\nbut\n{shown}", expected.join("\n")));
        }
    }
    match asked.size {
        Some(size) if bytes.len() > size => Err(format!("{} bytes", bytes.len())),
        _ => Ok(()),
    }
}

/// Each zone's name, text and line.
fn zones_of(script: &str) -> Vec<(&str, String, usize)> {
    let mut zones: Vec<(&str, String, usize)> = Vec::new();
    let mut within = false;
    for (index, line) in script.lines().enumerate() {
        if let Some(name) = line.strip_prefix("zone ") {
            zones.push((name.trim(), String::new(), index + 1));
            within = true;
        } else if let (true, Some(text), Some(zone)) = (within, line.strip_prefix("  "), zones.last_mut()) {
            zone.1.push_str(text);
            zone.1.push('\n');
        } else {
            within = false;
        }
    }
    zones
}

fn asked_of(script: &str) -> Result<Vec<Asked>, String> {
    let mut all: Vec<Asked> = Vec::new();
    let mut section: Option<usize> = None;
    for (index, line) in script.lines().enumerate() {
        let number = index + 1;
        let misspelt = |what: &str| format!("line {number}: {what}: {line}");
        if let Some(query) = line.strip_prefix("query ") {
            let (message, tcp) = message_of(query).ok_or_else(|| misspelt("no query"))?;
            all.push(Asked { line: number, text: query.to_owned(), message, tcp, ..Asked::default() });
            section = None;
            continue;
        }
        let Some(asked) = all.last_mut() else { continue };
        match line.split_whitespace().next() {
            None => {}
            Some(comment) if comment.starts_with("//") => {}
            Some(_) if line.starts_with("  ") => {
                if let Some(section) = section {
                    let record = show::normal(line.trim()).map_err(|error| misspelt(&error.to_string()))?;
                    asked.sections[section].push(record);
                }
            }
            Some("answer") => section = Some(0),
            Some("authority") => section = Some(1),
            Some("additional") => section = Some(2),
            Some("size") => asked.size = line.split_whitespace().nth(1).and_then(|size| size.parse().ok()),
            Some("zone") => section = None,
            Some(_) if asked.status.is_empty() => line.trim().clone_into(&mut asked.status),
            Some(_) => return Err(misspelt("not understood")),
        }
    }
    Ok(all)
}

/// `name type` and what else is asked for, as a message.
fn message_of(query: &str) -> Option<(Vec<u8>, bool)> {
    let mut words = query.split_whitespace();
    let name = dns::name::from_text(words.next()?.as_bytes()).ok()?;
    let qtype = Rtype::from_text(words.next()?)?;
    let (mut flags, mut class, mut edns, mut dnssec, mut tcp) = (0_u16, 1_u16, None, false, false);
    while let Some(word) = words.next() {
        match word {
            "do" => dnssec = true,
            "edns" => edns = Some(words.next()?.parse::<u16>().ok()?),
            "tcp" => tcp = true,
            "rd" => flags |= Flags::RD,
            "cd" => flags |= Flags::CD,
            "class" => class = words.next()?.parse().ok()?,
            "opcode" => flags |= words.next()?.parse::<u16>().ok()? << 11,
            _ => return None,
        }
    }
    if dnssec {
        edns.get_or_insert(1_232);
    }
    let header = dns::Header {
        id: 0x1034,
        flags: Flags(flags),
        qdcount: 1,
        arcount: u16::from(edns.is_some()),
        ..dns::Header::default()
    };
    let mut message = header.emit().to_vec();
    message.extend_from_slice(&name);
    message.extend_from_slice(&qtype.0.to_be_bytes());
    message.extend_from_slice(&class.to_be_bytes());
    if let Some(size) = edns {
        message.extend_from_slice(&dns::edns::emit_opt(size, 0, dnssec, 0));
    }
    Some((message, tcp))
}
