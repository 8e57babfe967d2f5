//! What kernels see of the path.

use core::net::SocketAddr;
use core::time::Duration;
use middlebox::{Config, Direction, Middlebox};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::world::{CLIENT, PORT, SERVER, World, pattern, transfer};

/// What the kernels and our own wake-ups add to a round trip when the machine is not busy with something else.
const OURS: Duration = Duration::from_millis(2);
/// Round trips of which one is undisturbed, on the busiest machine.
const TRIPS: u32 = 100;

/// The delay that the program must give a client's connection: what the library says of its first frame.
fn delay_of(client: &TcpStream, seed: u64) -> Duration {
    let Ok(SocketAddr::V4(ours)) = client.local_addr() else { panic!("a socket of IPv4") };
    let mut frame = [0; 54];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    frame[14] = 0x45;
    frame[23] = 6;
    frame[26..30].copy_from_slice(&CLIENT.octets());
    frame[30..34].copy_from_slice(&SERVER.octets());
    frame[34..36].copy_from_slice(&ours.port().to_be_bytes());
    frame[36..38].copy_from_slice(&PORT.to_be_bytes());
    let middlebox = Middlebox::new(&Config { seed, ..Config::default() }, clock::Instant::EPOCH);
    middlebox.expect("the default path").delay_of(Direction::ToServer, &frame)
}

/// No round trip is shorter than `delay`, and the undisturbed ones are hardly longer.
fn assert_delay(client: &mut TcpStream, server: &mut TcpStream, delay: Duration) {
    let mut quickest = Duration::MAX;
    for _ in 0..TRIPS {
        let began = Instant::now();
        client.write_all(b"?").expect("connected");
        server.read_exact(&mut [0]).expect("connected");
        server.write_all(b"!").expect("connected");
        client.read_exact(&mut [0]).expect("connected");
        quickest = quickest.min(began.elapsed());
        assert!(quickest >= delay, "{quickest:?} for {delay:?}");
        if quickest < delay + OURS {
            return;
        }
    }
    panic!("{quickest:?} for {delay:?}");
}

#[test]
#[ignore = "needs root"]
fn each_connection_has_the_delay_that_its_seed_draws() {
    let world = World::new();
    let middlebox = world.middlebox(&["--seed", "5", "--workers", "2"]);
    let listener = world.listen();
    let mut delays = Vec::new();
    for _ in 0..8 {
        let (mut client, mut server) = world.pair(&listener);
        let delay = delay_of(&client, 5);
        assert_delay(&mut client, &mut server, delay);
        assert!((10..=40).contains(&delay.as_millis()));
        delays.push(delay);
    }
    let (shortest, longest) = (delays.iter().min(), delays.iter().max());
    assert!(longest.unwrap().saturating_sub(*shortest.unwrap()) > Duration::from_millis(1), "{delays:?}");
    assert_eq!(middlebox.interrupt().row("out of memory"), [0, 0]);
}

#[test]
#[ignore = "needs root"]
fn a_ping_takes_as_long_as_the_band_says() {
    let world = World::new();
    let _middlebox = world.middlebox(&["--delay", "15ms", "--both"]);
    let ping = world.command("client", "ping").args(["-c", "20", "-i", "0.1", "10.9.0.2"]).output().unwrap();
    let text = String::from_utf8_lossy(&ping.stdout);
    assert!(ping.status.success() && text.contains(" 0% packet loss"), "{text}");
    let quickest: f64 = text.rsplit(" = ").next().unwrap().split('/').next().unwrap().parse().unwrap();
    assert!((30.0..40.0).contains(&quickest), "{text}");
}

#[test]
#[ignore = "needs root"]
fn a_transfer_over_a_lossy_path_is_byte_exact() {
    let world = World::new();
    let middlebox = world.middlebox(&["--delay", "1ms..2ms", "--loss", "1%", "--workers", "2"]);
    let listener = world.listen();
    let bytes = pattern(6_000_000);
    let (client, server) = world.pair(&listener);
    transfer(server, client, &bytes);
    let (client, server) = world.pair(&listener);
    transfer(client, server, &bytes[..1_000_000]);
    let totals = middlebox.interrupt();
    let ([_, packets], [_, lost]) = (totals.row("packets"), totals.row("lost"));
    // 6,000,000 / 1,448 segments at least, and one in a hundred of them with a deviation of 6.
    assert!(packets > 4_100 && lost * 200 > packets && lost * 60 < packets, "{totals:?}");
    assert!(totals.row("superframes cut")[1] > 0, "the kernel sent superframes: {totals:?}");
}

