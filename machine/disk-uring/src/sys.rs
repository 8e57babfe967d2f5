//! The ring, and the memory that the kernel reads and writes while an operation is on its way.
//!
//! ```text
//!   slot 0 | frames of a read, their iovecs | path, how, statx of an open |      one operation at a time
//!   slot 1 | …
//! ```
//!
//! The ring owns the frames of a read from [`Ring::read`] until the operation has ended, so that no safe code
//! can touch or free them meanwhile. Dropping the ring waits for what is on its way.

#![expect(unsafe_code, reason = "lends memory to the kernel while an operation is on its way")]

use core::cell::UnsafeCell;
use core::fmt;
use core::ptr::NonNull;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use io_uring::register::Restriction;
use io_uring::{IoUring, Probe, opcode, squeue, types};
use platform::{TARGETS_MAX, Targets};
use rustix::event::{EventfdFlags, eventfd};

use crate::error::UringError;

/// The most bytes of one registered buffer that every kernel accepts.
const BUFFER_BYTES_MAX: usize = 1 << 30;

/// `IORING_OP_READV_FIXED`, since Linux 6.15.
const READV_FIXED: u8 = opcode::ReadvFixed::CODE;

/// What the kernel reads and writes for one operation.
struct Area {
    targets: Targets,
    iovecs: [libc::iovec; TARGETS_MAX],
    path: CString,
    how: types::OpenHow,
    statx: libc::statx,
    /// The operation opens a file.
    opens: bool,
    /// The file that it opened.
    opened: Option<OwnedFd>,
    /// An operation of this slot is with the kernel.
    busy: bool,
}

/// What STATX said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) mode: u32,
    pub(crate) len: u64,
    pub(crate) mtime_ns: i64,
    pub(crate) inode: u64,
    pub(crate) device: u64,
    /// What direct reads ask of memory and of offsets, in bytes: zeroes when they are not possible, `None`
    /// when the filesystem does not say.
    pub(crate) direct: Option<(u32, u32)>,
}

/// Which optional parts of io_uring this machine gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offered {
    pub(crate) defer_taskrun: bool,
    pub(crate) registered_buffers: bool,
    pub(crate) vectored_fixed: bool,
}

pub(crate) struct Ring {
    ring: IoUring,
    /// The kernel writes to it when an operation has ended. A ring whose completions are deferred to its
    /// owner does not wake who polls the ring itself: the owner would sleep on, with its reads done.
    alarm: OwnedFd,
    areas: Box<[UnsafeCell<Area>]>,
    /// The registered region; reads outside of it are made without.
    region: Option<(usize, usize)>,
    offered: Offered,
    /// Operations queued or with the kernel.
    on_their_way: usize,
    /// Operations queued and not yet submitted.
    queued: usize,
}

