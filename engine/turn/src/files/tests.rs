//! The descriptor cache: one look a second, and no file closed while it is being sent.

use super::*;
use core::hash::BuildHasherDefault;
use siphasher::sip::SipHasher13;

const ROOT: RootId = RootId(0);

fn files(count_max: usize) -> Files<BuildHasherDefault<SipHasher13>> {
    Files::new(count_max, BuildHasherDefault::default())
}

fn opened(id: u32, mtime_ns: i64) -> Opened {
    let meta = FileMeta { len: 10, mtime_ns, inode: 7, device: 1, align: 512, direct: true };
    Opened { file: FileId(id), meta }
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

#[test]
fn a_name_is_believed_for_a_second() {
    let mut files = files(4);
    let mut closed = Vec::new();
    files.insert(at(0), ROOT, (*b"a").into(), opened(1, 1), &mut |id| closed.push(id));
    assert!(matches!(files.lookup(at(1_000), ROOT, b"a"), Lookup::Fresh(_)));
    assert!(matches!(files.lookup(at(1_001), ROOT, b"a"), Lookup::Look));
    assert!(matches!(files.lookup(at(0), RootId(1), b"a"), Lookup::Look));
    assert!(closed.is_empty());
}

#[test]
fn an_unchanged_file_keeps_its_first_descriptor() {
    let mut files = files(4);
    let mut closed = Vec::new();
    let first = files.insert(at(0), ROOT, (*b"a").into(), opened(1, 1), &mut |id| closed.push(id));
    let second = files.insert(at(2_000), ROOT, (*b"a").into(), opened(2, 1), &mut |id| closed.push(id));
    assert!(first.is(&second));
    assert_eq!(closed, [FileId(2)]);
}

#[test]
fn a_replaced_file_stays_open_while_it_is_being_sent() {
    let mut files = files(4);
    let mut closed = Vec::new();
    let first = files.insert(at(0), ROOT, (*b"a").into(), opened(1, 1), &mut |id| closed.push(id));
    let second = files.insert(at(2_000), ROOT, (*b"a").into(), opened(2, 9), &mut |id| closed.push(id));
    assert!(!first.is(&second));
    files.sweep(&mut |id| closed.push(id));
    assert!(closed.is_empty());
    drop(first);
    files.sweep(&mut |id| closed.push(id));
    assert_eq!(closed, [FileId(1)]);
}

#[test]
fn the_name_used_longest_ago_makes_room() {
    let mut files = files(2);
    let mut closed = Vec::new();
    for (id, name) in [(1, b"a"), (2, b"b")] {
        files.insert(at(u64::from(id)), ROOT, (*name).into(), opened(id, 1), &mut |id| closed.push(id));
    }
    assert!(matches!(files.lookup(at(5), ROOT, b"a"), Lookup::Fresh(_)));
    files.insert(at(6), ROOT, (*b"c").into(), opened(3, 1), &mut |id| closed.push(id));
    assert_eq!(closed, [FileId(2)]);
    assert_eq!(files.len(), 2);
}

#[test]
fn a_name_that_is_gone_is_forgotten() {
    let mut files = files(2);
    let mut closed = Vec::new();
    files.insert(at(0), ROOT, (*b"a").into(), opened(1, 1), &mut |id| closed.push(id));
    files.remove(ROOT, b"a", &mut |id| closed.push(id));
    assert_eq!(closed, [FileId(1)]);
    assert!(matches!(files.lookup(at(0), ROOT, b"a"), Lookup::Look));
}
