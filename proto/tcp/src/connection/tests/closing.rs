//! FIN-WAIT, CLOSE-WAIT, CLOSING, LAST-ACK, TIME-WAIT: orderly, half and abortive.

#![expect(clippy::single_range_in_vec_init, reason = "a list of one range is meant")]

use super::fixture::*;
use crate::{Config, Events, Flags, State, TimeWaitAction};

fn peer_fin(fixture: &mut Fixture, ack: u32) -> Events {
    fixture.on(header(Flags::FIN | Flags::ACK, IRS + 1, ISS + 1 + ack), b"")
}

mod established {
    use super::*;

    #[test]
    fn the_fin_rides_on_the_last_data() {
        let mut fixture = Fixture::established();
        let mut range = fixture.connection.reserve(1500);
        fixture.connection.finish();
        let outgoing = fixture.connection.transmit(fixture.now, &mut range, 64 << 10).unwrap();
        assert_eq!((outgoing.range, outgoing.header.flags), (0..1500, Flags::ACK | Flags::PSH | Flags::FIN));
        assert_eq!(fixture.connection.state(), State::FinWait1);
        fixture.silent();
    }

    #[test]
    fn the_fin_leaves_alone_when_the_data_has_left() {
        let mut fixture = Fixture::established();
        fixture.send(1500);
        fixture.connection.finish();
        let fin = fixture.control();
        assert_eq!((fin.seq.0, fin.flags), (ISS + 1 + 1500, Flags::FIN | Flags::ACK));
    }

    #[test]
    fn the_fin_waits_for_data_that_is_still_being_read() {
        let mut fixture = Fixture::established();
        let mut range = fixture.connection.reserve(1500);
        fixture.connection.finish();
        fixture.silent();
        assert_eq!(fixture.connection.state(), State::Established);
        assert_eq!(fixture.transmit(&mut range), [0..1500]);
        assert_eq!(fixture.connection.state(), State::FinWait1);
    }

    #[test]
    fn an_abort_resets() {
        let mut fixture = Fixture::established();
        fixture.send(1500);
        fixture.connection.abort();
        let reset = fixture.control();
        assert_eq!((reset.seq.0, reset.flags), (ISS + 1 + 1500, Flags::RST | Flags::ACK));
        assert_eq!((fixture.connection.state(), fixture.connection.deadline()), (State::Closed, None));
    }

    #[test]
    fn a_fin_that_comes_early_waits_for_the_data_before_it() {
        let mut fixture = Fixture::established();
        let events = fixture.on(header(Flags::FIN | Flags::ACK, IRS + 6, ISS + 1), b"world");
        assert!(!events.contains(Events::PEER_FINISHED));
        let events = fixture.on(header(Flags::ACK, IRS + 1, ISS + 1), b"hello");
        assert!(events.contains(Events::DELIVERED | Events::PEER_FINISHED));
        assert_eq!(fixture.delivered, b"helloworld");
        assert_eq!(fixture.control().ack.0, IRS + 12);
    }
}

mod fin_wait_1 {
    use super::*;

    #[test]
    fn an_ack_of_the_fin_leads_to_fin_wait_2() {
        assert_eq!(Fixture::fin_wait_2().connection.state(), State::FinWait2);
    }

    #[test]
    fn a_fin_without_it_leads_to_closing_and_then_to_time_wait() {
        let mut fixture = Fixture::fin_wait_1();
        assert!(peer_fin(&mut fixture, 0).contains(Events::PEER_FINISHED));
        assert_eq!(fixture.connection.state(), State::Closing);
        let _ = fixture.control();
        let events = fixture.on(header(Flags::ACK, IRS + 2, ISS + 2), b"");
        assert!(events.contains(Events::FINISH_ACKNOWLEDGED | Events::CLOSED));
        assert_eq!(fixture.connection.state(), State::TimeWait);
    }

    #[test]
    fn both_at_once_lead_to_time_wait() {
        let mut fixture = Fixture::fin_wait_1();
        let events = peer_fin(&mut fixture, 1);
        assert!(events.contains(Events::PEER_FINISHED | Events::FINISH_ACKNOWLEDGED | Events::CLOSED));
        assert_eq!(fixture.connection.state(), State::TimeWait);
        assert_eq!(fixture.control().ack.0, IRS + 2, "the last ACK is still ours to send");
    }

