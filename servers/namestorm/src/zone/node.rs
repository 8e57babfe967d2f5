//! A name of a zone with all its answers: one run of bytes, so that a query touches few cache lines.
//!
//! ```text
//! node   ├ name length ┼ flags ┼ entries ┼ labels ┼ name, without the apex … ┼ entry ┼ entry …
//! short  ├ type ┼ flags ┼ AN ┼ bytes ┼ sum ┼[ AN with signatures ┼ 0 ┼ bytes ┼ sum ]┼ body …
//! long   ├ type ┼ flags ┼ 0 ┼ bytes of all (4) ┼ variant ┼[ variant with signatures ]┼ body … ┼ body …
//! ```
//!
//! A body is what stands behind the question: records whose owner is the question's name say so with a pointer to byte
//! 12. A short entry is an answer section alone; its signatures stand behind its records, so that both variants share
//! one body. A long entry has other sections too, and a body per variant.

use dns::Rtype;

/// Where a node lies in its zone, in units of `ALIGN` bytes: 32 bits reach 16 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeRef(pub u32);

/// Nodes begin at multiples of this.
pub(crate) const ALIGN: usize = 4;

/// The bytes before the name.
pub(crate) const NODE_BYTES: usize = 4;

/// What a name is besides the records that it has.
pub mod flag {
    /// Authority ends here: it has NS records and is not the apex.
    pub const CUT: u8 = 1;
    /// It lies below a cut, or below a DNAME: its records answer nothing.
    pub const OCCLUDED: u8 = 2;
    /// A name `*` lies directly below.
    pub const WILDCARD_BELOW: u8 = 4;
    /// It has a DNAME record.
    pub const DNAME: u8 = 8;
    /// It has a CNAME record.
    pub const CNAME: u8 = 16;
    /// It is the zone's own name.
    pub const APEX: u8 = 32;
}

/// Bits of an entry's flags.
pub(crate) mod entry_flag {
    /// It has a variant with signatures.
    pub(crate) const SIGNED: u8 = 1;
    /// Its variants are described at length.
    pub(crate) const LONG: u8 = 2;
}

/// A variant of a long entry, described.
pub(crate) const VARIANT_BYTES: usize = 18;

/// A node, as it lies there.
#[derive(Clone, Copy, Debug)]
pub struct Node<'z> {
    bytes: &'z [u8],
}

impl<'z> Node<'z> {
    /// The node at the beginning of `bytes`.
    #[inline]
    pub(crate) const fn new(bytes: &'z [u8]) -> Self {
        Self { bytes }
    }

    /// Its name, folded, without the apex's.
    #[inline]
    #[must_use]
    pub fn name(&self) -> &'z [u8] {
        &self.bytes[NODE_BYTES..NODE_BYTES + usize::from(self.bytes[0])]
    }

    /// See [`flag`].
    #[inline]
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.bytes[1]
    }

    /// Whether any of `flags` is set.
    #[inline]
    #[must_use]
    pub fn is(&self, flags: u8) -> bool {
        self.flags() & flags != 0
    }

    /// How many types it has.
    #[must_use]
    pub fn entries_count(&self) -> usize {
        usize::from(self.bytes[2])
    }

    /// Its labels, the apex's not counted.
    #[must_use]
    pub fn labels(&self) -> usize {
        usize::from(self.bytes[3])
    }

    /// Its types.
    #[inline]
    #[must_use]
    pub fn entries(&self) -> Entries<'z> {
        let at = NODE_BYTES + usize::from(self.bytes[0]);
        Entries { bytes: &self.bytes[at..], left: self.bytes[2] }
    }

    /// How many bytes it takes.
    #[must_use]
    pub fn extent(&self) -> usize {
        let mut entries = self.entries();
        while entries.next().is_some() {}
        self.bytes.len() - entries.bytes.len()
    }

    /// All of it, as it lies there.
    #[must_use]
    pub(crate) fn whole(&self) -> &'z [u8] {
        &self.bytes[..self.extent()]
    }

    /// The answers of one type.
    #[inline]
    #[must_use]
    pub fn entry(&self, rtype: Rtype) -> Option<Entry<'z>> {
        self.entries().find(|entry| entry.rtype == rtype)
    }
}

/// The types of a node, in order.
#[derive(Clone, Debug)]
pub struct Entries<'z> {
    bytes: &'z [u8],
    left: u8,
}

/// The answers of one type.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'z> {
    /// The type.
    pub rtype: Rtype,
    flags: u8,
    bytes: &'z [u8],
}

/// One answer: what stands behind the question, and what the header says of it.
#[derive(Clone, Copy, Debug)]
pub struct Variant<'z> {
    /// Records of the answer section.
    pub an: u16,
    /// Records of the authority section.
    pub ns: u16,
    /// Records of the additional section.
    pub ar: u16,
    /// The records.
    pub body: &'z [u8],
    /// The one's complement sum of the body.
    pub sum: u16,
    /// How many of its bytes answer section and authority section take.
    pub sections: u16,
    /// How many of its bytes must not be left out: those, and the glue that a referral is of no use without.
    pub keep: u16,
    /// Records of the additional section within them.
    pub keep_ar: u16,
    /// Where in the body pointers stand that follow the question's length: two bytes each.
    pub moves: &'z [u8],
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

impl<'z> Iterator for Entries<'z> {
    type Item = Entry<'z>;

