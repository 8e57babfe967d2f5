//! Finished reads become records: in place, or when they leave, into the link's slot.
//!
//! ```text
//!   link without slots    read ─▶ sealed where it lies ─▶ chunk ─▶ parts of a packet ─▶ the frame is free when it has left
//!   link with slots       read ─▶ chunk ─▶ sealed into the slot, record behind record ─▶ the frame is free at once
//! ```
//!
//! Either way a record is sealed under its entry's licence the first time, and under the guard of its tag every other
//! time. What is read a second time is sealed at once whatever the link is: whether a file has changed is found out
//! before TCP is told that anything leaves.

use core::ops::Range;
use dma::HEADROOM_BYTES;
use platform::{FileId, OpenError, Opened, ReadDone};
use stack::FlowId;
use tls::{ExpandedKeys, SealError};

use crate::counters::Counters;
use crate::flow::{Flow, Records, Security};
use crate::memory::copy_to;
use crate::outbound::{Chunk, Held, Outbound, Seal, entry_at};
use crate::read::Piece;
use crate::service::{End, Service};
use crate::worker::{Core, PendingOpen};

impl<A: tls::Aead, S: Service> Core<A, S> {
    /// A read has ended: each of its frames becomes a record, and the part of it that is wanted comes to hand.
    pub(crate) fn on_read(&mut self, done: ReadDone) {
        let ReadDone { token, targets, result } = done;
        let fetch = u32::try_from(token).ok().and_then(|token| self.fetches.remove(token));
        let Some(fetch) = fetch else {
            debug_assert!(false, "the disk completed a read that was never staged");
            return;
        };
        let id = fetch.flow;
        let Self { flows, keys, counters, now, egress, .. } = self;
        counters.reads_done += 1;
        let took = now.instant.since(fetch.issued_at).as_micros();
        counters.reads_took_us += u64::try_from(took).unwrap_or(u64::MAX);
        // The connection may be gone: the frames go back as they are dropped.
        let Some(flow) = flows.get_mut(id) else { return };
        let Flow { tcp, outbound, security, .. } = flow;
        let acknowledged = tcp.acknowledged();
        let Some(outbound) = outbound.as_mut() else { return };
        // An abort has already forgotten them.
        outbound.fetches = outbound.fetches.saturating_sub(1);
        if fetch.again {
            outbound.refetches = outbound.refetches.saturating_sub(1);
        }
        // What the peer has acknowledged meanwhile is no loss, however its second reading ended.
        let is_needed = |piece: &Piece| acknowledged < piece.want.end;
        let mut filled = match result {
            Ok(filled) => filled,
            Err(_) if fetch.pieces.iter().any(is_needed) => return self.abort(id, End::Disk),
            Err(_) => 0,
        };
        counters.read_bytes += u64::from(filled);
        for (target, piece) in targets.into_iter().zip(fetch.pieces) {
            let here = filled.min(target.bytes);
            filled -= here;
            if !is_needed(&piece) {
                continue;
            }
            if here < piece.skip + piece.bytes {
                // The file has become shorter than it was when its length was promised.
                return self.abort(id, End::Disk);
            }
            let Some(index) = outbound.entry_at(piece.start) else { continue };
            let mut frame = target.frame;
            let begin = HEADROOM_BYTES + piece.skip as usize;
            #[expect(clippy::cast_possible_truncation, reason = "inside one record")]
            let len = (piece.want.end - piece.want.start) as u32;
            let seals_late = egress.slots
                && matches!(outbound.map[index].seal, Seal::Bound(_))
                && !outbound.has_some_of(&piece.want);
            let held = match security {
                Security::Established(_) if seals_late => {
                    Held::Plain { frame, offset: narrow(begin), bytes: piece.bytes }
                }
                Security::Plain | Security::Handshaking(_) => {
                    wire(frame, begin as u64 + (piece.want.start - piece.start))
                }
                Security::Established(records) => {
                    let payload = begin..begin + piece.bytes as usize;
                    let place = Place::Here(frame.bytes_mut(), payload);
                    match seal_record(records, keys, &mut outbound.map[index].seal, counters, place) {
                        Ok(record) => wire(frame, record.start as u64 + (piece.want.start - piece.start)),
                        Err(error) => return self.abort(id, end_of(error)),
                    }
                }
            };
            outbound.insert(Chunk { start: piece.want.start, len, held });
        }
        self.touch(id);
        self.make_runnable(id);
    }

