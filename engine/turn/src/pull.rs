//! One connection's turn at the disk: what was lost first, then what is new.

use arrayvec::ArrayVec;
use clock::Instant;
use core::ops::Range;
use dma::{PAYLOAD_BYTES, SharedFrame};
use platform::Disk;
use stack::FlowId;
use tls::BeforeData;

use crate::flow::{Flow, Marks, Security};
use crate::memory::{NotAgain, lend_again};
use crate::outbound::{Chunk, Content, Entry, Held, Item, Outbound, Seal, Source, insert};
use crate::read::{Reader, Starved, record_bytes};
use crate::seal::end_of;
use crate::service::{End, Service};
use crate::worker::Core;

/// Frames that new data leaves for what was lost.
pub(crate) const FRAMES_FOR_LOST: usize = 8;
/// Re-reads that one connection may have on their way: a peer that reports losses it does not have must not turn one
/// SACK of a hundred bytes into a megabyte of reads.
const REFETCHES_MAX: u32 = 4;
/// Plaintext of the record for a peer whose window takes none.
const RECORD_BYTES_MIN: u32 = 64;
/// The most that is asked for again at once.
const WANTED_BYTES_MAX: u32 = 64 << 10;

/// Ranges apart from each other that are looked through for kept bytes while the disk is full.
const UNREAD_RANGES_MAX: usize = 8;

/// What a connection's turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pulled {
    /// Nothing more may be read for it now.
    Done,
    /// It had its share and would take more.
    More,
    /// It would take more, and there is none of this.
    Starved(Lack),
}

/// What there may be none of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    /// A place at the disk, or frames for it.
    Read,
    /// A frame for bytes of ours.
    Frame,
}

impl Lack {
    /// What says that a connection is in the queue for it.
    pub(crate) fn mark(self) -> Marks {
        match self {
            Self::Read => Marks::WAITS_FOR_READ,
            Self::Frame => Marks::WAITS_FOR_FRAME,
        }
    }
}

impl<A: tls::Aead, S: Service> Core<A, S> {
    /// Issues what `id` may read now; with `may_read` unset only what was lost, because others wait for new reads.
    pub(crate) fn pull<D: Disk>(&mut self, disk: &mut D, id: FlowId, may_read: bool) -> Pulled {
        match self.pull_wanted(disk, id) {
            Pulled::Starved(lack) => {
                // Bytes of our own need no disk.
                self.pull_new(disk, id, false);
                Pulled::Starved(lack)
            }
            Pulled::Done | Pulled::More => self.pull_new(disk, id, may_read),
        }
    }

    /// What TCP asks for again: lost, probed for, or surrendered before it was sent.
    fn pull_wanted<D: Disk>(&mut self, disk: &mut D, id: FlowId) -> Pulled {
        let now = self.now.instant;
        loop {
            let disk_full = self.is_disk_full(disk);
            let Some(flow) = self.flows.get_mut(id) else { return Pulled::Done };
            let has_its_share =
                flow.outbound.as_ref().is_some_and(|outbound| outbound.refetches >= REFETCHES_MAX);
            if disk_full || has_its_share {
                if flow.tcp.has_wanted() {
                    self.resend_kept(id);
                }
                let still = self.flows.get(id).is_some_and(|flow| flow.tcp.has_wanted());
                return if still && !has_its_share { Pulled::Starved(Lack::Read) } else { Pulled::Done };
            }
            let Some(mut range) = flow.tcp.wanted(now, WANTED_BYTES_MAX) else { return Pulled::Done };
            // A record is read and sealed whole: do not come back for the rest of it.
            let record_end = flow.outbound.as_ref().and_then(|outbound| {
                let entry = &outbound.map[outbound.entry_at(range.end.checked_sub(1)?)?];
                let is_whole = !matches!((&entry.source, &entry.seal), (Source::Memory { .. }, Seal::None));
                is_whole.then(|| entry.end())
            });
            if let Some(more) = record_end.and_then(|end| u32::try_from(end.checked_sub(range.end)?).ok())
                && more > 0
                && let Some(rest) = flow.tcp.wanted(now, more)
            {
                if rest.start == range.end {
                    range.end = rest.end;
                } else {
                    flow.tcp.surrender(rest);
                }
            }
            if let Err((why, left)) = self.fetch_again(disk, id, range) {
                if let Some(flow) = self.flows.get_mut(id) {
                    flow.tcp.surrender(left);
                }
                why.count(&mut self.counters);
                return Pulled::Starved(Lack::Read);
            }
            self.touch(id);
        }
    }