#[test]
#[ignore = "needs root"]
fn superframes_pass_whole_where_nothing_happens_to_single_packets() {
    let world = World::new();
    let middlebox = world.middlebox(&["--delay", "2ms"]);
    let listener = world.listen();
    let (client, server) = world.pair(&listener);
    transfer(server, client, &pattern(32 << 20));
    // Upwards they have to wait.
    let (client, server) = world.pair(&listener);
    transfer(client, server, &pattern(16 << 20));
    let totals = middlebox.interrupt();
    let ([up, down], [bytes_up, bytes_down]) = (totals.row("forwarded"), totals.row("bytes forwarded"));
    assert!(bytes_down / down > 5_000 && bytes_up / up > 2_000, "{totals:?}");
    assert_eq!((totals.row("superframes cut"), totals.row("refused by device")), ([0, 0], [0, 0]));
}

#[test]
#[ignore = "needs root"]
fn every_fault_at_once_damages_no_byte() {
    let world = World::new();
    let faults = ["--delay", "1ms..3ms", "--burst", "0.1%:30%", "--duplicate", "1%", "--reorder", "1%:2ms"];
    let middlebox = world.middlebox(&[&faults[..], &["--rate", "200mbit", "--queue", "200KB"]].concat());
    let (client, server) = world.pair(&world.listen());
    transfer(server, client, &pattern(4_000_000));
    let totals = middlebox.interrupt();
    for row in ["lost in bursts", "duplicated", "reordered"] {
        assert!(totals.row(row)[1] > 0, "{row}: {totals:?}");
    }
}

#[test]
#[ignore = "needs root"]
fn a_bottleneck_is_as_wide_as_asked_for() {
    let world = World::new();
    let _middlebox = world.middlebox(&["--delay", "2ms", "--rate", "80mbit", "--queue", "100KB"]);
    let (client, server) = world.pair(&world.listen());
    let bytes = pattern(10_000_000);
    let began = Instant::now();
    transfer(server, client, &bytes);
    let took = began.elapsed();
    // 10 MB at 10 MB/s, headers besides, and never faster; the queue keeps it busy most of the time.
    assert!((1.0..3.0).contains(&took.as_secs_f64()), "{took:?}");
}

#[test]
#[ignore = "needs root"]
fn a_tap_device_is_made_and_goes_with_the_program() {
    let world = World::new();
    let middlebox = world.middlebox_between("m0", "tap:t0", &["--delay", "5ms"]);
    world.ip("middle", &["address", "add", "10.9.0.2/24", "dev", "t0"]);
    let listener = world.inside("middle", || std::net::TcpListener::bind((SERVER, PORT)).unwrap());
    let (mut client, mut server) = world.pair(&listener);
    assert_delay(&mut client, &mut server, Duration::from_millis(5));
    transfer(server, client, &pattern(4_000_000));
    middlebox.interrupt();
    let gone = world.command("middle", "ip").args(["link", "show", "t0"]).output().unwrap();
    assert!(!gone.status.success(), "{gone:?}");
}

#[test]
#[ignore = "needs root"]
fn a_device_that_goes_down_ends_the_program_by_its_name() {
    let world = World::new();
    let middlebox = world.middlebox(&["--workers", "2"]);
    world.ip("middle", &["link", "set", "m1", "down"]);
    let (status, said) = middlebox.end();
    assert_eq!(status, Some(1));
    assert!(
        said.starts_with("middlebox: m1 delivers no more packets") && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
#[ignore = "needs root"]
fn workers_divide_a_bottleneck_between_them() {
    let world = World::new();
    let middlebox =
        world.middlebox(&["--delay", "1ms", "--rate", "160mbit", "--queue", "400KB", "--workers", "2"]);
    let listener = world.listen();
    let pairs: Vec<_> = (0..8).map(|_| world.pair(&listener)).collect();
    let bytes = pattern(3_000_000);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for (client, server) in pairs {
            scope.spawn(|| transfer(server, client, &bytes));
        }
    });
    let took = began.elapsed();
    // 24 MB at 20 MB/s is never faster; if all flows met on one worker, it would be twice as long.
    assert!((1.2..4.0).contains(&took.as_secs_f64()), "{took:?}");
    assert!(middlebox.interrupt().row("queue full")[1] > 0);
}

#[test]
#[ignore = "needs root"]
fn every_line_is_an_object_for_who_asks_for_json() {
    let world = World::new();
    let middlebox = world.middlebox(&["--delay", "1ms", "--json", "--stats"]);
    let (client, server) = world.pair(&world.listen());
    transfer(server, client, &pattern(1_000_000));
    std::thread::sleep(Duration::from_millis(1_200));
    let said = middlebox.interrupt().0;
    let events: Vec<serde_json::Value> =
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [.., second, totals] = &events[..] else { panic!("{said}") };
    assert_eq!((&second["event"], &totals["event"]), (&"second".into(), &"totals".into()));
    assert!(totals["to_client"]["bytes_forwarded"].as_u64().unwrap() > 1_000_000, "{said}");
    assert_eq!(totals["to_server"]["lost"], 0);
}
