use super::*;
use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;
use proptest::prelude::*;

const TIMERS: u32 = 24;
const START: Instant = Instant::from_nanos(123_456_789_012);

fn wheel() -> Wheel {
    Wheel::new(TIMERS, START)
}

fn after(nanos: u64) -> Instant {
    START + Duration::from_nanos(nanos)
}

fn popped(wheel: &mut Wheel, now: Instant) -> Vec<u32> {
    core::iter::from_fn(|| wheel.pop(now)).collect()
}

mod an_idle_wheel {
    use super::*;

    #[test]
    fn has_no_deadline_and_pops_nothing() {
        let mut wheel = wheel();
        assert_eq!(wheel.next_deadline(), None);
        assert_eq!(wheel.pop(after(u64::MAX / 2)), None);
    }

    #[test]
    fn takes_a_timer_after_any_pause() {
        let mut wheel = wheel();
        wheel.pop(after(1 << 60));
        wheel.schedule(3, after((1 << 60) + 1_000_000));
        assert_eq!(popped(&mut wheel, after((1 << 60) + 2_000_000)), [3]);
    }

    #[test]
    fn forgets_a_timer_that_is_never_to_fire() {
        let mut wheel = wheel();
        wheel.schedule(3, after(5));
        wheel.schedule(3, Instant::NEVER);
        assert_eq!((wheel.len(), wheel.next_deadline()), (0, None));
    }
}

mod a_set_timer {
    use super::*;

    #[test]
    fn fires_once_not_early_and_less_than_a_tick_late() {
        for nanos in [1, TICK_NANOS, 1_000_000, 200_000_000, 60_000_000_000, 86_400_000_000_000] {
            let mut wheel = wheel();
            let at = after(nanos);
            wheel.schedule(0, at);
            assert_eq!(wheel.pop(at - Duration::from_nanos(1)), None, "{nanos} ns");
            assert_eq!(popped(&mut wheel, at + Duration::from_nanos(TICK_NANOS)), [0], "{nanos} ns");
            assert_eq!((wheel.len(), wheel.deadline_of(0)), (0, None));
        }
    }

    #[test]
    fn in_the_past_fires_at_the_next_tick_and_not_in_this_round() {
        let mut wheel = wheel();
        let now = after(1_000_000);
        wheel.pop(now);
        wheel.schedule(7, START);
        assert_eq!(wheel.pop(now), None);
        assert_eq!(popped(&mut wheel, now + Duration::from_nanos(TICK_NANOS)), [7]);
    }

    #[test]
    fn at_the_far_end_of_time_is_kept() {
        let mut wheel = wheel();
        wheel.schedule(0, Instant::from_nanos(u64::MAX - 1));
        assert_eq!(wheel.pop(Instant::from_nanos(u64::MAX - 2 * TICK_NANOS)), None);
        assert_eq!(wheel.len(), 1);
        assert!(wheel.next_deadline().is_some());
    }

    #[test]
    fn can_be_cancelled_when_it_is_due_and_not_yet_popped() {
        let mut wheel = wheel();
        wheel.schedule(0, after(1000));
        wheel.schedule(1, after(1000));
        assert_eq!(wheel.pop(after(1_000_000)), Some(0));
        wheel.cancel(1);
        assert_eq!(wheel.pop(after(1_000_000)), None);
    }

    #[test]
    fn can_be_moved_when_it_is_due_and_not_yet_popped() {
        let mut wheel = wheel();
        wheel.schedule(0, after(1000));
        wheel.schedule(1, after(1000));
        assert_eq!(wheel.pop(after(1_000_000)), Some(0));
        wheel.schedule(1, after(9_000_000));
        assert_eq!((wheel.pop(after(1_000_000)), wheel.len()), (None, 1));
        assert_eq!(popped(&mut wheel, after(10_000_000)), [1]);
    }
}

#[test]
fn timers_fire_in_the_order_of_their_deadlines() {
    let mut wheel = wheel();
    for (timer, millis) in [(0, 700), (1, 3), (2, 70_000), (3, 1), (4, 69)] {
        wheel.schedule(timer, after(millis * 1_000_000));
    }
    assert_eq!(popped(&mut wheel, after(80_000_000_000)), [3, 1, 4, 0, 2]);
}