impl Ring {
    /// A ring of `slots` operations at once, with a table of `files` files. Belongs to the calling thread.
    pub(crate) fn open(slots: u32, files: u32, region: (NonNull<u8>, usize)) -> Result<Self, UringError> {
        let (ring, defer_taskrun) = setup(slots)?;
        let mut probe = Probe::new();
        ring.submitter()
            .register_probe(&mut probe)
            .map_err(|source| UringError::Refused { attempt: "say what its io_uring can do", source })?;
        for (name, code) in [
            ("OPENAT2", opcode::OpenAt2::CODE),
            ("STATX", opcode::Statx::CODE),
            ("READ_FIXED", opcode::ReadFixed::CODE),
            ("READV", opcode::Readv::CODE),
        ] {
            if !probe.is_supported(code) {
                return Err(UringError::Operation { name });
            }
        }
        register_table(&ring, files).map_err(|source| match source.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => UringError::Descriptors,
            _ => UringError::Refused { attempt: "register a table of files", source },
        })?;
        let alarm = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|source| UringError::Refused { attempt: "make an eventfd", source: source.into() })?;
        ring.submitter()
            .register_eventfd(alarm.as_raw_fd())
            .map_err(|source| UringError::Refused { attempt: "signal ended reads", source })?;
        let registered = register(&ring, region);
        restrict(&ring).map_err(|source| UringError::Refused { attempt: "restrict a ring", source })?;
        Ok(Self {
            ring,
            alarm,
            areas: (0..slots).map(|_| UnsafeCell::new(Area::new())).collect(),
            region: registered.then_some((region.0.as_ptr().addr(), region.1)),
            offered: Offered {
                defer_taskrun,
                registered_buffers: registered,
                vectored_fixed: registered && probe.is_supported(READV_FIXED),
            },
            on_their_way: 0,
            queued: 0,
        })
    }

    pub(crate) fn offered(&self) -> Offered {
        self.offered
    }

    /// Puts an open file into the table.
    pub(crate) fn register_file(&self, index: u32, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.ring.submitter().register_files_update(index, &[fd.as_raw_fd()]).map(drop)
    }

    /// Takes a file out of the table. Nothing of it may be on its way.
    pub(crate) fn unregister_file(&self, index: u32) {
        let empty = self.ring.submitter().register_files_update(index, &[-1]);
        debug_assert!(empty.is_ok(), "{empty:?}");
    }

    /// Queues a read of `targets` from `offset` on, but for their first `skip` bytes, which are there
    /// already.
    pub(crate) fn read(&mut self, slot: usize, file: u32, offset: u64, targets: Targets, skip: u32) {
        let file = types::Fixed(file);
        let area = self.idle_area(slot);
        area.targets = targets;
        let pieces = area.point_iovecs(skip);
        let iovecs = area.iovecs;
        let first = area.iovecs.as_ptr();
        let places = iovecs[..pieces].iter().map(|piece| (piece.iov_base.addr(), piece.iov_len));
        let buffer = self.region.and_then(|region| buffer_of(region, places));
        let count = u32::try_from(pieces).expect("few targets");
        let entry = match (buffer, count) {
            (Some(buffer), 1) => {
                let length = u32::try_from(iovecs[0].iov_len).expect("one frame");
                let start = iovecs[0].iov_base.cast();
                opcode::ReadFixed::new(file, start, length, buffer).offset(offset).build()
            }
            (Some(buffer), _) if self.offered.vectored_fixed => {
                opcode::ReadvFixed::new(file, first, count, buffer).offset(offset).build()
            }
            _ => opcode::Readv::new(file, first, count).offset(offset).build(),
        };
        // SAFETY: the iovecs lie in the slot's area and name frames that the area owns; neither is touched or
        // freed before the operation has ended, because the slot is busy until then.
        unsafe { self.push(slot, entry) };
    }

    /// Queues an open of `path` below `root`, with openat2's `flags` and `resolve`.
    pub(crate) fn open_at(&mut self, slot: usize, root: RawFd, path: CString, flags: u64, resolve: u64) {
        let area = self.idle_area(slot);
        area.opens = true;
        area.path = path;
        area.how = types::OpenHow::new().flags(flags).resolve(resolve);
        let entry = opcode::OpenAt2::new(types::Fd(root), area.path.as_ptr(), &raw const area.how).build();
        // SAFETY: path and how lie in the slot's area, which is not touched before the operation has ended.
        unsafe { self.push(slot, entry) };
    }

    /// Queues a question about an open file, to be answered by [`stat_answer`](Self::stat_answer).
    pub(crate) fn stat(&mut self, slot: usize, fd: RawFd) {
        let area = self.idle_area(slot);
        area.path = CString::default();
        let statx = &raw mut area.statx;
        let entry = opcode::Statx::new(types::Fd(fd), area.path.as_ptr(), statx.cast())
            .flags(libc::AT_EMPTY_PATH)
            .mask(libc::STATX_BASIC_STATS | libc::STATX_DIOALIGN)
            .build();
        // SAFETY: path and answer lie in the slot's area, which is not touched before the operation has
        // ended.
        unsafe { self.push(slot, entry) };
    }

    /// The frames of a read that has ended.
    pub(crate) fn take_targets(&mut self, slot: usize) -> Targets {
        core::mem::take(&mut self.idle_area(slot).targets)
    }

    /// The file that an open which has ended well brought.
    ///
    /// # Panics
    /// There is none, or it was taken.
    pub(crate) fn take_opened(&mut self, slot: usize) -> OwnedFd {
        self.idle_area(slot).opened.take().expect("an open ended well")
    }

    /// The answer to a question that has ended well.
    pub(crate) fn stat_answer(&mut self, slot: usize) -> Stat {
        let statx = &self.idle_area(slot).statx;
        let seconds = statx.stx_mtime.tv_sec;
        let direct = (statx.stx_mask & libc::STATX_DIOALIGN != 0)
            .then_some((statx.stx_dio_mem_align, statx.stx_dio_offset_align));
        Stat {
            mode: u32::from(statx.stx_mode),
            len: statx.stx_size,
            mtime_ns: seconds.saturating_mul(1_000_000_000).saturating_add(statx.stx_mtime.tv_nsec.into()),
            inode: statx.stx_ino,
            device: u64::from(statx.stx_dev_major) << 32 | u64::from(statx.stx_dev_minor),
            direct,
        }
    }

    /// One doorbell for everything queued.
    ///
    /// # Panics
    /// The kernel refuses the ring itself: a defect of ours.
    pub(crate) fn submit_queued(&mut self) {
        if self.queued > 0 {
            self.submit();
        }
    }

    fn submit(&mut self) {
        match self.ring.submit() {
            Ok(submitted) => self.queued = self.queued.saturating_sub(submitted),
            // What is still queued goes with the next call.
            Err(error) if is_transient(&error) => {}
            Err(error) => panic!("io_uring refuses its own ring: {error}"),
        }
    }

    /// An operation that has ended: its slot, and what came of it. Enters the kernel only when something is
    /// queued or the kernel says that it has something.
    pub(crate) fn next_completion(&mut self) -> Option<(usize, i32)> {
        if self.on_their_way == 0 {
            return None;
        }
        if let Some(completion) = self.reap() {
            return Some(completion);
        }
        if self.queued > 0 || self.ring.submission().taskrun() {
            self.submit();
            return self.reap();
        }
        None
    }

    /// What to sleep on: readable from the next operation that ends, and at once if one has ended already.
    pub(crate) fn alarm(&self) -> BorrowedFd<'_> {
        let mut count = [0; 8];
        // Silenced first and looked at afterwards: what ends in between rings again.
        let _ = rustix::io::read(&self.alarm, &mut count);
        // SAFETY: only flags are read; the ring belongs to this thread, and nobody holds the queue meanwhile.
        let deferred = unsafe { self.ring.submission_shared() }.taskrun();
        // SAFETY: only indices are read; as above.
        let ended = !unsafe { self.ring.completion_shared() }.is_empty();
        if deferred || ended {
            // Any count but zero, in any byte order.
            let _ = rustix::io::write(&self.alarm, &[1; 8]);
        }
        self.alarm.as_fd()
    }

    /// Waits until an operation has ended.
    fn wait(&mut self) -> (usize, i32) {
        loop {
            if let Some(completion) = self.reap() {
                return completion;
            }
            match self.ring.submit_and_wait(1) {
                Ok(submitted) => self.queued = self.queued.saturating_sub(submitted),
                Err(error) if is_transient(&error) => {}
                // Frames must not be freed while the kernel may write them, and it will not say when that
                // ends.
                Err(_) => std::process::abort(),
            }
        }
    }

    fn reap(&mut self) -> Option<(usize, i32)> {
        let completion = self.ring.completion().next()?;
        let slot = usize::try_from(completion.user_data()).expect("a slot of ours");
        self.on_their_way -= 1;
        // SAFETY: the kernel has ended this slot's operation, and `&mut self` is the only way to the areas.
        let area = unsafe { &mut *self.areas[slot].get() };
        area.busy = false;
        let result = completion.result();
        if core::mem::take(&mut area.opens) && result >= 0 {
            // SAFETY: the kernel has just made this descriptor, and told nobody else.
            area.opened = Some(unsafe { OwnedFd::from_raw_fd(result) });
        }
        Some((slot, result))
    }

    /// The area of a slot that the kernel does not know.
    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "the exclusive borrow is what makes the result exclusive"
    )]
    fn idle_area(&mut self, slot: usize) -> &mut Area {
        let area = self.areas[slot].get();
        // SAFETY: `busy` is not among what the kernel is given, and `&mut self` is the only way to the areas.
        assert!(!unsafe { (*area).busy }, "slot {slot} is on its way");
        // SAFETY: no operation of the slot is with the kernel, so nothing but this reference names the area.
        unsafe { &mut *area }
    }

    /// # Safety
    /// What the entry points to must lie in the slot's area, or be owned by it.
    unsafe fn push(&mut self, slot: usize, entry: squeue::Entry) {
        self.idle_area(slot).busy = true;
        let entry = entry.user_data(slot as u64);
        // SAFETY: by the contract of this function, and because a busy area is not touched.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("the ring has an entry for each slot, and a slot one operation");
        self.queued += 1;
        self.on_their_way += 1;
    }
}

