//! A server for hours, under load, while everything around it goes wrong in turns.
//!
//! ```text
//!   run ──▶ rounds: a fault each (fault: which, in what order, what it excuses; suffer: how it is brought about)
//!    ├─ place    client ══ middlebox ══ server, in namespaces that end with the run
//!    ├─ server   its process: start, kill, memory, descriptors, lines
//!    ├─ load     connections, short connections, questions; torment: peers as nobody wants them
//!    ├─ figures  its numbers, and the laws they obey · growth: what may not grow
//!    └─ report   for programs and for people
//! ```
//!
//! Bytes are compared with the files, answers with the version of the zone that they must be of, numbers with each other and
//! with the clients' own. Whatever the fault of a round does not explain is a complaint, and one complaint fails the soak.

mod fault;
mod figures;
mod growth;
mod load;
mod place;
mod report;
mod run;
mod server;
mod suffer;
mod torment;
mod zone;

use core::time::Duration;
use std::path::PathBuf;

pub use fault::Fault;
pub use report::{Complaint, Report, Round};
pub use run::run;

/// The shortest round in which a fault can be brought about and made good, and the longest that is of use.
const ROUND: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(30));

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Who {
    /// Video from disk
    Atlas,
    /// The web from memory
    Sandstorm,
    /// Names
    Namestorm,
}

impl Who {
    /// Its program.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Atlas => "atlas",
            Self::Sandstorm => "sandstorm",
            Self::Namestorm => "namestorm",
        }
    }
}

/// What it takes packets with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Over {
    /// A packet socket
    Packet,
    /// An AF_XDP socket
    Afxdp,
}

impl Over {
    fn name(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Afxdp => "afxdp",
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Order {
    /// Which server,
    pub who: Who,
    /// over what,
    pub over: Over,
    /// for how long: rounds are begun until then.
    pub duration: Duration,
    /// Draws everything.
    pub seed: u64,
    /// What may happen.
    pub faults: Vec<Fault>,
    /// Connections of the load, about.
    pub connections: usize,
    /// Their pause between two requests.
    pub think: Duration,
    /// Where the programs are.
    pub programs: PathBuf,
    /// Further arguments of the server.
    pub arguments: Vec<String>,
}

impl Order {
    /// How long a round is, if nothing takes longer: each fault is to have its turn twice, in a soak that is long enough.
    #[must_use]
    pub fn round(&self) -> Duration {
        let turns = u32::try_from(self.faults.len() + 1).unwrap_or(u32::MAX);
        (self.duration / turns / 2).clamp(ROUND.0, ROUND.1)
    }

    /// The line that does the same again: the same faults in the same order, of the same sizes.
    #[must_use]
    pub fn replay(&self) -> String {
        let mut line = format!(
            "lab soak {} --for {}s --seed {} --link {} -c {} --think {}ms --faults {}",
            self.who.name(),
            self.duration.as_secs_f64(),
            self.seed,
            self.over.name(),
            self.connections,
            self.think.as_millis(),
            self.faults.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(","),
        );
        if !self.arguments.is_empty() {
            line.push_str(" -- ");
            line.push_str(&self.arguments.join(" "));
        }
        line
    }
}

/// How far it is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Which round.
    pub round: usize,
    /// What goes wrong in it.
    pub fault: Option<Fault>,
    /// How long it has been going.
    pub elapsed: Duration,
    /// Requests so far.
    pub requests: u64,
    /// How much is wrong so far,
    pub complaints: usize,
    /// and what it was the last time.
    pub last: String,
}
