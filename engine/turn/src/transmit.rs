//! Records become segments: one doorbell.
//!
//! What is at hand for a connection leaves in runs of consecutive chunks, each as one superframe or as few as the link
//! allows: headers, and parts of frames that stay where they are. The run's size decides the cost of a byte more than
//! anything else does (DESIGN §6). A link that wants payload in memory of its own gets it sealed straight into its slot;
//! one that does not cut gets the run as a [`Train`] of segments, of which TCP knows as little as of a device's.

use alloc::rc::Rc;
use core::ops::Range;
use platform::{
    ChecksumOffload, Headers, Link, LinkCapabilities, Offload, PARTS_MAX, Packet, Part, Parts, Segmentation,
};
use stack::FlowId;
use tcp::Outgoing;
use wire::checksum::Sum;
use wire::{Checksum, Path, emit_tcp};

use crate::carrier::Carrier;
use crate::copies::{Copies, MemoryVariant, sum_of};
use crate::flow::{Flow, Marks};
use crate::outbound::{Held, Item, Outbound};
use crate::seal::end_of;
use crate::service::Service;
use crate::tap::{Direction, Passing};
use crate::train::{Load, Loads, Train};
use crate::worker::Core;

/// What IPv4's total length leaves of a superframe beside the longest headers: a peer chooses the segment's size, and
/// with some sizes the link's own maximum would be exceeded by the options. Links that take more cut by other rules.
const SUPERFRAME_BYTES_MAX: u32 = u16::MAX as u32 - 20 - 60;

/// What the link leaves to us, decided once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Egress {
    checksum: bool,
    superframe_bytes_max: u32,
    parts_max: usize,
    pub(crate) slots: bool,
    /// The link does not cut, and takes parts: we do.
    cuts: bool,
    /// How memory gets into packets of parts.
    memory: MemoryVariant,
}

impl Egress {
    pub(crate) fn new(link: &LinkCapabilities, memory: MemoryVariant) -> Self {
        let cuts = link.superframe_bytes_max == 0 && !link.slots;
        Self {
            checksum: link.checksum,
            superframe_bytes_max: if cuts {
                SUPERFRAME_BYTES_MAX
            } else if link.superframe_bytes_max <= u32::from(u16::MAX) {
                link.superframe_bytes_max.min(SUPERFRAME_BYTES_MAX)
            } else {
                link.superframe_bytes_max
            },
            parts_max: usize::from(link.parts_max).clamp(1, PARTS_MAX),
            slots: link.slots,
            cuts,
            memory: memory.on(link),
        }
    }

    /// Several segments leave as one packet.
    pub(crate) fn merges(&self) -> bool {
        self.superframe_bytes_max > 0 && !self.cuts
    }

    /// The run that is looked at next. For a slot it ends where a record does, if no more superframes come of that: a
    /// record that is cut has to be sealed where it lies and then copied, which costs less than a superframe more.
    fn run(&self, outbound: &Outbound, from: usize, mss: u32) -> Option<(usize, Range<u64>)> {
        let most = u64::from(self.superframe_bytes_max / mss * mss);
        let (count, run) = outbound.run(from, self.parts_max, most.max(u64::from(mss)))?;
        if !self.slots
            || most == 0
            || outbound.whole_pieces(from, count, most) > (run.end - run.start).div_ceil(most)
        {
            return Some((count, run));
        }
        outbound.run_within(from, self.parts_max, most)
    }

    /// How large the pieces of a run are: as few as possible, then as equal as possible, so that none is a runt.
    fn piece_bytes(&self, run: u64, mss: u32) -> u32 {
        let most = self.superframe_bytes_max / mss * mss;
        if most == 0 {
            // An MTU beyond what the link cuts from: a slot still takes no more than that.
            let takes =
                if self.slots && self.superframe_bytes_max > 0 { self.superframe_bytes_max } else { mss };
            return mss.min(takes);
        }
        let pieces = run.div_ceil(u64::from(most)).max(1);
        let even = u32::try_from(run.div_ceil(pieces)).unwrap_or(most);
        even.next_multiple_of(mss).min(most)
    }
}

/// What became of a connection's wish to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// It has said all it may say now.
    All,
    /// The link is full.
    LinkFull,
}

