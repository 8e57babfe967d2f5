//! One end of the pair.

use core::cell::RefCell;
use core::fmt;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use platform::{
    Full, Headers, Link, LinkCapabilities, LinkCounters, Offload, PARTS_MAX, Packet, Part, Parts, Received,
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

/// Places of packets on their way back to be used again, the one that came back last on top: it is still in the cache.
type Spare = Rc<RefCell<Vec<Box<Place>>>>;

/// A packet in a queue, and the memory it is built in. The queue moves it by its address.
struct Place {
    /// Headers; or all of a short packet. Memory for what the MTU allows at least, of which `head_bytes` are used.
    head: Vec<u8>,
    head_bytes: usize,
    /// Payload still in the sender's frames, which are held meanwhile.
    parts: Parts,
    /// Payload in a slot.
    slot: Option<SlotBytes>,
    /// What is left to the device.
    offload: Offload,
    /// The transport checksum is vouched for.
    verified: bool,
    /// How long the packet is.
    bytes: usize,
}

impl Place {
    fn new(room: usize) -> Self {
        Self {
            head: vec![0; room],
            head_bytes: 0,
            parts: Parts::new(),
            slot: None,
            offload: Offload::default(),
            verified: false,
            bytes: 0,
        }
    }

    fn head(&self) -> &[u8] {
        &self.head[..self.head_bytes]
    }

    fn set_head(&mut self, bytes: &[u8]) {
        if self.head.len() < bytes.len() {
            self.head.resize(bytes.len(), 0);
        }
        self.head[..bytes.len()].copy_from_slice(bytes);
        self.head_bytes = bytes.len();
    }

    /// Lets go of the payload.
    fn clear(&mut self) {
        if !self.parts.is_empty() {
            self.parts.clear();
        }
        if self.slot.is_some() {
            self.slot = None;
        }
    }
}

/// A packet as the other end staged it. Its frames, its slot and its place go back when it is dropped.
pub struct Delivery {
    /// `None` only while it is dropped.
    place: Option<Box<Place>>,
    home: Spare,
}

impl Delivery {
    fn place(&self) -> &Place {
        self.place.as_deref().expect("a delivery has its place until it is dropped")
    }

    /// The headers of a packet with payload behind them; all of any other.
    #[must_use]
    pub fn headers(&self) -> &[u8] {
        self.place().head()
    }

    /// Payload that is still in the sender's frames.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.place().parts
    }

    /// The payload behind the headers, piece by piece.
    pub fn payload(&self) -> impl Iterator<Item = &[u8]> {
        let Place { parts, slot, .. } = self.place();
        parts.iter().map(Part::bytes).chain(slot.as_deref().filter(|slot| !slot.is_empty()))
    }

    /// What was left to the device.
    #[must_use]
    pub fn offload(&self) -> Offload {
        self.place().offload
    }

    /// How long the packet is.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.place().bytes
    }

    /// The transport checksum needs no checking: it was left to the device, or vouched for.
    #[must_use]
    pub fn verified(&self) -> bool {
        self.place().verified
    }

    /// Writes all of the packet into `out`, in place of what was there.
    pub fn gather_into(&self, out: &mut Vec<u8>) {
        gather(self.place(), out);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(mut place) = self.place.take() {
            place.clear();
            self.home.borrow_mut().push(place);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("bytes", &self.bytes())
            .field("headers", &self.headers().len())
            .field("offload", &self.offload())
            .finish_non_exhaustive()
    }
}

fn gather(place: &Place, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(place.head());
    for part in &place.parts {
        out.extend_from_slice(part.bytes());
    }
    out.extend_from_slice(place.slot.as_deref().unwrap_or_default());
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
    out: Writer<Box<Place>>,
    incoming: Reader<Box<Place>>,
    counters: LinkCounters,
    /// Bytes staged since the last flush.
    staged_bytes: u64,
    /// The device is gone.
    lost: bool,
    /// What `receive` lent last, when it is contiguous as it stands.
    current: Option<Box<Place>>,
    /// What `receive` gathered last.
    scratch: Vec<u8>,
    spare: Spare,
    /// The place that the next packet is built in.
    building: Option<Box<Place>>,
    slots: SlotHome,
    /// The slot that is being filled.
    filling: Option<Box<[u8]>>,
}

