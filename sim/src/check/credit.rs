//! Guards the peer's window: TCP may not send what it has no credit for.

use alloc::collections::BTreeMap;

use super::{Breach, Checker, Pair, Seen};
use crate::packet::{ACK, RST, SYN};

/// Nothing is sent behind the furthest right edge that the client ever advertised and that reached the server
/// (RFC 9293 §3.8.6), nor before the handshake told a window.
///
/// Probes of a closed window carry no data here: one byte behind the edge would be a breach, though RFC 9293 §3.8.6.1 allows it.
#[derive(Debug)]
pub struct StaysWithinCredit {
    windows: BTreeMap<Pair, Window>,
}

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
            if self.windows.get(&pair).is_none_or(|known| known.irs != segment.seq) {
                self.windows.insert(pair, window);
            }
            return;
        }
        let Some(window) = self.windows.get_mut(&pair) else { return };
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
        let Some(window) = self.windows.get_mut(&pair) else { return };
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
