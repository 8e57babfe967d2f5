use super::*;
use crate::FourTuple;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv6Addr};
use proptest::prelude::*;

fn key(local: IpAddr, peer: IpAddr, local_port: u16, peer_port: u16) -> TupleKey {
    let tuple = FourTuple { local: (local, local_port).into(), peer: (peer, peer_port).into() };
    TupleKey::new(&tuple).unwrap()
}

/// A peer that uses all its ports in order, as hosts do.
fn ports_in_a_row() -> Vec<TupleKey> {
    (1..=u16::MAX).map(|port| key([192, 0, 2, 1].into(), [198, 51, 100, 7].into(), 443, port)).collect()
}

/// How many steps a look-up takes on average in a table at half load with linear probing.
fn steps(hash: &TupleHash, keys: &[TupleKey]) -> f64 {
    let mask = (keys.len() * 2).next_power_of_two() - 1;
    let mut buckets = alloc::vec![false; mask + 1];
    let mut steps = 0_usize;
    for key in keys {
        let mut at = hash.hash(key) as usize & mask;
        steps += 1;
        while core::mem::replace(&mut buckets[at], true) {
            at = (at + 1) & mask;
            steps += 1;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    {
        steps as f64 / keys.len() as f64
    }
}

#[test]
fn ports_in_a_row_make_no_long_runs_whatever_the_secret_is() {
    let keys = ports_in_a_row();
    for secret in 0..20 {
        // Linear probing with perfect hashes takes 1.5 at half load (Knuth).
        let steps = steps(&TupleHash::new(HashKey::new([secret; 16])), &keys);
        assert!(steps < 1.7, "{steps} steps with secret {secret}");
    }
}

#[test]
fn addresses_that_differ_in_few_bits_make_no_long_runs() {
    let addresses = |bit: u32| Ipv6Addr::from_bits(0x2001_0db8 << 96 | 1 << bit);
    let keys: Vec<_> = (0..96)
        .flat_map(|bit| (0..200).map(move |port| (bit, port)))
        .map(|(bit, port)| key(Ipv6Addr::LOCALHOST.into(), addresses(bit).into(), 443, 1_024 + port))
        .collect();
    for secret in 0..20 {
        let steps = steps(&TupleHash::new(HashKey::new([secret; 16])), &keys);
        assert!(steps < 1.8, "{steps} steps with secret {secret}");
    }
}

#[test]
fn every_secret_gives_another_hash() {
    let one = key([192, 0, 2, 1].into(), [198, 51, 100, 7].into(), 443, 50_000);
    let hashes: BTreeSet<_> =
        (0..=255).map(|secret| TupleHash::new(HashKey::new([secret; 16])).hash(&one)).collect();
    assert_eq!(hashes.len(), 256);
}

proptest! {
    #[test]
    fn reduction_is_division(value in 0_u128..1 << 124) {
        prop_assert_eq!(u128::from(reduce(value)), value % u128::from(PRIME));
    }

    /// The inner product of secrets at their largest with words at theirs is still in the range of a reduction.
    #[test]
    fn any_tuple_has_a_hash(local: u128, peer: u128, ports: (u16, u16), secret: [u8; 16]) {
        let hash = TupleHash::new(HashKey::new(secret));
        let six = key(Ipv6Addr::from_bits(local).into(), Ipv6Addr::from_bits(peer).into(), ports.0, ports.1);
        prop_assert_eq!(hash.hash(&six), hash.hash(&six));
    }
}
