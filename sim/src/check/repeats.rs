//! Guards law 4 of the design and the nonce: what is sent again is what was sent before.

use alloc::collections::BTreeMap;

use super::{Breach, Checker, Pair, Seen};
use crate::packet::{ACK, FIN, RST, SYN};

/// A stream byte has one value, however often it is sent.
///
/// On a TLS connection a stream offset belongs to one record, one key epoch and one record number, so another
/// ciphertext at the same offset would be another plaintext under the same nonce. On a plain connection it would be a
/// file that changed under the peer's eyes, which is the operator's doing; there only the length is bound.
#[derive(Debug)]
pub struct RepeatsItself {
    secure_port: u16,
    streams: BTreeMap<Pair, Stream>,
}

/// What a server's half of a connection sent, as far as it is remembered.
#[derive(Debug)]
struct Stream {
    /// The server's initial sequence number.
    iss: u32,
    bytes: Vec<u8>,
    /// Behind the FIN that was sent.
    fin: Option<u32>,
    /// The client has acknowledged it, or one of both has reset the connection: what now begins at offset 0 is another.
    over: bool,
    /// Which of them were sent: ranges neither touching nor overlapping, start → end.
    sent: BTreeMap<usize, usize>,
}

/// A stream is compared up to this length; longer ones would need more memory than they are worth.
const REMEMBERED_MAX: usize = 16 << 20;

impl RepeatsItself {
    /// Watches connections to this port.
    #[must_use]
    pub fn new(secure_port: u16) -> Self {
        Self { secure_port, streams: BTreeMap::new() }
    }
}

impl Checker for RepeatsItself {
    fn on_received(&mut self, seen: Seen<'_>, _: &mut Vec<Breach>) {
        let segment = seen.segment;
        let pair = Pair { client: segment.source, server: segment.destination };
        if let Some(stream) = self.streams.get_mut(&pair) {
            stream.over |= segment.has(RST) || segment.has(ACK) && stream.fin == Some(segment.ack);
        }
    }

    fn on_sent(&mut self, seen: Seen<'_>, breaches: &mut Vec<Breach>) {
        let segment = seen.segment;
        if segment.source.port() != self.secure_port {
            return;
        }
        let pair = Pair { client: segment.destination, server: segment.source };
        if segment.has(SYN | ACK) {
            let stream = Stream::new(segment.seq);
            // The SYN-ACK is sent again with the same number. Another number is another connection, and so is one behind
            // data: a SYN cookie gives an old SYN that comes again the number that it had before.
            if self.streams.get(&pair).is_none_or(|known| known.iss != segment.seq || !known.sent.is_empty())
            {
                self.streams.insert(pair, stream);
            }
            return;
        }
        if let Some(stream) = self.streams.get_mut(&pair) {
            stream.over |= segment.has(RST);
            if segment.has(FIN) {
                let len = u32::try_from(seen.payload.len()).expect("a segment is short");
                stream.fin = Some(segment.seq.wrapping_add(len).wrapping_add(1));
            }
        }
        if seen.payload.is_empty() {
            return;
        }
        let Some(stream) = self.streams.get_mut(&pair) else {
            breaches.push(Breach {
                at: seen.at,
                law: "RepeatsItself",
                what: format!("data on a connection that never was: {segment:?}"),
            });
            return;
        };
        let start = segment.seq.wrapping_sub(stream.iss).wrapping_sub(1) as usize;
        if stream.over && start == 0 {
            // The ACK of a SYN cookie came again after all was over, and opened the connection once more.
            *stream = Stream::new(stream.iss);
        }
        if let Err(offset) = stream.record(start, seen.payload) {
            breaches.push(Breach {
                at: seen.at,
                law: "RepeatsItself",
                what: format!("stream byte {offset} has two values: {segment:?}"),
            });
        }
    }
}

impl Stream {
    fn new(iss: u32) -> Self {
        Self { iss, bytes: Vec::new(), fin: None, over: false, sent: BTreeMap::new() }
    }

    /// Remembers `payload` at `start`, or says which offset had another value before.
    fn record(&mut self, start: usize, payload: &[u8]) -> Result<(), usize> {
        let end = start + payload.len();
        if end > REMEMBERED_MAX {
            return Ok(());
        }
        if end > self.bytes.len() {
            self.bytes.resize(end, 0);
        }
        let mut merged = start..end;
        let overlapping: Vec<(usize, usize)> = self
            .sent
            .range(..=end)
            .rev()
            .take_while(|&(_, &stop)| stop >= start)
            .map(|(&from, &stop)| (from, stop))
            .collect();
        for (from, stop) in overlapping {
            let (low, high) = (from.max(start), stop.min(end));
            if low < high
                && let known = &self.bytes[low..high]
                && let again = &payload[low - start..high - start]
                && known != again
            {
                let index = known.iter().zip(again).position(|(a, b)| a != b).expect("they differ");
                return Err(low + index);
            }
            merged = merged.start.min(from)..merged.end.max(stop);
            self.sent.remove(&from);
        }
        self.bytes[start..end].copy_from_slice(payload);
        self.sent.insert(merged.start, merged.end);
        Ok(())
    }
}
