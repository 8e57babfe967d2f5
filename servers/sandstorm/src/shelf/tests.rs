use super::*;

const LAYOUT: PoolLayout = PoolLayout { large_count: 4, small_count: 8 };

fn shelf() -> (Pool, Shelf) {
    let pool = Pool::new(LAYOUT).unwrap();
    (pool.clone(), Shelf::new(pool, LAYOUT))
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
}

fn gathered(object: &Object, range: Range<usize>) -> Vec<u8> {
    object.slices(range).flat_map(|slice| slice.bytes().to_vec()).collect()
}

#[test]
fn an_object_is_its_bytes_whatever_part_is_asked_for() {
    let (_pool, mut shelf) = shelf();
    for len in [0, 1, 2_048, 8_192, 8_193, 16_384, 37_000] {
        let bytes = bytes(len);
        let object = shelf.put(Key(1), &bytes).unwrap();
        for range in [0..len, len / 3..len, len / 3..len / 2, len..len] {
            assert_eq!(gathered(&object, range.clone()), bytes[range.clone()], "{range:?} of {len}");
            let number = |sum: Sum| sum.fold() % 0xffff;
            assert_eq!(number(object.sum(range.clone())), number(Sum::of(&bytes[range])));
        }
    }
}

#[test]
fn an_object_is_lent_in_parts_that_hold_what_was_asked_for() {
    let (_pool, mut shelf) = shelf();
    let bytes = bytes(37_000);
    let object = shelf.put(Key(1), &bytes).unwrap();
    let memory: &dyn Memory = &*object;
    for range in [0..1, 16_383..16_385, 100..37_000, 32_768..37_000] {
        let mut parts = Vec::new();
        memory.parts(range.clone(), &mut |part| parts.push(part));
        let lent: Vec<u8> = parts.iter().flat_map(|part| part.bytes().to_vec()).collect();
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert_eq!(lent, bytes[range]);
        let inner = parts.len().saturating_sub(2);
        assert!(parts.iter().skip(1).take(inner).all(|part| part.len as usize >= SMALL_BYTES));
    }
}

#[test]
fn on_a_full_shelf_what_was_not_used_for_longest_makes_room() {
    let (_pool, mut shelf) = shelf();
    for key in 0..4 {
        shelf.put(Key(key), &bytes(16_384)).unwrap();
    }
    assert!(shelf.get(Key(0)).is_some());
    shelf.put(Key(4), &bytes(16_384)).unwrap();
    assert!(shelf.get(Key(1)).is_none(), "the oldest is gone");
    assert!([0, 2, 3, 4].into_iter().all(|key| shelf.get(Key(key)).is_some()));
    assert_eq!(shelf.counters(), Counters { hits: 5, misses: 1, evicted: 1 });
}

#[test]
fn an_object_taken_off_lives_until_its_last_holder_lets_go() {
    let (pool, mut shelf) = shelf();
    let sent = shelf.put(Key(0), &bytes(16_384)).unwrap();
    let part = sent.slices(5..10).next().unwrap().frame.clone();
    shelf.put(Key(0), &[7; 16_384]).unwrap();
    assert_eq!(gathered(&sent, 0..16_384), bytes(16_384), "the old bytes, not the new ones");
    assert_eq!(pool.in_use().large, 2);
    drop(sent);
    assert_eq!(pool.in_use().large, 2, "a packet still holds it");
    drop(part);
    assert_eq!(pool.in_use().large, 1);
}

#[test]
fn what_is_being_sent_makes_no_room() {
    let (pool, mut shelf) = shelf();
    let held: Vec<_> = (0..4).map(|key| shelf.put(Key(key), &bytes(16_384)).unwrap()).collect();
    assert_eq!(shelf.put(Key(9), &bytes(16_384)).unwrap_err(), PutError::Busy);
    drop(held);
    assert!(shelf.put(Key(9), &bytes(16_384)).is_ok());
    drop(shelf);
    assert_eq!((pool.in_use().large, pool.in_use().small), (0, 0));
}

#[test]
fn slow_readers_keep_what_they_read_and_empty_no_shelf() {
    let (pool, mut shelf) = shelf();
    for key in 0..4 {
        shelf.put(Key(key), &bytes(16_384)).unwrap();
    }
    // They read the three that were not used for longest.
    let slow: Vec<_> = (0..3).filter_map(|key| shelf.get(Key(key))).collect();
    assert!(shelf.get(Key(3)).is_some());
    for key in 10..20 {
        shelf.put(Key(key), &bytes(16_384)).unwrap();
    }
    assert!((0..3).all(|key| shelf.get(Key(key)).is_some()), "taking them off would free nothing");
    assert_eq!((shelf.count(), shelf.counters().evicted, pool.in_use().large), (4, 10, 4));
    drop(slow);
}

