//! The disk by state; what every disk promises is in `tests/conformance`.

use core::time::Duration;

use clock::Instant;
use dma::{Pool, PoolLayout};
use platform::{
    Close, Completion, Disk, DiskError, FileId, Open, OpenError, Opened, Read, ReadDone, RootId, Target,
    Targets,
};
use proptest::prelude::*;

use super::*;

const ROOT: RootId = RootId(0);
const MS: Duration = Duration::from_millis(1);

struct Fixture {
    disk: MemoryDisk,
    pool: Pool,
}

impl Fixture {
    fn with(faults: Faults) -> Self {
        let pool = Pool::new(PoolLayout { large_count: 64, small_count: 0 }).unwrap();
        Self { disk: MemoryDisk::new(MemoryDiskConfig { faults, seed: 7, ..Default::default() }), pool }
    }

    fn opened(faults: Faults, object: Object) -> (Self, FileId) {
        let mut fixture = Self::with(faults);
        fixture.disk.insert(ROOT, "file", object);
        let file = fixture.open("file").unwrap().file;
        (fixture, file)
    }

    fn open(&mut self, path: &str) -> Result<Opened, OpenError> {
        let path = path.as_bytes().into();
        self.disk.stage_open(Open { token: 99, root: ROOT, path }).unwrap();
        self.disk.flush();
        if let Some(due) = self.disk.next_due() {
            self.disk.advance(due);
        }
        match self.disk.complete() {
            Some(Completion::Opened { token: 99, result }) => result,
            other => panic!("{other:?}"),
        }
    }

    fn stage(&mut self, token: u64, file: FileId, offset: u64, bytes: &[u32]) {
        let targets: Targets = bytes
            .iter()
            .map(|bytes| Target { frame: self.pool.acquire_large().unwrap(), bytes: *bytes })
            .collect();
        self.disk.stage_read(Read { token, file, offset, targets }).unwrap();
    }

    fn read_done(&mut self) -> Option<ReadDone> {
        match self.disk.complete()? {
            Completion::Read(done) => Some(done),
            other => panic!("{other:?}"),
        }
    }

    fn read(&mut self, file: FileId, offset: u64, bytes: u32) -> Result<Vec<u8>, DiskError> {
        self.stage(0, file, offset, &[bytes]);
        self.disk.flush();
        if let Some(due) = self.disk.next_due() {
            self.disk.advance(due);
        }
        let done = self.read_done().unwrap();
        done.result.map(|count| {
            let frame = &done.targets[0].frame;
            frame.bytes()[frame.payload_start()..][..count as usize].to_vec()
        })
    }
}

fn slow(latency: Latency) -> Faults {
    Faults { read: latency, ..Faults::NONE }
}

mod a_healthy_disk {
    use super::*;

    #[test]
    fn brings_the_bytes_at_the_flush_when_it_has_no_latency() {
        let (mut fixture, file) = Fixture::opened(Faults::NONE, Object::bytes(*b"hello"));
        assert_eq!(fixture.read(file, 0, 512).unwrap(), b"hello");
        assert_eq!(fixture.disk.next_due(), None);
    }

    #[test]
    fn takes_as_long_as_its_latency() {
        let (mut fixture, file) = Fixture::opened(slow(Latency::Fixed(3 * MS)), Object::bytes(*b"hello"));
        let begin = Instant::EPOCH + MS;
        fixture.disk.advance(begin);
        fixture.stage(1, file, 0, &[512]);
        assert_eq!(fixture.disk.next_due(), None, "staged, not flushed");
        fixture.disk.flush();
        assert_eq!(fixture.disk.next_due(), Some(begin + 3 * MS));
        assert!(fixture.read_done().is_none());
        fixture.disk.advance(begin + 3 * MS);
        assert_eq!(fixture.read_done().unwrap().result, Ok(5));
    }

    #[test]
    fn leaves_frames_alone_when_the_object_is_untouched() {
        let (mut fixture, file) = Fixture::opened(Faults::NONE, Object::untouched(1 << 40));
        let mut frame = fixture.pool.acquire_large().unwrap();
        frame.bytes_mut().fill(0x5a);
        drop(frame);
        assert_eq!(fixture.read(file, 1 << 30, 1_024).unwrap(), [0x5a; 1_024]);
    }

    #[test]
    fn brings_what_the_file_holds_when_the_read_completes() {
        let (mut fixture, file) = Fixture::opened(slow(Latency::Fixed(MS)), Object::bytes(*b"old"));
        fixture.stage(1, file, 0, &[512]);
        fixture.disk.flush();
        fixture.disk.replace(ROOT, "file", Object::bytes(*b"newer"));
        fixture.disk.advance(Instant::EPOCH + MS);
        let done = fixture.read_done().unwrap();
        assert_eq!(done.result, Ok(5));
        assert!(done.targets[0].frame.bytes()[dma::HEADROOM_BYTES..].starts_with(b"newer"));
    }

    #[test]
    fn keeps_the_old_file_for_whoever_had_it_open_when_the_name_moved_on() {
        let (mut fixture, file) = Fixture::opened(Faults::NONE, Object::bytes(*b"old"));
        fixture.disk.insert(ROOT, "file", Object::bytes(*b"new"));
        assert_eq!(fixture.read(file, 0, 512).unwrap(), b"old");
        let file = fixture.open("file").unwrap().file;
        assert_eq!(fixture.read(file, 0, 512).unwrap(), b"new");
        fixture.disk.remove(ROOT, "file");
        assert_eq!(fixture.read(file, 0, 512).unwrap(), b"new");
        assert_eq!(fixture.open("file").unwrap_err(), OpenError::NotFound);
    }

