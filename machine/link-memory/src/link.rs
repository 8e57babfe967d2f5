//! One end of the pair.

use core::cell::RefCell;
use core::fmt;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use platform::{
    Full, HEADERS_BYTES_MAX, Headers, Link, LinkCapabilities, LinkCounters, Offload, PARTS_MAX, Packet,
    Parts, Received,
};
use rings::{Reader, RingSize, Writer, queue};

/// An Ethernet header with one VLAN tag: what a frame has beyond the MTU.
const ETHERNET_BYTES_MAX: usize = 18;

/// How much of a packet [`Link::receive`] gathers into contiguous bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// All of it.
    Copy,
    /// Its headers only: for a peer that looks at headers through [`Link::receive`] and must not pay for
    /// payload. The IP length says how long the packet was.
    HeadersOnly,
}

/// What both ends of a pair are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLinkConfig {
    /// The hardware addresses of the first and the second end.
    pub macs: [[u8; 6]; 2],
    /// Largest IP packet on the wire.
    pub mtu: u16,
    /// Largest TCP payload of one superframe; 0 when the link is not to cut.
    pub superframe_bytes_max: u32,
    /// Most parts a packet may have.
    pub parts_max: u8,
    /// The link "computes" TCP checksums: packets arrive with the pseudo-header's sum and are vouched for.
    pub checksum: bool,
    /// What [`Link::receive`] does with parts.
    pub gather: Gather,
    /// How many slots each end has for payload, as a packet socket's TX ring has them; 0: packets keep their parts.
    pub slots: u8,
}

impl Default for MemoryLinkConfig {
    fn default() -> Self {
        Self {
            macs: [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]],
            mtu: 1_500,
            superframe_bytes_max: 65_495,
            parts_max: u8::try_from(PARTS_MAX).expect("a packet has few parts"),
            checksum: true,
            gather: Gather::Copy,
            slots: 0,
        }
    }
}

/// Two ends of a link of `capacity` packets each way (rounded up to a power of two).
///
/// # Panics
/// More than 2³¹ packets, or more parts than [`PARTS_MAX`].
#[must_use]
pub fn pair(capacity: u32, config: MemoryLinkConfig) -> (MemoryLink, MemoryLink) {
    assert!(usize::from(config.parts_max) <= PARTS_MAX, "{} parts", config.parts_max);
    let size = RingSize::at_least(capacity);
    let (first_out, second_in) = queue(size);
    let (second_out, first_in) = queue(size);
    let spare = Spare::default();
    let first = MemoryLink::new(config, capacity, config.macs[0], first_out, first_in, spare.clone());
    (first, MemoryLink::new(config, capacity, config.macs[1], second_out, second_in, spare))
}

/// Buffers of copied packets on their way back to be used again.
type Spare = Rc<RefCell<Vec<Vec<u8>>>>;

/// A packet as the other end staged it.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "boxing the packet would allocate on the data path")]
pub enum Delivery {
    /// From [`Link::stage`]: headers, and payload still in the sender's frames, which it holds until dropped.
    Packet(Packet),
    /// From a link with slots: headers, and payload in the slot, which goes back when dropped.
    Slot {
        /// Ethernet, IP and TCP; or all of a short packet.
        headers: Headers,
        /// The payload.
        payload: SlotBytes,
        /// What is left to the device.
        offload: Offload,
    },
    /// From [`Link::stage_bytes`] or [`MemoryLink::inject`].
    Bytes {
        /// From the Ethernet header on.
        bytes: Vec<u8>,
        /// The transport checksum is vouched for.
        verified: bool,
    },
}

impl Delivery {
    /// The headers of a packet in parts or in a slot; all of any other.
    #[must_use]
    pub fn headers(&self) -> &[u8] {
        match self {
            Self::Packet(packet) => packet.headers.bytes(),
            Self::Slot { headers, .. } => headers.bytes(),
            Self::Bytes { bytes, .. } => bytes,
        }
    }

    /// The payload behind the headers, piece by piece.
    pub fn payload(&self) -> impl Iterator<Item = &[u8]> {
        let (parts, slot): (&[platform::Part], &[u8]) = match self {
            Self::Packet(packet) => (&packet.parts, &[]),
            Self::Slot { payload, .. } => (&[], payload),
            Self::Bytes { .. } => (&[], &[]),
        };
        parts.iter().map(platform::Part::bytes).chain((!slot.is_empty()).then_some(slot))
    }

