//! Conversations with an authoritative server, written after an RFC's examples.
//!
//! ```text
//! // RFC 1034 §6.2.1
//! zone edu.
//!   @ 86400 IN SOA …            the zone's text, indented, up to the next line that is not
//! query SRI-NIC.ARPA. A         name, type, and perhaps more (below)
//! NOERROR aa                    the response code and the flags, without qr: all of them; or `nothing`
//! answer                        a section's records, indented, in any order: all of them
//!   sri-nic.arpa. 86400 IN A 26.0.0.73
//! options                       those of the answer's OPT record, code and hexadecimal data: all of them
//!   10 2464c4abcf10c957…
//! size 512                      no more bytes than that
//! ```
//!
//! Before everything else, `config KEY VALUE` says how the server is set up: `identity`, `version`, `cookies` (a secret).
//!
//! | behind the type | means |
//! |---|---|
//! | `do`, `edns BYTES`, `version N`, `ednsflags N`, `option CODE HEX` | an OPT record with these |
//! | `aa`, `tc`, `rd`, `ra`, `z`, `ad`, `cd`, `qr`, `opcode N`, `class N` | header and question |
//! | `counts QD AN NS AR`, `twice`, `trailing HEX`, `cut BYTES` | a message that is none: `-` is no bytes |
//! | `tcp`, `from ADDRESS`, `at SECONDS` | how, from whom and when (seconds since 1970) it comes |
//!
//! `query raw HEX` is any message at all. Records are compared as the parser of another house reads them, on both sides.
//! Of every answer it is also seen that id, opcode and question are the query's byte for byte, and that there is an OPT
//! record exactly when there was one, unless the answer is FORMERR or NOTIMP: then nobody has read that far.

mod asked;

use asked::{FLAGS, Message, hex};
use core::fmt::Write as _;
use dns::cookie::Secret;
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
    message: Option<Message>,
    status: String,
    sections: [Vec<String>; 3],
    options: Vec<(u16, Vec<u8>)>,
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
        let mut responder = Responder::new(settings_of(script)?, &catalogue);
        for asked in asked_of(script)? {
            if let Err(why) = ask(&mut responder, &catalogue, &asked) {
                let _ = writeln!(otherwise, "line {}, {form:?}: {}: {why}", asked.line, asked.text);
            }
        }
    }
    if otherwise.is_empty() { Ok(()) } else { Err(otherwise) }
}

fn ask(responder: &mut Responder, catalogue: &Catalogue, asked: &Asked) -> Result<(), String> {
    let message = asked.message.as_ref().expect("every line that asks has one");
    let transport = if message.tcp { Transport::Tcp } else { Transport::Udp };
    let request = Request { source: message.source, transport, now_ms: 0, unix: message.unix };
    let mut out = vec![0xa5; 65_535];
    let Some(response) = responder.respond(catalogue, &request, &message.bytes, &mut out) else {
        return if asked.status == "nothing" { Ok(()) } else { Err("no answer".to_owned()) };
    };
    let bytes = &out[..response.bytes];
    if response.sum.fold() % 0xffff != wire::checksum::Sum::of(bytes).fold() % 0xffff {
        return Err("the sum is not that of the bytes".to_owned());
    }
    let shown = show::show(bytes).map_err(|error| error.to_string())?;
    let mut status = shown.rcode.mnemonic().map_or_else(|| shown.rcode.0.to_string(), str::to_owned);
    for (name, _) in FLAGS.iter().filter(|(name, bit)| *name != "qr" && shown.header.flags.has(*bit)) {
        status.push(' ');
        status.push_str(name);
    }
    if status != asked.status {
        return Err(format!("{status} instead of {}\n{shown}", asked.status));
    }
    echoed(&message.bytes, bytes)?;
    let unread = matches!(shown.rcode, dns::Rcode::FORMERR | dns::Rcode::NOTIMP);
    if shown.options.is_some() != message.edns && !unread {
        return Err(format!("an OPT record on one side alone\n{shown}"));
    }
    if shown.options.as_deref().unwrap_or_default() != asked.options {
        return Err(format!("other options\n{shown}"));
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

/// Whether an answer repeats what it has to (RFC 1035 §4.1.1, RFC 4343 §4.1).
fn echoed(query: &[u8], answer: &[u8]) -> Result<(), String> {
    let opcode = 0x78;
    if query[..2] != answer[..2] || answer[2] & opcode != query[2] & opcode || answer[2] & 0x80 == 0 {
        return Err("another id or opcode, or a query".to_owned());
    }
    if answer[4..6] == [0, 0] {
        return Ok(());
    }
    // A question that came with a pointer is written out.
    let end = dns::name::skip(query, 12).map_err(|error| error.to_string())? + 4;
    let written_out = query[end - 6] >= 0xc0;
    if written_out || query[12..end] == answer[12..end] { Ok(()) } else { Err("another question".to_owned()) }
}

/// How the script wants the server to be set up.
fn settings_of(script: &str) -> Result<Settings, String> {
    let mut settings = Settings::default();
    for (index, line) in script.lines().enumerate() {
        let Some((key, value)) = line.strip_prefix("config ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let text = || Some(value.as_bytes().into());
        match key {
            "identity" => settings.identity = text(),
            "version" => settings.version = text(),
            "cookies" => {
                let secret = hex(value).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
                settings.cookie_secret = Some(Secret(secret.ok_or("a secret has 16 bytes")?));
            }
            _ => return Err(format!("line {}: {key} is nothing to set", index + 1)),
        }
    }
    Ok(settings)
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

/// What indented lines say.
enum Part {
    None,
    Section(usize),
    Options,
}

fn asked_of(script: &str) -> Result<Vec<Asked>, String> {
    let mut all: Vec<Asked> = Vec::new();
    let mut section = Part::None;
    for (index, line) in script.lines().enumerate() {
        let number = index + 1;
        let misspelt = |what: &str| format!("line {number}: {what}: {line}");
        if let Some(query) = line.strip_prefix("query ") {
            let message = asked::message(query).ok_or_else(|| misspelt("no query"))?;
            all.push(Asked {
                line: number,
                text: query.to_owned(),
                message: Some(message),
                ..Asked::default()
            });
            section = Part::None;
            continue;
        }
        let Some(asked) = all.last_mut() else { continue };
        match line.split_whitespace().next() {
            None => {}
            Some(comment) if comment.starts_with("//") => {}
            Some(first) if line.starts_with("  ") => match section {
                Part::None => {}
                Part::Section(section) => {
                    let record = show::normal(line.trim()).map_err(|error| misspelt(&error.to_string()))?;
                    asked.sections[section].push(record);
                }
                Part::Options => {
                    let code = first.parse().ok();
                    let data = line.split_whitespace().nth(1).and_then(hex);
                    asked.options.push(code.zip(data).ok_or_else(|| misspelt("no option"))?);
                }
            },
            Some("answer") => section = Part::Section(0),
            Some("authority") => section = Part::Section(1),
            Some("additional") => section = Part::Section(2),
            Some("options") => section = Part::Options,
            Some("size") => asked.size = line.split_whitespace().nth(1).and_then(|size| size.parse().ok()),
            Some("zone") => section = Part::None,
            Some(_) if asked.status.is_empty() => line.trim().clone_into(&mut asked.status),
            Some(_) => return Err(misspelt("not understood")),
        }
    }
    Ok(all)
}
