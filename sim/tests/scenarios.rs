//! One written misfortune each.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

mod stage;

use core::time::Duration;
use platform::DiskError;
use sim::address;
use sim::client::Ended;
use sim::client::adversary::Flood;
use sim::client::model::{Manners, WindowPlan};
use sim::client::report::Mishap;
use sim::client::script::{Ending, Request, Visit, path};
use sim::content::Content;
use sim::packet::FIN;
use sim::random::Seed;
use sim::setup::{ROOT, Setup, disk_object, object_len};
use stage::{Filter, Lines, Stage};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than every timeout of the server.
const FORGETTING: Duration = Duration::from_secs(150);

/// 300,000 bytes.
const FILM: u32 = 17;
/// 2,500,000 bytes.
const LONG_FILM: u32 = 19;
/// 16,385 bytes.
const CLIP: u32 = 10;

fn get(object: u32) -> Request {
    Request::get(object, object_len(object))
}

fn one(secure: bool, object: u32) -> Vec<Visit> {
    vec![Visit::new(secure, vec![get(object)])]
}

/// Until the host has received so many bytes of bodies.
fn received(stage: &mut Stage, host: usize, bytes: u64) {
    stage.run_while(20 * SECOND, |world| world.host(host).report().tally.body_bytes < bytes);
}

mod a_clean_path {
    use super::*;

    #[test]
    fn serves_both_clients_in_plaintext_and_tls() {
        let mut stage = Stage::ordinary();
        for secure in [false, true] {
            stage.client(one(secure, FILM));
            stage.smol(one(secure, FILM));
        }
        stage.done_within(10 * SECOND);
        assert_eq!(stage.world.tally().mishaps, 0);
        assert_eq!(stage.vitals().resent_bytes, 0);
        stage.at_rest_after(FORGETTING);
    }

    #[test]
    fn needs_no_more_reads_than_bytes() {
        let mut stage = Stage::ordinary();
        stage.client(one(true, LONG_FILM));
        stage.done_within(10 * SECOND);
        let read = stage.vitals().read_bytes;
        let len = object_len(LONG_FILM);
        assert!(read <= len + len / 10, "{read} bytes were read for {len}");
    }

    #[test]
    fn resumes_a_session_with_a_ticket() {
        let mut stage = Stage::ordinary();
        let host = stage.client([one(true, CLIP), one(true, CLIP)].concat());
        stage.done_within(10 * SECOND);
        let tally = stage.tally(host);
        assert_eq!((tally.handshakes, tally.resumed), (2, 1));
    }

    #[test]
    fn updates_keys_both_ways() {
        let mut setup = Setup::ordinary();
        setup.config.key_update_after = Some(20);
        let mut stage = Stage::with(&setup);
        let mut visit = Visit::new(true, vec![get(LONG_FILM), get(FILM)]);
        visit.key_updates = true;
        stage.client(vec![visit]);
        stage.done_within(10 * SECOND);
        assert!(stage.world.server().engine().counters().key_updates >= 7);
    }
}

mod the_disk {
    use super::*;

    #[test]
    fn disk_stalls_while_window_is_open() {
        for secure in [false, true] {
            let mut stage = Stage::ordinary();
            let host = stage.client(one(secure, FILM));
            received(&mut stage, host, 50_000);
            let until = stage.now() + 3 * SECOND;
            stage.world.server_mut().engine_mut().disk_mut().stall_until(until);
            stage.run_for(3 * SECOND);
            let during = stage.tally(host).body_bytes;
            assert!(during < object_len(FILM), "the stall came too late");
            stage.done_within(5 * SECOND);
            assert_eq!(stage.mishaps(host), []);
        }
    }

