//! What the path is like, and what of it makes no sense.

use core::fmt;
use core::time::Duration;

use crate::pool::Pool;
use crate::random::{below, mix};

/// No path keeps a packet longer than this, in sum: delay, queue and reordering.
const HELD_MAX: Duration = Duration::from_secs(3_600);

/// A probability, in parts of a thousand million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Probability(u32);

impl Probability {
    /// It does not happen.
    pub const NEVER: Self = Self(0);
    /// It happens every time.
    pub const ALWAYS: Self = Self(1_000_000_000);

    /// So many times in a thousand million; `None` above that.
    #[must_use]
    pub const fn new(per_billion: u32) -> Option<Self> {
        if per_billion <= Self::ALWAYS.0 { Some(Self(per_billion)) } else { None }
    }

    /// How many times in a thousand million.
    #[must_use]
    pub const fn per_billion(self) -> u32 {
        self.0
    }
}

/// A range of delays, both ends included, and how many flows it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Band {
    /// The shortest delay.
    pub low: Duration,
    /// The longest delay.
    pub high: Duration,
    /// Its share of the flows, relative to the weights of the other bands.
    pub weight: u32,
}

/// The bands from which flows draw their delays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bands(Vec<Band>);

impl Bands {
    /// Some bands.
    ///
    /// # Errors
    /// There is none, one ends before it begins, or none has any weight.
    pub fn new(bands: Vec<Band>) -> Result<Self, ConfigError> {
        if let Some(band) = bands.iter().find(|band| band.low > band.high) {
            return Err(ConfigError::BandBackwards { low: band.low, high: band.high });
        }
        if bands.iter().all(|band| band.weight == 0) {
            return Err(ConfigError::NoBand);
        }
        Ok(Self(bands))
    }

    /// The same delay for every flow.
    #[must_use]
    pub fn constant(delay: Duration) -> Self {
        Self(vec![Band { low: delay, high: delay, weight: 1 }])
    }

    /// Those of the dissertation (§4.4): evenly from 10 to 40 ms.
    #[must_use]
    pub fn dissertation() -> Self {
        Self(vec![Band { low: Duration::from_millis(10), high: Duration::from_millis(40), weight: 1 }])
    }

    /// The bands.
    #[must_use]
    pub fn as_slice(&self) -> &[Band] {
        &self.0
    }

    /// The delay of the flow with this hash.
    #[must_use]
    pub fn delay_of(&self, hash: u64) -> Duration {
        let weights = self.0.iter().map(|band| u64::from(band.weight)).sum();
        let mut ticket = below(hash, weights);
        for band in &self.0 {
            let weight = u64::from(band.weight);
            if ticket < weight {
                let span = nanos(band.high - band.low);
                // Independent of the draw of the band.
                let above = below(mix(hash ^ 0x00de_1a7e_d000_0000), span.saturating_add(1));
                return band.low + Duration::from_nanos(above);
            }
            ticket -= weight;
        }
        Duration::ZERO
    }

    fn longest(&self) -> Duration {
        self.0.iter().map(|band| band.high).max().unwrap_or_default()
    }
}

/// Loss in bursts: the chain of Gilbert and Elliott, which moves once per packet and then draws.
///
/// ```text
///            enter ──▶
///   ( good )           ( bad )        the mean burst is 1 / leave packets long
///            ◀── leave
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// From good to bad, per packet.
    pub enter: Probability,
    /// From bad to good, per packet.
    pub leave: Probability,
    /// Loss while it is bad.
    pub loss_bad: Probability,
    /// Loss while it is good.
    pub loss_good: Probability,
}

/// Packets that are overtaken by those behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reorder {
    /// How many of them.
    pub share: Probability,
    /// How much later than the others they come.
    pub extra: Duration,
}

/// A bottleneck: packets leave one after the other, and wait in a queue that has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bits per second, Ethernet headers included.
    pub bits_per_second: u64,
    /// Bytes that may wait.
    pub queue_bytes: u64,
}

/// A policer: a token bucket that drops what exceeds it, and delays nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Police {
    /// Bits per second, Ethernet headers included.
    pub bits_per_second: u64,
    /// The bucket's depth.
    pub burst_bytes: u64,
}

/// What one direction does to packets. The default does nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// The delays of flows.
    pub delay: Option<Bands>,
    /// Packets lost one by one.
    pub loss: Probability,
    /// Packets lost in bursts.
    pub burst: Option<Burst>,
    /// Packets that come twice.
    pub duplicate: Probability,
    /// Packets that come late.
    pub reorder: Option<Reorder>,
    /// The bottleneck.
    pub rate: Option<Rate>,
    /// The policer before everything else.
    pub police: Option<Police>,
}

impl Profile {
    /// Something happens to single packets, so that superframes must be cut.
    #[must_use]
    pub fn is_per_packet(&self) -> bool {
        let Self { delay: _, loss, burst, duplicate, reorder, rate, police } = self;
        *loss != Probability::NEVER
            || burst.is_some()
            || *duplicate != Probability::NEVER
            || reorder.is_some()
            || rate.is_some()
            || police.is_some()
    }

