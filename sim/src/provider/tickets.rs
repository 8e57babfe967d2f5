//! Session tickets whose key and nonces come from the seed.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use core::fmt;
use rustls::server::ProducesTickets;
use std::sync::Mutex;

use crate::random::Dice;

/// Tickets sealed with AES-256-GCM: `nonce ‖ ciphertext ‖ tag`.
pub struct SeededTickets {
    key: LessSafeKey,
    nonces: Mutex<Dice>,
}

impl SeededTickets {
    /// Tickets under a key from `dice`.
    ///
    /// # Panics
    /// Never: the key has the length of the algorithm.
    #[must_use]
    pub fn new(mut dice: Dice) -> Self {
        let mut key = [0; 32];
        dice.fill(&mut key);
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("32 bytes");
        Self { key: LessSafeKey::new(key), nonces: Mutex::new(dice) }
    }
}

impl fmt::Debug for SeededTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeededTickets").finish_non_exhaustive()
    }
}

impl ProducesTickets for SeededTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        12 * 60 * 60
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        self.nonces.lock().ok()?.fill(&mut nonce);
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = cipher.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let plain =
            self.key.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut sealed).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Seed;

    #[test]
    fn a_ticket_opens_only_whole_and_only_under_its_key() {
        let tickets = SeededTickets::new(Seed(1).dice("tickets", 0));
        let ticket = tickets.encrypt(b"state").unwrap();
        assert_eq!(tickets.decrypt(&ticket).unwrap(), b"state");
        for len in 0..ticket.len() {
            assert_eq!(tickets.decrypt(&ticket[..len]), None);
        }
        assert_eq!(SeededTickets::new(Seed(2).dice("tickets", 0)).decrypt(&ticket), None);
    }
}