    #[test]
    fn reads_short_after_the_file_shrank() {
        let (mut fixture, file) = Fixture::opened(Faults::NONE, Object::pattern(1, 4_096));
        assert_eq!(fixture.read(file, 0, 4_096).unwrap().len(), 4_096);
        fixture.disk.truncate(ROOT, "file", 700);
        assert_eq!(fixture.read(file, 0, 4_096).unwrap().len(), 700);
        assert_eq!(fixture.read(file, 1_024, 512).unwrap().len(), 0);
    }

    #[test]
    fn knows_directories_by_what_lies_below_them() {
        let mut fixture = Fixture::with(Faults::NONE);
        fixture.disk.insert(ROOT, "a/b/file", Object::bytes(*b"x"));
        assert_eq!(fixture.open("a").unwrap_err(), OpenError::IsDirectory);
        assert_eq!(fixture.open("a/b/").unwrap_err(), OpenError::IsDirectory);
        assert_eq!(fixture.open("a/b/file/").unwrap_err(), OpenError::NotFound);
        assert_eq!(fixture.open("a/b/fil").unwrap_err(), OpenError::NotFound);
        assert!(fixture.open("a/./b/../b/file").is_ok());
    }

    #[test]
    fn says_it_is_busy_when_too_many_files_are_open() {
        let mut fixture = Fixture::with(Faults::NONE);
        fixture.disk = MemoryDisk::new(MemoryDiskConfig { files_max: 1, ..Default::default() });
        fixture.disk.insert(ROOT, "file", Object::bytes(*b"x"));
        let file = fixture.open("file").unwrap().file;
        assert_eq!(fixture.open("file").unwrap_err(), OpenError::Busy);
        fixture.disk.stage_close(Close(file));
        assert!(fixture.open("file").is_ok());
    }
}

mod a_faulty_disk {
    use super::*;

    #[test]
    fn lets_reads_overtake_each_other() {
        let (mut fixture, file) =
            Fixture::opened(slow(Latency::Range(MS, 9 * MS)), Object::untouched(1 << 20));
        let order = completion_order(&mut fixture, file);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_ne!(order, sorted);
        assert_eq!(sorted, (0..32).collect::<Vec<_>>());
    }

    #[test]
    fn keeps_the_order_when_told_to() {
        let faults = Faults { in_order: true, ..slow(Latency::Range(MS, 9 * MS)) };
        let (mut fixture, file) = Fixture::opened(faults, Object::untouched(1 << 20));
        assert_eq!(completion_order(&mut fixture, file), (0..32).collect::<Vec<_>>());
    }

    #[test]
    fn is_the_same_disk_again_from_the_same_seed() {
        let faults = Faults {
            read_errors_per_million: 300_000,
            stalls_per_million: 200_000,
            stall: Latency::Fixed(50 * MS),
            ..slow(Latency::Range(MS, 9 * MS))
        };
        let run = || {
            let (mut fixture, file) = Fixture::opened(faults, Object::untouched(1 << 20));
            (completion_order(&mut fixture, file), fixture.disk.counters())
        };
        let (order, counters) = run();
        assert_eq!(run(), (order, counters));
        assert!(counters.read_errors > 0 && counters.stalls > 0);
    }

    #[test]
    fn fails_as_the_script_says_and_hands_the_frames_back() {
        let (mut fixture, file) = Fixture::opened(Faults::NONE, Object::bytes(*b"hello"));
        fixture.disk.fail_reads(1, DiskError::Io(5));
        assert_eq!(fixture.read(file, 0, 512), Err(DiskError::Io(5)));
        assert_eq!(fixture.pool.in_use().large, 0);
        assert_eq!(fixture.read(file, 0, 512).unwrap(), b"hello");
    }

    #[test]
    fn ends_nothing_while_it_is_stalled() {
        let (mut fixture, file) = Fixture::opened(slow(Latency::Fixed(MS)), Object::bytes(*b"hello"));
        fixture.stage(1, file, 0, &[512]);
        fixture.disk.flush();
        let until = Instant::EPOCH + 20 * MS;
        fixture.disk.stall_until(until);
        fixture.disk.advance(Instant::EPOCH + 19 * MS);
        assert!(fixture.read_done().is_none());
        assert_eq!(fixture.disk.next_due(), Some(until));
        fixture.disk.advance(until);
        assert!(fixture.read_done().is_some());
    }

    fn completion_order(fixture: &mut Fixture, file: FileId) -> Vec<u64> {
        for token in 0..32 {
            fixture.stage(token, file, 0, &[512]);
        }
        fixture.disk.flush();
        let mut order = Vec::new();
        while let Some(due) = fixture.disk.next_due() {
            fixture.disk.advance(due);
            while let Some(done) = fixture.read_done() {
                order.push(done.token);
            }
        }
        order
    }
}

proptest! {
    #[test]
    fn a_pattern_is_the_same_however_it_is_cut(number: u64, offset in 0_u64..100, cut in 0_usize..300) {
        let mut whole = [0; 300];
        pattern(number, offset, &mut whole);
        let mut pieces = [0; 300];
        let (head, tail) = pieces.split_at_mut(cut);
        pattern(number, offset, head);
        pattern(number, offset + cut as u64, tail);
        prop_assert_eq!(whole, pieces);
    }
}
