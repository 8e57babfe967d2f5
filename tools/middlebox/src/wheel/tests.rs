use super::*;
use proptest::prelude::*;

const HORIZON: Duration = Duration::from_millis(50);

fn at(micros: u64) -> Instant {
    Instant::EPOCH + Duration::from_micros(micros)
}

fn drain<T>(wheel: &mut Wheel<T>, now: Instant) -> Vec<T> {
    wheel.advance(now);
    core::iter::from_fn(|| wheel.take()).collect()
}

mod an_empty_wheel {
    use super::*;

    #[test]
    fn has_nothing_to_wait_for() {
        let mut wheel = Wheel::<u8>::new(HORIZON, at(0));
        assert_eq!((wheel.next_deadline(), wheel.take(), wheel.is_empty()), (None, None, true));
        wheel.advance(at(1_000_000_000));
        assert_eq!(wheel.next_deadline(), None);
    }

    #[test]
    fn ticks_more_coarsely_when_it_must_reach_far() {
        assert_eq!(Wheel::<u8>::new(HORIZON, at(0)).tick(), Duration::from_nanos(16_384));
        let wheel = Wheel::<u8>::new(Duration::from_secs(3_600), at(0));
        assert!(wheel.tick() > Duration::from_millis(3) && wheel.tick() < Duration::from_millis(8));
        assert!(wheel.buckets.len() as u64 <= BUCKETS_MAX);
    }
}

mod a_wheel_with_things_waiting {
    use super::*;

    #[test]
    fn gives_nothing_early_and_nothing_a_tick_late() {
        let mut wheel = Wheel::new(HORIZON, at(0));
        wheel.put(at(10_000), 'a');
        assert_eq!(drain(&mut wheel, at(9_999)), []);
        let late = at(10_000) + wheel.tick();
        assert_eq!(drain(&mut wheel, late), ['a']);
    }

    #[test]
    fn names_the_moment_at_which_the_next_is_ready() {
        let mut wheel = Wheel::new(HORIZON, at(0));
        wheel.put(at(40_000), 'b');
        wheel.put(at(10_000), 'a');
        let deadline = wheel.next_deadline().unwrap();
        assert!(deadline >= at(10_000) && deadline < at(10_000) + wheel.tick());
        assert_eq!(drain(&mut wheel, deadline), ['a']);
        wheel.put_ready('c');
        assert_eq!(wheel.next_deadline(), Some(deadline));
    }

    #[test]
    #[should_panic(expected = "beyond the horizon")]
    fn refuses_what_lies_farther_than_it_reaches() {
        Wheel::new(HORIZON, at(0)).put(at(200_000), ());
    }
}

proptest! {
    /// Against a list that is sorted by ticks, whatever the steps of time.
    #[test]
    fn comes_out_sorted_by_tick_and_then_by_turn(
        steps in prop::collection::vec((0_u64..30_000, prop::collection::vec(0_u64..50_000, 0..6)), 1..60),
    ) {
        let mut wheel = Wheel::new(HORIZON, at(0));
        let tick = u64::try_from(wheel.tick().as_nanos()).unwrap();
        let mut model: Vec<(u64, usize)> = Vec::new();
        let (mut now, mut number) = (0, 0);
        for (step, waits) in steps {
            now += step;
            let now_tick = at(now).as_nanos() / tick;
            let due: Vec<usize> = {
                model.sort_by_key(|(due, _)| *due);
                let count = model.iter().take_while(|(due, _)| *due <= now_tick).count();
                model.drain(..count).map(|(_, number)| number).collect()
            };
            prop_assert_eq!(drain(&mut wheel, at(now)), due);
            for wait in waits {
                wheel.put(at(now + wait), number);
                model.push((at(now + wait).as_nanos().div_ceil(tick).max(now_tick + 1), number));
                number += 1;
            }
            prop_assert_eq!(wheel.len(), model.len());
            let next = model.iter().map(|(due, _)| due * tick).min().map(Instant::from_nanos);
            prop_assert_eq!(wheel.next_deadline(), next);
        }
    }

    #[test]
    fn a_bitmap_knows_its_next_member(
        members in prop::collection::btree_set(0_usize..300_000, 0..40),
        gone in prop::collection::btree_set(0_usize..300_000, 0..40),
        from in 0_usize..300_000,
    ) {
        let mut bitmap = Bitmap::new(300_000);
        members.union(&gone).for_each(|member| bitmap.set(*member));
        gone.iter().for_each(|member| bitmap.clear(*member));
        let expected = members.range(from..).find(|member| !gone.contains(member)).copied();
        prop_assert_eq!(bitmap.next(from), expected);
    }
}
