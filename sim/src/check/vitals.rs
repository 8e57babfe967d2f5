//! Guards memory and the counters: what is taken comes back, and the sums are right.

use clock::Instant;

use super::{Breach, Checker, Seen};
use crate::server::Vitals;

/// No frame is lost, and none is held by a connection that is over: when everybody has left, all frames are in the
/// pool. Never are more out than there are.
#[derive(Debug)]
pub struct FramesComeBack;

impl Checker for FramesComeBack {
    fn on_turn(&mut self, at: Instant, vitals: &Vitals, breaches: &mut Vec<Breach>) {
        let Vitals { frames_large, frames_small, frames_large_max, frames_small_max, .. } = *vitals;
        if frames_large > frames_large_max || frames_small > frames_small_max {
            breaches.push(Breach {
                at,
                law: "FramesComeBack",
                what: format!(
                    "{frames_large} large and {frames_small} small frames are out: more than there are"
                ),
            });
        }
    }

    fn at_rest(&mut self, at: Instant, vitals: &Vitals, breaches: &mut Vec<Breach>) {
        let Vitals { frames_large, frames_small, connections, .. } = *vitals;
        if frames_large > 0 || frames_small > 0 || connections > 0 {
            breaches.push(Breach {
                at,
                law: "FramesComeBack",
                what: format!(
                    "everybody has left, and {frames_large} large and {frames_small} small frames and {connections} connections are still held"
                ),
            });
        }
    }
}

/// Answers that one connection may have on their way.
const FILES_PER_CONNECTION_MAX: u32 = 16;

/// Tables are bounded, whoever knocks: never are there more connections than there may be, nor more open files than the
/// cache holds and connections can be sending, answers that are not yet acknowledged included.
#[derive(Debug)]
pub struct StaysSmall;

impl Checker for StaysSmall {
    fn on_turn(&mut self, at: Instant, vitals: &Vitals, breaches: &mut Vec<Breach>) {
        let Vitals { connections, connections_max, files_open, files_max, .. } = *vitals;
        if connections > connections_max || files_open > files_max + FILES_PER_CONNECTION_MAX * connections {
            breaches.push(Breach {
                at,
                law: "StaysSmall",
                what: format!(
                    "{connections} connections of at most {connections_max}, {files_open} files of at most {files_max} and those being sent"
                ),
            });
        }
    }
}

/// The server's counters agree with what the wire shows, and never go backwards.
#[derive(Debug, Default)]
pub struct CountsAddUp {
    /// Payload bytes seen on the wire.
    wire_bytes: u64,
    before: Vitals,
}

impl Checker for CountsAddUp {
    fn on_sent(&mut self, seen: Seen<'_>, _: &mut Vec<Breach>) {
        self.wire_bytes += seen.payload.len() as u64;
    }

    fn on_turn(&mut self, at: Instant, vitals: &Vitals, breaches: &mut Vec<Breach>) {
        let mut breach = |what| breaches.push(Breach { at, law: "CountsAddUp", what });
        let Vitals { sent_bytes, resent_bytes, sealed_bytes, read_bytes, accepted, link_packets, .. } =
            *vitals;
        let before = self.before;
        if sent_bytes < before.sent_bytes
            || resent_bytes < before.resent_bytes
            || sealed_bytes < before.sealed_bytes
            || read_bytes < before.read_bytes
            || accepted < before.accepted
        {
            breach(format!("a counter went backwards: {before:?}, then {vitals:?}"));
        }
        // What waits in the link's queue is counted and not yet on the wire.
        let counted = sent_bytes + resent_bytes;
        if counted < self.wire_bytes || counted > self.wire_bytes && link_packets == 0 {
            breach(format!(
                "{sent_bytes} bytes sent and {resent_bytes} sent again are counted; the wire shows {}",
                self.wire_bytes
            ));
            // Once is enough.
            self.wire_bytes = counted;
        }
        self.before = *vitals;
    }

    fn at_rest(&mut self, at: Instant, vitals: &Vitals, breaches: &mut Vec<Breach>) {
        let Vitals { accepted, finished, failed, sent_bytes, resent_bytes, .. } = *vitals;
        if sent_bytes + resent_bytes != self.wire_bytes {
            breaches.push(Breach {
                at,
                law: "CountsAddUp",
                what: format!(
                    "{sent_bytes} bytes sent and {resent_bytes} sent again were counted; the wire showed {}",
                    self.wire_bytes
                ),
            });
        }
        // Half-open connections that were never accepted fail, too.
        if finished > accepted || finished + failed < accepted {
            breaches.push(Breach {
                at,
                law: "CountsAddUp",
                what: format!("{accepted} connections accepted, {finished} finished and {failed} failed"),
            });
        }
    }
}
