//! The send side: numbers, epochs, and records sealed around a payload that does not move.
//!
//! ```text
//!      buffer:  … | head | payload (where the disk's DMA put it) | type, tag | …
//!                 ^start  ^payload.start            payload.end^        end^
//!
//!      epoch 0 ─── records 0 … n ─── KeyUpdate ─► epoch 1 ─── records 0 … m ─── KeyUpdate ─► epoch 2
//!      '-- keys kept while one of its data records is unacknowledged --'
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use crate::aead::{Aead, Nonce, TAG_BYTES, Tag};
use crate::alert::Alert;
use crate::cache::ExpandedKeys;
use crate::keys::TrafficKeys;
use crate::record::{
    self, ContentType, EXPLICIT_NONCE_BYTES, HEAD_BYTES_MAX, PLAINTEXT_BYTES_MAX, RECORD_HEAD_BYTES,
    RecordLayout, TAIL_BYTES_MAX,
};
use crate::suite::{Suite, Version};

/// The most records under one key. RFC 8446 §5.5 allows AES-GCM 2^24.5 of full size; every suite gets this.
pub const RECORDS_PER_KEY_MAX: u32 = 1 << 24;

/// Numbers that data may not use, so that a KeyUpdate or an alert can still be said.
const RESERVED_FOR_CONTROL: u32 = 16;
/// Where a KeyUpdate falls due by default: a 64th before the limit, which at 16 KiB a record is 4 GiB.
const KEY_UPDATE_AFTER: u32 = RECORDS_PER_KEY_MAX - RECORDS_PER_KEY_MAX / 64;
/// Epochs whose keys are kept for retransmission. A peer that asks for more without acknowledging waits.
const EPOCHS_RETIRED_MAX: usize = 4;

/// The place of a record in the sequence of everything we send: its epoch and its number there.
///
/// Ordered as sent. It names a record; it is no licence to seal one for the first time: that is [`Unsealed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    epoch: u32,
    number: u32,
}

impl RecordId {
    /// How many KeyUpdates we had sent before it.
    #[must_use]
    pub const fn epoch(self) -> u32 {
        self.epoch
    }

    /// The record number under that epoch's key, which is the nonce's.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.number
    }
}

/// The one licence to seal this record for the first time.
///
/// Not `Clone`, consumed by [`Sealer::seal`]. One that is dropped leaves a gap in the numbers, which the peer
/// cannot pass: the connection is then over.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a record number that is never sealed is a gap that ends the connection"]
pub struct Unsealed(RecordId);

impl Unsealed {
    /// The record's place.
    #[must_use]
    pub const fn id(&self) -> RecordId {
        self.0
    }
}

/// A record as it now lies in the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedRecord {
    /// Its place, to be kept until it is acknowledged.
    pub id: RecordId,
    /// Head, ciphertext and tail, in the buffer it was sealed in.
    pub range: Range<usize>,
    /// Its tag, to be kept as long and given to [`Sealer::reseal`].
    pub tag: Tag,
}

/// A small record of our own making: an alert or a KeyUpdate, to be kept as it is until acknowledged.
#[derive(Clone, PartialEq, Eq)]
pub struct ControlRecord {
    bytes: [u8; CONTROL_BYTES_MAX],
    len: u8,
}

const CONTROL_PLAINTEXT_BYTES_MAX: usize = 5;
const CONTROL_BYTES_MAX: usize = HEAD_BYTES_MAX + CONTROL_PLAINTEXT_BYTES_MAX + TAIL_BYTES_MAX;

impl ControlRecord {
    /// The record, as it goes onto the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for ControlRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ControlRecord({} bytes)", self.len)
    }
}

/// Whether our KeyUpdate asks for the peer's, RFC 8446 §4.6.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyUpdateRequest {
    /// `update_not_requested`: also the only lawful answer to a request.
    NotRequested,
    /// `update_requested`
    Requested,
}

