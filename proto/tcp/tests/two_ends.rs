//! Two connections, everything that can happen between them, and every byte.
//!
//! First safety (no wrong byte, nothing outside the window: checked on every segment by the harness), then liveness
//! (everything arrives and both ends close), as long as the network delivers something at all.

#[cfg(test)]
mod pair;

#[cfg(test)]
#[expect(clippy::disallowed_types, reason = "prop_oneof! shares its branches in an Arc")]
mod tests {
    use crate::pair::{CLIENT, Faults, SERVER, World};
    use core::time::Duration;
    use proptest::prelude::*;
    use tcp::{Algorithm, Config, Counters, Events, Flags};

    const HOUR: Duration = Duration::from_secs(3600);

    fn world(seed: u64, faults: Faults, to_send: [u64; 2]) -> World {
        World::new(seed, faults, &[Config::default(); 2], to_send)
    }

    fn assert_all_arrived(world: &World, to_send: [u64; 2]) {
        for side in [CLIENT, SERVER] {
            let end = &world.ends[side];
            assert_eq!(end.received, to_send[1 - side], "side {side}");
            assert!(end.peer_finished, "side {side}");
            assert!(
                !end.events.intersects(Events::RESET | Events::TIMED_OUT),
                "side {side}: {:?}",
                end.events
            );
        }
    }

    #[test]
    fn a_perfect_path_delivers_everything_once() {
        let to_send = [200, 3_000_000];
        let mut world = world(1, Faults::NONE, to_send);
        assert!(world.run(HOUR));
        assert_all_arrived(&world, to_send);
        assert_eq!(world.ends[SERVER].sent_payload, 3_000_000);
    }

    #[test]
    fn nothing_to_say_closes_cleanly() {
        let mut world = world(2, Faults::NONE, [0, 0]);
        assert!(world.run(HOUR));
        assert_all_arrived(&world, [0, 0]);
    }

    /// How long `bytes` take from the server to the client, and what the server counted.
    fn download(faults: Faults, config: Config, bytes: u64) -> (Duration, Counters) {
        let client = Config { receive_window: 8 << 20, reassembly_bytes_max: 8 << 20, ..config };
        let mut world = World::new(7, faults, &[client, config], [100, bytes]);
        let begin = world.now;
        let arrived = world.run_until(begin + HOUR, |world| world.ends[CLIENT].received == bytes);
        assert!(arrived, "{}", world.summary());
        let counters = world.ends[SERVER].connection.as_ref().map(|connection| connection.info().counters);
        (world.now.since(begin), counters.unwrap())
    }

    fn both() -> [Config; 2] {
        [Algorithm::Cubic, Algorithm::NewReno].map(|congestion| Config { congestion, ..Config::default() })
    }

    #[test]
    fn a_bottleneck_is_used_to_more_than_four_fifths() {
        // 12.5 MB/s, 40 ms: 500 kB fit into the path, and half as many into the queue.
        let ms = Duration::from_millis;
        let faults = Faults { delay: ms(20), bottleneck: Some((12_500_000, 250_000)), ..Faults::NONE };
        for config in both() {
            let (time, counters) = download(faults, config, 30_000_000);
            assert!(time < ms(3000), "2.4 s at least: {time:?}");
            assert_eq!(counters.timeouts, 0);
        }
    }

    #[test]
    fn random_loss_is_repaired_without_timeouts_and_little_more_is_sent_than_was_lost() {
        for config in both() {
            let (time, counters) = download(Faults { loss: 1, ..Faults::NONE }, config, 20_000_000);
            assert_eq!(counters.timeouts, 0, "{counters:?}");
            assert!(counters.retransmitted_segments < 40, "{counters:?}");
            assert!(time < Duration::from_secs(15), "{time:?}");
        }
    }

    #[test]
    fn one_loss_in_a_hundred_leaves_a_short_download_the_window_that_the_law_allows() {
        // 25 ms there and back, as the clients of a CDN are; nothing but the loss limits it.
        let faults = Faults { loss: 10, delay: Duration::from_micros(12_500), ..Faults::NONE };
        for (config, most_ms) in both().into_iter().zip([520, 640]) {
            let times = (0..100).map(|seed| {
                let client = Config { receive_window: 1 << 20, reassembly_bytes_max: 1 << 20, ..config };
                let mut world = World::new(seed, faults, &[client, config], [100, 512_000]);
                let begin = world.now;
                assert!(world.run_until(begin + HOUR, |world| world.ends[CLIENT].received == 512_000));
                world.now.since(begin)
            });
            let mean = times.sum::<Duration>() / 100;
            assert!(mean < Duration::from_millis(most_ms), "{:?}: {mean:?}", config.congestion);
        }
    }

