//! What is wrong with a zone, where, and what to do about it: the operator's, one line.

use super::chunks::INCLUDES_MAX;
use super::generate::{BYTES_MAX, LINES_MAX};
use core::fmt;
use dns::Rtype;
use dns::name::{Presentation, TextError};
use std::path::PathBuf;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A zone that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneError {
    /// Where, if it stands somewhere.
    pub place: Option<Place>,
    /// What and why.
    pub reason: Reason,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A file cannot be read.
    Unreadable(PathBuf, String),
    /// The parser's words about a line, with its column.
    Syntax(String),
    /// A directive, and what it lacks.
    Directive(&'static str, &'static str),
    /// A name in a directive.
    Name(TextError),
    /// `$INCLUDE` within `$INCLUDE`, too deep to be meant.
    IncludeDepth,
    /// `$INCLUDE` of a file that is being read already.
    IncludeLoop(PathBuf),
    /// More `$INCLUDE`s than one zone can mean.
    Includes,
    /// `$GENERATE` would make more lines than one zone may have from it.
    GenerateLines(u64),
    /// `$GENERATE` has made more bytes than one zone may have from it.
    GenerateBytes,
    /// One entry of more bytes than any message holds.
    EntryTooLong,
    /// A class that is not IN.
    Class(u16),
    /// A type that is a question or a transport's, not data.
    MetaType(Rtype),
    /// No SOA at the apex.
    NoSoa(Box<[u8]>),
    /// More than one.
    SeveralSoa(Box<[u8]>),
    /// No NS at the apex.
    NoNs(Box<[u8]>),
    /// CNAME beside other data (RFC 2181 §10.1).
    CnameAndOther(Box<[u8]>),
    /// More than one CNAME, or DNAME, at a name.
    Several(Rtype, Box<[u8]>),
    /// An RRset that no message holds.
    TooLarge(Rtype, Box<[u8]>),
    /// A SOA, NSEC3 or other record whose data is not what the type wants.
    Data(Rtype, Box<[u8]>),
    /// More records or names than our offsets count.
    TooMany,
    /// We stumbled over it: ours.
    Panic,
}

impl ZoneError {
    /// An error that stands nowhere in particular.
    #[must_use]
    pub const fn new(reason: Reason) -> Self {
        Self { place: None, reason }
    }

    /// An error at a line.
    #[must_use]
    pub fn at(file: &std::path::Path, line: u64, reason: Reason) -> Self {
        Self { place: Some(Place { file: file.to_path_buf(), line }), reason }
    }

    /// The owner and type that it is about, when it can be looked for.
    #[must_use]
    pub fn subject(&self) -> Option<(&[u8], Rtype)> {
        match &self.reason {
            Reason::SeveralSoa(owner) => Some((owner, Rtype::SOA)),
            Reason::CnameAndOther(owner) => Some((owner, Rtype::CNAME)),
            Reason::Several(rtype, owner) | Reason::TooLarge(rtype, owner) | Reason::Data(rtype, owner) => {
                Some((owner, *rtype))
            }
            _ => None,
        }
    }
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        self.reason.fmt(f)
    }
}

impl core::error::Error for ZoneError {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, why) => write!(f, "cannot read {}: {why}", path.display()),
            Self::Syntax(what) => f.write_str(what),
            Self::Directive(directive, what) => write!(f, "{directive}: {what}"),
            Self::Name(error) => error.fmt(f),
            Self::IncludeDepth => f.write_str("$INCLUDE is nested more than 16 files deep; nest fewer"),
            Self::IncludeLoop(path) => {
                write!(f, "$INCLUDE of {}, which is being read already: it includes itself", path.display())
            }
            Self::Includes => {
                write!(f, "$INCLUDE for the {INCLUDES_MAX}th time in one zone; put the files together")
            }
            Self::GenerateLines(lines) => write!(
                f,
                "$GENERATE: makes {lines} lines, and a zone may have {LINES_MAX} in all; is the range right?"
            ),
            Self::GenerateBytes => write!(
                f,
                "$GENERATE: has made more than {} MiB of text for this zone; is the range right?",
                BYTES_MAX >> 20
            ),
            Self::EntryTooLong => {
                f.write_str("an entry of more than 4 MiB; is a parenthesis or a quote left open?")
            }
            Self::Class(class) => {
                write!(f, "class {class}: only class IN is served; put CHAOS answers into the configuration")
            }
            Self::MetaType(rtype) => write!(f, "{rtype} is no type of data"),
            Self::NoSoa(apex) => {
                write!(f, "no SOA record at {}; is the zone's name right?", Presentation(apex))
            }
            Self::SeveralSoa(apex) => write!(f, "more than one SOA record at {}", Presentation(apex)),
            Self::NoNs(apex) => write!(f, "no NS record at {}", Presentation(apex)),
            Self::CnameAndOther(owner) => {
                write!(f, "{} has a CNAME record and other data; remove one", Presentation(owner))
            }
            Self::Several(rtype, owner) => {
                write!(f, "{} has more than one {rtype} record; keep one", Presentation(owner))
            }
            Self::TooLarge(rtype, owner) => {
                write!(
                    f,
                    "the {rtype} records of {} do not fit a message of 65,535 bytes",
                    Presentation(owner)
                )
            }
            Self::Data(rtype, owner) => {
                write!(f, "the data of a {rtype} record of {} is malformed", Presentation(owner))
            }
            Self::Panic => f.write_str(
                "reading it made the server stumble, which is a bug of ours: please report it with the file",
            ),
            Self::TooMany => f.write_str("more than 16 GiB of records in one zone"),
        }
    }
}
