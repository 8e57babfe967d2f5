//! The disk itself: names, open files, and what is on its way.

use core::cmp::Reverse;
use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::os::fd::BorrowedFd;

use clock::Instant;
use platform::{
    Close, Completion, Disk, DiskCapabilities, DiskError, FileId, FileMeta, Full, Open, OpenError, Opened,
    Read, ReadDone, RootId, TARGETS_MAX,
};

use crate::faults::Faults;
use crate::object::Object;
use crate::random::Random;

/// What the errno of an input/output error is called on Linux.
const EIO: i32 = 5;

/// What the disk is like; how it behaves is in [`Faults`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryDiskConfig {
    /// Offsets and lengths must be multiples of this power of two, at most 4,096.
    pub align: u32,
    /// What [`FileMeta::direct`] says.
    pub direct: bool,
    /// Reads and opens that may be staged or on their way at once.
    pub reads_in_flight_max: u32,
    /// The most frames one read may fill.
    pub targets_max: u8,
    /// The most files that may be open at once.
    pub files_max: u32,
    /// Where latencies and faults are drawn from.
    pub seed: u64,
    /// How the disk behaves at first.
    pub faults: Faults,
}

impl Default for MemoryDiskConfig {
    fn default() -> Self {
        Self {
            align: 512,
            direct: true,
            reads_in_flight_max: 256,
            targets_max: u8::try_from(TARGETS_MAX).expect("a read has few targets"),
            files_max: 1_024,
            seed: 0,
            faults: Faults::NONE,
        }
    }
}

/// What the disk did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCounters {
    /// Reads completed.
    pub reads: u64,
    /// Bytes those brought.
    pub read_bytes: u64,
    /// Reads that failed.
    pub read_errors: u64,
    /// Reads that were held up.
    pub stalls: u64,
    /// Opens completed.
    pub opens: u64,
}

/// Where an object lies in the list of all; also its inode number.
type Inode = usize;

#[derive(Debug)]
struct OpenFile {
    inode: Inode,
    /// Reads staged or on their way.
    reads: u32,
    closing: bool,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "boxing a read would allocate on the data path")]
enum Pending {
    Read {
        read: Read,
        /// What to read; `None` when the file took no more reads.
        inode: Option<Inode>,
        failure: Option<DiskError>,
    },
    Open(Open),
}

/// Files in memory, behind the same queues as a device.
pub struct MemoryDisk {
    config: MemoryDiskConfig,
    faults: Faults,
    random: Random,
    now: Instant,
    counters: DiskCounters,

    /// By root and path.
    names: BTreeMap<(u16, Vec<u8>), Inode>,
    objects: Vec<Object>,
    files: Vec<Option<OpenFile>>,

    /// Everything staged or on its way, by slot.
    pending: Vec<Option<Pending>>,
    free: Vec<usize>,
    staged: VecDeque<usize>,
    /// When each slot's work ends; ties end in the order in which they were flushed.
    due: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    flushed: u64,
    /// The latest end given out, for disks that answer in order.
    last_due: Instant,
    /// Nothing ends before.
    stalled_until: Instant,
    scripted_failures: VecDeque<DiskError>,
}

impl MemoryDisk {
    /// An empty disk.
    ///
    /// # Panics
    /// A configuration that the trait does not allow.
    #[must_use]
    pub fn new(config: MemoryDiskConfig) -> Self {
        assert!(config.align.is_power_of_two() && config.align <= 4_096, "align {}", config.align);
        assert!(
            (1..=TARGETS_MAX).contains(&usize::from(config.targets_max)),
            "{} targets",
            config.targets_max
        );
        let slots = usize::try_from(config.reads_in_flight_max).expect("fits");
        Self {
            config,
            faults: config.faults,
            random: Random::new(config.seed),
            now: Instant::EPOCH,
            counters: DiskCounters::default(),
            names: BTreeMap::new(),
            objects: Vec::new(),
            files: Vec::new(),
            pending: (0..slots).map(|_| None).collect(),
            free: (0..slots).rev().collect(),
            staged: VecDeque::with_capacity(slots),
            due: BinaryHeap::with_capacity(slots),
            flushed: 0,
            last_due: Instant::EPOCH,
            stalled_until: Instant::EPOCH,
            scripted_failures: VecDeque::new(),
        }
    }

    /// Puts a new file under `path`, as `rename` over the name would: who has the old one open keeps the old
    /// one.
    ///
    /// # Panics
    /// A path that is empty, absolute, or has empty, `.` or `..` components.
    pub fn insert(&mut self, root: RootId, path: impl AsRef<[u8]>, object: Object) {
        let path = path.as_ref();
        assert_eq!(resolve(path).as_deref(), Ok(path), "not a name: {}", path.escape_ascii());
        assert!(!path.is_empty(), "not a name: the root");
        let inode = self.objects.len();
        self.objects.push(object);
        self.names.insert((root.0, path.to_vec()), inode);
    }