    /// Of what TCP asks for again, brings to hand what needs no disk: bytes of our own, kept in frames. The rest is
    /// asked for again when there is room.
    fn resend_kept(&mut self, id: FlowId) {
        let now = self.now.instant;
        let Self { flows, pool, keys, counters, .. } = self;
        let Some(flow) = flows.get_mut(id) else { return };
        let Flow { tcp, outbound, security, .. } = flow;
        let Some(outbound) = outbound.as_mut() else { return };
        if !outbound.keeps_anything() {
            return;
        }
        let Outbound { map, chunks, .. } = &mut **outbound;
        // Ranges that only the disk has: given back at the end, or they would be asked for again at once.
        let mut unread = ArrayVec::<Range<u64>, UNREAD_RANGES_MAX>::new();
        let (mut found, mut failed) = (false, None);
        while !unread.is_full()
            && let Some(range) = tcp.wanted(now, WANTED_BYTES_MAX)
        {
            let mut at = range.start;
            let mut index = map.partition_point(|entry| entry.end() <= at);
            while at < range.end
                && let Some(entry) = map.get_mut(index)
            {
                let want = at.max(entry.start)..range.end.min(entry.end());
                let at_hand = match &entry.source {
                    Source::Kept { frame, start } => Some(kept_chunk(frame, *start, entry.start, &want)),
                    Source::File { .. } => None,
                    Source::Memory { .. } => match lend_again(entry, &want, pool, security, keys, counters) {
                        Ok(chunk) => Some(chunk),
                        Err(NotAgain::Starved) => None,
                        Err(NotAgain::Unsealable(error)) => {
                            failed.get_or_insert(error);
                            None
                        }
                    },
                };
                match at_hand {
                    Some(chunk) => {
                        insert(chunks, chunk);
                        found = true;
                    }
                    None => {
                        if let Some(last) = unread.last_mut().filter(|last| last.end == want.start) {
                            last.end = want.end;
                        } else if unread.try_push(want.clone()).is_err() {
                            // As much as can be told apart.
                            tcp.surrender(want.start..range.end);
                            break;
                        }
                    }
                }
                at = want.end;
                index += 1;
            }
        }
        for range in unread {
            tcp.surrender(range);
        }
        if let Some(error) = failed {
            self.abort(id, end_of(error));
        } else if found {
            self.touch(id);
        }
    }

    /// Brings the stream's `range` to hand again, from kept frames or from the disk. What could not be asked for comes
    /// back.
    fn fetch_again<D: Disk>(
        &mut self,
        disk: &mut D,
        id: FlowId,
        range: Range<u64>,
    ) -> Result<(), (Starved, Range<u64>)> {
        let now = self.now.instant;
        let Self { flows, pool, fetches, counters, keys, .. } = self;
        let Some(Flow { outbound, security, .. }) = flows.get_mut(id) else { return Ok(()) };
        let sealed = matches!(security, Security::Established(_));
        let Some(outbound) = outbound.as_mut() else { return Ok(()) };
        let Outbound { map, chunks, fetches: on_their_way, refetches, .. } = &mut **outbound;
        let mut reader = Reader::new(disk, pool, fetches, (id, now), true, 0);
        let mut at = range.start;
        let mut index = map.partition_point(|entry| entry.end() <= at);
        let (mut starved, mut failed) = (None, None);
        while at < range.end {
            let Some(entry) = map.get_mut(index) else { break };
            let end = range.end.min(entry.end());
            let want = at.max(entry.start)..end;
            match &entry.source {
                Source::Kept { frame, start } => {
                    insert(chunks, kept_chunk(frame, *start, entry.start, &want));
                }
                Source::Memory { .. } => match lend_again(entry, &want, pool, security, keys, counters) {
                    Ok(chunk) => insert(chunks, chunk),
                    Err(NotAgain::Starved) => {
                        starved = Some((Starved::Frame, want.start..range.end));
                        break;
                    }
                    Err(NotAgain::Unsealable(error)) => {
                        failed = Some(error);
                        break;
                    }
                },
                Source::File { file, offset, bytes } => {
                    // A record is sealed whole, whatever part of it is wanted; a plain piece is read as wanted.
                    #[expect(clippy::cast_possible_truncation, reason = "inside one record")]
                    let asked = if sealed {
                        reader.add(file, *offset, *bytes, entry.start, want.clone())
                    } else {
                        let from = offset + (want.start - entry.start);
                        reader.add(file, from, (want.end - want.start) as u32, want.start, want.clone())
                    };
                    if let Err(refused) = asked {
                        starved = Some((refused, refused.left(want.start)..range.end));
                        break;
                    }
                }
            }
            at = end;
            index += 1;
        }
        // What was collected before a refusal may still go.
        if let Err(refused) = reader.issue() {
            let from = starved.as_ref().map_or(range.end, |(_, left): &(_, Range<u64>)| left.start);
            starved = Some((refused, refused.left(from)..range.end));
        }
        *on_their_way += reader.issued;
        *refetches += reader.issued;
        counters.reads += u64::from(reader.issued);
        if let Some(error) = failed {
            self.abort(id, end_of(error));
            return Ok(());
        }
        starved.map_or(Ok(()), Err)
    }

