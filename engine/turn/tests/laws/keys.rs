//! Keys that wear out: `KeyUpdate` from either side, while data flows and is sent again.

use crate::world::{SECOND, Setup, World, bytes_of};
use core::time::Duration;
use tls::{KeyUpdateRequest, Suite, Version};

const LEN: u64 = 1_000_000;
const LEN_USIZE: usize = 1_000_000;

fn world(key_update_after: Option<u32>) -> World {
    let mut setup = Setup::new();
    setup.config.key_update_after = key_update_after;
    let mut world = setup.world();
    world.file("film", 1, LEN);
    world
}

/// Loses some segments, but never one twice in a row.
fn lose_some(world: &mut World, one_in: u32) {
    let mut count: u32 = 1;
    world.filter(move |_| {
        count = count.wrapping_mul(0x9E37_79B1).wrapping_add(0x7F4A_7C15);
        !(count >> 9).is_multiple_of(one_in)
    });
}

#[test]
fn our_keys_are_updated_before_they_are_worn_out() {
    for suite in Suite::ALL {
        let mut world = world(Some(5));
        let client = world.secure(Version::Tls13, suite);
        world.say(client, &format!("get film 0 {LEN}"));
        world.hear(client, LEN_USIZE);
        assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
        assert!(world.clients[client].key_updates_heard > 4);
        assert_eq!(world.engine.counters().key_updates, world.clients[client].key_updates_heard as u64);
        world.leave();
    }
}

#[test]
fn records_of_an_older_key_are_sent_again_under_it() {
    let mut world = world(Some(3));
    let client = world.tls();
    lose_some(&mut world, 12);
    world.say(client, &format!("get film 0 {LEN}"));
    world.hear(client, LEN_USIZE);
    assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
    assert!(world.engine.counters().resent_bytes > 0);
    world.leave();
}

#[test]
fn the_peer_may_update_its_keys_and_ask_for_ours_while_data_flows() {
    for request in [KeyUpdateRequest::NotRequested, KeyUpdateRequest::Requested] {
        let mut world = world(None);
        let client = world.tls();
        world.say(client, &format!("get film 0 {LEN}"));
        lose_some(&mut world, 20);
        for heard in [100_000, 300_000, 500_000] {
            assert!(world.run_until(20 * SECOND, |world| world.clients[client].heard.len() > heard));
            let World { clients, trove, .. } = &mut world;
            clients[client].update_keys(trove, request);
        }
        world.hear(client, LEN_USIZE);
        assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
        let answers = if request == KeyUpdateRequest::Requested { 3 } else { 0 };
        assert_eq!(world.clients[client].key_updates_heard, answers);
        // And requests under the peer's new key are understood.
        world.say(client, "get film 0 1000");
        world.hear(client, LEN_USIZE + 1_000);
        world.leave();
    }
}

#[test]
fn tls_1_2_finishes_what_it_sends_and_closes_before_its_key_is_worn_out() {
    let mut world = world(Some(5));
    let client = world.secure(Version::Tls12, Suite::Aes128Gcm);
    world.say(client, &format!("get film 0 {LEN}"));
    world.hear(client, LEN_USIZE);
    assert!(world.clients[client].heard == bytes_of(1, 0..LEN));
    assert!(world.run_until(SECOND, |world| world.clients[client].peer_finished));
    assert!(world.clients[client].close_notified);
    world.leave();
    assert_eq!(world.engine.counters().finished, 1);
}

#[test]
fn an_alert_does_not_overtake_a_key_update() {
    let mut world = world(None);
    let client = world.tls();
    world.say(client, &format!("get film 0 {LEN}"));
    assert!(world.run_until(SECOND, |world| world.clients[client].heard.len() > 200_000));
    // With the window shut our answer to the request cannot leave; then the peer breaks the protocol.
    world.set_reads(client, false);
    world.run(2 * SECOND);
    {
        let World { clients, trove, .. } = &mut world;
        clients[client].update_keys(trove, KeyUpdateRequest::Requested);
    }
    world.run(Duration::from_millis(100));
    let mut garbage = vec![23, 3, 3, 0, 64];
    garbage.resize(69, 0xA5);
    world.clients[client].say_raw(&garbage);
    world.run(Duration::from_millis(100));
    world.set_reads(client, true);
    assert!(world.run_until(20 * SECOND, |world| world.clients[client].failure.is_some()));
    let failure = world.clients[client].failure.clone().unwrap();
    assert!(failure.contains("bad_record_mac"), "the peer did not understand the alert: {failure}");
    assert!(world.clients[client].heard == bytes_of(1, 0..world.clients[client].heard.len() as u64));
    world.leave();
}
