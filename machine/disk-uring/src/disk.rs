//! The disk: slots, files, and the turning of steps into completions.

use core::fmt;
use core::ptr::NonNull;
use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd, BorrowedFd, OwnedFd};

use platform::{
    Close, Completion, Disk, DiskCapabilities, DiskError, FileId, FileMeta, Full, Open, OpenError, Opened,
    Read, ReadDone, TARGETS_MAX, Targets,
};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::error::{UringError, open_error};
use crate::open::{self, Opening};
use crate::read::{Next, ReadFile, Reading};
use crate::sys::Ring;

/// How much a disk may have on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UringConfig {
    /// Reads that may be staged or on their way at once.
    pub reads_in_flight_max: u32,
    /// Opens that may be staged or on their way at once.
    pub opens_in_flight_max: u32,
    /// Files that may be open at once. The process's own limit may be lower: see [`DiskUring::files_max`].
    pub files_max: u32,
    /// The most frames one read may fill; at most [`TARGETS_MAX`].
    pub targets_max: u8,
    /// Bypass the page cache where the filesystem can.
    pub direct: bool,
}

impl Default for UringConfig {
    fn default() -> Self {
        Self {
            reads_in_flight_max: 256,
            opens_in_flight_max: 64,
            files_max: 4_096,
            targets_max: u8::try_from(TARGETS_MAX).expect("a read has few targets"),
            direct: true,
        }
    }
}

/// What this machine's io_uring offers, for the start-up report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Completions are worked off when we look, not when they interrupt us (Linux 6.1).
    pub defer_taskrun: bool,
    /// The kernel keeps the arena mapped; without, it maps the frames of each read. Costs locked memory.
    pub registered_buffers: bool,
    /// One read into several registered frames (Linux 6.15); without, such reads map their frames.
    pub vectored_fixed: bool,
}

/// An open file, at its number in the ring's table.
#[derive(Debug)]
struct File {
    read: ReadFile,
    /// Reads staged or on their way.
    reads: u32,
    closing: bool,
}

/// What a slot is doing.
#[derive(Debug)]
enum Work {
    Idle,
    Read(Reading),
    Open(Opening),
}

/// Something that ended without the kernel.
#[derive(Debug)]
enum Ended {
    Read { token: u64, targets: Targets, error: DiskError },
    Open { token: u64, error: OpenError },
}

/// Files and block devices below some roots, read into one arena.
pub struct DiskUring {
    ring: Ring,
    roots: Vec<OwnedFd>,
    config: UringConfig,
    /// The first `reads_in_flight_max` are for reads, the others for opens.
    slots: Vec<Work>,
    free_reads: Vec<usize>,
    free_opens: Vec<usize>,
    files: Vec<Option<File>>,
    free_files: Vec<u32>,
    ended: VecDeque<Ended>,
    /// Leave access times alone, until a filesystem says that we may not.
    noatime: bool,
}

impl DiskUring {
    /// A disk for files below `roots`, which [`platform::RootId`] numbers in order, read into the arena at
    /// `region`. It belongs to the calling thread.
    ///
    /// # Errors
    /// This machine's kernel, operator or limits do not allow it.
    ///
    /// # Panics
    /// A configuration without room, or more targets than a read may have.
    pub fn open(
        config: UringConfig,
        roots: Vec<OwnedFd>,
        region: (NonNull<u8>, usize),
    ) -> Result<Self, UringError> {
        let UringConfig { reads_in_flight_max, opens_in_flight_max, files_max, targets_max, direct: _ } =
            config;
        assert!(reads_in_flight_max > 0 && opens_in_flight_max > 0 && files_max > 0, "{config:?}");
        assert!((1..=TARGETS_MAX).contains(&usize::from(targets_max)), "{targets_max} targets");
        let slots =
            reads_in_flight_max.checked_add(opens_in_flight_max).expect("a queue that memory can hold");
        // The kernel refuses a table that is longer than the limit of descriptors.
        let limit = getrlimit(Resource::Nofile).current.and_then(|limit| u32::try_from(limit).ok());
        let files_max = files_max.min(limit.unwrap_or(u32::MAX));
        let reads = usize::try_from(reads_in_flight_max).expect("32 bits fit");
        let slots_count = usize::try_from(slots).expect("32 bits fit");
        Ok(Self {
            ring: Ring::open(slots, files_max, region)?,
            roots,
            config,
            slots: (0..slots_count).map(|_| Work::Idle).collect(),
            free_reads: (0..reads).rev().collect(),
            free_opens: (reads..slots_count).rev().collect(),
            files: (0..files_max).map(|_| None).collect(),
            free_files: (0..files_max).rev().collect(),
            ended: VecDeque::with_capacity(slots_count),
            noatime: true,
        })
    }

