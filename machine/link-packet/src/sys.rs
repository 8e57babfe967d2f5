//! The packet socket's own options (packet(7), linux/if_packet.h).

#![expect(unsafe_code, reason = "setsockopt(2) and bind(2) take pointers")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_ushort, socklen_t};

/// All protocols, in network byte order.
const EVERY_PROTOCOL: c_ushort = 0x0003_u16.to_be();
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
    set(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)?;
    set(fd, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1)?;
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

/// Receives from the interface, and sends through it.
pub(crate) fn bind(fd: BorrowedFd<'_>, index: u32) -> io::Result<()> {
    // SAFETY: an address is plain bytes, and all zeroes is one.
    let mut address: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
    address.sll_family = c_ushort::try_from(libc::AF_PACKET).expect("the family fits");
    address.sll_protocol = EVERY_PROTOCOL;
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
    let pointer = &raw const value;
    // SAFETY: the integer lives through the call, and its length is given.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, pointer.cast(), length_of::<c_int>()) })
}

fn length_of<T>() -> socklen_t {
    socklen_t::try_from(size_of::<T>()).expect("an option is short")
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
