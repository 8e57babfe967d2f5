//! Finished reads become records, in place.

use dma::HEADROOM_BYTES;
use platform::{FileId, OpenError, Opened, ReadDone};
use tls::SealError;

use crate::flow::{Flow, Security};
use crate::outbound::{Chunk, Seal};
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
        let Self { flows, keys, counters, now, .. } = self;
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
            let entry = &mut outbound.map[index];
            let mut frame = target.frame;
            let begin = HEADROOM_BYTES + piece.skip as usize;
            let payload = begin..begin + piece.bytes as usize;
            let record_start = match security {
                Security::Plain | Security::Handshaking(_) => begin,
                Security::Established(records) => {
                    let content = tls::ContentType::ApplicationData;
                    let buffer = frame.bytes_mut();
                    let sealed = match core::mem::replace(&mut entry.seal, Seal::None) {
                        Seal::Bound(unsealed) => {
                            records.sealer.seal(keys, unsealed, content, buffer, payload)
                        }
                        Seal::Sealed { id, tag } => {
                            records.sealer.reseal(keys, (id, &tag), content, buffer, payload)
                        }
                        Seal::None => Err(SealError::NotBound),
                    };
                    counters.sealed_records += 1;
                    counters.sealed_bytes += u64::from(piece.bytes);
                    match sealed {
                        Ok(sealed) => {
                            entry.seal = Seal::Sealed { id: sealed.id, tag: sealed.tag };
                            sealed.range.start
                        }
                        Err(SealError::PlaintextChanged) => return self.abort(id, End::TagMismatch),
                        Err(_) => return self.abort(id, End::Shed),
                    }
                }
            };
            #[expect(clippy::cast_possible_truncation, reason = "inside one frame")]
            let (offset, len) = (
                (record_start as u64 + (piece.want.start - piece.start)) as u32,
                (piece.want.end - piece.want.start) as u32,
            );
            outbound.insert(Chunk { start: piece.want.start, len, frame: frame.share(), offset });
        }
        self.touch(id);
        self.make_runnable(id);
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
