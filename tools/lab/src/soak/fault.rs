//! What goes wrong, in which order, and what it excuses.

use core::fmt;
use core::str::FromStr;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::Who;

/// One misfortune.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// None: what is normal is measured.
    Calm,
    /// The path loses packets one by one.
    Loss,
    /// The path loses packets in bursts.
    Burst,
    /// Packets overtake each other.
    Reordering,
    /// Packets come twice.
    Duplication,
    /// The path is as long as the dissertation's.
    Delay,
    /// The path is narrow, with a queue.
    Rate,
    /// The path drops what exceeds a rate.
    Police,
    /// The server's interface is set down, and up again.
    Down,
    /// The carrier goes, and comes back.
    Carrier,
    /// The interface is deleted, and made anew.
    Deleted,
    /// The interface takes smaller packets for a while.
    Mtu,
    /// The server is killed, and started again.
    Kill,
    /// The server is asked to leave, and started again.
    Restart,
    /// Everything is read again, several times.
    Reload,
    /// A new certificate is put in place of the old one.
    Certificate,
    /// A new version of the zone is put in place of the old one, several times.
    Zone,
    /// A zone file that is none is put in place, and a right one again.
    BrokenZone,
    /// A file is replaced by another one of its name while it is served.
    Replaced,
    /// A file is cut short where it lies while it is served.
    Truncated,
    /// A file vanishes, and comes back.
    Unlinked,
    /// The right to read a file is taken, and given back.
    Forbidden,
    /// Peers that go away in the middle, by a reset.
    Resets,
    /// A flood of connections that are never completed.
    HalfOpen,
    /// Peers that take what they asked for very slowly.
    SlowReaders,
}

use Fault::{
    BrokenZone, Burst, Calm, Carrier, Certificate, Delay, Deleted, Down, Duplication, Forbidden, HalfOpen,
    Kill, Loss, Mtu, Police, Rate, Reload, Reordering, Replaced, Resets, Restart, SlowReaders, Truncated,
    Unlinked, Zone,
};

/// Names, as operators write them.
const NAMES: [(Fault, &str); 25] = [
    (Calm, "calm"),
    (Loss, "loss"),
    (Burst, "burst"),
    (Reordering, "reordering"),
    (Duplication, "duplication"),
    (Delay, "delay"),
    (Rate, "rate"),
    (Police, "police"),
    (Down, "down"),
    (Carrier, "carrier"),
    (Deleted, "deleted"),
    (Mtu, "mtu"),
    (Kill, "kill"),
    (Restart, "restart"),
    (Reload, "reload"),
    (Certificate, "certificate"),
    (Zone, "zone"),
    (BrokenZone, "broken-zone"),
    (Replaced, "replaced"),
    (Truncated, "truncated"),
    (Unlinked, "unlinked"),
    (Forbidden, "forbidden"),
    (Resets, "resets"),
    (HalfOpen, "half-open"),
    (SlowReaders, "slow-readers"),
];

