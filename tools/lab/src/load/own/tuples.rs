//! Local addresses and ports, in turn, and where a connection's sequence numbers begin.

use clock::Instant;
use core::net::{IpAddr, SocketAddr};

use stack::FourTuple;

/// Ports that connections come from. Our own stack keeps none for itself.
const PORT_MIN: u16 = 1_024;
const PORTS: u64 = (u16::MAX - PORT_MIN) as u64 + 1;

/// Hands out tuples: each comes around again after all others.
#[derive(Debug)]
pub(super) struct Tuples {
    addresses: Vec<IpAddr>,
    /// Counts the tuples that were tried.
    turn: u64,
    secret: u64,
}

impl Tuples {
    pub(super) fn new(addresses: impl Iterator<Item = IpAddr>, secret: u64) -> Self {
        Self { addresses: addresses.collect(), turn: 0, secret }
    }

    /// The next tuple towards `peer` that is free; `None` when none is.
    pub(super) fn next(
        &mut self,
        peer: SocketAddr,
        is_free: impl Fn(&FourTuple) -> bool,
    ) -> Option<FourTuple> {
        let of_family = |ip: &&IpAddr| ip.is_ipv4() == peer.is_ipv4() && !is_link_local(**ip);
        let count = self.addresses.iter().filter(of_family).count() as u64;
        for _ in 0..count * PORTS {
            let turn = self.turn;
            self.turn += 1;
            let index = usize::try_from(turn % count).unwrap_or(0);
            let ip = *self.addresses.iter().filter(of_family).nth(index)?;
            let port = PORT_MIN + u16::try_from(turn / count % PORTS).unwrap_or(0);
            let tuple = FourTuple { local: SocketAddr::new(ip, port), peer };
            if is_free(&tuple) {
                return Some(tuple);
            }
        }
        None
    }

    /// RFC 6528 §3: a clock of 4 µs ticks, and a number that only we can tell from the tuple. A tuple that is used again
    /// begins beyond where it ended.
    pub(super) fn initial_sequence_number(&self, now: Instant, tuple: &FourTuple) -> u32 {
        let mut mixed = self.secret;
        for end in [tuple.local, tuple.peer] {
            let ip = match end.ip() {
                IpAddr::V4(ip) => u128::from(u32::from(ip)),
                IpAddr::V6(ip) => u128::from(ip),
            };
            for word in [low(ip), low(ip >> 64), u64::from(end.port())] {
                mixed = mix(mixed ^ word);
            }
        }
        low32(now.as_micros() / 4).wrapping_add(low32(mixed))
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
fn low(word: u128) -> u64 {
    word as u64
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is wanted")]
fn low32(word: u64) -> u32 {
    word as u32
}

/// The finaliser of SplitMix64: every bit of the input moves every bit of the output.
fn mix(word: u64) -> u64 {
    let mut z = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const PEER: &str = "198.18.1.2:80";

    fn tuples() -> Tuples {
        Tuples::new(["198.18.2.1", "198.18.2.2", "fe80::1"].map(|ip| ip.parse().unwrap()).into_iter(), 7)
    }

    #[test]
    fn a_tuple_comes_again_after_all_others() {
        let (mut tuples, mut seen) = (tuples(), HashSet::new());
        let all = 2 * usize::try_from(PORTS).unwrap();
        for _ in 0..all {
            assert!(seen.insert(tuples.next(PEER.parse().unwrap(), |_| true).unwrap()));
        }
        assert!(seen.contains(&tuples.next(PEER.parse().unwrap(), |_| true).unwrap()));
    }

    #[test]
    fn one_that_is_taken_is_passed_over_and_none_is_none() {
        let mut tuples = tuples();
        let odd = |tuple: &FourTuple| tuple.local.port() % 2 == 1;
        assert_eq!(tuples.next(PEER.parse().unwrap(), odd).unwrap().local.port(), 1_025);
        assert_eq!(tuples.next(PEER.parse().unwrap(), |_| false), None);
        assert_eq!(tuples.next("[2001:db8::1]:80".parse().unwrap(), |_| true), None);
    }

    //= RFC 6528 §3
    #[test]
    fn a_tuple_s_sequence_numbers_grow_with_time() {
        let (tuples, at) = (tuples(), |ms: u64| Instant::from_nanos(ms * 1_000_000));
        let tuple = FourTuple { local: "198.18.2.1:1024".parse().unwrap(), peer: PEER.parse().unwrap() };
        let other = FourTuple { local: "198.18.2.1:1025".parse().unwrap(), ..tuple };
        let (first, later) = (
            tuples.initial_sequence_number(at(10), &tuple),
            tuples.initial_sequence_number(at(1_010), &tuple),
        );
        assert_eq!(later.wrapping_sub(first), 250_000);
        assert_ne!(first, tuples.initial_sequence_number(at(10), &other));
    }
}
