//! The link of a worker that answers datagrams itself: in the receive batch, before the engine sees anything.
//!
//! ```text
//!   link ─▶ Front::receive ─▶ questions, up to 32: looked up together, answered, staged; one doorbell for the batch
//!                        └──▶ ARP, NDP, ICMP, TCP: the engine's
//! ```

use crate::desk::{Desk, Serving};
use crate::respond::{Glance, Request, SLACK_BYTES, TOGETHER, Transport};
use arrayvec::ArrayVec;
use core::cell::RefCell;
use datagram::{Accepted, Answered, Config, Turnaround, Verdict};
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

/// Questions that are longer wait for nobody: they are answered at once.
const WAITING_BYTES: usize = 512;

/// Answers datagrams in front of `L`.
#[derive(Debug)]
pub struct Front<L> {
    link: L,
    desk: Rc<RefCell<Desk>>,
    turnaround: Turnaround,
    waiting: Waiting,
    /// The answer that is being written.
    out: Box<[u8]>,
    /// The packet of an answer that lies ready in a frame.
    packet: Packet,
    /// A frame for the engine. It is copied: whoever looked at a borrowed frame cannot both keep it and ask for the next.
    passed: Vec<u8>,
    /// The time of this batch, and the most that a frame may have.
    batch: Option<Batch>,
    began: Instant,
    /// Frames that the engine never saw.
    taken: u64,
}

/// Questions that were accepted and are to be looked up together.
#[derive(Debug)]
struct Waiting {
    accepted: ArrayVec<(Accepted, usize), TOGETHER>,
    glances: ArrayVec<Option<Glance>, TOGETHER>,
    /// Their messages, `ROOM_BYTES` apart.
    messages: Box<[u8]>,
}

/// A waiting message, and what may be read behind it.
const ROOM_BYTES: usize = WAITING_BYTES + SLACK_BYTES;

/// What became of what the link had.
enum Gathered {
    /// As many questions wait as are looked up together.
    Full,
    /// There is nothing more.
    All,
    /// A frame is the engine's: it is in `passed`. Whether its checksum is vouched for.
    Passed(bool),
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    now_ms: u64,
    unix: u32,
    frame_bytes_max: usize,
}

impl Batch {
    const fn request(&self, accepted: &Accepted) -> Request {
        let Self { now_ms, unix, .. } = *self;
        Request { source: accepted.asked.source.ip(), transport: Transport::Udp, now_ms, unix }
    }
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
            waiting: Waiting {
                accepted: ArrayVec::new(),
                glances: ArrayVec::new(),
                messages: vec![0; TOGETHER * ROOM_BYTES].into(),
            },
            out: vec![0; FRAME_BYTES_MAX].into(),
            packet: Packet::new(),
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

    /// Takes questions from the link until enough wait.
    fn gather(&mut self, batch: &Batch) -> Gathered {
        let Self { link, desk, turnaround, waiting, out, passed, taken, .. } = self;
        let mut desk = desk.borrow_mut();
        while !waiting.accepted.is_full() {
            let Some(received) = link.receive() else { return Gathered::All };
            let (accepted, message) = match turnaround.accept(received.bytes, received.verified) {
                Ok(question) => question,
                Err(Verdict::NotOurs) => {
                    passed.clear();
                    passed.extend_from_slice(received.bytes);
                    return Gathered::Passed(received.verified);
                }
                Err(_) => {
                    *taken += 1;
                    continue;
                }
            };
            *taken += 1;
            if message.len() > WAITING_BYTES {
                let request = batch.request(&accepted);
                let out = &mut out[..batch.frame_bytes_max];
                let room = &mut out[accepted.headers_bytes()..];
                if let Some(response) = desk.respond(&request, message, room) {
                    let answered = Answered { bytes: response.bytes, sum: response.sum };
                    let bytes = turnaround.reply(&accepted, answered, out);
                    send(link, &out[..bytes], &mut desk);
                }
                continue;
            }
            let bytes = message.len();
            let room = &mut waiting.messages[waiting.accepted.len() * ROOM_BYTES..][..ROOM_BYTES];
            room[..bytes].copy_from_slice(message);
            waiting.glances.push(desk.glance(room, bytes));
            waiting.accepted.push((accepted, bytes));
        }
        Gathered::Full
    }

    /// Answers the questions that wait, each where its packet leaves from.
    fn answer(&mut self, batch: &Batch) {
        let Self { link, desk, turnaround, waiting, packet, .. } = self;
        if waiting.accepted.is_empty() {
            return;
        }
        let Waiting { accepted, glances, messages } = waiting;
        let mut desk = desk.borrow_mut();
        desk.look_up(glances);
        let questions = accepted.iter().zip(&*glances).zip(messages.chunks_exact(ROOM_BYTES));
        for (((accepted, bytes), glance), message) in questions {
            let Some(room) = room(link) else {
                desk.counters.udp += 1;
                desk.counters.unsent += 1;
                continue;
            };
            let frame_bytes = room.len().min(batch.frame_bytes_max);
            let frame = &mut room[..frame_bytes];
            let answer = &mut frame[accepted.headers_bytes()..];
            let request = batch.request(accepted);
            let message = &message[..*bytes];
            let Some(response) = desk.respond_glanced(&request, glance.as_ref(), message, answer) else {
                continue;
            };
            let answered = Answered { bytes: response.bytes, sum: response.sum };
            let headers_bytes = accepted.headers_bytes();
            let replica = desk.close_replica(headers_bytes, |out| {
                turnaround.reply(accepted, answered, out);
                packet.headers.set(&out[..headers_bytes]);
                packet.headers.set_before_parts();
            });
            match replica {
                Some(part) => {
                    packet.parts.push(part);
                    stage(link, packet, &mut desk);
                }
                None => {
                    let bytes = turnaround.reply(accepted, answered, frame);
                    link.stage_room(bytes, Offload::default());
                }
            }
        }
        accepted.clear();
        glances.clear();
    }
}

/// Room for a packet, unless the queue is full and stays so.
fn room<L: Link>(link: &mut L) -> Option<&mut [u8]> {
    if link.room().is_none() {
        link.flush();
        link.reclaim();
    }
    link.room()
}

fn stage<L: Link>(link: &mut L, packet: &mut Packet, desk: &mut Desk) {
    if link.stage(packet).is_err() {
        link.flush();
        link.reclaim();
        if link.stage(packet).is_err() {
            packet.parts.clear();
            desk.counters.unsent += 1;
        }
    }
}

fn send<L: Link>(link: &mut L, answer: &[u8], desk: &mut Desk) {
    if link.stage_bytes(answer).is_err() {
        link.flush();
        link.reclaim();
        if link.stage_bytes(answer).is_err() {
            desk.counters.unsent += 1;
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
        for _ in 0..BATCH / TOGETHER {
            let batch = match self.batch {
                Some(batch) => batch,
                None => self.begin(),
            };
            let before = self.taken;
            let gathered = self.gather(&batch);
            self.answer(&batch);
            if self.taken > before {
                self.batch = Some(batch);
            }
            match gathered {
                Gathered::Full => {}
                Gathered::All => break,
                Gathered::Passed(verified) => return Some(Received { bytes: &self.passed, verified }),
            }
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
