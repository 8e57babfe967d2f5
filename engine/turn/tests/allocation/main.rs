//! The data path never allocates: from the first acknowledgment of a response to its last byte the engine asks the
//! allocator for nothing, plain or sealed, with one client or many.
//!
//! Requests may allocate, and so may a connection that has never sent so much before: everybody has had a response of
//! this kind already when it is counted.

#![expect(unsafe_code, reason = "counts what the allocator is asked for")]
#![expect(dead_code, reason = "of the world of the laws only a part is needed here")]
#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

extern crate alloc;

#[path = "../laws/world/mod.rs"]
mod world;

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::time::Duration;
use disk_memory::Latency;
use std::alloc::System;
use world::{SECOND, Setup, World};

/// How many slots the link has where a test says nothing.
const SLOTS: u8 = 0;

thread_local! {
    /// Whether this thread is within a turn that is watched, and how often it has allocated in such turns.
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

impl Counting {
    fn note() {
        if WATCHED.get() {
            COUNT.set(COUNT.get() + 1);
        }
    }
}

// SAFETY: everything is the system allocator's, which keeps the promises.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on; the pointer came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        Self::note();
        // SAFETY: the caller's promises are passed on; the pointer came from `System`.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LEN: u64 = 3_000_000;
const LEN_USIZE: usize = 3_000_000;
/// What has come when the counting begins: requests, opens and first windows are over.
const BEGUN: usize = 200_000;

/// One response for everybody, counted from when all have begun to when the first is done. How many allocations, and
/// how many bytes were sent meanwhile.
fn respond(world: &mut World, clients: &[usize]) -> (u64, u64) {
    for &client in clients {
        world.clients[client].heard.clear();
        world.say(client, &format!("framed film 0 {LEN}"));
    }
    let least = |world: &World| clients.iter().map(|&client| world.clients[client].heard.len()).min();
    let most = |world: &World| clients.iter().map(|&client| world.clients[client].heard.len()).max();
    assert!(world.run_until(60 * SECOND, |world| least(world).unwrap() >= BEGUN));
    let sent = world.engine.counters().sent_bytes;
    COUNT.set(0);
    world.around_turns = |within| WATCHED.set(within);
    assert!(world.run_until(60 * SECOND, |world| most(world).unwrap() >= LEN_USIZE));
    world.around_turns = |_| {};
    let sent = world.engine.counters().sent_bytes - sent;
    for &client in clients {
        world.hear(client, LEN_USIZE + 4);
    }
    (COUNT.get(), sent)
}

fn assert_steady(mut world: World, connect: fn(&mut World, usize) -> usize, count: usize) {
    world.keeps_seen = false;
    world.file("film", 1, LEN);
    let clients: Vec<_> = (0..count).map(|index| connect(&mut world, index)).collect();
    for _ in 0..3 {
        respond(&mut world, &clients);
    }
    for round in 0..3 {
        let (allocations, sent) = respond(&mut world, &clients);
        assert!(sent >= 1_000_000 * count as u64, "too little was watched: {sent} bytes");
        assert_eq!(allocations, 0, "in round {round}");
    }
}

#[test]
fn one_plain_connection_allocates_nothing_while_it_sends() {
    assert_steady(Setup::new().world(), |world, _| world.plain(), 1);
}

#[test]
fn one_tls_connection_allocates_nothing_while_it_sends() {
    assert_steady(Setup::new().world(), |world, _| world.tls(), 1);
}

#[test]
fn many_connections_over_a_slow_disk_allocate_nothing_while_they_send() {
    let mut setup = Setup::new();
    setup.disk.faults.read = Latency::Range(Duration::from_micros(50), Duration::from_micros(900));
    let connect =
        |world: &mut World, index: usize| if index.is_multiple_of(2) { world.plain() } else { world.tls() };
    assert_steady(setup.world(), connect, 12);
}

#[test]
fn sealing_into_slots_allocates_nothing() {
    let mut setup = Setup::new();
    setup.link.slots = 6;
    setup.disk.faults.read = Latency::Range(Duration::from_micros(50), Duration::from_micros(900));
    let connect =
        |world: &mut World, index: usize| if index.is_multiple_of(2) { world.plain() } else { world.tls() };
    assert_steady(setup.world(), connect, 12);
}

#[test]
fn cutting_runs_for_a_link_that_does_not_allocates_nothing_even_when_it_is_full() {
    let mut setup = Setup::new();
    (setup.link.superframe_bytes_max, setup.link.checksum) = (0, false);
    let mut world = setup.world();
    world.link_room = 20;
    let connect =
        |world: &mut World, index: usize| if index.is_multiple_of(2) { world.plain() } else { world.tls() };
    assert_steady(world, connect, 12);
}

#[test]
fn an_allocation_in_a_watched_turn_would_be_counted() {
    COUNT.set(0);
    WATCHED.set(true);
    let bytes = core::hint::black_box(vec![0_u8; 100]);
    WATCHED.set(false);
    drop(bytes);
    assert_eq!(COUNT.get(), 1);
}
