//! What an operator may choose, checked once.

use core::fmt;
use core::time::Duration;

/// The smallest MSS that a peer may impose, in bytes. Less is never honest and makes every segment mostly header.
pub(crate) const MSS_MIN: u16 = 48;

/// The MSS of a peer that announced none (RFC 9293 §3.7.1).
pub(crate) const MSS_DEFAULT: u16 = 536;

/// RTO before the first sample (RFC 6298 §2.1).
pub(crate) const RTO_INITIAL: Duration = Duration::from_secs(1);

/// The most that backing off may reach (RFC 6298 §2.4).
pub(crate) const RTO_MAX: Duration = Duration::from_secs(60);

/// Which law the congestion window follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// CUBIC, RFC 9438.
    #[default]
    Cubic,
    /// NewReno, RFC 5681 and 6582.
    NewReno,
}

/// When to ask a silent peer whether it is still there (RFC 9293 §3.8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes after which the connection is given up.
    pub probes: u8,
}

/// What an operator may choose about TCP. Shared by reference between all connections of a worker.
///
/// Links of different MTU and the two IP versions want different [`Config::mss_max`]: keep one `Config` for each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// The largest segment we take and send, in bytes: the link's MTU less 40 (IPv4) or 60 (IPv6). TCP options not deducted.
    pub mss_max: u16,
    /// The most a peer may have in flight towards us, in bytes. The window scale follows from it.
    pub receive_window: u32,
    /// Out-of-order payload kept per connection, in bytes; what exceeds it is dropped and not reported as received.
    pub reassembly_bytes_max: u32,
    /// The most we have in flight towards a peer, in bytes: an upper bound of cwnd, whatever the peer acknowledges.
    pub send_window_max: u32,
    /// The law of the congestion window.
    pub congestion: Algorithm,
    /// The initial window, in segments (RFC 6928: 10).
    pub initial_window_segments: u8,
    /// Keepalive; none when absent.
    pub keepalive: Option<Keepalive>,
    /// R2 of RFC 9293 §3.8.3: unanswered retransmission for so long ends the connection.
    pub user_timeout: Duration,
    /// How long a peer that answers probes may keep its window shut without taking a byte; for ever when absent (RFC 9293
    /// MUST-37). Whether we want to send does not count: without credit an owner reserves nothing.
    pub zero_window_timeout: Option<Duration>,
    /// FIN-WAIT-2 without a word from the peer for so long ends the connection.
    pub fin_wait_2: Duration,
    /// TIME-WAIT, twice the MSL.
    pub time_wait: Duration,
    /// The most an ACK waits for company (RFC 9293 §3.8.6.3: less than 0.5 s).
    pub delayed_ack: Duration,
    /// The least by which RTO exceeds SRTT.
    pub rto_min: Duration,
    /// Retransmissions of our SYN before an active open fails.
    pub syn_retries: u8,
    /// Retransmissions of our SYN-ACK before a passive open is forgotten.
    pub syn_ack_retries: u8,
    /// RFC 7323 timestamps, if the peer agrees.
    pub timestamps: bool,
    /// Selective acknowledgments, if the peer agrees.
    pub sack: bool,
    /// Whether credit is paced over the round trip.
    pub pacing: bool,
    /// The MSS to fall back to when full segments vanish without an ICMP message (RFC 8899 black hole); no detection when absent.
    pub black_hole_mss: Option<u16>,
    /// Hides the host's uptime in timestamps: any number chosen at random once per start.
    pub timestamp_key: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mss_max: 1460,
            receive_window: 256 << 10,
            reassembly_bytes_max: 64 << 10,
            send_window_max: 16 << 20,
            congestion: Algorithm::Cubic,
            initial_window_segments: 10,
            keepalive: None,
            user_timeout: Duration::from_secs(100),
            zero_window_timeout: None,
            fin_wait_2: Duration::from_secs(60),
            time_wait: Duration::from_secs(60),
            delayed_ack: Duration::from_millis(40),
            rto_min: Duration::from_millis(200),
            syn_retries: 6,
            syn_ack_retries: 5,
            timestamps: true,
            sack: true,
            pacing: true,
            black_hole_mss: Some(1200),
            timestamp_key: 0,
        }
    }
}

