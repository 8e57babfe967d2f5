//! What every [`Disk`] promises.

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use dma::Pool;
use platform::{
    Close, Completion, Disk, DiskError, FileId, FileMeta, Full, Open, OpenError, Opened, Read, ReadDone,
    RootId, Target, Targets,
};

use crate::promise::{keep, promises, wakes};

/// A disk with files on it, below root 0.
pub trait DiskFixture {
    /// The disk that is held to its promises.
    type Disk: Disk;
    /// The disk.
    fn disk(&mut self) -> &mut Self::Disk;
    /// Where frames come from: at least 64 large ones, all free.
    fn pool(&self) -> &Pool;
    /// Puts a file under `path`, and the directories above it.
    fn put(&mut self, path: &str, bytes: &[u8]);
    /// Cuts a file to `len` bytes, in place.
    fn truncate(&mut self, path: &str, len: u64);
    /// Makes `path` a symbolic link; `false` when this disk has none.
    fn link(&mut self, path: &str, to: &str) -> bool;
    /// Lets what was flushed get on.
    fn settle(&mut self);
}

/// Holds a disk to all that the trait promises.
///
/// # Panics
/// A promise was broken.
pub fn disk_suite<F: DiskFixture>(make: impl FnMut() -> F) {
    keep(
        promises![
            an_idle_disk_has_nothing_to_complete,
            an_open_file_has_its_length_and_a_usable_alignment,
            a_read_brings_the_bytes_at_its_offset,
            a_read_fills_frames_in_order,
            a_read_past_the_end_is_short,
            files_of_every_odd_length_are_exact,
            an_empty_file_has_nothing_to_read,
            a_file_that_shrank_ends_where_it_ends_now,
            a_misaligned_read_is_a_defect_of_the_caller,
            a_refused_read_comes_back_whole,
            many_reads_complete_once_each,
            frames_come_back_with_the_completion,
            a_path_that_does_not_exist_is_not_found,
            a_directory_is_said_to_be_one,
            opens_cannot_leave_the_root,
            links_within_the_root_are_followed,
            a_refused_open_comes_back_whole,
            a_closed_file_takes_no_more_reads,
            a_close_waits_for_reads_on_their_way,
            file_numbers_are_used_again,
            a_completion_wakes_a_sleeper,
            everything_staged_is_in_flight_until_it_completes,
        ],
        make,
    );
}

const ROOT: RootId = RootId(0);
/// How often a fixture settles before what should have happened is missed.
const PATIENCE: usize = 5_000;

/// Bytes that differ from place to place and from file to file.
fn content(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    core::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    })
    .take(len)
    .collect()
}

fn completion<F: DiskFixture>(fixture: &mut F) -> Completion {
    fixture.disk().flush();
    for _ in 0..PATIENCE {
        if let Some(completion) = fixture.disk().complete() {
            return completion;
        }
        fixture.settle();
    }
    panic!("nothing completed, {} in flight", fixture.disk().in_flight());
}

fn read_done<F: DiskFixture>(fixture: &mut F) -> ReadDone {
    match completion(fixture) {
        Completion::Read(done) => done,
        Completion::Opened { .. } => panic!("an open completed, not a read"),
    }
}

fn try_open<F: DiskFixture>(fixture: &mut F, path: &[u8]) -> Result<Opened, OpenError> {
    fixture.disk().stage_open(Open { token: 77, root: ROOT, path: path.into() }).expect("room for an open");
    match completion(fixture) {
        Completion::Opened { token: 77, result } => result,
        other => panic!("{other:?}"),
    }
}

fn open<F: DiskFixture>(fixture: &mut F, path: &str) -> (FileId, FileMeta) {
    let Opened { file, meta } = try_open(fixture, path.as_bytes()).expect("a file that was put there");
    (file, meta)
}

/// A file with `len` bytes of content, open.
fn opened<F: DiskFixture>(fixture: &mut F, len: usize) -> (FileId, FileMeta, Vec<u8>) {
    let bytes = content(7, len);
    fixture.put("file", &bytes);
    let (file, meta) = open(fixture, "file");
    (file, meta, bytes)
}

fn targets(pool: &Pool, bytes: &[u32]) -> Targets {
    bytes
        .iter()
        .map(|bytes| Target {
            frame: pool.acquire_large().expect("the fixture's pool has free frames"),
            bytes: *bytes,
        })
        .collect()
}

fn stage<F: DiskFixture>(fixture: &mut F, token: u64, file: FileId, offset: u64, bytes: &[u32]) {
    let targets = targets(fixture.pool(), bytes);
    let staged = fixture.disk().stage_read(Read { token, file, offset, targets });
    assert!(staged.is_ok(), "a disk that is not full refused a read");
}