#[test]
fn what_cannot_make_room_enough_stays() {
    let (_pool, mut shelf) = shelf();
    let held: Vec<_> = (0..2).map(|key| shelf.put(Key(key), &bytes(16_384)).unwrap()).collect();
    (2..4).for_each(|key| drop(shelf.put(Key(key), &bytes(16_384)).unwrap()));
    assert_eq!(shelf.begin(3 * 16_384).unwrap_err(), PutError::Busy);
    assert_eq!((shelf.count(), shelf.counters().evicted), (4, 0));
    drop(held);
    assert!(shelf.begin(3 * 16_384).is_ok());
    assert_eq!(shelf.counters().evicted, 3);
}

#[test]
fn room_for_a_large_object_is_not_made_by_small_ones_nor_the_other_way_round() {
    let (_pool, mut shelf) = shelf();
    (0..4).for_each(|key| drop(shelf.put(Key(key), &bytes(2_048)).unwrap()));
    (4..8).for_each(|key| drop(shelf.put(Key(key), &bytes(16_384)).unwrap()));
    shelf.put(Key(8), &bytes(16_384)).unwrap();
    assert!((0..4).all(|key| shelf.get(Key(key)).is_some()), "small ones have no large frame");
    assert!(shelf.get(Key(4)).is_none());
    (10..15).for_each(|key| drop(shelf.put(Key(key), &bytes(2_048)).unwrap()));
    assert!((5..9).all(|key| shelf.get(Key(key)).is_some()), "large ones have no small frame");
    assert!(shelf.get(Key(0)).is_none() && shelf.get(Key(1)).is_some());
}

#[test]
fn a_search_for_room_among_many_that_are_being_sent_ends_and_goes_on_next_time() {
    let small = u32::try_from(PASSED_OVER_MAX).unwrap() + 10;
    let layout = PoolLayout { large_count: 1, small_count: small };
    let mut shelf = Shelf::new(Pool::new(layout).unwrap(), layout);
    let sent: Vec<_> =
        (0..u64::from(small) - 1).map(|key| shelf.put(Key(key), &bytes(2_048)).unwrap()).collect();
    shelf.put(Key(u64::MAX), &bytes(2_048)).unwrap();
    assert_eq!(shelf.begin(2_048).unwrap_err(), PutError::Busy);
    assert!(shelf.begin(2_048).is_ok(), "what may go is behind those that were passed over");
    assert_eq!((shelf.count(), shelf.counters().evicted), (sent.len(), 1));
}

#[test]
fn what_would_not_fit_an_empty_shelf_evicts_nothing() {
    let (_pool, mut shelf) = shelf();
    shelf.put(Key(0), b"here").unwrap();
    assert_eq!(shelf.put(Key(1), &bytes(5 * 16_384)).unwrap_err(), PutError::TooLarge { len: 81_920 });
    assert!(shelf.get(Key(0)).is_some());
}

#[test]
fn a_new_site_keeps_what_it_has_too() {
    let (pool, mut shelf) = shelf();
    shelf.put(Key(0), b"old").unwrap();
    shelf.put(Key(1), b"both").unwrap();
    shelf.begin_sweep();
    while shelf.sweep(1, |key| key == Key(1)) {}
    assert_eq!((shelf.count(), pool.in_use().small), (1, 1));
    assert!(shelf.get(Key(1)).is_some());
}

#[test]
fn a_sweep_looks_at_so_many_objects_at_a_time_and_at_none_that_came_after_the_site() {
    let (_pool, mut shelf) = shelf();
    (0..3).for_each(|key| drop(shelf.put(Key(key), b"old").unwrap()));
    shelf.put(Key(9), &bytes(16_384)).unwrap();
    shelf.begin_sweep();
    shelf.put(Key(3), b"new").unwrap();
    // Used while it is under way.
    assert!(shelf.sweep(2, |_| false) && shelf.get(Key(2)).is_some());
    assert_eq!(shelf.count(), 3);
    while shelf.sweep(2, |_| false) {}
    assert!(shelf.has(Key(2)) && shelf.has(Key(3)) && !shelf.has(Key(9)));
    assert!(!shelf.sweep(2, |_| false), "over");
}

/// What a packet of `range` behind `before` would send, and its frame.
fn replica(object: &Object, range: Range<u64>, before: &[&[u8]]) -> Option<(Vec<u8>, Part)> {
    Memory::replica(object, range, before).map(|part| (part.bytes().to_vec(), part))
}

