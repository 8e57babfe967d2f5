//! SYN cookies (RFC 4987 §3.6): a listener with a full backlog answers without remembering.
//!
//! ```text
//!   ISS       31    27 26  24 23                                     0
//!            │ time   │ MSS  │ keyed hash(tuple, time, MSS, IRS)      │
//!   TSval     … clock │ sack │ window scale │                             when the peer offers timestamps
//! ```
//!
//! The ISS carries the MSS and proves that the peer saw our SYN-ACK; the timestamp that comes back carries what else
//! the SYN offered. There is no cryptography here: the caller brings a keyed hash that covers the connection's
//! addresses and ports. Secrets rotate outside: on the way back try the current one, then the one before.

use crate::config::Config;
use crate::timestamps::TimestampClock;
use clock::Instant;
use wire::tcp::{Flags, Header, Options, SeqNum, Timestamps};

/// What an MSS is rounded down to: three bits tell it. The most frequent announcements of the day.
const MSS_TABLE: [u16; 8] = [536, 1200, 1300, 1360, 1400, 1440, 1460, 8960];

/// A tick of a cookie's clock, in seconds, as a power of two.
const TICK_S_LOG2: u64 = 6;

/// A cookie is good in the tick that made it and in the next: 64 to 128 s.
const TICKS_VALID: u64 = 2;

/// The bits of TSval that tell what the SYN offered: window scale (15 for none), SACK.
const SCALE_MASK: u32 = 0xf;
const SCALE_NONE: u32 = 0xf;
const SACK_BIT: u32 = 0x10;
const OFFER_MASK: u32 = 0x1f;

/// What a valid cookie says of the SYN it answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieParams {
    /// The peer's MSS, rounded down.
    pub mss: u16,
    /// The peer's window scale, if both sides use timestamps to remember it.
    pub window_scale: Option<u8>,
    /// Whether SACK was agreed.
    pub sack_permitted: bool,
}

/// The SYN-ACK that answers `syn` with a cookie. `hash` is keyed, and covers the connection's addresses and ports
/// besides what it is given.
#[must_use]
pub fn syn_ack(config: &Config, now: Instant, syn: &Header, hash: &dyn Fn(&[u8]) -> u64) -> Header {
    let offered = syn.options.mss.unwrap_or(MSS_TABLE[0]).min(config.mss_max);
    let index = MSS_TABLE.iter().rposition(|&mss| mss <= offered).unwrap_or(0);
    let index = u32::try_from(index).unwrap_or(0);
    let iss = cookie(tick(now), index, syn.seq, hash);
    let timestamps = syn.options.timestamps.filter(|_| config.timestamps);
    let sack = syn.options.sack_permitted && config.sack;
    // Without a timestamp there is nowhere to remember the rest.
    let scale = syn.options.window_scale.filter(|_| timestamps.is_some()).map(|shift| shift.min(14));
    let value = |echo| {
        let clock = TimestampClock::new(TimestampClock::offset_for(iss, config.timestamp_key)).value(now);
        let offer = scale.map_or(SCALE_NONE, u32::from) | if sack { SACK_BIT } else { 0 };
        // The latest time with these bits that is not in the future: the clock never seems to go back.
        let value = (clock & !OFFER_MASK) | offer;
        let value = if value.wrapping_sub(clock).cast_signed() > 0 {
            value.wrapping_sub(OFFER_MASK + 1)
        } else {
            value
        };
        Timestamps { value, echo }
    };
    Header {
        source_port: syn.destination_port,
        destination_port: syn.source_port,
        seq: iss,
        ack: syn.seq + 1,
        flags: Flags::SYN | Flags::ACK,
        window: u16::try_from(config.receive_window).unwrap_or(u16::MAX),
        urgent: 0,
        options: Options {
            mss: Some(config.mss_max),
            window_scale: scale.map(|_| config.window_scale()),
            sack_permitted: sack && timestamps.is_some(),
            timestamps: timestamps.map(|offered| value(offered.value)),
            ..Options::NONE
        },
    }
}

/// Whether `ack` returns a cookie of ours: what it says, for [`crate::Connection::accept_cookie`].
#[must_use]
pub fn check(
    config: &Config,
    now: Instant,
    ack: &Header,
    hash: &dyn Fn(&[u8]) -> u64,
) -> Option<CookieParams> {
    if ack.flags & (Flags::ACK | Flags::SYN | Flags::RST) != Flags::ACK {
        return None;
    }
    let SeqNum(iss) = ack.ack - 1;
    let index = (iss >> 24) & 7;
    let now_tick = tick(now);
    let made = (0..TICKS_VALID)
        .filter_map(|age| now_tick.checked_sub(age))
        .find(|made| made & 31 == u64::from(iss >> 27))?;
    if cookie(made, index, ack.seq - 1, hash) != SeqNum(iss) {
        return None;
    }
    let offer = ack
        .options
        .timestamps
        .filter(|_| config.timestamps)
        .map_or(SCALE_NONE, |timestamps| timestamps.echo & OFFER_MASK);
    Some(CookieParams {
        mss: *MSS_TABLE.get(usize::try_from(index).ok()?)?,
        window_scale: u8::try_from(offer & SCALE_MASK).ok().filter(|&shift| u32::from(shift) != SCALE_NONE),
        sack_permitted: offer & SACK_BIT != 0,
    })
}

