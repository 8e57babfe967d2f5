//! A ring by state, against a model, and under every interleaving of its two ends.

use core::sync::atomic::AtomicU32;
use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

/// A ring of `size` whose indices are about to wrap.
fn ends(size: u32) -> (Producer<std::rc::Rc<LocalIndices>>, Consumer<std::rc::Rc<LocalIndices>>) {
    let indices = std::rc::Rc::new(LocalIndices::starting_at(u32::MAX - 2));
    let size = RingSize::at_least(size);
    (Producer::new(std::rc::Rc::clone(&indices), size), Consumer::new(indices, size))
}

#[test]
fn a_size_is_the_power_of_two_that_is_enough() {
    assert_eq!([0, 1, 2, 3, 64, 65].map(|slots| RingSize::at_least(slots).slots()), [1, 1, 2, 4, 64, 128]);
}

mod an_empty_ring {
    use super::*;

    #[test]
    fn has_nothing_to_take_and_all_slots_to_fill() {
        let (mut producer, mut consumer) = ends(4);
        assert_eq!((consumer.take(), consumer.available(), consumer.release()), (None, 0, 0));
        assert_eq!((producer.free(), producer.publish(), producer.reclaim()), (4, 0, 0));
    }

    #[test]
    fn shows_nothing_before_it_is_published() {
        let (mut producer, mut consumer) = ends(4);
        let slot = producer.stage();
        assert!(slot.is_some());
        assert_eq!((consumer.take(), producer.staged()), (None, 1));
        assert_eq!(producer.publish(), 1);
        assert_eq!(consumer.take(), slot);
    }
}

mod a_full_ring {
    use super::*;

    #[test]
    fn refuses_until_the_consumer_released_and_the_producer_looked() {
        let (mut writer, mut reader) = queue(RingSize::at_least(2));
        assert_eq!(writer.stage('a'), Ok(()));
        assert_eq!(writer.stage('b'), Ok(()));
        assert_eq!(writer.stage('c'), Err('c'));
        writer.publish();
        assert_eq!(reader.take(), Some('a'));
        assert_eq!(writer.stage('c'), Err('c'), "not looked yet");
        assert_eq!(writer.reclaim(), 1);
        assert_eq!(writer.stage('c'), Ok(()));
    }

    #[test]
    fn keeps_a_taken_slot_from_the_producer_until_it_is_released() {
        let (mut producer, mut consumer) = ends(1);
        assert!(producer.stage().is_some());
        producer.publish();
        assert!(consumer.take().is_some());
        assert_eq!((producer.reclaim(), producer.stage()), (0, None));
        assert_eq!(consumer.release(), 1);
        assert_eq!(producer.reclaim(), 1);
        assert!(producer.stage().is_some());
    }

    #[test]
    fn goes_round_for_as_long_as_one_likes() {
        let (mut producer, mut consumer) = ends(4);
        for round in 0..100 {
            let staged: Vec<_> = core::iter::from_fn(|| producer.stage()).collect();
            assert_eq!(staged.len(), 4, "round {round}");
            producer.publish();
            let taken: Vec<_> = core::iter::from_fn(|| consumer.take()).collect();
            assert_eq!(taken, staged);
            consumer.release();
            assert_eq!(producer.reclaim(), 4);
        }
    }
}

mod a_broken_ring {
    use super::*;

    #[test]
    #[should_panic(expected = "span more than 4 slots")]
    fn is_not_read_when_its_producer_ran_ahead() {
        let indices = LocalIndices::default();
        let mut consumer = Consumer::new(&indices, RingSize::at_least(4));
        indices.publish(5);
        let _ = consumer.take();
    }

    #[test]
    #[should_panic(expected = "span more than 4 slots")]
    fn is_not_filled_when_its_consumer_ran_ahead() {
        let indices = LocalIndices::default();
        let mut producer = Producer::new(&indices, RingSize::at_least(4));
        indices.release(1);
        producer.reclaim();
    }
}

#[test]
fn values_left_in_a_queue_are_dropped_with_it() {
    let value = std::rc::Rc::new(());
    let (mut writer, reader) = queue(RingSize::at_least(4));
    writer.stage(std::rc::Rc::clone(&value)).unwrap();
    writer.publish();
    drop((writer, reader));
    assert_eq!(std::rc::Rc::strong_count(&value), 1);
}