/// What must happen before the next record of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeforeData {
    /// Nothing: [`Sealer::bind`].
    Nothing,
    /// [`Sealer::seal_key_update`]: the peer asked, or the key has sealed enough.
    KeyUpdate,
    /// A KeyUpdate is due, but too many old epochs still wait for acknowledgements:
    /// [`Sealer::on_acknowledged`] lifts this.
    Acknowledgement,
    /// TLS 1.2, or no epochs left: finish this response, then close. Data can still be bound until
    /// [`SealError::KeyExhausted`], 2¹⁸ records later.
    Finish,
}

/// The send side of an established connection: raw keys, the next number, and the keys of epochs that may still
/// have to be sent again.
#[derive(Debug)]
pub struct Sealer {
    keys: TrafficKeys,
    next: RecordId,
    /// Older epochs, oldest first, kept for retransmission. Empty but around a KeyUpdate.
    retired: Vec<(u32, TrafficKeys)>,
    key_update_after: u32,
    /// The current epoch has data records, so its keys outlive a KeyUpdate.
    has_data: bool,
    reply_pending: bool,
}

impl Sealer {
    /// The send side under these keys, of which the handshake has used the first `number` records.
    ///
    /// # Errors
    /// [`SealError::KeyExhausted`] when the handshake left no numbers.
    pub fn new(keys: TrafficKeys, number: u64) -> Result<Self, SealError> {
        let number = u32::try_from(number).map_err(|_| SealError::KeyExhausted)?;
        if number >= RECORDS_PER_KEY_MAX {
            return Err(SealError::KeyExhausted);
        }
        Ok(Self {
            keys,
            next: RecordId { epoch: 0, number },
            retired: Vec::new(),
            key_update_after: KEY_UPDATE_AFTER,
            has_data: false,
            reply_pending: false,
        })
    }

    /// The same, with KeyUpdates (in TLS 1.2: the wish to finish) after so many records of a key; at least one,
    /// at most the default.
    #[must_use]
    pub fn with_key_update_after(mut self, records: u32) -> Self {
        self.key_update_after = records.clamp(1, KEY_UPDATE_AFTER);
        self
    }