/// What a completed read filled, in order.
fn filled(done: &ReadDone) -> Vec<u8> {
    let mut left = done.result.expect("a read that went well") as usize;
    let mut bytes = Vec::new();
    for target in &done.targets {
        let count = left.min(target.bytes as usize);
        bytes.extend_from_slice(&target.frame.bytes()[target.frame.payload_start()..][..count]);
        left -= count;
    }
    assert_eq!(left, 0, "more bytes than its frames take");
    bytes
}

fn read<F: DiskFixture>(fixture: &mut F, file: FileId, offset: u64, bytes: &[u32]) -> Vec<u8> {
    stage(fixture, 1, file, offset, bytes);
    filled(&read_done(fixture))
}

fn an_idle_disk_has_nothing_to_complete<F: DiskFixture>(fixture: &mut F) {
    fixture.disk().flush();
    fixture.settle();
    assert!(fixture.disk().complete().is_none());
    assert_eq!(fixture.disk().in_flight(), 0);
}

fn an_open_file_has_its_length_and_a_usable_alignment<F: DiskFixture>(fixture: &mut F) {
    fixture.put("some/where/file", &content(1, 12_345));
    let (_, meta) = open(fixture, "some/where/file");
    assert_eq!(meta.len, 12_345);
    assert!(meta.align.is_power_of_two() && meta.align <= 4_096, "{meta:?}");
}

fn a_read_brings_the_bytes_at_its_offset<F: DiskFixture>(fixture: &mut F) {
    let (file, _, bytes) = opened(fixture, 100_000);
    for offset in [0, 4_096, 20_480, 81_920] {
        let start = usize::try_from(offset).expect("small");
        assert!(read(fixture, file, offset, &[4_096]) == bytes[start..start + 4_096], "at {offset}");
    }
}

fn a_read_fills_frames_in_order<F: DiskFixture>(fixture: &mut F) {
    let (file, _, bytes) = opened(fixture, 200_000);
    let most = usize::from(fixture.disk().capabilities().targets_max);
    let mut sizes = vec![4_096, 16_384, 8_192, 16_384, 4_096, 16_384, 12_288, 16_384];
    sizes.truncate(most);
    let sum: u32 = sizes.iter().sum();
    assert!(read(fixture, file, 8_192, &sizes) == bytes[8_192..8_192 + sum as usize]);
}

fn a_read_past_the_end_is_short<F: DiskFixture>(fixture: &mut F) {
    let (file, _, bytes) = opened(fixture, 10_000);
    assert!(read(fixture, file, 8_192, &[4_096]) == bytes[8_192..], "within a frame");
    assert!(read(fixture, file, 0, &[4_096, 4_096, 4_096, 4_096]) == bytes, "within a scatter");
    assert_eq!(read(fixture, file, 12_288, &[4_096]), [], "behind it");
    assert_eq!(read(fixture, file, 1 << 30, &[4_096]), [], "far behind it");
}

fn files_of_every_odd_length_are_exact<F: DiskFixture>(fixture: &mut F) {
    for len in [1, 511, 512, 513, 4_095, 4_096, 4_097, 16_383, 16_384, 16_385, 32_768, 49_153] {
        let bytes = content(u32::try_from(len).expect("small"), len);
        fixture.put("odd", &bytes);
        let (file, meta) = open(fixture, "odd");
        assert_eq!(meta.len, len as u64);
        assert!(read(fixture, file, 0, &[16_384; 4]) == bytes, "{len} bytes");
        fixture.disk().stage_close(Close(file));
    }
}

fn an_empty_file_has_nothing_to_read<F: DiskFixture>(fixture: &mut F) {
    fixture.put("empty", &[]);
    let (file, meta) = open(fixture, "empty");
    assert_eq!(meta.len, 0);
    assert_eq!(read(fixture, file, 0, &[4_096]), []);
}

fn a_file_that_shrank_ends_where_it_ends_now<F: DiskFixture>(fixture: &mut F) {
    let (file, _, bytes) = opened(fixture, 50_000);
    for len in [40_001_u64, 20_480, 5_000] {
        fixture.truncate("file", len);
        let left = usize::try_from(len).expect("small");
        assert!(read(fixture, file, 0, &[16_384; 4]) == bytes[..left], "cut to {len}");
    }
    assert_eq!(read(fixture, file, 16_384, &[4_096]), []);
}

