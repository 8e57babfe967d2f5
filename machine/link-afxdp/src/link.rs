//! One socket as a [`Link`].

use core::fmt;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use arrayvec::ArrayVec;
use dma::{CHUNK_BYTES, Frame, Pool, SharedFrame};
use platform::{
    ChecksumOffload, Full, Link, LinkCapabilities, LinkCounters, Offload, PARTS_MAX, Packet, ROOM_BYTES,
    Received,
};
use xdp::{
    BusyPoll, CopyMode, Descriptor, METADATA_BYTES, Piece, Socket, SocketConfig, SocketFacts, SocketState,
    XdpError,
};

use crate::interface::Interface;
use crate::plan::Limits;

/// An Ethernet header with one VLAN tag: what a frame has beyond the MTU.
const ETHERNET_BYTES_MAX: usize = 18;

/// Where headers begin in a chunk: a cache line of their own, and metadata before it.
const HEAD_START: usize = 64;
const _: () = assert!(METADATA_BYTES <= HEAD_START);
/// What fits into a chunk behind that.
const HEAD_BYTES: usize = CHUNK_BYTES - HEAD_START;

/// Short packets begin at different places in their chunks: chunks begin on pages, and the first bytes of all of them would
/// share a few sets of the first-level cache.
const COLOURS: usize = 16;
const COLOUR_BYTES: usize = 128;
const COLOURED_BYTES_MAX: usize = HEAD_BYTES - (COLOURS - 1) * COLOUR_BYTES;
const _: () = assert!(ROOM_BYTES <= COLOURED_BYTES_MAX);

/// Where a short packet begins in the chunk of this slot.
fn colour_of(slot: usize) -> usize {
    slot % COLOURS * COLOUR_BYTES
}

/// The largest MTU that we take: Ethernet's jumbo frames, and some more.
const MTU_MAX: usize = HEADS_MAX * HEAD_BYTES - ETHERNET_BYTES_MAX;
/// The most chunks of a packet that is copied.
const HEADS_MAX: usize = 4;

/// Descriptors of one packet in copy mode: the kernel's MAX_SKB_FRAGS.
const PIECES_MAX_COPIED: usize = 17;

/// A payload as short as this costs less to copy than a descriptor of its own.
const COPY_BYTES_MAX: usize = 256;

/// The largest packet that is gathered from pieces when it arrives.
const ASSEMBLY_BYTES_MAX: usize = 64 << 10;

/// `XDP_TXMD_FLAGS_CHECKSUM`
const METADATA_CHECKSUM: u64 = 1 << 1;

/// What a link is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfxdpConfig {
    /// Who moves the bytes.
    pub copy_mode: CopyMode,
    /// Descriptors that may be staged, and pieces that may wait to be looked at.
    pub slots: u32,
    /// Chunks to receive into.
    pub receive_chunks: u32,
    /// Never a packet in several pieces, even where it could be.
    pub single_buffer: bool,
    /// Poll the queue ourselves.
    pub busy_poll: Option<BusyPoll>,
}

impl Default for AfxdpConfig {
    fn default() -> Self {
        Self {
            copy_mode: CopyMode::Best,
            slots: 1_024,
            receive_chunks: 1_024,
            single_buffer: false,
            busy_poll: None,
        }
    }
}

impl AfxdpConfig {
    /// The chunks that a pool needs for such a link: to receive into, and to build headers in.
    #[must_use]
    pub fn chunk_count(&self) -> u32 {
        self.receive_chunks + self.slots
    }
}

/// Who computes TCP checksums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summer {
    /// The device, by TX metadata.
    Device,
    /// The kernel, or the device below it.
    Kernel,
    /// The engine.
    Engine,
}

/// What a link got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfxdpFacts {
    /// The NIC reads and writes the arena; else the kernel copies.
    pub zero_copy: bool,
    /// A packet may have several pieces.
    pub multi_buffer: bool,
    /// Who computes TCP checksums.
    pub checksum: Summer,
    /// Our own calls poll the queue.
    pub busy_poll: bool,
}