    /// New bytes, as far as credit goes: our own at once, a file's through one read.
    fn pull_new<D: Disk>(&mut self, disk: &mut D, id: FlowId, may_read: bool) -> Pulled {
        let now = self.now.instant;
        loop {
            let Some(flow) = self.flows.get_mut(id) else { return Pulled::Done };
            let front = flow.outbound.as_ref().and_then(|outbound| outbound.queue.front());
            let (content, next) = match front {
                None => match self.pull_finish(id) {
                    Pulled::More => continue,
                    done => return done,
                },
                Some(Item::Bytes { bytes, done, content }) => (*content, Next::Bytes(bytes.len() - done)),
                Some(Item::File { .. }) => (Content::Data, Next::File),
                Some(Item::Memory { .. }) => (Content::Data, Next::Memory),
            };
            if content == Content::Data && !matches!(flow.security, Security::Plain) {
                match self.before_data(id) {
                    Ready::Now => {}
                    Ready::First => continue,
                    Ready::Later => return Pulled::Done,
                }
            }
            match next {
                Next::Bytes(left) => match self.reserve_bytes(id, content, left, now) {
                    Pulled::More => {}
                    other => return other,
                },
                Next::File => return self.reserve_file(disk, id, now, may_read),
                Next::Memory => {
                    if let Some(done) = self.reserve_memory(id, now) {
                        return done;
                    }
                }
            }
        }
    }

    /// After the last byte: `close_notify`, then FIN.
    fn pull_finish(&mut self, id: FlowId) -> Pulled {
        let Some(flow) = self.flows.get_mut(id) else { return Pulled::Done };
        if !flow.marks.contains(Marks::FINISHING) || flow.marks.contains(Marks::FINISHED) {
            return Pulled::Done;
        }
        if !flow.marks.contains(Marks::MUTE)
            && let Security::Established(records) = &mut flow.security
            && let Ok(record) = records.sealer.seal_alert(&mut self.keys, tls::Alert::CLOSE_NOTIFY)
        {
            // Said once; the FIN follows when it has left the queue and we are here again.
            flow.marks.insert(Marks::MUTE);
            let bytes = record.as_bytes().into();
            self.queue_bytes(id, bytes, Content::Wire);
            return Pulled::More;
        }
        flow.marks.insert(Marks::FINISHED);
        self.finish_tcp(id);
        Pulled::Done
    }

