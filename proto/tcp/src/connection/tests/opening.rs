//! SYN-SENT, SYN-RECEIVED, and connections from cookies.

#![expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]

use super::fixture::*;
use crate::{
    Config, Connection, CookieParams, Events, Flags, Header, Options, SeqNum, State, Timestamps, cookies,
};
use clock::Instant;

mod syn_sent {
    use super::*;

    #[test]
    fn offers_everything() {
        let config = Config::default();
        let now = Instant::EPOCH;
        let mut connection = Connection::connect(&config, now, 50_000, 443, SeqNum(7));
        let Header { seq, flags, window, options, .. } =
            connection.poll_control(&config, now).unwrap().header;
        assert_eq!((seq, flags, window), (SeqNum(7), Flags::SYN, 65_535));
        let Options { mss, window_scale, sack_permitted, sack: _, timestamps } = options;
        assert_eq!((mss, window_scale, sack_permitted), (Some(1460), Some(3), true));
        assert_eq!(timestamps.map(|ts| ts.echo), Some(0));
    }

    //= RFC 9293 §3.10.7.3: "If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset (unless the RST bit is set, if so drop the segment)"
    #[test]
    fn an_ack_of_something_else_asks_for_a_reset() {
        let mut fixture = Fixture::syn_sent();
        assert_eq!(fixture.on(header(Flags::ACK, 0, ISS), b""), Events::UNEXPECTED | Events::DROPPED);
        assert_eq!(fixture.on(header(Flags::RST | Flags::ACK, 0, ISS), b""), Events::DROPPED);
        assert_eq!(fixture.connection.state(), State::SynSent);
    }

    #[test]
    fn rst_without_ack_is_ignored() {
        let mut fixture = Fixture::syn_sent();
        assert_eq!(fixture.on(header(Flags::RST, 0, 0), b""), Events::DROPPED);
        assert_eq!(fixture.connection.state(), State::SynSent);
    }

    #[test]
    fn rst_of_our_syn_refuses_the_connection() {
        let mut fixture = Fixture::syn_sent();
        let events = fixture.on(header(Flags::RST | Flags::ACK, 0, ISS + 1), b"");
        assert_eq!(events, Events::RESET | Events::CLOSED);
        fixture.silent();
    }

    #[test]
    fn a_syn_ack_establishes_and_is_acknowledged() {
        let mut fixture = Fixture::syn_sent();
        fixture.pass(30 * MS);
        let events = fixture.on(header(Flags::SYN | Flags::ACK, IRS, ISS + 1), b"");
        assert!(events.contains(Events::ESTABLISHED));
        let ack = fixture.control();
        assert_eq!((ack.flags, ack.seq, ack.ack), (Flags::ACK, SeqNum(ISS + 1), SeqNum(IRS + 1)));
        assert_eq!(fixture.connection.info().srtt, Some(30 * MS));
    }

    //= RFC 9293 §3.5 figure 8: simultaneous open
    #[test]
    fn a_syn_of_the_peer_meets_ours_and_both_establish() {
        let mut fixture = Fixture::syn_sent();
        let events = fixture.on(header(Flags::SYN, IRS, 0), b"");
        assert_eq!(events, Events::empty());
        assert_eq!(fixture.connection.state(), State::SynReceived);
        let syn_ack = fixture.control();
        assert_eq!((syn_ack.flags, syn_ack.seq), (Flags::SYN | Flags::ACK, SeqNum(ISS)));
        let events = fixture.on(header(Flags::SYN | Flags::ACK, IRS, ISS + 1), b"");
        assert!(events.contains(Events::ESTABLISHED));
    }

    #[test]
    fn the_syn_is_repeated_later_each_time_and_then_given_up() {
        let mut fixture = Fixture::syn_sent_with(Config { syn_retries: 3, ..plain() });
        let mut waits = Vec::new();
        loop {
            let before = fixture.now;
            let events = fixture.expire();
            waits.push(fixture.now.since(before).as_secs());
            if events.contains(Events::CLOSED) {
                assert!(events.contains(Events::TIMED_OUT));
                break;
            }
            assert_eq!(fixture.control().flags, Flags::SYN);
        }
        assert_eq!(waits, [1, 2, 4, 8]);
    }

    #[test]
    fn a_peer_without_options_gets_none() {
        let mut fixture = Fixture::syn_sent_with(Config::default());
        let _ = fixture.on(header(Flags::SYN | Flags::ACK, IRS, ISS + 1), b"");
        let ack = fixture.control();
        assert_eq!(ack.options, Options::NONE);
        assert_eq!(fixture.connection.mss(), 536);
        assert_eq!(fixture.connection.peer_window_scale(), 0);
        // 256 KiB, not scaled.
        assert_eq!(ack.window, 65_535);
    }
}

mod syn_received {
    use super::*;

    #[test]
    fn answers_with_what_both_sides_understand() {
        let config = Config::default();
        let now = Instant::EPOCH;
        let mut offer = syn(&config);
        offer.options.window_scale = Some(9);
        offer.options.timestamps = None;
        let mut connection = Connection::accept(&config, now, &offer, SeqNum(ISS));
        let syn_ack = connection.poll_control(&config, now).unwrap().header;
        let Options { mss, window_scale, sack_permitted, sack: _, timestamps } = syn_ack.options;
        assert_eq!((mss, window_scale, sack_permitted, timestamps), (Some(1460), Some(3), true, None));
        assert_eq!(syn_ack.ack, SeqNum(IRS + 1));
        assert_eq!((syn_ack.source_port, syn_ack.destination_port), (443, 50_000));
    }

