//! Many datagrams by one system call.

#![expect(unsafe_code, reason = "recvmmsg(2) has no safe wrapper")]

use core::ptr;
use rustix::io::Errno;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// Datagrams a call brings at most.
pub(super) const BATCH: usize = 64;

/// Room for a batch of datagrams, each of at most `stride` bytes.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Box<[u8]>,
    stride: usize,
    lens: [usize; BATCH],
}

impl Batch {
    pub(super) fn new(stride: usize) -> Self {
        Self { bytes: vec![0; BATCH * stride].into(), stride, lens: [0; BATCH] }
    }

    /// The room of a datagram; [`set_len`](Self::set_len) says how much of it was used.
    pub(super) fn room_mut(&mut self, index: usize) -> &mut [u8] {
        &mut self.bytes[index * self.stride..][..self.stride]
    }

    pub(super) fn set_len(&mut self, index: usize, len: usize) {
        self.lens[index] = len.min(self.stride);
    }

    /// A datagram.
    pub(super) fn message(&self, index: usize) -> &[u8] {
        &self.bytes[index * self.stride..][..self.lens[index]]
    }

    /// Sends the first `count` on a connected socket; how many went.
    pub(super) fn send(&mut self, socket: BorrowedFd<'_>, count: usize) -> Result<usize, Errno> {
        let lens = self.lens;
        self.call(&lens, count, |headers, count| {
            // SAFETY: `headers` points at `count` headers, each with one buffer within `self.bytes`, which outlive the call.
            unsafe { libc::sendmmsg(socket.as_raw_fd(), headers, count, libc::MSG_DONTWAIT) }
        })
        .map(|(sent, _)| sent)
    }

    /// Receives what there is, as much as fits; how many came.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> Result<usize, Errno> {
        let (count, lens) = self.call(&[self.stride; BATCH], BATCH, |headers, count| {
            // SAFETY: `headers` points at `count` headers, each with one buffer within `self.bytes`, which outlive the call
            // and are borrowed for it alone.
            unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, count, libc::MSG_DONTWAIT, ptr::null_mut()) }
        })?;
        self.lens = lens;
        Ok(count)
    }

    /// Makes headers for the first `count` buffers, of these lengths, for a call; returns what it returned, and the
    /// lengths it left.
    fn call(
        &mut self,
        lens: &[usize; BATCH],
        count: usize,
        call: impl FnOnce(*mut libc::mmsghdr, libc::c_uint) -> libc::c_int,
    ) -> Result<(usize, [usize; BATCH]), Errno> {
        let (base, stride) = (self.bytes.as_mut_ptr(), self.stride);
        let mut buffers: [libc::iovec; BATCH] = core::array::from_fn(|index| libc::iovec {
            iov_base: base.wrapping_add(index * stride).cast(),
            iov_len: lens[index],
        });
        let first = buffers.as_mut_ptr();
        let mut headers: [libc::mmsghdr; BATCH] = core::array::from_fn(|index| libc::mmsghdr {
            msg_hdr: libc::msghdr {
                msg_name: ptr::null_mut(),
                msg_namelen: 0,
                msg_iov: first.wrapping_add(index),
                msg_iovlen: 1,
                msg_control: ptr::null_mut(),
                msg_controllen: 0,
                msg_flags: 0,
            },
            msg_len: 0,
        });
        let number = libc::c_uint::try_from(count.min(BATCH)).unwrap_or(0);
        let done = call(headers.as_mut_ptr(), number);
        let Ok(done) = usize::try_from(done) else {
            let errno = std::io::Error::last_os_error().raw_os_error();
            return Err(Errno::from_raw_os_error(errno.unwrap_or(libc::EIO)));
        };
        Ok((done, headers.map(|header| (header.msg_len as usize).min(stride))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_batch_goes_and_comes_in_order() {
        let (near, far) = UnixDatagram::pair().unwrap();
        let (mut out, mut back) = (Batch::new(16), Batch::new(16));
        for index in 0..3 {
            out.room_mut(index)[..=index].fill(b'a' + u8::try_from(index).unwrap());
            out.set_len(index, index + 1);
        }
        assert_eq!(out.send(near.as_fd(), 3), Ok(3));
        assert_eq!(back.receive(far.as_fd()), Ok(3));
        assert_eq!([back.message(0), back.message(1), back.message(2)], [&b"a"[..], b"bb", b"ccc"]);
        assert_eq!(back.receive(far.as_fd()), Err(Errno::AGAIN));
    }
}
