//! Queries out, answers judged: RFC 1035 §4, RFC 6891.

use core::fmt;

/// Header, the longest name, type and class, and an OPT record.
pub const QUERY_BYTES_MAX: usize = HEADER_BYTES + 255 + 4 + OPT_BYTES;
const HEADER_BYTES: usize = 12;
const OPT_BYTES: usize = 11;
const CLASS_IN: u16 = 1;
/// Types that people write by name.
const TYPES: [(&str, u16); 14] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("DS", 43),
    ("DNSKEY", 48),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("ANY", 255),
];

/// What is asked: a name and a type, in class IN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Name, type and class, as on the wire.
    wire: Box<[u8]>,
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// EDNS with this size of answers.
    pub edns: Option<u16>,
    /// With EDNS: DNSSEC records are wanted.
    pub dnssec: bool,
    /// RD is set.
    pub recursion: bool,
}

impl Question {
    /// A name as people write it, `www.example.com` or `www.example.com.`, and a type by name or as `TYPE99`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(name: &str, kind: &str) -> Result<Self, String> {
        let mut wire = Vec::with_capacity(name.len() + 6);
        for label in name.trim_end_matches('.').split('.').filter(|_| name != ".") {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length));
            let length = length.ok_or_else(|| format!("{name}: a label has 1 to 63 characters"))?;
            if !label.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
                return Err(format!("{name}: a name is ASCII, without spaces and escapes"));
            }
            wire.push(length);
            wire.extend_from_slice(label.as_bytes());
        }
        wire.push(0);
        if wire.len() > 255 {
            return Err(format!("{name}: a name has at most 255 bytes"));
        }
        let known = TYPES.iter().find(|(text, _)| text.eq_ignore_ascii_case(kind)).map(|(_, code)| *code);
        let number = || kind.to_ascii_uppercase().strip_prefix("TYPE")?.parse().ok();
        let kind: u16 = known.or_else(number).ok_or_else(|| format!("{kind} is no type of record"))?;
        wire.extend_from_slice(&kind.to_be_bytes());
        wire.extend_from_slice(&CLASS_IN.to_be_bytes());
        Ok(Self { wire: wire.into() })
    }

    /// Writes a query; returns its length, at most [`QUERY_BYTES_MAX`].
    pub fn emit(&self, id: u16, manner: Manner, room: &mut [u8]) -> usize {
        let end = HEADER_BYTES + self.wire.len();
        room[..HEADER_BYTES].fill(0);
        room[0..2].copy_from_slice(&id.to_be_bytes());
        room[2] = u8::from(manner.recursion);
        room[5] = 1;
        room[HEADER_BYTES..end].copy_from_slice(&self.wire);
        let Some(size) = manner.edns else { return end };
        room[11] = 1;
        let [high, low] = size.to_be_bytes();
        let flags = if manner.dnssec { 0x80 } else { 0 };
        // Root, OPT, the size of answers; no extended code, version 0, DO or not; no options.
        room[end..end + OPT_BYTES].copy_from_slice(&[0, 0, 41, high, low, 0, 0, flags, 0, 0, 0]);
        end + OPT_BYTES
    }

    /// Whether an answer answers this.
    ///
    /// # Errors
    /// [`Wrong`]
    pub fn judge(&self, answer: &[u8]) -> Result<Answer, Wrong> {
        let Some((header, rest)) = answer.split_first_chunk::<HEADER_BYTES>() else {
            return Err(Wrong::Short);
        };
        if header[2] & 0x80 == 0 || (header[2] >> 3) & 0xf != 0 {
            return Err(Wrong::NoAnswer);
        }
        let rcode = header[3] & 0xf;
        let questions = u16::from_be_bytes([header[4], header[5]]);
        // RFC 1035 §4.1.1: a server that could not read the question need not repeat it.
        let is_repeated = questions == 1
            && rest.get(..self.wire.len()).is_some_and(|echo| echo.eq_ignore_ascii_case(&self.wire));
        if !(is_repeated || questions == 0 && rcode == 1) {
            return Err(Wrong::OtherQuestion);
        }
        Ok(Answer { rcode, truncated: header[2] & 2 != 0 })
    }
}

/// The id of a message that has one.
#[must_use]
pub fn id_of(message: &[u8]) -> Option<u16> {
    message.first_chunk().map(|id| u16::from_be_bytes(*id))
}

