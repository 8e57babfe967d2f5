//! A server, as control sees it: what is told when it is ready, what a reload reads, what a line of a log is.

use clap::Args;
use confine::{Confinement, Files, Holds, Kind};
use control::{Directly, Figure, Opener, Outcome, Reloaded, Server, Status};
use core::fmt;
use host::start::{describe_facts, describe_privileges, kernel};
use host::values::{AddressMode, InterfaceName, LinkChoice, LogFormat};
use host::{Facts, Forwarder, Keeper, Monitor, Named, Report};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::Receiver;
use std::time::{Instant, SystemTime};
use web::AccessRecord;

use crate::events::Events;
use crate::options::{Config, Loaded, Options, ServeArgs};
use crate::particular::Program;
use crate::secure::Secure;
use crate::start::{self, Counters, Snapshot, StartError, Started};
use crate::stats::Stats;
use crate::{FAILED, NOT_STARTED};

/// A certificate that expires sooner is spoken of.
const EXPIRY_WARNING_DAYS: u64 = 7;

/// Serves until it is told to leave.
#[must_use]
pub fn serve<P: Program>(arguments: ServeArgs<P::Own>) -> ExitCode {
    let refuse = |error: &dyn fmt::Display, status| refuse(P::NAME, error, status);
    let ServeArgs { config: file, options } = arguments;
    let loaded = match Loaded::<P>::new(options.clone(), file.as_deref(), &Directly) {
        Ok(loaded) => loaded,
        Err(error) => return refuse(&error, NOT_STARTED),
    };
    host::start::log_to_stderr(loaded.config.log_level);
    let started = match start::start(&loaded) {
        Ok(started) => started,
        Err(error) => return refuse(&error, NOT_STARTED),
    };
    let Started {
        signals,
        bell,
        admin,
        access_log,
        capture,
        ports,
        workers,
        program,
        secure,
        forwarder,
        keep,
        keeper,
        monitor,
        facts,
        urls,
        report,
    } = started;
    // This thread's own turn: everything that needs a privilege is open, and whoever is to keep one has been started.
    let files = Files { read: vec![program.directory()], ..Files::default() };
    let confinement = match loaded.config.policy.apply(Kind::Control, files) {
        Ok(confinement) => confinement,
        Err(error) => return refuse(&error, NOT_STARTED),
    };
    let plan = control::Plan {
        signals,
        bell,
        admin,
        access_log,
        capture,
        drain: loaded.config.drain,
        rescan: loaded.config.rescan,
    };
    let stats = loaded.config.stats.then(|| Stats::new(Instant::now()));
    let mut served = Served {
        options,
        file,
        loaded,
        program,
        secure,
        forwarder,
        keeper,
        monitor,
        confinement,
        facts,
        urls,
        report,
        stats,
    };
    let outcome = control::run(plan, ports, &mut served);
    // The forwarder first: it has clients of workers that are gone.
    drop(served);
    for worker in workers {
        // A thread that hangs ends with the process; one that panicked has been reported.
        if outcome == Outcome::Stopped || worker.is_finished() {
            let _ = worker.join();
        }
    }
    // The device, the program and the ports last: until now somebody may have been sending.
    drop(keep);
    match outcome {
        Outcome::Stopped => ExitCode::SUCCESS,
        Outcome::Failed { at_start: true, line } => refuse(&line, NOT_STARTED),
        Outcome::Failed { at_start: false, line } => refuse(&line, FAILED),
    }
}

/// Opens what the server has given up the right to open. Started by a server, and of no use to anybody else.
#[must_use]
pub fn monitor<P: Program>(arguments: ServeArgs<P::Own>) -> ExitCode {
    let ServeArgs { config: file, options } = arguments;
    let load = || Loaded::<P>::new(options.clone(), file.as_deref(), &Directly);
    let loaded = match load() {
        Ok(loaded) => loaded,
        Err(error) => return refuse(P::NAME, &error, NOT_STARTED),
    };
    host::start::log_to_stderr(loaded.config.log_level);
    let attended = host::attend(loaded.config.policy, || {
        // Of a file that is broken the server reads what is wrong with it.
        let mut named = load().map_or_else(|_| Named::default(), |loaded| loaded.named());
        named.read.extend(file.clone());
        named
    });
    match attended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(P::NAME, &error, FAILED),
    }
}