impl fmt::Display for AfxdpFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { zero_copy, multi_buffer, checksum, busy_poll } = self;
        f.write_str(if *zero_copy { "zero-copy" } else { "copied by the kernel" })?;
        f.write_str(if *multi_buffer { ", packets in several buffers" } else { ", packets in one buffer" })?;
        f.write_str(match checksum {
            Summer::Device => ", checksums by the device",
            Summer::Kernel => ", checksums by the kernel or its device",
            Summer::Engine => ", checksums in software",
        })?;
        if *busy_poll {
            f.write_str(", polled by us")?;
        }
        Ok(())
    }
}

/// A queue of an interface, on its way to the thread that will use it.
#[derive(Debug)]
pub struct AfxdpQueue {
    fd: OwnedFd,
    interface: Interface,
    queue: u32,
}

impl AfxdpQueue {
    /// Names a queue of an interface. `fd` is from [`Socket::create`].
    #[must_use]
    pub fn new(fd: OwnedFd, interface: Interface, queue: u32) -> Self {
        Self { fd, interface, queue }
    }

    /// Opens the queue in the calling thread, which keeps it, with the pool's arena as its memory. The pool needs
    /// [`AfxdpConfig::chunk_count`] chunks. Nothing arrives before the socket stands in the steering program's map:
    /// [`Link::descriptor`] is what to put there.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn open(self, pool: &Pool, config: AfxdpConfig) -> Result<AfxdpLink, XdpError> {
        let Self { fd, interface, queue } = self;
        // Metadata that a zero-copy driver does not read would only take room.
        let copied = config.copy_mode == CopyMode::Copy || interface.zero_copy == Some(false);
        let mtu = usize::from(interface.mtu).min(MTU_MAX);
        let mut packet_bytes_max = u32::try_from(mtu + ETHERNET_BYTES_MAX).expect("an MTU is short");
        if config.single_buffer {
            packet_bytes_max = packet_bytes_max.min(u32::try_from(HEAD_BYTES).expect("short"));
        }
        let socket = Socket::open(
            fd,
            interface.index,
            queue,
            pool,
            SocketConfig {
                rx_slots: config.slots.max(config.receive_chunks),
                tx_slots: config.slots,
                receive_chunks: config.receive_chunks,
                copy_mode: config.copy_mode,
                packet_bytes_max,
                metadata: copied || interface.checksum,
                busy_poll: config.busy_poll,
            },
        )?;
        Ok(AfxdpLink::new(socket, pool.clone(), interface, queue, mtu, config))
    }

    /// The socket: for [`AfxdpLink::reopen`], in another process perhaps.
    #[must_use]
    pub fn into_descriptor(self) -> OwnedFd {
        self.fd
    }
}

/// A chunk of ours, and what is staged with it: a packet, or a piece of one that was copied into several.
#[derive(Debug)]
struct Slot {
    chunk: Frame,
    /// Where headers in it begin, counted from the arena's beginning.
    address: u64,
    /// The frames of the packet's parts: held until it has left.
    frames: ArrayVec<SharedFrame, PARTS_MAX>,
    descriptors: u32,
    /// How long the packet is that ends here; 0 when it goes on in the next slot.
    packet_bytes: usize,
}

/// What is lent to the engine.
#[derive(Debug)]
enum Lent {
    Nothing,
    Piece(Piece),
    /// It lies in the assembly.
    Assembly,
}

/// One queue of one interface.
#[derive(Debug)]
pub struct AfxdpLink {
    /// Before the slots whose frames it reads, so that it is closed before. None when the interface was removed and the
    /// one that came back could not be used.
    socket: Option<Socket>,
    pool: Pool,
    queue: u32,
    config: AfxdpConfig,
    capabilities: LinkCapabilities,
    facts: AfxdpFacts,
    counters: LinkCounters,
    limits: Limits,
    /// Packets of this length and shorter are copied into one chunk.
    gather_bytes_max: usize,

    slots: Box<[Slot]>,
    /// Slots without a packet, the one used last on top: it is still in the cache.
    free: Vec<u16>,
    /// Slots staged, oldest first: what is staged comes back in that order.
    staged: VecDeque<u16>,
    /// Packets among them.
    packets: usize,
    /// Descriptors that came back and do not yet make a slot.
    returned: u32,

    lent: Lent,
    assembly: Vec<u8>,
    /// The packet being gathered is too large, and what follows of it is passed over.
    overlong: bool,
}

