//! Namestorm, as host and control see it: what a worker runs, what is told when it is ready, what a reload reads.

use confine::{Confinement, Holds};
use control::{ControlPort, Directly, Event, Figure, Opener, Reloaded, Said, Server, Status, Wish};
use core::time::Duration;
use host::start::{describe_facts, describe_privileges, kernel};
use host::{Facts, HostLink, Monitor, Place, Tenant};
use namestorm::desk::{self, Snapshot};
use namestorm::front::Front;
use namestorm::keeper::{Keeper, Outcome};
use namestorm::query_log::Record;
use namestorm::service::StreamService;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;
use tracing::Level;

use crate::courier::{Order, Post, Recalled};
use crate::loader::{self, Loader, Wanted};
use crate::log::QueryLog;
use crate::options::{Config, ConfigError, ServeArgs};
use crate::steering::Steering;
use crate::zones::Zones;

type Counters = host::Counters<desk::Counters>;
/// Control's end of a worker's mailbox.
pub(crate) type Port = ControlPort<host::Snapshot<Snapshot>, Counters, Box<Record>>;

/// What control needs to know of Namestorm.
#[derive(Debug)]
pub(crate) struct Namestorm {
    /// The zones.
    pub(crate) keeper: Keeper,
    /// What came of loading them first, to be told when everything is ready.
    pub(crate) loaded: Vec<Outcome>,
    /// What the workers answer from.
    pub(crate) snapshot: Snapshot,
    /// What depends on who asks, if anything does.
    pub(crate) steering: Option<Steering>,
    /// Where questions are written down, besides control's own log.
    pub(crate) query_log: QueryLog,
    /// Who looks after the link.
    pub(crate) link_keeper: host::Keeper,
    /// Who opens what we no longer may.
    pub(crate) monitor: Option<Monitor>,
    /// What control itself gave up.
    pub(crate) confinement: Option<Confinement>,
    /// What the workers got.
    pub(crate) facts: Receiver<Facts>,
    /// Where clients find us.
    pub(crate) urls: Vec<String>,
    /// What was found and chosen.
    pub(crate) report: Vec<(&'static str, String)>,
    /// What the operator said at the command line; the file is read again.
    pub(crate) arguments: ServeArgs,
    /// What is in force.
    pub(crate) config: Config,
    /// Who reads zones again.
    pub(crate) loader: Loader,
    /// Who fetches zones, and tells of ours.
    pub(crate) courier: Post,
}

impl Tenant for Namestorm {
    type Service = StreamService;
    type Link = Front<HostLink>;
    type Counters = desk::Counters;
    type Record = Box<Record>;
    type Seat = ();

    fn service(snapshot: Snapshot, (): (), place: &Place<'_>) -> StreamService {
        let service = StreamService::new(snapshot);
        service.desk().borrow_mut().replicate(place.pool);
        service
    }

    fn front(service: &mut StreamService, link: HostLink) -> Front<HostLink> {
        Front::new(link, &service.snapshot().serving, service.desk())
    }

    fn counters(service: &StreamService) -> desk::Counters {
        service.counters()
    }

    fn take_record(service: &mut StreamService) -> Option<Box<Record>> {
        service.take_record()
    }
}

impl Server for Namestorm {
    type Snapshot = host::Snapshot<Snapshot>;
    type Counters = Counters;
    type Record = Box<Record>;

    const NAME: &'static str = "namestorm";

    fn on_ready(&mut self) {
        let facts: Vec<_> = self.facts.try_iter().collect();
        let mut text = format!("namestorm {} on Linux {}\n", env!("CARGO_PKG_VERSION"), kernel());
        let privileges = describe_privileges(self.confinement, self.monitor.as_ref(), &facts);
        for (heading, line) in self.report.drain(..).chain(describe_facts(&facts)).chain([privileges]) {
            text.push_str(&format!("  {heading:<11} {line}\n"));
        }
        // A terminal that is gone is no reason to stop serving.
        let _ = io::stderr().write_all(text.as_bytes());
        for Event { level, text } in events(&core::mem::take(&mut self.loaded)) {
            match level {
                Level::ERROR => tracing::error!("{text}"),
                Level::WARN => tracing::warn!("{text}"),
                _ => tracing::debug!("{text}"),
            }
        }
        let listening: String = self.urls.iter().map(|url| format!("listening {url}\n")).collect();
        let mut stdout = io::stdout();
        let _ = stdout.write_all(listening.as_bytes()).and_then(|()| stdout.flush());
    }

