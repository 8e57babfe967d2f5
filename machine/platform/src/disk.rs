//! Bytes of files and block devices into our own frames.

use arrayvec::ArrayVec;
use core::fmt;
use dma::Frame;
use std::os::fd::BorrowedFd;

use crate::Full;

/// The most frames one read fills: 128 KiB of payload.
pub const TARGETS_MAX: usize = 8;

/// A directory (or device) that the operator gave us to serve, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RootId(pub u16);

/// An open file. Numbers are reused after [`Disk::stage_close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// What the disk says of a file when it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMeta {
    /// Length in bytes.
    pub len: u64,
    /// Last modification, nanoseconds since the Unix epoch.
    pub mtime_ns: i64,
    /// With `device`, the file's identity.
    pub inode: u64,
    /// The device it lies on.
    pub device: u64,
    /// Offsets and lengths of reads must be multiples of this; a power of two, at most 4,096.
    pub align: u32,
    /// Reads bypass the page cache (O_DIRECT).
    pub direct: bool,
}

/// A frame to be filled by a read: `bytes` from the frame's payload start on.
#[derive(Debug)]
pub struct Target {
    /// Where the bytes go. It belongs to the disk until the read completes.
    pub frame: Frame,
    /// How many; a multiple of the file's alignment, at most [`dma::PAYLOAD_BYTES`].
    pub bytes: u32,
}

/// The frames of one read, filled in order from consecutive offsets.
pub type Targets = ArrayVec<Target, TARGETS_MAX>;

/// One read of consecutive bytes, scattered over frames.
#[derive(Debug)]
pub struct Read {
    /// Comes back with the completion.
    pub token: u64,
    /// Which file.
    pub file: FileId,
    /// Where to begin; a multiple of the file's alignment.
    pub offset: u64,
    /// What to fill.
    pub targets: Targets,
}

/// A path to be opened below a root.
#[derive(Debug)]
pub struct Open {
    /// Comes back with the completion.
    pub token: u64,
    /// Below which directory; the path cannot leave it, by `..` or by a link.
    pub root: RootId,
    /// Relative, without a NUL.
    pub path: Box<[u8]>,
}

/// A file to be closed once its reads have completed.
#[derive(Clone, Copy, Debug)]
pub struct Close(pub FileId);

/// A read has ended.
#[derive(Debug)]
pub struct ReadDone {
    /// From [`Read::token`].
    pub token: u64,
    /// The frames come back, whatever happened.
    pub targets: Targets,
    /// How many bytes were filled, from the first target on: fewer than asked for only at the end of the file.
    pub result: Result<u32, DiskError>,
}

/// A file is open.
#[derive(Clone, Copy, Debug)]
pub struct Opened {
    /// Names it from now on.
    pub file: FileId,
    /// What it is like.
    pub meta: FileMeta,
}

/// Something staged has ended.
#[derive(Debug)]
pub enum Completion {
    /// A read.
    Read(ReadDone),
    /// An open: [`Open::token`] and what came of it.
    Opened {
        /// From [`Open::token`].
        token: u64,
        /// The file, or why there is none.
        result: Result<Opened, OpenError>,
    },
}

/// Why a read failed. The disk's fault, or the operator's who took the file away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// The device or filesystem reported this errno.
    Io(i32),
    /// The file was closed, or its device is gone.
    Gone,
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(errno) => write!(f, "read failed: {}", std::io::Error::from_raw_os_error(*errno)),
            Self::Gone => f.write_str("read failed: the file or its device is gone"),
        }
    }
}

impl core::error::Error for DiskError {}

/// Why a path could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Nothing has that name.
    NotFound,
    /// We may not read it, or it leads out of the root.
    Forbidden,
    /// It is a directory.
    IsDirectory,
    /// It is neither a file, a block device nor a directory.
    NotAFile,
    /// Too many files are open: try again later.
    Busy,
    /// The device or filesystem reported this errno.
    Io(i32),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such file"),
            Self::Forbidden => f.write_str("not readable, or outside the served directory"),
            Self::IsDirectory => f.write_str("a directory"),
            Self::NotAFile => f.write_str("neither a file nor a block device"),
            Self::Busy => f.write_str("too many open files"),
            Self::Io(errno) => write!(f, "open failed: {}", std::io::Error::from_raw_os_error(*errno)),
        }
    }
}

impl core::error::Error for OpenError {}

/// What a disk can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskCapabilities {
    /// Reads that may be staged or on their way at once.
    pub reads_in_flight_max: u32,
    /// The most frames one read may fill; at most [`TARGETS_MAX`].
    pub targets_max: u8,
}

/// Bytes of files into frames.
pub trait Disk {
    /// What the disk can do.
    fn capabilities(&self) -> DiskCapabilities;

    /// Queues a read. Its frames belong to the disk until it completes.
    ///
    /// # Errors
    /// The queue is full: flush, complete, and offer the read again.
    #[expect(
        clippy::result_large_err,
        reason = "the refused read comes back; boxing it would allocate per refusal"
    )]
    fn stage_read(&mut self, read: Read) -> Result<(), Full<Read>>;

    /// Queues an open. A path without bytes means the root itself.
    ///
    /// # Errors
    /// The queue is full.
    fn stage_open(&mut self, open: Open) -> Result<(), Full<Open>>;

    /// Queues a close. The file takes no more reads; its number is free once those on their way have completed.
    fn stage_close(&mut self, close: Close);

    /// One doorbell for everything staged.
    fn flush(&mut self);

    /// The next thing that has ended; `None` when there is none now.
    fn complete(&mut self) -> Option<Completion>;

    /// Reads and opens staged or on their way.
    fn in_flight(&self) -> usize;

    /// Readable when something has ended; `None` when the disk cannot be slept on. To be asked for before each sleep.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
}