impl AfxdpLink {
    fn new(
        socket: Socket,
        pool: Pool,
        interface: Interface,
        queue: u32,
        mtu: usize,
        config: AfxdpConfig,
    ) -> Self {
        let SocketFacts { zero_copy, multi_buffer, metadata, busy_poll } = socket.facts();
        let multi_buffer = multi_buffer && !config.single_buffer;
        let checksum = match (metadata, zero_copy) {
            (false, _) => Summer::Engine,
            (true, false) => Summer::Kernel,
            (true, true) if interface.checksum => Summer::Device,
            (true, true) => Summer::Engine,
        };
        let pieces = match (multi_buffer, zero_copy) {
            (false, _) => 1,
            (true, false) => PIECES_MAX_COPIED,
            (true, true) => usize::try_from(interface.pieces_max.max(1)).expect("32 bits fit"),
        };
        let limits = Limits::new(zero_copy, if metadata { METADATA_BYTES } else { 0 }, pieces);
        // The kernel takes a page and a copy for every piece but the first: it is cheaper to give it one.
        let gather_bytes_max = if multi_buffer && zero_copy { COPY_BYTES_MAX } else { HEAD_BYTES };
        let (mtu, parts_max) = sizes(mtu, limits);
        let capabilities = LinkCapabilities {
            mac: interface.mac,
            mtu,
            superframe_bytes_max: 0,
            parts_max,
            checksum: checksum != Summer::Engine,
            slots: false,
        };
        let slots: Box<[Slot]> = (0..config.slots)
            .map_while(|_| pool.acquire_chunk())
            .map(|chunk| {
                let address = pool.offset_of(&chunk.bytes()[HEAD_START..]).expect("a chunk of the pool");
                Slot { chunk, address, frames: ArrayVec::new(), descriptors: 0, packet_bytes: 0 }
            })
            .collect();
        let count = u16::try_from(slots.len()).expect("a link has fewer than 65,536 slots");
        Self {
            socket: Some(socket),
            pool,
            queue,
            config,
            capabilities,
            facts: AfxdpFacts { zero_copy, multi_buffer, checksum, busy_poll },
            counters: LinkCounters::default(),
            limits,
            gather_bytes_max,
            staged: VecDeque::with_capacity(slots.len()),
            free: (0..count).rev().collect(),
            slots,
            packets: 0,
            returned: 0,
            lent: Lent::Nothing,
            assembly: Vec::with_capacity(ASSEMBLY_BYTES_MAX),
            overlong: false,
        }
    }

    /// What the link got.
    #[must_use]
    pub fn facts(&self) -> AfxdpFacts {
        self.facts
    }

    /// Goes on with another socket, `fd` from [`Socket::create`], on the queue of the same number of an interface that came
    /// back. What was staged is gone, and counters go on. Needs no privilege, but that the memory may be pinned.
    ///
    /// # Errors
    /// The kernel refuses it. The link then has no socket, and may be tried with another.
    pub fn reopen(&mut self, fd: OwnedFd, interface: Interface) -> Result<(), XdpError> {
        self.close();
        let queue = AfxdpQueue { fd, interface, queue: self.queue };
        let opened = queue.open(&self.pool, self.config)?;
        let counters = core::mem::replace(self, opened).counters;
        self.counters = counters;
        Ok(())
    }

    /// The interface takes packets of so many bytes from now on. Returns what the link takes: where a packet must lie in one
    /// piece that is less.
    pub fn set_mtu(&mut self, mtu: u16) -> u16 {
        (self.capabilities.mtu, self.capabilities.parts_max) = sizes(usize::from(mtu), self.limits);
        self.capabilities.mtu
    }

    /// Lets go of everything that the next socket needs: chunks, and memory that is pinned.
    fn close(&mut self) {
        // A removed interface reads and writes nothing, which the socket learns by asking.
        self.check();
        let lost = self.packets as u64;
        self.counters.send_errors += lost;
        self.lent = Lent::Nothing;
        self.forget_what_is_read();
        self.socket = None;
        self.slots = Box::default();
        self.free.clear();
        self.staged.clear();
        (self.packets, self.returned) = (0, 0);
    }

    /// The NIC may read on after the descriptor is closed, and must not find another connection's bytes.
    fn forget_what_is_read(&mut self) {
        if self.facts.zero_copy && self.state() != SocketState::Gone {
            core::mem::forget(core::mem::take(&mut self.slots));
        }
    }