impl<A: tls::Aead, S: Service> Core<A, S> {
    /// Sends what touched connections have to say, and the stack's own replies.
    pub(crate) fn transmit<L: Link>(&mut self, link: &mut L) -> bool {
        if self.carrier == Carrier::Down {
            return self.keep_silent(link);
        }
        let mut busy = false;
        self.link_full = !self.transmit_waiting(link);
        if !self.link_full {
            // Those touched while this list is worked off come in the next turn.
            for _ in 0..self.touched.len() {
                let Some(id) = self.touched.pop_front() else { break };
                let Some(flow) = self.flows.get_mut(id) else { continue };
                flow.marks.remove(Marks::TOUCHED);
                let has_data = flow.outbound.as_ref().is_some_and(|outbound| !outbound.chunks.is_empty());
                let before = self.counters.packets;
                let sent = self.transmit_flow(link, id, has_data);
                // Whoever finds the link full and says nothing has done nothing.
                busy |= sent == Sent::All || self.counters.packets > before;
                if sent == Sent::LinkFull {
                    self.link_full = true;
                    self.touch(id);
                    break;
                }
                self.settle(id);
            }
        }
        link.flush();
        busy | (link.reclaim() > 0)
    }

    /// What the link refused last time, and short replies. False when the link is still full.
    fn transmit_waiting<L: Link>(&mut self, link: &mut L) -> bool {
        if self.refused && !self.stage(link) {
            return false;
        }
        if !self.send_train(link) {
            return false;
        }
        while let Some(reply) = self.replies.front() {
            if link.stage_bytes(reply).is_err() {
                link.flush();
                link.reclaim();
                if link.stage_bytes(reply).is_err() {
                    self.counters.link_waits += 1;
                    return false;
                }
            }
            self.counters.packets += 1;
            if let Some(tap) = &mut self.tap {
                let (at, direction) = (self.tap_at, Direction::Out);
                tap.on_packet(&Passing { at, direction, headers: reply, parts: &[], slot: &[] });
            }
            self.replies.pop();
        }
        true
    }

    /// Data first: an ACK that is due rides on it.
    fn transmit_flow<L: Link>(&mut self, link: &mut L, id: FlowId, has_data: bool) -> Sent {
        if has_data && self.transmit_data(link, id) == Sent::LinkFull {
            return Sent::LinkFull;
        }
        loop {
            match self.send_control(link, id) {
                Step::Left => {}
                Step::Nothing => return Sent::All,
                Step::LinkFull => return Sent::LinkFull,
            }
        }
    }

    /// What is at hand, as far as it may leave.
    fn transmit_data<L: Link>(&mut self, link: &mut L, id: FlowId) -> Sent {
        // Chunks before this index stay for a later turn.
        let mut from = 0;
        loop {
            let step = if self.egress.slots {
                self.send_in_slot(link, id, &mut from)
            } else {
                self.send_in_parts(link, id, &mut from)
            };
            match step {
                Step::Left => {}
                Step::Nothing => return Sent::All,
                Step::LinkFull => return Sent::LinkFull,
            }
        }
    }

    /// The next segment without data that TCP wants sent, built where it leaves from.
    fn send_control<L: Link>(&mut self, link: &mut L, id: FlowId) -> Step {
        let now = self.now.instant;
        let Self { flows, tcp_v4, tcp_v6, egress, tap, tap_at, counters, .. } = self;
        let Some(flow) = flows.get_mut(id) else { return Step::Nothing };
        if !flow.tcp.owes_control() {
            return Step::Nothing;
        }
        // Asked before TCP is: what it says leaves, leaves.
        if link.room().is_none() {
            link.flush();
            link.reclaim();
            if link.room().is_none() {
                counters.link_waits += 1;
                return Step::LinkFull;
            }
        }
        let config = if flow.path.source.is_ipv4() { tcp_v4 } else { tcp_v6 };
        let Some(outgoing) = flow.tcp.poll_control(config, now) else { return Step::Nothing };
        let Some(room) = link.room() else { unreachable!("room that was given is given again") };
        let (bytes, offload) = emit(room, egress, &flow.path, &outgoing, || Sum::ZERO);
        counters.packets += 1;
        if let Some(tap) = tap {
            let (at, direction) = (*tap_at, Direction::Out);
            tap.on_packet(&Passing { at, direction, headers: &room[..bytes], parts: &[], slot: &[] });
        }
        link.stage_room(bytes, offload);
        Step::Left
    }

