//! Records become segments: one doorbell.
//!
//! What is at hand for a connection leaves in runs of consecutive chunks, each as one superframe or as few as the link
//! allows: headers, and parts of frames that stay where they are. The run's size decides the cost of a byte more than
//! anything else does (DESIGN §6).

use core::ops::Range;
use platform::{
    ChecksumOffload, Full, Headers, Link, LinkCapabilities, Offload, PARTS_MAX, Packet, Part, Parts,
    Segmentation,
};
use stack::FlowId;
use tcp::Outgoing;
use wire::checksum::Sum;
use wire::{Checksum, Path, emit_tcp};

use crate::carrier::Carrier;
use crate::flow::{Flow, Marks};
use crate::outbound::Outbound;
use crate::service::Service;
use crate::tap::{Direction, Passing};
use crate::worker::Core;

/// What IPv4's total length leaves of a superframe beside the longest headers: a peer chooses the segment's size, and
/// with some sizes the link's own maximum would be exceeded by the options. Links that take more cut by other rules.
const SUPERFRAME_BYTES_MAX: u32 = u16::MAX as u32 - 20 - 60;

/// What the link leaves to us, decided once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Egress {
    checksum: bool,
    superframe_bytes_max: u32,
    parts_max: usize,
}

impl Egress {
    pub(crate) fn new(link: &LinkCapabilities) -> Self {
        Self {
            checksum: link.checksum,
            superframe_bytes_max: if link.superframe_bytes_max <= u32::from(u16::MAX) {
                link.superframe_bytes_max.min(SUPERFRAME_BYTES_MAX)
            } else {
                link.superframe_bytes_max
            },
            parts_max: usize::from(link.parts_max).clamp(1, PARTS_MAX),
        }
    }