#[test]
fn the_deadline_of_a_near_timer_is_exact_to_the_tick() {
    let mut wheel = wheel();
    wheel.schedule(0, after(300_000));
    let deadline = wheel.next_deadline().unwrap();
    assert!(deadline >= after(300_000) && deadline < after(300_000 + TICK_NANOS), "{deadline:?}");
    assert_eq!(wheel.deadline_of(0), Some(deadline));
}

/// Who sleeps until `next_deadline` again and again wakes a handful of times for a timer, however far it is.
#[test]
fn sleeping_on_the_deadline_reaches_a_far_timer_in_few_steps() {
    let mut wheel = wheel();
    let at = after(40_000_000_000_000);
    wheel.schedule(5, at);
    for _ in 0..=LEVELS {
        let deadline = wheel.next_deadline().unwrap();
        assert!(deadline < at + Duration::from_nanos(TICK_NANOS));
        if let Some(timer) = wheel.pop(deadline) {
            assert_eq!((timer, deadline >= at), (5, true));
            return;
        }
    }
    panic!("too many steps");
}

#[derive(Clone, Debug)]
enum Step {
    Schedule(u32, u64),
    Cancel(u32),
    Advance(u64),
}

fn nanos() -> impl Strategy<Value = u64> {
    // Every scale, and often close to one another.
    (0_u32..50, any::<u64>()).prop_map(|(bits, value)| value & ((1 << bits) - 1))
}

fn step() -> impl Strategy<Value = Step> {
    (0..6, 0..TIMERS, nanos()).prop_map(|(kind, timer, nanos)| match kind {
        0..=2 => Step::Schedule(timer, nanos),
        3 => Step::Cancel(timer),
        _ => Step::Advance(nanos),
    })
}

proptest! {
    #[test]
    fn a_wheel_agrees_with_a_sorted_map(steps in proptest::collection::vec(step(), 1..120)) {
        let mut wheel = wheel();
        let mut now = START;
        // What should fire, by tick; and where each timer is in it.
        let mut model: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
        let mut ticks: BTreeMap<u32, u64> = BTreeMap::new();
        let remove = |model: &mut BTreeMap<u64, BTreeSet<u32>>, ticks: &mut BTreeMap<u32, u64>, timer| {
            if let Some(tick) = ticks.remove(&timer) {
                model.get_mut(&tick).unwrap().remove(&timer);
                model.retain(|_, timers| !timers.is_empty());
            }
        };
        for step in steps {
            match step {
                Step::Schedule(timer, nanos) => {
                    remove(&mut model, &mut ticks, timer);
                    // Also before now.
                    let at = (now + Duration::from_nanos(nanos)) - Duration::from_micros(50);
                    let tick = at.as_nanos().div_ceil(TICK_NANOS).max(now.as_nanos() / TICK_NANOS + 1);
                    wheel.schedule(timer, at);
                    model.entry(tick).or_default().insert(timer);
                    ticks.insert(timer, tick);
                    prop_assert_eq!(wheel.deadline_of(timer), Some(instant_of(tick)));
                }
                Step::Cancel(timer) => {
                    wheel.cancel(timer);
                    remove(&mut model, &mut ticks, timer);
                }
                Step::Advance(nanos) => {
                    now += Duration::from_nanos(nanos);
                    let mut last = 0;
                    while let Some(timer) = wheel.pop(now) {
                        let tick = ticks[&timer];
                        prop_assert!(tick * TICK_NANOS <= now.as_nanos(), "timer {timer} fired early");
                        prop_assert!(tick >= last, "timer {timer} fired after a later one");
                        last = tick;
                        remove(&mut model, &mut ticks, timer);
                    }
                    let overdue = model.first_key_value().filter(|(tick, _)| **tick * TICK_NANOS <= now.as_nanos());
                    prop_assert_eq!(overdue, None);
                }
            }
            prop_assert_eq!(wheel.len() as usize, ticks.len());
            let earliest = model.first_key_value().map(|(tick, _)| instant_of(*tick));
            prop_assert_eq!(wheel.next_deadline().is_some(), earliest.is_some());
            prop_assert!(wheel.next_deadline() <= earliest);
        }
    }
}