    /// Sends the packet that was built. False when the link is full, and it waits.
    fn leave<L: Link>(&mut self, link: &mut L) -> bool {
        self.counters.packets += 1;
        if let Some(tap) = &mut self.tap {
            let Packet { headers, parts, .. } = &self.packet;
            let (at, direction, headers) = (self.tap_at, Direction::Out, headers.bytes());
            tap.on_packet(&Passing { at, direction, headers, parts, slot: &[] });
        }
        self.stage(link)
    }

    /// One superframe of what is at hand, as parts of frames that stay where they are.
    fn send_in_parts<L: Link>(&mut self, link: &mut L, id: FlowId, from: &mut usize) -> Step {
        let Some((outgoing, upto)) = self.next_data(id, from) else { return Step::Nothing };
        if let Err(error) = self.make_all_ready(id, *from, &outgoing.range) {
            self.abort(id, end_of(error));
            return Step::Nothing;
        }
        self.sent(id, &outgoing);
        let Self { flows, packet, egress, pool, counters, .. } = self;
        let Some(Flow { path, outbound: Some(outbound), .. }) = flows.get_mut(id) else {
            return Step::Nothing;
        };
        let copies = egress.memory != MemoryVariant::Gather && lends(outbound, *from, &outgoing.range);
        let left = if egress.cuts && outgoing.payload_bytes() > u32::from(outgoing.mss) {
            let loads = loads_of(outbound, *from, &outgoing.range);
            outbound.release(*from, upto);
            let train = Train::of(*path, outgoing.header, outgoing.mss, loads, egress.checksum, copies);
            self.train = Some((id, train));
            self.send_train(link)
        } else if copies {
            let loads = loads_of(outbound, *from, &outgoing.range);
            outbound.release(*from, upto);
            let copies = Copies { variant: egress.memory, pool, counters };
            copied(packet, egress, path, &outgoing, &loads, copies);
            self.leave(link)
        } else {
            let sum = parts_of(outbound, *from, &outgoing.range, egress.checksum, &mut packet.parts);
            outbound.release(*from, upto);
            packet.offload = emit_headers(&mut packet.headers, egress, path, &outgoing, || sum);
            self.leave(link)
        };
        if left { Step::Left } else { Step::LinkFull }
    }

    /// What is left of a run that is cut here. False when the link is full, and the rest stays.
    fn send_train<L: Link>(&mut self, link: &mut L) -> bool {
        loop {
            let Self { train, packet, pool, counters, egress, .. } = self;
            let Some((_, rest)) = train else { break };
            if rest.is_empty() {
                *train = None;
                break;
            }
            rest.next_by(&mut Copies { variant: egress.memory, pool, counters }, packet);
            if !self.leave(link) {
                return false;
            }
        }
        true
    }