    /// Copies or seals what is at hand of `range`, from chunk `from` on, into `room`: record behind record. How many
    /// bytes that were.
    pub(crate) fn fill(
        &mut self,
        id: FlowId,
        from: usize,
        range: &Range<u64>,
        room: &mut [u8],
    ) -> Result<usize, SealError> {
        let Self { flows, keys, counters, .. } = self;
        let Some(Flow { outbound: Some(outbound), security, .. }) = flows.get_mut(id) else { return Ok(0) };
        let (mut at, mut index) = (0, from);
        while let Some(chunk) = outbound.chunks.get(index)
            && chunk.start < range.end
        {
            let (start, end) = (chunk.start.max(range.start), chunk.end().min(range.end));
            if start < end {
                let room = &mut room[at..];
                at += match seal_whole(outbound, index, start..end, security, keys, counters, room)? {
                    Some(bytes) => bytes,
                    None => {
                        make_ready(outbound, index, security, keys, counters)?;
                        copy_ready(&outbound.chunks[index], start..end, room)
                    }
                };
            }
            index += 1;
        }
        debug_assert_eq!(at as u64, range.end - range.start, "TCP sends what is at hand");
        Ok(at)
    }

    /// Seals, where they lie, the records that are at hand of `range` and not sealed yet: the link wanted slots when
    /// they were read, and has been replaced by one that takes parts.
    pub(crate) fn make_all_ready(
        &mut self,
        id: FlowId,
        from: usize,
        range: &Range<u64>,
    ) -> Result<(), SealError> {
        let Self { flows, keys, counters, .. } = self;
        let Some(Flow { outbound: Some(outbound), security, .. }) = flows.get_mut(id) else { return Ok(()) };
        let mut index = from;
        while outbound.chunks.get(index).is_some_and(|chunk| chunk.start < range.end) {
            make_ready(outbound, index, security, keys, counters)?;
            index += 1;
        }
        Ok(())
    }

    /// A look at a name has ended.
    pub(crate) fn on_opened(
        &mut self,
        token: u64,
        result: Result<Opened, OpenError>,
        close: &mut impl FnMut(FileId),
    ) {
        let open = u32::try_from(token).ok().and_then(|token| self.opens.remove(token));
        let Some(PendingOpen { flow: id, root, path }) = open else {
            debug_assert!(false, "the disk completed an open that was never staged");
            return;
        };
        let now = self.now.instant;
        let result = match result {
            Ok(opened) => Ok(self.files.insert(now, root, path, opened, close)),
            Err(error) => {
                self.files.remove(root, &path, close);
                Err(error)
            }
        };
        self.answer_open(id, result);
    }
}

/// Where a record's plaintext is, and where its ciphertext goes.
pub(crate) enum Place<'a> {
    /// Both in this buffer, the plaintext there.
    Here(&'a mut [u8], Range<usize>),
    /// From one buffer to the beginning of another.
    Into(&'a [u8], &'a mut [u8]),
}

/// Seals a record under its licence, or under its guard. Where it then lies.
pub(crate) fn seal_record<A: tls::Aead>(
    records: &mut Records,
    keys: &mut ExpandedKeys<A>,
    seal: &mut Seal,
    counters: &mut Counters,
    place: Place<'_>,
) -> Result<Range<usize>, SealError> {
    let content = tls::ContentType::ApplicationData;
    let sealer = &mut records.sealer;
    let plaintext_bytes = match &place {
        Place::Here(_, payload) => payload.len(),
        Place::Into(plaintext, _) => plaintext.len(),
    };
    counters.sealed_records += 1;
    counters.sealed_bytes += plaintext_bytes as u64;
    let sealed = match (core::mem::replace(seal, Seal::None), place) {
        (Seal::Bound(unsealed), Place::Here(buffer, payload)) => {
            sealer.seal(keys, unsealed, content, buffer, payload)
        }
        (Seal::Bound(unsealed), Place::Into(plaintext, out)) => {
            sealer.seal_into(keys, unsealed, content, plaintext, out)
        }
        (Seal::Sealed { id, tag }, Place::Here(buffer, payload)) => {
            sealer.reseal(keys, (id, &tag), content, buffer, payload)
        }
        (Seal::Sealed { id, tag }, Place::Into(plaintext, out)) => {
            sealer.reseal_into(keys, (id, &tag), content, plaintext, out)
        }
        (Seal::None, _) => Err(SealError::NotBound),
    }?;
    *seal = Seal::Sealed { id: sealed.id, tag: sealed.tag };
    Ok(sealed.range)
}

