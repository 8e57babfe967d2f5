//! Both halves as a [`Link`].

use core::cell::Cell;
use core::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use dma::Pool;
use netlink::Generic;
use platform::{
    Full, HEADERS_BYTES_MAX, Headers, Link, LinkCapabilities, LinkCounters, Offload, PARTS_MAX, Packet,
    ROOM_BYTES, Received,
};
use vnet::VnetHeader;
use xdp::{CopyMode, Socket};

use crate::error::PacketError;
use crate::rx::RxRing;
use crate::rx_xdp::XdpReceiver;
use crate::socket::{Interface, refused, socket};
use crate::sys;
use crate::sys::ring::{RxFrames, Shape, TxSlots};
use crate::tx::{RingCounters, Sender, TxRing};

/// An Ethernet header with one VLAN tag: what a frame has beyond the MTU.
const ETHERNET_BYTES_MAX: usize = 18;
/// A slot takes one superframe, and is a block of its own: 16 pages, one less than a packet may have fragments.
const SLOT_BYTES: u32 = Shape::BLOCK_BYTES;
/// A received packet of Ethernet's size, and what the kernel says of it.
const RECEIVE_FRAME_BYTES: u32 = 2 << 10;

/// How large the rings are. Fixed when they are made, which is when privileges are still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings {
    /// Slots of 64 KiB to send from: a power of two. What is sealed into them stays in the cache if they are few
    /// (docs/design/links.md has the measurement).
    pub slots: u16,
    /// Frames of 2 KiB to receive into: a power of two, at least 32.
    pub frames: u16,
}

impl Default for Rings {
    fn default() -> Self {
        Self { slots: 16, frames: 2_048 }
    }
}

/// What a queue is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketConfig {
    /// Largest TCP payload of one superframe; 0 when packets are to be cut before they come here. At most what a slot
    /// takes.
    pub superframe_bytes_max: u32,
    /// Most parts a packet may have.
    pub parts_max: u8,
    /// TCP checksums are left to the device.
    pub checksum: bool,
    /// Slots are offered to be sealed into; else packets come in parts and are copied into slots.
    pub slots: bool,
    /// Chunks of the pool to receive into through AF_XDP; without it none are needed.
    pub receive_chunks: u32,
    /// Who moves the bytes that come through AF_XDP.
    pub copy_mode: CopyMode,
}

impl Default for PacketConfig {
    fn default() -> Self {
        Self {
            superframe_bytes_max: 65_344,
            parts_max: u8::try_from(PARTS_MAX).expect("a packet has few parts"),
            checksum: true,
            slots: true,
            receive_chunks: 1_024,
            copy_mode: CopyMode::Best,
        }
    }
}

/// The sockets of one worker, with their rings, on their way to the thread that will use them.
#[derive(Debug)]
pub struct PacketQueue {
    sender: OwnedFd,
    receiver: Receiver,
    rings: Rings,
    mac: [u8; 6],
    mtu: u16,
}

/// What a queue will receive with.
#[derive(Debug)]
enum Receiver {
    Ring(OwnedFd),
    Xdp { fd: OwnedFd, queue: u32 },
}

/// Opens `queues` queues with rings of the default size on an interface that is up. Flows are spread over them by a hash
/// that is the same both ways.
///
/// # Errors
/// There is no such interface, it is down, or we may not.
pub fn open(interface: &str, queues: u16) -> Result<Vec<PacketQueue>, PacketError> {
    open_with(interface, queues, Rings::default())
}

/// The same with rings of another size.
///
/// # Errors
/// As [`open`].
///
/// # Panics
/// Sizes that are no powers of two.
pub fn open_with(interface: &str, queues: u16, rings: Rings) -> Result<Vec<PacketQueue>, PacketError> {
    open_as(interface, queues, rings, None)
}

/// The same with a hardware address that we had before, when the interface comes back with another one of its own.
///
/// # Errors
/// As [`open`].
///
/// # Panics
/// As [`open_with`].
pub fn open_as(
    interface: &str,
    queues: u16,
    rings: Rings,
    mac: Option<[u8; 6]>,
) -> Result<Vec<PacketQueue>, PacketError> {
    let interface = Interface::find(interface)?;
    let mac = mac.unwrap_or_else(|| interface.own_mac());
    let mut group = None;
    let mut opened = Vec::new();
    for _ in 0..queues {
        let sender = sender(&interface, rings)?;
        let receiver = socket()?;
        sys::rx_ring(receiver.as_fd(), frames(rings)).map_err(refused("make a ring to receive into"))?;
        sys::only_for(receiver.as_fd(), mac)
            .map_err(refused("pass over packets for other hardware addresses"))?;
        interface.listen(receiver.as_fd())?;
        if queues > 1 {
            let joined = sys::join(receiver.as_fd(), group);
            group = Some(joined.map_err(refused("spread flows over sockets"))?);
        }
        let receiver = Receiver::Ring(receiver);
        opened.push(PacketQueue { sender, receiver, rings, mac, mtu: interface.mtu });
    }
    Ok(opened)
}