    #[test]
    fn a_read_that_fails_ends_that_connection_and_no_other() {
        let mut stage = Stage::ordinary();
        let unlucky = stage.client(one(true, LONG_FILM));
        let other = stage.smol(one(true, CLIP));
        received(&mut stage, unlucky, 100_000);
        stage.world.server_mut().engine_mut().disk_mut().fail_reads(1, DiskError::Io(5));
        stage.done_within(20 * SECOND);
        assert_eq!(stage.mishaps(unlucky), [Mishap::Ended(Ended::Reset)]);
        assert_eq!(stage.mishaps(other), []);
        assert_eq!(stage.vitals().disk_failures, 1);
    }

    #[test]
    fn a_file_that_shrinks_ends_that_connection_and_no_other() {
        for secure in [false, true] {
            let mut stage = Stage::ordinary();
            let unlucky = stage.client(one(secure, LONG_FILM));
            let other = stage.client(one(secure, FILM));
            received(&mut stage, unlucky, 100_000);
            stage.world.server_mut().engine_mut().disk_mut().truncate(ROOT, path(LONG_FILM), 200_000);
            stage.run_while(20 * SECOND, |world| world.host(unlucky).report().mishaps.is_empty());
            assert_eq!(stage.mishaps(unlucky), [Mishap::Ended(Ended::Reset)]);
            stage.run_while(20 * SECOND, |world| !world.host(other).report().done);
            assert_eq!(stage.mishaps(other), []);
        }
    }

    #[test]
    fn file_changes_between_first_send_and_retransmission() {
        let mut stage = Stage::ordinary();
        let (filter, open) = Filter::gate();
        let host = stage.model(Manners::ordinary(), one(true, FILM), Lines::down(filter));
        received(&mut stage, host, 50_000);
        // What is on its way now is lost, and must be read again: from another content.
        open.set(false);
        stage.run_for(Duration::from_millis(20));
        let sealed = stage.vitals().sealed_bytes;
        let changed = Content { object: FILM, version: 1 };
        let object = disk_object(changed, object_len(FILM));
        stage.world.server_mut().engine_mut().disk_mut().replace(ROOT, path(FILM), object);
        open.set(true);
        stage.run_while(20 * SECOND, |world| world.host(host).report().mishaps.is_empty());
        assert!(sealed < object_len(FILM), "all was sent before the gate shut");
        assert_eq!(stage.mishaps(host), [Mishap::Ended(Ended::Reset)]);
        assert_eq!(stage.vitals().tag_mismatches, 1);
        // That no second ciphertext left under a nonce is `RepeatsItself`'s to say: the stage is lawful.
        stage.lawful();
    }

    #[test]
    fn a_file_replaced_by_rename_is_served_to_the_end() {
        let mut stage = Stage::ordinary();
        let (filter, open) = Filter::gate();
        let host = stage.model(Manners::ordinary(), one(true, FILM), Lines::down(filter));
        received(&mut stage, host, 50_000);
        open.set(false);
        stage.run_for(Duration::from_millis(20));
        let changed = Content { object: FILM, version: 1 };
        let object = disk_object(changed, object_len(FILM));
        stage.world.server_mut().engine_mut().disk_mut().insert(ROOT, path(FILM), object);
        open.set(true);
        stage.done_within(20 * SECOND);
        assert_eq!(stage.mishaps(host), []);
    }
}

mod the_network {
    use super::*;

    #[test]
    fn last_packet_lost() {
        for secure in [false, true] {
            let mut stage = Stage::ordinary();
            let mut lost = false;
            // The server closes, so the last packet is the one with its FIN.
            let filter = Filter::losing(move |segment, _| {
                let last = !lost && segment.has(FIN);
                lost |= last;
                last
            });
            let dropped = filter.lost();
            let mut script = one(secure, CLIP);
            script[0].ending = Ending::ServerCloses;
            let host = stage.model(Manners::ordinary(), script, Lines::down(filter));
            stage.done_within(2 * SECOND);
            assert_eq!(dropped.get(), 1);
            assert_eq!(stage.mishaps(host), []);
        }
    }

