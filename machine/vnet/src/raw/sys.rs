//! `recvmmsg(2)` and `sendmmsg(2)` on a packet socket, with the VLAN tag that the kernel keeps beside a frame
//! (`PACKET_AUXDATA`, packet(7)).
//!
//! Everything here is synchronous: the kernel holds no pointer of ours after a call.

#![expect(unsafe_code, reason = "lends buffers to the kernel, for the length of a call")]

use core::fmt;
use core::ptr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use arrayvec::ArrayVec;
use libc::{c_int, c_uint};
use rustix::io::Errno;

use super::{Arrival, RAW_BATCH_MAX, Sent, VlanTag};

const TPID_CUSTOMER: u16 = 0x8100;

/// Room for one `tpacket_auxdata` and its head, aligned as a head must be.
const CONTROL_WORDS: usize = 8;
const _: () = assert!(
    // SAFETY: arithmetic on a length.
    unsafe { libc::CMSG_SPACE(AUXDATA_BYTES) } as usize <= CONTROL_WORDS * 8
);
const AUXDATA_BYTES: c_uint = 20;
const _: () = assert!(size_of::<libc::tpacket_auxdata>() == AUXDATA_BYTES as usize);

/// The heads of a batch. Their pointers are set anew for every call.
pub(super) struct MessageBatch {
    heads: Box<[libc::mmsghdr; RAW_BATCH_MAX]>,
    pieces: Box<[[libc::iovec; 2]; RAW_BATCH_MAX]>,
    controls: Box<[[u64; CONTROL_WORDS]; RAW_BATCH_MAX]>,
}

impl MessageBatch {
    /// Asks the socket for the tags of frames.
    pub(super) fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let yes: c_int = 1;
        let length = libc::socklen_t::try_from(size_of::<c_int>()).expect("short");
        let value = &raw const yes;
        // SAFETY: the integer lives through the call, and its length is given.
        let set = unsafe {
            libc::setsockopt(fd.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_AUXDATA, value.cast(), length)
        };
        if set < 0 {
            return Err(io::Error::last_os_error());
        }
        let none = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        // SAFETY: a message head is plain, and all zeroes is one of nothing.
        let head: libc::mmsghdr = unsafe { core::mem::zeroed() };
        Ok(Self {
            heads: Box::new([head; RAW_BATCH_MAX]),
            pieces: Box::new([[none; 2]; RAW_BATCH_MAX]),
            controls: Box::new([[0; CONTROL_WORDS]; RAW_BATCH_MAX]),
        })
    }

    /// Receives into the rooms; see [`RawQueue::receive`](super::RawQueue::receive).
    pub(super) fn receive<'a>(
        &mut self,
        fd: BorrowedFd<'_>,
        rooms: impl Iterator<Item = [&'a mut [u8]; 2]>,
        arrivals: &mut ArrayVec<Arrival, RAW_BATCH_MAX>,
    ) -> io::Result<()> {
        let mut count = 0;
        for (room, ((head, pieces), control)) in
            rooms.zip(self.heads.iter_mut().zip(self.pieces.iter_mut()).zip(self.controls.iter_mut()))
        {
            *pieces =
                room.map(|piece| libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: piece.len() });
            head.msg_hdr.msg_iov = pieces.as_mut_ptr();
            head.msg_hdr.msg_iovlen = 2;
            head.msg_hdr.msg_control = control.as_mut_ptr().cast();
            head.msg_hdr.msg_controllen = size_of_val(control);
            head.msg_hdr.msg_flags = 0;
            count += 1;
        }
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: `count` heads were just filled; what they name is borrowed exclusively until this function returns,
        // and the call is over before.
        let received =
            unsafe { libc::recvmmsg(fd.as_raw_fd(), self.heads.as_mut_ptr(), count, flags, ptr::null_mut()) };
        let Ok(received) = usize::try_from(received) else {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                // Nothing there, a signal, or a frame that the kernel could not describe and has dropped.
                Some(libc::EAGAIN | libc::EINTR | libc::EINVAL) => Ok(()),
                _ => Err(error),
            };
        };
        for (room, (head, control)) in self.heads[..received].iter().zip(self.controls.iter()).enumerate() {
            arrivals.push(Arrival {
                room,
                len: usize::try_from(head.msg_len).expect("32 bits fit"),
                tag: tag_of(&head.msg_hdr, control),
                truncated: head.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            });
        }
        Ok(())
    }

    /// Sends the frames; see [`RawQueue::send`](super::RawQueue::send).
    pub(super) fn send<'a>(
        &mut self,
        fd: BorrowedFd<'_>,
        frames: impl Iterator<Item = &'a [u8]>,
        sent: &mut Sent,
    ) {
        let mut count = 0;
        for (frame, (head, pieces)) in frames.zip(self.heads.iter_mut().zip(self.pieces.iter_mut())) {
            pieces[0] = libc::iovec { iov_base: frame.as_ptr().cast_mut().cast(), iov_len: frame.len() };
            head.msg_hdr.msg_iov = pieces.as_mut_ptr();
            head.msg_hdr.msg_iovlen = 1;
            head.msg_hdr.msg_control = ptr::null_mut();
            head.msg_hdr.msg_controllen = 0;
            head.msg_hdr.msg_flags = 0;
            count += 1;
        }
        while sent.done < count {
            let rest = &mut self.heads[sent.done..count];
            let len = c_uint::try_from(rest.len()).expect("a batch");
            // SAFETY: these heads were just filled; the frames they name are borrowed until this function returns, and
            // the call, which only reads them, is over before.
            let taken = unsafe { libc::sendmmsg(fd.as_raw_fd(), rest.as_mut_ptr(), len, libc::MSG_DONTWAIT) };
            if let Ok(taken) = usize::try_from(taken) {
                sent.done += taken;
                continue;
            }
            // The error is that of the first frame that was not taken.
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) => return,
                error => {
                    sent.done += 1;
                    sent.refused += 1;
                    sent.refusal = error.map(Errno::from_raw_os_error);
                }
            }
        }
    }
}

