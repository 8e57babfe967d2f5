//! The field lines of a head that has been checked, read where they lie.
//!
//! Nothing is copied into a table: a server of files asks for a dozen fields by name, once each, of a head of a few
//! hundred bytes.

use crate::trim_ows;

/// The field lines of a request, in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    /// Whole lines with their ends; an empty one may close them. `httparse` has accepted them all.
    lines: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) const fn new(lines: &'a [u8]) -> Self {
        Self { lines }
    }

    /// Every field line as name and value, without the white space around the value.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone {
        self.lines.split(|&byte| byte == b'\n').filter_map(|line| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let colon = line.iter().position(|&byte| byte == b':')?;
            Some((&line[..colon], trim_ows(&line[colon + 1..])))
        })
    }

    /// The value of every line of this name; names do not mind case.
    pub fn all(self, name: &'static [u8]) -> impl Iterator<Item = &'a [u8]> + Clone {
        self.iter().filter(move |(line_name, _)| line_name.eq_ignore_ascii_case(name)).map(|(_, value)| value)
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
