//! Atlas, as control sees it: what is told when it is ready, what a reload reads, what a line of a log is.

use atlas::{AccessRecord, AtlasService, LogFormat};
use confine::{Confinement, Holds};
use control::{Directly, Event, Figure, Opener, Reloaded, Server, Status};
use host::start::{describe_facts, describe_privileges, kernel};
use host::{Facts, Forwarder, HostLink, Keeper, Monitor, Place, Tenant};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
use std::time::{Instant, SystemTime};
use tracing::Level;

use crate::config::{self, Config, LogChoice, Options};
use crate::start::content::{self, Content};
use crate::start::secure::Secure;
use crate::stats::Stats;

/// A certificate that expires sooner is spoken of.
const EXPIRY_WARNING_DAYS: u64 = 7;

/// What control hands to a worker.
pub(crate) type Snapshot = host::Snapshot<atlas::Snapshot>;
/// What a worker tells of itself.
pub(crate) type Counters = host::Counters<atlas::Counters>;

/// What control needs to know of Atlas.
#[derive(Debug)]
pub(crate) struct Atlas {
    /// The command line, which a reload puts over the file again.
    pub(crate) options: Options,
    /// The file.
    pub(crate) file: Option<PathBuf>,
    /// Both together, as in force.
    pub(crate) config: Config,
    /// The directory.
    pub(crate) content: Content,
    /// TLS, if there is any.
    pub(crate) secure: Option<Secure>,
    /// What the workers serve by.
    pub(crate) site: atlas::Snapshot,
    /// From the loopback interface, when we are inside a namespace.
    pub(crate) forwarder: Option<Forwarder>,
    /// Who looks after the link.
    pub(crate) keeper: Keeper,
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
    /// The last second, for `--stats`.
    pub(crate) stats: Option<Stats>,
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

impl Server for Atlas {
    type Snapshot = Snapshot;
    type Counters = Counters;
    type Record = AccessRecord;

    const NAME: &'static str = "atlas";

    fn on_ready(&mut self) {
        let facts: Vec<_> = self.facts.try_iter().collect();
        let mut text = format!("atlas {} on Linux {}\n", env!("CARGO_PKG_VERSION"), kernel());
        let privileges = describe_privileges(self.confinement, self.monitor.as_ref(), &facts);
        for (heading, line) in self.report.drain(..).chain(describe_facts(&facts)).chain([privileges]) {
            text.push_str(&format!("  {heading:<11} {line}\n"));
        }
        for problem in &self.content.catalogue().problems {
            text.push_str(&format!("  {:<11} {problem}\n", "unreadable"));
        }
        if let Some(url) = self.urls.first() {
            let url = url.strip_suffix(":80/").map_or_else(|| url.clone(), |host| format!("{host}/"));
            text.push_str(&format!("open {url} in a browser; Ctrl-C ends\n"));
        }
        if let Some(key_log) = self.config.key_log.as_ref().filter(|_| self.secure.is_some()) {
            let key_log = key_log.display();
            tracing::warn!("tls: secrets are written to {key_log}: whoever has it can read what is captured");
        }
        // A terminal that is gone is no reason to stop serving.
        let _ = io::stderr().write_all(text.as_bytes());
        let listening: String = self.urls.iter().map(|url| format!("listening {url}\n")).collect();
        let mut stdout = io::stdout();
        let _ = stdout.write_all(listening.as_bytes()).and_then(|()| stdout.flush());
    }

    fn reload(&mut self) -> Reloaded<Snapshot> {
        let mut events = Events::default();
        match Config::load(self.options.clone(), self.file.as_deref(), self.opener()) {
            Ok(config) => {
                let fixed = self.config.fixed_differences(&config);
                if !fixed.is_empty() {
                    events.warn(format!("a restart is needed to change {}", fixed.join(", ")));
                }
                // What cannot change now stays as it is, so that it is told again next time.
                let Config { certificate, drain, log_format, signing_keys, service, .. } = config;
                self.config.certificate = certificate;
                self.config.drain = drain;
                self.config.log_format = log_format;
                self.config.signing_keys = signing_keys;
                self.config.service = service;
            }
            Err(error) => events.error(format!("configuration: {error}; what was in force stays")),
        }
        self.reload_certificate(&mut events);
        match self.content.scan() {
            Ok(()) => events.info(format!("directory: {}", self.content.description())),
            Err(error) => events.error(format!("directory: {error}; the catalogue stays as it was")),
        }
        for problem in &self.content.catalogue().problems {
            events.warn(format!("directory: cannot read {problem}"));
        }
        self.renew_site(&mut events);
        let snapshot = self.snapshot(&mut events);
        Reloaded { snapshot, events: events.0, drain: Some(self.config.drain) }
    }

    fn rescan(&mut self) -> Option<Reloaded<Snapshot>> {
        let mut events = Events::default();
        let mut changed = false;
        if let (Some(secure), Some(files)) = (&self.secure, &self.config.certificate)
            && secure.has_changed(files)
        {
            changed = true;
            self.reload_certificate(&mut events);
        }
        if self.content.has_changed() {
            changed = true;
            match self.content.scan() {
                Ok(()) => events.debug(format!("directory: {}", self.content.description())),
                Err(error) => events.error(format!("directory: {error}; the catalogue stays as it was")),
            }
            self.renew_site(&mut events);
        }
        if !changed {
            return None;
        }
        let snapshot = self.snapshot(&mut events);
        Some(Reloaded { snapshot, events: events.0, drain: None })
    }

