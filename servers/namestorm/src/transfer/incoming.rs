//! A zone on its way here: the question, and what a primary answers to it, message by message.
//!
//! ```text
//!           SOA ours is as new                                                  ▶ Current
//!  SOA ─┬── SOA ours, gone …, SOA, new …, SOA, gone …           SOA as first    ▶ Version: what we have, changed (RFC 1995)
//!       └── anything else …                                     SOA as first    ▶ Version: all of it             (RFC 5936)
//! ```
//!
//! Nothing of it counts before its end: what a primary sends may stop, lie, go backwards or have no end. What is held is
//! bounded by `bytes_max`, however few bytes it came in. With a key every message is checked, and the last one has to be signed (RFC 8945 §5.3.1).

use super::secondary::Failure;
use super::serial::is_newer;
use crate::load::{Loaded, Records};
use crate::zone::{Cursor, Zone};
use core::fmt;
use core::ops::ControlFlow;
use dns::header::HEADER_BYTES;
use dns::name::NameError;
use dns::record::{Record, leading_bytes_and_names, uncompress_data};
use dns::tsig::{self, Transaction, Tsig, TsigError};
use dns::{Class, Flags, Header, Opcode, Rcode, Rtype, name};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a record costs besides its owner and data: in the zone, and as a change.
const RECORD_BYTES: usize = 16;
const CHANGE_BYTES: usize = 128;