#[test]
fn a_segment_asked_for_again_has_a_replica_behind_what_is_written_for_the_packet() {
    let (_pool, mut shelf) = shelf();
    let bytes = bytes(16_384 + 3_000);
    let object = shelf.put(Key(0), &bytes).unwrap();
    for range in [0_u64..1_148, 16_000..17_448, 0..9_000] {
        assert!(replica(&object, range.clone(), &[b"first"]).is_none(), "it might be the only time");
        for before in [[&b"headers, "[..], b"head"], [b"", b""], [b"others of another length, ", b"head"]] {
            let (sent, _) = replica(&object, range.clone(), &before).unwrap();
            let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).unwrap());
            assert_eq!(sent, [before[0], before[1], &bytes[start..end]].concat());
        }
    }
}

#[test]
fn a_replica_on_its_way_is_not_written_to_and_one_that_is_back_is_used_again() {
    let (pool, mut shelf) = shelf();
    let object = shelf.put(Key(0), &bytes(2_000)).unwrap();
    assert!(replica(&object, 0..1_000, &[b"one"]).is_none());
    let first = replica(&object, 0..1_000, &[b"one"]).unwrap();
    let second = replica(&object, 0..1_000, &[b"two"]).unwrap();
    assert_ne!(first.1.frame.index(), second.1.frame.index());
    assert_eq!((first.1.bytes(), second.1.bytes()), (&first.0[..], &second.0[..]));
    let index = first.1.frame.index();
    drop(first);
    let third = replica(&object, 0..1_000, &[b"three"]).unwrap();
    assert_eq!(third.1.frame.index(), index);
    assert_eq!(pool.in_use().small, 3, "the object, and two replicas");
}

#[test]
fn there_are_no_more_replicas_than_room_and_sending_goes_on_without() {
    let (pool, mut shelf) = shelf();
    let object = shelf.put(Key(0), &bytes(2_000)).unwrap();
    let on_their_way: Vec<_> = (0..10).map(|_| replica(&object, 0..1_000, &[b"head"])).collect();
    assert_eq!(on_their_way.iter().flatten().count(), 7, "eight small frames, and one is the object");
    assert_eq!((shelf.replicated().small_count, pool.small_free()), (7, 0));
}

#[test]
fn replicas_make_room_before_any_object_does() {
    let (pool, mut shelf) = shelf();
    let object = shelf.put(Key(0), &bytes(2_000)).unwrap();
    drop((0..2).map(|_| replica(&object, 0..1_000, &[b"head"])).collect::<Vec<_>>());
    let other = shelf.put(Key(1), &bytes(2_000)).unwrap();
    let on_their_way: Vec<_> = (0..10).map(|_| replica(&other, 0..1_000, &[b"head"])).collect();
    drop(on_their_way);
    assert_eq!((shelf.replicated().small_count, pool.small_free()), (6, 0));
    shelf.put(Key(2), &bytes(SMALL_BYTES)).unwrap();
    assert_eq!(shelf.replicated().small_count, 5, "those of the object that was used last stay");
    shelf.put(Key(3), &bytes(4 * SMALL_BYTES)).unwrap();
    assert_eq!((shelf.count(), shelf.counters().evicted), (4, 0), "no object had to go");
    assert_eq!((shelf.replicated().small_count, pool.small_free()), (0, 1));
}

#[test]
fn an_object_off_the_shelf_makes_no_replicas() {
    let (pool, mut shelf) = shelf();
    let object = shelf.put(Key(0), &bytes(2_000)).unwrap();
    drop((0..2).map(|_| replica(&object, 0..1_000, &[b"head"])).collect::<Vec<_>>());
    let on_its_way = replica(&object, 0..1_000, &[b"head"]).unwrap();
    shelf.remove(Key(0));
    assert_eq!((shelf.replicated().small_count, pool.in_use().small), (0, 2));
    assert_eq!(on_its_way.1.bytes(), on_its_way.0, "what is being sent stays as it is");
    drop(on_its_way);
    assert!((0..3).all(|_| replica(&object, 0..1_000, &[b"head"]).is_none()));
    drop(object);
    assert_eq!(pool.in_use().small, 0);
}

#[test]
fn cuts_that_nobody_asks_for_again_take_no_memory_for_ever() {
    let (_pool, mut shelf) = shelf();
    let object = shelf.put(Key(0), &bytes(16_000)).unwrap();
    for start in 0..1_000 {
        assert!(replica(&object, start..start + 100, &[b"head"]).is_none());
    }
    for _ in 0..2 {
        assert!(replica(&object, 0..100, &[b"head"]).is_none() || shelf.replicated().small_count == 1);
    }
    assert_eq!(shelf.replicated().small_count, 1);
}