fn a_misaligned_read_is_a_defect_of_the_caller<F: DiskFixture>(fixture: &mut F) {
    let (file, meta, _) = opened(fixture, 50_000);
    for (offset, bytes) in [(1, meta.align), (0, meta.align - 1), (u64::from(meta.align) / 2, meta.align)] {
        let targets = targets(fixture.pool(), &[bytes]);
        let stage = || drop(fixture.disk().stage_read(Read { token: 1, file, offset, targets }));
        assert!(
            catch_unwind(AssertUnwindSafe(stage)).is_err(),
            "{bytes} bytes at {offset} on align {}",
            meta.align
        );
    }
    assert_eq!(fixture.disk().in_flight(), 0);
    assert_eq!(fixture.pool().in_use().large, 0);
}

fn a_refused_read_comes_back_whole<F: DiskFixture>(fixture: &mut F) {
    let (file, _, bytes) = opened(fixture, 50_000);
    let mut taken = 0_u32;
    let refused = loop {
        let read = Read { token: 5, file, offset: 4_096, targets: targets(fixture.pool(), &[4_096]) };
        match fixture.disk().stage_read(read) {
            Ok(()) => taken += 1,
            Err(Full(read)) => break read,
        }
    };
    assert_eq!(taken, fixture.disk().capabilities().reads_in_flight_max);
    assert_eq!((refused.token, refused.offset, refused.targets.len()), (5, 4_096, 1));
    // Room for one: it takes the read that it refused.
    let done = read_done(fixture);
    assert!(filled(&done) == bytes[4_096..8_192]);
    assert!(fixture.disk().stage_read(refused).is_ok(), "room was made");
    for _ in 0..taken {
        read_done(fixture);
    }
    assert_eq!(fixture.disk().in_flight(), 0);
}

fn many_reads_complete_once_each<F: DiskFixture>(fixture: &mut F) {
    let (file, _, bytes) = opened(fixture, 64 * 4_096);
    let at_once = u64::from(fixture.disk().capabilities().reads_in_flight_max.min(32));
    for round in 0..3 {
        for token in 0..at_once {
            stage(fixture, token, file, (token + round) * 4_096, &[4_096]);
        }
        let mut seen = Vec::new();
        for _ in 0..at_once {
            let done = read_done(fixture);
            let start = usize::try_from((done.token + round) * 4_096).expect("small");
            assert!(filled(&done) == bytes[start..start + 4_096], "the bytes of another read");
            seen.push(done.token);
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..at_once).collect::<Vec<_>>());
        assert!(fixture.disk().complete().is_none());
    }
}

fn frames_come_back_with_the_completion<F: DiskFixture>(fixture: &mut F) {
    let (file, _, _) = opened(fixture, 50_000);
    stage(fixture, 9, file, 0, &[4_096, 8_192]);
    assert_eq!(fixture.pool().in_use().large, 2);
    let done = read_done(fixture);
    assert_eq!(done.token, 9);
    assert_eq!(done.targets.iter().map(|target| target.bytes).collect::<Vec<_>>(), [4_096, 8_192]);
    drop(done);
    assert_eq!(fixture.pool().in_use().large, 0);
}

fn a_path_that_does_not_exist_is_not_found<F: DiskFixture>(fixture: &mut F) {
    fixture.put("dir/file", b"x");
    let endless = "n".repeat(5_000);
    for path in [
        &b"missing"[..],
        b"dir/missing",
        b"missing/file",
        b"dir/file/below",
        b"dir/fi\0le",
        endless.as_bytes(),
    ] {
        assert_eq!(try_open(fixture, path).unwrap_err(), OpenError::NotFound, "{}", path.escape_ascii());
    }
}

fn a_directory_is_said_to_be_one<F: DiskFixture>(fixture: &mut F) {
    fixture.put("dir/below/file", b"x");
    for path in [&b""[..], b"dir", b"dir/", b"dir/below", b"."] {
        assert_eq!(try_open(fixture, path).unwrap_err(), OpenError::IsDirectory, "{}", path.escape_ascii());
    }
}

fn opens_cannot_leave_the_root<F: DiskFixture>(fixture: &mut F) {
    fixture.put("dir/file", b"x");
    for path in [&b".."[..], b"../", b"dir/../..", b"dir/../../etc/passwd", b"/etc/passwd", b"/"] {
        assert_eq!(try_open(fixture, path).unwrap_err(), OpenError::Forbidden, "{}", path.escape_ascii());
    }
    if fixture.link("dir/out", "/etc/passwd") && fixture.link("dir/up", "../../..") {
        assert_eq!(try_open(fixture, b"dir/out").unwrap_err(), OpenError::Forbidden);
        assert_eq!(try_open(fixture, b"dir/up/etc/passwd").unwrap_err(), OpenError::Forbidden);
    }
    assert!(try_open(fixture, b"dir/../dir/file").is_ok(), "`..` within the root is harmless");
}