    fn reload(&mut self) -> Reloaded<Self::Snapshot> {
        let mut events = Vec::new();
        let (change, drain) = match self.configure(&mut events) {
            Ok(configured) => configured.unzip(),
            Err(error) => {
                events.push(event(Level::ERROR, format!("{error}; what was in force stays")));
                (None, None)
            }
        };
        self.look(Wanted { by_operator: true, change });
        Reloaded { snapshot: None, events, drain }
    }

    fn is_reloading(&self) -> bool {
        self.loader.is_awaited()
    }

    fn rescan(&mut self) -> Option<Reloaded<Self::Snapshot>> {
        if !self.loader.is_busy() {
            self.look(Wanted::default());
        }
        None
    }

    fn write_record(&mut self, record: &Box<Record>, line: &mut Vec<u8>) {
        record.write_json(line);
    }

    fn on_record(&mut self, record: &Box<Record>) {
        self.query_log.on_record(record);
    }

    fn on_reopen(&mut self) {
        let monitor = self.monitor.as_ref().map_or(&Directly as &dyn Opener, |monitor| monitor);
        self.query_log.reopen(monitor);
    }

    fn on_second(&mut self, _: Status, _: &[Option<&Counters>]) {}

    fn news(&mut self) -> Option<Reloaded<Self::Snapshot>> {
        let before = self.keeper.catalogue();
        let mut events = Vec::new();
        if let Some((outcome, next)) = self.loader.take() {
            self.adopt(outcome, &mut events);
            next.into_iter().for_each(|wanted| self.look(wanted));
        }
        // Of zones that are no longer wanted, the last may still have been on its way.
        let now = self.keeper.catalogue();
        let arrivals = self.courier.arrivals().into_iter();
        self.keeper.install(arrivals.filter(|zone| now.zone(zone.apex()).is_some()).collect());
        let said = self.steering.as_mut().and_then(Steering::news);
        let steers = said.is_some();
        events.extend(said.into_iter().flatten());
        let changed = !Arc::ptr_eq(&before, &self.keeper.catalogue());
        let snapshot = (changed || steers).then(|| self.steered(&mut events));
        (snapshot.is_some() || !events.is_empty()).then_some(Reloaded { snapshot, events, drain: None })
    }

    fn on_request(&mut self, wish: &Wish<'_>) -> Option<Said> {
        self.steering.as_mut()?.on_request(wish)
    }

    fn opener(&self) -> &dyn Opener {
        self.monitor.as_ref().map_or(&Directly, |monitor| monitor)
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.monitor.iter().map(AsFd::as_fd).chain([self.link_keeper.as_fd()]).collect()
    }

    fn on_wake(&mut self, status: Status, now: Instant) -> Result<(), String> {
        if matches!(status, Status::Starting | Status::Stopping) {
            // The device goes with the workers, as it should; and one that did not get that far is none to look after.
            return Ok(());
        }
        if self.monitor.as_mut().is_some_and(|monitor| !monitor.is_alive()) {
            self.monitor = None;
            return Err("the monitor is gone: no link could be recovered".to_owned());
        }
        if !self.courier.is_alive() {
            return Err("the thread that fetches zones is gone; this is a bug of ours".to_owned());
        }
        if !self.loader.is_alive() {
            return Err("the thread that reads zones is gone; this is a bug of ours".to_owned());
        }
        self.link_keeper.look(self.monitor.as_ref(), now);
        Ok(())
    }

