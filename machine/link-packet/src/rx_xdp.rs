//! The receiving half through AF_XDP: a steering program takes what is ours before the kernel sees it.
//!
//! Nothing is merged, so that nearly every packet is one chunk, lent as it lies. A packet in several is gathered. Nothing is
//! said of checksums: they are looked at in software, and a peer on the same host must have finished them.

use std::os::fd::{BorrowedFd, OwnedFd};

use dma::Pool;
use platform::{LinkCounters, Received};
use xdp::{CopyMode, Piece, Socket, SocketConfig, SocketFacts, SocketState, XdpError};

/// The largest packet that is gathered.
const ASSEMBLY_BYTES_MAX: usize = 64 << 10;

/// An AF_XDP socket that only receives.
#[derive(Debug)]
pub(crate) struct XdpReceiver {
    socket: Socket,
    queue: u32,
    lent: Option<Piece>,
    /// A packet in several pieces, as far as it has come.
    assembly: Vec<u8>,
    /// The last piece taken was not a packet's last.
    gathering: bool,
    /// The packet being gathered is too large, and what follows of it is passed over.
    overlong: bool,
}

impl XdpReceiver {
    pub(crate) fn open(
        fd: OwnedFd,
        (interface, queue): (u32, u32),
        pool: &Pool,
        (chunks, copy_mode, packet_bytes_max): (u32, CopyMode, u32),
    ) -> Result<Self, XdpError> {
        let config = SocketConfig {
            rx_slots: chunks,
            tx_slots: 0,
            receive_chunks: chunks,
            copy_mode,
            packet_bytes_max,
            ..SocketConfig::default()
        };
        Ok(Self {
            socket: Socket::open(fd, interface, queue, pool, config)?,
            queue,
            lent: None,
            assembly: Vec::with_capacity(ASSEMBLY_BYTES_MAX),
            gathering: false,
            overlong: false,
        })
    }

    pub(crate) fn facts(&self) -> SocketFacts {
        self.socket.facts()
    }

    pub(crate) fn queue(&self) -> u32 {
        self.queue
    }

    pub(crate) fn pool(&self) -> &Pool {
        self.socket.pool()
    }

    /// Asks the kernel whether the interface is there: with one that is not, chunks come back at once.
    pub(crate) fn check(&mut self) {
        self.socket.check();
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.socket.state() == SocketState::Gone
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.socket)
    }

    pub(crate) fn receive(&mut self, counters: &mut LinkCounters) -> Option<Received<'_>> {
        self.lent = None;
        loop {
            let piece = self.socket.receive()?;
            let first = !core::mem::replace(&mut self.gathering, piece.continues);
            if first {
                self.assembly.clear();
                self.overlong = false;
                if !piece.continues {
                    counters.received += 1;
                    counters.received_bytes += piece.len as u64;
                    let piece = self.lent.insert(piece);
                    return Some(Received { bytes: piece.bytes(), verified: false });
                }
            }
            self.overlong |= self.assembly.len() + piece.len > ASSEMBLY_BYTES_MAX;
            if !self.overlong {
                self.assembly.extend_from_slice(piece.bytes());
            }
            if self.gathering {
                continue;
            }
            if self.overlong {
                counters.receive_errors += 1;
                continue;
            }
            counters.received += 1;
            counters.received_bytes += self.assembly.len() as u64;
            return Some(Received { bytes: &self.assembly, verified: false });
        }
    }
}
