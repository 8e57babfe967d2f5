//! The link of a worker that answers datagrams itself: in the receive batch, before the engine sees anything.
//!
//! ```text
//!   link ─▶ Front::receive ─▶ a question: answered, staged, one doorbell for the batch
//!                        └──▶ ARP, NDP, ICMP, TCP: the engine's
//! ```

use crate::desk::{Desk, Serving};
use crate::respond::{Request, Transport};
use core::cell::RefCell;
use core::net::IpAddr;
use datagram::{Answered, Config, Turnaround, Verdict};
use host::HostLink;
use platform::{Full, Headers, Link, LinkCapabilities, LinkCounters, Offload, Packet, Received};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use wire::{MacAddr, ethernet};

/// Questions that are answered before the engine has its turn: connections and control wait no longer than that.
const BATCH: usize = 256;
/// A frame that passes every path, with its headers: longer ones are never written.
const FRAME_BYTES_MAX: usize = 2_048;

/// Answers datagrams in front of `L`.
#[derive(Debug)]
pub struct Front<L> {
    link: L,
    desk: Rc<RefCell<Desk>>,
    turnaround: Turnaround,
    /// The answer that is being written.
    out: Box<[u8]>,
    /// A frame for the engine. It is copied: whoever looked at a borrowed frame cannot both keep it and ask for the next.
    passed: Vec<u8>,
    /// The time of this batch, and the most that a frame may have.
    batch: Option<Batch>,
    began: Instant,
    /// Frames that the engine never saw.
    taken: u64,
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    now_ms: u64,
    unix: u32,
    frame_bytes_max: usize,
}

impl<L: Link> Front<L> {
    /// In front of `link`, for the questions to these addresses.
    #[must_use]
    pub fn new(link: L, serving: &Serving, desk: Rc<RefCell<Desk>>) -> Self {
        let config = Config {
            mac: MacAddr(link.capabilities().mac),
            vlan: None,
            addresses: serving.addresses.iter().copied().take(datagram::ADDRESSES_MAX).collect::<_>(),
            port: serving.port,
        };
        Self {
            link,
            desk,
            turnaround: Turnaround::new(config),
            out: vec![0; FRAME_BYTES_MAX].into(),
            passed: Vec::new(),
            batch: None,
            began: Instant::now(),
            taken: 0,
        }
    }

    fn begin(&mut self) -> Batch {
        // A device that came back may have others.
        let LinkCapabilities { mac, mtu, .. } = self.link.capabilities();
        self.turnaround.set_mac(MacAddr(mac));
        let mtu = usize::from(mtu);
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Batch {
            now_ms: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            // Cookies tell the time modulo 2³² (RFC 9018).
            unix: u32::try_from(unix & u64::from(u32::MAX)).unwrap_or(0),
            frame_bytes_max: (ethernet::HEADER_BYTES + mtu).min(FRAME_BYTES_MAX),
        }
    }

    /// Sends what was staged, and tells what was counted.
    fn end(&mut self) {
        if self.batch.take().is_some() {
            self.link.flush();
            self.link.reclaim();
            self.desk.borrow_mut().counters.datagrams = self.turnaround.counters();
        }
    }

    fn send(&mut self, bytes: usize) {
        let answer = &self.out[..bytes];
        if self.link.stage_bytes(answer).is_err() {
            self.link.flush();
            self.link.reclaim();
            if self.link.stage_bytes(answer).is_err() {
                self.desk.borrow_mut().counters.unsent += 1;
            }
        }
    }
}

impl host::Front for Front<HostLink> {
    fn host_mut(&mut self) -> &mut HostLink {
        &mut self.link
    }

    fn taken(&self) -> u64 {
        self.taken
    }
}

impl<L: Link> Link for Front<L> {
    fn capabilities(&self) -> LinkCapabilities {
        self.link.capabilities()
    }

    fn receive(&mut self) -> Option<Received<'_>> {
        for _ in 0..BATCH {
            let batch = match self.batch {
                Some(batch) => batch,
                None => self.begin(),
            };
            let Some(received) = self.link.receive() else { break };
            self.batch = Some(batch);
            let out = &mut self.out[..batch.frame_bytes_max];
            let desk = &self.desk;
            let verdict =
                self.turnaround.on_frame(received.bytes, received.verified, out, |asked, message, room| {
                    let Batch { now_ms, unix, .. } = batch;
                    let source: IpAddr = asked.source.ip();
                    let request = Request { source, transport: Transport::Udp, now_ms, unix };
                    let response = desk.borrow_mut().respond(&request, message, room)?;
                    Some(Answered { bytes: response.bytes, sum: response.sum })
                });
            match verdict {
                Verdict::NotOurs => {
                    let verified = received.verified;
                    self.passed.clear();
                    self.passed.extend_from_slice(received.bytes);
                    return Some(Received { bytes: &self.passed, verified });
                }
                Verdict::Reply(bytes) => self.send(bytes),
                Verdict::Silent | Verdict::Dropped(_) => {}
            }
            self.taken += 1;
        }
        self.end();
        None
    }

    fn stage(&mut self, packet: &mut Packet) -> Result<(), Full<()>> {
        self.link.stage(packet)
    }

    fn stage_bytes(&mut self, bytes: &[u8]) -> Result<(), Full<()>> {
        self.link.stage_bytes(bytes)
    }

    fn room(&mut self) -> Option<&mut [u8]> {
        self.link.room()
    }

    fn stage_room(&mut self, bytes: usize, offload: Offload) {
        self.link.stage_room(bytes, offload);
    }

    fn slot(&mut self) -> Option<&mut [u8]> {
        self.link.slot()
    }

    fn stage_slot(&mut self, headers: &Headers, payload_bytes: usize, offload: Offload) {
        self.link.stage_slot(headers, payload_bytes, offload);
    }

    fn flush(&mut self) {
        self.link.flush();
    }

    fn reclaim(&mut self) -> usize {
        self.link.reclaim()
    }

    fn in_flight(&self) -> usize {
        self.link.in_flight()
    }

    fn counters(&self) -> LinkCounters {
        self.link.counters()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.link.descriptor()
    }

    fn is_lost(&self) -> bool {
        self.link.is_lost()
    }
}

#[cfg(test)]
mod tests;
