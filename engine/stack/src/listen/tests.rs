use super::*;
use wire::MacAddr;
use wire::tcp::{Options, Timestamps};

const NOW: Instant = Instant::from_nanos(10_000_000_000_000);

fn keys(seed: u8) -> ListenKeys {
    ListenKeys {
        table: HashKey::new([seed; 16]),
        isn: HashKey::new([seed + 1; 16]),
        cookie: HashKey::new([seed + 2; 16]),
    }
}

fn config() -> ListenConfig {
    let mut config = ListenConfig::new(100);
    config.ports.push(443);
    config
}

fn listener(change: impl FnOnce(&mut ListenConfig)) -> Listener {
    let mut config = config();
    change(&mut config);
    Listener::new(&config, keys(1), NOW)
}

fn key(host: u8, port: u16) -> TupleKey {
    let tuple = FourTuple { local: ([192, 0, 2, 1], 443).into(), peer: ([198, 51, 100, host], port).into() };
    TupleKey::new(&tuple).unwrap()
}

/// A segment from port `port` of 198.51.100.`host`.
fn segment(host: u8, port: u16, flags: Flags) -> TcpInput<'static> {
    TcpInput {
        key: key(host, port),
        peer_mac: MacAddr([2, 0, 0, 0, 0, 2]),
        vlan: None,
        traffic_class: 0,
        header: Header {
            source_port: port,
            destination_port: 443,
            seq: SeqNum(5000),
            ack: SeqNum(0),
            flags,
            window: 64_240,
            urgent: 0,
            options: Options {
                mss: Some(1460),
                window_scale: Some(7),
                sack_permitted: true,
                timestamps: Some(Timestamps { value: 77, echo: 0 }),
                ..Options::NONE
            },
        },
        payload: &[],
    }
}

fn syn(host: u8) -> TcpInput<'static> {
    segment(host, 50_000, Flags::SYN)
}

