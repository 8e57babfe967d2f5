use super::*;

const NOW: Instant = Instant::from_nanos(5_000_000_000);

fn peer(last: u8) -> IpAddr {
    IpAddr::from([198, 51, 100, last])
}

fn cache() -> PathMtuCache {
    PathMtuCache::new(2, HashKey::new([1; 16]))
}

#[test]
fn an_unknown_peer_has_no_path_mtu() {
    assert_eq!(cache().mtu(NOW, peer(1)), None);
}

#[test]
fn a_path_mtu_shrinks_and_does_not_grow_until_it_is_forgotten() {
    let mut cache = cache();
    assert_eq!(cache.on_too_big(NOW, peer(1), 1400), 1400);
    assert_eq!(cache.on_too_big(NOW, peer(1), 1480), 1400);
    assert_eq!(cache.on_too_big(NOW, peer(1), 1300), 1300);
    assert_eq!(cache.on_too_big(NOW + LIFETIME, peer(1), 1480), 1480);
}

//= https://www.rfc-editor.org/rfc/rfc1191#section-6.3
//= type=test
#[test]
fn a_path_mtu_is_believed_for_ten_minutes() {
    let mut cache = cache();
    cache.on_too_big(NOW, peer(1), 1400);
    let last = NOW + LIFETIME - Duration::from_nanos(1);
    assert_eq!((cache.mtu(last, peer(1)), cache.mtu(NOW + LIFETIME, peer(1))), (Some(1400), None));
}

//= https://www.rfc-editor.org/rfc/rfc8201#section-4
//= type=test
//# A node MUST NOT reduce its estimate of the Path MTU below the IPv6 minimum link MTU.
#[test]
fn no_router_makes_us_send_crumbs() {
    let mut cache = cache();
    assert_eq!(cache.on_too_big(NOW, peer(1), 68), MTU_MIN_V4);
    assert_eq!(cache.on_too_big(NOW, "2001:db8::1".parse().unwrap(), 68), MTU_MIN_V6);
}

#[test]
fn the_peer_learnt_longest_ago_makes_room() {
    let mut cache = cache();
    for last in 1..=3 {
        cache.on_too_big(NOW, peer(last), 1400);
    }
    assert_eq!([1, 2, 3].map(|last| cache.mtu(NOW, peer(last))), [None, Some(1400), Some(1400)]);
}

#[test]
fn expiry_forgets_the_old_and_keeps_the_rest() {
    let mut cache = cache();
    cache.on_too_big(NOW, peer(1), 1400);
    cache.on_too_big(NOW + LIFETIME / 2, peer(2), 1400);
    cache.expire(NOW + LIFETIME);
    assert_eq!((cache.len(), cache.mtu(NOW + LIFETIME, peer(2))), (1, Some(1400)));
}