/// Which of the buffers of a registered region, each of [`BUFFER_BYTES_MAX`], holds all of `pieces` (address
/// and length), if one does.
fn buffer_of((base, bytes): (usize, usize), pieces: impl Iterator<Item = (usize, usize)>) -> Option<u16> {
    let mut holder = None;
    for (address, len) in pieces {
        let start = address.checked_sub(base)?;
        let last = start.checked_add(len.checked_sub(1)?)?;
        let buffer = start / BUFFER_BYTES_MAX;
        if last >= bytes || last / BUFFER_BYTES_MAX != buffer || holder.is_some_and(|holder| holder != buffer)
        {
            return None;
        }
        holder = Some(buffer);
    }
    u16::try_from(holder?).ok()
}

impl Area {
    fn new() -> Self {
        let nothing = libc::iovec { iov_base: core::ptr::null_mut(), iov_len: 0 };
        Self {
            targets: Targets::new(),
            iovecs: [nothing; TARGETS_MAX],
            path: CString::default(),
            how: types::OpenHow::new(),
            // SAFETY: the kernel's answer is integers only, and all zeroes is one.
            statx: unsafe { core::mem::zeroed() },
            opens: false,
            opened: None,
            busy: false,
        }
    }

    /// Points the iovecs at the targets, but for their first `skip` bytes. Returns how many there are.
    fn point_iovecs(&mut self, skip: u32) -> usize {
        let mut skip = skip as usize;
        let mut count = 0;
        for target in &mut self.targets {
            let bytes = target.bytes as usize;
            assert!(bytes <= target.frame.payload_bytes_max(), "{bytes} bytes into one frame");
            if skip >= bytes {
                skip -= bytes;
                continue;
            }
            // SAFETY: `skip` is less than the target's bytes, which fit the frame's payload.
            let start = unsafe { target.frame.payload_ptr().add(skip) };
            self.iovecs[count] = libc::iovec { iov_base: start.cast(), iov_len: bytes - skip };
            count += 1;
            skip = 0;
        }
        count
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        while self.on_their_way > 0 {
            self.wait();
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("offered", &self.offered)
            .field("on_their_way", &self.on_their_way)
            .field("queued", &self.queued)
            .finish_non_exhaustive()
    }
}

/// The best ring that the kernel makes, not yet enabled, and whether completions wait until we look.
fn setup(slots: u32) -> Result<(IoUring, bool), UringError> {
    let entries = slots.next_power_of_two();
    let deferred = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_r_disabled()
        .dontfork()
        .build(entries);
    match deferred {
        Ok(ring) => return Ok((ring, true)),
        // Kernels before 6.1 do not know these flags.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {}
        Err(error) => return Err(UringError::of_setup(error)),
    }
    let mut cooperative = IoUring::builder();
    cooperative.setup_coop_taskrun().setup_taskrun_flag().setup_r_disabled().dontfork();
    match cooperative.build(entries) {
        Ok(ring) => Ok((ring, false)),
        // Nor those before 5.19 these. The last one every kernel knows that can open files through a ring and restrict
        // it (5.10).
        Err(_) => IoUring::builder()
            .setup_r_disabled()
            .dontfork()
            .build(entries)
            .map(|ring| (ring, false))
            .map_err(UringError::of_setup),
    }
}

/// `IORING_REGISTER_FILES_UPDATE` (linux/io_uring.h).
const REGISTER_FILES_UPDATE: u8 = 6;
/// `IOSQE_FIXED_FILE`: the file is one of the ring's table.
const FIXED_FILE: u8 = 1;

/// Lets the ring do what it is for and nothing else, for ever: seccomp does not see what a ring is asked to do, and a
/// worker that was taken over would else open, connect and send through it.
fn restrict(ring: &IoUring) -> io::Result<()> {
    let operations = [
        opcode::OpenAt2::CODE,
        opcode::Statx::CODE,
        opcode::ReadFixed::CODE,
        opcode::Readv::CODE,
        READV_FIXED,
    ];
    let mut allowed: Vec<_> = operations.into_iter().map(Restriction::sqe_op).collect();
    allowed.push(Restriction::sqe_flags_allowed(FIXED_FILE));
    allowed.push(Restriction::register_op(REGISTER_FILES_UPDATE));
    ring.submitter().register_restrictions(&mut allowed)?;
    ring.submitter().register_enable_rings()
}

/// An empty table of files.
fn register_table(ring: &IoUring, files: u32) -> io::Result<()> {
    match ring.submitter().register_files_sparse(files) {
        // Kernels before 5.19 want it spelled out.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            ring.submitter().register_files(&vec![-1; files as usize])
        }
        other => other,
    }
}

