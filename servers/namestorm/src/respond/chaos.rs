//! What a server says of itself in class CHAOS (RFC 4892): `id.server.`, `version.server.` and the names that BIND gave
//! them.

use super::Settings;
use super::compose::{Reply, Section};
use dns::{Class, Name, Rcode, Rtype};

/// Answers a question in class CH.
pub(super) fn answer(settings: &Settings, name: &Name, qtype: Rtype, reply: &mut Reply<'_>) -> Rcode {
    let text = match name.wire() {
        b"\x02id\x06server\0" | b"\x08hostname\x04bind\0" => settings.identity.as_deref(),
        b"\x07version\x06server\0" | b"\x07version\x04bind\0" => settings.version.as_deref(),
        _ => None,
    };
    let Some(text) = text else { return Rcode::REFUSED };
    if !matches!(qtype, Rtype::TXT | Rtype::ANY) {
        return Rcode::NOERROR;
    }
    let text = &text[..text.len().min(255)];
    let length = u8::try_from(text.len()).unwrap_or(u8::MAX);
    let mut record = Vec::with_capacity(13 + text.len());
    record.extend_from_slice(&[0xc0, 12]);
    record.extend_from_slice(&Rtype::TXT.0.to_be_bytes());
    record.extend_from_slice(&Class::CH.0.to_be_bytes());
    record.extend_from_slice(&0_u32.to_be_bytes());
    record.extend_from_slice(&(u16::from(length) + 1).to_be_bytes());
    record.push(length);
    record.extend_from_slice(text);
    if reply.append(Section::Answer, 1, &record).is_err() {
        reply.truncate();
    }
    Rcode::NOERROR
}
