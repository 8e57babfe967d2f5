//! Atlas, as its workers, its control and its operator see it: what is not as in every server of the web.

use atlas::{AccessRecord, AtlasService, Tally};
use control::{Figure, Opener};
use dma::PoolLayout;
use host::{HostLink, Machine, Place, Tenant};
use program::{Complaint, Config, ConfigError, Events, Program, Seating};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::content::{self, Content};
use crate::own::{Choices, Own};
use host::values::LogChoice;

/// Control's side of Atlas.
#[derive(Debug)]
pub(crate) struct Atlas {
    /// The directory.
    content: Content,
    /// What the workers serve by.
    site: atlas::Snapshot,
}

impl Tenant for Atlas {
    type Service = AtlasService;
    type Link = HostLink;
    type Counters = atlas::Counters;
    type Record = AccessRecord;
    type Seat = ();

    fn service(snapshot: atlas::Snapshot, (): (), place: &Place<'_>) -> AtlasService {
        AtlasService::new(snapshot, place.unix_seconds)
    }

    fn front(_: &mut AtlasService, link: HostLink) -> HostLink {
        link
    }

    fn counters(service: &AtlasService) -> atlas::Counters {
        service.counters()
    }

    fn take_record(service: &mut AtlasService) -> Option<AccessRecord> {
        service.take_record()
    }
}

impl Program for Atlas {
    type Tally = Tally;
    type Own = Own;
    type Choices = Choices;

    const NAME: &'static str = "atlas";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const MONITOR: &'static str = "atlas-monitor";
    /// Prometheus's range, taken by nobody well known.
    const ADMIN_PORT: u16 = 9_464;
    const EXAMPLE: &'static str = "atlas serve examples/video";
    const RESCAN_SECONDS: u32 = 10;
    /// A player that was paused costs no memory but its entry, and goes on where it was.
    const STALLED_SECONDS: u32 = 600;
    const TABLES: &'static [&'static str] = &["service"];

    fn over(own: Own, below: Own) -> Own {
        own.over(below)
    }

    fn paths(own: &mut Own) -> Vec<&mut PathBuf> {
        own.signing_key.iter_mut().collect()
    }

    fn resolve(own: Own) -> Result<Choices, ConfigError> {
        own.resolve()
    }

    fn adopt(choices: &mut Choices, new: Choices) -> Vec<&'static str> {
        let Choices { pool, signing_keys, service } = new;
        choices.signing_keys = signing_keys;
        choices.service = service;
        if choices.pool == pool { Vec::new() } else { vec!["frames or memory"] }
    }

    fn named(choices: &Choices) -> Vec<PathBuf> {
        choices.signing_keys.clone()
    }

    fn open(dir: &Path, config: &Config, choices: &Choices, opener: &dyn Opener) -> Result<Self, Complaint> {
        let content = Content::open(dir)?;
        let logged = config.access_log != LogChoice::Off;
        let settings = content::settings(&choices.service, &choices.signing_keys, logged, opener)?;
        let site = content.site(settings)?;
        Ok(Self { content, site })
    }

    fn pool(
        &mut self,
        choices: &Choices,
        machine: &Machine,
        workers: u16,
    ) -> Result<(PoolLayout, Vec<String>), Complaint> {
        let (pool, note) = machine.pool(choices.pool, workers)?;
        Ok((pool, note.into_iter().collect()))
    }

    fn seat(&mut self, _: &Seating<'_>) -> io::Result<()> {
        Ok(())
    }

    fn roots(&self) -> io::Result<Vec<OwnedFd>> {
        Ok(vec![self.content.root()?])
    }

    fn directory(&self) -> BorrowedFd<'_> {
        self.content.as_fd()
    }

    fn description(&self) -> String {
        self.content.description()
    }

    fn problems(&self) -> Vec<String> {
        self.content.catalogue().problems.iter().map(ToString::to_string).collect()
    }

    fn snapshot(&self) -> atlas::Snapshot {
        self.site.clone()
    }

    fn reload(&mut self, config: &Config, choices: &Choices, opener: &dyn Opener, events: &mut Events) {
        match self.content.scan() {
            Ok(()) => events.info(format!("directory: {}", self.content.description())),
            Err(error) => events.error(format!("directory: {error}; the catalogue stays as it was")),
        }
        for problem in &self.content.catalogue().problems {
            events.warn(format!("directory: cannot read {problem}"));
        }
        self.renew_site(config, choices, opener, events);
    }

    fn rescan(
        &mut self,
        config: &Config,
        choices: &Choices,
        opener: &dyn Opener,
        events: &mut Events,
    ) -> bool {
        if !self.content.has_changed() {
            return false;
        }
        match self.content.scan() {
            Ok(()) => events.debug(format!("directory: {}", self.content.description())),
            Err(error) => events.error(format!("directory: {error}; the catalogue stays as it was")),
        }
        self.renew_site(config, choices, opener, events);
        true
    }

    fn figures(&self) -> Vec<Figure> {
        let catalogue = self.content.catalogue();
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        vec![
            Figure::gauge("catalogue_entries", "Things to play", count(catalogue.entries.len())),
            Figure::gauge(
                "catalogue_problems",
                "What a scan could not read",
                count(catalogue.problems.len()),
            ),
        ]
    }
}

impl Atlas {
    fn renew_site(&mut self, config: &Config, choices: &Choices, opener: &dyn Opener, events: &mut Events) {
        let logged = config.access_log != LogChoice::Off;
        let site = content::settings(&choices.service, &choices.signing_keys, logged, opener)
            .and_then(|settings| self.content.site(settings));
        match site {
            Ok(site) => self.site = site,
            Err(error) => events.error(format!("{error}; what was in force stays")),
        }
    }
}
