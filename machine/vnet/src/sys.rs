//! Many writes, or many reads, in one system call.
//!
//! Everything here is synchronous: a batch is submitted and waited for before the call returns, so that the
//! kernel holds no pointer of ours in between. Each operation ends within the submission, with `EAGAIN` where
//! it would have waited: `RWF_NOWAIT` says so, because io_uring takes a nonblocking descriptor for one that
//! it may wait for itself.

#![expect(unsafe_code, reason = "lends buffers to io_uring, for the length of a call")]

use core::fmt;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::register::Restriction;
use io_uring::{IoUring, opcode, squeue, types};
use platform::PARTS_MAX;

use crate::slot::{Incoming, Outgoing};

/// The most operations in one batch.
pub(crate) const BATCH_MAX: usize = 64;

/// The head and every part.
const PIECES_MAX: usize = 1 + PARTS_MAX;

/// The registered descriptor.
const FILE: types::Fixed = types::Fixed(0);

/// The memory of the iovecs of a batch.
struct Iovecs([[libc::iovec; PIECES_MAX]; BATCH_MAX]);

/// A ring for one descriptor.
pub(crate) struct BatchRing {
    ring: IoUring,
    iovecs: Box<Iovecs>,
    /// The results of the last batch, in the order in which it was submitted.
    results: [i32; BATCH_MAX],
}

impl BatchRing {
    /// A ring for `fd`, which must know `RWF_NOWAIT`. Belongs to the calling thread.
    pub(crate) fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let entries = u32::try_from(BATCH_MAX).expect("small");
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_r_disabled()
            .dontfork()
            .build(entries)
            // Kernels before 6.1 do not know these.
            .or_else(|_| {
                IoUring::builder().setup_submit_all().setup_r_disabled().dontfork().build(entries)
            })?;
        ring.submitter().register_files(&[fd.as_raw_fd()])?;
        restrict(&ring)?;
        let none = libc::iovec { iov_base: core::ptr::null_mut(), iov_len: 0 };
        Ok(Self { ring, iovecs: Box::new(Iovecs([[none; PIECES_MAX]; BATCH_MAX])), results: [0; BATCH_MAX] })
    }

    /// Goes on with another descriptor. What was submitted to the old one has ended.
    pub(crate) fn replace(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.ring.submitter().register_files_update(0, &[fd.as_raw_fd()]).map(drop)
    }

    /// Writes each packet. Returns what became of each: bytes written, or a negative errno.
    pub(crate) fn write<'a>(&mut self, packets: impl Iterator<Item = &'a Outgoing>) -> io::Result<&[i32]> {
        self.writev(packets.map(Outgoing::pieces))
    }

    /// The same with each packet as its pieces, of which there may be as many as a packet has.
    pub(crate) fn writev<'a, P: Iterator<Item = &'a [u8]>>(
        &mut self,
        packets: impl Iterator<Item = P>,
    ) -> io::Result<&[i32]> {
        let mut count = 0;
        for (packet, iovecs) in packets.zip(&mut self.iovecs.0) {
            let mut pieces = 0;
            for (piece, iovec) in packet.zip(&mut *iovecs) {
                *iovec = libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() };
                pieces += 1;
            }
            let entry = opcode::Writev::new(FILE, iovecs.as_ptr(), pieces)
                .rw_flags(libc::RWF_NOWAIT)
                .build()
                .user_data(count);
            // SAFETY: the iovecs and what they name outlive the batch: `run` waits for its end, and both
            // borrows last until this function returns. A write only reads them.
            unsafe { push(&mut self.ring, &entry) }?;
            count += 1;
        }
        self.run(count)
    }

    /// Reads one packet into each buffer. Returns what became of each: bytes read, or a negative errno.
    pub(crate) fn read(&mut self, buffers: &mut [Incoming]) -> io::Result<&[i32]> {
        let mut count = 0;
        for buffer in buffers.iter_mut().take(BATCH_MAX) {
            let room = buffer.room_mut();
            let len = u32::try_from(room.len()).unwrap_or(u32::MAX);
            let entry = opcode::Read::new(FILE, room.as_mut_ptr(), len)
                .rw_flags(libc::RWF_NOWAIT)
                .build()
                .user_data(count);
            // SAFETY: the buffer is borrowed exclusively until this function returns, and `run` waits for the
            // end.
            unsafe { push(&mut self.ring, &entry) }?;
            count += 1;
        }
        self.run(count)
    }

    /// The same into two pieces of memory for each packet.
    pub(crate) fn readv<'a>(&mut self, rooms: impl Iterator<Item = [&'a mut [u8]; 2]>) -> io::Result<&[i32]> {
        let mut count = 0;
        for (room, iovecs) in rooms.zip(&mut self.iovecs.0) {
            for (piece, iovec) in room.into_iter().zip(&mut *iovecs) {
                *iovec = libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: piece.len() };
            }
            let entry = opcode::Readv::new(FILE, iovecs.as_ptr(), 2)
                .rw_flags(libc::RWF_NOWAIT)
                .build()
                .user_data(count);
            // SAFETY: the iovecs and the rooms they name outlive the batch: both are borrowed exclusively until this
            // function returns, and `run` waits for the end.
            unsafe { push(&mut self.ring, &entry) }?;
            count += 1;
        }
        self.run(count)
    }

    /// Submits `count` operations and waits until all have ended. After an error the kernel holds nothing of
    /// ours, but the ring still queues what it refused: it must be dropped.
    fn run(&mut self, count: u64) -> io::Result<&[i32]> {
        let count = usize::try_from(count).expect("a batch");
        let (mut taken, mut done) = (0, 0);
        while done < count {
            match self.ring.submit_and_wait(count - done) {
                Ok(submitted) => taken += submitted,
                Err(error) if is_transient(&error) => {}
                Err(error) if taken == done => return Err(error),
                // The kernel holds pointers and will not say when it lets go of them: no code of ours may run
                // on.
                Err(_) => std::process::abort(),
            }
            for completion in self.ring.completion() {
                let index = usize::try_from(completion.user_data()).expect("an index of ours");
                self.results[index] = completion.result();
                done += 1;
            }
        }
        Ok(&self.results[..count])
    }
}

