//! Records between the parser and the zone: one run of bytes.
//!
//! ```text
//! ├ next (4) ┼ type ┼ rdlength ┼ ttl (4) ┼ owner length ┼ owner … ┼ rdata … ┼ padding to 4
//! ```
//!
//! An owner's length of zero means the owner of the record before it. `next` belongs to whoever sorts records into
//! lists. A record is named by its place, in units of four bytes, so that 32 bits reach 16 GiB.

use super::{Reason, ZoneError};
use dns::Rtype;

const FIXED_BYTES: usize = 13;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordRef(pub u32);

impl RecordRef {
    /// No record: the end of a list.
    pub const NONE: Self = Self(u32::MAX);

    const fn at(self) -> usize {
        self.0 as usize * 4
    }
}

/// Records in the order in which they were read.
#[derive(Clone, Debug, Default)]
pub struct Records {
    bytes: Vec<u8>,
    count: u64,
    /// How many owners were written: at least as many as there are names.
    owners: u64,
    /// The owner of the last record, so that it is not written again.
    owner: Vec<u8>,
}

/// A record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its owner, folded; nothing when it is that of the record before it.
    pub owner: Option<&'a [u8]>,
    /// Its type.
    pub rtype: Rtype,
    /// Seconds to live.
    pub ttl: u32,
    /// Its data, names without compression.
    pub rdata: &'a [u8],
}

impl Records {
    /// No records.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), count: 0, owners: 0, owner: Vec::new() }
    }

    /// Appends a record whose owner is folded; `write` appends its data.
    ///
    /// # Errors
    /// There are more than can be named; or the data is longer than data may be.
    pub fn push(
        &mut self,
        owner: &[u8],
        rtype: Rtype,
        ttl: u32,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), ZoneError> {
        if self.bytes.len() / 4 >= RecordRef::NONE.0 as usize - 32_768 {
            return Err(ZoneError::new(Reason::TooMany));
        }
        let start = self.bytes.len();
        let owner = if owner == self.owner {
            &[]
        } else {
            self.owner.clear();
            self.owner.extend_from_slice(owner);
            owner
        };
        let owner_bytes = u8::try_from(owner.len()).expect("a name has at most 255 bytes");
        self.bytes.extend_from_slice(&RecordRef::NONE.0.to_le_bytes());
        self.bytes.extend_from_slice(&rtype.0.to_le_bytes());
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&ttl.to_le_bytes());
        self.bytes.push(owner_bytes);
        self.bytes.extend_from_slice(owner);
        let rdata = self.bytes.len();
        write(&mut self.bytes);
        let Ok(rdlength) = u16::try_from(self.bytes.len() - rdata) else {
            self.bytes.truncate(start);
            return Err(ZoneError::new(Reason::TooLarge(rtype, self.owner.as_slice().into())));
        };
        self.bytes[start + 6..start + 8].copy_from_slice(&rdlength.to_le_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.count += 1;
        self.owners += u64::from(owner_bytes > 0);
        Ok(())
    }

    /// Appends what another parser read behind this.
    ///
    /// # Errors
    /// There are more than can be named.
    pub fn append(&mut self, other: &Self) -> Result<(), ZoneError> {
        if (self.bytes.len() + other.bytes.len()) / 4 >= RecordRef::NONE.0 as usize {
            return Err(ZoneError::new(Reason::TooMany));
        }
        self.bytes.extend_from_slice(&other.bytes);
        self.count += other.count;
        self.owners += other.owners;
        self.owner.clone_from(&other.owner);
        Ok(())
    }

    /// The next record is written with its owner, whatever stands before it.
    pub fn forget_owner(&mut self) {
        self.owner.clear();
    }

    /// Whether these are the same records in the same order, written the same way.
    #[must_use]
    pub fn are_those_of(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }

    /// The same in no more memory than they take.
    #[must_use]
    pub fn shrunk(mut self) -> Self {
        self.bytes.shrink_to_fit();
        self.owner = Vec::new();
        self
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The most names that own them: as many, when each one's records stand together.
    #[must_use]
    pub const fn owners(&self) -> u64 {
        self.owners
    }

    /// The bytes that they take.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The record at that place.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn record(&self, at: RecordRef) -> Record<'_> {
        self.read(at.at()).0
    }

    /// The record behind it in its list.
    ///
    /// # Panics
    /// There is none at `at`.
    #[must_use]
    pub fn next(&self, at: RecordRef) -> RecordRef {
        let bytes = self.bytes[at.at()..].first_chunk::<4>().expect("a record");
        RecordRef(u32::from_le_bytes(*bytes))
    }

    /// Puts `next` behind `at` in its list.
    ///
    /// # Panics
    /// There is no record at `at`.
    pub fn set_next(&mut self, at: RecordRef, next: RecordRef) {
        self.bytes[at.at()..][..4].copy_from_slice(&next.0.to_le_bytes());
    }

    /// The place of the first record, if there is one.
    #[must_use]
    pub fn first(&self) -> Option<RecordRef> {
        (!self.bytes.is_empty()).then_some(RecordRef(0))
    }

    /// The place behind `at`, if a record is there.
    ///
    /// # Panics
    /// There is none at `at`.
    #[must_use]
    pub fn following(&self, at: RecordRef) -> Option<RecordRef> {
        let (_, end) = self.read(at.at());
        let place = u32::try_from(end / 4).expect("checked when it was pushed");
        (end < self.bytes.len()).then_some(RecordRef(place))
    }

    fn read(&self, at: usize) -> (Record<'_>, usize) {
        let bytes = &self.bytes[at..];
        let fixed = bytes.first_chunk::<FIXED_BYTES>().expect("a record");
        let rdlength = usize::from(u16::from_le_bytes([fixed[6], fixed[7]]));
        let owner_bytes = usize::from(fixed[12]);
        let rdata = FIXED_BYTES + owner_bytes;
        let record = Record {
            owner: (owner_bytes > 0).then(|| &bytes[FIXED_BYTES..rdata]),
            rtype: Rtype(u16::from_le_bytes([fixed[4], fixed[5]])),
            ttl: u32::from_le_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            rdata: &bytes[rdata..rdata + rdlength],
        };
        (record, at + (rdata + rdlength).next_multiple_of(4))
    }
}