/// Why nothing came of a transfer: the primary's fault, as far as we can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not an answer to what was asked.
    NotAnAnswer(&'static str),
    /// It says no.
    Refused(Rcode, Option<u16>),
    /// It cannot be read.
    Malformed(NameError),
    /// Its signature does not count.
    Signature(TsigError),
    /// It ends with messages that nobody signed.
    Unsigned,
    /// A record that does not belong there.
    Record(&'static str, Rtype),
    /// Its version is older than ours.
    Older {
        /// Theirs.
        theirs: u32,
        /// Ours.
        ours: u32,
    },
    /// What it says is gone was never here, or what it changes is not what we have.
    NotOurVersion,
    /// More than we are willing to hold.
    TooLarge(u64),
    /// It stopped before the end.
    Ended,
}

impl Fault {
    /// What it means for whom to ask next.
    #[must_use]
    pub const fn failure(&self, asked_for_difference: bool) -> Failure {
        match self {
            // RFC 1995 §2: not every server knows IXFR. One that cannot be understood may do better with AXFR.
            Self::Refused(Rcode::FORMERR | Rcode::NOTIMP | Rcode::SERVFAIL, _)
            | Self::NotOurVersion
            | Self::Record(..)
            | Self::NotAnAnswer(_)
            | Self::Ended
                if asked_for_difference =>
            {
                Failure::NoDifference
            }
            _ => Failure::Other,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnAnswer(why) => write!(f, "it answered something else: {why}"),
            Self::Refused(rcode, tsig) => {
                match rcode.mnemonic() {
                    Some(name) => write!(f, "it answered {name}")?,
                    None => write!(f, "it answered response code {}", rcode.0)?,
                }
                match tsig {
                    Some(16) => f.write_str(" and BADSIG: the secrets of the key differ"),
                    Some(17) => f.write_str(" and BADKEY: it does not know the key"),
                    Some(18) => f.write_str(" and BADTIME: the clocks are too far apart"),
                    Some(code) => write!(f, " and TSIG error {code}"),
                    None => Ok(()),
                }
            }
            Self::Malformed(_) => f.write_str("its answer cannot be read"),
            Self::Signature(TsigError::BadTime) => {
                f.write_str("its signature is of another time: the clocks are too far apart")
            }
            Self::Signature(TsigError::BadKey) => f.write_str("it signed with another key"),
            Self::Signature(_) | Self::Unsigned => {
                f.write_str("it did not sign, or not with the secret that we have")
            }
            Self::Record(what, rtype) => write!(f, "{what}: a {rtype} record"),
            Self::Older { theirs, ours } => {
                write!(f, "its serial {theirs} is older than ours, {ours}: was it counted back?")
            }
            Self::NotOurVersion => f.write_str("what it says has changed is not what we have"),
            Self::TooLarge(bytes) => write!(f, "more than {bytes} bytes"),
            Self::Ended => f.write_str("it ended the connection before the end of the zone"),
        }
    }
}

impl core::error::Error for Fault {}

/// What there is so far.
#[derive(Debug)]
pub enum Progress {
    /// There is more to come.
    More,
    /// The primary has what we have.
    Current,
    /// The zone, all of it, to be built.
    Version(Loaded),
}

/// A transfer that was asked for.
#[derive(Debug)]
pub struct Incoming {
    apex: Box<[u8]>,
    ours: Option<Arc<Zone>>,
    id: u16,
    qtype: Rtype,
    transaction: Option<Transaction>,
    bytes_max: u64,
    /// As they came, and of what is held: a pointer of two bytes may stand for 255.
    bytes: u64,
    held: u64,
    state: State,
    /// All of it: the SOA first.
    records: Records,
    /// What changed, where that is told.
    changes: Changes,
    /// A record's owner and data.
    owner: Vec<u8>,
    rdata: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing came yet.
    Begun,
    /// The SOA of this serial.
    First(u32),
    /// All of the zone, until that SOA comes again.
    All(u32),
    /// What is gone, up to a version that leads to the last one.
    Gone { last: u32 },
    /// What is new in `version`.
    New { last: u32, version: u32 },
    /// It came again.
    Over,
}

/// Owner, type and data with its names folded, which say which record it is.
type Which = (Vec<u8>, Rtype, Vec<u8>);

/// What differs from the version that we have.
#[derive(Debug, Default)]
struct Changes {
    soa: Option<(u32, Vec<u8>)>,
    /// Not there any more.
    gone: BTreeSet<Which>,
    /// There now: the time to live, and the data as it came.
    new: BTreeMap<Which, (u32, Vec<u8>)>,
}

impl Incoming {
    /// Asks for what changed since `ours`, or for `all` of the zone. Returns the question as it goes into a stream, without its
    /// length.
    #[must_use]
    pub fn ask(
        apex: &[u8],
        ours: Option<Arc<Zone>>,
        all: bool,
        key: Option<&tsig::Key>,
        (id, unix): (u16, u64),
        bytes_max: u64,
    ) -> (Self, Vec<u8>) {
        let since = ours.as_ref().filter(|_| !all);
        let qtype = if since.is_some() { Rtype::IXFR } else { Rtype::AXFR };
        let nscount = u16::from(since.is_some());
        let mut message = Header { id, qdcount: 1, nscount, ..Header::default() }.emit().to_vec();
        message.extend_from_slice(apex);
        message.extend_from_slice(&qtype.0.to_be_bytes());
        message.extend_from_slice(&Class::IN.0.to_be_bytes());
        if let Some(zone) = since {
            let soa = zone.soa();
            message.extend_from_slice(&[0xc0, 12]);
            message.extend_from_slice(&Rtype::SOA.0.to_be_bytes());
            message.extend_from_slice(&Class::IN.0.to_be_bytes());
            message.extend_from_slice(&soa.ttl.to_be_bytes());
            let bytes = u16::try_from(soa.rdata.len()).expect("two names and five numbers");
            message.extend_from_slice(&bytes.to_be_bytes());
            message.extend_from_slice(&soa.rdata);
        }
        let transaction = key.map(|key| Transaction::request(key.clone(), &mut message, unix));
        let incoming = Self {
            apex: apex.into(),
            ours,
            id,
            qtype,
            transaction,
            bytes_max,
            bytes: 0,
            held: 0,
            state: State::Begun,
            records: Records::default(),
            changes: Changes::default(),
            owner: Vec::new(),
            rdata: Vec::new(),
        };
        (incoming, message)
    }

    /// What changed was asked for, rather than all of it.
    #[must_use]
    pub fn wants_difference(&self) -> bool {
        self.qtype == Rtype::IXFR
    }

    /// The next message.
    ///
    /// # Errors
    /// Nothing comes of this transfer.
    pub fn on_message(&mut self, message: &[u8], unix: u64) -> Result<Progress, Fault> {
        self.bytes += message.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(Fault::TooLarge(self.bytes_max));
        }
        let header = self.check_header(message)?;
        let records_at = self.check_question(message, &header)?;
        let (answers, tsig) = sections(message, &header, records_at).map_err(Fault::Malformed)?;
        let rcode = header.flags.rcode();
        if rcode != Rcode::NOERROR {
            let told = tsig.and_then(|at| Tsig::parse(message, at).ok()).map(|tsig| tsig.error);
            return Err(Fault::Refused(rcode, told.filter(|error| *error != 0)));
        }
        if let Some(transaction) = &mut self.transaction {
            transaction.verify(message, tsig, unix).map_err(Fault::Signature)?;
        }
        let only = answers == 1;
        let mut at = records_at;
        for _ in 0..answers {
            let record = Record::parse(message, at).map_err(Fault::Malformed)?;
            at = record.end;
            self.on_record(message, &record)?;
        }
        if let (State::First(theirs), Rtype::IXFR, Some(zone)) = (self.state, self.qtype, &self.ours) {
            let ours = zone.serial();
            if theirs == ours {
                self.state = State::Over;
                return self.signed().map(|()| Progress::Current);
            }
            if only && !is_newer(theirs, ours) {
                return Err(Fault::Older { theirs, ours });
            }
        }
        if self.state != State::Over {
            return Ok(Progress::More);
        }
        self.signed()?;
        let records = match self.changes.soa {
            Some(_) => self.changed()?,
            None => core::mem::take(&mut self.records),
        };
        Ok(Progress::Version(Loaded { records, text_bytes: self.bytes }))
    }

    fn signed(&self) -> Result<(), Fault> {
        let signed = self.transaction.as_ref().is_none_or(Transaction::is_signed);
        if signed { Ok(()) } else { Err(Fault::Unsigned) }
    }

    fn check_header(&self, message: &[u8]) -> Result<Header, Fault> {
        let header = Header::parse(message).ok_or(Fault::NotAnAnswer("shorter than a header"))?;
        if header.id != self.id {
            return Err(Fault::NotAnAnswer("another id"));
        }
        if !header.flags.has(Flags::QR) || header.flags.opcode() != Opcode::QUERY {
            return Err(Fault::NotAnAnswer("no response"));
        }
        if header.flags.has(Flags::TC) {
            return Err(Fault::NotAnAnswer("truncated, in a stream"));
        }
        Ok(header)
    }

    /// RFC 5936 §2.2.1: the question comes back in the first message, and may in the others.
    fn check_question(&mut self, message: &[u8], header: &Header) -> Result<usize, Fault> {
        match header.qdcount {
            0 => return Ok(HEADER_BYTES),
            1 => {}
            _ => return Err(Fault::NotAnAnswer("several questions")),
        }
        let end = self.read_owner(message, HEADER_BYTES)?;
        let asked = message.get(end..end + 4).ok_or(Fault::Malformed(NameError::Truncated))?;
        if self.owner != *self.apex || asked[..2] != self.qtype.0.to_be_bytes() {
            return Err(Fault::NotAnAnswer("another question"));
        }
        Ok(end + 4)
    }

    /// The folded name that begins there, into `owner`.
    fn read_owner(&mut self, message: &[u8], start: usize) -> Result<usize, Fault> {
        self.owner.clear();
        let owner = &mut self.owner;
        let end = name::uncompress(message, start, |label| owner.extend_from_slice(label));
        self.owner.make_ascii_lowercase();
        end.map_err(Fault::Malformed)
    }

    fn on_record(&mut self, message: &[u8], record: &Record) -> Result<(), Fault> {
        let rtype = record.rtype;
        if record.class != Class::IN || rtype.is_meta() || rtype.0 == 0 {
            return Err(Fault::Record("it sends what is no data", rtype));
        }
        self.read_owner(message, record.start)?;
        if !is_below(&self.owner, &self.apex) {
            return Err(Fault::Record("it sends what is outside of the zone", rtype));
        }
        self.rdata.clear();
        uncompress_data(message, record, &mut self.rdata).map_err(Fault::Malformed)?;
        // A change is held by what it is about, and as it came.
        let (times, fixed) = if self.changes.soa.is_some() { (2, CHANGE_BYTES) } else { (1, RECORD_BYTES) };
        self.held += (self.owner.len() + times * self.rdata.len() + fixed) as u64;
        if self.held > self.bytes_max {
            return Err(Fault::TooLarge(self.bytes_max));
        }
        let soa = if rtype == Rtype::SOA && self.owner == *self.apex {
            let numbers = self.rdata.len().checked_sub(20).filter(|at| *at >= 2);
            let serial = numbers.and_then(|at| self.rdata[at..].first_chunk::<4>());
            Some(u32::from_be_bytes(*serial.ok_or(Fault::Record("it is too short", rtype))?))
        } else {
            None
        };
        self.state = match (self.state, soa) {
            (State::Begun, Some(serial)) => {
                self.keep(record)?;
                State::First(serial)
            }
            (State::Begun, None) => return Err(Fault::Record("it does not begin with the SOA", rtype)),
            (State::First(last), Some(serial)) if self.is_ours(serial) && serial != last => {
                self.begin_changes(record.ttl, last)?;
                State::Gone { last }
            }
            (State::First(last) | State::All(last), soa) => match soa {
                // A zone of a SOA alone is none.
                Some(serial) if serial == last && self.records.count() > 1 => State::Over,
                Some(_) => return Err(Fault::Record("it sends a second version", rtype)),
                None => {
                    self.all_is_news(last)?;
                    self.keep(record)?;
                    State::All(last)
                }
            },
            (State::Gone { last }, Some(version)) => {
                self.changes.soa = Some((record.ttl, self.rdata.clone()));
                State::New { last, version }
            }
            (State::New { last, version }, Some(serial)) if serial == version => {
                if version == last {
                    State::Over
                } else {
                    State::Gone { last }
                }
            }
            (State::New { .. }, Some(_)) => return Err(Fault::NotOurVersion),
            (state @ State::Gone { .. }, None) => {
                self.gone(rtype);
                state
            }
            (state @ State::New { .. }, None) => {
                self.come(rtype, record.ttl);
                state
            }
            (State::Over, _) => return Err(Fault::Record("it sends more after the end", rtype)),
        };
        Ok(())
    }

    fn is_ours(&self, serial: u32) -> bool {
        self.wants_difference() && self.ours.as_ref().is_some_and(|zone| zone.serial() == serial)
    }

    /// All of a zone has to be newer than what we have: nobody leads us back.
    fn all_is_news(&self, theirs: u32) -> Result<(), Fault> {
        match &self.ours {
            Some(zone) if !is_newer(theirs, zone.serial()) => {
                Err(Fault::Older { theirs, ours: zone.serial() })
            }
            _ => Ok(()),
        }
    }

    fn keep(&mut self, record: &Record) -> Result<(), Fault> {
        let rdata = &self.rdata;
        self.records
            .push(&self.owner, record.rtype, record.ttl, |out| out.extend_from_slice(rdata))
            .map_err(|_| Fault::TooLarge(self.bytes_max))
    }

    fn begin_changes(&mut self, ttl: u32, last: u32) -> Result<(), Fault> {
        self.all_is_news(last)?;
        self.changes.soa = Some((ttl, self.rdata.clone()));
        Ok(())
    }

    fn which(&self, rtype: Rtype) -> Which {
        let relative = self.owner[..self.owner.len() - self.apex.len()].to_vec();
        (relative, rtype, folded(rtype, &self.rdata))
    }

    /// A record that was there before.
    fn gone(&mut self, rtype: Rtype) {
        let which = self.which(rtype);
        if self.changes.new.remove(&which).is_none() {
            self.changes.gone.insert(which);
        }
    }

    /// A record that is there now; if it was before, with another time to live.
    fn come(&mut self, rtype: Rtype, ttl: u32) {
        let which = self.which(rtype);
        self.changes.new.insert(which, (ttl, self.rdata.clone()));
    }

    /// The version that we have, with what changed.
    fn changed(&mut self) -> Result<Records, Fault> {
        let Changes { soa, mut gone, new } = core::mem::take(&mut self.changes);
        let (Some((ttl, soa)), Some(zone)) = (soa, self.ours.take()) else {
            return Err(Fault::NotOurVersion);
        };
        let mut records = Records::default();
        let too_large = |_| Fault::TooLarge(self.bytes_max);
        records.push(&self.apex, Rtype::SOA, ttl, |out| out.extend_from_slice(&soa)).map_err(too_large)?;
        let mut owner = Vec::new();
        let mut failed = None;
        let _ = zone.visit(Cursor::default(), |item| {
            if item.rtype == Rtype::SOA && item.owner.is_empty() {
                return ControlFlow::Continue(());
            }
            let which = (item.owner.to_vec(), item.rtype, folded(item.rtype, item.rdata));
            if gone.remove(&which) || new.contains_key(&which) {
                return ControlFlow::Continue(());
            }
            owner.clear();
            owner.extend_from_slice(item.owner);
            owner.extend_from_slice(&self.apex);
            match records.push(&owner, item.rtype, item.ttl, |out| out.extend_from_slice(item.rdata)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(too_large(error));
                    ControlFlow::Break(())
                }
            }
        });
        if let Some(fault) = failed {
            return Err(fault);
        }
        if !gone.is_empty() {
            return Err(Fault::NotOurVersion);
        }
        for ((relative, rtype, _), (ttl, rdata)) in new {
            let owner = [&relative, &self.apex[..]].concat();
            records.push(&owner, rtype, ttl, |out| out.extend_from_slice(&rdata)).map_err(too_large)?;
        }
        Ok(records)
    }
}

