//! How a model client behaves: everything a peer may choose, and some things it may not.

use core::time::Duration;

use crate::random::{Dice, PPM};

/// How a model client behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manners {
    /// Maximum segment size in the SYN.
    pub mss: u16,
    /// Window scale in the SYN.
    pub window_scale: Option<u8>,
    /// SACK is offered.
    pub sack: bool,
    /// At most this many blocks, one to four.
    pub sack_blocks_max: usize,
    /// What came twice is reported (RFC 2883).
    pub dsack: bool,
    /// Timestamps are offered.
    pub timestamps: bool,
    /// How many bytes may wait unread.
    pub receive_buffer: u32,
    /// What is advertised of it.
    pub window: WindowPlan,
    /// A window that opens again is told; otherwise the server has to probe.
    pub window_updates: bool,
    /// When data is acknowledged.
    pub acks: AckPlan,
    /// The initial sequence number is just below the wrap.
    pub iss_near_wrap: bool,
    /// The SYN-ACK is never answered.
    pub half_open: bool,
}

/// What a client advertises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowPlan {
    /// What is free.
    Steady,
    /// At most this many bytes, however many are free.
    Tiny(u32),
    /// Opens and shuts: what was advertised is kept to, but not renewed while it is shut.
    Doors {
        /// Open for so long,
        open: Duration,
        /// then shut for so long.
        shut: Duration,
    },
    /// Shuts once.
    Pause {
        /// So long after the connection began,
        after: Duration,
        /// for so long.
        length: Duration,
    },
    /// Takes back what it advertised (RFC 9293 §3.8.6: "shrinking the window", strongly discouraged): now and then
    /// only this many bytes.
    Shrinking(u32),
}

/// When a client acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckPlan {
    /// At the latest after so many segments.
    pub every: u32,
    /// At the latest after this time.
    pub delay: Duration,
    /// In so many pieces (ACK division, RFC 3465 §2.2).
    pub pieces: u32,
    /// So many bytes that have not arrived (an optimistic ACK): such a client loses its bytes.
    pub ahead: u32,
}

impl Manners {
    /// As an ordinary client of today.
    #[must_use]
    pub const fn ordinary() -> Self {
        Self {
            mss: 1_460,
            window_scale: Some(7),
            sack: true,
            sack_blocks_max: 4,
            dsack: true,
            timestamps: true,
            receive_buffer: 1 << 20,
            window: WindowPlan::Steady,
            window_updates: true,
            acks: AckPlan { every: 2, delay: Duration::from_millis(40), pieces: 1, ahead: 0 },
            iss_near_wrap: false,
            half_open: false,
        }
    }

    /// As the dice fall; nothing that keeps a server from serving it in the end.
    #[must_use]
    pub fn odd(dice: &mut Dice, ipv6: bool) -> Self {
        let mss_max = if ipv6 { 1_440 } else { 1_460 };
        let scale = *dice.pick(&[None, Some(0), Some(1), Some(7), Some(9), Some(14)]);
        let mut manners = Self {
            mss: match dice.within(0..6) {
                0 => 536,
                1 => u16::try_from(dice.within(256..mss_max + 1)).expect("small"),
                2 => 1_220,
                _ => u16::try_from(mss_max).expect("small"),
            },
            window_scale: scale,
            sack: dice.chance(PPM / 100 * 85),
            sack_blocks_max: usize::try_from(dice.within(1..5)).expect("small"),
            dsack: dice.chance(PPM / 100 * 70),
            timestamps: dice.chance(PPM / 100 * 80),
            // Several times what the smallest window says that the scale can tell.
            receive_buffer: u32::try_from(dice.skewed(4_096..4 << 20))
                .expect("small")
                .max(4 << scale.unwrap_or(0)),
            window: WindowPlan::Steady,
            window_updates: dice.chance(PPM / 100 * 90),
            acks: AckPlan { every: 2, delay: Duration::from_millis(40), pieces: 1, ahead: 0 },
            iss_near_wrap: dice.chance(PPM / 5),
            half_open: false,
        };
        manners.window = match dice.within(0..10) {
            0 => WindowPlan::Tiny(u32::try_from(dice.skewed(1..8_192)).expect("small").max(
                // Nobody can use a window smaller than the scale can tell.
                scale.map_or(1, |shift| 1 << shift.min(14)),
            )),
            1 | 2 => WindowPlan::Doors {
                open: dice.duration(Duration::from_millis(1)..Duration::from_millis(500)),
                shut: dice.duration(Duration::from_millis(10)..Duration::from_secs(4)),
            },
            3 => WindowPlan::Shrinking(u32::try_from(dice.within(0..20_000)).expect("small")),
            _ => WindowPlan::Steady,
        };
        manners.acks.every = *dice.pick(&[1, 1, 2, 2, 2, 3, 8, 40]);
        manners.acks.delay = dice.duration(Duration::from_micros(100)..Duration::from_millis(200));
        if dice.chance(PPM / 10) {
            manners.acks.pieces = u32::try_from(dice.within(2..12)).expect("small");
        }
        manners
    }

    /// About how many bytes such a client takes in a round trip.
    #[must_use]
    pub fn ease(&self) -> u64 {
        let window = match self.window {
            WindowPlan::Tiny(bytes) => u64::from(bytes.min(self.receive_buffer)),
            WindowPlan::Doors { .. } => u64::from(self.receive_buffer / 4),
            WindowPlan::Steady | WindowPlan::Pause { .. } | WindowPlan::Shrinking(_) => {
                u64::from(self.receive_buffer)
            }
        };
        let scaled = u64::from(u16::MAX) << self.window_scale.unwrap_or(0).min(14);
        window.min(scaled)
    }

    /// From now on only what is good for the client itself.
    pub fn behave(&mut self) {
        self.window = WindowPlan::Steady;
        self.window_updates = true;
        self.acks = Self::ordinary().acks;
    }
}
