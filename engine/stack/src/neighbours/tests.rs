use super::*;

const NOW: Instant = Instant::from_nanos(7_000_000_000);
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 10]);

fn neighbour(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn cache() -> Neighbours {
    Neighbours::new(4, HashKey::new([5; 16]))
}

mod unknown {
    use super::*;

    #[test]
    fn a_neighbour_is_asked_for_once() {
        let mut cache = cache();
        assert_eq!(cache.resolve(NOW, neighbour(1)), (Resolution::Pending, true));
        assert_eq!(cache.resolve(NOW, neighbour(1)), (Resolution::Pending, false));
    }

    #[test]
    fn what_nobody_asked_for_is_not_learnt() {
        let mut cache = cache();
        cache.on_told(NOW, neighbour(1), MAC, true);
        assert_eq!(cache.resolve(NOW, neighbour(1)), (Resolution::Pending, true));
    }
}

mod incomplete {
    use super::*;

    fn incomplete() -> Neighbours {
        let mut cache = cache();
        let _ = cache.resolve(NOW, neighbour(1));
        cache
    }

    #[test]
    fn an_answer_ends_the_wait_and_is_told_once() {
        let mut cache = incomplete();
        cache.on_told(NOW, neighbour(1), MAC, false);
        assert_eq!(cache.poll_resolved(), Some((neighbour(1), Some(MAC))));
        assert_eq!(cache.poll_resolved(), None);
        assert_eq!(cache.resolve(NOW, neighbour(1)), (Resolution::Known(MAC), false));
    }

    #[test]
    fn a_groups_address_is_no_answer() {
        let mut cache = incomplete();
        cache.on_told(NOW, neighbour(1), MacAddr::BROADCAST, true);
        assert_eq!(cache.resolve(NOW, neighbour(1)), (Resolution::Pending, false));
    }

    #[test]
    fn silence_is_asked_again_every_second_three_times_in_all() {
        let mut cache = incomplete();
        let mut asked = 1;
        let mut now = NOW;
        while let Some(deadline) = cache.next_deadline() {
            assert_eq!(deadline, now + RETRANSMIT);
            assert_eq!(cache.poll_solicit(deadline - Duration::from_nanos(1)), None);
            now = deadline;
            asked += usize::from(cache.poll_solicit(now) == Some(neighbour(1)));
        }
        assert_eq!((asked, now), (3, NOW + 3 * RETRANSMIT));
        assert_eq!(cache.poll_resolved(), Some((neighbour(1), None)));
        assert_eq!(cache.resolve(now, neighbour(1)), (Resolution::Unreachable, false));
        assert_eq!(cache.resolve(now + FAILED, neighbour(1)), (Resolution::Pending, true));
    }
}

mod reachable {
    use super::*;

    fn reachable() -> Neighbours {
        let mut cache = cache();
        let _ = cache.resolve(NOW, neighbour(1));
        cache.on_told(NOW, neighbour(1), MAC, false);
        cache
    }

    #[test]
    fn another_mac_is_believed_only_if_it_overrides() {
        let mut cache = reachable();
        cache.on_told(NOW, neighbour(1), OTHER, false);
        assert_eq!(cache.resolve(NOW, neighbour(1)).0, Resolution::Known(MAC));
        cache.on_told(NOW, neighbour(1), OTHER, true);
        assert_eq!(cache.resolve(NOW, neighbour(1)).0, Resolution::Known(OTHER));
    }

    #[test]
    fn an_old_answer_is_asked_for_again() {
        let mut cache = reachable();
        assert_eq!(cache.resolve(NOW + REACHABLE, neighbour(1)), (Resolution::Pending, true));
    }
}

#[test]
fn a_full_cache_gives_up_the_neighbour_asked_for_longest_ago() {
    let mut cache = cache();
    for last in 1..=5 {
        let _ = cache.resolve(NOW, neighbour(last));
    }
    assert_eq!(cache.entries.len(), 4);
    assert_eq!(cache.resolve(NOW, neighbour(1)), (Resolution::Pending, true));
}