/// `IORING_UNREGISTER_FILES` and `IORING_REGISTER_FILES_UPDATE` (linux/io_uring.h).
const REGISTER_OPERATIONS: [u8; 2] = [3, 6];
/// `IOSQE_FIXED_FILE`: the file is the registered one.
const FIXED_FILE: u8 = 1;

/// Lets the ring read from and write to the registered file, and nothing else, for ever: seccomp does not see what a ring
/// is asked to do.
fn restrict(ring: &IoUring) -> io::Result<()> {
    let mut allowed = vec![
        Restriction::sqe_op(opcode::Writev::CODE),
        Restriction::sqe_op(opcode::Read::CODE),
        Restriction::sqe_op(opcode::Readv::CODE),
        Restriction::sqe_flags_allowed(FIXED_FILE),
        Restriction::sqe_flags_required(FIXED_FILE),
    ];
    allowed.extend(REGISTER_OPERATIONS.map(Restriction::register_op));
    ring.submitter().register_restrictions(&mut allowed)?;
    ring.submitter().register_enable_rings()
}

/// # Safety
/// What the entry points to must stay valid until it has completed.
unsafe fn push(ring: &mut IoUring, entry: &squeue::Entry) -> io::Result<()> {
    // SAFETY: by the contract of this function.
    unsafe { ring.submission().push(entry) }.map_err(|_| io::Error::from_raw_os_error(libc::EBUSY))
}

impl Drop for BatchRing {
    fn drop(&mut self) {
        // The kernel closes a ring in the background, and a TAP device would outlive its owner by as long. A
        // refusal changes only that.
        let _ = self.ring.submitter().unregister_files();
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ETIME))
}

impl fmt::Debug for BatchRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchRing").field("ring", &self.ring.as_raw_fd()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_does_what_it_is_for_and_nothing_else() {
        let (ours, _theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let Ok(mut ring) = BatchRing::open(std::os::fd::AsFd::as_fd(&ours)) else { return };
        let fixed = squeue::Flags::FIXED_FILE;
        // Fallocate and fsync have no pointers; the last one names a descriptor that is not the registered one.
        for entry in [
            opcode::Fsync::new(FILE).build(),
            opcode::Nop::new().build().flags(fixed),
            opcode::Fsync::new(types::Fd(ours.as_raw_fd())).build(),
        ] {
            // SAFETY: none of these entries points to anything.
            unsafe { push(&mut ring.ring, &entry) }.unwrap();
            assert_eq!(ring.run(1).unwrap(), [-libc::EACCES]);
        }
        let refused = ring.ring.submitter().register_eventfd(ours.as_raw_fd()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
    }
}
