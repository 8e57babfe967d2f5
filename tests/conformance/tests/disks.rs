//! Every disk, held to the trait's promises.

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU32, Ordering};
    use core::time::Duration;
    use std::fs::{self, File};
    use std::os::fd::OwnedFd;
    use std::path::{Path, PathBuf};

    use clock::Instant;
    use conformance::{DiskFixture, disk_suite};
    use disk_memory::{Faults, Latency, MemoryDisk, MemoryDiskConfig, Object};
    use disk_uring::{DiskUring, UringConfig};
    use dma::{Pool, PoolLayout};
    use platform::RootId;

    fn pool() -> Pool {
        Pool::new(PoolLayout { large_count: 96, small_count: 0 }).unwrap()
    }

    struct Memory {
        disk: MemoryDisk,
        pool: Pool,
    }

    impl Memory {
        fn with(faults: Faults) -> Self {
            let config = MemoryDiskConfig { reads_in_flight_max: 48, seed: 3, faults, ..Default::default() };
            Self { disk: MemoryDisk::new(config), pool: pool() }
        }
    }

    impl DiskFixture for Memory {
        type Disk = MemoryDisk;
        fn disk(&mut self) -> &mut MemoryDisk {
            &mut self.disk
        }
        fn pool(&self) -> &Pool {
            &self.pool
        }
        fn put(&mut self, path: &str, bytes: &[u8]) {
            self.disk.insert(RootId(0), path, Object::bytes(bytes));
        }
        fn truncate(&mut self, path: &str, len: u64) {
            self.disk.truncate(RootId(0), path, len);
        }
        fn link(&mut self, _path: &str, _to: &str) -> bool {
            false
        }
        fn settle(&mut self) {
            if let Some(due) = self.disk.next_due() {
                self.disk.advance(due);
            }
        }
    }

    #[test]
    fn a_disk_in_memory_keeps_its_promises() {
        disk_suite(|| Memory::with(Faults::NONE));
    }

    #[test]
    fn a_slow_disk_in_memory_that_answers_in_any_order_keeps_its_promises() {
        let range = Latency::Range(Duration::from_micros(10), Duration::from_millis(20));
        disk_suite(|| {
            let mut memory = Memory::with(Faults { read: range, open: range, ..Faults::NONE });
            memory.disk.advance(Instant::from_nanos(1 << 40));
            memory
        });
    }

    /// A directory of its own, removed with everything in it.
    struct Directory(PathBuf);

    impl Directory {
        fn new(parent: &Path) -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("disks-{}-{number}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    struct Uring {
        disk: DiskUring,
        pool: Pool,
        directory: Directory,
    }

    impl Uring {
        fn at(parent: &Path, config: UringConfig) -> Self {
            let pool = pool();
            let directory = Directory::new(parent);
            let root = OwnedFd::from(File::open(&directory.0).unwrap());
            let config = UringConfig { reads_in_flight_max: 48, ..config };
            let disk = DiskUring::open(config, vec![root], pool.region()).unwrap();
            Self { disk, pool, directory }
        }
    }

    impl DiskFixture for Uring {
        type Disk = DiskUring;
        fn disk(&mut self) -> &mut DiskUring {
            &mut self.disk
        }
        fn pool(&self) -> &Pool {
            &self.pool
        }
        fn put(&mut self, path: &str, bytes: &[u8]) {
            let path = self.directory.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        fn truncate(&mut self, path: &str, len: u64) {
            let file = File::options().write(true).open(self.directory.0.join(path)).unwrap();
            file.set_len(len).unwrap();
        }
        fn link(&mut self, path: &str, to: &str) -> bool {
            std::os::unix::fs::symlink(to, self.directory.0.join(path)).unwrap();
            true
        }
        fn settle(&mut self) {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    #[test]
    fn io_uring_on_the_build_directory_keeps_its_promises() {
        disk_suite(|| Uring::at(Path::new(env!("CARGO_TARGET_TMPDIR")), UringConfig::default()));
    }

    #[test]
    fn io_uring_through_the_page_cache_keeps_its_promises() {
        let config = UringConfig { direct: false, ..Default::default() };
        disk_suite(|| Uring::at(Path::new(env!("CARGO_TARGET_TMPDIR")), config));
    }

    #[test]
    fn io_uring_on_a_filesystem_in_memory_keeps_its_promises() {
        let shared_memory = Path::new("/dev/shm");
        let parent =
            if shared_memory.is_dir() { shared_memory } else { Path::new(env!("CARGO_TARGET_TMPDIR")) };
        disk_suite(|| Uring::at(parent, UringConfig::default()));
    }

    #[test]
    fn io_uring_with_one_frame_per_read_keeps_its_promises() {
        let config = UringConfig { files_max: 80, ..Default::default() };
        disk_suite(|| Uring::at(Path::new(env!("CARGO_TARGET_TMPDIR")), config));
    }
}
