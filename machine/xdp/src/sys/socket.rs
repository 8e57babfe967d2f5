//! An AF_XDP socket's options and calls (linux/if_xdp.h).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use dma::{CHUNK_BYTES, Pool};
use libc::{c_int, c_ushort, socklen_t};

/// Packets that one call may send in copy mode (Linux 6.17); 32 without.
const XDP_MAX_TX_SKB_BUDGET: c_int = 9;
const SO_PREFER_BUSY_POLL: c_int = 69;
const SO_BUSY_POLL_BUDGET: c_int = 70;
const SO_BUSY_POLL: c_int = 46;

/// The rings that a socket may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    Rx,
    Tx,
    Fill,
    Completion,
}

impl Ring {
    const fn option(self) -> c_int {
        match self {
            Self::Rx => libc::XDP_RX_RING,
            Self::Tx => libc::XDP_TX_RING,
            Self::Fill => libc::XDP_UMEM_FILL_RING,
            Self::Completion => libc::XDP_UMEM_COMPLETION_RING,
        }
    }
}

pub(crate) fn create() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Registers the pool's arena, in unaligned mode: a descriptor may begin anywhere. `metadata_bytes` before a
/// descriptor's address may say what to do with it; 0 for none.
///
/// The kernel pins the pages. It writes only to chunks whose addresses it is given on the fill ring.
pub(crate) fn register(fd: BorrowedFd<'_>, pool: &Pool, metadata_bytes: u32) -> io::Result<()> {
    let (base, bytes) = pool.region();
    let metadata = if metadata_bytes > 0 { libc::XDP_UMEM_TX_METADATA_LEN } else { 0 };
    let request = libc::xdp_umem_reg {
        addr: base.as_ptr().expose_provenance() as u64,
        len: bytes as u64,
        chunk_size: u32::try_from(CHUNK_BYTES).expect("a chunk is short"),
        headroom: 0,
        flags: libc::XDP_UMEM_UNALIGNED_CHUNK_FLAG | metadata,
        tx_metadata_len: metadata_bytes,
    };
    set(fd, libc::SOL_XDP, libc::XDP_UMEM_REG, &request)
}

pub(crate) fn make_ring(fd: BorrowedFd<'_>, ring: Ring, slots: u32) -> io::Result<()> {
    set(fd, libc::SOL_XDP, ring.option(), &slots)
}

/// Where things lie in a ring's mapping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offsets {
    pub(crate) producer: usize,
    pub(crate) consumer: usize,
    pub(crate) flags: usize,
    pub(crate) slots: usize,
}

/// The offsets of the rings, in the order of [`Ring`].
pub(crate) fn offsets(fd: BorrowedFd<'_>) -> io::Result<[Offsets; 4]> {
    let none = || libc::xdp_ring_offset { producer: 0, consumer: 0, desc: 0, flags: 0 };
    let mut answer = libc::xdp_mmap_offsets { rx: none(), tx: none(), fr: none(), cr: none() };
    let asked = length_of::<libc::xdp_mmap_offsets>();
    let mut length = asked;
    let pointer = &raw mut answer;
    // SAFETY: the answer and its length live through the call.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_MMAP_OFFSETS,
            pointer.cast(),
            &raw mut length,
        )
    })?;
    if length != asked {
        // A kernel before 5.4, whose rings have no flags.
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    let place = |offset: u64| usize::try_from(offset).expect("an offset in a mapping");
    Ok([answer.rx, answer.tx, answer.fr, answer.cr].map(|ring| Offsets {
        producer: place(ring.producer),
        consumer: place(ring.consumer),
        flags: place(ring.flags),
        slots: place(ring.desc),
    }))
}

/// Binds the socket to a queue of an interface.
pub(crate) fn bind(fd: BorrowedFd<'_>, interface: u32, queue: u32, flags: u16) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: c_ushort::try_from(libc::AF_XDP).expect("the family fits"),
        sxdp_flags: flags,
        sxdp_ifindex: interface,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: 0,
    };
    let address = &raw const address;
    // SAFETY: the address lives through the call, and its length is given.
    check(unsafe { libc::bind(fd.as_raw_fd(), address.cast(), length_of::<libc::sockaddr_xdp>()) })
}

/// The kernel took the zero-copy way, after a bind that left it the choice.
pub(crate) fn is_zero_copy(fd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut options = libc::xdp_options { flags: 0 };
    read(fd, libc::XDP_OPTIONS, &mut options)?;
    Ok(options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0)
}

pub(crate) fn statistics(fd: BorrowedFd<'_>) -> io::Result<libc::xdp_statistics> {
    let mut statistics = libc::xdp_statistics {
        rx_dropped: 0,
        rx_invalid_descs: 0,
        tx_invalid_descs: 0,
        rx_ring_full: 0,
        rx_fill_ring_empty_descs: 0,
        tx_ring_empty_descs: 0,
    };
    read(fd, libc::XDP_STATISTICS, &mut statistics)?;
    Ok(statistics)
}

/// Lets one call send `packets` in copy mode. Older kernels stay at 32.
pub(crate) fn widen_calls(fd: BorrowedFd<'_>, packets: u32) {
    let _ = set(fd, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &packets);
}

/// Lets so many bytes of packets wait for the driver in copy mode, as far as we may.
pub(crate) fn widen_sends(fd: BorrowedFd<'_>, bytes: c_int) {
    if set(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &bytes).is_err() {
        let _ = set(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, &bytes);
    }
}

/// Our calls poll the queue themselves, and its interrupt stays off while they do.
pub(crate) fn set_busy_poll(fd: BorrowedFd<'_>, micros: u32, budget: u32) -> io::Result<()> {
    set(fd, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, &1_i32)?;
    set(fd, libc::SOL_SOCKET, SO_BUSY_POLL, &micros)?;
    set(fd, libc::SOL_SOCKET, SO_BUSY_POLL_BUDGET, &budget)
}

/// Has the kernel look at the TX ring.
pub(crate) fn wake_tx(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no buffer and no address are given.
    let result = unsafe {
        libc::sendto(fd.as_raw_fd(), core::ptr::null(), 0, libc::MSG_DONTWAIT, core::ptr::null(), 0)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Has the kernel look at the fill ring, and poll the queue where it is polled by us.
pub(crate) fn wake_rx(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no buffer and no address are given.
    let result = unsafe {
        libc::recvfrom(
            fd.as_raw_fd(),
            core::ptr::null_mut(),
            0,
            libc::MSG_DONTWAIT,
            core::ptr::null_mut(),
            core::ptr::null_mut(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set<T: Copy>(fd: BorrowedFd<'_>, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let pointer = core::ptr::from_ref(value);
    // SAFETY: the value lives through the call, and its length is given.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, pointer.cast(), length_of::<T>()) })
}

/// Reads an option that is a structure of numbers; an older kernel fills less of it.
fn read<T: Copy>(fd: BorrowedFd<'_>, option: c_int, value: &mut T) -> io::Result<()> {
    let mut length = length_of::<T>();
    let pointer = core::ptr::from_mut(value);
    // SAFETY: the value and its length live through the call, and any bytes make numbers.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_XDP, option, pointer.cast(), &raw mut length) })
}

fn length_of<T>() -> socklen_t {
    socklen_t::try_from(size_of::<T>()).expect("an option is short")
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