/// What a right answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// RCODE, 0 to 15.
    pub rcode: u8,
    /// TC: there is more than fits.
    pub truncated: bool,
}

/// Why an answer is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Shorter than a header.
    Short,
    /// A query, or another operation.
    NoAnswer,
    /// To something that was not asked.
    OtherQuestion,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Short => "an answer is shorter than a header",
            Self::NoAnswer => "a message with a known id is no answer",
            Self::OtherQuestion => "an answer repeats another question than was asked",
        })
    }
}

/// The names of RCODEs 0 to 15.
pub const RCODES: [&str; 16] = [
    "NOERROR",
    "FORMERR",
    "SERVFAIL",
    "NXDOMAIN",
    "NOTIMP",
    "REFUSED",
    "YXDOMAIN",
    "YXRRSET",
    "NXRRSET",
    "NOTAUTH",
    "NOTZONE",
    "DSOTYPENI",
    "RCODE12",
    "RCODE13",
    "RCODE14",
    "RCODE15",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLAIN: Manner = Manner { edns: None, dnssec: false, recursion: false };

    fn answered(question: &Question, manner: Manner) -> Vec<u8> {
        let mut room = [0; QUERY_BYTES_MAX];
        let len = question.emit(7, manner, &mut room);
        room[2] |= 0x80;
        room[..len].to_vec()
    }

    //= RFC 1035 §4.1
    #[test]
    fn a_query_is_what_the_rfc_draws() {
        let question = Question::parse("www.example.com.", "aaaa").unwrap();
        let mut room = [0xff; QUERY_BYTES_MAX];
        let manner = Manner { edns: Some(1_232), dnssec: true, recursion: true };
        let len = question.emit(0x1234, manner, &mut room);
        let expected =
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03www\x07example\x03com\x00\x00\x1c\x00\x01\
                         \x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00";
        assert_eq!(&room[..len], expected);
        assert_eq!(question.emit(0x1234, PLAIN, &mut room), expected.len() - OPT_BYTES);
        assert_eq!(room[11], 0);
    }

    #[test]
    fn the_root_has_no_labels() {
        let mut room = [0; QUERY_BYTES_MAX];
        let len = Question::parse(".", "NS").unwrap().emit(0, PLAIN, &mut room);
        assert_eq!(&room[HEADER_BYTES..len], [0, 0, 2, 0, 1]);
    }

    #[test]
    fn what_is_no_name_or_type_is_said() {
        for (name, kind) in [("a..b", "A"), ("a b", "A"), ("", "A"), ("x.example", "B"), ("x", "TYPE70000")] {
            assert!(Question::parse(name, kind).is_err(), "{name} {kind}");
        }
        assert!(Question::parse(&"a.".repeat(128), "A").is_err());
        assert!(Question::parse(&"a".repeat(64), "A").is_err());
        assert!(Question::parse(&"a.".repeat(127), "TYPE65280").is_ok());
    }

    #[test]
    fn an_answer_repeats_the_question_in_whatever_case() {
        let question = Question::parse("Www.Example", "A").unwrap();
        let mut answer = answered(&question, PLAIN);
        answer[13..16].make_ascii_uppercase();
        answer[3] = 3;
        assert_eq!(question.judge(&answer), Ok(Answer { rcode: 3, truncated: false }));
        answer[2] |= 2;
        assert_eq!(question.judge(&answer).map(|answer| answer.truncated), Ok(true));
        let other = Question::parse("www.example", "AAAA").unwrap();
        assert_eq!(other.judge(&answer), Err(Wrong::OtherQuestion));
        answer[2] &= 0x7f;
        assert_eq!(question.judge(&answer), Err(Wrong::NoAnswer));
    }

    #[test]
    fn only_a_format_error_may_come_without_its_question() {
        let question = Question::parse("www.example", "A").unwrap();
        let mut answer = [0, 7, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(question.judge(&answer).map(|answer| answer.rcode), Ok(1));
        answer[3] = 0;
        assert_eq!(question.judge(&answer), Err(Wrong::OtherQuestion));
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Question::parse("www.example", "A").unwrap().judge(&bytes);
            let _ = id_of(&bytes);
        }
    }
}
