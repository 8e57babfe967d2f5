use std::vec::Vec;

use super::*;
use crate::suite::Version;
use crate::testing::{ToyAead, keys};

fn many(count: u8) -> Vec<TrafficKeys> {
    (0..count).map(|seed| keys(Version::Tls13, Suite::Aes128Gcm, seed)).collect()
}

#[test]
fn a_key_in_use_is_expanded_once() {
    let mut cache = ExpandedKeys::<ToyAead>::new(8);
    let mut keys = many(1);
    for _ in 0..100 {
        cache.expanded(&mut keys[0]);
    }
    assert_eq!(cache.expansions(), 1);
}

#[test]
fn a_full_set_gives_up_the_key_that_was_not_used_for_longest() {
    let mut cache = ExpandedKeys::<ToyAead>::new(8);
    assert_eq!(cache.capacity(), 8);
    let mut keys = many(9);
    for key in &mut keys[..8] {
        cache.expanded(key);
    }
    cache.expanded(&mut keys[0]);
    cache.expanded(&mut keys[8]);
    assert_eq!(cache.expansions(), 9);
    cache.expanded(&mut keys[0]);
    assert_eq!(cache.expansions(), 9, "the first was used again and stays");
    cache.expanded(&mut keys[1]);
    assert_eq!(cache.expansions(), 10, "the second was the coldest");
}

#[test]
fn keys_drawn_in_turn_fill_every_set_evenly() {
    let mut cache = ExpandedKeys::<ToyAead>::new(64);
    let mut keys = many(64);
    for _ in 0..2 {
        keys.iter_mut().for_each(|key| {
            cache.expanded(key);
        });
    }
    assert_eq!(cache.expansions(), 64);
}

#[test]
fn a_forgotten_key_is_expanded_again_and_its_place_is_free() {
    let mut cache = ExpandedKeys::<ToyAead>::new(8);
    let mut keys = many(2);
    cache.expanded(&mut keys[0]);
    cache.forget(&keys[0]);
    assert!(cache.sets[0].entries.iter().all(Option::is_none));
    cache.expanded(&mut keys[0]);
    assert_eq!(cache.expansions(), 2);
    cache.forget(&keys[1]);
    assert_eq!(cache.sets[0].entries.iter().flatten().count(), 1, "a key never used has nothing to forget");
}

#[test]
fn a_key_of_another_workers_cache_is_never_mistaken_for_the_key_of_the_same_id() {
    let (mut here, mut there) = (ExpandedKeys::<ToyAead>::new(8), ExpandedKeys::<ToyAead>::new(8));
    let mut keys = many(2);
    let seal = |key: &_| {
        let mut tag = [0; 16];
        ToyAead::seal(key, &[0; 12], &[], &mut [], &[], &mut tag);
        tag
    };
    let first = seal(here.expanded(&mut keys[0]));
    let second = seal(there.expanded(&mut keys[1]));
    assert_eq!(keys[0].id, keys[1].id);
    assert_ne!(first, second);
    assert_eq!(seal(here.expanded(&mut keys[1])), second);
    assert_eq!(seal(here.expanded(&mut keys[0])), first);
}

#[test]
fn the_use_counter_may_wrap() {
    let mut cache = ExpandedKeys::<ToyAead>::new(8);
    let mut keys = many(9);
    cache.clock = u32::MAX - 4;
    for key in &mut keys {
        cache.expanded(key);
    }
    cache.expanded(&mut keys[8]);
    assert_eq!(cache.expansions(), 9);
    cache.expanded(&mut keys[0]);
    assert_eq!(cache.expansions(), 10, "the first was the coldest across the wrap");
}
