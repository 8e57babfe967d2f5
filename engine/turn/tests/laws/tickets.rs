//! What a service waits for comes from elsewhere: whoever waits for it goes on, and nobody else.

use crate::world::{SECOND, Setup, World};
use core::time::Duration;
use turn::Ticket;

fn call(world: &mut World, number: u64) {
    world.call(Ticket(number));
    world.run(Duration::from_millis(50));
}

fn heard(world: &World, client: usize) -> String {
    String::from_utf8(world.clients[client].heard.clone()).expect("text")
}

#[test]
fn all_who_wait_for_a_ticket_go_on_when_it_is_called() {
    let mut world = Setup::new().world();
    let [one, secure, other] = [world.plain(), world.tls(), world.plain()];
    for (client, line) in [(one, "wait 7"), (secure, "wait 7"), (other, "wait 8")] {
        world.say(client, line);
    }
    world.run(SECOND);
    call(&mut world, 7);
    assert_eq!([one, secure, other].map(|client| heard(&world, client)), ["7", "7", ""]);
    call(&mut world, 8);
    assert_eq!(heard(&world, other), "8");
    world.leave();
}

#[test]
fn what_is_asked_behind_a_ticket_waits_with_it() {
    let mut world = Setup::new().world();
    let client = world.plain();
    world.say(client, "wait 1\nwait 2\nwait 2");
    world.run(SECOND);
    assert_eq!(world.engine.service().asked(), ["wait 1"]);
    call(&mut world, 1);
    call(&mut world, 2);
    assert_eq!(heard(&world, client), "12");
    call(&mut world, 2);
    assert_eq!(heard(&world, client), "122");
    world.leave();
}

#[test]
fn a_client_that_is_gone_is_not_called_and_a_ticket_nobody_waits_for_is_nothing() {
    let mut world = Setup::new().world();
    let [gone, stays] = [world.plain(), world.plain()];
    world.say(gone, "wait 3");
    world.say(stays, "wait 3");
    world.run(SECOND);
    world.clients[gone].tcp.abort();
    world.run(SECOND);
    call(&mut world, 9);
    call(&mut world, 3);
    assert_eq!(heard(&world, stays), "3");
    world.leave();
}

#[test]
fn a_peer_that_has_said_all_it_wanted_still_gets_what_it_waits_for() {
    let mut world = Setup::new().world();
    let client = world.plain();
    world.say(client, "wait 4");
    world.clients[client].finish();
    world.run(SECOND);
    call(&mut world, 4);
    assert_eq!(heard(&world, client), "4");
    world.leave();
}
