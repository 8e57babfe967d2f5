//! The laws of the path.

use super::testing::*;
use super::*;
use crate::config::{Band, Bands, Burst, Police, Probability, Profile, Rate, Reorder};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const MILLISECOND: Duration = Duration::from_millis(1);
const MSS: usize = 1_448;

fn at(micros: u64) -> Instant {
    Instant::EPOCH + Duration::from_micros(micros)
}

fn percent(percent: u32) -> Probability {
    Probability::new(percent * 10_000_000).unwrap()
}

/// Numbers a frame in its TCP sequence number.
fn numbered(port: u16, number: u32, payload: usize) -> Vec<u8> {
    let mut frame = ipv4(Ends::client(port), payload);
    frame[38..42].copy_from_slice(&number.to_be_bytes());
    frame
}

fn number(frame: &[u8]) -> u32 {
    u32::from_be_bytes([frame[38], frame[39], frame[40], frame[41]])
}

fn port(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[34], frame[35]])
}

/// A superframe of `segments` full segments, and the header that says so.
fn superframe(segments: usize) -> ([u8; HEADER_BYTES], Vec<u8>) {
    let mut frame = ipv4(Ends::client(9).reversed(), segments * MSS);
    for (index, byte) in frame[54..].iter_mut().enumerate() {
        *byte = u8::try_from(index / MSS).unwrap();
    }
    ([1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0], frame)
}

mod by_default {
    use super::*;

    #[test]
    fn a_client_waits_between_10_and_40_milliseconds_and_a_server_does_not() {
        let mut diary = Diary::new(&Config::default());
        diary.send(at(0), Direction::ToServer, &ipv4(Ends::client(1), 0));
        assert_eq!(diary.left, []);
        diary.send(at(5), Direction::ToClient, &ipv4(Ends::client(1).reversed(), 9));
        assert_eq!(diary.left.len(), 1);
        diary.finish();
        let waited = diary.left[1].0.since(at(0));
        assert!(
            waited >= 10 * MILLISECOND && waited < 40 * MILLISECOND + diary.middlebox.tick(),
            "{waited:?}"
        );
    }

    #[test]
    fn delays_fill_the_band_evenly() {
        let middlebox = Middlebox::new(&Config::default(), at(0)).unwrap();
        let mut tenths = [0_u32; 10];
        for client in 0..20_000 {
            let delay = middlebox.delay_of(Direction::ToServer, &ipv4(Ends::client(client), 0));
            tenths[usize::try_from((delay - 10 * MILLISECOND).as_micros()).unwrap() * 10 / 30_001] += 1;
        }
        // 2,000 expected, with a deviation of 42.
        assert!(tenths.iter().all(|count| (1_800..2_200).contains(count)), "{tenths:?}");
    }

    #[test]
    fn an_arp_request_is_not_delayed() {
        let mut frame = vec![0xff; 60];
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        let mut diary = Diary::new(&Config::default());
        diary.send(at(3), Direction::ToServer, &frame);
        assert_eq!(diary.left, [(at(3), Direction::ToServer, frame)]);
    }

    #[test]
    fn a_superframe_passes_whole() {
        let (header, frame) = superframe(40);
        let mut diary = Diary::new(&Config::default());
        diary.send_with(at(0), Direction::ToClient, header, &frame);
        assert_eq!(diary.left, [(at(0), Direction::ToClient, frame)]);
    }

    #[test]
    fn a_superframe_that_waits_keeps_its_header() {
        let (header, frame) = superframe(40);
        let mut middlebox = Middlebox::new(&Config::default(), at(0)).unwrap();
        let mut room = room(header, &frame);
        assert_eq!(middlebox.received(at(0), Direction::ToServer, &mut room), Verdict::Taken);
        assert_eq!(middlebox.take(at(50_000), Direction::ToClient).map(drop), None);
        let left = middlebox.take(at(50_000), Direction::ToServer).unwrap();
        assert_eq!(left.bytes()[..HEADER_BYTES], header);
        assert_eq!(left.ethernet(), frame);
    }

