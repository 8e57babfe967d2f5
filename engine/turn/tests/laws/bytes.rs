//! Whatever is asked for arrives byte for byte, and nothing else does.

use crate::world::service::speech;
use crate::world::{PLAIN, SECURE, Setup, World, bytes_of, ciphers, client};
use core::ops::Range;
use handshake::{ClientOptions, ClientSettings, Trust};

/// Lengths around everything that has an edge: a block, a record, a read, a sector.
const LENGTHS: [u64; 14] =
    [0, 1, 511, 512, 513, 4_095, 4_096, 4_097, 16_383, 16_384, 16_385, 131_072, 300_000, 1_000_003];

fn assert_arrives(world: &mut World, client: usize, number: u64, range: Range<u64>) {
    let name = format!("f{number}");
    world.say(client, &format!("framed {name} {} {}", range.start, range.end));
    let mut expected = b"<<".to_vec();
    expected.extend(bytes_of(number, range.clone()));
    expected.extend(b">>");
    world.clients[client].heard.clear();
    world.hear(client, expected.len());
    assert!(world.clients[client].heard == expected, "{name} {range:?}");
}

fn world_of_files() -> World {
    let mut world = Setup::new().world();
    for (number, len) in (0..).zip(LENGTHS) {
        world.file(&format!("f{number}"), number, len);
    }
    world
}

#[test]
fn a_plain_connection_brings_files_of_every_length() {
    let mut world = world_of_files();
    let client = world.plain();
    for (number, len) in (0..).zip(LENGTHS) {
        assert_arrives(&mut world, client, number, 0..len);
    }
    world.leave();
    assert_eq!(world.engine.counters().finished, 1);
}

#[test]
fn every_version_and_cipher_brings_files_of_every_length() {
    let mut world = world_of_files();
    for (version, suite) in ciphers() {
        let client = world.secure(version, suite);
        for (number, len) in (0..).zip(LENGTHS) {
            assert_arrives(&mut world, client, number, 0..len);
        }
    }
    world.leave();
    assert_eq!(world.engine.counters().handshakes, 6);
    assert_eq!(world.engine.counters().finished, 6);
}

#[test]
fn any_unaligned_range_is_exact() {
    let mut world = world_of_files();
    let clients = [world.plain(), world.tls()];
    for client in clients {
        for range in [
            0..1,
            1..2,
            511..513,
            1..300_000,
            4_095..4_097,
            4_095..20_481,
            16_383..16_385,
            5_000..299_999,
            299_999..300_000,
            299_520..300_000,
        ] {
            assert_arrives(&mut world, client, 12, range);
        }
    }
    world.leave();
}

#[test]
fn a_disk_of_four_kilobyte_blocks_and_one_frame_a_read_brings_the_same() {
    let mut setup = Setup::new();
    setup.disk.align = 4_096;
    setup.disk.targets_max = 1;
    let mut world = setup.world();
    world.file("f1", 1, 300_001);
    let clients = [world.plain(), world.tls()];
    for client in clients {
        for range in [0..300_001, 1..4_096, 4_097..300_001, 299_999..300_001] {
            assert_arrives(&mut world, client, 1, range);
        }
    }
    world.leave();
}

#[test]
fn a_link_that_cuts_nothing_and_sums_nothing_brings_the_same() {
    let mut setup = Setup::new();
    setup.link.superframe_bytes_max = 0;
    setup.link.checksum = false;
    setup.link.parts_max = 2;
    let mut world = setup.world();
    world.file("f1", 1, 300_001);
    let clients = [world.plain(), world.tls()];
    for client in clients {
        assert_arrives(&mut world, client, 1, 0..300_001);
        assert_arrives(&mut world, client, 1, 77..299_000);
    }
    world.leave();
}

#[test]
fn ipv6_brings_the_same() {
    let mut world = world_of_files();
    let tcp = tcp::Config { mss_max: 1_440, ..world.client_tcp() };
    let settings = ClientSettings::new(Trust::Anyone, ClientOptions::default()).unwrap();
    let plain = world.connect(client::host(0, true), PLAIN, None, tcp);
    let secure = world.connect(client::host(1, true), SECURE, Some(&settings), tcp);
    for client in [plain, secure] {
        assert_arrives(&mut world, client, 12, 0..300_000);
        assert_arrives(&mut world, client, 12, 3..299_998);
    }
    world.leave();
}

#[test]
fn several_pieces_of_one_file_come_one_behind_the_other() {
    let mut world = world_of_files();
    for client in [world.plain(), world.tls()] {
        world.say(client, "twice f12 1000 200000");
        let expected = bytes_of(12, 1_000..200_000).repeat(2);
        world.hear(client, expected.len());
        assert!(world.clients[client].heard == expected);
    }
    world.leave();
}

#[test]
fn bytes_of_the_service_may_be_many() {
    let mut world = Setup::new().world();
    for client in [world.plain(), world.tls()] {
        for count in [1, 2_000, 16_384, 16_385, 262_144] {
            world.clients[client].heard.clear();
            world.say(client, &format!("say {count}"));
            world.hear(client, count);
            assert!(world.clients[client].heard == speech(count));
        }
    }
    world.leave();
}

#[test]
fn a_file_that_is_not_there_is_answered_by_the_service() {
    let mut world = Setup::new().world();
    let client = world.plain();
    world.say(client, "get nothing 0 1");
    world.hear(client, 12);
    assert_eq!(world.clients[client].heard, b"no such file");
    world.leave();
}

#[test]
fn twenty_clients_at_once_each_get_their_own() {
    let mut world = world_of_files();
    let clients: Vec<_> =
        (0..20).map(|index| if index % 2 == 0 { world.plain() } else { world.tls() }).collect();
    for &client in &clients {
        world.say(client, &format!("framed f13 {client} 1000003"));
    }
    for &client in &clients {
        let from = client as u64;
        world.hear(client, usize::try_from(1_000_003 - from).unwrap() + 4);
        assert!(world.clients[client].heard[2..1_000] == bytes_of(13, from..from + 998));
    }
    world.leave();
}