    /// One superframe of what is at hand, sealed or copied into the link's slot.
    fn send_in_slot<L: Link>(&mut self, link: &mut L, id: FlowId, from: &mut usize) -> Step {
        // Asked before TCP is: what it says leaves, leaves.
        let outbound = self.flows.get(id).and_then(|flow| flow.outbound.as_ref());
        if outbound.is_none_or(|outbound| outbound.chunks.len() <= *from) {
            return Step::Nothing;
        }
        if link.slot().is_none() {
            link.flush();
            link.reclaim();
            if link.slot().is_none() {
                self.counters.link_waits += 1;
                return Step::LinkFull;
            }
        }
        let Some((outgoing, upto)) = self.next_data(id, from) else { return Step::Nothing };
        let Some(room) = link.slot() else { unreachable!("a slot that was given is given again") };
        let bytes = match self.fill(id, *from, &outgoing.range, room) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.abort(id, end_of(error));
                return Step::Nothing;
            }
        };
        let egress = self.egress;
        let Some(flow) = self.sent(id, &outgoing) else { return Step::Nothing };
        let payload = &room[..bytes];
        let mut headers = Headers::new();
        let path = flow.path;
        let Some(outbound) = &mut flow.outbound else { return Step::Nothing };
        let offload = emit_headers(&mut headers, &egress, &path, &outgoing, || {
            slot_sum(outbound, *from, &outgoing.range, payload)
        });
        outbound.release(*from, upto);
        self.counters.packets += 1;
        if let Some(tap) = &mut self.tap {
            let (at, direction) = (self.tap_at, Direction::Out);
            tap.on_packet(&Passing { at, direction, headers: headers.bytes(), parts: &[], slot: payload });
        }
        link.stage_slot(&headers, bytes, offload);
        Step::Left
    }

    /// Counts the bytes that leave.
    fn sent(&mut self, id: FlowId, outgoing: &Outgoing) -> Option<&mut Flow<S::Session>> {
        let Self { flows, counters, .. } = self;
        let flow = flows.get_mut(id)?;
        let bytes = outgoing.range.end - outgoing.range.start;
        let (total, of_flow) = if outgoing.retransmission {
            (&mut counters.resent_bytes, &mut flow.resent_bytes)
        } else {
            (&mut counters.sent_bytes, &mut flow.sent_bytes)
        };
        *total += bytes;
        *of_flow += bytes;
        Some(flow)
    }

    /// What TCP lets leave next of what is at hand, and up to where chunks are then done with; `None` when nothing
    /// (more) may leave now.
    fn next_data(&mut self, id: FlowId, from: &mut usize) -> Option<(Outgoing, u64)> {
        let now = self.now.instant;
        let egress = self.egress;
        let Self { flows, counters, .. } = self;
        let Flow { tcp, outbound, marks, .. } = flows.get_mut(id)?;
        let outbound = outbound.as_mut().filter(|outbound| outbound.chunks.len() > *from)?;
        let mss = u32::from(tcp.mss());
        loop {
            let (count, run) = egress.run(outbound, *from, mss)?;
            if run.start >= tcp.sent() && waits_for_company(outbound, *marks, *from + count, &run, mss) {
                return None;
            }
            let mut range = run.clone();
            let piece = egress.piece_bytes(run.end - run.start, mss);
            if let Some(outgoing) = tcp.transmit(now, &mut range, piece) {
                return Some((outgoing, range.start));
            }
            outbound.release(*from, range.start);
            if range.is_empty() {
                continue;
            }
            // The rest may not leave. Either an earlier read is still on its way, and its bytes go first; or the
            // window has closed since, and frames are not a send buffer.
            if outbound.fetches > 0 {
                *from += egress.run(outbound, *from, mss).map_or(1, |(count, _)| count);
            } else {
                outbound.release(*from, range.end);
                counters.surrendered_bytes += range.end - range.start;
                tcp.surrender(range);
            }
        }
    }

    /// Stages the packet that was built; one that is refused by a link just flushed waits. False when it does.
    fn stage<L: Link>(&mut self, link: &mut L) -> bool {
        self.refused = link.stage(&mut self.packet).is_err();
        if self.refused {
            link.flush();
            link.reclaim();
            self.refused = link.stage(&mut self.packet).is_err();
            self.counters.link_waits += u64::from(self.refused);
        }
        !self.refused
    }
}

/// What became of one superframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is staged.
    Left,
    /// There was none to send.
    Nothing,
    /// The link is full.
    LinkFull,
}

/// A response head waits for what is behind it, on its way or waiting for a place itself: they leave in one packet. `next`
/// is the index after the run.
fn waits_for_company(outbound: &Outbound, marks: Marks, next: usize, run: &Range<u64>, mss: u32) -> bool {
    let reads_new = outbound.fetches > outbound.refetches;
    let will_read = match outbound.queue.front() {
        Some(Item::File { .. }) => marks.contains(Marks::WAITS_FOR_READ),
        Some(Item::Memory { .. }) => marks.contains(Marks::WAITS_FOR_FRAME),
        Some(Item::Bytes { .. }) | None => false,
    };
    (reads_new || will_read)
        // Nothing goes on where the run ends: an alert may wait behind what is read.
        && outbound.chunks.get(next).is_none_or(|behind| behind.start > run.end)
        && run.end - run.start < u64::from(mss)
        && !outbound.is_read_at(run.start)
}

