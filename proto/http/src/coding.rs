//! Content codings (RFC 9110 §8.4.1) and which of them a client would have (§12.5.3).
//!
//! Nothing is coded here: a server has the coded forms of a representation lying ready, and asks which one to send.

use crate::digits;
use crate::request::Fields;

/// A content coding that files lie ready in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gzip, Self::Brotli, Self::Zstd];

    /// The coding's name in Accept-Encoding and Content-Encoding.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// What the name of a coded file ends in.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
        }
    }

    fn of_token(token: &[u8]) -> Option<Self> {
        // §8.4.1.3: "A recipient SHOULD consider "x-gzip" to be equivalent to "gzip"."
        let token = if token.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { token };
        Self::ALL.into_iter().find(|coding| token.eq_ignore_ascii_case(coding.token().as_bytes()))
    }
}

/// What a client accepts, as weights in thousandths; 0 is a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    identity: u16,
    codings: [u16; 3],
}

/// Nobody asked for it and nobody forbade it: taken when there is nothing else.
const TOLERATED: u16 = 1;

impl Accepted {
    /// Reads the Accept-Encoding of a request. Without one only the bare representation is sent, which every client
    /// understands; members that cannot be read are as if they were not there.
    #[must_use]
    pub fn of(fields: Fields<'_>) -> Self {
        let (mut identity, mut codings, mut rest) = (None, [None; 3], None);
        for member in fields.members(b"accept-encoding") {
            let mut parameters = member.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
            let token = parameters.next().unwrap_or_default();
            let Some(weight) = parameters.next().map_or(Some(1_000), weight) else { continue };
            if token == b"*" {
                rest = Some(weight);
            } else if token.eq_ignore_ascii_case(b"identity") {
                identity = Some(weight);
            } else if let Some(coding) = Coding::of_token(token) {
                codings[coding as usize] = Some(weight);
            }
        }
        // §12.5.3: the bare form is acceptable "unless specifically excluded by the Accept-Encoding header field stating
        // either "identity;q=0" or "*;q=0" without a more specific entry for "identity"".
        let unnamed = if rest == Some(0) { 0 } else { TOLERATED };
        Self {
            identity: identity.unwrap_or(unnamed),
            codings: codings.map(|weight| weight.or(rest).unwrap_or(0)),
        }
    }

    /// How much the client wants a coding, or the bare form; 0: not at all.
    #[must_use]
    pub const fn weight(&self, coding: Option<Coding>) -> u16 {
        match coding {
            Some(coding) => self.codings[coding as usize],
            None => self.identity,
        }
    }

    /// Which of the offered forms to send, each with its length: what the client wants most, and of several the
    /// shortest. `None` when it refuses all of them.
    #[must_use]
    pub fn choose(&self, offered: impl IntoIterator<Item = (Option<Coding>, u64)>) -> Option<usize> {
        let weighed = offered.into_iter().enumerate().map(|(index, (coding, bytes))| {
            (self.weight(coding), core::cmp::Reverse(bytes), core::cmp::Reverse(index))
        });
        weighed.filter(|(weight, ..)| *weight > 0).max().map(|(_, _, core::cmp::Reverse(index))| index)
    }
}

/// `q=0.5` in thousandths (§12.4.2: at most three decimals, at most 1).
fn weight(parameter: &[u8]) -> Option<u16> {
    let [b'q' | b'Q', b'=', value @ ..] = parameter else { return None };
    let (whole, decimals) = match value {
        [whole @ (b'0' | b'1')] => (*whole, &b""[..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] if decimals.len() <= 3 => (*whole, decimals),
        _ => return None,
    };
    let mut thousandths = [b'0'; 3];
    thousandths[..decimals.len()].copy_from_slice(decimals);
    let weight = u64::from(whole - b'0') * 1_000 + digits(&thousandths)?;
    u16::try_from(weight).ok().filter(|weight| *weight <= 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, Parse, Request};
    use std::format;

    fn accepted(value: &str) -> Accepted {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {value}\r\n\r\n");
        let Parse::Complete { request, .. } = Request::parse(head.as_bytes(), &Limits::default()) else {
            panic!("{head:?}")
        };
        Accepted::of(request.fields)
    }

    const OFFERED: [(Option<Coding>, u64); 4] =
        [(None, 100), (Some(Coding::Gzip), 40), (Some(Coding::Brotli), 30), (Some(Coding::Zstd), 35)];

    fn chosen(value: &str) -> Option<Option<Coding>> {
        accepted(value).choose(OFFERED).map(|index| OFFERED[index].0)
    }

    #[test]
    fn among_equals_the_shortest_is_sent() {
        assert_eq!(chosen("gzip, deflate, br, zstd"), Some(Some(Coding::Brotli)));
        assert_eq!(chosen("gzip, zstd"), Some(Some(Coding::Zstd)));
    }

    #[test]
    fn a_weight_counts_more_than_a_length() {
        assert_eq!(chosen("br;q=0.5, gzip;q=0.501"), Some(Some(Coding::Gzip)));
        assert_eq!(chosen("identity, br;q=0.9"), Some(None));
        assert_eq!(chosen("gzip ; q=1.000, br;Q=0.999"), Some(Some(Coding::Gzip)));
    }

    #[test]
    fn nothing_asked_for_is_the_bare_form() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let Parse::Complete { request, .. } = Request::parse(head, &Limits::default()) else { panic!() };
        assert_eq!(Accepted::of(request.fields).choose(OFFERED), Some(0));
        assert_eq!(chosen(""), Some(None));
        assert_eq!(chosen("deflate, compress"), Some(None));
    }

    #[test]
    fn what_is_refused_is_not_sent() {
        assert_eq!(chosen("br;q=0, *"), Some(Some(Coding::Zstd)));
        assert_eq!(chosen("gzip;q=0"), Some(None));
        assert_eq!(chosen("*;q=0"), None);
        assert_eq!(chosen("identity;q=0, compress"), None);
        assert_eq!(chosen("*;q=0, identity;q=0.1"), Some(None));
    }

    #[test]
    fn an_old_name_is_known_and_a_strange_weight_is_not() {
        assert_eq!(chosen("X-GZIP"), Some(Some(Coding::Gzip)));
        for strange in ["br;q=2", "br;q=1.001", "br;q=0.1234", "br;q=-1", "br;q=", "br;v=1", "br;q=.5"] {
            assert_eq!(chosen(strange), Some(None), "{strange}");
        }
    }
}