impl Config {
    /// Checks that the numbers make sense together.
    ///
    /// # Errors
    /// The operator's: the first number that does not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let second = Duration::from_secs(1);
        if self.mss_max < MSS_DEFAULT {
            return Err(ConfigError::MssTooSmall(self.mss_max));
        }
        if self.receive_window < u32::from(self.mss_max) || self.receive_window > 1 << 30 {
            return Err(ConfigError::ReceiveWindow(self.receive_window));
        }
        if self.send_window_max < 4 * u32::from(self.mss_max) || self.send_window_max > 1 << 30 {
            return Err(ConfigError::SendWindow(self.send_window_max));
        }
        if self.initial_window_segments == 0 {
            return Err(ConfigError::NoInitialWindow);
        }
        if self.delayed_ack >= second / 2 {
            return Err(ConfigError::DelayedAck(self.delayed_ack));
        }
        if self.rto_min < Duration::from_millis(1) || self.rto_min > RTO_MAX {
            return Err(ConfigError::RtoMin(self.rto_min));
        }
        if self.black_hole_mss.is_some_and(|mss| mss < MSS_DEFAULT) {
            return Err(ConfigError::MssTooSmall(self.black_hole_mss.unwrap_or_default()));
        }
        if self.keepalive.is_some_and(|k| k.probes == 0 || k.interval < second || k.idle < second) {
            return Err(ConfigError::Keepalive);
        }
        Ok(())
    }

    /// The shift count of RFC 7323 §2 that makes the whole receive window tellable.
    pub(crate) fn window_scale(&self) -> u8 {
        (0..14).find(|shift| self.receive_window >> shift <= u32::from(u16::MAX)).unwrap_or(14)
    }
}

/// A number in [`Config`] that cannot be meant: the operator's to correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// An MSS below 536 bytes, which every IPv4 host must accept.
    MssTooSmall(u16),
    /// A receive window below one segment or above 2³⁰ bytes (RFC 7323 §2.2).
    ReceiveWindow(u32),
    /// A send window below four segments or above 2³⁰ bytes.
    SendWindow(u32),
    /// An initial window of no segments.
    NoInitialWindow,
    /// ACKs delayed by 0.5 s or more (RFC 9293 MUST-40).
    DelayedAck(Duration),
    /// A floor of the RTO below 1 ms or above 60 s.
    RtoMin(Duration),
    /// Keepalive without probes, or more often than once a second.
    Keepalive,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MssTooSmall(mss) => {
                write!(f, "an MSS of {mss} bytes is too small: use at least {MSS_DEFAULT}")
            }
            Self::ReceiveWindow(bytes) => {
                write!(f, "a receive window of {bytes} bytes is impossible: use one MSS to 1 GiB")
            }
            Self::SendWindow(bytes) => {
                write!(f, "a send window of {bytes} bytes is impossible: use four MSS to 1 GiB")
            }
            Self::NoInitialWindow => {
                f.write_str("an initial window of 0 segments can never send: use at least 1")
            }
            Self::DelayedAck(delay) => {
                write!(f, "ACKs delayed by {delay:?} are too late: use less than 500 ms")
            }
            Self::RtoMin(rto) => write!(f, "a minimum RTO of {rto:?} is impossible: use 1 ms to 60 s"),
            Self::Keepalive => {
                f.write_str("keepalive needs at least one probe, and idle and interval of at least 1 s")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert_eq!(Config::default().validate(), Ok(()));
    }

    #[test]
    fn the_window_scale_makes_the_whole_window_tellable_and_is_no_larger() {
        let scale = |receive_window| Config { receive_window, ..Config::default() }.window_scale();
        assert_eq!(scale(65_535), 0);
        assert_eq!(scale(65_536), 1);
        assert_eq!(scale(256 << 10), 3);
        assert_eq!(scale(1 << 30), 14);
    }

    #[test]
    fn a_number_that_cannot_be_meant_is_refused_by_name() {
        let refused = |config: Config| config.validate().unwrap_err();
        let config = Config::default();
        assert_eq!(refused(Config { mss_max: 100, ..config }), ConfigError::MssTooSmall(100));
        assert_eq!(refused(Config { receive_window: 1, ..config }), ConfigError::ReceiveWindow(1));
        assert_eq!(refused(Config { send_window_max: 1, ..config }), ConfigError::SendWindow(1));
        assert_eq!(refused(Config { initial_window_segments: 0, ..config }), ConfigError::NoInitialWindow);
        let delayed_ack = Duration::from_millis(500);
        assert_eq!(refused(Config { delayed_ack, ..config }), ConfigError::DelayedAck(delayed_ack));
        assert_eq!(
            refused(Config { rto_min: Duration::ZERO, ..config }),
            ConfigError::RtoMin(Duration::ZERO)
        );
        assert_eq!(refused(Config { black_hole_mss: Some(1), ..config }), ConfigError::MssTooSmall(1));
        let keepalive =
            Some(Keepalive { idle: Duration::from_secs(9), interval: Duration::from_secs(9), probes: 0 });
        assert_eq!(refused(Config { keepalive, ..config }), ConfigError::Keepalive);
    }
}