    /// The protocol version.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.keys.version()
    }

    /// The cipher.
    #[must_use]
    pub const fn suite(&self) -> Suite {
        self.keys.suite()
    }

    /// The room each record needs around its payload.
    #[must_use]
    pub const fn layout(&self) -> RecordLayout {
        self.keys.layout()
    }

    /// The place that the next record will have.
    #[must_use]
    pub const fn next_record(&self) -> RecordId {
        self.next
    }

    /// How many older epochs' keys are held.
    #[must_use]
    pub const fn epochs_retired(&self) -> usize {
        self.retired.len()
    }

    /// What must happen before the next record of data.
    #[must_use]
    pub fn before_data(&self) -> BeforeData {
        if !self.reply_pending && self.next.number < self.key_update_after {
            return BeforeData::Nothing;
        }
        if self.version() == Version::Tls12 || self.next.epoch == u32::MAX {
            return BeforeData::Finish;
        }
        if self.has_data && self.retired.len() >= EPOCHS_RETIRED_MAX {
            return BeforeData::Acknowledgement;
        }
        BeforeData::KeyUpdate
    }

    /// The peer's KeyUpdate asked for ours. However often it asks before we answer, we answer once.
    pub fn on_key_update_requested(&mut self) {
        self.reply_pending = self.version() == Version::Tls13;
    }

    /// Takes the next number, for a record of data.
    ///
    /// Numbers go onto the wire in the order they are taken.
    ///
    /// # Errors
    /// [`SealError::KeyExhausted`] at the limit: [`before_data`](Self::before_data) was not heeded.
    pub fn bind(&mut self) -> Result<Unsealed, SealError> {
        if self.next.number >= RECORDS_PER_KEY_MAX - RESERVED_FOR_CONTROL {
            return Err(SealError::KeyExhausted);
        }
        self.has_data = true;
        self.take_number()
    }

    /// Seals the payload where it lies, for the first time: head before it, tail behind it.
    ///
    /// # Errors
    /// [`SealError::Layout`] when head or tail do not fit around the payload; the record is then lost, and with it
    /// the connection. [`SealError::UnknownEpoch`] when its keys are gone.
    pub fn seal<A: Aead>(
        &mut self,
        cache: &mut ExpandedKeys<A>,
        record: Unsealed,
        content: ContentType,
        buffer: &mut [u8],
        payload: Range<usize>,
    ) -> Result<SealedRecord, SealError> {
        let Unsealed(id) = record;
        self.seal_as(cache, id, content, buffer, payload)
    }

    /// Seals a record again, from plaintext that was read again, and makes sure that it is the same.
    ///
    /// # Errors
    /// [`SealError::PlaintextChanged`] when the tag differs: the range of the record is then zeroes, for its
    /// ciphertext must never meet the wire, and the connection is to be reset. The others as for
    /// [`seal`](Self::seal).
    pub fn reseal<A: Aead>(
        &mut self,
        cache: &mut ExpandedKeys<A>,
        (id, tag): (RecordId, &Tag),
        content: ContentType,
        buffer: &mut [u8],
        payload: Range<usize>,
    ) -> Result<SealedRecord, SealError> {
        if id >= self.next {
            return Err(SealError::NotBound);
        }
        let sealed = self.seal_as(cache, id, content, buffer, payload)?;
        if !sealed.tag.matches(tag) {
            buffer[sealed.range].fill(0);
            return Err(SealError::PlaintextChanged);
        }
        Ok(sealed)
    }

    /// Seals a plaintext that lies elsewhere, for the first time, at the beginning of `out`.
    ///
    /// # Errors
    /// As for [`seal`](Self::seal); [`SealError::Layout`] when `out` is too short.
    pub fn seal_into<A: Aead>(
        &mut self,
        cache: &mut ExpandedKeys<A>,
        record: Unsealed,
        content: ContentType,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<SealedRecord, SealError> {
        let Unsealed(id) = record;
        self.seal_into_as(cache, id, content, plaintext, out)
    }

    /// Seals again what [`seal_into`](Self::seal_into) or [`seal`](Self::seal) has sealed before, at the beginning of
    /// `out`, under the same guard as [`reseal`](Self::reseal).
    ///
    /// # Errors
    /// As for [`reseal`](Self::reseal): what was written to `out` is then zeroes.
    pub fn reseal_into<A: Aead>(
        &mut self,
        cache: &mut ExpandedKeys<A>,
        (id, tag): (RecordId, &Tag),
        content: ContentType,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<SealedRecord, SealError> {
        if id >= self.next {
            return Err(SealError::NotBound);
        }
        let sealed = self.seal_into_as(cache, id, content, plaintext, out)?;
        if !sealed.tag.matches(tag) {
            out[sealed.range].fill(0);
            return Err(SealError::PlaintextChanged);
        }
        Ok(sealed)
    }

    /// An alert, as the next record. It does not close anything by itself.
    ///
    /// # Errors
    /// [`SealError::KeyExhausted`] when not even the reserved numbers are left.
    pub fn seal_alert<A: Aead>(
        &mut self,
        cache: &mut ExpandedKeys<A>,
        alert: Alert,
    ) -> Result<ControlRecord, SealError> {
        self.seal_control(cache, ContentType::Alert, &alert.emit())
    }

    /// Our KeyUpdate, as the last record of this epoch; everything bound from now on is of the next.
    ///
    /// # Errors
    /// [`SealError::NoKeyUpdate`] in TLS 1.2 or when too many epochs are unacknowledged.
    pub fn seal_key_update<A: Aead>(
        &mut self,
        cache: &mut ExpandedKeys<A>,
        request: KeyUpdateRequest,
    ) -> Result<ControlRecord, SealError> {
        let retires = self.has_data;
        let epoch = self.next.epoch.checked_add(1).ok_or(SealError::NoKeyUpdate)?;
        if retires && self.retired.len() >= EPOCHS_RETIRED_MAX {
            return Err(SealError::NoKeyUpdate);
        }
        let next = self.keys.next::<A>().ok_or(SealError::NoKeyUpdate)?;
        let message = [24, 0, 0, 1, u8::from(request == KeyUpdateRequest::Requested)];
        let sealed = self.seal_control(cache, ContentType::Handshake, &message)?;

        let old = core::mem::replace(&mut self.keys, next);
        if retires {
            self.retired.push((self.next.epoch, old));
        } else {
            cache.forget(&old);
        }
        self.next = RecordId { epoch, number: 0 };
        self.has_data = false;
        self.reply_pending = false;
        Ok(sealed)
    }

    /// Every record before `oldest` is acknowledged: keys of older epochs are dropped. When nothing is
    /// unacknowledged, `oldest` is [`next_record`](Self::next_record).
    pub fn on_acknowledged(&mut self, oldest: RecordId) {
        if oldest >= self.next {
            // Nothing of this epoch can be asked for again, so a KeyUpdate need not keep its keys.
            self.has_data = false;
        }
        // Nearly always empty, so this is one comparison.
        if !self.retired.is_empty() {
            self.retired.retain(|(epoch, _)| *epoch >= oldest.epoch);
            if self.retired.is_empty() {
                self.retired = Vec::new();
            }
        }
    }

    /// What it holds outside itself, in bytes: nothing, but around a KeyUpdate.
    #[must_use]
    pub const fn heap_bytes(&self) -> usize {
        self.retired.capacity() * size_of::<(u32, TrafficKeys)>()
    }

    /// Drops this connection's expanded keys from the cache: the connection is over.
    pub fn forget<A: Aead>(&self, cache: &mut ExpandedKeys<A>) {
        cache.forget(&self.keys);
        self.retired.iter().for_each(|(_, keys)| cache.forget(keys));
    }

    fn take_number(&mut self) -> Result<Unsealed, SealError> {
        if self.next.number >= RECORDS_PER_KEY_MAX {
            return Err(SealError::KeyExhausted);
        }
        let id = self.next;
        self.next.number += 1;
        Ok(Unsealed(id))
    }

    fn seal_control<A: Aead>(
        &mut self,
        cache: &mut ExpandedKeys<A>,
        content: ContentType,
        plaintext: &[u8],
    ) -> Result<ControlRecord, SealError> {
        let mut bytes = [0; CONTROL_BYTES_MAX];
        let head_bytes = self.layout().head_bytes;
        let payload = head_bytes..head_bytes + plaintext.len();
        bytes[payload.clone()].copy_from_slice(plaintext);
        let record = self.take_number()?;
        let sealed = self.seal(cache, record, content, &mut bytes, payload)?;
        let len = u8::try_from(sealed.range.end).map_err(|_| SealError::Layout)?;
        Ok(ControlRecord { bytes, len })
    }

    fn seal_as<A: Aead>(
        &mut self,
        cache: &mut ExpandedKeys<A>,
        id: RecordId,
        content: ContentType,
        buffer: &mut [u8],
        payload: Range<usize>,
    ) -> Result<SealedRecord, SealError> {
        let keys = self.keys_of(id)?;
        let range = keys.layout().around(&payload, buffer.len()).ok_or(SealError::Layout)?;
        if payload.len() > PLAINTEXT_BYTES_MAX {
            return Err(SealError::Layout);
        }
        let whole = &mut buffer[range.clone()];
        let tag = seal_whole(keys, cache, id.number, content, None, whole);
        Ok(SealedRecord { id, range, tag })
    }

    fn seal_into_as<A: Aead>(
        &mut self,
        cache: &mut ExpandedKeys<A>,
        id: RecordId,
        content: ContentType,
        plaintext: &[u8],
        out: &mut [u8],
    ) -> Result<SealedRecord, SealError> {
        let keys = self.keys_of(id)?;
        let range = 0..keys.layout().sealed_bytes(plaintext.len());
        let whole = out.get_mut(range.clone()).ok_or(SealError::Layout)?;
        if plaintext.len() > PLAINTEXT_BYTES_MAX {
            return Err(SealError::Layout);
        }
        let tag = seal_whole(keys, cache, id.number, content, Some(plaintext), whole);
        Ok(SealedRecord { id, range, tag })
    }

    fn keys_of(&mut self, id: RecordId) -> Result<&mut TrafficKeys, SealError> {
        if id.epoch == self.next.epoch {
            return Ok(&mut self.keys);
        }
        let retired = self.retired.iter_mut().find(|(epoch, _)| *epoch == id.epoch);
        Ok(&mut retired.ok_or(SealError::UnknownEpoch)?.1)
    }
}

/// Seals one whole record; `whole` is head, payload and tail. The plaintext is given, or lies where the payload will.
fn seal_whole<A: Aead>(
    keys: &mut TrafficKeys,
    cache: &mut ExpandedKeys<A>,
    number: u32,
    content: ContentType,
    plaintext: Option<&[u8]>,
    whole: &mut [u8],
) -> Tag {
    let layout = keys.layout();
    let number = u64::from(number);
    let nonce = record::nonce(keys.iv(), number);
    let length = whole.len() - RECORD_HEAD_BYTES;
    let (head, rest) = whole.split_at_mut(layout.head_bytes);
    let (payload, tail) = rest.split_at_mut(rest.len() - layout.tail_bytes);

    match keys.version() {
        Version::Tls13 => {
            // RFC 8446 §5.2: outside every record is application data; the additional data is the head.
            let aad = record::head(ContentType::ApplicationData.code(), length);
            head.copy_from_slice(&aad);
            seal_payload::<A>(
                cache.expanded(keys),
                &nonce,
                &aad,
                plaintext,
                payload,
                &[content.code()],
                tail,
            );
        }
        Version::Tls12 => {
            let aad = record::aad12(number, content.code(), payload.len());
            let (fixed, explicit) = head.split_at_mut(RECORD_HEAD_BYTES);
            fixed.copy_from_slice(&record::head(content.code(), length));
            if !explicit.is_empty() {
                explicit.copy_from_slice(&nonce[nonce.len() - EXPLICIT_NONCE_BYTES..]);
            }
            seal_payload::<A>(cache.expanded(keys), &nonce, &aad, plaintext, payload, &[], tail);
        }
    }

    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&tail[tail.len() - TAG_BYTES..]);
    Tag(tag)
}