/// Checks what `serve` would read.
#[must_use]
pub fn check<P: Program>(arguments: ServeArgs<P::Own>) -> ExitCode {
    let checked = Loaded::<P>::new(arguments.options, arguments.config.as_deref(), &Directly)
        .map_err(StartError::from)
        .and_then(|loaded| start::check(&loaded));
    match checked {
        Ok(report) => {
            let lines: Vec<_> =
                report.iter().map(|(heading, line)| format!("{heading:<11} {line}")).collect();
            print(&lines.join("\n"))
        }
        Err(error) => refuse(P::NAME, &error, NOT_STARTED),
    }
}

/// What `doctor` takes.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The interface to look at: eth1
    #[arg(long, value_name = "INTERFACE")]
    pub dev: Option<InterfaceName>,
    /// The link to be had, as for `serve` [default: auto with --dev, else tap]
    #[arg(long, value_name = "LINK")]
    pub link: Option<LinkChoice>,
    /// Whose the addresses are to be: own or shared [default: shared on an interface, else own]
    #[arg(long, value_name = "WHOSE")]
    pub address_mode: Option<AddressMode>,
    /// Worker threads, as for `serve`
    #[arg(long, value_name = "N")]
    pub workers: Option<u16>,
    /// As a document for programs
    #[arg(long)]
    pub json: bool,
}

/// Says what this machine offers to the program of this name.
#[must_use]
pub fn doctor(arguments: DoctorArgs, program: &str) -> ExitCode {
    let DoctorArgs { dev, link, address_mode, workers, json } = arguments;
    let link = match LinkChoice::of(link, dev) {
        Ok(link) => link,
        Err(error) => return refuse(program, &error, NOT_STARTED),
    };
    let report = match Report::take(&link, address_mode, workers) {
        Ok(report) => report,
        Err(error) => return refuse(program, &error, NOT_STARTED),
    };
    let text = if json { report.json() } else { report.to_string() };
    match print(text.trim_end()) {
        ExitCode::SUCCESS if report.is_blocked() => ExitCode::from(FAILED),
        status => status,
    }
}

/// A result on standard output.
#[must_use]
pub fn print(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILED),
    }
}

/// One line on standard error.
#[must_use]
pub fn refuse(program: &str, error: &dyn fmt::Display, status: u8) -> ExitCode {
    let line = error.to_string().lines().collect::<Vec<_>>().join(" ");
    // With standard error gone, the status says it.
    let _ = writeln!(io::stderr(), "{program}: {line}");
    ExitCode::from(status)
}

/// What control needs to know of a server.
struct Served<P: Program> {
    /// The command line, which a reload puts over the file again.
    options: Options<P::Own>,
    /// The file.
    file: Option<PathBuf>,
    /// Both together, as in force.
    loaded: Loaded<P>,
    /// What is particular to it: its directory first of all.
    program: P,
    /// TLS, if there is any.
    secure: Option<Secure>,
    /// From the loopback interface, when we are inside a namespace.
    forwarder: Option<Forwarder>,
    /// Who looks after the link.
    keeper: Keeper,
    /// Who opens what we no longer may.
    monitor: Option<Monitor>,
    /// What control itself gave up.
    confinement: Option<Confinement>,
    /// What the workers got.
    facts: Receiver<Facts>,
    /// Where clients find us.
    urls: Vec<String>,
    /// What was found and chosen.
    report: Vec<(&'static str, String)>,
    /// The last second, for `--stats`.
    stats: Option<Stats<P::Tally>>,
}

impl<P: Program> Server for Served<P> {
    type Snapshot = Snapshot<P>;
    type Counters = Counters<P>;
    type Record = AccessRecord;

    const NAME: &'static str = P::NAME;

    fn on_ready(&mut self) {
        let facts: Vec<_> = self.facts.try_iter().collect();
        let mut text = format!("{} {} on Linux {}\n", P::NAME, P::VERSION, kernel());
        let privileges = describe_privileges(self.confinement, self.monitor.as_ref(), &facts);
        let more = self.program.on_ready(&self.loaded.choices, &facts);
        let report = self.report.drain(..).chain(describe_facts(&facts)).chain(more).chain([privileges]);
        for (heading, line) in report {
            text.push_str(&format!("  {heading:<11} {line}\n"));
        }
        for problem in self.program.problems() {
            text.push_str(&format!("  {:<11} {problem}\n", "unreadable"));
        }
        if let Some(url) = self.urls.first() {
            let url = url.strip_suffix(":80/").map_or_else(|| url.clone(), |host| format!("{host}/"));
            text.push_str(&format!("open {url} in a browser; Ctrl-C ends\n"));
        }
        if let Some(key_log) = self.loaded.config.key_log.as_ref().filter(|_| self.secure.is_some()) {
            let key_log = key_log.display();
            tracing::warn!("tls: secrets are written to {key_log}: whoever has it can read what is captured");
        }
        // A terminal that is gone is no reason to stop serving.
        let _ = io::stderr().write_all(text.as_bytes());
        let listening: String = self.urls.iter().map(|url| format!("listening {url}\n")).collect();
        let mut stdout = io::stdout();
        let _ = stdout.write_all(listening.as_bytes()).and_then(|()| stdout.flush());
    }

