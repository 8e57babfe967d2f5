//! The pool by state, and against a model that knows only stacks and counts.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const LAYOUT: PoolLayout = PoolLayout { large_count: 5, small_count: 7 };

fn pool() -> Pool {
    Pool::new(LAYOUT).unwrap()
}

fn all_large(pool: &Pool) -> Vec<Frame> {
    core::iter::from_fn(|| pool.acquire_large()).collect()
}

fn all_small(pool: &Pool) -> Vec<Frame> {
    core::iter::from_fn(|| pool.acquire_small()).collect()
}

mod a_new_pool {
    use super::*;

    #[test]
    fn has_every_frame_once() {
        let pool = pool();
        let mut indices: Vec<_> =
            all_large(&pool).iter().chain(&all_small(&pool)).map(Frame::index).collect();
        assert_eq!(indices.len(), 5 + 7);
        indices.sort_unstable();
        indices.dedup();
        assert_eq!(indices.len(), 5 + 7);
    }

    #[test]
    fn hands_out_bytes_that_are_zero() {
        let pool = pool();
        for frame in all_large(&pool).iter().chain(&all_small(&pool)) {
            assert!(frame.bytes().iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn has_room_for_one_record_in_a_large_frame_and_for_kept_bytes_in_a_small_one() {
        let pool = pool();
        let (large, small) = (pool.acquire_large().unwrap(), pool.acquire_small().unwrap());
        assert_eq!(large.bytes().len(), HEADROOM_BYTES + PAYLOAD_BYTES + TAIL_BYTES);
        assert_eq!((large.payload_start(), large.payload_bytes_max()), (HEADROOM_BYTES, PAYLOAD_BYTES));
        assert_eq!(small.bytes().len(), SMALL_BYTES);
        assert_eq!((small.payload_start(), small.payload_bytes_max()), (0, SMALL_BYTES));
    }

    #[test]
    fn aligns_the_payload_of_every_large_frame_for_direct_reads() {
        for frame in all_large(&pool()) {
            assert_eq!(frame.payload_ptr().addr() % PAYLOAD_ALIGN, 0, "frame {}", frame.index());
            assert_eq!(frame.payload_ptr().cast_const(), frame.bytes()[frame.payload_start()..].as_ptr());
        }
    }

    #[test]
    fn lies_within_the_region_that_is_registered() {
        let pool = pool();
        let (base, bytes) = pool.region();
        let start = base.as_ptr().addr();
        for frame in all_large(&pool).iter().chain(&all_small(&pool)) {
            let range = frame.bytes().as_ptr_range();
            assert!(range.start.addr() >= start && range.end.addr() <= start + bytes);
        }
    }

    #[test]
    fn may_have_frames_of_one_kind_only() {
        let large_only = Pool::new(PoolLayout { large_count: 2, small_count: 0 }).unwrap();
        assert!(large_only.acquire_small().is_none());
        let small_only = Pool::new(PoolLayout { large_count: 0, small_count: 2 }).unwrap();
        assert!(small_only.acquire_large().is_none());
        assert_eq!(all_small(&small_only).len(), 2);
    }
}

mod frames {
    use super::*;

    #[test]
    fn do_not_overlap() {
        let pool = pool();
        let mut frames: Vec<Frame> = all_large(&pool).into_iter().chain(all_small(&pool)).collect();
        for (number, frame) in (1_u8..).zip(&mut frames) {
            frame.bytes_mut().fill(number);
        }
        for (number, frame) in (1_u8..).zip(&frames) {
            assert!(frame.bytes().iter().all(|byte| *byte == number), "frame {}", frame.index());
        }
    }

    #[test]
    fn are_used_again_last_in_first_out() {
        let pool = pool();
        let mut frames = all_large(&pool);
        let (third, first) = (frames.remove(3), frames.remove(1));
        let (third_index, first_index) = (third.index(), first.index());
        drop(third);
        drop(first);
        assert_eq!(pool.acquire_large().unwrap().index(), first_index);
        let again = [pool.acquire_large().unwrap(), pool.acquire_large().unwrap()];
        assert_eq!(again.map(|frame| frame.index()), [first_index, third_index]);
    }

    #[test]
    fn of_one_kind_do_not_come_back_as_the_other() {
        let pool = pool();
        let frames = (all_large(&pool), all_small(&pool));
        drop(frames);
        assert_eq!((pool.large_free(), pool.small_free()), (5, 7));
    }

    #[test]
    fn keep_their_bytes_when_they_are_shared() {
        let pool = pool();
        let mut frame = pool.acquire_large().unwrap();
        frame.bytes_mut()[HEADROOM_BYTES..][..5].copy_from_slice(b"bytes");
        let address = frame.bytes().as_ptr();
        let shared = frame.share();
        assert_eq!(&shared.bytes()[HEADROOM_BYTES..][..5], b"bytes");
        assert_eq!(shared.bytes().as_ptr(), address);
    }

    #[test]
    fn keep_the_arena_alive_after_the_pool_was_dropped() {
        let pool = pool();
        let mut frame = pool.acquire_small().unwrap();
        let shared = pool.acquire_large().unwrap().share();
        drop(pool);
        frame.bytes_mut().fill(3);
        assert_eq!((frame.bytes()[SMALL_BYTES - 1], shared.bytes()[0]), (3, 0));
    }
}

mod a_shared_frame {
    use super::*;

    #[test]
    fn returns_with_the_last_of_its_names_and_once() {
        let pool = pool();
        let first = pool.acquire_large().unwrap().share();
        let second = first.clone();
        let third = second.clone();
        assert_eq!(first.shares(), 3);
        drop(second);
        drop(first);
        assert_eq!((third.shares(), pool.large_free()), (1, 4));
        drop(third);
        assert_eq!(pool.large_free(), 5);
    }

    #[test]
    fn is_written_again_under_its_only_name_and_under_no_other() {
        let pool = pool();
        let first = pool.acquire_small().unwrap().share();
        let index = first.index();
        let second = first.clone();
        let first = first.thaw().unwrap_err();
        drop(second);
        let mut frame = first.thaw().unwrap();
        assert_eq!((frame.index(), pool.small_free()), (index, 6));
        frame.bytes_mut()[0] = 9;
        let again = frame.share();
        assert_eq!((again.bytes()[0], again.shares()), (9, 1));
        drop(again);
        assert_eq!(pool.small_free(), 7);
    }

    #[test]
    fn counts_anew_when_the_frame_is_used_again() {
        let pool = pool();
        let shared = pool.acquire_small().unwrap().share();
        let index = shared.index();
        drop((shared.clone(), shared));
        let again = pool.acquire_small().unwrap().share();
        assert_eq!((again.index(), again.shares()), (index, 1));
    }
}

mod an_empty_pool {
    use super::*;

    #[test]
    fn has_none_until_one_comes_back() {
        let pool = pool();
        let mut frames = all_large(&pool);
        assert!(pool.acquire_large().is_none());
        assert_eq!((pool.large_free(), pool.small_free()), (0, 7));
        frames.pop();
        assert!(pool.acquire_large().is_some());
    }

    #[test]
    fn remembers_how_many_were_out_at_once() {
        let pool = pool();
        drop(all_large(&pool));
        drop(all_small(&pool));
        let kept = pool.acquire_large().unwrap();
        assert_eq!(pool.in_use(), FramesInUse { large: 1, large_max: 5, small: 0, small_max: 7 });
        drop(kept);
    }
}

mod a_region {
    use super::*;

    #[test]
    fn begins_on_a_huge_page_and_has_whole_ones() {
        for bytes in [1, 2 << 20, (2 << 20) + 1, 5 << 20] {
            let region = Region::map(bytes).unwrap();
            assert_eq!(region.base().as_ptr().addr() % (2 << 20), 0);
            assert!(region.bytes() >= bytes && region.bytes().is_multiple_of(2 << 20));
        }
    }

    #[test]
    fn that_no_machine_has_is_an_error_that_says_how_much() {
        let error = Region::map(1 << 62).unwrap_err();
        assert_eq!(error.bytes, 1 << 62);
        assert!(error.to_string().starts_with("no memory for 4398046511104 MiB of frames"), "{error}");
    }
}

/// What a user of the pool may do next.
#[derive(Clone, Debug)]
enum Step {
    AcquireLarge,
    AcquireSmall,
    Share(prop::sample::Index),
    Clone(prop::sample::Index),
    DropFrame(prop::sample::Index),
    DropShared(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..16_u8, any::<prop::sample::Index>()).prop_map(|(kind, which)| match kind {
        0..3 => Step::AcquireLarge,
        3..6 => Step::AcquireSmall,
        6..8 => Step::Share(which),
        8..10 => Step::Clone(which),
        10..12 => Step::DropFrame(which),
        _ => Step::DropShared(which),
    });
    proptest::collection::vec(step, 0..200)
}

/// What the pool should be: two stacks of numbers, and how many names each number out has.
struct Model {
    large: Vec<u32>,
    small: Vec<u32>,
    names: BTreeMap<u32, u32>,
}

impl Model {
    fn new() -> Self {
        let (large, all) = (LAYOUT.large_count, LAYOUT.large_count + LAYOUT.small_count);
        Self {
            large: (0..large).rev().collect(),
            small: (large..all).rev().collect(),
            names: BTreeMap::new(),
        }
    }

    fn drop_name(&mut self, index: u32) {
        let names = self.names.get_mut(&index).unwrap();
        *names -= 1;
        if *names == 0 {
            self.names.remove(&index);
            let stack = if index < LAYOUT.large_count { &mut self.large } else { &mut self.small };
            stack.push(index);
        }
    }
}

mod a_pool_with_chunks {
    use super::*;

    fn chunked() -> Pool {
        Pool::with_chunks(LAYOUT, 6).unwrap()
    }

    #[test]
    fn cuts_them_behind_its_frames_and_counts_them_from_zero() {
        let pool = chunked();
        let chunks: Vec<_> = core::iter::from_fn(|| pool.acquire_chunk()).collect();
        assert_eq!((chunks.len(), pool.chunks_free()), (6, 0));
        let mut end = pool.offset_of(all_small(&pool).last().unwrap().bytes()).unwrap() + SMALL_BYTES as u64;
        for (number, chunk) in (0..).zip(&chunks) {
            assert_eq!(pool.chunk_number(chunk), Some(number));
            assert_eq!((chunk.bytes().len(), chunk.payload_start()), (CHUNK_BYTES, 0));
            let offset = pool.offset_of(chunk.bytes()).unwrap();
            assert!(offset >= end && offset.is_multiple_of(CHUNK_BYTES as u64), "chunk {number} at {offset}");
            end = offset + CHUNK_BYTES as u64;
            for inside in [offset, offset + 1, end - 1] {
                assert_eq!(pool.chunk_at(inside), Some(number));
            }
        }
        assert_eq!(pool.chunk_at(end), None);
        assert_eq!(pool.chunk_at(0), None);
    }

    #[test]
    fn hands_out_the_one_that_came_back_last() {
        let pool = chunked();
        let (first, second) = (pool.acquire_chunk().unwrap(), pool.acquire_chunk().unwrap());
        let index = first.index();
        drop(second);
        drop(first);
        assert_eq!(pool.acquire_chunk().unwrap().index(), index);
    }

    #[test]
    fn leaves_its_frames_as_they_were() {
        let pool = chunked();
        assert_eq!((all_large(&pool).len(), all_small(&pool).len(), pool.chunk_count()), (5, 7, 6));
        assert_eq!(pool.chunk_number(&pool.acquire_large().unwrap()), None);
        let shared = pool.acquire_chunk().unwrap().share();
        let names = (shared.clone(), shared);
        assert_eq!(pool.chunks_free(), 5);
        drop(names);
        assert_eq!(pool.chunks_free(), 6);
    }

    #[test]
    fn knows_which_bytes_are_its_own() {
        let pool = chunked();
        assert_eq!(pool.offset_of(&[1, 2, 3]), None);
        let frame = pool.acquire_large().unwrap();
        let offset = pool.offset_of(frame.bytes()).unwrap();
        assert_eq!(pool.offset_of(&frame.bytes()[7..9]), Some(offset + 7));
    }
}

proptest! {
    #[test]
    fn the_pool_is_two_stacks_whatever_its_users_do(steps in steps()) {
        let pool = pool();
        let mut model = Model::new();
        let mut frames: Vec<Frame> = Vec::new();
        let mut shared: Vec<SharedFrame> = Vec::new();
        for step in steps {
            match step {
                Step::AcquireLarge | Step::AcquireSmall => {
                    let (frame, expected) = match step {
                        Step::AcquireLarge => (pool.acquire_large(), model.large.pop()),
                        _ => (pool.acquire_small(), model.small.pop()),
                    };
                    prop_assert_eq!(frame.as_ref().map(Frame::index), expected);
                    if let Some(frame) = frame {
                        model.names.insert(frame.index(), 1);
                        frames.push(frame);
                    }
                }
                Step::Share(which) if !frames.is_empty() => {
                    shared.push(frames.swap_remove(which.index(frames.len())).share());
                }
                Step::Clone(which) if !shared.is_empty() => {
                    let name = which.get(&shared).clone();
                    *model.names.get_mut(&name.index()).unwrap() += 1;
                    shared.push(name);
                }
                Step::DropFrame(which) if !frames.is_empty() => {
                    model.drop_name(frames.swap_remove(which.index(frames.len())).index());
                }
                Step::DropShared(which) if !shared.is_empty() => {
                    model.drop_name(shared.swap_remove(which.index(shared.len())).index());
                }
                Step::Share(_) | Step::Clone(_) | Step::DropFrame(_) | Step::DropShared(_) => {}
            }
            prop_assert_eq!(pool.large_free(), model.large.len());
            prop_assert_eq!(pool.small_free(), model.small.len());
            let out = pool.in_use();
            prop_assert_eq!(out.large as usize + model.large.len(), LAYOUT.large_count as usize);
            prop_assert_eq!(out.small as usize + model.small.len(), LAYOUT.small_count as usize);
            for name in &shared {
                prop_assert_eq!(name.shares(), model.names[&name.index()]);
            }
        }
        drop((frames, shared));
        prop_assert_eq!((pool.large_free(), pool.small_free()), (5, 7));
    }
}