    #[test]
    fn every_second_packet_of_a_window_lost() {
        let mut stage = Stage::ordinary();
        let mut count = 0;
        let filter = Filter::losing(move |_, payload| {
            count += u32::from(payload.len() > 1_000);
            payload.len() > 1_000 && (40..80).contains(&count) && count.is_multiple_of(2)
        });
        let dropped = filter.lost();
        let host = stage.model(Manners::ordinary(), one(true, FILM), Lines::down(filter));
        stage.done_within(3 * SECOND);
        assert_eq!(dropped.get(), 20);
        assert_eq!(stage.mishaps(host), []);
        // Selective: what arrived is not sent again.
        let resent = stage.vitals().resent_bytes;
        assert!(resent < 40 * 1_448, "{resent} bytes were sent again for 20 lost packets");
    }

    #[test]
    fn the_path_is_dark_for_ten_seconds() {
        let mut stage = Stage::ordinary();
        let (filter, open) = Filter::gate();
        let host = stage.model(Manners::ordinary(), one(true, FILM), Lines::down(filter));
        received(&mut stage, host, 50_000);
        open.set(false);
        stage.run_for(10 * SECOND);
        open.set(true);
        // Backing off has made the timer long: at most as long again.
        stage.done_within(12 * SECOND);
        assert_eq!(stage.mishaps(host), []);
    }

    #[test]
    fn window_closes_for_a_minute() {
        for window_updates in [true, false] {
            let mut setup = Setup::ordinary();
            setup.config.tcp.zero_window_timeout = None;
            let mut stage = Stage::with(&setup);
            let mut manners = Manners::ordinary();
            manners.receive_buffer = 64 << 10;
            manners.window = WindowPlan::Pause { after: Duration::from_millis(50), length: 60 * SECOND };
            // Without updates only the server's probes find out.
            manners.window_updates = window_updates;
            let host = stage.model(manners, one(true, FILM), Lines::clean());
            stage.run_for(50 * SECOND);
            let shut = stage.tally(host).body_bytes;
            assert!((1..object_len(FILM)).contains(&shut), "{shut} bytes before the doors shut");
            assert_eq!(stage.vitals().frames_large, 0, "frames wait for a window that is shut");
            // A probe may come a minute after the one that just missed.
            stage.done_within(if window_updates { 12 } else { 80 } * SECOND);
            assert_eq!(stage.mishaps(host), []);
        }
    }

    #[test]
    fn a_window_of_a_few_bytes_is_served() {
        // In TLS, less than what stands around a record's plaintext.
        for (secure, bytes) in [(false, 37), (true, 100), (true, 24)] {
            let mut stage = Stage::ordinary();
            let mut manners = Manners::ordinary();
            manners.window_scale = None;
            manners.window = WindowPlan::Tiny(bytes);
            let host = stage.model(manners, one(secure, 2), Lines::clean());
            stage.done_within(60 * SECOND);
            assert_eq!(stage.mishaps(host), []);
        }
    }

    #[test]
    fn client_vanishes() {
        let mut visit = Visit::new(true, vec![get(LONG_FILM)]);
        visit.ending = Ending::Vanish(100_000);
        let mut stage = Stage::ordinary();
        stage.client(vec![visit]);
        stage.done_within(5 * SECOND);
        stage.at_rest_after(FORGETTING);
        assert_eq!(stage.vitals().failed, 1);
    }

    #[test]
    fn client_restarts_and_comes_back() {
        let mut visit = Visit::new(true, vec![get(LONG_FILM)]);
        visit.ending = Ending::Forget(100_000);
        let mut stage = Stage::ordinary();
        let host = stage.client([vec![visit], one(true, FILM)].concat());
        stage.done_within(5 * SECOND);
        assert_eq!(stage.tally(host).answered, 1);
        stage.at_rest_after(FORGETTING);
    }

    #[test]
    fn syn_flood_leaves_room_for_the_honest() {
        let mut setup = Setup::ordinary();
        setup.config.backlog_max = 16;
        let mut stage = Stage::with(&setup);
        let server = (address::SERVER_MAC, address::server(false));
        let mac = address::mac(1_000);
        let flood = Flood::new(mac, server, &mut Seed(1).dice("flood", 0));
        stage.add(mac, Box::new(flood), Lines::clean());
        stage.run_for(SECOND);
        let honest: Vec<usize> = (0..5).map(|_| stage.client(one(true, FILM))).collect();
        stage.done_within(5 * SECOND);
        for host in honest {
            assert_eq!(stage.mishaps(host), []);
        }
    }
}