    fn write_record(&mut self, record: &AccessRecord, line: &mut Vec<u8>) {
        let format = match self.config.log_format {
            config::LogFormat::Combined => LogFormat::Combined,
            config::LogFormat::Json => LogFormat::Json,
        };
        record.write_to(format, line);
    }

    fn on_second(&mut self, status: Status, workers: &[Option<&Counters>]) {
        if let (Some(forwarder), Status::Draining | Status::Stopping) = (&self.forwarder, status) {
            forwarder.accept_no_more();
        }
        if let (Some(stats), Status::Running | Status::Draining) = (&mut self.stats, status) {
            let line = stats.line(Instant::now(), workers);
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    fn opener(&self) -> &dyn Opener {
        self.monitor.as_ref().map_or(&Directly, |monitor| monitor)
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.monitor.iter().map(AsFd::as_fd).chain([self.keeper.as_fd()]).collect()
    }

    fn on_wake(&mut self, status: Status, now: Instant) -> Result<(), String> {
        if matches!(status, Status::Starting | Status::Stopping) {
            // The device goes with the workers, as it should; and one that did not get that far is none to look after.
            return Ok(());
        }
        if self.monitor.as_mut().is_some_and(|monitor| !monitor.is_alive()) {
            self.monitor = None;
            return Err("the monitor is gone: nothing could be reloaded, and no link recovered".to_owned());
        }
        self.keeper.look(self.monitor.as_ref(), now);
        Ok(())
    }

    fn figures(&self) -> Vec<Figure> {
        let catalogue = self.content.catalogue();
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let mut figures = vec![
            Figure::gauge("catalogue_entries", "Things to play", count(catalogue.entries.len())),
            Figure::gauge(
                "catalogue_problems",
                "What a scan could not read",
                count(catalogue.problems.len()),
            ),
        ];
        for (name, holds) in self.confinement.iter().flat_map(Confinement::layers) {
            let help = "Whether a layer of the confinement holds in full";
            figures.push(
                Figure::gauge("confined", help, u64::from(holds == Holds::Held)).labelled("layer", name),
            );
        }
        if let Some(secure) = &self.secure {
            let left = secure.certificate().valid_for(SystemTime::now());
            figures.push(Figure::gauge(
                "certificate_valid_seconds",
                "How long the certificate is still valid",
                left.as_secs(),
            ));
        }
        if let Some(forwarder) = &self.forwarder {
            figures.push(Figure::counter("forwarded", "Connections forwarded", forwarder.accepted()));
            figures.push(Figure::counter(
                "forward_failed",
                "Connections that could not be forwarded or were reset",
                forwarder.failed(),
            ));
        }
        figures
    }
}

impl Atlas {
    fn reload_certificate(&mut self, events: &mut Events) {
        let opener: &dyn Opener = self.monitor.as_ref().map_or(&Directly, |monitor| monitor);
        let (Some(secure), Some(files)) = (&mut self.secure, &self.config.certificate) else { return };
        match secure.reload(files, opener) {
            Ok(true) => events.info(format!("tls: {}", secure.description())),
            Ok(false) => {}
            Err(error) => events.error(format!("tls: {error}; the certificate in force stays")),
        }
        let days = secure.certificate().valid_for(SystemTime::now()).as_secs() / 86_400;
        if days < EXPIRY_WARNING_DAYS {
            let plural = if days == 1 { "" } else { "s" };
            events.warn(format!("tls: the certificate is valid for {days} more day{plural} only; renew it"));
        }
    }

    fn renew_site(&mut self, events: &mut Events) {
        let logged = self.config.access_log != LogChoice::Off;
        let site = content::settings(&self.config.service, &self.config.signing_keys, logged, self.opener())
            .and_then(|settings| self.content.site(settings));
        match site {
            Ok(site) => self.site = site,
            Err(error) => events.error(format!("{error}; what was in force stays")),
        }
    }

    fn snapshot(&self, events: &mut Events) -> Option<Snapshot> {
        match self.secure.as_ref().map(Secure::settings).transpose() {
            Ok(secure) => Some(Snapshot { service: self.site.clone(), secure }),
            Err(error) => {
                events.error(format!("tls: {error}; what was in force stays"));
                Some(Snapshot { service: self.site.clone(), secure: None })
            }
        }
    }
}

/// What a reload has to say.
#[derive(Default)]
struct Events(Vec<Event>);

impl Events {
    fn push(&mut self, level: Level, text: String) {
        self.0.push(Event { level, text: text.into() });
    }

    fn error(&mut self, text: String) {
        self.push(Level::ERROR, text);
    }

    fn warn(&mut self, text: String) {
        self.push(Level::WARN, text);
    }

    fn info(&mut self, text: String) {
        self.push(Level::INFO, text);
    }

    fn debug(&mut self, text: String) {
        self.push(Level::DEBUG, text);
    }
}