    fn reload(&mut self) -> Reloaded<Snapshot<P>> {
        let mut events = Events::default();
        match Loaded::<P>::new(self.options.clone(), self.file.as_deref(), self.opener()) {
            Ok(Loaded { config, choices }) => {
                let mut fixed = self.loaded.config.fixed_differences(&config);
                // What cannot change now stays as it is, so that it is told again next time.
                let Config { certificate, drain, log_format, .. } = config;
                self.loaded.config.certificate = certificate;
                self.loaded.config.drain = drain;
                self.loaded.config.log_format = log_format;
                fixed.extend(P::adopt(&mut self.loaded.choices, choices));
                if !fixed.is_empty() {
                    events.warn(format!("a restart is needed to change {}", fixed.join(", ")));
                }
            }
            Err(error) => events.error(format!("configuration: {error}; what was in force stays")),
        }
        self.reload_certificate(&mut events);
        let Self { program, loaded, monitor, .. } = self;
        program.reload(&loaded.config, &loaded.choices, opener(monitor.as_ref()), &mut events);
        let snapshot = self.snapshot(&mut events);
        Reloaded { snapshot, events: events.0, drain: Some(self.loaded.config.drain) }
    }

    fn rescan(&mut self) -> Option<Reloaded<Snapshot<P>>> {
        let mut events = Events::default();
        let mut changed = false;
        if let (Some(secure), Some(files)) = (&self.secure, &self.loaded.config.certificate)
            && secure.has_changed(files)
        {
            changed = true;
            self.reload_certificate(&mut events);
        }
        let Self { program, loaded, monitor, .. } = self;
        changed |= program.rescan(&loaded.config, &loaded.choices, opener(monitor.as_ref()), &mut events);
        // What went wrong is told though nothing changes by it.
        if !changed && events.0.is_empty() {
            return None;
        }
        let snapshot = if changed { self.snapshot(&mut events) } else { None };
        Some(Reloaded { snapshot, events: events.0, drain: None })
    }

    fn wants_rescan(&self) -> bool {
        self.program.wants_rescan()
    }

    fn write_record(&mut self, record: &AccessRecord, line: &mut Vec<u8>) {
        let format = match self.loaded.config.log_format {
            LogFormat::Combined => web::LogFormat::Combined,
            LogFormat::Json => web::LogFormat::Json,
        };
        record.write_to(format, line);
    }

    fn on_second(&mut self, status: Status, workers: &[Option<&Counters<P>>]) {
        if let (Some(forwarder), Status::Draining | Status::Stopping) = (&self.forwarder, status) {
            forwarder.accept_no_more();
        }
        if let (Some(stats), Status::Running | Status::Draining) = (&mut self.stats, status) {
            let line = stats.line(Instant::now(), workers);
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    fn opener(&self) -> &dyn Opener {
        opener(self.monitor.as_ref())
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
        let mut figures = self.program.figures();
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

fn opener(monitor: Option<&Monitor>) -> &dyn Opener {
    monitor.map_or(&Directly, |monitor| monitor)
}

impl<P: Program> Served<P> {
    fn reload_certificate(&mut self, events: &mut Events) {
        let opener = opener(self.monitor.as_ref());
        let (Some(secure), Some(files)) = (&mut self.secure, &self.loaded.config.certificate) else { return };
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

    fn snapshot(&self, events: &mut Events) -> Option<Snapshot<P>> {
        let service = self.program.snapshot();
        let secure = match self.secure.as_ref().map(Secure::settings).transpose() {
            Ok(secure) => secure,
            Err(error) => {
                events.error(format!("tls: {error}; what was in force stays"));
                None
            }
        };
        Some(Snapshot::<P> { service, secure })
    }
}