/// Data with the names in it folded: two servers may write them in different cases.
fn folded(rtype: Rtype, rdata: &[u8]) -> Vec<u8> {
    let mut folded = rdata.to_vec();
    let (mut at, names) = leading_bytes_and_names(rtype);
    for _ in 0..names {
        let Some(rest) = folded.get_mut(at..) else { break };
        let bytes = crate::zone::name_bytes(rest);
        rest[..bytes].make_ascii_lowercase();
        at += bytes;
    }
    folded
}

/// How many records answer, and where the record of the signature begins, which is the last one.
fn sections(message: &[u8], header: &Header, start: usize) -> Result<(u16, Option<usize>), NameError> {
    let mut at = start;
    let mut tsig = None;
    for index in 0..u32::from(header.ancount) + u32::from(header.nscount) + u32::from(header.arcount) {
        let record = Record::parse(message, at)?;
        let additional = index >= u32::from(header.ancount) + u32::from(header.nscount);
        tsig = (additional && record.rtype == Rtype::TSIG).then_some(at);
        at = record.end;
    }
    if at == message.len() { Ok((header.ancount, tsig)) } else { Err(NameError::Truncated) }
}

/// Whether a name is the apex, or ends with its labels.
fn is_below(name: &[u8], apex: &[u8]) -> bool {
    let mut rest = name;
    while rest.len() > apex.len() {
        rest = rest.get(1 + usize::from(rest[0])..).unwrap_or_default();
    }
    rest == apex
}

#[cfg(test)]
mod tests;
