//! Guards the peer's window: TCP may not send what it has no credit for.

use alloc::collections::BTreeMap;

use super::{Breach, Checker, Pair, Seen};
use crate::packet::{ACK, RST, SYN};

/// Nothing is sent behind the furthest right edge that the client ever advertised and that reached the server
/// (RFC 9293 §3.8.6), nor before the handshake told a window.
///
/// Probes of a closed window carry no data here: one byte behind the edge would be a breach, though RFC 9293 §3.8.6.1 allows it.
///
/// A pair may have opened several times before it answers, each time with another sequence number, and with cookies the
/// server keeps none of them: any may become the connection. The last few are remembered, and a segment is held against
/// the one whose initial sequence number lies closest before the client's.
#[derive(Debug)]
pub struct StaysWithinCredit {
    windows: BTreeMap<Pair, Vec<Window>>,
}

/// How many openings of a pair are remembered.
const OPENINGS_MAX: usize = 8;

#[derive(Debug)]
struct Window {
    /// The client's initial sequence number: another one is another connection.
    irs: u32,
    /// The client's and the server's window scale.
    offered: Option<u8>,
    shift: u8,
    /// The server's initial sequence number, once it is known.
    iss: Option<u32>,
    /// Counted from `iss`.
    edge: u64,
    acked: u64,
}

impl StaysWithinCredit {
    /// Nobody has connected.
    #[must_use]
    pub fn new() -> Self {
        Self { windows: BTreeMap::new() }
    }

    /// The opening to which one of the client's sequence numbers belongs.
    fn opening(&mut self, pair: Pair, number: u32) -> Option<&mut Window> {
        self.windows.get_mut(&pair)?.iter_mut().min_by_key(|window| number.wrapping_sub(window.irs))
    }
}

impl Checker for StaysWithinCredit {
    fn on_received(&mut self, seen: Seen<'_>, _: &mut Vec<Breach>) {
        let segment = seen.segment;
        let pair = Pair { client: segment.source, server: segment.destination };
        if segment.has(SYN) {
            let offered = segment.window_scale;
            let window = Window {
                irs: segment.seq,
                offered,
                shift: 0,
                iss: None,
                edge: u64::from(segment.window),
                acked: 0,
            };
            let openings = self.windows.entry(pair).or_default();
            if openings.iter().all(|known| known.irs != segment.seq) {
                if openings.len() == OPENINGS_MAX {
                    openings.remove(0);
                }
                openings.push(window);
            }
            return;
        }
        let Some(window) = self.opening(pair, segment.seq) else { return };
        if segment.has(ACK)
            && !segment.has(RST)
            && let Some(iss) = window.iss
        {
            // Where the acknowledgment stands, without wrapping: near the last one.
            let step = segment.ack.wrapping_sub(iss.wrapping_add(low(window.acked))).cast_signed();
            let Some(acked) = window.acked.checked_add_signed(i64::from(step)) else { return };
            window.acked = window.acked.max(acked);
            window.edge = window.edge.max(acked + (u64::from(segment.window) << window.shift));
        }
    }

    fn on_sent(&mut self, seen: Seen<'_>, breaches: &mut Vec<Breach>) {
        let segment = seen.segment;
        let pair = Pair { client: segment.destination, server: segment.source };
        let Some(window) = self.opening(pair, segment.ack) else { return };
        if segment.has(SYN | ACK) {
            if window.iss != Some(segment.seq) {
                window.iss = Some(segment.seq);
                window.acked = 0;
                // Both must have offered a scale (RFC 7323 §2.2); the SYN's own window is not scaled.
                window.shift = window.offered.filter(|_| segment.window_scale.is_some()).unwrap_or(0).min(14);
                // The SYN takes the first number.
                window.edge += 1;
            }
            return;
        }
        let Some(iss) = window.iss else { return };
        if seen.payload.is_empty() {
            return;
        }
        let step = segment.seq.wrapping_sub(iss.wrapping_add(low(window.acked))).cast_signed();
        let Some(start) = window.acked.checked_add_signed(i64::from(step)) else { return };
        let end = start + seen.payload.len() as u64;
        if end > window.edge {
            breaches.push(Breach {
                at: seen.at,
                law: "StaysWithinCredit",
                what: format!(
                    "{} bytes behind the edge of every window of {}: {segment:?} with {} bytes",
                    end - window.edge,
                    pair.client,
                    seen.payload.len()
                ),
            });
            // Once is enough.
            window.edge = end;
        }
    }
}

fn low(offset: u64) -> u32 {
    u32::try_from(offset & 0xFFFF_FFFF).expect("masked")
}