    #[inline]
    fn next(&mut self) -> Option<Entry<'z>> {
        self.left = self.left.checked_sub(1)?;
        let bytes = self.bytes;
        let flags = bytes[2];
        let total = if flags & entry_flag::LONG != 0 {
            u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]) as usize
        } else if flags & entry_flag::SIGNED != 0 {
            16 + usize::from(word(bytes, 12))
        } else {
            8 + usize::from(word(bytes, 4))
        };
        let (entry, rest) = bytes.split_at(total);
        self.bytes = rest;
        Some(Entry { rtype: Rtype(word(entry, 0)), flags, bytes: entry })
    }
}

impl<'z> Entry<'z> {
    /// The records alone.
    #[inline]
    #[must_use]
    pub fn plain(&self) -> Variant<'z> {
        if self.flags & entry_flag::LONG != 0 {
            return self.long(0);
        }
        let body = if self.flags & entry_flag::SIGNED != 0 { 16 } else { 8 };
        let bytes = word(self.bytes, 4);
        Variant {
            an: u16::from(self.bytes[3]),
            ns: 0,
            ar: 0,
            body: &self.bytes[body..body + usize::from(bytes)],
            sum: word(self.bytes, 6),
            sections: bytes,
            keep: bytes,
            keep_ar: 0,
            moves: &[],
        }
    }

    /// The records with their signatures, if they have any.
    #[inline]
    #[must_use]
    pub fn signed(&self) -> Variant<'z> {
        if self.flags & entry_flag::SIGNED == 0 {
            return self.plain();
        }
        if self.flags & entry_flag::LONG != 0 {
            return self.long(1);
        }
        let bytes = word(self.bytes, 12);
        Variant {
            an: u16::from(self.bytes[8]),
            ns: 0,
            ar: 0,
            body: &self.bytes[16..16 + usize::from(bytes)],
            sum: word(self.bytes, 14),
            sections: bytes,
            keep: bytes,
            keep_ar: 0,
            moves: &[],
        }
    }

    /// One or the other.
    #[inline]
    #[must_use]
    pub fn variant(&self, dnssec: bool) -> Variant<'z> {
        if dnssec { self.signed() } else { self.plain() }
    }

    fn long(&self, index: usize) -> Variant<'z> {
        let variants = if self.flags & entry_flag::SIGNED != 0 { 2 } else { 1 };
        let mut start = 8 + variants * VARIANT_BYTES;
        if index == 1 {
            let first = &self.bytes[8..8 + VARIANT_BYTES];
            start += usize::from(word(first, 6)) + 2 * usize::from(word(first, 16));
        }
        let described = &self.bytes[8 + index * VARIANT_BYTES..][..VARIANT_BYTES];
        let body_end = start + usize::from(word(described, 6));
        let moves_end = body_end + 2 * usize::from(word(described, 16));
        Variant {
            an: word(described, 0),
            ns: word(described, 2),
            ar: word(described, 4),
            body: &self.bytes[start..body_end],
            sum: word(described, 8),
            sections: word(described, 10),
            keep: word(described, 12),
            keep_ar: word(described, 14),
            moves: &self.bytes[body_end..moves_end],
        }
    }
}

/// A variant of a long entry before it is laid down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) an: u16,
    pub(crate) ns: u16,
    pub(crate) ar: u16,
    pub(crate) body: Vec<u8>,
    pub(crate) sections: u16,
    pub(crate) keep: u16,
    pub(crate) keep_ar: u16,
    pub(crate) moves: Vec<u16>,
}

/// The one's complement sum of a body, to be kept beside it.
pub(crate) fn sum_of(body: &[u8]) -> u16 {
    wire::checksum::Sum::of(body).fold()
}

/// Lays down a short entry: `plain` bytes of `body` are the records alone, all of it has the signatures.
pub(crate) fn lay_short(out: &mut Vec<u8>, rtype: Rtype, plain: (u8, u16), all: (u8, u16), body: &[u8]) {
    let signed = all.0 != plain.0;
    out.extend_from_slice(&rtype.0.to_le_bytes());
    out.extend_from_slice(&[if signed { entry_flag::SIGNED } else { 0 }, plain.0]);
    out.extend_from_slice(&plain.1.to_le_bytes());
    out.extend_from_slice(&sum_of(&body[..usize::from(plain.1)]).to_le_bytes());
    if signed {
        out.extend_from_slice(&[all.0, 0, 0, 0]);
        out.extend_from_slice(&all.1.to_le_bytes());
        out.extend_from_slice(&sum_of(body).to_le_bytes());
    }
    out.extend_from_slice(body);
}

/// Lays down a long entry.
pub(crate) fn lay_long(out: &mut Vec<u8>, rtype: Rtype, plain: &Draft, signed: Option<&Draft>) {
    let drafts: Vec<&Draft> = core::iter::once(plain).chain(signed).collect();
    let bytes: usize =
        drafts.iter().map(|draft| VARIANT_BYTES + draft.body.len() + 2 * draft.moves.len()).sum();
    let flags = entry_flag::LONG | if signed.is_some() { entry_flag::SIGNED } else { 0 };
    out.extend_from_slice(&rtype.0.to_le_bytes());
    out.extend_from_slice(&[flags, 0]);
    out.extend_from_slice(&u32::try_from(8 + bytes).expect("two messages at most").to_le_bytes());
    for draft in &drafts {
        let Draft { an, ns, ar, body, sections, keep, keep_ar, moves } = draft;
        let bytes = u16::try_from(body.len()).expect("a message at most");
        let moves = u16::try_from(moves.len()).expect("fewer than the message has bytes");
        for word in [*an, *ns, *ar, bytes, sum_of(body), *sections, *keep, *keep_ar, moves] {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }
    for draft in &drafts {
        out.extend_from_slice(&draft.body);
        for place in &draft.moves {
            out.extend_from_slice(&place.to_le_bytes());
        }
    }
}
