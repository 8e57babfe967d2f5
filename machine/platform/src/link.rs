//! Packets to and from the wire.

use arrayvec::ArrayVec;
use dma::SharedFrame;
use std::os::fd::BorrowedFd;

use crate::Full;

/// Room for Ethernet with a VLAN tag, IPv6 and a TCP header with all its options: 18 + 40 + 60, rounded up.
pub const HEADERS_BYTES_MAX: usize = 128;

/// What [`Link::room`] gives at least, if the MTU allows as much: an Ethernet frame of the usual length, with a VLAN tag.
pub const ROOM_BYTES: usize = 1_518;

/// The most parts a packet may have: a 128 KiB superframe of 16 KiB records, with a response head before them.
pub const PARTS_MAX: usize = 12;

/// The headers of a packet, built in place.
#[derive(Clone, Copy, Debug)]
pub struct Headers {
    bytes: [u8; HEADERS_BYTES_MAX],
    len: u8,
    before_parts: bool,
}

impl Headers {
    /// No headers yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: [0; HEADERS_BYTES_MAX], len: 0, before_parts: false }
    }

    /// The room to build headers in; [`set_len`](Self::set_len) says how much was used.
    pub fn room_mut(&mut self) -> &mut [u8; HEADERS_BYTES_MAX] {
        &mut self.bytes
    }

    /// Declares the first `len` bytes to be the headers.
    ///
    /// # Panics
    /// More than [`HEADERS_BYTES_MAX`].
    pub fn set_len(&mut self, len: usize) {
        assert!(len <= HEADERS_BYTES_MAX, "{len} bytes of headers");
        #[expect(clippy::cast_possible_truncation, reason = "at most 128")]
        {
            self.len = len as u8;
        }
        self.before_parts = false;
    }

    /// These headers instead of those before.
    ///
    /// # Panics
    /// More than [`HEADERS_BYTES_MAX`].
    pub fn set(&mut self, bytes: &[u8]) {
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        self.set_len(bytes.len());
    }

    /// Declares that the same bytes lie right before the packet's first part, in its frame: a link may send both as one
    /// piece. The packet is then complete: nothing is left to the device.
    pub fn set_before_parts(&mut self) {
        self.before_parts = true;
    }

    /// The same bytes lie right before the packet's first part.
    #[must_use]
    pub fn are_before_parts(&self) -> bool {
        self.before_parts
    }

    /// The headers.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

/// Some bytes of a frozen frame, as payload of a packet.
#[derive(Clone, Debug)]
pub struct Part {
    /// The frame, kept until the packet has left.
    pub frame: SharedFrame,
    /// First byte, counted from the frame's beginning (headroom included).
    pub start: u32,
    /// How many bytes.
    pub len: u32,
}

impl Part {
    /// The bytes themselves.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.frame.bytes()[self.start as usize..][..self.len as usize]
    }
}

/// The payload of a packet, in order.
pub type Parts = ArrayVec<Part, PARTS_MAX>;

/// What the device is asked to finish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The checksum from `start` to the end of the packet is to be written at `start + field`; the field holds the
    /// pseudo-header's sum. `None`: the packet is complete.
    pub checksum: Option<ChecksumOffload>,
    /// The packet is larger than the wire's and is to be cut.
    pub segmentation: Option<Segmentation>,
}

/// Where a checksum is to be computed and written, in bytes from the beginning of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChecksumOffload {
    /// First byte covered: the TCP header's.
    pub start: u16,
    /// The checksum field, counted from `start`.
    pub field: u16,
}

/// How a superframe is cut into TCP segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmentation {
    /// Payload of each segment but the last.
    pub mss: u16,
    /// The superframe is IPv6.
    pub ipv6: bool,
}

/// A packet to be sent. It is large to move: whoever sends many builds them all in one.
#[derive(Debug)]
pub struct Packet {
    /// Ethernet, IP and TCP; or all of a short packet.
    pub headers: Headers,
    /// The payload.
    pub parts: Parts,
    /// What is left to the device.
    pub offload: Offload,
}

impl Packet {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self { headers: Headers::new(), parts: Parts::new(), offload: Offload::default() }
    }

    /// How long the packet is, headers included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.headers.bytes().len() + self.parts.iter().map(|part| part.len as usize).sum::<usize>()
    }
}

/// A packet that arrived, borrowed from the link until the next one is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// From the Ethernet header on. May be larger than the MTU when the link merged segments.
    pub bytes: &'a [u8],
    /// The link vouches for the transport checksum.
    pub verified: bool,
}

