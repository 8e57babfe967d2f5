//! Bodies, record by record, with their names compressed (RFC 1035 §4.1.4).
//!
//! ```text
//! 0        12               12 + q   12 + q + 4
//! │ header │ question's name │ type … │ body …
//!             ▲  ▲                 ▲     │
//!             └──┴─────────────────┴─────┘ pointers: to the whole name, to its apex, to names in the body before
//! ```
//!
//! Pointers follow the question's length: a referral that was written for the cut's own name serves every name below it
//! when each of its pointers is moved by the difference. In an answer section, data points only to the apex: such
//! records can be put into any answer of the zone by rewriting one pointer.

use dns::name::labels;
use dns::record::leading_bytes_and_names;
use dns::{Class, Rtype};

/// Where the question's name begins.
pub(crate) const QUESTION: u16 = 12;

/// A pointer to byte 12.
pub(crate) const TO_QUESTION: [u8; 2] = [0xc0, 12];

/// What names may be compressed against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Against {
    /// Nothing.
    Nothing,
    /// The apex, within the question.
    Apex,
    /// Every suffix of the question's name, and names that stand in the body already.
    All,
}

/// A body being written, as if the question were `question`.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    question: &'a [u8],
    apex: &'a [u8],
    pub(crate) body: Vec<u8>,
    /// Where names in the body stand: from the message's beginning.
    known: Vec<(u16, Vec<u8>)>,
    /// Names that are written now may be pointed at later.
    pub(crate) learn: bool,
    /// Where pointers stand that follow the question's length: from the body's beginning.
    pub(crate) moves: Vec<u16>,
}

impl<'a> Writer<'a> {
    /// `question` ends with `apex`; both are names on the wire.
    pub(crate) fn new(question: &'a [u8], apex: &'a [u8]) -> Self {
        Self { question, apex, body: Vec::new(), known: Vec::new(), learn: false, moves: Vec::new() }
    }

    fn start(&self) -> usize {
        usize::from(QUESTION) + self.question.len() + 4
    }

    /// Where the apex stands in the question.
    fn apex_at(&self) -> u16 {
        offset(usize::from(QUESTION) + self.question.len() - self.apex.len())
    }

    /// A record owned by the question's name.
    pub(crate) fn record(&mut self, rtype: Rtype, ttl: u32, rdata: &[u8], against: Against) {
        self.body.extend_from_slice(&TO_QUESTION);
        self.fixed_and_data(rtype, ttl, rdata, against);
    }

    /// A record owned by another name.
    pub(crate) fn record_of(&mut self, owner: &[u8], rtype: Rtype, ttl: u32, rdata: &[u8], against: Against) {
        self.name(owner, against);
        self.fixed_and_data(rtype, ttl, rdata, against);
    }

    fn fixed_and_data(&mut self, rtype: Rtype, ttl: u32, rdata: &[u8], against: Against) {
        self.body.extend_from_slice(&rtype.0.to_be_bytes());
        self.body.extend_from_slice(&Class::IN.0.to_be_bytes());
        self.body.extend_from_slice(&ttl.to_be_bytes());
        let rdlength = self.body.len();
        self.body.extend_from_slice(&[0, 0]);
        self.data(rtype, rdata, against);
        let bytes = u16::try_from(self.body.len() - rdlength - 2).expect("compression makes data no longer");
        self.body[rdlength..rdlength + 2].copy_from_slice(&bytes.to_be_bytes());
    }

    fn data(&mut self, rtype: Rtype, rdata: &[u8], against: Against) {
        let (leading, names) = leading_bytes_and_names(rtype);
        if names == 0 || against == Against::Nothing {
            self.body.extend_from_slice(rdata);
            return;
        }
        let (before, mut rest) = rdata.split_at(leading.min(rdata.len()));
        self.body.extend_from_slice(before);
        for _ in 0..names {
            let end = name_bytes(rest);
            self.name(&rest[..end], against);
            rest = &rest[end..];
        }
        self.body.extend_from_slice(rest);
    }

    /// Writes a name, as short as `against` allows.
    pub(crate) fn name(&mut self, wire: &[u8], against: Against) {
        let at = self.start() + self.body.len();
        let mut label = 0;
        while wire[label] != 0 {
            let suffix = &wire[label..];
            if let Some(target) = self.find(suffix, against) {
                self.body.extend_from_slice(&wire[..label]);
                self.moves.push(offset(self.body.len()));
                self.body.extend_from_slice(&(0xc000 | target).to_be_bytes());
                self.remember(wire, label, at);
                return;
            }
            label += 1 + usize::from(wire[label]);
        }
        self.body.extend_from_slice(wire);
        self.remember(wire, label, at);
    }

    fn find(&self, suffix: &[u8], against: Against) -> Option<u16> {
        match against {
            Against::Nothing => None,
            Against::Apex => {
                (self.apex.len() > 1 && suffix.eq_ignore_ascii_case(self.apex)).then(|| self.apex_at())
            }
            Against::All => {
                let is_suffix = suffix.len() <= self.question.len()
                    && self.question[self.question.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
                    && is_at_label(self.question, self.question.len() - suffix.len());
                if is_suffix {
                    return Some(offset(usize::from(QUESTION) + self.question.len() - suffix.len()));
                }
                self.known.iter().find(|(_, name)| name.eq_ignore_ascii_case(suffix)).map(|(at, _)| *at)
            }
        }
    }

    /// The name at `at` and its suffixes down to `end`, where a pointer took over, can be pointed at.
    fn remember(&mut self, wire: &[u8], end: usize, at: usize) {
        if !self.learn {
            return;
        }
        let mut label = 0;
        while label < end && at + label < 0x4000 {
            self.known.push((offset(at + label), wire[label..].to_vec()));
            label += 1 + usize::from(wire[label]);
        }
    }
}

fn offset(at: usize) -> u16 {
    u16::try_from(at).expect("within a message")
}

/// Whether a label of `name` begins at `at`.
fn is_at_label(name: &[u8], at: usize) -> bool {
    let mut label = 0;
    while label < at {
        label += 1 + usize::from(name[label]);
    }
    label == at
}

/// How long the name at the beginning of `bytes` is; all of them when it does not end.
pub(crate) fn name_bytes(bytes: &[u8]) -> usize {
    let end: usize = labels(bytes).map(|label| label.len() + 1).sum::<usize>() + 1;
    end.min(bytes.len())
}