    #[test]
    fn a_superframe_of_half_a_megabyte_becomes_some_that_devices_take_and_keeps_its_place() {
        let segments = 361;
        let long = [&superframe(1).1[..54], &vec![7; segments * MSS]].concat();
        let (header, short) = superframe(3);
        for direction in Direction::BOTH {
            let mut middlebox = Middlebox::new(&Config::default(), at(0)).unwrap();
            let mut left = Vec::new();
            for frame in [&short, &long, &short] {
                let mut room = room(header, frame);
                if middlebox.received(at(0), direction, &mut room) == Verdict::Pass {
                    left.push(room.bytes().to_vec());
                }
            }
            left.extend(
                core::iter::from_fn(|| middlebox.take(at(50_000), direction))
                    .map(|frame| frame.bytes().to_vec()),
            );
            assert!(left.iter().all(|frame| frame.len() <= HEADER_BYTES + 65_549));
            let payloads: Vec<_> = left.iter().map(|frame| frame.len() - HEADER_BYTES - 54).collect();
            assert_eq!(payloads.iter().sum::<usize>(), (segments + 6) * MSS);
            assert_eq!((payloads[0], payloads[payloads.len() - 1]), (3 * MSS, 3 * MSS));
            // One of them is a single packet, which still needs its checksum.
            let headers: Vec<_> = left.iter().map(|frame| &frame[..HEADER_BYTES]).collect();
            assert_eq!(headers.iter().filter(|found| **found == [1, 0, 0, 0, 0, 0, 34, 0, 16, 0]).count(), 1);
            assert_eq!(headers.iter().filter(|found| ***found == header).count(), headers.len() - 1);
        }
    }

    #[test]
    fn a_frame_of_nothing_is_malformed() {
        let mut middlebox = Middlebox::new(&Config::default(), at(0)).unwrap();
        for len in [0, 3, HEADER_BYTES] {
            let mut room = Room::new();
            room.fill(len, &[], None);
            assert_eq!(middlebox.received(at(0), Direction::ToClient, &mut room), Verdict::Taken);
        }
        assert_eq!(middlebox.statistics().to_client.malformed, 3);
    }
}

