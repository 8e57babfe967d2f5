//! RFC 5961: what an attacker may try who cannot see the connection. And PAWS, which is as blind.

use super::fixture::*;
use crate::{Config, Events, Flags, State, Timestamps};

//= RFC 5961 §3.2
#[test]
fn a_reset_in_the_window_is_challenged() {
    let mut fixture = Fixture::established();
    assert_eq!(fixture.on(header(Flags::RST, IRS + 2, 0), b""), Events::DROPPED);
    assert_eq!(fixture.connection.state(), State::Established);
    let challenge = fixture.control();
    assert_eq!((challenge.flags, challenge.seq.0, challenge.ack.0), (Flags::ACK, ISS + 1, IRS + 1));
}

#[test]
fn a_reset_outside_the_window_is_dropped_in_silence() {
    let mut fixture = Fixture::established();
    assert_eq!(fixture.on(header(Flags::RST, IRS, 0), b""), Events::DROPPED);
    assert_eq!(fixture.on(header(Flags::RST, IRS + 2 + (256 << 10), 0), b""), Events::DROPPED);
    fixture.silent();
}

#[test]
fn a_reset_at_the_exact_number_is_believed() {
    let mut fixture = Fixture::established();
    assert_eq!(fixture.on(header(Flags::RST, IRS + 1, 0), b""), Events::RESET | Events::CLOSED);
    fixture.silent();
}

//= RFC 5961 §4.2: "If the SYN bit is set, irrespective of the sequence number, TCP MUST send an ACK"
#[test]
fn a_syn_is_challenged_wherever_it_lies() {
    for seq in [IRS, IRS + 1, IRS + 500, 0] {
        let mut fixture = Fixture::established();
        assert_eq!(fixture.on(header(Flags::SYN, seq, 0), b""), Events::DROPPED);
        assert_eq!(fixture.control().ack.0, IRS + 1);
        assert_eq!(fixture.connection.state(), State::Established);
    }
}

//= RFC 5961 §5.2: "MAX.SND.WND ... ((SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT)"
#[test]
fn data_with_an_acknowledgment_from_nowhere_is_not_delivered() {
    for ack in [ISS + 2, ISS.wrapping_sub(70_000), ISS + (1 << 30)] {
        let mut fixture = Fixture::established();
        assert_eq!(fixture.on(header(Flags::ACK, IRS + 1, ack), b"injected"), Events::DROPPED);
        assert!(fixture.delivered.is_empty());
        assert_eq!(fixture.control().ack.0, IRS + 1);
    }
}

#[test]
fn data_with_an_old_acknowledgment_is_delivered() {
    let mut fixture = Fixture::established();
    fixture.send(5000);
    let _ = fixture.ack(5000);
    assert!(fixture.on(header(Flags::ACK, IRS + 1, ISS + 1), b"late").contains(Events::DELIVERED));
    assert_eq!(fixture.connection.acknowledged(), 5000);
}

//= RFC 5961 §7: challenge ACKs are throttled
#[test]
fn challenges_are_few() {
    let mut fixture = Fixture::established();
    let mut answered = 0;
    for _ in 0..1000 {
        let _ = fixture.on(header(Flags::SYN, IRS, 0), b"");
        answered += usize::from(fixture.poll().is_some());
    }
    assert_eq!(answered, 10);
    fixture.pass(SECOND * 5);
    let _ = fixture.on(header(Flags::SYN, IRS, 0), b"");
    let _ = fixture.control();
}

#[test]
fn a_segment_without_ack_is_dropped() {
    let mut fixture = Fixture::established();
    assert_eq!(fixture.on(header(Flags::empty(), IRS + 1, 0), b"data"), Events::DROPPED);
    assert_eq!(fixture.on(header(Flags::FIN, IRS + 1, 0), b""), Events::DROPPED);
    fixture.silent();
}

mod with_timestamps {
    use super::*;

    fn established() -> Fixture {
        Fixture::established_with(Config { timestamps: true, ..plain() })
    }

    //= RFC 7323 §5.3 R1
    #[test]
    fn an_older_timestamp_is_answered_and_not_used() {
        let mut fixture = established();
        fixture.ts = Some(99);
        assert_eq!(fixture.on(header(Flags::ACK, IRS + 1, ISS + 1), b"old"), Events::DROPPED);
        assert!(fixture.delivered.is_empty());
        assert_eq!(fixture.control().options.timestamps.map(|ts| ts.echo), Some(100));
    }

    //= RFC 7323 §5.3 R1: a RST is not subject to PAWS
    #[test]
    fn a_reset_needs_no_timestamp() {
        let mut fixture = established();
        fixture.ts = None;
        assert_eq!(fixture.on(header(Flags::RST, IRS + 1, 0), b""), Events::RESET | Events::CLOSED);
    }

    //= RFC 7323 §3.2: "If a non-<RST> segment is received without a TSopt, a TCP SHOULD silently drop the segment"
    #[test]
    fn a_segment_without_timestamps_is_dropped_in_silence() {
        let mut fixture = established();
        fixture.ts = None;
        assert_eq!(fixture.on(header(Flags::ACK, IRS + 1, ISS + 1), b"bare"), Events::DROPPED);
        fixture.silent();
    }

    //= RFC 7323 §4.3: TS.Recent follows only what covers Last.ACK.sent
    #[test]
    fn what_came_early_does_not_move_the_echo() {
        let mut fixture = established();
        fixture.ts = Some(500);
        let _ = fixture.on(header(Flags::ACK, IRS + 11, ISS + 1), b"early");
        assert_eq!(fixture.control().options.timestamps.map(|ts| ts.echo), Some(100));
        fixture.ts = Some(400);
        let _ = fixture.on(header(Flags::ACK, IRS + 1, ISS + 1), b"0123456789");
        assert_eq!(fixture.control().options.timestamps.map(|ts| ts.echo), Some(400));
    }

    #[test]
    fn every_segment_carries_a_timestamp_even_the_reset() {
        let mut fixture = established();
        fixture.connection.abort();
        let reset = fixture.control();
        assert!(matches!(reset.options.timestamps, Some(Timestamps { echo: 100, .. })));
    }
}