    /// What was left to the device.
    #[must_use]
    pub fn offload(&self) -> Offload {
        match self {
            Self::Packet(packet) => packet.offload,
            Self::Slot { offload, .. } => *offload,
            Self::Bytes { .. } => Offload::default(),
        }
    }

    /// How long the packet is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Packet(packet) => packet.bytes(),
            Self::Slot { headers, payload, .. } => headers.bytes().len() + payload.len(),
            Self::Bytes { bytes, .. } => bytes.len(),
        }
    }

    /// The transport checksum needs no checking: it was left to the device, or vouched for.
    #[must_use]
    pub fn verified(&self) -> bool {
        match self {
            Self::Packet(packet) => packet.offload.checksum.is_some(),
            Self::Slot { offload, .. } => offload.checksum.is_some(),
            Self::Bytes { verified, .. } => *verified,
        }
    }

    /// Writes all of the packet into `out`, in place of what was there.
    pub fn gather_into(&self, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(self.headers());
        for piece in self.payload() {
            out.extend_from_slice(piece);
        }
    }
}

/// The payload of a packet, in a slot of its sender's.
pub struct SlotBytes {
    /// `None` only while it is dropped.
    memory: Option<Box<[u8]>>,
    len: usize,
    home: SlotHome,
}

/// The free slots of one end, the one that came back last on top.
type SlotHome = Rc<RefCell<Vec<Box<[u8]>>>>;

impl core::ops::Deref for SlotBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.memory.as_deref().map_or(&[], |memory| &memory[..self.len])
    }
}

impl Drop for SlotBytes {
    fn drop(&mut self) {
        self.home.borrow_mut().extend(self.memory.take());
    }
}

impl fmt::Debug for SlotBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotBytes").field("len", &self.len).finish_non_exhaustive()
    }
}

/// One end of a link within a process.
pub struct MemoryLink {
    config: MemoryLinkConfig,
    capacity: u32,
    /// The largest MTU that there ever was: a sender may not have noticed yet that it shrank.
    mtu_max: u16,
    mac: [u8; 6],
    out: Writer<Delivery>,
    incoming: Reader<Delivery>,
    counters: LinkCounters,
    /// Bytes staged since the last flush.
    staged_bytes: u64,
    /// The device is gone.
    lost: bool,
    /// What `receive` lent last, when it is contiguous as it stands.
    current: Option<Delivery>,
    /// What `receive` gathered last.
    scratch: Vec<u8>,
    spare: Spare,
    slots: SlotHome,
    /// The slot that is being filled.
    filling: Option<Box<[u8]>>,
}

impl MemoryLink {
    fn new(
        config: MemoryLinkConfig,
        capacity: u32,
        mac: [u8; 6],
        out: Writer<Delivery>,
        incoming: Reader<Delivery>,
        spare: Spare,
    ) -> Self {
        let slot_bytes = config.superframe_bytes_max.max(u32::from(config.mtu)) as usize + ETHERNET_BYTES_MAX;
        let slots = (0..config.slots).map(|_| vec![0; slot_bytes].into()).collect();
        Self {
            slots: Rc::new(RefCell::new(slots)),
            filling: None,
            config,
            capacity,
            mtu_max: config.mtu,
            mac,
            out,
            incoming,
            counters: LinkCounters::default(),
            staged_bytes: 0,
            lost: false,
            current: None,
            scratch: Vec::new(),
            spare,
        }
    }

    /// The next packet that has arrived, as the other end staged it: nothing is copied. Its frames go back to
    /// the sender's pool when the delivery is dropped.
    #[must_use]
    pub fn receive_packet(&mut self) -> Option<Delivery> {
        self.recycle();
        let delivery = self.incoming.take()?;
        self.counters.received += 1;
        self.counters.received_bytes += delivery.bytes() as u64;
        Some(delivery)
    }

    /// Packets that have arrived and were not received yet.
    pub fn waiting(&mut self) -> usize {
        self.incoming.available() as usize
    }

