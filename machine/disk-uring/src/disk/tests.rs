//! What is particular to files on this machine; what every disk promises is in `tests/conformance`.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use dma::{Pool, PoolLayout};
use platform::{RootId, Target};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

struct Fixture {
    disk: DiskUring,
    pool: Pool,
    directory: PathBuf,
}

impl Fixture {
    fn new(name: &str, config: UringConfig) -> Self {
        let pool = Pool::new(PoolLayout { large_count: 32, small_count: 0 }).unwrap();
        let region = pool.region();
        Self::with_region(name, config, pool, region)
    }

    fn with_region(name: &str, config: UringConfig, pool: Pool, region: (NonNull<u8>, usize)) -> Self {
        let directory = std::env::temp_dir().join(format!("disk-uring-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let root = File::open(&directory).unwrap();
        let disk = DiskUring::open(config, vec![root.into()], region).unwrap();
        Self { disk, pool, directory }
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.directory.join(name), bytes).unwrap();
    }

    fn complete(&mut self) -> Completion {
        self.disk.flush();
        loop {
            if let Some(completion) = self.disk.complete() {
                return completion;
            }
            let mut ready = [PollFd::from_borrowed_fd(self.disk.descriptor().unwrap(), PollFlags::IN)];
            let patience = Timespec { tv_sec: 5, tv_nsec: 0 };
            assert_eq!(poll(&mut ready, Some(&patience)), Ok(1), "nothing completed");
        }
    }

    fn open(&mut self, path: &str) -> Result<Opened, OpenError> {
        let path = path.as_bytes().into();
        self.disk.stage_open(Open { token: 1, root: RootId(0), path }).unwrap();
        match self.complete() {
            Completion::Opened { result, .. } => result,
            Completion::Read(_) => panic!("nothing was read"),
        }
    }

    fn stage(&mut self, file: FileId, offset: u64, bytes: &[u32]) {
        let targets =
            bytes.iter().map(|bytes| Target { frame: self.pool.acquire_large().unwrap(), bytes: *bytes });
        let targets = targets.collect();
        self.disk.stage_read(Read { token: 2, file, offset, targets }).unwrap();
    }

    fn read(&mut self, file: FileId, offset: u64, bytes: &[u32]) -> Result<Vec<u8>, DiskError> {
        self.stage(file, offset, bytes);
        let Completion::Read(done) = self.complete() else { panic!("nothing was opened") };
        let mut left = done.result? as usize;
        let mut all = Vec::new();
        for target in &done.targets {
            let count = left.min(target.bytes as usize);
            all.extend_from_slice(&target.frame.bytes()[target.frame.payload_start()..][..count]);
            left -= count;
        }
        Ok(all)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn a_file_is_known_by_what_the_filesystem_says_of_it() {
    let mut fixture = Fixture::new("meta", UringConfig::default());
    fixture.put("file", &[1; 1_000]);
    let said = fs::metadata(fixture.directory.join("file")).unwrap();
    let meta = fixture.open("file").unwrap().meta;
    assert_eq!((meta.len, meta.inode), (1_000, said.ino()));
    assert_eq!(meta.mtime_ns, said.mtime() * 1_000_000_000 + said.mtime_nsec());
    let (major, minor) = (rustix::fs::major(said.dev()), rustix::fs::minor(said.dev()));
    assert_eq!(meta.device, u64::from(major) << 32 | u64::from(minor));
}

#[test]
fn a_file_is_read_past_the_page_cache_only_when_that_is_wanted() {
    let mut buffered = Fixture::new("buffered", UringConfig { direct: false, ..Default::default() });
    buffered.put("file", &[1; 1_000]);
    let meta = buffered.open("file").unwrap().meta;
    assert!(!meta.direct);
    assert_eq!(meta.align, 512);

    let mut direct = Fixture::new("direct", UringConfig::default());
    direct.put("file", &[1; 1_000]);
    let path = direct.directory.join("file");
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECT;
    let possible = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).is_ok();
    assert_eq!(direct.open("file").unwrap().meta.direct, possible);
}

#[test]
fn an_arena_that_cannot_be_registered_is_read_into_all_the_same() {
    let pool = Pool::new(PoolLayout { large_count: 32, small_count: 0 }).unwrap();
    // Nothing is mapped there: the kernel refuses, as it does when too little memory may be locked.
    let region = (NonNull::without_provenance(core::num::NonZero::new(1 << 46).unwrap()), 1 << 20);
    let mut fixture = Fixture::with_region("unregistered", UringConfig::default(), pool, region);
    let features = fixture.disk.features();
    assert!(!features.registered_buffers && !features.vectored_fixed);
    let bytes: Vec<u8> = (0..60_000_u32).map(|index| index.to_le_bytes()[0]).collect();
    fixture.put("file", &bytes);
    let file = fixture.open("file").unwrap().file;
    assert!(fixture.read(file, 0, &[16_384]).unwrap() == bytes[..16_384]);
    assert!(fixture.read(file, 4_096, &[16_384; 4]).unwrap() == bytes[4_096..]);
}

#[test]
fn what_is_neither_a_file_nor_a_device_is_refused_and_holds_nothing_up() {
    let mut fixture = Fixture::new("pipe", UringConfig::default());
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, fixture.directory.join("pipe"), mode).unwrap();
    let _socket = UnixListener::bind(fixture.directory.join("socket")).unwrap();
    assert_eq!(fixture.open("pipe").unwrap_err(), OpenError::NotAFile);
    assert_eq!(fixture.open("socket").unwrap_err(), OpenError::NotAFile);
}

#[test]
fn a_root_may_be_a_file_or_a_device_itself() {
    let pool = Pool::new(PoolLayout { large_count: 4, small_count: 0 }).unwrap();
    let mut fixture = Fixture::new("root", UringConfig::default());
    fixture.put("image", b"the only object");
    let image = File::open(fixture.directory.join("image")).unwrap();
    fixture.disk = DiskUring::open(UringConfig::default(), vec![image.into()], pool.region()).unwrap();
    fixture.pool = pool;
    let opened = fixture.open("").unwrap();
    assert_eq!(opened.meta.len, 15);
    assert_eq!(fixture.read(opened.file, 0, &[4_096]).unwrap(), b"the only object");
    assert_eq!(fixture.open("below").unwrap_err(), OpenError::NotFound);
}

#[test]
fn a_root_that_was_not_given_has_nothing_in_it() {
    let mut fixture = Fixture::new("no-root", UringConfig::default());
    fixture.disk.stage_open(Open { token: 5, root: RootId(1), path: b"file"[..].into() }).unwrap();
    let completion = fixture.complete();
    assert!(
        matches!(completion, Completion::Opened { token: 5, result: Err(OpenError::NotFound) }),
        "{completion:?}"
    );
}

#[test]
fn more_files_than_the_table_holds_are_too_many() {
    let mut fixture = Fixture::new("busy", UringConfig { files_max: 2, ..Default::default() });
    fixture.put("file", b"x");
    let first = fixture.open("file").unwrap().file;
    fixture.open("file").unwrap();
    assert_eq!(fixture.open("file").unwrap_err(), OpenError::Busy);
    assert_eq!(fixture.disk.files_open(), 2);
    fixture.disk.stage_close(Close(first));
    assert_eq!(fixture.open("file").unwrap().file, first);
}

#[test]
fn a_link_out_of_the_root_is_forbidden_even_halfway() {
    let mut fixture = Fixture::new("links", UringConfig::default());
    symlink("/proc/self/root", fixture.directory.join("root")).unwrap();
    symlink("/proc/self/fd/0", fixture.directory.join("magic")).unwrap();
    assert_eq!(fixture.open("root/etc/passwd").unwrap_err(), OpenError::Forbidden);
    assert_eq!(fixture.open("magic").unwrap_err(), OpenError::Forbidden);
}

#[test]
fn a_disk_that_is_dropped_gives_back_the_frames_of_reads_on_their_way() {
    let mut fixture = Fixture::new("drop", UringConfig::default());
    fixture.put("file", &[3; 200_000]);
    let file = fixture.open("file").unwrap().file;
    for _ in 0..8 {
        fixture.stage(file, 0, &[16_384; 4]);
    }
    fixture.disk.flush();
    let root = File::open(&fixture.directory).unwrap();
    let pool = Pool::new(PoolLayout { large_count: 1, small_count: 0 }).unwrap();
    let other = DiskUring::open(UringConfig::default(), vec![root.into()], pool.region()).unwrap();
    drop(core::mem::replace(&mut fixture.disk, other));
    assert_eq!(fixture.pool.in_use().large, 0);
}

#[test]
fn opens_leave_no_descriptor_behind() {
    let descriptors = || fs::read_dir("/proc/self/fd").unwrap().count();
    let mut fixture = Fixture::new("descriptors", UringConfig::default());
    fixture.put("file", b"x");
    fs::create_dir(fixture.directory.join("dir")).unwrap();
    for path in ["file", "dir", "missing"] {
        let before = descriptors();
        for _ in 0..64 {
            let _ = fixture.open(path);
        }
        // Other tests of this process open and close files meanwhile, but not as many.
        assert!(descriptors() < before + 48, "{path}");
    }
    assert_eq!(fixture.disk.files_open(), 64);
}