    /// What this machine's io_uring offers.
    #[must_use]
    pub fn features(&self) -> Features {
        let offered = self.ring.offered();
        Features {
            defer_taskrun: offered.defer_taskrun,
            registered_buffers: offered.registered_buffers,
            vectored_fixed: offered.vectored_fixed,
        }
    }

    /// Files that may be open at once.
    #[must_use]
    pub fn files_max(&self) -> usize {
        self.files.len()
    }

    /// Files open now, those included that wait for their last read to be closed.
    #[must_use]
    pub fn files_open(&self) -> usize {
        self.files.len() - self.free_files.len()
    }

    fn file_mut(&mut self, FileId(index): FileId) -> Option<&mut File> {
        self.files.get_mut(usize::try_from(index).ok()?)?.as_mut()
    }

    /// # Panics
    /// A read that the trait forbids: a defect of whoever staged it.
    fn check(&self, read: &Read, align: u32) -> u32 {
        assert!(read.offset.is_multiple_of(u64::from(align)), "offset {} on align {align}", read.offset);
        assert!(!read.targets.is_empty(), "a read without targets");
        assert!(read.targets.len() <= usize::from(self.config.targets_max), "{} targets", read.targets.len());
        let mut asked = 0;
        for target in &read.targets {
            assert!(target.bytes.is_multiple_of(align), "{} bytes on align {align}", target.bytes);
            assert!(
                target.bytes > 0 && target.bytes as usize <= target.frame.payload_bytes_max(),
                "{} bytes into one frame",
                target.bytes
            );
            asked += target.bytes;
        }
        asked
    }

    /// Queues the first step of an open, again if it was tried before.
    fn begin_open(&mut self, slot: usize, opening: Opening) {
        let root = &self.roots[opening.root];
        if opening.path.is_empty() {
            // The root itself: a device is read through the operator's own descriptor.
            match root.try_clone() {
                Ok(fd) => self.begin_stat(slot, opening, fd),
                Err(error) => {
                    let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                    self.ended.push_back(Ended::Open { token: opening.token, error: open_error(errno) });
                    self.free(slot);
                }
            }
            return;
        }
        let (root, flags) = (root.as_raw_fd(), open::flags(opening.noatime));
        self.ring.open_at(slot, root, opening.path.clone(), flags, open::RESOLVE);
        self.slots[slot] = Work::Open(opening);
    }

    /// Queues the second step of an open.
    fn begin_stat(&mut self, slot: usize, opening: Opening, fd: OwnedFd) {
        self.ring.stat(slot, fd.as_raw_fd());
        self.slots[slot] = Work::Open(Opening { fd: Some(fd), ..opening });
    }

    fn free(&mut self, slot: usize) {
        self.slots[slot] = Work::Idle;
        if slot < self.config.reads_in_flight_max as usize {
            self.free_reads.push(slot);
        } else {
            self.free_opens.push(slot);
        }
    }

    /// An operation of `slot` has ended. `None` when its work goes on.
    fn on_completion(&mut self, slot: usize, result: i32) -> Option<Completion> {
        match core::mem::replace(&mut self.slots[slot], Work::Idle) {
            Work::Read(reading) => self.on_read(slot, reading, result),
            Work::Open(opening) => {
                let token = opening.token;
                let result = self.on_open(slot, opening, result)?;
                self.free(slot);
                Some(Completion::Opened { token, result })
            }
            Work::Idle => unreachable!("slot {slot} completed and had nothing to do"),
        }
    }

    fn on_read(&mut self, slot: usize, mut reading: Reading, result: i32) -> Option<Completion> {
        let file = self.file_mut(reading.file).expect("a file stays open while a read of it is on its way");
        let next = reading.on_result(result, file.read);
        let targets = self.ring.take_targets(slot);
        match next {
            Next::Rest => {
                let offset = reading.offset + u64::from(reading.filled);
                self.ring.read(slot, reading.file.0, offset, targets, reading.filled);
                self.slots[slot] = Work::Read(reading);
                None
            }
            Next::Done(result) => {
                self.free(slot);
                self.on_read_ended(reading.file);
                Some(Completion::Read(ReadDone { token: reading.token, targets, result }))
            }
        }
    }

    /// A read of `id` has ended: it may have been what a close waited for.
    fn on_read_ended(&mut self, id: FileId) {
        let file = self.file_mut(id).expect("a file stays open while a read of it is on its way");
        file.reads -= 1;
        if file.closing && file.reads == 0 {
            self.close(id);
        }
    }

    fn close(&mut self, FileId(index): FileId) {
        self.ring.unregister_file(index);
        self.files[index as usize] = None;
        self.free_files.push(index);
    }

