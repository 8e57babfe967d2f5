//! The field lines of a head that has been checked, read where they lie.
//!
//! Nothing is copied into a table. A server of files asks for a dozen fields by name, and most of them are absent: 64 bits
//! that say which names cannot be there answer those questions, and only the others read the lines.

use crate::trim_ows;

/// The field lines of a request, in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    /// Whole lines with their ends; an empty one may close them. `httparse` has accepted them all.
    lines: &'a [u8],
    /// The marks of all the names in `lines`; it may have more.
    marks: u64,
}

/// One of 64 bits for a name, whatever its case.
const fn mark(name: &[u8]) -> u64 {
    match name {
        [first, .., last] => {
            let (first, last) = (first.to_ascii_lowercase() as usize, last.to_ascii_lowercase() as usize);
            // Any mixture would do. This one keeps apart most of what is asked for and what browsers send.
            1 << ((first * 5 + last * 11 + name.len()) % 64)
        }
        _ => 1,
    }
}

impl<'a> Fields<'a> {
    /// The fields in `lines`, which have these `names` and no others.
    pub(super) fn new(lines: &'a [u8], names: impl Iterator<Item = &'a [u8]>) -> Self {
        Self { lines, marks: names.fold(0, |marks, name| marks | mark(name)) }
    }

    /// Whatever looks like fields in `lines`.
    pub(super) const fn unchecked(lines: &'a [u8]) -> Self {
        Self { lines, marks: u64::MAX }
    }

    /// Every field line as name and value, without the white space around the value.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
        let mut rest = self.lines;
        let lines = core::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let (line, behind) = rest.split_at(end);
            rest = behind;
            Some(line)
        });
        lines.filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let value = &line[colon + 1..];
            let value = value.strip_suffix(b"\n").unwrap_or(value);
            Some((&line[..colon], trim_ows(value.strip_suffix(b"\r").unwrap_or(value))))
        })
    }

    /// The value of every line of this name; names do not mind case.
    pub fn all(self, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> + Clone {
        let lines = if self.marks & mark(name) == 0 { &[] } else { self.lines };
        Self { lines, ..self }
            .iter()
            .filter(move |(line_name, _)| line_name.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The value of the only line of this name; nothing when there is none, or several that may contradict.
    #[must_use]
    pub fn single(self, name: &'static [u8]) -> Option<&'a [u8]> {
        let mut values = self.all(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Whether there is a line of this name.
    #[must_use]
    pub fn contains(self, name: &'static [u8]) -> bool {
        self.all(name).next().is_some()
    }

    /// The members of a comma-separated list field, over all its lines (RFC 9110 §5.6.1); empty ones are left out.
    ///
    /// For lists of tokens: a quoted string may hold a comma, so lists of entity tags are read by
    /// [`crate::etag`] instead.
    pub fn members(self, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.all(name)
            .flat_map(|line| line.split(|&byte| byte == b','))
            .map(trim_ows)
            .filter(|m| !m.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::{Fields, mark};

    #[test]
    fn a_mark_does_not_mind_case() {
        assert_eq!(mark(b"If-None-Match"), mark(b"if-none-match"));
    }

    #[test]
    fn names_that_share_a_mark_are_still_told_apart() {
        let names = [b"ab".as_slice(), b"a-b"];
        let lines = b"ab: 1\r\nzz: 2\r\n";
        let fields = Fields::new(lines, [b"ab".as_slice(), b"zz"].into_iter());
        assert_eq!(fields.single(b"ab"), Some(b"1".as_slice()));
        assert_eq!(fields.single(b"AB"), Some(b"1".as_slice()));
        // Whatever its mark, a name that is not there is not found.
        for name in names.into_iter().skip(1).chain([b"".as_slice(), b"x", b"azb"]) {
            assert_eq!(fields.single(name), None);
        }
    }

    #[test]
    fn most_of_what_a_browser_sends_is_not_taken_for_what_is_asked_for() {
        let asked = [
            b"if-match".as_slice(),
            b"if-none-match",
            b"if-modified-since",
            b"if-unmodified-since",
            b"if-range",
            b"range",
            b"origin",
            b"transfer-encoding",
            b"content-length",
            b"expect",
        ];
        let sent = [
            b"host".as_slice(),
            b"connection",
            b"user-agent",
            b"accept",
            b"accept-encoding",
            b"accept-language",
            b"referer",
            b"sec-ch-ua",
            b"sec-ch-ua-mobile",
            b"sec-ch-ua-platform",
            b"sec-fetch-dest",
            b"sec-fetch-mode",
            b"sec-fetch-site",
        ];
        let marks = sent.into_iter().fold(0, |marks, name| marks | mark(name));
        let mistaken = asked.into_iter().filter(|name| marks & mark(name) != 0).count();
        assert!(mistaken <= 3, "{mistaken}");
    }
}