/// Registers the region, in pieces that every kernel accepts. The kernel refuses when it would have to lock
/// more memory than the process may.
fn register(ring: &IoUring, (base, bytes): (NonNull<u8>, usize)) -> bool {
    let pieces: Vec<libc::iovec> = (0..bytes)
        .step_by(BUFFER_BYTES_MAX)
        .map(|start| libc::iovec {
            iov_base: base.as_ptr().wrapping_add(start).cast(),
            iov_len: BUFFER_BYTES_MAX.min(bytes - start),
        })
        .collect();
    // SAFETY: the kernel pins the pages itself, so that they stay even when the mapping goes; and it writes
    // to them only for reads into frames that the ring owns.
    !pieces.is_empty() && unsafe { ring.submitter().register_buffers(&pieces) }.is_ok()
}

/// How long a block device is, and how long its blocks are.
pub(crate) fn block_device(fd: BorrowedFd<'_>) -> io::Result<(u64, u32)> {
    const BLKGETSIZE64: libc::Ioctl = 0x8008_1272;
    let mut bytes: u64 = 0;
    // SAFETY: the integer lives through the call, and BLKGETSIZE64 writes one of 64 bits.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), BLKGETSIZE64, &raw mut bytes) })?;
    let mut block: libc::c_int = 0;
    // SAFETY: as above, for an int.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::BLKSSZGET, &raw mut block) })?;
    Ok((bytes, u32::try_from(block).unwrap_or(u32::MAX)))
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: usize = 1 << 30;
    /// Two buffers and a half.
    const REGION: (usize, usize) = (4_096, 2 * GIB + GIB / 2);

    fn held_by(pieces: &[(usize, usize)]) -> Option<u16> {
        buffer_of(REGION, pieces.iter().copied())
    }

    #[test]
    fn a_ring_does_what_it_is_for_and_nothing_else() {
        let pool = dma::Pool::new(dma::PoolLayout { large_count: 1, small_count: 0 }).unwrap();
        let mut ring = Ring::open(4, 4, pool.region()).unwrap();
        let (ours, _theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
        for entry in [
            opcode::Nop::new().build(),
            opcode::Fsync::new(types::Fd(ours.as_raw_fd())).build(),
            opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build(),
            // An operation that it is for, before which others would be waited for.
            opcode::Statx::new(types::Fd(0), core::ptr::null(), core::ptr::null_mut())
                .build()
                .flags(squeue::Flags::IO_DRAIN),
        ] {
            // SAFETY: none of these entries points to anything.
            unsafe { ring.ring.submission().push(&entry) }.unwrap();
            ring.ring.submit_and_wait(1).unwrap();
            let result = ring.ring.completion().next().unwrap().result();
            assert_eq!(result, -libc::EACCES, "{entry:?}");
        }
        let refused = ring.ring.submitter().register_personality().unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EACCES));
    }

    #[test]
    fn frames_of_one_buffer_are_read_through_it() {
        assert_eq!(held_by(&[(4_096, 16_384)]), Some(0));
        assert_eq!(held_by(&[(4_096, 16_384), (4_096 + GIB - 512, 512)]), Some(0));
        assert_eq!(held_by(&[(4_096 + GIB, 1), (4_096 + 2 * GIB - 1, 1)]), Some(1));
        assert_eq!(held_by(&[(4_096 + REGION.1 - 512, 512)]), Some(2));
    }

    #[test]
    fn frames_of_two_buffers_or_across_them_are_read_without() {
        assert_eq!(held_by(&[(4_096, 512), (4_096 + GIB, 512)]), None);
        assert_eq!(held_by(&[(4_096 + GIB - 256, 512)]), None);
    }

    #[test]
    fn frames_outside_of_the_region_are_read_without() {
        assert_eq!(held_by(&[(0, 512)]), None);
        assert_eq!(held_by(&[(4_096 + REGION.1 - 256, 512)]), None);
        assert_eq!(held_by(&[(usize::MAX - 256, 512)]), None);
        assert_eq!(held_by(&[]), None);
    }
}