/// What lies of `range` in the chunks from `from` on: chunk by chunk, how many bytes of it are skipped and taken.
fn pieces<'a>(
    outbound: &'a Outbound,
    from: usize,
    range: &'a Range<u64>,
) -> impl Iterator<Item = (&'a Held, u32, u32)> {
    let chunks = outbound.chunks.range(from..).take_while(|chunk| chunk.start < range.end);
    chunks.filter_map(|chunk| {
        let (start, end) = (chunk.start.max(range.start), chunk.end().min(range.end));
        #[expect(clippy::cast_possible_truncation, reason = "inside one chunk")]
        (start < end).then(|| (&chunk.held, (start - chunk.start) as u32, (end - start) as u32))
    })
}

/// The parts of frames that hold `range`, from chunk `from` on. Returns their sum, which of memory is known, unless it is
/// `left_to_link`.
fn parts_of(
    outbound: &Outbound,
    from: usize,
    range: &Range<u64>,
    left_to_link: bool,
    parts: &mut Parts,
) -> Sum {
    let mut sum = Sum::ZERO;
    for (held, skip, len) in pieces(outbound, from, range) {
        match held {
            Held::Wire { frame, offset } => {
                let part = Part { frame: frame.clone(), start: offset + skip, len };
                if !left_to_link {
                    sum = sum.then(part.bytes());
                }
                parts.push(part);
            }
            Held::Memory { memory, offset } => {
                let range = offset + u64::from(skip)..offset + u64::from(skip + len);
                memory.parts(range.clone(), &mut |part| parts.push(part));
                if !left_to_link {
                    sum = sum.combine(memory.sum(range));
                }
            }
            Held::Plain { .. } => debug_assert!(false, "sealed where it lay, before this"),
        }
    }
    sum
}

/// The sum of a slot's payload, that of memory without a pass over it.
fn slot_sum(outbound: &Outbound, from: usize, range: &Range<u64>, mut payload: &[u8]) -> Sum {
    let mut sum = Sum::ZERO;
    for (held, skip, len) in pieces(outbound, from, range) {
        let (piece, behind) = payload.split_at(len as usize);
        payload = behind;
        sum = match held {
            Held::Memory { memory, offset } => {
                let start = offset + u64::from(skip);
                sum.combine(memory.sum(start..start + u64::from(len)))
            }
            Held::Wire { .. } | Held::Plain { .. } => sum.then(piece),
        };
    }
    sum
}

/// Some of `range` is memory that is not sealed.
fn lends(outbound: &Outbound, from: usize, range: &Range<u64>) -> bool {
    pieces(outbound, from, range).any(|(held, ..)| matches!(held, Held::Memory { .. }))
}

/// The same as a train carries it: memory is looked up when a segment of it leaves.
fn loads_of(outbound: &Outbound, from: usize, range: &Range<u64>) -> Loads {
    let mut loads = Loads::new();
    for (held, skip, len) in pieces(outbound, from, range) {
        loads.push(match held {
            Held::Wire { frame, offset } => {
                Load::Part(Part { frame: frame.clone(), start: offset + skip, len })
            }
            Held::Memory { memory, offset } => {
                Load::Memory { memory: Rc::clone(memory), start: offset + u64::from(skip), len }
            }
            Held::Plain { .. } => unreachable!("sealed where it lay, before this"),
        });
    }
    loads
}

/// Builds a packet of a segment, or of a superframe, that is copied.
fn copied(
    packet: &mut Packet,
    egress: &Egress,
    path: &Path,
    outgoing: &Outgoing,
    loads: &Loads,
    mut copies: Copies<'_>,
) {
    let Packet { headers, parts, offload } = packet;
    if egress.cuts {
        let complete = Egress { checksum: false, ..*egress };
        *offload = emit_headers(headers, &complete, path, outgoing, || sum_of(loads));
        return copies.fill(headers, loads, parts);
    }
    *offload = emit_headers(headers, egress, path, outgoing, || sum_of(loads));
    loads.iter().for_each(|load| load.gather(parts));
    if let Some(copied) = copies.copy_superframe(parts) {
        *parts = copied;
    }
}

