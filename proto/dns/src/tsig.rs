//! Signatures of transactions (RFC 8945), with HMACs of the SHA family.
//!
//! ```text
//! ├ key name ┼ 250 ┼ ANY ┼ 0 ┼ rdlength ┼ algorithm ┼ time (6) ┼ fudge ┼ MAC size ┼ MAC ┼ original id ┼ error ┼ other ┤
//! ```
//!
//! What is signed: the MAC before (its size in front of it), the message without this record and with its original id,
//! then the variables of this record (§4.3.3). In a stream of responses only the first signs all variables; the
//! others sign the times (§5.3.1).

mod algorithm;

pub use algorithm::{Algorithm, MAC_BYTES_MAX};

use algorithm::Running;
use alloc::vec::Vec;

use crate::name::{self, NameError};
use crate::record::{FIXED_BYTES, Record};
use crate::{Class, Rtype};

/// How far two clocks may be apart (RFC 8945 §10).
pub const FUDGE_SECONDS: u16 = 300;

/// A MAC that was cut to less than this, or to less than half, is none (RFC 8945 §5.2.2.1).
const MAC_BYTES_MIN: usize = 10;

/// Messages of a stream that may wait for a signature (RFC 8945 §5.3.1).
const UNSIGNED_MAX: u32 = 99;

/// Why a signature does not count (RFC 8945 §5.2), as it stands in the record's error field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsigError {
    /// The record cannot be read: FORMERR.
    Malformed,
    /// No key of that name and algorithm.
    BadKey,
    /// The MAC is another.
    BadSig,
    /// Our clocks are too far apart.
    BadTime,
    /// A MAC that was cut: right as far as it goes, and shorter than we want it.
    BadTrunc,
}

impl TsigError {
    /// The number in the record's error field; 0 when there is no record to be sent.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Malformed => 0,
            Self::BadSig => 16,
            Self::BadKey => 17,
            Self::BadTime => 18,
            Self::BadTrunc => 22,
        }
    }
}

/// A key that two servers share.
#[derive(Clone)]
pub struct Key {
    /// Its name, folded, on the wire.
    pub name: Vec<u8>,
    /// What it is used with, and nothing else.
    pub algorithm: Algorithm,
    /// The secret.
    pub secret: Vec<u8>,
}

impl core::fmt::Debug for Key {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Self { name, algorithm, secret: _ } = self;
        let mut key = f.debug_struct("Key");
        key.field("name", &name::Presentation(name)).field("algorithm", algorithm).finish_non_exhaustive()
    }
}

/// A TSIG record as it stands in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tsig {
    /// The key's name, folded.
    pub key: Vec<u8>,
    /// The algorithm's name, folded.
    pub algorithm: Vec<u8>,
    /// Seconds since 1970, 48 bits of them.
    pub time: u64,
    /// How far the clocks may be apart.
    pub fudge: u16,
    /// The signature.
    pub mac: Vec<u8>,
    /// The id that the message had when it was signed.
    pub original_id: u16,
    /// What the sender found wrong with the message that this answers.
    pub error: u16,
    /// More about that.
    pub other: Vec<u8>,
}