impl Fault {
    /// All that can happen to a server.
    #[must_use]
    pub fn of(who: Who) -> Vec<Self> {
        let concerns = |fault: &Self| match fault {
            Zone | BrokenZone => who == Who::Namestorm,
            Certificate | Replaced | Truncated | Unlinked | Forbidden | SlowReaders => who != Who::Namestorm,
            _ => true,
        };
        NAMES.iter().map(|(fault, _)| *fault).filter(concerns).collect()
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(fault, _)| *fault == self).map_or("", |(_, name)| name)
    }

    /// The path does something to packets.
    pub(super) fn is_of_path(self) -> bool {
        matches!(self, Loss | Burst | Reordering | Duplication | Delay | Rate | Police)
    }

    /// The path loses packets, or changes their order.
    pub(super) fn loses(self) -> bool {
        matches!(self, Loss | Burst | Reordering | Rate | Police)
    }

    /// The server's process ends.
    pub(super) fn ends_server(self) -> bool {
        matches!(self, Kill | Restart)
    }

    /// Kinds of failures that clients may have of it. Wrong bytes are never among them.
    pub(super) fn allows(self, who: Who) -> &'static [&'static str] {
        match (who, self) {
            (_, Kill | Restart) => &["connect", "reset", "timeout", "tls", "framing", "refused", "tcp"],
            (_, Down | Carrier | Deleted) => &["connect", "timeout", "tcp", "refused"],
            // Datagrams that are lost are nobody's to repeat.
            (Who::Namestorm, Loss | Burst | Police | Rate | Mtu) => &["timeout", "tcp"],
            _ => &[],
        }
    }

    /// Whether it explains a warning or an error of the server.
    pub(super) fn explains(self, line: &str) -> bool {
        let words: &[&str] = match self {
            Down | Carrier | Deleted => &["link: "],
            Mtu => &["link: ", "MTU"],
            Restart => &["not drained in time"],
            BrokenZone => &["what was in force stays"],
            Replaced | Truncated | Unlinked | Forbidden => {
                &["not served", "Permission denied", "unreadable", "cannot"]
            }
            _ => &[],
        };
        words.iter().any(|word| line.contains(word))
    }

    /// What the path is to do, as options of `middlebox`.
    pub(super) fn path(self, dice: &mut SmallRng) -> Vec<String> {
        let mut draw = |from: u32, to: u32| dice.random_range(from..=to);
        let (option, value) = match self {
            Loss => ("--loss", format!("0.{}%", draw(2, 9))),
            Burst => ("--burst", format!("0.{}%:{}%", draw(1, 3), draw(20, 50))),
            Reordering => ("--reorder", format!("{}%:{}ms", draw(1, 4), draw(1, 5))),
            Duplication => ("--duplicate", format!("{}%", draw(1, 10))),
            Delay => ("--delay", format!("{}ms..{}ms", draw(5, 10), draw(20, 40))),
            Rate => {
                return vec![
                    "--rate".into(),
                    format!("{}mbit", draw(80, 300)),
                    "--queue".into(),
                    "500KB".into(),
                ];
            }
            Police => ("--police", format!("{}mbit:256KB", draw(150, 400))),
            _ => return Vec::new(),
        };
        vec![option.to_owned(), value]
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        NAMES.iter().find(|(_, name)| *name == text).map(|(fault, _)| *fault).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
            format!("{text}: faults are {}", names.join(", "))
        })
    }
}

/// Faults in turns: first none at all, then each once, in an order that the seed draws, and so again.
#[derive(Debug)]
pub(super) struct Turns {
    all: Vec<Fault>,
    left: Vec<Fault>,
    begun: bool,
    pub(super) dice: SmallRng,
}

impl Turns {
    pub(super) fn new(all: Vec<Fault>, seed: u64) -> Self {
        Self { all, left: Vec::new(), begun: false, dice: SmallRng::seed_from_u64(seed) }
    }

    pub(super) fn draw(&mut self) -> Fault {
        if !self.begun {
            self.begun = true;
            return Calm;
        }
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
            self.left.shuffle(&mut self.dice);
        }
        self.left.pop().unwrap_or(Calm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_a_name_and_is_found_by_it() {
        for (fault, name) in NAMES {
            assert_eq!((name.parse(), fault.name()), (Ok(fault), name));
        }
        assert!("fire".parse::<Fault>().unwrap_err().contains("broken-zone"));
    }

    #[test]
    fn a_seed_draws_one_order_in_which_each_comes_once() {
        let all = Fault::of(Who::Atlas);
        let order = |seed| {
            let mut turns = Turns::new(all.clone(), seed);
            (0..=all.len()).map(|_| turns.draw()).collect::<Vec<_>>()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let drawn = order(1);
        assert_eq!(drawn[0], Calm);
        for fault in &all {
            assert_eq!(drawn[1..].iter().filter(|one| *one == fault).count(), 1, "{fault}");
        }
    }

    #[test]
    fn wrong_bytes_and_wrong_answers_are_never_excused() {
        for who in [Who::Atlas, Who::Sandstorm, Who::Namestorm] {
            for fault in Fault::of(who) {
                for kind in ["mismatch", "status", "wrong", "truth", "local"] {
                    assert!(!fault.allows(who).contains(&kind), "{fault} {kind}");
                }
            }
        }
    }
}