    #[test]
    fn data_still_comes() {
        let mut fixture = Fixture::fin_wait_1();
        let _ = fixture.on(header(Flags::ACK, IRS + 1, ISS + 2), b"more");
        assert_eq!(fixture.delivered, b"more");
    }

    #[test]
    fn data_that_was_lost_is_repaired_with_its_fin() {
        let mut fixture = Fixture::established_with(Config { sack: false, ..plain() });
        let mut range = fixture.connection.reserve(1000);
        fixture.connection.finish();
        fixture.transmit(&mut range);
        let _ = fixture.expire();
        let mut range = fixture.connection.wanted(fixture.now, 64 << 10).unwrap();
        let outgoing = fixture.connection.transmit(fixture.now, &mut range, 64 << 10).unwrap();
        assert!(outgoing.retransmission && outgoing.header.flags.contains(Flags::FIN));
        assert!(fixture.ack(1001).contains(Events::FINISH_ACKNOWLEDGED));
    }
}

mod fin_wait_2 {
    use super::*;

    #[test]
    fn a_fin_leads_to_time_wait_which_answers_it_again() {
        let mut fixture = Fixture::fin_wait_2();
        assert!(peer_fin(&mut fixture, 1).contains(Events::PEER_FINISHED | Events::CLOSED));
        let last = fixture.control();
        let mut time_wait = fixture.connection.time_wait(&fixture.config, fixture.now).unwrap();
        assert_eq!(time_wait.expires(), fixture.now + fixture.config.time_wait);
        let again = header(Flags::FIN | Flags::ACK, IRS + 1, ISS + 2);
        let TimeWaitAction::Ack(ack) = time_wait.on_segment(&fixture.config, fixture.now, &again, 0) else {
            panic!("the FIN is answered");
        };
        assert_eq!((ack.seq, ack.ack), (last.seq, last.ack));
    }

    #[test]
    fn silence_ends_it() {
        let mut fixture = Fixture::fin_wait_2();
        let begin = fixture.now;
        let mut events = Events::empty();
        while !events.contains(Events::CLOSED) {
            events = fixture.expire();
        }
        assert_eq!(fixture.now.since(begin), fixture.config.fin_wait_2);
        assert_eq!(fixture.connection.time_wait(&fixture.config, fixture.now), None);
        fixture.silent();
    }
}

mod close_wait {
    use super::*;

    #[test]
    fn our_half_stays_open() {
        let mut fixture = Fixture::close_wait();
        assert_eq!(fixture.send(2000), [0..2000]);
        assert!(fixture.ack(2000).contains(Events::ACKNOWLEDGED));
        assert_eq!(fixture.connection.state(), State::CloseWait);
    }

    #[test]
    fn our_fin_leads_to_last_ack_and_its_ack_to_closed() {
        let mut fixture = Fixture::close_wait();
        fixture.connection.finish();
        let _ = fixture.control();
        assert_eq!(fixture.connection.state(), State::LastAck);
        let events = fixture.ack(1);
        assert!(events.contains(Events::FINISH_ACKNOWLEDGED | Events::CLOSED));
        assert_eq!(fixture.connection.state(), State::Closed);
        assert_eq!(fixture.connection.time_wait(&fixture.config, fixture.now), None);
    }

    #[test]
    fn the_peers_fin_again_is_acknowledged_again() {
        let mut fixture = Fixture::close_wait();
        assert_eq!(peer_fin(&mut fixture, 0), Events::DROPPED);
        assert_eq!(fixture.control().ack.0, IRS + 2);
    }

    #[test]
    fn what_comes_after_the_peers_fin_is_not_delivered() {
        let mut fixture = Fixture::close_wait();
        let _ = fixture.on(header(Flags::ACK, IRS + 2, ISS + 1), b"ghost");
        assert!(fixture.delivered.is_empty());
    }
}

mod last_ack {
    use super::*;

    #[test]
    fn a_lost_fin_is_sent_again() {
        let mut fixture = Fixture::close_wait();
        fixture.connection.finish();
        let first = fixture.control();
        let _ = fixture.expire();
        assert_eq!(fixture.control().seq, first.seq);
        assert!(fixture.ack(1).contains(Events::CLOSED));
    }
}