impl Tsig {
    /// Reads the record at `start`.
    ///
    /// # Errors
    /// It is none, or a part of it does not fit.
    pub fn parse(message: &[u8], start: usize) -> Result<Self, TsigError> {
        let malformed = |_: NameError| TsigError::Malformed;
        let record = Record::parse(message, start).map_err(malformed)?;
        if record.rtype != Rtype::TSIG || record.class != Class::ANY || record.ttl != 0 {
            return Err(TsigError::Malformed);
        }
        let mut key = Vec::new();
        name::uncompress(message, start, |label| key.extend_from_slice(label)).map_err(malformed)?;
        let mut algorithm = Vec::new();
        // RFC 8945 §4.2: not compressed; a pointer that leads backwards is understood all the same.
        let at = name::uncompress(message, record.rdata, |label| algorithm.extend_from_slice(label))
            .map_err(malformed)?;
        key.make_ascii_lowercase();
        algorithm.make_ascii_lowercase();
        let rest = message.get(at..record.end).ok_or(TsigError::Malformed)?;
        let (&[t0, t1, t2, t3, t4, t5, f0, f1, m0, m1], rest) =
            rest.split_first_chunk::<10>().ok_or(TsigError::Malformed)?;
        let mac_bytes = usize::from(u16::from_be_bytes([m0, m1]));
        let (mac, rest) = rest.split_at_checked(mac_bytes).ok_or(TsigError::Malformed)?;
        let (&[i0, i1, e0, e1, o0, o1], other) = rest.split_first_chunk::<6>().ok_or(TsigError::Malformed)?;
        if other.len() != usize::from(u16::from_be_bytes([o0, o1])) {
            return Err(TsigError::Malformed);
        }
        Ok(Self {
            key,
            algorithm,
            time: u64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]),
            fudge: u16::from_be_bytes([f0, f1]),
            mac: mac.to_vec(),
            original_id: u16::from_be_bytes([i0, i1]),
            error: u16::from_be_bytes([e0, e1]),
            other: other.to_vec(),
        })
    }

    /// The variables that are signed besides the message (§4.3.3).
    fn variables(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&Class::ANY.0.to_be_bytes());
        out.extend_from_slice(&0_u32.to_be_bytes());
        out.extend_from_slice(&self.algorithm);
        self.timers(out);
        out.extend_from_slice(&self.error.to_be_bytes());
        out.extend_from_slice(&len_u16(&self.other).to_be_bytes());
        out.extend_from_slice(&self.other);
    }

    fn timers(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.time.to_be_bytes()[2..]);
        out.extend_from_slice(&self.fudge.to_be_bytes());
    }

    /// Appends the record to `message` and counts it in its header.
    fn append(&self, message: &mut Vec<u8>) {
        message.extend_from_slice(&self.key);
        message.extend_from_slice(&Rtype::TSIG.0.to_be_bytes());
        message.extend_from_slice(&Class::ANY.0.to_be_bytes());
        message.extend_from_slice(&0_u32.to_be_bytes());
        let rdlength = message.len();
        message.extend_from_slice(&[0, 0]);
        message.extend_from_slice(&self.algorithm);
        self.timers(message);
        message.extend_from_slice(&len_u16(&self.mac).to_be_bytes());
        message.extend_from_slice(&self.mac);
        message.extend_from_slice(&self.original_id.to_be_bytes());
        message.extend_from_slice(&self.error.to_be_bytes());
        message.extend_from_slice(&len_u16(&self.other).to_be_bytes());
        message.extend_from_slice(&self.other);
        let bytes = len_u16(&message[rdlength + 2..]);
        message[rdlength..rdlength + 2].copy_from_slice(&bytes.to_be_bytes());
        let arcount = u16::from_be_bytes([message[10], message[11]]).wrapping_add(1);
        message[10..12].copy_from_slice(&arcount.to_be_bytes());
    }
}

/// The end of a conversation that signs what it sends and checks what it gets.
#[derive(Clone, Debug)]
pub struct Transaction {
    key: Key,
    /// Keyed, and nothing else: where every MAC begins.
    keyed: Running,
    /// The MAC that is being made: it begins with the one before (§5.3.1), and has the messages since then.
    running: Running,
    /// How many messages no signature has covered yet.
    unsigned: u32,
    /// No response was signed or checked yet: the first one signs all variables.
    first: bool,
}

impl Transaction {
    fn new(key: Key) -> Self {
        let keyed = Running::new(key.algorithm, &key.secret);
        Self { key, running: keyed.clone(), keyed, unsigned: 0, first: true }
    }

    /// Signs `message`, a request of ours that is complete but for this, and begins a conversation with it.
    #[must_use]
    pub fn request(key: Key, message: &mut Vec<u8>, now: u64) -> Self {
        let mut transaction = Self::new(key);
        transaction.sign(message, now);
        transaction.first = true;
        transaction
    }

    /// Checks the request that begins a conversation; the answers continue its MAC.
    ///
    /// # Errors
    /// Why it does not count. [`refuse`] writes the answer.
    pub fn accept(keys: &[Key], message: &[u8], tsig: usize, now: u64) -> Result<Self, TsigError> {
        let record = Tsig::parse(message, tsig)?;
        let key = key_of(keys, &record).ok_or(TsigError::BadKey)?;
        let mut transaction = Self::new(key.clone());
        transaction.check(&record, message, tsig, now)?;
        transaction.first = true;
        Ok(transaction)
    }

    /// The name of the key.
    #[must_use]
    pub fn key_name(&self) -> &[u8] {
        &self.key.name
    }

    /// How many bytes a signature adds to a message, at most: with what [`TsigError::BadTime`] adds.
    #[must_use]
    pub const fn record_bytes(&self) -> usize {
        let Key { name, algorithm, secret: _ } = &self.key;
        name.len() + FIXED_BYTES + algorithm.wire().len() + 10 + algorithm.mac_bytes() + 6 + 6
    }

    /// Leaves a response of a stream unsigned; the next signature covers it (§5.3.1). At most 99 in a row, and neither the
    /// first nor the last.
    pub fn defer(&mut self, message: &[u8]) {
        self.running.update(message);
        self.unsigned += 1;
    }

    /// Signs `message`, a response that is complete but for this.
    pub fn sign(&mut self, message: &mut Vec<u8>, now: u64) {
        self.sign_with(message, now, 0, &[]);
    }