/// The ACK with which an honest peer answers a SYN-ACK.
fn ack_of(syn: &TcpInput<'static>, syn_ack: &Header) -> TcpInput<'static> {
    let mut ack = *syn;
    ack.header.flags = Flags::ACK;
    ack.header.seq = syn_ack.ack;
    ack.header.ack = syn_ack.seq + 1;
    ack.header.options = Options {
        timestamps: syn_ack.options.timestamps.map(|offered| Timestamps { value: 78, echo: offered.value }),
        ..Options::NONE
    };
    ack
}

fn on(listener: &mut Listener, input: &TcpInput<'_>) -> Verdict {
    on_at(listener, NOW, input)
}

fn on_at(listener: &mut Listener, now: Instant, input: &TcpInput<'_>) -> Verdict {
    listener.on_segment(&tcp::Config::default(), now, input, None)
}

mod with_room_in_the_backlog {
    use super::*;

    #[test]
    fn a_syn_is_accepted_and_counted() {
        let mut listener = listener(|_| {});
        let Verdict::Accept { iss } = on(&mut listener, &syn(1)) else { panic!("not accepted") };
        assert_eq!(iss, listener.isn(NOW, &syn(1).tuple()));
        assert_eq!((listener.connections(), listener.half_open(), listener.counters().accepted), (1, 1, 1));
        listener.on_established();
        assert_eq!((listener.connections(), listener.half_open()), (1, 0));
        listener.on_closed(syn(1).peer(), false);
        assert_eq!((listener.connections(), listener.half_open()), (0, 0));
    }

    //= https://www.rfc-editor.org/rfc/rfc9293#section-3.10.7.2
    //= type=test
    //# An incoming RST segment should be ignored.
    #[test]
    fn a_reset_is_ignored() {
        let verdict = on(&mut listener(|_| {}), &segment(1, 1, Flags::RST | Flags::ACK));
        assert_eq!(verdict, Verdict::Drop(Refusal::Ignored));
    }

    //= https://www.rfc-editor.org/rfc/rfc9293#section-3.10.7.2
    //= type=test
    //# Any acknowledgment is bad if it arrives on a connection still in the LISTEN state.
    #[test]
    fn an_ack_is_answered_with_a_reset() {
        let mut input = segment(1, 50_000, Flags::ACK);
        input.header.ack = SeqNum(999);
        let Verdict::Reply(reset) = on(&mut listener(|_| {}), &input) else { panic!("no answer") };
        assert_eq!((reset.flags, reset.seq, reset.destination_port), (Flags::RST, SeqNum(999), 50_000));
    }

    #[test]
    fn what_neither_opens_nor_acknowledges_is_ignored() {
        for flags in [Flags::empty(), Flags::FIN, Flags::PSH, Flags::SYN | Flags::FIN] {
            assert_eq!(
                on(&mut listener(|_| {}), &segment(1, 1, flags)),
                Verdict::Drop(Refusal::Ignored),
                "{flags:?}"
            );
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc6191#section-2
    //= type=test
    #[test]
    fn a_syn_that_reuses_a_connection_begins_beyond_the_old_ones_numbers() {
        let mut listener = listener(|_| {});
        let isn = listener.isn(NOW, &syn(1).tuple());
        let mut iss_with =
            |iss_min| match listener.on_segment(&tcp::Config::default(), NOW, &syn(1), Some(iss_min)) {
                Verdict::Accept { iss } => iss,
                other => panic!("{other:?}"),
            };
        assert_eq!(iss_with(isn + 1000), isn + 1000);
        assert_eq!(iss_with(isn - 1000), isn);
    }
}

mod with_a_full_backlog {
    use super::*;

    fn full() -> Listener {
        let mut listener = listener(|config| config.half_open_max = 1);
        assert!(matches!(on(&mut listener, &syn(1)), Verdict::Accept { .. }));
        listener
    }

    fn cookie(listener: &mut Listener, syn: &TcpInput<'static>) -> Header {
        match on(listener, syn) {
            Verdict::Reply(header) if header.flags == Flags::SYN | Flags::ACK => header,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_syn_is_answered_and_not_remembered() {
        let mut listener = full();
        let syn_ack = cookie(&mut listener, &syn(2));
        assert_eq!((syn_ack.ack, syn_ack.destination_port), (SeqNum(5001), 50_000));
        assert_eq!(
            (listener.connections(), listener.half_open(), listener.counters().cookies_sent),
            (1, 1, 1)
        );
    }

    #[test]
    fn who_returns_the_cookie_is_connected_with_what_his_syn_said() {
        let mut listener = full();
        let syn_ack = cookie(&mut listener, &syn(2));
        let Verdict::AcceptCookie(params) = on(&mut listener, &ack_of(&syn(2), &syn_ack)) else { panic!() };
        assert_eq!((params.mss, params.window_scale, params.sack_permitted), (1460, Some(7), true));
        assert_eq!((listener.connections(), listener.half_open()), (2, 1));
    }

    #[test]
    fn somebody_elses_cookie_is_answered_with_a_reset() {
        let mut listener = full();
        let syn_ack = cookie(&mut listener, &syn(2));
        let mut stolen = ack_of(&syn(2), &syn_ack);
        stolen.key = key(3, 50_000);
        assert!(matches!(on(&mut listener, &stolen), Verdict::Reply(reset) if reset.flags == Flags::RST));
    }

    #[test]
    fn a_cookie_outlives_one_change_of_secrets_and_not_two() {
        let mut listener = full();
        let syn_ack = cookie(&mut listener, &syn(2));
        let ack = ack_of(&syn(2), &syn_ack);
        listener.rotate(NOW, HashKey::new([91; 16]));
        assert!(matches!(on(&mut listener, &ack), Verdict::AcceptCookie(_)));
        listener.rotate(NOW, HashKey::new([92; 16]));
        assert!(matches!(on(&mut listener, &ack), Verdict::Reply(_)));
    }

    #[test]
    fn the_time_for_the_next_secret_is_told() {
        let mut listener = full();
        assert_eq!(listener.rotate_at(), NOW + COOKIE_SECRET_LIFETIME);
        listener.rotate(listener.rotate_at(), HashKey::new([91; 16]));
        assert_eq!(listener.rotate_at(), NOW + 2 * COOKIE_SECRET_LIFETIME);
    }

    #[test]
    fn guessing_is_not_even_tried_when_nobody_can_have_a_cookie() {
        // Another worker with the same secret has sent it; this one never sent any.
        let syn_ack = cookie(&mut full(), &syn(2));
        let mut idle = listener(|_| {});
        assert!(
            matches!(on(&mut idle, &ack_of(&syn(2), &syn_ack)), Verdict::Reply(reset) if reset.flags == Flags::RST)
        );
    }

    #[test]
    fn an_old_cookie_is_answered_with_a_reset() {
        let mut listener = full();
        let syn_ack = cookie(&mut listener, &syn(2));
        let later = NOW + Duration::from_secs(129);
        let _ = on_at(&mut listener, later, &syn(3));
        assert!(matches!(
            on_at(&mut listener, later, &ack_of(&syn(2), &syn_ack)),
            Verdict::Reply(reset) if reset.flags == Flags::RST
        ));
    }

    #[test]
    fn a_syn_that_reuses_a_connection_finds_as_much_room_again_and_then_has_to_come_again() {
        let mut listener = full();
        let mut again = |host| listener.on_segment(&tcp::Config::default(), NOW, &syn(host), Some(SeqNum(7)));
        assert!(matches!(again(2), Verdict::Accept { .. }));
        assert_eq!(again(3), Verdict::Drop(Refusal::BacklogFull));
        assert_eq!(listener.half_open(), 2);
        let _ = cookie(&mut listener, &syn(4));
    }

    #[test]
    fn a_completed_handshake_makes_room() {
        let mut listener = full();
        listener.on_established();
        assert!(matches!(on(&mut listener, &syn(2)), Verdict::Accept { .. }));
    }

    #[test]
    fn a_failed_handshake_makes_room() {
        let mut listener = full();
        listener.on_closed(syn(1).peer(), true);
        assert!(matches!(on(&mut listener, &syn(2)), Verdict::Accept { .. }));
    }
}

mod at_the_limits {
    use super::*;

    #[test]
    fn no_connection_beyond_the_operators_number_not_even_by_cookie() {
        let mut listener = listener(|config| (config.connections_max, config.half_open_max) = (2, 1));
        let _ = on(&mut listener, &syn(1));
        let syn_acks: [Header; 2] = [2, 3].map(|host| match on(&mut listener, &syn(host)) {
            Verdict::Reply(header) => header,
            other => panic!("{other:?}"),
        });
        assert!(matches!(on(&mut listener, &ack_of(&syn(2), &syn_acks[0])), Verdict::AcceptCookie(_)));
        assert_eq!(
            on(&mut listener, &ack_of(&syn(3), &syn_acks[1])),
            Verdict::Drop(Refusal::ConnectionsFull)
        );
        assert_eq!(on(&mut listener, &syn(4)), Verdict::Drop(Refusal::ConnectionsFull));
        assert_eq!(listener.counters().connections_full, 2);
    }

    #[test]
    fn one_peer_has_so_many_and_others_have_theirs() {
        let mut listener = listener(|config| config.per_peer_max = Some(2));
        for port in [1, 2] {
            assert!(matches!(on(&mut listener, &segment(1, port, Flags::SYN)), Verdict::Accept { .. }));
        }
        assert_eq!(on(&mut listener, &segment(1, 3, Flags::SYN)), Verdict::Drop(Refusal::PeerLimit));
        assert!(matches!(on(&mut listener, &syn(2)), Verdict::Accept { .. }));

        let peer = syn(1).peer();
        assert_eq!(listener.connections_of(peer), 2);
        listener.on_closed(peer, true);
        assert!(matches!(on(&mut listener, &segment(1, 3, Flags::SYN)), Verdict::Accept { .. }));
        for _ in 0..2 {
            listener.on_closed(peer, true);
        }
        assert_eq!((listener.connections_of(peer), listener.peers.len()), (0, 1));
    }

    #[test]
    fn so_many_resets_a_second() {
        let mut listener = listener(|config| config.resets_per_second = 20);
        let stray = segment(1, 1, Flags::ACK);
        let verdicts: [Verdict; 3] = core::array::from_fn(|_| on(&mut listener, &stray));
        assert!(matches!(verdicts[..2], [Verdict::Reply(_), Verdict::Reply(_)]));
        assert_eq!(verdicts[2], Verdict::Drop(Refusal::ResetsLimited));
        assert!(matches!(on_at(&mut listener, NOW + Duration::from_millis(50), &stray), Verdict::Reply(_)));
        assert_eq!((listener.counters().resets, listener.counters().resets_limited), (3, 1));
    }
}

mod a_closed_port {
    use super::*;

    //= https://www.rfc-editor.org/rfc/rfc9293#section-3.10.7.1
    //= type=test
    #[test]
    fn answers_a_syn_with_a_reset() {
        let mut input = syn(1);
        input.header.destination_port = 80;
        let Verdict::Reply(reset) = on(&mut listener(|_| {}), &input) else { panic!("no answer") };
        assert_eq!((reset.flags, reset.seq, reset.ack), (Flags::RST | Flags::ACK, SeqNum(0), SeqNum(5001)));
    }

    #[test]
    fn is_what_every_port_becomes_when_a_worker_drains() {
        let mut listener = listener(|_| {});
        listener.close();
        assert!(
            matches!(on(&mut listener, &syn(1)), Verdict::Reply(reset) if reset.flags.contains(Flags::RST))
        );
    }
}

mod initial_sequence_numbers {
    use super::*;

    //= https://www.rfc-editor.org/rfc/rfc6528#section-3
    //= type=test
    //# ISN = M + F(localip, localport, remoteip, remoteport, secretkey)
    #[test]
    fn of_one_tuple_advance_every_four_microseconds() {
        let listener = listener(|_| {});
        let isn = |micros| listener.isn(NOW + Duration::from_micros(micros), &syn(1).tuple());
        assert_eq!([isn(3) - isn(0), isn(4) - isn(0), isn(400) - isn(0)], [0, 1, 100]);
    }

    #[test]
    fn of_different_tuples_or_secrets_have_nothing_in_common() {
        let ours = listener(|_| {});
        let isn = ours.isn(NOW, &syn(1).tuple());
        assert_ne!(isn, ours.isn(NOW, &syn(2).tuple()));
        assert_ne!(isn, ours.isn(NOW, &segment(1, 50_001, Flags::SYN).tuple()));
        assert_ne!(isn, Listener::new(&config(), keys(7), NOW).isn(NOW, &syn(1).tuple()));
    }
}
