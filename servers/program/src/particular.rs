//! What is particular to one server of the web.

use clap::Args;
use control::{Figure, Figures, Opener, Wake};
use core::fmt;
use dma::PoolLayout;
use host::{Facts, Machine, Policy, Tenant};
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use turn::{MemoryVariant, Service};
use web::AccessRecord;

use crate::events::Events;
use crate::options::{Config, ConfigError};

/// One line for the operator: cause and remedy.
pub type Complaint = Box<dyn core::error::Error + Send + Sync>;

/// What a program's workers are given between turns.
pub type Given<P> = <<P as Tenant>::Service as Service>::Snapshot;

/// Where a worker's own things are made.
#[derive(Debug)]
pub struct Seating<'a> {
    /// Whose they are.
    pub index: u16,
    /// The frames that the worker will have.
    pub pool: PoolLayout,
    /// What wakes the worker.
    pub bell: &'a Wake,
    /// What wakes control.
    pub control: &'a Wake,
    /// What a thread gives up that works for it.
    pub policy: Policy,
}

/// A server of the web, as far as it is not like the others: control's side of it, which lives on control's thread.
pub trait Program: Tenant<Record = AccessRecord, Counters = web::Counters<Self::Tally>> + Sized {
    /// What its desk counts.
    type Tally: Copy + Default + fmt::Debug + Figures + Send;
    /// The options that only it has.
    type Own: Args + DeserializeOwned + Default + Clone + fmt::Debug;
    /// What they amount to.
    type Choices: fmt::Debug;

    /// Its name, which prefixes every exported number.
    const NAME: &'static str;
    /// Its version.
    const VERSION: &'static str;
    /// What its monitor is called in a list of processes.
    const MONITOR: &'static str;
    /// Where its admin port is unless chosen otherwise.
    const ADMIN_PORT: u16;
    /// A directory that it might serve, for whoever gave none.
    const EXAMPLE: &'static str;
    /// How often to look for changes unless chosen otherwise.
    const RESCAN_SECONDS: u32;
    /// How long a client may take nothing of what it is sent unless chosen otherwise.
    const STALLED_SECONDS: u32;
    /// Keys of the configuration file that are no options.
    const TABLES: &'static [&'static str];

    /// Options of `own`, and of `below` where it says nothing.
    fn over(own: Self::Own, below: Self::Own) -> Self::Own;
    /// The paths among its options, which are relative to the file that they stand in.
    fn paths(own: &mut Self::Own) -> Vec<&mut PathBuf>;
    /// What they amount to.
    ///
    /// # Errors
    /// They contradict each other.
    fn resolve(own: Self::Own) -> Result<Self::Choices, ConfigError>;
    /// Takes over what can be changed while it runs, and names what cannot.
    fn adopt(choices: &mut Self::Choices, new: Self::Choices) -> Vec<&'static str>;
    /// The files that its options name and that are read again.
    fn named(choices: &Self::Choices) -> Vec<PathBuf>;

    /// Opens what is served, with the rights that will be left.
    ///
    /// # Errors
    /// It cannot be served.
    fn open(
        dir: &Path,
        config: &Config,
        choices: &Self::Choices,
        opener: &dyn Opener,
    ) -> Result<Self, Complaint>;
    /// The frames of each worker, and lines for the report.
    ///
    /// # Errors
    /// The operator gave too little.
    fn pool(
        &mut self,
        choices: &Self::Choices,
        machine: &Machine,
        workers: u16,
    ) -> Result<(PoolLayout, Vec<String>), Complaint>;
    /// What one worker gets for itself.
    ///
    /// # Errors
    /// A thread or descriptor cannot be had.
    fn seat(&mut self, seating: &Seating<'_>) -> io::Result<Self::Seat>;
    /// The directories that a worker may open files in.
    ///
    /// # Errors
    /// A descriptor cannot be had.
    fn roots(&self) -> io::Result<Vec<OwnedFd>>;
    /// The served directory, which control may read.
    fn directory(&self) -> BorrowedFd<'_>;
    /// What is served, for people.
    fn description(&self) -> String;
    /// What of it cannot be, one line each.
    fn problems(&self) -> Vec<String>;
    /// What the workers serve by.
    fn snapshot(&self) -> Given<Self>;
    /// How memory that its workers send gets into packets.
    fn memory(choices: &Self::Choices) -> MemoryVariant {
        let _ = choices;
        MemoryVariant::default()
    }
    /// Every worker takes packets; `facts` say what they got. Returns more lines for the report.
    fn on_ready(&mut self, choices: &Self::Choices, facts: &[Facts]) -> Vec<(&'static str, String)> {
        let _ = (choices, facts);
        Vec::new()
    }
    /// Looks through everything again, because the operator asked.
    fn reload(&mut self, config: &Config, choices: &Self::Choices, opener: &dyn Opener, events: &mut Events);
    /// Whether something has changed by itself, after having taken it over.
    fn rescan(
        &mut self,
        config: &Config,
        choices: &Self::Choices,
        opener: &dyn Opener,
        events: &mut Events,
    ) -> bool;
    /// Whether [`Self::rescan`] should not wait until it is time for it.
    fn wants_rescan(&self) -> bool {
        false
    }
    /// Figures of the process.
    fn figures(&self) -> Vec<Figure>;
}
