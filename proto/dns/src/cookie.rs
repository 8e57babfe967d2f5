//! Server cookies that every server of a name can make and check (RFC 9018).
//!
//! ```text
//! ├ version 1 ┼ reserved (3) ┼ timestamp (4) ┼ SipHash-2-4 of client cookie, the first 8 bytes, client address (8) ┤
//! ```

use core::net::IpAddr;
use siphasher::sip::SipHasher24;

/// A server cookie of ours, in bytes.
pub const SERVER_COOKIE_BYTES: usize = 16;

/// A cookie is accepted for an hour, and five minutes before its time (RFC 9018 §4.3).
const PAST_SECONDS_MAX: u32 = 3_600;
const FUTURE_SECONDS_MAX: u32 = 300;
/// One that is older than half an hour is answered with another (RFC 9018 §4.3).
const FRESH_SECONDS_MAX: u32 = 1_800;

/// What servers that share a name share as well.
#[derive(Clone, Copy)]
pub struct Secret(pub [u8; 16]);

impl core::fmt::Debug for Secret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// The server cookie for this client, made now (seconds since 1970, modulo 2³²).
    #[must_use]
    pub fn server_cookie(&self, client: [u8; 8], address: IpAddr, now: u32) -> [u8; SERVER_COOKIE_BYTES] {
        let mut cookie = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        cookie[4..8].copy_from_slice(&now.to_be_bytes());
        let hash = self.hash(client, &cookie, address);
        cookie[8..].copy_from_slice(&hash);
        cookie
    }

    /// Whether we, or a server that shares our secret, made this cookie for this client, lately.
    #[must_use]
    pub fn accepts(&self, client: [u8; 8], cookie: &[u8], address: IpAddr, now: u32) -> bool {
        <[u8; SERVER_COOKIE_BYTES]>::try_from(cookie)
            .is_ok_and(|cookie| self.age_of(client, &cookie, address, now).is_some())
    }

    /// The server cookie to answer with, and whether the one that was sent counts: it is sent back while it is fresh, since
    /// both cost a hash.
    #[must_use]
    pub fn answer(
        &self,
        client: [u8; 8],
        sent: &[u8],
        address: IpAddr,
        now: u32,
    ) -> ([u8; SERVER_COOKIE_BYTES], bool) {
        let sent = <[u8; SERVER_COOKIE_BYTES]>::try_from(sent).ok();
        let age = sent.and_then(|cookie| self.age_of(client, &cookie, address, now));
        match (sent, age) {
            (Some(cookie), Some(age)) if age <= FRESH_SECONDS_MAX => (cookie, true),
            _ => (self.server_cookie(client, address, now), age.is_some()),
        }
    }

    /// How old this cookie of ours is, 0 if its time is yet to come; nothing if it does not count.
    fn age_of(
        &self,
        client: [u8; 8],
        cookie: &[u8; SERVER_COOKIE_BYTES],
        address: IpAddr,
        now: u32,
    ) -> Option<u32> {
        let made = u32::from_be_bytes([cookie[4], cookie[5], cookie[6], cookie[7]]);
        // Serial arithmetic (RFC 1982): one of the two differences is small.
        let age = now.wrapping_sub(made);
        let early = age.wrapping_neg() <= FUTURE_SECONDS_MAX;
        let hash = self.hash(client, cookie, address);
        // All eight bytes, whatever the first says.
        let differing = hash.iter().zip(&cookie[8..]).fold(0, |bits, (a, b)| bits | a ^ b);
        let counts = cookie[0] == 1 && (age <= PAST_SECONDS_MAX || early) && differing == 0;
        counts.then_some(if early { 0 } else { age })
    }

    fn hash(&self, client: [u8; 8], cookie: &[u8; SERVER_COOKIE_BYTES], address: IpAddr) -> [u8; 8] {
        let mut text = [0; 32];
        text[..8].copy_from_slice(&client);
        text[8..16].copy_from_slice(&cookie[..8]);
        let bytes = match address {
            IpAddr::V4(v4) => {
                text[16..20].copy_from_slice(&v4.octets());
                20
            }
            IpAddr::V6(v6) => {
                text[16..].copy_from_slice(&v6.octets());
                32
            }
        };
        SipHasher24::new_with_key(&self.0).hash(&text[..bytes]).to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9018 appendix A.1 and A.2: the client cookie, the secret and the address of the examples.
    const SECRET: Secret = Secret([
        0xe5, 0xe9, 0x73, 0xe5, 0xa6, 0xb2, 0xa4, 0x3f, 0x48, 0xe7, 0xdc, 0x84, 0x9e, 0x37, 0xbf, 0xcf,
    ]);
    const CLIENT: [u8; 8] = [0x24, 0x64, 0xc4, 0xab, 0xcf, 0x10, 0xc9, 0x57];

    #[test]
    fn the_cookie_of_appendix_a1_is_ours() {
        let cookie = SECRET.server_cookie(CLIENT, IpAddr::from([198, 51, 100, 100]), 1_559_731_985);
        let expected =
            [0x01, 0, 0, 0, 0x5c, 0xf7, 0x9f, 0x11, 0x1f, 0x81, 0x30, 0xc3, 0xee, 0xe2, 0x94, 0x80];
        assert_eq!(cookie, expected);
    }

    #[test]
    fn a_cookie_serves_its_client_for_an_hour() {
        let at = IpAddr::from([198, 51, 100, 100]);
        let cookie = SECRET.server_cookie(CLIENT, at, 10_000);
        assert!(SECRET.accepts(CLIENT, &cookie, at, 10_000));
        assert!(SECRET.accepts(CLIENT, &cookie, at, 13_600));
        assert!(!SECRET.accepts(CLIENT, &cookie, at, 13_601));
        assert!(SECRET.accepts(CLIENT, &cookie, at, 9_700));
        assert!(!SECRET.accepts(CLIENT, &cookie, at, 9_699));
        assert!(!SECRET.accepts(CLIENT, &cookie, IpAddr::from([198, 51, 100, 101]), 10_000));
        assert!(!SECRET.accepts([0; 8], &cookie, at, 10_000));
        assert!(!SECRET.accepts(CLIENT, &cookie[..15], at, 10_000));
    }

    #[test]
    fn a_fresh_cookie_is_sent_back_and_an_old_one_is_answered_with_another() {
        let at = IpAddr::from([198, 51, 100, 100]);
        let cookie = SECRET.server_cookie(CLIENT, at, 10_000);
        let new_at = |now| (SECRET.server_cookie(CLIENT, at, now), true);
        assert_eq!(SECRET.answer(CLIENT, &cookie, at, 10_000), (cookie, true));
        assert_eq!(SECRET.answer(CLIENT, &cookie, at, 9_800), (cookie, true));
        assert_eq!(SECRET.answer(CLIENT, &cookie, at, 11_800), (cookie, true));
        assert_eq!(SECRET.answer(CLIENT, &cookie, at, 11_801), new_at(11_801));
        assert_eq!(SECRET.answer(CLIENT, &cookie, at, 13_601), (new_at(13_601).0, false));
        assert_eq!(SECRET.answer(CLIENT, &cookie[..8], at, 10_000), (cookie, false));
        assert_eq!(SECRET.answer(CLIENT, &[], at, 10_000), (cookie, false));
        let elsewhere = IpAddr::from([198, 51, 100, 101]);
        let theirs = SECRET.server_cookie(CLIENT, elsewhere, 10_000);
        assert_eq!(SECRET.answer(CLIENT, &cookie, elsewhere, 10_000), (theirs, false));
    }

    #[test]
    fn time_goes_round_and_cookies_with_it() {
        let at = IpAddr::from([192, 0, 2, 1]);
        let cookie = SECRET.server_cookie(CLIENT, at, u32::MAX - 10);
        assert!(SECRET.accepts(CLIENT, &cookie, at, 20));
    }
}