impl MemoryLink {
    fn new(
        config: MemoryLinkConfig,
        capacity: u32,
        mac: [u8; 6],
        out: Writer<Box<Place>>,
        incoming: Reader<Box<Place>>,
        spare: Spare,
    ) -> Self {
        let slot_bytes = config.superframe_bytes_max.max(u32::from(config.mtu)) as usize + ETHERNET_BYTES_MAX;
        let slots = (0..config.slots).map(|_| vec![0; slot_bytes].into()).collect();
        Self {
            slots: Rc::new(RefCell::new(slots)),
            filling: None,
            building: None,
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
        let place = self.take()?;
        Some(Delivery { place: Some(place), home: Rc::clone(&self.spare) })
    }

    #[inline]
    fn take(&mut self) -> Option<Box<Place>> {
        self.recycle();
        let place = self.incoming.take()?;
        self.counters.received += 1;
        self.counters.received_bytes += place.bytes as u64;
        Some(place)
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
        let mut place = self.take_place().ok_or(Full(()))?;
        place.set_head(bytes);
        place.verified = verified;
        self.send(place, bytes.len(), Offload::default());
        Ok(())
    }

    /// A place for the next packet, without payload; `None` when the queue is full.
    #[inline]
    fn take_place(&mut self) -> Option<Box<Place>> {
        if !self.out.has_room() {
            return None;
        }
        let place = self.building.take().or_else(|| self.spare.borrow_mut().pop());
        let room = usize::from(self.config.mtu) + ETHERNET_BYTES_MAX;
        let mut place = place.unwrap_or_else(|| Box::new(Place::new(room)));
        if place.head.len() < room {
            place.head.resize(room, 0);
        }
        Some(place)
    }

    /// Queues a packet that is built, and for which the queue has room.
    fn send(&mut self, mut place: Box<Place>, bytes: usize, offload: Offload) {
        place.bytes = bytes;
        place.offload = offload;
        self.staged_bytes += bytes as u64;
        let staged = self.out.stage(place);
        debug_assert!(staged.is_ok(), "there was room");
    }

    /// The slot that was given, with so much payload.
    fn take_slot(&mut self, payload_bytes: usize) -> SlotBytes {
        let memory = self.filling.take().expect("a slot was given");
        assert!(payload_bytes <= memory.len(), "{payload_bytes} bytes in a slot of {}", memory.len());
        SlotBytes { memory: Some(memory), len: payload_bytes, home: Rc::clone(&self.slots) }
    }

    /// Queues headers and the payload in a slot; there was room when the slot was given.
    fn send_slot(&mut self, headers: &[u8], payload: SlotBytes, offload: Offload) {
        self.check(headers.len(), payload.len(), offload);
        let bytes = headers.len() + payload.len();
        if self.drops(headers.len(), bytes, offload) {
            self.counters.send_errors += 1;
            return;
        }
        let mut place = self.take_place().expect("there was room when the slot was given");
        place.set_head(headers);
        place.slot = Some(payload);
        place.verified = offload.checksum.is_some();
        self.send(place, bytes, offload);
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

    /// Lets go of what `receive` lent, and keeps its place for the next packet.
    #[inline]
    fn recycle(&mut self) {
        if let Some(mut place) = self.current.take() {
            place.clear();
            self.spare.borrow_mut().push(place);
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

/// Headers that are said to lie before the first part do, and nothing is left to the device.
fn check_place(packet: &Packet) {
    if packet.headers.are_before_parts() {
        let (headers, part) =
            (packet.headers.bytes(), packet.parts.first().expect("a part behind the headers"));
        let start = (part.start as usize).checked_sub(headers.len()).expect("room before the part");
        assert!(part.frame.bytes()[start..].starts_with(headers), "other headers lie before the part");
        assert_eq!(packet.offload, Offload::default(), "a packet that lies complete");
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

    #[inline]
    fn receive(&mut self) -> Option<Received<'_>> {
        if self.lost {
            return None;
        }
        let mut place = self.take()?;
        let verified = place.verified;
        if place.head_bytes < place.bytes {
            if self.config.gather == Gather::Copy {
                gather(&place, &mut self.scratch);
            }
            // The frames go back now, not when the next packet is asked for.
            place.clear();
            if self.config.gather == Gather::Copy {
                self.current = Some(place);
                return Some(Received { bytes: &self.scratch, verified });
            }
        }
        Some(Received { bytes: self.current.insert(place).head(), verified })
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
        let payload = self.take_slot(payload_bytes);
        self.send_slot(headers.bytes(), payload, offload);
    }

    fn stage(&mut self, packet: &mut Packet) -> Result<(), Full<()>> {
        check_place(packet);
        let Packet { headers, parts, offload } = packet;
        assert!(parts.len() <= usize::from(self.config.parts_max), "{} parts", parts.len());
        let head_bytes = headers.bytes().len();
        let payload = parts.iter().map(|part| part.len as usize).sum::<usize>();
        self.check(head_bytes, payload, *offload);
        if self.drops(head_bytes, head_bytes + payload, *offload) {
            self.counters.send_errors += 1;
            parts.clear();
            return Ok(());
        }
        if self.config.slots > 0 {
            let mut room = self.slot().ok_or(Full(()))?;
            for part in parts.drain(..) {
                let (here, rest) = room.split_at_mut(part.len as usize);
                here.copy_from_slice(part.bytes());
                room = rest;
            }
            self.stage_slot(headers, payload, *offload);
            return Ok(());
        }
        let mut place = self.take_place().ok_or(Full(()))?;
        place.set_head(headers.bytes());
        match parts.len() {
            0 => {}
            1 => place.parts.extend(parts.pop()),
            _ => place.parts.extend(parts.drain(..)),
        }
        place.verified = offload.checksum.is_some();
        self.send(place, head_bytes + payload, *offload);
        Ok(())
    }

    fn stage_bytes(&mut self, bytes: &[u8]) -> Result<(), Full<()>> {
        if bytes.len() > usize::from(self.config.mtu) + ETHERNET_BYTES_MAX {
            return Err(Full(()));
        }
        self.room().ok_or(Full(()))?[..bytes.len()].copy_from_slice(bytes);
        self.stage_room(bytes.len(), Offload::default());
        Ok(())
    }

    /// With slots a short packet takes one as well, as in a ring.
    fn room(&mut self) -> Option<&mut [u8]> {
        if self.config.slots > 0 {
            self.slot()?;
        }
        if self.building.is_none() || !self.out.has_room() {
            self.building = Some(self.take_place()?);
        }
        self.building.as_deref_mut().map(|place| &mut place.head[..])
    }

    fn stage_room(&mut self, bytes: usize, offload: Offload) {
        let mut place = self.building.take().expect("room was given");
        assert!(bytes <= place.head.len(), "{bytes} bytes in room for {}", place.head.len());
        self.check(bytes, 0, offload);
        if self.drops(bytes, bytes, offload) {
            self.counters.send_errors += 1;
            self.building = Some(place);
            return;
        }
        if self.config.slots > 0 {
            place.slot = Some(self.take_slot(0));
        }
        place.head_bytes = bytes;
        place.verified = offload.checksum.is_some();
        self.send(place, bytes, offload);
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