    /// The same path in `count` lanes that share nothing: rates, queues and bursts are divided between them without a
    /// rest, everything else is the same in each.
    #[must_use]
    pub fn shares(&self, count: u16) -> Vec<Self> {
        let share = |whole: u64, index: u16| {
            let (count, index) = (u64::from(count), u64::from(index));
            whole / count + u64::from(index < whole % count)
        };
        (0..count)
            .map(|index| Self {
                rate: self.rate.map(|Rate { bits_per_second, queue_bytes }| Rate {
                    bits_per_second: share(bits_per_second, index),
                    queue_bytes: share(queue_bytes, index),
                }),
                police: self.police.map(|Police { bits_per_second, burst_bytes }| Police {
                    bits_per_second: share(bits_per_second, index),
                    burst_bytes: share(burst_bytes, index),
                }),
                ..self.clone()
            })
            .collect()
    }

    /// The longest that a packet can be held.
    fn longest(&self) -> Result<Duration, ConfigError> {
        let delay = self.delay.as_ref().map_or(Duration::ZERO, Bands::longest);
        let extra = self.reorder.map_or(Duration::ZERO, |reorder| reorder.extra);
        let queue = match self.rate {
            None => Duration::ZERO,
            Some(Rate { bits_per_second: 0, .. }) => return Err(ConfigError::NoRate),
            Some(Rate { queue_bytes: 0, .. }) => return Err(ConfigError::NoQueue),
            Some(Rate { bits_per_second, queue_bytes }) => {
                // The packet that is on the wire waits for nobody, and has to be sent all the same.
                let bits = u128::from(queue_bytes).saturating_add(0x2_0000) * 8;
                let nanos = (bits * 1_000_000_000).div_ceil(u128::from(bits_per_second));
                Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
            }
        };
        if let Some(police) = self.police {
            if police.bits_per_second == 0 {
                return Err(ConfigError::NoRate);
            }
            if police.burst_bytes < POLICE_BURST_MIN {
                return Err(ConfigError::ShallowBucket { bytes: police.burst_bytes });
            }
        }
        let held = delay.saturating_add(extra).saturating_add(queue);
        if held > HELD_MAX { Err(ConfigError::TooLong { held }) } else { Ok(held) }
    }
}

/// A bucket that no full-sized packet fits into drops all of them for ever.
const POLICE_BURST_MIN: u64 = 1_600;

/// What a middlebox is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Chooses delays and faults. Two middleboxes with the same seed give a flow the same delay.
    pub seed: u64,
    /// Chooses the faults of one of several middleboxes with the same seed: the worker's number.
    pub stream: u64,
    /// From client to server.
    pub to_server: Profile,
    /// From server to client.
    pub to_client: Profile,
    /// Memory for packets that wait, in bytes.
    pub memory_bytes: usize,
}

impl Config {
    /// The longest that a packet can be held either way, if there can be such a path.
    ///
    /// # Errors
    /// The operator asks for a path that cannot be.
    pub fn check(&self) -> Result<Horizons, ConfigError> {
        let Self { seed: _, stream: _, to_server, to_client, memory_bytes } = self;
        if *memory_bytes < Pool::BYTES_MIN {
            return Err(ConfigError::NoMemory { bytes: *memory_bytes, least: Pool::BYTES_MIN });
        }
        Ok(Horizons { to_server: to_server.longest()?, to_client: to_client.longest()? })
    }
}

/// The longest that a packet can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizons {
    /// From client to server.
    pub to_server: Duration,
    /// From server to client.
    pub to_client: Duration,
}

impl Default for Config {
    /// Delays of the dissertation from client to server, nothing else.
    fn default() -> Self {
        Self {
            seed: 1,
            stream: 0,
            to_server: Profile { delay: Some(Bands::dissertation()), ..Profile::default() },
            to_client: Profile::default(),
            memory_bytes: 256 << 20,
        }
    }
}

/// The operator asks for a path that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// No band, or none with a weight.
    NoBand,
    /// A band ends before it begins.
    BandBackwards {
        /// Where it begins.
        low: Duration,
        /// Where it ends.
        high: Duration,
    },
    /// A rate of nothing.
    NoRate,
    /// A bottleneck with no room to wait.
    NoQueue,
    /// A policer whose bucket holds no full-sized packet.
    ShallowBucket {
        /// Its depth.
        bytes: u64,
    },
    /// A path that keeps packets for hours.
    TooLong {
        /// How long.
        held: Duration,
    },
    /// Not enough memory for a few packets.
    NoMemory {
        /// How much there is to be.
        bytes: usize,
        /// How much it takes at least.
        least: usize,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBand => f.write_str("no delay band has any weight: give one such as 10ms..40ms"),
            Self::BandBackwards { low, high } => {
                write!(f, "the delay band {low:?}..{high:?} ends before it begins: exchange its ends")
            }
            Self::NoRate => f.write_str("a rate of zero lets nothing through: give one such as 1gbit"),
            Self::NoQueue => f.write_str("a bottleneck without a queue drops every packet: give --queue"),
            Self::ShallowBucket { bytes } => write!(
                f,
                "a policer with a bucket of {bytes} bytes drops every full-sized packet: \
                 give at least {POLICE_BURST_MIN}B"
            ),
            Self::TooLong { held } => write!(
                f,
                "packets would be held for up to {held:?}: shorten the delay or the queue, or raise the rate"
            ),
            Self::NoMemory { bytes, least } => {
                write!(f, "{bytes} bytes are too few to hold packets: give at least {least} per worker")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