    #[test]
    fn reordering_is_learnt_and_costs_neither_window_nor_bandwidth() {
        for config in both() {
            let faults = Faults { jitter: Duration::from_millis(5), ..Faults::NONE };
            let (time, counters) = download(faults, config, 10_000_000);
            assert!(time < Duration::from_secs(1), "{time:?}");
            assert!(counters.recoveries <= counters.undone + 1, "{counters:?}");
            assert!(counters.retransmitted_bytes < 100_000, "{counters:?}");
        }
    }

    #[test]
    fn a_lost_tail_costs_a_few_round_trips_and_no_timeout() {
        let to_send = [100, 300_000];
        let mut world = world(3, Faults::NONE, to_send);
        // The last segment, which carries the FIN, is lost once.
        world.drop = Some(|dropped, to, header, _| {
            let lost = to == CLIENT && header.flags.contains(Flags::FIN) && *dropped < 1;
            *dropped += u64::from(lost);
            lost
        });
        let begin = world.now;
        assert!(world.run_until(begin + HOUR, |world| world.ends[CLIENT].received == 300_000));
        let counters = world.ends[SERVER].connection.as_ref().unwrap().info().counters;
        assert!(counters.probes > 0, "{counters:?}");
        assert_eq!(counters.timeouts, 0, "{counters:?}");
        assert!(world.run(HOUR));
        assert_all_arrived(&world, to_send);
    }

    #[test]
    fn a_dead_network_ends_both_sides() {
        let mut world = world(4, Faults::NONE, [100, 10_000_000]);
        world.drop = Some(|count, _, _, _| {
            *count += 1;
            *count > 2000
        });
        assert!(world.run(HOUR), "{}", world.summary());
        assert!(world.ends[SERVER].events.contains(Events::TIMED_OUT));
    }

    fn faults() -> impl Strategy<Value = Faults> {
        let ms = Duration::from_millis;
        (
            (0_u32..150, 0_u32..100, 0_u64..150, 0_u64..60),
            prop::option::of((20_000_u64..20_000_000, 3_000_u64..300_000)),
            (0_u64..30, 0_u32..200),
            prop::option::of((100_u32..2000, 10_u32..90)),
        )
            .prop_map(move |(network, bottleneck, (fetch, surrender), stall)| {
                let (loss, duplication, delay, jitter) = network;
                Faults {
                    loss,
                    duplication,
                    delay: ms(delay),
                    jitter: ms(jitter),
                    bottleneck,
                    fetch: ms(fetch),
                    surrender,
                    stall,
                }
            })
    }

    fn config() -> impl Strategy<Value = Config> {
        (
            prop_oneof![Just(Algorithm::Cubic), Just(Algorithm::NewReno)],
            prop::bool::weighted(0.8),
            prop::bool::weighted(0.7),
            any::<bool>(),
            prop_oneof![Just(536_u16), Just(1460), Just(8960)],
            prop_oneof![Just(9_000_u32), Just(64_000), Just(300_000), Just(4_000_000)],
        )
            .prop_map(|(congestion, timestamps, sack, pacing, mss_max, receive_window)| Config {
                congestion,
                timestamps,
                sack,
                pacing,
                mss_max,
                receive_window,
                reassembly_bytes_max: receive_window,
                // However bad the path, it is not dead.
                user_timeout: HOUR,
                fin_wait_2: HOUR,
                syn_retries: 20,
                syn_ack_retries: 20,
                ..Config::default()
            })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, max_shrink_iters: 100, ..ProptestConfig::default() })]

        #[test]
        fn every_byte_arrives_both_ways_and_both_ends_close_whatever_the_network_does(
            seed: u64,
            faults in faults(),
            configs in [config(), config()],
            to_send in [0_u64..100_000, 0_u64..400_000],
        ) {
            let mut world = World::new(seed, faults, &configs, to_send);
            prop_assert!(world.run(10 * HOUR), "stuck {}", world.summary());
            assert_all_arrived(&world, to_send);
            for end in &world.ends {
                prop_assert!(end.entries_most <= 4096);
            }
        }
    }
}
