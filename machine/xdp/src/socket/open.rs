//! How a socket comes to be: memory, rings, and the best mode that the driver takes.

use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use dma::{CHUNK_BYTES, Pool};
use rings::RingSize;

use super::{CopyMode, METADATA_BYTES, Socket, SocketConfig, SocketCounters, SocketFacts, SocketState};
use crate::error::XdpError;
use crate::ring::{EmptiedRing, FilledRing};
use crate::sys::socket::{self as sys, Ring};

/// What the kernel keeps free in a chunk before a packet (XDP_PACKET_HEADROOM).
const RECEIVE_HEADROOM_BYTES: u32 = 256;

pub(super) fn open(
    fd: OwnedFd,
    interface: u32,
    queue: u32,
    pool: &Pool,
    config: SocketConfig,
) -> Result<Socket, XdpError> {
    assert!(config.rx_slots > 0 || config.tx_slots > 0, "a socket without rings");
    let metadata = register(&fd, pool, config.metadata)?;

    let refused = |attempt| move |source: io::Error| XdpError::of(attempt, "CAP_NET_RAW", source);
    let size = |slots: u32| (slots > 0).then(|| RingSize::at_least(slots));
    let (rx_size, tx_size) = (size(config.rx_slots), size(config.tx_slots));
    let fill_size = RingSize::at_least(config.receive_chunks.max(1));
    // Room for all that is staged while as much is still on its way.
    let completion_size = RingSize::at_least(2 * config.tx_slots.max(1));
    let sizes = [
        (Ring::Rx, rx_size),
        (Ring::Tx, tx_size),
        (Ring::Fill, Some(fill_size)),
        (Ring::Completion, Some(completion_size)),
    ];
    for (ring, size) in sizes {
        if let Some(size) = size {
            sys::make_ring(fd.as_fd(), ring, size.slots()).map_err(refused("make a ring"))?;
        }
    }
    let [rx_at, tx_at, fill_at, completion_at] =
        sys::offsets(fd.as_fd()).map_err(refused("learn where rings lie"))?;
    let mapping = refused("map a ring");
    let rx = rx_size
        .map(|size| EmptiedRing::map(fd.as_fd(), Ring::Rx, rx_at, size))
        .transpose()
        .map_err(mapping)?;
    let tx = tx_size
        .map(|size| FilledRing::map(fd.as_fd(), Ring::Tx, tx_at, size))
        .transpose()
        .map_err(mapping)?;
    let fill = FilledRing::map(fd.as_fd(), Ring::Fill, fill_at, fill_size).map_err(mapping)?;
    let completion =
        EmptiedRing::map(fd.as_fd(), Ring::Completion, completion_at, completion_size).map_err(mapping)?;

    let busy_poll =
        config.busy_poll.is_some_and(|poll| sys::set_busy_poll(fd.as_fd(), poll.micros, poll.budget).is_ok());
    let (zero_copy, multi_buffer) = bind(&fd, interface, queue, config)?;
    if !zero_copy {
        sys::widen_calls(fd.as_fd(), tx_size.map_or(0, RingSize::slots));
    }
    let mut socket = Socket {
        fd,
        rx,
        fill,
        tx,
        completion,
        facts: SocketFacts { zero_copy, multi_buffer, metadata, busy_poll },
        state: SocketState::Up,
        counters: SocketCounters::default(),
        pool: pool.clone(),
        lent: (0..pool.chunk_count()).map(|_| None).collect(),
        lent_count: 0,
        lent_max: if config.rx_slots > 0 { config.receive_chunks } else { 0 },
        taken: 0,
        sent: VecDeque::new(),
        returned: 0,
    };
    socket.replenish();
    Ok(socket)
}

/// Tells the kernel of the arena. Returns whether descriptors may have metadata before them.
fn register(fd: &OwnedFd, pool: &Pool, metadata: bool) -> Result<bool, XdpError> {
    let register = |metadata: bool| {
        let bytes = if metadata { METADATA_BYTES } else { 0 };
        sys::register(fd.as_fd(), pool, u32::try_from(bytes).expect("short"))
    };
    let result = patiently(libc::ENOBUFS, || match register(metadata) {
        // A kernel before 6.8 knows no metadata.
        Err(error) if metadata && error.raw_os_error() == Some(libc::EINVAL) => {
            register(false).map(|()| false)
        }
        other => other.map(|()| metadata),
    });
    result.map_err(|source| match source.raw_os_error() {
        Some(libc::ENOBUFS) => XdpError::Memlock { bytes: pool.region().1 },
        _ => XdpError::of("register the packet memory", "CAP_NET_RAW", source),
    })
}

/// How long a socket that was closed may still have its queue, and its memory count as pinned: the kernel tidies up in the
/// background.
const CLOSING: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(5);

/// Tries again for a while what fails with `errno` for as long as an older socket is being tidied up.
fn patiently<T>(errno: i32, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut waited = Duration::ZERO;
    loop {
        match attempt() {
            Err(error) if error.raw_os_error() == Some(errno) && waited < CLOSING => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "a socket is opened when its worker has no link"
                )]
                std::thread::sleep(PAUSE);
                waited += PAUSE;
            }
            result => return result,
        }
    }
}

/// Binds in the best way that the driver takes. Returns whether it is zero-copy, and whether packets may have several
/// pieces.
fn bind(fd: &OwnedFd, interface: u32, queue: u32, config: SocketConfig) -> Result<(bool, bool), XdpError> {
    patiently(libc::EBUSY, || bind_now(fd, interface, queue, config)).map_err(|source| {
        match source.raw_os_error() {
            Some(libc::EINVAL) => XdpError::NoQueue { queue },
            _ => XdpError::of("bind an AF_XDP socket to the interface", "CAP_NET_RAW", source),
        }
    })
}

fn bind_now(fd: &OwnedFd, interface: u32, queue: u32, config: SocketConfig) -> io::Result<(bool, bool)> {
    let chunk_room = u32::try_from(CHUNK_BYTES).expect("a chunk is short") - RECEIVE_HEADROOM_BYTES;
    let ways: &[bool] = match config.copy_mode {
        CopyMode::Best => &[true, false],
        CopyMode::ZeroCopy => &[true],
        CopyMode::Copy => &[false],
    };
    let pieces: &[bool] = if config.packet_bytes_max > chunk_room { &[true] } else { &[true, false] };
    let mut last = None;
    for zero_copy in ways {
        for multi_buffer in pieces {
            let way = if *zero_copy { libc::XDP_ZEROCOPY } else { libc::XDP_COPY };
            let several = if *multi_buffer { libc::XDP_USE_SG } else { 0 };
            let flags = way | several | libc::XDP_USE_NEED_WAKEUP;
            match sys::bind(fd.as_fd(), interface, queue, flags) {
                Ok(()) => return Ok((sys::is_zero_copy(fd.as_fd()).unwrap_or(*zero_copy), *multi_buffer)),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => return Err(error),
                Err(error) => last = Some(error),
            }
        }
    }
    Err(last.expect("at least one way was tried"))
}