#[test]
fn bands_get_flows_by_their_weights() {
    let band = |millis, weight| Band { low: millis * MILLISECOND, high: millis * MILLISECOND, weight };
    let bands = Bands::new(vec![band(10, 3), band(20, 0), band(40, 1)]).unwrap();
    let delays = (0..4_000_u64).map(|flow| bands.delay_of(crate::random::mix(flow)));
    let mut count = BTreeMap::<Duration, u32>::new();
    delays.for_each(|delay| *count.entry(delay).or_default() += 1);
    assert_eq!(count.keys().copied().collect::<Vec<_>>(), [10 * MILLISECOND, 40 * MILLISECOND]);
    assert!((2_850..3_150).contains(&count[&(10 * MILLISECOND)]), "{count:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever arrives when: each flow has one delay, nothing is early, late, lost or out of order.
    #[test]
    fn a_flow_has_one_delay_and_keeps_its_order(
        seed: u64,
        arrivals in prop::collection::vec((0_u64..4_000, 0_u16..8, 0_usize..1_400), 1..200),
    ) {
        let mut diary = Diary::new(&Config { seed, ..Config::default() });
        let (mut now, mut sent) = (0, Vec::new());
        for (gap, port, payload) in arrivals {
            now += gap;
            let frame = numbered(port, u32::try_from(sent.len()).unwrap(), payload);
            sent.push(at(now));
            diary.send(at(now), Direction::ToServer, &frame);
        }
        diary.finish();
        prop_assert_eq!(diary.left.len(), sent.len());
        let mut last = BTreeMap::new();
        for (left, _, frame) in &diary.left {
            let delay = diary.middlebox.delay_of(Direction::ToServer, frame);
            let waited = left.since(sent[usize::try_from(number(frame)).unwrap()]);
            prop_assert!(waited >= delay && waited < delay + diary.middlebox.tick(), "{:?} {:?}", waited, delay);
            if let Some(before) = last.insert(port(frame), number(frame)) {
                prop_assert!(before < number(frame));
            }
        }
    }

    /// With rate, loss and policing on, superframes and small packets mixed, no delay or one: what is left of a flow
    /// is in order.
    #[test]
    fn faults_that_are_not_reordering_reorder_nothing(
        seed: u64,
        delayed: bool,
        arrivals in prop::collection::vec((0_u64..300, any::<bool>()), 1..100),
    ) {
        let profile = Profile {
            delay: delayed.then(Bands::dissertation),
            loss: percent(10),
            rate: Some(Rate { bits_per_second: 500_000_000, queue_bytes: 100_000 }),
            ..Profile::default()
        };
        let mut diary = Diary::new(&Config { seed, to_server: profile, ..Config::default() });
        let (mut now, mut seq) = (0, 0_u32);
        for (gap, large) in arrivals {
            now += gap;
            let segments = if large { 5 } else { 1 };
            let frame = numbered(1, seq, segments * MSS);
            let header = if large { superframe(1).0 } else { COMPLETE };
            diary.send_with(at(now), Direction::ToServer, header, &frame);
            seq += u32::try_from(segments * MSS).unwrap();
        }
        diary.finish();
        prop_assert!(diary.left.iter().map(|(.., frame)| number(frame)).is_sorted());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Superframes that leave as several and packets that pass at once, taken as a worker takes them: batches, then
    /// what is due.
    #[test]
    fn what_leaves_as_several_is_overtaken_by_nothing(
        delayed: bool,
        batches in prop::collection::vec(prop::collection::vec(1_usize..120, 1..6), 1..8),
    ) {
        let profile = Profile { delay: delayed.then(Bands::dissertation), ..Profile::default() };
        let config = Config { to_server: profile, ..Config::default() };
        let mut middlebox = Middlebox::new(&config, at(0)).unwrap();
        let (mut seq, mut left) = (0_u32, Vec::new());
        for (time, batch) in (0_u64..).zip(batches) {
            let now = at(time * 100);
            for segments in batch {
                let frame = numbered(1, seq, 0);
                let frame = [&frame[..], &vec![0; segments * MSS]].concat();
                let mut room = room(if segments > 1 { superframe(1).0 } else { COMPLETE }, &frame);
                if middlebox.received(now, Direction::ToServer, &mut room) == Verdict::Pass {
                    left.push(room.bytes()[HEADER_BYTES..].to_vec());
                }
                seq += u32::try_from(segments * MSS).unwrap();
            }
            while let Some(frame) = middlebox.take(now, Direction::ToServer) {
                left.push(frame.ethernet().to_vec());
                middlebox.release(frame);
            }
        }
        while let Some(frame) = middlebox.take(at(1_000_000), Direction::ToServer) {
            left.push(frame.ethernet().to_vec());
        }
        let mut next = 0;
        for frame in left {
            prop_assert_eq!(number(&frame), next);
            next += u32::try_from(frame.len() - 54).unwrap();
        }
        prop_assert_eq!(next, seq);
    }
}

mod with_faults {
    use super::*;

    const PACKETS: u32 = 100_000;

    /// The numbers of the packets that arrive, of those sent 10 µs apart.
    fn arrivals(profile: &Profile, seed: u64) -> (Vec<u32>, Statistics) {
        let mut diary = Diary::new(&Config { seed, to_server: profile.clone(), ..Config::default() });
        for index in 0..PACKETS {
            diary.send(at(u64::from(index) * 10), Direction::ToServer, &numbered(1, index, 0));
        }
        diary.finish();
        let numbers = diary.left.iter().map(|(.., frame)| number(frame)).collect();
        (numbers, diary.middlebox.statistics())
    }

    fn runs_lost(numbers: &[u32]) -> Vec<u32> {
        numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|lost| *lost > 0).collect()
    }

    #[test]
    fn one_packet_in_a_hundred_is_lost() {
        let profile = Profile { loss: percent(1), ..Profile::default() };
        let (numbers, statistics) = arrivals(&profile, 3);
        let lost = statistics.to_server.lost;
        // 1,000 expected, with a deviation of 31.
        assert!((880..1_120).contains(&lost), "{lost}");
        assert_eq!(numbers.len() as u64 + lost, u64::from(PACKETS));
        assert!(runs_lost(&numbers).iter().filter(|run| **run > 1).count() < 30, "they are lost one by one");
    }

    #[test]
    fn bursts_are_as_long_and_as_frequent_as_asked_for() {
        let burst = Burst {
            enter: percent(1),
            leave: percent(20),
            loss_bad: Probability::ALWAYS,
            loss_good: percent(0),
        };
        let (numbers, statistics) = arrivals(&Profile { burst: Some(burst), ..Profile::default() }, 3);
        // In the bad state 1 / (1 + 20) of the time.
        let lost = statistics.to_server.lost_in_burst;
        assert!((4_300..5_300).contains(&lost), "{lost}");
        let runs = runs_lost(&numbers);
        let mean = f64::from(runs.iter().sum::<u32>()) / runs.len() as f64;
        assert!((4.5..5.5).contains(&mean), "{mean}");
    }

    #[test]
    fn duplicates_come_twice_and_nothing_else_changes() {
        let (numbers, statistics) = arrivals(&Profile { duplicate: percent(2), ..Profile::default() }, 3);
        let twice = statistics.to_server.duplicated;
        assert!((1_830..2_170).contains(&twice), "{twice}");
        assert_eq!(numbers.len() as u64, u64::from(PACKETS) + twice);
        assert!(numbers.is_sorted());
        assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len() as u64, u64::from(PACKETS));
    }

    #[test]
    fn packets_held_back_are_overtaken_by_those_of_that_time() {
        let reorder = Reorder { share: percent(1), extra: 2 * MILLISECOND };
        let profile = Profile {
            reorder: Some(reorder),
            delay: Some(Bands::constant(10 * MILLISECOND)),
            ..Profile::default()
        };
        let (numbers, statistics) = arrivals(&profile, 3);
        assert_eq!(numbers.len() as u64, u64::from(PACKETS));
        assert!((880..1_120).contains(&statistics.to_server.reordered));
        let late = numbers.windows(2).filter(|pair| pair[1] < pair[0]).count();
        assert!(late > 800, "{late}");
        for (place, number) in (0_u32..).zip(&numbers) {
            assert!(number.abs_diff(place) <= 202, "2 ms are 200 packets: {number} in place {place}");
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_path_and_another_another() {
        let profile = Profile {
            loss: percent(1),
            duplicate: percent(1),
            reorder: Some(Reorder { share: percent(1), extra: MILLISECOND }),
            ..Profile::default()
        };
        assert_eq!(arrivals(&profile, 3), arrivals(&profile, 3));
        assert_ne!(arrivals(&profile, 3).0, arrivals(&profile, 4).0);
    }

    #[test]
    fn a_superframe_is_cut_and_loses_single_segments() {
        let (header, frame) = superframe(40);
        let mut diary = Diary::of(&Profile { loss: percent(10), ..Profile::default() });
        for index in 0..100 {
            diary.send_with(at(index), Direction::ToClient, header, &frame);
        }
        diary.finish();
        let statistics = diary.middlebox.statistics().to_client;
        assert_eq!((statistics.received, statistics.cut, statistics.packets), (100, 100, 4_000));
        assert!((320..480).contains(&statistics.lost), "{}", statistics.lost);
        assert_eq!(diary.left.len() as u64, 4_000 - statistics.lost);
        for (.., segment) in &diary.left {
            assert_eq!(segment.len(), 54 + MSS);
            let index = number(segment) as usize / MSS;
            assert!(segment[54..].iter().all(|byte| usize::from(*byte) == index), "the bytes of its place");
        }
    }

    #[test]
    fn datagrams_that_travel_together_are_lost_one_by_one() {
        let mut frame = ipv4(Ends::client(9), 0);
        frame[23] = 17;
        frame.truncate(34 + 8);
        frame.extend(vec![7; 40 * 1_200]);
        let header = [1, 5, 42, 0, 0xb0, 4, 34, 0, 6, 0];
        let mut diary = Diary::of(&Profile { loss: percent(20), ..Profile::default() });
        for index in 0..50 {
            diary.send_with(at(index * 10), Direction::ToServer, header, &frame);
        }
        diary.finish();
        let statistics = diary.middlebox.statistics().to_server;
        assert_eq!((statistics.cut, statistics.packets, statistics.malformed), (50, 2_000, 0));
        // 400 expected, with a deviation of 18.
        assert!((320..480).contains(&statistics.lost), "{statistics:?}");
        assert!(diary.left.iter().all(|(.., packet)| packet.len() == 42 + 1_200));
    }

    #[test]
    fn a_superframe_that_lies_about_itself_is_dropped() {
        let (header, frame) = superframe(2);
        let mut diary = Diary::of(&Profile { loss: percent(1), ..Profile::default() });
        diary.send_with(at(0), Direction::ToClient, [1, 4, 54, 0, 0xa8, 5, 34, 0, 16, 0], &frame);
        diary.send_with(at(0), Direction::ToClient, [1, 1, 54, 0, 0, 0, 34, 0, 16, 0], &frame);
        diary.send_with(at(0), Direction::ToClient, header, &frame[..40]);
        assert_eq!((diary.left.len(), diary.middlebox.statistics().to_client.malformed), (0, 3));
    }
}

mod with_a_bottleneck {
    use super::*;

    #[test]
    fn packets_leave_at_its_rate_and_the_queue_has_an_end() {
        let rate = Rate { bits_per_second: 100_000_000, queue_bytes: 50_000 };
        let mut diary = Diary::of(&Profile { rate: Some(rate), ..Profile::default() });
        // A second of twice the rate.
        let frame = ipv4(Ends::client(1), 1_196);
        for index in 0..20_000 {
            diary.send(at(index * 50), Direction::ToClient, &frame);
        }
        diary.finish();
        let (first, last) = (diary.left[0].0, diary.left[diary.left.len() - 1].0);
        let bits = (diary.left.len() - 1) * 1_250 * 8;
        let measured = bits as f64 / last.since(first).as_secs_f64();
        assert!((99.9e6..100.1e6).contains(&measured), "{measured}");
        let statistics = diary.middlebox.statistics();
        assert_eq!(statistics.to_client.queue_full + diary.left.len() as u64, 20_000);
        // 40 packets wait, in 2,048 bytes each, and at most as many chunks of the wheel of about as much.
        assert!(statistics.memory_bytes_max <= 2 * 42 * 2_100, "{}", statistics.memory_bytes_max);
    }

    #[test]
    fn a_policer_drops_what_exceeds_it_and_delays_nothing() {
        let police = Police { bits_per_second: 100_000_000, burst_bytes: 10_000 };
        let mut diary = Diary::of(&Profile { police: Some(police), ..Profile::default() });
        let frame = ipv4(Ends::client(1), 1_196);
        for index in 0..20_000 {
            diary.send(at(index * 50), Direction::ToClient, &frame);
            assert!(diary.left.last().is_none_or(|(left, ..)| *left <= at(index * 50)));
        }
        // Half of them, and eight of the burst.
        assert!((10_000..=10_010).contains(&diary.left.len()), "{}", diary.left.len());
        assert_eq!(diary.middlebox.statistics().to_client.policed + diary.left.len() as u64, 20_000);
    }
}

mod what_does_not_fit_into_memory {
    use super::*;

    const BOUND: usize = Pool::BYTES_MIN;

    fn full(frame: &[u8]) -> (usize, Statistics) {
        let mut diary = Diary::new(&Config { memory_bytes: BOUND, ..Config::default() });
        for _ in 0..10_000 {
            diary.send(at(0), Direction::ToServer, frame);
        }
        diary.finish();
        let statistics = diary.middlebox.statistics();
        assert_eq!(statistics.to_server.overflowed + diary.left.len() as u64, 10_000);
        assert!(statistics.memory_bytes_max <= BOUND as u64);
        (diary.left.len(), statistics)
    }

    #[test]
    fn is_dropped_and_counted() {
        let (held, _) = full(&ipv4(Ends::client(1), 1_000));
        // In 2,048 bytes each, and a sixteenth of a chunk of about as much.
        assert!((BOUND / 2_200..BOUND / 2_048).contains(&held), "{held}");
    }

    #[test]
    fn counts_what_lies_in_the_wheel_itself() {
        let (held, _) = full(&ipv4(Ends::client(1), 12));
        assert!((BOUND / 140..=BOUND / 128).contains(&held), "{held}");
    }

    #[test]
    fn is_dropped_no_longer_when_memory_of_the_other_kind_has_become_free() {
        let mut diary = Diary::new(&Config { memory_bytes: BOUND, ..Config::default() });
        let (short, long) = (ipv4(Ends::client(1), 12), ipv4(Ends::client(1), 60_000));
        for (round, frame) in [&short, &long, &short, &long].into_iter().enumerate() {
            let now = at(100_000 * round as u64);
            for _ in 0..10_000 {
                diary.send(now, Direction::ToServer, frame);
            }
            diary.left.clear();
            diary.run(now + 60 * MILLISECOND);
            let least = if frame.len() > 1_000 { 3 } else { 1_000 };
            assert!(diary.left.len() >= least, "round {round}: {}", diary.left.len());
        }
    }
}

#[test]
fn time_that_runs_backwards_stands_still() {
    let mut diary = Diary::new(&Config::default());
    diary.send(at(100_000), Direction::ToServer, &numbered(1, 0, 0));
    diary.send(at(90_000), Direction::ToServer, &numbered(1, 1, 0));
    diary.finish();
    assert_eq!(diary.left.iter().map(|(.., frame)| number(frame)).collect::<Vec<_>>(), [0, 1]);
}

mod a_path_that_cannot_be {
    use super::*;

    fn error(profile: Profile) -> String {
        Middlebox::new(&Config { to_client: profile, ..Config::default() }, at(0)).unwrap_err().to_string()
    }

    #[test]
    fn is_refused_in_one_line() {
        let rate = |bits_per_second, queue_bytes| Some(Rate { bits_per_second, queue_bytes });
        let lines = [
            error(Profile { rate: rate(0, 1), ..Profile::default() }),
            error(Profile { rate: rate(1, 0), ..Profile::default() }),
            error(Profile { rate: rate(1, 1 << 20), ..Profile::default() }),
            error(Profile { delay: Some(Bands::constant(Duration::from_secs(3_601))), ..Profile::default() }),
            error(Profile {
                police: Some(Police { bits_per_second: 1, burst_bytes: 100 }),
                ..Profile::default()
            }),
            Bands::new(Vec::new()).unwrap_err().to_string(),
            Bands::new(vec![Band { low: 2 * MILLISECOND, high: MILLISECOND, weight: 1 }])
                .unwrap_err()
                .to_string(),
            Middlebox::new(&Config { memory_bytes: 1, ..Config::default() }, at(0)).unwrap_err().to_string(),
        ];
        assert!(lines.iter().all(|line| !line.contains('\n') && line.contains(": ")), "{lines:#?}");
        assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), lines.len());
    }
}
