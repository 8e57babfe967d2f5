//! Which packets are lost.

use crate::config::{Burst, Probability, Profile};
use crate::random::Random;

/// Why a packet was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// By itself.
    Alone,
    /// By the chain of Gilbert and Elliott.
    InBurst,
}

/// What loses packets in one direction.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    alone: Probability,
    burst: Option<Burst>,
    bad: bool,
}

impl Loss {
    pub(crate) fn new(profile: &Profile) -> Self {
        Self { alone: profile.loss, burst: profile.burst, bad: false }
    }

    /// What becomes of the next packet.
    pub(crate) fn draw(&mut self, random: &mut Random) -> Option<Lost> {
        if let Some(burst) = self.burst {
            let turns = if self.bad { burst.leave } else { burst.enter };
            self.bad ^= random.happens(turns);
            if random.happens(if self.bad { burst.loss_bad } else { burst.loss_good }) {
                return Some(Lost::InBurst);
            }
        }
        random.happens(self.alone).then_some(Lost::Alone)
    }
}