#[test]
fn a_mapped_ring_joins_one_that_is_under_way() {
    let (produced, consumed) = (AtomicU32::new(7), AtomicU32::new(5));
    // SAFETY: both counters outlive the ring, and are only used atomically.
    let indices = unsafe { MappedIndices::new((&produced).into(), (&consumed).into()) };
    let mut consumer = Consumer::new(indices, RingSize::at_least(4));
    assert_eq!((consumer.take(), consumer.take(), consumer.take()), (Some(1), Some(2), None));
    consumer.release();
    assert_eq!(consumed.into_inner(), 7);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Stage,
    Publish,
    Reclaim,
    Take,
}

proptest! {
    #[test]
    fn a_queue_gives_what_it_took_in_order(
        steps in proptest::collection::vec(
            (0..8_u8).prop_map(|kind| match kind {
                0..3 => Step::Stage,
                3 => Step::Publish,
                4 => Step::Reclaim,
                _ => Step::Take,
            }),
            0..300,
        ),
    ) {
        const SIZE: usize = 4;
        let (mut writer, mut reader) = queue(RingSize::at_least(4));
        let (mut staged, mut published) = (VecDeque::new(), VecDeque::new());
        let (mut number, mut taken) = (0_u32, 0);
        for step in steps {
            match step {
                Step::Stage => {
                    let room = staged.len() + published.len() + taken < SIZE;
                    prop_assert_eq!(writer.has_room(), room);
                    prop_assert_eq!(writer.stage(number).is_ok(), room);
                    if room {
                        staged.push_back(number);
                    }
                    number += 1;
                }
                Step::Publish => {
                    prop_assert_eq!(writer.publish() as usize, staged.len());
                    published.append(&mut staged);
                }
                Step::Reclaim => prop_assert_eq!(writer.reclaim() as usize, core::mem::take(&mut taken)),
                Step::Take => {
                    prop_assert_eq!(reader.available() as usize, published.len());
                    let value = reader.take();
                    prop_assert_eq!(value, published.pop_front());
                    taken += usize::from(value.is_some());
                }
            }
            prop_assert_eq!(writer.in_flight() as usize, staged.len() + published.len() + taken);
        }
    }
}

/// The cursors, and the orderings of the production indices, with loom's atomics under them: loom runs every
/// interleaving that the memory model allows, and its cells notice a slot that both ends touch at once.
mod every_interleaving {
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU32;
    use loom::thread;

    use super::*;

    struct LoomRing {
        produced: AtomicU32,
        consumed: AtomicU32,
        slots: [UnsafeCell<u32>; 2],
    }

    const SIZE: RingSize = RingSize::at_least(2);
    /// About to wrap.
    const START: u32 = u32::MAX;

    impl LoomRing {
        fn new() -> Self {
            let slots = [UnsafeCell::new(0), UnsafeCell::new(0)];
            Self { produced: AtomicU32::new(START), consumed: AtomicU32::new(START), slots }
        }

        fn write(&self, slot: usize, value: u32) {
            // SAFETY: loom itself checks that nobody else is at the slot.
            self.slots[slot].with_mut(|cell| unsafe { *cell = value });
        }

        fn read(&self, slot: usize) -> u32 {
            // SAFETY: as above.
            self.slots[slot].with(|cell| unsafe { *cell })
        }
    }

    crate::indices::acquire_and_release!(Arc<LoomRing>, |ring| ring.produced, ring.consumed);

    /// Produces 1 to `count`, `batch` at a time, in a thread beside the test's own, which consumes them.
    fn ring_survives(count: u32, batch: u32) {
        loom::model(move || {
            let ring = Arc::new(LoomRing::new());
            let mut consumer = Consumer::new(Arc::clone(&ring), SIZE);
            let producing = thread::spawn({
                let ring = Arc::clone(&ring);
                move || {
                    let mut producer = Producer::new(Arc::clone(&ring), SIZE);
                    for value in 1..=count {
                        let slot = loop {
                            if let Some(slot) = producer.stage() {
                                break slot;
                            }
                            producer.publish();
                            if producer.reclaim() == 0 {
                                thread::yield_now();
                            }
                        };
                        ring.write(slot, value);
                        if producer.staged() == batch {
                            producer.publish();
                        }
                    }
                    producer.publish();
                }
            });
            let mut expected = 1;
            while expected <= count {
                let Some(slot) = consumer.take() else {
                    thread::yield_now();
                    continue;
                };
                assert_eq!(ring.read(slot), expected);
                consumer.release();
                expected += 1;
            }
            producing.join().unwrap();
            assert_eq!(consumer.take(), None);
        });
    }

    #[test]
    fn ring_survives_every_interleaving_of_single_slots() {
        ring_survives(3, 1);
    }

    #[test]
    fn ring_survives_every_interleaving_of_batches() {
        ring_survives(3, 2);
    }
}