/// Builds the headers before a payload. Returns what is left to the link. `sum` is asked for when that does not sum.
fn emit_headers(
    headers: &mut Headers,
    egress: &Egress,
    path: &Path,
    outgoing: &Outgoing,
    sum: impl FnOnce() -> Sum,
) -> Offload {
    let (bytes, offload) = emit(headers.room_mut(), egress, path, outgoing, sum);
    headers.set_len(bytes);
    offload
}

/// The same, in any memory. Returns how long they are as well.
fn emit(
    room: &mut [u8],
    egress: &Egress,
    path: &Path,
    outgoing: &Outgoing,
    sum: impl FnOnce() -> Sum,
) -> (usize, Offload) {
    let payload_bytes = outgoing.payload_bytes() as usize;
    let checksum = if egress.checksum { Checksum::Offload } else { Checksum::Software(sum()) };
    let layout = emit_tcp(room, path, &outgoing.header, payload_bytes, checksum);
    let offload = Offload {
        checksum: egress
            .checksum
            .then_some(ChecksumOffload { start: layout.l4, field: layout.checksum_field }),
        segmentation: (payload_bytes > usize::from(outgoing.mss))
            .then_some(Segmentation { mss: outgoing.mss, ipv6: path.source.is_ipv6() }),
    };
    (layout.len, offload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(superframe_bytes_max: u32) -> Egress {
        let link = LinkCapabilities {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1_500,
            superframe_bytes_max,
            parts_max: 12,
            checksum: true,
            slots: false,
        };
        Egress::new(&link, MemoryVariant::Gather)
    }

    #[test]
    fn no_segment_size_makes_a_superframe_that_ip_cannot_tell() {
        for mss in 536..=8_948 {
            for run in [65_000, 65_484, 65_495, 65_536, 131_072] {
                assert!(egress(65_495).piece_bytes(run, mss) + 80 <= 65_535, "{run} in {mss}");
            }
        }
    }

    #[test]
    fn a_run_that_fits_is_one_superframe() {
        assert_eq!(egress(65_495).piece_bytes(49_218, 1_448), 49_232);
        assert_eq!(egress(65_495).piece_bytes(100, 1_448), 1_448);
    }

    #[test]
    fn a_longer_run_is_cut_into_equal_pieces_of_whole_segments() {
        let piece = egress(65_495).piece_bytes(131_248, 1_448);
        assert_eq!(piece % 1_448, 0);
        assert_eq!(131_248_u32.div_ceil(piece), 3);
        assert!(131_248 - 2 * piece > 40_000);
    }

    #[test]
    fn a_run_for_slots_is_cut_between_records_unless_that_makes_a_superframe_more() {
        let pool = dma::Pool::new(dma::PoolLayout { large_count: 8, small_count: 0 }).unwrap();
        let mut outbound = Outbound::default();
        let egress = Egress { slots: true, ..egress(65_344) };
        for index in 0..8 {
            let held = Held::Plain { frame: pool.acquire_large().unwrap(), offset: 512, bytes: 16_384 };
            outbound.insert(crate::outbound::Chunk { start: index * 16_406, len: 16_406, held });
            let (count, run) = egress.run(&outbound, 0, 1_448).unwrap();
            // Of seven records two superframes can be made, if one is cut; of five and eight none need be.
            assert_eq!(count, [1, 2, 3, 3, 3, 3, 7, 3][usize::try_from(index).unwrap()]);
            assert_eq!(run.end, count as u64 * 16_406);
        }
    }

    #[test]
    fn no_segment_is_larger_than_a_slot() {
        let egress = Egress { slots: true, ..egress(65_344) };
        assert_eq!(egress.piece_bytes(100_000, 65_483), 65_344);
        assert_eq!(Egress { superframe_bytes_max: 0, ..egress }.piece_bytes(100_000, 8_948), 8_948);
    }

    #[test]
    fn without_segmentation_offload_a_run_is_as_long_as_with_it() {
        assert_eq!(egress(0).piece_bytes(49_218, 1_448), 49_232);
        assert_eq!(egress(0).piece_bytes(131_248, 1_448), egress(65_495).piece_bytes(131_248, 1_448));
        assert_eq!(egress(0).piece_bytes(131_248, 65_483), 65_483);
    }
}