/// What a link can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkCapabilities {
    /// Our own hardware address.
    pub mac: [u8; 6],
    /// Largest IP packet on the wire.
    pub mtu: u16,
    /// Largest TCP payload of one superframe; 0 when the link does not cut.
    pub superframe_bytes_max: u32,
    /// Most parts a packet may have; at most [`PARTS_MAX`].
    pub parts_max: u8,
    /// The link computes TCP checksums.
    pub checksum: bool,
    /// Payload has to lie in memory of the link's own: it is best written there at once, through [`Link::slot`]. Packets
    /// in parts are taken all the same, and copied.
    pub slots: bool,
}

/// What a link counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Packets received, merged ones counted once.
    pub received: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets handed to the device, superframes counted once.
    pub sent: u64,
    /// Bytes handed to the device.
    pub sent_bytes: u64,
    /// Packets the device refused or dropped after they were staged.
    pub send_errors: u64,
    /// Packets that arrived damaged or too large for the link's buffers.
    pub receive_errors: u64,
}

/// Packets to and from one queue of one device.
pub trait Link {
    /// What the link can do. Does not change while it is open, but for the MTU.
    fn capabilities(&self) -> LinkCapabilities;

    /// The next packet that has arrived; `None` when there is none now.
    fn receive(&mut self) -> Option<Received<'_>>;

    /// Queues a packet: its headers are copied, and its parts taken out of it, so that the same packet can be built anew.
    /// Their frames are held until it has left, or not at all if the link has slots and copied them.
    ///
    /// # Errors
    /// The queue is full, and the packet as it was: flush, reclaim, and offer it again.
    fn stage(&mut self, packet: &mut Packet) -> Result<(), Full<()>>;

    /// Queues a short packet that is complete as it is (ARP, ICMP, a reset): the bytes are copied.
    ///
    /// # Errors
    /// The queue is full, or the packet is longer than the link's MTU allows.
    fn stage_bytes(&mut self, bytes: &[u8]) -> Result<(), Full<()>>;

    /// Memory for the next packet without parts, where it leaves from: it is written there and then staged with
    /// [`stage_room`](Self::stage_room). At least what the MTU allows, or [`ROOM_BYTES`] if that is less; it holds whatever
    /// was there before. Asked for again before it is staged it is the same memory, as it was left; a packet staged otherwise
    /// in between takes it.
    ///
    /// `None` when the queue is full: flush, reclaim, and ask again.
    fn room(&mut self) -> Option<&mut [u8]>;

    /// Queues the first `bytes` of [`room`](Self::room) as a packet.
    ///
    /// # Panics
    /// `room` has not just given memory, or not as much.
    fn stage_room(&mut self, bytes: usize, offload: Offload);

    /// Memory for the payload of the next packet, which is then staged with [`stage_slot`](Self::stage_slot): at least
    /// as much as the largest superframe, or as the MTU. Asked for again before that, it is the same memory, and what
    /// was written is still there; any other packet staged in between takes it.
    ///
    /// `None` when the queue is full (flush, reclaim, and ask again), and always when the link has no slots.
    fn slot(&mut self) -> Option<&mut [u8]> {
        None
    }

    /// Queues a packet of `headers` and the first `payload_bytes` of [`slot`](Self::slot).
    ///
    /// # Panics
    /// `slot` has not just given memory, or not as much.
    fn stage_slot(&mut self, headers: &Headers, payload_bytes: usize, offload: Offload) {
        let _ = (headers, payload_bytes, offload);
        unreachable!("a link without slots has given none");
    }

    /// One doorbell for everything staged.
    fn flush(&mut self);

    /// Lets go of the frames whose packets have left. Returns how many packets those were.
    fn reclaim(&mut self) -> usize;

    /// Packets staged or on their way, frames still held.
    fn in_flight(&self) -> usize;

    /// What was counted so far.
    fn counters(&self) -> LinkCounters;

    /// Readable when a packet has arrived; `None` when the link cannot be slept on. Of a link that [is
    /// lost](Self::is_lost) it means nothing and may be readable for ever.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// The device is gone, and this link will carry nothing any more: another has to take its place. It still keeps the
    /// other promises: what is staged is counted among [`LinkCounters::send_errors`], and its frames come back. A
    /// device that only has no carrier is not lost.
    fn is_lost(&self) -> bool {
        false
    }
}