    /// A step of an open has ended. `None` when another was begun.
    fn on_open(
        &mut self,
        slot: usize,
        mut opening: Opening,
        result: i32,
    ) -> Option<Result<Opened, OpenError>> {
        let failure = (result < 0).then(|| Errno::from_raw_os_error(result.saturating_neg()));
        match (opening.fd.take(), failure) {
            (None, None) => {
                self.noatime &= opening.noatime;
                let fd = self.ring.take_opened(slot);
                self.begin_stat(slot, opening, fd);
                None
            }
            (None, Some(Errno::PERM)) if opening.noatime => {
                // Only a file's owner may leave its access time alone.
                self.begin_open(slot, Opening { noatime: false, ..opening });
                None
            }
            (fd, Some(Errno::INTR | Errno::AGAIN)) if opening.retries < open::RETRIES_MAX => {
                // A signal, or a rename that would have let `..` lead elsewhere.
                let opening = Opening { retries: opening.retries + 1, ..opening };
                match fd {
                    None => self.begin_open(slot, opening),
                    Some(fd) => self.begin_stat(slot, opening, fd),
                }
                None
            }
            (_, Some(errno)) => Some(Err(open_error(errno))),
            (Some(fd), None) => Some(self.finish_open(slot, &opening, fd)),
        }
    }

    fn finish_open(&mut self, slot: usize, opening: &Opening, fd: OwnedFd) -> Result<Opened, OpenError> {
        let stat = self.ring.stat_answer(slot);
        let meta = open::inspect(fd.as_fd(), stat, opening.noatime, self.config.direct)?;
        let index = self.free_files.pop().ok_or(OpenError::Busy)?;
        if let Err(error) = self.ring.register_file(index, fd.as_fd()) {
            self.free_files.push(index);
            return Err(open_error(Errno::from_io_error(&error).unwrap_or(Errno::IO)));
        }
        let FileMeta { len, align, direct, .. } = meta;
        let read = ReadFile { len, align, direct };
        self.files[index as usize] = Some(File { read, reads: 0, closing: false });
        Ok(Opened { file: FileId(index), meta })
    }
}

impl Disk for DiskUring {
    fn capabilities(&self) -> DiskCapabilities {
        DiskCapabilities {
            reads_in_flight_max: self.config.reads_in_flight_max,
            targets_max: self.config.targets_max,
        }
    }

    fn stage_read(&mut self, read: Read) -> Result<(), Full<Read>> {
        let Some(file) = self.file_mut(read.file).filter(|file| !file.closing) else {
            let Read { token, targets, .. } = read;
            self.ended.push_back(Ended::Read { token, targets, error: DiskError::Gone });
            return Ok(());
        };
        let align = file.read.align;
        let asked = self.check(&read, align);
        let Some(slot) = self.free_reads.pop() else {
            return Err(Full(read));
        };
        let Read { token, file, offset, targets } = read;
        self.file_mut(file).expect("looked up above").reads += 1;
        self.ring.read(slot, file.0, offset, targets, 0);
        self.slots[slot] = Work::Read(Reading::new(token, file, offset, asked));
        Ok(())
    }

    fn stage_open(&mut self, open: Open) -> Result<(), Full<Open>> {
        if self.free_opens.is_empty() || self.ended.len() >= self.slots.len() {
            return Err(Full(open));
        }
        let Open { token, root, path } = open;
        let root = usize::from(root.0);
        let Ok(path) = CString::new(path) else {
            self.ended.push_back(Ended::Open { token, error: OpenError::NotFound });
            return Ok(());
        };
        if root >= self.roots.len() {
            self.ended.push_back(Ended::Open { token, error: OpenError::NotFound });
            return Ok(());
        }
        let slot = self.free_opens.pop().expect("checked above");
        let noatime = self.noatime && !path.is_empty();
        self.begin_open(slot, Opening { token, root, path, retries: 0, noatime, fd: None });
        Ok(())
    }

    fn stage_close(&mut self, Close(id): Close) {
        if let Some(file) = self.file_mut(id) {
            file.closing = true;
            if file.reads == 0 {
                self.close(id);
            }
        }
    }

    fn flush(&mut self) {
        self.ring.submit_queued();
    }

    fn complete(&mut self) -> Option<Completion> {
        if let Some(ended) = self.ended.pop_front() {
            return Some(match ended {
                Ended::Read { token, targets, error } => {
                    Completion::Read(ReadDone { token, targets, result: Err(error) })
                }
                Ended::Open { token, error } => Completion::Opened { token, result: Err(error) },
            });
        }
        while let Some((slot, result)) = self.ring.next_completion() {
            if let Some(completion) = self.on_completion(slot, result) {
                return Some(completion);
            }
        }
        None
    }

    fn in_flight(&self) -> usize {
        self.slots.len() - self.free_reads.len() - self.free_opens.len() + self.ended.len()
    }

    /// An eventfd: readable when an operation has ended. Asking for it silences what rang before, so ask
    /// before each sleep.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.ring.alarm())
    }
}

impl fmt::Debug for DiskUring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskUring")
            .field("ring", &self.ring)
            .field("in_flight", &self.in_flight())
            .field("files_open", &self.files_open())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