    /// Writes another content into the file under `path`, in place: who has it open reads the new one from
    /// now on, reads on their way included.
    ///
    /// # Panics
    /// There is no such file.
    pub fn replace(&mut self, root: RootId, path: impl AsRef<[u8]>, object: Object) {
        let inode = self.inode(root, path.as_ref());
        self.objects[inode] = object;
    }

    /// Cuts the file under `path`, in place.
    ///
    /// # Panics
    /// There is no such file.
    pub fn truncate(&mut self, root: RootId, path: impl AsRef<[u8]>, len: u64) {
        let inode = self.inode(root, path.as_ref());
        self.objects[inode].truncate(len);
    }

    /// Removes a name. Who has the file open keeps it.
    ///
    /// # Panics
    /// There is no such file.
    pub fn remove(&mut self, root: RootId, path: impl AsRef<[u8]>) {
        let removed = self.names.remove(&(root.0, path.as_ref().to_vec()));
        assert!(removed.is_some(), "no such file: {}", path.as_ref().escape_ascii());
    }

    /// The object under `path`, if there is one.
    #[must_use]
    pub fn object(&self, root: RootId, path: impl AsRef<[u8]>) -> Option<&Object> {
        let inode = self.names.get(&(root.0, path.as_ref().to_vec()))?;
        Some(&self.objects[*inode])
    }

    /// How the disk behaves from the next flush on.
    pub fn faults_mut(&mut self) -> &mut Faults {
        &mut self.faults
    }

    /// The next `count` reads to be flushed fail.
    pub fn fail_reads(&mut self, count: usize, error: DiskError) {
        self.scripted_failures.extend(core::iter::repeat_n(error, count));
    }

    /// Nothing ends before `until`.
    pub fn stall_until(&mut self, until: Instant) {
        self.stalled_until = until;
    }

    /// It is `now`: what is due by then can be completed. Time that goes backwards is ignored.
    pub fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// When the next thing ends; `None` when nothing is on its way.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let Reverse((due, ..)) = self.due.peek()?;
        Some((*due).max(self.stalled_until))
    }

    /// What the disk did so far.
    #[must_use]
    pub fn counters(&self) -> DiskCounters {
        self.counters
    }

    /// Files open now, those included that wait for their last read to be closed.
    #[must_use]
    pub fn files_open(&self) -> usize {
        self.files.iter().flatten().count()
    }

    fn inode(&self, root: RootId, path: &[u8]) -> Inode {
        match self.names.get(&(root.0, path.to_vec())) {
            Some(inode) => *inode,
            None => panic!("no such file: {}", path.escape_ascii()),
        }
    }

    fn file_mut(&mut self, file: FileId) -> Option<&mut OpenFile> {
        self.files.get_mut(usize::try_from(file.0).ok()?)?.as_mut()
    }

    fn stage(&mut self, pending: Pending) {
        let slot = self.free.pop().expect("room was checked");
        self.pending[slot] = Some(pending);
        self.staged.push_back(slot);
    }

    /// # Panics
    /// A read that the trait forbids: a defect of whoever staged it.
    fn check(&self, read: &Read) {
        let align = self.config.align;
        assert!(read.offset.is_multiple_of(u64::from(align)), "offset {} on align {align}", read.offset);
        assert!(!read.targets.is_empty(), "a read without targets");
        assert!(read.targets.len() <= usize::from(self.config.targets_max), "{} targets", read.targets.len());
        for target in &read.targets {
            assert!(target.bytes.is_multiple_of(align), "{} bytes on align {align}", target.bytes);
            assert!(
                target.bytes > 0 && target.bytes as usize <= target.frame.payload_bytes_max(),
                "{} bytes into one frame",
                target.bytes
            );
        }
    }

    /// Draws when a slot's work ends, and how.
    fn start(&mut self, slot: usize) {
        let mut latency = match self.pending[slot].as_mut().expect("staged") {
            Pending::Open(_) => self.faults.open.draw(&mut self.random),
            Pending::Read { failure, .. } => {
                if let Some(scripted) = self.scripted_failures.pop_front() {
                    *failure = Some(scripted);
                } else if self.random.chance(self.faults.read_errors_per_million) {
                    *failure = Some(DiskError::Io(EIO));
                }
                self.faults.read.draw(&mut self.random)
            }
        };
        if self.random.chance(self.faults.stalls_per_million) {
            self.counters.stalls += 1;
            latency += self.faults.stall.draw(&mut self.random);
        }
        let mut due = if latency == Duration::ZERO { self.now } else { self.now + latency };
        if self.faults.in_order {
            due = due.max(self.last_due);
        }
        self.last_due = self.last_due.max(due);
        self.flushed += 1;
        self.due.push(Reverse((due, self.flushed, slot)));
    }

    fn finish_read(&mut self, mut read: Read, inode: Option<Inode>, failure: Option<DiskError>) -> ReadDone {
        self.counters.reads += 1;
        let result = match (inode, failure) {
            (None, _) => Err(DiskError::Gone),
            (Some(_), Some(failure)) => Err(failure),
            (Some(inode), None) => Ok(self.fill(inode, &mut read)),
        };
        if inode.is_some() {
            self.read_ended(read.file);
        }
        match result {
            Ok(bytes) => self.counters.read_bytes += u64::from(bytes),
            Err(_) => self.counters.read_errors += 1,
        }
        ReadDone { token: read.token, targets: read.targets, result }
    }

    fn fill(&self, inode: Inode, read: &mut Read) -> u32 {
        let mut filled: u32 = 0;
        for target in &mut read.targets {
            let start = target.frame.payload_start();
            let out = &mut target.frame.bytes_mut()[start..start + target.bytes as usize];
            let count = self.objects[inode].read(read.offset + u64::from(filled), out);
            filled += u32::try_from(count).expect("at most one frame");
            if count < target.bytes as usize {
                break;
            }
        }
        filled
    }

    /// A read of `file` has ended: it may have been what a close waited for.
    fn read_ended(&mut self, file: FileId) {
        let open = self.file_mut(file).expect("a file stays open while a read of it is on its way");
        open.reads -= 1;
        if open.closing && open.reads == 0 {
            self.files[file.0 as usize] = None;
        }
    }

    fn open(&mut self, open: &Open) -> Result<Opened, OpenError> {
        let path = resolve(&open.path)?;
        let Some(inode) = self.names.get(&(open.root.0, path.clone())).copied() else {
            return Err(self.why_not_found(open.root, path));
        };
        if open.path.ends_with(b"/") {
            return Err(OpenError::NotFound);
        }
        let slot = match self.files.iter().position(Option::is_none) {
            Some(slot) => slot,
            None if self.files.len() < self.config.files_max as usize => {
                self.files.push(None);
                self.files.len() - 1
            }
            None => return Err(OpenError::Busy),
        };
        self.files[slot] = Some(OpenFile { inode, reads: 0, closing: false });
        let object = &self.objects[inode];
        let meta = FileMeta {
            len: object.len(),
            mtime_ns: object.mtime_ns(),
            inode: inode as u64,
            device: 0,
            align: self.config.align,
            direct: self.config.direct,
        };
        Ok(Opened { file: FileId(u32::try_from(slot).expect("few files")), meta })
    }

    /// Nothing has the name `path`: it may be a directory that names lie below.
    fn why_not_found(&self, root: RootId, mut path: Vec<u8>) -> OpenError {
        if path.is_empty() {
            return OpenError::IsDirectory;
        }
        path.push(b'/');
        let from = (root.0, path);
        let below = self.names.range(from.clone()..).next();
        match below {
            Some(((found, name), _)) if *found == root.0 && name.starts_with(&from.1) => {
                OpenError::IsDirectory
            }
            _ => OpenError::NotFound,
        }
    }
}

