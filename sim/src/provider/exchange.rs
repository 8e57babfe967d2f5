//! X25519 (RFC 7748) with a private key from the seed.

use rustls::crypto::{ActiveKeyExchange, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

use super::SeededRandom;

/// The key-exchange group of the seeded provider.
#[derive(Debug)]
pub struct X25519 {
    random: &'static SeededRandom,
}

impl X25519 {
    /// A group that draws its private keys from `random`.
    #[must_use]
    pub fn new(random: &'static SeededRandom) -> Self {
        Self { random }
    }
}

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let private = self.random.bytes();
        Ok(Box::new(Exchange { public: x25519(private, X25519_BASEPOINT_BYTES), private }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct Exchange {
    private: [u8; 32],
    public: [u8; 32],
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer: [u8; 32] = peer.try_into().map_err(|_| Error::from(PeerMisbehaved::InvalidKeyShare))?;
        let shared = x25519(self.private, peer);
        // A low-order point gives zero (RFC 7748 §6.1).
        if shared == [0; 32] {
            return Err(PeerMisbehaved::InvalidKeyShare.into());
        }
        Ok(SharedSecret::from(&shared[..]))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Seed;

    fn group() -> X25519 {
        X25519::new(SeededRandom::leaked(Seed(1).dice("exchange", 0)))
    }

    #[test]
    fn both_sides_reach_the_same_secret() {
        let group = group();
        let (client, server) = (group.start().unwrap(), group.start().unwrap());
        let (for_client, for_server) = (server.pub_key().to_vec(), client.pub_key().to_vec());
        assert_ne!(for_client, for_server);
        let one = client.complete(&for_client).unwrap();
        let other = server.complete(&for_server).unwrap();
        assert_eq!(one.secret_bytes(), other.secret_bytes());
    }

    #[test]
    fn aws_lc_reaches_the_same_secret() {
        use aws_lc_rs::{agreement, rand::SystemRandom};
        let theirs =
            agreement::EphemeralPrivateKey::generate(&agreement::X25519, &SystemRandom::new()).unwrap();
        let their_public = theirs.compute_public_key().unwrap();
        let ours = group().start().unwrap();
        let our_public = agreement::UnparsedPublicKey::new(&agreement::X25519, ours.pub_key().to_vec());
        let shared = ours.complete(their_public.as_ref()).unwrap();
        agreement::agree_ephemeral(theirs, our_public, (), |secret| {
            assert_eq!(secret, shared.secret_bytes());
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_low_order_point_and_a_short_one_are_refused() {
        for peer in [&[0; 32][..], &[9; 31]] {
            assert!(group().start().unwrap().complete(peer).is_err());
        }
    }
}