    /// Reserves the next of our own bytes: one frame of them, sealed at once, since they are at hand.
    fn reserve_bytes(&mut self, id: FlowId, content: Content, left: usize, now: Instant) -> Pulled {
        let Self { flows, pool, keys, counters, .. } = self;
        let Some(flow) = flows.get_mut(id) else { return Pulled::Done };
        let overhead = if content == Content::Data { flow.overhead() } else { 0 };
        let room = record_credit(&flow.tcp, now, overhead).saturating_sub(overhead) as usize;
        // A sliver of window is no place for a record: wait for one that takes all of a small head.
        if room == 0 || (room < left && room < 256 && flow.tcp.window() >= 512) {
            return Pulled::Done;
        }
        let small = dma::SMALL_BYTES - overhead as usize;
        let take = left.min(room);
        // What is kept until acknowledged may have half of the large frames: the other half goes round.
        let may_have_large = pool.large_free() > pool.layout().large_count as usize / 2;
        let large = || if may_have_large { pool.acquire_large() } else { None };
        let frame = if take <= small {
            pool.acquire_small().or_else(large)
        } else {
            large().or_else(|| pool.acquire_small())
        };
        let Some(mut frame) = frame else {
            counters.frame_waits += 1;
            return Pulled::Starved(Lack::Frame);
        };
        let take = take
            .min(frame.payload_bytes_max() - if frame.payload_start() == 0 { overhead as usize } else { 0 });
        let Flow { tcp, outbound, security, .. } = flow;
        let Some(outbound) = outbound.as_mut() else { return Pulled::Done };
        let Some(Item::Bytes { bytes, done, .. }) = outbound.queue.front_mut() else { return Pulled::Done };
        let plain = &bytes[*done..*done + take];
        let range = match security {
            Security::Established(records) if content == Content::Data => {
                let start = frame.payload_start().max(records.sealer.layout().head_bytes);
                let payload = start..start + take;
                frame.bytes_mut()[payload.clone()].copy_from_slice(plain);
                let sealed = records.sealer.bind().and_then(|unsealed| {
                    let content = tls::ContentType::ApplicationData;
                    records.sealer.seal(keys, unsealed, content, frame.bytes_mut(), payload)
                });
                counters.sealed_records += 1;
                counters.sealed_bytes += take as u64;
                match sealed {
                    Ok(sealed) => sealed.range,
                    Err(_) => {
                        self.abort(id, End::Shed);
                        return Pulled::Done;
                    }
                }
            }
            Security::Plain | Security::Handshaking(_) | Security::Established(_) => {
                let start = frame.payload_start();
                frame.bytes_mut()[start..start + take].copy_from_slice(plain);
                start..start + take
            }
        };
        *done += take;
        if *done == bytes.len() {
            outbound.queue.pop_front();
        }
        outbound.queued_bytes -= take;
        #[expect(clippy::cast_possible_truncation, reason = "inside one frame")]
        let (len, offset) = (range.len() as u32, range.start as u32);
        let frame = frame.share();
        let stream = tcp.reserve(len);
        let source = Source::Kept { frame: frame.clone(), start: offset };
        outbound.push(now, Entry { start: stream.start, len, seal: Seal::None, source });
        outbound.insert(Chunk { start: stream.start, len, held: Held::Wire { frame, offset } });
        self.touch(id);
        Pulled::More
    }

    /// Reserves the next records of a file and reads them, when credit has grown to what is worth a read.
    fn reserve_file<D: Disk>(&mut self, disk: &mut D, id: FlowId, now: Instant, may_read: bool) -> Pulled {
        let config_read = self.config.read_bytes_max;
        let reads_max = self.config.reads_per_connection_max;
        let disk_full = self.is_disk_full(disk);
        let Self { flows, pool, fetches, counters, .. } = self;
        let Some(flow) = flows.get_mut(id) else { return Pulled::Done };
        let overhead = flow.overhead();
        let Flow { tcp, outbound, security, .. } = flow;
        let Some(outbound) = outbound.as_mut() else { return Pulled::Done };
        if outbound.fetches - outbound.refetches >= reads_max {
            return Pulled::Done;
        }
        let credit = record_credit(tcp, now, overhead);
        let Outbound { queue, map, fetches: on_their_way, progress_at, .. } = &mut **outbound;
        let Some(Item::File { file, range }) = queue.front_mut() else { return Pulled::Done };
        let left = range.end - range.start;
        let records = left.div_ceil(PAYLOAD_BYTES as u64);
        let left_sealed = left + records * u64::from(overhead);
        // Dissertation §4.3.2: a read waits until the window has room for 10·MSS; TCP knows when less must do.
        if credit < tcp.read_threshold(left_sealed) {
            return Pulled::Done;
        }
        // Asked before anything is reserved: a place in the disk's queue is sure for the one read that follows.
        if disk_full || !may_read {
            // Whoever comes behind others waits for what they wait for: a place at the disk, or frames if it has one.
            let why = if disk_full { Starved::Disk(None) } else { Starved::Frame };
            why.count(counters);
            return Pulled::Starved(Lack::Read);
        }
        if map.is_empty() {
            *progress_at = now;
        }
        let mut budget = credit.min(config_read + (config_read >> 14) * overhead);
        let mut reader = Reader::new(disk, pool, fetches, (id, now), false, FRAMES_FOR_LOST);
        let mut refused = None;
        let mut worn_out = false;
        while range.start < range.end {
            let bytes = record_bytes(range.start, range.end - range.start, budget.saturating_sub(overhead));
            if bytes == 0 {
                break;
            }
            if !reader.has_frame() {
                refused = Some((Starved::Frame, None));
                break;
            }
            let seal = match security {
                Security::Established(records) => match records.sealer.bind() {
                    Ok(unsealed) => Seal::Bound(unsealed),
                    Err(_) => {
                        worn_out = true;
                        break;
                    }
                },
                Security::Plain | Security::Handshaking(_) => Seal::None,
            };
            let len = bytes + overhead;
            let stream = tcp.reserve(len);
            let source = Source::File { file: file.clone(), offset: range.start, bytes };
            let offset = range.start;
            range.start += u64::from(bytes);
            budget -= len;
            let asked = reader.add(file, offset, bytes, stream.start, stream.clone());
            map.push_back(Entry { start: stream.start, len, seal, source });
            if let Err(why) = asked {
                refused = Some((why, Some(why.left(stream.start)..stream.end)));
                break;
            }
        }
        if let Err(why) = reader.issue() {
            let end = map.back().map_or(0, Entry::end);
            refused = Some((why, Some(why.left(end)..end)));
        }
        *on_their_way += reader.issued;
        counters.reads += u64::from(reader.issued);
        let began = range.end - range.start;
        if began == 0 {
            queue.pop_front();
        }
        match refused {
            Some((why, surrendered)) => {
                if let Some(surrendered) = surrendered {
                    tcp.surrender(surrendered);
                }
                why.count(counters);
                Pulled::Starved(Lack::Read)
            }
            // The key has sealed all it may: there is no way on from here.
            None if worn_out && began == left => {
                self.abort(id, End::Shed);
                Pulled::Done
            }
            None if began == left => Pulled::Done,
            None => Pulled::More,
        }
    }