    /// Whether the interface was there when a call last depended on it.
    #[must_use]
    pub fn state(&self) -> SocketState {
        self.socket.as_ref().map_or(SocketState::Gone, Socket::state)
    }

    /// Asks the kernel whether the interface is there. One system call.
    pub fn check(&mut self) -> SocketState {
        self.socket.as_mut().map_or(SocketState::Gone, Socket::check)
    }

    /// The socket below, for what it counted; `None` when there is none (see [`reopen`](Self::reopen)).
    #[must_use]
    pub fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }

    /// Descriptors that can be staged now.
    fn descriptors_free(&self) -> u32 {
        self.socket.as_ref().map_or(0, Socket::room)
    }

    /// Queues the packet as one copy in one chunk. Returns whether there was room.
    fn stage_gathered(&mut self, packet: &mut Packet, bytes: usize) -> bool {
        if self.descriptors_free() == 0 {
            return false;
        }
        let Some(index) = self.free.pop() else { return false };
        let index_in_slots = usize::from(index);
        let slot = &mut self.slots[index_in_slots];
        let colour = if bytes <= COLOURED_BYTES_MAX { colour_of(index_in_slots) } else { 0 };
        let room = &mut slot.chunk.bytes_mut()[colour..];
        let options = write_metadata(room, packet.offload.checksum);
        let headers = packet.headers.bytes();
        room[HEAD_START..][..headers.len()].copy_from_slice(headers);
        let mut end = HEAD_START + headers.len();
        for part in packet.parts.drain(..) {
            let bytes = part.bytes();
            room[end..][..bytes.len()].copy_from_slice(bytes);
            end += bytes.len();
            slot.frames.push(part.frame);
        }
        slot.descriptors = 1;
        slot.packet_bytes = bytes;
        let len = u32::try_from(bytes).expect("a chunk is short");
        let descriptor = Descriptor { addr: slot.address + colour as u64, len, options };
        self.stage_descriptor(descriptor);
        self.staged.push_back(index);
        self.packets += 1;
        true
    }

    /// Queues a packet whose headers lie before its one part, as one piece where it lies. Returns whether it is one, and
    /// there was room.
    fn stage_in_place(&mut self, packet: &mut Packet, bytes: usize) -> bool {
        let [part] = packet.parts.as_slice() else { return false };
        let payload =
            self.pool.offset_of(part.bytes()).expect("a frame of the arena that the link was given");
        let address = payload - packet.headers.bytes().len() as u64;
        let whole = self.limits.cut(address, bytes as u64).next() == Some((address, bytes as u64));
        if !whole || self.descriptors_free() == 0 {
            return false;
        }
        let Some(index) = self.free.pop() else { return false };
        let slot = &mut self.slots[usize::from(index)];
        slot.frames.extend(packet.parts.drain(..).map(|part| part.frame));
        slot.descriptors = 1;
        slot.packet_bytes = bytes;
        let len = u32::try_from(bytes).expect("a chunk is short");
        self.stage_descriptor(Descriptor { addr: address, len, options: 0 });
        self.staged.push_back(index);
        self.packets += 1;
        true
    }

    /// Queues the headers in a chunk and the parts where they lie. Returns whether there was room, and the packet was not
    /// in too many pieces.
    fn stage_in_pieces(&mut self, packet: &mut Packet, bytes: usize) -> bool {
        let room = self.descriptors_free();
        let Some(index) = self.free.last().copied() else { return false };
        let slot = &mut self.slots[usize::from(index)];
        let mut pieces: ArrayVec<Descriptor, PIECES_MAX_COPIED> = ArrayVec::new();
        let headers = packet.headers.bytes();
        let chunk = slot.chunk.bytes_mut();
        chunk[HEAD_START..][..headers.len()].copy_from_slice(headers);
        let options = Descriptor::CONTINUES | write_metadata(chunk, packet.offload.checksum);
        let len = u32::try_from(headers.len()).expect("short");
        pieces.push(Descriptor { addr: slot.address, len, options });
        for part in &packet.parts {
            let address =
                self.pool.offset_of(part.bytes()).expect("a frame of the arena that the link was given");
            for (addr, len) in self.limits.cut(address, u64::from(part.len)) {
                let len = u32::try_from(len).expect("at most a chunk");
                if pieces.try_push(Descriptor { addr, len, options: Descriptor::CONTINUES }).is_err() {
                    return false;
                }
            }
        }
        let count = u32::try_from(pieces.len()).expect("few");
        if pieces.len() > self.limits.count_max || count > room {
            return false;
        }
        slot.frames.extend(packet.parts.drain(..).map(|part| part.frame));
        slot.descriptors = count;
        slot.packet_bytes = bytes;
        pieces.last_mut().expect("headers").options &= !Descriptor::CONTINUES;
        for piece in pieces {
            self.stage_descriptor(piece);
        }
        self.free.pop();
        self.staged.push_back(index);
        self.packets += 1;
        true
    }

    fn stage_descriptor(&mut self, descriptor: Descriptor) {
        let staged = self.socket.as_mut().is_some_and(|socket| socket.stage(descriptor));
        debug_assert!(staged, "there was room");
    }

    /// The bytes of what is lent.
    fn lent(&self) -> Option<Received<'_>> {
        let bytes = match &self.lent {
            Lent::Nothing => return None,
            Lent::Piece(piece) => piece.bytes(),
            Lent::Assembly => &self.assembly,
        };
        Some(Received { bytes, verified: false })
    }

    /// Takes a piece of a packet. Returns whether the packet is complete.
    fn on_piece(&mut self, piece: Piece) -> bool {
        if !piece.continues && self.assembly.is_empty() && !self.overlong {
            self.lent = Lent::Piece(piece);
            return true;
        }
        if self.assembly.len() + piece.len > ASSEMBLY_BYTES_MAX {
            self.overlong = true;
        }
        if !self.overlong {
            self.assembly.extend_from_slice(piece.bytes());
        }
        if piece.continues {
            return false;
        }
        if core::mem::take(&mut self.overlong) {
            self.counters.receive_errors += 1;
            self.assembly.clear();
            return false;
        }
        self.lent = Lent::Assembly;
        true
    }
}

