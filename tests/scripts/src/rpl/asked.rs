//! A line that asks, as a message.

use core::net::{IpAddr, Ipv4Addr};
use dns::{Flags, Rtype};

/// A message, and how it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    pub(super) tcp: bool,
    pub(super) source: IpAddr,
    /// Seconds since 1970.
    pub(super) unix: u32,
    /// It has an OPT record, so that the answer is to have one.
    pub(super) edns: bool,
}

/// What is said of a message besides its question.
struct Words {
    flags: u16,
    class: u16,
    /// Size, version, DO and other flags.
    edns: Option<(u16, u8, u16)>,
    options: Vec<u8>,
    counts: [u16; 4],
    counts_are_given: bool,
    trailing: Vec<u8>,
    bytes_max: usize,
    twice: bool,
}

/// `NAME TYPE`, or `raw HEX`, and what else is said of it; nothing when it is misspelt.
pub(super) fn message(query: &str) -> Option<Message> {
    let mut words = query.split_whitespace();
    let mut message = Message {
        bytes: Vec::new(),
        tcp: false,
        source: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 53)),
        unix: 0,
        edns: false,
    };
    let first = words.next()?;
    if first == "raw" {
        message.bytes = hex(words.next()?)?;
        message.tcp = words.next() == Some("tcp");
        return words.next().is_none().then_some(message);
    }
    let name = dns::name::from_text(first.as_bytes()).ok()?;
    let qtype = Rtype::from_text(words.next()?)?;
    let mut said = Words {
        flags: 0,
        class: 1,
        edns: None,
        options: Vec::new(),
        counts: [1, 0, 0, 0],
        counts_are_given: false,
        trailing: Vec::new(),
        bytes_max: usize::MAX,
        twice: false,
    };
    while let Some(word) = words.next() {
        match word {
            "tcp" => message.tcp = true,
            "from" => message.source = words.next()?.parse().ok()?,
            "at" => message.unix = words.next()?.parse().ok()?,
            _ => said.understand(word, &mut words)?,
        }
    }
    message.edns = said.edns.is_some();
    message.bytes = said.emit(&name, qtype);
    Some(message)
}

impl Words {
    fn understand<'w>(&mut self, word: &str, rest: &mut impl Iterator<Item = &'w str>) -> Option<()> {
        let mut number = || rest.next()?.parse::<u16>().ok();
        let edns = self.edns.unwrap_or((1_232, 0, 0));
        match word {
            "do" => self.edns = Some((edns.0, edns.1, edns.2 | dns::edns::DO)),
            "edns" => self.edns = Some((number()?, edns.1, edns.2)),
            "version" => self.edns = Some((edns.0, u8::try_from(number()?).ok()?, edns.2)),
            "ednsflags" => self.edns = Some((edns.0, edns.1, edns.2 | number()?)),
            "class" => self.class = number()?,
            "opcode" => self.flags |= number()? << 11,
            "z" => self.flags |= 0x40,
            "option" => {
                let code = number()?;
                let data = hex(rest.next()?)?;
                self.options.extend(code.to_be_bytes());
                self.options.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
                self.options.extend(data);
                self.edns = Some(edns);
            }
            "counts" => {
                self.counts = [number()?, number()?, number()?, number()?];
                self.counts_are_given = true;
            }
            "trailing" => self.trailing = hex(rest.next()?)?,
            "cut" => self.bytes_max = usize::from(number()?),
            "twice" => self.twice = true,
            _ => {
                let (_, bit) = FLAGS.iter().find(|(name, _)| *name == word)?;
                self.flags |= bit;
            }
        }
        Some(())
    }

    fn emit(&self, name: &[u8], qtype: Rtype) -> Vec<u8> {
        let mut counts = self.counts;
        if !self.counts_are_given {
            counts = [1 + u16::from(self.twice), 0, 0, u16::from(self.edns.is_some())];
        }
        let [qdcount, ancount, nscount, arcount] = counts;
        let header = dns::Header { id: 0x1034, flags: Flags(self.flags), qdcount, ancount, nscount, arcount };
        let mut message = header.emit().to_vec();
        for _ in 0..=u8::from(self.twice) {
            if qdcount > 0 {
                message.extend_from_slice(name);
                message.extend_from_slice(&qtype.0.to_be_bytes());
                message.extend_from_slice(&self.class.to_be_bytes());
            }
        }
        if let Some((size, version, flags)) = self.edns {
            let length = u16::try_from(self.options.len()).unwrap_or(u16::MAX);
            let mut opt = dns::edns::emit_opt(size, 0, false, length);
            opt[6] = version;
            opt[7..9].copy_from_slice(&flags.to_be_bytes());
            message.extend_from_slice(&opt);
            message.extend_from_slice(&self.options);
        }
        message.extend_from_slice(&self.trailing);
        message.truncate(self.bytes_max);
        message
    }
}

/// The bits of a header that a line names.
pub(super) const FLAGS: [(&str, u16); 7] = [
    ("qr", Flags::QR),
    ("aa", Flags::AA),
    ("tc", Flags::TC),
    ("rd", Flags::RD),
    ("ra", Flags::RA),
    ("ad", Flags::AD),
    ("cd", Flags::CD),
];

/// Bytes as two digits each; `-` is none.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    if text == "-" {
        return Some(Vec::new());
    }
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|pair| u8::from_str_radix(core::str::from_utf8(pair).ok()?, 16).ok()).collect()
}
