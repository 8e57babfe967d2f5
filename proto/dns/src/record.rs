//! Resource records on the wire (RFC 1035 §4.1.3).
//!
//! ```text
//! ├ owner … ┼ type ┼ class ┼ ttl (4) ┼ rdlength ┼ rdata …
//! ```

use crate::name::{self, NameError};
use crate::{Class, Rtype};

/// What stands between owner and data, in bytes.
pub const FIXED_BYTES: usize = 10;

/// A record within a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where the owner begins.
    pub start: usize,
    /// Its type.
    pub rtype: Rtype,
    /// Its class.
    pub class: Class,
    /// Seconds to live.
    pub ttl: u32,
    /// Where the data begins.
    pub rdata: usize,
    /// Where it ends, and the next record begins.
    pub end: usize,
}

impl Record {
    /// Reads the record at `start`.
    ///
    /// # Errors
    /// The message ends first, or the owner is no name.
    pub fn parse(message: &[u8], start: usize) -> Result<Self, NameError> {
        let fixed = name::skip(message, start)?;
        let Some(&[t0, t1, c0, c1, l0, l1, l2, l3, d0, d1]) =
            message.get(fixed..).and_then(|rest| rest.first_chunk::<FIXED_BYTES>())
        else {
            return Err(NameError::Truncated);
        };
        let rdata = fixed + FIXED_BYTES;
        let end = rdata + usize::from(u16::from_be_bytes([d0, d1]));
        if end > message.len() {
            return Err(NameError::Truncated);
        }
        Ok(Self {
            start,
            rtype: Rtype(u16::from_be_bytes([t0, t1])),
            class: Class(u16::from_be_bytes([c0, c1])),
            ttl: u32::from_be_bytes([l0, l1, l2, l3]),
            rdata,
            end,
        })
    }

    /// The data.
    ///
    /// # Panics
    /// `message` is not the one that the record was read from.
    #[must_use]
    pub fn data<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        &message[self.rdata..self.end]
    }

    /// Where the owner ends.
    #[must_use]
    pub fn fixed(&self) -> usize {
        self.rdata - FIXED_BYTES
    }
}

/// The names in the data of a type, as pieces of its layout: what must be looked at to compress, to uncompress, or to
/// move a record within a message. Types that are not here hold no names that a message may compress.
#[must_use]
pub const fn leading_bytes_and_names(rtype: Rtype) -> (usize, usize) {
    match rtype {
        Rtype::NS | Rtype::MD | Rtype::MF | Rtype::CNAME | Rtype::MB | Rtype::MG | Rtype::MR | Rtype::PTR => {
            (0, 1)
        }
        Rtype::SOA | Rtype::MINFO => (0, 2),
        Rtype::MX => (2, 1),
        _ => (0, 0),
    }
}

/// Appends the data of a record to `out`, its names without compression: as it would stand in a zone.
///
/// # Errors
/// A name in it is not one, or it does not end with the data.
pub fn uncompress_data(
    message: &[u8],
    record: &Record,
    out: &mut alloc::vec::Vec<u8>,
) -> Result<(), NameError> {
    let (leading, names) = leading_bytes_and_names(record.rtype);
    if names == 0 {
        out.extend_from_slice(record.data(message));
        return Ok(());
    }
    let mut at = record.rdata + leading;
    out.extend_from_slice(message.get(record.rdata..at).ok_or(NameError::Truncated)?);
    for _ in 0..names {
        at = name::uncompress(message, at, |label| out.extend_from_slice(label))?;
        if at > record.end {
            return Err(NameError::Truncated);
        }
    }
    out.extend_from_slice(&message[at..record.end]);
    Ok(())
}
