//! The packet socket's own options (packet(7), linux/if_packet.h), and the memory it shares with the kernel.

#![expect(
    unsafe_code,
    reason = "setsockopt(2) and bind(2) take pointers, and rings are shared with the kernel"
)]

pub(crate) mod ring;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_ushort, socklen_t};

use ring::Shape;

/// All protocols, in network byte order.
const EVERY_PROTOCOL: c_ushort = 0x0003_u16.to_be();
/// What a socket is bound to that only sends.
const NO_PROTOCOL: c_ushort = 0;
/// The kernel picks a group that nobody uses.
const FANOUT_UNIQUE: c_int = 0x2000;
const FANOUT_HASH: c_int = 0;
/// Room for the packets of a burst: the kernel grants less when it must.
const RECEIVE_BYTES: c_int = 8 << 20;

/// A socket that receives nothing before it is bound.
pub(crate) fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Virtio-net headers both ways, past the queueing discipline, and nothing of what the host itself sends.
pub(crate) fn set_options(fd: BorrowedFd<'_>) -> io::Result<()> {
    receive_options(fd)?;
    set_bypass(fd, true)
}

/// Virtio-net headers before what arrives, nothing of what the host itself sends, and room.
fn receive_options(fd: BorrowedFd<'_>) -> io::Result<()> {
    set(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
    // Kernels before 4.20 do not know it; the engine then sees packets that are not for its address, and
    // drops them.
    let _ = set(fd, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1);
    // Beyond the operator's limit where we may, up to it where we may not. Less room costs packets in a
    // burst.
    if set(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, RECEIVE_BYTES).is_err() {
        let _ = set(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, RECEIVE_BYTES);
    }
    Ok(())
}

/// A TX ring on a socket that is not bound yet. The kernel reads payload out of the ring until the device has let go of
/// it, skips what it cannot send rather than stand still before it, and takes each packet from where its slot says.
pub(crate) fn tx_ring(fd: BorrowedFd<'_>, shape: Shape, bypasses: bool) -> io::Result<()> {
    set(fd, libc::SOL_PACKET, libc::PACKET_VERSION, libc::tpacket_versions::TPACKET_V2 as c_int)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
    set_bypass(fd, bypasses)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_LOSS, 1)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_TX_HAS_OFF, 1)?;
    // What is on its way is charged to the socket, twice over for the kernel's own structures. With less, a device that
    // completes late has fewer slots at a time.
    let bytes = c_int::try_from(shape.bytes() * 2).unwrap_or(c_int::MAX);
    if set(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes).is_err() {
        let _ = set(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, bytes);
    }
    set_ring(fd, libc::PACKET_TX_RING, shape)
}

/// Whether packets leave past the queueing discipline; may be changed while the socket is used.
pub(crate) fn set_bypass(fd: BorrowedFd<'_>, bypasses: bool) -> io::Result<()> {
    set(fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, c_int::from(bypasses))
}

/// The interface that the socket is bound to, while it exists.
pub(crate) fn interface_of(fd: BorrowedFd<'_>) -> Option<u32> {
    // SAFETY: an address is plain bytes, and all zeroes is one.
    let mut address: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
    let mut length = length_of::<libc::sockaddr_ll>();
    let pointer = &raw mut address;
    // SAFETY: the address and its length live through the call.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), pointer.cast(), &raw mut length) }).ok()?;
    u32::try_from(address.sll_ifindex).ok().filter(|index| *index > 0)
}

/// Whether packets leave past the queueing discipline.
pub(crate) fn bypasses(fd: BorrowedFd<'_>) -> bool {
    let mut value: c_int = 0;
    let mut length = length_of::<c_int>();
    let pointer = &raw mut value;
    let option = libc::PACKET_QDISC_BYPASS;
    // SAFETY: the integer and its length live through the call.
    let got = unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_PACKET, option, pointer.cast(), &raw mut length)
    };
    got == 0 && value != 0
}

/// An RX ring on a socket that is not bound yet. A packet that is larger than a frame waits whole in the socket's queue.
pub(crate) fn rx_ring(fd: BorrowedFd<'_>, shape: Shape) -> io::Result<()> {
    set(fd, libc::SOL_PACKET, libc::PACKET_VERSION, libc::tpacket_versions::TPACKET_V2 as c_int)?;
    receive_options(fd)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_COPY_THRESH, 1)?;
    set_ring(fd, libc::PACKET_RX_RING, shape)
}

fn set_ring(fd: BorrowedFd<'_>, option: c_int, shape: Shape) -> io::Result<()> {
    shape.check();
    let block_bytes = Shape::BLOCK_BYTES;
    let request = libc::tpacket_req {
        tp_block_size: block_bytes,
        tp_block_nr: shape.count / (block_bytes / shape.frame_bytes),
        tp_frame_size: shape.frame_bytes,
        tp_frame_nr: shape.count,
    };
    set_bytes(fd, libc::SOL_PACKET, option, &request)
}