/// Opens a queue for each of the interface's first `queues`, which receives through AF_XDP: nothing before its
/// [descriptor](Link::descriptor) stands in a steering program's map. Its hardware address is the interface's own.
///
/// # Errors
/// There is no such interface, it is down, or we may not.
///
/// # Panics
/// As [`open_with`].
pub fn open_through_xdp(interface: &str, queues: u16, rings: Rings) -> Result<Vec<PacketQueue>, PacketError> {
    let interface = Interface::find(interface)?;
    let mut opened = Vec::new();
    for queue in 0..u32::from(queues) {
        let sender = sender(&interface, rings)?;
        let receiver = Receiver::Xdp { fd: Socket::create()?, queue };
        opened.push(PacketQueue { sender, receiver, rings, mac: interface.mac, mtu: interface.mtu });
    }
    Ok(opened)
}

fn sender(interface: &Interface, rings: Rings) -> Result<OwnedFd, PacketError> {
    let sender = socket()?;
    // Past the queueing discipline nobody cuts or sums for a device that cannot.
    sys::tx_ring(sender.as_fd(), slots(rings), interface.offloads)
        .map_err(refused("make a ring to send from"))?;
    sys::bind_to_send(sender.as_fd(), interface.index)
        .map_err(refused("bind a packet socket to the interface"))?;
    Ok(sender)
}

fn slots(rings: Rings) -> Shape {
    Shape { count: u32::from(rings.slots), frame_bytes: SLOT_BYTES }
}

fn frames(rings: Rings) -> Shape {
    Shape { count: u32::from(rings.frames), frame_bytes: RECEIVE_FRAME_BYTES }
}

impl PacketQueue {
    /// Our own hardware address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The interface's MTU when the sockets were opened.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// The two sockets, the one that sends first: for [`PacketLink::reopen`], in another process perhaps.
    #[must_use]
    pub fn into_descriptors(self) -> [OwnedFd; 2] {
        let (Receiver::Ring(receiver) | Receiver::Xdp { fd: receiver, .. }) = self.receiver;
        [self.sender, receiver]
    }

    /// The queue receives through AF_XDP: its pool needs [`PacketConfig::receive_chunks`] chunks.
    #[must_use]
    pub fn is_through_xdp(&self) -> bool {
        matches!(self.receiver, Receiver::Xdp { .. })
    }

    /// Opens the queue in the calling thread, which keeps it. Only a queue that receives through AF_XDP uses the pool.
    ///
    /// # Errors
    /// The kernel maps no rings, or gives no AF_XDP socket.
    ///
    /// # Panics
    /// Superframes that no slot takes, or more parts than a packet can have.
    pub fn open(self, pool: &Pool, config: PacketConfig) -> Result<PacketLink, PacketError> {
        self.open_with(Some(pool), Generic::open().ok(), config)
    }

    fn open_with(
        self,
        pool: Option<&Pool>,
        generic: Option<Generic>,
        config: PacketConfig,
    ) -> Result<PacketLink, PacketError> {
        assert!(usize::from(config.parts_max) <= PARTS_MAX, "{} parts", config.parts_max);
        let Self { sender, receiver, rings, mac, mtu } = self;
        let map_refused = refused("map a packet socket's ring");
        let tx = TxSlots::map(sender.as_fd(), slots(rings)).map_err(&map_refused)?;
        assert!(
            config.superframe_bytes_max as usize <= tx.payload_bytes_max(),
            "superframes of {} bytes in slots of {}",
            config.superframe_bytes_max,
            tx.payload_bytes_max()
        );
        let mtu = mtu.min(u16::try_from(tx.payload_bytes_max()).unwrap_or(u16::MAX));
        let rx = match (receiver, pool) {
            (Receiver::Ring(fd), _) => {
                let frames = RxFrames::map(fd.as_fd(), frames(rings)).map_err(&map_refused)?;
                Receiving::Ring(RxRing::new(frames, fd))
            }
            (Receiver::Xdp { fd, queue }, Some(pool)) => {
                let interface = sys::interface_of(sender.as_fd()).unwrap_or(0);
                let bytes = u32::from(mtu) + u32::try_from(ETHERNET_BYTES_MAX).expect("small");
                let how = (config.receive_chunks, config.copy_mode, bytes);
                Receiving::Xdp(XdpReceiver::open(fd, (interface, queue), pool, how)?)
            }
            (Receiver::Xdp { .. }, None) => unreachable!("whoever receives through AF_XDP has a pool"),
        };
        Ok(PacketLink {
            tx: TxRing::new(tx, Sender::new(sender, generic)),
            rx,
            lost: Cell::new(false),
            config,
            rings,
            mac,
            mtu,
            whole: vec![0; ROOM_BYTES].into(),
            counters: LinkCounters::default(),
        })
    }
}