    /// Queues bytes of any length, such as a device that merges segments would deliver.
    ///
    /// # Errors
    /// The queue is full.
    pub fn inject(&mut self, bytes: &[u8], verified: bool) -> Result<(), Full<()>> {
        if !self.out.has_room() {
            return Err(Full(()));
        }
        let mut buffer = self.spare.borrow_mut().pop().unwrap_or_default();
        buffer.extend_from_slice(bytes);
        self.staged_bytes += bytes.len() as u64;
        let staged = self.out.stage(Delivery::Bytes { bytes: buffer, verified });
        staged.expect("there was room");
        Ok(())
    }

    /// Changes the MTU of this end, as an operator may. Packets that fit the old one only are dropped and
    /// counted.
    pub fn set_mtu(&mut self, mtu: u16) {
        self.config.mtu = mtu;
        self.mtu_max = self.mtu_max.max(mtu);
    }

    /// Two ends like this one and its other end, with nothing on them: a device that takes this one's place.
    #[must_use]
    pub fn anew(&self) -> (Self, Self) {
        let (mut first, second) = pair(self.capacity, self.config);
        first.mtu_max = self.mtu_max;
        if first.mac == self.mac { (first, second) } else { (second, first) }
    }

    /// The device of this end vanishes, as one that an operator deletes. What is on its way to the other end may still be
    /// received there.
    pub fn lose(&mut self) {
        self.lost = true;
    }

    /// Lets go of what `receive` lent, and keeps its buffer for the next copy.
    fn recycle(&mut self) {
        if let Some(Delivery::Bytes { mut bytes, .. }) = self.current.take() {
            bytes.clear();
            self.spare.borrow_mut().push(bytes);
        }
    }

    /// Whether the packet goes nowhere: the link is lost, or the MTU has shrunk.
    fn drops(&self, headers: usize, bytes: usize, offload: Offload) -> bool {
        self.lost
            || bytes_on_the_wire(headers, bytes, offload) > usize::from(self.config.mtu) + ETHERNET_BYTES_MAX
    }

    /// # Panics
    /// A packet that the capabilities forbid: a defect of whoever staged it, not of the wire.
    fn check(&self, headers: usize, payload: usize, offload: Offload) {
        assert!(offload.checksum.is_none() || self.config.checksum, "this link computes no checksums");
        if let Some(segmentation) = offload.segmentation {
            assert!(segmentation.mss > 0, "segments without payload");
            assert!(offload.checksum.is_some(), "a superframe whose checksum is not left to the link");
            assert!(
                payload as u64 <= u64::from(self.config.superframe_bytes_max),
                "a superframe of {payload} bytes, above {}",
                self.config.superframe_bytes_max
            );
        }
        let on_the_wire = bytes_on_the_wire(headers, headers + payload, offload);
        assert!(
            on_the_wire <= usize::from(self.mtu_max) + ETHERNET_BYTES_MAX,
            "a packet of {on_the_wire} bytes, on an MTU that was never above {}",
            self.mtu_max
        );
    }
}

/// How long the packet is, or each of the segments that it is to be cut into.
fn bytes_on_the_wire(headers: usize, bytes: usize, offload: Offload) -> usize {
    offload.segmentation.map_or(bytes, |cut| bytes.min(headers + usize::from(cut.mss)))
}

impl Link for MemoryLink {
    fn capabilities(&self) -> LinkCapabilities {
        LinkCapabilities {
            mac: self.mac,
            mtu: self.config.mtu,
            superframe_bytes_max: self.config.superframe_bytes_max,
            parts_max: self.config.parts_max,
            checksum: self.config.checksum,
            slots: self.config.slots > 0,
        }
    }

