//! Random questions about given names: types, flags, EDNS, and messages that are none.

use crate::dice::Dice;
use crate::zones::{Zone, below};
use dns::{Flags, Header, Rtype};

/// A message, and what it was meant to be.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) bytes: Vec<u8>,
    pub(crate) tcp: bool,
    /// Nothing was broken on purpose.
    pub(crate) whole: bool,
    pub(crate) qtype: Rtype,
    /// For people.
    pub(crate) text: String,
}

const TYPES: [u16; 34] = [
    1, 2, 5, 6, 12, 13, 15, 16, 17, 24, 28, 29, 33, 35, 39, 43, 44, 46, 47, 48, 50, 51, 52, 64, 65, 99, 249,
    251, 252, 253, 254, 255, 1_000, 65_400,
];

/// A query; `edns`: size, and whether DNSSEC is wanted.
pub(crate) fn plain(name: &str, qtype: Rtype, flags: u16, edns: Option<(u16, bool)>) -> Question {
    let arcount = u16::from(edns.is_some());
    let header = Header { id: 77, flags: Flags(flags), qdcount: 1, arcount, ..Header::default() };
    let mut bytes = header.emit().to_vec();
    bytes.extend(dns::name::from_text(name.as_bytes()).expect("a name"));
    bytes.extend(qtype.0.to_be_bytes());
    bytes.extend([0, 1]);
    if let Some((size, dnssec)) = edns {
        bytes.extend(dns::edns::emit_opt(size, 0, dnssec, 0));
    }
    let text = format!("{name} {qtype} flags {flags:04x} {edns:?}");
    Question { bytes, tcp: false, whole: true, qtype, text }
}

/// A name near those of the zones, in any case.
fn name(dice: &mut Dice, zones: &[Zone]) -> String {
    let zone = dice.of(zones);
    let near = dice.of(&zone.names);
    let name = match dice.below(10) {
        0..4 => near,
        4..6 => below(dice, &near, 1),
        6..8 => below(dice, &near, 2),
        8 => below(dice, &zone.name, 4),
        // Its encloser, which may have nothing of its own.
        _ => match near.split_once('.') {
            Some((_, "")) | None => ".".to_owned(),
            Some((_, above)) => above.to_owned(),
        },
    };
    // A label that an escape splits, or a name that became too long, is another name then.
    let name = if dns::name::from_text(name.as_bytes()).is_ok() { name } else { zone.name };
    if dice.percent(20) { name.to_ascii_uppercase() } else { name }
}

/// A question that any server must be able to answer.
pub(crate) fn ordinary(dice: &mut Dice, zones: &[Zone]) -> Question {
    let name = name(dice, zones);
    let qtype = Rtype(if dice.percent(40) { dice.of(&[1, 28, 15, 255, 43]) } else { dice.of(&TYPES) });
    let mut flags = 0;
    for flag in [Flags::RD, Flags::AD, Flags::CD] {
        if dice.percent(20) {
            flags |= flag;
        }
    }
    let edns = match dice.below(10) {
        0..3 => None,
        3..8 => Some((dice.of(&[512, 1_232, 1_232, 4_096]), dice.percent(75))),
        _ => Some((u16::try_from(dice.below(65_536)).unwrap_or(0), dice.percent(50))),
    };
    let mut question = plain(&name, qtype, flags, edns);
    question.tcp = dice.percent(25);
    if question.tcp {
        question.text.push_str(" tcp");
    }
    question
}

/// One whose header, class or EDNS few expect; all of it can be read.
pub(crate) fn odd(dice: &mut Dice, zones: &[Zone]) -> Question {
    let mut question = ordinary(dice, zones);
    question.tcp = false;
    let end = dns::name::skip(&question.bytes, 12).expect("a name");
    let what = match dice.below(9) {
        0 => {
            let opcode = u8::try_from(dice.below(16)).unwrap_or(0);
            question.bytes[2] |= opcode << 3;
            format!("opcode {opcode}")
        }
        1 => {
            let class = dice.of(&[0_u16, 2, 3, 4, 254, 255, 65_535]);
            question.bytes[end + 2..end + 4].copy_from_slice(&class.to_be_bytes());
            format!("class {class}")
        }
        2 => {
            let bits = dice.of(&[0x0400_u16, 0x0080, 0x0040, 0x0200, 0x8000, 0x0005]);
            let flags = u16::from_be_bytes([question.bytes[2], question.bytes[3]]) | bits;
            question.bytes[2..4].copy_from_slice(&flags.to_be_bytes());
            format!("bits {bits:04x}")
        }
        3 => {
            let count = dice.of(&[0_u16, 2, 3, 65_535]);
            question.bytes[4..6].copy_from_slice(&count.to_be_bytes());
            format!("QDCOUNT {count}")
        }
        4 => {
            let (section, count) = (dice.of(&[6_usize, 8, 10]), dice.of(&[1_u16, 2, 65_535]));
            let counted = u16::from_be_bytes([question.bytes[section], question.bytes[section + 1]]);
            question.bytes[section..section + 2].copy_from_slice(&counted.wrapping_add(count).to_be_bytes());
            format!("{count} records more than there are, counted at {section}")
        }
        5 => {
            question.bytes.extend(vec![0; 1 + dice.below(20)]);
            "bytes behind it".to_owned()
        }
        6..8 => {
            question.bytes.truncate(end + 4);
            question.bytes[10..12].copy_from_slice(&[0, 1]);
            let version = dice.of(&[0_u8, 0, 1, 255]);
            let flags = dice.of(&[0_u16, 0x8000, 0x4000, 0x0001, 0xffff]);
            let code = dice.of(&[3_u16, 12, 9, 14, 100, 65_001]);
            let length = u16::try_from(dice.below(20)).unwrap_or(0);
            let mut opt = dns::edns::emit_opt(1_232, 0, false, 4 + length);
            opt[6] = version;
            opt[7..9].copy_from_slice(&flags.to_be_bytes());
            question.bytes.extend(opt);
            question.bytes.extend([code.to_be_bytes(), length.to_be_bytes()].concat());
            question.bytes.extend((0..length).map(|_| u8::try_from(dice.below(256)).unwrap_or(0)));
            format!("EDNS version {version}, flags {flags:04x}, option {code} of {length} bytes")
        }
        _ => {
            // RFC 1035 §4.1.4: the name ends in a pointer, which can only lead into the header or to itself.
            let pointer = dice.of(&[[0xc0, 12_u8], [0xc0, 4], [0xff, 0xff], [0x40, 0], [0x80, 0]]);
            question.bytes.splice(end - 1..end, pointer);
            question.whole = false;
            format!("a name that ends in {pointer:02x?}")
        }
    };
    question.text = format!("{} with {what}", question.text);
    question
}

/// A question in which a few bytes are others, or missing.
pub(crate) fn broken(dice: &mut Dice, zones: &[Zone]) -> Question {
    let mut question = if dice.percent(50) { odd(dice, zones) } else { ordinary(dice, zones) };
    question.tcp = false;
    question.whole = false;
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(question.bytes.len());
        question.bytes[at] = u8::try_from(dice.below(256)).unwrap_or(0);
    }
    if dice.percent(20) {
        let length = dice.below(question.bytes.len());
        question.bytes.truncate(length);
    }
    if let Ok(end) = dns::name::skip(&question.bytes, 12)
        && let Some(qtype) = question.bytes.get(end..end + 2)
    {
        question.qtype = Rtype(u16::from_be_bytes([qtype[0], qtype[1]]));
    }
    question.text = format!("{}, then broken", question.text);
    question
}