fn tick(now: Instant) -> u64 {
    (now.as_millis() / 1000) >> TICK_S_LOG2
}

fn cookie(tick: u64, index: u32, irs: SeqNum, hash: &dyn Fn(&[u8]) -> u64) -> SeqNum {
    let mut input = [0; 16];
    input[..8].copy_from_slice(&tick.to_be_bytes());
    input[8..12].copy_from_slice(&index.to_be_bytes());
    input[12..].copy_from_slice(&irs.0.to_be_bytes());
    let [.., a, b, c] = hash(&input).to_be_bytes();
    let [.., time] = tick.to_be_bytes();
    SeqNum(u32::from(time & 31) << 27 | index << 24 | u32::from_be_bytes([0, a, b, c]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamps::ticks;
    use core::time::Duration;

    /// FNV-1a with a key: tests need no better.
    fn keyed(key: u64) -> impl Fn(&[u8]) -> u64 {
        move |bytes| {
            bytes.iter().fold(key, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        }
    }

    fn syn(options: Options) -> Header {
        Header {
            source_port: 50_000,
            destination_port: 443,
            seq: SeqNum(u32::MAX),
            ack: SeqNum(0),
            flags: Flags::SYN,
            window: 64_000,
            urgent: 0,
            options,
        }
    }

    fn full_offer() -> Options {
        Options {
            mss: Some(1460),
            window_scale: Some(7),
            sack_permitted: true,
            timestamps: Some(Timestamps { value: 5, echo: 0 }),
            ..Options::NONE
        }
    }

    /// The ACK an honest peer returns.
    fn ack_of(syn_ack: &Header) -> Header {
        Header {
            source_port: 50_000,
            destination_port: 443,
            seq: syn_ack.ack,
            ack: syn_ack.seq + 1,
            flags: Flags::ACK,
            window: 500,
            urgent: 0,
            options: Options {
                timestamps: syn_ack.options.timestamps.map(|ts| Timestamps { value: 6, echo: ts.value }),
                ..Options::NONE
            },
        }
    }

    fn at(s: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(s)
    }

    #[test]
    fn a_cookie_remembers_mss_scale_and_sack() {
        let config = Config::default();
        let syn_ack = syn_ack(&config, at(1000), &syn(full_offer()), &keyed(1));
        assert_eq!(syn_ack.ack, SeqNum(0));
        let params = check(&config, at(1010), &ack_of(&syn_ack), &keyed(1)).unwrap();
        assert_eq!(params, CookieParams { mss: 1460, window_scale: Some(7), sack_permitted: true });
    }

    #[test]
    fn without_timestamps_only_the_mss_is_remembered_and_only_that_is_agreed() {
        let config = Config::default();
        let options = Options { timestamps: None, mss: Some(1380), ..full_offer() };
        let syn_ack = syn_ack(&config, at(1000), &syn(options), &keyed(1));
        assert_eq!((syn_ack.options.window_scale, syn_ack.options.sack_permitted), (None, false));
        let params = check(&config, at(1000), &ack_of(&syn_ack), &keyed(1)).unwrap();
        assert_eq!(params, CookieParams { mss: 1360, window_scale: None, sack_permitted: false });
    }

    #[test]
    fn a_cookie_is_good_for_at_least_a_tick_and_not_for_three() {
        let config = Config::default();
        for made in [1000_u64, 1023, 1024, 100_000] {
            let syn_ack = syn_ack(&config, at(made), &syn(full_offer()), &keyed(1));
            let good = |s| check(&config, at(s), &ack_of(&syn_ack), &keyed(1)).is_some();
            assert!(good(made + 64));
            assert!(!good(made + 192));
        }
    }

    #[test]
    fn another_key_or_another_number_is_no_cookie() {
        let config = Config::default();
        let syn_ack = syn_ack(&config, at(1000), &syn(full_offer()), &keyed(1));
        let ack = ack_of(&syn_ack);
        assert_eq!(check(&config, at(1000), &ack, &keyed(2)), None);
        assert_eq!(check(&config, at(1000), &Header { ack: ack.ack + 1, ..ack }, &keyed(1)), None);
        assert_eq!(check(&config, at(1000), &Header { seq: ack.seq + 1, ..ack }, &keyed(1)), None);
        assert_eq!(
            check(&config, at(1000), &Header { flags: Flags::RST | Flags::ACK, ..ack }, &keyed(1)),
            None
        );
    }

    #[test]
    fn the_timestamp_is_never_in_the_future_and_at_most_a_few_ticks_old() {
        let config = Config::default();
        for ms in 0..100 {
            let now = at(1000) + Duration::from_millis(ms);
            let syn_ack = syn_ack(&config, now, &syn(full_offer()), &keyed(1));
            let value = syn_ack.options.timestamps.unwrap().value;
            let clock =
                ticks(now).wrapping_add(TimestampClock::offset_for(syn_ack.seq, config.timestamp_key));
            assert!(clock.wrapping_sub(value) <= 2 * OFFER_MASK);
        }
    }
}