    fn receive(&mut self) -> Option<Received<'_>> {
        if self.lost {
            return None;
        }
        let delivery = self.receive_packet()?;
        let verified = delivery.verified();
        if delivery.payload().next().is_some() && self.config.gather == Gather::Copy {
            delivery.gather_into(&mut self.scratch);
            return Some(Received { bytes: &self.scratch, verified });
        }
        let delivery = match delivery {
            // The frames go back now, not when the next packet is asked for.
            Delivery::Packet(packet) => Delivery::Packet(Packet { parts: Parts::new(), ..packet }),
            Delivery::Slot { headers, payload: _, offload } => {
                Delivery::Packet(Packet { headers, parts: Parts::new(), offload })
            }
            bytes @ Delivery::Bytes { .. } => bytes,
        };
        Some(Received { bytes: self.current.insert(delivery).headers(), verified })
    }

    fn slot(&mut self) -> Option<&mut [u8]> {
        if !self.out.has_room() {
            return None;
        }
        if self.filling.is_none() {
            self.filling = self.slots.borrow_mut().pop();
        }
        self.filling.as_deref_mut()
    }

    fn stage_slot(&mut self, headers: &Headers, payload_bytes: usize, offload: Offload) {
        let memory = self.filling.take().expect("a slot was given");
        assert!(payload_bytes <= memory.len(), "{payload_bytes} bytes in a slot of {}", memory.len());
        let payload = SlotBytes { memory: Some(memory), len: payload_bytes, home: Rc::clone(&self.slots) };
        let headers = *headers;
        self.check(headers.bytes().len(), payload_bytes, offload);
        let bytes = headers.bytes().len() + payload_bytes;
        if self.drops(headers.bytes().len(), bytes, offload) {
            self.counters.send_errors += 1;
            return;
        }
        self.staged_bytes += bytes as u64;
        let staged = self.out.stage(Delivery::Slot { headers, payload, offload });
        staged.expect("there was room when the slot was given");
    }

    fn stage(&mut self, packet: Packet) -> Result<(), Full<Packet>> {
        let headers = packet.headers.bytes().len();
        assert!(packet.parts.len() <= usize::from(self.config.parts_max), "{} parts", packet.parts.len());
        self.check(headers, packet.bytes() - headers, packet.offload);
        if self.drops(headers, packet.bytes(), packet.offload) {
            self.counters.send_errors += 1;
            return Ok(());
        }
        if self.config.slots > 0 {
            let Some(mut room) = self.slot() else { return Err(Full(packet)) };
            for part in &packet.parts {
                let (here, rest) = room.split_at_mut(part.len as usize);
                here.copy_from_slice(part.bytes());
                room = rest;
            }
            self.stage_slot(&packet.headers, packet.bytes() - headers, packet.offload);
            return Ok(());
        }
        let bytes = packet.bytes() as u64;
        match self.out.stage(Delivery::Packet(packet)) {
            Ok(()) => {
                self.staged_bytes += bytes;
                Ok(())
            }
            Err(Delivery::Packet(packet)) => Err(Full(packet)),
            Err(Delivery::Bytes { .. } | Delivery::Slot { .. }) => {
                unreachable!("what comes back is what was offered")
            }
        }
    }

    fn stage_bytes(&mut self, bytes: &[u8]) -> Result<(), Full<()>> {
        if bytes.len() > usize::from(self.config.mtu) + ETHERNET_BYTES_MAX {
            return Err(Full(()));
        }
        if bytes.len() > HEADERS_BYTES_MAX {
            if self.config.slots > 0 {
                let room = self.slot().ok_or(Full(()))?;
                room[..bytes.len()].copy_from_slice(bytes);
                self.stage_slot(&Headers::new(), bytes.len(), Offload::default());
                return Ok(());
            }
            return self.inject(bytes, false);
        }
        let mut headers = Headers::new();
        headers.room_mut()[..bytes.len()].copy_from_slice(bytes);
        headers.set_len(bytes.len());
        self.stage(Packet { headers, parts: Parts::new(), offload: Offload::default() }).map_err(|_| Full(()))
    }

    fn flush(&mut self) {
        self.counters.sent += u64::from(self.out.publish());
        self.counters.sent_bytes += core::mem::take(&mut self.staged_bytes);
    }

    fn reclaim(&mut self) -> usize {
        self.out.reclaim() as usize
    }

    fn in_flight(&self) -> usize {
        self.out.in_flight() as usize
    }

    fn counters(&self) -> LinkCounters {
        self.counters
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn is_lost(&self) -> bool {
        self.lost
    }
}

impl fmt::Debug for MemoryLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLink")
            .field("mac", &self.mac)
            .field("in_flight", &self.in_flight())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