#[expect(clippy::large_enum_variant, reason = "one of either, never moved")]
enum Receiving {
    Ring(RxRing),
    Xdp(XdpReceiver),
    /// Through AF_XDP, between two interfaces.
    Nothing {
        queue: u32,
        pool: Pool,
    },
}

/// What a link got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketFacts {
    /// Packets leave past the queueing discipline, and the device cuts and sums. Else the kernel does, in software.
    pub offloaded: bool,
    /// Packets are received through AF_XDP; else the kernel copies them into a ring.
    pub through_xdp: bool,
    /// And there the NIC writes to our memory.
    pub zero_copy: bool,
}

impl fmt::Display for PacketFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offloaded, through_xdp, zero_copy } = *self;
        f.write_str("through a ring that the kernel reads payload from, ")?;
        f.write_str(if offloaded { "cut by the device" } else { "cut in software" })?;
        f.write_str(match (through_xdp, zero_copy) {
            (false, _) => ", received by copies into a ring",
            (true, false) => ", received by copies through AF_XDP",
            (true, true) => ", received without a copy through AF_XDP",
        })
    }
}

/// One queue, in use.
pub struct PacketLink {
    tx: TxRing<Sender>,
    rx: Receiving,
    /// The interface was removed.
    lost: Cell<bool>,
    config: PacketConfig,
    rings: Rings,
    mac: [u8; 6],
    mtu: u16,
    /// A packet that is written in one piece.
    whole: Box<[u8]>,
    counters: LinkCounters,
}

impl PacketLink {
    /// Puts other sockets behind the link, of a [`PacketQueue`] of the same kind with rings of the same size, on an
    /// interface that came back with this hardware address of ours. What waited in the old rings is gone; counters go on.
    ///
    /// # Errors
    /// The kernel maps no rings, or gives no AF_XDP socket. The link is then as lost as it was, and may be tried with others.
    pub fn reopen(
        &mut self,
        [sender, receiver]: [OwnedFd; 2],
        mac: [u8; 6],
        mtu: u16,
    ) -> Result<(), PacketError> {
        let (receiver, pool) = match &self.rx {
            Receiving::Ring(_) => (Receiver::Ring(receiver), None),
            Receiving::Xdp(old) => {
                (Receiver::Xdp { fd: receiver, queue: old.queue() }, Some(old.pool().clone()))
            }
            Receiving::Nothing { queue, pool } => {
                (Receiver::Xdp { fd: receiver, queue: *queue }, Some(pool.clone()))
            }
        };
        if let (Receiver::Xdp { queue, .. }, Some(pool)) = (&receiver, &pool) {
            // The old AF_XDP socket holds the chunks that the new one needs, for as long as it knows of an interface.
            if let Receiving::Xdp(old) = &mut self.rx {
                old.check();
            }
            self.rx = Receiving::Nothing { queue: *queue, pool: pool.clone() };
            self.lost.set(true);
        }
        let queue = PacketQueue { sender, receiver, rings: self.rings, mac, mtu };
        let counters = self.counters;
        let generic = self.tx.doorbell_mut().take_generic();
        *self = Self { counters, ..queue.open_with(pool.as_ref(), generic, self.config)? };
        Ok(())
    }

    /// The interface takes packets of so many bytes from now on. Returns what the link takes, which may be less.
    pub fn set_mtu(&mut self, mtu: u16) -> u16 {
        self.mtu = mtu.min(u16::try_from(self.tx.payload_bytes_max()).unwrap_or(u16::MAX));
        self.mtu
    }

    /// What was asked of the kernel so far.
    #[must_use]
    pub fn calls(&self) -> RingCounters {
        self.tx.calls
    }

    /// What the link got.
    #[must_use]
    pub fn facts(&self) -> PacketFacts {
        let (through_xdp, zero_copy) = match &self.rx {
            Receiving::Ring(_) | Receiving::Nothing { .. } => (false, false),
            Receiving::Xdp(xdp) => (true, xdp.facts().zero_copy),
        };
        PacketFacts { offloaded: self.tx.doorbell().bypasses(), through_xdp, zero_copy }
    }
}

