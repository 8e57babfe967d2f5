//! One direction: what becomes of a packet.

use core::time::Duration;

use clock::Instant;

use crate::config::{Bands, Probability, Profile, Reorder};
use crate::loss::{Loss, Lost};
use crate::random::Random;
use crate::rate::{Bottleneck, Policer};
use crate::statistics::LaneStatistics;

/// When the copies of a packet leave: the second is there when it was duplicated.
pub(crate) type Departures = [Option<Departure>; 2];

/// When a packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// At once.
    Now,
    /// Then.
    At(Instant),
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Lane {
    bands: Option<Bands>,
    policer: Option<Policer>,
    loss: Loss,
    duplicate: Probability,
    bottleneck: Option<Bottleneck>,
    reorder: Option<Reorder>,
    random: Random,
    per_packet: bool,
    pub(crate) statistics: LaneStatistics,
}

impl Lane {
    pub(crate) fn new(profile: &Profile, random: Random, now: Instant) -> Self {
        Self {
            bands: profile.delay.clone(),
            policer: profile.police.map(|police| Policer::new(police, now)),
            loss: Loss::new(profile),
            duplicate: profile.duplicate,
            bottleneck: profile.rate.map(Bottleneck::new),
            reorder: profile.reorder,
            random,
            per_packet: profile.is_per_packet(),
            statistics: LaneStatistics::default(),
        }
    }

    /// Superframes must be cut.
    pub(crate) fn is_per_packet(&self) -> bool {
        self.per_packet
    }

    /// The delay of a flow.
    pub(crate) fn delay_of(&self, flow: u64) -> Duration {
        self.bands.as_ref().map_or(Duration::ZERO, |bands| bands.delay_of(flow))
    }

    /// Draws the fate of a packet of `bytes` that arrives now, and counts it.
    pub(crate) fn fate(&mut self, now: Instant, bytes: usize, delay: Duration) -> Departures {
        self.statistics.packets += 1;
        if !self.per_packet {
            let departure = if delay.is_zero() { Departure::Now } else { Departure::At(now + delay) };
            return [Some(departure), None];
        }
        if self.policer.as_mut().is_some_and(|policer| !policer.admits(now, bytes)) {
            self.statistics.policed += 1;
            return [None; 2];
        }
        match self.loss.draw(&mut self.random) {
            Some(Lost::Alone) => self.statistics.lost += 1,
            Some(Lost::InBurst) => self.statistics.lost_in_burst += 1,
            None => {
                let first = self.departure(now, bytes, delay);
                let twice = self.random.happens(self.duplicate);
                self.statistics.duplicated += u64::from(twice);
                return [first, if twice { self.departure(now, bytes, delay) } else { None }];
            }
        }
        [None; 2]
    }

    fn departure(&mut self, now: Instant, bytes: usize, delay: Duration) -> Option<Departure> {
        let mut at = now + delay;
        if let Some(bottleneck) = &mut self.bottleneck {
            let Some(sent) = bottleneck.offer(now, bytes) else {
                self.statistics.queue_full += 1;
                return None;
            };
            at = sent + delay;
        }
        if let Some(Reorder { share, extra }) = self.reorder
            && self.random.happens(share)
        {
            self.statistics.reordered += 1;
            at += extra;
        }
        Some(if at == now { Departure::Now } else { Departure::At(at) })
    }
}