/// The largest packet on an interface with this MTU, without its Ethernet header, and the most parts that one may have.
fn sizes(mtu: usize, limits: Limits) -> (u16, u8) {
    let in_one_piece = HEAD_BYTES - ETHERNET_BYTES_MAX;
    let mtu = mtu.min(if limits.count_max > 1 { MTU_MAX } else { in_one_piece });
    let packet = mtu + ETHERNET_BYTES_MAX;
    let parts_max = if packet <= HEAD_BYTES {
        PARTS_MAX
    } else {
        // Headers, and a cut at each page of the payload.
        limits.count_max.saturating_sub(2 + packet / CHUNK_BYTES).clamp(1, PARTS_MAX)
    };
    (u16::try_from(mtu).expect("an MTU is short"), u8::try_from(parts_max).expect("few parts"))
}

impl Drop for AfxdpLink {
    fn drop(&mut self) {
        self.forget_what_is_read();
    }
}

/// Writes what the device is to do before the headers. Returns the option that says so.
fn write_metadata(chunk: &mut [u8], checksum: Option<ChecksumOffload>) -> u32 {
    let Some(ChecksumOffload { start, field }) = checksum else { return 0 };
    let metadata = &mut chunk[HEAD_START - METADATA_BYTES..HEAD_START];
    metadata.fill(0);
    metadata[..8].copy_from_slice(&METADATA_CHECKSUM.to_le_bytes());
    metadata[8..10].copy_from_slice(&start.to_le_bytes());
    metadata[10..12].copy_from_slice(&field.to_le_bytes());
    Descriptor::METADATA
}

impl Link for AfxdpLink {
    fn capabilities(&self) -> LinkCapabilities {
        self.capabilities
    }