/// Frames that a packet socket had no room for since the last call (`PACKET_STATISTICS`).
pub(super) fn missed(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut statistics = libc::tpacket_stats { tp_packets: 0, tp_drops: 0 };
    let mut length = libc::socklen_t::try_from(size_of_val(&statistics)).expect("short");
    let value = &raw mut statistics;
    // SAFETY: the statistics and their length live through the call.
    let got = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            value.cast(),
            &raw mut length,
        )
    };
    if got < 0 { Err(io::Error::last_os_error()) } else { Ok(statistics.tp_drops.into()) }
}

/// The tag beside a frame.
fn tag_of(head: &libc::msghdr, control: &[u64; CONTROL_WORDS]) -> Option<VlanTag> {
    let data: libc::tpacket_auxdata = {
        // SAFETY: the control buffer that the head names lives, and the kernel has set its length.
        let first = unsafe { libc::CMSG_FIRSTHDR(head) };
        if first.is_null() || control.is_empty() {
            return None;
        }
        // SAFETY: not null, so it points to a head within the buffer, which is aligned for one.
        let kind = unsafe { first.read() };
        if (kind.cmsg_level, kind.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
            return None;
        }
        // SAFETY: the data behind a head that the kernel wrote.
        let data = unsafe { libc::CMSG_DATA(first) };
        // SAFETY: the buffer has room for it by the assertion above, and the kernel writes all of it or no head.
        unsafe { data.cast::<libc::tpacket_auxdata>().read_unaligned() }
    };
    if data.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
        return None;
    }
    let told = data.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
    Some(VlanTag { tpid: if told { data.tp_vlan_tpid } else { TPID_CUSTOMER }, tci: data.tp_vlan_tci })
}

impl fmt::Debug for MessageBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageBatch").finish_non_exhaustive()
    }
}