fn seal_payload<A: Aead>(
    key: &A::Key,
    nonce: &Nonce,
    aad: &[u8],
    plaintext: Option<&[u8]>,
    payload: &mut [u8],
    inner_type: &[u8],
    tail: &mut [u8],
) {
    match plaintext {
        None => A::seal(key, nonce, aad, payload, inner_type, tail),
        Some(plaintext) => A::seal_separate(key, nonce, aad, plaintext, payload, inner_type, tail),
    }
}

/// Why a record was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealError {
    /// The machine's or the operator's: the bytes read again are not the bytes that were sent.
    PlaintextChanged,
    /// Ours: the key has sealed all it may.
    KeyExhausted,
    /// Ours: a KeyUpdate where there can be none.
    NoKeyUpdate,
    /// Ours: head and tail do not fit around the payload, or it is longer than a record.
    Layout,
    /// Ours: sealed again before it was sealed.
    NotBound,
    /// Ours: the epoch's keys were released while one of its records was not acknowledged.
    UnknownEpoch,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PlaintextChanged => {
                "the object changed between two reads of it; the record cannot be sent again"
            }
            Self::KeyExhausted => "our key has sealed as many records as it may",
            Self::NoKeyUpdate => "we tried to update keys where it is not possible",
            Self::Layout => "we left no room for a record around its payload",
            Self::NotBound => "we tried to seal again what was never sealed",
            Self::UnknownEpoch => "we released keys of a record that was not acknowledged",
        })
    }
}

impl core::error::Error for SealError {}

#[cfg(test)]
mod tests;