/// What stands before the headers: how many of them the kernel is to copy, and what is left to the device.
fn vnet_header(offload: Offload, headers_bytes: usize) -> [u8; vnet::HEADER_BYTES] {
    VnetHeader::of(offload, headers_bytes).copying(headers_bytes).emit()
}

/// Stages a packet of headers and payload in one piece; `None` when no slot is free.
fn stage_whole(tx: &mut TxRing<Sender>, bytes: &[u8], offload: Offload) -> Option<()> {
    let room = tx.room()?;
    let (headers, rest) = bytes.split_at(bytes.len().min(HEADERS_BYTES_MAX));
    room[..rest.len()].copy_from_slice(rest);
    tx.stage([&vnet_header(offload, bytes.len()), headers], rest.len());
    Some(())
}

impl Link for PacketLink {
    fn capabilities(&self) -> LinkCapabilities {
        let PacketConfig { superframe_bytes_max, parts_max, checksum, slots, .. } = self.config;
        LinkCapabilities { mac: self.mac, mtu: self.mtu, superframe_bytes_max, parts_max, checksum, slots }
    }

    fn receive(&mut self) -> Option<Received<'_>> {
        match &mut self.rx {
            Receiving::Ring(ring) => ring.receive(&mut self.counters),
            Receiving::Xdp(xdp) => xdp.receive(&mut self.counters),
            Receiving::Nothing { .. } => None,
        }
    }

    fn stage(&mut self, packet: &mut Packet) -> Result<(), Full<()>> {
        let payload_bytes = packet.bytes() - packet.headers.bytes().len();
        let mut rest = self.tx.room().ok_or(Full(()))?;
        if payload_bytes > rest.len() {
            // Made for another link, whose place this one has taken.
            packet.parts.clear();
            self.counters.send_errors += 1;
            return Ok(());
        }
        for part in packet.parts.drain(..) {
            let (here, behind) = rest.split_at_mut(part.len as usize);
            here.copy_from_slice(part.bytes());
            rest = behind;
        }
        let headers = packet.headers.bytes();
        let head = vnet_header(packet.offload, headers.len());
        self.tx.stage([&head, headers], payload_bytes);
        Ok(())
    }

    fn stage_bytes(&mut self, bytes: &[u8]) -> Result<(), Full<()>> {
        if bytes.len() > usize::from(self.mtu) + ETHERNET_BYTES_MAX {
            return Err(Full(()));
        }
        stage_whole(&mut self.tx, bytes, Offload::default()).ok_or(Full(()))
    }

    /// Headers stand elsewhere in a slot than its payload, so a packet that is written in one piece is copied from here.
    fn room(&mut self) -> Option<&mut [u8]> {
        self.tx.room()?;
        Some(&mut self.whole)
    }

    fn stage_room(&mut self, bytes: usize, offload: Offload) {
        let staged = stage_whole(&mut self.tx, &self.whole[..bytes], offload);
        assert!(staged.is_some(), "room was given");
    }

    fn slot(&mut self) -> Option<&mut [u8]> {
        self.tx.room()
    }

    fn stage_slot(&mut self, headers: &Headers, payload_bytes: usize, offload: Offload) {
        let headers = headers.bytes();
        self.tx.stage([&vnet_header(offload, headers.len()), headers], payload_bytes);
    }

    fn flush(&mut self) {
        self.tx.flush(&mut self.counters);
    }

    fn reclaim(&mut self) -> usize {
        self.tx.reclaim()
    }

    fn in_flight(&self) -> usize {
        self.tx.in_flight()
    }

    fn counters(&self) -> LinkCounters {
        self.counters
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.rx {
            Receiving::Ring(ring) => {
                // An error that nobody takes would wake the sleeper for ever.
                if ring.take_error() && sys::interface_of(ring.descriptor()).is_none() {
                    self.lost.set(true);
                }
                Some(ring.descriptor())
            }
            Receiving::Xdp(xdp) => Some(xdp.descriptor()),
            Receiving::Nothing { .. } => None,
        }
    }

    fn is_lost(&self) -> bool {
        self.lost.get()
            || self.tx.doorbell().is_gone()
            || matches!(&self.rx, Receiving::Xdp(xdp) if xdp.is_gone())
    }
}

impl fmt::Debug for PacketLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketLink")
            .field("in_flight", &self.in_flight())
            .field("counters", &self.counters)
            .field("calls", &self.calls())
            .finish_non_exhaustive()
    }
}