fn links_within_the_root_are_followed<F: DiskFixture>(fixture: &mut F) {
    fixture.put("dir/file", b"linked");
    if !fixture.link("alias", "dir/file") {
        return;
    }
    let (file, _) = open(fixture, "alias");
    assert_eq!(read(fixture, file, 0, &[4_096]), b"linked");
    assert!(fixture.link("circle", "circle"));
    assert_eq!(try_open(fixture, b"circle").unwrap_err(), OpenError::Forbidden);
}

fn a_refused_open_comes_back_whole<F: DiskFixture>(fixture: &mut F) {
    fixture.put("file", b"x");
    let mut taken = 0_u32;
    let refused = loop {
        let open = Open { token: u64::from(taken), root: ROOT, path: b"file"[..].into() };
        match fixture.disk().stage_open(open) {
            Ok(()) => taken += 1,
            Err(Full(open)) => break open,
        }
        assert!(taken < 100_000, "a queue of opens that is not bounded");
    };
    assert_eq!((refused.token, &*refused.path), (u64::from(taken), &b"file"[..]));
    for _ in 0..taken {
        let Completion::Opened { result, .. } = completion(fixture) else { panic!("only opens were staged") };
        if let Ok(Opened { file, .. }) = result {
            fixture.disk().stage_close(Close(file));
        }
    }
    assert_eq!(fixture.disk().in_flight(), 0);
}

fn a_closed_file_takes_no_more_reads<F: DiskFixture>(fixture: &mut F) {
    let (file, _, _) = opened(fixture, 50_000);
    fixture.disk().stage_close(Close(file));
    stage(fixture, 3, file, 0, &[4_096]);
    let done = read_done(fixture);
    assert_eq!((done.token, done.result), (3, Err(DiskError::Gone)));
    assert_eq!(done.targets.len(), 1, "the frames come back all the same");
}

fn a_close_waits_for_reads_on_their_way<F: DiskFixture>(fixture: &mut F) {
    let (file, _, bytes) = opened(fixture, 50_000);
    for token in 0..8 {
        stage(fixture, token, file, token * 4_096, &[4_096]);
    }
    fixture.disk().stage_close(Close(file));
    for _ in 0..8 {
        let done = read_done(fixture);
        let start = usize::try_from(done.token * 4_096).expect("small");
        assert!(filled(&done) == bytes[start..start + 4_096]);
    }
}

fn file_numbers_are_used_again<F: DiskFixture>(fixture: &mut F) {
    fixture.put("one", b"1");
    fixture.put("two", b"22");
    let (first, _) = open(fixture, "one");
    let (second, _) = open(fixture, "two");
    assert_ne!(first, second);
    fixture.disk().stage_close(Close(first));
    let (third, _) = open(fixture, "two");
    assert_eq!(third, first);
    assert_eq!(read(fixture, third, 0, &[4_096]), b"22", "what the number names now");
    assert_eq!(read(fixture, second, 0, &[4_096]), b"22");
}

fn a_completion_wakes_a_sleeper<F: DiskFixture>(fixture: &mut F) {
    let (file, _, _) = opened(fixture, 50_000);
    if fixture.disk().descriptor().is_none() {
        return;
    }
    // An open takes several steps, each of which must wake the sleeper who takes the next.
    for _ in 0..4 {
        stage(fixture, 1, file, 0, &[16_384]);
        fixture.disk().stage_open(Open { token: 2, root: ROOT, path: b"file"[..].into() }).expect("room");
        fixture.disk().flush();
        while fixture.disk().in_flight() > 0 {
            assert!(wakes(fixture.disk().descriptor().expect("it had one")), "asleep on a completion");
            while fixture.disk().complete().is_some() {}
        }
    }
}

fn everything_staged_is_in_flight_until_it_completes<F: DiskFixture>(fixture: &mut F) {
    let (file, _, _) = opened(fixture, 50_000);
    stage(fixture, 1, file, 0, &[4_096]);
    fixture.disk().stage_open(Open { token: 2, root: ROOT, path: b"file"[..].into() }).expect("room");
    assert_eq!(fixture.disk().in_flight(), 2);
    completion(fixture);
    assert_eq!(fixture.disk().in_flight(), 1);
    completion(fixture);
    assert_eq!(fixture.disk().in_flight(), 0);
}