    /// No more reads for now: the disk has its fill, or the cache has.
    fn is_disk_full<D: Disk>(&self, disk: &D) -> bool {
        if disk.in_flight() >= disk.capabilities().reads_in_flight_max as usize {
            return true;
        }
        let most = self.config.reading_frames_max;
        let reading = self.fetches.frames();
        // What waits for a full link leaves when the link drains, and reads go on then: nobody waits for good.
        reading > 0 && reading >= most || self.link_full && self.pool.in_use().large >= most
    }

    /// What TLS wants said before the next record of data.
    fn before_data(&mut self, id: FlowId) -> Ready {
        let Some(flow) = self.flows.get_mut(id) else { return Ready::Later };
        let Security::Established(records) = &mut flow.security else { return Ready::Now };
        match records.sealer.before_data() {
            BeforeData::Nothing => Ready::Now,
            BeforeData::Acknowledgement => Ready::Later,
            BeforeData::Finish => {
                // TLS 1.2 near the end of its key: what is being sent is finished, nothing is begun.
                if !flow.marks.contains(Marks::FINISHING) {
                    flow.marks.insert(Marks::FINISHING);
                    self.forget_input(id);
                }
                Ready::Now
            }
            BeforeData::KeyUpdate => {
                let request = tls::KeyUpdateRequest::NotRequested;
                let Ok(record) = records.sealer.seal_key_update(&mut self.keys, request) else {
                    return Ready::Later;
                };
                self.counters.key_updates += 1;
                self.queue_sealed(id, record.as_bytes().into());
                Ready::First
            }
        }
    }
}

/// What may be read now for records with this much around their plaintext.
///
/// A peer whose whole window is too small for a record gets a small one all the same, whose tail then waits for its
/// ACKs: else nothing could ever be sent to it, and no timer would run either.
pub(crate) fn record_credit(tcp: &tcp::Connection, now: Instant, overhead: u32) -> u32 {
    let credit = tcp.credit(now);
    let least = overhead + RECORD_BYTES_MIN;
    if overhead > 0 && credit > 0 && tcp.window() < least { least } else { credit }
}

/// `want` of the kept bytes that lie in `frame` from `from` on and begin in the stream at `start`.
fn kept_chunk(frame: &SharedFrame, from: u32, start: u64, want: &Range<u64>) -> Chunk {
    #[expect(clippy::cast_possible_truncation, reason = "inside one record")]
    let (offset, len) = (from + (want.start - start) as u32, (want.end - want.start) as u32);
    Chunk { start: want.start, len, held: Held::Wire { frame: frame.clone(), offset } }
}

/// What is reserved next.
enum Next {
    /// So many bytes of our own.
    Bytes(usize),
    File,
    Memory,
}

/// Whether data may be reserved.
enum Ready {
    Now,
    /// Something stands in front of it now.
    First,
    /// When more is acknowledged.
    Later,
}