mod the_server {
    use super::*;

    #[test]
    fn drains_without_breaking_a_download() {
        let mut stage = Stage::ordinary();
        let host = stage.client(one(true, LONG_FILM));
        let mut idle = Visit::new(true, vec![get(CLIP)]);
        idle.ending = Ending::Idle;
        let idle = stage.client(vec![idle]);
        received(&mut stage, host, 100_000);
        stage.world.server_mut().engine_mut().drain();
        stage.done_within(10 * SECOND);
        assert_eq!(stage.mishaps(host), []);
        assert_eq!(stage.mishaps(idle), []);
        stage.run_while(60 * SECOND, |world| !world.server().engine().is_drained());
    }

    #[test]
    fn closes_a_connection_that_asks_for_nothing() {
        let mut visit = Visit::new(true, vec![get(CLIP)]);
        visit.ending = Ending::Idle;
        let mut stage = Stage::ordinary();
        stage.client(vec![visit]);
        stage.done_within(30 * SECOND);
        stage.at_rest_after(FORGETTING);
    }

    #[test]
    fn tells_a_slow_head_that_it_took_too_long() {
        let mut visit = Visit::new(false, vec![get(CLIP)]);
        visit.trickle = Some((1, SECOND));
        let mut stage = Stage::ordinary();
        let host = stage.client(vec![visit]);
        stage.run_while(20 * SECOND, |world| world.host(host).report().mishaps.is_empty());
        assert_eq!(stage.mishaps(host), [Mishap::PutOff(408)]);
    }

    #[test]
    fn one_greedy_client_leaves_the_slow_their_share() {
        let mut setup = Setup::ordinary();
        setup.pool.large_count = 32;
        let mut stage = Stage::with(&setup);
        // A client next door, with the largest window, asks for much.
        let next_door = |stage: &mut Stage| {
            let mut manners = Manners::ordinary();
            manners.receive_buffer = 4 << 20;
            let near = || Box::new(sim::network::Wire { delay: Duration::from_micros(20) });
            let lines = Lines { up: near(), down: near() };
            let requests = vec![get(LONG_FILM); 40];
            stage.model(manners, vec![Visit::new(true, requests)], lines)
        };
        let greedy = next_door(&mut stage);
        let slow: Vec<usize> = (0..20).map(|_| stage.client(one(true, FILM))).collect();
        stage.run_while(20 * SECOND, |world| slow.iter().any(|&host| !world.host(host).report().done));
        for &host in &slow {
            assert_eq!(stage.mishaps(host), []);
        }
        // Alone each would take five round trips and a handshake; with twenty others, not much longer.
        assert!(stage.now().as_millis() < 1_500, "the slow took until {:?}", stage.now());
        stage.run_while(60 * SECOND, |world| !world.host(greedy).report().done);
    }

    #[test]
    fn few_frames_are_shared_by_many() {
        let mut setup = Setup::ordinary();
        setup.pool.large_count = 10;
        setup.pool.small_count = 40;
        let mut stage = Stage::with(&setup);
        for host in 0..24 {
            stage.client(one(host % 2 == 0, FILM));
        }
        stage.done_within(60 * SECOND);
        assert_eq!(stage.world.tally().mishaps, 0);
        stage.at_rest_after(FORGETTING);
    }

    #[test]
    fn plain_http_at_the_secure_port_is_refused() {
        let mut visit = Visit::new(true, vec![]);
        visit.garbage = Some(get(CLIP).emit(false));
        let mut stage = Stage::ordinary();
        stage.client(vec![visit]);
        stage.done_within(10 * SECOND);
        assert_eq!(stage.world.server().engine().counters().plain_to_tls, 1);
    }
}