/// Seals chunk `index` into `room`, when it is the plaintext of a record all of which leaves: how long the record is.
fn seal_whole<A: tls::Aead>(
    outbound: &mut Outbound,
    index: usize,
    leaves: Range<u64>,
    security: &mut Security,
    keys: &mut ExpandedKeys<A>,
    counters: &mut Counters,
    room: &mut [u8],
) -> Result<Option<usize>, SealError> {
    let Outbound { map, chunks, .. } = outbound;
    let Some(Chunk { held: Held::Plain { frame, offset, bytes }, .. }) = chunks.get(index) else {
        return Ok(None);
    };
    let Some(entry) = entry_at(map, leaves.start) else { return Err(SealError::NotBound) };
    let entry = &mut map[entry];
    if (entry.start, entry.end()) != (leaves.start, leaves.end) {
        return Ok(None);
    }
    let Security::Established(records) = security else { return Err(SealError::NotBound) };
    let plaintext = &frame.bytes()[*offset as usize..][..*bytes as usize];
    let place = Place::Into(plaintext, room);
    seal_record(records, keys, &mut entry.seal, counters, place).map(|record| Some(record.len()))
}

/// Seals chunk `index` where it lies, unless it is as on the wire already.
fn make_ready<A: tls::Aead>(
    outbound: &mut Outbound,
    index: usize,
    security: &mut Security,
    keys: &mut ExpandedKeys<A>,
    counters: &mut Counters,
) -> Result<(), SealError> {
    let Outbound { map, chunks, .. } = outbound;
    if !matches!(chunks.get(index), Some(Chunk { held: Held::Plain { .. }, .. })) {
        return Ok(());
    }
    let Some(Chunk { start, len, held: Held::Plain { mut frame, offset, bytes } }) = chunks.remove(index)
    else {
        return Ok(());
    };
    let Some(entry) = entry_at(map, start) else { return Err(SealError::NotBound) };
    let entry = &mut map[entry];
    let Security::Established(records) = security else { return Err(SealError::NotBound) };
    let payload = offset as usize..(offset + bytes) as usize;
    let place = Place::Here(frame.bytes_mut(), payload);
    let record = seal_record(records, keys, &mut entry.seal, counters, place)?;
    let held = wire(frame, record.start as u64 + (start - entry.start));
    chunks.insert(index, Chunk { start, len, held });
    Ok(())
}

/// Copies what leaves of a chunk that is as on the wire to the beginning of `room`. How many bytes that are.
fn copy_ready(chunk: &Chunk, leaves: Range<u64>, room: &mut [u8]) -> usize {
    #[expect(clippy::cast_possible_truncation, reason = "inside one chunk")]
    let (skip, len) = ((leaves.start - chunk.start) as usize, (leaves.end - leaves.start) as usize);
    let room = &mut room[..len];
    match &chunk.held {
        Held::Wire { frame, offset } => {
            room.copy_from_slice(&frame.bytes()[*offset as usize + skip..][..len])
        }
        Held::Memory { memory, offset } => {
            let from = offset + skip as u64;
            copy_to(&**memory, from..from + len as u64, room);
        }
        Held::Plain { .. } => unreachable!("it was just made ready"),
    }
    len
}

pub(crate) fn wire(frame: dma::Frame, offset: u64) -> Held {
    #[expect(clippy::cast_possible_truncation, reason = "inside one frame")]
    let offset = offset as u32;
    Held::Wire { frame: frame.share(), offset }
}

fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).expect("inside one frame")
}

/// How a connection ends one of whose records cannot be sealed.
pub(crate) fn end_of(error: SealError) -> End {
    if error == SealError::PlaintextChanged { End::TagMismatch } else { End::Shed }
}