/// The path without `.`, `..` and empty components.
fn resolve(path: &[u8]) -> Result<Vec<u8>, OpenError> {
    if path.first() == Some(&b'/') {
        return Err(OpenError::Forbidden);
    }
    if path.contains(&0) {
        return Err(OpenError::NotFound);
    }
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop().ok_or(OpenError::Forbidden)?;
            }
            name => components.push(name),
        }
    }
    Ok(components.join(&b'/'))
}

impl Disk for MemoryDisk {
    fn capabilities(&self) -> DiskCapabilities {
        DiskCapabilities {
            reads_in_flight_max: self.config.reads_in_flight_max,
            targets_max: self.config.targets_max,
        }
    }

    fn stage_read(&mut self, read: Read) -> Result<(), Full<Read>> {
        self.check(&read);
        if self.free.is_empty() {
            return Err(Full(read));
        }
        let inode = self.file_mut(read.file).filter(|file| !file.closing).map(|file| {
            file.reads += 1;
            file.inode
        });
        self.stage(Pending::Read { read, inode, failure: None });
        Ok(())
    }

    fn stage_open(&mut self, open: Open) -> Result<(), Full<Open>> {
        if self.free.is_empty() {
            return Err(Full(open));
        }
        self.stage(Pending::Open(open));
        Ok(())
    }

    fn stage_close(&mut self, Close(id): Close) {
        if let Some(file) = self.file_mut(id) {
            file.closing = true;
            if file.reads == 0 {
                self.files[id.0 as usize] = None;
            }
        }
    }

    fn flush(&mut self) {
        while let Some(slot) = self.staged.pop_front() {
            self.start(slot);
        }
    }

    fn complete(&mut self) -> Option<Completion> {
        if self.next_due()? > self.now {
            return None;
        }
        let Reverse((.., slot)) = self.due.pop()?;
        self.free.push(slot);
        Some(match self.pending[slot].take().expect("on its way") {
            Pending::Read { read, inode, failure } => {
                Completion::Read(self.finish_read(read, inode, failure))
            }
            Pending::Open(open) => {
                self.counters.opens += 1;
                Completion::Opened { token: open.token, result: self.open(&open) }
            }
        })
    }

    fn in_flight(&self) -> usize {
        self.pending.len() - self.free.len()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDisk")
            .field("now", &self.now)
            .field("names", &self.names.len())
            .field("in_flight", &self.in_flight())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}