    /// The same, saying what was wrong with the request.
    fn sign_with(&mut self, message: &mut Vec<u8>, now: u64, error: u16, other: &[u8]) {
        let original_id = u16::from_be_bytes([message[0], message[1]]);
        let mut tsig = Tsig {
            key: self.key.name.clone(),
            algorithm: self.key.algorithm.wire().to_vec(),
            time: now,
            fudge: FUDGE_SECONDS,
            mac: Vec::new(),
            original_id,
            error,
            other: other.to_vec(),
        };
        let mut room = [0; MAC_BYTES_MAX];
        tsig.mac = self.mac(&tsig, message, &mut room).to_vec();
        tsig.append(message);
        self.go_on(&tsig.mac);
    }

    /// What comes next continues this MAC.
    fn go_on(&mut self, mac: &[u8]) {
        self.running = self.keyed.clone();
        self.running.update(&len_u16(mac).to_be_bytes());
        self.running.update(mac);
        self.unsigned = 0;
        self.first = false;
    }

    /// Checks a response to what this end signed. `tsig` is where its record begins, if it has one.
    ///
    /// # Errors
    /// Why it does not count. A stream must end with a signed message: see [`is_signed`](Self::is_signed).
    pub fn verify(&mut self, message: &[u8], tsig: Option<usize>, now: u64) -> Result<(), TsigError> {
        let Some(start) = tsig else {
            if self.first || self.unsigned == UNSIGNED_MAX {
                return Err(TsigError::BadSig);
            }
            self.defer(message);
            return Ok(());
        };
        let record = Tsig::parse(message, start)?;
        if record.key != self.key.name || record.algorithm != self.key.algorithm.wire() {
            return Err(TsigError::BadKey);
        }
        self.check(&record, message, start, now)
    }

    /// Nothing was received that a signature does not cover.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        self.unsigned == 0
    }

    /// In the order of §5.2: the MAC, the time, what policy wants of the MAC's length.
    fn check(&mut self, record: &Tsig, message: &[u8], start: usize, now: u64) -> Result<(), TsigError> {
        let whole = self.key.algorithm.mac_bytes();
        if record.mac.len() > whole || record.mac.len() < MAC_BYTES_MIN.max(whole / 2) {
            // §5.2.2.1: never sent, and FORMERR when it comes.
            return Err(TsigError::Malformed);
        }
        let mut plain = message[..start].to_vec();
        plain[..2].copy_from_slice(&record.original_id.to_be_bytes());
        let arcount = u16::from_be_bytes([plain[10], plain[11]]);
        let without = arcount.checked_sub(1).ok_or(TsigError::Malformed)?;
        plain[10..12].copy_from_slice(&without.to_be_bytes());
        let mut room = [0; MAC_BYTES_MAX];
        let expected = self.mac(record, &plain, &mut room);
        let differing = expected.iter().zip(&record.mac).fold(0, |bits, (a, b)| bits | a ^ b);
        if differing != 0 {
            return Err(TsigError::BadSig);
        }
        if now.abs_diff(record.time) > u64::from(record.fudge) {
            return Err(TsigError::BadTime);
        }
        if record.mac.len() < whole {
            return Err(TsigError::BadTrunc);
        }
        self.go_on(&record.mac);
        Ok(())
    }

    fn mac<'a>(&self, tsig: &Tsig, message: &[u8], room: &'a mut [u8; MAC_BYTES_MAX]) -> &'a [u8] {
        let mut variables = Vec::new();
        if self.first {
            tsig.variables(&mut variables);
        } else {
            tsig.timers(&mut variables);
        }
        let mut mac = self.running.clone();
        mac.update(message);
        mac.update(&variables);
        mac.finish(room)
    }
}

/// The key that a record names, with its algorithm.
fn key_of<'a>(keys: &'a [Key], record: &Tsig) -> Option<&'a Key> {
    keys.iter().find(|key| key.name == record.key && key.algorithm.wire() == record.algorithm)
}

/// Appends the TSIG record that says why a request was not believed (§5.3.2): unsigned for a key or a signature that we
/// do not know, signed when the request's was right.
pub fn refuse(message: &mut Vec<u8>, request: &Tsig, keys: &[Key], error: TsigError, now: u64) {
    if matches!(error, TsigError::BadTime | TsigError::BadTrunc)
        && let Some(key) = key_of(keys, request)
    {
        let mut transaction = Transaction::new(key.clone());
        transaction.go_on(&request.mac);
        transaction.first = true;
        // §5.2.3: the client's time, so that it believes the answer, and ours, so that it knows.
        let ours = now.to_be_bytes();
        let (time, other) =
            if error == TsigError::BadTime { (request.time, &ours[2..]) } else { (now, &[][..]) };
        transaction.sign_with(message, time, error.code(), other);
        return;
    }
    let unsigned = Tsig {
        time: now,
        fudge: FUDGE_SECONDS,
        mac: Vec::new(),
        error: error.code(),
        other: Vec::new(),
        ..request.clone()
    };
    unsigned.append(message);
}

fn len_u16(bytes: &[u8]) -> u16 {
    u16::try_from(bytes.len()).expect("within a message")
}

#[cfg(test)]
mod tests;