    fn receive(&mut self) -> Option<Received<'_>> {
        if matches!(core::mem::replace(&mut self.lent, Lent::Nothing), Lent::Assembly) {
            self.assembly.clear();
        }
        while let Some(piece) = self.socket.as_mut()?.receive() {
            if self.on_piece(piece) {
                let bytes = self.lent()?.bytes.len();
                self.counters.received += 1;
                self.counters.received_bytes += bytes as u64;
                return self.lent();
            }
        }
        None
    }

    fn stage(&mut self, packet: &mut Packet) -> Result<(), Full<()>> {
        debug_assert!(packet.offload.segmentation.is_none(), "this link does not cut");
        debug_assert!(
            packet.offload.checksum.is_none() || self.capabilities.checksum,
            "this link does not sum"
        );
        let bytes = packet.bytes();
        let staged = packet.headers.are_before_parts() && self.stage_in_place(packet, bytes)
            || bytes > self.gather_bytes_max && self.stage_in_pieces(packet, bytes)
            || bytes <= HEAD_BYTES && self.stage_gathered(packet, bytes);
        if staged { Ok(()) } else { Err(Full(())) }
    }

    fn stage_bytes(&mut self, bytes: &[u8]) -> Result<(), Full<()>> {
        let longest = usize::from(self.capabilities.mtu) + ETHERNET_BYTES_MAX;
        let count = bytes.len().div_ceil(HEAD_BYTES);
        let room = usize::try_from(self.descriptors_free()).expect("32 bits fit");
        if bytes.is_empty() || bytes.len() > longest || room < count || self.free.len() < count {
            return Err(Full(()));
        }
        let mut left = bytes.len();
        for piece in bytes.chunks(HEAD_BYTES) {
            left -= piece.len();
            let index = self.free.pop().expect("there were as many");
            let slot = &mut self.slots[usize::from(index)];
            slot.chunk.bytes_mut()[HEAD_START..][..piece.len()].copy_from_slice(piece);
            slot.descriptors = 1;
            slot.packet_bytes = if left == 0 { bytes.len() } else { 0 };
            let options = if left == 0 { 0 } else { Descriptor::CONTINUES };
            let len = u32::try_from(piece.len()).expect("a chunk is short");
            let descriptor = Descriptor { addr: slot.address, len, options };
            self.stage_descriptor(descriptor);
            self.staged.push_back(index);
        }
        self.packets += 1;
        Ok(())
    }

    fn room(&mut self) -> Option<&mut [u8]> {
        if self.descriptors_free() == 0 {
            return None;
        }
        let index = usize::from(*self.free.last()?);
        let start = HEAD_START + colour_of(index);
        Some(&mut self.slots[index].chunk.bytes_mut()[start..start + COLOURED_BYTES_MAX])
    }

    fn stage_room(&mut self, bytes: usize, offload: Offload) {
        debug_assert!(offload.segmentation.is_none(), "this link does not cut");
        assert!(
            bytes <= COLOURED_BYTES_MAX && self.descriptors_free() > 0,
            "room for {bytes} bytes was given"
        );
        let index = self.free.pop().expect("room was given");
        let colour = colour_of(usize::from(index));
        let slot = &mut self.slots[usize::from(index)];
        let options = write_metadata(&mut slot.chunk.bytes_mut()[colour..], offload.checksum);
        slot.descriptors = 1;
        slot.packet_bytes = bytes;
        let len = u32::try_from(bytes).expect("a chunk is short");
        let descriptor = Descriptor { addr: slot.address + colour as u64, len, options };
        self.stage_descriptor(descriptor);
        self.staged.push_back(index);
        self.packets += 1;
    }

    fn flush(&mut self) {
        if let Some(socket) = &mut self.socket {
            socket.flush();
        }
    }

    fn reclaim(&mut self) -> usize {
        let Some(socket) = &mut self.socket else { return 0 };
        let lost = socket.counters().dropped;
        self.returned += socket.reclaim();
        // Whole packets are dropped, or none of them.
        let mut lost = socket.counters().dropped - lost;
        let mut packets = 0;
        while let Some(index) = self.staged.front().copied() {
            let slot = &mut self.slots[usize::from(index)];
            if slot.descriptors > self.returned {
                break;
            }
            self.returned -= slot.descriptors;
            slot.frames.clear();
            let is_lost = lost >= u64::from(slot.descriptors);
            lost -= if is_lost { u64::from(slot.descriptors) } else { 0 };
            if slot.packet_bytes > 0 {
                packets += 1;
                if is_lost {
                    self.counters.send_errors += 1;
                } else {
                    self.counters.sent += 1;
                    self.counters.sent_bytes += slot.packet_bytes as u64;
                }
            }
            self.staged.pop_front();
            self.free.push(index);
        }
        self.packets -= packets;
        packets
    }

    fn in_flight(&self) -> usize {
        self.packets
    }

    fn counters(&self) -> LinkCounters {
        self.counters
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    fn is_lost(&self) -> bool {
        self.state() == SocketState::Gone
    }
}