/// Lets only what is sent to `mac`, or to many, reach the socket: classic BPF on the destination address.
///
/// ```text
///   ldb [0]; jset #1, accept            a group address
///   ld  [0]; jne  mac[0..4], refuse
///   ldh [4]; jne  mac[4..6], refuse
///   accept: ret #-1        refuse: ret #0
/// ```
pub(crate) fn only_for(fd: BorrowedFd<'_>, mac: [u8; 6]) -> io::Result<()> {
    const LOAD_WORD: u16 = 0x20;
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_EQUAL: u16 = 0x15;
    const JUMP_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let [a, b, c, d, e, f] = mac;
    let mut program = [
        step(LOAD_BYTE, 0, 0, 0),
        step(JUMP_SET, 4, 0, 1),
        step(LOAD_WORD, 0, 0, 0),
        step(JUMP_EQUAL, 0, 3, u32::from_be_bytes([a, b, c, d])),
        step(LOAD_HALF, 0, 0, 4),
        step(JUMP_EQUAL, 0, 1, u32::from_be_bytes([0, 0, e, f])),
        step(RETURN, 0, 0, u32::MAX),
        step(RETURN, 0, 0, 0),
    ];
    let len = c_ushort::try_from(program.len()).expect("eight steps");
    let request = libc::sock_fprog { len, filter: program.as_mut_ptr() };
    set_bytes(fd, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &request)
}

/// Packets that the ring had no room for since this was last asked.
pub(crate) fn dropped(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut value = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = length_of::<libc::tpacket_stats>();
    let pointer = &raw mut value;
    // SAFETY: the structure and its length live through the call.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            pointer.cast(),
            &raw mut length,
        )
    })?;
    Ok(value.tp_drops)
}

/// Receives from the interface, and sends through it.
pub(crate) fn bind(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    bind_to(fd, index, EVERY_PROTOCOL)
}

/// Sends through the interface, and receives nothing.
pub(crate) fn bind_to_send(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    bind_to(fd, index, NO_PROTOCOL)
}

fn bind_to(fd: BorrowedFd<'_>, index: u32, protocol: c_ushort) -> io::Result<()> {
    // SAFETY: an address is plain bytes, and all zeroes is one.
    let mut address: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
    address.sll_family = c_ushort::try_from(libc::AF_PACKET).expect("the family fits");
    address.sll_protocol = protocol;
    address.sll_ifindex = index.cast_signed();
    let address = &raw const address;
    // SAFETY: the address lives through the call, and its length is given.
    check(unsafe { libc::bind(fd.as_raw_fd(), address.cast(), length_of::<libc::sockaddr_ll>()) })
}

/// Asks the interface for packets to every hardware address, ours among them, for as long as the socket is
/// open.
pub(crate) fn receive_all(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    // SAFETY: a membership request is plain bytes, and all zeroes is one.
    let mut request: libc::packet_mreq = unsafe { core::mem::zeroed() };
    request.mr_ifindex = index.cast_signed();
    request.mr_type = c_ushort::try_from(libc::PACKET_MR_PROMISC).expect("the type fits");
    let request = &raw const request;
    // SAFETY: the request lives through the call, and its length is given.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_ADD_MEMBERSHIP,
            request.cast(),
            length_of::<libc::packet_mreq>(),
        )
    })
}

/// Joins the sockets among which flows are spread; the first founds the group. Returns the group.
pub(crate) fn join(fd: BorrowedFd<'_>, group: Option<u16>) -> io::Result<u16> {
    let mode = match group {
        None => (FANOUT_HASH | FANOUT_UNIQUE) << 16,
        Some(group) => FANOUT_HASH << 16 | c_int::from(group),
    };
    set(fd, libc::SOL_PACKET, libc::PACKET_FANOUT, mode)?;
    let mut value: c_int = 0;
    let mut length = length_of::<c_int>();
    let pointer = &raw mut value;
    // SAFETY: the integer and its length live through the call.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_FANOUT,
            pointer.cast(),
            &raw mut length,
        )
    })?;
    Ok(u16::try_from(value & 0xffff).expect("masked"))
}

fn set(fd: BorrowedFd<'_>, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    set_bytes(fd, level, option, &value)
}

/// Sets an option to a value of plain bytes.
fn set_bytes<T>(fd: BorrowedFd<'_>, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let pointer = core::ptr::from_ref(value);
    // SAFETY: the value lives through the call, and its length is given. What it points to, if it does, lives as long.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, pointer.cast(), length_of::<T>()) })
}

fn length_of<T>() -> socklen_t {
    socklen_t::try_from(size_of::<T>()).expect("an option is short")
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