    /// How large the pieces of a run are: as few as possible, then as equal as possible, so that none is a runt.
    fn piece_bytes(&self, run: u64, mss: u32) -> u32 {
        let most = self.superframe_bytes_max / mss * mss;
        if most == 0 {
            return mss;
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
        if self.transmit_waiting(link) {
            // Those touched while this list is worked off come in the next turn.
            for _ in 0..self.touched.len() {
                let Some(id) = self.touched.pop_front() else { break };
                busy = true;
                if let Some(flow) = self.flows.get_mut(id) {
                    flow.marks.remove(Marks::TOUCHED);
                }
                let sent = self.transmit_flow(link, id);
                if sent == Sent::LinkFull {
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
        if let Some(packet) = self.refused.take() {
            self.stage(link, packet);
            if self.refused.is_some() {
                return false;
            }
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
                tap.on_packet(&Passing { at, direction, headers: reply, parts: &[] });
            }
            self.replies.pop();
        }
        true
    }

    /// Data first: an ACK that is due rides on it.
    fn transmit_flow<L: Link>(&mut self, link: &mut L, id: FlowId) -> Sent {
        // Chunks before this index stay for a later turn.
        let mut from = 0;
        while let Some(packet) = self.next_data(id, &mut from) {
            self.show(&packet);
            if !self.stage(link, packet) {
                return Sent::LinkFull;
            }
        }
        while let Some(packet) = self.next_control(id) {
            self.show(&packet);
            if !self.stage(link, packet) {
                return Sent::LinkFull;
            }
        }
        Sent::All
    }

    /// Lets the tap see a packet of ours.
    fn show(&mut self, packet: &Packet) {
        if let Some(tap) = &mut self.tap {
            let (at, direction) = (self.tap_at, Direction::Out);
            tap.on_packet(&Passing { at, direction, headers: packet.headers.bytes(), parts: &packet.parts });
        }
    }

    /// The next superframe of what is at hand; `None` when nothing (more) may leave now.
    fn next_data(&mut self, id: FlowId, from: &mut usize) -> Option<Packet> {
        let now = self.now.instant;
        let egress = self.egress;
        let Self { flows, counters, .. } = self;
        let Flow { tcp, path, outbound, sent_bytes, resent_bytes, .. } = flows.get_mut(id)?;
        let outbound = outbound.as_mut()?;
        let mss = u32::from(tcp.mss());
        loop {
            let (count, run) = outbound.run(*from, egress.parts_max)?;
            if run.start >= tcp.sent() && waits_for_company(outbound, *from + count, &run, mss) {
                return None;
            }
            let mut range = run.clone();
            let piece = egress.piece_bytes(run.end - run.start, mss);
            if let Some(outgoing) = tcp.transmit(now, &mut range, piece) {
                let bytes = outgoing.range.end - outgoing.range.start;
                let (total, of_flow) = if outgoing.retransmission {
                    (&mut counters.resent_bytes, resent_bytes)
                } else {
                    (&mut counters.sent_bytes, sent_bytes)
                };
                *total += bytes;
                *of_flow += bytes;
                counters.packets += 1;
                let parts = parts_of(outbound, *from, &outgoing.range);
                outbound.release(*from, range.start);
                return Some(packet(&egress, path, &outgoing, parts));
            }
            outbound.release(*from, range.start);
            if range.is_empty() {
                continue;
            }
            // The rest may not leave. Either an earlier read is still on its way, and its bytes go first; or the
            // window has closed since, and frames are not a send buffer.
            if outbound.fetches > 0 {
                *from += outbound.run(*from, egress.parts_max).map_or(1, |(count, _)| count);
            } else {
                outbound.release(*from, range.end);
                counters.surrendered_bytes += range.end - range.start;
                tcp.surrender(range);
            }
        }
    }

    /// The next segment without data that TCP wants sent.
    fn next_control(&mut self, id: FlowId) -> Option<Packet> {
        let now = self.now.instant;
        let Self { flows, tcp_v4, tcp_v6, counters, egress, .. } = self;
        let flow = flows.get_mut(id)?;
        let config = if flow.path.source.is_ipv4() { tcp_v4 } else { tcp_v6 };
        let outgoing = flow.tcp.poll_control(config, now)?;
        counters.packets += 1;
        Some(packet(egress, &flow.path, &outgoing, Parts::new()))
    }

    /// Stages a packet; one that is refused by a link just flushed waits here. False when it does.
    fn stage<L: Link>(&mut self, link: &mut L, packet: Packet) -> bool {
        let Err(Full(packet)) = link.stage(packet) else { return true };
        link.flush();
        link.reclaim();
        let Err(Full(packet)) = link.stage(packet) else { return true };
        self.counters.link_waits += 1;
        self.refused = Some(packet);
        false
    }
}

/// A response head waits for the read behind it: they leave in one packet. `next` is the index after the run.
fn waits_for_company(outbound: &Outbound, next: usize, run: &Range<u64>, mss: u32) -> bool {
    let reads_new = outbound.fetches > outbound.refetches;
    reads_new
        && next == outbound.chunks.len()
        && run.end - run.start < u64::from(mss)
        && !outbound.is_read_at(run.start)
}

/// The parts of frames that hold `range`, from chunk `from` on.
fn parts_of(outbound: &Outbound, from: usize, range: &Range<u64>) -> Parts {
    let mut parts = Parts::new();
    for chunk in outbound.chunks.iter().skip(from) {
        if chunk.start >= range.end {
            break;
        }
        let (start, end) = (chunk.start.max(range.start), chunk.end().min(range.end));
        if start < end {
            #[expect(clippy::cast_possible_truncation, reason = "inside one chunk")]
            let (skip, len) = ((start - chunk.start) as u32, (end - start) as u32);
            parts.push(Part { frame: chunk.frame.clone(), start: chunk.offset + skip, len });
        }
    }
    parts
}

/// Headers around parts.
pub(crate) fn packet(egress: &Egress, path: &Path, outgoing: &Outgoing, parts: Parts) -> Packet {
    let payload_bytes = outgoing.payload_bytes() as usize;
    let checksum = if egress.checksum {
        Checksum::Offload
    } else {
        Checksum::Software(Sum::of_parts(parts.iter().map(Part::bytes)))
    };
    let mut headers = Headers::new();
    let layout = emit_tcp(headers.room_mut(), path, &outgoing.header, payload_bytes, checksum);
    headers.set_len(layout.len);
    let offload = Offload {
        checksum: egress
            .checksum
            .then_some(ChecksumOffload { start: layout.l4, field: layout.checksum_field }),
        segmentation: (payload_bytes > usize::from(outgoing.mss))
            .then_some(Segmentation { mss: outgoing.mss, ipv6: path.source.is_ipv6() }),
    };
    Packet { headers, parts, offload }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn egress(superframe_bytes_max: u32) -> Egress {
        Egress::new(&LinkCapabilities {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1_500,
            superframe_bytes_max,
            parts_max: 12,
            checksum: true,
            slots: false,
        })
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
    fn without_segmentation_offload_every_piece_is_a_segment() {
        assert_eq!(egress(0).piece_bytes(131_248, 1_448), 1_448);
    }
}