    fn figures(&self) -> Vec<Figure> {
        let catalogue = self.keeper.catalogue();
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let mut figures =
            vec![Figure::gauge("zones", "Zones that are served", count(catalogue.zones().len()))];
        for (name, holds) in self.confinement.iter().flat_map(Confinement::layers) {
            let help = "Whether a layer of the confinement holds in full";
            let held = u64::from(holds == Holds::Held);
            figures.push(Figure::gauge("confined", help, held).labelled("layer", name));
        }
        figures.extend(self.query_log.figures());
        figures.extend(self.steering.iter().flat_map(Steering::figures));
        figures.extend(self.courier.tally.figures());
        figures
    }
}

impl Namestorm {
    /// Reads the configuration file again, if there is one. Returns the zones that are to be in force when they have been read,
    /// and the new time for draining.
    fn configure(&mut self, events: &mut Vec<Event>) -> Result<Option<(Box<Zones>, Duration)>, ConfigError> {
        if self.arguments.config.is_none() {
            return Ok(None);
        }
        let opener: &dyn Opener = match &self.monitor {
            Some(monitor) => monitor,
            None => &Directly,
        };
        let config = Config::load(self.arguments.clone(), opener)?;
        for option in self.config.fixed_differences(&config) {
            events.push(event(Level::WARN, format!("{option}: changed, and in force after a restart")));
        }
        // What needs a restart is compared with what is in force, each time.
        self.config.drain = config.drain;
        Ok(Some((Box::new(config.zones), config.drain)))
    }

    /// Has zones looked at: what comes of it is [`adopt`](Self::adopt)ed.
    fn look(&mut self, wanted: Wanted) {
        self.loader.look(wanted, &self.keeper, &self.config.zones);
    }

    /// Takes over what was read, and has others told of what has changed.
    fn adopt(&mut self, outcome: loader::Outcome, events: &mut Vec<Event>) {
        let loader::Outcome { wanted: Wanted { by_operator, change }, done, recalled } = outcome;
        if let Some(zones) = change {
            let fetched: Vec<_> = zones.secondaries.iter().map(|zone| zone.source.apex.clone()).collect();
            self.keeper.set(zones.files.clone(), &fetched, Arc::clone(&zones.policy));
            self.keeper.install(recalled.iter().filter_map(Recalled::servable).collect());
            self.config.zones = (*zones).clone();
            self.courier.order(Order::Zones(zones, recalled));
        }
        let outcomes = self.keeper.finish(done);
        let catalogue = self.keeper.catalogue();
        let changed = outcomes.iter().filter(|outcome| outcome.result.is_ok());
        let changed: Vec<_> =
            changed.filter_map(|outcome| catalogue.zone(&outcome.source.apex).cloned()).collect();
        if !changed.is_empty() {
            self.courier.order(Order::Changed(changed));
        }
        events.extend(self::events(&outcomes));
        if by_operator {
            events.push(event(Level::INFO, format!("zones: {}", describe(&self.keeper))));
            // With the zones that it is about.
            if let Some(steering) = &mut self.steering {
                let monitor = self.monitor.as_ref().map_or(&Directly as &dyn Opener, |monitor| monitor);
                events.push(steering.reload(monitor));
            }
        }
    }

    /// The zones as they are now, with what depends on who asks.
    fn steered(&mut self, events: &mut Vec<Event>) -> host::Snapshot<Snapshot> {
        let zones = self.keeper.catalogue();
        self.snapshot.catalogue = match &mut self.steering {
            Some(steering) => steering.steer(&zones, events),
            None => zones,
        };
        host::Snapshot { service: self.snapshot.clone(), secure: None }
    }
}

/// How many zones there are, and what they weigh.
pub(crate) fn describe(keeper: &Keeper) -> String {
    let catalogue = keeper.catalogue();
    let (mut names, mut bytes) = (0, 0);
    for weight in catalogue.zones().iter().map(|zone| zone.weight()) {
        names += weight.names;
        bytes += weight.bytes;
    }
    let plural = if catalogue.zones().len() == 1 { "" } else { "s" };
    let each = bytes.checked_div(names).unwrap_or(0);
    let bytes = host::values::Bytes(bytes);
    format!("{} zone{plural}, {names} names in {bytes}, {each} bytes a name", catalogue.zones().len())
}

/// What came of loading, for the event log.
fn events(outcomes: &[Outcome]) -> Vec<Event> {
    let mut events = Vec::new();
    for Outcome { source, result } in outcomes {
        let file = source.path.display();
        match result {
            Ok((weight, warnings)) => {
                events.push(event(Level::DEBUG, format!("zone {file}: {weight}")));
                events.extend(
                    warnings.iter().map(|warning| event(Level::WARN, format!("zone {file}: {warning}"))),
                );
            }
            Err(error) => events.push(event(Level::ERROR, format!("zone: {error}; what was in force stays"))),
        }
    }
    events
}

pub(crate) fn event(level: Level, text: String) -> Event {
    Event { level, text: text.into() }
}