    #[test]
    fn the_same_syn_again_is_answered_again() {
        let mut fixture = Fixture::syn_received();
        let config = fixture.config;
        assert_eq!(fixture.on(syn(&config), b""), Events::empty());
        assert_eq!(fixture.control().flags, Flags::SYN | Flags::ACK);
    }

    //= RFC 9293 §3.10.7.4: "If the segment acknowledgment is not acceptable, form a reset segment"
    #[test]
    fn an_ack_of_something_else_asks_for_a_reset_and_changes_nothing() {
        let mut fixture = Fixture::syn_received();
        let events = fixture.on(header(Flags::ACK, IRS + 1, ISS + 2), b"data");
        assert_eq!(events, Events::UNEXPECTED | Events::DROPPED);
        assert_eq!(fixture.connection.state(), State::SynReceived);
        assert!(fixture.delivered.is_empty());
    }

    #[test]
    fn rst_in_the_window_but_not_at_its_edge_is_challenged_and_exact_ends_it() {
        let mut fixture = Fixture::syn_received();
        assert_eq!(fixture.on(header(Flags::RST, IRS + 2, 0), b""), Events::DROPPED);
        assert_eq!(fixture.on(header(Flags::RST, IRS + 1, 0), b""), Events::RESET | Events::CLOSED);
    }

    #[test]
    fn the_ack_may_carry_data_and_fin() {
        let mut fixture = Fixture::syn_received();
        let events = fixture.on(header(Flags::ACK | Flags::FIN, IRS + 1, ISS + 1), b"hello");
        assert!(events.contains(Events::ESTABLISHED | Events::DELIVERED | Events::PEER_FINISHED));
        assert_eq!(
            (fixture.delivered.as_slice(), fixture.connection.state()),
            (&b"hello"[..], State::CloseWait)
        );
        assert_eq!(fixture.control().ack, SeqNum(IRS + 7));
    }

    #[test]
    fn the_syn_ack_is_repeated_and_then_forgotten() {
        let mut fixture = Fixture::syn_received_with(Config { syn_ack_retries: 2, ..plain() });
        for _ in 0..2 {
            assert_eq!(fixture.expire(), Events::empty());
            assert_eq!(fixture.control().flags, Flags::SYN | Flags::ACK);
        }
        assert_eq!(fixture.expire(), Events::TIMED_OUT | Events::CLOSED);
    }

    //= RFC 6298 §3: Karn's algorithm holds for SYNs too
    #[test]
    fn a_repeated_syn_ack_measures_nothing() {
        let mut fixture = Fixture::syn_received();
        let _ = fixture.expire();
        let _ = fixture.control();
        assert!(fixture.ack(0).contains(Events::ESTABLISHED));
        assert_eq!(fixture.connection.info().srtt, None);
        assert!(fixture.connection.info().rto >= SECOND * 3, "RFC 6298 §5.7");
    }

    //= RFC 6691, RFC 9293 §3.7.1: options are deducted from the MSS
    #[test]
    fn timestamps_cost_twelve_bytes_of_each_segment() {
        let fixture = Fixture::established_with(Config { timestamps: true, ..plain() });
        assert_eq!(fixture.connection.mss(), 988);
    }

    #[test]
    fn a_tiny_mss_is_not_believed() {
        let config = plain();
        let mut offer = syn(&config);
        offer.options.mss = Some(1);
        let connection = Connection::accept(&config, Instant::EPOCH, &offer, SeqNum(ISS));
        assert_eq!(connection.mss(), 48);
    }

    #[test]
    fn nothing_may_be_sent_yet() {
        let mut fixture = Fixture::syn_received();
        assert_eq!(fixture.connection.credit(fixture.now), 0);
        let mut range = fixture.connection.reserve(10);
        assert_eq!(fixture.transmit(&mut range), []);
        assert_eq!(range, 0..10);
        let _ = fixture.ack(0);
        assert_eq!(fixture.transmit(&mut range), [0..10]);
    }
}

mod cookie {
    use super::*;

    fn hash(bytes: &[u8]) -> u64 {
        bytes.iter().fold(77, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    #[test]
    fn a_returned_cookie_makes_a_connection_as_if_we_had_remembered() {
        let config = Config::default();
        let now = Instant::EPOCH + SECOND * 5000;
        let mut offer = syn(&config);
        offer.options.window_scale = Some(7);
        let syn_ack = cookies::syn_ack(&config, now, &offer, &hash);
        let mut ack = header(Flags::ACK, IRS + 1, 0);
        ack.ack = syn_ack.seq + 1;
        let echo = syn_ack.options.timestamps.unwrap().value;
        ack.options.timestamps = Some(Timestamps { value: 101, echo });

        let params = cookies::check(&config, now, &ack, &hash).unwrap();
        assert_eq!(params, CookieParams { mss: 1460, window_scale: Some(7), sack_permitted: true });
        let mut connection = Connection::accept_cookie(&config, now, &ack, &params);
        let mut delivered = Vec::new();
        let events = connection
            .on_segment(&config, now, &ack, b"GET", &mut |bytes| delivered.extend_from_slice(bytes));
        assert_eq!(connection.state(), State::Established);
        assert!(events.contains(Events::DELIVERED));
        assert_eq!(delivered, b"GET");
        assert_eq!((connection.mss(), connection.peer_window_scale()), (1448, 7));
        assert!(connection.credit(now) >= 10 * 1448);
        let mut range = connection.reserve(100);
        let data = connection.transmit(now, &mut range, 64 << 10).unwrap().header;
        assert_eq!((data.seq, data.ack), (syn_ack.seq + 1, SeqNum(IRS + 4)));
        let value = data.options.timestamps.unwrap().value;
        assert!(value.wrapping_sub(echo) < 100, "our timestamps never go back");
    }
}
