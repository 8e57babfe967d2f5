//! A message as people read it, by a reader that shares nothing with its writer: the `domain` crate's.

use core::fmt;
use dns::{Flags, Header, Rcode};
use domain::base::zonefile_fmt::{DisplayKind, ZonefileFmt as _};
use domain::base::{Message, ParsedName, Record};
use domain::rdata::AllRecordData;
use domain::zonefile::inplace::{Entry, Zonefile};

/// A message, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its header.
    pub header: Header,
    /// The response code, with the upper bits of OPT.
    pub rcode: Rcode,
    /// The question, if there is one: name, class, type.
    pub question: Option<String>,
    /// Answer, authority and additional records but OPT, a line each.
    pub sections: [Vec<String>; 3],
    /// The options of OPT, if there is one: code and data.
    pub options: Option<Vec<(u16, Vec<u8>)>>,
}

/// Why a message cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the message cannot be read: {}", self.0)
    }
}

impl core::error::Error for Unreadable {}

type Any<'m> = AllRecordData<&'m [u8], ParsedName<&'m [u8]>>;

/// Takes a message apart.
///
/// # Errors
/// It is none, or has bytes that no section counts.
pub fn show(bytes: &[u8]) -> Result<Shown, Unreadable> {
    let unreadable = |what: &dyn fmt::Display| Unreadable(what.to_string());
    let header = Header::parse(bytes).ok_or_else(|| unreadable(&"too short"))?;
    let message = Message::from_octets(bytes).map_err(|error| unreadable(&error))?;
    let mut questions = message.question();
    let question = match questions.next() {
        Some(question) => {
            let question = question.map_err(|error| unreadable(&error))?;
            let qtype = dns::Rtype(question.qtype().to_int());
            let class = dns::Class(question.qclass().to_int());
            let dot = if question.qname().to_string() == "." { "" } else { "." };
            Some(format!("{}{dot} {class} {qtype}", question.qname()))
        }
        None => None,
    };
    let mut sections = [Vec::new(), Vec::new(), Vec::new()];
    let mut section = message.answer().map_err(|error| unreadable(&error))?;
    let mut end = 0;
    for lines in &mut sections {
        for record in section.by_ref() {
            let record = record.map_err(|error| unreadable(&error))?;
            if record.rtype().to_int() == 41 {
                continue;
            }
            let any: Record<_, Any<'_>> = record
                .to_any_record()
                .map_err(|error| Unreadable(format!("a {} record: {error}", record.rtype())))?;
            lines.push(line(&any.display_zonefile(DisplayKind::Simple).to_string()));
        }
        end = section.pos();
        match section.next_section().map_err(|error| unreadable(&error))? {
            Some(next) => section = next,
            None => break,
        }
    }
    if end != bytes.len() {
        return Err(Unreadable(format!("{} bytes behind the last record", bytes.len() - end)));
    }
    let opt = message.opt();
    let rcode =
        opt.as_ref().map_or_else(|| header.flags.rcode(), |opt| Rcode(opt.rcode(message.header()).to_int()));
    let options = opt.map(|opt| {
        let all = opt.opt().iter::<domain::base::opt::UnknownOptData<&[u8]>>();
        all.filter_map(Result::ok).map(|option| (option.code().to_int(), option.data().to_vec())).collect()
    });
    Ok(Shown { header, rcode, question, sections, options })
}

/// A record of a zone file, as [`show`] would write it.
///
/// # Errors
/// It is none.
pub fn normal(text: &str) -> Result<String, Unreadable> {
    let mut zonefile = Zonefile::from(format!("{text}\n").as_str());
    zonefile.set_origin(domain::base::Name::root());
    match zonefile.next_entry() {
        Ok(Some(Entry::Record(record))) => {
            Ok(line(&record.display_zonefile(DisplayKind::Simple).to_string()))
        }
        Ok(_) => Err(Unreadable(format!("no record: {text}"))),
        Err(error) => Err(Unreadable(format!("{text}: {error}"))),
    }
}

/// One blank between words.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { header, rcode, question, sections, options } = self;
        let code = rcode.mnemonic().map_or_else(|| rcode.0.to_string(), str::to_owned);
        write!(f, ";; {code}, id {}, flags", header.id)?;
        for (bit, name) in [
            (Flags::QR, "qr"),
            (Flags::AA, "aa"),
            (Flags::TC, "tc"),
            (Flags::RD, "rd"),
            (Flags::RA, "ra"),
            (Flags::AD, "ad"),
            (Flags::CD, "cd"),
        ] {
            if header.flags.has(bit) {
                write!(f, " {name}")?;
            }
        }
        writeln!(f)?;
        if let Some(options) = options {
            write!(f, ";; EDNS")?;
            for (code, data) in options {
                write!(
                    f,
                    ", option {code}: {}",
                    data.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
                )?;
            }
            writeln!(f)?;
        }
        if let Some(question) = question {
            writeln!(f, ";; question\n;{question}")?;
        }
        for (name, lines) in ["answer", "authority", "additional"].iter().zip(sections) {
            if !lines.is_empty() {
                writeln!(f, ";; {name}\n{}", lines.join("\n"))?;
            }
        }
        Ok(())
    }
}
